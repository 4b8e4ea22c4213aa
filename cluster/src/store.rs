//! The object store of a site: where bundles wait for workers that have no filesystem of ours.
//!
//! Invariant: a store is used only after [`Store::probe`] saw it refuse a second creation, give back what was just
//! written, and cut ranges to the byte. Many stores answer 200 to a condition that they ignore; on those two workers
//! would overwrite each other. Retries and times are bounded; nothing that comes back is believed before its digest or
//! its seal was checked, which is the caller's business. Knows nothing of what the objects mean.

pub mod error;
pub mod presigned;

pub use error::StoreError;

use futures_util::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut};
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::signer::Signer;
use object_store::{
    ClientOptions, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
    RetryConfig, WriteMultipart,
};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::runtime::Runtime;

/// A request that a store has not answered by then is tried again, then given up.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
/// How often a request is tried again.
const RETRIES_MAX: usize = 5;
/// After this no request is tried again.
const RETRY_TIMEOUT: Duration = Duration::from_secs(90);
/// Bytes of one part of an upload: 10,000 parts, S3's most, then hold 160 GB.
const PART_BYTES: usize = 16 << 20;

/// One bucket, or a folder in it, or a directory.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<dyn ObjectStore>,
    /// Who can make a URL for others; a directory has none and needs none.
    signer: Option<Arc<AmazonS3>>,
    /// Before every name; empty or without a slash at the end.
    prefix: String,
    url: String,
}

impl Store {
    /// The store at `s3://bucket/prefix` or `file:///folder`. What S3 needs to know besides comes from the usual
    /// environment (`AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`,
    /// a role of the machine). Plain HTTP is for loopback alone, unless `AWS_ALLOW_HTTP` says otherwise.
    pub fn open(url: &str) -> Result<Self, StoreError> {
        let refuse = |expected| StoreError::Url { url: url.to_owned(), expected };
        let url = url.trim_end_matches('/');
        if let Ok(folder) = storage::site::folder_of(url) {
            std::fs::create_dir_all(&folder).map_err(storage::DiskError::on("make", &folder))?;
            let local = LocalFileSystem::new_with_prefix(&folder).map_err(StoreError::on(url, "open"))?;
            let local = local.with_automatic_cleanup(true);
            return Ok(Store {
                inner: Arc::new(local),
                signer: None,
                prefix: String::new(),
                url: storage::site::url_of(&folder),
            });
        }
        let rest = url.strip_prefix("s3://").ok_or_else(|| refuse("s3://bucket/prefix or file:///folder"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() || ObjectPath::parse(prefix).is_err() {
            return Err(refuse(
                "a bucket, and a prefix without empty parts or dots, as in s3://bucket/wakachi",
            ));
        }
        let endpoint = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];
        let endpoint = endpoint.into_iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default();
        let s3 = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_client_options(
                ClientOptions::new()
                    .with_timeout(REQUEST_TIMEOUT)
                    .with_allow_http(is_loopback(&endpoint) || allows_http()),
            )
            .with_retry(RetryConfig {
                max_retries: RETRIES_MAX,
                retry_timeout: RETRY_TIMEOUT,
                ..RetryConfig::default()
            })
            .build()
            .map_err(StoreError::on(url, "open"))?;
        let s3 = Arc::new(s3);
        Ok(Store {
            inner: Arc::clone(&s3) as Arc<dyn ObjectStore>,
            signer: Some(s3),
            prefix: prefix.to_owned(),
            url: url.to_owned(),
        })
    }

    /// Its URL, for people.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Tries what the engine relies on with small objects under `probe/`, and removes them. `nonce` tells apart those
    /// who probe at the same time.
    pub fn probe(&self, nonce: &str) -> Result<(), StoreError> {
        let name = format!("probe/{nonce}");
        let probed = self.probe_at(&name);
        let removed = self.remove(&name);
        probed.and(removed)
    }

    fn probe_at(&self, name: &str) -> Result<(), StoreError> {
        let broken = |promise| StoreError::Broken { url: self.url.clone(), promise };
        let (first, second) = (b"0123456789".to_vec(), b"another".to_vec());
        self.create(name, first.clone())?;
        match self.create(name, second.clone()) {
            Err(StoreError::Exists { .. }) => {}
            Ok(()) => return Err(broken("it created an object that was there (If-None-Match is ignored)")),
            Err(error) => return Err(error),
        }
        if self.get(name, 64)? != first {
            return Err(broken("an object just written reads otherwise"));
        }
        if self.get_range(name, 3, 4)? != first[3..7] {
            return Err(broken("a range is not cut to the byte"));
        }
        self.replace(name, second.clone())?;
        if self.get(name, 64)? != second {
            return Err(broken("an object just replaced reads as before"));
        }
        if self.list("probe")?.iter().all(|(listed, _)| listed != name) {
            return Err(broken("an object just written is not listed"));
        }
        Ok(())
    }

    /// Writes an object that must not be there yet.
    pub fn create(&self, name: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        self.put(name, bytes, PutMode::Create)
    }

    /// Writes an object, whatever was there.
    pub fn replace(&self, name: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        self.put(name, bytes, PutMode::Overwrite)
    }

    fn put(&self, name: &str, bytes: Vec<u8>, mode: PutMode) -> Result<(), StoreError> {
        let (path, payload) = (self.path(name)?, PutPayload::from(bytes));
        let put = self.inner.put_opts(&path, payload, PutOptions::from(mode));
        block_on(put).map(drop).map_err(StoreError::on(&self.show(name), "write"))
    }

    /// The whole of an object of at most `bytes_max` bytes.
    pub fn get(&self, name: &str, bytes_max: u64) -> Result<Vec<u8>, StoreError> {
        let path = self.path(name)?;
        let got = block_on(async {
            let got = self.inner.get(&path).await?;
            let bytes = got.meta.size;
            match bytes <= bytes_max {
                true => Ok(Ok(got.bytes().await?)),
                false => Ok(Err(bytes)),
            }
        });
        let show = || self.show(name);
        match got.map_err(StoreError::on(&show(), "read"))? {
            Ok(whole) => Ok(whole.into()),
            Err(bytes) => Err(StoreError::Large { name: show(), bytes, bytes_max }),
        }
    }

    /// `length` bytes from `offset` on.
    fn get_range(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, StoreError> {
        let path = self.path(name)?;
        let range = GetRange::Bounded(offset..offset + length);
        let options = GetOptions { range: Some(range), ..GetOptions::default() };
        let got = block_on(async { self.inner.get_opts(&path, options).await?.bytes().await });
        Ok(got.map_err(StoreError::on(&self.show(name), "read"))?.into())
    }

    /// How many bytes an object has; `None`: there is none of that name.
    pub fn bytes_of(&self, name: &str) -> Result<Option<u64>, StoreError> {
        let path = self.path(name)?;
        match block_on(self.inner.head(&path)) {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(StoreError::on(&self.show(name), "look for")(error)),
        }
    }

    /// Uploads a file in parts, unless an object of its name and length is there. Only for names that say what is in
    /// them: nobody else may write something else there.
    pub fn upload(&self, name: &str, file: &Path) -> Result<(), StoreError> {
        let failed = |error| StoreError::Disk(storage::DiskError::on("read", file)(error));
        let mut source = File::open(file).map_err(failed)?;
        let bytes = source.metadata().map_err(failed)?.len();
        if self.bytes_of(name)? == Some(bytes) {
            return Ok(());
        }
        let path = self.path(name)?;
        let failed_put = || StoreError::on(&self.show(name), "write");
        let upload = block_on(self.inner.put_multipart(&path)).map_err(failed_put())?;
        // It spawns a task for each part, which wants the runtime around it.
        let _entered = runtime().enter();
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        let mut part = vec![0; PART_BYTES];
        loop {
            let read = source.read(&mut part).map_err(failed)?;
            if read == 0 {
                break;
            }
            upload.write(&part[..read]);
            block_on(upload.wait_for_capacity(4)).map_err(failed_put())?;
        }
        block_on(upload.finish()).map(drop).map_err(failed_put())
    }

    /// Names and lengths of everything under `folder`, in order.
    pub fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, StoreError> {
        let path = self.path(folder)?;
        let listed = block_on(self.inner.list(Some(&path)).try_collect::<Vec<_>>());
        let listed = listed.map_err(StoreError::on(&self.show(folder), "list"))?;
        let own = |full: &str| match self.prefix.as_str() {
            "" => full.to_owned(),
            prefix => full.strip_prefix(prefix).unwrap_or(full).trim_start_matches('/').to_owned(),
        };
        let mut names: Vec<_> =
            listed.into_iter().map(|meta| (own(meta.location.as_ref()), meta.size)).collect();
        names.sort();
        Ok(names)
    }

    /// Removes an object; it is no error if there is none.
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path(name)?;
        match block_on(self.inner.delete(&path)) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(StoreError::on(&self.show(name), "remove")(error)),
        }
    }

