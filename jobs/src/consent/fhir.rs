//! A register as a FHIR R4 Bundle of Consent resources (hl7.org/fhir/R4/consent.html), as the programme profiles it.
//!
//! Invariant: what grants is taken only if every limit beside it is understood; what refuses is taken as wide as it can
//! be read. So a deny wins wherever it stands, a default of permit names no item, and a record with a verification that
//! failed, or with a refusal that names nothing known, holds at no time. Resources of other types give nothing.

use super::date::{self, Edge};
use super::json::{self, Json, Node};
use super::words::{self, FOREIGN_USE, Problem};
use super::{Basis, ConsentRecord, Register, Status, Versions, pii};
use crate::diagnostic::{Findings, Source, did_you_mean};
use crate::time::Timestamp;
use std::collections::BTreeSet;

const PARTICIPANT: &str = "urn:gmj:participant";
const PERFORMER_ROLE: &str = "urn:gmj:performer-role";
const CONSENT_ITEM: &str = "urn:gmj:consent-item";
const ACTOR_ROLE: &str = "urn:gmj:actor-role";
const COUNTRY: &str = "urn:iso:std:iso:3166";
const DUO: &str = "http://purl.obolibrary.org/obo/duo.owl";

/// Members of R4's resources and backbone elements, beside `id` and `extension`, which may stand anywhere.
const BUNDLE: [&str; 10] = [
    "resourceType",
    "meta",
    "language",
    "identifier",
    "type",
    "timestamp",
    "total",
    "link",
    "entry",
    "signature",
];
const ENTRY: [&str; 6] = ["link", "fullUrl", "resource", "search", "request", "response"];
const CONSENT: [&str; 19] = [
    "resourceType",
    "meta",
    "language",
    "text",
    "contained",
    "identifier",
    "status",
    "scope",
    "category",
    "patient",
    "dateTime",
    "performer",
    "organization",
    "sourceAttachment",
    "sourceReference",
    "policy",
    "policyRule",
    "verification",
    "provision",
];
const PROVISION: [&str; 11] = [
    "type",
    "period",
    "actor",
    "action",
    "securityLabel",
    "purpose",
    "class",
    "code",
    "dataPeriod",
    "data",
    "provision",
];
/// Members of a provision that limit it in ways this reader does not weigh.
const LIMITS: [&str; 5] = ["action", "securityLabel", "class", "dataPeriod", "data"];

/// The register of a text; what is wrong with it goes to `found`.
pub(super) fn read(source: &Source<'_>, found: &mut Findings) -> Register {
    let Some(whole) = json::whole(source, found) else { return Register::default() };
    let mut reader = Reader { source, found };
    let Some(bundle) = json::members(whole) else {
        reader.wrong(0, "expected a Bundle of Consent resources", None);
        return Register::default();
    };
    json::check_keys(
        bundle.iter().map(|(key, raw)| (key.as_str(), json::offset(raw, source))),
        source,
        reader.found,
    );
    // Entries are read one at a time, so that a register of any size needs the memory of its records only.
    let (entries, head): (Vec<_>, Vec<_>) = bundle.into_iter().partition(|(key, _)| key == "entry");
    let head = head.into_iter().map(|(key, raw)| (key, Node::read(raw, source, reader.found))).collect();
    let head = Node { at: json::offset(whole, source), end: source.text().len(), json: Json::Object(head) };
    pii::scan(&head, source, reader.found);
    let as_of = reader.bundle(&head);
    let mut versions = Versions::new();
    for (_, raw) in entries {
        let Some(items) = json::items(raw) else {
            reader.wrong(json::offset(raw, source), "entry: expected a list", None);
            continue;
        };
        for raw in items {
            let entry = Node::read(raw, source, reader.found);
            pii::scan(&entry, source, reader.found);
            reader.entry(&entry, &mut versions);
        }
    }
    versions.register(as_of)
}

/// The text of a resource; two are equal if they are the same JSON, however it is laid out.
struct Content<'t>(&'t str);

