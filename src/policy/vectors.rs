//! Tables of decision vectors: each row a question, answered by the parts of the policy check.
//!
//! Invariant: the check knows nothing of these tables. The consents and sites that rows name are fixtures of the tables'
//! own page, spelled out in [`record`] and [`sites`]; hours count from the beginning of 1970, home is JP, and a
//! register is stale after 24 hours.

mod table;

use jobs::consent::{Basis, ConsentRecord, Status};
use jobs::diagnostic::{Diagnostic, Source, did_you_mean};
use jobs::policy::consent::{self, Need};
use jobs::policy::duo::{self, Diseases, Intent, Request, Term};
use jobs::policy::placement;
use jobs::site::Site;
use jobs::time::Timestamp;
use std::collections::BTreeSet;
use table::{Cells, Table};

/// What the tables hold, for `--help`.
pub const HELP: &str = "Tables (inputs, then what may be expected):
  consent    id,record,need,country,now,as_of
             verdict,reasons
  data use   id,dataset_codes,purpose,disease,non_profit,commercial,country,ethics,
             institution,user,project,months,accepts,genetic
             verdict,reasons,obligations
  placement  id,sample_jurisdictions,level
             sites_ok,refused
Lists are joined by ';', or by '+' within a value. For placement the verdict is permit
if any site may; the printed reasons are the column `refused` and the printed
obligations the column `sites_ok`, as that table spells them.

Records: active, inactive, entered-in-error, rejected, expired (end 50), future
(start 500), proxy, proxy_lapsed (until 90), industry, foreign_gb, none.
Sites: ncc-onprem JP 4, gcp-osaka JP 3, gcp-osaka-lapsed JP 3 (attestation expired),
uk-tre GB 3, burst-us US 1.

Example:
  wakachi policy vectors consent_vectors.csv

Exit codes: 0 decided, as expected; 1 rows differ, which are named; 3 not such a table.";

/// A row decided.
#[derive(Debug)]
pub struct Row {
    /// The row's id, then verdict, reasons and obligations.
    fields: [String; 4],
    /// Where the answer is not the one the file expects, a line each.
    pub differences: Vec<String>,
}

impl Row {
    /// The row as a line of CSV.
    pub fn csv(&self) -> String {
        let quoted = self.fields.iter().map(|field| match field.contains([',', '"', '\n', '\r']) {
            true => format!("\"{}\"", field.replace('"', "\"\"")),
            false => field.clone(),
        });
        quoted.collect::<Vec<_>>().join(",")
    }
}

/// Every row decided, in the file's order; or everything that is wrong with the file.
pub fn decide_all(file: &str, bytes: &[u8]) -> Result<Vec<Row>, Vec<Diagnostic>> {
    let source = Source::from_bytes(file, bytes).map_err(|error| vec![error])?;
    let mut found = Vec::new();
    let mut rows = Vec::new();
    if let Some(table) = Table::read(&source, &KINDS, &mut found) {
        let mut ids = BTreeSet::new();
        for record in table.records() {
            let Some(mut cells) = table.cells(record, &mut found) else { continue };
            let id = cells.required("id").to_owned();
            if !ids.insert(id.clone()) {
                cells.error::<()>("id", format!("id '{id}' stands twice"), None);
            }
            if let Some(answer) = (table.kind.decide)(&mut cells) {
                let differences = cells.differences(&table.kind.expected, &answer);
                let [verdict, reasons, obligations] = answer;
                rows.push(Row { fields: [id, verdict, reasons, obligations], differences });
            }
        }
    }
    found.sort();
    if found.is_empty() { Ok(rows) } else { Err(found) }
}

/// Verdict, reasons, obligations.
type Answer = [String; 3];

