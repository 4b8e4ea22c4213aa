//! Plain, gzip and BGZF files as one stream of bytes that can be entered again in the middle.
//!
//! Invariant: bytes come out only as the file's own checks allow: every member's CRC-32 and length hold, and the file
//! ends where a member ends; what cannot be checked before it is handed out is an error at the latest at its member's
//! end. A [`SeekPoint`] is a place between two deflate blocks with all that decoding needs to go on from there, and
//! carries the member's checksum so far, so a resumed reader checks as much as one that began at the start. A [`Place`]
//! is a seek point with the digest of everything before it: readers that take a file up from each other's places find
//! its SHA-256 together, or notice that it is another file. BGZF needs no rule of its own: each of its blocks is a member.
//! Knows nothing of what the bytes mean.

mod inflate;
mod pieces;
mod place;
mod source;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use jobs::failure::{Class, Classified};
use sha2::{Digest, Sha256};

use inflate::{Inflater, Stop, WINDOW_BYTES};
pub use pieces::{Blocks, Piece, Pieces};
pub use place::Place;
use place::{Seen, Stamp};
pub use source::Release;
use source::Source;

/// Bytes read from the file at once.
const INPUT_BYTES: usize = 1 << 18;
/// Bytes made available at once.
const OUTPUT_BYTES: usize = 1 << 19;
/// Up to this many bytes into a member, its start serves as seek point, as it needs no window; a BGZF block is shorter.
const MEMBER_BYTES_SHORT: u64 = 1 << 17;
/// Longest file name or comment in a gzip header; longer ones are damage.
const HEADER_TEXT_BYTES_MAX: usize = 1 << 16;

/// Why a file could not be read or decompressed.
#[derive(Debug, thiserror::Error)]
pub enum GzipError {
    /// The file cannot be opened or read.
    #[error("{}: cannot be read", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file ends inside a gzip member.
    #[error("{}: truncated: the gzip stream breaks off at byte {offset}", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its length.
        offset: u64,
    },
    /// The bytes do not decompress, or to something else than was compressed.
    #[error("{}: damaged at byte {offset}: expected {expected}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in the file, compressed.
        offset: u64,
        /// What did not hold.
        expected: &'static str,
    },
    /// The seek point does not belong to this file, or is no seek point.
    #[error("{}: the seek point for it does not fit", path.display())]
    SeekPoint {
        /// The file.
        path: PathBuf,
    },
    /// Another file stands in the place of the one whose first bytes were read before.
    #[error("{}: its first {bytes} bytes are not those that were read before", path.display())]
    Replaced {
        /// The file.
        path: PathBuf,
        /// How many were read.
        bytes: u64,
    },
}

impl Classified for GzipError {
    fn class(&self) -> Class {
        match self {
            GzipError::Io { source, .. } if source.kind() != io::ErrorKind::NotFound => Class::Failed,
            GzipError::SeekPoint { .. } => Class::Integrity,
            _ => Class::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            GzipError::Truncated { path, .. } | GzipError::Damaged { path, .. } => {
                Some(format!("gzip -t {}; then fetch the file again from its source", path.display()))
            }
            GzipError::Replaced { .. } => {
                Some("the file was replaced while it was taken in: give the same command again".to_owned())
            }
            _ => None,
        }
    }
}

/// A place in a file from which reading can go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeekPoint {
    kind: Kind,
    /// Where decoding starts in the file: the first byte not used up before.
    compressed_offset: u64,
    /// Bits of the byte before it that belong to what follows.
    bits: u8,
    /// CRC-32 of the member up to here.
    crc: u32,
    /// Bytes of the member up to here, modulo 2^32.
    member_bytes: u32,
    /// Where decoding starts in the decompressed stream.
    uncompressed_offset: u64,
    /// Decompressed bytes between there and the place meant.
    skip: u64,
    /// Up to 32 KiB of decompressed bytes before it.
    window: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Member,
    Block,
}

impl SeekPoint {
    /// The place meant, in the decompressed stream.
    pub fn position(&self) -> u64 {
        self.uncompressed_offset + self.skip
    }

