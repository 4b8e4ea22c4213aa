//! What the records of a sample look like: fates, pairs, insert sizes, qualities and bases by cycle, differences from
//! the reference.
//!
//! Invariant: every record is added exactly once, by the cell in which it starts (unplaced records by whoever holds
//! them); then sums over cells are the sample's numbers in any order. Counts that flagstat and `samtools stats` also
//! make mean the same as there. Knows neither files nor thresholds.

use serde::{Deserialize, Serialize};

use super::histogram::{Histogram, Table};
use crate::record::{Record, flag};

/// Sequencing cycles told apart; later ones are counted in the last.
pub const CYCLES_MAX: usize = 512;

/// Base qualities told apart; higher ones are counted in the last.
pub const QUALITIES: usize = 64;

/// Insert sizes told apart, in bases; larger ones are counted in the last.
pub const INSERT_SIZE_MAX: usize = 2000;

/// Read lengths told apart, in bases; longer ones are counted in the last.
pub const READ_LENGTH_MAX: usize = 65_536;

/// A stretch of the reference as codes 0 to 4 (A C G T N).
#[derive(Clone, Copy, Debug)]
pub struct ReferenceWindow<'a> {
    /// Contig id.
    pub contig: u32,
    /// Position of the first code.
    pub start: u32,
    /// Codes.
    pub codes: &'a [u8],
}

/// Records by fate. All but the first four count primary records only (neither secondary nor supplementary).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ReadCounts {
    /// Records of every kind.
    pub records: u64,
    pub secondary: u64,
    pub supplementary: u64,
    /// Records of every kind that failed the instrument's or the user's filter.
    pub qc_fail: u64,
    /// Primary records: the reads.
    pub primary: u64,
    pub mapped: u64,
    pub unmapped: u64,
    pub duplicate: u64,
    pub paired: u64,
    pub first: u64,
    pub last: u64,
    /// Paired, mapped and flagged as a proper pair.
    pub properly_paired: u64,
    /// The same without duplicates.
    pub properly_paired_unique: u64,
    pub both_mapped: u64,
    /// Mapped, the mate is not.
    pub singletons: u64,
    /// Both mapped, on different contigs.
    pub mate_on_other_contig: u64,
}

/// Counts by sequencing cycle of one mate; row or value 0 is the first base the instrument read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MateCounters {
    /// Qualities by cycle.
    pub quality: Table<QUALITIES>,
    /// A, C, G, T, N by cycle, as the instrument read them.
    pub composition: Table<5>,
    /// Bases compared with a known reference base, by cycle.
    pub compared: Histogram,
    /// Those that differ from it.
    pub mismatches: Histogram,
    /// Insertions, by the cycle of their first base.
    pub insertions: Histogram,
    /// Deletions, by the cycle of the base before them.
    pub deletions: Histogram,
}

/// Counts over the records of one sample or any part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlignmentCounters {
    /// Records by fate.
    pub reads: ReadCounts,
    /// MAPQ of mapped primary records.
    pub mapq: Histogram,
    /// |TLEN| of proper pairs, counted at the first mate, duplicates included (GA4GH `mean_insert_size`).
    pub insert_size: Histogram,
    /// Length of primary records in bases.
    pub read_length: Histogram,
    /// GC of primary records in percent, bases N left out.
    pub gc_percent: Histogram,
    /// Bases of mapped primary records that are soft-clipped.
    pub soft_clipped_bases: u64,
    /// Bases of mapped primary records in M, I, = and X.
    pub aligned_bases: u64,
    /// Sum of NM over mapped primary records.
    pub edit_distance: u64,
    /// By cycle: first mates and unpaired reads, then second mates.
    pub mates: [MateCounters; 2],
    #[serde(skip)]
    scratch: Scratch,
}

/// Working memory; equal to any other.
#[derive(Clone, Debug, Default)]
struct Scratch(Vec<u8>);

