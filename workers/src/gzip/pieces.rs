//! A file as pieces of text for many threads: what only one of them can do is kept short.
//!
//! Invariant: the texts of the pieces, in order, are what [`Reader`] gives for the file, and what is wrong with it is an
//! error here too. BGZF is handed out as it lies in the file, in whole blocks, to be inflated by whoever has time; other
//! gzip can only be inflated from its start, here. No place is remembered, and no digest made.

use super::source::{Release, Source};
use super::{GzipError, Input, Kind, Reader, Start, State, start_of};
use crate::vcf::bgzf::{BgzfProblem, block_length, decompress_cell};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Bytes of plain text in a piece.
const TEXT_BYTES: usize = 1 << 19;

/// Bytes of BGZF in a piece: whole blocks of at most 64 KiB.
const BLOCKS_BYTES: usize = 1 << 18;

/// Text in such a piece, beside its last block's: however well it was compressed, it takes little memory.
const BLOCKS_TEXT_BYTES: usize = 1 << 21;

/// The next part of a file.
#[derive(Debug)]
pub enum Piece {
    /// Its text.
    Text(Vec<u8>),
    /// The BGZF blocks that hold it.
    Blocks(Blocks),
}

/// Whole BGZF blocks.
#[derive(Debug)]
pub struct Blocks {
    path: PathBuf,
    offset: u64,
    bytes: Vec<u8>,
}

impl Blocks {
    /// The text that they hold, checked.
    pub fn inflate(&self) -> Result<Vec<u8>, GzipError> {
        decompress_cell(&self.bytes).map_err(|(at, problem)| {
            let (path, offset) = (self.path.clone(), self.offset + at);
            match problem {
                BgzfProblem::Truncated => GzipError::Truncated { path, offset },
                _ => GzipError::Damaged { path, offset, expected: "a BGZF block with its CRC-32 and length" },
            }
        })
    }
}

/// Reads a file piece by piece.
pub struct Pieces {
    path: PathBuf,
    form: Form,
}

enum Form {
    Unknown(Box<Input>),
    Plain { file: Source, read: Vec<u8> },
    Bgzf(Box<Input>),
    Gzip(Box<Reader>),
    Ended,
}

