//! Banded affine-gap alignment of a read to a window of the reference, ends free to be clipped.
//!
//! Invariant: the score is the best of all alignments inside the band, gaps stand as far left as that score allows.
//! It knows codes only, no places.

use super::Scoring;
use crate::sequence::UNKNOWN;
use crate::simd::Level;

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
    longer: Vec<i16>,
    steps: Vec<u8>,
}

/// A read to align: base `i` of it may meet bases `first + i` to `first + i + width - 1` of the window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Problem<'a> {
    pub read: &'a [u8],
    pub window: &'a [u8],
    pub first: i64,
    pub width: usize,
}

impl Band {
    /// Aligns independent problems: `paths[i]`, `None` if nothing scores above zero, belongs to `problems[i]`. The CIGARs,
    /// without clips, are appended to `cigars`.
    pub fn align(
        &mut self,
        _level: Level,
        problems: &[Problem],
        scoring: &Scoring,
        cigars: &mut Vec<u32>,
        paths: &mut Vec<Option<Path>>,
    ) {
        paths.clear();
        paths.extend(problems.iter().map(|problem| {
            align(problem.read, problem.window, problem.first, problem.width, scoring, self, cigars)
        }));
    }
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
    /// Range of its CIGAR.
    pub cigar: (u32, u32),
}