/// One kind of table.
struct Kind {
    /// Columns that must be there; the second one tells the kind.
    inputs: &'static [&'static str],
    /// Columns that may say what verdict, reasons and obligations should be.
    expected: [&'static str; 3],
    /// The answer to a row; `None` if the row is wrong, which the cells then know.
    decide: fn(&mut Cells<'_>) -> Option<Answer>,
}

const KINDS: [Kind; 3] = [
    Kind {
        inputs: &["id", "record", "need", "country", "now", "as_of"],
        expected: ["verdict", "reasons", "obligations"],
        decide: decide_consent,
    },
    Kind {
        inputs: &[
            "id",
            "dataset_codes",
            "purpose",
            "disease",
            "non_profit",
            "commercial",
            "country",
            "ethics",
            "institution",
            "user",
            "project",
            "months",
            "accepts",
            "genetic",
        ],
        expected: ["verdict", "reasons", "obligations"],
        decide: decide_data_use,
    },
    Kind {
        inputs: &["id", "sample_jurisdictions", "level"],
        expected: ["verdict", "refused", "sites_ok"],
        decide: decide_placement,
    },
];

fn answer(permitted: bool, reasons: String, obligations: String) -> Option<Answer> {
    Some([if permitted { "permit" } else { "deny" }.to_owned(), reasons, obligations])
}

fn joined(parts: impl IntoIterator<Item = impl ToString>, separator: &str) -> String {
    parts.into_iter().map(|part| part.to_string()).collect::<Vec<_>>().join(separator)
}

fn decide_consent(cells: &mut Cells<'_>) -> Option<Answer> {
    let record = match record(cells.required("record")) {
        Some(record) => record,
        None => {
            let hint = did_you_mean(cells.text("record"), RECORDS);
            return cells.error("record", format!("expected one of {}", RECORDS.join(", ")), hint);
        }
    };
    let hours = |cells: &mut Cells<'_>, column| {
        let hours = cells.text(column).parse().ok();
        if hours.is_none() {
            cells.error::<()>(column, "expected a whole number of hours", None);
        }
        hours.map(|hours| Timestamp::default().plus_hours(hours))
    };
    let (now, as_of) = (hours(cells, "now"), hours(cells, "as_of"));
    let home = BTreeSet::from(["JP".to_owned()]);
    let need = Need {
        item: Some(cells.required("need")),
        country: Some(cells.required("country")),
        now: now?,
        as_of: as_of?,
        home: &home,
        max_age_hours: 24,
    };
    let reasons = consent::evaluate(record.as_ref(), &need);
    answer(reasons.is_empty(), joined(&reasons, ";"), String::new())
}

const RECORDS: [&str; 11] = [
    "none",
    "active",
    "inactive",
    "entered-in-error",
    "rejected",
    "expired",
    "future",
    "proxy",
    "proxy_lapsed",
    "industry",
    "foreign_gb",
];

/// The consent a row names, `Some(None)` for that of nobody.
fn record(name: &str) -> Option<Option<ConsentRecord>> {
    let hour = |hours| Some(Timestamp::default().plus_hours(hours));
    let mut record = ConsentRecord {
        id: name.to_owned(),
        version: 1,
        participant: "P".to_owned(),
        status: Status::Active,
        start: hour(0),
        end: None,
        basis: Basis::Own,
        items: BTreeSet::from(["clinical_return", "research_academia"].map(str::to_owned)),
        foreign_countries: BTreeSet::new(),
        duo: Vec::new(),
        icf: None,
        updated: Timestamp::default(),
    };
    let industry = ["research_industry_only", "research_joint_industry"].map(str::to_owned);
    match name {
        "none" => return Some(None),
        "active" => {}
        "inactive" => record.status = Status::Inactive,
        "entered-in-error" => record.status = Status::EnteredInError,
        "rejected" => record.status = Status::Rejected,
        "expired" => record.end = hour(50),
        "future" => record.start = hour(500),
        "proxy" => record.basis = Basis::Proxy { until: None },
        "proxy_lapsed" => record.basis = Basis::Proxy { until: hour(90) },
        "industry" => record.items.extend(industry),
        "foreign_gb" => {
            record.items.extend(industry);
            record.items.insert("foreign_use".to_owned());
            record.foreign_countries.insert("GB".to_owned());
        }
        _ => return None,
    }
    Some(Some(record))
}

