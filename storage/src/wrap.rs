//! Secrets wrapped to a public key: HPKE (RFC 9180, base mode) with X-Wing (ML-KEM-768 and X25519), HKDF-SHA-256 and
//! ChaCha20-Poly1305.
//!
//! Invariant: what was wrapped opens only under the same key, `info` and associated data, and unchanged. The crates that
//! do the work (`hpke`, `x-wing`, `ml-kem`, `curve25519-dalek`) pass the published vectors, and **nobody has audited their
//! X-Wing**. Knows nothing of what is wrapped.

use std::convert::Infallible;
use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::{Kem, XWing};
use hpke::rand_core::{CryptoRng, TryCryptoRng, TryRng};
use hpke::{Deserializable, OpModeR, OpModeS, Serializable, single_shot_open, single_shot_seal_with_rng};
use jobs::failure::{Class, Classified};
use zeroize::Zeroizing;

use crate::key::random;

/// Bytes of the secret half of a key.
pub const SEED_BYTES: usize = 32;
/// Bytes of the public half.
pub const PUBLIC_BYTES: usize = 1216;
/// Bytes of an encapsulation.
pub const ENC_BYTES: usize = 1120;
/// By how much a ciphertext is longer than its plaintext.
pub const TAG_BYTES: usize = 16;

/// The secret half of an epoch's or a one-time key; wiped from memory when dropped. With it goes everything that was
/// wrapped to it.
pub struct EpochKey {
    seed: Zeroizing<[u8; SEED_BYTES]>,
}

/// The public half; one that exists is well-formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochPublic {
    key: <XWing as Kem>::PublicKey,
}

impl EpochKey {
    /// A new key from the system's random generator.
    pub fn generate() -> Self {
        EpochKey { seed: random() }
    }

    /// The key of an X-Wing seed (the draft's decapsulation key, § 5.2).
    pub fn from_seed(seed: &[u8; SEED_BYTES]) -> Self {
        EpochKey { seed: Zeroizing::new(*seed) }
    }

    /// What a key file keeps.
    pub fn seed(&self) -> &[u8; SEED_BYTES] {
        &self.seed
    }

    /// The half for everybody.
    pub fn public(&self) -> EpochPublic {
        EpochPublic { key: XWing::sk_to_pk(&self.private()) }
    }

    fn private(&self) -> <XWing as Kem>::PrivateKey {
        Deserializable::from_bytes(&*self.seed).expect("every 32 bytes are a seed")
    }
}

impl fmt::Debug for EpochKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EpochKey(..)")
    }
}

impl EpochPublic {
    /// Reads the 1,216 bytes of [`EpochPublic::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WrapError> {
        let key =
            Deserializable::from_bytes(bytes).map_err(|_| WrapError::PublicKey { bytes: bytes.len() })?;
        Ok(EpochPublic { key })
    }

    /// The X-Wing encapsulation key: ML-KEM-768's, then X25519's.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.key.to_bytes().to_vec()
    }

    /// SHA-256 of the bytes, by which cores and wrapped shares name the key.
    pub fn sha256(&self) -> [u8; 32] {
        digest(&SHA256, &self.to_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}

/// Wraps `plain` to `key`: the encapsulation (1,120 bytes) and the ciphertext (16 bytes longer than `plain`). `info` says
/// what for and is shorter than 60 kB; `aad` stands beside the ciphertext.
pub fn seal(key: &EpochPublic, info: &[u8], aad: &[u8], plain: &[u8]) -> (Vec<u8>, Vec<u8>) {
    seal_with(&mut SystemRandom, key, info, aad, plain)
}

/// Opens what [`seal`] gave.
pub fn open(
    key: &EpochKey,
    info: &[u8],
    aad: &[u8],
    enc: &[u8],
    ct: &[u8],
) -> Result<Zeroizing<Vec<u8>>, WrapError> {
    let enc = Deserializable::from_bytes(enc).map_err(|_| WrapError::Refused)?;
    single_shot_open::<ChaCha20Poly1305, HkdfSha256, XWing>(
        &OpModeR::Base,
        &key.private(),
        &enc,
        info,
        ct,
        aad,
    )
    .map(Zeroizing::new)
    .map_err(|_| WrapError::Refused)
}

fn seal_with(
    random: &mut impl CryptoRng,
    key: &EpochPublic,
    info: &[u8],
    aad: &[u8],
    plain: &[u8],
) -> (Vec<u8>, Vec<u8>) {
    let (enc, ct) = single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, XWing>(
        &OpModeS::Base,
        &key.key,
        info,
        plain,
        aad,
        random,
    )
    .expect("a well-formed key takes one message");
    (enc.to_bytes().to_vec(), ct)
}

/// The one random generator of this crate, as `hpke` wants to see it.
struct SystemRandom;

impl TryRng for SystemRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(*random()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(*random()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        aws_lc_rs::rand::fill(bytes).expect("the system's random generator answers");
        Ok(())
    }
}

impl TryCryptoRng for SystemRandom {}

/// Why a key cannot be used or something wrapped not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrapError {
    /// The bytes are no public key.
    #[error("{bytes} bytes are not an X-Wing public key: expected {PUBLIC_BYTES} well-formed ones")]
    PublicKey {
        /// How many there were.
        bytes: usize,
    },
    /// It does not open; authentication cannot tell why.
    #[error("does not open: it was wrapped to another key, stands beside other data, or is damaged")]
    Refused,
}

impl Classified for WrapError {
    fn class(&self) -> Class {
        match self {
            WrapError::PublicKey { .. } => Class::Input,
            WrapError::Refused => Class::Integrity,
        }
    }
}

#[cfg(test)]
mod tests;
