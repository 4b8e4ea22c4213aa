//! One chromosome of one person: its bases, and where each of them lies on the reference.
//!
//! Only what differs from the reference is held, so the haplotypes of a human genome need little memory beside it.
//!
//! Invariant: segments cover the haplotype without gap, in order; substitutions are in order and on forward segments.

use super::genome::complement;
use super::truth::{Origin, Placement};
use super::variation::{Edit, INDEL_BASES_MAX, Kind};

/// More bases than this on the other side of a breakpoint make a read a breakpoint read.
const ACROSS_BASES_MAX: u32 = 20;

/// A chromosome with its variants.
pub struct Haplotype<'a> {
    contig: &'a [u8],
    segments: Vec<Segment>,
    /// Bases of the novel segments.
    novel: Vec<u8>,
    /// Bases of forward segments that are not the reference's, by their place on the haplotype.
    substitutions: Vec<(u32, u8)>,
}

#[derive(Clone, Copy)]
enum Direction {
    Forward,
    Reverse,
    /// Not of the reference; stands after its base `reference`. The bases begin at this one of the novel ones.
    Novel(u32),
}

#[derive(Clone, Copy)]
struct Segment {
    /// First base on the haplotype.
    start: u32,
    bases: u32,
    /// First (smallest) base on the reference.
    reference: u32,
    direction: Direction,
}

/// A run of a read on the reference, small indels included.
#[derive(Clone, Copy)]
struct Part {
    start: u32,
    end: u32,
    reverse: bool,
    bases: u32,
}

impl<'a> Haplotype<'a> {
    /// Applies the edits, which come in order and do not overlap, to a contig.
    pub fn new(contig: &'a [u8], edits: &[Edit]) -> Self {
        let mut haplotype =
            Haplotype { contig, segments: Vec::new(), novel: Vec::new(), substitutions: Vec::new() };
        let mut at = 0;
        for edit in edits {
            haplotype.push(Direction::Forward, at, edit.position - at);
            haplotype.apply(edit);
            at = edit.end();
        }
        haplotype.push(Direction::Forward, at, contig.len() as u32 - at);
        haplotype
    }

    /// How many bases it has.
    pub fn len(&self) -> u32 {
        self.segments.last().map_or(0, |last| last.start + last.bases)
    }

    /// The bases from `start` to `end`, letters A C G T N; `None` where it ends before.
    pub fn bases(&self, start: u32, end: u32) -> Option<Vec<u8>> {
        if end > self.len() {
            return None;
        }
        let mut bases = Vec::with_capacity((end - start) as usize);
        for (segment, from, to) in self.overlaps(start, end) {
            let first = (segment.reference + from) as usize;
            match segment.direction {
                Direction::Forward => bases.extend(&self.contig[first..first + (to - from) as usize]),
                Direction::Reverse => {
                    let last = (segment.reference + segment.bases - from) as usize;
                    let forward = &self.contig[last - (to - from) as usize..last];
                    bases.extend(forward.iter().rev().map(|&base| complement(base)));
                }
                Direction::Novel(at) => bases.extend(&self.novel[(at + from) as usize..(at + to) as usize]),
            }
        }
        let first = self.substitutions.partition_point(|&(at, _)| at < start);
        for &(at, base) in self.substitutions[first..].iter().take_while(|&&(at, _)| at < end) {
            bases[(at - start) as usize] = base;
        }
        Some(bases)
    }

    /// The segments with bases from `start` to `end`, and which of their bases these are.
    fn overlaps(&self, start: u32, end: u32) -> impl Iterator<Item = (&Segment, u32, u32)> {
        let first = self.segments.partition_point(|segment| segment.start <= start).saturating_sub(1);
        self.segments[first..].iter().take_while(move |segment| segment.start < end).map(move |segment| {
            let from = start.max(segment.start) - segment.start;
            (segment, from, end.min(segment.start + segment.bases) - segment.start)
        })
    }

    /// Where the bases from `start` to `end` lie on the reference: the larger part, if a breakpoint parts them.
    pub fn locate(&self, start: u32, end: u32) -> Placement {
        let mut parts: Vec<Part> = Vec::new();
        let mut novel = 0;
        let mut anchor = 0;
        for (segment, from, to) in self.overlaps(start, end) {
            let bases = to - from;
            let (reference, reverse) = match segment.direction {
                Direction::Forward => (segment.reference + from, false),
                Direction::Reverse => (segment.reference + segment.bases - to, true),
                Direction::Novel(_) => {
                    novel += bases;
                    anchor = segment.reference;
                    continue;
                }
            };
            let part = Part { start: reference, end: reference + bases, reverse, bases };
            match parts.last_mut() {
                Some(last) if follows(last, &part) => {
                    last.start = last.start.min(part.start);
                    last.end = last.end.max(part.end);
                    last.bases += bases;
                }
                _ => parts.push(part),
            }
        }
        // Of equal parts the first one counts.
        let largest = parts.iter().rev().max_by_key(|part| part.bases);
        let part =
            largest.copied().unwrap_or(Part { start: anchor, end: anchor + 1, reverse: false, bases: 0 });
        let origin = if 2 * novel > end - start {
            Origin::Novel
        } else if end - start - part.bases > ACROSS_BASES_MAX {
            Origin::Breakpoint
        } else {
            Origin::Plain
        };
        Placement { start: part.start, end: part.end, reverse: part.reverse, origin }
    }

