//! Records to counters: the part of quality control that runs for every base.
//!
//! Per read: unpack the bases (two to a byte); count them, and their qualities, by cycle: for each base, and for each of the
//! few qualities that instruments mostly give, one pass over the read that compares and adds sixteen counts of a byte at
//! a time; compare with the reference sixteen bases at a time. Tables are emptied into the counters before any of these
//! can overflow.
//! Invariant: [`AlignmentTally::finish`] gives sums over the records added, however often tables were emptied.

use super::alignment::{
    AlignmentCounters, CYCLES_MAX, MateCounters, QUALITIES, READ_LENGTH_MAX, ReadCounts, ReferenceWindow,
};
use super::gc_bias::GcWindows;
use super::libraries::Libraries;
use crate::record::{Record, flag};

/// Counts the records of one cell, or those without a place.
#[derive(Debug)]
pub struct AlignmentTally<'a> {
    counters: AlignmentCounters,
    libraries: &'a Libraries,
    /// Of each.
    fates: Vec<ReadCounts>,
    reference: Option<(ReferenceWindow<'a>, GcWindows)>,
    cycles: [CycleTables; 2],
    sequence: Vec<u8>,
}

/// Qualities with counts of a byte: as many as instruments bin to. What comes beside them is counted one by one.
const FEW: usize = 8;

/// Most reads whose cycles are counted in bytes.
const READS_MAX: u32 = 255;

/// What is counted already.
const NOTHING: u8 = u8::MAX;

/// Counts by cycle of one mate that are not in its counters yet.
#[derive(Debug, Default)]
struct CycleTables {
    /// A, C, G, T, N.
    composition: [Vec<u8>; 5],
    /// The qualities met first.
    few: Vec<u8>,
    /// Each of these.
    quality: [Vec<u8>; FEW],
    /// All other qualities, a cycle in a line of the cache; none as long as there are none.
    others: Vec<[u8; QUALITIES]>,
    /// By how much the number of bases compared rises.
    compared: Vec<i64>,
    /// Of the longest read so far.
    cycles: usize,
    /// Counted since tables were emptied.
    reads: u32,
    /// Of the read being counted.
    values: Vec<u8>,
}

impl<'a> AlignmentTally<'a> {
    /// Nothing counted yet. Mismatches and GC are counted where `reference` has the bases: pass the cell's, and of the
    /// halo always as much as there is, since how far it reaches can be seen in the counts.
    pub fn new(reference: Option<ReferenceWindow<'a>>, libraries: &'a Libraries) -> Self {
        AlignmentTally {
            counters: AlignmentCounters::default(),
            libraries,
            fates: vec![ReadCounts::default(); libraries.names().len()],
            reference: reference.map(|window| (window, GcWindows::new(window))),
            cycles: Default::default(),
            sequence: Vec::new(),
        }
    }

    /// Counts one record.
    pub fn add(&mut self, record: &Record<'_>) {
        let flags = record.flag();
        let mapped = flags & flag::UNMAPPED == 0;
        self.fates[self.libraries.of(record)].add(record);
        let edits = if mapped { record.tag(b"NM").and_then(integer).unwrap_or(0) } else { 0 };
        if mapped
            && let Some((window, gc)) = &self.reference
            && i64::from(record.contig()) == i64::from(window.contig)
        {
            gc.add(record, edits, &mut self.counters.gc_bias);
        }
        if flags & flag::SECONDARY != 0 {
            return;
        }
        let bases = record.bases() as u64;
        self.counters.duplicate_bases += if flags & flag::DUPLICATE != 0 { bases } else { 0 };
        if flags & flag::SUPPLEMENTARY != 0 {
            let aligned = record.cigar().filter(|packed| matches!(packed & 15, 0 | 1 | 7 | 8));
            self.counters.supplementary_aligned_bases +=
                aligned.map(|packed| u64::from(packed >> 4)).sum::<u64>();
            self.counters.supplementary_edit_distance += edits;
            return;
        }
        self.add_read(record);
        if mapped {
            self.counters.mapped_bases += bases;
            self.counters.edit_distance += edits;
            self.add_alignment(record);
        }
    }

