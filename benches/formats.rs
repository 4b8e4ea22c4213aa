//! How large are our files beside those that samtools and bgzip write from the same records?
//!
//! Sizes only, so one run is enough: the same input gives the same bytes. Each peer is given our own file to write
//! again; what it writes holds the same records.

mod measure;

use measure::{Cohort, absent, head, is_full, quoted, shell, version, wakachi};
use std::path::Path;

fn main() {
    let (genome_mb, depth) = if is_full() { (1.0, 10.0) } else { (0.2, 8.0) };
    let cohort = Cohort::simulate(1, genome_mb, depth);
    let missing = absent(&["samtools", "bgzip"]);
    let (wakachi, reference) = (wakachi(), quoted(&cohort.summary.reference));
    let [first, second] = cohort.reads(0).map(|path| quoted(&path));
    let file = |name: &str| cohort.path(name);
    let at = |name: &str| quoted(&file(name));
    let group = "'@RG\\tID:1\\tSM:S\\tLB:1'";
    shell(&format!("{wakachi} index {reference}"));
    for name in ["ours.cram", "ours.bam"] {
        shell(&format!("{wakachi} align {reference} {first} {second} -o {} -R {group} -t 1", at(name)));
    }
    shell(&format!("{wakachi} call {reference} {} -o {} --gvcf -t 1", at("ours.cram"), at("ours.g.vcf.gz")));
    let mut pairs = Vec::new();
    if missing.is_empty() {
        let (cram, bam, gvcf) = (at("ours.cram"), at("ours.bam"), at("ours.g.vcf.gz"));
        shell(&format!("samtools view -T {reference} -C -o {} {cram}", at("theirs.cram")));
        shell(&format!("samtools view -b -o {} {bam}", at("theirs.bam")));
        shell(&format!("bgzip -dc {gvcf} | bgzip -c > {}", at("theirs.g.vcf.gz")));
        let records = |name: &str| format!("<(samtools view -T {reference} {})", at(name));
        shell(&format!("cmp {} {}", records("ours.cram"), records("theirs.cram")));
        shell(&format!("cmp {} {}", records("ours.bam"), records("theirs.bam")));
        pairs = vec![
            ("CRAM", "ours.cram", "theirs.cram", "samtools view -C"),
            ("BAM", "ours.bam", "theirs.bam", "samtools view -b"),
            ("gVCF", "ours.g.vcf.gz", "theirs.g.vcf.gz", "bgzip"),
        ];
    }
    for name in ["ours.cram", "ours.bam", "ours.g.vcf.gz"] {
        assert!(bytes(&file(name)) > 1000, "{name} is nearly empty");
    }
    for (format, ours, theirs, _) in &pairs {
        let ratio = bytes(&file(ours)) as f64 / bytes(&file(theirs)) as f64;
        assert!(ratio < 1.5, "{format}: {ratio:.2} times as large as the peer's");
    }
    if is_full() {
        let versions = ["samtools --version", "bgzip --version"].map(version);
        let versions = if missing.is_empty() { &versions[..] } else { &[] };
        head("Sizes of files", "formats", &cohort.description(), versions, &missing);
        println!("| format | wakachi, bytes | peer, bytes | peer | ours / theirs |");
        println!("|---|---|---|---|---|");
        for (format, ours, theirs, peer) in &pairs {
            let (ours, theirs) = (bytes(&file(ours)), bytes(&file(theirs)));
            println!("| {format} | {ours} | {theirs} | {peer} | {:.3} |", ours as f64 / theirs as f64);
        }
    }
}

fn bytes(path: &Path) -> u64 {
    std::fs::metadata(path).expect("a file just written").len()
}
