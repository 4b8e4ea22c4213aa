//! The state machine of a job: `handle(now, event) -> commands`.
//!
//! A task is waiting for inputs, ready, running, done or failed. Ready tasks start in the order of their rank (earlier
//! samples first, so that scratch is given back early), as long as a thread and their predicted memory are free. The
//! first failure stops the job: what runs may end, nothing new starts.

use crate::old::plan::{Limits, Plan};
use jobs::failure::Class;
use jobs::task::{Chunk, LaneId, Shard, Stage, Task};
use std::collections::{BTreeMap, BTreeSet};

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The job begins, or begins again: tasks found committed in the journal were already reported.
    Begin,
    /// A task's output is committed. An intake says how many chunks its lane has.
    Done {
        /// The task.
        task: Task,
        /// Chunks of the lane, for an intake.
        chunks: Option<u32>,
    },
    /// An attempt ended without output.
    Failed {
        /// The task.
        task: Task,
        /// Class of its error.
        class: Class,
    },
    /// Somebody wants the job to stop.
    Stop,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Run this task now.
    Start(Task),
    /// Nothing runs and nothing more will.
    End(Ending),
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every task is done.
    Complete,
    /// A task failed.
    Failed(Class),
    /// It was stopped.
    Stopped,
}

/// Why a task does not run yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Waiting {
    /// Outputs of this stage are missing.
    Inputs(Stage),
    /// All threads are busy.
    Threads,
    /// Its predicted memory is not free.
    Memory,
    /// The job is stopping.
    Stopping,
    /// The job has not begun.
    Idle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Ready,
    Running,
    Done,
    Failed,
}

/// Numbers of one stage for progress displays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageProgress {
    /// Tasks known so far.
    pub tasks: u64,
    /// Running now.
    pub running: u64,
    /// Committed.
    pub done: u64,
    /// Failed.
    pub failed: u64,
}

/// The scheduler of one job.
#[derive(Debug)]
pub struct Scheduler {
    plan: Plan,
    limits: Limits,
    states: BTreeMap<Task, State>,
    ready: BTreeSet<(Rank, Task)>,
    chunks: BTreeMap<LaneId, u32>,
    maps_left: Vec<u64>,
    regions_left: Vec<u64>,
    shards_left: BTreeMap<Shard, u64>,
    finals_left: u64,
    seals_left: u64,
    running: u32,
    memory_used: u64,
    begun: bool,
    stopping: Option<Ending>,
    ended: bool,
    now_ms: u64,
}

/// Sample first, then stage; the cohort's own tasks last.
type Rank = (u32, Stage);

fn rank(task: Task) -> Rank {
    (task.sample().unwrap_or(u32::MAX), task.stage())
}

impl Scheduler {
    /// A job with nothing done yet. Report what the journal holds as [`Event::Done`], then [`Event::Begin`].
    pub fn new(plan: Plan, limits: Limits) -> Self {
        let samples = plan.samples.len();
        let joint = plan.joint_samples().count() as u64;
        let mut states = BTreeMap::new();
        for lane in plan.lanes() {
            states.insert(Task::Intake(lane), State::Waiting);
            states.insert(Task::Model(lane), State::Waiting);
        }
        for sample in 0..samples as u32 {
            for shard in plan.region_shards() {
                states.insert(Task::Region(sample, shard), State::Waiting);
            }
            states.insert(Task::FinishSample(sample), State::Waiting);
            if plan.seals {
                states.insert(Task::SealSample(sample), State::Waiting);
            }
        }
        for &shard in &plan.shards {
            states.insert(Task::Joint(shard), State::Waiting);
        }
        states.insert(Task::FinishCohort, State::Waiting);
        if plan.seals {
            states.insert(Task::SealCohort, State::Waiting);
        }
        Scheduler {
            maps_left: vec![0; samples],
            regions_left: vec![plan.shards.len() as u64 + 1; samples],
            shards_left: plan.shards.iter().map(|&shard| (shard, joint)).collect(),
            finals_left: samples as u64 + plan.shards.len() as u64,
            seals_left: samples as u64 + 1,
            states,
            ready: BTreeSet::new(),
            chunks: BTreeMap::new(),
            running: 0,
            memory_used: plan.memory.fixed_bytes,
            begun: false,
            stopping: None,
            ended: false,
            now_ms: 0,
            plan,
            limits,
        }
    }

    /// The plan this job follows.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Whether this task is of the plan, as far as the plan can tell before the intakes are done.
    pub fn knows(&self, task: Task) -> bool {
        match task {
            Task::Map(lane, _) => self.states.contains_key(&Task::Intake(lane)),
            _ => self.states.contains_key(&task),
        }
    }

