//! Drives a job: what engines report is told to the scheduler and made durable, and what the scheduler commands goes out
//! as orders.
//!
//! Invariant: no order leaves before everything that it follows from is in the journal. Whatever came in since the last
//! round is one transaction, so a job of many workers pays for a few a second.

mod cache;

use crate::engine::{Committing, Ended, Engine, Leasing, Observer, Office, Order, Output, Report, Request};
use crate::failure::TaskFailure;
use crate::worker::Pool;
use cache::CommitCache;
use jobs::failure::{Class, Classified, Failure};
use jobs::task::{Task, TaskKeys};
use scheduler::{
    AttemptId, Command, Ending, Event, Purpose, Scheduler, SiteSpec, Usage, WorkerId, WorkerSpec,
};
use std::collections::{BTreeMap, HashMap};
use std::mem::take;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use storage::{Changes, Commit, Journal};

/// How often the driver looks whether somebody wants it to stop, and lets everybody know that time passed.
const TICK: Duration = Duration::from_millis(100);

/// Reports of one round; the rest waits for the next transaction.
const ROUND_REPORTS_MAX: usize = 4096;

/// What it takes to run a job.
pub struct Drive<'a> {
    /// Decides; has not been told anything yet.
    pub scheduler: &'a mut Scheduler,
    /// What is done; every commit in it counts.
    pub journal: &'a Journal,
    /// Leases, audits, verifies.
    pub office: &'a dyn Office,
    /// Watches.
    pub observer: &'a mut dyn Observer,
    /// The sites known from the start, by number.
    pub sites: Vec<SiteSpec>,
    /// Run tasks; the high byte of a worker's name is the place here of its engine.
    pub engines: Vec<Box<dyn Engine + 'a>>,
    /// Runs what [`Office::at_home`] keeps from the engines; says its reports where they do.
    pub home: Option<Pool>,
    /// What engines and workers say.
    pub reports: Receiver<Report>,
    /// Set once somebody wants the job to stop as soon as nothing is lost by it.
    pub stop: &'a AtomicBool,
}

/// How a run of a job ended.
#[derive(Debug)]
pub struct Outcome {
    /// What the scheduler said last.
    pub ending: Ending,
    /// The first failure that nothing made good, with the task that failed.
    pub failure: Option<(Task, Failure)>,
    /// Tasks committed by this run, not counting what the journal already held.
    pub tasks_run: u64,
    /// CPU time of those tasks, and of attempts that came to nothing, in milliseconds.
    pub cpu_ms: u64,
}

/// The driver and what it was told do not fit together.
#[derive(Debug, thiserror::Error)]
enum DriveError {
    /// A commit vanished.
    #[error("the journal has no commit of {task}, which is done")]
    Uncommitted { task: String },
    /// A worker says that it ran another task than it was given.
    #[error("the output of {task} is of {found}")]
    Foreign { task: String, found: String },
}

impl Classified for DriveError {
    fn class(&self) -> Class {
        match self {
            DriveError::Uncommitted { .. } => Class::Internal,
            DriveError::Foreign { .. } => Class::Integrity,
        }
    }
}

/// Runs the job to its end.
pub fn drive(job: Drive<'_>) -> Result<Outcome, Failure> {
    let names = job.scheduler.plan().samples.iter().map(|sample| sample.name.clone()).collect();
    let mut driver = Driver {
        names,
        begun: Instant::now(),
        sites: Vec::new(),
        workers: HashMap::new(),
        attempts: HashMap::new(),
        failures: Vec::new(),
        round: Round::default(),
        cache: CommitCache::default(),
        tasks_run: 0,
        cpu_ms: 0,
        job,
    };
    let driven = driver.run();
    driver.job.home = None;
    let closed = driver.job.engines.iter_mut().try_for_each(|engine| engine.close());
    let ending = driven?;
    closed?;
    Ok(Outcome {
        ending,
        failure: driver.failures.into_iter().next().map(|(task, failure)| (task, failure.into())),
        tasks_run: driver.tasks_run,
        cpu_ms: driver.cpu_ms,
    })
}

