//! The parts of a sample's files: each is written when all regions up to its end are done, for only then is known where it
//! begins.
//!
//! Invariant: a part that nobody wrote is a task as long as its sample's results are not there, and else it is none; results
//! that are made again are made of parts that are written again.

use super::{Graph, Mark};
use crate::coverage::cells_of;
use jobs::task::{Shard, Task};

impl Graph {
    /// The parts of a sample's files whose bytes, or place, depend on this shard.
    pub(super) fn writes_from(&self, sample: u32, shard: Shard) -> impl Iterator<Item = Task> + use<> {
        let cells = cells_of(shard);
        let first =
            if cells.is_empty() { self.plan.parts().count() } else { self.plan.parts().at(cells.start) };
        (first..self.plan.parts().count()).map(move |part| Task::WriteSample(sample, part))
    }

    /// The parts of a sample's files that are there.
    pub fn written(&self, sample: u32) -> Vec<Task> {
        let parts = (0..self.plan.parts().count()).map(|part| Task::WriteSample(sample, part));
        parts.filter(|&part| matches!(self.mark(part), Some(Mark::Held | Mark::Done))).collect()
    }

    /// A part is to be written, or was.
    pub(super) fn want_write(&mut self, sample: u32, part: u32) {
        let task = Task::WriteSample(sample, part);
        if self.mark(task).is_none() {
            self.sample(sample).writes[part as usize] = Some(Mark::Todo);
            self.tally(task, Mark::Todo, 1);
        }
    }

    /// A sample's results are there: they stand for the parts that nobody wrote.
    pub(super) fn spare_writes(&mut self, sample: u32) {
        for part in 0..self.plan.parts().count() {
            let task = Task::WriteSample(sample, part);
            if self.mark(task) == Some(Mark::Todo) {
                self.sample(sample).writes[part as usize] = None;
                self.tally(task, Mark::Todo, -1);
            }
        }
    }

    /// Wakes the parts from this one on before which nothing is missing.
    pub(super) fn wake_writes(&mut self, sample: u32, from: u32) {
        let ready = self.samples[sample as usize].cells.done_parts();
        (from..ready).for_each(|part| self.wake(Task::WriteSample(sample, part)));
    }
}
