//! Sites: stores of named files at one place each, behind one trait, so that the vault knows no filesystem.
//!
//! Invariant: a name shows a whole file or none, and a file that was finished was synced and read back. What a store
//! gives is bytes to be checked, never to be believed. Knows nothing of what the files mean.

pub mod device;
pub mod file;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jobs::failure::{Class, Classified};

use crate::disk::DiskError;
pub use device::{Device, RealDevice};
pub use file::FileStore;

/// What the name of a file ends in until it is finished.
pub(crate) const PARTIAL: &str = ".partial";

/// A store of named files at one place. Names are relative paths with `/`, made by this crate, never by people.
pub trait Store: std::fmt::Debug + Send + Sync {
    /// Begins a file; nothing is seen under its name until [`Incoming::finish`].
    fn create(&self, name: &str) -> Result<Box<dyn Incoming>, StoreError>;

    /// Opens a file for reading anywhere in it; `None`: there is none of that name.
    fn open(&self, name: &str) -> Result<Option<Box<dyn Blob>>, StoreError>;

    /// What lies directly in a folder, in order; nothing where there is no such folder. Fails where the store itself
    /// is gone.
    fn list(&self, folder: &str) -> Result<Vec<String>, StoreError>;

    /// Removes a file and what was begun of it; it is no error if there is none. Links are neither removed nor followed.
    fn remove(&self, name: &str) -> Result<(), StoreError>;

    /// Removes a folder if it is empty; it is no error if there is none, or something in it.
    fn remove_folder(&self, folder: &str) -> Result<(), StoreError>;

    /// The same file for people: a path or URL.
    fn show(&self, name: &str) -> PathBuf;

    /// Writes a whole small file.
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let mut incoming = self.create(name)?;
        incoming.write(bytes)?;
        incoming.finish()
    }

    /// Reads a whole small file of at most `bytes_max` bytes; `None`: there is none of that name.
    fn get(&self, name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(blob) = self.open(name)? else { return Ok(None) };
        let bytes = blob.bytes();
        if bytes > bytes_max {
            return Err(StoreError::Large { path: self.show(name), bytes, bytes_max });
        }
        let mut whole = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
        let read = blob.read(0, &mut whole)?;
        whole.truncate(read);
        Ok(Some(whole))
    }
}

/// A file being written; dropped before [`Incoming::finish`], it leaves at most what [`Store::remove`] removes.
pub trait Incoming {
    /// Appends.
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError>;

    /// Syncs, reads back, compares with what was written, gives the file its name and syncs that.
    fn finish(self: Box<Self>) -> Result<(), StoreError>;
}

/// A stored file.
pub trait Blob: Send {
    /// Its length when it was opened.
    fn bytes(&self) -> u64;

    /// Fills `buffer` from `offset` on; fewer bytes only where the file ends.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, StoreError>;
}

/// The store at `url`; `device` carries out what changes files.
pub fn open(url: &str, device: &Arc<dyn Device>) -> Result<Box<dyn Store>, StoreError> {
    Ok(Box::new(FileStore::new(&folder_of(url)?, Arc::clone(device))))
}

/// The folder that a `file://` URL names.
pub fn folder_of(url: &str) -> Result<PathBuf, StoreError> {
    let refuse = |expected| StoreError::Url { url: url.to_owned(), expected };
    let path = url
        .strip_prefix("file://")
        .ok_or_else(|| refuse("a file:// URL, the only kind this version can store at"))?;
    let path = path.strip_prefix("localhost").unwrap_or(path);
    if !path.starts_with('/') {
        return Err(refuse("an absolute path, as in file:///srv/site"));
    }
    if path.contains(['?', '#', '\0']) {
        return Err(refuse("a path without query or fragment; write ? as %3F and # as %23"));
    }
    let decoded = percent_decoded(path).ok_or_else(|| refuse("% only before two hexadecimal digits"))?;
    let folder = std::ffi::OsString::from(decoded);
    match Path::new(&folder).components().any(|part| part == std::path::Component::ParentDir) {
        true => Err(refuse("a path without ..")),
        false => Ok(folder.into()),
    }
}

/// The `file://` URL of an absolute path; what is not plain in a URL is percent-encoded.
pub fn url_of(folder: &Path) -> String {
    use std::fmt::Write;
    let mut url = "file://".to_owned();
    for byte in folder.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => {
                url.push(char::from(*byte));
            }
            _ => write!(url, "%{byte:02X}").expect("a string takes everything"),
        }
    }
    url
}

/// RFC 3986 § 2.1; `None`: a stray percent sign, a zero byte, or no text.
fn percent_decoded(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok().filter(|digits| !digits.starts_with('+'))?;
        decoded.push(u8::from_str_radix(digits, 16).ok().filter(|byte| *byte != 0)?);
        rest = &rest[2..];
    }
    String::from_utf8(decoded).ok()
}

/// Why a store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The filesystem refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The URL names no store.
    #[error("'{url}': expected {expected}")]
    Url {
        /// As given.
        url: String,
        /// What is possible.
        expected: &'static str,
    },
    /// The folder of the store is not there.
    #[error("{} is not there", folder.display())]
    Gone {
        /// The store's folder.
        folder: PathBuf,
    },
    /// The device gave back other bytes than were written.
    #[error("{}: the bytes read back are not those that were written", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A small file is large.
    #[error("{} has {bytes} bytes, expected at most {bytes_max}", path.display())]
    Large {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
        /// What is allowed.
        bytes_max: u64,
    },
}

impl Classified for StoreError {
    fn class(&self) -> Class {
        match self {
            StoreError::Disk(error) => error.class(),
            StoreError::Url { .. } => Class::Usage,
            StoreError::Gone { .. } => Class::Failed,
            StoreError::Changed { .. } | StoreError::Large { .. } => Class::Integrity,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            StoreError::Disk(error) => error.hint(),
            StoreError::Url { .. } => Some("name a mounted folder as file:///absolute/path".to_owned()),
            StoreError::Gone { folder } => {
                Some(format!("mount {} and give the same command again", folder.display()))
            }
            StoreError::Changed { .. } => {
                Some("check the device and its cables before trying again".to_owned())
            }
            StoreError::Large { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_folders_or_say_what_is_possible() {
        let check = |url: &str, expect: &str| {
            let found = match folder_of(url) {
                Ok(folder) => folder.display().to_string(),
                Err(error) => {
                    assert_eq!(error.class(), Class::Usage);
                    error.to_string()
                }
            };
            assert!(found.contains(expect), "{url}: {found}");
        };
        check("file:///srv/a", "/srv/a");
        check("file://localhost/srv/a", "/srv/a");
        check("file:///srv/a%20b/%E5%88%86", "/srv/a b/分");
        check("file://srv/a", "expected an absolute path");
        check("file:///srv/a%2", "two hexadecimal digits");
        check("file:///srv/a%+1", "two hexadecimal digits");
        check("file:///srv/a%00", "two hexadecimal digits");
        check("file:///srv/../a", "without ..");
        check("file:///srv/a?x", "without query");
        check("s3://bucket/a", "the only kind this version can store at");
        check("/srv/a", "expected a file:// URL");
        for folder in ["/srv/a b", "/分かち/%41?#"] {
            assert_eq!(folder_of(&url_of(Path::new(folder))).unwrap(), Path::new(folder));
        }
    }
}
