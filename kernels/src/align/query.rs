//! A read in both orientations, as codes and packed.

use crate::sequence::{Packed, reverse_complement};
use std::cell::OnceCell;

/// Index of an orientation: 0 as read, 1 reverse complement.
pub(super) fn side(reverse: bool) -> usize {
    usize::from(reverse)
}

#[derive(Clone, Debug, Default)]
pub(super) struct Query {
    /// The codes as read.
    forward: Vec<u8>,
    /// Those of the reverse complement; most reads are placed without.
    backward: OnceCell<Vec<u8>>,
    /// The read and its reverse complement, packed.
    pub packed: [Packed; 2],
    /// A number that depends on the sequence alone: settles ties as if at random.
    pub salt: u64,
}

impl Query {
    pub fn load(&mut self, read: &[u8]) {
        self.forward.clear();
        self.forward.extend_from_slice(read);
        self.backward = OnceCell::new();
        let [forward, backward] = &mut self.packed;
        forward.load(read);
        backward.load_reverse_complement(forward, read.len());
        let words = self.packed[0].words.iter();
        self.salt = words.fold(read.len() as u64, |salt, &word| mix(salt ^ word));
    }

    pub fn len(&self) -> usize {
        self.forward.len()
    }

    /// The codes of an orientation.
    pub fn codes(&self, reverse: bool) -> &[u8] {
        if !reverse {
            return &self.forward;
        }
        self.backward.get_or_init(|| {
            let mut codes = Vec::with_capacity(self.len());
            reverse_complement(&self.forward, &mut codes);
            codes
        })
    }
}

/// Scatters a number's bits (the finalizer of SplitMix64).
#[inline]
pub(super) fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}