    /// The committed tasks whose outputs `task` reads.
    pub fn inputs(&self, task: Task) -> Vec<Task> {
        self.plan.inputs(task, |lane| self.chunks.get(&lane).copied().unwrap_or(0))
    }

    /// Takes one event and answers with what to do. `now_ms` counts from any fixed instant and never goes back.
    pub fn handle(&mut self, now_ms: u64, event: Event) -> Vec<Command> {
        self.now_ms = self.now_ms.max(now_ms);
        match event {
            Event::Begin => {
                self.begun = true;
                self.wake_all();
            }
            Event::Done { task, chunks } => self.done(task, chunks),
            Event::Failed { task, class } => {
                self.leave_running(task);
                self.states.insert(task, State::Failed);
                self.stopping.get_or_insert(Ending::Failed(class));
            }
            Event::Stop => {
                self.stopping.get_or_insert(Ending::Stopped);
            }
        }
        self.dispatch()
    }

    fn done(&mut self, task: Task, chunks: Option<u32>) {
        self.leave_running(task);
        self.ready.remove(&(rank(task), task));
        if self.states.insert(task, State::Done) == Some(State::Done) {
            return;
        }
        match task {
            Task::Intake(lane) => {
                let chunks = chunks.unwrap_or(0);
                self.chunks.insert(lane, chunks);
                for chunk in 0..chunks {
                    // A chunk that the journal already reported stays done.
                    let state =
                        self.states.entry(Task::Map(lane, Chunk::whole(chunk))).or_insert(State::Waiting);
                    self.maps_left[lane.sample as usize] += u64::from(*state != State::Done);
                }
                self.wake(Task::Model(lane));
                self.wake_maps(lane);
                self.wake_regions(lane.sample);
            }
            Task::Model(lane) => self.wake_maps(lane),
            Task::Map(lane, _) => {
                if self.chunks.contains_key(&lane) {
                    self.maps_left[lane.sample as usize] -= 1;
                }
                self.wake_regions(lane.sample);
            }
            Task::Region(sample, shard) => {
                self.regions_left[sample as usize] -= 1;
                if self.plan.samples[sample as usize].joint
                    && let Some(left) = self.shards_left.get_mut(&shard)
                {
                    *left -= 1;
                    self.wake_joints(shard);
                }
                self.wake(Task::FinishSample(sample));
            }
            Task::Joint(_) => {
                self.finals_left -= 1;
                self.wake(Task::FinishCohort);
            }
            Task::FinishSample(sample) => {
                self.finals_left -= 1;
                self.wake(Task::FinishCohort);
                self.wake(Task::SealSample(sample));
            }
            Task::FinishCohort | Task::SealSample(_) => {
                self.seals_left = self.seals_left.saturating_sub(1);
                self.wake(Task::SealCohort);
            }
            Task::SealCohort => {}
        }
    }

    fn leave_running(&mut self, task: Task) {
        if self.states.get(&task) == Some(&State::Running) {
            self.running -= 1;
            self.memory_used -= self.plan.memory.of(task);
        }
    }

    /// Makes a waiting task ready if all its inputs are there.
    fn wake(&mut self, task: Task) {
        if self.states.get(&task) == Some(&State::Waiting) && self.missing(task).is_none() {
            self.states.insert(task, State::Ready);
            self.ready.insert((rank(task), task));
        }
    }

    fn wake_all(&mut self) {
        let tasks: Vec<Task> = self.states.keys().copied().collect();
        tasks.into_iter().for_each(|task| self.wake(task));
    }

    fn wake_maps(&mut self, lane: LaneId) {
        for chunk in 0..self.chunks.get(&lane).copied().unwrap_or(0) {
            self.wake(Task::Map(lane, Chunk::whole(chunk)));
        }
    }

    fn wake_regions(&mut self, sample: u32) {
        if self.maps_left[sample as usize] == 0 {
            let shards: Vec<Shard> = self.plan.region_shards().collect();
            shards.into_iter().for_each(|shard| self.wake(Task::Region(sample, shard)));
        }
    }

    /// A shard's joint task, and the next one's, which looks back over the line.
    fn wake_joints(&mut self, shard: Shard) {
        let at = self.plan.shards.iter().position(|&s| s == shard).expect("the shard is of this plan");
        for next in at..(at + 2).min(self.plan.shards.len()) {
            self.wake(Task::Joint(self.plan.shards[next]));
        }
    }

