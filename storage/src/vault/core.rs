//! The two documents of an object: the core says what it is and is signed first, the seal says what it became and is
//! signed last.
//!
//! Invariant: a value here was either made by the sealer or read from a document whose signatures hold; numbers that
//! steer memory or loops are checked against each other before anyone uses them. Field order and names are those of
//! DESIGN.md.

use std::collections::BTreeMap;

use jobs::policy::{DataClass, Grounds, Purpose};
use jobs::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::description::Description;
use super::hex::{Digest, Hex, ObjectId};
use crate::erasure::Code;
use crate::floe::{self, SEGMENT_BYTES};
use crate::fragment::Geometry;
use crate::tree::BLOCK_BYTES;

pub(super) const CORE_FORMAT: &str = "wakachi.core/1";
pub(super) const SEAL_FORMAT: &str = "wakachi.seal/1";

/// What an object is: `core.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Core {
    /// `wakachi.core/1`.
    pub format: String,
    /// The object.
    pub id: ObjectId,
    /// The vault it lies in.
    pub vault: ObjectId,
    /// Name of the sealed file.
    pub name: String,
    /// Class of the data.
    pub class: DataClass,
    /// Security level of that class when it was sealed.
    pub level: u8,
    /// HMAC-SHA-256 of the plaintext's SHA-256 under the vault's index key.
    pub content: Digest,
    /// How the ciphertext is cut into fragments.
    pub erasure: Erasure,
    /// How the plaintext is encrypted.
    pub encryption: Encryption,
    /// How half of the key is shared over the custodians.
    pub sharing: Sharing,
    /// Whose data it is and on what consent it was sealed.
    pub governance: Governance,
    /// The caller's text fields.
    pub manifest: BTreeMap<String, String>,
    /// Objects it came from or belongs to.
    pub lineage: Vec<Lineage>,
    /// When sealing began.
    pub sealed_at: Timestamp,
    /// The program that sealed it.
    pub program: String,
}

/// Parameters of the erasure code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erasure {
    /// Data fragments, k.
    pub data: u8,
    /// Parity fragments, m.
    pub parity: u8,
    /// `0x11d`.
    pub field: String,
    /// `cauchy`.
    pub matrix: String,
    /// Bytes of a block: 65,536.
    pub block_bytes: u32,
}

/// Parameters of the encryption.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encryption {
    /// `FLOE`.
    pub scheme: String,
    /// `AES-256-GCM`.
    pub aead: String,
    /// `HKDF-EXPAND-SHA-384`.
    pub kdf: String,
    /// Bytes of an encrypted segment: 65,536.
    pub segment_bytes: u32,
}

/// Parameters of the sharing over the custodians.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sharing {
    /// `0x11b`.
    pub field: String,
    /// Custodians that are needed, t.
    pub quorum: u8,
    /// Counts up when shares are refreshed.
    pub key_epoch: u64,
    /// All of them, by index from 1.
    pub custodians: Vec<ShareHolder>,
}

/// One custodian as an object knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareHolder {
    /// The point of the share, from 1.
    pub index: u8,
    /// The custodian.
    pub name: String,
    /// SHA-256 of the X-Wing public key to which the share was wrapped.
    pub epoch_key: Digest,
}

/// Whose data an object holds and on what consent it was sealed, as it was then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Governance {
    /// By sample.
    pub samples: BTreeMap<String, SampleGovernance>,
    /// What for.
    pub purpose: Purpose,
    /// Epoch of the consent register.
    pub consent_epoch: u64,
    /// SHA-256 of the policy.
    pub policy_sha256: String,
    /// The site about which the policy was asked.
    pub site: String,
    /// What the permit obliges to.
    pub obligations: Vec<String>,
}

/// One sample of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleGovernance {
    /// Keyed hash of the person's code; see [`super::Sealer::participant_h`].
    pub participant_h: Digest,
    /// The consent.
    pub grounds: Grounds,
}

/// A relation to another object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lineage {
    /// Such as `derived_from` or `index_of`.
    pub relation: String,
    /// The other object.
    pub object: ObjectId,
}

