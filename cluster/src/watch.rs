//! Watches a job from beside its driver and says how it stands.
//!
//! Invariant: fed with what the scheduler is told and answers, it keeps what the scheduler forgets: the bill, the rate,
//! what ran lately on each core. Its memory is bounded by workers and running attempts, never by tasks. Time comes in with
//! each call, in milliseconds since this start of the job; a simulated job is watched like a live one.

mod coverage;
mod timeline;

use crate::bill::{Account, Bill, Idle};
use crate::engine::Report;
use crate::info::{
    AttemptInfo, HISTORY_MAX, JobInfo, Rate, RatePoint, SCHEMA, SampleInfo, SiteInfo, Span, StageInfo, State,
    Timeline, WaitingInfo, WorkerInfo,
};
use jobs::genome::{CELL_BASES, Cell};
use jobs::task::{Stage, Task};
use scheduler::{
    AttemptId, Command, Ending, Event, Facts, Purpose, Scheduler, StageProgress, Waiting, WorkerId,
};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use timeline::Lanes;
pub use timeline::timeline;

/// Over how long the present rate is taken.
const RATE_MS: u64 = 60_000;

/// Running attempts that are listed; the slowest come first.
const RUNNING_MAX: usize = 500;

/// What a job and its parts are called.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Names {
    /// The job.
    pub job: String,
    /// Samples by number.
    pub samples: Vec<String>,
    /// Contigs, with their first cells.
    pub contigs: Vec<(String, Cell)>,
}

/// What is known of one start of a job beside what its scheduler knows.
#[derive(Debug)]
pub struct Watch {
    names: Names,
    /// When the start began, in milliseconds since 1970.
    began_ms: u64,
    before: Account,
    bill: Bill,
    open: Idle,
    stopping: bool,
    attempts: HashMap<AttemptId, Attempt>,
    /// Of all workers that ever joined.
    workers: BTreeMap<u32, String>,
    lanes: Lanes,
    recent: VecDeque<RatePoint>,
    history: Vec<RatePoint>,
    step_ms: u64,
}

#[derive(Debug)]
struct Attempt {
    worker: WorkerId,
    task: Task,
    purpose: Purpose,
    cancelled: bool,
    /// Its core, and since when.
    core: Option<(u32, u64)>,
}

impl Watch {
    /// A start of a job at `began_ms` since 1970; `before` is the bill of earlier starts.
    pub fn new(names: Names, began_ms: u64, before: Account) -> Self {
        Watch {
            names,
            began_ms,
            before,
            bill: Bill::default(),
            open: Idle::NoReadyTask,
            stopping: false,
            attempts: HashMap::new(),
            workers: BTreeMap::new(),
            lanes: Lanes::default(),
            recent: VecDeque::new(),
            history: Vec::new(),
            step_ms: 1000,
        }
    }

    /// The bill of earlier starts.
    pub fn before(&self) -> &Account {
        &self.before
    }

    /// Takes what a worker says, before the scheduler does.
    pub fn heard(&mut self, now_ms: u64, report: &Report) {
        if let Report::Spent { worker, cause, core_ms } = report {
            self.bill.spent(now_ms, *worker, *cause, *core_ms);
        }
    }

