//! The plan: what a job consists of, before anything of it is known from its data.
//!
//! Invariant: the plan says nothing about where chunks and shards are cut; results never depend on that.

use crate::cost::CostModel;
use jobs::failure::{Class, Classified};
use jobs::genome::Cell;
use jobs::task::{INTAKE_CHUNKS, LaneId, Parts, Shard, Stage, Task};

/// No lane has so many chunks; what says so is of no job.
const LANE_CHUNKS_MAX: u32 = 1 << 24;

/// One sample as the plan sees it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SamplePlan {
    /// SAM's `SM`; names the results.
    pub name: String,
    /// Number of lanes.
    pub lanes: u32,
    /// Whether joint tasks read its calls.
    pub joint: bool,
    /// About how many pairs all its lanes have, by the size of its files.
    pub pairs: u64,
}

/// What a job consists of.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Plan {
    /// Samples in cohort order.
    pub samples: Vec<SamplePlan>,
    /// Cells of the genome.
    pub cells: u32,
    /// The most cells that one region or joint task takes; none takes cells of two parts of a file.
    pub shard_cells_max: u32,
    /// Pairs of a chunk, about: from it the number of maps is guessed until the intakes say.
    pub chunk_pairs: u64,
    /// Cells at which region and joint shards begin, besides the first and those at which parts of files do; `None` lets
    /// expected cost decide.
    pub lines: Option<Vec<u32>>,
    /// Whether finished files are sealed into a vault.
    pub seals: bool,
    /// Predicted memory.
    pub memory: MemoryModel,
    /// Expected durations, until the job's own tasks say better.
    pub costs: CostModel,
}

/// Anonymous memory that a task of each stage takes at most, as predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MemoryModel {
    /// What each process takes before any task runs.
    pub fixed_bytes: u64,
    /// By stage, in the order of [`Stage::ALL`].
    pub task_bytes: [u64; 7],
}

impl MemoryModel {
    /// Predicted bytes of a task.
    pub fn of(&self, task: Task) -> u64 {
        self.task_bytes[task.stage() as usize]
    }

    /// The least memory with which every task can run alone.
    pub fn minimum(&self) -> u64 {
        self.fixed_bytes + self.task_bytes.iter().max().copied().unwrap_or(0)
    }
}

/// Why a plan cannot be run.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// One task needs more memory than there is.
    #[error(
        "the largest task and the process need {needed_bytes} bytes of memory, the limit is {limit_bytes}"
    )]
    Memory {
        /// The least that works.
        needed_bytes: u64,
        /// What was allowed.
        limit_bytes: u64,
    },
}

impl Classified for PlanError {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        let PlanError::Memory { needed_bytes, .. } = self;
        Some(format!("give --memory {}M or more", needed_bytes.div_ceil(1 << 20)))
    }
}

impl Plan {
    /// Refuses a plan whose largest task does not fit into the largest worker.
    pub fn admit(&self, memory_bytes: u64) -> Result<(), PlanError> {
        let needed_bytes = self.memory.minimum();
        if needed_bytes > memory_bytes {
            return Err(PlanError::Memory { needed_bytes, limit_bytes: memory_bytes });
        }
        Ok(())
    }

    /// All lanes in order.
    pub fn lanes(&self) -> impl Iterator<Item = LaneId> {
        (0..self.samples.len() as u32).flat_map(|sample| self.lanes_of(sample))
    }

    /// The lanes of a sample in order.
    pub fn lanes_of(&self, sample: u32) -> impl Iterator<Item = LaneId> + use<> {
        (0..self.samples[sample as usize].lanes).map(move |lane| LaneId { sample, lane })
    }

    /// The parts in which every sample's files, and the cohort's, are written.
    pub fn parts(&self) -> Parts {
        Parts::of(self.cells)
    }

    /// The samples whose calls joint tasks read, where the job goes on without those whom `dropped` names: if all of them
    /// are gone, everybody who is left.
    pub fn joined(&self, dropped: impl Fn(u32) -> bool) -> Vec<u32> {
        let left: Vec<u32> = (0..self.samples.len() as u32).filter(|&sample| !dropped(sample)).collect();
        let read: Vec<u32> =
            left.iter().copied().filter(|&sample| self.samples[sample as usize].joint).collect();
        let planned = self.samples.iter().any(|sample| sample.joint);
        if read.is_empty() && planned { left } else { read }
    }

    /// Whether a task is one that this plan could have, whatever its cuts.
    pub fn knows(&self, task: Task) -> bool {
        let of_plan = |lane: LaneId| {
            self.samples.get(lane.sample as usize).is_some_and(|sample| lane.lane < sample.lanes)
        };
        let covers = |shard: Shard| match shard {
            Shard::Cells { first: Cell(first), end: Cell(end) } => {
                first < end && end <= self.cells && self.parts().at(first) == self.parts().at(end - 1)
            }
            Shard::Unplaced => true,
        };
        match task {
            Task::Intake(lane, part) => of_plan(lane) && part < LANE_CHUNKS_MAX / INTAKE_CHUNKS,
            Task::Model(lane) => of_plan(lane),
            Task::Map(lane, chunk) => of_plan(lane) && chunk.index < LANE_CHUNKS_MAX,
            Task::Region(sample, shard) => (sample as usize) < self.samples.len() && covers(shard),
            Task::Joint(shard) => shard != Shard::Unplaced && covers(shard),
            Task::WriteSample(sample, part) => {
                (sample as usize) < self.samples.len() && part < self.parts().count()
            }
            Task::FinishSample(sample) => (sample as usize) < self.samples.len(),
            Task::WriteJoint(part) => part < self.parts().count(),
            Task::FinishCohort => true,
            Task::SealSample(sample) => self.seals && (sample as usize) < self.samples.len(),
            Task::SealCohort => self.seals,
        }
    }

    /// The stages this plan has.
    pub fn stages(&self) -> impl Iterator<Item = Stage> + use<> {
        let seals = self.seals;
        Stage::ALL.into_iter().filter(move |&stage| stage != Stage::Seal || seals)
    }
}
