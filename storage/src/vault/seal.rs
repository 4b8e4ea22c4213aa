//! Seals a file: acknowledged only when every fragment, share and document was written, synced and read back.

use super::core::Lineage;
use super::hex::{Digest, ObjectId};
use super::{AuditLog, Sealer, Vault};
use jobs::event::{Actor, Tool};
use jobs::policy::{DataClass, Permit, Subject};
use jobs::time::Timestamp;
use std::collections::BTreeMap;
use std::path::Path;

/// What the caller of an act knows of it for the audit log.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// Who.
    pub actor: Actor,
    /// With what program and options.
    pub tool: Tool,
    /// For which job.
    pub job: Option<String>,
}

/// What is to be sealed, as what.
#[derive(Clone, Debug)]
pub struct SealRequest<'a> {
    /// The file.
    pub file: &'a Path,
    /// The name it is kept under.
    pub name: &'a str,
    /// Its class; the permit must be for it.
    pub class: DataClass,
    /// Security level of that class.
    pub level: u8,
    /// Whose data it is; the permit must cover each of them.
    pub subjects: &'a [Subject],
    /// Text fields of the manifest.
    pub manifest: &'a BTreeMap<String, String>,
    /// Objects it came from or belongs to.
    pub lineage: &'a [Lineage],
    /// Who seals.
    pub caller: &'a Caller,
    /// When.
    pub now: Timestamp,
}

/// A sealed file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Sealed {
    /// The object.
    pub id: ObjectId,
    /// Whether it was there already, whole, for the same samples and class; nothing was written then.
    pub already: bool,
    /// Length of the file.
    pub plaintext_bytes: u64,
    /// SHA-256 of the core.
    pub core_sha256: Digest,
}

/// Why a file was not sealed; nothing is left of it but where `Recover` says so.
#[derive(Debug, thiserror::Error)]
pub enum SealError {}

impl Vault {
    /// Seals a file under the vault's lock, after what a crash left was cleared away. `progress` is told the bytes of the file
    /// that are encoded, from time to time.
    pub fn seal(
        &self,
        sealer: &Sealer,
        permit: &Permit,
        log: &AuditLog,
        request: &SealRequest<'_>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Sealed, SealError> {
        todo!()
    }
}
