//! A job's journal for those who only look: also where they may not write, as on a disk that is mounted for reading, or in
//! somebody else's directory.

use crate::job_dir::JobDir;
use jobs::failure::{Class, Classified, Failure};
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use storage::lock::Lock;
use storage::{DiskError, Fence, FenceError, Journal};
use tempfile::TempDir;

/// A job that does not run, or who runs it.
pub enum Look {
    /// It does not run.
    AtRest(Box<Journal>),
    /// This one runs it.
    Held(FenceError),
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
        // A copy goes now: what is open is still read, and of who is killed later nothing is left.
        Ok((fence, _copy)) => Look::AtRest(Box::new(Journal::open(fence)?)),
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
    match Fence::try_acquire(copy.path()) {
        Ok(fence) => Ok(Ok((fence, Some(copy)))),
        Err(FenceError::Held { holder, .. }) => Ok(Err(FenceError::Held { dir: scratch, holder })),
        Err(error) => Err(error.into()),
    }
}

impl Look {
    /// The journal, which is only to be read; an error if somebody runs the job.
    pub fn at_rest(self) -> Result<Journal, FenceError> {
        match self {
            Look::AtRest(journal) => Ok(*journal),
            Look::Held(held) => Err(held),
        }
    }
}

fn may_not_write(error: &DiskError) -> bool {
    let DiskError::Refused { source, .. } = error else { return false };
    matches!(source.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied)
}

/// The journal's files, and who has or had it, in a directory of our own, which others cannot read and which goes when it
/// is dropped.
fn copy(scratch: &Path) -> Result<TempDir, DiskError> {
    let places = std::env::temp_dir();
    let copy = tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir();
    let copy = copy.map_err(DiskError::on("make a directory in", &places))?;
    let entries = fs::read_dir(scratch).map_err(DiskError::on("list", scratch))?;
    for entry in entries {
        let entry = entry.map_err(DiskError::on("list", scratch))?;
        let name = entry.file_name();
        let is_wanted = |name: &str| name.starts_with("journal.") || name.starts_with("fence.");
        if name.to_str().is_some_and(is_wanted) {
            let to = copy.path().join(&name);
            // A copy has the rights of what it is of, which may be to read only.
            fs::copy(entry.path(), &to)
                .and_then(|_| fs::set_permissions(&to, Permissions::from_mode(0o600)))
                .map_err(DiskError::on("copy", &entry.path()))?;
        }
    }
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_copy_is_for_its_owner_alone_and_can_be_opened() {
        let scratch = tempfile::tempdir().unwrap();
        let fence = Fence::acquire(scratch.path()).unwrap();
        drop(Journal::open_or_create(fence, &storage::JobIdentity::default()).unwrap());
        fs::write(scratch.path().join("key"), "secret").unwrap();
        for entry in fs::read_dir(scratch.path()).unwrap() {
            fs::set_permissions(entry.unwrap().path(), Permissions::from_mode(0o444)).unwrap();
        }
        let copied = copy(scratch.path()).unwrap();
        assert_eq!((mode(copied.path()), copied.path().join("key").exists()), (0o700, false));
        for entry in fs::read_dir(copied.path()).unwrap() {
            assert_eq!(mode(&entry.unwrap().path()), 0o600);
        }
        let journal = Journal::open(Fence::try_acquire(copied.path()).unwrap()).unwrap();
        drop(copied);
        assert_eq!(
            (journal.identity(), journal.commits().unwrap().len()),
            (&storage::JobIdentity::default(), 0)
        );
    }

    #[test]
    fn a_copy_says_who_runs_the_job_elsewhere() {
        let scratch = tempfile::tempdir().unwrap();
        let fence = Fence::acquire(scratch.path()).unwrap();
        let copied = copy(scratch.path()).unwrap();
        // Locks do not reach a copy, nor another machine.
        assert!(matches!(Fence::try_acquire(copied.path()), Err(FenceError::Held { .. })));
        drop(fence);
        let copied = copy(scratch.path()).unwrap();
        Fence::try_acquire(copied.path()).unwrap();
    }
}
