//! Every kind of record our runs hold has a code here, and htslib reads back the same; others are refused.

use super::ContainerEncoder;
use crate::htslib::{CramEncoder, cram_records, index_fasta};
use crate::record::{Fields, cigar, encode, flag};
use kernels::reference::{OwnedReference, Reference};
use std::collections::BTreeSet;

const LENGTH: usize = 5_000;
const GROUPS: &str = "@RG\tID:a\tSM:s\n@RG\tID:b\tSM:s\n";

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % bound
    }
}

/// A reference with unknown and ambiguous letters.
fn letters(random: &mut Random) -> Vec<u8> {
    let mut letters: Vec<u8> = (0..LENGTH).map(|_| b"ACGT"[random.below(4)]).collect();
    letters[1000..1100].fill(b'N');
    letters[2000] = b'R';
    letters
}

/// Operations on a read of 20 to 220 bases, whatever they make of it.
fn operations(random: &mut Random) -> Vec<u32> {
    let mut operations = Vec::new();
    let clip = |random: &mut Random, operations: &mut Vec<u32>| match random.below(4) {
        0 => operations.push((1 + random.below(30) as u32) << 4 | 4),
        1 => operations.push((1 + random.below(30) as u32) << 4 | 5),
        _ => {}
    };
    clip(random, &mut operations);
    operations.push((20 + random.below(100) as u32) << 4);
    for _ in 0..random.below(3) {
        let op = [1, 1, 2, 2, 3, 6][random.below(6)];
        operations.push((1 + random.below(5) as u32) << 4 | op);
        operations.push((1 + random.below(20) as u32) << 4);
    }
    clip(random, &mut operations);
    operations
}

/// A record at a position, with bases near the reference's, any mate fields and any tags.
fn record(random: &mut Random, letters: &[u8], position: usize, ordinal: usize) -> Vec<u8> {
    let placed = random.below(12) > 0;
    let cigar = if placed { operations(random) } else { Vec::new() };
    let bases: u32 = cigar.iter().filter(|&&op| cigar::consumes_read(op)).map(|op| op >> 4).sum();
    let bases = if placed { bases as usize } else { random.below(90) };
    let mut sequence: Vec<u8> = (0..bases).map(|_| random.below(4) as u8).collect();
    let (mut read, mut place) = (0, position);
    for &op in &cigar {
        let length = (op >> 4) as usize;
        if cigar::consumes_read(op) && cigar::consumes_reference(op) {
            for at in 0..length {
                let code = b"ACGT".iter().position(|&letter| letter == letters[place + at]);
                sequence[read + at] = code.unwrap_or(random.below(5)) as u8;
            }
        }
        read += if cigar::consumes_read(op) { length } else { 0 };
        place += if cigar::consumes_reference(op) { length } else { 0 };
    }
    for _ in 0..random.below(4).min(bases) {
        sequence[random.below(bases)] = random.below(5) as u8;
    }
    let mut qualities: Vec<u8> = (0..bases).map(|_| [2, 12, 23, 37][random.below(4)]).collect();
    if random.below(9) == 0 {
        qualities.clear();
    }
    let mut tags = Vec::new();
    for tag in [
        &b"NMC\x03"[..],
        b"MDZ10A3\0",
        b"ASi\x01\x00\x02\x00",
        b"XSS\x01\x01",
        b"RGZa\0",
        b"SAZx,1,+;\0",
        b"XTAU",
    ] {
        if random.below(3) == 0 {
            tags.extend_from_slice(tag);
        }
    }
    let (mate_contig, mate_position) = match random.below(3) {
        0 => (-1, -1),
        _ => (0, random.below(LENGTH) as i32),
    };
    let paired = match (mate_contig, random.below(2)) {
        (-1, 0) => 0,
        (-1, _) => flag::PAIRED | flag::MATE_UNMAPPED,
        _ => flag::PAIRED | flag::MATE_REVERSE,
    };
    let flags = [0, flag::FIRST, flag::SUPPLEMENTARY, flag::DUPLICATE];
    let (name, mut record) = (format!("read{}", ordinal / 2), Vec::new());
    let fields = Fields {
        name: name.as_bytes(),
        flag: paired | flags[random.below(4)] | if placed { 0 } else { flag::UNMAPPED },
        contig: 0,
        position: position as i32,
        mapq: if placed { random.below(61) as u8 } else { 0 },
        cigar: &cigar,
        mate_contig,
        mate_position,
        template_length: random.below(1000) as i32 - 500,
        sequence: &sequence,
        qualities: &qualities,
        tags: &tags,
    };
    encode(&fields, &mut record);
    record
}

