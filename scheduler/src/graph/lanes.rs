//! What is known of lanes: it grows with each part of an intake, in whatever order a journal tells of them.
//!
//! Invariant: a part or chunk is tallied from when it is known; when its lane is closed, those beyond its end are no more.

use super::{Graph, Mark};
use crate::lane::chunks_of;
use jobs::task::{Chunk, LaneId, Stage, Task};
use std::ops::Range;

impl Graph {
    /// Makes the first parts and chunks of a lane known, so many of each at least, unless it is closed.
    pub(super) fn grow_lane(&mut self, lane: LaneId, parts: u32, chunks: u32) {
        if self.lane(lane).is_closed() {
            return;
        }
        let (parts, leaves) = self.lane_mut(lane).grow(parts, chunks);
        self.tally(Task::Intake(lane, 0), Mark::Todo, parts as i32);
        self.tally(Task::Map(lane, Chunk::whole(0)), Mark::Todo, leaves as i32);
        let sample = self.sample(lane.sample);
        sample.lanes_left += parts;
        sample.maps_left += leaves;
    }

    /// There are only the first parts and chunks of a lane, so many of each. Returns what was committed of others.
    fn close_lane(&mut self, lane: LaneId, parts: u32, chunks: u32) -> Vec<Task> {
        let state = self.lane(lane);
        let intakes = (0..).zip(state.intake()).skip(parts as usize);
        let intakes = intakes.map(|(part, &mark)| (Task::Intake(lane, part), mark));
        let leaves = state.leaves_of(chunks..u32::MAX);
        let maps = leaves.map(|(chunk, mark)| (Task::Map(lane, chunk), mark));
        let beyond: Vec<(Task, Mark)> = intakes.chain(maps).collect();
        for &(task, mark) in &beyond {
            self.tally(task, mark, -1);
            self.held -= u32::from(mark == Mark::Held);
            let sample = self.sample(lane.sample);
            let left =
                if task.stage() == Stage::Map { &mut sample.maps_left } else { &mut sample.lanes_left };
            *left -= u32::from(mark != Mark::Done);
        }
        self.lane_mut(lane).close(parts, chunks);
        let committed = beyond.into_iter().filter(|(_, mark)| matches!(mark, Mark::Done | Mark::Held));
        committed.map(|(task, _)| task).collect()
    }

    /// A part of an intake is done: its chunks are known, and either the part after it or that there is none. Returns what
    /// was committed of parts and chunks that there are none of.
    pub(super) fn extend_lane(&mut self, lane: LaneId, part: u32, chunks: Option<u32>) -> Vec<Task> {
        let was_closed = self.lane(lane).is_closed();
        let known = chunks_of(part);
        let chunks = chunks.map(|chunks| chunks.clamp(known.start, known.end));
        // Done again, it may say otherwise than before.
        if chunks.is_some() || self.lane(lane).chunks_by(part).is_some() {
            self.lane_mut(lane).reopen();
        }
        let foreign = match chunks {
            None => {
                self.grow_lane(lane, part + 2, chunks_of(part).end);
                Vec::new()
            }
            Some(chunks) => {
                self.grow_lane(lane, part + 1, chunks);
                self.close_lane(lane, part + 1, chunks)
            }
        };
        let is_closed = self.lane(lane).is_closed();
        let open = &mut self.sample(lane.sample).lanes_open;
        *open = *open + u32::from(was_closed) - u32::from(is_closed);
        foreign
    }

    pub(super) fn wake_lane(&mut self, lane: LaneId) {
        let parts = self.lane(lane).intake().len() as u32;
        (0..parts).for_each(|part| self.wake(Task::Intake(lane, part)));
        self.wake(Task::Model(lane));
        self.wake_maps(lane, 0..u32::MAX);
    }

    pub(super) fn wake_maps(&mut self, lane: LaneId, chunks: Range<u32>) {
        if self.lane(lane).model == Mark::Done {
            self.maps_at(lane, chunks, Mark::Todo).into_iter().for_each(|map| self.wake(map));
        }
    }

    pub(super) fn unwake_maps(&mut self, lane: LaneId, chunks: Range<u32>) {
        self.maps_at(lane, chunks, Mark::Ready).into_iter().for_each(|map| self.unwake(map));
    }

    /// Maps of these chunks of a lane with this mark.
    fn maps_at(&self, lane: LaneId, chunks: Range<u32>, mark: Mark) -> Vec<Task> {
        let leaves = self.lane(lane).leaves_of(chunks).filter(|&(_, m)| m == mark);
        leaves.map(|(chunk, _)| Task::Map(lane, chunk)).collect()
    }
}
