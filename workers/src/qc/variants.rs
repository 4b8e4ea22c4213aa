//! What a sample's variant calls look like: kinds, zygosity, transitions, lengths, filters.
//!
//! Invariant: counts of the sample's own genotype, so a site at which both alleles are the reference counts nowhere
//! but under `filters`. Kinds, ratios and lengths count sites that passed. Knows nothing of truth.

use std::collections::BTreeMap;

use kernels::variant::SiteCall;
use serde::{Deserialize, Serialize};

use super::contig_class::ContigClass;

/// Indel lengths told apart, in bases; longer ones are counted in the last.
pub const INDEL_LENGTH_MAX: i32 = 50;

/// Genotypes of one kind of variant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zygosity {
    /// Two different alleles.
    pub heterozygous: u64,
    /// Twice the same alternate allele.
    pub homozygous: u64,
}

impl Zygosity {
    /// Sites of this kind.
    pub fn sites(&self) -> u64 {
        self.heterozygous + self.homozygous
    }
}

/// Variants that passed, of one class of contig.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindCounters {
    /// Sites whose called alternate alleles all replace one base.
    pub snv: Zygosity,
    /// Sites with a called insertion, and no called deletion.
    pub insertion: Zygosity,
    /// Sites with a called deletion, and no called insertion.
    pub deletion: Zygosity,
    /// Other sites: insertion and deletion at once, several bases replaced.
    pub other: Zygosity,
    /// Biallelic SNVs that are transitions.
    pub transitions: u64,
    /// Biallelic SNVs that are transversions.
    pub transversions: u64,
    /// Sites with two different alternate alleles called.
    pub multi_allelic: u64,
    /// Called indel alleles by length in bases, deletions negative.
    pub indel_lengths: BTreeMap<i32, u64>,
}

/// Variant calls of one sample or any part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariantCounters {
    /// Sites that passed, by class of contig.
    pub classes: BTreeMap<ContigClass, KindCounters>,
    /// Sites by FILTER; one that failed several is counted under each.
    pub filters: BTreeMap<String, u64>,
    /// Sites without a genotype.
    pub no_call: u64,
}

/// What one alternate allele does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Snv { transition: bool },
    Insertion(i32),
    Deletion(i32),
    Other,
}

impl VariantCounters {
    /// Counts one site of the sample.
    pub fn add(&mut self, class: ContigClass, site: &SiteCall) {
        match site.filters.as_slice() {
            [] => *self.filters.entry("PASS".to_owned()).or_default() += 1,
            failed => {
                for filter in failed {
                    *self.filters.entry(filter.name().to_owned()).or_default() += 1;
                }
            }
        }
        match site.genotype {
            None => self.no_call += 1,
            Some(alleles) if site.filters.is_empty() => {
                self.classes.entry(class).or_default().add(site, alleles);
            }
            Some(_) => {}
        }
    }

    /// Adds all counts of another part of the same sample.
    pub fn merge(&mut self, other: &Self) {
        for (&class, theirs) in &other.classes {
            self.classes.entry(class).or_default().merge(theirs);
        }
        for (filter, count) in &other.filters {
            *self.filters.entry(filter.clone()).or_default() += count;
        }
        self.no_call += other.no_call;
    }

    /// Counts of all classes together.
    pub fn total(&self) -> KindCounters {
        let mut total = KindCounters::default();
        self.classes.values().for_each(|class| total.merge(class));
        total
    }
}

impl KindCounters {
    fn add(&mut self, site: &SiteCall, [first, second]: [u8; 2]) {
        let mut called: Vec<u8> = [first, second].into_iter().filter(|&allele| allele > 0).collect();
        called.dedup();
        let changes: Vec<Change> = called
            .iter()
            .filter_map(|&allele| site.alternates.get(usize::from(allele) - 1))
            .filter(|alternate| alternate.as_slice() != b"*")
            .map(|alternate| change(&site.reference, alternate))
            .collect();
        if changes.is_empty() {
            return;
        }
        let kind = self.kind(&changes);
        if first == second {
            kind.homozygous += 1;
        } else {
            kind.heterozygous += 1;
        }
        self.multi_allelic += u64::from(changes.len() > 1);
        for change in &changes {
            match *change {
                Change::Snv { transition } if site.alternates.len() == 1 => {
                    self.transitions += u64::from(transition);
                    self.transversions += u64::from(!transition);
                }
                Change::Insertion(length) | Change::Deletion(length) => {
                    let length = length.clamp(-INDEL_LENGTH_MAX, INDEL_LENGTH_MAX);
                    *self.indel_lengths.entry(length).or_default() += 1;
                }
                Change::Snv { .. } | Change::Other => {}
            }
        }
    }

    fn kind(&mut self, changes: &[Change]) -> &mut Zygosity {
        let has = |wanted: fn(&Change) -> bool| changes.iter().any(wanted);
        let insertion = has(|change| matches!(change, Change::Insertion(_)));
        let deletion = has(|change| matches!(change, Change::Deletion(_)));
        let snv_only = !has(|change| !matches!(change, Change::Snv { .. }));
        match (insertion, deletion) {
            (true, false) => &mut self.insertion,
            (false, true) => &mut self.deletion,
            (false, false) if snv_only => &mut self.snv,
            (true, true) | (false, false) => &mut self.other,
        }
    }

