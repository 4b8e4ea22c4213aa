//! The filter `wakachi align`: FASTQ to alignments, without a job.
//!
//! Sorted output ([`sorted`](fn@sorted)) has the records that a job's CRAM would have, and its bytes where cells fill
//! containers (from a depth of about 6). Streaming output keeps the order of the input.

mod lots;
mod output;
mod sorted;

pub use sorted::sorted;

use crate::access::Access;
use crate::bam;
use crate::context::{AlignmentFormat, ContextError};
use crate::fastq::{FastqError, Files, Pairs};
use crate::header::sam_header;
use crate::htslib::{ContainerError, IndexError, SamText};
use crate::intake::IntakeError;
use crate::map::{self, Learning, MapError, Mapper};
use crate::region::RegionError;
use crate::sam;
use crate::stream::{Batch, Stream};
use crate::template::LaneContext;
use crate::vcf::EOF_BLOCK;
use jobs::failure::{Class, Classified};
use jobs::task::LaneId;
use kernels::align::{Aligner, Workspace};
use kernels::insert::InsertModel;
use std::io::{self, Write};
use storage::{AtomicFileError, DiskError, PackError};

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
    /// Sorting, marking, counting.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// The output file.
    #[error(transparent)]
    Write(#[from] AtomicFileError),
    /// The output stream.
    #[error("cannot write the output")]
    Stream(#[source] io::Error),
    /// Containers do not concatenate.
    #[error("the alignments cannot be joined")]
    Container(#[from] ContainerError),
    /// A record just made is none.
    #[error("a record cannot be written as text")]
    Record,
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The header, with the read group given, is no SAM header.
    #[error("the read group makes no SAM header")]
    Header,
}

impl From<DiskError> for AlignError {
    fn from(error: DiskError) -> Self {
        AlignError::Write(error.into())
    }
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
            AlignError::Region(error) => error.class(),
            AlignError::Write(error) => error.class(),
            AlignError::Stream(_) => Class::Failed,
            AlignError::Container(_) | AlignError::Record => Class::Internal,
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
            AlignError::Region(error) => error.hint(),
            AlignError::Write(error) => error.hint(),
            AlignError::Index(error) => error.hint(),
            AlignError::Header => Some(r"give -R '@RG\tID:1\tSM:sample'".to_owned()),
            AlignError::Stream(_) | AlignError::Container(_) | AlignError::Record => None,
        }
    }
}

/// How far the filter is: what it does, how much of how much.
pub type Progress<'a> = &'a (dyn Fn(&str, u64, u64) + Sync);

/// Maps the files of a lane, and writes alignments in input order to `output`, as SAM text or BAM, while reading, on all threads of the calling rayon
/// pool. The files may be pipes.
pub fn streamed(
    context: &Access<'_>,
    files: &Files<'_>,
    format: AlignmentFormat,
    output: &mut (dyn Write + Send),
    progress: Progress<'_>,
) -> Result<(), AlignError> {
    let aligner = map::aligner(context)?;
    let header = sam_header(context.index.contigs(), context.sample(0), &context.settings.parameters, false);
    SamText::new(&header).ok_or(AlignError::Header)?;
    let start = match format {
        AlignmentFormat::Sam => header.into_bytes(),
        _ => bam::header_blocks(&header, context.index.contigs()),
    };
    output.write_all(&start).map_err(AlignError::Stream)?;
    let mut stream = Stream::open(files)?;
    let model = learn(&aligner, files, &mut stream)?;
    let mapper = Mapper { aligner, model, lane: LaneContext::of(context, LANE) };
    let map = |(scratch, pairs): &mut (map::Scratch, Pairs), batch: Batch| {
        batch.parse(files, pairs)?;
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
            _ => bam::blocks(&bytes),
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
    while files.are_paired() {
        let batches = (learning.wants() as u64).div_ceil(files.templates());
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
