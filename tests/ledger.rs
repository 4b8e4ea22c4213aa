//! Promise 2: nothing silent. Every read and every base is accounted for, and what is gone or changed is named.

#[path = "program/halfway.rs"]
mod halfway;
#[path = "program/wakachi.rs"]
mod wakachi;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;
use tempfile::TempDir;
use wakachi::{Cohort, End, copy, digests, files, folder, kill_after, present, shell, text, wakachi};

const CUTS: &str = "-t 1 --chunk-pairs 1500 --shard-bases 131072";

/// Two people, and their job, complete.
struct Small {
    cohort: Cohort,
    job: TempDir,
    results: BTreeMap<String, String>,
}

fn small() -> &'static Small {
    static SMALL: OnceLock<Small> = OnceLock::new();
    SMALL.get_or_init(|| {
        let cohort = Cohort::simulate("ledger", "--samples 2 --genome-mb 0.4 --depth 4 --seed 21");
        let job = cohort.job(CUTS);
        let results = digests(&job.path().join("results"));
        Small { cohort, job, results }
    })
}

fn ledger(job: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(job.join("ledger.json")).unwrap()).unwrap()
}

fn list<'a>(value: &'a serde_json::Value, name: &str) -> &'a [serde_json::Value] {
    value[name].as_array().unwrap_or_else(|| panic!("no list {name} in {value}"))
}

#[test]
fn every_read_has_one_fate() {
    let Small { cohort, job, .. } = small();
    let samtools = present(&["samtools"]);
    for (sample, simulated) in
        list(&ledger(job.path()), "samples").iter().zip(list(&cohort.summary, "samples"))
    {
        let reads = 2 * simulated["pairs"].as_u64().unwrap();
        assert_eq!(sample["reads_in"], reads);
        let fates = &sample["fates"];
        let fate = |name: &str| fates[name].as_u64().unwrap();
        let filtered: u64 = fates["filtered"].as_object().unwrap().values().filter_map(|n| n.as_u64()).sum();
        assert_eq!(fate("mapped") + fate("duplicate") + fate("unmapped") + filtered, reads);
        if samtools {
            let name = sample["sample"].as_str().unwrap();
            let cram = job.path().join(format!("results/{name}.cram"));
            let count = |flags: &str| {
                let reference = cohort.reference();
                let said =
                    shell(&format!("samtools view -c {flags} -T {} {}", text(&reference), text(&cram)));
                said.trim().parse::<u64>().unwrap()
            };
            // 0x900: secondary and supplementary; 0x400: duplicate; 4: unmapped.
            let counted = [count("-F 0xD04"), count("-F 0x900 -f 0x400"), count("-F 0x900 -f 4"), count("")];
            let records = sample["records"].as_u64().unwrap();
            assert_eq!(counted, [fate("mapped"), fate("duplicate"), fate("unmapped"), records]);
        }
    }
}

#[test]
fn a_tumour_alone_is_done_and_its_joint_calls_are_nobodys() {
    let cohort = Cohort::simulate("tumour", "--samples 1 --tumor --genome-mb 0.4 --depth 3 --seed 23");
    let sheet = cohort.dir.join("samples.csv");
    let rows = fs::read_to_string(&sheet).unwrap();
    let kept: Vec<&str> = rows.lines().filter(|row| !row.contains(",normal,")).collect();
    fs::write(&sheet, kept.join("\n") + "\n").unwrap();
    let ledger = ledger(cohort.job(CUTS).path());
    let files = list(&ledger["joint"], "files").len();
    let samples = [&ledger, &ledger["joint"]].map(|of| list(of, "samples").len());
    assert_eq!((samples, files), ([1, 0], 2));
}

