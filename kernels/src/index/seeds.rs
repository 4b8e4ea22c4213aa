//! Seeds: the sampled words by which places are found.
//!
//! Seeds are closed syncmers: canonical words whose smallest inner word of `s` bases stands first or last. Whether a
//! word is a seed depends on that word alone, so read and reference always agree, chunks need no context, and any exact
//! match of [`Shape::window`] bases holds a seed (Edgar 2021, "Syncmers are more sensitive than minimizers"). Words of one
//! repeated letter are no seeds: dark cycles are read as G, and such tails would be placed wherever the reference has a run.
//! Invariant: a seed's hash and the order of inner words are part of the index file; to change them is a new version of it.

use crate::sequence::{WORD_BASES, reverse_complement_word, word_at};
use crate::simd::{Kernel, Level};
use std::ops::Range;

/// The form of seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    k: u32,
    s: u32,
}

impl Shape {
    /// Words of `k` bases (odd, 15 to 25) chosen by inner words of `s` (5 to 16, less than `k`).
    pub const fn new(k: u32, s: u32) -> Option<Self> {
        let is_allowed = k % 2 == 1 && k >= 15 && k <= 25 && s >= 5 && s <= 16 && s < k;
        if is_allowed { Some(Shape { k, s }) } else { None }
    }

    /// Bases of a seed.
    pub const fn k(self) -> u32 {
        self.k
    }

    /// Bases of the inner words.
    pub(super) const fn s(self) -> u32 {
        self.s
    }

    /// An exact match of this many bases holds a seed, unless it is a run of one letter.
    pub const fn window(self) -> u32 {
        2 * self.k - self.s
    }

    pub(super) const fn hash_bits(self) -> u32 {
        2 * self.k
    }
}

/// The form that places reads of 100 to 300 bases well.
impl Default for Shape {
    fn default() -> Self {
        Shape { k: 19, s: 11 }
    }
}

/// A seed of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seed {
    /// Hash of the canonical word, `2k` bits: a permutation of them, so that equal hashes are equal words.
    pub hash: u64,
    /// Its first base.
    pub position: u32,
    /// Whether the canonical word is the reverse complement of what stands there.
    pub reverse: bool,
}

/// Calls `emit` for the seeds of a stretch of packed bases, all of them known, in order: for each that starts at least
/// `distance` after the one before. At a distance of 1 these are all.
pub(crate) fn for_seeds(
    level: Level,
    words: &[u64],
    stretch: Range<u32>,
    shape: Shape,
    distance: u32,
    emit: impl FnMut(Seed),
) {
    level.run(Scan { words, stretch, shape, distance, emit });
}

/// Words that are looked at together, by where they start.
const BLOCK: usize = 256;

/// Inner words of a block: those of the last word, too, and as many more as the largest vector may read beyond.
const INNER: usize = BLOCK + 64;

/// Packed bases of a block.
const PACKED: usize = INNER / WORD_BASES + 1;

/// Words whose flags make one mask.
const GROUP: usize = 64;

struct Scan<'a, F> {
    words: &'a [u64],
    stretch: Range<u32>,
    shape: Shape,
    distance: u32,
    emit: F,
}

