//! Runs of alignments: what a map task writes and a region task merges.
//!
//! A stored run is one pack record whose blocks hold entries in the order of the genome; its directory says which places
//! each block spans, so a shard reads only the blocks that touch it, each once: the last blocks of each run are kept, from
//! cell to cell. In a block, bases are stored as their difference from the reference. A run may as well stay in memory, as
//! it came, with the order of its entries beside it; many of those can be stored as one. Invariant: merging does not see
//! which entries lie in which run, or where it lies.

use crate::entry::{Entry, Order, Place, decode, for_records, peek};
use crate::packed;
use crate::record::RecordError;
use crate::relative::relate;
use jobs::failure::{Class, Classified};
use kernels::prefetch::prefetch;
use kernels::reference::Reference;
use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use storage::{BlockEntry, PackError, RecordReader};

/// A block is closed once it holds this many bytes.
const BLOCK_BYTES: usize = 1 << 16;

/// How many entries in memory are asked for ahead, and how much of each: most of the record of a short read.
const AHEAD: usize = 2;
const AHEAD_LINES: usize = 6;
const LINE_BYTES: usize = 64;

/// How blocks of a run lie on disk; part of what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As they are: little work.
    Plain = 0,
    /// As [`packed`] has them: a tenth of the bytes of reads in memory.
    Packed = 1,
}

/// A run could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The pack failed.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// An authenticated block does not hold entries.
    #[error("block {block} (of {blocks}, from 0) of an alignment run is not in the form this version writes")]
    Form {
        /// Which, from 0.
        block: usize,
        /// How many the run has.
        blocks: usize,
        /// What shows it.
        #[source]
        source: RecordError,
    },
    /// Entries in memory are none.
    #[error("an alignment in memory is not what was put there")]
    Memory(#[from] RecordError),
}

impl Classified for RunError {
    fn class(&self) -> Class {
        match self {
            RunError::Pack(error) => error.class(),
            RunError::Form { .. } | RunError::Memory(_) => Class::Integrity,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            RunError::Pack(error) => error.hint(),
            RunError::Form { .. } | RunError::Memory(_) => Some(
                "run the same command again; if this comes back, check the machine's memory and disk"
                    .to_owned(),
            ),
        }
    }
}

/// Collects the entries of one chunk in any order.
#[derive(Debug, Default)]
pub struct RunBuilder {
    bytes: Vec<u8>,
    index: Vec<(Place, Order, usize)>,
}

impl RunBuilder {
    /// Takes an entry.
    pub fn push(&mut self, entry: &Entry<'_>) {
        self.index.push((entry.place, entry.order, self.bytes.len()));
        entry.encode(&mut self.bytes);
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Memory that the entries take.
    pub fn held_bytes(&self) -> u64 {
        (self.bytes.len() + self.index.len() * size_of::<(Place, Order, usize)>()) as u64
    }

    /// The place of each entry.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        self.index.iter().map(|&(place, ..)| place)
    }

    /// Keeps the entries in memory.
    pub fn hold(mut self) -> HeldRun {
        self.index.sort_unstable_by_key(|&(place, order, _)| (place, order));
        // What was only room to grow is no memory of the run's.
        self.bytes.shrink_to_fit();
        self.index.shrink_to_fit();
        HeldRun(Block { bytes: self.bytes, index: self.index })
    }

    /// Gives the entries, sorted, to `write` as the blocks of a record; they are aligned to `reference`.
    pub fn finish(
        self,
        form: Form,
        reference: &Reference<'_>,
        write: impl FnMut(BlockEntry, &[u8]) -> Result<(), PackError>,
    ) -> Result<(), RunError> {
        store(&[self.hold()], form, reference, write)
    }
}

/// Gives the entries of runs in memory, all together sorted, to `write` as the blocks of one record; they are aligned to
/// `reference`.
pub fn store(
    runs: &[HeldRun],
    form: Form,
    reference: &Reference<'_>,
    mut write: impl FnMut(BlockEntry, &[u8]) -> Result<(), PackError>,
) -> Result<(), RunError> {
    let mut block = Vec::with_capacity(BLOCK_BYTES + 1024);
    let mut span: Option<BlockEntry> = None;
    let mut close = |span: BlockEntry, block: &mut Vec<u8>| {
        for_records(block, |record| relate(record, reference));
        match form {
            Form::Plain => write(span, block)?,
            Form::Packed => write(span, &packed::pack(block)?)?,
        }
        block.clear();
        Ok::<_, RunError>(())
    };
    let runs: Vec<Run<'_>> = runs.iter().map(Run::Held).collect();
    merge(&runs, Place(0), Place::NOWHERE, |entry| {
        let Place(place) = entry.place;
        let now = span.get_or_insert(BlockEntry { kind: form as u8, first: place, last: place, count: 0 });
        (now.last, now.count) = (place, now.count + 1);
        entry.encode(&mut block);
        let is_full = match form {
            Form::Plain => block.len() >= BLOCK_BYTES,
            Form::Packed => block.len() >= packed::BLOCK_BYTES || now.count as usize == packed::ENTRIES,
        };
        span.take_if(|_| is_full).map_or(Ok(()), |span| close(span, &mut block))
    })?;
    span.map_or(Ok(()), |span| close(span, &mut block))
}

