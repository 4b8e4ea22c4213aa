//! Bundles: what a batch system is handed as one, and the receipt that comes of it.
//!
//! Invariant: a bundle is fixed once it is written; its worker runs it under the leases in it, decides again where it
//! arrives, and writes the receipt as its last act, created only if it is absent: of two workers on one bundle one is
//! told so. While it runs it may be asked to end attempts early ([`cut`]), and is told nothing else. A receipt is a
//! worker's word about itself; the coordinator opens and verifies every output.

pub mod carried;
pub mod cut;
pub mod outcome;
pub mod ticket;

pub use carried::Carried;
pub use ticket::Ticket;

use crate::engine::{Ended, Request, Spending};
use crate::store::StoreError;
use crate::store::presigned::create_file;
use jobs::failure::{Class, Classified};
use jobs::time::Timestamp;
use scheduler::WorkerId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use storage::DiskError;

/// Schema of a bundle.
pub const BUNDLE_SCHEMA: &str = "wakachi.bundle/3";
/// Schema of a receipt.
pub const RECEIPT_SCHEMA: &str = "wakachi.receipt/2";
/// A bundle or receipt of more bytes is not read.
pub const DOCUMENT_BYTES_MAX: u64 = 256 << 20;

/// Attempts that one process runs at one site.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// [`BUNDLE_SCHEMA`].
    pub schema: String,
    /// Names it within the job.
    pub id: String,
    /// Digest of the job, as leases name it.
    pub job: String,
    /// Where it is to be run.
    pub site: String,
    /// The worker that it is for the scheduler.
    pub worker: WorkerId,
    /// After this nobody needs it any more.
    pub expires: Timestamp,
    /// What is to be run, in this order.
    pub requests: Vec<Request>,
    /// Where the data is.
    pub data: Data,
}

/// Where the data of a bundle is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Data {
    /// On a filesystem that the worker shares with the coordinator: packs, keys and consents are opened there.
    Shared {
        /// The job's directory, absolute.
        job_dir: PathBuf,
        /// The cohort file, absolute.
        cohort: PathBuf,
        /// The fence of the scheduler that wrote the bundle, which names its worker's pack.
        fence: u64,
        /// Samples that were admitted, in the order by which tasks name them.
        samples: Vec<String>,
        /// Read pairs per map task, where somebody said how many.
        chunk_pairs: Option<u32>,
        /// About how long it is to run: for so long the intake of a lane goes on with its next part, which would else wait
        /// for another bundle.
        #[serde(default)]
        minutes: u64,
        /// Digest of what the job was for the coordinator: a worker to whom it is another refuses the bundle, and a
        /// coordinator to whom it is another takes nothing of it. Nobody's is empty.
        #[serde(default)]
        sight: String,
    },
    /// Beside the bundle, in an object store.
    Carried(Box<Carried>),
}

/// What a worker says of a bundle.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// [`RECEIPT_SCHEMA`].
    pub schema: String,
    /// [`Bundle::id`].
    pub bundle: String,
    /// [`Bundle::worker`].
    pub worker: WorkerId,
    /// Host and process that ran it, for people.
    pub host: String,
    /// Cores on which it ran.
    pub cores: u32,
    /// How each attempt ended, in the order in which they did.
    pub ended: Vec<Ended>,
    /// Reports of audit events, as [`crate::engine::Office::logged`] reads them. Of a carried bundle they come with each
    /// [`outcome`].
    pub logged: Vec<Vec<u8>>,
    /// Core time in milliseconds that went into no attempt.
    pub spent_core_ms: BTreeMap<Spending, u64>,
}

/// A bundle or a receipt cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is not one.
    #[error("{name}: expected a document of schema {schema}: {what}")]
    Form {
        /// File or object.
        name: String,
        /// What was expected.
        schema: &'static str,
        /// What is wrong.
        what: String,
    },
    /// It does not open with the ticket's key.
    #[error("{name}: is not what was sealed for this bundle")]
    Sealed {
        /// File or object.
        name: String,
    },
    /// It is too late.
    #[error("bundle {id} was to be run before {expired}")]
    Expired {
        /// Which.
        id: String,
        /// When it ended.
        expired: Timestamp,
    },
    /// It has to do with another bundle.
    #[error("{name}: is of bundle {found}, expected {expected}")]
    Foreign {
        /// File or object.
        name: String,
        /// The bundle that was asked for.
        expected: String,
        /// The bundle that it names.
        found: String,
    },
}

