//! From a read's seeds to candidate diagonals.
//!
//! Invariant: effort is bounded, whatever the repeats. What the bound left out is stated ([`Unseen`]), so that mapping quality can account for places that were never looked at.

use super::Scoring;
use super::query::{Query, mix, side};
use super::read::Read;
use crate::index::{Index, Seed, Shape, for_seeds, occurrence};
use crate::sequence::{Packed, WORD_BASES};
use crate::simd::Level;
use std::ops::Range;

/// Which seeds of a read are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// The rarest ones that share no base, as many as a proof is likely to need.
    Apart,
    /// All, from the smallest bucket on, until one is too frequent.
    All,
}

/// Seeds apart that lead somewhere and are wanted for a proof, and the anchors that they may have together.
const APART_WANTED: usize = 3;
const APART_ANCHORS_MAX: usize = 128;

/// Occurrences up to which a seed is followed though it is not wanted.
const APART_OCCURRENCES_FREE: usize = 6;

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Anchor(u64);

const DIAGONAL_OFFSET: i64 = 1 << 16;

impl Anchor {
    /// Base `position` of the query on that strand meets place `place`.
    #[inline]
    pub fn new(reverse: bool, place: u32, position: u32) -> Self {
        let diagonal = i64::from(place) - i64::from(position) + DIAGONAL_OFFSET;
        Anchor(u64::from(reverse) << 60 | (diagonal as u64) << 20 | u64::from(position))
    }

    /// A seed of a read of `length` bases meets an entry of the index.
    #[inline]
    pub fn of(seed: &Seed, entry: u64, k: u32, length: u32) -> Self {
        let (place, place_reverse) = occurrence(entry);
        let reverse = seed.reverse != place_reverse;
        Anchor::new(reverse, place, if reverse { length - k - seed.position } else { seed.position })
    }

    /// Strand and diagonal together.
    #[inline]
    pub fn line(self) -> u64 {
        self.0 >> 20
    }

    #[inline]
    pub fn reverse(self) -> bool {
        self.0 >> 60 == 1
    }

    #[inline]
    pub fn diagonal(self) -> i64 {
        (self.0 >> 20 & 0xff_ffff_ffff) as i64 - DIAGONAL_OFFSET
    }

    /// First base of the query, on that strand.
    #[inline]
    pub fn position(self) -> u32 {
        (self.0 & 0xf_ffff) as u32
    }

    /// The place that this base meets.
    #[inline]
    pub fn place(self) -> u32 {
        (self.diagonal() + i64::from(self.position())) as u32
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
    /// Bases of followed seeds that a place may match and still have been left out: where there were too many places, the
    /// worse ones were.
    matched: u32,
    /// How many places were left out for being too many; 0 if every seed was followed.
    pub left_out: u32,
    /// Whether all seeds were followed but those left out for being too many.
    pub is_thorough: bool,
    /// Bases of a range of which a place with one other base, but not one with a gap, would have been found, too; 0 if the
    /// read was not probed.
    probed: u32,
}

impl Unseen {
    /// The least number of differences within a range of the read: enough to touch every followed seed there, or as many
    /// as it takes to match no more of them than places do that were left out: in score, as their gaps are paid for. One
    /// difference touches fewer bases of seeds than two seeds have.
    pub fn differences(&self, range: (u32, u32)) -> i32 {
        let apart = self.apart(range);
        if self.matched == 0 {
            return apart;
        }
        let untouched = (self.matched / self.k) as i32;
        let uncovered = self.covered(range).saturating_sub(self.matched);
        (apart - untouched).max(uncovered.div_ceil(2 * self.k - 1) as i32)
    }

    /// The least that the differences within a range cost.
    pub fn cost(&self, range: (u32, u32), scoring: &Scoring) -> i32 {
        let mismatch = scoring.matched + scoring.mismatch;
        let is_probed = self.probed > 0 && range.1 - range.0 >= self.probed;
        let probed = if is_probed { (2 * mismatch).min(scoring.gap_open + scoring.gap_extend) } else { 0 };
        probed.max(mismatch * self.differences(range))
    }