#[test]
fn a_job_that_goes_on_with_a_lone_tumour_ends_as_one_of_it_alone() {
    let cohort = Cohort::simulate("lone", "--samples 2 --tumor --genome-mb 0.4 --depth 3 --seed 23");
    let sheet = cohort.dir.join("samples.csv");
    let rows = fs::read_to_string(&sheet).unwrap();
    let without = |word: &str| {
        let kept: Vec<&str> =
            rows.lines().filter(|row| !row.contains(",normal,") && !row.contains(word)).collect();
        fs::write(&sheet, kept.join("\n") + "\n").unwrap();
    };
    without(",germline,");
    let alone = ledger(cohort.job(CUTS).path());
    without(",nobody,");
    // Whose calls would be joined breaks off.
    let reads = cohort.dir.join("reads/S-000001_R1.fastq.gz");
    let bytes = fs::metadata(&reads).unwrap().len();
    fs::File::options().write(true).open(&reads).unwrap().set_len(bytes * 6 / 10).unwrap();
    let job = folder();
    let line = format!("run {} --out {} {CUTS} --keep-going", text(&cohort.file()), text(job.path()));
    wakachi(&line.split_whitespace().collect::<Vec<_>>()).refused(10, &["S-000001"]);
    let left = ledger(job.path());
    assert_eq!(list(&left, "failed").len(), 1);
    for part in ["samples", "joint"] {
        assert_eq!(left[part], alone[part]);
    }
}

#[test]
fn every_base_is_answered_once_however_the_genome_is_cut() {
    let Small { cohort, job, .. } = small();
    let genome = workers::simulate::genome::read_fasta(&cohort.reference()).unwrap();
    let bases: u64 = genome.iter().map(|contig| contig.bases.len() as u64).sum();
    let whole = cohort.job("-t 2");
    let (cut, whole) = (ledger(job.path()), ledger(whole.path()));
    for (cut, whole) in list(&cut, "samples").iter().zip(list(&whole, "samples")) {
        assert!(list(cut, "shards").len() > list(whole, "shards").len());
        assert_eq!(answers(cut, bases), answers(whole, bases));
    }
    for (name, covered) in gvcf_coverage(job.path()) {
        let unknown: u64 =
            genome.iter().flat_map(|contig| &contig.bases).filter(|&&base| base == b'N').count() as u64;
        assert!(covered + unknown >= bases, "{name:?}: {covered} of {bases} bases, {unknown} unknown");
    }
}

/// Bases by answer over all shards of a sample, which follow each other without gap or overlap.
fn answers(sample: &serde_json::Value, bases: u64) -> BTreeMap<String, u64> {
    let mut next = 0;
    let mut total = BTreeMap::new();
    for shard in list(sample, "shards") {
        let cells = list(shard, "cells");
        assert_eq!(cells[0].as_u64(), Some(next), "{sample}");
        next = cells[1].as_u64().unwrap();
        let answers = shard["answers"].as_object().unwrap();
        let counts = answers.iter().map(|(answer, count)| (answer.clone(), count.as_u64().unwrap()));
        assert_eq!(counts.clone().map(|(_, count)| count).sum::<u64>(), shard["bases"].as_u64().unwrap());
        counts.for_each(|(answer, count)| *total.entry(answer).or_insert(0) += count);
    }
    assert_eq!(total.values().sum::<u64>(), bases);
    total
}

/// Bases that at least one record of each gVCF covers.
fn gvcf_coverage(job: &Path) -> BTreeMap<PathBuf, u64> {
    let gvcfs = files(&job.join("results")).into_iter().filter(|path| text(path).ends_with(".g.vcf.gz"));
    let coverage = |path: PathBuf| {
        let mut vcf = String::new();
        let mut stored = flate2::read::MultiGzDecoder::new(fs::File::open(&path).unwrap());
        stored.read_to_string(&mut vcf).unwrap();
        let (mut covered, mut contig, mut end) = (0, "", 0);
        for line in vcf.lines().filter(|line| !line.starts_with('#')) {
            let columns: Vec<&str> = line.split('\t').collect();
            let position: u64 = columns[1].parse().unwrap();
            let stated = columns[7].split(';').find_map(|field| field.strip_prefix("END="));
            let last = stated.map_or(position + columns[3].len() as u64 - 1, |end| end.parse().unwrap());
            if contig != columns[0] {
                (contig, end) = (columns[0], 0);
            }
            covered += (last + 1).saturating_sub(position.max(end + 1));
            end = end.max(last);
        }
        (path, covered)
    };
    gvcfs.map(coverage).collect()
}