impl Classified for BundleError {
    fn class(&self) -> Class {
        match self {
            BundleError::Disk(error) => error.class(),
            BundleError::Store(error) => error.class(),
            BundleError::Form { .. } => Class::Input,
            BundleError::Sealed { .. } | BundleError::Foreign { .. } => Class::Integrity,
            BundleError::Expired { .. } => Class::Policy,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            BundleError::Disk(error) => error.hint(),
            BundleError::Store(error) => error.hint(),
            BundleError::Form { .. } => Some(
                "bundles are written by wakachi run and wakachi submit; give the file as it was".to_owned(),
            ),
            BundleError::Sealed { .. } | BundleError::Foreign { .. } | BundleError::Expired { .. } => None,
        }
    }
}

impl Bundle {
    /// Writes it as a new file; false: there is one already.
    pub fn write(&self, path: &Path) -> Result<bool, BundleError> {
        Ok(create_file(path, &to_json(self))?)
    }

    /// Reads it.
    pub fn from_json(name: &str, bytes: &[u8]) -> Result<Self, BundleError> {
        let bundle: Bundle = parse(name, BUNDLE_SCHEMA, bytes)?;
        checked(name, BUNDLE_SCHEMA, &bundle.schema)?;
        Ok(bundle)
    }

    /// Refuses it once nobody needs it.
    pub fn check_time(&self, now: Timestamp) -> Result<(), BundleError> {
        match now < self.expires {
            true => Ok(()),
            false => Err(BundleError::Expired { id: self.id.clone(), expired: self.expires }),
        }
    }
}

impl Receipt {
    /// Where the receipt of the bundle in `bundle` is written: the same name and `.receipt`.
    pub fn path_of(bundle: &Path) -> PathBuf {
        let mut name = OsString::from(bundle);
        name.push(".receipt");
        name.into()
    }

    /// Writes it, as the last act of a worker; false: another worker has written one.
    pub fn write(&self, path: &Path) -> Result<bool, BundleError> {
        Ok(create_file(path, &to_json(self))?)
    }

    /// The receipt in a file; `None`: there is none yet. It must be of the bundle `id`.
    pub fn read(path: &Path, id: &str) -> Result<Option<Self>, BundleError> {
        match std::fs::read(path) {
            Ok(bytes) => Receipt::from_json(&path.display().to_string(), &bytes, id).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DiskError::on("read", path)(error).into()),
        }
    }

    /// Reads the receipt of the bundle `id`.
    pub fn from_json(name: &str, bytes: &[u8], id: &str) -> Result<Self, BundleError> {
        let receipt: Receipt = parse(name, RECEIPT_SCHEMA, bytes)?;
        checked(name, RECEIPT_SCHEMA, &receipt.schema)?;
        if receipt.bundle != id {
            let (name, expected) = (name.to_owned(), id.to_owned());
            return Err(BundleError::Foreign { name, expected, found: receipt.bundle });
        }
        Ok(receipt)
    }
}

/// Bundles and what goes with them as they are written.
pub(crate) fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data always prints")
}

pub(crate) fn parse<T: serde::de::DeserializeOwned>(
    name: &str,
    schema: &'static str,
    bytes: &[u8],
) -> Result<T, BundleError> {
    let form = |error: serde_json::Error| BundleError::Form {
        name: name.to_owned(),
        schema,
        what: error.to_string(),
    };
    serde_json::from_slice(bytes).map_err(form)
}

pub(crate) fn checked(name: &str, schema: &'static str, found: &str) -> Result<(), BundleError> {
    match found == schema {
        true => Ok(()),
        false => {
            let what = format!("it is of schema '{}'", found.chars().take(40).collect::<String>());
            Err(BundleError::Form { name: name.to_owned(), schema, what })
        }
    }
}
