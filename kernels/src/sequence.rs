//! Nucleotides as numbers: A, C, G, T are 0 to 3, anything else is [`UNKNOWN`].
//!
//! Invariant: a complement is `3 - code`, so two-bit words can be complemented and compared as words. This module
//! knows nothing of references or reads.

use std::ops::Range;

/// The code of every letter that is not A, C, G or T.
pub const UNKNOWN: u8 = 4;

const LETTERS: [u8; 5] = *b"ACGTN";

const CODES: [u8; 256] = {
    let mut codes = [UNKNOWN; 256];
    let mut code = 0;
    while code < 4 {
        codes[LETTERS[code] as usize] = code as u8;
        codes[LETTERS[code].to_ascii_lowercase() as usize] = code as u8;
        code += 1;
    }
    codes
};

/// The code of a letter, upper or lower case.
#[inline]
pub const fn code(letter: u8) -> u8 {
    CODES[letter as usize]
}

/// The letter of a code; `N` for whatever is not 0 to 3.
#[inline]
pub const fn letter(code: u8) -> u8 {
    LETTERS[if code < 4 { code as usize } else { 4 }]
}

/// Replaces `out` by the codes of `letters`.
pub fn encode(letters: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.extend(letters.iter().map(|&letter| code(letter)));
}

/// Replaces `out` by the reverse complement of `codes`.
pub fn reverse_complement(codes: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let (rest, eights) = codes.as_rchunks();
    let complement = |codes: &[u8; 8]| {
        let codes = u64::from_be_bytes(*codes);
        let unknown = codes >> 2 & EACH_BYTE;
        // 3 less an unknown one, 4, is taken for 7.
        ((codes ^ (3 * EACH_BYTE)) & !(3 * unknown)).to_le_bytes()
    };
    out.extend(eights.iter().rev().flat_map(complement));
    out.extend(rest.iter().rev().map(|&code| if code < 4 { 3 - code } else { UNKNOWN }));
}

const EACH_BYTE: u64 = 0x0101_0101_0101_0101;

/// Bases in one word of [`Packed`] sequence.
pub const WORD_BASES: usize = 32;

/// The low bit of each base of a two-bit word.
pub const LOW_BITS: u64 = 0x5555_5555_5555_5555;

/// The 32 bases from a place of packed sequence on; what is beyond its end is 0.
#[inline]
pub fn word_at(words: &[u64], place: u32) -> u64 {
    let (word, shift) = (place as usize / WORD_BASES, 2 * (place as usize % WORD_BASES));
    match *words.get(word..).unwrap_or_default() {
        [low, high, ..] => low >> shift | high << 1 << (63 - shift),
        [low] => low >> shift,
        [] => 0,
    }
}

/// The reverse complement of 32 bases.
#[inline]
pub const fn reverse_complement_word(word: u64) -> u64 {
    reverse_word(!word)
}

#[inline]
const fn reverse_word(word: u64) -> u64 {
    let word = word.swap_bytes();
    let word = (word & 0x0f0f_0f0f_0f0f_0f0f) << 4 | word >> 4 & 0x0f0f_0f0f_0f0f_0f0f;
    (word & 0x3333_3333_3333_3333) << 2 | word >> 2 & 0x3333_3333_3333_3333
}

