//! From candidate diagonals to placements: first without gaps, whole words at a time; then, where a gap could make
//! the placement matter, with the banded program.
//!
//! Invariant: a placement never leaves its contig, and spans at most [`super::SPAN_EXTRA_MAX`] bases more than the read.

use super::Scoring;
use super::band::{Band, MATCH, Path, Problem};
use super::query::{Query, mix, side};
use super::seed::Candidate;
use crate::insert::FivePrime;
use crate::reference::Reference;
use crate::sequence::{LOW_BITS, UNKNOWN, WORD_BASES};
use crate::simd::Level;

/// Bases by which the band exceeds the diagonals that seeds found.
const BAND_MARGIN: i64 = 24;

/// Gapped alignments per read and round.
const GAPPED_MAX: usize = 16;

/// How far below the best a placement may end up and still be worth a gapped alignment.
const GAPPED_DEFICIT_MAX: i32 = 8;

/// Seeded bases by which a candidate may fall short of the best: about three differences more.
const CHAINED_DEFICIT_MAX: i32 = 72;

/// Candidates beyond that deficit that are looked at because they explain another part of the read.
const PARTS_MAX: usize = 16;

/// A stretch of this many bases that matched on another diagonal would have been seeded there.
const UNSEEDED_BASES: u32 = 28;

/// Placements of one strand whose starts or ends are this close are the same place.
const SAME_PLACE_BASES: u32 = 12;

/// Where and how a read lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placement {
    pub reverse: bool,
    pub contig: u32,
    /// First place covered, and one past the last.
    pub places: (u32, u32),
    /// First aligned base of the query on this strand, and one past the last.
    pub aligned: (u32, u32),
    /// Score and bonuses for unclipped ends: what placements are compared by.
    pub total: i32,
    pub score: i32,
    pub edits: u32,
    /// Range of the CIGAR, without clips, in the arena.
    pub cigar: (u32, u32),
}

impl Placement {
    /// The 5' end on the coordinate of places.
    pub fn five_prime(&self, length: usize) -> FivePrime {
        let border = if self.reverse {
            i64::from(self.places.1) + length as i64 - i64::from(self.aligned.1)
        } else {
            i64::from(self.places.0) - i64::from(self.aligned.0)
        };
        FivePrime { border, reverse: self.reverse }
    }

    /// The aligned bases as the read was sequenced.
    pub fn read_range(&self, length: usize) -> (u32, u32) {
        sequenced(self.aligned, self.reverse, length as u32)
    }

    /// Whether two placements of a read explain mostly the same bases of it, so that one excludes the other.
    pub fn rivals(&self, other: &Placement, length: usize) -> bool {
        overlap(self.read_range(length), other.read_range(length))
    }

    /// Settles ties as if at random, the same way in every run.
    pub fn tie(&self, salt: u64) -> u64 {
        mix(salt ^ u64::from(self.places.0) << 1 ^ side(self.reverse) as u64)
    }
}

/// A range of the query on one strand, as the read was sequenced.
fn sequenced(range: (u32, u32), reverse: bool, length: u32) -> (u32, u32) {
    if reverse { (length - range.1, length - range.0) } else { range }
}

/// Whether two ranges share half of the shorter one.
fn overlap(a: (u32, u32), b: (u32, u32)) -> bool {
    let shared = a.1.min(b.1).saturating_sub(a.0.max(b.0));
    2 * shared >= (a.1 - a.0).min(b.1 - b.0)
}

fn explains_another_part(candidate: &Candidate, first: &Candidate, length: u32) -> bool {
    let range = |of: &Candidate| sequenced(of.span, of.reverse, length);
    !overlap(range(candidate), range(first))
}

/// Scratch for extension, and the CIGARs of one read pair.
#[derive(Clone, Debug, Default)]
pub(super) struct Extender {
    level: Level,
    breaks: Vec<(u32, i32)>,
    codes: Vec<u8>,
    trials: Vec<(Placement, Candidate, i32)>,
    band: Band,
    paths: Vec<Option<Path>>,
    /// Strand and diagonals of the bands aligned in this round.
    bands: Vec<(bool, (i64, i64))>,
    pub cigars: Vec<u32>,
}

impl Extender {
    /// Forgets the CIGARs of the last pair.
    pub fn begin(&mut self, level: Level) {
        self.level = level;
        self.cigars.clear();
    }

