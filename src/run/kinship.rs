//! Who is related to whom: genotypes are compared while the joint calls are written, cell by cell.
//!
//! Samples of the joint call are compared with each other. A tumour is not among them; it is compared with the other
//! samples of its participant only, where its own gVCF says what it has at the joint sites: so a swapped tumour shows.
//! Invariant: memory holds one cell of each tumour, whatever the genome; a genotype nobody stands for is not counted.

use jobs::cohort::Cohort;
use jobs::genome::Cell;
use kernels::variant::{Answer, CellCalls};
use std::path::Path;
use workers::context::Context;
use workers::finish::FinishError;
use workers::qc::contig_class::ContigClass;
use workers::qc::relatedness::Relatedness;
use workers::report::PairReport;
use workers::vcf::{SampleReader, decompress_cell};

/// A reference block speaks for 0/0 from this GQ on.
const BLOCK_GENOTYPE_QUALITY_MIN: u8 = 20;

/// The comparison of a cohort.
pub struct Comparison<'a> {
    context: &'a Context,
    /// All that are present.
    samples: Vec<usize>,
    /// Sample of each column.
    joined: Vec<usize>,
    relatedness: Relatedness,
    tumours: Vec<Tumour<'a>>,
    participants: Vec<Participant>,
    classes: Vec<ContigClass>,
}

struct Tumour<'a> {
    sample: usize,
    reader: SampleReader<'a>,
    calls: CellCalls,
}

/// A participant of whom there is a tumour and another sample.
struct Participant {
    members: Vec<Member>,
    relatedness: Relatedness,
}

#[derive(Clone, Copy)]
enum Member {
    /// A column of the joint calls.
    Column(usize),
    /// An ordinal among the tumours.
    Tumour(usize),
}

impl<'a> Comparison<'a> {
    /// Nothing compared yet of the samples that are `present`, in order. The gVCFs of tumours that have a counterpart are
    /// opened in `results`.
    pub fn new(
        context: &'a Context,
        cohort: &Cohort,
        present: &[u32],
        results: &Path,
    ) -> Result<Self, FinishError> {
        let samples: Vec<usize> = present.iter().map(|&sample| sample as usize).collect();
        let joins = |&sample: &usize| context.samples[sample].joint;
        let joined: Vec<usize> = samples.iter().copied().filter(joins).collect();
        let mut comparison = Comparison {
            context,
            samples: samples.clone(),
            relatedness: Relatedness::new(joined.len()),
            joined,
            tumours: Vec::new(),
            participants: Vec::new(),
            classes: ContigClass::of_all(context.index.contigs()),
        };
        let participant = |sample: usize| &cohort.samples[sample].participant;
        let mut ordered = samples.clone();
        ordered.sort_by_key(|&sample| participant(sample));
        for one in ordered.chunk_by(|&a, &b| participant(a) == participant(b)) {
            if one.len() > 1 && one.iter().any(|&sample| !context.samples[sample].joint) {
                let members = one.iter().map(|&sample| comparison.member(sample, results));
                let members = members.collect::<Result<Vec<Member>, FinishError>>()?;
                let relatedness = Relatedness::new(members.len());
                comparison.participants.push(Participant { members, relatedness });
            }
        }
        Ok(comparison)
    }

    fn member(&mut self, sample: usize, results: &Path) -> Result<Member, FinishError> {
        if let Ok(column) = self.joined.binary_search(&sample) {
            return Ok(Member::Column(column));
        }
        let path = results.join(format!("{}.g.vcf.gz", self.context.samples[sample].name));
        let reader = SampleReader::open(&path, self.context.index.contigs())?;
        self.tumours.push(Tumour { sample, reader, calls: CellCalls::default() });
        Ok(Member::Tumour(self.tumours.len() - 1))
    }

