//! A log of small events under every change that could be made to it.

use super::*;
use jobs::event::{EventName, Outcome};
use jobs::failure::{Class, Classified};
use std::fs;
use std::os::unix::fs::PermissionsExt;

const SEED: [u8; 32] = [7; 32];

fn node() -> Node {
    Node { site: Some("tokyo-1".to_owned()), worker: Some("w1".to_owned()), spki: None }
}

fn open(path: &Path) -> Result<AuditLog, AuditError> {
    AuditLog::open(path, &SEED, "tokyo vault", node())
}

fn event(object: usize) -> Event {
    let mut event = Event::new(EventName::ObjectEncrypt, Outcome::Ok).with("purpose", "research");
    event.object.id = Some(format!("{object:032x}"));
    event.bytes = Some(65_504);
    event
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(1_780_000_000_000_000).plus_seconds(second)
}

/// A log of so many events, and their leaves.
fn log_of(path: &Path, events: usize) -> Vec<Leaf> {
    let log = open(path).unwrap();
    (0..events).map(|number| log.append(event(number), at(number as i64)).unwrap()).collect()
}

fn key() -> [u8; 32] {
    let pair = Ed25519KeyPair::from_seed_unchecked(&SEED).unwrap();
    pair.public_key().as_ref().try_into().unwrap()
}

/// Expects damage in this line.
fn expect_damaged(path: &Path, line: u64, case: &str) {
    match verify(path, Some(&key())) {
        Err(error @ AuditError::Damaged { line: found, .. }) => {
            assert_eq!(found, line, "{case}: {error}");
            assert_eq!(error.class(), Class::Integrity);
        }
        other => panic!("{case}: {other:?}"),
    }
}

#[test]
fn a_log_is_verified_by_its_own_key_and_says_what_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let leaves = log_of(&path, 3);
    let refused = Event::new(EventName::PolicyDeny, Outcome::Refused);
    let last = open(&path).unwrap().append(refused, at(10)).unwrap();
    let summary = verify_with(&path, Some(&key()), &[leaves[0], last, leaves[2]]).unwrap();
    let counts =
        [((EventName::PolicyDeny, Outcome::Refused), 1), ((EventName::ObjectEncrypt, Outcome::Ok), 3)];
    let expect = Summary {
        events: 4,
        first: Some(at(0)),
        last: Some(at(10)),
        leaf: Some(last),
        key: Some(key()),
        log: Some("tokyo vault".to_owned()),
        counts: counts.into(),
        unfinished_bytes: 0,
    };
    assert_eq!(summary, expect);
    assert_eq!(verify(&path, None).unwrap(), expect);
    assert_eq!(last.to_string().parse(), Ok(last));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let error = verify(&path, Some(&[1; 32])).unwrap_err();
    assert!(error.to_string().contains(":1: expected \"0101"), "{error}");
}

#[test]
fn lines_are_as_the_design_says() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let leaves = log_of(&path, 2);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let hash = |line: &str| {
        let bytes = [&[0], line.as_bytes()].concat();
        hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes).as_ref())
    };
    assert_eq!(hex(&leaves[0].sha256), hash(lines[0]));
    let values: Vec<serde_json::Value> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(values[0]["prev"], "0".repeat(64));
    assert_eq!(values[1]["prev"], hash(lines[0]));
    assert_eq!((&values[0]["seq"], &values[1]["seq"]), (&0.into(), &1.into()));
    assert_eq!((&values[0]["key"], &values[0]["log"]), (&hex(&key()).into(), &"tokyo vault".into()));
    assert!(values[1].get("key").is_none() && values[1].get("log").is_none());
    assert_eq!(values[1]["time"], "2026-05-28T20:26:41.000000Z");
    assert_eq!(values[1]["node"], serde_json::json!({"site": "tokyo-1", "worker": "w1", "spki": null}));
    assert_eq!((&values[1]["grant"], &values[1]["purpose"]), (&serde_json::Value::Null, &"research".into()));
    // Canonical without `sig` is the line with the member taken out.
    let signature = format!(",\"sig\":{}", values[1]["sig"]);
    let message = lines[1].replace(&signature, "");
    let bytes = base64::Engine::decode(
        &base64::engine::general_purpose::STANDARD,
        values[1]["sig"].as_str().unwrap(),
    );
    aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ED25519, key())
        .verify(message.as_bytes(), &bytes.unwrap())
        .unwrap();
}

