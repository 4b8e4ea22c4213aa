//! Haplotypes of a window: combinations of candidates that reads do not contradict.
//!
//! Invariant: the reference haplotype is always the first; no two haplotypes have the same bases; at most
//! [`HAPLOTYPES_MAX`] of them.

use super::Window;
use super::allele::{Candidate, Change};
use super::pairhmm::gap_opens;
use super::segment::Segment;
use crate::logarithm::phred;
use std::ops::Range;

/// Haplotypes a window keeps: those that most reads agree with.
const HAPLOTYPES_MAX: usize = 32;

/// One haplotype over a region.
#[derive(Clone, Debug)]
pub(super) struct Haplotype {
    pub bases: Vec<u8>,
    /// Its candidates by ordinal bit.
    pub carries: u32,
    /// Offset in `bases` of each reference base of the region; of the base after for those it deletes.
    pub offsets: Vec<u32>,
    /// Probability of opening a gap before each base, and behind the last.
    pub gap_opens: Vec<f64>,
    /// Cost of its cheapest gap, phred.
    pub gap_phred_min: f64,
    /// Region's start.
    pub start: u32,
}

/// The haplotypes worth comparing with the reads.
pub(super) fn combine(
    candidates: &[Candidate],
    segments: &[Segment<'_>],
    region: &Range<u32>,
    reference: &Window<'_>,
) -> Vec<Haplotype> {
    let excluded: Vec<u32> = candidates
        .iter()
        .map(|a| (0..).zip(candidates).map(|(bit, b)| u32::from(a.excludes(b)) << bit).sum())
        .collect();
    let mut carried = vec![0u32];
    for (bit, excluded) in excluded.iter().enumerate() {
        let with = carried.iter().filter(|&&old| old & excluded == 0).map(|&old| old | 1 << bit);
        carried = with.chain(carried.iter().copied()).collect();
        if carried.len() > HAPLOTYPES_MAX {
            keep_agreeing(&mut carried, segments, (2u32 << bit) - 1);
        }
    }
    carried.sort_unstable_by_key(|&carries| (carries.count_ones(), carries));
    let mut haplotypes: Vec<Haplotype> = Vec::with_capacity(carried.len());
    for carries in carried {
        let haplotype = build(carries, candidates, region, reference);
        if haplotypes.iter().all(|old| old.bases != haplotype.bases) {
            haplotypes.push(haplotype);
        }
    }
    haplotypes
}

/// Keeps the combinations of the first candidates that most segments agree with in all they know; the reference stays.
fn keep_agreeing(carried: &mut Vec<u32>, segments: &[Segment<'_>], decided: u32) {
    let score = |carries: u32| -> u32 {
        let known = |segment: &&Segment<'_>| (segment.shown ^ carries) & segment.known & decided == 0;
        segments.iter().filter(known).map(|segment| (segment.known & decided).count_ones()).sum()
    };
    let mut scored: Vec<(bool, u32, u32)> =
        carried.iter().map(|&carries| (carries != 0, u32::MAX - score(carries), carries)).collect();
    scored.sort_unstable();
    scored.truncate(HAPLOTYPES_MAX);
    *carried = scored.into_iter().map(|(_, _, carries)| carries).collect();
}

/// Writes the changes into the region's reference.
fn build(carries: u32, candidates: &[Candidate], region: &Range<u32>, reference: &Window<'_>) -> Haplotype {
    let mut bases = Vec::with_capacity(region.len() + 64);
    let mut offsets = Vec::with_capacity(region.len());
    let mut deleted_to = region.start;
    let mut next = 0;
    for position in region.clone() {
        offsets.push(bases.len() as u32);
        if position >= deleted_to {
            bases.push(reference.base(position));
        }
        while let Some(candidate) = candidates.get(next).filter(|candidate| candidate.position <= position) {
            if carries >> next & 1 == 1 && candidate.position == position {
                match &candidate.change {
                    Change::Substitution(code) => {
                        *bases.last_mut().expect("its base was just written") = *code
                    }
                    Change::Deletion(length) => deleted_to = position + 1 + length,
                    Change::Insertion(inserted) => bases.extend_from_slice(inserted),
                }
            }
            next += 1;
        }
    }
    let gap_opens = gap_opens(&bases);
    let gap_phred_min = phred(gap_opens[1..].iter().copied().fold(0.0, f64::max));
    Haplotype { bases, carries, offsets, gap_opens, gap_phred_min, start: region.start }
}

impl Haplotype {
    /// Where on the haplotype a read begins if its base at `anchor.0` lies on reference position `anchor.1`.
    pub fn diagonal(&self, anchor: (u32, u32)) -> i32 {
        let at = (anchor.1 - self.start) as usize;
        self.offsets.get(at).map_or(0, |&offset| offset as i32) - anchor.0 as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn haplotypes_combine_what_can_lie_together() {
        let bases = [0, 1, 2, 3, 0, 1, 2, 3, 0, 1];
        let reference = Window { start: 100, bases: &bases, contig_bases: 1000 };
        let candidates = [
            Candidate { position: 102, change: Change::Substitution(0), support: 1 },
            Candidate { position: 102, change: Change::Deletion(2), support: 1 },
            Candidate { position: 104, change: Change::Substitution(3), support: 1 },
            Candidate { position: 106, change: Change::Insertion(vec![1, 1]), support: 1 },
        ];
        let haplotypes = combine(&candidates, &[], &(100..110), &reference);
        assert_eq!(haplotypes[0].bases, bases);
        // Twelve combinations without the deletion over the second substitution; none has equal bases.
        assert_eq!(haplotypes.len(), 12);
        assert!(haplotypes.iter().all(|haplotype| haplotype.carries & 0b110 != 0b110));
        let both = haplotypes.iter().find(|haplotype| haplotype.carries == 0b1011).unwrap();
        assert_eq!(both.bases, [0, 1, 0, 1, 2, 1, 1, 3, 0, 1]);
        assert_eq!(both.offsets, [0, 1, 2, 3, 3, 3, 4, 7, 8, 9]);
        assert_eq!((both.diagonal((0, 100)), both.diagonal((4, 108))), (0, 4));
    }

    #[test]
    fn equal_haplotypes_are_kept_once_and_their_number_is_bounded() {
        let bases: Vec<u8> = (0..200).map(|at| (at % 7 % 4) as u8).collect();
        let reference = Window { start: 0, bases: &bases, contig_bases: 200 };
        let candidates: Vec<Candidate> = (0..10)
            .map(|at| Candidate { position: 20 + 7 * at, change: Change::Substitution(3), support: 1 })
            .collect();
        let haplotypes = combine(&candidates, &[], &(0..200), &reference);
        assert!(haplotypes.len() <= HAPLOTYPES_MAX);
        assert_eq!(haplotypes[0].carries, 0);
        for (at, haplotype) in haplotypes.iter().enumerate() {
            assert!(haplotypes[..at].iter().all(|other| other.bases != haplotype.bases));
        }
    }
}