    /// Appends the placements of candidates that score enough to `placements`, which stay free of copies of one place.
    pub fn extend(
        &mut self,
        reference: &Reference,
        scoring: &Scoring,
        score_min: i32,
        query: &Query,
        candidates: &[Candidate],
        placements: &mut Vec<Placement>,
    ) {
        let perfect = query.len() as i32 * scoring.matched + 2 * scoring.end_bonus;
        self.trials.clear();
        let mut best = placements.iter().map(|placement| placement.total).max().unwrap_or(0);
        let Some(first) = candidates.first() else { return };
        let mut parts = 0;
        for candidate in candidates {
            if first.chained - candidate.chained > CHAINED_DEFICIT_MAX {
                if parts == PARTS_MAX || !explains_another_part(candidate, first, query.len() as u32) {
                    continue;
                }
                parts += 1;
            }
            if let Some(placement) = self.ungapped(reference, scoring, query, candidate) {
                best = best.max(placement.total);
                let hope = self.hope(&placement, candidate, scoring, query.len());
                self.trials.push((placement, *candidate, hope));
            }
        }
        self.trials.sort_by_key(|(placement, candidate, _)| {
            (-placement.total.max(candidate.chained), placement.tie(query.salt))
        });
        self.bands.clear();
        for at in 0..self.trials.len() {
            let (mut placement, candidate, hope) = self.trials[at];
            let sure = perfect - placement.total <= 2 * (scoring.matched + scoring.mismatch);
            let hopeful = hope > placement.total && hope >= best - GAPPED_DEFICIT_MAX;
            if !sure && hopeful && self.bands.len() < GAPPED_MAX && !self.is_aligned(&candidate) {
                self.bands.push((candidate.reverse, candidate.band));
                if let Some(better) = self.gapped(reference, scoring, query, &candidate)
                    && better.total > placement.total
                {
                    placement = better;
                    best = best.max(placement.total);
                }
            }
            if placement.score >= score_min {
                add(placements, placement);
            }
        }
    }

    /// The best stretch of one diagonal. A few operations for 32 bases where the reference is plain.
    fn ungapped(
        &mut self,
        reference: &Reference,
        scoring: &Scoring,
        query: &Query,
        candidate: &Candidate,
    ) -> Option<Placement> {
        let (contig, start, end) = reference.contig_at(candidate.place);
        let length = query.len() as i64;
        let low = (i64::from(start) - candidate.diagonal).max(0);
        let high = (i64::from(end) - candidate.diagonal).min(length);
        if low >= high {
            return None;
        }
        let place = |position: i64| (candidate.diagonal + position) as u32;
        let (first, last) = (place(low), place(high));
        let cost = scoring.matched + scoring.mismatch;
        let unknown_cost = scoring.matched + scoring.unknown;
        self.breaks.clear();
        let query_side = side(candidate.reverse);
        if low == 0 && high == length && reference.is_plain(first, last) {
            let packed = &query.packed[query_side];
            for (word, (&bases, &unknown)) in packed.words.iter().zip(&packed.unknown).enumerate() {
                let offset = word * WORD_BASES;
                let differ = bases ^ reference.word(first + offset as u32);
                let mut marks = (differ | differ >> 1) & LOW_BITS | unknown;
                let bases_here = query.len() - offset;
                if bases_here < WORD_BASES {
                    marks &= (1u64 << (2 * bases_here)) - 1;
                }
                while marks != 0 {
                    let bit = marks.trailing_zeros();
                    let cost = if unknown >> bit & 1 == 1 { unknown_cost } else { cost };
                    self.breaks.push((offset as u32 + bit / 2, cost));
                    marks &= marks - 1;
                }
            }
        } else {
            reference.codes(first, last, &mut self.codes);
            for (position, (&base, &code)) in
                (low..).zip(self.codes.iter().zip(&query.codes[query_side][low as usize..]))
            {
                if base == UNKNOWN || code == UNKNOWN {
                    self.breaks.push((position as u32, unknown_cost));
                } else if base != code {
                    self.breaks.push((position as u32, cost));
                }
            }
        }
        let stretch = best_stretch(&self.breaks, (low as u32, high as u32), query.len() as u32, scoring)?;
        let within = |&&(position, _): &&(u32, i32)| stretch.begin <= position && position < stretch.end;
        let edits = self.breaks.iter().filter(within).count() as u32;
        let cigar = self.cigars.len() as u32;
        self.cigars.push((stretch.end - stretch.begin) << 4 | MATCH);
        Some(Placement {
            reverse: candidate.reverse,
            contig,
            places: (place(i64::from(stretch.begin)), place(i64::from(stretch.end))),
            aligned: (stretch.begin, stretch.end),
            total: stretch.total,
            score: stretch.score,
            edits,
            cigar: (cigar, cigar + 1),
        })
    }

