//! Consent registers, right and wrong: what a record comes to, what refuses a file, and that no byte makes a panic.

use jobs::consent::{Basis, ConsentRecord, Register, Status, read_register};
use jobs::diagnostic::{Diagnostic, LISTED_MAX};
use std::path::{Path, PathBuf};

/// A bundle of one consent, with the example's members in few lines; `{}` in the test's text stands for nothing.
const BUNDLE: &str = r#"{"resourceType":"Bundle","type":"collection","timestamp":"2026-05-31T18:00:00+09:00","entry":[
{"resource":{"resourceType":"Consent","id":"C-1",
"meta":{"versionId":"3","lastUpdated":"2026-05-30T09:12:00+09:00"},
"status":"active",
"patient":{"identifier":{"system":"urn:gmj:participant","value":"P-1"}},
"dateTime":"2026-01-20T14:00:00+09:00",
"performer":[{"identifier":{"system":"urn:gmj:performer-role","value":"self"}}],
"policy":[{"uri":"urn:gmj:icf:unified:2.1"}],
"verification":[{"verified":true}],
"provision":{"type":"deny","period":{"start":"2026-01-20"},"provision":[
PROVISIONS
]}}}]}"#;

const HEADER: &str =
    "participant,id,version,status,items,foreign_countries,start,end,basis,proxy_until,duo,icf,updated,as_of";
const ROW: &str = "P-1,C-1,3,active,clinical_return;foreign_use,GB,2026-01-20,,self,,DUO:0000006,icf,2026-05-30T00:00:00Z,2026-05-31T09:00:00Z";

