//! A job that is complete and then changes: a sample joins, reads change, parameters change. The same command does what
//! depends on the change, nothing else, and gives the bytes of a job that began with it.

#[path = "program/wakachi.rs"]
mod wakachi;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tempfile::TempDir;
use wakachi::{Cohort, Said, digests, folder};

/// Small enough for chunks and shards to be several of each sample.
const CUTS: &str = "-t 2 --chunk-pairs 1500 --shard-lines 2,4";

fn small() -> &'static Cohort {
    static SMALL: OnceLock<Cohort> = OnceLock::new();
    SMALL.get_or_init(|| Cohort::simulate("resume", "--samples 3 --genome-mb 0.5 --depth 4 --seed 12"))
}

/// A copy of the cohort that may be changed, and its job.
struct Bench {
    cohort: TempDir,
    out: TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Bench { cohort: folder(), out: folder() };
        wakachi::copy(&small().dir, bench.cohort.path());
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.cohort.path().join(name)
    }

    fn edit(&self, name: &str, change: impl FnOnce(String) -> String) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        fs::write(self.path(name), change(text)).unwrap();
    }

    fn run(&self, options: &str) -> Said {
        wakachi::run(&self.path("cohort.toml"), self.out.path(), options)
    }

    /// Runs to the end; the tasks that the run committed.
    fn done(&self, options: &str) -> BTreeSet<String> {
        self.run(options).ok();
        let log = fs::read_to_string(self.out.path().join(".wakachi/audit.jsonl")).unwrap();
        let events: Vec<serde_json::Value> =
            log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let begun = events.iter().rposition(|event| event["event"] == "job.submitted").unwrap();
        let committed = events[begun..].iter().filter(|event| event["event"] == "shard.committed");
        committed.map(|event| event["shard"].as_str().unwrap().to_owned()).collect()
    }

    /// Whether the results are those of a job that begins now.
    fn assert_as_fresh(&self) {
        let fresh = folder();
        wakachi::run(&self.path("cohort.toml"), fresh.path(), "-t 1").ok();
        let (expect, found) =
            (digests(&fresh.path().join("results")), digests(&self.out.path().join("results")));
        let differ: Vec<_> = expect.keys().filter(|&name| expect.get(name) != found.get(name)).collect();
        assert!(differ.is_empty(), "other bytes than a new job's: {differ:?}");
    }
}

/// The stages of tasks and whose they are, each once.
fn who(tasks: &BTreeSet<String>) -> BTreeSet<String> {
    let whose = |task: &String| match task.split('/').collect::<Vec<_>>()[..] {
        [stage @ ("joint" | "write"), _] => stage.to_owned(),
        [stage, sample, ..] => format!("{stage} {sample}"),
        _ => task.clone(),
    };
    tasks.iter().map(whose).collect()
}

