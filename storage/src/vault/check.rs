//! Reads every byte of a vault that can be checked without a key, and says what is lost and what is left.

use super::hex::ObjectId;
use super::{Finding, Vault};

/// How an object stands.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ObjectHealth {
    /// The object.
    pub id: ObjectId,
    /// Name of the sealed file, where a core is left to say it.
    pub name: Option<String>,
    /// Fragments without any finding.
    pub fragments_whole: u8,
    /// Fragments it has, k+m.
    pub fragments: u8,
    /// Ledgers in which its share lies as it should.
    pub shares_present: u8,
    /// Shares it has, n.
    pub shares: u8,
    /// Whether what is left restores it, given the quorum of custodians whose shares are there.
    pub restorable: bool,
    /// Whole fragments that may still be lost; 0 where it is not restorable.
    pub margin: u8,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct CheckReport {
    /// Each object that was looked at.
    pub objects: Vec<ObjectHealth>,
    /// Everything amiss, in order.
    pub findings: Vec<Finding>,
    /// Bytes read.
    pub bytes: u64,
}

impl CheckReport {
    /// Whether every object can be restored.
    pub fn restorable(&self) -> bool {
        self.objects.iter().all(|object| object.restorable)
    }
}

impl Vault {
    /// Checks all objects, or those of `only`; `progress` is told the bytes read. Wrapped shares are checked for being there, for their form and for whose
    /// they are; whether `enc` and `ct` still open, only the custodian's key can tell.
    pub fn check(&self, only: Option<&[ObjectId]>, progress: &mut dyn FnMut(u64)) -> CheckReport {
        todo!()
    }
}
