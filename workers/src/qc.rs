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

pub mod alignment;
pub mod contig_class;
pub mod coverage;
pub mod histogram;
pub mod metrics;
pub mod pedigree;
pub mod relatedness;
pub mod sex;
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

    /// Counts one cell. `records` are those that overlap it, in coordinate order, the ones from the halo included: each
    /// counts as a read in the cell in which it starts, and as depth wherever it lies. `reference` begins at the cell's
    /// start and reaches to its end at least; give the halo too, so that mismatches beyond the end are seen, and
    /// always as much of it, since how far it reaches can be seen in their number.
    /// Unplaced records belong to no cell: add them to `alignment`.
    pub fn add_cell<'a>(
        &mut self,
        interval: Interval,
        class: ContigClass,
        reference: &[u8],
        records: impl IntoIterator<Item = Record<'a>>,
    ) {
        let window = ReferenceWindow { contig: interval.contig, start: interval.start, codes: reference };
        let cell = i64::from(interval.start)..i64::from(interval.end);
        let mut depth = CellDepth::new(interval);
        for record in records {
            depth.add(&record);
            if cell.contains(&i64::from(record.position())) {
                self.alignment.add(&record, Some(window));
            }
        }
        self.coverage.add_cell(class, &depth, &reference[..interval.bases() as usize]);
    }

    /// Adds all counts of another part of the same sample.
    pub fn merge(&mut self, other: &Self) {
        self.alignment.merge(&other.alignment);
        self.coverage.merge(&other.coverage);
        self.variants.merge(&other.variants);
    }
}
