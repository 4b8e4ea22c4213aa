//! A record: the output of one task for one sample, in blocks that can be read one by one.
//!
//! Invariant: what a reader returns is what the builder was given, for the same key and task, or an error that names
//! pack, offset, task and block. No length is believed before it is authenticated or within the piece.

use std::fs::File;
use std::sync::Arc;

use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};

use super::seal::{DIRECTORY, Sealer, TRAILER_BYTES, Trailer};
use super::{Damage, PackError, Place};
use crate::key::{SampleKey, random};

/// Longest plaintext of a block in bytes; a writer with more makes more blocks.
pub const BLOCK_BYTES_MAX: usize = 1 << 30;

/// Most blocks of a record: its directory then takes half a gigabyte.
pub const BLOCKS_MAX: usize = 1 << 24;

/// What the directory tells of a block. The numbers are the writer's; storage keeps them as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockEntry {
    /// What the block holds.
    pub kind: u8,
    /// Smallest sort key in the block, such as `contig << 32 | position`.
    pub first: u64,
    /// Largest sort key in the block.
    pub last: u64,
    /// Items in the block.
    pub count: u32,
}

/// A block in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Listed {
    entry: BlockEntry,
    raw_bytes: u32,
    sealed_bytes: u32,
}

const LISTED_BYTES: usize = 29;

impl Listed {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.entry.kind);
        out.extend_from_slice(&self.entry.first.to_le_bytes());
        out.extend_from_slice(&self.entry.last.to_le_bytes());
        out.extend_from_slice(&self.entry.count.to_le_bytes());
        out.extend_from_slice(&self.raw_bytes.to_le_bytes());
        out.extend_from_slice(&self.sealed_bytes.to_le_bytes());
    }

    fn decode(bytes: &[u8; LISTED_BYTES]) -> Self {
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let entry = BlockEntry { kind: bytes[0], first: u64_at(1), last: u64_at(9), count: u32_at(17) };
        Listed { entry, raw_bytes: u32_at(21), sealed_bytes: u32_at(25) }
    }
}

/// Builds one record in memory.
#[derive(Debug)]
pub struct RecordBuilder {
    sealer: Sealer,
    key_id: [u8; 8],
    salt: [u8; 32],
    context: String,
    listed: Vec<Listed>,
    out: Vec<u8>,
}

impl RecordBuilder {
    /// Begins a record that opens only with this key and for this `context` (job, sample, task).
    pub fn new(key: &SampleKey, context: &str) -> Self {
        Self::with_salt(key, context, *random())
    }

    /// A salt may serve once under a key: the nonces count from zero.
    pub(super) fn with_salt(key: &SampleKey, context: &str, salt: [u8; 32]) -> Self {
        let sealer = Sealer::new(key, &salt, context);
        let (listed, out) = (Vec::new(), Vec::new());
        RecordBuilder { sealer, key_id: key.id(), salt, context: context.to_owned(), listed, out }
    }

    /// Appends a block: compressed if that makes it smaller, then sealed.
    pub fn block(&mut self, entry: BlockEntry, plaintext: &[u8]) -> Result<(), PackError> {
        let (bytes, blocks) = (plaintext.len(), self.listed.len() + 1);
        if bytes > BLOCK_BYTES_MAX || blocks > BLOCKS_MAX {
            return Err(PackError::TooLarge { context: self.context.clone(), bytes, blocks });
        }
        let start = self.out.len();
        self.out.resize(start + get_maximum_output_size(bytes), 0);
        let compressed = compress_into(plaintext, &mut self.out[start..]).expect("the room is LZ4's maximum");
        self.out.truncate(start + compressed);
        if compressed >= bytes {
            self.out.truncate(start);
            self.out.extend_from_slice(plaintext);
        }
        self.sealer.seal(self.listed.len() as u64, &mut self.out, start);
        let sealed_bytes = (self.out.len() - start) as u32;
        self.listed.push(Listed { entry, raw_bytes: bytes as u32, sealed_bytes });
        Ok(())
    }

