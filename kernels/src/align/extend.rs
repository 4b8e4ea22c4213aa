//! From candidate diagonals to placements: first without gaps, whole words at a time; then, where a gap could make
//! the placement matter, with the banded program.
//!
//! Invariant: a placement never leaves its contig, and spans at most [`super::SPAN_EXTRA_MAX`] bases more than the read.

use super::Scoring;
use super::band::{Band, MATCH, Path, Problem};
use super::query::{Query, mix, side};
use super::read::Read;
use super::seed::{Candidate, Unseen};
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

/// A stretch of this many bases that matched on another diagonal would have been seeded there, if all seeds were followed.
const UNSEEDED_BASES: u32 = 28;

/// Score lost since its best beyond which a stretch without gaps is not followed.
const LOSS_MAX: i32 = 40;

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
    /// The most that gaps might have made of it, if its read had not had its share of gapped alignments; else its total.
    pub hope: i32,
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

/// A candidate placed without gaps.
#[derive(Clone, Copy, Debug)]
struct Trial {
    placement: Placement,
    candidate: Candidate,
    /// The most that gaps could make of it.
    hope: i32,
}

/// The trials of one read: each becomes a placement, after a gapped alignment where that could matter.
#[derive(Clone, Debug, Default)]
pub(super) struct Trials {
    list: Vec<Trial>,
    /// The trial whose turn it is.
    at: usize,
    best: i32,
    perfect: i32,
    /// Strand and diagonals of the bands aligned so far.
    bands: Vec<(bool, (i64, i64))>,
}

impl Trials {
    /// Begins anew.
    pub fn clear(&mut self) {
        self.list.clear();
    }

    /// The next trial that wants a gapped alignment; those before it are placed as they are.
    fn next(&mut self, scoring: &Scoring, score_min: i32, placements: &mut Vec<Placement>) -> Option<Trial> {
        while let Some(&trial) = self.list.get(self.at) {
            let total = trial.placement.total;
            // What is nearly perfect needs gaps only to be the best.
            let is_near = self.perfect - total <= 2 * (scoring.matched + scoring.mismatch);
            let wanted = if is_near { self.best + 1 } else { self.best - GAPPED_DEFICIT_MAX };
            let hopeful = trial.hope > total && trial.hope >= wanted;
            let wants_gaps = hopeful && !self.is_aligned(&trial.candidate);
            if wants_gaps && self.bands.len() < GAPPED_MAX {
                self.bands.push((trial.candidate.reverse, trial.candidate.band));
                return Some(trial);
            }
            let hope = if wants_gaps { trial.hope } else { total };
            self.settle(Placement { hope, ..trial.placement }, score_min, placements);
        }
        None
    }

    /// The trial whose turn it is ends as this placement.
    fn settle(&mut self, placement: Placement, score_min: i32, placements: &mut Vec<Placement>) {
        self.best = self.best.max(placement.total);
        self.at += 1;
        if placement.score >= score_min {
            add(placements, placement);
        }
    }

    /// Whether a band that was aligned holds all diagonals of this candidate, so that nothing better can come of it.
    fn is_aligned(&self, candidate: &Candidate) -> bool {
        let (low, high) = candidate.band;
        self.bands
            .iter()
            .any(|&(reverse, band)| reverse == candidate.reverse && band.0 <= low && high <= band.1)
    }
}

/// What one gapped alignment is about.
#[derive(Clone, Copy, Debug)]
struct Question {
    read: usize,
    trial: Trial,
    contig: u32,
    /// First place of the window.
    first: u32,
    /// Its range in the arena of windows.
    window: (usize, usize),
    /// The lowest diagonal, counted from the window's start, and the number of diagonals.
    band: (i64, usize),
}

/// Scratch for extension, and the CIGARs of one batch.
#[derive(Clone, Debug, Default)]
pub(super) struct Extender {
    /// For each word of the query, the low bits of the bases that differ, and of those unknown.
    marks: Vec<(u64, u64)>,
    breaks: Vec<(u32, i32)>,
    codes: Vec<u8>,
    windows: Vec<u8>,
    questions: Vec<Question>,
    paths: Vec<Option<Path>>,
    band: Band,
    pub cigars: Vec<u32>,
}

