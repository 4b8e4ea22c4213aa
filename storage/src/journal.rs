//! The journal: which tasks are done and where their outputs lie.
//!
//! Invariant: a commit that returned is there after any crash, whole; one that did not return is there whole or not at
//! all. The whole file is verified when it is opened, and each commit again when it is read. There is one writer, who
//! holds the directory's [`Fence`]. Knows nothing of what a task is or what its summary says.

mod commit;
mod error;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;

use redb::{Builder, Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

pub use commit::Commit;
pub use error::JournalError;

use crate::disk::{DiskError, sync_parent};
use crate::fence::Fence;

const FILE: &str = "journal.redb";
const FORMAT: u64 = 1;
/// Pages the database keeps in memory; above it pages are read again.
const CACHE_BYTES: usize = 64 << 20;

const COMMITS: TableDefinition<&str, &[u8]> = TableDefinition::new("commits");
const ATTEMPTS: TableDefinition<&str, u32> = TableDefinition::new("attempts");
const VALUES: TableDefinition<&str, &[u8]> = TableDefinition::new("values");
const IDENTITY: TableDefinition<&str, &str> = TableDefinition::new("identity");
const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");

/// What a job directory belongs to. A journal is continued only by a caller that gives the same digests and program.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct JobIdentity {
    /// The job's name, for display only: a job is its directory.
    pub job: String,
    /// Digest of the cohort sheet and its inputs.
    pub cohort_digest: String,
    /// Digest of all parameters that affect output.
    pub parameters_digest: String,
    /// The program and its version.
    pub program: String,
}

impl JobIdentity {
    fn fields(&self) -> [(&'static str, &str); 4] {
        [
            ("job", &self.job),
            ("cohort digest", &self.cohort_digest),
            ("parameters digest", &self.parameters_digest),
            ("program", &self.program),
        ]
    }

    /// The name is for display: the same work under another name goes on.
    fn refuse_other(&self, given: &JobIdentity, path: &Path) -> Result<(), JournalError> {
        for ((field, stored), (_, given)) in self.fields().into_iter().zip(given.fields()).skip(1) {
            if stored != given {
                let (path, stored, given) = (path.to_owned(), stored.to_owned(), given.to_owned());
                return Err(JournalError::Foreign { path, field, stored, given });
            }
        }
        Ok(())
    }
}

/// What one transaction changes; all of it or nothing. Tasks are forgotten first, then attempts counted, then commits made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Changes<'a> {
    /// Tasks that are done; one that was already is done as said here.
    pub commits: &'a [(&'a str, &'a Commit)],
    /// Tasks of which one more attempt begins.
    pub attempts: &'a [&'a str],
    /// Tasks whose commit counts no more; their pieces become garbage.
    pub forgotten: &'a [&'a str],
}

/// The open journal of one job; it holds the directory's fence as long as it lives.
#[derive(Debug)]
pub struct Journal {
    database: Database,
    path: PathBuf,
    identity: JobIdentity,
    fence: u64,
    _guard: Fence,
}

impl Journal {
    /// Opens `journal.redb` in the fenced directory, or begins it; refuses a journal of another identity.
    pub fn open_or_create(guard: Fence, identity: &JobIdentity) -> Result<Self, JournalError> {
        let path = guard.dir().join(FILE);
        if !path.exists() {
            create(&path, identity)?;
        }
        Self::load(guard, Some(identity))
    }

    /// Opens the journal that is there, whatever its identity.
    pub fn open(guard: Fence) -> Result<Self, JournalError> {
        Self::load(guard, None)
    }

