//! What other programs say about simulated data, and whether our scoring of calls agrees with theirs.
//! Skipped, with a printed reason, where those programs are absent.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use workers::assess::{Callset, assess_variants};
use workers::simulate::{Options, Summary, genome, run};

fn simulate(out: &Path) -> Summary {
    let options =
        Options { out: out.to_owned(), samples: 3, genome_mb: Some(0.2), depth: 12.0, ..Options::default() };
    run(&options, &mut |_| ()).unwrap()
}

/// Whether the program can be started; says so where it cannot.
fn present(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

/// Standard output and standard error of a shell command that must succeed.
fn shell(command: &str) -> (String, String) {
    let output = Command::new("bash").args(["-c", &format!("set -o pipefail; {command}")]).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command}: {}", text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

fn shared() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    std::env::var_os("WAKACHI_SHARED").map_or_else(beside, PathBuf::from)
}

#[test]
fn bcftools_finds_the_truth_in_normal_form_and_indexed() {
    if !present("bcftools") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let summary = simulate(directory.path());
    let reference = summary.reference.display();
    for sample in &summary.samples {
        let truth = sample.truth.display().to_string();
        let (_, log) = shell(&format!("bcftools norm -c e -f {reference} {truth} -o /dev/null"));
        let counts = log.lines().find_map(|line| line.split_once("skipped:")).unwrap().1.trim();
        assert_eq!(counts, format!("{}/0/0/0", sample.truth_variants));
        let structural = truth.replace(".vcf.gz", ".sv.vcf.gz");
        let somatic = sample.somatic_truth.iter().map(|path| path.display().to_string());
        for file in [truth, structural].into_iter().chain(somatic) {
            let (listed, _) = shell(&format!("bcftools view -H {file} chr1 chr2 chr3 | wc -l"));
            let (all, _) = shell(&format!("bcftools view -H {file} | wc -l"));
            assert_eq!(listed, all, "{file}");
        }
    }
}

#[test]
fn reads_are_valid_bgzf_and_match_their_digests() {
    if !present("bgzip") || !present("sha256sum") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let summary = simulate(directory.path());
    let sheet = std::fs::read_to_string(directory.path().join("samples.csv")).unwrap();
    for (row, sample) in sheet.lines().skip(1).zip(&summary.samples) {
        let fields: Vec<&str> = row.split(',').collect();
        for (fastq, sha256) in [(fields[8], fields[10]), (fields[9], fields[11])] {
            let path = directory.path().join(fastq);
            let path = path.display();
            assert!(shell(&format!("sha256sum {path}")).0.starts_with(sha256));
            let (lines, _) = shell(&format!("bgzip -t {path} && bgzip -dc {path} | wc -l"));
            assert_eq!(lines.trim(), (4 * sample.pairs).to_string());
        }
    }
}

#[test]
fn calls_are_scored_as_the_comparison_program_scores_them() {
    let program = shared().join("tools/vcf_f1");
    if !program.exists() {
        println!("skipped: {} is absent", program.display());
        return;
    }
    if !["bwa", "samtools", "bcftools", "python3"].into_iter().all(present) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let summary = simulate(directory.path());
    let reference = summary.reference.display();
    shell(&format!("bwa index {reference}"));
    let mut bams = String::new();
    for sample in &summary.samples[..2] {
        let stem = directory.path().join("reads").join(&sample.name);
        let (stem, name) = (stem.display(), &sample.name);
        shell(&format!(
            "bwa mem -R '@RG\\tID:{name}\\tSM:{name}' {reference} {stem}_R1.fastq.gz {stem}_R2.fastq.gz | \
             samtools sort -o {stem}.bam"
        ));
        bams.push_str(&format!(" {stem}.bam"));
    }
    let called = directory.path().join("called.vcf.gz");
    shell(&format!("bcftools mpileup -f {reference} {bams} | bcftools call -mv -Oz -o {}", called.display()));

    let sequences = genome::read_fasta(&summary.reference).unwrap();
    let contigs: HashMap<&str, &[u8]> =
        sequences.iter().map(|contig| (contig.name.as_str(), contig.bases.as_slice())).collect();
    let bases = |name: &str| contigs.get(name).map(|bases| Cow::Borrowed(*bases));
    for sample in &summary.samples[..2] {
        let callset = |path| Callset { path, sample: Some(&sample.name) };
        let accuracy = assess_variants(&callset(&sample.truth), &callset(&called), &bases).unwrap();
        let single = directory.path().join("single.vcf");
        shell(&format!("bcftools view -s {} {} -o {}", sample.name, called.display(), single.display()));
        let (truth, single) = (sample.truth.display(), single.display());
        let (expect, _) = shell(&format!("{} {truth} {single} {reference}", program.display()));
        let row = |class: &str, counts: workers::assess::variants::Counts| {
            let workers::assess::variants::Counts { true_positives, false_negatives, false_positives } =
                counts;
            format!("{class} {true_positives} {false_negatives} {false_positives} {:.5}\n", counts.f1())
        };
        assert_eq!(row("SNV", accuracy.snv) + &row("INDEL", accuracy.indel), expect);
        assert!(accuracy.snv.f1() > 0.9 && accuracy.indel.f1() > 0.7, "{accuracy:?}");
    }
}
