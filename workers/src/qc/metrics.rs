//! The numbers a programme compares between samples, named and defined as the GA4GH WGS Quality Control Standards do
//! where they do; the body of `qc/<sample>.json`.
//!
//! Invariant: a pure function of the counters. Shares are in percent; what cannot be said is `null`.

use serde::{Deserialize, Serialize};

use super::SampleCounters;
use super::contig_class::ContigClass;
use super::sex::SexEvidence;

/// Version of the JSON documents; raised when a field changes its meaning or goes.
pub const SCHEMA_VERSION: u32 = 2;

/// Usable depths above this are taken for it in means and deviations, as Picard CollectWgsMetrics does.
pub const DEPTH_CAP: usize = 250;

/// The document `qc/<sample>.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleQc {
    /// [`SCHEMA_VERSION`] of the program that wrote it.
    pub schema_version: u32,
    /// SAM `SM`.
    pub sample: String,
    /// The sample, as the GA4GH standard's own documents name it.
    pub biosample: Biosample,
    /// The metrics of the GA4GH standard, with its names and precision.
    pub wgs_qc_metrics: WgsQcMetrics,
    /// Numbers for people and dashboards.
    pub metrics: Metrics,
    /// Sex chromosomes as seen.
    pub sex: SexEvidence,
    /// The counts from which all of it follows.
    pub counters: SampleCounters,
}

impl SampleQc {
    /// The document of one sample.
    pub fn new(sample: String, counters: SampleCounters) -> Self {
        let metrics = Metrics::of(&counters);
        SampleQc {
            schema_version: SCHEMA_VERSION,
            biosample: Biosample { id: sample.clone() },
            wgs_qc_metrics: WgsQcMetrics::of(&metrics, &counters),
            sample,
            metrics,
            sex: SexEvidence::of(&counters),
            counters,
        }
    }
}

/// Whom a document is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Biosample {
    /// SAM `SM`.
    pub id: String,
}

/// What the GA4GH WGS Quality Control Standards define of alignments and calls, in their spelling and order, but for
/// `cross_contamination_rate`, which needs the frequencies of a reference panel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct WgsQcMetrics {
    pub yield_bp_q30: u64,
    pub mean_autosome_coverage: Option<f64>,
    pub pct_autosomes_15x: Option<f64>,
    pub mad_autosome_coverage: Option<u64>,
    pub pct_reads_mapped: Option<f64>,
    pub pct_reads_properly_paired: Option<f64>,
    pub mean_insert_size: Option<f64>,
    pub insert_size_std_deviation: Option<f64>,
    #[serde(flatten)]
    pub calls: Option<WgsCallMetrics>,
}

/// The part of [`WgsQcMetrics`] that is said of calls; left out where nothing was called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct WgsCallMetrics {
    pub count_snvs: u64,
    pub count_insertions: u64,
    pub count_deletions: u64,
    pub ratio_insertion_deletion: Option<f64>,
    pub ratio_heterozygous_homzygous_snv: Option<f64>,
    pub ratio_heterozygous_homzygous_indel: Option<f64>,
    pub ratio_transitions_transversions: Option<f64>,
}

impl WgsQcMetrics {
    /// The same numbers, as precise as the standard has them.
    fn of(metrics: &Metrics, counters: &SampleCounters) -> Self {
        let to = |places: i32| move |value: f64| rounded_to(value, places);
        let called = !counters.variants.classes.is_empty() || !counters.variants.filters.is_empty();
        WgsQcMetrics {
            yield_bp_q30: metrics.yield_bp_q30,
            mean_autosome_coverage: metrics.mean_autosome_coverage.map(to(2)),
            pct_autosomes_15x: metrics.pct_autosomes_15x.map(to(2)),
            mad_autosome_coverage: metrics.mad_autosome_coverage,
            pct_reads_mapped: metrics.pct_reads_mapped.map(to(2)),
            pct_reads_properly_paired: metrics.pct_reads_properly_paired.map(to(2)),
            mean_insert_size: metrics.mean_insert_size.map(to(1)),
            insert_size_std_deviation: metrics.insert_size_std_deviation.map(to(1)),
            calls: called.then(|| WgsCallMetrics {
                count_snvs: metrics.count_snvs,
                count_insertions: metrics.count_insertions,
                count_deletions: metrics.count_deletions,
                ratio_insertion_deletion: metrics.ratio_insertion_deletion.map(to(2)),
                ratio_heterozygous_homzygous_snv: metrics.ratio_heterozygous_homzygous_snv.map(to(2)),
                ratio_heterozygous_homzygous_indel: metrics.ratio_heterozygous_homzygous_indel.map(to(2)),
                ratio_transitions_transversions: metrics.ratio_transitions_transversions.map(to(2)),
            }),
        }
    }
}

