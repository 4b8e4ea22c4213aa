//! The policy check: who may do what with whose data, for which purpose, where and when.
//!
//! Invariant: [`decide`] is the one door. It is pure, it collects every reason against, and what is missing counts as no. A
//! [`Permit`] comes out of it and from nowhere else: it can be neither stored nor sent nor copied, so whoever holds one
//! has asked, here and lately.

pub mod consent;
mod decide;
mod denial;
pub mod document;
pub mod duo;
pub mod explain;
mod permit;
pub mod placement;
pub mod reason;
mod word;

pub use decide::decide;
pub use denial::Denial;
pub use permit::{Grounds, NotPermitted, Permit};
pub use reason::Reason;
pub use word::{Action, DataClass, Purpose, WordError};

use crate::consent::Register;
use crate::site::Sites;
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// What to do with a sample that is denied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDenied {
    /// Refuse the whole cohort.
    #[default]
    Refuse,
    /// Go on without the sample, and say so.
    Exclude,
}

/// The programme's policy (`policy.toml`).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Policy {
    /// Its version.
    pub version: String,
    /// SHA-256 of the file, in hexadecimal; of nothing for the built-in one.
    pub sha256: String,
    /// Home countries: consent need not name them.
    pub default_jurisdictions: BTreeSet<String>,
    /// A register confirmed longer ago is stale.
    pub consent_max_age_hours: u32,
    /// How long a lease holds.
    pub lease_ttl_seconds: u32,
    /// What happens to a denied sample where the cohort does not say.
    pub on_denied_sample: OnDenied,
    /// Security level of each class; a class that is missing may go nowhere.
    pub levels: BTreeMap<DataClass, u8>,
}

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Actor {
    /// The account.
    pub sub: String,
    /// The organisation.
    pub org: String,
    /// As what.
    pub role: String,
}

/// One sample and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Subject {
    /// SAM's `SM`.
    pub sample: String,
    /// Code of the person.
    pub participant: String,
}

/// A question to the policy.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// What is to be done.
    pub action: Action,
    /// By whom.
    pub actor: &'a Actor,
    /// With whose data; nobody's data needs no permit and gets none.
    pub subjects: &'a [Subject],
    /// What for; `None`: nobody said.
    pub purpose: Option<Purpose>,
    /// Disease studied, as a MONDO id.
    pub disease: Option<&'a str>,
    /// Class of the data.
    pub class: DataClass,
    /// At which site.
    pub site: &'a str,
    /// When.
    pub now: Timestamp,
}

/// What the programme knows when a question is asked.
#[derive(Clone, Copy, Debug)]
pub struct Knowledge<'a> {
    /// Consents.
    pub register: &'a Register,
    /// Rules.
    pub policy: &'a Policy,
    /// Places.
    pub sites: &'a Sites,
}
