//! Files on their way to the results, a sample's or the cohort's: their parts are written side by side into a folder, and the
//! files take their names once all is there.
//!
//! Invariant: a folder is named by what the bytes of its files depend on. Whoever works right and writes into it, under
//! whichever run and however late, writes the same bytes to the same places; of whom that is not known, the files are read
//! again before they count. What is compared is not written at all. The results are changed by the coordinator alone. What
//! nobody needs lies in folders of hidden names of their own, which [`clear`] removes; what is called otherwise is somebody
//! else's.

use super::books;
use crate::job_dir::JobDir;
use jobs::failure::{Class, Classified, Failure};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use storage::{DiskError, sync_parent};
use workers::finish::ResultFile;

/// Hexadecimal digits of a basis in the name of a folder.
const BASIS_DIGITS: usize = 16;

/// An attempt did not leave what it says.
#[derive(Debug, thiserror::Error)]
#[error("{}: is not what the attempt says it wrote", path.display())]
struct NotAsSaid {
    path: PathBuf,
}

/// Something else stands where a result goes.
#[derive(Debug, thiserror::Error)]
#[error("{}: a directory stands where a result goes", path.display())]
struct Occupied {
    path: PathBuf,
}

impl Classified for Occupied {
    fn class(&self) -> Class {
        // It says nothing of the sample, which must not be given up for it.
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        Some(format!("move {} away, then give the same command again", self.path.display()))
    }
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

/// Where the files of a sample or cohort are made whose alignments and calls are of this `basis`.
pub fn folder(dir: &JobDir, owner: &str, basis: &[u8]) -> PathBuf {
    let basis = books::hex(basis);
    dir.results().join(format!(".{owner}.{}", &basis[..BASIS_DIGITS.min(basis.len())]))
}

/// Makes a folder, if nobody has yet.
pub fn open(folder: &Path) -> Result<(), DiskError> {
    fs::create_dir_all(folder).map_err(DiskError::on("create", folder))
}

/// Gives the files in their owner's folder their names among the results. Nothing is renamed unless all of them are there.
pub fn place(dir: &JobDir, owner: &str, from: &Path, files: &[ResultFile]) -> Result<(), Failure> {
    let results = dir.results();
    let mut moves = Vec::new();
    for file in files {
        let name = file.path.strip_prefix("results/").unwrap_or_default();
        let is_owners = name.strip_prefix(owner).is_some_and(|rest| rest.starts_with('.'));
        let staged = from.join(name);
        let is_there = || books::seen_open(&staged).is_some_and(|there| there.len() == file.bytes);
        if !is_owners || name.contains('/') || !is_there() {
            return Err(NotAsSaid { path: from.join(&file.path) }.into());
        }
        let path = results.join(name);
        if path.is_dir() {
            return Err(Occupied { path }.into());
        }
        moves.push((staged, path));
    }
    for (staged, path) in &moves {
        fs::rename(staged, path).map_err(DiskError::on("rename to", path))?;
    }
    if let Some((_, path)) = moves.first() {
        sync_parent(path)?;
    }
    // Only space, if it cannot be removed now.
    let _ = fs::remove_dir_all(from);
    Ok(())
}

/// Removes all folders of files in the making but the `kept`.
pub fn clear(dir: &JobDir, kept: &BTreeSet<PathBuf>) {
    for entry in fs::read_dir(dir.results()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let parts = name.to_str().and_then(|name| name.strip_prefix('.')?.rsplit_once('.'));
        let is_basis = |text: &str| {
            text.len() == BASIS_DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_ours = parts.is_some_and(|(owner, basis)| !owner.is_empty() && is_basis(basis));
        if is_ours && !kept.contains(&entry.path()) && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of S1 in the making under two bases, those of the second as said; the results then, by name.
    fn check(said: &[(&str, u64)], expect: Result<&[(&str, &str)], Class>) {
        let root = tempfile::tempdir().unwrap();
        let dir = JobDir::create(root.path()).unwrap();
        let good = dir.results().join("S1.cram");
        fs::write(&good, "before").unwrap();
        let folders = [[1; 16], [2; 16]].map(|basis| folder(&dir, "S1", &basis));
        for (folder, text) in folders.iter().zip(["first", "second"]) {
            open(folder).unwrap();
            fs::write(folder.join("S1.cram"), text).unwrap();
        }
        let files = said.iter().map(|&(path, bytes)| ResultFile {
            path: path.to_owned(),
            bytes,
            blake3: String::new(),
        });
        let placed = place(&dir, "S1", &folders[1], &files.collect::<Vec<_>>());
        assert_eq!(placed.as_ref().map_err(Failure::class).err(), expect.as_ref().err().copied(), "{said:?}");
        let Ok(expect) = expect else { return assert_eq!(fs::read_to_string(&good).unwrap(), "before") };
        for (name, text) in expect {
            assert_eq!(fs::read_to_string(dir.results().join(name)).unwrap(), *text);
        }
        clear(&dir, &BTreeSet::from([folders[0].clone()]));
        assert!(folders[0].join("S1.cram").exists() && !folders[1].exists());
        clear(&dir, &BTreeSet::new());
        let left: Vec<_> = fs::read_dir(dir.results()).unwrap().map(|one| one.unwrap().file_name()).collect();
        assert_eq!(left, ["S1.cram"]);
    }

    #[test]
    fn the_files_of_the_basis_that_counts_alone_reach_the_results() {
        check(&[("results/S1.cram", 6)], Ok(&[("S1.cram", "second")]));
        check(&[], Ok(&[("S1.cram", "before")]));
    }

    #[test]
    fn what_is_not_there_as_said_changes_nothing() {
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
    fn a_directory_in_the_place_of_a_result_is_named_and_nothing_is_renamed() {
        let root = tempfile::tempdir().unwrap();
        let dir = JobDir::create(root.path()).unwrap();
        let made = folder(&dir, "S1", &[1; 16]);
        open(&made).unwrap();
        let files = ["S1.cram", "S1.g.vcf.gz"].map(|name| {
            fs::write(made.join(name), "bytes").unwrap();
            ResultFile { path: format!("results/{name}"), bytes: 5, blake3: String::new() }
        });
        let taken = dir.results().join("S1.g.vcf.gz");
        fs::create_dir(&taken).unwrap();
        let failure = place(&dir, "S1", &made, &files).unwrap_err();
        assert!(failure.class() == Class::Usage && failure.to_string().contains("S1.g.vcf.gz"), "{failure}");
        assert!(failure.hint().is_some() && !dir.results().join("S1.cram").exists());
        fs::remove_dir(&taken).unwrap();
        place(&dir, "S1", &made, &files).unwrap();
    }

    #[test]
    fn what_is_no_folder_of_ours_is_left() {
        let root = tempfile::tempdir().unwrap();
        let dir = JobDir::create(root.path()).unwrap();
        let theirs = [
            ".git",
            ".S1",
            ".S1.7",
            ".0123456789abcdef",
            "..0123456789abcdef",
            ".S1.0123456789abcdeF",
            ".S1.0123456789abcde",
            "S1.0123456789abcdef",
            ".file.0123456789abcdef",
        ];
        for name in &theirs[..theirs.len() - 1] {
            fs::create_dir(dir.results().join(name)).unwrap();
        }
        fs::write(dir.results().join(".file.0123456789abcdef"), "").unwrap();
        let ours = folder(&dir, "S.1-a", &[0xab; 16]);
        fs::create_dir(&ours).unwrap();
        clear(&dir, &BTreeSet::new());
        assert!(!ours.exists());
        for name in theirs {
            assert!(dir.results().join(name).exists(), "{name}");
        }
    }
}
