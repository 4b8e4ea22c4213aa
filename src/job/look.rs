//! A job's journal for those who only look: also where they may not write, as on a disk that is mounted for reading, or in
//! somebody else's directory.

use crate::job_dir::JobDir;
use jobs::failure::{Class, Classified, Failure};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use storage::lock::Lock;
use storage::{DiskError, Fence, FenceError, Journal};
use tempfile::TempDir;

/// A job that does not run, or who runs it.
pub enum Look {
    /// It does not run.
    AtRest(Box<AtRest>),
    /// This one runs it.
    Held(FenceError),
}

/// The journal of a job that does not run.
pub struct AtRest {
    /// The journal, or a copy of it.
    pub journal: Journal,
    /// Goes after the journal in it.
    _copy: Option<TempDir>,
}

/// Somebody began to run the job while its journal was copied.
#[derive(Debug, thiserror::Error)]
#[error("{}: somebody began to run the job while it was looked at", dir.display())]
struct Begun {
    dir: PathBuf,
}

impl Classified for Begun {
    fn class(&self) -> Class {
        Class::Failed
    }

    fn hint(&self) -> Option<String> {
        Some("give the command again".to_owned())
    }
}

/// Opens the journal of a job, unless somebody runs it.
pub fn look(dir: &JobDir) -> Result<Look, Failure> {
    Ok(match fence(dir)? {
        Ok((fence, copy)) => Look::AtRest(Box::new(AtRest { journal: Journal::open(fence)?, _copy: copy })),
        Err(held) => Look::Held(held),
    })
}

/// Who runs a job, if anybody does.
pub fn holder(dir: &JobDir) -> Result<Option<FenceError>, Failure> {
    Ok(fence(dir)?.err())
}

/// The right to open the journal, or the copy of it where nobody may write; the inner error says who has it.
fn fence(dir: &JobDir) -> Result<Result<(Fence, Option<TempDir>), FenceError>, Failure> {
    let scratch = dir.scratch();
    match Fence::try_acquire(&scratch) {
        Ok(fence) => return Ok(Ok((fence, None))),
        Err(held @ FenceError::Held { .. }) => return Ok(Err(held)),
        Err(FenceError::Disk(error)) if may_not_write(&error) => {}
        Err(error) => return Err(error.into()),
    }
    if !Lock::is_free(&scratch) {
        let holder = "another process".to_owned();
        return Ok(Err(FenceError::Held { dir: scratch, holder }));
    }
    let copy = copy(&scratch)?;
    if !Lock::is_free(&scratch) {
        return Err(Begun { dir: dir.root().to_owned() }.into());
    }
    Ok(Ok((Fence::try_acquire(copy.path())?, Some(copy))))
}

impl Look {
    /// The journal; an error if somebody runs the job.
    pub fn at_rest(self) -> Result<AtRest, FenceError> {
        match self {
            Look::AtRest(at_rest) => Ok(*at_rest),
            Look::Held(held) => Err(held),
        }
    }
}

fn may_not_write(error: &DiskError) -> bool {
    let DiskError::Refused { source, .. } = error else { return false };
    matches!(source.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied)
}

/// The journal's files in a directory of our own, which others cannot read and which goes when it is dropped.
fn copy(scratch: &Path) -> Result<TempDir, DiskError> {
    let places = std::env::temp_dir();
    let copy = tempfile::tempdir().map_err(DiskError::on("make a directory in", &places))?;
    let entries = fs::read_dir(scratch).map_err(DiskError::on("list", scratch))?;
    for entry in entries {
        let entry = entry.map_err(DiskError::on("list", scratch))?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with("journal.")) {
            fs::copy(entry.path(), copy.path().join(&name)).map_err(DiskError::on("copy", &entry.path()))?;
        }
    }
    Ok(copy)
}
