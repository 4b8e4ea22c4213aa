//! Names of events and their OCSF types.

use serde_json::Value;
use std::fmt;
use std::str::FromStr;

macro_rules! events {
    ($($variant:ident $name:literal $($type_uid:literal)|+ $({ $($constant:ident: $value:literal),+ })?;)+) => {
        /// What happens: every event of the programme, in the order of its event table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
        pub enum EventName {
            $(#[doc = concat!("`", $name, "`")] #[serde(rename = $name)] $variant,)+
        }

        impl EventName {
            /// All of them.
            pub const ALL: &[EventName] = &[$(EventName::$variant),+];

            /// As records spell it.
            pub const fn name(self) -> &'static str {
                match self { $(EventName::$variant => $name,)+ }
            }

            /// OCSF's `class_uid * 100 + activity_id`: the usual one, then others that a record of this name may have.
            pub const fn type_uids(self) -> &'static [u32] {
                match self { $(EventName::$variant => &[$($type_uid),+],)+ }
            }

            /// What every record of this name has in these fields.
            pub fn constants(self) -> Vec<(&'static str, Value)> {
                match self { $(EventName::$variant => vec![$($((stringify!($constant), Value::from($value))),+)?],)+ }
            }
        }
    };
}

events! {
    ConsentReceived "consent.received" 300401;
    ConsentChanged "consent.changed" 300403;
    ConsentWithdrawn "consent.withdrawn" 300411;
    ConsentSuspended "consent.suspended" 300412;
    ConsentResumed "consent.resumed" 300413;
    ConsentRejected "consent.rejected" 300403 { outcome: "refused" };
    ConsentSnapshot "consent.snapshot" 300402;
    GrantImported "grant.imported" 300501;
    GrantRevoked "grant.revoked" 300502;
    GrantExpired "grant.expired" 300502;
    AuthLogin "auth.login" 300201;
    AuthStepUp "auth.step_up" 300203;
    AuthRefused "auth.refused" 300201;
    PolicyPermit "policy.permit" 600302 { action_id: 1 };
    PolicyDeny "policy.deny" 600302 { action_id: 2 };
    PolicyChanged "policy.changed" 300403;
    SiteChanged "site.changed" 300403;
    KeyRotated "key.rotated" 300403;
    IntakeReceived "intake.received" 600601 { disposition_id: 17 };
    IntakeQuarantined "intake.quarantined" 600601 { disposition_id: 3 };
    IntakeAccepted "intake.accepted" 600601 { disposition_id: 1 };
    IntakeRefused "intake.refused" 600601 { disposition_id: 2 };
    JobSubmitted "job.submitted" 100601;
    JobRefused "job.refused" 100601;
    JobSampleExcluded "job.sample_excluded" 100602;
    JobCompleted "job.completed" 100602;
    JobCancelled "job.cancelled" 100603;
    ShardPlaced "shard.placed" 100602;
    ShardPlacementRefused "shard.placement_refused" 100602;
    ShardLeased "shard.leased" 100606;
    ShardRenewed "shard.renewed" 100602;
    ShardRevoked "shard.revoked" 100605;
    ShardCommitted "shard.committed" 100602;
    ObjectRead "object.read" 600501;
    ObjectWrite "object.write" 600505;
    ObjectDecrypt "object.decrypt" 600510;
    ObjectEncrypt "object.encrypt" 600509;
    ObjectDelete "object.delete" 600507;
    GatePass "gate.pass" 200301;
    GateWarn "gate.warn" 200301;
    GateHold "gate.hold" 200301;
    GateReleased "gate.released" 200303;
    JointReleased "joint.released" 600506;
    JointSuperseded "joint.superseded" 600502;
    JointReissued "joint.reissued" 600502;
    WithdrawalAccepted "withdrawal.accepted" 300411;
    WithdrawalLeasesRevoked "withdrawal.leases_revoked" 100605;
    WithdrawalScratchShredded "withdrawal.scratch_shredded" 600507;
    WithdrawalReadsBlocked "withdrawal.reads_blocked" 300502;
    WithdrawalJointReissued "withdrawal.joint_reissued" 600502;
    WithdrawalKeysDestroyed "withdrawal.keys_destroyed" 600507;
    WithdrawalProofIssued "withdrawal.proof_issued" 600506;
    ArchiveSealed "archive.sealed" 600505;
    ArchiveSharePlaced "archive.share_placed" 600505;
    ArchiveScrubbed "archive.scrubbed" 600501;
    ArchiveShareRepaired "archive.share_repaired" 600502;
    ArchiveShareLost "archive.share_lost" 200601;
    RestoreRequested "restore.requested" 600608;
    RestoreApproved "restore.approved" 600608;
    RestoreRefused "restore.refused" 600608;
    RestoreCompleted "restore.completed" 600608;
    RestoreRehearsed "restore.rehearsed" 600608;
    ExportRequested "export.requested" 600602 | 600612;
    ExportApproved "export.approved" 600602 | 600612;
    ExportRefused "export.refused" 600602 | 600612;
    ExportCompleted "export.completed" 600602 | 600612;
    TierOpened "tier.opened" 600502;
    TierDeposited "tier.deposited" 600502;
    ReportBundleIssued "report.bundle_issued" 600506;
    RecontactTicketIssued "recontact.ticket_issued" 600506;
    ChargeRecorded "charge.recorded" 600302;
    AnomalyDetected "anomaly.detected" 200401;
    AnomalyAcknowledged "anomaly.acknowledged" 200402;
    AuditCheckpoint "audit.checkpoint" 100803;
    AuditWitnessed "audit.witnessed" 100803;
    AuditVerifyFailed "audit.verify_failed" 200401 { severity: 5 };
}

impl EventName {
    /// The usual one of [`EventName::type_uids`].
    pub const fn type_uid(self) -> u32 {
        self.type_uids()[0]
    }
}

/// A text names no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{name}' is no event; expected one such as object.read")]
pub struct UnknownEvent {
    name: String,
}

impl FromStr for EventName {
    type Err = UnknownEvent;

    fn from_str(text: &str) -> Result<Self, UnknownEvent> {
        let found = EventName::ALL.iter().find(|event| event.name() == text);
        found.copied().ok_or_else(|| UnknownEvent { name: text.chars().take(40).collect() })
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl serde::Serialize for EventName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for event in EventName::ALL {
            assert_eq!(event.name().parse(), Ok(*event));
        }
        assert_eq!(
            "object.Read".parse::<EventName>().unwrap_err().to_string(),
            "'object.Read' is no event; expected one such as object.read"
        );
        let constants = |event: EventName| format!("{:?}", event.constants());
        assert_eq!(constants(EventName::IntakeReceived), "[(\"disposition_id\", Number(17))]");
        assert_eq!(constants(EventName::ConsentRejected), "[(\"outcome\", String(\"refused\"))]");
        assert_eq!(constants(EventName::ObjectRead), "[]");
    }
}
