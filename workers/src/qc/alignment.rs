//! What the records of a sample look like: fates, pairs, insert sizes, qualities and bases by cycle, differences from
//! the reference, where the reference's GC lets reads begin.
//!
//! Invariant: every record is counted exactly once, by the [`AlignmentTally`](super::tally::AlignmentTally) of the cell
//! in which it starts (unplaced records by whoever holds them); then sums over cells are the sample's numbers in any
//! order. Counts that flagstat and `samtools stats` also make mean the same as there. Knows neither files nor thresholds.

use serde::{Deserialize, Serialize};

use super::gc_bias::GcBias;
use super::histogram::{Histogram, Table};
use super::inserts::InsertCounters;
use crate::record::{Record, flag};
use std::collections::BTreeMap;

/// Sequencing cycles told apart; later ones are counted in the last.
pub const CYCLES_MAX: usize = 512;

/// Base qualities told apart; higher ones are counted in the last.
pub const QUALITIES: usize = 64;

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
    /// Duplicates whose mate is mapped.
    pub duplicate_both_mapped: u64,
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
    /// Lengths in bases.
    pub length: Histogram,
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
    /// The same by library.
    #[serde(default)]
    pub libraries: BTreeMap<String, ReadCounts>,
    /// MAPQ of mapped primary records.
    pub mapq: Histogram,
    /// Distances between mates.
    pub inserts: InsertCounters,
    /// GC of primary records in percent, bases N left out.
    pub gc_percent: Histogram,
    /// Where reads begin on the reference, by its GC; of records of every kind.
    pub gc_bias: GcBias,
    /// Bases of mapped primary records, clipped ones included.
    pub mapped_bases: u64,
    /// Bases of duplicates.
    pub duplicate_bases: u64,
    /// Bases of mapped primary records that are soft-clipped.
    pub soft_clipped_bases: u64,
    /// Bases of mapped primary records in M, I, = and X.
    pub aligned_bases: u64,
    /// Sum of NM over mapped primary records.
    pub edit_distance: u64,
    /// The same two of supplementary records.
    pub supplementary_aligned_bases: u64,
    /// Sum of NM over supplementary records.
    pub supplementary_edit_distance: u64,
    /// By cycle: first mates and unpaired reads, then second mates.
    pub mates: [MateCounters; 2],
}

impl AlignmentCounters {
    /// Adds all counts of another part of the same sample.
    pub fn merge(&mut self, other: &Self) {
        self.reads.merge(&other.reads);
        for (name, fates) in &other.libraries {
            self.libraries.entry(name.clone()).or_default().merge(fates);
        }
        self.mapq.merge(&other.mapq);
        self.inserts.merge(&other.inserts);
        self.gc_percent.merge(&other.gc_percent);
        self.gc_bias.merge(&other.gc_bias);
        self.mapped_bases += other.mapped_bases;
        self.duplicate_bases += other.duplicate_bases;
        self.soft_clipped_bases += other.soft_clipped_bases;
        self.aligned_bases += other.aligned_bases;
        self.edit_distance += other.edit_distance;
        self.supplementary_aligned_bases += other.supplementary_aligned_bases;
        self.supplementary_edit_distance += other.supplementary_edit_distance;
        for (mine, theirs) in self.mates.iter_mut().zip(&other.mates) {
            mine.length.merge(&theirs.length);
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

    /// Lengths of primary records.
    pub fn read_lengths(&self) -> Histogram {
        let mut lengths = self.mates[0].length.clone();
        lengths.merge(&self.mates[1].length);
        lengths
    }
}

impl ReadCounts {
    /// Counts one record.
    pub fn add(&mut self, record: &Record<'_>) {
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
        self.duplicate_both_mapped += u64::from(both && has(flag::DUPLICATE));
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

    /// Adds the counts of other records.
    pub fn merge(&mut self, other: &Self) {
        let ReadCounts { records, secondary, supplementary, qc_fail, primary, mapped, unmapped, .. } = other;
        self.records += records;
        self.secondary += secondary;
        self.supplementary += supplementary;
        self.qc_fail += qc_fail;
        self.primary += primary;
        self.mapped += mapped;
        self.unmapped += unmapped;
        self.duplicate += other.duplicate;
        self.duplicate_both_mapped += other.duplicate_both_mapped;
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
