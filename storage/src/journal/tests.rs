//! The journal under kills, other owners, full disks and damage.

mod crash;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use jobs::failure::{Class, Classified};

use super::*;
use crate::pack::PieceRef;

const FILE: &str = "journal.redb";

pub(crate) fn identity() -> JobIdentity {
    JobIdentity {
        job: "j1".to_owned(),
        cohort_digest: "c0ffee".to_owned(),
        parameters_digest: "fade".to_owned(),
        program: "wakachi 0.1.0".to_owned(),
    }
}

fn open(dir: &Path) -> Result<Journal, JournalError> {
    Journal::open_or_create(Fence::acquire(dir).unwrap(), &identity())
}

pub(crate) fn commit(i: u64) -> Commit {
    let pack = format!("w{}", i % 3);
    let piece = PieceRef { pack, offset: i * 1000, length: 1000, blake3: [i as u8; 32] };
    Commit {
        attempt: 1,
        pieces: vec![piece],
        summary: format!("{{\"reads\":{i}}}").into_bytes(),
        basis: [3; 16],
        content: [i as u8; 32],
        cpu_ms: i,
        worker: 5,
        slot: 2,
        site: 1,
        bytes_in: 7 * i,
        started_ms: 1_790_000_000_000 + i,
        finished_ms: 1_790_000_000_000 + 3 * i,
    }
}

#[test]
fn what_was_committed_is_there_when_it_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path()).unwrap();
    assert_eq!((journal.fence(), journal.committed_ends().unwrap()), (1, BTreeMap::new()));
    journal.commit("a", &commit(1)).unwrap();
    let (four, two) = (commit(4), commit(2));
    let commits = &[("b", &four), ("c", &two)][..];
    journal.apply(&Changes { commits, ..Changes::default() }).unwrap();
    let ends = |one, two| BTreeMap::from([("w1".to_owned(), one), ("w2".to_owned(), two)]);
    assert_eq!(journal.committed_ends().unwrap(), ends(5000, 3000));
    let forgotten = &["c", "never there"][..];
    let numbers = journal.apply(&Changes { forgotten, attempts: &["a", "d"], ..Changes::default() }).unwrap();
    assert_eq!(numbers, [1, 1]);
    assert_eq!(journal.committed_ends().unwrap(), BTreeMap::from([("w1".to_owned(), 5000)]));
    assert_eq!(journal.apply(&Changes { attempts: &["d"], ..Changes::default() }).unwrap(), [2]);
    journal.put_value("plan", b"{}").unwrap();
    drop(journal);

    let journal = open(dir.path()).unwrap();
    assert_eq!(journal.fence(), 2);
    let expect = BTreeMap::from([("a".to_owned(), commit(1)), ("b".to_owned(), commit(4))]);
    assert_eq!(journal.commits().unwrap(), expect);
    assert_eq!(journal.get("b").unwrap(), Some(commit(4)));
    assert_eq!(journal.get("c").unwrap(), None);
    assert_eq!(journal.committed_ends().unwrap(), BTreeMap::from([("w1".to_owned(), 5000)]));
    assert_eq!(journal.attempts().unwrap(), BTreeMap::from([("a".to_owned(), 1), ("d".to_owned(), 2)]));
    assert_eq!(journal.value("plan").unwrap().as_deref(), Some(&b"{}"[..]));
    assert_eq!(journal.value("other").unwrap(), None);
    assert_eq!(journal.identity(), &identity());
}

#[test]
fn a_journal_of_other_work_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    type Change = fn(&mut JobIdentity);
    let with = |change: Change| {
        let mut other = identity();
        change(&mut other);
        Journal::open_or_create(Fence::acquire(dir.path()).unwrap(), &other)
    };
    let cases: [(Change, &str, &str); 3] = [
        (|other| other.cohort_digest = "bad".to_owned(), "cohort digest", "c0ffee"),
        (|other| other.parameters_digest = "bad".to_owned(), "parameters digest", "fade"),
        (|other| other.program = "bad".to_owned(), "program", "wakachi 0.1.0"),
    ];
    for (change, field, stored) in cases {
        let error = with(change).unwrap_err();
        assert_eq!(error.class(), Class::Usage);
        let message = error.to_string();
        assert!([field, stored, "bad"].iter().all(|part| message.contains(part)), "{message}");
    }
    assert!(with(|other| other.job = "j2".to_owned()).is_ok());
}

