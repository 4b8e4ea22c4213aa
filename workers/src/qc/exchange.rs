//! The counts of a sample in the forms in which other programs keep theirs, so that whatever reads those (MultiQC above
//! all) reads ours unmodified.
//!
//! Invariant: a pure function of the counters; a number that stands under another program's name is counted by that
//! program's rule, and one that we do not count is left out. Each text says that wakachi wrote it. MultiQC finds files
//! by what they contain and takes the sample from the command line that they quote, or from the file's name up to the
//! first extension that it knows: so the names of files about one sample begin with that of its alignments. Of a cohort,
//! whatever can be is in one file, so that there are few.

use super::metrics::SampleQc;

mod multiqc;
mod picard;
mod samtools;

/// A file of the form of another program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeFile {
    /// Name, without a folder.
    pub name: String,
    /// Content.
    pub text: String,
}

/// How a file comes about.
enum Form {
    /// Of one sample, since its reader knows samples by the names of files.
    Each(fn(&Subject<'_>) -> Option<String>),
    /// What is said of each, one after the other: its reader takes them apart.
    Joined(fn(&Subject<'_>) -> Option<String>),
    /// One text about all.
    Table(fn(&[Subject<'_>]) -> Option<String>),
}

/// Names of the files, behind that of the alignments or of all samples.
const KINDS: [(&str, Form); 9] = [
    ("stats", Form::Each(samtools::stats)),
    ("quality_by_cycle_metrics", Form::Each(picard::quality_by_cycle)),
    ("quality_yield_metrics", Form::Joined(picard::quality_yield)),
    ("insert_size_metrics", Form::Joined(picard::insert_sizes)),
    ("gc_bias.detail_metrics", Form::Joined(picard::gc_bias)),
    ("gc_bias.summary_metrics", Form::Joined(picard::gc_bias_summary)),
    ("duplicate_metrics", Form::Joined(picard::duplicates)),
    ("wgs_metrics", Form::Joined(picard::coverage)),
    ("wgs_qc_metrics_mqc.json", Form::Table(multiqc::wgs_qc_metrics)),
];

/// The files of samples whose alignments have these names, such as `S1.cram`; those about all of them begin with `all`.
/// What has nothing to say (insert sizes of single reads) is not among them.
pub fn files(all: &str, samples: &[(&str, &SampleQc)]) -> Vec<ExchangeFile> {
    let subjects: Vec<Subject<'_>> = samples.iter().map(|&(name, qc)| Subject::new(name, qc)).collect();
    let mut files = Vec::new();
    for (kind, form) in &KINDS {
        let mut put = |name: &str, text: Option<String>| {
            files.extend(text.map(|text| ExchangeFile { name: format!("{name}.{kind}"), text }));
        };
        match form {
            Form::Each(make) => {
                samples.iter().zip(&subjects).for_each(|((name, _), subject)| put(name, make(subject)));
            }
            Form::Joined(make) => {
                let texts: String = subjects.iter().filter_map(make).collect();
                put(all, (!texts.is_empty()).then_some(texts));
            }
            Form::Table(make) => put(all, make(&subjects)),
        }
    }
    files
}

/// What such files can be called.
pub fn names(all: &str, alignments: &[String]) -> Vec<String> {
    let named = |(kind, form): &(&str, Form)| match form {
        Form::Each(_) => alignments.iter().map(|name| format!("{name}.{kind}")).collect(),
        Form::Joined(_) | Form::Table(_) => vec![format!("{all}.{kind}")],
    };
    KINDS.iter().flat_map(named).collect()
}

/// A sample that files are about.
struct Subject<'a> {
    /// The file of alignments, as a command line can name it.
    alignments: String,
    /// What MultiQC makes of it.
    sample: String,
    qc: &'a SampleQc,
}

impl<'a> Subject<'a> {
    fn new(alignments: &str, qc: &'a SampleQc) -> Self {
        let sample = [".cram", ".bam", ".sam"].iter().find_map(|end| alignments.strip_suffix(end));
        Subject {
            alignments: alignments.replace(|c: char| c.is_whitespace() || c.is_control(), "_"),
            sample: sample.unwrap_or(alignments).to_owned(),
            qc,
        }
    }
}

/// Who wrote a file.
const WRITER: &str = concat!("wakachi ", env!("CARGO_PKG_VERSION"));
