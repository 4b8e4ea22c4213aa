//! The books of a job's runs: who ran when, what it cost; and digests of files and texts.

use crate::job_dir::JobDir;
use cluster::Outcome;
use cluster::meter::now_ms;
use jobs::failure::{Class, Classified, Failure};
use scheduler::Ending;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use storage::Journal;
use workers::finish::ResultFile;

/// Name of the journal's value that lists all runs.
const RUNS: &str = "runs";

/// One start of `wakachi run` on a job.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RunRecord {
    /// The command.
    pub command: String,
    /// Milliseconds since 1970.
    pub started_ms: u64,
    /// The same; `None` if the run was killed.
    pub ended_ms: Option<u64>,
    /// Tasks it committed.
    pub tasks: u64,
    /// CPU time of those tasks and of failed attempts, in milliseconds.
    pub task_cpu_ms: u64,
    /// CPU time of the whole process, in milliseconds.
    pub cpu_ms: u64,
    /// What committing took of it, in milliseconds of CPU time: journal, leases, verification and display, and within tasks
    /// the storing of what they made. Where tasks run in other processes too, only the last.
    #[serde(default)]
    pub commit_cpu_ms: u64,
    /// Largest anonymous memory in bytes.
    pub peak_anonymous_bytes: u64,
    /// Bytes of the mapped index.
    pub mapped_bytes: u64,
    /// How it ended.
    pub ending: String,
}

impl RunRecord {
    /// Notes that a run begins.
    pub fn begin(journal: &Journal, command: &str) -> Result<Self, Failure> {
        let record = RunRecord {
            command: command.to_owned(),
            started_ms: now_ms(),
            ended_ms: None,
            tasks: 0,
            task_cpu_ms: 0,
            cpu_ms: 0,
            commit_cpu_ms: 0,
            peak_anonymous_bytes: 0,
            mapped_bytes: 0,
            ending: "killed".to_owned(),
        };
        let mut runs = all(journal)?;
        runs.push(record.clone());
        store(journal, &runs)?;
        Ok(record)
    }

    /// Notes what ran in a batch system while no run did.
    pub fn note(self, journal: &Journal) -> Result<(), Failure> {
        let mut runs = all(journal)?;
        runs.push(self);
        store(journal, &runs)
    }

    /// Notes how it ended.
    pub fn end(
        mut self,
        journal: &Journal,
        outcome: &Outcome,
        (cpu_ms, commit_cpu_ms): (u64, u64),
        peak_anonymous_bytes: u64,
        mapped_bytes: u64,
    ) -> Result<Self, Failure> {
        self.ended_ms = Some(now_ms());
        self.tasks = outcome.tasks_run;
        self.task_cpu_ms = outcome.cpu_ms;
        self.cpu_ms = cpu_ms;
        self.commit_cpu_ms = commit_cpu_ms;
        self.peak_anonymous_bytes = peak_anonymous_bytes;
        self.mapped_bytes = mapped_bytes;
        self.ending = match outcome.ending {
            Ending::Complete => "complete".to_owned(),
            Ending::Partial => "partial".to_owned(),
            Ending::Stopped => "stopped".to_owned(),
            Ending::Failed(class) => format!("failed ({})", class.exit_code()),
        };
        let mut runs = all(journal)?;
        if let Some(last) = runs.last_mut() {
            *last = self.clone();
        }
        store(journal, &runs)?;
        Ok(self)
    }

    /// The summary of `wakachi run --output json`.
    pub fn to_json(&self, dir: &JobDir) -> serde_json::Value {
        serde_json::json!({
            "schema": "wakachi.run/1",
            "results": dir.results().to_string_lossy(),
            "report": dir.report().to_string_lossy(),
            "ledger": dir.ledger().to_string_lossy(),
            "run": self,
        })
    }
}

/// All runs of a job, oldest first.
pub fn all(journal: &Journal) -> Result<Vec<RunRecord>, Failure> {
    let stored = journal.value(RUNS)?;
    Ok(stored.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
}

fn store(journal: &Journal, runs: &[RunRecord]) -> Result<(), Failure> {
    Ok(journal.put_value(RUNS, &serde_json::to_vec(runs).expect("plain data always prints"))?)
}

/// A file could not be read for its digest.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot be read", path.display())]
struct Unreadable {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl Classified for Unreadable {
    fn class(&self) -> Class {
        Class::Input
    }
}

/// Whether a file of the job is as it was written.
pub fn is_whole(dir: &JobDir, file: &ResultFile) -> bool {
    let found = workers::finish::digest(&dir.root().join(&file.path)).ok();
    found.is_some_and(|(bytes, blake3)| bytes == file.bytes && blake3 == file.blake3)
}

/// Results that this run read back when they were written, with how their files looked then: as long as they look so, they
/// need not be read again.
#[derive(Debug, Default)]
pub struct ReadBack(Mutex<BTreeMap<String, (ResultFile, SystemTime)>>);

impl ReadBack {
    /// These were read back and have their names since.
    pub fn note(&self, dir: &JobDir, files: &[ResultFile]) {
        let seen =
            files.iter().filter_map(|file| Some((file.path.clone(), (file.clone(), changed(dir, file)?))));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(seen);
    }

    /// Whether this one was, and nobody changed it.
    pub fn holds(&self, dir: &JobDir, file: &ResultFile) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&file.path).cloned();
        known.is_some_and(|(known, at)| known == *file && changed(dir, file) == Some(at))
    }
}

/// When a result was changed that has the length it should have.
fn changed(dir: &JobDir, file: &ResultFile) -> Option<SystemTime> {
    let there = seen_open(&dir.root().join(&file.path))?;
    there.modified().ok().filter(|_| there.len() == file.bytes)
}

/// What is known of a regular file that other nodes write: a network filesystem asks its server when a file is opened, and
/// until then may believe a length that was true some seconds ago.
pub fn seen_open(path: &Path) -> Option<Metadata> {
    // A pipe would be waited for.
    std::fs::metadata(path).ok().filter(Metadata::is_file)?;
    let there = File::open(path).and_then(|file| file.metadata()).ok()?;
    there.is_file().then_some(there)
}

/// The bytes of a file, unless it is longer than `bytes_max`.
pub fn read_at_most(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // A pipe may never end, or never begin.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no regular file"));
    }
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let why = format!("larger than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(bytes)
}

/// SHA-256 of bytes in hexadecimal.
pub fn sha256_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes of a file that are read at a time.
const READ_BYTES: usize = 1 << 18;

/// SHA-256 of a file in hexadecimal.
pub fn sha256(path: &Path) -> Result<String, Failure> {
    let mut hasher = Sha256::new();
    let read = |file: File| {
        let mut file = BufReader::with_capacity(READ_BYTES, file);
        loop {
            let bytes = file.fill_buf()?;
            if bytes.is_empty() {
                return Ok(());
            }
            hasher.update(bytes);
            let used = bytes.len();
            file.consume(used);
        }
    };
    let hashed = File::open(path).and_then(read);
    hashed.map_err(|source| Unreadable { path: path.to_owned(), source })?;
    Ok(hex(&hasher.finalize()))
}

/// BLAKE3 of a text in hexadecimal.
pub fn blake3_text(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// Length and time of change of a file.
pub fn stamp(path: &Path) -> String {
    let metadata = std::fs::metadata(path).ok();
    let modified = metadata.as_ref().and_then(|m| m.modified().ok()?.duration_since(UNIX_EPOCH).ok());
    format!("{} {}", metadata.map_or(0, |m| m.len()), modified.map_or(0, |age| age.as_nanos()))
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
