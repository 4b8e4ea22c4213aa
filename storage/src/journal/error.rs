//! Why the journal cannot be used.

use std::path::{Path, PathBuf};

use jobs::failure::{Class, Classified};

use crate::disk::DiskError;
use crate::fence::FenceError;

/// Why the journal was not opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The filesystem refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The directory is another's by now; whether what was being written counts is not known here.
    #[error(transparent)]
    Fence(#[from] FenceError),
    /// There is no journal where one was expected.
    #[error("{} does not exist; expected the journal of a job", path.display())]
    Missing {
        /// The journal.
        path: PathBuf,
    },
    /// The directory belongs to other work.
    #[error("journal {} belongs to another job: its {field} is {stored}, given is {given}", path.display())]
    Foreign {
        /// The journal.
        path: PathBuf,
        /// What differs.
        field: &'static str,
        /// As the journal has it.
        stored: String,
        /// As the caller has it.
        given: String,
    },
    /// The journal has a format of another version of this program.
    #[error("journal {} has format {found}; expected {expected}", path.display(), expected = super::FORMAT)]
    Version {
        /// The journal.
        path: PathBuf,
        /// The format found.
        found: u64,
    },
    /// The stored bytes are not those that were written.
    #[error("journal {} is damaged: {what}", path.display())]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// What showed it.
        what: String,
    },
    /// The database refused for another reason.
    #[error("cannot {action} journal {}", path.display())]
    Database {
        /// What was being done.
        action: &'static str,
        /// The journal.
        path: PathBuf,
        /// What the database said.
        #[source]
        source: Box<redb::Error>,
    },
}

impl JournalError {
    pub(super) fn from_database(action: &'static str, path: &Path, error: redb::Error) -> Self {
        use redb::Error as E;
        let path = path.to_owned();
        match error {
            E::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                JournalError::Damaged { path, what: error.to_string() }
            }
            E::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                JournalError::Damaged { path, what: "the file is too short".to_owned() }
            }
            E::Io(error) => DiskError::on(action, &path)(error).into(),
            E::Corrupted(what) => JournalError::Damaged { path, what },
            E::UpgradeRequired(_)
            | E::RepairAborted
            | E::TableDoesNotExist(_)
            | E::TableTypeMismatch { .. }
            | E::TableIsMultimap(_)
            | E::TypeDefinitionChanged { .. } => JournalError::Damaged { path, what: error.to_string() },
            error => JournalError::Database { action, path, source: Box::new(error) },
        }
    }
}

impl Classified for JournalError {
    fn class(&self) -> Class {
        match self {
            JournalError::Disk(error) => error.class(),
            JournalError::Fence(error) => error.class(),
            JournalError::Missing { .. } | JournalError::Foreign { .. } | JournalError::Version { .. } => {
                Class::Usage
            }
            JournalError::Damaged { .. } => Class::Integrity,
            JournalError::Database { .. } => Class::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            JournalError::Disk(error) => error.hint(),
            JournalError::Fence(error) => error.hint(),
            JournalError::Missing { .. } => Some("give the directory of a job".to_owned()),
            JournalError::Foreign { .. } => {
                Some("give the cohort and parameters the job began with, or a new directory".to_owned())
            }
            JournalError::Version { .. } => {
                Some("finish the job with the version that began it, or give a new directory".to_owned())
            }
            JournalError::Damaged { .. } => {
                Some("give the same command with --repair to begin the job anew".to_owned())
            }
            JournalError::Database { .. } => None,
        }
    }
}
