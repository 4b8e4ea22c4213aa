//! One alignment record in BAM's own layout (SAMv1 §4.2, without the leading `block_size`): the currency between map,
//! region, filters and htslib. Scratch runs hold it, CRAM and BAM are written from it.
//!
//! Invariant: a [`Record`] was measured when it was made, so its accessors cannot fail.

use std::fmt;

/// FLAG bits (SAMv1 §1.4).
pub mod flag {
    #![allow(missing_docs)]
    pub const PAIRED: u16 = 0x1;
    pub const PROPER: u16 = 0x2;
    pub const UNMAPPED: u16 = 0x4;
    pub const MATE_UNMAPPED: u16 = 0x8;
    pub const REVERSE: u16 = 0x10;
    pub const MATE_REVERSE: u16 = 0x20;
    pub const FIRST: u16 = 0x40;
    pub const LAST: u16 = 0x80;
    pub const SECONDARY: u16 = 0x100;
    pub const QC_FAIL: u16 = 0x200;
    pub const DUPLICATE: u16 = 0x400;
    pub const SUPPLEMENTARY: u16 = 0x800;
}

/// CIGAR operations in BAM's packing: `length << 4 | op`, op an index into `MIDNSHP=X`.
pub mod cigar {
    /// Letters of the operations by code.
    pub const LETTERS: &[u8; 9] = b"MIDNSHP=X";
    /// Whether the operation consumes reference bases.
    pub const fn consumes_reference(op: u32) -> bool {
        matches!(op & 15, 0 | 2 | 3 | 7 | 8)
    }
    /// Whether the operation consumes read bases.
    pub const fn consumes_read(op: u32) -> bool {
        matches!(op & 15, 0 | 1 | 4 | 7 | 8)
    }
    /// The operations in these bytes.
    pub fn ops(bytes: &[u8]) -> impl DoubleEndedIterator<Item = u32> + ExactSizeIterator + use<'_> {
        bytes.as_chunks().0.iter().map(|&op| u32::from_le_bytes(op))
    }
}

const FIXED: usize = 32;
/// BAM's 4-bit bases by code, and back: `=ACMGRSVTWYHKDBN`.
const NIBBLE_OF_CODE: [u8; 8] = [1, 2, 4, 8, 15, 15, 15, 15];
const CODE_OF_NIBBLE: [u8; 16] = [4, 0, 1, 4, 2, 4, 4, 4, 3, 4, 4, 4, 4, 4, 4, 4];
/// Both bases of a byte.
const CODES_OF_BYTE: [[u8; 2]; 256] = {
    let mut codes = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        codes[byte] = [CODE_OF_NIBBLE[byte >> 4], CODE_OF_NIBBLE[byte & 15]];
        byte += 1;
    }
    codes
};

/// What a record is made from.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    /// QNAME, 1 to 254 bytes, no terminator.
    pub name: &'a [u8],
    /// FLAG.
    pub flag: u16,
    /// Contig id or -1.
    pub contig: i32,
    /// 0-based leftmost position or -1.
    pub position: i32,
    /// MAPQ.
    pub mapq: u8,
    /// CIGAR in BAM's packing.
    pub cigar: &'a [u32],
    /// Mate's contig id or -1.
    pub mate_contig: i32,
    /// Mate's 0-based position or -1.
    pub mate_position: i32,
    /// TLEN.
    pub template_length: i32,
    /// Bases as codes 0 to 4 (A C G T N), already in the orientation of the reference.
    pub sequence: &'a [u8],
    /// Phred qualities without offset, one per base, in the same orientation; or empty when there are none.
    pub qualities: &'a [u8],
    /// Tags, encoded.
    pub tags: &'a [u8],
}

