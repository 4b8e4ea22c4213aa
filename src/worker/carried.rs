//! A bundle in a place without our filesystem: sealed inputs come from an object store, sealed outputs go back.
//!
//! Invariant: of a sample nothing lies in the clear on a disk, and nothing is read but under a lease that stands, by a
//! decision made here. Each outcome is created as soon as it is there, so that a machine that is taken away costs only
//! what it had in hand; who runs the bundle again goes on after what is there. An attempt that is asked to end early
//! does, and the answer is there before the outcome; who runs it again ends it there.

use super::{Args, check_known, host, say_done};
use crate::gate::Gate;
use crate::output::note;
use crate::run::books;
use crate::run::inputs::{call_options, joint_options};
use crate::run::runner::{self, Held};
use cluster::bundle::carried::{
    Carried, CarriedSample, Link, Standing, bundle_context, receipt_context, standing_context,
};
use cluster::bundle::cut::{self, CUT_BYTES_MAX};
use cluster::bundle::outcome::{self, Outcome, Reading, Word};
use cluster::bundle::ticket::{BundleKey, Object, Ticket};
use cluster::bundle::{Bundle, BundleError, DOCUMENT_BYTES_MAX, Data, RECEIPT_SCHEMA, Receipt};
use cluster::store::{StoreError, presigned};
use cluster::{Control, Ended, Order, Output, Pool, Report, Request, Spending, TaskFailure, TaskRunner};
use jobs::failure::{Class, Classified, Failure};
use jobs::lease::Expected;
use jobs::policy::{Action, NotPermitted, Permit, Subject};
use jobs::task::Task;
use jobs::time::Timestamp;
use scheduler::AttemptId;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use storage::lease::LeaseVerifier;
use storage::{DiskError, KeyError, KeyService, PackError, PieceRef, SampleKey, Writer};
use workers::access::{Access, now, samples_of};
use workers::context::{Context, Lane, Sample, Settings};
use workers::index_file::ReferenceIndex;
use workers::intake::LaneInput;

/// How often the worker looks whether its time is over.
const TICK: Duration = Duration::from_secs(1);
/// The least pause between two looks for what it is asked, whatever it was told.
const LOOK_MIN: Duration = Duration::from_millis(50);
/// Bytes of an outcome that are read again when a bundle is gone on with.
const OUTCOME_BYTES_MAX: u64 = 8 << 30;

/// The bundle ended before all its tasks did.
#[derive(Debug, thiserror::Error)]
#[error("bundle {id}: another worker has sent the outcome of a task of it")]
struct Overtaken {
    id: String,
}

impl Classified for Overtaken {
    fn class(&self) -> Class {
        Class::Interrupted
    }
}

/// Runs the bundle of a ticket.
pub fn run(ticket: &Ticket, args: &Args) -> Result<(), Failure> {
    let (began, places) = (Instant::now(), args.scratch.clone().unwrap_or_else(std::env::temp_dir));
    let scratch = tempfile::Builder::new().prefix("wakachi-").tempdir_in(&places);
    let scratch = scratch.map_err(DiskError::on("make a directory in", &places))?;
    let bundle = open(ticket, scratch.path())?;
    let Data::Carried(carried) = &bundle.data else {
        return Err(BundleError::Sealed { name: "bundle".to_owned() }.into());
    };
    if there(&carried.receipt, DOCUMENT_BYTES_MAX)?.is_some() {
        say_done(&bundle.id);
        return Ok(());
    }
    let work = Work { bundle: &bundle, carried, key: &ticket.key, scratch: scratch.path() };
    let standing = work.standing()?.ok_or_else(|| NoLease { task: bundle.id.clone() })?;
    let gate = Gate::carried(standing.knowledge.clone(), &bundle.site);
    let index = index(&carried.index, args)?;
    let context = work.context(index)?;
    let key: [u8; 32] = *blake3::Hash::from_hex(&carried.lease_key)
        .map_err(|_| BundleError::Sealed { name: "bundle".to_owned() })?
        .as_bytes();
    let runner = Runner {
        work,
        context: &context,
        gate: &gate,
        keys: BundleKeys(ticket.key.records()),
        subjects: standing.knowledge.subjects.clone(),
        lease_key: key,
        first: LeaseVerifier::of(key),
        standing: Mutex::new((standing, Instant::now())),
        answered: work.answered()?,
        readings: Mutex::default(),
    };
    let threads = args.threads();
    let core_ms = |since: Instant| since.elapsed().as_millis() as u64 * u64::from(threads);
    let start_core_ms = core_ms(began);
    let (ended, last) = match work_off(&runner, threads) {
        Err(failure) if failure.class() == Class::Interrupted => {
            say_done(&bundle.id);
            return Ok(());
        }
        done => done?,
    };
    let receipt = Receipt {
        schema: RECEIPT_SCHEMA.to_owned(),
        bundle: bundle.id.clone(),
        worker: bundle.worker,
        host: host(),
        cores: threads,
        ended,
        logged: Vec::new(),
        spent_core_ms: BTreeMap::from([
            (Spending::Start, start_core_ms),
            (Spending::Transfer, core_ms(last)),
        ]),
    };
    let json = serde_json::to_vec(&receipt).expect("receipts always print");
    let sealed = ticket.key.seal(&receipt_context(&bundle.id), &json);
    if !create(&carried.receipt, &sealed)? {
        say_done(&bundle.id);
    }
    Ok(())
}

