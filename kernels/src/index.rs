//! The seed index: where on the reference each sampled word of `k` bases occurs.
//!
//! Seeds are closed syncmers: canonical words whose smallest inner word of `s` bases stands first or last. Whether a
//! word is a seed depends on that word alone, so read and reference always agree, chunks need no context, and any exact
//! match of [`Shape::window`] bases holds a seed (Edgar 2021, "Syncmers are more sensitive than minimizers"). Words of one
//! repeated letter are no seeds: dark cycles are read as G, and such tails would be placed wherever the reference has a run.
//! A word's hash is a permutation of its bits, so a look-up is exact: the upper bits choose a bucket, the entry holds
//! the rest. Invariant: no byte of the sections can make a look-up panic.
//!
//! | section | content, little endian |
//! |---|---|
//! | 0 | u32 k, s, bucket bits, places of the reference |
//! | 1 | u32 first entry of each bucket, and the number of entries |
//! | 2 | u64 entries by bucket, ascending: hash rest (31 bits), strand (1), place (32) |

use crate::prefetch::prefetch;
use crate::reference::{Malformed, Reference, cast, malformed};
use std::ops::Range;

/// Number of sections of an index.
pub const INDEX_SECTIONS: usize = 3;

/// Bits of the hash that an entry can hold.
const REST_BITS: u32 = 31;

const SCAN_BASES: u32 = 1 << 18;

/// The form of seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    k: u32,
    s: u32,
}

impl Shape {
    /// Words of `k` bases (odd, 15 to 25) chosen by inner words of `s` (5 to k-1).
    pub const fn new(k: u32, s: u32) -> Option<Self> {
        if k % 2 == 1 && k >= 15 && k <= 25 && s >= 5 && s < k { Some(Shape { k, s }) } else { None }
    }

    /// Bases of a seed.
    pub const fn k(self) -> u32 {
        self.k
    }

    /// An exact match of this many bases holds a seed, unless it is a run of one letter.
    pub const fn window(self) -> u32 {
        2 * self.k - self.s
    }

    const fn hash_bits(self) -> u32 {
        2 * self.k
    }
}

/// How to build an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexOptions {
    /// The form of seeds.
    pub shape: Shape,
}

impl Default for IndexOptions {
    fn default() -> Self {
        IndexOptions { shape: Shape { k: 19, s: 11 } }
    }
}

/// A seed of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seed {
    /// Hash of the canonical word, `2k` bits.
    pub hash: u64,
    /// Its first base.
    pub position: u32,
    /// Whether the canonical word is the reverse complement of what stands there.
    pub reverse: bool,
}

/// Calls `emit` for every seed of `codes` in order. A few operations a base.
pub(crate) fn for_seeds(codes: &[u8], shape: Shape, mut emit: impl FnMut(Seed)) {
    let Shape { k, s } = shape;
    let (mask, inner_mask) = ((1u64 << (2 * k)) - 1, (1u64 << (2 * s)) - 1);
    let window = (k - s + 1) as usize;
    let (mut forward, mut backward, mut run) = (0u64, 0u64, 0u32);
    let mut ring = [u64::MAX; 32];
    let (mut smallest, mut smallest_at) = (u64::MAX, 0usize);
    for (i, &code) in codes.iter().enumerate() {
        if code > 3 {
            (run, smallest) = (0, u64::MAX);
            continue;
        }
        forward = (forward << 2 | u64::from(code)) & mask;
        backward = backward >> 2 | u64::from(3 - code) << (2 * (k - 1));
        run += 1;
        if run < s {
            continue;
        }
        let last = scatter((forward & inner_mask).min(backward >> (2 * (k - s))));
        ring[i % 32] = last;
        if last <= smallest {
            (smallest, smallest_at) = (last, i);
        }
        if run < k {
            continue;
        }
        let oldest = i + 1 - window;
        if smallest_at < oldest {
            smallest = u64::MAX;
            for at in oldest..=i {
                if ring[at % 32] <= smallest {
                    (smallest, smallest_at) = (ring[at % 32], at);
                }
            }
        }
        let one_letter = (forward ^ forward >> 2) & mask >> 2 == 0;
        if !one_letter && (last == smallest || ring[oldest % 32] == smallest) {
            let hash = permute(forward.min(backward), mask);
            emit(Seed { hash, position: i as u32 + 1 - k, reverse: backward < forward });
        }
    }
}

