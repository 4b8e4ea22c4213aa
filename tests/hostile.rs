//! Promise 5: hostile, damaged and mismatched input is refused with a clear message, and nothing is left that looks
//! finished.

#[path = "program/wakachi.rs"]
mod wakachi;

use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use tempfile::TempDir;
use wakachi::{Cohort, command, copy, folder, said, text, wakachi};

fn small() -> &'static Cohort {
    static SMALL: OnceLock<Cohort> = OnceLock::new();
    SMALL.get_or_init(|| Cohort::simulate("hostile", "--samples 1 --genome-mb 0.2 --depth 2 --seed 31"))
}

/// A copy of the cohort, to be spoiled. The sheet states no digests.
fn copied() -> TempDir {
    let folder = folder();
    copy(&small().dir, folder.path());
    edit(&folder.path().join("samples.csv"), |sheet| {
        let rows = sheet.lines().map(|row| row.split(',').take(10).collect::<Vec<_>>().join(","));
        rows.map(|row| row + "\n").collect()
    });
    folder
}

fn edit(path: &Path, change: impl FnOnce(String) -> String) {
    let text = fs::read_to_string(path).unwrap();
    fs::write(path, change(text)).unwrap();
}

fn reads(cohort: &Path, mate: u32) -> PathBuf {
    cohort.join(format!("reads/S-000001_R{mate}.fastq.gz"))
}

/// Runs the cohort, which must be refused with this code and these words, and leave nothing that looks finished.
fn refuse(cohort: &Path, options: &str, code: i32, named: &[&str]) {
    let out = folder();
    wakachi::run(&cohort.join("cohort.toml"), out.path(), options).refused(code, named);
    assert_unfinished(out.path());
}

fn assert_unfinished(out: &Path) {
    for name in ["results", "qc"] {
        let left = wakachi::files(&out.join(name));
        assert!(left.is_empty(), "left behind: {left:?}");
    }
    assert!(!out.join("ledger.json").exists() && !out.join("report.html").exists());
}

/// Spoils the stored bytes of the second mates, which must then be refused as bad input.
fn check_bytes(change: impl FnOnce(&mut Vec<u8>), named: &[&str]) {
    let cohort = copied();
    let path = reads(cohort.path(), 2);
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(&path, bytes).unwrap();
    refuse(cohort.path(), "-t 2", 3, &[&["S-000001_R2.fastq.gz"], named].concat());
}

/// Spoils the lines of the second mates, which must then be refused as bad input.
fn check_lines(change: impl FnOnce(&mut Vec<String>), named: &[&str]) {
    let spoil = |bytes: &mut Vec<u8>| {
        let mut text = String::new();
        MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        change(&mut lines);
        let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
        lines.iter().for_each(|line| writeln!(gz, "{line}").unwrap());
        *bytes = gz.finish().unwrap();
    };
    check_bytes(spoil, named);
}

#[test]
fn a_broken_gzip_stream_is_named_with_its_offset() {
    check_bytes(|bytes| bytes.truncate(bytes.len() / 2), &["truncated", "byte "]);
    // The simulator writes BGZF: the checksum of the first block stands 8 bytes before its end.
    let spoil_checksum = |bytes: &mut Vec<u8>| {
        let block = usize::from(u16::from_le_bytes([bytes[16], bytes[17]])) + 1;
        bytes[block - 8] ^= 1;
    };
    check_bytes(spoil_checksum, &["damaged", "byte "]);
    check_bytes(|bytes| *bytes = b"MZ\x90\0 no reads here".to_vec(), &["unknown kind"]);
    check_bytes(Vec::clear, &["is empty"]);
}

#[test]
fn records_that_do_not_fit_are_named_with_their_line() {
    check_lines(|lines| lines[402].insert(0, 'x'), &["line 403", "expected '+'"]);
    check_lines(|lines| lines[403].truncate(100), &["line 404", "qualities"]);
    check_lines(|lines| lines[403] = lines[403].replacen(|_| true, " ", 1), &["line 404", "quality"]);
    check_lines(|lines| lines[401] = lines[401].replacen(|_| true, "*", 1), &["line 402", "expected bases"]);
    check_lines(|lines| lines[400] = "@another".to_owned(), &["out of step", "line 401", "another"]);
    check_lines(|lines| lines.truncate(400), &["ends after 100 records", "S-000001_R1.fastq.gz"]);
    check_lines(|lines| lines.truncate(402), &["line 40", "ends within a record"]);
}

