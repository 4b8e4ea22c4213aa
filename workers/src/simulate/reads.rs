//! Sequences a sample: fragments drawn over its genomes, two reads each with qualities, errors, adapter and truth.
//!
//! Invariant: pair `i` of a sample is a function of (seed, sample, i) and the genomes alone, so any chunk of pairs can
//! be made on any thread.

use super::genome::complement;
use super::haplotypes::Haplotype;
use super::rng::Rng;
use super::truth::ReadTruth;

/// Cycles of each read.
pub const READ_BASES: u32 = 150;

/// Insert size: mean, standard deviation, and the smallest that is sequenced.
const INSERT_MEAN: f64 = 400.0;
const INSERT_DEVIATION: f64 = 80.0;
const INSERT_MIN: u32 = 40;
/// Fragments shorter than selected, and fragments of the long tail.
const INSERTS_SHORT: f64 = 0.015;
const INSERTS_LONG: f64 = 0.02;
/// Pairs that are PCR copies of an earlier pair.
const COPIES: f64 = 0.03;
/// How often a fragment is drawn anew before the genome counts as having no room for one.
const DRAWS_MAX: u32 = 100_000;
/// GC content that amplifies best, and the loss per squared distance from it.
const GC_BEST: f64 = 0.43;
const GC_LOSS: f64 = 4.0;

/// What follows a fragment shorter than the read (Illumina TruSeq), then the dark G of two-colour chemistry.
const ADAPTERS: [&[u8]; 2] = [
    b"AGATCGGAAGAGCACACGTCTGAACTCCAGTCACATCACGATCTCGTATGCCGTCTTCTGCTTG",
    b"AGATCGGAAGAGCGTCGTGTAGGGAAAGAGTGTAGATCTCGGTGGTCGCCGTATCATT",
];

/// Quality bins of RTA3 and the error each of them states.
const BINS: [(u8, f64); 3] = [(37, 0.0002), (23, 0.005), (12, 0.063)];
const QUALITY_OF_N: u8 = 2;
/// Chance per cycle to leave the best bin: at the first cycle, and what the last cycle adds; the second read is worse.
const DROP_FIRST: f64 = 0.004;
const DROP_LAST: f64 = 0.03;
const DROP_SECOND_READ: f64 = 1.8;
/// Chance per cycle to come back to it.
const RECOVER: f64 = 0.5;
/// Reads of low quality throughout, and by how much their chance to drop is greater.
const BAD_READS: f64 = 0.01;
const BAD_FACTOR: f64 = 15.0;
/// Chance per base of an N, chance per read of an insertion or deletion error.
const UNCALLED: f64 = 0.000_05;
const INDEL_ERRORS: f64 = 0.002;

/// The genomes of one kind of cells: both haplotypes of each contig.
pub struct Cells<'a> {
    /// Share of the sample's fragments.
    pub share: f64,
    /// By contig, then haplotype.
    pub contigs: Vec<[Haplotype<'a>; 2]>,
}

/// What one sample is sequenced from.
pub struct Library<'a> {
    seed: u64,
    sample: u64,
    names: Vec<String>,
    cells: Vec<Cells<'a>>,
    /// Bases of the contigs up to and with each, of every haplotype of every kind of cells.
    ends: Vec<[Vec<u64>; 2]>,
    qualities: [QualityModel; 2],
}

/// A stretch of one haplotype.
#[derive(Clone, Copy)]
struct Fragment {
    cells: usize,
    contig: usize,
    haplotype: usize,
    start: u32,
    bases: u32,
    /// Whether the first read is its left end.
    forward: bool,
}

