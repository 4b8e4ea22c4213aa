//! FLOE, the random-access authenticated encryption of <https://c2sp.org/FLOE>, with AES-256-GCM and
//! HKDF-EXPAND-SHA-384: a file becomes a header and segments that are opened one by one, in any order, by any number
//! of threads.
//!
//! Invariant: a segment opens only under its key, associated data, header and position, and as the last or not the
//! last as it was sealed; nothing that fails its tag is handed out. Who calls it decides which positions there are.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hkdf::{HKDF_SHA256, HKDF_SHA384, KeyType, Prk, Salt};
use jobs::failure::{Class, Classified};
use zeroize::Zeroizing;

use crate::key::random;

/// Bytes of an encrypted segment; the last may be shorter.
pub const SEGMENT_BYTES: usize = VAULT.segment_bytes;

/// Plaintext bytes of a segment; the last may have fewer.
pub const PLAIN_BYTES: usize = SEGMENT_BYTES - OVERHEAD_BYTES;

/// Bytes of a segment beside its ciphertext: length, nonce, tag. The shortest segment has no more.
pub const OVERHEAD_BYTES: usize = LENGTH_BYTES + NONCE_LEN + TAG_BYTES;

/// Bytes of a header: parameters, nonce, tag.
pub const HEADER_BYTES: usize = PARAMETER_BYTES + IV_BYTES + HEADER_TAG_BYTES;

/// Most segments of a ciphertext.
pub const SEGMENTS_MAX: u64 = 1 << 40;

const PARAMETER_BYTES: usize = 10;
const IV_BYTES: usize = 32;
const HEADER_TAG_BYTES: usize = 32;
const MESSAGE_KEY_BYTES: usize = 48;
const AEAD_KEY_BYTES: usize = 32;
const LENGTH_BYTES: usize = 4;
const TAG_BYTES: usize = 16;
/// Stands for the length in every segment but the last.
const NOT_LAST: u32 = u32::MAX;

const VAULT: Parameters = Parameters { segment_bytes: 65_536, rotation_bits: 20 };

/// Bytes of the segments of a file of `plaintext_bytes`, without the header.
pub fn ciphertext_bytes(plaintext_bytes: u64) -> u64 {
    plaintext_bytes + plaintext_bytes.div_ceil(PLAIN_BYTES as u64).max(1) * OVERHEAD_BYTES as u64
}

/// The inverse of [`ciphertext_bytes`]; `None` where no file has so many bytes of segments.
pub fn plaintext_bytes(ciphertext_bytes: u64) -> Option<u64> {
    let segments = ciphertext_bytes.div_ceil(SEGMENT_BYTES as u64);
    let plain = ciphertext_bytes.checked_sub(segments * OVERHEAD_BYTES as u64)?;
    (segments <= SEGMENTS_MAX && self::ciphertext_bytes(plain) == ciphertext_bytes).then_some(plain)
}

/// The key of one object; wiped from memory when dropped and never written down.
pub struct DataKey(Zeroizing<[u8; 32]>);

impl DataKey {
    /// The key that takes both locks: the secret of the custodians `s_c` and that of the fragments `s_s`, bound to the
    /// hash of the object's core.
    pub fn derive(core_hash: &[u8; 32], s_c: &[u8; 32], s_s: &[u8; 32]) -> Self {
        let mut secrets = Zeroizing::new([0; 64]);
        secrets[..32].copy_from_slice(s_c);
        secrets[32..].copy_from_slice(s_s);
        let prk = Salt::new(HKDF_SHA256, core_hash).extract(&*secrets);
        DataKey(expand(&prk, &[b"wakachi 2026 vault data key"]))
    }
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey(..)")
    }
}

/// Seals the segments of one file.
#[derive(Debug)]
pub struct Encryptor(Message);

impl Encryptor {
    /// Begins a file under a fresh nonce, which the header carries.
    pub fn start(key: &DataKey, aad: &[u8]) -> (Self, [u8; HEADER_BYTES]) {
        let mut header = [0; HEADER_BYTES];
        let message = Message::seal_header(VAULT, key, aad, &mut header);
        (Encryptor(message), header)
    }

    /// Appends the sealed segment at `position` to `out`: [`PLAIN_BYTES`] of plaintext, at most so many if it is the
    /// last. The caller seals each position once, and the highest alone as the last.
    ///
    /// Panics if `plain` has another length or the position is not below [`SEGMENTS_MAX`].
    pub fn segment(&self, position: u64, is_final: bool, plain: &[u8], out: &mut Vec<u8>) {
        self.0.seal(position, is_final, plain, out);
    }
}

