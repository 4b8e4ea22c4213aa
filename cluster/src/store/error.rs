//! Why a store did not do what was asked.

use jobs::failure::{Class, Classified};
use storage::DiskError;

/// An object store failed, or may not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file on this machine.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The URL names no store.
    #[error("'{url}': expected {expected}")]
    Url {
        /// As given, without its query.
        url: String,
        /// What is possible.
        expected: &'static str,
    },
    /// The store does not keep what the engine relies on.
    #[error("{url} cannot be used: {promise}")]
    Broken {
        /// The store.
        url: String,
        /// What it broke.
        promise: &'static str,
    },
    /// An object that was to be new is there.
    #[error("{name} is there already")]
    Exists {
        /// The object.
        name: String,
    },
    /// An object is not there.
    #[error("{name} is not there")]
    Missing {
        /// The object.
        name: String,
    },
    /// The store refuses these credentials, or this URL.
    #[error("cannot {action} {name}: the store refuses (HTTP {status})")]
    Refused {
        /// What was to be done.
        action: &'static str,
        /// The object.
        name: String,
        /// What it said.
        status: u16,
    },
    /// A small object is large.
    #[error("{name} has {bytes} bytes, expected at most {bytes_max}")]
    Large {
        /// The object.
        name: String,
        /// Its length.
        bytes: u64,
        /// What is allowed.
        bytes_max: u64,
    },
    /// An object is not what its digest says.
    #[error("{name} is damaged: expected BLAKE3 {expected}, found {found}")]
    Digest {
        /// The object.
        name: String,
        /// As stated.
        expected: String,
        /// As computed.
        found: String,
    },
    /// The store or the network failed.
    #[error("cannot {action} {name}")]
    Remote {
        /// What was to be done.
        action: &'static str,
        /// The object.
        name: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl StoreError {
    /// For `map_err`: what the client library says, in our words.
    pub(super) fn on(
        name: &str,
        action: &'static str,
    ) -> impl FnOnce(object_store::Error) -> StoreError + use<> {
        let name = without_query(name);
        move |error| match error {
            object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. } => {
                StoreError::Exists { name }
            }
            object_store::Error::NotFound { .. } => StoreError::Missing { name },
            object_store::Error::PermissionDenied { .. } => StoreError::Refused { action, name, status: 403 },
            object_store::Error::Unauthenticated { .. } => StoreError::Refused { action, name, status: 401 },
            error => StoreError::Remote { action, name, source: Box::new(error) },
        }
    }
}

/// A URL as it may be shown: a presigned one carries its right in the query.
pub(crate) fn without_query(url: &str) -> String {
    url.split('?').next().unwrap_or_default().to_owned()
}

impl Classified for StoreError {
    fn class(&self) -> Class {
        match self {
            StoreError::Disk(error) => error.class(),
            StoreError::Url { .. } | StoreError::Broken { .. } => Class::Usage,
            StoreError::Exists { .. } | StoreError::Large { .. } | StoreError::Digest { .. } => {
                Class::Integrity
            }
            StoreError::Missing { .. } | StoreError::Remote { .. } => Class::Remote,
            StoreError::Refused { .. } => Class::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            StoreError::Disk(error) => return error.hint(),
            StoreError::Url { .. } => "name it as [site.NAME] store = \"s3://bucket/prefix\"".to_owned(),
            StoreError::Broken { .. } => {
                "use a store that creates conditionally: AWS S3, MinIO and moto do; garage and old Ceph do not"
                    .to_owned()
            }
            StoreError::Refused { .. } => {
                "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the bucket's policy; a presigned URL that \
                 has expired is refused, too"
                    .to_owned()
            }
            StoreError::Missing { .. } => {
                "make the bucket, or check the name; objects of an ended bundle are removed".to_owned()
            }
            StoreError::Remote { .. } => "give the same command again; check AWS_ENDPOINT_URL".to_owned(),
            StoreError::Exists { .. } | StoreError::Large { .. } | StoreError::Digest { .. } => return None,
        })
    }
}
