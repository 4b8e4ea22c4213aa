//! Arrays of bundles: a coordinator hands out what is ready as one wave, submits itself behind it, and ends.
//!
//! Invariant: the state between two coordinators lies in the journal. A wave is collected by the run that follows it and
//! by no other; its outputs count once they were opened and verified here, and those of audited tasks once two elements
//! made the same. What a wave found out (a task that failed, one that ran out of memory) is told to the scheduler of the next life when it gives the task out again, so that nothing is
//! tried for ever.

use super::record::{Folder, Purpose, Submitted};
use super::{BatchId, Slurm};
use crate::output::note;
use crate::run::books;
use cluster::bundle::{BUNDLE_SCHEMA, Bundle, Data};
use cluster::meter::now_ms;
use cluster::{Ended, Engine, Order, Report, Request, TaskFailure, worker};
use jobs::failure::{Class, Classified, Failure};
use jobs::task::{Stage, Task};
use scheduler::{AttemptId, Departure, Purpose as Why, Usage, WorkerId, WorkerSpec};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};
use storage::{Changes, DiskError, Journal};
use workers::access::now;

/// Name of the journal's value that holds the state between two coordinators.
const STATE: &str = "slurm-wave";

/// How long the scheduler must have given nothing before the wave is sent.
const QUIET: Duration = Duration::from_millis(300);

/// Tells the second attempt at an audited task from the first.
const AUDIT_BIT: u64 = 1 << 63;

/// A bundle that waited for longer in the queue is not run any more.
const BUNDLE_LIFE_SECONDS: i64 = 30 * 86_400;

/// The shape of waves, as `wakachi submit --array` was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Most elements of one wave.
    pub elements_max: u32,
    /// Most that run at once.
    pub parallel: Option<u32>,
    /// Wished length of an element.
    pub bundle_minutes: u64,
}

impl Shape {
    /// Writes it beside the script.
    pub fn write(&self, folder: &Folder) -> Result<(), Failure> {
        let path = folder.path().join("array.json");
        let text = serde_json::to_vec(self).expect("plain data always prints");
        Ok(fs::write(&path, text).map_err(DiskError::on("write", &path))?)
    }

    /// As it was written; only `wakachi submit --array` starts coordinators.
    pub fn read(folder: &Folder) -> Result<Self, Failure> {
        let path = folder.path().join("array.json");
        let bytes = fs::read(&path).map_err(|_| NotSubmitted { path: path.clone() })?;
        Ok(serde_json::from_slice(&bytes).map_err(|_| NotSubmitted { path })?)
    }
}

/// A coordinator was started by hand.
#[derive(Debug, thiserror::Error)]
#[error("{}: says nothing of waves", path.display())]
struct NotSubmitted {
    path: PathBuf,
}

impl Classified for NotSubmitted {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        Some("wakachi submit COHORT.toml --array --out DIR starts it".to_owned())
    }
}

/// What one coordinator leaves to the next.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// Counts waves.
    pub number: u32,
    /// The wave that is out.
    pub array: Option<BatchId>,
    /// Its elements.
    pub elements: u32,
    /// Runs of the job when it was sent: nobody else may have run it since.
    pub runs: usize,
    /// What is known of tasks by their keys: each failure is told to the scheduler once in every life.
    pub known: BTreeMap<String, Vec<TaskFailure>>,
    /// Tasks that were in a bundle which ran out of something: each gets an element of its own.
    pub alone: BTreeSet<String>,
    /// Waves in a row of which nothing came.
    pub barren: u32,
    /// When the wave was sent, in milliseconds since 1970.
    #[serde(default)]
    pub sent_ms: u64,
    /// Digests of outputs of audited tasks, by their keys, of which no two agree yet.
    #[serde(default)]
    pub made: BTreeMap<String, Vec<[u8; 32]>>,
    /// Nodes that made other outputs than two others.
    #[serde(default)]
    pub distrusted: BTreeSet<String>,
}

