//! What two processes of one job must see alike, as a digest: its sight.
//!
//! Invariant: processes of one sight give one task the same output, and mean the same samples by their places.

use super::books;
use super::runner::Runner;
use jobs::cohort::{Fastq, Lane};
use jobs::failure::Failure;

/// The sight of the ranks of one start, each of which may have copies of its own of the reads: what [`of_waves`] names but
/// the reads' stamps.
pub fn of_ranks(runner: &Runner<'_>) -> Result<String, Failure> {
    Ok(books::blake3_text(&common(runner)?))
}

/// The sight of a wave, from the coordinator that sends it to the one that collects it: the job directory by its secret,
/// program, samples, parameters, reads, reference, site and policy. How lanes are cut is no part of it: that is the
/// intake's, and never changes a result.
pub fn of_waves(runner: &Runner<'_>) -> Result<String, Failure> {
    let mut text = common(runner)?;
    // As the bases of lanes have them.
    for fastq in reads(runner) {
        text += &fastq.sha256.map_or_else(String::new, |sha256| books::hex(&sha256));
        text += &format!("\t{}\n", books::stamp(&runner.cohort.reads_path(fastq)));
    }
    Ok(books::blake3_text(&text))
}

fn common(runner: &Runner<'_>) -> Result<String, Failure> {
    let (cohort, context, gate) = (runner.cohort, runner.context, runner.gate);
    let mut text = format!("wakachi {}\n{}", env!("CARGO_PKG_VERSION"), cohort.canonical());
    text += &format!("{}\n", books::hex(&*runner.keys.job_secret("sight")?));
    for sample in &cohort.samples {
        text += &format!("{}\n", sample.participant);
    }
    for contig in context.index.contigs().iter() {
        text += &format!("{}\t{}\t{}\n", contig.name, contig.length, books::hex(&contig.m5));
    }
    for fastq in reads(runner) {
        let length = std::fs::metadata(cohort.reads_path(fastq)).map_or(0, |file| file.len());
        text += &format!("{length}\n");
    }
    text += &format!("{}\n{}\n", gate.site(), gate.policy().sha256);
    Ok(text)
}

/// The files of reads, sample by sample.
fn reads<'a>(runner: &Runner<'a>) -> impl Iterator<Item = &'a Fastq> {
    let files = |lane: &'a Lane| std::iter::once(&lane.fastq_1).chain(&lane.fastq_2);
    runner.cohort.samples.iter().flat_map(|sample| &sample.lanes).flat_map(files)
}
