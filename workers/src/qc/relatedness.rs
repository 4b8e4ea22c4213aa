//! How the samples of a cohort are related, from their joint genotypes.
//!
//! Kinship is KING-robust (Manichaikul et al. 2010, equation 11), which needs no allele frequencies: so it holds in a
//! cohort of mixed ancestry and in one of three. Sites are buffered by 64 and compared as bit planes: six population
//! counts, about 40 ns, a pair and block, so 500 samples at a million sites cost some 80 seconds of CPU.
//! Invariant: counts only; the order of sites does not matter.

use serde::{Deserialize, Serialize};

/// Sites at which a pair must both be called, one of them heterozygous, before anything is said of it.
pub const INFORMATIVE_SITES_MIN: u64 = 200;

/// Opposite homozygotes per shared heterozygote below which first-degree relatives are parent and child: a parent has
/// none but for errors, full siblings have about 7 in 100.
const PARENT_IBS0_MAX: f64 = 0.02;

/// Counts over all pairs of samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relatedness {
    samples: usize,
    pairs: Vec<PairCounts>,
    block: Vec<Planes>,
    sites_in_block: u32,
}

/// What two samples share, over sites at which both are called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairCounts {
    /// Sites at which both are called.
    pub sites: u64,
    /// Both heterozygous.
    pub het_het: u64,
    /// Opposite homozygotes: no allele shared.
    pub ibs0: u64,
    /// The first is heterozygous.
    pub het_first: u64,
    /// The second is heterozygous.
    pub het_second: u64,
    /// The same genotype.
    pub identical: u64,
}

/// What the genotypes say of a pair; closer relations come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// One person, or monozygotic twins.
    Identical,
    /// Parent and child.
    ParentChild,
    /// Full siblings.
    FullSiblings,
    /// Half siblings, grandparent and grandchild, uncle and nephew.
    SecondDegree,
    /// First cousins.
    ThirdDegree,
    /// Farther than first cousins.
    Unrelated,
}

