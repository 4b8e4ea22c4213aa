//! The end of a sample's files: what its parts learnt, joined; the reads without a place behind the last of them.
//!
//! Invariant: the digest of a file is that of the bytes which its parts read back, and no part is missing: the first and
//! last bytes of each lie where they were written.

use super::part::{PartInput, container, lies_in, paths, place, stretches};
use super::{FinishError, RegionInput, ResultFile, SampleLedger, form, read_block, result_path};
use crate::access::{Access, Content};
use crate::hold::Hold;
use crate::htslib::{CRAM_EOF, gzip};
use crate::qc::SampleCounters;
use crate::region::block;
use crate::vcf::{self, IndexKind, PartialIndex};
use jobs::ledger::{Fates, Imbalance, check_cells};
use jobs::task::{Shard, Task};
use std::path::{Path, PathBuf};
use storage::{BlockEntry, PieceRef, PlacedFile, Stretch};

/// Completes a sample's CRAM and gVCF, whose parts are written in `results`, adds their indexes, checks the books, and
/// stores the sample's counters and the places of its cells as a piece. `reads_in` is what the intakes counted; `parts`
/// are all of the genome, in order.
pub fn finish_sample(
    context: &Access<'_>,
    sample: u32,
    (reads_in, parts, unplaced): (u64, &[PartInput], &RegionInput),
    results: &Path,
    hold: &dyn Hold,
    content: &mut Content,
) -> Result<(PieceRef, SampleLedger), FinishError> {
    let mut ledger = balance(context, sample, reads_in, parts, unplaced)?;
    let mut whole = Whole::new(context, sample, results, hold.is_kept());
    for part in parts {
        hold.check()?;
        whole.join(part)?;
    }
    let records = parts.last().map_or(0, |part| part.summary.end.records);
    ledger.files = whole.close(records, unplaced)?;
    let mut record = context.record(Task::FinishSample(sample))?;
    let json = serde_json::to_vec(&whole.counters).expect("counters always print");
    record.block(BlockEntry { kind: block::COUNTERS, first: 0, last: 0, count: 1 }, &json)?;
    whole.cells.iter().try_for_each(|(entry, cells)| record.block(*entry, cells))?;
    Ok((context.append(record, content)?, ledger))
}

/// The ledger of a sample, without its files, if everything adds up.
fn balance(
    context: &Access<'_>,
    sample: u32,
    reads_in: u64,
    parts: &[PartInput],
    unplaced: &RegionInput,
) -> Result<SampleLedger, FinishError> {
    let name = context.sample(sample).name.clone();
    let (mut fates, mut sites, mut shards) = (Fates::default(), 0, Vec::new());
    for PartInput { summary, .. } in parts {
        fates.add(&summary.fates);
        sites += summary.sites;
        shards.extend_from_slice(&summary.shards);
    }
    fates.add(&unplaced.summary.fates);
    check_cells(&name, context.grid.cells(), shards.iter().map(|shard| shard.cells))?;
    if fates.total() != reads_in {
        return Err(Imbalance::Reads { sample: name, reads_in, reads_out: fates.total() }.into());
    }
    let records = parts.last().map_or(0, |part| part.summary.end.records) + unplaced.summary.records;
    let joint = context.sample(sample).joint;
    Ok(SampleLedger { sample: name, joint, reads_in, fates, records, sites, shards, files: Vec::new() })
}

/// A sample's files as their parts come together.
struct Whole<'a> {
    context: &'a Access<'a>,
    sample: u32,
    kept: bool,
    /// Alignments, calls.
    paths: [PathBuf; 2],
    stretches: [Stretch; 2],
    counters: SampleCounters,
    cells: Vec<(BlockEntry, Vec<u8>)>,
    crai: Vec<u8>,
    index: PartialIndex<'a>,
}

impl<'a> Whole<'a> {
    fn new(context: &'a Access<'a>, sample: u32, results: &Path, kept: bool) -> Self {
        let contigs = context.index.contigs();
        Whole {
            context,
            sample,
            kept,
            paths: paths(context, sample, results),
            stretches: [Stretch::at(0), Stretch::at(0)],
            counters: SampleCounters::new(contigs.total_bases()),
            cells: Vec::new(),
            crai: Vec::new(),
            index: PartialIndex::new(contigs),
        }
    }

