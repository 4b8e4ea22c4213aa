//! A world of imaginary workers around a scheduler. It keeps its own books of what is committed and who runs what, and
//! panics when the scheduler breaks a promise.

use jobs::failure::Class;
use jobs::genome::Cell;
use jobs::task::{INTAKE_CHUNKS, LaneId, Shard, Stage, Task};
use scheduler::{
    AttemptId, Command, CostModel, Departure, Ending, Event, Exhausted, Facts, MemoryModel, Options, Plan,
    Purpose, SamplePlan, Scheduler, SiteSpec, StageCost, Usage, WorkerId, WorkerSpec,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Numbers that look random.
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % limit.max(1)
    }

    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}

pub const GIB: u64 = 1 << 30;

pub fn costs() -> CostModel {
    let stage =
        |fixed_ms: f64, read_ns: f64, cell_ms: f64| StageCost { fixed_ms, read_ns, cell_ms, spread: 0.2 };
    CostModel {
        stages: [
            stage(100.0, 1_000.0, 0.0),
            stage(500.0, 0.0, 0.0),
            stage(100.0, 50_000.0, 0.0),
            stage(100.0, 10_000.0, 200.0),
            stage(100.0, 0.0, 100.0),
            stage(500.0, 100.0, 1.0),
            stage(500.0, 100.0, 1.0),
        ],
        bytes_per_read: 100.0,
    }
}

pub fn plan(samples: &[(u32, bool)], cells: u32) -> Plan {
    let sample = |(i, &(lanes, joint)): (usize, &(u32, bool))| SamplePlan {
        name: format!("S{i}"),
        lanes,
        joint,
        pairs: 100_000,
    };
    Plan {
        samples: samples.iter().enumerate().map(sample).collect(),
        cells,
        shard_cells_max: 8,
        chunk_pairs: 25_000,
        lines: None,
        seals: false,
        memory: MemoryModel { fixed_bytes: GIB, task_bytes: [GIB, GIB, 2 * GIB, 3 * GIB, 2 * GIB, GIB, GIB] },
        costs: costs(),
    }
}

pub fn site(samples: usize) -> SiteSpec {
    SiteSpec {
        name: "home".into(),
        price_core_hour: 0.0,
        latency_ms: 0,
        bytes_per_second: None,
        bundles: None,
        allowed: vec![true; samples],
        stages: [true; 7],
    }
}

pub fn worker(slots: u32, memory_gib: u64) -> WorkerSpec {
    WorkerSpec { site: 0, slots, memory_bytes: memory_gib * GIB, name: "w".into() }
}

/// How the world treats attempts.
#[derive(Clone, Debug, Default)]
pub struct Weather {
    /// Attempts of a thousand that fail with each of these.
    pub failing: u64,
    pub exhausted: u64,
    pub damaged: u64,
    pub bad_input: u64,
    /// Workers of a thousand attempts that are lost.
    pub lost: u64,
    /// Cuts of a thousand that are answered.
    pub answered: u64,
    /// Attempts of a thousand that take twenty times as long.
    pub slow: u64,
    /// A worker whose outputs are wrong.
    pub liar: Option<WorkerId>,
    /// Chunks a lane.
    pub chunks: u32,
}

#[derive(Clone, Debug)]
struct Attempt {
    worker: WorkerId,
    task: Task,
    started: bool,
    limit: Option<u32>,
    at: u32,
    cell_ms: u64,
    number: u64,
}

#[derive(Clone, Debug)]
struct Worker {
    spec: WorkerSpec,
    batch: bool,
    queue: Vec<AttemptId>,
    running: BTreeSet<AttemptId>,
    filled: bool,
    immortal: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Joins(WorkerId),
    Steps(AttemptId, u64),
    Tick,
}

/// The world.
pub struct World {
    pub scheduler: Scheduler,
    pub now_ms: u64,
    pub dice: Dice,
    pub weather: Weather,
    pub committed: BTreeMap<Task, u64>,
    pub starts: u64,
    pub log: Vec<Command>,
    pub ending: Option<Ending>,
    pub dropped: BTreeSet<u32>,
    /// Samples whose results, or the cohort's, were there before.
    pub finished: BTreeSet<Option<u32>>,
    sites: BTreeMap<u16, SiteSpec>,
    workers: BTreeMap<WorkerId, Worker>,
    attempts: BTreeMap<AttemptId, Attempt>,
    due: BTreeSet<(u64, Due)>,
    joining: BTreeMap<WorkerId, (WorkerSpec, bool)>,
    next_worker: u32,
    numbers: u64,
}

