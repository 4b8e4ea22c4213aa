//! The journal's files: what they are called, how they are begun, opened, taken over and compacted.
//!
//! Invariant: the database says which piece log is its own, and one rename of the database decides between the files
//! before a change of files and those after it. A crash leaves strays at most, which the next opening removes.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase, ReadableTable};

use super::database::{self, attempt};
use super::pieces::PieceLog;
use super::row::{Row, Span};
use super::tasks::counter;
use super::{
    COUNTERS, FORMAT, GENERATION, IDENTITY, JobIdentity, JournalError, LIVE_LISTS, LIVE_ROWS, LOG_END, PACKS,
    ROWS, VALUES,
};
use crate::disk::{DiskError, copy, sync_parent};
use crate::fence::Fence;

/// A file below so many bytes is left as it is, however little of it counts.
pub(super) const WORTH_BYTES: u64 = 64 << 20;
/// A database is compacted when it is so many times what counts in it: its pages are between half and wholly full, and
/// those of the last transactions are kept twice.
const DATABASE_SLACK: u64 = 5;
/// A piece log is compacted when it is so many times what counts in it.
const LOG_SLACK: u64 = 2;
/// Lists are copied so many bytes at a time.
const COPY_BYTES: usize = 1 << 20;

/// Where a journal lies.
#[derive(Clone, Debug)]
pub(super) struct Files {
    dir: PathBuf,
    era: u64,
    generation: u64,
}

impl Files {
    /// The files behind this fence. Each era has its own: what a holder that lost the directory still writes, it writes
    /// to files that nobody reads any more.
    pub fn of(guard: &Fence) -> Self {
        Files { dir: guard.dir().to_owned(), era: guard.era(), generation: 0 }
    }

    pub fn database(&self) -> PathBuf {
        self.dir.join(format!("{}.redb", stem(self.era)))
    }

    pub fn log(&self) -> PathBuf {
        self.dir.join(format!("{}.{}.pieces", stem(self.era), self.generation))
    }

    fn partial(&self) -> PathBuf {
        self.dir.join(format!("{}.partial", stem(self.era)))
    }

