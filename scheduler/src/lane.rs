//! A lane: its intake in parts, its model, and the chunks that the intake cut it into.
//!
//! Invariant: the leaves of a chunk (itself, or the parts it was taken into) cover it once. Each part of the intake that
//! is done makes its chunks known and, if it was not the last, the part after it; the last one closes the lane.

use crate::graph::Mark;
use jobs::task::{Chunk, INTAKE_CHUNKS};
use std::collections::BTreeMap;
use std::ops::Range;

/// How far a lane is.
#[derive(Clone, Debug, Default)]
pub struct Lane {
    /// The model.
    pub model: Mark,
    /// Pairs, as the intake counted or as the plan guesses.
    pub pairs: u64,
    /// Pairs of a chunk, the same.
    chunk_pairs: u64,
    /// Whether the last part of the intake said how many chunks there are.
    closed: bool,
    /// By part of the intake that is known.
    intake: Vec<Mark>,
    /// By chunk that is known; of chunks in parts, meaningless.
    whole: Vec<Mark>,
    /// The leaves of chunks in parts, in order.
    parts: BTreeMap<u32, Vec<(Chunk, Mark)>>,
}

/// Chunks of this part of an intake, where there are so many.
pub fn chunks_of(part: u32) -> Range<u32> {
    part * INTAKE_CHUNKS..(part + 1) * INTAKE_CHUNKS
}

impl Lane {
    /// A lane of about so many pairs, in chunks of about so many.
    pub fn new(pairs: u64, chunk_pairs: u64) -> Self {
        Lane { pairs, chunk_pairs: chunk_pairs.min(pairs).max(1), ..Lane::default() }
    }

    /// Whether all its chunks are known.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// The parts of the intake that are known.
    pub fn intake(&self) -> &[Mark] {
        &self.intake
    }

    /// Marks a part of the intake that is known.
    pub fn set_intake(&mut self, part: u32, mark: Mark) {
        if let Some(part) = self.intake.get_mut(part as usize) {
            *part = mark;
        }
    }

    /// Chunks of the lane, if this part of the intake is the one that said how many there are.
    pub fn chunks_by(&self, part: u32) -> Option<u32> {
        (self.closed && part as usize + 1 == self.intake.len()).then_some(self.whole.len() as u32)
    }

    /// A part of the intake counted the pairs up to its end and, if it was the last, the chunks.
    pub fn count(&mut self, part: u32, pairs: u64, chunks: Option<u32>) {
        let known = chunks.unwrap_or(chunks_of(part).end);
        self.chunk_pairs = pairs.div_ceil(known.max(1).into()).max(1);
        self.pairs = if chunks.is_some() { pairs } else { self.pairs.max(pairs + 1) };
    }

    /// Makes the first parts and chunks known, so many of each at least. Returns how many there are more of each.
    pub fn grow(&mut self, parts: u32, chunks: u32) -> (u32, u32) {
        let grow = |marks: &mut Vec<Mark>, wanted: u32| {
            let more = wanted.saturating_sub(marks.len() as u32);
            marks.resize(marks.len() + more as usize, Mark::Todo);
            more
        };
        (grow(&mut self.intake, parts), grow(&mut self.whole, chunks))
    }

    /// There are only the first parts and chunks, so many of each.
    pub fn close(&mut self, parts: u32, chunks: u32) {
        self.intake.truncate(parts as usize);
        self.whole.truncate(chunks as usize);
        self.parts.retain(|&index, _| index < chunks);
        self.closed = true;
    }

    /// There may be more.
    pub fn reopen(&mut self) {
        self.closed = false;
    }

    /// Every leaf that is known, in order.
    pub fn leaves(&self) -> impl Iterator<Item = (Chunk, Mark)> {
        self.leaves_of(0..self.whole.len() as u32)
    }

    /// The leaves of those of these chunks that are known, in order.
    pub fn leaves_of(&self, chunks: Range<u32>) -> impl Iterator<Item = (Chunk, Mark)> {
        (chunks.start..chunks.end.min(self.whole.len() as u32)).flat_map(|index| {
            let parts = self.parts.get(&index).map_or(&[][..], Vec::as_slice);
            let whole = parts.is_empty().then(|| (Chunk::whole(index), self.whole[index as usize]));
            whole.into_iter().chain(parts.iter().copied())
        })
    }

