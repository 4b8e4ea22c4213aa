//! The second evaluator: consent, data use and placement as tables of text over cells of text, from the vectors' page
//! alone.
//!
//! Invariant: it shares no rule with the policy check and knows none of its types.

use std::collections::BTreeMap;

/// A case: cells by column.
pub type Cells = BTreeMap<&'static str, String>;

/// What both evaluators say.
#[derive(Debug, PartialEq)]
pub struct Said {
    pub reasons: Vec<String>,
    pub obligations: Vec<String>,
}

impl Said {
    fn sorted(mut reasons: Vec<String>, mut obligations: Vec<String>) -> Said {
        reasons.sort();
        reasons.dedup();
        obligations.sort();
        obligations.dedup();
        Said { reasons, obligations }
    }
}

// Data use.

/// code, abbreviation, kind (permission or modifier), what its argument looks like: `-` none, `*` anything, otherwise a
/// pattern (9 digit, A capital, + one or more digits, ~ any text) that each value matches; `1:` for exactly one value.
const CODES: &str = "
DUO:0000004 NRES permission -
DUO:0000042 GRU permission -
DUO:0000006 HMB permission -
DUO:0000007 DS permission MONDO:9999999
DUO:0000011 POA permission -
DUO:0000012 RS modifier *
DUO:0000015 NMDS modifier -
DUO:0000016 GSO modifier -
DUO:0000018 NPUNCU modifier -
DUO:0000019 PUB modifier -
DUO:0000020 COL modifier -
DUO:0000021 IRB modifier -
DUO:0000022 GS modifier AA
DUO:0000024 MOR modifier 1:9999-99-99
DUO:0000025 TS modifier 1:+
DUO:0000026 US modifier ~
DUO:0000027 PS modifier ~
DUO:0000028 IS modifier ~
DUO:0000029 RTN modifier -
DUO:0000043 CC modifier -
DUO:0000044 NPOA modifier -
DUO:00000044 NPOA modifier -
DUO:0000045 NPU modifier -
DUO:0000046 NCU modifier -";

/// permission, the uses it covers; `DS?` only if the disease descends from a value; `CC?` only with the modifier CC.
const COVERS: &str = "
NRES GRU HMB DS POA MDS CC
GRU GRU HMB DS POA MDS CC?
HMB HMB DS MDS CC?
DS DS? MDS CC?
POA POA MDS CC?";

/// modifier, the condition under which it objects, the reason.
const OBJECTIONS: &str = "
RS always HUMAN:RS
NMDS purpose=MDS NMDS
GSO genetic=0 GSO
NPUNCU non_profit=0 NPUNCU:org
NPUNCU commercial=1 NPUNCU:use
PUB accepts!PUB PUB
COL accepts!COL COL
RTN accepts!RTN RTN
IRB ethics= IRB
GS country@ GS
TS months>value TS
US user@ US
PS project@ PS
IS institution@ IS
NPOA purpose=POA NPOA
NPU non_profit=0 NPU
NCU commercial=1 NCU";

pub const IS_A: [(&str, &str); 3] = [
    ("MONDO:0005192", "MONDO:0004992"),
    ("MONDO:0008903", "MONDO:0004992"),
    ("MONDO:0005233", "MONDO:0008903"),
];

pub fn rows(table: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    table.lines().filter(|line| !line.is_empty()).map(|line| line.split(' ').collect())
}

fn looks_like(value: &str, pattern: &str) -> bool {
    match pattern {
        "~" => !value.is_empty(),
        // A number that no machine holds is no number either.
        "+" => !value.is_empty() && value.len() < 20 && value.bytes().all(|byte| byte.is_ascii_digit()),
        _ => {
            let fits = |(byte, like): (u8, u8)| match like {
                b'9' => byte.is_ascii_digit(),
                b'A' => byte.is_ascii_uppercase(),
                _ => byte == like,
            };
            value.len() == pattern.len() && value.bytes().zip(pattern.bytes()).all(fits)
        }
    }
}

