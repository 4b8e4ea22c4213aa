//! What can be said of a job at any moment, whoever asks. A running job leaves it in its directory, and a job that ends
//! leaves the last of it; for one that was killed it is made from the journal, by the same scheduler.

use super::books::read_at_most;
use super::office::facts_of;
use crate::job_dir::JobDir;
use cluster::info::{JobInfo, Span, State, Timeline, VaultInfo};
use cluster::meter::now_ms;
use cluster::watch::{self, Names};
use jobs::cohort::Cohort;
use jobs::failure::Failure;
use jobs::genome::{Contigs, Grid};
use jobs::task::TaskKeys;
use scheduler::{Event, Options, Plan, Scheduler};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use storage::Journal;
use storage::lock::Lock;
use storage::vault::Vault;

/// Name of the journal's value that holds the plan.
const PLAN: &str = "plan";

/// Largest status that is read, in bytes; that of thousands of workers is a hundredth of it.
const STATUS_BYTES_MAX: u64 = 1 << 30;

/// Leaves it in the directory, all of it or nothing. Best effort: a status that cannot be written must not stop a job.
pub fn leave(dir: &JobDir, info: &JobInfo) {
    replace(&path(dir), &serde_json::to_vec(info).expect("plain data always prints"));
}

/// Replaces a file that others read, if that can be done.
pub fn replace(path: &Path, text: &[u8]) {
    let partial = path.with_extension(format!("{}.partial", std::process::id()));
    let replaced = fs::write(&partial, text).and_then(|()| fs::rename(&partial, path));
    if replaced.is_err() {
        let _ = fs::remove_file(&partial);
    }
}

/// What a job left last.
pub fn found(dir: &JobDir) -> Option<JobInfo> {
    serde_json::from_slice(&read_at_most(&path(dir), STATUS_BYTES_MAX).ok()?).ok()
}

/// When the job said something last.
pub fn written(dir: &JobDir) -> Option<SystemTime> {
    fs::metadata(path(dir)).ok()?.modified().ok()
}

/// How the job stands, as far as can be told without opening its journal.
pub fn seen(dir: &JobDir) -> Option<JobInfo> {
    let runs = || !Lock::is_free(&dir.scratch());
    match found(dir) {
        // A job that says something every second needs nobody to ask whether it is there.
        Some(info) if !info.state.is_live() || !is_stale(&info) || runs() => Some(info),
        Some(info) => Some(JobInfo { state: State::Killed, ..info }),
        None => runs().then(starting),
    }
}

/// Whether a job that runs should have said more by now.
fn is_stale(info: &JobInfo) -> bool {
    now_ms().saturating_sub(info.as_of_ms) > 5 * info.interval_ms.max(1000)
}

/// Says of a job that could not be driven to an end that it failed, and why.
pub fn leave_failed(dir: &JobDir, failure: &Failure) {
    if let Some(info) = found(dir).filter(|info| info.state.is_live()) {
        leave(dir, &JobInfo { state: State::Failed, failure: Some(failure.chain().join(": ")), ..info });
    }
}

/// What a job and its parts are called.
pub fn names(cohort: &Cohort, contigs: &Contigs) -> Names {
    let grid = Grid::new(contigs);
    let contigs = contigs.iter().enumerate();
    Names {
        job: cohort.id.clone(),
        samples: cohort.samples.iter().map(|sample| sample.sample.clone()).collect(),
        contigs: contigs.map(|(at, contig)| (contig.name.clone(), grid.cell_of(at as u32, 0))).collect(),
    }
}

/// What can be said of a job that runs and has not left anything yet.
pub fn starting() -> JobInfo {
    JobInfo { schema: cluster::info::SCHEMA.to_owned(), as_of_ms: now_ms(), ..JobInfo::default() }
}

/// How a job stands that does not run.
pub fn at_rest(dir: &JobDir, journal: &Journal) -> Result<Option<JobInfo>, Failure> {
    let left = found(dir);
    match left {
        Some(left) if !left.state.is_live() => Ok(Some(left)),
        left => Ok(from_journal(journal)?.map(|info| of_killed(info, left))),
    }
}

