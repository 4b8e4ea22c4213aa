//! Banded affine-gap alignment of a read to a window of the reference, ends free to be clipped.
//!
//! Invariant: the score is the best of all alignments inside the band, gaps stand as far left as that score allows.
//! It knows codes only, no places.

use super::Scoring;
use crate::sequence::UNKNOWN;

/// CIGAR operations as BAM numbers them.
pub(super) const MATCH: u32 = 0;
pub(super) const INSERTION: u32 = 1;
pub(super) const DELETION: u32 = 2;
pub(super) const CLIP: u32 = 4;

/// Fills what no alignment may touch: bases outside the window.
const OUTSIDE: i16 = 5;

/// Less than any score, far enough from the smallest i16 to be diminished by a read's worth of penalties.
const NEVER: i16 = -16_000;

const FROM_START: u8 = 0;
const FROM_MATCH: u8 = 1;
const FROM_INSERTION: u8 = 2;
const FROM_DELETION: u8 = 3;
const FROM: u8 = 3;
const INSERTION_GOES_ON: u8 = 4;
const DELETION_GOES_ON: u8 = 8;

/// Rows of the dynamic program, reused.
#[derive(Clone, Debug, Default)]
pub(super) struct Band {
    window: Vec<i16>,
    best: Vec<i16>,
    best_before: Vec<i16>,
    insertion: Vec<i16>,
    insertion_before: Vec<i16>,
    deletion: Vec<i16>,
    steps: Vec<u8>,
}

/// The best alignment of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// Score and bonuses for unclipped ends.
    pub total: i32,
    /// Score without the bonuses.
    pub score: i32,
    /// First aligned base of the read, and one past the last.
    pub read: (usize, usize),
    /// First aligned base of the window, and one past the last.
    pub window: (usize, usize),
    /// Mismatches and gap bases.
    pub edits: u32,
}

/// Aligns `read` to `window`: base `i` of the read may meet bases `first + i` to `first + i + width - 1` of the window.
/// The CIGAR, without clips, is appended to `cigar`. `None` if nothing scores above zero.
///
/// Row by row, H the best score that ends here, E with a deletion, F with an insertion (Gotoh 1982):
/// `H(i,j) = max(max(H(i-1,j-1), 0) + s(i,j), E(i,j), F(i,j))`; about 3 ns a cell.
pub(super) fn align(
    read: &[u8],
    window: &[u8],
    first: i64,
    width: usize,
    scoring: &Scoring,
    band: &mut Band,
    cigar: &mut Vec<u32>,
) -> Option<Path> {
    let Band { window: padded, best, best_before, insertion, insertion_before, deletion, steps } = band;
    padded.clear();
    padded.extend((0..(read.len() + width) as i64).map(|offset| {
        usize::try_from(first + offset).ok().and_then(|at| window.get(at)).map_or(OUTSIDE, |&code| i16::from(code))
    }));
    for row in [&mut *best, best_before, insertion, insertion_before, deletion] {
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
        fill(&row, scoring, best, insertion, deletion, &mut steps[i * width..(i + 1) * width]);
        let extra = if i + 1 == read.len() { bonus } else { 0 };
        let row_best = best[..width].iter().fold(NEVER, |a, &b| a.max(b));
        if row_best + extra > top.0 {
            let column = best.iter().position(|&score| score == row_best).expect("the row's largest is in the row");
            top = (row_best + extra, i, column);
        }
    }
    (top.0 > 0).then(|| trace(read, padded, first, width, steps, top, scoring, cigar))
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

/// Fills a row: all cells without deletions, which are independent; deletions, each from its left neighbour; both
/// together. The first and the last loop are the compiler's to turn into vectors.
#[inline(never)]
fn fill(row: &Row, scoring: &Scoring, best: &mut [i16], insertion: &mut [i16], deletion: &mut [i16], steps: &mut [u8]) {
    let width = row.window.len();
    let (open, extend) = ((scoring.gap_open + scoring.gap_extend) as i16, scoring.gap_extend as i16);
    let unknown = -(scoring.unknown as i16);
    let known = row.code < i16::from(UNKNOWN);
    let matched = if known { scoring.matched as i16 } else { unknown };
    let mismatch = if known { -(scoring.mismatch as i16) } else { unknown };
    let (code, floor) = (row.code, row.floor);
    let (window, before, insertion_before) = (row.window, &row.before[..=width], &row.insertion_before[..=width]);
    let (best, insertion, deletion) = (&mut best[..width], &mut insertion[..width], &mut deletion[..=width]);
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
    // Opening a gap from a deletion never beats lengthening it, so the cells before deletions suffice.
    let mut deleted = NEVER;
    for c in 0..width {
        deletion[c] = deleted;
        deleted = (deleted - extend).max(best[c] - open).max(NEVER);
    }
    for c in 0..width {
        let from = if deletion[c] > best[c] { steps[c] & !FROM | FROM_DELETION } else { steps[c] };
        steps[c] = from;
    }
    for c in (1..width).rev() {
        let goes_on = deletion[c - 1] - extend > best[c - 1] - open;
        steps[c] |= if goes_on { DELETION_GOES_ON } else { 0 };
    }
    for c in 0..width {
        best[c] = best[c].max(deletion[c]);
    }
}

/// Walks back from the best cell; matches are preferred, so gaps end up as far left as possible.
#[expect(clippy::too_many_arguments, reason = "the program's whole state, used once")]
fn trace(
    read: &[u8],
    padded: &[i16],
    first: i64,
    width: usize,
    steps: &[u8],
    top: (i16, usize, usize),
    scoring: &Scoring,
    cigar: &mut Vec<u32>,
) -> Path {
    let (total, mut i, mut c) = (i32::from(top.0), top.1, top.2);
    let read_end = i + 1;
    let window_end = i + c + 1;
    let from_here = cigar.len();
    let mut edits = 0;
    let mut push = |operation: u32| match cigar[from_here..].last_mut() {
        Some(last) if *last & 15 == operation => *last += 16,
        _ => cigar.push(16 | operation),
    };
    let mut state = steps[i * width + c] & FROM;
    loop {
        let step = steps[i * width + c];
        match state {
            FROM_INSERTION => {
                push(INSERTION);
                edits += 1;
                i -= 1;
                c += 1;
                state = if step & INSERTION_GOES_ON != 0 { FROM_INSERTION } else { steps[i * width + c] & FROM };
            }
            FROM_DELETION => {
                push(DELETION);
                edits += 1;
                c -= 1;
                state = if step & DELETION_GOES_ON != 0 { FROM_DELETION } else { steps[i * width + c] & FROM };
            }
            _ => {
                push(MATCH);
                let base = i16::from(read[i]);
                edits += u32::from(base != padded[i + c] || base == i16::from(UNKNOWN));
                if state == FROM_START {
                    break;
                }
                i -= 1;
                state = steps[i * width + c] & FROM;
            }
        }
    }
    cigar[from_here..].reverse();
    let bonuses = i32::from(i == 0) + i32::from(read_end == read.len());
    let window = ((first + (i + c) as i64) as usize, (first + window_end as i64) as usize);
    Path { total, score: total - bonuses * scoring.end_bonus, read: (i, read_end), window, edits }
}