    /// Followed seeds within a range that share no base.
    pub fn apart(&self, range: (u32, u32)) -> i32 {
        let (mut apart, mut clear) = (0, range.0);
        for &start in &self.seeds {
            if start >= clear && start + self.k <= range.1 {
                apart += 1;
                clear = start + self.k;
            }
        }
        apart
    }

    /// Bases within a range that followed seeds cover.
    fn covered(&self, range: (u32, u32)) -> u32 {
        let (mut covered, mut end) = (0, range.0);
        for &start in self.seeds.iter().filter(|&&start| start >= range.0 && start + self.k <= range.1) {
            covered += start + self.k - start.max(end);
            end = start + self.k;
        }
        covered
    }

    /// One past the first followed seed's last base, and the last one's first base: what lies before and behind them may
    /// have no seed of its own.
    pub fn reach(&self, length: u32) -> (u32, u32) {
        let first = self.seeds.first().map_or(length, |seed| seed + self.k);
        (first, self.seeds.last().copied().unwrap_or(0))
    }

    /// Begins anew, with seeds of `k` bases.
    pub fn clear(&mut self, k: u32) {
        self.seeds.clear();
        (self.k, self.matched, self.left_out, self.is_thorough, self.probed) = (k, 0, 0, false, 0);
    }

    /// Whether a seed that begins here shares bases with one that was followed.
    fn touches(&self, position: u32) -> bool {
        self.seeds.iter().any(|seed| seed.abs_diff(position) < self.k)
    }

    /// A seed was followed everywhere; seeds come by their first base.
    pub fn follow(&mut self, position: u32) {
        self.seeds.push(position);
    }

    /// A followed seed does not count after all.
    pub fn unfollow(&mut self, position: u32) {
        self.seeds.retain(|&seed| seed != position);
    }

