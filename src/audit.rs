//! `wakachi audit`: whether audit logs are what was written, and what is written in them.

use crate::output::{self, Format, table};
use jobs::event::{EventName, Outcome};
use jobs::failure::{Class, Classified, Failure};
use jobs::time::Timestamp;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use storage::audit::{self, AuditError, Entry, Leaf, Summary, hex, key_of_hex};

/// Verifies and shows audit logs
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Verifies every line: form, fields, place, chain and signature
    #[command(after_help = "Examples:
  wakachi audit verify vault
  wakachi audit verify vault job --output json
  wakachi audit verify audit.jsonl --key HEX --expect 41:HEX

A log cut off at the end of a line is noticed only by --expect: give the last event that is known from elsewhere, such as \
  `audit` in a seal. Without --key the log vouches for itself: keep the key that is printed.

Exit codes: 0 whole; 2 --expect with several logs; 3 not readable or not a log; 6 damaged, and the line is named; \
  10 an event is missing or was never finished.")]
    Verify(VerifyArgs),
    /// Shows the events of a log, each verified as above
    #[command(after_help = "Examples:
  wakachi audit show vault --event policy.deny
  wakachi audit show vault --event object --object ID --output json
  wakachi audit show job --sample NA12878 --since 2026-06-01T00:00:00+09:00

Exit codes: 0 shown; 3 not readable or not a log; 6 damaged, and what stands before that is shown; 10 the last event was \
  never finished.")]
    Show(Box<ShowArgs>),
}

/// What to verify.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// Logs, or the vaults and jobs they lie in
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<PathBuf>,
    /// The public key that signed them
    #[arg(long, value_name = "HEX", value_parser = key_of_hex)]
    key: Option<[u8; 32]>,
    /// An event that the log must hold; may be given more than once
    #[arg(long, value_name = "SEQ:SHA256")]
    expect: Vec<Leaf>,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// What to show.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The log, or the vault or job it lies in
    log: PathBuf,
    /// The public key that signed it
    #[arg(long, value_name = "HEX", value_parser = key_of_hex)]
    key: Option<[u8; 32]>,
    #[command(flatten)]
    filter: Filter,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// Which events to show: those for which all of this holds.
#[derive(Debug, Default, clap::Args)]
struct Filter {
    /// Only this event, such as policy.deny, or this group of events, such as policy
    #[arg(long, value_name = "NAME")]
    event: Option<Events>,
    /// Only with this outcome: ok, refused or failed
    #[arg(long, value_parser = outcome)]
    outcome: Option<Outcome>,
    /// Only on this object
    #[arg(long, value_name = "ID")]
    object: Option<String>,
    /// Only of this job
    #[arg(long, value_name = "ID")]
    job: Option<String>,
    /// Only on this sample
    #[arg(long, value_name = "NAME")]
    sample: Option<String>,
    /// Only on this participant
    #[arg(long, value_name = "HASH")]
    participant: Option<String>,
    /// Only by this account
    #[arg(long, value_name = "SUB")]
    actor: Option<String>,
    /// Only since this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
}

/// An event's name, or what stands before the dot of several.
#[derive(Clone, Debug)]
struct Events(String);

