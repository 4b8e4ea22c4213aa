//! What a bundle carries to a place without our filesystem.
//!
//! Invariant: it names the samples of its own tasks alone; everything of them lies sealed under the bundle's key. Knows
//! no kernel and no file format: what is in a parcel is between the coordinator and the task runner.

use super::ticket::Object;
use jobs::consent::Register;
use jobs::parameters::Parameters;
use jobs::policy::{Policy, Purpose, Subject};
use jobs::site::Sites;
use scheduler::AttemptId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use storage::lease::SignedLease;

/// The name that seals a bundle document.
pub fn bundle_context(id: &str) -> String {
    format!("{id}/bundle")
}

/// The name that seals a standing.
pub fn standing_context(id: &str) -> String {
    format!("{id}/standing")
}

/// The name that seals how an attempt ended.
pub fn ended_context(id: &str, attempt: AttemptId) -> String {
    format!("{id}/{}/ended", attempt.0)
}

/// The name that seals which attempts are asked to end early.
pub fn asked_context(id: &str) -> String {
    format!("{id}/asked")
}

/// The name that seals where an attempt that was asked to end early will end.
pub fn answer_context(id: &str, attempt: AttemptId) -> String {
    format!("{id}/{}/answer", attempt.0)
}

/// The name that seals a receipt.
pub fn receipt_context(id: &str) -> String {
    format!("{id}/receipt")
}

/// The data of a carried bundle.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Carried {
    /// The reference with its seeds: the same for every bundle of a reference, kept by workers.
    pub index: Object,
    /// What decides the bytes of results.
    pub parameters: Parameters,
    /// Samples of the bundle's tasks, by their ordinal in the cohort.
    pub samples: BTreeMap<u32, CarriedSample>,
    /// The scheduler's public key, which signs leases; hexadecimal.
    pub lease_key: String,
    /// The leases and what is needed to decide again; replaced while the gate says yes, gone once it says no.
    pub standing: Link,
    /// Which attempts are asked to end early; not there before the first is.
    pub asked: Link,
    /// How often the worker looks for that, in milliseconds.
    pub look_ms: u64,
    /// Inputs and outputs by attempt.
    pub parcels: BTreeMap<u64, Parcel>,
    /// Where the sealed receipt goes.
    pub receipt: Link,
}

/// A sample as its tasks see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CarriedSample {
    /// SAM's `SM`.
    pub name: String,
    /// Whether it takes part in the joint call.
    pub joint: bool,
    /// Tells the samples of one participant from those of others, among the bundle's.
    pub participant: u32,
    /// Its lanes.
    pub lanes: Vec<CarriedLane>,
}

/// A lane as map and region tasks see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CarriedLane {
    /// `ID` of its `@RG`.
    pub read_group: String,
    /// The whole `@RG` line.
    pub header_line: String,
    /// Ordinal of its library among the sample's.
    pub library: u16,
    /// Whether its reads are pairs.
    pub paired: bool,
}

/// Inputs and output of an attempt.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parcel {
    /// A pack with what the task reads, re-sealed under the bundle's key.
    pub input: Object,
    /// Where the output goes.
    pub output: Link,
    /// Where the answer goes to whoever asks it to end early, of a task that can.
    pub answer: Option<Link>,
}

/// One object of which the worker has the right to read, and perhaps to create it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// To read it.
    pub get: String,
    /// To create it.
    pub put: Option<String>,
}

/// How a bundle stands with the policy: read by its worker when it begins, and again before each permit ends.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// A lease for every attempt that is not over.
    pub leases: BTreeMap<u64, SignedLease>,
    /// What the decision needs to be made again.
    pub knowledge: CarriedKnowledge,
}

/// An excerpt of what the programme knows: what is missing in it counts as no.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CarriedKnowledge {
    /// Consents of the bundle's participants.
    pub register: Register,
    /// Rules.
    pub policy: Policy,
    /// The site where the bundle is to be run.
    pub sites: Sites,
    /// What data is used for.
    pub purpose: Option<Purpose>,
    /// Disease studied.
    pub disease: Option<String>,
    /// Whose samples these are, by their ordinal in the cohort.
    pub subjects: BTreeMap<u32, Subject>,
}
