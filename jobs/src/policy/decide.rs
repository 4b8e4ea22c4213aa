//! The decision itself.
//!
//! Invariant: pure; every reason is found; what is missing counts as no. It is asked wherever data is about to move, and
//! again where a lease arrives, so it never relies on an earlier answer.

use super::consent::{self, Need};
use super::duo::{self, Diseases, Intent, Request};
use super::reason::{Code, Reason};
use super::{Denial, Grounds, Knowledge, Permit, Purpose, Question, placement};
use crate::consent::ConsentRecord;
use crate::site::Site;
use std::collections::{BTreeMap, BTreeSet};

/// Permits the act on every sample of the question, or says every reason against.
///
/// Consent is needed for the purpose's item ([`Purpose::item`]) and the site's country. The site must be known, have the
/// role for the act, a level at least that of the data, and an attestation. For research, the data use codes of a
/// record that has any are held against the question too; care and quality assurance rest on the consent item alone,
/// because DUO describes secondary use and would need the modifier CC in every record to let a patient have their own
/// findings. In DUO's terms a question is disease-specific where it names a disease, else biomedical; genetic always;
/// research with industry is commercial and not non-profit, academic research the opposite; the institution is the
/// actor's, the user the actor. A question carries no ethics approval, project, length or accepted obligations, so
/// conditions on those deny.
///
/// A permit holds for the policy's lease time, and never longer than what it rests on: the consents, the register's
/// freshness, the site's attestation.
pub fn decide(question: &Question<'_>, knowledge: Knowledge<'_>) -> Result<Permit, Denial> {
    let Knowledge { register, policy, sites } = knowledge;
    let site = sites.get(question.site);
    let mut denial = Denial { general: general_reasons(question, knowledge, site), ..Denial::default() };
    let need = Need {
        item: question.purpose.map(Purpose::item),
        country: site.map(|site| site.jurisdiction.as_str()),
        now: question.now,
        as_of: register.as_of,
        home: &policy.default_jurisdictions,
        max_age_hours: policy.consent_max_age_hours,
    };
    let request = research_request(question, site);
    let diseases = Diseases::built_in();
    let mut ends = vec![question.now.plus_seconds(policy.lease_ttl_seconds.into()), need.stale_from()];
    ends.extend(site.and_then(|site| site.attested_until));
    let mut grounds = BTreeMap::new();
    let mut obligations = BTreeSet::new();
    let conflicts = conflicts(question);
    for subject in question.subjects {
        let record = register.records.get(&subject.participant);
        let mut reasons = consent::evaluate(record, &need);
        if conflicts.contains(subject.sample.as_str()) {
            reasons.insert(Reason::plain(Code::SubjectConflict));
        }
        if let (Some(request), Some(record)) = (&request, record.filter(|record| !record.duo.is_empty())) {
            let mut answer = duo::evaluate(&record.duo, request, &diseases);
            reasons.append(&mut answer.reasons);
            obligations.append(&mut answer.obligations);
        }
        if !reasons.is_empty() {
            denial.samples.entry(subject.sample.clone()).or_default().append(&mut reasons);
        } else if let (Some(record), Some(item)) = (record, need.item) {
            ends.extend(consent::holds_until(record));
            grounds.insert(subject.sample.clone(), grounds_of(record, item, &need));
        }
    }
    match (question.purpose, ends.into_iter().min()) {
        (Some(purpose), Some(expires)) if denial == Denial::default() => Ok(Permit {
            action: question.action,
            class: question.class,
            purpose,
            site: question.site.to_owned(),
            grounds,
            epoch: register.epoch(),
            policy_sha256: policy.sha256.clone(),
            obligations,
            expires,
        }),
        _ => Err(denial),
    }
}

/// Reasons that lie in the question and the site, whosever data it is.
fn general_reasons(
    question: &Question<'_>,
    knowledge: Knowledge<'_>,
    site: Option<&Site>,
) -> BTreeSet<Reason> {
    let mut codes = Vec::new();
    if question.subjects.is_empty() {
        codes.push(Code::NoSubject);
    }
    if question.purpose.is_none() {
        codes.push(Code::PurposeMissing);
    }
    let is_research = question.purpose.is_some_and(is_research);
    if is_research && question.disease.is_some_and(|disease| !duo::is_disease(disease)) {
        codes.push(Code::DiseaseInvalid);
    }
    let mut reasons: BTreeSet<Reason> = codes.into_iter().map(Reason::plain).collect();
    let Some(site) = site else {
        reasons.insert(Reason::plain(Code::SiteUnknown));
        return reasons;
    };
    if question.action.role().is_none_or(|role| !site.roles.contains(role)) {
        reasons.insert(Reason::plain(Code::SiteRole));
    }
    let level = knowledge.policy.levels.get(&question.class).copied();
    reasons.extend(placement::site_reasons(site, level, question.now));
    reasons
}

fn is_research(purpose: Purpose) -> bool {
    match purpose {
        Purpose::Research | Purpose::ResearchIndustry => true,
        Purpose::ClinicalReturn | Purpose::Qa => false,
    }
}

/// The question in DUO's terms, if it is one for DUO.
fn research_request<'a>(question: &Question<'a>, site: Option<&'a Site>) -> Option<Request<'a>> {
    let purpose = question.purpose.filter(|purpose| is_research(*purpose))?;
    let commercial = purpose == Purpose::ResearchIndustry;
    Some(Request {
        intent: question.disease.map_or(Intent::Hmb, Intent::Ds),
        non_profit: !commercial,
        commercial,
        country: site.map(|site| site.jurisdiction.as_str()),
        ethics: None,
        institution: Some(&question.actor.org),
        user: Some(&question.actor.sub),
        project: None,
        months: None,
        accepts: &[],
        genetic: true,
    })
}

/// Samples that are said to be two persons'.
fn conflicts<'q>(question: &Question<'q>) -> BTreeSet<&'q str> {
    let mut owners = BTreeMap::new();
    let subjects = question.subjects.iter();
    let conflicting = subjects.filter(|subject| {
        *owners.entry(subject.sample.as_str()).or_insert(&subject.participant) != &subject.participant
    });
    conflicting.map(|subject| subject.sample.as_str()).collect()
}

fn grounds_of(record: &ConsentRecord, item: &str, need: &Need<'_>) -> Grounds {
    Grounds {
        consent: record.id.clone(),
        version: record.version,
        icf: record.icf.clone(),
        item: item.to_owned(),
        jurisdictions: consent::jurisdictions(record, need.home),
    }
}