    /// Removes everything under `folder`.
    pub fn remove_all(&self, folder: &str) -> Result<(), StoreError> {
        self.list(folder)?.iter().try_for_each(|(name, _)| self.remove(name))
    }

    /// A URL by which whoever holds it may read this one object until `life` is over.
    pub fn url_to_get(&self, name: &str, life: Duration) -> Result<String, StoreError> {
        self.presigned(http::Method::GET, name, life)
    }

    /// A URL by which whoever holds it may write this one object until `life` is over.
    pub fn url_to_put(&self, name: &str, life: Duration) -> Result<String, StoreError> {
        self.presigned(http::Method::PUT, name, life)
    }

    fn presigned(&self, method: http::Method, name: &str, life: Duration) -> Result<String, StoreError> {
        let path = self.path(name)?;
        match &self.signer {
            Some(signer) => {
                let signed = block_on(signer.signed_url(method, &path, life));
                Ok(signed.map_err(StoreError::on(&self.show(name), "sign a URL of"))?.into())
            }
            None => Ok(self.show(name)),
        }
    }

    fn path(&self, name: &str) -> Result<ObjectPath, StoreError> {
        let whole = match self.prefix.as_str() {
            "" => name.to_owned(),
            prefix => format!("{prefix}/{name}"),
        };
        let expected = "an object's name without empty parts or dots";
        ObjectPath::parse(&whole).map_err(|_| StoreError::Url { url: self.show(name), expected })
    }

    fn show(&self, name: &str) -> String {
        format!("{}/{name}", self.url)
    }
}

/// Whether an endpoint is this machine: then what it is sent passes no network.
pub(crate) fn is_loopback(url: &str) -> bool {
    let rest = url.strip_prefix("http://").unwrap_or_default();
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    ["127.0.0.1", "localhost", "[::1]"].contains(&host)
}

fn allows_http() -> bool {
    std::env::var("AWS_ALLOW_HTTP").is_ok_and(|word| word.eq_ignore_ascii_case("true"))
}

/// Waits for one answer of the network on the calling thread.
pub(crate) fn block_on<F: Future>(work: F) -> F::Output {
    runtime().block_on(work)
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a machine that runs this program has threads to spare")
    })
}

#[cfg(test)]
mod tests;
