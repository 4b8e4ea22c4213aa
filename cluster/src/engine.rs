//! What passes between the driver of a job and whoever runs its tasks, and the traits that the command line fills in.
//!
//! Invariant: these are plain values that travel as postcard; an engine decides nothing (the scheduler does), computes
//! nothing (the task runner does) and commits nothing (the driver does).

use crate::failure::TaskFailure;
use jobs::failure::{Class, Failure};
use jobs::task::Task;
use scheduler::{
    AttemptId, Command, Departure, Event, Facts, Purpose, Scheduler, SiteSpec, Usage, WorkerId, WorkerSpec,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use storage::lease::SignedLease;
use storage::{Commit, PieceRef};

pub use crate::control::Control;

/// One attempt at one task, with the commits of everything it reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Its name in this life of the scheduler.
    pub attempt: AttemptId,
    /// Its number in the life of the job: with the task, unique in the journal, the leases and the audit log.
    pub number: u32,
    /// What is to be done.
    pub task: Task,
    /// Why; an audit's output is compared and not kept.
    pub purpose: Purpose,
    /// Under what it may read its samples' data: proof that it was decided, to be checked and decided again.
    pub lease: SignedLease,
    /// The inputs, in the order of [`Scheduler::inputs`]; before them what [`Office::preface`] gives.
    pub inputs: Arc<Vec<(Task, Arc<Commit>)>>,
}

/// What a worker is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Order {
    /// Run this when a core is free; attempts begin in the order in which they came.
    Run(Request),
    /// End before the first of the task's steps that is not begun; to be answered by [`Report::Cut`] at once, or not at all
    /// where there is nothing left to cut off.
    Cut(AttemptId),
    /// Do not begin it, or end it as soon as it can be: nobody needs it.
    Cancel(AttemptId),
    /// The events of this [`Report::Log`] are in the audit log.
    Logged(u64),
    /// Nothing more comes, and nobody needs what runs: end.
    Stop,
}

/// What a worker or its engine says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Report {
    /// A site appears, or its terms changed.
    Site {
        /// Its number.
        site: u16,
        /// Its terms.
        spec: SiteSpec,
    },
    /// A site is to be left, or to be used again.
    Drain {
        /// Which.
        site: u16,
        /// Whether it is to be left.
        drain: bool,
    },
    /// A worker is there.
    Joined {
        /// Its name; never used before in this life of the driver.
        worker: WorkerId,
        /// What it has.
        spec: WorkerSpec,
    },
    /// A worker is gone; nothing more is heard of it.
    Left {
        /// Which.
        worker: WorkerId,
        /// How.
        why: Departure,
    },
    /// An attempt got a core.
    Started {
        /// Which.
        attempt: AttemptId,
        /// Which core of its worker, from 0.
        slot: u32,
    },
    /// An attempt at a task with [`Task::steps`] begins one of them; said of every cell, and now and then of a strip.
    Reached {
        /// Which.
        attempt: AttemptId,
        /// The step.
        step: u32,
    },
    /// The answer to [`Order::Cut`].
    Cut {
        /// Which.
        attempt: AttemptId,
        /// Its task as it will be done.
        task: Task,
    },
    /// An attempt is over.
    Ended(Ended),
    /// Audit events of a worker that does not write the job's log itself. It goes on once [`Order::Logged`] says that
    /// they are there.
    Log {
        /// Whose.
        worker: WorkerId,
        /// The worker's number for this report.
        ticket: u64,
        /// The events, as [`Office::logged`] reads them.
        events: Vec<u8>,
    },
    /// Core time of a worker that went into no task.
    Spent {
        /// Whose.
        worker: WorkerId,
        /// Into what.
        cause: Spending,
        /// Cores times milliseconds.
        core_ms: u64,
    },
}

/// Core time that is paid for and goes into no task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spending {
    /// Waiting in a queue that is paid for, starting the process, opening the index.
    Start,
    /// Moving data.
    Transfer,
    /// Scheduling, committing, verifying.
    Coordination,
}

/// How an attempt ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ended {
    /// Which.
    pub attempt: AttemptId,
    /// The task as it was run: of one that was cut, the steps before the cut.
    pub task: Task,
    /// What came of it.
    pub result: Result<Output, TaskFailure>,
    /// What it used.
    pub usage: Usage,
}

/// What an attempt gives back: pieces already written, synced and read back, and a summary for whoever comes after.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Where the output lies; of region and joint tasks, one piece for each cell, in order.
    pub pieces: Vec<PieceRef>,
    /// The task's own small result, in its own encoding.
    pub summary: Vec<u8>,
    /// BLAKE3 of the output's plaintext: equal for equal work, wherever it was done.
    pub content: [u8; 32],
}

/// Gives a site's or several workers' attempts to where they run. Started with the sending half of the driver's channel
/// of [`Report`]s and its own number, the high byte of its workers' names; says [`Report::Joined`] for each of them.
/// The channel does not grow without bound: a worker says a few words for each attempt the scheduler gave it, and those
/// are few. An output of a worker that is not believed, such as a bundle's, is opened and checked before it is reported.
pub trait Engine {
    /// Takes orders for one of its workers; returns without waiting for them. A batch engine gets all attempts of a
    /// bundle in one call, and a bundle of which nothing is left to be done gets none and ends. An error ends the job: a worker that cannot be reached is a [`Report::Left`].
    fn give(&mut self, worker: WorkerId, orders: Vec<Order>) -> Result<(), Failure>;

