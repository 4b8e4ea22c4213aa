//! What a vault is: its sites, its custodians, how much may be lost, and the sealer's public key.
//!
//! Invariant: a [`Description`] was read from a document that the key it names has signed, and its numbers fit each
//! other: the stated loss of sites is survivable, the quorum is one of its custodians.

use jobs::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::base64::Base64;
use super::hex::ObjectId;
use crate::signing::VerifyingKey;

/// Most fragments of an object: their files are numbered with two digits.
pub const FRAGMENTS_MAX: usize = 100;
/// Most custodians of a vault.
pub const CUSTODIANS_MAX: usize = 100;
/// Least data fragments: with one, a fragment holds the whole ciphertext and its half of the key.
pub const DATA_MIN: u8 = 2;
/// Least custodians of a quorum: with one, each custodian alone is a quorum.
pub const QUORUM_MIN: u8 = 2;

/// A vault: `vault.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// `wakachi.vault/1`.
    pub format: String,
    /// The vault.
    pub id: ObjectId,
    /// Its name, for people.
    pub name: String,
    /// Data fragments of each object, k.
    pub data: u8,
    /// Parity fragments of each object, m.
    pub parity: u8,
    /// Custodians that are needed to restore, t.
    pub quorum: u8,
    /// Sites that may be lost.
    pub site_losses: u8,
    /// Where fragments lie.
    pub sites: Vec<SiteEntry>,
    /// Who holds shares of the keys, by index from 1.
    pub custodians: Vec<Custodian>,
    /// Who signs everything in it.
    pub sealer: PublicKeys,
    /// When it was made.
    pub created: Timestamp,
    /// The program that made it.
    pub program: String,
}

/// One site of a vault.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteEntry {
    /// Its name.
    pub name: String,
    /// Its store.
    pub url: String,
}

/// A custodian: the first line of `NAME.pub.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Custodian {
    /// `wakachi.custodian/1`.
    pub format: String,
    /// The custodian.
    pub name: String,
    /// Where the custodian's shares lie.
    pub ledger: String,
    /// Ed25519 public key.
    pub ed25519: Base64,
    /// ML-DSA-65 public key.
    pub mldsa65: Base64,
    /// Counts up with every new epoch key.
    pub key_epoch: u64,
    /// X-Wing public key to which shares are wrapped.
    pub epoch_key: Base64,
    /// When the document was made.
    pub created: Timestamp,
}

/// The two public keys of a signer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicKeys {
    /// Ed25519.
    pub ed25519: Base64,
    /// ML-DSA-65.
    pub mldsa65: Base64,
}