    /// The point as bytes: kind, bits (one byte each), CRC, member bytes (u32), compressed offset, uncompressed offset,
    /// skip (u64), all little-endian, then the window as LZ4 with its length before it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.kind as u8, self.bits];
        bytes.extend_from_slice(&self.crc.to_le_bytes());
        bytes.extend_from_slice(&self.member_bytes.to_le_bytes());
        for value in [self.compressed_offset, self.uncompressed_offset, self.skip] {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        bytes.extend_from_slice(&lz4_flex::block::compress_prepend_size(&self.window));
        bytes
    }

    /// The point that [`SeekPoint::to_bytes`] wrote; `None` for any other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<SeekPoint> {
        let (&[kind, bits], rest) = bytes.split_first_chunk()?;
        let (&crc, rest) = rest.split_first_chunk()?;
        let (&member_bytes, rest) = rest.split_first_chunk()?;
        let (&compressed_offset, rest) = rest.split_first_chunk()?;
        let (&uncompressed_offset, rest) = rest.split_first_chunk()?;
        let (&skip, rest) = rest.split_first_chunk()?;
        let window_bytes = u32::from_le_bytes(*rest.first_chunk()?) as usize;
        if bits > 7 || window_bytes > WINDOW_BYTES {
            return None;
        }
        Some(SeekPoint {
            kind: [Kind::Plain, Kind::Member, Kind::Block].into_iter().find(|&known| known as u8 == kind)?,
            bits,
            crc: u32::from_le_bytes(crc),
            member_bytes: u32::from_le_bytes(member_bytes),
            compressed_offset: u64::from_le_bytes(compressed_offset),
            uncompressed_offset: u64::from_le_bytes(uncompressed_offset),
            skip: u64::from_le_bytes(skip),
            window: lz4_flex::block::decompress_size_prepended(rest)
                .ok()
                .filter(|bytes| bytes.len() == window_bytes)?,
        })
    }
}

/// Reads a file from its start or from a seek point.
pub struct Reader {
    input: Input,
    state: State,
    /// Decompressed bytes: up to 32 KiB already consumed, then those to come.
    output: Vec<u8>,
    /// Where the unconsumed ones begin.
    at: usize,
    /// Offset of `output[0]` in the decompressed stream. After a seek the window may reach before it, so it is signed.
    output_offset: i64,
    /// The last place at or before the consumed one where decoding can start.
    anchor: Start,
    /// Such places after it; their windows are still in `output`.
    starts: VecDeque<Start>,
}

/// A place where decoding can start.
struct Start {
    point: SeekPoint,
    /// Of everything before it, if the file is hashed.
    hash: Option<Sha256>,
}

enum State {
    Plain,
    /// Before a member's header.
    Header,
    Body(Box<Member>),
    Ended,
}

struct Member {
    inflater: Inflater,
    crc: u32,
    bytes: u32,
}

impl Reader {
    /// Opens a file at its start, or standard input for `-`. What is read is hashed on the way.
    pub fn open(path: &Path) -> Result<Reader, GzipError> {
        let mut input = Input::new(path, open(path)?, 0, Some(Sha256::new()));
        let gzip = input.peek(2)? == [0x1f, 0x8b];
        let (kind, state) = if gzip { (Kind::Member, State::Header) } else { (Kind::Plain, State::Plain) };
        let point = start_of(kind, 0, 0);
        let hash = input.hash.clone();
        Ok(Reader::at(input, state, Start { point, hash }))
    }

    /// Opens a file at a seek point taken from it.
    pub fn resume(path: &Path, point: &SeekPoint) -> Result<Reader, GzipError> {
        let file = File::open(path).map_err(|source| GzipError::Io { path: path.to_owned(), source })?;
        Reader::enter(path, file, point, None)
    }

    /// Opens a file at a place taken from it, and goes on hashing there; an error says if it is another file.
    pub fn go_on(path: &Path, place: &Place) -> Result<Reader, GzipError> {
        let file = place.open(path)?;
        Reader::enter(path, file, &place.point, Some(place.hash.clone()))
    }

