//! A record's bases as their difference from the reference, which is mostly nothing: scratch that says only where reads
//! differ is half as large.
//!
//! Invariant: place and CIGAR of a record stay as they are, and they alone say what its bases are compared with; so the
//! same step makes the difference and takes it back.

use crate::record::{Record, cigar};
use kernels::reference::Reference;

/// Bases compared at a time.
const STEP: usize = 16;

/// Turns the bases of a record into their difference from those of the reference that they are aligned to, or back. Leaves
/// alone what is no record, or has no place on this reference.
pub fn relate(record: &mut [u8], reference: &Reference<'_>) {
    let Ok(view) = Record::new(record) else { return };
    let (contig, bases, at) = (view.contig() as usize, view.bases(), view.sequence_at());
    let Ok(mut place) = u32::try_from(view.position()) else { return };
    if contig >= reference.contigs() {
        return;
    }
    let cigar_at = view.cigar_at();
    let (before, rest) = record.split_at_mut(at);
    let packed = &mut rest[..bases.div_ceil(2)];
    let mut from = 0;
    for op in cigar::ops(&before[cigar_at..]) {
        let length = op >> 4;
        let (read, along) = (cigar::consumes_read(op), cigar::consumes_reference(op));
        let end = if read { bases.min(from + length as usize) } else { from };
        if read && along {
            difference(packed, from..end, |base| {
                reference.nibbles(contig as u32, place.saturating_add(base))
            });
        }
        from = end;
        place = place.saturating_add(if along { length } else { 0 });
    }
}

/// Compares some bases with those that `expected` gives, 16 from one of them on, counted from the first.
fn difference(packed: &mut [u8], bases: std::ops::Range<usize>, expected: impl Fn(u32) -> u64) {
    let mut step = bases.start / STEP * STEP;
    while step < bases.end {
        let (begin, end) = (bases.start.max(step), bases.end.min(step + STEP));
        let beyond = u64::MAX.checked_shr(4 * (end - step) as u32).unwrap_or(0);
        let nibbles = expected((begin - bases.start) as u32) >> (4 * (begin - step)) & !beyond;
        let bytes = &mut packed[step / 2..];
        for (byte, other) in bytes.iter_mut().zip(nibbles.to_be_bytes()) {
            *byte ^= other;
        }
        step += STEP;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Fields, encode};
    use kernels::reference::OwnedReference;

    const REFERENCE: &[u8] = b"GATTACAGATTACCAGGANNACGTTGCAGGTACCATTGACCATGACCAATGGATCCAGTTAGACC";

    fn record(contig: i32, position: i32, cigar: &[u32], letters: &[u8]) -> Vec<u8> {
        let mut sequence = Vec::new();
        kernels::sequence::encode(letters, &mut sequence);
        let fields = Fields {
            name: b"read",
            flag: 0,
            contig,
            position,
            mapq: 60,
            cigar,
            mate_contig: -1,
            mate_position: -1,
            template_length: 0,
            sequence: &sequence,
            qualities: &[],
            tags: b"NMC\0",
        };
        let mut bytes = Vec::new();
        encode(&fields, &mut bytes);
        bytes
    }

    #[test]
    fn what_equals_the_reference_is_nothing_and_everything_comes_back() {
        let mut owned = OwnedReference::default();
        [b"ACG", REFERENCE].iter().for_each(|letters| owned.push_contig(letters).unwrap());
        let sections = owned.sections();
        let reference = Reference::new(&sections.each_ref().map(Vec::as_slice)).unwrap();
        let check = |place: (i32, i32), cigar: &[(u32, u8)], letters: &[u8], differing: Option<usize>| {
            let op = |&(length, letter): &(u32, u8)| {
                length << 4 | cigar::LETTERS.iter().position(|&known| known == letter).unwrap() as u32
            };
            let ops: Vec<u32> = cigar.iter().map(op).collect();
            let whole = record(place.0, place.1, &ops, letters);
            let mut bytes = whole.clone();
            relate(&mut bytes, &reference);
            let packed = Record::new(&bytes).unwrap().packed_sequence();
            let nibbles = packed.iter().flat_map(|byte| [byte >> 4, byte & 15]).take(letters.len());
            let found = nibbles.filter(|&nibble| nibble != 0).count();
            assert_eq!(found, differing.unwrap_or(found), "{cigar:?}");
            relate(&mut bytes, &reference);
            assert_eq!(bytes, whole, "{cigar:?}");
        };
        check((1, 20), &[(40, b'M')], &REFERENCE[20..60], Some(0));
        check((1, 21), &[(37, b'M')], &REFERENCE[21..58], Some(0));
        let soft = [b"TTTTT", &REFERENCE[21..50]].concat();
        check((1, 21), &[(5, b'S'), (29, b'M')], &soft, Some(5));
        let gapped = [&REFERENCE[0..9], b"CCC", &REFERENCE[9..18], &REFERENCE[23..40]].concat();
        let ops = [(9, b'M'), (3, b'I'), (9, b'='), (5, b'D'), (17, b'X'), (4, b'H')];
        check((1, 0), &ops, &gapped, Some(3));
        let mut wrong = REFERENCE[20..60].to_vec();
        wrong[33] = b'N';
        check((1, 20), &[(40, b'M')], &wrong, Some(1));
        // Not where they say that they are.
        check((1, 60), &[(40, b'M')], &REFERENCE[20..60], None);
        check((1, i32::MAX), &[(u32::MAX >> 4, b'N'), (50, b'M')], &REFERENCE[..50], None);
        check((1, 0), &[(u32::MAX >> 4, b'M')], &REFERENCE[..50], Some(2));
        check((0, 0), &[(3, b'M')], b"", Some(0));
        check((2, 0), &[(40, b'M')], &REFERENCE[20..60], Some(40));
        check((-1, -1), &[], &REFERENCE[20..60], Some(40));
        relate(&mut [0; 7], &reference);
    }
}
