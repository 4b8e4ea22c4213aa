//! Which cells the joint call may take: those that are done of every joined sample, with the cell before them.
//!
//! Invariant: a cell that could be joined is in a span of the joint call or in an open run, never in both.

use super::{Graph, Mark};
use crate::coverage::shard_of;
use jobs::task::Task;
use std::ops::Range;

impl Graph {
    /// Whether every joined sample is done everywhere.
    pub fn is_covered(&self) -> bool {
        self.full == self.plan.cells
    }

    pub(super) fn joint_ready(&self, cell: u32) -> bool {
        let full = |cell: u32| self.covered[cell as usize] == self.joined;
        full(cell) && (cell == 0 || full(cell - 1))
    }

    /// Lets joint tasks read everybody's calls, as they do in a cohort planned without anybody whose calls they would read:
    /// nothing is done on nobody's consent.
    pub(super) fn join_all(&mut self) {
        for sample in self.samples.iter_mut().filter(|sample| sample.dropped.is_none()) {
            sample.joint = true;
            self.joined += 1;
            for (cells, _) in sample.cells.spans().filter(|(_, mark)| *mark == Mark::Done) {
                cells.for_each(|cell| self.covered[cell as usize] += 1);
            }
        }
    }

    /// Whether joint tasks read a sample's calls.
    pub fn counts_in_joint(&self, sample: u32) -> bool {
        let sample = &self.samples[sample as usize];
        sample.joint && sample.dropped.is_none()
    }

    /// A joined sample's region task is done.
    pub(super) fn cover(&mut self, cells: Range<u32>) {
        let before = self.full;
        for cell in cells.clone() {
            self.covered[cell as usize] += 1;
            self.full += u32::from(self.covered[cell as usize] == self.joined);
        }
        if self.full > before {
            // The cell after it looks back into it.
            self.open_joint(cells.start..(cells.end + 1).min(self.plan.cells));
        }
    }

    /// A joined sample's region task is not done after all.
    pub(super) fn uncover(&mut self, cells: Range<u32>) {
        for cell in cells.clone() {
            self.full -= u32::from(self.covered[cell as usize] == self.joined);
            self.covered[cell as usize] -= 1;
        }
        let touched = cells.start..(cells.end + 1).min(self.plan.cells);
        let ready = self.joint.overlapping(touched.clone()).filter(|(_, mark)| *mark == Mark::Ready);
        let ready: Vec<Range<u32>> = ready.map(|(cells, _)| cells).collect();
        for span in &ready {
            self.remove_span(Task::Joint(shard_of(span.clone())));
        }
        self.close_joint(touched);
        ready.into_iter().for_each(|span| self.open_joint(span));
    }

    /// Adds to the open runs whatever of `cells` can be joined and is no task yet.
    pub(super) fn open_joint(&mut self, cells: Range<u32>) {
        if !self.begun {
            return;
        }
        for gap in self.joint.gaps(cells) {
            let mut next = gap.start;
            while next < gap.end {
                let first = next;
                while next < gap.end && self.joint_ready(next) {
                    next += 1;
                }
                if first < next {
                    self.add_open(first..next);
                }
                next += 1;
            }
        }
    }

    fn add_open(&mut self, cells: Range<u32>) {
        let (mut first, mut end) = (cells.start, cells.end);
        while let Some((&other, &other_end)) =
            self.joint_open.range(..=end).next_back().filter(|&(_, &other_end)| other_end >= first)
        {
            self.joint_open.remove(&other);
            (first, end) = (first.min(other), end.max(other_end));
        }
        self.joint_open.insert(first, end);
        self.joint_touched = true;
    }

    /// Takes `cells` out of the open runs.
    pub fn close_joint(&mut self, cells: Range<u32>) {
        while let Some((first, end)) = self
            .joint_open
            .range(..cells.end)
            .next_back()
            .map(|(&first, &end)| (first, end))
            .filter(|&(_, end)| end > cells.start)
        {
            self.joint_open.remove(&first);
            if first < cells.start {
                self.joint_open.insert(first, cells.start);
            }
            if end > cells.end {
                self.joint_open.insert(cells.end, end);
            }
        }
    }
}
