//! An entry of an alignment run: one record with its place in the order of the genome and what duplicate marking needs
//! to know of its template.
//!
//! The order of a sample's records is total: by place, then by input (lane, template, segment). It never depends on
//! chunks, threads or arrival.

use crate::record::{Record, RecordError};
use kernels::duplicates::{End, Fragment};

/// Where a record stands on the genome: contig and position in one number. Records without a place come last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(pub u64);

impl Place {
    /// The place of records that have none.
    pub const NOWHERE: Place = Place(u64::MAX);

    /// A position on a contig.
    pub const fn new(contig: u32, position: u32) -> Self {
        Place((contig as u64) << 32 | position as u64)
    }

    /// Contig id; meaningless for [`Place::NOWHERE`].
    pub const fn contig(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// 0-based position; meaningless for [`Place::NOWHERE`].
    pub const fn position(self) -> u32 {
        self.0 as u32
    }
}

/// Position in the sample's input: 12 bits of lane, 44 of template, 8 of segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Order(pub u64);

/// Most lanes a sample may have.
pub const LANES_MAX: u32 = 1 << 12;

impl Order {
    /// `segment` counts the records of one template: mates first, then supplementary ones.
    pub const fn new(lane: u32, template: u64, segment: u8) -> Self {
        Order((lane as u64) << 52 | (template & ((1 << 44) - 1)) << 8 | segment as u64)
    }

    /// Lane and template without the segment.
    pub const fn template(self) -> u64 {
        self.0 >> 8
    }
}

/// One entry; the record's bytes are borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Where it stands.
    pub place: Place,
    /// Which of those at one place comes first.
    pub order: Order,
    /// Set for placed primary records.
    pub fragment: Option<Fragment>,
    /// The record.
    pub record: Record<'a>,
}

const HAS_FRAGMENT: u8 = 1;
const HAS_MATE: u8 = 2;
const OWN_REVERSE: u8 = 4;
const MATE_REVERSE: u8 = 8;

/// place, order, flags, library, own position, mate contig, mate position, score, name hash, record length.
const HEADER: usize = 8 + 8 + 1 + 2 + 4 + 4 + 4 + 4 + 8 + 4;

impl Entry<'_> {
    /// Appends the entry to a block.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut flags = 0;
        let (mut library, mut own, mut mate, mut score, mut hash) = (0, 0, (0, 0), 0, 0);
        if let Some(fragment) = &self.fragment {
            flags |= HAS_FRAGMENT | if fragment.own.reverse { OWN_REVERSE } else { 0 };
            (library, own, score, hash) =
                (fragment.library, fragment.own.position, fragment.score, fragment.name_hash);
            if let Some(end) = fragment.mate {
                flags |= HAS_MATE | if end.reverse { MATE_REVERSE } else { 0 };
                mate = (end.contig, end.position);
            }
        }
        out.extend_from_slice(&self.place.0.to_le_bytes());
        out.extend_from_slice(&self.order.0.to_le_bytes());
        out.push(flags);
        out.extend_from_slice(&library.to_le_bytes());
        out.extend_from_slice(&own.to_le_bytes());
        out.extend_from_slice(&mate.0.to_le_bytes());
        out.extend_from_slice(&mate.1.to_le_bytes());
        out.extend_from_slice(&score.to_le_bytes());
        out.extend_from_slice(&hash.to_le_bytes());
        out.extend_from_slice(&(self.record.bytes().len() as u32).to_le_bytes());
        out.extend_from_slice(self.record.bytes());
    }
}

/// Place and order of the entry at the start of `block`, and its length; nothing else of it is looked at.
pub fn peek(block: &[u8]) -> Result<(Place, Order, usize), RecordError> {
    let header = block.first_chunk::<HEADER>().ok_or(RecordError { length: block.len() })?;
    let u64_at = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    let record = u32::from_le_bytes(header[HEADER - 4..].try_into().expect("four bytes"));
    Ok((Place(u64_at(0)), Order(u64_at(8)), HEADER + record as usize))
}