#[test]
fn every_flipped_bit_is_noticed_in_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    log_of(&path, 2);
    let whole = fs::read(&path).unwrap();
    let mut line = 1;
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << bit;
            fs::write(&path, &flipped).unwrap();
            expect_damaged(&path, line, &format!("byte {at} bit {bit}"));
        }
        line += u64::from(whole[at] == b'\n');
    }
    // A writer does not go on after it either, and leaves it as it is.
    let end = whole.len() - 1;
    for at in [0, end / 2, end] {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        fs::write(&path, &flipped).unwrap();
        assert_eq!(open(&path).unwrap_err().class(), Class::Integrity, "byte {at}");
        assert_eq!(fs::read(&path).unwrap(), flipped);
    }
}

#[test]
fn every_truncation_is_noticed_by_whoever_holds_the_last_leaf() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let leaves = log_of(&path, 3);
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let lines = whole[..length].iter().filter(|&&byte| byte == b'\n').count();
        let ended = length == 0 || whole[length - 1] == b'\n';
        // Alone, only a cut within a line shows.
        let summary = verify(&path, Some(&key())).unwrap();
        assert_eq!((summary.events, summary.unfinished_bytes == 0), (lines as u64, ended), "{length}");
        match verify_with(&path, Some(&key()), &leaves[2..]) {
            Err(error @ AuditError::Missing { events, .. }) => {
                assert_eq!((events, error.class()), (lines as u64, Class::Partial));
                assert!(error.to_string().ends_with(&leaves[2].to_string()), "{error}");
            }
            other => panic!("{length}: {other:?}"),
        }
        if length % 53 != 0 && !ended {
            continue;
        }
        // The next writer cuts off what was never acknowledged, and goes on.
        let leaf = open(&path).unwrap().append(event(9), at(9)).unwrap();
        assert_eq!((leaf.seq, verify(&path, None).unwrap().events), (lines as u64, lines as u64 + 1));
    }
}

#[test]
fn swapped_removed_repeated_and_foreign_lines_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    log_of(&path, 5);
    let text = fs::read_to_string(&path).unwrap();
    let whole: Vec<&str> = text.split_inclusive('\n').collect();
    let check = |lines: &[&str], line: usize, case: &str| {
        fs::write(&path, lines.concat()).unwrap();
        expect_damaged(&path, line as u64, case);
    };
    for first in 0..whole.len() {
        for second in first + 1..whole.len() {
            let mut lines = whole.clone();
            lines.swap(first, second);
            check(&lines, first + 1, &format!("swapped {first} and {second}"));
        }
        let mut lines = whole.clone();
        lines.insert(first, whole[first]);
        check(&lines, first + 2, &format!("repeated {first}"));
        if first + 1 < whole.len() {
            let mut lines = whole.clone();
            lines.remove(first);
            check(&lines, first + 1, &format!("removed {first}"));
        }
    }
    let other = dir.path().join("other.jsonl");
    let log = AuditLog::open(&other, &[8; 32], "tokyo vault", node()).unwrap();
    for number in 0..5 {
        log.append(event(number), at(number as i64)).unwrap();
    }
    let foreign = fs::read_to_string(&other).unwrap();
    for (number, foreign) in foreign.split_inclusive('\n').enumerate() {
        let mut lines = whole.clone();
        lines[number] = foreign;
        check(&lines, number + 1, &format!("foreign {number}"));
    }
    check(&[whole[0], "\n"], 2, "an empty line");
    check(&[whole[0], &"x".repeat(LINE_BYTES_MAX)], 2, "an endless line");
    let mut spaced = whole.clone();
    let line = spaced[1].replacen(':', ": ", 1);
    spaced[1] = &line;
    check(&spaced, 2, "another spelling");
}

