//! The journal: which tasks are done and where their outputs lie.
//!
//! Invariant: a transaction that returned is there after any crash, whole; one that did not return is there whole or not
//! at all. The whole database is verified when it is opened, and each commit again when it is read. There is one writer,
//! who holds the directory's [`Fence`], and asks before and after each transaction whether it still does. Knows nothing
//! of what a task is or what its summary says.

mod database;
mod error;
mod files;
mod pieces;
mod row;
mod tasks;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

pub use error::JournalError;
pub use row::Commit;

use crate::disk::DiskError;
use crate::fence::Fence;
use database::attempt;
use files::Files;
use pieces::PieceLog;
use row::{Head, Row};
use tasks::{Change, Tasks, counter};

const FORMAT: u64 = 5;

/// What is known of each task; see [`row`].
const ROWS: TableDefinition<&str, &[u8]> = TableDefinition::new("tasks");
/// Packs by number: name, and one past the last byte that was ever committed.
const PACKS: TableDefinition<u32, (&str, u64)> = TableDefinition::new("packs");
const VALUES: TableDefinition<&str, &[u8]> = TableDefinition::new("values");
const IDENTITY: TableDefinition<&str, &str> = TableDefinition::new("identity");
const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");

/// Counter: the end of the piece log.
const LOG_END: &str = "log end";
/// Counter: which piece log is the journal's.
const GENERATION: &str = "generation";
/// Counters: bytes of rows, and of lists in the piece log, that count.
const LIVE_ROWS: &str = "live rows";
const LIVE_LISTS: &str = "live lists";
/// Counter: 1 if the ends of packs may be beyond what is committed now.
const LOOSE_ENDS: &str = "loose ends";

/// What a job directory belongs to. A journal is continued only by a caller that gives the same digests and program.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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
    /// Always there; taken when it is dropped.
    database: Option<Database>,
    log: PieceLog,
    packs: Mutex<PackNumbers>,
    files: Files,
    path: PathBuf,
    identity: JobIdentity,
    fence: u64,
    guard: Fence,
}

/// The packs that commits name, each by its number.
#[derive(Debug, Default)]
struct PackNumbers {
    names: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
}

impl PackNumbers {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let (name, number) = (Arc::<str>::from(name), self.names.len() as u32);
        self.names.push(Arc::clone(&name));
        self.numbers.insert(name, number);
        number
    }

    fn name(&self, number: u32) -> Option<&str> {
        self.names.get(number as usize).map(|name| &**name)
    }

    /// Forgets those above the first `count`, which were not stored.
    fn truncate(&mut self, count: usize) {
        for name in self.names.drain(count..) {
            self.numbers.remove(&name);
        }
    }
}

impl Journal {
    /// Opens `journal.redb` in the fenced directory, or begins it; refuses a journal of another identity.
    pub fn open_or_create(guard: Fence, identity: &JobIdentity) -> Result<Self, JournalError> {
        let files = Files::of(&guard)?;
        if !files.are_there()? {
            files.create(identity)?;
        }
        Self::load(guard, files, Some(identity))
    }

    /// Opens the journal that is there, whatever its identity.
    pub fn open(guard: Fence) -> Result<Self, JournalError> {
        let files = Files::of(&guard)?;
        match files.are_there()? {
            true => Self::load(guard, files, None),
            false => Err(JournalError::Missing { path: files.database() }),
        }
    }

    /// Removes a journal that is damaged: the job begins anew.
    pub fn discard(guard: &Fence) -> Result<(), JournalError> {
        Files::of(guard)?.remove()
    }

    fn load(guard: Fence, mut files: Files, expected: Option<&JobIdentity>) -> Result<Self, JournalError> {
        let (database, identity, log) = files.open()?;
        if let Some(given) = expected {
            identity.refuse_other(given, &files.database())?;
        }
        let (database, log) = files.compact(database, log, files::WORTH_BYTES)?;
        Self::begin(guard, files, database, log, identity)
    }

