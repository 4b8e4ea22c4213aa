//! The gate of this machine: consents, policy and sites as they lie in files, and the one place that asks
//! [`jobs::policy::decide`].
//!
//! Invariant: a permit is decided with the register as it is on disk at that moment; whatever cannot be read counts as
//! no. Nothing here decides anything itself.

use crate::run::books;
use cluster::bundle::carried::CarriedKnowledge;
use jobs::cohort::Cohort;
use jobs::consent::{Register, read_register};
use jobs::diagnostic::Diagnostic;
use jobs::event::{self, Event, EventName, Outcome};
use jobs::failure::{Class, Classified, Failure};
use jobs::policy::document::read_policy;
use jobs::policy::{Action, Actor, DataClass, Denial, Knowledge, Permit, Policy, Purpose, Question, Subject};
use jobs::site::{Sites, read_sites};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use storage::vault::{AuditLog, Caller, Digest};
use workers::access::now;

/// Largest register, policy or registry of sites that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// From what the gate knows.
#[derive(Clone, Debug, Default)]
pub struct GateFiles {
    /// The register of consents; `None`: nobody named one.
    pub consent: Option<PathBuf>,
    /// The policy; `None`: the built-in one.
    pub policy: Option<PathBuf>,
    /// The registry of sites.
    pub sites: PathBuf,
    /// Where this machine stands.
    pub site: Option<String>,
    /// What data is used for.
    pub purpose: Option<Purpose>,
    /// Disease studied.
    pub disease: Option<String>,
}

/// Everything a decision needs on this machine.
pub struct Gate {
    files: GateFiles,
    policy: Policy,
    sites: Sites,
    site: String,
    actor: Actor,
    register: Mutex<Held>,
}

/// A register, and the file it was read from as it was then.
struct Held {
    stamp: Option<(u64, u64, u64, i64, i64)>,
    register: Arc<Register>,
}

/// Why the gate does not open.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// No consents.
    #[error("no consents are given; without them nobody's data is read")]
    NoConsents,
    /// A file that the gate needs is not there.
    #[error("{what} {}: cannot be read; what is missing counts as no", path.display())]
    Unreadable {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{what} {}: {}", path.display(), Diagnostic::list(diagnostics))]
    Wrong {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Everything that is wrong.
        diagnostics: Vec<Diagnostic>,
    },
    /// The register was replaced by an older one.
    #[error("consents {}: confirmed earlier than those they replace; one of them is not the register", path.display())]
    Older {
        /// The file.
        path: PathBuf,
    },
    /// Nobody said where this machine stands.
    #[error("at which site this machine stands is not said")]
    NoSite,
    /// The cohort is for other sites.
    #[error("this machine stands at site {site}; the cohort names {}", named.join(", "))]
    OtherSite {
        /// Where it stands.
        site: String,
        /// Where the cohort may be processed.
        named: Vec<String>,
    },
}

impl Classified for GateError {
    fn class(&self) -> Class {
        match self {
            GateError::NoConsents
            | GateError::Unreadable { .. }
            | GateError::NoSite
            | GateError::Older { .. }
            | GateError::OtherSite { .. } => Class::Policy,
            GateError::Wrong { .. } => Class::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            GateError::NoConsents => {
                "name the register in the cohort file: [cohort] consent = \"consent.json\" (FHIR R4 bundle or CSV)"
                    .to_owned()
            }
            GateError::Unreadable { what: "sites", path, .. } => format!(
                "write {} with [[site]] id, jurisdiction, levels_max, roles, attestation; wakachi simulate writes an example",
                path.display()
            ),
            GateError::Unreadable { what, .. } => format!("put the {what} where it is named, or correct the name"),
            GateError::Wrong { .. } => "correct what is named".to_owned(),
            GateError::NoSite => {
                "give --site NAME, or [cohort] sites = [\"NAME\"]; NAME is an id of sites.toml".to_owned()
            }
            GateError::Older { .. } => "put the newest register in its place".to_owned(),
            GateError::OtherSite { .. } => "run it there, or name the site under [cohort] sites".to_owned(),
        })
    }
}

