//! Coverage of a genome's cells: which runs of cells are a task, and how far it is.
//!
//! Invariant: spans never overlap, nor reach over the line between two parts of a file. What no span covers is a gap:
//! nobody has made it a task yet, or it was cut off one.

use crate::graph::Mark;
use jobs::genome::Cell;
use jobs::task::{Parts, Shard};
use std::collections::BTreeMap;
use std::ops::Range;

/// A run of cells that is one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    end: u32,
    mark: Mark,
}

/// The spans of one sample, or of the joint call.
#[derive(Clone, Debug)]
pub struct Coverage {
    spans: BTreeMap<u32, Span>,
    parts: Parts,
    /// By part: cells that are not done.
    open: Vec<u32>,
    done_cells: u32,
    /// Cells in spans.
    cells: u32,
}

/// The cells of a shard as numbers.
pub fn cells_of(shard: Shard) -> Range<u32> {
    match shard {
        Shard::Cells { first, end } => first.0..end.0,
        Shard::Unplaced => 0..0,
    }
}

/// A shard of these cells.
pub fn shard_of(cells: Range<u32>) -> Shard {
    Shard::Cells { first: Cell(cells.start), end: Cell(cells.end) }
}

impl Coverage {
    /// Nothing of these parts is a task yet.
    pub fn new(parts: Parts) -> Self {
        let open = (0..parts.count()).map(|part| parts.cells(part).len() as u32).collect();
        Coverage { spans: BTreeMap::new(), parts, open, done_cells: 0, cells: 0 }
    }

    /// The mark of exactly this span.
    pub fn mark(&self, cells: &Range<u32>) -> Option<Mark> {
        self.spans.get(&cells.start).filter(|span| span.end == cells.end).map(|span| span.mark)
    }

    /// Makes a gap a span. Refuses what overlaps another span.
    pub fn insert(&mut self, cells: Range<u32>, mark: Mark) -> bool {
        if cells.is_empty() || self.overlapping(cells.clone()).next().is_some() {
            return false;
        }
        self.cells += cells.len() as u32;
        self.spans.insert(cells.start, Span { end: cells.end, mark });
        self.count(&cells, mark, true);
        true
    }

    /// Marks an existing span anew.
    pub fn set(&mut self, cells: &Range<u32>, mark: Mark) {
        if let Some(span) = self.spans.get_mut(&cells.start) {
            let before = std::mem::replace(&mut span.mark, mark);
            self.count(cells, before, false);
            self.count(cells, mark, true);
        }
    }

    /// Makes a span a gap again.
    pub fn remove(&mut self, cells: &Range<u32>) {
        if let Some(span) = self.spans.remove(&cells.start) {
            self.cells -= cells.len() as u32;
            self.count(cells, span.mark, false);
        }
    }

    /// Ends a span earlier; the rest is a gap.
    pub fn shrink(&mut self, cells: &Range<u32>, end: u32) {
        if let Some(span) = self.spans.get_mut(&cells.start) {
            let mark = span.mark;
            span.end = end;
            self.cells -= cells.end - end;
            self.count(&(end..cells.end), mark, false);
        }
    }

    fn count(&mut self, cells: &Range<u32>, mark: Mark, in_: bool) {
        let (part, count) = (self.parts.at(cells.start) as usize, cells.len() as u32);
        match (mark == Mark::Done, in_) {
            (true, true) => {
                (self.done_cells, self.open[part]) = (self.done_cells + count, self.open[part] - count)
            }
            (true, false) => {
                (self.done_cells, self.open[part]) = (self.done_cells - count, self.open[part] + count)
            }
            (false, _) => {}
        }
    }

    /// How many parts are done, with all before them.
    pub fn done_parts(&self) -> u32 {
        self.open.iter().take_while(|&&open| open == 0).count() as u32
    }

    /// How many cells are done.
    pub fn done_cells(&self) -> u32 {
        self.done_cells
    }

    /// How many cells are in spans.
    pub fn cells(&self) -> u32 {
        self.cells
    }

    /// All spans in order.
    pub fn spans(&self) -> impl Iterator<Item = (Range<u32>, Mark)> {
        self.spans.iter().map(|(&first, span)| (first..span.end, span.mark))
    }

    /// The spans that share a cell with `cells`, in order.
    pub fn overlapping(&self, cells: Range<u32>) -> impl Iterator<Item = (Range<u32>, Mark)> {
        let before = self.spans.range(..cells.start).next_back();
        let before = before.filter(|(_, span)| span.end > cells.start);
        let from = before.map_or(cells.start, |(&first, _)| first);
        let until = cells.end.max(from);
        self.spans.range(from..until).map(|(&first, span)| (first..span.end, span.mark))
    }