#[test]
fn without_a_journal_there_is_nothing_to_look_at() {
    let dir = tempfile::tempdir().unwrap();
    let error = Journal::open(Fence::acquire(dir.path()).unwrap()).unwrap_err();
    assert_eq!(error.class(), Class::Usage);
    std::fs::write(dir.path().join(FILE), b"").unwrap();
    assert_eq!(open(dir.path()).unwrap_err().class(), Class::Integrity);
}

#[test]
fn a_journal_of_another_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let path = dir.path().join(FILE);
    for found in [FORMAT - 1, FORMAT + 1] {
        let database = database::open(&path, database::backend(&path, false).unwrap()).unwrap();
        let format = |transaction: &WriteTransaction| {
            transaction.open_table(COUNTERS)?.insert("format", found)?;
            Ok(())
        };
        database::write(&database, &path, "write to", format).unwrap();
        drop(database);
        let error = open(dir.path()).unwrap_err();
        assert_eq!(error.class(), Class::Usage);
        assert!(error.to_string().ends_with(&format!("has format {found}; expected {FORMAT}")), "{error}");
    }
}

#[test]
fn a_row_belongs_to_its_task_and_every_bit_counts() {
    let whole = commit(7);
    let mut lists = Vec::new();
    let span = row::list("t", &whole.pieces, &[4], 100, &mut lists).unwrap();
    let row = Row { attempts: 3, head: Some(Head::of(&whole, Some(span))) };
    let stored = row.encode("t");
    assert_eq!(Row::decode("t", &stored), Some(row.clone()));
    assert_eq!(Row::decode("u", &stored), None);
    for at in 0..stored.len() {
        let mut flipped = stored.clone();
        flipped[at] ^= 0x10;
        assert_eq!(Row::decode("t", &flipped), None);
        assert_eq!(Row::decode("t", &stored[..at]), None);
    }
    let name = |number| (number == 4).then_some("w1");
    assert_eq!(row::unlist("t", span, &lists, name).as_ref(), Some(&whole.pieces));
    assert_eq!(row::unlist("u", span, &lists, name), None);
    assert_eq!(row::unlist("t", span, &lists, |_| None), None);
    for at in 0..lists.len() {
        let mut flipped = lists.clone();
        flipped[at] ^= 0x10;
        assert_eq!(row::unlist("t", span, &flipped, name), None);
    }
}