    /// The counts. Windows of GC are counted in those that begin from `first` to before `end`.
    pub fn finish(mut self, first: u32, end: u32) -> AlignmentCounters {
        for (name, fates) in self.libraries.names().iter().zip(self.fates) {
            self.counters.reads.merge(&fates);
            self.counters.libraries.insert(name.clone(), fates);
        }
        for (tables, mate) in self.cycles.iter_mut().zip(&mut self.counters.mates) {
            tables.empty_into(mate);
        }
        if let Some((_, gc)) = &self.reference {
            gc.count(first, end, &mut self.counters.gc_bias);
        }
        self.counters
    }

    /// What the instrument read: length, bases and qualities by cycle.
    fn add_read(&mut self, record: &Record<'_>) {
        let (bases, which) = (record.bases(), mate_index(record));
        self.counters.mates[which].length.add(bases.min(READ_LENGTH_MAX));
        self.sequence.clear();
        record.sequence(&mut self.sequence);
        let (tables, mate) = (&mut self.cycles[which], &mut self.counters.mates[which]);
        tables.make_room(bases, mate);
        let reverse = record.flag() & flag::REVERSE != 0;
        tables.add_bases(&self.sequence, reverse);
        let qualities = record.qualities();
        let is_known = qualities.first().is_some_and(|&quality| quality != u8::MAX);
        if is_known {
            tables.add_qualities(qualities, reverse);
        }
        for cycle in CYCLES_MAX..bases {
            let at = if reverse { bases - 1 - cycle } else { cycle };
            let code = if reverse { COMPLEMENT[usize::from(self.sequence[at])] } else { self.sequence[at] };
            mate.composition.rows_mut(CYCLES_MAX)[CYCLES_MAX - 1][usize::from(code)] += 1;
            if is_known {
                let quality = usize::from(qualities[at]).min(QUALITIES - 1);
                mate.quality.rows_mut(CYCLES_MAX)[CYCLES_MAX - 1][quality] += 1;
            }
        }
        let (known, gc) = known_and_gc(&self.sequence);
        if let Some(percent) = (gc * 100 + known / 2).checked_div(known) {
            self.counters.gc_percent.add(percent);
        }
    }

    /// How the read lies on the reference.
    fn add_alignment(&mut self, record: &Record<'_>) {
        let counters = &mut self.counters;
        counters.mapq.add(usize::from(record.mapq()));
        counters.inserts.add(record);
        let window = self.reference.as_ref().map(|(window, _)| *window);
        let window = window.filter(|window| i64::from(record.contig()) == i64::from(window.contig));
        let which = mate_index(record);
        let (mate, compared) = (&mut counters.mates[which], &mut self.cycles[which].compared);
        let cycles = Cycles { reverse: record.flag() & flag::REVERSE != 0, bases: record.bases() };
        let (mut read, mut position) = (0usize, i64::from(record.position()));
        for packed in record.cigar() {
            let (op, length) = (packed & 15, (packed >> 4) as usize);
            match op {
                0 | 7 | 8 => {
                    counters.aligned_bases += length as u64;
                    if let Some(window) = window {
                        let sequence = &self.sequence;
                        let shared = shared_with(sequence, read, position, length, window);
                        shared.into_iter().for_each(|shared| shared.compare(cycles, mate, compared));
                    }
                    read += length;
                    position += length as i64;
                }
                1 => {
                    counters.aligned_bases += length as u64;
                    mate.insertions.add(cycles.of_run(read, length));
                    read += length;
                }
                2 => {
                    mate.deletions.add(cycles.of_run(read.saturating_sub(1), 2));
                    position += length as i64;
                }
                3 => position += length as i64,
                4 => {
                    counters.soft_clipped_bases += length as u64;
                    read += length;
                }
                _ => {}
            }
        }
    }
}

impl CycleTables {
    /// Makes room for a read, and empties all if counting it could overflow one.
    fn make_room(&mut self, bases: usize, counters: &mut MateCounters) {
        if self.reads == READS_MAX {
            self.empty_into(counters);
        }
        self.reads += 1;
        if bases.min(CYCLES_MAX) <= self.cycles {
            return;
        }
        self.cycles = bases.min(CYCLES_MAX);
        for counts in self.composition.iter_mut().chain(&mut self.quality) {
            counts.resize(self.cycles, 0);
        }
    }