/// Appends the record of `fields` to `out`.
pub fn encode(fields: &Fields<'_>, out: &mut Vec<u8>) {
    debug_assert!((1..=254).contains(&fields.name.len()));
    debug_assert!(fields.qualities.is_empty() || fields.qualities.len() == fields.sequence.len());
    let reference_bases: u32 =
        fields.cigar.iter().filter(|&&op| cigar::consumes_reference(op)).map(|op| op >> 4).sum();
    out.extend_from_slice(&fields.contig.to_le_bytes());
    out.extend_from_slice(&fields.position.to_le_bytes());
    out.push(fields.name.len() as u8 + 1);
    out.push(fields.mapq);
    out.extend_from_slice(&bin(fields.position, reference_bases).to_le_bytes());
    out.extend_from_slice(&(fields.cigar.len() as u16).to_le_bytes());
    out.extend_from_slice(&fields.flag.to_le_bytes());
    out.extend_from_slice(&(fields.sequence.len() as u32).to_le_bytes());
    out.extend_from_slice(&fields.mate_contig.to_le_bytes());
    out.extend_from_slice(&fields.mate_position.to_le_bytes());
    out.extend_from_slice(&fields.template_length.to_le_bytes());
    out.extend_from_slice(fields.name);
    out.push(0);
    fields.cigar.iter().for_each(|op| out.extend_from_slice(&op.to_le_bytes()));
    let (pairs, last) = fields.sequence.as_chunks::<2>();
    let nibble = |code: u8| NIBBLE_OF_CODE[usize::from(code & 7)];
    out.extend(pairs.iter().map(|&[high, low]| nibble(high) << 4 | nibble(low)));
    out.extend(last.iter().map(|&high| nibble(high) << 4));
    if fields.qualities.is_empty() {
        out.resize(out.len() + fields.sequence.len(), 0xff);
    } else {
        out.extend_from_slice(fields.qualities);
    }
    out.extend_from_slice(fields.tags);
}

/// SAMv1 §5.3 `reg2bin`; unplaced records have bin 4680.
pub(crate) fn bin(position: i32, reference_bases: u32) -> u16 {
    if position < 0 {
        return 4680;
    }
    let (start, end) = (position as u32, position as u32 + reference_bases.max(1) - 1);
    for (shift, offset) in [(14, 4681), (17, 585), (20, 73), (23, 9), (26, 1)] {
        if start >> shift == end >> shift {
            return (offset + (start >> shift)) as u16;
        }
    }
    0
}

/// A view of one record's bytes.
#[derive(Clone, Copy)]
pub struct Record<'a>(&'a [u8]);

/// The bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{length} bytes do not hold the record they begin")]
pub struct RecordError {
    /// How many bytes there were.
    pub length: usize,
}

impl<'a> Record<'a> {
    /// Measures the bytes of one record; every later access is within them.
    pub fn new(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let error = RecordError { length: bytes.len() };
        if bytes.len() < FIXED {
            return Err(error);
        }
        let record = Record(bytes);
        let bases = record.bases();
        let needed = (FIXED as u64)
            + u64::from(bytes[8])
            + 4 * u64::from(record.u16(12))
            + (bases as u64).div_ceil(2)
            + bases as u64;
        if needed > bytes.len() as u64 || bytes[8] == 0 {
            return Err(error);
        }
        Ok(record)
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }

    fn i32(&self, at: usize) -> i32 {
        i32::from_le_bytes(self.0[at..at + 4].try_into().expect("four bytes"))
    }

    /// All bytes of the record.
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Contig id or -1.
    pub fn contig(&self) -> i32 {
        self.i32(0)
    }

    /// 0-based position or -1.
    pub fn position(&self) -> i32 {
        self.i32(4)
    }

    /// MAPQ.
    pub fn mapq(&self) -> u8 {
        self.0[9]
    }

    /// Bin.
    pub fn bin(&self) -> u16 {
        self.u16(10)
    }

    /// FLAG.
    pub fn flag(&self) -> u16 {
        self.u16(14)
    }

    /// Number of bases.
    pub fn bases(&self) -> usize {
        self.i32(16) as u32 as usize
    }

    /// Mate's contig id or -1.
    pub fn mate_contig(&self) -> i32 {
        self.i32(20)
    }

    /// Mate's 0-based position or -1.
    pub fn mate_position(&self) -> i32 {
        self.i32(24)
    }

    /// TLEN.
    pub fn template_length(&self) -> i32 {
        self.i32(28)
    }

