//! The vault: files sealed once, kept as fragments at sites and as shares of keys with custodians.

pub mod base64;
pub mod check;
pub mod core;
pub mod custodian;
pub mod description;
pub mod finding;
pub mod hex;
pub mod init;
pub mod list;
pub mod recover;
pub mod restore;
pub mod seal;

use std::path::{Path, PathBuf};

pub use self::core::{Core, Lineage, Seal};
pub use crate::audit::AuditLog;
pub use check::{CheckReport, ObjectHealth};
pub use custodian::{CustodianError, OpenedShare};
pub use description::{Custodian, Description, SiteEntry};
pub use finding::{Damage, Finding, Part, Place};
pub use hex::{Digest, ObjectId};
pub use init::{InitError, InitOptions};
pub use list::{Listing, ObjectError, ObjectInfo, ObjectSummary};
pub use recover::{RecoverError, Recovered};
pub use restore::{RestoreError, RestoreRequest, Restored};
pub use seal::{Caller, SealError, SealRequest, Sealed};

/// An open vault.
#[derive(Debug)]
pub struct Vault {
    folder: PathBuf,
    description: Description,
}

/// The unlocked right to seal: the vault's signing key and its index key. Wiped from memory when dropped.
#[derive(Debug)]
pub struct Sealer {
    _private: (),
}

impl Sealer {
    /// Opens or begins the vault's audit log (`VAULT/audit.jsonl`), signed by the sealer's Ed25519 key, which `vault.json` names.
    pub fn open_log(
        &self,
        vault: &Vault,
        node: jobs::event::Node,
    ) -> Result<AuditLog, crate::audit::AuditError> {
        todo!()
    }

    /// Keyed hash of a participant's code, as it stands in cores and in the audit log.
    pub fn participant_h(&self, participant: &str) -> Digest {
        todo!()
    }
}

/// Why a vault cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {}

/// Why the sealer's keys were not unlocked.
#[derive(Debug, thiserror::Error)]
pub enum UnlockError {}

impl Vault {
    /// Opens the vault in `folder`.
    pub fn open(folder: &Path) -> Result<Vault, OpenError> {
        todo!()
    }

    /// What it is.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Unlocks the sealer's keys.
    pub fn unlock(&self, passphrase: &str) -> Result<Sealer, UnlockError> {
        todo!()
    }
}
