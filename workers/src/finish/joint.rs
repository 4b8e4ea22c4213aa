//! One part of the joint calls' file: the cells of a run, at their place in it, and what the joint tasks counted over them,
//! added up.
//!
//! Invariant: what is written, and where, is a function of what the joint tasks before and within the part committed, and of
//! whose calls they are, as of a sample's part.

use super::whole::{Before, Extent, close_part, open_part, paths};
use super::{FinishError, form, read_block};
use crate::access::{Access, Content};
use crate::hold::Hold;
use crate::joint::JointSummary;
use crate::kinship::Comparison;
use crate::region::block;
use crate::vcf::{self, Kind, PartialIndex, header_text};
use jobs::task::{Shard, Task};
use std::path::Path;
use storage::{PieceRef, PlacedFile};

impl Extent {
    /// Goes on over what a joint task made.
    pub fn add_joint(&mut self, shard: &JointSummary) {
        self.call_bytes += shard.bytes;
    }
}

/// A committed joint task.
#[derive(Clone, Debug)]
pub struct JointInput {
    /// The shard.
    pub shard: Shard,
    /// One piece per cell, and one of the shard.
    pub pieces: Vec<PieceRef>,
    /// What it said of itself.
    pub summary: JointSummary,
}

/// One shard of the joint calls in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct JointShard {
    /// Cells, as `first-end`.
    pub cells: String,
    /// Its sites.
    pub sites: u64,
    /// Those without a filter.
    pub sites_passed: u64,
}

/// What a task that wrote a part of the joint calls says of it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct JointWriteSummary {
    /// The cells up to its end.
    pub end: Extent,
    /// Its shards.
    pub shards: Vec<JointShard>,
}

/// Writes a part of the joint calls in `results` and stores what it learnt on the way as a piece. `shards` are those of its own
/// cells, in genome order.
pub fn write_joint(
    context: &Access<'_>,
    part: u32,
    (before, shards): (&Before, &[JointInput]),
    results: &Path,
    hold: &dyn Hold,
    content: &mut Content,
) -> Result<(PieceRef, JointWriteSummary), FinishError> {
    let mut writer = JointWriter::begin(context, part, before, results, hold.is_kept())?;
    for shard in shards {
        hold.check()?;
        writer.add(shard)?;
    }
    writer.finish(Task::WriteJoint(part), content)
}

/// Refuses a joint task of `samples` that says of itself what its records do not hold: the parts behind it would be written
/// to wrong places. And one of which nobody could write the part.
pub fn check_joint(context: &Access<'_>, samples: &[u32], joint: &JointInput) -> Result<(), FinishError> {
    let wrong = || form(context, Task::Joint(joint.shard));
    let (of_cells, of_shard) = cells_of(context, joint)?;
    let (mut bytes, mut sites) = (0, 0);
    for (cell, piece) in joint.shard.parts().zip(of_cells) {
        let record = context.read(Task::Joint(cell), piece)?;
        let calls = record.entries().iter().position(|entry| entry.kind == block::GVCF).ok_or_else(wrong)?;
        bytes += record.raw_bytes(calls) as u64;
        sites += u64::from(record.entries()[calls].count);
    }
    let JointSummary { sites_passed, .. } = joint.summary;
    let reader = context.read(Task::Joint(joint.shard), of_shard)?;
    let mut index = Vec::new();
    read_block(&reader, block::CALL_INDEX, &mut index, wrong)?;
    let index = PartialIndex::from_bytes(context.index.contigs(), &index);
    let mut cells = joint.shard.cells().map(|cell| context.grid.interval(cell));
    let first = cells.next().ok_or_else(wrong)?;
    let within = (first, cells.next_back().unwrap_or(first));
    let holds = (bytes, sites) == (joint.summary.bytes, joint.summary.sites)
        && sites_passed <= sites
        && index.is_some_and(|index| index.is_of(within, bytes))
        && Comparison::new(context, samples).merge(&reader)?;
    if holds { Ok(()) } else { Err(wrong()) }
}

