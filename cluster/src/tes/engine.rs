//! The engine: every bundle is one task of the service, and one thread here that follows it.
//!
//! Invariant: an attempt's output counts once this side fetched it, opened it with the bundle's key and re-sealed it
//! under the sample's own; what the service or the worker says only tells when to look. A bundle whose standing ends is
//! cancelled. Whatever of an earlier life of the job still runs is cancelled before anything new is sent.

use super::api::{Executor, Input, Resources, Task as TesTask};
use super::client::{Client, TesError};
use super::follow::{ANSWER, SILENT_MAX};
use crate::bundle::carried::{
    Carried, CarriedSample, Link, Parcel, Standing, bundle_context, standing_context,
};
use crate::bundle::cut::Cuts;
use crate::bundle::outcome::Reading;
use crate::bundle::ticket::{BundleKey, Object, TICKET_SCHEMA, Ticket};
use crate::bundle::{BUNDLE_SCHEMA, Bundle, Data, to_json};
use crate::engine::{Engine, Order, Output, Report, Request};
use crate::failure::TaskFailure;
use crate::store::{Store, StoreError};
use jobs::failure::{Class, Classified, Failure};
use jobs::parameters::Parameters;
use jobs::task::Task;
use jobs::time::Timestamp;
use scheduler::{AttemptId, Departure, WorkerId, WorkerSpec};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;
use std::time::{Duration, Instant};
use storage::DiskError;

/// The tag by which a job's tasks are found again.
pub const JOB_TAG: &str = "wakachi.job";
/// The tag that names a bundle.
pub const BUNDLE_TAG: &str = "wakachi.bundle";
/// The tag that tells the lives of a job apart.
pub const FENCE_TAG: &str = "wakachi.fence";
/// Where the ticket lies for the worker.
const TICKET_PATH: &str = "/wakachi/ticket.json";
/// Where the program lies for the worker, where it is an input.
const BINARY_PATH: &str = "/wakachi/bin/wakachi";
/// Bundles in a row from which nothing came, after which the service is given up: it would be so for ever.
const BARREN_MAX: u32 = 6;
/// A worker looks as often at least for what it is asked.
const LOOK_MAX: Duration = Duration::from_secs(15);
/// So often it is looked after while idle cores wait for an answer.
const SOON: Duration = Duration::from_secs(2);
/// Who has not answered by then most likely will not.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);
/// Bytes of a gigabyte, as the interface counts.
const GIGABYTE: f64 = 1e9;

/// What the engine is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The service.
    pub client: Client,
    /// Where data waits.
    pub store: Store,
    /// Of this job directory and no other; stands in tags and names of objects.
    pub tag: String,
    /// Digest of the job, as leases name it.
    pub job: String,
    /// The scheduler's fence.
    pub fence: u64,
    /// The engine's number in the job.
    pub engine: u8,
    /// Number and name of the site.
    pub site: (u16, String),
    /// Bundles that wait or run at once.
    pub bundles_max: u32,
    /// The container image.
    pub image: String,
    /// URL of the program, as the service reads it, where it is not in the image.
    pub binary: Option<String>,
    /// What one bundle needs.
    pub resources: Resources,
    /// Where the worker keeps the reference's index; `None`: where its system keeps temporary files.
    pub cache: Option<String>,
    /// How long a bundle may take from its submission to its end.
    pub bundle_life: Duration,
    /// How often a bundle is looked after.
    pub poll: Duration,
    /// How often a standing is renewed: a third of the policy's lease.
    pub renew: Duration,
    /// A directory of the job for outcomes on their way and for logs.
    pub scratch: PathBuf,
}

/// The house: what the engine must be given because it does not know what tasks mean.
pub trait Freight: Sync {
    /// The index of the reference, and its BLAKE3 in hexadecimal.
    fn index(&self) -> Result<(PathBuf, String), Failure>;

    /// What decides the bytes of results.
    fn parameters(&self) -> Parameters;

    /// The public key that signs leases, in hexadecimal.
    fn lease_key(&self) -> String;

    /// The samples that a request reads, by their ordinal in the cohort.
    fn samples(&self, request: &Request) -> BTreeMap<u32, CarriedSample>;