#[test]
fn a_history_rewritten_with_the_key_is_noticed_by_whoever_holds_a_leaf() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let leaves = log_of(&path, 3);
    fs::remove_file(&path).unwrap();
    let log = open(&path).unwrap();
    for number in 0..3 {
        log.append(event(number + usize::from(number == 1)), at(number as i64)).unwrap();
    }
    assert_eq!(verify(&path, Some(&key())).unwrap().events, 3);
    assert!(verify_with(&path, Some(&key()), &leaves[..1]).is_ok());
    let error = verify_with(&path, Some(&key()), &leaves).unwrap_err();
    assert!(matches!(error, AuditError::Damaged { line: 2, .. }), "{error}");
}

#[test]
fn what_a_crash_leaves_of_a_line_is_cut_off_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    log_of(&path, 3);
    let text = fs::read_to_string(&path).unwrap();
    let two = text.trim_end().rfind('\n').unwrap() + 1;
    let cut = |tail: &[u8]| {
        fs::write(&path, [&text.as_bytes()[..two], tail].concat()).unwrap();
        open(&path).map(|_| fs::read(&path).unwrap().len())
    };
    let last = text[two..].trim_end().as_bytes();
    for tail in [last, &last[..100], b"{", &[0; 4096], &[&last[..100], &[0; 100][..]].concat()] {
        assert_eq!(cut(tail).unwrap(), two);
    }
    for tail in [&[last, b"*"].concat()[..], &[last, last].concat(), b"{}", b"1 "] {
        assert_eq!(cut(tail).unwrap_err().class(), Class::Integrity);
    }
    // What never was a log is not cut.
    for foreign in [&b"hello"[..], b"hello\n", b"{\"a\":1}", b"{\"a\":1}\n", b"\n", b"\x1f\x8b"] {
        fs::write(&path, foreign).unwrap();
        assert!(matches!(open(&path), Err(AuditError::NotALog { .. })));
        assert_eq!(verify(&path, None).unwrap_err().class(), Class::Input);
        assert_eq!(fs::read(&path).unwrap(), foreign);
    }
}

#[test]
fn a_long_log_is_taken_up_by_its_ends() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let log = open(&path).unwrap();
    let mut large = event(0).with("note", "x".repeat(300_000));
    for number in 0..5 {
        log.append(large.clone(), at(number)).unwrap();
    }
    large.extra["note"] = "x".repeat(LINE_BYTES_MAX).into();
    assert!(matches!(log.append(large, at(5)), Err(AuditError::Event { .. })));
    drop(log);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, [&whole, &b"{\"actor\":"[..]].concat()).unwrap();
    assert_eq!(open(&path).unwrap().append(event(6), at(6)).unwrap().seq, 5);
    assert_eq!(verify(&path, Some(&key())).unwrap().events, 6);
    // Damage at an end is named by its line.
    for (at, line) in [(100, 1), (whole.len() - 100, 5)] {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        fs::write(&path, &flipped).unwrap();
        assert!(matches!(open(&path), Err(AuditError::Damaged { line: found, .. }) if found == line));
    }
}

#[test]
fn threads_share_one_chain_and_processes_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let log = open(&path).unwrap();
    assert!(matches!(open(&path), Err(AuditError::Busy { .. })));
    let mut leaves: Vec<Leaf> = std::thread::scope(|scope| {
        let append = |thread: usize| {
            let log = &log;
            move || (0..20).map(|number| log.append(event(number), at(thread as i64)).unwrap()).collect()
        };
        let threads: Vec<_> = (0..6).map(|thread| scope.spawn(append(thread))).collect();
        threads.into_iter().flat_map(|thread| -> Vec<Leaf> { thread.join().unwrap() }).collect()
    });
    leaves.sort();
    let summary = verify_with(&path, Some(&log.key()), &leaves).unwrap();
    assert_eq!((summary.events, summary.leaf), (120, leaves.last().copied()));
    drop(log);
    assert!(open(&path).is_ok());
}