fn code(kind: &str, item: &str) -> String {
    let coding = format!(r#"{{"system":"urn:gmj:consent-item","code":"{item}"}}"#);
    format!(r#""type":"{kind}","code":[{{"coding":[{coding}]}}]"#)
}

fn permit(item: &str) -> String {
    format!("{{{}}}", code("permit", item))
}

fn deny(item: &str) -> String {
    format!("{{{}}}", code("deny", item))
}

fn country(country: &str) -> String {
    let role = r#""role":{"coding":[{"system":"urn:gmj:actor-role","code":"recipient-country"}]}"#;
    let identifier = format!(r#"{{"system":"urn:iso:std:iso:3166","value":"{country}"}}"#);
    format!(r#""actor":[{{{role},"reference":{{"identifier":{identifier}}}}}]"#)
}

fn bundle(provisions: &[String]) -> String {
    BUNDLE.replace("PROVISIONS", &provisions.join(",\n"))
}

fn usual() -> String {
    bundle(&[permit("clinical_return")])
}

fn whole(text: &str) -> Register {
    read_register("c", text.as_bytes()).unwrap_or_else(|found| panic!("{text}\n{}", Diagnostic::list(&found)))
}

fn one(text: &str) -> ConsentRecord {
    let register = whole(text);
    assert_eq!(register.records.len(), 1, "{text}");
    register.records.into_values().next().unwrap()
}

/// The file must be refused with exactly these findings: line, column, part of message or hint.
fn refused(bytes: &[u8], expect: &[(u32, u32, &str)]) {
    let found = read_register("c", bytes).expect_err("refused");
    let context = format!("{}\n{found:#?}", String::from_utf8_lossy(bytes));
    assert_eq!(found.len(), expect.len(), "{context}");
    for (found, (line, column, part)) in found.iter().zip(expect) {
        assert_eq!((found.place.line, found.place.column), (*line, *column), "{context}");
        assert!(found.to_string().contains(part), "{part:?} in {context}");
    }
}

/// The usual bundle with something exchanged must be refused with exactly these findings: how the text goes on at the
/// place, part of message or hint.
fn swapped(from: &str, to: &str, expect: &[(&str, &str)]) {
    let text = usual();
    assert!(text.contains(from), "{from}");
    let text = text.replacen(from, to, 1);
    let found = read_register("c", text.as_bytes()).expect_err("refused");
    let context = format!("{text}\n{found:#?}");
    assert_eq!(found.len(), expect.len(), "{context}");
    for (found, (goes_on, part)) in found.iter().zip(expect) {
        let line = text.lines().nth(found.place.line as usize - 1).unwrap();
        let rest: String = line.chars().skip(found.place.column as usize - 1).collect();
        assert!(rest.starts_with(goes_on), "{goes_on:?} at {} in {context}", found.place);
        assert!(found.to_string().contains(part), "{part:?} in {context}");
    }
}

fn example() -> Option<Vec<u8>> {
    let shared = std::env::var_os("WAKACHI_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"));
    let file = shared.join("vectors/governance/examples/consent.json");
    let bytes = std::fs::read(&file).ok();
    if bytes.is_none() {
        println!("skipped: {} is absent", file.display());
    }
    bytes
}

#[test]
fn the_programmes_own_bundle_is_read() {
    let Some(bytes) = example() else { return };
    let register = read_register("consent.json", &bytes).unwrap_or_else(|found| panic!("{found:#?}"));
    assert_eq!(register.as_of.to_string(), "2026-05-31T09:00:00.000000Z");
    assert_eq!(register.epoch(), 1_780_218_000);
    let participants: Vec<_> = register.records.keys().map(String::as_str).collect();
    assert_eq!(participants, ["P-4K7QZ2M5XABC-7", "P-9D3WN8R6TEFG-2"]);
    let record = &register.records["P-4K7QZ2M5XABC-7"];
    let items: Vec<_> = record.items.iter().map(String::as_str).collect();
    assert_eq!(
        items,
        ["clinical_return", "foreign_use", "recontact", "research_academia", "research_joint_industry"]
    );
    assert_eq!((record.id.as_str(), record.version, record.status), ("C-000001", 3, Status::Active));
    assert_eq!(record.start.unwrap().to_string(), "2026-01-19T15:00:00.000000Z");
    assert_eq!((record.end, record.basis), (None, Basis::Own));
    assert_eq!(record.foreign_countries.iter().collect::<Vec<_>>(), ["GB"]);
    assert_eq!(record.duo, ["DUO:0000006"]);
    assert!(record.icf.as_ref().unwrap().starts_with("urn:gmj:icf:unified:2.1#sha256="));
    assert_eq!(record.updated.to_string(), "2026-05-30T00:12:00.000000Z");
}

#[test]
fn provisions_grant_what_is_permitted_and_nowhere_denied() {
    let check = |provisions: &[String], items: &str, countries: &str| {
        let record = one(&bundle(provisions));
        assert!(record.start.is_some());
        assert_eq!(
            record.items.iter().map(String::as_str).collect::<Vec<_>>().join(" "),
            items,
            "{provisions:?}"
        );
        assert_eq!(
            record.foreign_countries.into_iter().collect::<Vec<_>>().join(" "),
            countries,
            "{provisions:?}"
        );
    };
    let (a, b) = (permit("clinical_return"), permit("research_academia"));
    let with = |provision: &str, more: &str| format!("{}{more}}}", &provision[..provision.len() - 1]);
    let nested = |provision: &str, within: &str| with(provision, &format!(r#","provision":[{within}]"#));
    let abroad = |country: String| with(&permit("foreign_use"), &format!(",{country}"));
    check(&[], "", "");
    check(&[a.clone(), b.clone()], "clinical_return research_academia", "");
    check(&[a.clone(), deny("clinical_return"), b.clone()], "research_academia", "");
    check(&[deny("clinical_return"), a.clone()], "", "");
    check(&[nested(&a, &deny("research_academia")), b.clone()], "clinical_return", "");
    check(&[nested(&a, &b)], "clinical_return research_academia", "");
    // An exception without items is one to what stands around it.
    check(&[nested(&a, r#"{"type":"deny"}"#), b.clone()], "research_academia", "");
    check(&[nested(&a, &nested(&b, &deny("clinical_return")))], "research_academia", "");
    // Limits that are not weighed.
    check(&[with(&a, r#","class":[{"code":"x"}]"#), b.clone()], "research_academia", "");
    check(&[with(&a, r#","purpose":[{"system":"urn:other","code":"TREAT"}]"#)], "", "");
    check(&[with(&a, &format!(",{}", country("GB")))], "", "");
    check(&[nested(&with(r#"{"type":"permit"}"#, &format!(",{}", country("GB"))), &a)], "", "");
    check(&[with(&deny("clinical_return"), r#","class":[{"code":"x"}]"#), a.clone()], "", "");
    check(
        &[r#"{"type":"permit","code":[{"coding":[{"system":"urn:other","code":"x"}]}]}"#.to_owned()],
        "",
        "",
    );
    // Use abroad.
    check(&[permit("foreign_use")], "foreign_use", "");
    check(&[abroad(country("GB")), abroad(country("US"))], "foreign_use", "GB US");
    let deny_abroad = |more: &str| with(&deny("foreign_use"), more);
    check(&[abroad(country("GB")), deny_abroad("")], "", "");
    check(
        &[abroad(country("GB")), abroad(country("US")), deny_abroad(&format!(",{}", country("US")))],
        "foreign_use",
        "GB",
    );
    check(&[abroad(country("GB").replace("recipient-country", "sponsor"))], "", "");
    // Items of others.
    check(&[permit("biobank_storage")], "biobank_storage", "");
}

#[test]
fn a_default_of_permit_names_no_item() {
    let permits = usual().replace(r#""provision":{"type":"deny","#, r#""provision":{"type":"permit","#);
    let record = one(&permits);
    assert_eq!(record.items.iter().collect::<Vec<_>>(), ["clinical_return"]);
    let untyped = usual().replace(r#""provision":{"type":"deny","#, r#""provision":{"#);
    assert_eq!(one(&untyped).items.len(), 1);
}

#[test]
fn times_are_read_against_the_reader() {
    let check = |from: &str, to: &str, expect: [&str; 2]| {
        let text = usual();
        assert!(text.contains(from), "{from}");
        let record = one(&text.replacen(from, to, 1));
        let show = |time: Option<jobs::time::Timestamp>| {
            time.map_or("-".to_owned(), |time| time.to_string()[..16].to_owned())
        };
        assert_eq!([show(record.start), show(record.end)], expect, "{to}");
    };
    let period = r#""period":{"start":"2026-01-20"}"#;
    check(
        period,
        r#""period":{"start":"2026-01","end":"2027-01"}"#,
        ["2026-01-30T15:00", "2027-01-01T15:00"],
    );
    check(period, r#""period":{"end":"2027-01-31"}"#, ["2026-01-20T05:00", "2027-01-31T15:00"]);
    check(r#""period":{"start":"2026-01-20"},"#, "", ["2026-01-20T05:00", "-"]);
    check(r#""verified":true"#, r#""verified":false"#, ["-", "-"]);
    check(r#"[{"verified":true}]"#, "[]", ["2026-01-19T15:00", "-"]);
    // The narrowest of all periods that grant.
    check(
        r#""type":"permit","#,
        r#""type":"permit","period":{"start":"2026-03-01","end":"2026-04-01"},"#,
        ["2026-02-28T15:00", "2026-04-01T15:00"],
    );
    // A refusal that names nothing known refuses everything.
    check("\"provision\":[\n{", "\"provision\":[\n{\"type\":\"deny\"},{", ["-", "-"]);
    let neither = usual()
        .replace("\"dateTime\":\"2026-01-20T14:00:00+09:00\",\n", "")
        .replace(period, r#""period":{}"#);
    assert_eq!(one(&neither).start, None);
}

#[test]
fn a_proxy_speaks_until_the_period_of_its_identifier_ends() {
    let role = r#"{"identifier":{"system":"urn:gmj:performer-role","value":"self"}}"#;
    let proxy = |more: &str| {
        format!(r#"{{"identifier":{{"system":"urn:gmj:performer-role","value":"proxy"{more}}}}}"#)
    };
    let check = |performers: &str, expect: &str| {
        let basis = match one(&usual().replacen(role, performers, 1)).basis {
            Basis::Own => "self".to_owned(),
            Basis::Proxy { until } => {
                until.map_or("proxy".to_owned(), |until| until.to_string()[..10].to_owned())
            }
        };
        assert_eq!(basis, expect, "{performers}");
    };
    let until = |day: &str| proxy(&format!(r#","period":{{"end":"{day}"}}"#));
    check(role, "self");
    check(&proxy(""), "proxy");
    check(&until("2030-04-01"), "2030-04-01");
    check(&until("2030"), "2030-01-01");
    check(&format!("{role},{}", until("2030-04-01")), "2030-04-01");
    check(&format!("{},{},{role}", until("2031-04-01"), until("2030-04-01")), "2030-04-01");
}

#[test]
fn the_newest_version_of_each_record_and_the_newest_word_of_each_participant_count() {
    let resource = |id: &str, version: &str, participant: &str, updated: &str, status: &str| {
        let text = usual();
        let start = text.find("{\"resource\"").unwrap();
        let entry = &text[start..text.len() - 2];
        let entry =
            entry.replace("C-1", id).replace("\"3\"", &format!("\"{version}\"")).replace("P-1", participant);
        entry.replace("2026-05-30T09:12:00+09:00", updated).replace("active", status)
    };
    let check = |entries: &[String], expect: &[(&str, &str, u64, Status)]| {
        let text = usual();
        let head = &text[..text.find("{\"resource\"").unwrap()];
        for entries in [entries.to_vec(), entries.iter().rev().cloned().collect()] {
            let register = whole(&format!("{head}{}]}}", entries.join(",")));
            let found: Vec<_> = register
                .records
                .iter()
                .map(|(who, record)| (who.as_str(), record.id.as_str(), record.version, record.status))
                .collect();
            assert_eq!(found, expect);
        }
    };
    let (early, late) = ("2026-05-01T00:00:00Z", "2026-05-02T00:00:00Z");
    use Status::{Active, Inactive};
    check(&[], &[]);
    check(
        &[resource("A", "1", "P", early, "active"), resource("A", "10", "P", late, "inactive")],
        &[("P", "A", 10, Inactive)],
    );
    check(
        &[resource("A", "2", "P", late, "active"), resource("A", "10", "P", early, "inactive")],
        &[("P", "A", 10, Inactive)],
    );
    check(
        &[resource("A", "1", "P", early, "active"), resource("B", "1", "P", late, "inactive")],
        &[("P", "B", 1, Inactive)],
    );
    check(
        &[resource("A", "1", "P", late, "active"), resource("B", "9", "P", early, "inactive")],
        &[("P", "A", 1, Active)],
    );
    check(
        &[resource("A", "1", "P", early, "active"), resource("A", "2", "Q", early, "active")],
        &[("Q", "A", 2, Active)],
    );
    let same = resource("A", "1", "P", early, "active");
    check(&[same.clone(), same.replace(",\n", " , ")], &[("P", "A", 1, Active)]);
    let text = usual();
    let head = &text[..text.find("{\"resource\"").unwrap()];
    let other = same.replace("2026-01-20", "2026-01-21");
    refused(format!("{head}{same},{other}]}}").as_bytes(), &[(12, 18, "E-FHIR-DUP")]);
}

#[test]
fn resources_of_other_types_give_nothing() {
    let text = usual();
    for resource in [
        r#"{"resourceType":"Organization","name":"病院","telecom":[{"value":"03"}],"address":[{}]}"#,
        r#"{"resourceType":"Patient","birthDate":"1980-05","gender":"female"}"#,
        r#"{"resourceType":"Observation","status":"final"}"#,
    ] {
        let more = text.replace("\"entry\":[\n", &format!("\"entry\":[\n{{\"resource\":{resource}}},"));
        assert_eq!(whole(&more), whole(&text), "{resource}");
    }
}

#[test]
fn whatever_tells_who_somebody_is_refuses_the_file_and_is_not_repeated() {
    let secret = "山田太郎";
    let add = |resource: &str| {
        let text = usual().replace("\"entry\":[\n", &format!("\"entry\":[\n{{\"resource\":{resource}}},"));
        refuse(&text, secret);
    };
    fn refuse(text: &str, secret: &str) {
        let found = read_register("c", text.as_bytes()).expect_err(text);
        assert!(found.iter().any(|found| found.message.starts_with("E-PII: ")), "{text}\n{found:?}");
        let all = Diagnostic::list(&found);
        assert!(!all.contains(secret) && !all.contains("123456789018"), "{all}");
    }
    add(&format!(r#"{{"resourceType":"Patient","name":[{{"text":"{secret}"}}]}}"#));
    add(r#"{"resourceType":"Patient","telecom":[{"system":"phone","value":"03-1234"}]}"#);
    add(r#"{"resourceType":"Patient","address":[{"text":"Tokyo"}]}"#);
    add(r#"{"resourceType":"Patient","birthDate":"1980-05-06"}"#);
    add(r#"{"resourceType":"Patient","birthDate":19800506}"#);
    add(r#"{"resourceType":"Patient","identifier":[{"value":"123456789018"}]}"#);
    add(r#"{"resourceType":"Patient","identifier":[{"value":123456789018}]}"#);
    add(&format!(r#"{{"resourceType":"Observation","subject":{{"display":"{secret}"}}}}"#));
    add(&format!(
        r#"{{"resourceType":"Observation","contained":[{{"resourceType":"Patient","name":"{secret}"}}]}}"#
    ));
    add(&format!(
        r#"{{"resourceType":"Organization","contained":[{{"resourceType":"Patient","name":"{secret}"}}]}}"#
    ));
    add(&format!(
        r#"{{"resourceType":"Observation","extension":[{{"url":"x","valueHumanName":{{"text":"{secret}"}}}}]}}"#
    ));
    add(&format!(r#"{{"resourceType":"Observation","氏名":"{secret}"}}"#));
    let swap = |from: &str, to: &str| {
        let text = usual();
        assert!(text.contains(from), "{from}");
        refuse(&text.replacen(from, to, 1), secret);
    };
    swap(r#""patient":{"#, &format!(r#""patient":{{"display":"{secret}","#));
    swap(r#""performer":[{"#, &format!(r#""performer":[{{"display":"{secret}","#));
    swap(
        r#""status":"#,
        &format!(r#""text":{{"status":"generated","div":"<div>{secret}</div>"}},"status":"#),
    );
    swap(r#""status":"#, r#""sourceAttachment":{"data":"aGk="},"status":"#);
    swap("P-1", secret);
    swap("P-1", "1234-5678-9018");
    swap("P-1", "１２３４５６７８９０１８");
    let csv = |header: &str, row: &str| refuse(&format!("{header}\n{row}\n"), secret);
    for column in ["氏名", "Name", "birth_date", "Ｎａｍｅ", "電話番号"] {
        csv(&format!("{HEADER},{column}"), &format!("{ROW},{secret}"));
    }
    csv(HEADER, &ROW.replace("P-1", secret));
    csv(HEADER, &ROW.replace("P-1", "123456789018"));
    csv(HEADER, &ROW.replace(",icf,", ",1234 5678 9018,"));
    // No finding repeats a value in the wrong place either.
    for text in [
        ROW.replace("active", secret),
        ROW.replace("self", secret),
        ROW.replace("2026-01-20", secret),
        ROW.replace("clinical_return", secret),
        ROW.replace("DUO:0000006", secret),
        ROW.replace("GB", secret),
        ROW.replace(",3,", &format!(",{secret},")),
    ] {
        let found = read_register("c", format!("{HEADER}\n{text}\n").as_bytes()).expect_err(&text);
        assert!(!Diagnostic::list(&found).contains(secret), "{found:?}");
    }
    let text = usual();
    for from in [
        "active",
        "clinical_return",
        "3",
        "self",
        "permit",
        "2026-01-20\"",
        "2026-05-31T18:00:00+09:00",
        "Consent",
        "collection",
    ] {
        if let Err(found) = read_register("c", text.replace(from, secret).as_bytes()) {
            assert!(!Diagnostic::list(&found).contains(secret), "{found:?}");
        }
    }
}

#[test]
fn bundles_of_the_wrong_shape_are_pointed_at() {
    let resource = "{\"resourceType\":\"Consent\"";
    swapped(r#""Bundle""#, r#""Patient""#, &[("{", "expected a resource of type Bundle")]);
    swapped(r#""collection""#, r#""history""#, &[("\"history", "expected collection or searchset")]);
    swapped(r#""timestamp":"2026-05-31T18:00:00+09:00","#, "", &[("{", "lacks timestamp")]);
    swapped(
        "2026-05-31T18:00:00+09:00",
        "2026-05-31",
        &[("\"2026-05-31\"", "E-DATE: expected a time with its")],
    );
    swapped(
        r#""entry""#,
        r#""link":[{"relation":"next","url":"x"}],"entry""#,
        &[("{\"relation", "one page of several")],
    );
    swapped(r#""entry""#, r#""entyr""#, &[("[", "did you mean 'entry'?")]);
    swapped(r#""entry":["#, r#""entry":[{},"#, &[("{},", "lacks resource")]);
    swapped(r#""entry":["#, r#""entry":[1,"#, &[("1,", "expected an object"), ("1,", "lacks resource")]);
    swapped(r#""status":"active","#, "", &[(resource, "E-FHIR-STATUS: status is missing")]);
    swapped(r#""active""#, r#""actve""#, &[("\"actve", "did you mean 'active'?")]);
    swapped(r#""active""#, "1", &[("1,", "status: expected a string")]);
    swapped(r#""versionId":"3","#, "", &[("{\"lastUpdated", "lacks meta.versionId")]);
    swapped(r#""versionId":"3""#, r#""versionId":"3a""#, &[("\"3a", "expected a whole number")]);
    swapped(
        r#","lastUpdated":"2026-05-30T09:12:00+09:00""#,
        "",
        &[("{\"versionId", "lacks meta.lastUpdated")],
    );
    swapped("2026-05-30T09:12:00+09:00", "45996", &[("\"45996", "E-DATE: expected a time with its offset")]);
    swapped("\"2026-01-20\"", "\"45996\"", &[("\"45996", "in ISO 8601 it would be 2025-12-05")]);
    swapped("\"2026-01-20\"", "\"令和8年2月3日\"", &[("\"令和", "E-DATE-ERA")]);
    swapped("urn:gmj:participant", "urn:other", &[("{\"identifier", "of the system urn:gmj:participant")]);
    swapped("\"P-1\"", "\"Ｐ－１\"", &[("\"Ｐ", "did you mean 'P-1'?")]);
    swapped("\"P-1\"", "\"Р-1\"", &[("\"Р", "E-ID-WIDTH: the participant contains U+0420")]);
    swapped("\"P-1\"", "\"P-1\u{3000}\"", &[("\"P", "did you mean 'P-1'?")]);
    swapped(r#""policy":[{"uri":"urn:gmj:icf:unified:2.1"}],"#, "", &[(resource, "ppc-1")]);
    swapped(
        r#""value":"self""#,
        r#""value":"other""#,
        &[(resource, "lacks a performer"), ("{\"system", "expected self or proxy")],
    );
    swapped(r#""verified":true"#, r#""verified":"yes""#, &[("{\"verified", "verified to be true or false")]);
    swapped(r#""type":"permit""#, r#""type":"allow""#, &[("{\"type\":\"allow", "expected permit or deny")]);
    swapped("clinical_return", "clinical_retrun", &[("\"clinical", "did you mean 'clinical_return'?")]);
    swapped(
        r#""status":"#,
        r#""modifierExtension":[{"url":"x"}],"status":"#,
        &[("[{\"url", "modifierExtension")],
    );
    swapped(
        r#""type":"permit""#,
        r#""modifierExtension":[],"type":"permit""#,
        &[("[],", "modifierExtension")],
    );
    swapped(r#""status":"#, r#""implicitRules":"x","status":"#, &[("\"x\"", "implicitRules")]);
    swapped(r#""status":"#, r#""controller":[],"status":"#, &[("[]", "unknown here")]);
    swapped(r#""versionId""#, r#""tag":[{"code":"SUBSETTED"}],"versionId""#, &[("{\"code", "a summary")]);
    swapped(
        r#""status":"active""#,
        r#""status":"active","status":"inactive""#,
        &[("\"inactive", "stands twice")],
    );
    let duo = |code: &str, part: &str| {
        let system = "http://purl.obolibrary.org/obo/duo.owl";
        let purpose = format!(r#""type":"permit","purpose":[{{"system":"{system}","code":"{code}"}}],"#);
        swapped(r#""type":"permit","#, &purpose, &[("\"DUO", part)]);
    };
    duo("DUO_0000006", "did you mean 'DUO:0000006'?");
    duo("DUO:0000007", "E-DUO-ARG");
    duo("DUO:0000007=MONDO:51", "E-DUO-ARG");
    duo("DUO:0000022=a b", "E-DUO-ARG");
    duo("DUO:0000001", "E-DUO-UNKNOWN");
    refused(b"{", &[(1, 1, "E-FHIR-PROFILE: not JSON: EOF")]);
    refused(b"{\n\"a\": x}", &[(2, 6, "not JSON: expected value")]);
    refused(b"[]", &[(1, 1, "expected a Bundle")]);
    let deep = format!("{}{}", r#"{"resourceType":"Bundle","x":"#, "[".repeat(100_000));
    refused(deep.as_bytes(), &[(1, 100_029, "not JSON")]);
    let closed = format!("{deep}{}}}", "]".repeat(100_000));
    let found = read_register("c", closed.as_bytes()).unwrap_err();
    assert!(found.iter().any(|found| found.message.contains("nested more than")), "{found:?}");
}

#[test]
fn other_encodings_are_named() {
    refused(b"\xff\xfe{\0", &[(1, 1, "E-ENC-UTF16")]);
    refused(b"{\0\"\0", &[(1, 1, "E-ENC-UTF16")]);
    refused(b"participant\n\x8e\x52\x93\x63,", &[(2, 1, "E-ENC-CP932")]);
    let with_mark = format!("\u{feff}{}", usual());
    assert_eq!(whole(&with_mark), whole(&usual()));
}

#[test]
fn a_sheet_means_what_a_bundle_means() {
    let record = one(&format!("{HEADER}\r\n{ROW}\r\n"));
    assert_eq!(record.items.iter().collect::<Vec<_>>(), ["clinical_return", "foreign_use"]);
    assert_eq!(record.foreign_countries.iter().collect::<Vec<_>>(), ["GB"]);
    assert_eq!(record.start.unwrap().to_string(), "2026-01-19T15:00:00.000000Z");
    assert_eq!((record.end, record.basis, record.version), (None, Basis::Own, 3));
    assert_eq!((record.duo, record.icf), (vec!["DUO:0000006".to_owned()], Some("icf".to_owned())));
    let proxy = ROW.replace("self,", "proxy,2030-04").replace("inactive", "active");
    let until = match one(&format!("{HEADER}\n{proxy}")).basis {
        Basis::Proxy { until } => until.unwrap().to_string(),
        Basis::Own => String::new(),
    };
    assert_eq!(until, "2030-04-01T15:00:00.000000Z");
    assert_eq!(one(&format!("{HEADER}\n{}", ROW.replace(",3,", ",202605300912,"))).version, 202_605_300_912);
    assert_eq!(one(&usual().replace("\"3\"", "\"202605300912\"")).version, 202_605_300_912);
    let older = ROW.replace(",3,", ",2,").replace("active", "inactive");
    assert_eq!(one(&format!("{HEADER}\n{ROW}\n{older}\n{ROW}\n")).status, Status::Active);
}

#[test]
fn wrong_sheets_are_pointed_at() {
    let sheet = |text: &str, expect: &[(u32, u32, &str)]| refused(text.as_bytes(), expect);
    let row = |from: &str, to: &str, expect: &[(u32, u32, &str)]| {
        assert!(ROW.contains(from), "{from}");
        sheet(&format!("{HEADER}\n{}\n", ROW.replacen(from, to, 1)), expect);
    };
    sheet("", &[(1, 1, "E-COL-MISSING: expected a header line")]);
    sheet(HEADER, &[(1, 1, "E-COL-MISSING")]);
    sheet(
        &format!("{}\n{ROW}\n", HEADER.replace("status", "stauts")),
        &[(1, 1, "E-COL-MISSING: column 'status'"), (1, 24, "did you mean 'status'?")],
    );
    sheet(&format!("{HEADER},id\n{ROW},x\n"), &[(1, 105, "stands twice")]);
    sheet(&format!("{HEADER}\n{ROW},\n"), &[(2, 1, "E-ROW-WIDTH: the row has 15 fields")]);
    sheet(&format!("{HEADER}\n{ROW}\n{ROW}\n").replacen("active", "inactive", 1), &[(3, 1, "E-FHIR-DUP")]);
    let later = ROW.replace(",3,", ",4,").replace("05-31T", "06-01T");
    sheet(&format!("{HEADER}\n{ROW}\n{later}\n"), &[(3, 104, "E-CONSENT-SEQ")]);
    sheet(&format!("{HEADER}\n{}", "x".repeat(70_000)), &[(2, 1, "longer than 65536 bytes")]);
    row("P-1", "Ｐ-1", &[(2, 1, "E-ID-WIDTH: participant contains U+FF30")]);
    row("P-1", "P-1\u{3000}", &[(2, 1, "did you mean 'P-1'?")]);
    row("P-1", "", &[(2, 1, "participant is empty")]);
    row("active", "Active", &[(2, 11, "did you mean 'active'?")]);
    row("clinical_return", "clinical-return", &[(2, 18, "did you mean 'clinical_return'?")]);
    row(";foreign_use", "", &[(2, 34, "countries are given without")]);
    row("GB", "gb", &[(2, 46, "did you mean 'GB'?")]);
    row("2026-01-20", "45996", &[(2, 49, "E-DATE-EXCEL")]);
    row("2026-01-20", "R8.1.20", &[(2, 49, "it would be 2026-01-20")]);
    row("self", "sel", &[(2, 61, "did you mean 'self'?")]);
    row("self,", "self,2030-01-01", &[(2, 66, "the basis is self")]);
    row("DUO:0000006", "DUO:0000005", &[(2, 67, "E-DUO-UNKNOWN")]);
    row("2026-05-31T09:00:00Z", "2026-05-31", &[(2, 104, "E-DATE")]);
    row(",3,", ",-3,", &[(2, 9, "expected a whole number")]);
}

#[test]
fn a_hundred_findings_are_listed_and_the_rest_counted() {
    let rows = format!("{}\n", ROW.replace("active", "x")).repeat(150);
    let found = read_register("c", format!("{HEADER}\n{rows}").as_bytes()).unwrap_err();
    assert_eq!(found.len(), LISTED_MAX + 1);
    assert_eq!(found.last().unwrap().message, "50 more errors are not listed");
}

#[test]
fn whatever_the_bytes_there_is_an_answer() {
    let csv = format!("{HEADER}\n{ROW}\n").into_bytes();
    let check = |bytes: &[u8]| {
        let breaks = bytes.iter().filter(|&&byte| byte == b'\n').count() as u32;
        for found in read_register("c", bytes).err().unwrap_or_default() {
            assert!((1..=breaks + 1).contains(&found.place.line) && found.place.column >= 1, "{found}");
            assert!(!found.message.contains('\n'), "{found}");
        }
    };
    for original in [usual().into_bytes(), csv, example().unwrap_or_default()] {
        (0..original.len()).for_each(|length| check(&original[..length]));
        let step = (original.len() / 1_000).max(1);
        for at in (0..original.len()).step_by(step) {
            for flip in [0x01, 0x20, 0x80] {
                let mut bytes = original.clone();
                bytes[at] ^= flip;
                check(&bytes);
            }
            for piece in [&b"\""[..], b"{", b"[", b"\\ud800", b"\0", b"\xe3\x80", b"1e999", b"\n"] {
                check(&[&original[..at], piece, &original[at..]].concat());
            }
        }
    }
}

#[test]
fn a_word_from_the_future_holds_at_no_time_and_of_two_at_once_the_withdrawal_counts() {
    let head = "participant,id,version,status,items,foreign_countries,start,end,basis,proxy_until,duo,icf,updated,as_of\n";
    let row = |id: &str, status: &str, updated: &str| {
        format!("P1,{id},1,{status},clinical_return,,2020-01-01,,self,,,,{updated},2026-01-01T00:00:00Z\n")
    };
    let read = |rows: &[String]| {
        let text = format!("{head}{}", rows.concat());
        let register = jobs::consent::read_register("c.csv", text.as_bytes()).unwrap();
        let record = register.records["P1"].clone();
        (record.id, record.start.is_some())
    };
    let (early, late, future) = ("2025-01-01T00:00:00Z", "2025-06-01T00:00:00Z", "2099-01-01T00:00:00Z");
    assert_eq!(read(&[row("C1", "active", future), row("C9", "inactive", early)]), ("C1".to_owned(), false));
    assert_eq!(read(&[row("C1", "active", late), row("C9", "inactive", early)]), ("C1".to_owned(), true));
    assert_eq!(read(&[row("C0", "inactive", late), row("C9", "active", late)]).0, "C0");
    assert_eq!(read(&[row("C9", "inactive", late), row("C0", "active", late)]).0, "C9");
}