impl PartialEq for Scratch {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Scratch {}

impl AlignmentCounters {
    /// Counts one record. Mismatches are counted where `reference` has the base; pass the cell's window with its halo.
    pub fn add(&mut self, record: &Record<'_>, reference: Option<ReferenceWindow<'_>>) {
        let flags = record.flag();
        self.reads.add(record);
        if flags & (flag::SECONDARY | flag::SUPPLEMENTARY) != 0 {
            return;
        }
        self.add_read(record);
        if flags & flag::UNMAPPED == 0 {
            self.add_alignment(record, reference);
        }
    }

    /// Adds all counts of another part of the same sample.
    pub fn merge(&mut self, other: &Self) {
        self.reads.merge(&other.reads);
        self.mapq.merge(&other.mapq);
        self.insert_size.merge(&other.insert_size);
        self.read_length.merge(&other.read_length);
        self.gc_percent.merge(&other.gc_percent);
        self.soft_clipped_bases += other.soft_clipped_bases;
        self.aligned_bases += other.aligned_bases;
        self.edit_distance += other.edit_distance;
        for (mine, theirs) in self.mates.iter_mut().zip(&other.mates) {
            mine.quality.merge(&theirs.quality);
            mine.composition.merge(&theirs.composition);
            mine.compared.merge(&theirs.compared);
            mine.mismatches.merge(&theirs.mismatches);
            mine.insertions.merge(&theirs.insertions);
            mine.deletions.merge(&theirs.deletions);
        }
    }

    /// Qualities of all bases of primary records.
    pub fn qualities(&self) -> Histogram {
        let mut histogram = Histogram::default();
        for mate in &self.mates {
            for (quality, count) in mate.quality.totals().into_iter().enumerate() {
                histogram.add_times(quality, count);
            }
        }
        histogram
    }

    /// What the instrument read: length, bases and qualities by cycle.
    fn add_read(&mut self, record: &Record<'_>) {
        let bases = record.bases();
        self.read_length.add(bases.min(READ_LENGTH_MAX));
        self.scratch.0.clear();
        record.sequence(&mut self.scratch.0);
        let sequence = &self.scratch.0;
        let qualities = record.qualities();
        let mate = &mut self.mates[mate_index(record)];
        let reverse = record.flag() & flag::REVERSE != 0;
        let composition = mate.composition.rows_mut(bases.min(CYCLES_MAX));
        if reverse {
            by_cycle(
                composition,
                sequence.iter().rev().map(|&code| usize::from(COMPLEMENT[usize::from(code)])),
            );
        } else {
            by_cycle(composition, sequence.iter().map(|&code| usize::from(code)));
        }
        if qualities.first().is_some_and(|&quality| quality != u8::MAX) {
            let index = |&quality: &u8| usize::from(quality).min(QUALITIES - 1);
            let rows = mate.quality.rows_mut(bases.min(CYCLES_MAX));
            if reverse {
                by_cycle(rows, qualities.iter().rev().map(index));
            } else {
                by_cycle(rows, qualities.iter().map(index));
            }
        }
        let known = sequence.iter().filter(|&&code| code < 4).count();
        let gc = sequence.iter().filter(|&&code| code == 1 || code == 2).count();
        if let Some(percent) = (gc * 100 + known / 2).checked_div(known) {
            self.gc_percent.add(percent);
        }
    }

