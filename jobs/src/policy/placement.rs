//! Whether a site may process data of a security level, from samples that may be in certain countries only.
//!
//! Invariant: reasons come in one order: `JUR:n` (n samples forbid the site's country), `LEVEL`, `ATTEST`.

use super::reason::{Code, Reason};
use crate::site::Site;
use crate::time::Timestamp;
use std::collections::BTreeSet;

/// Every reason why samples with these allowed countries may not be processed at the site.
pub fn evaluate(
    site: &Site,
    level: Option<u8>,
    jurisdictions: &[BTreeSet<String>],
    now: Timestamp,
) -> Vec<Reason> {
    let forbidding = jurisdictions.iter().filter(|allowed| !allowed.contains(&site.jurisdiction)).count();
    let jurisdiction = (forbidding > 0).then(|| Reason::about(Code::Jurisdiction, forbidding));
    jurisdiction.into_iter().chain(site_reasons(site, level, now)).collect()
}

/// The reasons that lie in the site alone. A level of `None` is a class the policy does not know, which may go nowhere;
/// an attestation holds until before its end, and a site without one has none.
pub(super) fn site_reasons(site: &Site, level: Option<u8>, now: Timestamp) -> Vec<Reason> {
    let too_high = level.is_none_or(|level| level > site.levels_max);
    let attested = site.attested_until.is_some_and(|until| now < until);
    let level = too_high.then_some(Code::Level);
    level.into_iter().chain((!attested).then_some(Code::Attest)).map(Reason::plain).collect()
}
