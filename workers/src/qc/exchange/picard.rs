//! The forms of Picard's metrics files: lines of header, a table of metrics, a histogram.
//!
//! Definitions are those of Picard 2 and 3 with default options: CollectQualityYieldMetrics, MeanQualityByCycle,
//! CollectInsertSizeMetrics, CollectGcBiasMetrics, MarkDuplicates, CollectWgsMetrics (over autosomes).

use std::fmt::Write as _;

use super::{Subject, WRITER};
use crate::qc::alignment::ReadCounts;
use crate::qc::contig_class::ContigClass;
use crate::qc::gc_bias::WINDOW_BASES;
use crate::qc::histogram::Histogram;
use crate::qc::inserts::ORIENTATIONS;
use crate::qc::metrics::{DEPTH_CAP, SampleQc};

/// An orientation with fewer pairs, in percent of all, gets no line of insert sizes.
const ORIENTATION_PERCENT_MIN: u64 = 5;

/// Median absolute deviations above the median, from which on insert sizes enter no mean.
const DEVIATIONS_MAX: f64 = 10.0;

pub(super) fn quality_yield(subject: &Subject<'_>) -> Option<String> {
    let qc = subject.qc;
    let counters = &qc.counters.alignment;
    let (reads, qualities) = (counters.reads.primary, counters.qualities());
    let bases = sum(&counters.read_lengths());
    let mut file = File::new("CollectQualityYieldMetrics", subject, "");
    let (q20, q30, yield_q20) = (qualities.at_least(20), qualities.at_least(30), sum(&qualities) / 20);
    let twice =
        |name: &'static str, pf: &'static str, value: u64| [(name, integer(value)), (pf, integer(value))];
    let mut row = twice("TOTAL_READS", "PF_READS", reads).to_vec();
    row.push(("READ_LENGTH", integer(bases.checked_div(reads).unwrap_or(0))));
    row.extend(twice("TOTAL_BASES", "PF_BASES", bases));
    row.extend(twice("Q20_BASES", "PF_Q20_BASES", q20));
    row.extend(twice("Q30_BASES", "PF_Q30_BASES", q30));
    row.extend(twice("Q20_EQUIVALENT_YIELD", "PF_Q20_EQUIVALENT_YIELD", yield_q20));
    file.metrics("picard.analysis.CollectQualityYieldMetrics$QualityYieldMetrics", &[row]);
    Some(file.text)
}

/// Cycles of second mates follow those of first mates.
pub(super) fn quality_by_cycle(subject: &Subject<'_>) -> Option<String> {
    let qc = subject.qc;
    let mut file = File::new("MeanQualityByCycle", subject, "");
    let [first, last] = qc.counters.alignment.mates.each_ref().map(|mate| mate.quality.rows());
    let mean = |row: &[u64]| {
        let sum: u64 = row.iter().enumerate().map(|(quality, count)| quality as u64 * count).sum();
        sum as f64 / row.iter().sum::<u64>().max(1) as f64
    };
    let rows = first.iter().chain(last).enumerate();
    let rows: Vec<_> = rows.map(|(cycle, row)| format!("{}\t{}", cycle + 1, decimal(mean(row)))).collect();
    file.histogram("CYCLE\tMEAN_QUALITY", rows.iter().map(String::as_str));
    (!rows.is_empty()).then_some(file.text)
}

pub(super) fn insert_sizes(subject: &Subject<'_>) -> Option<String> {
    let qc = subject.qc;
    let inserts = &qc.counters.alignment.inserts;
    let all: u64 = inserts.unique.iter().map(Histogram::total).sum();
    let enough = |which: &usize| {
        let pairs = inserts.unique[*which].total();
        pairs > 0 && pairs * 100 >= all * ORIENTATION_PERCENT_MIN
    };
    let shown: Vec<usize> = (0..ORIENTATIONS.len()).filter(enough).collect();
    let (mut rows, mut histograms) = (Vec::new(), Vec::new());
    for &which in &shown {
        let (row, trimmed) =
            insert_row(&inserts.unique[which], inserts.unique_largest[which], ORIENTATIONS[which]);
        rows.push(row);
        histograms.push(trimmed);
    }
    let mut file = File::new("CollectInsertSizeMetrics", subject, "");
    file.metrics("picard.analysis.InsertSizeMetrics", &rows);
    let heads =
        shown.iter().map(|&which| format!("\tAll_Reads.{}_count", ORIENTATIONS[which].to_lowercase()));
    let heads = format!("insert_size{}", heads.collect::<String>());
    let longest = histograms.iter().map(|sizes| sizes.counts().len()).max().unwrap_or(0);
    let line = |size: usize| {
        let counts: Vec<u64> = histograms.iter().map(|sizes| sizes.count(size)).collect();
        let some = counts.iter().any(|&count| count > 0);
        some.then(|| counts.iter().fold(size.to_string(), |line, count| format!("{line}\t{count}")))
    };
    let lines: Vec<String> = (0..longest).filter_map(line).collect();
    file.histogram(&heads, lines.iter().map(String::as_str));
    (!rows.is_empty()).then_some(file.text)
}

