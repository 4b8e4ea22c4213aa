//! Finish tasks: pieces to files. A file is its header, the cells in order and an end marker, concatenated; nothing is
//! encoded again. Reads and bases are counted up, and a sample whose books do not balance does not finish.
//!
//! Files are written in parts, each by a task of its own ([`part`], [`joint`]), which knows from the sizes of what is before
//! it where its bytes go; a last task ([`sample`], [`cohort`]) joins what they learnt: digests, indexes, counters. What both
//! have in common is in [`whole`].

mod cohort;
mod joint;
mod part;
mod sample;
mod whole;

pub use cohort::finish_joint;
pub use joint::{JointInput, JointShard, JointWriteSummary, check_joint, write_joint};
pub use part::{PartInput, WriteSummary, check_region, write_sample};
pub use sample::{finish_sample, read_counters};
pub use whole::{Before, Extent, part_is_whole, paths};

use crate::access::Access;
use crate::hold::Cancelled;
use crate::htslib::ContainerError;
use crate::region::RegionSummary;
use jobs::failure::{Class, Classified};
use jobs::ledger::{Answers, Fates, Imbalance};
use jobs::task::{Shard, Task};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use storage::{AtomicFileError, DiskError, PackError, PieceRef, RecordReader};

/// A finish task failed.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    /// The scratch.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// A result could not be written.
    #[error(transparent)]
    Write(#[from] AtomicFileError),
    /// A result could not be read back.
    #[error("{}: cannot be read back", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Stored containers are not CRAM.
    #[error("{task}: the stored alignments are damaged")]
    Container {
        /// Key of the task that wrote them.
        task: String,
        /// Where.
        #[source]
        source: ContainerError,
    },
    /// A file that is written in parts lacks one.
    #[error("{}: what {task} wrote is not there", path.display())]
    Part {
        /// The file.
        path: PathBuf,
        /// Key of the task that wrote it.
        task: String,
    },
    /// A stored summary or counter is not what this version writes.
    #[error("the committed output of {task} is not in the form this version writes")]
    Form {
        /// Key of the task that wrote it.
        task: String,
    },
    /// Something is missing.
    #[error(transparent)]
    Imbalance(#[from] Imbalance),
    /// Nobody needs it any more.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl Classified for FinishError {
    fn class(&self) -> Class {
        match self {
            FinishError::Pack(error) => error.class(),
            FinishError::Write(error) => error.class(),
            FinishError::Read { .. } => Class::Failed,
            FinishError::Container { .. } | FinishError::Part { .. } | FinishError::Form { .. } => {
                Class::Integrity
            }
            FinishError::Imbalance(_) => Class::Partial,
            FinishError::Cancelled(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            FinishError::Pack(error) => error.hint(),
            FinishError::Write(error) => error.hint(),
            FinishError::Imbalance(_) => Some("this is a bug of wakachi; please report it".to_owned()),
            FinishError::Read { .. }
            | FinishError::Container { .. }
            | FinishError::Part { .. }
            | FinishError::Form { .. }
            | FinishError::Cancelled(_) => None,
        }
    }
}

impl From<DiskError> for FinishError {
    fn from(error: DiskError) -> Self {
        FinishError::Write(error.into())
    }
}

/// A result file as the ledger lists it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ResultFile {
    /// Path below the job directory.
    pub path: String,
    /// Length.
    pub bytes: u64,
    /// BLAKE3 in hexadecimal.
    pub blake3: String,
}

/// How one shard's bases were answered.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ShardAnswers {
    /// Cells, first to before last.
    pub cells: (u32, u32),
    /// The place, 1-based inclusive; both ends where it spans contigs.
    pub region: String,
    /// Bases of the shard.
    pub bases: u64,
    /// By answer; sums to `bases`.
    pub answers: Answers,
}

/// The ledger of one sample, and what its finish task commits.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SampleLedger {
    /// The sample.
    pub sample: String,
    /// Whether it is part of the joint call.
    pub joint: bool,
    /// Reads of its files.
    pub reads_in: u64,
    /// What became of them; sums to `reads_in`.
    pub fates: Fates,
    /// Alignment records of all kinds in the CRAM.
    pub records: u64,
    /// Variant sites in the gVCF.
    pub sites: u64,
    /// Every shard once.
    pub shards: Vec<ShardAnswers>,
    /// Its files.
    pub files: Vec<ResultFile>,
}

/// A committed region task.
#[derive(Clone, Debug)]
pub struct RegionInput {
    /// The shard.
    pub shard: Shard,
    /// One piece per cell.
    pub pieces: Vec<PieceRef>,
    /// What it said of itself.
    pub summary: RegionSummary,
}

/// Replaces `bytes` by the first block of a kind that a record must have.
fn read_block(
    record: &RecordReader,
    kind: u8,
    bytes: &mut Vec<u8>,
    damaged: impl FnOnce() -> FinishError,
) -> Result<(), FinishError> {
    let at = record.entries().iter().position(|entry| entry.kind == kind).ok_or_else(damaged)?;
    Ok(record.read_block(at, bytes)?)
}

/// That what a task committed is not in the form of this version.
fn form(context: &Access<'_>, task: Task) -> FinishError {
    FinishError::Form { task: task.key(context.names()) }
}

/// Results are listed as they lie in the job directory.
fn result_path(path: &Path) -> String {
    format!("results/{}", path.file_name().unwrap_or_default().to_string_lossy())
}

/// Length and BLAKE3 of a file.
pub fn digest(path: &Path) -> Result<(u64, String), FinishError> {
    let failed = |source| FinishError::Read { path: path.to_owned(), source };
    // A pipe would be waited for.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "no regular file")));
    }
    let mut file = File::open(path).map_err(failed)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 18];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok((bytes, hasher.finalize().to_hex().to_string())),
            count => {
                hasher.update(&buffer[..count]);
                bytes += count as u64;
            }
        }
    }
}