impl Extender {
    /// Adds candidates to the trials of their read, each placed without gaps.
    pub fn try_without_gaps(
        &mut self,
        reference: &Reference,
        scoring: &Scoring,
        read: &mut Read,
        candidates: &[Candidate],
    ) {
        let Some(first) = candidates.first() else { return };
        let Read { query, trials, unseen, .. } = read;
        let mut parts = 0;
        for candidate in candidates {
            if unseen.is_thorough && first.chained - candidate.chained > CHAINED_DEFICIT_MAX {
                if parts == PARTS_MAX || !explains_another_part(candidate, first, query.len() as u32) {
                    continue;
                }
                parts += 1;
            }
            if let Some((placement, hope)) = self.ungapped(reference, scoring, query, candidate, unseen) {
                trials.list.push(Trial { placement, candidate: *candidate, hope });
            }
        }
    }

    /// Turns the trials of the named reads into placements that score enough, free of copies of one place. Each read
    /// asks for one gapped alignment at a time; what all of them ask is answered together.
    pub fn settle(
        &mut self,
        reference: &Reference,
        scoring: &Scoring,
        level: Level,
        score_min: i32,
        reads: &mut [Read],
        mut open: Vec<usize>,
    ) {
        for &at in &open {
            let perfect = reads[at].perfect(scoring);
            let Read { query, trials, placements, .. } = &mut reads[at];
            let totals = trials.list.iter().map(|trial| &trial.placement).chain(&*placements);
            trials.best = totals.map(|placement| placement.total).max().unwrap_or(0);
            trials.perfect = perfect;
            trials.at = 0;
            trials.bands.clear();
            trials.list.sort_by_key(|Trial { placement, candidate, .. }| {
                (-placement.total.max(candidate.chained), placement.tie(query.salt))
            });
        }
        while !open.is_empty() {
            self.windows.clear();
            self.questions.clear();
            open.retain(|&at| {
                let Read { query, trials, placements, .. } = &mut reads[at];
                while let Some(trial) = trials.next(scoring, score_min, placements) {
                    if self.ask(reference, query, at, trial) {
                        return true;
                    }
                    trials.settle(trial.placement, score_min, placements);
                }
                false
            });
            let problems: Vec<Problem<'_>> = self
                .questions
                .iter()
                .map(|question| Problem {
                    read: reads[question.read].query.codes(question.trial.candidate.reverse),
                    window: &self.windows[question.window.0..question.window.1],
                    first: question.band.0,
                    width: question.band.1,
                })
                .collect();
            self.band.align(level, &problems, scoring, &mut self.cigars, &mut self.paths);
            for (question, path) in self.questions.iter().zip(&self.paths) {
                let ungapped = question.trial.placement;
                let gapped = path.as_ref().map(|path| question.answered(path));
                // Ends count in the total; a place must not be lost for a better one that scores too little.
                let rank = |placement: &Placement| (placement.score >= score_min, placement.total);
                let placement = gapped.filter(|gapped| rank(gapped) > rank(&ungapped)).unwrap_or(ungapped);
                let Read { trials, placements, .. } = &mut reads[question.read];
                trials.settle(placement, score_min, placements);
            }
        }
    }

    /// Notes what a gapped alignment of this trial is about, unless its contig has no room for one.
    fn ask(&mut self, reference: &Reference, query: &Query, read: usize, trial: Trial) -> bool {
        let candidate = &trial.candidate;
        let (contig, start, end) = reference.contig_at(candidate.place);
        let (lowest, highest) = (candidate.band.0 - BAND_MARGIN, candidate.band.1 + BAND_MARGIN);
        let first = lowest.max(i64::from(start)) as u32;
        let last = (highest + query.len() as i64).min(i64::from(end)) as u32;
        if first >= last {
            return false;
        }
        let from = self.windows.len();
        reference.codes(first, last, &mut self.codes);
        self.windows.extend_from_slice(&self.codes);
        self.questions.push(Question {
            read,
            trial,
            contig,
            first,
            window: (from, self.windows.len()),
            band: (lowest - i64::from(first), (highest - lowest + 1) as usize),
        });
        true
    }