fn decide_data_use(cells: &mut Cells<'_>) -> Option<Answer> {
    let intent = match cells.required("purpose") {
        "GRU" => Some(Intent::Gru),
        "HMB" => Some(Intent::Hmb),
        "DS" if duo::is_disease(cells.text("disease")) => Some(Intent::Ds(cells.text("disease"))),
        "DS" => cells.error("disease", "expected a disease such as MONDO:0004992", None),
        "POA" => Some(Intent::Poa),
        "MDS" => Some(Intent::Mds),
        "CC" => Some(Intent::Cc),
        _ => cells.error("purpose", "expected one of GRU, HMB, DS, POA, MDS, CC", None),
    };
    let [non_profit, commercial, genetic] =
        ["non_profit", "commercial", "genetic"].map(|column| match cells.text(column) {
            "0" => Some(false),
            "1" => Some(true),
            _ => cells.error(column, "expected 0 or 1", None),
        });
    let months = match cells.given("months").map(str::parse) {
        None => Some(None),
        Some(Ok(months)) => Some(Some(months)),
        Some(Err(_)) => cells.error("months", "expected a whole number of months", None),
    };
    let words = cells.text("accepts").split('+').filter(|word| !word.is_empty());
    let accepted = words.map(|word| ACCEPTABLE.into_iter().find(|term| term.label() == word));
    let Some(accepts) = accepted.collect::<Option<Vec<Term>>>() else {
        return cells.error("accepts", "expected PUB, COL and RTN joined by '+'", None);
    };
    let request = Request {
        intent: intent?,
        non_profit: non_profit?,
        commercial: commercial?,
        country: cells.given("country"),
        ethics: cells.given("ethics"),
        institution: cells.given("institution"),
        user: cells.given("user"),
        project: cells.given("project"),
        months: months?,
        accepts: &accepts,
        genetic: genetic?,
    };
    let codes = cells.text("dataset_codes").split(';').filter(|code| !code.is_empty());
    let codes: Vec<String> = codes.map(str::to_owned).collect();
    let duo::Answer { reasons, obligations } = duo::evaluate(&codes, &request, &Diseases::built_in());
    answer(reasons.is_empty(), joined(&reasons, ";"), joined(&obligations, ";"))
}

/// Obligations an applicant may accept.
const ACCEPTABLE: [Term; 3] = [Term::Pub, Term::Col, Term::Rtn];

