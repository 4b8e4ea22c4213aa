//! Who may be in a job: the gate is asked once for all samples, before anything is read.
//!
//! Invariant: a sample that is denied is either the end of the whole cohort or left out of it, with every reason in the
//! audit log, the ledger and the report; never silently in, never silently out.

use super::books;
use super::trail::Trail;
use crate::gate::Gate;
use crate::output::note;
use jobs::cohort::{Cohort, Sample};
use jobs::consent::Register;
use jobs::event::{Event, EventName, Outcome};
use jobs::failure::Failure;
use jobs::policy::{Action, DataClass, Denial, OnDenied, Reason, Subject};
use std::collections::{BTreeMap, BTreeSet};

/// A sample that was left out, and why.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Excluded {
    /// The sample.
    pub sample: String,
    /// Every reason, as the audit log spells it.
    pub reasons: Vec<String>,
    /// What would help, for people; the reasons say as much.
    #[serde(skip)]
    pub helps: Vec<String>,
}

/// Who would be left out of the cohort; or why it is refused as a whole.
pub fn exclusions(gate: &Gate, cohort: &Cohort) -> Result<Vec<Excluded>, Failure> {
    let register = gate.register()?;
    exclude(gate, cohort, denial(gate, &register, cohort))
}

/// Leaves in the cohort who may be in it, and says who was left out; or refuses. All of it stands in the audit log first.
pub fn admit(gate: &Gate, cohort: &mut Cohort, trail: &Trail) -> Result<Vec<Excluded>, Failure> {
    let register = gate.register()?;
    let denial = denial(gate, &register, cohort);
    let event = |name, outcome| Event { consent_epoch: Some(register.epoch()), ..trail.event(name, outcome) };
    let (denied, permitted): (Vec<Subject>, Vec<Subject>) =
        subjects(cohort).into_iter().partition(|subject| denial.is_denied_for(&subject.sample));
    let permit = gate.ask(&register, Action::Submit, DataClass::Fastq, &permitted).ok();
    let mut verdicts = BTreeMap::new();
    for subject in denied.iter().chain(&permitted) {
        let reasons: BTreeSet<Reason> = denial.reasons_for(&subject.sample).into_iter().cloned().collect();
        let permit = permit.as_ref().filter(|_| reasons.is_empty());
        trail.decided((Action::Submit, DataClass::Fastq), subject, register.epoch(), &reasons, permit)?;
        verdicts.insert(subject.sample.clone(), reasons.iter().map(ToString::to_string).collect::<Vec<_>>());
    }
    let verdicts = serde_json::to_vec(&verdicts).expect("plain data always prints");
    let digests = |event: Event| {
        let parameters = cohort.parameters.canonical();
        event
            .with("verdicts_sha256", books::sha256_of(&verdicts))
            .with("pipeline_sha256", books::sha256_of(parameters.as_bytes()))
    };
    let (submitted, refused) = (
        digests(event(EventName::JobSubmitted, Outcome::Ok)),
        digests(event(EventName::JobRefused, Outcome::Refused)),
    );
    let reasons = denial.reasons().iter().map(ToString::to_string).collect();
    let excluded = match exclude(gate, cohort, denial) {
        Ok(excluded) => excluded,
        Err(failure) => {
            trail.write(Event { reasons, ..refused })?;
            return Err(failure);
        }
    };
    for Excluded { sample, reasons, .. } in &excluded {
        note(&format!("left out, as the policy says: {sample}: {}", reasons.join(", ")));
        let event = event(EventName::JobSampleExcluded, Outcome::Refused);
        let own: Vec<_> = denied.iter().filter(|subject| subject.sample == *sample).cloned().collect();
        trail.write(trail.about(Event { reasons: reasons.clone(), ..event }, &own))?;
    }
    cohort.samples.retain(|sample| !excluded.iter().any(|one| one.sample == sample.sample));
    trail.write(submitted)?;
    Ok(excluded)
}

/// What stands against the cohort's samples; empty if nothing does.
pub fn denial(gate: &Gate, register: &Register, cohort: &Cohort) -> Denial {
    let asked = gate.ask(register, Action::Submit, DataClass::Fastq, &subjects(cohort));
    asked.err().unwrap_or_default()
}

/// The denied samples, where the cohort can do without them; the denial where it cannot.
fn exclude(gate: &Gate, cohort: &Cohort, denial: Denial) -> Result<Vec<Excluded>, Failure> {
    let on_denied = cohort.governance.on_denied_sample.unwrap_or(gate.policy().on_denied_sample);
    let may_exclude = on_denied == OnDenied::Exclude && denial.samples.len() < cohort.samples.len();
    if !denial.general.is_empty() || !(denial.samples.is_empty() || may_exclude) {
        return Err(denial.into());
    }
    let excluded = denial.samples.into_iter().map(|(sample, reasons)| Excluded {
        sample,
        reasons: reasons.iter().map(ToString::to_string).collect(),
        helps: reasons.iter().map(Reason::helps).collect(),
    });
    Ok(excluded.collect())
}

/// Everybody in a cohort.
pub fn subjects(cohort: &Cohort) -> Vec<Subject> {
    cohort.samples.iter().map(subject_of).collect()
}

/// One sample as the policy knows it.
pub fn subject_of(sample: &Sample) -> Subject {
    Subject { sample: sample.sample.clone(), participant: sample.participant.clone() }
}