/// What an object became: `seal.json`. An object without one does not exist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// `wakachi.seal/1`.
    pub format: String,
    /// The object.
    pub id: ObjectId,
    /// SHA-256 of the core's first line: the core's hash.
    pub core_sha256: Digest,
    /// Length of the plaintext.
    pub plaintext_bytes: u64,
    /// Length of all segments.
    pub ciphertext_bytes: u64,
    /// The 74 bytes of FLOE's header.
    pub floe_header: Hex<{ floe::HEADER_BYTES }>,
    /// Counts up when fragments are written anew.
    pub layout_epoch: u32,
    /// All fragments, by index from 0.
    pub fragments: Vec<FragmentEntry>,
    /// Commitments of the custodians' shares, by index from 1.
    pub key_shares: Vec<KeyShareEntry>,
    /// The event that was written before the encryption began.
    pub audit: AuditPosition,
}

/// One fragment as the seal knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FragmentEntry {
    /// From 0.
    pub index: u8,
    /// Name of the site it lies at.
    pub site: String,
    /// Length of its body.
    pub body_bytes: u64,
    /// BLAKE3 of its body.
    pub body_blake3: Digest,
    /// Commitment of the share of S_s in its header.
    pub share_sha256: Digest,
}

/// One custodian's share as the seal knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyShareEntry {
    /// From 1.
    pub index: u8,
    /// Commitment of the share of S_c.
    pub share_sha256: Digest,
    /// SHA-256 of `ID.share.json` as it was written.
    pub wrapped_sha256: Digest,
}

/// A line of the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditPosition {
    /// Its number.
    pub seq: u64,
    /// Its leaf hash.
    pub sha256: Digest,
}

/// Parameters of this version, as cores state them.
impl Erasure {
    pub(super) fn new(data: u8, parity: u8) -> Self {
        let (field, matrix) = ("0x11d".to_owned(), "cauchy".to_owned());
        Erasure { data, parity, field, matrix, block_bytes: BLOCK_BYTES as u32 }
    }
}

impl Encryption {
    pub(super) fn new() -> Self {
        Encryption {
            scheme: "FLOE".to_owned(),
            aead: "AES-256-GCM".to_owned(),
            kdf: "HKDF-EXPAND-SHA-384".to_owned(),
            segment_bytes: SEGMENT_BYTES as u32,
        }
    }
}

impl Sharing {
    pub(super) fn new(description: &Description) -> Self {
        let custodians = (1..).zip(&description.custodians).map(|(index, custodian)| ShareHolder {
            index,
            name: custodian.name.clone(),
            epoch_key: custodian.epoch_key_sha256(),
        });
        Sharing {
            field: "0x11b".to_owned(),
            quorum: description.quorum,
            key_epoch: description.key_epoch(),
            custodians: custodians.collect(),
        }
    }
}

impl Core {
    /// The core of a document whose signatures hold, if it makes sense and this version can restore it.
    pub(super) fn of(document: Value) -> Result<Self, String> {
        let core: Core = serde_json::from_value(document).map_err(|error| format!("not a core: {error}"))?;
        let Sharing { field, quorum, custodians, .. } = &core.sharing;
        let Erasure { data, parity, .. } = core.erasure;
        let makes_sense = core.format == CORE_FORMAT
            && core.erasure == Erasure::new(data, parity)
            && core.encryption == Encryption::new()
            && Code::fits(data, parity)
            && field == "0x11b"
            && (1..=custodians.len()).contains(&usize::from(*quorum))
            && (1..).zip(custodians).all(|(index, holder)| holder.index == index);
        match makes_sense {
            true => Ok(core),
            false => Err("a core of another version".to_owned()),
        }
    }
}

impl Seal {
    /// The seal of a document whose signatures hold, if it is one; [`Seal::fits`] says of which core.
    pub(super) fn of(document: Value) -> Result<Self, String> {
        let seal: Seal = serde_json::from_value(document).map_err(|error| format!("not a seal: {error}"))?;
        match seal.format == SEAL_FORMAT {
            true => Ok(seal),
            false => Err("a seal of another version".to_owned()),
        }
    }

    /// Whether its numbers are those of an object with this core.
    pub(super) fn fits(&self, core: &Core, geometry: &Geometry) -> bool {
        let Erasure { data, parity, .. } = core.erasure;
        let fragments = usize::from(data) + usize::from(parity);
        self.id == core.id
            && floe::plaintext_bytes(self.ciphertext_bytes) == Some(self.plaintext_bytes)
            && self.fragments.len() == fragments
            && (0..).zip(&self.fragments).all(|(index, fragment)| {
                fragment.index == index && fragment.body_bytes == geometry.body_bytes(index)
            })
            && self.key_shares.len() == core.sharing.custodians.len()
            && (1..).zip(&self.key_shares).all(|(index, share)| share.index == index)
    }
}
