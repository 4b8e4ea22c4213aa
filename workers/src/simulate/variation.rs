//! The sites at which the genomes of a population differ, and how common each difference is.
//!
//! Invariant: edits of one contig come in order and leave at least one base unchanged between them, except that several
//! alternates of one site share its position; no haplotype carries two of those. Small edits are in normal form.

use crate::assess::normal_form::Variant;

use super::genome::{Sequence, reverse_complement};
use super::rng::Rng;

/// Number of ancestral haplotypes all founders descend from; a site's carriers are a bit set over them.
pub const ANCESTORS: u32 = 64;
/// Longest insertion or deletion that counts as small.
pub const INDEL_BASES_MAX: usize = 50;
const SV_BASES_MAX: u64 = 5_000;

/// Expected differences between two haplotypes per base, counting SNVs (theta). With the 1/f spectrum a genome then
/// differs from the reference at 1.5 theta, about one base in a thousand, two thirds of it heterozygous.
const SNV_DIVERSITY: f64 = 0.67e-3;
/// Sites of other kinds per SNV site.
const INDELS_PER_SNV: f64 = 0.135;
const SVS_PER_SNV: f64 = 0.004;
/// Transitions among SNVs: ts/tv = 2.1.
const TRANSITIONS: f64 = 0.677;
/// How often an indel changes the number of units of a tandem repeat.
const INDELS_IN_REPEATS: f64 = 0.6;
/// How often a site has a second alternate.
const SECOND_SNV: f64 = 0.004;
const SECOND_INDEL: f64 = 0.06;

/// What an edit does beyond replacing letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// SNV or indel of at most [`INDEL_BASES_MAX`] bases.
    Small,
    /// Deletion of more.
    Deletion,
    /// Insertion of more.
    Insertion,
    /// The bases after the first are reversed and complemented.
    Inversion,
    /// The bases after the first occur twice.
    TandemDuplication,
}

/// A change of the reference: `reference_bases` bases from `position` on become `alternate`. Indels and structural
/// variants begin with the base before the change, as in VCF.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Edit {
    /// First base, 0-based.
    pub position: u32,
    /// Reference bases replaced.
    pub reference_bases: u32,
    /// What stands there instead.
    pub alternate: Vec<u8>,
    /// What kind of change it is.
    pub kind: Kind,
}

impl Edit {
    /// One past the last reference base.
    pub fn end(&self) -> u32 {
        self.position + self.reference_bases
    }

    fn small(variant: Variant) -> Self {
        let reference_bases = variant.reference.len() as u32;
        Edit { position: variant.position, reference_bases, alternate: variant.alternate, kind: Kind::Small }
    }
}

/// An edit and the ancestral haplotypes that carry it.
#[derive(Clone, Debug)]
pub struct Site {
    /// The change.
    pub edit: Edit,
    /// Bit `a` is set where ancestor `a` carries it.
    pub carriers: u64,
}

/// Draws the sites of one contig.
pub fn draw_sites(rng: &mut Rng, contig: &Sequence) -> Vec<Site> {
    let harmonic: f64 = (1..ANCESTORS).map(|i| 1.0 / f64::from(i)).sum();
    let sites_per_base = SNV_DIVERSITY * harmonic * (1.0 + INDELS_PER_SNV + SVS_PER_SNV);
    let spectrum: Vec<f64> = (1..ANCESTORS).map(|count| 1.0 / f64::from(count)).collect();
    let mut sites: Vec<Site> = Vec::new();
    let mut free_from = 1;
    let mut at = 1.0;
    loop {
        at += rng.exponential(1.0 / sites_per_base);
        if at >= contig.bases.len() as f64 {
            return sites;
        }
        let edits = match rng.weighted(&[1.0, INDELS_PER_SNV, SVS_PER_SNV]) {
            0 => snvs(rng, &contig.bases, at as u32),
            1 => indels(rng, &contig.bases, at as u32),
            _ => structural(rng, &contig.bases, at as u32).into_iter().collect(),
        };
        let Some(first) = edits.first() else { continue };
        let end = edits.iter().map(Edit::end).max().unwrap_or_default();
        if first.position < free_from || !is_known(&contig.bases, first.position, end) {
            continue;
        }
        free_from = end + 1;
        at = at.max(f64::from(free_from));
        let mut taken = 0;
        for edit in edits {
            let count = 1 + rng.weighted(&spectrum) as u32;
            let carriers = carriers(rng, count) & !taken;
            taken |= carriers;
            if carriers != 0 {
                sites.push(Site { edit, carriers });
            }
        }
    }
}

