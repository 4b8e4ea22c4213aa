//! Files, a sample's and the cohort's, are written in parts, by whoever has a core: nobody can tell by their bytes, a part
//! that was committed is not written again, and one that does not hold what was committed is noticed.

#[path = "program/wakachi.rs"]
mod wakachi;

use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use storage::{Fence, Journal};
use tempfile::TempDir;
use wakachi::{Cohort, copy, digests, files, folder, run_watched};

type Digests = BTreeMap<String, String>;

/// A person and a tumour of theirs on a genome of several parts, and the digests of what one thread makes of them.
fn several() -> &'static (Cohort, Digests) {
    static SEVERAL: OnceLock<(Cohort, Digests)> = OnceLock::new();
    SEVERAL.get_or_init(|| {
        let cohort = Cohort::simulate("parts", "--samples 1 --tumor --genome-mb 3.2 --depth 3 --seed 31");
        let expect = digests(&cohort.job("-t 1").path().join("results"));
        (cohort, expect)
    })
}

fn assert_same(job: &Path, how: &str) {
    assert_eq!(digests(&job.join("results")), several().1, "{how}: other bytes");
}

/// How often each part of files was begun, and whether it is committed.
fn parts(job: &Path) -> BTreeMap<String, (u32, bool)> {
    let journal = Journal::open(Fence::acquire(&job.join(".wakachi")).unwrap()).unwrap();
    let commits = journal.commits().unwrap();
    let attempts = journal.attempts().unwrap().into_iter().filter(|(task, _)| task.starts_with("write/"));
    attempts.map(|(task, begun)| (task.clone(), (begun, commits.contains_key(&task)))).collect()
}

/// Whose files are in the making.
#[derive(Clone, Copy, Debug)]
enum Whose {
    Sample,
    Cohort,
}

const FILES: [Whose; 2] = [Whose::Sample, Whose::Cohort];

impl Whose {
    /// Whether a task is of theirs, that writes a part.
    fn has(self, task: &str) -> bool {
        task.starts_with("write/S-") == matches!(self, Whose::Sample)
    }

    /// Whether a line of the log tells of a part that was committed.
    fn has_written(self, line: &str) -> bool {
        let task = line.split("\"shard\":\"").nth(1).unwrap_or_default();
        line.contains("\"shard.committed\"") && task.starts_with("write/") && self.has(task)
    }

    /// One file of each of them in the making: alignments; joint calls.
    fn staged(self, job: &Path) -> Vec<PathBuf> {
        let (owner, kind) = match self {
            Whose::Sample => (".S-", ".cram"),
            Whose::Cohort => (".simulated-31.", ".vcf.gz"),
        };
        let hidden = |path: &PathBuf| {
            let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
            folder.to_str().unwrap().starts_with(owner) && path.to_str().unwrap().ends_with(kind)
        };
        files(&job.join("results")).into_iter().filter(hidden).collect()
    }

    /// A job that was killed when some parts of these files were committed and the files were not whole.
    fn killed(self) -> &'static TempDir {
        static KILLED: [OnceLock<TempDir>; 2] = [OnceLock::new(), OnceLock::new()];
        KILLED[self as usize].get_or_init(|| {
            for _ in 0..50 {
                let out = folder();
                let log = out.path().join(".wakachi/audit.jsonl");
                let written = |log: &str| log.lines().filter(|line| self.has_written(line)).count() > 1;
                run_watched(&several().0.file(), out.path(), "-t 1", |child| {
                    if fs::read_to_string(&log).is_ok_and(|log| written(&log)) {
                        kill_process(Pid::from_child(child), Signal::KILL).unwrap();
                    }
                });
                let of_these = |(task, (_, committed)): (&String, &(u32, bool))| *committed && self.has(task);
                let begun = parts(out.path()).iter().filter(|&part| of_these(part)).count();
                if begun > 0 && !self.staged(out.path()).is_empty() {
                    return out;
                }
            }
            panic!("it was never killed between two parts");
        })
    }

    /// What it left, to be spoiled.
    fn copy_of_killed(self) -> TempDir {
        let out = folder();
        copy(self.killed().path(), out.path());
        out
    }
}

#[test]
fn who_wrote_which_part_does_not_show() {
    let (cohort, _) = several();
    for options in ["-t 2", "-t 2 --shard-bases 300000", "-t 2 --audit 100%"] {
        let job = cohort.job(options);
        assert_same(job.path(), options);
        let parts = parts(job.path());
        assert!(parts.len() >= 3 * 3 && parts.values().all(|(_, committed)| *committed), "{parts:?}");
    }
}

#[test]
fn a_part_that_was_committed_is_not_written_again() {
    for whose in FILES {
        let out = whose.copy_of_killed();
        let before = parts(out.path());
        several().0.run(out.path(), "-t 2 --shard-bases 300000").ok();
        assert_same(out.path(), "after a kill");
        let after = parts(out.path());
        for (task, (begun, committed)) in before {
            assert_eq!(after[&task].0, begun + u32::from(!committed), "{task}");
        }
        assert!(whose.staged(out.path()).is_empty());
    }
}

#[test]
fn parts_in_a_file_that_is_gone_or_cut_are_written_again() {
    for (whose, cut) in FILES.into_iter().flat_map(|whose| [(whose, None), (whose, Some(100))]) {
        let out = whose.copy_of_killed();
        for path in whose.staged(out.path()) {
            match cut {
                None => fs::remove_dir_all(path.parent().unwrap()).unwrap(),
                Some(bytes) => fs::File::options().write(true).open(&path).unwrap().set_len(bytes).unwrap(),
            }
        }
        several().0.run(out.path(), "-t 2").ok();
        assert_same(out.path(), "without what was written");
    }
}

#[test]
fn a_part_that_changed_while_nobody_ran_the_job_is_noticed_and_repaired() {
    let (cohort, _) = several();
    for whose in FILES {
        let out = whose.copy_of_killed();
        let path = whose.staged(out.path()).remove(0);
        let mut bytes = fs::read(&path).unwrap();
        // Inside of the first part, as only it is known to be there.
        bytes[5000] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let said = cohort.run(out.path(), "-t 2");
        match whose {
            Whose::Sample => said.refused(6, &[name, "--repair"]),
            // So short is its part that whoever ends the file looks at all of it.
            Whose::Cohort => drop(said.ok()),
        }
        cohort.run(out.path(), "-t 2 --repair").ok();
        assert_same(out.path(), "after repair");
        let early = whose.copy_of_killed();
        fs::write(whose.staged(early.path()).remove(0), &bytes).unwrap();
        cohort.run(early.path(), "-t 2 --repair").ok();
        assert_same(early.path(), "after early repair");
    }
}

#[test]
fn folders_that_nobody_needs_go_and_those_of_others_stay() {
    let (cohort, _) = several();
    let out = Whose::Sample.copy_of_killed();
    let results = out.path().join("results");
    let [old, of_cohort, theirs] =
        [".S-000001.0123456789abcdef", ".simulated-31.0123456789abcdef", ".S-000001.notes"]
            .map(|name| results.join(name));
    for path in [&old, &of_cohort, &theirs] {
        fs::create_dir(path).unwrap();
    }
    cohort.run(out.path(), "-t 2").ok();
    assert!(theirs.exists() && !old.exists() && !of_cohort.exists());
    fs::remove_dir(&theirs).unwrap();
    assert_same(out.path(), "beside other folders");
}
