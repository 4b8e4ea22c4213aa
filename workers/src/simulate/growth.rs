//! Grows a real reference to the size of a larger genome, so that an aligner meets as many similar places as there.
//!
//! The reference itself comes first, as it is. After it come copies of its contigs, each 8 to 15% diverged from the
//! source: too far for an exact seed of 31 bases, near enough for shorter ones. Divergence ages the repeats in a copy
//! too, so every copy gets young ones: transposon families like Alu, L1, SVA and the LTR elements, laid over what was
//! there, and an array of alpha satellite. At last, segmental duplications are laid from anywhere to anywhere in the
//! copies.
//!
//! Invariant: a copy is a function of (seed, its number) and the reference, so threads never show. Gaps are kept, but
//! no longer than [`GAP_BASES_MAX`]; nothing is laid over one.

use super::descent::{mutated, tandem};
use super::genome::{Sequence, reverse_complement};
use super::rng::Rng;
use rayon::prelude::*;

/// How far a copy diverges from the reference.
const DIVERGENCE: std::ops::Range<f64> = 0.08..0.15;
/// Unknown bases a copy keeps in one run; a reference may have tens of megabases.
const GAP_BASES_MAX: usize = 50_000;
/// A contig cut shorter than this at the end of the genome is left out.
const CONTIG_BASES_MIN: usize = 1_000;
/// Alpha satellite: its share of a copy, the monomer, how far monomers of a higher-order repeat differ, and its copies.
const SATELLITE_SHARE: f64 = 0.01;
const MONOMER_BASES: usize = 171;
const MONOMER_DIVERGENCE: f64 = 0.25;
const SATELLITE_DIVERGENCE: f64 = 0.015;
/// Segmental duplications: their share of the copies, their lengths (log-uniform), how far they have diverged.
const DUPLICATION_SHARE: f64 = 0.04;
const DUPLICATION_BASES: std::ops::Range<f64> = 1_000.0..200_000.0;
const DUPLICATION_DIVERGENCES: [f64; 6] = [0.001, 0.005, 0.01, 0.02, 0.03, 0.05];

/// The reference and its copies: `bases` bases in all, gaps included, or up to [`CONTIG_BASES_MIN`] fewer. `bases` is
/// at least the size of the reference.
pub fn grow(seed: u64, mut reference: Vec<Sequence>, bases: u64) -> Vec<Sequence> {
    let size = |sequences: &[Sequence]| sequences.iter().map(|s| s.bases.len() as u64).sum::<u64>();
    let families = Families::draw(&mut Rng::new(seed, "families", &[]));
    let copy = |number: usize| {
        let source = &reference[number % reference.len()];
        let name = format!("{}.{}", source.name, number / reference.len() + 1);
        let mut rng = Rng::new(seed, "growth", &[number as u64]);
        Sequence { name, bases: families.copy(&mut rng, &source.bases) }
    };
    let own = reference.len();
    let mut missing = bases.saturating_sub(size(&reference));
    let mut copies: Vec<Sequence> = Vec::new();
    while missing >= CONTIG_BASES_MIN as u64 {
        let begun = own + copies.len();
        let more: Vec<Sequence> = (begun..begun + own).into_par_iter().map(copy).collect();
        for mut contig in more {
            contig.bases.truncate(missing.min(usize::MAX as u64) as usize);
            missing -= contig.bases.len() as u64;
            if contig.bases.len() >= CONTIG_BASES_MIN {
                copies.push(contig);
            }
        }
    }
    duplicate(&mut Rng::new(seed, "duplications", &[]), &mut copies);
    reference.append(&mut copies);
    reference
}

/// A transposon family as its copies look today.
struct Family {
    consensus: Vec<u8>,
    divergence: f64,
    /// Mean length where copies lack their 5' part, as LINEs do.
    truncated_bases_mean: Option<f64>,
    /// Share of the genome.
    share: f64,
}

impl Family {
    fn bases_mean(&self) -> f64 {
        self.truncated_bases_mean.unwrap_or(self.consensus.len() as f64)
    }

