//! A lane: its intake, its model, and the chunks that the intake cut it into.
//!
//! Invariant: the leaves of a chunk (itself, or the parts it was taken into) cover it once.

use crate::graph::Mark;
use jobs::task::Chunk;
use std::collections::BTreeMap;

/// How far a lane is.
#[derive(Clone, Debug, Default)]
pub struct Lane {
    /// The intake.
    pub intake: Mark,
    /// The model.
    pub model: Mark,
    /// Pairs, as the intake counted or as the plan guesses.
    pub pairs: u64,
    /// Chunks, once the intake said.
    pub chunks: Option<u32>,
    /// By chunk; of chunks in parts, meaningless.
    whole: Vec<Mark>,
    /// The leaves of chunks in parts, in order.
    parts: BTreeMap<u32, Vec<(Chunk, Mark)>>,
}

impl Lane {
    /// A lane of about so many pairs.
    pub fn of_pairs(pairs: u64) -> Self {
        Lane { pairs, ..Lane::default() }
    }

    /// Says into how many chunks the lane is cut. Returns what was committed of chunks that there are none of.
    pub fn open(&mut self, chunks: u32) -> Vec<Chunk> {
        let foreign = self.leaves().filter(|(chunk, mark)| chunk.index >= chunks && *mark == Mark::Done);
        let foreign = foreign.map(|(chunk, _)| chunk).collect();
        self.whole.resize(chunks as usize, Mark::Todo);
        self.parts.retain(|&index, _| index < chunks);
        self.chunks = Some(chunks);
        foreign
    }

    /// Every leaf in order.
    pub fn leaves(&self) -> impl Iterator<Item = (Chunk, Mark)> {
        (0..self.whole.len() as u32).flat_map(|index| self.leaves_in(index))
    }

    /// The leaves of a chunk in order.
    fn leaves_in(&self, index: u32) -> impl Iterator<Item = (Chunk, Mark)> {
        let parts = self.parts.get(&index).map_or(&[][..], Vec::as_slice);
        let whole = parts.is_empty().then(|| (Chunk::whole(index), self.whole[index as usize]));
        whole.into_iter().chain(parts.iter().copied())
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

    /// Makes a part that the journal holds a leaf, if nothing that is done covers it. Returns how many leaves there are
    /// more.
    pub fn carve(&mut self, chunk: Chunk) -> Option<u32> {
        if self.whole.len() <= chunk.index as usize {
            self.whole.resize(chunk.index as usize + 1, Mark::Todo);
        }
        let covers = |leaf: &Chunk| leaf.first <= chunk.first && chunk.end <= leaf.end;
        let (leaf, _) =
            self.leaves_in(chunk.index).find(|(leaf, mark)| *mark == Mark::Todo && covers(leaf))?;
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
        self.pairs as f64 / f64::from(self.chunks.unwrap_or(1).max(1)) * chunk.share()
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
        let parts =
            [(768, 1024, true), (512, 1024, false), (0, 1024, false), (768, 1024, false), (0, 5, true)];
        for (first, end, fits) in parts {
            let chunk = Chunk { index: 1, first, end };
            assert_eq!(lane.carve(chunk).is_some(), fits, "{chunk}");
            if fits {
                lane.set(chunk, Mark::Done);
            }
        }
        assert_eq!(lane.open(3), []);
        assert_eq!(names(&lane), ["0 Todo", "1.0-5 Done", "1.5-768 Todo", "1.768-1024 Done", "2 Todo"]);
    }

    #[test]
    fn chunks_beyond_the_intakes_number_are_foreign() {
        let mut lane = Lane::default();
        assert_eq!(lane.carve(Chunk::whole(5)), Some(0));
        lane.set(Chunk::whole(5), Mark::Done);
        assert_eq!(lane.open(2), [Chunk::whole(5)]);
    }

    #[test]
    fn what_is_cut_off_a_leaf_is_shared_out_evenly() {
        let mut lane = Lane::default();
        assert_eq!(lane.carve(Chunk::whole(0)), Some(0));
        lane.set(Chunk::whole(0), Mark::Given);
        assert_eq!(lane.cut(Chunk::whole(0), 24, 3).map(|rest| rest.len()), Some(3));
        assert_eq!(names(&lane), ["0.0-24 Given", "0.24-357 Todo", "0.357-690 Todo", "0.690-1024 Todo"]);
        assert_eq!(lane.cut(Chunk { index: 0, first: 24, end: 357 }, 355, 9).map(|rest| rest.len()), Some(2));
        assert_eq!(lane.cut(Chunk { index: 0, first: 24, end: 357 }, 355, 9), None);
        let leaves = lane.leaves().map(|(chunk, _)| chunk.share()).sum::<f64>();
        assert!((leaves - 1.0).abs() < 1e-9);
    }
}
