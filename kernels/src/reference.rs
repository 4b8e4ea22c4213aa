//! The reference in two bits a base, as it lies in the memory-mapped index file.
//!
//! Contigs lie one after another in one coordinate, each from a multiple of 64 bases; letters other than A, C, G, T are
//! kept exactly, as runs beside the packed bases. Invariant: no byte of the sections can make a method panic, whatever
//! contig or range is asked for by the [`Reference`]'s own numbers. Names live with the caller.
//!
//! | section | content, little endian |
//! |---|---|
//! | 0 | per contig: u32 first base, u32 length |
//! | 1 | u64 words of 32 bases, two spare words at the end |
//! | 2 | per run of one exceptional letter: u32 first base, u32 length, u32 letter |
//! | 3 | per block of 4,096 bases, and once more: u32 first run that ends after the block's start |

use crate::prefetch::prefetch;
use crate::sequence::{UNKNOWN, WORD_BASES, code, nibbles, word_at};
use std::fmt;
use std::ops::Range;

#[cfg(target_endian = "big")]
compile_error!("the index file is little endian and is mapped as it stands");

/// Number of sections of a reference.
pub const REFERENCE_SECTIONS: usize = 4;

/// Bases that all contigs together may have, gaps between them included: positions are u32.
pub const REFERENCE_BASES_MAX: u64 = u32::MAX as u64 - (1 << 20);

const CONTIG_ALIGNMENT: u64 = 64;
const BLOCK_BITS: u32 = 12;
const SPARE_WORDS: usize = 2;

/// Why sections are not what [`OwnedReference::sections`] or [`crate::index::build`] made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The section.
    pub section: &'static str,
    /// What is wrong with it.
    pub what: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} section: {}", self.section, self.what)
    }
}

impl std::error::Error for Malformed {}

pub(crate) fn malformed<T>(section: &'static str, what: &'static str) -> Result<T, Malformed> {
    Err(Malformed { section, what })
}

pub(crate) fn cast<'a, T: bytemuck::AnyBitPattern>(
    section: &'static str,
    bytes: &'a [u8],
) -> Result<&'a [T], Malformed> {
    if bytes.is_empty() {
        // Nothing has no place, so its alignment says nothing.
        return Ok(&[]);
    }
    bytemuck::try_cast_slice(bytes)
        .or_else(|_| malformed(section, "its length or alignment is not that of its items"))
}

/// The reference is longer than [`REFERENCE_BASES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the reference is longer than {REFERENCE_BASES_MAX} bases")
    }
}

impl std::error::Error for TooLong {}

/// A reference under construction, contig by contig.
#[derive(Clone, Debug, Default)]
pub struct OwnedReference {
    contigs: Vec<[u32; 2]>,
    words: Vec<u64>,
    runs: Vec<[u32; 3]>,
}

impl OwnedReference {
    /// Appends a contig, given as upper- or lower-case letters without white space.
    pub fn push_contig(&mut self, letters: &[u8]) -> Result<(), TooLong> {
        let start = (self.words.len() * WORD_BASES) as u64;
        if start + letters.len() as u64 + CONTIG_ALIGNMENT > REFERENCE_BASES_MAX {
            return Err(TooLong);
        }
        self.contigs.push([start as u32, letters.len() as u32]);
        for chunk in letters.chunks(WORD_BASES) {
            let bits = chunk.iter().enumerate().map(|(i, &letter)| u64::from(code(letter) & 3) << (2 * i));
            self.words.push(bits.fold(0, |word, bits| word | bits));
        }
        self.words.resize(self.words.len().next_multiple_of(CONTIG_ALIGNMENT as usize / WORD_BASES), 0);
        let mut position = start as u32;
        for run in letters.chunk_by(|a, b| a.eq_ignore_ascii_case(b)) {
            if code(run[0]) == UNKNOWN {
                self.runs.push([position, run.len() as u32, u32::from(run[0].to_ascii_uppercase())]);
            }
            position += run.len() as u32;
        }
        Ok(())
    }

