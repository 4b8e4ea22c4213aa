//! The permit: a checked consent as a value.
//!
//! Invariant: only [`super::decide`] makes one. It has no public constructor and is neither `Clone` nor serialisable, so
//! it can be neither stored nor sent; it names what it is for and ends soon.
//!
//! ```compile_fail
//! fn copied(permit: &jobs::policy::Permit) -> jobs::policy::Permit {
//!     permit.clone()
//! }
//! ```
//!
//! ```compile_fail
//! fn sent(permit: &jobs::policy::Permit) -> serde_json::Value {
//!     serde_json::to_value(permit).unwrap()
//! }
//! ```

use super::{Action, DataClass, Purpose};
use crate::failure::{Class, Classified};
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// A checked consent as a value.
#[derive(Debug, PartialEq, Eq)]
pub struct Permit {
    pub(super) action: Action,
    pub(super) class: DataClass,
    pub(super) purpose: Purpose,
    pub(super) site: String,
    pub(super) grounds: BTreeMap<String, Grounds>,
    pub(super) epoch: u64,
    pub(super) policy_sha256: String,
    pub(super) obligations: BTreeSet<String>,
    pub(super) expires: Timestamp,
}

/// On what a permit rests for one sample: what an archive keeps of the consent as it was.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Grounds {
    /// Id of the consent record.
    pub consent: String,
    /// Its version.
    pub version: u64,
    /// The form that was signed.
    pub icf: Option<String>,
    /// The item that was needed.
    pub item: String,
    /// Countries where the data may be.
    pub jurisdictions: BTreeSet<String>,
}

impl Permit {
    /// Whether the permit covers this act on this sample now.
    pub fn check(&self, action: Action, sample: &str, now: Timestamp) -> Result<(), NotPermitted> {
        if action != self.action {
            return Err(NotPermitted::Action { permitted: self.action, asked: action });
        }
        if !self.grounds.contains_key(sample) {
            return Err(NotPermitted::Sample { sample: sample.to_owned() });
        }
        if now >= self.expires {
            return Err(NotPermitted::Expired { expired: self.expires });
        }
        Ok(())
    }

    /// The act it is for.
    pub fn action(&self) -> Action {
        self.action
    }

    /// The class of data it is for.
    pub fn class(&self) -> DataClass {
        self.class
    }

    /// What the data is used for.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// The site where it holds.
    pub fn site(&self) -> &str {
        &self.site
    }

    /// On what it rests, by sample.
    pub fn grounds(&self) -> &BTreeMap<String, Grounds> {
        &self.grounds
    }

    /// The epoch of the register it rests on.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// SHA-256 of the policy it rests on, in hexadecimal.
    pub fn policy_sha256(&self) -> &str {
        &self.policy_sha256
    }

    /// What whoever uses the data must do, such as `no_publication_before=2027-01-01`.
    pub fn obligations(&self) -> &BTreeSet<String> {
        &self.obligations
    }

    /// The first moment at which it no longer holds.
    pub fn expires(&self) -> Timestamp {
        self.expires
    }
}

/// A permit does not cover what was asked of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPermitted {
    /// It is for another act.
    #[error("the permit is for {permitted}, not for {asked}")]
    Action {
        /// What it is for.
        permitted: Action,
        /// What was asked.
        asked: Action,
    },
    /// It is for other samples.
    #[error("the permit does not cover sample {sample}")]
    Sample {
        /// The sample.
        sample: String,
    },
    /// It is too old.
    #[error("the permit ended at {expired}")]
    Expired {
        /// When.
        expired: Timestamp,
    },
    /// It was asked for again, and denied.
    #[error("the permit was revoked")]
    Revoked,
}

impl Classified for NotPermitted {
    fn class(&self) -> Class {
        Class::Policy
    }
}
