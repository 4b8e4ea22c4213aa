//! CRAM 3.0 containers as bytes (CRAMv3 §6 to §9): what stands before, between and after them in a file, the renumbering
//! that lets containers encoded apart stand in one file, and its index.
//!
//! Invariant: the fields that say where in a file a container stands (its record counter, and that of its slices) are
//! the only ones changed. They are written in the longest form there is, so that no length depends on them. Knows nothing
//! of what records mean.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Bytes of the file definition (CRAMv3 §6).
const FILE_DEFINITION_BYTES: u64 = 26;
/// Bytes read at once where a container's header is expected; longer ones are read again with [`HEADER_BYTES_MAX`].
const HEADER_BYTES: usize = 1 << 10;
/// Longest container header believed: one landmark a slice.
const HEADER_BYTES_MAX: usize = 1 << 20;

/// The container that ends every CRAM 3 file (CRAMv3 §9).
pub const CRAM_EOF: [u8; 38] = [
    0x0f, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x0f, 0xe0, 0x45, 0x4f, 0x46, 0x00, 0x00, 0x00, 0x00,
    0x01, 0x00, 0x05, 0xbd, 0xd9, 0x4f, 0x00, 0x01, 0x00, 0x06, 0x06, 0x01, 0x00, 0x01, 0x00, 0x01, 0x00,
    0xee, 0x63, 0x01, 0x4b,
];

/// Part of the output format.
const GZIP_LEVEL: i32 = 6;
pub(crate) const RAW: u8 = 0;
const GZIP: u8 = 1;
const FILE_HEADER: u8 = 0;
const SLICE_HEADER: u8 = 2;
/// First byte of an integer of [`COUNTER_BYTES`] (CRAMv3 §2.3).
const WIDE: u8 = 0xff;
const COUNTER_BYTES: usize = 9;
const CRC_BYTES: usize = 4;
/// Contig of a slice that says of each record where it is.
const SEVERAL_CONTIGS: i32 = -2;
const BLOCKS: &str = "blocks of the stated length";

/// The bytes are not a run of whole CRAM 3.0 containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no CRAM container at byte {offset}: expected {expected}")]
pub struct ContainerError {
    /// Where it was expected, from the start of the run or file.
    pub offset: u64,
    /// What did not hold.
    pub expected: &'static str,
}

/// What begins a CRAM 3.0 file: the file definition, with an id of zeros, and the container of the SAM header.
pub fn cram_file_header(header_text: &str) -> Vec<u8> {
    let mut content = (header_text.len() as u32).to_le_bytes().to_vec();
    content.extend_from_slice(header_text.as_bytes());
    let mut block = Vec::new();
    put_block(GZIP, FILE_HEADER, 0, content.len(), &gzip(&content), &mut block);
    let container = Header {
        place: [0, 0, 0],
        records: 0,
        counter: 0,
        counter_at: 0,
        bases: 0,
        blocks: 1,
        landmarks: vec![0],
        bytes: block.len(),
    };
    let mut file = b"CRAM\x03\x00".to_vec();
    file.extend_from_slice(&[0; 20]);
    container.put(&mut file);
    file.extend_from_slice(&block);
    file
}

/// Bytes as gzip at a fixed level: as the header block's, and the index's.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let level = libdeflater::CompressionLvl::new(GZIP_LEVEL).expect("a level of libdeflate");
    let mut compressor = libdeflater::Compressor::new(level);
    let mut deflated = vec![0; compressor.gzip_compress_bound(bytes.len())];
    let length = compressor.gzip_compress(bytes, &mut deflated).expect("the room is libdeflate's bound");
    deflated.truncate(length);
    deflated
}

/// How many records a run of containers holds.
pub fn cram_records(containers: &[u8]) -> Result<u64, ContainerError> {
    let mut bytes = Cursor { bytes: containers, at: 0 };
    let mut records = 0;
    while bytes.at < containers.len() {
        let header = Header::take(&mut bytes)?;
        records += u64::from(header.records);
        bytes.skip(header.bytes, BLOCKS)?;
    }
    Ok(records)
}

/// The run of containers with counters that [`renumber`] can change in place, numbered from 0.
pub(super) fn widen(containers: &[u8]) -> Result<Vec<u8>, ContainerError> {
    let mut out = Vec::with_capacity(containers.len() + 64);
    let mut bytes = Cursor { bytes: containers, at: 0 };
    let mut counter = 0;
    while bytes.at < containers.len() {
        let mut header = Header::take(&mut bytes)?;
        let range = bytes.skip(header.bytes, BLOCKS)?;
        header.counter = counter;
        let mut blocks = Vec::with_capacity(header.bytes + 16);
        header.landmarks = widen_slices(containers, range, counter, &mut blocks)?;
        header.bytes = blocks.len();
        header.put(&mut out);
        out.extend_from_slice(&blocks);
        counter += u64::from(header.records);
    }
    Ok(out)
}

