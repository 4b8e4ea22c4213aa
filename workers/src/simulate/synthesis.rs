//! Grows a reference as genomes are: isochores of different GC, CpG-poor, with interspersed repeats of every age nested
//! in one another, segmental duplications, a satellite array, microsatellites, telomeres and gaps.
//!
//! Each contig is grown from its start: a stretch of unique sequence, then one element, and so on; a younger element
//! may sit inside an older one. About 45% of the bases come from repeats, yet pairs of 2x150 stay placeable because
//! most copies have diverged and the youngest are shorter than a fragment or differ every hundred bases.

use super::descent::{mutated, tandem};
use super::genome::{Sequence, reverse_complement};
use super::rng::Rng;

/// Smallest genome worth simulating, in bases.
pub const GENOME_BASES_MIN: u32 = 20_000;
/// From this size on there is a mitochondrial contig.
const MITOCHONDRION_FROM_BASES: u32 = 500_000;
const MITOCHONDRION_BASES: usize = 16_569;
/// Shares of the nuclear genome.
const CONTIG_SHARES: [(&str, f64); 3] = [("chr1", 0.46), ("chr2", 0.33), ("chr3", 0.21)];

/// Mean length of a unique stretch between two elements.
const UNIQUE_BASES_MEAN: f64 = 600.0;
/// Mean length of an isochore.
const ISOCHORE_BASES_MEAN: f64 = 80_000.0;
/// GC content of isochores (L1 to H3) and how common they are.
const ISOCHORE_GC: [(f64, f64); 5] = [(0.36, 0.3), (0.39, 0.3), (0.43, 0.2), (0.48, 0.13), (0.53, 0.07)];
/// How many of the CG dinucleotides have decayed to TG or CA.
const CPG_DECAY: f64 = 0.75;
/// How many elements of each kind follow a unique stretch.
const ELEMENT_WEIGHTS: [(Element, f64); 4] = [
    (Element::Interspersed, 0.915),
    (Element::Microsatellite, 0.06),
    (Element::Duplication, 0.005),
    (Element::None, 0.02),
];
/// Longest segmental duplication, alone and as a share of the genome, and the share of all of them together: so much
/// sequence nearly twice that pairs still find their place.
const DUPLICATION_BASES_MAX: usize = 20_000;
const DUPLICATION_SHARE_MAX: f64 = 0.005;
const DUPLICATIONS_SHARE_MAX: f64 = 0.02;
/// How often a copy of a repeat carries another inside.
const NESTED: f64 = 0.12;
const NESTED_DEPTH_MAX: u32 = 3;
/// Alpha satellite: monomer length, and how far copies of the higher-order repeat have diverged.
const MONOMER_BASES: usize = 171;
const SATELLITE_DIVERGENCE: f64 = 0.02;

#[derive(Clone, Copy)]
enum Element {
    Interspersed,
    Microsatellite,
    Duplication,
    None,
}

/// Grows all contigs of a genome of `bases` bases, at least [`GENOME_BASES_MIN`].
pub fn synthesise(seed: u64, bases: u32) -> Vec<Sequence> {
    let mut growth = Growth {
        rng: Rng::new(seed, "reference", &[]),
        families: Vec::new(),
        grown: Vec::new(),
        gc: 0.4,
        duplication_bases_max: DUPLICATION_BASES_MAX.min((f64::from(bases) * DUPLICATION_SHARE_MAX) as usize),
        duplication_bases_left: (f64::from(bases) * DUPLICATIONS_SHARE_MAX) as usize,
    };
    growth.families = growth.families();
    let mitochondrion = if bases >= MITOCHONDRION_FROM_BASES { MITOCHONDRION_BASES } else { 0 };
    let nuclear = bases as usize - mitochondrion;
    let mut rest = nuclear;
    for (index, (name, share)) in CONTIG_SHARES.into_iter().enumerate() {
        let length = if index + 1 == CONTIG_SHARES.len() { rest } else { (nuclear as f64 * share) as usize };
        rest -= length;
        growth.contig(name, length);
    }
    if mitochondrion > 0 {
        growth.gc = 0.44;
        let bases = growth.unique(mitochondrion);
        growth.grown.push(Sequence { name: "chrM".to_owned(), bases });
    }
    growth.grown
}

/// A repeat family: its consensus and how far its copies have diverged from it.
struct Family {
    consensus: Vec<u8>,
    divergence: f64,
    /// Mean length where copies lack their 5' part, as LINEs do.
    truncated_bases_mean: Option<f64>,
    weight: f64,
}

