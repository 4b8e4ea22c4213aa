//! The seed index: where on the reference each seed occurs.
//!
//! A word's hash is a permutation of its bits, so a look-up is exact: the upper bits choose a bucket, the entry holds
//! the rest. Invariant: no byte of the sections can make a look-up panic.
//!
//! | section | content, little endian |
//! |---|---|
//! | 0 | u32 k, s, bucket bits, places of the reference |
//! | 1 | u32 first entry of each bucket, and the number of entries |
//! | 2 | u64 entries by bucket, ascending: hash rest (31 bits), strand (1), place (32) |

mod seeds;

use crate::prefetch::prefetch;
use crate::reference::{Malformed, Reference, cast, malformed};
use crate::simd::Level;
use std::ops::Range;

pub use seeds::Shape;
pub(crate) use seeds::{Seed, for_seeds};

/// Number of sections of an index.
pub const INDEX_SECTIONS: usize = 3;

/// Bits of the hash that an entry can hold.
const REST_BITS: u32 = 31;

/// How to build an index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexOptions {
    /// The form of seeds.
    pub shape: Shape,
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
        [options.shape.k(), options.shape.s(), bucket_bits(reference, options.shape), reference.places()];
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
    let level = Level::best();
    for contig in 0..reference.contigs() as u32 {
        for stretch in reference.plain_stretches(contig) {
            for_seeds(level, reference.words(), stretch, shape, 1, &mut emit);
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