impl Events {
    fn has(&self, event: EventName) -> bool {
        let rest = event.name().strip_prefix(self.0.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

impl FromStr for Events {
    type Err = jobs::event::UnknownEvent;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let events = Events(text.to_owned());
        match EventName::ALL.iter().any(|&event| events.has(event)) {
            true => Ok(events),
            false => text.parse::<EventName>().map(|_| events),
        }
    }
}

fn outcome(text: &str) -> Result<Outcome, String> {
    let found = Outcome::ALL.into_iter().find(|outcome| outcome.name() == text);
    found.ok_or_else(|| "expected ok, refused or failed".to_owned())
}

impl Filter {
    fn takes(&self, entry: &Entry) -> bool {
        let is = |asked: &Option<String>, found: &Value| match asked {
            Some(asked) => found == asked.as_str(),
            None => true,
        };
        let field = |name: &str| entry.record.get(name).unwrap_or(&Value::Null);
        let on_sample = |sample: &String| {
            let samples = field("samples");
            field("sample") == sample.as_str()
                || samples.get(sample).is_some()
                || samples.as_array().is_some_and(|names| names.iter().any(|name| name == sample.as_str()))
        };
        let on_participant = |hash: &String| {
            let several = field("participants_h").as_array();
            field("participant_h") == hash.as_str()
                || several.is_some_and(|hashes| hashes.iter().any(|one| one == hash.as_str()))
        };
        self.event.as_ref().is_none_or(|events| events.has(entry.event))
            && self.outcome.is_none_or(|outcome| outcome == entry.outcome)
            && is(&self.object, &entry.record["object"]["id"])
            && is(&self.job, field("job"))
            && self.participant.as_ref().is_none_or(on_participant)
            && is(&self.actor, &entry.record["actor"]["sub"])
            && self.sample.as_ref().is_none_or(on_sample)
            && self.since.is_none_or(|since| since <= entry.time)
            && self.until.is_none_or(|until| entry.time < until)
    }
}

/// Something is wrong with the command line or with what is at the end of a log.
#[derive(Debug, thiserror::Error)]
enum AuditFailure {
    /// A folder without a log.
    #[error("{}: holds neither audit.jsonl nor .wakachi/audit.jsonl", folder.display())]
    NoLog { folder: PathBuf },
    /// Events are expected of several logs.
    #[error("--expect: expected one log, found {logs}")]
    WhichLog { logs: usize },
    /// The last line has no line feed.
    #[error("{}:{line}: expected a whole event, found {bytes} bytes of one that was never acknowledged", path.display())]
    Unfinished { path: PathBuf, line: u64, bytes: u64 },
}

impl Classified for AuditFailure {
    fn class(&self) -> Class {
        match self {
            AuditFailure::NoLog { .. } => Class::Input,
            AuditFailure::WhichLog { .. } => Class::Usage,
            AuditFailure::Unfinished { .. } => Class::Partial,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            AuditFailure::NoLog { .. } => Some("give the log, or the vault or job it lies in".to_owned()),
            AuditFailure::WhichLog { .. } => Some("verify each log with its own --expect".to_owned()),
            AuditFailure::Unfinished { .. } => {
                Some("its writer was killed or is writing now; the next one cuts it off".to_owned())
            }
        }
    }
}

/// Runs the command.
pub fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Verify(args) => verify(args),
        Command::Show(args) => show(args, output::say),
    }
}

/// Verifies all logs; of several that fail, the one whose damage is worst decides how the program ends.
fn verify(args: &VerifyArgs) -> Result<(), Failure> {
    if args.logs.len() > 1 && !args.expect.is_empty() {
        return Err(AuditFailure::WhichLog { logs: args.logs.len() }.into());
    }
    let mut documents = Vec::new();
    let mut failures = Vec::new();
    for path in &args.logs {
        let verified =
            log_in(path).and_then(|log| Ok(audit::verify_with(&log, args.key.as_ref(), &args.expect)?));
        let failure = match &verified {
            Ok(summary) => unfinished(path, summary).map(Failure::from),
            Err(_) => None,
        };
        match args.output {
            Format::Table => verified.iter().for_each(|summary| output::say(&in_words(path, summary))),
            Format::Json => documents.push(document(path, &verified, failure.as_ref())),
            Format::Quiet => {}
        }
        failures.extend(verified.err().or(failure));
    }
    if args.output == Format::Json {
        output::json(&json!({ "schema": "wakachi.audit-verify/1", "logs": documents }));
    }
    failures.sort_by_key(|failure| match failure.class() {
        Class::Integrity => 2,
        Class::Partial => 1,
        _ => 0,
    });
    let Some(worst) = failures.pop() else { return Ok(()) };
    failures.iter().for_each(output::complain);
    Err(worst)
}

fn unfinished(path: &Path, summary: &Summary) -> Option<AuditFailure> {
    let (line, bytes) = (summary.events + 1, summary.unfinished_bytes);
    (bytes > 0).then(|| AuditFailure::Unfinished { path: path.to_owned(), line, bytes })
}

/// The log itself, or the one in the folder.
fn log_in(path: &Path) -> Result<PathBuf, Failure> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let logs = ["audit.jsonl", ".wakachi/audit.jsonl"].map(|name| path.join(name));
    let found = logs.into_iter().find(|log| log.exists());
    Ok(found.ok_or_else(|| AuditFailure::NoLog { folder: path.to_owned() })?)
}

