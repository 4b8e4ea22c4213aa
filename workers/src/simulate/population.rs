//! Who takes part: founders as mosaics of shared ancestral haplotypes, a trio, one participant with a tumour.
//!
//! Invariant: what a haplotype carries at a site follows from its ancestor there, plus the person's own mutations; a
//! mitochondrial contig has one haplotype, the mother's.

use super::genome::Sequence;
use super::rng::Rng;
use super::variation::{ANCESTORS, Edit, Site, draw_mutations, draw_sites};

/// Mean length of a founder's piece of one ancestor.
const PIECE_BASES_MEAN: f64 = 40_000.0;
/// Crossovers of a meiosis beyond the one every contig has.
const CROSSOVERS_PER_BASE: f64 = 1e-8;
/// New mutations of a child: a few on any genome, 0.02 per megabase on large ones.
const DE_NOVO_MIN: u32 = 3;
const DE_NOVO_PER_BASE: f64 = 2e-8;
/// Mutations of one tumour clone per base: high, so that small genomes have some.
const SOMATIC_PER_BASE: f64 = 1.2e-5;
/// Cells of a tumour sample: 30% normal, then three nested clones. Allele fractions of a clone's own mutations are half
/// of the share of cells in it and its descendants: 0.35, 0.2, 0.075.
const CELL_SHARES: [f64; 4] = [0.3, 0.3, 0.25, 0.15];

/// Chromosomal sex as declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sex {
    /// F
    Female,
    /// M
    Male,
}

/// What a person is within the trio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Not of the family.
    Unrelated,
    /// Parent.
    Father,
    /// Parent.
    Mother,
    /// Child of the two.
    Proband,
}

/// One participant.
pub struct Person {
    /// Sex as declared.
    pub sex: Sex,
    /// Place in the trio.
    pub relation: Relation,
    /// Paternal and maternal haplotype, one mosaic per contig.
    haplotypes: [Vec<Mosaic>; 2],
    /// New germline mutations by haplotype and contig.
    de_novo: [Vec<Vec<Edit>>; 2],
    /// Somatic mutations by clone, haplotype and contig; empty without a tumour.
    clones: Vec<[Vec<Vec<Edit>>; 2]>,
}

/// A kind of cells in a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CellKind {
    /// Share of the sample's cells.
    pub share: f64,
    /// How many of the nested clones' mutations it carries; 0 is normal tissue.
    pub clones: usize,
}

/// All participants and the sites at which they differ.
pub struct Population {
    /// Sites by contig.
    pub sites: Vec<Vec<Site>>,
    /// Participants: father, mother and proband first where there are at least three.
    pub people: Vec<Person>,
}

impl Population {
    /// Draws `samples` people; the one at `tumor` has a tumour.
    pub fn draw(seed: u64, genome: &[Sequence], samples: u32, tumor: Option<usize>) -> Self {
        let contig_sites =
            |(index, contig)| draw_sites(&mut Rng::new(seed, "sites", &[index as u64]), contig);
        let sites: Vec<Vec<Site>> = genome.iter().enumerate().map(contig_sites).collect();
        let mut people: Vec<Person> = Vec::new();
        for index in 0..samples {
            let mut rng = Rng::new(seed, "person", &[u64::from(index)]);
            let person = match (index, people.as_slice()) {
                (2, [father, mother]) => child(&mut rng, genome, &sites, father, mother),
                _ => founder(&mut rng, genome, index, samples >= 3),
            };
            people.push(person);
        }
        if let Some(person) = tumor.and_then(|bearer| people.get_mut(bearer)) {
            let mut rng = Rng::new(seed, "tumour", &[]);
            person.clones = somatic(&mut rng, genome, &sites);
        }
        Population { sites, people }
    }

    /// The germline edits of one haplotype of a person on a contig, in order.
    pub fn germline(&self, person: &Person, haplotype: usize, contig: usize) -> Vec<Edit> {
        let mosaic = &person.haplotypes[haplotype][contig];
        let carried = |site: &&Site| site.carriers >> mosaic.ancestor(site.edit.position) & 1 == 1;
        let mut edits: Vec<Edit> =
            self.sites[contig].iter().filter(carried).map(|site| site.edit.clone()).collect();
        edits.extend_from_slice(&person.de_novo[haplotype][contig]);
        edits.sort();
        edits
    }

    /// The edits of a kind of cells: germline and the somatic ones of its clones.
    pub fn edits(&self, person: &Person, cells: CellKind, haplotype: usize, contig: usize) -> Vec<Edit> {
        let mut edits = self.germline(person, haplotype, contig);
        for clone in &person.clones[..cells.clones] {
            edits.extend_from_slice(&clone[haplotype][contig]);
        }
        edits.sort();
        edits
    }
}

impl Person {
    /// Whether the edit is a new germline mutation of this person.
    pub fn is_de_novo(&self, contig: usize, edit: &Edit) -> bool {
        self.de_novo.iter().any(|haplotype| haplotype[contig].contains(edit))
    }