    /// The best stretch of one diagonal, and the most that gaps could make of it. A few operations for 32 bases where the
    /// reference is plain.
    pub fn ungapped(
        &mut self,
        reference: &Reference,
        scoring: &Scoring,
        query: &Query,
        candidate: &Candidate,
        unseen: &Unseen,
    ) -> Option<(Placement, i32)> {
        let (contig, start, end) = reference.contig_at(candidate.place);
        let length = query.len() as i64;
        let low = (i64::from(start) - candidate.diagonal).max(0);
        let high = (i64::from(end) - candidate.diagonal).min(length);
        if low >= high {
            return None;
        }
        let place = |position: i64| (candidate.diagonal + position) as u32;
        let query_side = side(candidate.reverse);
        self.marks.clear();
        if low == 0 && high == length && reference.is_plain(place(low), place(high)) {
            let packed = &query.packed[query_side];
            for (word, (&bases, &unknown)) in packed.words.iter().zip(&packed.unknown).enumerate() {
                let differ = bases ^ reference.word(place((word * WORD_BASES) as i64));
                self.marks.push(((differ | differ >> 1) & LOW_BITS, unknown));
            }
            let beyond = self.marks.len() * WORD_BASES - query.len();
            if let Some((last, _)) = self.marks.last_mut() {
                *last &= u64::MAX >> (2 * beyond);
            }
        } else {
            reference.codes(place(low), place(high), &mut self.codes);
            self.marks.resize(query.len().div_ceil(WORD_BASES), (0, 0));
            let codes = query.codes(candidate.reverse)[low as usize..].iter().zip(&self.codes);
            for (position, (&code, &base)) in (low as usize..).zip(codes) {
                let (differs, unknown) = &mut self.marks[position / WORD_BASES];
                let bit = 2 * (position % WORD_BASES);
                *differs |= u64::from(code != base) << bit;
                *unknown |= u64::from(code == UNKNOWN || base == UNKNOWN) << bit;
            }
        }
        let range = self.find_breaks(candidate.span, (low as u32, high as u32), scoring);
        let stretch = best_stretch(&self.breaks, range, query.len() as u32, scoring)?;
        let within = |&&(position, _): &&(u32, i32)| stretch.begin <= position && position < stretch.end;
        let edits = self.breaks.iter().filter(within).count() as u32;
        let cigar = self.cigars.len() as u32;
        self.cigars.push((stretch.end - stretch.begin) << 4 | MATCH);
        let placement = Placement {
            reverse: candidate.reverse,
            contig,
            places: (place(i64::from(stretch.begin)), place(i64::from(stretch.end))),
            aligned: (stretch.begin, stretch.end),
            total: stretch.total,
            score: stretch.score,
            edits,
            cigar: (cigar, cigar + 1),
            hope: stretch.total,
        };
        Some((placement, self.hope(&placement, candidate, scoring, query.len() as u32, unseen)))
    }