    fn enter(
        path: &Path,
        mut file: File,
        point: &SeekPoint,
        hash: Option<Sha256>,
    ) -> Result<Reader, GzipError> {
        let failed = |source| GzipError::Io { path: path.to_owned(), source };
        let foreign = || GzipError::SeekPoint { path: path.to_owned() };
        let before = u64::from(point.bits > 0);
        let offset = point.compressed_offset.checked_sub(before).ok_or_else(foreign)?;
        if file.metadata().map_err(failed)?.len() < point.compressed_offset {
            return Err(foreign());
        }
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        let mut input = Input::new(path, Source::File(file), offset, None);
        let state = match point.kind {
            Kind::Plain => State::Plain,
            Kind::Member => State::Header,
            Kind::Block => {
                let value = if point.bits > 0 { input.byte()? >> (8 - point.bits) } else { 0 };
                let inflater = Inflater::new(point.bits, value, &point.window).ok_or_else(foreign)?;
                State::Body(Box::new(Member { inflater, crc: point.crc, bytes: point.member_bytes }))
            }
        };
        // The byte that the point shares with what is before it is hashed already.
        input.hash = hash.clone();
        let mut reader =
            Reader::at(input, state, Start { point: SeekPoint { skip: 0, ..point.clone() }, hash });
        reader.output.extend_from_slice(&point.window);
        reader.at = point.window.len();
        reader.output_offset -= point.window.len() as i64;
        let mut skip = point.skip;
        while skip > 0 {
            if reader.buffer().is_empty() && !reader.fill()? {
                return Err(foreign());
            }
            let step = reader.buffer().len().min(usize::try_from(skip).unwrap_or(usize::MAX));
            reader.consume(step);
            skip -= step as u64;
        }
        Ok(reader)
    }

    fn at(input: Input, state: State, anchor: Start) -> Reader {
        let output_offset = anchor.point.uncompressed_offset as i64;
        Reader { input, state, output: Vec::new(), at: 0, output_offset, anchor, starts: VecDeque::new() }
    }

    /// The bytes that are there to be consumed.
    pub fn buffer(&self) -> &[u8] {
        &self.output[self.at..]
    }

    /// Marks the first `bytes` of the buffer as used. Panics if there are fewer.
    pub fn consume(&mut self, bytes: usize) {
        assert!(bytes <= self.buffer().len());
        self.at += bytes;
    }

    /// Adds bytes to the buffer; false if the file has ended well and there are no more.
    pub fn fill(&mut self) -> Result<bool, GzipError> {
        self.settle_anchor();
        self.forget_consumed();
        let before = self.output.len();
        while self.output.len() == before {
            match &mut self.state {
                State::Ended => return Ok(false),
                State::Plain => self.copy()?,
                State::Header => self.enter_member()?,
                State::Body(_) => self.decode()?,
            }
        }
        Ok(true)
    }

    /// The place of the first unconsumed byte.
    pub fn seek_point(&mut self) -> SeekPoint {
        self.settle_anchor();
        let anchor = &self.anchor.point;
        SeekPoint { skip: self.position() - anchor.uncompressed_offset, ..anchor.clone() }
    }

    /// The same with the digest of what is before it; `None` for a reader that does not hash.
    pub fn place(&mut self) -> Option<Place> {
        let point = self.seek_point();
        let used = self.input.hash.clone()?.finalize().into();
        let seen = Seen { stamp: self.input.stamp, used_bytes: self.input.offset_now(), sha256: used };
        Some(Place { point, hash: self.anchor.hash.clone()?, seen })
    }

    /// Offset of the first unconsumed byte in the decompressed stream.
    pub fn position(&self) -> u64 {
        (self.output_offset + self.at as i64) as u64
    }

    /// Bytes of the file read so far.
    pub fn compressed_bytes(&self) -> u64 {
        self.input.offset + self.input.bytes.len() as u64
    }

    /// The file read.
    pub fn path(&self) -> &Path {
        &self.input.path
    }

    /// SHA-256 of the file, once [`Reader::fill`] has said that it ended; `None` before, and for a reader that does not
    /// hash.
    pub fn sha256(&self) -> Option<[u8; 32]> {
        let hash = self.input.hash.clone().filter(|_| matches!(self.state, State::Ended))?;
        Some(hash.finalize().into())
    }

