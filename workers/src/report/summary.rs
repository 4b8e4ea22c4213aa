//! The answer at the top of the page: is this cohort fine, and if not, which samples and why.
//!
//! Invariant: every judgement names its samples, its number and the border it crossed; the borders are data. Nothing
//! else in the report judges.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::html::{decimal, duration, escape, integer, short};
use super::{Exclusion, ReportData, View};
use crate::qc::metrics::Metrics;
use crate::qc::pedigree::{contradicts, expected};
use crate::qc::sex::SexEvidence;

/// Samples needed before one can stand out from the others.
const OUTLIER_SAMPLES_MIN: usize = 5;

/// Rows of a list that are seen at once; the others are a click away.
const ROWS_SHOWN_MAX: usize = 12;

/// Borders beyond which a number is worth a look. Shares in percent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Thresholds {
    /// Least mean autosome coverage.
    pub mean_autosome_coverage_min: f64,
    /// Least share of autosomes covered ten times.
    pub pct_autosomes_10x_min: f64,
    /// Least share of reads mapped.
    pub pct_reads_mapped_min: f64,
    /// Least share of reads in proper pairs, of paired samples.
    pub pct_reads_properly_paired_min: f64,
    /// Largest share of duplicates.
    pub pct_duplicates_max: f64,
    /// Least share of bases of quality 30.
    pub pct_bases_q30_min: f64,
    /// Distance from the cohort's median, in robust standard deviations, at which counts and ratios of variants stand
    /// out.
    pub outlier_deviations: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds {
            mean_autosome_coverage_min: 10.0,
            pct_autosomes_10x_min: 80.0,
            pct_reads_mapped_min: 95.0,
            pct_reads_properly_paired_min: 90.0,
            pct_duplicates_max: 30.0,
            pct_bases_q30_min: 75.0,
            outlier_deviations: 6.0,
        }
    }
}

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nothing to say.
    Pass,
    /// A person should look.
    Look,
    /// Something contradicts itself: a swap, a wrong sex, missing reads.
    Problem,
}

impl Level {
    /// The word, which is also the style class.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Pass => "pass",
            Level::Look => "look",
            Level::Problem => "problem",
        }
    }
}

/// What a judgement is about: a drawing marks the samples that were judged by what it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    /// Something is missing or not accounted for.
    Ledger,
    /// Reads and their alignment.
    Reads,
    /// Depth.
    Coverage,
    /// Calls.
    Variants,
    /// Who the sample is from.
    Identity,
}

/// One judgement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flag {
    /// How bad.
    pub level: Level,
    /// About what.
    pub aspect: Aspect,
    /// Indexes of the samples it concerns; none when it concerns the job.
    pub samples: Vec<usize>,
    /// What, with number and border.
    pub reason: String,
}

/// All judgements of a cohort, problems first.
pub fn judge(data: &ReportData) -> Vec<Flag> {
    let metrics: Vec<_> = data.samples.iter().map(|sample| Metrics::of(&sample.counters)).collect();
    let mut flags: Vec<Flag> = data
        .missing
        .iter()
        .map(|what| problem(Aspect::Ledger, Vec::new(), format!("missing: {what}")))
        .collect();
    for (index, (sample, metrics)) in data.samples.iter().zip(&metrics).enumerate() {
        judge_borders(data, index, metrics, &mut flags);
        let accounted: u64 = sample.fates.values().sum();
        if accounted != sample.reads_in {
            let (reads, accounted) = (integer(sample.reads_in), integer(accounted));
            let reason = format!("{reads} reads came in, {accounted} are accounted for");
            flags.push(problem(Aspect::Ledger, vec![index], reason));
        }
        let karyotype = SexEvidence::of(&sample.counters).karyotype;
        if let Some(declared) = sample.declared.sex.as_deref().filter(|sex| karyotype.contradicts(sex)) {
            let reason = format!("declared {declared}, sex chromosomes are {}", karyotype.name());
            flags.push(problem(Aspect::Identity, vec![index], reason));
        }
    }
    judge_outliers(data, &metrics, &mut flags);
    judge_pairs(data, &mut flags);
    flags.sort_by_key(|flag| std::cmp::Reverse(flag.level));
    flags
}

