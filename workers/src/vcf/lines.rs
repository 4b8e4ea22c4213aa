//! Lines of a text file, BGZF or plain, with their numbers and virtual positions.
//!
//! Invariant: memory is bounded by the longest line allowed; a BGZF file that ends early is never mistaken for a
//! complete one.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use super::bgzf::{BgzfProblem, Blocks};

/// Longest line read, in bytes; a longer one is refused.
const LINE_BYTES_MAX: usize = 1 << 24;
/// How much plain text is read at a time.
const CHUNK_BYTES: u64 = 1 << 16;

enum Source {
    Bgzf(Blocks<BufReader<File>>),
    Plain { file: BufReader<File>, offset: u64 },
}

/// The lines of one file.
pub struct Lines {
    source: Source,
    text: Vec<u8>,
    /// Where the next line starts in `text`.
    at: usize,
    /// Bytes of text dropped before `text`.
    dropped: u64,
    /// Where blocks start in the whole text, and in the file; from the one that holds the next line.
    blocks: Vec<(u64, u64)>,
    number: u64,
}

/// Why no further line can be read.
#[derive(Debug, thiserror::Error)]
pub enum LinesProblem {
    /// A block is damaged or missing.
    #[error("byte {offset}: {problem}")]
    Block {
        /// Offset of the block in the file.
        offset: u64,
        /// What is wrong with it.
        problem: BgzfProblem,
    },
    /// The line is longer than any VCF line should be.
    #[error("line {number}: longer than {LINE_BYTES_MAX} bytes")]
    LongLine {
        /// 1-based.
        number: u64,
    },
}

impl Lines {
    /// Opens a file; its first bytes say whether it is BGZF or plain text.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let mut file = BufReader::with_capacity(CHUNK_BYTES as usize, File::open(path)?);
        let gzip = std::io::BufRead::fill_buf(&mut file)?.starts_with(&[0x1f, 0x8b]);
        let source = if gzip { Source::Bgzf(Blocks::new(file)) } else { Source::Plain { file, offset: 0 } };
        Ok(Lines { source, text: Vec::new(), at: 0, dropped: 0, blocks: Vec::new(), number: 0 })
    }

    /// Number of the line read last, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// BGZF virtual position of the next line.
    pub fn virtual_position(&self) -> u64 {
        let at = self.dropped + self.at as u64;
        match self.blocks.iter().rev().find(|(start, _)| *start <= at) {
            Some((start, offset)) if self.at < self.text.len() => offset << 16 | (at - start),
            _ => self.offset() << 16,
        }
    }

    /// The next line without its end, `None` after the last.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, LinesProblem> {
        let mut searched = self.at;
        loop {
            if let Some(length) = memchr::memchr(b'\n', &self.text[searched..]) {
                let (start, end) = (self.at, searched + length);
                self.at = end + 1;
                self.number += 1;
                return Ok(Some(self.text[start..end].strip_suffix(b"\r").unwrap_or(&self.text[start..end])));
            }
            self.drop_read();
            searched = self.text.len();
            if searched > LINE_BYTES_MAX {
                return Err(LinesProblem::LongLine { number: self.number + 1 });
            }
            if !self.read_more()? {
                if self.text.is_empty() {
                    return Ok(None);
                }
                self.text.push(b'\n');
            }
        }
    }

    fn offset(&self) -> u64 {
        match &self.source {
            Source::Bgzf(blocks) => blocks.offset(),
            Source::Plain { offset, .. } => *offset,
        }
    }

    /// Forgets the text before the next line.
    fn drop_read(&mut self) {
        self.text.drain(..self.at);
        self.dropped += self.at as u64;
        let kept = self.blocks.iter().rposition(|(start, _)| *start <= self.dropped).unwrap_or(0);
        self.blocks.drain(..kept);
        self.at = 0;
    }

    fn read_more(&mut self) -> Result<bool, LinesProblem> {
        let offset = self.offset();
        let block = |problem| LinesProblem::Block { offset, problem };
        self.blocks.push((self.dropped + self.text.len() as u64, offset));
        match &mut self.source {
            Source::Bgzf(blocks) => {
                let more = blocks.append_to(&mut self.text).map_err(block)?;
                if !more && !blocks.ended() {
                    return Err(block(BgzfProblem::NoEndMarker));
                }
                Ok(more)
            }
            Source::Plain { file, offset } => {
                let read = file.take(CHUNK_BYTES).read_to_end(&mut self.text);
                let read = read.map_err(|error| block(BgzfProblem::Io(error)))?;
                *offset += read as u64;
                Ok(read > 0)
            }
        }
    }
}