/// Fetches and opens the bundle.
fn open(ticket: &Ticket, scratch: &Path) -> Result<Bundle, Failure> {
    let path = scratch.join("bundle");
    ticket.bundle.fetch(&path)?;
    let sealed = fs::read(&path).map_err(DiskError::on("read", &path))?;
    let json = ticket.key.open("bundle", &bundle_context(&ticket.id), &sealed)?;
    let bundle = Bundle::from_json("bundle", &json)?;
    bundle.check_time(now())?;
    Ok(bundle)
}

/// An object of which it is not known whether it is there. Who may not list a bucket is refused what is not there.
fn there(link: &Link, bytes_max: u64) -> Result<Option<Vec<u8>>, StoreError> {
    match presigned::get(&link.get, bytes_max) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(StoreError::Missing { .. } | StoreError::Refused { status: 403, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Creates an object; false: somebody else did. One that holds these bytes already is ours: the answer to an earlier
/// try was lost.
fn create(link: &Link, bytes: &[u8]) -> Result<bool, StoreError> {
    let url = link.put.as_deref().unwrap_or(&link.get);
    Ok(presigned::create(url, bytes)? || there(link, OUTCOME_BYTES_MAX)?.is_some_and(|found| found == bytes))
}

/// The index, from the cache if it is there, verified by its digest either way.
fn index(object: &Object, args: &Args) -> Result<ReferenceIndex, Failure> {
    let cache = args.cache.clone().unwrap_or_else(|| std::env::temp_dir().join("wakachi-cache"));
    fs::create_dir_all(&cache).map_err(DiskError::on("make", &cache))?;
    let path = cache.join(format!("{}.wki", object.blake3));
    let is_sound = |path: &Path| {
        let digest = blake3::Hasher::new().update_mmap_rayon(path).map(|hasher| hasher.finalize());
        digest.is_ok_and(|digest| digest.to_hex().as_str() == object.blake3)
    };
    if !is_sound(&path) {
        note("fetching the reference's index");
        // Workers on one machine may share the cache: each fetches under its own name, and the last name stays.
        let partial = cache.join(format!(".{}.{}", object.blake3, std::process::id()));
        object.fetch(&partial)?;
        fs::rename(&partial, &path).map_err(DiskError::on("rename", &partial))?;
    }
    Ok(ReferenceIndex::open_verified(&path)?)
}

/// A bundle and how to get at what belongs to it.
#[derive(Clone, Copy)]
struct Work<'a> {
    bundle: &'a Bundle,
    carried: &'a Carried,
    key: &'a BundleKey,
    scratch: &'a Path,
}

impl Work<'_> {
    /// How the bundle stands now; `None`: the coordinator took that away.
    fn standing(&self) -> Result<Option<Standing>, Failure> {
        let sealed = match presigned::get(&self.carried.standing.get, DOCUMENT_BYTES_MAX) {
            Err(StoreError::Missing { .. }) => return Ok(None),
            got => got?,
        };
        let json = self.key.open("standing", &standing_context(&self.bundle.id), &sealed)?;
        let form = |_| BundleError::Sealed { name: "standing".to_owned() };
        Ok(Some(serde_json::from_slice(&json).map_err(form)?))
    }

    /// Samples that the bundle does not name have an empty place.
    fn context(&self, index: ReferenceIndex) -> Result<Context, Failure> {
        let samples = self.carried.samples.keys().max().map_or(0, |last| last + 1);
        let samples = (0..samples).map(|at| match self.carried.samples.get(&at) {
            Some(sample) => sample_of(sample),
            None => Sample { name: format!(".{at}"), joint: false, participant: 0, lanes: Vec::new() },
        });
        let parameters = &self.carried.parameters;
        let settings = Settings {
            parameters: books::blake3_text(&parameters.canonical_of_samples()),
            joint_parameters: books::blake3_text(&parameters.canonical()),
            calling: true,
            call: call_options(parameters),
            joint: joint_options(parameters),
            ..Settings::default()
        };
        let writer = (Writer::OfMany { fence: 0, number: 0 }, BTreeMap::new());
        let job = self.bundle.job.clone();
        Ok(Context::open(job, index, samples.collect(), settings, self.scratch, writer)?)
    }

    fn packs(&self) -> PathBuf {
        self.scratch.join("packs")
    }

    /// How an attempt of an earlier worker on this bundle ended.
    fn ended_before(&self, request: &Request) -> Result<Option<Ended>, Failure> {
        let parcel = &self.carried.parcels[&request.attempt.0];
        let Some(object) = there(&parcel.output, OUTCOME_BYTES_MAX)? else { return Ok(None) };
        let outcome = outcome::open("outcome", &self.bundle.id, self.key, request.attempt, &object)?;
        Ok(Some(outcome.ended))
    }

    /// Attempts that are to end early.
    fn asked(&self) -> Result<BTreeSet<AttemptId>, BundleError> {
        let sealed = there(&self.carried.asked, CUT_BYTES_MAX)?;
        sealed.map_or_else(
            || Ok(BTreeSet::new()),
            |sealed| cut::asked("what is asked", &self.bundle.id, self.key, &sealed),
        )
    }

    /// As what attempts will end of which an earlier worker on this bundle said so.
    fn answered(&self) -> Result<BTreeMap<AttemptId, Task>, Failure> {
        let mut answered = BTreeMap::new();
        // Nobody answers who was not asked.
        let asked = self.asked()?;
        for request in self.bundle.requests.iter().filter(|request| asked.contains(&request.attempt)) {
            let whole = (request.attempt, request.task);
            let answer = self.carried.parcels[&request.attempt.0].answer.as_ref();
            if let Some(sealed) = answer.map(|link| there(link, CUT_BYTES_MAX)).transpose()?.flatten() {
                let task = cut::answered("an answer", &self.bundle.id, self.key, whole, &sealed)?;
                answered.insert(request.attempt, task);
            }
        }
        Ok(answered)
    }

    /// Says as what an attempt will end. An answer that does not arrive is in the outcome, too.
    fn answer(&self, attempt: AttemptId, task: Task) -> Result<(), Failure> {
        let Some(link) = &self.carried.parcels[&attempt.0].answer else { return Ok(()) };
        match create(link, &cut::answer(&self.bundle.id, self.key, attempt, task)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Overtaken { id: self.bundle.id.clone() }.into()),
            Err(error) => {
                note(&format!("{error}"));
                Ok(())
            }
        }
    }

    /// Sends an outcome; the store has it when this returns.
    fn send(&self, outcome: Outcome) -> Result<(), Failure> {
        let read = |piece: &PieceRef| {
            let path = self.packs().join(&piece.pack);
            let mut bytes = vec![0; piece.length as usize];
            let file = fs::File::open(&path).and_then(|file| file.read_exact_at(&mut bytes, piece.offset));
            file.map(|()| bytes).map_err(DiskError::on("read", &path))
        };
        let attempt = outcome.ended.attempt;
        let object = outcome::join(&self.bundle.id, self.key, outcome, read)?;
        match create(&self.carried.parcels[&attempt.0].output, &object)? {
            true => Ok(()),
            false => Err(Overtaken { id: self.bundle.id.clone() }.into()),
        }
    }
}

