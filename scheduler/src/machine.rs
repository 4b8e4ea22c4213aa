//! The state machine of a job: `handle(now, event) -> commands`.

use crate::cost::CostModel;
use crate::event::{AttemptId, Command, Ending, Event, Options, SiteSpec};
use crate::plan::Plan;
use crate::query::{CellState, Remaining, Running, StageProgress, Waiting, WorkerView};
use jobs::task::{Shard, Stage, Task};
use std::collections::BTreeMap;

/// The scheduler of one job.
#[derive(Debug)]
pub struct Scheduler {
    plan: Plan,
    options: Options,
}

#[allow(unused_variables, clippy::unimplemented)]
impl Scheduler {
    /// A job with nothing done yet. Report what the journal holds as [`Event::Committed`], then [`Event::Begin`].
    pub fn new(plan: Plan, options: Options) -> Self {
        Scheduler { plan, options }
    }

    /// Takes one event and answers with what to do. `now_ms` counts from any fixed instant; it is held where a clock
    /// jumps back.
    pub fn handle(&mut self, now_ms: u64, event: Event) -> Vec<Command> {
        unimplemented!()
    }

    /// The plan this job follows.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// How it is scheduled.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The committed tasks whose outputs `task` reads, in genome order.
    pub fn inputs(&self, task: Task) -> Vec<Task> {
        unimplemented!()
    }

    /// As what the output of this attempt is to be committed: its task, as far as it was not cut. `None` if it is not to
    /// be committed: an audit, a race that was lost, an attempt that was cancelled or that the scheduler does not know.
    /// Ask before each commit; [`Event::Done`] follows in either case.
    pub fn commits(&self, attempt: AttemptId) -> Option<Task> {
        unimplemented!()
    }

    /// Progress of a stage, of one sample or of everything.
    pub fn progress(&self, stage: Stage, sample: Option<u32>) -> StageProgress {
        unimplemented!()
    }

    /// Progress of a stage's tasks that belong to no sample.
    pub fn cohort_progress(&self, stage: Stage) -> StageProgress {
        unimplemented!()
    }

    /// Tasks of a sample (or of the cohort) that do not run, by stage and reason, with their number.
    pub fn waiting(&self, sample: Option<u32>) -> BTreeMap<(Stage, Waiting), u64> {
        unimplemented!()
    }

    /// Attempts that have a core.
    pub fn running(&self) -> impl Iterator<Item = Running> {
        std::iter::empty()
    }

    /// Workers that are there, in the order of their names.
    pub fn workers(&self) -> impl Iterator<Item = WorkerView<'_>> {
        std::iter::empty()
    }

    /// Sites in order, and whether they are being left.
    pub fn sites(&self) -> impl Iterator<Item = (u16, &SiteSpec, bool)> {
        std::iter::empty()
    }

    /// The genome of a sample (`None`: of the joint call), cut as its tasks are, in order; gaps that are not cut yet are
    /// one run each.
    pub fn coverage(&self, sample: Option<u32>) -> Vec<(Shard, CellState)> {
        unimplemented!()
    }

    /// Time left, with its uncertainty; `None` as long as nobody works.
    pub fn remaining_ms(&self) -> Option<Remaining> {
        unimplemented!()
    }

    /// Whether everything that was not dropped is done.
    pub fn is_complete(&self) -> bool {
        unimplemented!()
    }

    /// Whether a sample was dropped.
    pub fn is_dropped(&self, sample: u32) -> bool {
        unimplemented!()
    }

    /// What was said last, once [`Command::End`] was.
    pub fn ending(&self) -> Option<Ending> {
        unimplemented!()
    }

    /// Expected durations as learned so far.
    pub fn costs(&self) -> CostModel {
        unimplemented!()
    }

    /// Expected milliseconds of a task on one core of speed 1, by what is known of its reads.
    pub fn expected_ms(&self, task: Task) -> u64 {
        unimplemented!()
    }
}