/// Every stage of these samples, and the cohort's.
fn all_of(samples: &[&str]) -> BTreeSet<String> {
    let stages = ["intake", "model", "map", "region", "write", "finish"];
    let of = |sample: &&str| stages.map(|stage| format!("{stage} {sample}"));
    samples.iter().flat_map(of).chain(["joint", "write", "finish"].map(str::to_owned)).collect()
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn nothing_changed_is_nothing_done() {
    let bench = Bench::new();
    assert_eq!(who(&bench.done(CUTS)), all_of(&["S-000001", "S-000002", "S-000003"]));
    assert_eq!(bench.done("-t 1"), set(&[]));
    bench.edit("cohort.toml", |text| text.replace("title = \"", "title = \"again: "));
    assert_eq!(bench.done(CUTS), set(&[]));
}

#[test]
fn a_sample_that_joins_is_done_alone_and_joined_with_the_finished() {
    let bench = Bench::new();
    let sheet = fs::read_to_string(bench.path("samples.csv")).unwrap();
    let without = |name: &str| {
        let rows = sheet.lines().filter(|row| !row.contains(name));
        rows.map(|row| {
            row.to_owned()
                + "
"
        })
        .collect::<String>()
    };
    fs::write(bench.path("samples.csv"), without("S-000002")).unwrap();
    bench.done(CUTS);
    fs::write(bench.path("samples.csv"), &sheet).unwrap();
    assert_eq!(who(&bench.done(CUTS)), all_of(&["S-000002"]));
    bench.assert_as_fresh();

    fs::write(bench.path("samples.csv"), without("S-000003")).unwrap();
    let said = bench.run("-t 2").ok();
    assert!(said.stderr.contains("results/S-000003.cram"), "not named: {}", said.stderr);
    assert!(bench.out.path().join("results/S-000003.cram").exists());
    assert!(said.stderr.contains("qc/S-000003.json"), "not named: {}", said.stderr);
    let verified = wakachi::wakachi(&["job", "verify", wakachi::text(bench.out.path())]).ok();
    assert!(verified.stderr.contains("results/S-000003.cram"), "not named: {}", verified.stderr);
    bench.assert_as_fresh();
}

#[test]
fn joint_tasks_are_not_done_again_for_a_sample_that_they_do_not_read_or_for_another_code() {
    let all = ["P-000001 tumor", "P-000002 tumor", "P-000002 germline"];
    let fewer = ["", "P-000002 tumor", "P-000002 germline"];
    let renamed = ["P-000003 tumor", "P-000001 tumor", "P-000001 germline"];
    for (before, after) in [(all, fewer), (fewer, all), (all, renamed)] {
        let bench = Bench::new();
        let sheet = fs::read_to_string(bench.path("samples.csv")).unwrap();
        declare(&bench, &sheet, before);
        stop_once_joined(&bench);
        declare(&bench, &sheet, after);
        let done = who(&bench.done("-t 1"));
        assert!(done.contains("finish") && !done.contains("joint"), "{done:?}");
        bench.assert_as_fresh();
    }
}

#[test]
fn reads_that_change_are_done_again_with_what_depends_on_them() {
    let bench = Bench::new();
    bench.done(CUTS);
    for mate in 1..=2 {
        let path = bench.path(&format!("reads/S-000003_R{mate}.fastq.gz"));
        let text = unpacked(&path);
        // Without its first pair: two records of four lines.
        let rest = text.split_inclusive('\n').skip(4).collect::<String>();
        pack(&path, &rest);
    }
    // The sheet states which reads are meant, and those were done; these are others.
    let others = ["S-000003_R1.fastq.gz", "S-000003_R2.fastq.gz", "were replaced"];
    bench.run(CUTS).refused(3, &others);
    without_digests(&bench);
    assert_eq!(who(&bench.done(CUTS)), all_of(&["S-000001", "S-000002", "S-000003"]));
    bench.assert_as_fresh();

    let path = bench.path("reads/S-000001_R1.fastq.gz");
    let text = unpacked(&path);
    pack(&path, &text.replacen('I', "H", 40));
    assert_eq!(who(&bench.done(CUTS)), all_of(&["S-000001"]));
    bench.assert_as_fresh();
}

#[test]
fn reads_that_were_written_again_count_by_the_digest_that_the_sheet_states() {
    let bench = Bench::new();
    bench.done(CUTS);
    let path = bench.path("reads/S-000003_R1.fastq.gz");
    let reads = fs::read(&path).unwrap();
    fs::write(&path, &reads).unwrap();
    let said = bench.run(CUTS).ok();
    assert!(
        said.stderr.contains("S-000003_R1.fastq.gz") && said.stderr.contains("--digests"),
        "{}",
        said.stderr
    );
    let sheet = bench.path("cohort.toml");
    let check = || wakachi::wakachi(&["cohort", "check", wakachi::text(&sheet), "--digests"]);
    assert!(check().ok().stdout.contains("digests: 6 files are as stated"));
    let mut other = reads;
    *other.last_mut().unwrap() ^= 1;
    fs::write(&path, &other).unwrap();
    check().refused(3, &["S-000003_R1.fastq.gz", "SHA-256"]);
}

#[test]
fn a_parameter_that_changes_is_seen_by_those_stages_it_matters_to() {
    let bench = Bench::new();
    bench.done(CUTS);
    bench.edit("cohort.toml", |text| text + "\n[parameters]\nmin_qual_joint = 70\n");
    assert_eq!(who(&bench.done(CUTS)), set(&["joint", "write", "finish"]));
    bench.assert_as_fresh();
    bench.edit("cohort.toml", |text| text.replace("min_qual_joint = 70", "max_depth = 12"));
    let done = who(&bench.done(CUTS));
    assert!(done.is_superset(&set(&["region S-000001", "finish S-000002", "joint", "finish"])), "{done:?}");
    assert!(!done.iter().any(|task| task.starts_with("model")), "{done:?}");
    bench.assert_as_fresh();
}

#[test]
fn a_sample_that_cannot_be_done_is_left_behind_where_that_is_asked_and_caught_up_later() {
    let bench = Bench::new();
    without_digests(&bench);
    let path = bench.path("reads/S-000002_R2.fastq.gz");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    bench.run(CUTS).refused(3, &["S-000002_R2.fastq.gz"]);
    fs::write(bench.path("wakachi.toml"), "[limits]\non_failed_sample = \"go_on\"\n").unwrap();
    bench.run(CUTS).refused(10, &["missing", "S-000002"]);
    fs::remove_file(bench.path("wakachi.toml")).unwrap();
    bench.run(&format!("{CUTS} --keep-going")).refused(10, &["missing", "S-000002"]);
    let ledger: serde_json::Value =
        serde_json::from_slice(&fs::read(bench.out.path().join("ledger.json")).unwrap()).unwrap();
    assert_eq!(ledger["failed"][0]["sample"], "S-000002");
    assert_eq!(ledger["joint"]["samples"], serde_json::json!(["S-000001", "S-000003"]));
    let report = fs::read_to_string(bench.out.path().join("report.html")).unwrap();
    assert!(report.contains("S-000002 from the results"));
    let verify = || wakachi::wakachi(&["job", "verify", wakachi::text(bench.out.path())]);
    verify().refused(10, &["missing", "S-000002", "R2.fastq.gz"]);

    fs::write(&path, &whole).unwrap();
    let done = who(&bench.done(CUTS));
    assert_eq!(done, all_of(&["S-000002"]));
    bench.assert_as_fresh();
    verify().ok();
}

#[test]
fn an_intake_that_broke_off_goes_on_where_it_was() {
    let bench = Bench::new();
    let cuts = "-t 2 --chunk-pairs 500 --shard-lines 2,4";
    let path = bench.path("reads/S-000002_R2.fastq.gz");
    let whole = fs::read(&path).unwrap();
    // As a disk that does not give the end of a file for once: by length and time of change it is the same all along.
    let changed = fs::metadata(&path).unwrap().modified().unwrap();
    let give = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(changed).unwrap();
    };
    let mut spoiled = whole.clone();
    let end = spoiled.len() - 1000;
    spoiled[end..].fill(0xff);
    give(&spoiled);
    bench.run(&format!("{cuts} --keep-going")).refused(10, &["missing", "S-000002"]);
    give(&whole);
    let done = bench.done(cuts);
    let parts: BTreeSet<&str> =
        done.iter().filter_map(|task| task.strip_prefix("intake/S-000002/0/")).collect();
    assert!(!parts.contains("0") && parts.contains("3"), "{parts:?}");
    assert!(who(&done).is_subset(&all_of(&["S-000002"])), "{done:?}");
    bench.assert_as_fresh();
}

