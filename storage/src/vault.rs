//! The vault: files sealed once, kept as fragments at sites and, half of each key, as shares with custodians. Every
//! byte it writes stands in `DESIGN.md` beside this crate.
//!
//! Invariant: an object counts when it was acknowledged, and what is acknowledged was written, synced and read back
//! everywhere. What is read is believed only after a signature or a hash says so; whatever does not agree is a
//! [`Finding`] that names its place, and never an output. A data key lies in memory only.

mod base64;
mod check;
mod core;
pub mod custodian;
mod description;
mod event;
mod finding;
mod fragment;
mod hex;
mod init;
mod line;
mod list;
mod object;
mod permitted;
mod recover;
mod release;
mod restore;
mod seal;
mod sealer;
mod share;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use jobs::failure::{Class, Classified};

use crate::disk::DiskError;
use crate::lock::{self, Lock};
use crate::signed::{self, SignedError};
use crate::signing::VerifyingKey;
use crate::site::file::open_regular;
use crate::site::{self, Device, FileStore, RealDevice, Store, StoreError};

pub use self::base64::Base64;
pub use self::core::{
    AuditPosition, Core, Encryption, Erasure, FragmentEntry, Governance, KeyShareEntry, Lineage,
    SampleGovernance, Seal, ShareHolder, Sharing,
};
pub use crate::audit::AuditLog;
pub use check::{CheckReport, ObjectHealth};
pub use custodian::{CustodianError, OpenedShare};
pub use description::{Custodian, Description, PublicKeys, SiteEntry};
pub use event::Caller;
pub use finding::{Damage, Finding, Part, Place};
pub use hex::{Digest, Hex, HexError, ObjectId};
pub use init::{InitError, InitOptions};
pub use list::{Listing, ObjectInfo, ObjectSummary};
pub use object::ObjectError;
pub use permitted::PermitError;
pub use recover::{RecoverError, Recovered};
pub use restore::{RestoreError, RestoreRequest, Restored};
pub use seal::{FileDigest, SealError, SealRequest, Sealed};
pub use sealer::{Sealer, UnlockError};

/// Longest signed document that is read or written, in bytes: the core of some 25,000 samples.
pub const DOCUMENT_BYTES_MAX: u64 = 1 << 23;

/// Longest unsigned line (wrapped share, opened share, release), and longest document that people hand over, in bytes; they
/// have some 2,000 to 10,000.
const LINE_BYTES_MAX: u64 = 1 << 16;

const DESCRIPTION: &str = "vault.json";
const SEALER_KEY: &str = "vault.key";
const PENDING: &str = "pending";
const OBJECTS: &str = "objects";
const AUDIT_LOG: &str = "audit.jsonl";

/// The program as documents name it.
const PROGRAM: &str = concat!("wakachi ", env!("CARGO_PKG_VERSION"));

/// An open vault.
#[derive(Debug)]
pub struct Vault {
    folder: PathBuf,
    /// The vault's own folder as a store: description and pending objects.
    home: FileStore,
    description: Description,
    /// The bytes of the description, which every site repeats.
    document: Vec<u8>,
    sealer: VerifyingKey,
    sites: Vec<SiteStore>,
    /// By custodian, in the order of their indexes.
    ledgers: Vec<Box<dyn Store>>,
    /// Cores that were read and verified: objects never change.
    cores: Mutex<BTreeMap<ObjectId, Arc<Core>>>,
}

/// A site with its name.
#[derive(Debug)]
struct SiteStore {
    name: String,
    store: Box<dyn Store>,
}

impl Vault {
    /// Opens the vault in `folder`.
    pub fn open(folder: &Path) -> Result<Vault, OpenError> {
        Vault::open_on(folder, Arc::new(RealDevice))
    }

    /// Like [`Vault::open`]; `device` carries out every change of files that sealing and recovering make.
    pub fn open_on(folder: &Path, device: Arc<dyn Device>) -> Result<Vault, OpenError> {
        let home = FileStore::new(folder, Arc::clone(&device));
        let absent = || OpenError::NoVault { folder: folder.to_owned() };
        let document = match home.get(DESCRIPTION, DOCUMENT_BYTES_MAX) {
            Err(StoreError::Gone { .. }) => return Err(absent()),
            read => read?.ok_or_else(absent)?,
        };
        let path = home.show(DESCRIPTION);
        let read = signed::read_self_signed(&document, "/sealer");
        let (value, sealer) = read.map_err(|source| OpenError::Signed { path: path.clone(), source })?;
        let description = Description::of(value).map_err(|what| OpenError::Content { path, what })?;
        let sites = description
            .sites
            .iter()
            .map(|entry| Ok(SiteStore { name: entry.name.clone(), store: site::open(&entry.url, &device)? }));
        let sites = sites.collect::<Result<_, StoreError>>()?;
        let ledgers = description.custodians.iter().map(|custodian| site::open(&custodian.ledger, &device));
        let ledgers = ledgers.collect::<Result<_, _>>()?;
        let (folder, cores) = (folder.to_owned(), Mutex::default());
        Ok(Vault { folder, home, description, document, sealer, sites, ledgers, cores })
    }

