//! Runs of alignments: what a map task writes and a region task merges.
//!
//! A stored run is one pack record whose blocks hold entries in the order of the genome; its directory says which places
//! each block spans, so a shard reads only the blocks that touch it, each once: the last blocks of each run are held, from
//! cell to cell. In a block, bases are stored as their difference from the reference. A run may as well stay in memory, as
//! it came, with the order of its entries beside it. Invariant: merging does not see which entries lie in which run, or
//! where it lies.

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
use std::sync::{Arc, Mutex, PoisonError};
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
    #[error("a block of an alignment run is not in the form this version writes")]
    Form(#[from] RecordError),
}

impl Classified for RunError {
    fn class(&self) -> Class {
        match self {
            RunError::Pack(error) => error.class(),
            RunError::Form(_) => Class::Integrity,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            RunError::Pack(error) => error.hint(),
            RunError::Form(_) => Some("start the job again in a new directory".to_owned()),
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
        self.sort();
        HeldRun(Block { bytes: self.bytes, index: self.index })
    }

    fn sort(&mut self) {
        self.index.sort_unstable_by_key(|&(place, order, _)| (place, order));
    }

    /// Gives the entries, sorted, to `write` as the blocks of a record; they are aligned to `reference`.
    pub fn finish(
        mut self,
        form: Form,
        reference: &Reference<'_>,
        mut write: impl FnMut(BlockEntry, &[u8]) -> Result<(), PackError>,
    ) -> Result<(), RunError> {
        self.sort();
        let mut block = Vec::with_capacity(BLOCK_BYTES + 1024);
        let mut begun = 0;
        for (at, &(_, _, offset)) in self.index.iter().enumerate() {
            let (.., length) = peek(&self.bytes[offset..])?;
            block.extend_from_slice(&self.bytes[offset..offset + length]);
            let is_full = match form {
                Form::Plain => block.len() >= BLOCK_BYTES,
                Form::Packed => at + 1 - begun == packed::ENTRIES,
            };
            if is_full || at + 1 == self.index.len() {
                let span = BlockEntry {
                    kind: form as u8,
                    first: self.index[begun].0.0,
                    last: self.index[at].0.0,
                    count: (at + 1 - begun) as u32,
                };
                for_records(&mut block, |record| relate(record, reference));
                match form {
                    Form::Plain => write(span, &block)?,
                    Form::Packed => write(span, &packed::pack(&block)?)?,
                }
                block.clear();
                begun = at + 1;
            }
        }
        Ok(())
    }
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

/// A stored run, with the blocks that were needed last: the next cell mostly begins in one of them, whichever thread takes
/// it.
#[derive(Debug)]
pub struct StoredRun<'a> {
    record: RecordReader,
    reference: Reference<'a>,
    read: Mutex<VecDeque<(usize, Arc<Block>)>>,
    read_max: usize,
}

impl<'a> StoredRun<'a> {
    /// Nothing of it is read yet; its entries are aligned to `reference`. So many threads will read it.
    pub fn new(record: RecordReader, reference: Reference<'a>, threads: usize) -> Self {
        // A cell needs two blocks at most times; those of many threads lie side by side.
        StoredRun { record, reference, read: Mutex::default(), read_max: 2 + threads / 4 }
    }

    fn block(&self, which: usize) -> Result<Arc<Block>, RunError> {
        // Who else needs it waits, and so reads it only once.
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, block)) = read.iter().find(|(known, _)| *known == which) {
            return Ok(Arc::clone(block));
        }
        let mut bytes = Vec::new();
        self.record.read_block(which, &mut bytes)?;
        if self.record.entries()[which].kind == Form::Packed as u8 {
            let packed = std::mem::take(&mut bytes);
            packed::unpack(&packed, &mut bytes)?;
        }
        for_records(&mut bytes, |record| relate(record, &self.reference));
        let block = Arc::new(Block::new(bytes)?);
        if read.len() >= self.read_max {
            read.pop_front();
        }
        read.push_back((which, Arc::clone(&block)));
        Ok(block)
    }
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
        let (entry, _) = decode(cursor.rest()).map_err(RunError::from)?;
        visit(entry)?;
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
    use crate::record::{self, Fields, Record};
    use kernels::reference::OwnedReference;
    use storage::{Packs, RecordBuilder, SampleKey};

    fn record_at(place: Place, name: &str) -> Vec<u8> {
        let (contig, position) = match place {
            Place::NOWHERE => (-1, -1),
            place => (place.contig() as i32, place.position() as i32),
        };
        let mut bytes = Vec::new();
        let fields = Fields {
            name: name.as_bytes(),
            flag: 0,
            contig,
            position,
            mapq: 0,
            cigar: &[],
            mate_contig: -1,
            mate_position: -1,
            template_length: 0,
            sequence: &[0; 90],
            qualities: &[],
            tags: b"",
        };
        record::encode(&fields, &mut bytes);
        bytes
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
        let mut entries: Vec<(Place, Order)> = (0..8000u64)
            .map(|i| {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let place = match seed >> 40 & 31 {
                    0 => Place::NOWHERE,
                    n => Place::new((n % 3) as u32, (seed >> 50) as u32),
                };
                (place, Order::new(0, i, 0))
            })
            .collect();
        let pack = packs.append("p.pack", 0).unwrap();
        let (mut stored, mut held) = (Vec::new(), Vec::new());
        for (chunk, form) in
            entries.chunks(1501).zip([Some(Form::Plain), Some(Form::Packed), None].iter().cycle())
        {
            let mut run = RunBuilder::default();
            for &(place, order) in chunk {
                let record = record_at(place, "r");
                run.push(&Entry { place, order, fragment: None, record: Record::new(&record).unwrap() });
            }
            let Some(form) = form else {
                held.push(run.hold());
                continue;
            };
            let mut record = RecordBuilder::new(&key, "c");
            run.finish(*form, &reference, |entry, bytes| record.block(entry, bytes)).unwrap();
            let piece = pack.append(&record.finish()).unwrap();
            stored.push(StoredRun::new(packs.record(&piece, &key, "c").unwrap(), reference, 1));
        }
        let runs: Vec<Run> = stored.iter().map(Run::Stored).chain(held.iter().map(Run::Held)).collect();
        entries.sort();
        let ranges = [
            (Place::new(0, 0), Place::new(3, 0)),
            (Place::new(1, 100), Place::new(1, 5000)),
            (Place::new(2, 16_000), Place::new(3, 0)),
            (Place::NOWHERE, Place::NOWHERE),
        ];
        for (from, before) in ranges {
            let mut got = Vec::new();
            merge::<RunError>(&runs, from, before, |entry| {
                got.push((entry.place, entry.order));
                Ok(())
            })
            .unwrap();
            let within = |place: Place| place >= from && (place < before || before == Place::NOWHERE);
            let expect: Vec<_> = entries.iter().copied().filter(|&(place, _)| within(place)).collect();
            assert!(!expect.is_empty());
            assert_eq!(got, expect);
        }
    }
}