/// What may happen to a file.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Delete,
    Truncate,
    Flip,
}

const HARMS: [Harm; 3] = [Harm::Delete, Harm::Truncate, Harm::Flip];

impl Harm {
    fn to(self, path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        match self {
            Harm::Delete => return fs::remove_file(path).unwrap(),
            Harm::Truncate => bytes.truncate(middle),
            Harm::Flip => bytes[middle] ^= 0x10,
        }
        fs::write(path, bytes).unwrap();
    }

    /// The exit code that must follow.
    fn code(self) -> i32 {
        if matches!(self, Harm::Delete) { 10 } else { 6 }
    }
}

#[test]
fn a_result_that_is_gone_or_changed_is_named() {
    let Small { cohort, job, results } = small();
    let out = folder();
    copy(job.path(), out.path());
    let mut names: Vec<String> = results.keys().map(|name| format!("results/{name}")).collect();
    names.extend(cohort.samples().iter().map(|sample| format!("qc/{sample}.json")));
    names.push(format!("qc/{}.cram.stats", cohort.samples()[0]));
    names.push("ledger.json".to_owned());
    for name in &names {
        let path = out.path().join(name);
        let whole = fs::read(&path).unwrap();
        for harm in HARMS {
            harm.to(&path);
            println!("{harm:?} {name}");
            cohort.run(out.path(), CUTS).refused(harm.code(), &[name, "--repair"]);
            wakachi(&["job", "verify", text(out.path())]).refused(harm.code(), &[name]);
            fs::write(&path, &whole).unwrap();
        }
    }
    wakachi(&["job", "verify", text(out.path())]).ok();
    let again = cohort.run(out.path(), CUTS).ok().json();
    assert_eq!(again["run"]["tasks"], 0);
}

#[test]
fn a_finished_job_can_be_looked_at_where_nobody_may_write() {
    let Small { job, .. } = small();
    let dir = text(job.path());
    let program = env!("CARGO_BIN_EXE_wakachi");
    let mount = format!("mount --bind '{dir}' '{dir}' && mount -o remount,ro,bind '{dir}'");
    let within = |command: &str| {
        wakachi::said(Command::new("unshare").args(["-rm", "sh", "-c", &format!("{mount} && {command}")]))
    };
    if Command::new("unshare").arg("--version").output().is_err()
        || within(&format!("! touch '{dir}/x' 2> /dev/null")).code != Some(0)
    {
        return println!("skipped: nothing can be mounted for reading here");
    }
    let before = digests(job.path());
    for (command, says) in
        [("info", "complete"), ("verify", "as the ledger says"), ("wait", "complete"), ("bill", "allocated")]
    {
        let said = within(&format!("'{program}' job {command} '{dir}'")).ok();
        assert!(said.stdout.contains(says), "{command}: {}", said.stdout);
    }
    assert_eq!(digests(job.path()), before);
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_not_waited_for() {
    let out = folder();
    copy(small().job.path(), out.path());
    let pipe = |name: &str| {
        let path = out.path().join(name);
        fs::remove_file(&path).unwrap();
        shell(&format!("mkfifo {}", text(&path)));
    };
    pipe(".wakachi/status.json");
    let said = wakachi(&["job", "info", text(out.path())]).ok();
    assert!(said.stdout.contains("complete"), "{}", said.stdout);
    pipe("ledger.json");
    wakachi(&["job", "verify", text(out.path())]).refused(6, &["ledger.json", "--repair"]);
}

#[test]
fn a_dry_run_says_what_a_run_comes_to_and_runs_nothing() {
    let Small { cohort, .. } = small();
    let out = folder();
    let config = out.path().join("priced.toml");
    fs::write(&config, "[site.here]\nprice_core_hour = 0.5\n").unwrap();
    let dir = out.path().join("job");
    let plan = cohort.run(&dir, &format!("{CUTS} --dry-run --config {}", text(&config))).ok().json();
    assert!(!dir.exists());
    let tasks = |stage: &str| plan["tasks"][stage].as_u64().unwrap();
    // Of each sample, and of the cohort, the one part of its files, and their end.
    assert_eq!((tasks("model"), tasks("finish"), tasks("seal")), (2, 6, 0));
    assert!(tasks("map") > 2 && tasks("region") > 2 && tasks("joint") > 0, "{plan}");
    let core_ms: u64 = plan["core_ms"].as_object().unwrap().values().map(|ms| ms.as_u64().unwrap()).sum();
    let site = &list(&plan, "sites")[0];
    assert!(core_ms > 100 && core_ms.abs_diff(site["core_ms"].as_u64().unwrap()) < 10, "{plan}");
    let price = site["price"].as_f64().unwrap();
    assert!((price - 0.5 * core_ms as f64 / 3_600_000.0).abs() < 1e-5, "{plan}");
    assert_eq!(site["site"], "here");
}

#[test]
fn repair_restores_the_same_results() {
    let Small { cohort, job, results } = small();
    for (harm, which) in [(Harm::Delete, 0), (Harm::Flip, 2), (Harm::Truncate, 8), (Harm::Flip, 9)] {
        let out = folder();
        copy(job.path(), out.path());
        harm.to(&out.path().join("results").join(results.keys().nth(which).unwrap()));
        cohort.run(out.path(), &format!("{CUTS} --repair")).ok();
        assert_eq!(&digests(&out.path().join("results")), results);
        cohort.run(out.path(), CUTS).ok();
    }
}

fn halfway() -> &'static TempDir {
    static HALFWAY: OnceLock<TempDir> = OnceLock::new();
    HALFWAY.get_or_init(|| halfway::halfway(&small().cohort, CUTS))
}

