//! The cohort report: one HTML page that opens offline and answers "is this cohort fine?" before anything else.
//!
//! Invariant: [`render`] is a pure function of [`ReportData`]; the page refers to nothing outside itself, and no text
//! from a cohort sheet or file reaches it unescaped. Up to [`SMALL_COHORT_MAX`] samples are drawn one by one, larger
//! cohorts as bands, heat strips and tables. Knows no files, no clock.

use std::collections::BTreeMap;

use jobs::genome::Contigs;
use serde::{Deserialize, Serialize};

use crate::qc::SampleCounters;
use crate::qc::contig_class::ContigClass;
use crate::qc::metrics::{Metrics, SCHEMA_VERSION};
use crate::qc::pedigree::Declared;
use crate::qc::relatedness::PairCounts;
use crate::qc::sex::SexEvidence;

mod bill;
mod coverage;
mod html;
mod kin;
mod reads;
mod run;
mod samples;
mod series;
mod summary;
mod svg;
mod variants;
mod vault;

pub use summary::{Aspect, Flag, Level, Thresholds, judge};

/// Up to so many samples each get plots of their own.
pub const SMALL_COHORT_MAX: usize = 24;

/// All that the page shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReportData {
    /// Cohort id.
    pub cohort: String,
    /// Program and version.
    pub program: String,
    /// When and where, as the caller wishes to say it; empty for nothing.
    pub created: String,
    /// The full command.
    pub command: String,
    /// Parameters that affect output, by name.
    pub parameters: BTreeMap<String, String>,
    /// The reference.
    pub reference: ReferenceSummary,
    /// All samples, in the order of the cohort sheet.
    pub samples: Vec<SampleReport>,
    /// Pairs of samples, by index into `samples`; empty where there was nothing to compare.
    pub pairs: Vec<PairReport>,
    /// Every task attempt of this run that ended well.
    pub tasks: Vec<TaskSpan>,
    /// Totals by stage, in order.
    pub stages: Vec<StageTotal>,
    /// What the core time went to; empty where nobody counted.
    #[serde(default)]
    pub bill: Vec<BillLine>,
    /// Price of all of it; 0 where no rates are configured.
    #[serde(default)]
    pub price: f64,
    /// Result files.
    pub files: Vec<FileEntry>,
    /// What was left out on purpose, and why.
    pub exclusions: Vec<Exclusion>,
    /// A vault that results were sealed into, as whoever watches over it found it; a job does not know.
    #[serde(default)]
    pub vault: Option<VaultSection>,
    /// What is missing though it should be there; the job is complete only if this is empty.
    pub missing: Vec<String>,
    /// When a number is worth a look.
    pub thresholds: Thresholds,
}

/// The reference in a few words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferenceSummary {
    /// Name of the file.
    pub name: String,
    /// Digest of the sequences.
    pub digest: String,
    /// Contigs in order.
    pub contigs: Vec<ContigSummary>,
}

/// One contig.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContigSummary {
    /// Name.
    pub name: String,
    /// Length in bases.
    pub length: u32,
    /// What it is to quality control.
    pub class: ContigClass,
}

impl ReferenceSummary {
    /// The summary of a list of contigs.
    pub fn new(name: String, digest: String, contigs: &Contigs) -> Self {
        let classes = ContigClass::of_all(contigs);
        let summary = |(contig, class): (&jobs::genome::Contig, ContigClass)| ContigSummary {
            name: contig.name.clone(),
            length: contig.length,
            class,
        };
        ReferenceSummary { name, digest, contigs: contigs.iter().zip(classes).map(summary).collect() }
    }
}

/// One sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleReport {
    /// SAM `SM`.
    pub name: String,
    /// What the sheet says.
    pub declared: Declared,
    /// A tumour: compared with its participant's other samples, judged by fewer rules.
    pub tumour: bool,
    /// What was counted.
    pub counters: SampleCounters,
    /// Reads that came in.
    pub reads_in: u64,
    /// Reads by fate; they must add up to `reads_in`.
    pub fates: BTreeMap<String, u64>,
    /// Against a simulation's truth, where there is one.
    pub accuracy: Option<Accuracy>,
}

/// How right a sample is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accuracy {
    /// Reads whose true place is known.
    pub reads: u64,
    /// Those placed there.
    pub reads_placed: u64,
    /// SNVs.
    pub snv: Confusion,
    /// Insertions and deletions.
    pub indel: Confusion,
}

/// Calls against truth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// True and called.
    pub found: u64,
    /// True and not called.
    pub missed: u64,
    /// Called and not true.
    pub extra: u64,
}

