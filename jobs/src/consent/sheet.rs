//! A register as CSV: one row for each version of a record.
//!
//! Invariant: a row means what the FHIR form of it would mean; a column that could limit a consent must be there, if only
//! with empty cells, so that none is lost with its column. Lists are separated by `;`.

use super::date::{self, Edge};
use super::words::{self, FOREIGN_USE, Problem};
use super::{Basis, ConsentRecord, Register, Status, Versions, pii};
use crate::csv::{self, Field};
use crate::diagnostic::{Diagnostic, Findings, Source, did_you_mean};
use crate::time::Timestamp;

/// The columns; the flag says that a sheet must have it.
const COLUMNS: [(&str, bool); 14] = [
    ("participant", true),
    ("id", true),
    ("version", true),
    ("status", true),
    ("items", true),
    ("foreign_countries", false),
    ("start", true),
    ("end", true),
    ("basis", true),
    ("proxy_until", true),
    ("duo", true),
    ("icf", false),
    ("updated", true),
    ("as_of", true),
];

/// Index of the version among [`COLUMNS`].
const VERSION: usize = 2;

/// Longest line, in bytes: a thousand data use codes fit, and places stay quick to find.
const LINE_BYTES_MAX: usize = 1 << 16;

/// The register of a text; what is wrong with it goes to `found`.
pub(super) fn read(source: &Source<'_>, found: &mut Findings) -> Register {
    let mut start = 0;
    for line in source.text().split_inclusive(['\n', '\r']) {
        if line.len() > LINE_BYTES_MAX {
            let message = format!("E-ROW-WIDTH: the line is longer than {LINE_BYTES_MAX} bytes");
            found.error(|| source.place(start), message, None);
            return Register::default();
        }
        start += line.len();
    }
    let mut broken = Vec::new();
    let mut records = csv::records(source, &mut broken).into_iter();
    found.extend(broken);
    let Some(header) = records.next().filter(|_| records.len() > 0) else {
        let hint = format!("the first line names the columns: {}", COLUMNS.map(|(name, _)| name).join(","));
        found.error(
            || source.place(0),
            "E-COL-MISSING: expected a header line, and rows that say as_of when the register was confirmed",
            hint,
        );
        return Register::default();
    };
    let Some(columns) = columns(&header, found) else { return Register::default() };
    let mut versions = Versions::new();
    let mut as_of: Option<Timestamp> = None;
    for fields in records {
        check_persons(&fields, columns[VERSION], found);
        if fields.len() != header.len() {
            let message =
                format!("E-ROW-WIDTH: the row has {} fields, the header has {}", fields.len(), header.len());
            found.error(|| fields[0].place.clone(), message, None);
            continue;
        }
        let mut row = Row { fields: &fields, columns: &columns, found };
        let record = row.record();
        let confirmed = row.time("as_of", date::instant);
        if confirmed.is_some() && as_of.is_some() && confirmed != as_of {
            let message = "E-CONSENT-SEQ: as_of differs from that of the rows above; expected one for all";
            row.wrong("as_of", (message.to_owned(), None));
        }
        as_of = as_of.or(confirmed);
        let content = columns.map(|column| column.map(|at| fields[at].value.clone()));
        if !record.id.is_empty() && !versions.insert(record, content) {
            let message = "E-FHIR-DUP: this version of the record stands here twice, with other content";
            found.error(|| fields[0].place.clone(), message, None);
        }
    }
    versions.register(as_of.unwrap_or_default())
}

/// Where each of [`COLUMNS`] stands in the header; nothing if the header is wrong.
fn columns(header: &[Field], found: &mut Findings) -> Option<[Option<usize>; COLUMNS.len()]> {
    let mut columns = [None; COLUMNS.len()];
    let mut sound = true;
    let mut wrong = |field: &Field, message: &str, hint: Option<String>| {
        sound = false;
        found.error(|| field.place.clone(), message, hint);
    };
    for (at, field) in header.iter().enumerate() {
        match COLUMNS.iter().position(|(name, _)| *name == field.value) {
            Some(column) if columns[column].is_none() => columns[column] = Some(at),
            Some(_) => wrong(field, "E-COL-UNKNOWN: the column stands twice", None),
            None if pii::is_personal_word(&field.value) => {
                wrong(field, "E-PII: the column tells who somebody is; nothing of this file is taken", None);
            }
            None => {
                let hint = did_you_mean(&field.value, COLUMNS.map(|(name, _)| name));
                wrong(field, "E-COL-UNKNOWN: the column is unknown", hint);
            }
        }
    }
    let separators = [('\t', "tabs"), (';', "semicolons")];
    let separator = separators.iter().find(|(c, _)| header.len() == 1 && header[0].value.contains(*c));
    let hint = separator.map(|(_, name)| format!("columns seem to be separated by {name}; expected commas"));
    for ((name, required), column) in COLUMNS.iter().zip(columns) {
        if *required && column.is_none() {
            wrong(&header[0], &format!("E-COL-MISSING: column '{name}' is missing"), hint.clone());
        }
    }
    sound.then_some(columns)
}

