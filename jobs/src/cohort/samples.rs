//! From rows to samples: what a row says, and whether the rows agree.
//!
//! Invariant: every rule looks at every row, so one mistake never hides another; what cannot be read becomes a harmless
//! default beside its error. Knows neither CSV nor TOML.

use super::sheet::{Cell, Row};
use super::{Fastq, Lane, Relation, Role, Sample, Sex};
use crate::diagnostic::{Diagnostic, Place, did_you_mean};
use std::collections::{BTreeMap, HashMap};

const ROLES: [(&str, Role); 3] =
    [("germline", Role::Germline), ("normal", Role::Normal), ("tumor", Role::Tumor)];
const RELATIONS: [(&str, Relation); 6] = [
    ("proband", Relation::Proband),
    ("mother", Relation::Mother),
    ("father", Relation::Father),
    ("sibling", Relation::Sibling),
    ("child", Relation::Child),
    ("other", Relation::Other),
];
const SEXES: [(&str, Sex); 3] = [("F", Sex::Female), ("M", Sex::Male), ("U", Sex::Unknown)];

/// Values of `PL`: SAM specification (2024), section 1.3, `@RG`.
const PLATFORMS: [&str; 12] = [
    "CAPILLARY",
    "DNBSEQ",
    "ELEMENT",
    "HELICOS",
    "ILLUMINA",
    "IONTORRENT",
    "LS454",
    "ONT",
    "PACBIO",
    "SINGULAR",
    "SOLID",
    "ULTIMA",
];

/// Longest name of a sample, cohort, participant or read group, in characters: file names of 255 bytes hold it with
/// every ending.
const NAME_CHARS_MAX: usize = 100;

/// The samples of all rows, sorted by name, their lanes by read group. `place` is where to point for what concerns the
/// cohort as a whole.
pub(super) fn samples(
    rows: &[Row],
    place: Place,
    cohort_id: &str,
    found: &mut Vec<Diagnostic>,
) -> Vec<Sample> {
    let mut samples: BTreeMap<&str, Sample> = BTreeMap::new();
    for row in rows {
        let lane = lane(row, found);
        let sample = samples.entry(&row.cell("sample").value).or_insert_with(|| sample(row));
        sample.lanes.push(lane);
    }
    for row in rows {
        check_row(row, found);
    }
    check_sample_rows(rows, found);
    check_file_names(rows, cohort_id, found);
    check_files(rows, found);
    check_people(rows, found);
    check_families(rows, found);
    if !rows.is_empty() && !samples.values().any(|sample| sample.role.joins()) {
        let message = "no sample is germline or normal, so there is nothing to call jointly";
        found.push(Diagnostic::warning(place, message));
    }
    let mut samples: Vec<Sample> = samples.into_values().collect();
    for sample in &mut samples {
        sample.lanes.sort_by(|a, b| a.rgid.cmp(&b.rgid));
    }
    samples
}

/// Why a text cannot be a name of a file, of SAM's `SM` or of a read group, and what was perhaps meant.
pub(crate) fn name_problem(what: &str, name: &str) -> Option<(String, Option<String>)> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() {
        return Some((format!("{what} is empty"), None));
    }
    if let Some(c) = name.chars().find(|&c| !allowed(c)) {
        let message = format!("{what} '{name}' contains {c:?}; expected letters, digits, '.', '_' and '-'");
        let narrow = name.chars().map(half_width).collect::<String>();
        let hint = narrow.chars().all(allowed).then(|| format!("did you mean '{narrow}'?"));
        return Some((message, hint));
    }
    if name.starts_with(['.', '-']) {
        return Some((format!("{what} '{name}' begins with '{}'", &name[..1]), None));
    }
    let chars = name.len();
    (chars > NAME_CHARS_MAX)
        .then(|| (format!("{what} has {chars} characters; expected at most {NAME_CHARS_MAX}"), None))
}

