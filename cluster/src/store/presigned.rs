//! Objects by URL, for who holds no credentials: what a worker in a foreign place has of a store.
//!
//! Invariant: a file that was fetched has the digest that was stated, or is not there; an object is created or it was
//! there, never replaced. A URL is never printed with its query, which is the right to use it.

use super::error::without_query;
use super::{StoreError, block_on};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;
use storage::DiskError;

/// A connection that is not made by then is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// A transfer that brings nothing for this long is given up.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How often something is tried that fails for no lasting reason.
const ATTEMPTS_MAX: u32 = 5;
/// The first pause before trying again; doubled each time.
const PAUSE: Duration = Duration::from_millis(200);

/// The whole of an object of at most `bytes_max` bytes.
pub fn get(url: &str, bytes_max: u64) -> Result<Vec<u8>, StoreError> {
    let mut whole = Vec::new();
    retrying(|| {
        whole.clear();
        read(url, bytes_max, &mut |part| {
            whole.extend_from_slice(part);
            Ok(())
        })
    })?;
    Ok(whole)
}

/// Fetches an object of BLAKE3 `expected` into a new file, whole or not at all.
pub fn fetch(url: &str, expected: &[u8; 32], bytes: u64, path: &Path) -> Result<(), StoreError> {
    let found = retrying(|| {
        let mut file = File::create(path).map_err(DiskError::on("make", path))?;
        let mut hasher = blake3::Hasher::new();
        read(url, bytes, &mut |part| {
            hasher.update(part);
            Ok(file.write_all(part).map_err(DiskError::on("write", path))?)
        })?;
        file.sync_all().map_err(DiskError::on("sync", path))?;
        Ok(hasher.finalize())
    });
    let found = match found {
        Ok(found) if found == *expected => return Ok(()),
        found => found,
    };
    // What is there is not what was asked for.
    let _ = std::fs::remove_file(path);
    let expected = blake3::Hash::from_bytes(*expected).to_string();
    Err(StoreError::Digest { name: without_query(url), expected, found: found?.to_string() })
}

/// Creates an object; false: it was there already.
pub fn create(url: &str, bytes: &[u8]) -> Result<bool, StoreError> {
    if let Ok(path) = storage::site::folder_of(url) {
        return create_file(&path, bytes);
    }
    retrying(|| {
        // Not part of what is signed: whoever holds the URL may leave it out, and harms only this object.
        let request = client().put(url).header("if-none-match", "*").body(bytes.to_vec());
        let sent = block_on(async { request.send().await });
        let answer = sent.map_err(|error| remote("write", url, error))?;
        match answer.status().as_u16() {
            200..=299 => Ok(true),
            409 | 412 => Ok(false),
            status => Err(refused("write", url, status)),
        }
    })
}

/// Creates a file whole or not at all; false: it was there already.
pub fn create_file(path: &Path, bytes: &[u8]) -> Result<bool, StoreError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder).map_err(DiskError::on("make", folder))?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(DiskError::on("make", path))?;
    let written = file.write_all(bytes).and_then(|()| file.as_file().sync_all());
    written.map_err(DiskError::on("write", path))?;
    // A link is made or it is there; a rename would replace.
    match std::fs::hard_link(file.path(), path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(DiskError::on("make", path)(error).into()),
    }
}

/// Gives `take` the bytes of an object, part by part.
fn read(
    url: &str,
    bytes_max: u64,
    take: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let large = |bytes| StoreError::Large { name: without_query(url), bytes, bytes_max };
    if let Ok(path) = storage::site::folder_of(url) {
        let bytes = std::fs::read(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => StoreError::Missing { name: without_query(url) },
            _ => DiskError::on("read", &path)(error).into(),
        })?;
        return if bytes.len() as u64 > bytes_max { Err(large(bytes.len() as u64)) } else { take(&bytes) };
    }
    block_on(async {
        let sent = client().get(url).send().await;
        let mut answer = sent.map_err(|error| remote("read", url, error))?;
        let status = answer.status().as_u16();
        if !(200..=299).contains(&status) {
            return Err(refused("read", url, status));
        }
        let mut bytes = 0;
        while let Some(part) = answer.chunk().await.map_err(|error| remote("read", url, error))? {
            bytes += part.len() as u64;
            if bytes > bytes_max {
                return Err(large(bytes));
            }
            take(&part)?;
        }
        Ok(())
    })
}

/// Tries again what failed for no lasting reason.
fn retrying<T>(mut act: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let mut pause = PAUSE;
    for _ in 1..ATTEMPTS_MAX {
        match act() {
            Err(StoreError::Remote { .. }) => {}
            done => return done,
        }
        std::thread::sleep(pause);
        pause *= 2;
    }
    act()
}

fn refused(action: &'static str, url: &str, status: u16) -> StoreError {
    let name = without_query(url);
    match status {
        404 => StoreError::Missing { name },
        408 | 429 | 500.. => StoreError::Remote { action, name, source: format!("HTTP {status}").into() },
        status => StoreError::Refused { action, name, status },
    }
}

fn remote(action: &'static str, url: &str, error: reqwest::Error) -> StoreError {
    StoreError::Remote { action, name: without_query(url), source: Box::new(error.without_url()) }
}

/// The one client of the process: it keeps connections open.
pub(crate) fn client() -> &'static reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            // Who holds a right must not be sent elsewhere with it.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("the settings are sound")
    })
}
