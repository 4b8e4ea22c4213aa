//! Sex as the data show it: depth of X and Y against the autosomes.
//!
//! Invariant: says only what the reference allows; without X and Y it says that nothing can be said. It names
//! chromosomes, not persons.

use serde::{Deserialize, Serialize};

use super::SampleCounters;
use super::contig_class::ContigClass;

/// Sex chromosomes as seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SexEvidence {
    /// Depth of X over depth of the autosomes: about 1 with two, 0.5 with one.
    pub x_ratio: Option<f64>,
    /// Depth of Y over depth of the autosomes: about 0.5 with one (less where Y repeats itself), 0 without.
    pub y_ratio: Option<f64>,
    /// Share of X's SNVs that are heterozygous.
    pub x_heterozygosity: Option<f64>,
    /// The conclusion.
    pub karyotype: Karyotype,
}

/// What the ratios say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Karyotype {
    /// Two X, no Y.
    #[serde(rename = "XX")]
    Xx,
    /// One X, one Y.
    #[serde(rename = "XY")]
    Xy,
    /// Ratios that fit neither: an aneuploidy, a mosaic, a mixture of two samples.
    #[serde(rename = "unusual")]
    Unusual,
    /// The reference has no X or no Y, or nothing was read.
    #[serde(rename = "not determinable")]
    NotDeterminable,
}

impl Karyotype {
    /// As a reader says it.
    pub const fn name(self) -> &'static str {
        match self {
            Karyotype::Xx => "XX",
            Karyotype::Xy => "XY",
            Karyotype::Unusual => "unusual",
            Karyotype::NotDeterminable => "not determinable",
        }
    }

    /// Whether a declared sex contradicts what was seen. Words other than those for male and female contradict nothing.
    pub fn contradicts(self, declared: &str) -> bool {
        match declared.trim().to_ascii_lowercase().as_str() {
            "male" | "m" | "xy" | "1" => matches!(self, Karyotype::Xx | Karyotype::Unusual),
            "female" | "f" | "xx" | "2" => matches!(self, Karyotype::Xy | Karyotype::Unusual),
            _ => false,
        }
    }
}

impl SexEvidence {
    /// Reads it from a sample's counters.
    pub fn of(counters: &SampleCounters) -> Self {
        let depth = |class| counters.coverage.class(class).and_then(|depth| depth.usable.mean());
        let autosomes = depth(ContigClass::Autosome).filter(|&mean| mean > 0.0);
        let ratio = |class| Some(depth(class)? / autosomes?);
        let (x_ratio, y_ratio) = (ratio(ContigClass::X), ratio(ContigClass::Y));
        let karyotype = match (x_ratio, y_ratio) {
            (Some(x), Some(y)) if x > 0.8 && x < 1.25 && y < 0.15 => Karyotype::Xx,
            (Some(x), Some(y)) if x > 0.35 && x < 0.65 && y > 0.2 && y < 0.75 => Karyotype::Xy,
            (Some(_), Some(_)) => Karyotype::Unusual,
            _ => Karyotype::NotDeterminable,
        };
        let snv =
            counters.variants.classes.get(&ContigClass::X).map(|x| &x.snv).filter(|snv| snv.sites() > 0);
        let x_heterozygosity = snv.map(|snv| snv.heterozygous as f64 / snv.sites() as f64);
        SexEvidence { x_ratio, y_ratio, x_heterozygosity, karyotype }
    }
}
