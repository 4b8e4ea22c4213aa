//! The policy check against a second evaluator, on random cases; the second evaluator against the vectors.
//!
//! Invariant: a case that differs is printed with the seed that makes it again.

#[path = "policy_second/evaluator.rs"]
mod evaluator;

use evaluator::{Cells, IS_A, RECORDS, SITES, Said, record_cells, rows};
use jobs::consent::{Basis, ConsentRecord, Register, Status};
use jobs::policy::consent::{self, Need};
use jobs::policy::duo::{self, Diseases, Intent, Request, Term};
use jobs::policy::{Action, Actor, DataClass, Knowledge, OnDenied, Policy, Question, Reason, Subject};
use jobs::policy::{decide, placement};
use jobs::site::Site;
use jobs::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

// The policy check, asked with the same cells.

fn hour(text: &str) -> Option<Timestamp> {
    text.parse().ok().map(|hours| Timestamp::default().plus_hours(hours))
}

fn split(text: &str, by: char) -> BTreeSet<String> {
    text.split(by).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Codes in their order, as often as they stand.
fn split_in_order(codes: &str) -> Vec<String> {
    codes.split(';').filter(|code| !code.is_empty()).map(str::to_owned).collect()
}

fn first_data_use(cells: &Cells) -> Said {
    let given = |column: &str| Some(cells[column].as_str()).filter(|text| !text.is_empty());
    let intents = [
        ("GRU", Intent::Gru),
        ("HMB", Intent::Hmb),
        ("DS", Intent::Ds(&cells["disease"])),
        ("POA", Intent::Poa),
        ("MDS", Intent::Mds),
        ("CC", Intent::Cc),
    ];
    let accepts: Vec<Term> = [("PUB", Term::Pub), ("COL", Term::Col), ("RTN", Term::Rtn)]
        .into_iter()
        .filter(|(word, _)| cells["accepts"].split('+').any(|accepted| accepted == *word))
        .map(|(_, term)| term)
        .collect();
    let request = Request {
        intent: intents.into_iter().find(|(word, _)| *word == cells["purpose"]).unwrap().1,
        non_profit: cells["non_profit"] == "1",
        commercial: cells["commercial"] == "1",
        country: given("country"),
        ethics: given("ethics"),
        institution: given("institution"),
        user: given("user"),
        project: given("project"),
        months: given("months").map(|months| months.parse().unwrap()),
        accepts: &accepts,
        genetic: cells["genetic"] == "1",
    };
    let answer = duo::evaluate(&split_in_order(&cells["dataset_codes"]), &request, &Diseases::new(IS_A));
    let reasons = answer.reasons.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert!(reasons.is_sorted(), "{reasons:?}");
    Said { reasons, obligations: answer.obligations.into_iter().collect() }
}

fn consent_record(name: &str) -> Option<ConsentRecord> {
    let cells = record_cells(name)?;
    Some(ConsentRecord {
        id: name.to_owned(),
        version: 1,
        participant: "P".to_owned(),
        status: match cells["status"].as_str() {
            "draft" => Status::Draft,
            "proposed" => Status::Proposed,
            "rejected" => Status::Rejected,
            "inactive" => Status::Inactive,
            "entered-in-error" => Status::EnteredInError,
            _ => Status::Active,
        },
        start: hour(&cells["start"]),
        end: hour(&cells["end"]),
        basis: match name.starts_with("proxy") {
            true => Basis::Proxy { until: hour(&cells["until"]) },
            false => Basis::Own,
        },
        items: split(&cells["items"], '+'),
        foreign_countries: split(&cells["countries"], '+'),
        duo: Vec::new(),
        icf: None,
        updated: Timestamp::default(),
    })
}

fn first_consent(cells: &Cells) -> Said {
    let record = consent_record(&cells["record"]);
    let need = Need {
        item: Some(&cells["need"]),
        country: Some(&cells["country"]),
        now: hour(&cells["now"]).unwrap(),
        as_of: hour(&cells["as_of"]).unwrap(),
        home: &BTreeSet::from(["JP".to_owned()]),
        max_age_hours: 24,
    };
    let reasons = consent::evaluate(record.as_ref(), &need);
    Said { reasons: reasons.iter().map(ToString::to_string).collect(), obligations: vec![] }
}

fn site_of(site: &str, now: Timestamp) -> Site {
    let row = rows(SITES).find(|row| row[0] == site).unwrap();
    Site {
        id: site.to_owned(),
        jurisdiction: row[1].to_owned(),
        levels_max: row[2].parse().unwrap(),
        roles: BTreeSet::from(["compute".to_owned()]),
        attested_until: match row[3] {
            "attested" => Some(now.plus_seconds(1)),
            "expired" => Some(now),
            _ => None,
        },
        operator: String::new(),
    }
}

fn first_placement(cells: &Cells, site: &str) -> Vec<String> {
    let site = site_of(site, Timestamp::default());
    let samples: Vec<_> = cells["sample_jurisdictions"].split('|').map(|sample| split(sample, '+')).collect();
    let reasons = placement::evaluate(&site, cells["level"].parse().ok(), &samples, Timestamp::default());
    reasons.iter().map(ToString::to_string).collect()
}

// Random cases.

/// A generator good enough to spread cases: xorshift.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 16) % bound as u64) as usize
    }

    fn of<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.below(texts.len())]
    }

    /// Up to so many of the texts, joined.
    fn some(&mut self, texts: &[&str], most: usize, join: &str) -> String {
        let count = self.below(most + 1);
        (0..count).map(|_| self.of(texts)).collect::<Vec<_>>().join(join)
    }
}

