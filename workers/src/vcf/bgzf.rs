//! BGZF (SAMv1 §4.1) block by block.
//!
//! Invariant: what [`compress_cell`] returns depends on its text alone: libdeflate, one level, blocks cut by length.
//! A block that is read was checked: header, length, CRC.

use std::io::{self, Read};

use libdeflater::{CompressionLvl, Compressor, Crc, Decompressor};
use rayon::prelude::*;

/// libdeflate's level; part of the output format.
const LEVEL: i32 = 6;
/// Most text a block holds; leaves room for text that deflate cannot shorten.
const BLOCK_TEXT_BYTES_MAX: usize = 0xff00;
/// Most text for which there is room, were it only stored.
pub const BLOCK_TEXT_BYTES_LIMIT: usize = BLOCK_BYTES_MAX - HEADER_BYTES - FOOTER_BYTES - 15;
/// Most bytes a block takes, before and after compression.
const BLOCK_BYTES_MAX: usize = 1 << 16;
const HEADER: [u8; 16] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 6, 0, b'B', b'C', 2, 0];
const HEADER_BYTES: usize = 18;
const FOOTER_BYTES: usize = 8;

/// The empty block that ends every BGZF file.
pub const EOF_BLOCK: [u8; 28] =
    [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 6, 0, b'B', b'C', 2, 0, 0x1b, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Compresses the text of one cell (or a header) into whole blocks, without end marker: results are concatenated and
/// closed by [`EOF_BLOCK`]. Empty text gives no block.
pub fn compress_cell(text: &[u8]) -> Vec<u8> {
    compress_blocks(text, LEVEL, block_text_bytes(text))
}

/// Compresses text into blocks of so much of it each, at a level.
pub fn compress_blocks(text: &[u8], level: i32, block_text_bytes: usize) -> Vec<u8> {
    let mut compressor = new_compressor(level);
    let mut out = Vec::with_capacity(text.len() / 4 + BLOCK_BYTES_MAX);
    text.chunks(block_text_bytes).for_each(|text| push_block(&mut compressor, text, &mut out));
    out
}

/// [`compress_cell`] on the threads of the current pool, with the same bytes.
pub fn compress_cell_parallel(text: &[u8]) -> Vec<u8> {
    let blocks = text.par_chunks(block_text_bytes(text)).map_init(
        || new_compressor(LEVEL),
        |compressor, text| {
            let mut block = Vec::new();
            push_block(compressor, text, &mut block);
            block
        },
    );
    blocks.collect::<Vec<_>>().concat()
}

fn new_compressor(level: i32) -> Compressor {
    Compressor::new(CompressionLvl::new(level).expect("a level of libdeflate"))
}

/// Blocks of equal length compress better than full ones and a short rest.
fn block_text_bytes(text: &[u8]) -> usize {
    let blocks = text.len().div_ceil(BLOCK_TEXT_BYTES_MAX).max(1);
    text.len().div_ceil(blocks).max(1)
}

fn push_block(compressor: &mut Compressor, text: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&HEADER);
    out.resize(start + BLOCK_BYTES_MAX - FOOTER_BYTES, 0);
    let room = &mut out[start + HEADER_BYTES..];
    // What deflate makes too long, split as it is into blocks of its own, is stored as one.
    let deflated = compressor.deflate_compress(text, room);
    let deflated = deflated.or_else(|_| new_compressor(0).deflate_compress(text, room));
    let deflated = deflated.expect("storing adds less than the room a block leaves");
    out.truncate(start + HEADER_BYTES + deflated);
    let block_bytes = HEADER_BYTES + deflated + FOOTER_BYTES;
    out[start + 16..start + 18].copy_from_slice(&((block_bytes - 1) as u16).to_le_bytes());
    let mut crc = Crc::new();
    crc.update(text);
    out.extend_from_slice(&crc.sum().to_le_bytes());
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
}

/// Where each block of [`compress_cell`] begins: in the text, and in the bytes; `None` if they are not such blocks.
pub fn block_places(bytes: &[u8]) -> Option<Vec<(usize, usize)>> {
    let (mut places, mut text, mut at) = (Vec::new(), 0, 0);
    while at < bytes.len() {
        let (header, rest) = bytes[at..].split_first_chunk::<HEADER_BYTES>()?;
        let (fixed, length) = header.split_last_chunk()?;
        let block_bytes = usize::from(u16::from_le_bytes(*length)) + 1;
        let block = rest.get(..block_bytes.checked_sub(HEADER_BYTES)?).filter(|_| *fixed == HEADER)?;
        places.push((text, at));
        text += u32::from_le_bytes(*block.last_chunk()?) as usize;
        at += block_bytes;
    }
    Some(places)
}

