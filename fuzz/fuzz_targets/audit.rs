//! Bytes behind a whole audit log: whatever they hold, no event is taken from them, and the next writer either refuses
//! the log and leaves it alone or cuts off exactly them.
#![no_main]

use jobs::event::{Event, EventName, Node, Outcome, check};
use jobs::time::Timestamp;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use storage::audit::{AuditLog, verify};
use wakachi_fuzz::path;

const EVENTS: u64 = 2;
const SEED: [u8; 32] = [1; 32];

static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let path = path("log");
    let _ = std::fs::remove_file(&path);
    let log = AuditLog::open(&path, &SEED, "log", Node::default()).expect("a new log");
    for _ in 0..EVENTS {
        let event = Event::new(EventName::ObjectRead, Outcome::Ok);
        log.append(event, Timestamp::default()).expect("an event");
    }
    std::fs::read(&path).expect("the log")
});

fuzz_target!(|bytes: &[u8]| {
    if let Ok(serde_json::Value::Object(record)) = serde_json::from_slice(bytes) {
        let _ = check(&record);
    }
    let path = path("audit");
    std::fs::write(&path, bytes).expect("a temporary file");
    if let Ok(summary) = verify(&path, None) {
        assert!(summary.events > 0 || summary.unfinished_bytes == bytes.len() as u64);
    }
    let given = [&WHOLE[..], bytes].concat();
    std::fs::write(&path, &given).expect("a temporary file");
    let verified = verify(&path, None);
    if let Ok(summary) = &verified {
        assert_eq!((summary.events, summary.unfinished_bytes), (EVENTS, bytes.len() as u64));
    }
    let opened = AuditLog::open(&path, &SEED, "log", Node::default());
    assert_eq!(opened.is_ok(), verified.is_ok());
    let left = std::fs::read(&path).expect("the log");
    assert!(left == if opened.is_ok() { &WHOLE[..] } else { &given[..] });
});
