//! A table of vectors as cells that know their column and place.
//!
//! Invariant: what is wrong is collected, and the cells of a wrong row still answer. Knows no meaning of any column.

use super::{Answer, Kind};
use jobs::csv::{self, Field};
use jobs::diagnostic::{Diagnostic, Source, did_you_mean};

/// A table whose header was understood.
pub struct Table<'k> {
    /// Whose columns it has.
    pub kind: &'k Kind,
    header: Vec<String>,
    records: Vec<Vec<Field>>,
}

impl<'k> Table<'k> {
    /// The table of a text, if its header is one of these kinds'.
    pub fn read(source: &Source<'_>, kinds: &'k [Kind], found: &mut Vec<Diagnostic>) -> Option<Self> {
        let mut records = csv::records(source, found);
        if records.is_empty() {
            found.push(Diagnostic::error(source.place(0), "the table is empty; expected a header"));
            return None;
        }
        let header = records.remove(0);
        let has = |name: &str| header.iter().any(|field| field.value == name);
        let Some(kind) = kinds.iter().find(|kind| has(kind.inputs[1])) else {
            let marks: Vec<_> = kinds.iter().map(|kind| kind.inputs[1]).collect();
            let (last, others) = marks.split_last()?;
            let message = format!("no column {} or {last} says what table this is", others.join(", "));
            found.push(Diagnostic::error(header[0].place.clone(), message));
            return None;
        };
        let missing = kind.inputs.iter().filter(|name| !has(name));
        found.extend(
            missing.map(|name| {
                Diagnostic::error(header[0].place.clone(), format!("column '{name}' is missing"))
            }),
        );
        for (at, field) in header.iter().enumerate() {
            let known = kind.inputs.iter().chain(&kind.expected).copied();
            let name = &field.value;
            let error = |message: String| Diagnostic::error(field.place.clone(), message);
            if header[..at].iter().any(|earlier| earlier.value == *name) {
                found.push(error(format!("column '{name}' stands twice")));
            } else if !known.clone().any(|known| known == name) {
                found.push(error(format!("column '{name}' is unknown")).hint(did_you_mean(name, known)));
            }
        }
        let header = header.into_iter().map(|field| field.value).collect();
        found.is_empty().then_some(Table { kind, header, records })
    }

    /// The records below the header.
    pub fn records(&self) -> &[Vec<Field>] {
        &self.records
    }

    /// The cells of a record, if it is as wide as the header.
    pub fn cells<'t>(&'t self, record: &'t [Field], found: &'t mut Vec<Diagnostic>) -> Option<Cells<'t>> {
        if record.len() != self.header.len() {
            let message =
                format!("the row has {} fields, the header has {}", record.len(), self.header.len());
            found.push(Diagnostic::error(record[0].place.clone(), message));
            return None;
        }
        Some(Cells { header: &self.header, record, found })
    }
}

/// The cells of one row.
pub struct Cells<'t> {
    header: &'t [String],
    record: &'t [Field],
    found: &'t mut Vec<Diagnostic>,
}

impl<'t> Cells<'t> {
    /// The text of a column, empty where there is no such column.
    pub fn text(&self, column: &str) -> &'t str {
        self.field(column).map_or("", |field| &field.value)
    }

    /// The text of a column, if it is not empty.
    pub fn given(&self, column: &str) -> Option<&'t str> {
        Some(self.text(column)).filter(|text| !text.is_empty())
    }

    /// The text of a column that must not be empty.
    pub fn required(&mut self, column: &str) -> &'t str {
        let text = self.text(column);
        if text.is_empty() {
            self.error::<()>(column, "expected a value", None);
        }
        text
    }

    /// Reports what is wrong with a cell; `None`, to stand for what it does not say.
    pub fn error<T>(
        &mut self,
        column: &str,
        message: impl std::fmt::Display,
        hint: Option<String>,
    ) -> Option<T> {
        let place = self.field(column).map(|field| field.place.clone()).unwrap_or_default();
        self.found.push(Diagnostic::error(place, format!("{column}: {message}")).hint(hint));
        None
    }

    /// How an answer differs from what the row expects of it, where it expects anything.
    pub fn differences(&self, expected: &[&str; 3], answer: &Answer) -> Vec<String> {
        let pairs = expected.iter().zip(answer).filter_map(|(column, found)| {
            let field = self.field(column).filter(|field| field.value != *found)?;
            let (id, expected) = (self.text("id"), &field.value);
            Some(format!("{}: {id}: {column} is '{found}', expected '{expected}'", field.place))
        });
        pairs.collect()
    }

    fn field(&self, column: &str) -> Option<&'t Field> {
        self.record.get(self.header.iter().position(|name| name == column)?)
    }
}