    fn merge(&mut self, other: &Self) {
        let zygosities = [
            (&mut self.snv, &other.snv),
            (&mut self.insertion, &other.insertion),
            (&mut self.deletion, &other.deletion),
            (&mut self.other, &other.other),
        ];
        for (mine, theirs) in zygosities {
            mine.heterozygous += theirs.heterozygous;
            mine.homozygous += theirs.homozygous;
        }
        self.transitions += other.transitions;
        self.transversions += other.transversions;
        self.multi_allelic += other.multi_allelic;
        for (&length, &count) in &other.indel_lengths {
            *self.indel_lengths.entry(length).or_default() += count;
        }
    }
}

/// What an allele changes once shared ends are taken away: in a site of several alleles an SNV may carry the bases of
/// its neighbour's deletion.
fn change(reference: &[u8], alternate: &[u8]) -> Change {
    let shared = |(a, b): &(&u8, &u8)| a == b;
    let prefix = reference.iter().zip(alternate).take_while(shared).count();
    let (reference, alternate) = (&reference[prefix..], &alternate[prefix..]);
    let suffix = reference.iter().rev().zip(alternate.iter().rev()).take_while(shared).count();
    let reference = &reference[..reference.len() - suffix];
    let alternate = &alternate[..alternate.len() - suffix];
    match (reference, alternate) {
        (&[from], &[to]) => {
            let transition = matches!((from, to), (b'A', b'G') | (b'G', b'A') | (b'C', b'T') | (b'T', b'C'));
            Change::Snv { transition }
        }
        ([], inserted) if !inserted.is_empty() => Change::Insertion(length(inserted)),
        (deleted, []) if !deleted.is_empty() => Change::Deletion(-length(deleted)),
        _ => Change::Other,
    }
}

fn length(bases: &[u8]) -> i32 {
    i32::try_from(bases.len()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::variant::Filter;

    fn site(reference: &str, alternates: &[&str], genotype: Option<[u8; 2]>, filters: &[Filter]) -> SiteCall {
        SiteCall {
            position: 0,
            reference: reference.into(),
            alternates: alternates.iter().map(|&allele| allele.into()).collect(),
            quality_tenths: 500,
            filters: filters.to_vec(),
            genotype,
            phase_set: None,
            allele_depths: Vec::new(),
            depth: 30,
            genotype_quality: 99,
            likelihoods: Vec::new(),
            strand_counts: [0; 4],
            mapq_rms_tenths: 600,
        }
    }

    #[test]
    fn sites_are_counted_by_what_the_genotype_says() {
        let check = |reference, alternates: &[&str], genotype, expect: &str| {
            let mut counters = VariantCounters::default();
            counters.add(ContigClass::Autosome, &site(reference, alternates, Some(genotype), &[]));
            let k = counters.total();
            let kinds = [("snv", &k.snv), ("ins", &k.insertion), ("del", &k.deletion), ("other", &k.other)];
            let mut seen = String::new();
            for (name, zygosity) in kinds {
                if zygosity.sites() > 0 {
                    let het = if zygosity.heterozygous > 0 { "het" } else { "hom" };
                    seen = format!(
                        "{name} {het} ti{} tv{} {:?}",
                        k.transitions, k.transversions, k.indel_lengths
                    );
                }
            }
            assert_eq!(seen, expect, "{reference} {alternates:?} {genotype:?}");
        };
        check("A", &["G"], [0, 1], "snv het ti1 tv0 {}");
        check("A", &["C"], [1, 1], "snv hom ti0 tv1 {}");
        check("A", &["G"], [0, 0], "");
        check("A", &["G", "C"], [1, 2], "snv het ti0 tv0 {}");
        check("A", &["ATT"], [0, 1], "ins het ti0 tv0 {2: 1}");
        check("ATT", &["A"], [1, 1], "del hom ti0 tv0 {-2: 1}");
        check("AT", &["A", "CT"], [0, 2], "snv het ti0 tv0 {}");
        check("AT", &["A", "ATT"], [1, 2], "other het ti0 tv0 {-1: 1, 1: 1}");
        check("AT", &["GC"], [0, 1], "other het ti0 tv0 {}");
        check("A", &["*", "G"], [1, 2], "snv het ti0 tv0 {}");
        check("A", &["*"], [1, 1], "");
        check("A", &["G"], [0, 7], "");
    }

    #[test]
    fn failed_and_uncalled_sites_stand_apart() {
        let mut counters = VariantCounters::default();
        counters.add(ContigClass::X, &site("A", &["G"], Some([0, 1]), &[Filter::LowQual, Filter::LowDepth]));
        counters.add(ContigClass::X, &site("A", &["G"], None, &[]));
        assert_eq!(counters.total(), KindCounters::default());
        assert_eq!(counters.no_call, 1);
        let filters: Vec<_> = counters.filters.iter().map(|(name, &count)| (name.as_str(), count)).collect();
        assert_eq!(filters, [("LowDepth", 1), ("LowQual", 1), ("PASS", 1)]);
    }
}
