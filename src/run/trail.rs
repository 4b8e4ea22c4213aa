//! The job's audit log: what the gate decided and what was done under it, written before it is done.
//!
//! Invariant: a participant stands in it as a keyed hash only; the key is the job's own. A log that lost its end, its key
//! or itself is noticed: the journal knows an event that it must hold.

use crate::gate::Gate;
use crate::output::note;
use jobs::event::{self, Event, EventName, Node, Object, Outcome, Tool};
use jobs::failure::{Class, Classified, Failure};
use jobs::policy::{Action, DataClass, Permit, Reason, Subject};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use storage::audit::{self, AuditError, AuditLog, Leaf, participant_hash};
use storage::key::JOB_KEY;
use storage::{DiskError, Journal, KeyFolder};
use workers::access::now;
use zeroize::Zeroizing;

/// Name of the journal's value that holds an event the log must hold.
const KNOWN: &str = "audit";

/// Where the events of a process go.
enum Sink {
    /// Into the log.
    Log(Box<AuditLog>),
    /// To who writes the log; events that were sent survive a crash once it returns.
    Remote(Box<dyn Fn(Vec<u8>) -> Result<(), Failure> + Send + Sync>),
}

/// An open log, and what all events of this process have in common.
pub struct Trail {
    sink: Sink,
    participant_key: Zeroizing<[u8; 32]>,
    job: String,
    caller: event::Actor,
    tool: Tool,
    policy_sha256: String,
}

/// A job cannot go on with its log.
#[derive(Debug, thiserror::Error)]
enum TrailError {
    /// The log cannot be read or written, or is not what was written.
    #[error(transparent)]
    Log(#[from] AuditError),
    /// A worker sent what are no events.
    #[error("a worker sent audit events in no known form")]
    Foreign,
    /// It cannot go on without the key that signed it.
    #[error("{} is gone, which signs {}", key.display(), log.display())]
    KeyGone { key: PathBuf, log: PathBuf },
}

impl Classified for TrailError {
    fn class(&self) -> Class {
        match self {
            // Nobody but the job writes there.
            TrailError::Log(AuditError::NotALog { .. }) => Class::Integrity,
            TrailError::Log(error) => error.class(),
            TrailError::Foreign => Class::Remote,
            TrailError::KeyGone { .. } => Class::Partial,
        }
    }

    fn hint(&self) -> Option<String> {
        match (self, self.class()) {
            (_, Class::Integrity | Class::Partial) => {
                Some("keep a copy of it for the inquiry, then give the same command with --repair".to_owned())
            }
            (TrailError::Log(error), _) => error.hint(),
            (TrailError::Foreign, _) => Some(
                "nothing of what that worker made counts; look at its machine and its program".to_owned(),
            ),
            (TrailError::KeyGone { .. }, _) => None,
        }
    }
}

impl Trail {
    /// Opens the log of the job called `job` in its scratch, with keys of the job. To `repair` a damaged one it is put
    /// aside, and a new one begun.
    pub fn open(
        scratch: &Path,
        keys: &KeyFolder,
        job: &str,
        gate: &Gate,
        repair: bool,
    ) -> Result<Self, Failure> {
        let path = log_path(scratch);
        let key = keys.path(JOB_KEY)?;
        if repair {
            keys.forget_damaged([JOB_KEY].into_iter())?;
        } else if path.exists() && !key.exists() {
            return Err(TrailError::KeyGone { key, log: path }.into());
        }
        let seed = keys.job_secret("audit log")?;
        let open = || {
            let node = Node { site: Some(gate.site().to_owned()), ..Node::default() };
            AuditLog::open(&path, &seed, job, node).map_err(TrailError::from)
        };
        let log = match open() {
            Err(error) if repair && error.class() == Class::Integrity => {
                let aside = put_aside(&path)?;
                note(&format!("{error}; it is kept as {}, and a new log begun", aside.display()));
                open()?
            }
            opened => opened?,
        };
        Trail::to(Sink::Log(Box::new(log)), keys, job, gate)
    }

    /// For a worker that does not write the log itself: `send` gives events to who does, as [`Trail::take`] reads them,
    /// and returns when they are written.
    pub fn remote(
        send: impl Fn(Vec<u8>) -> Result<(), Failure> + Send + Sync + 'static,
        keys: &KeyFolder,
        job: &str,
        gate: &Gate,
    ) -> Result<Self, Failure> {
        Trail::to(Sink::Remote(Box::new(send)), keys, job, gate)
    }

    fn to(sink: Sink, keys: &KeyFolder, job: &str, gate: &Gate) -> Result<Self, Failure> {
        Ok(Trail {
            sink,
            participant_key: keys.job_secret("participants")?,
            job: job.to_owned(),
            caller: event::Actor {
                auth: Some("os".to_owned()),
                session: Some(std::process::id().to_string()),
                ..gate.actor().into()
            },
            tool: tool(),
            policy_sha256: gate.policy().sha256.clone(),
        })
    }

    /// Holds the log against the event that the journal knows: what was cut off after a whole line, or begun anew, does
    /// not show it itself. To `repair` that is only said.
    pub fn check(&self, journal: &Journal, repair: bool) -> Result<(), Failure> {
        let Sink::Log(log) = &self.sink else { return Ok(()) };
        let known = journal.value(KNOWN)?.and_then(|leaf| String::from_utf8(leaf).ok()?.parse::<Leaf>().ok());
        if let Some(known) = known {
            match audit::verify_with(log.path(), Some(&log.key()), &[known]) {
                Err(error) if repair && matches!(error.class(), Class::Integrity | Class::Partial) => {
                    note(&format!("{error}; going on with those that are there"));
                }
                verified => drop(verified.map_err(TrailError::from)?),
            }
        }
        self.remember(journal)
    }

