//! From likelihoods to genotypes: allele frequencies by expectation maximisation, Hardy-Weinberg genotype priors,
//! posteriors, and the probability that nobody varies.
//!
//! Invariant: basic arithmetic and the `libm` crate only, summed in sample order: the same bits on every machine.

use super::evidence::{Evidence, genotype_index};

/// Rounds of expectation maximisation; more change no genotype that reads can tell apart.
const ROUNDS_MAX: usize = 64;
/// Largest change of a frequency at which the rounds end.
const CONVERGED: f64 = 1e-7;
/// Likelihoods beyond this PL are as good as zero, and still far from the smallest double.
const PL_MAX: usize = 2000;

/// Table of `10^(-PL/10)`.
pub struct Phred(Vec<f64>);

impl Phred {
    /// Fills the table.
    pub fn new() -> Self {
        Phred((0..=PL_MAX).map(|phred| libm::exp10(phred as f64 / -10.0)).collect())
    }

    fn probability(&self, phred: u32) -> f64 {
        self.0[(phred as usize).min(PL_MAX)]
    }
}

/// Likelihoods of all samples over the same alleles.
pub struct Cohort {
    /// PL: samples x genotypes, smallest 0.
    pub likelihoods: Vec<u32>,
    /// AD: samples x alleles.
    pub allele_depths: Vec<u32>,
    /// `10^(-PL/10)` of the samples whose reads tell genotypes apart.
    informative: Vec<f64>,
    /// Whether a sample is one of them.
    is_informative: Vec<bool>,
    alleles: usize,
    genotypes: usize,
}

/// The cohort's genotypes.
pub struct Called {
    /// Alleles and GQ of each sample.
    pub genotypes: Vec<(Option<[u8; 2]>, u8)>,
    /// QUAL in tenths of phred.
    pub quality_tenths: u32,
}