    /// The mark of a leaf; `None` if it is not one.
    pub fn mark(&self, chunk: Chunk) -> Option<Mark> {
        match self.parts.get(&chunk.index) {
            Some(parts) => parts.iter().find(|(part, _)| *part == chunk).map(|&(_, mark)| mark),
            None if chunk.is_whole() => self.whole.get(chunk.index as usize).copied(),
            None => None,
        }
    }

    /// Marks a leaf.
    pub fn set(&mut self, chunk: Chunk, mark: Mark) {
        let leaf = match self.parts.get_mut(&chunk.index) {
            Some(parts) => parts.iter_mut().find(|(part, _)| *part == chunk).map(|(_, mark)| mark),
            None => self.whole.get_mut(chunk.index as usize),
        };
        if let Some(leaf) = leaf {
            *leaf = mark;
        }
    }

    /// Takes a leaf into halves, which are yet to do; `None` if it cannot be.
    pub fn halve(&mut self, chunk: Chunk) -> Option<[Chunk; 2]> {
        let halves = chunk.halves()?;
        self.replace(chunk, halves.map(|half| (half, Mark::Todo)))?;
        Some(halves)
    }

    /// Ends a leaf before the strip `end`, which is one of its own and not the first; the rest is taken into so many leaves,
    /// or fewer, which are yet to do. `None` if it is no leaf.
    pub fn cut(&mut self, chunk: Chunk, end: u16, pieces: u16) -> Option<Vec<Chunk>> {
        let mark = self.mark(chunk)?;
        let strips = u32::from(chunk.end - end);
        let pieces = u32::from(pieces).clamp(1, strips);
        let line = |piece: u32| end + (strips * piece / pieces) as u16;
        let rest = (0..pieces).map(|piece| Chunk { first: line(piece), end: line(piece + 1), ..chunk });
        let rest: Vec<Chunk> = rest.collect();
        let todo = rest.iter().map(|&piece| (piece, Mark::Todo));
        self.replace(chunk, [(Chunk { end, ..chunk }, mark)].into_iter().chain(todo))?;
        Some(rest)
    }

    /// Makes a part of a known chunk that the journal holds a leaf, if nothing that is done covers it. Returns how many
    /// leaves there are more.
    pub fn carve(&mut self, chunk: Chunk) -> Option<u32> {
        let covers = |leaf: &Chunk| leaf.first <= chunk.first && chunk.end <= leaf.end;
        let (leaf, _) = self
            .leaves_of(chunk.index..chunk.index + 1)
            .find(|(leaf, mark)| *mark == Mark::Todo && covers(leaf))?;
        let around = [Chunk { end: chunk.first, ..leaf }, chunk, Chunk { first: chunk.end, ..leaf }];
        let leaves: Vec<_> = around.into_iter().filter(|part| part.first < part.end).collect();
        let more = leaves.len() as u32 - 1;
        if more > 0 {
            self.replace(leaf, leaves.into_iter().map(|part| (part, Mark::Todo)))?;
        }
        Some(more)
    }

    /// Puts other leaves, which cover the same, in the place of one; `None` if it is none.
    fn replace(&mut self, chunk: Chunk, leaves: impl IntoIterator<Item = (Chunk, Mark)>) -> Option<()> {
        let mark = self.mark(chunk)?;
        let parts = self.parts.entry(chunk.index).or_insert_with(|| vec![(chunk, mark)]);
        let at = parts.iter().position(|(part, _)| *part == chunk)?;
        parts.splice(at..=at, leaves);
        Some(())
    }

    /// Pairs of a leaf, about.
    pub fn pairs_of(&self, chunk: Chunk) -> f64 {
        self.chunk_pairs as f64 * chunk.share()
    }

