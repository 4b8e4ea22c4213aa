//! Drives a job: reports come in from engines, are committed, and are told to the scheduler; its commands go out as orders.

use crate::engine::{Engine, Observer, Office, Report};
use jobs::failure::Failure;
use jobs::task::Task;
use scheduler::{Ending, Scheduler};
use std::sync::atomic::AtomicU8;
use std::sync::mpsc::Receiver;
use storage::Journal;

/// What it takes to run a job.
pub struct Drive<'a> {
    /// Decides; has not been told anything yet.
    pub scheduler: &'a mut Scheduler,
    /// What is done.
    pub journal: &'a Journal,
    /// Leases, audits, verifies.
    pub office: &'a dyn Office,
    /// Watches.
    pub observer: &'a mut dyn Observer,
    /// Run tasks; the high byte of a worker's name is the place here of its engine.
    pub engines: Vec<Box<dyn Engine + 'a>>,
    /// What engines and workers say.
    pub reports: Receiver<Report>,
    /// What somebody outside wants.
    pub stop: &'a Stop,
}

/// Whether a job is to stop; may be set from a signal handler.
#[derive(Debug, Default)]
pub struct Stop(AtomicU8);

/// How a run of a job ended.
#[derive(Debug)]
pub struct Outcome {
    /// What the scheduler said last.
    pub ending: Ending,
    /// The first failure that ended the job, or dropped a sample, with the task that failed.
    pub failure: Option<(Task, Failure)>,
    /// Tasks committed by this run, not counting what the journal already held.
    pub tasks_run: u64,
    /// CPU time of those tasks, and of attempts that failed, in milliseconds.
    pub cpu_ms: u64,
}

/// Runs the job to its end.
#[allow(clippy::unimplemented)]
pub fn drive(_job: Drive<'_>) -> Result<Outcome, Failure> {
    unimplemented!()
}
