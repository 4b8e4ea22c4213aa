//! The state machine of a job: `handle(now, event) -> commands`.
//!
//! Each event changes marks and counters; then gaps in the coverage are cut into tasks, tasks that may start go to
//! workers with room, and idle cores make the slow attempts of others their business. What decides where and in which
//! order stands in [`crate::ready`], [`crate::place`] and [`crate::pace`], who is tried again and who is believed in
//! [`crate::trust`].
//!
//! Invariant: the answers are a function of the plan, the options and the events so far. Nothing starts before its inputs
//! are committed; every cell is committed once; the end is said once, when nothing runs.

use crate::cost::{CostModel, Costs};
use crate::event::{AttemptId, Command, Departure, Ending, Event, Facts, Options, Purpose, Usage, WorkerId};
use crate::graph::{Graph, Mark};
use crate::hash::{FastMap, FastSet};
use crate::place::Places;
use crate::plan::Plan;
use crate::ready::{Kind, Ready};
use crate::trust::{Audit, Trouble};
use jobs::failure::Class;
use jobs::task::{Shard, Task};
use std::collections::BTreeMap;
use std::ops::Range;

/// An attempt at a worker.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub task: Task,
    pub worker: u32,
    pub purpose: Purpose,
    pub given_ms: u64,
    pub started_ms: Option<u64>,
    pub slot: u32,
    /// The step it is at, and since when.
    pub reached: Option<(u32, u64)>,
    /// Of the whole task, on its worker.
    pub expected_ms: f64,
    /// It was cut off one that was slow: what it takes says nothing of others, nor of its worker.
    pub hard: bool,
    /// The other attempt at the same task.
    pub twin: Option<AttemptId>,
    pub cut_asked_ms: Option<u64>,
    pub cancelled: bool,
    pub straggles: bool,
}

/// The scheduler of one job.
#[derive(Debug)]
pub struct Scheduler {
    pub(crate) graph: Graph,
    pub(crate) options: Options,
    pub(crate) costs: Costs,
    pub(crate) ready: Ready,
    pub(crate) places: Places,
    pub(crate) attempts: BTreeMap<AttemptId, Attempt>,
    pub(crate) next_attempt: u64,
    /// Attempts that were not cancelled.
    pub(crate) live: u32,
    pub(crate) trouble: FastMap<Task, Trouble>,
    pub(crate) audits: FastMap<Task, Audit>,
    /// Checks whose inputs are missing.
    pub(crate) audits_waiting: Vec<Task>,
    /// Who made what is committed, if it was made in this life, with the first words of the content's digest.
    pub(crate) made: FastMap<Task, (u32, u64)>,
    /// Commits of which two workers made the same.
    pub(crate) verified: FastSet<Task>,
    /// Attempts of which a copy is wanted, by task.
    pub(crate) copies: FastMap<Task, AttemptId>,
    /// Running attempts that were lost with their workers, and attempts that ended.
    pub(crate) lost: f64,
    pub(crate) ended: f64,
    pub(crate) paced_ms: u64,
    /// Work or workers changed since [`Scheduler::tune`], which was then.
    pub(crate) tune_due: bool,
    tuned_ms: Option<u64>,
    /// How many times longer than expected the steps take that were just cut off.
    pub(crate) rest_slowness: f64,
    /// Expected core time left, as of the last look.
    pub(crate) left_ms: f64,
    pub(crate) stopping: Option<Ending>,
    said: Option<Ending>,
    pub(crate) begun: bool,
    pub(crate) now_ms: u64,
    pub(crate) out: Vec<Command>,
}

impl Scheduler {
    /// A job with nothing done yet. Report what the journal holds as [`Event::Committed`], then [`Event::Begin`].
    pub fn new(plan: Plan, options: Options) -> Self {
        Scheduler {
            costs: Costs::new(&plan.costs),
            ready: Ready::new(plan.samples.len()),
            graph: Graph::new(plan),
            options,
            places: Places::default(),
            attempts: BTreeMap::new(),
            next_attempt: 1,
            live: 0,
            trouble: FastMap::default(),
            audits: FastMap::default(),
            audits_waiting: Vec::new(),
            made: FastMap::default(),
            verified: FastSet::default(),
            copies: FastMap::default(),
            lost: 0.0,
            ended: 0.0,
            paced_ms: 0,
            tune_due: true,
            tuned_ms: None,
            rest_slowness: 1.0,
            left_ms: 0.0,
            stopping: None,
            said: None,
            begun: false,
            now_ms: 0,
            out: Vec::new(),
        }
    }