/// The journal of a killed job knows what is done; what it cost until a moment before is in what it left.
fn of_killed(mut info: JobInfo, left: Option<JobInfo>) -> JobInfo {
    let Some(left) = left else { return info };
    if info.state != State::Complete {
        info.state = State::Killed;
    }
    JobInfo {
        as_of_ms: left.as_of_ms,
        interval_ms: left.interval_ms,
        started_ms: left.started_ms,
        grid: left.grid,
        bill: left.bill,
        ..info
    }
}

/// Made from the journal alone; `None` if it holds no plan.
pub fn from_journal(journal: &Journal) -> Result<Option<JobInfo>, Failure> {
    let Some(plan) = stored_plan(journal)? else { return Ok(None) };
    let samples = plan.samples.iter().map(|sample| sample.name.clone()).collect();
    let names = Names { job: journal.identity().job.clone(), samples, contigs: Vec::new() };
    let mut scheduler = Scheduler::new(plan, Options::default());
    let keys = TaskKeys::new(&names.samples);
    journal.replay(|key, commit| {
        let task = keys.task(key).filter(|&task| scheduler.plan().knows(task));
        if let Some(task) = task {
            scheduler.handle(0, Event::Committed { task, facts: facts_of(task, &commit) });
        }
    })?;
    let info = watch::of(&names, &scheduler);
    Ok(Some(JobInfo { as_of_ms: now_ms(), timeline: timeline(journal, &names.samples)?, ..info }))
}

/// What ran when, of everything that was committed.
pub fn timeline(journal: &Journal, samples: &[String]) -> Result<Timeline, Failure> {
    let (mut ran, keys) = (Vec::new(), TaskKeys::new(samples));
    journal.replay(|key, commit| {
        let Some(task) = keys.task(key) else { return };
        let span = Span {
            task: key.to_owned(),
            stage: task.stage(),
            start_ms: commit.started_ms,
            end_ms: commit.finished_ms,
            tasks: 1,
            counts: true,
        };
        ran.push((commit.worker, commit.slot, span));
    })?;
    Ok(watch::timeline(ran))
}

/// The vaults that files of this job were sealed into, as they look without reading a fragment.
pub fn vaults(dir: &JobDir) -> Vec<VaultInfo> {
    #[derive(serde::Deserialize)]
    struct Sealed {
        files: Vec<SealedFile>,
    }
    #[derive(serde::Deserialize)]
    struct SealedFile {
        vault: PathBuf,
        object: String,
    }
    let list = dir.root().join(super::archive::SEALED);
    let text = read_at_most(&list, super::archive::LIST_BYTES_MAX).unwrap_or_default();
    let Ok(sealed) = serde_json::from_slice::<Sealed>(&text) else { return Vec::new() };
    let mut objects: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    for file in sealed.files {
        objects.entry(file.vault).or_default().push(file.object);
    }
    let look = |(folder, objects): (PathBuf, Vec<String>)| {
        let (listed, findings) = match Vault::open(&folder) {
            Ok(vault) => {
                let listing = vault.list();
                let there: Vec<String> = listing.objects.iter().map(|one| one.id.to_string()).collect();
                let listed = objects.iter().filter(|object| there.contains(object)).count();
                (listed, listing.findings.iter().map(ToString::to_string).collect())
            }
            Err(error) => (0, vec![Failure::from(error).chain().join(": ")]),
        };
        VaultInfo {
            folder: folder.to_string_lossy().into_owned(),
            files: objects.len() as u64,
            listed: listed as u64,
            findings,
            as_of_ms: now_ms(),
        }
    };
    objects.into_iter().map(look).collect()
}

fn path(dir: &JobDir) -> PathBuf {
    dir.scratch().join("status.json")
}

/// Remembers the plan, for who asks when the job does not run.
pub fn store_plan(journal: &Journal, plan: &Plan) -> Result<(), Failure> {
    Ok(journal.put_value(PLAN, &serde_json::to_vec(plan).expect("plain data always prints"))?)
}

/// The plan that a run of this job remembered.
pub fn stored_plan(journal: &Journal) -> Result<Option<Plan>, Failure> {
    Ok(journal.value(PLAN)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}
