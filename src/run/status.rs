//! What can be said of a job at any moment: progress per stage and sample, what waits and why. A running job leaves it
//! in its directory; for one that does not run it is made from the journal, by the same scheduler.

use crate::job_dir::JobDir;
use crate::run::office::facts_of;
use jobs::failure::Failure;
use jobs::task::{Stage, Task};
use scheduler::{Event, Options, Plan, Scheduler, StageProgress, Waiting};
use std::fs;
use storage::Journal;

/// Name of the journal's value that holds the plan.
const PLAN: &str = "plan";

/// One stage of a sample or of everything.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct StageStatus {
    /// Stage name.
    pub stage: String,
    /// Tasks known so far.
    pub tasks: u64,
    /// Running.
    pub running: u64,
    /// Committed.
    pub done: u64,
    /// Failed.
    pub failed: u64,
}

/// Tasks that wait for one reason.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct WaitingStatus {
    /// Their stage.
    pub stage: String,
    /// Why, in words.
    pub reason: String,
    /// How many.
    pub tasks: u64,
}

/// A sample, or the tasks that are the cohort's own.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct SampleStatus {
    /// Name; `None` for the cohort.
    pub sample: Option<String>,
    /// By stage.
    pub stages: Vec<StageStatus>,
    /// What waits.
    pub waiting: Vec<WaitingStatus>,
}

/// The whole job.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Status {
    /// `wakachi.job-info/1`.
    pub schema: String,
    /// The job's name.
    pub cohort: String,
    /// `starting`, `running`, `complete` or `stopped`.
    pub state: String,
    /// All samples together.
    pub stages: Vec<StageStatus>,
    /// One by one, the cohort last.
    pub samples: Vec<SampleStatus>,
}

impl Status {
    /// What the scheduler says now.
    pub fn of(cohort: &str, scheduler: &Scheduler, running: bool) -> Self {
        let samples = (0..scheduler.plan().samples.len() as u32).map(Some).chain([None]);
        let complete = scheduler.is_complete();
        let state = if complete {
            "complete"
        } else if running {
            "running"
        } else {
            "stopped"
        };
        Status {
            schema: "wakachi.job-info/1".to_owned(),
            cohort: cohort.to_owned(),
            state: state.to_owned(),
            stages: Stage::ALL.map(|stage| stage_status(stage, scheduler.progress(stage, None))).to_vec(),
            samples: samples.map(|sample| sample_status(scheduler, sample)).collect(),
        }
    }

    /// Leaves it in the directory. Best effort: a status that cannot be written must not stop a job.
    pub fn leave(&self, dir: &JobDir) {
        let (path, partial) = (path(dir), dir.scratch().join("status.json.partial"));
        let text = serde_json::to_vec(self).expect("plain data always prints");
        let _ = fs::write(&partial, text).and_then(|()| fs::rename(&partial, &path));
    }

    /// What can be said of a job that runs and has not left a status yet.
    pub fn starting() -> Self {
        Status {
            schema: "wakachi.job-info/1".to_owned(),
            cohort: String::new(),
            state: "starting".to_owned(),
            stages: Vec::new(),
            samples: Vec::new(),
        }
    }

    /// What a running job left.
    pub fn found(dir: &JobDir) -> Option<Self> {
        serde_json::from_slice(&fs::read(path(dir)).ok()?).ok()
    }

    /// Made from the journal of a job that does not run.
    pub fn from_journal(journal: &Journal) -> Result<Option<Self>, Failure> {
        let Some(plan) = stored_plan(journal)? else { return Ok(None) };
        let names: Vec<String> = plan.samples.iter().map(|sample| sample.name.clone()).collect();
        let mut scheduler = Scheduler::new(plan, Options::default());
        journal.replay(|key, commit| {
            let task = Task::from_key(key, &names).filter(|&task| scheduler.plan().knows(task));
            if let Some(task) = task {
                scheduler.handle(0, Event::Committed { task, facts: facts_of(task, &commit) });
            }
        })?;
        Ok(Some(Status::of(&journal.identity().job, &scheduler, false)))
    }
}

fn path(dir: &JobDir) -> std::path::PathBuf {
    dir.scratch().join("status.json")
}

/// Remembers the plan, for who asks when the job does not run.
pub fn store_plan(journal: &Journal, plan: &Plan) -> Result<(), Failure> {
    Ok(journal.put_value(PLAN, &serde_json::to_vec(plan).expect("plain data always prints"))?)
}

/// The plan that a run of this job remembered.
pub fn stored_plan(journal: &Journal) -> Result<Option<Plan>, Failure> {
    Ok(journal.value(PLAN)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

fn stage_status(stage: Stage, progress: StageProgress) -> StageStatus {
    let StageProgress { tasks, running, done, failed, .. } = progress;
    StageStatus { stage: stage.name().to_owned(), tasks, running, done, failed }
}

fn sample_status(scheduler: &Scheduler, sample: Option<u32>) -> SampleStatus {
    let waiting = scheduler.waiting(sample).into_iter().map(|((stage, reason), tasks)| WaitingStatus {
        stage: stage.name().to_owned(),
        reason: match reason {
            Waiting::Inputs(stage) => format!("needs output of {stage}"),
            Waiting::Audit => "an input is checked by a second attempt".to_owned(),
            Waiting::Slots => "all threads are busy".to_owned(),
            Waiting::Memory => "its memory is not free".to_owned(),
            Waiting::Site => "no site that has workers may have its data".to_owned(),
            Waiting::Workers => "no worker is there".to_owned(),
            Waiting::Draining => "its site is being left".to_owned(),
            Waiting::Queued => "queued at a worker".to_owned(),
            Waiting::Stopping => "the job is stopping".to_owned(),
            Waiting::Idle => "the job does not run".to_owned(),
        },
        tasks,
    });
    let stages = Stage::ALL.into_iter().filter_map(|stage| {
        let progress = match sample {
            Some(_) => scheduler.progress(stage, sample),
            None => scheduler.cohort_progress(stage),
        };
        (progress.tasks > 0).then(|| stage_status(stage, progress))
    });
    SampleStatus {
        sample: sample.map(|sample| scheduler.plan().samples[sample as usize].name.clone()),
        stages: stages.collect(),
        waiting: waiting.collect(),
    }
}
