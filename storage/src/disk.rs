//! What the filesystem refuses, said so that the user knows what was being done, to which file, and what helps.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use jobs::failure::{Class, Classified};

/// The filesystem refused; nothing that was being written counts as stored.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// No space, quota or permitted file size left.
    #[error("no space left to {action} {}", path.display())]
    NoSpace {
        /// What was being done, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Anything else: permissions, a lost mount, a failing device.
    #[error("cannot {action} {}", path.display())]
    Refused {
        /// What was being done, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl DiskError {
    /// For `map_err`: `.map_err(DiskError::on("write", path))`.
    pub fn on(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DiskError {
        move |source| {
            let path = path.to_owned();
            match source.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                    DiskError::NoSpace { action, path, source }
                }
                _ => DiskError::Refused { action, path, source },
            }
        }
    }
}

impl Classified for DiskError {
    fn class(&self) -> Class {
        Class::Failed
    }

    fn hint(&self) -> Option<String> {
        match self {
            DiskError::NoSpace { path, .. } => {
                Some(format!("free space where {} lies, then give the same command again", path.display()))
            }
            DiskError::Refused { .. } => None,
        }
    }
}

/// Makes a created, renamed or removed name survive a crash: syncs the directory that holds `path`.
pub(crate) fn sync_parent(path: &Path) -> Result<(), DiskError> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent).and_then(|directory| directory.sync_all()).map_err(DiskError::on("sync", parent))
}
