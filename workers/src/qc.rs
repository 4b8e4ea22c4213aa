//! Quality control: what the reads, the coverage and the calls of a sample look like, and how samples are related.
//!
//! Invariant: counters hold integers only and merge in any order to the same value and the same JSON, so nobody can
//! tell into which cells, shards or tasks a sample was cut. Ratios are computed when they are shown. Counters judge
//! nothing; thresholds live in the report.

use jobs::genome::Interval;
use serde::{Deserialize, Serialize};

use crate::record::Record;
use alignment::ReferenceWindow;
use contig_class::ContigClass;
use coverage::CellDepth;
use libraries::Libraries;
use tally::AlignmentTally;

pub mod alignment;
pub mod contig_class;
pub mod coverage;
pub mod exchange;
pub mod gc_bias;
pub mod histogram;
pub mod inserts;
pub mod libraries;
pub mod metrics;
pub mod pedigree;
pub mod relatedness;
pub mod sex;
pub mod tally;
pub mod variants;

/// Everything counted of one sample, or of any part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleCounters {
    /// Records.
    pub alignment: alignment::AlignmentCounters,
    /// Depth.
    pub coverage: coverage::CoverageCounters,
    /// Calls.
    pub variants: variants::VariantCounters,
}

impl SampleCounters {
    /// Nothing counted yet, over a reference of this many bases.
    pub fn new(genome_bases: u64) -> Self {
        SampleCounters {
            alignment: Default::default(),
            coverage: coverage::CoverageCounters::new(genome_bases),
            variants: Default::default(),
        }
    }

    /// Adds all counts of another part of the same sample.
    pub fn merge(&mut self, other: &Self) {
        self.alignment.merge(&other.alignment);
        self.coverage.merge(&other.coverage);
        self.variants.merge(&other.variants);
    }
}

/// One cell being counted. It takes the records that overlap the cell, in coordinate order, those from the halo included:
/// each counts as a read in the cell in which it starts, and as depth wherever it lies. Records without a place belong to
/// no cell.
#[derive(Debug)]
pub struct CellTally<'a> {
    interval: Interval,
    reference: ReferenceWindow<'a>,
    alignment: AlignmentTally<'a>,
    depth: CellDepth,
}

impl<'a> CellTally<'a> {
    /// Nothing counted yet. `reference` holds the cell, and of what is around it always as much: how far it reaches can
    /// be seen in the counts.
    pub fn new(interval: Interval, reference: ReferenceWindow<'a>, libraries: &'a Libraries) -> Self {
        let alignment = AlignmentTally::new(Some(reference), libraries);
        let depth = CellDepth::new(interval);
        CellTally { interval, reference, alignment, depth }
    }

    /// Counts a record.
    pub fn add(&mut self, record: &Record<'_>) {
        self.depth.add(record);
        let Interval { contig, start, end } = self.interval;
        let here = i64::from(record.contig()) == i64::from(contig);
        if here && (i64::from(start)..i64::from(end)).contains(&i64::from(record.position())) {
            self.alignment.add(record);
        }
    }

    /// The counts, of a contig of this class.
    pub fn finish(self, class: ContigClass, genome_bases: u64) -> SampleCounters {
        let Interval { start, end, .. } = self.interval;
        let first = (start - self.reference.start) as usize;
        let codes = &self.reference.codes[first..first + (end - start) as usize];
        let mut counters = SampleCounters::new(genome_bases);
        counters.alignment = self.alignment.finish(start, end);
        counters.coverage.add_cell(class, &self.depth, codes);
        counters
    }
}
