//! A crash at every write and every sync of a sequence of transactions, and a disk that is full from any of them on.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;
use redb::backends::FileBackend;

use super::*;

/// What the journal asked of its two files, in order.
#[derive(Clone, Debug)]
enum Op {
    Write {
        file: usize,
        at: u64,
        bytes: Vec<u8>,
    },
    SetLength {
        file: usize,
        length: u64,
    },
    Sync {
        file: usize,
    },
    /// Not of a file: a transaction has returned.
    Answered,
}

/// A file whose operations are recorded, and fail once there were so many.
#[derive(Debug)]
struct Recorder {
    file: usize,
    inner: FileBackend,
    ops: Arc<Mutex<Vec<Op>>>,
    full_after: usize,
}

impl Recorder {
    fn note(&self, op: Op) -> io::Result<()> {
        let mut ops = self.ops.lock().unwrap();
        if ops.len() >= self.full_after && !matches!(op, Op::Sync { .. }) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        ops.push(op);
        Ok(())
    }
}

impl StorageBackend for Recorder {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        // A file gets shorter on a full disk, too.
        if length > self.inner.len()? {
            self.note(Op::SetLength { file: self.file, length })?;
        } else {
            self.ops.lock().unwrap().push(Op::SetLength { file: self.file, length });
        }
        self.inner.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.note(Op::Sync { file: self.file })
    }

    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.note(Op::Write { file: self.file, at, bytes: bytes.to_vec() })?;
        self.inner.write(at, bytes)
    }
}

/// What a journal holds.
type State = (BTreeMap<String, Commit>, BTreeMap<String, u32>);

const NAMES: [&str; 2] = [FILE, "journal.0.pieces"];

/// A journal in a directory in memory, and its files' bytes before anything was done.
struct Bench {
    dir: tempfile::TempDir,
    begun: [Vec<u8>; 2],
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        drop(open(dir.path()).unwrap());
        let begun = NAMES.map(|name| std::fs::read(dir.path().join(name)).unwrap());
        Bench { dir, begun }
    }

    fn put(&self, files: &[Vec<u8>; 2]) {
        for (name, bytes) in NAMES.iter().zip(files) {
            std::fs::write(self.dir.path().join(name), bytes).unwrap();
        }
    }

    /// Opens the journal with recorders before its files.
    fn record(&self, full_after: usize) -> (Result<Journal, JournalError>, Arc<Mutex<Vec<Op>>>) {
        let ops = Arc::default();
        let recorder = |file: usize| {
            let inner = database::backend(&self.dir.path().join(NAMES[file]), false).unwrap();
            Recorder { file, inner, ops: Arc::clone(&ops), full_after }
        };
        let guard = Fence::acquire(self.dir.path()).unwrap();
        let files = Files::of(&guard);
        let path = self.dir.path().join(FILE);
        let opened = database::open(&path, recorder(0)).and_then(|database| {
            let log = PieceLog::open(recorder(1), self.begun[1].len() as u64).unwrap();
            Journal::begin(guard, files, database, log, identity())
        });
        (opened, ops)
    }

    fn state(&self, say: &str) -> State {
        let journal = open(self.dir.path()).unwrap_or_else(|error| panic!("{say}: {error}"));
        (journal.commits().unwrap(), journal.attempts().unwrap())
    }
}

/// Does transactions until one fails, and says after which state each leaves: commits of several sizes, replaced and
/// forgotten ones, attempts alone.
fn work(journal: &Journal, answered: impl Fn(), states: &mut Vec<State>) -> Result<(), JournalError> {
    for round in 0..12u64 {
        let (mut commits, mut attempts) = states.last().cloned().unwrap();
        let names: Vec<String> = (0..1 + round % 4).map(|i| format!("t{}", (round * 5 + i) % 14)).collect();
        let made: Vec<Commit> = (0..names.len() as u64)
            .map(|i| {
                let pieces = vec![commit(round).pieces.remove(0); (round * 7 % 40) as usize];
                Commit { pieces, summary: vec![i as u8; (round * 331 % 2000) as usize], ..commit(i) }
            })
            .collect();
        let gone = format!("t{}", round % 14);
        let made: Vec<_> =
            names.iter().map(String::as_str).zip(if round % 5 == 3 { &[][..] } else { &made[..] }).collect();
        let changes = Changes { commits: &made, attempts: &["t1", &gone], forgotten: &[&gone] };
        commits.remove(&gone);
        ["t1", &gone].into_iter().for_each(|task| *attempts.entry(task.to_owned()).or_default() += 1);
        commits.extend(made.iter().map(|(task, commit)| ((*task).to_owned(), (*commit).clone())));
        states.push((commits, attempts));
        journal.apply(&changes)?;
        answered();
    }
    Ok(())
}

