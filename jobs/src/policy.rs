//! The policy check: who may do what with whose data, for which purpose, where and when.
//!
//! Invariant: [`decide`] is the one door. It is pure, it collects every reason against, and what is missing counts as no. A
//! [`Permit`] comes out of it and from nowhere else: it can be neither stored nor sent nor copied, so whoever holds one
//! has asked, here and lately.

pub mod document;
pub mod reason;

pub use reason::Reason;

use crate::consent::Register;
use crate::site::Sites;
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// What is to be done with data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A cohort is handed in.
    Submit,
    /// A task is given to a worker.
    Dispatch,
    /// A sample's data is read.
    Read,
    /// A sample's result is kept.
    Commit,
    /// A file is sealed into a vault.
    Archive,
    /// A sealed file is brought back.
    Restore,
    /// Data leaves the programme.
    Export,
    /// A report is issued.
    Report,
}

/// Classes of data; each needs a security level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DataClass {
    /// Raw reads.
    Fastq,
    /// Alignments.
    Cram,
    /// Calls of one sample at every base.
    Gvcf,
    /// Variants of one sample.
    Vcf,
    /// Variants of a cohort.
    Joint,
    /// What identifies a person among others.
    Fingerprint,
    /// A report on a person.
    Report,
    /// Quality control.
    Qc,
    /// Counts over many people.
    Aggregate,
}

/// What data is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Findings go back to the patient.
    ClinicalReturn,
    /// Academic research.
    Research,
    /// Research with or by industry.
    ResearchIndustry,
    /// Quality assurance of the programme's own analysis.
    Qa,
}

/// What to do with a sample that is denied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDenied {
    /// Refuse the whole cohort.
    #[default]
    Refuse,
    /// Go on without the sample, and say so.
    Exclude,
}

/// The programme's policy (`policy.toml`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its version.
    pub version: String,
    /// SHA-256 of the file, in hexadecimal; of nothing for the built-in one.
    pub sha256: String,
    /// Home countries: consent need not name them.
    pub default_jurisdictions: BTreeSet<String>,
    /// A register confirmed longer ago is stale.
    pub consent_max_age_hours: u32,
    /// How long a lease holds.
    pub lease_ttl_seconds: u32,
    /// What happens to a denied sample where the cohort does not say.
    pub on_denied_sample: OnDenied,
    /// Security level of each class; a class that is missing may go nowhere.
    pub levels: BTreeMap<DataClass, u8>,
}

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Actor {
    /// The account.
    pub sub: String,
    /// The organisation.
    pub org: String,
    /// As what.
    pub role: String,
}

/// One sample and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// SAM's `SM`.
    pub sample: String,
    /// Code of the person.
    pub participant: String,
}

/// A question to the policy.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// What is to be done.
    pub action: Action,
    /// By whom.
    pub actor: &'a Actor,
    /// With whose data; nobody's data needs no permit and gets none.
    pub subjects: &'a [Subject],
    /// What for; `None`: nobody said.
    pub purpose: Option<Purpose>,
    /// Disease studied, as a MONDO id.
    pub disease: Option<&'a str>,
    /// Class of the data.
    pub class: DataClass,
    /// At which site.
    pub site: &'a str,
    /// When.
    pub now: Timestamp,
}

/// What the programme knows when a question is asked.
#[derive(Clone, Copy, Debug)]
pub struct Knowledge<'a> {
    /// Consents.
    pub register: &'a Register,
    /// Rules.
    pub policy: &'a Policy,
    /// Places.
    pub sites: &'a Sites,
}

/// Why not: every reason, those of the site and the question first, then by sample.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Denial {
    /// Reasons that hold for all samples.
    pub general: BTreeSet<Reason>,
    /// Reasons of single samples.
    pub samples: BTreeMap<String, BTreeSet<Reason>>,
}

/// On what a permit rests for one sample: what an archive keeps of the consent as it was.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Grounds {
    /// Id of the consent record.
    pub consent: String,
    /// Its version.
    pub version: u64,
    /// The form that was signed.
    pub icf: Option<String>,
    /// The item that was needed.
    pub item: String,
    /// Countries where the data may be.
    pub jurisdictions: BTreeSet<String>,
}

/// A checked consent as a value.
#[derive(Debug)]
pub struct Permit {
    action: Action,
    class: DataClass,
    purpose: Purpose,
    site: String,
    samples: BTreeMap<String, Grounds>,
    epoch: u64,
    policy_sha256: String,
    obligations: BTreeSet<String>,
    expires: Timestamp,
}

/// A permit does not cover what was asked of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPermitted {
    /// It is for another act.
    #[error("the permit is for {permitted:?}, not for {asked:?}")]
    Action {
        /// What it is for.
        permitted: Action,
        /// What was asked.
        asked: Action,
    },
    /// It is for other samples.
    #[error("the permit does not cover sample {sample}")]
    Sample {
        /// The sample.
        sample: String,
    },
    /// It is too old.
    #[error("the permit ended at {expired}")]
    Expired {
        /// When.
        expired: Timestamp,
    },
}
