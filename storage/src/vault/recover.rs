//! Clears away what a crash left of objects that were being sealed.
//!
//! Invariant: nothing is removed but what stands in `pending/` and has no valid seal at any site and no `archive.sealed`
//! in the log, and that only while every site and ledger answers. What was sealed is acknowledged, damaged or not; what
//! cannot be judged stays.

use std::collections::BTreeSet;

use jobs::event::{Event, EventName, Object, Outcome};
use jobs::failure::{Class, Classified};
use jobs::time::Timestamp;

use super::core::Seal;
use super::event::{Caller, about};
use super::finding::Damage;
use super::hex::ObjectId;
use super::{
    AuditLog, DESCRIPTION, DOCUMENT_BYTES_MAX, LockError, OBJECTS, PENDING, Vault, core_name, fragment_name,
    seal_name, share_name,
};
use crate::audit::{self, AuditError};
use crate::signed;
use crate::site::{Store, StoreError};

/// What became of the objects in `pending/`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Recovered {
    /// Sealed, and acknowledged now; what is amiss with them a check tells.
    pub acknowledged: Vec<ObjectId>,
    /// Never sealed, and removed everywhere.
    pub removed: Vec<ObjectId>,
    /// Left in `pending/`: they cannot be judged now, or are sealed and cannot be restored.
    pub left: Vec<ObjectId>,
}

impl Vault {
    /// Goes through the objects that were being sealed when a crash came: what has a seal is acknowledged, what has none is
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
        let pending = self.pending()?;
        if pending.is_empty() {
            return Ok(recovered);
        }
        // A log that does not verify tells nothing of what was acknowledged.
        let acknowledged = acknowledged(log).ok();
        for id in pending {
            let is_acknowledged = acknowledged.as_ref().map(|ids| ids.contains(&id));
            let fate = match (is_acknowledged, self.any_seal(id)) {
                (Some(true), _) => {
                    self.forget_pending(id)?;
                    &mut recovered.acknowledged
                }
                (_, Ok(Some(seal))) => match self.complete(id, &seal)? {
                    true => {
                        self.acknowledge(id, log, caller, now)?;
                        &mut recovered.acknowledged
                    }
                    false => &mut recovered.left,
                },
                (Some(false), Ok(None)) if self.all_answer() => {
                    self.remove(id, log, caller, now)?;
                    &mut recovered.removed
                }
                _ => &mut recovered.left,
            };
            fate.push(id);
        }
        Ok(recovered)
    }

    /// Whether every replica, fragment and share of an object is there and as it was sealed.
    pub(super) fn is_whole(&self, id: ObjectId) -> bool {
        let mut findings = Vec::new();
        let health = self.check_object(id, &mut findings, &mut |_| {});
        health.is_some_and(|health| health.restorable) && findings.is_empty()
    }

    /// A seal of an object that the sealer signed, from the first site that has one; fails where none has and a site does
    /// not answer.
    pub(super) fn any_seal(&self, id: ObjectId) -> Result<Option<Vec<u8>>, StoreError> {
        let is_valid = |bytes: &Vec<u8>| {
            let seal = signed::read(bytes, &self.sealer).ok().and_then(|value| Seal::of(value).ok());
            seal.is_some_and(|seal| seal.id == id)
        };
        let mut silent = None;
        for site in &self.sites {
            match site.store.get(&seal_name(id), DOCUMENT_BYTES_MAX) {
                Ok(bytes) => {
                    if let Some(seal) = bytes.filter(is_valid) {
                        return Ok(Some(seal));
                    }
                }
                Err(error) => silent = Some(error),
            }
        }
        silent.map_or(Ok(None), Err)
    }

    /// Whether every site is this vault's and every ledger is there.
    fn all_answer(&self) -> bool {
        let is_ours = |stored: Option<Vec<u8>>| stored.as_ref() == Some(&self.document);
        let epoch = self.description.key_epoch().to_string();
        self.sites.iter().all(|site| site.store.get(DESCRIPTION, DOCUMENT_BYTES_MAX).is_ok_and(is_ours))
            && self.ledgers.iter().all(|ledger| ledger.list(&epoch).is_ok())
    }

    /// Brings the seal to sites that the crash kept from getting it. Says whether the object can be restored; where a site
    /// or ledger does not answer, it counts as if it could.
    fn complete(&self, id: ObjectId, seal: &[u8]) -> Result<bool, StoreError> {
        for site in &self.sites {
            if let Ok(None) = site.store.get(&seal_name(id), DOCUMENT_BYTES_MAX) {
                site.store.put(&seal_name(id), seal)?;
            }
        }
        let mut findings = Vec::new();
        let health = self.check_object(id, &mut findings, &mut |_| {});
        let is_silent = findings.iter().any(|finding| matches!(finding.what, Damage::Unreadable(_)));
        Ok(health.is_some_and(|health| health.restorable) || is_silent || !self.all_answer())
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
        Ok(self.forget_pending(id)?)
    }

    fn forget_pending(&self, id: ObjectId) -> Result<(), StoreError> {
        self.home.remove(&format!("{PENDING}/{id}"))
    }

    /// Removes a pending object without a seal from every site and ledger, if they all answer; anything that sealing did
    /// not write is left where it is.
    pub(super) fn remove_unsealed(
        &self,
        id: ObjectId,
        log: &AuditLog,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<(), RecoverError> {
        match self.any_seal(id)? {
            None if self.all_answer() => self.remove(id, log, caller, now),
            _ => Ok(()),
        }
    }

    fn remove(
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
        let fragments = (0..self.description.fragments() as u8).map(|index| fragment_name(id, index));
        let names: Vec<String> = [seal_name(id), core_name(id)].into_iter().chain(fragments).collect();
        for site in &self.sites {
            names.iter().try_for_each(|name| site.store.remove(name))?;
            site.store.remove_folder(&format!("{OBJECTS}/{id}"))?;
        }
        for ledger in &self.ledgers {
            ledger.remove(&share_name(self.description.key_epoch(), id))?;
        }
        Ok(self.forget_pending(id)?)
    }
}

/// Objects that the log says are sealed.
fn acknowledged(log: &AuditLog) -> Result<BTreeSet<ObjectId>, AuditError> {
    let mut ids = BTreeSet::new();
    audit::read(log.path(), Some(&log.key()), &[], |entry| {
        if entry.event == EventName::ArchiveSealed {
            let id: Option<ObjectId> =
                entry.record.get("object").and_then(|object| object["id"].as_str()?.parse().ok());
            ids.extend(id);
        }
    })?;
    Ok(ids)
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