pub fn cells(shard: Shard) -> Range<u32> {
    match shard {
        Shard::Cells { first, end } => first.0..end.0,
        Shard::Unplaced => 0..0,
    }
}

/// Steps that an attempt goes through at once.
fn stride(task: Task) -> u32 {
    if task.stage() == Stage::Map { 256 } else { 1 }
}

impl World {
    pub fn new(plan: Plan, options: Options, weather: Weather, seed: u64) -> Self {
        World {
            scheduler: Scheduler::new(plan, options),
            now_ms: 0,
            dice: Dice(seed),
            weather,
            committed: BTreeMap::new(),
            starts: 0,
            log: Vec::new(),
            ending: None,
            dropped: BTreeSet::new(),
            finished: BTreeSet::new(),
            sites: BTreeMap::new(),
            workers: BTreeMap::new(),
            attempts: BTreeMap::new(),
            due: BTreeSet::from([(1000, Due::Tick)]),
            joining: BTreeMap::new(),
            next_worker: 0,
            numbers: 0,
        }
    }

    pub fn add_site(&mut self, number: u16, spec: SiteSpec) {
        self.sites.insert(number, spec.clone());
        self.tell(Event::Site { site: number, spec });
    }

    /// A worker that joins now, or later.
    pub fn add_worker(&mut self, spec: WorkerSpec, at_ms: u64, immortal: bool) -> WorkerId {
        let id = WorkerId::new(spec.site as u8, self.next_worker);
        self.next_worker += 1;
        self.joining.insert(id, (spec, immortal));
        if at_ms <= self.now_ms {
            self.joins(id);
        } else {
            self.due.insert((at_ms, Due::Joins(id)));
        }
        id
    }

    fn joins(&mut self, id: WorkerId) {
        let Some((spec, immortal)) = self.joining.remove(&id) else { return };
        let batch = self.sites[&spec.site].bundles.is_some();
        let worker = Worker {
            spec: spec.clone(),
            batch,
            queue: vec![],
            running: BTreeSet::new(),
            filled: false,
            immortal,
        };
        self.workers.insert(id, worker);
        self.tell(Event::Joined { worker: id, spec });
    }

    /// Tells the scheduler something and does what it answers.
    pub fn tell(&mut self, event: Event) {
        let commands = self.scheduler.handle(self.now_ms, event);
        if self.ending.is_some() {
            assert_eq!(commands, [], "something after the end");
        }
        let mut filled = BTreeSet::new();
        let mut replaced = Vec::new();
        for command in commands {
            self.log.push(command);
            match command {
                Command::Start { worker, attempt, task, purpose } => {
                    self.start(worker, attempt, task, purpose, &mut filled);
                }
                Command::Cut { worker, attempt } => {
                    let one = self.attempts.get_mut(&attempt).expect("cuts what is there");
                    assert_eq!(one.worker, worker);
                    assert!(one.task.steps().is_some());
                    if one.started && self.dice.chance(self.weather.answered) {
                        one.limit = Some(one.at + stride(one.task));
                    }
                }
                Command::Cancel { worker, attempt } => {
                    let one = self.attempts.get(&attempt).expect("cancels what is there");
                    assert_eq!(one.worker, worker);
                    // It notices some time later.
                    let at = self.now_ms + self.dice.below(3000);
                    self.numbers += 1;
                    self.attempts.get_mut(&attempt).unwrap().number = self.numbers;
                    self.due.insert((at, Due::Steps(attempt, self.numbers)));
                }
                Command::Forget(task) => {
                    assert!(self.committed.remove(&task).is_some(), "forgets {task:?}, which is not there");
                }
                Command::DropSample { sample, .. } => assert!(self.dropped.insert(sample)),
                Command::Quarantine { worker } => {
                    // Somebody replaces what is needed.
                    if let Some(one) = self.workers.get(&worker).filter(|one| one.immortal) {
                        replaced.push(one.spec.clone());
                    }
                }
                Command::End(ending) => {
                    assert_eq!(self.ending, None, "two ends");
                    self.ending = Some(ending);
                    self.check_end(ending);
                }
            }
        }
        for spec in replaced {
            self.add_worker(spec, self.now_ms + 1000, true);
        }
        let workers: Vec<WorkerId> = self.workers.keys().copied().collect();
        workers.into_iter().for_each(|worker| self.run_next(worker));
        // A cut attempt says so.
        let cut: Vec<(AttemptId, Task)> = self
            .attempts
            .iter_mut()
            .filter_map(|(&id, attempt)| Some((id, attempt.limit.take()?, attempt)))
            .filter_map(|(id, limit, attempt)| {
                let steps = attempt.task.steps().filter(|steps| limit < steps.end)?;
                attempt.task = attempt.task.over(steps.start..limit);
                Some((id, attempt.task))
            })
            .collect();
        for (attempt, task) in cut {
            self.tell(Event::Cut { attempt, task });
        }
    }

