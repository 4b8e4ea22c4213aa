//! What is wrong with a file a person wrote, and where: file, line, column, message, hint.
//!
//! Invariant: readers of people's files collect every [`Diagnostic`] instead of stopping at the first, and every one
//! points at the character to change. This module knows no format; it only turns offsets into places.

use std::fmt::{self, Write};

/// A character in a text file.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Place {
    /// The file as the user named it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Whether the file can be used all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but a person should look.
    Warning,
}

/// One thing that is wrong at one place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Diagnostic {
    /// Where; sorting diagnostics puts them into reading order.
    #[serde(flatten)]
    pub place: Place,
    /// Whether the file can be used all the same.
    pub severity: Severity,
    /// What is wrong and what was expected: lower case, no full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// Something that makes the file unusable. Control characters, which only the file can have brought into the
    /// message, are written out, so that it stays on its line.
    pub fn error(place: Place, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.contains(char::is_control) {
            let written =
                |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
            message = message.chars().map(written).collect();
        }
        Diagnostic { place, severity: Severity::Error, message, hint: None }
    }

    /// Something a person should look at.
    pub fn warning(place: Place, message: impl Into<String>) -> Self {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(place, message) }
    }

    /// The same with a hint, where there is one.
    pub fn hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into();
        self
    }

    /// How many errors there are, then every diagnostic from a line of its own.
    pub fn list(diagnostics: &[Diagnostic]) -> String {
        let errors = diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count();
        let mut text = format!("{errors} {}", if errors == 1 { "error" } else { "errors" });
        for diagnostic in diagnostics {
            let _ = write!(text, "\n{diagnostic}");
        }
        text
    }

    /// Whether the file cannot be used.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_error() { "error" } else { "warning" };
        write!(f, "{}: {word}: {}", self.place, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Most diagnostics that are listed for one file; the rest are counted.
pub const LISTED_MAX: usize = 100;

/// What is wrong with one file: at most [`LISTED_MAX`] diagnostics and how many there were beyond.
#[derive(Debug, Default)]
pub struct Findings {
    listed: Vec<Diagnostic>,
    beyond: usize,
}

impl Findings {
    /// Adds an error; its place is sought only if it is listed, as that takes time in long lines.
    pub fn error(
        &mut self,
        place: impl FnOnce() -> Place,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) {
        match self.listed.len() < LISTED_MAX {
            true => self.listed.push(Diagnostic::error(place(), message).hint(hint)),
            false => self.beyond += 1,
        }
    }

    /// Adds diagnostics.
    pub fn extend(&mut self, found: impl IntoIterator<Item = Diagnostic>) {
        for diagnostic in found {
            match self.listed.len() < LISTED_MAX {
                true => self.listed.push(diagnostic),
                false => self.beyond += 1,
            }
        }
    }

    /// The value if nothing was found, else everything listed, in reading order, then the count of the rest.
    pub fn or_all<T>(mut self, value: T) -> Result<T, Vec<Diagnostic>> {
        self.listed.sort();
        if let Some(last) = self.listed.last().filter(|_| self.beyond > 0) {
            let message = format!("{} more errors are not listed", self.beyond);
            self.listed.push(Diagnostic::error(last.place.clone(), message));
        }
        if self.listed.is_empty() { Ok(value) } else { Err(self.listed) }
    }
}

/// A text with its name, so that byte offsets become places. A byte-order mark at its start is not part of it.
pub struct Source<'t> {
    file: String,
    text: &'t str,
    /// Offset of the first byte of every line.
    lines: Vec<usize>,
}

impl<'t> Source<'t> {
    /// `file` is the name places will carry.
    pub fn new(file: &str, text: &'t str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Source { file: file.to_owned(), text, lines }
    }

