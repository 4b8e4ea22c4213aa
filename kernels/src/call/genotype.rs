//! Diploid genotypes of a window's sites: every pair of haplotypes is weighed by all templates, sites sum over pairs.
//!
//! Invariant: genotype and QUAL come from the posterior, PL from the likelihood alone; PL is in VCF's order (§ 1.6.2)
//! with 0 for the smallest. Sites whose likeliest genotype has no alternate are not emitted. All candidates of a
//! position make one site, whose alleles are what haplotypes carry of them: a substitution, an indel behind the same
//! base, or both.

use super::allele::{Candidate, Change};
use super::filter::{self, Support};
use super::haplotype::Haplotype;
use super::likelihood::Template;
use super::window::Active;
use super::{CallOptions, Window};
use crate::logarithm::{phred, phred_sum};
use crate::variant::SiteCall;

/// A homozygous alternate is half as common as a heterozygous one.
const HOMOZYGOUS_PHRED: f64 = 3.0;
/// Indel priors rise with the repeat they lie in, to this at most, phred.
const INDEL_PRIOR_PHRED_MIN: f64 = 20.0;
/// A template counts for an allele (AD) if it is so many times likelier than every other.
const INFORMATIVE_RATIO: f64 = 2.0;
/// Two phasings must differ by this much for genotypes to be phased, phred.
const PHASE_PHRED_MIN: f64 = 20.0;
/// Largest GQ.
const GENOTYPE_QUALITY_MAX: f64 = 99.0;
/// Largest QUAL and PL, phred.
const PHRED_MAX: f64 = 99_999.0;
const LETTERS: [u8; 5] = *b"ACGTN";

/// What one window asks.
pub(super) struct Question<'q> {
    pub window: &'q Active,
    pub candidates: &'q [Candidate],
    pub haplotypes: &'q [Haplotype],
    /// Whether candidates were dropped because there were too many.
    pub tangled: bool,
}

/// A pair of haplotypes by index, and its phred cost without and with priors.
struct Pair {
    haplotypes: [usize; 2],
    cost: f64,
    prior: f64,
}

/// Candidates of one position and what each haplotype has there.
struct Site {
    position: u32,
    /// Ordinals of its candidates.
    candidates: std::ops::Range<usize>,
    /// Prior of each candidate, phred.
    priors: Vec<f64>,
    /// The candidates that each allele carries, by bit; none for REF, the first allele, and for a spanning deletion, the
    /// last one.
    carried: Vec<u32>,
    /// Allele per haplotype.
    alleles: Vec<usize>,
}

/// The called sites of a window.
pub(super) fn sites(
    question: &Question<'_>,
    templates: &[Template],
    reference: &Window<'_>,
    options: &CallOptions,
) -> Vec<SiteCall> {
    let sites = group(question, reference, options);
    let mut pairs = weigh(question.haplotypes.len(), templates);
    for pair in &mut pairs {
        pair.prior = sites.iter().map(|site| site.prior(pair)).sum();
    }
    let mut called: Vec<(&Site, SiteCall)> = Vec::new();
    for site in sites.iter().filter(|site| question.window.emits.contains(&site.position)) {
        let call = Genotypes::of(site, &pairs)
            .and_then(|genotypes| genotypes.call(site, question, templates, reference, options));
        called.extend(call.map(|call| (site, call)));
    }
    phase(&mut called, &pairs);
    called.into_iter().map(|(_, call)| call).collect()
}

/// Index of genotype `a/b` in VCF's order.
fn genotype_index(a: usize, b: usize) -> usize {
    let (low, high) = (a.min(b), a.max(b));
    high * (high + 1) / 2 + low
}

/// Candidates by position.
fn group(question: &Question<'_>, reference: &Window<'_>, options: &CallOptions) -> Vec<Site> {
    let candidates = question.candidates;
    let mut sites = Vec::new();
    let mut start = 0;
    for same in candidates.chunk_by(|a, b| a.position == b.position) {
        let range = start..start + same.len();
        start = range.end;
        let position = same[0].position;
        let deleting: u32 =
            (0..).zip(candidates).map(|(bit, other)| u32::from(other.deletes(position)) << bit).sum();
        let of = |haplotype: &Haplotype| haplotype.carries >> range.start & ((1 << same.len()) - 1);
        let mut carried: Vec<u32> = question.haplotypes.iter().map(of).chain([0]).collect();
        carried.sort_unstable();
        carried.dedup();
        let spanning = carried.len();
        carried.push(0);
        let allele = |haplotype: &Haplotype| match of(haplotype) {
            0 if haplotype.carries & deleting != 0 => spanning,
            own => carried[..spanning].partition_point(|&less| less < own),
        };
        let alleles = question.haplotypes.iter().map(allele).collect();
        let priors = same.iter().map(|candidate| prior_phred(candidate, reference, options)).collect();
        sites.push(Site { position, candidates: range, priors, carried, alleles });
    }
    sites
}