#[test]
fn a_digest_that_differs_is_named() {
    let cohort = copied();
    fs::copy(small().dir.join("samples.csv"), cohort.path().join("samples.csv")).unwrap();
    let mut sheet = String::new();
    edit(&cohort.path().join("samples.csv"), |text| {
        sheet = text.replacen(text.trim_end().rsplit(',').next().unwrap(), &"0".repeat(64), 1);
        sheet.clone()
    });
    refuse(cohort.path(), "-t 1", 3, &["S-000001_R2.fastq.gz", "expected SHA-256 000000"]);

    let cohort = copied();
    edit(&cohort.path().join("cohort.toml"), |text| {
        text.replace("\"reference.fa\"", &format!("\"reference.fa\", digest = \"sha256:{}\"", "0".repeat(64)))
    });
    refuse(cohort.path(), "-t 1", 3, &["reference.fa", "sha256:000000"]);
}

#[test]
fn a_sheet_that_names_a_sample_twice_or_a_file_that_is_not_there_is_named_with_its_line() {
    let cohort = copied();
    edit(&cohort.path().join("samples.csv"), |text| {
        let row = text.lines().nth(1).unwrap().to_owned();
        text + &row + "\n"
    });
    refuse(cohort.path(), "", 3, &["samples.csv:3:", "S-000001"]);
    let cohort = copied();
    fs::remove_file(reads(cohort.path(), 1)).unwrap();
    refuse(cohort.path(), "", 3, &["samples.csv:2:", "S-000001_R1.fastq.gz"]);
}

#[test]
fn an_index_that_is_foreign_stale_truncated_or_flipped_is_refused() {
    let spoil = |change: &dyn Fn(&Path, &mut Vec<u8>), named: &[&str]| {
        let cohort = copied();
        let path = cohort.path().join("reference.fa.wki");
        let mut bytes = fs::read(&path).unwrap();
        change(&cohort.path().join("reference.fa"), &mut bytes);
        fs::write(&path, bytes).unwrap();
        let out = folder();
        let said = wakachi::run(&cohort.path().join("cohort.toml"), out.path(), "-t 1");
        let code = said.code.unwrap_or_default();
        assert!(matches!(code, 3 | 6), "{code}: {}", said.stderr);
        said.refused(code, &[&["reference.fa.wki", "wakachi index"], named].concat());
        assert_unfinished(out.path());
    };
    spoil(&|_, bytes| *bytes = b"BWT index of another program".repeat(100), &[]);
    spoil(&|_, bytes| bytes.truncate(bytes.len() / 2), &[]);
    spoil(&|_, bytes| bytes.clear(), &[]);
    for place in [1, 3, 9, 17] {
        let flip = |_: &Path, bytes: &mut Vec<u8>| {
            let at = bytes.len() / 20 * place;
            bytes[at] ^= 4;
        };
        spoil(&flip, &[]);
    }
    let another = |fasta: &Path, _: &mut Vec<u8>| {
        edit(fasta, |text| text.replacen("ACG", "AGG", 1));
    };
    spoil(&another, &["another reference"]);
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let cohort = small();
    let other = folder();
    let file = other.path().join("file");
    fs::write(&file, "not a directory").unwrap();
    cohort.run(&file.join("job"), "").refused(1, &["file/job", "cannot make the directory", "--out"]);
    cohort.run(other.path(), "").refused(2, &["holds files that are not a job's", "--out"]);

    let job = cohort.job("-t 2");
    let stranger = copied();
    edit(&stranger.path().join("cohort.toml"), |text| text.replace("id = \"simulated-", "id = \"stranger-"));
    let before = wakachi::digests(&job.path().join("results"));
    let said = wakachi::run(&stranger.path().join("cohort.toml"), job.path(), "-t 2");
    said.refused(2, &["belongs to another job", "new directory"]);
    assert_eq!(wakachi::digests(&job.path().join("results")), before);
}

#[test]
fn a_full_disk_is_said_and_the_job_goes_on_when_there_is_space() {
    let cohort = small();
    let expect = cohort.job("-t 1");
    let out = folder();
    let run = format!(
        "ulimit -f 100; exec {} run {} --out {} -t 1 --chunk-pairs 300",
        env!("CARGO_BIN_EXE_wakachi"),
        text(&cohort.file()),
        text(out.path())
    );
    // Python ignores SIGXFSZ and its children inherit that, so that writing fails as on a full disk.
    let python = "import os, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); os.execvp('bash', sys.argv[1:])";
    if !wakachi::present(&["python3"]) {
        return;
    }
    let full = said(Command::new("python3").args(["-c", python, "bash", "-c", &run]).env("NO_COLOR", "1"));
    full.refused(1, &[text(out.path())]);
    assert_unfinished(out.path());
    cohort.run(out.path(), "-t 1 --chunk-pairs 300").ok();
    let results = |job: &Path| wakachi::digests(&job.join("results"));
    assert_eq!(results(out.path()), results(expect.path()));
}

#[test]
fn a_second_run_on_the_same_directory_is_kept_out() {
    let cohort = small();
    let out = folder();
    fs::create_dir_all(out.path().join(".wakachi")).unwrap();
    let fence = storage::Fence::acquire(&out.path().join(".wakachi")).unwrap();
    let holder = format!("process {}", std::process::id());
    cohort.run(out.path(), "-t 1").refused(1, &["in use by", &holder]);
    drop(fence);
    cohort.run(out.path(), "-t 1").ok();
}