/// Reads the entry at the start of `block`; returns it and the rest.
pub fn decode(block: &[u8]) -> Result<(Entry<'_>, &[u8]), RecordError> {
    let error = RecordError { length: block.len() };
    let (header, rest) = block.split_first_chunk::<HEADER>().ok_or(error)?;
    let u64_at = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    let u32_at = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
    let (place, order, flags) = (Place(u64_at(0)), Order(u64_at(8)), header[16]);
    let fragment = (flags & HAS_FRAGMENT != 0).then(|| Fragment {
        library: u16::from_le_bytes([header[17], header[18]]),
        own: End { contig: place.contig(), position: u32_at(19) as i32, reverse: flags & OWN_REVERSE != 0 },
        mate: (flags & HAS_MATE != 0).then(|| End {
            contig: u32_at(23),
            position: u32_at(27) as i32,
            reverse: flags & MATE_REVERSE != 0,
        }),
        score: u32_at(31),
        name_hash: u64_at(35),
        template: order.template(),
    });
    let length = u32_at(43) as usize;
    let (record, rest) = rest.split_at_checked(length).ok_or(error)?;
    Ok((Entry { place, order, fragment, record: Record::new(record)? }, rest))
}

/// The bytes of each record in a block of entries. Stops where it holds none.
pub(crate) fn for_records(mut block: &mut [u8], mut visit: impl FnMut(&mut [u8])) {
    while let Some((header, rest)) = block.split_first_chunk_mut::<HEADER>() {
        let length = u32::from_le_bytes(header[43..].try_into().expect("four bytes")) as usize;
        let Some((record, rest)) = rest.split_at_mut_checked(length) else { return };
        visit(record);
        block = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Fields, encode};

    #[test]
    fn an_entry_gives_back_what_it_was_made_from() {
        let mut record = Vec::new();
        encode(
            &Fields {
                name: b"r",
                flag: 0,
                contig: 3,
                position: 9,
                mapq: 1,
                cigar: &[2 << 4],
                mate_contig: -1,
                mate_position: -1,
                template_length: 0,
                sequence: &[0, 1],
                qualities: &[],
                tags: b"",
            },
            &mut record,
        );
        let order = Order::new(4095, (1 << 44) - 1, 3);
        let own = End { contig: 3, position: -7, reverse: true };
        let mate = End { contig: 1, position: 70, reverse: false };
        let fragment =
            |mate| Fragment { library: 2, own, mate, score: 4, name_hash: 5, template: order.template() };
        for fragment in [None, Some(fragment(None)), Some(fragment(Some(mate)))] {
            let record = Record::new(&record).unwrap();
            let entry = Entry { place: Place::new(3, 9), order, fragment, record };
            let mut block = Vec::new();
            entry.encode(&mut block);
            for cut in 0..block.len() {
                assert!(decode(&block[..cut]).is_err());
            }
            block.extend_from_slice(b"rest");
            let (back, rest) = decode(&block).unwrap();
            assert_eq!((back.place, back.order, back.fragment), (entry.place, entry.order, entry.fragment));
            assert_eq!((back.record.bytes(), rest), (entry.record.bytes(), &b"rest"[..]));
            assert_eq!(peek(&block), Ok((entry.place, entry.order, block.len() - rest.len())));
        }
    }

    #[test]
    fn records_without_a_place_come_last_and_input_order_breaks_ties() {
        assert!(Place::new(u32::MAX - 1, u32::MAX) < Place::NOWHERE);
        assert!(Place::new(1, u32::MAX) < Place::new(2, 0));
        assert!(Order::new(0, 1 << 43, 255) < Order::new(1, 0, 0));
        assert!(Order::new(0, 7, 1) < Order::new(0, 8, 0));
    }
}
