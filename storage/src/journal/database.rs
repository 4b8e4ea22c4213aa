//! The one door to the database: it opens verified, commits in two phases, and turns its panics into errors.

use std::cell::Cell;
use std::fs::OpenOptions;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::rc::Rc;
use std::sync::Once;

use redb::backends::FileBackend;
use redb::{Builder, Database, StorageBackend, WriteTransaction};

use super::JournalError;
use crate::disk::DiskError;

/// Pages the database keeps in memory; above it pages are read again.
const CACHE_BYTES: usize = 48 << 20;

/// A file as the database wants it, made if `create`.
pub(super) fn backend(path: &Path, create: bool) -> Result<FileBackend, JournalError> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(create).truncate(false).open(path);
    let file = file.map_err(DiskError::on("open", path))?;
    attempt(path, "open", || Ok(FileBackend::new(file)?))
}

/// Opens the database and verifies every page of it; `file` must not be empty, for that would be made a new one.
pub(super) fn open(path: &Path, file: impl StorageBackend) -> Result<Database, JournalError> {
    attempt(path, "open", || {
        let repaired = Rc::new(Cell::new(false));
        let told = Rc::clone(&repaired);
        let mut builder = builder();
        // After a crash it verifies all by itself. What it mends are the allocator's books only: commits are two-phase,
        // so a damaged tree is an error.
        builder.set_repair_callback(move |_| told.set(true));
        let mut database = builder.create_with_backend(file)?;
        if !repaired.get() {
            database.check_integrity()?;
        }
        Ok(database)
    })
}

/// Makes a database in an empty file.
pub(super) fn create(path: &Path, file: impl StorageBackend) -> Result<Database, JournalError> {
    attempt(path, "create", || Ok(builder().create_with_backend(file)?))
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// One transaction, durable when this returns.
pub(super) fn write<T>(
    database: &Database,
    path: &Path,
    action: &'static str,
    change: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
) -> Result<T, JournalError> {
    attempt(path, action, || {
        let mut transaction = database.begin_write()?;
        // With one phase, a root that fails its checksum may be a torn commit, and the database would silently go back
        // to the one before; with two it can only be damage, and is reported.
        transaction.set_two_phase_commit(true);
        let value = change(&transaction)?;
        transaction.commit()?;
        Ok(value)
    })
}

/// Runs one operation of the database. It checks its own assumptions by panicking, and a damaged file breaks them;
/// such a panic is an answer about the file, so it is caught and not printed.
pub(super) fn attempt<T>(
    path: &Path,
    action: &'static str,
    operation: impl FnOnce() -> Result<T, redb::Error>,
) -> Result<T, JournalError> {
    silence_attempts();
    ATTEMPTING.set(true);
    let done = catch_unwind(AssertUnwindSafe(operation));
    ATTEMPTING.set(false);
    match done {
        Ok(done) => done.map_err(|error| JournalError::from_database(action, path, error)),
        Err(_) => {
            let what = "the database stopped at what it found".to_owned();
            Err(JournalError::Damaged { path: path.to_owned(), what })
        }
    }
}

thread_local! {
    static ATTEMPTING: Cell<bool> = const { Cell::new(false) };
}

/// Puts a hook before the process's own that passes on every panic but those of [`attempt`].
fn silence_attempts() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !ATTEMPTING.get() {
                hook(info);
            }
        }));
    });
}
