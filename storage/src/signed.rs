//! Signed documents: a line of canonical JSON and a line of signatures over it (`DESIGN.md`, Documents).
//!
//! Invariant: a document has one spelling, and any other byte anywhere in it is refused. Knows nothing of what the
//! documents say.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jobs::canonical::{CanonicalError, canonical, parse};
use jobs::failure::{Class, Classified};
use serde_json::{Value, json};

use crate::signing::{Signatures, SigningError, SigningKey, VerifyingKey};

/// Both lines of a document. Fails only on numbers that canonical JSON here does not know.
pub fn write(document: &Value, key: &SigningKey) -> Result<Vec<u8>, SignedError> {
    let first = canonical(document)?;
    let signatures = key.sign(first.as_bytes());
    let second = canonical(&json!({
        "ed25519": STANDARD.encode(signatures.ed25519),
        "mldsa65": STANDARD.encode(signatures.mldsa65),
        "signer": hex(&key.public().id()),
    }))?;
    Ok(format!("{first}\n{second}\n").into_bytes())
}

/// The document, if `key` signed it.
pub fn read(bytes: &[u8], key: &VerifyingKey) -> Result<Value, SignedError> {
    let lines = Lines::of(bytes)?;
    lines.verify(key)?;
    lines.document()
}

/// The document and the key that signed it, which it names itself: at `pointer` (RFC 6901; "" is the document) stand
/// `ed25519` and `mldsa65`. That somebody holds the key is all this says; who that is must be known otherwise.
pub fn read_self_signed(bytes: &[u8], pointer: &str) -> Result<(Value, VerifyingKey), SignedError> {
    let lines = Lines::of(bytes)?;
    let document = lines.document()?;
    let key = document.pointer(pointer).and_then(keys_from_json).ok_or(SignedError::Keys)?;
    lines.verify(&key)?;
    Ok((document, key))
}

/// SHA-256 of the first line without its line feed: of a core, *the core's hash*. Does not look at the signatures.
pub fn sha256(bytes: &[u8]) -> Result<[u8; 32], SignedError> {
    let lines = Lines::of(bytes)?;
    Ok(digest(&SHA256, lines.first).as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

/// The members by which documents give public keys: `{"ed25519":BASE64,"mldsa65":BASE64}`.
pub fn keys_to_json(key: &VerifyingKey) -> Value {
    json!({ "ed25519": STANDARD.encode(key.ed25519), "mldsa65": STANDARD.encode(*key.mldsa65) })
}

/// The public keys of an object's members `ed25519` and `mldsa65`.
pub fn keys_from_json(object: &Value) -> Option<VerifyingKey> {
    VerifyingKey::from_bytes(&base64_member(object, "ed25519")?, &base64_member(object, "mldsa65")?)
}

struct Lines<'b> {
    first: &'b [u8],
    second: &'b [u8],
}

impl<'b> Lines<'b> {
    fn of(bytes: &'b [u8]) -> Result<Self, SignedError> {
        let mut lines = bytes.split(|&byte| byte == b'\n');
        match (lines.next(), lines.next(), lines.next(), lines.next()) {
            (Some(first), Some(second), Some([]), None) => Ok(Lines { first, second }),
            _ => Err(SignedError::Lines),
        }
    }

    fn document(&self) -> Result<Value, SignedError> {
        Ok(parse(self.first)?)
    }

    fn verify(&self, key: &VerifyingKey) -> Result<(), SignedError> {
        let line = parse(self.second).map_err(|_| SignedError::Signatures)?;
        let members = line.as_object().filter(|members| members.len() == 3);
        let signer =
            members.and_then(|members| members.get("signer")?.as_str()).ok_or(SignedError::Signatures)?;
        let signatures = base64_member(&line, "ed25519").zip(base64_member(&line, "mldsa65"));
        let (ed25519, mldsa65) = signatures.ok_or(SignedError::Signatures)?;
        let expected = hex(&key.id());
        if signer != expected {
            return Err(SignedError::Signer { expected, found: signer.to_owned() });
        }
        Ok(key.verify(self.first, &Signatures { ed25519, mldsa65 })?)
    }
}

fn base64_member(object: &Value, name: &str) -> Option<Vec<u8>> {
    STANDARD.decode(object.get(name)?.as_str()?).ok()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// Why a document is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignedError {
    /// Not two lines.
    #[error("not a signed document: expected two lines, each ended by a line feed")]
    Lines,
    /// The first line.
    #[error("line 1")]
    Document(#[from] CanonicalError),
    /// The document does not give the keys it should be signed with.
    #[error("line 1: expected the signer's public keys ed25519 and mldsa65 in base64")]
    Keys,
    /// The second line.
    #[error("line 2: expected ed25519, mldsa65 and signer in canonical JSON")]
    Signatures,
    /// Somebody else signed it.
    #[error("line 2: signed by {found}, expected {expected}")]
    Signer {
        /// The id of the key asked for.
        expected: String,
        /// What the document says.
        found: String,
    },
    /// The document or a signature was changed.
    #[error("line 2")]
    Forged(#[from] SigningError),
}

impl Classified for SignedError {
    fn class(&self) -> Class {
        Class::Integrity
    }
}

#[cfg(test)]
mod tests;
