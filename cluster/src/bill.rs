//! The bill: what every core-millisecond of every worker went to.
//!
//! Invariant: whatever happens in whatever order, uses and idle causes sum to the allocation, which is the slots of each
//! worker times the wall from its joining to its leaving. A slot is held by one attempt at a time; nobody's time is
//! anybody else's. A bundle in a batch system is paid for when it is over, by its own clock: from the start of its first
//! attempt to the end of its last. Fed with the scheduler's own events and commands, of a live job or of a simulated one;
//! knows no clock. An event costs time in proportion to the sites, never to the workers.

pub mod wave;

use crate::engine::Spending;
use jobs::task::{Stage, Task};
use scheduler::{AttemptId, Command, Event, Purpose, SiteSpec, Usage, WorkerId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// Milliseconds of an hour.
const HOUR_MS: f64 = 3_600_000.0;

/// Why a core was paid for and did nothing that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Idle {
    /// Its worker joined and had no order yet.
    StartUp,
    /// Everything ready was running; the rest lacked inputs.
    NoReadyTask,
    /// Ready tasks did not fit into the memory that was free.
    Memory,
    /// Ready tasks may not have their data where the core stands.
    Place,
    /// The rest lacked inputs, and an attempt ran far beyond what was expected of it.
    Straggler,
    /// Its site is being left, its worker is quarantined, or the job is stopping.
    Draining,
    /// An attempt without output: it failed, or its worker was lost.
    Lost,
    /// An attempt that lost a race.
    Speculation,
    /// An attempt that checked another.
    Audit,
    /// Data on its way to a bundle or from it.
    Transfer,
    /// Orders on their way, verification and commit.
    Scheduler,
}

impl Idle {
    /// Every cause, in the order in which they are shown.
    pub const ALL: [Idle; 11] = [
        Idle::StartUp,
        Idle::NoReadyTask,
        Idle::Memory,
        Idle::Place,
        Idle::Straggler,
        Idle::Draining,
        Idle::Lost,
        Idle::Speculation,
        Idle::Audit,
        Idle::Transfer,
        Idle::Scheduler,
    ];

    /// Its name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Idle::StartUp => "start_up",
            Idle::NoReadyTask => "no_ready_task",
            Idle::Memory => "memory",
            Idle::Place => "place",
            Idle::Straggler => "straggler",
            Idle::Draining => "draining",
            Idle::Lost => "lost",
            Idle::Speculation => "speculation",
            Idle::Audit => "audit",
            Idle::Transfer => "transfer",
            Idle::Scheduler => "scheduler",
        }
    }

    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Idle::StartUp => "start-up",
            Idle::NoReadyTask => "no task was ready",
            Idle::Memory => "memory was not free",
            Idle::Place => "the data may not be there",
            Idle::Straggler => "waiting for a straggler",
            Idle::Draining => "draining or stopping",
            Idle::Lost => "attempts without output",
            Idle::Speculation => "copies that lost a race",
            Idle::Audit => "audit",
            Idle::Transfer => "moving data",
            Idle::Scheduler => "orders, verification, commit",
        }
    }
}

/// What a sample's stage took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkLine {
    /// Name; `None` for what is the cohort's own.
    pub sample: Option<String>,
    /// The stage.
    pub stage: Stage,
    /// The site.
    pub site: String,
    /// Tasks committed.
    pub tasks: u64,
    /// Core time.
    pub core_ms: u64,
    /// CPU time in it; the rest of it was spent waiting for disks and memory.
    pub cpu_ms: u64,
}

/// What one cause of idleness took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdleLine {
    /// The cause.
    pub cause: Idle,
    /// The site.
    pub site: String,
    /// Core time.
    pub core_ms: u64,
}

/// What was allocated at one site.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SiteLine {
    /// The site.
    pub site: String,
    /// Slots times wall of each worker.
    pub core_ms: u64,
    /// Bytes that attempts read there.
    pub bytes_in: u64,
    /// Bytes that attempts wrote there.
    pub bytes_out: u64,
    /// Price of an hour of a core; 0 where none is configured.
    pub price_core_hour: f64,
    /// What the allocation costs.
    pub price: f64,
}