fn in_words(path: &Path, summary: &Summary) -> String {
    let Summary { events, first, last, leaf, key, log, counts, .. } = summary;
    let (Some(first), Some(last), Some(leaf), Some(key), Some(log)) = (first, last, leaf, key, log) else {
        return format!("{}: no events", path.display());
    };
    let rows: Vec<Vec<String>> = counts
        .iter()
        .map(|((event, outcome), count)| {
            vec![format!("  {event}"), outcome.name().to_owned(), count.to_string()]
        })
        .collect();
    format!(
        "{}: {events} events of {}, all as they were written\n  from {first} to {last}\n  key  {}\n  last {leaf}\n\n{}",
        path.display(),
        printable(log),
        hex(key),
        table(&["  event", "outcome", "events"], &rows)
    )
}

fn document(path: &Path, verified: &Result<Summary, Failure>, failure: Option<&Failure>) -> Value {
    let summary = verified.as_ref().ok();
    let failure = verified.as_ref().err().or(failure);
    let counts = summary.map(|summary| {
        let count = |((event, outcome), events): (&(EventName, Outcome), &u64)| {
            json!({ "event": event, "outcome": outcome, "events": events })
        };
        summary.counts.iter().map(count).collect::<Vec<_>>()
    });
    json!({
        "path": path,
        "ok": failure.is_none(),
        "error": failure.map(Failure::to_string),
        "log": summary.and_then(|summary| summary.log.clone()),
        "key": summary.and_then(|summary| summary.key).map(|key| hex(&key)),
        "events": summary.map(|summary| summary.events),
        "first": summary.and_then(|summary| summary.first),
        "last": summary.and_then(|summary| summary.last),
        "leaf": summary.and_then(|summary| summary.leaf).map(|leaf| json!({ "seq": leaf.seq, "sha256": hex(&leaf.sha256) })),
        "counts": counts,
        "unfinished_bytes": summary.map(|summary| summary.unfinished_bytes),
    })
}

/// Prints events as they are read, so that a log of any size can be shown.
fn show(args: &ShowArgs, mut say: impl FnMut(&str)) -> Result<(), Failure> {
    let log = log_in(&args.log)?;
    match args.output {
        Format::Table => say(&columns(["seq", "time", "event", "outcome", "actor", "on", "reasons"])),
        Format::Json => say("{\"schema\": \"wakachi.audit-show/1\", \"events\": ["),
        Format::Quiet => {}
    }
    let mut separator = "";
    let shown = audit::read(&log, args.key.as_ref(), &[], |entry| {
        if !args.filter.takes(entry) {
            return;
        }
        match args.output {
            Format::Table => say(&row(entry)),
            Format::Json => {
                say(&format!("{separator}{}", Value::Object(entry.record.clone())));
                separator = ",";
            }
            Format::Quiet => {}
        }
    });
    if args.output == Format::Json {
        // Also where damage ends the list: what stands before it was verified, and the failure follows.
        say("]}");
    }
    let summary = shown.map_err(|error: AuditError| Failure::from(error))?;
    unfinished(&log, &summary).map_or(Ok(()), |unfinished| Err(unfinished.into()))
}

fn row(entry: &Entry) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| "-".to_owned(), printable);
    let record = &entry.record;
    let on = [&record["object"]["id"], &record["shard"], &record["job"]];
    let on = on.into_iter().find(|id| !id.is_null()).unwrap_or(&Value::Null);
    let reasons = record["reasons"].as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(" ");
    let (seq, time) = (entry.leaf.seq.to_string(), entry.time.to_string());
    let (event, outcome) = (entry.event.name(), entry.outcome.name());
    columns([&seq, &time, event, outcome, &text(&record["actor"]["sub"]), &text(on), &reasons])
}

/// Cells as wide as such cells usually are: events are printed as they come.
fn columns([seq, time, event, outcome, actor, on, reasons]: [&str; 7]) -> String {
    let line = format!("{seq:>6}  {time:27}  {event:27}  {outcome:7}  {actor:16}  {on:32}  {reasons}");
    line.trim_end().to_owned()
}