    /// Whether there is a journal; one of an earlier era is taken over into this one.
    pub fn are_there(&self) -> Result<bool, JournalError> {
        let is_there = |files: &Files| {
            let path = files.database();
            path.try_exists().map_err(DiskError::on("open", &path))
        };
        if is_there(self)? {
            return Ok(true);
        }
        for era in (0..self.era).rev() {
            let before = Files { era, ..self.clone() };
            if is_there(&before)? {
                self.take_over(&before)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Goes on with copies of another era's files. Whoever had them may be in the middle of one transaction, not more:
    /// it asks its fence before each. The database's header lies in its first page, which is copied first; what that
    /// names was on the device by then, and no single transaction writes over it.
    fn take_over(&self, before: &Files) -> Result<(), JournalError> {
        copy(&before.database(), &self.partial())?;
        let logs = before.strays(|_| true)?;
        for log in &logs {
            let generation =
                log.file_name().and_then(|name| name.to_str()).and_then(|name| name.rsplit('.').nth(1));
            let generation =
                generation.and_then(|number| number.parse().ok()).expect("it was found by its name");
            copy(log, &Files { generation, ..self.clone() }.log())?;
        }
        self.publish()?;
        Ok(logs.iter().chain([&before.database()]).try_for_each(|path| remove(path))?)
    }

    /// Removes the journal, of whatever era.
    pub fn remove(&self) -> Result<(), JournalError> {
        for era in 0..=self.era {
            let files = Files { era, ..self.clone() };
            for path in files.strays(|_| true)?.into_iter().chain([files.database()]) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Makes the partial database the journal's.
    fn publish(&self) -> Result<(), JournalError> {
        let path = self.database();
        fs::rename(self.partial(), &path).map_err(DiskError::on("create", &path))?;
        Ok(sync_parent(&path)?)
    }

    /// This era's piece logs of generations that are asked for.
    fn strays(&self, asked: impl Fn(u64) -> bool) -> Result<Vec<PathBuf>, JournalError> {
        let listed = fs::read_dir(&self.dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let listed = listed.map_err(DiskError::on("list", &self.dir))?;
        let prefix = format!("{}.", stem(self.era));
        let generation = |path: &Path| {
            let name = path.file_name()?.to_str()?;
            name.strip_prefix(&prefix)?.strip_suffix(".pieces")?.parse::<u64>().ok()
        };
        let paths = listed.into_iter().map(|entry| entry.path());
        Ok(paths.filter(|path| generation(path).is_some_and(&asked)).collect())
    }

    /// Begins a journal.
    pub fn create(&self, identity: &JobIdentity) -> Result<(), JournalError> {
        let partial = self.partial();
        let database = new_database(&partial)?;
        database::write(&database, &partial, "create", |transaction| {
            transaction.open_table(ROWS)?;
            transaction.open_table(PACKS)?;
            transaction.open_table(VALUES)?;
            transaction.open_table(COUNTERS)?.insert("format", FORMAT)?;
            let mut table = transaction.open_table(IDENTITY)?;
            for (field, value) in identity.fields() {
                table.insert(field, value)?;
            }
            Ok(())
        })?;
        drop(database);
        self.publish()
    }

    /// Opens and verifies the database, and finds its piece log.
    pub fn open(&mut self) -> Result<(Database, JobIdentity, PieceLog), JournalError> {
        let path = self.database();
        let file = database::backend(&path, false)?;
        if fs::metadata(&path).map_err(DiskError::on("open", &path))?.len() == 0 {
            // The database would take an empty file for a new one, and the job would silently begin again.
            return Err(JournalError::Damaged { path, what: "the file is empty".to_owned() });
        }
        let database = database::open(&path, file)?;
        let stored = attempt(&path, "open", || {
            let read = database.begin_read()?;
            let counters = read.open_table(COUNTERS)?;
            let format = counter(&counters, "format")?;
            if format != FORMAT {
                return Ok(Err(format));
            }
            let identity = read_identity(&read.open_table(IDENTITY)?)?;
            Ok(Ok((identity, counter(&counters, GENERATION)?, counter(&counters, LOG_END)?)))
        })?;
        let (identity, generation, end) =
            stored.map_err(|found| JournalError::Version { path: path.clone(), found })?;
        self.generation = generation;
        Ok((database, identity, self.open_log(end)?))
    }

    fn open_log(&self, end: u64) -> Result<PieceLog, JournalError> {
        let path = self.log();
        let opened = PieceLog::open(database::backend(&path, true)?, end);
        let log = opened.map_err(|error| JournalError::from_database("open", &path, error.into()))?;
        for stray in self.strays(|generation| generation != self.generation)? {
            remove(&stray)?;
        }
        Ok(log)
    }

    /// Writes the journal anew if most of its files is garbage.
    pub fn compact(
        &mut self,
        database: Database,
        log: PieceLog,
        worth_bytes: u64,
    ) -> Result<(Database, PieceLog), JournalError> {
        let path = self.database();
        let stored = fs::metadata(&path).map_err(DiskError::on("read", &path))?.len();
        let (live_rows, live_lists) = attempt(&path, "read", || {
            let counters = database.begin_read()?.open_table(COUNTERS)?;
            Ok((counter(&counters, LIVE_ROWS)?, counter(&counters, LIVE_LISTS)?))
        })?;
        let is_waste = |bytes: u64, live: u64, slack: u64| bytes > worth_bytes && bytes / slack > live;
        if !is_waste(stored, live_rows, DATABASE_SLACK) && !is_waste(log.end(), live_lists, LOG_SLACK) {
            return Ok((database, log));
        }
        let next = Files { generation: self.generation + 1, ..self.clone() };
        next.rewrite(&database, &log, &path)?;
        // Closed before another takes its name.
        drop((database, log));
        next.publish()?;
        let (database, _, log) = self.open()?;
        Ok((database, log))
    }

    /// Writes another generation of a journal: what counts, in order of task.
    fn rewrite(&self, from: &Database, from_log: &PieceLog, path: &Path) -> Result<(), JournalError> {
        let (log_path, partial) = (self.log(), self.partial());
        fs::write(&log_path, b"").map_err(DiskError::on("create", &log_path))?;
        let log = PieceLog::open(database::backend(&log_path, true)?, 0)
            .map_err(DiskError::on("create", &log_path))?;
        let to = new_database(&partial)?;
        let read = attempt(path, "read", || Ok(from.begin_read()?))?;
        database::write(&to, &partial, "compact", |transaction| {
            let mut rows = transaction.open_table(ROWS)?;
            let mut lists = Vec::new();
            for row in read.open_table(ROWS)?.range::<&str>(..)? {
                let (task, stored) = row?;
                let damaged = || redb::Error::Corrupted(format!("the row of {} is damaged", task.value()));
                let mut row = Row::decode(task.value(), stored.value()).ok_or_else(damaged)?;
                if let Some(span) = row.head.as_mut().and_then(|head| head.pieces.as_mut()) {
                    let list = from_log.read(span.offset, span.length)?;
                    *span = Span { offset: log.end() + lists.len() as u64, ..*span };
                    lists.extend_from_slice(&list);
                }
                rows.insert(task.value(), &*row.encode(task.value()))?;
                if lists.len() >= COPY_BYTES {
                    log.append(&std::mem::take(&mut lists))?;
                }
            }
            let end = log.append(&lists)?;
            let mut packs = transaction.open_table(PACKS)?;
            for row in read.open_table(PACKS)?.range::<u32>(..)? {
                let (number, pack) = row?;
                packs.insert(number.value(), pack.value())?;
            }
            let mut values = transaction.open_table(VALUES)?;
            for row in read.open_table(VALUES)?.range::<&str>(..)? {
                let (name, value) = row?;
                values.insert(name.value(), value.value())?;
            }
            let mut identity = transaction.open_table(IDENTITY)?;
            for row in read.open_table(IDENTITY)?.range::<&str>(..)? {
                let (field, value) = row?;
                identity.insert(field.value(), value.value())?;
            }
            let mut counters = transaction.open_table(COUNTERS)?;
            for row in read.open_table(COUNTERS)?.range::<&str>(..)? {
                let (name, value) = row?;
                counters.insert(name.value(), value.value())?;
            }
            counters.insert(GENERATION, self.generation)?;
            counters.insert(LOG_END, end)?;
            Ok(())
        })
    }
}

fn stem(era: u64) -> String {
    if era == 0 { "journal".to_owned() } else { format!("journal.{era}") }
}

fn new_database(path: &Path) -> Result<Database, JournalError> {
    remove(path)?;
    database::create(path, database::backend(path, true)?)
}

/// Removes a file if it is there.
fn remove(path: &Path) -> Result<(), DiskError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(DiskError::on("remove", path)(error)),
        _ => Ok(()),
    }
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
