//! What calling one cell of one sample says: variant sites, and reference blocks for every base between them.
//!
//! The caller makes these values, the gVCF writer prints them, the gVCF reader gives them back to the joint caller.
//! Integers only: everything here is printed as it stands, so equal values are equal bytes.

/// Why a stretch has no reference confidence to state, or that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// Reads were looked at; GQ and PL state the confidence in the reference.
    Reference,
    /// No read covers it.
    NoReads,
    /// Reads cover it, none of them usable (mapping or base quality too low).
    NoUsableReads,
    /// The reference has no base here (N).
    ReferenceUnknown,
}

/// A run of bases of one answer; ends at the cell's end at the latest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefBlock {
    /// First base, 0-based.
    pub start: u32,
    /// One past the last base.
    pub end: u32,
    /// What is known here.
    pub answer: Answer,
    /// Median depth of usable reads over the block (DP).
    pub depth: u32,
    /// Smallest depth in the block (MIN_DP).
    pub depth_min: u32,
    /// Smallest genotype quality in the block, 0 to 99.
    pub genotype_quality: u8,
    /// PL of 0/0, 0/1 and 1/1 against `<NON_REF>`, at the base of smallest genotype quality.
    pub likelihoods: [u32; 3],
}

/// Why a site did not pass, as the FILTER column names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Filter {
    /// QUAL below the threshold.
    LowQual,
    /// Fewer usable reads than the threshold.
    LowDepth,
    /// Alternate reads come from one strand only.
    StrandBias,
    /// Reads that support the alternate map elsewhere nearly as well.
    LowMapq,
    /// Alternate reads carry many further mismatches or sit in a tangle of candidates.
    Complex,
}

impl Filter {
    /// The name in the FILTER column.
    pub const fn name(self) -> &'static str {
        match self {
            Filter::LowQual => "LowQual",
            Filter::LowDepth => "LowDepth",
            Filter::StrandBias => "StrandBias",
            Filter::LowMapq => "LowMapq",
            Filter::Complex => "Complex",
        }
    }

    /// The FILTER of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Filter::LowQual, Filter::LowDepth, Filter::StrandBias, Filter::LowMapq, Filter::Complex]
            .into_iter()
            .find(|filter| filter.name() == name)
    }
}

/// A variant site of one sample, left-aligned and parsimonious, VCF's anchor base included for indels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteCall {
    /// First reference base of REF, 0-based.
    pub position: u32,
    /// REF, upper-case letters.
    pub reference: Vec<u8>,
    /// ALT alleles without `<NON_REF>`, upper-case letters; `*` for a spanning deletion.
    pub alternates: Vec<Vec<u8>>,
    /// QUAL in tenths of phred.
    pub quality_tenths: u32,
    /// FILTER; empty means PASS.
    pub filters: Vec<Filter>,
    /// The two alleles (0 is REF); `None` is `./.`.
    pub genotype: Option<[u8; 2]>,
    /// Position of the phase set's first site, 0-based (PS), where the order of the two alleles is phased.
    pub phase_set: Option<u32>,
    /// AD: REF, then each ALT, then `<NON_REF>`.
    pub allele_depths: Vec<u32>,
    /// DP: usable reads over the site.
    pub depth: u32,
    /// GQ, 0 to 99.
    pub genotype_quality: u8,
    /// PL over REF, ALTs and `<NON_REF>` in VCF's genotype order (j(j+1)/2+k), smallest 0.
    pub likelihoods: Vec<u32>,
    /// Forward and reverse reads: REF+, REF-, ALT+, ALT- (SB).
    pub strand_counts: [u32; 4],
    /// Root mean square mapping quality of usable reads (MQ), in tenths.
    pub mapq_rms_tenths: u32,
}

/// All answers of one cell, in coordinate order; sites may overlap blocks only where a deletion's later bases lie.
/// Together they answer every base of the cell exactly once: a site answers the bases of its REF that no earlier site
/// or block answered, a block never covers a base that a site answered. No two sites have one position: a substitution
/// and an indel behind the same base are alleles of one site, so that nobody need choose between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CellCalls {
    /// Variant sites, by position, at most one each.
    pub sites: Vec<SiteCall>,
    /// Reference blocks, by start.
    pub blocks: Vec<RefBlock>,
}
