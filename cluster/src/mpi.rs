//! The MPI engine: rank 0 schedules, the other ranks are workers, and what they tell each other are messages.
//!
//! Invariant: one thread of each process calls MPI ([`world`]); everything else sees channels, so that the two sides
//! ([`leader`], [`rank`]) are tested without MPI. A rank commits nothing and decides nothing; its packs are its own, so
//! that one that was given up can harm nobody. A rank that MPI finds dead ends the world in most installations: the job
//! then resumes from its journal.

pub mod launch;
pub mod leader;
pub mod pulse;
pub mod rank;
pub mod seat;
pub mod ticket;
pub mod wire;
#[cfg_attr(not(feature = "mpi"), path = "mpi/absent.rs")]
pub mod world;

#[cfg(test)]
mod tests;

use jobs::failure::{Class, Classified};
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;
use wire::{Hello, Message, Tag};

/// What the MPI thread is asked to do.
#[derive(Debug)]
pub enum Dispatch {
    /// Send these frames to this rank, in order. Bounded by the attempts that the scheduler lets a rank hold.
    Send(u32, Vec<(Tag, Vec<u8>)>),
    /// Count ranks as silent after so long.
    Patience(Duration),
    /// Rank 0: end the world; every rank exits with this code.
    End(u8),
}

/// What the MPI thread brings.
#[derive(Debug)]
pub enum Arrival {
    /// A rank introduced itself.
    Hello(u32, Hello),
    /// A rank said something.
    Message(u32, Message),
    /// A rank was not heard for too long.
    Silent(u32),
    /// A silent rank is heard again.
    Back(u32),
    /// The world is over; the process is to exit with this code.
    End(u8),
    /// What a rank said cannot be understood.
    Broken(MpiError),
}

/// The way to other ranks.
#[derive(Clone, Debug)]
pub struct Link {
    dispatches: Sender<Dispatch>,
}

/// A rank's way to the others, and what it hears of them.
#[derive(Debug)]
pub struct Port {
    /// To the others.
    pub link: Link,
    /// From the others.
    pub arrivals: Receiver<Arrival>,
}

impl Link {
    /// The way through whoever takes these dispatches.
    pub fn new(dispatches: Sender<Dispatch>) -> Self {
        Link { dispatches }
    }

    /// Sends a message; returns at once. To a world that is over nothing is sent.
    pub fn send(&self, to: u32, message: &Message) -> Result<(), MpiError> {
        self.ask(Dispatch::Send(to, message.frames()?.collect()));
        Ok(())
    }

    /// Introduces this rank to rank 0.
    pub fn introduce(&self, hello: &Hello) -> Result<(), MpiError> {
        self.ask(Dispatch::Send(0, vec![(Tag::Hello, hello.encode()?)]));
        Ok(())
    }

    /// Asks the MPI thread for something.
    pub fn ask(&self, dispatch: Dispatch) {
        // The thread ends with the world only.
        let _ = self.dispatches.send(dispatch);
    }
}

