//! The driver when several things happen in one round: what was decided upon and overtaken before it was sent.
//!
//! The engine here is played by the test: what it says at once is heard in one round.

use cluster::{
    Committing, Drive, Ended, Engine, Leasing, Observer, Office, Order, Output, Report, TaskFailure, drive,
};
use jobs::failure::{Class, Failure};
use jobs::lease::Lease;
use jobs::policy::{Action, DataClass, Purpose};
use jobs::task::{Chunk, LaneId, Task};
use jobs::time::Timestamp;
use scheduler::{
    CostModel, Departure, Ending, Facts, MemoryModel, Options, Plan, SamplePlan, Scheduler, SiteSpec,
    StageCost, Usage, WorkerId, WorkerSpec,
};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Sender, channel};
use storage::lease::{LeaseKey, SignedLease};
use storage::{Commit, Fence, JobIdentity, Journal};
use zeroize::Zeroizing;

const CELLS: u32 = 4;
/// Chunks of every lane.
const CHUNKS: u32 = 2;

fn plan(lanes: &[u32]) -> Plan {
    let sample = |(at, &lanes): (usize, &u32)| {
        let name = char::from(b'A' + at as u8).to_string();
        SamplePlan { name, lanes, joint: true, pairs: 2000 }
    };
    let cost = StageCost { fixed_ms: 1.0, read_ns: 1.0, cell_ms: 1.0, spread: 0.1 };
    Plan {
        samples: lanes.iter().enumerate().map(sample).collect(),
        cells: CELLS,
        shard_cells_max: 8,
        chunk_pairs: 1000,
        lines: None,
        seals: false,
        memory: MemoryModel { fixed_bytes: 0, task_bytes: [1; 7] },
        costs: CostModel { stages: [cost; 7], bytes_per_read: 1.0 },
    }
}

struct Desk(LeaseKey);

impl Office for Desk {
    fn lease(&self, asked: &[Leasing<'_>]) -> Result<Vec<Result<SignedLease, Failure>>, Failure> {
        let lease = Lease {
            job: "j".to_owned(),
            task: "t".to_owned(),
            attempt: 1,
            action: Action::Read,
            class: DataClass::Fastq,
            samples: Vec::new(),
            purpose: Purpose::Qa,
            site: "here".to_owned(),
            epoch: 1,
            policy_sha256: String::new(),
            issued: Timestamp::from_micros(0),
            expires: Timestamp::from_micros(1),
        };
        Ok(asked.iter().map(|_| Ok(self.0.sign(&lease))).collect())
    }

    fn committing(&self, _outputs: &[Committing<'_>]) -> Result<(), Failure> {
        Ok(())
    }

    fn facts_of(&self, task: Task, commit: &Commit) -> Facts {
        let chunks = matches!(task, Task::Intake(..)).then_some(CHUNKS);
        Facts { chunks, pairs: Some(1000), weights: Vec::new(), content: Some(commit.content) }
    }

    fn told(&self, task: Task, commit: Commit) -> Commit {
        match task {
            Task::Map(..) => Commit { summary: Vec::new(), ..commit },
            _ => commit,
        }
    }

    fn basis(&self, _task: Task) -> [u8; 16] {
        [3; 16]
    }

    fn verify(&self, _task: Task, _output: &Output) -> Result<(), Failure> {
        Ok(())
    }

    fn dropped(
        &self,
        _sample: u32,
        _reason: Class,
        _failure: Option<(Task, &TaskFailure)>,
    ) -> Result<(), Failure> {
        Ok(())
    }

    fn logged(&self, _worker: WorkerId, _events: &[u8]) -> Result<(), Failure> {
        Ok(())
    }
}

/// What an engine answers to tasks that were given to it: reports that are heard together.
type Answer<'a> = Box<dyn FnMut(&mut Play, WorkerId, Task) -> Vec<Report> + 'a>;

/// The engine's memory: what was given to whom, in order.
#[derive(Default)]
struct Play {
    given: Vec<(WorkerId, Task)>,
    /// Bytes of summaries by the task that they are of, as workers were told them.
    told: BTreeMap<Task, usize>,
    attempts: BTreeMap<Task, scheduler::AttemptId>,
    /// Attempts at which the answer has not yet said anything.
    held: Vec<Task>,
}

impl Play {
    fn done(&self, task: Task) -> Report {
        let (attempt, usage) = (self.attempts[&task], Usage::default());
        let output = Output { content: [7; 32], summary: vec![1; 9], ..Output::default() };
        Report::Ended(Ended { attempt, task, result: Ok(output), usage })
    }

    fn failed(&self, task: Task, class: Class, damaged: Option<Task>) -> Report {
        let (attempt, usage) = (self.attempts[&task], Usage::default());
        let chain = vec!["no".to_owned()];
        let failure = TaskFailure { class, chain, hint: None, exhausted: None, damaged };
        Report::Ended(Ended { attempt, task, result: Err(failure), usage })
    }
}

struct Stage<'a> {
    play: &'a mut Play,
    answer: Answer<'a>,
    reports: Sender<Report>,
}

impl Engine for Stage<'_> {
    fn give(&mut self, worker: WorkerId, orders: Vec<Order>) -> Result<(), Failure> {
        for order in orders {
            if let Order::Run(request) = order {
                self.play.given.push((worker, request.task));
                let told = request.inputs.iter().map(|(input, commit)| (*input, commit.summary.len()));
                self.play.told.extend(told);
                self.play.attempts.insert(request.task, request.attempt);
                for report in (self.answer)(self.play, worker, request.task) {
                    self.reports.send(report).unwrap();
                }
            }
        }
        Ok(())
    }
}

struct Silent;

impl Observer for Silent {}