    /// Everything the request reads, re-sealed under the key into one pack of this name; and the request as its worker
    /// should see it.
    fn pack(&self, request: &Request, key: &BundleKey, pack: &str) -> Result<(Vec<u8>, Request), Failure>;

    /// How the requests stand with the policy now, at the site where they are or will be run. An error is a no.
    fn standing(&self, requests: &[Request]) -> Result<Standing, Failure>;

    /// Puts into the log what the gate said of the request's data where the bundle runs.
    fn read_there(&self, request: &Request, bundle: &str, readings: &[Reading]) -> Result<(), Failure>;

    /// Opens an output of the request whose pieces lie in `folder` and re-seals it into the job's own pack. `task` is what
    /// the worker says it has done.
    fn unpack(
        &self,
        request: &Request,
        task: Task,
        key: &BundleKey,
        folder: &Path,
        output: Output,
    ) -> Result<Output, Failure>;
}

/// The service or its store keeps failing.
#[derive(Debug, thiserror::Error)]
#[error("{url}: {what}")]
pub struct GivenUp {
    url: String,
    what: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Classified for GivenUp {
    fn class(&self) -> Class {
        Class::Remote
    }

    fn hint(&self) -> Option<String> {
        Some("look at the logs it names, then give the same command again; what is done is kept".to_owned())
    }
}

/// Starts a thread that follows one bundle.
type Spawn<'scope> = dyn Fn(WorkerId, Vec<Request>, Receiver<Order>) + Send + 'scope;

/// The engine as its driver sees it.
pub struct TesEngine<'scope> {
    shared: Arc<Shared<'scope>>,
    spawn: Box<Spawn<'scope>>,
    orders: HashMap<WorkerId, Sender<Order>>,
}

pub(super) struct Shared<'scope> {
    pub(super) settings: Settings,
    pub(super) freight: &'scope dyn Freight,
    pub(super) reports: Sender<Report>,
    index: Object,
    closing: AtomicBool,
    next: AtomicU32,
    barren: AtomicU32,
    /// Bundles in a row that could not be sent.
    unsent: AtomicU32,
    fatal: Mutex<Option<Failure>>,
}

impl<'scope> TesEngine<'scope> {
    /// Asks service and store whether they are what they should be, cancels what an earlier life of the job left there,
    /// uploads the index, and offers its bundles. Threads live in `scope`.
    pub fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        settings: Settings,
        freight: &'scope dyn Freight,
        reports: Sender<Report>,
    ) -> Result<Self, Failure> {
        settings.client.service_info()?;
        settings.store.probe(&format!("{}-{}", settings.tag, settings.fence))?;
        settings.client.cancel_all(JOB_TAG, &settings.tag, |_| false)?;
        settings.store.remove_all(&format!("bundles/{}", settings.tag))?;
        fs::create_dir_all(&settings.scratch).map_err(DiskError::on("make", &settings.scratch))?;
        let (path, blake3) = freight.index()?;
        let name = format!("index/{blake3}");
        settings.store.upload(&name, &path)?;
        let bytes = fs::metadata(&path).map_err(DiskError::on("read", &path))?.len();
        let url = settings.store.url_to_get(&name, settings.bundle_life)?;
        let shared = Arc::new(Shared {
            freight,
            reports,
            index: Object { url, bytes, blake3 },
            closing: AtomicBool::new(false),
            next: AtomicU32::new(0),
            barren: AtomicU32::new(0),
            unsent: AtomicU32::new(0),
            fatal: Mutex::default(),
            settings,
        });
        for _ in 0..shared.settings.bundles_max {
            shared.offer();
        }
        let held = Arc::clone(&shared);
        let spawn = Box::new(move |worker, requests, orders| {
            let shared = Arc::clone(&held);
            scope.spawn(move || shared.run(worker, requests, &orders));
        });
        Ok(TesEngine { shared, spawn, orders: HashMap::new() })
    }
}

