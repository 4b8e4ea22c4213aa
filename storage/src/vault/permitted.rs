//! The vault's question to a permit, the same for sealing, asking custodians and restoring.
//!
//! Invariant: nobody's data is permitted to nobody, and a permit for one class of data opens no other.

use jobs::failure::{Class, Classified};
use jobs::policy::{Action, DataClass, NotPermitted, Permit};
use jobs::time::Timestamp;

/// Refuses what the permit does not cover.
pub(super) fn permitted<'a>(
    permit: &Permit,
    action: Action,
    class: DataClass,
    samples: impl IntoIterator<Item = &'a String>,
    now: Timestamp,
) -> Result<(), PermitError> {
    if permit.class() != class {
        return Err(PermitError::Class { permitted: permit.class(), asked: class });
    }
    let mut samples = samples.into_iter().peekable();
    if samples.peek().is_none() {
        return Err(PermitError::Nobody);
    }
    Ok(samples.try_for_each(|sample| permit.check(action, sample, now))?)
}

/// The permit does not cover what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PermitError {
    /// Another act or sample, or too late.
    #[error(transparent)]
    NotPermitted(#[from] NotPermitted),
    /// It is for data of another class.
    #[error("the permit is for {permitted:?}, not for {asked:?}")]
    Class {
        /// What it is for.
        permitted: DataClass,
        /// What was asked.
        asked: DataClass,
    },
    /// Data of nobody has no permit.
    #[error("no sample is named whose data this is")]
    Nobody,
}

impl Classified for PermitError {
    fn class(&self) -> Class {
        Class::Policy
    }
}
