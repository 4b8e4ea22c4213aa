//! How many reads begin where the reference has how much GC, as Picard's CollectGcBiasMetrics counts it.
//!
//! A window is 100 bases of the reference. A read counts in the window at its 5' end; all windows of the genome say what
//! to expect. Invariant: a window belongs to the cell in which it begins, a read to the one in which it begins.

use serde::{Deserialize, Serialize};

use super::alignment::ReferenceWindow;
use super::histogram::Table;
use crate::record::{Record, flag};

/// Length of a window in bases; so GC in percent is GC in bases.
pub const WINDOW_BASES: usize = 100;

/// A window with more unknown bases says nothing.
const UNKNOWN_MAX: u8 = 4;

/// GC of a window that says nothing.
const UNKNOWN: u8 = u8::MAX;

/// Windows and reads by GC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcBias {
    /// By GC in percent: windows; reads that begin there; their bases; their differences from the reference.
    pub rows: Table<4>,
}

impl GcBias {
    /// Adds all counts of another part of the same sample.
    pub fn merge(&mut self, other: &Self) {
        self.rows.merge(&other.rows);
    }

    /// Reads per window of each GC against those per window of all; none where there is no such window, or no read.
    pub fn normalized(&self) -> Vec<Option<f64>> {
        let [windows, reads, ..] = self.rows.totals();
        let mean = reads as f64 / windows as f64;
        let of = |row: &[u64; 4]| (row[0] > 0 && reads > 0).then(|| row[1] as f64 / row[0] as f64 / mean);
        self.rows.rows().iter().map(of).collect()
    }
}

/// GC of every window that begins within a stretch of reference.
#[derive(Debug)]
pub struct GcWindows {
    start: i64,
    gc: Vec<u8>,
}

impl GcWindows {
    /// Slides over the reference. The first window and the last of a contig are left out, as Picard does.
    pub fn new(reference: ReferenceWindow<'_>) -> Self {
        let codes = reference.codes;
        let mut gc = Vec::with_capacity(codes.len().saturating_sub(WINDOW_BASES));
        let is_gc = |code: u8| u8::from(code == 1 || code == 2);
        let (mut bases, mut unknown) = (0u8, 0u8);
        for (end, &code) in codes.iter().enumerate() {
            if end >= WINDOW_BASES {
                gc.push(if unknown > UNKNOWN_MAX { UNKNOWN } else { bases });
                let left = codes[end - WINDOW_BASES];
                bases -= is_gc(left);
                unknown -= u8::from(left > 3);
            }
            bases += is_gc(code);
            unknown += u8::from(code > 3);
        }
        if reference.start == 0
            && let Some(first) = gc.first_mut()
        {
            *first = UNKNOWN;
        }
        GcWindows { start: i64::from(reference.start), gc }
    }

    /// Counts the windows that begin from `first` to before `end`.
    pub fn count(&self, first: u32, end: u32, bias: &mut GcBias) {
        let at = |position: u32| ((i64::from(position) - self.start).max(0) as usize).min(self.gc.len());
        let mut counts = [0u64; 256];
        self.gc[at(first)..at(end)].iter().for_each(|&gc| counts[usize::from(gc)] += 1);
        let rows = bias.rows.rows_mut(WINDOW_BASES + 1);
        rows.iter_mut().zip(counts).for_each(|(row, count)| row[0] += count);
    }

    /// Counts a mapped record with so many differences from the reference.
    pub fn add(&self, record: &Record<'_>, edits: u64, bias: &mut GcBias) {
        let start = i64::from(record.position());
        // On the forward strand the window begins one base late: so Picard has it.
        let window = match record.flag() & flag::REVERSE {
            0 => start + 1,
            _ => start + i64::from(record.reference_bases()) - WINDOW_BASES as i64,
        };
        let gc = usize::try_from(window - self.start).ok().and_then(|at| self.gc.get(at).copied());
        if let Some(gc) = gc.filter(|&gc| gc != UNKNOWN) {
            let row = &mut bias.rows.rows_mut(WINDOW_BASES + 1)[usize::from(gc)];
            row[1] += 1;
            row[2] += record.bases() as u64;
            row[3] += edits;
        }
    }
}
