//! The world around a scheduler: its own clock, a queue of what will happen, the coordinator's journal and its line to the
//! workers.
//!
//! Invariant: deterministic. The same cohort, scenario and scheduler give the same run, event for event; no clock of the
//! machine is read but to measure the scheduler itself, which changes nothing.

use super::cohort::Cohort;
use super::dice::{Dice, Topic};
use super::floor::{Ended, Floor, Later, Order, Outcome, Report, Step, Traits};
use super::referee::Referee;
use super::scenario::Scenario;
use super::trace::{Fate, Trace};
use jobs::failure::Class;
use jobs::task::Task;
use rustix::time::{ClockId, clock_gettime};
use scheduler::{
    AttemptId, BundleLimits, Command, Departure, Ending, Event, Facts, MemoryModel, Purpose, Scheduler,
    SiteSpec, Usage, WorkerId, WorkerSpec,
};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Whatever decides: the scheduler, or one it is compared with.
pub trait Mind {
    /// Takes one event and answers with what to do.
    fn handle(&mut self, now_ms: u64, event: Event) -> Vec<Command>;
    /// As what the output of an attempt is to be committed.
    fn commits(&self, attempt: AttemptId) -> Option<Task>;
    /// The committed tasks that a task reads.
    fn inputs(&self, task: Task) -> Vec<Task>;
}

impl Mind for Scheduler {
    fn handle(&mut self, now_ms: u64, event: Event) -> Vec<Command> {
        Scheduler::handle(self, now_ms, event)
    }

    fn commits(&self, attempt: AttemptId) -> Option<Task> {
        Scheduler::commits(self, attempt)
    }

    fn inputs(&self, task: Task) -> Vec<Task> {
        Scheduler::inputs(self, task)
    }
}

/// What a run gave.
#[derive(Debug)]
pub struct Run {
    /// What happened.
    pub trace: Trace,
    /// Promises the scheduler broke, if somebody watched.
    pub broken: Vec<String>,
    /// CPU time that the scheduler itself took, in nanoseconds, if it was measured.
    pub scheduler_ns: u64,
    /// Wrong outputs that stayed committed, of tasks that somebody else can be asked to do again.
    pub wrong: u64,
    /// What the scheduler was told and answered, if it was to be written down.
    pub log: Vec<String>,
}

/// How a run is watched.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watch {
    /// Checks every promise.
    pub referee: bool,
    /// Measures the scheduler's CPU time.
    pub measure: bool,
    /// Writes down everything said.
    pub log: bool,
    /// When it has taken too long to end, in microseconds of its own clock; 0 for never.
    pub deadline_us: u64,
}

/// Runs a cohort in a scenario to its end. `make` makes the scheduler; again after each crash of the coordinator.
pub fn run<M: Mind>(
    cohort: &Cohort,
    scenario: &Scenario,
    memory: MemoryModel,
    watch: Watch,
    make: &dyn Fn() -> M,
) -> Run {
    let mut world = World::new(cohort, scenario, memory, watch, make);
    world.run();
    world.finish()
}

enum Happening {
    Arrive { wave: usize, lot: Option<u64> },
    Vanish(usize),
    Bundle(usize, Vec<(AttemptId, Task, Purpose)>),
    Order(usize, Order),
    Floor(Step),
    Deliver(Report, u32),
    Served(u32),
    Tick(u32),
    Crash,
    Restart,
    Outside(Event),
}

struct Entry {
    span: usize,
    facts: Facts,
}

struct World<'a, M> {
    cohort: &'a Cohort,
    scenario: &'a Scenario,
    memory: MemoryModel,
    dice: Dice,
    watch: Watch,
    make: &'a dyn Fn() -> M,
    mind: M,
    /// Counts the coordinator's lives; what was sent to an earlier one is lost.
    life: u32,
    up: bool,
    now_us: u64,
    clock_ms: i64,
    order: u64,
    queue: BinaryHeap<Reverse<(u64, u64, usize)>>,
    happenings: Vec<Option<Happening>>,
    free: Vec<usize>,
    floor: Floor<'a>,
    ordinals: BTreeMap<WorkerId, usize>,
    /// By worker: its wave, whether it is a bundle nobody has filled, when its last message arrived.
    waves: Vec<usize>,
    offered: Vec<bool>,
    heard_us: Vec<u64>,
    inbox: Vec<Report>,
    serving: Vec<Report>,
    busy: bool,
    journal: BTreeMap<Task, Entry>,
    /// Why attempts were made that do more than the work.
    purposes: BTreeMap<AttemptId, Purpose>,
    referee: Option<Referee>,
    messages: u64,
    events: u64,
    scheduler_ns: u64,
    ending: Option<Ending>,
    log: Vec<String>,
}

