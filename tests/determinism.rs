//! Promise 1: the same bytes, whoever computes them, however the work is cut, and however often it crashed.

#[path = "program/wakachi.rs"]
mod wakachi;

use kernels::simd::Level;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;
use storage::{Fence, Journal};
use wakachi::{Cohort, End, all_tests, digests, folder, kill_after, text};
use workers::simulate::genome::read_fasta;

type Digests = BTreeMap<String, String>;

/// Two people and a tumour on several cells, and the digests of what one thread makes of them.
fn small() -> &'static (Cohort, Digests) {
    static SMALL: OnceLock<(Cohort, Digests)> = OnceLock::new();
    SMALL.get_or_init(|| {
        let cohort =
            Cohort::simulate("determinism", "--samples 2 --tumor --genome-mb 0.6 --depth 5 --seed 11");
        let expect = digests(&cohort.job("-t 1").path().join("results"));
        // A CRAM, a gVCF and their indexes of each sample; a VCF and its index.
        assert_eq!(expect.len(), 4 * 3 + 2, "{expect:?}");
        (cohort, expect)
    })
}

/// Asserts that a run of the small cohort with these options gives the same bytes.
fn check(options: &str) {
    let (cohort, expect) = small();
    assert_same(expect, cohort.job(options).path(), options);
}

fn assert_same(expect: &Digests, job: &Path, how: &str) {
    let found = digests(&job.join("results"));
    let names = expect.keys().chain(found.keys());
    let differ: Vec<_> = names.filter(|name| expect.get(*name) != found.get(*name)).collect();
    assert!(differ.is_empty(), "{how}: other bytes: {differ:?}");
}

#[test]
fn threads_do_not_show() {
    check("-t 2");
}

#[test]
fn the_cut_into_chunks_does_not_show() {
    check("-t 2 --chunk-pairs 500");
    check("-t 1 --chunk-pairs 777");
}

#[test]
fn the_length_of_shards_does_not_show() {
    check("-t 2 --shard-bases 131072");
    check("-t 1 --shard-bases 300000 --chunk-pairs 3000");
}

#[test]
fn every_grid_line_may_be_a_border() {
    let cells = cells(&small().0);
    assert!(cells >= 6, "{cells} cells are too few to cut between");
    for line in 1..cells {
        check(&format!("-t 2 --shard-lines {line}"));
    }
}

#[test]
fn memory_does_not_show() {
    let (cohort, _) = small();
    let out = folder();
    let plan = cohort.run(out.path(), "--dry-run -t 2").ok().json();
    check(&format!("-t 2 --memory {}", plan["memory_bytes_min"]));
}

#[test]
fn the_vectors_of_the_cpu_do_not_show() {
    let cohort = &small().0;
    let [first, second] = [1, 2].map(|mate| cohort.dir.join(format!("reads/S-000001_R{mate}.fastq.gz")));
    let reference = cohort.reference();
    let align = |level: &str| {
        let inputs = [text(&reference), text(&first), text(&second)];
        wakachi::wakachi(&[&["align"], &inputs[..], &["-o", "-", "--simd", level]].concat())
    };
    let expect = align("auto").ok().stdout;
    for level in Level::available() {
        check(&format!("-t 2 --simd {level}"));
        assert!(align(&level.to_string()).ok().stdout == expect, "align --simd {level}: other bytes");
    }
    let lacking = if cfg!(target_arch = "aarch64") { "avx2" } else { "neon" };
    let refused = align(lacking);
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.stderr.contains(&format!("this CPU lacks {lacking}; expected auto")),
        "{}",
        refused.stderr
    );
}

#[test]
fn threads_and_chunks_do_not_show_in_what_align_writes() {
    let cohort = &small().0;
    let [first, second] = [1, 2].map(|mate| cohort.dir.join(format!("reads/S-000001_R{mate}.fastq.gz")));
    let (reference, out) = (cohort.reference(), folder());
    let align = |output: &str, options: &str| {
        let inputs = [text(&reference), text(&first), text(&second), "-o", output];
        let options: Vec<&str> = options.split_whitespace().collect();
        wakachi::wakachi(&[&["align"], &inputs[..], &options].concat()).ok().stdout
    };
    let expect = align("-", "-t 1");
    assert!(expect.lines().count() > 10_000);
    let pairs = interleaved(&[&first, &second], out.path());
    let together = wakachi::wakachi(&["align", text(&reference), text(&pairs), "-p", "-o", "-"]).ok();
    assert!(together.stdout == expect, "pairs in one file: other bytes");
    assert!(align("-", "-t 3") == expect, "a stream on three threads: other bytes");
    let sorted = |name: &str, options: &str| {
        let path = out.path().join(name);
        align(text(&path), options);
        fs::read(path).unwrap()
    };
    for format in ["cram", "bam"] {
        let expect = sorted(&format!("one.{format}"), "-t 1");
        let found = sorted(&format!("many.{format}"), "-t 3 --chunk-pairs 700");
        assert!(found == expect, "{format}, sorted on three threads in small runs: other bytes");
        let index = if format == "cram" { "crai" } else { "bai" };
        let index = |name: &str| fs::read(out.path().join(format!("{name}.{format}.{index}"))).unwrap();
        for memory in ["1K", "1M"] {
            let found =
                sorted(&format!("disk.{format}"), &format!("-t 3 --chunk-pairs 700 --memory {memory}"));
            assert!(found == expect, "{format}, sorted in {memory} of memory: other bytes");
            assert!(index("disk") == index("one"), "{format}: another index");
        }
    }
}