    fn start(
        &mut self,
        worker: WorkerId,
        attempt: AttemptId,
        task: Task,
        purpose: Purpose,
        filled: &mut BTreeSet<WorkerId>,
    ) {
        self.starts += 1;
        assert!(self.starts < 200_000, "no end");
        assert!(self.ending.is_none());
        self.check_inputs(task);
        assert_eq!(self.committed.contains_key(&task), purpose == Purpose::Audit, "{task:?} {purpose:?}");
        let site = &self.sites[&self.workers[&worker].spec.site];
        let may = |sample: u32| site.allowed[sample as usize];
        match task.sample() {
            Some(sample) => assert!(may(sample) && !self.dropped.contains(&sample), "{task:?}"),
            None => {
                let all = 0..self.scheduler.plan().samples.len() as u32;
                assert!(all.filter(|sample| !self.dropped.contains(sample)).all(may), "{task:?}");
            }
        }
        let one = self.workers.get_mut(&worker).expect("the worker is there");
        assert!(!one.batch || !one.filled || filled.contains(&worker), "a bundle is filled once");
        one.filled = true;
        filled.insert(worker);
        one.queue.push(attempt);
        let at = task.steps().map_or(0, |steps| steps.start);
        let slow = if self.dice.chance(self.weather.slow) { 20 } else { 1 };
        let cell_ms = (50 + self.dice.below(4000)) * slow;
        let new = Attempt { worker, task, started: false, limit: None, at, cell_ms, number: 0 };
        assert!(self.attempts.insert(attempt, new).is_none());
    }

    fn run_next(&mut self, worker: WorkerId) {
        loop {
            let one = self.workers.get_mut(&worker).expect("it is there");
            if one.queue.is_empty() || one.running.len() >= one.spec.slots as usize {
                return;
            }
            let id = one.queue.remove(0);
            one.running.insert(id);
            let slot = one.running.len() as u32 - 1;
            let memory = self.scheduler.plan().memory;
            let used: u64 = one.running.iter().map(|id| memory.of(self.attempts[id].task)).sum();
            assert!(
                used + memory.fixed_bytes <= one.spec.memory_bytes || one.running.len() == 1,
                "memory of {worker:?}"
            );
            let attempt = self.attempts.get_mut(&id).expect("it is there");
            attempt.started = true;
            self.numbers += 1;
            attempt.number = self.numbers;
            let at = self.now_ms + attempt.cell_ms;
            self.due.insert((at, Due::Steps(id, attempt.number)));
            self.tell(Event::Started { attempt: id, slot });
        }
    }