    /// Tells the journal which event is the last one.
    pub fn remember(&self, journal: &Journal) -> Result<(), Failure> {
        if let Sink::Log(log) = &self.sink
            && let Some(last) = log.last()
        {
            journal.put_value(KNOWN, last.to_string().as_bytes())?;
        }
        Ok(())
    }

    /// An event of this job, to be filled in.
    pub fn event(&self, name: EventName, outcome: Outcome) -> Event {
        Event {
            actor: self.caller.clone(),
            tool: self.tool.clone(),
            job: Some(self.job.clone()),
            policy_sha256: Some(self.policy_sha256.clone()),
            ..Event::new(name, outcome)
        }
    }

    /// Writes an event; when this returns, it survives a crash.
    pub fn write(&self, event: Event) -> Result<(), Failure> {
        self.write_many(&[event])
    }

    /// Writes several events at the price of one.
    pub fn write_many(&self, events: &[Event]) -> Result<(), Failure> {
        match &self.sink {
            _ if events.is_empty() => Ok(()),
            Sink::Log(log) => Ok(log.append_many(events, now()).map(drop)?),
            Sink::Remote(send) => {
                let sent: Vec<_> = events.iter().map(|event| (event, &event.extra)).collect();
                send(serde_json::to_vec(&sent).expect("plain data always prints"))
            }
        }
    }

    /// Writes several events, which survive a crash of the machine once [`Trail::write`] was called after.
    pub fn note_many(&self, events: &[Event]) -> Result<(), Failure> {
        match &self.sink {
            Sink::Log(log) => Ok(log.note_many(events, now()).map(drop)?),
            Sink::Remote(_) => self.write_many(events),
        }
    }

    /// Writes the events of a remote worker. An error of class [`Class::Remote`]: these are none, and the log goes on.
    pub fn take(&self, sent: &[u8]) -> Result<(), Failure> {
        let sent: Vec<(Event, serde_json::Map<_, _>)> =
            serde_json::from_slice(sent).map_err(|_| TrailError::Foreign)?;
        let events: Vec<Event> = sent.into_iter().map(|(event, extra)| Event { extra, ..event }).collect();
        self.write_many(&events).map_err(|failure| match failure.class() {
            // An event that cannot stand in a log; of our own that is our mistake.
            Class::Internal => TrailError::Foreign.into(),
            _ => failure,
        })
    }

    /// Writes what the gate said of one sample; `permit` is the one it is in, if any.
    pub fn decided(
        &self,
        (action, class): (Action, DataClass),
        subject: &Subject,
        epoch: u64,
        reasons: &BTreeSet<Reason>,
        permit: Option<&Permit>,
    ) -> Result<(), Failure> {
        let (name, outcome) = match reasons.is_empty() {
            true => (EventName::PolicyPermit, Outcome::Ok),
            false => (EventName::PolicyDeny, Outcome::Refused),
        };
        let event = Event {
            consent_epoch: Some(epoch),
            reasons: reasons.iter().map(ToString::to_string).collect(),
            object: Object { class: Some(class), ..Object::default() },
            ..self.event(name, outcome)
        };
        let event = self.about(event, std::slice::from_ref(subject)).with("action", action.name());
        self.write(match permit {
            Some(permit) => event.with("obligations", obligations(permit)),
            None => event,
        })
    }

    /// Says in an event whose data it is about: one sample by `sample` and `participant_h`, several by `samples` and
    /// `participants_h`.
    pub fn about(&self, event: Event, subjects: &[Subject]) -> Event {
        let hash = |subject: &Subject| participant_hash(&self.participant_key, &subject.participant);
        let people: BTreeSet<String> = subjects.iter().map(hash).collect();
        let samples: Vec<String> = subjects.iter().map(|subject| subject.sample.clone()).collect();
        let event = match &samples[..] {
            [sample] => event.with("sample", sample.as_str()),
            _ => event.with("samples", samples),
        };
        match people.len() {
            1 => Event { participant_h: people.into_iter().next(), ..event },
            _ => event.with("participants_h", people.into_iter().collect::<Vec<_>>()),
        }
    }

    /// Who acts, for logs of others.
    pub fn caller(&self) -> (event::Actor, Tool) {
        (self.caller.clone(), self.tool.clone())
    }
}

/// Where the log of a job lies, in its scratch.
pub fn log_path(scratch: &Path) -> PathBuf {
    scratch.join("audit.jsonl")
}

/// What a permit obliges to, as events list it.
pub fn obligations(permit: &Permit) -> Vec<String> {
    permit.obligations().iter().cloned().collect()
}

/// Gives a damaged log a name of its own beside the place where the next one goes.
fn put_aside(path: &Path) -> Result<PathBuf, DiskError> {
    let aside = (1u32..).map(|number| path.with_file_name(format!("audit.damaged-{number}.jsonl")));
    let aside = aside.into_iter().find(|aside| !aside.exists()).expect("numbers do not end");
    std::fs::rename(path, &aside).map_err(DiskError::on("rename", path))?;
    Ok(aside)
}

/// This program with its arguments.
pub fn tool() -> Tool {
    let args: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    Tool::new("wakachi", env!("CARGO_PKG_VERSION"), args.iter().map(String::as_str))
}