/// Mates that face each other, as mapping gives them.
fn pair(random: &mut Random, letters: &[u8], position: usize, ordinal: usize) -> [(usize, Vec<u8>); 2] {
    let name = format!("pair{ordinal}");
    let mate = position + random.below(60);
    let length = (mate + 50 - position) as i32;
    [(position, mate, length, 0), (mate, position, -length, flag::REVERSE)].map(
        |(own, mate, length, strand)| {
            let sequence: Vec<u8> = letters[own..own + 50]
                .iter()
                .map(|&letter| b"ACGT".iter().position(|&l| l == letter).unwrap_or(4) as u8)
                .collect();
            let mut record = Vec::new();
            let other = if strand == 0 { flag::MATE_REVERSE | flag::FIRST } else { flag::LAST };
            let fields = Fields {
                name: name.as_bytes(),
                flag: flag::PAIRED | flag::PROPER | strand | other,
                contig: 0,
                position: own as i32,
                mapq: 60,
                cigar: &[50 << 4],
                mate_contig: 0,
                mate_position: mate as i32,
                template_length: length,
                sequence: &sequence,
                qualities: &[30; 50],
                tags: b"ASC\x32RGZb\0",
            };
            encode(&fields, &mut record);
            (own, record)
        },
    )
}

#[test]
fn htslib_reads_back_whatever_has_a_code() {
    let mut random = Random(11);
    let letters = letters(&mut random);
    let directory = tempfile::tempdir().unwrap();
    let fasta = directory.path().join("r.fa");
    std::fs::write(&fasta, [b">c\n", &letters[..], b"\n"].concat()).unwrap();
    index_fasta(&fasta).unwrap();
    let header = format!("@SQ\tSN:c\tLN:{LENGTH}\n{GROUPS}");
    let oracle = CramEncoder::open(&header, &fasta).unwrap();
    let mut owned = OwnedReference::default();
    owned.push_contig(&letters).unwrap();
    let sections = owned.sections();
    let reference = Reference::new(&sections.each_ref().map(|section| section.as_slice())).unwrap();
    let groups = [b"a".to_vec(), b"b".to_vec()];
    let mut encoder = ContainerEncoder::default();
    let (mut taken, mut wrong) = (0, BTreeSet::new());
    for round in 0..300 {
        let count = 1 + random.below(40);
        let mut records = Vec::new();
        for ordinal in 0..count {
            // Beyond the letter that no reader tells from an N, or before it.
            let start = if round % 3 == 0 { random.below(1800) } else { 2001 + random.below(2700) };
            if random.below(2) == 0 {
                records.extend(pair(&mut random, &letters, start.min(4800), ordinal));
            } else {
                records.push((start, record(&mut random, &letters, start, ordinal)));
            }
        }
        records.sort_by_key(|(position, _)| *position);
        let slices = records.iter().map(|(_, record)| &record[..]);
        if let Some(container) = encoder.container(&reference, &groups, slices.clone()) {
            assert_eq!(cram_records(&container), Ok(records.len() as u64));
            if let Err(error) = oracle.verify(&container, slices) {
                wrong.insert(error.to_string());
            }
            taken += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(taken > 200, "{taken} of 300 have a code");
}

#[test]
fn what_no_reader_could_place_has_no_code() {
    let letters = vec![b'C'; LENGTH];
    let mut owned = OwnedReference::default();
    owned.push_contig(&letters).unwrap();
    let sections = owned.sections();
    let reference = Reference::new(&sections.each_ref().map(Vec::as_slice)).unwrap();
    let mut encoder = ContainerEncoder::default();
    let mut check = |contig: i32, position: i32, cigar: &[u32], is_coded: bool| {
        let fields = Fields {
            name: b"r",
            flag: 0,
            contig,
            position,
            mapq: 9,
            cigar,
            mate_contig: -1,
            mate_position: -1,
            template_length: 0,
            sequence: &[1; 10],
            qualities: &[],
            tags: b"",
        };
        let mut record = Vec::new();
        encode(&fields, &mut record);
        let container = encoder.container(&reference, &[], std::iter::once(&record[..]));
        assert_eq!(container.is_some(), is_coded, "{contig} {position} {cigar:?}");
    };
    check(0, 100, &[10 << 4], true);
    check(-1, -1, &[10 << 4], false);
    check(-1, 5, &[10 << 4 | 4], false);
    check(0, LENGTH as i32 - 9, &[10 << 4], false);
    // Together they come round to nothing in 32 bits.
    check(0, 0, &[[10 << 4].as_slice(), &[u32::MAX >> 4 << 4 | 2; 16], &[6 << 4 | 2]].concat(), false);
}
