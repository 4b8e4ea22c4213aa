//! Joint tasks: the genotypes of all samples of the joint call, over one shard.
//!
//! A cell is joined from the samples' cells and the sites of the cells before it that reach over the line.

use crate::access::Access;
use crate::region::block;
use crate::vcf::{self, PieceError};
use jobs::failure::{Class, Classified};
use jobs::genome::Cell;
use jobs::task::{Shard, Task};
use kernels::joint::{Sample, joint_cell, reaching};
use kernels::variant::{CellCalls, SiteCall};
use std::collections::HashMap;
use storage::{BlockEntry, PackError, PieceRef};

/// A joint task failed.
#[derive(Debug, thiserror::Error)]
pub enum JointTaskError {
    /// The scratch.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// A sample's cell is not gVCF.
    #[error("sample {sample}, cell {cell}: the stored calls cannot be read")]
    Piece {
        /// The sample.
        sample: String,
        /// The cell.
        cell: u32,
        /// Where.
        #[source]
        source: PieceError,
    },
    /// A sample's cell is not BGZF, or is not there.
    #[error("sample {sample}, cell {cell}: the stored calls are damaged")]
    Block {
        /// The sample.
        sample: String,
        /// The cell.
        cell: u32,
    },
    /// Two samples state different reference bases.
    #[error("{region}: samples disagree about the reference")]
    Disagreement {
        /// The place.
        region: String,
    },
}

impl Classified for JointTaskError {
    fn class(&self) -> Class {
        match self {
            JointTaskError::Pack(error) => error.class(),
            JointTaskError::Piece { .. } | JointTaskError::Block { .. } => Class::Integrity,
            JointTaskError::Disagreement { .. } => Class::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            JointTaskError::Pack(error) => error.hint(),
            _ => None,
        }
    }
}

/// What a joint task says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct JointSummary {
    /// Sites of the shard.
    pub sites: u64,
    /// Those without a filter.
    pub sites_passed: u64,
}

/// Joins one shard. `inputs` are the committed region tasks of this shard and the one before it; each has one piece per
/// cell. The piece written holds one block of BGZF per cell.
pub fn run(
    context: &Access<'_>,
    shard: Shard,
    inputs: &[(Task, Vec<PieceRef>)],
) -> Result<(PieceRef, JointSummary), JointTaskError> {
    let task = Task::Joint(shard);
    let mut pieces = HashMap::new();
    for (task, listed) in inputs {
        let Task::Region(sample, shard) = *task else { continue };
        for (cell, piece) in shard.cells().zip(listed) {
            pieces.insert((sample, cell), (*task, piece));
        }
    }
    let samples: Vec<u32> =
        (0..context.samples.len() as u32).filter(|&sample| context.sample(sample).joint).collect();
    let contigs = context.index.contigs();
    let mut summary = JointSummary::default();
    let mut record = context.record(task)?;
    let mut before: Vec<Before> = vec![Before::default(); samples.len()];
    let first = shard.cells().next().map_or(0, |cell| cell.0);
    // The cell before the shard is read for what reaches into it only.
    for cell in (first.saturating_sub(1)..first).map(Cell).chain(shard.cells()) {
        let place = context.grid.interval(cell);
        let mut calls = Vec::with_capacity(samples.len());
        for (&sample, before) in samples.iter().zip(&mut before) {
            before.advance(place.contig, place.start);
            calls.push(read_cell(context, sample, cell, &pieces)?);
        }
        if cell.0 >= first {
            let views: Vec<Sample<'_>> = calls
                .iter()
                .zip(&before)
                .map(|(calls, before)| Sample { calls, upstream: &before.upstream })
                .collect();
            let core = place.start..place.end;
            let sites = joint_cell(core, &views, &context.settings.joint)
                .map_err(|_| JointTaskError::Disagreement { region: contigs.display(place) })?;
            summary.sites += sites.len() as u64;
            summary.sites_passed += sites.iter().filter(|site| site.filters.is_empty()).count() as u64;
            let mut text = Vec::new();
            vcf::write_joint(contigs, place.contig, &sites, &mut text);
            let entry = BlockEntry {
                kind: block::GVCF,
                first: u64::from(cell.0),
                last: u64::from(cell.0),
                count: sites.len() as u32,
            };
            record.block(entry, &vcf::compress_cell(&text))?;
        }
        for (before, calls) in before.iter_mut().zip(calls) {
            before.contig = place.contig;
            before.calls = calls;
        }
    }
    Ok((context.append(task, record)?, summary))
}

/// What one sample says of the cells before the current one.
#[derive(Clone, Default)]
struct Before {
    contig: u32,
    calls: CellCalls,
    upstream: Vec<SiteCall>,
}

impl Before {
    /// Moves to the cell that starts at `start`, keeping only what reaches into it. Deletions are shorter than a cell.
    fn advance(&mut self, contig: u32, start: u32) {
        self.upstream.clear();
        if contig == self.contig && start > 0 {
            self.upstream.extend(reaching(&self.calls, start).cloned());
        }
    }
}

fn read_cell(
    context: &Access<'_>,
    sample: u32,
    cell: Cell,
    pieces: &HashMap<(u32, Cell), (Task, &PieceRef)>,
) -> Result<CellCalls, JointTaskError> {
    let name = || context.sample(sample).name.clone();
    let damaged = || JointTaskError::Block { sample: name(), cell: cell.0 };
    let (task, piece) = pieces.get(&(sample, cell)).ok_or_else(damaged)?;
    let reader = context.read(*task, piece)?;
    let at = reader.entries().iter().position(|entry| entry.kind == block::GVCF).ok_or_else(damaged)?;
    let mut bytes = Vec::new();
    reader.read_block(at, &mut bytes)?;
    let text = vcf::decompress_cell(&bytes).map_err(|_| damaged())?;
    let place = context.grid.interval(cell);
    vcf::parse_cell(&text, context.index.contigs(), place).map_err(|source| JointTaskError::Piece {
        sample: name(),
        cell: cell.0,
        source,
    })
}