    /// Begins a life of the journal.
    fn begin(
        guard: Fence,
        files: Files,
        database: Database,
        log: PieceLog,
        identity: JobIdentity,
    ) -> Result<Self, JournalError> {
        let path = files.database();
        let fence = database::write(&database, &path, "advance", |transaction| {
            let mut counters = transaction.open_table(COUNTERS)?;
            let next = counter(&counters, "fence")? + 1;
            counters.insert("fence", next)?;
            Ok(next)
        })?;
        let mut packs = PackNumbers::default();
        attempt(&path, "read", || {
            for row in database.begin_read()?.open_table(PACKS)?.range::<u32>(..)? {
                packs.number(row?.1.value().0);
            }
            Ok(())
        })?;
        let packs = Mutex::new(packs);
        Ok(Journal { database: Some(database), log, packs, files, path, identity, fence, guard })
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

    /// The right to write here.
    pub fn guard(&self) -> &Fence {
        &self.guard
    }

    /// Changes the journal in one transaction, durable when it returns. Gives the number of each attempt, from 1.
    pub fn apply(&self, changes: &Changes<'_>) -> Result<Vec<u32>, JournalError> {
        let mut packs = self.packs.lock().unwrap_or_else(PoisonError::into_inner);
        let known = packs.names.len();
        let applied = self.apply_with(&mut packs, changes);
        if applied.is_err() {
            packs.truncate(known);
        }
        applied
    }

    /// Lists of pieces first: what the database names must be there.
    fn apply_with(&self, packs: &mut PackNumbers, changes: &Changes<'_>) -> Result<Vec<u32>, JournalError> {
        let (start, mut lists) = (self.log.end(), Vec::new());
        let mut ends = BTreeMap::<u32, u64>::new();
        let mut heads = Vec::with_capacity(changes.commits.len());
        for (task, commit) in changes.commits {
            let numbers: Vec<u32> = commit.pieces.iter().map(|piece| packs.number(&piece.pack)).collect();
            for (number, piece) in numbers.iter().zip(&commit.pieces) {
                let end = ends.entry(*number).or_default();
                *end = piece.end().max(*end);
            }
            heads.push((
                *task,
                Head::of(commit, row::list(task, &commit.pieces, &numbers, start, &mut lists)),
            ));
        }
        self.guard.check()?;
        let log_end = self.log.append(&lists).map_err(DiskError::on("write to", &self.files.log()))?;
        self.write("write to", |transaction| {
            let mut table = transaction.open_table(PACKS)?;
            for (&number, &end) in &ends {
                let before = table.get(number)?.map_or(0, |row| row.value().1);
                table.insert(number, (packs.name(number).expect("just numbered"), end.max(before)))?;
            }
            let mut tasks = Tasks::open(transaction)?;
            for task in changes.forgotten {
                tasks.change(task, Change::Forget)?;
            }
            let begin = |task: &&str| tasks.change(task, Change::Begin);
            let numbers = changes.attempts.iter().map(begin).collect::<Result<_, _>>()?;
            for (task, head) in &heads {
                tasks.change(task, Change::Commit(head))?;
            }
            tasks.close(log_end)?;
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
        self.for_each_row(|task, row| {
            if let Some(head) = row.head {
                each(task, self.whole(task, &head)?);
            }
            Ok(())
        })
    }

    /// All commits in order of task, without their pieces: quicker than [`Journal::for_each`], and enough to know what is
    /// done and what came of it.
    pub fn replay(&self, mut each: impl FnMut(&str, Commit)) -> Result<(), JournalError> {
        self.for_each_row(|task, row| {
            if let Some(head) = row.head {
                each(task, head.commit(Vec::new()));
            }
            Ok(())
        })
    }

    /// The commit of a task, if it is done.
    pub fn get(&self, task: &str) -> Result<Option<Commit>, JournalError> {
        Ok(self.get_many(&[task])?.pop().expect("one for one"))
    }

    /// The commits of these tasks, in their order, as of one moment.
    pub fn get_many(&self, tasks: &[&str]) -> Result<Vec<Option<Commit>>, JournalError> {
        let stored = self.read(|database| {
            let table = database.begin_read()?.open_table(ROWS)?;
            let row = |task: &&str| Ok(table.get(*task)?.map(|stored| stored.value().to_owned()));
            tasks.iter().map(row).collect::<Result<Vec<_>, redb::Error>>()
        })?;
        let whole = |(task, stored): (&&str, Option<Vec<u8>>)| {
            let Some(stored) = stored else { return Ok(None) };
            let row = self.decode(task, &stored)?;
            row.head.map(|head| self.whole(task, &head)).transpose()
        };
        tasks.iter().zip(stored).map(whole).collect()
    }

    /// Attempts noted so far, by task.
    pub fn attempts(&self) -> Result<BTreeMap<String, u32>, JournalError> {
        let mut attempts = BTreeMap::new();
        self.for_each_row(|task, row| {
            if row.attempts > 0 {
                attempts.insert(task.to_owned(), row.attempts);
            }
            Ok(())
        })?;
        Ok(attempts)
    }

    /// Stores a small value of the caller under a name of the caller; durable when it returns.
    pub fn put_value(&self, name: &str, value: &[u8]) -> Result<(), JournalError> {
        self.guard.check()?;
        self.write("put a value into", |transaction| {
            transaction.open_table(VALUES)?.insert(name, value)?;
            Ok(())
        })
    }

    /// The value of this name, if one was put.
    pub fn value(&self, name: &str) -> Result<Option<Vec<u8>>, JournalError> {
        self.read(|database| {
            let table = database.begin_read()?.open_table(VALUES)?;
            Ok(table.get(name)?.map(|stored| stored.value().to_owned()))
        })
    }

    /// One past the last committed byte of each pack; what lies beyond is garbage. Reads all commits if any was
    /// forgotten or replaced since this was asked last.
    pub fn committed_ends(&self) -> Result<BTreeMap<String, u64>, JournalError> {
        let loose =
            self.read(|database| counter(&database.begin_read()?.open_table(COUNTERS)?, LOOSE_ENDS))?;
        if loose > 0 {
            let mut ends = BTreeMap::<String, u64>::new();
            self.for_each(|_, commit| {
                for piece in commit.pieces {
                    let end = piece.end();
                    ends.entry(piece.pack).and_modify(|known| *known = end.max(*known)).or_insert(end);
                }
            })?;
            let packs = self.packs.lock().unwrap_or_else(PoisonError::into_inner);
            self.guard.check()?;
            self.write("write to", |transaction| {
                let mut table = transaction.open_table(PACKS)?;
                for (number, name) in (0..).zip(&packs.names) {
                    table.insert(number, (&**name, ends.get(&**name).copied().unwrap_or(0)))?;
                }
                transaction.open_table(COUNTERS)?.insert(LOOSE_ENDS, 0)?;
                Ok(())
            })?;
        }
        self.read(|database| {
            let mut ends = BTreeMap::new();
            for row in database.begin_read()?.open_table(PACKS)?.range::<u32>(..)? {
                let row = row?.1;
                let (name, end) = row.value();
                if end > 0 {
                    ends.insert(name.to_owned(), end);
                }
            }
            Ok(ends)
        })
    }

    /// One past the last byte of one pack that was ever committed.
    pub fn committed_end(&self, pack: &str) -> Result<u64, JournalError> {
        let packs = self.packs.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(&number) = packs.numbers.get(pack) else { return Ok(0) };
        self.read(|database| {
            Ok(database.begin_read()?.open_table(PACKS)?.get(number)?.map_or(0, |row| row.value().1))
        })
    }

    /// Forgets every commit whose pieces are damaged, so that it is done again, and says which.
    pub fn forget_damaged(&self) -> Result<Vec<String>, JournalError> {
        let mut damaged = Vec::new();
        self.for_each_row(|task, row| {
            match row.head.map(|head| self.whole(task, &head)).transpose() {
                Err(JournalError::Damaged { .. }) => damaged.push(task.to_owned()),
                other => drop(other?),
            }
            Ok(())
        })?;
        if !damaged.is_empty() {
            let forgotten: Vec<&str> = damaged.iter().map(String::as_str).collect();
            self.apply(&Changes { forgotten: &forgotten, ..Changes::default() })?;
        }
        Ok(damaged)
    }

    fn for_each_row(
        &self,
        mut each: impl FnMut(&str, Row<'_>) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        let mut rows =
            self.read(|database| Ok(database.begin_read()?.open_table(ROWS)?.range::<&str>(..)?))?;
        while let Some((task, stored)) = self.read(|_| Ok(rows.next().transpose()?))? {
            each(task.value(), self.decode(task.value(), stored.value())?)?;
        }
        Ok(())
    }

    fn decode<'r>(&self, task: &str, stored: &'r [u8]) -> Result<Row<'r>, JournalError> {
        Row::decode(task, stored).ok_or_else(|| self.mismatch(task))
    }

    fn whole(&self, task: &str, head: &Head<'_>) -> Result<Commit, JournalError> {
        let Some(span) = head.pieces else { return Ok(head.commit(Vec::new())) };
        let path = self.files.log();
        let list = self.log.read(span.offset, span.length);
        let list = list.map_err(|error| JournalError::from_database("read", &path, error.into()))?;
        let packs = self.packs.lock().unwrap_or_else(PoisonError::into_inner);
        let pieces = row::unlist(task, span, &list, |number| packs.name(number));
        Ok(head.commit(pieces.ok_or_else(|| self.mismatch(task))?))
    }

    fn mismatch(&self, task: &str) -> JournalError {
        let what = format!("the commit of {task} does not match its checksum");
        JournalError::Damaged { path: self.path.clone(), what }
    }

    fn database(&self) -> &Database {
        self.database.as_ref().expect("taken only when it is dropped")
    }

    fn read<T>(&self, read: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, JournalError> {
        attempt(&self.path, "read", || read(self.database()))
    }

    /// Of a transaction that ended after the directory was lost nobody knows whether it counts.
    fn write<T>(
        &self,
        action: &'static str,
        change: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, JournalError> {
        let value = database::write(self.database(), &self.path, action, change)?;
        self.guard.check()?;
        Ok(value)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // Closing writes, and whoever has the directory now may just be copying these files.
        if self.guard.check().is_err() {
            std::mem::forget(self.database.take());
        }
    }
}
