//! How messages between ranks are written: a versioned hello that every version can read, and messages cut into frames.
//!
//! Invariant: no frame is longer than [`PART_BYTES_MAX`], no message longer than [`MESSAGE_BYTES_MAX`]; what is longer, or
//! cannot be read, is an error that names the rank. Frames from one rank arrive in the order in which they were sent
//! (MPI 3.1, section 3.5), so a message is its parts and then its last frame. Knows nothing of what carries frames.

use super::MpiError;
use crate::engine::{Order, Report};
use crate::failure::TaskFailure;
use scheduler::WorkerId;

/// Version of everything in this file but the first two bytes of a hello.
pub const PROTOCOL: u16 = 2;

/// Bytes of one frame. Longer messages go in parts, so that no single send keeps a rank from hearing others for long.
pub const PART_BYTES_MAX: usize = 256 << 10;

/// Bytes of one message. The largest is the order to close a cohort: a commit of some 150 bytes for each joint shard.
pub const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// What a frame is: its MPI tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// The first frame of every rank.
    Hello = 1,
    /// A part of a message whose last frame follows.
    Part = 2,
    /// The last frame of a message, mostly its only one.
    Message = 3,
    /// Nothing but a sign of life.
    Beat = 4,
    /// Rank 0 ends the world; one byte, the exit code.
    End = 5,
    /// The answer to [`Tag::End`]: the rank says nothing more.
    Bye = 6,
}

impl Tag {
    /// The tag of this number.
    pub fn of(number: i32) -> Option<Tag> {
        let all = [Tag::Hello, Tag::Part, Tag::Message, Tag::Beat, Tag::End, Tag::Bye];
        all.into_iter().find(|&tag| tag as i32 == number)
    }
}

/// Who a rank is and what it stands on: the first thing it says.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Hello {
    /// Program and version; all ranks run the same.
    pub program: String,
    /// Ranks of the world as this rank sees it.
    pub world: u32,
    /// The lowest rank on the same node: what its node is known by.
    pub node: u32,
    /// Name of its node, for people.
    pub host: String,
    /// Its process on that node.
    pub pid: u32,
    /// CPUs it is bound to, a bit each.
    pub cpus: Vec<u64>,
    /// Cores that its control group and the batch system leave to all ranks of its node together, and to this one alone;
    /// `u32::MAX` where they do not limit them.
    pub cores: (u32, u32),
    /// Bytes of memory for all ranks of its node together.
    pub memory_bytes: u64,
}

impl Hello {
    /// Two bytes of [`PROTOCOL`], little-endian, then the rest.
    pub fn encode(&self) -> Result<Vec<u8>, MpiError> {
        let mut bytes = PROTOCOL.to_le_bytes().to_vec();
        bytes.extend(postcard::to_stdvec(self).map_err(|source| MpiError::Unwritable { source })?);
        Ok(bytes)
    }

    /// The hello that rank `from` sent.
    pub fn decode(from: u32, bytes: &[u8]) -> Result<Self, MpiError> {
        let unreadable = |source| MpiError::Unreadable { rank: from, source };
        let Some((protocol, rest)) = bytes.split_first_chunk::<2>() else {
            return Err(unreadable(postcard::Error::DeserializeUnexpectedEnd));
        };
        match u16::from_le_bytes(*protocol) {
            PROTOCOL => postcard::from_bytes(rest).map_err(unreadable),
            protocol => Err(MpiError::OtherProtocol { rank: from, protocol }),
        }
    }
}

/// What is said after the hellos.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub enum Message {
    /// Rank 0: the job, in the caller's own encoding, and what the rank may use of its node.
    Job {
        /// The rank's name as a worker.
        worker: WorkerId,
        /// What the caller wants its ranks to know.
        job: Vec<u8>,
        /// Tasks at once.
        slots: u32,
        /// Bytes of memory.
        memory_bytes: u64,
    },
    /// A rank: it is ready.
    Ready,
    /// A rank: it cannot take part.
    Unable(TaskFailure),
    /// Rank 0: what the rank is to do.
    Orders(Vec<Order>),
    /// A rank: what happened.
    Reports(Vec<Report>),
    /// A rank: a signal asked it to stop; `true` if soon.
    Stop {
        /// Whether what runs is to end at its next step.
        soon: bool,
    },
}

impl Message {
    /// The message as frames: parts, then the last.
    pub fn frames(&self) -> Result<impl Iterator<Item = (Tag, Vec<u8>)>, MpiError> {
        let bytes = postcard::to_stdvec(self).map_err(|source| MpiError::Unwritable { source })?;
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(MpiError::TooLong { bytes: bytes.len() });
        }
        let last = (bytes.len() - 1) / PART_BYTES_MAX;
        Ok((0..=last).map(move |part| {
            let end = bytes.len().min((part + 1) * PART_BYTES_MAX);
            let tag = if part == last { Tag::Message } else { Tag::Part };
            (tag, bytes[part * PART_BYTES_MAX..end].to_vec())
        }))
    }
}

/// Puts the messages of one rank together again.
#[derive(Debug, Default)]
pub struct Assembly {
    parts: Vec<u8>,
}

impl Assembly {
    /// Takes a [`Tag::Part`] of rank `from`.
    pub fn part(&mut self, from: u32, bytes: &[u8]) -> Result<(), MpiError> {
        if self.parts.len() + bytes.len() > MESSAGE_BYTES_MAX {
            return Err(MpiError::Endless { rank: from });
        }
        self.parts.extend_from_slice(bytes);
        Ok(())
    }

    /// Takes a [`Tag::Message`] of rank `from`: the message is whole.
    pub fn last(&mut self, from: u32, bytes: &[u8]) -> Result<Message, MpiError> {
        let read = |bytes: &[u8]| postcard::from_bytes(bytes);
        let message = match self.parts.is_empty() {
            true => read(bytes),
            false => {
                self.part(from, bytes)?;
                read(&std::mem::take(&mut self.parts))
            }
        };
        message.map_err(|source| MpiError::Unreadable { rank: from, source })
    }
}