    /// Counts the bases of a read, as the instrument saw them.
    fn add_bases(&mut self, codes: &[u8], reverse: bool) {
        // What the reference's strand says of each of A, C, G, T, N.
        let wanted = if reverse { [3, 2, 1, 0, 4] } else { [0, 1, 2, 3, 4] };
        in_cycles(codes, reverse, &mut self.values);
        for (counts, wanted) in self.composition.iter_mut().zip(wanted) {
            count_equal(&self.values, wanted, counts);
        }
    }

    /// Counts the qualities of a read.
    fn add_qualities(&mut self, qualities: &[u8], reverse: bool) {
        in_cycles(qualities, reverse, &mut self.values);
        self.values.iter_mut().for_each(|quality| *quality = (*quality).min(QUALITIES as u8 - 1));
        if !self.others.is_empty() {
            // Where there are many, passes over the few would be in vain.
            return self.add_others();
        }
        let mut which = 0;
        while self.values.iter().fold(NOTHING, |all, &quality| all & quality) != NOTHING {
            if which == self.few.len() {
                if which == FEW {
                    return self.add_others();
                }
                self.few.extend(self.values.iter().find(|&&quality| quality != NOTHING));
            }
            count_equal(&self.values, self.few[which], &mut self.quality[which]);
            take_equal(&mut self.values, self.few[which]);
            which += 1;
        }
    }

    /// Counts those that are not among the few.
    fn add_others(&mut self) {
        self.others.resize(self.cycles, [0; QUALITIES]);
        for (row, &quality) in self.others.iter_mut().zip(&self.values) {
            if let Some(count) = row.get_mut(usize::from(quality)) {
                *count += 1;
            }
        }
    }

    fn empty_into(&mut self, counters: &mut MateCounters) {
        let rows = counters.composition.rows_mut(self.cycles);
        for (cycle, row) in rows.iter_mut().enumerate() {
            row.iter_mut().zip(&self.composition).for_each(|(row, counts)| *row += u64::from(counts[cycle]));
        }
        let others = |cycle: usize| self.others.get(cycle).into_iter().flatten();
        let is_used = |&cycle: &usize| {
            self.quality.iter().any(|counts| counts[cycle] > 0) || others(cycle).any(|&count| count > 0)
        };
        let used = (0..self.cycles).rev().find(is_used);
        let rows = counters.quality.rows_mut(used.map_or(0, |last| last + 1));
        for (cycle, row) in rows.iter_mut().enumerate() {
            for (&quality, counts) in self.few.iter().zip(&self.quality) {
                row[usize::from(quality)] += u64::from(counts[cycle]);
            }
            row.iter_mut().zip(others(cycle)).for_each(|(row, &count)| *row += u64::from(count));
        }
        let mut compared = 0;
        for (cycle, rise) in self.compared.iter_mut().enumerate() {
            compared += std::mem::take(rise);
            counters.compared.add_times(cycle, compared as u64);
        }
        self.composition.iter_mut().chain(&mut self.quality).for_each(|counts| counts.fill(0));
        self.others.fill([0; QUALITIES]);
        self.reads = 0;
    }
}

const COMPLEMENT: [u8; 5] = [3, 2, 1, 0, 4];

/// First mates and unpaired reads are 0, second mates 1.
fn mate_index(record: &Record<'_>) -> usize {
    usize::from(record.flag() & (flag::PAIRED | flag::LAST) == flag::PAIRED | flag::LAST)
}

/// Replaces `out` by the first [`CYCLES_MAX`] values of a read in the order of its cycles.
fn in_cycles(values: &[u8], reverse: bool, out: &mut Vec<u8>) {
    let bases = values.len().min(CYCLES_MAX);
    out.clear();
    if !reverse {
        return out.extend_from_slice(&values[..bases]);
    }
    out.resize(bases, 0);
    let (rest, eights) = values[values.len() - bases..].as_rchunks::<8>();
    let (begun, end) = out.as_chunks_mut::<8>();
    for (out, eight) in begun.iter_mut().zip(eights.iter().rev()) {
        *out = u64::from_le_bytes(*eight).to_be_bytes();
    }
    end.iter_mut().zip(rest.iter().rev()).for_each(|(out, &value)| *out = value);
}

/// Counts by cycle where a read has a value.
#[inline(never)] // or the compiler loses sight of that nothing overlaps, and with it the vectors
fn count_equal(values: &[u8], wanted: u8, counts: &mut [u8]) {
    for (count, &value) in counts.iter_mut().zip(values) {
        *count += u8::from(value == wanted);
    }
}