    /// The sections from which [`Reference::new`] makes a view.
    pub fn sections(mut self) -> [Vec<u8>; REFERENCE_SECTIONS] {
        let blocks = block_directory(self.words.len(), &self.runs);
        self.words.resize(self.words.len() + SPARE_WORDS, 0);
        [
            bytemuck::cast_slice(&self.contigs).to_vec(),
            bytemuck::cast_slice(&self.words).to_vec(),
            bytemuck::cast_slice(&self.runs).to_vec(),
            bytemuck::cast_slice(&blocks).to_vec(),
        ]
    }
}

/// For each block of bases, and once more, the first run that ends after the block's start.
fn block_directory(words: usize, runs: &[[u32; 3]]) -> Vec<u32> {
    let blocks = (words * WORD_BASES).div_ceil(1 << BLOCK_BITS);
    let mut run = 0;
    (0..=blocks as u64)
        .map(|block| {
            while run < runs.len() && u64::from(runs[run][0]) + u64::from(runs[run][1]) <= block << BLOCK_BITS
            {
                run += 1;
            }
            run as u32
        })
        .collect()
}

/// The letters of the four bases of a byte of a word.
const LETTERS_OF_BYTE: [[u8; 4]; 256] = of_byte(*b"ACGT");
/// Their codes.
const CODES_OF_BYTE: [[u8; 4]; 256] = of_byte([0, 1, 2, 3]);

const fn of_byte(of_code: [u8; 4]) -> [[u8; 4]; 256] {
    let mut table = [[0; 4]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [of_code[byte & 3], of_code[byte >> 2 & 3], of_code[byte >> 4 & 3], of_code[byte >> 6]];
        byte += 1;
    }
    table
}

/// A view of a reference's sections.
#[derive(Clone, Copy, Debug)]
pub struct Reference<'a> {
    contigs: &'a [[u32; 2]],
    words: &'a [u64],
    runs: &'a [[u32; 3]],
    blocks: &'a [u32],
}

