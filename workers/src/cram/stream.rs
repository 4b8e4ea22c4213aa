//! Streams of one data series or tag, and how each is compressed and described (CRAMv3 §8.5, §13).
//!
//! Invariant: how a stream is compressed depends on what it holds only.

use super::rans;
use crate::htslib::container;
use libdeflater::{CompressionLvl, Compressor};

pub(super) use crate::htslib::container::put_itf8;

/// Part of the output format: of names and text. samtools' own default comes to libdeflate's level 6.
const TEXT_LEVEL: i32 = 5;
/// Part of the output format: of numbers, in which higher levels find no more.
const FAST_LEVEL: i32 = 1;
/// Longest stream of numbers whose deflate is tried: what is longer is no column of numbers.
const TRIED_BYTES_MAX: usize = 1 << 17;
const GZIP: u8 = 1;
const RANS: u8 = 4;

const EXTERNAL: u32 = 1;
const HUFFMAN: u32 = 3;
const BYTE_ARRAY_LEN: u32 = 4;
const BYTE_ARRAY_STOP: u32 = 5;

/// Streams shorter than this are not worth a table.
const CODED_BYTES_MIN: usize = 32;

/// How the values of a stream are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Integers, each in as many bytes as it needs.
    Integers,
    /// Single bytes.
    Bytes,
    /// Byte strings that end with this byte, which they do not contain.
    Ended(u8),
    /// Byte strings of one length.
    Fixed(u32),
}

/// What a stream is like, and so how it is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Single values: by how often each byte occurs, or follows another.
    Counted,
    /// The same; or, where several bytes make a value or values come again, by what was there before.
    Repeated,
    /// Names and other text: by what was there before.
    Text,
}

/// The deflate of each level in use, and the buffers of rANS, kept from stream to stream.
pub struct Compressors {
    rans: rans::Buffers,
    fast: Compressor,
    text: Compressor,
}

impl Default for Compressors {
    fn default() -> Self {
        let of = |level| Compressor::new(CompressionLvl::new(level).expect("a level of libdeflate"));
        Compressors { rans: rans::Buffers::default(), fast: of(FAST_LEVEL), text: of(TEXT_LEVEL) }
    }
}

/// One stream.
#[derive(Debug)]
pub struct Stream {
    /// Its content id.
    pub id: u32,
    pub form: Form,
    pub coding: Coding,
    pub bytes: Vec<u8>,
}

/// A stream compressed.
pub struct Coded {
    pub content_id: u32,
    pub method: u8,
    pub raw_bytes: usize,
    pub bytes: Vec<u8>,
}

impl Stream {
    pub fn new(id: u32, form: Form, coding: Coding) -> Self {
        Stream { id, form, coding, bytes: Vec::new() }
    }

    #[inline]
    pub fn integer(&mut self, value: i32) {
        match value {
            0..0x80 => self.bytes.push(value as u8),
            _ => put_itf8(value.cast_unsigned(), &mut self.bytes),
        }
    }

    /// A byte string and its end.
    #[inline]
    pub fn ended(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if let Form::Ended(end) = self.form {
            self.bytes.push(end);
        }
    }

    /// Its encoding as the compression header says it (CRAMv3 §13).
    pub fn put_encoding(&self, out: &mut Vec<u8>) {
        let mut parameters = Vec::new();
        let codec = match self.form {
            Form::Integers | Form::Bytes => {
                put_itf8(self.id, &mut parameters);
                EXTERNAL
            }
            Form::Ended(end) => {
                parameters.push(end);
                put_itf8(self.id, &mut parameters);
                BYTE_ARRAY_STOP
            }
            Form::Fixed(length) => {
                // One symbol takes no bits.
                put_constant(length, &mut parameters);
                let mut id = Vec::new();
                put_itf8(self.id, &mut id);
                put_parameters(EXTERNAL, &id, &mut parameters);
                BYTE_ARRAY_LEN
            }
        };
        put_parameters(codec, &parameters, out);
    }

    /// The shortest of the codings that suit what it holds; of equals the first.
    pub fn coded(&self, compressors: &mut Compressors) -> Coded {
        let bytes = &self.bytes[..];
        let (content_id, raw_bytes) = (self.id, bytes.len());
        let mut best = None;
        if raw_bytes >= CODED_BYTES_MIN {
            if self.coding != Coding::Text {
                best = Some((RANS, rans::compress(bytes, &mut compressors.rans)));
            }
            let deflate = match self.coding {
                Coding::Counted => None,
                Coding::Repeated => (raw_bytes <= TRIED_BYTES_MAX).then_some(&mut compressors.fast),
                Coding::Text => Some(&mut compressors.text),
            };
            let deflated = deflate.map(|deflate| (GZIP, gzip(deflate, bytes)));
            best = [best, deflated].into_iter().flatten().min_by_key(|(_, coded)| coded.len());
        }
        match best.filter(|(_, coded)| coded.len() < raw_bytes) {
            Some((method, bytes)) => Coded { content_id, method, raw_bytes, bytes },
            None => Coded { content_id, method: container::RAW, raw_bytes, bytes: bytes.to_vec() },
        }
    }
}

fn gzip(compressor: &mut Compressor, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0; compressor.gzip_compress_bound(bytes.len())];
    let length = compressor.gzip_compress(bytes, &mut out).expect("the room is libdeflate's bound");
    out.truncate(length);
    out
}

/// The encoding of a series that is one value throughout.
pub fn put_constant(value: u32, out: &mut Vec<u8>) {
    let mut parameters = Vec::new();
    put_array(&[value], &mut parameters);
    put_array(&[0], &mut parameters);
    put_parameters(HUFFMAN, &parameters, out);
}

fn put_parameters(codec: u32, parameters: &[u8], out: &mut Vec<u8>) {
    put_itf8(codec, out);
    put_itf8(parameters.len() as u32, out);
    out.extend_from_slice(parameters);
}

/// An array of integers with its length before it.
pub fn put_array(values: &[u32], out: &mut Vec<u8>) {
    put_itf8(values.len() as u32, out);
    values.iter().for_each(|&value| put_itf8(value, out));
}
