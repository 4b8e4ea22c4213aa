//! From a read's seeds to candidate diagonals.
//!
//! Invariant: effort is bounded, whatever the repeats. What the bound left out is stated ([`Unseen`]), so that mapping quality can account for places that were never looked at.

use super::query::{Query, mix, side};
use crate::index::{Index, Seed, for_seeds, occurrence};

/// Occurrences up to which a seed is always followed.
const OCCURRENCES_FREE: usize = 16;

/// Anchors beyond which no further seed is followed.
const ANCHORS_MAX: usize = 1_000;

/// Occurrences tried of a read's rarest seed if even that one is too frequent; spread evenly over all of them.
const OCCURRENCES_SAMPLED: usize = 256;

/// Diagonals farther apart than this are not joined: the longest gap inside one alignment.
pub(super) const GAP_MAX: i64 = 100;

/// Neighbours looked at when diagonals are joined.
const NEIGHBOURS_MAX: usize = 12;

/// Candidates handed on; the best by bases in common, ties as if at random.
const CANDIDATES_MAX: usize = 256;

/// An exact match of a seed: strand, diagonal and place in the query, packed to sort in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Anchor(u64);

const DIAGONAL_OFFSET: i64 = 1 << 16;

impl Anchor {
    /// Base `position` of the query on that strand meets place `place`.
    #[inline]
    pub fn new(reverse: bool, place: u32, position: u32) -> Self {
        let diagonal = i64::from(place) - i64::from(position) + DIAGONAL_OFFSET;
        Anchor(u64::from(reverse) << 60 | (diagonal as u64) << 20 | u64::from(position))
    }

    #[inline]
    fn reverse(self) -> bool {
        self.0 >> 60 == 1
    }

    #[inline]
    fn diagonal(self) -> i64 {
        (self.0 >> 20 & 0xff_ffff_ffff) as i64 - DIAGONAL_OFFSET
    }

    #[inline]
    fn position(self) -> u32 {
        (self.0 & 0xf_ffff) as u32
    }
}

/// A diagonal worth aligning along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub reverse: bool,
    /// Place that base 0 of the query would meet; may lie before the contig.
    pub diagonal: i64,
    /// A place on the contig that an anchor covers.
    pub place: u32,
    /// Query bases covered by anchors on this diagonal, and on neighbours less the cost of the gap.
    pub chained: i32,
    /// First and last query base under anchors of this diagonal alone.
    pub span: (u32, u32),
    /// Smallest and largest diagonal joined.
    pub band: (i64, i64),
}

/// What seeding can say of places that are not among the candidates.
#[derive(Clone, Debug, Default)]
pub(super) struct Unseen {
    /// First bases of the seeds that were followed everywhere, ascending, as the read was sequenced.
    seeds: Vec<u32>,
    k: u32,
    /// How many places were left out for being too many; 0 if every seed was followed.
    pub left_out: u32,
}

impl Unseen {
    /// The least number of differences within a range of the read: enough to touch every followed seed there.
    pub fn differences(&self, range: (u32, u32)) -> i32 {
        let (mut count, mut clear) = (0, range.0);
        for &start in &self.seeds {
            if start >= clear && start + self.k <= range.1 {
                count += 1;
                clear = start + self.k;
            }
        }
        count
    }

