//! Records to counters: the part of quality control that runs for every base.
//!
//! Per read: unpack the bases (two to a byte); for each base one count in a table of cycle by base and one in a table of
//! cycle by quality; compare with the reference sixteen bases at a time. The tables are of 16 bits, so that those of a
//! read's cycles stay in the nearest cache, and are emptied into the counters before any of them can overflow.
//! Invariant: [`AlignmentTally::finish`] gives sums over the records added, however often tables were emptied.

use super::alignment::{
    AlignmentCounters, CYCLES_MAX, MateCounters, QUALITIES, READ_LENGTH_MAX, ReferenceWindow,
};
use super::gc_bias::GcWindows;
use crate::record::{Record, flag};

/// Counts the records of one cell, or those without a place.
#[derive(Debug)]
pub struct AlignmentTally<'a> {
    counters: AlignmentCounters,
    reference: Option<(ReferenceWindow<'a>, GcWindows)>,
    cycles: [CycleTables; 2],
    sequence: Vec<u8>,
}

/// Counts by cycle of one mate that are not in its counters yet.
#[derive(Debug, Default)]
struct CycleTables {
    quality: Vec<[u16; QUALITIES]>,
    composition: Vec<[u16; 8]>,
    /// The most that any of them can be.
    most: usize,
}

impl<'a> AlignmentTally<'a> {
    /// Nothing counted yet. Mismatches and GC are counted where `reference` has the bases: pass the cell's, and of the
    /// halo always as much as there is, since how far it reaches can be seen in the counts.
    pub fn new(reference: Option<ReferenceWindow<'a>>) -> Self {
        AlignmentTally {
            counters: AlignmentCounters::default(),
            reference: reference.map(|window| (window, GcWindows::new(window))),
            cycles: Default::default(),
            sequence: Vec::new(),
        }
    }

    /// Counts one record.
    pub fn add(&mut self, record: &Record<'_>) {
        let flags = record.flag();
        let mapped = flags & flag::UNMAPPED == 0;
        self.counters.reads.add(record);
        let edits = if mapped { record.tag(b"NM").and_then(integer).unwrap_or(0) } else { 0 };
        if mapped
            && let Some((window, gc)) = &self.reference
            && i64::from(record.contig()) == i64::from(window.contig)
        {
            gc.add(record, edits, &mut self.counters.gc_bias);
        }
        if flags & flag::SECONDARY != 0 {
            return;
        }
        let bases = record.bases() as u64;
        self.counters.duplicate_bases += if flags & flag::DUPLICATE != 0 { bases } else { 0 };
        if flags & flag::SUPPLEMENTARY != 0 {
            let aligned = record.cigar().filter(|packed| matches!(packed & 15, 0 | 1 | 7 | 8));
            self.counters.supplementary_aligned_bases +=
                aligned.map(|packed| u64::from(packed >> 4)).sum::<u64>();
            self.counters.supplementary_edit_distance += edits;
            return;
        }
        self.add_read(record);
        if mapped {
            self.counters.mapped_bases += bases;
            self.counters.edit_distance += edits;
            self.add_alignment(record);
        }
    }

    /// The counts. Windows of GC are counted in those that begin from `first` to before `end`.
    pub fn finish(mut self, first: u32, end: u32) -> AlignmentCounters {
        for (tables, mate) in self.cycles.iter_mut().zip(&mut self.counters.mates) {
            tables.empty_into(mate);
        }
        if let Some((_, gc)) = &self.reference {
            gc.count(first, end, &mut self.counters.gc_bias);
        }
        self.counters
    }