/// Draws `count` small edits that touch no site: new mutations. Fewer where the contig has no room.
pub fn draw_mutations(rng: &mut Rng, contig: &Sequence, sites: &[Site], count: u32) -> Vec<Edit> {
    let mut edits: Vec<Edit> = Vec::new();
    if contig.bases.len() < 100 {
        return edits;
    }
    for _ in 0..20 * count {
        if edits.len() == count as usize {
            break;
        }
        let at = rng.between(1, contig.bases.len() as u64 - 1) as u32;
        let drawn =
            if rng.chance(0.85) { snvs(rng, &contig.bases, at) } else { indels(rng, &contig.bases, at) };
        let Some(edit) = drawn.into_iter().next() else { continue };
        let next = sites.partition_point(|site| site.edit.position <= edit.end());
        let clear_of_sites = sites[..next].iter().rev().take(4).all(|site| site.edit.end() < edit.position);
        let clear_of_others = edits.iter().all(|e| e.end() < edit.position || edit.end() < e.position);
        if clear_of_sites && clear_of_others && is_known(&contig.bases, edit.position, edit.end()) {
            edits.push(edit);
        }
    }
    edits.sort();
    edits
}

/// A random set of `count` ancestors.
fn carriers(rng: &mut Rng, count: u32) -> u64 {
    let mut set = 0u64;
    while set.count_ones() < count.min(ANCESTORS - count) {
        set |= 1 << rng.below(u64::from(ANCESTORS));
    }
    if count > ANCESTORS / 2 { !set } else { set }
}

/// Whether the bases and their neighbours are known and on the contig.
fn is_known(contig: &[u8], start: u32, end: u32) -> bool {
    start > 0 && contig.get(start as usize - 1..end as usize + 1).is_some_and(|bases| !bases.contains(&b'N'))
}

fn snvs(rng: &mut Rng, contig: &[u8], at: u32) -> Vec<Edit> {
    let reference = contig[at as usize];
    if reference == b'N' {
        return Vec::new();
    }
    let alternate = if rng.chance(TRANSITIONS) {
        transition(reference)
    } else {
        let others =
            [b'A', b'C', b'G', b'T'].map(|base| (base != reference && base != transition(reference), base));
        let mut transversions = others.into_iter().filter_map(|(is, base)| is.then_some(base));
        transversions.nth(rng.below(2) as usize).unwrap_or(b'A')
    };
    let snv = |base| Edit { position: at, reference_bases: 1, alternate: vec![base], kind: Kind::Small };
    let mut edits = vec![snv(alternate)];
    if rng.chance(SECOND_SNV) {
        let second = rng.other_base(reference);
        edits.extend((second != alternate).then(|| snv(second)));
    }
    edits
}

fn transition(base: u8) -> u8 {
    match base {
        b'A' => b'G',
        b'G' => b'A',
        b'C' => b'T',
        _ => b'C',
    }
}

fn indels(rng: &mut Rng, contig: &[u8], at: u32) -> Vec<Edit> {
    let mut edits: Vec<Edit> = Vec::new();
    let end = contig.len().min(at as usize + INDEL_BASES_MAX);
    if contig[at as usize..end].contains(&b'N') {
        return edits;
    }
    let repeat = if rng.chance(INDELS_IN_REPEATS) { tandem_repeat(contig, at as usize) } else { None };
    let alternates = 1 + usize::from(repeat.is_some() && rng.chance(SECOND_INDEL));
    for _ in 0..alternates {
        let mut variant = match repeat {
            Some((start, unit, copies)) => unit_change(rng, contig, start, unit, copies),
            None => free_indel(rng, contig, at as usize),
        };
        variant.normalise(contig);
        let length = variant.reference.len().abs_diff(variant.alternate.len());
        let edit = Edit::small(variant);
        let fits = (1..=INDEL_BASES_MAX).contains(&length) && !edits.contains(&edit);
        if fits && edits.first().is_none_or(|first| first.position == edit.position) {
            edits.push(edit);
        }
    }
    edits.sort();
    edits
}

/// The tandem repeat of most copies that begins within a few bases: (start, unit bases, copies), at least three copies
/// and five bases.
fn tandem_repeat(contig: &[u8], at: usize) -> Option<(usize, usize, usize)> {
    let mut best = None;
    for start in at..(at + 12).min(contig.len()) {
        for unit in 1..=6 {
            let tail = contig.get(start + unit..)?;
            let same = contig[start..].iter().zip(tail).take_while(|(a, b)| a == b && **a != b'N').count();
            let copies = same / unit + 1;
            if copies >= 3 && copies * unit >= 5 && best.is_none_or(|(_, _, most)| copies > most) {
                best = Some((start, unit, copies));
            }
        }
    }
    best
}

/// One unit more or less, sometimes a few.
fn unit_change(rng: &mut Rng, contig: &[u8], start: usize, unit: usize, copies: usize) -> Variant {
    let units = 1 + rng.weighted(&[0.78, 0.16, 0.06]);
    let change = units.min(copies - 1) * unit;
    let bases = contig[start..start + change].to_vec();
    indel_at(start, bases, rng.chance(0.5))
}

/// An indel anywhere: short ones are the most common; half of the insertions repeat what follows.
fn free_indel(rng: &mut Rng, contig: &[u8], at: usize) -> Variant {
    let length = match rng.weighted(&[0.45, 0.5, 0.05]) {
        0 => 1,
        1 => 2 + rng.exponential(3.5) as usize,
        _ => rng.between(15, INDEL_BASES_MAX as u64) as usize,
    };
    let end = (at + length.min(INDEL_BASES_MAX)).min(contig.len());
    let next = contig[at..end].to_vec();
    if rng.chance(0.5) {
        return indel_at(at, next, true);
    }
    let inserted = if rng.chance(0.5) { next } else { (at..end).map(|_| rng.base()).collect() };
    indel_at(at, inserted, false)
}