#[test]
fn a_wrong_file_behind_a_stated_digest_is_taken_in_anew_once_it_is_the_right_one() {
    let bench = Bench::new();
    let cuts = "-t 2 --chunk-pairs 500 --shard-lines 2,4";
    let path = bench.path("reads/S-000002_R1.fastq.gz");
    let right = fs::read(&path).unwrap();
    // Reads that parse, others from the first on.
    let text = unpacked(&path);
    pack(&path, &text.replacen('I', "H", 40));
    bench.run(cuts).refused(3, &["S-000002_R1.fastq.gz", "expected SHA-256", "fetch the file again"]);
    fs::write(&path, &right).unwrap();
    let done = bench.done(cuts);
    assert!(done.contains("intake/S-000002/0/0"), "{done:?}");
    bench.assert_as_fresh();
}

#[test]
fn reads_that_were_replaced_while_their_sample_was_away_are_noticed_when_it_comes_back() {
    let bench = Bench::new();
    bench.done(CUTS);
    let sheet = fs::read_to_string(bench.path("samples.csv")).unwrap();
    let without = sheet.split_inclusive('\n').filter(|row| !row.contains("S-000003")).collect::<String>();
    fs::write(bench.path("samples.csv"), without).unwrap();
    bench.done(CUTS);
    let path = bench.path("reads/S-000003_R1.fastq.gz");
    let text = unpacked(&path);
    pack(&path, &text.replacen('I', "H", 40));
    fs::write(bench.path("samples.csv"), &sheet).unwrap();
    bench.run(CUTS).refused(3, &["S-000003_R1.fastq.gz", "were replaced"]);
}

/// Writes the sheet with another participant and role in each row; without a row where these are empty.
fn declare(bench: &Bench, sheet: &str, rows: [&str; 3]) {
    let mut of_sheet = sheet.lines();
    let mut text = of_sheet.next().unwrap().to_owned() + "\n";
    for (row, declared) in of_sheet.zip(rows) {
        if let Some((participant, role)) = declared.split_once(' ') {
            let mut columns: Vec<&str> = row.split(',').collect();
            // Participant, specimen, role, family, relation, sex.
            for (at, value) in [(0, participant), (1, ""), (3, role), (4, ""), (5, ""), (6, "")] {
                columns[at] = value;
            }
            text += &(columns.join(",") + "\n");
        }
    }
    fs::write(bench.path("samples.csv"), text).unwrap();
}

/// Runs the bench's job until the parts of the joint file are committed: its place is taken.
fn stop_once_joined(bench: &Bench) {
    let taken = bench.out.path().join("results/simulated-12.vcf.gz");
    let said = wakachi::run_watched(
        &bench.path("cohort.toml"),
        bench.out.path(),
        "-t 1 --shard-lines 1,2,3",
        // Once the job has made the folder that it lies in.
        |_| drop(fs::create_dir(&taken)),
    );
    said.refused(2, &["simulated-12.vcf.gz", "a directory"]);
    fs::remove_dir(&taken).unwrap();
}

fn unpacked(path: &Path) -> String {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

fn pack(path: &Path, text: &str) {
    let mut file =
        flate2::write::GzEncoder::new(fs::File::create(path).unwrap(), flate2::Compression::fast());
    file.write_all(text.as_bytes()).unwrap();
    file.finish().unwrap();
}

/// Takes the digests out of the sheet, which are of the files as they were.
fn without_digests(bench: &Bench) {
    bench.edit("samples.csv", |sheet| {
        let cut = |row: &str| row.split(',').take(10).collect::<Vec<_>>().join(",") + ",,\n";
        let mut rows = sheet.lines();
        let header = rows.next().unwrap().to_owned() + "\n";
        header + &rows.map(cut).collect::<String>()
    });
}
