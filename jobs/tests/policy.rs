//! The policy check at its borders: what is missing, what ends, what nobody expected.

use jobs::consent::{Basis, ConsentRecord, Register, Status};
use jobs::failure::{Class, Classified};
use jobs::policy::duo::{self, Diseases, Intent, Request};
use jobs::policy::explain::explain;
use jobs::policy::{
    Action, Actor, DataClass, Denial, Knowledge, NotPermitted, OnDenied, Permit, Policy, Purpose, Question,
    Subject, decide,
};
use jobs::site::{Site, Sites};
use jobs::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// A world in which the question is permitted.
#[derive(Clone)]
struct World {
    register: Register,
    policy: Policy,
    sites: Sites,
    subjects: Vec<Subject>,
    action: Action,
    purpose: Option<Purpose>,
    disease: Option<&'static str>,
    class: DataClass,
    site: &'static str,
    now: Timestamp,
}

const NOW: i64 = 1_000 * 3_600_000_000;

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn texts<const N: usize>(texts: [&str; N]) -> BTreeSet<String> {
    texts.map(str::to_owned).into()
}

fn record(participant: &str) -> ConsentRecord {
    ConsentRecord {
        id: format!("C-{participant}"),
        version: 3,
        participant: participant.to_owned(),
        status: Status::Active,
        start: Some(at(0)),
        end: None,
        basis: Basis::Own,
        items: texts(["clinical_return", "research_academia", "research_joint_industry", "foreign_use"]),
        foreign_countries: texts(["GB"]),
        duo: vec!["DUO:0000006".to_owned()],
        icf: Some("unified:2.1".to_owned()),
        updated: at(0),
    }
}

fn site(id: &str, jurisdiction: &str) -> (String, Site) {
    let site = Site {
        id: id.to_owned(),
        jurisdiction: jurisdiction.to_owned(),
        levels_max: 4,
        roles: texts(["compute"]),
        attested_until: Some(at(i64::MAX)),
        operator: String::new(),
    };
    (id.to_owned(), site)
}

fn world() -> World {
    let mut register = Register { as_of: at(NOW), ..Register::default() };
    register.insert(record("P1"));
    register.insert(record("P2"));
    let subject =
        |sample: &str, participant: &str| Subject { sample: sample.into(), participant: participant.into() };
    World {
        register,
        policy: Policy {
            version: "1".to_owned(),
            sha256: "00".repeat(32),
            default_jurisdictions: texts(["JP"]),
            consent_max_age_hours: 24,
            lease_ttl_seconds: 900,
            on_denied_sample: OnDenied::Refuse,
            levels: BTreeMap::from([(DataClass::Fastq, 4), (DataClass::Vcf, 3)]),
        },
        sites: Sites::from([site("home", "JP"), site("uk", "GB"), site("us", "US")]),
        subjects: vec![subject("S1", "P1"), subject("S2", "P2")],
        action: Action::Submit,
        purpose: Some(Purpose::ClinicalReturn),
        disease: None,
        class: DataClass::Fastq,
        site: "home",
        now: at(NOW),
    }
}

impl World {
    fn decide(&self) -> Result<Permit, Denial> {
        self.ask(decide)
    }

    fn ask<T>(&self, ask: impl FnOnce(&Question<'_>, Knowledge<'_>) -> T) -> T {
        let actor = Actor { sub: "u1".to_owned(), org: "ncc".to_owned(), role: "analyst".to_owned() };
        let question = Question {
            action: self.action,
            actor: &actor,
            subjects: &self.subjects,
            purpose: self.purpose,
            disease: self.disease,
            class: self.class,
            site: self.site,
            now: self.now,
        };
        let World { register, policy, sites, .. } = self;
        ask(&question, Knowledge { register, policy, sites })
    }

    fn first(&mut self) -> &mut ConsentRecord {
        self.register.records.get_mut("P1").unwrap()
    }

    fn home(&mut self) -> &mut Site {
        self.sites.get_mut("home").unwrap()
    }
}

/// The decision after one change to a world that is permitted: `permit`, or general reasons and `S1=..` by sample.
fn check(change: impl FnOnce(&mut World), expect: &str) {
    let mut world = world();
    change(&mut world);
    let found = match world.decide() {
        Ok(_) => "permit".to_owned(),
        Err(denial) => {
            let join =
                |reasons: BTreeSet<_>| reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            let samples =
                denial.samples.into_iter().map(|(sample, reasons)| format!("{sample}={}", join(reasons)));
            [join(denial.general)].into_iter().chain(samples).collect::<Vec<_>>().join("; ")
        }
    };
    assert_eq!(found, expect);
}