impl Cohort {
    /// `sources` maps the cohort's alleles to each sample's own.
    pub fn new(evidence: &[Evidence<'_>], sources: &[u8], alleles: usize, phred: &Phred) -> Self {
        let genotypes = alleles * (alleles + 1) / 2;
        let mut cohort = Cohort {
            likelihoods: Vec::with_capacity(evidence.len() * genotypes),
            allele_depths: Vec::with_capacity(evidence.len() * alleles),
            informative: Vec::with_capacity(evidence.len() * genotypes),
            is_informative: Vec::with_capacity(evidence.len()),
            alleles,
            genotypes,
        };
        for (evidence, sources) in evidence.iter().zip(sources.chunks_exact(alleles)) {
            cohort.push(evidence, sources, phred);
        }
        cohort
    }

    fn push(&mut self, evidence: &Evidence<'_>, sources: &[u8], phred: &Phred) {
        let start = self.likelihoods.len();
        let (own, depths, non_ref) = (evidence.likelihoods(), evidence.allele_depths(), evidence.non_ref());
        for (second, &own_second) in sources.iter().enumerate() {
            for &own_first in &sources[..=second] {
                let index = genotype_index(usize::from(own_first), usize::from(own_second));
                self.likelihoods.push(own.get(index).copied().unwrap_or(0));
            }
            // Reads for `<NON_REF>` belong to no allele in particular.
            let named = usize::from(own_second) != non_ref;
            self.allele_depths
                .push(depths.get(usize::from(own_second)).copied().filter(|_| named).unwrap_or(0));
        }
        let row = &mut self.likelihoods[start..];
        let smallest = row.iter().copied().min().unwrap_or(0);
        row.iter_mut().for_each(|likelihood| *likelihood -= smallest);
        let informative = row.iter().any(|&likelihood| likelihood > 0);
        self.is_informative.push(informative);
        if informative {
            self.informative.extend(row.iter().map(|&likelihood| phred.probability(likelihood)));
        }
    }

    /// Genotypes of highest posterior probability; the earlier one in VCF's order where two are equal. QUAL speaks of
    /// the alleles that are `real`: neither REF nor `*`.
    pub fn genotype(&self, pseudocounts: &[f64], real: &[bool]) -> Called {
        let frequencies = self.frequencies(pseudocounts);
        let priors = hardy_weinberg(&frequencies);
        let sum_real = |values: &[f64]| -> f64 {
            values.iter().zip(real).filter(|(_, real)| **real).map(|(v, _)| v).sum()
        };
        let real_frequency = sum_real(&frequencies);
        let invariant: Vec<f64> = frequencies
            .iter()
            .zip(real)
            .map(|(f, real)| if *real { 0.0 } else { f / (1.0 - real_frequency) })
            .collect();
        let invariant_priors = hardy_weinberg(&invariant);
        let mut rows = self.informative.chunks_exact(self.genotypes);
        let mut called = Vec::with_capacity(self.is_informative.len());
        // log10 of P(reads | no real alternate) / P(reads | these frequencies).
        let mut invariant_odds = 0.0;
        for informative in &self.is_informative {
            let row = informative.then(|| rows.next()).flatten();
            called.push(row.map_or((None, 0), |row| {
                let joint = || row.iter().zip(&priors).map(|(likelihood, prior)| likelihood * prior);
                let (mut best, mut best_joint, mut total) = (0, -1.0, 0.0);
                for (genotype, joint) in joint().enumerate() {
                    total += joint;
                    if joint > best_joint {
                        (best, best_joint) = (genotype, joint);
                    }
                }
                let invariant: f64 = row.iter().zip(&invariant_priors).map(|(l, prior)| l * prior).sum();
                invariant_odds += libm::log10(invariant) - libm::log10(total);
                let others: f64 =
                    joint().enumerate().filter(|(genotype, _)| *genotype != best).map(|(_, j)| j).sum();
                (Some(alleles_of(best)), phred(others / total).min(99.0) as u8)
            }));
        }
        // The neutral model: a site varies with k copies in a fraction theta / k of all sites.
        let haplotypes = 2.0 * called.iter().filter(|(alleles, _)| alleles.is_some()).count() as f64;
        let copies = (haplotypes * real_frequency).max(1.0);
        let odds = invariant_odds - libm::log10(sum_real(pseudocounts) / copies);
        // P(no real alternate) = odds / (1 + odds), without leaving the range of a double.
        let tenths = if odds < -15.0 { -100.0 * odds } else { 100.0 * libm::log10(1.0 + libm::exp10(-odds)) };
        Called { genotypes: called, quality_tenths: (tenths + 0.5) as u32 }
    }

    /// Allele frequencies of highest posterior probability, starting from a cohort in which all are common.
    fn frequencies(&self, pseudocounts: &[f64]) -> Vec<f64> {
        let mut frequencies = vec![1.0 / self.alleles as f64; self.alleles];
        let mut counts = vec![0.0; self.alleles];
        let mut joint = vec![0.0; self.genotypes];
        for _ in 0..ROUNDS_MAX {
            let priors = hardy_weinberg(&frequencies);
            counts.copy_from_slice(pseudocounts);
            for row in self.informative.chunks_exact(self.genotypes) {
                let mut total = 0.0;
                for ((joint, likelihood), prior) in joint.iter_mut().zip(row).zip(&priors) {
                    *joint = likelihood * prior;
                    total += *joint;
                }
                let mut genotypes = joint.iter();
                for second in 0..self.alleles {
                    for (first, joint) in (0..=second).zip(&mut genotypes) {
                        counts[first] += joint / total;
                        counts[second] += joint / total;
                    }
                }
            }
            let sum: f64 = counts.iter().sum();
            let mut change = 0.0f64;
            for (frequency, count) in frequencies.iter_mut().zip(&counts) {
                change = change.max((count / sum - *frequency).abs());
                *frequency = count / sum;
            }
            if change < CONVERGED {
                break;
            }
        }
        frequencies
    }
}

/// Genotype frequencies of a population that mates at random, in VCF's order.
fn hardy_weinberg(frequencies: &[f64]) -> Vec<f64> {
    let pairs = (0..frequencies.len()).flat_map(|second| (0..=second).map(move |first| (first, second)));
    let prior = |(first, second): (usize, usize)| {
        let product = frequencies[first] * frequencies[second];
        if first == second { product } else { 2.0 * product }
    };
    pairs.map(prior).collect()
}

/// Whole phred of a probability, rounded; infinite for 0.
fn phred(probability: f64) -> f64 {
    (0.5 - 10.0 * libm::log10(probability)).max(0.0)
}

/// Alleles of a genotype by its index in VCF's order.
fn alleles_of(genotype: usize) -> [u8; 2] {
    let (mut second, mut first) = (0, genotype);
    while first > second {
        second += 1;
        first -= second;
    }
    [first as u8, second as u8]
}
