//! Map tasks: one chunk of a lane's read pairs, aligned and bucketed in the order of the genome.

use crate::access::{Access, Content};
use crate::entry::{Entry, Place};
use crate::fastq::{PairReader, Pairs};
use crate::hold::{Cancelled, Hold};
use crate::intake::{ChunkReader, ChunkStart, IntakeError};
use crate::pairs::{PairsError, PairsReader};
use crate::runs::{Form, RunBuilder, RunError};
use crate::template::{LaneContext, Read, Template, TemplateWriter};
use jobs::failure::{Class, Classified};
use jobs::task::{Chunk, LaneId, Task};
use kernels::align::{Aligner, ReadMapping, Workspace};
use kernels::insert::{self, InsertModel, Observation};
use kernels::reference::Malformed;
use std::collections::BTreeMap;
use std::slice;
use storage::{PackError, PieceRef, RecordReader};

/// Pairs of the first look at a lane's insert sizes; doubled until the model is confident. Three quarters of 2^13 pairs are
/// confident in any usable library, which settles mean and deviation to a base.
const MODEL_PAIRS_MIN: usize = 1 << 13;

/// Pairs after which a model stands whatever they were: in a library without its genome few are ever confident.
const MODEL_PAIRS_MAX: usize = 1 << 18;

/// Confident pairs after which a model stands.
const MODEL_CONFIDENT_PAIRS: usize = 2000;

/// Chunks of a lane that say how many records start in each cell: enough to know where the sample is deep.
const WEIGHED_CHUNKS: u32 = 4;

/// Pairs read at a time.
pub const BATCH_PAIRS: usize = 1024;

/// Pairs aligned at a time: as many as the aligner works on together, few enough that a task told to end soon does.
const TAKEN_PAIRS: usize = 256;

/// One chunk of a lane, as its intake stored it.
#[derive(Debug)]
pub struct StoredChunk {
    /// Where its pairs come from.
    pub source: ChunkSource,
    /// Ordinal of its first pair in the lane.
    pub first_pair: u64,
    /// Its pairs.
    pub pairs: u64,
}

/// Where the pairs of a chunk come from.
#[derive(Debug)]
pub enum ChunkSource {
    /// From the lane's files, from here on.
    Files(ChunkStart),
    /// From a record of pairs, which came with the task.
    Carried(RecordReader),
}

/// Reads the pairs of a chunk, in order.
enum PairSource<'a> {
    Files(Box<ChunkReader>),
    Carried(PairsReader<'a>),
}

impl<'a> PairSource<'a> {
    fn open(context: &Access<'_>, lane: LaneId, chunk: &'a StoredChunk) -> Result<Self, MapError> {
        Ok(match &chunk.source {
            ChunkSource::Files(start) => {
                let files = context.reads(lane)?;
                let reader = ChunkReader::open(files, start, chunk.first_pair, chunk.pairs)?;
                PairSource::Files(Box::new(reader))
            }
            ChunkSource::Carried(record) => PairSource::Carried(PairsReader::new(record)?),
        })
    }

    /// Adds the next pairs, a batch at most, and returns how many.
    fn read(&mut self, pairs: &mut Pairs) -> Result<usize, MapError> {
        Ok(match self {
            PairSource::Files(files) => files.read(BATCH_PAIRS, pairs)?,
            PairSource::Carried(record) => record.read(pairs)?,
        })
    }
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
    /// Reads that came with the task.
    #[error(transparent)]
    Pairs(#[from] PairsError),
    /// Nobody needs it any more.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
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
            MapError::Pairs(error) => error.class(),
            MapError::Cancelled(error) => error.class(),
            MapError::Index(_) => Class::Integrity,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            MapError::Intake(error) => error.hint(),
            MapError::Run(error) => error.hint(),
            MapError::Pairs(error) => error.hint(),
            MapError::Index(_) | MapError::Cancelled(_) => None,
        }
    }
}