/// Orders inner words as if at random.
#[inline]
fn scatter(word: u64) -> u64 {
    let word = word.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (word ^ word >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

/// A permutation of the numbers up to `mask` that spreads them evenly over the upper bits.
#[inline]
fn permute(word: u64, mask: u64) -> u64 {
    let half = mask.count_ones() / 2;
    let word = word.wrapping_mul(0x9e37_79b9_7f4a_7c15) & mask;
    let word = (word ^ word >> half).wrapping_mul(0xd6e8_feb8_6659_fd93) & mask;
    (word ^ word >> half).wrapping_mul(0xbf58_476d_1ce4_e5b9) & mask
}

/// The entries of some buckets; parts of one index can be built at the same time.
#[derive(Clone, Debug)]
pub struct IndexPart {
    ends: Vec<u32>,
    entries: Vec<u64>,
}

/// Builds the sections of an index.
pub fn build(reference: &Reference, options: &IndexOptions) -> [Vec<u8>; INDEX_SECTIONS] {
    join(reference, options, vec![build_part(reference, options, 0, 1)])
}

/// Builds part `part` of `parts`. Every part reads the whole reference twice and needs 8 bytes for each of its seeds.
pub fn build_part(reference: &Reference, options: &IndexOptions, part: u32, parts: u32) -> IndexPart {
    let bits = bucket_bits(reference, options.shape);
    let share = |part: u32| ((u64::from(part) << bits) / u64::from(parts)) as u32;
    let buckets = share(part)..share(part + 1);
    let rest_bits = options.shape.hash_bits() - bits;
    let bucket_of = |seed: &Seed| {
        let bucket = (seed.hash >> rest_bits) as u32;
        buckets.contains(&bucket).then(|| (bucket - buckets.start) as usize)
    };
    let mut ends = vec![0u32; buckets.len()];
    for_reference_seeds(reference, options.shape, |seed| {
        bucket_of(&seed).into_iter().for_each(|bucket| ends[bucket] += 1);
    });
    let mut total = 0;
    for end in &mut ends {
        // Where the bucket starts; filling it moves this to where it ends.
        total += std::mem::replace(end, total);
    }
    let mut entries = vec![0u64; total as usize];
    for_reference_seeds(reference, options.shape, |seed| {
        if let Some(bucket) = bucket_of(&seed) {
            let rest = seed.hash & ((1 << rest_bits) - 1);
            let entry = rest << 33 | u64::from(seed.reverse) << 32 | u64::from(seed.position);
            entries[ends[bucket] as usize] = entry;
            ends[bucket] += 1;
        }
    });
    let mut start = 0;
    for &end in &ends {
        entries[start..end as usize].sort_unstable();
        start = end as usize;
    }
    IndexPart { ends, entries }
}

/// Joins all parts, in order, into the sections of the index. The bytes do not depend on the number of parts.
pub fn join(
    reference: &Reference,
    options: &IndexOptions,
    parts: Vec<IndexPart>,
) -> [Vec<u8>; INDEX_SECTIONS] {
    let header =
        [options.shape.k, options.shape.s, bucket_bits(reference, options.shape), reference.places()];
    let mut directory = vec![0u32];
    let bytes = parts.iter().map(|part| size_of_val(&part.entries[..])).sum();
    let mut entries: Vec<u8> = Vec::with_capacity(bytes);
    for part in parts {
        let base = directory.last().copied().unwrap_or(0);
        directory.extend(part.ends.iter().map(|end| base + end));
        entries.extend_from_slice(bytemuck::cast_slice(&part.entries));
    }
    [bytemuck::cast_slice(&header).to_vec(), bytemuck::cast_slice(&directory).to_vec(), entries]
}

/// About two seeds to a bucket, and never more rest than an entry holds.
fn bucket_bits(reference: &Reference, shape: Shape) -> u32 {
    let wanted = reference.places().max(1).ilog2().saturating_sub(3);
    wanted.max(shape.hash_bits() - REST_BITS).min(30)
}

fn for_reference_seeds(reference: &Reference, shape: Shape, mut emit: impl FnMut(Seed)) {
    let mut codes = Vec::new();
    for contig in 0..reference.contigs() as u32 {
        let (_, start, end) = reference.contig_range(contig);
        for chunk in (start..end).step_by(SCAN_BASES as usize) {
            reference.codes(chunk, end.min(chunk + SCAN_BASES + shape.k - 1), &mut codes);
            for_seeds(&codes, shape, |seed| emit(Seed { position: chunk + seed.position, ..seed }));
        }
    }
}

/// A view of an index's sections.
#[derive(Clone, Copy, Debug)]
pub struct Index<'a> {
    shape: Shape,
    rest_bits: u32,
    places: u32,
    directory: &'a [u32],
    entries: &'a [u64],
}

impl<'a> Index<'a> {
    /// Checks form and sizes. Reading every entry would page in the whole file; damage inside them is for the file's
    /// digest to find, and here it can only hide or misplace seeds.
    pub fn new(sections: &[&'a [u8]]) -> Result<Self, Malformed> {
        let &[header, directory, entries] = sections else {
            return malformed("index", "expected three sections");
        };
        let &[k, s, bits, places] = cast::<u32>("seed header", header)? else {
            return malformed("seed header", "expected four numbers");
        };
        let shape = Shape::new(k, s).map_or_else(|| malformed("seed header", "no such seeds"), Ok)?;
        let rest_bits = shape.hash_bits().wrapping_sub(bits);
        if bits > 30 || rest_bits > REST_BITS {
            return malformed("seed header", "no such number of buckets");
        }
        let directory: &[u32] = cast("seed directory", directory)?;
        let entries: &[u64] = cast("seed entries", entries)?;
        if directory.len() != (1 << bits) + 1 {
            return malformed("seed directory", "its length is not that of the buckets");
        }
        if directory.last().is_none_or(|&end| end as usize != entries.len()) {
            return malformed("seed entries", "their number is not that of the directory");
        }
        Ok(Index { shape, rest_bits, places, directory, entries })
    }

    /// The form of seeds.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    pub(crate) fn places(&self) -> u32 {
        self.places
    }

    /// Asks for what [`Index::bucket`] will read.
    #[inline]
    pub(crate) fn ask_bucket(&self, hash: u64) {
        prefetch(self.directory, (hash >> self.rest_bits) as usize);
    }

    /// Asks for what [`Index::occurrences`] will read.
    #[inline]
    pub(crate) fn ask_occurrences(&self, bucket: &Range<u32>) {
        prefetch(self.entries, bucket.start as usize);
    }

    /// The bucket of a seed: the first of two look-ups, so that a caller can have many under way at once.
    #[inline]
    pub(crate) fn bucket(&self, hash: u64) -> Range<u32> {
        let bucket = (hash >> self.rest_bits) as usize;
        self.directory.get(bucket..bucket + 2).map_or(0..0, |ends| ends[0]..ends[1])
    }

    /// The occurrences of a seed in its bucket, forward ones first, each by place.
    #[inline]
    pub(crate) fn occurrences(&self, hash: u64, bucket: Range<u32>) -> &'a [u64] {
        let entries = self.entries.get(bucket.start as usize..bucket.end as usize).unwrap_or_default();
        let rest = hash & ((1 << self.rest_bits) - 1);
        let first = entries.partition_point(|entry| entry >> 33 < rest);
        let count = entries[first..].partition_point(|entry| entry >> 33 == rest);
        &entries[first..first + count]
    }
}

