//! Restoring through custodians who are elsewhere: a signed request, releases wrapped to its one-time key, and their
//! opening.
//!
//! Invariant: a custodian's share goes only to the one-time key of a request that the sealer of the share's own vault
//! signed, for that request, object and core, and before it ends. The one-time key lies beside the request, under a passphrase, until
//! the object is restored.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jobs::event::{EventName, Outcome};
use jobs::policy::{Action, Permit};
use jobs::time::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::base64::Base64;
use super::core::AuditPosition;
use super::custodian::{CustodianError, OpenedShare, key_of, write_file};
use super::description::Description;
use super::event::{Caller, about};
use super::finding::{Damage, Finding, Part, Place, chain};
use super::hex::{Digest, Hex, ObjectId};
use super::permitted::permitted;
use super::share::WrappedShare;
use super::{AuditLog, DOCUMENT_BYTES_MAX, LINE_BYTES_MAX, Sealer, Vault, line, read_handed, share_name};
use crate::disk::{DiskError, sync_parent};
use crate::keyfile::{self, Kind};
use crate::shamir::{SECRET_BYTES, Share};
use crate::signed;
use crate::site::{self, Device, RealDevice};
use crate::wrap::{self, EpochKey, EpochPublic, WrapError};

const REQUEST_FORMAT: &str = "wakachi.restore-request/1";
const RELEASE_FORMAT: &str = "wakachi.release/1";
const INFO: &[u8] = b"wakachi 2026 vault release";

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
    pub caller: &'a Caller,
    /// When.
    pub now: Timestamp,
}

/// What [`request`] wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requested {
    /// The request's id.
    pub id: ObjectId,
    /// The one-time key file.
    pub key: PathBuf,
}

/// The request: the first line of a signed document.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestDocument {
    format: String,
    /// The request.
    pub id: ObjectId,
    /// The object whose share is asked for.
    pub object: ObjectId,
    vault: ObjectId,
    core_sha256: Digest,
    one_time_key: Base64,
    /// What for.
    pub purpose: String,
    /// Who asks.
    pub requested_by: String,
    /// Since when.
    pub requested_at: Timestamp,
    /// Until before when it may be answered.
    pub expires_at: Timestamp,
    /// The event by which the vault's audit log tells of it.
    pub audit: AuditPosition,
}

/// A custodian's answer: one line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReleaseDocument {
    format: String,
    request: ObjectId,
    object: ObjectId,
    custodian: String,
    index: u8,
    enc: Base64,
    ct: Base64,
}

/// Writes a request for the shares of an object, signed by the sealer, and its one-time key under `passphrase`.
pub fn request(
    vault: &Vault,
    sealer: &Sealer,
    permit: &Permit,
    log: &AuditLog,
    request: &ReleaseRequest<'_>,
    passphrase: &str,
) -> Result<Requested, CustodianError> {
    let object = vault.object(request.object, &mut Vec::new())?;
    let samples = object.core.governance.samples.keys();
    permitted(permit, Action::Restore, object.core.class, samples, request.now)?;
    let id = Hex::random();
    let requested =
        about(EventName::RestoreRequested, Outcome::Ok, request.caller, &object.core, &object.core_sha256)
            .with("request", id.to_string())
            .with("purpose", permit.purpose().name())
            .with("expires_at", request.expires_at.to_string());
    let leaf = log.append(requested, request.now)?;
    let one_time = EpochKey::generate();
    let key = key_path(request.file);
    keyfile::write(&key, Kind::OneTime, &id.to_string(), one_time.seed(), passphrase)?;
    let document = RequestDocument {
        format: REQUEST_FORMAT.to_owned(),
        id,
        object: object.id,
        vault: vault.description().id,
        core_sha256: object.core_sha256,
        one_time_key: Base64(one_time.public().to_bytes()),
        purpose: permit.purpose().name().to_owned(),
        requested_by: request.caller.actor.sub.clone().unwrap_or_default(),
        requested_at: request.now,
        expires_at: request.expires_at,
        audit: AuditPosition { seq: leaf.seq, sha256: Hex(leaf.sha256) },
    };
    let document =
        signed::write(&line::value(&document), &sealer.signing).expect("a request has small numbers");
    write_file(request.file, &document)?;
    Ok(Requested { id, key })
}

/// Removes the one-time key beside a request that served: what was released to it opens no more. Gives the key's path.
pub fn forget(request: &Path) -> Result<PathBuf, CustodianError> {
    let key = key_path(request);
    std::fs::remove_file(&key).map_err(DiskError::on("remove", &key))?;
    sync_parent(&key)?;
    Ok(key)
}

fn key_path(request: &Path) -> PathBuf {
    let mut path = request.as_os_str().to_owned();
    path.push(".key");
    path.into()
}

/// What a custodian gives, and what for: to be shown before it is handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// The release: one line of canonical JSON with its line feed.
    pub document: Vec<u8>,
    /// The request.
    pub request: ObjectId,
    /// The object.
    pub object: ObjectId,
    /// What for.
    pub purpose: String,
    /// Who asked.
    pub requested_by: String,
    /// Whose share.
    pub custodian: String,
}