impl<F: FnMut(Seed)> Kernel for Scan<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<const LANES: usize>(self) {
        let Scan { words, stretch, shape, distance, mut emit } = self;
        let end = (stretch.end + 1).saturating_sub(shape.k);
        let letters = (1u64 << (shape.hash_bits() - 2)) - 1;
        let mut packed = [0; PACKED];
        let (mut ranks, mut least) = ([0; INNER], [0; INNER]);
        let (mut positions, mut found) = ([0; BLOCK], [0; BLOCK]);
        let mut clear = stretch.start;
        for begin in (stretch.start..end).step_by(BLOCK) {
            let count = BLOCK.min((end - begin) as usize);
            let inner = count + (shape.k - shape.s) as usize;
            let places = (begin..).step_by(WORD_BASES).take(inner / WORD_BASES + 2);
            packed.iter_mut().zip(places).for_each(|(word, place)| *word = word_at(words, place));
            rank_inner_words(&packed, inner, shape, &mut ranks);
            least.copy_from_slice(&ranks);
            slide_least::<LANES>(&mut least, inner, shape);
            let mut seeds = 0;
            for group in (0..count).step_by(GROUP) {
                let at = begin + group as u32;
                let mask = mask_seeds(&ranks[group..], &least[group..], shape);
                let mask = mask & u64::MAX >> (GROUP - GROUP.min(count - group));
                let mut mask = mask & from(clear.saturating_sub(at));
                while mask != 0 {
                    let step = mask.trailing_zeros();
                    let position = group as u8 | step as u8;
                    let word = word_at(&packed, u32::from(position));
                    let is_diverse = (word ^ word >> 2) & letters != 0;
                    (positions[seeds % BLOCK], found[seeds % BLOCK]) = (position, word);
                    seeds += usize::from(is_diverse);
                    let step = step + if is_diverse { distance } else { 1 };
                    mask &= from(step);
                    clear = at + step;
                }
            }
            for words in found.as_chunks_mut().0.iter_mut().take(seeds.div_ceil(8)) {
                hash(words, shape);
            }
            for (&position, &found) in positions.iter().zip(&found).take(seeds) {
                let position = begin + u32::from(position);
                emit(Seed { hash: found >> 1, position, reverse: found & 1 == 1 });
            }
        }
    }
}

/// All bits but the lowest.
#[inline(always)]
fn from(bits: u32) -> u64 {
    u64::MAX.checked_shl(bits).unwrap_or(0)
}

/// The ranks of the first `inner` inner words and more, which mean nothing.
#[inline(always)]
fn rank_inner_words(packed: &[u64; PACKED], inner: usize, shape: Shape, ranks: &mut [i16; INNER]) {
    let s = shape.s as usize;
    let mask = u32::MAX >> (32 - 2 * s);
    // 16 inner words start in the lower half of 32 bases, which hold all of each.
    let (halves, bases) = (ranks.as_chunks_mut().0, packed.array_windows());
    for (halves, &[low, high]) in
        halves.as_chunks_mut().0.iter_mut().zip(bases).take(inner.div_ceil(WORD_BASES))
    {
        let [first, second] = halves;
        rank_half(low, s, mask, first);
        rank_half(low >> 32 | high << 32, s, mask, second);
    }
}

#[inline(always)]
fn rank_half(bases: u64, s: usize, mask: u32, ranks: &mut [i16; 16]) {
    let complement = reverse_complement_word(bases);
    for (i, rank) in ranks.iter_mut().enumerate() {
        let forward = (bases >> (2 * i)) as u32 & mask;
        let backward = (complement >> (64 - 2 * s - 2 * i)) as u32 & mask;
        *rank = rank_of(forward, backward);
    }
}

/// Orders inner words of either strand as if at random. Few numbers are faster than many, and ties add few seeds.
#[inline(always)]
fn rank_of(forward: u32, backward: u32) -> i16 {
    // Not every CPU has a minimum of unsigned numbers, and any order does.
    let canonical = (forward as i32).min(backward as i32) as u32;
    let word = (canonical ^ 0x5bd1_e995).wrapping_mul(0x9e37_79b1);
    let word = (word ^ word >> 15).wrapping_mul(0x85eb_ca77);
    (word >> 16) as i16
}

/// Turns the ranks of inner words into the least of those of each word, by tripling.
#[inline(always)]
fn slide_least<const LANES: usize>(ranks: &mut [i16; INNER], inner: usize, shape: Shape) {
    let (wanted, mut covered) = ((shape.k - shape.s + 1) as usize, 1);
    while covered < wanted {
        let steps = [covered, 2 * covered].map(|step| step.min(wanted - covered));
        for at in (0..inner).step_by(LANES) {
            let [here, ahead, far] = [0, steps[0], steps[1]].map(|step| {
                let mut copy = [0; LANES];
                copy.copy_from_slice(&ranks[at + step..][..LANES]);
                copy
            });
            let mut least = [0; LANES];
            for l in 0..LANES {
                least[l] = here[l].min(ahead[l]).min(far[l]);
            }
            ranks[at..at + LANES].copy_from_slice(&least);
        }
        covered += steps[1];
    }
}