/// Prior of a heterozygous candidate: indels are the commoner, the more places of a repeat they can lie in.
fn prior_phred(candidate: &Candidate, reference: &Window<'_>, options: &CallOptions) -> f64 {
    if !candidate.is_indel() {
        return f64::from(options.substitution_prior_phred);
    }
    let own = match candidate.change {
        Change::Deletion(length) => length,
        Change::Substitution(_) | Change::Insertion(_) => 1,
    };
    let shifts = candidate.reach(reference) - candidate.position - 1 - own;
    (f64::from(options.indel_prior_phred) - f64::from(shifts)).max(INDEL_PRIOR_PHRED_MIN)
}

impl Site {
    fn alleles_of(&self, pair: &Pair) -> [usize; 2] {
        pair.haplotypes.map(|haplotype| self.alleles[haplotype])
    }

    fn prior(&self, pair: &Pair) -> f64 {
        self.genotype_prior(self.alleles_of(pair))
    }

    /// Every candidate pays for itself, whatever it shares its haplotype with.
    fn genotype_prior(&self, [a, b]: [usize; 2]) -> f64 {
        let (first, second) = (self.carried[a], self.carried[b]);
        let copies = |bit: usize| (first >> bit & 1) + (second >> bit & 1);
        let prior = |(bit, prior): (usize, &f64)| match copies(bit) {
            0 => 0.0,
            1 => *prior,
            _ => prior + HOMOZYGOUS_PHRED,
        };
        self.priors.iter().enumerate().map(prior).sum()
    }

    /// The last allele: a deletion that starts at an earlier base.
    fn spanning(&self) -> usize {
        self.carried.len() - 1
    }

    /// The changes of an allele, the substitution first.
    fn changes<'q>(&self, allele: usize, question: &Question<'q>) -> Vec<&'q Change> {
        let own = question.candidates[self.candidates.clone()].iter().enumerate();
        own.filter(|(bit, _)| self.carried[allele] >> bit & 1 == 1).map(|(_, own)| &own.change).collect()
    }
}

/// Phred cost of all templates for every pair of haplotypes. The product of half sums is taken in plain numbers and
/// turned into phred before it could vanish. Time: templates times pairs.
fn weigh(haplotypes: usize, templates: &[Template]) -> Vec<Pair> {
    let columns: Vec<Vec<f64>> = (0..haplotypes)
        .map(|haplotype| templates.iter().map(|template| 0.5 * template.likelihoods[haplotype]).collect())
        .collect();
    let mut pairs = Vec::with_capacity(haplotypes * (haplotypes + 1) / 2);
    for second in 0..haplotypes {
        for first in 0..=second {
            let (mut cost, mut product) = (0.0, 1.0);
            for (a, b) in columns[first].iter().zip(&columns[second]) {
                product *= a + b;
                if product < 1e-280 {
                    cost += phred(product);
                    product = 1.0;
                }
            }
            pairs.push(Pair { haplotypes: [first, second], cost: cost + phred(product), prior: 0.0 });
        }
    }
    pairs
}

/// Costs of one site's genotypes, phred, by genotype index.
struct Genotypes {
    likelihood: Vec<f64>,
    posterior: Vec<f64>,
    best: [usize; 2],
}

impl Genotypes {
    /// Sums over pairs; nothing where the likeliest genotype has no alternate.
    fn of(site: &Site, pairs: &[Pair]) -> Option<Self> {
        let spanning = site.spanning();
        let mut likelihood = vec![f64::INFINITY; genotype_index(spanning, spanning) + 1];
        for pair in pairs {
            let [a, b] = site.alleles_of(pair);
            let sum = &mut likelihood[genotype_index(a, b)];
            *sum = phred_sum(*sum, pair.cost + pair.prior - site.prior(pair));
        }
        let mut posterior = likelihood.clone();
        let mut best = ([0, 0], f64::INFINITY);
        for b in 0..=spanning {
            for a in 0..=b {
                let cost = &mut posterior[genotype_index(a, b)];
                *cost += site.genotype_prior([a, b]);
                if *cost < best.1 {
                    best = ([a, b], *cost);
                }
            }
        }
        let best = best.0;
        let alternate = best.iter().any(|&allele| site.carried[allele] != 0);
        alternate.then_some(Genotypes { likelihood, posterior, best })
    }

