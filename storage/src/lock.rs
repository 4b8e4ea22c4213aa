//! Keeps a second process out of a directory, as far as the filesystem's locks reach.
//!
//! Invariant: while a [`Lock`] lives, no other process of any machine that honours the filesystem's locks holds one on
//! the same directory; the system drops it with the process, so a crash leaves nothing to clean up. A filesystem
//! without locks is an error. Where locks do not reach every machine, [`Fence`](crate::Fence) goes further.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use jobs::failure::{Class, Classified};

use crate::disk::DiskError;

/// Longest holder's note that is read, in bytes; more is cut.
const HOLDER_BYTES_MAX: u64 = 512;

/// The right to work in one directory; given up when dropped.
#[derive(Debug)]
pub struct Lock {
    locked: File,
}

impl Lock {
    /// Takes the lock `<dir>/lock` and notes there who holds it. `dir` (a job's `.wakachi`) must exist.
    pub fn acquire(dir: &Path) -> Result<Self, LockError> {
        let path = dir.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(DiskError::on("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(error)) => return Err(DiskError::on("lock", &path)(error).into()),
            Err(TryLockError::WouldBlock) => {
                let mut note = Vec::new();
                // The holder may just be writing its note; what is there is good enough for a message.
                let _ = file.take(HOLDER_BYTES_MAX).read_to_end(&mut note);
                let holder = String::from_utf8_lossy(&note).trim().to_owned();
                return Err(LockError::Held { dir: dir.to_owned(), holder });
            }
        }
        let note = format!("process {} on {}\n", std::process::id(), host());
        file.set_len(0)
            .and_then(|()| file.write_all(note.as_bytes()))
            .map_err(DiskError::on("write", &path))?;
        Ok(Lock { locked: file })
    }

    /// Whether nobody holds the lock of `dir`, as far as can be told without taking it; where it cannot, somebody may.
    pub fn is_free(dir: &Path) -> bool {
        match File::open(dir.join("lock")) {
            Ok(file) => file.try_lock_shared().is_ok(),
            Err(error) => error.kind() == ErrorKind::NotFound,
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a child process being started may hold a copy of the descriptor for a moment.
        let _ = self.locked.unlock();
    }
}

pub(crate) fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "an unnamed host".to_owned() } else { name.trim().to_owned() }
}

/// Why the directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The filesystem refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Somebody works there.
    #[error("{} is in use by {holder}", dir.display())]
    Held {
        /// The guarded directory.
        dir: PathBuf,
        /// `process PID on HOST`, as the holder noted it.
        holder: String,
    },
}

impl Classified for LockError {
    fn class(&self) -> Class {
        Class::Failed
    }

    fn hint(&self) -> Option<String> {
        match self {
            LockError::Disk(error) => error.hint(),
            LockError::Held { holder, .. } => Some(format!("wait for {holder} to end, or stop it")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_learns_who_holds_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::acquire(dir.path()).unwrap();
        let error = Lock::acquire(dir.path()).unwrap_err();
        assert_eq!(error.class(), Class::Failed);
        assert!(error.to_string().contains(&format!("process {} on", std::process::id())), "{error}");
        assert!(!Lock::is_free(dir.path()));
        drop(first);
        assert!(Lock::is_free(dir.path()));
        Lock::acquire(dir.path()).unwrap();
    }
}
