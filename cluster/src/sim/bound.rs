//! What no scheduler can beat: bounds on the makespan from the cohort alone.
//!
//! All work counts as if cut ideally (one fixed cost per chunk, and per largest shard allowed), computing only: no bytes
//! moved, no message, no commit.

use super::cohort::Cohort;
use jobs::genome::Cell;
use jobs::task::{Chunk, LaneId, Shard, Task};

/// Bounds in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Bound {
    /// All work.
    pub work_us: u64,
    /// The longest chain of tasks that wait for each other, each as small as it can be cut.
    pub chain_us: u64,
    /// Of the chain, what stands before any chunk can be mapped: the shortest first part of an intake, and model.
    pub head_us: u64,
    /// Work that can only begin after the head.
    pub work_after_head_us: u64,
    /// The cohort's last task, which runs alone.
    pub last_us: u64,
}

impl Bound {
    /// The bounds of a cohort.
    pub fn of(cohort: &Cohort) -> Self {
        let spec = cohort.spec();
        let lines: Vec<u32> = (0..cohort.cells()).step_by(spec.shard_cells_max.max(1) as usize).collect();
        let tasks = cohort.tasks(&lines);
        let work_us: u64 = tasks.iter().map(|&task| cohort.task_us(task)).sum();
        let (mut mapped_us, mut head_us, mut first_us, mut called_us) = (0, u64::MAX, 0, 0);
        for sample in 0..spec.samples {
            let mut longest = 0;
            for lane in (0..spec.lanes).map(|lane| LaneId { sample, lane }) {
                let model_us = cohort.base_us(Task::Model(lane));
                let begin_us = cohort.base_us(Task::Intake(lane, 0)) + model_us;
                head_us = head_us.min(begin_us);
                let taken_in = (0..cohort.intakes()).scan(0, |us, part| {
                    *us += cohort.base_us(Task::Intake(lane, part));
                    Some(*us)
                });
                let taken_in: Vec<u64> = taken_in.collect();
                first_us += model_us + taken_in.last().copied().unwrap_or(0);
                let mapped = |chunk| {
                    let chunk = Chunk::whole(chunk);
                    let ready_us = taken_in[chunk.intake() as usize].max(begin_us);
                    ready_us + cohort.base_us(Task::Map(lane, chunk))
                };
                longest = longest.max((0..cohort.chunks()).map(mapped).max().unwrap_or(0));
            }
            mapped_us = mapped_us.max(longest);
            let cells =
                (0..cohort.cells()).map(|cell| one_cell_us(cohort, |s| Task::Region(sample, s), cell));
            let finish = cohort.base_us(Task::FinishSample(sample));
            called_us = called_us.max(longest + cells.max().unwrap_or(0) + finish);
        }
        let joints = (0..cohort.cells()).map(|cell| one_cell_us(cohort, Task::Joint, cell));
        let joined_us = mapped_us + joints.max().unwrap_or(0);
        let seal_us = if spec.seals { cohort.base_us(Task::SealCohort) } else { 0 };
        let last_us = cohort.base_us(Task::FinishCohort) + seal_us;
        Bound {
            work_us,
            chain_us: called_us.max(joined_us) + last_us,
            head_us: head_us.min(first_us),
            work_after_head_us: work_us - first_us - last_us,
            last_us,
        }
    }

    /// The bound everybody names: all work shared evenly, or the longest chain.
    pub fn simple_us(&self, cores: f64) -> f64 {
        (self.work_us as f64 / cores).max(self.chain_us as f64)
    }

    /// A tighter one: nothing but intakes and models can run before the first of each is done, and the last task runs alone.
    pub fn tight_us(&self, cores: f64) -> f64 {
        let staged = self.head_us as f64 + self.work_after_head_us as f64 / cores + self.last_us as f64;
        self.simple_us(cores).max(staged)
    }
}

fn one_cell_us(cohort: &Cohort, task: impl Fn(Shard) -> Task, cell: u32) -> u64 {
    let task = task(Shard::Cells { first: Cell(cell), end: Cell(cell + 1) });
    cohort.base_us(task) + cohort.cell_us(task, Cell(cell))
}