struct Driver<'a> {
    job: Drive<'a>,
    names: Vec<String>,
    begun: Instant,
    sites: Vec<SiteSpec>,
    workers: HashMap<WorkerId, WorkerSpec>,
    attempts: HashMap<AttemptId, Given>,
    /// In the order in which they came; a task that is done after all leaves.
    failures: Vec<(Task, TaskFailure)>,
    round: Round,
    cache: CommitCache,
    tasks_run: u64,
    cpu_ms: u64,
}

/// An attempt that a worker has.
struct Given {
    task: Task,
    number: u32,
    worker: WorkerId,
    home: bool,
    cancelled: bool,
}

/// What one round of reports leads to.
#[derive(Default)]
struct Round {
    /// Outputs, with the numbers of their attempts.
    outputs: Vec<(Task, u32, Output)>,
    /// By task: its commit, or that it counts no more; and whether it was forgotten before.
    commits: BTreeMap<Task, Option<Commit>>,
    starts: Vec<(WorkerId, AttemptId, Task, Purpose)>,
    orders: BTreeMap<WorkerId, Vec<Order>>,
    home: Vec<Order>,
    ending: Option<Ending>,
}

impl Drive<'_> {
    /// Commits of tasks that are done, as whoever reads their outputs is told of them.
    fn fetch(&self, names: &[String], tasks: &[Task]) -> Result<Vec<Arc<Commit>>, Failure> {
        let keys: Vec<String> = tasks.iter().map(|task| task.key(names)).collect();
        let found = self.journal.get_many(&keys.iter().map(String::as_str).collect::<Vec<_>>())?;
        let told = |((&task, key), commit): ((&Task, String), Option<Commit>)| {
            let commit = commit.ok_or(DriveError::Uncommitted { task: key })?;
            Ok(Arc::new(self.office.told(task, commit)))
        };
        tasks.iter().zip(keys).zip(found).map(told).collect()
    }
}

