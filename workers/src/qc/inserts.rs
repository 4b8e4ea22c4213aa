//! Distances between mates: as `samtools stats` counts them, and as Picard's CollectInsertSizeMetrics does.
//!
//! Invariant: every pair counts once in each view, at one of its mates, so parts of a sample add up. Knows records only.

use serde::{Deserialize, Serialize};

use super::histogram::Histogram;
use crate::record::{Record, flag};

/// Insert sizes told apart, in bases; larger ones are counted in the last (the limit of `samtools stats`).
pub const INSERT_SIZE_MAX: usize = 8000;

/// The share of pairs, in percent, by which mean and deviation go: what is larger says more of the genome than of the
/// library (`samtools stats`, option `-m`).
const MAIN_BULK_PERCENT: u64 = 99;

/// |TLEN| of pairs of which both mates are mapped to one contig.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InsertCounters {
    /// Mates that look at each other, by their positions.
    pub inward: Histogram,
    /// Mates that look away from each other.
    pub outward: Histogram,
    /// Mates on one strand.
    pub other: Histogram,
    /// Pairs that are no duplicates, by where their 5' ends lie: FR, RF, TANDEM.
    pub unique: [Histogram; 3],
    /// Largest size of each of these.
    pub unique_largest: [u64; 3],
}

/// Names of [`InsertCounters::unique`].
pub const ORIENTATIONS: [&str; 3] = ["FR", "RF", "TANDEM"];

impl InsertCounters {
    /// Counts a primary record, if it is a mapped one of a pair.
    pub fn add(&mut self, record: &Record<'_>) {
        const ASKED: u16 = flag::PAIRED | flag::UNMAPPED | flag::MATE_UNMAPPED;
        let flags = record.flag();
        if flags & ASKED != flag::PAIRED || record.contig() != record.mate_contig() {
            return;
        }
        let bases = record.template_length().unsigned_abs() as usize;
        let size = bases.min(INSERT_SIZE_MAX);
        let reverse = flags & flag::REVERSE != 0;
        let same_strand = reverse == (flags & flag::MATE_REVERSE != 0);
        if flags & flag::FIRST != 0 {
            let ahead = i64::from(record.mate_position()) - i64::from(record.position());
            match (same_strand, ahead == 0 || (ahead > 0) != reverse) {
                (true, _) => self.other.add(size),
                (false, true) => self.inward.add(size),
                (false, false) => self.outward.add(size),
            }
        } else if flags & flag::DUPLICATE == 0 && bases > 0 {
            let orientation = if same_strand { 2 } else { usize::from(!five_prime_ends_face(record)) };
            self.unique[orientation].add(size);
            let largest = &mut self.unique_largest[orientation];
            *largest = (*largest).max(bases as u64);
        }
    }

    /// Adds all counts of another part of the same sample.
    pub fn merge(&mut self, other: &Self) {
        self.inward.merge(&other.inward);
        self.outward.merge(&other.outward);
        self.other.merge(&other.other);
        for (mine, theirs) in self.unique.iter_mut().zip(&other.unique) {
            mine.merge(theirs);
        }
        for (mine, &theirs) in self.unique_largest.iter_mut().zip(&other.unique_largest) {
            *mine = (*mine).max(theirs);
        }
    }

    /// Of all orientations, duplicates included.
    pub fn all(&self) -> Histogram {
        let mut all = self.inward.clone();
        all.merge(&self.outward);
        all.merge(&self.other);
        all
    }

    /// Mean and standard deviation of the smallest sizes that make more than 99% of the pairs; 0 where there is none.
    pub fn main_bulk(&self) -> (f64, f64, Histogram) {
        let all = self.all();
        let total = u128::from(all.total());
        let mut bulk = Histogram::default();
        let mut pairs = 0;
        for (size, &count) in all.counts().iter().enumerate() {
            bulk.add_times(size, count);
            pairs += u128::from(count);
            if pairs * 100 > total * u128::from(MAIN_BULK_PERCENT) {
                break;
            }
        }
        let (mean, deviation) = (bulk.mean(), bulk.standard_deviation());
        (mean.unwrap_or(0.0), deviation.unwrap_or(0.0), bulk)
    }
}

/// Whether the 5' end on the forward strand lies before the one on the reverse strand; mates lie on both.
fn five_prime_ends_face(record: &Record<'_>) -> bool {
    let start = i64::from(record.position());
    if record.flag() & flag::REVERSE != 0 {
        i64::from(record.mate_position()) < start + i64::from(record.reference_bases())
    } else {
        start < start + i64::from(record.template_length())
    }
}
