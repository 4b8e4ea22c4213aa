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
        self.whole.iter().enumerate().flat_map(|(index, &mark)| {
            let parts = self.parts.get(&(index as u32)).map_or(&[][..], Vec::as_slice);
            let whole = parts.is_empty().then_some((Chunk::whole(index as u32), mark));
            whole.into_iter().chain(parts.iter().copied())
        })
    }

    /// The mark of a leaf; `None` if it is not one.
    pub fn mark(&self, chunk: Chunk) -> Option<Mark> {
        match self.parts.get(&chunk.index) {
            Some(parts) => parts.iter().find(|(part, _)| *part == chunk).map(|&(_, mark)| mark),
            None if chunk.parts == 1 => self.whole.get(chunk.index as usize).copied(),
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
        let whole = *self.whole.get(chunk.index as usize)?;
        let parts = self.parts.entry(chunk.index).or_insert_with(|| vec![(Chunk::whole(chunk.index), whole)]);
        let at = parts.iter().position(|(part, _)| *part == chunk)?;
        parts.splice(at..=at, halves.map(|half| (half, Mark::Todo)));
        Some(halves)
    }

    /// Makes a part that the journal holds a leaf, if nothing that is done covers it. Returns how many leaves there are
    /// more.
    pub fn carve(&mut self, chunk: Chunk) -> Option<u32> {
        let mut more = 0;
        if self.whole.len() <= chunk.index as usize {
            self.whole.resize(chunk.index as usize + 1, Mark::Todo);
        }
        loop {
            let covers = |part: &Chunk| {
                part.parts <= chunk.parts && chunk.part / (chunk.parts / part.parts) == part.part
            };
            let leaf = match self.parts.get(&chunk.index) {
                Some(parts) => parts.iter().copied().find(|(part, _)| covers(part)),
                None => Some((Chunk::whole(chunk.index), self.whole[chunk.index as usize])),
            };
            match leaf {
                Some((part, Mark::Todo)) if part == chunk => return Some(more),
                Some((part, Mark::Todo)) => {
                    self.halve(part)?;
                    more += 1;
                }
                _ => return None,
            }
        }
    }

    /// Pairs of a leaf, about.
    pub fn pairs_of(&self, chunk: Chunk) -> f64 {
        self.pairs as f64 / f64::from(self.chunks.unwrap_or(1).max(1)) / f64::from(chunk.parts)
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
        for (part, parts, fits) in [(3, 4, true), (1, 2, false), (0, 1, false), (3, 4, false), (0, 2, true)] {
            let chunk = Chunk { index: 1, part, parts };
            assert_eq!(lane.carve(chunk).is_some(), fits, "{chunk}");
            if fits {
                lane.set(chunk, Mark::Done);
            }
        }
        assert_eq!(lane.open(3), []);
        assert_eq!(names(&lane), ["0 Todo", "1.0of2 Done", "1.2of4 Todo", "1.3of4 Done", "2 Todo"]);
    }

    #[test]
    fn chunks_beyond_the_intakes_number_are_foreign() {
        let mut lane = Lane::default();
        assert_eq!(lane.carve(Chunk::whole(5)), Some(0));
        lane.set(Chunk::whole(5), Mark::Done);
        assert_eq!(lane.open(2), [Chunk::whole(5)]);
    }
}
