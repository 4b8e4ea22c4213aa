//! Which reads to keep where coverage is extreme.
//!
//! Invariant: whether a read is kept depends only on `depth_max` and on the reads that start in the same 256 bases of
//! the contig; the smallest name hashes are kept, so mates mostly share their fate. Memory is bounded by `depth_max`.

use std::collections::BinaryHeap;

/// Reads are picked per stretch of this many bases of the contig, by read start. Divides every grid line.
const BIN_BASES: u32 = 256;

/// Takes reads in coordinate order and gives back, in the same order, those to keep.
pub struct Downsampler<T> {
    /// Aligned bases that one bin may hold.
    budget: u64,
    bin: u32,
    arrived: u64,
    bases: u64,
    held: BinaryHeap<Held<T>>,
}

/// A read that is kept so far; ordered by hash, then arrival, the read itself aside.
struct Held<T> {
    key: (u64, u64),
    bases: u64,
    read: T,
}

impl<T> Downsampler<T> {
    /// Keeps about `depth_max` reads over every place; at least one read a bin.
    pub fn new(depth_max: u32) -> Self {
        let budget = u64::from(depth_max.max(1)) * u64::from(BIN_BASES);
        Downsampler { budget, bin: 0, arrived: 0, bases: 0, held: BinaryHeap::new() }
    }

    /// Takes the next read of a contig: its position, aligned reference bases and name hash. Reads of earlier bins that
    /// are kept go to `keep`. Call [`Self::finish`] before the next contig.
    pub fn push(&mut self, position: u32, span: u32, name_hash: u64, read: T, keep: &mut impl FnMut(T)) {
        if position / BIN_BASES != self.bin {
            self.finish(keep);
            self.bin = position / BIN_BASES;
        }
        let bases = u64::from(span.max(1));
        self.held.push(Held { key: (name_hash, self.arrived), bases, read });
        self.arrived += 1;
        self.bases += bases;
        // What is held is always the shortest run of smallest hashes that fills the budget, whatever arrives when.
        while let Some(largest) = self.held.peek().filter(|held| self.bases - held.bases >= self.budget) {
            self.bases -= largest.bases;
            self.held.pop();
        }
    }

    /// Gives the kept reads of the last bin to `keep`.
    pub fn finish(&mut self, keep: &mut impl FnMut(T)) {
        let mut held = std::mem::take(&mut self.held).into_vec();
        held.sort_unstable_by_key(|held| held.key.1);
        held.into_iter().for_each(|held| keep(held.read));
        (self.arrived, self.bases) = (0, 0);
    }
}

impl<T> PartialEq for Held<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl<T> Eq for Held<T> {}

impl<T> PartialOrd for Held<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Held<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u64) -> u64 {
        (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    fn kept(depth_max: u32, reads: &[(u32, u64)]) -> Vec<(u32, u64)> {
        let mut downsampler = Downsampler::new(depth_max);
        let mut kept = Vec::new();
        for &(position, name) in reads {
            downsampler.push(position, 100, hash(name), (position, name), &mut |read| kept.push(read));
            assert!(downsampler.held.len() <= (depth_max as usize * 256).div_ceil(100));
        }
        downsampler.finish(&mut |read| kept.push(read));
        kept
    }

    #[test]
    fn modest_depth_is_kept_whole_and_in_order() {
        let reads: Vec<(u32, u64)> = (0..1000).map(|i| (i * 7, u64::from(i))).collect();
        assert_eq!(kept(50, &reads), reads);
    }

    #[test]
    fn extreme_depth_is_cut_to_about_the_limit() {
        let reads: Vec<(u32, u64)> = (0..200_000).map(|i| (i / 100, u64::from(i))).collect();
        let kept = kept(50, &reads);
        for place in (300..1900).step_by(50) {
            let depth =
                kept.iter().filter(|(position, _)| (position..&(position + 100)).contains(&&place)).count();
            assert!((30..=75).contains(&depth), "{place}: {depth}");
        }
    }

    #[test]
    fn the_choice_in_a_bin_does_not_depend_on_other_bins() {
        let reads: Vec<(u32, u64)> = (0..20_000).map(|i| (i / 10, u64::from(i))).collect();
        let whole = kept(5, &reads);
        let later: Vec<(u32, u64)> = reads.iter().copied().filter(|read| read.0 >= 512).collect();
        let expect: Vec<(u32, u64)> = whole.into_iter().filter(|read| read.0 >= 512).collect();
        assert_eq!(kept(5, &later), expect);
    }

    #[test]
    fn mates_in_bins_of_equal_depth_share_their_fate() {
        let mut reads: Vec<(u32, u64)> = (0..5000u64).map(|name| ((name / 20) as u32, name)).collect();
        reads.extend((0..5000u64).map(|name| (512 + (name / 20) as u32, name)));
        let kept = kept(10, &reads);
        let names = |bins: std::ops::Range<u32>| -> Vec<u64> {
            kept.iter().filter(|read| bins.contains(&read.0)).map(|read| read.1).collect()
        };
        assert_eq!(names(0..512), names(512..1024));
    }
}
