//! Joint genotyping on small cohorts whose answer is known by hand.

use super::*;
use crate::variant::{Answer, RefBlock};

fn block(start: u32, end: u32, answer: Answer, likelihoods: [u32; 3]) -> RefBlock {
    let depth = if answer == Answer::Reference { 20 } else { 0 };
    let genotype_quality = likelihoods[1].min(99) as u8;
    RefBlock { start, end, answer, depth, depth_min: depth, genotype_quality, likelihoods }
}

fn reference_block() -> RefBlock {
    block(0, 1000, Answer::Reference, [0, 60, 900])
}

/// A site whose genotype is `quality` better than every other one.
fn site(position: u32, reference: &str, alternates: &[&str], genotype: [u8; 2], quality: u32) -> SiteCall {
    let alleles = alternates.len() + 2;
    let mut likelihoods = vec![quality; alleles * (alleles + 1) / 2];
    likelihoods[evidence::genotype_index(genotype[0].into(), genotype[1].into())] = 0;
    let mut allele_depths = vec![0; alleles];
    genotype.iter().for_each(|&allele| allele_depths[usize::from(allele)] += 10);
    SiteCall {
        position,
        reference: reference.into(),
        alternates: alternates.iter().map(|alternate| alternate.as_bytes().to_vec()).collect(),
        quality_tenths: quality * 10,
        filters: vec![],
        genotype: Some(genotype),
        phase_set: None,
        allele_depths,
        depth: 20,
        genotype_quality: quality.min(99) as u8,
        likelihoods,
        strand_counts: [5; 4],
        mapq_rms_tenths: 600,
    }
}

fn calls(sites: Vec<SiteCall>, blocks: Vec<RefBlock>) -> CellCalls {
    CellCalls { sites, blocks }
}

fn join(samples: &[CellCalls]) -> Vec<JointSite> {
    let views: Vec<Sample<'_>> = samples.iter().map(|calls| Sample { calls, upstream: &[] }).collect();
    joint_cell(0..1000, &views, &Options::default()).unwrap()
}

/// One site as text: position, alleles, genotypes, AC/AN.
fn line(site: &JointSite) -> String {
    let text = |allele: &Vec<u8>| String::from_utf8(allele.clone()).unwrap();
    let alternates: Vec<String> = site.alternates.iter().map(text).collect();
    let genotype = |genotype: &Genotype| match (genotype.alleles, genotype.phase_set) {
        (None, _) => "./.".to_owned(),
        (Some([a, b]), None) => format!("{a}/{b}"),
        (Some([a, b]), Some(set)) => format!("{a}|{b}:{set}"),
    };
    let genotypes: Vec<String> = site.genotypes.iter().map(genotype).collect();
    let counts = format!("{:?}/{}", site.allele_counts, site.allele_number);
    format!(
        "{} {} {} {} {counts}",
        site.position,
        text(&site.reference),
        alternates.join(","),
        genotypes.join(" ")
    )
}

#[test]
fn small_cohorts_get_the_genotypes_one_would_write_by_hand() {
    let reference = || calls(vec![], vec![reference_block()]);
    let one = |site: SiteCall| calls(vec![site], vec![]);
    let check = |samples: &[CellCalls], expect: &[&str]| {
        assert_eq!(join(samples).iter().map(line).collect::<Vec<_>>(), expect);
    };
    check(&[one(site(9, "A", &["G"], [0, 1], 80)), reference()], &["9 A G 0/1 0/0 [1]/4"]);
    check(&[one(site(9, "A", &["G"], [1, 1], 80)), reference()], &["9 A G 1/1 0/0 [2]/4"]);
    // The same position, different alleles, one of them weaker.
    check(
        &[one(site(9, "A", &["G"], [0, 1], 80)), one(site(9, "A", &["T", "G"], [1, 2], 70))],
        &["9 A G,T 0/1 1/2 [2, 1]/4"],
    );
    // Deletions of different length are spelt against the longer REF.
    check(
        &[one(site(9, "CTT", &["C"], [0, 1], 80)), one(site(9, "CT", &["C"], [0, 1], 70)), reference()],
        &["9 CTT C,CT 0/1 0/2 0/0 [1, 1]/6"],
    );
    // An alternate nobody carries goes, and REF is short again.
    check(
        &[one(site(9, "CTT", &["C"], [0, 0], 80)), one(site(9, "CT", &["C"], [0, 1], 70))],
        &["9 CT C 0/0 0/1 [1]/4"],
    );
    // No data, or data that tells nothing apart.
    let silent = calls(vec![], vec![block(0, 1000, Answer::NoReads, [0, 0, 0])]);
    let flat = calls(vec![], vec![block(0, 1000, Answer::Reference, [0, 0, 0])]);
    let carrier = one(site(9, "A", &["G"], [0, 1], 80));
    check(&[carrier.clone(), silent, flat, calls(vec![], vec![])], &["9 A G 0/1 ./. ./. ./. [1]/2"]);
    // Nobody carries it.
    check(&[one(site(9, "A", &["G"], [0, 0], 30)), reference()], &[]);
    // A deletion of one sample over a site of another.
    check(
        &[one(site(5, "ACGTACG", &["A"], [0, 1], 80)), carrier],
        &["5 ACGTACG A 0/1 ./. [1]/2", "9 A G,* 0/2 0/1 [1, 1]/4"],
    );
}

