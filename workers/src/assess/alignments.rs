//! Were reads placed where they come from, and were PCR copies found?
//!
//! A read is right if contig and strand agree and the nearest of its start, unclipped start, end and unclipped end lies
//! within [`TOLERANCE_BASES`] of the truth. Reads of mostly novel sequence have no place and are not scored; breakpoint
//! reads are counted apart. Only primary records count.

use std::collections::HashMap;

use jobs::failure::{Class, Classified};
use jobs::genome::Contigs;

use crate::record::{Record, cigar, flag};
use crate::simulate::truth::{Origin, Placement, ReadTruth};

/// How far from the truth a right read may lie.
pub const TOLERANCE_BASES: i64 = 20;
/// From this MAPQ on a wrong read is called confident.
pub const MAPQ_CONFIDENT: u8 = 20;

/// Counts of primary records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AlignmentAccuracy {
    /// Primary records seen.
    pub reads: u64,
    /// Reads from one place of the reference.
    pub scored: u64,
    /// Of those, placed right.
    pub right: u64,
    /// Of those, placed wrong.
    pub wrong: u64,
    /// Of those, wrong at MAPQ 20 or more.
    pub wrong_confident: u64,
    /// Of those, not placed.
    pub unmapped: u64,
    /// Pairs of which no read is mostly novel sequence.
    pub pairs: u64,
    /// Of those, with both reads right.
    pub pairs_right: u64,
    /// Reads across a structural breakpoint.
    pub breakpoint_reads: u64,
    /// Of those, placed right by the larger part.
    pub breakpoint_right: u64,
    /// Reads of mostly novel sequence.
    pub novel_reads: u64,
    /// Reads that are further copies of a fragment.
    pub duplicates: u64,
    /// How many reads of copied fragments were flagged, at most the further copies.
    pub duplicates_found: u64,
    /// Reads flagged although all copies of their fragment were already accounted for.
    pub duplicates_false: u64,
}

/// Share of `part` in `whole`; 0 of nothing is 0.
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl AlignmentAccuracy {
    /// Share of scored reads that were placed right.
    pub fn right_share(&self) -> f64 {
        share(self.right, self.scored)
    }

    /// Share of pairs with both reads right.
    pub fn pairs_right_share(&self) -> f64 {
        share(self.pairs_right, self.pairs)
    }

    /// Share of further copies that were flagged.
    pub fn duplicates_found_share(&self) -> f64 {
        share(self.duplicates_found, self.duplicates)
    }
}

/// The records are not those of simulated reads on this reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlignmentAssessError {
    /// A read name does not carry its truth.
    #[error(
        "read name '{name}' carries no truth: expected CONTIG:START:END:STRAND twice, u or dN, and a number"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// A record lies on a contig the reference does not have.
    #[error("read '{name}' lies on contig id {contig}: expected one of {contigs} contigs")]
    Contig {
        /// The name.
        name: String,
        /// Its contig id.
        contig: i32,
        /// How many there are.
        contigs: usize,
    },
}

impl Classified for AlignmentAssessError {
    fn class(&self) -> Class {
        Class::Input
    }
}

/// Takes records one by one, in any order.
pub struct AlignmentAssessor<'a> {
    contigs: &'a Contigs,
    accuracy: AlignmentAccuracy,
    /// By pair: what the mate that came first was.
    waiting: HashMap<u64, Verdict>,
    /// By fragment: records and flagged ones of the first and the last read.
    copies: HashMap<u64, [Copies; 2]>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Right,
    NotRight,
    NotScored,
}

#[derive(Clone, Copy, Default)]
struct Copies {
    records: u16,
    flagged: u16,
}

impl<'a> AlignmentAssessor<'a> {
    /// Begins with no records.
    pub fn new(contigs: &'a Contigs) -> Self {
        let accuracy = AlignmentAccuracy::default();
        AlignmentAssessor { contigs, accuracy, waiting: HashMap::new(), copies: HashMap::new() }
    }

