//! What each sample knows at a position: a site of its own, a deletion that reaches over it, a reference block, or
//! nothing.
//!
//! Invariant: positions are asked in ascending order; the walk never looks back further than deletions reach.

use super::Sample;
use crate::variant::{Answer, RefBlock, SiteCall};

/// The site a sample has at a position, if any.
#[derive(Clone, Copy)]
pub struct HereSite<'a>(pub Option<&'a SiteCall>);

/// One sample's knowledge at a position. Its own alleles are REF, the alternates it names, `<NON_REF>`.
pub enum Evidence<'a> {
    /// A site that starts here.
    Site(&'a SiteCall),
    /// An earlier site reaches over this base: its likelihoods over REF, `*` and `<NON_REF>`.
    Spanned {
        /// PL of the six genotypes.
        likelihoods: [u32; 6],
        /// AD of the three alleles.
        allele_depths: [u32; 3],
        /// DP.
        depth: u32,
    },
    /// Reference blocks only.
    Block {
        /// PL of 0/0, 0/1, 1/1 against `<NON_REF>`, from the weakest block over REF.
        likelihoods: [u32; 3],
        /// AD: all reads count for REF.
        allele_depths: [u32; 2],
    },
    /// Nothing that tells genotypes apart.
    Nothing {
        /// DP.
        depth: u32,
    },
}

impl<'a> Evidence<'a> {
    /// The sample's own site here.
    pub fn site(&self) -> Option<&'a SiteCall> {
        match self {
            Evidence::Site(site) => Some(site),
            _ => None,
        }
    }

    /// PL over the sample's own alleles; empty if there is nothing.
    pub fn likelihoods(&self) -> &[u32] {
        match self {
            Evidence::Site(site) => &site.likelihoods,
            Evidence::Spanned { likelihoods, .. } => likelihoods,
            Evidence::Block { likelihoods, .. } => likelihoods,
            Evidence::Nothing { .. } => &[],
        }
    }

    /// AD over the sample's own alleles; empty if there is nothing.
    pub fn allele_depths(&self) -> &[u32] {
        match self {
            Evidence::Site(site) => &site.allele_depths,
            Evidence::Spanned { allele_depths, .. } => allele_depths,
            Evidence::Block { allele_depths, .. } => allele_depths,
            Evidence::Nothing { .. } => &[],
        }
    }

    /// DP.
    pub fn depth(&self) -> u32 {
        match self {
            Evidence::Site(site) => site.depth,
            Evidence::Spanned { depth, .. } | Evidence::Nothing { depth } => *depth,
            Evidence::Block { allele_depths, .. } => allele_depths[0],
        }
    }

    /// Index of `<NON_REF>` among the sample's own alleles.
    pub fn non_ref(&self) -> usize {
        match self {
            Evidence::Site(site) => site.alternates.len() + 1,
            Evidence::Spanned { .. } => 2,
            Evidence::Block { .. } | Evidence::Nothing { .. } => 1,
        }
    }

    /// Index of an alternate among the own alleles of a sample that has no site here.
    pub fn source_without_site(&self, alternate: &[u8]) -> u8 {
        match self {
            Evidence::Spanned { .. } if alternate != b"*" => 2,
            _ => 1,
        }
    }

    /// Whether the likeliest genotype has an allele whose base here is deleted.
    pub fn likely_deleted(&self) -> bool {
        match self {
            Evidence::Spanned { likelihoods, .. } => {
                best_genotype(likelihoods).is_some_and(|pair| pair.contains(&1))
            }
            Evidence::Site(site) => {
                site.alternates.iter().position(|alternate| alternate == b"*").is_some_and(|star| {
                    best_genotype(&site.likelihoods).is_some_and(|pair| pair.contains(&(star + 1)))
                })
            }
            Evidence::Block { .. } | Evidence::Nothing { .. } => false,
        }
    }

    /// The genotype in the sample's own phased order, if it phased exactly these alleles.
    pub fn phase(&self, alleles: Option<[u8; 2]>, sources: &[u8]) -> (Option<[u8; 2]>, Option<u32>) {
        let (Some([first, second]), Some(site)) = (alleles, self.site()) else { return (alleles, None) };
        let (Some(own), Some(phase_set)) = (site.genotype, site.phase_set) else { return (alleles, None) };
        let named = [sources[usize::from(first)], sources[usize::from(second)]];
        if named == own {
            (Some([first, second]), Some(phase_set))
        } else if [named[1], named[0]] == own {
            (Some([second, first]), Some(phase_set))
        } else {
            (alleles, None)
        }
    }
}

/// One past the last base of the site's REF.
pub fn end(site: &SiteCall) -> u64 {
    u64::from(site.position) + site.reference.len() as u64
}

/// Walks all samples through one cell.
pub struct Walk<'a> {
    samples: Vec<Cursor<'a>>,
}

struct Cursor<'a> {
    sites: &'a [SiteCall],
    blocks: &'a [RefBlock],
    /// Passed sites that reach beyond the last position asked, by position.
    reaching: Vec<&'a SiteCall>,
}

