//! One part of a sample's alignments and calls: the cells of a run, at their place in the files.
//!
//! Invariant: what is written, and where, is a function of what the regions before and within the part committed: so any
//! number of attempts may write, in any order of the parts. What the whole files' digests, indexes and books need of the
//! part is committed with it, and nobody reads its bytes again.

use super::whole::{Before, Extent, close_part, open_part, paths};
use super::{FinishError, RegionInput, ShardAnswers, form};
use crate::access::{Access, Content};
use crate::cells::CellTable;
use crate::hold::Hold;
use crate::htslib::{ContainerError, crai_lines, cram_file_header, renumber};
use crate::qc::SampleCounters;
use crate::region::{RegionSummary, block, fates_of};
use crate::vcf::{self, Kind, PartialIndex, header_text};
use jobs::genome::Interval;
use jobs::ledger::{Fates, Imbalance};
use jobs::task::{Shard, Task};
use std::path::Path;
use storage::{BlockEntry, PieceRef, PlacedFile};

impl Extent {
    /// Goes on over what a region task wrote.
    pub fn add(&mut self, region: &RegionSummary) {
        self.alignment_bytes += region.alignment_bytes;
        self.records += region.records;
        self.call_bytes += region.call_bytes;
    }
}

/// What a task that wrote a part says of it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WriteSummary {
    /// The cells up to its end.
    pub end: Extent,
    /// Its reads by fate.
    pub fates: Fates,
    /// Its variant sites.
    pub sites: u64,
    /// Its shards.
    pub shards: Vec<ShardAnswers>,
}

/// A committed part.
#[derive(Clone, Debug)]
pub struct PartInput {
    /// Which.
    pub part: u32,
    /// What it learnt.
    pub piece: PieceRef,
    /// What it said of itself.
    pub summary: WriteSummary,
}

/// What a sample's files begin with.
fn headers(context: &Access<'_>, sample: u32) -> [Vec<u8>; 2] {
    let names = [context.sample(sample).name.as_str()];
    let calls = header_text(Kind::Gvcf, context.index.contigs(), &names, &context.settings.parameters);
    [cram_file_header(&context.sam_header(sample)), vcf::compress_cell(calls.as_bytes())]
}

/// Writes a part of a sample's CRAM and gVCF in `results` and stores what it learnt on the way as a piece. `regions` are
/// those of its own cells, in genome order.
pub fn write_sample(
    context: &Access<'_>,
    (sample, part): (u32, u32),
    (before, regions): (&Before, &[RegionInput]),
    results: &Path,
    hold: &dyn Hold,
    content: &mut Content,
) -> Result<(PieceRef, WriteSummary), FinishError> {
    let mut writer = PartWriter::begin(context, (sample, part), before.extent, results, hold.is_kept())?;
    for region in regions {
        for (of, piece) in region.shard.parts().zip(&region.pieces) {
            hold.check()?;
            writer.cell(Task::Region(sample, of), of, piece)?;
        }
        writer.close(region)?;
    }
    writer.finish(Task::WriteSample(sample, part), content)
}

/// Refuses a region that says of itself what its records do not hold: the parts behind it would be written to wrong
/// places, and the sample's books would not balance.
pub fn check_region(context: &Access<'_>, sample: u32, region: &RegionInput) -> Result<(), FinishError> {
    let RegionInput { shard, pieces, summary } = region;
    let wrong = || form(context, Task::Region(sample, *shard));
    // How its bases were answered no record tells.
    let mut held = RegionSummary { answers: summary.answers, ..RegionSummary::default() };
    let mut bytes = Vec::new();
    for (of, piece) in shard.parts().zip(pieces) {
        let record = context.read(Task::Region(sample, of), piece)?;
        for (at, entry) in record.entries().iter().enumerate() {
            let (length, count) = (record.raw_bytes(at) as u64, u64::from(entry.count));
            match entry.kind {
                block::ALIGNMENTS => {
                    held.alignment_bytes += length;
                    held.records += count;
                }
                block::GVCF => {
                    held.call_bytes += length;
                    held.sites += count;
                }
                block::COUNTERS => {
                    record.read_block(at, &mut bytes)?;
                    held.fates.add(&fates_of(&serde_json::from_slice(&bytes).map_err(|_| wrong())?));
                }
                _ => return Err(wrong()),
            }
        }
    }
    match held == *summary && answers(context, sample, region).is_ok() {
        true => Ok(()),
        false => Err(wrong()),
    }
}

struct PartWriter<'a> {
    context: &'a Access<'a>,
    sample: u32,
    alignments: PlacedFile,
    calls: PlacedFile,
    counters: SampleCounters,
    table: CellTable,
    crai: Vec<u8>,
    index: PartialIndex<'a>,
    /// As it is written.
    end: Extent,
    /// As the regions said.
    said: Extent,
    summary: WriteSummary,
    bytes: Vec<u8>,
}

