//! Many problems at once, one in each lane of the vectors.
//!
//! Invariant: lanes do not see each other. A problem shorter or narrower than the widest of its group goes on over cells
//! that count for nothing.

use super::{
    DELETION_GOES_ON, FROM_DELETION, FROM_INSERTION, FROM_MATCH, FROM_START, INSERTION_GOES_ON, NEVER,
    OUTSIDE, Problem, Top,
};
use crate::align::Scoring;
use crate::sequence::UNKNOWN;
use crate::simd::Kernel;

/// Numbers of a vector at most.
pub const LANES_MAX: usize = 32;

/// Codes that equal no base: of an unknown one; of none, as the read is shorter than others.
const NO_BASE: i16 = 6;
const BEYOND: i16 = 7;

/// Arrays of vectors, reused. Lane `l` of vector `v` stands at `v * LANES + l`.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    numbers: Vec<i16>,
    /// Of each cell, row by row.
    pub steps: Vec<u8>,
    /// Of each problem.
    pub tops: Vec<Top>,
}

/// Cells of a group at most, in bytes of steps; memory is worth more than what larger ones would save.
const CELLS_MAX: usize = 1 << 22;

/// Problems to solve at once: at most as many as a vector has lanes.
pub struct Group<'a, 'b> {
    problems: &'a [Problem<'b>],
    members: &'a [usize],
    scoring: &'a Scoring,
    scratch: &'a mut Scratch,
}

impl<'a, 'b> Group<'a, 'b> {
    pub fn new(
        problems: &'a [Problem<'b>],
        members: &'a [usize],
        scoring: &'a Scoring,
        scratch: &'a mut Scratch,
    ) -> Self {
        Group { problems, members, scoring, scratch }
    }

    fn each(&self) -> impl Iterator<Item = &'a Problem<'b>> {
        let problems = self.problems;
        self.members.iter().map(move |&at| &problems[at])
    }

    /// Columns of the widest.
    pub fn width(&self) -> usize {
        self.each().map(|problem| problem.width).max().unwrap_or(0)
    }

    /// Rows of the longest.
    fn rows(&self) -> usize {
        self.each().map(|problem| problem.read.len()).max().unwrap_or(0)
    }

    /// Whether this costs less than one problem after the other: a cell of all lanes costs as much as 2.5 of one.
    pub fn is_worth_it(&self, lanes: usize) -> bool {
        let cells = self.rows() * self.width();
        let alone: usize = self.each().map(|problem| problem.read.len() * problem.width).sum();
        5 * cells < 2 * alone && cells * lanes <= CELLS_MAX
    }
}

impl Kernel for Group<'_, '_> {
    type Output = ();

    /// Fills steps and tops.
    #[inline(always)]
    fn run<const LANES: usize>(self) {
        let (rows, width) = (self.rows(), self.width());
        let Group { problems, members, scoring, scratch } = self;
        let problems = || members.iter().map(|&at| &problems[at]);
        let places = rows + width;
        let Scratch { numbers, steps, tops } = scratch;
        let parts = [rows, places, places, width, width, width + 1, width + 1];
        let parts = split::<LANES, 7>(numbers, parts);
        let [codes, bases, unequal, unknown, limits, best, insertion] = parts;
        steps.resize(steps.len().max(rows * width * LANES), FROM_START);
        let steps = steps.as_chunks_mut::<LANES>().0;

        load(problems(), codes, bases, limits);
        for (unequal, bases) in unequal.iter_mut().zip(&*bases) {
            score_unequal(bases, [-(scoring.mismatch as i16), -(scoring.unknown as i16)], unequal);
        }
        best.fill([NEVER; LANES]);
        insertion.fill([NEVER; LANES]);
        let mut lengths = [0; LANES];
        lengths.iter_mut().zip(problems()).for_each(|(length, problem)| *length = problem.read.len() as i16);

        let bonus = scoring.end_bonus as i16;
        let mut ends = Ends::none(lengths, bonus);
        for i in 0..rows {
            let code = codes[i];
            let mut others = &unequal[i..i + width];
            if code.iter().fold(false, |any, &code| any | (code == NO_BASE)) {
                for (unknown, unequal) in unknown.iter_mut().zip(others) {
                    score_no_base(&code, unequal, -(scoring.unknown as i16), unknown);
                }
                others = unknown;
            }
            let row = Row {
                code: &code,
                floor: if i == 0 { bonus } else { 0 },
                bases: &bases[i..i + width],
                others,
                limits,
            };
            let steps = &mut steps[i * width..(i + 1) * width];
            let (row_best, column) = fill(&row, scoring, best, insertion, steps);
            ends.improve(i as i16, &row_best, &column);
        }
        tops.clear();
        tops.extend((0..members.len()).map(|l| ends.top(l)));
    }
}

