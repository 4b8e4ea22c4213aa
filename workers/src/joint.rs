//! Joint tasks: the genotypes of all samples of the joint call, over one shard.
//!
//! A cell is joined from the samples' cells and the sites of the cells before it that reach over the line. What the whole
//! cohort's file and report need to know of a shard is counted here, too, where its sites are at hand.

use crate::access::{Access, Content};
use crate::cells::{CellsError, FinishedCells};
use crate::hold::{Cancelled, Hold};
use crate::kinship::Comparison;
use crate::qc::contig_class::ContigClass;
use crate::region::block;
use crate::vcf::{self, PartialIndex, PieceError};
use jobs::failure::{Class, Classified};
use jobs::genome::{Cell, Interval};
use jobs::task::{Shard, Task};
use kernels::joint::{JointSite, Sample, joint_cell, reaching};
use kernels::variant::{CellCalls, SiteCall};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use storage::{BlockEntry, PackError, PieceRef};

/// A joint task failed.
#[derive(Debug, thiserror::Error)]
pub enum JointTaskError {
    /// The scratch.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// A finished sample's calls.
    #[error(transparent)]
    Finished(#[from] CellsError),
    /// Nobody needs it any more.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
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
    /// The sites are in no order that an index knows.
    #[error("{region}: the joint sites are not in order")]
    Unsorted {
        /// The place.
        region: String,
    },
}

impl Classified for JointTaskError {
    fn class(&self) -> Class {
        match self {
            JointTaskError::Pack(error) => error.class(),
            JointTaskError::Finished(error) => error.class(),
            JointTaskError::Cancelled(error) => error.class(),
            JointTaskError::Piece { .. } | JointTaskError::Block { .. } => Class::Integrity,
            JointTaskError::Disagreement { .. } | JointTaskError::Unsorted { .. } => Class::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            JointTaskError::Pack(error) => error.hint(),
            JointTaskError::Finished(error) => error.hint(),
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
    /// Bytes of its calls.
    pub bytes: u64,
}

/// Joins one shard, as far as `hold` lets it. `inputs` are region tasks that cover, for each sample whose calls are read, the
/// shard and the cell before it, each with one piece per cell; or the sample's finish task, whose gVCF lies in `results`.
/// One piece per cell is written and counts in `content`, and behind them one of the shard: its part of the index, whose
/// places are told from the shard's first byte, and the genotypes compared.
pub fn run(
    context: &Access<'_>,
    shard: Shard,
    inputs: &[(Task, Vec<PieceRef>)],
    results: &Path,
    hold: &dyn Hold,
    content: &mut Content,
) -> Result<(Vec<PieceRef>, JointSummary), JointTaskError> {
    let Shard::Cells { first, end } = shard else { return Ok(Default::default()) };
    let look_back = Cell(first.0.saturating_sub(1));
    let sources = sources(context, inputs, (look_back, end), results)?;
    let mut join = Join::new(context, &sources);
    let mut before: Vec<Before> = vec![Before::default(); join.columns.len()];
    let mut pieces = Vec::new();
    // The cell before the shard is read for what reaches into it only.
    for cell in (look_back.0..end.0).map(Cell) {
        if cell >= first && !hold.reach(cell.0) {
            break;
        }
        let place = context.grid.interval(cell);
        before.iter_mut().for_each(|before| before.advance(place.contig, place.start));
        let calls = join.read(&join.columns, cell)?;
        if cell >= first {
            let sites = join.sites(place, &calls, &before)?;
            join.compare(cell, &sites)?;
            pieces.push(join.write(cell, &sites, content)?);
        }
        for (before, calls) in before.iter_mut().zip(calls) {
            before.contig = place.contig;
            before.calls = calls;
        }
    }
    hold.check()?;
    let summary = join.summary.clone();
    if !pieces.is_empty() {
        let end = Cell(first.0 + pieces.len() as u32);
        pieces.push(join.close(Shard::Cells { first, end }, content)?);
    }
    Ok((pieces, summary))
}

/// A shard as it is joined, cell by cell.
struct Join<'a> {
    context: &'a Access<'a>,
    sources: &'a BTreeMap<u32, Source<'a>>,
    classes: Vec<ContigClass>,
    /// The samples of the joint call.
    columns: Vec<u32>,
    comparison: Comparison,
    index: PartialIndex<'a>,
    summary: JointSummary,
}

impl<'a> Join<'a> {
    fn new(context: &'a Access<'a>, sources: &'a BTreeMap<u32, Source<'a>>) -> Self {
        let comparison = Comparison::new(context, &sources.keys().copied().collect::<Vec<_>>());
        let contigs = context.index.contigs();
        Join {
            context,
            sources,
            classes: ContigClass::of_all(contigs),
            columns: comparison.columns().to_vec(),
            comparison,
            index: PartialIndex::new(contigs),
            summary: JointSummary::default(),
        }
    }

    fn read(&self, samples: &[u32], cell: Cell) -> Result<Vec<CellCalls>, JointTaskError> {
        samples.iter().map(|sample| read_cell(self.context, *sample, cell, &self.sources[sample])).collect()
    }