    /// Moves the anchor to the last start that is not beyond the consumed bytes, and gives it its window.
    fn settle_anchor(&mut self) {
        let position = self.position();
        let passed = self.starts.partition_point(|start| start.point.uncompressed_offset <= position);
        let mut moved = false;
        for start in self.starts.drain(..passed) {
            // Decoding a little more is cheaper than keeping a window.
            let beyond = start.point.uncompressed_offset - self.anchor.point.uncompressed_offset;
            let near = self.anchor.point.kind == Kind::Member && beyond < MEMBER_BYTES_SHORT;
            if start.point.kind != Kind::Block || !near {
                self.anchor = start;
                moved = true;
            }
        }
        let anchor = &mut self.anchor.point;
        if moved && anchor.kind == Kind::Block {
            let end = (anchor.uncompressed_offset as i64 - self.output_offset) as usize;
            anchor.window = self.output[end.saturating_sub(WINDOW_BYTES)..end].to_vec();
        }
    }

    /// Drops consumed bytes that no later start needs as its window.
    fn forget_consumed(&mut self) {
        let gone = self.at.saturating_sub(WINDOW_BYTES);
        self.output.drain(..gone);
        self.at -= gone;
        self.output_offset += gone as i64;
    }

    /// Offset in the decompressed stream of what is decoded next.
    fn decoded(&self) -> u64 {
        (self.output_offset + self.output.len() as i64) as u64
    }

    /// Takes the next bytes of a plain file, or its end.
    fn copy(&mut self) -> Result<(), GzipError> {
        let (offset, hash) = (self.decoded(), self.input.hash.clone());
        let bytes = self.input.available()?;
        let length = bytes.len();
        if length == 0 {
            self.state = State::Ended;
            return Ok(());
        }
        self.output.extend_from_slice(bytes);
        self.input.advance(length);
        self.starts.push_back(Start { point: start_of(Kind::Plain, offset, offset), hash });
        Ok(())
    }

    /// Takes a member's header (RFC 1952 §2.3), or the end of the file in its place.
    fn enter_member(&mut self) -> Result<(), GzipError> {
        let point = start_of(Kind::Member, self.input.offset_now(), self.decoded());
        let hash = self.input.hash.clone();
        if self.input.available()?.is_empty() {
            self.state = State::Ended;
            return Ok(());
        }
        self.input.member_header()?;
        self.starts.push_back(Start { point, hash });
        let inflater = Inflater::new(0, 0, &[]).ok_or_else(|| self.input.damaged("memory for a decoder"))?;
        self.state = State::Body(Box::new(Member { inflater, crc: 0, bytes: 0 }));
        Ok(())
    }

    /// Decodes up to the next block, or as far as one output buffer goes.
    fn decode(&mut self) -> Result<(), GzipError> {
        let State::Body(member) = &mut self.state else { return Ok(()) };
        let start = self.output.len();
        self.output.resize(start + OUTPUT_BYTES, 0);
        let mut end = start;
        loop {
            let input = self.input.available()?;
            if input.is_empty() {
                return Err(GzipError::Truncated {
                    path: self.input.path.clone(),
                    offset: self.input.offset_now(),
                });
            }
            let step = member.inflater.step(input, &mut self.output[end..]);
            let step = step.ok_or_else(|| self.input.damaged("a deflate stream"))?;
            let produced = &self.output[end..end + step.produced];
            member.crc = zlib_rs::crc32::crc32(member.crc, produced);
            member.bytes = member.bytes.wrapping_add(step.produced as u32);
            end += step.produced;
            self.input.advance(step.consumed);
            match step.at {
                Stop::Within if end == self.output.len() => break,
                Stop::Within => {}
                Stop::BlockStart(bits) => {
                    let uncompressed_offset = (self.output_offset + end as i64) as u64;
                    let point = SeekPoint {
                        bits,
                        crc: member.crc,
                        member_bytes: member.bytes,
                        ..start_of(Kind::Block, self.input.offset_now(), uncompressed_offset)
                    };
                    self.starts.push_back(Start { point, hash: self.input.hash.clone() });
                }
                Stop::End => {
                    let (crc, bytes) = (member.crc, member.bytes);
                    self.input.member_trailer(crc, bytes)?;
                    self.state = State::Header;
                    break;
                }
            }
        }
        self.output.truncate(end);
        Ok(())
    }
}

/// Opens a file, or standard input for `-`.
fn open(path: &Path) -> Result<Source, GzipError> {
    Source::open(path).map_err(|source| GzipError::Io { path: path.to_owned(), source })
}

fn start_of(kind: Kind, compressed_offset: u64, uncompressed_offset: u64) -> SeekPoint {
    let window = Vec::new();
    SeekPoint {
        kind,
        compressed_offset,
        bits: 0,
        crc: 0,
        member_bytes: 0,
        uncompressed_offset,
        skip: 0,
        window,
    }
}