    fn join(&mut self, part: &PartInput) -> Result<(), FinishError> {
        let context = self.context;
        let task = Task::WriteSample(self.sample, part.part);
        let damaged = || form(context, task);
        let reader = context.read(task, &part.piece)?;
        for (at, entry) in reader.entries().iter().enumerate() {
            let mut bytes = Vec::new();
            reader.read_block(at, &mut bytes)?;
            match entry.kind {
                block::COUNTERS => {
                    self.counters.merge(&serde_json::from_slice(&bytes).map_err(|_| damaged())?)
                }
                block::CELLS => self.cells.push((*entry, bytes)),
                block::ALIGNMENT_INDEX => self.crai.extend_from_slice(&bytes),
                block::CALL_INDEX => {
                    let index = PartialIndex::from_bytes(context.index.contigs(), &bytes);
                    index.and_then(|index| self.index.append(&index, 0)).ok_or_else(damaged)?;
                }
                _ => {}
            }
        }
        let of_part = stretches(context, task, &reader)?;
        for ((whole, stretch), path) in self.stretches.iter_mut().zip(&of_part).zip(&self.paths) {
            whole.join(stretch).ok_or_else(damaged)?;
            if self.kept && !lies_in(stretch, path, false)? {
                return Err(FinishError::Part { path: path.clone(), task: task.key(context.names()) });
            }
        }
        Ok(())
    }

    /// Writes what stands behind the last part, and the indexes.
    fn close(&mut self, records: u64, unplaced: &RegionInput) -> Result<Vec<ResultFile>, FinishError> {
        let context = self.context;
        let [cram, gvcf] = self.paths.clone();
        let [of_alignments, of_calls] = self.stretches.clone();
        let mut alignments = PlacedFile::open(&cram, of_alignments.end(), self.kept)?;
        self.unplaced(records, unplaced, &mut alignments)?;
        alignments.write(&CRAM_EOF)?;
        let mut calls = PlacedFile::open(&gvcf, of_calls.end(), self.kept)?;
        calls.write(&vcf::EOF_BLOCK)?;
        let mut crai = cram.clone().into_os_string();
        crai.push(".crai");
        let tbi = IndexKind::of(context.index.contigs()).path(&gvcf);
        Ok(vec![
            listed(&cram, of_alignments, alignments)?,
            self.index_file(Path::new(&crai), &gzip(&self.crai))?,
            listed(&gvcf, of_calls, calls)?,
            self.index_file(&tbi, &self.index.build())?,
        ])
    }

    fn unplaced(
        &mut self,
        mut records: u64,
        unplaced: &RegionInput,
        alignments: &mut PlacedFile,
    ) -> Result<(), FinishError> {
        let context = self.context;
        let task = Task::Region(self.sample, Shard::Unplaced);
        let piece = unplaced.pieces.first().ok_or_else(|| form(context, task))?;
        let reader = context.read(task, piece)?;
        let mut bytes = Vec::new();
        for (at, entry) in reader.entries().iter().enumerate() {
            reader.read_block(at, &mut bytes)?;
            match entry.kind {
                block::ALIGNMENTS => {
                    let placed = place(&mut bytes, records, alignments.end(), &mut self.crai);
                    placed.map_err(container(context, task))?;
                    alignments.write(&bytes)?;
                    records += u64::from(entry.count);
                }
                block::COUNTERS => {
                    let counters = serde_json::from_slice(&bytes);
                    self.counters.merge(&counters.map_err(|_| form(context, task))?);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn index_file(&self, path: &Path, bytes: &[u8]) -> Result<ResultFile, FinishError> {
        let mut file = PlacedFile::open(path, 0, self.kept)?;
        file.write(bytes)?;
        listed(path, Stretch::at(0), file)
    }
}

/// A file as the ledger lists it, once its last bytes are written behind the others.
fn listed(path: &Path, mut whole: Stretch, end: PlacedFile) -> Result<ResultFile, FinishError> {
    let joined = whole.join(&end.commit_end()?).and_then(|()| whole.digest());
    let blake3 = joined.expect("it goes on where the others end, from the first byte").to_hex().to_string();
    Ok(ResultFile { path: result_path(path), bytes: whole.end(), blake3 })
}

/// The merged counters that a sample's finish task stored.
pub fn read_counters(
    context: &Access<'_>,
    sample: u32,
    piece: &PieceRef,
) -> Result<SampleCounters, FinishError> {
    let task = Task::FinishSample(sample);
    let mut bytes = Vec::new();
    read_block(&context.read(task, piece)?, block::COUNTERS, &mut bytes, || form(context, task))?;
    serde_json::from_slice(&bytes).map_err(|_| form(context, task))
}
