//! Bytes that documents write in base64: standard alphabet, with padding.
//!
//! Invariant: one spelling; what another encoder would write otherwise is refused.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Bytes, written in base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base64(pub Vec<u8>);

impl serde::Serialize for Base64 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> serde::Deserialize<'de> for Base64 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        STANDARD.decode(&*text).map(Base64).map_err(|_| serde::de::Error::custom("not base64"))
    }
}
