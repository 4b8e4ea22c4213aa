//! What no scheduler can beat: bounds on the makespan from the cohort alone.
//!
//! All work counts as if cut ideally (one fixed cost per chunk, and per largest shard allowed), computing only: no bytes
//! moved, no message, no commit.

use super::cohort::Cohort;
use jobs::genome::Cell;
use jobs::task::{Chunk, LaneId, Parts, Shard, Task};

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
    /// Work of all regions of cells.
    pub regions_us: u64,
    /// Work of all joint tasks.
    pub joints_us: u64,
    /// Work of all parts of samples' files.
    pub writes_us: u64,
    /// Work of all that seals samples' files.
    pub seals_us: u64,
    /// After its last map: of the sample with the least, its longest chain.
    pub called_us: u64,
    /// After its last region: of the sample with the least, the last part of its files, and their end; or the joint call of
    /// the cell with the least, and the last part of the joint file.
    pub written_us: u64,
    /// After its last part: of the sample with the least, its files' end.
    pub finished_us: u64,
    /// After the last joint task: the last part of the joint file.
    pub joined_us: u64,
    /// What runs at the end of all, one after the other: the cohort's files, and their sealing.
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
            written_us: u64::MAX,
            finished_us: u64::MAX,
            ..Bound::default()
        };
        for task in cohort.tasks(&lines) {
            let us = cohort.task_us(task);
            bound.work_us += us;
            match task {
                Task::Intake(..) | Task::Model(_) => bound.first_us += us,
                Task::Map(..) => bound.maps_us += us,
                Task::Region(_, Shard::Cells { .. }) => bound.regions_us += us,
                Task::WriteSample(..) => bound.writes_us += us,
                Task::Joint(_) => bound.joints_us += us,
                Task::SealSample(_) => bound.seals_us += us,
                Task::FinishCohort | Task::SealCohort => bound.last_us += us,
                Task::Region(_, Shard::Unplaced) | Task::FinishSample(_) | Task::WriteJoint(_) => {}
            }
        }
        for sample in 0..spec.samples {
            let lanes = (0..spec.lanes).map(|lane| LaneId { sample, lane });
            let mapped_us = lanes.map(|lane| bound.lane(cohort, lane)).max().unwrap_or(0);
            let called_us = bound.sample(cohort, sample);
            bound.chain_us = bound.chain_us.max(mapped_us + called_us);
        }
        bound.joined_us =
            cohort.base_us(Task::WriteJoint(Parts::of(cohort.cells()).count().saturating_sub(1)));
        let joints = (0..cohort.cells()).map(Cell);
        let joint_us = joints.map(|cell| cell_us(cohort, Task::Joint(Shard::of_cell(cell)), cell)).min();
        bound.written_us = bound.written_us.max(joint_us.unwrap_or(0) + bound.joined_us);
        bound.chain_us += bound.last_us;
        bound.head_us = bound.head_us.min(bound.first_us);
        bound
    }

    /// The longest chain of a mapped sample, up to where the cohort's files can be finished: a cell's region, and what
    /// waits for it. That is the joint call of the cell, and the parts of the joint file from the cell's own on, of which the
    /// costliest counts; and likewise the parts of the sample's files, then their end. Notes how soon a sample can be done.
    fn sample(&mut self, cohort: &Cohort, sample: u32) -> u64 {
        let parts = Parts::of(cohort.cells());
        let finish_us = cohort.base_us(Task::FinishSample(sample));
        let (mut written_us, mut called_us, mut joined_us) = (finish_us, finish_us, 0);
        for part in (0..parts.count()).rev() {
            let write_us = finish_us + cohort.base_us(Task::WriteSample(sample, part));
            if written_us == finish_us {
                self.written_us = self.written_us.min(write_us);
            }
            written_us = written_us.max(write_us);
            joined_us = joined_us.max(cohort.base_us(Task::WriteJoint(part)));
            for cell in parts.cells(part).map(Cell) {
                let joint_us = cell_us(cohort, Task::Joint(Shard::of_cell(cell)), cell);
                let region_us = cell_us(cohort, Task::Region(sample, Shard::of_cell(cell)), cell);
                called_us = called_us.max(region_us + written_us.max(joint_us + joined_us));
            }
        }
        self.finished_us = self.finished_us.min(finish_us);
        self.called_us = self.called_us.min(called_us);
        called_us
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

    /// A tighter one. Nothing but intakes and models can run before the first of each is done.
    ///
    /// When the last map of all is done, all maps are, and the longest chain of that map's sample is still to come. When the
    /// last region of cells is done, all regions and maps are, and the last part of that sample's files, which waits for all
    /// its cells, and their end are to come, as are the joint call of a cell and the last part of the joint file; likewise
    /// after the last part of all, and after the last joint task. Of which sample and cell these last ones are, nobody can
    /// say, so the least of all counts. At the end of all comes what waits for everything but sealed samples.
    pub fn tight_us(&self, cores: f64) -> f64 {
        let ends = |work_us: u64, tail_us: u64| {
            let even_us = (self.first_us + work_us) as f64 / cores;
            even_us.max(self.head_us as f64 + work_us as f64 / cores) + (tail_us + self.last_us) as f64
        };
        let called_us = self.maps_us + self.regions_us;
        let all_us = self.work_us - self.first_us - self.seals_us - self.last_us;
        let ends = [
            ends(self.maps_us, self.called_us),
            ends(called_us, self.written_us),
            ends(called_us + self.joints_us, self.joined_us),
            ends(called_us + self.writes_us, self.finished_us),
            ends(all_us, 0),
        ];
        ends.into_iter().fold(self.simple_us(cores), f64::max)
    }
}

/// What a task over one cell costs; one over more costs no less.
fn cell_us(cohort: &Cohort, task: Task, cell: Cell) -> u64 {
    cohort.base_us(task) + cohort.cell_us(task, cell)
}

#[cfg(test)]
mod tests {
    use super::super::cohort::CohortSpec;
    use super::super::costs::{Costs, Kind, KindCost, SCHEMA};
    use super::*;
    use jobs::genome::CELL_BASES;

    #[test]
    fn the_chain_goes_through_one_part_of_the_files() {
        let cost = |kind| KindCost { fixed_us: 10_f64.powi(kind as i32), ..KindCost::default() };
        let kinds = Kind::ALL.into_iter().map(|kind| (kind, cost(kind))).collect();
        let costs = Costs { schema: SCHEMA.to_owned(), machine: String::new(), source: String::new(), kinds };
        // Its cells are three parts and five shards; reads without a place are a region of their own.
        let bound = Bound::of(&Cohort::new(CohortSpec {
            seed: 1,
            samples: 1,
            lanes: 1,
            lane_pairs: 1000,
            chunk_pairs: 1000,
            contigs: vec![20 * CELL_BASES],
            seals: true,
            costs,
            unevenness: 0.0,
            tail: None,
            shard_cells_max: 4,
        }));
        assert_eq!(bound.work_us, 11_131_356_111);
        assert_eq!(bound.chain_us, 10_110_011_111);
        assert_eq!(bound.tight_us(1.0), 11_131_356_111.0);
        assert_eq!(bound.tight_us(1e9), 10_110_011_111.0);
    }
}
