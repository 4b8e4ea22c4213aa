//! Map tasks: one chunk of a lane's read pairs, aligned and bucketed in the order of the genome.

use crate::context::Context;
use crate::intake::{ChunkReader, IntakeError, IntakePiece};
use crate::runs::{RunBuilder, RunError};
use crate::template::{LaneContext, Read, TemplateWriter};
use jobs::failure::{Class, Classified};
use jobs::task::{LaneId, Task};
use kernels::align::{Aligner, ReadMapping, Workspace};
use kernels::insert::{self, InsertModel};
use storage::{PackError, PieceRef};

/// Pairs of the first look at a lane's insert sizes; doubled until the model is confident.
const MODEL_PAIRS_MIN: u64 = 1 << 16;

/// Confident pairs after which a model stands.
const MODEL_CONFIDENT_PAIRS: usize = 2000;

/// A map or model task failed.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The reads.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// The scratch.
    #[error(transparent)]
    Run(#[from] RunError),
    /// An input of the task is not what its stage writes.
    #[error("the committed output of {task} is not in the form this version writes")]
    Form {
        /// Key of the task that wrote it.
        task: String,
    },
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
            MapError::Form { .. } => Class::Integrity,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            MapError::Intake(error) => error.hint(),
            MapError::Run(error) => error.hint(),
            MapError::Form { .. } => None,
        }
    }
}

/// Learns a lane's insert-size model from a prefix of its pairs: 2^16, doubling until enough of them are confident or
/// the lane ends. Single reads have the default model.
pub fn learn_model(context: &Context, lane: LaneId) -> Result<InsertModel, MapError> {
    let input = &context.lane(lane).input;
    if input.fastq_2.is_none() {
        return Ok(InsertModel::default());
    }
    let aligner = aligner(context);
    let mut workspace = Workspace::default();
    let mut observations = Vec::new();
    let mut reader = ChunkReader::prefix(input)?;
    let mut wanted = MODEL_PAIRS_MIN;
    let mut seen = 0;
    while let Some(batch) = reader.next_batch()? {
        for pair in batch.pairs() {
            if seen == wanted {
                if observations.len() >= MODEL_CONFIDENT_PAIRS {
                    return Ok(insert::estimate(&observations));
                }
                wanted *= 2;
            }
            observations.extend(aligner.observe(&mut workspace, pair.reads[0].sequence, pair.reads[1].sequence));
            seen += 1;
        }
    }
    Ok(insert::estimate(&observations))
}

fn aligner(context: &Context) -> Aligner<'_> {
    Aligner::new(context.index.reference(), context.index.index(), context.settings.align.clone())
}

/// Aligns one chunk and writes its run; returns the piece and the number of templates.
pub fn map_chunk(
    context: &Context,
    lane: LaneId,
    chunk: u32,
    intake: &PieceRef,
    model: &InsertModel,
) -> Result<(PieceRef, u64), MapError> {
    let task = Task::Map(lane, chunk);
    let points = context.read(Task::Intake(lane), intake)?;
    let points = IntakePiece::read(&points, chunk).map_err(|_| MapError::Form {
        task: Task::Intake(lane).key(context.names()),
    })?;
    let spec = context.lane(lane);
    let mut reader = ChunkReader::open(&spec.input, &points)?;
    let reference = context.index.reference();
    let lane_context = LaneContext {
        contigs: context.index.contigs(),
        reference: &reference,
        lane: lane.lane,
        library: spec.library,
        read_group: spec.read_group.as_bytes(),
    };
    let aligner = aligner(context);
    let mut workspace = Workspace::default();
    let mut writer = TemplateWriter::default();
    let mut run = RunBuilder::default();
    let mut templates = 0;
    while let Some(batch) = reader.next_batch()? {
        for template in batch.templates() {
            let mapped = align(&aligner, &mut workspace, template.reads(), model);
            writer.write(
                &lane_context,
                template.ordinal,
                template.name,
                template.reads(),
                &mapped.0,
                mapped.1,
                &mut |entry| run.push(&entry),
            );
            templates += 1;
        }
    }
    let mut record = context.record(task);
    run.finish(&mut record)?;
    Ok((context.append(task, record)?, templates))
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
        reads => {
            (reads.iter().map(|read| aligner.map_single(workspace, read.sequence)).collect(), false)
        }
    }
}