    fn load(guard: Fence, expected: Option<&JobIdentity>) -> Result<Self, JournalError> {
        let path = guard.dir().join(FILE);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.len() > 0 => {}
            // The database would take an empty file for a new one, and the job would silently begin again.
            Ok(_) => return Err(JournalError::Damaged { path, what: "the file is empty".to_owned() }),
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(JournalError::Missing { path }),
            Err(error) => return Err(DiskError::on("open", &path)(error).into()),
        }
        let (database, identity) = attempt(&path, "open", || {
            let mut database = builder().open(&path)?;
            // A repair here mends the allocator's books only: commits are two-phase, so a damaged tree is an error.
            database.check_integrity()?;
            let read = database.begin_read()?;
            let format = read.open_table(COUNTERS)?.get("format")?.map_or(0, |stored| stored.value());
            let identity = match format {
                FORMAT => Some(read_identity(&read.open_table(IDENTITY)?)?),
                _ => None,
            };
            Ok((database, identity.ok_or(format)))
        })?;
        let identity = identity.map_err(|found| JournalError::Version { path: path.clone(), found })?;
        if let Some(given) = expected {
            identity.refuse_other(given, &path)?;
        }
        let fence = write(&database, &path, "advance", |transaction| {
            let mut counters = transaction.open_table(COUNTERS)?;
            let next = counters.get("fence")?.map_or(0, |stored| stored.value()) + 1;
            counters.insert("fence", next)?;
            Ok(next)
        })?;
        Ok(Journal { database, path, identity, fence, _guard: guard })
    }

    /// What the directory belongs to.
    pub fn identity(&self) -> &JobIdentity {
        &self.identity
    }

    /// How often this journal was opened, this time included: the fencing counter. Workers that can outlive their
    /// scheduler name their packs with it, so that two lives of a job never share one.
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// Changes the journal in one transaction, durable when it returns. Gives the number of each attempt, from 1.
    pub fn apply(&self, changes: &Changes<'_>) -> Result<Vec<u32>, JournalError> {
        self.write("write to", |transaction| {
            let mut commits = transaction.open_table(COMMITS)?;
            for &task in changes.forgotten {
                commits.remove(task)?;
            }
            for (task, commit) in changes.commits {
                commits.insert(task, &*commit.encode(task))?;
            }
            let mut attempts = transaction.open_table(ATTEMPTS)?;
            let mut numbers = Vec::with_capacity(changes.attempts.len());
            for &task in changes.attempts {
                let number = attempts.get(task)?.map_or(0, |stored| stored.value()).saturating_add(1);
                attempts.insert(task, number)?;
                numbers.push(number);
            }
            Ok(numbers)
        })
    }

    /// Makes one task done; see [`Journal::apply`].
    pub fn commit(&self, task: &str, commit: &Commit) -> Result<(), JournalError> {
        self.apply(&Changes { commits: &[(task, commit)], ..Changes::default() }).map(drop)
    }

    /// All commits by task.
    pub fn commits(&self) -> Result<BTreeMap<String, Commit>, JournalError> {
        let mut commits = BTreeMap::new();
        self.for_each(|task, commit| {
            commits.insert(task.to_owned(), commit);
        })?;
        Ok(commits)
    }

    /// All commits in order of task, for callers that keep only part of each.
    pub fn for_each(&self, mut each: impl FnMut(&str, Commit)) -> Result<(), JournalError> {
        let mut rows = attempt(&self.path, "read", || {
            Ok(self.database.begin_read()?.open_table(COMMITS)?.range::<&str>(..)?)
        })?;
        while let Some((task, stored)) = attempt(&self.path, "read", || Ok(rows.next().transpose()?))? {
            each(task.value(), self.decode(task.value(), stored.value())?);
        }
        Ok(())
    }

    /// All commits in order of task, without their pieces: quicker than [`Journal::for_each`], and enough to know what is
    /// done and what came of it.
    pub fn replay(&self, mut each: impl FnMut(&str, Commit)) -> Result<(), JournalError> {
        self.for_each(|task, commit| each(task, Commit { pieces: Vec::new(), ..commit }))
    }

    /// The commit of a task, if it is done.
    pub fn get(&self, task: &str) -> Result<Option<Commit>, JournalError> {
        Ok(self.get_many(&[task])?.pop().expect("one for one"))
    }

    /// The commits of these tasks, in their order, as of one moment.
    pub fn get_many(&self, tasks: &[&str]) -> Result<Vec<Option<Commit>>, JournalError> {
        let stored = attempt(&self.path, "read", || {
            let table = self.database.begin_read()?.open_table(COMMITS)?;
            tasks
                .iter()
                .map(|task| Ok(table.get(task)?.map(|stored| stored.value().to_owned())))
                .collect::<Result<Vec<_>, redb::Error>>()
        })?;
        let decode = |(task, stored): (&&str, Option<Vec<u8>>)| {
            stored.map(|stored| self.decode(task, &stored)).transpose()
        };
        tasks.iter().zip(stored).map(decode).collect()
    }

    /// Attempts noted so far, by task.
    pub fn attempts(&self) -> Result<BTreeMap<String, u32>, JournalError> {
        attempt(&self.path, "read", || {
            let table = self.database.begin_read()?.open_table(ATTEMPTS)?;
            table
                .iter()?
                .map(|row| row.map(|(task, number)| (task.value().to_owned(), number.value())))
                .collect::<Result<_, _>>()
                .map_err(redb::Error::from)
        })
    }

    /// Stores a small value of the caller under a name of the caller; durable when it returns.
    pub fn put_value(&self, name: &str, value: &[u8]) -> Result<(), JournalError> {
        self.write("put a value into", |transaction| {
            transaction.open_table(VALUES)?.insert(name, value)?;
            Ok(())
        })
    }

    /// The value of this name, if one was put.
    pub fn value(&self, name: &str) -> Result<Option<Vec<u8>>, JournalError> {
        attempt(&self.path, "read", || {
            let table = self.database.begin_read()?.open_table(VALUES)?;
            Ok(table.get(name)?.map(|stored| stored.value().to_owned()))
        })
    }

    /// One past the last committed byte of each pack; what lies beyond is garbage. Reads all commits.
    pub fn committed_ends(&self) -> Result<BTreeMap<String, u64>, JournalError> {
        let mut ends = BTreeMap::<String, u64>::new();
        self.for_each(|_, commit| {
            for piece in commit.pieces {
                let end = piece.end();
                ends.entry(piece.pack).and_modify(|known| *known = end.max(*known)).or_insert(end);
            }
        })?;
        Ok(ends)
    }

    fn decode(&self, task: &str, stored: &[u8]) -> Result<Commit, JournalError> {
        Commit::decode(task, stored).ok_or_else(|| JournalError::Damaged {
            path: self.path.clone(),
            what: format!("the commit of {task} does not match its checksum"),
        })
    }

    fn write<T>(
        &self,
        action: &'static str,
        change: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, JournalError> {
        write(&self.database, &self.path, action, change)
    }
}

