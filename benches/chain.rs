//! What does it cost to go from FASTQ to a sorted, duplicate-marked CRAM and a VCF, and how right is the VCF?
//!
//! Ours and the usual chain of bwa, samtools and bcftools turn by turn, on the same reads, one thread each program.
//! Indexes of the reference are built before and not counted; loading them is.

mod measure;

use measure::{Cohort, absent, head, is_full, median, quoted, shell, spread, version, wakachi};
use std::borrow::Cow;
use std::path::Path;
use workers::assess::{Callset, VariantAccuracy, assess_variants};
use workers::simulate::genome::read_fasta;

const PEERS: [&str; 3] = ["bwa", "samtools", "bcftools"];

/// One chain: the CPU seconds of its two halves, turn by turn, and how right its calls are.
#[derive(Default)]
struct Chain {
    align: Vec<f64>,
    call: Vec<f64>,
    accuracy: VariantAccuracy,
}

fn main() {
    let (genome_mb, depth, turns) = if is_full() { (1.0, 10.0, 3) } else { (0.2, 12.0, 1) };
    let cohort = Cohort::simulate(1, genome_mb, depth);
    let missing = absent(&PEERS);
    let reference = quoted(&cohort.summary.reference);
    shell(&format!("{} index {reference}", wakachi()));
    if missing.is_empty() {
        shell(&format!("bwa index {reference}"));
    }
    let (mut ours, mut theirs) = (Chain::default(), Chain::default());
    let versions = ["samtools --version", "bcftools --version", "bwa 2>&1 | grep Version | sed 's/^/bwa /'"];
    let versions: Vec<String> = versions.iter().filter(|_| missing.is_empty()).map(|c| version(c)).collect();
    if is_full() {
        head("FASTQ to CRAM and VCF", "chain", &cohort.description(), &versions, &missing);
    }
    for _ in 0..turns {
        turn(&cohort, &mut ours, our_scripts, "ours");
        if missing.is_empty() {
            turn(&cohort, &mut theirs, their_scripts, "theirs");
        }
    }
    assert!(ours.accuracy.snv.f1() > 0.85, "{:?}", ours.accuracy);
    if is_full() {
        print(&cohort, &ours, missing.is_empty().then_some(&theirs));
    }
}

fn turn(cohort: &Cohort, chain: &mut Chain, scripts: fn(&Cohort, &str, &str) -> [String; 2], name: &str) {
    let (cram, vcf) = (cohort.path(&format!("{name}.cram")), cohort.path(&format!("{name}.vcf.gz")));
    let [align, call] = scripts(cohort, &quoted(&cram), &quoted(&vcf));
    chain.align.push(shell(&align));
    chain.call.push(shell(&call));
    chain.accuracy = accuracy(cohort, &vcf);
}

fn our_scripts(cohort: &Cohort, cram: &str, vcf: &str) -> [String; 2] {
    let (wakachi, reference) = (wakachi(), quoted(&cohort.summary.reference));
    let [first, second] = cohort.reads(0).map(|path| quoted(&path));
    let group = group(cohort);
    [
        format!("{wakachi} align {reference} {first} {second} -o {cram} -R {group} -t 1"),
        format!("{wakachi} call {reference} {cram} -o {vcf} -t 1"),
    ]
}

fn their_scripts(cohort: &Cohort, cram: &str, vcf: &str) -> [String; 2] {
    let reference = quoted(&cohort.summary.reference);
    let [first, second] = cohort.reads(0).map(|path| quoted(&path));
    let (group, sorting) = (group(cohort), quoted(&cohort.path("sorting")));
    [
        format!(
            "bwa mem -t 1 -R {group} {reference} {first} {second} | samtools fixmate -u -m - - \
             | samtools sort -u -T {sorting} - \
             | samtools markdup --output-fmt CRAM --reference {reference} --write-index - {cram}"
        ),
        format!("bcftools mpileup -f {reference} -Ou {cram} | bcftools call -mv -Oz -o {vcf}"),
    ]
}

fn group(cohort: &Cohort) -> String {
    format!("'@RG\\tID:1\\tSM:{}\\tLB:1\\tPL:ILLUMINA'", cohort.summary.samples[0].name)
}

fn accuracy(cohort: &Cohort, vcf: &Path) -> VariantAccuracy {
    let genome = read_fasta(&cohort.summary.reference).expect("the simulated reference");
    let truth = Callset { path: &cohort.summary.samples[0].truth, sample: None };
    let bases = |name: &str| {
        let contig = genome.iter().find(|contig| contig.name == name);
        contig.map(|contig| Cow::Borrowed(&contig.bases[..]))
    };
    assess_variants(&truth, &Callset { path: vcf, sample: None }, &bases).expect("two sound VCF files")
}

fn print(cohort: &Cohort, ours: &Chain, theirs: Option<&Chain>) {
    println!("CPU seconds: median (smallest to largest) of {} turns.\n", ours.align.len());
    println!("| chain | to CRAM | to VCF | CPU s per Gbase | SNV F1 | indel F1 |");
    println!("|---|---|---|---|---|---|");
    let per_gbase = |chain: &Chain| (median(&chain.align) + median(&chain.call)) / (cohort.bases() / 1e9);
    let row = |name: &str, chain: &Chain| {
        let (align, call) = (spread(&chain.align), spread(&chain.call));
        let (snv, indel) = (chain.accuracy.snv.f1(), chain.accuracy.indel.f1());
        println!("| {name} | {align} | {call} | {:.0} | {snv:.4} | {indel:.4} |", per_gbase(chain));
    };
    row("wakachi align, call", ours);
    let Some(theirs) = theirs else { return };
    row("bwa mem, samtools fixmate, sort, markdup; bcftools mpileup, call", theirs);
    let ratio = |half: fn(&Chain) -> &Vec<f64>| median(half(theirs)) / median(half(ours));
    println!(
        "\nTheirs takes {:.1} times our CPU time: {:.1} to CRAM, {:.1} to VCF.",
        per_gbase(theirs) / per_gbase(ours),
        ratio(|chain| &chain.align),
        ratio(|chain| &chain.call),
    );
}
