//! The parts of files, a sample's or the cohort's: each is written when all regions, or all of the joint call, up to its end
//! are done, for only then is known where it begins.
//!
//! Invariant: a part that nobody wrote is a task as long as the results it belongs to are not there, and else it is none;
//! results that are made again are made of parts that are written again.

use super::{Graph, Mark};
use crate::coverage::{Coverage, cells_of};
use jobs::task::{Parts, Shard, Task};

/// The parts of files; `None`: not to be written, because the results are there.
#[derive(Clone, Debug)]
pub(super) struct Writes(Vec<Option<Mark>>);

impl Writes {
    /// All of them are to be written.
    pub fn new(parts: Parts) -> Self {
        Writes(vec![Some(Mark::Todo); parts.count() as usize])
    }

    /// How far a part is.
    pub fn mark(&self, part: u32) -> Option<Mark> {
        self.0[part as usize]
    }

    /// Marks a part anew.
    pub fn set(&mut self, part: u32, mark: Mark) {
        self.0[part as usize] = Some(mark);
    }

    /// Whether there is none that is still to be written.
    pub fn are_done(&self) -> bool {
        self.0.iter().flatten().all(|&mark| mark == Mark::Done)
    }
}

impl Graph {
    pub(super) fn writes(&self, of: Option<u32>) -> &Writes {
        of.map_or(&self.writes, |sample| &self.samples[sample as usize].writes)
    }

    pub(super) fn writes_mut(&mut self, of: Option<u32>) -> &mut Writes {
        match of {
            Some(sample) => &mut self.samples[sample as usize].writes,
            None => &mut self.writes,
        }
    }

    /// The regions of a sample, or the joint call, of which files are made.
    pub(super) fn made_of(&self, of: Option<u32>) -> &Coverage {
        of.map_or(&self.joint, |sample| &self.samples[sample as usize].cells)
    }

    fn parts_from(&self, of: Option<u32>, from: u32) -> impl Iterator<Item = Task> + use<> {
        (from..self.plan.parts().count()).map(move |part| Task::write(of, part))
    }

    /// The parts of files whose bytes, or place, depend on this shard.
    pub(super) fn writes_from(&self, of: Option<u32>, shard: Shard) -> impl Iterator<Item = Task> + use<> {
        let (cells, parts) = (cells_of(shard), self.plan.parts());
        self.parts_from(of, if cells.is_empty() { parts.count() } else { parts.at(cells.start) })
    }

    /// The parts of files that are there.
    pub fn written(&self, of: Option<u32>) -> Vec<Task> {
        let is_there = |part: &Task| matches!(self.mark(*part), Some(Mark::Held | Mark::Done));
        self.parts_from(of, 0).filter(is_there).collect()
    }

    /// A part is to be written, or was.
    pub(super) fn want_write(&mut self, task: Task) {
        if let (Some(part), None) = (task.part(), self.mark(task)) {
            self.writes_mut(task.sample()).set(part, Mark::Todo);
            self.tally(task, Mark::Todo, 1);
        }
    }

    /// Results are to be made, of parts.
    pub(super) fn want_writes(&mut self, of: Option<u32>) {
        self.parts_from(of, 0).for_each(|part| self.want_write(part));
        self.wake_writes(of, 0);
    }

    /// Results are there: they stand for the parts that nobody wrote.
    pub(super) fn spare_writes(&mut self, of: Option<u32>) {
        for task in self.parts_from(of, 0) {
            if let (Some(part), Some(Mark::Todo)) = (task.part(), self.mark(task)) {
                self.writes_mut(of).0[part as usize] = None;
                self.tally(task, Mark::Todo, -1);
            }
        }
    }

    /// Nothing of files is there any more; workers have none of their parts. Returns what was.
    pub(super) fn lose_writes(&mut self, of: Option<u32>) -> Vec<Task> {
        let lost = self.written(of);
        for task in self.parts_from(of, 0) {
            self.want_write(task);
            self.set(task, Mark::Todo);
        }
        lost
    }

    /// Wakes the parts from this one on before which nothing is missing.
    pub(super) fn wake_writes(&mut self, of: Option<u32>, from: u32) {
        let ready = self.made_of(of).done_parts();
        (from..ready).for_each(|part| self.wake(Task::write(of, part)));
    }
}