#[test]
fn what_is_missing_counts_as_no() {
    check(|_| (), "permit");
    check(|w| w.subjects.clear(), "NO_SUBJECT");
    check(|w| w.purpose = None, "PURPOSE_MISSING");
    check(|w| w.site = "", "SITE_UNKNOWN");
    check(|w| w.sites.clear(), "SITE_UNKNOWN");
    check(|w| w.register.records.clear(), "; S1=CONSENT_MISSING; S2=CONSENT_MISSING");
    check(|w| w.policy.levels.clear(), "LEVEL");
    check(|w| w.class = DataClass::Cram, "LEVEL");
    check(|w| w.home().levels_max = 3, "LEVEL");
    check(|w| w.home().roles = texts(["share_holder"]), "SITE_ROLE");
    check(|w| w.home().attested_until = None, "ATTEST");
    check(|w| w.action = Action::Export, "SITE_ROLE");
    check(|w| w.first().start = None, "; S1=CONSENT_NOT_YET");
    check(|w| w.first().items.clear(), "; S1=CONSENT_ITEM:clinical_return");
    check(|w| w.policy.default_jurisdictions.clear(), "; S1=CONSENT_COUNTRY:JP; S2=CONSENT_COUNTRY:JP");
    check(|w| w.subjects[0].participant.clear(), "; S1=CONSENT_MISSING");
}

#[test]
fn every_reason_is_told_at_once() {
    check(
        |w| {
            w.purpose = Some(Purpose::ResearchIndustry);
            w.site = "us";
            w.sites.get_mut("us").unwrap().levels_max = 1;
            w.first().status = Status::EnteredInError;
            w.first().end = Some(at(0));
            w.first().items.clear();
            w.first().duo = ["DUO:0000006", "DUO:0000046", "x"].map(str::to_owned).into();
            w.register.as_of = at(0);
        },
        "LEVEL; S1=CONSENT_COUNTRY:US CONSENT_ENTERED_IN_ERROR CONSENT_EXPIRED \
         CONSENT_ITEM:research_joint_industry CONSENT_STALE DUO_UNKNOWN:x NCU; S2=CONSENT_COUNTRY:US CONSENT_STALE",
    );
    check(|w| w.subjects[1].sample = "S1".to_owned(), "; S1=SUBJECT_CONFLICT");
    check(|w| w.subjects[1] = w.subjects[0].clone(), "permit");
}

#[test]
fn periods_include_their_start_and_exclude_their_end() {
    check(|w| w.first().start = Some(at(NOW)), "permit");
    check(|w| w.first().start = Some(at(NOW + 1)), "; S1=CONSENT_NOT_YET");
    check(|w| w.first().end = Some(at(NOW + 1)), "permit");
    check(|w| w.first().end = Some(at(NOW)), "; S1=CONSENT_EXPIRED");
    check(|w| w.first().basis = Basis::Proxy { until: None }, "permit");
    check(|w| w.first().basis = Basis::Proxy { until: Some(at(NOW + 1)) }, "permit");
    check(|w| w.first().basis = Basis::Proxy { until: Some(at(NOW)) }, "; S1=PROXY_LAPSED");
    check(|w| w.home().attested_until = Some(at(NOW + 1)), "permit");
    check(|w| w.home().attested_until = Some(at(NOW)), "ATTEST");
}

#[test]
fn a_register_is_fresh_for_its_age_and_never_from_the_future() {
    let stale = "; S1=CONSENT_STALE; S2=CONSENT_STALE";
    let day = 24 * 3_600_000_000;
    check(|w| w.register.as_of = at(NOW - day), "permit");
    check(|w| w.register.as_of = at(NOW - day - 1), stale);
    check(|w| w.register.as_of = at(NOW + 1), stale);
    check(|w| w.policy.consent_max_age_hours = 0, "permit");
    check(|w| w.policy.consent_max_age_hours = u32::MAX, "permit");
    check(|w| w.now = at(i64::MAX), "ATTEST; S1=CONSENT_STALE; S2=CONSENT_STALE");
    check(|w| w.register.as_of = at(i64::MIN), stale);
    check(|w| w.now = at(i64::MIN), "; S1=CONSENT_NOT_YET CONSENT_STALE; S2=CONSENT_NOT_YET CONSENT_STALE");
}

#[test]
fn data_goes_abroad_only_with_the_item_and_the_country() {
    let denied = "; S1=CONSENT_COUNTRY:GB";
    check(|w| w.site = "uk", "permit");
    check(|w| w.site = "us", "; S1=CONSENT_COUNTRY:US; S2=CONSENT_COUNTRY:US");
    let abroad = |change: fn(&mut ConsentRecord), expect: &str| {
        check(
            |w| {
                w.site = "uk";
                change(w.first());
            },
            expect,
        );
    };
    abroad(|record| record.items = texts(["clinical_return"]), denied);
    abroad(|record| record.foreign_countries.clear(), denied);
    abroad(|record| record.foreign_countries = texts(["gb"]), denied);
}

