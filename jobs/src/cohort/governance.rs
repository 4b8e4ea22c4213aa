//! What a cohort file says of governance and of the archive: under which rules its data is used, and where results are
//! sealed.
//!
//! Invariant: this is what was written, with its place; whether the files exist, and what follows from them, is others'
//! to say.

use crate::diagnostic::Place;
use crate::document::{Document, Section};
use crate::policy::document::class;
use crate::policy::{DataClass, OnDenied, Purpose};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error, StrDeserializer};
use std::collections::BTreeSet;
use toml::Spanned;

/// A text and where it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Written {
    /// As written.
    pub text: String,
    /// Where.
    pub place: Place,
}

/// The rules a cohort's data is used under. Serialised, it is the table `[governance]` as it was written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Governance {
    /// `[cohort] purpose`: what the data is used for.
    pub purpose: Option<Purpose>,
    /// `[cohort] disease`: the disease studied, a MONDO id.
    pub disease: Option<Written>,
    /// `[cohort] consent`: path of the consent register, relative to the cohort file.
    pub consent: Option<Written>,
    /// `[cohort] sites`: names of the sites where the data may be processed; empty: every site that the policy permits.
    pub sites: Vec<Written>,
    /// `[cohort] on_denied_sample`: what happens to a sample that is denied; absent: what the policy says.
    pub on_denied_sample: Option<OnDenied>,
    /// `[governance] policy`: path of the policy, relative to the cohort file.
    pub policy_file: Option<Written>,
    /// `[governance] sites`: path of the registry of sites, relative to the cohort file.
    pub sites_file: Option<Written>,
    /// `[governance] site`: name of the site where this machine stands.
    pub site: Option<Written>,
    /// The table `[governance]`, untouched.
    pub written: toml::Table,
}

impl serde::Serialize for Governance {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.written.serialize(serializer)
    }
}

/// Where results are sealed: the table `[archive]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Archive {
    /// Path of the vault, relative to the cohort file.
    pub vault: Written,
    /// Path of another vault for raw reads; absent: they go with the rest.
    pub fastq_vault: Option<Written>,
    /// What is sealed. `VCF` in the file stands for the cohort's joint VCF too and puts both classes here, as that is the
    /// VCF that a cohort has; `JOINT` stands for it alone.
    pub classes: BTreeSet<DataClass>,
    /// Path of a file with the vault's passphrase, relative to the cohort file.
    pub passphrase_file: Option<Written>,
}

/// Keys of `[cohort]` that decide nothing under `[governance]`, where older files have them.
const OF_COHORT: [&str; 5] = ["purpose", "disease", "consent", "grant", "on_denied_sample"];

const PURPOSES: [&str; 4] = ["clinical_return", "research", "research_industry", "qa"];

/// What can be sealed of a cohort.
const SEALED: [&str; 6] = ["CRAM", "GVCF", "VCF", "JOINT", "REPORT", "FASTQ"];
const SEALED_DEFAULT: [&str; 3] = ["CRAM", "GVCF", "VCF"];

impl Governance {
    /// Takes the keys of `[cohort]`.
    pub(super) fn read_cohort(&mut self, section: &mut Section<'_>) {
        self.purpose = section.word("purpose", &PURPOSES).and_then(|word| {
            let word: StrDeserializer<'_, Error> = word.into_deserializer();
            Purpose::deserialize(word).ok()
        });
        self.disease = text(section, "disease");
        self.consent = text(section, "consent");
        self.on_denied_sample =
            section.word("on_denied_sample", &["refuse", "exclude"]).map(|word| match word {
                "exclude" => OnDenied::Exclude,
                _ => OnDenied::Refuse,
            });
        let sites = section.texts("sites");
        if let (Some([]), Some(value)) = (sites.as_deref(), section.value("sites")) {
            section.error(value.span(), "sites: the list is empty; expected names of sites", None);
        }
        for site in sites.unwrap_or_default() {
            if self.sites.iter().any(|other| other.text == *site.get_ref()) {
                let message = format!("sites: '{}' stands here twice", site.get_ref());
                section.error(site.span(), message, None);
            }
            self.sites.push(name(section, "sites", site));
        }
    }

    /// Takes the table `[governance]`. It may hold keys for others; only what looks like one of ours misspelt is wrong.
    pub(super) fn read_table(&mut self, section: Option<Section<'_>>) {
        let Some(mut section) = section else { return };
        self.policy_file = text(&mut section, "policy");
        self.sites_file = text(&mut section, "sites");
        self.site = section.text("site").map(|site| name(&section, "site", site));
        for (key, _) in section.entries().filter(|(key, _)| OF_COHORT.contains(key.get_ref())) {
            let message = format!("{} decides nothing here", key.get_ref());
            section.warning(key.span(), message, "write it under [cohort]".to_owned());
        }
        section.finish_open(&OF_COHORT);
    }
}

impl Archive {
    /// The table `[archive]`.
    pub(super) fn read(section: Option<Section<'_>>) -> Option<Self> {
        let mut section = section?;
        let vault = text(&mut section, "vault");
        if vault.is_none() {
            section.missing("vault", "the folder that 'wakachi vault init' made".to_owned());
        }
        let classes = match section.words("classes", &SEALED) {
            Some(classes) => classes.into_iter().map(Spanned::into_inner).collect(),
            None => SEALED_DEFAULT.to_vec(),
        };
        if let (true, Some(value)) = (classes.is_empty(), section.value("classes")) {
            let hint = "leave [archive] out to seal nothing".to_owned();
            section.error(value.span(), "classes: the list is empty", hint);
        }
        let mut classes: BTreeSet<_> = classes.into_iter().filter_map(class).collect();
        if classes.contains(&DataClass::Vcf) {
            classes.insert(DataClass::Joint);
        }
        let archive = Archive {
            vault: vault.unwrap_or_default(),
            fastq_vault: text(&mut section, "fastq_vault"),
            classes,
            passphrase_file: text(&mut section, "passphrase_file"),
        };
        section.finish();
        Some(archive)
    }
}

/// A text that must not be empty.
fn text(section: &mut Section<'_>, key: &'static str) -> Option<Written> {
    let text = section.text(key)?;
    if text.get_ref().is_empty() {
        section.error(text.span(), format!("{key} is empty"), None);
    }
    Some(written(section.document(), text))
}

/// A name of a site.
fn name(section: &Section<'_>, key: &str, text: Spanned<&str>) -> Written {
    if let Some((message, hint)) = super::name_problem(key, text.get_ref()) {
        section.error(text.span(), message, hint);
    }
    written(section.document(), text)
}

fn written(document: &Document<'_>, text: Spanned<&str>) -> Written {
    Written { place: document.place(text.span().start), text: text.into_inner().to_owned() }
}