/// Entries in memory.
#[derive(Debug, Default)]
struct Block {
    bytes: Vec<u8>,
    /// In the order of the genome: where in `bytes` each entry lies.
    index: Vec<(Place, Order, usize)>,
}

impl Block {
    /// Of entries that lie in order.
    fn new(bytes: Vec<u8>) -> Result<Self, RecordError> {
        let (mut index, mut at) = (Vec::new(), 0);
        while at < bytes.len() {
            let (place, order, length) = peek(&bytes[at..])?;
            index.push((place, order, at));
            at += length;
        }
        Ok(Block { bytes, index })
    }

    /// The first entry that does not stand before a place.
    fn first(&self, from: Place) -> usize {
        self.index.partition_point(|&(place, ..)| place < from)
    }
}

/// A run that stays in memory.
#[derive(Debug)]
pub struct HeldRun(Block);

impl HeldRun {
    /// Memory that the entries take.
    pub fn bytes(&self) -> u64 {
        (self.0.bytes.len() + size_of_val(&self.0.index[..])) as u64
    }
}

/// A stored run, with the blocks that were read last: the next cell mostly begins in one of them, whichever thread takes
/// it.
#[derive(Debug)]
pub struct StoredRun<'a> {
    record: RecordReader,
    reference: Reference<'a>,
    read: Mutex<Read>,
    kept_max: usize,
}

/// Blocks of a run in memory.
#[derive(Debug, Default)]
struct Read {
    /// Those that somebody has or reads.
    known: Vec<(usize, Arc<Slot>)>,
    /// Those read last.
    kept: VecDeque<Arc<Block>>,
}

/// A block, as long as anybody has it. Who reads it holds the lock, so that whoever else needs it waits and has it read.
type Slot = Mutex<Weak<Block>>;

impl<'a> StoredRun<'a> {
    /// Nothing of it is read yet; its entries are aligned to `reference`. So many blocks are kept, beside those that
    /// readers are in; of one at least.
    pub fn new(record: RecordReader, reference: Reference<'a>, kept_max: usize) -> Self {
        StoredRun { record, reference, read: Mutex::default(), kept_max }
    }

    fn block(&self, which: usize) -> Result<Arc<Block>, RunError> {
        let slot = self.slot(which);
        let mut slot = locked(&slot);
        if let Some(block) = slot.upgrade() {
            return Ok(block);
        }
        let block = Arc::new(self.unpacked(which)?);
        *slot = Arc::downgrade(&block);
        drop(slot);
        let mut read = locked(&self.read);
        while read.kept.len() >= self.kept_max.max(1) {
            read.kept.pop_front();
        }
        read.kept.push_back(Arc::clone(&block));
        Ok(block)
    }

    fn slot(&self, which: usize) -> Arc<Slot> {
        let mut read = locked(&self.read);
        if let Some((_, slot)) = read.known.iter().find(|(known, _)| *known == which) {
            return Arc::clone(slot);
        }
        // Only here does anybody come by a slot: the lock of one that nobody has is free.
        read.known.retain(|(_, slot)| Arc::strong_count(slot) > 1 || locked(slot).strong_count() > 0);
        let slot = Arc::default();
        read.known.push((which, Arc::clone(&slot)));
        slot
    }

    fn unpacked(&self, which: usize) -> Result<Block, RunError> {
        let mut bytes = Vec::new();
        self.record.read_block(which, &mut bytes)?;
        let unpack = || {
            if self.record.entries()[which].kind == Form::Packed as u8 {
                let packed = std::mem::take(&mut bytes);
                packed::unpack(&packed, &mut bytes)?;
            }
            for_records(&mut bytes, |record| relate(record, &self.reference));
            Block::new(bytes)
        };
        unpack().map_err(|source| self.wrong(which, source))
    }