    /// Scores a record; secondary and supplementary ones are passed over.
    pub fn add(&mut self, record: &Record<'_>) -> Result<(), AlignmentAssessError> {
        if record.flag() & (flag::SECONDARY | flag::SUPPLEMENTARY) != 0 {
            return Ok(());
        }
        let name = || String::from_utf8_lossy(record.name()).into_owned();
        let truth = std::str::from_utf8(record.name()).ok().and_then(ReadTruth::parse);
        let truth = truth.ok_or_else(|| AlignmentAssessError::Name { name: name() })?;
        let mapped = record.flag() & flag::UNMAPPED == 0;
        let known = usize::try_from(record.contig()).is_ok_and(|contig| contig < self.contigs.len());
        if mapped && !known {
            let (contig, contigs) = (record.contig(), self.contigs.len());
            return Err(AlignmentAssessError::Contig { name: name(), contig, contigs });
        }
        let last = record.flag() & flag::LAST != 0;
        let (contig, place) = truth.reads[usize::from(last)];
        let right = mapped
            && self.contigs.get(record.contig() as u32).name == contig
            && (record.flag() & flag::REVERSE != 0) == place.reverse
            && distance(record, &place) <= TOLERANCE_BASES;
        let copies = &mut self.copies.entry(truth.fragment()).or_default()[usize::from(last)];
        copies.records = copies.records.saturating_add(1);
        copies.flagged = copies.flagged.saturating_add(u16::from(record.flag() & flag::DUPLICATE != 0));
        self.count(record, &place, mapped, right);
        let verdict = match (place.origin, right) {
            (Origin::Novel, _) => Verdict::NotScored,
            (_, true) => Verdict::Right,
            (_, false) => Verdict::NotRight,
        };
        match self.waiting.remove(&truth.id) {
            None => drop(self.waiting.insert(truth.id, verdict)),
            Some(mate) if mate == Verdict::NotScored || verdict == Verdict::NotScored => {}
            Some(mate) => {
                self.accuracy.pairs += 1;
                self.accuracy.pairs_right += u64::from(mate == Verdict::Right && verdict == Verdict::Right);
            }
        }
        Ok(())
    }

    /// The counts of all records so far.
    pub fn finish(self) -> AlignmentAccuracy {
        let mut accuracy = self.accuracy;
        for copies in self.copies.values().flatten() {
            let further = u64::from(copies.records.saturating_sub(1));
            let flagged = u64::from(copies.flagged);
            accuracy.duplicates += further;
            accuracy.duplicates_found += flagged.min(further);
            accuracy.duplicates_false += flagged.saturating_sub(further);
        }
        accuracy
    }

    fn count(&mut self, record: &Record<'_>, place: &Placement, mapped: bool, right: bool) {
        let accuracy = &mut self.accuracy;
        accuracy.reads += 1;
        match place.origin {
            Origin::Novel => accuracy.novel_reads += 1,
            Origin::Breakpoint => {
                accuracy.breakpoint_reads += 1;
                accuracy.breakpoint_right += u64::from(right);
            }
            Origin::Plain => {
                accuracy.scored += 1;
                accuracy.right += u64::from(right);
                accuracy.unmapped += u64::from(!mapped);
                let wrong = mapped && !right;
                accuracy.wrong += u64::from(wrong);
                accuracy.wrong_confident += u64::from(wrong && record.mapq() >= MAPQ_CONFIDENT);
            }
        }
    }
}