impl State {
    /// As the coordinator before left it.
    pub fn read(journal: &Journal) -> Result<Self, Failure> {
        let stored = journal.value(STATE)?;
        Ok(stored.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    /// Leaves it to the next.
    pub fn write(&self, journal: &Journal) -> Result<(), Failure> {
        let text = serde_json::to_vec(self).expect("plain data always prints");
        Ok(journal.put_value(STATE, &text)?)
    }
}

impl Folder {
    /// Where the bundles of a wave lie.
    pub fn wave(&self, number: u32) -> PathBuf {
        self.path().join("bundles").join(number.to_string())
    }

    /// One of them.
    pub fn bundle(&self, number: u32, element: u32) -> PathBuf {
        self.wave(number).join(format!("{element}.json"))
    }

    /// The script of an element.
    pub fn wave_script(&self) -> PathBuf {
        self.path().join("wave.sh")
    }

    /// Submits a coordinator behind an array.
    pub fn follow(&self, slurm: &Slurm, array: &BatchId) -> Result<(), Failure> {
        let behind = [format!("--dependency=afterany:{}", array.id)];
        let next = slurm.submit(&behind, &self.script(), &[])?;
        self.remember(next, Purpose::Coordinator, &self.script())
    }

    fn remember(&self, batch: BatchId, purpose: Purpose, script: &Path) -> Result<(), Failure> {
        let text = fs::read_to_string(script).map_err(DiskError::on("read", script))?;
        let script_blake3 = books::blake3_text(&text);
        self.add(Submitted { batch, purpose, submitted_ms: now_ms(), script_blake3 })
    }

    /// What an element said.
    pub fn element_log(&self, array: &BatchId, element: u32) -> PathBuf {
        self.path().join(format!("{}_{element}.log", array.id))
    }
}

/// Stages that elements do. What writes results is the coordinator's; so is the joint call of a job that may go on without
/// samples: each coordinator finds out anew who is left out, and the call of a wave would be of those of the life before.
pub fn stages(keep_going: bool) -> [bool; 7] {
    Stage::ALL.map(|stage| stage < if keep_going { Stage::Joint } else { Stage::Finish })
}

/// Everything that the bundles of a job have in common.
pub struct Waves<'a> {
    /// The job's folder.
    pub folder: Folder,
    /// Whom it is handed to.
    pub slurm: Slurm,
    /// How waves are cut.
    pub shape: Shape,
    /// What is done, and the state.
    pub journal: &'a Journal,
    /// Names of the samples.
    pub names: &'a [String],
    /// The job, as leases name it.
    pub job: &'a str,
    /// Where the nodes stand.
    pub site: &'a str,
    /// Price of an hour of a core there.
    pub price_core_hour: f64,
    /// Cores of a coordinator.
    pub cores: u32,
    /// Stages that elements do, by [`jobs::task::Stage`].
    pub stages: [bool; 7],
    /// Tasks of a thousand that are done by two elements and compared.
    pub audit_per_mille: u32,
    /// Where the data is.
    pub data: Data,
    /// Set once a wave was sent, so that this run is over; whoever watches stops it, having seen how it stands.
    pub sent: Arc<AtomicBool>,
}

/// The engine of one coordinator: it gathers what is given, and sends it as one array.
pub struct WaveEngine<'a> {
    waves: &'a Waves<'a>,
    state: State,
    reports: Sender<Report>,
    stop: &'a AtomicBool,
    /// Failures that the scheduler was not told in this life.
    untold: BTreeMap<String, Vec<TaskFailure>>,
    bundles: BTreeMap<WorkerId, Vec<Request>>,
    given: Instant,
}

impl<'a> WaveEngine<'a> {
    /// Offers as many bundles of this `spec` as a wave may have.
    pub fn start(
        waves: &'a Waves<'a>,
        engine: u8,
        spec: &WorkerSpec,
        reports: Sender<Report>,
        stop: &'a AtomicBool,
    ) -> Result<Self, Failure> {
        let state = State::read(waves.journal)?;
        // It is handed on with the next wave only: whoever submits again what failed, because of it or not, has perhaps
        // given it more.
        State { known: BTreeMap::new(), alone: BTreeSet::new(), ..state.clone() }.write(waves.journal)?;
        for number in 0..waves.shape.elements_max {
            let spec =
                WorkerSpec { name: format!("wave {}, element {number}", state.number + 1), ..spec.clone() };
            // The driver listens.
            let _ = reports.send(Report::Joined { worker: WorkerId::new(engine, number), spec });
        }
        let untold = state.known.clone();
        let (bundles, given) = (BTreeMap::new(), Instant::now());
        Ok(WaveEngine { waves, state, reports, stop, untold, bundles, given })
    }

    fn end(&self, attempt: AttemptId, task: Task, failure: TaskFailure) {
        let ended = Ended { attempt, task, result: Err(failure), usage: Usage::default() };
        let _ = self.reports.send(Report::Ended(ended));
    }

    /// The bundles as elements: what ran out of something in company goes alone.
    fn elements(&mut self) -> Vec<Vec<Request>> {
        let mut elements = Vec::new();
        for requests in std::mem::take(&mut self.bundles).into_values() {
            let key = |request: &Request| request.task.key(self.waves.names);
            let (alone, together): (Vec<_>, Vec<_>) =
                requests.into_iter().partition(|request| self.state.alone.contains(&key(request)));
            elements.extend(alone.into_iter().map(|request| vec![request]));
            elements.extend((!together.is_empty()).then_some(together));
        }
        elements
    }

    /// Gives tasks that are audited to a second element, where there is one.
    fn add_audits(&self, elements: &mut Vec<Vec<Request>>) -> Result<(), Failure> {
        let mut drawn = Vec::new();
        for (element, requests) in elements.iter().enumerate() {
            let keyed = requests.iter().map(|one| (one.task.key(self.waves.names), one.clone()));
            let keyed = keyed.filter(|(key, _)| self.is_audited(key));
            drawn.extend(keyed.map(|(key, request)| (element, key, request)));
        }
        let attempts: Vec<&str> = drawn.iter().map(|(_, key, _)| key.as_str()).collect();
        let changes = Changes { attempts: &attempts, ..Changes::default() };
        let numbers = self.waves.journal.apply(&changes)?;
        if elements.len() == 1 && self.waves.shape.elements_max > 1 && !drawn.is_empty() {
            elements.push(Vec::new());
        }
        let count = elements.len();
        for ((element, _, request), number) in drawn.into_iter().zip(numbers) {
            let attempt = AttemptId(request.attempt.0 | AUDIT_BIT);
            let check = Request { attempt, number, purpose: Why::Audit, ..request };
            elements[(element + 1) % count].push(check);
        }
        Ok(())
    }