/// The line of one orientation, and the sizes that enter its mean.
fn insert_row(sizes: &Histogram, largest: u64, orientation: &str) -> (Row, Histogram) {
    let median = median(sizes);
    let deviation = median_deviation(sizes, median);
    let counts = sizes.counts();
    let smallest = counts.iter().position(|&count| count > 0).unwrap_or(0);
    let mode = counts.iter().enumerate().rev().max_by_key(|(_, count)| **count).map_or(0, |(size, _)| size);
    let mut trimmed = Histogram::default();
    let width = (median + DEVIATIONS_MAX * deviation) as usize;
    counts.iter().take(width + 1).enumerate().for_each(|(size, &count)| trimmed.add_times(size, count));
    let mut row = vec![
        ("MEDIAN_INSERT_SIZE", decimal(median)),
        ("MODE_INSERT_SIZE", mode.to_string()),
        ("MEDIAN_ABSOLUTE_DEVIATION", decimal(deviation)),
        ("MIN_INSERT_SIZE", smallest.to_string()),
        ("MAX_INSERT_SIZE", largest.to_string()),
        ("MEAN_INSERT_SIZE", decimal(trimmed.mean().unwrap_or(0.0))),
        ("STANDARD_DEVIATION", decimal(sample_deviation(&trimmed))),
        ("READ_PAIRS", integer(sizes.total())),
        ("PAIR_ORIENTATION", orientation.to_owned()),
    ];
    row.extend(WIDTHS.iter().zip(widths(sizes, median)).map(|(&(_, name), width)| (name, width.to_string())));
    row.extend(ALL_READS);
    (row, trimmed)
}

/// Shares of pairs in percent, and what their widths are called.
const WIDTHS: [(u64, &str); 11] = [
    (10, "WIDTH_OF_10_PERCENT"),
    (20, "WIDTH_OF_20_PERCENT"),
    (30, "WIDTH_OF_30_PERCENT"),
    (40, "WIDTH_OF_40_PERCENT"),
    (50, "WIDTH_OF_50_PERCENT"),
    (60, "WIDTH_OF_60_PERCENT"),
    (70, "WIDTH_OF_70_PERCENT"),
    (80, "WIDTH_OF_80_PERCENT"),
    (90, "WIDTH_OF_90_PERCENT"),
    (95, "WIDTH_OF_95_PERCENT"),
    (99, "WIDTH_OF_99_PERCENT"),
];

/// How wide the band around the median is that holds each share.
fn widths(sizes: &Histogram, median: f64) -> [usize; WIDTHS.len()] {
    let total = sizes.total();
    let mut widths = [0; WIDTHS.len()];
    let mut covered = 0;
    for distance in 0..=sizes.counts().len() + median as usize + 1 {
        let (low, high) = (median - distance as f64, median + distance as f64);
        covered += if low >= 0.0 { sizes.count(low as usize) } else { 0 };
        covered += if distance > 0 { sizes.count(high as usize) } else { 0 };
        for (width, (percent, _)) in widths.iter_mut().zip(WIDTHS) {
            if *width == 0 && covered * 100 >= total * percent {
                *width = 2 * distance + 1;
            }
        }
    }
    widths
}

/// Sample, library and read group of a line that is about all reads.
const ALL_READS: [(&str, String); 3] =
    [("SAMPLE", String::new()), ("LIBRARY", String::new()), ("READ_GROUP", String::new())];