    /// Adds the biallelic SNVs that passed, of one cell of joint calls; only autosomes, which both parents pass on alike.
    /// Cells come in reference order, none left out.
    pub fn add_cell(&mut self, cell: Cell, block: &[u8]) -> Result<(), FinishError> {
        let place = self.context.grid.interval(cell);
        for tumour in &mut self.tumours {
            tumour.calls = tumour.reader.read_cell(place)?;
        }
        if self.classes[place.contig as usize] != ContigClass::Autosome {
            return Ok(());
        }
        // The block was read back with its digest: what it holds is what the joint task wrote.
        let text = decompress_cell(block).unwrap_or_default();
        let mut columns = Vec::with_capacity(self.joined.len());
        for line in text.split(|&byte| byte == b'\n') {
            let Some((position, alternate)) = joint_genotypes(line, &mut columns) else { continue };
            if columns.len() != self.joined.len() {
                continue;
            }
            self.relatedness.add_site(&columns);
            for Participant { members, relatedness } in &mut self.participants {
                let of = |member: &Member| match *member {
                    Member::Column(column) => columns[column],
                    Member::Tumour(tumour) => genotype_at(&self.tumours[tumour].calls, position, alternate),
                };
                relatedness.add_site(&members.iter().map(of).collect::<Vec<_>>());
            }
        }
        Ok(())
    }

    /// All pairs of the joint call, then those of tumours, by their places among those that are present.
    pub fn finish(self) -> Vec<PairReport> {
        let Comparison { samples, joined, relatedness, tumours, participants, .. } = self;
        let place = |sample: usize| samples.partition_point(|&other| other < sample);
        let joint = relatedness.finish().into_iter().map(|(first, second, counts)| PairReport {
            first: place(joined[first]),
            second: place(joined[second]),
            counts,
        });
        let mut pairs: Vec<PairReport> = joint.collect();
        let sample = |member: Member| match member {
            Member::Column(column) => place(joined[column]),
            Member::Tumour(tumour) => place(tumours[tumour].sample),
        };
        for Participant { members, relatedness } in participants {
            for (first, second, counts) in relatedness.finish() {
                let (first, second) = (members[first], members[second]);
                if !matches!((first, second), (Member::Column(_), Member::Column(_))) {
                    pairs.push(PairReport { first: sample(first), second: sample(second), counts });
                }
            }
        }
        pairs
    }
}

/// Position (0-based) and alternate of a line of joint calls, if it is a biallelic SNV that passed; its genotypes.
fn joint_genotypes(line: &[u8], genotypes: &mut Vec<Option<[u8; 2]>>) -> Option<(u32, u8)> {
    let mut columns = line.split(|&byte| byte == b'\t');
    let position: u32 = std::str::from_utf8(columns.nth(1)?).ok()?.parse().ok()?;
    let ([_], &[alternate], b"PASS") = (columns.nth(1)?, columns.next()?, columns.nth(1)?) else {
        return None;
    };
    if alternate == b'*' {
        return None;
    }
    genotypes.clear();
    genotypes.extend(columns.skip(2).map(|sample| match sample {
        [a @ b'0'..=b'1', b'/' | b'|', b @ b'0'..=b'1', ..] => Some([a - b'0', b - b'0']),
        _ => None,
    }));
    Some((position.checked_sub(1)?, alternate))
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

    #[test]
    fn only_biallelic_snvs_that_passed_are_compared() {
        let check = |line: &str, expect: Option<(u32, u8)>| {
            assert_eq!(joint_genotypes(line.as_bytes(), &mut Vec::new()), expect, "{line}");
        };
        let line =
            |alleles: &str, filter: &str| format!("1\t8\t.\t{alleles}\t50\t{filter}\tAC=1\tGT\t0/1\t./.");
        check(&line("A\tG", "PASS"), Some((7, b'G')));
        check(&line("A\tG", "LowQual"), None);
        check(&line("A\tG,T", "PASS"), None);
        check(&line("A\t*", "PASS"), None);
        check(&line("AC\tA", "PASS"), None);
        check("", None);
        let mut genotypes = Vec::new();
        joint_genotypes(b"1\t8\t.\tA\tG\t50\tPASS\tAC=1\tGT:DP\t0|1:3\t./.:1\t1/1:9", &mut genotypes);
        assert_eq!(genotypes, [Some([0, 1]), None, Some([1, 1])]);
    }
}