/// The 32 bytes that 64 hexadecimal digits mean.
pub(crate) fn sha256(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let value = |digit: u8| char::from(digit).to_digit(16);
        *byte = (value(pair[0])? * 16 + value(pair[1])?) as u8;
    }
    Some(bytes)
}

/// The ASCII character that a full-width one looks like.
fn half_width(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        '\u{2010}'..='\u{2015}' | '\u{2212}' | 'ー' => '-',
        _ => c,
    }
}

fn sample(row: &Row) -> Sample {
    Sample {
        sample: row.cell("sample").value.clone(),
        participant: row.cell("participant").value.clone(),
        specimen: text(row, "specimen"),
        role: meaning(&ROLES, row.cell("role")).unwrap_or(Role::Germline),
        family: text(row, "family"),
        relation: meaning(&RELATIONS, row.cell("relation")),
        sex: meaning(&SEXES, row.cell("sex_declared")).unwrap_or_default(),
        lanes: Vec::new(),
    }
}

fn lane(row: &Row, found: &mut Vec<Diagnostic>) -> Lane {
    let mut fastq = |path: &str, digest: &str| {
        let (path, digest) = (row.cell(path), row.cell(digest));
        let sha256 = sha256(&digest.value);
        if sha256.is_none() && !digest.value.is_empty() {
            report(
                found,
                digest,
                format!("'{}' is no SHA-256; expected 64 hexadecimal digits", digest.value),
                None,
            );
        }
        Fastq { path: path.value.clone(), sha256, place: path.place.clone() }
    };
    let (fastq_1, fastq_2) = (fastq("fastq_1", "sha256_1"), fastq("fastq_2", "sha256_2"));
    let mut carried = row.carried.clone();
    for column in ["received_from", "collected_on"] {
        carried.extend(text(row, column).map(|value| (column.to_owned(), value)));
    }
    Lane {
        rgid: row.cell("rgid").value.clone(),
        library: text(row, "library").unwrap_or_else(|| row.cell("sample").value.clone()),
        platform: text(row, "platform")
            .map_or("ILLUMINA".to_owned(), |platform| platform.to_ascii_uppercase()),
        platform_unit: text(row, "platform_unit"),
        center: text(row, "center"),
        fastq_1,
        fastq_2: Some(fastq_2).filter(|fastq| !fastq.path.is_empty()),
        carried,
    }
}

/// What can be wrong with a row for itself.
fn check_row(row: &Row, found: &mut Vec<Diagnostic>) {
    for (column, required) in
        [("sample", true), ("participant", true), ("rgid", true), ("specimen", false), ("family", false)]
    {
        let cell = row.cell(column);
        if let Some((message, hint)) =
            name_problem(column, &cell.value).filter(|_| required || !cell.value.is_empty())
        {
            report(found, cell, message, hint);
        }
    }
    check_word("role", &ROLES, row, true, found);
    check_word("relation", &RELATIONS, row, false, found);
    check_word("sex_declared", &SEXES, row, false, found);
    let platform = row.cell("platform");
    if !platform.value.is_empty() && !PLATFORMS.contains(&platform.value.to_ascii_uppercase().as_str()) {
        let message = format!("platform '{}' is unknown; expected {}", platform.value, PLATFORMS.join(", "));
        report(found, platform, message, did_you_mean(&platform.value, PLATFORMS));
    }
    for column in ["fastq_1", "fastq_2", "library", "platform_unit", "center"] {
        let cell = row.cell(column);
        if let Some(c) = cell.value.chars().find(|c| c.is_control()) {
            report(found, cell, format!("{column} contains the control character {c:?}"), None);
        }
    }
    if row.cell("fastq_1").value.is_empty() {
        report(found, row.cell("fastq_1"), "fastq_1 is empty".to_owned(), None);
    }
    if row.cell("fastq_2").value.is_empty() && !row.cell("sha256_2").value.is_empty() {
        report(found, row.cell("sha256_2"), "sha256_2 is given without fastq_2".to_owned(), None);
    }
    if row.cell("family").value.is_empty() && !row.cell("relation").value.is_empty() {
        report(found, row.cell("relation"), "relation is given without family".to_owned(), None);
    }
}

