//! Germline calling of one grid cell of one sample: from aligned reads to variant sites and reference blocks.
//!
//! Evidence from the reads' CIGARs (`evidence`) names candidate alleles (`allele`); places dense in candidates become
//! windows (`window`), where clipped reads are assembled (`assembly`), candidates are combined to haplotypes
//! (`haplotype`), reads are compared with every haplotype (`likelihood`, `pairhmm`) and pairs of haplotypes are weighed
//! (`genotype`, `filter`). All other bases get reference blocks (`reference`).
//!
//! Invariant: what a cell says depends only on reads that start within [`HALO_BASES`] of it, never on further reads
//! given, on other cells, or on anything but the arguments. It must not know files, samples or other people's calls.

mod allele;
mod assembly;
mod downsample;
mod evidence;
mod filter;
mod genotype;
mod haplotype;
mod likelihood;
mod pairhmm;
mod read;
mod reference;
mod segment;
mod window;

pub use downsample::Downsampler;
pub use read::CallRead;

use crate::variant::{CellCalls, SiteCall};
use jobs::genome::HALO_BASES;
use std::ops::Range;

/// How far beyond the core evidence is gathered: longer than a window, its flanks and the shift of left alignment.
const MARGIN_BASES: u32 = 1024;

/// What steers the caller. Integers only, so that equal options print as equal text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallOptions {
    /// Reads over a place that are kept, about; for [`Downsampler`].
    pub depth_max: u32,
    /// Reads of lower MAPQ are not usable.
    pub mapq_min: u8,
    /// Bases of lower quality are not usable.
    pub quality_min: u8,
    /// Base qualities are capped at this phred value.
    pub quality_max: u8,
    /// Phred value of bases without quality.
    pub quality_missing: u8,
    /// One template's say for one haplotype over another is capped at this phred value.
    pub template_phred_max: u32,
    /// Prior of a heterozygous substitution, phred (30 is one in 1,000 bases).
    pub substitution_prior_phred: u32,
    /// Prior of a heterozygous indel outside repeats, phred (39 is one in 8,000 bases).
    pub indel_prior_phred: u32,
    /// `LowQual` below this QUAL, in tenths of phred.
    pub quality_tenths_min: u32,
    /// `LowQual` below this QUAL per template over the site, in tenths of phred.
    pub quality_per_template_tenths_min: u32,
    /// `LowDepth` below this number of templates.
    pub depth_min: u32,
    /// `StrandBias` above this phred-scaled p-value of Fisher's exact test; indels may be twice as biased.
    pub strand_bias_phred_max: u32,
    /// `LowMapq` where the alternate's templates have a lower root mean square MAPQ, in tenths.
    pub mapq_rms_tenths_min: u32,
    /// `Complex` where the alternate's templates disagree with every haplotype by more than this median phred.
    pub residual_phred_max: u32,
}

impl Default for CallOptions {
    fn default() -> Self {
        CallOptions {
            depth_max: 250,
            mapq_min: 10,
            quality_min: 6,
            quality_max: 40,
            quality_missing: 25,
            template_phred_max: 50,
            substitution_prior_phred: 30,
            indel_prior_phred: 39,
            quality_tenths_min: 150,
            quality_per_template_tenths_min: 8,
            depth_min: 4,
            strand_bias_phred_max: 35,
            mapq_rms_tenths_min: 250,
            residual_phred_max: 50,
        }
    }
}

/// A stretch of one contig's reference: it must hold the core and [`HALO_BASES`] around it, as far as the contig goes.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// Contig position of the first base.
    pub start: u32,
    /// Base codes 0 to 4.
    pub bases: &'a [u8],
    /// Length of the whole contig in bases.
    pub contig_bases: u32,
}

impl Window<'_> {
    /// The base code at a contig position; 4 outside.
    pub(crate) fn base(&self, position: u32) -> u8 {
        let at = position.checked_sub(self.start);
        at.and_then(|at| self.bases.get(at as usize)).map_or(4, |&code| code.min(4))
    }

    /// The bases of a range, cut to what the window holds.
    fn slice(&self, range: Range<u32>) -> &[u8] {
        let clamp = |position: u32| (position.saturating_sub(self.start) as usize).min(self.bases.len());
        &self.bases[clamp(range.start)..clamp(range.end)]
    }
}

/// Memory that is used again from cell to cell; its content never shows.
#[derive(Default)]
pub struct Workspace {
    evidence: evidence::Evidence,
    pairhmm: pairhmm::PairHmm,
}

impl Workspace {
    /// Empty memory; grows to what the deepest cell needs.
    pub fn new() -> Self {
        Self::default()
    }
}

/// Calls the cell `core`. `reads` are one sample's reads without duplicates, by position; those that start farther than
/// [`HALO_BASES`] from the core are ignored. Emits the sites whose POS lies in the core and blocks for all other bases;
/// a deletion reaching over the core's end answers bases of the core only, the next cell answers its own from its first.
pub fn call_cell(
    core: Range<u32>,
    reference: &Window<'_>,
    reads: &[CallRead<'_>],
    options: &CallOptions,
    workspace: &mut Workspace,
) -> CellCalls {
    let first_start = core.start.saturating_sub(HALO_BASES);
    let reads = read::place_all(reads, first_start, core.end.saturating_add(HALO_BASES), options);
    let reach = core.start.saturating_sub(MARGIN_BASES)
        ..core.end.saturating_add(MARGIN_BASES).min(reference.contig_bases);
    let Workspace { evidence, pairhmm } = workspace;
    evidence.gather(reach, reference, &reads, options);
    let candidates = evidence.candidates(reference);
    let index = segment::ReadIndex::new(&reads);
    let mut sites: Vec<SiteCall> = Vec::new();
    for window in window::windows(&core, &candidates, &evidence.clip_sites(), reference) {
        sites.extend(call_window(&window, &candidates, reference, &index, options, pairhmm));
    }
    let blocks = reference::blocks(&core, reference, evidence, &sites);
    CellCalls { sites, blocks }
}

/// Assembles where reads are clipped, builds haplotypes, weighs the reads and emits the sites of one window.
fn call_window(
    window: &window::Active,
    candidates: &[allele::Candidate],
    reference: &Window<'_>,
    reads: &segment::ReadIndex<'_, '_>,
    options: &CallOptions,
    pairhmm: &mut pairhmm::PairHmm,
) -> Vec<SiteCall> {
    let mut local = window.candidates(candidates);
    if window.assemble {
        let found = assembly::assemble(window.assembly_region(reference), reference, reads, options);
        window.merge(&mut local, found);
    }
    let tangled = window.bound(&mut local);
    if local.is_empty() {
        return Vec::new();
    }
    let region = window.region(&local, reference);
    let segments = reads.segments(&region, &window.span, &local, reference, options);
    let haplotypes = haplotype::combine(&local, &segments, &region, reference);
    let likelihoods = likelihood::compare(&segments, &haplotypes, options, pairhmm);
    let question = genotype::Question { window, candidates: &local, haplotypes: &haplotypes, tangled };
    genotype::sites(&question, &likelihoods, reference, options)
}

#[cfg(test)]
mod tests;
