//! A fragment: the header that says whose it is, and where the segments of an object lie in its fragments. The byte
//! table stands in `DESIGN.md` beside this crate.
//!
//! Invariant: a header reads back only if every byte is as written; segment s is block s div k of fragment s mod k, and
//! the places of all segments tile the bodies of the k data fragments. Nothing here reads or writes a file.

use aws_lc_rs::digest::{SHA256, digest};
use jobs::failure::{Class, Classified};
use zeroize::Zeroizing;

use crate::erasure::Code;
use crate::tree::BLOCK_BYTES;

/// Bytes of a header; the body follows.
pub const HEADER_BYTES: usize = 128;

/// Bytes that the tree at a fragment's end has for each block.
pub const VALUE_BYTES: usize = 32;

const MAGIC: &[u8; 8] = b"WKFRG\0\0\x01";
const VERSION_AT: usize = 7;
const OBJECT_AT: usize = 8;
const CORE_AT: usize = 24;
const LAYOUT_EPOCH_AT: usize = 56;
const K_AT: usize = 60;
const M_AT: usize = 61;
const INDEX_AT: usize = 62;
const ZERO_AT: usize = 63;
const SHARE_AT: usize = 64;
const DIGEST_AT: usize = 96;

/// Whose fragment it is, and its share of the fragments' secret.
#[derive(Clone, PartialEq, Eq)]
pub struct FragmentHeader {
    /// The object.
    pub object: [u8; 16],
    /// SHA-256 of the object's core.
    pub core_hash: [u8; 32],
    /// Counts the layouts of the object over sites, from 1.
    pub layout_epoch: u32,
    /// Data fragments of the object.
    pub k: u8,
    /// Parity fragments of the object.
    pub m: u8,
    /// Index of this fragment, from 0; data first.
    pub index: u8,
    /// Share of the fragments' secret at the point `index` + 1.
    pub share: Zeroizing<[u8; 32]>,
}

impl FragmentHeader {
    /// The bytes of the header.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..OBJECT_AT].copy_from_slice(MAGIC);
        bytes[OBJECT_AT..CORE_AT].copy_from_slice(&self.object);
        bytes[CORE_AT..LAYOUT_EPOCH_AT].copy_from_slice(&self.core_hash);
        bytes[LAYOUT_EPOCH_AT..K_AT].copy_from_slice(&self.layout_epoch.to_le_bytes());
        bytes[K_AT] = self.k;
        bytes[M_AT] = self.m;
        bytes[INDEX_AT] = self.index;
        bytes[SHARE_AT..DIGEST_AT].copy_from_slice(&*self.share);
        let digest = digest(&SHA256, &bytes[..DIGEST_AT]);
        bytes[DIGEST_AT..].copy_from_slice(digest.as_ref());
        bytes
    }

    /// The header of these bytes.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, FragmentError> {
        if bytes[..VERSION_AT] != MAGIC[..VERSION_AT] {
            return Err(FragmentError::Magic);
        }
        if bytes[VERSION_AT] != MAGIC[VERSION_AT] {
            return Err(FragmentError::Version { version: bytes[VERSION_AT] });
        }
        if digest(&SHA256, &bytes[..DIGEST_AT]).as_ref() != &bytes[DIGEST_AT..] {
            return Err(FragmentError::Digest);
        }
        let (k, m, index) = (bytes[K_AT], bytes[M_AT], bytes[INDEX_AT]);
        if Code::fits(k, m) && index < k + m && bytes[ZERO_AT] == 0 {
            Ok(FragmentHeader {
                object: array(&bytes[OBJECT_AT..CORE_AT]),
                core_hash: array(&bytes[CORE_AT..LAYOUT_EPOCH_AT]),
                layout_epoch: u32::from_le_bytes(array(&bytes[LAYOUT_EPOCH_AT..K_AT])),
                k,
                m,
                index,
                share: Zeroizing::new(array(&bytes[SHARE_AT..DIGEST_AT])),
            })
        } else {
            Err(FragmentError::Index { k, m, index })
        }
    }
}