#[test]
fn too_little_memory_is_refused_with_the_least_that_works() {
    let cohort = small();
    let out = folder();
    let said = cohort.run(out.path(), "-t 1 --memory 256M");
    said.refused(2, &["memory", "give --memory "]);
    assert_unfinished(out.path());
    let least = said.stderr.split("--memory ").nth(1).unwrap().split_whitespace().next().unwrap();
    cohort.run(out.path(), &format!("-t 1 --memory {least}")).ok();
}

#[test]
fn filters_refuse_what_is_no_alignment() {
    let cohort = small();
    let other = folder();
    let job = cohort.job("-t 1");
    let cram = job.path().join("results/S-000001.cram");
    let reference = cohort.reference();
    let check = |bytes: &[u8]| {
        let spoiled = other.path().join("spoiled.cram");
        fs::write(&spoiled, bytes).unwrap();
        let out = other.path().join("out.vcf.gz");
        let said = wakachi(&["call", text(&reference), text(&spoiled), "-o", text(&out)]);
        assert_eq!(said.code, Some(3), "{}", said.stderr);
        assert!(said.stderr.contains("spoiled.cram"), "{}", said.stderr);
        assert!(!said.stderr.contains("panicked") && !out.exists(), "{}", said.stderr);
    };
    let bytes = fs::read(&cram).unwrap();
    check(b"");
    check(b"@no alignment at all");
    check(&bytes[..bytes.len() / 2]);
    check(&bytes[..bytes.len() - 38]);
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    check(&flipped);
}

#[test]
fn a_closed_pipe_ends_a_stream_quietly() {
    let cohort = small();
    let mut align = command(&["align", text(&cohort.reference()), text(&reads(&cohort.dir, 1)), "-o", "-"]);
    let mut child = align.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((String::from_utf8_lossy(&output.stderr).as_ref(), output.status.code()), ("", Some(1)));
}

#[test]
fn an_interrupt_leaves_no_half_of_a_file() {
    let (cohort, out) = (small(), folder());
    let file = out.path().join("out.bam");
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut align = command(&["align", text(&cohort.reference()), "-", "-o", text(&file), "--unsorted"]);
        let mut child = align.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        // It waits for more reads, and what it writes has begun.
        let reads = child.stdin.take();
        while !out.path().join(".out.bam.partial").exists() {
            assert!(child.try_wait().unwrap().is_none(), "it ended");
            std::thread::sleep(Duration::from_millis(5));
        }
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        drop(reads);
        let left = fs::read_dir(out.path()).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

#[test]
fn what_belongs_to_the_input_is_not_written_over_nor_read_as_both_mates() {
    let (cohort, other) = (small(), folder());
    copy(&cohort.dir, other.path());
    let reference = other.path().join("reference.fa");
    let [first, second] = [1, 2].map(|mate| reads(other.path(), mate));
    let refused = |second: &Path, out: &Path, named: &str| {
        let before = fs::read(out).ok();
        let arguments = ["align", text(&reference), text(&first), text(second), "-o", text(out), "-f", "bam"];
        let said = wakachi(&arguments);
        assert_eq!(said.code, Some(2), "{}", said.stderr);
        assert!(said.stderr.contains(named), "{}", said.stderr);
        assert_eq!(fs::read(out).ok(), before);
    };
    for ending in ["wki", "fai"] {
        refused(&second, &other.path().join(format!("reference.fa.{ending}")), "overwritten");
    }
    let link = other.path().join("link.fq.gz");
    std::os::unix::fs::symlink(&first, &link).unwrap();
    refused(&link, &other.path().join("out.bam"), "both files of reads");
}

#[test]
fn a_read_group_that_no_record_can_bear_is_refused_and_reads_too_long_to_place_are_counted() {
    let (cohort, out) = (small(), folder());
    let (reads, file) = (out.path().join("long.fq"), out.path().join("out.bam"));
    let record =
        |bases: usize| format!("@{bases}\n{}\n+\n{}\n", "ACGTT".repeat(bases / 5), "I".repeat(bases));
    fs::write(&reads, record(1020) + &record(1030) + &record(5000)).unwrap();
    let align = |group: &str| {
        wakachi(&["align", text(&cohort.reference()), text(&reads), "-o", text(&file), "-R", group])
    };
    let said = align("@RG\\tID:\u{e9}\\tSM:s");
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    assert!(said.stderr.contains("printable ASCII") && !file.exists(), "{}", said.stderr);
    let said = align("@RG\\tID:1\\tSM:s");
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.stderr.contains("2 reads of more than 1024 bases were not placed"), "{}", said.stderr);
}
