//! `policy.toml` and `sites.toml`, right and wrong: the programme's own are read, every mistake is found at its place.

use jobs::diagnostic::Diagnostic;
use jobs::policy::document::read_policy;
use jobs::policy::{DataClass, OnDenied, Policy};
use jobs::site::read_sites;
use std::path::{Path, PathBuf};

const SITE: &str = "[[site]]\nid = \"a\"\njurisdiction = \"JP\"\nlevels_max = 4\nroles = [\"compute\"]\n\
                    attestation = { scheme = \"internal\", id = \"1\", expires = 2027-03-31 }\n";

fn example(name: &str) -> Option<Vec<u8>> {
    let shared = std::env::var_os("WAKACHI_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"));
    let file = shared.join("vectors/governance/examples").join(name);
    let bytes = std::fs::read(&file).ok();
    if bytes.is_none() {
        println!("skipped: {} is absent", file.display());
    }
    bytes
}

fn check(found: Vec<Diagnostic>, text: &str, expect: &[(u32, u32, &str)]) {
    let context = format!("{text}\n{found:#?}");
    assert_eq!(found.len(), expect.len(), "{context}");
    for (found, (line, column, part)) in found.iter().zip(expect) {
        assert_eq!((found.place.line, found.place.column), (*line, *column), "{context}");
        assert!(found.to_string().contains(part), "{part:?} in {context}");
    }
}

#[test]
fn the_programmes_own_policy_is_the_built_in_one() {
    let Some(bytes) = example("policy.toml") else { return };
    let policy =
        read_policy("policy.toml", &bytes, "00".to_owned()).unwrap_or_else(|found| panic!("{found:#?}"));
    assert_eq!((policy.version.as_str(), policy.sha256.as_str()), ("2026.1", "00"));
    let built_in = Policy::built_in();
    assert_eq!(policy, Policy { version: policy.version.clone(), sha256: policy.sha256.clone(), ..built_in });
    assert_eq!((policy.levels[&DataClass::Cram], policy.levels[&DataClass::Aggregate]), (4, 1));
    assert_eq!(policy.levels.len(), 9);
}

#[test]
fn a_policy_may_change_what_it_names() {
    let text = "[policy]\nversion = \"2\"\ndefault_jurisdictions = [\"JP\", \"GB\"]\nconsent_max_age_hours = 48\n\
                lease_ttl_seconds = 60\non_denied_sample = \"exclude\"\n[level]\nCRAM = 2\n";
    let policy = read_policy("p", text.as_bytes(), String::new()).unwrap();
    assert_eq!(policy.default_jurisdictions.iter().collect::<Vec<_>>(), ["GB", "JP"]);
    assert_eq!((policy.consent_max_age_hours, policy.lease_ttl_seconds), (48, 60));
    assert_eq!(policy.on_denied_sample, OnDenied::Exclude);
    assert_eq!(policy.levels.into_iter().collect::<Vec<_>>(), [(DataClass::Cram, 2)]);
    let bare = read_policy("p", b"[policy]\nversion = \"2\"\n", String::new()).unwrap();
    assert_eq!(bare.levels, Policy::built_in().levels);
}

#[test]
fn wrong_policies_are_pointed_at() {
    let policy = |text: &str, expect: &[(u32, u32, &str)]| {
        check(read_policy("p", text.as_bytes(), String::new()).expect_err(text), text, expect);
    };
    let with = |line: &str, expect: &[(u32, u32, &str)]| {
        policy(&format!("[policy]\nversion = \"2\"\n{line}\n"), expect)
    };
    policy("", &[(1, 1, "lacks 'policy'")]);
    policy("[policy]\n", &[(1, 1, "lacks 'version'")]);
    policy("[policy\n", &[(1, 8, "")]);
    with("consent_max_age_hour = 1", &[(3, 1, "did you mean 'consent_max_age_hours'?")]);
    with("consent_max_age_hours = 0", &[(3, 25, "from 1 to 8760, found 0")]);
    with("lease_ttl_seconds = 1e9", &[(3, 21, "a whole number from 1 to 86400")]);
    with("on_denied_sample = \"drop\"", &[(3, 20, "expected refuse, exclude")]);
    with("default_jurisdictions = [\"Japan\"]", &[(3, 26, "two letters of ISO 3166")]);
    with("default_jurisdictions = \"JP\"", &[(3, 25, "a list of strings")]);
    with("embargo_months = \"24\"", &[(3, 18, "expected a whole number")]);
    with("[level]\nCRAM = 5", &[(4, 8, "from 0 to 4")]);
    with("[level]\nBAM = 3", &[(4, 1, "[level] has no key 'BAM'")]);
    with("[level]\ncram = 3", &[(4, 1, "did you mean 'CRAM'?")]);
    with("[share]\non_request = [\"FASTA\"]", &[(4, 15, "did you mean 'FASTQ'?")]);
    with("[storage]\nsecret_share = { k = 0, n = 5 }", &[(4, 22, "from 1 to 255")]);
    with("[storage]\nerasure = { data = 8, party = 4 }", &[(4, 23, "did you mean 'parity'?")]);
    with("[gate]\ncontamination_hold = 1.5", &[(4, 22, "a number from 0 to 1")]);
    with("[gate]\ntn_min_concordance = nan", &[(4, 22, "a number from 0 to 1")]);
    with("[quotas]", &[(3, 2, "did you mean 'quota'?")]);
    check(read_policy("p", b"\x8e\x52", String::new()).unwrap_err(), "", &[(1, 1, "E-ENC-CP932")]);
}