/// Where the best alignments end so far.
struct Ends<const LANES: usize> {
    lengths: [i16; LANES],
    bonus: i16,
    total: [i16; LANES],
    row: [i16; LANES],
    column: [i16; LANES],
}

impl<const LANES: usize> Ends<LANES> {
    #[inline(always)]
    fn none(lengths: [i16; LANES], bonus: i16) -> Self {
        Ends { lengths, bonus, total: [0; LANES], row: [0; LANES], column: [0; LANES] }
    }

    /// Takes what a row has where that is better. Its columns count from one.
    #[inline(always)]
    fn improve(&mut self, row: i16, best: &[i16; LANES], column: &[i16; LANES]) {
        for l in 0..LANES {
            let extra = if row + 1 == self.lengths[l] { self.bonus } else { 0 };
            let extra = if row < self.lengths[l] { extra } else { NEVER };
            let total = best[l] + extra;
            let is_better = total > self.total[l];
            self.total[l] = self.total[l].max(total);
            self.row[l] = if is_better { row } else { self.row[l] };
            self.column[l] = if is_better { column[l] - 1 } else { self.column[l] };
        }
    }

    #[inline(always)]
    fn top(&self, l: usize) -> Top {
        Top { total: i32::from(self.total[l]), row: self.row[l] as usize, column: self.column[l] as usize }
    }
}

/// Vectors for arrays of these lengths, aligned to the largest vector.
#[inline(always)]
fn split<const LANES: usize, const PARTS: usize>(
    numbers: &mut Vec<i16>,
    lengths: [usize; PARTS],
) -> [&mut [[i16; LANES]]; PARTS] {
    let total = lengths.iter().sum::<usize>() * LANES;
    numbers.resize(numbers.len().max(total + LANES_MAX), 0);
    let begin = numbers.as_ptr().align_offset(LANES_MAX * size_of::<i16>()).min(LANES_MAX);
    let mut rest = numbers[begin..begin + total].as_chunks_mut().0;
    lengths.map(|length| {
        let part;
        (part, rest) = std::mem::take(&mut rest).split_at_mut(length);
        part
    })
}

/// Lays reads and windows into their lanes. Only columns within a problem's width may hold a score.
#[inline(always)]
fn load<'a, 'b: 'a, const LANES: usize>(
    problems: impl Iterator<Item = &'a Problem<'b>>,
    codes: &mut [[i16; LANES]],
    bases: &mut [[i16; LANES]],
    limits: &mut [[i16; LANES]],
) {
    codes.fill([BEYOND; LANES]);
    bases.fill([OUTSIDE; LANES]);
    limits.fill([NEVER; LANES]);
    for (l, problem) in problems.enumerate() {
        for (into, &code) in codes.iter_mut().zip(problem.read) {
            into[l] = if code < UNKNOWN { i16::from(code) } else { NO_BASE };
        }
        let (before, from) = (problem.first.min(0).unsigned_abs(), problem.first.max(0));
        let before = usize::try_from(before).unwrap_or(usize::MAX).min(bases.len());
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(problem.window.len());
        for (into, &code) in bases[before..].iter_mut().zip(&problem.window[from..]) {
            into[l] = i16::from(code);
        }
        limits[..problem.width].iter_mut().for_each(|limit| limit[l] = i16::MAX);
    }
}