/// One bit for each word of a group: whether none of its inner words ranks before both its first and its last.
#[inline(always)]
fn mask_seeds(ranks: &[i16], least: &[i16], shape: Shape) -> u64 {
    let (first, last) = (&ranks[..GROUP], &ranks[(shape.k - shape.s) as usize..][..GROUP]);
    let least = &least[..GROUP];
    let mut flags = [0; GROUP];
    for i in 0..GROUP {
        flags[i] = u8::from(first[i] == least[i]) | u8::from(last[i] == least[i]);
    }
    flags.as_chunks().0.iter().rev().fold(0, |mask, flags| {
        // Moves the bit of byte `i` to bit `56 + i`.
        mask << 8 | u64::from_le_bytes(*flags).wrapping_mul(0x0102_0408_1020_4080) >> 56
    })
}

/// Turns words into twice the hash of their canonical ones, plus one where that is the reverse complement.
#[inline(always)]
fn hash(words: &mut [u64; 8], shape: Shape) {
    let bits = shape.hash_bits();
    let mask = (1u64 << bits) - 1;
    for word in words {
        let (forward, backward) = (*word & mask, reverse_complement_word(*word) >> (64 - bits));
        // Not every CPU has a minimum of unsigned numbers.
        let canonical = (forward as i64).min(backward as i64) as u64;
        *word = permute(canonical, shape.k) << 1 | u64::from((backward as i64) < forward as i64);
    }
}

