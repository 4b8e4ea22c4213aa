//! Restores an object from opened shares and fragments, decoding around damage and naming it.

use super::custodian::OpenedShare;
use super::hex::{Digest, ObjectId};
use super::seal::Caller;
use super::{AuditLog, Finding, Sealer, Vault};
use jobs::policy::Permit;
use jobs::time::Timestamp;
use std::path::Path;

/// What is to be restored, to where.
#[derive(Debug)]
pub struct RestoreRequest<'a> {
    /// The object.
    pub object: ObjectId,
    /// Opened shares of its key; those that are no good are named, and others used.
    pub shares: &'a [OpenedShare],
    /// Where it shall lie; whole, or not at all.
    pub out: &'a Path,
    /// Who holds the vault's keys can compare the content with what was sealed; the encryption's own tags are compared in any case.
    pub sealer: Option<&'a Sealer>,
    /// Who restores.
    pub caller: &'a Caller,
    /// When.
    pub now: Timestamp,
}

/// A restored file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Restored {
    /// Its length.
    pub bytes: u64,
    /// BLAKE3 of it.
    pub blake3: Digest,
    /// Whether its content was compared with what was sealed, by the sealer's index key.
    pub content_compared: bool,
    /// What was decoded around or not used.
    pub findings: Vec<Finding>,
}

/// Why an object was not restored; the output is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {}

impl Vault {
    /// Restores an object. `progress` is told the bytes written.
    pub fn restore(
        &self,
        permit: &Permit,
        log: &AuditLog,
        request: &RestoreRequest<'_>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Restored, RestoreError> {
        todo!()
    }
}
