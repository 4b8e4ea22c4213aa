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
    /// Of the reference. The first window and the last of a contig are left out, as Picard does.
    pub fn new(reference: ReferenceWindow<'_>) -> Self {
        let codes = reference.codes;
        // C and G, 1 and 2, are the codes whose two low bits differ.
        let mut gc = in_windows(codes, |codes| codes ^ codes >> 1);
        if codes.iter().fold(0, |any, &code| any | code) > 3 {
            let unknown = in_windows(codes, |codes| codes >> 2);
            let says_nothing = gc.iter_mut().zip(unknown).filter(|&(_, unknown)| unknown > UNKNOWN_MAX);
            says_nothing.for_each(|(gc, _)| *gc = UNKNOWN);
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
        // In turn: neighbours are mostly alike, and would wait for each other's count.
        let mut counts = [[0u32; 256]; 4];
        for (at, &gc) in self.gc[at(first)..at(end)].iter().enumerate() {
            counts[at % 4][usize::from(gc)] += 1;
        }
        let rows = bias.rows.rows_mut(WINDOW_BASES + 1);
        for (gc, row) in rows.iter_mut().enumerate() {
            row[0] += counts.iter().map(|counts| u64::from(counts[gc])).sum::<u64>();
        }
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

/// In how many bases of each window the low bit is set of what `bits` makes of their codes, eight at a time: the difference
/// of two running counts, which are kept modulo 128 since no window has as many.
fn in_windows(codes: &[u8], bits: impl Fn(u64) -> u64) -> Vec<u8> {
    const EACH_BYTE: u64 = 0x0101_0101_0101_0101;
    const KEPT: u8 = 0x7f;
    const { assert!(WINDOW_BASES <= KEPT as usize) };
    let mut before = Vec::with_capacity(codes.len() + 8);
    let mut count = 0u64;
    let mut add = |eight: [u8; 8]| {
        let running = (bits(u64::from_le_bytes(eight)) & EACH_BYTE).wrapping_mul(EACH_BYTE);
        before.extend_from_slice(&(count + (running << 8)).to_le_bytes());
        count = (count + (running >> 56) * EACH_BYTE) & (u64::from(KEPT) * EACH_BYTE);
    };
    let (eights, rest) = codes.as_chunks();
    eights.iter().for_each(|&eight| add(eight));
    add(std::array::from_fn(|at| rest.get(at).copied().unwrap_or(0)));
    let windows = codes.len().saturating_sub(WINDOW_BASES);
    let ends = before.iter().skip(WINDOW_BASES);
    ends.zip(&before).take(windows).map(|(&end, &start)| end.wrapping_sub(start) & KEPT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_as_counted_one_by_one() {
        let mut seed = 5u64;
        let mut random = move |below: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) % below
        };
        for length in [0, 1, 99, 100, 101, 107, 108, 2000] {
            for letters in [4, 5] {
                // Stretches of one code, so that there are windows of it alone.
                let mut code = 0;
                let mut next = || {
                    code = if random(60) == 0 { random(letters) as u8 } else { code };
                    if random(3) == 0 { random(4) as u8 } else { code }
                };
                let codes: Vec<u8> = (0..length).map(|_| next()).collect();
                for start in [0, 7] {
                    let made = GcWindows::new(ReferenceWindow { contig: 0, start, codes: &codes });
                    let gc = |(at, window): (usize, &[u8])| {
                        let count =
                            |is: fn(u8) -> bool| window.iter().filter(|&&code| is(code)).count() as u8;
                        let says_nothing = count(|code| code > 3) > UNKNOWN_MAX || start == 0 && at == 0;
                        if says_nothing { UNKNOWN } else { count(|code| code == 1 || code == 2) }
                    };
                    let windows = codes.windows(WINDOW_BASES).take(codes.len().saturating_sub(WINDOW_BASES));
                    let expect: Vec<u8> = windows.enumerate().map(gc).collect();
                    assert_eq!(made.gc, expect, "{length} {letters} {start}");
                    let mut bias = GcBias::default();
                    made.count(start, start + 500, &mut bias);
                    let counted =
                        |gc: usize| expect.iter().take(500).filter(|&&seen| usize::from(seen) == gc).count();
                    assert!((0..=WINDOW_BASES).all(|gc| bias.rows.rows()[gc][0] == counted(gc) as u64));
                }
            }
        }
    }
}
