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

use super::hex::{Digest, ObjectId};

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
    pub floe_header: Hex74,
    /// Counts up when fragments are written anew.
    pub layout_epoch: u32,
    /// All fragments, by index from 0.
    pub fragments: Vec<FragmentEntry>,
    /// Commitments of the custodians' shares, by index from 1.
    pub key_shares: Vec<KeyShareEntry>,
    /// The event that was written before the encryption began.
    pub audit: AuditPosition,
}

/// FLOE's header.
pub type Hex74 = super::hex::Hex<74>;

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