/// What is wrong with a BGZF block.
#[derive(Debug, thiserror::Error)]
pub enum BgzfProblem {
    /// Reading failed.
    #[error("cannot read: {0}")]
    Io(io::Error),
    /// Not a BGZF block header.
    #[error("expected a BGZF block, found other bytes (plain gzip is not enough)")]
    NotBgzf,
    /// The file ends within a block.
    #[error("the file ends within a BGZF block; it is truncated")]
    Truncated,
    /// The file ends without the empty block.
    #[error("the file ends without BGZF's end marker; it is truncated")]
    NoEndMarker,
    /// Deflate data, length or CRC do not agree.
    #[error("the BGZF block is damaged: deflate data, length or CRC do not agree")]
    Damaged,
}

/// Decompresses whole blocks that lie in memory, an end marker among them or not. Errors name the block's offset.
pub fn decompress_cell(bytes: &[u8]) -> Result<Vec<u8>, (u64, BgzfProblem)> {
    let mut blocks = Blocks::new(bytes);
    let mut text = Vec::new();
    loop {
        let offset = blocks.offset();
        match blocks.append_to(&mut text) {
            Ok(true) => {}
            Ok(false) => return Ok(text),
            Err(problem) => return Err((offset, problem)),
        }
    }
}

/// Reads blocks one after the other.
pub struct Blocks<R> {
    inner: R,
    offset: u64,
    block: Vec<u8>,
    decompressor: Decompressor,
    ended: bool,
}

impl<R: Read> Blocks<R> {
    /// Starts at a block's first byte.
    pub fn new(inner: R) -> Self {
        Blocks { inner, offset: 0, block: Vec::new(), decompressor: Decompressor::new(), ended: false }
    }

    /// Offset of the next block in the compressed file.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether the block read last was an end marker.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Appends the next block's text; false at the end of the file.
    pub fn append_to(&mut self, text: &mut Vec<u8>) -> Result<bool, BgzfProblem> {
        self.block.clear();
        self.fill(12)?;
        if self.block.is_empty() {
            return Ok(false);
        }
        if self.block.len() < 12 {
            return Err(BgzfProblem::Truncated);
        }
        if self.block[..4] != HEADER[..4] {
            return Err(BgzfProblem::NotBgzf);
        }
        let extra = usize::from(u16::from_le_bytes([self.block[10], self.block[11]]));
        self.fill_whole(12 + extra)?;
        let block_bytes = block_bytes(&self.block[12..]).ok_or(BgzfProblem::NotBgzf)?;
        let data_start = 12 + extra;
        if block_bytes < data_start + FOOTER_BYTES {
            return Err(BgzfProblem::Damaged);
        }
        self.fill_whole(block_bytes)?;
        let (data, footer) = self.block[data_start..].split_at(block_bytes - data_start - FOOTER_BYTES);
        let word =
            |at: usize| u32::from_le_bytes([footer[at], footer[at + 1], footer[at + 2], footer[at + 3]]);
        let (expected_crc, text_bytes) = (word(0), word(4) as usize);
        if text_bytes > BLOCK_BYTES_MAX {
            return Err(BgzfProblem::Damaged);
        }
        let start = text.len();
        text.resize(start + text_bytes, 0);
        let inflated = self.decompressor.deflate_decompress(data, &mut text[start..]);
        let mut crc = Crc::new();
        crc.update(&text[start..]);
        if inflated != Ok(text_bytes) || crc.sum() != expected_crc {
            return Err(BgzfProblem::Damaged);
        }
        self.ended = text_bytes == 0;
        self.offset += block_bytes as u64;
        Ok(true)
    }

    /// Reads until the block has `bytes` or the file ends.
    fn fill(&mut self, bytes: usize) -> Result<(), BgzfProblem> {
        let missing = bytes.saturating_sub(self.block.len()) as u64;
        (&mut self.inner).take(missing).read_to_end(&mut self.block).map(drop).map_err(BgzfProblem::Io)
    }