/// A bill: its lines sum to what was allocated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Account {
    /// Slots times wall of each worker.
    pub allocated_core_ms: u64,
    /// Core time of committed work.
    pub work_core_ms: u64,
    /// The rest.
    pub idle_core_ms: u64,
    /// What all of it costs; 0 where no rates are configured.
    pub price: f64,
    /// By site.
    pub sites: Vec<SiteLine>,
    /// By sample, stage and site.
    pub work: Vec<WorkLine>,
    /// By cause and site.
    pub idle: Vec<IdleLine>,
}

impl Account {
    /// Whether the lines sum to the allocation, which they always do.
    pub fn is_whole(&self) -> bool {
        let work: u64 = self.work.iter().map(|line| line.core_ms).sum();
        let idle: u64 = self.idle.iter().map(|line| line.core_ms).sum();
        let sites: u64 = self.sites.iter().map(|line| line.core_ms).sum();
        (work, idle) == (self.work_core_ms, self.idle_core_ms)
            && work + idle == self.allocated_core_ms
            && sites == self.allocated_core_ms
    }

    /// Adds another bill of the same job, such as an earlier start's. Rates stay those of `self` where both have one.
    pub fn add(&mut self, other: &Account) {
        self.allocated_core_ms += other.allocated_core_ms;
        self.work_core_ms += other.work_core_ms;
        self.idle_core_ms += other.idle_core_ms;
        self.price += other.price;
        for line in &other.sites {
            match self.sites.iter_mut().find(|one| one.site == line.site) {
                Some(one) => {
                    one.core_ms += line.core_ms;
                    one.bytes_in += line.bytes_in;
                    one.bytes_out += line.bytes_out;
                    one.price += line.price;
                }
                None => self.sites.push(line.clone()),
            }
        }
        let mut work: BTreeMap<_, (u64, u64, u64)> = BTreeMap::new();
        for line in self.work.iter().chain(&other.work) {
            // The cohort's own work stands last.
            let key = (line.sample.is_none(), line.sample.clone(), line.stage, line.site.clone());
            let sum = work.entry(key).or_default();
            *sum = (sum.0 + line.tasks, sum.1 + line.core_ms, sum.2 + line.cpu_ms);
        }
        let line = |((_, sample, stage, site), (tasks, core_ms, cpu_ms))| WorkLine {
            sample,
            stage,
            site,
            tasks,
            core_ms,
            cpu_ms,
        };
        self.work = work.into_iter().map(line).collect();
        let mut idle: BTreeMap<(Idle, String), u64> = BTreeMap::new();
        for line in self.idle.iter().chain(&other.idle) {
            *idle.entry((line.cause, line.site.clone())).or_default() += line.core_ms;
        }
        let line = |((cause, site), core_ms)| IdleLine { cause, site, core_ms };
        self.idle = idle.into_iter().map(line).collect();
    }

    /// Core time by stage, of all samples and sites.
    pub fn by_stage(&self, stage: Stage) -> u64 {
        self.work.iter().filter(|line| line.stage == stage).map(|line| line.core_ms).sum()
    }

    /// Core time by cause, of all sites.
    pub fn by_cause(&self, cause: Idle) -> u64 {
        self.idle.iter().filter(|line| line.cause == cause).map(|line| line.core_ms).sum()
    }
}

/// What the empty slots of a worker wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    StartUp,
    Ordered,
    Leaving,
    Open,
}

const STANDINGS: [Standing; 4] = [Standing::StartUp, Standing::Ordered, Standing::Leaving, Standing::Open];

#[derive(Debug, Default)]
struct SiteBook {
    name: String,
    batch: bool,
    price_core_hour: f64,
    draining: bool,
    slots: u64,
    /// Empty slots now, by [`Standing`].
    empty: [u64; 4],
    allocated_ms: u64,
    idle_ms: BTreeMap<Idle, u64>,
    bytes: (u64, u64),
}

#[derive(Debug)]
struct Desk {
    site: u16,
    /// Who holds each slot.
    held: Vec<Option<AttemptId>>,
    queued: u32,
    begun: bool,
    leaving: bool,
    bundle: Option<Bundle>,
}