    /// Takes one event and answers with what to do. `now_ms` counts from any fixed instant; it is held where a clock
    /// jumps back. [`Event::Tick`] is expected about once a second.
    pub fn handle(&mut self, now_ms: u64, event: Event) -> Vec<Command> {
        self.now_ms = self.now_ms.max(now_ms);
        if self.said.is_some() {
            return Vec::new();
        }
        let tick = matches!(event, Event::Tick);
        match event {
            Event::Committed { task, facts } => self.restored(task, &facts),
            Event::Begin if self.begun => {}
            Event::Begin => {
                self.begun = true;
                self.graph.begin();
                self.tune_due = true;
            }
            Event::Site { site, spec } => {
                self.places.set_site(site, spec);
                self.allow();
                self.places.unpark();
                self.tune_due = true;
            }
            Event::Drain { site, drain } => self.drain(site, drain),
            Event::Joined { worker, spec } => {
                if let Some(index) = self.places.join(self.now_ms, worker, spec) {
                    self.places.seat(index);
                    self.tune_due = true;
                }
            }
            Event::Left { worker, why } => self.worker_left(worker, why),
            Event::Started { attempt, slot } => self.started(attempt, slot),
            Event::Reached { attempt, step } => {
                if let Some(attempt) = self.attempts.get_mut(&attempt) {
                    attempt.reached = Some((step, self.now_ms));
                }
            }
            Event::Done { attempt, facts, usage } => self.done(attempt, &facts, usage),
            Event::Cut { attempt, task } => self.was_cut(attempt, task),
            Event::Failed { attempt, class, exhausted, damaged, usage } => {
                if let Some(attempt) = self.release(attempt, Some(usage)) {
                    self.failed(attempt, class, exhausted, damaged);
                }
            }
            Event::Distrust { worker } => {
                if let Some(index) = self.places.find(worker) {
                    self.distrust(index);
                }
            }
            Event::Denied { sample } => self.give_up_sample(sample, Class::Policy),
            Event::Tick => {
                self.places.wake_rested(self.now_ms);
                self.places.unpark();
            }
            Event::Stop { soon } => self.stop(soon),
        }
        self.advance(tick);
        self.say_end();
        std::mem::take(&mut self.out)
    }

    /// Cuts what can be cut, gives what can be given, and looks after what is slow.
    fn advance(&mut self, tick: bool) {
        if !self.begun || self.stopping.is_some() {
            return;
        }
        if self.tune_due && self.tuned_ms.is_none_or(|tuned_ms| self.now_ms >= tuned_ms + TUNE_MS) {
            (self.tune_due, self.tuned_ms) = (false, Some(self.now_ms));
            self.tune();
        }
        self.cut_gaps(false);
        self.dispatch();
        if self.places.free_cores() > 0 && !self.graph.joint_open.is_empty() {
            self.cut_gaps(true);
            self.dispatch();
        }
        let pause_ms = PACE_MS.max(self.attempts.len() as u64 / PACED_A_MS);
        let idle = self.places.free_cores() > 0 && self.now_ms >= self.paced_ms + pause_ms;
        if tick || idle {
            self.paced_ms = self.now_ms;
            self.pace();
            self.dispatch();
        }
    }

    fn say_end(&mut self) {
        if !self.begun || self.live > 0 {
            return;
        }
        let dropped = self.graph.samples.iter().any(|sample| sample.dropped.is_some());
        let complete = if dropped { Ending::Partial } else { Ending::Complete };
        self.said = self.stopping.or(self.graph.is_complete().then_some(complete));
        self.out.extend(self.said.map(Command::End));
    }

    /// What was said last, once [`Command::End`] was.
    pub fn ending(&self) -> Option<Ending> {
        self.said
    }

    fn restored(&mut self, task: Task, facts: &Facts) {
        if self.begun {
            // Said too late; it is known, or it is being done.
            return;
        }
        if let Some(beyond) = self.graph.restore(task, facts.chunks) {
            self.note(task, facts);
            self.out.extend(beyond.into_iter().map(Command::Forget));
        } else if !self.graph.plan.knows(task) || self.graph.mark(task) != Some(Mark::Done) {
            // Nothing of this plan, or it covers what another commit covers.
            self.out.push(Command::Forget(task));
        }
    }

