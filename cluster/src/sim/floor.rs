//! The workers' side of an imagined job: attempts that load and compute step by step, then store, each at its worker's speed.
//!
//! Invariant: whatever a worker does to an attempt, the attempt's span stands in the list once, with its end and its CPU
//! time. Nothing here knows what the scheduler thinks.

use super::cohort::Cohort;
use super::dice::{Dice, Topic};
use super::scenario::Scenario;
use super::trace::{Fate, Presence, Span};
use jobs::failure::Class;
use jobs::task::{Chunk, Stage, Task};
use scheduler::{AttemptId, Departure, Exhausted, Facts, Purpose, Usage, WorkerId, WorkerSpec};
use std::collections::{BTreeMap, VecDeque};

/// What a worker says.
#[derive(Clone, Debug)]
pub enum Report {
    /// It is there.
    Joined(WorkerId, WorkerSpec),
    /// It is gone.
    Left(WorkerId, Departure),
    /// An attempt got a core.
    Started(AttemptId, u32),
    /// It begins a step of its task.
    Reached(AttemptId, u32),
    /// It will do no more than this.
    Cut(AttemptId, Task),
    /// It ended.
    Ended(Ended),
}

/// The end of an attempt.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Which.
    pub attempt: AttemptId,
    /// Whose.
    pub worker: WorkerId,
    /// What it did, as far as it was not cut.
    pub task: Task,
    /// Number of its span.
    pub span: usize,
    /// What it used.
    pub usage: Usage,
    /// What came of it.
    pub result: Outcome,
}

/// What came of an attempt.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// An output with these facts.
    Done(Facts),
    /// An output that fails verification.
    Unsound,
    /// An error.
    Failed {
        /// Its class.
        class: Class,
        /// What ran out.
        exhausted: Option<Exhausted>,
        /// Whether an input was found damaged.
        damaged: bool,
    },
}

/// An order to a worker.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// Run this.
    Run(AttemptId, Task, Purpose),
    /// End at the next step of its task.
    Cut(AttemptId),
    /// Stop this.
    Cancel(AttemptId),
}

/// A step of an attempt is over: the attempt's number on the floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step(u64);

/// What the floor wants to happen later.
#[derive(Clone, Debug)]
pub enum Later {
    /// A step ends.
    Step(Step),
    /// A worker says something; when it said so. The way is still before it.
    Say(usize, Report),
}

/// What a worker is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Traits {
    /// How fast it is; 1 is usual.
    pub speed: f64,
    /// Some of its outputs are wrong, which only a comparison shows.
    pub lies: bool,
    /// Some of its outputs fail verification.
    pub damages: bool,
}

impl Traits {
    /// As a worker should be.
    pub const SOUND: Traits = Traits { speed: 1.0, lies: false, damages: false };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Queued,
    Starting,
    /// These steps of its task: a cell, or some strips.
    In {
        first: u32,
        end: u32,
    },
    Storing,
}

#[derive(Debug)]
struct Attempt {
    id: AttemptId,
    worker: usize,
    task: Task,
    phase: Phase,
    slot: u32,
    began_us: u64,
    /// When everything it reads has come.
    loaded_us: u64,
    cpu_us: u64,
    /// Wall time at which the phase began, and its CPU time, for attempts that end within it.
    phase_us: (u64, u64),
    /// When the phase ends.
    due_us: u64,
}

/// Of a map's strips it says so often where it is.
const STRIDE: u32 = Chunk::STRIPS as u32 / 8;

#[derive(Debug)]
struct Worker {
    id: WorkerId,
    site: usize,
    traits: Traits,
    /// By slot, the attempt it runs.
    slots: Vec<Option<u64>>,
    queue: VecDeque<u64>,
    alive: bool,
    ends_when_empty: bool,
    wall_us: Option<u64>,
}

/// The storage of a site. What is short is served one after another; what a worker moves for long flows beside it, as
/// fast as the worker's own line is, and takes its share of the bandwidth.
#[derive(Clone, Debug, Default)]
struct Link {
    /// When it has served what is short.
    free_us: u64,
    /// What flows: until when, and how many bytes a second.
    flows: Vec<(u64, f64)>,
}

/// What takes a worker's own line longer than this flows.
const SHORT_US: f64 = 1e6;

