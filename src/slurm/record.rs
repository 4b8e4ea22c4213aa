//! What of a job directory is Slurm's: the script, its logs, and which batch jobs were submitted from it.
//!
//! Invariant: a batch job stands in `jobs.json` as soon as anybody is told its number. The file is replaced whole.

use super::{BatchId, Element, Slurm, SlurmError, State};
use crate::job_dir::JobDir;
use jobs::failure::{Class, Classified, Failure};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use storage::DiskError;

/// What a batch job is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// The whole job in one allocation.
    Job,
    /// Between the waves of an array: collects, commits, sends the next.
    Coordinator,
    /// A wave of bundles, as an array.
    Wave,
}

/// A batch job that was submitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitted {
    /// Its number.
    #[serde(flatten)]
    pub batch: BatchId,
    /// What for.
    pub purpose: Purpose,
    /// When.
    pub submitted_ms: u64,
    /// Digest of the script as it was then.
    pub script_blake3: String,
}

/// The batch jobs of a directory, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    schema: String,
    /// All that were submitted.
    pub jobs: Vec<Submitted>,
}

/// Schema of [`Record`] in JSON.
const SCHEMA: &str = "wakachi.slurm-jobs/1";

/// Coordinators of which Slurm is asked at most.
const LATER_MAX: usize = 8;

/// The record cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: is no record of batch jobs", path.display())]
struct Damaged {
    path: PathBuf,
    #[source]
    source: serde_json::Error,
}

impl Classified for Damaged {
    fn class(&self) -> Class {
        Class::Integrity
    }

    fn hint(&self) -> Option<String> {
        Some("squeue --me names the jobs that are left; remove the file and submit again".to_owned())
    }
}

/// The folder of a job that is Slurm's.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Of this job.
    pub fn of(dir: &JobDir) -> Self {
        Folder(dir.scratch().join("slurm"))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The script that is submitted.
    pub fn script(&self) -> PathBuf {
        self.0.join("job.sh")
    }

    /// What a batch job said.
    pub fn log(&self, batch: &BatchId) -> PathBuf {
        self.0.join(format!("{}.log", batch.id))
    }

    /// With which code the script of a batch job ended, if it got there.
    pub fn exit_code(&self, batch: &BatchId) -> Option<u32> {
        fs::read_to_string(self.0.join(format!("{}.exit", batch.id))).ok()?.trim().parse().ok()
    }

    /// What was submitted from here; `None` if nothing ever was.
    pub fn record(&self) -> Result<Option<Record>, Failure> {
        let path = self.jobs();
        match fs::read(&path) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(record) => Ok(Some(record)),
                Err(source) => Err(Damaged { path, source }.into()),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DiskError::on("read", &path)(error).into()),
        }
    }

    /// Adds a batch job.
    pub fn add(&self, submitted: Submitted) -> Result<(), Failure> {
        let mut record = self.record()?.unwrap_or(Record { schema: SCHEMA.to_owned(), jobs: Vec::new() });
        record.jobs.push(submitted);
        let text = serde_json::to_vec_pretty(&record).expect("plain data always prints");
        let (path, partial) = (self.jobs(), self.0.join("jobs.json.partial"));
        fs::write(&partial, text).map_err(DiskError::on("write", &partial))?;
        Ok(fs::rename(&partial, &path).map_err(DiskError::on("write", &path))?)
    }

    /// Whether a coordinator is alive that was submitted after the one with this number: of two the later one goes on, so
    /// that neither leaves it to the other. Of one that is not known here all are later.
    pub fn has_later(&self, slurm: &Slurm, own: Option<u32>) -> Result<bool, Failure> {
        let jobs = self.record()?.map_or_else(Vec::new, |record| record.jobs);
        let later = jobs.iter().rev().take_while(|one| Some(one.batch.id) != own);
        let coordinators = later.filter(|one| one.purpose == Purpose::Coordinator).take(LATER_MAX);
        for one in coordinators {
            if slurm.elements(&one.batch)?.iter().any(|element| element.state.is_alive()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn jobs(&self) -> PathBuf {
        self.0.join("jobs.json")
    }
}

/// Where the newest batch jobs of a directory stand.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Which, and what Slurm says of each; of one that it has forgotten, nothing.
    pub jobs: Vec<(Submitted, Vec<Element>)>,
}

impl Standing {
    /// Asks Slurm.
    pub fn ask(slurm: &Slurm, record: &Record) -> Result<Self, SlurmError> {
        // A wave and the coordinators behind it may be alive together, and never more.
        let behind = record.jobs.iter().rev().take_while(|one| one.purpose == Purpose::Coordinator).count();
        let newest = &record.jobs[record.jobs.len().saturating_sub((behind + 1).max(2))..];
        let jobs = newest.iter().map(|one| Ok((one.clone(), slurm.elements(&one.batch)?)));
        Ok(Standing { jobs: jobs.collect::<Result<_, SlurmError>>()? })
    }

    /// Whether more is to come.
    pub fn is_alive(&self) -> bool {
        self.jobs.iter().any(|(_, elements)| elements.iter().any(|one| one.state.is_alive()))
    }

    /// In words: `batch job 17: PENDING (Resources)`.
    pub fn lines(&self) -> Vec<String> {
        let line = |(submitted, elements): &(Submitted, Vec<Element>)| {
            let mut counts: Vec<(String, usize)> = Vec::new();
            for element in elements {
                let waits = element.reason.as_ref().filter(|_| element.state == State::Pending);
                let nodes = element.nodes.as_ref().filter(|_| element.state == State::Running);
                let detail = waits.or(nodes).map_or_else(String::new, |detail| format!(" ({detail})"));
                let word = format!("{}{detail}", element.state);
                match counts.iter_mut().find(|(known, _)| *known == word) {
                    Some((_, count)) => *count += 1,
                    None => counts.push((word, 1)),
                }
            }
            let words: Vec<String> = counts
                .into_iter()
                .map(|(word, count)| if elements.len() > 1 { format!("{count} {word}") } else { word })
                .collect();
            let words = if words.is_empty() { "Slurm has forgotten it".to_owned() } else { words.join(", ") };
            let kind = match submitted.purpose {
                Purpose::Job => "batch job",
                Purpose::Coordinator => "coordinator",
                Purpose::Wave => "array",
            };
            let restarts = elements.iter().map(|one| one.restarts).max().unwrap_or(0);
            let again = if restarts > 0 { format!(", restarted {restarts} times") } else { String::new() };
            format!("{kind} {}: {words}{again}", submitted.batch)
        };
        self.jobs.iter().map(line).collect()
    }
}

/// Where the batch jobs of a directory stand, if any was ever submitted from it: for `wakachi job info`.
pub fn state_of(dir: &JobDir) -> Result<Option<Standing>, Failure> {
    let Some(record) = Folder::of(dir).record()? else { return Ok(None) };
    Ok(Some(Standing::ask(&Slurm::of_path(), &record)?))
}