    fn is_audited(&self, key: &str) -> bool {
        let [first, second, ..] = *blake3::hash(key.as_bytes()).as_bytes();
        let drawn = (u32::from(u16::from_le_bytes([first, second])) * 1000) >> 16;
        let company = !self.state.alone.contains(key);
        company && (drawn < self.waves.audit_per_mille || self.state.made.contains_key(key))
    }

    /// Writes the bundles, submits them as an array, and the next coordinator behind it.
    fn send(&mut self) -> Result<(), Failure> {
        let (folder, shape) = (&self.waves.folder, self.waves.shape);
        // Nor is the folder of a wave used again of which the journal lost the number.
        let free = |number: &u32| !folder.wave(*number).exists();
        let number = (self.state.number + 1..).find(free).expect("fewer waves than numbers");
        let mut elements = self.elements();
        self.add_audits(&mut elements)?;
        // An array that is submitted has its number, whatever becomes of this process.
        State { number, array: None, known: BTreeMap::new(), alone: BTreeSet::new(), ..self.state.clone() }
            .write(self.waves.journal)?;
        let wave = folder.wave(number);
        fs::create_dir_all(&wave).map_err(DiskError::on("make", &wave))?;
        let count = elements.len() as u32;
        for (element, requests) in (0..).zip(elements) {
            let bundle = Bundle {
                schema: BUNDLE_SCHEMA.to_owned(),
                id: format!("{}-{number}-{element}", self.waves.journal.fence()),
                job: self.waves.job.to_owned(),
                site: self.waves.site.to_owned(),
                // Names the element's pack: the engine's own names may be shared by two elements.
                worker: WorkerId::new(u8::MAX, element),
                expires: now().plus_seconds(BUNDLE_LIFE_SECONDS),
                requests,
                data: self.waves.data.clone(),
            };
            bundle.write(&folder.bundle(number, element))?;
        }
        let parallel = shape.parallel.map_or_else(String::new, |parallel| format!("%{parallel}"));
        let mut options = vec![format!("--array=0-{}{parallel}", count - 1)];
        if !self.state.distrusted.is_empty() {
            let nodes: Vec<&str> = self.state.distrusted.iter().map(String::as_str).collect();
            options.push(format!("--exclude={}", nodes.join(",")));
        }
        let array = self.waves.slurm.submit(&options, &folder.wave_script(), &[number.to_string()])?;
        self.state = State {
            number,
            array: Some(array.clone()),
            elements: count,
            sent_ms: now_ms(),
            runs: books::all(self.waves.journal)?.len(),
            ..std::mem::take(&mut self.state)
        };
        self.state.write(self.waves.journal)?;
        note(&format!("wave {number}: {count} bundles as array {array}"));
        folder.remember(array.clone(), Purpose::Wave, &folder.wave_script())?;
        folder.follow(&self.waves.slurm, &array)
    }
}

impl Engine for WaveEngine<'_> {
    fn give(&mut self, worker: WorkerId, orders: Vec<Order>) -> Result<(), Failure> {
        for order in orders {
            match order {
                Order::Run(request) => {
                    let known = self.untold.get_mut(&request.task.key(self.waves.names)).and_then(Vec::pop);
                    match known {
                        Some(failure) => self.end(request.attempt, request.task, failure),
                        None => self.bundles.entry(worker).or_default().push(request),
                    }
                }
                Order::Cancel(attempt) => {
                    let found = self.bundles.values_mut().find_map(|requests| {
                        let at = requests.iter().position(|request| request.attempt == attempt)?;
                        Some(requests.remove(at))
                    });
                    if let Some(request) = found {
                        self.end(attempt, request.task, TaskFailure::from(Failure::from(worker::Cancelled)));
                    }
                }
                // Nothing runs here that could be cut or told anything.
                Order::Cut(_) | Order::Logged(_) | Order::Stop => {}
            }
        }
        self.given = Instant::now();
        Ok(())
    }

    fn tick(&mut self) -> Result<(), Failure> {
        if self.waves.sent.load(Ordering::Relaxed) {
            if !self.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            // What is out belongs to the next life.
            for worker in std::mem::take(&mut self.bundles).into_keys() {
                let _ = self.reports.send(Report::Left { worker, why: Departure::Ended });
            }
            return Ok(());
        }
        let empty = self.bundles.values().all(Vec::is_empty);
        if empty || self.given.elapsed() < QUIET || self.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let workers: Vec<WorkerId> = self.bundles.keys().copied().collect();
        self.send()?;
        self.bundles = workers.into_iter().map(|worker| (worker, Vec::new())).collect();
        self.waves.sent.store(true, Ordering::Relaxed);
        Ok(())
    }
}
