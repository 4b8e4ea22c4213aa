//! The metrics of the GA4GH standard as custom content of MultiQC, which has no module for them.

use serde_json::{Map, Value, json};

use super::Subject;

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

/// A table with a row a sample; MultiQC joins those of several files, since they have one id.
pub(super) fn wgs_qc_metrics(subjects: &[Subject<'_>]) -> Option<String> {
    let metrics = |subject: &Subject<'_>| {
        let metrics = serde_json::to_value(&subject.qc.wgs_qc_metrics).expect("metrics always print");
        let mut metrics = metrics.as_object().cloned().unwrap_or_default();
        metrics.retain(|_, value| !value.is_null());
        (subject.sample.clone(), Value::Object(metrics))
    };
    let rows: Map<String, Value> = subjects.iter().map(metrics).collect();
    let columns = COLUMNS.iter().filter(|(name, ..)| rows.values().any(|row| row.get(*name).is_some()));
    let headers = columns.map(|(name, title, description, suffix, decimals)| {
        let format = format!("{{:,.{decimals}f}}");
        let header = json!({"title": title, "description": description, "suffix": suffix, "format": format});
        ((*name).to_owned(), header)
    });
    let document = json!({
        "id": "wgs_qc_metrics",
        "section_name": "GA4GH WGS QC",
        "description": "by the definitions of the GA4GH WGS Quality Control Standards",
        "plot_type": "table",
        "pconfig": {"id": "wgs_qc_metrics_table", "title": "GA4GH WGS QC", "namespace": "GA4GH WGS QC"},
        "headers": headers.collect::<Map<String, Value>>(),
        "data": rows,
    });
    Some(serde_json::to_string_pretty(&document).expect("a document always prints") + "\n")
}
