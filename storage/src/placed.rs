//! Bytes at their place in a file whose other bytes somebody else writes, maybe at the same time.
//!
//! Invariant: a writer changes its own range only, and cuts nothing. Who writes the same bytes there again changes nothing,
//! so any number of attempts may. What [`PlacedFile::commit`] gives was brought to the device and read back. The file is
//! open for writing alone: a network filesystem's client that has read a page may write all of it back, and with it, as
//! they were, bytes that another machine has written since.

use crate::atomic::AtomicFileError;
use crate::disk::{DiskError, sync_parent};
use crate::stretch::Stretch;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};

/// A range of a file in the making.
#[derive(Debug)]
pub struct PlacedFile {
    path: PathBuf,
    /// `None`: only the digest is wanted.
    file: Option<File>,
    stretch: Stretch,
}

impl PlacedFile {
    /// Begins at byte `offset` of the file `path`, which is made if there is none. Where nothing is to be `kept`, the file is
    /// not touched: what would be written is only digested.
    pub fn open(path: &Path, offset: u64, kept: bool) -> Result<Self, DiskError> {
        let open = || {
            // Opening a pipe would wait for whoever reads it, for ever.
            if std::fs::metadata(path).is_ok_and(|there| there.file_type().is_fifo()) {
                return Err(io::Error::other("a pipe stands there"));
            }
            OpenOptions::new().write(true).create(true).truncate(false).open(path)
        };
        let file = kept.then(open).transpose().map_err(DiskError::on("create", path))?;
        Ok(PlacedFile { path: path.to_owned(), file, stretch: Stretch::at(offset) })
    }

    /// Where the next byte goes.
    pub fn end(&self) -> u64 {
        self.stretch.end()
    }

    /// Writes the bytes that follow.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        if let Some(file) = &self.file {
            file.write_all_at(bytes, self.stretch.end()).map_err(DiskError::on("write", &self.path))?;
        }
        self.stretch.update(bytes);
        Ok(())
    }

    /// Syncs what was written, reads it back and compares; when it returns, it survives a crash.
    pub fn commit(self) -> Result<Stretch, AtomicFileError> {
        let PlacedFile { path, file, stretch } = self;
        let Some(file) = file else { return Ok(stretch) };
        file.sync_all().map_err(DiskError::on("sync", &path))?;
        let stored = File::open(&path).and_then(|file| Stretch::read(&file, stretch.start(), stretch.end()));
        if stored.map_err(DiskError::on("read back", &path))? != stretch {
            return Err(AtomicFileError::Changed { path });
        }
        sync_parent(&path)?;
        Ok(stretch)
    }

    /// Like [`PlacedFile::commit`], for the last bytes of the file: whatever lay behind them is cut off.
    pub fn commit_end(self) -> Result<Stretch, AtomicFileError> {
        if let Some(file) = &self.file {
            file.set_len(self.stretch.end()).map_err(DiskError::on("write", &self.path))?;
        }
        self.commit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn write(path: &Path, offset: u64, bytes: &[u8]) -> PlacedFile {
        let mut file = PlacedFile::open(path, offset, true).unwrap();
        file.write(bytes).unwrap();
        file
    }

    #[test]
    fn parts_in_any_order_and_again_are_one_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let last = write(&path, 7, b"end and more").commit().unwrap();
        let first = write(&path, 0, b"begin, ").commit().unwrap();
        assert_eq!(write(&path, 0, b"begin, ").commit().unwrap(), first);
        assert_eq!(fs::read(&path).unwrap(), b"begin, end and more");
        let mut whole = first.clone();
        whole.join(&last).unwrap();
        assert_eq!(whole.digest(), Some(blake3::hash(b"begin, end and more")));
        let end = write(&path, 7, b"end").commit_end().unwrap();
        assert_eq!((fs::read(&path).unwrap(), end.end()), (b"begin, end".to_vec(), 10));
    }

    #[test]
    fn what_is_not_kept_is_digested_and_touches_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let kept = write(&path, 3, b"abc").commit().unwrap();
        let other = directory.path().join("other");
        let mut dry = PlacedFile::open(&other, 3, false).unwrap();
        dry.write(b"abc").unwrap();
        assert_eq!(dry.commit_end().unwrap(), kept);
        assert!(!other.exists());
    }

    #[test]
    fn a_full_disk_and_another_writer_are_typed_errors() {
        let full = PlacedFile::open(Path::new("/dev/full"), 0, true);
        let written = full.and_then(|mut file| file.write(b"x"));
        assert!(matches!(written, Err(DiskError::NoSpace { .. })), "{written:?}");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let ours = write(&path, 0, b"ours");
        write(&path, 2, b"X");
        assert!(matches!(ours.commit(), Err(AtomicFileError::Changed { .. })));
    }

    #[test]
    fn a_pipe_in_the_place_of_the_file_is_no_wait_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let error = PlacedFile::open(&pipe, 0, true).unwrap_err();
        assert!(format!("{error:?}").contains("a pipe stands there"), "{error:?}");
    }
}