/// Numbers a run of containers of [`CramEncoder`](super::CramEncoder) as it stands in a file after `first_record` other
/// records; no length changes.
pub fn renumber(containers: &mut [u8], first_record: u64) -> Result<(), ContainerError> {
    let (mut at, mut counter) = (0, first_record);
    while at < containers.len() {
        let mut cursor = Cursor { bytes: containers, at };
        let header = Header::take(&mut cursor)?;
        let header_end = cursor.at;
        let blocks = cursor.skip(header.bytes, BLOCKS)?;
        let mut of_slice = counter;
        for landmark in &header.landmarks {
            let slice = Slice::take(&containers[..blocks.end], blocks.start + *landmark as usize)?;
            set_counter(containers, slice.counter_at, of_slice, slice.start..slice.crc_at)?;
            of_slice += u64::from(slice.records);
        }
        set_counter(containers, header.counter_at, counter, at..header_end - CRC_BYTES)?;
        counter += u64::from(header.records);
        at = blocks.end;
    }
    Ok(())
}

/// Appends the lines that a run of containers has in the index (`.crai`, before compression; CRAMv3 §12) of a file in which
/// it begins at byte `offset`: contig, start, span, where the container and in it the slice begins, length of the slice.
pub fn crai_lines(containers: &[u8], offset: u64, lines: &mut Vec<u8>) -> Result<(), ContainerError> {
    let mut cursor = Cursor { bytes: containers, at: 0 };
    while cursor.at < containers.len() {
        let container = offset + cursor.at as u64;
        let header = Header::take(&mut cursor)?;
        let blocks = cursor.skip(header.bytes, BLOCKS)?;
        let ends = header.landmarks.iter().skip(1).copied().chain([header.bytes as u32]);
        for (&landmark, end) in header.landmarks.iter().zip(ends) {
            let slice = Slice::take(&containers[..blocks.end], blocks.start + landmark as usize)?;
            let [contig, start, span] = slice.place.map(u32::cast_signed);
            let error = |expected| ContainerError { offset: slice.start as u64, expected };
            if contig == SEVERAL_CONTIGS {
                return Err(error("a slice of one contig"));
            }
            let bytes = end.checked_sub(landmark).ok_or(error("slices in order"))?;
            // Writing into memory cannot fail.
            let _ = writeln!(lines, "{contig}\t{start}\t{span}\t{container}\t{landmark}\t{bytes}");
        }
    }
    Ok(())
}