    /// What the instrument read: length, bases and qualities by cycle.
    fn add_read(&mut self, record: &Record<'_>) {
        let (bases, which) = (record.bases(), mate_index(record));
        self.counters.mates[which].length.add(bases.min(READ_LENGTH_MAX));
        self.sequence.clear();
        record.sequence(&mut self.sequence);
        let tables = &mut self.cycles[which];
        tables.make_room(bases, &mut self.counters.mates[which]);
        let reverse = record.flag() & flag::REVERSE != 0;
        let composition = tables.composition.as_mut_slice();
        if reverse {
            let complement = |&code: &u8| COMPLEMENT[usize::from(code & 7)];
            by_cycle(composition, bases, self.sequence.iter().rev().map(complement));
        } else {
            by_cycle(composition, bases, self.sequence.iter().copied());
        }
        let qualities = record.qualities();
        if qualities.first().is_some_and(|&quality| quality != u8::MAX) {
            let counted = |&quality: &u8| quality.min(QUALITIES as u8 - 1);
            if reverse {
                by_cycle(&mut tables.quality, bases, qualities.iter().rev().map(counted));
            } else {
                by_cycle(&mut tables.quality, bases, qualities.iter().map(counted));
            }
        }
        let known = self.sequence.iter().filter(|&&code| code < 4).count();
        let gc = self.sequence.iter().filter(|&&code| code == 1 || code == 2).count();
        if let Some(percent) = (gc * 100 + known / 2).checked_div(known) {
            self.counters.gc_percent.add(percent);
        }
    }

    /// How the read lies on the reference.
    fn add_alignment(&mut self, record: &Record<'_>) {
        let counters = &mut self.counters;
        counters.mapq.add(usize::from(record.mapq()));
        counters.inserts.add(record);
        let window = self.reference.as_ref().map(|(window, _)| *window);
        let window = window.filter(|window| i64::from(record.contig()) == i64::from(window.contig));
        let mate = &mut counters.mates[mate_index(record)];
        let cycles = Cycles { reverse: record.flag() & flag::REVERSE != 0, bases: record.bases() };
        let (mut read, mut position) = (0usize, i64::from(record.position()));
        for packed in record.cigar() {
            let (op, length) = (packed & 15, (packed >> 4) as usize);
            match op {
                0 | 7 | 8 => {
                    counters.aligned_bases += length as u64;
                    if let Some(window) = window {
                        compare(mate, &self.sequence, read, position, length, window, cycles);
                    }
                    read += length;
                    position += length as i64;
                }
                1 => {
                    counters.aligned_bases += length as u64;
                    mate.insertions.add(cycles.of_run(read, length));
                    read += length;
                }
                2 => {
                    mate.deletions.add(cycles.of_run(read.saturating_sub(1), 2));
                    position += length as i64;
                }
                3 => position += length as i64,
                4 => {
                    counters.soft_clipped_bases += length as u64;
                    read += length;
                }
                _ => {}
            }
        }
    }
}

impl CycleTables {
    /// Makes rows for a read, and empties all if counting it could overflow one.
    fn make_room(&mut self, bases: usize, counters: &mut MateCounters) {
        // All cycles from the last row on are counted there.
        let rise = 1 + bases.saturating_sub(CYCLES_MAX);
        if self.most + rise > usize::from(u16::MAX) {
            self.empty_into(counters);
        }
        self.most += rise;
        let rows = bases.min(CYCLES_MAX);
        if rows > self.quality.len() {
            self.quality.resize(rows, [0; QUALITIES]);
            self.composition.resize(rows, [0; 8]);
        }
    }

    fn empty_into(&mut self, counters: &mut MateCounters) {
        let rows = counters.composition.rows_mut(self.composition.len());
        for (row, table) in rows.iter_mut().zip(&mut self.composition) {
            row.iter_mut().zip(std::mem::take(table)).for_each(|(row, count)| *row += u64::from(count));
        }
        let used = self.quality.iter().rposition(|table| table.iter().any(|&count| count > 0));
        let rows = counters.quality.rows_mut(used.map_or(0, |last| last + 1));
        for (row, table) in rows.iter_mut().zip(&mut self.quality) {
            let table = std::mem::replace(table, [0; QUALITIES]);
            row.iter_mut().zip(table).for_each(|(row, count)| *row += u64::from(count));
        }
        self.most = 0;
    }
}