    fn check_inputs(&self, task: Task) {
        let inputs = self.scheduler.inputs(task);
        for input in &inputs {
            assert!(self.committed.contains_key(input), "{task:?} needs {input:?}");
        }
        let covered = |sample: Option<u32>, range: Range<u32>| {
            let mut next = range.start;
            for input in &inputs {
                if let Task::Region(_, shard @ Shard::Cells { .. }) | Task::Joint(shard) = *input
                    && input.sample() == sample
                {
                    assert!(cells(shard).start <= next, "{task:?}: gap at {next}");
                    next = next.max(cells(shard).end);
                }
            }
            assert!(next >= range.end, "{task:?} lacks {next}..{}", range.end);
        };
        let plan = self.scheduler.plan();
        match task {
            Task::Joint(shard) => {
                let range = cells(shard).start.saturating_sub(1)..cells(shard).end;
                let joined = plan.joined(|sample| self.dropped.contains(&sample));
                joined.into_iter().for_each(|sample| covered(Some(sample), range.clone()));
            }
            Task::WriteSample(_, part) | Task::WriteJoint(part) => {
                let of = task.sample();
                covered(of, plan.parts().cells(part));
                let before = (0..part).map(|part| plan.parts().cells(part));
                before.for_each(|cells| self.check_cells(of, cells));
            }
            Task::FinishSample(_) | Task::FinishCohort => {
                let of = task.sample();
                self.check_cells(of, 0..plan.cells);
                let unplaced = of.map(|sample| Task::Region(sample, Shard::Unplaced));
                let parts = (0..plan.parts().count()).map(|part| Task::write(of, part));
                let expect: Vec<Task> = parts.chain(unplaced).collect();
                assert!(inputs.ends_with(&expect), "{task:?} reads {inputs:?}");
            }
            Task::Intake(lane, part @ 1..) => assert_eq!(inputs, [Task::Intake(lane, part - 1)]),
            Task::Map(lane, chunk) => {
                assert_eq!(inputs, [Task::Intake(lane, chunk.index / INTAKE_CHUNKS), Task::Model(lane)]);
            }
            Task::Region(sample, _) => self.check_maps(sample),
            _ => {}
        }
    }

    fn check_cells(&self, sample: Option<u32>, range: Range<u32>) {
        let of_sample = self.committed.keys().filter(|task| task.sample() == sample);
        let done = of_sample.filter_map(|task| match *task {
            Task::Region(_, shard) | Task::Joint(shard) => Some(cells(shard)),
            _ => None,
        });
        let done: usize = done.map(|cells| range.clone().filter(|cell| cells.contains(cell)).count()).sum();
        assert_eq!(done, range.len(), "cells of {sample:?} in {range:?}");
    }

    fn check_maps(&self, sample: u32) {
        for lane in 0..self.scheduler.plan().samples[sample as usize].lanes {
            let lane = LaneId { sample, lane };
            let mut parts = 0.0;
            for task in self.committed.keys() {
                if let Task::Map(of, chunk) = *task
                    && of == lane
                {
                    parts += chunk.share();
                }
            }
            assert_eq!(parts, f64::from(self.weather.chunks), "maps of {lane:?}");
        }
    }

    fn check_partition(&self, what: &str, shards: impl Iterator<Item = Shard>) {
        let mut next = 0;
        for shard in shards.filter(|&shard| shard != Shard::Unplaced) {
            assert_eq!(cells(shard).start, next, "{what}");
            next = cells(shard).end;
        }
        assert_eq!(next, self.scheduler.plan().cells, "{what}");
    }

    fn check_written(&self, of: Option<u32>) {
        let parts = (0..self.scheduler.plan().parts().count()).map(|part| Task::write(of, part));
        parts.for_each(|part| assert!(self.committed.contains_key(&part), "{part:?}"));
    }

    fn check_joint(&self) {
        let joints = self.committed.keys().filter_map(|task| match task {
            Task::Joint(shard) => Some(*shard),
            _ => None,
        });
        self.check_partition("joint", joints);
    }

