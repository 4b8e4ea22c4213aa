//! Who writes packs, and so what they are called.
//!
//! Invariant: no two writers that may live at one time, of one life of the job or of two, ever share a pack.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::ENDING;

/// A process that appends to packs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Writer {
    /// The only process of a job: a pack for each sample and kind, which is removed when nobody reads it any more.
    Alone {
        /// [`Fence::era`](crate::Fence::era) of the scheduler's fence.
        era: u64,
    },
    /// One process of several: one pack for all that it writes, so that files grow with processes and not with samples.
    /// Space is given back by [`Packs::give_back`](super::Packs::give_back).
    OfMany {
        /// [`Journal::fence`](crate::Journal::fence) of the scheduler that started it.
        fence: u64,
        /// Of [`WriterNumbers`].
        number: u32,
    },
}

impl Writer {
    /// The pack for records of this kind, of one sample or of the cohort.
    pub fn pack(&self, sample: Option<&str>, kind: &str) -> String {
        match (*self, sample) {
            (Writer::OfMany { fence, number }, _) => format!("w{fence}-{number}{ENDING}"),
            (Writer::Alone { era: 0 }, Some(sample)) => format!("{sample}.{kind}{ENDING}"),
            (Writer::Alone { era: 0 }, None) => format!("{kind}{ENDING}"),
            (Writer::Alone { era }, Some(sample)) => format!("{sample}.{kind}.{era}{ENDING}"),
            (Writer::Alone { era }, None) => format!("{kind}.{era}{ENDING}"),
        }
    }
}

/// Numbers for the writers of one scheduler: the smallest that is free, so that there are as many packs as there were
/// writers at one time, however many there were one after the other.
#[derive(Clone, Debug, Default)]
pub struct WriterNumbers {
    taken: BTreeSet<u32>,
}

impl WriterNumbers {
    /// A number that no other writer has. Its pack goes on where
    /// [`Journal::committed_end`](crate::Journal::committed_end) says.
    pub fn take(&mut self) -> u32 {
        let number = (0..).zip(&self.taken).find(|(free, taken)| free != *taken);
        let number = number.map_or(self.taken.len() as u32, |(free, _)| free);
        self.taken.insert(number);
        number
    }

    /// Gives back the number of a writer that certainly ended and all of whose outputs were committed or given up. Of one
    /// that was only lost to sight nobody knows whether it still writes: its number is not given back.
    pub fn give_back(&mut self, number: u32) {
        self.taken.remove(&number);
    }
}