/// Place and strand of an occurrence.
#[inline]
pub(crate) fn occurrence(entry: u64) -> (u32, bool) {
    (entry as u32, entry >> 32 & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::OwnedReference;
    use crate::sequence::{encode, reverse_complement};

    fn random_letters(length: usize, seed: u64) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize
        };
        (0..length).map(|_| if next() % 500 == 0 { b'N' } else { b"ACGT"[next() % 4] }).collect()
    }

    fn with_reference(contigs: &[Vec<u8>], test: impl FnOnce(&Reference)) {
        let mut owned = OwnedReference::default();
        contigs.iter().for_each(|letters| owned.push_contig(letters).expect("short"));
        let sections = owned.sections();
        test(&Reference::new(&sections.each_ref().map(Vec::as_slice)).expect("our own sections"));
    }

    fn view(sections: &[Vec<u8>; INDEX_SECTIONS]) -> Result<Index<'_>, Malformed> {
        Index::new(&sections.each_ref().map(Vec::as_slice))
    }

    /// Closed syncmers by their definition.
    fn naive_seeds(codes: &[u8], Shape { k, s }: Shape) -> Vec<(u32, bool)> {
        let (k, s) = (k as usize, s as usize);
        let number = |word: &[u8]| word.iter().fold(0u64, |number, &code| number << 2 | u64::from(code));
        let canonical = |word: &[u8]| {
            let mut reverse = Vec::new();
            reverse_complement(word, &mut reverse);
            (number(word).min(number(&reverse)), number(&reverse) < number(word))
        };
        let mut seeds = Vec::new();
        for (position, word) in codes.windows(k).enumerate().filter(|(_, word)| !word.contains(&4)) {
            let inner: Vec<u64> = word.windows(s).map(|inner| scatter(canonical(inner).0)).collect();
            let smallest = inner.iter().min();
            let one_letter = word.iter().all(|&code| code == word[0]);
            if !one_letter && (inner.first() == smallest || inner.last() == smallest) {
                seeds.push((position as u32, canonical(word).1));
            }
        }
        seeds
    }

    #[test]
    fn seeds_are_the_closed_syncmers_of_either_strand() {
        for (k, s) in [(21, 12), (15, 5), (25, 24), (19, 11)] {
            let shape = Shape::new(k, s).expect("allowed");
            let (mut codes, mut reverse) = (Vec::new(), Vec::new());
            encode(&[random_letters(5000, 3), b"ACACACACAC".repeat(9), vec![b'A'; 80]].concat(), &mut codes);
            reverse_complement(&codes, &mut reverse);
            let seeds = |codes: &[u8]| {
                let mut seeds = Vec::new();
                for_seeds(codes, shape, |seed| seeds.push(seed));
                seeds
            };
            let forward = seeds(&codes);
            assert_eq!(
                forward.iter().map(|seed| (seed.position, seed.reverse)).collect::<Vec<_>>(),
                naive_seeds(&codes, shape)
            );
            let mut mirrored = seeds(&reverse);
            mirrored.reverse();
            assert!(
                mirrored.len() == forward.len()
                    && mirrored.iter().zip(&forward).all(|(a, b)| {
                        a.hash == b.hash
                            && a.reverse != b.reverse
                            && a.position + b.position + k == codes.len() as u32
                    })
            );
            // The run of one letter is at the end.
            let diverse = &codes[..codes.len() - 80];
            for stretch in diverse.windows(shape.window() as usize).filter(|stretch| !stretch.contains(&4)) {
                assert!(!seeds(stretch).is_empty());
            }
        }
    }

    #[test]
    fn every_occurrence_is_found_and_nothing_else() {
        let family = random_letters(300, 8);
        let contigs =
            [random_letters(9000, 1), family.repeat(12), vec![], b"ACGT".repeat(200), random_letters(40, 2)];
        with_reference(&contigs, |reference| {
            let options = IndexOptions::default();
            let sections = build(reference, &options);
            let index = view(&sections).expect("our own sections");
            let mut all: Vec<Seed> = Vec::new();
            for_reference_seeds(reference, options.shape, |seed| all.push(seed));
            assert!(all.len() > 2000);
            for seed in &all {
                let mut expect: Vec<(u32, bool)> = all
                    .iter()
                    .filter(|other| other.hash == seed.hash)
                    .map(|o| (o.position, o.reverse))
                    .collect();
                expect.sort_unstable_by_key(|&(place, reverse)| (reverse, place));
                let found = index.occurrences(seed.hash, index.bucket(seed.hash));
                assert_eq!(found.iter().map(|&entry| occurrence(entry)).collect::<Vec<_>>(), expect);
                assert!(
                    index.occurrences(seed.hash ^ 1, index.bucket(seed.hash ^ 1)).len() < expect.len() + 40
                );
            }
        });
    }

    #[test]
    fn the_number_of_parts_does_not_show() {
        with_reference(&[random_letters(40_000, 5), random_letters(300, 6)], |reference| {
            let options = IndexOptions::default();
            let whole = build(reference, &options);
            for parts in [2, 3, 7] {
                let built = (0..parts).map(|part| build_part(reference, &options, part, parts)).collect();
                assert!(join(reference, &options, built) == whole);
            }
        });
    }

    #[test]
    fn damaged_sections_are_refused_or_harmless() {
        with_reference(&[random_letters(3000, 7)], |reference| {
            let good = build(reference, &IndexOptions::default());
            for section in 0..INDEX_SECTIONS {
                let step = if section == 0 { 1 } else { 97 };
                for byte in (0..good[section].len()).step_by(step) {
                    let mut short = good.clone();
                    short[section].truncate(byte);
                    assert!(view(&short).is_err());
                    for bit in 0..8 {
                        let mut bad = good.clone();
                        bad[section][byte] ^= 1 << bit;
                        if let Ok(index) = view(&bad) {
                            (0..500u64).map(|i| i << 33).for_each(|hash| {
                                index.occurrences(hash, index.bucket(hash));
                            });
                        }
                    }
                }
            }
            assert!(Index::new(&[]).is_err());
        });
    }

    #[test]
    fn an_empty_reference_has_an_empty_index() {
        for contigs in [&[][..], &[vec![]], &[vec![b'N'; 70]]] {
            with_reference(contigs, |reference| {
                let sections = build(reference, &IndexOptions::default());
                assert!(sections[2].is_empty() && view(&sections).is_ok());
            });
        }
    }
}