/// Reads by GC of the reference.
pub(super) fn gc_bias(subject: &Subject<'_>) -> Option<String> {
    let qc = subject.qc;
    let rows = qc.counters.alignment.gc_bias.rows.rows();
    let per_window = reads_per_window(qc)?;
    let line = |(gc, &[windows, starts, bases, edits]): (usize, &[u64; 4])| {
        let errors = edits as f64 / bases as f64;
        let quality = if edits == 0 || bases == 0 { 0.0 } else { -10.0 * libm::log10(errors) };
        let expected = windows as f64 * per_window;
        let ratio = |value: f64| decimal(if windows == 0 { 0.0 } else { value / expected });
        let mut row = ACCUMULATION.map(|(name, value)| (name, value.to_owned())).to_vec();
        row.extend([
            ("GC", gc.to_string()),
            ("WINDOWS", integer(windows)),
            ("READ_STARTS", integer(starts)),
            ("MEAN_BASE_QUALITY", format!("{}", quality.round())),
            ("NORMALIZED_COVERAGE", ratio(starts as f64)),
            ("ERROR_BAR_WIDTH", ratio((starts as f64).sqrt())),
        ]);
        row.extend(ALL_READS);
        row
    };
    let mut file = File::new("CollectGcBiasMetrics", subject, "");
    file.metrics(
        "picard.analysis.GcBiasDetailMetrics",
        &rows.iter().enumerate().map(line).collect::<Vec<_>>(),
    );
    Some(file.text)
}

/// The same in one line.
pub(super) fn gc_bias_summary(subject: &Subject<'_>) -> Option<String> {
    let qc = subject.qc;
    let bias = &qc.counters.alignment.gc_bias;
    let (rows, [windows, starts, ..]) = (bias.rows.rows(), bias.rows.totals());
    let per_window = reads_per_window(qc)?;
    let band = |from: usize, to: usize| {
        let known = || rows[from..=to].iter().filter(|row| row[0] > 0);
        let (windows, starts) =
            (known().map(|row| row[0]).sum::<u64>(), known().map(|row| row[1]).sum::<u64>());
        decimal(if windows == 0 { 0.0 } else { starts as f64 / (windows as f64 * per_window) })
    };
    let dropout = |range: std::ops::RangeInclusive<usize>| {
        let lost = |row: &[u64; 4]| (row[0] as f64 / windows as f64 - row[1] as f64 / starts as f64) * 100.0;
        decimal(rows[range].iter().map(lost).filter(|&lost| lost > 0.0).sum())
    };
    let reads = &qc.counters.alignment.reads;
    let mut row = ACCUMULATION.map(|(name, value)| (name, value.to_owned())).to_vec();
    row.extend([
        ("WINDOW_SIZE", WINDOW_BASES.to_string()),
        ("TOTAL_CLUSTERS", integer(reads.first + reads.primary - reads.paired)),
        ("ALIGNED_READS", integer(reads.mapped + reads.secondary + reads.supplementary)),
        ("AT_DROPOUT", dropout(0..=50)),
        ("GC_DROPOUT", dropout(51..=100)),
        ("GC_NC_0_19", band(0, 19)),
        ("GC_NC_20_39", band(20, 39)),
        ("GC_NC_40_59", band(40, 59)),
        ("GC_NC_60_79", band(60, 79)),
        ("GC_NC_80_100", band(80, 100)),
    ]);
    row.extend(ALL_READS);
    let mut file = File::new("CollectGcBiasMetrics", subject, "");
    file.metrics("picard.analysis.GcBiasSummaryMetrics", &[row]);
    Some(file.text)
}

/// Which reads lines of GC are about.
const ACCUMULATION: [(&str, &str); 2] = [("ACCUMULATION_LEVEL", "All Reads"), ("READS_USED", "ALL")];

/// Reads that begin in a window, on average; none where no read does.
fn reads_per_window(qc: &SampleQc) -> Option<f64> {
    let [windows, starts, ..] = qc.counters.alignment.gc_bias.rows.totals();
    (windows > 0 && starts > 0).then(|| starts as f64 / windows as f64)
}

/// A line for each library.
pub(super) fn duplicates(subject: &Subject<'_>) -> Option<String> {
    let libraries = subject.qc.counters.alignment.libraries.iter();
    let lines: Vec<_> = libraries.map(|(name, reads)| duplicates_of(name, reads)).collect();
    let mut file = File::new("MarkDuplicates", subject, "");
    file.metrics("picard.sam.DuplicationMetrics", &lines);
    Some(file.text)
}

