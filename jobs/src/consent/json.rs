//! JSON (RFC 8259) as a tree whose values know where they stand, so that a diagnostic can point at them.
//!
//! Invariant: syntax is serde_json's to judge; this module adds places, and refuses what it leaves open: doubled keys
//! and nesting without end. Knows nothing of FHIR.

use crate::diagnostic::{Findings, Source};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Most levels of lists and objects; FHIR resources of ours have a dozen.
const DEPTH_MAX: usize = 48;

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    /// Offset of its first byte.
    pub at: usize,
    /// Offset behind its last.
    pub end: usize,
    pub json: Json,
}

#[derive(Debug)]
pub(super) enum Json {
    Null,
    Bool(bool),
    /// As written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    /// Keys as they stand.
    Object(Vec<(String, Node)>),
}

impl Node {
    /// The member under a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.members().iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    /// The members of an object; none of anything else.
    pub fn members(&self) -> &[(String, Node)] {
        if let Json::Object(members) = &self.json { members } else { &[] }
    }

    /// The text of a string.
    pub fn text(&self) -> Option<&str> {
        if let Json::Text(text) = &self.json { Some(text) } else { None }
    }

    /// The whole tree of a value.
    pub fn read(raw: &RawValue, source: &Source<'_>, found: &mut Findings) -> Node {
        node(raw, 0, source, found)
    }
}

/// The whole text as one value that is still to be read.
pub(super) fn whole<'t>(source: &Source<'t>, found: &mut Findings) -> Option<&'t RawValue> {
    let text = source.text();
    let whole = serde_json::from_str::<&RawValue>(text);
    let error = match whole {
        Ok(whole) => return Some(whole),
        Err(error) => error,
    };
    let before = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len);
    let at = before.sum::<usize>() + error.column().saturating_sub(1);
    // The message ends with the place in serde_json's own words.
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    found.error(|| source.place(at), format!("E-FHIR-PROFILE: not JSON: {message}"), None);
    None
}

/// The members of an object, values still to be read; none if it is no object.
pub(super) fn members(raw: &RawValue) -> Option<Vec<(String, &RawValue)>> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(String, &'de RawValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }
    serde_json::Deserializer::from_str(raw.get()).deserialize_map(Members).ok()
}

/// The items of a list, still to be read; none if it is no list.
pub(super) fn items(raw: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(raw.get()).ok()
}

/// Offset of a value in the text it was read from.
pub(super) fn offset(raw: &RawValue, source: &Source<'_>) -> usize {
    (raw.get().as_ptr() as usize).wrapping_sub(source.text().as_ptr() as usize)
}

/// Reports keys that stand twice.
pub(super) fn check_keys<'k>(
    keys: impl Iterator<Item = (&'k str, usize)>,
    source: &Source<'_>,
    found: &mut Findings,
) {
    let mut keys: Vec<_> = keys.collect();
    keys.sort();
    for pair in keys.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
        found.error(|| source.place(pair[1].1), "E-FHIR-PROFILE: the key of this value stands twice", None);
    }
}

fn node(raw: &RawValue, depth: usize, source: &Source<'_>, found: &mut Findings) -> Node {
    let at = offset(raw, source);
    let mut refuse = |message: &str| {
        found.error(|| source.place(at), format!("E-FHIR-PROFILE: {message}"), None);
        Json::Null
    };
    let json = match raw.get().as_bytes().first() {
        Some(b'{' | b'[') if depth == DEPTH_MAX => {
            refuse(&format!("lists and objects are nested more than {DEPTH_MAX} deep"))
        }
        Some(b'{') => match members(raw) {
            Some(members) => {
                let child = |(key, raw)| (key, node(raw, depth + 1, source, found));
                let members: Vec<_> = members.into_iter().map(child).collect();
                check_keys(members.iter().map(|(key, node)| (key.as_str(), node.at)), source, found);
                Json::Object(members)
            }
            None => refuse("a key of this object is not Unicode"),
        },
        Some(b'[') => {
            let items = items(raw).unwrap_or_default();
            Json::List(items.into_iter().map(|raw| node(raw, depth + 1, source, found)).collect())
        }
        Some(b'"') => match serde_json::from_str(raw.get()) {
            Ok(text) => Json::Text(text),
            Err(_) => refuse("this string is not Unicode"),
        },
        Some(b't') => Json::Bool(true),
        Some(b'f') => Json::Bool(false),
        Some(b'n') | None => Json::Null,
        Some(_) => Json::Number(raw.get().to_owned()),
    };
    Node { at, end: at + raw.get().len(), json }
}
