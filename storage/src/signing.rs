//! Signatures of two kinds over the same bytes: Ed25519 (RFC 8032) and ML-DSA-65 (FIPS 204, empty context).
//!
//! Invariant: both must hold, so a forger has to break an elliptic curve and a lattice. Knows nothing of what is signed.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::signature::{
    ED25519, Ed25519KeyPair, KeyPair, ML_DSA_65, ML_DSA_65_SIGNING, PqdsaKeyPair, UnparsedPublicKey,
};
use jobs::failure::{Class, Classified};
use zeroize::Zeroizing;

use crate::key::random;

/// Bytes of the two seeds that make a [`SigningKey`].
pub const SEEDS_BYTES: usize = 64;
/// Bytes of an Ed25519 public key.
pub const ED25519_BYTES: usize = 32;
/// Bytes of an ML-DSA-65 public key.
pub const MLDSA65_BYTES: usize = 1952;
/// Bytes of an Ed25519 signature.
pub const ED25519_SIGNATURE_BYTES: usize = 64;
/// Bytes of an ML-DSA-65 signature.
pub const MLDSA65_SIGNATURE_BYTES: usize = 3309;

/// The private keys of one signer.
pub struct SigningKey {
    seeds: Zeroizing<[u8; SEEDS_BYTES]>,
    ed25519: Ed25519KeyPair,
    mldsa65: PqdsaKeyPair,
    public: VerifyingKey,
}

/// The public keys of one signer.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    /// Ed25519, 32 bytes.
    pub ed25519: [u8; ED25519_BYTES],
    /// ML-DSA-65, 1,952 bytes.
    pub mldsa65: Box<[u8; MLDSA65_BYTES]>,
}

/// One signer's two signatures over the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signatures {
    /// Ed25519, 64 bytes.
    pub ed25519: Vec<u8>,
    /// ML-DSA-65, 3,309 bytes.
    pub mldsa65: Vec<u8>,
}

impl SigningKey {
    /// A new signer from the system's random generator.
    pub fn generate() -> Self {
        Self::from_seeds(&random())
    }

    /// The signer of an Ed25519 seed (RFC 8032's private key) followed by an ML-DSA-65 seed (FIPS 204's ξ).
    pub fn from_seeds(seeds: &[u8; SEEDS_BYTES]) -> Self {
        let (first, second) = seeds.split_at(SEEDS_BYTES / 2);
        let ed25519 = Ed25519KeyPair::from_seed_unchecked(first).expect("every 32 bytes are a seed");
        let mldsa65 = PqdsaKeyPair::from_seed(&ML_DSA_65_SIGNING, second).expect("every 32 bytes are a seed");
        let public = VerifyingKey::from_bytes(ed25519.public_key().as_ref(), mldsa65.public_key().as_ref())
            .expect("public keys have their sizes");
        SigningKey { seeds: Zeroizing::new(*seeds), ed25519, mldsa65, public }
    }

    /// What a key file keeps: the Ed25519 seed, then the ML-DSA-65 seed.
    pub fn seeds(&self) -> &[u8; SEEDS_BYTES] {
        &self.seeds
    }

    /// The half for everybody.
    pub fn public(&self) -> &VerifyingKey {
        &self.public
    }

    /// Signs with both keys.
    pub fn sign(&self, message: &[u8]) -> Signatures {
        let mut mldsa65 = vec![0; MLDSA65_SIGNATURE_BYTES];
        self.mldsa65.sign(message, &mut mldsa65).expect("a whole key signs");
        Signatures { ed25519: self.ed25519.sign(message).as_ref().to_vec(), mldsa65 }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

impl VerifyingKey {
    /// From the raw bytes of the two keys; `None` if one has another length than it must.
    pub fn from_bytes(ed25519: &[u8], mldsa65: &[u8]) -> Option<Self> {
        let mldsa65: Box<[u8]> = mldsa65.into();
        Some(VerifyingKey { ed25519: ed25519.try_into().ok()?, mldsa65: mldsa65.try_into().ok()? })
    }

    /// SHA-256 of both keys, by which a document names its signer.
    pub fn id(&self) -> [u8; 32] {
        let mut hash = Context::new(&SHA256);
        hash.update(&self.ed25519);
        hash.update(&*self.mldsa65);
        hash.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    /// Whether both signatures over `message` hold.
    pub fn verify(&self, message: &[u8], signatures: &Signatures) -> Result<(), SigningError> {
        UnparsedPublicKey::new(&ED25519, &self.ed25519)
            .verify(message, &signatures.ed25519)
            .map_err(|_| SigningError { scheme: "Ed25519" })?;
        UnparsedPublicKey::new(&ML_DSA_65, &*self.mldsa65)
            .verify(message, &signatures.mldsa65)
            .map_err(|_| SigningError { scheme: "ML-DSA-65" })
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", crate::signed::hex(&self.id()))
    }
}

/// A signature does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {scheme} signature does not hold")]
pub struct SigningError {
    /// Which of the two.
    pub scheme: &'static str,
}

impl Classified for SigningError {
    fn class(&self) -> Class {
        Class::Integrity
    }
}

#[cfg(test)]
mod tests;
