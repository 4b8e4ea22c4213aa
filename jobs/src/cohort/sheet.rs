//! Rows of reads, from a CSV sheet or from inline tables: the same columns, the same rules.
//!
//! Invariant: a [`Row`] holds a cell for every column of [`COLUMNS`], empty where nothing was said, each with the place
//! to point at. Whether the values make sense is not decided here.

use crate::csv;
use crate::diagnostic::{Diagnostic, Place, Source, closest};
use crate::document::Section;
use std::collections::{BTreeMap, HashMap};

pub(super) use crate::csv::Field as Cell;

/// The columns that mean something, in the order sheets are written; the flag says that a sheet must have it.
pub(super) const COLUMNS: [(&str, bool); 18] = [
    ("participant", true),
    ("specimen", false),
    ("sample", true),
    ("role", true),
    ("family", false),
    ("relation", false),
    ("sex_declared", false),
    ("rgid", true),
    ("fastq_1", true),
    ("fastq_2", false),
    ("sha256_1", false),
    ("sha256_2", false),
    ("library", false),
    ("platform", false),
    ("platform_unit", false),
    ("center", false),
    ("received_from", false),
    ("collected_on", false),
];

/// Short names of columns, as SAM spells them.
const ALIASES: [(&str, &str); 4] =
    [("lb", "library"), ("pl", "platform"), ("pu", "platform_unit"), ("cn", "center")];

/// One lane of one sample as it was written.
pub(super) struct Row {
    /// One cell for each of [`COLUMNS`].
    cells: Vec<Cell>,
    /// Columns of unknown meaning.
    pub carried: BTreeMap<String, String>,
}

impl Row {
    /// The cell of a column of [`COLUMNS`].
    pub fn cell(&self, column: &str) -> &Cell {
        let index = COLUMNS.iter().position(|(name, _)| *name == column);
        &self.cells[index.expect("only columns of the table are asked for")]
    }
}

/// The rows of a sheet, and what is wrong with its shape.
pub(super) fn rows(file: &str, bytes: &[u8], found: &mut Vec<Diagnostic>) -> Vec<Row> {
    let source = match Source::from_bytes(file, bytes) {
        Ok(source) => source,
        Err(error) => {
            found.push(error);
            return Vec::new();
        }
    };
    let mut records = csv::records(&source, found).into_iter();
    let Some(header) = records.next() else {
        let hint =
            format!("the first line names the columns: {}", COLUMNS.map(|(name, _)| name)[..12].join(","));
        found.push(
            Diagnostic::error(source.place(0), "the sheet is empty; expected a header line").hint(hint),
        );
        return Vec::new();
    };
    let Some(columns) = columns(&header, found) else { return Vec::new() };
    if records.len() == 0 {
        found.push(Diagnostic::error(header[0].place.clone(), "the sheet has a header line and no rows"));
    }
    records.filter_map(|record| row(&header, &columns, record, found)).collect()
}

/// What each column of the header is: an index into [`COLUMNS`], or nothing for a column that is only carried.
fn columns(header: &[Cell], found: &mut Vec<Diagnostic>) -> Option<Vec<Option<usize>>> {
    let before = found.len();
    let mut first: HashMap<String, &Place> = HashMap::new();
    let mut columns = Vec::new();
    for Cell { value, place } in header {
        let name = value.to_ascii_lowercase();
        let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name.as_str(), |(_, name)| name);
        if let Some(first) = first.insert(name.to_owned(), place) {
            let message =
                format!("column '{value}' stands twice; first in column {} of the line", first.column);
            found.push(Diagnostic::error(place.clone(), message));
        }
        columns.push(COLUMNS.iter().position(|(column, _)| *column == name));
    }
    let mut absent: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
    absent.retain(|name| !first.contains_key(*name));
    for Cell { value, place } in
        header.iter().zip(&columns).filter(|(_, column)| column.is_none()).map(|(cell, _)| cell)
    {
        if value.is_empty() {
            found.push(Diagnostic::error(place.clone(), "a column of the header has no name"));
        } else if let Some(meant) = closest(value, absent.iter().copied()) {
            let message = format!("column '{value}' is unknown");
            found.push(Diagnostic::error(place.clone(), message).hint(format!("did you mean '{meant}'?")));
            absent.retain(|name| *name != meant);
        } else {
            let message = format!("column '{value}' is unknown and only carried along");
            found.push(Diagnostic::warning(place.clone(), message));
        }
    }
    let separators = [('\t', "tabs"), (';', "semicolons")];
    let separator = separators.iter().find(|(c, _)| header.len() == 1 && header[0].value.contains(*c));
    let hint = separator.map(|(_, name)| format!("columns seem to be separated by {name}; expected commas"));
    for (name, _) in COLUMNS.iter().filter(|(name, required)| *required && absent.contains(name)) {
        let missing = Diagnostic::error(header[0].place.clone(), format!("column '{name}' is missing"));
        found.push(missing.hint(hint.clone()));
    }
    (!found[before..].iter().any(Diagnostic::is_error)).then_some(columns)
}

/// One record with its values under their columns.
fn row(
    header: &[Cell],
    columns: &[Option<usize>],
    record: Vec<Cell>,
    found: &mut Vec<Diagnostic>,
) -> Option<Row> {
    if record.len() != header.len() {
        let message = format!("the row has {} fields, the header has {}", record.len(), header.len());
        found.push(Diagnostic::error(record[0].place.clone(), message));
        return None;
    }
    let mut row = Row::at(&record[0].place);
    for ((cell, column), name) in record.into_iter().zip(columns).zip(header) {
        match column {
            Some(index) => row.cells[*index] = cell,
            None => drop(row.carried.insert(name.value.clone(), cell.value)),
        }
    }
    Some(row)
}

impl Row {
    /// A row of empty cells.
    fn at(place: &Place) -> Row {
        let empty = Cell { value: String::new(), place: place.clone() };
        Row { cells: vec![empty; COLUMNS.len()], carried: BTreeMap::new() }
    }

    /// The row an inline table means: the same keys as columns. A table for one person need not repeat itself:
    /// `participant` is the sample's name if absent, `role` is germline, `rgid` is `1`.
    pub fn from_table(mut section: Section<'_>, place: Place) -> Row {
        let mut row = Row::at(&place);
        for (index, (name, _)) in COLUMNS.iter().enumerate() {
            let alias =
                ALIASES.iter().find(|(_, long)| long == name).and_then(|(alias, _)| section.text(alias));
            if let Some(text) = section.text(name).or(alias) {
                let place = section.document().place(text.span().start);
                row.cells[index] = Cell { value: text.into_inner().trim().to_owned(), place };
            }
        }
        let sample = row.cell("sample").value.clone();
        for (column, default) in [("participant", sample.as_str()), ("role", "germline"), ("rgid", "1")] {
            let index = COLUMNS.iter().position(|(name, _)| *name == column).unwrap_or_default();
            if row.cells[index].value.is_empty() {
                row.cells[index].value = default.to_owned();
            }
        }
        section.finish();
        row
    }
}
