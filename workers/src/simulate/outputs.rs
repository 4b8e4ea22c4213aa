//! The directory a simulation writes into: files appear whole or not at all, and a repeated run keeps what is there.
//!
//! Invariant: a file under its final name was written to the end and synced before the manifest named it; the manifest
//! belongs to one set of options, and files of another set are never kept.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};

const MANIFEST: &str = ".simulate.json";

/// What the manifest says of one file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Written {
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    /// What was counted while it was written: records or read pairs.
    pub count: u64,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Manifest {
    /// Digest of the options and the program's version.
    options: String,
    files: BTreeMap<String, Written>,
}

/// An output directory.
pub struct Outputs {
    root: PathBuf,
    manifest: Manifest,
}

/// A path could not be written, and why.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
pub struct WriteError {
    /// The file or directory.
    pub path: PathBuf,
    /// The cause.
    #[source]
    pub source: io::Error,
}

impl Outputs {
    /// Opens `root`, which may be missing, empty or from an earlier simulation; `Ok(None)` if it holds anything else.
    pub fn open(root: &Path, options: &str) -> Result<Option<Self>, WriteError> {
        let failed = |source| WriteError { path: root.to_owned(), source };
        fs::create_dir_all(root).map_err(failed)?;
        let fresh = Manifest { options: options.to_owned(), files: BTreeMap::new() };
        let manifest = match fs::read(root.join(MANIFEST)) {
            Ok(text) => match serde_json::from_slice::<Manifest>(&text) {
                Ok(manifest) if manifest.options == options => manifest,
                _ => fresh,
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if fs::read_dir(root).map_err(failed)?.next().is_some() {
                    return Ok(None);
                }
                fresh
            }
            Err(error) => return Err(failed(error)),
        };
        let outputs = Outputs { root: root.to_owned(), manifest };
        outputs.save()?;
        Ok(Some(outputs))
    }

    /// What the manifest says of a file that is there in its full length.
    pub fn finished(&self, path: &str) -> Option<&Written> {
        let written = self.manifest.files.get(path)?;
        let metadata = fs::metadata(self.root.join(path)).ok()?;
        (metadata.is_file() && metadata.len() == written.bytes).then_some(written)
    }

    /// Removes a file of an earlier simulation, so that it cannot stand beside files it does not describe.
    pub fn retract(&self, path: &str) -> Result<(), WriteError> {
        if self.finished(path).is_some() {
            return Ok(());
        }
        let path = self.root.join(path);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(WriteError { path, source }),
            _ => Ok(()),
        }
    }

    /// Begins a file.
    pub fn create(&self, path: &str) -> Result<PartialFile, WriteError> {
        let target = self.root.join(path);
        let mut partial = target.clone().into_os_string();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let create = || {
            target.parent().map_or(Ok(()), fs::create_dir_all)?;
            File::create(&partial)
        };
        let file = create().map_err(|source| WriteError { path: partial.clone(), source })?;
        let file = BufWriter::with_capacity(1 << 18, file);
        Ok(PartialFile {
            name: path.to_owned(),
            partial,
            target,
            file,
            bytes: 0,
            sha256: Context::new(&SHA256),
        })
    }

    /// Ends a file: syncs it, gives it its name and enters it into the manifest.
    pub fn commit(&mut self, file: PartialFile, count: u64) -> Result<Written, WriteError> {
        let PartialFile { name, partial, target, file, bytes, sha256 } = file;
        let place = || {
            file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            fs::rename(&partial, &target)
        };
        place().map_err(|source| WriteError { path: target.clone(), source })?;
        let sha256 = sha256.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let written = Written { bytes, sha256, count };
        self.manifest.files.insert(name, written.clone());
        self.save()?;
        Ok(written)
    }

    /// Writes a file in one go unless it is there.
    pub fn write(
        &mut self,
        path: &str,
        count: u64,
        content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<Written, WriteError> {
        if let Some(written) = self.finished(path) {
            return Ok(written.clone());
        }
        let mut file = self.create(path)?;
        content(&mut file).map_err(|source| WriteError { path: file.target.clone(), source })?;
        self.commit(file, count)
    }

    fn save(&self) -> Result<(), WriteError> {
        let target = self.root.join(MANIFEST);
        let partial = self.root.join(format!("{MANIFEST}.partial"));
        let save = || {
            let mut file = File::create(&partial)?;
            serde_json::to_writer_pretty(&mut file, &self.manifest)?;
            file.sync_all()?;
            fs::rename(&partial, &target)
        };
        save().map_err(|source| WriteError { path: target.clone(), source })
    }
}

/// A file that does not have its name yet.
pub struct PartialFile {
    name: String,
    partial: PathBuf,
    target: PathBuf,
    file: BufWriter<File>,
    bytes: u64,
    sha256: Context,
}

impl PartialFile {
    /// Appends bytes.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.write_all(bytes).map_err(|source| WriteError { path: self.partial.clone(), source })
    }
}

impl Write for PartialFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.sha256.update(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
