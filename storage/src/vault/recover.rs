//! Clears away what a crash left of objects that were being sealed.
//!
//! Invariant: nothing is removed but what stands in `pending/`; an object leaves it only when it is whole everywhere, or
//! gone everywhere. Where a site or ledger does not answer, it stays.

use jobs::event::{Event, EventName, Object, Outcome};
use jobs::failure::{Class, Classified};
use jobs::time::Timestamp;

use super::event::{Caller, about};
use super::hex::ObjectId;
use super::{AuditLog, LockError, OBJECTS, PENDING, Vault, share_name};
use crate::audit::AuditError;
use crate::site::{Store, StoreError};

/// What became of the objects in `pending/`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Recovered {
    /// Whole, and acknowledged now.
    pub acknowledged: Vec<ObjectId>,
    /// Not whole, and removed everywhere.
    pub removed: Vec<ObjectId>,
}

impl Vault {
    /// Goes through the objects that were being sealed when a crash came: what is whole is acknowledged, anything else is
    /// removed from every site and ledger. Takes the vault's lock; every seal does the same first.
    pub fn recover(
        &self,
        log: &AuditLog,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<Recovered, RecoverError> {
        let _lock = self.lock()?;
        self.recover_locked(log, caller, now)
    }

    pub(super) fn recover_locked(
        &self,
        log: &AuditLog,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<Recovered, RecoverError> {
        let mut recovered = Recovered::default();
        for id in self.pending()? {
            match self.is_whole(id) {
                true => {
                    self.acknowledge(id, log, caller, now)?;
                    recovered.acknowledged.push(id);
                }
                false => {
                    self.remove(id, log, caller, now)?;
                    recovered.removed.push(id);
                }
            }
        }
        Ok(recovered)
    }

    /// Whether every replica, fragment and share of an object is there and as it was sealed.
    pub(super) fn is_whole(&self, id: ObjectId) -> bool {
        let mut findings = Vec::new();
        self.check_object(id, &mut findings, &mut |_| {}).restorable && findings.is_empty()
    }

    /// Says in the log that an object is sealed, then takes it out of `pending/`.
    pub(super) fn acknowledge(
        &self,
        id: ObjectId,
        log: &AuditLog,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<(), RecoverError> {
        if let Ok(object) = self.object(id, &mut Vec::new()) {
            let holders = object.seal.fragments.iter().map(|entry| entry.site.clone());
            let event =
                about(EventName::ArchiveSealed, Outcome::Ok, caller, &object.core, &object.core_sha256)
                    .with("k", object.code.k())
                    .with("n", object.code.k() + object.code.m())
                    .with("holders", holders.collect::<Vec<_>>());
            log.append(event, now)?;
        }
        Ok(self.home.remove(&format!("{PENDING}/{id}"))?)
    }

    /// Removes a pending object from every site and ledger, seals first: without one it does not exist.
    pub(super) fn remove(
        &self,
        id: ObjectId,
        log: &AuditLog,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<(), RecoverError> {
        let event = Event {
            object: Object { id: Some(id.to_string()), ..Object::default() },
            ..caller.event(EventName::ObjectDelete, Outcome::Ok)
        };
        log.append(event.with("why", "never acknowledged"), now)?;
        for site in &self.sites {
            site.store.remove(&super::seal_name(id))?;
        }
        for site in &self.sites {
            site.store.remove_folder(&format!("{OBJECTS}/{id}"))?;
        }
        for ledger in &self.ledgers {
            ledger.remove(&share_name(self.description.key_epoch(), id))?;
        }
        Ok(self.home.remove(&format!("{PENDING}/{id}"))?)
    }
}

/// Why what a crash left could not be cleared away; the next seal tries again.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The vault is in use.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A site, ledger or the vault's folder refused.
    #[error("an interrupted object is not cleared away")]
    Store(#[from] StoreError),
    /// The audit log took no event.
    #[error("an interrupted object is not acknowledged")]
    Audit(#[from] AuditError),
}

impl Classified for RecoverError {
    fn class(&self) -> Class {
        match self {
            RecoverError::Lock(error) => error.class(),
            RecoverError::Store(error) => error.class(),
            RecoverError::Audit(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            RecoverError::Lock(error) => error.hint(),
            RecoverError::Store(error) => error.hint(),
            RecoverError::Audit(error) => error.hint(),
        }
    }
}