#[test]
fn a_deletion_of_the_cell_before_is_seen_as_spanning() {
    let deletion = [site(95, "ACGTACGT", &["A"], [1, 1], 80)];
    let nothing = calls(vec![], vec![]);
    let carrier = calls(vec![site(101, "G", &["C"], [0, 1], 80)], vec![]);
    let samples =
        [Sample { calls: &nothing, upstream: &deletion }, Sample { calls: &carrier, upstream: &[] }];
    let sites = joint_cell(100..200, &samples, &Options::default()).unwrap();
    assert_eq!(sites.iter().map(line).collect::<Vec<_>>(), ["101 G C,* 2/2 0/1 [1, 2]/4"]);
    let mut before = calls(deletion.to_vec(), vec![]);
    before.sites.insert(0, site(20, "G", &["C"], [0, 1], 80));
    assert_eq!(reaching(&before, 100).collect::<Vec<_>>(), [&deletion[0]]);
}

#[test]
fn phase_is_kept_where_the_genotype_is() {
    let mut first = site(9, "A", &["T", "G"], [2, 1], 80);
    first.phase_set = Some(4);
    let mut second = site(9, "A", &["G"], [1, 0], 80);
    second.phase_set = Some(7);
    second.likelihoods = vec![0, 50, 500, 50, 500, 500];
    let sites = join(&[calls(vec![first], vec![]), calls(vec![second], vec![])]);
    assert_eq!(line(&sites[0]), "9 A G,T 1|2:4 0/0 [1, 1]/4");
}

#[test]
fn weak_evidence_counts_by_how_common_the_allele_is() {
    let mut weak = site(9, "A", &["G"], [0, 1], 0);
    weak.likelihoods = vec![4, 0, 60, 90, 90, 90];
    let carrier = || calls(vec![site(9, "A", &["G"], [0, 1], 90)], vec![]);
    let reference = || calls(vec![], vec![reference_block()]);
    let weak = || calls(vec![weak.clone()], vec![]);
    let common: Vec<CellCalls> = (0..6).map(|_| carrier()).chain([weak()]).collect();
    assert_eq!(join(&common)[0].genotypes[6].alleles, Some([0, 1]));
    let rare: Vec<CellCalls> =
        [carrier()].into_iter().chain((0..40).map(|_| reference())).chain([weak()]).collect();
    assert_eq!(join(&rare)[0].genotypes[41].alleles, Some([0, 0]));
    assert_eq!(join(&[weak(), reference()]), []);
}

#[test]
fn no_sample_carries_an_allele_that_only_the_cohort_speaks_for() {
    let carrier = || calls(vec![site(9, "A", &["G"], [1, 1], 90)], vec![]);
    let weak = calls(vec![], vec![block(0, 1000, Answer::Reference, [0, 1, 9])]);
    let other = calls(vec![site(9, "A", &["T"], [1, 1], 90)], vec![]);
    let sites = join(&[carrier(), carrier(), carrier(), weak, other]);
    assert_eq!(line(&sites[0]), "9 A G,T 1/1 1/1 1/1 ./. 2/2 [6, 2]/8");
}