/// The pieces of a joint task's cells, and that of its shard.
fn cells_of<'a>(
    context: &Access<'_>,
    JointInput { shard, pieces, .. }: &'a JointInput,
) -> Result<(&'a [PieceRef], &'a PieceRef), FinishError> {
    let whole = pieces.split_last().filter(|(_, of_cells)| shard.cells().count() == of_cells.len());
    whole.map(|(of_shard, of_cells)| (of_cells, of_shard)).ok_or_else(|| form(context, Task::Joint(*shard)))
}

struct JointWriter<'a> {
    context: &'a Access<'a>,
    calls: PlacedFile,
    comparison: Comparison,
    index: PartialIndex<'a>,
    summary: JointWriteSummary,
    bytes: Vec<u8>,
}

impl<'a> JointWriter<'a> {
    fn begin(
        context: &'a Access<'a>,
        part: u32,
        before: &Before,
        results: &Path,
        kept: bool,
    ) -> Result<Self, FinishError> {
        let contigs = context.index.contigs();
        let comparison = Comparison::new(context, &before.samples);
        let name = |&sample: &u32| context.sample(sample).name.as_str();
        let names: Vec<&str> = comparison.columns().iter().map(name).collect();
        let header = header_text(Kind::Joint, contigs, &names, &context.settings.joint_parameters);
        let header = vcf::compress_cell(header.as_bytes());
        let place = (part, before.extent.call_bytes);
        Ok(JointWriter {
            context,
            calls: open_part(&paths(context, None, results)[0], &header, place, kept)?,
            comparison,
            index: PartialIndex::new(contigs),
            summary: JointWriteSummary { end: before.extent, shards: Vec::new() },
            bytes: Vec::new(),
        })
    }

    fn add(&mut self, joint: &JointInput) -> Result<(), FinishError> {
        let (context, task, begin) = (self.context, Task::Joint(joint.shard), self.calls.end());
        let damaged = || form(context, task);
        let (of_cells, of_shard) = cells_of(context, joint)?;
        for (cell, piece) in joint.shard.parts().zip(of_cells) {
            let reader = context.read(Task::Joint(cell), piece)?;
            read_block(&reader, block::GVCF, &mut self.bytes, damaged)?;
            self.calls.write(&self.bytes)?;
        }
        let reader = context.read(task, of_shard)?;
        read_block(&reader, block::CALL_INDEX, &mut self.bytes, damaged)?;
        let index = PartialIndex::from_bytes(context.index.contigs(), &self.bytes).ok_or_else(damaged)?;
        self.index.append(&index, begin).ok_or_else(damaged)?;
        // It is all there, of the same samples, and as long as others were told.
        if !self.comparison.merge(&reader)? || self.calls.end() - begin != joint.summary.bytes {
            return Err(damaged());
        }
        self.summary.end.add_joint(&joint.summary);
        let JointSummary { sites, sites_passed, .. } = joint.summary;
        self.summary.shards.push(JointShard { cells: joint.shard.to_string(), sites, sites_passed });
        Ok(())
    }

    fn finish(self, task: Task, content: &mut Content) -> Result<(PieceRef, JointWriteSummary), FinishError> {
        let mut record = self.context.record(task)?;
        self.comparison.finish(|entry, counts| record.block(entry, counts))?;
        close_part(&mut record, vec![self.calls], &self.index)?;
        Ok((self.context.append(record, content)?, self.summary))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Context;
    use crate::hold::Free;
    use jobs::genome::Cell;

    #[test]
    fn a_record_without_its_block_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let context = Context::of_tests(scratch.path());
        let access = Access::of_caller(&context);
        let shard = Shard::of_cell(Cell(0));
        let record = access.record(Task::Joint(shard)).unwrap();
        let piece = access.append(record, &mut Content::default()).unwrap();
        let check = |pieces: usize| {
            let summary = JointSummary::default();
            let joint = JointInput { shard, pieces: vec![piece.clone(); pieces], summary };
            let before = Before { samples: vec![0], ..Before::default() };
            let inputs = (&before, std::slice::from_ref(&joint));
            let written =
                write_joint(&access, 0, inputs, scratch.path(), &Free, &mut Content::default()).map(drop);
            for refused in [written, check_joint(&access, &[0], &joint)] {
                let refused = refused.unwrap_err();
                assert!(matches!(&refused, FinishError::Form { task } if task == "joint/0-1"), "{refused}");
            }
        };
        (0..4).for_each(check);
    }
}