fn problem(aspect: Aspect, samples: Vec<usize>, reason: String) -> Flag {
    Flag { level: Level::Problem, aspect, samples, reason }
}

fn judge_borders(data: &ReportData, index: usize, metrics: &Metrics, flags: &mut Vec<Flag>) {
    use Aspect::{Coverage, Reads};
    if metrics.reads == 0 {
        return flags.push(problem(Reads, vec![index], "no reads".to_owned()));
    }
    let borders = &data.thresholds;
    let paired = data.samples[index].counters.alignment.reads.paired > 0;
    let proper = metrics.pct_reads_properly_paired.filter(|_| paired);
    let (mapped, duplicates, q30) = (metrics.pct_reads_mapped, metrics.pct_duplicates, metrics.pct_bases_q30);
    let (mean, breadth) = (metrics.mean_autosome_coverage, metrics.pct_autosomes_10x);
    let rules = [
        (Coverage, "mean autosome coverage", "×", mean, borders.mean_autosome_coverage_min, true),
        (Coverage, "autosomes at 10× or more", "%", breadth, borders.pct_autosomes_10x_min, true),
        (Reads, "reads mapped", "%", mapped, borders.pct_reads_mapped_min, true),
        (Reads, "reads in proper pairs", "%", proper, borders.pct_reads_properly_paired_min, true),
        (Reads, "duplicates", "%", duplicates, borders.pct_duplicates_max, false),
        (Reads, "bases of quality 30 or more", "%", q30, borders.pct_bases_q30_min, true),
    ];
    for (aspect, name, unit, value, border, least) in rules {
        if let Some(value) = value.filter(|&value| if least { value < border } else { value > border }) {
            let side = if least { "at least" } else { "at most" };
            let reason = format!("{name} {value:.1}{unit}, expected {side} {border}{unit}");
            flags.push(Flag { level: Level::Look, aspect, samples: vec![index], reason });
        }
    }
}