/// Flows leave at least this share of a link to what is short.
const SHORT_SHARE: f64 = 0.1;

impl Link {
    /// When so many bytes have come over it and a line, both in bytes a second.
    fn transfer(&mut self, now_us: u64, bytes: u64, whole: Option<u64>, line: Option<u64>) -> u64 {
        let bytes = bytes as f64;
        let us = |rate: Option<f64>| rate.map_or(0.0, |rate| bytes / rate * 1e6);
        let (whole, line) = (whole.map(|rate| rate as f64), line.map(|rate| rate as f64));
        self.flows.retain(|&(until_us, _)| until_us > now_us);
        let taken: f64 = self.flows.iter().map(|flow| flow.1).sum();
        if let Some(rate) = line.filter(|_| us(line) > SHORT_US) {
            let crowd = whole.map_or(1.0, |whole| ((taken + rate) / whole).max(1.0));
            let until_us = now_us + (us(line) * crowd) as u64;
            self.flows.push((until_us, rate / crowd));
            return until_us;
        }
        let left = whole.map(|whole| (whole - taken).max(whole * SHORT_SHARE));
        self.free_us = self.free_us.max(now_us) + us(left) as u64;
        self.free_us.max(now_us + us(line) as u64)
    }
}

/// All workers of a world.
#[derive(Debug)]
pub struct Floor<'a> {
    cohort: &'a Cohort,
    scenario: &'a Scenario,
    dice: Dice,
    workers: Vec<Worker>,
    /// By site.
    links: Vec<Link>,
    attempts: BTreeMap<u64, Attempt>,
    numbers: BTreeMap<AttemptId, u64>,
    next: u64,
    /// Spans of attempts that ended.
    pub spans: Vec<Span>,
    /// Workers' presences.
    pub presences: Vec<Presence>,
}

impl<'a> Floor<'a> {
    /// Nobody is there yet.
    pub fn new(cohort: &'a Cohort, scenario: &'a Scenario) -> Self {
        Floor {
            cohort,
            scenario,
            dice: Dice::new(scenario.seed),
            workers: Vec::new(),
            links: vec![Link::default(); scenario.sites.len()],
            attempts: BTreeMap::new(),
            numbers: BTreeMap::new(),
            next: 0,
            spans: Vec::new(),
            presences: Vec::new(),
        }
    }

    /// A worker appears; its ordinal and name.
    pub fn appear(&mut self, now_us: u64, site: usize, slots: u32, traits: Traits) -> (usize, WorkerId) {
        let ordinal = self.workers.len();
        let id = WorkerId::new(site as u8, ordinal as u32);
        self.workers.push(Worker {
            id,
            site,
            traits,
            slots: vec![None; slots as usize],
            queue: VecDeque::new(),
            alive: true,
            ends_when_empty: false,
            wall_us: None,
        });
        self.presences.push(Presence { slots, speed: traits.speed, from_us: now_us, to_us: u64::MAX });
        (ordinal, id)
    }

    /// A bundle begins to run: it ends when it has nothing more to do, or at its wall.
    pub fn begin_bundle(&mut self, now_us: u64, worker: usize, wall_us: u64) {
        self.workers[worker].ends_when_empty = true;
        self.workers[worker].wall_us = Some(now_us + wall_us);
        self.presences[worker].from_us = now_us;
    }

    /// Whether a worker is there.
    pub fn is_alive(&self, worker: usize) -> bool {
        self.workers[worker].alive
    }

    /// A worker's site.
    pub fn site_of(&self, worker: usize) -> usize {
        self.workers[worker].site
    }

    /// A worker vanishes with everything it has.
    pub fn vanish(&mut self, now_us: u64, worker: usize) {
        if !std::mem::replace(&mut self.workers[worker].alive, false) {
            return;
        }
        self.presences[worker].to_us = now_us;
        self.workers[worker].queue.clear();
        let mine = self.attempts.iter().filter(|(_, attempt)| attempt.worker == worker);
        for number in mine.map(|(&number, _)| number).collect::<Vec<_>>() {
            self.end(now_us, number, Fate::Lost);
        }
    }

    /// Everybody vanishes.
    pub fn vanish_all(&mut self, now_us: u64) {
        (0..self.workers.len()).for_each(|worker| self.vanish(now_us, worker));
    }