    fn clear(&mut self, k: u32) {
        self.seeds.clear();
        (self.k, self.left_out) = (k, 0);
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Seeding {
    seeds: Vec<Seed>,
    buckets: Vec<std::ops::Range<u32>>,
    order: Vec<(u32, u32)>,
    anchors: Vec<Anchor>,
    segments: Vec<Candidate>,
}

impl Seeding {
    /// Replaces `candidates` by those of a read, best first.
    pub fn seed(
        &mut self,
        index: &Index,
        query: &Query,
        candidates: &mut Vec<Candidate>,
        unseen: &mut Unseen,
    ) {
        let Seeding { seeds, buckets, order, anchors, .. } = self;
        let shape = index.shape();
        let length = query.len() as u32;
        seeds.clear();
        for_seeds(&query.codes[0], shape, |seed| seeds.push(seed));
        // All directory look-ups, then all entries: independent loads that the processor overlaps.
        buckets.clear();
        buckets.extend(seeds.iter().map(|seed| index.bucket(seed.hash)));
        let occurrences = |at: usize| index.occurrences(seeds[at].hash, buckets[at].clone());
        order.clear();
        order.extend((0..seeds.len()).map(|at| (occurrences(at).len() as u32, at as u32)));
        order.sort_unstable();
        anchors.clear();
        let mut anchor = |seed: &Seed, entry: u64| {
            let (place, place_reverse) = occurrence(entry);
            let reverse = seed.reverse != place_reverse;
            let position = if reverse { length - shape.k() - seed.position } else { seed.position };
            anchors.push(Anchor::new(reverse, place, position));
        };
        let mut followed = 0;
        let mut total = 0;
        for &(count, at) in &*order {
            let count = count as usize;
            if count > OCCURRENCES_FREE && total + count > ANCHORS_MAX {
                break;
            }
            total += count;
            followed += 1;
            let seed = &seeds[at as usize];
            occurrences(at as usize).iter().for_each(|&entry| anchor(seed, entry));
        }
        unseen.clear(shape.k());
        unseen.left_out = order.get(followed).map_or(0, |&(count, _)| count);
        if total == 0
            && let Some(&(count, at)) = order.get(followed)
        {
            let (count, seed) = (count as usize, &seeds[at as usize]);
            let all = occurrences(at as usize);
            let shift = mix(query.salt) as usize % count;
            for sample in 0..OCCURRENCES_SAMPLED.min(count) {
                anchor(seed, all[(shift + sample * count / OCCURRENCES_SAMPLED.min(count)) % count]);
            }
        }
        unseen.seeds.extend(order[..followed].iter().map(|&(_, at)| seeds[at as usize].position));
        unseen.seeds.sort_unstable();
        let beyond = self.candidates(shape.k(), query, candidates);
        unseen.left_out = unseen.left_out.max(beyond);
    }

    /// Replaces `candidates` by those of anchors found elsewhere, each of `k` bases.
    pub fn candidates_of(
        &mut self,
        found: impl Iterator<Item = Anchor>,
        k: u32,
        query: &Query,
        candidates: &mut Vec<Candidate>,
    ) {
        self.anchors.clear();
        self.anchors.extend(found);
        self.candidates(k, query, candidates);
    }

    /// Returns how many candidates were left out.
    fn candidates(&mut self, k: u32, query: &Query, candidates: &mut Vec<Candidate>) -> u32 {
        self.anchors.sort_unstable();
        self.segments.clear();
        for run in self.anchors.chunk_by(|a, b| a.0 >> 20 == b.0 >> 20) {
            let (first, last) = (run[0], run[run.len() - 1]);
            let overlaps = run.windows(2).map(|pair| (pair[1].position() - pair[0].position()).min(k));
            let diagonal = first.diagonal();
            self.segments.push(Candidate {
                reverse: first.reverse(),
                diagonal,
                place: (diagonal + i64::from(first.position())) as u32,
                chained: (overlaps.sum::<u32>() + k) as i32,
                span: (first.position(), last.position() + k),
                band: (diagonal, diagonal),
            });
        }
        candidates.clear();
        candidates.extend((0..self.segments.len()).map(|at| join(&self.segments, at)));
        let rank = |candidate: &Candidate| {
            let tie = mix(query.salt ^ (candidate.diagonal as u64) << 1 ^ side(candidate.reverse) as u64);
            (-candidate.chained, tie)
        };
        let beyond = candidates.len().saturating_sub(CANDIDATES_MAX);
        if beyond > 0 {
            candidates.select_nth_unstable_by_key(CANDIDATES_MAX, rank);
            candidates.truncate(CANDIDATES_MAX);
        }
        if candidates.len() > 1 {
            candidates.sort_unstable_by_key(rank);
        }
        beyond as u32
    }
}

/// Extends a diagonal by what its neighbours cover to its left and to its right.
fn join(segments: &[Candidate], at: usize) -> Candidate {
    let mut joined = segments[at];
    let (mut left, mut right) = ((0, joined.diagonal), (0, joined.diagonal));
    let near = |other: &&Candidate| {
        other.reverse == joined.reverse && (other.diagonal - joined.diagonal).abs() <= GAP_MAX
    };
    let before = segments[..at].iter().rev().take(NEIGHBOURS_MAX).take_while(near);
    let after = segments[at + 1..].iter().take(NEIGHBOURS_MAX).take_while(near);
    for other in before.chain(after) {
        let gap = (other.diagonal - joined.diagonal).abs() as i32;
        let cost = 6 + gap;
        let shared = other.chained.min((other.span.1 - other.span.0) as i32);
        let gain = |bases: i32| shared.min(bases) - cost;
        if other.span.0 < joined.span.0 {
            left = left.max((gain((joined.span.0 - other.span.0) as i32), other.diagonal));
        }
        if other.span.1 > joined.span.1 {
            right = right.max((gain((other.span.1 - joined.span.1) as i32), other.diagonal));
        }
    }
    for (gain, diagonal) in [left, right] {
        joined.chained += gain;
        joined.band = (joined.band.0.min(diagonal), joined.band.1.max(diagonal));
    }
    joined
}