    /// A seed of so many places was not followed; the rarest one counts.
    pub fn leave_out(&mut self, places: u32) {
        self.left_out = if self.left_out == 0 { places } else { self.left_out.min(places) };
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Seeding {
    anchors: Vec<Anchor>,
    segments: Vec<Candidate>,
    probes: Vec<(Seed, Range<u32>)>,
}

impl Seeding {
    /// Replaces `candidates` by those of a read, best first, and says what was not looked at.
    pub fn seed(&mut self, index: &Index, read: &mut Read, effort: Effort, candidates: &mut Vec<Candidate>) {
        let Read { query, seeds, buckets, order, unseen, .. } = read;
        let anchors = &mut self.anchors;
        let (k, length) = (index.shape().k(), query.len() as u32);
        let occurrences = |at: u32| index.occurrences(seeds[at as usize].hash, buckets[at as usize].clone());
        anchors.clear();
        let mut anchor = |seed: &Seed, entry: u64| anchors.push(Anchor::of(seed, entry, k, length));
        unseen.clear(k);
        let (mut total, mut leading) = (0, 0);
        for &(_, at) in &*order {
            let (seed, found) = (&seeds[at as usize], occurrences(at));
            let many = found.len();
            let follows = match effort {
                Effort::Apart if unseen.touches(seed.position) => continue,
                Effort::Apart => {
                    let wanted = leading < APART_WANTED && total + many <= APART_ANCHORS_MAX;
                    wanted || many <= APART_OCCURRENCES_FREE
                }
                Effort::All => many <= OCCURRENCES_FREE || total + many <= ANCHORS_MAX,
            };
            if !follows {
                unseen.left_out = many as u32;
                break;
            }
            total += many;
            leading += usize::from(many > 0);
            unseen.seeds.push(seed.position);
            found.iter().for_each(|&entry| anchor(seed, entry));
        }
        if total == 0 && effort == Effort::All && unseen.left_out > 0 {
            let rarest = order
                .iter()
                .map(|&(_, at)| (occurrences(at).len(), at))
                .filter(|&(count, _)| count > 0)
                .min();
            if let Some((count, at)) = rarest {
                let (all, tried) = (occurrences(at), OCCURRENCES_SAMPLED.min(count));
                let shift = mix(query.salt) as usize % count;
                (0..tried)
                    .for_each(|n| anchor(&seeds[at as usize], all[(shift + n * count / tried) % count]));
            }
        }
        unseen.seeds.sort_unstable();
        unseen.is_thorough = effort == Effort::All;
        if let Some((beyond, chained)) = self.candidates(k, query, candidates) {
            unseen.left_out = unseen.left_out.max(beyond);
            unseen.matched = chained.max(0) as u32;
        }
    }

    /// Fills `candidates`, of which all seeds of a short read gave none, by the seeds that the read would have if one base
    /// were another: one in the middle of 35 bases touches every seed.
    pub fn probe(&mut self, level: Level, index: &Index, read: &mut Read, candidates: &mut Vec<Candidate>) {
        let Read { query, unseen, .. } = read;
        let (k, length) = (index.shape().k(), query.len() as u32);
        // In a longer read with one difference the bases before or behind it hold a seed. Finding more differences, too,
        // is not worth the time that foreign reads would take.
        if length >= 2 * index.shape().window() {
            return;
        }
        let Seeding { anchors, probes, .. } = self;
        probes.clear();
        for_probes(level, query, index.shape(), |seed| {
            index.ask_bucket(seed.hash);
            probes.push((seed, 0..0));
        });
        for (seed, bucket) in &mut *probes {
            *bucket = index.bucket(seed.hash);
            index.ask_occurrences(bucket);
        }
        // The rarest first, and alike for the reverse complement.
        probes.sort_unstable_by_key(|(seed, bucket)| (bucket.len(), seed.hash, seed.position));
        anchors.clear();
        for (seed, bucket) in probes {
            let found = index.occurrences(seed.hash, bucket.clone());
            if anchors.len() + found.len() > ANCHORS_MAX {
                unseen.leave_out(found.len() as u32);
                continue;
            }
            anchors.extend(found.iter().map(|&entry| Anchor::of(seed, entry, k, length)));
        }
        if unseen.left_out == 0 && query.codes(false).iter().all(|&code| code < 4) {
            unseen.probed = index.shape().window();
        }
        if let Some((beyond, _)) = self.candidates(k, query, candidates) {
            unseen.leave_out(beyond);
            unseen.probed = 0;
        }
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

    /// Returns how many candidates were left out, if any, and the query bases that the best of them covers.
    fn candidates(&mut self, k: u32, query: &Query, candidates: &mut Vec<Candidate>) -> Option<(u32, i32)> {
        self.anchors.sort_unstable();
        self.segments.clear();
        for run in self.anchors.chunk_by(|a, b| a.line() == b.line()) {
            let (first, last) = (run[0], run[run.len() - 1]);
            let overlaps = run.windows(2).map(|pair| (pair[1].position() - pair[0].position()).min(k));
            let diagonal = first.diagonal();
            self.segments.push(Candidate {
                reverse: first.reverse(),
                diagonal,
                place: first.place(),
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
        let beyond = (candidates.len() > CANDIDATES_MAX).then(|| {
            let beyond = (candidates.len() - CANDIDATES_MAX) as u32;
            let (_, best, _) = candidates.select_nth_unstable_by_key(CANDIDATES_MAX, rank);
            (beyond, best.chained)
        });
        candidates.truncate(CANDIDATES_MAX);
        if candidates.len() > 1 {
            candidates.sort_unstable_by_key(rank);
        }
        beyond
    }
}

/// Calls `emit` for every seed that a read would have on a base that is changed, for each base and each change.
fn for_probes(level: Level, query: &Query, shape: Shape, mut emit: impl FnMut(Seed)) {
    let Packed { words, .. } = &query.packed[0];
    let mut words = words.clone();
    for stretch in query.packed[0].plain_stretches(query.len() as u32) {
        for position in stretch.clone() {
            // All words of `k` bases here have the changed one.
            let first = stretch.start.max((position + 1).saturating_sub(shape.k()));
            let around = first..stretch.end.min(position + shape.k());
            let (word, shift) = (position as usize / WORD_BASES, 2 * (position as usize % WORD_BASES));
            for change in 1..4 {
                words[word] ^= change << shift;
                for_seeds(level, &words, around.clone(), shape, 1, &mut emit);
                words[word] ^= change << shift;
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the seeds of every read with one base changed, found from the whole of it.
    #[test]
    fn probes_are_the_seeds_of_a_changed_base_and_no_others() {
        let (shape, level) = (Shape::default(), Level::best());
        let seeds = |codes: &[u8]| {
            let (mut query, mut seeds) = (Query::default(), Vec::new());
            query.load(codes);
            for stretch in query.packed[0].plain_stretches(codes.len() as u32) {
                let words = &query.packed[0].words;
                for_seeds(level, words, stretch, shape, 1, |seed| seeds.push((seed.position, seed.hash)));
            }
            seeds
        };
        for (length, unknown) in [(0, 0), (18, 3), (19, 99), (35, 99), (64, 20), (80, 99)] {
            let mut codes: Vec<u8> = (0..length).map(|at| (mix(at) % 4) as u8).collect();
            codes.iter_mut().skip(unknown).take(1).for_each(|code| *code = 4);
            let mut expect = Vec::new();
            for at in 0..codes.len() {
                let known = codes[at];
                for change in (1..4).filter(|_| known < 4) {
                    codes[at] = known ^ change;
                    let on = |&(position, _): &(u32, u64)| (position..position + 19).contains(&(at as u32));
                    expect.extend(seeds(&codes).into_iter().filter(on));
                }
                codes[at] = known;
            }
            let (mut query, mut probes) = (Query::default(), Vec::new());
            query.load(&codes);
            for_probes(level, &query, shape, |seed| probes.push((seed.position, seed.hash)));
            assert_eq!(probes, expect, "{length}");
        }
    }

    #[test]
    fn a_place_differs_in_every_followed_seed_unless_its_like_was_left_out() {
        let check = |seeds: &[u32], matched, range, expect| {
            let unseen = Unseen { seeds: seeds.to_vec(), k: 19, matched, ..Unseen::default() };
            assert_eq!(unseen.differences(range), expect, "{seeds:?} {matched} {range:?}");
        };
        check(&[], 0, (0, 150), 0);
        check(&[0, 10, 19, 40], 0, (0, 150), 3);
        check(&[0, 10, 19, 40], 0, (1, 150), 2);
        check(&[0, 10, 19, 40], 0, (0, 58), 2);
        // One seed of three that share no base may match; two; all.
        check(&[0, 19, 40], 19, (0, 150), 2);
        check(&[0, 19, 40], 38, (0, 150), 1);
        check(&[0, 19, 40], 57, (0, 150), 0);
        // Of seeds that share bases some match, but not all: one difference.
        check(&[0, 6, 12], 25, (0, 35), 1);
        check(&[0, 6, 12], 31, (0, 35), 0);
        let probed = Unseen { seeds: vec![8], k: 19, probed: 27, ..Unseen::default() };
        assert_eq!([(0, 35), (0, 26), (9, 35)].map(|range| probed.differences(range)), [1, 0, 0]);
        // A gap is not probed, and costs less than two mismatches.
        let cost = |gap_open| {
            let scoring = Scoring { gap_open, ..Scoring::default() };
            [(0, 35), (0, 26), (9, 35)].map(|range| probed.cost(range, &scoring))
        };
        assert_eq!([6, 20, 1].map(cost), [[7, 0, 0], [10, 0, 0], [5, 0, 0]]);
    }
}
