//! Places in files from which another reader goes on as if it had begun at the start.
//!
//! Invariant: who goes on from a place has the file that was read before it: the same by length and time of change, or
//! proved by hashing again all that was read. Copies of a file on several machines differ in time only.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest, Sha256};

use super::{GzipError, INPUT_BYTES, SeekPoint};

/// A seek point, with the digest of the file up to where decoding starts there.
#[derive(Clone, Debug)]
pub struct Place {
    pub(super) point: SeekPoint,
    pub(super) hash: Sha256,
    pub(super) seen: Seen,
}

/// What a reader saw of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub stamp: Stamp,
    /// How much of it was read, up to the place or somewhat beyond.
    pub used_bytes: u64,
    /// SHA-256 of that.
    pub sha256: [u8; 32],
}

/// Which file it was: a replaced one has another length or time of change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    bytes: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl Stamp {
    /// Of an open file; all alike where nothing is known of it.
    pub fn of(file: &File) -> Self {
        let of = |file: Metadata| Stamp {
            bytes: file.len(),
            seconds: file.mtime(),
            nanoseconds: file.mtime_nsec(),
        };
        file.metadata().map(of).unwrap_or_default()
    }
}

impl Place {
    /// Length of [`Place::seen`].
    pub const SEEN_BYTES: usize = 64;

    /// Bytes of the file before decoding starts.
    pub fn compressed_bytes(&self) -> u64 {
        self.point.compressed_offset
    }

    /// What any reader of the file finds: the state of the digest and [`SeekPoint::to_bytes`]. It tells of the reads, so
    /// it is to be sealed as they are.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.hash.serialize().to_vec();
        bytes.extend(self.point.to_bytes());
        bytes
    }

    /// What this reader saw of its file: length, time of change in seconds and nanoseconds, how much of it was read (8
    /// bytes each, little endian), SHA-256 of that.
    pub fn seen(&self) -> [u8; Self::SEEN_BYTES] {
        let Seen { stamp: Stamp { bytes, seconds, nanoseconds }, used_bytes, sha256 } = self.seen;
        let mut seen = [0; Self::SEEN_BYTES];
        let words =
            [bytes.to_le_bytes(), seconds.to_le_bytes(), nanoseconds.to_le_bytes(), used_bytes.to_le_bytes()];
        seen[..32].copy_from_slice(words.as_flattened());
        seen[32..].copy_from_slice(&sha256);
        seen
    }

    /// The place that [`Place::to_bytes`] and [`Place::seen`] wrote; `None` for any other bytes.
    pub fn from_bytes(bytes: &[u8], seen: &[u8]) -> Option<Place> {
        let (hash, point) = bytes.split_at_checked(size_of::<SerializedState<Sha256>>())?;
        let (&length, seen) = seen.split_first_chunk()?;
        let (&seconds, seen) = seen.split_first_chunk()?;
        let (&nanoseconds, seen) = seen.split_first_chunk()?;
        let (&used_bytes, sha256) = seen.split_first_chunk()?;
        let stamp = Stamp {
            bytes: u64::from_le_bytes(length),
            seconds: i64::from_le_bytes(seconds),
            nanoseconds: i64::from_le_bytes(nanoseconds),
        };
        Some(Place {
            point: SeekPoint::from_bytes(point)?,
            hash: Sha256::deserialize(hash.try_into().ok()?).ok()?,
            seen: Seen { stamp, used_bytes: u64::from_le_bytes(used_bytes), sha256: sha256.try_into().ok()? },
        })
    }

    /// Opens the file it was taken from. What looks like another one is read as far as that was read, and has to be the
    /// same so far: it may be a copy.
    pub(super) fn open(&self, path: &Path) -> Result<File, GzipError> {
        let failed = |source: io::Error| GzipError::Io { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(failed)?;
        let Seen { stamp, used_bytes, sha256 } = self.seen;
        if Stamp::of(&file) == stamp {
            return Ok(file);
        }
        let mut used = (&mut file).take(used_bytes);
        let mut hash = Sha256::new();
        let mut buffer = Vec::with_capacity(INPUT_BYTES);
        while used.by_ref().take(INPUT_BYTES as u64).read_to_end(&mut buffer).map_err(failed)? > 0 {
            hash.update(&buffer);
            buffer.clear();
        }
        match <[u8; 32]>::from(hash.finalize()) == sha256 {
            true => Ok(file),
            false => Err(GzipError::Replaced { path: path.to_owned(), bytes: used_bytes }),
        }
    }
}