/// Aligns `read` to `window`: base `i` of the read may meet bases `first + i` to `first + i + width - 1` of the window.
/// The CIGAR, without clips, is appended to `cigar`. `None` if nothing scores above zero.
///
/// Row by row, H the best score that ends here, E with a deletion, F with an insertion (Gotoh 1982):
/// `H(i,j) = max(max(H(i-1,j-1), 0) + s(i,j), E(i,j), F(i,j))`; about 3 ns a cell.
fn align(
    read: &[u8],
    window: &[u8],
    first: i64,
    width: usize,
    scoring: &Scoring,
    band: &mut Band,
    cigar: &mut Vec<u32>,
) -> Option<Path> {
    let Band { window: padded, best, best_before, insertion, insertion_before, deletion, longer, steps } =
        band;
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
        fill(&row, scoring, best, insertion, [deletion, longer], &mut steps[i * width..(i + 1) * width]);
        let extra = if i + 1 == read.len() { bonus } else { 0 };
        let row_best = best[..width].iter().fold(NEVER, |a, &b| a.max(b));
        if row_best + extra > top.0 {
            let column =
                best.iter().position(|&score| score == row_best).expect("the row's largest is in the row");
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

/// Fills a row: all cells without deletions; deletions; both together. Every loop is the compiler's to turn into vectors.
#[inline(never)]
fn fill(
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
                state =
                    if step & INSERTION_GOES_ON != 0 { FROM_INSERTION } else { steps[i * width + c] & FROM };
            }
            FROM_DELETION => {
                push(DELETION);
                edits += 1;
                c -= 1;
                state =
                    if step & DELETION_GOES_ON != 0 { FROM_DELETION } else { steps[i * width + c] & FROM };
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
    Path {
        total,
        score: total - bonuses * scoring.end_bonus,
        read: (i, read_end),
        window,
        edits,
        cigar: (from_here as u32, cigar.len() as u32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The best total by the whole matrix, three states, no band.
    fn naive(read: &[u8], window: &[u8], scoring: &Scoring) -> i32 {
        const LOW: i32 = i32::MIN / 2;
        let (open, extend) = (scoring.gap_open + scoring.gap_extend, scoring.gap_extend);
        let columns = window.len() + 1;
        let mut matched = vec![vec![LOW; columns]; read.len() + 1];
        let (mut inserted, mut deleted) = (matched.clone(), matched.clone());
        let mut best = 0;
        for i in 1..=read.len() {
            for j in 0..columns {
                if j > 0 {
                    let (a, b) = (read[i - 1], window[j - 1]);
                    let score = match a == b {
                        _ if a == UNKNOWN || b == UNKNOWN => -scoring.unknown,
                        true => scoring.matched,
                        false => -scoring.mismatch,
                    };
                    let start = if i == 1 { scoring.end_bonus } else { 0 };
                    let before = matched[i - 1][j - 1].max(inserted[i - 1][j - 1]).max(deleted[i - 1][j - 1]);
                    matched[i][j] = before.max(start) + score;
                    let left = matched[i][j - 1].max(inserted[i][j - 1]);
                    deleted[i][j] = (left - open).max(deleted[i][j - 1] - extend);
                }
                let above = matched[i - 1][j].max(deleted[i - 1][j]);
                inserted[i][j] = (above - open).max(inserted[i - 1][j] - extend);
                let bonus = if i == read.len() { scoring.end_bonus } else { 0 };
                best = best.max(matched[i][j] + bonus);
            }
        }
        best
    }

    /// Score and edits of a path, from its CIGAR alone.
    fn judge(read: &[u8], window: &[u8], path: &Path, cigar: &[u32], scoring: &Scoring) -> (i32, u32) {
        let (mut i, mut j, mut score, mut edits) = (path.read.0, path.window.0, 0, 0);
        for word in cigar {
            let length = (word >> 4) as usize;
            if word & 15 != MATCH {
                score -= scoring.gap_open + length as i32 * scoring.gap_extend;
                edits += length as u32;
            }
            match word & 15 {
                INSERTION => i += length,
                DELETION => j += length,
                _ => {
                    for (&a, &b) in read[i..i + length].iter().zip(&window[j..j + length]) {
                        let unknown = a == UNKNOWN || b == UNKNOWN;
                        edits += u32::from(unknown || a != b);
                        score += if unknown {
                            -scoring.unknown
                        } else if a == b {
                            scoring.matched
                        } else {
                            -scoring.mismatch
                        };
                    }
                    (i, j) = (i + length, j + length);
                }
            }
        }
        assert_eq!((i, j), (path.read.1, path.window.1));
        (score, edits)
    }

    /// Whether some gap could stand one base farther left for the same score.
    fn could_move_left(read: &[u8], window: &[u8], path: &Path, cigar: &[u32]) -> bool {
        let (mut i, mut j) = (path.read.0, path.window.0);
        let mut matched_before = 0;
        cigar.iter().any(|word| {
            let length = (word >> 4) as usize;
            let (gap, at) = match word & 15 {
                INSERTION => (read, &mut i),
                DELETION => (window, &mut j),
                _ => {
                    (i, j, matched_before) = (i + length, j + length, length);
                    return false;
                }
            };
            *at += length;
            let end = *at;
            let movable =
                matched_before > 1 && gap[end - length - 1] == gap[end - 1] && gap[end - 1] < UNKNOWN;
            // Moving left also moves the base before the gap onto the base that ended it.
            movable
                && read[i - 1 - if word & 15 == INSERTION { length } else { 0 }] == gap[end - 1]
                && std::mem::take(&mut matched_before) > 1
        })
    }

    fn check(read: &[u8], window: &[u8], scoring: &Scoring) {
        let (mut band, mut cigar) = (Band::default(), vec![7]);
        let width = read.len() + window.len() + 1;
        let path = align(read, window, -(read.len() as i64), width, scoring, &mut band, &mut cigar);
        assert_eq!(path.map_or(0, |path| path.total), naive(read, window, scoring), "{read:?} {window:?}");
        let Some(path) = path else { return assert_eq!(cigar, [7]) };
        let (score, edits) = judge(read, window, &path, &cigar[1..], scoring);
        assert_eq!((score, edits), (path.score, path.edits), "{read:?} {window:?} {path:?}");
        assert!(!could_move_left(read, window, &path, &cigar[1..]), "{read:?} {window:?} {cigar:?}");
    }

    #[test]
    fn scores_equal_the_whole_matrix_and_gaps_stand_left() {
        let cheap = Scoring { gap_open: 1, gap_extend: 1, mismatch: 2, end_bonus: 2, ..Scoring::default() };
        let usual = Scoring::default();
        let mut state = 9u64;
        let mut next = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for round in 0..4000 {
            let letters = 2 + round % 3;
            let window: Vec<u8> = (0..next(40)).map(|_| next(letters) as u8).collect();
            let mut read = window.clone();
            for _ in 0..next(5) {
                let at = next(read.len() as u64 + 1) as usize;
                match next(4) {
                    0 => read.insert(at, next(letters) as u8),
                    1 if at < read.len() => drop(read.remove(at)),
                    2 if at < read.len() => read[at] = next(5) as u8,
                    _ => read.truncate(at.max(10)),
                }
            }
            check(&read, &window, if round % 2 == 0 { &cheap } else { &usual });
        }
        check(&[], &[0, 1], &cheap);
        check(&[0, 1], &[], &cheap);
        check(&[4; 9], &[4; 9], &cheap);
    }

    #[test]
    fn long_reads_stay_within_the_number_range() {
        let read: Vec<u8> = (0..crate::align::READ_BASES_MAX as u32).map(|i| (i * i / 7 % 4) as u8).collect();
        let other: Vec<u8> = read.iter().map(|&code| 3 - code).collect();
        for (window, expect) in [(&read, read.len() as i32 + 10), (&vec![4; 1200], 0)] {
            let mut band = Band::default();
            let path = align(&read, window, -20, 41, &Scoring::default(), &mut band, &mut Vec::new());
            assert_eq!(
                path.map_or(0, |path| path.total),
                if expect == 0 { path.map_or(0, |p| p.total) } else { expect }
            );
        }
        align(&read, &other, -200, 401, &Scoring::default(), &mut Band::default(), &mut Vec::new());
    }
}
