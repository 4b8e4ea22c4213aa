//! A custodian's keys, and how a custodian's share of an object's key is opened where the custodian is at hand.
//!
//! Invariant: a share leaves a ledger only under the custodian's epoch key. An opened share is a secret: it is not printed,
//! and wiped from memory when dropped.

use std::fmt;
use std::path::{Path, PathBuf};

use jobs::failure::{Class, Classified};
use jobs::time::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::description::{CUSTODIAN_FORMAT, Custodian, PublicKeys};
use super::finding::{Finding, chain};
use super::hex::{Digest, Hex, ObjectId};
use super::init::{create_folder, is_name};
use super::object::ObjectError;
use super::share::WrappedShare;
use super::{PermitError, Vault, line};
use crate::atomic::{AtomicFile, AtomicFileError};
use crate::audit::AuditError;
use crate::disk::DiskError;
use crate::keyfile::{self, KeyFileError, Kind};
use crate::shamir::{SECRET_BYTES, Share};
use crate::signed::{self, SignedError};
use crate::signing::SigningKey;
use crate::site::{self, StoreError};
use crate::wrap::{EpochKey, SEED_BYTES, WrapError};

pub use super::release::{
    ReleaseRequest, Released, RequestDocument, Requested, forget, open_released, release, request,
};

const OPENED_FORMAT: &str = "wakachi.opened-share/1";
const FIRST_EPOCH: u64 = 1;

/// What [`keygen`] made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustodianFiles {
    /// `NAME.pub.json`, for the vault.
    pub public: PathBuf,
    /// `NAME.identity.key`: signs the custodian's documents.
    pub identity: PathBuf,
    /// `NAME.epoch-1.key`: opens shares. Destroying it destroys them.
    pub epoch: PathBuf,
}

/// Makes a custodian's keys in `folder`, under `passphrase`, and the folder of its ledger, a `file://` URL. Both folders are
/// made where they are not there; key files that are there are not replaced.
pub fn keygen(
    folder: &Path,
    name: &str,
    ledger: &str,
    passphrase: &str,
    now: Timestamp,
) -> Result<CustodianFiles, CustodianError> {
    if !is_name(name) {
        return Err(CustodianError::Name { name: name.to_owned() });
    }
    let files = CustodianFiles {
        public: folder.join(format!("{name}.pub.json")),
        identity: folder.join(format!("{name}.identity.key")),
        epoch: folder.join(format!("{name}.epoch-{FIRST_EPOCH}.key")),
    };
    create_folder(folder)?;
    create_folder(&site::folder_of(ledger)?)?;
    let (identity, epoch) = (SigningKey::generate(), EpochKey::generate());
    let PublicKeys { ed25519, mldsa65 } = PublicKeys::of(identity.public());
    let document = Custodian {
        format: CUSTODIAN_FORMAT.to_owned(),
        name: name.to_owned(),
        ledger: ledger.to_owned(),
        ed25519,
        mldsa65,
        key_epoch: FIRST_EPOCH,
        epoch_key: super::Base64(epoch.public().to_bytes()),
        created: now,
    };
    let document = signed::write(&line::value(&document), &identity).expect("a document has small numbers");
    keyfile::write(&files.identity, Kind::Identity, name, identity.seeds(), passphrase)?;
    keyfile::write(&files.epoch, Kind::Epoch, name, epoch.seed(), passphrase)?;
    write_file(&files.public, &document)?;
    Ok(files)
}

/// Reads a custodian's epoch key file.
pub fn read_epoch_key(path: &Path, passphrase: &str) -> Result<EpochKey, CustodianError> {
    Ok(key_of(&keyfile::read(path, Kind::Epoch, passphrase)?))
}

/// The key of a file whose kind says that it is a seed.
pub(super) fn key_of(secrets: &[u8]) -> EpochKey {
    let seed: Zeroizing<[u8; SEED_BYTES]> = Zeroizing::new(secrets.try_into().expect("an X-Wing seed"));
    EpochKey::from_seed(&seed)
}

pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), CustodianError> {
    use std::io::Write;
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes).map_err(DiskError::on("write", path))?;
    file.commit_verified()?;
    Ok(())
}

/// A custodian's share of an object's key in the clear: a secret.
#[derive(Clone)]
pub struct OpenedShare {
    /// The object.
    pub object: ObjectId,
    /// The share.
    pub share: Share,
    /// Where it came from, for messages.
    pub origin: String,
}

/// As it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenedDocument {
    format: String,
    object: ObjectId,
    index: u8,
    share: Hex<SECRET_BYTES>,
}

impl OpenedShare {
    /// Reads an opened-share document.
    pub fn parse(origin: &str, bytes: &[u8]) -> Result<Self, CustodianError> {
        let refuse = |what| CustodianError::Document { origin: origin.to_owned(), what };
        let document: OpenedDocument = line::read(bytes).map_err(|error| refuse(chain(&error)))?;
        if document.format != OPENED_FORMAT {
            return Err(refuse(format!("format {}, expected {OPENED_FORMAT}", document.format)));
        }
        let share = Share { index: document.index, bytes: Zeroizing::new(document.share.0) };
        Ok(OpenedShare { object: document.object, share, origin: origin.to_owned() })
    }

    /// Its document: one line of canonical JSON with its line feed.
    pub fn document(&self) -> Zeroizing<Vec<u8>> {
        line::write(&OpenedDocument {
            format: OPENED_FORMAT.to_owned(),
            object: self.object,
            index: self.share.index,
            share: Hex(*self.share.bytes),
        })
    }
}