impl Confusion {
    /// Found over true.
    pub fn recall(&self) -> Option<f64> {
        let all = self.found + self.missed;
        (all > 0).then(|| self.found as f64 / all as f64)
    }

    /// Found over called.
    pub fn precision(&self) -> Option<f64> {
        let called = self.found + self.extra;
        (called > 0).then(|| self.found as f64 / called as f64)
    }

    /// Harmonic mean of the two.
    pub fn f1(&self) -> Option<f64> {
        let sum = 2 * self.found + self.missed + self.extra;
        (sum > 0).then(|| 2.0 * self.found as f64 / sum as f64)
    }
}

/// Two samples compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairReport {
    /// Index of the first sample.
    pub first: usize,
    /// Index of the second sample.
    pub second: usize,
    /// What they share.
    pub counts: PairCounts,
}

/// One task attempt on the clock; times in milliseconds since the run began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSpan {
    /// Stage.
    pub stage: String,
    /// Task as printed: `j42.region.17`.
    pub task: String,
    /// Sample, where the task belongs to one.
    pub sample: Option<String>,
    /// Thread or worker, from 0.
    pub lane: u32,
    /// Begin.
    pub start_ms: u64,
    /// End.
    pub end_ms: u64,
    /// Processor time.
    pub cpu_ms: u64,
}

/// One stage's totals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageTotal {
    /// Stage.
    pub stage: String,
    /// Tasks.
    pub tasks: u64,
    /// From the first begin to the last end, in milliseconds.
    pub wall_ms: u64,
    /// Processor time in milliseconds.
    pub cpu_ms: u64,
}

/// What one use took of the allocated core time; all lines sum to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BillLine {
    /// A stage, or why cores were idle, in words.
    pub what: String,
    /// Whether it is a stage's work.
    pub work: bool,
    /// Core time.
    pub core_ms: u64,
}

/// One result file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Path within the job directory.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Digest with its kind: `blake3:...`.
    pub digest: String,
}

/// Something left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exclusion {
    /// What.
    pub what: String,
    /// Why.
    pub reason: String,
    /// What would have to be otherwise; empty where it is as it should be.
    #[serde(default)]
    pub helps: String,
}

/// A vault: what lies where, what of it is lost, and what came back all the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultSection {
    /// Data fragments of each object: so many restore it.
    pub data: u8,
    /// Its other fragments.
    pub parity: u8,
    /// Custodians that restore.
    pub quorum: u8,
    /// Where fragments lie, in order.
    pub sites: Vec<VaultPlace>,
    /// Who holds key shares, in order; their ledgers.
    pub custodians: Vec<VaultPlace>,
    /// Everything in it.
    pub objects: Vec<VaultObject>,
    /// What was tried.
    pub restores: Vec<VaultRestore>,
    /// What must be known to read this right; empty for nothing.
    pub note: String,
}

/// A site, or a custodian's ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultPlace {
    /// Its name.
    pub name: String,
    /// Whether all of it is lost.
    pub lost: bool,
}

/// A sealed file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultObject {
    /// The object.
    pub id: String,
    /// Name of the file.
    pub name: String,
    /// Class of the data.
    pub class: String,
    /// Whose data it is; none for a file of several samples.
    pub sample: Option<String>,
    /// Length of the file.
    pub bytes: u64,
    /// Its fragments.
    pub fragments: Vec<VaultFragment>,
    /// Whether its share is there, by custodian.
    pub shares: Vec<bool>,
}

/// One fragment of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultFragment {
    /// From 0; data fragments come first.
    pub index: u8,
    /// Name of the site.
    pub site: String,
    /// Whether it is there as it was written.
    pub whole: bool,
}

/// An attempt to restore an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultRestore {
    /// Name of the object.
    pub object: String,
    /// The custodians whose keys were used.
    pub custodians: Vec<String>,
    /// What came of it.
    pub outcome: RestoreOutcome,
}

/// What came of an attempt to restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestoreOutcome {
    /// The same bytes as the file that was sealed.
    Identical,
    /// Nothing.
    Refused {
        /// Of the command.
        exit_code: u8,
        /// In its words.
        reason: String,
    },
}

/// The document `qc/cohort.json`: what the report says of the cohort, for machines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CohortQc {
    /// [`SCHEMA_VERSION`] of the program that wrote it.
    pub schema_version: u32,
    /// Cohort id.
    pub cohort: String,
    /// Names of the samples, by index as `pairs` and `flags` use them.
    pub samples: Vec<String>,
    /// Everything that is worth a look, problems first.
    pub flags: Vec<Flag>,
    /// All pairs.
    pub pairs: Vec<PairReport>,
    /// The borders used.
    pub thresholds: Thresholds,
}

