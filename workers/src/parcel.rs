//! Parcels: what a task reads, re-sealed under another key to travel, and what it wrote, re-sealed when it is back.
//!
//! Invariant: a parcel holds exactly what its task needs (a chunk's pairs; of each run the blocks that touch the shard
//! and its halo; of each cell the calls), under the parcel's key and for the same task as before, so that the task is
//! run by the same code there. Nothing that came back counts before every block of it was opened here and sealed again
//! under the sample's own key; its digest is taken anew from what was opened.

use crate::access::{Access, Content};
use crate::cells::FinishedCells;
use crate::entry::Place;
use crate::intake::ChunkReader;
use crate::map::ChunkSource;
use crate::pairs;
use crate::region::block;
use crate::task::{self, Inputs};
use jobs::failure::{Class, Classified, Failure};
use jobs::genome::{Cell, HALO_BASES};
use jobs::task::{Chunk, LaneId, Shard, Task};
use std::path::Path;
use std::sync::Arc;
use storage::{BlockEntry, Commit, PackError, Packs, PieceRef, RecordBuilder, SampleKey};

/// A task cannot travel, or something else came back than it writes.
#[derive(Debug, thiserror::Error)]
pub enum ParcelError {
    /// It works on files of this place.
    #[error("{task} cannot be done where our files are not")]
    Home {
        /// The task.
        task: String,
    },
    /// The output has not the shape that the task gives it.
    #[error("{task} came back with {found} pieces, expected {expected}")]
    Shape {
        /// The task.
        task: String,
        /// Pieces there should be.
        expected: usize,
        /// Pieces there are.
        found: usize,
    },
    /// A record has blocks that the task does not write.
    #[error("{task} came back with a block of kind {kind}")]
    Kind {
        /// The task.
        task: String,
        /// The block's kind.
        kind: u8,
    },
    /// A record lacks a block that the task writes.
    #[error("{task} came back without a block of kind {kind}")]
    Missing {
        /// The task.
        task: String,
        /// The block's kind.
        kind: u8,
    },
}

impl Classified for ParcelError {
    fn class(&self) -> Class {
        match self {
            ParcelError::Home { .. } => Class::Internal,
            ParcelError::Shape { .. } | ParcelError::Kind { .. } | ParcelError::Missing { .. } => {
                Class::Integrity
            }
        }
    }
}

/// A pack's bytes, and the commits whose pieces lie in it.
pub type Packed = (Vec<u8>, Vec<(Task, Arc<Commit>)>);

/// Re-seals everything that a map, region or joint task reads into one pack called `pack`: its bytes, and the inputs as
/// they lie there. Summaries stay behind but for what the task computes with.
pub fn pack(
    access: &Access<'_>,
    task: Task,
    inputs: &Inputs,
    key: &SampleKey,
    pack: &str,
    results: &Path,
) -> Result<Packed, Failure> {
    let mut packer = Packer { access, key, pack, bytes: Vec::new() };
    let inputs = match task {
        Task::Map(lane, chunk) => packer.chunk(lane, chunk, inputs)?,
        Task::Region(_, shard) => packer.runs(shard, inputs)?,
        Task::Joint(shard) => packer.calls(shard, inputs, results)?,
        task => return Err(ParcelError::Home { task: task.key(access.names()) }.into()),
    };
    Ok((packer.bytes, inputs))
}

struct Packer<'a> {
    access: &'a Access<'a>,
    key: &'a SampleKey,
    pack: &'a str,
    bytes: Vec<u8>,
}