/// Opens the segments of one file.
#[derive(Debug)]
pub struct Decryptor(Message);

impl Decryptor {
    /// Begins the file of this header.
    pub fn start(key: &DataKey, aad: &[u8], header: &[u8]) -> Result<Self, FloeError> {
        Message::open_header(VAULT, key, aad, header).map(Decryptor)
    }

    /// Appends the plaintext of the segment at `position` to `out`, which an error leaves as it was.
    pub fn segment(
        &self,
        position: u64,
        is_final: bool,
        segment: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), FloeError> {
        self.0.open(position, is_final, segment, out)
    }
}

/// What the specification leaves open. The vault knows one choice; the published answers are of others.
#[derive(Clone, Copy, Debug)]
struct Parameters {
    segment_bytes: usize,
    /// A new AEAD key every 2^`rotation_bits` segments.
    rotation_bits: u32,
}

impl Parameters {
    /// AEAD 0, KDF 0, segment length, nonce length.
    fn encode(self) -> [u8; PARAMETER_BYTES] {
        let mut bytes = [0; PARAMETER_BYTES];
        bytes[2..6].copy_from_slice(&(self.segment_bytes as u32).to_be_bytes());
        bytes[6..].copy_from_slice(&(IV_BYTES as u32).to_be_bytes());
        bytes
    }
}

/// One file under one nonce.
struct Message {
    parameters: Parameters,
    iv: [u8; IV_BYTES],
    aad: Vec<u8>,
    key: Prk,
    /// The AEAD key used last and the first position it serves: one for 64 GiB of a vault's file.
    recent: Mutex<Option<(u64, Arc<LessSafeKey>)>>,
}

impl Message {
    /// `startEncryption`.
    fn seal_header(
        parameters: Parameters,
        key: &DataKey,
        aad: &[u8],
        header: &mut [u8; HEADER_BYTES],
    ) -> Self {
        let (message, tag) = Self::derive(parameters, key, aad, *random());
        header[..PARAMETER_BYTES].copy_from_slice(&parameters.encode());
        header[PARAMETER_BYTES..][..IV_BYTES].copy_from_slice(&message.iv);
        header[PARAMETER_BYTES + IV_BYTES..].copy_from_slice(&*tag);
        message
    }

    /// `startDecryption`.
    fn open_header(
        parameters: Parameters,
        key: &DataKey,
        aad: &[u8],
        header: &[u8],
    ) -> Result<Self, FloeError> {
        let header: &[u8; HEADER_BYTES] =
            header.try_into().map_err(|_| FloeError::HeaderLength { bytes: header.len() })?;
        let (encoded, rest) = header.split_at(PARAMETER_BYTES);
        if encoded != parameters.encode() {
            return Err(FloeError::Parameters);
        }
        let (iv, stored) = rest.split_at(IV_BYTES);
        let (message, tag) = Self::derive(parameters, key, aad, iv.try_into().expect("32 bytes"));
        verify_slices_are_equal(&*tag, stored).map_err(|_| FloeError::HeaderTag)?;
        Ok(message)
    }

    /// The message under its nonce, and the header's tag.
    fn derive(
        parameters: Parameters,
        key: &DataKey,
        aad: &[u8],
        iv: [u8; IV_BYTES],
    ) -> (Self, Zeroizing<[u8; HEADER_TAG_BYTES]>) {
        let prk = Prk::new_less_safe(HKDF_SHA384, &*key.0);
        let encoded = parameters.encode();
        let tag = expand(&prk, &[&encoded, &iv, b"HEADER_TAG:", aad]);
        let secret = expand::<MESSAGE_KEY_BYTES>(&prk, &[&encoded, &iv, b"MESSAGE_KEY:", aad]);
        let key = Prk::new_less_safe(HKDF_SHA384, &*secret);
        (Message { parameters, iv, aad: aad.to_vec(), key, recent: Mutex::new(None) }, tag)
    }

