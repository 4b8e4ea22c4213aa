//! The journal under crashes, second owners and damage.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use jobs::failure::{Class, Classified};

use super::*;
use crate::pack::PieceRef;

fn identity() -> JobIdentity {
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

fn commit(i: u64) -> Commit {
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
fn a_commit_belongs_to_its_task_and_every_bit_counts() {
    let stored = commit(7).encode("t");
    assert_eq!(Commit::decode("t", &stored), Some(commit(7)));
    assert_eq!(Commit::decode("u", &stored), None);
    for at in 0..stored.len() {
        let mut flipped = stored.clone();
        flipped[at] ^= 0x10;
        assert_eq!(Commit::decode("t", &flipped), None);
        assert_eq!(Commit::decode("t", &stored[..at]), None);
    }
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

/// Copy-on-write leaves most of a journal's pages unused, so damage there changes nothing; anywhere else it is refused.
#[test]
fn damage_is_refused_or_changes_nothing() {
    // In memory where possible: every opening syncs several times.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let journal = open(dir.path()).unwrap();
    for i in 0..40 {
        journal.commit(&format!("t{i}"), &commit(i)).unwrap();
    }
    let expect = journal.commits().unwrap();
    drop(journal);
    let path = dir.path().join(FILE);
    let whole = std::fs::read(&path).unwrap();
    let mut cases: Vec<Vec<u8>> = (0..320)
        .step_by(3)
        .chain((320..whole.len()).step_by(1021))
        .map(|at| {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x41;
            bytes
        })
        .collect();
    cases.extend((0..whole.len()).step_by(8192).map(|cut| whole[..cut].to_vec()));
    let mut refused = 0;
    for case in &cases {
        std::fs::write(&path, case).unwrap();
        match open(dir.path()).and_then(|journal| journal.commits()) {
            Ok(commits) => assert!(commits == expect),
            Err(error) => {
                assert_eq!(error.class(), Class::Integrity, "{error}");
                assert!(error.to_string().contains(FILE), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused * 10 > cases.len(), "{refused} of {}", cases.len());
}