impl fmt::Debug for OpenedShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenedShare({} of {}, from {})", self.share.index, self.object, self.origin)
    }
}

/// Opens the share of the custodian whose epoch key this is, from that custodian's ledger.
pub fn open_share(vault: &Vault, id: ObjectId, key: &EpochKey) -> Result<OpenedShare, CustodianError> {
    let object = vault.object(id, &mut Vec::new())?;
    let epoch_key = Hex(key.public().sha256());
    let mut holders = object.core.sharing.custodians.iter();
    let holder = holders
        .find(|holder| holder.epoch_key == epoch_key)
        .ok_or(CustodianError::NoHolder { object: id, epoch_key })?;
    let wrapped = vault.share(&object, holder).map_err(|finding| CustodianError::Share { finding })?;
    let share = wrapped.open(key).map_err(|source| CustodianError::Unwrap {
        object: id,
        custodian: holder.name.clone(),
        source,
    })?;
    Ok(OpenedShare { object: id, share, origin: format!("share of {}", holder.name) })
}

/// Opens a wrapped share as it lies in a ledger, where there is no vault any more to say whether it is the one its seal
/// lists; whoever restores finds that out.
pub fn open_share_file(path: &Path, key: &EpochKey) -> Result<OpenedShare, CustodianError> {
    let origin = path.display().to_string();
    let refuse = |what| CustodianError::Document { origin: origin.clone(), what };
    let bytes = super::read_handed(path)?;
    let wrapped: WrappedShare = line::read(&bytes).map_err(|error| refuse(chain(&error)))?;
    let (object, custodian) = (wrapped.object, wrapped.custodian.clone());
    let share = wrapped.open(key).map_err(|source| CustodianError::Unwrap { object, custodian, source })?;
    Ok(OpenedShare { object, share, origin })
}

/// Why a custodian's act failed.
#[derive(Debug, thiserror::Error)]
pub enum CustodianError {
    /// The name cannot name files.
    #[error("custodian '{name}': expected letters, digits, '-', '_' and '.', at most 100 bytes")]
    Name {
        /// As given.
        name: String,
    },
    /// The filesystem refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A ledger refused, or its URL names none.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key file is not written or not opened.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// A document cannot be written.
    #[error(transparent)]
    Output(#[from] AtomicFileError),
    /// The object's documents are not to be had.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// A document is not what it should be.
    #[error("{origin}: {what}")]
    Document {
        /// Where it came from.
        origin: String,
        /// What is wrong.
        what: String,
    },
    /// Nobody of the object's custodians has this key.
    #[error("object {object} has no custodian with epoch key {epoch_key}")]
    NoHolder {
        /// The object.
        object: ObjectId,
        /// SHA-256 of the public key.
        epoch_key: Digest,
    },
    /// The ledger has no such share.
    #[error("{finding}")]
    Share {
        /// What is wrong with it.
        finding: Finding,
    },
    /// The share does not open.
    #[error("the share of {custodian} of object {object} does not open")]
    Unwrap {
        /// The object.
        object: ObjectId,
        /// The custodian.
        custodian: String,
        /// Why.
        #[source]
        source: WrapError,
    },
    /// The request is not signed by the vault's sealer.
    #[error("the request is not this vault's")]
    Forged {
        /// What does not hold.
        #[source]
        source: SignedError,
    },
    /// The vault's description is somebody else's.
    #[error("the vault's description is not to be believed: {what}")]
    Vault {
        /// What is wrong.
        what: String,
    },
    /// The request is no longer in force.
    #[error("the request ended at {expired}")]
    Expired {
        /// When.
        expired: Timestamp,
    },
    /// The permit does not cover it.
    #[error(transparent)]
    NotPermitted(#[from] PermitError),
    /// The audit log took no event.
    #[error("the audit log takes no event, so nothing may happen")]
    Audit(#[from] AuditError),
}

impl Classified for CustodianError {
    fn class(&self) -> Class {
        match self {
            CustodianError::Name { .. } | CustodianError::NoHolder { .. } => Class::Usage,
            CustodianError::Disk(error) => error.class(),
            CustodianError::Store(error) => error.class(),
            CustodianError::KeyFile(error) => error.class(),
            CustodianError::Output(error) => error.class(),
            CustodianError::Object(error) => error.class(),
            CustodianError::Document { .. } => Class::Input,
            CustodianError::Share { .. } => Class::Quorum,
            CustodianError::Unwrap { .. } | CustodianError::Forged { .. } | CustodianError::Vault { .. } => {
                Class::Integrity
            }
            CustodianError::Expired { .. } | CustodianError::NotPermitted(_) => Class::Policy,
            CustodianError::Audit(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            CustodianError::Disk(error) => error.hint(),
            CustodianError::Store(error) => error.hint(),
            CustodianError::KeyFile(error) => error.hint(),
            CustodianError::Output(error) => error.hint(),
            CustodianError::Object(error) => error.hint(),
            CustodianError::Audit(error) => error.hint(),
            CustodianError::Share { .. } | CustodianError::Unwrap { .. } => {
                Some("ask another custodian; a quorum of them is enough".to_owned())
            }
            CustodianError::Expired { .. } => Some("ask for a new request".to_owned()),
            CustodianError::Forged { .. } | CustodianError::Vault { .. } => {
                Some("get the request again from who wrote it, and this vault's vault.json".to_owned())
            }
            CustodianError::NoHolder { .. } => {
                Some("give the epoch key of one of the object's custodians".to_owned())
            }
            CustodianError::Name { .. }
            | CustodianError::Document { .. }
            | CustodianError::NotPermitted(_) => None,
        }
    }
}