fn indel_at(at: usize, bases: Vec<u8>, deletion: bool) -> Variant {
    let (reference, alternate) = if deletion { (bases, Vec::new()) } else { (Vec::new(), bases) };
    Variant { position: at as u32, reference, alternate }
}

/// A structural variant; `None` where the contig has no room.
fn structural(rng: &mut Rng, contig: &[u8], at: u32) -> Option<Edit> {
    let longest = SV_BASES_MAX.min(contig.len() as u64 / 20).max(INDEL_BASES_MAX as u64 + 2);
    let length = (INDEL_BASES_MAX as u64 + 1 + rng.exponential(450.0) as u64).min(longest) as usize;
    let at = at as usize;
    let segment = contig.get(at + 1..at + 1 + length)?;
    if segment.contains(&b'N') {
        return None;
    }
    let kind = [Kind::Deletion, Kind::Insertion, Kind::TandemDuplication, Kind::Inversion]
        [rng.weighted(&[0.45, 0.3, 0.15, 0.1])];
    let mut variant = match kind {
        Kind::Insertion => indel_at(at + 1, inserted_sequence(rng, contig, length), false),
        _ => indel_at(at + 1, segment.to_vec(), true),
    };
    if matches!(kind, Kind::Insertion | Kind::Deletion) {
        variant.normalise(contig);
    } else {
        let anchor = contig[at];
        let changed = if kind == Kind::Inversion { reverse_complement(segment) } else { segment.repeat(2) };
        variant.position = at as u32;
        variant.reference.insert(0, anchor);
        variant.alternate = [vec![anchor], changed].concat();
    }
    Some(Edit { kind, ..Edit::small(variant) })
}

/// New sequence, or as often a copy from elsewhere, as mobile elements leave.
fn inserted_sequence(rng: &mut Rng, contig: &[u8], length: usize) -> Vec<u8> {
    let start = rng.below((contig.len() - length) as u64) as usize;
    let copy = &contig[start..start + length];
    if rng.chance(0.5) && !copy.contains(&b'N') {
        return copy.to_vec();
    }
    (0..length).map(|_| rng.base()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contig() -> Sequence {
        super::super::synthesis::synthesise(5, 1_000_000).swap_remove(0)
    }

    #[test]
    fn sites_keep_apart_and_stand_in_normal_form() {
        let contig = contig();
        let sites = draw_sites(&mut Rng::new(1, "test", &[]), &contig);
        for pair in sites.windows(2) {
            let (a, b) = (&pair[0], &pair[1]);
            let same_site = a.edit.position == b.edit.position && a.carriers & b.carriers == 0;
            assert!(same_site || a.edit.end() < b.edit.position, "{a:?} {b:?}");
        }
        for Site { edit, .. } in sites.iter().filter(|site| site.edit.kind == Kind::Small) {
            let reference = contig.bases[edit.position as usize..edit.end() as usize].to_vec();
            let mut variant =
                Variant { position: edit.position, reference, alternate: edit.alternate.clone() };
            assert_ne!(variant.reference, variant.alternate);
            let before = variant.clone();
            variant.normalise(&contig.bases);
            assert_eq!(variant, before);
        }
    }

    #[test]
    fn kinds_and_frequencies_are_those_of_a_population() {
        let contig = contig();
        let sites = draw_sites(&mut Rng::new(2, "test", &[]), &contig);
        let bases = contig.bases.len() as f64;
        let snvs: Vec<_> =
            sites.iter().filter(|s| s.edit.reference_bases == 1 && s.edit.alternate.len() == 1).collect();
        let per_genome: f64 = snvs
            .iter()
            .map(|site| {
                let f = f64::from(site.carriers.count_ones()) / 64.0;
                2.0 * f - f * f
            })
            .sum();
        assert!((0.0008..0.0012).contains(&(per_genome / bases)), "{per_genome}");
        let transitions = snvs
            .iter()
            .filter(|s| s.edit.alternate[0] == transition(contig.bases[s.edit.position as usize]))
            .count();
        let ratio = transitions as f64 / (snvs.len() - transitions) as f64;
        assert!((1.8..2.5).contains(&ratio), "ts/tv {ratio}");
        let indels = sites.iter().filter(|s| s.edit.kind == Kind::Small).count() - snvs.len();
        assert!((5.0..10.0).contains(&(snvs.len() as f64 / indels as f64)), "{indels} indels");
    }

    #[test]
    fn new_mutations_touch_no_site() {
        let contig = contig();
        let mut rng = Rng::new(3, "test", &[]);
        let sites = draw_sites(&mut rng, &contig);
        let edits = draw_mutations(&mut rng, &contig, &sites, 40);
        assert_eq!(edits.len(), 40);
        for edit in &edits {
            assert!(
                sites.iter().all(|site| site.edit.end() < edit.position || edit.end() < site.edit.position)
            );
        }
    }
}