#[test]
fn qual_is_the_probability_that_nobody_varies() {
    let reference = || calls(vec![], vec![reference_block()]);
    let carrier = |quality| calls(vec![site(9, "A", &["G"], [0, 1], quality)], vec![]);
    let quality = |samples: &[CellCalls]| join(samples)[0].quality_tenths;
    // A single heterozygote: 60 phred of likelihood, times 4/9 (one ALT among three alleles, the
    // prior's REF included), against one site in a thousand: 60 - 3.5 - 30.
    assert_eq!(quality(&[carrier(60)]), 265);
    assert!(quality(&[carrier(60), carrier(60)]) > quality(&[carrier(60), reference()]));
    assert_eq!(join(&[carrier(45)])[0].filters, [Filter::LowQual]);
    assert_eq!(join(&[carrier(60)])[0].filters, []);
    let many: Vec<CellCalls> = (0..500).map(|_| carrier(2_000)).collect();
    assert!(quality(&many) > 5_000_000);
}

#[test]
fn a_filter_most_carriers_have_is_the_sites() {
    let filtered = |filters: &[Filter]| {
        let mut site = site(9, "A", &["G"], [0, 1], 80);
        site.filters = filters.to_vec();
        calls(vec![site], vec![])
    };
    let biased = || filtered(&[Filter::LowQual, Filter::StrandBias]);
    assert_eq!(join(&[biased(), biased(), filtered(&[])])[0].filters, [Filter::StrandBias]);
    assert_eq!(join(&[biased(), filtered(&[])])[0].filters, []);
}

#[test]
fn alternates_are_bounded_by_evidence() {
    let spelt = |i: u32| format!("A{}", "C".repeat(i as usize + 1));
    let carrier = |i: u32| calls(vec![site(9, "A", &[&spelt(i)], [0, 1], 60 + i)], vec![]);
    let samples: Vec<CellCalls> = (0..40).map(carrier).collect();
    let sites = join(&samples);
    let expect: Vec<Vec<u8>> = (24..40).rev().map(|i| spelt(i).into_bytes()).collect();
    assert_eq!(sites[0].alternates, expect);
    assert_eq!(sites[0].genotypes.len(), 40);
}

#[test]
fn samples_of_different_references_are_named() {
    let of = |reference: &str| calls(vec![site(9, reference, &["T"], [0, 1], 80)], vec![]);
    let samples = [of("A"), of("AC"), of("G")];
    let views: Vec<Sample<'_>> = samples.iter().map(|calls| Sample { calls, upstream: &[] }).collect();
    let disagreement = joint_cell(0..1000, &views, &Options::default()).unwrap_err();
    assert_eq!((disagreement.position, disagreement.samples), (9, [1, 2]));
}

#[test]
fn how_a_cell_is_walked_cannot_be_seen() {
    let sites = |seed: u32| {
        (0..60u32).filter(move |i| !(i * 7 + seed).is_multiple_of(3)).map(move |i| match (i + seed) % 4 {
            0 => site(i * 9, "ACGTACGTACGTACG", &["A"], [0, 1], 50 + i),
            1 => site(i * 9, "A", &["T", "ATT"], [1, 2], 50),
            _ => site(i * 9, "A", &["G"], [0, 1 - (seed as u8 % 2)], 40),
        })
    };
    let samples: Vec<CellCalls> =
        (0..7).map(|seed| calls(sites(seed).collect(), vec![reference_block()])).collect();
    let views: Vec<Sample<'_>> = samples.iter().map(|calls| Sample { calls, upstream: &[] }).collect();
    let options = Options::default();
    let whole = joint_cell(0..1000, &views, &options).unwrap();
    assert!(whole.len() > 30);
    for cut in [1, 9, 100, 271] {
        let mut parts = joint_cell(0..cut, &views, &options).unwrap();
        parts.extend(joint_cell(cut..1000, &views, &options).unwrap());
        assert_eq!(parts, whole);
    }
    for site in &whole {
        let copies = site.genotypes.iter().filter_map(|genotype| genotype.alleles).flatten();
        let (alternates, all) = (copies.clone().filter(|&allele| allele > 0).count(), copies.count());
        assert_eq!(
            (site.allele_counts.iter().sum::<u32>(), site.allele_number),
            (alternates as u32, all as u32)
        );
        assert!(site.allele_counts.iter().all(|&copies| copies > 0));
    }
}