impl<'a, M: Mind> World<'a, M> {
    fn new(
        cohort: &'a Cohort,
        scenario: &'a Scenario,
        memory: MemoryModel,
        watch: Watch,
        make: &'a dyn Fn() -> M,
    ) -> Self {
        World {
            cohort,
            scenario,
            memory,
            dice: Dice::new(scenario.seed),
            watch,
            make,
            mind: make(),
            life: 0,
            up: false,
            now_us: 0,
            clock_ms: 0,
            order: 0,
            queue: BinaryHeap::new(),
            happenings: Vec::new(),
            free: Vec::new(),
            floor: Floor::new(cohort, scenario),
            ordinals: BTreeMap::new(),
            waves: Vec::new(),
            offered: Vec::new(),
            heard_us: Vec::new(),
            inbox: Vec::new(),
            serving: Vec::new(),
            busy: false,
            journal: BTreeMap::new(),
            purposes: BTreeMap::new(),
            referee: watch.referee.then(|| Referee::new(cohort.plan(memory))),
            messages: 0,
            events: 0,
            scheduler_ns: 0,
            ending: None,
            log: Vec::new(),
        }
    }

    fn run(&mut self) {
        let faults = &self.scenario.faults;
        for (wave, spec) in self.scenario.waves.iter().enumerate() {
            let workers = match self.scenario.sites[spec.site as usize].batch {
                Some(batch) => batch.bundles_max,
                None => spec.workers,
            };
            for worker in 0..u64::from(workers) {
                // One worker of each wave is sound, so that every job can end.
                let lot = (worker > 0).then_some((wave as u64) << 32 | worker);
                self.at(spec.at_us, Happening::Arrive { wave, lot });
            }
        }
        faults.crashes_us.iter().for_each(|&at| self.at(at, Happening::Crash));
        for &(at, site) in &faults.drains {
            self.at(at, Happening::Outside(Event::Drain { site, drain: true }));
        }
        for &(at, sample) in &faults.denials {
            self.at(at, Happening::Outside(Event::Denied { sample }));
        }
        self.begin();
        while let Some(Reverse((at, _, slot))) = self.queue.pop() {
            self.now_us = at;
            let happening = self.happenings[slot].take().expect("what is queued is there");
            self.free.push(slot);
            self.happen(happening);
            let late = self.watch.deadline_us > 0 && at > self.watch.deadline_us;
            if self.ending.is_some() || late {
                return;
            }
        }
    }

