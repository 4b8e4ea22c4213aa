//! Joint genotyping of one cell: the sites and reference blocks of many samples become sites of the cohort.
//!
//! Invariant: a pure function of the samples in their order; a site is emitted only by the cell in which it starts, and
//! every allele it names is carried by a sample. Probabilities use basic arithmetic and the `libm` crate, summed in
//! sample order. Knows nothing of files, names or text.

mod alleles;
mod evidence;
mod model;

use std::cell::LazyCell;
use std::ops::Range;

use crate::variant::{CellCalls, Filter, SiteCall};
use alleles::Alleles;
use evidence::{Evidence, Walk};
use model::{Cohort, Phred};

/// What one sample says about a cell.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// Sites and blocks of the cell, in coordinate order.
    pub calls: &'a CellCalls,
    /// Sites that start in earlier cells and may reach into this one ([`reaching`]).
    pub upstream: &'a [SiteCall],
}

/// Rules of joint genotyping; part of what decides the output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Most alternates kept at a site, those with the strongest evidence first; 1 to 200.
    pub alternates_max: usize,
    /// QUAL below which a site is `LowQual`, in tenths of phred.
    pub low_quality_tenths: u32,
    /// Expected differences per base between two haplotypes, for single bases.
    pub heterozygosity_snv: f64,
    /// The same for insertions and deletions.
    pub heterozygosity_indel: f64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            alternates_max: 16,
            low_quality_tenths: 200,
            heterozygosity_snv: 1e-3,
            heterozygosity_indel: 1.25e-4,
        }
    }
}

/// One sample's genotype at a joint site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Genotype {
    /// The two alleles (0 is REF); `None` where the sample has no data, none that tells genotypes apart, or too little
    /// against an allele that only others carry.
    pub alleles: Option<[u8; 2]>,
    /// The sample's own phase set, where joint genotyping kept the genotype it phased.
    pub phase_set: Option<u32>,
    /// DP.
    pub depth: u32,
    /// GQ, 0 to 99: phred of the posterior probability that the genotype is another one.
    pub genotype_quality: u8,
}

/// A variant site of the cohort. Per-sample tables are flat, in sample order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JointSite {
    /// First reference base of REF, 0-based.
    pub position: u32,
    /// REF.
    pub reference: Vec<u8>,
    /// ALT, strongest evidence first; `*` (an upstream deletion) last.
    pub alternates: Vec<Vec<u8>>,
    /// QUAL in tenths of phred: the probability that no sample has an alternate other than `*`.
    pub quality_tenths: u32,
    /// FILTER; empty means PASS.
    pub filters: Vec<Filter>,
    /// AC: copies of each alternate in the genotypes.
    pub allele_counts: Vec<u32>,
    /// AN: alleles in the genotypes.
    pub allele_number: u32,
    /// DP: sum over samples.
    pub depth: u64,
    /// MQ in tenths: root mean square over the samples with a site here, weighted by depth.
    pub mapq_rms_tenths: u32,
    /// One per sample.
    pub genotypes: Vec<Genotype>,
    /// AD: samples x (1 + alternates).
    pub allele_depths: Vec<u32>,
    /// PL: samples x genotypes in VCF's order; meaningless where the genotype is `None`.
    pub likelihoods: Vec<u32>,
}

/// Two samples were called against different references.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// First base of both sites, 0-based.
    pub position: u32,
    /// Ordinals of the two samples.
    pub samples: [usize; 2],
    /// The REF each one states.
    pub references: [Vec<u8>; 2],
}

/// The sites of `calls` whose REF reaches the grid line `border` or beyond: the next cell's `upstream`.
pub fn reaching(calls: &CellCalls, border: u32) -> impl Iterator<Item = &SiteCall> {
    calls.sites.iter().filter(move |site| evidence::end(site) > u64::from(border))
}

