//! Bytes that documents and people write as lower-case hexadecimal digits: ids and digests.
//!
//! Invariant: one spelling; upper-case digits and other lengths are refused.

use std::fmt;
use std::str::FromStr;

/// `N` bytes, written as `2 N` lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hex<const N: usize>(pub [u8; N]);

/// Names an object or a request, 16 random bytes, or a vault.
pub type ObjectId = Hex<16>;

/// A SHA-256, BLAKE3 or HMAC-SHA-256.
pub type Digest = Hex<32>;

impl<const N: usize> Hex<N> {
    /// Random bytes of the system.
    pub fn random() -> Self {
        Hex(*crate::key::random::<N>())
    }
}

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<const N: usize> fmt::Debug for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text is not such bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not {digits} lower-case hexadecimal digits")]
pub struct HexError {
    text: String,
    digits: usize,
}

impl<const N: usize> FromStr for Hex<N> {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let read = || {
            let mut bytes = [0; N];
            for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
                *byte = digit(pair[0])? << 4 | digit(*pair.get(1)?)?;
            }
            (text.len() == 2 * N).then_some(Hex(bytes))
        };
        read().ok_or_else(|| HexError { text: text.chars().take(80).collect(), digits: 2 * N })
    }
}

impl<const N: usize> serde::Serialize for Hex<N> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const N: usize> serde::Deserialize<'de> for Hex<N> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_spelling() {
        assert_eq!("00ff10ab".parse::<Hex<4>>().unwrap().to_string(), "00ff10ab");
        for bad in ["", "00ff10a", "00ff10ab0", "00FF10ab", "00ff10a日", "+1ff10ab"] {
            assert!(bad.parse::<Hex<4>>().is_err(), "{bad}");
        }
    }
}
