//! The end of a sample's files: what its parts learnt, joined; the reads without a place behind the last of them.
//!
//! Invariant: every read that the intakes counted has one fate, and every base of the genome is answered by one shard.

use super::part::{PartInput, container, place};
use super::whole::Whole;
use super::{FinishError, RegionInput, ResultFile, SampleLedger, form, read_block};
use crate::access::{Access, Content};
use crate::hold::Hold;
use crate::htslib::{CRAM_EOF, gzip};
use crate::qc::SampleCounters;
use crate::region::block;
use jobs::ledger::{Fates, Imbalance, check_cells};
use jobs::task::{Shard, Task};
use std::path::Path;
use storage::{BlockEntry, PieceRef, PlacedFile};

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
    let mut whole = SampleWhole {
        context,
        sample,
        files: Whole::new(context, Some(sample), results, hold.is_kept()),
        counters: SampleCounters::new(context.index.contigs().total_bases()),
        cells: Vec::new(),
        crai: Vec::new(),
    };
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
struct SampleWhole<'a> {
    context: &'a Access<'a>,
    sample: u32,
    /// Alignments, calls.
    files: Whole<'a>,
    counters: SampleCounters,
    cells: Vec<(BlockEntry, Vec<u8>)>,
    crai: Vec<u8>,
}

impl SampleWhole<'_> {
    fn join(&mut self, part: &PartInput) -> Result<(), FinishError> {
        let context = self.context;
        let task = Task::WriteSample(self.sample, part.part);
        let reader = context.read(task, &part.piece)?;
        for (at, entry) in reader.entries().iter().enumerate() {
            let mut bytes = Vec::new();
            reader.read_block(at, &mut bytes)?;
            match entry.kind {
                block::COUNTERS => {
                    let counters = serde_json::from_slice(&bytes);
                    self.counters.merge(&counters.map_err(|_| form(context, task))?);
                }
                block::CELLS => self.cells.push((*entry, bytes)),
                block::ALIGNMENT_INDEX => self.crai.extend_from_slice(&bytes),
                _ => {}
            }
        }
        self.files.join(task, &reader)
    }

    /// Writes what stands behind the last part, and the indexes.
    fn close(&mut self, records: u64, unplaced: &RegionInput) -> Result<Vec<ResultFile>, FinishError> {
        let mut alignments = self.files.end(0)?;
        self.unplaced(records, unplaced, &mut alignments)?;
        alignments.write(&CRAM_EOF)?;
        let mut crai = self.files.path(0).as_os_str().to_owned();
        crai.push(".crai");
        let mut files = vec![self.files.listed(0, alignments)?];
        files.push(self.files.index_file(Path::new(&crai), &gzip(&self.crai))?);
        files.extend(self.files.close_calls()?);
        Ok(files)
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