impl GateFiles {
    /// What a cohort names. The policy and the sites lie beside the cohort file unless it says otherwise; a policy that
    /// is not there is the built-in one, if nobody named it. This machine stands at `site`, or else where the cohort
    /// says, or else at the first of its sites.
    pub fn of_cohort(cohort: &Cohort, site: Option<&str>) -> Result<Self, GateError> {
        let rules = &cohort.governance;
        let policy = cohort.policy_path();
        let first = || rules.site.iter().chain(&rules.sites).map(|site| site.text.as_str()).next();
        let site = site.or_else(first).map(str::to_owned);
        let named: Vec<String> = rules.sites.iter().map(|site| site.text.clone()).collect();
        if let Some(site) = site.as_ref().filter(|site| !named.is_empty() && !named.contains(site)) {
            return Err(GateError::OtherSite { site: site.clone(), named });
        }
        Ok(GateFiles {
            consent: cohort.consent_path(),
            policy: (rules.policy_file.is_some() || policy.exists()).then_some(policy),
            sites: cohort.sites_path(),
            site,
            purpose: rules.purpose,
            disease: rules.disease.as_ref().map(|disease| disease.text.clone()),
        })
    }
}

impl Gate {
    /// Reads everything once.
    pub fn open(files: GateFiles) -> Result<Self, GateError> {
        let consent = files.consent.as_deref().ok_or(GateError::NoConsents)?;
        let register = Mutex::new(hold(consent)?);
        let policy = match &files.policy {
            Some(path) => {
                let bytes = read("policy", path)?;
                let sha256 = books::sha256_of(&bytes);
                read_policy(&path.display().to_string(), &bytes, sha256).map_err(wrong("policy", path))?
            }
            None => Policy::built_in(),
        };
        let bytes = read("sites", &files.sites)?;
        let sites =
            read_sites(&files.sites.display().to_string(), &bytes).map_err(wrong("sites", &files.sites))?;
        let site = files.site.clone().ok_or(GateError::NoSite)?;
        Ok(Gate { files, policy, sites, site, actor: actor(), register })
    }

    /// The gate of a bundle's worker, which sees no files of the programme: it knows what the bundle's standing says, and
    /// nothing else.
    pub fn carried(knowledge: CarriedKnowledge, site: &str) -> Self {
        let CarriedKnowledge { register, policy, sites, purpose, disease, .. } = knowledge;
        Gate {
            files: GateFiles { site: Some(site.to_owned()), purpose, disease, ..GateFiles::default() },
            policy,
            sites,
            site: site.to_owned(),
            actor: actor(),
            register: Mutex::new(Held { stamp: None, register: Arc::new(register) }),
        }
    }

    /// Takes a newer register from a newer standing. Rules and sites stay as they were: leases under other rules are
    /// refused.
    pub fn renew(&self, register: Register) {
        let mut held = self.register.lock().unwrap_or_else(PoisonError::into_inner);
        if register.epoch() >= held.register.epoch() {
            held.register = Arc::new(register);
        }
    }

    /// A permit, decided now; or every reason why not.
    pub fn permit(&self, action: Action, class: DataClass, subjects: &[Subject]) -> Result<Permit, Failure> {
        let register = self.register()?;
        Ok(self.ask(&register, action, class, subjects)?)
    }

    /// What [`Gate::permit`] says; what was decided of each sample is in a vault's log before this returns, with the keyed
    /// hash of its participant's code that `participant_h` knows.
    pub fn permit_in(
        &self,
        log: &AuditLog,
        caller: &Caller,
        (action, class): (Action, DataClass),
        subjects: &[Subject],
        participant_h: impl Fn(&Subject) -> Digest,
    ) -> Result<Permit, Failure> {
        let register = self.register()?;
        let decided = self.ask(&register, action, class, subjects);
        for subject in subjects {
            let (name, outcome) = match &decided {
                Ok(_) => (EventName::PolicyPermit, Outcome::Ok),
                Err(_) => (EventName::PolicyDeny, Outcome::Refused),
            };
            let reasons = decided.as_ref().err().map(|denial| denial.reasons_for(&subject.sample));
            let event = Event {
                actor: caller.actor.clone(),
                tool: caller.tool.clone(),
                job: caller.job.clone(),
                object: event::Object { class: Some(class), ..event::Object::default() },
                participant_h: Some(participant_h(subject).to_string()),
                consent_epoch: Some(register.epoch()),
                reasons: reasons.iter().flatten().map(ToString::to_string).collect(),
                policy_sha256: Some(self.policy.sha256.clone()),
                ..Event::new(name, outcome)
            };
            let event = event.with("action", action.name()).with("sample", subject.sample.as_str());
            log.append(event, now())?;
        }
        Ok(decided?)
    }

