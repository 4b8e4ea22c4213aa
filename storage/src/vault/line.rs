//! Unsigned documents: one line of canonical JSON, ended by a line feed.
//!
//! Invariant: one spelling; any other byte is refused. Believing what a line says is up to who reads it.

use jobs::canonical::{CanonicalError, canonical, parse};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use zeroize::Zeroizing;

/// The document as a JSON value.
pub(super) fn value(document: &impl Serialize) -> Value {
    serde_json::to_value(document).expect("documents are plain data")
}

/// The document's line.
pub(super) fn write(document: &impl Serialize) -> Zeroizing<Vec<u8>> {
    let line = canonical(&value(document)).expect("documents hold numbers up to 2^53");
    Zeroizing::new((line + "\n").into_bytes())
}

/// The document of a line.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, LineError> {
    let line = bytes.strip_suffix(b"\n").ok_or(LineError::Ending)?;
    Ok(serde_json::from_value(parse(line)?)?)
}

/// What stands beside a ciphertext: the canonical JSON of the document without `enc` and `ct`.
pub(super) fn associated(document: &impl Serialize) -> Vec<u8> {
    let mut value = value(document);
    if let Some(members) = value.as_object_mut() {
        members.remove("enc");
        members.remove("ct");
    }
    canonical(&value).expect("documents hold numbers up to 2^53").into_bytes()
}

/// Why bytes are not such a document.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// No line feed at the end.
    #[error("expected one line, ended by a line feed")]
    Ending,
    /// Not canonical JSON.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// Other members than it should have.
    #[error(transparent)]
    Members(#[from] serde_json::Error),
}
