//! `policy.toml`: the programme's rules as its officers write them.
//!
//! Invariant: every key of the programme's file is known here; those that nothing decides on yet are looked at for their
//! type, listed in one table each, and carried nowhere. A key that is absent has the programme's default; a class of data
//! that `[level]` does not name may go nowhere.

use super::{DataClass, OnDenied, Policy};
use crate::diagnostic::{Diagnostic, Findings, Source};
use crate::document::{Document, Kind, Section};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error, StrDeserializer};
use std::collections::{BTreeMap, BTreeSet};

/// SHA-256 of no bytes.
const SHA256_OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Names of the classes of data.
pub(crate) const CLASSES: [&str; 9] =
    ["FASTQ", "CRAM", "GVCF", "VCF", "JOINT", "FINGERPRINT", "REPORT", "QC", "AGGREGATE"];

/// Security levels: what a class needs, and what a site offers at most.
pub(crate) const LEVELS: std::ops::RangeInclusive<u64> = 0..=4;

/// A register may be trusted for a year at most, and a lease for a day.
const CONSENT_AGE_HOURS: std::ops::RangeInclusive<u64> = 1..=8_760;
const LEASE_SECONDS: std::ops::RangeInclusive<u64> = 1..=86_400;

/// Keys of `[policy]` that nothing decides on yet.
const POLICY_CARRIED: [(&str, Kind); 4] = [
    ("embargo_months", Kind::Whole(0, 1_200)),
    ("shred_delay_days", Kind::Whole(0, 3_650)),
    ("reissue_deadline_hours", Kind::Whole(0, 87_600)),
    ("two_person", Kind::Texts),
];
const SHARE_CARRIED: [(&str, Kind); 2] =
    [("default_classes", Kind::Words(&CLASSES)), ("on_request", Kind::Words(&CLASSES))];
const STORAGE_CARRIED: [(&str, Kind); 4] = [
    ("fastq_pool", Kind::Text),
    ("primary_pool", Kind::Text),
    ("min_copies", Kind::Whole(1, 255)),
    ("min_sites", Kind::Whole(1, 255)),
];
const SECRET_SHARE_CARRIED: [(&str, Kind); 2] = [("k", Kind::Whole(1, 255)), ("n", Kind::Whole(1, 255))];
const ERASURE_CARRIED: [(&str, Kind); 2] = [("data", Kind::Whole(1, 255)), ("parity", Kind::Whole(0, 255))];
const GATE_CARRIED: [(&str, Kind); 6] = [
    ("contamination_hold", Kind::Fraction),
    ("contamination_warn", Kind::Fraction),
    ("tn_min_concordance", Kind::Fraction),
    ("min_informative_sites", Kind::Whole(0, 1_000_000_000)),
    ("trio_max_mendel_error", Kind::Fraction),
    ("sex_mismatch", Kind::Word(&["hold", "warn", "ignore"])),
];
const QUOTA_CARRIED: [(&str, Kind); 2] = [
    ("egress_records_per_day", Kind::Whole(0, 1 << 53)),
    ("denied_per_minute_alert", Kind::Whole(0, 1_000_000_000)),
];

impl Policy {
    /// The programme's defaults, where there is no file.
    pub fn built_in() -> Self {
        let levels = [4, 4, 3, 3, 3, 4, 4, 2, 1];
        Policy {
            version: "built-in".to_owned(),
            sha256: SHA256_OF_NOTHING.to_owned(),
            default_jurisdictions: BTreeSet::from(["JP".to_owned()]),
            consent_max_age_hours: 24,
            lease_ttl_seconds: 900,
            on_denied_sample: OnDenied::Refuse,
            levels: CLASSES.iter().filter_map(|name| class(name)).zip(levels).collect(),
        }
    }
}

/// The policy of a file, or everything that is wrong with it. `sha256` is the digest of `bytes` in hexadecimal, which
/// the caller has as it writes it into the audit log.
pub fn read_policy(file: &str, bytes: &[u8], sha256: String) -> Result<Policy, Vec<Diagnostic>> {
    let source = Source::from_bytes(file, bytes).map_err(|error| vec![error])?;
    let document = Document::parse(source);
    let mut policy = Policy { sha256, ..Policy::built_in() };
    if document.is_whole() {
        fill(&mut policy, &document);
    }
    let mut found = Findings::default();
    found.extend(document.into_diagnostics());
    found.or_all(policy)
}

/// The class of a name.
pub(crate) fn class(name: &str) -> Option<DataClass> {
    let name: StrDeserializer<'_, Error> = name.into_deserializer();
    DataClass::deserialize(name).ok()
}

fn fill(policy: &mut Policy, document: &Document<'_>) {
    let mut root = document.root();
    match root.section("policy") {
        Some(section) => rules(policy, section),
        None => root.missing("policy", "start the file with [policy] and its version".to_owned()),
    }
    if let Some(mut section) = root.section("level") {
        policy.levels = BTreeMap::new();
        for name in CLASSES {
            let level = section.integer(name, LEVELS).map(|level| level.into_inner() as u8);
            policy.levels.extend(class(name).zip(level));
        }
        section.finish();
    }
    for (key, keys) in
        [("share", &SHARE_CARRIED[..]), ("gate", &GATE_CARRIED[..]), ("quota", &QUOTA_CARRIED[..])]
    {
        if let Some(mut section) = root.section(key) {
            section.carry(keys);
            section.finish();
        }
    }
    if let Some(mut section) = root.section("storage") {
        section.carry(&STORAGE_CARRIED);
        for (key, keys) in [("secret_share", SECRET_SHARE_CARRIED), ("erasure", ERASURE_CARRIED)] {
            if let Some(mut inner) = section.section(key) {
                inner.carry(&keys);
                inner.finish();
            }
        }
        section.finish();
    }
    root.finish();
}

fn rules(policy: &mut Policy, mut section: Section<'_>) {
    match section.text("version") {
        Some(version) => policy.version = version.into_inner().to_owned(),
        None => section.missing("version", "every decision is logged with it".to_owned()),
    }
    if let Some(countries) = section.texts("default_jurisdictions") {
        policy.default_jurisdictions.clear();
        for country in countries {
            policy.default_jurisdictions.extend(section.country("default_jurisdictions", &country));
        }
    }
    if let Some(hours) = section.integer("consent_max_age_hours", CONSENT_AGE_HOURS) {
        policy.consent_max_age_hours = hours.into_inner() as u32;
    }
    if let Some(seconds) = section.integer("lease_ttl_seconds", LEASE_SECONDS) {
        policy.lease_ttl_seconds = seconds.into_inner() as u32;
    }
    policy.on_denied_sample = match section.word("on_denied_sample", &["refuse", "exclude"]) {
        Some("exclude") => OnDenied::Exclude,
        _ => OnDenied::Refuse,
    };
    section.carry(&POLICY_CARRIED);
    section.finish();
}