    fn fill_whole(&mut self, bytes: usize) -> Result<(), BgzfProblem> {
        self.fill(bytes)?;
        if self.block.len() < bytes { Err(BgzfProblem::Truncated) } else { Ok(()) }
    }
}

/// How long the block is that begins here, as its header says; `None` if this is no header of a block.
pub fn block_length(bytes: &[u8]) -> Option<usize> {
    let (header, rest) = bytes.split_first_chunk::<12>()?;
    let extra = rest.get(..usize::from(u16::from_le_bytes([header[10], header[11]])))?;
    block_bytes(extra).filter(|_| header[..4] == HEADER[..4])
}

/// BSIZE + 1 from the extra field's `BC` subfield.
fn block_bytes(mut extra: &[u8]) -> Option<usize> {
    while let [first, second, low, high, rest @ ..] = extra {
        let value = rest.get(..usize::from(u16::from_le_bytes([*low, *high])))?;
        if let (b"BC", [low, high]) = (&[*first, *second], value) {
            return Some(usize::from(u16::from_le_bytes([*low, *high])) + 1);
        }
        extra = &rest[value.len()..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: usize) -> Vec<u8> {
        (0..bytes as u64).map(|i| (i * i).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()[7]).collect()
    }

    #[test]
    fn text_that_deflate_cannot_shorten_fits_the_largest_block() {
        let mut seed = 1u64;
        let mut random = || {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 56) as u8
        };
        // Where fewer bits do for a while, deflate begins a block, which costs more than it saves.
        let text: Vec<u8> = (0..3 * BLOCK_TEXT_BYTES_LIMIT)
            .map(|at| if at % 5600 < 5000 { random() } else { random() & 0x7f })
            .collect();
        for level in [0, 1, 5, LEVEL] {
            let mut room = [0; BLOCK_BYTES_MAX - HEADER_BYTES - FOOTER_BYTES];
            let alone = new_compressor(level).deflate_compress(&text[..BLOCK_TEXT_BYTES_LIMIT], &mut room);
            assert_eq!(alone.is_err(), level >= 5, "{level}: {alone:?}");
            let blocks = compress_blocks(&text, level, BLOCK_TEXT_BYTES_LIMIT);
            assert_eq!(decompress_cell(&blocks).unwrap(), text);
            assert_eq!(block_places(&blocks).unwrap().len(), 3);
        }
    }

    #[test]
    fn text_of_every_length_comes_back() {
        for bytes in [0, 1, 100, 0xfeff, 0xff00, 0xff01, 1 << 17, 300_000] {
            let text = text(bytes);
            let compressed = compress_cell(&text);
            assert_eq!(compressed, compress_cell_parallel(&text));
            assert_eq!(decompress_cell(&compressed).unwrap(), text);
            let file = [&compressed[..], &EOF_BLOCK].concat();
            assert_eq!(decompress_cell(&file).unwrap(), text);
        }
    }

    #[test]
    fn a_block_is_what_the_specification_says() {
        // SAMv1 §4.1: gzip with an extra field BC of two bytes that hold the block's length less one; CRC-32 of "BGZF".
        let block = compress_cell(b"BGZF");
        assert_eq!(block[..16], EOF_BLOCK[..16]);
        assert_eq!(usize::from(u16::from_le_bytes([block[16], block[17]])) + 1, block.len());
        assert_eq!(block[block.len() - 8..], [0x94, 0x85, 0x67, 0xba, 4, 0, 0, 0]);
    }

    #[test]
    fn damage_is_noticed_and_placed() {
        let text = text(70_000);
        let file = [compress_cell(&text), EOF_BLOCK.to_vec()].concat();
        let second = usize::from(u16::from_le_bytes([file[16], file[17]])) + 1;
        for length in (1..file.len() - EOF_BLOCK.len()).step_by(97).filter(|length| *length != second) {
            let (offset, problem) = decompress_cell(&file[..length]).unwrap_err();
            assert!(matches!(problem, BgzfProblem::Truncated), "{length}: {problem}");
            assert_eq!(offset, if length < second { 0 } else { second as u64 });
        }
        for at in (0..file.len()).step_by(31) {
            let mut damaged = file.clone();
            damaged[at] ^= 0x10;
            assert!(decompress_cell(&damaged).map_or(true, |read| read == text), "{at}");
        }
        assert!(matches!(
            decompress_cell(b"plain text, longer than a header"),
            Err((0, BgzfProblem::NotBgzf))
        ));
    }
}