    /// Called ten times a second at least, and after each round of reports.
    fn tick(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// Whether what its workers write in the audit log passes through this process before they read anything: then what
    /// was noted in it before is on the device by then.
    fn logs_here(&self) -> bool {
        false
    }

    /// The job is over, however it ended: workers are told to stop, and jobs that wait elsewhere are cancelled.
    fn close(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// The worker's side: runs tasks, called from several threads at once.
pub trait TaskRunner: Sync {
    /// Runs one attempt on the calling thread.
    fn run(&self, request: &Request, control: &Control) -> Result<Output, TaskFailure>;
}

/// One attempt that is to be leased.
#[derive(Clone, Copy, Debug)]
pub struct Leasing<'a> {
    /// What is to be done.
    pub task: Task,
    /// The attempt's number in the journal.
    pub number: u32,
    /// Name of the site where its worker stands; `None`: it is run in the driver's own process.
    pub site: Option<&'a str>,
    /// Name of its worker.
    pub worker: &'a str,
    /// [`Engine::logs_here`] of its engine; true in the driver's own process.
    pub logs_here: bool,
}

/// One output that is to be committed.
#[derive(Clone, Copy, Debug)]
pub struct Committing<'a> {
    /// What was done.
    pub task: Task,
    /// The attempt's number in the journal.
    pub number: u32,
    /// What came of it.
    pub output: &'a Output,
}

/// The scheduler's side: who decides, writes down and checks. Knows what a task means.
pub trait Office {
    /// What a task is given of what the scheduler says that it reads: outputs of tasks that are gone may stand elsewhere.
    fn inputs(&self, _task: Task, inputs: Vec<Task>) -> Vec<Task> {
        inputs
    }

    /// What a task is told besides its inputs, under its own name: of what tasks before it read, which `inputs_of` says, and
    /// all of that is committed. Nothing, for most. An error: the attempt has failed.
    fn preface(
        &self,
        _task: Task,
        _inputs_of: &dyn Fn(Task) -> Vec<Task>,
    ) -> Result<Option<Arc<Commit>>, Failure> {
        Ok(None)
    }

    /// What of a commit those need who read its task's output: the rest goes to no worker.
    fn told(&self, _task: Task, commit: Commit) -> Commit {
        commit
    }

    /// Whether a task that the scheduler gives to this worker is to be run in the driver's own process instead: because
    /// what it needs is only there.
    fn at_home(&self, _task: Task, _worker: WorkerId) -> bool {
        false
    }

    /// Decides for each attempt whether it may run, and leases it. All decisions are in the audit log when this returns, and
    /// on the device, those but of attempts whose workers log here: these come to it before anything is read under them.
    /// The outer error is that nobody can decide or write.
    fn lease(&self, asked: &[Leasing<'_>]) -> Result<Vec<Result<SignedLease, Failure>>, Failure>;

    /// Of a task of the cohort that the policy refused: because of whose data.
    fn denied(&self, _task: Task) -> Vec<u32> {
        Vec::new()
    }

    /// Told of outputs just before they are committed; an error keeps them from being so.
    fn committing(&self, outputs: &[Committing<'_>]) -> Result<(), Failure>;

    /// What a committed output tells the scheduler.
    fn facts_of(&self, task: Task, commit: &Commit) -> Facts;

    /// Digest of everything that this task's output depends on.
    fn basis(&self, task: Task) -> [u8; 16];

    /// Opens and checks the output of a worker that is not believed.
    fn verify(&self, task: Task, output: &Output) -> Result<(), Failure>;

    /// Gives what an output that is to be committed left outside the packs its place. An error: it is not there as the
    /// output says, and the attempt has failed. Of outputs that are only compared nothing is placed.
    fn place(&self, _task: Task, _output: &Output) -> Result<(), Failure> {
        Ok(())
    }

    /// Told that the job goes on without a sample, and, where a task of it failed, why. An error ends the job.
    fn dropped(
        &self,
        sample: u32,
        reason: Class,
        failure: Option<(Task, &TaskFailure)>,
    ) -> Result<(), Failure>;

    /// Told that a task's commit counts no more.
    fn forgotten(&self, _task: Task) {}

    /// Writes a remote worker's audit events; they are there when this returns.
    fn logged(&self, worker: WorkerId, events: &[u8]) -> Result<(), Failure>;
}

/// Told of everything that happens, from the driver's own thread: progress, status, bill.
pub trait Observer {
    /// A report came in; before the scheduler hears of it.
    fn heard(&mut self, _scheduler: &Scheduler, _report: &Report) {}

    /// After the scheduler took an event.
    fn after(&mut self, _scheduler: &Scheduler, _event: &Event, _commands: &[Command]) {}

    /// Ten times a second at least.
    fn tick(&mut self, _scheduler: &Scheduler) {}

    /// What somebody outside asked meanwhile, such as to drain a site; heard like a worker's report. Asked for after
    /// each [`Observer::tick`].
    fn asked(&mut self) -> Vec<Report> {
        Vec::new()
    }
}
