//! Signed leases, as they travel with a task.
//!
//! Invariant: a [`SignedLease`] shows its claims only to who checks the signature, and only once. The key is the
//! scheduler's; workers hold its public half. Leases live for minutes, so Ed25519 alone signs them.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use jobs::failure::{Class, Classified};
use jobs::lease::{Expected, Lease, LeaseError};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use zeroize::Zeroizing;

/// What is signed before the claims, so that no signature of another kind can stand for a lease.
const DOMAIN: &str = "wakachi 2026 lease\n";

/// The scheduler's key.
pub struct LeaseKey {
    pair: Ed25519KeyPair,
    verifier: LeaseVerifier,
}

/// The public half, as a worker knows it, and which leases it took already.
#[derive(Debug)]
pub struct LeaseVerifier {
    key: [u8; 32],
    /// Digests of tasks with their attempts: a job may have millions.
    used: Mutex<BTreeSet<[u8; 16]>>,
}

/// Claims with a signature over them.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SignedLease {
    text: String,
    /// 64 bytes, or it is not the scheduler's.
    signature: Vec<u8>,
}

/// Why a task is not run under the lease that came with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseRefused {
    /// The signature is not the scheduler's.
    #[error("the lease of task {task} is not signed by this job's scheduler")]
    Signature {
        /// The task it came with.
        task: String,
    },
    /// The claims are in no known form.
    #[error("the lease of task {task} is not in the form this version writes")]
    Form {
        /// The task it came with.
        task: String,
    },
    /// It was used before.
    #[error("the lease of task {task}, attempt {attempt}, was used already")]
    Used {
        /// The task it came with.
        task: String,
        /// The attempt.
        attempt: u32,
    },
    /// The claims do not hold here.
    #[error("task {task} is not leased")]
    Claims {
        /// The task it came with.
        task: String,
        /// Which of them.
        #[source]
        source: LeaseError,
    },
}

impl Classified for LeaseRefused {
    fn class(&self) -> Class {
        Class::Policy
    }
}

impl LeaseKey {
    /// The key of these 32 secret bytes.
    pub fn from_seed(seed: &Zeroizing<[u8; 32]>) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed[..]).expect("32 bytes are a seed");
        let key = pair.public_key().as_ref().try_into().expect("32 bytes");
        LeaseKey { pair, verifier: LeaseVerifier::new(key) }
    }

    /// The public half.
    pub fn public(&self) -> [u8; 32] {
        self.verifier.key
    }

    /// Who knows the public half here.
    pub fn verifier(&self) -> &LeaseVerifier {
        &self.verifier
    }

    /// Signs a lease.
    pub fn sign(&self, lease: &Lease) -> SignedLease {
        let text = lease.text();
        let signature = self.pair.sign(format!("{DOMAIN}{text}").as_bytes());
        SignedLease { signature: signature.as_ref().to_vec(), text }
    }
}

impl SignedLease {
    /// What the log calls it: SHA-256 of claims and signature, in hexadecimal.
    pub fn id(&self) -> String {
        digest(&SHA256, &[self.text.as_bytes(), &self.signature[..]].concat()).as_ref().iter().fold(
            String::new(),
            |mut id, byte| {
                let _ = write!(id, "{byte:02x}");
                id
            },
        )
    }
}

impl LeaseVerifier {
    /// Somebody elsewhere who was told the public half.
    pub fn of(key: [u8; 32]) -> Self {
        LeaseVerifier { key, used: Mutex::default() }
    }

    /// Verifies what the scheduler with this public key signs.
    pub fn new(key: [u8; 32]) -> Self {
        LeaseVerifier { key, used: Mutex::default() }
    }

    /// The scheduler's public key, for workers elsewhere.
    pub fn key(&self) -> [u8; 32] {
        self.key
    }