impl std::fmt::Debug for FragmentHeader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let FragmentHeader { layout_epoch, k, m, index, .. } = self;
        write!(f, "FragmentHeader(fragment {index} of {k}+{m}, layout epoch {layout_epoch}, ..)")
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the byte table adds up")
}

/// Where the bytes of an object's ciphertext lie in its fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    k: u8,
    ciphertext_bytes: u64,
}

impl Geometry {
    /// The places of `ciphertext_bytes` of segments under this code.
    pub fn new(code: &Code, ciphertext_bytes: u64) -> Self {
        Geometry { k: code.k(), ciphertext_bytes }
    }

    /// Segments of the object; the last may be short.
    pub fn segments(&self) -> u64 {
        self.ciphertext_bytes.div_ceil(BLOCK_BYTES as u64)
    }

    /// Rows of k segments; the last may have fewer.
    pub fn rows(&self) -> u64 {
        self.segments().div_ceil(self.k.into())
    }

    /// Bytes of segment `s`; 0 if there is none.
    pub fn segment_bytes(&self, s: u64) -> usize {
        let before = s.saturating_mul(BLOCK_BYTES as u64);
        self.ciphertext_bytes.saturating_sub(before).min(BLOCK_BYTES as u64) as usize
    }

    /// Fragment and row of segment `s`.
    pub fn place(&self, s: u64) -> (u8, u64) {
        ((s % u64::from(self.k)) as u8, s / u64::from(self.k))
    }

    /// The segment that is block `row` of fragment `index`; `None` for parity and where the object ends before.
    pub fn segment(&self, index: u8, row: u64) -> Option<u64> {
        let s = row.checked_mul(self.k.into())?.checked_add(index.into())?;
        (index < self.k && s < self.segments()).then_some(s)
    }

    /// Bytes of block `row` of fragment `index`, 0 if there is none. A parity block is as long as the longest segment
    /// of its row, which is the first.
    pub fn block_bytes(&self, index: u8, row: u64) -> usize {
        let first_or_own = if index < self.k { index } else { 0 };
        self.segment(first_or_own, row).map_or(0, |s| self.segment_bytes(s))
    }

    /// Bytes of the body of fragment `index`: all rows but the last are full.
    pub fn body_bytes(&self, index: u8) -> u64 {
        match self.rows() {
            0 => 0,
            rows => (rows - 1) * BLOCK_BYTES as u64 + self.block_bytes(index, rows - 1) as u64,
        }
    }

    /// Blocks of fragment `index`.
    pub fn blocks(&self, index: u8) -> u64 {
        self.body_bytes(index).div_ceil(BLOCK_BYTES as u64)
    }

    /// Bytes of fragment `index` with its header and tree.
    pub fn fragment_bytes(&self, index: u8) -> u64 {
        HEADER_BYTES as u64 + self.body_bytes(index) + VALUE_BYTES as u64 * self.blocks(index)
    }
}

/// Why bytes are no fragment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FragmentError {
    /// It begins otherwise.
    #[error("no fragment: expected the magic WKFRG at offset 0")]
    Magic,
    /// Another version of the format.
    #[error("fragment of version {version} at offset {VERSION_AT}: expected 1")]
    Version {
        /// The version.
        version: u8,
    },
    /// The header's bytes are not those that were written.
    #[error("damaged header: its {DIGEST_AT} bytes do not match the SHA-256 at offset {DIGEST_AT}")]
    Digest,
    /// A fragment that no object has.
    #[error(
        "fragment {index} of {k}+{m} at offset {K_AT}: expected an index below k+m, k from 1, k+m to 255, then a zero"
    )]
    Index {
        /// Data fragments.
        k: u8,
        /// Parity fragments.
        m: u8,
        /// The fragment.
        index: u8,
    },
}

impl Classified for FragmentError {
    fn class(&self) -> Class {
        Class::Integrity
    }
}

#[cfg(test)]
mod tests;
