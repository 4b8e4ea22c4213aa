//! A bundle on a filesystem that the worker shares with the coordinator: an element of a job array.
//!
//! Invariant: the worker writes to a pack of its own and to no journal; what it did is in its receipt, with the events of
//! its reading, which the coordinator puts into the job's log. The gate is asked here, with the consents as they are.

use super::{Args, check_known, host, say_done};
use crate::gate::{Gate, GateFiles};
use crate::job_dir::JobDir;
use crate::run::inputs;
use crate::run::plan::Cut;
use crate::run::runner::Runner;
use crate::run::sight;
use crate::run::trail::Trail;
use crate::{cohort, config};
use cluster::bundle::{Bundle, Data, RECEIPT_SCHEMA, Receipt};
use cluster::{Control, Ended, Order, Output, Pool, Report, Request, Spending, TaskFailure, TaskRunner};
use jobs::failure::{Class, Classified, Failure};
use jobs::task::Task;
use kernels::simd::Level;
use scheduler::AttemptId;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use storage::lease::LeaseKey;
use storage::{Commit, KeyFolder, Writer};
use workers::access::{now, samples_of};
use workers::context::Context;
use workers::task::intake_summary;

/// How often the worker looks whether its time is over.
const TICK: Duration = Duration::from_secs(1);

/// Tells the parts of an intake with which a bundle goes on from each other; no scheduler counts so far.
const NEXT_PART: u64 = 1 << 32;

/// The job is another one than it was for who sent the bundle.
#[derive(Debug, thiserror::Error)]
#[error(
    "bundle {bundle}: cohort, reads, reference, policy or program are not those that it was written for (digest {found}, not {expected})"
)]
struct OtherSight {
    bundle: String,
    expected: String,
    found: String,
}

impl Classified for OtherSight {
    fn class(&self) -> Class {
        Class::Input
    }

    fn hint(&self) -> Option<String> {
        Some("see that every node has the same files; what changed since is done by the next wave".to_owned())
    }
}

/// Runs the bundle in `path`.
pub fn run(bundle: &Bundle, path: &Path, args: &Args) -> Result<(), Failure> {
    let Data::Shared { job_dir, cohort: sheet, fence, samples, chunk_pairs, minutes, sight: expected } =
        &bundle.data
    else {
        unreachable!("the caller looked")
    };
    let began = Instant::now();
    let receipt_path = Receipt::path_of(path);
    if Receipt::read(&receipt_path, &bundle.id)?.is_some() {
        say_done(&bundle.id);
        return Ok(());
    }
    bundle.check_time(now())?;
    let mut cohort = cohort::load_sheet(sheet)?;
    let flags = chunk_pairs.iter().map(|pairs| ("chunk_pairs", pairs.to_string())).collect();
    let asked = config::Asked { cohort: Some(sheet.clone()), flags, ..config::Asked::default() };
    let config = config::load(&asked)?;
    let gate = Gate::open(GateFiles::of_cohort(&cohort, Some(&bundle.site))?)?;
    let dir = JobDir::existing(job_dir)?;
    let keys = KeyFolder::new(&dir.keys());
    let logged = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&logged);
    let keep = move |events| {
        kept.lock().unwrap_or_else(PoisonError::into_inner).push(events);
        Ok(())
    };
    let trail = Trail::remote(keep, &keys, &cohort.id, &gate)?;
    // Tasks name samples by their places among those who were admitted; each is asked for again with its task.
    cohort.samples.retain(|sample| samples.contains(&sample.sample));
    let index = inputs::open_or_build(&cohort.reference_path(), &dir.scratch(), config.limits.threads)?;
    let cut = Cut::of(&config);
    let samples = inputs::samples_of(&cohort, &cut);
    let writer = Writer::OfMany { fence: *fence, number: bundle.worker.0 };
    let context = Context::open(
        cohort.id.clone(),
        index,
        samples,
        inputs::settings(&cohort, Level::best()),
        &dir.scratch(),
        (writer, BTreeMap::new()),
    )?;
    let leases = LeaseKey::from_seed(&keys.job_secret("leases")?);
    let runner = Runner {
        context: &context,
        dir: &dir,
        cohort: &cohort,
        gate: &gate,
        trail: &trail,
        keys: &keys,
        leases: leases.verifier(),
        home: None,
    };
    let found = sight::of_waves(&runner)?;
    if found != *expected {
        let (bundle, expected) = (bundle.id.clone(), expected.clone());
        return Err(OtherSight { bundle, expected, found }.into());
    }
    let threads = args.threads();
    let start_core_ms = began.elapsed().as_millis() as u64 * u64::from(threads);
    let until = began + Duration::from_secs(minutes * 60);
    let ended = work_off(bundle, &Leasing { runner: &runner, leases: &leases }, threads, until)?;
    let logged = std::mem::take(&mut *logged.lock().unwrap_or_else(PoisonError::into_inner));
    let receipt = Receipt {
        schema: RECEIPT_SCHEMA.to_owned(),
        bundle: bundle.id.clone(),
        worker: bundle.worker,
        host: host(),
        cores: threads,
        ended,
        logged,
        spent_core_ms: BTreeMap::from([(Spending::Start, start_core_ms)]),
    };
    if !receipt.write(&receipt_path)? {
        say_done(&bundle.id);
    }
    Ok(())
}