    /// Somatic mutations on a contig with their expected allele fractions, in order.
    pub fn somatic(&self, contig: usize) -> Vec<(&Edit, f64)> {
        let mut edits = Vec::new();
        for (index, clone) in self.clones.iter().enumerate() {
            let fraction = CELL_SHARES[index + 1..].iter().sum::<f64>() / 2.0;
            edits.extend(clone.iter().flat_map(|haplotype| &haplotype[contig]).map(|edit| (edit, fraction)));
        }
        edits.sort_by_key(|&(edit, _)| edit);
        edits
    }
}

/// The cells of a sample: of normal tissue, or of a tumour with its clones.
pub fn cells(tumor: bool) -> Vec<CellKind> {
    if tumor {
        CELL_SHARES.iter().enumerate().map(|(clones, &share)| CellKind { share, clones }).collect()
    } else {
        vec![CellKind { share: 1.0, clones: 0 }]
    }
}

/// Pieces of a haplotype: where each ends and whose it is.
#[derive(Clone)]
struct Mosaic(Vec<(u32, u8)>);

impl Mosaic {
    fn ancestor(&self, position: u32) -> u8 {
        let piece = self.0.partition_point(|&(end, _)| end <= position);
        self.0[piece.min(self.0.len() - 1)].1
    }

    fn draw(rng: &mut Rng, bases: u32, mean: f64) -> Self {
        let mut pieces = Vec::new();
        let mut end = 0.0;
        while end < f64::from(bases) {
            end += 1_000.0 + rng.exponential(mean);
            pieces.push((end.min(f64::from(u32::MAX)) as u32, rng.below(u64::from(ANCESTORS)) as u8));
        }
        pieces.push((u32::MAX, rng.below(u64::from(ANCESTORS)) as u8));
        Mosaic(pieces)
    }

    /// The pieces of `parents` in turn, changing at the `crossovers`, in order.
    fn recombined(parents: [&Mosaic; 2], first: usize, crossovers: &[u32]) -> Self {
        let mut pieces = Vec::new();
        let mut start = 0;
        for (turn, &end) in crossovers.iter().chain(&[u32::MAX]).enumerate() {
            let pieces_of_parent = &parents[(first + turn) % 2].0;
            let from = pieces_of_parent.partition_point(|&(piece_end, _)| piece_end <= start);
            for &(piece_end, ancestor) in &pieces_of_parent[from.min(pieces_of_parent.len() - 1)..] {
                pieces.push((piece_end.min(end), ancestor));
                if piece_end >= end {
                    break;
                }
            }
            start = end;
        }
        Mosaic(pieces)
    }
}

fn is_mitochondrial(contig: &Sequence) -> bool {
    matches!(contig.name.as_str(), "chrM" | "chrMT" | "M" | "MT")
}

fn no_edits(genome: &[Sequence]) -> [Vec<Vec<Edit>>; 2] {
    [vec![Vec::new(); genome.len()], vec![Vec::new(); genome.len()]]
}

fn founder(rng: &mut Rng, genome: &[Sequence], index: u32, has_trio: bool) -> Person {
    let (sex, relation) = match (index, has_trio) {
        (0, true) => (Sex::Male, Relation::Father),
        (1, true) => (Sex::Female, Relation::Mother),
        _ => (if rng.chance(0.5) { Sex::Female } else { Sex::Male }, Relation::Unrelated),
    };
    let mut haplotypes = [Vec::new(), Vec::new()];
    for contig in genome {
        let bases = contig.bases.len() as u32;
        let one = is_mitochondrial(contig);
        let mean = if one { f64::from(u32::MAX) } else { PIECE_BASES_MEAN };
        let [paternal, maternal] = [(); 2].map(|()| Mosaic::draw(rng, bases, mean));
        haplotypes[0].push(if one { maternal.clone() } else { paternal });
        haplotypes[1].push(maternal);
    }
    Person { sex, relation, haplotypes, de_novo: no_edits(genome), clones: Vec::new() }
}