    fn check_end(&self, ending: Ending) {
        for attempt in self.attempts.keys() {
            assert!(self.scheduler.commits(*attempt).is_none(), "ends while something runs");
        }
        if !matches!(ending, Ending::Complete | Ending::Partial) {
            return;
        }
        assert_eq!(ending == Ending::Partial, !self.dropped.is_empty());
        let plan = self.scheduler.plan();
        for sample in (0..plan.samples.len() as u32).filter(|sample| !self.dropped.contains(sample)) {
            let regions = self.committed.keys().filter_map(|task| match *task {
                Task::Region(of, shard) if of == sample => Some(shard),
                _ => None,
            });
            // Results stand for what they were made from.
            if !self.finished.contains(&Some(sample)) {
                self.check_partition("region", regions);
                self.check_written(Some(sample));
            }
            assert!(self.committed.contains_key(&Task::FinishSample(sample)));
            assert_eq!(self.committed.contains_key(&Task::SealSample(sample)), plan.seals);
        }
        self.check_joint();
        if !self.finished.contains(&None) {
            self.check_written(None);
        }
        assert!(self.committed.contains_key(&Task::FinishCohort));
        assert_eq!(self.committed.contains_key(&Task::SealCohort), plan.seals);
        // Nothing that a liar said is left, once it was found.
        let found = |said: &Command| matches!(said, Command::Quarantine { worker } if Some(*worker) == self.weather.liar);
        let counts = |task: &Task| task.sample().is_none_or(|sample| !self.dropped.contains(&sample));
        let wrong =
            self.committed.iter().filter(|(task, content)| **content != truth(**task) && counts(task));
        let wrong: Vec<&Task> = wrong.map(|(task, _)| task).collect();
        assert!(wrong.is_empty() || !self.log.iter().any(found), "{wrong:?}");
        assert!(self.scheduler.is_complete());
    }

    /// What happens next. `false` when nothing ever will.
    pub fn step(&mut self) -> bool {
        let Some((at, due)) = self.due.pop_first() else { return false };
        self.now_ms = self.now_ms.max(at);
        match due {
            Due::Tick => {
                self.due.insert((self.now_ms + 1000, Due::Tick));
                self.tell(Event::Tick);
            }
            Due::Joins(worker) => self.joins(worker),
            Due::Steps(attempt, number) => self.advance(attempt, number),
        }
        true
    }

    /// Runs to the end.
    pub fn run(&mut self) -> Ending {
        while self.ending.is_none() {
            assert!(self.now_ms < 20_000_000, "{}", self.report());
            self.step();
        }
        self.ending.unwrap()
    }

    fn advance(&mut self, id: AttemptId, number: u64) {
        let Some(attempt) = self.attempts.get(&id).filter(|attempt| attempt.number == number).cloned() else {
            return;
        };
        let weather = self.weather.clone();
        if !attempt.started {
            // Cancelled in the queue.
            return self.ends(id, Err((Class::Interrupted, None, None)));
        }
        if self.dice.chance(weather.lost) && !self.workers[&attempt.worker].immortal {
            return self.lose(attempt.worker, Departure::Lost);
        }
        let stride = stride(attempt.task);
        if attempt.task.steps().is_some_and(|steps| attempt.at + stride < steps.end) {
            self.numbers += 1;
            let one = self.attempts.get_mut(&id).unwrap();
            one.at += stride;
            one.number = self.numbers;
            self.due.insert((self.now_ms + one.cell_ms, Due::Steps(id, self.numbers)));
            let step = one.at;
            if self.dice.chance(800) {
                self.tell(Event::Reached { attempt: id, step });
            }
            return;
        }
        let inputs = self.scheduler.inputs(attempt.task);
        let result = if self.dice.chance(weather.failing) {
            let classes = [Class::Failed, Class::Remote, Class::Internal];
            Err((classes[self.dice.below(3) as usize], None, None))
        } else if self.dice.chance(weather.exhausted) {
            let what = if self.dice.chance(500) { Exhausted::Memory } else { Exhausted::Time };
            Err((Class::Failed, Some(what), None))
        } else if self.dice.chance(weather.damaged) && !inputs.is_empty() {
            let damaged = inputs[self.dice.below(inputs.len() as u64) as usize];
            Err((Class::Integrity, None, Some(damaged)))
        } else if self.dice.chance(weather.bad_input) {
            Err((Class::Input, None, None))
        } else {
            Ok(())
        };
        self.ends(id, result);
    }

