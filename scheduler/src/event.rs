//! What the scheduler is told, and what it answers.
//!
//! Invariant: these are plain values. Time stands in milliseconds from any fixed instant; nothing here knows how a worker
//! is reached or where a commit lies.

use jobs::failure::Class;
use jobs::genome::Cell;
use jobs::task::Task;

/// A worker: one process of a streaming engine, or one bundle of a batch engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct WorkerId(pub u32);

impl WorkerId {
    /// The worker that engine number `engine` of this job calls `local`; only the low 24 bits of `local` count.
    pub const fn new(engine: u8, local: u32) -> Self {
        WorkerId((engine as u32) << 24 | (local & 0x00ff_ffff))
    }

    /// Which engine of this job it belongs to.
    pub const fn engine(self) -> u8 {
        (self.0 >> 24) as u8
    }

    /// The engine's own number for it.
    pub const fn local(self) -> u32 {
        self.0 & 0x00ff_ffff
    }
}

/// One attempt at a task; unique in one life of the scheduler, never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct AttemptId(pub u64);

/// How a batch site wants its bundles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BundleLimits {
    /// Bundles that may wait or run at once.
    pub bundles_max: u32,
    /// Wished wall time of one bundle on its cores.
    pub bundle_ms: u64,
}

/// A place where workers stand.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SiteSpec {
    /// Its name in the configuration.
    pub name: String,
    /// Price of one core for one hour, in the configuration's currency.
    pub price_core_hour: f64,
    /// From an order to its effect: a network round trip, or the wait in a batch queue.
    pub latency_ms: u64,
    /// Bandwidth between the job's data and this site, for each worker; `None` where data need not be moved.
    pub bytes_per_second: Option<u64>,
    /// `Some` makes it a batch site: its workers are bundles, filled once.
    pub bundles: Option<BundleLimits>,
    /// By sample of the plan: whether its data may be there. Samples beyond its end may not.
    pub allowed: Vec<bool>,
    /// By stage, in the order of [`jobs::task::Stage::ALL`]: whether its workers can do it.
    pub stages: [bool; 7],
}

/// A worker as it joins.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WorkerSpec {
    /// Number of its site.
    pub site: u16,
    /// Tasks it runs at once.
    pub slots: u32,
    /// Memory for its process and all its tasks together.
    pub memory_bytes: u64,
    /// For displays: a host, a rank, a bundle.
    pub name: String,
}

/// What a finished task tells the scheduler about the rest of the job.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Facts {
    /// Chunks of the lane, of the last part of its intake; the other parts say by their silence that there is more.
    pub chunks: Option<u32>,
    /// Pairs: of the lane up to its end, of a part of an intake; of the chunk or its part, of a map.
    pub pairs: Option<u64>,
    /// Reads by the cell in which they start, of a map; only of the first [`WEIGHED_CHUNKS`] chunks of a lane.
    pub weights: Vec<(Cell, u32)>,
    /// Digest of the output's plaintext, equal for equal work; without it two outputs cannot be compared.
    pub content: Option<[u8; 32]>,
}

/// Chunks of a lane whose maps report their reads by cell: enough to know where the sample is deep.
pub const WEIGHED_CHUNKS: u32 = 4;

/// What an attempt used. The times are of the worker's clock and are only subtracted from each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// CPU time.
    pub cpu_ms: u64,
    /// When it got a core.
    pub started_ms: u64,
    /// When it was over.
    pub finished_ms: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// On which of the worker's slots.
    pub slot: u32,
}

/// What ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exhausted {
    /// Memory: the limit of the worker, or the machine's.
    Memory,
    /// Time: the bundle's or the allocation's.
    Time,
}

