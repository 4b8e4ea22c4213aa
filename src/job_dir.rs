//! The job directory: what lies where. A job is its directory.

use jobs::failure::{Class, Classified};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Paths of one job.
#[derive(Clone, Debug)]
pub struct JobDir {
    root: PathBuf,
}

/// The job directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JobDirError {
    /// It cannot be made.
    #[error("{}: cannot make the directory", path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no job in it.
    #[error("{}: holds no job", path.display())]
    NoJob {
        /// The directory.
        path: PathBuf,
    },
    /// Something else is in it.
    #[error("{}: holds files that are not a job's", path.display())]
    Occupied {
        /// The directory.
        path: PathBuf,
    },
}

impl Classified for JobDirError {
    fn class(&self) -> Class {
        match self {
            JobDirError::Create { .. } => Class::Failed,
            JobDirError::NoJob { .. } | JobDirError::Occupied { .. } => Class::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            JobDirError::Create { .. } => Some("choose a directory you may write to with --out".to_owned()),
            JobDirError::NoJob { .. } => Some("wakachi run COHORT.toml --out DIR".to_owned()),
            JobDirError::Occupied { .. } => Some("give an empty or a new directory with --out".to_owned()),
        }
    }
}

impl JobDir {
    /// Makes the directory, or takes the one that is there, if it is empty or a job's.
    pub fn create(root: &Path) -> Result<Self, JobDirError> {
        let dir = JobDir { root: root.to_owned() };
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| JobDirError::Create { path, source }
        };
        fs::create_dir_all(root).map_err(failed(root))?;
        let mut entries = fs::read_dir(root).map_err(failed(root))?;
        if !dir.scratch().exists() && entries.next().is_some() {
            return Err(JobDirError::Occupied { path: root.to_owned() });
        }
        for path in [dir.scratch(), dir.keys(), dir.results(), dir.qc()] {
            fs::create_dir_all(&path).map_err(failed(&path))?;
        }
        Ok(dir)
    }

    /// The job that is there.
    pub fn existing(root: &Path) -> Result<Self, JobDirError> {
        let dir = JobDir { root: root.to_owned() };
        if dir.has_journal() { Ok(dir) } else { Err(JobDirError::NoJob { path: root.to_owned() }) }
    }

    /// The job that is there, even if it has done nothing yet, as one that waits in a queue.
    pub fn begun(root: &Path) -> Result<Self, JobDirError> {
        let dir = JobDir { root: root.to_owned() };
        match dir.has_journal() || dir.scratch().join("slurm").exists() {
            true => Ok(dir),
            false => Err(JobDirError::NoJob { path: root.to_owned() }),
        }
    }

    /// Whether it has come as far as its journal.
    pub fn has_journal(&self) -> bool {
        self.scratch().join("journal.redb").exists()
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Journal, packs and keys.
    pub fn scratch(&self) -> PathBuf {
        self.root.join(".wakachi")
    }

    /// Keys of the scratch.
    pub fn keys(&self) -> PathBuf {
        self.scratch().join("keys")
    }

    /// CRAM, gVCF, VCF and their indexes.
    pub fn results(&self) -> PathBuf {
        self.root.join("results")
    }

    /// Quality control, a JSON file per sample.
    pub fn qc(&self) -> PathBuf {
        self.root.join("qc")
    }

    /// The ledger.
    pub fn ledger(&self) -> PathBuf {
        self.root.join("ledger.json")
    }

    /// The report.
    pub fn report(&self) -> PathBuf {
        self.root.join("report.html")
    }
}
