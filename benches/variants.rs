//! How right is what one and the same caller finds after each mapper: `bcftools mpileup | call` over a piece of the
//! reference that is covered deeply, while the reads are mapped to all of it.
//!
//! Calls elsewhere come of reads that went astray, so they count as false.

use crate::Data;
use crate::mappers::{Mapper, Run, drain};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use workers::assess::{Callset, VariantAccuracy, assess_variants};
use workers::simulate::genome::{Sequence, write_fasta};
use workers::simulate::{self, Options};

/// That of the reads of a piece; of a usual genome.
pub const DEPTH: f64 = 30.0;
/// Share of unknown bases that a piece may have.
const UNKNOWN_MAX: f64 = 0.01;
/// What calls.
pub const CALLER: [&str; 2] = ["samtools", "bcftools"];
/// `$at` is the first base of the piece on its contig, from 0. What is called elsewhere is counted in `$astray`.
const CALL: &str = r#"
samtools sort -u -T "$out/sorting" "$out/mapped.sam" | bcftools mpileup -f "$index" -Ou - | bcftools call -mv -Ov |
awk -F '\t' -v OFS='\t' -v contig="$contig" -v at="$at" -v bases="$bases" -v astray="$out/astray" '
    /^##contig/ && seen++ { next }
    /^##contig/ { sub("ID=.*", "ID=" contig ",length=" bases ">") }
    /^#/ { print; next }
    $1 == contig && $2 > at && $2 <= at + bases { $2 -= at; print; next }
    { elsewhere++ }
    END { print elsewhere + 0 > astray }' > "$out/calls.vcf""#;

/// A piece of the reference with a person's reads and variants.
pub struct Piece {
    folder: PathBuf,
    sequence: Sequence,
    /// First base on its contig.
    at: usize,
    /// FASTQ.gz.
    pub reads: [PathBuf; 2],
    /// Of the reads, in billions.
    pub gigabases: f64,
    truth: PathBuf,
}

impl Piece {
    /// The first piece of `bases` bases without gaps a quarter into a contig or after it, with reads.
    pub fn simulate(data: &Data, bases: usize) -> Piece {
        let (sequence, at) = cut(&data.reference, bases).expect("a piece of the reference without gaps");
        let folder = data.folder.join("piece");
        std::fs::create_dir_all(&folder).expect("a folder");
        let fasta = folder.join("piece.fa");
        let mut text = Vec::new();
        write_fasta(std::slice::from_ref(&sequence), &mut text).expect("memory");
        std::fs::write(&fasta, text).expect("a piece");
        let options = Options {
            out: folder.join("simulated"),
            samples: 1,
            depth: DEPTH,
            tumor: false,
            reference: Some(fasta),
            ..Options::default()
        };
        let summary = simulate::run(&options, &mut |_| ()).expect("a simulation");
        let sample = &summary.samples[0];
        let reads =
            ["R1", "R2"].map(|mate| options.out.join(format!("reads/{}_{mate}.fastq.gz", sample.name)));
        let gigabases = sample.pairs as f64 * 300.0 / 1e9;
        Piece { folder, sequence, at, reads, gigabases, truth: sample.truth.clone() }
    }

    /// What is found after a mapper.
    pub fn call(&self, data: &Data, mapper: &Mapper) -> VariantAccuracy {
        let sam = self.folder.join("mapped.sam");
        let mut file = std::fs::File::create(&sam).expect("a file");
        mapper.map(&data.folder, &self.reads, 1, |mut out| {
            std::io::copy(&mut out, &mut file).expect("SAM");
        });
        let mut run = Run::new(CALL);
        run.command.env("out", &self.folder).env("index", &data.reference);
        run.command.env("contig", &self.sequence.name).env("at", self.at.to_string());
        run.command.env("bases", self.sequence.bases.len().to_string());
        run.wait(drain);
        std::fs::remove_file(sam).expect("its own file");
        let bases =
            |name: &str| (name == self.sequence.name).then(|| Cow::Borrowed(&self.sequence.bases[..]));
        let calls = self.folder.join("calls.vcf");
        let [truth, calls] = [&self.truth, &calls].map(|path| Callset { path, sample: None });
        let mut accuracy = assess_variants(&truth, &calls, &bases).expect("two sound VCF files");
        let astray = std::fs::read_to_string(self.folder.join("astray")).expect("a count");
        accuracy.snv.false_positives += astray.trim().parse::<u64>().expect("a count");
        accuracy
    }
}

fn cut(reference: &Path, bases: usize) -> Option<(Sequence, usize)> {
    let mut found = None;
    let read: Result<(), ()> = workers::fasta::read(reference, |contig, letters| {
        let starts = (letters.len() / 4..letters.len().saturating_sub(bases)).step_by(bases.max(4) / 4);
        for at in starts {
            let piece = &letters[at..at + bases];
            let known = piece.iter().filter(|letter| b"ACGT".contains(letter)).count();
            if known as f64 >= (1.0 - UNKNOWN_MAX) * bases as f64 {
                let bases = piece.iter().map(|&base| if b"ACGT".contains(&base) { base } else { b'N' });
                found = Some((Sequence { name: contig.name, bases: bases.collect() }, at));
                return Err(());
            }
        }
        Ok(())
    })
    .expect("a FASTA file");
    debug_assert_eq!(read.is_err(), found.is_some());
    found
}