fn child(
    rng: &mut Rng,
    genome: &[Sequence],
    sites: &[Vec<Site>],
    father: &Person,
    mother: &Person,
) -> Person {
    let mut haplotypes = [Vec::new(), Vec::new()];
    let mut de_novo = no_edits(genome);
    for (index, contig) in genome.iter().enumerate() {
        if is_mitochondrial(contig) {
            haplotypes.iter_mut().for_each(|haplotype| haplotype.push(mother.haplotypes[1][index].clone()));
            continue;
        }
        let bases = contig.bases.len() as u64;
        for (haplotype, parent) in haplotypes.iter_mut().zip([father, mother]) {
            let count = 1 + rng.poisson(bases as f64 * CROSSOVERS_PER_BASE);
            let mut crossovers: Vec<u32> = (0..count).map(|_| rng.below(bases.max(1)) as u32).collect();
            crossovers.sort_unstable();
            crossovers.dedup();
            let parents = [&parent.haplotypes[0][index], &parent.haplotypes[1][index]];
            haplotype.push(Mosaic::recombined(parents, rng.below(2) as usize, &crossovers));
        }
    }
    let lengths: Vec<f64> = genome.iter().map(nuclear_bases).collect();
    let bases: f64 = lengths.iter().sum();
    let mut counts = vec![0; genome.len()];
    if bases > 0.0 {
        let count = DE_NOVO_MIN + rng.poisson(bases * DE_NOVO_PER_BASE);
        (0..count).for_each(|_| counts[rng.weighted(&lengths)] += 1);
    }
    for (index, contig) in genome.iter().enumerate() {
        for edit in draw_mutations(rng, contig, &sites[index], counts[index]) {
            de_novo[rng.below(2) as usize][index].push(edit);
        }
    }
    let sex = if rng.chance(0.5) { Sex::Female } else { Sex::Male };
    Person { sex, relation: Relation::Proband, haplotypes, de_novo, clones: Vec::new() }
}

/// The mutations of every clone, each on one haplotype.
fn somatic(rng: &mut Rng, genome: &[Sequence], sites: &[Vec<Site>]) -> Vec<[Vec<Vec<Edit>>; 2]> {
    let clone_count = CELL_SHARES.len() - 1;
    let mut clones: Vec<_> = (0..clone_count).map(|_| no_edits(genome)).collect();
    for (index, contig) in genome.iter().enumerate() {
        let count = (nuclear_bases(contig) * SOMATIC_PER_BASE * clone_count as f64).ceil() as u32;
        for edit in draw_mutations(rng, contig, &sites[index], count) {
            clones[rng.below(clone_count as u64) as usize][rng.below(2) as usize][index].push(edit);
        }
    }
    clones
}

/// Length of a nuclear contig, 0 for a mitochondrial one.
fn nuclear_bases(contig: &Sequence) -> f64 {
    if is_mitochondrial(contig) { 0.0 } else { contig.bases.len() as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn population() -> (Vec<Sequence>, Population) {
        let genome = super::super::synthesis::synthesise(2, 600_000);
        let population = Population::draw(2, &genome, 5, Some(4));
        (genome, population)
    }

    #[test]
    fn a_child_has_its_parents_alleles_and_a_few_new_ones() {
        let (genome, population) = population();
        let [father, mother, child] = &population.people[..3] else { panic!("five people") };
        for contig in 0..genome.len() {
            for (haplotype, parent) in [(0, father), (1, mother)] {
                let of_parent: HashSet<Edit> =
                    (0..2).flat_map(|h| population.germline(parent, h, contig)).collect();
                let inherited = population.germline(child, haplotype, contig);
                let new = inherited.iter().filter(|edit| !of_parent.contains(edit));
                let is_mitochondrial = contig == 3;
                assert!(is_mitochondrial || new.clone().all(|edit| child.is_de_novo(contig, edit)));
            }
        }
        let new: usize = child.de_novo.iter().flatten().map(Vec::len).sum();
        assert!((1..=10).contains(&new));
        let mitochondria = |person, haplotype| population.germline(person, haplotype, 3);
        assert_eq!(mitochondria(child, 0), mitochondria(mother, 1));
        assert_eq!(mitochondria(child, 1), mitochondria(mother, 0));
    }

    #[test]
    fn unrelated_people_share_variants_and_have_their_own() {
        let (_, population) = population();
        let [a, b]: [HashSet<Edit>; 2] = [0, 4].map(|index| {
            let person = &population.people[index];
            (0..2).flat_map(|haplotype| population.germline(person, haplotype, 0)).collect()
        });
        let shared = a.intersection(&b).count() as f64 / a.len() as f64;
        assert!((0.3..0.8).contains(&shared), "{shared}");
        let heterozygous = {
            let [one, two]: [HashSet<Edit>; 2] = [0, 1].map(|haplotype| {
                population.germline(&population.people[0], haplotype, 0).into_iter().collect()
            });
            one.symmetric_difference(&two).count() as f64 / one.intersection(&two).count() as f64
        };
        assert!((1.0..4.0).contains(&heterozygous), "het/hom {heterozygous}");
    }

    #[test]
    fn tumour_clones_are_nested() {
        let (_, population) = population();
        let person = &population.people[4];
        let kinds = cells(true);
        assert!((kinds.iter().map(|kind| kind.share).sum::<f64>() - 1.0).abs() < 1e-12);
        let counts: Vec<usize> =
            kinds.iter().map(|&kind| population.edits(person, kind, 0, 0).len()).collect();
        assert!(counts.windows(2).all(|pair| pair[0] <= pair[1]));
        assert!(counts[0] < counts[3]);
        assert!(person.somatic(0).iter().all(|&(_, fraction)| (0.05..0.4).contains(&fraction)));
    }
}
