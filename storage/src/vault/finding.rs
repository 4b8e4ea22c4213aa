//! What was found amiss: where, in which part, and what.
//!
//! Invariant: a finding names the place as an operator would look for it: site, object, fragment, block.

use std::error::Error;
use std::fmt::{self, Write};

use super::hex::ObjectId;

/// One thing that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Finding {
    /// The site, or the custodian in whose ledger it was found.
    pub place: Place,
    /// The object; `None`: it concerns the whole site or ledger.
    pub object: Option<ObjectId>,
    /// The fragment, where it concerns one.
    pub fragment: Option<u8>,
    /// The part of it.
    pub part: Part,
    /// What is wrong.
    pub what: Damage,
}

/// Where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A site, by name.
    Site(String),
    /// A custodian's ledger, by the custodian's name.
    Ledger(String),
    /// What was handed in for restoring: an opened share or a release, by its origin.
    Given(String),
    /// The vault's own folder.
    Vault,
}

/// Which part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The whole site or ledger.
    Whole,
    /// `vault.json`.
    Vault,
    /// `audit.jsonl`.
    Log,
    /// `core.json`.
    Core,
    /// `seal.json`.
    Seal,
    /// A file that belongs to nothing.
    Stray,
    /// A fragment's file as such: its presence, its length, whose it is.
    File,
    /// A fragment's header.
    Header,
    /// A fragment's block, from 0.
    Block(u64),
    /// A fragment's tree.
    Tree,
    /// A custodian's share, by its index from 1.
    Share(u8),
    /// All of an object whose sealing was interrupted: neither listed nor restored, and cleared by the next seal.
    Pending,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Damage {
    /// It is not there.
    Missing,
    /// It cannot be read; what the system said.
    Unreadable(String),
    /// It is shorter than it was written.
    Truncated {
        /// Bytes found.
        bytes: u64,
        /// Bytes written.
        expected: u64,
    },
    /// It is longer than it was written.
    Overlong {
        /// Bytes found.
        bytes: u64,
        /// Bytes written.
        expected: u64,
    },
    /// Its bytes are not those that were written.
    Altered(String),
    /// It is whole, but something else: another fragment, another object's, another vault's.
    Foreign(String),
    /// It is older than the seal.
    Stale {
        /// Layout epoch found.
        found: u32,
        /// Layout epoch of the seal.
        expected: u32,
    },
    /// It was sealed half and never acknowledged.
    Unfinished,
}

/// Findings in order, each once; where a whole site does not answer, nothing more is said of it.
pub(super) fn tidied(mut findings: Vec<Finding>) -> Vec<Finding> {
    let whole = |finding: &&Finding| finding.part == Part::Whole;
    let gone: Vec<Place> = findings.iter().filter(whole).map(|finding| finding.place.clone()).collect();
    findings.retain(|finding| finding.part == Part::Whole || !gone.contains(&finding.place));
    findings.sort();
    findings.dedup();
    findings
}

impl Damage {
    /// A store that does not answer.
    pub(super) fn unreadable(error: &dyn Error) -> Self {
        Damage::Unreadable(chain(error))
    }

    /// Bytes that are refused.
    pub(super) fn altered(error: &dyn Error) -> Self {
        Damage::Altered(chain(error))
    }
}

/// An error and its causes.
pub(super) fn chain(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Site(name) => write!(f, "site {name}"),
            Place::Ledger(name) => write!(f, "ledger of {name}"),
            Place::Given(name) => f.write_str(name),
            Place::Vault => f.write_str("vault"),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Whole => f.write_str("all of it"),
            Part::Vault => f.write_str("vault.json"),
            Part::Log => f.write_str("audit.jsonl"),
            Part::Core => f.write_str("core.json"),
            Part::Seal => f.write_str("seal.json"),
            Part::Stray => f.write_str("stray file"),
            Part::File => f.write_str("file"),
            Part::Header => f.write_str("header"),
            Part::Block(index) => write!(f, "block {index}"),
            Part::Tree => f.write_str("tree"),
            Part::Share(index) => write!(f, "share {index}"),
            Part::Pending => f.write_str("interrupted sealing, cleared by the next seal"),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Missing => f.write_str("missing"),
            Damage::Unreadable(why) => write!(f, "unreadable: {why}"),
            Damage::Truncated { bytes, expected } => write!(f, "cut to {bytes} of {expected} bytes"),
            Damage::Overlong { bytes, expected } => write!(f, "{bytes} bytes instead of {expected}"),
            Damage::Altered(how) => write!(f, "altered: {how}"),
            Damage::Foreign(whose) => write!(f, "not what belongs here: {whose}"),
            Damage::Stale { found, expected } => {
                write!(f, "of layout epoch {found}, the seal is of {expected}")
            }
            Damage::Unfinished => f.write_str("never acknowledged"),
        }
    }
}

/// Takes text that others chose, such as names of files at sites: what is not printed as itself is escaped, so that it
/// forges no lines and moves no cursor.
struct OneLine<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|character| match character {
            '"' | '\'' | '\\' => self.0.write_char(character),
            _ => write!(self.0, "{}", character.escape_debug()),
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = OneLine(f);
        write!(f, "{}", self.place)?;
        if let Some(object) = &self.object {
            write!(f, ", object {object}")?;
        }
        if let Some(fragment) = self.fragment {
            write!(f, ", fragment {fragment:02}")?;
        }
        write!(f, ", {}: {}", self.part, self.what)
    }
}
