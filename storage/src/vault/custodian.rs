//! Custodians: their keys, and how their shares of an object's key are opened, asked for, released and handed over.

use super::hex::ObjectId;
use super::{Description, Finding, Vault};
use crate::wrap::EpochKey;
use jobs::time::Timestamp;
use std::path::{Path, PathBuf};

/// What [`keygen`] made.
#[derive(Clone, Debug)]
pub struct CustodianFiles {
    /// `NAME.pub.json`, for the vault.
    pub public: PathBuf,
    /// `NAME.identity.key`: signs the custodian's documents.
    pub identity: PathBuf,
    /// `NAME.epoch-1.key`: opens shares; destroying it destroys them.
    pub epoch: PathBuf,
}

/// Makes a custodian's keys in `folder`, which must exist, and the folder of its ledger, a `file://` URL, if it is not there.
pub fn keygen(
    folder: &Path,
    name: &str,
    ledger: &str,
    passphrase: &str,
    now: Timestamp,
) -> Result<CustodianFiles, CustodianError> {
    todo!()
}

/// Reads a custodian's epoch key file.
pub fn read_epoch_key(path: &Path, passphrase: &str) -> Result<EpochKey, CustodianError> {
    todo!()
}

/// A custodian's share of an object's key in the clear: a secret.
#[derive(Clone, Debug)]
pub struct OpenedShare {
    /// The object.
    pub object: ObjectId,
    /// The share.
    pub share: crate::shamir::Share,
    /// Where it came from, for messages.
    pub origin: String,
}

impl OpenedShare {
    /// Reads an opened-share document.
    pub fn parse(origin: &str, bytes: &[u8]) -> Result<Self, CustodianError> {
        todo!()
    }
    /// Its document: one line of canonical JSON.
    pub fn to_line(&self) -> zeroize::Zeroizing<String> {
        todo!()
    }
}

/// Opens the share of the custodian whose epoch key this is, from the custodian's ledger.
pub fn open_share(vault: &Vault, object: ObjectId, key: &EpochKey) -> Result<OpenedShare, CustodianError> {
    todo!()
}

/// What is asked of the custodians.
#[derive(Clone, Debug)]
pub struct ReleaseRequest<'a> {
    /// The object.
    pub object: ObjectId,
    /// Where the request is written; the one-time key lies beside it as `FILE.key`.
    pub file: &'a Path,
    /// Until before when custodians may answer and the answers may be opened.
    pub expires_at: Timestamp,
    /// Who asks.
    pub caller: &'a super::Caller,
    /// When.
    pub now: Timestamp,
}

/// What [`request`] wrote.
#[derive(Clone, Debug)]
pub struct Requested {
    /// The request's id.
    pub id: ObjectId,
    /// The one-time key.
    pub key: PathBuf,
}

/// Writes a request for the shares of an object, signed by the sealer, and its one-time key under `passphrase`.
pub fn request(
    vault: &Vault,
    sealer: &super::Sealer,
    permit: &jobs::policy::Permit,
    log: &super::AuditLog,
    request: &ReleaseRequest<'_>,
    passphrase: &str,
) -> Result<Requested, CustodianError> {
    todo!()
}

/// What a custodian is shown before releasing, and what is released.
#[derive(Clone, Debug)]
pub struct Released {
    /// The release: one line of canonical JSON with its line feed.
    pub document: Vec<u8>,
    /// The object.
    pub object: ObjectId,
    /// What for.
    pub purpose: String,
    /// Who asked.
    pub requested_by: String,
    /// Whose share.
    pub custodian: String,
}

/// Checks a request against the vault's description, opens the custodian's share and wraps it to the one-time key of the request.
pub fn release(
    request: &[u8],
    description: &Description,
    key: &EpochKey,
    now: Timestamp,
) -> Result<Released, CustodianError> {
    todo!()
}

/// Opens releases with the one-time key beside the request (`REQUEST.key`). Releases that are no good are named, not fatal.
pub fn open_released(
    vault: &Vault,
    request: &Path,
    releases: &[PathBuf],
    passphrase: &str,
    now: Timestamp,
) -> Result<(Vec<OpenedShare>, Vec<Finding>), CustodianError> {
    todo!()
}

/// Why a custodian's act failed.
#[derive(Debug, thiserror::Error)]
pub enum CustodianError {}
