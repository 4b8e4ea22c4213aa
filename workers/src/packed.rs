//! Blocks of a run as they lie where room is short: each field with its like, and of most only how they differ from what
//! the others foretell.
//!
//! Numbers are differences from a prediction, each kind in a column of its own; names say how they differ from the one
//! before, bases (which are differences from the reference already) where they are not nothing. Columns are deflated,
//! qualities coded by what follows what. Invariant: every entry comes back as it was; a prediction costs room if it is
//! wrong, and nothing else. Knows nothing of runs.

mod rans;

use crate::cram::rans::compress_once;
use crate::entry::{Entry, Order, Place, decode};
use crate::record::{self, Record, RecordError, cigar, flag};
use crate::template::name_hash;
use kernels::duplicates::{End, Fragment, quality_score};
use libdeflater::{CompressionLvl, Compressor, Decompressor};

/// Entries of a block: as many as make tables worth their room, as few as may be held of many runs at a time.
pub const ENTRIES: usize = 2048;

/// Bytes of entries at which a block is closed that has fewer: those of long reads would fill memory.
pub const BLOCK_BYTES: usize = 1 << 20;

/// The fastest: what is left to be found is little.
const LEVEL: i32 = 1;

/// Longest text of a section believed.
const SECTION_BYTES_MAX: u64 = 1 << 30;

/// A block's sections.
const NUMBERS: usize = 0;
const NAMES: usize = 1;
const CIGARS: usize = 2;
const BASES: usize = 3;
const TAGS: usize = 4;
const QUALITIES: usize = 5;
const SECTIONS: usize = 6;

/// The numbers of an entry: those before [`TEMPLATE_LENGTH`] are foretold by numbers before them and by the entry before,
/// those from there on by name, CIGAR and qualities, too.
const PLACE: usize = 0;
const TEMPLATE: usize = 1;
const SEGMENT: usize = 2;
const FLAG: usize = 3;
const MAPQ: usize = 4;
const CONTIG: usize = 5;
const POSITION: usize = 6;
const MATE_CONTIG: usize = 7;
const MATE_POSITION: usize = 8;
const OPS: usize = 9;
const LENGTH: usize = 10;
const NAME_SHARED: usize = 11;
const NAME_REST: usize = 12;
const TAG_BYTES: usize = 13;
const TEMPLATE_LENGTH: usize = 14;
const BIN: usize = 15;
/// 0 without a fragment, 1 without the mate's end, 2 with it.
const ENDS: usize = 16;
const LIBRARY: usize = 17;
const OWN_END: usize = 18;
const OWN_REVERSE: usize = 19;
const MATE_END_CONTIG: usize = 20;
const MATE_END: usize = 21;
const MATE_END_REVERSE: usize = 22;
const SCORE: usize = 23;
const NAME_HASH: usize = 24;
const COLUMNS: usize = 25;

type Numbers = [i64; COLUMNS];

/// What an entry's name, CIGAR and qualities foretell.
#[derive(Default)]
struct Told {
    bases: i64,
    left_clip: i64,
    right_clip: i64,
    score: i64,
    name_hash: i64,
}

impl Told {
    fn of(name: &[u8], ops: impl Iterator<Item = u32>, qualities: &[u8]) -> Self {
        let (mut bases, mut left_clip, mut right_clip) = (0, None, 0);
        for op in ops {
            let length = i64::from(op >> 4);
            bases += if cigar::consumes_reference(op) { length } else { 0 };
            right_clip = if matches!(op & 15, 4 | 5) { length } else { 0 };
            left_clip.get_or_insert(right_clip);
        }
        Told {
            bases,
            left_clip: left_clip.unwrap_or(0),
            right_clip,
            score: quality_score(qualities).into(),
            name_hash: name_hash(name).cast_signed(),
        }
    }
}