    /// An order reaches a worker.
    pub fn take(&mut self, now_us: u64, worker: usize, order: Order, later: &mut Vec<(u64, Later)>) {
        if !self.workers[worker].alive {
            return;
        }
        match order {
            Order::Run(id, task, _) => {
                let number = self.next;
                self.next += 1;
                self.numbers.insert(id, number);
                self.attempts.insert(
                    number,
                    Attempt {
                        id,
                        worker,
                        task,
                        phase: Phase::Queued,
                        slot: 0,
                        began_us: now_us,
                        loaded_us: now_us,
                        cpu_us: 0,
                        phase_us: (now_us, 0),
                        due_us: now_us,
                    },
                );
                self.workers[worker].queue.push_back(number);
                self.fill(now_us, worker, later);
            }
            Order::Cut(id) => self.cut(now_us, worker, id, later),
            Order::Cancel(id) => {
                if let Some(&number) = self.numbers.get(&id) {
                    self.workers[worker].queue.retain(|&queued| queued != number);
                    let (class, exhausted) = (Class::Interrupted, None);
                    let result = Outcome::Failed { class, exhausted, damaged: false };
                    self.give(now_us, number, result, Fate::Cancelled, later);
                }
            }
        }
    }

    /// A running attempt ends before the next step that it has not begun, and says so.
    fn cut(&mut self, now_us: u64, worker: usize, id: AttemptId, later: &mut Vec<(u64, Later)>) {
        let Some(&number) = self.numbers.get(&id) else { return };
        let Some(attempt) = self.attempts.get_mut(&number) else { return };
        let Some(steps) = attempt.task.steps() else { return };
        let (began_us, cpu_us) = attempt.phase_us;
        let next = match attempt.phase {
            Phase::Starting => steps.start + 1,
            Phase::In { first, end } => {
                let gone = (now_us - began_us) as f64 / (attempt.due_us - began_us).max(1) as f64;
                end.min(first + (gone * f64::from(end - first)) as u32 + 1)
            }
            Phase::Queued | Phase::Storing => return,
        };
        if next >= steps.end {
            return;
        }
        attempt.task = attempt.task.over(steps.start..next);
        later.push((now_us, Later::Say(worker, Report::Cut(id, attempt.task))));
        if let (Phase::In { first, end }, Task::Map(_, chunk)) = (attempt.phase, attempt.task) {
            // It maps no more of these strips than that, and reads on.
            let share = f64::from(next - first) / f64::from(end - first);
            let idle_us = self.cohort.idle_us(chunk);
            let wall_us = (attempt.due_us - began_us) as f64 * share;
            attempt.phase = Phase::In { first, end: next };
            attempt.phase_us.1 = (cpu_us as f64 * share) as u64 + idle_us;
            attempt.due_us = began_us + (wall_us + idle_us as f64 / self.workers[worker].traits.speed) as u64;
            later.push((attempt.due_us.max(now_us), Later::Step(Step(number))));
        }
    }

    /// Gives free slots to what is queued.
    fn fill(&mut self, now_us: u64, worker: usize, later: &mut Vec<(u64, Later)>) {
        while let Some(slot) = self.workers[worker].slots.iter().position(Option::is_none) {
            let Some(number) = self.workers[worker].queue.pop_front() else { break };
            self.workers[worker].slots[slot] = Some(number);
            let task = self.attempts[&number].task;
            let (bytes_in, bytes_out) = self.cohort.bytes(task);
            let mut loaded_us = self.transfer(now_us, worker, bytes_in);
            if is_copied(task) {
                loaded_us = loaded_us.max(self.transfer(now_us, worker, bytes_out));
            }
            let attempt = self.attempts.get_mut(&number).expect("queued attempts are there");
            (attempt.slot, attempt.began_us, attempt.phase) = (slot as u32, now_us, Phase::Starting);
            attempt.loaded_us = loaded_us;
            later.push((now_us, Later::Say(worker, Report::Started(attempt.id, slot as u32))));
            self.compute(now_us, number, self.cohort.start_us(task), later);
        }
        let (done, id) = (&self.workers[worker], self.workers[worker].id);
        if done.ends_when_empty && done.alive && done.slots.iter().all(Option::is_none) {
            self.workers[worker].alive = false;
            self.presences[worker].to_us = now_us;
            later.push((now_us, Later::Say(worker, Report::Left(id, Departure::Ended))));
        }
    }