fn values_fit(values: &[&str], pattern: &str) -> bool {
    match pattern.strip_prefix("1:") {
        _ if pattern == "-" => values.is_empty(),
        _ if pattern == "*" => true,
        Some(pattern) => values.len() == 1 && looks_like(values[0], pattern),
        None => !values.is_empty() && values.iter().all(|value| looks_like(value, pattern)),
    }
}

fn descends(disease: &str, from: &str) -> bool {
    disease == from || IS_A.iter().any(|(kind, of)| *kind == disease && descends(of, from))
}

fn objects(condition: &str, values: &[&str], cells: &Cells) -> bool {
    if condition == "always" {
        return true;
    }
    if condition == "months>value" {
        let number = |text: &str| text.parse::<u64>().ok().filter(|_| looks_like(text, "+"));
        let limit = if values.len() == 1 { number(values[0]) } else { None };
        return limit.is_none() || number(&cells["months"]).is_none_or(|months| months > limit.unwrap());
    }
    if let Some(column) = condition.strip_suffix('@') {
        return !values.contains(&cells[column].as_str()) || cells[column].is_empty();
    }
    if let Some((column, word)) = condition.split_once('!') {
        return !cells[column].split('+').any(|accepted| accepted == word);
    }
    let (column, value) = condition.split_once('=').expect("a condition has one of five forms");
    cells[column] == value
}

pub fn data_use(cells: &Cells) -> Said {
    let mut reasons = Vec::new();
    let mut obligations = Vec::new();
    let mut terms: Vec<(&str, &str, Vec<&str>)> = Vec::new();
    for written in cells["dataset_codes"].split(';').filter(|code| !code.is_empty()) {
        let mut parts = written.splitn(2, '=');
        let code = parts.next().unwrap();
        let values: Vec<&str> = parts.next().map_or(vec![], |values| values.split('+').collect());
        match rows(CODES).find(|row| row[0] == code) {
            None => reasons.push(format!("DUO_UNKNOWN:{code}")),
            Some(row) => {
                if !values_fit(&values, row[3]) {
                    reasons.push(format!("DUO_ARGUMENT:{code}"));
                }
                terms.push((row[1], row[2], values));
            }
        }
    }
    let permissions: Vec<_> = terms.iter().filter(|term| term.1 == "permission").collect();
    if permissions.len() == 1 {
        let (label, _, values) = permissions[0];
        let purpose = cells["purpose"].as_str();
        let row = rows(COVERS).find(|row| row[0] == *label).unwrap();
        let covered = row[1..].iter().any(|covered| match covered.strip_suffix('?') {
            None => *covered == purpose,
            Some("DS") => purpose == "DS" && values.iter().any(|value| descends(&cells["disease"], value)),
            Some(_) => purpose == "CC" && terms.iter().any(|term| term.0 == "CC"),
        });
        if !covered {
            reasons.push(format!("PURPOSE:{label}<{purpose}"));
        }
    } else {
        reasons.push("DUO_PERMISSION_COUNT".to_owned());
    }
    for (label, _, values) in &terms {
        for row in rows(OBJECTIONS).filter(|row| row[0] == *label) {
            let objecting = objects(row[1], values, cells);
            if objecting {
                reasons.push(row[2].to_owned());
            } else if row[1].starts_with("accepts") {
                obligations.push(format!("must_{label}"));
            }
        }
        if *label == "MOR" {
            let dates = values.iter().filter(|date| looks_like(date, "9999-99-99"));
            obligations.extend(dates.map(|date| format!("no_publication_before={date}")));
        }
    }
    Said::sorted(reasons, obligations)
}

// Consent.

