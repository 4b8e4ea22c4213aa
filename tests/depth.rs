//! Bounded memory: a place that ten thousand reads cover stays within `--memory`, and gives the same bytes however the
//! work is cut.

#[path = "program/wakachi.rs"]
mod wakachi;

use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use std::fs;
use std::io::{Read, Write};
use wakachi::{Cohort, all_tests, digests, folder, text};
use workers::simulate::truth::ReadTruth;

/// Times that the reads of the deep place are there.
const COPIES: usize = 1000;
const MEMORY_BYTES: u64 = 2 << 30;

#[test]
fn a_deep_place_stays_within_memory_and_shows_no_cuts() {
    if !all_tests() {
        return;
    }
    let cohort = Cohort::simulate("depth", "--samples 1 --genome-mb 0.4 --depth 10 --seed 61");
    // The last pairs of the second file follow the first's, as all of them do.
    for mate in [1, 2] {
        let path = cohort.dir.join(format!("reads/S-000001_R{mate}.fastq.gz"));
        let mut reads = String::new();
        MultiGzDecoder::new(fs::File::open(&path).unwrap()).read_to_string(&mut reads).unwrap();
        let mut gz = GzEncoder::new(fs::File::create(&path).unwrap(), Compression::fast());
        gz.write_all(reads.as_bytes()).unwrap();
        let lines: Vec<&str> = reads.lines().collect();
        for record in lines.chunks(4).filter(|record| is_deep(record[0])) {
            for copy in 0..COPIES {
                let name = record[0].split(' ').next().unwrap();
                writeln!(gz, "{name}:{copy}\n{}\n+\n{}", record[1], record[3]).unwrap();
            }
        }
        gz.finish().unwrap();
    }
    let sheet = fs::read_to_string(cohort.dir.join("samples.csv")).unwrap();
    let rows = sheet.lines().map(|row| row.split(',').take(10).collect::<Vec<_>>().join(",") + "\n");
    fs::write(cohort.dir.join("samples.csv"), rows.collect::<String>()).unwrap();

    let mut results = Vec::new();
    for cuts in ["-t 2 --memory 2G", "-t 1 --memory 2G --chunk-pairs 20000 --shard-bases 131072"] {
        let out = folder();
        let run = cohort.run(out.path(), cuts).ok().json();
        let peak = run["run"]["peak_anonymous_bytes"].as_u64().unwrap();
        println!("{cuts}: peak of {} MiB in {}", peak >> 20, text(out.path()));
        assert!(peak <= MEMORY_BYTES, "{cuts}: {peak} bytes");
        results.push(digests(&out.path().join("results")));
    }
    assert_eq!(results[0], results[1]);
}

/// Whether a pair begins in the place that is to be deep.
fn is_deep(name: &str) -> bool {
    let name = name[1..].split(' ').next().unwrap();
    let truth = ReadTruth::parse(name).expect("a simulated name");
    truth.reads.iter().any(|(contig, place)| *contig == "chr1" && (60_000..60_600).contains(&place.start))
}