/// Checks what htslib takes on trust: the CRC-32 of the blocks that say how the others are coded (the first of each
/// container and the slices' headers). Reads those and the containers' headers, not the data between. Files of CRAM 2,
/// which has no checksums, are refused.
pub fn check_headers(file: &File) -> io::Result<Result<(), ContainerError>> {
    let mut definition = [0; FILE_DEFINITION_BYTES as usize];
    read_at(file, &mut definition, 0)?;
    if !definition.starts_with(b"CRAM\x03") || definition[5] > 1 {
        return Ok(Err(ContainerError { offset: 0, expected: "CRAM 3.0 or 3.1" }));
    }
    let mut offset = FILE_DEFINITION_BYTES;
    loop {
        match check_container(file, offset)? {
            Ok(Some(next)) => offset = next,
            Ok(None) => return Ok(Ok(())),
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// Checks the container at `offset` and returns where the next one stands; `None` at the end of the file.
fn check_container(file: &File, offset: u64) -> io::Result<Result<Option<u64>, ContainerError>> {
    let at = |base: u64| move |error: ContainerError| ContainerError { offset: base + error.offset, ..error };
    let mut bytes = vec![0; HEADER_BYTES];
    loop {
        let length = read_at(file, &mut bytes, offset)?;
        if length == 0 {
            return Ok(Ok(None));
        }
        let mut cursor = Cursor { bytes: &bytes[..length], at: 0 };
        let header = match Header::take(&mut cursor) {
            Err(_) if length == HEADER_BYTES => {
                bytes.resize(HEADER_BYTES_MAX, 0);
                continue;
            }
            Err(error) => return Ok(Err(at(offset)(error))),
            Ok(header) => header,
        };
        let blocks = offset + cursor.at as u64;
        let mut starts = header.landmarks;
        starts.push(0);
        for start in starts.into_iter().filter(|&start| (start as usize) < header.bytes) {
            let block = blocks + u64::from(start);
            if let Err(error) = check_block(file, block, header.bytes - start as usize)? {
                return Ok(Err(at(block)(error)));
            }
        }
        return Ok(Ok(Some(blocks + header.bytes as u64)));
    }
}

/// Checks the CRC-32 of the block at `offset`, of at most `bytes_max` bytes.
fn check_block(file: &File, offset: u64, bytes_max: usize) -> io::Result<Result<(), ContainerError>> {
    let mut bytes = vec![0; bytes_max.min(HEADER_BYTES)];
    loop {
        let length = read_at(file, &mut bytes, offset)?;
        let mut cursor = Cursor { bytes: &bytes[..length], at: 0 };
        match Block::take(&mut cursor) {
            // Ten times longer each time, so that a stated length costs memory only as far as the file bears it out.
            Err(_) if length == bytes.len() && length < bytes_max => {
                bytes.resize(bytes_max.min(bytes.len() * 10), 0);
            }
            Err(error) => return Ok(Err(error)),
            Ok(block) => {
                let stored = bytes[block.content.end..cursor.at].try_into().expect("four bytes");
                let fits =
                    zlib_rs::crc32::crc32(0, &bytes[..block.content.end]) == u32::from_le_bytes(stored);
                let error = ContainerError { offset: 0, expected: "a block whose CRC-32 fits" };
                return Ok(if fits { Ok(()) } else { Err(error) });
            }
        }
    }
}

/// Reads until `bytes` is full or the file ends.
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Copies the blocks of one container with wide counters in its slice headers; returns where those now stand.
fn widen_slices(
    bytes: &[u8],
    range: Range<usize>,
    mut counter: u64,
    out: &mut Vec<u8>,
) -> Result<Vec<u32>, ContainerError> {
    let mut landmarks = Vec::new();
    let mut cursor = Cursor { bytes: &bytes[..range.end], at: range.start };
    while cursor.at < range.end {
        let start = cursor.at;
        if Block::take(&mut cursor)?.kind != SLICE_HEADER {
            out.extend_from_slice(&bytes[start..cursor.at]);
            continue;
        }
        let slice = Slice::take(&bytes[..range.end], start)?;
        let mut content = bytes[slice.content_at..slice.counter_at].to_vec();
        put_counter(counter, &mut content);
        content.extend_from_slice(&bytes[slice.counter_end..slice.crc_at]);
        landmarks.push(out.len() as u32);
        put_block(RAW, SLICE_HEADER, 0, content.len(), &content, out);
        counter += u64::from(slice.records);
    }
    Ok(landmarks)
}

/// Sets the counter at `at` and the CRC-32 behind the bytes that it is one of.
fn set_counter(
    bytes: &mut [u8],
    at: usize,
    counter: u64,
    checked: Range<usize>,
) -> Result<(), ContainerError> {
    if bytes.get(at) != Some(&WIDE) {
        return Err(ContainerError { offset: at as u64, expected: "a counter of nine bytes" });
    }
    bytes[at + 1..at + COUNTER_BYTES].copy_from_slice(&counter.to_be_bytes());
    let crc = zlib_rs::crc32::crc32(0, &bytes[checked.clone()]);
    bytes[checked.end..checked.end + CRC_BYTES].copy_from_slice(&crc.to_le_bytes());
    Ok(())
}

/// A container's header (CRAMv3 §7).
pub(crate) struct Header {
    /// Contig, start and span.
    pub place: [u32; 3],
    pub records: u32,
    pub counter: u64,
    /// Where the counter stands.
    pub counter_at: usize,
    pub bases: u64,
    pub blocks: u32,
    pub landmarks: Vec<u32>,
    /// Length of the blocks.
    pub bytes: usize,
}

impl Header {
    fn take(cursor: &mut Cursor<'_>) -> Result<Header, ContainerError> {
        let start = cursor.at;
        let bytes = u32::from_le_bytes(cursor.array()?) as usize;
        let place = [cursor.itf8()?, cursor.itf8()?, cursor.itf8()?];
        let (records, counter_at) = (cursor.itf8()?, cursor.at);
        let (counter, bases) = (cursor.ltf8()?, cursor.ltf8()?);
        let blocks = cursor.itf8()?;
        let landmarks = (0..cursor.itf8()?).map(|_| cursor.itf8()).collect::<Result<_, _>>()?;
        let crc = zlib_rs::crc32::crc32(0, &cursor.bytes[start..cursor.at]);
        if u32::from_le_bytes(cursor.array()?) != crc {
            return Err(ContainerError { offset: start as u64, expected: "a header whose CRC-32 fits" });
        }
        Ok(Header { place, records, counter, counter_at, bases, blocks, landmarks, bytes })
    }

    pub fn put(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&(self.bytes as u32).to_le_bytes());
        self.place.iter().for_each(|&value| put_itf8(value, out));
        put_itf8(self.records, out);
        put_counter(self.counter, out);
        put_ltf8(self.bases, out);
        put_itf8(self.blocks, out);
        put_itf8(self.landmarks.len() as u32, out);
        self.landmarks.iter().for_each(|&landmark| put_itf8(landmark, out));
        let crc = zlib_rs::crc32::crc32(0, &out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
    }
}

/// A block (CRAMv3 §8): where its content stands.
struct Block {
    method: u8,
    kind: u8,
    content: Range<usize>,
}

impl Block {
    fn take(cursor: &mut Cursor<'_>) -> Result<Block, ContainerError> {
        let [method, kind] = cursor.array()?;
        cursor.itf8()?;
        let stored = cursor.itf8()? as usize;
        cursor.itf8()?;
        let content = cursor.skip(stored, "a block of the stated length")?;
        cursor.skip(4, "a block's CRC-32")?;
        Ok(Block { method, kind, content })
    }
}

/// A slice's header (CRAMv3 §8.4): what stands where in its block.
struct Slice {
    start: usize,
    content_at: usize,
    /// Contig, start and span.
    place: [u32; 3],
    records: u32,
    counter_at: usize,
    counter_end: usize,
    crc_at: usize,
}

impl Slice {
    /// That in the block at `start`.
    fn take(bytes: &[u8], start: usize) -> Result<Slice, ContainerError> {
        let mut cursor = Cursor { bytes, at: start.min(bytes.len()) };
        let block = Block::take(&mut cursor)?;
        if (block.method, block.kind) != (RAW, SLICE_HEADER) {
            let expected = "a slice header that is not compressed";
            return Err(ContainerError { offset: start as u64, expected });
        }
        let mut slice = Cursor { bytes: &bytes[..block.content.end], at: block.content.start };
        let place = [slice.itf8()?, slice.itf8()?, slice.itf8()?];
        let (records, counter_at) = (slice.itf8()?, slice.at);
        slice.ltf8()?;
        let (content_at, crc_at) = (block.content.start, block.content.end);
        Ok(Slice { start, content_at, place, records, counter_at, counter_end: slice.at, crc_at })
    }
}

/// Appends a block (CRAMv3 §8) of content that is `raw_bytes` long before compression.
pub(crate) fn put_block(
    method: u8,
    kind: u8,
    content_id: u32,
    raw_bytes: usize,
    content: &[u8],
    out: &mut Vec<u8>,
) {
    let start = out.len();
    out.extend_from_slice(&[method, kind]);
    put_itf8(content_id, out);
    put_itf8(content.len() as u32, out);
    put_itf8(raw_bytes as u32, out);
    out.extend_from_slice(content);
    let crc = zlib_rs::crc32::crc32(0, &out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn skip(&mut self, length: usize, expected: &'static str) -> Result<Range<usize>, ContainerError> {
        let start = self.at;
        let end = start.checked_add(length).filter(|&end| end <= self.bytes.len());
        self.at = end.ok_or(ContainerError { offset: start as u64, expected })?;
        Ok(start..self.at)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ContainerError> {
        let range = self.skip(N, "more bytes")?;
        Ok(self.bytes[range].try_into().expect("N bytes"))
    }

    /// An integer of up to 32 bits (CRAMv3 §2.3): leading ones of the first byte count the bytes that follow; the
    /// fifth byte holds four bits.
    fn itf8(&mut self) -> Result<u32, ContainerError> {
        let [first] = self.array()?;
        let more = first.leading_ones().min(4) as usize;
        let mut value = u32::from(first) & if more == 4 { 0x0f } else { 0x7f >> more };
        for index in 0..more {
            let [byte] = self.array()?;
            value = if index == 3 { value << 4 | u32::from(byte & 15) } else { value << 8 | u32::from(byte) };
        }
        Ok(value)
    }

    /// An integer of up to 64 bits (CRAMv3 §2.3).
    fn ltf8(&mut self) -> Result<u64, ContainerError> {
        let [first] = self.array()?;
        let more = first.leading_ones() as usize;
        let mut value = if more >= 7 { 0 } else { u64::from(first) & (0x7f >> more) };
        for _ in 0..more {
            let [byte] = self.array()?;
            value = value << 8 | u64::from(byte);
        }
        Ok(value)
    }
}

pub(crate) fn put_itf8(value: u32, out: &mut Vec<u8>) {
    let [a, b, c, d] = value.to_be_bytes();
    match value {
        0..0x80 => out.push(d),
        0x80..0x4000 => out.extend_from_slice(&[0x80 | c, d]),
        0x4000..0x20_0000 => out.extend_from_slice(&[0xc0 | b, c, d]),
        0x20_0000..0x1000_0000 => out.extend_from_slice(&[0xe0 | a, b, c, d]),
        _ => {
            out.extend_from_slice(&[0xf0 | a >> 4, a << 4 | b >> 4, b << 4 | c >> 4, c << 4 | d >> 4, d & 15])
        }
    }
}

/// An integer of up to 64 bits in as many bytes whatever it is; § 2.3 lets each be read from any width that holds it.
pub(crate) fn put_counter(value: u64, out: &mut Vec<u8>) {
    out.push(WIDE);
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_ltf8(value: u64, out: &mut Vec<u8>) {
    // `more` bytes after the first leave 7 - more of its bits for the value, and none from seven on.
    let more = (0..8).find(|more| value >> (7 * (more + 1)) == 0).unwrap_or(8);
    let bytes = value.to_be_bytes();
    let marks = !0xffu8.checked_shr(more as u32).unwrap_or(0);
    let first = if more >= 7 { 0 } else { bytes[7 - more] };
    out.push(marks | first);
    out.extend_from_slice(&bytes[8 - more..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_written_as_the_specification_says() {
        for (value, expect) in [
            (0, &[0][..]),
            (127, &[127]),
            (128, &[0x80, 0x80]),
            (0x4000, &[0xc0, 0x40, 0]),
            (4_542_278, &[0xe0, 0x45, 0x4f, 0x46]),
            (u32::MAX, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            let mut out = Vec::new();
            put_itf8(value, &mut out);
            assert_eq!(out, expect, "{value}");
        }
        for (value, expect) in [
            (127, &[127][..]),
            (128, &[0x80, 0x80]),
            (1 << 28, &[0xf0, 0x10, 0, 0, 0]),
            (1 << 49, &[0xfe, 2, 0, 0, 0, 0, 0, 0]),
            (u64::MAX, &[0xff; 9]),
        ] {
            let mut out = Vec::new();
            put_ltf8(value, &mut out);
            assert_eq!(out, expect, "{value}");
        }
    }

    #[test]
    fn integers_of_every_length_are_read_back() {
        for bits in 0..64 {
            for value in [1u64 << bits, (1 << bits) - 1, u64::MAX >> bits] {
                let mut out = Vec::new();
                put_ltf8(value, &mut out);
                let mut cursor = Cursor { bytes: &out, at: 0 };
                assert_eq!((cursor.ltf8(), cursor.at), (Ok(value), out.len()));
                out.clear();
                put_itf8(value as u32, &mut out);
                let mut cursor = Cursor { bytes: &out, at: 0 };
                assert_eq!((cursor.itf8(), cursor.at), (Ok(value as u32), out.len()));
            }
        }
    }

    #[test]
    fn the_end_mark_is_a_container_without_records() {
        assert_eq!(cram_records(&CRAM_EOF), Ok(0));
        let wide = widen(&CRAM_EOF).unwrap();
        assert_eq!((wide.len(), cram_records(&wide)), (CRAM_EOF.len() + COUNTER_BYTES - 1, Ok(0)));
        let mut lines = Vec::new();
        assert_eq!((crai_lines(&wide, 7, &mut lines), lines.len()), (Ok(()), 0));
    }

    #[test]
    fn counters_of_other_widths_are_refused() {
        let error = ContainerError { offset: 15, expected: "a counter of nine bytes" };
        assert_eq!(renumber(&mut CRAM_EOF.clone(), 0), Err(error));
    }

    #[test]
    fn a_damaged_run_is_refused() {
        let wide = widen(&CRAM_EOF).unwrap();
        for cut in 1..wide.len() {
            assert!(renumber(&mut wide[..cut].to_vec(), 5).is_err(), "{cut}");
        }
        for at in 0..27 {
            let mut bytes = wide.clone();
            bytes[at] ^= 0x10;
            assert!(renumber(&mut bytes, 5).is_err(), "{at}");
        }
    }
}