#[test]
fn data_use_codes_bind_research_and_leave_care_to_the_consent() {
    let with = |purpose, disease, codes: &[&str], expect: &str| {
        let codes = codes.iter().map(|code| (*code).to_owned()).collect();
        check(
            |w| {
                w.purpose = Some(purpose);
                w.disease = disease;
                w.first().duo = codes;
            },
            expect,
        );
    };
    use Purpose::{ClinicalReturn, Qa, Research, ResearchIndustry};
    with(ClinicalReturn, None, &["x"], "permit");
    with(Qa, Some("?"), &["x"], "permit");
    with(Research, None, &[], "permit");
    with(Research, None, &["x"], "; S1=DUO_PERMISSION_COUNT DUO_UNKNOWN:x");
    with(Research, Some("cancer"), &[], "DISEASE_INVALID");
    with(Research, None, &["DUO:0000042", "DUO:0000018"], "permit");
    with(ResearchIndustry, None, &["DUO:0000042", "DUO:0000018"], "; S1=NPUNCU:org NPUNCU:use");
    with(Research, None, &["DUO:0000007=MONDO:0004992"], "; S1=PURPOSE:DS<HMB");
    with(Research, Some("MONDO:0005233"), &["DUO:0000007=MONDO:0004992"], "permit");
    with(Research, Some("MONDO:0004992"), &["DUO:0000007=MONDO:0005233"], "; S1=PURPOSE:DS<DS");
    with(Research, None, &["DUO:0000006", "DUO:0000028=ncc", "DUO:0000026=u1"], "permit");
    with(Research, None, &["DUO:0000006", "DUO:0000022=GB"], "; S1=GS");
    let unsaid = ["DUO:0000006", "DUO:0000019", "DUO:0000021", "DUO:0000025=600", "DUO:0000027=p1"];
    with(Research, None, &unsaid, "; S1=IRB PS PUB TS");
}

#[test]
fn data_use_codes_at_their_borders() {
    let check = |codes: &str, disease, expect: &str| {
        let codes: Vec<String> =
            codes.split(';').filter(|code| !code.is_empty()).map(str::to_owned).collect();
        let request = Request {
            intent: Intent::Ds(disease),
            non_profit: true,
            commercial: false,
            country: Some("JP"),
            ethics: Some(""),
            institution: Some(""),
            user: None,
            project: None,
            months: Some(u64::MAX),
            accepts: &[],
            genetic: true,
        };
        let circle = Diseases::new([("MONDO:0000001", "MONDO:0000002"), ("MONDO:0000002", "MONDO:0000001")]);
        let answer = duo::evaluate(&codes, &request, &circle);
        let said = answer.reasons.iter().map(ToString::to_string).chain(answer.obligations);
        assert_eq!(said.collect::<Vec<_>>().join(" "), expect, "{codes:?}");
    };
    let disease = "MONDO:0000002";
    check("", disease, "DUO_PERMISSION_COUNT");
    check("DUO:0000042;DUO:0000042", disease, "DUO_PERMISSION_COUNT");
    check("DUO:0000007=MONDO:0000001", disease, "");
    check("DUO:0000007=MONDO:0000003", disease, "PURPOSE:DS<DS");
    check("DUO:0000007", disease, "DUO_ARGUMENT:DUO:0000007 PURPOSE:DS<DS");
    check("DUO:0000042=x", disease, "DUO_ARGUMENT:DUO:0000042");
    check("DUO:0000042;DUO:0000021", disease, "IRB");
    check("DUO:0000042;DUO:0000028=", disease, "DUO_ARGUMENT:DUO:0000028 IS");
    check("DUO:0000042;DUO:0000025=18446744073709551615", disease, "");
    check("DUO:0000042;DUO:0000025=18446744073709551616", disease, "DUO_ARGUMENT:DUO:0000025 TS");
    check("DUO:0000042;DUO:0000025=12+24", disease, "DUO_ARGUMENT:DUO:0000025 TS");
    check("DUO:0000042;DUO:0000024=2027-02-30", disease, "DUO_ARGUMENT:DUO:0000024");
    check("DUO:0000042;DUO:0000022=JP;DUO:0000022=GB", disease, "GS");
    check("DUO:0000042;あ\n", disease, "DUO_UNKNOWN:??");
    check("DUO:0000042; DUO:0000045", disease, "DUO_UNKNOWN:?DUO:0000045");
}

