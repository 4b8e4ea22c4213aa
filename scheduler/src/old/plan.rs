//! The plan: which tasks a job has, what each of them reads, how much memory each may take.

use jobs::failure::{Class, Classified};
use jobs::task::{Chunk, LaneId, Shard, Stage, Task};

/// One sample as the plan sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SamplePlan {
    /// SAM's `SM`; names the results.
    pub name: String,
    /// Number of lanes.
    pub lanes: u32,
    /// Whether the sample takes part in the joint call (tumours do not).
    pub joint: bool,
}

/// What a job consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Samples in cohort order.
    pub samples: Vec<SamplePlan>,
    /// Shards of whole cells, in genome order; the unplaced reads are not among them.
    pub shards: Vec<Shard>,
    /// Whether finished files are sealed into a vault.
    pub seals: bool,
    /// Predicted memory.
    pub memory: MemoryModel,
}

/// Anonymous memory that a task of each stage takes at most, as predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryModel {
    /// What the process takes before any task runs.
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

/// What the machine gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Tasks that may run at once.
    pub threads: u32,
    /// Anonymous memory of the process.
    pub memory_bytes: u64,
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
    /// Refuses a plan whose largest task does not fit.
    pub fn admit(&self, limits: Limits) -> Result<(), PlanError> {
        let needed_bytes = self.memory.minimum();
        if needed_bytes > limits.memory_bytes {
            return Err(PlanError::Memory { needed_bytes, limit_bytes: limits.memory_bytes });
        }
        Ok(())
    }

    /// All lanes in order.
    pub fn lanes(&self) -> impl Iterator<Item = LaneId> {
        let samples = self.samples.iter().enumerate();
        samples.flat_map(|(sample, plan)| {
            (0..plan.lanes).map(move |lane| LaneId { sample: sample as u32, lane })
        })
    }

    /// The samples of the joint call.
    pub fn joint_samples(&self) -> impl Iterator<Item = u32> {
        let samples = self.samples.iter().enumerate();
        samples.filter(|(_, plan)| plan.joint).map(|(sample, _)| sample as u32)
    }

    /// A sample's region shards: every shard of the genome, then the unplaced reads.
    pub fn region_shards(&self) -> impl Iterator<Item = Shard> {
        self.shards.iter().copied().chain([Shard::Unplaced])
    }

    /// The tasks whose outputs `task` reads, given the number of chunks of each lane (known once its intake is done).
    pub fn inputs(&self, task: Task, chunks: impl Fn(LaneId) -> u32) -> Vec<Task> {
        let lanes_of =
            |sample: u32| (0..self.samples[sample as usize].lanes).map(move |lane| LaneId { sample, lane });
        match task {
            Task::Intake(_) => Vec::new(),
            Task::Model(lane) => vec![Task::Intake(lane)],
            Task::Map(lane, _) => vec![Task::Intake(lane), Task::Model(lane)],
            Task::Region(sample, _) => lanes_of(sample)
                .flat_map(|lane| (0..chunks(lane)).map(move |c| Task::Map(lane, Chunk::whole(c))))
                .collect(),
            Task::Joint(shard) => {
                let neighbours = self.with_previous(shard);
                self.joint_samples()
                    .flat_map(|sample| neighbours.iter().map(move |&shard| Task::Region(sample, shard)))
                    .collect()
            }
            Task::FinishSample(sample) => {
                let intakes = lanes_of(sample).map(Task::Intake);
                let models = lanes_of(sample).map(Task::Model);
                let regions = self.region_shards().map(|shard| Task::Region(sample, shard));
                intakes.chain(models).chain(regions).collect()
            }
            Task::FinishCohort => {
                let samples = (0..self.samples.len() as u32).map(Task::FinishSample);
                samples.chain(self.shards.iter().map(|&shard| Task::Joint(shard))).collect()
            }
            Task::SealSample(sample) => vec![Task::FinishSample(sample)],
            Task::SealCohort => {
                let samples = (0..self.samples.len() as u32).map(Task::SealSample);
                samples.chain([Task::FinishCohort]).collect()
            }
        }
    }

    /// The shard, after the one before it: a deletion may reach over the line between them.
    fn with_previous(&self, shard: Shard) -> Vec<Shard> {
        let at = self.shards.iter().position(|&s| s == shard).expect("the shard is of this plan");
        self.shards[at.saturating_sub(1)..=at].to_vec()
    }

    /// How many tasks of a stage there are, as far as the chunks are known.
    pub fn count(&self, stage: Stage, chunks: impl Fn(LaneId) -> Option<u32>) -> u64 {
        let samples = self.samples.len() as u64;
        match stage {
            Stage::Intake | Stage::Model => self.lanes().count() as u64,
            Stage::Map => self.lanes().filter_map(chunks).map(u64::from).sum(),
            Stage::Region => samples * (self.shards.len() as u64 + 1),
            Stage::Joint => self.shards.len() as u64,
            Stage::Finish => samples + 1,
            Stage::Seal => {
                if self.seals {
                    samples + 1
                } else {
                    0
                }
            }
        }
    }
}
