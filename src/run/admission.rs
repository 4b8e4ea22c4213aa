//! Who may be in a job: the gate is asked once for all samples, before anything is read.
//!
//! Invariant: a sample that is denied is either the end of the whole cohort or left out of it, with every reason in the
//! audit log, the ledger and the report; never silently in, never silently out.

use super::trail::Trail;
use crate::gate::Gate;
use crate::output::note;
use jobs::cohort::Cohort;
use jobs::event::{Event, EventName, Outcome};
use jobs::failure::Failure;
use jobs::policy::{Action, DataClass, Denial, OnDenied, Subject};
use std::collections::BTreeSet;

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

/// Leaves in the cohort who may be in it, and says who was left out; or refuses. `trail` is missing in a dry run.
pub fn admit(gate: &Gate, cohort: &mut Cohort, trail: Option<&Trail>) -> Result<Vec<Excluded>, Failure> {
    let register = gate.register()?;
    let (action, class) = (Action::Submit, DataClass::Fastq);
    let everybody = subjects(cohort);
    let denial = match gate.ask(&register, action, class, &everybody) {
        Ok(_) => Denial::default(),
        Err(denial) => denial,
    };
    if let Some(trail) = trail {
        for subject in &everybody {
            let own = denial.samples.get(&subject.sample).into_iter().flatten();
            let reasons: BTreeSet<_> = denial.general.iter().chain(own).cloned().collect();
            trail.decided(action, Some(subject), register.epoch(), &reasons)?;
        }
    }
    let event = |name, outcome| trail.map(|trail| trail.event(name, outcome));
    let write = |event: Option<Event>| match trail.zip(event) {
        Some((trail, event)) => trail.write(event),
        None => Ok(()),
    };
    let on_denied = cohort.governance.on_denied_sample.unwrap_or(gate.policy().on_denied_sample);
    let nobody_left = denial.samples.len() == everybody.len();
    let refused = !denial.general.is_empty()
        || nobody_left
        || (on_denied == OnDenied::Refuse && !denial.samples.is_empty());
    if refused {
        write(event(EventName::JobRefused, Outcome::Refused))?;
        return Err(denial.into());
    }
    let mut excluded = Vec::new();
    for (sample, reasons) in &denial.samples {
        let helps = reasons.iter().map(|reason| reason.helps()).collect();
        let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
        note(&format!("left out, as the policy says: {sample}: {}", reasons.join(", ")));
        let event = event(EventName::JobSampleExcluded, Outcome::Refused);
        write(
            event.map(|event| Event { reasons: reasons.clone(), ..event }.with("sample", sample.as_str())),
        )?;
        excluded.push(Excluded { sample: sample.clone(), reasons, helps });
    }
    cohort.samples.retain(|sample| !denial.samples.contains_key(&sample.sample));
    write(event(EventName::JobSubmitted, Outcome::Ok))?;
    Ok(excluded)
}

/// Everybody in a cohort.
pub fn subjects(cohort: &Cohort) -> Vec<Subject> {
    let samples = cohort.samples.iter();
    samples
        .map(|sample| Subject { sample: sample.sample.clone(), participant: sample.participant.clone() })
        .collect()
}
