//! Leases: what travels with a task to the machine that runs it, in place of a permit, which cannot travel.
//!
//! Invariant: a lease grants nothing. It says what was decided where the task was given out; whoever receives it checks
//! that it is meant for this task, at this site, now, and then decides again with the consents as they are there.

use crate::canonical::{CanonicalError, canonical, parse};
use crate::policy::{Action, DataClass, Purpose};
use crate::time::Timestamp;

/// By how many seconds the receiver's clock may be behind the issuer's: machines that NTP keeps in step differ by less.
/// The end of a lease is not stretched.
const SKEW_SECONDS: i64 = 5;

/// The claims of a lease.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// Digest of the job.
    pub job: String,
    /// Key of the task.
    pub task: String,
    /// Attempt at the task, from 1.
    pub attempt: u32,
    /// What may be done.
    pub action: Action,
    /// With data of which class.
    pub class: DataClass,
    /// With whose data; sorted.
    pub samples: Vec<String>,
    /// What for.
    pub purpose: Purpose,
    /// At which site.
    pub site: String,
    /// Epoch of the register it was decided with.
    pub epoch: u64,
    /// Digest of the policy it was decided with.
    pub policy_sha256: String,
    /// From when on it holds.
    pub issued: Timestamp,
    /// Until before when it holds.
    pub expires: Timestamp,
}

/// What the receiver of a lease was asked to do.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Digest of the job.
    pub job: &'a str,
    /// Key of the task.
    pub task: &'a str,
    /// The attempt.
    pub attempt: u32,
    /// What the task does with data.
    pub action: Action,
    /// Of which class.
    pub class: DataClass,
    /// Samples whose data the task reads; sorted.
    pub samples: &'a [String],
    /// What for.
    pub purpose: Purpose,
    /// Where the receiver is.
    pub site: &'a str,
    /// Epoch of the receiver's own register.
    pub epoch: u64,
    /// Digest of the receiver's own policy.
    pub policy_sha256: &'a str,
    /// When.
    pub now: Timestamp,
}

/// Why a lease does not hold where it arrived.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// It is for something else.
    #[error("the lease is for {what} {leased}, not for {asked}")]
    Foreign {
        /// Which claim.
        what: &'static str,
        /// What it says.
        leased: String,
        /// What was expected.
        asked: String,
    },
    /// It does not hold now.
    #[error("the lease holds from {issued} to {expires}, now is {now}")]
    Time {
        /// From.
        issued: Timestamp,
        /// To.
        expires: Timestamp,
        /// Now.
        now: Timestamp,
    },
    /// The receiver knows less than the issuer did.
    #[error("the lease was decided with register epoch {leased}, the register here is of epoch {held}")]
    Epoch {
        /// The issuer's.
        leased: u64,
        /// The receiver's.
        held: u64,
    },
}

impl Lease {
    /// The bytes that are signed.
    pub fn text(&self) -> String {
        let value = serde_json::to_value(self).expect("plain data always prints");
        canonical(&value).expect("epochs and attempts are far below 2^53")
    }

    /// Reads what [`Lease::text`] wrote.
    pub fn from_text(text: &str) -> Result<Self, CanonicalError> {
        serde_json::from_value(parse(text.as_bytes())?).map_err(|_| CanonicalError::Spelling)
    }

