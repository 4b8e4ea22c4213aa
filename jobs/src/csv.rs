//! Comma-separated text (RFC 4180) into fields that know their place.
//!
//! Invariant: every field keeps the line and column it starts at, also behind quoted line breaks, so that whatever is
//! found wrong later can be pointed at. Knows nothing of columns' meaning.

use crate::diagnostic::{Diagnostic, Place, Source};

/// One field of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The value without quotes and without ASCII white space around it; an ideographic space is part of it.
    pub value: String,
    /// Where the field starts.
    pub place: Place,
}

/// The records of a text. Lines of nothing but separators and white space, which spreadsheets leave behind, are not
/// records.
pub fn records(source: &Source<'_>, found: &mut Vec<Diagnostic>) -> Vec<Vec<Field>> {
    let text = source.text();
    let mut records = Vec::new();
    let mut record = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let (value, end) = field(source, at, found);
        record.push(Field {
            value: value.trim_matches(|c: char| c.is_ascii_whitespace()).to_owned(),
            place: source.place(at),
        });
        let comma = text[end..].starts_with(',');
        at = end + line_break(&text[end..]).unwrap_or(usize::from(comma));
        if comma && at == text.len() {
            record.push(Field { value: String::new(), place: source.place(at) });
        }
        if !comma || at == text.len() {
            let record = std::mem::take(&mut record);
            if record.iter().any(|field: &Field| !field.value.trim().is_empty()) {
                records.push(record);
            }
        }
    }
    records
}

/// The value of the field that starts at `start`, and the offset of the comma or line break behind it.
fn field(source: &Source<'_>, start: usize, found: &mut Vec<Diagnostic>) -> (String, usize) {
    let text = source.text();
    let plain_end = |from: usize| {
        let rest = &text[from..];
        from + rest.find([',', '\n', '\r']).unwrap_or(rest.len())
    };
    let Some(mut rest) = text[start..].strip_prefix('"') else {
        let end = plain_end(start);
        return (text[start..end].to_owned(), end);
    };
    let mut value = String::new();
    loop {
        let Some(quote) = rest.find('"') else {
            let message = "the quoted field that starts here has no closing quote";
            found.push(Diagnostic::error(source.place(start), message));
            value.push_str(rest);
            return (value, text.len());
        };
        value.push_str(&rest[..quote]);
        rest = &rest[quote + 1..];
        match rest.strip_prefix('"') {
            Some(after) => rest = after,
            None => break,
        }
        value.push('"');
    }
    let closed = text.len() - rest.len();
    let end = plain_end(closed);
    if !text[closed..end].trim().is_empty() {
        let message = "text follows the closing quote; expected a comma or the end of the line";
        found.push(
            Diagnostic::error(source.place(closed), message)
                .hint("write a quote within quotes twice".to_owned()),
        );
    }
    (value, end)
}

/// Length of the line break a text starts with: LF, CRLF or the lone CR of old spreadsheets.
fn line_break(text: &str) -> Option<usize> {
    ["\r\n", "\n", "\r"].iter().find(|line_break| text.starts_with(**line_break)).map(|found| found.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &[&[(&str, u32, u32)]]) {
        let mut found = Vec::new();
        let records = records(&Source::new("t", text), &mut found);
        let seen: Vec<Vec<_>> = records
            .iter()
            .map(|record| record.iter().map(|f| (f.value.as_str(), f.place.line, f.place.column)).collect())
            .collect();
        assert_eq!(seen, expect, "{text:?}");
        assert_eq!(found, [], "{text:?}");
    }

    #[test]
    fn fields_know_their_place() {
        check("", &[]);
        check("a", &[&[("a", 1, 1)]]);
        check("a,b\nc,d\n", &[&[("a", 1, 1), ("b", 1, 3)], &[("c", 2, 1), ("d", 2, 3)]]);
        check("a,b\r\nc,\r\n", &[&[("a", 1, 1), ("b", 1, 3)], &[("c", 2, 1), ("", 2, 3)]]);
        check("a,", &[&[("a", 1, 1), ("", 1, 3)]]);
        check(
            "\u{feff}あ, b \n,,\n \n\nc,,",
            &[&[("あ", 1, 1), ("b", 1, 3)], &[("c", 5, 1), ("", 5, 3), ("", 5, 4)]],
        );
        check(
            "\"a,\"\"x\"\"\n2\",b\nc,\"\"\n",
            &[&[("a,\"x\"\n2", 1, 1), ("b", 2, 4)], &[("c", 3, 1), ("", 3, 3)]],
        );
    }

    #[test]
    fn broken_quotes_are_pointed_at() {
        let check = |text: &str, line, column| {
            let mut found = Vec::new();
            records(&Source::new("t", text), &mut found);
            let places: Vec<_> = found.iter().map(|d| (d.place.line, d.place.column)).collect();
            assert_eq!(places, [(line, column)], "{text:?}");
        };
        check("a,\"b\nc", 1, 3);
        check("a,b\n\"x\"y,z\n", 2, 4);
    }
}