    /// QUAL and GQ, phred.
    fn qualities(&self, site: &Site) -> (f64, f64) {
        let spanning = site.spanning();
        let best = genotype_index(self.best[0], self.best[1]);
        let sum = |costs: &mut dyn Iterator<Item = f64>| costs.fold(f64::INFINITY, phred_sum);
        let all = sum(&mut self.posterior.iter().copied());
        let without = [[0, 0], [0, spanning], [spanning, spanning]];
        let none = sum(&mut without.iter().map(|&[a, b]| self.posterior[genotype_index(a, b)]));
        let others = (0..self.posterior.len()).filter(|&index| index != best);
        let other = sum(&mut others.map(|index| self.posterior[index]));
        ((none - all).max(0.0), (other - all).max(0.0))
    }

    /// The record of this site.
    fn call(
        &self,
        site: &Site,
        question: &Question<'_>,
        templates: &[Template],
        reference: &Window<'_>,
        options: &CallOptions,
    ) -> Option<SiteCall> {
        let mut kept: Vec<usize> = self.best.iter().copied().filter(|&allele| allele > 0).collect();
        kept.sort_unstable();
        kept.dedup();
        let changes: Vec<Vec<&Change>> = kept.iter().map(|&allele| site.changes(allele, question)).collect();
        let (reference_allele, alternates) = spell(site.position, &changes, reference)?;
        kept.insert(0, 0);
        let indel = changes.iter().flatten().any(|change| !matches!(change, Change::Substitution(_)));
        let reads = Reads::count(site, &kept, self.best, indel, templates);
        let (quality, genotype_quality) = self.qualities(site);
        let quality_tenths = (quality.min(PHRED_MAX) * 10.0) as u32;
        let at = |allele: usize| kept.iter().position(|&kept| kept == allele).unwrap_or(0) as u8;
        let support = Support { quality_tenths, tangled: question.tangled, indel, ..reads.support };
        Some(SiteCall {
            position: site.position,
            reference: reference_allele,
            alternates,
            quality_tenths,
            filters: filter::filters(&support, options),
            genotype: Some(self.best.map(at)),
            phase_set: None,
            depth: support.depth,
            genotype_quality: genotype_quality.min(GENOTYPE_QUALITY_MAX) as u8,
            likelihoods: self.phred_likelihoods(&kept, &reads.unknown),
            strand_counts: support.strand_counts,
            mapq_rms_tenths: reads.mapq_rms_tenths,
            allele_depths: reads.allele_depths,
        })
    }

    /// PL over the kept alleles and `<NON_REF>`, whose genotypes stand as far from the called one as the templates'
    /// allele likelihoods say.
    fn phred_likelihoods(&self, kept: &[usize], unknown: &[f64]) -> Vec<u32> {
        let called = self.likelihood[genotype_index(self.best[0], self.best[1])];
        let mut costs = Vec::with_capacity((kept.len() + 1) * (kept.len() + 2) / 2);
        for (j, &b) in kept.iter().enumerate() {
            costs.extend(kept[..=j].iter().map(|&a| self.likelihood[genotype_index(a, b)]));
        }
        costs.extend(unknown.iter().map(|further| called + further));
        let least = costs.iter().copied().fold(f64::INFINITY, f64::min);
        costs.iter().map(|cost| (cost - least).clamp(0.0, PHRED_MAX).round() as u32).collect()
    }
}

/// REF and ALT letters of one site from the changes of every alternate, none of them for a spanning deletion: REF reaches
/// over the longest deletion. Nothing where the reference is unknown.
fn spell(
    position: u32,
    alternates: &[Vec<&Change>],
    reference: &Window<'_>,
) -> Option<(Vec<u8>, Vec<Vec<u8>>)> {
    let length = |change: &&Change| match change {
        Change::Deletion(length) => *length,
        Change::Substitution(_) | Change::Insertion(_) => 0,
    };
    let deleted = alternates.iter().flatten().map(length).max().unwrap_or(0);
    let letter = |code: u8| LETTERS[usize::from(code.min(4))];
    let bases: Vec<u8> = (position..=position + deleted).map(|at| letter(reference.base(at))).collect();
    let spelled = |changes: &Vec<&Change>| {
        if changes.is_empty() {
            return b"*".to_vec();
        }
        let mut allele = bases.clone();
        for change in changes {
            match change {
                Change::Substitution(code) => allele[0] = letter(*code),
                Change::Deletion(length) => drop(allele.drain(1..=*length as usize)),
                Change::Insertion(inserted) => {
                    drop(allele.splice(1..1, inserted.iter().map(|&code| letter(code))))
                }
            }
        }
        allele
    };
    let alternates = alternates.iter().map(spelled).collect();
    (!bases.contains(&b'N')).then_some((bases, alternates))
}