    fn ends(&mut self, id: AttemptId, result: Result<(), (Class, Option<Exhausted>, Option<Task>)>) {
        let attempt = self.attempts[&id].clone();
        let usage = Usage { started_ms: 0, finished_ms: attempt.cell_ms, ..Usage::default() };
        let event = match result {
            Ok(()) => {
                let comparable = attempt.task.stage() < Stage::Seal && attempt.task != Task::FinishCohort;
                let lies = self.weather.liar == Some(attempt.worker) && comparable;
                let content = truth(attempt.task) ^ u64::from(lies);
                if let Some(task) = self.scheduler.commits(id) {
                    assert_eq!(task, attempt.task);
                    assert!(self.ending.is_none());
                    self.check_free(task);
                    assert!(self.committed.insert(task, content).is_none(), "{task:?} twice");
                }
                Event::Done { attempt: id, facts: self.facts(attempt.task, content), usage }
            }
            Err((class, exhausted, damaged)) => {
                Event::Failed { attempt: id, class, exhausted, damaged, usage }
            }
        };
        self.leave_worker(id);
        self.tell(event.clone());
        if self.dice.chance(20) {
            self.tell(event);
        }
        let worker = attempt.worker;
        let over = self
            .workers
            .get(&worker)
            .is_some_and(|one| one.batch && one.filled && one.queue.is_empty() && one.running.is_empty());
        if over {
            let spec = self.workers[&worker].spec.clone();
            self.lose(worker, Departure::Ended);
            // The engine may submit one more.
            self.add_worker(spec, self.now_ms + 500, false);
        }
    }

    fn check_free(&self, task: Task) {
        let Some(mine) = task.steps() else { return };
        for other in self.committed.keys() {
            let same = match (task, *other) {
                (Task::Region(a, _), Task::Region(b, _)) => a == b,
                (Task::Joint(_), Task::Joint(_)) => true,
                (Task::Map(a, mine), Task::Map(b, theirs)) => a == b && mine.index == theirs.index,
                _ => false,
            };
            if let Some(theirs) = other.steps().filter(|_| same) {
                assert!(mine.end <= theirs.start || theirs.end <= mine.start, "{task:?} overlaps {other:?}");
            }
        }
    }

    fn leave_worker(&mut self, id: AttemptId) {
        if let Some(attempt) = self.attempts.remove(&id)
            && let Some(worker) = self.workers.get_mut(&attempt.worker)
        {
            worker.running.remove(&id);
            worker.queue.retain(|&queued| queued != id);
        }
    }

    pub fn lose(&mut self, id: WorkerId, why: Departure) {
        let worker = self.workers.remove(&id).expect("it was there");
        let attempts: Vec<AttemptId> = worker.queue.iter().chain(&worker.running).copied().collect();
        for attempt in &attempts {
            self.attempts.remove(attempt);
        }
        self.tell(Event::Left { worker: id, why });
        if let Some(&attempt) = attempts.first() {
            let usage = Usage::default();
            self.tell(Event::Done { attempt, facts: Facts::default(), usage });
        }
        if why == Departure::Lost && self.dice.chance(700) {
            let at = self.now_ms + self.dice.below(20_000);
            self.add_worker(worker.spec, at, false);
        }
    }

    pub fn facts(&self, task: Task, content: u64) -> Facts {
        let mut digest = [7; 32];
        digest[..8].copy_from_slice(&content.to_le_bytes());
        let cells = self.scheduler.plan().cells;
        Facts {
            chunks: match task {
                Task::Intake(_, part) if (part + 1) * INTAKE_CHUNKS >= self.weather.chunks => {
                    Some(self.weather.chunks)
                }
                _ => None,
            },
            pairs: match task {
                Task::Intake(_, part) => {
                    Some(25_000 * u64::from(self.weather.chunks.min((part + 1) * INTAKE_CHUNKS)))
                }
                Task::Map(..) => Some(25_000),
                _ => None,
            },
            weights: match task {
                Task::Map(..) => (0..cells).map(|cell| (Cell(cell), 10 + cell * 97 % 50)).collect(),
                _ => Vec::new(),
            },
            content: Some(digest),
        }
    }

    /// Counts what happened.
    pub fn numbers(&self) -> u64 {
        self.numbers
    }

    /// Where a job stands that does not end.
    pub fn report(&self) -> String {
        let scheduler = &self.scheduler;
        let rows = (0..scheduler.plan().samples.len() as u32).map(Some).chain([None]);
        let waiting: Vec<_> = rows.map(|row| scheduler.waiting(row)).collect();
        let running: Vec<_> = scheduler.running().collect();
        let workers: Vec<_> = scheduler.workers().collect();
        format!("no end after {} ms\n{waiting:#?}\n{running:#?}\n{workers:#?}", self.now_ms)
    }
}

/// What honest workers make of a task.
pub fn truth(task: Task) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    task.hash(&mut hasher);
    hasher.finish() | 2
}
