//! Authenticated encryption of one record: AES-256-GCM under a key of the record's own.
//!
//! Invariant: no nonce repeats under a key, because a record's key comes from a fresh random salt and its nonces count
//! blocks. The associated data ties every block to the key, the salt and the task.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::key::SampleKey;

/// The last bytes of a record; the version is the magic's last byte.
pub(super) const TRAILER_BYTES: usize = 52;
const MAGIC: &[u8; 8] = b"WKREC\0\0\x01";
const KEY_ID_AT: usize = 8;
const SALT_AT: usize = 16;
const DIRECTORY_BYTES_AT: usize = 48;

/// The directory's ordinal; blocks count from 0.
pub(super) const DIRECTORY: u64 = u64::MAX;

/// What the trailer of a record says. Nothing in it is trusted: the key, the salt and the length only serve to open
/// the directory, which fails if any of them is not what it was.
pub(super) struct Trailer {
    pub key_id: [u8; 8],
    pub salt: [u8; 32],
    pub directory_bytes: u32,
}

impl Trailer {
    pub fn encode(&self) -> [u8; TRAILER_BYTES] {
        let mut bytes = [0; TRAILER_BYTES];
        bytes[..KEY_ID_AT].copy_from_slice(MAGIC);
        bytes[KEY_ID_AT..SALT_AT].copy_from_slice(&self.key_id);
        bytes[SALT_AT..DIRECTORY_BYTES_AT].copy_from_slice(&self.salt);
        bytes[DIRECTORY_BYTES_AT..].copy_from_slice(&self.directory_bytes.to_le_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8; TRAILER_BYTES]) -> Option<Self> {
        bytes.starts_with(MAGIC).then(|| Trailer {
            key_id: bytes[KEY_ID_AT..SALT_AT].try_into().expect("eight bytes"),
            salt: bytes[SALT_AT..DIRECTORY_BYTES_AT].try_into().expect("32 bytes"),
            directory_bytes: u32::from_le_bytes(bytes[DIRECTORY_BYTES_AT..].try_into().expect("four bytes")),
        })
    }
}

/// Seals and opens the parts of one record.
pub(super) struct Sealer {
    cipher: LessSafeKey,
    /// Magic, key id, salt, context.
    associated: Vec<u8>,
}

impl Sealer {
    pub fn new(key: &SampleKey, salt: &[u8; 32], context: &str) -> Self {
        let secret = key.record_key(salt);
        let cipher = UnboundKey::new(&AES_256_GCM, &*secret).expect("AES-256 takes 32 bytes");
        let associated = [&MAGIC[..], &key.id(), salt, context.as_bytes()].concat();
        Sealer { cipher: LessSafeKey::new(cipher), associated }
    }

    /// Seals `out[from..]` in place and appends the tag.
    pub fn seal(&self, ordinal: u64, out: &mut Vec<u8>, from: usize) {
        let tag = self
            .cipher
            .seal_in_place_separate_tag(nonce(ordinal), Aad::from(&self.associated), &mut out[from..])
            .expect("a block is far below AES-GCM's 64 GiB");
        out.extend_from_slice(tag.as_ref());
    }

    /// The plaintext of a sealed part, or `None` if a bit of it, its place, its key or its task is another.
    pub fn open<'a>(&self, ordinal: u64, sealed: &'a mut [u8]) -> Option<&'a [u8]> {
        let opened = self.cipher.open_in_place(nonce(ordinal), Aad::from(&self.associated), sealed);
        opened.ok().map(|plain| &*plain)
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(..)")
    }
}

fn nonce(ordinal: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&ordinal.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}