/// What the templates over a site say one by one.
struct Reads {
    allele_depths: Vec<u32>,
    mapq_rms_tenths: u32,
    support: Support,
    /// Phred distance of every genotype with `<NON_REF>` from the called one.
    unknown: Vec<f64>,
}

impl Reads {
    fn count(site: &Site, kept: &[usize], best: [usize; 2], indel: bool, templates: &[Template]) -> Self {
        let mut allele_depths = vec![0; kept.len() + 1];
        let mut support = Support::default();
        let (mut mapq_squares, mut alternate_squares) = (0u64, 0u64);
        let mut residuals = Vec::new();
        let mut unknown = vec![0.0; kept.len() + 1];
        let after = site.position + 1 + u32::from(indel);
        for template in templates {
            if !template.covers.iter().any(|covers| covers.start < after && covers.end > site.position) {
                continue;
            }
            let mut likelihoods = vec![template.floor; site.carried.len()];
            for (&allele, &likelihood) in site.alleles.iter().zip(&template.likelihoods) {
                likelihoods[allele] = likelihood.max(likelihoods[allele]);
            }
            let square = u64::from(template.mapq).pow(2);
            support.depth += 1;
            mapq_squares += square;
            add_unknown(&mut unknown, &likelihoods, kept, best, template.floor);
            let Some(spoken) = informative(&likelihoods) else { continue };
            let at = kept.iter().position(|&allele| allele == spoken);
            allele_depths[at.unwrap_or(kept.len())] += 1;
            let Some(at) = at else { continue };
            support.strand_counts[2 * usize::from(at > 0) + usize::from(template.reverse)] += 1;
            if at > 0 {
                alternate_squares += square;
                residuals.push(template.residual_phred);
            }
        }
        let alternates = support.strand_counts[2] + support.strand_counts[3];
        support.alternate_mapq_rms_tenths = rms_tenths(alternate_squares, alternates);
        // The median, for a few reads with adapter or from elsewhere do not make a site doubtful.
        residuals.sort_unstable_by(f64::total_cmp);
        support.residual_phred = residuals.get(residuals.len() / 2).copied().unwrap_or(0.0);
        let mapq_rms_tenths = rms_tenths(mapq_squares, support.depth);
        Reads { allele_depths, mapq_rms_tenths, support, unknown }
    }
}

/// The allele that a template speaks for, if it speaks for one.
fn informative(likelihoods: &[f64]) -> Option<usize> {
    let (mut best, mut second) = (0, 0.0);
    for (allele, &likelihood) in likelihoods.iter().enumerate().skip(1) {
        if likelihood > likelihoods[best] {
            second = likelihoods[best];
            best = allele;
        } else if likelihood > second {
            second = likelihood;
        }
    }
    (likelihoods[best] >= INFORMATIVE_RATIO * second).then_some(best)
}

/// Adds one template's costs of `x/<NON_REF>` for every kept allele x and of `<NON_REF>/<NON_REF>`, against those of
/// the called genotype: no template fits an allele nobody saw better than its floor.
fn add_unknown(unknown: &mut [f64], likelihoods: &[f64], kept: &[usize], best: [usize; 2], floor: f64) {
    let called = likelihoods[best[0]] + likelihoods[best[1]];
    let alleles = kept.iter().map(|&allele| likelihoods[allele]).chain([floor]);
    for (sum, likelihood) in unknown.iter_mut().zip(alleles) {
        *sum += phred((likelihood + floor) / called);
    }
}

fn rms_tenths(squares: u64, count: u32) -> u32 {
    if count == 0 { 0 } else { ((squares as f64 / f64::from(count)).sqrt() * 10.0).round() as u32 }
}

