//! Reading a log from its beginning to its end, and finding the end of one that goes on.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use jobs::event::{EventName, Outcome};
use jobs::time::Timestamp;

use super::{AuditError, Chain, Entry, LINE_BYTES_MAX, Leaf, Mismatch};

/// A log below so many bytes is verified whole before it goes on.
const WHOLE_BYTES: u64 = 1 << 20;
/// Read at a time.
const READ_BYTES: usize = 1 << 16;
/// Where the last two lines of a longer one are looked for: room for them and for an unfinished one.
const TAIL_BYTES: u64 = 3 * LINE_BYTES_MAX as u64;

/// A log that was verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many events it holds.
    pub events: u64,
    /// Time of the first event.
    pub first: Option<Timestamp>,
    /// Time of the last event.
    pub last: Option<Timestamp>,
    /// The last event.
    pub leaf: Option<Leaf>,
    /// The log's public key, as given or, if none was, as the first event has it.
    pub key: Option<[u8; 32]>,
    /// What the log calls itself.
    pub log: Option<String>,
    /// Events by name and outcome.
    pub counts: BTreeMap<(EventName, Outcome), u64>,
    /// Bytes of a last line without line feed, 0 if there is none: an event that was never acknowledged, being written
    /// now or when the writer died.
    pub unfinished_bytes: u64,
}

/// Verifies a log: every line's form, fields, place, chain and signature. A `key` must be that of the log; without one
/// the log vouches for itself. A log that was cut off after a whole line is not noticed; see [`verify_with`].
pub fn verify(path: &Path, key: Option<&[u8; 32]>) -> Result<Summary, AuditError> {
    verify_with(path, key, &[])
}

/// Verifies a log, and that it holds these events, which others keep: a vault's seals do.
pub fn verify_with(path: &Path, key: Option<&[u8; 32]>, expected: &[Leaf]) -> Result<Summary, AuditError> {
    read(path, key, expected, |_| {})
}

/// Verifies a log as [`verify_with`] does and shows every line, when it has been verified, to `each`.
pub fn read(
    path: &Path,
    key: Option<&[u8; 32]>,
    expected: &[Leaf],
    mut each: impl FnMut(&Entry),
) -> Result<Summary, AuditError> {
    let mut chain = Chain::new(key.copied(), None);
    let mut summary = Summary::default();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    let mut awaited = expected.iter().peekable();
    let file = File::open(path).map_err(unreadable(path))?;
    let (_, unfinished_bytes) = walk(&file, path, &mut chain, |line, entry| {
        while let Some(leaf) = awaited.next_if(|leaf| leaf.seq == entry.leaf.seq) {
            if *leaf != entry.leaf {
                return Err(damaged(path, line, Mismatch::new(format!("the event {leaf}"), entry.leaf)));
            }
        }
        summary.first.get_or_insert(entry.time);
        summary.last = Some(entry.time);
        *summary.counts.entry((entry.event, entry.outcome)).or_default() += 1;
        each(entry);
        Ok(())
    })?;
    let leaf = chain.last();
    let events = leaf.map_or(0, |leaf| leaf.seq + 1);
    let leaves: Vec<Leaf> = awaited.copied().collect();
    if !leaves.is_empty() {
        return Err(AuditError::Missing { path: path.to_owned(), events, leaves });
    }
    let log = chain.name().map(str::to_owned);
    Ok(Summary { events, leaf, key: chain.key(), log, unfinished_bytes, ..summary })
}

/// The chain of a log that goes on, and how many bytes its whole lines have.
pub(super) fn resume(
    file: &File,
    path: &Path,
    key: [u8; 32],
    name: &str,
) -> Result<(Chain, u64), AuditError> {
    let length = file.metadata().map_err(unreadable(path))?.len();
    if length >= WHOLE_BYTES {
        let mut chain = Chain::new(Some(key), Some(name));
        if let Some(whole_bytes) = ends(file, length, &mut chain).map_err(unreadable(path))? {
            return Ok((chain, whole_bytes));
        }
    }
    // Also of a long log whose ends are not right: that names the line.
    let mut chain = Chain::new(Some(key), Some(name));
    let (whole_bytes, _) = walk(file, path, &mut chain, |_, _| Ok(()))?;
    Ok((chain, whole_bytes))
}