    fn wrong(&self, block: usize, source: RecordError) -> RunError {
        RunError::Form { block, blocks: self.record.entries().len(), source }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A run to be read; any number of readers share it.
#[derive(Clone, Copy, Debug)]
pub enum Run<'a> {
    /// From a pack.
    Stored(&'a StoredRun<'a>),
    /// From memory.
    Held(&'a HeldRun),
}

/// The block that a cursor is in.
enum Entered<'a> {
    Stored(Arc<Block>),
    Held(&'a Block),
}

impl Deref for Entered<'_> {
    type Target = Block;

    fn deref(&self) -> &Block {
        match self {
            Entered::Stored(block) => block,
            Entered::Held(block) => block,
        }
    }
}

/// A position in one run.
struct Cursor<'a> {
    run: Run<'a>,
    /// The next block of a stored run.
    next_block: usize,
    block: Option<Entered<'a>>,
    /// The entry in it.
    at: usize,
}

impl<'a> Cursor<'a> {
    fn new(run: Run<'a>, from: Place) -> Self {
        match run {
            Run::Stored(stored) => {
                let next_block = stored.record.entries().partition_point(|block| block.last < from.0);
                Cursor { run, next_block, block: None, at: 0 }
            }
            Run::Held(HeldRun(block)) => {
                let at = block.first(from);
                Cursor { run, next_block: 0, block: Some(Entered::Held(block)), at }
            }
        }
    }

    /// The bytes from the entry at the cursor on.
    fn rest(&self) -> &[u8] {
        let entry = self.block.as_ref().and_then(|block| Some((block, block.index.get(self.at)?)));
        entry.map_or(&[], |(block, &(.., offset))| &block.bytes[offset..])
    }

    /// The entry at the cursor, which is there.
    fn entry(&self) -> Result<Entry<'_>, RunError> {
        let decoded = decode(self.rest()).map(|(entry, _)| entry);
        decoded.map_err(|source| match self.run {
            Run::Stored(run) => run.wrong(self.next_block - 1, source),
            Run::Held(_) => source.into(),
        })
    }

    /// Goes on to the next entry. Those of a run in memory lie anywhere, so they are asked for ahead.
    fn go_on(&mut self) {
        self.at += 1;
        if let Some(Entered::Held(block)) = &self.block
            && let Some(&(.., offset)) = block.index.get(self.at + AHEAD)
        {
            (0..AHEAD_LINES).for_each(|line| prefetch(&block.bytes, offset + LINE_BYTES * line));
        }
    }

    /// The order key of the entry at the cursor, after moving to the next block if need be; `None` at the end of the
    /// range.
    fn key(&mut self, from: Place, before: Place) -> Result<Option<(Place, Order)>, RunError> {
        let is_beyond = |place: Place| place >= before && before != Place::NOWHERE;
        loop {
            if let Some(&(place, order, _)) = self.block.as_ref().and_then(|block| block.index.get(self.at)) {
                return Ok((!is_beyond(place)).then_some((place, order)));
            }
            let Run::Stored(run) = self.run else { return Ok(None) };
            let next = run.record.entries().get(self.next_block);
            let Some(_) = next.filter(|block| !is_beyond(Place(block.first))) else { return Ok(None) };
            let block = run.block(self.next_block)?;
            self.at = block.first(from);
            self.block = Some(Entered::Stored(block));
            self.next_block += 1;
        }
    }
}