/// One sample in numbers. The first block has GA4GH's names and definitions (duplicates and clipped bases included
/// unless the name says otherwise; every read of a FASTQ file counts as one that passed the instrument's filter);
/// variants count those that passed, on autosomes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Bases of quality 30 or more in primary records.
    pub yield_bp_q30: u64,
    /// Percent of primary records that are mapped.
    pub pct_reads_mapped: Option<f64>,
    /// Percent of primary records mapped in proper pairs.
    pub pct_reads_properly_paired: Option<f64>,
    /// Mean insert size in bases of pairs on one contig, of the smallest 99% (`insert size average` of
    /// `samtools stats`).
    pub mean_insert_size: Option<f64>,
    /// Standard deviation of the same.
    pub insert_size_std_deviation: Option<f64>,
    /// Mean depth over known autosomal bases: not secondary, no duplicates, MAPQ and base quality >= 20, mate mapped,
    /// overlaps once, depths above [`DEPTH_CAP`] taken for it (`MEAN_COVERAGE` of Picard CollectWgsMetrics).
    pub mean_autosome_coverage: Option<f64>,
    /// Median absolute deviation of the same.
    pub mad_autosome_coverage: Option<u64>,
    /// Percent of known autosomal bases at 15 or more of the same.
    pub pct_autosomes_15x: Option<f64>,
    /// SNV sites.
    pub count_snvs: u64,
    /// Insertion sites.
    pub count_insertions: u64,
    /// Deletion sites.
    pub count_deletions: u64,
    /// Insertions per deletion.
    pub ratio_insertion_deletion: Option<f64>,
    /// Heterozygous per homozygous SNV (the standard's spelling).
    pub ratio_heterozygous_homzygous_snv: Option<f64>,
    /// Heterozygous per homozygous indel (the standard's spelling).
    pub ratio_heterozygous_homzygous_indel: Option<f64>,
    /// Transitions per transversion of biallelic SNVs.
    pub ratio_transitions_transversions: Option<f64>,

    /// Reads: primary records.
    pub reads: u64,
    /// Bases of primary records.
    pub yield_bp: u64,
    /// Percent of bases with a quality of 20 or more.
    pub pct_bases_q20: Option<f64>,
    /// Percent of bases with a quality of 30 or more.
    pub pct_bases_q30: Option<f64>,
    /// Mean length of primary records in bases.
    pub mean_read_length: Option<f64>,
    /// Mean GC of reads in percent.
    pub mean_gc_percent: Option<f64>,
    /// Percent of mapped primary records that are duplicates.
    pub pct_duplicates: Option<f64>,
    /// Percent of mapped primary records with MAPQ 20 or more.
    pub pct_mapq_20: Option<f64>,
    /// NM over aligned bases, in percent.
    pub pct_mismatches: Option<f64>,
    /// Percent of the bases of mapped reads that are soft-clipped.
    pub pct_soft_clipped: Option<f64>,
    /// Median insert size in bases.
    pub median_insert_size: Option<u64>,
    /// Median of the coverage above.
    pub median_autosome_coverage: Option<u64>,
    /// Percent of known autosomal bases at 1 or more.
    pub pct_autosomes_1x: Option<f64>,
    /// Percent of known autosomal bases at 10 or more.
    pub pct_autosomes_10x: Option<f64>,
    /// Percent of known autosomal bases at 20 or more.
    pub pct_autosomes_20x: Option<f64>,
    /// Percent of known autosomal bases at 30 or more.
    pub pct_autosomes_30x: Option<f64>,
    /// Mean depth as `samtools depth` counts it: every base of reads that are mapped, not secondary, not duplicate.
    pub mean_autosome_depth_all: Option<f64>,
}

