//! Fences between processes that are killed, stopped and woken, and between machines, which another boot id stands for.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::journal::tests::{commit, identity};
use crate::{Journal, JournalError};

const PACE: Pace = Pace { beat: Duration::from_millis(20), silence: Some(Duration::from_millis(300)) };

fn acquire(dir: &Path) -> Result<Fence, FenceError> {
    Fence::acquire_as(dir, &Claim::mine(), PACE, |_| true)
}

fn elsewhere() -> Claim {
    Claim { boot: "another machine".to_owned(), host: "node7".to_owned(), ..Claim::mine() }
}

/// A process that holds the directory; see [`child_that_holds`].
struct Holder {
    process: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Holder {
    fn start(dir: &Path, place: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "fence::tests::child_that_holds", "--nocapture"])
            .env("WAKACHI_TEST_FENCE", dir)
            .env("WAKACHI_TEST_FENCE_PLACE", place)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut holder = Holder { process, said };
        holder.hear("committed");
        holder
    }

    /// The rest of the next line that begins so.
    fn hear(&mut self, beginning: &str) -> String {
        self.said.find_map(|line| line.unwrap().strip_prefix(beginning).map(str::to_owned)).expect(beginning)
    }

    fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The body of a child: commits until it loses the directory, and says so after each.