    /// What it is.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Id of the key that signs everything in it: what custodians compare by another way than files.
    pub fn sealer_id(&self) -> Digest {
        Hex(self.sealer.id())
    }

    /// Keeps other sealing processes out while it lives.
    fn lock(&self) -> Result<Lock, LockError> {
        Lock::acquire(&self.folder).map_err(|error| match error {
            lock::LockError::Disk(error) => LockError::Disk(error),
            lock::LockError::Held { dir, holder } => LockError::Held { folder: dir, holder },
        })
    }

    /// Objects that are being sealed, or were when a crash came.
    fn pending(&self) -> Result<Vec<ObjectId>, StoreError> {
        let names = self.home.list(PENDING)?;
        let mut ids: Vec<ObjectId> = names
            .iter()
            .filter_map(|name| name.strip_suffix(site::PARTIAL).unwrap_or(name).parse().ok())
            .collect();
        ids.dedup();
        Ok(ids)
    }

    /// Names objects whose sealing nobody goes on with; what is being sealed now is left alone.
    fn check_pending(&self, findings: &mut Vec<Finding>) {
        let before = self.pending().unwrap_or_default();
        if before.is_empty() || !Lock::is_free(&self.folder) {
            return;
        }
        // One that was acknowledged meanwhile is gone from here.
        let after = self.pending().unwrap_or_default();
        let left = before.into_iter().filter(|id| after.contains(id));
        findings.extend(left.map(|id| Finding {
            place: Place::Vault,
            object: Some(id),
            fragment: None,
            part: Part::Pending,
            what: Damage::Unfinished,
        }));
    }

    /// Ids of all objects that lie at any site or, by a share, in any ledger, but for those being sealed. One whose sealing
    /// begins or ends meanwhile stands in `pending/` before or after.
    fn settled(&self, ids: impl FnOnce() -> Vec<ObjectId>) -> Vec<ObjectId> {
        let before = self.pending().unwrap_or_default();
        let mut ids = ids();
        let after = self.pending().unwrap_or_default();
        ids.retain(|id| !before.contains(id) && !after.contains(id));
        ids.sort();
        ids.dedup();
        ids
    }

    fn site(&self, name: &str) -> Option<&SiteStore> {
        self.sites.iter().find(|site| site.name == name)
    }
}

/// A small file that people hand over: a request, a release, a share, a custodian's document. What is no regular file, or
/// longer than any of these, is refused unread.
pub fn read_handed(path: &Path) -> Result<Vec<u8>, DiskError> {
    let read = || {
        let (file, _) = open_regular(path)?;
        let mut bytes = Vec::new();
        file.take(LINE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 <= LINE_BYTES_MAX {
            true => Ok(bytes),
            false => {
                Err(io::Error::new(io::ErrorKind::InvalidData, format!("longer than {LINE_BYTES_MAX} bytes")))
            }
        }
    };
    read().map_err(DiskError::on("read", path))
}

fn core_name(id: ObjectId) -> String {
    format!("{OBJECTS}/{id}/core.json")
}

fn seal_name(id: ObjectId) -> String {
    format!("{OBJECTS}/{id}/seal.json")
}

fn fragment_name(id: ObjectId, index: u8) -> String {
    format!("{OBJECTS}/{id}/{index:02}.fragment")
}

fn share_name(key_epoch: u64, id: ObjectId) -> String {
    format!("{key_epoch}/{id}.share.json")
}

/// Why a vault cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is none.
    #[error("{} holds no vault", folder.display())]
    NoVault {
        /// The folder.
        folder: PathBuf,
    },
    /// The description cannot be read, or names a store that this version does not know.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The description is not as the sealer signed it.
    #[error("{} is damaged", path.display())]
    Signed {
        /// `vault.json`.
        path: PathBuf,
        /// Where.
        #[source]
        source: SignedError,
    },
    /// The description is signed and makes no sense.
    #[error("{}: {what}", path.display())]
    Content {
        /// `vault.json`.
        path: PathBuf,
        /// What is expected.
        what: String,
    },
}

impl Classified for OpenError {
    fn class(&self) -> Class {
        match self {
            OpenError::NoVault { .. } => Class::Usage,
            OpenError::Store(error) => error.class(),
            OpenError::Signed { .. } | OpenError::Content { .. } => Class::Integrity,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            OpenError::NoVault { .. } => Some("make one with wakachi vault init".to_owned()),
            OpenError::Store(error) => error.hint(),
            OpenError::Signed { path, .. } | OpenError::Content { path, .. } => {
                Some(format!("every site has the same file: copy vault.json of one to {}", path.display()))
            }
        }
    }
}

/// Why the vault's lock is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The filesystem refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Somebody seals there.
    #[error("vault {} is in use by {holder}", folder.display())]
    Held {
        /// The vault's folder.
        folder: PathBuf,
        /// `process PID on HOST`, as the holder noted it.
        holder: String,
    },
}

impl Classified for LockError {
    fn class(&self) -> Class {
        Class::Failed
    }

    fn hint(&self) -> Option<String> {
        match self {
            LockError::Disk(error) => error.hint(),
            LockError::Held { holder, .. } => Some(format!("wait for {holder} to end, or stop it")),
        }
    }
}
