//! Tickets: the few bytes that a foreign place is told, from which its worker finds and opens the rest.
//!
//! Invariant: whoever has the ticket has the bundle's data and nothing else. It travels inside the batch system's own
//! request, apart from the store where the sealed data lies, and is on no disk of ours.

use super::{BundleError, checked, parse, to_json};
use crate::store::presigned;
use serde::{Deserialize, Serialize};
use std::path::Path;
use storage::{BlockEntry, PackError, Packs, PieceRef, RecordBuilder, SampleKey};
use zeroize::Zeroizing;

/// Schema of a ticket.
pub const TICKET_SCHEMA: &str = "wakachi.ticket/1";

/// What the worker of a carried bundle is started with.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// [`TICKET_SCHEMA`].
    pub schema: String,
    /// [`Bundle::id`](super::Bundle::id).
    pub id: String,
    /// The sealed bundle.
    pub bundle: Object,
    /// Opens it and everything it names.
    pub key: BundleKey,
}

/// An object that may be fetched by whoever has the URL.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Object {
    /// Where it is; presigned.
    pub url: String,
    /// Its length.
    pub bytes: u64,
    /// BLAKE3, in hexadecimal.
    pub blake3: String,
}

/// The secret of one bundle; wiped from memory when dropped.
#[derive(Clone)]
pub struct BundleKey(Zeroizing<[u8; 32]>);

impl Ticket {
    /// As it is handed over.
    pub fn to_json(&self) -> String {
        String::from_utf8(to_json(self)).expect("JSON is text")
    }

    /// Reads it.
    pub fn from_json(name: &str, bytes: &[u8]) -> Result<Self, BundleError> {
        let ticket: Ticket = parse(name, TICKET_SCHEMA, bytes)?;
        checked(name, TICKET_SCHEMA, &ticket.schema)?;
        Ok(ticket)
    }
}

impl Object {
    /// Of these bytes at this URL.
    pub fn of(url: String, bytes: &[u8]) -> Self {
        Object { url, bytes: bytes.len() as u64, blake3: blake3::hash(bytes).to_string() }
    }

    /// Fetches it into a new file, whole and as stated or not at all.
    pub fn fetch(&self, path: &Path) -> Result<(), BundleError> {
        let digest = blake3::Hash::from_hex(&self.blake3).map_err(|error| BundleError::Form {
            name: "an object".to_owned(),
            schema: super::BUNDLE_SCHEMA,
            what: format!("blake3: {error}"),
        })?;
        Ok(presigned::fetch(&self.url, digest.as_bytes(), self.bytes, path)?)
    }
}

impl BundleKey {
    /// A new one, of the system's randomness.
    pub fn random() -> Self {
        BundleKey(SampleKey::random_secret())
    }

    /// What records are sealed under.
    pub fn records(&self) -> SampleKey {
        SampleKey::from_secret(self.0.clone())
    }

    /// Seals a document to `context`.
    pub fn seal(&self, context: &str, document: &[u8]) -> Vec<u8> {
        let mut record = RecordBuilder::new(&self.records(), context);
        let entry = BlockEntry { kind: 0, first: 0, last: 0, count: 1 };
        record.block(entry, document).expect("documents are far below a block's limit");
        record.finish()
    }

    /// Opens what [`BundleKey::seal`] sealed; `name` is for errors.
    pub fn open(&self, name: &str, context: &str, sealed: &[u8]) -> Result<Vec<u8>, BundleError> {
        let scratch = tempfile::tempdir().map_err(storage::DiskError::on("use", &std::env::temp_dir()))?;
        let path = scratch.path().join("document");
        std::fs::write(&path, sealed).map_err(storage::DiskError::on("write", &path))?;
        let (pack, length) = ("document".to_owned(), sealed.len() as u64);
        let piece = PieceRef { pack, offset: 0, length, blake3: *blake3::hash(sealed).as_bytes() };
        let mut document = Vec::new();
        let opened =
            Packs::new(scratch.path()).record(&piece, &self.records(), context).and_then(
                |record| match record.entries().len() {
                    0 => Ok(()),
                    _ => record.read_block(0, &mut document),
                },
            );
        match opened {
            Ok(()) => Ok(document),
            Err(PackError::Disk(error)) => Err(error.into()),
            Err(_) => Err(BundleError::Sealed { name: name.to_owned() }),
        }
    }
}

impl std::fmt::Debug for BundleKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BundleKey(..)")
    }
}

/// Hexadecimal.
impl Serialize for BundleKey {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&blake3::Hash::from_bytes(*self.0).to_hex())
    }
}

impl<'de> Deserialize<'de> for BundleKey {
    fn deserialize<D: serde::Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(source)?);
        let bytes = blake3::Hash::from_hex(text.as_bytes()).map_err(serde::de::Error::custom)?;
        Ok(BundleKey(Zeroizing::new(*bytes.as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_opens_with_its_key_for_its_purpose_and_unchanged() {
        let key = BundleKey::random();
        let sealed = key.seal("b1/bundle", b"text");
        assert_eq!(key.open("x", "b1/bundle", &sealed).unwrap(), b"text");
        assert!(key.open("x", "b2/bundle", &sealed).is_err());
        assert!(BundleKey::random().open("x", "b1/bundle", &sealed).is_err());
        for at in (0..sealed.len()).step_by(7) {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open("x", "b1/bundle", &changed).is_err(), "byte {at}");
        }
        assert!(key.open("x", "b1/bundle", &[]).is_err());
    }

    #[test]
    fn a_key_is_read_as_it_was_written_and_not_printed() {
        let key = BundleKey::random();
        let text = serde_json::to_string(&key).unwrap();
        let read: BundleKey = serde_json::from_str(&text).unwrap();
        assert_eq!(*read.0, *key.0);
        assert_eq!(format!("{key:?}"), "BundleKey(..)");
        assert!(serde_json::from_str::<BundleKey>("\"00\"").is_err());
    }
}