    /// The stage whose output a task still lacks.
    fn missing(&self, task: Task) -> Option<Stage> {
        let is_done = |task: Task| self.states.get(&task) == Some(&State::Done);
        let unless = |ok: bool, stage: Stage| (!ok).then_some(stage);
        match task {
            Task::Intake(_) => None,
            Task::Model(lane) => unless(is_done(Task::Intake(lane)), Stage::Intake),
            Task::Map(lane, _) => unless(is_done(Task::Intake(lane)), Stage::Intake)
                .or(unless(is_done(Task::Model(lane)), Stage::Model)),
            Task::Region(sample, _) => {
                let lanes = 0..self.plan.samples[sample as usize].lanes;
                let known = lanes.clone().all(|lane| self.chunks.contains_key(&LaneId { sample, lane }));
                unless(known, Stage::Intake).or(unless(self.maps_left[sample as usize] == 0, Stage::Map))
            }
            Task::Joint(shard) => {
                let at =
                    self.plan.shards.iter().position(|&s| s == shard).expect("the shard is of this plan");
                let window = &self.plan.shards[at.saturating_sub(1)..=at];
                unless(window.iter().all(|shard| self.shards_left[shard] == 0), Stage::Region)
            }
            Task::FinishSample(sample) => unless(self.regions_left[sample as usize] == 0, Stage::Region),
            Task::FinishCohort => unless(self.finals_left == 0, Stage::Finish),
            Task::SealSample(sample) => unless(is_done(Task::FinishSample(sample)), Stage::Finish),
            Task::SealCohort if !is_done(Task::FinishCohort) => Some(Stage::Finish),
            Task::SealCohort => unless(self.seals_left == 0, Stage::Seal),
        }
    }

    fn dispatch(&mut self) -> Vec<Command> {
        let mut commands = Vec::new();
        while self.begun && self.stopping.is_none() && self.running < self.limits.threads {
            let Some(&(rank, task)) = self.ready.iter().find(|(_, task)| self.fits(*task)) else { break };
            self.ready.remove(&(rank, task));
            self.states.insert(task, State::Running);
            self.running += 1;
            self.memory_used += self.plan.memory.of(task);
            commands.push(Command::Start(task));
        }
        if self.begun && self.running == 0 && !self.ended && commands.is_empty() {
            let ending = self.stopping.or(self.is_complete().then_some(Ending::Complete));
            if let Some(ending) = ending {
                self.ended = true;
                commands.push(Command::End(ending));
            }
        }
        commands
    }

    fn fits(&self, task: Task) -> bool {
        let memory = self.memory_used + self.plan.memory.of(task) <= self.limits.memory_bytes;
        self.running < self.limits.threads && (memory || self.running == 0)
    }

    /// Why a task does not run; `None` for tasks that run or have ended.
    pub fn why_waiting(&self, task: Task) -> Option<Waiting> {
        match self.states.get(&task)? {
            State::Running | State::Done | State::Failed => None,
            State::Waiting | State::Ready if self.stopping.is_some() => Some(Waiting::Stopping),
            State::Waiting => self.missing(task).map(Waiting::Inputs).or(Some(Waiting::Idle)),
            State::Ready if self.running >= self.limits.threads => Some(Waiting::Threads),
            State::Ready => Some(Waiting::Memory),
        }
    }

    /// Waiting tasks of a sample (or of the cohort) by stage and reason, with their number.
    pub fn waiting(&self, sample: Option<u32>) -> BTreeMap<(Stage, Waiting), u64> {
        let mut counts = BTreeMap::new();
        for &task in self.states.keys().filter(|task| task.sample() == sample) {
            if let Some(reason) = self.why_waiting(task) {
                *counts.entry((task.stage(), reason)).or_insert(0) += 1;
            }
        }
        counts
    }

    /// Progress of a stage, of one sample or of everything.
    pub fn progress(&self, stage: Stage, sample: Option<u32>) -> StageProgress {
        self.count(|task| task.stage() == stage && (sample.is_none() || task.sample() == sample))
    }

    /// Progress of a stage's tasks that belong to no sample.
    pub fn cohort_progress(&self, stage: Stage) -> StageProgress {
        self.count(|task| task.stage() == stage && task.sample().is_none())
    }

    /// Whether everything is done.
    pub fn is_complete(&self) -> bool {
        let last = if self.plan.seals { Task::SealCohort } else { Task::FinishCohort };
        self.states.get(&last) == Some(&State::Done)
    }