/// Leaves [`NOTHING`] where a read has a value.
#[inline(never)] // as above
fn take_equal(values: &mut [u8], wanted: u8) {
    values.iter_mut().for_each(|value| *value |= 0u8.wrapping_sub(u8::from(*value == wanted)));
}

/// How many codes are those of known bases, and how many of C or G.
fn known_and_gc(codes: &[u8]) -> (usize, usize) {
    const EACH_BYTE: u64 = 0x0101_0101_0101_0101;
    let sum = |bits: u64| ((bits & EACH_BYTE).wrapping_mul(EACH_BYTE) >> 56) as usize;
    let (eights, rest) = codes.as_chunks();
    // The low bits of C and G, 1 and 2, differ; unknown is 4.
    let counts = eights.iter().map(|&eight| u64::from_le_bytes(eight));
    let counts =
        counts.fold((0, 0), |(unknown, gc), eight| (unknown + sum(eight >> 2), gc + sum(eight ^ eight >> 1)));
    let (unknown, gc) = rest.iter().fold(counts, |(unknown, gc), &code| {
        (unknown + usize::from(code > 3), gc + usize::from(code == 1 || code == 2))
    });
    (codes.len() - unknown, gc)
}

/// From places in the record to cycles of the instrument.
#[derive(Clone, Copy)]
struct Cycles {
    reverse: bool,
    bases: usize,
}

impl Cycles {
    /// Cycle of the base at `index` of the record.
    fn of(self, index: usize) -> usize {
        self.of_run(index, 1)
    }

    /// Cycle at which the instrument met the run of `length` bases from `index`.
    fn of_run(self, index: usize, length: usize) -> usize {
        let cycle = if self.reverse { self.bases.saturating_sub(index + length) } else { index };
        cycle.min(CYCLES_MAX - 1)
    }
}

/// A run of aligned bases as far as the reference there is at hand.
struct Shared<'a> {
    /// Of the read, from this base on.
    read: usize,
    bases: &'a [u8],
    reference: &'a [u8],
}

/// What there is to compare of `length` bases of a read, from one of them on, that lie at `position`; a CIGAR may be longer
/// than its read.
fn shared_with<'a>(
    sequence: &'a [u8],
    read: usize,
    position: i64,
    length: usize,
    window: ReferenceWindow<'a>,
) -> Option<Shared<'a>> {
    let start = i64::from(window.start).clamp(position, position + length as i64);
    let first = read + (start - position) as usize;
    let bases = sequence.get(first..(read + length).min(sequence.len()))?;
    let codes = window.codes.get((start - i64::from(window.start)) as usize..)?;
    let shared = bases.len().min(codes.len());
    (shared > 0).then(|| Shared { read: first, bases: &bases[..shared], reference: &codes[..shared] })
}

impl Shared<'_> {
    /// Compares sixteen bases at a time since most blocks are equal.
    fn compare(&self, cycles: Cycles, mate: &mut MateCounters, compared: &mut Vec<i64>) {
        let (first, last) = (cycles.of(self.read), cycles.of(self.read + self.bases.len() - 1));
        compared.resize(CYCLES_MAX + 1, 0);
        compared[first.min(last)] += 1;
        compared[first.max(last) + 1] -= 1;
        let mut differ = |from: usize, bases: &[u8], codes: &[u8]| {
            for (at, (&base, &code)) in bases.iter().zip(codes).enumerate() {
                if base != code && base < 4 && code < 4 {
                    mate.mismatches.add(cycles.of(self.read + from + at));
                }
            }
        };
        let (blocks, rest) = self.bases.as_chunks::<16>();
        let (references, rest_of_reference) = self.reference.as_chunks::<16>();
        for (at, (bases, codes)) in blocks.iter().zip(references).enumerate() {
            if u128::from_le_bytes(*bases) != u128::from_le_bytes(*codes) {
                differ(at * 16, bases, codes);
            }
        }
        differ(blocks.len() * 16, rest, rest_of_reference);
    }
}

