//! Bounded memory: a place that ten thousand different reads cover stays within `--memory`, and gives the same bytes
//! however the work is cut.

#[path = "program/wakachi.rs"]
mod wakachi;

use flate2::{Compression, write::GzEncoder};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use wakachi::{Cohort, all_tests, digests, folder};
use workers::simulate::genome::{read_fasta, reverse_complement};

/// Pairs of 300 bases over about 1,100.
const DEEP_PAIRS: u64 = 40_000;
const READ_BASES: u64 = 150;
const MEMORY_BYTES: u64 = 2 << 30;

#[test]
fn a_deep_place_stays_within_memory_and_shows_no_cuts() {
    if !all_tests() {
        return;
    }
    let cohort = Cohort::simulate("depth", "--samples 1 --genome-mb 0.4 --depth 10 --seed 61");
    add_deep_pairs(&cohort);
    let sheet = fs::read_to_string(cohort.dir.join("samples.csv")).unwrap();
    // Without the digests, which are of the files before.
    let rows = sheet.lines().map(|row| row.split(',').take(10).collect::<Vec<_>>().join(",") + "\n");
    fs::write(cohort.dir.join("samples.csv"), rows.collect::<String>()).unwrap();

    let mut results = Vec::new();
    for cuts in ["-t 2 --memory 2G", "-t 1 --memory 2G --chunk-pairs 20000 --shard-bases 131072"] {
        let out = folder();
        let run = cohort.run(out.path(), cuts).ok().json();
        let peak = run["run"]["peak_anonymous_bytes"].as_u64().unwrap();
        println!("{cuts}: peak of {} MiB", peak >> 20);
        assert!(peak <= MEMORY_BYTES, "{cuts}: {peak} bytes");
        results.push(digests(&out.path().join("results")));
    }
    assert_eq!(results[0], results[1]);
}

/// Adds pairs of one place with errors here and there, as a further gzip member of each file.
fn add_deep_pairs(cohort: &Cohort) {
    let genome = read_fasta(&cohort.reference()).unwrap();
    let open = |mate| {
        let path = cohort.dir.join(format!("reads/S-000001_R{mate}.fastq.gz"));
        GzEncoder::new(OpenOptions::new().append(true).open(path).unwrap(), Compression::fast())
    };
    let mut mates: [GzEncoder<File>; 2] = [open(1), open(2)];
    for pair in 0..DEEP_PAIRS {
        let mut random = blake3::Hasher::new().update(&pair.to_le_bytes()).finalize_xof();
        let mut below = |bound: u64| {
            let mut word = [0; 8];
            random.fill(&mut word);
            u64::from_le_bytes(word) % bound
        };
        let start = 60_000 + below(600);
        let end = start + 320 + below(200);
        let fragment = &genome[0].bases[start as usize..end as usize];
        let fragment = if below(2) == 0 { fragment.to_vec() } else { reverse_complement(fragment) };
        for (mate, bases) in mates.iter_mut().zip([fragment.clone(), reverse_complement(&fragment)]) {
            let mut bases = bases[..READ_BASES as usize].to_vec();
            if below(3) == 0 {
                let at = below(READ_BASES) as usize;
                bases[at] = b"CAGT"[usize::from(bases[at] >> 1 & 3)];
            }
            let bases = String::from_utf8(bases).unwrap();
            writeln!(mate, "@deep:{pair}\n{bases}\n+\n{}", "F".repeat(bases.len())).unwrap();
        }
    }
    mates.into_iter().for_each(|mate| drop(mate.finish().unwrap()));
}