impl Driver<'_> {
    fn run(&mut self) -> Result<Ending, Failure> {
        self.replay()?;
        for (site, spec) in take(&mut self.job.sites).into_iter().enumerate() {
            self.hear(Report::Site { site: site as u16, spec })?;
        }
        self.tell(Event::Begin)?;
        self.flush()?;
        let mut ticked = Instant::now();
        let mut stopping = false;
        loop {
            if let Some(ending) = self.round.ending {
                return Ok(ending);
            }
            match self.job.reports.recv_timeout(TICK) {
                Ok(first) => {
                    self.hear(first)?;
                    for _ in 1..ROUND_REPORTS_MAX {
                        let Ok(next) = self.job.reports.try_recv() else { break };
                        self.hear(next)?;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            if self.job.stop.load(Ordering::Relaxed) && !stopping {
                stopping = true;
                self.tell(Event::Stop { soon: true })?;
            }
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.tell(Event::Tick)?;
                self.job.observer.tick(self.job.scheduler);
                self.job.observer.asked().into_iter().try_for_each(|report| self.hear(report))?;
            }
            self.flush()?;
            self.job.engines.iter_mut().try_for_each(|engine| engine.tick())?;
        }
    }

    /// Tells the scheduler what the journal holds.
    fn replay(&mut self) -> Result<(), Failure> {
        let (Drive { scheduler, journal, office, .. }, round) = (&mut self.job, &mut self.round);
        let keys = TaskKeys::new(&self.names);
        journal.replay(|key, commit| {
            // A commit of another cohort's task is left alone.
            let task = keys.task(key).filter(|&task| scheduler.plan().knows(task));
            if let Some(task) = task {
                let committed = Event::Committed { task, facts: office.facts_of(task, &commit) };
                let forgotten =
                    scheduler.handle(0, committed).into_iter().filter_map(|command| match command {
                        Command::Forget(task) => Some((task, None)),
                        _ => None,
                    });
                round.commits.extend(forgotten);
            }
        })?;
        Ok(())
    }

    /// Takes one report.
    fn hear(&mut self, report: Report) -> Result<(), Failure> {
        self.job.observer.heard(self.job.scheduler, &report);
        match report {
            Report::Site { site, spec } => {
                let at = usize::from(site);
                if self.sites.len() <= at {
                    self.sites.resize(at + 1, spec.clone());
                }
                self.sites[at] = spec.clone();
                self.tell(Event::Site { site, spec })
            }
            Report::Drain { site, drain } => self.tell(Event::Drain { site, drain }),
            Report::Joined { worker, spec } => {
                self.workers.insert(worker, spec.clone());
                self.tell(Event::Joined { worker, spec })
            }
            Report::Left { worker, why } => {
                self.workers.remove(&worker);
                self.round.starts.retain(|&(whose, ..)| whose != worker);
                let home = self.attempts.iter().filter(|(_, given)| given.worker == worker && given.home);
                self.round.home.extend(home.map(|(&attempt, _)| Order::Cancel(attempt)));
                self.attempts.retain(|_, given| given.worker != worker);
                self.tell(Event::Left { worker, why })
            }
            Report::Started { attempt, slot } => self.tell_of(attempt, Event::Started { attempt, slot }),
            Report::Reached { attempt, step } => self.tell_of(attempt, Event::Reached { attempt, step }),
            Report::Cut { attempt, task } => self.tell_of(attempt, Event::Cut { attempt, task }),
            Report::Ended(ended) => self.settle(ended),
            Report::Log { worker, ticket, events } => {
                self.job.office.logged(worker, &events)?;
                self.round.orders.entry(worker).or_default().push(Order::Logged(ticket));
                Ok(())
            }
            Report::Spent { .. } => Ok(()),
        }
    }

    /// Tells the scheduler something of an attempt, if anybody still has it.
    fn tell_of(&mut self, attempt: AttemptId, event: Event) -> Result<(), Failure> {
        match self.attempts.contains_key(&attempt) {
            true => self.tell(event),
            false => Ok(()),
        }
    }

    /// Gives the scheduler an event and notes its commands.
    fn tell(&mut self, event: Event) -> Result<(), Failure> {
        let now_ms = self.begun.elapsed().as_millis() as u64;
        let commands = self.job.scheduler.handle(now_ms, event.clone());
        self.job.observer.after(self.job.scheduler, &event, &commands);
        let mut never_sent = Vec::new();
        for command in commands {
            match command {
                Command::Start { worker, attempt, task, purpose } => {
                    self.round.starts.push((worker, attempt, task, purpose));
                }
                Command::Cut { worker, attempt } => self.order(worker, attempt, Order::Cut(attempt)),
                Command::Cancel { worker, attempt } => {
                    if let Some(given) = self.attempts.get_mut(&attempt) {
                        given.cancelled = true;
                    }
                    let before = self.round.starts.len();
                    self.round.starts.retain(|&(_, start, ..)| start != attempt);
                    if self.round.starts.len() < before {
                        never_sent.push(attempt);
                    }
                    self.order(worker, attempt, Order::Cancel(attempt));
                }
                Command::Forget(task) => {
                    self.cache.remove(task);
                    self.round.commits.insert(task, None);
                    self.job.office.forgotten(task);
                }
                Command::DropSample { sample, reason } => {
                    let failure = self.failures.iter().find(|(task, _)| task.sample() == Some(sample));
                    self.job.office.dropped(
                        sample,
                        reason,
                        failure.map(|(task, failure)| (*task, failure)),
                    )?;
                    self.failures.retain(|(task, _)| task.sample() != Some(sample));
                }
                // The observer saw it, and the scheduler gives it nothing more.
                Command::Quarantine { .. } => {}
                Command::End(ending) => self.round.ending = Some(ending),
            }
        }
        // Nobody else will say that their cores are free.
        never_sent.into_iter().try_for_each(|attempt| self.tell(unsent(attempt)))
    }

    fn order(&mut self, worker: WorkerId, attempt: AttemptId, order: Order) {
        match self.attempts.get(&attempt) {
            Some(given) if given.home => self.round.home.push(order),
            Some(_) => self.round.orders.entry(worker).or_default().push(order),
            None => {}
        }
    }

    /// Takes an attempt's end: an output to be committed, or a failure.
    fn settle(&mut self, ended: Ended) -> Result<(), Failure> {
        // Of an attempt that was moved elsewhere nobody wants to hear.
        let Some(given) = self.attempts.remove(&ended.attempt) else { return Ok(()) };
        self.cpu_ms += ended.usage.cpu_ms;
        let Ended { attempt, task, result, usage } = ended;
        match result {
            Ok(output) => match self.check(&given, attempt, task, &output) {
                Ok(commits) => self.done(&given, attempt, task, (output, usage), commits),
                Err(failure) => {
                    let foul = matches!(failure.class(), Class::Integrity | Class::Partial);
                    self.failed(&given, attempt, failure.into(), usage)?;
                    match foul {
                        true => self.tell(Event::Distrust { worker: given.worker }),
                        false => Ok(()),
                    }
                }
            },
            Err(failure) => self.failed(&given, attempt, failure, usage),
        }
    }

    /// Whether an output is to be committed; an error if it is not what it should be.
    fn check(&self, given: &Given, attempt: AttemptId, task: Task, output: &Output) -> Result<bool, Failure> {
        let commits = self.job.scheduler.commits(attempt);
        let of_given = given.task == task || task.steps().is_some_and(|steps| given.task.over(steps) == task);
        if !of_given || commits.is_some_and(|expected| expected != task) {
            let (task, found) = (given.task.key(&self.names), task.key(&self.names));
            return Err(DriveError::Foreign { task, found }.into());
        }
        if commits.is_some() {
            self.job.office.place(task, output)?;
        }
        Ok(commits.is_some())
    }

    fn done(
        &mut self,
        given: &Given,
        attempt: AttemptId,
        task: Task,
        (output, usage): (Output, Usage),
        commits: bool,
    ) -> Result<(), Failure> {
        let commit = Commit {
            attempt: given.number,
            pieces: output.pieces.clone(),
            summary: output.summary.clone(),
            basis: self.job.office.basis(task),
            content: output.content,
            cpu_ms: usage.cpu_ms,
            started_ms: usage.started_ms,
            finished_ms: usage.finished_ms,
            worker: given.worker.0,
            slot: usage.slot,
            site: self.workers.get(&given.worker).map_or(0, |spec| spec.site),
            bytes_in: usage.bytes_in,
        };
        let facts = self.job.office.facts_of(task, &commit);
        if commits {
            self.round.outputs.push((task, given.number, output));
            self.round.commits.insert(task, Some(commit));
            self.tasks_run += 1;
            self.failures.retain(|(failed, _)| *failed != given.task);
        }
        self.tell(Event::Done { attempt, facts, usage })
    }

    fn failed(
        &mut self,
        given: &Given,
        attempt: AttemptId,
        failure: TaskFailure,
        usage: Usage,
    ) -> Result<(), Failure> {
        let (class, exhausted, damaged) = (failure.class, failure.exhausted, failure.damaged);
        if !given.cancelled {
            self.failures.push((given.task, failure));
        }
        if class == Class::Policy && given.task.sample().is_none() {
            for sample in self.job.office.denied(given.task) {
                self.tell(Event::Denied { sample })?;
            }
        }
        self.tell(Event::Failed { attempt, class, exhausted, damaged, usage })
    }

    /// Makes the round durable and sends its orders.
    fn flush(&mut self) -> Result<(), Failure> {
        while !(self.round.commits.is_empty() && self.round.starts.is_empty()) {
            let starts = take(&mut self.round.starts);
            let numbers = self.write(&starts)?;
            self.start(&starts, &numbers)?;
        }
        if let Some(home) = &self.job.home {
            take(&mut self.round.home).into_iter().for_each(|order| home.take(order));
        }
        for (worker, orders) in take(&mut self.round.orders) {
            if let Some(engine) = self.job.engines.get_mut(usize::from(worker.engine())) {
                engine.give(worker, orders)?;
            }
        }
        Ok(())
    }

    /// One transaction: commits, what counts no more, and the attempts that begin, whose numbers it gives.
    fn write(&mut self, starts: &[(WorkerId, AttemptId, Task, Purpose)]) -> Result<Vec<u32>, Failure> {
        let outputs = take(&mut self.round.outputs);
        let told: Vec<Committing<'_>> = outputs
            .iter()
            .filter(|(task, ..)| matches!(self.round.commits.get(task), Some(Some(_))))
            .map(|(task, number, output)| Committing { task: *task, number: *number, output })
            .collect();
        if !told.is_empty() {
            self.job.office.committing(&told)?;
        }
        let changed = take(&mut self.round.commits);
        let keys: Vec<String> = changed.keys().map(|task| task.key(&self.names)).collect();
        let begun: Vec<String> = starts.iter().map(|(_, _, task, _)| task.key(&self.names)).collect();
        let mut commits = Vec::new();
        let mut forgotten = Vec::new();
        for (key, commit) in keys.iter().zip(changed.values()) {
            match commit {
                Some(commit) => commits.push((key.as_str(), commit)),
                None => forgotten.push(key.as_str()),
            }
        }
        let attempts: Vec<&str> = begun.iter().map(String::as_str).collect();
        let changes = Changes { commits: &commits, attempts: &attempts, forgotten: &forgotten };
        let numbers = self.job.journal.apply(&changes)?;
        for (task, commit) in changed {
            if let Some(commit) = commit {
                self.cache.insert(task, Arc::new(self.job.office.told(task, commit)));
            }
        }
        Ok(numbers)
    }

    /// Leases attempts and notes them as orders; one that is refused has failed.
    fn start(
        &mut self,
        starts: &[(WorkerId, AttemptId, Task, Purpose)],
        numbers: &[u32],
    ) -> Result<(), Failure> {
        let office = self.job.office;
        let inputs: Vec<Vec<Task>> = starts
            .iter()
            .map(|&(_, _, task, _)| office.inputs(task, self.job.scheduler.inputs(task)))
            .collect();
        let homes: Vec<bool> = starts
            .iter()
            .map(|&(worker, _, task, _)| self.job.home.is_some() && office.at_home(task, worker))
            .collect();
        let asked: Vec<Leasing<'_>> = (0..starts.len())
            .map(|at| {
                let (worker, _, task, _) = starts[at];
                let site = self.site_of(worker).map_or("", |site| site.name.as_str());
                let engine = self.job.engines.get(usize::from(worker.engine()));
                Leasing {
                    task,
                    number: numbers[at],
                    site: (!homes[at]).then_some(site),
                    worker: self.workers.get(&worker).map_or("", |spec| spec.name.as_str()),
                    logs_here: homes[at] || engine.is_some_and(|engine| engine.logs_here()),
                }
            })
            .collect();
        let leases = match asked.is_empty() {
            true => Vec::new(),
            false => office.lease(&asked)?,
        };
        for (at, &(worker, attempt, task, _)) in starts.iter().enumerate() {
            let given = Given { task, number: numbers[at], worker, home: homes[at], cancelled: false };
            self.attempts.insert(attempt, given);
        }
        for (at, lease) in leases.into_iter().enumerate() {
            let ((worker, attempt, task, purpose), number, home) = (starts[at], numbers[at], homes[at]);
            // It may have been cancelled for another whose lease was refused, or lost an input since it was decided upon.
            let holds = self.job.scheduler.has_inputs(task);
            let given = match self.attempts.remove(&attempt) {
                Some(given) if given.cancelled || !holds => {
                    self.tell(unsent(attempt))?;
                    continue;
                }
                Some(given) => given,
                None => continue,
            };
            // A bundle of which nothing is left is still given, so that it ends.
            let orders = self.round.orders.entry(worker).or_default();
            let inputs_of = |task| self.job.scheduler.inputs(task);
            match lease.and_then(|lease| Ok((lease, office.preface(task, &inputs_of)?))) {
                Err(refused) => self.failed(&given, attempt, refused.into(), Usage::default())?,
                Ok((lease, preface)) => {
                    let fetch = |missing: &[Task]| self.job.fetch(&self.names, missing);
                    let mut inputs = self.cache.list(task, &inputs[at], fetch)?;
                    if let Some(preface) = preface {
                        Arc::make_mut(&mut inputs).insert(0, (task, preface));
                    }
                    let request = Request { attempt, number, task, purpose, lease, inputs };
                    match home {
                        true => self.round.home.push(Order::Run(request)),
                        false => orders.push(Order::Run(request)),
                    }
                    self.attempts.insert(attempt, given);
                }
            }
        }
        Ok(())
    }

    fn site_of(&self, worker: WorkerId) -> Option<&SiteSpec> {
        self.sites.get(usize::from(self.workers.get(&worker)?.site))
    }
}

/// An attempt that no worker was given.
fn unsent(attempt: AttemptId) -> Event {
    let usage = Usage::default();
    Event::Failed { attempt, class: Class::Interrupted, exhausted: None, damaged: None, usage }
}
