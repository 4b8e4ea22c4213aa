//! The sealer: whoever holds it may add objects to the vault and ask custodians in its name.
//!
//! Invariant: its secrets come from `vault.key` under a passphrase, and are wiped from memory when it is dropped.

use std::path::{Path, PathBuf};

use aws_lc_rs::hmac;
use jobs::event::Node;
use jobs::failure::{Class, Classified};
use zeroize::Zeroizing;

use super::hex::{Digest, Hex};
use super::{AUDIT_LOG, SEALER_KEY, Vault};
use crate::audit::{AuditError, AuditLog};
use crate::key::random;
use crate::keyfile::{self, KeyFileError, Kind};
use crate::signing::{SEEDS_BYTES, SigningKey};

const INDEX_KEY_BYTES: usize = 32;

/// The vault's signing keys and its index key.
#[derive(Debug)]
pub struct Sealer {
    pub(super) signing: SigningKey,
    index: IndexKey,
}

/// Makes hashes that only the sealer can make again.
struct IndexKey(Zeroizing<[u8; INDEX_KEY_BYTES]>);

impl std::fmt::Debug for IndexKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IndexKey(..)")
    }
}

impl Sealer {
    /// New keys from the system's random generator.
    pub(super) fn generate() -> Self {
        Sealer { signing: SigningKey::generate(), index: IndexKey(random()) }
    }

    /// Keeps the keys in the vault's folder.
    pub(super) fn write(&self, folder: &Path, name: &str, passphrase: &str) -> Result<(), KeyFileError> {
        let mut secrets = Zeroizing::new(Vec::with_capacity(SEEDS_BYTES + INDEX_KEY_BYTES));
        secrets.extend_from_slice(self.signing.seeds());
        secrets.extend_from_slice(&*self.index.0);
        keyfile::write(&folder.join(SEALER_KEY), Kind::Sealer, name, &secrets, passphrase)
    }

    fn read(path: &Path, passphrase: &str) -> Result<Self, KeyFileError> {
        let secrets = keyfile::read(path, Kind::Sealer, passphrase)?;
        let (seeds, index) = secrets.split_at(SEEDS_BYTES);
        let seeds = Zeroizing::new(seeds.try_into().expect("a sealer's file has two seeds and a key"));
        let index = Zeroizing::new(index.try_into().expect("a sealer's file has two seeds and a key"));
        Ok(Sealer { signing: SigningKey::from_seeds(&seeds), index: IndexKey(index) })
    }

    /// Opens or begins the vault's audit log. Its Ed25519 key is the sealer's, which `vault.json` names, and its name is
    /// the vault's id.
    pub fn open_log(&self, vault: &Vault, node: Node) -> Result<AuditLog, AuditError> {
        let (seed, _) = self.signing.seeds().split_at(SEEDS_BYTES / 2);
        let seed = Zeroizing::new(seed.try_into().expect("two seeds of 32 bytes"));
        let id = vault.description.id.to_string();
        AuditLog::open(&vault.folder.join(AUDIT_LOG), &seed, &id, node)
    }

    /// Keyed hash of a participant's code, as it stands in cores and in the audit log: HMAC-SHA-256 under a key made of
    /// the index key.
    pub fn participant_h(&self, participant: &str) -> Digest {
        let key = Zeroizing::new(hmac_sha256(&*self.index.0, b"wakachi 2026 participant"));
        Hex(hmac_sha256(&*key, participant.as_bytes()))
    }

    /// What finds a file of this SHA-256 again.
    pub(super) fn content(&self, plaintext_sha256: &[u8]) -> Digest {
        Hex(hmac_sha256(&*self.index.0, plaintext_sha256))
    }
}

fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    tag.as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes")
}

impl Vault {
    /// Unlocks the sealer's keys.
    pub fn unlock(&self, passphrase: &str) -> Result<Sealer, UnlockError> {
        let path = self.folder.join(SEALER_KEY);
        let sealer = Sealer::read(&path, passphrase)?;
        match *sealer.signing.public() == self.sealer {
            true => Ok(sealer),
            false => Err(UnlockError::Other { path }),
        }
    }
}

/// Why the sealer's keys were not unlocked.
#[derive(Debug, thiserror::Error)]
pub enum UnlockError {
    /// The key file is not to be had or does not open.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The keys are another vault's.
    #[error("{} holds the keys of another vault", path.display())]
    Other {
        /// `vault.key`.
        path: PathBuf,
    },
}

impl Classified for UnlockError {
    fn class(&self) -> Class {
        match self {
            UnlockError::KeyFile(error) => error.class(),
            UnlockError::Other { .. } => Class::Integrity,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            UnlockError::KeyFile(error) => error.hint(),
            UnlockError::Other { .. } => Some("put this vault's vault.key back from a backup".to_owned()),
        }
    }
}
