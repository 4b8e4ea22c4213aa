//! Nucleotides as numbers: A, C, G, T are 0 to 3, anything else is [`UNKNOWN`].
//!
//! Invariant: a complement is `3 - code`, so two-bit words can be complemented and compared as words. This module
//! knows nothing of references or reads.

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
    out.extend(codes.iter().rev().map(|&code| if code < 4 { 3 - code } else { UNKNOWN }));
}

/// Bases in one word of [`Packed`] sequence.
pub const WORD_BASES: usize = 32;

/// The low bit of each base of a two-bit word.
pub const LOW_BITS: u64 = 0x5555_5555_5555_5555;

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
        for chunk in codes.chunks(WORD_BASES) {
            let (mut word, mut unknown) = (0, 0);
            for (i, &code) in chunk.iter().enumerate() {
                word |= u64::from(code & 3) << (2 * i);
                unknown |= u64::from(code >> 2) << (2 * i);
            }
            self.words.push(word);
            self.unknown.push(unknown);
        }
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

    #[test]
    fn packing_marks_unknown_bases_beside_the_words() {
        let codes: Vec<u8> = (0..70).map(|i| i % 5).collect();
        let mut packed = Packed::default();
        packed.load(&codes);
        for (i, &code) in codes.iter().enumerate() {
            let (word, bit) = (i / WORD_BASES, 2 * (i % WORD_BASES));
            assert_eq!(packed.unknown[word] >> bit & 1 == 1, code == UNKNOWN);
            assert!(code == UNKNOWN || packed.words[word] >> bit & 3 == u64::from(code));
        }
    }
}
