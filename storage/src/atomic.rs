//! Result files that are whole or absent: written under another name, synced, then renamed.
//!
//! Invariant: a final name always shows either the old file or the complete new one, also after kill -9; what a crash
//! leaves behind is `.<name>.partial`, which the next attempt overwrites. Knows nothing of what is written.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jobs::failure::{Class, Classified};

use crate::disk::{DiskError, sync_parent};

const BUFFER_BYTES: usize = 1 << 18;

/// Files that this process has begun and not ended, by the names they have until then.
static BEGUN: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn begun() -> MutexGuard<'static, Vec<PathBuf>> {
    BEGUN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file that takes its name only when it is complete; dropped before [`AtomicFile::commit`], it leaves nothing.
/// The `Write` side is buffered.
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    partial: PathBuf,
    /// `None` once committed.
    file: Option<BufWriter<Digested>>,
}

impl AtomicFile {
    /// Begins `path`, whose directory must exist, as `.<name>.partial` beside it.
    pub fn create(path: &Path) -> Result<Self, AtomicFileError> {
        AtomicFile::begin(path, None)
    }

    /// Like [`AtomicFile::create`], for the eyes of its owner alone (mode 0600), from its first byte on.
    pub fn create_private(path: &Path) -> Result<Self, AtomicFileError> {
        AtomicFile::begin(path, Some(0o600))
    }

    /// `mode` is that of the file; `None`: as the process makes files.
    fn begin(path: &Path, mode: Option<u32>) -> Result<Self, AtomicFileError> {
        let partial = AtomicFile::partial_of(path)?;
        // Locked before it is cut: another process may be writing the same result.
        let file = OpenOptions::new()
            .mode(mode.unwrap_or(0o666))
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&partial)
            .map_err(DiskError::on("create", &partial))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(AtomicFileError::Busy { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(DiskError::on("lock", &partial)(error).into()),
        }
        // Whoever held the lock before may have given this very file its final name.
        let locked = file.metadata().map_err(DiskError::on("read", &partial))?.ino();
        if !std::fs::metadata(&partial).is_ok_and(|named| named.ino() == locked) {
            return Err(AtomicFileError::Busy { path: path.to_owned() });
        }
        if let Some(mode) = mode {
            // What a crash left may be open to others.
            file.set_permissions(Permissions::from_mode(mode)).map_err(DiskError::on("write", &partial))?;
        }
        file.set_len(0).map_err(DiskError::on("write", &partial))?;
        begun().push(partial.clone());
        let digested = Digested { file, digest: blake3::Hasher::new() };
        let file = Some(BufWriter::with_capacity(BUFFER_BYTES, digested));
        Ok(AtomicFile { path: path.to_owned(), partial, file })
    }

    /// Where a file lies until it takes the name `path`.
    fn partial_of(path: &Path) -> Result<PathBuf, AtomicFileError> {
        // A device or a pipe must not be replaced by a file, and `-` is what others call their standard output.
        let special = std::fs::metadata(path).is_ok_and(|there| !there.is_file());
        let name = path.file_name().filter(|name| !special && *name != "-");
        let name = name.ok_or_else(|| AtomicFileError::NotAName { path: path.to_owned() })?;
        let mut partial_name = std::ffi::OsString::from(".");
        partial_name.push(name);
        partial_name.push(".partial");
        Ok(path.with_file_name(partial_name))
    }

    /// The name it will have.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the bytes lie until then, for libraries that write to a path themselves. What they write does not pass
    /// through `Write`, so only [`AtomicFile::commit`] may follow, not [`AtomicFile::commit_verified`].
    pub fn partial_path(&self) -> &Path {
        &self.partial
    }

    /// Flushes, syncs and renames; when it returns, the file survives a crash.
    pub fn commit(mut self) -> Result<(), AtomicFileError> {
        self.sync()?;
        self.publish()
    }

    /// Like [`AtomicFile::commit`], and before the rename reads everything back and compares it with what was written.
    /// Returns the BLAKE3 of the file.
    pub fn commit_verified(mut self) -> Result<blake3::Hash, AtomicFileError> {
        let written = self.sync()?;
        let reading = DiskError::on("read back", &self.partial);
        let mut stored = blake3::Hasher::new();
        File::open(&self.partial)
            .and_then(|file| io::copy(&mut BufReader::with_capacity(BUFFER_BYTES, file), &mut stored))
            .map_err(reading)?;
        if stored.finalize() != written {
            return Err(AtomicFileError::Changed { path: self.path.clone() });
        }
        self.publish()?;
        Ok(written)
    }

    /// Brings everything to the device; gives the BLAKE3 of what was written.
    fn sync(&mut self) -> Result<blake3::Hash, AtomicFileError> {
        let file = self.file.as_mut().expect("open until committed");
        file.flush().map_err(DiskError::on("write", &self.partial))?;
        file.get_ref().file.sync_all().map_err(DiskError::on("sync", &self.partial))?;
        Ok(file.get_ref().digest.finalize())
    }

    fn publish(&mut self) -> Result<(), AtomicFileError> {
        std::fs::rename(&self.partial, &self.path).map_err(DiskError::on("rename to", &self.path))?;
        self.file = None;
        self.forget();
        Ok(sync_parent(&self.path)?)
    }

    /// Takes away all that this process has begun and not ended: before it ends at once, without unwinding.
    pub fn remove_begun() {
        for partial in begun().iter() {
            let _ = std::fs::remove_file(partial);
        }
    }