/// What a number is taken to be, from those before it, those of the entry `before` and what strings tell. Any numbers may
/// stand there if a block is damaged, so nothing counts on sums that fit.
fn foretold(column: usize, now: &Numbers, before: &Numbers, told: &Told) -> i64 {
    let has = |bits: u16| now[FLAG] & i64::from(bits) != 0;
    let nowhere = Place::NOWHERE.0.cast_signed();
    let place = Place(now[PLACE].cast_unsigned());
    let together =
        has(flag::PAIRED) && now[MATE_CONTIG] == now[CONTIG] && !has(flag::MATE_UNMAPPED | flag::UNMAPPED);
    match column {
        CONTIG | POSITION if now[PLACE] == nowhere => -1,
        CONTIG => place.contig().into(),
        POSITION => place.position().into(),
        MATE_CONTIG if has(flag::PAIRED) => now[CONTIG],
        MATE_POSITION if has(flag::PAIRED) => now[POSITION],
        MATE_CONTIG | MATE_POSITION => -1,
        TEMPLATE_LENGTH if together && now[MATE_POSITION] >= now[POSITION] => {
            now[MATE_POSITION].wrapping_add(now[LENGTH]).wrapping_sub(now[POSITION])
        }
        TEMPLATE_LENGTH if together => {
            now[MATE_POSITION].wrapping_sub(now[POSITION]).wrapping_sub(told.bases)
        }
        BIN => record::bin(now[POSITION] as i32, told.bases.min(i32::MAX.into()) as u32).into(),
        ENDS if has(flag::UNMAPPED | flag::SECONDARY | flag::SUPPLEMENTARY) => 0,
        ENDS if has(flag::PAIRED) && !has(flag::MATE_UNMAPPED) => 2,
        ENDS => 1,
        LIBRARY => before[LIBRARY],
        OWN_END | OWN_REVERSE | SCORE | NAME_HASH if now[ENDS] == 0 => 0,
        OWN_END if has(flag::REVERSE) => now[POSITION].wrapping_add(told.bases + told.right_clip - 1),
        OWN_END => now[POSITION].wrapping_sub(told.left_clip),
        OWN_REVERSE => has(flag::REVERSE).into(),
        MATE_END_CONTIG | MATE_END | MATE_END_REVERSE if now[ENDS] != 2 => 0,
        MATE_END_CONTIG => now[MATE_CONTIG],
        MATE_END if has(flag::MATE_REVERSE) && now[TEMPLATE_LENGTH] > 0 => {
            now[POSITION].wrapping_add(now[TEMPLATE_LENGTH]).wrapping_sub(1)
        }
        MATE_END if has(flag::MATE_REVERSE) => now[MATE_POSITION].wrapping_add(now[LENGTH]).wrapping_sub(1),
        MATE_END => now[MATE_POSITION],
        MATE_END_REVERSE => has(flag::MATE_REVERSE).into(),
        SCORE => told.score.wrapping_mul(now[ENDS]),
        NAME_HASH => told.name_hash,
        PLACE | TEMPLATE | LENGTH | TAG_BYTES | OPS => before[column],
        _ => 0,
    }
}

