//! Data use conditions in the terms of the GA4GH Data Use Ontology, release v2021-02-23
//! (<https://github.com/EBISPOT/DUO>; Lawson et al., Cell Genomics 2021, doi:10.1016/j.xgen.2021.100028).
//!
//! Invariant: exactly one permission says what data is for, modifiers only narrow it; an unknown code, a wrong number of
//! permissions or an argument that is none denies. Modifiers are never subsumed, though the ontology lists NPU and
//! NCU below NPUNCU. Every reason is found, and the obligations are listed beside a denial too. No clock: the date of a
//! publication moratorium is an obligation.

use super::reason::{Code, Reason};
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// What somebody wants to do with data. `None` is not known, which no condition accepts.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The use.
    pub intent: Intent<'a>,
    /// Whether the applicant's organisation is known to be non-profit.
    pub non_profit: bool,
    /// Whether the use is commercial.
    pub commercial: bool,
    /// Country of the use (ISO 3166 alpha-2).
    pub country: Option<&'a str>,
    /// Number of an ethics approval.
    pub ethics: Option<&'a str>,
    /// The applicant's institution.
    pub institution: Option<&'a str>,
    /// The applicant.
    pub user: Option<&'a str>,
    /// The project.
    pub project: Option<&'a str>,
    /// Length of the use in months.
    pub months: Option<u64>,
    /// Obligations the applicant accepts: of [`Term::Pub`], [`Term::Col`], [`Term::Rtn`].
    pub accepts: &'a [Term],
    /// Whether the study is genetic.
    pub genetic: bool,
}

/// A use as DUO divides uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent<'a> {
    /// General research.
    Gru,
    /// Health, medical, biomedical research.
    Hmb,
    /// Research on a disease, a MONDO id ([`is_disease`]).
    Ds(&'a str),
    /// Population origins or ancestry.
    Poa,
    /// Methods development.
    Mds,
    /// Clinical care.
    Cc,
}

impl Intent<'_> {
    fn label(self) -> &'static str {
        match self {
            Intent::Gru => "GRU",
            Intent::Hmb => "HMB",
            Intent::Ds(_) => "DS",
            Intent::Poa => "POA",
            Intent::Mds => "MDS",
            Intent::Cc => "CC",
        }
    }
}

/// Reasons against a request, and what follows if there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Why not.
    pub reasons: BTreeSet<Reason>,
    /// What whoever uses the data must do: `must_PUB`, `no_publication_before=2027-01-01`.
    pub obligations: BTreeSet<String>,
}

/// Holds a request against the codes of a consent, `CODE[=value[+value..]]` each.
///
/// A code whose values are not what it takes is named by `DUO_ARGUMENT` and otherwise taken as it stands.
pub fn evaluate(codes: &[String], request: &Request<'_>, diseases: &Diseases) -> Answer {
    let mut answer = Answer::default();
    let mut conditions = Vec::new();
    for written in codes {
        let (code, values) = split(written);
        let Some((term, shape)) = term(code) else {
            answer.reasons.insert(Reason::about(Code::DuoUnknown, printable(code)));
            continue;
        };
        if !shape.fits(&values) {
            answer.reasons.insert(Reason::about(Code::DuoArgument, code));
        }
        conditions.push((term, values));
    }
    let clinical_care = conditions.iter().any(|(term, _)| *term == Term::Cc);
    match conditions.iter().filter(|(term, _)| term.is_permission()).collect::<Vec<_>>()[..] {
        [(permission, values)] => {
            let covered = covers(*permission, values, clinical_care, request.intent, diseases);
            let short = format!("{}<{}", permission.label(), request.intent.label());
            answer.deny_if(!covered, Reason::about(Code::Purpose, short));
        }
        _ => answer.deny_if(true, Reason::plain(Code::DuoPermissionCount)),
    }
    for (term, values) in &conditions {
        restrict(*term, values, request, &mut answer);
    }
    answer
}

/// Whether the permission covers the use.
fn covers(
    permission: Term,
    values: &[&str],
    clinical_care: bool,
    intent: Intent<'_>,
    known: &Diseases,
) -> bool {
    match (permission, intent) {
        (Term::Nres, _) => true,
        (_, Intent::Cc) => clinical_care,
        (Term::Gru, _) | (_, Intent::Mds) => true,
        (Term::Hmb, Intent::Hmb | Intent::Ds(_)) | (Term::Poa, Intent::Poa) => true,
        (Term::Ds, Intent::Ds(disease)) => values.iter().any(|value| known.is_a(disease, value)),
        _ => false,
    }
}

