//! One problem, its columns in the lanes of the vectors: where there are too few problems to fill lanes.

use super::{
    DELETION_GOES_ON, FROM, FROM_DELETION, FROM_INSERTION, FROM_MATCH, FROM_START, INSERTION_GOES_ON, NEVER,
    OUTSIDE, Problem, Top,
};
use crate::align::Scoring;
use crate::sequence::UNKNOWN;

/// Rows of the dynamic program, reused.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    window: Vec<i16>,
    best: Vec<i16>,
    best_before: Vec<i16>,
    insertion: Vec<i16>,
    insertion_before: Vec<i16>,
    deletion: Vec<i16>,
    longer: Vec<i16>,
    /// Of each cell, row by row.
    pub steps: Vec<u8>,
}

/// Fills the steps.
pub fn fill(problem: &Problem, scoring: &Scoring, scratch: &mut Scratch) -> Top {
    let &Problem { read, window, first, width } = problem;
    if width == 0 {
        return Top::default();
    }
    let Scratch { window: padded, best, best_before, insertion, insertion_before, deletion, longer, steps } =
        scratch;
    padded.clear();
    padded.extend((0..(read.len() + width) as i64).map(|offset| {
        usize::try_from(first + offset)
            .ok()
            .and_then(|at| window.get(at))
            .map_or(OUTSIDE, |&code| i16::from(code))
    }));
    for row in [&mut *best, best_before, insertion, insertion_before, deletion, longer] {
        row.clear();
        row.resize(width + 1, NEVER);
    }
    steps.clear();
    steps.resize(read.len() * width, FROM_START);
    let bonus = scoring.end_bonus as i16;
    let mut top = (0i16, 0usize, 0usize);
    for (i, &code) in read.iter().enumerate() {
        std::mem::swap(best, best_before);
        std::mem::swap(insertion, insertion_before);
        let row = Row {
            code: i16::from(code),
            floor: if i == 0 { bonus } else { 0 },
            window: &padded[i..i + width],
            before: best_before,
            insertion_before,
        };
        fill_row(&row, scoring, best, insertion, [deletion, longer], &mut steps[i * width..(i + 1) * width]);
        let extra = if i + 1 == read.len() { bonus } else { 0 };
        let row_best = best[..width].iter().fold(NEVER, |a, &b| a.max(b));
        if row_best + extra > top.0 {
            let column =
                best.iter().position(|&score| score == row_best).expect("the row's largest is in the row");
            top = (row_best + extra, i, column);
        }
    }
    Top { total: i32::from(top.0), row: top.1, column: top.2 }
}

/// One row of the program.
struct Row<'a> {
    code: i16,
    /// What an alignment that starts in this row starts from.
    floor: i16,
    window: &'a [i16],
    before: &'a [i16],
    insertion_before: &'a [i16],
}

/// Fills a row: all cells without deletions; deletions; both together. Every loop is the compiler's to turn into vectors.
#[inline(always)]
fn fill_row(
    row: &Row,
    scoring: &Scoring,
    best: &mut [i16],
    insertion: &mut [i16],
    [deletion, longer]: [&mut [i16]; 2],
    steps: &mut [u8],
) {
    let width = row.window.len();
    let (open, extend) = ((scoring.gap_open + scoring.gap_extend) as i16, scoring.gap_extend as i16);
    let unknown = -(scoring.unknown as i16);
    let known = row.code < i16::from(UNKNOWN);
    let matched = if known { scoring.matched as i16 } else { unknown };
    let mismatch = if known { -(scoring.mismatch as i16) } else { unknown };
    let (code, floor) = (row.code, row.floor);
    let (window, before, insertion_before) =
        (row.window, &row.before[..=width], &row.insertion_before[..=width]);
    let (best, insertion, deletion) = (&mut best[..width], &mut insertion[..width], &mut deletion[..width]);
    let longer = &mut longer[..width];
    let steps = &mut steps[..width];
    for c in 0..width {
        let base = window[c];
        let substitution = if base == code { matched } else { mismatch };
        let substitution = if base == i16::from(UNKNOWN) { unknown } else { substitution };
        let substitution = if base == OUTSIDE { NEVER } else { substitution };
        let matching = before[c].max(floor) + substitution;
        let (opened, extended) = (before[c + 1] - open, insertion_before[c + 1] - extend);
        let inserted = opened.max(extended).max(NEVER);
        insertion[c] = inserted;
        best[c] = matching.max(inserted).max(NEVER);
        let from = if before[c] > floor { FROM_MATCH } else { FROM_START };
        let from = if inserted > matching { FROM_INSERTION } else { from };
        steps[c] = from | if extended > opened { INSERTION_GOES_ON } else { 0 };
    }
    // Opening a gap from a deletion never beats lengthening it, so the cells before deletions suffice. Each pass doubles
    // the length of the deletions seen, its cells being independent.
    let (mut deletion, mut longer) = (deletion, longer);
    deletion[0] = NEVER;
    for (deletion, &best) in deletion[1..].iter_mut().zip(&*best) {
        *deletion = best - open;
    }
    let mut reach = 1;
    while reach < width {
        let (near, far) = longer.split_at_mut(reach);
        near.copy_from_slice(&deletion[..reach]);
        for ((longer, &shorter), &left) in far.iter_mut().zip(&deletion[reach..]).zip(&*deletion) {
            *longer = shorter.max(left - extend * reach as i16).max(NEVER);
        }
        std::mem::swap(&mut deletion, &mut longer);
        reach *= 2;
    }
    for ((step, &deletion), &best) in steps[1..].iter_mut().zip(&*deletion).zip(&*best) {
        *step |= if deletion - extend > best - open { DELETION_GOES_ON } else { 0 };
    }
    for ((step, &deletion), best) in steps.iter_mut().zip(&*deletion).zip(best) {
        *step = if deletion > *best { *step & !FROM | FROM_DELETION } else { *step };
        *best = deletion.max(*best);
    }
}
