//! A store in a folder of a filesystem.
//!
//! Invariant: a file is written as `NAME.partial`, synced, read back, renamed, and its folder synced. The store's own
//! folder is never made here: where a mount is gone, nothing is written into its mount point.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Blob, Device, Incoming, PARTIAL, Store, StoreError};
use crate::disk::DiskError;

const READ_BACK_BYTES: usize = 1 << 18;

/// Files below one folder.
#[derive(Clone, Debug)]
pub struct FileStore {
    folder: PathBuf,
    device: Arc<dyn Device>,
}

impl FileStore {
    /// The store in `folder`, which must exist when it is used.
    pub fn new(folder: &Path, device: Arc<dyn Device>) -> Self {
        FileStore { folder: folder.to_owned(), device }
    }

    fn path(&self, name: &str) -> PathBuf {
        debug_assert!(name.split('/').all(|part| !part.is_empty() && part != ".."), "{name}");
        self.folder.join(name)
    }

    fn sync_folder(&self, folder: &Path) -> Result<(), DiskError> {
        File::open(folder).and_then(|opened| self.device.sync(&opened)).map_err(DiskError::on("sync", folder))
    }

    /// Makes the folders between the store's own and `path`.
    fn create_parents(&self, path: &Path) -> Result<(), StoreError> {
        self.must_exist()?;
        let mut missing: Vec<&Path> = path
            .ancestors()
            .skip(1)
            .take_while(|folder| *folder != self.folder && !folder.is_dir())
            .collect();
        while let Some(folder) = missing.pop() {
            self.device.create_folder(folder).map_err(DiskError::on("create", folder))?;
            self.sync_folder(folder.parent().unwrap_or(&self.folder))?;
        }
        Ok(())
    }

    fn must_exist(&self) -> Result<(), StoreError> {
        match self.folder.is_dir() {
            true => Ok(()),
            false => Err(StoreError::Gone { folder: self.folder.clone() }),
        }
    }

    /// Whether every folder between the store's own and `path` is one, not a link to somewhere else.
    fn is_within(&self, path: &Path) -> bool {
        let mut folders = path.ancestors().skip(1).take_while(|folder| *folder != self.folder);
        folders.all(|folder| std::fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir()))
    }

    /// Removes a file, if it is there and no link; says whether it was.
    fn remove_path(&self, path: &Path) -> Result<bool, DiskError> {
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.is_file() => {}
            Ok(_) => return Ok(false),
            Err(error) if is_absence(&error) => return Ok(false),
            Err(error) => return Err(DiskError::on("remove", path)(error)),
        }
        match self.device.remove(path) {
            Ok(()) => Ok(true),
            Err(error) if is_absence(&error) => Ok(false),
            Err(error) => Err(DiskError::on("remove", path)(error)),
        }
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(PARTIAL);
    name.into()
}

impl Store for FileStore {
    fn create(&self, name: &str) -> Result<Box<dyn Incoming>, StoreError> {
        let path = self.path(name);
        self.create_parents(&path)?;
        let partial = partial(&path);
        let file = self.device.create(&partial).map_err(DiskError::on("create", &partial))?;
        let store = self.clone();
        Ok(Box::new(IncomingFile { store, path, partial, file, digest: blake3::Hasher::new() }))
    }

    fn open(&self, name: &str) -> Result<Option<Box<dyn Blob>>, StoreError> {
        let path = self.path(name);
        match open_regular(&path) {
            Ok((file, bytes)) => Ok(Some(Box::new(StoredFile { path, file, bytes }))),
            Err(error) if is_absence(&error) => self.must_exist().map(|()| None),
            Err(error) => Err(DiskError::on("read", &path)(error).into()),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let path = self.path(folder);
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if is_absence(&error) => return self.must_exist().map(|()| Vec::new()),
            Err(error) => return Err(DiskError::on("list", &path)(error).into()),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(DiskError::on("list", &path))?.file_name();
            names.push(name.to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.must_exist()?;
        let path = self.path(name);
        if !self.is_within(&path) {
            return Ok(());
        }
        let removed = [self.remove_path(&path)?, self.remove_path(&partial(&path))?];
        if removed.contains(&true) {
            self.sync_folder(path.parent().unwrap_or(&self.folder))?;
        }
        Ok(())
    }

    fn remove_folder(&self, folder: &str) -> Result<(), StoreError> {
        self.must_exist()?;
        let path = self.path(folder);
        if !self.is_within(&path) {
            return Ok(());
        }
        match self.device.remove_folder(&path) {
            Ok(()) => Ok(self.sync_folder(path.parent().unwrap_or(&self.folder))?),
            Err(error) if is_absence(&error) || error.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
            Err(error) => Err(DiskError::on("remove", &path)(error).into()),
        }
    }

    fn show(&self, name: &str) -> PathBuf {
        self.path(name)
    }
}

/// A file and its length. Anything else is refused before it is opened: a pipe would wait for its writer.
pub(crate) fn open_regular(path: &Path) -> io::Result<(File, u64)> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidData, "not a regular file"));
    }
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

struct IncomingFile {
    store: FileStore,
    path: PathBuf,
    partial: PathBuf,
    file: File,
    digest: blake3::Hasher,
}

impl Incoming for IncomingFile {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.digest.update(bytes);
        let written = self.store.device.write(&mut self.file, bytes);
        Ok(written.map_err(DiskError::on("write", &self.partial))?)
    }

    fn finish(self: Box<Self>) -> Result<(), StoreError> {
        let IncomingFile { store, path, partial, file, digest } = *self;
        store.device.sync(&file).map_err(DiskError::on("sync", &partial))?;
        drop(file);
        let stored = digest_of(&partial).map_err(DiskError::on("read back", &partial))?;
        if stored != digest.finalize() {
            return Err(StoreError::Changed { path });
        }
        store.device.rename(&partial, &path).map_err(DiskError::on("rename to", &path))?;
        Ok(store.sync_folder(path.parent().unwrap_or(&store.folder))?)
    }
}

fn digest_of(path: &Path) -> io::Result<blake3::Hash> {
    let (mut file, _) = open_regular(path)?;
    let mut digest = blake3::Hasher::new();
    let mut buffer = vec![0; READ_BACK_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(digest.finalize()),
            read => digest.update(&buffer[..read]),
        };
    }
}

struct StoredFile {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Blob for StoredFile {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, StoreError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(DiskError::on("read", &self.path)(error).into()),
            }
        }
        Ok(filled)
    }
}