/// Gives `visit` every entry with `from <= place < before`, in order, from all runs together. To get the entries
/// without a place, let both be [`Place::NOWHERE`].
pub fn merge<E: From<RunError>>(
    runs: &[Run<'_>],
    from: Place,
    before: Place,
    mut visit: impl FnMut(Entry<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut cursors: Vec<Cursor<'_>> = runs.iter().map(|&run| Cursor::new(run, from)).collect();
    let mut heap = BinaryHeap::with_capacity(cursors.len());
    for (which, cursor) in cursors.iter_mut().enumerate() {
        if let Some(key) = cursor.key(from, before)? {
            heap.push(Reverse((key, which)));
        }
    }
    while let Some(mut next) = heap.peek_mut() {
        let Reverse((key, which)) = &mut *next;
        let cursor = &mut cursors[*which];
        visit(cursor.entry()?)?;
        cursor.go_on();
        match cursor.key(from, before)? {
            Some(after) => *key = after,
            None => drop(PeekMut::pop(next)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{self, Fields, Record, flag};
    use crate::template::name_hash;
    use kernels::duplicates::{End, Fragment};
    use kernels::reference::OwnedReference;
    use storage::{Packs, RecordBuilder, SampleKey};

    fn random(seed: &mut u64, below: u64) -> u64 {
        *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (*seed >> 33) % below
    }

    /// An entry of any kind: with and without CIGAR, qualities, tags, mate and fragment; a few of them long.
    fn encoded(place: Place, order: Order, seed: &mut u64) -> Vec<u8> {
        let mut random = |below: u64| random(seed, below);
        let is_placed = place != Place::NOWHERE;
        let (contig, position) =
            if is_placed { (place.contig() as i32, place.position() as i32) } else { (-1, -1) };
        let length = if random(400) == 0 { 30_000 } else { 1 + random(150) as usize };
        let sequence: Vec<u8> = (0..length).map(|_| random(5) as u8).collect();
        let qualities: Vec<u8> = (0..length).map(|_| [2, 12, 23, 37][random(4) as usize]).collect();
        let (clip, name) = (random(length as u64) as u32, format!("r:{}:{}", random(9), order.0));
        let cigar = [clip << 4 | 4, (length as u32 - clip) << 4, 7 << 4 | 2];
        let fields = Fields {
            name: name.as_bytes(),
            flag: if random(2) == 0 { flag::REVERSE } else { flag::PAIRED | flag::MATE_REVERSE },
            contig,
            position,
            mapq: random(61) as u8,
            cigar: if is_placed { &cigar[..1 + random(3) as usize] } else { &[] },
            mate_contig: contig,
            mate_position: if random(2) == 0 { position } else { -1 },
            template_length: random(900) as i32 - 450,
            sequence: &sequence,
            qualities: if random(9) == 0 { &[] } else { &qualities },
            tags: if random(3) == 0 { b"" } else { b"NMC\0" },
        };
        let mut bytes = Vec::new();
        record::encode(&fields, &mut bytes);
        let end = |position, reverse| End { contig: place.contig(), position, reverse };
        let fragment = (is_placed && random(4) > 0).then(|| Fragment {
            library: random(3) as u16,
            own: end(position - random(90) as i32, random(2) == 0),
            mate: (random(2) == 0).then(|| end(random(9000) as i32, true)),
            score: random(4000) as u32,
            name_hash: name_hash(name.as_bytes()),
            template: order.template(),
        });
        let mut out = Vec::new();
        Entry { place, order, fragment, record: Record::new(&bytes).unwrap() }.encode(&mut out);
        out
    }

    fn run_of(entries: &[(Place, Order, Vec<u8>)]) -> RunBuilder {
        let mut run = RunBuilder::default();
        entries.iter().for_each(|(.., bytes)| run.push(&decode(bytes).unwrap().0));
        run
    }

    #[test]
    fn neither_chunks_nor_their_form_can_be_seen_in_what_a_shard_reads() {
        let dir = tempfile::tempdir().unwrap();
        let key = SampleKey::fleeting();
        let packs = Packs::new(dir.path());
        let mut owned = OwnedReference::default();
        (0..3).for_each(|_| owned.push_contig(&[b'G'; 400]).unwrap());
        let sections = owned.sections();
        let reference = Reference::new(&sections.each_ref().map(Vec::as_slice)).unwrap();
        let mut seed = 3u64;
        let mut entries: Vec<(Place, Order, Vec<u8>)> = (0..12_000u64)
            .map(|i| {
                let place = match random(&mut seed, 32) {
                    0 => Place::NOWHERE,
                    n => Place::new((n % 3) as u32, random(&mut seed, 1 << 14) as u32),
                };
                let order = Order::new(0, i, 0);
                (place, order, encoded(place, order, &mut seed))
            })
            .collect();
        let pack = packs.append("p.pack", 0).unwrap();
        let (mut stored, mut held) = (Vec::new(), Vec::new());
        for (at, chunk) in entries.chunks(1501).enumerate() {
            let mut record = RecordBuilder::new(&key, "c");
            let mut blocks = 0;
            let write = |entry: BlockEntry, bytes: &[u8]| {
                blocks += 1;
                record.block(entry, bytes)
            };
            match at % 4 {
                0 => run_of(chunk).finish(Form::Plain, &reference, write).unwrap(),
                1 => run_of(chunk).finish(Form::Packed, &reference, write).unwrap(),
                2 => {
                    let lot: Vec<HeldRun> = chunk.chunks(400).map(|some| run_of(some).hold()).collect();
                    store(&lot, Form::Packed, &reference, write).unwrap();
                }
                _ => {
                    held.push(run_of(chunk).hold());
                    continue;
                }
            }
            assert!(at % 4 != 0 || blocks > 1);
            let piece = pack.append(&record.finish()).unwrap();
            stored.push(StoredRun::new(packs.record(&piece, &key, "c").unwrap(), reference, at % 3));
        }
        let runs: Vec<Run> = stored.iter().map(Run::Stored).chain(held.iter().map(Run::Held)).collect();
        entries.sort();
        let check = |(from, before): (Place, Place)| {
            let mut got = Vec::new();
            merge::<RunError>(&runs, from, before, |entry| {
                let mut bytes = Vec::new();
                entry.encode(&mut bytes);
                got.push((entry.place, entry.order, bytes));
                Ok(())
            })
            .unwrap();
            let within = |place: Place| place >= from && (place < before || before == Place::NOWHERE);
            let expect: Vec<_> = entries.iter().filter(|&&(place, ..)| within(place)).cloned().collect();
            assert!(!expect.is_empty());
            assert!(got == expect, "{from:?} {before:?}");
        };
        let ranges = [
            (Place::new(0, 0), Place::new(3, 0)),
            (Place::new(1, 100), Place::new(1, 5000)),
            (Place::new(2, 16_000), Place::new(3, 0)),
            (Place::NOWHERE, Place::NOWHERE),
        ];
        ranges.into_iter().for_each(check);
        // Several at a time, which want the same blocks and others.
        std::thread::scope(|scope| {
            for range in ranges.repeat(3) {
                scope.spawn(move || check(range));
            }
        });
        let kept = |run: &StoredRun| locked(&run.read).kept.len() <= run.kept_max.max(1);
        assert!(stored.iter().all(kept));
    }

    #[test]
    fn blocks_of_long_reads_are_closed_by_their_bytes() {
        let mut owned = OwnedReference::default();
        owned.push_contig(&[b'G'; 400]).unwrap();
        let sections = owned.sections();
        let reference = Reference::new(&sections.each_ref().map(Vec::as_slice)).unwrap();
        let bytes = {
            let fields = Fields {
                name: b"long",
                flag: 0,
                contig: 0,
                position: 9,
                mapq: 0,
                cigar: &[],
                mate_contig: -1,
                mate_position: -1,
                template_length: 0,
                sequence: &[0; 60_000],
                qualities: &[30; 60_000],
                tags: b"",
            };
            let mut bytes = Vec::new();
            record::encode(&fields, &mut bytes);
            bytes
        };
        let mut run = RunBuilder::default();
        for at in 0..100 {
            let record = Record::new(&bytes).unwrap();
            run.push(&Entry { place: Place::new(0, 9), order: Order::new(0, at, 0), fragment: None, record });
        }
        let mut counts = Vec::new();
        let write = |entry: BlockEntry, _: &[u8]| {
            counts.push(entry.count);
            Ok(())
        };
        run.finish(Form::Packed, &reference, write).unwrap();
        assert_eq!(counts, [12, 12, 12, 12, 12, 12, 12, 12, 4]);
    }

    #[test]
    fn a_block_that_holds_no_entries_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (key, packs) = (SampleKey::fleeting(), Packs::new(dir.path()));
        let mut owned = OwnedReference::default();
        owned.push_contig(b"G").unwrap();
        let sections = owned.sections();
        let reference = Reference::new(&sections.each_ref().map(Vec::as_slice)).unwrap();
        let pack = packs.append("p.pack", 0).unwrap();
        for form in [Form::Plain, Form::Packed] {
            let mut record = RecordBuilder::new(&key, "c");
            let entry = BlockEntry { kind: form as u8, first: 0, last: 9, count: 1 };
            let whole = encoded(Place(9), Order(1), &mut 5);
            let whole = if form == Form::Packed { packed::pack(&whole).unwrap() } else { whole };
            record.block(entry, &whole).unwrap();
            record.block(entry, &whole[..whole.len() - 1]).unwrap();
            let piece = pack.append(&record.finish()).unwrap();
            let run = StoredRun::new(packs.record(&piece, &key, "c").unwrap(), reference, 1);
            let ended = merge::<RunError>(&[Run::Stored(&run)], Place(0), Place::NOWHERE, |_| Ok(()));
            let error = ended.unwrap_err();
            assert!(matches!(error, RunError::Form { block: 1, blocks: 2, .. }), "{error:?}");
            assert_eq!(error.class(), Class::Integrity);
        }
    }
}