fn joined(worker: u32, slots: u32) -> Report {
    let spec = WorkerSpec { site: 0, slots, memory_bytes: 1 << 30, name: format!("w{worker}") };
    Report::Joined { worker: WorkerId::new(0, worker), spec }
}

/// Drives a job of samples with so many lanes; `first` is heard before anything is given. What was given, how it ended,
/// and the attempts that the journal counts.
fn run(
    lanes: &[u32],
    options: Options,
    first: Vec<Report>,
    answer: impl FnMut(&mut Play, WorkerId, Task) -> Vec<Report>,
) -> (Vec<(WorkerId, Task)>, Ending, BTreeMap<String, u32>) {
    let dir = tempfile::tempdir().unwrap();
    let journal =
        Journal::open_or_create(Fence::acquire(dir.path()).unwrap(), &JobIdentity::default()).unwrap();
    let mut scheduler = Scheduler::new(plan(lanes), options);
    let (reports, heard) = channel();
    first.into_iter().for_each(|report| reports.send(report).unwrap());
    let site = SiteSpec {
        name: "here".to_owned(),
        price_core_hour: 0.0,
        latency_ms: 0,
        bytes_per_second: None,
        bundles: None,
        allowed: vec![true; lanes.len()],
        stages: [true; 7],
    };
    let mut play = Play::default();
    let stage = Stage { play: &mut play, answer: Box::new(answer), reports };
    let outcome = drive(Drive {
        scheduler: &mut scheduler,
        journal: &journal,
        office: &Desk(LeaseKey::from_seed(&Zeroizing::new([1; 32]))),
        observer: &mut Silent,
        sites: vec![site],
        engines: vec![Box::new(stage)],
        home: None,
        reports: heard,
        stop: &AtomicBool::new(false),
    });
    let attempts = journal.attempts().unwrap();
    (play.given, outcome.unwrap().ending, attempts)
}

const fn lane(sample: u32, lane: u32) -> LaneId {
    LaneId { sample, lane }
}

#[test]
fn a_worker_that_is_gone_before_its_orders_leave_is_given_nothing() {
    let gone = WorkerId::new(0, 1);
    let first = vec![joined(1, 4), Report::Left { worker: gone, why: Departure::Lost }, joined(0, 2)];
    let (given, ending, attempts) =
        run(&[2], Options::default(), first, |play, _, task| vec![play.done(task)]);
    assert_eq!(ending, Ending::Complete);
    assert!(given.iter().all(|(worker, _)| *worker != gone), "{given:?}");
    // What was meant for it was no attempt.
    assert!(attempts.values().all(|&attempts| attempts == 1), "{attempts:?}");
}

#[test]
fn what_only_the_scheduler_needs_of_an_output_is_told_to_no_worker() {
    let mut told = BTreeMap::new();
    let (_, ending, _) = run(&[2], Options::default(), vec![joined(0, 2)], |play, _, task| {
        told.extend(play.told.clone());
        vec![play.done(task)]
    });
    assert_eq!(ending, Ending::Complete);
    let maps = told.iter().filter(|(task, _)| matches!(task, Task::Map(..)));
    assert_eq!(maps.map(|(_, &bytes)| bytes).collect::<Vec<_>>(), [0; 2 * CHUNKS as usize]);
    assert!(told.iter().any(|(task, &bytes)| matches!(task, Task::Region(..)) && bytes == 9), "{told:?}");
}

#[test]
fn what_is_cancelled_before_it_is_sent_is_not_sent_and_frees_its_core() {
    let options = Options { keep_going: true, speculate: false, ..Options::default() };
    let (good, bad) = (intake(lane(0, 0)), intake(lane(0, 1)));
    let (given, ending, attempts) = run(&[2, 1], options, vec![joined(0, 2)], move |play, _, task| {
        match task {
            // Both lanes of the first sample are heard of in one round: the model of the one is decided upon, and the
            // failure of the other drops the sample.
            task if task == good || task == bad => {
                play.held.push(task);
                match play.held.len() {
                    2 => vec![play.done(good), play.failed(bad, Class::Input, None)],
                    _ => Vec::new(),
                }
            }
            task => vec![play.done(task)],
        }
    });
    // The other sample has one core for all it needs, and the one that was meant for the model.
    assert_eq!(ending, Ending::Partial);
    let of_dropped = given.iter().filter(|(_, task)| task.sample() == Some(0));
    assert_eq!(of_dropped.count(), 2, "{given:?}");
    assert!(!attempts.contains_key(&Task::Model(lane(0, 0)).key(&["A".to_owned(), "B".to_owned()])));
}

#[test]
fn what_lost_its_input_before_it_is_sent_waits_for_it() {
    let options = Options { speculate: false, ..Options::default() };
    let [first, second] = [0, 1].map(|chunk| Task::Map(lane(0, 0), Chunk::whole(chunk)));
    let mut damaged = false;
    let (given, ending, _) = run(&[1], options, vec![joined(0, 1)], move |play, _, task| {
        if task == first && !std::mem::replace(&mut damaged, true) {
            // A second worker is given the other map, whose input the first finds damaged, all in one round.
            return vec![joined(1, 1), play.failed(task, Class::Integrity, Some(intake(lane(0, 0))))];
        }
        vec![play.done(task)]
    });
    assert_eq!(ending, Ending::Complete);
    let at = |task: Task| given.iter().enumerate().filter(move |(_, one)| one.1 == task).map(|(at, _)| at);
    let again = at(intake(lane(0, 0))).nth(1).expect("the intake is done again");
    assert!(at(second).all(|at| at > again), "{given:?}");
}

/// The only part of a lane's intake.
fn intake(lane: LaneId) -> Task {
    Task::Intake(lane, 0)
}
