//! How much work tasks are, by what is known of their reads.

use super::{Graph, Mark};
use crate::cost::Units;
use crate::coverage::cells_of;
use jobs::genome::Cell;
use jobs::task::{Shard, Task};

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
            Task::Region(sample, shard) => {
                let cells = cells_of(shard);
                let reads = cells.clone().map(|cell| self.reads_at(sample, cell)).sum();
                Units { reads, cells: cells.len() as f64 }
            }
            Task::Joint(shard) => {
                let cells = cells_of(shard).len() as f64;
                Units { reads: 0.0, cells: cells * joined }
            }
            Task::FinishSample(sample) | Task::SealSample(sample) => {
                Units { reads: self.reads_of(sample), cells: all_cells }
            }
            Task::FinishCohort | Task::SealCohort => Units { reads: 0.0, cells: all_cells * joined },
        }
    }

    /// Reads of a sample, as counted or guessed.
    pub fn reads_of(&self, sample: u32) -> f64 {
        self.samples[sample as usize].lanes.iter().map(|lane| 2.0 * lane.pairs as f64).sum()
    }

    /// Reads of a sample in a cell, by the chunks that were weighed.
    pub fn reads_at(&self, sample: u32, cell: u32) -> f64 {
        let state = &self.samples[sample as usize];
        let reads = self.reads_of(sample);
        match state.weights.get(cell as usize) {
            Some(&weight) if state.weighed > 0 => f64::from(weight) * reads / state.weighed as f64,
            _ => reads / f64::from(self.plan.cells.max(1)),
        }
    }

    /// A map tells where its reads lie.
    pub fn weigh(&mut self, sample: u32, weights: &[(Cell, u32)]) {
        let cells = self.plan.cells as usize;
        let state = self.sample(sample);
        if state.finish == Mark::Done || state.dropped.is_some() {
            return;
        }
        for &(cell, reads) in weights.iter().filter(|(cell, _)| (cell.0 as usize) < cells) {
            state.weights.resize(cells, 0);
            state.weights[cell.0 as usize] = state.weights[cell.0 as usize].saturating_add(reads);
            state.weighed += u64::from(reads);
        }
    }
}
