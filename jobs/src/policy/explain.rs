//! Answers of the policy check for people: by sample a permit with its grounds or every reason with what would help, and
//! at which other sites how many samples might go on.
//!
//! Invariant: every line is an answer of [`super::decide`]; nothing is decided here, and no permit leaves.

use super::denial::aligned;
use super::{Action, DataClass, Grounds, Knowledge, Purpose, Question, Reason, decide};
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What the check says of each sample of a question.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Explanation {
    /// The act.
    pub action: Action,
    /// The class of data.
    pub class: DataClass,
    /// The purpose, where somebody said it.
    pub purpose: Option<Purpose>,
    /// The site.
    pub site: String,
    /// When the question was asked.
    pub now: Timestamp,
    /// When the register was last confirmed.
    pub register_as_of: Timestamp,
    /// Version of the policy.
    pub policy: String,
    /// Reasons that hold for all samples.
    pub general: Vec<Obstacle>,
    /// The samples, in the question's order.
    pub samples: Vec<SampleAnswer>,
    /// Samples that would be permitted, by every site that is known.
    pub permitted_by_site: BTreeMap<String, usize>,
}

/// What the check says of one sample.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SampleAnswer {
    /// The sample.
    pub sample: String,
    /// Whether it is permitted.
    pub permitted: bool,
    /// On what a permit rests.
    pub grounds: Option<Grounds>,
    /// What whoever uses the data must do.
    pub obligations: BTreeSet<String>,
    /// The sample's own reasons against.
    pub reasons: Vec<Obstacle>,
    /// The form that was signed, whether it is enough or not.
    pub icf: Option<String>,
}

/// A reason with what there is to say of it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Obstacle {
    /// The reason.
    pub reason: String,
    /// The error of the programme's table.
    pub error: &'static str,
    /// What would have to be otherwise.
    pub helps: String,
}

impl From<&Reason> for Obstacle {
    fn from(reason: &Reason) -> Self {
        Obstacle { reason: reason.code().to_owned(), error: reason.error_code(), helps: reason.helps() }
    }
}

/// Asks the question for every sample by itself, here and at every other site.
pub fn explain(question: &Question<'_>, knowledge: Knowledge<'_>) -> Explanation {
    let together = decide(question, knowledge).err().unwrap_or_default();
    let own = |at: usize| Question { subjects: &question.subjects[at..=at], ..question.clone() };
    let samples = question.subjects.iter().enumerate().map(|(at, subject)| {
        // Asked together, samples can stand against each other.
        let reasons = together.samples.get(&subject.sample).into_iter().flatten().map(Obstacle::from);
        let reasons: Vec<_> = reasons.collect();
        let permit = decide(&own(at), knowledge).ok().filter(|_| reasons.is_empty());
        SampleAnswer {
            sample: subject.sample.clone(),
            permitted: permit.is_some(),
            obligations: permit.as_ref().map(|permit| permit.obligations().clone()).unwrap_or_default(),
            grounds: permit.and_then(|permit| permit.grounds().get(&subject.sample).cloned()),
            reasons,
            icf: knowledge.register.records.get(&subject.participant).and_then(|record| record.icf.clone()),
        }
    });
    let permitted_at = |site: &String| {
        let denial = decide(&Question { site, ..question.clone() }, knowledge).err().unwrap_or_default();
        question.subjects.iter().filter(|subject| !denial.is_denied_for(&subject.sample)).count()
    };
    Explanation {
        action: question.action,
        class: question.class,
        purpose: question.purpose,
        site: question.site.to_owned(),
        now: question.now,
        register_as_of: knowledge.register.as_of,
        policy: knowledge.policy.version.clone(),
        general: together.general.iter().map(Obstacle::from).collect(),
        samples: samples.collect(),
        permitted_by_site: knowledge.sites.keys().map(|site| (site.clone(), permitted_at(site))).collect(),
    }
}

/// A sentence, the table, and what other sites would say.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let permitted = self.samples.iter().filter(|sample| sample.permitted).count();
        let purpose = self.purpose.map_or("no purpose", Purpose::name);
        let count = self.samples.len();
        let Explanation { action, class, site, register_as_of, policy, .. } = self;
        writeln!(f, "{action} of {class} at {site} for {purpose}: {permitted} of {count} samples permitted")?;
        writeln!(f, "register confirmed {register_as_of}, policy {policy}\n")?;
        let header = ["sample", "verdict", "reason", "error", "what would help"].map(str::to_owned);
        let general = self.general.iter().map(|obstacle| obstacle.row("(all)"));
        let rows = self.samples.iter().flat_map(SampleAnswer::rows);
        let rows: Vec<_> = std::iter::once(header).chain(general).chain(rows).collect();
        f.write_str(&aligned(&rows))?;
        let others = self.permitted_by_site.iter().filter(|(other, count)| *other != site && **count > 0);
        let others: Vec<String> = others.map(|(other, count)| format!("{other} {count}")).collect();
        match others[..] {
            [] => Ok(()),
            _ => write!(f, "\n\nsamples permitted at other sites: {}", others.join(", ")),
        }
    }
}

impl SampleAnswer {
    fn rows(&self) -> Vec<[String; 5]> {
        let Some(grounds) = &self.grounds else {
            return self.reasons.iter().map(|obstacle| obstacle.row(&self.sample)).collect();
        };
        let mut rests = format!("{} in {}", grounds.item, joined(&grounds.jurisdictions));
        rests += &format!(" by consent {} version {}", grounds.consent, grounds.version);
        // Behind `#` stands the form's digest, which is for machines.
        if let Some(icf) = self.icf.as_deref().and_then(|icf| icf.split('#').next()) {
            rests += &format!(", form {icf}");
        }
        if !self.obligations.is_empty() {
            rests += &format!("; {}", joined(&self.obligations));
        }
        vec![[self.sample.clone(), "permit".to_owned(), String::new(), String::new(), rests]]
    }
}

impl Obstacle {
    fn row(&self, sample: &str) -> [String; 5] {
        [sample, "deny", &self.reason, self.error, &self.helps].map(str::to_owned)
    }
}

fn joined(texts: &BTreeSet<String>) -> String {
    texts.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}
