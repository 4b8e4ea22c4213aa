//! Wrapped shares in the custodians' ledgers.
//!
//! Invariant: a share is wrapped to the published key of its custodian and lies in that custodian's ledger only. What
//! lies there is believed only if it is byte for byte what the seal lists, which is told without a key.

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::base64::Base64;
use super::core::{Core, ShareHolder};
use super::description::Custodian;
use super::finding::{Damage, Finding, Part, Place};
use super::hex::{Digest, Hex, ObjectId};
use super::object::Object;
use super::{LINE_BYTES_MAX, Vault, line, share_name};
use crate::shamir::{SECRET_BYTES, Share};
use crate::wrap::{self, ENC_BYTES, TAG_BYTES, WrapError};

const FORMAT: &str = "wakachi.share/1";
pub(super) const INFO: &[u8] = b"wakachi 2026 vault share";

/// A custodian's wrapped share: `ID.share.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrappedShare {
    format: String,
    pub object: ObjectId,
    pub vault: ObjectId,
    pub custodian: String,
    pub index: u8,
    key_epoch: u64,
    pub epoch_key: Digest,
    pub core_sha256: Digest,
    pub enc: Base64,
    pub ct: Base64,
}

impl WrappedShare {
    /// The share of `holder`, not yet wrapped.
    fn of(core: &Core, core_sha256: Digest, holder: &ShareHolder) -> Self {
        WrappedShare {
            format: FORMAT.to_owned(),
            object: core.id,
            vault: core.vault,
            custodian: holder.name.clone(),
            index: holder.index,
            key_epoch: core.sharing.key_epoch,
            epoch_key: holder.epoch_key,
            core_sha256,
            enc: Base64(Vec::new()),
            ct: Base64(Vec::new()),
        }
    }

    /// Wraps a share to its custodian.
    pub fn wrap(
        core: &Core,
        core_sha256: Digest,
        holder: &ShareHolder,
        custodian: &Custodian,
        share: &Share,
    ) -> Result<Self, WrapError> {
        let mut wrapped = WrappedShare::of(core, core_sha256, holder);
        let aad = line::associated(&wrapped);
        let (enc, ct) = wrap::seal(&custodian.public()?, INFO, &aad, &*share.bytes);
        (wrapped.enc, wrapped.ct) = (Base64(enc), Base64(ct));
        Ok(wrapped)
    }

    /// Opens it with the custodian's key.
    pub fn open(&self, key: &wrap::EpochKey) -> Result<Share, WrapError> {
        let plain = wrap::open(key, INFO, &line::associated(self), &self.enc.0, &self.ct.0)?;
        let bytes = <[u8; SECRET_BYTES]>::try_from(&plain[..]).map_err(|_| WrapError::Refused)?;
        Ok(Share { index: self.index, bytes: zeroize::Zeroizing::new(bytes) })
    }

    /// Whether a line read from a ledger is the share of this object and holder as it was written.
    fn read(bytes: &[u8], object: &Object, holder: &ShareHolder) -> Result<Self, Damage> {
        let share: WrappedShare = line::read(bytes).map_err(|error| Damage::altered(&error))?;
        let expected = WrappedShare {
            enc: share.enc.clone(),
            ct: share.ct.clone(),
            ..WrappedShare::of(&object.core, object.core_sha256, holder)
        };
        let lengths = (share.enc.0.len(), share.ct.0.len());
        if share != expected {
            let WrappedShare { object, custodian, index, .. } = share;
            Err(Damage::Foreign(format!("share {index} of {custodian}, object {object}")))
        } else if lengths != (ENC_BYTES, SECRET_BYTES + TAG_BYTES) {
            Err(Damage::Altered("enc or ct has another length than a wrapped share".to_owned()))
        } else if object.wrapped_sha256(holder.index) != Some(sha256(bytes)) {
            Err(Damage::Altered(
                "enc or ct is not what was wrapped: its hash is not that in the seal".to_owned(),
            ))
        } else {
            Ok(share)
        }
    }
}

/// By which the seal knows a share's file.
pub(super) fn sha256(bytes: &[u8]) -> Digest {
    Hex(digest(&SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

impl Object {
    fn wrapped_sha256(&self, index: u8) -> Option<Digest> {
        let entry = self.seal.key_shares.iter().find(|entry| entry.index == index);
        entry.map(|entry| entry.wrapped_sha256)
    }
}

impl Vault {
    /// The wrapped share of `holder` from its ledger.
    pub(super) fn share(&self, object: &Object, holder: &ShareHolder) -> Result<WrappedShare, Finding> {
        let finding = |what| Finding {
            place: Place::Ledger(holder.name.clone()),
            object: Some(object.id),
            fragment: None,
            part: Part::Share(holder.index),
            what,
        };
        let named = self.description.custodians.iter().position(|custodian| custodian.name == holder.name);
        let ledger = named.map(|at| &self.ledgers[at]).ok_or_else(|| finding(Damage::Missing))?;
        let name = share_name(object.core.sharing.key_epoch, object.id);
        match ledger.get(&name, LINE_BYTES_MAX) {
            Ok(Some(bytes)) => WrappedShare::read(&bytes, object, holder).map_err(finding),
            Ok(None) => Err(finding(Damage::Missing)),
            Err(error) => Err(finding(Damage::unreadable(&error))),
        }
    }
}
