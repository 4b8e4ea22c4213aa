//! The filter `wakachi align`: FASTQ to alignments, without a job.
//!
//! Sorted output maps in one pass over the files into runs in a temporary directory, runs a job's region tasks over
//! them and concatenates what they give, so it has the bytes that a job's CRAM would have. Streaming output keeps the
//! order of the input.

use crate::access::{Access, Content};
use crate::bam;
use crate::context::{AlignmentFormat, ContextError};
use crate::fastq::{CHUNK_RECORDS, FastqError, Files, Pairs};
use crate::header::sam_header;
use crate::hold::Free;
use crate::htslib::{self, CRAM_EOF, ContainerError, SamText, cram_file_header, index_alignments, renumber};
use crate::intake::IntakeError;
use crate::map::{self, Learning, MapError, Mapper};
use crate::qc::SampleCounters;
use crate::region::block;
use crate::runs::RunBuilder;
use crate::sam;
use crate::stream::{Batch, Stream};
use crate::task;
use crate::template::LaneContext;
use crate::vcf::EOF_BLOCK;
use jobs::failure::{Class, Classified, Failure};
use jobs::genome::Cell;
use jobs::task::{Chunk, LaneId, Shard, Task};
use kernels::align::{Aligner, Workspace};
use kernels::insert::InsertModel;
use rayon::prelude::*;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use storage::{AtomicFile, AtomicFileError, Commit, DiskError, PackError};

/// Bases of a region task.
const SHARD_BASES: u64 = 4_000_000;

/// The one lane of the filter.
const LANE: LaneId = LaneId { sample: 0, lane: 0 };