    /// Remembers what a task's summary says about the rest of the job.
    fn note(&mut self, task: Task, facts: &Facts) {
        match task {
            Task::Intake(lane, part) => {
                if let Some(pairs) = facts.pairs {
                    let lane = &mut self.graph.samples[lane.sample as usize].lanes[lane.lane as usize];
                    lane.count(part, pairs, facts.chunks);
                }
            }
            Task::Map(lane, _) => self.graph.weigh(lane.sample, &facts.weights),
            _ => {}
        }
    }

    fn drain(&mut self, number: u16, drain: bool) {
        let Some(Some(site)) = self.places.sites.get_mut(usize::from(number)) else { return };
        site.drain = drain;
        let here = |&worker: &u32| self.places.site_of(worker) == usize::from(number);
        let here: Vec<u32> = self.places.names.values().copied().filter(here).collect();
        here.iter().for_each(|&worker| self.places.seat(worker));
        if drain {
            self.take_back_queued(|_, attempt| here.contains(&attempt.worker));
        }
        self.tune_due = true;
    }

    fn worker_left(&mut self, worker: WorkerId, why: Departure) {
        let Some(index) = self.places.find(worker) else { return self.places.never_came(worker) };
        self.places.leave(index);
        for attempt in self.places.workers[index as usize].attempts.clone() {
            if let Some(attempt) = self.release(attempt, None) {
                self.was_lost(attempt, why);
            }
        }
        self.tune_due = true;
    }

    fn started(&mut self, id: AttemptId, slot: u32) {
        let Some(attempt) = self.attempts.get_mut(&id) else { return };
        if attempt.started_ms.is_some() {
            return;
        }
        attempt.started_ms = Some(self.now_ms);
        attempt.slot = slot;
        let worker = &mut self.places.workers[attempt.worker as usize];
        worker.running += 1;
        worker.queued_ms = worker.queued_ms.saturating_sub(attempt.expected_ms as u64);
        let (task, worker, counts) = (attempt.task, attempt.worker, attempt.counts());
        if counts {
            self.graph.tally_running(task, 1);
        }
        self.places.seat(worker);
    }

    /// Takes an attempt from its worker, because it is over.
    pub(crate) fn release(&mut self, id: AttemptId, usage: Option<Usage>) -> Option<Attempt> {
        let attempt = self.attempts.remove(&id)?;
        let index = attempt.worker;
        let worker = &mut self.places.workers[index as usize];
        if attempt.started_ms.is_some() {
            worker.running -= 1;
            if attempt.counts() {
                self.graph.tally_running(attempt.task, -1);
            }
        } else {
            worker.queued_ms = worker.queued_ms.saturating_sub(attempt.expected_ms as u64);
        }
        if let Some(usage) = usage {
            worker.busy_ms += usage.finished_ms.saturating_sub(usage.started_ms);
        }
        self.places.take(index, id, attempt.task, self.now_ms);
        if let Some(twin) = attempt.twin.and_then(|twin| self.attempts.get_mut(&twin)) {
            twin.twin = None;
        }
        if !attempt.cancelled {
            self.live -= 1;
            self.ended += 1.0;
        }
        Some(attempt)
    }

    /// Nobody needs an attempt any more.
    pub(crate) fn cancel(&mut self, id: AttemptId) {
        let Some(attempt) = self.attempts.get_mut(&id).filter(|attempt| !attempt.cancelled) else { return };
        if attempt.counts() && attempt.started_ms.is_some() {
            self.graph.tally_running(attempt.task, -1);
        }
        attempt.cancelled = true;
        self.live -= 1;
        let worker = self.places.workers[attempt.worker as usize].id;
        self.out.push(Command::Cancel { worker, attempt: id });
        if let Some(twin) = attempt.twin.take().and_then(|twin| self.attempts.get_mut(&twin)) {
            twin.twin = None;
        }
    }

    /// As what the output of this attempt is to be committed: its task, as far as it was not cut. `None` if it is not to
    /// be committed: an audit, a race that was lost, an attempt that was cancelled or that the scheduler does not know.
    /// Ask before each commit; [`Event::Done`] follows in either case. Of two attempts at one task whose outputs arrive
    /// together either may be committed: tell the scheduler of the first before asking about the second.
    pub fn commits(&self, attempt: AttemptId) -> Option<Task> {
        let attempt = self.attempts.get(&attempt)?;
        let given = self.graph.mark(attempt.task) == Some(Mark::Given);
        (!attempt.cancelled && attempt.purpose != Purpose::Audit && given).then_some(attempt.task)
    }

