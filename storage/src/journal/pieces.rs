//! The piece log: lists of pieces, one after the other, in a file beside the database, which says where each lies.
//!
//! Invariant: a list is on the device before the database names it. What lies beyond the end that the database knows is
//! what a crash left, and is cut off. The database is smaller for it by three quarters, and so is what is verified when
//! a job is opened; a list is verified when it is read.

use std::io;
use std::sync::{Mutex, PoisonError};

use redb::StorageBackend;

/// The log, open for reading and appending.
#[derive(Debug)]
pub(super) struct PieceLog {
    file: Box<dyn StorageBackend>,
    tail: Mutex<Tail>,
}

#[derive(Debug)]
struct Tail {
    end: u64,
    /// A failed sync leaves unknown what reached the device; from then on nothing is accepted.
    lost: bool,
}

impl PieceLog {
    /// The log in `file`, which the database knows up to `end`. An error of kind `UnexpectedEof` if it is shorter.
    pub fn open(file: impl StorageBackend, end: u64) -> io::Result<Self> {
        let stored = file.len()?;
        if stored < end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if stored > end {
            file.set_len(end)?;
            file.sync_data()?;
        }
        Ok(PieceLog { file: Box::new(file), tail: Mutex::new(Tail { end, lost: false }) })
    }

    /// Where the next list goes, as long as nobody else appends.
    pub fn end(&self) -> u64 {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).end
    }

    /// Appends lists and syncs them; gives the new end. What does not fit is taken back.
    pub fn append(&self, lists: &[u8]) -> io::Result<u64> {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.lost {
            return Err(io::Error::other("an earlier write failed"));
        }
        if !lists.is_empty() {
            if let Err(error) = self.file.write(tail.end, lists) {
                tail.lost = self.file.set_len(tail.end).is_err();
                return Err(error);
            }
            tail.lost = true;
            self.file.sync_data()?;
            *tail = Tail { end: tail.end + lists.len() as u64, lost: false };
        }
        Ok(tail.end)
    }

    /// The bytes of a list.
    pub fn read(&self, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length as usize];
        self.file.read(offset, &mut bytes)?;
        Ok(bytes)
    }
}
