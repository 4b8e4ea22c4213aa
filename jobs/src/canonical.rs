//! Canonical JSON (RFC 8785, JCS): one spelling for one document, so that it can be hashed, signed and chained.
//!
//! Invariant: `canonical` of equal values is the same bytes, and `parse` accepts only those bytes. Numbers are whole and
//! at most 2^53 in size; everything of ours that is hashed needs no other.

use serde_json::Value;

/// Largest whole number that every JSON reader keeps exactly.
const WHOLE_MAX: u64 = 1 << 53;

/// Why a value has no canonical form here, or bytes are not in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// A number is not whole or too large.
    #[error("the number {number} is not a whole one of at most 2^53")]
    Number {
        /// As written.
        number: String,
    },
    /// The bytes are not JSON.
    #[error("not JSON at line {line}, column {column}")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// The bytes are JSON, spelled otherwise.
    #[error("not in canonical form (RFC 8785)")]
    Spelling,
}

/// The canonical bytes of a value, without a line break.
pub fn canonical(value: &Value) -> Result<String, CanonicalError> {
    let mut text = String::new();
    write(value, &mut text)?;
    Ok(text)
}

/// The value of bytes that are in canonical form.
pub fn parse(bytes: &[u8]) -> Result<Value, CanonicalError> {
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|error| CanonicalError::Syntax { line: error.line(), column: error.column() })?;
    match canonical(&value)?.as_bytes() == bytes {
        true => Ok(value),
        false => Err(CanonicalError::Spelling),
    }
}

fn write(value: &Value, text: &mut String) -> Result<(), CanonicalError> {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(yes) => text.push_str(if *yes { "true" } else { "false" }),
        Value::Number(number) => {
            let size = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            if size.is_none_or(|size| size > WHOLE_MAX) {
                return Err(CanonicalError::Number { number: number.to_string() });
            }
            text.push_str(&number.to_string());
        }
        // serde_json escapes what RFC 8785 § 3.2.2.2 wants escaped, in the same way.
        Value::String(string) => text.push_str(&Value::from(string.as_str()).to_string()),
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write(item, text)?;
            }
            text.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            // § 3.2.3: by UTF-16 code units.
            members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            text.push('{');
            for (at, (key, item)) in members.into_iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                write(item, text)?;
            }
            text.push('}');
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_sorted_and_strings_escaped_as_rfc_8785_shows() {
        // The key order of § 3.2.3's example and the string of § 3.2.2's.
        let keys =
            json!({"\u{20ac}": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "\u{1f600}": 5, "\u{80}": 6, "\u{f6}": 7});
        let expect =
            "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":1,\"\u{1f600}\":5,\"\u{fb33}\":3}";
        assert_eq!(canonical(&keys).unwrap(), expect);
        let string = json!("\u{20ac}$\u{f}\nA'B\"\\\\\"/");
        assert_eq!(canonical(&string).unwrap(), "\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"");
    }

    #[test]
    fn only_the_canonical_spelling_is_read() {
        for good in ["{}", "[]", "{\"a\":[1,-2,null,true]}", "9007199254740992"] {
            assert_eq!(canonical(&parse(good.as_bytes()).unwrap()).unwrap(), good);
        }
        for bad in [
            "",
            "{ }",
            "{\"b\":1,\"a\":2}",
            "{\"a\":1,\"a\":1}",
            "1.0",
            "1e2",
            "9007199254740993",
            "\"\\u0041\"",
            "-0",
            "{}\n",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
