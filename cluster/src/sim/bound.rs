//! What no scheduler can beat: bounds on the makespan from the cohort alone.
//!
//! All work counts as if cut ideally (one fixed cost per chunk, and per largest shard allowed), computing only: no bytes
//! moved, no message, no commit.

use super::cohort::Cohort;
use jobs::genome::Cell;
use jobs::task::{Chunk, LaneId, Shard, Stage, Task};

/// Bounds in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Bound {
    /// All work.
    pub work_us: u64,
    /// The longest chain of tasks that wait for each other, each as small as it can be cut.
    pub chain_us: u64,
    /// Of the chain, what stands before any chunk can be mapped: the shortest intake and model.
    pub head_us: u64,
    /// Work of all intakes and models.
    pub first_us: u64,
    /// Work of all maps.
    pub maps_us: u64,
    /// Work of all regions.
    pub regions_us: u64,
    /// After its last map: of the sample with the least, its dearest cell and its files.
    pub called_us: u64,
    /// After its last region: of the sample with the least, its files.
    pub finished_us: u64,
    /// The cohort's last task, which runs alone.
    pub last_us: u64,
}

impl Bound {
    /// The bounds of a cohort.
    pub fn of(cohort: &Cohort) -> Self {
        let spec = cohort.spec();
        let lines: Vec<u32> = (0..cohort.cells()).step_by(spec.shard_cells_max.max(1) as usize).collect();
        let mut bound = Bound {
            head_us: u64::MAX,
            called_us: u64::MAX,
            finished_us: u64::MAX,
            last_us: cohort.base_us(Task::FinishCohort),
            ..Bound::default()
        };
        if spec.seals {
            bound.last_us += cohort.base_us(Task::SealCohort);
        }
        for task in cohort.tasks(&lines) {
            let us = cohort.task_us(task);
            bound.work_us += us;
            match task.stage() {
                Stage::Intake | Stage::Model => bound.first_us += us,
                Stage::Map => bound.maps_us += us,
                Stage::Region => bound.regions_us += us,
                Stage::Joint | Stage::Finish | Stage::Seal => {}
            }
        }
        let dearest = |task: &dyn Fn(Shard) -> Task| {
            (0..cohort.cells()).map(|cell| one_cell_us(cohort, task, cell)).max().unwrap_or(0)
        };
        let joint_us = dearest(&Task::Joint);
        for sample in 0..spec.samples {
            let lanes = (0..spec.lanes).map(|lane| LaneId { sample, lane });
            let mapped_us = lanes.map(|lane| bound.lane(cohort, lane)).max().unwrap_or(0);
            let finish_us = cohort.base_us(Task::FinishSample(sample));
            let called_us = dearest(&|shard| Task::Region(sample, shard)) + finish_us;
            bound.called_us = bound.called_us.min(called_us);
            bound.finished_us = bound.finished_us.min(finish_us);
            bound.chain_us = bound.chain_us.max(mapped_us + called_us.max(joint_us));
        }
        bound.chain_us += bound.last_us;
        bound.head_us = bound.head_us.min(bound.first_us);
        bound
    }

    /// How long a lane takes at least until it is mapped; notes how soon its first chunk can be.
    fn lane(&mut self, cohort: &Cohort, lane: LaneId) -> u64 {
        let model_us = cohort.base_us(Task::Model(lane));
        let taken_in = (0..cohort.intakes()).scan(0, |us, part| {
            *us += cohort.base_us(Task::Intake(lane, part));
            Some(*us)
        });
        let taken_in: Vec<u64> = taken_in.collect();
        let begin_us = taken_in.first().copied().unwrap_or(0) + model_us;
        self.head_us = self.head_us.min(begin_us);
        let mapped = |chunk| {
            let strip = Task::Map(lane, Chunk { end: 1, ..Chunk::whole(chunk) });
            taken_in[Chunk::whole(chunk).intake() as usize].max(begin_us) + cohort.base_us(strip)
        };
        (0..cohort.chunks()).map(mapped).max().unwrap_or(0)
    }

    /// The bound everybody names: all work shared evenly, or the longest chain.
    pub fn simple_us(&self, cores: f64) -> f64 {
        (self.work_us as f64 / cores).max(self.chain_us as f64)
    }

    /// A tighter one. Nothing but intakes and models can run before the first of each is done. When the last map of all is
    /// done, all maps are, and that sample has its dearest cell and its files still before it; likewise when the last
    /// region is. The cohort's last task runs alone.
    pub fn tight_us(&self, cores: f64) -> f64 {
        let begun = |work_us: u64| {
            let even = (self.first_us + work_us) as f64 / cores;
            even.max(self.head_us as f64 + work_us as f64 / cores)
        };
        let all = begun(self.work_us - self.first_us - self.last_us);
        let mapped = begun(self.maps_us) + self.called_us as f64;
        let called = begun(self.maps_us + self.regions_us) + self.finished_us as f64;
        self.simple_us(cores).max(all.max(mapped).max(called) + self.last_us as f64)
    }
}

fn one_cell_us(cohort: &Cohort, task: &dyn Fn(Shard) -> Task, cell: u32) -> u64 {
    let task = task(Shard::Cells { first: Cell(cell), end: Cell(cell + 1) });
    cohort.base_us(task) + cohort.cell_us(task, Cell(cell))
}
