//! FILTER: why a called site may still be wrong.
//!
//! Invariant: filters mark, they never drop a site.

use super::CallOptions;
use crate::logarithm::phred;
use crate::variant::Filter;

/// What the filters look at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Support {
    pub quality_tenths: u32,
    pub depth: u32,
    /// REF forward, REF reverse, ALT forward, ALT reverse.
    pub strand_counts: [u32; 4],
    pub alternate_mapq_rms_tenths: u32,
    /// Median cost of the alternate's templates on their best haplotype, phred.
    pub residual_phred: f64,
    pub tangled: bool,
    pub indel: bool,
}

/// Indels may be so many times more biased: how a read ends decides whether it can show one at all.
const INDEL_STRAND_BIAS: f64 = 2.0;

/// The filters that a site fails, in order.
pub(super) fn filters(support: &Support, options: &CallOptions) -> Vec<Filter> {
    let alternates = support.strand_counts[2] + support.strand_counts[3];
    let complex = support.tangled || support.residual_phred > f64::from(options.residual_phred_max);
    let by_depth = support.depth.saturating_mul(options.quality_per_template_tenths_min);
    let leniency = if support.indel { INDEL_STRAND_BIAS } else { 1.0 };
    let bias_max = leniency * f64::from(options.strand_bias_phred_max);
    let failed = [
        (Filter::LowQual, support.quality_tenths < options.quality_tenths_min.max(by_depth)),
        (Filter::LowDepth, support.depth < options.depth_min),
        (Filter::StrandBias, strand_bias_phred(support.strand_counts) > bias_max),
        (Filter::LowMapq, alternates > 0 && support.alternate_mapq_rms_tenths < options.mapq_rms_tenths_min),
        (Filter::Complex, complex),
    ];
    failed.into_iter().filter_map(|(filter, fails)| fails.then_some(filter)).collect()
}

/// Phred of the two-sided p-value of Fisher's exact test on the table of alleles and strands.
fn strand_bias_phred(counts: [u32; 4]) -> f64 {
    let [a, b, c, d] = counts;
    let (reference, alternate, forward) = (a + b, c + d, a + c);
    let total = reference + alternate;
    let log_choose = |n: u32, k: u32| {
        let log_factorial = |n: u32| libm::lgamma(f64::from(n) + 1.0);
        log_factorial(n) - log_factorial(k) - log_factorial(n - k)
    };
    let log_probability =
        |k: u32| log_choose(reference, k) + log_choose(alternate, forward - k) - log_choose(total, forward);
    let observed = log_probability(a);
    let tables = forward.saturating_sub(alternate)..=reference.min(forward);
    // Tables as likely as the observed one count, whatever rounding did to them.
    let rarer = tables.map(log_probability).filter(|&log| log <= observed + 1e-7);
    phred(rarer.map(libm::exp).sum::<f64>().min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values from the hypergeometric distribution written out.
    #[test]
    fn strand_bias_is_fishers_exact_test() {
        let check = |counts: [u32; 4], p: f64| {
            let found = strand_bias_phred(counts);
            assert!((found - phred(p)).abs() < 1e-6, "{counts:?}: {found} {}", phred(p));
        };
        check([0, 0, 0, 0], 1.0);
        check([10, 10, 10, 10], 1.0);
        check([3, 1, 1, 3], 34.0 / 70.0);
        check([4, 0, 0, 4], 2.0 / 70.0);
        check([1, 9, 11, 3], 0.002_759_456_185_220_088);
    }

    #[test]
    fn a_site_carries_every_filter_it_fails() {
        let options = CallOptions::default();
        let good = Support {
            quality_tenths: 5000,
            depth: 30,
            strand_counts: [8, 7, 7, 8],
            alternate_mapq_rms_tenths: 600,
            residual_phred: 5.0,
            tangled: false,
            indel: false,
        };
        assert_eq!(filters(&good, &options), []);
        let bad = Support {
            quality_tenths: 10,
            depth: 1,
            strand_counts: [40, 0, 0, 40],
            alternate_mapq_rms_tenths: 10,
            residual_phred: 200.0,
            tangled: true,
            indel: true,
        };
        let all = [Filter::LowQual, Filter::LowDepth, Filter::StrandBias, Filter::LowMapq, Filter::Complex];
        assert_eq!(filters(&bad, &options), all);
    }
}