impl Relation {
    /// The relation as a reader says it.
    pub const fn name(self) -> &'static str {
        match self {
            Relation::Identical => "identical",
            Relation::ParentChild => "parent and child",
            Relation::FullSiblings => "full siblings",
            Relation::SecondDegree => "second degree",
            Relation::ThirdDegree => "third degree",
            Relation::Unrelated => "unrelated",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Planes {
    reference: u64,
    heterozygous: u64,
    alternate: u64,
}

impl Relatedness {
    /// Nothing compared yet, among this many samples.
    pub fn new(samples: usize) -> Self {
        Relatedness {
            samples,
            pairs: vec![PairCounts::default(); samples * samples.saturating_sub(1) / 2],
            block: vec![Planes::default(); samples],
            sites_in_block: 0,
        }
    }

    /// Of so many samples, from the counts of all pairs in the order of [`Relatedness::finish`]; `None` if they are not as
    /// many.
    pub fn from_pairs(samples: usize, pairs: Vec<PairCounts>) -> Option<Self> {
        let fit =
            samples.checked_mul(samples.saturating_sub(1)).map(|ordered| ordered / 2) == Some(pairs.len());
        fit.then(|| Relatedness {
            samples,
            pairs,
            block: vec![Planes::default(); samples],
            sites_in_block: 0,
        })
    }

    /// Adds one biallelic SNV that passed: the genotype of every sample, in the order of the matrix. Genotypes with
    /// another allele count as not called.
    pub fn add_site(&mut self, genotypes: &[Option<[u8; 2]>]) {
        debug_assert_eq!(genotypes.len(), self.samples);
        let bit = 1u64 << self.sites_in_block;
        for (planes, genotype) in self.block.iter_mut().zip(genotypes) {
            match genotype {
                Some([0, 0]) => planes.reference |= bit,
                Some([0, 1] | [1, 0]) => planes.heterozygous |= bit,
                Some([1, 1]) => planes.alternate |= bit,
                Some(_) | None => {}
            }
        }
        self.sites_in_block += 1;
        if self.sites_in_block == u64::BITS {
            self.flush();
        }
    }

    /// Adds all counts of another part of the genome, of the same samples.
    pub fn merge(&mut self, mut other: Relatedness) {
        other.flush();
        for (mine, theirs) in self.pairs.iter_mut().zip(&other.pairs) {
            mine.merge(theirs);
        }
    }

    /// All pairs `(first, second, counts)` with `first < second`.
    pub fn finish(mut self) -> Vec<(usize, usize, PairCounts)> {
        self.flush();
        let samples = self.samples;
        let pairs = (0..samples).flat_map(|first| (first + 1..samples).map(move |second| (first, second)));
        pairs.zip(self.pairs).map(|((first, second), counts)| (first, second, counts)).collect()
    }

    fn flush(&mut self) {
        if self.sites_in_block == 0 {
            return;
        }
        let mut pairs = self.pairs.iter_mut();
        for (index, first) in self.block.iter().enumerate() {
            for (second, pair) in self.block[index + 1..].iter().zip(&mut pairs) {
                pair.add(first, second);
            }
        }
        self.block.fill(Planes::default());
        self.sites_in_block = 0;
    }
}

impl PairCounts {
    fn add(&mut self, a: &Planes, b: &Planes) {
        let called_a = a.reference | a.heterozygous | a.alternate;
        let called_b = b.reference | b.heterozygous | b.alternate;
        let het_het = a.heterozygous & b.heterozygous;
        let count = |bits: u64| u64::from(bits.count_ones());
        self.sites += count(called_a & called_b);
        self.het_het += count(het_het);
        self.ibs0 += count(a.reference & b.alternate | a.alternate & b.reference);
        self.het_first += count(a.heterozygous & called_b);
        self.het_second += count(called_a & b.heterozygous);
        self.identical += count(het_het | a.reference & b.reference | a.alternate & b.alternate);
    }

    /// Adds the counts of another part of the genome.
    pub fn merge(&mut self, other: &Self) {
        self.sites += other.sites;
        self.het_het += other.het_het;
        self.ibs0 += other.ibs0;
        self.het_first += other.het_first;
        self.het_second += other.het_second;
        self.identical += other.identical;
    }

    /// KING-robust kinship: 0.5 for one person, 0.25 for first degree, 0 for strangers, below 0 across ancestries.
    /// None with fewer than [`INFORMATIVE_SITES_MIN`] heterozygous sites in either.
    pub fn kinship(&self) -> Option<f64> {
        let fewer = self.het_first.min(self.het_second);
        if fewer < INFORMATIVE_SITES_MIN {
            return None;
        }
        let shared = self.het_het as f64 - 2.0 * self.ibs0 as f64;
        let both = (self.het_first + self.het_second) as f64;
        Some(shared / (2.0 * fewer as f64) + 0.5 - both / (4.0 * fewer as f64))
    }

    /// The relation by KING's borders (powers of two between the expectations).
    pub fn relation(&self) -> Option<Relation> {
        let kinship = self.kinship()?;
        Some(match kinship {
            k if k > 0.353_553_4 => Relation::Identical,
            k if k > 0.176_776_7 && self.ibs0 as f64 <= PARENT_IBS0_MAX * self.het_het as f64 => {
                Relation::ParentChild
            }
            k if k > 0.176_776_7 => Relation::FullSiblings,
            k if k > 0.088_388_3 => Relation::SecondDegree,
            k if k > 0.044_194_2 => Relation::ThirdDegree,
            _ => Relation::Unrelated,
        })
    }

    /// Share of sites with the same genotype.
    pub fn concordance(&self) -> Option<f64> {
        (self.sites >= INFORMATIVE_SITES_MIN).then(|| self.identical as f64 / self.sites as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small linear congruential generator: the test is the same everywhere.
    struct Random(u64);

    impl Random {
        fn below(&mut self, n: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % n
        }
    }

    /// Genotypes of father, mother, two children, a stranger, the father again, and an uncle, at unlinked sites.
    fn family(random: &mut Random) -> [Option<[u8; 2]>; 7] {
        let frequency = 5 + random.below(90);
        let allele = |random: &mut Random| u8::from(random.below(100) < frequency);
        let person = |random: &mut Random| [allele(random), allele(random)];
        let child = |random: &mut Random, a: [u8; 2], b: [u8; 2]| {
            [a[random.below(2) as usize], b[random.below(2) as usize]]
        };
        let (grandfather, grandmother) = (person(random), person(random));
        let father = child(random, grandfather, grandmother);
        let uncle = child(random, grandfather, grandmother);
        let mother = person(random);
        let (first, second) = (child(random, father, mother), child(random, father, mother));
        let stranger = person(random);
        [father, mother, first, second, stranger, father, uncle].map(Some)
    }

    #[test]
    fn relations_of_a_family_are_found() {
        use Relation::{FullSiblings, Identical, ParentChild, SecondDegree, Unrelated};
        let mut random = Random(7);
        let mut relatedness = Relatedness::new(7);
        (0..20_000).for_each(|_| relatedness.add_site(&family(&mut random)));
        let pairs = relatedness.finish();
        let check = |first: usize, second: usize, kinship: f64, expect: Relation| {
            let (_, _, pair) = pairs.iter().find(|(a, b, _)| (*a, *b) == (first, second)).unwrap();
            assert_eq!(pair.relation(), Some(expect), "{first} {second} {pair:?}");
            assert!(
                (pair.kinship().unwrap() - kinship).abs() < 0.02,
                "{first} {second} {:?}",
                pair.kinship()
            );
        };
        check(0, 1, 0.0, Unrelated);
        check(0, 2, 0.25, ParentChild);
        check(1, 3, 0.25, ParentChild);
        check(2, 3, 0.25, FullSiblings);
        check(0, 5, 0.5, Identical);
        check(0, 4, 0.0, Unrelated);
        check(0, 6, 0.25, FullSiblings);
        check(2, 6, 0.125, SecondDegree);
    }

    #[test]
    fn cuts_and_merges_cannot_be_seen_and_missing_calls_do_not_count() {
        let mut random = Random(1);
        let sites: Vec<_> = (0..1000).map(|_| family(&mut random)).collect();
        let count = |sites: &[[Option<[u8; 2]>; 7]]| {
            let mut part = Relatedness::new(7);
            sites.iter().for_each(|site| part.add_site(site));
            part
        };
        let whole = count(&sites).finish();
        for cut in [0, 1, 63, 64, 65, 999] {
            let mut parts = count(&sites[cut..]);
            parts.merge(count(&sites[..cut]));
            assert_eq!(parts.finish(), whole, "{cut}");
        }
        let mut few = count(&sites[..10]);
        few.add_site(&[None, Some([0, 1]), Some([0, 2]), None, None, None, None]);
        assert!(few.finish().iter().all(|(_, _, pair)| pair.sites == 10 && pair.kinship().is_none()));
    }
}