/// What one modifier adds to the answer.
fn restrict(term: Term, values: &[&str], request: &Request<'_>, answer: &mut Answer) {
    let among = |asked: Option<&str>| asked.is_some_and(|asked| !asked.is_empty() && values.contains(&asked));
    match term {
        Term::Nres | Term::Gru | Term::Hmb | Term::Ds | Term::Poa | Term::Cc => {}
        Term::Rs => answer.deny_if(true, Reason::about(Code::Human, "RS")),
        Term::Nmds => answer.deny_if(request.intent == Intent::Mds, Reason::plain(Code::Nmds)),
        Term::Gso => answer.deny_if(!request.genetic, Reason::plain(Code::Gso)),
        Term::Npuncu => {
            answer.deny_if(!request.non_profit, Reason::about(Code::Npuncu, "org"));
            answer.deny_if(request.commercial, Reason::about(Code::Npuncu, "use"));
        }
        Term::Pub => answer.oblige(term, Code::Pub, request),
        Term::Col => answer.oblige(term, Code::Col, request),
        Term::Irb => answer.deny_if(request.ethics.is_none_or(str::is_empty), Reason::plain(Code::Irb)),
        Term::Gs => answer.deny_if(!among(request.country), Reason::plain(Code::Gs)),
        Term::Mor => {
            let dates = values.iter().filter(|date| is_date(date));
            answer.obligations.extend(dates.map(|date| format!("no_publication_before={date}")));
        }
        Term::Ts => answer.deny_if(!within(request.months, values), Reason::plain(Code::Ts)),
        Term::Us => answer.deny_if(!among(request.user), Reason::plain(Code::Us)),
        Term::Ps => answer.deny_if(!among(request.project), Reason::plain(Code::Ps)),
        Term::Is => answer.deny_if(!among(request.institution), Reason::plain(Code::Is)),
        Term::Rtn => answer.oblige(term, Code::Rtn, request),
        Term::Npoa => answer.deny_if(request.intent == Intent::Poa, Reason::plain(Code::Npoa)),
        Term::Npu => answer.deny_if(!request.non_profit, Reason::plain(Code::Npu)),
        Term::Ncu => answer.deny_if(request.commercial, Reason::plain(Code::Ncu)),
    }
}

impl Answer {
    fn deny_if(&mut self, denied: bool, reason: Reason) {
        if denied {
            self.reasons.insert(reason);
        }
    }

    /// An obligation that is accepted binds; one that is not denies.
    fn oblige(&mut self, term: Term, code: Code, request: &Request<'_>) {
        if request.accepts.contains(&term) {
            self.obligations.insert(format!("must_{}", term.label()));
        } else {
            self.reasons.insert(Reason::plain(code));
        }
    }
}

/// A code and the values behind it.
fn split(written: &str) -> (&str, Vec<&str>) {
    match written.split_once('=') {
        Some((code, values)) => (code, values.split('+').collect()),
        None => (written, Vec::new()),
    }
}

/// A foreign text as far as a line of a log may repeat it.
fn printable(text: &str) -> String {
    text.chars().take(24).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}