/// The records of two compressed files in turn, in one.
fn interleaved(files: &[&Path], folder: &Path) -> PathBuf {
    let read = |path: &&Path| {
        let mut text = String::new();
        let file = fs::File::open(path).unwrap();
        flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
        text
    };
    let texts: Vec<String> = files.iter().map(read).collect();
    let mut lines: Vec<_> = texts.iter().map(|text| text.split_inclusive('\n')).collect();
    let path = folder.join("pairs.fq");
    let mut out = String::new();
    while out.len() < texts.iter().map(String::len).sum() {
        lines.iter_mut().for_each(|lines| out.extend(lines.by_ref().take(4)));
    }
    fs::write(&path, out).unwrap();
    path
}

#[test]
fn paths_order_of_rows_and_compression_do_not_show() {
    let (cohort, expect) = small();
    let other = folder();
    let reads = other.path().join("other names");
    fs::create_dir(&reads).unwrap();
    let sheet = fs::read_to_string(cohort.dir.join("samples.csv")).unwrap();
    let mut rows: Vec<Vec<String>> =
        sheet.lines().map(|row| row.split(',').map(str::to_owned).collect()).collect();
    rows[1..].reverse();
    for (ordinal, row) in rows[1..].iter_mut().enumerate() {
        for column in [8, 9] {
            let target = format!("other names/{ordinal}.{column}.fq");
            let stored = fs::File::open(cohort.dir.join(&row[column])).unwrap();
            let mut plain = fs::File::create(other.path().join(&target)).unwrap();
            std::io::copy(&mut flate2::read::MultiGzDecoder::new(stored), &mut plain).unwrap();
            row[column] = target;
            // The digest is of the compressed file.
            row[column + 2].clear();
        }
    }
    let sheet: String = rows.iter().map(|row| row.join(",") + "\n").collect();
    fs::write(other.path().join("samples.csv"), sheet).unwrap();
    fs::copy(cohort.file(), other.path().join("cohort.toml")).unwrap();
    fs::copy(cohort.reference(), other.path().join("reference.fa")).unwrap();
    for name in wakachi::GOVERNANCE {
        fs::copy(cohort.dir.join(name), other.path().join(name)).unwrap();
    }
    let out = folder();
    wakachi::run(&other.path().join("cohort.toml"), out.path(), "-t 2").ok();
    assert_same(expect, out.path(), "other paths, rows and compression");
}

#[test]
fn an_archive_does_not_show_and_holds_every_result() {
    let (cohort, expect) = small();
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let command = |line: &str| {
        let line = line.replace('@', text(folder.path()));
        wakachi::wakachi(&line.split_whitespace().collect::<Vec<_>>()).ok()
    };
    wakachi::copy(&cohort.dir, folder.path());
    fs::write(at("passphrase"), "correct horse\n").unwrap();
    let secret = "--passphrase-file @/passphrase";
    for name in ["a", "b"] {
        command(&format!(
            "custodian keygen {name} --ledger file://@/ledger-{name} -o @/keys-{name} {secret}"
        ));
    }
    command(&format!(
        "vault init --vault @/vault --data 2 --parity 1 --quorum 2 --survive-sites 1 {secret} \
         --site file://@/site-1 --site file://@/site-2 --site file://@/site-3 \
         --custodian @/keys-a/a.pub.json --custodian @/keys-b/b.pub.json \
         --consent @/consent.json --sites @/sites.toml --policy @/policy.toml --at here --purpose qa"
    ));
    let archive = "\n[archive]\nvault = \"vault\"\npassphrase_file = \"passphrase\"\n";
    fs::write(at("cohort.toml"), fs::read_to_string(at("cohort.toml")).unwrap() + archive).unwrap();
    let archived =
        (Cohort { dir: folder.path().to_owned(), summary: cohort.summary.clone() }, expect.clone());
    kill_until_complete(&archived, 2, 4, &["--chunk-pairs 3000"; 2], &at("job"));

    let sealed: serde_json::Value =
        serde_json::from_slice(&fs::read(at("job/sealed.json")).unwrap()).unwrap();
    let sealed = sealed["files"].as_array().unwrap();
    let names: Vec<String> = expect.keys().map(|name| format!("results/{name}")).collect();
    let mut found: Vec<_> = sealed.iter().map(|file| file["path"].as_str().unwrap().to_owned()).collect();
    found.sort();
    assert_eq!(found, names);
    let objects = command("vault list --vault @/vault --output json").json()["objects"].take();
    assert_eq!(objects.as_array().unwrap().len(), names.len(), "kills left more objects than files");
    command("vault check --vault @/vault");
    let keys = "--custodian-key @/keys-a/a.epoch-1.key @/keys-b/b.epoch-1.key";
    for file in sealed {
        let (object, path) = (file["object"].as_str().unwrap(), file["path"].as_str().unwrap());
        command(&format!("vault restore {object} --vault @/vault -o @/restored --force {keys} {secret}"));
        assert!(
            fs::read(at("restored")).unwrap() == fs::read(at("job").join(path)).unwrap(),
            "{path} differs"
        );
    }
}

