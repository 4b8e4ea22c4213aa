//! How right the results are at least: on simulated reads, and on real ones where they lie beside the checkout.

#[path = "program/wakachi.rs"]
mod wakachi;

use jobs::genome::{Contig, Contigs};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use wakachi::{Cohort, all_tests, folder, present, register, shared, shell, text, wakachi};
use workers::assess::{AlignmentAccuracy, AlignmentAssessor, Callset, VariantAccuracy, assess_variants};
use workers::htslib::AlignmentReader;
use workers::record::Record;
use workers::simulate::genome::{Sequence, read_fasta};

#[test]
fn simulated_reads_at_20x_are_placed_and_called_right() {
    check("floors", "--samples 2 --genome-mb 0.8 --depth 20 --seed 51");
}

#[test]
fn larger_genomes_are_placed_and_called_right() {
    if all_tests() {
        (1..=3).for_each(|seed| check("floors-large", &format!("--samples 3 --depth 20 --seed {seed}")));
    }
}

fn check(name: &str, options: &str) {
    let cohort = Cohort::simulate(name, options);
    let job = cohort.job("-t 2");
    let genome = read_fasta(&cohort.reference()).unwrap();
    let joint = wakachi::files(&job.path().join("results"));
    let joint =
        joint.iter().find(|path| text(path).contains("/simulated-") && text(path).ends_with(".vcf.gz"));
    for sample in cohort.samples() {
        let cram = job.path().join(format!("results/{sample}.cram"));
        let placed = placed(&cram, &cohort.reference(), &genome);
        let truth = cohort.dir.join(format!("truth/{sample}.vcf.gz"));
        let called = called(&truth, joint.expect("a joint VCF"), &sample, &genome);
        let (pairs, snv, indel) = (placed.pairs_right_share(), called.snv.f1(), called.indel.f1());
        println!("{options}, {sample}: pairs right {pairs:.5}, F1 of SNVs {snv:.4}, of indels {indel:.4}");
        assert!(pairs >= 0.99, "{sample}: {placed:?}");
        assert!(snv >= 0.98 && indel >= 0.90, "{sample}: {called:?}");
    }
}

fn placed(cram: &Path, reference: &Path, genome: &[Sequence]) -> AlignmentAccuracy {
    let contig = |sequence: &Sequence| Contig {
        name: sequence.name.clone(),
        length: sequence.bases.len() as u32,
        m5: [0; 16],
    };
    let contigs = Contigs::new(genome.iter().map(contig).collect());
    let mut assessor = AlignmentAssessor::new(&contigs);
    let mut reader = AlignmentReader::open(cram, Some(reference)).unwrap();
    let mut record = Vec::new();
    while reader.read(&mut record).unwrap() {
        assessor.add(&Record::new(&record).unwrap()).unwrap();
    }
    assessor.finish()
}

fn called(truth: &Path, calls: &Path, sample: &str, genome: &[Sequence]) -> VariantAccuracy {
    let contigs: HashMap<&str, &[u8]> =
        genome.iter().map(|contig| (contig.name.as_str(), contig.bases.as_slice())).collect();
    let bases = |name: &str| contigs.get(name).map(|bases| Cow::Borrowed(*bases));
    let callset = |path| Callset { path, sample: Some(sample) };
    assess_variants(&callset(truth), &callset(calls), &bases).unwrap()
}

/// The window in which NA12878 is called, and how many of its variants are known there.
const WINDOW: &str = "20:10100500-10249800";
const SNVS: u64 = 178;
const INDELS: u64 = 45;

#[test]
fn real_reads_are_called_right() {
    if !all_tests() || !present(&["bcftools", "bgzip"]) {
        return;
    }
    let (Some(reference), Some(reads), Some(truth), Some(compare)) = (
        shared("data/ref/b37.chr20.chr21.fa.gz"),
        shared("data/germline/NA12878_GAII_b37"),
        shared("data/germline/HG001_chr20_b37_truth"),
        shared("tools/vcf_f1"),
    ) else {
        return;
    };
    let dir = folder();
    let fasta = dir.path().join("reference.fa");
    shell(&format!("bgzip -dc {} > {}", text(&reference), text(&fasta)));
    let lane = |ordinal: usize, [first, second]: [String; 2]| {
        format!("NA12878,NA12878,germline,L{ordinal},{first},{second}\n")
    };
    let rows: String =
        pairs(&reads).into_iter().enumerate().map(|(ordinal, pair)| lane(ordinal, pair)).collect();
    fs::write(dir.path().join("s.csv"), format!("participant,sample,role,rgid,fastq_1,fastq_2\n{rows}"))
        .unwrap();
    fs::write(dir.path().join("consent.csv"), register(&[("NA12878", "active", "clinical_return", "")]))
        .unwrap();
    fs::write(dir.path().join("sites.toml"), workers::simulate::governance::SITES).unwrap();
    let cohort = dir.path().join("c.toml");
    let governed = "purpose = \"qa\"\nconsent = \"consent.csv\"\nsites = [\"here\"]\n";
    let cohort_text =
        format!("[cohort]\nid = \"real\"\nreference = \"reference.fa\"\nsamples = \"s.csv\"\n{governed}");
    fs::write(&cohort, cohort_text).unwrap();
    wakachi(&["index", text(&fasta)]).ok();
    let out = folder();
    let run = wakachi::run(&cohort, out.path(), "-t 2 --memory 8G").ok().json();
    let peak = run["run"]["peak_anonymous_bytes"].as_u64().unwrap();
    assert!(peak <= 8 << 30, "{peak} bytes");

    let window = |from: &Path, to: &str, filter: &str| {
        let to = dir.path().join(to);
        shell(&format!("bcftools view {filter} -t {WINDOW} {} -Oz -o {}", text(from), text(&to)));
        to
    };
    let truth = wakachi::files(&truth).into_iter().find(|path| text(path).ends_with(".vcf.gz")).unwrap();
    let truth = window(&truth, "truth.vcf.gz", "");
    let called = window(&out.path().join("results/real.vcf.gz"), "called.vcf.gz", "-f PASS,.");
    let said = shell(&format!("{} {} {} {}", text(&compare), text(&truth), text(&called), text(&fasta)));
    println!("{said}{peak} bytes of memory");
    let row = |class: &str| -> Vec<u64> {
        let row = said.lines().find(|line| line.starts_with(class)).unwrap();
        row.split(' ').skip(1).take(3).map(|count| count.parse().unwrap()).collect()
    };
    for (class, known, found) in [("SNV", SNVS, SNVS - 2), ("INDEL", INDELS, INDELS - 3)] {
        let counts = row(class);
        assert_eq!(counts[0] + counts[1], known, "{said}");
        assert!(counts[0] >= found, "{said}");
    }
}

/// Pairs of files of a folder that differ in the number of the mate alone.
fn pairs(folder: &Path) -> Vec<[String; 2]> {
    let names: Vec<String> = wakachi::files(folder).iter().map(|path| text(path).to_owned()).collect();
    let mates = names.iter().filter_map(|first| {
        let second = ["_R1", "_1.", ".1."].iter().find_map(|mate| {
            let second = first.replace(mate, &mate.replace('1', "2"));
            (&second != first && names.contains(&second)).then_some(second)
        })?;
        (first.contains(".fastq") || first.contains(".fq")).then(|| [first.clone(), second])
    });
    mates.collect()
}
