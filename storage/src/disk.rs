//! What the filesystem refuses, said so that the user knows what was being done, to which file, and what helps.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jobs::failure::{Class, Classified};

use crate::key::random;

/// Files are copied so many bytes at a time.
const COPY_BYTES: usize = 1 << 20;

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
            // Never the system's: what was given is no file, or not the one that was meant.
            DiskError::Refused { path, source, .. } if source.kind() == ErrorKind::InvalidData => {
                Some(format!("check whether {} is the file that was meant", path.display()))
            }
            DiskError::Refused { .. } => None,
        }
    }
}

/// Makes a created, renamed or removed name survive a crash: syncs the directory that holds `path`.
pub fn sync_parent(path: &Path) -> Result<(), DiskError> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent).and_then(|directory| directory.sync_all()).map_err(DiskError::on("sync", parent))
}

/// Copies a file from its beginning to its end, and syncs the copy; it has the rights of the first.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), DiskError> {
    let mut source = File::open(from).map_err(DiskError::on("open", from))?;
    let copied = source.metadata().and_then(|metadata| {
        let mut target = File::create(to)?;
        target.set_permissions(metadata.permissions())?;
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            match source.read(&mut buffer)? {
                0 => return target.sync_all(),
                bytes => target.write_all(&buffer[..bytes])?,
            }
        }
    });
    copied.map_err(DiskError::on("copy to", to))
}

/// Writes a file that only its owner may read under a name of its own and links it in: the link is made only if no file is
/// there yet, and never shows half of one. Another file there is an error of kind `AlreadyExists`.
pub(crate) fn create_private(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    let temporary = path.with_file_name(format!(".{:016x}.new", u64::from_le_bytes(*random())));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    let linked = written.and_then(|()| fs::hard_link(&temporary, path));
    let removed = fs::remove_file(&temporary);
    linked.and(removed).map_err(DiskError::on("create key", path))?;
    sync_parent(path)
}
