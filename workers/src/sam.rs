//! Records as lines of SAM text (SAMv1 §1.4), from BAM's layout.
//!
//! Invariant: a line has the bytes that htslib writes for the record under the same header; where this module is not
//! sure of them, as for real numbers and arrays in tags, it says so; our own records have none.

use crate::record::{Record, cigar};
use jobs::genome::Contigs;

/// Letters of BAM's 4-bit bases.
const LETTERS: &[u8; 16] = b"=ACMGRSVTWYHKDBN";

/// Both letters of a byte.
const LETTERS_OF_BYTE: [[u8; 2]; 256] = {
    let mut letters = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        letters[byte] = [LETTERS[byte >> 4], LETTERS[byte & 15]];
        byte += 1;
    }
    letters
};

/// Quality of a base of which none is known.
const NO_QUALITY: u8 = 0xff;

/// Appends the record's line, with its line feed, to `out`. `None`, and nothing appended, for a record that names a
/// contig there is not, or has a tag of real numbers or an array.
pub fn line(contigs: &Contigs, record: &Record<'_>, out: &mut Vec<u8>) -> Option<()> {
    let before = out.len();
    let written = append(contigs, record, out);
    if written.is_none() {
        out.truncate(before);
    }
    written
}

fn append(contigs: &Contigs, record: &Record<'_>, out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(record.name());
    number(out, record.flag());
    contig(out, contigs, record.contig())?;
    number(out, i64::from(record.position()) + 1);
    number(out, record.mapq());
    out.push(b'\t');
    if record.cigar().len() == 0 {
        out.push(b'*');
    }
    for op in record.cigar() {
        digits(out, op >> 4);
        out.push(*cigar::LETTERS.get(op as usize & 15)?);
    }
    match record.mate_contig() {
        mate if mate >= 0 && mate == record.contig() => out.extend_from_slice(b"\t="),
        mate => contig(out, contigs, mate)?,
    }
    number(out, i64::from(record.mate_position()) + 1);
    number(out, record.template_length());
    out.push(b'\t');
    bases(out, record);
    out.push(b'\t');
    qualities(out, record);
    for (tag, value) in record.tag_values() {
        out.push(b'\t');
        out.extend_from_slice(&tag);
        tag_value(out, value)?;
    }
    out.push(b'\n');
    Some(())
}

fn digits(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn number(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.push(b'\t');
    digits(out, value);
}

fn contig(out: &mut Vec<u8>, contigs: &Contigs, id: i32) -> Option<()> {
    out.push(b'\t');
    match u32::try_from(id) {
        Ok(id) if (id as usize) < contigs.len() => out.extend_from_slice(contigs.get(id).name.as_bytes()),
        Ok(_) => return None,
        Err(_) => out.push(b'*'),
    }
    Some(())
}

fn bases(out: &mut Vec<u8>, record: &Record<'_>) {
    if record.bases() == 0 {
        return out.push(b'*');
    }
    let (before, packed) = (out.len(), record.packed_sequence());
    out.resize(before + 2 * packed.len(), 0);
    for (letters, &byte) in out[before..].chunks_exact_mut(2).zip(packed) {
        letters.copy_from_slice(&LETTERS_OF_BYTE[usize::from(byte)]);
    }
    out.truncate(before + record.bases());
}

fn qualities(out: &mut Vec<u8>, record: &Record<'_>) {
    match record.qualities() {
        [] | [NO_QUALITY, ..] => out.push(b'*'),
        qualities => out.extend(qualities.iter().map(|quality| quality.wrapping_add(33))),
    }
}

/// The value of a tag with its type.
fn tag_value(out: &mut Vec<u8>, value: &[u8]) -> Option<()> {
    let (&kind, value) = value.split_first()?;
    let integer: i64 = match (kind, value) {
        (b'C', &[byte]) => byte.into(),
        (b'c', &[byte]) => (byte as i8).into(),
        (b'S', &[a, b]) => u16::from_le_bytes([a, b]).into(),
        (b's', &[a, b]) => i16::from_le_bytes([a, b]).into(),
        (b'I', &[a, b, c, d]) => u32::from_le_bytes([a, b, c, d]).into(),
        (b'i', &[a, b, c, d]) => i32::from_le_bytes([a, b, c, d]).into(),
        (b'A' | b'Z' | b'H', value) => {
            out.extend_from_slice(&[b':', kind, b':']);
            out.extend_from_slice(value.strip_suffix(b"\0").filter(|_| kind != b'A').unwrap_or(value));
            return Some(());
        }
        _ => return None,
    };
    out.extend_from_slice(b":i:");
    digits(out, integer);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::htslib::SamText;
    use crate::record::{Fields, encode};
    use jobs::genome::Contig;

    #[test]
    fn lines_are_those_of_htslib() {
        let contigs = [("c1", 1 << 20), ("c2", 99)].map(|(name, length)| Contig {
            name: name.into(),
            length,
            m5: [0; 16],
        });
        let contigs = Contigs::new(contigs.to_vec());
        let mut htslib = SamText::new("@SQ\tSN:c1\tLN:1048576\n@SQ\tSN:c2\tLN:99\n").unwrap();
        let base = Fields {
            name: b"r!~",
            flag: 99,
            contig: 0,
            position: 1_000_000,
            mapq: 60,
            cigar: &[5 << 4 | 4, 3 << 4, 1 << 4 | 1, 2 << 4 | 2, 9 << 4 | 5],
            mate_contig: 0,
            mate_position: 0,
            template_length: -1_000_003,
            sequence: &[0, 1, 2, 3, 4, 0, 0, 0, 0],
            qualities: &[0, 1, 2, 3, 93, 5, 6, 7, 8],
            tags: b"NMC\xffXAc\x80XBS\xff\xffXCs\x00\x80XDI\xff\xff\xff\xffXEi\x00\x00\x00\x80MDZ1A2\0XFAxXGZ\0XHH1A\0",
        };
        let other = Fields { mate_contig: 1, sequence: &[3, 3], qualities: &[], cigar: &[], ..base };
        let unplaced =
            Fields { flag: 4, contig: -1, position: -1, mate_contig: -1, mate_position: -1, ..other };
        let empty = Fields { sequence: &[], mapq: 0, tags: b"", ..unplaced };
        for fields in [base, other, unplaced, empty] {
            let (mut record, mut ours, mut theirs) = (Vec::new(), b"before".to_vec(), b"before".to_vec());
            encode(&fields, &mut record);
            line(&contigs, &Record::new(&record).unwrap(), &mut ours).unwrap();
            htslib.line(&record, &mut theirs).unwrap();
            assert_eq!(String::from_utf8_lossy(&ours), String::from_utf8_lossy(&theirs));
        }
        for unsure in [Fields { contig: 2, ..base }, Fields { tags: b"XAf\0\0\0\0", ..base }] {
            let (mut record, mut text) = (Vec::new(), b"before".to_vec());
            encode(&unsure, &mut record);
            assert_eq!(line(&contigs, &Record::new(&record).unwrap(), &mut text), None);
            assert_eq!(text, b"before");
        }
    }
}