const COMPLEMENT: [u8; 8] = [3, 2, 1, 0, 4, 4, 4, 4];

/// First mates and unpaired reads are 0, second mates 1.
fn mate_index(record: &Record<'_>) -> usize {
    usize::from(record.flag() & (flag::PAIRED | flag::LAST) == flag::PAIRED | flag::LAST)
}

/// Adds one value per cycle to its row, of a read of so many bases; cycles beyond the last row go there. Values are
/// below `N`, a power of two.
#[inline]
fn by_cycle<const N: usize>(rows: &mut [[u16; N]], bases: usize, mut values: impl Iterator<Item = u8>) {
    let count = bases.min(CYCLES_MAX).min(rows.len());
    for (row, value) in rows[..count].iter_mut().zip(&mut values) {
        row[usize::from(value) & (N - 1)] += 1;
    }
    if let Some(last) = rows[..count].last_mut() {
        values.for_each(|value| last[usize::from(value) & (N - 1)] += 1);
    }
}

/// From places in the record to cycles of the instrument.
#[derive(Clone, Copy)]
struct Cycles {
    reverse: bool,
    bases: usize,
}

impl Cycles {
    /// Cycle of the base at `index` of the record.
    fn of(self, index: usize) -> usize {
        self.of_run(index, 1)
    }

    /// Cycle at which the instrument met the run of `length` bases from `index`.
    fn of_run(self, index: usize, length: usize) -> usize {
        let cycle = if self.reverse { self.bases.saturating_sub(index + length) } else { index };
        cycle.min(CYCLES_MAX - 1)
    }
}

/// Compares one run of aligned bases with the part of the reference that is at hand, sixteen bases at a time since
/// most blocks are equal. A CIGAR longer than its read compares what there is.
fn compare(
    mate: &mut MateCounters,
    sequence: &[u8],
    read: usize,
    position: i64,
    length: usize,
    window: ReferenceWindow<'_>,
    cycles: Cycles,
) {
    let start = i64::from(window.start).clamp(position, position + length as i64);
    let skip = (start - position) as usize;
    let (Some(bases), Some(codes)) = (
        sequence.get(read + skip..(read + length).min(sequence.len())),
        window.codes.get((start - i64::from(window.start)) as usize..),
    ) else {
        return;
    };
    let shared = bases.len().min(codes.len());
    if shared == 0 {
        return;
    }
    let (first, last) = (cycles.of(read + skip), cycles.of(read + skip + shared - 1));
    mate.compared.add_range(first.min(last)..first.max(last) + 1);
    for (block, (bases, codes)) in bases[..shared].chunks(16).zip(codes[..shared].chunks(16)).enumerate() {
        if bases == codes {
            continue;
        }
        for (offset, (&base, &code)) in bases.iter().zip(codes).enumerate() {
            if base != code && base < 4 && code < 4 {
                mate.mismatches.add(cycles.of(read + skip + block * 16 + offset));
            }
        }
    }
}

/// The value of an integer tag; none for other types and negative numbers.
fn integer(value: &[u8]) -> Option<u64> {
    let (&kind, bytes) = value.split_first()?;
    match (kind, bytes) {
        (b'C', &[a]) => Some(u64::from(a)),
        (b'c', &[a]) => u64::try_from(a as i8).ok(),
        (b'S', &[a, b]) => Some(u64::from(u16::from_le_bytes([a, b]))),
        (b's', &[a, b]) => u64::try_from(i16::from_le_bytes([a, b])).ok(),
        (b'I', &[a, b, c, d]) => Some(u64::from(u32::from_le_bytes([a, b, c, d]))),
        (b'i', &[a, b, c, d]) => u64::try_from(i32::from_le_bytes([a, b, c, d])).ok(),
        _ => None,
    }
}