/// Verifies the first and the last line of a long log, and returns the bytes of its whole lines; `None` if something is
/// not right.
fn ends(mut file: &File, length: u64, chain: &mut Chain) -> io::Result<Option<u64>> {
    let mut line = Vec::new();
    file.rewind()?;
    if read_line(&mut BufReader::new(file), &mut line)? != LineEnd::LineFeed || chain.admit(&line).is_err() {
        return Ok(None);
    }
    let start = length.saturating_sub(TAIL_BYTES);
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(start))?;
    file.take(length - start).read_to_end(&mut tail)?;
    let pieces: Vec<&[u8]> = tail.rsplitn(4, |&byte| byte == b'\n').collect();
    let [rest, last, before, _] = pieces[..] else { return Ok(None) };
    let follows = chain.jump(before).and_then(|()| chain.admit(last));
    let whole = follows.and_then(|_| unfinished(chain, rest)).is_ok();
    Ok(whole.then_some(length - rest.len() as u64))
}

/// Shows every whole line to `each`, with its number, once the chain has taken it. Returns the bytes of whole lines and
/// those of an unfinished one after them.
fn walk(
    mut file: &File,
    path: &Path,
    chain: &mut Chain,
    mut each: impl FnMut(u64, &Entry) -> Result<(), AuditError>,
) -> Result<(u64, u64), AuditError> {
    file.rewind().map_err(unreadable(path))?;
    let mut lines = BufReader::with_capacity(READ_BYTES, file);
    let mut line = Vec::new();
    let mut whole_bytes = 0;
    for number in 1.. {
        let end = read_line(&mut lines, &mut line).map_err(unreadable(path))?;
        let taken = match end {
            LineEnd::LineFeed => chain.admit(&line).map(Some),
            LineEnd::File => unfinished(chain, &line).map(|()| None),
            LineEnd::Limit => {
                Err(Mismatch::new(format!("a line feed within {LINE_BYTES_MAX} bytes"), "none"))
            }
        };
        match taken {
            Ok(Some(entry)) => each(number, &entry)?,
            Ok(None) => return Ok((whole_bytes, line.len() as u64)),
            Err(_) if number == 1 && !has_something_of_an_event(&line) => {
                return Err(AuditError::NotALog { path: path.to_owned() });
            }
            Err(mismatch) => return Err(damaged(path, number, mismatch)),
        }
        whole_bytes += line.len() as u64 + 1;
    }
    unreachable!("lines end before numbers do")
}

/// What a line was ended by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineEnd {
    LineFeed,
    File,
    Limit,
}

/// Reads one line, without its line feed.
fn read_line(file: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<LineEnd> {
    line.clear();
    file.take(LINE_BYTES_MAX as u64).read_until(b'\n', line)?;
    Ok(match line.last() {
        Some(b'\n') => {
            line.pop();
            LineEnd::LineFeed
        }
        _ if line.len() == LINE_BYTES_MAX => LineEnd::Limit,
        _ => LineEnd::File,
    })
}

/// Takes the bytes after the last line feed for an event that was never finished. A whole event with other bytes behind it
/// is not one: no crash leaves that, so its line feed was there once, and cutting it off would lose an event that was
/// acknowledged.
fn unfinished(chain: &Chain, rest: &[u8]) -> Result<(), Mismatch> {
    let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<serde::de::IgnoredAny>();
    match values.next() {
        Some(Ok(_)) => {
            let (event, behind) = rest.split_at(values.byte_offset());
            chain.clone().admit(event)?;
            match behind {
                [] => Ok(()),
                _ => Err(Mismatch::new("a line feed after the event", "other bytes")),
            }
        }
        // What was written of a first line at least began one.
        Some(Err(error)) if chain.last().is_none() && !error.is_eof() => {
            Err(Mismatch::new("an event in canonical JSON", error))
        }
        _ => Ok(()),
    }
}

/// Whether this was the first line of a log before one bit of it, or a few, changed.
fn has_something_of_an_event(line: &[u8]) -> bool {
    let holds = |what: &str| line.windows(what.len()).any(|bytes| bytes == what.as_bytes());
    ["\"prev\":\"", "\"type_uid\":", "\"sig\":\""].into_iter().any(holds)
}

fn damaged(path: &Path, line: u64, mismatch: Mismatch) -> AuditError {
    AuditError::Damaged { path: path.to_owned(), line, mismatch }
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> AuditError {
    move |source| AuditError::Unreadable { path: path.to_owned(), source }
}