/// Begins a journal under another name and renames it: a crash leaves no journal or a whole one.
fn create(path: &Path, identity: &JobIdentity) -> Result<(), JournalError> {
    let partial = path.with_extension("partial");
    let _ = fs::remove_file(&partial);
    let database = attempt(&partial, "create", || Ok(builder().create(&partial)?))?;
    write(&database, &partial, "create", |transaction| {
        transaction.open_table(COMMITS)?;
        transaction.open_table(ATTEMPTS)?;
        transaction.open_table(VALUES)?;
        transaction.open_table(COUNTERS)?.insert("format", FORMAT)?;
        let mut table = transaction.open_table(IDENTITY)?;
        for (field, value) in identity.fields() {
            table.insert(field, value)?;
        }
        Ok(())
    })?;
    drop(database);
    fs::rename(&partial, path).map_err(DiskError::on("create", path))?;
    Ok(sync_parent(path)?)
}

fn read_identity(table: &impl ReadableTable<&'static str, &'static str>) -> Result<JobIdentity, redb::Error> {
    let field = |name| Ok::<_, redb::Error>(table.get(name)?.map_or(String::new(), |v| v.value().to_owned()));
    Ok(JobIdentity {
        job: field("job")?,
        cohort_digest: field("cohort digest")?,
        parameters_digest: field("parameters digest")?,
        program: field("program")?,
    })
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn write<T>(
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
fn attempt<T>(
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

#[cfg(test)]
mod tests;