    /// Whether a band that was aligned holds all diagonals of this candidate, so that nothing better can come of it.
    fn is_aligned(&self, candidate: &Candidate) -> bool {
        let (low, high) = candidate.band;
        self.bands
            .iter()
            .any(|&(reverse, band)| reverse == candidate.reverse && band.0 <= low && high <= band.1)
    }

    /// The most that gaps could make of the ungapped placement whose breaks are at hand.
    fn hope(&self, placement: &Placement, candidate: &Candidate, scoring: &Scoring, length: usize) -> i32 {
        let gap = scoring.gap_open + scoring.gap_extend;
        let length = length as u32;
        if candidate.band.0 != candidate.band.1 {
            return length as i32 * scoring.matched + 2 * scoring.end_bonus - gap;
        }
        let (left, right) = (placement.aligned.0, length - placement.aligned.1);
        let regain = |clipped: u32, end: std::ops::Range<u32>| {
            let lost = if clipped > 0 {
                let differences = (clipped / UNSEEDED_BASES) as i32;
                clipped as i32 * scoring.matched + scoring.end_bonus
                    - differences * (scoring.matched + scoring.mismatch)
            } else {
                self.breaks.iter().filter(|(position, _)| end.contains(position)).map(|(_, cost)| cost).sum()
            };
            (lost - gap).max(0)
        };
        let (first, last) = (0..UNSEEDED_BASES, length.saturating_sub(UNSEEDED_BASES)..length);
        placement.total + regain(left, first) + regain(right, last)
    }

    fn gapped(
        &mut self,
        reference: &Reference,
        scoring: &Scoring,
        query: &Query,
        candidate: &Candidate,
    ) -> Option<Placement> {
        let (contig, start, end) = reference.contig_at(candidate.place);
        let (lowest, highest) = (candidate.band.0 - BAND_MARGIN, candidate.band.1 + BAND_MARGIN);
        let first = lowest.max(i64::from(start)) as u32;
        let last = (highest + query.len() as i64).min(i64::from(end)) as u32;
        if first >= last {
            return None;
        }
        reference.codes(first, last, &mut self.codes);
        let problem = Problem {
            read: &query.codes[side(candidate.reverse)],
            window: &self.codes,
            first: lowest - i64::from(first),
            width: (highest - lowest + 1) as usize,
        };
        self.band.align(self.level, &[problem], scoring, &mut self.cigars, &mut self.paths);
        let path = self.paths[0]?;
        Some(Placement {
            reverse: candidate.reverse,
            contig,
            places: (first + path.window.0 as u32, first + path.window.1 as u32),
            aligned: (path.read.0 as u32, path.read.1 as u32),
            total: path.total,
            score: path.score,
            edits: path.edits,
            cigar: path.cigar,
        })
    }
}

/// Adds a placement unless its place is there already, of which the better stays.
fn add(placements: &mut Vec<Placement>, placement: Placement) {
    let same = |other: &&mut Placement| {
        other.reverse == placement.reverse
            && (other.places.0.abs_diff(placement.places.0) <= SAME_PLACE_BASES
                || other.places.1.abs_diff(placement.places.1) <= SAME_PLACE_BASES)
    };
    match placements.iter_mut().find(same) {
        Some(other) if other.total < placement.total => *other = placement,
        Some(_) => {}
        None => placements.push(placement),
    }
}

struct Stretch {
    begin: u32,
    end: u32,
    total: i32,
    score: i32,
}

/// The best run of a diagonal's bases, given the costs of its breaks relative to a match; ends at the read's own ends
/// earn the bonus. Of equals the one that ends first.
fn best_stretch(
    breaks: &[(u32, i32)],
    (low, high): (u32, u32),
    length: u32,
    scoring: &Scoring,
) -> Option<Stretch> {
    let bonus = |reached: bool| if reached { scoring.end_bonus } else { 0 };
    let mut best: Option<Stretch> = None;
    let (mut begin, mut sum) = (low, bonus(low == 0));
    let mut from = low;
    for (position, cost) in breaks.iter().copied().chain([(high, 0)]) {
        sum += (position - from) as i32 * scoring.matched;
        let total = sum + bonus(position == high && high == length);
        if position > begin && total > best.as_ref().map_or(0, |best| best.total) {
            let bonuses = bonus(begin == 0) + bonus(position == length);
            best = Some(Stretch { begin, end: position, total, score: total - bonuses });
        }
        sum += scoring.matched - cost;
        from = position + 1;
        if sum <= 0 {
            (begin, sum) = (from, 0);
        }
    }
    best
}
