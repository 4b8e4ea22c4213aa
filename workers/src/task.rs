//! Runs any task of a job: opens what its inputs committed, calls the room that does the work, and says what to commit.

use crate::access::{Access, Content};
use crate::finish::{self, Before, JointInput, PartInput, RegionInput, SampleLedger};
use crate::hold::Hold;
use crate::intake::{ChunkStart, IntakeEnd, IntakeError, IntakeReport, Taken, intake};
use crate::joint;
use crate::map::{self, ChunkSource, MapSummary, StoredChunk};
use crate::pairs;
use crate::region::{self, RegionSummary};
use jobs::failure::{Class, Classified, Failure};
use jobs::task::{Chunk, INTAKE_CHUNKS, LaneId, Shard, Task};
use kernels::insert::InsertModel;
use std::path::Path;
use std::sync::Arc;
use storage::{BlockEntry, Commit, PieceRef};

/// What a task gives back to whoever runs it.
#[derive(Clone, Debug, Default)]
pub struct TaskOutput {
    /// Pieces, read back and stored.
    pub pieces: Vec<PieceRef>,
    /// Its summary, as JSON.
    pub summary: Vec<u8>,
    /// Digest of its plaintext, equal for equal work.
    pub content: [u8; 32],
}

impl TaskOutput {
    /// Stores what was appended for it.
    fn settle<T: serde::Serialize>(
        context: &Access<'_>,
        (pieces, content): (Vec<PieceRef>, Content),
        summary: &T,
    ) -> Result<Self, Failure> {
        let summary = to_json(summary);
        Ok(TaskOutput { pieces, content: context.settle(content, &summary)?, summary })
    }
}

/// A committed input is not what its stage writes.
#[derive(Debug, thiserror::Error)]
#[error("the committed output of {task} is not in the form this version writes")]
pub struct FormError {
    task: String,
}

impl FormError {
    /// Of the task with this key.
    pub fn of(task: String) -> Self {
        FormError { task }
    }
}

impl Classified for FormError {
    fn class(&self) -> Class {
        Class::Integrity
    }
}

/// What a part of an intake commits.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct IntakeSummary {
    /// Its chunks.
    pub chunks: u32,
    /// Its pairs, or reads of a single-end lane.
    pub pairs: u64,
    /// Its reads.
    pub reads: u64,
    /// Their bases.
    pub bases: u64,
    /// Of them, of quality 30 or more.
    pub bases_q30: u64,
    /// Whether another part goes on where it ended.
    pub more: bool,
    /// SHA-256 of the lane's files, in hexadecimal; of the last part.
    pub sha256: Vec<String>,
    /// Bytes of the files as stored that it took.
    pub bytes: u64,
    /// Pairs of each chunk but the lane's last.
    pub chunk_pairs: u64,
}

/// Kinds of block in an intake's record, beside [`pairs::BLOCK`].
mod block_of_intake {
    /// Where a chunk begins; `first` and `last` are ordinals of pairs in the lane, `count` is the chunk's.
    pub const START: u8 = 0;
    /// Where the next part goes on.
    pub const TAKEN: u8 = 2;
    /// What the part saw of its files, which may be copies of those that others see.
    pub const SEEN: u8 = 3;
}

/// What a model task commits.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct ModelSummary {
    words: [u32; 6],
}

/// Committed inputs of a task.
pub type Inputs = [(Task, Arc<Commit>)];

/// Runs every task but the cohort's finish and the sealing, which are the command line's. A map, region or joint
/// task ends where `hold` says, and its output is of the strips or cells before that.
pub fn run(
    context: &Access<'_>,
    task: Task,
    inputs: &Inputs,
    results: &Path,
    hold: &dyn Hold,
) -> Result<TaskOutput, Failure> {
    let mut content = Content::default();
    match task {
        Task::Intake(lane, part) => run_intake(context, (lane, part), inputs, hold),
        Task::Model(lane) => {
            let words = map::learn_model(context, lane)?.to_words();
            TaskOutput::settle(context, (Vec::new(), content), &ModelSummary { words })
        }
        Task::Map(lane, chunk) => run_map(context, lane, chunk, inputs, hold),
        Task::Region(sample, shard) => {
            let runs: Vec<(Task, PieceRef)> = inputs
                .iter()
                .flat_map(|(task, commit)| commit.pieces.iter().map(|p| (*task, p.clone())))
                .collect();
            let (pieces, summary) = region::run(context, (sample, shard), &runs, hold, &mut content)?;
            TaskOutput::settle(context, (pieces, content), &summary)
        }
        Task::Joint(shard) => {
            let regions: Vec<(Task, Vec<PieceRef>)> =
                inputs.iter().map(|(task, commit)| (*task, commit.pieces.clone())).collect();
            let (pieces, summary) = joint::run(context, shard, &regions, results, hold, &mut content)?;
            TaskOutput::settle(context, (pieces, content), &summary)
        }
        Task::WriteSample(sample, part) => run_write(context, (sample, part), inputs, results, hold),
        Task::FinishSample(sample) => run_finish(context, sample, inputs, results, hold),
        Task::WriteJoint(part) => run_write_joint(context, part, inputs, results, hold),
        Task::FinishCohort | Task::SealSample(_) | Task::SealCohort => {
            unreachable!("the cohort's files are finished, and files sealed, by the command line")
        }
    }
}