    /// The breaks of a diagonal from its span outwards, as far as a stretch that goes on could make up for what it has
    /// lost. Returns the range in which they lie.
    fn find_breaks(&mut self, span: (u32, u32), (low, high): (u32, u32), scoring: &Scoring) -> (u32, u32) {
        let Extender { marks, breaks, .. } = self;
        let costs = [scoring.matched + scoring.mismatch, scoring.matched + scoring.unknown];
        let mark = |word: usize, bit: u32| {
            let unknown = marks[word].1 >> bit & 1;
            ((word * WORD_BASES) as u32 + bit / 2, costs[unknown as usize])
        };
        breaks.clear();
        let (mut first, mut lost) = (low, Loss::default());
        let mut from = span.0;
        'left: for word in (0..(span.0 as usize).div_ceil(WORD_BASES)).rev() {
            let here = span.0 as usize - word * WORD_BASES;
            let before = if here < WORD_BASES { (1 << (2 * here)) - 1 } else { u64::MAX };
            let mut bits = (marks[word].0 | marks[word].1) & before;
            while bits != 0 {
                let bit = bits.ilog2();
                let (position, cost) = mark(word, bit);
                if lost.exceeds((from - position - 1) as i32 * scoring.matched, cost) {
                    first = position + 1;
                    break 'left;
                }
                breaks.push((position, cost));
                from = position;
                bits ^= 1 << bit;
            }
        }
        breaks.reverse();
        let (mut last, mut lost) = (high, Loss::default());
        let mut from = span.1;
        let begin = span.0 as usize / WORD_BASES;
        'right: for (word, &(differ, unknown)) in marks.iter().enumerate().skip(begin) {
            let before = (span.0 as usize).saturating_sub(word * WORD_BASES);
            let mut bits = (differ | unknown) & u64::MAX << (2 * before);
            while bits != 0 {
                let (position, cost) = mark(word, bits.trailing_zeros());
                if position >= span.1 {
                    if lost.exceeds((position - from) as i32 * scoring.matched, cost) {
                        last = position;
                        break 'right;
                    }
                    from = position + 1;
                }
                breaks.push((position, cost));
                bits &= bits - 1;
            }
        }
        (first, last)
    }

    /// The most that gaps could make of the ungapped placement whose breaks are at hand. A followed seed
    /// beyond the candidate's span, on no diagonal joined to it, meets a difference wherever the gaps are.
    fn hope(
        &self,
        placement: &Placement,
        candidate: &Candidate,
        scoring: &Scoring,
        length: u32,
        unseen: &Unseen,
    ) -> i32 {
        let gap = scoring.gap_open + scoring.gap_extend;
        if candidate.band.0 != candidate.band.1 {
            return length as i32 * scoring.matched + 2 * scoring.end_bonus - gap;
        }
        let regain = |clipped: u32, beyond: (u32, u32), seeded: std::ops::Range<u32>| {
            let lost = if clipped > 0 {
                let differences = unseen.apart(sequenced(beyond, candidate.reverse, length));
                clipped as i32 * scoring.matched + scoring.end_bonus
                    - differences * (scoring.matched + scoring.mismatch)
            } else {
                self.breaks
                    .iter()
                    .filter(|(position, _)| seeded.contains(position))
                    .map(|(_, cost)| cost)
                    .sum()
            };
            (lost - gap).max(0)
        };
        let ((begin, end), span) = (placement.aligned, candidate.span);
        let (first, last) = unseen.reach(length);
        let (first, last) = if candidate.reverse { (length - last, length - first) } else { (first, last) };
        let ends = regain(begin, (0, begin.min(span.0)), 0..first)
            + regain(length - end, (end.max(span.1), length), last..length);
        let middle = self.crowded_cost() - 2 * gap;
        // Both at once are three gaps, which nothing makes good; and it has to come up to the best, not only near it.
        let perfect = length as i32 * scoring.matched + 2 * scoring.end_bonus;
        (placement.total + ends.max(middle))
            .max((placement.total + ends + middle).min(perfect - 3 * gap - GAPPED_DEFICIT_MAX))
    }

    /// The most that breaks close to each other cost: between two gaps that make up for one another they would be matches.
    fn crowded_cost(&self) -> i32 {
        let (mut most, mut sum, mut from) = (0, 0, 0);
        for &(position, cost) in &self.breaks {
            sum += cost;
            while self.breaks[from].0 + UNSEEDED_BASES <= position {
                sum -= self.breaks[from].1;
                from += 1;
            }
            most = most.max(sum);
        }
        most
    }
}

impl Question {
    fn answered(&self, path: &Path) -> Placement {
        Placement {
            reverse: self.trial.candidate.reverse,
            contig: self.contig,
            places: (self.first + path.window.0 as u32, self.first + path.window.1 as u32),
            aligned: (path.read.0 as u32, path.read.1 as u32),
            total: path.total,
            score: path.score,
            edits: path.edits,
            cigar: path.cigar,
            hope: path.total,
        }
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

/// What a stretch that grows has lost since it was best.
#[derive(Clone, Copy, Default)]
struct Loss(i32);

impl Loss {
    /// Adds a run of matches and the break behind it; whether more is lost than a stretch is followed for.
    fn exceeds(&mut self, matched: i32, cost: i32) -> bool {
        self.0 = (self.0 - matched).max(0) + cost;
        self.0 > LOSS_MAX
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