#[test]
fn the_programmes_own_sites_are_read() {
    let Some(bytes) = example("sites.toml") else { return };
    let sites = read_sites("sites.toml", &bytes).unwrap_or_else(|found| panic!("{found:#?}"));
    let names: Vec<_> = sites.keys().map(String::as_str).collect();
    assert_eq!(names, ["burst-us", "gcp-osaka", "ncc-onprem"]);
    let site = &sites["ncc-onprem"];
    assert_eq!((site.jurisdiction.as_str(), site.levels_max), ("JP", 4));
    assert_eq!(site.roles.iter().collect::<Vec<_>>(), ["compute", "share_holder"]);
    assert_eq!(site.attested_until.unwrap().to_string(), "2027-03-31T15:00:00.000000Z");
    assert_eq!(site.operator, "国立がん研究センター");
}

#[test]
fn an_attestation_ends_when_it_says() {
    let until = |line: &str| {
        let text = SITE.lines().take(5).chain([line]).collect::<Vec<_>>().join("\n");
        let sites = read_sites("s", text.as_bytes()).unwrap_or_else(|found| panic!("{found:#?}"));
        sites["a"].attested_until.map(|until| until.to_string()[..16].to_owned())
    };
    assert_eq!(until(""), None);
    assert_eq!(until("attestation = { expires = 2027-03-31 }").as_deref(), Some("2027-03-31T15:00"));
    assert_eq!(
        until("attestation = { expires = 2027-03-31T12:00:00+09:00 }").as_deref(),
        Some("2027-03-31T03:00")
    );
}

#[test]
fn wrong_sites_are_pointed_at() {
    let sites = |text: &str, expect: &[(u32, u32, &str)]| {
        check(read_sites("s", text.as_bytes()).expect_err(text), text, expect);
    };
    let swap = |from: &str, to: &str, expect: &[(u32, u32, &str)]| {
        assert!(SITE.contains(from), "{from}");
        sites(&SITE.replace(from, to), expect);
    };
    sites("", &[(1, 1, "lacks 'site'")]);
    sites("site = []\n", &[(1, 8, "expected [[site]] tables")]);
    sites("site = [1]\n", &[(1, 9, "expected a table")]);
    sites(&format!("{SITE}{SITE}"), &[(8, 6, "site 'a' stands here twice")]);
    swap("id = \"a\"", "", &[(1, 1, "lacks 'id'")]);
    swap("\"a\"", "\"a b\"", &[(2, 6, "contains ' '")]);
    swap("jurisdiction = \"JP\"", "", &[(1, 1, "lacks 'jurisdiction'")]);
    swap("\"JP\"", "\"jp\"", &[(3, 16, "'jp' is no country")]);
    swap("levels_max = 4", "", &[(1, 1, "lacks 'levels_max'")]);
    swap("levels_max = 4", "levels_max = 9", &[(4, 14, "from 0 to 4")]);
    swap("levels_max", "level_max", &[(1, 1, "lacks 'levels_max'"), (4, 1, "did you mean 'levels_max'?")]);
    swap("\"compute\"", "\"compte\"", &[(5, 10, "did you mean 'compute'?")]);
    swap("roles = [\"compute\"]", "", &[(1, 1, "lacks 'roles'")]);
    swap("2027-03-31", "\"2027-03-31\"", &[(6, 58, "expected a date such as 2027-03-31")]);
    swap("2027-03-31", "2027-03-31T12:00:00", &[(6, 58, "a time with its offset")]);
    swap(", expires = 2027-03-31", "", &[(6, 15, "lacks 'expires'")]);
    sites(&format!("{SITE}spki_sha256 = \"00\"\n"), &[(7, 15, "64 hexadecimal digits")]);
    sites(&format!("{SITE}region = 3\n"), &[(7, 10, "expected a string")]);
}

#[test]
fn whatever_the_bytes_there_is_an_answer() {
    let policy = "[policy]\nversion = \"2\"\ndefault_jurisdictions = [\"JP\"]\n[level]\nCRAM = 4\n[gate]\nsex_mismatch = \"hold\"\n";
    let files = [Some(policy.into()), Some(SITE.into()), example("policy.toml"), example("sites.toml")];
    for original in files.into_iter().flatten().collect::<Vec<Vec<u8>>>() {
        let read = |bytes: &[u8]| {
            let _ = (read_policy("p", bytes, String::new()), read_sites("s", bytes));
        };
        (0..original.len()).for_each(|length| read(&original[..length]));
        for at in 0..original.len() {
            for flip in [0x01, 0x20, 0x80] {
                let mut bytes = original.clone();
                bytes[at] ^= flip;
                read(&bytes);
            }
        }
    }
}