struct Growth {
    rng: Rng,
    families: Vec<Family>,
    grown: Vec<Sequence>,
    gc: f64,
    duplication_bases_max: usize,
    duplication_bases_left: usize,
}

impl Growth {
    fn families(&mut self) -> Vec<Family> {
        // (consensus bases, mean of truncated copies, weight of the class, divergence of its families)
        let classes: [(usize, Option<f64>, f64, &[f64]); 4] = [
            (300, None, 0.45, &[0.02, 0.05, 0.08, 0.12, 0.16]),
            (6_000, Some(900.0), 0.27, &[0.015, 0.05, 0.10, 0.15, 0.20, 0.25]),
            (450, None, 0.14, &[0.06, 0.12, 0.18, 0.22]),
            (700, Some(300.0), 0.14, &[0.12, 0.18, 0.22, 0.25]),
        ];
        let mut families = Vec::new();
        for (bases, truncated_bases_mean, weight, divergences) in classes {
            let mut consensus = self.unique(bases);
            if bases == 300 {
                consensus.extend([b'A'; 18]);
            }
            for &divergence in divergences {
                consensus = mutated(&mut self.rng, &consensus, 0.05);
                let weight = weight / divergences.len() as f64;
                families.push(Family {
                    consensus: consensus.clone(),
                    divergence,
                    truncated_bases_mean,
                    weight,
                });
            }
        }
        families
    }

    fn contig(&mut self, name: &str, length: usize) {
        let gap = (length / 500).min(10_000);
        let telomere = (length / 2_000).min(2_000);
        let (centromere, satellites) = (length * 2 / 5, length / 110);
        let mut bases = vec![b'N'; gap];
        bases.extend(tandem(&mut self.rng, b"CCCTAA", telomere, 0.03));
        self.grow(&mut bases, centromere);
        bases.extend(self.satellite(satellites));
        bases.resize(bases.len() + gap, b'N');
        let last = length - gap - telomere;
        while bases.len() < last {
            // A short gap of unknown sequence every megabase or so.
            let end = (bases.len() + 700_000).min(last);
            self.grow(&mut bases, end);
            if bases.len() + 1_000 < last {
                bases.resize(bases.len() + 100, b'N');
            }
        }
        bases.extend(tandem(&mut self.rng, b"TTAGGG", telomere, 0.03));
        bases.resize(length, b'N');
        self.grown.push(Sequence { name: name.to_owned(), bases });
    }

    /// Appends unique stretches and elements until `bases` has `length` bases.
    fn grow(&mut self, bases: &mut Vec<u8>, length: usize) {
        let mut isochore_end = 0;
        while bases.len() < length {
            if bases.len() >= isochore_end {
                isochore_end =
                    bases.len() + 5_000 + self.rng.exponential(ISOCHORE_BASES_MEAN - 5_000.0) as usize;
                self.gc = ISOCHORE_GC[self.rng.weighted(&ISOCHORE_GC.map(|(_, weight)| weight))].0;
            }
            let stretch = 1 + self.rng.exponential(UNIQUE_BASES_MEAN) as usize;
            bases.extend(self.unique(stretch));
            let element =
                match ELEMENT_WEIGHTS[self.rng.weighted(&ELEMENT_WEIGHTS.map(|(_, weight)| weight))].0 {
                    Element::Interspersed => self.interspersed(0),
                    Element::Microsatellite => self.microsatellite(),
                    Element::Duplication => self.duplication(bases),
                    Element::None => Vec::new(),
                };
            bases.extend(element);
        }
        bases.truncate(length);
    }

    /// Sequence of the current isochore without history.
    fn unique(&mut self, length: usize) -> Vec<u8> {
        let mut bases: Vec<u8> = Vec::with_capacity(length);
        for _ in 0..length {
            let strong = self.rng.chance(self.gc);
            let mut base = b"ATCG"[usize::from(strong) * 2 + (self.rng.bits() >> 63) as usize];
            if base == b'G' && bases.last() == Some(&b'C') && self.rng.chance(CPG_DECAY) {
                match bases.last_mut() {
                    Some(last) if self.rng.chance(0.5) => *last = b'T',
                    _ => base = b'A',
                }
            }
            bases.push(base);
        }
        bases
    }

