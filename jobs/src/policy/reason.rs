//! Reasons against: one code each, as the audit log and the vectors spell it.

use std::fmt;

/// One reason why not. The order is that of the codes' spelling.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(into = "String")]
pub struct Reason(String);

impl Reason {
    /// The code itself, such as `CONSENT_COUNTRY:GB`.
    pub fn code(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> String {
        reason.0
    }
}
