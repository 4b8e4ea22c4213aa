//! What can be wrong with a pack, a piece or a record.

use std::fmt;
use std::path::PathBuf;

use jobs::failure::{Class, Classified};
use jobs::policy::NotPermitted;

use crate::disk::DiskError;

/// Why a piece was not written or not read. `context` is the task it belongs to, empty where that is not known.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The filesystem refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The pack is gone.
    #[error("missing piece{}: pack {} does not exist; expected a piece at offset {offset}", of(context), path.display())]
    Missing {
        /// The pack.
        path: PathBuf,
        /// Where the piece begins.
        offset: u64,
        /// The task.
        context: String,
    },
    /// The pack ends before the piece does.
    #[error(
        "missing piece{}: pack {} ends at {stored_bytes}; expected {length} bytes at offset {offset}",
        of(context), path.display()
    )]
    Short {
        /// The pack.
        path: PathBuf,
        /// Where the piece begins.
        offset: u64,
        /// Bytes the piece has.
        length: u64,
        /// Bytes the pack has.
        stored_bytes: u64,
        /// The task.
        context: String,
    },
    /// The stored bytes are not those that were written.
    #[error("damaged piece{}: pack {} at offset {offset}: {damage}", of(context), path.display())]
    Damaged {
        /// The pack.
        path: PathBuf,
        /// Where the piece begins.
        offset: u64,
        /// The task.
        context: String,
        /// What showed it.
        damage: Damage,
    },
    /// The permit does not cover reading it.
    #[error("no read without a permit")]
    Permit(#[from] NotPermitted),
    /// The key was not asked for.
    #[error("{context}: its data is not open to the task that asks for it")]
    Closed {
        /// The task it belongs to.
        context: String,
    },
    /// Another process appends to the pack.
    #[error("pack {} is in use by another worker", path.display())]
    Busy {
        /// The pack.
        path: PathBuf,
    },
    /// An earlier sync failed, so the pack takes nothing more.
    #[error("pack {}: an earlier sync failed, nothing more is appended", path.display())]
    Lost {
        /// The pack.
        path: PathBuf,
    },
    /// A pack cannot have this name.
    #[error("'{}' cannot name a pack: expected UTF-8 without a leading dot", path.display())]
    Name {
        /// The path as given.
        path: PathBuf,
    },
    /// A block is longer, or a record has more blocks, than the format holds.
    #[error("{context}: a block of {bytes} bytes, {blocks} blocks: more than a record holds")]
    TooLarge {
        /// The task.
        context: String,
        /// Length of the block in bytes.
        bytes: usize,
        /// Blocks of the record with this one.
        blocks: usize,
    },
}

/// What showed that a piece is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The journal's name for the pack is no file name.
    Name,
    /// The bytes do not match their BLAKE3.
    Digest,
    /// The bytes read back just after writing differ.
    ReadBack,
    /// No record ends where the piece ends.
    Trailer,
    /// The record was sealed under another key.
    Key,
    /// The directory of blocks is not what was sealed for this task.
    Directory,
    /// The block of this ordinal is not what was sealed for this task.
    Block(usize),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Name => f.write_str("the pack's name is no file name"),
            Damage::Digest => f.write_str("its bytes do not match their BLAKE3"),
            Damage::ReadBack => f.write_str("the bytes read back are not those that were written"),
            Damage::Trailer => f.write_str("no record ends here"),
            Damage::Key => f.write_str("it is sealed under another key"),
            Damage::Directory => f.write_str("its directory is not what was sealed for this task"),
            Damage::Block(block) => write!(f, "block {block} is not what was sealed for this task"),
        }
    }
}

fn of(context: &str) -> String {
    if context.is_empty() { String::new() } else { format!(" of {context}") }
}

impl Classified for PackError {
    fn class(&self) -> Class {
        match self {
            PackError::Disk(error) => error.class(),
            PackError::Missing { .. } | PackError::Short { .. } => Class::Partial,
            PackError::Damaged { .. } => Class::Integrity,
            PackError::Busy { .. } | PackError::Lost { .. } | PackError::TooLarge { .. } => Class::Failed,
            PackError::Permit(_) => Class::Policy,
            PackError::Name { .. } | PackError::Closed { .. } => Class::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            PackError::Disk(error) => error.hint(),
            PackError::Busy { .. } => Some("wait for the other worker to end".to_owned()),
            PackError::Lost { .. } => Some("check the device, then give the same command again".to_owned()),
            PackError::Missing { .. } | PackError::Short { .. } | PackError::Damaged { .. } => {
                Some("give the same command with --repair to do it again".to_owned())
            }
            PackError::Name { .. }
            | PackError::TooLarge { .. }
            | PackError::Permit(_)
            | PackError::Closed { .. } => None,
        }
    }
}