/// What a bundle says of itself as its attempts end.
#[derive(Clone, Copy, Debug, Default)]
struct Bundle {
    slots: u64,
    /// First start and last end of its attempts, by its own clock.
    wall: Option<(u64, u64)>,
    /// Core time that its attempts are billed for.
    billed_ms: u64,
    /// When an attempt of it was first heard to run, by our clock.
    heard_ms: Option<u64>,
}

#[derive(Debug)]
struct Attempt {
    worker: WorkerId,
    task: Task,
    purpose: Purpose,
    cancelled: bool,
    queued: bool,
    slot: Option<usize>,
    since_ms: u64,
    /// Of slots it held and has given up.
    held_ms: u64,
}

/// Who took the time of an attempt that is over.
enum End<'a> {
    Work(&'a Usage),
    Waste(Idle, Option<&'a Usage>),
}

#[derive(Clone, Copy, Debug, Default)]
struct Work {
    tasks: u64,
    core_ms: u64,
    cpu_ms: u64,
}

/// The running total of one start of a job.
#[derive(Debug, Default)]
pub struct Bill {
    now_ms: u64,
    open: Option<Idle>,
    stopping: bool,
    sites: BTreeMap<u16, SiteBook>,
    desks: HashMap<WorkerId, Desk>,
    attempts: HashMap<AttemptId, Attempt>,
    work: BTreeMap<(Option<u32>, Stage, u16), Work>,
}

impl Bill {
    /// Takes what the scheduler was told and answered at `now_ms`. From now on, empty slots of workers that could take
    /// something wait for `open`.
    pub fn after(&mut self, now_ms: u64, event: &Event, commands: &[Command], open: Idle) {
        self.advance(now_ms);
        match event {
            Event::Site { site, spec } => self.site(*site, spec),
            Event::Drain { site, drain } => self.drain(*site, *drain),
            Event::Joined { worker, spec } => self.joined(*worker, spec.site, spec.slots),
            Event::Left { worker, .. } => self.left(*worker),
            Event::Started { attempt, slot } => self.started(*attempt, *slot as usize),
            Event::Done { attempt, usage, .. } => {
                let end = match self.attempts.get(attempt) {
                    Some(Attempt { purpose: Purpose::Audit, .. }) => End::Waste(Idle::Audit, Some(usage)),
                    Some(Attempt { cancelled: true, .. }) => End::Waste(Idle::Speculation, Some(usage)),
                    _ => End::Work(usage),
                };
                self.ended(*attempt, end);
            }
            Event::Failed { attempt, usage, .. } => {
                let cause = match self.attempts.get(attempt) {
                    Some(Attempt { cancelled: true, .. }) => Idle::Speculation,
                    _ => Idle::Lost,
                };
                self.ended(*attempt, End::Waste(cause, Some(usage)));
            }
            Event::Stop { .. } => self.stopping = true,
            Event::Committed { .. }
            | Event::Begin
            | Event::Reached { .. }
            | Event::Cut { .. }
            | Event::Distrust { .. }
            | Event::Denied { .. }
            | Event::Tick => {}
        }
        for command in commands {
            match *command {
                Command::Start { worker, attempt, task, purpose } => {
                    self.ordered(worker, attempt, task, purpose)
                }
                Command::Cancel { attempt, .. } => self.cancelled(attempt),
                Command::Quarantine { worker } => self.edit(worker, |desk| desk.leaving = true),
                Command::Cut { .. } | Command::Forget(_) | Command::DropSample { .. } | Command::End(_) => {}
            }
        }
        self.open = Some(open);
    }

    /// Takes core time that a worker says went into no task. What it took before it joined was not paid for yet, and
    /// nothing of a bundle beside its attempts was; of other workers all else already is.
    pub fn spent(&mut self, now_ms: u64, worker: WorkerId, cause: Spending, core_ms: u64) {
        self.advance(now_ms);
        let Some(desk) = self.desks.get(&worker) else { return };
        let cause = match cause {
            Spending::Start => Idle::StartUp,
            Spending::Transfer => Idle::Transfer,
            Spending::Coordination => Idle::Scheduler,
        };
        if desk.bundle.is_some() || cause == Idle::StartUp {
            let book = self.sites.entry(desk.site).or_default();
            book.allocated_ms += core_ms;
            *book.idle_ms.entry(cause).or_default() += core_ms;
        }
    }

    /// Takes core time that was paid for and of which nothing is known.
    fn lose(&mut self, site: u16, core_ms: u64) {
        let book = self.sites.entry(site).or_default();
        book.allocated_ms += core_ms;
        *book.idle_ms.entry(Idle::Lost).or_default() += core_ms;
    }

    /// The bill as it stands at `now_ms`. Attempts that run are paid by those they will be paid by if they end well.
    /// `samples` are the names by number.
    pub fn account(&mut self, now_ms: u64, samples: &[String]) -> Account {
        self.advance(now_ms);
        let mut work = self.work.clone();
        let mut idle: BTreeMap<(u16, Idle), u64> = BTreeMap::new();
        for (&site, book) in &self.sites {
            book.idle_ms.iter().for_each(|(&cause, &ms)| *idle.entry((site, cause)).or_default() += ms);
        }
        for attempt in self.attempts.values() {
            let Some(desk) = self.desks.get(&attempt.worker) else { continue };
            let held_ms = attempt.held_ms + attempt.slot.map_or(0, |_| self.now_ms - attempt.since_ms);
            match waste(attempt) {
                Some(cause) => *idle.entry((desk.site, cause)).or_default() += held_ms,
                None => work.entry(line_of(attempt.task, desk.site)).or_default().core_ms += held_ms,
            }
        }
        let name = |site: u16| self.sites.get(&site).map(|book| book.name.clone()).unwrap_or_default();
        let sites: Vec<SiteLine> = self
            .sites
            .values()
            .filter(|book| book.allocated_ms > 0)
            .map(|book| SiteLine {
                site: book.name.clone(),
                core_ms: book.allocated_ms,
                bytes_in: book.bytes.0,
                bytes_out: book.bytes.1,
                price_core_hour: book.price_core_hour,
                price: book.allocated_ms as f64 / HOUR_MS * book.price_core_hour,
            })
            .collect();
        let mut account = Account {
            allocated_core_ms: sites.iter().map(|line| line.core_ms).sum(),
            work_core_ms: work.values().map(|line| line.core_ms).sum(),
            idle_core_ms: idle.values().sum(),
            price: sites.iter().map(|line| line.price).sum(),
            sites,
            ..Account::default()
        };
        account.work = work
            .into_iter()
            .filter(|(_, line)| line.core_ms > 0 || line.tasks > 0)
            .map(|((sample, stage, site), line)| WorkLine {
                sample: sample.map(|sample| samples.get(sample as usize).cloned().unwrap_or_default()),
                stage,
                site: name(site),
                tasks: line.tasks,
                core_ms: line.core_ms,
                cpu_ms: line.cpu_ms,
            })
            .collect();
        // The cohort's own work stands last.
        account.work.sort_by_key(|line| line.sample.is_none());
        let lines = idle.into_iter().filter(|(_, ms)| *ms > 0);
        account.idle =
            lines.map(|((site, cause), core_ms)| IdleLine { cause, site: name(site), core_ms }).collect();
        account
    }

    /// Pays for the time until now.
    fn advance(&mut self, now_ms: u64) {
        let passed = now_ms.saturating_sub(self.now_ms);
        if passed == 0 {
            return;
        }
        self.now_ms = now_ms;
        let open = if self.stopping { Idle::Draining } else { self.open.unwrap_or(Idle::StartUp) };
        for book in self.sites.values_mut() {
            book.allocated_ms += book.slots * passed;
            for (standing, slots) in STANDINGS.into_iter().zip(book.empty).filter(|(_, slots)| *slots > 0) {
                let cause = match standing {
                    Standing::StartUp => Idle::StartUp,
                    Standing::Ordered => Idle::Scheduler,
                    Standing::Leaving => Idle::Draining,
                    Standing::Open => open,
                };
                *book.idle_ms.entry(cause).or_default() += slots * passed;
            }
        }
    }

    fn site(&mut self, site: u16, spec: &SiteSpec) {
        let book = self.sites.entry(site).or_default();
        book.name.clone_from(&spec.name);
        book.batch = spec.bundles.is_some();
        book.price_core_hour = spec.price_core_hour;
    }

    fn drain(&mut self, site: u16, drain: bool) {
        self.sites.entry(site).or_default().draining = drain;
        let there: Vec<WorkerId> =
            self.desks.iter().filter(|(_, desk)| desk.site == site).map(|(&worker, _)| worker).collect();
        there.into_iter().for_each(|worker| self.edit(worker, |desk| desk.leaving = drain));
    }

    fn joined(&mut self, worker: WorkerId, site: u16, slots: u32) {
        let book = self.sites.entry(site).or_default();
        let bundle = book.batch.then(|| Bundle { slots: u64::from(slots), ..Bundle::default() });
        // The slots of a bundle are not there while it waits in a queue.
        let held = vec![None; if book.batch { 0 } else { slots as usize }];
        book.slots += held.len() as u64;
        let desk = Desk { site, held, queued: 0, begun: false, leaving: book.draining, bundle };
        count(book, &desk, true);
        self.desks.insert(worker, desk);
    }

    fn left(&mut self, worker: WorkerId) {
        let theirs = self.attempts.iter().filter(|(_, attempt)| attempt.worker == worker);
        let mut theirs: Vec<AttemptId> = theirs.map(|(&id, _)| id).collect();
        theirs.sort_unstable();
        for attempt in theirs {
            self.ended(attempt, End::Waste(Idle::Lost, None));
        }
        if let Some(desk) = self.desks.remove(&worker) {
            let book = self.sites.entry(desk.site).or_default();
            count(book, &desk, false);
            book.slots -= desk.held.len() as u64;
            if let Some(bundle) = desk.bundle {
                bundle.settle(book, self.now_ms);
            }
        }
    }

    fn ordered(&mut self, worker: WorkerId, id: AttemptId, task: Task, purpose: Purpose) {
        if !self.desks.contains_key(&worker) {
            return;
        }
        self.edit(worker, |desk| desk.queued += 1);
        let attempt = Attempt {
            worker,
            task,
            purpose,
            cancelled: false,
            queued: true,
            slot: None,
            since_ms: self.now_ms,
            held_ms: 0,
        };
        self.attempts.insert(id, attempt);
    }

    fn started(&mut self, id: AttemptId, slot: usize) {
        let Some(attempt) = self.attempts.get(&id).filter(|attempt| attempt.slot.is_none()) else { return };
        let (worker, queued) = (attempt.worker, attempt.queued);
        let Some(desk) = self.desks.get_mut(&worker) else { return };
        if let Some(bundle) = &mut desk.bundle {
            bundle.heard_ms.get_or_insert(self.now_ms);
        }
        // A slot that a worker does not have is somebody's who has none.
        let slot =
            if slot < desk.held.len() { Some(slot) } else { desk.held.iter().position(Option::is_none) };
        // Its next attempt can be heard of before the end of the last, which is still being committed.
        if let Some(before) = slot.and_then(|slot| desk.held[slot])
            && let Some(before) = self.attempts.get_mut(&before)
        {
            before.held_ms += self.now_ms - before.since_ms;
            before.slot = None;
        }
        self.edit(worker, |desk| {
            desk.begun = true;
            desk.queued -= u32::from(queued);
            if let Some(slot) = slot {
                desk.held[slot] = Some(id);
            }
        });
        if let Some(attempt) = self.attempts.get_mut(&id) {
            (attempt.queued, attempt.slot, attempt.since_ms) = (false, slot, self.now_ms);
        }
    }

    fn cancelled(&mut self, id: AttemptId) {
        let Some(attempt) = self.attempts.get_mut(&id) else { return };
        attempt.cancelled = true;
        if std::mem::take(&mut attempt.queued) {
            let worker = attempt.worker;
            self.edit(worker, |desk| desk.queued -= 1);
        }
    }

    fn ended(&mut self, id: AttemptId, end: End<'_>) {
        let Some(attempt) = self.attempts.remove(&id) else { return };
        self.edit(attempt.worker, |desk| {
            desk.queued -= u32::from(attempt.queued);
            if let Some(slot) = attempt.slot {
                desk.held[slot] = None;
            }
        });
        let Some(desk) = self.desks.get_mut(&attempt.worker) else { return };
        let site = desk.site;
        let book = self.sites.entry(site).or_default();
        let usage = match &end {
            End::Work(usage) => Some(*usage),
            End::Waste(_, usage) => *usage,
        };
        if let Some(usage) = usage {
            book.bytes.0 += usage.bytes_in;
            book.bytes.1 += usage.bytes_out;
        }
        let held_ms = match &mut desk.bundle {
            Some(bundle) => usage.map_or(0, |usage| bundle.took(usage)),
            None => attempt.held_ms + attempt.slot.map_or(0, |_| self.now_ms - attempt.since_ms),
        };
        if desk.bundle.is_some() {
            book.allocated_ms += held_ms;
        }
        match end {
            End::Waste(cause, _) => *book.idle_ms.entry(cause).or_default() += held_ms,
            End::Work(usage) => {
                // What is beyond the worker's own measure is verification and commit.
                let core_ms = held_ms.min(usage.finished_ms.saturating_sub(usage.started_ms));
                *book.idle_ms.entry(Idle::Scheduler).or_default() += held_ms - core_ms;
                let line = self.work.entry(line_of(attempt.task, site)).or_default();
                line.tasks += 1;
                line.core_ms += core_ms;
                line.cpu_ms += usage.cpu_ms;
            }
        }
    }

    /// Changes a worker and moves its empty slots to what they wait for now.
    fn edit(&mut self, worker: WorkerId, change: impl FnOnce(&mut Desk)) {
        let Some(desk) = self.desks.get_mut(&worker) else { return };
        let book = self.sites.entry(desk.site).or_default();
        count(book, desk, false);
        change(desk);
        count(book, desk, true);
    }
}

impl Bundle {
    /// The core time of one attempt.
    fn took(&mut self, usage: &Usage) -> u64 {
        let end = usage.finished_ms.max(usage.started_ms);
        let (from, to) = self.wall.unwrap_or((usage.started_ms, end));
        self.wall = Some((from.min(usage.started_ms), to.max(end)));
        self.billed_ms += end - usage.started_ms;
        end - usage.started_ms
    }

    /// Pays for the whole bundle. One that is lost without a word is paid for as long as it was seen to run.
    fn settle(self, book: &mut SiteBook, now_ms: u64) {
        let (wall_ms, cause) = match self.wall {
            Some((from, to)) => (to - from, Idle::NoReadyTask),
            None => (self.heard_ms.map_or(0, |heard| now_ms - heard), Idle::Lost),
        };
        let allocated_ms = (self.slots * wall_ms).max(self.billed_ms);
        // What its attempts took is allocated already.
        book.allocated_ms += allocated_ms - self.billed_ms;
        *book.idle_ms.entry(cause).or_default() += allocated_ms - self.billed_ms;
    }
}

fn line_of(task: Task, site: u16) -> (Option<u32>, Stage, u16) {
    (task.sample(), task.stage(), site)
}

/// What an attempt's time is lost to, even if it ends well.
fn waste(attempt: &Attempt) -> Option<Idle> {
    match attempt.purpose {
        Purpose::Audit => Some(Idle::Audit),
        Purpose::Work | Purpose::Copy => attempt.cancelled.then_some(Idle::Speculation),
    }
}

/// Puts a worker's empty slots among those of its site, or takes them away.
fn count(book: &mut SiteBook, desk: &Desk, add: bool) {
    let empty = desk.held.iter().filter(|slot| slot.is_none()).count() as u64;
    let ordered = if desk.begun { empty.min(u64::from(desk.queued)) } else { 0 };
    let rest = match desk {
        Desk { leaving: true, .. } => Standing::Leaving,
        Desk { begun: false, .. } => Standing::StartUp,
        Desk { .. } => Standing::Open,
    };
    for (standing, slots) in [(Standing::Ordered, ordered), (rest, empty - ordered)] {
        let place = &mut book.empty[standing as usize];
        *place = if add { *place + slots } else { *place - slots };
    }
}

#[cfg(test)]
mod tests;