impl<'a> Reference<'a> {
    /// Checks everything but the bases themselves, which cannot be wrong in form.
    pub fn new(sections: &[&'a [u8]]) -> Result<Self, Malformed> {
        let &[contigs, words, runs, blocks] = sections else {
            return malformed("reference", "expected four sections");
        };
        let contigs: &[[u32; 2]] = cast("contigs", contigs)?;
        let words: &[u64] = cast("bases", words)?;
        let runs: &[[u32; 3]] = cast("runs", runs)?;
        let blocks: &[u32] = cast("blocks", blocks)?;
        let Some(base_words) = words.len().checked_sub(SPARE_WORDS) else {
            return malformed("bases", "too short");
        };
        let bases = (base_words * WORD_BASES) as u64;
        if bases > REFERENCE_BASES_MAX {
            return malformed("bases", "too long");
        }
        let end = |[start, length]: [u32; 2]| u64::from(start) + u64::from(length);
        let tiled = contigs.iter().try_fold(0, |next: u64, &contig| {
            (u64::from(contig[0]) == next).then_some(end(contig).next_multiple_of(CONTIG_ALIGNMENT))
        });
        if tiled != Some(bases) {
            return malformed("contigs", "they do not follow one another to the end of the bases");
        }
        let ordered = runs.iter().try_fold(0, |next, &[start, length, letter]| {
            let fine =
                u64::from(start) >= next && length > 0 && letter < 256 && code(letter as u8) == UNKNOWN;
            fine.then_some(end([start, length]))
        });
        if ordered.is_none_or(|end| end > bases) {
            return malformed("runs", "they overlap, are empty or lie outside the bases");
        }
        if blocks != block_directory(base_words, runs) {
            return malformed("blocks", "they disagree with the runs");
        }
        Ok(Reference { contigs, words, runs, blocks })
    }

    /// Number of contigs.
    pub fn contigs(&self) -> usize {
        self.contigs.len()
    }

    /// Length of a contig in bases. Panics if there is no such contig.
    pub fn length(&self, contig: u32) -> u32 {
        self.contigs[contig as usize][1]
    }

    /// Replaces `out` by the codes of `start..end` of a contig, cut at its end. Panics if there is no such contig.
    pub fn fetch(&self, contig: u32, start: u32, end: u32, out: &mut Vec<u8>) {
        let (start, end) = self.place(contig, start, end);
        self.codes(start, end, out);
    }

    /// Replaces `out` by the upper-case letters of `start..end` of a contig, cut at its end, as the reference has them.
    /// Panics if there is no such contig.
    pub fn letters(&self, contig: u32, start: u32, end: u32, out: &mut Vec<u8>) {
        let (start, end) = self.place(contig, start, end);
        self.bases(start, end, &LETTERS_OF_BYTE, out);
        self.for_runs(start, end, |range, letter| out[range].fill(letter));
    }

    /// The 16 bases from a position of a contig on as BAM packs them, the first highest; exceptional letters are A, and
    /// beyond the contig's end is anything, but always the same. Panics if there is no such contig.
    #[inline]
    pub fn nibbles(&self, contig: u32, position: u32) -> u64 {
        nibbles(self.word(self.contigs[contig as usize][0].saturating_add(position)))
    }

    /// Asks for the words of `bases` places around this one.
    #[inline]
    pub(crate) fn ask(&self, place: u32, bases: u32) {
        for place in [place.saturating_sub(bases), place, place.saturating_add(bases)] {
            prefetch(self.words, place as usize / WORD_BASES);
        }
    }

    /// Bases of all contigs and the gaps that align them: one past the largest place.
    pub(crate) fn places(&self) -> u32 {
        ((self.words.len() - SPARE_WORDS) * WORD_BASES) as u32
    }

    /// A contig and its range of places.
    pub(crate) fn contig_range(&self, contig: u32) -> (u32, u32, u32) {
        let [start, length] = self.contigs[contig as usize];
        (contig, start, start + length)
    }

    /// The contig on which a place lies, or which it follows, and the contig's own range of places.
    pub(crate) fn contig_at(&self, place: u32) -> (u32, u32, u32) {
        let contig = self.contigs.partition_point(|contig| contig[0] <= place).saturating_sub(1);
        let [start, length] = self.contigs.get(contig).copied().unwrap_or_default();
        (contig as u32, start, start + length)
    }

    /// Replaces `out` by the codes of a range of places.
    pub(crate) fn codes(&self, start: u32, end: u32, out: &mut Vec<u8>) {
        self.bases(start, end, &CODES_OF_BYTE, out);
        self.for_runs(start, end, |range, _| out[range].fill(UNKNOWN));
    }

    /// The 32 bases from a place on, exceptional letters as A. Zero beyond the end.
    #[inline]
    pub(crate) fn word(&self, place: u32) -> u64 {
        word_at(self.words, place)
    }

    /// All bases, place by place, exceptional letters as A.
    pub(crate) fn words(&self) -> &'a [u64] {
        self.words
    }

    /// The places of a contig between its exceptional letters, in order.
    pub(crate) fn plain_stretches(&self, contig: u32) -> impl Iterator<Item = Range<u32>> {
        let (_, start, end) = self.contig_range(contig);
        let runs = self.runs[self.first_run(start)..].iter().skip_while(move |run| run[0] < start);
        let runs = runs.take_while(move |run| run[0] < end).map(|run| run[0]..run[0] + run[1]);
        let mut begin = start;
        runs.chain(std::iter::once(end..end))
            .map(move |run| std::mem::replace(&mut begin, run.end)..run.start)
    }

    /// Whether no letter of a range of places is exceptional.
    #[inline]
    pub(crate) fn is_plain(&self, start: u32, end: u32) -> bool {
        let run = self.first_run(start);
        self.runs[run..].iter().find(|run| run[0] + run[1] > start).is_none_or(|run| run[0] >= end)
    }

    fn place(&self, contig: u32, start: u32, end: u32) -> (u32, u32) {
        let [first, length] = self.contigs[contig as usize];
        let end = end.min(length);
        (first + start.min(end), first + end)
    }

