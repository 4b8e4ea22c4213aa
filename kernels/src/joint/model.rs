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
    /// Whether a sample itself names an allele: samples x alleles.
    named: Vec<bool>,
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
            named: Vec::with_capacity(evidence.len() * alleles),
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
            self.named.push(named);
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

    /// Genotypes of highest posterior probability. QUAL speaks of the alleles that are `real`: neither REF nor `*`.
    pub fn genotype(&self, pseudocounts: &[f64], real: &[bool]) -> Called {
        let frequencies = self.frequencies(pseudocounts);
        let priors = hardy_weinberg(&frequencies);
        let mut rows = self.informative.chunks_exact(self.genotypes);
        let samples = self.is_informative.iter().zip(self.named.chunks_exact(self.alleles));
        let genotypes = samples.map(|(informative, named)| {
            let row = informative.then(|| rows.next()).flatten();
            row.and_then(|row| most_probable(row, &priors, named)).map_or((None, 0), |(a, q)| (Some(a), q))
        });
        let genotypes = genotypes.collect();
        Called { genotypes, quality_tenths: self.quality_tenths(&frequencies, pseudocounts, real) }
    }

    /// QUAL: P(no real alternate | reads), the alternative being these frequencies.
    fn quality_tenths(&self, frequencies: &[f64], pseudocounts: &[f64], real: &[bool]) -> u32 {
        let sum_real = |values: &[f64]| -> f64 {
            values.iter().zip(real).filter(|(_, real)| **real).map(|(value, _)| value).sum()
        };
        let real_frequency = sum_real(frequencies);
        let without =
            |(frequency, real): (&f64, &bool)| if *real { 0.0 } else { frequency / (1.0 - real_frequency) };
        let invariant: Vec<f64> = frequencies.iter().zip(real).map(without).collect();
        let (priors, invariant_priors) = (hardy_weinberg(frequencies), hardy_weinberg(&invariant));
        let log_likelihood = |row: &[f64], priors: &[f64]| {
            libm::log10(row.iter().zip(priors).map(|(likelihood, prior)| likelihood * prior).sum())
        };
        let rows = self.informative.chunks_exact(self.genotypes);
        let haplotypes = 2.0 * rows.len() as f64;
        let ratio: f64 =
            rows.map(|row| log_likelihood(row, &invariant_priors) - log_likelihood(row, &priors)).sum();
        // The neutral model: a site varies with k copies in a fraction theta / k of all sites.
        let copies = (haplotypes * real_frequency).max(1.0);
        let odds = ratio - libm::log10(sum_real(pseudocounts) / copies);
        // P = 10^odds / (1 + 10^odds), without leaving the range of a double.
        let tenths = if odds < -15.0 { -100.0 * odds } else { 100.0 * libm::log10(1.0 + libm::exp10(-odds)) };
        (tenths + 0.5) as u32
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

/// The genotype of highest posterior probability (the earlier in VCF's order of equal ones) and its GQ. `None` if it
/// has an allele the sample does not name: then only the cohort speaks for it, and no read of the sample.
fn most_probable(row: &[f64], priors: &[f64], named: &[bool]) -> Option<([u8; 2], u8)> {
    let joint = || row.iter().zip(priors).map(|(likelihood, prior)| likelihood * prior);
    let (mut best, mut best_joint) = (0, -1.0);
    for (genotype, joint) in joint().enumerate() {
        if joint > best_joint {
            (best, best_joint) = (genotype, joint);
        }
    }
    let alleles = alleles_of(best);
    let others: f64 =
        joint().enumerate().filter(|(genotype, _)| *genotype != best).map(|(_, joint)| joint).sum();
    let quality = phred(others / (others + best_joint)).min(99.0) as u8;
    alleles.iter().all(|&allele| named[usize::from(allele)]).then_some((alleles, quality))
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