/// The text without what would steer a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::event::{Actor, Event, Node};
    use storage::audit::AuditLog;

    /// A vault's log of a denied and two done acts.
    fn log(folder: &Path) -> PathBuf {
        let path = folder.join("audit.jsonl");
        let log = AuditLog::open(&path, &[1; 32], "vault", Node::default()).unwrap();
        let mut denied = Event::new(EventName::PolicyDeny, Outcome::Refused).with("sample", "NA12878");
        denied.reasons = vec!["CONSENT_MISSING".to_owned()];
        denied.actor = Actor { sub: Some("u\u{1b}1".to_owned()), ..Actor::default() };
        let mut sealed = Event::new(EventName::ArchiveSealed, Outcome::Ok).with("samples", vec!["NA12891"]);
        sealed.object.id = Some("ab".to_owned());
        let permitted = Event::new(EventName::PolicyPermit, Outcome::Ok);
        for (second, event) in [denied, permitted, sealed].into_iter().enumerate() {
            log.append(event, Timestamp::default().plus_seconds(second as i64)).unwrap();
        }
        path
    }

    fn shown(path: &Path, filter: Filter, output: Format) -> (String, Option<Class>) {
        let args = ShowArgs { log: path.to_owned(), key: None, filter, output };
        let mut said = String::new();
        let ended = show(&args, |line| said += &format!("{line}\n"));
        (said, ended.err().map(|failure| failure.class()))
    }

    #[test]
    fn filters_choose_events() {
        let folder = tempfile::tempdir().unwrap();
        let path = log(folder.path());
        let check = |filter: Filter, expect: &[u64]| {
            let (said, _) = shown(&path, filter, Format::Json);
            let document: Value = serde_json::from_str(&said).unwrap();
            let seqs =
                document["events"].as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap());
            assert_eq!(seqs.collect::<Vec<_>>(), expect);
        };
        let text = |text: &str| Some(text.to_owned());
        check(Filter::default(), &[0, 1, 2]);
        check(Filter { event: Some("policy".parse().unwrap()), ..Filter::default() }, &[0, 1]);
        check(Filter { event: Some("policy.deny".parse().unwrap()), ..Filter::default() }, &[0]);
        check(Filter { outcome: Some(Outcome::Ok), ..Filter::default() }, &[1, 2]);
        check(Filter { sample: text("NA12878"), ..Filter::default() }, &[0]);
        check(Filter { sample: text("NA12891"), ..Filter::default() }, &[2]);
        check(Filter { object: text("ab"), ..Filter::default() }, &[2]);
        check(Filter { job: text("ab"), ..Filter::default() }, &[]);
        let second = |second| Some(Timestamp::default().plus_seconds(second));
        check(Filter { since: second(1), until: second(2), ..Filter::default() }, &[1]);
        assert!("polic".parse::<Events>().is_err() && "policy.".parse::<Events>().is_err());
    }

    #[test]
    fn a_table_shows_what_was_verified_and_steers_no_terminal() {
        let folder = tempfile::tempdir().unwrap();
        let path = log(folder.path());
        let (said, ended) = shown(folder.path(), Filter::default(), Format::Table);
        assert_eq!((said.lines().count(), ended), (4, None));
        let denied = "     0  1970-01-01T00:00:00.000000Z  policy.deny                  refused  u\u{fffd}1";
        assert!(said.lines().nth(1).unwrap().starts_with(denied), "{said}");
        assert!(said.lines().nth(1).unwrap().ends_with("  CONSENT_MISSING"));

        let damaged = std::fs::read_to_string(&path).unwrap().replacen("archive.sealed", "archive.seaLed", 1);
        std::fs::write(&path, damaged).unwrap();
        let (said, ended) = shown(&path, Filter::default(), Format::Json);
        let document: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((document["events"].as_array().unwrap().len(), ended), (2, Some(Class::Integrity)));
    }

    #[test]
    fn verify_ends_as_the_worst_log_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = log(folder.path());
        let whole = std::fs::read(&path).unwrap();
        let at = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let unfinished = at("unfinished", &whole[..whole.len() - 1]);
        let damaged = at("damaged", &whole[1..]);
        let foreign = at("foreign", b"{}\n");
        let absent = folder.path().join("absent");
        let empty = folder.path().join("empty");
        std::fs::create_dir(&empty).unwrap();
        let check = |logs: &[&Path], expect: Option<Class>| {
            let logs = logs.iter().map(|path| path.to_path_buf()).collect();
            let args = VerifyArgs { logs, key: None, expect: Vec::new(), output: Format::Quiet };
            assert_eq!(verify(&args).err().map(|failure| failure.class()), expect);
        };
        check(&[folder.path(), &path], None);
        check(&[&unfinished, &path], Some(Class::Partial));
        check(&[&damaged, &unfinished, &foreign], Some(Class::Integrity));
        check(&[&foreign], Some(Class::Input));
        check(&[&absent], Some(Class::Input));
        check(&[&empty], Some(Class::Input));
    }
}