    /// The gaps within `cells`, in order.
    pub fn gaps(&self, cells: Range<u32>) -> Vec<Range<u32>> {
        let mut gaps = Vec::new();
        let mut next = cells.start;
        for (span, _) in self.overlapping(cells.clone()) {
            if span.start > next {
                gaps.push(next..span.start);
            }
            next = next.max(span.end);
        }
        if next < cells.end {
            gaps.push(next..cells.end);
        }
        gaps
    }
}

/// Cuts a run of cells into pieces of about `target` each, never of more than `cells_max` cells, never within a cell.
/// Pieces are of equal cost as far as cells allow.
pub fn cut_evenly(
    cells: Range<u32>,
    target: f64,
    cells_max: u32,
    cost: impl Fn(u32) -> f64,
) -> Vec<Range<u32>> {
    let total: f64 = cells.clone().map(&cost).sum();
    let share = total / (total / target.max(f64::MIN_POSITIVE)).ceil().max(1.0);
    let mut pieces = Vec::new();
    let (mut first, mut sum) = (cells.start, 0.0);
    for cell in cells.clone() {
        let next = cost(cell);
        // The line stands where it is nearer to an equal share.
        let full = sum > 0.0 && sum + next / 2.0 > share;
        if cell > first && (full || cell - first >= cells_max) {
            pieces.push(first..cell);
            (first, sum) = (cell, 0.0);
        }
        sum += next;
    }
    if first < cells.end {
        pieces.push(first..cells.end);
    }
    pieces
}

/// Cuts a run of cells at the given lines.
pub fn cut_at(cells: Range<u32>, lines: &[u32]) -> Vec<Range<u32>> {
    let from = lines.partition_point(|&line| line <= cells.start);
    let mut first = cells.start;
    let inner = lines[from..].iter().copied().take_while(|&line| line < cells.end);
    let ends = inner.chain([cells.end]);
    ends.map(|end| std::mem::replace(&mut first, end)..end).filter(|piece| !piece.is_empty()).collect()
}

#[cfg(test)]
// Lists of ranges, some of one.
#[allow(clippy::single_range_in_vec_init)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_spans_share_out_the_cells() {
        let mut coverage = Coverage::new(Parts::of(640));
        assert!(coverage.insert(5..9, Mark::Done) && coverage.insert(12..13, Mark::Ready));
        assert!(!coverage.insert(8..10, Mark::Done) && !coverage.insert(3..6, Mark::Done));
        assert!(!coverage.insert(0..20, Mark::Done) && !coverage.insert(6..7, Mark::Done));
        assert_eq!(coverage.gaps(0..20), [0..5, 9..12, 13..20]);
        assert_eq!(coverage.gaps(6..8), []);
        assert_eq!(coverage.gaps(8..12), [9..12]);
        assert_eq!(coverage.done_cells(), 4);
        coverage.shrink(&(5..9), 6);
        assert_eq!((coverage.gaps(4..10), coverage.done_cells()), (vec![4..5, 6..10], 1));
        coverage.remove(&(5..6));
        assert_eq!((coverage.gaps(0..20), coverage.done_cells()), (vec![0..12, 13..20], 0));
    }

    #[test]
    fn cuts_are_even_in_cost_and_never_too_long() {
        let check = |cells: Range<u32>, target, cells_max, cost: fn(u32) -> f64, expect: &[Range<u32>]| {
            assert_eq!(cut_evenly(cells, target, cells_max, cost), expect);
        };
        check(0..8, 2.0, 100, |_| 1.0, &[0..2, 2..4, 4..6, 6..8]);
        check(0..8, 100.0, 3, |_| 1.0, &[0..3, 3..6, 6..8]);
        check(0..8, 100.0, 100, |_| 1.0, &[0..8]);
        // One deep cell stands alone, whatever it costs.
        check(0..6, 4.0, 100, |cell| if cell == 3 { 1000.0 } else { 0.1 }, &[0..3, 3..4, 4..6]);
        check(0..4, 1.0, 100, |_| 0.0, &[0..4]);
        check(3..3, 1.0, 100, |_| 1.0, &[]);
        check(0..9, 3.0, 100, |_| 1.0, &[0..3, 3..6, 6..9]);
    }

    #[test]
    fn forced_lines_are_where_cuts_are() {
        assert_eq!(cut_at(0..10, &[0, 4, 7]), [0..4, 4..7, 7..10]);
        assert_eq!(cut_at(4..7, &[0, 4, 7]), [4..7]);
        assert_eq!(cut_at(5..9, &[0, 4, 7, 12]), [5..7, 7..9]);
        assert_eq!(cut_at(5..6, &[]), [5..6]);
    }
}
