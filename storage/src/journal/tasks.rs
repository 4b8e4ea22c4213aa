//! The rows of tasks within one transaction, and the counters that go with them.

use redb::{ReadableTable, Table, WriteTransaction};

use super::row::{Head, Row};
use super::{COUNTERS, LIVE_LISTS, LIVE_ROWS, LOG_END, LOOSE_ENDS, ROWS};

/// The table of tasks, open for changes.
pub(super) struct Tasks<'t> {
    rows: Table<'t, &'static str, &'static [u8]>,
    counters: Table<'t, &'static str, u64>,
    live_rows: u64,
    live_lists: u64,
    loose_ends: bool,
}

/// What happens to one task.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change<'a> {
    /// Its commit counts no more.
    Forget,
    /// One more attempt begins.
    Begin,
    /// It is done.
    Commit(&'a Head<'a>),
}

impl<'t> Tasks<'t> {
    pub fn open(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        let counters = transaction.open_table(COUNTERS)?;
        let (live_rows, live_lists) = (counter(&counters, LIVE_ROWS)?, counter(&counters, LIVE_LISTS)?);
        let rows = transaction.open_table(ROWS)?;
        Ok(Tasks { rows, counters, live_rows, live_lists, loose_ends: false })
    }

    /// Changes what is known of a task; gives its attempts.
    pub fn change(&mut self, task: &str, change: Change<'_>) -> Result<u32, redb::Error> {
        let stored = self.rows.get(task)?.map_or_else(Vec::new, |stored| stored.value().to_owned());
        let mut row = match stored.is_empty() {
            true => Row::default(),
            false => Row::decode(task, &stored).ok_or_else(|| {
                redb::Error::Corrupted(format!("the row of {task} does not match its checksum"))
            })?,
        };
        let listed =
            |row: &Row<'_>| row.head.as_ref().and_then(|head| head.pieces).map_or(0, |span| span.length);
        let before = listed(&row);
        match change {
            Change::Forget => row.head = None,
            Change::Begin => row.attempts = row.attempts.saturating_add(1),
            Change::Commit(head) => row.head = Some(head.clone()),
        }
        let bytes = if row == Row::default() { Vec::new() } else { row.encode(task) };
        if bytes.is_empty() {
            self.rows.remove(task)?;
        } else {
            self.rows.insert(task, &*bytes)?;
        }
        let size = |bytes: &[u8]| if bytes.is_empty() { 0 } else { (task.len() + bytes.len()) as u64 };
        self.live_rows = (self.live_rows + size(&bytes)).saturating_sub(size(&stored));
        self.live_lists = (self.live_lists + listed(&row)).saturating_sub(before);
        self.loose_ends |= before > 0 && !matches!(change, Change::Begin);
        Ok(row.attempts)
    }

    /// Stores the counters, with the end of the piece log.
    pub fn close(mut self, log_end: u64) -> Result<(), redb::Error> {
        self.counters.insert(LIVE_ROWS, self.live_rows)?;
        self.counters.insert(LIVE_LISTS, self.live_lists)?;
        self.counters.insert(LOG_END, log_end)?;
        if self.loose_ends {
            self.counters.insert(LOOSE_ENDS, 1)?;
        }
        Ok(())
    }
}

/// A counter's value; 0 before it was set.
pub(super) fn counter(
    counters: &impl ReadableTable<&'static str, u64>,
    name: &str,
) -> Result<u64, redb::Error> {
    Ok(counters.get(name)?.map_or(0, |stored| stored.value()))
}