    fn copy(&self, rng: &mut Rng) -> Vec<u8> {
        let full = self.consensus.len();
        let length = match self.truncated_bases_mean {
            Some(mean) => (60 + rng.exponential(mean - 60.0) as usize).min(full),
            None => full,
        };
        let divergence = self.divergence * (0.7 + 0.6 * rng.unit());
        let copy = mutated(rng, &self.consensus[full - length..], divergence);
        if rng.chance(0.5) { reverse_complement(&copy) } else { copy }
    }
}

/// What is laid over the copies.
struct Families {
    families: Vec<Family>,
    /// Copies per base of each family.
    weights: Vec<f64>,
    share: f64,
    monomer: Vec<u8>,
}

impl Families {
    fn draw(rng: &mut Rng) -> Self {
        // Classes, each with its families from old to young as (divergence, share of the genome): after Lander et al.
        // 2001 (tables 11 and 14) those of the young half, for the old half is in the copies already.
        type Class<'a> = (usize, Option<f64>, &'a [(f64, f64)]);
        let alu: Class =
            (290, None, &[(0.15, 0.025), (0.10, 0.03), (0.08, 0.03), (0.05, 0.012), (0.02, 0.002)]);
        let line: Class =
            (6_000, Some(900.0), &[(0.15, 0.03), (0.11, 0.02), (0.07, 0.012), (0.04, 0.012), (0.015, 0.003)]);
        let composite: Class = (1_600, None, &[(0.03, 0.0015)]);
        let ltr: Class = (450, None, &[(0.14, 0.001), (0.11, 0.001), (0.08, 0.001), (0.05, 0.0005)]);
        let classes = [alu, line, composite].into_iter().chain([ltr; 12]);
        let mut families = Vec::new();
        for (bases, truncated_bases_mean, ages) in classes {
            let mut consensus: Vec<u8> = (0..bases).map(|_| rng.base()).collect();
            for &(divergence, share) in ages {
                consensus = mutated(rng, &consensus, 0.03);
                let mut consensus = consensus.clone();
                consensus.extend([b'A'; 18]);
                families.push(Family { consensus, divergence, truncated_bases_mean, share });
            }
        }
        let weights = families.iter().map(|family| family.share / family.bases_mean()).collect();
        let share = families.iter().map(|family| family.share).sum();
        let monomer = (0..MONOMER_BASES).map(|_| rng.base()).collect();
        Families { families, weights, share, monomer }
    }

    /// A diverged copy of a contig with young repeats.
    fn copy(&self, rng: &mut Rng, source: &[u8]) -> Vec<u8> {
        let divergence = DIVERGENCE.start + (DIVERGENCE.end - DIVERGENCE.start) * rng.unit();
        let mut bases = Vec::with_capacity(source.len());
        for run in source.chunk_by(|a, b| (*a == b'N') == (*b == b'N')) {
            match run[0] {
                b'N' => bases.resize(bases.len() + run.len().min(GAP_BASES_MAX), b'N'),
                _ => bases.extend(mutated(rng, run, divergence)),
            }
        }
        self.lay(rng, &mut bases);
        let centromere = bases.len() * 2 / 5;
        let satellite = self.satellite(rng, (bases.len() as f64 * SATELLITE_SHARE) as usize);
        overwrite(&mut bases, centromere, &satellite);
        bases
    }

    /// Lays copies of the families over a contig, as densely as their shares say.
    fn lay(&self, rng: &mut Rng, bases: &mut [u8]) {
        let places_per_base: f64 = self.weights.iter().sum();
        let gap_mean = (1.0 - self.share) / places_per_base;
        let mut at = rng.exponential(gap_mean) as usize;
        while at < bases.len() {
            let copy = self.families[rng.weighted(&self.weights)].copy(rng);
            overwrite(bases, at, &copy);
            at += copy.len() + rng.exponential(gap_mean) as usize;
        }
    }

    /// Monomers far from one another form a higher-order repeat of this contig, whose copies hardly differ.
    fn satellite(&self, rng: &mut Rng, length: usize) -> Vec<u8> {
        let monomers = rng.between(6, 12);
        let unit: Vec<u8> =
            (0..monomers).flat_map(|_| mutated(rng, &self.monomer, MONOMER_DIVERGENCE)).collect();
        tandem(rng, &unit, length, SATELLITE_DIVERGENCE)
    }
}