    /// Refuses bytes that are not UTF-8 with the line of the first bad one.
    pub fn from_bytes(file: &str, bytes: &'t [u8]) -> Result<Self, Diagnostic> {
        let utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
        let error = match std::str::from_utf8(bytes) {
            Ok(text) => return Ok(Source::new(file, text)),
            Err(error) => error,
        };
        let good = &bytes[..error.valid_up_to()];
        let line_start = good.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let place = Place {
            file: file.to_owned(),
            line: 1 + good.iter().filter(|&&byte| byte == b'\n').count() as u32,
            column: 1 + String::from_utf8_lossy(&good[line_start..]).chars().count() as u32,
        };
        let (code, encoding) = if utf16 { ("E-ENC-UTF16", "UTF-16") } else { ("E-ENC-CP932", "CP932") };
        let byte = bytes[error.valid_up_to()];
        let message = format!("{code}: byte 0x{byte:02x} is not UTF-8; expected a UTF-8 text");
        let hint = format!(
            "save it as UTF-8 (UTF-8 で保存し直してください: CSV UTF-8), or convert it: iconv -f {encoding} -t UTF-8 {file}"
        );
        Err(Diagnostic::error(place, message).hint(hint))
    }

    /// The text.
    pub fn text(&self) -> &'t str {
        self.text
    }

    /// The place of a byte offset; an offset beyond the end is the end.
    pub fn place(&self, offset: usize) -> Place {
        let offset = self.text.floor_char_boundary(offset);
        let line = self.lines.partition_point(|&start| start <= offset) - 1;
        let column = 1 + self.text[self.lines[line]..offset].chars().count();
        Place { file: self.file.clone(), line: line as u32 + 1, column: column as u32 }
    }
}

/// `did you mean '..'?` for the candidate closest to `word`, if one is close.
pub fn did_you_mean<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<String> {
    closest(word, candidates).map(|candidate| format!("did you mean '{candidate}'?"))
}

/// The candidate at most a third of its letters (at least one) away from `word`; letter case does not count.
pub fn closest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let distances = candidates.into_iter().map(|candidate| (edit_distance(word, candidate), candidate));
    let close = distances.filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1));
    close.min().map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap neighbours) from one word to the other, ignoring ASCII case: optimal string
/// alignment. Words are cut at 64 letters, as no key is longer.
fn edit_distance(a: &str, b: &str) -> usize {
    let letters = |word: &str| word.chars().take(64).map(|c| c.to_ascii_lowercase()).collect::<Vec<_>>();
    let (a, b) = (letters(a), letters(b));
    let mut above = vec![0; b.len() + 1];
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut next = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = row[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            next[j] = replaced.min(row[j] + 1).min(next[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                next[j] = next[j].min(above[j - 2] + 1);
            }
        }
        above = std::mem::replace(&mut row, next);
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_and_survive_any_offset() {
        let source = Source::new("f", "\u{feff}ab\nか=1\r\n\nz");
        let at = |offset| {
            let place = source.place(offset);
            (place.line, place.column)
        };
        assert_eq!([at(0), at(2), at(3), at(6), at(7)], [(1, 1), (1, 3), (2, 1), (2, 2), (2, 3)]);
        assert_eq!([at(4), at(10), at(11), at(99)], [(2, 1), (3, 1), (4, 1), (4, 2)]);
    }

    #[test]
    fn bytes_of_another_encoding_are_refused_at_their_place() {
        let check = |bytes: &[u8], line, column, encoding: &str| {
            let error = Source::from_bytes("f.csv", bytes).err().expect("refused");
            assert_eq!((error.place.line, error.place.column), (line, column));
            assert!(error.hint.unwrap().contains(encoding));
        };
        check(b"a,b\nc,\x83\x65\n", 2, 3, "CP932");
        check(b"\x83", 1, 1, "CP932");
        check(b"\xff\xfea\0", 1, 1, "UTF-16");
        check("あ\nい\n".as_bytes().split_last().unwrap().1.split_last().unwrap().1, 2, 1, "CP932");
    }

    #[test]
    fn the_closest_word_is_found_and_a_far_one_is_not() {
        let keys = ["max_depth", "min_mapq", "id"];
        assert_eq!(closest("max_dept", keys), Some("max_depth"));
        assert_eq!(closest("MIN-MAPQ", keys), Some("min_mapq"));
        assert_eq!(closest("ID", keys), Some("id"));
        assert_eq!(closest("di", keys), Some("id"));
        assert_eq!(closest("memory", keys), None);
        assert_eq!(closest("", keys), None);
    }
}
