//! Quality control: what the reads, the coverage and the calls of a sample look like, and how samples are related.
//!
//! Invariant: counters hold integers only and merge in any order to the same value and the same JSON, so nobody can
//! tell into which cells, shards or tasks a sample was cut. Ratios are computed when they are shown. Counters judge
//! nothing; thresholds live in the report.

use serde::{Deserialize, Serialize};

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

    /// Adds all counts of another part of the same sample.
    pub fn merge(&mut self, other: &Self) {
        self.alignment.merge(&other.alignment);
        self.coverage.merge(&other.coverage);
        self.variants.merge(&other.variants);
    }
}