fn duplicates_of(library: &str, reads: &ReadCounts) -> Vec<(&'static str, String)> {
    let pairs = reads.both_mapped / 2;
    let pair_duplicates = reads.duplicate_both_mapped / 2;
    let single = reads.mapped - reads.both_mapped;
    let single_duplicates = reads.duplicate - reads.duplicate_both_mapped;
    let duplicates = single_duplicates + 2 * pair_duplicates;
    let examined = single + 2 * pairs;
    let share = if examined == 0 { 0.0 } else { duplicates as f64 / examined as f64 };
    vec![
        ("LIBRARY", library.replace(char::is_control, "_")),
        ("UNPAIRED_READS_EXAMINED", integer(single)),
        ("READ_PAIRS_EXAMINED", integer(pairs)),
        ("SECONDARY_OR_SUPPLEMENTARY_RDS", integer(reads.secondary + reads.supplementary)),
        ("UNMAPPED_READS", integer(reads.unmapped)),
        ("UNPAIRED_READ_DUPLICATES", integer(single_duplicates)),
        ("READ_PAIR_DUPLICATES", integer(pair_duplicates)),
        // Optical duplicates are not told apart.
        ("READ_PAIR_OPTICAL_DUPLICATES", integer(0)),
        ("PERCENT_DUPLICATION", decimal(share)),
        (
            "ESTIMATED_LIBRARY_SIZE",
            library_size(pairs, pairs - pair_duplicates).map_or_else(String::new, integer),
        ),
    ]
}

/// How many different fragments a library has of which so many pairs gave so many different ones: where
/// `unique / x = 1 - exp(-pairs / x)` (Lander and Waterman), found by halving 40 times. None without duplicates.
fn library_size(pairs: u64, unique: u64) -> Option<u64> {
    if unique == 0 || unique >= pairs {
        return None;
    }
    let (pairs, unique) = (pairs as f64, unique as f64);
    let above = |times: f64| 1.0 / times - 1.0 + libm::exp(-pairs / (times * unique));
    let (mut low, mut high) = (1.0, 100.0);
    while above(high) > 0.0 {
        high *= 10.0;
    }
    for _ in 0..40 {
        let middle = (low + high) / 2.0;
        match above(middle) {
            rest if rest > 0.0 => low = middle,
            rest if rest < 0.0 => high = middle,
            _ => break,
        }
    }
    Some((unique * (low + high) / 2.0) as u64)
}

/// Coverage of autosomes; of single reads too, which Picard leaves out unless told otherwise.
pub(super) fn coverage(subject: &Subject<'_>) -> Option<String> {
    let qc = subject.qc;
    const DEPTHS: [usize; 14] = [1, 5, 10, 15, 20, 25, 30, 40, 50, 60, 70, 80, 90, 100];
    let depth = qc.counters.coverage.class(ContigClass::Autosome)?;
    let depths = depth.usable.capped(DEPTH_CAP);
    let mean = depths.mean()?;
    let excluded = &depth.excluded;
    let capped = depth.usable.sum - sum(&depths);
    let out =
        [excluded.mapq, excluded.duplicate, excluded.mate_unmapped, excluded.base, excluded.overlap, capped];
    let all = sum(&depths) + out.iter().sum::<u64>();
    let share = |bases: u64| decimal(if all == 0 { 0.0 } else { bases as f64 / all as f64 });
    let median = median(&depths);
    let mut row = vec![
        ("GENOME_TERRITORY".to_owned(), integer(depths.total())),
        ("MEAN_COVERAGE".to_owned(), decimal(mean)),
        ("SD_COVERAGE".to_owned(), decimal(sample_deviation(&depths))),
        ("MEDIAN_COVERAGE".to_owned(), decimal(median)),
        ("MAD_COVERAGE".to_owned(), decimal(median_deviation(&depths, median))),
        ("PCT_EXC_ADAPTER".to_owned(), "0".to_owned()),
    ];
    let names = ["MAPQ", "DUPE", "UNPAIRED", "BASEQ", "OVERLAP", "CAPPED"];
    row.extend(names.iter().zip(out).map(|(name, bases)| (format!("PCT_EXC_{name}"), share(bases))));
    row.push(("PCT_EXC_TOTAL".to_owned(), share(out.iter().sum())));
    let reached = |least: usize| decimal(depths.at_least(least) as f64 / depths.total() as f64);
    row.extend(DEPTHS.iter().map(|&least| (format!("PCT_{least}X"), reached(least))));
    for (percent, rest) in [(80, 20), (90, 10), (95, 5)] {
        let fold = depths.percentile(rest).map_or(f64::NAN, |least| mean / least as f64);
        row.push((format!("FOLD_{percent}_BASE_PENALTY"), decimal(fold)));
    }
    let single = if qc.counters.alignment.reads.paired == 0 { " COUNT_UNPAIRED=true" } else { "" };
    let mut file = File::new("CollectWgsMetrics", subject, &format!(" INTERVALS=autosomes{single}"));
    file.metrics("picard.analysis.WgsMetrics", &[row]);
    let lines: Vec<String> =
        (0..=DEPTH_CAP).map(|depth| format!("{depth}\t{}", depths.count(depth))).collect();
    file.histogram("coverage\thigh_quality_coverage_count", lines.iter().map(String::as_str));
    Some(file.text)
}

