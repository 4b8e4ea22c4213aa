//! A commit and its bytes in the journal: postcard's encoding of [`Commit`], then eight bytes of BLAKE3 over task and
//! encoding.

use crate::pack::PieceRef;

const CHECK_BYTES: usize = 8;

/// That a task is done, and what it gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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

impl Commit {
    pub(super) fn encode(&self, task: &str) -> Vec<u8> {
        let mut bytes = postcard::to_stdvec(self).expect("a commit is plain data of known lengths");
        bytes.extend_from_slice(&check(task, &bytes));
        bytes
    }

    /// `None` if the bytes are not those that were stored for this task.
    pub(super) fn decode(task: &str, stored: &[u8]) -> Option<Self> {
        let (bytes, stored_check) = stored.split_last_chunk::<CHECK_BYTES>()?;
        if *stored_check != check(task, bytes) {
            return None;
        }
        postcard::from_bytes(bytes).ok()
    }
}

fn check(task: &str, bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(task.len() as u64).to_le_bytes()).update(task.as_bytes()).update(bytes);
    hasher.finalize().as_bytes()[..CHECK_BYTES].try_into().expect("eight bytes")
}
