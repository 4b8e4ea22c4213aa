//! Signed leases, as they travel with a task.
//!
//! Invariant: a [`SignedLease`] shows its claims only to who checks the signature. The key is the scheduler's; workers
//! hold its public half. Leases live for minutes, so Ed25519 alone signs them.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use jobs::failure::{Class, Classified};
use jobs::lease::{Expected, Lease, LeaseError};
use zeroize::Zeroizing;

/// What is signed before the claims, so that no signature of another kind can stand for a lease.
const DOMAIN: &str = "wakachi 2026 lease\n";

/// The scheduler's key.
pub struct LeaseKey(Ed25519KeyPair);

/// The public half, as workers know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseVerifier([u8; 32]);

/// Claims with a signature over them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedLease {
    text: String,
    signature: [u8; 64],
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
        LeaseKey(Ed25519KeyPair::from_seed_unchecked(&seed[..]).expect("32 bytes are a seed"))
    }

    /// The public half.
    pub fn verifier(&self) -> LeaseVerifier {
        LeaseVerifier(self.0.public_key().as_ref().try_into().expect("32 bytes"))
    }

    /// Signs a lease.
    pub fn sign(&self, lease: &Lease) -> SignedLease {
        let text = lease.text();
        let signature = self.0.sign(format!("{DOMAIN}{text}").as_bytes());
        SignedLease { signature: signature.as_ref().try_into().expect("64 bytes"), text }
    }
}

impl LeaseVerifier {
    /// The claims of a lease that is the scheduler's and holds for what was asked.
    pub fn verify(&self, lease: &SignedLease, expected: Expected<'_>) -> Result<Lease, LeaseRefused> {
        let task = || expected.task.to_owned();
        let message = format!("{DOMAIN}{}", lease.text);
        UnparsedPublicKey::new(&ED25519, self.0)
            .verify(message.as_bytes(), &lease.signature)
            .map_err(|_| LeaseRefused::Signature { task: task() })?;
        let claims = Lease::from_text(&lease.text).map_err(|_| LeaseRefused::Form { task: task() })?;
        claims.check(expected).map_err(|source| LeaseRefused::Claims { task: task(), source })?;
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::policy::{Action, DataClass, Purpose};
    use jobs::time::Timestamp;

    #[test]
    fn a_lease_changed_on_its_way_is_refused() {
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
        let (job, task, site, now) = ("j", "t", "here", Timestamp::from_micros(1));
        let expected = Expected { job, task, attempt: 1, samples: &samples, site, epoch: 1, now };
        let signed = key.sign(&lease);
        assert_eq!(key.verifier().verify(&signed, expected), Ok(lease));
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