/// A permutation of the numbers of `2 * half` bits that spreads them evenly over the upper bits (a Feistel network).
#[inline(always)]
fn permute(word: u64, half: u32) -> u64 {
    let mask = (1 << half) - 1;
    let (mut low, mut high) = (word & mask, word >> half);
    for factor in [0x9e37_79b1, 0x85eb_ca77, 0xc2b2_ae3d] {
        // The compiler shall see that 32 bits are enough. The middle of a product depends on most of its factors.
        let product = u64::from(low as u32) * factor;
        (low, high) = (high ^ product >> 20 & mask, low);
    }
    high << half | low
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sequence::{Packed, encode, reverse_complement};

    fn random_codes(length: usize) -> Vec<u8> {
        let numbers = std::iter::successors(Some(3u64), |state| {
            Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
        });
        numbers.map(|state| (state >> 33) as u8 & 3).take(length).collect()
    }

    fn seeds(level: Level, codes: &[u8], shape: Shape) -> Vec<Seed> {
        let (mut packed, mut seeds) = (Packed::default(), Vec::new());
        packed.load(codes);
        for_seeds(level, &packed.words, 0..codes.len() as u32, shape, 1, |seed| seeds.push(seed));
        seeds
    }

    /// Closed syncmers by their definition: position, hash and strand.
    fn naive_seeds(codes: &[u8], shape: Shape) -> Vec<Seed> {
        let number =
            |word: &[u8]| word.iter().rev().fold(0u64, |number, &code| number << 2 | u64::from(code));
        let strands = |word: &[u8]| {
            let mut reverse = Vec::new();
            reverse_complement(word, &mut reverse);
            (number(word), number(&reverse))
        };
        let mut seeds = Vec::new();
        for (position, word) in codes.windows(shape.k as usize).enumerate() {
            let ranks = word.windows(shape.s as usize).map(|inner| {
                let (forward, backward) = strands(inner);
                rank_of(forward as u32, backward as u32)
            });
            let ranks: Vec<i16> = ranks.collect();
            let smallest = ranks.iter().min();
            let one_letter = word.iter().all(|&code| code == word[0]);
            if !one_letter && (ranks.first() == smallest || ranks.last() == smallest) {
                let (forward, backward) = strands(word);
                let hash = permute(forward.min(backward), shape.k);
                seeds.push(Seed { hash, position: position as u32, reverse: backward < forward });
            }
        }
        seeds
    }

    const SHAPES: [(u32, u32); 6] = [(19, 11), (21, 12), (15, 5), (25, 5), (25, 16), (15, 14)];

    #[test]
    fn seeds_are_the_closed_syncmers_of_either_strand_at_every_level() {
        let mut repeats = Vec::new();
        encode(&[b"ACACACACAC".repeat(9), vec![b'A'; 80]].concat(), &mut repeats);
        let codes = [random_codes(5000), repeats].concat();
        for shape in SHAPES.map(|(k, s)| Shape::new(k, s).expect("allowed")) {
            let mut reverse = Vec::new();
            reverse_complement(&codes, &mut reverse);
            let forward = naive_seeds(&codes, shape);
            for level in Level::available() {
                assert_eq!(seeds(level, &codes, shape), forward, "{level}");
                let mut mirrored = seeds(level, &reverse, shape);
                mirrored.reverse();
                let is_mirrored = |(a, b): (&Seed, &Seed)| {
                    a.hash == b.hash
                        && a.reverse != b.reverse
                        && a.position + b.position + shape.k == codes.len() as u32
                };
                assert!(mirrored.len() == forward.len() && mirrored.iter().zip(&forward).all(is_mirrored));
            }
        }
    }

    #[test]
    fn neither_the_borders_of_a_stretch_nor_those_of_blocks_show() {
        let (codes, shape) = (random_codes(3 * BLOCK), Shape::default());
        let (mut packed, naive) = (Packed::default(), naive_seeds(&codes, shape));
        packed.load(&codes);
        for level in Level::available() {
            for length in (0..80).chain(BLOCK - 3..BLOCK + 40).chain([600]) {
                for start in [0, 1, 31, 33, 64] {
                    let stretch = start as u32..(start + length) as u32;
                    let mut found = Vec::new();
                    for_seeds(level, &packed.words, stretch.clone(), shape, 1, |seed| found.push(seed));
                    let within = |seed: &&Seed| {
                        seed.position >= stretch.start && seed.position + shape.k <= stretch.end
                    };
                    assert!(found.iter().eq(naive.iter().filter(within)), "{level} {stretch:?}");
                }
            }
        }
    }

    #[test]
    fn seeds_at_a_distance_are_the_first_that_are_free() {
        let mut runs = Vec::new();
        encode(&[b"C".repeat(90), b"ACGGT".repeat(30), b"T".repeat(40)].concat(), &mut runs);
        let (codes, mut packed) = ([random_codes(900), runs].concat(), Packed::default());
        packed.load(&codes);
        for shape in SHAPES.map(|(k, s)| Shape::new(k, s).expect("allowed")) {
            for (distance, level) in
                [1, 7, 19, 200].into_iter().flat_map(|d| Level::available().map(move |l| (d, l)))
            {
                let mut clear = 0;
                let mut expect = naive_seeds(&codes, shape);
                expect.retain(|seed| {
                    let is_free = seed.position >= clear;
                    clear = if is_free { seed.position + distance } else { clear };
                    is_free
                });
                let (stretch, mut found) = (0..codes.len() as u32, Vec::new());
                for_seeds(level, &packed.words, stretch, shape, distance, |seed| found.push(seed));
                assert_eq!(found, expect);
            }
        }
    }

    #[test]
    fn every_window_holds_a_seed_and_few_hold_many() {
        let codes = random_codes(100_000);
        for shape in SHAPES.map(|(k, s)| Shape::new(k, s).expect("allowed")) {
            let seeds = seeds(Level::Scalar, &codes, shape);
            let farthest = seeds.windows(2).map(|pair| pair[1].position - pair[0].position).max();
            assert!(farthest.expect("many") <= shape.k - shape.s + 1, "{shape:?}");
            let inner = f64::from(shape.k - shape.s + 1);
            let density = seeds.len() as f64 / codes.len() as f64;
            assert!((density * inner / 2.0 - 1.0).abs() < 0.05, "{shape:?}: {density}");
        }
    }

    #[test]
    fn hashes_are_permutations_that_fill_their_upper_bits_evenly() {
        let mut hashes: Vec<u64> = (0..1 << 14).map(|word| permute(word, 7)).collect();
        hashes.sort_unstable();
        assert!(hashes.into_iter().eq(0..1 << 14));
    }
}