/// The compressed file: a buffer that is counted and hashed as it is used up.
struct Input {
    path: PathBuf,
    file: Source,
    /// Which file it was when it was opened.
    stamp: Stamp,
    /// Of everything that was used up.
    hash: Option<Sha256>,
    bytes: Vec<u8>,
    at: usize,
    /// Offset of `bytes[0]` in the file.
    offset: u64,
}

impl Input {
    fn new(path: &Path, file: Source, offset: u64, hash: Option<Sha256>) -> Input {
        let stamp = match &file {
            Source::File(file) => Stamp::of(file),
            Source::Pipe(_) => Stamp::default(),
        };
        Input { path: path.to_owned(), file, stamp, hash, bytes: Vec::new(), at: 0, offset }
    }

    fn offset_now(&self) -> u64 {
        self.offset + self.at as u64
    }

    fn advance(&mut self, bytes: usize) {
        let used = &self.bytes[self.at..self.at + bytes];
        self.hash.iter_mut().for_each(|hash| hash.update(used));
        self.at += bytes;
    }

    /// The bytes at hand; empty at the end of the file only.
    fn available(&mut self) -> Result<&[u8], GzipError> {
        if self.at == self.bytes.len() {
            self.offset += self.bytes.len() as u64;
            self.bytes.clear();
            self.at = 0;
            self.read_more()?;
        }
        Ok(&self.bytes[self.at..])
    }

    /// The next `count` bytes without using them up; fewer at the end of the file.
    fn peek(&mut self, count: usize) -> Result<&[u8], GzipError> {
        while self.bytes.len() - self.at < count && self.read_more()? {}
        Ok(&self.bytes[self.at..self.bytes.len().min(self.at + count)])
    }

    /// Reads on, as much as goes in at once: where decoding can start never depends on how a file system serves it.
    fn read_more(&mut self) -> Result<bool, GzipError> {
        let limit = INPUT_BYTES as u64;
        let read = self.file.by_ref().take(limit).read_to_end(&mut self.bytes);
        Ok(read.map_err(|source| GzipError::Io { path: self.path.clone(), source })? > 0)
    }

    fn byte(&mut self) -> Result<u8, GzipError> {
        match self.available()?.first() {
            Some(&byte) => {
                self.advance(1);
                Ok(byte)
            }
            None => Err(GzipError::Truncated { path: self.path.clone(), offset: self.offset_now() }),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], GzipError> {
        let mut bytes = [0; N];
        for byte in &mut bytes {
            *byte = self.byte()?;
        }
        Ok(bytes)
    }

    fn damaged(&self, expected: &'static str) -> GzipError {
        GzipError::Damaged { path: self.path.clone(), offset: self.offset_now(), expected }
    }

    /// RFC 1952 §2.3: fixed part, then extra field, name, comment and header CRC as the flags say.
    fn member_header(&mut self) -> Result<(), GzipError> {
        if ![0x1f, 0x8b, 8].starts_with(self.peek(3)?) {
            return Err(self.damaged("another gzip member or the end of the file"));
        }
        let [_, _, _, flags, ..] = self.array::<10>()?;
        if flags & 0xe0 != 0 {
            return Err(self.damaged("a gzip header without reserved flags"));
        }
        if flags & 4 != 0 {
            let extra = u16::from_le_bytes(self.array()?);
            for _ in 0..extra {
                self.byte()?;
            }
        }
        for text in [8, 16] {
            let mut length = 0;
            while flags & text != 0 && self.byte()? != 0 {
                length += 1;
                if length > HEADER_TEXT_BYTES_MAX {
                    return Err(self.damaged("a file name or comment that ends"));
                }
            }
        }
        if flags & 2 != 0 {
            self.array::<2>()?;
        }
        Ok(())
    }

    fn member_trailer(&mut self, crc: u32, bytes: u32) -> Result<(), GzipError> {
        if u32::from_le_bytes(self.array()?) != crc {
            return Err(self.damaged("the CRC-32 of the bytes before"));
        }
        if u32::from_le_bytes(self.array()?) != bytes {
            return Err(self.damaged("the length of the bytes before"));
        }
        Ok(())
    }
}