/// What bases give that do not equal the read's.
#[inline(always)]
fn score_unequal<const LANES: usize>(
    bases: &[i16; LANES],
    [mismatch, unknown]: [i16; 2],
    unequal: &mut [i16; LANES],
) {
    for l in 0..LANES {
        let score = if bases[l] == i16::from(UNKNOWN) { unknown } else { mismatch };
        unequal[l] = if bases[l] == OUTSIDE { NEVER } else { score };
    }
}

/// What bases give where the read's is unknown.
#[inline(always)]
fn score_no_base<const LANES: usize>(
    code: &[i16; LANES],
    unequal: &[i16; LANES],
    unknown: i16,
    score: &mut [i16; LANES],
) {
    for l in 0..LANES {
        let is_unknown = (code[l] == NO_BASE) & (unequal[l] != NEVER);
        score[l] = if is_unknown { unknown } else { unequal[l] };
    }
}

/// One row of the programs.
struct Row<'a, const LANES: usize> {
    code: &'a [i16; LANES],
    /// What an alignment that starts in this row starts from.
    floor: i16,
    bases: &'a [[i16; LANES]],
    /// Scores of bases that do not equal the read's.
    others: &'a [[i16; LANES]],
    limits: &'a [[i16; LANES]],
}

/// Fills a row in place, from left to right, with deletions at hand: its best scores and their first columns, from one.
///
/// No number gets below `NEVER` less one gap, as all are the larger of that and something; none exceeds the best score
/// of a read.
#[inline(always)]
fn fill<const LANES: usize>(
    row: &Row<LANES>,
    scoring: &Scoring,
    best: &mut [[i16; LANES]],
    insertion: &mut [[i16; LANES]],
    steps: &mut [[u8; LANES]],
) -> ([i16; LANES], [i16; LANES]) {
    let (open, extend) = ((scoring.gap_open + scoring.gap_extend) as i16, scoring.gap_extend as i16);
    let (matched, floor, code) = (scoring.matched as i16, row.floor, *row.code);
    let width = steps.len();
    let (bases, others, limits) = (&row.bases[..width], &row.others[..width], &row.limits[..width]);
    let (best, insertion) = (&mut best[..=width], &mut insertion[..=width]);
    let mut before = best[0];
    let mut deletion = [NEVER; LANES];
    let mut goes_on = [0u8; LANES];
    let (mut row_best, mut column, mut here) = ([NEVER; LANES], [1; LANES], [0i16; LANES]);
    for c in 0..width {
        let (above, above_inserted) = (best[c + 1], insertion[c + 1]);
        // Copies, so that the compiler sees that nothing overlaps.
        let (base, other, limit) = (bases[c], others[c], limits[c]);
        let (mut best_here, mut inserted_here) = ([0; LANES], [0; LANES]);
        let mut step = [0; LANES];
        for l in 0..LANES {
            let (opened, extended) = (above[l] - open, above_inserted[l] - extend);
            let inserted = opened.max(extended);
            inserted_here[l] = inserted;
            let substitution = if base[l] == code[l] { matched } else { other[l] };
            let matching = before[l].max(floor) + substitution;
            let without = matching.max(inserted);
            let with = without.max(deletion[l]).min(limit[l]);
            best_here[l] = with;
            let from = if before[l] > floor { FROM_MATCH } else { FROM_START };
            let from = if inserted > matching { FROM_INSERTION } else { from };
            let from = if deletion[l] > without { FROM_DELETION } else { from };
            let longer = if extended > opened { INSERTION_GOES_ON } else { 0 };
            step[l] = from | longer | goes_on[l];
            here[l] += 1;
            column[l] = if with > row_best[l] { here[l] } else { column[l] };
            row_best[l] = row_best[l].max(with);
            let (opened, extended) = (without - open, deletion[l] - extend);
            goes_on[l] = if extended > opened { DELETION_GOES_ON } else { 0 };
            deletion[l] = opened.max(extended);
        }
        (best[c], insertion[c], steps[c]) = (best_here, inserted_here, step);
        before = above;
    }
    (row_best, column)
}
