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
        let row = |sample: &str, reason: &Reason| {
            [format!("  {sample}"), reason.to_string(), reason.error_code().to_owned(), reason.helps()]
        };
        let general = self.general.iter().map(|reason| row("(all)", reason));
        let samples = self.samples.iter();
        let own = samples.flat_map(|(sample, reasons)| reasons.iter().map(move |reason| row(sample, reason)));
        write!(f, "denied by the policy\n{}", aligned(&general.chain(own).collect::<Vec<_>>()))
    }
}

/// Rows with their columns under each other.
pub(super) fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