impl Engine for TesEngine<'_> {
    fn give(&mut self, worker: WorkerId, orders: Vec<Order>) -> Result<(), Failure> {
        let mut requests = Vec::new();
        let mut others = Vec::new();
        for order in orders {
            match order {
                Order::Run(request) => requests.push(request),
                other => others.push(other),
            }
        }
        if !requests.is_empty() {
            let (sender, receiver) = channel();
            self.orders.insert(worker, sender);
            (self.spawn)(worker, requests, receiver);
        }
        if let Some(sender) = self.orders.get(&worker) {
            // A bundle that is over hears nothing more.
            others.into_iter().for_each(|order| drop(sender.send(order)));
        }
        Ok(())
    }

    fn tick(&mut self) -> Result<(), Failure> {
        match self.shared.fatal.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    fn close(&mut self) -> Result<(), Failure> {
        self.shared.closing.store(true, Ordering::Relaxed);
        self.orders.drain().for_each(|(_, sender)| drop(sender.send(Order::Stop)));
        Ok(())
    }
}

/// A bundle that was sent.
pub(super) struct Sent {
    pub(super) id: String,
    pub(super) worker: WorkerId,
    /// Bytes that were packed for each attempt.
    pub(super) packed: HashMap<AttemptId, u64>,
    pub(super) key: BundleKey,
    pub(super) task: String,
    /// Attempts that are not over, in the order in which they are run.
    pub(super) open: Vec<Request>,
    pub(super) started: usize,
    /// What it was asked to cut.
    pub(super) cuts: Cuts,
    /// When one was asked last.
    pub(super) asked: Instant,
    pub(super) renewed: Instant,
    pub(super) born: Instant,
    /// Whether anything came of it.
    pub(super) bore: bool,
    /// Whether it has attempts that nobody needs any more.
    pub(super) cancelled: bool,
}

impl Sent {
    /// How long until it is looked after again.
    pub(super) fn pause(&self, poll: Duration) -> Duration {
        let awaits = self.asked.elapsed() < ANSWERS_WITHIN
            && self.open.iter().any(|one| self.cuts.awaits(one.attempt));
        if awaits { poll.min(SOON) } else { poll }
    }
}

