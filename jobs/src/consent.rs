//! What people agreed to: consent records, and the register that holds the newest word of each participant.
//!
//! Invariant: a record says only what was written; whether it is enough for an act is [`crate::policy`]'s to decide. The
//! register is as good as the moment it was last confirmed, which it carries.

mod date;
mod fhir;
mod json;
mod pii;
mod sheet;
mod words;

use crate::diagnostic::{Diagnostic, Findings, Source};
use crate::time::Timestamp;
pub(crate) use date::PROGRAMME_OFFSET_MINUTES;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// One participant's consent as the register holds it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ConsentRecord {
    /// The record's id in its register (FHIR `Consent.id`).
    pub id: String,
    /// Its version; a higher one replaces a lower one.
    pub version: u64,
    /// Code of the person.
    pub participant: String,
    /// Where the record stands.
    pub status: Status,
    /// From when on it holds; `None`: never said, so it holds at no time.
    pub start: Option<Timestamp>,
    /// Until before when it holds; `None`: no end.
    pub end: Option<Timestamp>,
    /// Who consented.
    pub basis: Basis,
    /// Items agreed to, such as `clinical_return`; an item that is denied anywhere in the record is not among them.
    pub items: BTreeSet<String>,
    /// Countries beside the home country to which `foreign_use` extends (ISO 3166 alpha-2).
    pub foreign_countries: BTreeSet<String>,
    /// Data use codes, `DUO:0000006` or `DUO:0000007=MONDO:0005192`.
    pub duo: Vec<String>,
    /// The form that was signed.
    pub icf: Option<String>,
    /// When the record last changed.
    pub updated: Timestamp,
}

/// FHIR R4 `Consent.status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Not yet agreed to.
    Draft,
    /// Offered.
    Proposed,
    /// In force.
    Active,
    /// Declined.
    Rejected,
    /// Withdrawn or ended.
    Inactive,
    /// Never should have been.
    EnteredInError,
}

/// Who consented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The person.
    Own,
    /// Somebody for the person, who speaks for them until the given moment, if it is given.
    Proxy {
        /// When the person speaks for themselves again.
        until: Option<Timestamp>,
    },
}

/// The newest record of every participant.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Register {
    /// By participant.
    pub records: BTreeMap<String, ConsentRecord>,
    /// When the register was last confirmed.
    pub as_of: Timestamp,
}

/// The register that a file holds, or everything that is wrong with it: at most
/// [`LISTED_MAX`](crate::diagnostic::LISTED_MAX) diagnostics, then how many more.
///
/// A file whose first character is `{` is a FHIR R4 Bundle; any other is CSV. `file` is the name for diagnostics, which
/// show no value of the file that could be a person's.
pub fn read_register(file: &str, bytes: &[u8]) -> Result<Register, Vec<Diagnostic>> {
    let mut found = Findings::default();
    // UTF-16 of ASCII without its mark is sound UTF-8 with a NUL in every other place.
    if bytes.iter().take(4).any(|&byte| byte == 0) {
        let place = Source::new(file, "").place(0);
        let hint = format!("convert it: iconv -f UTF-16 -t UTF-8 {file}");
        found.error(|| place, "E-ENC-UTF16: the file is UTF-16; expected UTF-8", hint);
        return found.or_all(Register::default());
    }
    let source = Source::from_bytes(file, bytes).map_err(|error| vec![error])?;
    let register = match source.text().trim_start().starts_with(['{', '[']) {
        true => fhir::read(&source, &mut found),
        false => sheet::read(&source, &mut found),
    };
    found.or_all(register)
}

/// The records of a register while its versions are sorted out. `C` is what two copies of one version agree in.
struct Versions<C> {
    seen: HashMap<(String, u64), C>,
    newest: BTreeMap<String, ConsentRecord>,
}

impl<C: PartialEq> Versions<C> {
    fn new() -> Self {
        Versions { seen: HashMap::new(), newest: BTreeMap::new() }
    }

    /// Takes a record in. False if this version of it was there before with other content.
    fn insert(&mut self, record: ConsentRecord, content: C) -> bool {
        let version = (record.id.clone(), record.version);
        if let Some(held) = self.seen.get(&version) {
            return *held == content;
        }
        self.seen.insert(version, content);
        match self.newest.get(&record.id) {
            Some(held) if held.version > record.version => {}
            _ => drop(self.newest.insert(record.id.clone(), record)),
        }
        true
    }

    /// The newest version of each record, and of these the newest word of each participant.
    fn register(self, as_of: Timestamp) -> Register {
        let mut register = Register { as_of, ..Register::default() };
        for mut record in self.newest.into_values() {
            // A register cannot know of a change after it was confirmed: such a word holds at no time, and stands in the
            // way of older ones.
            if record.updated > as_of {
                record.start = None;
            }
            register.insert(record);
        }
        register
    }
}

impl Register {
    /// Counts up with every confirmation: whole seconds of [`Register::as_of`].
    pub fn epoch(&self) -> u64 {
        u64::try_from(self.as_of.micros() / 1_000_000).unwrap_or(0)
    }

    /// Keeps the record if it is the newest word of its participant: by change; of two changes at one moment that which
    /// is not in force; then by id and version.
    pub fn insert(&mut self, record: ConsentRecord) {
        let newness = |record: &ConsentRecord| {
            (record.updated, record.status != Status::Active, record.id.clone(), record.version)
        };
        match self.records.get(&record.participant) {
            Some(held) if newness(held) >= newness(&record) => {}
            _ => drop(self.records.insert(record.participant.clone(), record)),
        }
    }
}