fn decide_placement(cells: &mut Cells<'_>) -> Option<Answer> {
    let Ok(level) = cells.text("level").parse::<u8>() else {
        return cells.error("level", "expected a security level from 0 to 255", None);
    };
    let countries = |sample: &str| {
        sample.split('+').filter(|country| !country.is_empty()).map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let samples: Vec<_> = cells.text("sample_jurisdictions").split('|').map(countries).collect();
    let decided = sites().map(|site| {
        let reasons = placement::evaluate(&site, Some(level), &samples, Timestamp::default());
        (site.id, reasons)
    });
    let permitting = decided.iter().filter(|(_, reasons)| reasons.is_empty()).map(|(site, _)| site);
    let sites_ok = joined(permitting, "+");
    let mut refusing: Vec<_> = decided.iter().filter(|(_, reasons)| !reasons.is_empty()).collect();
    refusing.sort();
    let refused = refusing.iter().map(|(site, reasons)| format!("{site}:{}", joined(reasons, ",")));
    answer(!sites_ok.is_empty(), joined(refused, "; "), sites_ok)
}

/// The sites of the placement table, in its order.
fn sites() -> [Site; 5] {
    let fixtures = [
        ("ncc-onprem", "JP", 4, true),
        ("gcp-osaka", "JP", 3, true),
        ("gcp-osaka-lapsed", "JP", 3, false),
        ("uk-tre", "GB", 3, true),
        ("burst-us", "US", 1, true),
    ];
    fixtures.map(|(id, jurisdiction, levels_max, attested)| Site {
        id: id.to_owned(),
        jurisdiction: jurisdiction.to_owned(),
        levels_max,
        roles: BTreeSet::from(["compute".to_owned()]),
        attested_until: attested.then(|| Timestamp::default().plus_hours(1)),
        operator: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_tables_that_were_handed_over_are_reproduced_row_by_row() {
        let shared = std::env::var_os("WAKACHI_SHARED").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
            std::path::PathBuf::from,
        );
        for (name, count) in [("consent", 167), ("duo", 199), ("placement", 14)] {
            let path = shared.join(format!("vectors/governance/{name}_vectors.csv"));
            let Ok(bytes) = std::fs::read(&path) else {
                println!("skipped: {} is not here", path.display());
                continue;
            };
            let rows = decide_all(name, &bytes).unwrap();
            let differences: Vec<_> = rows.iter().flat_map(|row| &row.differences).collect();
            assert!(differences.is_empty(), "{differences:#?}");
            assert!(rows.len() >= count, "{name}: {}", rows.len());
        }
    }

    fn check(text: &str, expect: &[&str]) {
        let answered = match decide_all("t", text.as_bytes()) {
            Ok(rows) => rows.iter().flat_map(|row| [&[row.csv()], &row.differences[..]].concat()).collect(),
            Err(found) => found.iter().map(ToString::to_string).collect::<Vec<_>>(),
        };
        assert_eq!(answered, expect, "{text}");
    }

    #[test]
    fn rows_are_answered_whatever_the_order_of_columns() {
        check(
            "country,id,record,need,as_of,now\nGB,C1,active,clinical_return,70,100\n",
            &["C1,deny,CONSENT_COUNTRY:GB;CONSENT_STALE,"],
        );
        check(
            "id,level,sample_jurisdictions\nP1,4,JP\nP2,1,\n",
            &[
                "P1,permit,\"burst-us:JUR:1,LEVEL; gcp-osaka:LEVEL; gcp-osaka-lapsed:LEVEL,ATTEST; uk-tre:JUR:1,LEVEL\",ncc-onprem",
                "P2,deny,\"burst-us:JUR:1; gcp-osaka:JUR:1; gcp-osaka-lapsed:JUR:1,ATTEST; ncc-onprem:JUR:1; uk-tre:JUR:1\",",
            ],
        );
    }

    #[test]
    fn rows_that_differ_are_named_with_both_answers() {
        check(
            "id,record,need,country,now,as_of,verdict,reasons\nC1,none,clinical_return,JP,0,0,permit,\n",
            &[
                "C1,deny,CONSENT_MISSING,",
                "t:2:32: C1: verdict is 'deny', expected 'permit'",
                "t:2:39: C1: reasons is 'CONSENT_MISSING', expected ''",
            ],
        );
    }

    #[test]
    fn a_wrong_table_is_answered_with_every_place() {
        check("", &["t:1:1: error: the table is empty; expected a header"]);
        check(
            "id,what\n1,2\n",
            &[
                "t:1:1: error: no column record, dataset_codes or sample_jurisdictions says what table this is",
            ],
        );
        check(
            "id,record,need,country,now,as_off,id\n",
            &[
                "t:1:1: error: column 'as_of' is missing",
                "t:1:28: error: column 'as_off' is unknown\n  hint: did you mean 'as_of'?",
                "t:1:35: error: column 'id' stands twice",
            ],
        );
        check(
            "id,record,need,country,now,as_of\nC1,actve,x,JP,1,1\nC1,none,,JP,1,x\nC3,none\n",
            &[
                "t:2:4: error: record: expected one of none, active, inactive, entered-in-error, rejected, expired, future, proxy, proxy_lapsed, industry, foreign_gb\n  hint: did you mean 'active'?",
                "t:3:1: error: id: id 'C1' stands twice",
                "t:3:9: error: need: expected a value",
                "t:3:15: error: as_of: expected a whole number of hours",
                "t:4:1: error: the row has 2 fields, the header has 6",
            ],
        );
        let duo = "id,dataset_codes,purpose,disease,non_profit,commercial,country,ethics,institution,user,project,months,accepts,genetic";
        check(
            &format!("{duo}\nD1,DUO:0000042,DS,,2,0,JP,,,,,-1,PUB+X,1\n"),
            &[
                "t:2:19: error: disease: expected a disease such as MONDO:0004992",
                "t:2:20: error: non_profit: expected 0 or 1",
                "t:2:31: error: months: expected a whole number of months",
                "t:2:34: error: accepts: expected PUB, COL and RTN joined by '+'",
            ],
        );
    }
}
