//! Who is related to whom: genotypes are compared where the joint calls are made, shard by shard.
//!
//! Samples of the joint call are compared with each other. A tumour is not among them; it is compared with the other
//! samples of its participant only, where its own calls say what it has at the joint sites: so a swapped tumour shows.
//! Invariant: counts only, so that shards add up however they are cut; a genotype nobody stands for is not counted. Samples
//! are written by their places among those compared, which stay the same whoever else is in the cohort. Which contigs
//! are compared, the caller knows: autosomes, which both parents pass on alike.

use crate::context::Context;
use crate::qc::relatedness::{PairCounts, Relatedness};
use crate::region::block;
use crate::report::PairReport;
use kernels::joint::JointSite;
use kernels::variant::{Answer, CellCalls};
use storage::{BlockEntry, PackError, RecordReader};

/// A reference block speaks for 0/0 from this GQ on.
const BLOCK_GENOTYPE_QUALITY_MIN: u8 = 20;

/// Bytes of a pair: six counts, u32, little endian; no shard has more sites than that holds.
const PAIR_BYTES: usize = 24;

/// The comparison of a cohort over some of the genome.
pub struct Comparison {
    /// The samples of the joint call; then participants of whom there is a tumour and another sample, in the order
    /// of their first samples.
    groups: Vec<Group>,
    /// Those who are no columns, but whose calls are wanted.
    witnesses: Vec<u32>,
}

/// Samples that are compared with each other, in order.
struct Group {
    samples: Vec<u32>,
    relatedness: Relatedness,
}

impl Group {
    fn of(samples: Vec<u32>) -> Self {
        Group { relatedness: Relatedness::new(samples.len()), samples }
    }
}

impl Comparison {
    /// Nothing compared yet of these samples, which come in order.
    pub fn new(context: &Context, samples: &[u32]) -> Self {
        let is_column = |sample: &u32| context.sample(*sample).joint;
        let participant = |sample: &u32| context.sample(*sample).participant;
        let mut groups = vec![Group::of(samples.iter().copied().filter(is_column).collect())];
        let mut ordered = samples.to_vec();
        ordered.sort_by_key(participant);
        let of_participants = ordered.chunk_by(|a, b| participant(a) == participant(b));
        let compared = of_participants.filter(|one| one.len() > 1 && !one.iter().all(is_column));
        let mut compared: Vec<Vec<u32>> = compared.map(<[u32]>::to_vec).collect();
        compared.sort_unstable();
        groups.extend(compared.into_iter().map(Group::of));
        let of_participants = groups[1..].iter().flat_map(|group| group.samples.iter().copied());
        let mut witnesses: Vec<u32> = of_participants.filter(|sample| !is_column(sample)).collect();
        witnesses.sort_unstable();
        Comparison { groups, witnesses }
    }

    /// The samples of the joint call.
    pub fn columns(&self) -> &[u32] {
        &self.groups[0].samples
    }

    /// The samples whose own calls [`Comparison::add_cell`] asks for.
    pub fn witnesses(&self) -> &[u32] {
        &self.witnesses
    }

    /// Adds the biallelic SNVs that passed, of one cell of joint calls. `calls` are those of the witnesses.
    pub fn add_cell(&mut self, sites: &[JointSite], calls: &[CellCalls]) {
        for site in sites {
            let Some((alternate, genotypes)) = compared(site) else { continue };
            let [columns, participants @ ..] = &mut self.groups[..] else { return };
            columns.relatedness.add_site(&genotypes);
            for Group { samples, relatedness } in participants {
                let of = |sample: &u32| match self.witnesses.binary_search(sample) {
                    Ok(witness) => genotype_at(&calls[witness], site.position, alternate),
                    Err(_) => genotypes[columns.samples.partition_point(|column| column < sample)],
                };
                relatedness.add_site(&samples.iter().map(of).collect::<Vec<_>>());
            }
        }
    }

    /// The places of a group's samples among all that are compared.
    fn places(&self) -> impl Fn(&Group) -> Vec<u32> + use<> {
        let mut compared = [self.columns(), self.witnesses()].concat();
        compared.sort_unstable();
        let place = move |sample: &u32| compared.partition_point(|other| other < sample) as u32;
        move |group| group.samples.iter().map(&place).collect()
    }

    /// Gives what was counted to `write` as blocks of a record: of each group the places of its samples (u32, little
    /// endian) and all pairs of them.
    pub fn finish(
        self,
        mut write: impl FnMut(BlockEntry, &[u8]) -> Result<(), PackError>,
    ) -> Result<(), PackError> {
        let places = self.places();
        for (ordinal, group) in (0..).zip(self.groups) {
            let count = group.samples.len() as u32;
            let mut bytes: Vec<u8> = places(&group).into_iter().flat_map(u32::to_le_bytes).collect();
            for (_, _, pair) in group.relatedness.finish() {
                let PairCounts { sites, het_het, ibs0, het_first, het_second, identical } = pair;
                let counts = [sites, het_het, ibs0, het_first, het_second, identical];
                bytes.extend_from_slice(counts.map(|count| (count as u32).to_le_bytes()).as_flattened());
            }
            write(BlockEntry { kind: block::KINSHIP, first: ordinal, last: ordinal, count }, &bytes)?;
        }
        Ok(())
    }