/// The rows of one sample are its lanes: they agree on whose it is, and each is a read group of its own.
fn check_sample_rows(rows: &[Row], found: &mut Vec<Diagnostic>) {
    let mut first: HashMap<&str, &Row> = HashMap::new();
    let mut lanes: HashMap<(&str, &str), &Row> = HashMap::new();
    for row in rows {
        let (sample, rgid) = (row.cell("sample"), row.cell("rgid"));
        if sample.value.is_empty() {
            continue;
        }
        let of_sample: &Row = first.entry(&sample.value).or_insert(row);
        for column in ["participant", "specimen", "role", "family", "relation", "sex_declared"] {
            let (here, there) = (row.cell(column), of_sample.cell(column));
            if here.value != there.value {
                let message = format!(
                    "sample '{}' has {column} '{}' here and '{}' on line {}",
                    sample.value, here.value, there.value, there.place.line
                );
                let hint = "rows of one sample are its lanes; another sample needs another name".to_owned();
                report(found, here, message, Some(hint));
            }
        }
        let of_lane: &Row = lanes.entry((&sample.value, &rgid.value)).or_insert(row);
        if !std::ptr::eq(of_lane, row) {
            let line = of_lane.cell("rgid").place.line;
            let message =
                format!("sample '{}' has read group '{}' on line {line} already", sample.value, rgid.value);
            report(found, rgid, message, Some("each lane of a sample needs its own rgid".to_owned()));
        }
    }
}

/// Result files are named after samples and cohort, also on file systems that do not tell `A` from `a`.
fn check_file_names(rows: &[Row], cohort_id: &str, found: &mut Vec<Diagnostic>) {
    let mut folded: HashMap<String, &Cell> = HashMap::new();
    for cell in rows.iter().map(|row| row.cell("sample")) {
        let lower = cell.value.to_ascii_lowercase();
        if format!("{lower}.g") == cohort_id.to_ascii_lowercase() {
            let message = format!(
                "the results of sample '{}' would overwrite those of cohort '{cohort_id}'",
                cell.value
            );
            report(found, cell, message, Some("rename the cohort".to_owned()));
        }
        let first: &Cell = folded.entry(lower).or_insert(cell);
        if first.value != cell.value {
            let message = format!(
                "sample '{}' differs only in case from '{}' on line {}",
                cell.value, first.value, first.place.line
            );
            report(found, cell, message, None);
        }
    }
}

/// No file is read twice.
fn check_files(rows: &[Row], found: &mut Vec<Diagnostic>) {
    let mut paths: HashMap<String, &Cell> = HashMap::new();
    let mut digests: HashMap<[u8; 32], &Cell> = HashMap::new();
    for row in rows {
        for (path, digest) in [("fastq_1", "sha256_1"), ("fastq_2", "sha256_2")] {
            let (path, digest) = (row.cell(path), row.cell(digest));
            if path.value.is_empty() {
                continue;
            }
            let first: &Cell = paths.entry(plain_path(&path.value)).or_insert(path);
            if !std::ptr::eq(first, path) {
                let message = format!("file '{}' is named on line {} already", path.value, first.place.line);
                report(found, path, message, None);
                continue;
            }
            let Some(bytes) = sha256(&digest.value) else { continue };
            let first: &Cell = digests.entry(bytes).or_insert(digest);
            if !std::ptr::eq(first, digest) {
                let message =
                    format!("file '{}' has the digest of the file on line {}", path.value, first.place.line);
                let hint = "the same reads under two names would count twice".to_owned();
                found.push(Diagnostic::warning(digest.place.clone(), message).hint(hint));
            }
        }
    }
}

