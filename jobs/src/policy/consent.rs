//! Whether a consent record is enough: status, period, who signed, item, country, and how fresh the register is.
//!
//! Invariant: every reason is found, not the first; what is missing counts as no. A participant without a record has
//! the one reason `CONSENT_MISSING`. The statuses are those of FHIR R4 `Consent.status`
//! (<https://hl7.org/fhir/R4/valueset-consent-state-codes.html>).

use super::reason::{Code, Reason};
use crate::consent::{Basis, ConsentRecord, Status};
use crate::time::Timestamp;
use std::collections::BTreeSet;

/// What is asked of a record, and what the register and the policy add.
#[derive(Clone, Copy, Debug)]
pub struct Need<'a> {
    /// The consent item; `None` where the question itself lacks it and is denied for that.
    pub item: Option<&'a str>,
    /// Country where the data would be processed or used (ISO 3166 alpha-2); `None` as above.
    pub country: Option<&'a str>,
    /// When.
    pub now: Timestamp,
    /// When the register was last confirmed.
    pub as_of: Timestamp,
    /// Countries that consent need not name.
    pub home: &'a BTreeSet<String>,
    /// A register confirmed longer ago than so many hours is stale.
    pub max_age_hours: u32,
}

impl Need<'_> {
    /// The first moment at which the register will be stale: it is fresh up to and including the last microsecond of
    /// its age.
    pub fn stale_from(&self) -> Timestamp {
        let last = self.as_of.plus_hours(i64::from(self.max_age_hours));
        Timestamp::from_micros(last.micros().saturating_add(1))
    }

    /// A register that claims to be confirmed in the future is no fresher than one confirmed too long ago: one of the
    /// two clocks is wrong, and nobody knows which.
    fn is_stale(&self) -> bool {
        self.as_of > self.now || self.now >= self.stale_from()
    }
}

/// Every reason why the record is not enough. Periods include their start and exclude their end.
pub fn evaluate(record: Option<&ConsentRecord>, need: &Need<'_>) -> BTreeSet<Reason> {
    let Some(record) = record else {
        return BTreeSet::from([Reason::plain(Code::ConsentMissing)]);
    };
    let mut reasons = BTreeSet::new();
    reasons.extend(status_code(record.status).map(Reason::plain));
    if record.start.is_none_or(|start| need.now < start) {
        reasons.insert(Reason::plain(Code::ConsentNotYet));
    }
    if record.end.is_some_and(|end| need.now >= end) {
        reasons.insert(Reason::plain(Code::ConsentExpired));
    }
    if proxy_until(record).is_some_and(|until| need.now >= until) {
        reasons.insert(Reason::plain(Code::ProxyLapsed));
    }
    if need.is_stale() {
        reasons.insert(Reason::plain(Code::ConsentStale));
    }
    if let Some(item) = need.item.filter(|item| !record.items.contains(*item)) {
        reasons.insert(Reason::about(Code::ConsentItem, item));
    }
    if let Some(country) = need.country.filter(|country| !allows(record, need.home, country)) {
        reasons.insert(Reason::about(Code::ConsentCountry, country));
    }
    reasons
}

/// Countries where the record lets the data be: home, and with `foreign_use` those it names.
pub fn jurisdictions(record: &ConsentRecord, home: &BTreeSet<String>) -> BTreeSet<String> {
    let abroad = if record.items.contains(FOREIGN_USE) { Some(&record.foreign_countries) } else { None };
    home.iter().chain(abroad.into_iter().flatten()).cloned().collect()
}

/// Until before when the record holds at most; `None`: no end.
pub fn holds_until(record: &ConsentRecord) -> Option<Timestamp> {
    record.end.into_iter().chain(proxy_until(record)).min()
}

/// The item that carries [`ConsentRecord::foreign_countries`].
const FOREIGN_USE: &str = "foreign_use";

fn allows(record: &ConsentRecord, home: &BTreeSet<String>, country: &str) -> bool {
    home.contains(country) || record.items.contains(FOREIGN_USE) && record.foreign_countries.contains(country)
}

fn proxy_until(record: &ConsentRecord) -> Option<Timestamp> {
    match record.basis {
        Basis::Own => None,
        Basis::Proxy { until } => until,
    }
}

fn status_code(status: Status) -> Option<Code> {
    match status {
        Status::Active => None,
        Status::Draft => Some(Code::ConsentDraft),
        Status::Proposed => Some(Code::ConsentProposed),
        Status::Rejected => Some(Code::ConsentRejected),
        Status::Inactive => Some(Code::ConsentInactive),
        Status::EnteredInError => Some(Code::ConsentEnteredInError),
    }
}