    /// Bytes so far, directory and trailer not counted.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether there is no block yet.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// Closes the record with its directory and trailer.
    pub fn finish(mut self) -> Vec<u8> {
        let start = self.out.len();
        self.listed.iter().for_each(|listed| listed.encode(&mut self.out));
        self.sealer.seal(DIRECTORY, &mut self.out, start);
        let directory_bytes = (self.out.len() - start) as u32;
        let trailer = Trailer { key_id: self.key_id, salt: self.salt, directory_bytes };
        self.out.extend_from_slice(&trailer.encode());
        self.out
    }
}

/// A record open for reading, block by block and by several threads.
#[derive(Debug)]
pub struct RecordReader {
    file: Arc<File>,
    place: Place,
    sealer: Sealer,
    entries: Vec<BlockEntry>,
    spans: Vec<Span>,
}

/// Where a block lies in the piece.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u64,
    sealed_bytes: u32,
    raw_bytes: u32,
}

impl RecordReader {
    /// The piece lies within the file as long as nobody cuts it.
    pub(super) fn new(file: Arc<File>, place: Place, key: &SampleKey) -> Result<Self, PackError> {
        let damaged = |damage| place.damaged(damage);
        let body =
            place.piece.length.checked_sub(TRAILER_BYTES as u64).ok_or_else(|| damaged(Damage::Trailer))?;
        let mut trailer = [0; TRAILER_BYTES];
        place.read(&file, body, &mut trailer)?;
        let trailer = Trailer::decode(&trailer).ok_or_else(|| damaged(Damage::Trailer))?;
        if trailer.key_id != key.id() {
            return Err(damaged(Damage::Key));
        }
        let directory_bytes = u64::from(trailer.directory_bytes);
        let blocks_end = body.checked_sub(directory_bytes).ok_or_else(|| damaged(Damage::Trailer))?;
        let mut directory = vec![0; trailer.directory_bytes as usize];
        place.read(&file, blocks_end, &mut directory)?;
        let sealer = Sealer::new(key, &trailer.salt, &place.context);
        let opened = sealer.open(DIRECTORY, &mut directory);
        let (entries, spans) =
            opened.and_then(|plain| list(plain, blocks_end)).ok_or_else(|| damaged(Damage::Directory))?;
        Ok(RecordReader { file, place, sealer, entries, spans })
    }

    /// The blocks in the order in which they were written.
    pub fn entries(&self) -> &[BlockEntry] {
        &self.entries
    }

    /// Plaintext length of block `i` in bytes. Panics if there is no such block.
    pub fn raw_bytes(&self, i: usize) -> usize {
        self.spans[i].raw_bytes as usize
    }

    /// Replaces `out` by the plaintext of block `i`; after an error `out` is empty. Panics if there is no such block.
    pub fn read_block(&self, i: usize, out: &mut Vec<u8>) -> Result<(), PackError> {
        let read = self.read_sealed(i, out);
        if read.is_err() {
            out.clear();
        }
        read
    }

    fn read_sealed(&self, i: usize, out: &mut Vec<u8>) -> Result<(), PackError> {
        let Span { start, sealed_bytes, raw_bytes } = self.spans[i];
        out.resize(sealed_bytes as usize, 0);
        self.place.read(&self.file, start, out)?;
        let damaged = || self.place.damaged(Damage::Block(i));
        let stored = self.sealer.open(i as u64, out).ok_or_else(damaged)?;
        // A block that compression did not shrink is stored as it was, which its equal lengths tell.
        if stored.len() == raw_bytes as usize {
            out.truncate(raw_bytes as usize);
            return Ok(());
        }
        let mut plain = vec![0; raw_bytes as usize];
        if decompress_into(stored, &mut plain).ok() != Some(plain.len()) {
            return Err(damaged());
        }
        *out = plain;
        Ok(())
    }
}

/// The blocks of an authenticated directory, which lie one after the other and end at `blocks_end`.
fn list(directory: &[u8], blocks_end: u64) -> Option<(Vec<BlockEntry>, Vec<Span>)> {
    let (chunks, rest) = directory.as_chunks::<LISTED_BYTES>();
    let mut start = 0;
    let lists = chunks
        .iter()
        .map(|bytes| {
            let Listed { entry, raw_bytes, sealed_bytes } = Listed::decode(bytes);
            let span = Span { start, sealed_bytes, raw_bytes };
            start += u64::from(sealed_bytes);
            (entry, span)
        })
        .unzip();
    (rest.is_empty() && start == blocks_end).then_some(lists)
}