/// The filter failed where no task did.
#[derive(Debug, thiserror::Error)]
pub enum AlignError {
    /// Reads.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// Mapping.
    #[error(transparent)]
    Map(#[from] MapError),
    /// Scratch.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// Scratch.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The output file.
    #[error(transparent)]
    Write(#[from] AtomicFileError),
    /// The output stream.
    #[error("cannot write the output")]
    Stream(#[source] io::Error),
    /// Containers do not concatenate.
    #[error("the alignments cannot be joined")]
    Container(#[from] ContainerError),
    /// What was counted does not read.
    #[error("the stored counters are not in the form this version writes")]
    Counters,
    /// A record just made is none.
    #[error("a record cannot be written as text")]
    Record,
    /// The index.
    #[error(transparent)]
    Index(#[from] htslib::IndexError),
    /// The header, with the read group given, is no SAM header.
    #[error("the read group makes no SAM header")]
    Header,
}

impl From<FastqError> for AlignError {
    fn from(error: FastqError) -> Self {
        AlignError::Intake(error.into())
    }
}

impl Classified for AlignError {
    fn class(&self) -> Class {
        match self {
            AlignError::Intake(error) => error.class(),
            AlignError::Map(error) => error.class(),
            AlignError::Context(error) => error.class(),
            AlignError::Pack(error) => error.class(),
            AlignError::Write(error) => error.class(),
            AlignError::Stream(_) => Class::Failed,
            AlignError::Container(_) | AlignError::Counters | AlignError::Record => Class::Internal,
            AlignError::Index(error) => error.class(),
            AlignError::Header => Class::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            AlignError::Intake(error) => error.hint(),
            AlignError::Map(error) => error.hint(),
            AlignError::Context(error) => error.hint(),
            AlignError::Pack(error) => error.hint(),
            AlignError::Write(error) => error.hint(),
            AlignError::Index(error) => error.hint(),
            AlignError::Header => Some(r"give -R '@RG\tID:1\tSM:sample'".to_owned()),
            AlignError::Stream(_) | AlignError::Container(_) | AlignError::Counters | AlignError::Record => {
                None
            }
        }
    }
}

/// How far the filter is: what it does, how much of how much.
pub type Progress<'a> = &'a (dyn Fn(&str, u64, u64) + Sync);

/// Writes sorted, duplicate-marked alignments of the context's one lane to `output`, with an index for BAM and CRAM, and
/// gives what was counted on the way. Runs on the calling rayon pool.
pub fn sorted(
    context: &Access<'_>,
    output: &Path,
    progress: Progress<'_>,
) -> Result<SampleCounters, Failure> {
    SamText::new(&context.sam_header(0)).ok_or(AlignError::Header)?;
    let runs = runs(context, progress)?;
    let results = output.parent().unwrap_or(Path::new(""));
    let shards = context.grid.shards(SHARD_BASES).into_iter();
    let shards = shards.map(|cells| Shard::Cells { first: Cell(cells.start), end: Cell(cells.end) });
    let shards: Vec<Shard> = shards.chain([Shard::Unplaced]).collect();
    let (count, done) = (shards.len() as u64, AtomicU64::new(0));
    progress("sorting and marking", 0, count);
    let region = |shard: Shard| -> Result<(Task, Arc<Commit>), Failure> {
        let task = Task::Region(0, shard);
        let made = task::run(context, task, &runs, results, &Free)?;
        progress("sorting and marking", done.fetch_add(1, Ordering::Relaxed) + 1, count);
        let commit = Commit { pieces: made.pieces, summary: made.summary, ..Commit::default() };
        Ok((task, Arc::new(commit)))
    };
    let regions = shards.into_par_iter().map(region).collect::<Result<Vec<_>, Failure>>()?;
    context.release_sample(0);
    progress("writing", 0, 1);
    Ok(write_sorted(context, &regions, output)?)
}

/// Maps the lane in one pass over its files, as the tasks of a job would in several, into runs of some
/// [`Lane::chunk_pairs`](crate::context::Lane::chunk_pairs) templates each, whichever they are: merging does not see it.
fn runs(context: &Access<'_>, progress: Progress<'_>) -> Result<Vec<(Task, Arc<Commit>)>, AlignError> {
    let lane = context.lane(LANE);
    let aligner = map::aligner(context)?;
    let files = Files { first: &lane.input.fastq_1, second: lane.input.fastq_2.as_deref() };
    let mut stream = Stream::open(&files)?;
    progress("learning insert sizes", 0, 1);
    let model = learn(&aligner, &files, &mut stream)?;
    let mapper = Mapper { aligner, model, lane: LaneContext::of(context, LANE) };
    let (begun, stored) = (Mutex::new(Vec::<(u64, RunBuilder)>::new()), Mutex::new(Vec::new()));
    let numbers = AtomicU32::new(0);
    let store = |run: RunBuilder| -> Result<(), AlignError> {
        let task = Task::Map(LANE, Chunk::whole(numbers.fetch_add(1, Ordering::Relaxed)));
        let mut record = context.record(task)?;
        run.finish(&mapper.lane.reference, |entry, block| record.block(entry, block))
            .map_err(MapError::from)?;
        let piece = context.append(record, &mut Content::default())?;
        locked(&stored).push((task, Arc::new(Commit { pieces: vec![piece], ..Commit::default() })));
        Ok(())
    };
    let map = |(scratch, pairs): &mut (map::Scratch, Pairs), batch: Batch| {
        batch.parse(&files, pairs)?;
        let all: Vec<usize> = (0..pairs.first.len()).collect();
        let (before, mut run) = locked(&begun).pop().unwrap_or_default();
        mapper.map(scratch, pairs, &all, batch.first(), &mut |entry| run.push(&entry));
        let held = before + all.len() as u64;
        match held < lane.chunk_pairs {
            true => locked(&begun).push((held, run)),
            false => store(run)?,
        }
        Ok::<_, AlignError>(all.len() as u64)
    };
    let mut done = 0;
    let count = |pairs: u64| {
        done += pairs;
        progress("mapping", done, 0);
        Ok(())
    };
    stream.run(u64::MAX, Default::default, map, count)?;
    let begun = begun.into_inner().unwrap_or_else(PoisonError::into_inner);
    begun.into_iter().try_for_each(|(_, run)| store(run))?;
    Ok(stored.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write_sorted(
    context: &Access<'_>,
    regions: &[(Task, Arc<Commit>)],
    output: &Path,
) -> Result<SampleCounters, AlignError> {
    let format = context.settings.alignments;
    let mut counters = SampleCounters::new(context.index.contigs().total_bases());
    let mut file = AtomicFile::create(output)?;
    let mut records = 0;
    let mut bytes = Vec::new();
    let mut put = |bytes: &[u8]| {
        let written = file.write_all(bytes).map_err(DiskError::on("write", output));
        written.map_err(|error| AlignError::Write(error.into()))
    };
    put(&file_header(context, format)?)?;
    for (task, commit) in regions {
        let Task::Region(sample, shard) = *task else { continue };
        for (part, piece) in shard.parts().zip(&commit.pieces) {
            let reader = context.read(Task::Region(sample, part), piece)?;
            for (at, entry) in reader.entries().iter().enumerate() {
                match entry.kind {
                    block::ALIGNMENTS => {
                        reader.read_block(at, &mut bytes)?;
                        if format == AlignmentFormat::Cram {
                            renumber(&mut bytes, records)?;
                        }
                        put(&bytes)?;
                        records += u64::from(entry.count);
                    }
                    block::COUNTERS => {
                        reader.read_block(at, &mut bytes)?;
                        counters.merge(&serde_json::from_slice(&bytes).map_err(|_| AlignError::Counters)?);
                    }
                    _ => {}
                }
            }
        }
    }
    match format {
        AlignmentFormat::Cram => put(&CRAM_EOF)?,
        AlignmentFormat::Bam => put(&EOF_BLOCK)?,
        AlignmentFormat::Sam => {}
    }
    file.commit()?;
    if format != AlignmentFormat::Sam {
        index_alignments(output)?;
    }
    Ok(counters)
}

fn file_header(context: &Access<'_>, format: AlignmentFormat) -> Result<Vec<u8>, AlignError> {
    let text = context.sam_header(0);
    Ok(match format {
        AlignmentFormat::Cram => cram_file_header(&text),
        AlignmentFormat::Bam => {
            bam::header_blocks(&text, context.index.contigs()).map_err(AlignError::Stream)?
        }
        AlignmentFormat::Sam => text.into_bytes(),
    })
}

/// Writes alignments in input order to `output`, as SAM text or BAM, while reading, on all threads of the calling rayon
/// pool. The files may be pipes.
pub fn streamed(
    context: &Access<'_>,
    format: AlignmentFormat,
    output: &mut (dyn Write + Send),
    progress: Progress<'_>,
) -> Result<(), AlignError> {
    let lane = context.lane(LANE);
    let aligner = map::aligner(context)?;
    let header = sam_header(context.index.contigs(), context.sample(0), &context.settings.parameters, false);
    SamText::new(&header).ok_or(AlignError::Header)?;
    let start = match format {
        AlignmentFormat::Sam => header.into_bytes(),
        _ => bam::header_blocks(&header, context.index.contigs()).map_err(AlignError::Stream)?,
    };
    output.write_all(&start).map_err(AlignError::Stream)?;
    let files = Files { first: &lane.input.fastq_1, second: lane.input.fastq_2.as_deref() };
    let mut stream = Stream::open(&files)?;
    let model = learn(&aligner, &files, &mut stream)?;
    let mapper = Mapper { aligner, model, lane: LaneContext::of(context, LANE) };
    let map = |(scratch, pairs): &mut (map::Scratch, Pairs), batch: Batch| {
        batch.parse(&files, pairs)?;
        let all: Vec<usize> = (0..pairs.first.len()).collect();
        let (mut bytes, mut are_whole) = (Vec::new(), true);
        mapper.map(scratch, pairs, &all, 0, &mut |entry| match format {
            AlignmentFormat::Sam => {
                are_whole &= sam::line(mapper.lane.contigs, &entry.record, &mut bytes).is_some();
            }
            _ => bam::push(entry.record.bytes(), &mut bytes),
        });
        let bytes = match format {
            AlignmentFormat::Sam => are_whole.then_some(bytes).ok_or(AlignError::Record)?,
            _ => bam::blocks(&bytes).map_err(AlignError::Stream)?,
        };
        Ok((all.len() as u64, bytes))
    };
    let mut done = 0;
    let write = |(pairs, bytes): (u64, Vec<u8>)| {
        done += pairs;
        progress("mapping", done, 0);
        output.write_all(&bytes).map_err(AlignError::Stream)
    };
    stream.run(u64::MAX, Default::default, map, write)?;
    if format == AlignmentFormat::Bam {
        output.write_all(&EOF_BLOCK).map_err(AlignError::Stream)?;
    }
    output.flush().map_err(AlignError::Stream)
}

/// Learns the insert sizes from the start of the stream as [`map::learn_from`] does, and puts back what it read.
fn learn(aligner: &Aligner<'_>, files: &Files<'_>, stream: &mut Stream) -> Result<InsertModel, AlignError> {
    let (mut learning, mut seen) = (Learning::default(), Vec::new());
    let observe = |(workspace, pairs): &mut (Workspace, Pairs), batch: Batch| {
        batch.parse(files, pairs)?;
        Ok::<_, AlignError>((pairs.first.len(), map::observe(aligner, workspace, pairs), batch))
    };
    while files.second.is_some() {
        let batches = (learning.wants() as u64).div_ceil(CHUNK_RECORDS);
        let add = |(pairs, observations, batch)| {
            learning.add(pairs, observations);
            seen.push(batch);
            Ok(())
        };
        if stream.run(batches, Default::default, observe, add)? < batches || learning.is_enough() {
            break;
        }
    }
    stream.put_back(seen);
    Ok(learning.model())
}