/// Checks a request against the vault's description, opens the custodian's share and wraps it anew to the one-time key of
/// the request. Needs neither the vault's folder nor its sites.
pub fn release(
    request: &[u8],
    description: &Description,
    key: &EpochKey,
    now: Timestamp,
) -> Result<Released, CustodianError> {
    let request = RequestDocument::read(request, description, now)?;
    let refuse = |origin: &str, what: String| CustodianError::Document { origin: origin.to_owned(), what };
    let epoch_key = Hex(key.public().sha256());
    let mut custodians = description.custodians.iter();
    let custodian = custodians
        .find(|custodian| custodian.epoch_key_sha256() == epoch_key)
        .ok_or(CustodianError::NoHolder { object: request.object, epoch_key })?;
    let device: Arc<dyn Device> = Arc::new(RealDevice);
    let ledger = site::open(&custodian.ledger, &device)?;
    let name = share_name(custodian.key_epoch, request.object);
    let bytes = ledger.get(&name, LINE_BYTES_MAX)?;
    let origin = ledger.show(&name).display().to_string();
    let bytes = bytes.ok_or_else(|| refuse(&origin, "no such share".to_owned()))?;
    let wrapped: WrappedShare = line::read(&bytes).map_err(|error| refuse(&origin, chain(&error)))?;
    // The vault that a share was wrapped for is its sealer's id, so no other sealer can have it released.
    let expected = (request.object, request.vault, request.core_sha256, epoch_key);
    if (wrapped.object, wrapped.vault, wrapped.core_sha256, wrapped.epoch_key) != expected {
        return Err(refuse(
            &origin,
            "a share of another object, core, vault or key than asked for".to_owned(),
        ));
    }
    let share = wrapped.open(key).map_err(|source| CustodianError::Unwrap {
        object: request.object,
        custodian: custodian.name.clone(),
        source,
    })?;
    let document = ReleaseDocument::wrap(&request, &wrapped, &share)
        .map_err(|error| refuse("request", chain(&error)))?;
    Ok(Released {
        document: line::write(&document).to_vec(),
        request: request.id,
        object: request.object,
        purpose: request.purpose,
        requested_by: request.requested_by,
        custodian: custodian.name.clone(),
    })
}

/// Opens releases with the one-time key beside the request (`REQUEST.key`). Releases that are no good are findings, and
/// others used.
pub fn open_released(
    vault: &Vault,
    request: &Path,
    releases: &[PathBuf],
    passphrase: &str,
    now: Timestamp,
) -> Result<(Vec<OpenedShare>, Vec<Finding>), CustodianError> {
    let document = RequestDocument::read(&read_handed(request)?, vault.description(), now)?;
    let key = key_of(&keyfile::read(&key_path(request), Kind::OneTime, passphrase)?);
    let (mut opened, mut findings) = (Vec::new(), Vec::new());
    for path in releases {
        let origin = path.display().to_string();
        match read_handed(path)
            .map_err(|error| Damage::unreadable(&error))
            .and_then(|bytes| ReleaseDocument::open(&bytes, &document, &key))
        {
            Ok(share) => opened.push(OpenedShare { object: document.object, share, origin }),
            Err(what) => findings.push(Finding {
                place: Place::Given(origin),
                object: Some(document.object),
                fragment: None,
                part: Part::File,
                what,
            }),
        }
    }
    Ok((opened, findings))
}

impl RequestDocument {
    /// The request of a document that the vault's sealer signed, while it is in force.
    pub fn read(bytes: &[u8], description: &Description, now: Timestamp) -> Result<Self, CustodianError> {
        let refuse = |what| CustodianError::Document { origin: "request".to_owned(), what };
        if bytes.len() as u64 > DOCUMENT_BYTES_MAX {
            return Err(refuse(format!("{} bytes are too many", bytes.len())));
        }
        let sealer = description.signer().map_err(|what| CustodianError::Vault { what })?;
        let value = signed::read(bytes, &sealer).map_err(|source| CustodianError::Forged { source })?;
        let request: RequestDocument =
            serde_json::from_value(value).map_err(|error| refuse(format!("not a request: {error}")))?;
        if request.format != REQUEST_FORMAT || request.vault != description.id {
            Err(refuse("not a request of this vault".to_owned()))
        } else if now >= request.expires_at {
            Err(CustodianError::Expired { expired: request.expires_at })
        } else {
            Ok(request)
        }
    }
}

impl ReleaseDocument {
    fn wrap(request: &RequestDocument, wrapped: &WrappedShare, share: &Share) -> Result<Self, WrapError> {
        let mut release = ReleaseDocument {
            format: RELEASE_FORMAT.to_owned(),
            request: request.id,
            object: request.object,
            custodian: wrapped.custodian.clone(),
            index: wrapped.index,
            enc: Base64(Vec::new()),
            ct: Base64(Vec::new()),
        };
        let to = EpochPublic::from_bytes(&request.one_time_key.0)?;
        let (enc, ct) = wrap::seal(&to, INFO, &line::associated(&release), &*share.bytes);
        (release.enc, release.ct) = (Base64(enc), Base64(ct));
        Ok(release)
    }

    /// The share of a release to this request.
    fn open(bytes: &[u8], request: &RequestDocument, key: &EpochKey) -> Result<Share, Damage> {
        let release: ReleaseDocument = line::read(bytes).map_err(|error| Damage::altered(&error))?;
        let ReleaseDocument { format, request: to, object, .. } = &release;
        if (format.as_str(), *to, *object) != (RELEASE_FORMAT, request.id, request.object) {
            return Err(Damage::Foreign(format!("a release to request {to} of object {object}")));
        }
        let plain = wrap::open(key, INFO, &line::associated(&release), &release.enc.0, &release.ct.0);
        let plain = plain.map_err(|error| Damage::altered(&error))?;
        let bytes = <[u8; SECRET_BYTES]>::try_from(&plain[..]);
        let bytes = bytes.map_err(|_| Damage::Altered("it holds no share".to_owned()))?;
        Ok(Share { index: release.index, bytes: Zeroizing::new(bytes) })
    }
}
