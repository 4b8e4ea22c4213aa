//! A refusal with every reason.
//!
//! Invariant: a denial has at least one reason. It names samples and codes, never a participant.

use super::Reason;
use crate::failure::{Class, Classified};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Why not: every reason, those of the site and the question first, then by sample.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Denial {
    /// Reasons that hold for all samples.
    pub general: BTreeSet<Reason>,
    /// Reasons of single samples; a sample without any is not in it.
    pub samples: BTreeMap<String, BTreeSet<Reason>>,
}

impl Denial {
    /// Whether there is any reason against this sample.
    pub fn is_denied_for(&self, sample: &str) -> bool {
        !self.general.is_empty() || self.samples.contains_key(sample)
    }

    /// Every reason against this sample, those that hold for all among them.
    pub fn reasons_for(&self, sample: &str) -> BTreeSet<&Reason> {
        self.general.iter().chain(self.samples.get(sample).into_iter().flatten()).collect()
    }

    /// Every reason there is, whoever it is about.
    pub fn reasons(&self) -> BTreeSet<&Reason> {
        self.general.iter().chain(self.samples.values().flatten()).collect()
    }

    fn rows(&self) -> impl Iterator<Item = (&str, &Reason)> {
        let general = self.general.iter().map(|reason| ("(all)", reason));
        general.chain(
            self.samples
                .iter()
                .flat_map(|(sample, reasons)| reasons.iter().map(move |reason| (sample.as_str(), reason))),
        )
    }
}

impl std::error::Error for Denial {}

impl Classified for Denial {
    fn class(&self) -> Class {
        Class::Policy
    }

    fn hint(&self) -> Option<String> {
        Some("wakachi policy explain COHORT.toml says what would help".to_owned())
    }
}

/// A table: sample, reason, error, what would help; `(all)` is every sample.
impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |of: fn((&str, &Reason)) -> usize| self.rows().map(of).max().unwrap_or(0);
        let sample_width = width(|(sample, _)| sample.chars().count());
        let reason_width = width(|(_, reason)| reason.code().chars().count());
        let error_width = width(|(_, reason)| reason.error_code().len());
        f.write_str("denied by the policy")?;
        for (sample, reason) in self.rows() {
            let (error, helps) = (reason.error_code(), reason.helps());
            write!(f, "\n  {sample:sample_width$}  {reason:reason_width$}  {error:error_width$}  {helps}")?;
        }
        Ok(())
    }
}