fn sample_of(sample: &CarriedSample) -> Sample {
    let lanes = sample.lanes.iter().map(|lane| Lane {
        // Its reads come with each task; the files are where the job is.
        input: LaneInput {
            fastq_1: PathBuf::new(),
            fastq_2: lane.paired.then(PathBuf::new),
            sha256_1: None,
            sha256_2: None,
        },
        read_group: lane.read_group.clone(),
        header_line: lane.header_line.clone(),
        library: lane.library,
        chunk_pairs: 1,
    });
    Sample {
        name: sample.name.clone(),
        joint: sample.joint,
        participant: sample.participant,
        lanes: lanes.collect(),
    }
}

/// Runs what is not done yet, sends each outcome, and says how all ended, and when the last did.
fn work_off(runner: &Runner<'_>, threads: u32) -> Result<(Vec<Ended>, Instant), Failure> {
    let work = runner.work;
    let look = Duration::from_millis(work.carried.look_ms).max(LOOK_MIN);
    let (reports, heard) = channel();
    thread::scope(|scope| {
        let pool = Pool::start(scope, runner, threads, reports);
        let mut ended = Vec::new();
        let (mut waiting, mut last) = (0, Instant::now());
        let (mut told, mut looked) = (runner.answered.keys().copied().collect::<BTreeSet<_>>(), last);
        for request in &work.bundle.requests {
            match work.ended_before(request)? {
                Some(before) => ended.push(before),
                None => {
                    pool.take(Order::Run(request.clone()));
                    waiting += 1;
                }
            }
        }
        while waiting > 0 {
            if looked.elapsed() >= look {
                // Whoever cannot be read asks for nothing yet.
                let asked = work.asked().inspect_err(|error| note(&format!("nothing is cut now: {error}")));
                let new = asked.unwrap_or_default().into_iter().filter(|&attempt| told.insert(attempt));
                new.for_each(|attempt| pool.take(Order::Cut(attempt)));
                looked = Instant::now();
            }
            match heard.recv_timeout(TICK.min(look)) {
                Ok(Report::Ended(one)) => {
                    last = Instant::now();
                    let readings = runner.readings().remove(&one.attempt).unwrap_or_default();
                    work.send(Outcome { ended: one.clone(), readings })?;
                    ended.push(one);
                    waiting -= 1;
                }
                Ok(Report::Cut { attempt, task }) => work.answer(attempt, task)?,
                Ok(_) | Err(RecvTimeoutError::Timeout) => work.bundle.check_time(now())?,
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Ok((ended, last))
    })
}

/// Runs the bundle's tasks.
struct Runner<'a> {
    work: Work<'a>,
    context: &'a Context,
    gate: &'a Gate,
    keys: BundleKeys,
    subjects: BTreeMap<u32, Subject>,
    lease_key: [u8; 32],
    /// Knows which leases were begun with.
    first: LeaseVerifier,
    /// As it was read last, and when.
    standing: Mutex<(Standing, Instant)>,
    /// As what attempts are to end that an earlier worker had begun.
    answered: BTreeMap<AttemptId, Task>,
    /// What the gate said here, to be told with each outcome.
    readings: Mutex<HashMap<AttemptId, Vec<Reading>>>,
}

/// One key opens what the bundle carries, against a permit as everywhere.
struct BundleKeys(SampleKey);

impl KeyService for BundleKeys {
    fn key(
        &self,
        name: &str,
        samples: &[&str],
        permit: &Permit,
        now: Timestamp,
    ) -> Result<SampleKey, KeyError> {
        if samples.is_empty() {
            return Err(KeyError::Nobody { name: name.to_owned() });
        }
        samples.iter().try_for_each(|sample| permit.check(Action::Read, sample, now))?;
        Ok(self.0.clone())
    }
}

/// The lease of a task, or of all of them, is gone from the bundle's standing.
#[derive(Debug, thiserror::Error)]
#[error("{task} has no lease any more")]
struct NoLease {
    task: String,
}

impl Classified for NoLease {
    fn class(&self) -> Class {
        Class::Policy
    }
}

impl TaskRunner for Runner<'_> {
    fn run(&self, request: &Request, control: &Control) -> Result<Output, TaskFailure> {
        Ok(self.attempt(request, control)?)
    }
}