    /// When so many bytes have come over the site's storage and the worker's own line.
    fn transfer(&mut self, now_us: u64, worker: usize, bytes: u64) -> u64 {
        let site = self.workers[worker].site;
        let spec = &self.scenario.sites[site];
        self.links[site].transfer(now_us, bytes, spec.bytes_per_second, spec.worker_bytes_per_second)
    }

    /// The next step of an attempt, if it is still there.
    pub fn step(&mut self, now_us: u64, step: Step, later: &mut Vec<(u64, Later)>) {
        let number = step.0;
        let Some(attempt) = self.attempts.get_mut(&number) else { return };
        if now_us < attempt.due_us {
            // It was cut; another step took this one's place.
            return;
        }
        let worker = attempt.worker;
        attempt.cpu_us += std::mem::take(&mut attempt.phase_us.1);
        attempt.phase_us.0 = now_us;
        if self.workers[worker].wall_us.is_some_and(|wall| now_us >= wall) {
            return self.fail(now_us, number, Class::Remote, Some(Exhausted::Time), later);
        }
        match attempt.phase {
            Phase::Queued => {}
            Phase::Starting => match self.misfortune(number) {
                Some((class, exhausted, damaged)) => {
                    self.report_failure(now_us, number, class, exhausted, damaged, later);
                }
                None => match self.attempts[&number].task.steps() {
                    Some(steps) => self.enter(now_us, number, steps.start, later),
                    None => self.store(now_us, number, later),
                },
            },
            Phase::In { end, .. } => match attempt.task.steps().is_some_and(|steps| end < steps.end) {
                true => self.enter(now_us, number, end, later),
                false => self.store(now_us, number, later),
            },
            Phase::Storing => self.finish(now_us, number, later),
        }
    }

    fn compute(&mut self, now_us: u64, number: u64, cpu_us: u64, later: &mut Vec<(u64, Later)>) {
        let attempt = self.attempts.get_mut(&number).expect("the caller has it");
        attempt.phase_us = (now_us, cpu_us);
        let wall_us = (cpu_us as f64 / self.workers[attempt.worker].traits.speed) as u64;
        attempt.due_us = now_us + wall_us;
        later.push((attempt.due_us, Later::Step(Step(number))));
    }

    fn enter(&mut self, now_us: u64, number: u64, first: u32, later: &mut Vec<(u64, Later)>) {
        let attempt = self.attempts.get_mut(&number).expect("the caller has it");
        let (id, worker, task) = (attempt.id, attempt.worker, attempt.task);
        let steps = task.steps().expect("what is entered has steps");
        let stride = if task.stage() == Stage::Map { STRIDE } else { 1 };
        let end = steps.end.min(first + stride);
        attempt.phase = Phase::In { first, end };
        later.push((now_us, Later::Say(worker, Report::Reached(id, first))));
        let owner = task.sample().map_or(u64::MAX, u64::from);
        let too_large = task.stage() != Stage::Map
            && steps.len() > 1
            && self.dice.happens(self.scenario.faults.exhausting, Topic::Shape, owner, first.into());
        if too_large {
            return self.fail(now_us, number, Class::Failed, Some(Exhausted::Memory), later);
        }
        self.compute(now_us, number, self.cohort.steps_us(task, first..end), later);
    }

    /// What goes wrong with an attempt that has begun.
    fn misfortune(&self, number: u64) -> Option<(Class, Option<Exhausted>, bool)> {
        let (faults, attempt) = (&self.scenario.faults, &self.attempts[&number]);
        if let Task::Map(lane, chunk) = attempt.task {
            let name = u64::from(lane.sample) << 32 | u64::from(lane.lane) << 24 | u64::from(chunk.index);
            if chunk.is_whole() && self.dice.happens(faults.exhausting, Topic::Shape, name, 1 << 40) {
                return Some((Class::Failed, Some(Exhausted::Memory), false));
            }
        }
        if self.dice.happens(faults.failing, Topic::Fate, number, 0) {
            return Some((Class::Failed, None, false));
        }
        let has_inputs = !matches!(attempt.task, Task::Intake(_, 0));
        (has_inputs && self.dice.happens(faults.losing_inputs, Topic::Fate, number, 1)).then_some((
            Class::Integrity,
            None,
            true,
        ))
    }