impl Packer<'_> {
    fn record(&self, task: Task) -> RecordBuilder {
        RecordBuilder::new(self.key, &self.access.seal_context(task))
    }

    fn add(&mut self, record: RecordBuilder) -> PieceRef {
        let (record, offset) = (record.finish(), self.bytes.len() as u64);
        self.bytes.extend_from_slice(&record);
        let (pack, length) = (self.pack.to_owned(), record.len() as u64);
        PieceRef { pack, offset, length, blake3: *blake3::hash(&record).as_bytes() }
    }

    /// The blocks of a committed record that `keep` wants.
    fn blocks(
        &mut self,
        task: Task,
        piece: &PieceRef,
        keep: impl Fn(&BlockEntry) -> bool,
    ) -> Result<PieceRef, PackError> {
        let reader = self.access.read(task, piece)?;
        let mut record = self.record(task);
        let mut bytes = Vec::new();
        for (at, entry) in reader.entries().iter().enumerate().filter(|(_, entry)| keep(entry)) {
            self.access.holds()?;
            reader.read_block(at, &mut bytes)?;
            record.block(*entry, &bytes)?;
        }
        Ok(self.add(record))
    }

    /// The pairs of a chunk in place of where it begins, and the lane's model.
    fn chunk(
        &mut self,
        lane: LaneId,
        chunk: Chunk,
        inputs: &Inputs,
    ) -> Result<Vec<(Task, Arc<Commit>)>, Failure> {
        let task = Task::Intake(lane, chunk.intake());
        let intake = task::input(self.access, inputs, task)?;
        let stored = task::stored_chunk(self.access, lane, chunk, inputs)?;
        let ChunkSource::Files(start) = &stored.source else {
            return Err(ParcelError::Home { task: Task::Map(lane, chunk).key(self.access.names()) }.into());
        };
        let files = self.access.reads(lane)?;
        let mut reader = ChunkReader::open(files, start, stored.first_pair, stored.pairs)?;
        let mut record = self.record(task);
        pairs::write(&mut reader, stored.first_pair, &mut record)?;
        let piece = self.add(record);
        let model = task::input(self.access, inputs, Task::Model(lane))?;
        Ok(vec![
            (task, stripped(intake, vec![piece])),
            (Task::Model(lane), Arc::new(Commit { pieces: Vec::new(), ..model.clone() })),
        ])
    }

    /// Of each run the blocks that touch the shard and its halo.
    fn runs(&mut self, shard: Shard, inputs: &Inputs) -> Result<Vec<(Task, Arc<Commit>)>, Failure> {
        let (from, before) = self.span(shard);
        let touches =
            |entry: &BlockEntry| entry.last >= from.0 && (entry.first < before.0 || before == Place::NOWHERE);
        let mut carried = Vec::new();
        for (task, commit) in inputs {
            let pieces = commit.pieces.iter().map(|piece| self.blocks(*task, piece, touches));
            let pieces = pieces.collect::<Result<Vec<_>, _>>()?;
            carried.push((*task, stripped(commit, pieces)));
        }
        Ok(carried)
    }

    /// Places whose records a shard's cells read.
    fn span(&self, shard: Shard) -> (Place, Place) {
        let (Some(first), Some(last)) = (shard.cells().next(), shard.cells().next_back()) else {
            return (Place::NOWHERE, Place::NOWHERE);
        };
        let (first, last) = (self.access.grid.interval(first), self.access.grid.interval(last));
        let from = Place::new(first.contig, first.start.saturating_sub(HALO_BASES));
        (from, Place::new(last.contig, last.end.saturating_add(HALO_BASES)))
    }

    /// The calls of the shard's cells and of the one before, from samples whether they are finished or not.
    fn calls(
        &mut self,
        shard: Shard,
        inputs: &Inputs,
        results: &Path,
    ) -> Result<Vec<(Task, Arc<Commit>)>, Failure> {
        let Shard::Cells { first, end } = shard else { return Ok(Vec::new()) };
        let first = Cell(first.0.saturating_sub(1));
        let is_calls = |entry: &BlockEntry| entry.kind == block::GVCF;
        let mut carried = Vec::new();
        for (task, commit) in inputs {
            let (sample, cells, pieces) = match *task {
                Task::Region(sample, shard) => {
                    let of_shard = shard.cells().zip(&commit.pieces);
                    let wanted: Vec<_> = of_shard.filter(|(cell, _)| (first..end).contains(cell)).collect();
                    let mut pieces = Vec::with_capacity(wanted.len());
                    for (cell, piece) in &wanted {
                        pieces.push(self.blocks(
                            Task::Region(sample, Shard::of_cell(*cell)),
                            piece,
                            is_calls,
                        )?);
                    }
                    (sample, wanted.into_iter().map(|(cell, _)| cell).collect(), pieces)
                }
                Task::FinishSample(sample) => self.finished(sample, commit, (first, end), results)?,
                _ => continue,
            };
            let (Some(&first), Some(&last)) = (cells.first(), cells.last()) else { continue };
            let shard = Shard::Cells { first, end: Cell(last.0 + 1) };
            carried.push((Task::Region(sample, shard), stripped(commit, pieces)));
        }
        Ok(carried)
    }

    fn finished(
        &mut self,
        sample: u32,
        commit: &Commit,
        (first, end): (Cell, Cell),
        results: &Path,
    ) -> Result<(u32, Vec<Cell>, Vec<PieceRef>), Failure> {
        let Some(piece) = commit.pieces.first() else { return Ok((sample, Vec::new(), Vec::new())) };
        let finished = FinishedCells::open(self.access, sample, piece, (first, end), results)?;
        let (mut cells, mut pieces, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
        for cell in (first.0..end.0).map(Cell) {
            finished.read(cell, &mut bytes)?;
            let mut record = self.record(Task::Region(sample, Shard::of_cell(cell)));
            record.block(BlockEntry { kind: block::GVCF, first: 0, last: 0, count: 0 }, &bytes)?;
            cells.push(cell);
            pieces.push(self.add(record));
        }
        Ok((sample, cells, pieces))
    }
}

