//! What the vault writes into the audit log.
//!
//! Invariant: an event names the object, its class, its people by keyed hash and the policy as they were at sealing;
//! never a participant's code, a key or the digest of a plaintext.

use jobs::event::{Actor, Event, EventName, Object, Outcome, Tool};

use super::core::Core;
use super::hex::Digest;

/// What the caller of an act knows of it for the audit log.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// Who.
    pub actor: Actor,
    /// With what program and options.
    pub tool: Tool,
    /// For which job.
    pub job: Option<String>,
}

impl Caller {
    /// An event of this caller, about nothing yet.
    pub(super) fn event(&self, name: EventName, outcome: Outcome) -> Event {
        Event {
            actor: self.actor.clone(),
            tool: self.tool.clone(),
            job: self.job.clone(),
            ..Event::new(name, outcome)
        }
    }
}

/// Most people whom an event names one by one; a line of the log has an end. The core names them all, and its hash stands
/// in the event.
const PEOPLE_MAX: usize = 10_000;

/// An event about an object.
pub(super) fn about(
    name: EventName,
    outcome: Outcome,
    caller: &Caller,
    core: &Core,
    core_sha256: &Digest,
) -> Event {
    let people = core.governance.samples.values();
    let people: Vec<String> = people.map(|sample| sample.participant_h.to_string()).collect();
    let event = Event {
        object: Object {
            id: Some(core.id.to_string()),
            class: Some(core.class),
            level: Some(core.level),
            sha256: None,
        },
        consent_epoch: Some(core.governance.consent_epoch),
        policy_sha256: Some(core.governance.policy_sha256.clone()),
        ..caller.event(name, outcome)
    };
    let event = event.with("core_sha256", core_sha256.to_string());
    match &people[..] {
        [person] => Event { participant_h: Some(person.clone()), ..event },
        [..] if people.len() > PEOPLE_MAX => event.with("participants", people.len()),
        [..] => event.with("participants_h", people),
    }
}