#[test]
fn child_that_holds() {
    let Some(dir) = std::env::var_os("WAKACHI_TEST_FENCE") else { return };
    let me = if std::env::var("WAKACHI_TEST_FENCE_PLACE").unwrap() == "here" {
        Claim::mine()
    } else {
        elsewhere()
    };
    let fence = Fence::acquire_as(Path::new(&dir), &me, PACE, |_| true).unwrap();
    let journal = Journal::open_or_create(fence, &identity()).unwrap();
    for i in 0.. {
        match journal.commit(&format!("t{i}"), &commit(i)) {
            Ok(()) => println!("\ncommitted {i}"),
            Err(JournalError::Fence(FenceError::Lost { holder, .. })) => {
                return println!("\nlost to {holder}");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_second_scheduler_learns_at_once_who_has_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let first = Fence::acquire(dir.path()).unwrap();
    let error = Fence::acquire_while(dir.path(), |_| panic!("nobody is waited for")).unwrap_err();
    assert_eq!(error.class(), Class::Failed);
    assert!(error.to_string().contains(&format!("process {} on", std::process::id())), "{error}");
    first.check().unwrap();
    drop(first);
    for _ in 0..3 {
        let next = Fence::try_acquire(dir.path()).unwrap();
        next.check().unwrap();
        assert_eq!((next.era(), numbers(dir.path()).unwrap().len()), (0, 1));
    }
}

#[test]
fn a_killed_holder_of_this_machine_is_followed_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut holder = Holder::start(dir.path(), "here");
    for signal in ["STOP", "CONT"] {
        holder.signal(signal);
        assert!(matches!(acquire(dir.path()), Err(FenceError::Held { .. })), "{signal}");
    }
    holder.process.kill().unwrap();
    holder.process.wait().unwrap();
    let fence = Fence::try_acquire(dir.path()).unwrap();
    assert_eq!(fence.era(), 0);
}

#[test]
fn a_holder_elsewhere_is_left_alone_as_long_as_its_heart_beats() {
    let dir = tempfile::tempdir().unwrap();
    let holder = Holder::start(dir.path(), "elsewhere");
    assert!(matches!(Fence::try_acquire(dir.path()), Err(FenceError::Held { .. })));
    let mut told = String::new();
    let waiting = |holder: &str| {
        told = holder.to_owned();
        true
    };
    let error = Fence::acquire_as(dir.path(), &Claim::mine(), PACE, waiting).unwrap_err();
    assert!(error.to_string().contains(&told) && told.contains("on node7"), "{error}");
    drop(holder);
    // Its machine says nothing of its death, but the kernel freed the lock, and the next one has it.
    let fence = acquire(dir.path()).unwrap();
    assert!(fence.era() > 0 && fence._lock.is_some());
}

#[test]
fn a_holder_that_wakes_up_later_finds_the_directory_lost_and_has_changed_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut holder = Holder::start(dir.path(), "elsewhere");
    for _ in 0..20 {
        holder.hear("committed");
    }
    holder.signal("STOP");
    let fence = acquire(dir.path()).unwrap();
    assert!(fence.era() > 0 && fence._lock.is_none(), "the stopped one still has the lock");
    let journal = Journal::open_or_create(fence, &identity()).unwrap();
    let before = journal.commits().unwrap();
    journal.commit("next", &commit(7)).unwrap();
    holder.signal("CONT");
    let mut told = 20;
    for line in holder.said.by_ref() {
        let line = line.unwrap();
        if let Some(number) = line.strip_prefix("committed ") {
            told = number.parse::<usize>().unwrap();
        } else if line.starts_with("lost to") {
            break;
        }
    }
    assert!(before.len() > told, "{told} was acknowledged, {} were there", before.len());
    drop(holder);
    journal.guard().check().unwrap();
    drop(journal);
    let journal = Journal::open(Fence::try_acquire(dir.path()).unwrap()).unwrap();
    let mut after = journal.commits().unwrap();
    assert_eq!(after.remove("next"), Some(commit(7)));
    assert!(after == before, "nothing was added by who woke up");
}

#[test]
fn one_of_many_follows_a_silent_holder() {
    let dir = tempfile::tempdir().unwrap();
    for (claim, era) in [(serde_json::to_vec(&elsewhere()).unwrap(), 6), (Vec::new(), 6), (vec![0; 512], 6)] {
        fs::write(claim_path(dir.path(), 5), &claim).unwrap();
        let followed = AtomicUsize::new(0);
        let fences: Vec<_> = thread::scope(|scope| {
            let take = || {
                // Each on a machine that the lock does not reach.
                let me = Claim {
                    boot: format!("machine {}", followed.fetch_add(1, Ordering::Relaxed)),
                    ..Claim::mine()
                };
                Fence::acquire_as(dir.path(), &me, PACE, |_| true).ok()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(fences.len(), 1);
        assert_eq!((fences[0].era(), numbers(dir.path()).unwrap()), (era, vec![6]));
        fences[0].check().unwrap();
        drop(fences);
        fs::remove_file(claim_path(dir.path(), 6)).unwrap();
    }
}

#[test]
fn a_late_claim_of_a_number_long_gone_is_withdrawn() {
    let dir = tempfile::tempdir().unwrap();
    let fence = acquire(dir.path()).unwrap();
    fs::rename(&fence.path, claim_path(dir.path(), 9)).unwrap();
    let late = Fence::claim(dir.path(), &Claim::mine(), 4, 0, BEAT, None).unwrap();
    assert!(late.is_none());
    assert_eq!(numbers(dir.path()).unwrap(), [9]);
    assert!(matches!(fence.check(), Err(FenceError::Lost { .. })));
}

#[test]
fn what_is_still_appended_by_a_holder_before_stays_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    fs::write(claim_path(dir.path(), 5), serde_json::to_vec(&elsewhere()).unwrap()).unwrap();
    let mut before = OpenOptions::new().append(true).create(true).open(&path).unwrap();
    before.write_all(b"one\n").unwrap();
    let fence = acquire(dir.path()).unwrap();
    for _ in 0..2 {
        fence.part_from(&path).unwrap();
        before.write_all(b"late\n").unwrap();
    }
    assert_eq!(fs::read(&path).unwrap(), b"one\n");
    assert_eq!(fs::read(dir.path().join("audit.jsonl.6")).unwrap(), b"one\nlate\nlate\n");
}

#[test]
fn what_is_no_claim_is_named_at_once() {
    let check = |name: &str, content: &str| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        let error = Fence::acquire_while(dir.path(), |_| panic!("{name} is waited for")).unwrap_err();
        assert_eq!(error.class(), Class::Integrity, "{name}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert!(error.hint().unwrap().contains("rm "));
        fs::remove_file(&path).unwrap();
        Fence::try_acquire(dir.path()).unwrap();
    };
    let last = format!("fence.{}", u64::MAX);
    let mine = serde_json::to_string(&Claim::mine()).unwrap();
    check("fence.1", "rubbish");
    check("fence.900000", "{}");
    check("fence.2", &mine.replace(FORMAT, "wakachi.fence/2"));
    check(&last, "rubbish");
    check(&last, &mine);
    let pipe = tempfile::tempdir().unwrap();
    let path = pipe.path().join("fence.3");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert!(matches!(Fence::try_acquire(pipe.path()), Err(FenceError::Foreign { .. })));
}

#[test]
fn files_with_names_like_a_claims_are_nobodys() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["fence.+7", "fence.007", "fence.", "fence.x", "fence.99999999999999999999"] {
        fs::write(dir.path().join(name), "rubbish").unwrap();
    }
    let fence = Fence::try_acquire(dir.path()).unwrap();
    assert_eq!((fence.era(), numbers(dir.path()).unwrap()), (0, vec![1]));
}

#[test]
fn who_does_not_want_to_wait_any_more_ends_at_once() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(claim_path(dir.path(), 5), serde_json::to_vec(&elsewhere()).unwrap()).unwrap();
    let (began, mut asked) = (Instant::now(), 0);
    let waiting = |holder: &str| {
        assert!(holder.contains("on node7"), "{holder}");
        asked += 1;
        asked < 3
    };
    let error = Fence::acquire_while(dir.path(), waiting).unwrap_err();
    assert!(matches!(error, FenceError::Held { .. }) && began.elapsed() < SILENCE / 2);
    assert_eq!(numbers(dir.path()).unwrap(), [5]);
}