    fn done(&mut self, id: AttemptId, facts: &Facts, usage: Usage) {
        let Some(twin) = self.attempts.get(&id).map(|attempt| attempt.twin) else { return };
        let Some(attempt) = self.release(id, Some(usage)) else { return };
        if attempt.cancelled {
            return;
        }
        self.learn(&attempt, usage);
        self.tune_due = true;
        if attempt.purpose == Purpose::Audit {
            return self.audited(attempt.task, attempt.worker, facts);
        }
        twin.into_iter().for_each(|twin| self.cancel(twin));
        if self.graph.mark(attempt.task) == Some(Mark::Given) {
            self.was_done(attempt.task, attempt.worker, facts);
        }
    }

    fn was_done(&mut self, task: Task, worker: u32, facts: &Facts) {
        self.forgive(task);
        self.copies.remove(&task);
        self.note(task, facts);
        let content = facts.content.map_or(0, |content| first_word(&content));
        self.made.insert(task, (worker, content));
        if content != 0 && self.is_audited(task) {
            self.check(task, Some(worker), content, facts.chunks);
        } else {
            self.complete(task, facts.chunks);
        }
    }

    /// A task is committed and trusted.
    pub(crate) fn complete(&mut self, task: Task, chunks: Option<u32>) {
        let foreign = self.graph.complete(task, chunks);
        self.out.extend(foreign.into_iter().map(Command::Forget));
        if let Task::FinishSample(sample) = task {
            let state = &mut self.graph.samples[sample as usize];
            (state.weights, state.weighed) = (Vec::new(), 0);
        }
        if !self.audits_waiting.is_empty() {
            let waiting = std::mem::take(&mut self.audits_waiting);
            waiting.into_iter().for_each(|task| self.enqueue(task, Kind::Audit));
        }
    }

    fn learn(&mut self, attempt: &Attempt, usage: Usage) {
        let mut ms = usage.finished_ms.saturating_sub(usage.started_ms);
        if ms == 0 {
            ms = self.now_ms - attempt.started_ms.unwrap_or(attempt.given_ms);
        }
        let units = self.graph.units(attempt.task);
        let expected_ms = self.costs.ms(attempt.task.stage(), units);
        let worker = &mut self.places.workers[attempt.worker as usize];
        worker.failing = 0;
        // Nobody knows how many reads have no place; it says nothing of those that have one.
        if attempt.hard || matches!(attempt.task, Task::Region(_, Shard::Unplaced)) {
            return;
        }
        self.costs.learn(attempt.task.stage(), units, ms as f64 * worker.speed());
        worker.observe(expected_ms, ms as f64);
    }

    fn was_cut(&mut self, id: AttemptId, now: Task) {
        let Some(attempt) = self.attempts.get(&id).filter(|attempt| !attempt.cancelled) else { return };
        let (task, worker, expected_ms) = (attempt.task, attempt.worker, attempt.expected_ms);
        let (twin, started_ms, reached) = (attempt.twin, attempt.started_ms, attempt.reached);
        let (Some(steps), Some(left)) = (task.steps(), now.steps()) else { return };
        let fewer = left.start == steps.start && left.start < left.end && left.end < steps.end;
        if attempt.purpose == Purpose::Audit || !fewer || now != task.over(left.clone()) {
            return;
        }
        // Another attempt at the whole would overlap both parts.
        twin.into_iter().for_each(|twin| self.cancel(twin));
        self.copies.remove(&task);
        let whole_ms = self.task_ms(task);
        // The rest is believed to be as slow as the attempt was so far.
        let begun_ms = started_ms.map_or(0, |started_ms| self.now_ms - started_ms) as f64;
        let here = reached.filter(|&(at, _)| at < left.end).map_or(0.0, |(at, since_ms)| {
            (self.now_ms - since_ms) as f64 / self.steps_ms(task, at.max(left.start)..left.end)
        });
        let slowness = (begun_ms / self.task_ms(now)).max(here);
        self.rest_slowness = slowness.clamp(1.0, SLOWNESS_MAX);
        let pieces = self.pieces_of(task.over(left.end..steps.end));
        self.graph.shrink(task, left.end, pieces);
        if let Some(trouble) = self.trouble.remove(&task) {
            self.trouble.insert(now, trouble);
        }
        let share = self.task_ms(now) / whole_ms;
        if let Some(attempt) = self.attempts.get_mut(&id) {
            attempt.task = now;
            attempt.cut_asked_ms = None;
            attempt.expected_ms = expected_ms * share;
            if attempt.started_ms.is_none() {
                let worker = &mut self.places.workers[worker as usize];
                worker.queued_ms = worker.queued_ms.saturating_sub((expected_ms * (1.0 - share)) as u64);
            }
        }
    }