/// Lays segmental duplications over the contigs, half of them within one.
fn duplicate(rng: &mut Rng, contigs: &mut [Sequence]) {
    let bases: u64 = contigs.iter().map(|contig| contig.bases.len() as u64).sum();
    let ratio = libm::log(DUPLICATION_BASES.end / DUPLICATION_BASES.start);
    let bases_mean = (DUPLICATION_BASES.end - DUPLICATION_BASES.start) / ratio;
    for _ in 0..(bases as f64 * DUPLICATION_SHARE / bases_mean) as u64 {
        let from = rng.below(contigs.len() as u64) as usize;
        let to = if rng.chance(0.5) { from } else { rng.below(contigs.len() as u64) as usize };
        let length = (DUPLICATION_BASES.start * libm::exp(ratio * rng.unit())) as usize;
        let [source, target] =
            [from, to].map(|contig| rng.below(contigs[contig].bases.len() as u64) as usize);
        let divergence = DUPLICATION_DIVERGENCES[rng.below(DUPLICATION_DIVERGENCES.len() as u64) as usize];
        let reverse = rng.chance(0.4);
        let Some(piece) = contigs[from].bases.get(source..source + length) else { continue };
        if piece.contains(&b'N') {
            continue;
        }
        let copy = mutated(rng, piece, divergence);
        let copy = if reverse { reverse_complement(&copy) } else { copy };
        overwrite(&mut contigs[to].bases, target, &copy);
    }
}

/// Lays `copy` over the bases from `at` on, unless it meets an unknown base or the end.
fn overwrite(bases: &mut [u8], at: usize, copy: &[u8]) {
    if let Some(place) = bases.get_mut(at..at + copy.len())
        && !place.contains(&b'N')
    {
        place.copy_from_slice(copy);
    }
}

#[cfg(test)]
mod tests {
    use super::super::synthesis::synthesise;
    use super::*;

    fn size(genome: &[Sequence]) -> usize {
        genome.iter().map(|sequence| sequence.bases.len()).sum()
    }

    #[test]
    fn a_grown_genome_has_its_size_and_begins_with_the_reference() {
        let reference = synthesise(3, 100_000);
        for bases in [100_000, 100_999, 150_000, 730_000] {
            let grown = grow(3, reference.clone(), bases);
            assert!((bases as usize - CONTIG_BASES_MIN + 1..=bases as usize).contains(&size(&grown)));
            assert_eq!(grown[..reference.len()], reference);
            let names: std::collections::HashSet<&str> = grown.iter().map(|s| s.name.as_str()).collect();
            assert_eq!(names.len(), grown.len());
            assert!(grown.iter().all(|s| s.bases.iter().all(|base| b"ACGTN".contains(base))));
        }
    }

    #[test]
    fn the_seed_decides_and_threads_do_not() {
        let reference = synthesise(3, 100_000);
        let on = |threads, seed| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| grow(seed, reference.clone(), 400_000))
        };
        assert!(on(1, 5) == on(3, 5));
        assert!(on(1, 5) != on(1, 6));
    }

    #[test]
    fn copies_are_far_from_the_reference_and_repeats_near_one_another() {
        let reference = synthesise(3, 300_000);
        let grown = grow(3, reference.clone(), 3_000_000);
        let copies = &grown[reference.len()..];
        let mut counts = std::collections::HashMap::new();
        for window in copies.iter().flat_map(|contig| contig.bases.windows(31)) {
            *counts.entry(window).or_insert(0u32) += 1;
        }
        let own = reference.iter().flat_map(|contig| contig.bases.windows(31)).step_by(31);
        let own: Vec<_> = own.filter(|window| !window.contains(&b'N')).collect();
        let kept = own.iter().filter(|window| counts.contains_key(**window)).count();
        // Nine copies, each with 0.85^31 to 0.92^31 of the windows.
        assert!((0.05..0.4).contains(&(kept as f64 / own.len() as f64)), "{kept} of {}", own.len());
        let repeated: u32 = counts.values().filter(|&&count| count > 10).sum();
        let all: u32 = counts.values().sum();
        assert!((0.005..0.1).contains(&(f64::from(repeated) / f64::from(all))), "{repeated} of {all}");
    }
}