    fn store(&mut self, now_us: u64, number: u64, later: &mut Vec<(u64, Later)>) {
        let attempt = self.attempts.get_mut(&number).expect("the caller has it");
        attempt.phase = Phase::Storing;
        let (worker, task) = (attempt.worker, attempt.task);
        // What it reads comes while it computes; it ends no sooner than that has come.
        let computed_us = now_us.max(attempt.loaded_us);
        let bytes_out = if is_copied(task) { 0 } else { self.cohort.bytes(task).1 };
        let stored_us = self.transfer(computed_us, worker, bytes_out);
        self.attempts.get_mut(&number).expect("the caller has it").due_us = stored_us;
        later.push((stored_us, Later::Step(Step(number))));
    }

    fn finish(&mut self, now_us: u64, number: u64, later: &mut Vec<(u64, Later)>) {
        let attempt = &self.attempts[&number];
        let (worker, wrong) = (&self.workers[attempt.worker], self.scenario.faults.wrong);
        let is_wrong = self.dice.happens(wrong, Topic::Fate, number, 2);
        let result = if worker.traits.damages && is_wrong {
            Outcome::Unsound
        } else {
            let mut facts = self.cohort.facts(attempt.task);
            if worker.traits.lies && is_wrong {
                facts.content = facts.content.map(|content| content.map(|byte| !byte));
            }
            Outcome::Done(facts)
        };
        // Until somebody says otherwise, its work was for nothing.
        self.give(now_us, number, result, Fate::Failed, later);
    }

    fn fail(
        &mut self,
        now_us: u64,
        number: u64,
        class: Class,
        exhausted: Option<Exhausted>,
        later: &mut Vec<(u64, Later)>,
    ) {
        self.report_failure(now_us, number, class, exhausted, false, later);
    }

    fn report_failure(
        &mut self,
        now_us: u64,
        number: u64,
        class: Class,
        exhausted: Option<Exhausted>,
        damaged: bool,
        later: &mut Vec<(u64, Later)>,
    ) {
        self.give(now_us, number, Outcome::Failed { class, exhausted, damaged }, Fate::Failed, later);
    }

    /// The attempt ends and says how; the slot is free.
    fn give(&mut self, now_us: u64, number: u64, result: Outcome, fate: Fate, later: &mut Vec<(u64, Later)>) {
        let attempt = &self.attempts[&number];
        let (bytes_in, bytes_out) = self.cohort.bytes(attempt.task);
        let ended = Ended {
            attempt: attempt.id,
            worker: self.workers[attempt.worker].id,
            task: attempt.task,
            span: self.spans.len(),
            usage: Usage {
                cpu_ms: attempt.cpu_us / 1000,
                started_ms: attempt.began_us / 1000,
                finished_ms: now_us / 1000,
                bytes_in,
                bytes_out,
                slot: attempt.slot,
            },
            result,
        };
        let worker = attempt.worker;
        self.end(now_us, number, fate);
        later.push((now_us, Later::Say(worker, Report::Ended(ended))));
        self.fill(now_us, worker, later);
    }

    /// Takes an attempt off the floor and writes its span.
    fn end(&mut self, now_us: u64, number: u64, fate: Fate) {
        let Some(attempt) = self.attempts.remove(&number) else { return };
        if self.numbers.get(&attempt.id) == Some(&number) {
            self.numbers.remove(&attempt.id);
        }
        if attempt.phase == Phase::Queued {
            return;
        }
        let worker = &mut self.workers[attempt.worker];
        worker.slots[attempt.slot as usize] = None;
        // Of a phase that did not end, as much as time allowed.
        let (since, whole) = attempt.phase_us;
        let partly = ((now_us - since) as f64 * worker.traits.speed).min(whole as f64) as u64;
        self.spans.push(Span {
            worker: attempt.worker as u32,
            slot: attempt.slot,
            task: attempt.task,
            began_us: attempt.began_us,
            ended_us: now_us,
            cpu_us: attempt.cpu_us + partly,
            fate,
        });
    }
}

/// Whether a task writes while it reads: those that put files together and seal them.
fn is_copied(task: Task) -> bool {
    task.stage() >= Stage::Finish
}
