//! One line after another: how a line is made of an event, and what a line must be to follow those before it.
//!
//! Invariant: [`Chain::next_line`] gives only lines that [`Chain::admit`] takes. Nothing here reads or writes a file.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{self, SHA256};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jobs::canonical::{self, CanonicalError};
use jobs::event::{self, Event, EventName, Node, Outcome};
use jobs::time::Timestamp;
use serde_json::{Map, Value};

use super::LINE_BYTES_MAX;

/// Bytes of a found value that a message shows.
const SHOWN_CHARS: usize = 80;

/// One event's place in a log and the hash of its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leaf {
    /// Events before it.
    pub seq: u64,
    /// SHA-256 of a zero byte and the line (RFC 6962).
    pub sha256: [u8; 32],
}

/// Prints `SEQ:SHA256`.
impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, hex(&self.sha256))
    }
}

/// A text is not a leaf.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected SEQ:SHA256, a whole number and 64 hexadecimal digits")]
pub struct NotALeaf;

/// Reads `SEQ:SHA256`.
impl FromStr for Leaf {
    type Err = NotALeaf;

    fn from_str(text: &str) -> Result<Self, NotALeaf> {
        let (seq, sha256) = text.split_once(':').ok_or(NotALeaf)?;
        let sha256 = key_of_hex(sha256).map_err(|_| NotALeaf)?;
        Ok(Leaf { seq: seq.parse().map_err(|_| NotALeaf)?, sha256 })
    }
}

/// A line is not what must stand there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found {found}")]
pub struct Mismatch {
    /// What must stand there.
    pub expected: String,
    /// What does, cut short.
    pub found: String,
}

impl Mismatch {
    pub(super) fn new(expected: impl fmt::Display, found: impl fmt::Display) -> Self {
        Mismatch {
            expected: expected.to_string(),
            found: found.to_string().chars().take(SHOWN_CHARS).collect(),
        }
    }
}

/// A line that was verified.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its place and hash.
    pub leaf: Leaf,
    /// Its event.
    pub event: EventName,
    /// How that ended.
    pub outcome: Outcome,
    /// When.
    pub time: Timestamp,
    /// All of it.
    pub record: Map<String, Value>,
}

/// The lines so far, as far as the next one depends on them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    last: Option<Leaf>,
    time: Option<Timestamp>,
    key: Option<[u8; 32]>,
    name: Option<String>,
}

impl Chain {
    /// No line yet. A key or a name that is given must be that of the first line; one that is not is taken from there.
    pub fn new(key: Option<[u8; 32]>, name: Option<&str>) -> Self {
        Chain { last: None, time: None, key, name: name.map(str::to_owned) }
    }

    /// The last line.
    pub fn last(&self) -> Option<Leaf> {
        self.last
    }

    /// The log's public key, as given or as its first line has it.
    pub fn key(&self) -> Option<[u8; 32]> {
        self.key
    }

    /// What the log calls itself.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Takes the next line, without its line feed, or says why it cannot follow; then nothing has changed.
    pub fn admit(&mut self, line: &[u8]) -> Result<Entry, Mismatch> {
        let mut record = record(line)?;
        let event = event::check(&record).map_err(|error| {
            Mismatch::new(format!("{} in '{}'", error.expected, error.field), error.found)
        })?;
        let next = self.after(line, &record)?;
        let key = next.key.expect("known from the first line on");
        verify_signature(&mut record, &key)?;
        *self = next;
        let outcome = Outcome::ALL.into_iter().find(|outcome| record["outcome"] == outcome.name());
        Ok(Entry {
            leaf: self.last.expect("this line"),
            event,
            outcome: outcome.expect("just checked"),
            time: self.time.expect("just set"),
            record,
        })
    }

    /// Starts after `line` instead, of which only the signature is checked. The key must be known.
    pub(super) fn jump(&mut self, line: &[u8]) -> Result<(), Mismatch> {
        let mut record = record(line)?;
        let key = self.key.ok_or_else(|| Mismatch::new("a known key", "none"))?;
        verify_signature(&mut record, &key)?;
        let seq = record.get("seq").and_then(Value::as_u64);
        let time = record.get("time").and_then(Value::as_str).and_then(|time| time.parse().ok());
        let seq = seq.ok_or_else(|| Mismatch::new("a whole number in 'seq'", "none"))?;
        self.last = Some(Leaf { seq, sha256: leaf_hash(line) });
        self.time = Some(time.ok_or_else(|| Mismatch::new("a time in 'time'", "none"))?);
        Ok(())
    }

