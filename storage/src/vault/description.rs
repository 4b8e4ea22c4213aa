//! What a vault is: its sites, its custodians, how much may be lost, and the sealer's public key.
//!
//! Invariant: a [`Description`] was read from a document that the key it names has signed, and its numbers fit each
//! other: the stated loss of sites is survivable, the quorum is one of its custodians.

use aws_lc_rs::digest::{SHA256, digest};
use jobs::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::base64::Base64;
use super::hex::{Digest, Hex, ObjectId};
use super::init::{quorate, survivable};
use crate::signed;
use crate::signing::VerifyingKey;
use crate::wrap::{EpochPublic, WrapError};

pub(super) const FORMAT: &str = "wakachi.vault/1";
pub(super) const CUSTODIAN_FORMAT: &str = "wakachi.custodian/1";

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
    /// The vault: the first bytes of its sealer's id, so that nobody else can sign for it.
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

impl Description {
    /// The description of a document whose signatures hold, if it makes sense.
    pub(super) fn of(document: Value) -> Result<Self, String> {
        let description: Description =
            serde_json::from_value(document).map_err(|error| format!("not a description: {error}"))?;
        if description.format != FORMAT {
            return Err(format!("format {}, expected {FORMAT}", description.format));
        }
        description.signer()?;
        // What a vault is not made with is not believed of one either.
        let Description { data, parity, sites, custodians, .. } = &description;
        survivable(*data, *parity, sites, Some(description.site_losses))
            .map_err(|error| error.to_string())?;
        quorate(description.quorum, custodians).map_err(|error| error.to_string())?;
        if let Some(site) =
            (1..sites.len()).find(|&at| sites[..at].iter().any(|one| one.url == sites[at].url))
        {
            return Err(format!("site {} lies where another does", sites[site].name));
        }
        for custodian in custodians {
            custodian.public().map_err(|error| format!("custodian {}: {error}", custodian.name))?;
        }
        Ok(description)
    }

    /// The sealer's keys, if they are those that the vault's id names.
    pub(super) fn signer(&self) -> Result<VerifyingKey, String> {
        let PublicKeys { ed25519, mldsa65 } = &self.sealer;
        let key = VerifyingKey::from_bytes(&ed25519.0, &mldsa65.0);
        let key = key.ok_or("the sealer's keys are no keys")?;
        match vault_id(&key) == self.id {
            true => Ok(key),
            false => Err(format!("vault {} has another sealer: this one's is {}", self.id, vault_id(&key))),
        }
    }

    /// Fragments of an object, k+m.
    pub fn fragments(&self) -> usize {
        usize::from(self.data) + usize::from(self.parity)
    }

    /// The site of a fragment: they go round.
    pub(super) fn site_of(&self, index: u8) -> &SiteEntry {
        &self.sites[usize::from(index) % self.sites.len()]
    }

    /// Counts up when all custodians get new keys.
    pub(super) fn key_epoch(&self) -> u64 {
        self.custodians.first().map_or(0, |custodian| custodian.key_epoch)
    }
}

/// The id of the vault that a sealer with these keys signs for: the first bytes of the sealer's id.
pub(super) fn vault_id(sealer: &VerifyingKey) -> ObjectId {
    let id = sealer.id();
    Hex(*id.first_chunk().expect("SHA-256 has more than 16 bytes"))
}

/// How many sites, whichever, may be lost of `sites` over which k+m fragments go round: a site has at most one fragment
/// more than another, so the fullest come first.
pub(super) fn survivable_losses(data: u8, parity: u8, sites: usize) -> usize {
    if sites == 0 {
        return 0;
    }
    let fragments = usize::from(data) + usize::from(parity);
    let loads = (0..sites).map(|site| fragments / sites + usize::from(site < fragments % sites));
    let lost = loads.scan(0, |lost, load| {
        *lost += load;
        Some(*lost)
    });
    // Sites without fragments still hold the documents, of which one replica is enough.
    lost.take_while(|lost| *lost <= parity.into()).count().min(sites - 1)
}

impl Custodian {
    /// The custodian's document, if the keys it names signed it and it makes sense.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() as u64 > super::DOCUMENT_BYTES_MAX {
            return Err(format!("{} bytes are too many for a custodian's document", bytes.len()));
        }
        let read = signed::read_self_signed(bytes, "");
        let (document, _) = read.map_err(|error| super::finding::chain(&error))?;
        let custodian: Custodian = serde_json::from_value(document)
            .map_err(|error| format!("not a custodian's document: {error}"))?;
        if custodian.format != CUSTODIAN_FORMAT {
            return Err(format!("format {}, expected {CUSTODIAN_FORMAT}", custodian.format));
        }
        custodian.public().map_err(|error| error.to_string())?;
        Ok(custodian)
    }

    /// The key to which shares are wrapped.
    pub(super) fn public(&self) -> Result<EpochPublic, WrapError> {
        EpochPublic::from_bytes(&self.epoch_key.0)
    }

    /// By which cores and shares name the key.
    pub(super) fn epoch_key_sha256(&self) -> Digest {
        Hex(digest(&SHA256, &self.epoch_key.0).as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

impl PublicKeys {
    /// The public keys of a signer.
    pub(super) fn of(key: &VerifyingKey) -> Self {
        PublicKeys { ed25519: Base64(key.ed25519.to_vec()), mldsa65: Base64(key.mldsa65.to_vec()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_sites_may_be_lost_as_parity_covers() {
        let check = |data, parity, sites, expect| {
            assert_eq!(survivable_losses(data, parity, sites), expect, "{data}+{parity} over {sites}");
        };
        check(3, 2, 5, 2);
        check(3, 2, 4, 1);
        check(3, 2, 3, 1);
        check(3, 2, 2, 0);
        check(3, 2, 1, 0);
        check(3, 2, 0, 0);
        check(10, 4, 7, 2);
        check(10, 4, 14, 4);
        check(2, 2, 9, 2);
    }
}