impl PartialEq for Content<'_> {
    fn eq(&self, other: &Self) -> bool {
        let value = |text| serde_json::from_str::<serde_json::Value>(text).ok();
        self.0 == other.0 || value(self.0).is_some_and(|value_of| Some(value_of) == value(other.0))
    }
}

/// What the provisions of a consent come to.
#[derive(Default)]
struct Terms {
    permitted: BTreeSet<String>,
    denied: BTreeSet<String>,
    countries: BTreeSet<String>,
    countries_denied: BTreeSet<String>,
    duo: Vec<String>,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
    /// Something is refused that cannot be told apart from the rest.
    holds_never: bool,
}

/// What a provision inherits from those around it.
#[derive(Clone, Default)]
struct Around {
    items: BTreeSet<String>,
    /// It holds only under conditions that are not weighed here.
    limited: bool,
}

struct Reader<'r, 't> {
    source: &'r Source<'t>,
    found: &'r mut Findings,
}

impl<'t> Reader<'_, 't> {
    /// The head of the bundle: when the register was confirmed.
    fn bundle(&mut self, bundle: &Node) -> Timestamp {
        if self.text(bundle, "resourceType") != Some("Bundle") {
            self.wrong(bundle.at, "expected a resource of type Bundle", None);
        }
        self.only(bundle, &BUNDLE);
        if !matches!(self.text(bundle, "type"), Some("collection" | "searchset")) {
            let at = bundle.get("type").map_or(bundle.at, |node| node.at);
            self.wrong(at, "the bundle's type: expected collection or searchset", None);
        }
        for link in self.list(bundle, "link") {
            if link.get("relation").and_then(Node::text) == Some("next") {
                let hint = "fetch every page and send them as one bundle".to_owned();
                self.wrong(link.at, "the bundle is one page of several; withdrawals may be on others", hint);
            }
        }
        match bundle.get("timestamp") {
            Some(_) => self.time(bundle, "timestamp", date::instant).unwrap_or_default(),
            None => {
                let hint = "the bundle says in it when the register was confirmed".to_owned();
                self.wrong(bundle.at, "the bundle lacks timestamp", hint);
                Timestamp::default()
            }
        }
    }

    fn entry(&mut self, entry: &Node, versions: &mut Versions<Content<'t>>) {
        self.only(entry, &ENTRY);
        let Some(resource) = entry.get("resource") else {
            return self.wrong(entry.at, "the entry lacks resource", None);
        };
        match self.text(resource, "resourceType") {
            Some("Consent") => {
                let record = self.consent(resource);
                let content = Content(&self.source.text()[resource.at..resource.end]);
                if !record.id.is_empty() && !versions.insert(record, content) {
                    let message =
                        "E-FHIR-DUP: this version of the record stands here twice, with other content";
                    self.found.error(|| self.source.place(resource.at), message, None);
                }
            }
            Some(_) => {}
            None => self.wrong(resource.at, "the resource lacks resourceType", None),
        }
    }

    fn consent(&mut self, consent: &Node) -> ConsentRecord {
        self.only(consent, &CONSENT);
        let meta = self.object(consent, "meta");
        // hl7.org/fhir/R4/search.html#summary: a server left parts out, which may be refusals.
        for tag in meta.map_or(&[][..], |meta| self.list(meta, "tag")) {
            if tag.get("code").and_then(Node::text) == Some("SUBSETTED") {
                self.wrong(tag.at, "the consent is a summary; expected the whole resource", None);
            }
        }
        let status = self.needed(consent, "status", words::status).unwrap_or(Status::Draft);
        if self.list(consent, "policy").is_empty() && consent.get("policyRule").is_none() {
            self.wrong(consent.at, "the consent has neither policy nor policyRule (ppc-1)", None);
        }
        let mut terms = Terms::default();
        if let Some(provision) = self.object(consent, "provision") {
            self.provision(provision, true, &Around::default(), &mut terms);
        }
        let given = self.time(consent, "dateTime", |text| date::moment(text, Edge::Start));
        let verified = self.verified(consent);
        let holds = verified && !terms.holds_never;
        let items: BTreeSet<String> = terms.permitted.difference(&terms.denied).cloned().collect();
        let countries = terms.countries.difference(&terms.countries_denied).cloned();
        ConsentRecord {
            id: self
                .needed(consent, "id", |text| words::identifier("the id of the consent", text))
                .unwrap_or_default(),
            version: self.meta(consent, meta, "versionId", |meta, reader| {
                reader.needed(meta, "versionId", |text| {
                    let number = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
                    number.ok_or_else(|| {
                        ("E-FHIR-PROFILE: versionId: expected a whole number".to_owned(), None)
                    })
                })
            }),
            participant: self.participant(consent),
            status,
            start: terms.start.or(given).filter(|_| holds),
            end: terms.end,
            basis: self.basis(consent, status),
            foreign_countries: countries.filter(|_| items.contains(FOREIGN_USE)).collect(),
            items,
            duo: terms.duo,
            icf: self
                .list(consent, "policy")
                .iter()
                .find_map(|policy| self.text(policy, "uri"))
                .map(str::to_owned),
            updated: self.meta(consent, meta, "lastUpdated", |meta, reader| {
                reader.time(meta, "lastUpdated", date::instant)
            }),
        }
    }

    /// A member of `meta` without which nobody can say which word is the newest.
    fn meta<T: Default>(
        &mut self,
        consent: &Node,
        meta: Option<&Node>,
        key: &'static str,
        read: impl FnOnce(&Node, &mut Self) -> Option<T>,
    ) -> T {
        match meta.filter(|meta| meta.get(key).is_some()) {
            Some(meta) => read(meta, self).unwrap_or_default(),
            None => {
                self.wrong(meta.unwrap_or(consent).at, &format!("the consent lacks meta.{key}"), None);
                T::default()
            }
        }
    }

    fn participant(&mut self, consent: &Node) -> String {
        let Some(patient) = self.object(consent, "patient") else {
            self.wrong(consent.at, "the consent lacks patient", None);
            return String::new();
        };
        let identifier = self.object(patient, "identifier").filter(|node| is_of(node, PARTICIPANT));
        let Some(identifier) = identifier else {
            let message = format!("patient: expected an identifier of the system {PARTICIPANT}");
            self.wrong(patient.at, &message, None);
            return String::new();
        };
        let read = |text: &str| words::identifier("the participant", text);
        self.needed(identifier, "value", read).unwrap_or_default()
    }

    /// Who consented. A proxy among several counts, for as long as the shortest of them speaks.
    fn basis(&mut self, consent: &Node, status: Status) -> Basis {
        let mut basis = None;
        for performer in self.list(consent, "performer") {
            let Some(identifier) = self.object(performer, "identifier") else { continue };
            if !is_of(identifier, PERFORMER_ROLE) {
                continue;
            }
            match self.text(identifier, "value") {
                Some("self") => basis = basis.or(Some(Basis::Own)),
                Some("proxy") => {
                    let period = self.object(identifier, "period");
                    let end = |text: &str| date::moment(text, Edge::End);
                    let until = period.and_then(|period| self.time(period, "end", end));
                    let until = match basis {
                        Some(Basis::Proxy { until: Some(other) }) => Some(until.unwrap_or(other).min(other)),
                        _ => until,
                    };
                    basis = Some(Basis::Proxy { until });
                }
                _ => self.wrong(identifier.at, "the performer's role: expected self or proxy", None),
            }
        }
        if basis.is_none() && status == Status::Active {
            let message = format!("the consent lacks a performer with an identifier of {PERFORMER_ROLE}");
            self.wrong(consent.at, &message, "it says who consented: self or proxy".to_owned());
        }
        basis.unwrap_or(Basis::Own)
    }

    /// Whether no verification failed; none was needed where none is told of.
    fn verified(&mut self, consent: &Node) -> bool {
        let mut verified = true;
        for verification in self.list(consent, "verification") {
            match verification.get("verified").map(|node| &node.json) {
                Some(Json::Bool(yes)) => verified &= yes,
                _ => self.wrong(verification.at, "verification: expected verified to be true or false", None),
            }
        }
        verified
    }

    fn provision(&mut self, provision: &Node, root: bool, around: &Around, terms: &mut Terms) {
        self.only(provision, &PROVISION);
        let permits = match provision.get("type").map(Node::text) {
            Some(Some("permit")) => Some(true),
            Some(Some("deny")) => Some(false),
            // R4 lets the outermost provision go without; it grants nothing then.
            None if root => None,
            _ => {
                self.wrong(provision.at, "the provision's type: expected permit or deny", None);
                None
            }
        };
        let items = self.items(provision);
        let (countries, actors_known) = self.countries(provision);
        let (duo, purposes_known) = self.purposes(provision);
        let limited = around.limited
            || !actors_known
            || !purposes_known
            || LIMITS.iter().any(|limit| provision.get(limit).is_some());
        if root || permits == Some(true) {
            self.period(provision, terms);
            let new = duo.iter().filter(|code| !terms.duo.contains(code)).cloned().collect::<Vec<_>>();
            terms.duo.extend(new);
        }
        let abroad = items.contains(FOREIGN_USE);
        match permits {
            Some(true) if limited => {}
            Some(true) if countries.is_empty() => terms.permitted.extend(items.iter().cloned()),
            // Countries are weighed for use abroad only; elsewhere they are a limit.
            Some(true) if abroad => {
                terms.permitted.insert(FOREIGN_USE.to_owned());
                terms.countries.extend(countries.iter().cloned());
            }
            Some(false) if !countries.is_empty() && items.len() == usize::from(abroad) && actors_known => {
                terms.countries_denied.extend(countries.iter().cloned());
            }
            Some(false) if !items.is_empty() => terms.denied.extend(items.iter().cloned()),
            Some(false) if root => {}
            // An exception to what stands around it, or else to everything.
            Some(false) if !around.items.is_empty() => terms.denied.extend(around.items.iter().cloned()),
            Some(false) => terms.holds_never = true,
            Some(true) | None => {}
        }
        let within = Around {
            items: if items.is_empty() { around.items.clone() } else { items },
            limited: limited || !countries.is_empty(),
        };
        for nested in self.list(provision, "provision") {
            self.provision(nested, false, &within, terms);
        }
    }

    /// Narrows the time in which the consent holds to a provision's; a start is the latest of all, an end the earliest.
    fn period(&mut self, provision: &Node, terms: &mut Terms) {
        let Some(period) = self.object(provision, "period") else { return };
        let start = self.time(period, "start", |text| date::moment(text, Edge::Start));
        let end = self.time(period, "end", |text| date::moment(text, Edge::End));
        terms.start = terms.start.max(start);
        terms.end = [terms.end, end].into_iter().flatten().min();
    }

    fn items(&mut self, provision: &Node) -> BTreeSet<String> {
        let mut items = BTreeSet::new();
        for code in self.list(provision, "code") {
            for coding in self.list(code, "coding").iter().filter(|coding| is_of(coding, CONSENT_ITEM)) {
                items.extend(self.needed(coding, "code", words::item));
            }
        }
        items
    }

    /// Countries that receive data, and whether every actor is one.
    fn countries(&mut self, provision: &Node) -> (BTreeSet<String>, bool) {
        let (mut countries, mut known) = (BTreeSet::new(), true);
        for actor in self.list(provision, "actor") {
            let codings = self.object(actor, "role").map_or(&[][..], |role| self.list(role, "coding"));
            let recipient = codings.iter().any(|coding| {
                is_of(coding, ACTOR_ROLE)
                    && coding.get("code").and_then(Node::text) == Some("recipient-country")
            });
            let country = self.object(actor, "reference").and_then(|node| self.object(node, "identifier"));
            match country.filter(|node| recipient && is_of(node, COUNTRY)) {
                Some(identifier) => countries.extend(self.needed(identifier, "value", words::country)),
                None => known = false,
            }
        }
        (countries, known)
    }

    /// Data use codes, and whether every purpose is one.
    fn purposes(&mut self, provision: &Node) -> (Vec<String>, bool) {
        let purposes = self.list(provision, "purpose");
        let (ours, others): (Vec<_>, Vec<_>) = purposes.iter().partition(|coding| is_of(coding, DUO));
        let codes = ours.into_iter().filter_map(|coding| self.needed(coding, "code", words::duo)).collect();
        (codes, others.is_empty())
    }

    /// Reports members that R4 does not have here, and those that FHIR forbids to pass over: `modifierExtension` and
    /// `implicitRules` (hl7.org/fhir/R4/conformance-rules.html#isModifier).
    fn only(&mut self, node: &Node, known: &[&'static str]) {
        if !matches!(node.json, Json::Object(_)) {
            return self.wrong(node.at, "expected an object", None);
        }
        for (key, child) in node.members() {
            let name = key.strip_prefix('_').unwrap_or(key);
            if ["modifierExtension", "implicitRules"].contains(&name) {
                let message = format!("{name} changes what the record says, in a way unknown here");
                self.wrong(child.at, &message, None);
            } else if !known.contains(&name) && !["id", "extension"].contains(&name) {
                let message = "the key of this value is unknown here";
                self.wrong(child.at, message, did_you_mean(name, known.iter().copied()));
            }
        }
    }

    /// The text under a key; anything else there is reported.
    fn text<'n>(&mut self, node: &'n Node, key: &str) -> Option<&'n str> {
        let child = node.get(key)?;
        if child.text().is_none() {
            self.wrong(child.at, &format!("{key}: expected a string"), None);
        }
        child.text()
    }

    /// The object under a key; anything else there is reported.
    fn object<'n>(&mut self, node: &'n Node, key: &str) -> Option<&'n Node> {
        let child = node.get(key)?;
        let object = matches!(child.json, Json::Object(_));
        if !object {
            self.wrong(child.at, &format!("{key}: expected an object"), None);
        }
        object.then_some(child)
    }

    /// The items of the list under a key; anything else there is reported.
    fn list<'n>(&mut self, node: &'n Node, key: &str) -> &'n [Node] {
        match node.get(key).map(|child| (child.at, &child.json)) {
            Some((_, Json::List(items))) => items,
            Some((at, _)) => {
                self.wrong(at, &format!("{key}: expected a list"), None);
                &[]
            }
            None => &[],
        }
    }

    /// What the text under a key means; that it is missing, or means nothing, is reported.
    fn needed<T>(
        &mut self,
        node: &Node,
        key: &str,
        read: impl FnOnce(&str) -> Result<T, Problem>,
    ) -> Option<T> {
        if node.get(key).is_none() {
            let code = if key == "status" { "E-FHIR-STATUS" } else { "E-FHIR-PROFILE" };
            self.found.error(|| self.source.place(node.at), format!("{code}: {key} is missing"), None);
        }
        let text = self.text(node, key)?;
        let at = node.get(key).map_or(node.at, |child| child.at);
        let problem = |(message, hint)| self.found.error(|| self.source.place(at), message, hint);
        read(text).map_err(problem).ok()
    }

    /// The moment under a key, if there is one; what is no moment is reported.
    fn time(
        &mut self,
        node: &Node,
        key: &str,
        read: impl FnOnce(&str) -> Result<Timestamp, date::NotADate>,
    ) -> Option<Timestamp> {
        node.get(key)?;
        self.needed(node, key, |text| read(text).map_err(|bad| (bad.message, bad.hint)))
    }

    fn wrong(&mut self, at: usize, message: &str, hint: impl Into<Option<String>>) {
        self.found.error(|| self.source.place(at), format!("E-FHIR-PROFILE: {message}"), hint);
    }
}

/// Whether a coding or an identifier is of a system.
fn is_of(node: &Node, system: &str) -> bool {
    node.get("system").and_then(Node::text) == Some(system)
}
