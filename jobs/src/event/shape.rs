//! The common fields of a record and what may stand in them.

use super::EventName;
use crate::time::Timestamp;
use serde_json::{Map, Value};

/// What a field holds.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Time,
    Event,
    Outcome,
    Whole,
    WholeOrNull,
    TextOrNull,
    Texts,
    TextsOrNull,
    Members(&'static [(&'static str, Shape)]),
}
use Shape::{Members, TextOrNull, Texts, TextsOrNull, Whole, WholeOrNull};

/// The event table's common fields, all of which every record has.
const COMMON: &[(&str, Shape)] = &[
    ("seq", Whole),
    ("time", Shape::Time),
    ("event", Shape::Event),
    ("type_uid", Whole),
    ("outcome", Shape::Outcome),
    (
        "actor",
        Members(&[
            ("sub", TextOrNull),
            ("org", TextOrNull),
            ("role", TextOrNull),
            ("auth", TextOrNull),
            ("session", TextOrNull),
            ("ip", TextOrNull),
        ]),
    ),
    ("node", Members(&[("site", TextOrNull), ("worker", TextOrNull), ("spki", TextOrNull)])),
    (
        "object",
        Members(&[("id", TextOrNull), ("class", TextOrNull), ("level", WholeOrNull), ("sha256", TextOrNull)]),
    ),
    ("participant_h", TextOrNull),
    ("consent_epoch", WholeOrNull),
    ("grant", TextOrNull),
    ("job", TextOrNull),
    ("shard", TextOrNull),
    ("attempt", WholeOrNull),
    (
        "tool",
        Members(&[
            ("name", TextOrNull),
            ("version", TextOrNull),
            ("args_sha256", TextOrNull),
            ("args", TextsOrNull),
        ]),
    ),
    ("reasons", Texts),
    ("policy_sha256", TextOrNull),
    ("bytes", WholeOrNull),
    ("records", WholeOrNull),
    ("cost_microyen", WholeOrNull),
    ("trace_id", TextOrNull),
];

/// A record is not one of the event table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} in '{field}', found {found}")]
pub struct ShapeError {
    /// The field, such as `actor.sub`.
    pub field: String,
    /// What it should hold.
    pub expected: String,
    /// What it holds, cut short.
    pub found: String,
}

/// Refuses a record without all common fields, with something else in one of them, or with another type than its
/// event's. Returns the event.
pub fn check(record: &Map<String, Value>) -> Result<EventName, ShapeError> {
    members(record, COMMON, "")?;
    let event: EventName = record["event"].as_str().and_then(|name| name.parse().ok()).expect("just checked");
    let type_uid = record["type_uid"].as_u64();
    if !event.type_uids().iter().any(|&expected| type_uid == Some(u64::from(expected))) {
        let expected = format!("{:?}", event.type_uids());
        return Err(wrong("type_uid".to_owned(), &expected, record.get("type_uid")));
    }
    for (field, expected) in event.constants() {
        if record.get(field) != Some(&expected) {
            return Err(wrong(field.to_owned(), &expected.to_string(), record.get(field)));
        }
    }
    Ok(event)
}

fn members(record: &Map<String, Value>, shapes: &[(&str, Shape)], above: &str) -> Result<(), ShapeError> {
    for (name, shape) in shapes {
        let field = || format!("{above}{name}");
        let found = record.get(*name);
        match (shape, found) {
            (Members(shapes), Some(Value::Object(inner))) => {
                members(inner, shapes, &format!("{}.", field()))?
            }
            (shape, Some(value)) if shape.admits(value) => {}
            (shape, found) => return Err(wrong(field(), shape.words(), found)),
        }
    }
    Ok(())
}

fn wrong(field: String, expected: &str, found: Option<&Value>) -> ShapeError {
    let found =
        found.map_or_else(|| "nothing".to_owned(), |value| value.to_string().chars().take(80).collect());
    ShapeError { field, expected: expected.to_owned(), found }
}

impl Shape {
    fn admits(self, value: &Value) -> bool {
        let texts = || value.as_array().is_some_and(|items| items.iter().all(Value::is_string));
        match self {
            Shape::Time => value
                .as_str()
                .is_some_and(|text| text.parse::<Timestamp>().is_ok_and(|time| time.to_string() == text)),
            Shape::Event => value.as_str().is_some_and(|name| name.parse::<EventName>().is_ok()),
            Shape::Outcome => matches!(value.as_str(), Some("ok" | "refused" | "failed")),
            Whole => value.is_u64(),
            WholeOrNull => value.is_u64() || value.is_null(),
            TextOrNull => value.is_string() || value.is_null(),
            Texts => texts(),
            TextsOrNull => texts() || value.is_null(),
            Members(_) => false,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Shape::Time => "a time in UTC with microseconds",
            Shape::Event => "the name of an event",
            Shape::Outcome => "ok, refused or failed",
            Whole => "a whole number",
            WholeOrNull => "a whole number or null",
            TextOrNull => "a text or null",
            Texts => "a list of texts",
            TextsOrNull => "a list of texts or null",
            Members(_) => "an object",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Node, Outcome};

    /// A record of an intake with this value in this field, or without the field.
    fn altered(field: &str, value: Option<Value>) -> Map<String, Value> {
        let event = Event::new(EventName::IntakeAccepted, Outcome::Ok);
        let mut record = event.record(0, Timestamp::default(), &Node::default(), None);
        let (inner, name) = match field.split_once('.') {
            Some((outer, name)) => (record[outer].as_object_mut().unwrap(), name),
            None => (&mut record, field),
        };
        match value {
            Some(value) => inner.insert(name.to_owned(), value),
            None => inner.remove(name),
        };
        record
    }

    #[test]
    fn a_record_without_one_of_the_common_fields_is_refused() {
        let mut fields: Vec<String> = vec!["disposition_id".to_owned()];
        for (name, shape) in COMMON {
            fields.push((*name).to_owned());
            if let Members(inner) = shape {
                fields.extend(inner.iter().map(|(below, _)| format!("{name}.{below}")));
            }
        }
        assert_eq!(fields.len(), 22 + 6 + 3 + 4 + 4);
        for field in fields {
            let error = check(&altered(&field, None)).unwrap_err();
            assert_eq!((&error.field, error.found.as_str()), (&field, "nothing"));
        }
    }

    #[test]
    fn a_field_that_holds_something_else_is_refused() {
        let refused = |field: &str, value: Value| {
            let error = check(&altered(field, Some(value))).unwrap_err();
            assert_eq!(error.field, field);
            error.to_string()
        };
        let text = Value::from("x");
        for field in
            ["seq", "bytes", "attempt", "object.level", "reasons", "tool.args", "node", "outcome", "event"]
        {
            refused(field, text.clone());
        }
        for field in ["seq", "time", "event", "outcome", "actor", "reasons", "type_uid"] {
            refused(field, Value::Null);
        }
        refused("actor.sub", 1.into());
        refused("participant_h", Value::from(vec!["x"]));
        refused("reasons", Value::from(vec![1]));
        refused("time", "1970-01-01T00:00:00Z".into());
        refused("bytes", Value::from(-1));
        let error = refused("type_uid", 600_602.into());
        assert_eq!(error, "expected [600601] in 'type_uid', found 600602");
        refused("disposition_id", 2.into());
    }
}
