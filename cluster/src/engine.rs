//! What every engine has in common: requests, outputs, and the two traits the command line gives it.

use jobs::failure::Failure;
use jobs::task::Task;
use scheduler::old::{Event, Scheduler};
use std::sync::Arc;
use storage::lease::SignedLease;
use storage::{Commit, PieceRef};

/// One attempt at one task, with the commits of everything it reads.
#[derive(Clone, Debug)]
pub struct Request {
    /// The task.
    pub task: Task,
    /// Counts from 1.
    pub attempt: u32,
    /// Under what it may read its samples' data: proof that it was decided, to be checked and decided again.
    pub lease: SignedLease,
    /// The inputs, in the order of [`Scheduler::inputs`].
    pub inputs: Arc<Vec<(Task, Arc<Commit>)>>,
}

/// What an attempt gives back: pieces already written, synced and read back, and a summary for whoever comes after.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// Where the output lies.
    pub pieces: Vec<PieceRef>,
    /// The task's own small result, in its own encoding.
    pub summary: Vec<u8>,
    /// For an intake: into how many chunks the lane is cut.
    pub chunks: Option<u32>,
}

/// Runs tasks. Called from several threads at once.
pub trait TaskRunner: Sync {
    /// On the scheduler's side: decides whether the task may run, and leases it.
    fn lease(&self, task: Task, attempt: u32) -> Result<SignedLease, Failure>;

    /// On the worker's side: runs one attempt on the calling thread.
    fn run(&self, request: &Request) -> Result<Output, Failure>;

    /// On the scheduler's side: told of an output before it is committed; an error keeps it from being so.
    fn committing(&self, task: Task, attempt: u32, output: &Output) -> Result<(), Failure>;

    /// Reads the number of chunks back from a committed intake's summary.
    fn chunks_of(&self, commit: &Commit) -> Option<u32>;
}

/// Told of everything that happens, from the engine's own thread; draws progress.
pub trait Observer {
    /// After the scheduler took an event.
    fn after(&mut self, scheduler: &Scheduler, event: &Event);

    /// Now and then, with nothing new.
    fn tick(&mut self, _scheduler: &Scheduler) {}
}
