//! Candidate alleles: single changes against the reference, left-aligned and parsimonious (Tan, Abecasis and Kang 2015).
//!
//! Invariant: two reads that show the same change in different places of a repeat give the same candidate.

use super::Window;

/// Left alignment gives up after this many bases, so that it never looks beyond the halo.
const SHIFT_BASES_MAX: u32 = 512;

/// One change. Positions of insertions and deletions are those of the base before (VCF's anchor).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Change {
    /// Another base, as code.
    Substitution(u8),
    /// So many bases after the anchor are missing.
    Deletion(u32),
    /// Base codes that stand after the anchor.
    Insertion(Vec<u8>),
}

/// A change with the number of reads that show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub position: u32,
    pub change: Change,
    pub support: u32,
}

impl Candidate {
    /// One past the last reference base that the change touches or could equally well be written at.
    pub fn reach(&self, reference: &Window<'_>) -> u32 {
        let after = self.position + 1;
        let same = |at: u32, base: u8| base < 4 && reference.base(at) == base;
        match &self.change {
            Change::Substitution(_) => after,
            Change::Deletion(length) => {
                let shifts =
                    (0..SHIFT_BASES_MAX).take_while(|k| same(after + k, reference.base(after + k + length)));
                after + length + shifts.count() as u32
            }
            Change::Insertion(bases) => {
                let shifts =
                    (0..SHIFT_BASES_MAX).take_while(|&k| same(after + k, bases[k as usize % bases.len()]));
                after + 1 + shifts.count() as u32
            }
        }
    }

    /// The half-open stretch the change occupies, counting bases as even and the junctions after them as odd numbers:
    /// changes whose stretches meet cannot lie on one haplotype.
    fn occupied(&self) -> (u64, u64) {
        let base = 2 * u64::from(self.position);
        match self.change {
            Change::Substitution(_) => (base, base + 1),
            Change::Deletion(length) => (base + 1, base + 2 * u64::from(length) + 1),
            Change::Insertion(_) => (base + 1, base + 2),
        }
    }

    /// Whether no haplotype can carry both.
    pub fn excludes(&self, other: &Candidate) -> bool {
        let (a, b) = (self.occupied(), other.occupied());
        a.0 < b.1 && b.0 < a.1
    }

    /// Whether it changes the length.
    pub fn is_indel(&self) -> bool {
        !matches!(self.change, Change::Substitution(_))
    }

    /// Whether the deletion removes this reference base.
    pub fn deletes(&self, position: u32) -> bool {
        matches!(self.change, Change::Deletion(length) if position > self.position && position - self.position <= length)
    }

    /// Reference bases it removes.
    pub fn deleted_bases(&self) -> u32 {
        match self.change {
            Change::Deletion(length) => length,
            Change::Substitution(_) | Change::Insertion(_) => 0,
        }
    }

    /// Bases inserted or deleted.
    pub fn indel_bases(&self) -> u32 {
        match &self.change {
            Change::Insertion(bases) => bases.len() as u32,
            Change::Substitution(_) | Change::Deletion(_) => self.deleted_bases(),
        }
    }
}

/// Moves an indel as far left as the reference lets it. Gives nothing where no anchor base is left or known.
pub(super) fn left_align(mut position: u32, change: Change, reference: &Window<'_>) -> Option<(u32, Change)> {
    let known = |position: u32| (reference.base(position) < 4).then_some(position);
    let movable = |position: u32, steps: u32| position > reference.start && steps < SHIFT_BASES_MAX;
    let mut steps = 0;
    match change {
        Change::Substitution(_) => Some((position, change)),
        Change::Deletion(length) => {
            let last = |position: u32| reference.base(position + length);
            while movable(position, steps) && reference.base(position) == last(position) && last(position) < 4
            {
                position -= 1;
                steps += 1;
            }
            Some((known(position)?, Change::Deletion(length)))
        }
        Change::Insertion(mut bases) => {
            let mut last = bases.len() - 1;
            // The inserted bases turn like a ring: what leaves on the right is the base it passed on the left.
            while movable(position, steps) && reference.base(position) == bases[last] {
                position -= 1;
                steps += 1;
                last = if last == 0 { bases.len() - 1 } else { last - 1 };
            }
            let turn = (last + 1) % bases.len();
            bases.rotate_left(turn);
            Some((known(position)?, Change::Insertion(bases)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str) -> Vec<u8> {
        text.bytes()
            .map(|letter| b"ACGT".iter().position(|&base| base == letter).unwrap_or(4) as u8)
            .collect()
    }

    #[test]
    fn indels_move_to_their_leftmost_place() {
        let bases = codes("GTACACACACTTTTG");
        let reference = Window { start: 100, bases: &bases, contig_bases: 1000 };
        let check = |position: u32, change: Change, expect: (u32, Change)| {
            assert_eq!(left_align(position, change, &reference), Some(expect));
        };
        let insertion = |text: &str| Change::Insertion(codes(text));
        check(107, Change::Deletion(2), (101, Change::Deletion(2)));
        check(109, insertion("AC"), (101, insertion("AC")));
        check(108, insertion("CA"), (101, insertion("AC")));
        check(113, insertion("TT"), (109, insertion("TT")));
        check(112, Change::Deletion(1), (109, Change::Deletion(1)));
        check(105, insertion("G"), (105, insertion("G")));
        check(103, Change::Substitution(2), (103, Change::Substitution(2)));
    }

    #[test]
    fn an_indel_reaches_to_its_rightmost_place() {
        let bases = codes("GTACACACACTTTTG");
        let reference = Window { start: 100, bases: &bases, contig_bases: 1000 };
        let reach = |position, change| Candidate { position, change, support: 0 }.reach(&reference);
        assert_eq!(reach(101, Change::Deletion(2)), 110);
        assert_eq!(reach(109, Change::Insertion(codes("T"))), 115);
        assert_eq!(reach(105, Change::Substitution(0)), 106);
    }

    #[test]
    fn overlapping_changes_exclude_each_other() {
        let at = |position, change| Candidate { position, change, support: 0 };
        let deletion = at(10, Change::Deletion(3));
        for (position, excluded) in [(10, false), (11, true), (13, true), (14, false)] {
            assert_eq!(deletion.excludes(&at(position, Change::Substitution(0))), excluded, "{position}");
        }
        for (position, excluded) in [(9, false), (10, true), (12, true), (13, false)] {
            assert_eq!(deletion.excludes(&at(position, Change::Insertion(vec![1]))), excluded, "{position}");
        }
    }
}