impl<'a> PartWriter<'a> {
    fn begin(
        context: &'a Access<'a>,
        (sample, part): (u32, u32),
        before: Extent,
        results: &Path,
        kept: bool,
    ) -> Result<Self, FinishError> {
        let paths = paths(context, Some(sample), results);
        let [of_alignments, of_calls] = headers(context, sample);
        let open =
            |which: usize, header: &[u8], before| open_part(&paths[which], header, (part, before), kept);
        let contigs = context.index.contigs();
        Ok(PartWriter {
            context,
            sample,
            alignments: open(0, &of_alignments, before.alignment_bytes)?,
            calls: open(1, &of_calls, before.call_bytes)?,
            counters: SampleCounters::new(contigs.total_bases()),
            table: CellTable::default(),
            crai: Vec::new(),
            index: PartialIndex::new(contigs),
            end: before,
            said: before,
            summary: WriteSummary { end: before, fates: Fates::default(), sites: 0, shards: Vec::new() },
            bytes: Vec::new(),
        })
    }

    fn cell(&mut self, task: Task, of: Shard, piece: &PieceRef) -> Result<(), FinishError> {
        let damaged = || form(self.context, task);
        let reader = self.context.read(task, piece)?;
        for (at, entry) in reader.entries().iter().enumerate() {
            reader.read_block(at, &mut self.bytes)?;
            match (entry.kind, of) {
                (block::ALIGNMENTS, _) => {
                    let placed =
                        place(&mut self.bytes, self.end.records, self.alignments.end(), &mut self.crai);
                    placed.map_err(container(self.context, task))?;
                    self.alignments.write(&self.bytes)?;
                    self.end.records += u64::from(entry.count);
                    self.end.alignment_bytes += self.bytes.len() as u64;
                }
                (block::GVCF, Shard::Cells { first, .. }) => {
                    let offset = self.calls.end();
                    self.table.push(first, offset, &self.bytes);
                    let text = vcf::decompress_cell(&self.bytes).map_err(|_| damaged())?;
                    self.index.add_cell(&text, &self.bytes, offset).ok_or_else(damaged)?;
                    self.calls.write(&self.bytes)?;
                    self.end.call_bytes += self.bytes.len() as u64;
                }
                (block::COUNTERS, _) => {
                    self.counters.merge(&serde_json::from_slice(&self.bytes).map_err(|_| damaged())?);
                }
                _ => return Err(damaged()),
            }
        }
        Ok(())
    }

    /// Enters a region into the books: it is all there, and as long as others were told.
    fn close(&mut self, region: &RegionInput) -> Result<(), FinishError> {
        self.said.add(&region.summary);
        if self.said != self.end {
            return Err(form(self.context, Task::Region(self.sample, region.shard)));
        }
        self.summary.fates.add(&region.summary.fates);
        self.summary.sites += region.summary.sites;
        self.summary.shards.extend(answers(self.context, self.sample, region)?);
        Ok(())
    }

    fn finish(mut self, task: Task, content: &mut Content) -> Result<(PieceRef, WriteSummary), FinishError> {
        self.summary.end = self.end;
        let mut record = self.context.record(task)?;
        let entry = |kind, first| BlockEntry { kind, first, last: first, count: 0 };
        let counters = serde_json::to_vec(&self.counters).expect("counters always print");
        record.block(entry(block::COUNTERS, 0), &counters)?;
        self.table.finish(|entry, cells| record.block(entry, cells))?;
        record.block(entry(block::ALIGNMENT_INDEX, 0), &self.crai)?;
        close_part(&mut record, vec![self.alignments, self.calls], &self.index)?;
        Ok((self.context.append(record, content)?, self.summary))
    }
}

/// Numbers a run of containers for its place in a file, and adds its lines of the index.
pub(super) fn place(
    containers: &mut [u8],
    first_record: u64,
    offset: u64,
    crai: &mut Vec<u8>,
) -> Result<(), ContainerError> {
    renumber(containers, first_record)?;
    crai_lines(containers, offset, crai)
}

/// For `map_err`: stored containers of a task are damaged.
pub(super) fn container(context: &Access<'_>, task: Task) -> impl FnOnce(ContainerError) -> FinishError {
    move |source| FinishError::Container { task: task.key(context.names()), source }
}

/// How a region's bases were answered, each once; nothing of reads without a place.
fn answers(
    context: &Access<'_>,
    sample: u32,
    RegionInput { shard, pieces, summary }: &RegionInput,
) -> Result<Option<ShardAnswers>, FinishError> {
    let Shard::Cells { first, end } = *shard else { return Ok(None) };
    let bases = shard.cells().map(|cell| u64::from(context.grid.interval(cell).bases())).sum();
    let answered = summary.answers.total();
    if answered != bases || pieces.len() as u64 != u64::from(end.0 - first.0) {
        let (sample, shard) = (context.sample(sample).name.clone(), shard.to_string());
        return Err(Imbalance::Bases { sample, shard, bases, answered }.into());
    }
    let (cells, region) = ((first.0, end.0), region_text(context, *shard));
    Ok(Some(ShardAnswers { cells, region, bases, answers: summary.answers }))
}

fn region_text(context: &Access<'_>, shard: Shard) -> String {
    let contigs = context.index.contigs();
    let mut cells = shard.cells();
    let Some(first) = cells.next() else { return shard.to_string() };
    let last = cells.next_back().unwrap_or(first);
    let (first, last) = (context.grid.interval(first), context.grid.interval(last));
    if first.contig == last.contig {
        contigs.display(Interval { end: last.end, ..first })
    } else {
        format!("{} to {}", contigs.display(first), contigs.display(last))
    }
}