    /// Adds what [`Comparison::finish`] wrote of other cells; false, and nothing of use, if that is not of the same samples.
    pub fn merge(&mut self, record: &RecordReader) -> Result<bool, PackError> {
        let mut bytes = Vec::new();
        let places = self.places();
        let mut groups = self.groups.iter_mut();
        for (at, entry) in
            record.entries().iter().enumerate().filter(|(_, entry)| entry.kind == block::KINSHIP)
        {
            record.read_block(at, &mut bytes)?;
            match (groups.next(), decode(&bytes, entry.count as usize)) {
                (Some(mine), Some((theirs, relatedness))) if places(mine) == theirs => {
                    mine.relatedness.merge(relatedness);
                }
                _ => return Ok(false),
            }
        }
        Ok(groups.next().is_none())
    }

    /// All pairs of the joint call, then those of tumours, by their places among `present`, who come in order.
    pub fn pairs(self, present: &[u32]) -> Vec<PairReport> {
        let place = |sample: u32| present.partition_point(|&other| other < sample);
        let is_witness = |sample: u32| self.witnesses.binary_search(&sample).is_ok();
        let mut pairs = Vec::new();
        for (ordinal, Group { samples, relatedness }) in self.groups.into_iter().enumerate() {
            for (first, second, counts) in relatedness.finish() {
                let (first, second) = (samples[first], samples[second]);
                // Two columns of one participant are compared among the columns.
                if ordinal == 0 || is_witness(first) || is_witness(second) {
                    pairs.push(PairReport { first: place(first), second: place(second), counts });
                }
            }
        }
        pairs
    }
}

/// The places of a group's samples, and what was counted of them.
fn decode(bytes: &[u8], samples: usize) -> Option<(Vec<u32>, Relatedness)> {
    let (places, pairs) = bytes.split_at_checked(samples.checked_mul(size_of::<u32>())?)?;
    let places = places.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
    let (pairs, rest) = pairs.as_chunks::<PAIR_BYTES>();
    let pairs = pairs.iter().map(|pair| {
        let counts = [0, 1, 2, 3, 4, 5].map(|at| u64::from(u32::from_le_bytes(pair.as_chunks().0[at])));
        let [sites, het_het, ibs0, het_first, het_second, identical] = counts;
        PairCounts { sites, het_het, ibs0, het_first, het_second, identical }
    });
    let relatedness = Relatedness::from_pairs(samples, pairs.collect())?;
    rest.is_empty().then_some((places, relatedness))
}

/// The alternate and the genotypes of a biallelic SNV that passed.
fn compared(site: &JointSite) -> Option<(u8, Vec<Option<[u8; 2]>>)> {
    let ([_], [alternate], []) = (&site.reference[..], &site.alternates[..], &site.filters[..]) else {
        return None;
    };
    let &[alternate] = &alternate[..] else { return None };
    let genotypes = site.genotypes.iter().map(|genotype| genotype.alleles).collect();
    (alternate != b'*').then_some((alternate, genotypes))
}

