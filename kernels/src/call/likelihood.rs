//! Every template against every haplotype.
//!
//! Invariant: mates of one template speak once, together, and no template says more than its mapping quality and
//! [`CallOptions::template_phred_max`] allow.

use super::CallOptions;
use super::haplotype::Haplotype;
use super::pairhmm::PairHmm;
use super::segment::Segment;
use crate::logarithm::probability;
use std::ops::Range;

/// Diagonals the band keeps on both sides of a read's anchors.
const BAND_DIAGONALS: i32 = 10;
/// A read that lies on a haplotype without gap at less than this cost needs no sum over alignments, phred.
const UNGAPPED_PHRED_MAX: f64 = 30.0;
/// A haplotype that needs a gap dearer than the best haplotype by this is out of the question, phred.
const GAP_SLACK_PHRED: f64 = 40.0;

/// One template's likelihoods.
#[derive(Clone, Debug)]
pub(super) struct Template {
    /// Per haplotype, relative to the best; never below the template's cap.
    pub likelihoods: Vec<f64>,
    /// Cost of the best haplotype beyond that of reads without any error, phred.
    pub residual_phred: f64,
    /// The least that a likelihood can be.
    pub floor: f64,
    pub covers: Vec<Range<u32>>,
    pub mapq: u8,
    pub reverse: bool,
}

/// Compares all segments (ordered by template) with all haplotypes.
pub(super) fn compare(
    segments: &[Segment<'_>],
    haplotypes: &[Haplotype],
    options: &CallOptions,
    pairhmm: &mut PairHmm,
) -> Vec<Template> {
    let gapped = haplotypes.iter().any(|haplotype| haplotype.bases.len() != haplotypes[0].bases.len());
    let mates = segments.chunk_by(|a, b| a.template == b.template);
    mates.map(|mates| template(mates, haplotypes, gapped, options, pairhmm)).collect()
}

fn template(
    mates: &[Segment<'_>],
    haplotypes: &[Haplotype],
    gapped: bool,
    options: &CallOptions,
    pairhmm: &mut PairHmm,
) -> Template {
    let mut sums = vec![0.0; haplotypes.len()];
    let mut residual_phred = 0.0;
    for segment in mates {
        let costs = costs(segment, haplotypes, gapped, pairhmm);
        let best = costs.iter().copied().fold(f64::INFINITY, f64::min);
        if best.is_finite() {
            let cap = f64::from(segment.mapq);
            sums.iter_mut().zip(&costs).for_each(|(sum, cost)| *sum += (cost - best).min(cap));
            residual_phred += best - pairhmm.agreeing(&segment.qualities);
        }
    }
    let mapq = mates.iter().map(|segment| segment.mapq).max().unwrap_or(0);
    let cap = f64::from(options.template_phred_max).min(f64::from(mapq));
    let best = sums.iter().copied().fold(f64::INFINITY, f64::min);
    Template {
        likelihoods: sums.iter().map(|sum| probability((sum - best).min(cap))).collect(),
        residual_phred,
        floor: probability(cap),
        covers: mates.iter().map(|segment| segment.covers.clone()).collect(),
        mapq,
        reverse: mates[0].reverse,
    }
}

/// Phred cost of one segment on every haplotype. Reads that lie well on one of their two diagonals are the common case
/// and cost one pass. The sum over alignments is taken only where a gap could bring a haplotype within the cap of the
/// best one.
fn costs(segment: &Segment<'_>, haplotypes: &[Haplotype], gapped: bool, pairhmm: &mut PairHmm) -> Vec<f64> {
    let mut costs: Vec<f64> =
        haplotypes.iter().map(|haplotype| ungapped(segment, haplotype, pairhmm)).collect();
    let best = costs.iter().copied().fold(f64::INFINITY, f64::min);
    for (cost, haplotype) in costs.iter_mut().zip(haplotypes) {
        let (left, right) = (haplotype.diagonal(segment.first), haplotype.diagonal(segment.last));
        let straight = left == right && !gapped && cost.is_finite();
        if straight || *cost <= UNGAPPED_PHRED_MAX {
            continue;
        }
        let least = haplotype.gap_phred_min;
        if least < *cost && least < best + GAP_SLACK_PHRED {
            let band = left.min(right) - BAND_DIAGONALS..=left.max(right) + BAND_DIAGONALS;
            let (bases, qualities) = (segment.bases, &segment.qualities[..]);
            let summed = pairhmm.forward(bases, qualities, &haplotype.bases, &haplotype.gap_opens, band);
            *cost = cost.min(summed);
        }
    }
    costs
}

/// Phred cost of the segment without gap, along the better of its two diagonals; infinite where neither fits.
fn ungapped(segment: &Segment<'_>, haplotype: &Haplotype, pairhmm: &PairHmm) -> f64 {
    let (left, right) = (haplotype.diagonal(segment.first), haplotype.diagonal(segment.last));
    let along = |diagonal: i32| {
        let cost = pairhmm.ungapped(segment.bases, &segment.qualities, &haplotype.bases, diagonal);
        cost.unwrap_or(f64::INFINITY)
    };
    if left == right { along(left) } else { along(left).min(along(right)) }
}