impl Shared<'_> {
    /// Says that one more bundle may be filled.
    fn offer(&self) {
        let settings = &self.settings;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let spec = WorkerSpec {
            site: settings.site.0,
            slots: settings.resources.cpu_cores,
            memory_bytes: (settings.resources.ram_gb * GIGABYTE) as u64,
            name: self.bundle_id(WorkerId::new(settings.engine, number)),
        };
        self.say(Report::Joined { worker: WorkerId::new(settings.engine, number), spec });
    }

    fn bundle_id(&self, worker: WorkerId) -> String {
        format!("{}-{}-{}", self.settings.fence, worker.engine(), worker.local())
    }

    pub(super) fn say(&self, report: Report) {
        // A driver that is gone needs to know nothing more.
        let _ = self.reports.send(report);
    }

    pub(super) fn give_up(&self, failure: Failure) {
        self.fatal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
    }

    /// The life of one bundle, from packing to the next offer.
    fn run(&self, worker: WorkerId, requests: Vec<Request>, orders: &Receiver<Order>) {
        let id = self.bundle_id(worker);
        let mut unsent = None;
        let why = match self.send(&id, worker, requests) {
            Ok(Some(mut sent)) => {
                self.unsent.store(0, Ordering::Relaxed);
                let why = self.follow(&mut sent, orders);
                self.note_barren(&sent);
                why
            }
            Ok(None) => Departure::Ended,
            Err(failure) => {
                unsent = Some(failure);
                Departure::Lost
            }
        };
        if unsent.is_none() {
            // What cannot be removed now is removed when the job begins the next time.
            let _ = self.settings.store.remove_all(&self.folder(&id));
        }
        let _ = fs::remove_dir_all(self.settings.scratch.join(&id));
        // What could not be sent goes elsewhere at once.
        self.say(Report::Left { worker, why });
        if let Some(failure) = unsent
            && let Err(failure) = self.outlast(&id, failure, orders)
        {
            return self.give_up(failure);
        }
        if !self.closing.load(Ordering::Relaxed) {
            self.offer();
        }
    }

    /// Waits until service and store answer again, which did not when bundle `id` was to be sent, and removes what may
    /// have come of it. An error: they do not, or something else is the matter.
    fn outlast(&self, id: &str, mut failure: Failure, orders: &Receiver<Order>) -> Result<(), Failure> {
        // As often as one that is followed may meet silence, for each bundle.
        let many = SILENT_MAX * self.settings.bundles_max;
        if self.unsent.fetch_add(1, Ordering::Relaxed) >= many {
            return Err(failure);
        }
        for _ in 0..SILENT_MAX {
            if failure.class() != Class::Remote {
                return Err(failure);
            }
            match orders.recv_timeout(self.settings.poll) {
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                // Nobody has attempts here any more.
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            }
            match self.forget(id) {
                Ok(()) => return Ok(()),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Removes all that there is of a bundle, at the service and in the store.
    fn forget(&self, id: &str) -> Result<(), Failure> {
        self.settings.client.cancel_all(BUNDLE_TAG, &self.tag_of(id), |_| false)?;
        Ok(self.settings.store.remove_all(&self.folder(id))?)
    }

    /// Gives the service up once nothing came of many bundles in a row.
    fn note_barren(&self, sent: &Sent) {
        if sent.bore || self.closing.load(Ordering::Relaxed) {
            return self.barren.store(0, Ordering::Relaxed);
        }
        if self.barren.fetch_add(1, Ordering::Relaxed) + 1 >= BARREN_MAX {
            let log = self.log_path(&sent.id);
            let what = format!("nothing came of {BARREN_MAX} bundles in a row; see {}", log.display());
            self.give_up(GivenUp { url: self.settings.client.url().to_owned(), what, source: None }.into());
        }
    }

    pub(super) fn folder(&self, id: &str) -> String {
        format!("bundles/{}/{id}", self.settings.tag)
    }

    fn link(&self, name: &str, put: bool) -> Result<Link, StoreError> {
        let (store, life) = (&self.settings.store, self.settings.bundle_life);
        let put = put.then(|| store.url_to_put(name, life)).transpose()?;
        Ok(Link { get: store.url_to_get(name, life)?, put })
    }

    /// Packs, uploads and submits a bundle. `None`: nothing of it could be packed, and that was said.
    fn send(&self, id: &str, worker: WorkerId, requests: Vec<Request>) -> Result<Option<Sent>, Failure> {
        let (settings, freight) = (&self.settings, self.freight);
        let (key, folder) = (BundleKey::random(), self.folder(id));
        let mut open = Vec::new();
        let mut packed = HashMap::new();
        let mut carried_requests = Vec::new();
        let (mut parcels, mut samples) = (BTreeMap::new(), BTreeMap::new());
        for request in requests {
            let attempt = request.attempt;
            let (bytes, carried) = match freight.pack(&request, &key, &format!("in-{}.pack", attempt.0)) {
                Ok(packed) => packed,
                Err(failure) => {
                    self.fail(&request, TaskFailure::from(failure));
                    continue;
                }
            };
            let input = format!("{folder}/in/{}", attempt.0);
            packed.insert(attempt, bytes.len() as u64);
            let object = Object::of(settings.store.url_to_get(&input, settings.bundle_life)?, &bytes);
            settings.store.create(&input, bytes)?;
            let output = self.link(&format!("{folder}/out/{}", attempt.0), true)?;
            let answer = request.task.steps();
            let answer = answer.map(|_| self.link(&format!("{folder}/out/{}{ANSWER}", attempt.0), true));
            parcels.insert(attempt.0, Parcel { input: object, output, answer: answer.transpose()? });
            samples.extend(freight.samples(&request));
            carried_requests.push(carried);
            open.push(request);
        }
        if open.is_empty() {
            return Ok(None);
        }
        let standing = match freight.standing(&open) {
            Ok(standing) => standing,
            Err(refused) => {
                let refused = TaskFailure::from(refused);
                open.iter().for_each(|request| self.fail(request, refused.clone()));
                return Ok(None);
            }
        };
        let name = format!("{folder}/standing");
        settings.store.create(&name, key.seal(&standing_context(id), &to_json(&standing)))?;
        let carried = Carried {
            index: self.index.clone(),
            parameters: freight.parameters(),
            samples,
            lease_key: freight.lease_key(),
            standing: self.link(&name, false)?,
            asked: self.link(&format!("{folder}/asked"), false)?,
            look_ms: settings.poll.min(LOOK_MAX).as_millis() as u64,
            parcels,
            receipt: self.link(&format!("{folder}/receipt"), true)?,
        };
        let life = i64::try_from(settings.bundle_life.as_secs()).unwrap_or(i64::MAX);
        let bundle = Bundle {
            schema: BUNDLE_SCHEMA.to_owned(),
            id: id.to_owned(),
            job: settings.job.clone(),
            site: settings.site.1.clone(),
            worker,
            expires: now().plus_seconds(life),
            requests: carried_requests,
            data: Data::Carried(Box::new(carried)),
        };
        let sealed = key.seal(&bundle_context(id), &to_json(&bundle));
        let name = format!("{folder}/bundle");
        let object = Object::of(settings.store.url_to_get(&name, settings.bundle_life)?, &sealed);
        settings.store.create(&name, sealed)?;
        let ticket =
            Ticket { schema: TICKET_SCHEMA.to_owned(), id: id.to_owned(), bundle: object, key: key.clone() };
        let task = self.submit(id, &ticket)?;
        let now = Instant::now();
        Ok(Some(Sent {
            id: id.to_owned(),
            worker,
            packed,
            key,
            task,
            open,
            started: 0,
            cuts: Cuts::default(),
            asked: now,
            renewed: now,
            born: now,
            bore: false,
            cancelled: false,
        }))
    }

    /// Creates the task. Where no answer came, it is looked for before it is created again.
    fn submit(&self, id: &str, ticket: &Ticket) -> Result<String, Failure> {
        let task = self.task(id, ticket);
        for _ in 0..2 {
            match self.settings.client.create(&task) {
                Err(TesError::Remote { .. } | TesError::Form { .. }) => {
                    if let Some(found) = self.settings.client.list(BUNDLE_TAG, &self.tag_of(id))?.first() {
                        return Ok(found.id.clone());
                    }
                }
                created => return Ok(created?),
            }
        }
        Ok(self.settings.client.create(&task)?)
    }

    fn tag_of(&self, id: &str) -> String {
        format!("{}/{id}", self.settings.tag)
    }

    /// The document of a bundle's task.
    fn task(&self, id: &str, ticket: &Ticket) -> TesTask {
        let settings = &self.settings;
        let content = Input { path: TICKET_PATH.to_owned(), content: ticket.to_json(), ..Input::default() };
        let binary = settings.binary.iter().map(|url| Input {
            url: url.clone(),
            path: BINARY_PATH.to_owned(),
            ..Input::default()
        });
        let mut command = vec!["wakachi", "worker", "--bundle", TICKET_PATH];
        if let Some(cache) = &settings.cache {
            command.extend(["--cache", cache]);
        }
        let command: Vec<String> = match settings.binary {
            None => command.into_iter().map(str::to_owned).collect(),
            // Inputs need not be executable, nor their folder writable.
            Some(_) => {
                let copy = format!("cp {BINARY_PATH} /tmp/wakachi && chmod 755 /tmp/wakachi && exec \"$@\"");
                let shell = ["/bin/sh", "-c", &copy, "sh", "/tmp/wakachi"];
                shell.into_iter().chain(command.into_iter().skip(1)).map(str::to_owned).collect()
            }
        };
        TesTask {
            name: format!("wakachi bundle {id}"),
            description: "tasks of a wakachi job; cancelled and sent again at will".to_owned(),
            inputs: std::iter::once(content).chain(binary).collect(),
            resources: settings.resources.clone(),
            executors: vec![Executor { image: settings.image.clone(), command, ..Executor::default() }],
            tags: BTreeMap::from([
                (JOB_TAG.to_owned(), settings.tag.clone()),
                (FENCE_TAG.to_owned(), settings.fence.to_string()),
                (BUNDLE_TAG.to_owned(), self.tag_of(id)),
            ]),
            ..TesTask::default()
        }
    }
}

fn now() -> Timestamp {
    let ms = i64::try_from(crate::meter::now_ms()).unwrap_or(i64::MAX);
    Timestamp::from_micros(ms.saturating_mul(1000))
}