/// Leases attempts anew where they begin: a bundle may wait in a queue for longer than a lease holds. The gate decides, as
/// it does for every lease, with the consents as they are now.
struct Leasing<'a> {
    runner: &'a Runner<'a>,
    leases: &'a LeaseKey,
}

impl TaskRunner for Leasing<'_> {
    fn run(&self, request: &Request, control: &Control) -> Result<Output, TaskFailure> {
        let samples = samples_of(request.task, &request.inputs);
        check_known(self.runner.context, request, &samples).map_err(Failure::from)?;
        let attempt = (request.task, request.number);
        let (lease, event) = self.runner.lease(self.leases, self.runner.gate.site(), attempt, &samples)?;
        self.runner.trail.write(event)?;
        self.runner.run(&Request { lease, ..request.clone() }, control)
    }
}

/// Runs all attempts of the bundle, goes on with what follows upon an intake `until` then, and says how each ended.
fn work_off(
    bundle: &Bundle,
    runner: &Leasing<'_>,
    threads: u32,
    until: Instant,
) -> Result<Vec<Ended>, Failure> {
    let (reports, heard) = channel();
    thread::scope(|scope| {
        let pool = Pool::start(scope, runner, threads, reports);
        bundle.requests.iter().for_each(|request| pool.take(Order::Run(request.clone())));
        let mut open: BTreeMap<_, Request> =
            bundle.requests.iter().map(|one| (one.attempt, one.clone())).collect();
        let mut ended = Vec::new();
        while !open.is_empty() {
            match heard.recv_timeout(TICK) {
                Ok(Report::Ended(one)) => {
                    let request = open.remove(&one.attempt).filter(|_| Instant::now() < until);
                    if let Some(next) = request.and_then(|request| next_part(&request, &one)) {
                        pool.take(Order::Run(next.clone()));
                        open.insert(next.attempt, next);
                    }
                    ended.push(one);
                }
                Ok(_) | Err(RecvTimeoutError::Timeout) => bundle.check_time(now())?,
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Ok(ended)
    })
}

/// What follows upon a part of an intake that has not come to the end of its lane.
fn next_part(request: &Request, ended: &Ended) -> Option<Request> {
    let (Task::Intake(lane, part), Ok(output)) = (ended.task, &ended.result) else { return None };
    let before = Commit {
        attempt: request.number,
        pieces: output.pieces.clone(),
        summary: output.summary.clone(),
        basis: [0; 16],
        content: output.content,
        cpu_ms: 0,
        started_ms: 0,
        finished_ms: 0,
        worker: 0,
        slot: 0,
        site: 0,
        bytes_in: 0,
    };
    intake_summary(&before)?.more.then(|| Request {
        attempt: AttemptId(request.attempt.0 + NEXT_PART),
        task: Task::Intake(lane, part + 1),
        inputs: Arc::new(vec![(ended.task, Arc::new(before))]),
        ..request.clone()
    })
}