    /// Replaces `out` by what `table` has for each four bases of a range of places.
    fn bases(&self, start: u32, end: u32, table: &[[u8; 4]; 256], out: &mut Vec<u8>) {
        let bases = end.saturating_sub(start) as usize;
        out.clear();
        out.resize(bases.next_multiple_of(WORD_BASES), 0);
        for (place, word) in (start..).step_by(WORD_BASES).zip(out.as_chunks_mut::<WORD_BASES>().0) {
            for (four, byte) in word.as_chunks_mut::<4>().0.iter_mut().zip(self.word(place).to_le_bytes()) {
                *four = table[usize::from(byte)];
            }
        }
        out.truncate(bases);
    }

    #[inline]
    fn first_run(&self, place: u32) -> usize {
        self.blocks.get((place >> BLOCK_BITS) as usize).map_or(self.runs.len(), |&run| run as usize)
    }

    fn for_runs(&self, start: u32, end: u32, mut visit: impl FnMut(Range<usize>, u8)) {
        for &[first, length, letter] in
            self.runs[self.first_run(start)..].iter().take_while(|run| run[0] < end)
        {
            let (low, high) = (first.max(start), (first + length).min(end));
            if low < high {
                visit((low - start) as usize..(high - start) as usize, letter as u8);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections(contigs: &[&[u8]]) -> [Vec<u8>; REFERENCE_SECTIONS] {
        let mut owned = OwnedReference::default();
        contigs.iter().for_each(|letters| owned.push_contig(letters).expect("short"));
        owned.sections()
    }

    fn view(sections: &[Vec<u8>; REFERENCE_SECTIONS]) -> Result<Reference<'_>, Malformed> {
        Reference::new(&sections.each_ref().map(|section| section.as_slice()))
    }

    #[test]
    fn every_letter_comes_back() {
        let long: Vec<u8> = (0..20_000u32).map(|i| b"ACGTNNacgtRYn"[(i / 7 * i % 13) as usize]).collect();
        let contigs: [&[u8]; 6] = [b"ACGTRNNNNNacgtnnKK", b"", b"N", &long, &[b'N'; 9000], b"TTT"];
        let sections = sections(&contigs);
        let reference = view(&sections).expect("our own sections");
        assert_eq!(reference.contigs(), 6);
        let mut out = Vec::new();
        for (contig, letters) in contigs.iter().enumerate() {
            assert_eq!(reference.length(contig as u32), letters.len() as u32);
            for (start, end) in
                [(0, u32::MAX), (1, 5), (3, 3), (9, 2), (7, 200), (4090, 4100), (50_000, 60_000)]
            {
                let upper = letters.to_ascii_uppercase();
                let nibble = |at: u32| match upper[(start + at) as usize] {
                    b'C' => 2,
                    b'G' => 4,
                    b'T' => 8,
                    _ => 1,
                };
                if start + 16 <= letters.len() as u32 {
                    let packed = (0..16).fold(0, |packed, at| packed << 4 | nibble(at));
                    assert_eq!(reference.nibbles(contig as u32, start), packed);
                }
                let high = (end as usize).min(letters.len());
                let expect = &upper[(start as usize).min(high)..high];
                reference.letters(contig as u32, start, end, &mut out);
                assert_eq!(out, expect);
                reference.fetch(contig as u32, start, end, &mut out);
                assert_eq!(out, expect.iter().map(|&letter| code(letter)).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn damaged_sections_are_refused_or_harmless() {
        let good = sections(&[b"ACGTNNNNRACGT", b"NACGTTTT"]);
        for section in 0..REFERENCE_SECTIONS {
            for byte in 0..good[section].len() {
                for bit in [0, 4, 7] {
                    let mut bad = good.clone();
                    bad[section][byte] ^= 1 << bit;
                    let mut out = Vec::new();
                    if let Ok(reference) = view(&bad) {
                        let contigs = 0..reference.contigs() as u32;
                        contigs.for_each(|contig| reference.letters(contig, 0, u32::MAX, &mut out));
                    }
                }
                let mut bad = good.clone();
                bad[section].truncate(byte);
                assert!(view(&bad).is_err());
            }
        }
        assert!(Reference::new(&[]).is_err());
    }
}