    /// The line of this event, and the chain with it.
    pub(super) fn next_line(
        &self,
        event: &Event,
        now: Timestamp,
        node: &Node,
        name: &str,
        key: &Ed25519KeyPair,
    ) -> Result<(Vec<u8>, Chain), Mismatch> {
        let canonical = |record: &Map<String, Value>| {
            canonical::canonical(&Value::Object(record.clone()))
                .map_err(|error| Mismatch::new("fields in canonical form", error))
        };
        let args = event.tool.args().map(|args| Value::from(args).to_string());
        let args_sha256 = args.map(|args| hex(digest::digest(&SHA256, args.as_bytes()).as_ref()));
        let time = self.time.map_or(now, |last| last.max(now));
        let mut record = event.record(self.seq(), time, node, args_sha256);
        record.insert("prev".to_owned(), self.prev().into());
        for (field, value) in [("key", hex(key.public_key().as_ref())), ("log", name.to_owned())] {
            match self.last {
                None => record.insert(field.to_owned(), value.into()),
                Some(_) => record.remove(field),
            };
        }
        record.remove("sig");
        let signature = key.sign(canonical(&record)?.as_bytes());
        record.insert("sig".to_owned(), STANDARD.encode(signature).into());
        let line = canonical(&record)?.into_bytes();
        if line.len() >= LINE_BYTES_MAX {
            return Err(Mismatch::new(format!("a line below {LINE_BYTES_MAX} bytes"), line.len()));
        }
        let mut next = self.clone();
        next.admit(&line)?;
        Ok((line, next))
    }

    /// The chain with this line, if its place, its time and what it says of the log are right.
    fn after(&self, line: &[u8], record: &Map<String, Value>) -> Result<Chain, Mismatch> {
        let found = |field: &str| record.get(field).map_or_else(|| "nothing".to_owned(), Value::to_string);
        let expect = |field: &str, expected: Value| match record.get(field) == Some(&expected) {
            true => Ok(()),
            false => Err(Mismatch::new(format!("{expected} in '{field}'"), found(field))),
        };
        expect("seq", self.seq().into())?;
        expect("prev", self.prev().into())?;
        let time: Timestamp =
            record["time"].as_str().and_then(|time| time.parse().ok()).expect("just checked");
        if let Some(last) = self.time.filter(|last| time < *last) {
            return Err(Mismatch::new(format!("a time no earlier than {last}"), time));
        }
        let mut next = self.clone();
        if self.last.is_some() {
            if let Some(field) = ["key", "log"].into_iter().find(|field| record.contains_key(*field)) {
                return Err(Mismatch::new(format!("no '{field}' after the first event"), found(field)));
            }
        } else {
            let key = record.get("key").and_then(Value::as_str).and_then(|text| key_of_hex(text).ok());
            let key = key.ok_or_else(|| Mismatch::new("a public key in 'key'", found("key")))?;
            expect("key", hex(&self.key.unwrap_or(key)).into())?;
            let name = record.get("log").and_then(Value::as_str);
            let name = name.ok_or_else(|| Mismatch::new("a text in 'log'", found("log")))?;
            expect("log", self.name.as_deref().unwrap_or(name).into())?;
            (next.key, next.name) = (Some(key), Some(name.to_owned()));
        }
        next.time = Some(time);
        next.last = Some(Leaf { seq: self.seq(), sha256: leaf_hash(line) });
        Ok(next)
    }

    fn seq(&self) -> u64 {
        self.last.map_or(0, |leaf| leaf.seq + 1)
    }

    fn prev(&self) -> String {
        hex(&self.last.map_or([0; 32], |leaf| leaf.sha256))
    }
}

fn record(line: &[u8]) -> Result<Map<String, Value>, Mismatch> {
    match canonical::parse(line) {
        Ok(Value::Object(record)) => Ok(record),
        Ok(other) => Err(Mismatch::new("an object", other)),
        // Each line is a document, so the error's line is always its first.
        Err(CanonicalError::Syntax { column, .. }) => {
            Err(Mismatch::new("an event in canonical JSON", format!("other bytes at column {column}")))
        }
        Err(error) => Err(Mismatch::new("an event in canonical JSON", error)),
    }
}

fn verify_signature(record: &mut Map<String, Value>, key: &[u8; 32]) -> Result<(), Mismatch> {
    let signature = record.remove("sig").unwrap_or_default();
    let unsigned = Value::Object(std::mem::take(record));
    let message = canonical::canonical(&unsigned).expect("it was in canonical form with its signature");
    let Value::Object(unsigned) = unsigned else { unreachable!("an object") };
    *record = unsigned;
    let bytes = signature.as_str().and_then(|text| STANDARD.decode(text).ok());
    let signed = bytes.is_some_and(|bytes| {
        UnparsedPublicKey::new(&ED25519, key).verify(message.as_bytes(), &bytes).is_ok()
    });
    if !signed {
        return Err(Mismatch::new(format!("a signature of the key {} in 'sig'", hex(key)), signature));
    }
    record.insert("sig".to_owned(), signature);
    Ok(())
}

fn leaf_hash(line: &[u8]) -> [u8; 32] {
    let mut context = digest::Context::new(&SHA256);
    context.update(&[0]);
    context.update(line);
    context.finish().as_ref().try_into().expect("32 bytes")
}

/// Lower-case hexadecimal, as keys and hashes stand in a log.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A text is not a log's key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a public key, 64 hexadecimal digits")]
pub struct NotAKey;

/// Reads a log's public key from hexadecimal.
pub fn key_of_hex(text: &str) -> Result<[u8; 32], NotAKey> {
    blake3::Hash::from_hex(text).map(|bytes| *bytes.as_bytes()).map_err(|_| NotAKey)
}