    /// Pairs of a part of the intake, about.
    pub fn pairs_by(&self, part: u32) -> f64 {
        let before = u64::from(chunks_of(part).start) * self.chunk_pairs;
        let most = u64::from(INTAKE_CHUNKS) * self.chunk_pairs;
        self.pairs.saturating_sub(before).clamp(self.chunk_pairs, most) as f64
    }

    /// Pairs of chunks that are expected and not known yet, about.
    pub fn uncut_pairs(&self) -> u64 {
        let known = self.whole.len() as u64 * self.chunk_pairs;
        if self.closed { 0 } else { self.pairs.saturating_sub(known) }
    }

    /// Chunks that are expected and not known yet.
    pub fn uncut_chunks(&self) -> u64 {
        self.uncut_pairs().div_ceil(self.chunk_pairs)
    }

    /// Parts of the intake that are expected and not known yet.
    pub fn uncut_parts(&self) -> u64 {
        let chunks = self.whole.len() as u64 + self.uncut_chunks();
        let parts = if self.closed { 0 } else { chunks.div_ceil(INTAKE_CHUNKS.into()) };
        parts.saturating_sub(self.intake.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(lane: &Lane) -> Vec<String> {
        lane.leaves().map(|(chunk, mark)| format!("{chunk} {mark:?}")).collect()
    }

    #[test]
    fn parts_in_the_journal_leave_the_rest_of_their_chunk_to_do() {
        let mut lane = Lane::default();
        assert_eq!(lane.grow(1, 3), (1, 3));
        let parts =
            [(768, 1024, true), (512, 1024, false), (0, 1024, false), (768, 1024, false), (0, 5, true)];
        for (first, end, fits) in parts {
            let chunk = Chunk { index: 1, first, end };
            assert_eq!(lane.carve(chunk).is_some(), fits, "{chunk}");
            if fits {
                lane.set(chunk, Mark::Done);
            }
        }
        assert_eq!(names(&lane), ["0 Todo", "1.0-5 Done", "1.5-768 Todo", "1.768-1024 Done", "2 Todo"]);
    }

    #[test]
    fn what_is_expected_becomes_known_part_by_part() {
        let mut lane = Lane::new(1000, 100);
        let check = |lane: &Lane, parts, chunks, pairs| {
            assert_eq!((lane.uncut_parts(), lane.uncut_chunks(), lane.uncut_pairs()), (parts, chunks, pairs));
        };
        lane.grow(1, 0);
        check(&lane, 2, 10, 1000);
        lane.count(0, 400, None);
        lane.grow(2, 4);
        check(&lane, 1, 6, 600);
        // There is more than was expected.
        lane.count(2, 1200, None);
        lane.grow(4, 12);
        check(&lane, 0, 1, 1);
        assert_eq!((lane.pairs_by(3), lane.pairs_by(0)), (100.0, 400.0));
        lane.count(3, 1350, Some(14));
        lane.grow(4, 14);
        lane.close(4, 14);
        check(&lane, 0, 0, 0);
        assert_eq!((lane.chunks_by(3), lane.chunks_by(2), lane.pairs), (Some(14), None, 1350));
        assert_eq!(lane.leaves_of(chunks_of(3)).count(), 2);
    }

    #[test]
    fn what_is_cut_off_a_leaf_is_shared_out_evenly() {
        let mut lane = Lane::default();
        lane.grow(1, 1);
        lane.set(Chunk::whole(0), Mark::Given);
        assert_eq!(lane.cut(Chunk::whole(0), 24, 3).map(|rest| rest.len()), Some(3));
        assert_eq!(names(&lane), ["0.0-24 Given", "0.24-357 Todo", "0.357-690 Todo", "0.690-1024 Todo"]);
        assert_eq!(lane.cut(Chunk { index: 0, first: 24, end: 357 }, 355, 9).map(|rest| rest.len()), Some(2));
        assert_eq!(lane.cut(Chunk { index: 0, first: 24, end: 357 }, 355, 9), None);
        let leaves = lane.leaves().map(|(chunk, _)| chunk.share()).sum::<f64>();
        assert!((leaves - 1.0).abs() < 1e-9);
    }
}