    fn sites(
        &mut self,
        place: Interval,
        calls: &[CellCalls],
        before: &[Before],
    ) -> Result<Vec<JointSite>, JointTaskError> {
        let samples = calls.iter().zip(before);
        let views: Vec<Sample<'_>> =
            samples.map(|(calls, before)| Sample { calls, upstream: &before.upstream }).collect();
        let region = || self.context.index.contigs().display(place);
        let sites = joint_cell(place.start..place.end, &views, &self.context.settings.joint)
            .map_err(|_| JointTaskError::Disagreement { region: region() })?;
        self.summary.sites += sites.len() as u64;
        self.summary.sites_passed += sites.iter().filter(|site| site.filters.is_empty()).count() as u64;
        Ok(sites)
    }

    /// Adds the cell to what is known of who is related to whom: autosomes only, which both parents pass on alike.
    fn compare(&mut self, cell: Cell, sites: &[JointSite]) -> Result<(), JointTaskError> {
        let contig = self.context.grid.interval(cell).contig;
        if self.classes[contig as usize] == ContigClass::Autosome && !sites.is_empty() {
            let calls = self.read(self.comparison.witnesses(), cell)?;
            self.comparison.add_cell(sites, &calls);
        }
        Ok(())
    }

    fn write(
        &mut self,
        cell: Cell,
        sites: &[JointSite],
        content: &mut Content,
    ) -> Result<PieceRef, JointTaskError> {
        let contigs = self.context.index.contigs();
        let place = self.context.grid.interval(cell);
        let mut text = Vec::new();
        vcf::write_joint(contigs, place.contig, sites, &mut text);
        let blocks = vcf::compress_cell(&text);
        let unsorted = || JointTaskError::Unsorted { region: contigs.display(place) };
        self.index.add_cell(&text, &blocks, self.summary.bytes).ok_or_else(unsorted)?;
        self.summary.bytes += blocks.len() as u64;
        let at = u64::from(cell.0);
        let entry = BlockEntry { kind: block::GVCF, first: at, last: at, count: sites.len() as u32 };
        let mut record = self.context.record(Task::Joint(Shard::of_cell(cell)))?;
        record.block(entry, &blocks)?;
        Ok(self.context.append(record, content)?)
    }

    /// What is known of all cells together.
    fn close(self, shard: Shard, content: &mut Content) -> Result<PieceRef, JointTaskError> {
        let mut record = self.context.record(Task::Joint(shard))?;
        let entry = BlockEntry { kind: block::CALL_INDEX, first: 0, last: self.summary.bytes, count: 0 };
        record.block(entry, &self.index.to_bytes())?;
        self.comparison.finish(|entry, counts| record.block(entry, counts))?;
        Ok(self.context.append(record, content)?)
    }
}

/// Where one sample's cells are read from.
#[derive(Default)]
struct Source<'a> {
    pieces: HashMap<Cell, &'a PieceRef>,
    finished: Option<FinishedCells>,
}

/// The samples whose calls are read, in order.
fn sources<'a>(
    context: &Access<'_>,
    inputs: &'a [(Task, Vec<PieceRef>)],
    cells: (Cell, Cell),
    results: &Path,
) -> Result<BTreeMap<u32, Source<'a>>, JointTaskError> {
    let mut sources: BTreeMap<u32, Source<'_>> = BTreeMap::new();
    for (task, pieces) in inputs {
        match *task {
            Task::Region(sample, shard) => {
                sources.entry(sample).or_default().pieces.extend(shard.cells().zip(pieces));
            }
            Task::FinishSample(sample) => {
                let piece = pieces.first().ok_or_else(|| damaged(context, sample, cells.0))?;
                let finished = FinishedCells::open(context, sample, piece, cells, results)?;
                sources.entry(sample).or_default().finished = Some(finished);
            }
            _ => {}
        }
    }
    Ok(sources)
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
    source: &Source<'_>,
) -> Result<CellCalls, JointTaskError> {
    let damaged = || damaged(context, sample, cell);
    let mut bytes = Vec::new();
    match (source.pieces.get(&cell), &source.finished) {
        (Some(piece), _) => {
            let reader = context.read(Task::Region(sample, Shard::of_cell(cell)), piece)?;
            let mut kinds = reader.entries().iter().map(|entry| entry.kind);
            let at = kinds.position(|kind| kind == block::GVCF).ok_or_else(damaged)?;
            reader.read_block(at, &mut bytes)?;
        }
        (None, Some(finished)) => finished.read(cell, &mut bytes)?,
        (None, None) => return Err(damaged()),
    }
    let text = vcf::decompress_cell(&bytes).map_err(|_| damaged())?;
    let place = context.grid.interval(cell);
    vcf::parse_cell(&text, context.index.contigs(), place).map_err(|source| JointTaskError::Piece {
        sample: context.sample(sample).name.clone(),
        cell: cell.0,
        source,
    })
}

fn damaged(context: &Access<'_>, sample: u32, cell: Cell) -> JointTaskError {
    JointTaskError::Block { sample: context.sample(sample).name.clone(), cell: cell.0 }
}