    /// Nothing new starts.
    pub(crate) fn stop_with(&mut self, ending: Ending) {
        if self.stopping.is_none() {
            self.stopping = Some(ending);
            self.take_back_queued(|_, _| true);
            // Nor is a bundle begun any more, or what waits in one: it would hold up the end, and be paid for.
            let waits = |(&id, one): (&AttemptId, &Attempt)| {
                (one.started_ms.is_none() && !one.cancelled).then_some(id)
            };
            let waiting: Vec<AttemptId> = self.attempts.iter().filter_map(waits).collect();
            waiting.into_iter().for_each(|id| self.cancel(id));
        }
    }

    fn stop(&mut self, soon: bool) {
        self.stop_with(Ending::Stopped);
        if !soon {
            return;
        }
        let running: Vec<AttemptId> = self.attempts.keys().copied().collect();
        for id in running {
            let attempt = &self.attempts[&id];
            if attempt.cancelled {
                continue;
            }
            let (streams, check) = (self.streams(attempt.worker), attempt.purpose == Purpose::Audit);
            if !streams || check {
                // A bundle would hear of it late, and be paid for until it ends.
                self.cancel(id);
            } else if attempt.task.steps().is_some() {
                self.ask_cut(id);
            }
        }
    }

    pub(crate) fn ask_cut(&mut self, id: AttemptId) {
        if let Some(attempt) = self.attempts.get_mut(&id).filter(|attempt| attempt.cut_asked_ms.is_none()) {
            attempt.cut_asked_ms = Some(self.now_ms);
            self.copies.remove(&attempt.task);
            let worker = self.places.workers[attempt.worker as usize].id;
            self.out.push(Command::Cut { worker, attempt: id });
        }
    }

    /// Whether a worker is given more while it works, and says where it is.
    pub(crate) fn streams(&self, worker: u32) -> bool {
        let site = self.places.sites.get(self.places.site_of(worker));
        site.is_some_and(|site| site.as_ref().is_some_and(|site| site.spec.bundles.is_none()))
    }

    /// Takes attempts that have no core yet from their workers.
    pub(crate) fn take_back_queued(&mut self, which: impl Fn(AttemptId, &Attempt) -> bool) {
        let queued = |(id, attempt): (&AttemptId, &Attempt)| {
            let waits = attempt.started_ms.is_none() && !attempt.cancelled && self.streams(attempt.worker);
            (waits && which(*id, attempt)).then_some(*id)
        };
        let queued: Vec<AttemptId> = self.attempts.iter().filter_map(queued).collect();
        for id in queued {
            let (task, purpose, twin) = {
                let attempt = &self.attempts[&id];
                (attempt.task, attempt.purpose, attempt.twin)
            };
            self.cancel(id);
            match (purpose, twin) {
                (Purpose::Audit, _) => self.check_again(task),
                (_, Some(twin)) => self.promote(twin),
                (_, None) => self.graph.put_back(task),
            }
        }
    }

    /// Expected milliseconds of a task on a core of speed 1, at least 1.
    pub(crate) fn task_ms(&self, task: Task) -> f64 {
        self.costs.ms(task.stage(), self.graph.units(task))
    }

    /// Expected milliseconds of some of a task's steps.
    pub(crate) fn steps_ms(&self, task: Task, steps: Range<u32>) -> f64 {
        self.task_ms(task.over(steps))
    }

    /// The plan this job follows.
    pub fn plan(&self) -> &Plan {
        &self.graph.plan
    }

    /// How it is scheduled.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Expected durations as learned so far.
    pub fn costs(&self) -> CostModel {
        self.costs.model()
    }
}

impl Attempt {
    /// Whether it is the one attempt at its task that counts as running.
    fn counts(&self) -> bool {
        self.purpose == Purpose::Work && !self.cancelled
    }
}

/// No rest is believed to be slower than this.
const SLOWNESS_MAX: f64 = 1000.0;

/// What is left is added up at most this often.
const TUNE_MS: u64 = 1000;

/// Idle cores look for slow attempts at most this often.
const PACE_MS: u64 = 250;

/// And so rarely that no more attempts than this are looked at for each millisecond of the job.
const PACED_A_MS: u64 = 10;

pub(crate) fn first_word(content: &[u8; 32]) -> u64 {
    content.first_chunk().map_or(0, |word| u64::from_le_bytes(*word)).max(1)
}
