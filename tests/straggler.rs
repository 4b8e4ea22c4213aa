//! A window of 10,000-fold depth, a lane in a single chunk: the attempt that meets it is cut while it runs, and what it
//! would have come to is shared out. The bytes are those of one thread that is never cut.

#[path = "program/wakachi.rs"]
mod wakachi;

use std::fs;
use std::io::Write;
use std::path::Path;
use wakachi::{Cohort, digests, text};
use workers::simulate::genome::{read_fasta, reverse_complement};

/// Where the reads are heaped, in the first contig, and how far their starts spread.
const WINDOW: usize = 150_000;
const STARTS: usize = 200;

/// Pairs of 150 bases: over the window's middle, every one of them stands.
const PAIRS: usize = 12_000;
const READ_BASES: usize = 150;

#[test]
fn a_straggler_is_cut_while_it_runs_and_shared_out() {
    let cohort = Cohort::simulate("straggler", "--samples 1 --genome-mb 0.8 --depth 6 --seed 13");
    heap(&cohort);
    // One shard for the whole genome, whatever it costs.
    let alone = cohort.job("-t 1 --shard-lines 0 --chunk-pairs 3000 --rest-ms 1000000000");
    assert_eq!(regions(alone.path()), 1, "one thread has nobody to share with");
    let shared = cohort.job("-t 2 --shard-lines 0 --chunk-pairs 3000 --rest-ms 5");
    assert!(regions(shared.path()) >= 2, "nobody came to help");
    let results = |job: &Path| digests(&job.join("results"));
    assert_eq!(results(shared.path()), results(alone.path()));
}

#[test]
fn a_map_is_cut_while_it_runs_and_shared_out() {
    let cohort = Cohort::simulate("straggling-map", "--samples 1 --genome-mb 0.6 --depth 12 --seed 14");
    let alone = cohort.job("-t 1 --rest-ms 1000000000 --chunk-pairs 1000000");
    let lanes = maps(alone.path());
    let shared = cohort.job("-t 3 --rest-ms 20 --chunk-pairs 1000000");
    assert!(maps(shared.path()) >= lanes + 3, "{lanes} lanes, {} maps", maps(shared.path()));
    let cells = cohort.job("-t 2 --chunk-pairs 1000 --shard-lines 0");
    let results = |job: &Path| digests(&job.join("results"));
    assert_eq!(results(shared.path()), results(alone.path()));
    assert_eq!(results(cells.path()), results(alone.path()));
}

/// Maps that were committed.
fn maps(job: &Path) -> u64 {
    let info = wakachi::wakachi(&["job", "info", text(job), "--output", "json"]).ok().json();
    let mut stages = info["stages"].as_array().unwrap().iter();
    stages.find(|stage| stage["stage"] == "map").unwrap()["done"].as_u64().unwrap()
}

/// Attempts at regions of placed reads that were committed.
fn regions(job: &Path) -> usize {
    let ledger: serde_json::Value =
        serde_json::from_slice(&fs::read(job.join("ledger.json")).unwrap()).unwrap();
    ledger["samples"][0]["shards"].as_array().unwrap().len()
}

/// Appends the window's pairs to the sample's files.
fn heap(cohort: &Cohort) {
    let genome = read_fasta(&cohort.reference()).unwrap();
    let bases = &genome[0].bases;
    let mut files = [String::new(), String::new()];
    let mut seed = 17u64;
    for pair in 0..PAIRS {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let start = WINDOW + (seed >> 33) as usize % STARTS;
        let end = start + 300 + (seed >> 50) as usize % 100;
        let first = &bases[start..start + READ_BASES];
        let second = reverse_complement(&bases[end - READ_BASES..end]);
        for (file, sequence) in files.iter_mut().zip([first, &second[..]]) {
            let sequence = String::from_utf8(sequence.to_vec()).unwrap();
            *file += &format!("@heap:{pair}\n{sequence}\n+\n{}\n", "I".repeat(READ_BASES));
        }
    }
    let sample = cohort.samples().remove(0);
    for (mate, text) in (1..).zip(files) {
        let path = cohort.dir.join(format!("reads/{sample}_R{mate}.fastq.gz"));
        let file = fs::OpenOptions::new().append(true).open(path).unwrap();
        let mut member = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        member.write_all(text.as_bytes()).unwrap();
        member.finish().unwrap();
    }
    let sheet = fs::read_to_string(cohort.dir.join("samples.csv")).unwrap();
    let cut = |row: &str| row.split(',').take(10).collect::<Vec<_>>().join(",") + ",,\n";
    let (header, rows) = sheet.split_once('\n').unwrap();
    fs::write(
        cohort.dir.join("samples.csv"),
        format!("{header}\n{}", rows.lines().map(cut).collect::<String>()),
    )
    .unwrap();
}
