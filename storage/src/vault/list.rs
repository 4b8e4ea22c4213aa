//! What is in a vault, as its signed documents say.

use super::core::{Core, Lineage, Seal};
use super::hex::ObjectId;
use super::{Finding, Vault};
use jobs::policy::DataClass;
use jobs::time::Timestamp;

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
    /// By id.
    pub objects: Vec<ObjectSummary>,
    /// Sites that do not answer, documents that do not verify.
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

/// Why an object cannot be described.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {}

impl Vault {
    /// All objects that have a seal at any site.
    pub fn list(&self) -> Listing {
        todo!()
    }

    /// One object.
    pub fn info(&self, id: ObjectId) -> Result<ObjectInfo, ObjectError> {
        todo!()
    }
}
