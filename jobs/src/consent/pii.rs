//! What would tell who a participant is, found so that it can be refused.
//!
//! Invariant: a file with any of it is refused whole, and no message repeats what was found. The list errs towards
//! refusing: a register of codes has no use for a name, an address or a picture.

use super::json::{Json, Node};
use super::words::half_width;
use crate::diagnostic::{Findings, Source};

/// FHIR resources whose `name`, `telecom` and `address` are those of institutions or of definitions.
const IMPERSONAL: [&str; 10] = [
    "CodeSystem",
    "Device",
    "Endpoint",
    "HealthcareService",
    "Location",
    "Organization",
    "Questionnaire",
    "ResearchStudy",
    "StructureDefinition",
    "ValueSet",
];

/// Members that say who a person is, in every other resource.
const OF_PERSONS: [&str; 5] = ["name", "telecom", "address", "photo", "contact"];

/// Members that hold a name, an address or a text for people to read, wherever they stand.
const EVERYWHERE: [&str; 6] =
    ["family", "given", "div", "valueHumanName", "valueAddress", "valueContactPoint"];

/// References whose `display` is the name of a person.
const REFERENCES: [&str; 9] = [
    "patient",
    "performer",
    "subject",
    "verifiedWith",
    "reference",
    "individual",
    "participant",
    "author",
    "practitioner",
];

/// Attachments whose `data` is a picture of what was signed, or of who signed.
const ATTACHMENTS: [&str; 4] = ["sourceAttachment", "valueAttachment", "attachment", "content"];

/// Columns and keys of people's own making, without case, space, '_' and '-'.
const WORDS: [&str; 40] = [
    "address",
    "birthdate",
    "birthday",
    "dateofbirth",
    "dob",
    "email",
    "familyname",
    "firstname",
    "fullname",
    "givenname",
    "individualnumber",
    "kana",
    "lastname",
    "mail",
    "mynumber",
    "name",
    "patientname",
    "participantname",
    "phone",
    "postalcode",
    "surname",
    "tel",
    "telecom",
    "telephone",
    "zip",
    "カナ",
    "フリガナ",
    "ふりがな",
    "マイナンバー",
    "メール",
    "住所",
    "個人番号",
    "名",
    "名前",
    "姓",
    "患者名",
    "患者氏名",
    "氏名",
    "生年月日",
    "電話番号",
];

/// Whether a column or key is named after what tells who a person is.
pub(super) fn is_personal_word(word: &str) -> bool {
    let plain: String =
        word.chars().map(half_width).filter(|c| !" _-".contains(*c)).collect::<String>().to_lowercase();
    WORDS.contains(&plain.as_str())
}

/// Whether a text holds twelve digits that stand together, or in groups of four: an individual number (個人番号) by its
/// form. Its check digit is not looked at, as a slip in it makes it no less somebody's.
pub(super) fn is_individual_number(text: &str) -> bool {
    if text.len() < 12 {
        return false;
    }
    let narrow: String = text.chars().map(half_width).collect();
    let token = |c: char| !(c.is_alphanumeric() || "-_.:".contains(c));
    let mut groups = 0;
    narrow.split(token).any(|token| {
        let digits = token.replace('-', "");
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        groups = if plain && token.len() == 4 { groups + 1 } else { 0 };
        (plain && digits.len() == 12) || groups == 3
    })
}

/// Reports everything in a tree that tells who somebody is.
pub(super) fn scan(node: &Node, source: &Source<'_>, found: &mut Findings) {
    Scan { source, found }.node(node, "", true);
}

struct Scan<'s, 't> {
    source: &'s Source<'t>,
    found: &'s mut Findings,
}

impl Scan<'_, '_> {
    /// A value under a key (that of its list, if it is in one), within a resource that speaks of a person or not.
    fn node(&mut self, node: &Node, key: &str, personal: bool) {
        match &node.json {
            // A server's count or clock; a long one has twelve digits.
            Json::Text(_) if key == "versionId" => {}
            Json::Text(text) if is_individual_number(text) => self.refuse(node, "an individual number"),
            Json::Number(number) if is_individual_number(number) => self.refuse(node, "an individual number"),
            Json::List(items) => items.iter().for_each(|item| self.node(item, key, personal)),
            Json::Object(members) => {
                let resource = node.get("resourceType").and_then(Node::text);
                let personal = resource.map_or(personal, |name| !IMPERSONAL.contains(&name));
                for (name, child) in members {
                    match what(name, child, key, personal) {
                        Some(what) => self.refuse(child, what),
                        None => self.node(child, name, personal),
                    }
                }
            }
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => {}
        }
    }

    fn refuse(&mut self, node: &Node, what: &str) {
        let message = format!("E-PII: {what}; nothing of this file is taken or kept");
        let hint = "a register of codes needs none of it; send the file without".to_owned();
        self.found.error(|| self.source.place(node.at), message, hint);
    }
}

/// What the member `name` of an object under `parent` would tell of a person.
fn what(name: &str, child: &Node, parent: &str, personal: bool) -> Option<&'static str> {
    let text = matches!(child.json, Json::Text(_));
    match name {
        // A year, or a year and a month, tells an age.
        "birthDate" => child.text().is_none_or(|date| date.len() > 7).then_some("a date of birth"),
        "display" => REFERENCES.contains(&parent).then_some("the display of a reference to a person"),
        "data" => (text && ATTACHMENTS.contains(&parent)).then_some("an attached document"),
        _ if EVERYWHERE.contains(&name) => Some("a name, an address or a text for people to read"),
        _ if personal && (OF_PERSONS.contains(&name) || is_personal_word(name)) => {
            Some("a name, an address or another member that tells who somebody is")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twelve_digits_are_an_individual_number_however_they_are_grouped() {
        let check = |text: &str, expect: bool| assert_eq!(is_individual_number(text), expect, "{text}");
        for number in [
            "123456789018",
            "1234-5678-9018",
            "1234 5678 9018",
            "１２３４５６７８９０１８",
            "No. 123456789018!",
            "x 1234　5678　9018",
        ] {
            check(number, true);
        }
        for other in [
            "",
            "12345678901",
            "1234567890123",
            "urn:uuid:0b6f8f2e-9f5d-4a7c-8a55-123456789012",
            "2026-05-31T18:00:00+09:00",
            "P-4K7QZ2M5XABC-7",
            "S123456789012",
            "1234 5678",
            "1234 5678 901",
        ] {
            check(other, false);
        }
    }
}