/// The first 16 bases of a word as BAM packs them (SAMv1 §4.2.4), a bit for each of A, C, G and T; the first is highest.
#[inline]
pub(crate) const fn nibbles(word: u64) -> u64 {
    const ONES: u64 = 0x1111_1111_1111_1111;
    let word = reverse_word(word << 32);
    let word = (word | word << 16) & 0x0000_ffff_0000_ffff;
    let word = (word | word << 8) & 0x00ff_00ff_00ff_00ff;
    let word = (word | word << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let word = (word | word << 2) & 0x3333_3333_3333_3333;
    let (low, high) = (word & ONES, word >> 1 & ONES);
    ONES & !(low | high) | (low & !high) << 1 | (high & !low) << 2 | (low & high) << 3
}

/// A sequence in two bits a base, base `i` in bits `2i` and `2i + 1` of word `i / 32`.
#[derive(Clone, Debug, Default)]
pub struct Packed {
    /// The bases; unknown ones, and those beyond the end, are 0.
    pub words: Vec<u64>,
    /// The low bit of each unknown base is set.
    pub unknown: Vec<u64>,
}

impl Packed {
    /// Replaces the content by `codes`.
    pub fn load(&mut self, codes: &[u8]) {
        self.words.clear();
        self.unknown.clear();
        let (chunks, rest) = codes.as_chunks();
        chunks.iter().for_each(|chunk| self.push(chunk));
        if !rest.is_empty() {
            let mut chunk = [0; WORD_BASES];
            chunk[..rest.len()].copy_from_slice(rest);
            self.push(&chunk);
        }
    }

    #[inline]
    fn push(&mut self, codes: &[u8; WORD_BASES]) {
        let eights = [0, 8, 16, 24].map(|at| u64::from_le_bytes(std::array::from_fn(|i| codes[at + i])));
        let is_plain = eights.iter().all(|eight| eight & (4 * EACH_BYTE) == 0);
        self.words.push(gather(eights));
        self.unknown.push(if is_plain { 0 } else { gather(eights.map(|eight| eight >> 2)) });
    }

    /// Replaces the content by the reverse complement of another sequence, which has `bases`.
    pub fn load_reverse_complement(&mut self, other: &Packed, bases: usize) {
        let Packed { words, unknown } = self;
        let complemented =
            other.words.iter().zip(&other.unknown).map(|(word, unknown)| !(word | (3 * unknown)));
        reverse(complemented, bases, words);
        if other.unknown.iter().all(|&word| word == 0) {
            unknown.clear();
            unknown.resize(other.unknown.len(), 0);
        } else {
            reverse(other.unknown.iter().copied(), bases, unknown);
        }
    }

    /// The places between unknown bases, of a sequence of `bases`, in order.
    pub fn plain_stretches(&self, bases: u32) -> impl Iterator<Item = Range<u32>> {
        let unknown = self.unknown.iter().enumerate().flat_map(|(word, &bits)| {
            let set = |bits: u64| (bits != 0).then_some(bits);
            let rest = std::iter::successors(set(bits), move |bits| set(bits & (bits - 1)));
            rest.map(move |bits| (word * WORD_BASES) as u32 + bits.trailing_zeros() / 2)
        });
        let mut begin = 0;
        unknown.chain([bases]).map(move |end| std::mem::replace(&mut begin, end + 1)..end)
    }
}

/// The two low bits of each byte, next to each other.
#[inline]
fn gather(eights: [u64; 4]) -> u64 {
    eights.into_iter().rev().fold(0, |word, bytes| {
        let bytes = bytes & (3 * EACH_BYTE);
        let nibbles = (bytes | bytes >> 6) & 0x000f_000f_000f_000f;
        // Moves nibble `i` to bit `48 + 4i`; no two of the products overlap.
        word << 16 | nibbles.wrapping_mul(1 << 48 | 1 << 36 | 1 << 24 | 1 << 12) >> 48
    })
}

/// Replaces `out` by `bases` of packed sequence in reverse order. Bits beyond them are dropped.
fn reverse(words: impl DoubleEndedIterator<Item = u64>, bases: usize, out: &mut Vec<u64>) {
    out.clear();
    out.extend(words.rev().map(reverse_word));
    let shift = 2 * (out.len() * WORD_BASES - bases);
    for word in 0..out.len() {
        let next = out.get(word + 1).copied().unwrap_or(0);
        out[word] = out[word] >> shift | next << 1 << (63 - shift);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_either_case_have_codes_and_all_others_are_unknown() {
        let mut codes = Vec::new();
        encode(b"ACGTacgtNnRx-", &mut codes);
        assert_eq!(codes, [0, 1, 2, 3, 0, 1, 2, 3, 4, 4, 4, 4, 4]);
        assert!(
            (0..=255).all(|byte| code(byte) == UNKNOWN || letter(code(byte)) == byte.to_ascii_uppercase())
        );
    }

    #[test]
    fn reverse_complement_keeps_unknown_bases() {
        let mut out = Vec::new();
        reverse_complement(&[0, 1, 4, 3, 3], &mut out);
        assert_eq!(out, [0, 0, 4, 2, 3]);
        reverse_complement(&[], &mut out);
        assert!(out.is_empty());
    }

    /// Five letters in an order that no length of words repeats.
    fn codes(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i * i / 3 % 7 % 5) as u8).collect()
    }

    fn check(packed: &Packed, codes: &[u8]) {
        assert_eq!(packed.words.len(), codes.len().div_ceil(WORD_BASES));
        assert_eq!(packed.unknown.len(), packed.words.len());
        for place in 0..packed.words.len() * WORD_BASES {
            let (word, bit) = (place / WORD_BASES, 2 * (place % WORD_BASES));
            let (base, unknown) = (packed.words[word] >> bit & 3, packed.unknown[word] >> bit & 3);
            let expect = match codes.get(place) {
                Some(&UNKNOWN) => (0, 1),
                Some(&code) => (u64::from(code), 0),
                None => (0, 0),
            };
            assert_eq!((base, unknown), expect, "place {place} of {}", codes.len());
        }
    }

    #[test]
    fn either_strand_packs_to_its_bases_with_unknown_ones_beside() {
        let (mut packed, mut reverse, mut backward) = (Packed::default(), Packed::default(), Vec::new());
        for length in 0..140 {
            let codes = codes(length);
            packed.load(&codes);
            check(&packed, &codes);
            reverse_complement(&codes, &mut backward);
            let naive = codes.iter().rev().map(|&code| if code < 4 { 3 - code } else { UNKNOWN });
            assert!(backward.iter().copied().eq(naive));
            reverse.load_reverse_complement(&packed, length);
            check(&reverse, &backward);
        }
    }

    #[test]
    fn words_start_anywhere_and_have_reverse_complements() {
        let codes: Vec<u8> = codes(200).into_iter().map(|code| code % 4).collect();
        let mut packed = Packed::default();
        packed.load(&codes);
        for place in 0..260 {
            let word = word_at(&packed.words, place);
            let complement = reverse_complement_word(word);
            for i in 0..WORD_BASES {
                let expect = codes.get(place as usize + i).map_or(0, |&code| u64::from(code));
                assert_eq!(word >> (2 * i) & 3, expect);
                assert_eq!(complement >> (62 - 2 * i) & 3, 3 - expect);
            }
        }
    }

    #[test]
    fn plain_stretches_hold_all_known_bases() {
        let mut packed = Packed::default();
        for length in 0..140 {
            let codes = codes(length);
            packed.load(&codes);
            let mut known = vec![false; length];
            for stretch in packed.plain_stretches(length as u32) {
                known[stretch.start as usize..stretch.end as usize].fill(true);
            }
            assert!(codes.iter().map(|&code| code < 4).eq(known));
        }
    }
}