#[test]
fn kills_at_random_moments_do_not_show_and_cost_no_more_than_the_tasks_in_flight() {
    let cuts = ["--chunk-pairs 500 --shard-bases 131072"; 2];
    kill_until_complete(small(), 1, 1, &cuts, folder().path());
    kill_until_complete(small(), 2, 2, &cuts, folder().path());
}

#[test]
fn a_killed_job_may_go_on_with_other_cuts() {
    let cuts = [
        "--chunk-pairs 700 --shard-bases 131072",
        "--chunk-pairs 5000",
        "--shard-lines 3",
        "--chunk-pairs 900 --shard-lines 2,5",
    ];
    kill_until_complete(small(), 2, 3, &cuts, folder().path());
}

#[test]
fn other_genomes_deeper_reads_and_many_kills() {
    if !all_tests() {
        return;
    }
    for seed in 1..=4_u64 {
        let options = format!("--samples 3 --tumor --genome-mb 1.2 --depth 20 --seed {seed}");
        let cohort = Cohort::simulate("determinism-deep", &options);
        let expect = digests(&cohort.job("-t 1").path().join("results"));
        for line in 1..cells(&cohort) {
            let how = format!("-t 2 --chunk-pairs {} --shard-lines {line}", 1000 * u64::from(line) + seed);
            assert_same(&expect, cohort.job(&how).path(), &how);
        }
        let deep = (cohort, expect);
        let cuts = ["--chunk-pairs 2000 --shard-bases 131072"; 2];
        kill_until_complete(&deep, 2, 100 + seed, &cuts, folder().path());
    }
}

/// Cells of the cohort's genome.
fn cells(cohort: &Cohort) -> u32 {
    let bases = read_fasta(&cohort.reference()).unwrap().into_iter().map(|contig| contig.bases.len() as u32);
    bases.map(|bases| bases.div_ceil(jobs::genome::CELL_BASES)).sum()
}

/// Kills runs, which take turns in how they cut the work, at moments that follow from `seed`, until one completes.
fn kill_until_complete(
    (cohort, expect): &(Cohort, Digests),
    threads: u64,
    seed: u64,
    cuts: &[&str],
    out: &Path,
) {
    let mut random = Random(seed);
    let (mut kills, mut killed_ms) = (0, 0);
    for turn in 0.. {
        // Longer and longer, so that it comes to an end on any machine.
        let cpu = Duration::from_millis(20 + random.below(150 + 20 * turn));
        let how = format!("-t {threads} {}", cuts[turn as usize % cuts.len()]);
        match kill_after(&cohort.file(), out, &how, cpu, || ()) {
            End::Killed(cpu) => {
                kills += 1;
                killed_ms += cpu.as_millis();
            }
            End::Itself(code) => {
                assert_eq!(code, Some(0), "after {kills} kills");
                break;
            }
        }
    }
    assert_same(expect, out, &format!("{kills} kills, seed {seed}"));
    assert!(kills >= 3, "{kills} kills prove little");
    let info = wakachi::wakachi(&["job", "info", text(out), "--output", "json"]).ok().json();
    let last_ms = info["runs"].as_array().and_then(|runs| runs.last()?["cpu_ms"].as_u64()).unwrap();
    let journal = Journal::open(Fence::acquire(&out.join(".wakachi")).unwrap()).unwrap();
    let attempts = journal.attempts().unwrap();
    let again: u64 = attempts.values().map(|&attempts| u64::from(attempts) - 1).sum();
    println!(
        "{threads} threads, {kills} kills: {} tasks, {again} attempts redone, CPU of all runs {} ms",
        attempts.len(),
        killed_ms + u128::from(last_ms)
    );
    assert!(again <= threads * kills, "{again} attempts redone after {kills} kills with {threads} threads");
}

/// Numbers that follow from a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