const PERMISSIONS: [&str; 12] = [
    "DUO:0000004",
    "DUO:0000042",
    "DUO:0000042",
    "DUO:0000006",
    "DUO:0000006",
    "DUO:0000007=MONDO:0004992",
    "DUO:0000007=MONDO:0005192+MONDO:0008903",
    "DUO:0000007=MONDO:0005233",
    "DUO:0000007",
    "DUO:0000007=cancer",
    "DUO:0000011",
    "DUO:0000011=x",
];

const MODIFIERS: [&str; 44] = [
    "DUO:0000012=age",
    "DUO:0000012",
    "DUO:0000015",
    "DUO:0000016",
    "DUO:0000018",
    "DUO:0000019",
    "DUO:0000019=who",
    "DUO:0000020",
    "DUO:0000021",
    "DUO:0000022=JP",
    "DUO:0000022=JP+GB",
    "DUO:0000022",
    "DUO:0000022=",
    "DUO:0000022=jp",
    "DUO:0000022=JPN",
    "DUO:0000022=JP+",
    "DUO:0000024=2027-01-01",
    "DUO:0000024",
    "DUO:0000024=soon",
    "DUO:0000024=2027-01-01+2028-01-01",
    "DUO:0000025=12",
    "DUO:0000025=18446744073709551616",
    "DUO:0000025=+12",
    "DUO:0000025=12.5",
    "DUO:0000025",
    "DUO:0000026=u1+u2",
    "DUO:0000026=",
    "DUO:0000027=p9",
    "DUO:0000027=p1+p9",
    "DUO:0000028=ncc",
    "DUO:0000028",
    "DUO:0000029",
    "DUO:0000043",
    "DUO:0000043",
    "DUO:0000044",
    "DUO:00000044",
    "DUO:000000044",
    "DUO:0000045",
    "DUO:0000046",
    "DUO:0000099",
    "DUO:0000001",
    "duo:0000042",
    "GRU",
    "=",
];

fn data_use_case(dice: &mut Dice) -> Cells {
    let count = [0, 1, 1, 1, 1, 1, 1, 2][dice.below(8)];
    let mut codes: Vec<String> = (0..count).map(|_| dice.of(&PERMISSIONS).to_owned()).collect();
    codes.extend((0..dice.below(4)).map(|_| dice.of(&MODIFIERS).to_owned()));
    if dice.below(2) == 0 {
        codes.reverse();
    }
    let purpose = dice.of(&["GRU", "HMB", "DS", "DS", "POA", "MDS", "CC"]);
    let diseases = ["MONDO:0004992", "MONDO:0005192", "MONDO:0005233", "MONDO:0008903", "MONDO:0000001"];
    Cells::from([
        ("dataset_codes", codes.join(";")),
        ("purpose", purpose.to_owned()),
        ("disease", if purpose == "DS" { dice.of(&diseases).to_owned() } else { String::new() }),
        ("non_profit", dice.of(&["0", "1"]).to_owned()),
        ("commercial", dice.of(&["0", "1"]).to_owned()),
        ("country", dice.of(&["JP", "GB", "US", ""]).to_owned()),
        ("ethics", dice.of(&["IRB-1", ""]).to_owned()),
        ("institution", dice.of(&["ncc", "x", ""]).to_owned()),
        ("user", dice.of(&["u1", "u2", "u9", ""]).to_owned()),
        ("project", dice.of(&["p1", "p9", ""]).to_owned()),
        ("months", dice.of(&["0", "12", "13", "18446744073709551615", ""]).to_owned()),
        ("accepts", dice.some(&["PUB", "COL", "RTN"], 3, "+")),
        ("genetic", dice.of(&["0", "1", "1"]).to_owned()),
    ])
}