#[test]
fn those_who_wait_at_one_time_share_a_sync() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let log = open(&path).unwrap();
    // As if a sync were being done: all who append meanwhile wait for the next.
    let syncing = log.synced.lock().unwrap();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let log = &log;
            scope.spawn(move || {
                let events: Vec<Event> = (0..5).map(|each| event(number * 5 + each)).collect();
                let leaves = log.append_many(&events, at(0)).unwrap();
                assert!(
                    leaves.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq),
                    "a group stays together"
                );
                assert!(log.last().unwrap() >= leaves[4]);
            });
        }
        while log.end.lock().unwrap().as_ref().unwrap().chain.last().is_none_or(|last| last.seq < 39) {
            std::thread::yield_now();
        }
        assert!(fs::metadata(&path).unwrap().len() > 0);
        drop(syncing);
    });
    assert_eq!(log.synced.lock().unwrap().syncs, 1);
    assert_eq!(verify(&path, Some(&key())).unwrap().leaf, log.last());
    assert!(log.append_many(&[], at(0)).unwrap().is_empty());
}

#[test]
fn of_a_group_all_events_are_written_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let log = open(&path).unwrap();
    let group = [event(0), event(1).with("part", 0.5), event(2)];
    assert!(matches!(log.append_many(&group, at(0)), Err(AuditError::Event { .. })));
    assert_eq!(log.last(), None);
    assert_eq!(log.append(event(3), at(0)).unwrap().seq, 0);
    assert_eq!(verify(&path, Some(&key())).unwrap().events, 1);
}

#[test]
fn time_does_not_go_back_with_the_clock() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    open(&path).unwrap().append(event(0), at(100)).unwrap();
    let log = open(&path).unwrap();
    log.append(event(1), at(0)).unwrap();
    log.append(event(2), at(101)).unwrap();
    let mut times = Vec::new();
    read(&path, None, &[], |entry| times.push(entry.time)).unwrap();
    assert_eq!(times, [at(100), at(100), at(101)]);
}

#[test]
fn only_its_own_key_and_name_continue_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    log_of(&path, 1);
    for (seed, name) in [([8; 32], "tokyo vault"), (SEED, "osaka vault")] {
        let error = AuditLog::open(&path, &seed, name, node()).unwrap_err();
        assert!(matches!(error, AuditError::Damaged { line: 1, .. }), "{error}");
    }
}

#[test]
fn an_event_that_cannot_be_recorded_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let log = open(&path).unwrap();
    let mut wrong_type = event(0);
    wrong_type.type_uid = 1;
    let deep = (0..200).fold(serde_json::Value::Null, |inner, _| vec![inner].into());
    for wrong in [
        wrong_type,
        event(0).with("part", 0.5),
        event(0).with("large", u64::MAX),
        event(0).with("deep", deep),
    ] {
        assert!(matches!(log.append(wrong, at(0)), Err(AuditError::Event { .. })));
    }
    // Fields of the log are not the event's to choose.
    let posing = event(0).with("seq", 7).with("prev", "x").with("key", "x").with("log", "x").with("sig", "x");
    for seq in 0..2 {
        assert_eq!(log.append(posing.clone(), at(0)).unwrap().seq, seq);
    }
    assert_eq!(verify(&path, Some(&log.key())).unwrap().events, 2);
}

#[test]
fn after_a_failed_write_the_log_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let log = open(&path).unwrap();
    log.append(event(0), at(0)).unwrap();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    log.end.lock().unwrap().as_mut().unwrap().file = Arc::new(full);
    assert!(matches!(log.append(event(1), at(1)), Err(AuditError::Disk(DiskError::NoSpace { .. }))));
    assert!(matches!(log.append(event(1), at(1)), Err(AuditError::Closed { .. })));
    drop(log);
    assert_eq!(open(&path).unwrap().append(event(1), at(1)).unwrap().seq, 1);
}

#[test]
fn participants_are_hashed_as_rfc_2104_says() {
    // RFC 4231, test case 2, its key filled up with zeros as HMAC does.
    let mut key = [0; 32];
    key[..4].copy_from_slice(b"Jefe");
    let expect = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(participant_hash(&key, "what do ya want for nothing?"), expect);
}

#[test]
fn what_was_noted_is_on_the_device_with_the_next_event() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let log = open(&path).unwrap();
    let syncs = || log.synced.lock().unwrap().syncs;
    let noted = log.note_many(&[event(0), event(1)], at(0)).unwrap();
    assert_eq!((log.last(), syncs()), (None, 0));
    let last = log.append(event(2), at(1)).unwrap();
    assert_eq!((log.last(), syncs()), (Some(last), 1));
    verify_with(&path, Some(&key()), &[noted[0], noted[1], last]).unwrap();
}
