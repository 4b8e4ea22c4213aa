//! The counts of a sample in the forms in which other programs keep theirs, so that whatever reads those (MultiQC above
//! all) reads ours unmodified.
//!
//! Invariant: a pure function of the counters; a number that stands under another program's name is counted by that
//! program's rule, and one that we do not count is left out. Each text says that wakachi wrote it. MultiQC finds files
//! by what they contain and takes the sample from the command line that they quote, or from the file's name up to the
//! first extension that it knows: so the names of files begin with that of the alignments.

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

/// What a file says of a sample; nothing where nothing can be said.
type Make = fn(&Subject, &SampleQc) -> Option<String>;

/// Names of the files, behind that of the alignments.
const KINDS: [(&str, Make); 9] = [
    ("stats", samtools::stats),
    ("quality_yield_metrics", picard::quality_yield),
    ("quality_by_cycle_metrics", picard::quality_by_cycle),
    ("insert_size_metrics", picard::insert_sizes),
    ("gc_bias.detail_metrics", picard::gc_bias),
    ("gc_bias.summary_metrics", picard::gc_bias_summary),
    ("duplicate_metrics", picard::duplicates),
    ("wgs_metrics", picard::coverage),
    ("wgs_qc_metrics_mqc.json", multiqc::wgs_qc_metrics),
];

/// The files of one sample whose alignments are called `alignments`, such as `S1.cram`. What has nothing to say (insert
/// sizes of single reads) is not among them.
pub fn files(alignments: &str, qc: &SampleQc) -> Vec<ExchangeFile> {
    let subject = Subject::new(alignments);
    let made = KINDS.iter().zip(names(alignments));
    made.filter_map(|((_, make), name)| Some(ExchangeFile { name, text: make(&subject, qc)? })).collect()
}

/// What such files can be called.
pub fn names(alignments: &str) -> impl Iterator<Item = String> {
    KINDS.iter().map(move |(kind, _)| format!("{alignments}.{kind}"))
}

/// What the files are about.
struct Subject {
    /// The file of alignments, as a command line can name it.
    alignments: String,
    /// What MultiQC makes of it.
    sample: String,
}

impl Subject {
    fn new(alignments: &str) -> Self {
        let sample = [".cram", ".bam", ".sam"].iter().find_map(|end| alignments.strip_suffix(end));
        Subject {
            alignments: alignments.replace(|c: char| c.is_whitespace() || c.is_control(), "_"),
            sample: sample.unwrap_or(alignments).to_owned(),
        }
    }
}

/// Who wrote a file.
const WRITER: &str = concat!("wakachi ", env!("CARGO_PKG_VERSION"));