    /// Something will happen.
    fn at(&mut self, at_us: u64, happening: Happening) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.happenings.push(None);
            self.happenings.len() - 1
        });
        self.happenings[slot] = Some(happening);
        self.order += 1;
        self.queue.push(Reverse((at_us, self.order, slot)));
    }

    fn happen(&mut self, happening: Happening) {
        let mut later = Vec::new();
        match happening {
            Happening::Arrive { wave, lot } => self.arrive(wave, lot),
            Happening::Vanish(worker) => {
                if self.floor.is_alive(worker) {
                    self.floor.vanish(self.now_us, worker);
                    let site = self.floor.site_of(worker);
                    let known_us = self.now_us + self.scenario.sites[site].detect_us;
                    let id = WorkerId::new(site as u8, worker as u32);
                    self.at(known_us, Happening::Deliver(Report::Left(id, Departure::Lost), self.life));
                }
            }
            Happening::Bundle(worker, attempts) => {
                let batch = self.scenario.sites[self.floor.site_of(worker)].batch;
                self.floor.begin_bundle(
                    self.now_us,
                    worker,
                    batch.map_or(u64::MAX / 2, |batch| batch.wall_us),
                );
                for (attempt, task, purpose) in attempts {
                    self.floor.take(self.now_us, worker, Order::Run(attempt, task, purpose), &mut later);
                }
            }
            Happening::Order(worker, order) => self.floor.take(self.now_us, worker, order, &mut later),
            Happening::Floor(step) => self.floor.step(self.now_us, step, &mut later),
            Happening::Deliver(report, life) if life == self.life && self.up => {
                self.inbox.push(report);
                self.serve();
            }
            Happening::Served(life) if life == self.life && self.up => {
                self.busy = false;
                for report in std::mem::take(&mut self.serving) {
                    self.hear(report);
                }
                self.serve();
            }
            Happening::Tick(life) if life == self.life && self.up => {
                self.tell(Event::Tick);
                self.at(self.now_us + self.scenario.coordinator.tick_us, Happening::Tick(life));
            }
            Happening::Outside(event) if self.up => self.tell(event),
            Happening::Crash => self.crash(),
            Happening::Restart => self.begin(),
            Happening::Deliver(..) | Happening::Served(_) | Happening::Tick(_) | Happening::Outside(_) => {}
        }
        for (at, thing) in later {
            match thing {
                Later::Step(step) => self.at(at, Happening::Floor(step)),
                Later::Say(worker, report) => self.send(at, worker, report),
            }
        }
    }

    /// A report starts its way. Of one worker, later words do not overtake earlier ones.
    fn send(&mut self, at_us: u64, worker: usize, report: Report) {
        let faults = &self.scenario.faults;
        self.messages += 1;
        let site = &self.scenario.sites[self.floor.site_of(worker)];
        let mut arrives = at_us + site.latency_us;
        if self.dice.happens(faults.late, Topic::Message, self.messages, 0) {
            arrives += self.dice.within(Topic::Message, self.messages, 1, 0, faults.late_us);
        }
        arrives = arrives.max(self.heard_us[worker]);
        self.heard_us[worker] = arrives;
        if self.dice.happens(faults.doubled, Topic::Message, self.messages, 2) {
            self.at(arrives + site.latency_us, Happening::Deliver(report.clone(), self.life));
        }
        self.at(arrives, Happening::Deliver(report, self.life));
    }

    /// A worker comes. Without a lot it is sound: nothing happens to it.
    fn arrive(&mut self, wave: usize, lot: Option<u64>) {
        let (spec, faults) = (self.scenario.waves[wave], &self.scenario.faults);
        let batch = self.scenario.sites[spec.site as usize].batch;
        let traits = lot.map_or(Traits::SOUND, |lot| Traits {
            speed: if self.drawn(faults.slow, Topic::Speed, lot) { faults.slow_speed } else { 1.0 },
            lies: self.drawn(faults.lying, Topic::Lie, lot),
            damages: self.drawn(faults.damaged, Topic::Damage, lot),
        });
        let (worker, id) = self.floor.appear(self.now_us, spec.site as usize, spec.slots, traits);
        self.ordinals.insert(id, worker);
        self.waves.push(wave);
        self.offered.push(batch.is_some());
        self.heard_us.push(0);
        let joined = WorkerSpec {
            site: spec.site,
            slots: spec.slots,
            memory_bytes: spec.memory_bytes,
            name: format!("w{worker}"),
        };
        self.send(self.now_us, worker, Report::Joined(id, joined));
        let Some(lot) = lot.filter(|_| batch.is_none()) else { return };
        let lost_us = self.now_us + self.dice.within(Topic::Loss, lot, 1, 0, faults.horizon_us);
        if self.drawn(faults.killed, Topic::Loss, lot) {
            self.at(lost_us, Happening::Vanish(worker));
        } else if self.drawn(faults.reclaimed, Topic::Reclaim, lot) {
            self.at(lost_us, Happening::Vanish(worker));
            // Who comes in place of another stays; else nobody could say how many are lost.
            self.at(lost_us + faults.cold_start_us.max(1), Happening::Arrive { wave, lot: None });
        }
    }

    /// Whether a lot is among the stated share of its wave: exactly so many are, whatever the seed.
    fn drawn(&self, share: f64, topic: Topic, lot: u64) -> bool {
        if share <= 0.0 {
            return false;
        }
        let (wave, mine) = (lot >> 32, self.dice.bits(topic, lot, 0));
        let workers = u64::from(self.scenario.waves[wave as usize].workers);
        let before =
            (1..workers).filter(|worker| self.dice.bits(topic, wave << 32 | worker, 0) < mine).count();
        before < (share * workers as f64).round() as usize
    }

    /// The coordinator takes up what lies in its inbox, if it has nothing else to do.
    fn serve(&mut self) {
        if self.busy || self.inbox.is_empty() {
            return;
        }
        let coordinator = &self.scenario.coordinator;
        self.serving = std::mem::take(&mut self.inbox);
        let mut took = self.serving.len() as u64 * coordinator.message_us;
        let outputs = |report: &Report| match report {
            Report::Ended(ended) if matches!(ended.result, Outcome::Done(_)) => {
                Some((ended.worker, ended.usage))
            }
            _ => None,
        };
        let outputs: Vec<(WorkerId, Usage)> = self.serving.iter().filter_map(outputs).collect();
        if !outputs.is_empty() {
            took += coordinator.sync_us + outputs.len() as u64 * coordinator.output_us;
        }
        for (worker, usage) in outputs {
            if self.scenario.sites[worker.engine() as usize].through_coordinator {
                took += (usage.bytes_out as f64 / coordinator.bytes_per_second as f64 * 1e6) as u64;
            }
        }
        self.busy = true;
        self.at(self.now_us + took, Happening::Served(self.life));
    }

    /// The scheduler begins, or begins again from the journal.
    fn begin(&mut self) {
        self.up = true;
        let sites = self.scenario.sites.iter().zip(0u16..).map(|(site, number)| {
            let samples = self.cohort.spec().samples;
            let bundles = site.batch.map(|batch| BundleLimits {
                bundles_max: batch.bundles_max,
                bundle_ms: batch.bundle_us / 1000,
            });
            let spec = SiteSpec {
                name: format!("site-{number}"),
                price_core_hour: site.price_core_hour,
                latency_ms: site.batch.map_or(site.latency_us, |batch| batch.queue_us).div_ceil(1000),
                bytes_per_second: site.worker_bytes_per_second,
                bundles,
                allowed: (0..samples).map(|sample| !site.forbidden.contains(&sample)).collect(),
                stages: site.stages,
            };
            Event::Site { site: number, spec }
        });
        let committed =
            self.journal.iter().map(|(&task, entry)| Event::Committed { task, facts: entry.facts.clone() });
        // What was said while nobody listened, or to an earlier life, is asked again by whoever begins a job.
        let faults = &self.scenario.faults;
        let denied = faults.denials.iter().filter(|(at, _)| *at <= self.now_us);
        let denied = denied.map(|&(_, sample)| Event::Denied { sample });
        let drained = faults.drains.iter().filter(|(at, _)| *at <= self.now_us);
        let drained = drained.map(|&(_, site)| Event::Drain { site, drain: true });
        let events: Vec<Event> =
            committed.chain(sites).chain(drained).chain([Event::Begin]).chain(denied).collect();
        events.into_iter().for_each(|event| self.tell(event));
        self.at(self.now_us + self.scenario.coordinator.tick_us, Happening::Tick(self.life));
    }

    /// The coordinator is killed, and with it, as with one rank of an MPI world, everybody.
    fn crash(&mut self) {
        let alive: Vec<usize> = (0..self.waves.len()).filter(|&worker| self.floor.is_alive(worker)).collect();
        self.floor.vanish_all(self.now_us);
        self.mind = (self.make)();
        self.life += 1;
        self.up = false;
        self.busy = false;
        self.inbox.clear();
        self.serving.clear();
        self.purposes.clear();
        let back_us = self.now_us + self.scenario.faults.restart_us;
        self.at(back_us, Happening::Restart);
        for worker in alive {
            self.at(back_us + 1, Happening::Arrive { wave: self.waves[worker], lot: None });
        }
    }

    fn hear(&mut self, report: Report) {
        match report {
            Report::Joined(worker, spec) => self.tell(Event::Joined { worker, spec }),
            Report::Left(worker, why) => {
                self.tell(Event::Left { worker, why });
                let ordinal = self.ordinals[&worker];
                // Where one bundle ended, another may be submitted.
                if !std::mem::replace(&mut self.offered[ordinal], true)
                    && self.scenario.sites[worker.engine() as usize].batch.is_some()
                {
                    self.at(self.now_us, Happening::Arrive { wave: self.waves[ordinal], lot: None });
                }
            }
            Report::Started(attempt, slot) => self.tell(Event::Started { attempt, slot }),
            Report::Reached(attempt, step) => self.tell(Event::Reached { attempt, step }),
            Report::Cut(attempt, task) => self.tell(Event::Cut { attempt, task }),
            Report::Ended(ended) => self.settle(ended),
        }
    }

    /// Commits an output, if the scheduler wants it, and tells it.
    fn settle(&mut self, ended: Ended) {
        let Ended { attempt, worker, task, span, usage, result } = ended;
        match result {
            Outcome::Done(facts) => {
                match self.mind.commits(attempt) {
                    Some(wanted) => {
                        if let Some(referee) = &mut self.referee {
                            if wanted != task {
                                referee
                                    .complain(|| format!("{wanted:?} is committed, but {task:?} was done"));
                            }
                            referee.commit(self.now_us, wanted, facts.chunks);
                        }
                        self.floor.spans[span].fate = Fate::Committed;
                        self.journal.insert(wanted, Entry { span, facts: facts.clone() });
                    }
                    None if self.floor.spans[span].fate == Fate::Failed => {
                        let purpose = self.purposes.get(&attempt);
                        let audit = purpose == Some(&Purpose::Audit);
                        self.floor.spans[span].fate = if audit { Fate::Audited } else { Fate::Beaten };
                    }
                    None => {}
                }
                self.tell(Event::Done { attempt, facts, usage });
            }
            Outcome::Unsound => {
                let failed =
                    Event::Failed { attempt, class: Class::Integrity, exhausted: None, damaged: None, usage };
                self.tell(failed);
                self.tell(Event::Distrust { worker });
            }
            Outcome::Failed { class, exhausted, damaged } => {
                let inputs = if damaged { self.mind.inputs(task) } else { Vec::new() };
                let chosen = self.dice.bits(Topic::Fate, span as u64, 3) as usize;
                let damaged = (!inputs.is_empty()).then(|| inputs[chosen % inputs.len()]);
                self.tell(Event::Failed { attempt, class, exhausted, damaged, usage });
            }
        }
    }

    /// The scheduler is told and obeyed.
    fn tell(&mut self, event: Event) {
        if self.ending.is_some() {
            return;
        }
        self.events += 1;
        let jumped: i64 =
            self.scenario.faults.jumps.iter().filter(|(at, _)| *at <= self.now_us).map(|jump| jump.1).sum();
        self.clock_ms = (self.now_us / 1000) as i64 + jumped;
        if self.watch.log {
            self.log.push(format!("{} {event:?}", self.now_us));
        }
        let before = if self.watch.measure { thread_cpu_ns() } else { 0 };
        let commands = self.mind.handle(self.clock_ms.max(0) as u64, event);
        if self.watch.measure {
            self.scheduler_ns += thread_cpu_ns() - before;
        }
        let mut bundles: BTreeMap<usize, Vec<(AttemptId, Task, Purpose)>> = BTreeMap::new();
        for command in commands {
            if self.watch.log {
                self.log.push(format!("    {command:?}"));
            }
            self.obey(command, &mut bundles);
        }
        for (worker, attempts) in bundles {
            self.offered[worker] = false;
            let queue_us =
                self.scenario.sites[self.floor.site_of(worker)].batch.map_or(0, |batch| batch.queue_us);
            self.at(self.now_us + queue_us, Happening::Bundle(worker, attempts));
        }
    }

    fn obey(&mut self, command: Command, bundles: &mut BTreeMap<usize, Vec<(AttemptId, Task, Purpose)>>) {
        match command {
            Command::Start { worker, attempt, task, purpose } => {
                let Some(&ordinal) = self.ordinals.get(&worker) else {
                    if let Some(referee) = &mut self.referee {
                        referee.complain(|| format!("{task:?} is given to {worker:?}, which never joined"));
                    }
                    return;
                };
                self.check_start(worker, task);
                if purpose != Purpose::Work {
                    self.purposes.insert(attempt, purpose);
                }
                match self.scenario.sites[worker.engine() as usize].batch {
                    Some(_) if self.offered[ordinal] => {
                        bundles.entry(ordinal).or_default().push((attempt, task, purpose));
                    }
                    Some(_) => {
                        if let Some(referee) = &mut self.referee {
                            referee.complain(|| format!("{task:?} is given to a bundle that is closed"));
                        }
                    }
                    None => self.order(ordinal, Order::Run(attempt, task, purpose)),
                }
            }
            Command::Cut { worker, attempt } => {
                self.messages += 1;
                let faults = &self.scenario.faults;
                if !self.dice.happens(faults.unanswered, Topic::Message, self.messages, 4) {
                    self.order(self.ordinals[&worker], Order::Cut(attempt));
                }
            }
            Command::Cancel { worker, attempt } => self.order(self.ordinals[&worker], Order::Cancel(attempt)),
            Command::Forget(task) => {
                if let Some(referee) = &mut self.referee {
                    referee.forget(self.now_us, task);
                }
                if let Some(entry) = self.journal.remove(&task) {
                    self.floor.spans[entry.span].fate = Fate::Forgotten;
                }
            }
            Command::DropSample { sample, .. } => {
                if let Some(referee) = &mut self.referee {
                    referee.drop_sample(sample);
                }
            }
            Command::Quarantine { worker } => {
                if let Some(referee) = &mut self.referee {
                    referee.quarantine(worker);
                }
            }
            Command::End(ending) => {
                self.ending = Some(ending);
                if let (Ending::Complete | Ending::Partial, Some(referee)) = (ending, &mut self.referee) {
                    referee.complete(self.now_us);
                }
            }
        }
    }

    fn order(&mut self, worker: usize, order: Order) {
        let latency_us = self.scenario.sites[self.floor.site_of(worker)].latency_us;
        self.at(self.now_us + latency_us, Happening::Order(worker, order));
    }

    fn check_start(&mut self, worker: WorkerId, task: Task) {
        let Some(referee) = &mut self.referee else { return };
        referee.start(self.now_us, worker, task, &self.mind.inputs(task));
        let site = &self.scenario.sites[worker.engine() as usize];
        let samples: Vec<u32> = match task.sample() {
            Some(sample) => vec![sample],
            None => (0..self.cohort.spec().samples).collect(),
        };
        if samples.iter().any(|&sample| site.forbidden.contains(&sample) && !referee.is_dropped(sample)) {
            referee.complain(|| format!("{task:?} is given to {worker:?}, where its data may not be"));
        }
        if !site.stages[task.stage() as usize] {
            referee.complain(|| format!("{task:?} is given to {worker:?}, which cannot do it"));
        }
        let memory_bytes = self.scenario.waves[self.waves[self.ordinals[&worker]]].memory_bytes;
        if self.memory.fixed_bytes + self.memory.of(task) > memory_bytes {
            referee.complain(|| format!("{task:?} does not fit into {worker:?}"));
        }
    }

    fn finish(mut self) -> Run {
        let now_us = self.now_us;
        self.floor.vanish_all(now_us);
        let mut broken = self.referee.map(|referee| referee.broken).unwrap_or_default();
        if self.ending.is_none() {
            broken.push(format!("{now_us}: the job never ended"));
        }
        let right = |task: &Task, facts: &Facts| facts.content == Some(self.cohort.content(*task));
        let wrong = |task: &Task, facts: &Facts| scheduler::is_comparable(*task) && !right(task, facts);
        let wrong = self.journal.iter().filter(|(task, entry)| wrong(task, &entry.facts)).count() as u64;
        let trace = Trace {
            spans: self.floor.spans,
            workers: self.floor.presences,
            makespan_us: now_us,
            ending: self.ending,
            events: self.events,
        };
        Run { trace, broken, scheduler_ns: self.scheduler_ns, wrong, log: self.log }
    }
}

fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
