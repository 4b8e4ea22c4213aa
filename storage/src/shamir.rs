//! Secrets of 32 bytes shared t of n (Shamir 1979), over GF(2^8) with the polynomial 0x11b, byte by byte.
//!
//! Invariant: no branch and no address depends on a secret, and all 256 values of a coefficient are equally likely, zero
//! included; drawing none but the others tells something of the secret with every share (RUSTSEC-2024-0398). Interpolation
//! by itself cannot tell a flipped share from a true one: [`combine_committed`] can, and is what reads a vault. Knows
//! nothing of what the secret opens.

use std::collections::BTreeMap;
use std::fmt;
use std::slice;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Context, SHA256};
use jobs::failure::{Class, Classified};
use zeroize::Zeroizing;

use crate::key::random;

/// Bytes of a secret and of each of its shares.
pub const SECRET_BYTES: usize = 32;

/// One share of a secret: the values of its 32 polynomials at `index`. Wiped from memory when dropped.
#[derive(Clone)]
pub struct Share {
    /// Where the polynomials were evaluated, 1 to 255; public.
    pub index: u8,
    /// Their values; secret.
    pub bytes: Zeroizing<[u8; SECRET_BYTES]>,
}

/// Whose shares they are; keeps a custodian's share from passing for a fragment's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of S_c, over the custodians.
    Custodian,
    /// Of S_s, over the fragments.
    Fragment,
}

/// Shares `secret` so that any `threshold` of the `shares` shares give it back and fewer tell nothing of it; their indexes
/// are 1 to `shares`. The threshold must lie in 1..=shares.
pub fn split(secret: &[u8; SECRET_BYTES], threshold: u8, shares: u8) -> Result<Vec<Share>, ShamirError> {
    if threshold == 0 || threshold > shares {
        return Err(ShamirError::Threshold { threshold, shares });
    }
    let coefficients: Vec<_> = (1..threshold).map(|_| random()).collect();
    Ok((1..=shares).map(|index| evaluate(secret, &coefficients, index)).collect())
}

/// The secret from `threshold` shares or more. Shares beyond the threshold must lie on the polynomials of those before them;
/// with exactly `threshold` shares a wrong one gives a wrong secret and no error, so this is for shares that were checked
/// one by one ([`Share::verify`]).
pub fn combine(shares: &[Share], threshold: u8) -> Result<Zeroizing<[u8; SECRET_BYTES]>, ShamirError> {
    let need = usize::from(threshold);
    if threshold == 0 {
        return Err(ShamirError::Threshold { threshold, shares: shares.len().try_into().unwrap_or(u8::MAX) });
    }
    for (at, share) in shares.iter().enumerate() {
        if share.index == 0 {
            return Err(ShamirError::ZeroIndex);
        }
        if shares[..at].iter().any(|before| before.index == share.index) {
            return Err(ShamirError::Duplicate { index: share.index });
        }
    }
    if shares.len() < need {
        return Err(ShamirError::TooFew { have: shares.len(), need: threshold });
    }
    let (used, spare) = shares.split_at(need);
    for share in spare {
        let expected = interpolate(used, share.index);
        verify_slices_are_equal(&*expected, &*share.bytes)
            .map_err(|_| ShamirError::Inconsistent { index: share.index })?;
    }
    Ok(interpolate(used, 0))
}

/// The secret from shares that match what `commitments` says of their index: never a wrong one. One bad share is an error
/// that names it, whatever the others are.
pub fn combine_committed(
    object: &[u8; 16],
    kind: Kind,
    commitments: &BTreeMap<u8, [u8; 32]>,
    shares: &[Share],
    threshold: u8,
) -> Result<Zeroizing<[u8; SECRET_BYTES]>, ShamirError> {
    for share in shares {
        let index = share.index;
        let commitment = commitments.get(&index).ok_or(ShamirError::Unknown { index })?;
        share.verify(object, kind, commitment)?;
    }
    combine(shares, threshold)
}

