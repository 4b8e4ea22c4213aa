//! Reference confidence: blocks of equal answer over all bases that no site answers.
//!
//! Invariant: with the sites, every base of the core is answered exactly once; a block never crosses the core's end.

use super::Window;
use super::evidence::Evidence;
use crate::variant::{Answer, RefBlock, SiteCall};
use std::ops::Range;

/// From this GQ on all bases share a block. A single sequencing error takes a base from 60 to 25: a higher border would
/// break blocks at every error and make gVCFs five times as large, for a difference that no genotype depends on.
const BAND_GENOTYPE_QUALITY_MAX: u8 = 20;
const GENOTYPE_QUALITY_MAX: u32 = 99;

/// What one base says.
struct Base {
    answer: Answer,
    depth: u32,
    genotype_quality: u8,
    likelihoods: [u32; 3],
}

/// Blocks over the bases of the core that no site's REF covers.
pub(super) fn blocks(
    core: &Range<u32>,
    reference: &Window<'_>,
    evidence: &Evidence,
    sites: &[SiteCall],
) -> Vec<RefBlock> {
    let mut blocks = Vec::new();
    let mut position = core.start;
    for site in sites {
        fill(position..site.position, reference, evidence, &mut blocks);
        position = position.max(site.position + site.reference.len() as u32);
    }
    fill(position..core.end.min(reference.contig_bases), reference, evidence, &mut blocks);
    blocks
}

/// Adds blocks over an unbroken run of bases.
fn fill(range: Range<u32>, reference: &Window<'_>, evidence: &Evidence, blocks: &mut Vec<RefBlock>) {
    let mut depths: Vec<u32> = Vec::new();
    let mut open: Option<RefBlock> = None;
    for position in range {
        let base = base(position, reference, evidence);
        let same = |block: &RefBlock| {
            block.answer == base.answer && band(block.genotype_quality) == band(base.genotype_quality)
        };
        match &mut open {
            Some(block) if same(block) => {
                block.end = position + 1;
                block.depth_min = block.depth_min.min(base.depth);
                if base.genotype_quality < block.genotype_quality {
                    block.genotype_quality = base.genotype_quality;
                    block.likelihoods = base.likelihoods;
                }
            }
            _ => {
                close(open.take(), &mut depths, blocks);
                open = Some(RefBlock {
                    start: position,
                    end: position + 1,
                    answer: base.answer,
                    depth: 0,
                    depth_min: base.depth,
                    genotype_quality: base.genotype_quality,
                    likelihoods: base.likelihoods,
                });
            }
        }
        depths.push(base.depth);
    }
    close(open, &mut depths, blocks);
}

/// Ends a block: its depth is the lower median of its bases'.
fn close(block: Option<RefBlock>, depths: &mut Vec<u32>, blocks: &mut Vec<RefBlock>) {
    if let Some(mut block) = block {
        let middle = (depths.len() - 1) / 2;
        block.depth = *depths.select_nth_unstable(middle).1;
        blocks.push(block);
    }
    depths.clear();
}

/// The GQ band of a block: 0, 1 to 9, 10 to 19, 20 and more.
fn band(genotype_quality: u8) -> u8 {
    match genotype_quality {
        0 => 0,
        known => 1 + known.min(BAND_GENOTYPE_QUALITY_MAX) / 10,
    }
}

/// The answer of one base. Usable bases that agree speak for the reference by their quality, others against it;
/// a heterozygous genotype pays half for each.
fn base(position: u32, reference: &Window<'_>, evidence: &Evidence) -> Base {
    let code = reference.base(position);
    let column = evidence.column(position);
    let depth = column.depth();
    let answer = match (code < 4, depth > 0, evidence.seen(position)) {
        (false, _, _) => Answer::ReferenceUnknown,
        (true, true, _) => Answer::Reference,
        (true, false, true) => Answer::NoUsableReads,
        (true, false, false) => Answer::NoReads,
    };
    if answer != Answer::Reference {
        return Base { answer, depth, genotype_quality: 0, likelihoods: [0; 3] };
    }
    let agree = column.qualities[code as usize];
    let differ = column.qualities.iter().sum::<u32>() - agree;
    // 3.0103 phred is one half; the product is exact in 64 bits at any depth.
    let half = ((u64::from(depth) * 30_103 + 5_000) / 10_000).min(u64::from(u32::MAX)) as u32;
    let costs = [differ, half, agree];
    let least = differ.min(half).min(agree);
    let likelihoods = costs.map(|cost| cost - least);
    let confidence = if likelihoods[0] == 0 { likelihoods[1].min(likelihoods[2]) } else { 0 };
    Base { answer, depth, genotype_quality: confidence.min(GENOTYPE_QUALITY_MAX) as u8, likelihoods }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_are_zero_then_tens_then_twenty_and_more() {
        let bands: Vec<u8> = [0, 1, 9, 10, 19, 20, 59, 60, 99].into_iter().map(band).collect();
        assert_eq!(bands, [0, 1, 1, 2, 2, 3, 3, 3, 3]);
    }

    #[test]
    fn the_median_of_an_even_number_is_the_lower_one() {
        let block = RefBlock {
            start: 0,
            end: 4,
            answer: Answer::Reference,
            depth: 0,
            depth_min: 1,
            genotype_quality: 3,
            likelihoods: [0, 3, 30],
        };
        let mut blocks = Vec::new();
        close(Some(block), &mut vec![9, 1, 4, 3], &mut blocks);
        assert_eq!(blocks[0].depth, 3);
    }
}