impl<'a> Library<'a> {
    /// A library of the genomes of `cells` for the contigs of these names. `sample` tells libraries of a seed apart.
    pub fn new(seed: u64, sample: u64, names: Vec<String>, cells: Vec<Cells<'a>>) -> Self {
        let ends_of = |haplotype: usize, cells: &Cells<'_>| {
            let lengths = cells.contigs.iter().map(|pair| u64::from(pair[haplotype].len()));
            lengths
                .scan(0, |sum, length| {
                    *sum += length;
                    Some(*sum)
                })
                .collect()
        };
        let ends = cells.iter().map(|cells| [0, 1].map(|haplotype| ends_of(haplotype, cells))).collect();
        Library { seed, sample, names, cells, ends, qualities: [0, 1].map(QualityModel::new) }
    }

    /// Appends pair `index` to both FASTQ texts. False if the genomes have no room for a fragment.
    pub fn pair(&self, index: u64, out: &mut [Vec<u8>; 2]) -> bool {
        let (origin, Some(fragment)) = self.fragment(index) else { return false };
        let haplotype = self.haplotype(&fragment);
        let Some(sequence) = haplotype.bases(fragment.start, fragment.start + fragment.bases) else {
            return false;
        };
        let mut rng = Rng::new(self.seed, "pair", &[self.sample, index]);
        let mut reads = [Read::default(), Read::default()];
        let mut places = [None, None];
        for (end, read) in reads.iter_mut().enumerate() {
            let molecule = molecule(&sequence, fragment.forward == (end == 0), end);
            let used = self.qualities[end].sequence(&mut rng, &molecule, read).min(fragment.bases);
            let left = fragment.forward == (end == 0);
            let start = if left { fragment.start } else { fragment.start + fragment.bases - used };
            let mut place = haplotype.locate(start, start + used);
            place.reverse ^= !left;
            places[end] = Some((self.names[fragment.contig].as_str(), place));
        }
        let [Some(first), Some(second)] = places else { return false };
        let copy_of = (origin != index).then_some(origin + 1);
        let mut name = vec![b'@'];
        ReadTruth { reads: [first, second], copy_of, id: index + 1 }.write(&mut name);
        for (read, out) in reads.iter().zip(out) {
            out.extend_from_slice(&name);
            out.push(b'\n');
            out.extend_from_slice(&read.bases);
            out.extend_from_slice(b"\n+\n");
            out.extend(read.qualities.iter().map(|quality| quality + 33));
            out.push(b'\n');
        }
        true
    }

    fn haplotype(&self, fragment: &Fragment) -> &Haplotype<'a> {
        &self.cells[fragment.cells].contigs[fragment.contig][fragment.haplotype]
    }

    /// The fragment of a pair and the pair that first had it.
    fn fragment(&self, index: u64) -> (u64, Option<Fragment>) {
        let mut origin = index;
        loop {
            let mut rng = Rng::new(self.seed, "fragment", &[self.sample, origin]);
            if origin > 0 && rng.chance(COPIES) {
                origin = rng.below(origin);
                continue;
            }
            return (origin, (0..DRAWS_MAX).find_map(|_| self.draw(&mut rng)));
        }
    }

    /// Draws a fragment; `None` where it does not fit, holds unknown bases or fails to amplify.
    fn draw(&self, rng: &mut Rng) -> Option<Fragment> {
        let cells = match self.cells.len() {
            1 => 0,
            _ => rng.weighted(&self.cells.iter().map(|cells| cells.share).collect::<Vec<_>>()),
        };
        let (haplotype, forward) = (rng.below(2) as usize, rng.chance(0.5));
        let bases = insert(rng);
        let ends = &self.ends[cells][haplotype];
        let place = rng.below(*ends.last()?);
        let contig = ends.partition_point(|&end| end <= place);
        let start = (place - if contig > 0 { ends[contig - 1] } else { 0 }) as u32;
        let fragment = Fragment { cells, contig, haplotype, start, bases, forward };
        let sequence = self.haplotype(&fragment).bases(start, start + bases)?;
        let strong = sequence.iter().filter(|&&base| base == b'G' || base == b'C').count();
        let distance = strong as f64 / f64::from(bases) - GC_BEST;
        let amplifies = rng.chance((1.0 - GC_LOSS * distance * distance).max(0.2));
        (amplifies && !sequence.contains(&b'N')).then_some(fragment)
    }
}

/// What the sequencer sees of one end of a fragment, its left one or the other: the fragment, its adapter, then nothing
/// but G.
fn molecule(fragment: &[u8], is_left: bool, end: usize) -> Vec<u8> {
    let length = READ_BASES as usize + 8;
    let mut molecule = Vec::with_capacity(length);
    if is_left {
        molecule.extend(fragment.iter().take(length));
    } else {
        molecule.extend(fragment.iter().rev().take(length).map(|&base| complement(base)));
    }
    let missing = length - molecule.len();
    molecule.extend(ADAPTERS[end].iter().take(missing));
    molecule.resize(length, b'G');
    molecule
}

