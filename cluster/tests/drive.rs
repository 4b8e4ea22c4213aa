//! The driver with threads that only pretend to work: what is committed, what a failure becomes, and how it goes on.

use cluster::local::Local;
use cluster::{
    Committing, Control, Drive, Leasing, Observer, Office, Outcome, Output, Report, Request, TaskFailure,
    TaskRunner, drive,
};
use jobs::failure::{Class, Failure};
use jobs::lease::Lease;
use jobs::policy::{Action, DataClass, Purpose};
use jobs::task::{Chunk, LaneId, Stage, Task};
use jobs::time::Timestamp;
use scheduler::{
    CostModel, Ending, Facts, MemoryModel, Options, Plan, SamplePlan, Scheduler, SiteSpec, StageCost,
    WorkerId, WorkerSpec,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use storage::lease::{LeaseKey, SignedLease};
use storage::{Commit, Fence, JobIdentity, Journal};
use zeroize::Zeroizing;

const CELLS: u32 = 24;

fn plan() -> Plan {
    let sample = |name: &str| SamplePlan { name: name.to_owned(), lanes: 1, joint: true, pairs: 2000 };
    let cost = StageCost { fixed_ms: 1.0, read_ns: 1.0, cell_ms: 1.0, spread: 0.1 };
    Plan {
        samples: vec![sample("A"), sample("B")],
        cells: CELLS,
        shard_cells_max: 8,
        chunk_pairs: 1000,
        lines: None,
        seals: false,
        memory: MemoryModel { fixed_bytes: 0, task_bytes: [1; 7] },
        costs: CostModel { stages: [cost; 7], bytes_per_read: 1.0 },
    }
}

/// Pretends to be both sides of a job.
struct Pretence {
    leases: LeaseKey,
    /// Fails with this class, or panics.
    fails: Option<fn(Task) -> Result<(), Class>>,
    /// Begins a few steps of these, and goes on only once it is cut.
    lingers: fn(Task) -> bool,
    /// Attempts after which the job is to stop.
    stop_after: u64,
    begun: AtomicU64,
    stop: AtomicBool,
    ran: Mutex<Vec<Task>>,
    dropped: Mutex<Vec<u32>>,
}

impl Pretence {
    fn new() -> Self {
        Pretence {
            leases: LeaseKey::from_seed(&Zeroizing::new([1; 32])),
            fails: None,
            lingers: |_| false,
            stop_after: u64::MAX,
            begun: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            ran: Mutex::default(),
            dropped: Mutex::default(),
        }
    }

    fn ran(&self) -> Vec<Task> {
        self.ran.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl TaskRunner for Pretence {
    fn run(&self, request: &Request, control: &Control) -> Result<Output, TaskFailure> {
        if self.begun.fetch_add(1, Ordering::SeqCst) + 1 == self.stop_after {
            self.stop.store(true, Ordering::SeqCst);
        }
        let task = request.task;
        if let Some(fails) = self.fails
            && let Err(class) = fails(task)
        {
            let (chain, hint) = (vec!["outer".to_owned(), "inner".to_owned()], Some("help".to_owned()));
            return Err(TaskFailure { class, chain, hint, exhausted: None, damaged: None });
        }
        if let Some(steps) = task.steps() {
            if (self.lingers)(task) {
                assert!(steps.clone().take(7).all(|step| control.reach(step) || control.cancelled()));
                let patience = Instant::now() + Duration::from_secs(60);
                while control.limit() == steps.end && !control.cancelled() {
                    assert!(Instant::now() < patience, "nobody cut {task:?}");
                    thread::yield_now();
                }
            }
            let done = steps.take_while(|&step| control.reach(step)).count();
            assert!(done > 0, "{task:?} came to nothing");
        }
        self.ran.lock().unwrap_or_else(PoisonError::into_inner).push(task);
        Ok(Output { content: [7; 32], ..Output::default() })
    }
}

impl Office for Pretence {
    fn lease(&self, asked: &[Leasing<'_>]) -> Result<Vec<Result<SignedLease, Failure>>, Failure> {
        let lease = |one: &Leasing<'_>| Lease {
            job: "j".to_owned(),
            task: format!("{:?}", one.task),
            attempt: one.number,
            action: Action::Read,
            class: DataClass::Fastq,
            samples: Vec::new(),
            purpose: Purpose::Qa,
            site: one.site.unwrap_or("here").to_owned(),
            epoch: 1,
            policy_sha256: String::new(),
            issued: Timestamp::from_micros(0),
            expires: Timestamp::from_micros(1),
        };
        Ok(asked.iter().map(|one| Ok(self.leases.sign(&lease(one)))).collect())
    }

    fn committing(&self, _outputs: &[Committing<'_>]) -> Result<(), Failure> {
        Ok(())
    }

    fn facts_of(&self, task: Task, commit: &Commit) -> Facts {
        let chunks = matches!(task, Task::Intake(..)).then_some(2);
        Facts { chunks, pairs: Some(1000), weights: Vec::new(), content: Some(commit.content) }
    }

    fn basis(&self, _task: Task) -> [u8; 16] {
        [3; 16]
    }

    fn verify(&self, _task: Task, _output: &Output) -> Result<(), Failure> {
        Ok(())
    }

    fn dropped(
        &self,
        sample: u32,
        _reason: Class,
        failure: Option<(Task, &TaskFailure)>,
    ) -> Result<(), Failure> {
        assert!(failure.is_some_and(|(task, _)| task.sample() == Some(sample)));
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
        Ok(())
    }

    fn logged(&self, _worker: WorkerId, _events: &[u8]) -> Result<(), Failure> {
        Ok(())
    }
}

struct Silent;

impl Observer for Silent {}

fn journal(dir: &Path) -> Journal {
    Journal::open_or_create(Fence::acquire(dir).unwrap(), &JobIdentity::default()).unwrap()
}

fn run(dir: &Path, pretence: &Pretence, options: Options) -> Outcome {
    let journal = journal(dir);
    let mut scheduler = Scheduler::new(plan(), options);
    let (reports, heard) = channel::<Report>();
    let site = SiteSpec {
        name: "here".to_owned(),
        price_core_hour: 0.0,
        latency_ms: 0,
        bytes_per_second: None,
        bundles: None,
        allowed: vec![true; 2],
        stages: [true; 7],
    };
    let spec = WorkerSpec { site: 0, slots: 3, memory_bytes: 1 << 30, name: "threads".to_owned() };
    thread::scope(|scope| {
        let local = Local::start(scope, pretence, WorkerId::new(0, 0), spec, reports);
        drive(Drive {
            scheduler: &mut scheduler,
            journal: &journal,
            office: pretence,
            observer: &mut Silent,
            sites: vec![site],
            engines: vec![Box::new(local)],
            home: None,
            reports: heard,
            stop: &pretence.stop,
        })
        .unwrap()
    })
}

/// Cells of each sample, and of the joint call, that the journal has, once each.
fn covered(dir: &Path) -> [u32; 3] {
    let names = ["A".to_owned(), "B".to_owned()];
    let mut cells = [[0; CELLS as usize]; 3];
    journal(dir)
        .for_each(|key, commit| {
            assert_eq!((commit.basis, commit.content), ([3; 16], [7; 32]));
            let (row, shard) = match Task::from_key(key, &names).unwrap() {
                Task::Region(sample, shard) => (sample as usize, shard),
                Task::Joint(shard) => (2, shard),
                _ => return,
            };
            shard.cells().for_each(|cell| cells[row][cell.0 as usize] += 1);
        })
        .unwrap();
    assert!(cells.iter().flatten().all(|&times| times <= 1), "a cell stands in two commits");
    cells.map(|row| row.iter().sum())
}

#[test]
fn everything_is_committed_once_and_never_again() {
    let dir = tempfile::tempdir().unwrap();
    let first = Pretence::new();
    let outcome = run(dir.path(), &first, Options::default());
    assert_eq!(outcome.ending, Ending::Complete);
    assert!(outcome.failure.is_none());
    assert_eq!(outcome.tasks_run, first.ran().len() as u64);
    assert_eq!(covered(dir.path()), [CELLS; 3]);
    let second = Pretence::new();
    let outcome = run(dir.path(), &second, Options::default());
    assert_eq!((outcome.ending, outcome.tasks_run), (Ending::Complete, 0));
    assert!(second.ran().is_empty());
}

#[test]
fn a_job_stopped_anywhere_goes_on_where_it_was() {
    for stop_after in [1, 4, 9, 12, 14] {
        let dir = tempfile::tempdir().unwrap();
        let first = Pretence { stop_after, ..Pretence::new() };
        let ending = run(dir.path(), &first, Options::default()).ending;
        // What was asked for at the very end may find nothing to stop.
        assert!(matches!(ending, Ending::Stopped | Ending::Complete), "{ending:?}");
        covered(dir.path());
        let outcome = run(dir.path(), &Pretence::new(), Options::default());
        assert_eq!(outcome.ending, Ending::Complete);
        assert_eq!(covered(dir.path()), [CELLS; 3]);
    }
}

#[test]
fn a_map_that_lingers_is_cut_again_and_again_and_each_strip_is_done_once() {
    let dir = tempfile::tempdir().unwrap();
    let lingers =
        |task: Task| task.stage() == Stage::Map && task.steps().is_some_and(|strips| strips.len() > 100);
    let pretence = Pretence { lingers, ..Pretence::new() };
    let options = Options { speculate: false, shard_ms_min: 1, shard_target_ms: 20, ..Options::default() };
    assert_eq!(run(dir.path(), &pretence, options).ending, Ending::Complete);
    let mut strips: BTreeMap<(LaneId, u32), Vec<u32>> = BTreeMap::new();
    journal(dir.path())
        .for_each(|key, _| {
            if let Some(task @ Task::Map(lane, chunk)) =
                Task::from_key(key, &["A".to_owned(), "B".to_owned()])
            {
                strips.entry((lane, chunk.index)).or_default().extend(task.steps().unwrap());
            }
        })
        .unwrap();
    assert_eq!(strips.len(), 4);
    for mut strips in strips.into_values() {
        strips.sort_unstable();
        assert_eq!(strips, (0..Chunk::STRIPS.into()).collect::<Vec<u32>>());
    }
    let maps = pretence.ran().into_iter().filter(|task| task.stage() == Stage::Map).count();
    assert!(maps > 3 * 4, "{maps} maps of four chunks");
}

#[test]
fn a_failure_keeps_its_chain_its_hint_and_its_class() {
    let dir = tempfile::tempdir().unwrap();
    let fails = |task| if matches!(task, Task::Model(_)) { Err(Class::Input) } else { Ok(()) };
    let outcome = run(dir.path(), &Pretence { fails: Some(fails), ..Pretence::new() }, Options::default());
    assert_eq!(outcome.ending, Ending::Failed(Class::Input));
    let (task, failure) = outcome.failure.unwrap();
    assert!(matches!(task, Task::Model(_)));
    assert_eq!(failure.chain(), ["outer", "inner"]);
    assert_eq!((failure.class(), failure.hint().as_deref()), (Class::Input, Some("help")));
}

#[test]
fn a_panic_is_the_tasks_failure_and_not_the_processes() {
    let dir = tempfile::tempdir().unwrap();
    let fails = |task| match task {
        Task::Map(lane, _) if lane.sample == 1 => panic!("the aligner gave up"),
        _ => Ok(()),
    };
    let outcome = run(dir.path(), &Pretence { fails: Some(fails), ..Pretence::new() }, Options::default());
    assert_eq!(outcome.ending, Ending::Failed(Class::Internal));
    assert!(outcome.failure.unwrap().1.to_string().contains("the aligner gave up"));
}

#[test]
fn a_sample_that_cannot_be_done_leaves_the_others_whole() {
    let dir = tempfile::tempdir().unwrap();
    let fails = |task: Task| match (task, task.sample()) {
        (Task::Map(..), Some(0)) => Err(Class::Input),
        _ => Ok(()),
    };
    let pretence = Pretence { fails: Some(fails), ..Pretence::new() };
    let outcome = run(dir.path(), &pretence, Options { keep_going: true, ..Options::default() });
    assert_eq!(outcome.ending, Ending::Partial);
    assert!(outcome.failure.is_none(), "what is dropped is told as dropped");
    assert_eq!(*pretence.dropped.lock().unwrap(), [0]);
    assert_eq!(covered(dir.path()), [0, CELLS, CELLS]);
}

#[test]
fn an_audit_is_compared_and_not_committed() {
    let dir = tempfile::tempdir().unwrap();
    let pretence = Pretence::new();
    let outcome = run(dir.path(), &pretence, Options { audit_per_mille: 1000, ..Options::default() });
    assert_eq!(outcome.ending, Ending::Complete);
    assert_eq!(covered(dir.path()), [CELLS; 3]);
}