/// A commit of which only these pieces are known.
fn stripped(commit: &Commit, pieces: Vec<PieceRef>) -> Arc<Commit> {
    Arc::new(Commit { pieces, summary: Vec::new(), ..commit.clone() })
}

/// Opens the output of `task` whose pieces lie in packs in `folder` under `key`, re-seals it under the samples' own keys
/// and appends it to this process's packs; gives the pieces as they lie now, and the digest of what they hold.
pub fn unpack(
    access: &Access<'_>,
    task: Task,
    key: &SampleKey,
    folder: &Path,
    (pieces, summary): (&[PieceRef], &[u8]),
) -> Result<(Vec<PieceRef>, [u8; 32]), Failure> {
    let name = || task.key(access.names());
    if !matches!(task, Task::Map(..) | Task::Region(..) | Task::Joint(_)) {
        return Err(ParcelError::Home { task: name() }.into());
    }
    let records = task::sealed_to(task);
    if records.len() != pieces.len() {
        let (expected, found) = (records.len(), pieces.len());
        return Err(ParcelError::Shape { task: name(), expected, found }.into());
    }
    let packs = Packs::new(folder);
    let (mut content, mut stored, mut bytes) = (Content::default(), Vec::new(), Vec::new());
    for (ordinal, (of, piece)) in records.into_iter().zip(pieces).enumerate() {
        let (must, may) = kinds(task, ordinal + 1 == pieces.len());
        let reader = packs.record(piece, key, &access.seal_context(of))?;
        let entries = reader.entries();
        if let Some(&kind) = must.iter().find(|&&kind| entries.iter().all(|entry| entry.kind != kind)) {
            return Err(ParcelError::Missing { task: name(), kind }.into());
        }
        let mut record = access.record(of)?;
        for (at, entry) in entries.iter().enumerate() {
            if !must.contains(&entry.kind) && !may.contains(&entry.kind) {
                return Err(ParcelError::Kind { task: name(), kind: entry.kind }.into());
            }
            reader.read_block(at, &mut bytes)?;
            record.block(*entry, &bytes)?;
        }
        stored.push(access.append(record, &mut content)?);
    }
    Ok((stored, access.settle(content, summary)?))
}

/// The kinds of blocks that a record of a task's output must have, and those that it may have, too; `last` if it is the
/// last.
fn kinds(task: Task, last: bool) -> (&'static [u8], &'static [u8]) {
    match task {
        Task::Region(..) => (&[block::GVCF, block::COUNTERS], &[block::ALIGNMENTS]),
        Task::Joint(_) if last => (&[block::CALL_INDEX, block::KINSHIP], &[]),
        Task::Joint(_) => (&[block::GVCF], &[]),
        _ => (&[], &[0]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Context;

    #[test]
    fn what_comes_back_has_the_blocks_that_the_task_writes() {
        let scratch = tempfile::tempdir().unwrap();
        let context = Context::of_tests(scratch.path());
        let access = Access::of_caller(&context);
        let key = SampleKey::fleeting();
        let check = |task: Task, records: &[&[u8]], expect: &str| {
            let mut packer = Packer { access: &access, key: &key, pack: "back", bytes: Vec::new() };
            let mut pieces = Vec::new();
            for (of, kinds) in task::sealed_to(task).into_iter().zip(records) {
                let mut record = packer.record(of);
                for &kind in *kinds {
                    record.block(BlockEntry { kind, first: 0, last: 0, count: 0 }, b"block").unwrap();
                }
                pieces.push(packer.add(record));
            }
            std::fs::write(scratch.path().join("back"), packer.bytes).unwrap();
            let found = unpack(&access, task, &key, scratch.path(), (&pieces, b""));
            assert_eq!(found.map_or_else(|error| error.to_string(), |_| String::new()), expect);
        };
        let cell = Shard::of_cell(Cell(0));
        let (joint, region) = (Task::Joint(cell), Task::Region(0, cell));
        check(joint, &[&[1], &[5, 7]], "");
        check(joint, &[&[], &[5, 7]], "joint/0-1 came back without a block of kind 1");
        check(joint, &[&[1], &[]], "joint/0-1 came back without a block of kind 5");
        check(joint, &[&[1], &[5]], "joint/0-1 came back without a block of kind 7");
        check(joint, &[&[1, 5], &[5, 7]], "joint/0-1 came back with a block of kind 5");
        check(joint, &[&[1]], "joint/0-1 came back with 1 pieces, expected 2");
        check(region, &[&[1, 2]], "");
        check(region, &[&[0, 0, 1, 2]], "");
        check(region, &[&[0, 1]], "region/S/0-1 came back without a block of kind 2");
        check(region, &[&[1, 2, 3]], "region/S/0-1 came back with a block of kind 3");
        let map = Task::Map(LaneId { sample: 0, lane: 0 }, Chunk::whole(0));
        check(map, &[&[]], "");
        check(map, &[&[1]], "map/S/0/0 came back with a block of kind 1");
    }
}