/// The bytes of DESIGN.md, put together here by hand; a change of them needs a new version.
#[test]
fn the_layout_is_the_documented_one() {
    let whole = Commit { summary: b"{}".to_vec(), cpu_ms: 300, bytes_in: 1, ..commit(7) };
    let mut lists = Vec::new();
    let span = row::list("t", &whole.pieces, &[4], 100, &mut lists).unwrap();
    let check = |bytes: &[u8]| {
        let hashed = [&1u64.to_le_bytes(), &b"t"[..], bytes].concat();
        blake3::hash(&hashed).as_bytes()[..8].to_vec()
    };
    // One piece: pack 4, offset 7000, length 1000.
    let list = [&[1, 4, 0xd8, 0x36, 0xe8, 0x07][..], &[7; 32]].concat();
    assert_eq!(lists, list);
    let varint = |mut number: u64| {
        let mut bytes = Vec::new();
        while number >= 0x80 {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    };
    let row = [
        // Three attempts; a commit, of the first; its summary.
        &[3, 1, 1, 2, b'{', b'}'][..],
        &[3; 16],
        &[7; 32],
        // CPU time, start, end.
        &[0xac, 0x02],
        &varint(1_790_000_000_007),
        &varint(1_790_000_000_021),
        // Worker, slot, site, bytes read; a list at 100 of 38 bytes.
        &[5, 2, 1, 1, 1, 100, 38],
        &check(&list),
    ]
    .concat();
    let stored = Row { attempts: 3, head: Some(Head::of(&whole, Some(span))) }.encode("t");
    assert_eq!(stored, [&row[..], &check(&row)].concat());
}

#[test]
fn several_are_read_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path()).unwrap();
    let none = Commit { pieces: Vec::new(), ..commit(3) };
    let (one, two) = (commit(1), commit(2));
    let commits = [("a", &one), ("b", &two), ("c", &none)];
    journal.apply(&Changes { commits: &commits, attempts: &["d"], ..Changes::default() }).unwrap();
    let found = journal.get_many(&["c", "x", "d", "a"]).unwrap();
    assert_eq!(found, [Some(none.clone()), None, None, Some(one.clone())]);
    let mut replayed = Vec::new();
    journal.replay(|task, commit| replayed.push((task.to_owned(), commit))).unwrap();
    let without = |commit: &Commit| Commit { pieces: Vec::new(), ..commit.clone() };
    assert_eq!(replayed, commits.map(|(task, commit)| (task.to_owned(), without(commit))));
    // A commit travels in messages.
    let sent = postcard::to_stdvec(&one).unwrap();
    assert_eq!(postcard::from_bytes::<Commit>(&sent).unwrap(), one);
}

/// Garbage of every kind: forgotten, replaced, and rows that are gone.
#[test]
fn a_journal_that_is_mostly_garbage_is_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path()).unwrap();
    let names: Vec<String> = (0..300).map(|i| format!("t{i:03}")).collect();
    let large: Vec<Commit> =
        (0..300).map(|i| Commit { pieces: vec![commit(i).pieces.remove(0); 30], ..commit(i) }).collect();
    let commits: Vec<_> = names.iter().map(String::as_str).zip(&large).collect();
    journal
        .apply(&Changes { commits: &commits, attempts: &["t007", "never"], ..Changes::default() })
        .unwrap();
    let forgotten: Vec<_> = names[20..].iter().map(String::as_str).collect();
    journal.apply(&Changes { forgotten: &forgotten, ..Changes::default() }).unwrap();
    journal.put_value("plan", b"{}").unwrap();
    let (expect, attempts) = (journal.commits().unwrap(), journal.attempts().unwrap());
    let ends = journal.committed_ends().unwrap();
    drop(journal);
    // What crashes leave of a rewriting is in nobody's way.
    std::fs::write(dir.path().join("journal.1.pieces"), [1; 5000]).unwrap();
    std::fs::write(dir.path().join("journal.partial"), [1; 5000]).unwrap();
    let guard = Fence::acquire(dir.path()).unwrap();
    let mut files = Files::of(&guard).unwrap();
    let (database, identity, log) = files.open().unwrap();
    assert!(!dir.path().join("journal.1.pieces").exists());
    let (database, log) = files.compact(database, log, 10_000).unwrap();
    assert!(log.end() * 10 < 300 * 30 * 40, "{}", log.end());
    let journal = Journal::begin(guard, files, database, log, identity).unwrap();
    assert!(journal.commits().unwrap() == expect);
    assert_eq!(journal.attempts().unwrap(), attempts);
    assert_eq!(journal.committed_ends().unwrap(), ends);
    assert_eq!(journal.value("plan").unwrap().as_deref(), Some(&b"{}"[..]));
    journal.commit("later", &commit(8)).unwrap();
    drop(journal);
    assert!(!dir.path().join("journal.0.pieces").exists());
    let journal = open(dir.path()).unwrap();
    assert_eq!((journal.commits().unwrap().len(), journal.fence()), (21, 3));
}