    /// A copy of one of the families, on either strand, perhaps with a younger one inside.
    fn interspersed(&mut self, depth: u32) -> Vec<u8> {
        let weights: Vec<f64> = self.families.iter().map(|family| family.weight).collect();
        let family = &self.families[self.rng.weighted(&weights)];
        let full = family.consensus.len();
        let length = match family.truncated_bases_mean {
            Some(mean) => (60 + self.rng.exponential(mean - 60.0) as usize).min(full),
            None => full,
        };
        let divergence = family.divergence * (0.8 + 0.4 * self.rng.unit());
        let source = family.consensus[full - length..].to_vec();
        let mut copy = mutated(&mut self.rng, &source, divergence);
        if depth < NESTED_DEPTH_MAX && copy.len() > 20 && self.rng.chance(NESTED) {
            let at = self.rng.below(copy.len() as u64) as usize;
            let inner = self.interspersed(depth + 1);
            copy.splice(at..at, inner);
        }
        if self.rng.chance(0.5) { reverse_complement(&copy) } else { copy }
    }

    /// A unit of 1 to 6 bases repeated; short units and short arrays are the most common.
    fn microsatellite(&mut self) -> Vec<u8> {
        let unit_bases = 1 + self.rng.weighted(&[0.3, 0.3, 0.12, 0.16, 0.08, 0.04]);
        let mut unit: Vec<u8> = (0..unit_bases).map(|_| self.rng.base()).collect();
        if unit.iter().all(|&base| base == b'G' || base == b'C') {
            // Long runs of G and C alone hardly exist.
            unit[0] = if self.rng.chance(0.5) { b'A' } else { b'T' };
        }
        let length = (10.0 + unit_bases as f64 * 2.0 + self.rng.exponential(12.0)).min(90.0) as usize;
        tandem(&mut self.rng, &unit, length, 0.01)
    }

    /// A copy of 1 to 20 kb of what has grown so far, here or on another contig, 0.1 to 5% diverged.
    fn duplication(&mut self, current: &[u8]) -> Vec<u8> {
        let choice = self.rng.below(self.grown.len() as u64 + 1) as usize;
        let source = self.grown.get(choice).map_or(current, |sequence| &sequence.bases);
        let longest = self.duplication_bases_max.min(self.duplication_bases_left).min(source.len() / 2);
        if longest < 1_000 {
            return Vec::new();
        }
        let length = self.rng.between(1_000, longest as u64) as usize;
        let start = self.rng.below((source.len() - length) as u64) as usize;
        let piece = source[start..start + length].to_vec();
        if piece.contains(&b'N') {
            return Vec::new();
        }
        self.duplication_bases_left -= length;
        let divergence = [0.001, 0.005, 0.01, 0.02, 0.03, 0.05][self.rng.below(6) as usize];
        let copy = mutated(&mut self.rng, &piece, divergence);
        if self.rng.chance(0.4) { reverse_complement(&copy) } else { copy }
    }

    /// Monomers that differ by a quarter form a higher-order repeat, whose copies hardly differ.
    fn satellite(&mut self, length: usize) -> Vec<u8> {
        let monomer = self.unique(MONOMER_BASES);
        let monomers = self.rng.between(6, 12);
        let unit: Vec<u8> = (0..monomers).flat_map(|_| mutated(&mut self.rng, &monomer, 0.25)).collect();
        tandem(&mut self.rng, &unit, length, SATELLITE_DIVERGENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bases(genome: &[Sequence]) -> usize {
        genome.iter().map(|sequence| sequence.bases.len()).sum()
    }

    #[test]
    fn a_genome_has_its_size_at_every_scale() {
        for size in [GENOME_BASES_MIN, 50_000, 600_000] {
            let genome = synthesise(3, size);
            assert_eq!(bases(&genome), size as usize);
            assert_eq!(genome.len(), if size < MITOCHONDRION_FROM_BASES { 3 } else { 4 });
            assert_eq!(genome, synthesise(3, size));
            assert_ne!(genome, synthesise(4, size));
        }
    }

    #[test]
    fn composition_is_that_of_a_genome() {
        let genome = synthesise(1, 1_000_000);
        let known: Vec<u8> =
            genome.iter().flat_map(|s| &s.bases).copied().filter(|&base| base != b'N').collect();
        let count = |base| known.iter().filter(|&&b| b == base).count() as f64;
        let (c, g, all) = (count(b'C'), count(b'G'), known.len() as f64);
        let gc = (c + g) / all;
        assert!((0.36..0.50).contains(&gc), "GC {gc}");
        let cpg = known.windows(2).filter(|pair| pair == b"CG").count() as f64 * all / (c * g);
        assert!((0.2..0.55).contains(&cpg), "CpG observed / expected {cpg}");
        let unknown = 1.0 - all / 1e6;
        assert!((0.001..0.02).contains(&unknown), "N {unknown}");
    }
}