    /// The claims of a lease that is the scheduler's, holds for what was asked, and was not used before; now it is.
    pub fn verify(&self, lease: &SignedLease, expected: Expected<'_>) -> Result<Lease, LeaseRefused> {
        let task = || expected.task.to_owned();
        let message = format!("{DOMAIN}{}", lease.text);
        UnparsedPublicKey::new(&ED25519, self.key)
            .verify(message.as_bytes(), &lease.signature)
            .map_err(|_| LeaseRefused::Signature { task: task() })?;
        let claims = Lease::from_text(&lease.text).map_err(|_| LeaseRefused::Form { task: task() })?;
        claims.check(expected).map_err(|source| LeaseRefused::Claims { task: task(), source })?;
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        match used.insert(name(&claims)) {
            true => Ok(claims),
            false => Err(LeaseRefused::Used { task: task(), attempt: claims.attempt }),
        }
    }
}

fn name(lease: &Lease) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&lease.attempt.to_le_bytes()).update(lease.task.as_bytes());
    *hasher.finalize().as_bytes().first_chunk().expect("32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::policy::{Action, DataClass, Purpose};
    use jobs::time::Timestamp;

    #[test]
    fn a_lease_changed_on_its_way_or_used_before_is_refused() {
        let key = LeaseKey::from_seed(&Zeroizing::new([7; 32]));
        let samples = vec!["S1".to_owned()];
        let lease = Lease {
            job: "j".to_owned(),
            task: "t".to_owned(),
            attempt: 1,
            action: Action::Read,
            class: DataClass::Fastq,
            samples: samples.clone(),
            purpose: Purpose::Research,
            site: "here".to_owned(),
            epoch: 1,
            policy_sha256: String::new(),
            issued: Timestamp::from_micros(1),
            expires: Timestamp::from_micros(9),
        };
        let expected = Expected {
            job: "j",
            task: "t",
            attempt: 1,
            action: Action::Read,
            class: DataClass::Fastq,
            samples: &samples,
            purpose: Purpose::Research,
            site: "here",
            epoch: 1,
            policy_sha256: "",
            now: Timestamp::from_micros(1),
        };
        let signed = key.sign(&lease);
        assert_eq!(key.verifier().verify(&signed, expected), Ok(lease.clone()));
        let again = key.verifier().verify(&signed, expected).unwrap_err();
        assert_eq!(again, LeaseRefused::Used { task: "t".to_owned(), attempt: 1 });
        let second = key.sign(&Lease { attempt: 2, ..lease });
        assert!(key.verifier().verify(&second, Expected { attempt: 2, ..expected }).is_ok());
        assert_ne!(signed.id(), second.id());
        // It travels to a worker elsewhere, who knows the public key alone.
        let sent = postcard::to_stdvec(&signed).unwrap();
        let elsewhere = LeaseVerifier::new(key.verifier().key());
        let received: SignedLease = postcard::from_bytes(&sent).unwrap();
        assert!(received == signed && elsewhere.verify(&received, expected).is_ok());
        for at in 0..sent.len() {
            let changed = [&sent[..at], &[sent[at] ^ 1], &sent[at + 1..]].concat();
            let received = postcard::from_bytes::<SignedLease>(&changed);
            let elsewhere = LeaseVerifier::new(key.verifier().key());
            assert!(received.map_or(true, |lease| elsewhere.verify(&lease, expected).is_err()), "byte {at}");
        }
        for bit in 0..signed.text.len() * 8 {
            let mut bytes = signed.text.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let Ok(text) = String::from_utf8(bytes) else { continue };
            let changed = SignedLease { text, ..signed.clone() };
            let refused = key.verifier().verify(&changed, expected).unwrap_err();
            assert_eq!(refused, LeaseRefused::Signature { task: "t".to_owned() });
        }
        let other = LeaseKey::from_seed(&Zeroizing::new([8; 32]));
        assert!(other.verifier().verify(&signed, expected).is_err());
        let late = Expected { now: Timestamp::from_micros(9), ..expected };
        assert!(matches!(key.verifier().verify(&signed, late), Err(LeaseRefused::Claims { .. })));
    }
}