    /// `encryptSegment`.
    fn seal(&self, position: u64, is_final: bool, plain: &[u8], out: &mut Vec<u8>) {
        let full = self.parameters.segment_bytes - OVERHEAD_BYTES;
        assert!(position < SEGMENTS_MAX, "a file has at most 2^40 segments");
        assert!(plain.len() == full || is_final && plain.len() < full, "only the last segment is short");
        let nonce: [u8; NONCE_LEN] = *random();
        let length = if is_final { (plain.len() + OVERHEAD_BYTES) as u32 } else { NOT_LAST };
        out.reserve(plain.len() + OVERHEAD_BYTES);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&nonce);
        let start = out.len();
        out.extend_from_slice(plain);
        let tag = self
            .aead_key(position)
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                associated(position, is_final),
                &mut out[start..],
            )
            .expect("a segment is far below AES-GCM's 64 GiB");
        out.extend_from_slice(tag.as_ref());
    }

    /// `decryptSegment`.
    fn open(
        &self,
        position: u64,
        is_final: bool,
        segment: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), FloeError> {
        let (full, bytes) = (self.parameters.segment_bytes, segment.len());
        if position >= SEGMENTS_MAX {
            return Err(FloeError::Position { position });
        }
        if bytes != full && !(is_final && (OVERHEAD_BYTES..full).contains(&bytes)) {
            return Err(FloeError::SegmentLength { position, bytes });
        }
        let (length, rest) = segment.split_at(LENGTH_BYTES);
        if length != if is_final { bytes as u32 } else { NOT_LAST }.to_be_bytes() {
            return Err(FloeError::Ending { position });
        }
        let (nonce, sealed) = rest.split_at(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(nonce).expect("12 bytes");
        let start = out.len();
        out.extend_from_slice(sealed);
        let opened =
            self.aead_key(position).open_in_place(nonce, associated(position, is_final), &mut out[start..]);
        let plain_bytes = opened.map(|plain| plain.len());
        out.truncate(start + plain_bytes.as_ref().unwrap_or(&0));
        plain_bytes.map(drop).map_err(|_| FloeError::Tag { position })
    }

    /// `DERIVE_KEY`, kept until a position of another key asks.
    fn aead_key(&self, position: u64) -> Arc<LessSafeKey> {
        let first = position >> self.parameters.rotation_bits << self.parameters.rotation_bits;
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        match &*recent {
            Some((serves, key)) if *serves == first => Arc::clone(key),
            _ => {
                let info =
                    [&self.parameters.encode()[..], &self.iv, b"DEK:", &first.to_be_bytes(), &self.aad];
                let secret = expand::<AEAD_KEY_BYTES>(&self.key, &info);
                let key = UnboundKey::new(&AES_256_GCM, &*secret).expect("AES-256 takes 32 bytes");
                let key = Arc::new(LessSafeKey::new(key));
                *recent = Some((first, Arc::clone(&key)));
                key
            }
        }
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message").field("parameters", &self.parameters).finish_non_exhaustive()
    }
}

/// Ties a segment to its place and its being the last.
fn associated(position: u64, is_final: bool) -> Aad<[u8; 9]> {
    let mut bytes = [0; 9];
    bytes[..8].copy_from_slice(&position.to_be_bytes());
    bytes[8] = is_final.into();
    Aad::from(bytes)
}

struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand<const N: usize>(prk: &Prk, info: &[&[u8]]) -> Zeroizing<[u8; N]> {
    let mut bytes = Zeroizing::new([0; N]);
    prk.expand(info, Bytes(N))
        .and_then(|okm| okm.fill(&mut *bytes))
        .expect("a key is shorter than 255 hashes");
    bytes
}

/// Why a ciphertext does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FloeError {
    /// The header has another length.
    #[error("header of {bytes} bytes: expected {HEADER_BYTES}")]
    HeaderLength {
        /// Its bytes.
        bytes: usize,
    },
    /// The header names other algorithms or another segment length.
    #[error(
        "header of other parameters: expected AES-256-GCM, SHA-384 and segments of {SEGMENT_BYTES} bytes"
    )]
    Parameters,
    /// The header's tag is another.
    #[error("header does not open: key, associated data or header are others than at sealing")]
    HeaderTag,
    /// There is no such position.
    #[error("segment {position}: expected a position below {SEGMENTS_MAX}")]
    Position {
        /// Position of the segment.
        position: u64,
    },
    /// A segment has a length that it cannot have.
    #[error(
        "segment {position} has {bytes} bytes: expected {SEGMENT_BYTES}, in the last {OVERHEAD_BYTES} to {SEGMENT_BYTES}"
    )]
    SegmentLength {
        /// Position of the segment.
        position: u64,
        /// Its bytes.
        bytes: usize,
    },
    /// The length that a segment begins with tells the last from the others, and is not this one's.
    #[error("segment {position} begins with another length than its own")]
    Ending {
        /// Position of the segment.
        position: u64,
    },
    /// The segment's tag does not match.
    #[error("segment {position} does not open: it is not what was sealed there")]
    Tag {
        /// Position of the segment.
        position: u64,
    },
}

impl Classified for FloeError {
    fn class(&self) -> Class {
        Class::Integrity
    }
}

#[cfg(test)]
mod tests;