/// What a sample has at an SNV: its own genotype where it passed a site that knows no further allele, 0/0 where a
/// confident reference block lies.
fn genotype_at(calls: &CellCalls, position: u32, alternate: u8) -> Option<[u8; 2]> {
    if let Ok(at) = calls.sites.binary_search_by_key(&position, |site| site.position) {
        let site = &calls.sites[at];
        let [a, b] = site.genotype.filter(|_| site.filters.is_empty())?;
        let spelled = [&[alternate], site.reference.get(1..)?].concat();
        let is_alternate = |allele: u8| match usize::from(allele).checked_sub(1) {
            None => Some(0),
            Some(own) => (site.alternates.get(own)? == &spelled).then_some(1),
        };
        return Some([is_alternate(a)?, is_alternate(b)?]);
    }
    let block = &calls.blocks[..calls.blocks.partition_point(|block| block.start <= position)].last()?;
    let stands = block.answer == Answer::Reference && block.genotype_quality >= BLOCK_GENOTYPE_QUALITY_MIN;
    (position < block.end && stands).then_some([0, 0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vcf::write_joint;
    use jobs::genome::{Contig, Contigs};
    use kernels::joint::Genotype;
    use kernels::variant::{Filter, RefBlock, SiteCall};

    fn site(position: u32, reference: &str, alternates: &[&str], genotype: [u8; 2]) -> SiteCall {
        SiteCall {
            position,
            reference: reference.into(),
            alternates: alternates.iter().map(|&alternate| alternate.into()).collect(),
            quality_tenths: 900,
            filters: Vec::new(),
            genotype: Some(genotype),
            phase_set: None,
            allele_depths: Vec::new(),
            depth: 20,
            genotype_quality: 90,
            likelihoods: Vec::new(),
            strand_counts: [0; 4],
            mapq_rms_tenths: 600,
        }
    }

    fn block(start: u32, end: u32, answer: Answer, genotype_quality: u8) -> RefBlock {
        RefBlock { start, end, answer, depth: 9, depth_min: 9, genotype_quality, likelihoods: [0, 30, 300] }
    }

    #[test]
    fn a_tumour_has_the_genotype_its_calls_stand_for() {
        let filtered = SiteCall { filters: vec![Filter::LowQual], ..site(40, "A", &["G"], [0, 1]) };
        let calls = CellCalls {
            sites: vec![
                site(10, "A", &["G"], [0, 1]),
                site(20, "A", &["G", "T"], [1, 2]),
                site(30, "ACC", &["GCC", "A"], [1, 1]),
                filtered,
                site(50, "ACC", &["A"], [0, 1]),
            ],
            blocks: vec![
                block(60, 70, Answer::Reference, 20),
                block(70, 80, Answer::Reference, 19),
                block(80, 90, Answer::NoReads, 0),
            ],
        };
        let check = |position, alternate, expect| {
            assert_eq!(genotype_at(&calls, position, alternate), expect, "{position}");
        };
        check(10, b'G', Some([0, 1]));
        check(10, b'T', None);
        check(20, b'G', None);
        check(30, b'G', Some([1, 1]));
        check(40, b'G', None);
        check(50, b'G', None);
        check(51, b'G', None);
        check(9, b'G', None);
        check(69, b'G', Some([0, 0]));
        check(70, b'G', None);
        check(85, b'G', None);
        check(95, b'G', None);
    }

    /// Alternate and genotypes of a line of joint calls as others read it, if it is a biallelic SNV that passed.
    fn genotypes_of_line(line: &str) -> Option<(u8, Vec<Option<[u8; 2]>>)> {
        let columns: Vec<&str> = line.split('\t').collect();
        let ([_], &[alternate], "PASS") = (columns[3].as_bytes(), columns[4].as_bytes(), columns[6]) else {
            return None;
        };
        let genotypes = columns[9..].iter().map(|sample| match sample.as_bytes() {
            [a @ b'0'..=b'1', b'/' | b'|', b @ b'0'..=b'1', ..] => Some([a - b'0', b - b'0']),
            _ => None,
        });
        (alternate != b'*').then(|| (alternate, genotypes.collect()))
    }

    fn joint(reference: &str, alternates: &[&str], filters: Vec<Filter>) -> JointSite {
        let alleles = alternates.len() + 1;
        let genotype = |alleles, phase_set| Genotype { alleles, phase_set, depth: 9, genotype_quality: 50 };
        let genotypes = vec![
            genotype(Some([0, 1]), Some(3)),
            genotype(None, None),
            genotype(Some([1, 1]), None),
            genotype(Some([0, 0]), None),
        ];
        JointSite {
            position: 7,
            reference: reference.into(),
            alternates: alternates.iter().map(|&alternate| alternate.into()).collect(),
            quality_tenths: 500,
            filters,
            allele_counts: vec![3; alternates.len()],
            allele_number: 6,
            depth: 36,
            mapq_rms_tenths: 600,
            allele_depths: vec![1; genotypes.len() * alleles],
            likelihoods: vec![0; genotypes.len() * alleles * (alleles + 1) / 2],
            genotypes,
        }
    }

    #[test]
    fn what_is_compared_is_what_the_text_says() {
        let contigs = Contigs::new(vec![Contig { name: "1".to_owned(), length: 100, m5: [0; 16] }]);
        let check = |site: JointSite, expect: Option<u8>| {
            let mut text = Vec::new();
            write_joint(&contigs, 0, std::slice::from_ref(&site), &mut text);
            let text = String::from_utf8(text).unwrap();
            assert_eq!(compared(&site), genotypes_of_line(text.trim_end()), "{text}");
            assert_eq!(compared(&site).map(|(alternate, _)| alternate), expect, "{text}");
        };
        check(joint("A", &["G"], vec![]), Some(b'G'));
        check(joint("A", &["G"], vec![Filter::LowQual]), None);
        check(joint("A", &["G", "T"], vec![]), None);
        check(joint("A", &["*"], vec![]), None);
        check(joint("AC", &["A"], vec![]), None);
        check(joint("A", &["AC"], vec![]), None);
    }
}