/// What the seal says of a share without giving it away: SHA-256 over object, kind, index and bytes.
pub fn commitment(object: &[u8; 16], kind: Kind, share: &Share) -> [u8; 32] {
    let mut hash = Context::new(&SHA256);
    hash.update(b"wakachi 2026 vault share");
    hash.update(object);
    hash.update(match kind {
        Kind::Custodian => b"c",
        Kind::Fragment => b"s",
    });
    hash.update(&[share.index]);
    hash.update(&*share.bytes);
    hash.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

impl Share {
    /// Whether it is the share that was committed to; compares in constant time.
    pub fn verify(&self, object: &[u8; 16], kind: Kind, committed: &[u8; 32]) -> Result<(), ShamirError> {
        verify_slices_are_equal(&commitment(object, kind, self), committed)
            .map_err(|_| ShamirError::Mismatch { index: self.index })
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Share({}, ..)", self.index)
    }
}

/// The values at `index` of the polynomials with these coefficients, by Horner's rule.
fn evaluate(
    constant: &[u8; SECRET_BYTES],
    coefficients: &[Zeroizing<[u8; SECRET_BYTES]>],
    index: u8,
) -> Share {
    let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
    for coefficient in coefficients.iter().rev().map(|bytes| &**bytes).chain(slice::from_ref(constant).iter())
    {
        for (value, coefficient) in bytes.iter_mut().zip(coefficient) {
            *value = multiply(*value, index) ^ coefficient;
        }
    }
    Share { index, bytes }
}

/// The values at `x` of the polynomials of least degree through `shares`, whose indexes differ (Lagrange).
fn interpolate(shares: &[Share], x: u8) -> Zeroizing<[u8; SECRET_BYTES]> {
    let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
    for share in shares {
        let others = shares.iter().map(|other| other.index).filter(|&index| index != share.index);
        let (above, below) = others.fold((1, 1), |(above, below), index| {
            (multiply(above, x ^ index), multiply(below, share.index ^ index))
        });
        let weight = multiply(above, invert(below));
        for (value, byte) in bytes.iter_mut().zip(share.bytes.iter()) {
            *value ^= multiply(*byte, weight);
        }
    }
    bytes
}

/// The product in GF(2^8), polynomial x^8 + x^4 + x^3 + x + 1: one step per bit of `b`, masks instead of branches. `b` must
/// be public all the same, an index or what was made of indexes: over 32 bytes the compiler hoists the masks on its bits out
/// of the loop, as branches.
fn multiply(a: u8, b: u8) -> u8 {
    (0..8).rev().fold(0, |product: u8, bit| {
        let reduced = (product << 1) ^ (0x1b & (product >> 7).wrapping_neg());
        reduced ^ (a & ((b >> bit) & 1).wrapping_neg())
    })
}

/// a^254, which is 1/a, and 0 for 0.
fn invert(a: u8) -> u8 {
    // 254 = 2 + 4 + .. + 128.
    let mut square = a;
    (1..8).fold(1, |product, _| {
        square = multiply(square, square);
        multiply(product, square)
    })
}

/// Why shares give no secret, or a secret no shares.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShamirError {
    /// No such sharing exists.
    #[error("{threshold} of {shares} shares cannot be a quorum: expected at least 1 and at most all of them")]
    Threshold {
        /// As asked.
        threshold: u8,
        /// As asked.
        shares: u8,
    },
    /// Not enough shares.
    #[error("{have} shares are there, and {need} are needed")]
    TooFew {
        /// How many were given.
        have: usize,
        /// The threshold.
        need: u8,
    },
    /// One share was given twice, or two claim one index.
    #[error("share {index} is there twice")]
    Duplicate {
        /// The index of both.
        index: u8,
    },
    /// The index at which the secret itself would stand.
    #[error("a share has the index 0: expected 1 to 255")]
    ZeroIndex,
    /// More shares than the threshold, and they are not of one sharing with that threshold.
    #[error("share {index} is not of one sharing with the shares before it")]
    Inconsistent {
        /// The first one that does not fit; the wrong one may be among those before it.
        index: u8,
    },
    /// Nobody committed to a share of this index.
    #[error("share {index} is none of this object's")]
    Unknown {
        /// Its index.
        index: u8,
    },
    /// The share is damaged, or of another object, sharing or kind.
    #[error("share {index} is not the one that was sealed: its hash differs")]
    Mismatch {
        /// Its index.
        index: u8,
    },
}

impl Classified for ShamirError {
    fn class(&self) -> Class {
        match self {
            ShamirError::Threshold { .. } => Class::Usage,
            ShamirError::TooFew { .. } => Class::Quorum,
            ShamirError::Duplicate { .. } => Class::Input,
            ShamirError::ZeroIndex
            | ShamirError::Inconsistent { .. }
            | ShamirError::Unknown { .. }
            | ShamirError::Mismatch { .. } => Class::Integrity,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            ShamirError::TooFew { have, need } => {
                Some(format!("bring {} more", usize::from(*need).saturating_sub(*have)))
            }
            ShamirError::Duplicate { index } => Some(format!("give share {index} once")),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
