//! How much work tasks are, by what is known of their reads.

use super::{Graph, Mark};
use crate::cost::Units;
use crate::coverage::cells_of;
use jobs::genome::Cell;
use jobs::task::{Shard, Task};
use std::ops::Range;

/// Share of a sample's reads that has no place, about.
const UNPLACED: f64 = 0.01;

impl Graph {
    /// How much of what its duration depends on a task has, by what is known.
    pub fn units(&self, task: Task) -> Units {
        let joined = f64::from(self.joined);
        let all_cells = f64::from(self.plan.cells);
        match task {
            Task::Intake(lane, part) => Units { reads: self.lane(lane).pairs_by(part), cells: 0.0 },
            Task::Model(_) => Units::default(),
            Task::Map(lane, chunk) => Units { reads: self.lane(lane).pairs_of(chunk), cells: 0.0 },
            Task::Region(sample, Shard::Unplaced) => {
                Units { reads: self.reads_of(sample) * UNPLACED, cells: 0.0 }
            }
            Task::Region(_, shard) | Task::Joint(shard) => self.units_in(task, cells_of(shard)),
            Task::WriteSample(_, part) => self.units_in(task, self.plan.parts().cells(part)),
            Task::FinishSample(_) => Units { reads: 0.0, cells: self.plan.parts().count().into() },
            // Few bytes come of many reads.
            Task::WriteJoint(part) => Units { reads: 0.0, cells: self.plan.parts().cells(part).len() as f64 },
            Task::FinishCohort => {
                Units { reads: 0.0, cells: f64::from(self.plan.parts().count()) + self.samples.len() as f64 }
            }
            Task::SealSample(sample) => Units { reads: self.reads_of(sample), cells: all_cells },
            Task::SealCohort => Units { reads: 0.0, cells: all_cells * joined },
        }
    }

    /// What some of its cells add to a task.
    pub fn units_in(&self, task: Task, cells: Range<u32>) -> Units {
        let count = cells.len() as f64;
        match task {
            Task::Region(sample, _) | Task::WriteSample(sample, _) => {
                Units { reads: self.reads_in(sample, cells), cells: count }
            }
            Task::Joint(_) => {
                Units { reads: self.joint_reads_in(cells), cells: count * f64::from(self.joined) }
            }
            _ => Units::default(),
        }
    }

    /// Reads of a sample, as counted or guessed.
    pub fn reads_of(&self, sample: u32) -> f64 {
        self.samples[sample as usize].lanes.iter().map(|lane| 2.0 * lane.pairs as f64).sum()
    }

    /// Reads of a sample in some cells, by the chunks that were weighed.
    fn reads_in(&self, sample: u32, cells: Range<u32>) -> f64 {
        let state = &self.samples[sample as usize];
        self.reads_of(sample) * self.share(&state.weights, state.weighed, cells)
    }

    /// Reads of all joined samples in some cells, if they lie as those that were weighed.
    fn joint_reads_in(&self, cells: Range<u32>) -> f64 {
        self.joint_reads * self.share(&self.joint_weights, self.joint_weighed, cells)
    }

    /// The share of some cells in all that was weighed; in the genome, if nothing was.
    fn share<W: Copy + Into<u64>>(&self, weights: &[W], weighed: u64, cells: Range<u32>) -> f64 {
        match weights.get(cells.start as usize..cells.end as usize) {
            Some(weights) if weighed > 0 => {
                weights.iter().map(|&weight| weight.into()).sum::<u64>() as f64 / weighed as f64
            }
            _ => cells.len() as f64 / f64::from(self.plan.cells.max(1)),
        }
    }

    /// So many cells of the joint call, wherever they are.
    pub fn joint_units(&self, cells: f64) -> Units {
        let share = cells / f64::from(self.plan.cells.max(1));
        Units { reads: self.joint_reads * share, cells: cells * f64::from(self.joined) }
    }

    /// Adds up the reads of the joined samples anew.
    pub fn count_joint_reads(&mut self) {
        let joined = (0..self.samples.len() as u32).filter(|&sample| self.counts_in_joint(sample));
        self.joint_reads = joined.map(|sample| self.reads_of(sample)).sum();
    }

    /// A map tells where its reads lie.
    pub fn weigh(&mut self, sample: u32, weights: &[(Cell, u32)]) {
        let cells = self.plan.cells as usize;
        let joined = self.counts_in_joint(sample);
        let state = &mut self.samples[sample as usize];
        if state.finish == Mark::Done || state.dropped.is_some() {
            return;
        }
        for &(cell, reads) in weights.iter().filter(|(cell, _)| (cell.0 as usize) < cells) {
            state.weights.resize(cells, 0);
            state.weights[cell.0 as usize] = state.weights[cell.0 as usize].saturating_add(reads);
            state.weighed += u64::from(reads);
            if joined && reads > 0 {
                self.joint_weights.resize(cells, 0);
                self.joint_weights[cell.0 as usize] += u64::from(reads);
                self.joint_weighed += u64::from(reads);
            }
        }
    }
}