fn insert(rng: &mut Rng) -> u32 {
    let bases = match rng.weighted(&[1.0 - INSERTS_SHORT - INSERTS_LONG, INSERTS_SHORT, INSERTS_LONG]) {
        0 => INSERT_MEAN + INSERT_DEVIATION * rng.normal(),
        1 => 40.0 + 180.0 * rng.unit(),
        _ => INSERT_MEAN + rng.exponential(200.0),
    };
    (bases.max(0.0) as u32).max(INSERT_MIN)
}

#[derive(Default)]
struct Read {
    bases: Vec<u8>,
    qualities: Vec<u8>,
}

/// How qualities and errors come about in one of the two reads.
struct QualityModel {
    /// Chance to leave the best bin, by cycle.
    drop: Vec<f64>,
}

impl QualityModel {
    fn new(end: usize) -> Self {
        let factor = if end == 0 { 1.0 } else { DROP_SECOND_READ };
        let chance = |cycle: u32| {
            let progress = f64::from(cycle) / f64::from(READ_BASES);
            factor * (DROP_FIRST + DROP_LAST * progress * progress)
        };
        QualityModel { drop: (0..READ_BASES).map(chance).collect() }
    }

    /// Reads a molecule; gives how many of its bases were passed.
    fn sequence(&self, rng: &mut Rng, molecule: &[u8], read: &mut Read) -> u32 {
        let factor = if rng.chance(BAD_READS) { BAD_FACTOR } else { 0.5 + rng.unit() };
        let slip =
            if rng.chance(INDEL_ERRORS) { rng.between(1, u64::from(READ_BASES) - 2) } else { u64::MAX };
        let mut at = 0;
        let mut bin = 0;
        for (cycle, &drop) in self.drop.iter().enumerate() {
            bin = match bin {
                0 if rng.chance(drop * factor) => 1 + usize::from(rng.chance(0.4)),
                0 => 0,
                low if rng.chance(RECOVER) => {
                    if rng.chance(0.8) {
                        0
                    } else {
                        3 - low
                    }
                }
                low => low,
            };
            let (mut quality, error) = BINS[bin];
            let mut base = molecule[at];
            let draw = rng.unit();
            if draw < UNCALLED {
                (base, quality) = (b'N', QUALITY_OF_N);
            } else if draw < UNCALLED + error {
                base = rng.other_base(base);
            }
            at += 1;
            if cycle as u64 == slip {
                // A base is read twice, or one is passed over.
                at = if rng.chance(0.5) { at - 1 } else { at + 1 };
            }
            read.bases.push(base);
            read.qualities.push(quality);
        }
        at as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::truth::Origin;

    fn library(sequence: &[u8]) -> Library<'_> {
        let contigs = vec![[0, 1].map(|_| Haplotype::new(sequence, &[]))];
        Library::new(9, 0, vec!["c".to_owned()], vec![Cells { share: 1.0, contigs }])
    }

    fn random(bases: usize) -> Vec<u8> {
        let mut rng = Rng::new(1, "test", &[]);
        (0..bases).map(|_| rng.base()).collect()
    }

    #[test]
    fn reads_agree_with_the_reference_where_their_names_say() {
        let reference = random(20_000);
        let library = library(&reference);
        let mut differences = 0;
        let mut copies = 0;
        for index in 0..500 {
            let mut texts = [Vec::new(), Vec::new()];
            assert!(library.pair(index, &mut texts));
            for (end, text) in texts.iter().enumerate() {
                let lines: Vec<&str> = std::str::from_utf8(text).unwrap().lines().collect();
                let truth = ReadTruth::parse(&lines[0][1..]).unwrap();
                copies += u32::from(end == 0 && truth.copy_of.is_some());
                let (_, place) = truth.reads[end];
                assert_eq!((place.origin, lines[1].len(), lines[3].len()), (Origin::Plain, 150, 150));
                let mut expect = reference[place.start as usize..place.end as usize].to_vec();
                if place.reverse {
                    expect = crate::simulate::genome::reverse_complement(&expect);
                }
                differences += lines[1].bytes().zip(expect).filter(|(a, b)| a != b).count();
            }
        }
        // 150,000 bases at about 0.3%, and the shifted tails of about two slipped reads.
        assert!((100..900).contains(&differences), "{differences}");
        assert!((3..40).contains(&copies), "{copies}");
    }

    #[test]
    fn a_genome_without_room_is_noticed() {
        let mut texts = [Vec::new(), Vec::new()];
        let short = random(30);
        assert!(!library(&short).pair(0, &mut texts));
        assert!(!library(&[b'N'; 5_000]).pair(0, &mut texts));
    }
}