/// Packs the entries of a block.
pub fn pack(mut block: &[u8]) -> Result<Vec<u8>, RecordError> {
    let mut columns: [Vec<u8>; COLUMNS] = Default::default();
    let mut sections: [Vec<u8>; SECTIONS] = Default::default();
    let (mut before, mut name, mut entries) = ([0; COLUMNS], &[][..], 0);
    while !block.is_empty() {
        let (entry, rest) = decode(block)?;
        let record = entry.record;
        let mut now = numbers(&entry);
        now[NAME_SHARED] = name.iter().zip(record.name()).take_while(|(a, b)| a == b).count() as i64;
        now[NAME_REST] = record.name().len() as i64 - now[NAME_SHARED];
        let told = Told::of(record.name(), record.cigar(), record.qualities());
        for (column, bytes) in columns.iter_mut().enumerate() {
            put(zigzag(now[column].wrapping_sub(foretold(column, &now, &before, &told))), bytes);
        }
        name = record.name();
        sections[NAMES].extend_from_slice(&name[now[NAME_SHARED] as usize..]);
        record.cigar().for_each(|op| put(op.into(), &mut sections[CIGARS]));
        put_sparse(record.packed_sequence(), &mut sections[BASES]);
        sections[TAGS].extend_from_slice(record.tags());
        sections[QUALITIES].extend_from_slice(record.qualities());
        (block, before, entries) = (rest, now, entries + 1);
    }
    for column in &columns {
        put(column.len() as u64, &mut sections[NUMBERS]);
        sections[NUMBERS].extend_from_slice(column);
    }
    let mut out = Vec::new();
    put(entries, &mut out);
    let mut deflate = Compressor::new(CompressionLvl::new(LEVEL).expect("a level of libdeflate"));
    for (which, section) in sections.iter().enumerate() {
        let stored = match which {
            QUALITIES => compress_once(section),
            _ => {
                let mut stored = vec![0; deflate.deflate_compress_bound(section.len())];
                let length = deflate.deflate_compress(section, &mut stored);
                stored.truncate(length.expect("the room is libdeflate's bound"));
                stored
            }
        };
        put(section.len() as u64, &mut out);
        put(stored.len() as u64, &mut out);
        out.extend_from_slice(&stored);
    }
    Ok(out)
}

/// Replaces `block` by the entries that were packed.
pub fn unpack(packed: &[u8], block: &mut Vec<u8>) -> Result<(), RecordError> {
    block.clear();
    unpacked(packed, block).ok_or(RecordError { length: packed.len() })
}

fn unpacked(packed: &[u8], block: &mut Vec<u8>) -> Option<()> {
    let mut rest = packed;
    let entries = number(&mut rest)?;
    let mut sections: [Vec<u8>; SECTIONS] = Default::default();
    let mut inflate = Decompressor::new();
    for (which, section) in sections.iter_mut().enumerate() {
        let length = number(&mut rest).filter(|&length| length <= SECTION_BYTES_MAX)?;
        let stored = number(&mut rest)?;
        let stored = rest.split_off(..usize::try_from(stored).ok()?)?;
        if which == QUALITIES {
            rans::decompress(stored, section)?;
        } else {
            section.resize(length as usize, 0);
            inflate.deflate_decompress(stored, section).ok()?;
        }
    }
    let [numbers, names, cigars, bases, tags, qualities] = &sections;
    let (mut numbers, mut names, mut cigars, mut bases) = (&numbers[..], &names[..], &cigars[..], &bases[..]);
    let (mut tags, mut qualities) = (&tags[..], &qualities[..]);
    let mut columns = [&[][..]; COLUMNS];
    for column in &mut columns {
        let length = number(&mut numbers)?;
        *column = numbers.split_off(..usize::try_from(length).ok()?)?;
    }
    let (mut before, mut name, mut ops, mut sequence) = ([0; COLUMNS], Vec::new(), Vec::new(), Vec::new());
    let mut record = Vec::new();
    for _ in 0..entries {
        let mut now = [0; COLUMNS];
        let mut told = Told::default();
        for column in 0..TEMPLATE_LENGTH {
            let foretold = foretold(column, &now, &before, &told);
            now[column] = foretold.wrapping_add(unzigzag(number(&mut columns[column])?));
        }
        let length = |column: usize| usize::try_from(now[column]).ok();
        let (shared, more, read, tag_bytes) =
            (length(NAME_SHARED)?, length(NAME_REST)?, length(LENGTH)?, length(TAG_BYTES)?);
        (name.len() >= shared).then(|| name.truncate(shared))?;
        name.extend_from_slice(names.split_off(..more)?);
        let name_bytes = u8::try_from(name.len() + 1).ok()?;
        ops.clear();
        for _ in 0..u16::try_from(now[OPS]).ok()? {
            ops.push(u32::try_from(number(&mut cigars)?).ok()?);
        }
        let qualities = qualities.split_off(..read)?;
        take_sparse(&mut bases, read.div_ceil(2), &mut sequence)?;
        told = Told::of(&name, ops.iter().copied(), qualities);
        for column in TEMPLATE_LENGTH..COLUMNS {
            let foretold = foretold(column, &now, &before, &told);
            now[column] = foretold.wrapping_add(unzigzag(number(&mut columns[column])?));
        }
        record.clear();
        put_head(&now, name_bytes, &mut record);
        record.extend_from_slice(&name);
        record.push(0);
        ops.iter().for_each(|op| record.extend_from_slice(&op.to_le_bytes()));
        record.extend_from_slice(&sequence);
        record.extend_from_slice(qualities);
        record.extend_from_slice(tags.split_off(..tag_bytes)?);
        entry(&now, Record::new(&record).ok()?).encode(block);
        before = now;
    }
    Some(())
}