    /// Takes what the scheduler was told and answered.
    pub fn after(&mut self, now_ms: u64, event: &Event, commands: &[Command]) {
        self.bill.after(now_ms, event, commands, self.open);
        match event {
            Event::Started { attempt, slot } => {
                if let Some(attempt) = self.attempts.get_mut(attempt) {
                    attempt.core = Some((*slot, now_ms));
                }
            }
            Event::Cut { attempt, task } => {
                if let Some(attempt) = self.attempts.get_mut(attempt) {
                    // Of another task it says nothing.
                    attempt.task = task.steps().map_or(attempt.task, |steps| attempt.task.over(steps));
                }
            }
            Event::Done { attempt, facts, .. } => {
                if let Some(attempt) = self.attempts.remove(attempt) {
                    let counts = attempt.purpose != Purpose::Audit && !attempt.cancelled;
                    if counts {
                        self.count(now_ms, attempt.task, facts);
                    }
                    self.ran(now_ms, &attempt, counts);
                }
            }
            Event::Failed { attempt, .. } => {
                if let Some(attempt) = self.attempts.remove(attempt) {
                    self.ran(now_ms, &attempt, false);
                }
            }
            Event::Left { worker, .. } => {
                let (gone, here) = std::mem::take(&mut self.attempts)
                    .into_iter()
                    .partition(|(_, attempt)| attempt.worker == *worker);
                self.attempts = here;
                let gone: HashMap<AttemptId, Attempt> = gone;
                gone.values().for_each(|attempt| self.ran(now_ms, attempt, false));
            }
            Event::Stop { .. } => self.stopping = true,
            Event::Joined { worker, spec } => {
                self.workers.insert(worker.0, spec.name.clone());
            }
            Event::Committed { .. }
            | Event::Begin
            | Event::Site { .. }
            | Event::Drain { .. }
            | Event::Reached { .. }
            | Event::Distrust { .. }
            | Event::Denied { .. }
            | Event::Tick => {}
        }
        for command in commands {
            match *command {
                Command::Start { worker, attempt, task, purpose } => {
                    let given = Attempt { worker, task, purpose, cancelled: false, core: None };
                    self.attempts.insert(attempt, given);
                }
                Command::Cancel { attempt, .. } => {
                    if let Some(attempt) = self.attempts.get_mut(&attempt) {
                        attempt.cancelled = true;
                    }
                }
                Command::Cut { .. }
                | Command::Forget(_)
                | Command::DropSample { .. }
                | Command::Quarantine { .. }
                | Command::End(_) => {}
            }
        }
    }

    /// The bill of all starts until now.
    pub fn account(&mut self, now_ms: u64) -> Account {
        let mut account = self.bill.account(now_ms, &self.names.samples);
        account.add(&self.before);
        account
    }

    /// How the job stands. Looks at every sample, so not to be asked for each event; from here on idle cores are put
    /// down to what holds now.
    pub fn info(&mut self, now_ms: u64, scheduler: &Scheduler) -> JobInfo {
        let mut info = of(&self.names, scheduler);
        self.open = idle_cause(scheduler, &info);
        info.state = match scheduler.ending() {
            Some(Ending::Complete) => State::Complete,
            Some(Ending::Partial) => State::Partial,
            Some(Ending::Failed(_)) => State::Failed,
            Some(Ending::Stopped) => State::Stopped,
            None if self.stopping => State::Stopping,
            None => State::Running,
        };
        info.as_of_ms = self.began_ms + now_ms;
        info.started_ms = self.began_ms;
        info.remaining = scheduler.remaining_ms();
        info.rate = self.rate(now_ms);
        info.workers = self.workers(scheduler);
        info.sites = sites(scheduler);
        info.running = self.running(now_ms, scheduler);
        info.timeline = self.lanes.drawn();
        self.name_lanes(&mut info.timeline);
        info.bill = self.account(now_ms);
        info
    }

    /// Gives the rows of a drawing the names of their workers.
    pub fn name_lanes(&self, timeline: &mut Timeline) {
        for lane in &mut timeline.lanes {
            lane.name = self.workers.get(&lane.worker).cloned().unwrap_or_default();
        }
    }

    /// Counts committed work.
    fn count(&mut self, now_ms: u64, task: Task, facts: &Facts) {
        let point = RatePoint {
            from_ms: self.began_ms + now_ms / 1000 * 1000,
            ms: 1000,
            tasks: 1,
            pairs: if task.stage() == Stage::Map { facts.pairs.unwrap_or(0) } else { 0 },
            bases: match task {
                Task::Region(_, shard) => shard.cells().count() as u64 * u64::from(CELL_BASES),
                _ => 0,
            },
        };
        match self.recent.back_mut() {
            Some(last) if last.from_ms == point.from_ms => merge(last, &point),
            _ => self.recent.push_back(point),
        }
        self.extend_history(now_ms);
        if let Some(last) = self.history.last_mut() {
            let ms = last.ms;
            merge(last, &point);
            last.ms = ms;
        }
    }

    /// Lets the history reach until now, in steps twice as long whenever it gets too long.
    fn extend_history(&mut self, now_ms: u64) {
        while now_ms / self.step_ms >= HISTORY_MAX as u64 {
            self.step_ms *= 2;
            self.history = self
                .history
                .chunks(2)
                .map(|pair| {
                    let mut sum = RatePoint { ms: self.step_ms, ..pair[0] };
                    pair[1..].iter().for_each(|point| {
                        merge(&mut sum, point);
                        sum.ms = self.step_ms;
                    });
                    sum
                })
                .collect();
        }
        while self.history.len() as u64 <= now_ms / self.step_ms {
            let from_ms = self.began_ms + self.history.len() as u64 * self.step_ms;
            self.history.push(RatePoint { from_ms, ms: self.step_ms, ..RatePoint::default() });
        }
    }