/// Files as a device may hold them after a crash: what was synced, and of the rest whatever `keeps` says.
fn crashed(begun: &[Vec<u8>; 2], ops: &[Op], mut keeps: impl FnMut() -> Kept) -> [Vec<u8>; 2] {
    let mut files = begun.clone();
    for (i, op) in ops.iter().enumerate() {
        let synced = |of: usize| ops[i..].iter().any(|op| matches!(op, Op::Sync { file } if *file == of));
        match op {
            Op::Write { file, at, bytes } => {
                let kept = if synced(*file) { Kept::All } else { keeps() };
                let bytes = match kept {
                    Kept::All => &bytes[..],
                    Kept::Half => &bytes[..bytes.len() / 2],
                    Kept::None => continue,
                };
                let (file, at) = (&mut files[*file], *at as usize);
                file.resize(file.len().max(at + bytes.len()), 0);
                file[at..at + bytes.len()].copy_from_slice(bytes);
            }
            Op::SetLength { file, length } if synced(*file) || keeps() != Kept::None => {
                files[*file].resize(*length as usize, 0);
            }
            _ => {}
        }
    }
    files
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    All,
    Half,
    None,
}

#[test]
fn a_crash_at_any_step_leaves_what_was_answered_and_the_next_transaction_whole_or_not_at_all() {
    let bench = Bench::new();
    let (journal, ops) = bench.record(usize::MAX);
    let journal = journal.unwrap();
    let mut states = vec![State::default()];
    work(&journal, || ops.lock().unwrap().push(Op::Answered), &mut states).unwrap();
    drop(journal);
    let ops = Arc::try_unwrap(ops).unwrap().into_inner().unwrap();
    let mut dice = 7u64;
    let mut roll = || {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        [Kept::All, Kept::Half, Kept::None, Kept::None][(dice >> 61) as usize % 4]
    };
    for end in 0..=ops.len() {
        let ops = &ops[..end];
        let answered = ops.iter().filter(|op| matches!(op, Op::Answered)).count();
        let cases = [
            crashed(&bench.begun, ops, || Kept::All),
            crashed(&bench.begun, ops, || Kept::None),
            crashed(&bench.begun, ops, &mut roll),
            crashed(&bench.begun, ops, &mut roll),
        ];
        for (case, files) in cases.iter().enumerate() {
            bench.put(files);
            let say = format!("after {end} operations, case {case}");
            let found = bench.state(&say);
            let may = &states[answered..states.len().min(answered + 2)];
            assert!(may.contains(&found), "{say}: {answered} were answered, found {:?}", found.0.keys());
        }
    }
}

#[test]
fn a_disk_that_is_full_at_any_step_is_said_and_the_journal_is_intact() {
    let bench = Bench::new();
    let mut completed = false;
    for full_after in 0.. {
        bench.put(&bench.begun);
        let (journal, _ops) = bench.record(full_after);
        let mut states = vec![State::default()];
        let answered = std::cell::Cell::new(0);
        let done =
            journal.and_then(|journal| work(&journal, || answered.set(answered.get() + 1), &mut states));
        let found = bench.state(&format!("full after {full_after}"));
        match done {
            Ok(()) => {
                completed = true;
                assert!(states.last() == Some(&found));
                break;
            }
            Err(error) => {
                assert!(matches!(error, JournalError::Disk(DiskError::NoSpace { .. })), "{error:?}");
                let may = &states[answered.get()..states.len().min(answered.get() + 2)];
                assert!(may.contains(&found), "full after {full_after}: {} were answered", answered.get());
            }
        }
    }
    assert!(completed);
}
