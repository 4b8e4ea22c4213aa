//! Banded affine-gap alignment of a read to a window of the reference, ends free to be clipped.
//!
//! Invariant: the score is the best of all alignments inside the band, gaps stand as far left as that score allows.
//! It knows codes only, no places.

mod lanes;
mod row;
#[cfg(test)]
mod tests;

use super::{READ_BASES_MAX, Scoring};
use crate::sequence::UNKNOWN;
use crate::simd::Level;
use lanes::Group;

/// CIGAR operations as BAM numbers them.
pub(super) const MATCH: u32 = 0;
pub(super) const INSERTION: u32 = 1;
pub(super) const DELETION: u32 = 2;
pub(super) const CLIP: u32 = 4;

/// Fills what no alignment may touch: bases outside the window.
const OUTSIDE: i16 = 5;

/// What an equal base may score at most for numbers to stay in range.
const MATCHED_MAX: i32 = 12;

/// Less than any score even when the best of a read is added, and twice it is no less than the smallest i16.
const NEVER: i16 = -16_000;

const _: () = assert!(READ_BASES_MAX as i32 * MATCHED_MAX + 3 * 50 < -(NEVER as i32));

const FROM_START: u8 = 0;
const FROM_MATCH: u8 = 1;
const FROM_INSERTION: u8 = 2;
const FROM_DELETION: u8 = 3;
const FROM: u8 = 3;
const INSERTION_GOES_ON: u8 = 4;
const DELETION_GOES_ON: u8 = 8;

/// Scratch of the dynamic programs.
#[derive(Clone, Debug, Default)]
pub(super) struct Band {
    lanes: lanes::Scratch,
    row: row::Scratch,
    order: Vec<usize>,
}

/// A read to align: base `i` of it may meet bases `first + i` to `first + i + width - 1` of the window. Reads are no longer
/// than [`READ_BASES_MAX`], widths fit 15 bits.
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
    ///
    /// Row by row, H the best score that ends here, E with a deletion, F with an insertion (Gotoh 1982):
    /// `H(i,j) = max(max(H(i-1,j-1), 0) + s(i,j), E(i,j), F(i,j))`.
    pub fn align(
        &mut self,
        level: Level,
        problems: &[Problem],
        scoring: &Scoring,
        cigars: &mut Vec<u32>,
        paths: &mut Vec<Option<Path>>,
    ) {
        debug_assert!(scoring.matched <= MATCHED_MAX);
        paths.clear();
        paths.resize(problems.len(), None);
        self.order.clear();
        self.order.extend(0..problems.len());
        self.order.sort_unstable_by_key(|&at| (problems[at].width, problems[at].read.len(), at));
        let Band { lanes, row, order } = self;
        let mut rest = &order[..];
        while let Some(&first) = rest.first() {
            let width_max = problems[first].width + problems[first].width / 2;
            let similar = rest.iter().take(level.lanes()).take_while(|&&at| problems[at].width <= width_max);
            let (members, later) = rest.split_at(similar.count());
            rest = later;
            let group = Group::new(problems, members, scoring, lanes);
            if group.is_worth_it(level.lanes()) {
                let width = group.width();
                level.run(group);
                for (lane, (&at, top)) in members.iter().zip(&lanes.tops).enumerate() {
                    let steps = Steps { steps: &lanes.steps[lane..], stride: level.lanes(), width };
                    paths[at] = trace(&problems[at], &steps, top, scoring, cigars);
                }
            } else {
                for &at in members {
                    let top = row::fill(&problems[at], scoring, row);
                    let steps = Steps { steps: &row.steps, stride: 1, width: problems[at].width };
                    paths[at] = trace(&problems[at], &steps, &top, scoring, cigars);
                }
            }
        }
    }
}

/// Where the best alignment of a problem ends.
#[derive(Clone, Copy, Debug, Default)]
pub struct Top {
    /// Its score and bonuses; 0 if there is none.
    total: i32,
    row: usize,
    column: usize,
}

/// How each cell of a problem was reached.
struct Steps<'a> {
    steps: &'a [u8],
    /// From a cell to the next of its row.
    stride: usize,
    /// Cells of a row.
    width: usize,
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

/// The path that ends at `top`: back cell by cell for its CIGAR, then all else from that.
fn trace(
    problem: &Problem,
    steps: &Steps,
    top: &Top,
    scoring: &Scoring,
    cigars: &mut Vec<u32>,
) -> Option<Path> {
    if top.total <= 0 {
        return None;
    }
    let begin = cigars.len();
    walk_back(steps, top, cigars);
    let cigar = &mut cigars[begin..];
    cigar.reverse();
    let (read_end, window_end) = (top.row + 1, (problem.first + (top.row + top.column) as i64 + 1) as usize);
    let length =
        |other| cigar.iter().filter(|&&word| word & 15 != other).map(|word| (word >> 4) as usize).sum();
    let (read_bases, window_bases): (usize, usize) = (length(DELETION), length(INSERTION));
    let (read, window) = ((read_end - read_bases, read_end), (window_end - window_bases, window_end));
    let bonuses = i32::from(read.0 == 0) + i32::from(read_end == problem.read.len());
    Some(Path {
        total: top.total,
        score: top.total - bonuses * scoring.end_bonus,
        read,
        window,
        edits: edits(&problem.read[read.0..], &problem.window[window.0..], cigar),
        cigar: (begin as u32, cigars.len() as u32),
    })
}

/// The operations from the best cell to the first; matches are preferred, so gaps end up as far left as possible.
fn walk_back(&Steps { steps, stride, width }: &Steps, top: &Top, cigars: &mut Vec<u32>) {
    let (begin, row) = (cigars.len(), width * stride);
    let mut at = top.row * row + top.column * stride;
    let mut state = steps[at] & FROM;
    loop {
        let mut length = 1;
        let operation = match state {
            FROM_INSERTION => {
                while steps[at] & INSERTION_GOES_ON != 0 {
                    (at, length) = (at - row + stride, length + 1);
                }
                at = at - row + stride;
                INSERTION
            }
            FROM_DELETION => {
                while steps[at] & DELETION_GOES_ON != 0 {
                    (at, length) = (at - stride, length + 1);
                }
                at -= stride;
                DELETION
            }
            _ => {
                while state == FROM_MATCH {
                    at -= row;
                    state = steps[at] & FROM;
                    length += u32::from(state == FROM_MATCH || state == FROM_START);
                }
                MATCH
            }
        };
        match cigars[begin..].last_mut() {
            Some(last) if *last & 15 == operation => *last += length << 4,
            _ => cigars.push(length << 4 | operation),
        }
        if state == FROM_START {
            return;
        }
        state = steps[at] & FROM;
    }
}

/// Mismatches, unknown bases and gap bases of a path that begins where `read` and `window` do.
fn edits(mut read: &[u8], mut window: &[u8], cigar: &[u32]) -> u32 {
    let mut edits = 0;
    for word in cigar {
        let length = (word >> 4) as usize;
        match word & 15 {
            INSERTION => read = &read[length..],
            DELETION => window = &window[length..],
            _ => {
                let (here, there);
                (here, read) = read.split_at(length);
                (there, window) = window.split_at(length);
                let differ = |(&a, &b): (&u8, &u8)| u32::from((a != b) | (a >= UNKNOWN));
                edits += here.iter().zip(there).map(differ).sum::<u32>();
                continue;
            }
        }
        edits += length as u32;
    }
    edits
}
