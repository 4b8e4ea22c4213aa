//! What is in a vault, as its signed documents say.
//!
//! Invariant: nothing is told of an object but what its sealer signed.

use jobs::policy::DataClass;
use jobs::time::Timestamp;

use super::Vault;
use super::core::{Core, Lineage, Seal};
use super::finding::{Finding, tidied};
use super::hex::ObjectId;
use super::object::{Object, ObjectError};

/// One object in a line.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ObjectSummary {
    /// The object.
    pub id: ObjectId,
    /// Name of the sealed file.
    pub name: String,
    /// Class of the data.
    pub class: DataClass,
    /// Its samples.
    pub samples: Vec<String>,
    /// Length of the file.
    pub plaintext_bytes: u64,
    /// When it was sealed.
    pub sealed_at: Timestamp,
    /// Objects it came from or belongs to.
    pub lineage: Vec<Lineage>,
}

/// The objects of a vault, and what stood in the way of seeing them.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Listing {
    /// By the time of sealing, then by id.
    pub objects: Vec<ObjectSummary>,
    /// Sites that do not answer, documents that do not verify, sealings that were interrupted.
    pub findings: Vec<Finding>,
}

/// An object's two documents.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ObjectInfo {
    /// What it is.
    pub core: Core,
    /// What it became.
    pub seal: Seal,
    /// Replicas that are missing, damaged or differ.
    pub findings: Vec<Finding>,
}

impl Vault {
    /// All objects that have a seal at any site, but those that are being sealed.
    pub fn list(&self) -> Listing {
        let mut findings = Vec::new();
        self.check_sites(&mut findings);
        self.check_pending(&mut findings);
        let ids = self.settled(|| self.object_ids());
        let mut objects: Vec<_> = ids
            .into_iter()
            .filter_map(|id| self.object(id, &mut findings).ok())
            .map(|object| ObjectSummary::of(&object))
            .collect();
        objects.sort_by_key(|object| (object.sealed_at, object.id));
        Listing { objects, findings: tidied(findings) }
    }

    /// One object.
    pub fn info(&self, id: ObjectId) -> Result<ObjectInfo, ObjectError> {
        let mut findings = Vec::new();
        self.check_sites(&mut findings);
        let Object { core, seal, .. } = self.object(id, &mut findings)?;
        Ok(ObjectInfo { core: (*core).clone(), seal, findings: tidied(findings) })
    }
}

impl ObjectSummary {
    fn of(object: &Object) -> Self {
        let core = &object.core;
        ObjectSummary {
            id: object.id,
            name: core.name.clone(),
            class: core.class,
            samples: core.governance.samples.keys().cloned().collect(),
            plaintext_bytes: object.seal.plaintext_bytes,
            sealed_at: core.sealed_at,
            lineage: core.lineage.clone(),
        }
    }
}