/// The numbers of an entry but those of its name.
fn numbers(entry: &Entry<'_>) -> Numbers {
    let record = &entry.record;
    let mut now = [0; COLUMNS];
    now[PLACE] = entry.place.0.cast_signed();
    now[TEMPLATE] = entry.order.template().cast_signed();
    now[SEGMENT] = i64::from(entry.order.0 as u8);
    now[FLAG] = record.flag().into();
    now[MAPQ] = record.mapq().into();
    now[CONTIG] = record.contig().into();
    now[POSITION] = record.position().into();
    now[MATE_CONTIG] = record.mate_contig().into();
    now[MATE_POSITION] = record.mate_position().into();
    now[OPS] = record.cigar().len() as i64;
    now[LENGTH] = record.bases() as i64;
    now[TAG_BYTES] = record.tags().len() as i64;
    now[TEMPLATE_LENGTH] = record.template_length().into();
    now[BIN] = record.bin().into();
    if let Some(fragment) = &entry.fragment {
        now[ENDS] = 1 + i64::from(fragment.mate.is_some());
        now[LIBRARY] = fragment.library.into();
        now[OWN_END] = fragment.own.position.into();
        now[OWN_REVERSE] = fragment.own.reverse.into();
        if let Some(mate) = &fragment.mate {
            now[MATE_END_CONTIG] = mate.contig.into();
            now[MATE_END] = mate.position.into();
            now[MATE_END_REVERSE] = mate.reverse.into();
        }
        now[SCORE] = fragment.score.into();
        now[NAME_HASH] = fragment.name_hash.cast_signed();
    }
    now
}

/// Appends the fixed part of a record (SAMv1 §4.2); its name takes so many bytes with what ends it.
fn put_head(now: &Numbers, name_bytes: u8, out: &mut Vec<u8>) {
    let mut word = |column: usize| out.extend_from_slice(&(now[column] as i32).to_le_bytes());
    word(CONTIG);
    word(POSITION);
    out.extend_from_slice(&[name_bytes, now[MAPQ] as u8]);
    for column in [BIN, OPS, FLAG] {
        out.extend_from_slice(&(now[column] as u16).to_le_bytes());
    }
    for column in [LENGTH, MATE_CONTIG, MATE_POSITION, TEMPLATE_LENGTH] {
        out.extend_from_slice(&(now[column] as i32).to_le_bytes());
    }
}

fn entry<'a>(now: &Numbers, record: Record<'a>) -> Entry<'a> {
    let (place, template) = (Place(now[PLACE].cast_unsigned()), now[TEMPLATE].cast_unsigned());
    let end = |contig: u32, position: usize, reverse: usize| End {
        contig,
        position: now[position] as i32,
        reverse: now[reverse] != 0,
    };
    let mate = || end(now[MATE_END_CONTIG] as u32, MATE_END, MATE_END_REVERSE);
    let fragment = (now[ENDS] > 0).then(|| Fragment {
        library: now[LIBRARY] as u16,
        own: end(place.contig(), OWN_END, OWN_REVERSE),
        mate: (now[ENDS] == 2).then(mate),
        score: now[SCORE] as u32,
        name_hash: now[NAME_HASH].cast_unsigned(),
        template,
    });
    Entry { place, order: Order(template << 8 | now[SEGMENT].cast_unsigned()), fragment, record }
}

