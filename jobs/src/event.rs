//! Events of the audit log: their names, their OCSF types, and the fields that each of them has.
//!
//! Invariant: every record has every common field, `null` where there is nothing to say, and no field of a record is a
//! secret of the command line. A participant stands in it as a keyed hash only, which the caller brings. Knows neither
//! the log's chain nor its signatures.

mod mask;
mod name;
mod shape;

pub use name::{EventName, UnknownEvent};
pub use shape::{ShapeError, check};

use crate::policy::{self, DataClass};
use crate::time::Timestamp;
use serde_json::{Map, Value};

/// How an act ended, or that it may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Done, or about to be done.
    Ok,
    /// Forbidden, and therefore not done.
    Refused,
    /// Allowed, and did not succeed.
    Failed,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Outcome; 3] = [Outcome::Ok, Outcome::Refused, Outcome::Failed];

    /// As records spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
        }
    }
}

/// Who acts, and how that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Actor {
    /// The account.
    pub sub: Option<String>,
    /// The organisation.
    pub org: Option<String>,
    /// As what.
    pub role: Option<String>,
    /// The methods by which the account was proved, such as `pwd otp`.
    pub auth: Option<String>,
    /// Id of the session.
    pub session: Option<String>,
    /// The address it came from.
    pub ip: Option<String>,
}

impl From<&policy::Actor> for Actor {
    fn from(actor: &policy::Actor) -> Self {
        let some = |text: &str| Some(text.to_owned());
        Actor { sub: some(&actor.sub), org: some(&actor.org), role: some(&actor.role), ..Actor::default() }
    }
}

/// Where it happens.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Node {
    /// The site.
    pub site: Option<String>,
    /// The worker there.
    pub worker: Option<String>,
    /// SHA-256 of the public key of its certificate, in hexadecimal.
    pub spki: Option<String>,
}

/// To what.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Object {
    /// Its id.
    pub id: Option<String>,
    /// Class of the data.
    pub class: Option<DataClass>,
    /// Security level.
    pub level: Option<u8>,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: Option<String>,
}

/// With which program and options.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Tool {
    name: Option<String>,
    version: Option<String>,
    args: Option<Vec<String>>,
}

impl Tool {
    /// A program and its arguments, of which the secrets are masked here: values of options named after a passphrase, a
    /// password, a token, a secret or a key, and passwords in URLs. Names of files are kept.
    pub fn new<'a>(name: &str, version: &str, args: impl IntoIterator<Item = &'a str>) -> Self {
        Tool {
            name: Some(name.to_owned()),
            version: Some(version.to_owned()),
            args: Some(mask::masked(args)),
        }
    }

    /// The arguments as they are recorded.
    pub fn args(&self) -> Option<&[String]> {
        self.args.as_deref()
    }
}

/// One event, but for what the log adds. Made as
/// `Event { job: Some(id), ..Event::new(EventName::JobSubmitted, Outcome::Ok) }`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Event {
    /// What happens.
    pub event: EventName,
    /// OCSF's type: of an event that has several (an export may be a download, 600602, or a share, 600612) the usual
    /// one, unless said otherwise.
    pub type_uid: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// Who.
    pub actor: Actor,
    /// To what.
    pub object: Object,
    /// Keyed hash of the participant's code, in hexadecimal; never the code.
    pub participant_h: Option<String>,
    /// Epoch of the consent register.
    pub consent_epoch: Option<u64>,
    /// Id of the grant.
    pub grant: Option<String>,
    /// Id of the job.
    pub job: Option<String>,
    /// The shard of the job.
    pub shard: Option<String>,
    /// Attempt at it, from 1.
    pub attempt: Option<u32>,
    /// With what.
    pub tool: Tool,
    /// Codes of the reasons against.
    pub reasons: Vec<String>,
    /// SHA-256 of the policy, in hexadecimal.
    pub policy_sha256: Option<String>,
    /// Bytes concerned.
    pub bytes: Option<u64>,
    /// Records concerned.
    pub records: Option<u64>,
    /// What it costs.
    pub cost_microyen: Option<u64>,
    /// W3C trace id.
    pub trace_id: Option<String>,
    /// Fields that only some events have. A name of a common field does not get in.
    #[serde(skip)]
    pub extra: Map<String, Value>,
}

