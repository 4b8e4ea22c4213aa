//! `sites.toml`: the registry of sites as its officers write it.
//!
//! Invariant: as in [`crate::policy::document`]. A site without an attestation has none; one whose `expires` is a date is
//! attested until that day ends in the programme's own time. The `scheme` of an attestation is a label and decides
//! nothing.

use super::{Site, Sites};
use crate::consent::PROGRAMME_OFFSET_MINUTES;
use crate::diagnostic::{Diagnostic, Findings, Source, closest};
use crate::document::{Document, Kind, Section};
use crate::policy::document::LEVELS;
use crate::time::Timestamp;
use std::collections::BTreeSet;
use toml::Spanned;
use toml::de::DeValue;

/// What a site may be for. Programmes have others, so a word that resembles none of these is taken as it is.
const ROLES: [&str; 2] = ["compute", "share_holder"];

/// Keys of a site that nothing decides on yet.
const SITE_CARRIED: [(&str, Kind); 2] = [("kind", Kind::Text), ("region", Kind::Text)];
const ATTESTATION_CARRIED: [(&str, Kind); 2] = [("scheme", Kind::Text), ("id", Kind::Text)];

/// The sites of a file, or everything that is wrong with it.
pub fn read_sites(file: &str, bytes: &[u8]) -> Result<Sites, Vec<Diagnostic>> {
    let source = Source::from_bytes(file, bytes).map_err(|error| vec![error])?;
    let document = Document::parse(source);
    let mut sites = Sites::new();
    if document.is_whole() {
        fill(&mut sites, &document);
    }
    let mut found = Findings::default();
    found.extend(document.into_diagnostics());
    found.or_all(sites)
}

fn fill(sites: &mut Sites, document: &Document<'_>) {
    let mut root = document.root();
    match root.value("site") {
        Some(value) => {
            let tables = value.get_ref().as_array().filter(|list| !list.is_empty());
            if tables.is_none() {
                root.error(value.span(), "site: expected [[site]] tables", None);
            }
            for item in tables.into_iter().flat_map(|list| list.iter()) {
                add(sites, document, item);
            }
        }
        None => root.missing("site", "write a [[site]] table for each site".to_owned()),
    }
    root.finish();
}

fn add(sites: &mut Sites, document: &Document<'_>, item: &Spanned<DeValue<'_>>) {
    let Some(table) = item.get_ref().as_table() else {
        return document.error(item.span(), "site: expected a table", None);
    };
    let mut section = Section::new(document, "the site", table, item.span());
    let site = site(&mut section);
    if let Some(id) = section.text("id").filter(|id| sites.contains_key(*id.get_ref())) {
        section.error(id.span(), format!("id: site '{}' stands here twice", id.get_ref()), None);
    }
    section.finish();
    sites.insert(site.id.clone(), site);
}

fn site(section: &mut Section<'_>) -> Site {
    let id = section.name("id").unwrap_or_default();
    let jurisdiction = match section.text("jurisdiction") {
        Some(country) => section.country("jurisdiction", &country),
        None => {
            section.missing("jurisdiction", "the country whose law holds there, such as \"JP\"".to_owned());
            None
        }
    };
    let levels_max = section.integer("levels_max", LEVELS);
    if levels_max.is_none() {
        section.missing("levels_max", None);
    }
    let digest = section.text("spki_sha256");
    if let Some(digest) = digest.filter(|digest| crate::cohort::sha256(digest.get_ref()).is_none()) {
        section.error(digest.span(), "spki_sha256: expected 64 hexadecimal digits", None);
    }
    let operator = section.text("operator").map_or(String::new(), |text| text.into_inner().to_owned());
    section.carry(&SITE_CARRIED);
    Site {
        id,
        jurisdiction: jurisdiction.unwrap_or_default(),
        levels_max: levels_max.map_or(0, |level| level.into_inner() as u8),
        roles: roles(section),
        attested_until: attested_until(section),
        operator,
    }
}

fn roles(section: &mut Section<'_>) -> BTreeSet<String> {
    let Some(roles) = section.texts("roles") else {
        section.missing("roles", "such as roles = [\"compute\"]".to_owned());
        return BTreeSet::new();
    };
    for role in &roles {
        if let Some(meant) = closest(role.get_ref(), ROLES).filter(|meant| meant != role.get_ref()) {
            let message = format!("roles: '{}' is unknown", role.get_ref());
            section.error(role.span(), message, format!("did you mean '{meant}'?"));
        }
    }
    roles.into_iter().map(|role| role.into_inner().to_owned()).collect()
}

fn attested_until(section: &mut Section<'_>) -> Option<Timestamp> {
    let mut attestation = section.section("attestation")?;
    attestation.carry(&ATTESTATION_CARRIED);
    let expires = attestation.value("expires");
    let until = expires.and_then(|value| {
        let written = value.get_ref().as_datetime()?;
        match (written.date, written.time) {
            (Some(date), None) => Timestamp::day_ends(&date.to_string(), PROGRAMME_OFFSET_MINUTES),
            _ => written.to_string().parse().ok(),
        }
    });
    match expires {
        Some(value) if until.is_none() => {
            let message = "expires: expected a date such as 2027-03-31, or a time with its offset";
            attestation.error(value.span(), message, None);
        }
        Some(_) => {}
        None => attestation.missing("expires", None),
    }
    attestation.finish();
    until
}