/// Appends bytes that are mostly zero: how many are not, then for each how many zeros stand before it, and what it is; or
/// one more than there could be, and all of them.
fn put_sparse(bytes: &[u8], out: &mut Vec<u8>) {
    let some = bytes.iter().filter(|&&byte| byte != 0).count();
    if some > bytes.len() / 4 {
        put(bytes.len() as u64 + 1, out);
        out.extend_from_slice(bytes);
        return;
    }
    put(some as u64, out);
    let mut next = 0;
    for (at, &byte) in bytes.iter().enumerate().filter(|&(_, &byte)| byte != 0) {
        put((at - next) as u64, out);
        out.push(byte);
        next = at + 1;
    }
}

/// Replaces `bytes` by as many that [`put_sparse`] wrote.
fn take_sparse(from: &mut &[u8], length: usize, bytes: &mut Vec<u8>) -> Option<()> {
    bytes.clear();
    let some = number(from)?;
    if some == length as u64 + 1 {
        bytes.extend_from_slice(from.split_off(..length)?);
        return Some(());
    }
    bytes.resize(length, 0);
    let mut at = 0;
    for _ in 0..some {
        at = usize::try_from(number(from)?).ok()?.checked_add(at)?;
        *bytes.get_mut(at)? = *from.split_off_first()?;
        at += 1;
    }
    Some(())
}

