//! Why a log cannot be read or written.

use std::io;
use std::path::PathBuf;

use jobs::event::EventName;
use jobs::failure::{Class, Classified};

use super::{Leaf, Mismatch};
use crate::disk::DiskError;

/// Why a log cannot be read, or why an event is not in it.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The filesystem refused to open or to write.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It cannot be read.
    #[error("{}: cannot read the audit log", path.display())]
    Unreadable {
        /// The log.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Its first line has nothing of an event.
    #[error("{}:1: expected an audit log, found nothing of an event", path.display())]
    NotALog {
        /// The file.
        path: PathBuf,
    },
    /// Another process writes it.
    #[error("the audit log {} is being written by another process", path.display())]
    Busy {
        /// The log.
        path: PathBuf,
    },
    /// Writing failed before.
    #[error("the audit log {} takes no more events since one could not be written", path.display())]
    Closed {
        /// The log.
        path: PathBuf,
    },
    /// The event cannot stand in a log; nothing was written.
    #[error("{}: the event {event} cannot be recorded: {mismatch}", path.display())]
    Event {
        /// The log.
        path: PathBuf,
        /// The event.
        event: EventName,
        /// What is wrong with it.
        mismatch: Mismatch,
    },
    /// A line is not what was written there.
    #[error("{}:{line}: {mismatch}", path.display())]
    Damaged {
        /// The log.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// What was expected and what was found.
        mismatch: Mismatch,
    },
    /// Events that are known from elsewhere are not there: the end of the log was cut off.
    #[error("{}: the log ends after {events} events; it should hold {}", path.display(), list(leaves))]
    Missing {
        /// The log.
        path: PathBuf,
        /// How many it has.
        events: u64,
        /// Those that are missing.
        leaves: Vec<Leaf>,
    },
}

fn list(leaves: &[Leaf]) -> String {
    leaves.iter().map(Leaf::to_string).collect::<Vec<_>>().join(", ")
}

impl Classified for AuditError {
    fn class(&self) -> Class {
        match self {
            AuditError::Disk(error) => error.class(),
            AuditError::Unreadable { .. } | AuditError::NotALog { .. } => Class::Input,
            AuditError::Busy { .. } | AuditError::Closed { .. } => Class::Failed,
            AuditError::Event { .. } => Class::Internal,
            AuditError::Damaged { .. } => Class::Integrity,
            AuditError::Missing { .. } => Class::Partial,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            AuditError::Disk(error) => error.hint(),
            AuditError::Busy { .. } => Some("wait for it to end".to_owned()),
            AuditError::Closed { .. } => {
                Some("free space where it lies, then give the same command again".to_owned())
            }
            AuditError::Damaged { path, .. } | AuditError::Missing { path, .. } => Some(format!(
                "keep {} as it is for the inquiry, and compare it with a copy kept elsewhere",
                path.display()
            )),
            AuditError::Unreadable { .. } | AuditError::NotALog { .. } | AuditError::Event { .. } => None,
        }
    }
}