/// A version may be a clock of twelve digits; no other cell holds so many.
fn check_persons(fields: &[Field], version: Option<usize>, found: &mut Findings) {
    let others = fields.iter().enumerate().filter(|(at, _)| Some(*at) != version).map(|(_, field)| field);
    for field in others.filter(|field| pii::is_individual_number(&field.value)) {
        let message = "E-PII: an individual number; nothing of this file is taken or kept";
        found.error(|| field.place.clone(), message, None);
    }
}

struct Row<'r> {
    fields: &'r [Field],
    columns: &'r [Option<usize>; COLUMNS.len()],
    found: &'r mut Findings,
}

impl Row<'_> {
    fn record(&mut self) -> ConsentRecord {
        let items = self.list("items", words::item).into_iter().collect();
        let basis = self.basis();
        let record = ConsentRecord {
            id: self.needed("id", |text| words::identifier("id", text)).unwrap_or_default(),
            version: self.needed("version", version).unwrap_or_default(),
            participant: self
                .needed("participant", |text| words::identifier("participant", text))
                .unwrap_or_default(),
            status: self.needed("status", words::status).unwrap_or(Status::Draft),
            start: self.optional("start", |text| date::moment(text, Edge::Start)),
            end: self.optional("end", |text| date::moment(text, Edge::End)),
            basis,
            items,
            foreign_countries: self.list("foreign_countries", words::country).into_iter().collect(),
            duo: self.list("duo", words::duo),
            icf: Some(self.value("icf").to_owned()).filter(|icf| !icf.is_empty()),
            updated: self.time("updated", date::instant).unwrap_or_default(),
        };
        if !record.items.contains(FOREIGN_USE) && !record.foreign_countries.is_empty() {
            let message = format!("E-FHIR-PROFILE: countries are given without the item {FOREIGN_USE}");
            self.wrong("foreign_countries", (message, None));
        }
        record
    }

    fn basis(&mut self) -> Basis {
        let until = self.optional("proxy_until", |text| date::moment(text, Edge::End));
        match self.value("basis") {
            "proxy" => Basis::Proxy { until },
            "self" if until.is_none() => Basis::Own,
            "self" => {
                let message = "E-FHIR-PROFILE: proxy_until is given, and the basis is self".to_owned();
                self.wrong("proxy_until", (message, None));
                Basis::Own
            }
            other => {
                let hint = did_you_mean(other, ["self", "proxy"]);
                self.wrong("basis", ("E-FHIR-PROFILE: basis: expected self or proxy".to_owned(), hint));
                Basis::Own
            }
        }
    }

    /// The cell of a column; nothing where the column is not there.
    fn field(&self, column: &str) -> Option<&Field> {
        let index = COLUMNS.iter().position(|(name, _)| *name == column)?;
        self.columns[index].and_then(|at| self.fields.get(at))
    }

    fn value(&self, column: &str) -> &str {
        self.field(column).map_or("", |field| &field.value)
    }

    fn needed<T>(&mut self, column: &str, read: impl FnOnce(&str) -> Result<T, Problem>) -> Option<T> {
        read(self.value(column)).map_err(|problem| self.wrong(column, problem)).ok()
    }

    fn time(
        &mut self,
        column: &str,
        read: impl FnOnce(&str) -> Result<Timestamp, date::NotADate>,
    ) -> Option<Timestamp> {
        self.needed(column, |text| read(text).map_err(|bad| (bad.message, bad.hint)))
    }

    fn optional(
        &mut self,
        column: &str,
        read: impl FnOnce(&str) -> Result<Timestamp, date::NotADate>,
    ) -> Option<Timestamp> {
        if self.value(column).is_empty() { None } else { self.time(column, read) }
    }

    fn list(&mut self, column: &str, read: impl Fn(&str) -> Result<String, Problem>) -> Vec<String> {
        let parts =
            self.value(column).split(';').map(|part| part.trim_matches(' ')).filter(|part| !part.is_empty());
        let read: Vec<_> = parts.map(read).collect();
        let good = |part: Result<String, Problem>| part.map_err(|problem| self.wrong(column, problem)).ok();
        read.into_iter().filter_map(good).collect()
    }

    fn wrong(&mut self, column: &str, (message, hint): Problem) {
        let place = self.field(column).or(self.fields.first()).map(|field| field.place.clone());
        self.found.extend(place.map(|place| Diagnostic::error(place, message).hint(hint)));
    }
}

fn version(text: &str) -> Result<u64, Problem> {
    let number = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    number.ok_or_else(|| ("E-FHIR-PROFILE: version: expected a whole number".to_owned(), None))
}