/// What goes wrong between ranks.
#[derive(Debug, thiserror::Error)]
pub enum MpiError {
    /// The program does not know MPI.
    #[error("this wakachi is built without MPI")]
    NotBuilt,
    /// MPI does not let one thread of several call it.
    #[error("{library} does not allow a program with threads; expected MPI_THREAD_FUNNELED at least")]
    Threads {
        /// The MPI library.
        library: String,
    },
    /// The MPI thread ended before it began.
    #[error("MPI did not begin")]
    NotBegun,
    /// As many worlds of one rank as there should be ranks.
    #[error("{by} started {ranks} ranks, and each finds itself alone: this wakachi is built with {library}")]
    Alone {
        /// What started them.
        by: &'static str,
        /// How many.
        ranks: u32,
        /// Which of them this is.
        rank: u32,
        /// The MPI library this program is built with.
        library: String,
    },
    /// A rank did not introduce itself.
    #[error("rank {rank} has said nothing for {} s", waited.as_secs())]
    Mute {
        /// Which.
        rank: u32,
        /// How long it was waited for.
        waited: Duration,
    },
    /// A rank speaks another version of the protocol.
    #[error(
        "rank {rank} speaks version {protocol} of the protocol between ranks; expected {}",
        wire::PROTOCOL
    )]
    OtherProtocol {
        /// Which.
        rank: u32,
        /// Its version.
        protocol: u16,
    },
    /// A rank runs another program.
    #[error("rank {rank} on {host} runs {program}; expected {expected}")]
    OtherProgram {
        /// Which.
        rank: u32,
        /// Its node.
        host: String,
        /// What it runs.
        program: String,
        /// What rank 0 runs.
        expected: String,
    },
    /// A rank sees a world of another size.
    #[error("rank {rank} on {host} sees a world of {world} ranks; expected {expected}")]
    OtherWorld {
        /// Which.
        rank: u32,
        /// Its node.
        host: String,
        /// What it sees.
        world: u32,
        /// What rank 0 sees.
        expected: u32,
    },
    /// A message is not in the form this version writes.
    #[error("a message of rank {rank} cannot be read")]
    Unreadable {
        /// Whose.
        rank: u32,
        /// Why.
        #[source]
        source: postcard::Error,
    },
    /// A message cannot be written.
    #[error("a message cannot be written")]
    Unwritable {
        /// Why.
        #[source]
        source: postcard::Error,
    },
    /// A message is longer than any should be.
    #[error("a message of {bytes} bytes; expected {} at most", wire::MESSAGE_BYTES_MAX)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A rank sends a message without end.
    #[error("rank {rank} sends more than {} bytes as one message", wire::MESSAGE_BYTES_MAX)]
    Endless {
        /// Which.
        rank: u32,
    },
    /// All workers are silent.
    #[error("none of the {ranks} working ranks is heard any more")]
    NobodyLeft {
        /// How many there were.
        ranks: usize,
    },
    /// Rank 0 is silent.
    #[error("rank 0 is not heard any more")]
    Orphaned,
}

impl Classified for MpiError {
    fn class(&self) -> Class {
        match self {
            MpiError::NotBuilt
            | MpiError::Threads { .. }
            | MpiError::Alone { .. }
            | MpiError::OtherProtocol { .. }
            | MpiError::OtherProgram { .. } => Class::Usage,
            MpiError::NotBegun
            | MpiError::Mute { .. }
            | MpiError::OtherWorld { .. }
            | MpiError::NobodyLeft { .. }
            | MpiError::Orphaned => Class::Remote,
            MpiError::Unreadable { .. }
            | MpiError::Unwritable { .. }
            | MpiError::TooLong { .. }
            | MpiError::Endless { .. } => Class::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            MpiError::NotBuilt => {
                "build it where an MPI library and libclang are: cargo build --release --features mpi"
                    .to_owned()
            }
            MpiError::Alone { library, .. } => {
                format!("start it with the mpirun, or the srun --mpi=.., that belongs to {library}")
            }
            MpiError::OtherProtocol { .. } | MpiError::OtherProgram { .. } => {
                "install the same wakachi on every node, or start it from a shared folder".to_owned()
            }
            MpiError::Threads { .. } => "use an MPI library with thread support".to_owned(),
            MpiError::Mute { .. } | MpiError::OtherWorld { .. } | MpiError::NotBegun => {
                "see whether mpirun -n 2 hostname works on these nodes".to_owned()
            }
            MpiError::NobodyLeft { .. } | MpiError::Orphaned => {
                "give the same command again: what is done is kept".to_owned()
            }
            MpiError::Unreadable { .. }
            | MpiError::Unwritable { .. }
            | MpiError::TooLong { .. }
            | MpiError::Endless { .. } => {
                "this is a bug of wakachi; please report it with the message above".to_owned()
            }
        })
    }
}