    /// It is no longer there to be taken away.
    fn forget(&self) {
        begun().retain(|begun| *begun != self.partial);
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_mut().expect("open until committed").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().expect("open until committed").flush()
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            // Unflushed bytes are of no use, and the name must go even where the disk is full.
            let (_file, _unwritten) = file.into_parts();
            let _ = std::fs::remove_file(&self.partial);
            self.forget();
        }
    }
}

/// Hashes what it writes; sits below the buffer, so that small writes are hashed in large pieces.
#[derive(Debug)]
struct Digested {
    file: File,
    digest: blake3::Hasher,
}

impl Write for Digested {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes `value` as indented JSON with a final newline, whole or not at all.
pub fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), AtomicFileError> {
    let mut file = AtomicFile::create(path)?;
    let text = serde_json::to_vec_pretty(value)
        .map_err(|source| AtomicFileError::NotJson { path: path.to_owned(), source })?;
    file.write_all(&text).and_then(|()| file.write_all(b"\n")).map_err(DiskError::on("write", path))?;
    file.commit()
}

/// Why a result file was not written; its final name is as it was.
#[derive(Debug, thiserror::Error)]
pub enum AtomicFileError {
    /// The filesystem refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The path ends in no file name, or is something else's.
    #[error("{}: expected the path of a file", path.display())]
    NotAName {
        /// The path as given.
        path: PathBuf,
    },
    /// Another process is writing it.
    #[error("{} is being written by another process", path.display())]
    Busy {
        /// The final name.
        path: PathBuf,
    },
    /// The device gave back other bytes than were written.
    #[error("{}: the bytes read back are not those that were written", path.display())]
    Changed {
        /// The final name.
        path: PathBuf,
    },
    /// The value has no JSON form.
    #[error("{}: the value cannot be written as JSON", path.display())]
    NotJson {
        /// The final name.
        path: PathBuf,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
}

impl Classified for AtomicFileError {
    fn class(&self) -> Class {
        match self {
            AtomicFileError::Disk(error) => error.class(),
            AtomicFileError::NotAName { .. } => Class::Usage,
            AtomicFileError::Busy { .. } => Class::Failed,
            AtomicFileError::Changed { .. } => Class::Integrity,
            AtomicFileError::NotJson { .. } => Class::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            AtomicFileError::Disk(error) => error.hint(),
            AtomicFileError::Busy { .. } => Some("wait for it to end, or write to another name".to_owned()),
            AtomicFileError::Changed { .. } => {
                Some("check the device and its cables before trying again".to_owned())
            }
            AtomicFileError::NotAName { .. } | AtomicFileError::NotJson { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["/dev/null", "/dev", "-", "..", "/"] {
            let path = dir.path().join(path);
            assert!(matches!(AtomicFile::create(&path), Err(AtomicFileError::NotAName { .. })), "{path:?}");
        }
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.vcf");
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        assert_eq!(names(dir.path()), [".a.vcf.partial"]);
        drop(file);
        assert!(names(dir.path()).is_empty());

        std::fs::write(dir.path().join(".a.vcf.partial"), b"left by a crash, and longer").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"whole").unwrap();
        assert_eq!(file.commit_verified().unwrap(), blake3::hash(b"whole"));
        assert_eq!(names(dir.path()), ["a.vcf"]);
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
    }

    #[test]
    fn a_private_file_is_its_owners_alone_also_after_a_crash() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.cram");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let open = |path: &Path| {
            std::fs::write(path, b"open to all").unwrap();
            std::fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
        };
        for left in [false, true] {
            if left {
                open(&path);
                open(&dir.path().join(".a.cram.partial"));
            }
            let mut file = AtomicFile::create_private(&path).unwrap();
            assert_eq!(mode(file.partial_path()), 0o600);
            file.write_all(b"whole").unwrap();
            file.commit_verified().unwrap();
            assert_eq!((mode(&path), std::fs::read(&path).unwrap()), (0o600, b"whole".to_vec()));
        }
    }

    #[test]
    fn what_another_hand_wrote_is_not_verified() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.cram");
        let file = AtomicFile::create(&path).unwrap();
        std::fs::write(file.partial_path(), b"from a library").unwrap();
        let error = file.commit_verified().unwrap_err();
        assert_eq!(error.class(), Class::Integrity);
        assert!(names(dir.path()).is_empty());

        let file = AtomicFile::create(&path).unwrap();
        std::fs::write(file.partial_path(), b"from a library").unwrap();
        file.commit().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"from a library");
    }

    #[test]
    fn two_writers_of_one_name_are_kept_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let first = AtomicFile::create(&path).unwrap();
        assert!(matches!(AtomicFile::create(&path), Err(AtomicFileError::Busy { .. })));
        first.commit().unwrap();
        AtomicFile::create(&path).unwrap().commit().unwrap();
    }

    #[test]
    fn refusals_name_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let error = AtomicFile::create(&dir.path().join("no/such/a")).unwrap_err();
        assert_eq!(error.class(), Class::Failed);
        assert!(error.to_string().contains("no/such/.a.partial"), "{error}");
        assert_eq!(AtomicFile::create(Path::new("/")).unwrap_err().class(), Class::Usage);
    }

    #[test]
    fn json_ends_in_a_newline() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        write_json(&path, &[1, 2]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "[\n  1,\n  2\n]\n");
    }
}