    /// QNAME without terminator.
    pub fn name(&self) -> &'a [u8] {
        &self.0[FIXED..FIXED + self.0[8] as usize - 1]
    }

    /// Where its CIGAR begins among its bytes.
    pub(crate) fn cigar_at(&self) -> usize {
        FIXED + self.0[8] as usize
    }

    /// Where its bases begin among its bytes.
    pub(crate) fn sequence_at(&self) -> usize {
        self.cigar_at() + 4 * self.u16(12) as usize
    }

    fn qualities_at(&self) -> usize {
        self.sequence_at() + self.bases().div_ceil(2)
    }

    /// CIGAR operations in BAM's packing.
    pub fn cigar(&self) -> impl DoubleEndedIterator<Item = u32> + ExactSizeIterator + use<'a> {
        cigar::ops(&self.0[self.cigar_at()..self.sequence_at()])
    }

    /// Number of reference bases the CIGAR covers.
    pub fn reference_bases(&self) -> u32 {
        self.cigar().filter(|&op| cigar::consumes_reference(op)).map(|op| op >> 4).sum()
    }

    /// Appends the bases as codes 0 to 4 to `out`.
    pub fn sequence(&self, out: &mut Vec<u8>) {
        let (before, packed) = (out.len(), self.packed_sequence());
        out.resize(before + 2 * packed.len(), 0);
        for (codes, &byte) in out[before..].chunks_exact_mut(2).zip(packed) {
            codes.copy_from_slice(&CODES_OF_BYTE[usize::from(byte)]);
        }
        out.truncate(before + self.bases());
    }

    /// The bases as BAM packs them, two to a byte.
    pub fn packed_sequence(&self) -> &'a [u8] {
        &self.0[self.sequence_at()..self.qualities_at()]
    }

    /// Phred qualities, one per base; all 255 where there are none.
    pub fn qualities(&self) -> &'a [u8] {
        let start = self.qualities_at();
        &self.0[start..start + self.bases()]
    }

    /// The encoded tags.
    pub fn tags(&self) -> &'a [u8] {
        &self.0[self.qualities_at() + self.bases()..]
    }

    /// The encoded value of a tag: its type byte and what follows, without the two letters. Stops at a malformed tag.
    pub fn tag(&self, wanted: &[u8; 2]) -> Option<&'a [u8]> {
        self.tag_values().find(|(tag, _)| tag == wanted).map(|(_, value)| value)
    }

    /// Every tag with its encoded value, in order. Stops at a malformed tag.
    pub fn tag_values(&self) -> impl Iterator<Item = ([u8; 2], &'a [u8])> + use<'a> {
        let mut rest = self.tags();
        std::iter::from_fn(move || {
            let (&tag, value) = rest.split_first_chunk::<2>()?;
            let (value, after) = value.split_at_checked(tag_value_bytes(value)?)?;
            rest = after;
            Some((tag, value))
        })
    }
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = String::from_utf8_lossy(self.name());
        write!(f, "{name} {:#x} {}:{}", self.flag(), self.contig(), self.position())
    }
}

/// Bytes of a tag's value with its type byte.
fn tag_value_bytes(value: &[u8]) -> Option<usize> {
    let scalar = |kind: u8| match kind {
        b'A' | b'c' | b'C' => Some(1),
        b's' | b'S' => Some(2),
        b'i' | b'I' | b'f' => Some(4),
        _ => None,
    };
    match *value.first()? {
        b'Z' | b'H' => Some(value.iter().position(|&byte| byte == 0)? + 1),
        b'B' => {
            let count = u32::from_le_bytes(value.get(2..6)?.try_into().ok()?) as usize;
            count.checked_mul(scalar(value[1])?)?.checked_add(6)
        }
        kind => Some(1 + scalar(kind)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_gives_back_its_fields() {
        let mut bytes = Vec::new();
        let fields = Fields {
            name: b"read/1",
            flag: flag::PAIRED | flag::REVERSE,
            contig: 2,
            position: 70_000,
            mapq: 60,
            cigar: &[3 << 4 | 4, 4 << 4],
            mate_contig: 2,
            mate_position: 69_800,
            template_length: -204,
            sequence: &[0, 1, 2, 3, 4, 0, 3],
            qualities: &[2, 12, 23, 37, 37, 37, 2],
            tags: b"NMC\x01RGZA\0",
        };
        encode(&fields, &mut bytes);
        let record = Record::new(&bytes).unwrap();
        assert_eq!((record.name(), record.flag()), (&b"read/1"[..], 0x11));
        assert_eq!((record.contig(), record.position(), record.mapq()), (2, 70_000, 60));
        assert_eq!(record.cigar().collect::<Vec<_>>(), fields.cigar);
        assert_eq!(record.reference_bases(), 4);
        let mut sequence = Vec::new();
        record.sequence(&mut sequence);
        assert_eq!((&sequence[..], record.qualities()), (fields.sequence, fields.qualities));
        assert_eq!(record.tag(b"RG"), Some(&b"ZA\0"[..]));
        assert_eq!(record.tag(b"NM"), Some(&b"C\x01"[..]));
        assert_eq!(record.tag(b"XX"), None);
        for cut in 0..bytes.len() - fields.tags.len() {
            assert!(Record::new(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn bins_follow_the_specification() {
        for (position, bases, expect) in [(-1, 0, 4680), (0, 1, 4681), (16_383, 2, 585), (0, 1 << 27, 0)] {
            assert_eq!(bin(position, bases), expect);
        }
    }
}