    /// Whether the lease is for what was asked, here and now.
    pub fn check(&self, expected: Expected<'_>) -> Result<(), LeaseError> {
        let attempts = (self.attempt.to_string(), expected.attempt.to_string());
        let samples = (self.samples.join(", "), expected.samples.join(", "));
        let claims = [
            ("job", self.job.as_str(), expected.job),
            ("task", &self.task, expected.task),
            ("attempt", &attempts.0, &attempts.1),
            ("action", self.action.name(), expected.action.name()),
            ("class", self.class.name(), expected.class.name()),
            ("purpose", self.purpose.name(), expected.purpose.name()),
            ("policy", &self.policy_sha256, expected.policy_sha256),
            ("samples", &samples.0, &samples.1),
            ("site", &self.site, expected.site),
        ];
        for (what, leased, asked) in claims {
            if leased != asked {
                return Err(LeaseError::Foreign { what, leased: leased.to_owned(), asked: asked.to_owned() });
            }
        }
        if expected.now.plus_seconds(SKEW_SECONDS) < self.issued || expected.now >= self.expires {
            return Err(LeaseError::Time { issued: self.issued, expires: self.expires, now: expected.now });
        }
        if expected.epoch < self.epoch {
            return Err(LeaseError::Epoch { leased: self.epoch, held: expected.epoch });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease() -> Lease {
        Lease {
            job: "j".to_owned(),
            task: "map/S1/0/0".to_owned(),
            attempt: 1,
            action: Action::Read,
            class: DataClass::Fastq,
            samples: vec!["S1".to_owned()],
            purpose: Purpose::ClinicalReturn,
            site: "here".to_owned(),
            epoch: 7,
            policy_sha256: "p".to_owned(),
            issued: Timestamp::from_micros(10).plus_seconds(SKEW_SECONDS),
            expires: Timestamp::from_micros(20).plus_seconds(SKEW_SECONDS),
        }
    }

    #[test]
    fn a_lease_holds_for_its_task_at_its_site_in_its_time() {
        let samples = ["S1".to_owned()];
        let others = ["S1".to_owned(), "S2".to_owned()];
        let good = Expected {
            job: "j",
            task: "map/S1/0/0",
            attempt: 1,
            action: Action::Read,
            class: DataClass::Fastq,
            samples: &samples,
            purpose: Purpose::ClinicalReturn,
            site: "here",
            epoch: 7,
            policy_sha256: "p",
            now: Timestamp::from_micros(10),
        };
        let check = |expected, expect: &str| {
            let found = lease().check(expected).map_or_else(|error| error.to_string(), |()| "ok".to_owned());
            assert!(found.starts_with(expect), "{found}");
        };
        check(good, "ok");
        check(
            Expected { epoch: 8, now: Timestamp::from_micros(19).plus_seconds(SKEW_SECONDS), ..good },
            "ok",
        );
        check(Expected { job: "k", ..good }, "the lease is for job j");
        check(Expected { task: "map/S1/0/1", ..good }, "the lease is for task");
        check(Expected { attempt: 2, ..good }, "the lease is for attempt 1, not for 2");
        check(Expected { action: Action::Archive, ..good }, "the lease is for action read, not for archive");
        check(Expected { class: DataClass::Cram, ..good }, "the lease is for class FASTQ, not for CRAM");
        check(Expected { purpose: Purpose::Research, ..good }, "the lease is for purpose");
        check(Expected { policy_sha256: "q", ..good }, "the lease is for policy p, not for q");
        check(Expected { samples: &others, ..good }, "the lease is for samples");
        check(Expected { site: "there", ..good }, "the lease is for site here, not for there");
        check(Expected { now: Timestamp::from_micros(9), ..good }, "the lease holds from");
        check(
            Expected { now: Timestamp::from_micros(20).plus_seconds(SKEW_SECONDS), ..good },
            "the lease holds from",
        );
        check(Expected { epoch: 6, ..good }, "the lease was decided with register epoch 7");
    }

    #[test]
    fn a_lease_is_read_as_it_was_written_and_in_no_other_spelling() {
        let text = lease().text();
        assert_eq!(Lease::from_text(&text), Ok(lease()));
        assert!(Lease::from_text(&format!(" {text}")).is_err());
        assert!(Lease::from_text(&text.replace("\"epoch\":7", "\"epoch\":7,\"extra\":1")).is_err());
        assert!(Lease::from_text(&text.replace("\"attempt\":1,", "")).is_err());
    }
}