/// The body of the child of [`commits_survive_kill`]: commits until it is killed, and says so after each.
#[test]
fn child_that_commits() {
    let Some(dir) = std::env::var_os("WAKACHI_TEST_JOURNAL") else { return };
    let journal = open(Path::new(&dir)).unwrap();
    let done = journal.commits().unwrap().len() as u64;
    for i in done.. {
        journal.commit(&format!("t{i}"), &commit(i)).unwrap();
        eprintln!("committed {i}");
    }
}

#[test]
fn commits_survive_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut told = 0;
    for round in 0..6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "journal::tests::child_that_commits", "--nocapture"])
            .env("WAKACHI_TEST_JOURNAL", dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        for line in lines.take(1 + 7 * round) {
            let line = line.unwrap();
            told = line.strip_prefix("committed ").expect(&line).parse::<u64>().unwrap() + 1;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let journal = open(dir.path()).unwrap();
        let commits = journal.commits().unwrap();
        assert!(commits.len() as u64 >= told, "{} of {told}", commits.len());
        for i in 0..commits.len() as u64 {
            assert_eq!(commits.get(&format!("t{i}")), Some(&commit(i)));
        }
    }
}

/// The body of the child of [`a_full_disk_is_said_and_what_was_committed_stays`].
#[test]
fn child_that_fills_the_disk() {
    let Some(dir) = std::env::var_os("WAKACHI_TEST_FULL_JOURNAL") else { return };
    let journal = open(Path::new(&dir)).unwrap();
    let large = Commit { summary: vec![b' '; 100_000], ..commit(1) };
    let done = (0..).map_while(|i| {
        journal
            .commit(&format!("t{i}"), &large)
            .map_err(|error| {
                assert!(matches!(error, JournalError::Disk(DiskError::NoSpace { .. })), "{error:?}");
                assert_eq!(error.class(), Class::Failed);
            })
            .ok()
    });
    let done = done.count();
    assert!(journal.commit("later", &large).is_err(), "a journal that failed takes nothing more");
    std::fs::write(Path::new(&dir).join("done"), done.to_string()).unwrap();
}

#[test]
fn a_full_disk_is_said_and_what_was_committed_stays() {
    let dir = tempfile::tempdir().unwrap();
    let status = Command::new("sh")
        .arg("-c")
        .arg("trap '' XFSZ; ulimit -f 4096; exec \"$0\" --exact journal::tests::child_that_fills_the_disk")
        .arg(std::env::current_exe().unwrap())
        .env("WAKACHI_TEST_FULL_JOURNAL", dir.path())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let done: usize = std::fs::read_to_string(dir.path().join("done")).unwrap().parse().unwrap();
    let journal = open(dir.path()).unwrap();
    assert_eq!(journal.commits().unwrap().len(), done);
    assert!(done > 0);
    journal.commit("later", &commit(1)).unwrap();
}

#[test]
fn a_journal_outlives_its_eras_and_its_claims() {
    let dir = tempfile::tempdir().unwrap();
    let names = || -> Vec<String> {
        let names = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| name.starts_with("journal"));
        names.sort();
        names
    };
    for (i, era) in (0..).zip([0, 4, 9]) {
        let guard = Fence::of_era(dir.path(), era);
        // What a crash in the middle of taking over leaves.
        let partial = if era == 0 { "journal.partial".to_owned() } else { format!("journal.{era}.partial") };
        std::fs::write(dir.path().join(partial), b"half").unwrap();
        let journal = Journal::open_or_create(guard, &identity()).unwrap();
        journal.commit(&format!("t{i}"), &commit(i)).unwrap();
        assert_eq!((journal.commits().unwrap().len() as u64, journal.fence()), (i + 1, i + 1));
    }
    assert_eq!(names(), ["journal.9.0.pieces", "journal.9.redb"]);
    for claim in std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().path()) {
        if claim.file_name().unwrap().to_str().unwrap().starts_with("fence.") {
            std::fs::remove_file(claim).unwrap();
        }
    }
    let journal = open(dir.path()).unwrap();
    assert_eq!((journal.commits().unwrap().len(), journal.guard().era()), (3, 0));
    drop(journal);
    Journal::discard(&Fence::acquire(dir.path()).unwrap()).unwrap();
    assert_eq!(names(), Vec::<String>::new());
}

