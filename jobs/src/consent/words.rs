//! The words of a consent, whichever form it comes in: statuses, items, data use codes, countries and identifiers.
//!
//! Invariant: a word that looks like a known one misspelt is refused, so that no refusal is lost to a slip; no message
//! repeats a value of the file, as a value in the wrong place may be a person's name.

use super::Status;
use super::pii::is_individual_number;
use crate::diagnostic::{closest, did_you_mean};

/// What is wrong with a value, and what to do about it.
pub(super) type Problem = (String, Option<String>);

pub(super) const STATUSES: [(&str, Status); 6] = [
    ("draft", Status::Draft),
    ("proposed", Status::Proposed),
    ("active", Status::Active),
    ("rejected", Status::Rejected),
    ("inactive", Status::Inactive),
    ("entered-in-error", Status::EnteredInError),
];

/// The item that sends data abroad; it names countries.
pub(super) const FOREIGN_USE: &str = "foreign_use";

/// Items of the programme's consent form.
const ITEMS: [&str; 6] = [
    "clinical_return",
    "research_academia",
    "research_joint_industry",
    "research_industry_only",
    "recontact",
    FOREIGN_USE,
];

/// Codes of DUO v2021-02-23, without the prefix; the ontology file also spells NPOA with eight digits.
const DUO: [&str; 24] = [
    "0000004", "0000006", "0000007", "0000011", "0000012", "0000015", "0000016", "0000018", "0000019",
    "0000020", "0000021", "0000022", "0000024", "0000025", "0000026", "0000027", "0000028", "0000029",
    "0000042", "0000043", "0000044", "00000044", "0000045", "0000046",
];

/// Longest identifier, in characters.
const IDENTIFIER_CHARS_MAX: usize = 100;

/// FHIR R4 `Consent.status`.
pub(super) fn status(text: &str) -> Result<Status, Problem> {
    let names = STATUSES.map(|(name, _)| name);
    let known = STATUSES.iter().find(|(name, _)| *name == text).map(|(_, status)| *status);
    known.ok_or_else(|| {
        let message = format!("E-FHIR-STATUS: the status is unknown; expected {}", names.join(", "));
        (message, did_you_mean(text, names))
    })
}

/// A consent item. Programmes add items, so one that resembles none of the known is taken as it is.
pub(super) fn item(text: &str) -> Result<String, Problem> {
    if ITEMS.contains(&text) {
        return Ok(text.to_owned());
    }
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let well_formed = !text.is_empty() && text.len() <= 64 && text.bytes().all(plain);
    match closest(text, ITEMS) {
        None if well_formed => Ok(text.to_owned()),
        _ => {
            let message =
                "E-FHIR-PROFILE: the consent item is unknown; expected a word such as clinical_return";
            Err((message.to_owned(), did_you_mean(text, ITEMS)))
        }
    }
}

/// A data use code, `DUO:0000006` or `DUO:0000007=MONDO:0005192`.
pub(super) fn duo(text: &str) -> Result<String, Problem> {
    let (code, argument) = text.split_once('=').map_or((text, None), |(code, rest)| (code, Some(rest)));
    if !code.strip_prefix("DUO:").is_some_and(|code| DUO.contains(&code)) {
        let message = "E-DUO-UNKNOWN: the code is not in DUO v2021-02-23; expected one such as DUO:0000006";
        let meant = code.replace('_', ":").to_ascii_uppercase();
        let meant = meant.strip_prefix("DUO:").and_then(|code| DUO.iter().find(|known| **known == code));
        return Err((message.to_owned(), meant.map(|code| format!("did you mean 'DUO:{code}'?"))));
    }
    let disease = |argument: &str| {
        let values = argument.split('+').map(|value| value.strip_prefix("MONDO:"));
        let mut digits =
            values.map(|value| value.is_some_and(|id| id.len() == 7 && id.parse::<u32>().is_ok()));
        digits.all(|good| good)
    };
    // What an argument may hold is the policy's to say; here it only cannot be a sentence.
    let plain = |argument: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":+._-".contains(&byte);
        !argument.is_empty() && argument.len() <= 200 && argument.bytes().all(allowed)
    };
    match (code, argument) {
        ("DUO:0000007", argument) if !argument.is_some_and(disease) => Err((
            "E-DUO-ARG: DUO:0000007 needs its disease, such as DUO:0000007=MONDO:0005192".to_owned(),
            None,
        )),
        (_, Some(argument)) if !plain(argument) => Err((
            "E-DUO-ARG: the argument of the code has other than letters, digits and :+._-".to_owned(),
            None,
        )),
        _ => Ok(text.to_owned()),
    }
}

/// A country, ISO 3166 alpha-2.
pub(super) fn country(text: &str) -> Result<String, Problem> {
    if text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Ok(text.to_owned());
    }
    let narrow: String = text.chars().map(half_width).collect::<String>().to_ascii_uppercase();
    let meant = (narrow.len() == 2 && narrow.bytes().all(|byte| byte.is_ascii_uppercase()))
        .then(|| format!("did you mean '{narrow}'?"));
    Err(("E-FHIR-PROFILE: expected a country in two letters of ISO 3166, such as GB".to_owned(), meant))
}

/// A code of a person or a record: letters, digits, '.', '_' and '-'. Another spelling of such a code is shown only if
/// there are digits in it, as a name has none.
pub(super) fn identifier(what: &str, text: &str) -> Result<String, Problem> {
    if is_individual_number(text) {
        return Err((format!("E-PII: {what} looks like an individual number"), None));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let Some(bad) = text.chars().find(|&c| !allowed(c)) else {
        return match text.len() {
            1..=IDENTIFIER_CHARS_MAX => Ok(text.to_owned()),
            0 => Err((format!("E-FHIR-PROFILE: {what} is empty"), None)),
            chars => {
                let expected = format!("expected at most {IDENTIFIER_CHARS_MAX}");
                Err((format!("E-FHIR-PROFILE: {what} has {chars} characters; {expected}"), None))
            }
        };
    };
    let narrow: String = text.trim().chars().map(half_width).collect();
    if narrow.chars().all(allowed) && !narrow.is_empty() {
        let message = format!("E-ID-WIDTH: {what} contains {}; expected ASCII characters", code_point(bad));
        let shown = narrow.contains(|c: char| c.is_ascii_digit());
        return Err((message, shown.then(|| format!("did you mean '{narrow}'?"))));
    }
    if text.chars().any(|c| c.is_alphabetic() && !c.is_ascii() && half_width(c) == c && !looks_latin(c)) {
        return Err((format!("E-PII: {what} holds words where a code is expected"), None));
    }
    let message = format!(
        "E-ID-WIDTH: {what} contains {}; expected letters, digits, '.', '_' and '-'",
        code_point(bad)
    );
    Err((message, None))
}

/// The ASCII character that a full-width one looks like.
pub(super) fn half_width(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        '\u{2010}'..='\u{2015}' | '\u{2212}' | 'ー' => '-',
        '\u{3000}' => ' ',
        _ => c,
    }
}

/// Letters of Greek and Cyrillic, which stand in codes only because they look like Latin ones.
fn looks_latin(c: char) -> bool {
    ('\u{370}'..='\u{52f}').contains(&c)
}

fn code_point(c: char) -> String {
    format!("U+{:04X}", c as u32)
}
