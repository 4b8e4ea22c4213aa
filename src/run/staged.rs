//! A sample's files on their way to the results: an attempt writes them into a folder of its own, and they take their
//! names when it is the one that counts.
//!
//! Invariant: the results are changed by the coordinator alone, on behalf of the attempt that it is about to commit; one
//! that is late, cancelled, only compared, or of a run that lost the job reaches none of them. What nobody needs lies in
//! folders of hidden names of their own, which [`clear`] removes; what is called otherwise is somebody else's.

use crate::job_dir::JobDir;
use jobs::failure::{Class, Classified, Failure};
use std::fs;
use std::path::{Path, PathBuf};
use storage::{DiskError, sync_parent};
use workers::finish::ResultFile;

/// An attempt did not leave what it says.
#[derive(Debug, thiserror::Error)]
#[error("{}: is not what the attempt says it wrote", path.display())]
struct NotAsSaid {
    path: PathBuf,
}

impl Classified for NotAsSaid {
    fn class(&self) -> Class {
        Class::Integrity
    }

    fn hint(&self) -> Option<String> {
        Some(
            "nobody but the job may write to its results; look at the disk and at the worker's machine"
                .to_owned(),
        )
    }
}

/// Where an attempt at a sample's files writes them. Attempts are counted in the journal before they begin, so no two of
/// a sample have one number while one scheduler has the job; who lost it must place nothing.
pub fn folder(dir: &JobDir, sample: &str, number: u32) -> PathBuf {
    dir.results().join(format!(".{sample}.{number}"))
}

/// Runs an attempt at a sample's files in its folder, which goes if nothing comes of it.
pub fn attempt<T>(folder: &Path, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    fs::create_dir_all(folder).map_err(DiskError::on("create", folder))?;
    work().inspect_err(|_| drop(fs::remove_dir_all(folder)))
}

/// Gives the files of an attempt their names among the results. Nothing is renamed unless all of them are there.
pub fn place(dir: &JobDir, sample: &str, number: u32, files: &[ResultFile]) -> Result<(), Failure> {
    let (from, results) = (folder(dir, sample, number), dir.results());
    let mut moves = Vec::new();
    for file in files {
        let name = file.path.strip_prefix("results/").unwrap_or_default();
        let is_of_sample = name.strip_prefix(sample).is_some_and(|rest| rest.starts_with('.'));
        let staged = from.join(name);
        let is_there =
            || fs::metadata(&staged).is_ok_and(|there| there.is_file() && there.len() == file.bytes);
        if !is_of_sample || name.contains('/') || !is_there() {
            return Err(NotAsSaid { path: from.join(&file.path) }.into());
        }
        moves.push((staged, results.join(name)));
    }
    for (staged, path) in &moves {
        fs::rename(staged, path).map_err(DiskError::on("rename to", path))?;
    }
    if let Some((_, path)) = moves.first() {
        sync_parent(path)?;
    }
    // Only space, if it cannot be removed now.
    let _ = fs::remove_dir_all(&from);
    Ok(())
}

/// Removes what attempts left that came to nothing. Of those that still run, nothing comes either.
pub fn clear(dir: &JobDir) {
    for entry in fs::read_dir(dir.results()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let parts = name.to_str().and_then(|name| name.strip_prefix('.')?.rsplit_once('.'));
        let is_ours =
            parts.is_some_and(|(sample, number)| !sample.is_empty() && number.parse::<u32>().is_ok());
        if is_ours && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two attempts at the files of S1, the second of which counts as said; the results then, by name.
    fn check(said: &[(&str, u64)], expect: Result<&[(&str, &str)], Class>) {
        let root = tempfile::tempdir().unwrap();
        let dir = JobDir::create(root.path()).unwrap();
        let good = dir.results().join("S1.cram");
        fs::write(&good, "before").unwrap();
        for (number, text) in [(1, "first"), (2, "second")] {
            let folder = folder(&dir, "S1", number);
            let write = || fs::write(folder.join("S1.cram"), text).map_err(DiskError::on("write", &folder));
            attempt(&folder, || Ok(write()?)).unwrap();
        }
        let files = said.iter().map(|&(path, bytes)| ResultFile {
            path: path.to_owned(),
            bytes,
            blake3: String::new(),
        });
        let placed = place(&dir, "S1", 2, &files.collect::<Vec<_>>());
        assert_eq!(placed.as_ref().map_err(Failure::class).err(), expect.as_ref().err().copied(), "{said:?}");
        let Ok(expect) = expect else { return assert_eq!(fs::read_to_string(&good).unwrap(), "before") };
        for (name, text) in expect {
            assert_eq!(fs::read_to_string(dir.results().join(name)).unwrap(), *text);
        }
        // The other ends later, and is nobody's.
        assert!(folder(&dir, "S1", 1).join("S1.cram").exists());
        clear(&dir);
        let left: Vec<_> = fs::read_dir(dir.results()).unwrap().map(|one| one.unwrap().file_name()).collect();
        assert_eq!(left, ["S1.cram"]);
    }

    #[test]
    fn the_attempt_that_counts_alone_reaches_the_results() {
        check(&[("results/S1.cram", 6)], Ok(&[("S1.cram", "second")]));
        check(&[], Ok(&[("S1.cram", "before")]));
    }

    #[test]
    fn an_attempt_that_did_not_leave_what_it_says_changes_nothing() {
        for wrong in [
            ("results/S1.cram", 5),
            ("results/S1.g.vcf.gz", 6),
            ("results/S2.cram", 6),
            ("results/S1./../../../S1.cram", 6),
            ("/etc/hostname", 6),
            ("", 0),
        ] {
            check(&[("results/S1.cram", 6), wrong], Err(Class::Integrity));
        }
    }

    #[test]
    fn what_is_no_attempts_is_left() {
        let root = tempfile::tempdir().unwrap();
        let dir = JobDir::create(root.path()).unwrap();
        let theirs = [".git", ".S1", ".7", "..7", ".S1.x", ".S1.-1", ".S1.4294967296", "S1.1", ".file.1"];
        for name in &theirs[..theirs.len() - 1] {
            fs::create_dir(dir.results().join(name)).unwrap();
        }
        fs::write(dir.results().join(".file.1"), "").unwrap();
        fs::create_dir(folder(&dir, "S.1-a", 1)).unwrap();
        clear(&dir);
        assert!(!folder(&dir, "S.1-a", 1).exists());
        for name in theirs {
            assert!(dir.results().join(name).exists(), "{name}");
        }
    }

    #[test]
    fn an_attempt_that_fails_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let dir = JobDir::create(root.path()).unwrap();
        let folder = folder(&dir, "S1", 1);
        let failed: Result<(), _> = attempt(&folder, || Err(NotAsSaid { path: folder.clone() }.into()));
        assert!(failed.is_err() && !folder.exists());
    }
}