#[test]
fn commits_with_damaged_pieces_can_be_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path()).unwrap();
    for i in 0..5 {
        journal.commit(&format!("t{i}"), &commit(i)).unwrap();
    }
    assert_eq!(journal.forget_damaged().unwrap(), Vec::<String>::new());
    drop(journal);
    let path = dir.path().join("journal.0.pieces");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let journal = open(dir.path()).unwrap();
    assert_eq!(journal.get("t1").unwrap(), Some(commit(1)));
    let error = journal.get("t2").unwrap_err();
    assert!(error.class() == Class::Integrity && error.to_string().contains("t2"), "{error}");
    assert!(journal.replay(|_, _| {}).is_ok(), "what is done is known without pieces");
    assert_eq!(journal.forget_damaged().unwrap(), ["t2"]);
    assert_eq!(journal.commits().unwrap().len(), 4);
    assert_eq!(journal.committed_ends().unwrap().len(), 2);
    assert_eq!((journal.committed_end("w0").unwrap(), journal.committed_end("w9").unwrap()), (4000, 0));
    drop(journal);
    let guard = Fence::acquire(dir.path()).unwrap();
    Journal::discard(&guard).unwrap();
    assert!(matches!(Journal::open(guard), Err(JournalError::Missing { .. })));
}

/// Copy-on-write leaves most of a journal's pages unused, so damage there changes nothing; anywhere else it is refused.
#[test]
fn damage_is_refused_or_changes_nothing() {
    // In memory where possible: every opening syncs several times.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let journal = open(dir.path()).unwrap();
    for i in 0..40 {
        let task = format!("t{i}");
        let changes = Changes { commits: &[(&task, &commit(i))], attempts: &[&task], ..Changes::default() };
        journal.apply(&changes).unwrap();
    }
    let expect = (journal.commits().unwrap(), journal.attempts().unwrap());
    drop(journal);
    for (name, step) in [(FILE, 1021), ("journal.0.pieces", 61)] {
        let path = dir.path().join(name);
        let (whole, other) = (std::fs::read(&path).unwrap(), dir.path().join(FILE));
        let database = std::fs::read(&other).unwrap();
        let at = (0..320.min(whole.len())).step_by(3).chain((320..whole.len()).step_by(step));
        let flipped = at.map(|at| (at, [&whole[..at], &[whole[at] ^ 0x41], &whole[at + 1..]].concat()));
        let zeroed = (0..whole.len()).step_by(4096).map(|at| {
            let end = whole.len().min(at + 4096);
            (at, [&whole[..at], &vec![0; end - at], &whole[end..]].concat())
        });
        let cut = (0..whole.len()).step_by(step * 8).map(|at| (at, whole[..at].to_vec()));
        let longer = [(whole.len(), [&whole[..], &[7; 4096]].concat())];
        let (mut cases, mut refused) = (0, 0);
        for (at, case) in flipped.chain(zeroed).chain(cut).chain(longer) {
            std::fs::write(&other, &database).unwrap();
            std::fs::write(&path, &case).unwrap();
            cases += 1;
            match open(dir.path()).and_then(|journal| Ok((journal.commits()?, journal.attempts()?))) {
                Ok(found) => assert!(found == expect, "{name} at {at}"),
                Err(error) => {
                    assert_eq!(error.class(), Class::Integrity, "{name} at {at}: {error}");
                    assert!(error.to_string().contains("journal."), "{error}");
                    refused += 1;
                }
            }
        }
        assert!(refused * 10 > cases, "{name}: {refused} of {cases}");
        std::fs::write(&path, &whole).unwrap();
    }
}
