//! MultiQC, as PyPI has it and without a configuration, finds in the folders of a job and of `align` what its modules
//! look for, under the names of the samples, and with the numbers that samtools counts in the same files.

#[path = "program/wakachi.rs"]
mod wakachi;

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use wakachi::{Cohort, folder, present, said, shell, text, wakachi};

/// MultiQC; made once, by tests/multiqc/setup.
fn multiqc() -> Option<PathBuf> {
    let setup = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/multiqc/setup");
    let venv = std::env::var("WAKACHI_MULTIQC_VENV");
    let venv = venv.unwrap_or_else(|_| concat!(env!("CARGO_TARGET_TMPDIR"), "/multiqc-venv").to_owned());
    let made = said(Command::new(setup).arg(venv));
    if made.code != Some(0) {
        println!("skipped: MultiQC cannot be installed from PyPI here");
        return None;
    }
    Some(PathBuf::from(made.stdout.trim()))
}

/// What MultiQC's modules have of each sample, by the names of the data files it writes.
fn collected(multiqc: &Path, folders: &[&Path]) -> Value {
    let out = folder();
    let mut command = Command::new(multiqc);
    command.args(["--no-ansi", "--no-version-check", "--data-format", "json", "--outdir", text(out.path())]);
    said(command.env("HOME", out.path()).args(folders)).ok();
    assert!(out.path().join("multiqc_report.html").is_file());
    let data = fs::read_to_string(out.path().join("multiqc_data/multiqc_data.json")).unwrap();
    serde_json::from_str::<Value>(&data).unwrap()["report_saved_raw_data"].take()
}

/// The summary numbers of `samtools stats`, with the names that MultiQC gives them.
fn summary(stats: &str) -> BTreeMap<String, f64> {
    let line = |line: &str| {
        let (name, value) = line.strip_prefix("SN\t")?.split_once(":\t")?;
        Some((name.replace(' ', "_"), value.split('\t').next()?.parse().ok()?))
    };
    stats.lines().filter_map(line).collect()
}

#[test]
fn its_modules_have_the_samples_and_the_numbers() {
    if !present(&["samtools"]) {
        return;
    }
    let Some(multiqc) = multiqc() else { return };
    let cohort = Cohort::simulate("multiqc", "--samples 2 --genome-mb 0.4 --depth 10 --seed 43");
    let job = cohort.job("-t 2");
    let aligned = folder();
    let bam = aligned.path().join("alone.bam");
    let sample = &cohort.samples()[0];
    let reads = |mate: u8| cohort.dir.join(format!("reads/{sample}_R{mate}.fastq.gz"));
    let reference = cohort.reference();
    let group = r"@RG\tID:1\tSM:alone\tLB:l";
    let (first, last) = (reads(1), reads(2));
    wakachi(&["align", text(&reference), text(&first), text(&last), "-o", text(&bam), "-R", group]).ok();

    let data = collected(&multiqc, &[&job.path().join("qc"), aligned.path()]);
    let mut names = cohort.samples();
    names.push("alone".to_owned());
    let said_of = |module: &str, sample: &str| {
        let of = &data[module][sample];
        assert!(of.is_object(), "{module} has nothing of {sample}: {}", data[module]);
        of.clone()
    };
    for name in &names {
        let alone = name == "alone";
        let (alignments, document) = match alone {
            true => (bam.clone(), aligned.path().join("alone.qc/alone.qc.json")),
            false => {
                let path = job.path();
                (path.join(format!("results/{name}.cram")), path.join(format!("qc/{name}.json")))
            }
        };
        let counted =
            shell(&format!("samtools stats --reference {} {}", text(&reference), text(&alignments)));
        let stats = said_of("multiqc_samtools_stats", name);
        let pairs = |of: &dyn Fn(&str) -> f64| of("inward_oriented_pairs") + of("outward_oriented_pairs");
        let expect = pairs(&|number| summary(&counted)[number]);
        assert_eq!(pairs(&|number| stats[number].as_f64().unwrap()), expect, "{name}");
        // Versions of samtools do not agree which of the two mates are that begin at one position.
        for (number, expect) in summary(&counted).into_iter().filter(|(number, _)| !number.contains("ward_"))
        {
            let seen = stats[&number].as_f64().unwrap_or_else(|| panic!("{name}: no {number}: {stats}"));
            assert!((seen - expect).abs() <= expect.abs() * 1e-6, "{name}: {number}: {seen}, not {expect}");
        }
        let document: Value = serde_json::from_str(&fs::read_to_string(document).unwrap()).unwrap();
        let metrics = &document["wgs_qc_metrics"];
        let table = said_of("multiqc_wgs_qc_metrics_table", name);
        for (metric, value) in metrics.as_object().unwrap().iter().filter(|(_, value)| !value.is_null()) {
            assert_eq!(table[metric].as_f64(), value.as_f64(), "{name}: {metric}");
        }
        assert_eq!(metrics.get("count_snvs").is_some(), !alone, "{metrics}");
        let number = |module: &str, name: &str, field: &str| {
            said_of(module, name)[field].as_f64().unwrap_or_else(|| panic!("{module}: {name}: no {field}"))
        };
        let near = |seen: f64, expect: &Value| {
            let expect = expect.as_f64().unwrap();
            assert!((seen - expect).abs() < 0.006, "{name}: {seen}, not {expect}");
        };
        near(number("multiqc_picard_wgsmetrics", name, "MEAN_COVERAGE"), &metrics["mean_autosome_coverage"]);
        near(number("multiqc_picard_wgsmetrics", name, "PCT_15X") * 100.0, &metrics["pct_autosomes_15x"]);
        let q30 = number("multiqc_picard_QualityYieldMetrics", name, "PF_Q30_BASES");
        near(q30, &metrics["yield_bp_q30"]);
        let pairs = number("multiqc_picard_dups", name, "READ_PAIRS_EXAMINED");
        assert_eq!(2.0 * pairs, summary(&counted)["reads_mapped_and_paired"], "{name}");
        let inserts = number("multiqc_picard_insertSize", &format!("{name}_FR"), "MEDIAN_INSERT_SIZE");
        assert!((inserts - metrics["mean_insert_size"].as_f64().unwrap()).abs() < 50.0, "{name}: {inserts}");
        said_of("multiqc_picard_quality_by_cycle", name);
        said_of("multiqc_picard_gcbias", name);
    }
}