    fn count(&self, mine: impl Fn(Task) -> bool) -> StageProgress {
        let mut progress = StageProgress::default();
        for (_, state) in self.states.iter().filter(|&(&task, _)| mine(task)) {
            progress.tasks += 1;
            match state {
                State::Waiting | State::Ready => {}
                State::Running => progress.running += 1,
                State::Done => progress.done += 1,
                State::Failed => progress.failed += 1,
            }
        }
        progress
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::old::plan::{MemoryModel, SamplePlan};
    use jobs::genome::Cell;

    fn plan(samples: &[(u32, bool)], shards: u32, seals: bool) -> Plan {
        let sample =
            |(i, &(lanes, joint)): (usize, &(u32, bool))| SamplePlan { name: format!("S{i}"), lanes, joint };
        Plan {
            samples: samples.iter().enumerate().map(sample).collect(),
            shards: (0..shards).map(|i| Shard::Cells { first: Cell(i), end: Cell(i + 1) }).collect(),
            seals,
            memory: MemoryModel { fixed_bytes: 10, task_bytes: [1, 1, 30, 40, 20, 5, 3] },
        }
    }

    /// Drives a job to its end; tasks end in an order drawn from `seed`. Returns the order of starts.
    fn drive(
        plan: Plan,
        limits: Limits,
        committed: &[Task],
        chunks: u32,
        mut seed: u64,
    ) -> (Vec<Task>, Ending) {
        let mut scheduler = Scheduler::new(plan, limits);
        let ended = |task| Event::Done { task, chunks: matches!(task, Task::Intake(_)).then_some(chunks) };
        for &task in committed {
            assert_eq!(scheduler.handle(0, ended(task)), []);
        }
        let mut running = Vec::new();
        let mut started = Vec::new();
        let mut done: BTreeSet<Task> = committed.iter().copied().collect();
        let mut commands = scheduler.handle(0, Event::Begin);
        loop {
            for command in commands {
                match command {
                    Command::Start(task) => {
                        assert!(scheduler.inputs(task).iter().all(|input| done.contains(input)), "{task:?}");
                        assert!(!done.contains(&task) && !running.contains(&task), "{task:?} twice");
                        running.push(task);
                        started.push(task);
                        let used: u64 = running.iter().map(|&t| scheduler.plan.memory.of(t)).sum();
                        assert!(running.len() == 1 || used + 10 <= limits.memory_bytes);
                        assert!(running.len() <= limits.threads as usize);
                    }
                    Command::End(ending) => return (started, ending),
                }
            }
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let task = running.remove((seed >> 33) as usize % running.len());
            done.insert(task);
            commands = scheduler.handle(0, ended(task));
        }
    }

    #[test]
    fn every_task_runs_once_after_its_inputs_in_any_order_of_events() {
        for seed in 0..200 {
            let seals = seed % 2 == 1;
            let plan = plan(&[(1, true), (2, true), (1, false)], 3, seals);
            let limits = Limits { threads: 1 + seed as u32 % 4, memory_bytes: 60 + seed % 90 };
            let (started, ending) = drive(plan.clone(), limits, &[], 1 + seed as u32 % 3, seed);
            assert_eq!(ending, Ending::Complete);
            let chunks = 1 + seed % 3;
            let sealed = if seals { 4 } else { 0 };
            assert_eq!(started.len() as u64, 4 + 4 + 4 * chunks + 3 * 4 + 3 + 4 + sealed);
            let cut = seed as usize % started.len();
            let mut committed = started[..cut].to_vec();
            committed.sort_by_key(|task| task.key(&["c".into(), "a".into(), "b".into()]));
            let (resumed, ending) = drive(plan, limits, &committed, chunks as u32, seed + 1);
            assert_eq!((resumed.len() + cut, ending), (started.len(), Ending::Complete));
        }
    }

    #[test]
    fn a_failure_lets_running_tasks_end_and_starts_nothing_new() {
        let mut scheduler =
            Scheduler::new(plan(&[(2, true)], 1, false), Limits { threads: 2, memory_bytes: 1000 });
        let started = scheduler.handle(0, Event::Begin);
        let lane = |lane| Task::Intake(LaneId { sample: 0, lane });
        assert_eq!(started, [Command::Start(lane(0)), Command::Start(lane(1))]);
        assert_eq!(scheduler.handle(1, Event::Failed { task: lane(0), class: Class::Input }), []);
        assert_eq!(
            scheduler.handle(2, Event::Done { task: lane(1), chunks: Some(3) }),
            [Command::End(Ending::Failed(Class::Input))]
        );
        assert_eq!(scheduler.why_waiting(Task::FinishCohort), Some(Waiting::Stopping));
    }
}