fn consent_case(dice: &mut Dice) -> Cells {
    let names: Vec<&str> = rows(RECORDS).map(|row| row[0]).chain(["none"]).collect();
    let items = ["clinical_return", "research_academia", "research_joint_industry", "research_industry_only"];
    let now = dice.of(&["-1", "0", "1", "49", "50", "89", "90", "91", "100", "499", "500", "9000"]);
    let ages = [-1, 0, 0, 0, 23, 24, 25, 30];
    let as_of = now.parse::<i64>().unwrap() - ages[dice.below(ages.len())];
    Cells::from([
        ("record", dice.of(&names).to_owned()),
        ("need", dice.of(&items).to_owned()),
        ("country", dice.of(&["JP", "GB", "US"]).to_owned()),
        ("now", now.to_owned()),
        ("as_of", as_of.to_string()),
    ])
}

fn placement_case(dice: &mut Dice) -> Cells {
    let samples: Vec<String> =
        (0..=dice.below(5)).map(|_| dice.some(&["JP", "JP", "GB", "US"], 3, "+")).collect();
    Cells::from([
        ("sample_jurisdictions", samples.join("|")),
        ("level", dice.of(&["0", "1", "2", "3", "4", "5", "255"]).to_owned()),
    ])
}

/// Both evaluators on so many random cases.
fn agree<T: std::fmt::Debug + PartialEq>(
    cases: u64,
    case: fn(&mut Dice) -> Cells,
    first: impl Fn(&Cells) -> T,
    second: impl Fn(&Cells) -> T,
) {
    for seed in 0..cases {
        let cells = case(&mut Dice::new(seed));
        assert_eq!(first(&cells), second(&cells), "seed {seed}: {cells:#?}");
    }
}

#[test]
fn both_evaluators_agree_on_data_use() {
    agree(60_000, data_use_case, first_data_use, evaluator::data_use);
}

#[test]
fn both_evaluators_agree_on_consent() {
    agree(30_000, consent_case, first_consent, evaluator::consent);
}

#[test]
fn both_evaluators_agree_on_placement() {
    let sites: Vec<&str> = rows(SITES).map(|row| row[0]).collect();
    let all = |one: fn(&Cells, &str) -> Vec<String>| {
        let sites = sites.clone();
        move |cells: &Cells| sites.iter().map(|site| one(cells, site)).collect::<Vec<_>>()
    };
    agree(20_000, placement_case, all(first_placement), all(evaluator::placement));
}

/// Purpose, the item it needs, how far it is commercial; `-` where DUO has no say.
const PURPOSES: &str = "
clinical_return clinical_return -
qa clinical_return -
research research_academia 0
research_industry research_joint_industry 1";

/// Whole questions: site and class, and of each sample its record and the codes in it.
#[test]
fn both_evaluators_agree_on_whole_questions() {
    for seed in 0..15_000 {
        let dice = &mut Dice::new(seed);
        let sites: Vec<_> = rows(SITES).collect();
        let site = &sites[dice.below(sites.len())];
        let row = rows(PURPOSES).nth(dice.below(4)).unwrap();
        let disease = dice.of(&["", "MONDO:0005192", "MONDO:0004992"]);
        let moment = consent_case(dice);
        let samples: Vec<(Cells, Cells)> = (0..=dice.below(2))
            .map(|_| {
                let mut consent = moment.clone();
                consent.insert("record", consent_case(dice)["record"].clone());
                consent.extend([("need", row[1].to_owned()), ("country", site[1].to_owned())]);
                let mut data_use = data_use_case(dice);
                for column in ["ethics", "project", "months", "accepts"] {
                    data_use.insert(column, String::new());
                }
                let non_profit = if row[2] == "1" { "0" } else { "1" };
                data_use.extend(
                    [
                        ("purpose", if disease.is_empty() { "HMB" } else { "DS" }),
                        ("disease", disease),
                        ("commercial", row[2]),
                        ("non_profit", non_profit),
                        ("country", site[1]),
                        ("institution", "ncc"),
                        ("user", "u1"),
                        ("genetic", "1"),
                    ]
                    .map(|(column, value)| (column, value.to_owned())),
                );
                (consent, data_use)
            })
            .collect();
        let now = &moment["now"];
        let expected = samples.iter().enumerate().map(|(at, (consent, data_use))| {
            let mut reasons = evaluator::consent(consent).reasons;
            let asks_duo = row[2] != "-" && record_cells(&consent["record"]).is_some();
            if asks_duo && !data_use["dataset_codes"].is_empty() {
                reasons.extend(evaluator::data_use(data_use).reasons);
            }
            (format!("S{at}"), reasons.into_iter().collect::<BTreeSet<_>>())
        });
        let expected: BTreeMap<_, _> = expected.filter(|(_, reasons)| !reasons.is_empty()).collect();
        let anywhere = Cells::from([("sample_jurisdictions", site[1].to_owned()), ("level", "3".to_owned())]);
        let general: BTreeSet<_> = evaluator::placement(&anywhere, site[0]).into_iter().collect();
        let said = first_question(row[0], disease, site[0], now, &moment["as_of"], &samples);
        assert_eq!(said, (general, expected), "seed {seed}: {samples:#?}");
    }
}