#[test]
fn a_permit_covers_its_act_its_samples_and_its_time() {
    let permit = world().decide().unwrap();
    let end = at(NOW).plus_seconds(900);
    assert_eq!(permit.expires(), end);
    assert_eq!(permit.check(Action::Submit, "S2", at(end.micros() - 1)), Ok(()));
    assert_eq!(permit.check(Action::Submit, "S2", end), Err(NotPermitted::Expired { expired: end }));
    let other = permit.check(Action::Submit, "S3", at(NOW)).unwrap_err();
    assert_eq!(other.to_string(), "the permit does not cover sample S3");
    let other = permit.check(Action::Read, "S1", at(NOW)).unwrap_err();
    assert_eq!(other.to_string(), "the permit is for submit, not for read");
    assert_eq!(other.class(), Class::Policy);
    assert_eq!(permit.epoch(), NOW as u64 / 1_000_000);
    let grounds = &permit.grounds()["S1"];
    assert_eq!((grounds.consent.as_str(), grounds.version), ("C-P1", 3));
    assert_eq!((grounds.item.as_str(), &grounds.jurisdictions), ("clinical_return", &texts(["GB", "JP"])));
}

#[test]
fn a_permit_ends_with_what_it_rests_on() {
    let check = |change: fn(&mut World), expect: i64| {
        let mut world = world();
        change(&mut world);
        let permit = world.decide().unwrap();
        assert_eq!(permit.expires().micros() - NOW, expect);
        assert_eq!(permit.check(Action::Submit, "S1", world.now).is_ok(), expect > 0);
    };
    check(|w| w.first().end = Some(at(NOW + 5)), 5);
    check(|w| w.first().basis = Basis::Proxy { until: Some(at(NOW + 7)) }, 7);
    check(|w| w.home().attested_until = Some(at(NOW + 9)), 9);
    check(|w| w.register.as_of = at(NOW - 24 * 3_600_000_000), 1);
    check(|w| w.policy.lease_ttl_seconds = 0, 0);
}

#[test]
fn obligations_of_all_samples_bind_the_permit() {
    let mut world = world();
    world.purpose = Some(Purpose::Research);
    world.first().duo = ["DUO:0000042", "DUO:0000024=2027-01-01"].map(str::to_owned).into();
    let permit = world.decide().unwrap();
    assert_eq!(permit.obligations(), &texts(["no_publication_before=2027-01-01"]));
}

#[test]
fn a_denial_reads_as_a_table() {
    let mut world = world();
    world.home().attested_until = None;
    world.first().items.clear();
    world.register.records.remove("P2");
    let denial = world.decide().unwrap_err();
    let expect = "denied by the policy
  (all)  ATTEST                        E-SITE-ATTEST      renew the site's attestation
  S1     CONSENT_ITEM:clinical_return  E-CONSENT-ITEM     consent to the item clinical_return
  S2     CONSENT_MISSING               E-CONSENT-MISSING  a consent record of the participant";
    assert_eq!(denial.to_string(), expect);
    assert_eq!(denial.class(), Class::Policy);
    assert!(denial.is_denied_for("S3"), "what is general holds for everybody");
    let json = serde_json::to_value(&denial).unwrap();
    assert_eq!(json["samples"]["S2"], serde_json::json!(["CONSENT_MISSING"]));
}

#[test]
fn an_explanation_tells_grounds_reasons_and_other_sites() {
    let mut world = world();
    world.site = "us";
    world.register.records.remove("P2");
    let expect = "submit of FASTQ at us for clinical_return: 0 of 2 samples permitted
register confirmed 1970-02-11T16:00:00.000000Z, policy 1

sample  verdict  reason              error              what would help
S1      deny     CONSENT_COUNTRY:US  E-CONSENT-COUNTRY  consent to the item foreign_use for US, or a site at home
S2      deny     CONSENT_MISSING     E-CONSENT-MISSING  a consent record of the participant

samples permitted at other sites: home 1, uk 1";
    assert_eq!(world.ask(explain).to_string(), expect);
    world.site = "home";
    world.subjects.truncate(1);
    let expect = "submit of FASTQ at home for clinical_return: 1 of 1 samples permitted
register confirmed 1970-02-11T16:00:00.000000Z, policy 1

sample  verdict  reason  error  what would help
S1      permit                  clinical_return in GB, JP by consent C-P1 version 3, form unified:2.1

samples permitted at other sites: uk 1";
    assert_eq!(world.ask(explain).to_string(), expect);
    let json = serde_json::to_value(world.ask(explain)).unwrap();
    assert_eq!(json["samples"][0]["grounds"]["version"], 3);
    world.site = "nowhere";
    world.subjects.clear();
    let general: Vec<_> = world.ask(explain).general.into_iter().map(|obstacle| obstacle.reason).collect();
    assert_eq!(general, ["NO_SUBJECT", "SITE_UNKNOWN"]);
}