/// A path without its empty and `.` parts.
fn plain_path(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let root = if path.starts_with('/') { "/" } else { "" };
    root.to_owned() + &parts.join("/")
}

/// What is said of a person is said once, whatever the sample; and a specimen comes from one person.
fn check_people(rows: &[Row], found: &mut Vec<Diagnostic>) {
    for column in ["family", "relation", "sex_declared"] {
        agree("participant", column, rows, found);
    }
    agree("specimen", "participant", rows, found);
}

/// Rows with the same `key` name the same `column`, where they name one. Rows of one sample are compared elsewhere.
fn agree(key: &str, column: &str, rows: &[Row], found: &mut Vec<Diagnostic>) {
    let mut first: HashMap<&str, &Row> = HashMap::new();
    for row in rows.iter().filter(|row| !row.cell(key).value.is_empty() && !row.cell(column).value.is_empty())
    {
        let of_key: &Row = first.entry(&row.cell(key).value).or_insert(row);
        let (here, there) = (row.cell(column), of_key.cell(column));
        if here.value != there.value && row.cell("sample").value != of_key.cell("sample").value {
            let message = format!(
                "{key} '{}' has {column} '{}' here and '{}' on line {}",
                row.cell(key).value,
                here.value,
                there.value,
                there.place.line
            );
            report(found, here, message, None);
        }
    }
}

/// A family has at most one mother and one father, of the sex that takes, and parents have a child.
fn check_families(rows: &[Row], found: &mut Vec<Diagnostic>) {
    let mut parents: BTreeMap<(&str, &str), &Row> = BTreeMap::new();
    for row in rows {
        let (family, relation, sex) = (row.cell("family"), row.cell("relation"), row.cell("sex_declared"));
        let other_sex = match relation.value.as_str() {
            "mother" => "M",
            "father" => "F",
            _ => continue,
        };
        if sex.value == other_sex {
            let message = format!("the {} has sex_declared '{other_sex}'", relation.value);
            report(found, sex, message, None);
        }
        let first: &Row = parents.entry((&family.value, &relation.value)).or_insert(row);
        let (here, there) = (row.cell("participant"), first.cell("participant"));
        if here.value != there.value && !family.value.is_empty() {
            let message = format!(
                "family '{}' has a {} on line {} already, participant '{}'",
                family.value, relation.value, there.place.line, there.value
            );
            report(found, relation, message, None);
        }
    }
    let child = |row: &&Row| ["proband", "sibling"].contains(&row.cell("relation").value.as_str());
    for ((family, relation), row) in parents {
        if !family.is_empty() && !rows.iter().filter(child).any(|row| row.cell("family").value == family) {
            let message = format!("family '{family}' has a {relation} and no proband");
            found.push(Diagnostic::warning(row.cell("relation").place.clone(), message));
        }
    }
}

fn check_word<T: Copy>(
    column: &str,
    words: &[(&'static str, T)],
    row: &Row,
    required: bool,
    found: &mut Vec<Diagnostic>,
) {
    let cell = row.cell(column);
    if meaning(words, cell).is_some() || (cell.value.is_empty() && !required) {
        return;
    }
    let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
    let message = format!("{column} '{}' is unknown; expected {}", cell.value, names.join(", "));
    report(found, cell, message, did_you_mean(&cell.value, names));
}

fn meaning<T: Copy>(words: &[(&str, T)], cell: &Cell) -> Option<T> {
    words.iter().find(|(name, _)| *name == cell.value).map(|(_, value)| *value)
}

fn text(row: &Row, column: &str) -> Option<String> {
    Some(row.cell(column).value.clone()).filter(|value| !value.is_empty())
}

fn report(found: &mut Vec<Diagnostic>, cell: &Cell, message: String, hint: Option<String>) {
    found.push(Diagnostic::error(cell.place.clone(), message).hint(hint));
}