impl Runner<'_> {
    fn attempt(&self, request: &Request, control: &Control) -> Result<Output, Failure> {
        if let Some(steps) = self.answered.get(&request.attempt).and_then(|task| task.steps()) {
            control.end_before(steps.end);
        }
        let input = self.work.packs().join(format!("in-{}.pack", request.attempt.0));
        let samples = samples_of(request.task, &request.inputs);
        check_known(self.context, request, &samples)?;
        self.freshen()?;
        self.check_lease(request, &samples, &self.first)?;
        let permit = self.decide(request, &samples, |expires| Word::Permitted { expires })?;
        let expires = permit.expires();
        self.work.carried.parcels[&request.attempt.0].input.fetch(&input)?;
        let open = |permit| Access::under(self.context, permit, &self.keys, request.task, &samples);
        let access = match open(permit) {
            // Fetching took longer than the permit holds.
            Err(_) if expires <= now() => open(self.renew(request, &samples)?)?,
            opened => opened?,
        };
        let done = self.renewing(&access, request, &samples, || {
            // Nothing of a job's results is read or written here.
            let nowhere = Path::new("/nonexistent");
            let done = workers::task::run(
                &access,
                request.task,
                &request.inputs,
                nowhere,
                &Held::new(control, request.purpose),
            )?;
            Ok(Output { pieces: done.pieces, summary: done.summary, content: done.content })
        });
        // It is open as long as it is needed.
        let _ = fs::remove_file(&input);
        done
    }

    /// The lease that stands for the attempt now, checked against what is known here.
    fn check_lease(
        &self,
        request: &Request,
        samples: &[u32],
        verifier: &LeaseVerifier,
    ) -> Result<(), Failure> {
        let task = request.task.key(self.context.names());
        let standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let lease = standing.0.leases.get(&request.attempt.0);
        let lease = lease.ok_or_else(|| NoLease { task: task.clone() })?;
        let mut names: Vec<String> =
            self.subjects(samples).into_iter().map(|subject| subject.sample).collect();
        names.sort();
        let expected = Expected {
            job: &self.context.job,
            task: &task,
            attempt: request.number,
            action: Action::Read,
            class: runner::class_of(request.task),
            samples: &names,
            purpose: self.gate.purpose().ok_or_else(|| NoLease { task: task.clone() })?,
            site: self.gate.site(),
            epoch: self.gate.register()?.epoch(),
            policy_sha256: &self.gate.policy().sha256,
            now: now(),
        };
        Ok(verifier.verify(lease, expected).map(drop)?)
    }

    /// Asks the gate, and notes what it said.
    fn decide(
        &self,
        request: &Request,
        samples: &[u32],
        word: impl Fn(Timestamp) -> Word,
    ) -> Result<Permit, Failure> {
        let (register, class) = (self.gate.register()?, runner::class_of(request.task));
        let asked = self.gate.ask(&register, Action::Read, class, &self.subjects(samples));
        let word = match &asked {
            Ok(permit) => word(permit.expires()),
            Err(denial) => {
                Word::Refused { reasons: denial.reasons().iter().map(ToString::to_string).collect() }
            }
        };
        let reading = Reading { at: now(), epoch: register.epoch(), word };
        self.readings().entry(request.attempt).or_default().push(reading);
        Ok(asked?)
    }

    fn readings(&self) -> MutexGuard<'_, HashMap<AttemptId, Vec<Reading>>> {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those whose samples these are; a sample that the standing does not name has nobody's consent.
    fn subjects(&self, samples: &[u32]) -> Vec<Subject> {
        let nobody = |&sample: &u32| Subject { sample: format!(".{sample}"), participant: String::new() };
        samples
            .iter()
            .map(|sample| self.subjects.get(sample).cloned().unwrap_or_else(|| nobody(sample)))
            .collect()
    }

    /// Runs `work` and asks again before the permit ends, as long as the standing has a lease for it and the policy here
    /// says yes. Whoever cannot be asked changes nothing until the permit ends.
    fn renewing<T: Send>(
        &self,
        access: &Access<'_>,
        request: &Request,
        samples: &[u32],
        work: impl Fn() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (working, over) = channel::<()>();
        let refused = Mutex::new(None);
        let done = thread::scope(|scope| {
            let refused = &refused;
            scope.spawn(move || {
                while over.recv_timeout(self.interval()) == Err(RecvTimeoutError::Timeout) {
                    match self.renew(request, samples) {
                        Ok(permit) => access.renew(permit),
                        Err(failure) if failure.class() == Class::Policy => {
                            access.revoke();
                            *refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
                            return;
                        }
                        Err(failure) => note(&format!("{failure}")),
                    }
                }
            });
            let done = match (work(), access.holds()) {
                // A permit that ended while nobody could renew it: the machine slept.
                (Err(_), Err(PackError::Permit(NotPermitted::Expired { .. }))) => {
                    self.renew(request, samples).and_then(|permit| {
                        access.renew(permit);
                        work()
                    })
                }
                (done, _) => done,
            };
            drop(working);
            done
        });
        match refused.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(refusal) => Err(refusal),
            None => done,
        }
    }

    /// How often the standing is read again: before a permit or a lease ends.
    fn interval(&self) -> Duration {
        Duration::from_secs(self.gate.policy().lease_ttl_seconds.into()) / 4
    }

    /// Reads the standing again if it is not of just now.
    fn freshen(&self) -> Result<(), Failure> {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        if standing.1.elapsed() >= self.interval() {
            let bundle = || NoLease { task: format!("bundle {}", self.work.bundle.id) };
            let newer = self.work.standing()?.ok_or_else(bundle)?;
            self.gate.renew(newer.knowledge.register.clone());
            *standing = (newer, Instant::now());
        }
        Ok(())
    }

    fn renew(&self, request: &Request, samples: &[u32]) -> Result<Permit, Failure> {
        self.freshen()?;
        self.check_lease(request, samples, &LeaseVerifier::of(self.lease_key))?;
        self.decide(request, samples, |expires| Word::Renewed { expires })
    }
}