impl Event {
    /// An event about which nothing is known yet.
    pub fn new(event: EventName, outcome: Outcome) -> Self {
        Event {
            event,
            type_uid: event.type_uid(),
            outcome,
            actor: Actor::default(),
            object: Object::default(),
            participant_h: None,
            consent_epoch: None,
            grant: None,
            job: None,
            shard: None,
            attempt: None,
            tool: Tool::default(),
            reasons: Vec::new(),
            policy_sha256: None,
            bytes: None,
            records: None,
            cost_microyen: None,
            trace_id: None,
            extra: Map::new(),
        }
    }

    /// With one more field. The audit log keeps whole numbers up to 2^53 and no others.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(name.to_owned(), value.into());
        self
    }

    /// The record of this event at its place in a log. `args_sha256` is that of the arguments, `null` without a tool.
    pub fn record(
        &self,
        seq: u64,
        time: Timestamp,
        node: &Node,
        args_sha256: Option<String>,
    ) -> Map<String, Value> {
        let plain = |value: Result<Value, serde_json::Error>| value.expect("plain data");
        let Value::Object(mut record) = plain(serde_json::to_value(self)) else { unreachable!("a struct") };
        record.insert("seq".to_owned(), seq.into());
        record.insert("time".to_owned(), time.to_string().into());
        record.insert("node".to_owned(), plain(serde_json::to_value(node)));
        record["tool"]["args_sha256"] = args_sha256.into();
        for (name, value) in self.event.constants() {
            record.insert(name.to_owned(), value);
        }
        for (name, value) in &self.extra {
            record.entry(name.clone()).or_insert_with(|| value.clone());
        }
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::canonical;

    #[test]
    fn a_record_of_little_has_every_field() {
        let event = Event::new(EventName::PolicyDeny, Outcome::Refused);
        let record = event.record(3, Timestamp::default(), &Node::default(), None);
        assert_eq!(check(&record), Ok(EventName::PolicyDeny));
        let expect = "{\"action_id\":2,\
            \"actor\":{\"auth\":null,\"ip\":null,\"org\":null,\"role\":null,\"session\":null,\"sub\":null},\
            \"attempt\":null,\"bytes\":null,\"consent_epoch\":null,\"cost_microyen\":null,\
            \"event\":\"policy.deny\",\"grant\":null,\"job\":null,\
            \"node\":{\"site\":null,\"spki\":null,\"worker\":null},\
            \"object\":{\"class\":null,\"id\":null,\"level\":null,\"sha256\":null},\
            \"outcome\":\"refused\",\"participant_h\":null,\"policy_sha256\":null,\"reasons\":[],\
            \"records\":null,\"seq\":3,\"shard\":null,\"time\":\"1970-01-01T00:00:00.000000Z\",\
            \"tool\":{\"args\":null,\"args_sha256\":null,\"name\":null,\"version\":null},\
            \"trace_id\":null,\"type_uid\":600302}";
        assert_eq!(canonical(&Value::Object(record)).unwrap(), expect);
    }

    #[test]
    fn a_record_of_much_keeps_it_and_what_is_extra_takes_no_place() {
        let actor = policy::Actor { sub: "u1".into(), org: "o1".into(), role: "operator".into() };
        let event = Event {
            actor: Actor { ip: Some("192.0.2.1".to_owned()), ..(&actor).into() },
            object: Object { class: Some(DataClass::Cram), level: Some(4), ..Object::default() },
            tool: Tool::new("wakachi", "0.1.0", ["vault", "seal", "--token=x"]),
            reasons: vec!["CONSENT_ITEM:genome".to_owned()],
            attempt: Some(1),
            ..Event::new(EventName::ArchiveSealed, Outcome::Ok)
        };
        let event =
            event.with("manifest_root", "ab").with("seq", 9).with("node", 9).with("outcome", "failed");
        let record = event.record(0, Timestamp::default(), &Node::default(), Some("cd".to_owned()));
        assert_eq!(check(&record), Ok(EventName::ArchiveSealed));
        let expect = serde_json::json!({
            "actor": {"sub": "u1", "org": "o1", "role": "operator", "auth": null, "session": null, "ip": "192.0.2.1"},
            "object": {"id": null, "class": "CRAM", "level": 4, "sha256": null},
            "tool": {"name": "wakachi", "version": "0.1.0", "args": ["vault", "seal", "--token=***"], "args_sha256": "cd"},
            "node": {"site": null, "worker": null, "spki": null},
            "reasons": ["CONSENT_ITEM:genome"], "attempt": 1, "manifest_root": "ab", "seq": 0, "outcome": "ok",
        });
        for (field, value) in expect.as_object().unwrap() {
            assert_eq!(&record[field], value, "{field}");
        }
    }
}