    /// How the read lies on the reference.
    fn add_alignment(&mut self, record: &Record<'_>, reference: Option<ReferenceWindow<'_>>) {
        let flags = record.flag();
        self.mapq.add(usize::from(record.mapq()));
        self.edit_distance += record.tag(b"NM").and_then(integer).unwrap_or(0);
        let template_length = record.template_length().unsigned_abs() as usize;
        if flags & (flag::PROPER | flag::FIRST) == flag::PROPER | flag::FIRST && template_length > 0 {
            self.insert_size.add(template_length.min(INSERT_SIZE_MAX));
        }
        let window = reference.filter(|window| i64::from(record.contig()) == i64::from(window.contig));
        let mate = &mut self.mates[mate_index(record)];
        let bases = record.bases();
        let cycles = Cycles { reverse: flags & flag::REVERSE != 0, bases };
        let (mut read, mut position) = (0usize, i64::from(record.position()));
        for packed in record.cigar() {
            let (op, length) = (packed & 15, (packed >> 4) as usize);
            match op {
                0 | 7 | 8 => {
                    self.aligned_bases += length as u64;
                    if let Some(window) = window {
                        compare(mate, &self.scratch.0, read, position, length, window, cycles);
                    }
                    read += length;
                    position += length as i64;
                }
                1 => {
                    self.aligned_bases += length as u64;
                    mate.insertions.add(cycles.of_run(read, length));
                    read += length;
                }
                2 => {
                    mate.deletions.add(cycles.of_run(read.saturating_sub(1), 2));
                    position += length as i64;
                }
                3 => position += length as i64,
                4 => {
                    self.soft_clipped_bases += length as u64;
                    read += length;
                }
                _ => {}
            }
        }
    }
}

impl ReadCounts {
    /// Counts one record.
    fn add(&mut self, record: &Record<'_>) {
        let flags = record.flag();
        let has = |bits: u16| flags & bits != 0;
        self.records += 1;
        self.qc_fail += u64::from(has(flag::QC_FAIL));
        if has(flag::SECONDARY) {
            self.secondary += 1;
            return;
        }
        if has(flag::SUPPLEMENTARY) {
            self.supplementary += 1;
            return;
        }
        let mapped = !has(flag::UNMAPPED);
        let paired = has(flag::PAIRED);
        let both = paired && mapped && !has(flag::MATE_UNMAPPED);
        self.primary += 1;
        self.mapped += u64::from(mapped);
        self.unmapped += u64::from(!mapped);
        self.duplicate += u64::from(has(flag::DUPLICATE));
        self.paired += u64::from(paired);
        self.first += u64::from(paired && has(flag::FIRST));
        self.last += u64::from(paired && has(flag::LAST));
        let proper = paired && mapped && has(flag::PROPER);
        self.properly_paired += u64::from(proper);
        self.properly_paired_unique += u64::from(proper && !has(flag::DUPLICATE));
        self.both_mapped += u64::from(both);
        self.singletons += u64::from(paired && mapped && has(flag::MATE_UNMAPPED));
        self.mate_on_other_contig += u64::from(both && record.contig() != record.mate_contig());
    }

    fn merge(&mut self, other: &Self) {
        let ReadCounts { records, secondary, supplementary, qc_fail, primary, mapped, unmapped, .. } = other;
        self.records += records;
        self.secondary += secondary;
        self.supplementary += supplementary;
        self.qc_fail += qc_fail;
        self.primary += primary;
        self.mapped += mapped;
        self.unmapped += unmapped;
        self.duplicate += other.duplicate;
        self.paired += other.paired;
        self.first += other.first;
        self.last += other.last;
        self.properly_paired += other.properly_paired;
        self.properly_paired_unique += other.properly_paired_unique;
        self.both_mapped += other.both_mapped;
        self.singletons += other.singletons;
        self.mate_on_other_contig += other.mate_on_other_contig;
    }
}

const COMPLEMENT: [u8; 5] = [3, 2, 1, 0, 4];

/// First mates and unpaired reads are 0, second mates 1.
fn mate_index(record: &Record<'_>) -> usize {
    usize::from(record.flag() & (flag::PAIRED | flag::LAST) == flag::PAIRED | flag::LAST)
}

/// Adds one value per cycle to its row; cycles beyond the last row go there.
#[inline]
fn by_cycle<const N: usize>(rows: &mut [[u64; N]], mut values: impl Iterator<Item = usize>) {
    for (row, value) in rows.iter_mut().zip(&mut values) {
        row[value] += 1;
    }
    if let Some(last) = rows.last_mut() {
        values.for_each(|value| last[value] += 1);
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