    /// What [`Gate::permit`] says, by this register and with the denial as a value.
    pub fn ask(
        &self,
        register: &Register,
        action: Action,
        class: DataClass,
        subjects: &[Subject],
    ) -> Result<Permit, Denial> {
        self.ask_at(&self.site, register, action, class, subjects)
    }

    /// What [`Gate::ask`] says, of another site of the registry.
    pub fn ask_at(
        &self,
        site: &str,
        register: &Register,
        action: Action,
        class: DataClass,
        subjects: &[Subject],
    ) -> Result<Permit, Denial> {
        let question = Question {
            action,
            actor: &self.actor,
            subjects,
            purpose: self.files.purpose,
            disease: self.files.disease.as_deref(),
            class,
            site,
            now: now(),
        };
        jobs::policy::decide(&question, self.knowledge(register))
    }

    /// What a bundle for `site` carries, so that it can be decided again there: consents of these subjects alone.
    pub fn excerpt(
        &self,
        site: &str,
        register: &Register,
        subjects: &BTreeMap<u32, Subject>,
    ) -> CarriedKnowledge {
        let of = |subject: &Subject| register.records.get_key_value(&subject.participant);
        let records = subjects.values().filter_map(of).map(|(who, record)| (who.clone(), record.clone()));
        CarriedKnowledge {
            register: Register { records: records.collect(), as_of: register.as_of },
            policy: self.policy.clone(),
            sites: self
                .sites
                .iter()
                .filter(|(id, _)| *id == site)
                .map(|(id, s)| (id.clone(), s.clone()))
                .collect(),
            purpose: self.files.purpose,
            disease: self.files.disease.clone(),
            subjects: subjects.clone(),
        }
    }

    /// What is known, with this register.
    pub fn knowledge<'a>(&'a self, register: &'a Register) -> Knowledge<'a> {
        Knowledge { register, policy: &self.policy, sites: &self.sites }
    }

    /// The register as it is on disk: read again when the file changed.
    pub fn register(&self) -> Result<Arc<Register>, GateError> {
        let mut held = self.register.lock().unwrap_or_else(PoisonError::into_inner);
        // Only the gate of a bundle has no file; its register was carried there.
        let Some(path) = self.files.consent.as_deref() else { return Ok(Arc::clone(&held.register)) };
        if stamp(path) != held.stamp {
            let newer = hold(path)?;
            if newer.register.epoch() < held.register.epoch() {
                return Err(GateError::Older { path: path.to_owned() });
            }
            *held = newer;
        }
        Ok(Arc::clone(&held.register))
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Where this machine stands.
    pub fn site(&self) -> &str {
        &self.site
    }

    /// What data is used for.
    pub fn purpose(&self) -> Option<Purpose> {
        self.files.purpose
    }

    /// The account that runs this program.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }
}

fn hold(path: &Path) -> Result<Held, GateError> {
    // Stamped first: a file that changes while it is read is read again.
    let stamp = stamp(path);
    let bytes = read("consents", path)?;
    let register = read_register(&path.display().to_string(), &bytes).map_err(wrong("consents", path))?;
    Ok(Held { stamp, register: Arc::new(register) })
}

/// Which file it is, and everything that changes when it is written.
fn stamp(path: &Path) -> Option<(u64, u64, u64, i64, i64)> {
    let file = std::fs::metadata(path).ok()?;
    Some((file.dev(), file.ino(), file.len(), file.ctime(), file.ctime_nsec()))
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, GateError> {
    let unreadable = |source| GateError::Unreadable { what, path: path.to_owned(), source };
    books::read_at_most(path, FILE_BYTES_MAX).map_err(unreadable)
}

fn wrong(what: &'static str, path: &Path) -> impl Fn(Vec<Diagnostic>) -> GateError {
    let path = path.to_owned();
    move |diagnostics| GateError::Wrong { what, path: path.clone(), diagnostics }
}

/// The account that runs this program, as the system knows it.
fn actor() -> Actor {
    Actor {
        sub: format!("uid:{}", rustix::process::getuid().as_raw()),
        org: String::new(),
        role: "operator".to_owned(),
    }
}
