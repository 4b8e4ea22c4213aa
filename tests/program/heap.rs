//! A window of 10,000-fold depth in a simulated cohort: what makes a straggler of whoever meets it.

use super::wakachi::Cohort;
use std::fs;
use std::io::Write;
use workers::simulate::genome::{read_fasta, reverse_complement};

/// Where the reads are heaped, in the first contig, and how far their starts spread.
const WINDOW: usize = 150_000;
const STARTS: usize = 200;

/// Pairs of 150 bases: over the window's middle, every one of them stands.
const PAIRS: usize = 12_000;
const READ_BASES: usize = 150;

/// Appends the window's pairs to the first sample's files, and states no more what the sheet said of them.
pub fn heap(cohort: &Cohort) {
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
