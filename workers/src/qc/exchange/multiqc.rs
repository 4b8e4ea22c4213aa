//! The metrics of the GA4GH standard as custom content of MultiQC, which has no module for them.

use serde_json::{Value, json};

use super::Subject;
use crate::qc::metrics::SampleQc;

/// Title, what it says, suffix, number of decimals; by the standard's name.
type Column = (&'static str, &'static str, &'static str, &'static str, u32);

const COLUMNS: [Column; 15] = [
    ("yield_bp_q30", "Yield Q30", "Bases of quality 30 or more", " bp", 0),
    ("mean_autosome_coverage", "Mean cov.", "Mean coverage of autosomes", "X", 2),
    ("pct_autosomes_15x", "≥ 15X", "Autosomal bases covered 15 times or more", "%", 2),
    ("mad_autosome_coverage", "MAD cov.", "Median absolute deviation of the coverage of autosomes", "X", 0),
    ("pct_reads_mapped", "Mapped", "Reads mapped", "%", 2),
    ("pct_reads_properly_paired", "Proper pairs", "Reads properly paired", "%", 2),
    ("mean_insert_size", "Insert", "Mean insert size", " bp", 1),
    ("insert_size_std_deviation", "Insert s.d.", "Standard deviation of insert sizes", " bp", 1),
    ("count_snvs", "SNVs", "SNVs on autosomes that passed", "", 0),
    ("count_insertions", "Insertions", "Insertions on autosomes that passed", "", 0),
    ("count_deletions", "Deletions", "Deletions on autosomes that passed", "", 0),
    ("ratio_insertion_deletion", "Ins/Del", "Insertions per deletion", "", 2),
    ("ratio_heterozygous_homzygous_snv", "Het/Hom SNV", "Heterozygous per homozygous SNV", "", 2),
    ("ratio_heterozygous_homzygous_indel", "Het/Hom indel", "Heterozygous per homozygous indel", "", 2),
    ("ratio_transitions_transversions", "Ti/Tv", "Transitions per transversion", "", 2),
];

/// A table with one row, the sample; MultiQC joins those of several files, since they have one id.
pub(super) fn wgs_qc_metrics(subject: &Subject, qc: &SampleQc) -> Option<String> {
    let metrics = serde_json::to_value(&qc.wgs_qc_metrics).expect("metrics always print");
    let said = |(name, ..): &&Column| metrics.get(*name).is_some_and(|value| !value.is_null());
    let columns: Vec<_> = COLUMNS.iter().filter(said).collect();
    let headers = columns.iter().map(|(name, title, description, suffix, decimals)| {
        let format = format!("{{:,.{decimals}f}}");
        let header = json!({"title": title, "description": description, "suffix": suffix, "format": format});
        ((*name).to_owned(), header)
    });
    let row = columns.iter().map(|(name, ..)| ((*name).to_owned(), metrics[*name].clone()));
    let document = json!({
        "id": "wgs_qc_metrics",
        "section_name": "GA4GH WGS QC",
        "description": "by the definitions of the GA4GH WGS Quality Control Standards",
        "plot_type": "table",
        "pconfig": {"id": "wgs_qc_metrics_table", "title": "GA4GH WGS QC", "namespace": "GA4GH WGS QC"},
        "headers": headers.collect::<serde_json::Map<String, Value>>(),
        "data": {subject.sample.as_str(): row.collect::<serde_json::Map<String, Value>>()},
    });
    Some(serde_json::to_string_pretty(&document).expect("a document always prints") + "\n")
}