    fn rate(&mut self, now_ms: u64) -> Rate {
        self.extend_history(now_ms);
        let oldest = (self.began_ms + now_ms).saturating_sub(RATE_MS);
        while self.recent.front().is_some_and(|point| point.from_ms < oldest) {
            self.recent.pop_front();
        }
        let mut sum = RatePoint::default();
        self.recent.iter().for_each(|point| merge(&mut sum, point));
        let seconds = now_ms.clamp(1000, RATE_MS) as f64 / 1000.0;
        Rate {
            tasks_per_s: sum.tasks as f64 / seconds,
            pairs_per_s: sum.pairs as f64 / seconds,
            bases_per_s: sum.bases as f64 / seconds,
            // The last point is still being filled.
            history: self.history[..self.history.len().saturating_sub(1)].to_vec(),
        }
    }

    /// An attempt that had a core is over.
    fn ran(&mut self, now_ms: u64, attempt: &Attempt, counts: bool) {
        let Some((slot, since_ms)) = attempt.core else { return };
        let span = Span {
            task: attempt.task.key(&self.names.samples),
            stage: attempt.task.stage(),
            start_ms: self.began_ms + since_ms,
            end_ms: self.began_ms + now_ms,
            tasks: 1,
            counts,
        };
        self.lanes.push(attempt.worker.0, slot, span, now_ms);
    }

    fn workers(&self, scheduler: &Scheduler) -> Vec<WorkerInfo> {
        let sites: BTreeMap<u16, &str> =
            scheduler.sites().map(|(site, spec, _)| (site, spec.name.as_str())).collect();
        let there = scheduler.workers().filter(|worker| !worker.offered);
        there
            .map(|view| WorkerInfo {
                worker: view.worker.0,
                name: view.spec.name.clone(),
                site: sites.get(&view.spec.site).copied().unwrap_or_default().to_owned(),
                slots: view.spec.slots,
                busy: view.running,
                queued: view.queued,
                memory_bytes: view.spec.memory_bytes,
                memory_used_bytes: view.memory_bytes,
                speed: view.speed,
                quarantined: view.quarantined,
                draining: view.draining,
                joined_ms: self.began_ms + view.joined_ms,
            })
            .collect()
    }

    fn running(&self, now_ms: u64, scheduler: &Scheduler) -> Vec<AttemptInfo> {
        let mut running: Vec<AttemptInfo> = scheduler
            .running()
            .map(|one| {
                let seen = self.attempts.get(&one.attempt).and_then(|attempt| attempt.core);
                AttemptInfo {
                    attempt: one.attempt.0,
                    task: one.task.key(&self.names.samples),
                    stage: one.task.stage(),
                    sample: one.task.sample().and_then(|sample| self.sample(sample)),
                    worker: one.worker.0,
                    slot: one.slot,
                    since_ms: self.began_ms + seen.map_or(one.since_ms, |(_, since)| since),
                    expected_ms: one.expected_ms,
                    purpose: one.purpose,
                    straggles: one.straggles,
                }
            })
            .collect();
        let over = |one: &AttemptInfo| {
            let ran_ms = (self.began_ms + now_ms).saturating_sub(one.since_ms);
            ran_ms as i64 - one.expected_ms as i64
        };
        running.sort_by_key(|one| (!one.straggles, -over(one), one.attempt));
        running.truncate(RUNNING_MAX);
        running
    }

    fn sample(&self, sample: u32) -> Option<String> {
        self.names.samples.get(sample as usize).cloned()
    }
}