    fn apply(&mut self, edit: &Edit) {
        let Edit { position, reference_bases, ref alternate, kind } = *edit;
        if kind == Kind::Inversion {
            self.push(Direction::Forward, position, 1);
            self.push(Direction::Reverse, position + 1, reference_bases - 1);
        } else if kind == Kind::TandemDuplication {
            self.push(Direction::Forward, position, reference_bases);
            self.push(Direction::Forward, position + 1, reference_bases - 1);
        } else {
            let shared = reference_bases.min(alternate.len() as u32);
            let (replaced, novel) = alternate.split_at(shared as usize);
            let own = &self.contig[position as usize..];
            let differ = (self.len()..).zip(replaced).zip(own).filter(|((_, new), own)| new != own);
            self.substitutions.extend(differ.map(|((at, &new), _)| (at, new)));
            self.push(Direction::Forward, position, shared);
            self.push(Direction::Novel(self.novel.len() as u32), position + shared - 1, novel.len() as u32);
            self.novel.extend_from_slice(novel);
        }
    }

    /// Says where the next bases come from; a forward run that goes on is not cut.
    fn push(&mut self, direction: Direction, reference: u32, bases: u32) {
        if bases == 0 {
            return;
        }
        if let (Some(last), Direction::Forward) = (self.segments.last_mut(), direction)
            && matches!(last.direction, Direction::Forward)
            && last.reference + last.bases == reference
        {
            last.bases += bases;
            return;
        }
        let start = self.len();
        self.segments.push(Segment { start, bases, reference, direction });
    }
}

/// Whether a part goes on in the next one after no more than a small deletion.
fn follows(last: &Part, next: &Part) -> bool {
    let gap = if last.reverse { last.start.checked_sub(next.end) } else { next.start.checked_sub(last.end) };
    last.reverse == next.reverse && gap.is_some_and(|gap| gap as usize <= INDEL_BASES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(position: u32, reference_bases: u32, alternate: &str, kind: Kind) -> Edit {
        Edit { position, reference_bases, alternate: alternate.into(), kind }
    }

    fn contig() -> Vec<u8> {
        (0..400u32).map(|i| b"ACGT"[(i.wrapping_mul(2_654_435_761) >> 30) as usize]).collect()
    }

    #[test]
    fn places_follow_the_edits() {
        let contig = contig();
        let anchor = |at: usize| (contig[at] as char).to_string();
        let inserted = anchor(149) + &"G".repeat(60);
        let edits = [
            edit(10, 1, "N", Kind::Small),
            edit(20, 4, &anchor(20), Kind::Small),
            edit(39, 1, &(anchor(39) + "TT"), Kind::Small),
            edit(49, 61, &anchor(49), Kind::Deletion),
            edit(149, 1, &inserted, Kind::Insertion),
            edit(199, 61, "", Kind::Inversion),
            edit(299, 61, "", Kind::TandemDuplication),
        ];
        let haplotype = Haplotype::new(&contig, &edits);
        assert_eq!(haplotype.len(), 400 - 3 + 2 - 60 + 60 + 60);
        let check = |range: (u32, u32), start, end, reverse, origin| {
            let expect = Placement { start, end, reverse, origin };
            assert_eq!(haplotype.locate(range.0, range.1), expect, "{range:?}");
        };
        check((0, 20), 0, 20, false, Origin::Plain);
        check((10, 40), 10, 41, false, Origin::Plain);
        check((30, 48), 33, 49, false, Origin::Plain);
        check((39, 89), 110, 150, false, Origin::Plain);
        check((19, 89), 110, 150, false, Origin::Breakpoint);
        check((79, 139), 140, 150, false, Origin::Novel);
        check((100, 110), 149, 150, false, Origin::Novel);
        check((200, 240), 219, 259, true, Origin::Plain);
        check((359, 399), 300, 340, false, Origin::Plain);
        let base = |at: u32| haplotype.bases(at, at + 1).unwrap()[0];
        for (hap, reference) in [(0u32, 0usize), (25, 28), (149, 150), (400, 341)] {
            assert_eq!(base(hap), contig[reference], "{hap}");
        }
        assert_eq!((base(10), base(200)), (b'N', complement(contig[258])));
        assert_eq!(haplotype.bases(458, 460), None);
    }
}