impl Pieces {
    /// Opens a file, or standard input for `-`; reads nothing yet, so of several pipes none is waited for.
    pub fn open(path: &Path) -> Result<Pieces, GzipError> {
        let input = Input::new(path, super::open(path)?, 0, None);
        Ok(Pieces { path: path.to_owned(), form: Form::Unknown(Box::new(input)) })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What ends the wait for its bytes, where it is a pipe and its bytes may be waited for; taken before it is read.
    pub fn release(&self) -> Option<Release> {
        match &self.form {
            Form::Unknown(input) => input.file.release(),
            _ => None,
        }
    }

    /// Reads the next piece; `None` at the end of the file.
    pub fn read(&mut self) -> Result<Option<Piece>, GzipError> {
        loop {
            match std::mem::replace(&mut self.form, Form::Ended) {
                Form::Unknown(mut input) => {
                    self.form = if input.peek(2)? == [0x1f, 0x8b] {
                        Form::Bgzf(input)
                    } else {
                        Form::Plain { file: input.file, read: input.bytes }
                    };
                }
                Form::Plain { mut file, read: mut text } => {
                    let more = (TEXT_BYTES.saturating_sub(text.len())) as u64;
                    let failed = |source| GzipError::Io { path: self.path.clone(), source };
                    text.reserve_exact(more as usize);
                    file.by_ref().take(more).read_to_end(&mut text).map_err(failed)?;
                    if text.is_empty() {
                        return Ok(None);
                    }
                    self.form = Form::Plain { file, read: Vec::new() };
                    return Ok(Some(Piece::Text(text)));
                }
                Form::Bgzf(mut input) => {
                    let offset = input.offset_now();
                    let bytes = input.whole_blocks()?;
                    if bytes.is_empty() {
                        // The end, another kind of gzip, or damage: the reader will say.
                        let start = Start { point: start_of(Kind::Member, offset, 0), hash: None };
                        self.form = Form::Gzip(Box::new(Reader::at(*input, State::Header, start)));
                        continue;
                    }
                    self.form = Form::Bgzf(input);
                    return Ok(Some(Piece::Blocks(Blocks { path: self.path.clone(), offset, bytes })));
                }
                Form::Gzip(mut reader) => {
                    if !reader.fill()? {
                        return Ok(None);
                    }
                    let text = reader.buffer().to_vec();
                    reader.consume(text.len());
                    self.form = Form::Gzip(reader);
                    return Ok(Some(Piece::Text(text)));
                }
                Form::Ended => return Ok(None),
            }
        }
    }
}

impl Input {
    /// Takes the BGZF blocks that come next, about [`BLOCKS_BYTES`] of them; none where something else comes.
    fn whole_blocks(&mut self) -> Result<Vec<u8>, GzipError> {
        self.bytes.drain(..self.at);
        self.offset += self.at as u64;
        self.at = 0;
        let bytes = self.peek(BLOCKS_BYTES)?;
        let (mut end, mut text_bytes) = (0, 0);
        while text_bytes < BLOCKS_TEXT_BYTES
            && let Some(length) = block_length(&bytes[end..])
            && let Some(block) = bytes.get(end..end + length)
        {
            end += length;
            // A block that says more than a block can hold is refused when it is inflated.
            text_bytes += block.last_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize);
        }
        let blocks = bytes[..end].to_vec();
        self.advance(end);
        Ok(blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vcf::{EOF_BLOCK, compress_cell};
    use libdeflater::{CompressionLvl, Compressor};

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut compressor = Compressor::new(CompressionLvl::default());
        let mut bytes = vec![0; compressor.gzip_compress_bound(text.len())];
        let length = compressor.gzip_compress(text, &mut bytes).unwrap();
        bytes.truncate(length);
        bytes
    }

    fn read(path: &Path) -> Result<Vec<u8>, GzipError> {
        let (mut pieces, mut text) = (Pieces::open(path)?, Vec::new());
        while let Some(piece) = pieces.read()? {
            text.extend(match piece {
                Piece::Text(text) => text,
                Piece::Blocks(blocks) => blocks.inflate()?,
            });
        }
        Ok(text)
    }

    #[test]
    fn pieces_are_the_file_whatever_its_form_and_what_is_cut_off_is_missed() {
        let text: Vec<u8> = (0..2_000_000u64).map(|i| b'A' + ((i * i) >> 7) as u8 % 16).collect();
        let (first, second) = text.split_at(700_000);
        let bgzf = [compress_cell(&text), EOF_BLOCK.to_vec()].concat();
        let mixed = [compress_cell(first), gzip(second), EOF_BLOCK.to_vec()].concat();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reads");
        for bytes in [&text, &gzip(&text), &bgzf, &mixed] {
            std::fs::write(&path, bytes).unwrap();
            assert!(read(&path).unwrap() == text);
            if bytes != &text {
                for cut in [1, 30, 40, bytes.len() / 2, bytes.len() - 3] {
                    std::fs::write(&path, &bytes[..bytes.len() - cut]).unwrap();
                    let whole = read(&path);
                    // The end marker alone may be missing, as for every reader of gzip.
                    assert!(whole.is_err() || whole.unwrap() == text, "{cut}");
                }
                let mut damaged = bytes.clone();
                damaged[bytes.len() / 2] ^= 4;
                std::fs::write(&path, damaged).unwrap();
                assert!(matches!(read(&path), Err(GzipError::Damaged { .. } | GzipError::Truncated { .. })));
            }
        }
        std::fs::write(&path, b"").unwrap();
        assert!(read(&path).unwrap().is_empty());
    }
}