impl<'a> Walk<'a> {
    /// Stands at the cell's first base.
    pub fn new(start: u32, samples: &[Sample<'a>]) -> Self {
        let cursor = |sample: &Sample<'a>| Cursor {
            sites: &sample.calls.sites,
            blocks: &sample.calls.blocks,
            reaching: sample.upstream.iter().filter(|site| end(site) > u64::from(start)).collect(),
        };
        Walk { samples: samples.iter().map(cursor).collect() }
    }

    /// Moves to `position` and gives each sample's site there.
    pub fn sites_at(&mut self, position: u32) -> Vec<HereSite<'a>> {
        self.samples.iter_mut().map(|cursor| HereSite(cursor.site_at(position))).collect()
    }

    /// Each sample's evidence at a position already moved to, where the cohort's REF has `bases`.
    pub fn evidence_at(&self, position: u32, bases: u32, here: &[HereSite<'a>]) -> Vec<Evidence<'a>> {
        let cursors = self.samples.iter().zip(here);
        cursors.map(|(cursor, here)| cursor.evidence_at(position, bases, *here)).collect()
    }
}

impl<'a> Cursor<'a> {
    fn site_at(&mut self, position: u32) -> Option<&'a SiteCall> {
        let passed = self.sites.iter().take_while(|site| site.position < position).count();
        let (behind, ahead) = self.sites.split_at(passed);
        self.reaching.extend(behind.iter().filter(|site| site.reference.len() > 1));
        self.reaching.retain(|site| end(site) > u64::from(position));
        self.sites = ahead;
        // Only blocks that end before this base are behind for good: overlapping blocks of others stay in reach.
        let passed = self.blocks.iter().take_while(|block| block.end <= position).count();
        self.blocks = &self.blocks[passed..];
        ahead.first().filter(|site| site.position == position)
    }

    fn evidence_at(&self, position: u32, bases: u32, here: HereSite<'a>) -> Evidence<'a> {
        if let Some(site) = here.0 {
            return Evidence::Site(site);
        }
        if let Some(site) = self.reaching.last() {
            return spanned(site, position);
        }
        let last = position.saturating_add(bases);
        let mut over = self.blocks.iter().take_while(|block| block.start < last);
        match over.next() {
            None => Evidence::Nothing { depth: 0 },
            Some(block) if block.start > position || block.answer != Answer::Reference => {
                Evidence::Nothing { depth: if block.start > position { 0 } else { block.depth } }
            }
            Some(block) => {
                let weakest =
                    over.filter(|block| block.answer == Answer::Reference).fold(block, |weakest, block| {
                        if confidence(block) < confidence(weakest) { block } else { weakest }
                    });
                Evidence::Block { likelihoods: weakest.likelihoods, allele_depths: [block.depth, 0] }
            }
        }
    }
}

fn confidence(block: &RefBlock) -> u32 {
    block.likelihoods[1].saturating_sub(block.likelihoods[0])
}

/// Projects an earlier site on a base within its REF: alleles that delete the base become `*`, the others REF.
fn spanned<'a>(site: &SiteCall, position: u32) -> Evidence<'a> {
    let offset = (position - site.position) as usize;
    let shortens = |alternate: &Vec<u8>| alternate != b"*" && alternate.len() < site.reference.len();
    let seen_as = |allele: usize| match allele.checked_sub(1).map(|i| site.alternates.get(i)) {
        None => 0,
        Some(None) => 2,
        Some(Some(alternate)) => usize::from(shortens(alternate) && offset >= alternate.len()),
    };
    let mut likelihoods = [u32::MAX; 6];
    let mut own = site.likelihoods.iter();
    for second in 0..site.alternates.len() + 2 {
        for (first, &likelihood) in (0..=second).zip(&mut own) {
            let best = &mut likelihoods[genotype_index(seen_as(first), seen_as(second))];
            *best = likelihood.min(*best);
        }
    }
    // A class of genotypes that no allele falls into is as unlikely as the unlikeliest.
    let worst = likelihoods.iter().copied().filter(|&likelihood| likelihood < u32::MAX).max().unwrap_or(0);
    likelihoods.iter_mut().for_each(|likelihood| *likelihood = worst.min(*likelihood));
    let mut allele_depths = [0u32; 3];
    for (allele, &depth) in site.allele_depths.iter().enumerate() {
        let total = &mut allele_depths[seen_as(allele)];
        *total = total.saturating_add(depth);
    }
    Evidence::Spanned { likelihoods, allele_depths, depth: site.depth }
}

/// VCF's order of genotypes (VCFv4.3 §1.6.2, GL): k(k+1)/2 + j for alleles j <= k.
pub fn genotype_index(first: usize, second: usize) -> usize {
    let (low, high) = (first.min(second), first.max(second));
    high * (high + 1) / 2 + low
}

/// The alleles of the likeliest genotype; `None` if all are equally likely.
fn best_genotype(likelihoods: &[u32]) -> Option<[usize; 2]> {
    let best = likelihoods.iter().min()?;
    if likelihoods.iter().all(|likelihood| likelihood == best) {
        return None;
    }
    let pairs = (0..).flat_map(|second| (0..=second).map(move |first| [first, second]));
    pairs.zip(likelihoods).find(|(_, likelihood)| *likelihood == best).map(|(pair, _)| pair)
}