#[test]
fn scratch_that_is_gone_or_changed_is_named_and_repaired() {
    let Small { cohort, results, .. } = small();
    let scratch = halfway().path().join(".wakachi");
    let pieces: Vec<PathBuf> = files(&scratch)
        .into_iter()
        .filter(|path| {
            ["pack", "key", "redb", "jsonl"].iter().any(|kind| path.extension().is_some_and(|e| e == *kind))
        })
        .collect();
    assert!(pieces.len() >= 5, "{pieces:?}");
    let mut noticed = 0;
    for piece in &pieces {
        for harm in HARMS {
            let out = folder();
            copy(halfway().path(), out.path());
            let relative = piece.strip_prefix(halfway().path()).unwrap();
            harm.to(&out.path().join(relative));
            let how = format!("{harm:?} {}", relative.display());
            let said = cohort.run(out.path(), CUTS);
            println!("{how}: {:?} {}", said.code, said.stderr.lines().last().unwrap_or_default());
            if said.code != Some(0) {
                noticed += 1;
                assert!(matches!(said.code, Some(6 | 10)), "{how}: {:?} {}", said.code, said.stderr);
                let name = piece.file_name().unwrap().to_str().unwrap().trim_start_matches('.');
                // Without its key, it is the sample's pack that cannot be read.
                let name = name.split('.').next().unwrap();
                said.refused(said.code.unwrap(), &[name, "--repair"]);
                cohort.run(out.path(), &format!("{CUTS} --repair")).ok();
            }
            // Whoever answers 0 had no need of the piece, or made it again.
            assert_eq!(&digests(&out.path().join("results")), results, "{how}");
        }
    }
    assert!(noticed >= pieces.len(), "only {noticed} harms were noticed");
}

#[test]
fn a_job_holds_few_files_whatever_the_number_of_shards() {
    let Small { cohort, .. } = small();
    let out = folder();
    let mut most = 0;
    let cuts = "-t 2 --chunk-pairs 100 --shard-bases 1";
    let end = kill_after(&cohort.file(), out.path(), cuts, Duration::MAX, || {
        most = most.max(files(out.path()).len());
    });
    assert!(matches!(end, End::Itself(Some(0))));
    assert!(most > 8, "the job was not seen");
    // A few are the job's own: journal, log, fence, keys, status; seven files in which MultiQC finds all samples.
    assert!(most <= 14 * cohort.samples().len() + 15, "{most} files at once");
}