/// Learns a lane's insert-size model from a prefix of its pairs: 2^13, doubling until enough of them are confident,
/// they are 2^18, or the lane ends. Single reads have the default model.
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
    let (mut learning, mut workspace) = (Learning::default(), Workspace::default());
    loop {
        let mut pairs = Pairs::default();
        let wanted = BATCH_PAIRS.min(learning.wants());
        let read = reader.read(wanted, &mut pairs).map_err(IntakeError::from)?;
        learning.add(read, observe(aligner, &mut workspace, &pairs));
        keep(pairs)?;
        if read == 0 || learning.is_enough() {
            return Ok(learning.model());
        }
    }
}

/// What the pairs of a lane's start say of its insert sizes.
#[derive(Debug)]
pub struct Learning {
    observations: Vec<Observation>,
    seen: usize,
    wanted: usize,
}

impl Default for Learning {
    fn default() -> Self {
        Learning { observations: Vec::new(), seen: 0, wanted: MODEL_PAIRS_MIN }
    }
}

impl Learning {
    /// How many pairs are to be seen before it is asked whether they are enough.
    pub fn wants(&self) -> usize {
        self.wanted - self.seen
    }

    /// Adds what so many pairs say.
    pub fn add(&mut self, pairs: usize, observations: Vec<Observation>) {
        self.seen += pairs;
        self.observations.extend(observations);
    }

    /// Whether the pairs wanted were seen and are enough; if they are not, more are wanted.
    pub fn is_enough(&mut self) -> bool {
        if self.seen < self.wanted {
            return false;
        }
        self.wanted *= 2;
        self.observations.len() >= MODEL_CONFIDENT_PAIRS || self.seen >= MODEL_PAIRS_MAX
    }

    /// What was learned.
    pub fn model(&self) -> InsertModel {
        insert::estimate(&self.observations)
    }
}

/// What pairs say of insert sizes: each read is placed as if it were alone.
pub fn observe(aligner: &Aligner<'_>, workspace: &mut Workspace, pairs: &Pairs) -> Vec<Observation> {
    let [first, second] = [&pairs.first, &pairs.second].map(|reads| {
        let reads: Vec<&[u8]> = (0..reads.len()).map(|at| reads.sequence(at)).collect();
        aligner.map_singles(workspace, &reads)
    });
    let between = |(first, second): (&ReadMapping, &ReadMapping)| {
        Observation::between(first.primary.as_ref()?, second.primary.as_ref()?)
    };
    first.iter().zip(&second).filter_map(between).collect()
}

/// The aligner of a job, or of a filter.
pub fn aligner<'a>(context: &'a Access<'_>) -> Result<Aligner<'a>, MapError> {
    let (reference, index) = (context.index.reference(), context.index.index());
    Ok(Aligner::new(reference, index, context.settings.scoring)?.with_level(context.settings.simd))
}

/// What a map task says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MapSummary {
    /// Templates aligned: pairs, or reads of a single-end lane.
    pub pairs: u64,
    /// Records by the cell in which they start; only of a lane's first chunks.
    pub weights: Vec<(u32, u32)>,
}

/// Aligns one chunk, or some of its strips, as far as `hold` lets it, and writes its run, which counts in `content`. `start`
/// is where the chunk's intake said that it begins: strips are counted from there, and all of the chunk is read to see that
/// it is the one taken in.
pub fn map_chunk(
    context: &Access<'_>,
    (lane, chunk): (LaneId, Chunk),
    start: &StoredChunk,
    model: &InsertModel,
    hold: &dyn Hold,
    content: &mut Content,
) -> Result<(PieceRef, MapSummary), MapError> {
    let mut reader = PairSource::open(context, lane, start)?;
    let reference = context.index.reference();
    let mapper = Mapper { aligner: aligner(context)?, model: *model, lane: LaneContext::of(context, lane) };
    let mut scratch = Scratch::default();
    let mut run = RunBuilder::default();
    let mut pairs = Pairs::default();
    let mut strips = Strips::of(chunk, start.pairs, hold);
    let (mut first, mut aligned) = (start.first_pair, 0);
    loop {
        pairs.clear();
        context.holds()?;
        hold.check()?;
        let read = reader.read(&mut pairs)?;
        if read == 0 {
            break;
        }
        for from in (0..read).step_by(TAKEN_PAIRS) {
            let taken = from..read.min(from + TAKEN_PAIRS);
            let taken: Vec<usize> =
                taken.filter(|&pair| strips.take(first + pair as u64 - start.first_pair)).collect();
            mapper.map(&mut scratch, &pairs, &taken, first, &mut |entry| run.push(&entry));
            aligned += taken.len() as u64;
        }
        first += read as u64;
    }
    let done = strips.finish();
    hold.check()?;
    let weighed = chunk.index < WEIGHED_CHUNKS;
    let weights = if weighed { weights(context, run.places()) } else { Vec::new() };
    let mut record = context.record(Task::Map(lane, done))?;
    run.finish(Form::Plain, &reference, |entry, block| record.block(entry, block))?;
    Ok((context.append(record, content)?, MapSummary { pairs: aligned, weights }))
}