/// Names of columns with their values.
type Row = Vec<(&'static str, String)>;

/// A metrics file in the making.
struct File {
    text: String,
}

impl File {
    /// The header, with the command line that would have made it.
    fn new(tool: &str, subject: &Subject<'_>, options: &str) -> Self {
        const HEADER: &str = "## htsjdk.samtools.metrics.StringHeader";
        let command = format!("{HEADER}\n# {tool} INPUT={}{options}", subject.alignments);
        File { text: format!("{command}\n{HEADER}\n# counted by {WRITER}, in the form of Picard's\n\n") }
    }

    fn metrics<N: AsRef<str>>(&mut self, class: &str, rows: &[Vec<(N, String)>]) {
        let Some(first) = rows.first() else { return };
        let names: Vec<&str> = first.iter().map(|(name, _)| name.as_ref()).collect();
        let mut put = |line: &str| writeln!(self.text, "{line}").expect("a string takes everything");
        put(&format!("## METRICS CLASS\t{class}"));
        put(&names.join("\t"));
        for row in rows {
            put(&row.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join("\t"));
        }
        put("");
    }

    fn histogram<'a>(&mut self, heads: &str, lines: impl Iterator<Item = &'a str>) {
        let mut put = |line: &str| writeln!(self.text, "{line}").expect("a string takes everything");
        put("## HISTOGRAM\tjava.lang.Integer");
        put(heads);
        lines.for_each(&mut put);
        put("");
    }
}

fn integer(value: u64) -> String {
    value.to_string()
}

/// At most six decimals; `?` for what is no number.
fn decimal(value: f64) -> String {
    if !value.is_finite() {
        return "?".to_owned();
    }
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Sum of all values.
fn sum(histogram: &Histogram) -> u64 {
    histogram.counts().iter().enumerate().map(|(value, &count)| value as u64 * count).sum()
}

/// The middle value, or the mean of the two that are.
fn median(histogram: &Histogram) -> f64 {
    let total = histogram.total();
    let ranked = |rank: u64| {
        let mut seen = 0;
        histogram.counts().iter().position(|&count| {
            seen += count;
            seen >= rank
        })
    };
    let (low, high) = (ranked(total.div_ceil(2).max(1)), ranked(total / 2 + 1));
    (low.unwrap_or(0) + high.or(low).unwrap_or(0)) as f64 / 2.0
}

/// Median distance from the median, which may lie between two values.
fn median_deviation(histogram: &Histogram, median: f64) -> f64 {
    let twice = (2.0 * median) as usize;
    let mut distances = Histogram::default();
    for (value, &count) in histogram.counts().iter().enumerate() {
        distances.add_times((2 * value).abs_diff(twice), count);
    }
    self::median(&distances) / 2.0
}

/// Standard deviation of a sample, not of the population.
fn sample_deviation(histogram: &Histogram) -> f64 {
    let count = histogram.total() as f64;
    histogram.standard_deviation().map_or(0.0, |deviation| deviation * (count / (count - 1.0)).sqrt())
}