/// How a worker went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Departure {
    /// As it should: a bundle that is over, a drained worker.
    Ended,
    /// Killed, vanished, preempted.
    Lost,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The journal holds this task's output. Only before [`Event::Begin`].
    Committed {
        /// The task.
        task: Task,
        /// What its summary says.
        facts: Facts,
    },
    /// The job begins, or begins again.
    Begin,
    /// A site appears, or its terms change. Before its workers join, and at any time after.
    Site {
        /// Its number; small, from 0.
        site: u16,
        /// Its terms.
        spec: SiteSpec,
    },
    /// A site is to be left, or to be used again.
    Drain {
        /// Which.
        site: u16,
        /// `true` starts nothing there any more; what runs there may end.
        drain: bool,
    },
    /// A worker is there. At a batch site: one more bundle may be submitted.
    Joined {
        /// Its name; never used before in this life of the scheduler.
        worker: WorkerId,
        /// What it has.
        spec: WorkerSpec,
    },
    /// A worker is gone, and with it its attempts that did not end.
    Left {
        /// Which.
        worker: WorkerId,
        /// How.
        why: Departure,
    },
    /// An attempt got a core; until then it is queued at its worker.
    Started {
        /// Which.
        attempt: AttemptId,
        /// Core of the worker, from 0; for displays.
        slot: u32,
    },
    /// An attempt at a task with [`Task::steps`] begins this one; those before it are in its hands. Nobody says so of every
    /// strip of a map.
    Reached {
        /// Which.
        attempt: AttemptId,
        /// The step it begins.
        step: u32,
    },
    /// An attempt's output is verified; and committed, if [`crate::Scheduler::commits`] said so of the attempt.
    Done {
        /// Which.
        attempt: AttemptId,
        /// What its summary says.
        facts: Facts,
        /// What it used.
        usage: Usage,
    },
    /// The answer to [`Command::Cut`]: the attempt ends sooner; the rest is free at once.
    Cut {
        /// Which.
        attempt: AttemptId,
        /// Its task as it will be done: from the same first step, with fewer of them.
        task: Task,
    },
    /// An attempt ended without output.
    Failed {
        /// Which.
        attempt: AttemptId,
        /// Class of its error.
        class: Class,
        /// What ran out, if that is why.
        exhausted: Option<Exhausted>,
        /// The input whose committed output was found damaged, if that is why; of class partial a part of a sample's files
        /// that are gone.
        damaged: Option<Task>,
        /// What it used.
        usage: Usage,
    },
    /// A worker's output failed verification.
    Distrust {
        /// Which.
        worker: WorkerId,
    },
    /// The policy forbids a sample from now on.
    Denied {
        /// Which.
        sample: u32,
    },
    /// Time passed.
    Tick,
    /// Somebody wants the job to stop.
    Stop {
        /// Cuts what runs at its next step instead of letting it end.
        soon: bool,
    },
}

/// Why an attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// The task is to be done.
    Work,
    /// Another attempt at it is slow; the first that is verified wins.
    Copy,
    /// It was done; its output is compared.
    Audit,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Give this worker an attempt.
    Start {
        /// To whom.
        worker: WorkerId,
        /// Its name.
        attempt: AttemptId,
        /// What is to be done.
        task: Task,
        /// Why.
        purpose: Purpose,
    },
    /// Ask a running attempt to end before the next of its task's steps that it has not begun. It answers with
    /// [`Event::Cut`], or simply ends.
    Cut {
        /// Who runs it.
        worker: WorkerId,
        /// Which.
        attempt: AttemptId,
    },
    /// Nobody needs this attempt any more. It is over, and its core free, when it says [`Event::Done`] or
    /// [`Event::Failed`], as every attempt does; what it says means nothing else. The job's end does not wait for it.
    Cancel {
        /// Who has it.
        worker: WorkerId,
        /// Which.
        attempt: AttemptId,
    },
    /// This task's commit counts no more.
    Forget(Task),
    /// The job goes on without this sample.
    DropSample {
        /// Which.
        sample: u32,
        /// Why.
        reason: Class,
    },
    /// This worker gets nothing more.
    Quarantine {
        /// Which.
        worker: WorkerId,
    },
    /// Nothing runs and nothing more will.
    End(Ending),
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Every task is done.
    Complete,
    /// Every task is done but those of samples that were dropped.
    Partial,
    /// A task failed.
    Failed(Class),
    /// It was stopped.
    Stopped,
}

/// How a job is to be scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Options {
    /// Decides which tasks are audited.
    pub seed: u64,
    /// Tasks of a thousand that are done a second time elsewhere and compared.
    pub audit_per_mille: u32,
    /// Goes on without a sample that cannot be done.
    pub keep_going: bool,
    /// Failed attempts after which a task is given up.
    pub attempts_max: u32,
    /// Whether slow attempts are run a second time elsewhere.
    pub speculate: bool,
    /// Whether slow attempts at what has steps are cut and shared out.
    pub cut_stragglers: bool,
    /// Expected time that a region or joint shard is planned to take.
    pub shard_target_ms: u64,
    /// The least expected time for which a shard or a rest is worth a task of its own.
    pub shard_ms_min: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            seed: 0,
            audit_per_mille: 0,
            keep_going: false,
            attempts_max: 4,
            speculate: true,
            cut_stragglers: true,
            shard_target_ms: 120_000,
            shard_ms_min: 4_000,
        }
    }
}