type Denied = (BTreeSet<String>, BTreeMap<String, BTreeSet<String>>);

fn first_question(
    purpose: &str,
    disease: &str,
    site: &str,
    now: &str,
    as_of: &str,
    samples: &[(Cells, Cells)],
) -> Denied {
    let mut register = Register { as_of: hour(as_of).unwrap(), ..Register::default() };
    for (at, (consent, data_use)) in samples.iter().enumerate() {
        if let Some(mut record) = consent_record(&consent["record"]) {
            record.participant = format!("P{at}");
            record.duo = split_in_order(&data_use["dataset_codes"]);
            register.insert(record);
        }
    }
    let policy = Policy {
        version: "1".to_owned(),
        sha256: String::new(),
        default_jurisdictions: BTreeSet::from(["JP".to_owned()]),
        consent_max_age_hours: 24,
        lease_ttl_seconds: 900,
        on_denied_sample: OnDenied::Refuse,
        levels: BTreeMap::from([(DataClass::Vcf, 3)]),
    };
    let now = hour(now).unwrap();
    let sites = rows(SITES).map(|row| (row[0].to_owned(), site_of(row[0], now))).collect();
    let actor = Actor { sub: "u1".to_owned(), org: "ncc".to_owned(), role: "analyst".to_owned() };
    let subjects: Vec<_> = (0..samples.len())
        .map(|at| Subject { sample: format!("S{at}"), participant: format!("P{at}") })
        .collect();
    let question = Question {
        action: Action::Read,
        actor: &actor,
        subjects: &subjects,
        purpose: Some(purpose.parse().unwrap()),
        disease: Some(disease).filter(|disease| !disease.is_empty()),
        class: DataClass::Vcf,
        site,
        now,
    };
    let spelled = |reasons: BTreeSet<Reason>| reasons.iter().map(ToString::to_string).collect();
    match decide(&question, Knowledge { register: &register, policy: &policy, sites: &sites }) {
        Ok(permit) => {
            let checks = subjects.iter().map(|subject| permit.check(Action::Read, &subject.sample, now));
            assert!(checks.into_iter().all(|check| check.is_ok()), "{permit:?}");
            Denied::default()
        }
        Err(denial) => (
            spelled(denial.general),
            denial.samples.into_iter().map(|(sample, reasons)| (sample, spelled(reasons))).collect(),
        ),
    }
}

/// The second evaluator too is held against the tables that were handed over.
#[test]
fn the_second_evaluator_reproduces_the_vectors() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let shared = std::env::var_os("WAKACHI_SHARED").map_or_else(|| root.join("../../shared"), Into::into);
    for name in ["duo", "consent", "placement"] {
        let path = shared.join(format!("vectors/governance/{name}_vectors.csv"));
        let Ok(text) = std::fs::read_to_string(&path) else {
            println!("skipped: {} is not here", path.display());
            continue;
        };
        let source = jobs::diagnostic::Source::new(name, &text);
        let mut records = jobs::csv::records(&source, &mut Vec::new()).into_iter();
        let header: Vec<&str> =
            records.next().unwrap().into_iter().map(|field| &*field.value.leak()).collect();
        for record in records {
            let cells: Cells =
                header.iter().copied().zip(record.into_iter().map(|field| field.value)).collect();
            match name {
                "placement" => {
                    assert_eq!(placed(&cells), [&*cells["sites_ok"], &*cells["refused"]], "{cells:?}")
                }
                _ => {
                    let said =
                        if name == "duo" { evaluator::data_use(&cells) } else { evaluator::consent(&cells) };
                    let verdict = if said.reasons.is_empty() { "permit" } else { "deny" };
                    assert_eq!(verdict, cells["verdict"], "{cells:?}");
                    assert_eq!(said.reasons.join(";"), cells["reasons"], "{cells:?}");
                    let obligations = cells.get("obligations").cloned().unwrap_or_default();
                    assert_eq!(said.obligations.join(";"), obligations, "{cells:?}");
                }
            }
        }
    }
}

/// The columns `sites_ok` and `refused` of a row, by the second evaluator.
fn placed(cells: &Cells) -> [String; 2] {
    let sites = || rows(SITES).map(|row| row[0]).filter(|site| *site != "nobody");
    let ok: Vec<&str> = sites().filter(|site| evaluator::placement(cells, site).is_empty()).collect();
    let mut refused: Vec<_> = sites().filter(|site| !ok.contains(site)).collect();
    refused.sort();
    let refused =
        refused.iter().map(|site| format!("{site}:{}", evaluator::placement(cells, site).join(",")));
    [ok.join("+"), refused.collect::<Vec<_>>().join("; ")]
}
