//! One list of alleles for all samples that have a site at a position.
//!
//! Invariant: allele 0 is the longest REF; every alternate is spelt against it, so equal haplotypes are equal bytes.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::evidence::{Evidence, HereSite};
use super::{Disagreement, Options};
use crate::variant::SiteCall;

/// REF and alternates of a site of the cohort.
pub struct Alleles {
    /// REF first, then alternates; `*` stands for itself.
    list: Vec<Vec<u8>>,
}

impl Alleles {
    /// The `alternates_max` alternates with the strongest evidence, over the longest REF. `None` if no read of any
    /// sample speaks for a real alternate.
    pub fn unify(here: &[HereSite<'_>], alternates_max: usize) -> Result<Option<Self>, Disagreement> {
        let longest = longest_reference(here)?;
        let mut strength: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        for site in here.iter().filter_map(|here| here.0) {
            for (i, alternate) in site.alternates.iter().enumerate() {
                let speaks_for = evidence_for(site, i + 1);
                if speaks_for > 0 && alternate != b"*" {
                    *strength.entry(extended(site, alternate, &longest)).or_default() +=
                        u64::from(speaks_for);
                }
            }
        }
        let mut ranked: Vec<(Vec<u8>, u64)> = strength.into_iter().collect();
        ranked.sort_by_key(|(_, strength)| Reverse(*strength));
        ranked.truncate(alternates_max);
        let alternates = ranked.into_iter().map(|(allele, _)| allele);
        let alleles = Alleles { list: std::iter::once(longest).chain(alternates).collect() };
        Ok(alleles.any_real().then_some(alleles))
    }

    /// Adds `*` if a sample most likely carries an upstream deletion, in place of the weakest alternate if need be.
    pub fn add_spanning(&mut self, evidence: &[Evidence<'_>], alternates_max: usize) {
        if evidence.iter().any(Evidence::likely_deleted) {
            self.list.truncate(alternates_max.max(2));
            self.list.push(b"*".to_vec());
        }
    }

    /// Number of alleles with REF.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// REF.
    pub fn reference(&self) -> &[u8] {
        &self.list[0]
    }

    /// Which alleles are alternates other than `*`.
    pub fn real(&self) -> Vec<bool> {
        self.list.iter().enumerate().map(|(index, allele)| index > 0 && allele != b"*").collect()
    }

    /// Whether there is an alternate other than `*`.
    pub fn any_real(&self) -> bool {
        self.real().contains(&true)
    }

    /// Keeps the alleles whose index passes.
    pub fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        let mut index = 0..;
        self.list.retain(|_| index.next().is_some_and(&keep));
    }

    /// For every sample and allele, the index of that allele among the sample's own; `<NON_REF>` where it has none.
    pub fn sources(&self, evidence: &[Evidence<'_>]) -> Vec<u8> {
        let mut sources = Vec::with_capacity(evidence.len() * self.len());
        for evidence in evidence {
            sources.push(0);
            match evidence.site() {
                Some(site) => {
                    let own: Vec<Vec<u8>> =
                        site.alternates.iter().map(|alt| extended(site, alt, &self.list[0])).collect();
                    sources.extend(self.list[1..].iter().map(|allele| {
                        own.iter().position(|own| own == allele).unwrap_or(own.len()) as u8 + 1
                    }));
                }
                None => {
                    sources.extend(self.list[1..].iter().map(|allele| evidence.source_without_site(allele)))
                }
            }
        }
        sources
    }

    /// Pseudo-counts of the alleles before any read was seen: one for REF, the heterozygosity for each alternate.
    pub fn pseudocounts(&self, options: &Options) -> Vec<f64> {
        let alternates = self.list[1..].iter().map(|allele| {
            let snv = allele.len() == self.list[0].len() && allele != b"*";
            if snv { options.heterozygosity_snv } else { options.heterozygosity_indel }
        });
        std::iter::once(1.0).chain(alternates).collect()
    }

    /// REF and alternates without the suffix they share, at least one base long.
    pub fn parsimonious(mut self) -> (Vec<u8>, Vec<Vec<u8>>) {
        let real = || self.list.iter().filter(|allele| *allele != b"*");
        let shortest = real().map(Vec::len).min().unwrap_or(1);
        let from_end = |allele: &Vec<u8>, back: usize| allele[allele.len() - 1 - back];
        let shared = (0..shortest - 1)
            .take_while(|&back| real().all(|allele| from_end(allele, back) == from_end(&self.list[0], back)))
            .count();
        for allele in self.list.iter_mut().filter(|allele| *allele != b"*") {
            allele.truncate(allele.len() - shared);
        }
        let reference = self.list.remove(0);
        (reference, self.list)
    }
}

fn longest_reference(here: &[HereSite<'_>]) -> Result<Vec<u8>, Disagreement> {
    let sites = || here.iter().enumerate().filter_map(|(sample, here)| Some((sample, here.0?)));
    let Some((first, longest)) = sites().min_by_key(|(_, site)| Reverse(site.reference.len())) else {
        return Ok(Vec::new());
    };
    match sites().find(|(_, site)| !longest.reference.starts_with(&site.reference)) {
        None => Ok(longest.reference.clone()),
        Some((other, site)) => Err(Disagreement {
            position: site.position,
            samples: [first, other],
            references: [longest.reference.clone(), site.reference.clone()],
        }),
    }
}

/// The alternate as spelt against the longest REF.
fn extended(site: &SiteCall, alternate: &[u8], longest: &[u8]) -> Vec<u8> {
    match longest.get(site.reference.len()..) {
        Some(suffix) if alternate != b"*" => [alternate, suffix].concat(),
        _ => alternate.to_vec(),
    }
}

/// How much better the best genotype with this allele explains the reads than the best without, in phred; 0 if worse.
fn evidence_for(site: &SiteCall, allele: usize) -> u32 {
    let (mut with, mut without) = (u32::MAX, u32::MAX);
    let mut likelihoods = site.likelihoods.iter();
    for second in 0..=site.alternates.len() {
        for first in 0..=second {
            let Some(&likelihood) = likelihoods.next() else { return 0 };
            let best = if first == allele || second == allele { &mut with } else { &mut without };
            *best = likelihood.min(*best);
        }
    }
    without.saturating_sub(with)
}