/// What a record of that name says beside (or instead of) an active one's words.
pub const RECORDS: &str = "
active status=active
draft status=draft
proposed status=proposed
inactive status=inactive
entered-in-error status=entered-in-error
rejected status=rejected
expired end=50
future start=500
unstarted start=never
proxy until=
proxy_lapsed until=90
industry items=+research_industry_only+research_joint_industry
foreign_gb items=+research_industry_only+research_joint_industry+foreign_use countries=GB
foreign_unsaid items=+research_joint_industry countries=GB
foreign_nowhere items=+foreign_use
nothing items=-";

pub fn record_cells(name: &str) -> Option<Cells> {
    let mut cells = Cells::from([
        ("status", "active".to_owned()),
        ("start", "0".to_owned()),
        ("end", String::new()),
        ("until", String::new()),
        ("items", "clinical_return+research_academia".to_owned()),
        ("countries", String::new()),
    ]);
    for cell in rows(RECORDS).find(|row| row[0] == name)?.into_iter().skip(1) {
        let (column, value) = cell.split_once('=').unwrap();
        let held = cells.entry(column).or_default();
        match value.strip_prefix('+') {
            Some(_) => held.push_str(value),
            None => *held = value.to_owned(),
        }
    }
    Some(cells)
}

/// A moment of a record (a column) and the side of it on which the record does not hold.
const MOMENTS: [(&str, bool, &str); 3] =
    [("start", true, "CONSENT_NOT_YET"), ("end", false, "CONSENT_EXPIRED"), ("until", false, "PROXY_LAPSED")];

pub fn consent(cells: &Cells) -> Said {
    let Some(record) = record_cells(&cells["record"]) else {
        return Said::sorted(vec!["CONSENT_MISSING".to_owned()], vec![]);
    };
    let number = |text: &str| text.parse::<i64>().ok();
    let (now, as_of) = (number(&cells["now"]).unwrap(), number(&cells["as_of"]).unwrap());
    let mut reasons = Vec::new();
    if record["status"] != "active" {
        reasons.push(format!("CONSENT_{}", record["status"].to_uppercase().replace('-', "_")));
    }
    for (column, before, reason) in MOMENTS {
        let outside = match number(&record[column]) {
            Some(moment) => (now < moment) == before,
            None => record[column] == "never",
        };
        if outside {
            reasons.push(reason.to_owned());
        }
    }
    if !(0..=24).contains(&(now - as_of)) {
        reasons.push("CONSENT_STALE".to_owned());
    }
    let items: Vec<&str> = record["items"].split('+').collect();
    if !items.contains(&cells["need"].as_str()) {
        reasons.push(format!("CONSENT_ITEM:{}", cells["need"]));
    }
    let abroad = items.contains(&"foreign_use") && record["countries"] == cells["country"];
    if cells["country"] != "JP" && !abroad {
        reasons.push(format!("CONSENT_COUNTRY:{}", cells["country"]));
    }
    Said::sorted(reasons, vec![])
}

// Placement.

pub const SITES: &str = "
ncc-onprem JP 4 attested
gcp-osaka JP 3 attested
gcp-osaka-lapsed JP 3 expired
uk-tre GB 3 attested
burst-us US 1 attested
nobody JP 4 never";

/// The reasons of a site, in the order JUR, LEVEL, ATTEST.
pub fn placement(cells: &Cells, site: &str) -> Vec<String> {
    let row = rows(SITES).find(|row| row[0] == site).unwrap();
    let samples = cells["sample_jurisdictions"].split('|');
    let against = samples.filter(|sample| !sample.split('+').any(|country| country == row[1])).count();
    let level: u32 = cells["level"].parse().unwrap();
    let columns = [
        (against > 0, format!("JUR:{against}")),
        (level > row[2].parse().unwrap(), "LEVEL".to_owned()),
        (row[3] != "attested", "ATTEST".to_owned()),
    ];
    columns.into_iter().filter(|(holds, _)| *holds).map(|(_, reason)| reason).collect()
}