fn run_intake(
    context: &Access<'_>,
    (lane, part): (LaneId, u32),
    inputs: &Inputs,
    hold: &dyn Hold,
) -> Result<TaskOutput, Failure> {
    let chunk_pairs = context.lane(lane).chunk_pairs;
    let before = part.checked_sub(1).map(|before| taken(context, Task::Intake(lane, before), inputs));
    let before = before.transpose()?;
    let goes_on = |_| context.holds().is_ok() && hold.is_needed();
    let report = intake(context.reads(lane)?, chunk_pairs, before.as_ref(), goes_on);
    if let Err(IntakeError::Stopped { .. }) = report {
        // Says why.
        context.holds()?;
    }
    let report = report?;
    let mut record = context.record(Task::Intake(lane, part))?;
    let begin = before.as_ref().map_or(0, |before| before.pairs);
    let chunks = (part * INTAKE_CHUNKS..).zip((begin..).step_by(chunk_pairs as usize));
    for ((chunk, first), start) in chunks.zip(&report.chunks) {
        let last = (first + chunk_pairs).min(begin + report.pairs);
        let entry = BlockEntry { kind: block_of_intake::START, first, last, count: chunk };
        record.block(entry, &encode_start(start))?;
    }
    if let IntakeEnd::More(taken) = &report.end {
        let (bytes, seen) = taken.to_bytes();
        let entry = |kind| BlockEntry { kind, first: taken.pairs, last: taken.pairs, count: part + 1 };
        record.block(entry(block_of_intake::TAKEN), &bytes)?;
        record.aside(entry(block_of_intake::SEEN), &seen)?;
    }
    let mut content = Content::default();
    let piece = context.append(record, &mut content)?;
    let before_bytes = before.map_or(0, |before| before.compressed_bytes());
    TaskOutput::settle(context, (vec![piece], content), &summarise(&report, before_bytes, chunk_pairs))
}

/// Where a committed part of an intake ended.
fn taken(context: &Access<'_>, task: Task, inputs: &Inputs) -> Result<Taken, Failure> {
    let piece = input(context, inputs, task)?.pieces.first().ok_or_else(|| form(context, task))?;
    let reader = context.read(task, piece)?;
    let block = |kind: u8| {
        let at = reader.entries().iter().position(|entry| entry.kind == kind);
        let mut bytes = Vec::new();
        reader.read_block(at.ok_or_else(|| form(context, task))?, &mut bytes)?;
        Ok::<_, Failure>(bytes)
    };
    let (bytes, seen) = (block(block_of_intake::TAKEN)?, block(block_of_intake::SEEN)?);
    Taken::from_bytes(&bytes, &seen).ok_or_else(|| form(context, task))
}

fn summarise(report: &IntakeReport, before_bytes: u64, chunk_pairs: u64) -> IntakeSummary {
    let hex = |digest: &[u8; 32]| digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let reads = [&report.first, &report.second];
    let (end_bytes, sha256) = match &report.end {
        IntakeEnd::More(taken) => (taken.compressed_bytes(), Vec::new()),
        IntakeEnd::Lane(files) => {
            (files.iter().map(|file| file.bytes).sum(), files.iter().map(|file| hex(&file.sha256)).collect())
        }
    };
    IntakeSummary {
        chunks: report.chunks.len() as u32,
        pairs: report.pairs,
        reads: reads.iter().map(|reads| reads.reads).sum(),
        bases: reads.iter().map(|reads| reads.bases).sum(),
        bases_q30: reads.iter().map(|reads| reads.bases_at_least(30)).sum(),
        more: matches!(report.end, IntakeEnd::More(_)),
        sha256,
        bytes: end_bytes.saturating_sub(before_bytes),
        chunk_pairs,
    }
}