/// The strips of a map, begun one after the other as far as they may be.
struct Strips<'a> {
    hold: &'a dyn Hold,
    wanted: Chunk,
    /// Pairs of the whole chunk.
    pairs: u64,
    /// One past the last strip that was begun.
    begun: u16,
    refused: bool,
}

impl<'a> Strips<'a> {
    fn of(wanted: Chunk, pairs: u64, hold: &'a dyn Hold) -> Self {
        Strips { hold, wanted, pairs, begun: wanted.first, refused: false }
    }

    /// Whether this pair of the chunk, counted from its first, is to be aligned. Asked of each in turn.
    fn take(&mut self, pair: u64) -> bool {
        while !self.refused && pair >= Chunk::pair_at(self.begun, self.pairs) {
            self.refused = self.begun == self.wanted.end || !self.hold.reach(self.begun.into());
            self.begun += u16::from(!self.refused);
        }
        !self.refused && pair >= self.wanted.share_of(self.pairs).start
    }

    /// No pair is left: what was taken, with the strips that have no pairs.
    fn finish(mut self) -> Chunk {
        self.take(u64::MAX);
        Chunk { end: self.begun, ..self.wanted }
    }
}

/// How many of these places each cell has.
fn weights(context: &Access<'_>, places: impl Iterator<Item = Place>) -> Vec<(u32, u32)> {
    let mut counts = BTreeMap::new();
    for place in places.filter(|&place| place != Place::NOWHERE) {
        *counts.entry(context.grid.cell_of(place.contig(), place.position()).0).or_insert(0) += 1;
    }
    counts.into_iter().collect()
}

/// Maps the templates of a lane.
#[derive(Clone, Debug)]
pub struct Mapper<'a> {
    /// Places reads.
    pub aligner: Aligner<'a>,
    /// The lane's insert sizes.
    pub model: InsertModel,
    /// What its records share.
    pub lane: LaneContext<'a>,
}

/// What a thread that maps keeps.
#[derive(Debug, Default)]
pub struct Scratch {
    workspace: Workspace,
    writer: TemplateWriter,
}

impl Mapper<'_> {
    /// Gives out the records of some of the templates, in their order; `first` is the ordinal of the first of `pairs`.
    pub fn map(
        &self,
        scratch: &mut Scratch,
        pairs: &Pairs,
        which: &[usize],
        first: u64,
        emit: &mut impl FnMut(Entry<'_>),
    ) {
        let Scratch { workspace, writer } = scratch;
        let (firsts, seconds) = (&pairs.first, &pairs.second);
        let mut write = |at: usize, reads: &[Read<'_>], mappings: &[ReadMapping], proper| {
            let (ordinal, name) = (first + at as u64, firsts.name(at));
            writer.write(&self.lane, &Template { ordinal, name, reads, mappings, proper }, emit);
        };
        if seconds.is_empty() {
            let reads: Vec<&[u8]> = which.iter().map(|&at| firsts.sequence(at)).collect();
            let mappings = self.aligner.map_singles(workspace, &reads);
            for (&at, mapping) in which.iter().zip(&mappings) {
                write(at, &[Read::of(firsts, at)], slice::from_ref(mapping), false);
            }
        } else {
            let reads: Vec<[&[u8]; 2]> =
                which.iter().map(|&at| [firsts.sequence(at), seconds.sequence(at)]).collect();
            let mappings = self.aligner.map_pairs(workspace, &reads, &self.model);
            for (&at, pair) in which.iter().zip(&mappings) {
                write(at, &[Read::of(firsts, at), Read::of(seconds, at)], &pair.reads, pair.proper);
            }
        }
    }
}
