//! What displays ask of the scheduler.

use crate::event::{AttemptId, Purpose, WorkerId, WorkerSpec};
use jobs::task::{Stage, Task};

/// Why tasks do not run yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Waiting {
    /// Outputs of this stage are missing.
    Inputs(Stage),
    /// Everything it reads is there, but some of it is being checked by a second attempt.
    Audit,
    /// All workers that may take it are busy.
    Slots,
    /// No worker that may take it has its predicted memory free.
    Memory,
    /// No site that has workers may have its data.
    Site,
    /// No worker has joined.
    Workers,
    /// The workers that may take it are at sites that are being left.
    Draining,
    /// It is queued at a worker.
    Queued,
    /// The job is stopping.
    Stopping,
    /// The job has not begun.
    Idle,
}

/// Numbers of one stage for progress displays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StageProgress {
    /// Tasks known or, where their inputs do not say yet, expected.
    pub tasks: u64,
    /// Given to workers, but without a core.
    pub queued: u64,
    /// Running now.
    pub running: u64,
    /// Committed.
    pub done: u64,
    /// Given up.
    pub failed: u64,
}

/// An attempt that has a core.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Running {
    /// Its name.
    pub attempt: AttemptId,
    /// What it does, as far as it was not cut.
    pub task: Task,
    /// Who runs it.
    pub worker: WorkerId,
    /// On which of its slots.
    pub slot: u32,
    /// Why.
    pub purpose: Purpose,
    /// Since when.
    pub since_ms: u64,
    /// How long it was expected to take in all.
    pub expected_ms: u64,
    /// Whether it is far beyond that.
    pub straggles: bool,
}

/// A worker for displays.
#[derive(Clone, Copy, Debug)]
pub struct WorkerView<'a> {
    /// Its name.
    pub worker: WorkerId,
    /// What it has.
    pub spec: &'a WorkerSpec,
    /// Slots that run something.
    pub running: u32,
    /// Attempts it has that have no core yet.
    pub queued: u32,
    /// Predicted memory of what it has, with its process.
    pub memory_bytes: u64,
    /// How fast it is; 1 is usual.
    pub speed: f64,
    /// Core time its finished attempts took.
    pub busy_ms: u64,
    /// When it joined.
    pub joined_ms: u64,
    /// Whether it gets nothing more because it was wrong.
    pub quarantined: bool,
    /// Whether its site is being left.
    pub draining: bool,
    /// Whether it is a bundle that has not been filled.
    pub offered: bool,
}

/// The state of a run of cells in a grid of samples by regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CellState {
    /// Its inputs are missing.
    Waiting,
    /// It could run.
    Ready,
    /// A worker has it.
    Given,
    /// It has a core.
    Running,
    /// Committed.
    Done,
    /// Given up.
    Failed,
    /// The sample was dropped.
    Dropped,
}

/// Time left, from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Remaining {
    /// Expected.
    pub expected_ms: u64,
    /// It will hardly take less.
    pub low_ms: u64,
    /// It will hardly take more.
    pub high_ms: u64,
}