/// Digest, length of the first point (u32, little endian), the first point, the second point if there is one.
fn encode_start(start: &ChunkStart) -> Vec<u8> {
    let mut bytes = start.digest.to_vec();
    bytes.extend_from_slice(&(start.point_1.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&start.point_1);
    bytes.extend_from_slice(start.point_2.as_deref().unwrap_or_default());
    bytes
}

fn decode_start(bytes: &[u8]) -> Option<ChunkStart> {
    let (digest, rest) = bytes.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (point_1, point_2) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let point_2 = (!point_2.is_empty()).then(|| point_2.to_vec());
    Some(ChunkStart { point_1: point_1.to_vec(), point_2, digest: *digest })
}

fn run_map(
    context: &Access<'_>,
    lane: LaneId,
    chunk: Chunk,
    inputs: &Inputs,
    hold: &dyn Hold,
) -> Result<TaskOutput, Failure> {
    let model: ModelSummary =
        summary(context, Task::Model(lane), input(context, inputs, Task::Model(lane))?)?;
    let model = InsertModel::from_words(model.words).ok_or_else(|| form(context, Task::Model(lane)))?;
    let start = stored_chunk(context, lane, chunk, inputs)?;
    let mut content = Content::default();
    let (piece, summary) = map::map_chunk(context, (lane, chunk), &start, &model, hold, &mut content)?;
    TaskOutput::settle(context, (vec![piece], content), &summary)
}

/// Where a chunk's pairs come from, by what its intake committed; or by what was sent in its place.
pub(crate) fn stored_chunk(
    context: &Access<'_>,
    lane: LaneId,
    chunk: Chunk,
    inputs: &Inputs,
) -> Result<StoredChunk, Failure> {
    let task = Task::Intake(lane, chunk.intake());
    let piece = input(context, inputs, task)?.pieces.first().ok_or_else(|| form(context, task))?;
    let reader = context.read(task, piece)?;
    if reader.entries().first().is_some_and(|entry| entry.kind == pairs::BLOCK) {
        let (first, last) = (reader.entries()[0], reader.entries()[reader.entries().len() - 1]);
        let (source, first_pair) = (ChunkSource::Carried(reader), first.first);
        return Ok(StoredChunk { source, first_pair, pairs: last.last.saturating_sub(first_pair) });
    }
    let is_start = |entry: &BlockEntry| entry.kind == block_of_intake::START && entry.count == chunk.index;
    let at = reader.entries().iter().position(is_start).ok_or_else(|| form(context, task))?;
    let entry = reader.entries()[at];
    let mut bytes = Vec::new();
    reader.read_block(at, &mut bytes)?;
    let start = decode_start(&bytes).ok_or_else(|| form(context, task))?;
    let source = ChunkSource::Files(start);
    Ok(StoredChunk { source, first_pair: entry.first, pairs: entry.last - entry.first })
}

/// One part of a sample's files. What is before it stands before the regions of its own cells, under its own name.
fn run_write(
    context: &Access<'_>,
    (sample, part): (u32, u32),
    inputs: &Inputs,
    results: &Path,
    hold: &dyn Hold,
) -> Result<TaskOutput, Failure> {
    let before = before(context, Task::WriteSample(sample, part), inputs)?;
    let mut regions = Vec::new();
    for (task, commit) in inputs {
        if let Task::Region(_, shard) = *task {
            regions.push(region_input(context, *task, shard, commit)?);
        }
    }
    let mut content = Content::default();
    let written = (&before, &regions[..]);
    let (piece, summary) =
        finish::write_sample(context, (sample, part), written, results, hold, &mut content)?;
    TaskOutput::settle(context, (vec![piece], content), &summary)
}

/// One part of the joint calls, likewise.
fn run_write_joint(
    context: &Access<'_>,
    part: u32,
    inputs: &Inputs,
    results: &Path,
    hold: &dyn Hold,
) -> Result<TaskOutput, Failure> {
    let before = before(context, Task::WriteJoint(part), inputs)?;
    let mut shards = Vec::new();
    for (task, commit) in inputs {
        if let Task::Joint(shard) = *task {
            let (pieces, summary) = (commit.pieces.clone(), summary(context, *task, commit)?);
            shards.push(JointInput { shard, pieces, summary });
        }
    }
    let mut content = Content::default();
    let (piece, summary) =
        finish::write_joint(context, part, (&before, &shards), results, hold, &mut content)?;
    TaskOutput::settle(context, (vec![piece], content), &summary)
}

/// What a task that writes a part is told of what is before it.
fn before(context: &Access<'_>, task: Task, inputs: &Inputs) -> Result<Before, Failure> {
    summary(context, task, input(context, inputs, task)?)
}

fn run_finish(
    context: &Access<'_>,
    sample: u32,
    inputs: &Inputs,
    results: &Path,
    hold: &dyn Hold,
) -> Result<TaskOutput, Failure> {
    let mut reads_in = 0;
    let mut parts = Vec::new();
    for (task, commit) in inputs {
        match *task {
            Task::Intake(..) => reads_in += summary::<IntakeSummary>(context, *task, commit)?.reads,
            Task::WriteSample(_, part) => {
                let piece = commit.pieces.first().ok_or_else(|| form(context, *task))?.clone();
                parts.push(PartInput { part, piece, summary: summary(context, *task, commit)? });
            }
            _ => {}
        }
    }
    let unplaced = Task::Region(sample, Shard::Unplaced);
    let unplaced = region_input(context, unplaced, Shard::Unplaced, input(context, inputs, unplaced)?)?;
    let mut content = Content::default();
    let all = (reads_in, &parts[..], &unplaced);
    let (piece, ledger) = finish::finish_sample(context, sample, all, results, hold, &mut content)?;
    context.release_sample(sample);
    TaskOutput::settle(context, (vec![piece], content), &ledger)
}

fn region_input(
    context: &Access<'_>,
    task: Task,
    shard: Shard,
    commit: &Commit,
) -> Result<RegionInput, Failure> {
    let summary: RegionSummary = summary(context, task, commit)?;
    Ok(RegionInput { shard, pieces: commit.pieces.clone(), summary })
}

/// Refuses the output of a worker that is not believed where the summary of a region or joint task, which reads these
/// samples, does not say what its records hold, or where no file could be made of them.
pub fn check_summary(
    context: &Access<'_>,
    (task, samples): (Task, &[u32]),
    (pieces, summary): (&[PieceRef], &[u8]),
) -> Result<(), Failure> {
    let (pieces, wrong) = (pieces.to_vec(), |_| form(context, task));
    match task {
        Task::Region(sample, shard) => {
            let summary = serde_json::from_slice(summary).map_err(wrong)?;
            Ok(finish::check_region(context, sample, &RegionInput { shard, pieces, summary })?)
        }
        Task::Joint(shard) => {
            let summary = serde_json::from_slice(summary).map_err(wrong)?;
            Ok(finish::check_joint(context, samples, &JointInput { shard, pieces, summary })?)
        }
        _ => Ok(()),
    }
}

/// What a committed part of an intake says of its lane.
pub fn intake_summary(commit: &Commit) -> Option<IntakeSummary> {
    serde_json::from_slice(&commit.summary).ok()
}

/// What a committed map says of its chunk.
pub fn map_summary(commit: &Commit) -> Option<MapSummary> {
    serde_json::from_slice(&commit.summary).ok()
}

/// To which task each piece of a task's output is sealed, in order: what can be cut is sealed cell by cell, and what is
/// said of all cells to the task itself.
pub fn sealed_to(task: Task) -> Vec<Task> {
    match task {
        Task::Region(sample, shard) => shard.parts().map(|part| Task::Region(sample, part)).collect(),
        Task::Joint(shard) => shard.parts().map(Task::Joint).chain([task]).collect(),
        task => vec![task],
    }
}

/// The ledger that a sample's finish task committed.
pub fn sample_ledger(context: &Access<'_>, sample: u32, commit: &Commit) -> Result<SampleLedger, Failure> {
    summary(context, Task::FinishSample(sample), commit)
}

/// A committed summary.
pub fn summary<T: serde::de::DeserializeOwned>(
    context: &Access<'_>,
    task: Task,
    commit: &Commit,
) -> Result<T, Failure> {
    serde_json::from_slice(&commit.summary).map_err(|_| form(context, task))
}

fn to_json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data always prints")
}

fn form(context: &Access<'_>, task: Task) -> Failure {
    FormError { task: task.key(context.names()) }.into()
}

pub(crate) fn input<'a>(
    context: &Access<'_>,
    inputs: &'a Inputs,
    wanted: Task,
) -> Result<&'a Commit, Failure> {
    let found = inputs.iter().find(|(task, _)| *task == wanted);
    found.map(|(_, commit)| &**commit).ok_or_else(|| form(context, wanted))
}