/// Genotypes every site that starts in `core`, in coordinate order.
pub fn joint_cell(
    core: Range<u32>,
    samples: &[Sample<'_>],
    options: &Options,
) -> Result<Vec<JointSite>, Disagreement> {
    let phred = LazyCell::new(Phred::new);
    let mut walk = Walk::new(core.start, samples);
    let mut sites = Vec::new();
    for position in variant_positions(&core, samples) {
        let here = walk.sites_at(position);
        let Some(alleles) = Alleles::unify(&here, options.alternates_max)? else { continue };
        let evidence = walk.evidence_at(position, alleles.reference().len() as u32, &here);
        sites.extend(joint_site(position, alleles, &evidence, &phred, options));
    }
    Ok(sites)
}

/// Where any sample names a real alternate.
fn variant_positions(core: &Range<u32>, samples: &[Sample<'_>]) -> Vec<u32> {
    let sites = samples.iter().flat_map(|sample| &sample.calls.sites);
    let mut positions: Vec<u32> = sites
        .filter(|site| {
            core.contains(&site.position) && site.alternates.iter().any(|alternate| alternate != b"*")
        })
        .map(|site| site.position)
        .collect();
    positions.sort_unstable();
    positions.dedup();
    positions
}

/// Genotypes with all candidate alleles, then again without those nobody carries, until all are carried. `None` if
/// that leaves no real alternate.
fn joint_site(
    position: u32,
    mut alleles: Alleles,
    evidence: &[Evidence<'_>],
    phred: &Phred,
    options: &Options,
) -> Option<JointSite> {
    alleles.add_spanning(evidence, options.alternates_max);
    loop {
        let sources = alleles.sources(evidence);
        let cohort = Cohort::new(evidence, &sources, alleles.len(), phred);
        let priors = alleles.pseudocounts(options);
        let called = cohort.genotype(&priors, &alleles.real());
        let mut copies = vec![0u32; alleles.len()];
        for allele in called.genotypes.iter().filter_map(|genotype| genotype.0).flatten() {
            copies[usize::from(allele)] += 1;
        }
        if copies[1..].contains(&0) {
            alleles.retain(|allele| allele == 0 || copies[allele] > 0);
            if !alleles.any_real() {
                return None;
            }
            continue;
        }
        let genotypes: Vec<Genotype> = (called.genotypes.iter().zip(evidence).enumerate())
            .map(|(sample, (&(alleles, genotype_quality), evidence))| {
                let sources = &sources[sample * copies.len()..][..copies.len()];
                let (alleles, phase_set) = evidence.phase(alleles, sources);
                Genotype { alleles, phase_set, depth: evidence.depth(), genotype_quality }
            })
            .collect();
        let (reference, alternates) = alleles.parsimonious();
        let quality_tenths = called.quality_tenths;
        return Some(JointSite {
            position,
            reference,
            alternates,
            quality_tenths,
            filters: filters(evidence, &genotypes, quality_tenths < options.low_quality_tenths),
            allele_number: copies.iter().sum(),
            allele_counts: copies[1..].to_vec(),
            depth: genotypes.iter().map(|genotype| u64::from(genotype.depth)).sum(),
            mapq_rms_tenths: mapq_rms_tenths(evidence),
            genotypes,
            allele_depths: cohort.allele_depths,
            likelihoods: cohort.likelihoods,
        });
    }
}

/// `LowQual` by the cohort's own QUAL; any other reason if more than half of the samples that carry an alternate have
/// it. What one sample lacked in reads or quality, the cohort may make up for.
fn filters(evidence: &[Evidence<'_>], genotypes: &[Genotype], low_quality: bool) -> Vec<Filter> {
    let carriers = || {
        let pairs = evidence.iter().zip(genotypes);
        pairs.filter(|(_, genotype)| genotype.alleles.is_some_and(|alleles| alleles != [0, 0]))
    };
    let half = carriers().count() / 2;
    let named = |filter: Filter| {
        let sites = carriers().filter_map(|(evidence, _)| evidence.site());
        sites.filter(|site| site.filters.contains(&filter)).count() > half
    };
    let mut filters: Vec<Filter> = low_quality.then_some(Filter::LowQual).into_iter().collect();
    filters.extend([Filter::StrandBias, Filter::LowMapq, Filter::Complex].into_iter().filter(|&f| named(f)));
    filters
}

fn mapq_rms_tenths(evidence: &[Evidence<'_>]) -> u32 {
    let (mut squares, mut reads) = (0u128, 0u128);
    for site in evidence.iter().filter_map(|evidence| evidence.site()) {
        reads += u128::from(site.depth);
        squares += u128::from(site.depth) * u128::from(site.mapq_rms_tenths).pow(2);
    }
    squares.checked_div(reads).map_or(0, |mean| mean.isqrt() as u32)
}

#[cfg(test)]
mod tests;