impl CohortQc {
    /// The document of a cohort.
    pub fn new(data: &ReportData) -> Self {
        CohortQc {
            schema_version: SCHEMA_VERSION,
            cohort: data.cohort.clone(),
            samples: data.samples.iter().map(|sample| sample.name.clone()).collect(),
            flags: judge(data),
            pairs: data.pairs.clone(),
            thresholds: data.thresholds.clone(),
        }
    }
}

/// What the sections share: the data, and what follows from them.
struct View<'a> {
    data: &'a ReportData,
    metrics: Vec<Metrics>,
    sexes: Vec<SexEvidence>,
    flags: Vec<Flag>,
    levels: Vec<Level>,
}

impl<'a> View<'a> {
    fn new(data: &'a ReportData) -> Self {
        let metrics: Vec<_> = data.samples.iter().map(|sample| Metrics::of(&sample.counters)).collect();
        let sexes = data.samples.iter().map(|sample| SexEvidence::of(&sample.counters)).collect();
        let flags = judge(data);
        let mut levels = vec![Level::Pass; data.samples.len()];
        for flag in &flags {
            for &sample in &flag.samples {
                levels[sample] = levels[sample].max(flag.level);
            }
        }
        View { data, metrics, sexes, flags, levels }
    }

    /// Whether samples are drawn one by one.
    fn is_small(&self) -> bool {
        self.data.samples.len() <= SMALL_COHORT_MAX
    }

    /// Whether a sample was judged by what a drawing shows.
    fn is_flagged(&self, sample: usize, aspect: Aspect) -> bool {
        self.flags.iter().any(|flag| flag.aspect == aspect && flag.samples.contains(&sample))
    }

    /// How a sample's line or bar is drawn.
    fn series_class(&self, sample: usize, aspect: Aspect) -> &'static str {
        match (self.is_flagged(sample, aspect), self.data.samples[sample].tumour) {
            (true, _) => "flagged",
            (false, true) => "tumour",
            (false, false) => "",
        }
    }

    /// The legend of drawings in which samples are lines, or bands where they are many.
    fn series_legend(&self, aspect: Aspect) -> String {
        if self.is_small() {
            return self.dot_legend(aspect);
        }
        self.legend("median, half and four fifths of the samples", false, aspect)
    }

    /// The legend of drawings in which every sample is a mark of its own.
    fn dot_legend(&self, aspect: Aspect) -> String {
        self.legend("sample", true, aspect)
    }

    fn legend(&self, plain: &str, tumours: bool, aspect: Aspect) -> String {
        let used = |class: &str| {
            (0..self.data.samples.len()).any(|sample| self.series_class(sample, aspect) == class)
        };
        let keys = [("c-blue", plain, true), ("c-purple", "tumour", tumours && used("tumour"))];
        let keys = keys.into_iter().chain([("c-red", "flagged sample", used("flagged"))]);
        let keys: Vec<_> =
            keys.filter(|(_, _, shown)| *shown).map(|(class, label, _)| (class, label)).collect();
        // One key under one kind of line says nothing.
        if keys.len() == 1 && self.is_small() { String::new() } else { html::legend(&keys) }
    }
}

/// The page.
pub fn render(data: &ReportData) -> String {
    let view = View::new(data);
    let mut sections = vec![
        ("samples", "Samples", samples::section(&view)),
        ("coverage", "Coverage", coverage::section(&view)),
        ("reads", "Reads", reads::section(&view)),
        ("variants", "Variants", variants::section(&view)),
        ("relatedness", "Relatedness and sex", kin::section(&view)),
        ("run", "The run", run::section(&view)),
    ];
    sections.extend(data.vault.as_ref().map(|vault| ("vault", "The vault", vault::section(&view, vault))));
    let title = html::escape(&data.cohort);
    let links: String =
        sections.iter().map(|(id, name, _)| format!("<a href=\"#{id}\">{name}</a>")).collect();
    let body: String = sections
        .iter()
        .map(|(id, name, body)| {
            format!("<section aria-labelledby=\"{id}\"><h2 id=\"{id}\">{name}</h2>{body}</section>\n")
        })
        .collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <title>{title} · cohort report</title><style>{}</style></head>\n<body>{}\
         <nav aria-label=\"Sections\"><div><a href=\"#top\">Summary</a>{links}</div></nav>\n\
         <main>{}{body}</main>{}</body></html>\n",
        include_str!("report/style.css"),
        summary::header(&view),
        summary::section(&view),
        run::footer(&view),
    )
}
