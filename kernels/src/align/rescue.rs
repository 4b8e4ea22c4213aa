//! Looks for a read where its mate says it should be, with words too short to be looked up in the index.
//!
//! Invariant: one window costs one pass over its bases. It knows candidates only; placing them is [`super::extend`]'s.

use super::seed::Anchor;
use crate::reference::Reference;

/// Bases of a word.
pub(super) const RESCUE_K: u32 = 10;

const MASK: u32 = (1 << (2 * RESCUE_K)) - 1;
const SLOT_BITS: u32 = 11;
const NONE: u16 = u16::MAX;

/// The words of one read on one strand, and what a window has of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Rescuer {
    /// The last position of a word in each slot.
    slots: Vec<u16>,
    /// The position before it in the same slot, and the word, for each position.
    words: Vec<(u16, u32)>,
    codes: Vec<u8>,
    found: Vec<Anchor>,
}

#[inline]
fn slot(word: u32) -> usize {
    (word.wrapping_mul(0x9e37_79b1) >> (32 - SLOT_BITS)) as usize
}

impl Rescuer {
    /// Takes the words of a read on one strand.
    pub fn load(&mut self, codes: &[u8]) {
        self.slots.clear();
        self.slots.resize(1 << SLOT_BITS, NONE);
        self.words.clear();
        for_words(codes, |position, word| {
            self.words.resize(position, (NONE, u32::MAX));
            let before = std::mem::replace(&mut self.slots[slot(word)], position as u16);
            self.words.push((before, word));
        });
    }

    /// The anchors of the loaded read in a range of places of one contig.
    pub fn scan(
        &mut self,
        reference: &Reference,
        range: (u32, u32),
        reverse: bool,
    ) -> impl Iterator<Item = Anchor> + '_ {
        let Rescuer { slots, words, codes, found } = self;
        reference.codes(range.0, range.1, codes);
        found.clear();
        for_words(codes, |offset, word| {
            let mut position = slots[slot(word)];
            while position != NONE {
                let (before, there) = words[position as usize];
                if there == word {
                    found.push(Anchor::new(reverse, range.0 + offset as u32, u32::from(position)));
                }
                position = before;
            }
        });
        found.drain(..)
    }
}

/// Calls `emit` with the position and the bits of every word without unknown bases.
fn for_words(codes: &[u8], mut emit: impl FnMut(usize, u32)) {
    let (mut word, mut run) = (0u32, 0u32);
    for (i, &code) in codes.iter().enumerate() {
        run = if code < 4 { run + 1 } else { 0 };
        word = (word << 2 | u32::from(code & 3)) & MASK;
        if run >= RESCUE_K {
            emit(i + 1 - RESCUE_K as usize, word);
        }
    }
}