impl Metrics {
    /// Reads them from a sample's counters.
    pub fn of(counters: &SampleCounters) -> Self {
        let SampleCounters { alignment, coverage, variants } = counters;
        let (reads, qualities) = (&alignment.reads, alignment.qualities());
        let depth = coverage.class(ContigClass::Autosome);
        let usable = depth.map(|depth| &depth.usable);
        let capped = usable.map(|usable| usable.capped(DEPTH_CAP)).unwrap_or_default();
        let paired = alignment.inserts.all().total() > 0;
        let (insert_mean, insert_deviation, _) = alignment.inserts.main_bulk();
        let share = |depth| {
            usable.and_then(|usable| usable.share_at_least(depth)).map(|share| rounded(share * 100.0))
        };
        let calls = variants.classes.get(&ContigClass::Autosome).cloned().unwrap_or_default();
        let bases: u64 = alignment.mates.iter().flat_map(|mate| mate.composition.totals()).sum();
        let indel = [&calls.insertion, &calls.deletion];
        let sum = |count: fn(&&super::variants::Zygosity) -> u64| indel.iter().map(count).sum::<u64>();
        Metrics {
            yield_bp_q30: qualities.at_least(30),
            pct_reads_mapped: percent(reads.mapped, reads.primary),
            pct_reads_properly_paired: percent(reads.properly_paired, reads.primary),
            mean_insert_size: paired.then(|| rounded(insert_mean)),
            insert_size_std_deviation: paired.then(|| rounded(insert_deviation)),
            mean_autosome_coverage: capped.mean().map(rounded),
            mad_autosome_coverage: capped.median_absolute_deviation().map(|mad| mad as u64),
            pct_autosomes_15x: share(15),
            count_snvs: calls.snv.sites(),
            count_insertions: calls.insertion.sites(),
            count_deletions: calls.deletion.sites(),
            ratio_insertion_deletion: ratio(calls.insertion.sites(), calls.deletion.sites()),
            ratio_heterozygous_homzygous_snv: ratio(calls.snv.heterozygous, calls.snv.homozygous),
            ratio_heterozygous_homzygous_indel: ratio(
                sum(|kind| kind.heterozygous),
                sum(|kind| kind.homozygous),
            ),
            ratio_transitions_transversions: ratio(calls.transitions, calls.transversions),
            reads: reads.primary,
            yield_bp: bases,
            pct_bases_q20: percent(qualities.at_least(20), qualities.total()),
            pct_bases_q30: percent(qualities.at_least(30), qualities.total()),
            mean_read_length: alignment.read_lengths().mean().map(rounded),
            mean_gc_percent: alignment.gc_percent.mean().map(rounded),
            pct_duplicates: percent(reads.duplicate, reads.mapped),
            pct_mapq_20: percent(alignment.mapq.at_least(20), alignment.mapq.total()),
            pct_mismatches: percent(alignment.edit_distance, alignment.aligned_bases),
            pct_soft_clipped: percent(
                alignment.soft_clipped_bases,
                alignment.soft_clipped_bases + alignment.aligned_bases,
            ),
            median_insert_size: alignment.inserts.all().median().map(|median| median as u64),
            median_autosome_coverage: usable
                .and_then(|usable| usable.histogram.median())
                .map(|median| median as u64),
            pct_autosomes_1x: share(1),
            pct_autosomes_10x: share(10),
            pct_autosomes_20x: share(20),
            pct_autosomes_30x: share(30),
            mean_autosome_depth_all: depth.and_then(|depth| depth.all.mean()).map(rounded),
        }
    }
}

fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| rounded(part as f64 * 100.0 / whole as f64))
}

fn ratio(part: u64, other: u64) -> Option<f64> {
    (other > 0).then(|| rounded(part as f64 / other as f64))
}

/// To three decimals: more would suggest a precision that no sample has.
fn rounded(value: f64) -> f64 {
    rounded_to(value, 3)
}

fn rounded_to(value: f64, places: i32) -> f64 {
    let scale = (0..places).fold(1.0, |scale, _| scale * 10.0);
    (value * scale).round() / scale
}
