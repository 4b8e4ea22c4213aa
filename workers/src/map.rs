//! Map tasks: one chunk of a lane's read pairs, aligned and bucketed in the order of the genome.

use crate::access::Access;
use crate::entry::Entry;
use crate::fastq::{PairReader, Pairs};
use crate::intake::{ChunkReader, ChunkStart, IntakeError};
use crate::runs::{RunBuilder, RunError};
use crate::template::{LaneContext, Read, Template, TemplateWriter};
use jobs::failure::{Class, Classified};
use jobs::task::{Chunk, LaneId, Task};
use kernels::align::{Aligner, ReadMapping, Workspace};
use kernels::insert::{self, InsertModel, Observation};
use kernels::reference::Malformed;
use storage::{PackError, PieceRef};

/// Pairs of the first look at a lane's insert sizes; doubled until the model is confident. Three quarters of 2^13 pairs are
/// confident in any usable library, which settles mean and deviation to a base.
const MODEL_PAIRS_MIN: usize = 1 << 13;

/// Confident pairs after which a model stands.
const MODEL_CONFIDENT_PAIRS: usize = 2000;

/// Pairs read at a time.
pub const BATCH_PAIRS: usize = 1024;

/// One chunk of a lane, as its intake stored it.
#[derive(Clone, Debug)]
pub struct StoredChunk {
    /// Where it begins in the files.
    pub start: ChunkStart,
    /// Ordinal of its first pair in the lane.
    pub first_pair: u64,
    /// Its pairs.
    pub pairs: u64,
}

/// A map or model task failed.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The reads.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// The scratch.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Reference and index do not fit together.
    #[error("the index cannot be used: {0}")]
    Index(#[from] Malformed),
}

impl From<PackError> for MapError {
    fn from(error: PackError) -> Self {
        MapError::Run(error.into())
    }
}

impl Classified for MapError {
    fn class(&self) -> Class {
        match self {
            MapError::Intake(error) => error.class(),
            MapError::Run(error) => error.class(),
            MapError::Index(_) => Class::Integrity,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            MapError::Intake(error) => error.hint(),
            MapError::Run(error) => error.hint(),
            MapError::Index(_) => None,
        }
    }
}

/// Learns a lane's insert-size model from a prefix of its pairs: 2^13, doubling until enough of them are confident or
/// the lane ends. Single reads have the default model.
pub fn learn_model(context: &Access<'_>, lane: LaneId) -> Result<InsertModel, MapError> {
    let input = context.reads(lane)?;
    if input.fastq_2.is_none() {
        return Ok(insert::estimate(&[]));
    }
    let mut reader = PairReader::open(&input.fastq_1, input.fastq_2.as_deref()).map_err(IntakeError::from)?;
    learn_from(&aligner(context)?, &mut reader, |_| Ok(context.holds()?))
}

/// Learns from the start of a lane as [`learn_model`] does; every batch read goes to `keep`.
pub fn learn_from(
    aligner: &Aligner<'_>,
    reader: &mut PairReader,
    mut keep: impl FnMut(Pairs) -> Result<(), MapError>,
) -> Result<InsertModel, MapError> {
    let mut observations = Vec::new();
    let mut workspace = Workspace::default();
    let (mut seen, mut wanted) = (0, MODEL_PAIRS_MIN);
    loop {
        let mut pairs = Pairs::default();
        let read = reader.read(BATCH_PAIRS.min(wanted - seen), &mut pairs).map_err(IntakeError::from)?;
        for pair in 0..read {
            let first = aligner.map_single(&mut workspace, pairs.first.sequence(pair)).primary;
            let second = aligner.map_single(&mut workspace, pairs.second.sequence(pair)).primary;
            observations.extend(first.zip(second).and_then(|(a, b)| Observation::between(&a, &b)));
        }
        keep(pairs)?;
        seen += read;
        if read == 0 || (seen == wanted && observations.len() >= MODEL_CONFIDENT_PAIRS) {
            return Ok(insert::estimate(&observations));
        }
        if seen == wanted {
            wanted *= 2;
        }
    }
}

fn aligner<'a>(context: &'a Access<'_>) -> Result<Aligner<'a>, MapError> {
    let (reference, index) = (context.index.reference(), context.index.index());
    Ok(Aligner::new(reference, index, context.settings.scoring)?)
}

/// Aligns one chunk and writes its run; returns the piece and the number of templates. `start` is where the chunk's
/// intake said that it begins.
pub fn map_chunk(
    context: &Access<'_>,
    lane: LaneId,
    chunk: Chunk,
    start: &StoredChunk,
    model: &InsertModel,
) -> Result<(PieceRef, u64), MapError> {
    let task = Task::Map(lane, chunk);
    let spec = context.lane(lane);
    let mut reader = ChunkReader::open(context.reads(lane)?, &start.start, start.first_pair, start.pairs)?;
    let reference = context.index.reference();
    let lane_context = LaneContext {
        contigs: context.index.contigs(),
        reference: &reference,
        lane: lane.lane,
        library: spec.library,
        read_group: spec.read_group.as_bytes(),
    };
    let aligner = aligner(context)?;
    let mut workspace = Workspace::default();
    let mut writer = TemplateWriter::default();
    let mut run = RunBuilder::default();
    let mut pairs = Pairs::default();
    let mut ordinal = start.first_pair;
    loop {
        pairs.clear();
        context.holds()?;
        let read = reader.read(BATCH_PAIRS, &mut pairs)?;
        if read == 0 {
            break;
        }
        for pair in 0..read {
            let reads = reads_of(&pairs, pair);
            let (mappings, proper) = align(&aligner, &mut workspace, &reads, model);
            let name = pairs.first.name(pair);
            let mut emit = |entry: Entry<'_>| run.push(&entry);
            let template = Template { ordinal, name, reads: &reads, mappings: &mappings, proper };
            writer.write(&lane_context, &template, &mut emit);
            ordinal += 1;
        }
    }
    let mut record = context.record(task)?;
    run.finish(&mut record)?;
    Ok((context.append(task, record)?, ordinal - start.first_pair))
}

/// The one or two reads of a template.
pub fn reads_of(pairs: &Pairs, at: usize) -> Vec<Read<'_>> {
    [&pairs.first, &pairs.second]
        .into_iter()
        .filter(|reads| at < reads.len())
        .map(|reads| Read { sequence: reads.sequence(at), qualities: reads.qualities(at) })
        .collect()
}

/// Aligns one template: its mappings, and whether they are a proper pair.
pub fn align(
    aligner: &Aligner<'_>,
    workspace: &mut Workspace,
    reads: &[Read<'_>],
    model: &InsertModel,
) -> (Vec<ReadMapping>, bool) {
    match reads {
        [first, second] => {
            let pair = aligner.map_pair(workspace, first.sequence, second.sequence, model);
            (pair.reads.into(), pair.proper)
        }
        reads => (reads.iter().map(|read| aligner.map_single(workspace, read.sequence)).collect(), false),
    }
}
