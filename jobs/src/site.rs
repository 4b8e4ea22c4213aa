//! Sites: where data is processed and stored, and what each may hold.

mod document;

use crate::time::Timestamp;
pub use document::read_sites;
use std::collections::{BTreeMap, BTreeSet};

/// One place that computes or stores.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Site {
    /// Its name.
    pub id: String,
    /// Country whose law holds there (ISO 3166 alpha-2).
    pub jurisdiction: String,
    /// Highest security level of data it may hold.
    pub levels_max: u8,
    /// What it is for: `compute`, `share_holder`.
    pub roles: BTreeSet<String>,
    /// Until before when its attestation holds; `None`: it has none.
    pub attested_until: Option<Timestamp>,
    /// Who runs it.
    pub operator: String,
}

/// Sites by name.
pub type Sites = BTreeMap<String, Site>;