/// Tumours are left out: their counts differ for good reasons.
fn judge_outliers(data: &ReportData, metrics: &[Metrics], flags: &mut Vec<Flag>) {
    use Aspect::{Reads, Variants};
    type Measure = (Aspect, &'static str, fn(&Metrics) -> Option<f64>);
    let measures: [Measure; 5] = [
        (Variants, "SNVs", |metrics| Some(metrics.count_snvs as f64)),
        (Variants, "transitions per transversion", |metrics| metrics.ratio_transitions_transversions),
        (Variants, "heterozygous per homozygous SNV", |metrics| metrics.ratio_heterozygous_homzygous_snv),
        (Reads, "mismatches in percent", |metrics| metrics.pct_mismatches),
        (Reads, "mean insert size", |metrics| metrics.mean_insert_size),
    ];
    for (aspect, name, measure) in measures {
        let values: Vec<(usize, f64)> = (0..metrics.len())
            .filter(|&index| !data.samples[index].tumour)
            .filter_map(|index| Some((index, measure(&metrics[index])?)))
            .collect();
        if values.len() < OUTLIER_SAMPLES_MIN {
            continue;
        }
        let median = median(values.iter().map(|&(_, value)| value));
        let spread = 1.4826 * self::median(values.iter().map(|&(_, value)| (value - median).abs()));
        // A cohort may agree to the last digit; a difference below a tenth of the median is no news.
        let border = (spread * data.thresholds.outlier_deviations).max(median.abs() * 0.1);
        for (index, value) in values {
            if (value - median).abs() > border {
                let (value, median) = (short(value), short(median));
                let reason = format!("{name}: {value}, the cohort's median is {median}");
                flags.push(Flag { level: Level::Look, aspect, samples: vec![index], reason });
            }
        }
    }
}

fn judge_pairs(data: &ReportData, flags: &mut Vec<Flag>) {
    for pair in &data.pairs {
        let (Some(a), Some(b)) = (data.samples.get(pair.first), data.samples.get(pair.second)) else {
            continue;
        };
        let (Some(found), Some(kinship)) = (pair.counts.relation(), pair.counts.kinship()) else { continue };
        let expected = expected(&a.declared, &b.declared);
        if contradicts(expected, found) {
            let declared = expected.map_or("nothing", |relation| relation.name());
            let found = found.name();
            let reason = format!("genotypes say {found} (kinship {kinship:.2}), the sheet says {declared}");
            flags.push(problem(Aspect::Identity, vec![pair.first, pair.second], reason));
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Title and what the page is about.
pub(super) fn header(view: &View<'_>) -> String {
    let data = view.data;
    let parts = [data.reference.name.as_str(), data.program.as_str(), data.created.as_str()];
    let about: String =
        parts.iter().filter(|part| !part.is_empty()).map(|part| format!(" · {}", escape(part))).collect();
    format!(
        "<header id=\"top\"><p class=\"eyebrow\">Cohort report</p><h1>{}</h1><p class=\"eyebrow\">{}{about}</p></header>\n",
        escape(&data.cohort),
        plural(data.samples.len(), "sample"),
    )
}

/// Verdict, flags and the cohort in seven numbers.
pub(super) fn section(view: &View<'_>) -> String {
    let level = view.flags.iter().map(|flag| flag.level).max().unwrap_or(Level::Pass);
    let count = |wanted| view.levels.iter().filter(|&&level| level == wanted).count();
    let (problems, looks, all) = (count(Level::Problem), count(Level::Look), view.levels.len());
    let (verdict, detail) = match level {
        Level::Pass => (
            format!(
                "This cohort is fine: {} pass{}",
                plural(all, "sample"),
                if all == 1 { "es" } else { "" }
            ),
            "Every sample lies within the borders listed under The run, and nothing contradicts the cohort sheet.",
        ),
        Level::Look => (
            format!(
                "{looks} of {} {} a look",
                plural(all, "sample"),
                if looks == 1 { "deserves" } else { "deserve" }
            ),
            "Nothing contradicts the cohort sheet; some numbers lie outside the borders listed under The run.",
        ),
        Level::Problem if problems == 0 => (
            "This job is not complete".to_owned(),
            "What is missing is named below. The same command, given again, resumes.",
        ),
        Level::Problem => (
            format!(
                "{problems} of {} {} a problem",
                plural(all, "sample"),
                if problems == 1 { "has" } else { "have" }
            ),
            "Something contradicts the cohort sheet or the ledger. Settle it before the results are used.",
        ),
    };
    format!(
        "<div class=\"verdict {}\" role=\"status\"><h2>{}</h2><p>{detail}</p>{}</div>{}{}",
        level.name(),
        escape(&verdict),
        flag_list(view),
        left_out(view),
        tiles(view)
    )
}

/// What was left out on purpose, where nobody misses it.
fn left_out(view: &View<'_>) -> String {
    if view.data.exclusions.is_empty() {
        return String::new();
    }
    let row = |exclusion: &Exclusion| {
        let Exclusion { what, reason, helps } = exclusion;
        let helps = match helps.as_str() {
            "" => String::new(),
            helps => format!("<small>what would help? {}</small>", escape(helps)),
        };
        let (what, reason) = (escape(what), escape(reason));
        format!("<li><span class=\"state out\">left out</span><b>{what}</b><span>{reason}{helps}</span></li>")
    };
    let rows: Vec<String> = view.data.exclusions.iter().map(row).collect();
    format!("<div class=\"card left-out\"><h3>Left out on purpose</h3>{}</div>", first_of(&rows))
}

/// One line per sample or pair of samples, with all that was found of it.
fn flag_list(view: &View<'_>) -> String {
    let mut lines: Vec<(&Flag, Vec<String>)> = Vec::new();
    for flag in &view.flags {
        let same = |(first, _): &&mut (&Flag, Vec<String>)| {
            first.samples == flag.samples && !flag.samples.is_empty()
        };
        match lines.iter_mut().find(same) {
            Some((_, reasons)) => reasons.push(escape(&flag.reason)),
            None => lines.push((flag, vec![escape(&flag.reason)])),
        }
    }
    let rows: Vec<String> = lines
        .iter()
        .map(|(flag, reasons)| {
            let names: Vec<_> =
                flag.samples.iter().map(|&index| escape(&view.data.samples[index].name)).collect();
            let names = if names.is_empty() { "the job".to_owned() } else { names.join(", ") };
            let (level, reasons) = (flag.level.name(), reasons.join("; "));
            format!(
                "<li><span class=\"state {level}\">{level}</span><b>{names}</b><span>{reasons}</span></li>"
            )
        })
        .collect();
    if rows.is_empty() { String::new() } else { first_of(&rows) }
}

/// A list of which the first rows are seen at once.
fn first_of(rows: &[String]) -> String {
    let (shown, rest) = rows.split_at(rows.len().min(ROWS_SHOWN_MAX));
    let mut html = format!("<ul class=\"flags\">{}</ul>", shown.concat());
    if !rest.is_empty() {
        let summary = format!("and {} more", rest.len());
        let _ = write!(
            html,
            "<details><summary>{summary}</summary><ul class=\"flags\">{}</ul></details>",
            rest.concat()
        );
    }
    html
}

fn tiles(view: &View<'_>) -> String {
    let range = |values: Vec<f64>, write: fn(f64) -> String| {
        let low = values.iter().copied().min_by(f64::total_cmp);
        let high = values.iter().copied().max_by(f64::total_cmp);
        match (low, high) {
            (Some(low), Some(high)) if values.len() > 1 => {
                (write(median(values.into_iter())), format!("{} to {}", write(low), write(high)))
            }
            (Some(only), _) => (write(only), String::new()),
            _ => ("–".to_owned(), String::new()),
        }
    };
    let each =
        |measure: fn(&Metrics) -> Option<f64>| view.metrics.iter().filter_map(measure).collect::<Vec<_>>();
    let reads: u64 = view.metrics.iter().map(|metrics| metrics.reads).sum();
    let bases: u64 = view.metrics.iter().map(|metrics| metrics.yield_bp).sum();
    let coverage = range(each(|m| m.mean_autosome_coverage), |value| format!("{value:.1}×"));
    let breadth = range(each(|m| m.pct_autosomes_10x), |value| format!("{value:.1}%"));
    let mapped = range(each(|m| m.pct_reads_mapped), |value| format!("{value:.1}%"));
    let duplicates = range(each(|m| m.pct_duplicates), |value| format!("{value:.1}%"));
    let snvs = range(each(|m| Some(m.count_snvs as f64)), short);
    let cpu: u64 = view.data.stages.iter().map(|stage| stage.cpu_ms).sum();
    let wall = view.data.tasks.iter().map(|task| task.end_ms).max();
    let tiles = [
        ("Reads", (short(reads as f64), format!("{} bases", short(bases as f64)))),
        ("Median coverage", coverage),
        ("At 10× or more", breadth),
        ("Reads mapped", mapped),
        ("Duplicates", duplicates),
        ("SNVs per sample", snvs),
        ("Elapsed", (wall.map_or_else(|| "–".to_owned(), duration), format!("{} of CPU", duration(cpu)))),
    ];
    let items: String = tiles
        .iter()
        .map(|(name, (value, detail))| {
            format!("<div><dt>{name}</dt><dd>{value}<small>{detail}</small></dd></div>")
        })
        .collect();
    format!("<dl class=\"tiles\">{items}</dl>")
}

/// `1 sample`, `3 samples`.
pub(super) fn plural(count: usize, noun: &str) -> String {
    format!("{} {noun}{}", integer(count as u64), if count == 1 { "" } else { "s" })
}

/// The borders, for the page's end.
pub(super) fn borders(borders: &Thresholds) -> String {
    let rows = [
        ("mean autosome coverage", "at least", borders.mean_autosome_coverage_min, "×"),
        ("autosomes at 10× or more", "at least", borders.pct_autosomes_10x_min, "%"),
        ("reads mapped", "at least", borders.pct_reads_mapped_min, "%"),
        ("reads in proper pairs", "at least", borders.pct_reads_properly_paired_min, "%"),
        ("duplicates", "at most", borders.pct_duplicates_max, "%"),
        ("bases of quality 30 or more", "at least", borders.pct_bases_q30_min, "%"),
        (
            "distance from the cohort's median",
            "at most",
            borders.outlier_deviations,
            " robust standard deviations",
        ),
    ];
    let mut table = super::html::Table::new("Borders", 2, &["Measure", "", "Border"]);
    for (name, side, border, unit) in rows {
        table.row(&[name.to_owned(), side.to_owned(), format!("{}{unit}", decimal(Some(border), 0))]);
    }
    table.folded("Borders used for the verdict")
}
