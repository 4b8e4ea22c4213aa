//! A read in both orientations, as codes and packed.

use crate::sequence::{Packed, reverse_complement};

/// Index of an orientation: 0 as read, 1 reverse complement.
pub(super) fn side(reverse: bool) -> usize {
    usize::from(reverse)
}

#[derive(Clone, Debug, Default)]
pub(super) struct Query {
    /// The codes as read, and of the reverse complement.
    pub codes: [Vec<u8>; 2],
    /// The same, packed.
    pub packed: [Packed; 2],
    /// A number that depends on the sequence alone: settles ties as if at random.
    pub salt: u64,
}

impl Query {
    pub fn load(&mut self, read: &[u8]) {
        self.codes[0].clear();
        self.codes[0].extend_from_slice(read);
        let [forward, backward] = &mut self.codes;
        reverse_complement(forward, backward);
        for (packed, codes) in self.packed.iter_mut().zip(&self.codes) {
            packed.load(codes);
        }
        let words = self.packed[0].words.iter();
        self.salt = words.fold(read.len() as u64, |salt, &word| mix(salt ^ word));
    }

    pub fn len(&self) -> usize {
        self.codes[0].len()
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