/// The value of an integer tag; none for other types and negative numbers.
fn integer(value: &[u8]) -> Option<u64> {
    let (&kind, bytes) = value.split_first()?;
    match (kind, bytes) {
        (b'C', &[a]) => Some(u64::from(a)),
        (b'c', &[a]) => u64::try_from(a as i8).ok(),
        (b'S', &[a, b]) => Some(u64::from(u16::from_le_bytes([a, b]))),
        (b's', &[a, b]) => u64::try_from(i16::from_le_bytes([a, b])).ok(),
        (b'I', &[a, b, c, d]) => Some(u64::from(u32::from_le_bytes([a, b, c, d]))),
        (b'i', &[a, b, c, d]) => u64::try_from(i32::from_le_bytes([a, b, c, d])).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Fields, encode};

    /// What is counted by cycle, one base after the other.
    fn naive(records: &[Vec<u8>], window: Option<ReferenceWindow<'_>>) -> [MateCounters; 2] {
        let mut mates: [MateCounters; 2] = Default::default();
        for record in records.iter().map(|bytes| Record::new(bytes).unwrap()) {
            let mate = &mut mates[mate_index(&record)];
            let (mut codes, mut qualities) = (Vec::new(), record.qualities().to_vec());
            record.sequence(&mut codes);
            naive_alignment(&record, &codes, window, mate);
            let is_known = qualities.first().is_some_and(|&quality| quality != 255);
            if record.flag() & flag::REVERSE != 0 {
                codes.reverse();
                codes.iter_mut().for_each(|code| *code = if *code < 4 { 3 - *code } else { 4 });
                qualities.reverse();
            }
            mate.length.add(codes.len());
            for (cycle, (&code, &quality)) in codes.iter().zip(&qualities).enumerate() {
                let cycle = cycle.min(CYCLES_MAX - 1);
                mate.composition.rows_mut(cycle + 1)[cycle][usize::from(code)] += 1;
                if is_known {
                    mate.quality.rows_mut(cycle + 1)[cycle][usize::from(quality).min(QUALITIES - 1)] += 1;
                }
            }
        }
        mates
    }

    fn naive_alignment(
        record: &Record<'_>,
        codes: &[u8],
        window: Option<ReferenceWindow<'_>>,
        mate: &mut MateCounters,
    ) {
        let reverse = record.flag() & flag::REVERSE != 0;
        let cycle = |at: usize| (if reverse { codes.len() - 1 - at } else { at }).min(CYCLES_MAX - 1);
        let reference = |position: i64| {
            let window = window.filter(|window| window.contig as i32 == record.contig())?;
            window.codes.get(usize::try_from(position - i64::from(window.start)).ok()?).copied()
        };
        let (mut at, mut position) = (0, i64::from(record.position()));
        for packed in record.cigar() {
            let (op, length) = (packed & 15, (packed >> 4) as usize);
            match op {
                // In the last cycle, which stands for all later ones, a run is compared once.
                0 => {
                    let mut before = None;
                    for (at, &own) in codes.iter().enumerate().skip(at).take(length) {
                        let Some(code) = reference(position + at as i64) else { continue };
                        if before.replace(cycle(at)) != Some(cycle(at)) {
                            mate.compared.add(cycle(at));
                        }
                        if own < 4 && code < 4 && own != code {
                            mate.mismatches.add(cycle(at));
                        }
                    }
                }
                1 => mate.insertions.add((at..at + length).map(cycle).min().unwrap()),
                2 => mate.deletions.add(cycle(if reverse { at } else { at - 1 })),
                _ => {}
            }
            // So that the base at `at` lies at `position` + `at`.
            match op {
                1 | 4 => (at, position) = (at + length, position - length as i64),
                2 | 3 => position += length as i64,
                _ => at += length,
            }
        }
    }

    /// Reads of a reference with some errors, which may reach beyond it, clipped and with gaps.
    #[test]
    fn what_is_aligned_is_compared_as_one_by_one() {
        let mut seed = 3u64;
        let mut random = move |below: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) % below
        };
        let codes: Vec<u8> = (0..3000).map(|_| [0, 1, 2, 3, random(5) as u8][random(5) as usize]).collect();
        let window = ReferenceWindow { contig: 1, start: 500, codes: &codes };
        // The longest run, the most gaps, and how many reads; of the last, some runs lie beyond the last cycle as a whole.
        for (longest, runs, reads) in [(60, 3, 2000), (1200, 2, 100), (60, 30, 300)] {
            let mut record = |_| {
                let start = random(3500) as usize;
                let (mut cigar, mut sequence, mut place) = (Vec::new(), Vec::new(), start);
                for run in 0..=random(runs) {
                    let gap = random(20) as usize + 1;
                    match (run, random(3)) {
                        (0, 0 | 1) => {}
                        (0, _) | (_, 0) => {
                            cigar.push((gap as u32) << 4 | if run == 0 { 4 } else { 1 });
                            sequence.extend((0..gap).map(|_| random(5) as u8));
                        }
                        (_, kind) => {
                            cigar.push((gap as u32) << 4 | (1 + kind as u32));
                            place += gap;
                        }
                    }
                    let length = random(longest) as usize + 1;
                    cigar.push((length as u32) << 4);
                    let code = |place: usize| codes.get(place.wrapping_sub(500)).copied().unwrap_or(0);
                    let read = |place| if random(30) == 0 { random(5) as u8 } else { code(place) };
                    sequence.extend((place..place + length).map(read));
                    place += length;
                }
                if random(3) == 0 {
                    cigar.push(7 << 4 | 4);
                    sequence.extend([1; 7]);
                }
                let mut bytes = Vec::new();
                let fields = Fields {
                    name: b"r",
                    flag: [0, flag::PAIRED | flag::LAST][random(2) as usize]
                        | [0, flag::REVERSE][random(2) as usize],
                    contig: i32::from(random(9) > 0),
                    position: start as i32,
                    mapq: 0,
                    cigar: &cigar,
                    mate_contig: -1,
                    mate_position: -1,
                    template_length: 0,
                    sequence: &sequence,
                    qualities: &[],
                    tags: b"",
                };
                encode(&fields, &mut bytes);
                bytes
            };
            let records: Vec<Vec<u8>> = (0..reads).map(&mut record).collect();
            let libraries = Libraries::of_header([]);
            let mut tally = AlignmentTally::new(Some(window), &libraries);
            records.iter().for_each(|bytes| tally.add(&Record::new(bytes).unwrap()));
            let (counted, expect) = (tally.finish(0, 0).mates, naive(&records, Some(window)));
            assert_eq!(counted, expect, "{longest} {runs}");
            for mate in expect {
                let counts = [&mate.compared, &mate.mismatches, &mate.insertions, &mate.deletions];
                assert!(counts.iter().all(|counts| counts.total() > 0));
                assert_eq!(mate.mismatches.count(CYCLES_MAX - 1) > 0, longest * runs > 512);
            }
        }
    }

    #[test]
    fn cycles_are_as_counted_one_by_one() {
        let mut seed = 9u64;
        let mut random = move |below: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) % below
        };
        for (lengths, qualities, reads) in [(40, 4, 1000), (160, 70, 600), (1300, 10, 40), (3, 200, 20)] {
            let mut record = |_| {
                let bases = random(lengths);
                let sequence: Vec<u8> = (0..bases).map(|_| random(5) as u8).collect();
                let qualities: Vec<u8> = match random(9) {
                    0 => Vec::new(),
                    // The odd one is no quality, or would be none if it were the first.
                    _ => (0..bases).map(|_| (random(qualities) * 5 % 256) as u8).collect(),
                };
                let mut bytes = Vec::new();
                let fields = Fields {
                    name: b"r",
                    flag: flag::UNMAPPED
                        | [flag::PAIRED | flag::FIRST, flag::PAIRED | flag::LAST, 0][random(3) as usize]
                        | [0, flag::REVERSE][random(2) as usize],
                    contig: -1,
                    position: -1,
                    mapq: 0,
                    cigar: &[],
                    mate_contig: -1,
                    mate_position: -1,
                    template_length: 0,
                    sequence: &sequence,
                    qualities: &qualities,
                    tags: b"",
                };
                encode(&fields, &mut bytes);
                bytes
            };
            let records: Vec<Vec<u8>> = (0..reads).map(&mut record).collect();
            let libraries = Libraries::of_header([]);
            let mut tally = AlignmentTally::new(None, &libraries);
            records.iter().for_each(|bytes| tally.add(&Record::new(bytes).unwrap()));
            assert_eq!(tally.finish(0, 0).mates, naive(&records, None), "{lengths} {qualities}");
        }
    }
}
