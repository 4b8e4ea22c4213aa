//! A commit, and its bytes in the journal: one row by task in the database, its pieces in a list beside it.
//!
//! Invariant: what is decoded is what was encoded for the same task; row and list each carry their check, and the row
//! that of its list.

use serde::{Deserialize, Serialize};

use crate::pack::PieceRef;

const CHECK_BYTES: usize = 8;

/// That a task is done, and what it gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// The attempt that was accepted, from 1.
    pub attempt: u32,
    /// Where its outputs lie.
    pub pieces: Vec<PieceRef>,
    /// What the caller wants to remember of it without opening the pieces.
    pub summary: Vec<u8>,
    /// Digest of everything the output depends on, as the caller computes it: a commit of another basis does not count.
    pub basis: [u8; 16],
    /// Digest of the plaintext output: equal for equal work, whoever did it.
    pub content: [u8; 32],
    /// CPU time it took, in milliseconds.
    pub cpu_ms: u64,
    /// When it started, in milliseconds of the caller's clock.
    pub started_ms: u64,
    /// When it finished, in milliseconds of the caller's clock.
    pub finished_ms: u64,
    /// Which of the caller's workers ran it.
    pub worker: u32,
    /// On which of its slots, for timelines.
    pub slot: u32,
    /// At which of the caller's sites.
    pub site: u16,
    /// Bytes it read.
    pub bytes_in: u64,
}

/// What the database holds of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row<'a> {
    /// Attempts begun.
    pub attempts: u32,
    /// How it was done, if it is.
    #[serde(borrow)]
    pub head: Option<Head<'a>>,
}

/// A commit without its pieces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head<'a> {
    attempt: u32,
    #[serde(borrow)]
    summary: &'a [u8],
    basis: [u8; 16],
    content: [u8; 32],
    cpu_ms: u64,
    started_ms: u64,
    finished_ms: u64,
    worker: u32,
    slot: u32,
    site: u16,
    bytes_in: u64,
    /// Where its pieces are listed; `None` if there are none.
    pub pieces: Option<Span>,
}

/// A list of pieces in the piece log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Span {
    pub offset: u64,
    pub length: u64,
    pub check: [u8; CHECK_BYTES],
}

/// A piece's pack, by its number in the journal, offset and length; its BLAKE3 follows.
type Listed = (u32, u64, u64);

impl<'a> Head<'a> {
    pub fn of(commit: &'a Commit, pieces: Option<Span>) -> Self {
        Head {
            attempt: commit.attempt,
            summary: &commit.summary,
            basis: commit.basis,
            content: commit.content,
            cpu_ms: commit.cpu_ms,
            started_ms: commit.started_ms,
            finished_ms: commit.finished_ms,
            worker: commit.worker,
            slot: commit.slot,
            site: commit.site,
            bytes_in: commit.bytes_in,
            pieces,
        }
    }

    pub fn commit(&self, pieces: Vec<PieceRef>) -> Commit {
        Commit {
            attempt: self.attempt,
            pieces,
            summary: self.summary.to_vec(),
            basis: self.basis,
            content: self.content,
            cpu_ms: self.cpu_ms,
            started_ms: self.started_ms,
            finished_ms: self.finished_ms,
            worker: self.worker,
            slot: self.slot,
            site: self.site,
            bytes_in: self.bytes_in,
        }
    }
}

impl<'a> Row<'a> {
    pub fn encode(&self, task: &str) -> Vec<u8> {
        let mut bytes = encoded(self);
        bytes.extend_from_slice(&check(task, &bytes));
        bytes
    }

    /// `None` if the bytes are not those that were stored for this task.
    pub fn decode(task: &str, stored: &'a [u8]) -> Option<Self> {
        let (bytes, stored_check) = stored.split_last_chunk::<CHECK_BYTES>()?;
        match *stored_check == check(task, bytes) {
            true => postcard::from_bytes(bytes).ok(),
            false => None,
        }
    }
}

/// Appends a task's list of pieces to `out`, which begins at `start` in the log; `numbers` are those of their packs.
pub(super) fn list(
    task: &str,
    pieces: &[PieceRef],
    numbers: &[u32],
    start: u64,
    out: &mut Vec<u8>,
) -> Option<Span> {
    if pieces.is_empty() {
        return None;
    }
    let at = out.len();
    out.extend(encoded(&(pieces.len() as u64)));
    for (piece, &number) in pieces.iter().zip(numbers) {
        let listed: Listed = (number, piece.offset, piece.length);
        out.extend(encoded(&listed));
        out.extend(piece.blake3);
    }
    let bytes = &out[at..];
    Some(Span { offset: start + at as u64, length: bytes.len() as u64, check: check(task, bytes) })
}

/// The pieces of a task's list; `None` if the bytes are not those that were listed. `name` gives the name of a pack.
pub(super) fn unlist<'n>(
    task: &str,
    span: Span,
    bytes: &[u8],
    name: impl Fn(u32) -> Option<&'n str>,
) -> Option<Vec<PieceRef>> {
    if span.check != check(task, bytes) {
        return None;
    }
    let (count, mut rest) = postcard::take_from_bytes::<u64>(bytes).ok()?;
    let mut pieces = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let ((number, offset, length), after) = postcard::take_from_bytes::<Listed>(rest).ok()?;
        let (blake3, after) = after.split_first_chunk()?;
        pieces.push(PieceRef { pack: name(number)?.to_owned(), offset, length, blake3: *blake3 });
        rest = after;
    }
    rest.is_empty().then_some(pieces)
}

fn encoded(value: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(value).expect("plain data of known lengths")
}

fn check(task: &str, bytes: &[u8]) -> [u8; CHECK_BYTES] {
    // In one piece, which is quicker than three updates for so few bytes.
    let hashed = [&(task.len() as u64).to_le_bytes(), task.as_bytes(), bytes].concat();
    *blake3::hash(&hashed).as_bytes().first_chunk().expect("32 bytes")
}