/// What a scheduler says of a job that nobody watched: no bill, no rate, no workers. The state says whether it is complete.
pub fn of(names: &Names, scheduler: &Scheduler) -> JobInfo {
    let joint = coverage::joint(scheduler);
    let samples = (0..names.samples.len() as u32).map(Some).chain([None]);
    let sample = |sample: Option<u32>| SampleInfo {
        sample: sample.map(|sample| names.samples[sample as usize].clone()),
        stages: Stage::ALL
            .into_iter()
            .map(|stage| match sample {
                Some(_) => stage_info(stage, scheduler.progress(stage, sample)),
                None => stage_info(stage, scheduler.cohort_progress(stage)),
            })
            .filter(|stage| stage.tasks > 0)
            .collect(),
        waiting: waiting(scheduler, sample),
        grid: sample.map_or_else(String::new, |sample| coverage::of_sample(scheduler, sample, &joint)),
    };
    JobInfo {
        schema: SCHEMA.to_owned(),
        job: names.job.clone(),
        state: if scheduler.is_complete() { State::Complete } else { State::Stopped },
        stages: Stage::ALL.map(|stage| stage_info(stage, scheduler.progress(stage, None))).to_vec(),
        samples: samples.map(sample).collect(),
        grid: coverage::ruler(scheduler.plan().cells, &names.contigs),
        ..JobInfo::default()
    }
}

fn stage_info(stage: Stage, progress: StageProgress) -> StageInfo {
    let StageProgress { tasks, queued, running, done, failed } = progress;
    StageInfo { stage, tasks, queued, running, done, failed }
}

fn waiting(scheduler: &Scheduler, sample: Option<u32>) -> Vec<WaitingInfo> {
    let waiting = scheduler.waiting(sample).into_iter();
    waiting
        .map(|((stage, reason), tasks)| {
            let (code, why, helps) = words(reason);
            let inputs = match reason {
                Waiting::Inputs(stage) => Some(stage),
                _ => None,
            };
            WaitingInfo { stage, reason: code.to_owned(), inputs, tasks, why, helps: helps.to_owned() }
        })
        .collect()
}

/// A reason's code, the reason in words, and what would help.
fn words(reason: Waiting) -> (&'static str, String, &'static str) {
    let (code, why, helps) = match reason {
        Waiting::Inputs(stage) => return ("inputs", format!("needs output of {stage}"), ""),
        Waiting::Audit => ("audit", "what it reads is being checked", ""),
        Waiting::Slots => ("slots", "all cores are busy", "more cores"),
        Waiting::Memory => {
            ("memory", "its memory is not free", "workers with more memory, or fewer threads each")
        }
        Waiting::Site => {
            ("site", "no site with workers may have its data", "workers at a site that the consent permits")
        }
        Waiting::Workers => ("workers", "no worker has joined", "start workers, or wait for the queue"),
        Waiting::Draining => ("draining", "its workers are being drained", "use the site again"),
        Waiting::Queued => ("queued", "queued at a worker", ""),
        Waiting::Stopping => ("stopping", "the job is stopping", "give the run command again later"),
        Waiting::Idle => ("idle", "the job does not run", "give the run command again"),
    };
    (code, why.to_owned(), helps)
}

fn sites(scheduler: &Scheduler) -> Vec<SiteInfo> {
    let mut sites: BTreeMap<u16, SiteInfo> = scheduler
        .sites()
        .map(|(site, spec, draining)| {
            let name = spec.name.clone();
            (site, SiteInfo { site, name, draining, ..SiteInfo::default() })
        })
        .collect();
    for worker in scheduler.workers().filter(|worker| !worker.offered) {
        if let Some(site) = sites.get_mut(&worker.spec.site) {
            site.workers += 1;
            site.slots += worker.spec.slots;
            site.busy += worker.running;
        }
    }
    sites.into_values().collect()
}

/// What cores that could take something wait for now.
fn idle_cause(scheduler: &Scheduler, info: &JobInfo) -> Idle {
    let reasons: BTreeSet<&str> =
        info.samples.iter().flat_map(|sample| &sample.waiting).map(|one| one.reason.as_str()).collect();
    let is = |reason: Waiting| reasons.contains(words(reason).0);
    if is(Waiting::Memory) {
        Idle::Memory
    } else if is(Waiting::Site) {
        Idle::Place
    } else if is(Waiting::Draining) || is(Waiting::Stopping) {
        Idle::Draining
    } else if scheduler.running().any(|one| one.straggles) {
        Idle::Straggler
    } else {
        Idle::NoReadyTask
    }
}

fn merge(sum: &mut RatePoint, point: &RatePoint) {
    sum.ms += point.ms;
    sum.tasks += point.tasks;
    sum.pairs += point.pairs;
    sum.bases += point.bases;
}

#[cfg(test)]
mod tests;