/// Declares the terms with their abbreviations and accessions, and what values they take.
macro_rules! terms {
    ($($(#[$doc:meta])* $term:ident = $label:literal $code:literal $shape:ident,)+) => {
        /// A term of the ontology.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Term {
            $($(#[$doc])* $term,)+
        }

        impl Term {
            /// DUO's abbreviation, such as `HMB`.
            pub const fn label(self) -> &'static str {
                match self {
                    $(Term::$term => $label,)+
                }
            }
        }

        /// The term of an accession, and the values it takes.
        fn term(code: &str) -> Option<(Term, Shape)> {
            // The ontology file writes NPOA once with eight digits.
            match if code == "DUO:00000044" { "DUO:0000044" } else { code } {
                $($code => Some((Term::$term, Shape::$shape)),)+
                _ => None,
            }
        }
    };
}

terms! {
    /// No restriction.
    Nres = "NRES" "DUO:0000004" Nothing,
    /// General research use.
    Gru = "GRU" "DUO:0000042" Nothing,
    /// Health, medical or biomedical research.
    Hmb = "HMB" "DUO:0000006" Nothing,
    /// Disease-specific research.
    Ds = "DS" "DUO:0000007" Diseases,
    /// Population origins or ancestry research only.
    Poa = "POA" "DUO:0000011" Nothing,
    /// Research-specific restrictions, in words: a person decides.
    Rs = "RS" "DUO:0000012" Anything,
    /// No general methods research.
    Nmds = "NMDS" "DUO:0000015" Nothing,
    /// Genetic studies only.
    Gso = "GSO" "DUO:0000016" Nothing,
    /// Non-profit organisations, non-commercial use.
    Npuncu = "NPUNCU" "DUO:0000018" Nothing,
    /// Publication required.
    Pub = "PUB" "DUO:0000019" Nothing,
    /// Collaboration required.
    Col = "COL" "DUO:0000020" Nothing,
    /// Ethics approval required.
    Irb = "IRB" "DUO:0000021" Nothing,
    /// Geographical restriction.
    Gs = "GS" "DUO:0000022" Countries,
    /// Publication moratorium.
    Mor = "MOR" "DUO:0000024" Date,
    /// Time limit on use, in months.
    Ts = "TS" "DUO:0000025" Months,
    /// User-specific.
    Us = "US" "DUO:0000026" Names,
    /// Project-specific.
    Ps = "PS" "DUO:0000027" Names,
    /// Institution-specific.
    Is = "IS" "DUO:0000028" Names,
    /// Return of results to the resource.
    Rtn = "RTN" "DUO:0000029" Nothing,
    /// Clinical care use.
    Cc = "CC" "DUO:0000043" Nothing,
    /// Population origins or ancestry research prohibited.
    Npoa = "NPOA" "DUO:0000044" Nothing,
    /// Non-profit organisations.
    Npu = "NPU" "DUO:0000045" Nothing,
    /// Non-commercial use.
    Ncu = "NCU" "DUO:0000046" Nothing,
}

impl Term {
    fn is_permission(self) -> bool {
        matches!(self, Term::Nres | Term::Gru | Term::Hmb | Term::Ds | Term::Poa)
    }
}

/// The values a term takes.
#[derive(Clone, Copy)]
enum Shape {
    Nothing,
    Anything,
    /// One or more.
    Diseases,
    /// One or more.
    Countries,
    /// One or more.
    Names,
    /// One.
    Date,
    /// One.
    Months,
}

impl Shape {
    fn fits(self, values: &[&str]) -> bool {
        let some = |is: fn(&str) -> bool| !values.is_empty() && values.iter().all(|value| is(value));
        match self {
            Shape::Nothing => values.is_empty(),
            Shape::Anything => true,
            Shape::Diseases => some(is_disease),
            Shape::Countries => some(is_country),
            Shape::Names => some(|name| !name.is_empty()),
            Shape::Date => values.len() == 1 && some(is_date),
            Shape::Months => values.len() == 1 && some(|value| months(value).is_some()),
        }
    }
}

/// Whether a text is a MONDO id: `MONDO:` and seven digits.
pub fn is_disease(text: &str) -> bool {
    let digits = text.strip_prefix("MONDO:").unwrap_or_default();
    digits.len() == 7 && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_country(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn is_date(text: &str) -> bool {
    Timestamp::day_begins(text, 0).is_some()
}

/// A number of months: digits and nothing else.
fn months(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether a use of so many months ends within the one limit.
fn within(asked: Option<u64>, values: &[&str]) -> bool {
    match (asked, values) {
        (Some(asked), [limit]) => months(limit).is_some_and(|limit| asked <= limit),
        _ => false,
    }
}

/// Which disease is a kind of which, of the MONDO Disease Ontology (<https://mondo.monarchinitiative.org>).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diseases {
    parents: BTreeMap<String, BTreeSet<String>>,
}

impl Diseases {
    /// The relation of these (kind, of what) pairs and all that follows from them.
    pub fn new<'p>(pairs: impl IntoIterator<Item = (&'p str, &'p str)>) -> Self {
        let mut parents: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (kind, of) in pairs {
            parents.entry(kind.to_owned()).or_default().insert(of.to_owned());
        }
        Diseases { parents }
    }

    /// The part of MONDO the programme has settled on. Any other disease is a kind of itself alone.
    pub fn built_in() -> Self {
        const CANCER: &str = "MONDO:0004992";
        const LUNG_CANCER: &str = "MONDO:0008903";
        const NON_SMALL_CELL_LUNG_CARCINOMA: &str = "MONDO:0005233";
        const EXOCRINE_PANCREATIC_CARCINOMA: &str = "MONDO:0005192";
        Diseases::new([
            (EXOCRINE_PANCREATIC_CARCINOMA, CANCER),
            (LUNG_CANCER, CANCER),
            (NON_SMALL_CELL_LUNG_CARCINOMA, LUNG_CANCER),
        ])
    }

    /// Whether the disease is the other one or a descendant of it. A relation that runs in circles is walked once.
    pub fn is_a(&self, disease: &str, ancestor: &str) -> bool {
        let mut seen = BTreeSet::from([disease]);
        let mut ahead = vec![disease];
        while let Some(at) = ahead.pop() {
            if at == ancestor {
                return true;
            }
            let parents = self.parents.get(at).into_iter().flatten();
            ahead.extend(parents.map(String::as_str).filter(|parent| seen.insert(parent)));
        }
        false
    }
}