/// Appends a number, seven bits a byte, the lowest first; all but the last byte have the highest bit.
fn put(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn number(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let &byte = from.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Small numbers of either sign as small ones.
fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Fields, encode};

    /// Entries of many kinds, most of them as mapped pairs are.
    fn block() -> Vec<u8> {
        let mut seed = 3u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) % below
        };
        let (mut block, mut bytes) = (Vec::new(), Vec::new());
        for at in 0..700u64 {
            let (kind, position, length) = (random(10), 1000 + 7 * at as i32, 1 + random(200) as usize);
            let sequence: Vec<u8> = (0..length).map(|_| random(5) as u8).collect();
            let qualities: Vec<u8> = (0..length).map(|_| [2, 12, 23, 37][random(4) as usize]).collect();
            let name = format!("machine:1:{}:{at}", random(90));
            let is_placed = kind > 0;
            let flag = match kind {
                0 => flag::PAIRED | flag::UNMAPPED | flag::MATE_UNMAPPED,
                1 => flag::PAIRED | flag::UNMAPPED,
                2 => flag::PAIRED | flag::SUPPLEMENTARY | flag::REVERSE,
                3 => 0,
                4..7 => flag::PAIRED | flag::PROPER | flag::MATE_REVERSE,
                _ => flag::PAIRED | flag::PROPER | flag::REVERSE,
            };
            let ops = [(random(5) as u32) << 4 | 4, (length as u32) << 4, 3 << 4 | 2, 5 << 4];
            let fields = Fields {
                name: &name.as_bytes()[random(4) as usize..],
                flag,
                contig: if is_placed { 1 } else { -1 },
                position: if is_placed { position } else { -1 },
                mapq: random(61) as u8,
                cigar: &ops[..random(5) as usize],
                mate_contig: if is_placed { 1 } else { -1 },
                mate_position: if is_placed { position + random(900) as i32 - 450 } else { -1 },
                template_length: random(2000) as i32 - 1000,
                sequence: &sequence,
                qualities: if kind == 5 { &[] } else { &qualities },
                tags: if kind == 6 { b"" } else { b"NMC\0MDZ150\0" },
            };
            bytes.clear();
            encode(&fields, &mut bytes);
            let place = if is_placed { Place::new(1, position as u32) } else { Place::NOWHERE };
            let order = Order::new(4095, (1 << 44) - 1 - random(1 << 40), random(256) as u8);
            let end = |position: i32, reverse| End { contig: 1, position, reverse };
            let fragment = (kind > 2).then(|| Fragment {
                library: random(3) as u16,
                own: end(position - random(9) as i32, random(2) == 0),
                mate: (random(2) == 0).then(|| End { contig: u32::MAX, ..end(-3, false) }),
                score: random(9000) as u32,
                name_hash: if kind == 7 { random(1 << 30) } else { name_hash(fields.name) },
                template: order.template(),
            });
            Entry { place, order, fragment, record: Record::new(&bytes).unwrap() }.encode(&mut block);
        }
        block
    }

    #[test]
    fn every_entry_comes_back() {
        for block in [Vec::new(), block()] {
            let packed = pack(&block).unwrap();
            let mut back = b"before".to_vec();
            unpack(&packed, &mut back).unwrap();
            assert!(back == block);
        }
    }

    /// A block of one entry whose columns say the numbers given, as the differences from what is foretold.
    fn of_numbers(numbers: &Numbers) -> Vec<u8> {
        let mut sections: [Vec<u8>; SECTIONS] = Default::default();
        for &number in numbers {
            let mut column = Vec::new();
            put(zigzag(number), &mut column);
            put(column.len() as u64, &mut sections[NUMBERS]);
            sections[NUMBERS].extend_from_slice(&column);
        }
        sections[NAMES] = vec![b'n'; 300];
        sections[CIGARS] = [0xff, 0xff, 0xff, 0xff, 0x0f].repeat(40);
        sections[BASES] = vec![0];
        let mut out = vec![1];
        let mut deflate = Compressor::new(CompressionLvl::new(LEVEL).unwrap());
        for (which, section) in sections.iter().enumerate() {
            let mut stored = vec![0; deflate.deflate_compress_bound(section.len())];
            let length = deflate.deflate_compress(section, &mut stored).unwrap();
            stored.truncate(length);
            let stored = if which == QUALITIES { compress_once(section) } else { stored };
            put(section.len() as u64, &mut out);
            put(stored.len() as u64, &mut out);
            out.extend_from_slice(&stored);
        }
        out
    }

    #[test]
    fn numbers_that_no_entry_has_are_no_panic_and_lengths_that_none_has_an_error() {
        let mut entry = [0; COLUMNS];
        (entry[NAME_REST], entry[FLAG]) = (3, flag::PAIRED.into());
        let mut back = Vec::new();
        unpack(&of_numbers(&entry), &mut back).unwrap();
        for extreme in [i64::MIN, i64::MIN + 1, -1, 1 << 31, 1 << 32, i64::MAX - 1, i64::MAX] {
            for column in 0..COLUMNS {
                for flags in [0, flag::PAIRED, flag::PAIRED | flag::REVERSE | flag::MATE_REVERSE] {
                    for ops in [0, 40] {
                        let mut wrong = entry;
                        (wrong[FLAG], wrong[OPS], wrong[ENDS]) = (flags.into(), ops, 0);
                        wrong[column] = extreme;
                        wrong[(column + 1) % FLAG] = extreme;
                        let read = unpack(&of_numbers(&wrong), &mut back);
                        let is_length = [OPS, LENGTH, NAME_SHARED, NAME_REST, TAG_BYTES].contains(&column);
                        assert!(!is_length || read.is_err(), "{extreme} in column {column}");
                    }
                }
            }
        }
        for (column, length) in [(NAME_REST, 255), (OPS, 1 << 16), (OPS, -1)] {
            let mut wrong = entry;
            wrong[column] = length;
            assert!(unpack(&of_numbers(&wrong), &mut back).is_err(), "{length} in column {column}");
        }
    }

    #[test]
    fn damage_is_an_error_or_another_block_but_no_panic() {
        let packed = pack(&block()).unwrap();
        let mut back = Vec::new();
        for at in (0..packed.len()).step_by(97) {
            let mut damaged = packed.clone();
            damaged[at] ^= 0x41;
            let _ = unpack(&damaged, &mut back);
            assert!(unpack(&packed[..at], &mut back).is_err());
        }
    }
}