/// Phases heterozygous sites of one window where the best pair of haplotypes beats every pair that has the same
/// genotypes in another phase.
fn phase(called: &mut [(&Site, SiteCall)], pairs: &[Pair]) {
    let heterozygous = |call: &SiteCall| call.genotype.is_some_and(|[a, b]| a != b);
    let total = |pair: &Pair| pair.cost + pair.prior;
    let Some(best) = pairs.iter().min_by(|a, b| total(a).total_cmp(&total(b))) else { return };
    let hets: Vec<&Site> =
        called.iter().filter(|(_, call)| heterozygous(call)).map(|(site, _)| *site).collect();
    if hets.len() < 2 {
        return;
    }
    let unordered = |site: &Site, pair: &Pair| {
        let [a, b] = site.alleles_of(pair);
        [a.min(b), a.max(b)]
    };
    let same_genotypes =
        |pair: &&Pair| hets.iter().all(|site| unordered(site, pair) == unordered(site, best));
    let ordered = |pair: &Pair| hets.iter().map(|site| site.alleles_of(pair)).collect::<Vec<_>>();
    let swapped =
        |pair: &Pair| hets.iter().map(|site| site.alleles_of(pair)).map(|[a, b]| [b, a]).collect::<Vec<_>>();
    let other_phase = |pair: &&Pair| ordered(pair) != ordered(best) && swapped(pair) != ordered(best);
    let rival =
        pairs.iter().filter(same_genotypes).filter(other_phase).map(total).fold(f64::INFINITY, f64::min);
    if rival - total(best) < PHASE_PHRED_MIN {
        return;
    }
    let first = called.iter().find(|(_, call)| heterozygous(call)).map(|(_, call)| call.position);
    for (site, call) in called.iter_mut().filter(|(_, call)| heterozygous(call)) {
        let [a, b] = site.alleles_of(best);
        let genotype = call.genotype.unwrap_or_default();
        // The kept alleles have the order of the site's, so the larger site allele is the larger called one.
        let [low, high] = [genotype[0].min(genotype[1]), genotype[0].max(genotype[1])];
        if a != b {
            call.genotype = Some(if a < b { [low, high] } else { [high, low] });
            call.phase_set = first;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn genotypes_have_the_order_of_the_specification() {
        let order: Vec<usize> = [[0, 0], [0, 1], [1, 1], [0, 2], [1, 2], [2, 2]]
            .iter()
            .map(|&[a, b]| genotype_index(a, b))
            .collect();
        assert_eq!(order, [0, 1, 2, 3, 4, 5]);
        assert_eq!(genotype_index(2, 1), genotype_index(1, 2));
    }

    #[test]
    fn all_changes_of_one_base_share_ref() {
        let bases = [0, 1, 1, 2, 3];
        let reference = Window { start: 10, bases: &bases, contig_bases: 100 };
        let insertion = Change::Insertion(vec![3, 3]);
        let (deletion, short) = (Change::Deletion(3), Change::Deletion(1));
        let substitution = Change::Substitution(2);
        let alternates = [
            vec![&substitution],
            vec![&deletion],
            vec![&short],
            vec![&substitution, &short],
            vec![&substitution, &insertion],
            vec![&insertion],
            vec![],
        ];
        let spelled = spell(10, &alternates, &reference).unwrap();
        assert_eq!(spelled.0, b"ACCG");
        let expect: [&[u8]; 7] = [b"GCCG", b"A", b"ACG", b"GCG", b"GTTCCG", b"ATTCCG", b"*"];
        assert_eq!(spelled.1, expect);
        assert_eq!(spell(13, &[vec![&Change::Deletion(4)]], &reference), None);
    }

    #[test]
    fn pairs_cost_what_the_half_sums_say() {
        let template = |likelihoods: &[f64]| Template {
            likelihoods: likelihoods.to_vec(),
            residual_phred: 0.0,
            floor: 1e-5,
            covers: Vec::new(),
            mapq: 60,
            reverse: false,
        };
        let templates: Vec<Template> = (0..300)
            .map(|i| if i % 2 == 0 { template(&[1.0, 1e-4]) } else { template(&[1e-4, 1.0]) })
            .collect();
        let pairs = weigh(2, &templates);
        let order: Vec<[usize; 2]> = pairs.iter().map(|pair| pair.haplotypes).collect();
        assert_eq!(order, [[0, 0], [0, 1], [1, 1]]);
        assert!((pairs[0].cost - 150.0 * 40.0).abs() < 1e-6);
        assert!((pairs[1].cost - 300.0 * phred(0.5 * (1.0 + 1e-4))).abs() < 1e-6);
        assert!((pairs[0].cost - pairs[2].cost).abs() < 1e-6);
    }
}