/// How far the nearest end of a record, clipped or not, is from the truth.
fn distance(record: &Record<'_>, place: &Placement) -> i64 {
    let clip = |op: u32| matches!(cigar::LETTERS.get((op & 15) as usize), Some(b'S' | b'H'));
    let clipped = |ops: &mut dyn Iterator<Item = u32>| {
        ops.take_while(|&op| clip(op)).map(|op| i64::from(op >> 4)).sum::<i64>()
    };
    let (lead, trail) = (clipped(&mut record.cigar()), clipped(&mut record.cigar().rev()));
    let start = i64::from(record.position());
    let end = start + i64::from(record.reference_bases());
    let (true_start, true_end) = (i64::from(place.start), i64::from(place.end));
    let distances = [start - true_start, start - lead - true_start, end - true_end, end + trail - true_end];
    distances.map(i64::abs).into_iter().min().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Fields, encode};
    use jobs::genome::Contig;

    fn contigs() -> Contigs {
        let contig = |name: &str| Contig { name: name.to_owned(), length: 10_000, m5: [0; 16] };
        Contigs::new(vec![contig("a"), contig("b")])
    }

    /// (name, flag, contig, 0-based position, MAPQ, CIGAR)
    type Given<'a> = (&'a str, u16, i32, i32, u8, &'a [u32]);

    fn assess(records: &[Given<'_>]) -> AlignmentAccuracy {
        let contigs = contigs();
        let mut assessor = AlignmentAssessor::new(&contigs);
        for &(name, flag, contig, position, mapq, cigar) in records {
            let mut bytes = Vec::new();
            let bases = cigar.iter().filter(|&&op| cigar::consumes_read(op)).map(|op| op >> 4).sum::<u32>();
            let fields = Fields {
                name: name.as_bytes(),
                flag,
                contig,
                position,
                mapq,
                cigar,
                mate_contig: -1,
                mate_position: -1,
                template_length: 0,
                sequence: &vec![0; bases as usize],
                qualities: &[],
                tags: &[],
            };
            encode(&fields, &mut bytes);
            assessor.add(&Record::new(&bytes).unwrap()).unwrap();
        }
        assessor.finish()
    }

    const M100: &[u32] = &[100 << 4];
    const FIRST: u16 = 0x41;
    const LAST_REVERSE: u16 = 0x91;

    #[test]
    fn a_read_is_right_by_its_nearest_end() {
        let name = "a:101:200:+.:a:301:400:-.:u:1";
        let right = |flag, contig, position, cigar: &[u32]| {
            assess(&[(name, flag, contig, position, 60, cigar)]).right == 1
        };
        assert!(right(FIRST, 0, 100, M100));
        assert!(right(FIRST, 0, 120, M100));
        assert!(!right(FIRST, 0, 121, M100));
        assert!(!right(FIRST, 1, 100, M100));
        assert!(!right(FIRST | flag::REVERSE, 0, 100, M100));
        assert!(right(FIRST, 0, 150, &[50 << 4 | 4, 50 << 4]));
        assert!(right(FIRST, 0, 60, &[40 << 4, 40 << 4 | 2, 60 << 4]));
        assert!(right(LAST_REVERSE, 0, 300, M100));
    }

    #[test]
    fn classes_are_counted_apart() {
        let got = assess(&[
            ("a:101:200:+.:a:301:400:-.:u:1", FIRST, 0, 100, 60, M100),
            ("a:101:200:+.:a:301:400:-.:u:1", LAST_REVERSE, 0, 300, 60, M100),
            ("a:101:200:+.:a:301:400:-.:d1:2", FIRST | flag::DUPLICATE, 0, 100, 60, M100),
            ("a:101:200:+.:a:301:400:-.:d1:2", LAST_REVERSE, 1, 300, 30, M100),
            ("a:101:200:+s:a:301:400:-n:u:3", FIRST | flag::DUPLICATE, 0, 100, 60, M100),
            ("a:101:200:+s:a:301:400:-n:u:3", LAST_REVERSE, 1, 0, 60, M100),
            ("a:101:200:+.:a:301:400:-.:u:4", FIRST | flag::UNMAPPED, -1, -1, 0, &[]),
            ("a:101:200:+.:a:301:400:-.:u:1", FIRST | flag::SUPPLEMENTARY, 1, 0, 60, M100),
        ]);
        let expect = AlignmentAccuracy {
            reads: 7,
            scored: 5,
            right: 3,
            wrong: 1,
            wrong_confident: 1,
            unmapped: 1,
            pairs: 2,
            pairs_right: 1,
            breakpoint_reads: 1,
            breakpoint_right: 1,
            novel_reads: 1,
            duplicates: 2,
            duplicates_found: 1,
            duplicates_false: 1,
        };
        assert_eq!(got, expect);
    }

    #[test]
    fn reads_without_truth_are_refused() {
        let contigs = contigs();
        let mut bytes = Vec::new();
        let fields = Fields {
            name: b"read1",
            flag: 4,
            contig: -1,
            position: -1,
            mapq: 0,
            cigar: &[],
            mate_contig: -1,
            mate_position: -1,
            template_length: 0,
            sequence: &[],
            qualities: &[],
            tags: &[],
        };
        encode(&fields, &mut bytes);
        let error = AlignmentAssessor::new(&contigs).add(&Record::new(&bytes).unwrap()).unwrap_err();
        assert_eq!(error, AlignmentAssessError::Name { name: "read1".to_owned() });
    }
}
