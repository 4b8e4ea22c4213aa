//! The audit log: one signed event a line, each line holding the hash of the line before. Its form stands in `DESIGN.md`
//! beside this crate.
//!
//! Invariant: an event that [`AuditLog::append`] has answered for is on the device with all before it, and no byte of it can change, no
//! line go or move, without [`verify`] naming the line; what was cut off at the end of a line is noticed by whoever
//! holds a later [`Leaf`]. What the events mean is not known here.

mod chain;
mod error;
mod read;
#[cfg(test)]
mod tests;

pub use chain::{Chain, Entry, Leaf, Mismatch, NotAKey, NotALeaf, hex, key_of_hex};
pub use error::AuditError;
pub use read::{Summary, read, verify, verify_with};

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use jobs::event::{Event, Node};
use jobs::time::Timestamp;

use crate::disk::{DiskError, sync_parent};

/// Longest line, in bytes with its line feed; a longer one is neither written nor read.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// A log that is being written: by this process alone, by all of its threads.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
    name: String,
    node: Node,
    key: Ed25519KeyPair,
    /// `None` once a write or a sync has failed: what then stands at the end of the file is not known.
    end: Mutex<Option<End>>,
    /// Whoever has this syncs for all who have written and wait for it.
    synced: Mutex<Synced>,
}

/// What of a log is on the device.
#[derive(Clone, Copy, Debug, Default)]
struct Synced {
    last: Option<Leaf>,
    /// How often it took a sync.
    syncs: u64,
}

/// The end of a log: where the next line goes, and what it continues.
#[derive(Debug)]
struct End {
    file: Arc<File>,
    chain: Chain,
}

impl AuditLog {
    /// Opens the log, or begins one. `seed` is that of its Ed25519 key and `name` what it calls itself: both must be
    /// those of the first event. A log below 1 MiB is verified whole, of a longer one the first and the last line. A
    /// last line that was never finished is cut off; any other damage is refused.
    pub fn open(path: &Path, seed: &[u8; 32], name: &str, node: Node) -> Result<Self, AuditError> {
        let key = Ed25519KeyPair::from_seed_unchecked(seed).expect("every 32 bytes are a seed");
        let mut options = OpenOptions::new();
        let options = options.read(true).append(true).create(true).mode(0o600);
        let file = options.open(path).map_err(DiskError::on("open", path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(AuditError::Busy { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(DiskError::on("lock", path)(error).into()),
        }
        let public = key.public_key().as_ref().try_into().expect("32 bytes");
        let (chain, whole_bytes) = read::resume(&file, path, public, name)?;
        file.set_len(whole_bytes).map_err(DiskError::on("cut", path))?;
        // Also where nothing was cut: whoever wrote the last line may have died before it was synced.
        file.sync_all().map_err(DiskError::on("sync", path))?;
        sync_parent(path)?;
        let synced = Mutex::new(Synced { last: chain.last(), syncs: 0 });
        let end = Mutex::new(Some(End { file: Arc::new(file), chain }));
        Ok(AuditLog { path: path.to_owned(), name: name.to_owned(), node, key, end, synced })
    }

    /// Writes the event; when this returns, it survives a crash. Its time is `now`, or that of the event before if the
    /// clock was set back. After a failure to write, the log takes no further event until it is opened again.
    pub fn append(&self, event: Event, now: Timestamp) -> Result<Leaf, AuditError> {
        Ok(self.append_many(&[event], now)?[0])
    }

    /// Writes several events, one after the other, at the price of one; all of them, or after an error none. See
    /// [`AuditLog::append`].
    pub fn append_many(&self, events: &[Event], now: Timestamp) -> Result<Vec<Leaf>, AuditError> {
        let leaves = self.note_many(events, now)?;
        if let Some(last) = leaves.last() {
            self.sync(last.seq)?;
        }
        Ok(leaves)
    }

    /// Writes the lines of events; they are on the device once a later [`AuditLog::append`] has returned.
    pub fn note_many(&self, events: &[Event], now: Timestamp) -> Result<Vec<Leaf>, AuditError> {
        let mut end = self.end.lock().map_err(|_| self.closed())?;
        let End { file, chain } = end.as_mut().ok_or_else(|| self.closed())?;
        let (mut lines, mut leaves, mut last) = (Vec::new(), Vec::new(), chain.clone());
        for event in events {
            let (line, next) =
                last.next_line(event, now, &self.node, &self.name, &self.key).map_err(|mismatch| {
                    AuditError::Event { path: self.path.clone(), event: event.event, mismatch }
                })?;
            lines.extend(line);
            lines.push(b'\n');
            leaves.push(next.last().expect("a line was just made"));
            last = next;
        }
        if let Err(error) = (&**file).write_all(&lines) {
            *end = None;
            return Err(DiskError::on("write", &self.path)(error).into());
        }
        *chain = last;
        Ok(leaves)
    }

    /// Waits until this event is on the device. One of those who wait syncs, for all that was written by then; the others
    /// find that done. So many threads do not wait for a sync each.
    fn sync(&self, seq: u64) -> Result<(), AuditError> {
        let mut synced = self.synced.lock().map_err(|_| self.closed())?;
        if synced.last.is_some_and(|last| last.seq >= seq) {
            return Ok(());
        }
        let (file, last) = match self.end.lock().map_err(|_| self.closed())?.as_ref() {
            Some(end) => (Arc::clone(&end.file), end.chain.last()),
            None => return Err(self.closed()),
        };
        if let Err(error) = file.sync_data() {
            // While this one held `synced`, nobody was answered.
            self.end.lock().map_err(|_| self.closed())?.take();
            return Err(DiskError::on("sync", &self.path)(error).into());
        }
        *synced = Synced { last, syncs: synced.syncs + 1 };
        Ok(())
    }

    fn closed(&self) -> AuditError {
        AuditError::Closed { path: self.path.clone() }
    }

    /// The last event that is on the device; `None` before the first one, and after a failure.
    pub fn last(&self) -> Option<Leaf> {
        let last = self.synced.lock().ok()?.last;
        self.end.lock().ok()?.as_ref().and(last)
    }

    /// The public key that verifies the log.
    pub fn key(&self) -> [u8; 32] {
        self.key.public_key().as_ref().try_into().expect("32 bytes")
    }

    /// Where the log lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// What stands in the log for a participant: HMAC-SHA-256 of the code under a key that is kept apart, in hexadecimal.
pub fn participant_hash(key: &[u8; 32], code: &str) -> String {
    hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), code.as_bytes()).as_ref())
}
