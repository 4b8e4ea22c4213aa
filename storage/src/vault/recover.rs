//! Clears away what a crash left of objects that were being sealed.

use super::hex::ObjectId;
use super::seal::Caller;
use super::{AuditLog, Vault};
use jobs::time::Timestamp;

/// What became of the objects in `pending/`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Recovered {
    /// Whole, and acknowledged now.
    pub acknowledged: Vec<ObjectId>,
    /// Not whole, and removed everywhere.
    pub removed: Vec<ObjectId>,
}

/// Why what a crash left could not be cleared away; it is tried again by the next seal.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {}

impl Vault {
    /// Goes through the objects that were being sealed when a crash came: what is whole is acknowledged, anything else is removed
    /// from every site and ledger. Takes the vault's lock; every seal does the same first.
    pub fn recover(
        &self,
        log: &AuditLog,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<Recovered, RecoverError> {
        todo!()
    }
}
