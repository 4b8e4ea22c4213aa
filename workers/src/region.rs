//! Region tasks: one shard of one sample, cell by cell. Runs are merged, duplicates marked, alignments encoded, reads
//! called, everything counted.
//!
//! Invariant: a cell's output is a function of the records within its halo alone. What a cell computes beyond its lines
//! it does not give out, so a shard is just the cells it names, in order. Records stream through; what is held is the
//! reach of duplicate marking, one CRAM container, and the reads that the caller keeps.

use crate::access::{Access, Content};
use crate::bam;
use crate::context::AlignmentFormat;
use crate::entry::{Entry, Place};
use crate::hold::{Cancelled, Hold};
use crate::htslib::{CramEncoder, CramError};
use crate::qc::alignment::ReferenceWindow;
use crate::qc::contig_class::ContigClass;
use crate::qc::libraries::Libraries;
use crate::qc::tally::AlignmentTally;
use crate::qc::{CellTally, SampleCounters};
use crate::record::{Record, flag};
use crate::runs::{Run, RunError, StoredRun, merge};
use crate::sam;
use crate::template::name_hash;
use crate::vcf;
use jobs::failure::{Class, Classified};
use jobs::genome::{Cell, Contigs, HALO_BASES, Interval};
use jobs::ledger::{Answers, Fates};
use jobs::task::{Shard, Task};
use kernels::call::{CallOptions, CallRead, Downsampler, Window, Workspace, call_cell};
use kernels::duplicates::Marker;
use kernels::reference::Reference;
use kernels::variant::{Answer, CellCalls};
use std::sync::Arc;
use storage::{BlockEntry, PackError, PieceRef};

/// Records of one CRAM container, counted from the last grid line.
pub const CONTAINER_RECORDS: usize = 10_000;

/// Blocks kept of each run: what the next cell looks at begins before this one's ends.
const KEPT_BLOCKS: usize = 2;

/// Kinds of blocks in the records of region tasks, and of those that make files of what these wrote.
pub mod block {
    /// CRAM containers; `count` is the number of records, `first` that of records before them in the cell.
    pub const ALIGNMENTS: u8 = 0;
    /// BGZF of the cell's gVCF lines; `count` is the number of sites.
    pub const GVCF: u8 = 1;
    /// The cell's counters as JSON.
    pub const COUNTERS: u8 = 2;
    /// Where a sample's cells lie in its gVCF, from cell `first` to `last`.
    pub const CELLS: u8 = 3;
    /// What the digest of a file needs of one [`Stretch`](storage::Stretch) of it.
    pub const STRETCH: u8 = 4;
    /// What the index of calls needs of some of them.
    pub const CALL_INDEX: u8 = 5;
    /// Lines of the index of alignments.
    pub const ALIGNMENT_INDEX: u8 = 6;
    /// Genotypes compared, `count` samples.
    pub const KINSHIP: u8 = 7;
}

/// A region task failed.
#[derive(Debug, thiserror::Error)]
pub enum RegionError {
    /// The runs.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The alignments.
    #[error(transparent)]
    Cram(#[from] CramError),
    /// A record does not print as SAM.
    #[error("a record does not print as SAM")]
    Text,
    /// Nobody needs it any more.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The caller broke its promise to answer every base once.
    #[error("{region}: the calls answer base {position} not exactly once")]
    Answers {
        /// The cell.
        region: String,
        /// 1-based.
        position: u32,
    },
}

impl From<PackError> for RegionError {
    fn from(error: PackError) -> Self {
        RegionError::Run(error.into())
    }
}

impl Classified for RegionError {
    fn class(&self) -> Class {
        match self {
            RegionError::Run(error) => error.class(),
            RegionError::Cram(error) => error.class(),
            RegionError::Cancelled(error) => error.class(),
            RegionError::Text | RegionError::Answers { .. } => Class::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            RegionError::Run(error) => error.hint(),
            RegionError::Cram(error) => error.hint(),
            RegionError::Text | RegionError::Cancelled(_) | RegionError::Answers { .. } => None,
        }
    }
}

/// What a region task says of itself; one piece per cell, in order, or one for the unplaced reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RegionSummary {
    /// Reads by fate.
    pub fates: Fates,
    /// Bases by answer.
    pub answers: Answers,
    /// Records of all kinds.
    pub records: u64,
    /// Variant sites.
    pub sites: u64,
    /// Bytes of its alignments in the sample's file.
    pub alignment_bytes: u64,
    /// Bytes of its calls in the sample's file.
    pub call_bytes: u64,
}

/// Runs a region task over the committed runs of all its sample's chunks, as far as `hold` lets it; what it wrote counts
/// in `content`.
pub fn run(
    context: &Access<'_>,
    (sample, shard): (u32, Shard),
    inputs: &[(Task, PieceRef)],
    hold: &dyn Hold,
    content: &mut Content,
) -> Result<(Vec<PieceRef>, RegionSummary), RegionError> {
    let open = |(task, piece): &(Task, PieceRef)| {
        Ok::<_, PackError>(StoredRun::new(
            context.read(*task, piece)?,
            context.index.reference(),
            KEPT_BLOCKS,
        ))
    };
    let stored: Vec<StoredRun> = inputs.iter().map(open).collect::<Result<_, _>>()?;
    let runs: Vec<Run> = stored.iter().map(Run::Stored).collect();
    let mut worker = CellWorker::new(context, sample);
    let mut summary = RegionSummary::default();
    let mut pieces = Vec::new();
    let is_reached = |part: &Shard| match part {
        Shard::Unplaced => true,
        Shard::Cells { first, .. } => hold.reach(first.0),
    };
    for part in shard.parts().take_while(is_reached) {
        context.holds()?;
        let made = worker.make(&runs, part)?;
        pieces.push(made.store(context, Task::Region(sample, part), content)?);
        summary.add(&made);
    }
    hold.check()?;
    Ok((pieces, summary))
}

/// Records encoded together: of CRAM a container, of BAM a run of blocks.
pub(crate) struct Container {
    /// Records before it, from the first cell whose records go on in it.
    first: u64,
    /// How many it has.
    pub records: u32,
    /// As they stand in the file.
    pub bytes: Vec<u8>,
    /// What the index of BAM needs of them.
    pub marks: Vec<bam::Mark>,
}

/// What becomes of one cell, or of the unplaced reads.
pub(crate) struct Made {
    /// Its alignments, part by part.
    pub alignments: Vec<Container>,
    gvcf: Vec<u8>,
    sites: u32,
    answers: Answers,
    /// What was counted.
    pub counters: SampleCounters,
}

impl Made {
    /// Appends it to the pack.
    fn store(
        &self,
        context: &Access<'_>,
        task: Task,
        content: &mut Content,
    ) -> Result<PieceRef, RegionError> {
        let mut record = context.record(task)?;
        for &Container { first, records, ref bytes, .. } in &self.alignments {
            let entry = BlockEntry { kind: block::ALIGNMENTS, first, last: first, count: records };
            record.block(entry, bytes)?;
        }
        let entry = BlockEntry { kind: block::GVCF, first: 0, last: 0, count: self.sites };
        record.block(entry, &self.gvcf)?;
        let json = serde_json::to_vec(&self.counters).expect("counters always print");
        record.block(BlockEntry { kind: block::COUNTERS, first: 0, last: 0, count: 1 }, &json)?;
        Ok(context.append(record, content)?)
    }
}

impl RegionSummary {
    fn add(&mut self, made: &Made) {
        self.fates.add(&fates_of(&made.counters));
        self.answers.add(&made.answers);
        self.records += made.alignments.iter().map(|container| u64::from(container.records)).sum::<u64>();
        self.sites += u64::from(made.sites);
        self.alignment_bytes +=
            made.alignments.iter().map(|container| container.bytes.len() as u64).sum::<u64>();
        self.call_bytes += made.gvcf.len() as u64;
    }
}

/// Makes a sample's alignments, calls and counts, cell by cell.
pub(crate) struct CellWorker<'a> {
    context: &'a Access<'a>,
    sample: u32,
    reference: Reference<'a>,
    workspace: Workspace,
    classes: Vec<ContigClass>,
    libraries: Libraries,
}

impl<'a> CellWorker<'a> {
    pub fn new(context: &'a Access<'a>, sample: u32) -> Self {
        let lines = context.samples[sample as usize].lanes.iter().map(|lane| lane.header_line.as_str());
        CellWorker {
            context,
            sample,
            reference: context.index.reference(),
            workspace: Workspace::new(),
            classes: ContigClass::of_all(context.index.contigs()),
            libraries: Libraries::of_header(lines),
        }
    }

    /// What becomes of one of [`Shard::parts`].
    pub fn make(&mut self, runs: &[Run<'_>], part: Shard) -> Result<Made, RegionError> {
        let mut alignments = Alignments::new(Encoder::new(self.context, self.sample)?);
        let made = self.part(runs, part, &mut alignments)?;
        Ok(Made { alignments: alignments.finish()?, ..made })
    }

    /// What becomes of some that follow each other, with the alignments of all at the last: where cells hold few records,
    /// containers go on from one to the next of its contig.
    pub fn make_together(&mut self, runs: &[Run<'_>], parts: &[Shard]) -> Result<Vec<Made>, RegionError> {
        let mut alignments = Alignments::new(Encoder::new(self.context, self.sample)?);
        let made = parts.iter().map(|&part| self.part(runs, part, &mut alignments));
        let mut made = made.collect::<Result<Vec<_>, _>>()?;
        if let Some(last) = made.last_mut() {
            last.alignments = alignments.finish()?;
        }
        Ok(made)
    }

    /// Gives all but the alignments.
    fn part(
        &mut self,
        runs: &[Run<'_>],
        part: Shard,
        alignments: &mut Alignments<'_>,
    ) -> Result<Made, RegionError> {
        match part {
            Shard::Unplaced => self.unplaced(runs, alignments),
            Shard::Cells { first, .. } => self.cell(runs, first, alignments),
        }
    }

    /// The reads without a place: nothing to mark, nothing to call.
    fn unplaced(&mut self, runs: &[Run<'_>], alignments: &mut Alignments<'_>) -> Result<Made, RegionError> {
        alignments.begin(None)?;
        let mut tally = AlignmentTally::new(None, &self.libraries);
        merge::<RegionError>(runs, Place::NOWHERE, Place::NOWHERE, |entry| {
            tally.add(&entry.record);
            alignments.push(entry.record.bytes())?;
            Ok(())
        })?;
        let mut counters = SampleCounters::new(self.context.index.contigs().total_bases());
        counters.alignment = tally.finish(0, 0);
        let (alignments, gvcf, sites, answers) = Default::default();
        Ok(Made { alignments, gvcf, sites, answers, counters })
    }

    fn cell(
        &mut self,
        runs: &[Run<'_>],
        cell: Cell,
        alignments: &mut Alignments<'_>,
    ) -> Result<Made, RegionError> {
        let core = self.context.grid.interval(cell);
        alignments.begin(Some(core.contig))?;
        let calling = self.context.settings.calling;
        let window = ReferenceSpan::around(&self.reference, core, calling);
        let mut pass = CellPass {
            core,
            alignments,
            tally: CellTally::new(core, window.for_qc(), &self.libraries),
            reads: CallReads::new(&self.context.settings.call),
            calling,
            failure: None,
            waiting: Vec::new(),
            taken: 0,
        };
        let mut marker = Marker::default();
        let from = Place::new(core.contig, core.start.saturating_sub(HALO_BASES));
        let before = Place::new(core.contig, core.end.saturating_add(HALO_BASES));
        merge::<RegionError>(runs, from, before, |entry| {
            let held = pass.hold(&entry);
            marker.push(entry.place.position(), entry.fragment, held, &mut |held, duplicate| {
                pass.take(held, duplicate);
            });
            pass.failure.take().map_or(Ok(()), Err)
        })?;
        marker.finish(&mut |held, duplicate| pass.take(held, duplicate));
        if let Some(failure) = pass.failure {
            return Err(failure);
        }
        let CellPass { tally, reads, .. } = pass;
        let class = self.classes[core.contig as usize];
        let mut counters = tally.finish(class, self.context.index.contigs().total_bases());
        if !calling {
            let (alignments, gvcf, sites, answers) = Default::default();
            return Ok(Made { alignments, gvcf, sites, answers, counters });
        }
        let calls = reads.call(&core, &window, &self.context.settings.call, &mut self.workspace);
        let answers = self.check_answers(core, &calls)?;
        calls.sites.iter().for_each(|site| counters.variants.add(class, site));
        let mut text = Vec::new();
        let contigs = self.context.index.contigs();
        vcf::write_gvcf(contigs, core.contig, &calls, |position| window.letter(position), &mut text);
        let (gvcf, sites) = (vcf::compress_cell(&text), calls.sites.len() as u32);
        Ok(Made { alignments: Vec::new(), gvcf, sites, answers, counters })
    }

    /// Walks over the cell and counts how each base is answered; an error if one is not, or is twice.
    fn check_answers(&self, core: Interval, calls: &CellCalls) -> Result<Answers, RegionError> {
        let mut answers = Answers::default();
        let mut next = core.start;
        let mut sites = calls.sites.iter().peekable();
        let mut blocks = calls.blocks.iter().peekable();
        while next < core.end || sites.peek().is_some() || blocks.peek().is_some() {
            // A site answers what of its REF is not answered yet.
            if let Some(site) = sites.next_if(|site| site.position <= next && site.position < core.end) {
                let end = (site.position + site.reference.len() as u32).clamp(next, core.end);
                answers.variant += u64::from(end - next);
                next = end;
                continue;
            }
            let Some(block) = blocks.next_if(|block| block.start == next && block.end > next) else {
                let region = self.context.index.contigs().display(core);
                return Err(RegionError::Answers { region, position: next + 1 });
            };
            let bases = u64::from(block.end - block.start);
            match block.answer {
                Answer::Reference => answers.reference += bases,
                Answer::NoReads => answers.no_reads += bases,
                Answer::NoUsableReads => answers.no_usable_reads += bases,
                Answer::ReferenceUnknown => answers.reference_unknown += bases,
            }
            next = block.end;
        }
        Ok(answers)
    }
}

/// What became of the reads that were counted; who counted need not be believed.
pub(crate) fn fates_of(counters: &SampleCounters) -> Fates {
    let reads = &counters.alignment.reads;
    Fates {
        mapped: reads.mapped.saturating_sub(reads.duplicate),
        duplicate: reads.duplicate,
        unmapped: reads.unmapped,
        ..Fates::default()
    }
}

/// The reference around a cell, halo included.
pub(crate) struct ReferenceSpan {
    start: u32,
    contig: u32,
    contig_bases: u32,
    codes: Vec<u8>,
    /// Of a cell that is called.
    letters: Vec<u8>,
}

impl ReferenceSpan {
    pub(crate) fn around(reference: &Reference<'_>, core: Interval, calling: bool) -> Self {
        let contig_bases = reference.length(core.contig);
        // Reads that start within the halo end within another.
        let start = core.start.saturating_sub(2 * HALO_BASES);
        let end = core.end.saturating_add(2 * HALO_BASES).min(contig_bases);
        let (mut codes, mut letters) = (Vec::new(), Vec::new());
        reference.fetch(core.contig, start, end, &mut codes);
        if calling {
            reference.letters(core.contig, start, end, &mut letters);
        }
        ReferenceSpan { start, contig: core.contig, contig_bases, codes, letters }
    }

    fn for_qc(&self) -> ReferenceWindow<'_> {
        ReferenceWindow { contig: self.contig, start: self.start, codes: &self.codes }
    }

    /// The letter as VCF spells it (VCFv4.2 §1.4.1): A, C, G, T, or N for whatever else the reference may say.
    pub(crate) fn letter(&self, position: u32) -> u8 {
        let letter = self.letters[(position - self.start) as usize];
        if b"ACGT".contains(&letter) { letter } else { b'N' }
    }
}

/// A record on its way through duplicate marking; its bytes wait in [`CellPass::waiting`].
struct Held {
    position: u32,
    bytes: usize,
}

/// Everything that the records of one cell pass into.
struct CellPass<'a, 'e> {
    core: Interval,
    alignments: &'a mut Alignments<'e>,
    tally: CellTally<'a>,
    reads: CallReads,
    calling: bool,
    failure: Option<RegionError>,
    /// The bytes of records held, in order; those before `taken` are done with.
    waiting: Vec<u8>,
    taken: usize,
}

/// Bytes of records done with that are kept before the rest moves to their place.
const TAKEN_BYTES_MAX: usize = 1 << 20;

impl CellPass<'_, '_> {
    fn hold(&mut self, entry: &Entry<'_>) -> Held {
        if self.taken > TAKEN_BYTES_MAX.max(self.waiting.len() / 2) {
            self.waiting.drain(..self.taken);
            self.taken = 0;
        }
        self.waiting.extend_from_slice(entry.record.bytes());
        Held { position: entry.place.position(), bytes: entry.record.bytes().len() }
    }

    /// Takes the records held in the order in which they came.
    fn take(&mut self, held: Held, duplicate: bool) {
        let bytes = &mut self.waiting[self.taken..self.taken + held.bytes];
        self.taken += held.bytes;
        if duplicate {
            let flags = u16::from_le_bytes([bytes[14], bytes[15]]) | flag::DUPLICATE;
            bytes[14..16].copy_from_slice(&flags.to_le_bytes());
        }
        let record = Record::new(bytes).expect("it was a record when it was read");
        self.tally.add(&record);
        if self.calling {
            self.reads.push(&record, held.position);
        }
        if (self.core.start..self.core.end).contains(&held.position)
            && let Err(error) = self.alignments.push(record.bytes())
        {
            self.failure.get_or_insert(error);
        }
    }
}

/// Turns records into the bytes of the sample's alignment file.
enum Encoder<'a> {
    Cram(Arc<CramEncoder>, Reference<'a>),
    Bam,
    Sam(&'a Contigs),
}

impl<'a> Encoder<'a> {
    fn new(context: &'a Access<'_>, sample: u32) -> Result<Self, RegionError> {
        Ok(match context.settings.alignments {
            AlignmentFormat::Cram => Encoder::Cram(context.encoder(sample)?, context.index.reference()),
            AlignmentFormat::Bam => Encoder::Bam,
            AlignmentFormat::Sam => Encoder::Sam(context.index.contigs()),
        })
    }

    fn encode(&self, records: &[&[u8]]) -> Result<Vec<u8>, RegionError> {
        match self {
            Encoder::Cram(encoder, reference) => Ok(encoder.containers(reference, records.iter().copied())?),
            Encoder::Bam => Ok(bam::record_blocks(records.iter().copied())),
            Encoder::Sam(contigs) => {
                let mut out = Vec::new();
                let line = |record: &&[u8]| sam::line(contigs, &Record::new(record).ok()?, &mut out);
                records.iter().try_for_each(line).ok_or(RegionError::Text)?;
                Ok(out)
            }
        }
    }
}

/// Gathers records and encodes them container by container, counted from the start of the first cell.
struct Alignments<'a> {
    encoder: Encoder<'a>,
    contig: Option<u32>,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    done: Vec<Container>,
    records: u64,
}

impl<'a> Alignments<'a> {
    fn new(encoder: Encoder<'a>) -> Self {
        Alignments {
            encoder,
            contig: None,
            bytes: Vec::new(),
            ends: Vec::new(),
            done: Vec::new(),
            records: 0,
        }
    }

    /// What follows is of this contig, or of none; no container has records of two.
    fn begin(&mut self, contig: Option<u32>) -> Result<(), RegionError> {
        let before = std::mem::replace(&mut self.contig, contig);
        if before != contig && !self.ends.is_empty() { self.close() } else { Ok(()) }
    }

    fn push(&mut self, record: &[u8]) -> Result<(), RegionError> {
        self.bytes.extend_from_slice(record);
        self.ends.push(self.bytes.len());
        if self.ends.len() == CONTAINER_RECORDS { self.close() } else { Ok(()) }
    }

    fn close(&mut self) -> Result<(), RegionError> {
        let mut start = 0;
        let slices = self.ends.iter().map(|&end| &self.bytes[std::mem::replace(&mut start, end)..end]);
        let slices: Vec<&[u8]> = slices.collect();
        let bytes = self.encoder.encode(&slices)?;
        let marks = match self.encoder {
            Encoder::Bam => bam::marks(slices),
            Encoder::Cram(..) | Encoder::Sam(_) => Vec::new(),
        };
        self.done.push(Container { first: self.records, records: self.ends.len() as u32, bytes, marks });
        self.records += self.ends.len() as u64;
        self.bytes.clear();
        self.ends.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Container>, RegionError> {
        if !self.ends.is_empty() {
            self.close()?;
        }
        Ok(self.done)
    }
}

/// The reads that the caller sees, after downsampling.
pub struct CallReads {
    sampler: Downsampler<OwnedRead>,
    kept: Vec<OwnedRead>,
}

struct OwnedRead {
    position: u32,
    cigar: Vec<u32>,
    sequence: Vec<u8>,
    qualities: Vec<u8>,
    mapq: u8,
    reverse: bool,
    name_hash: u64,
}

impl CallReads {
    /// No read yet.
    pub fn new(options: &CallOptions) -> Self {
        CallReads { sampler: Downsampler::new(options.depth_max), kept: Vec::new() }
    }

    /// Takes the next record of the contig, if it is one to call from: placed, primary, no duplicate, not failed.
    pub fn push(&mut self, record: &Record<'_>, position: u32) {
        const LEFT_OUT: u16 =
            flag::UNMAPPED | flag::SECONDARY | flag::SUPPLEMENTARY | flag::QC_FAIL | flag::DUPLICATE;
        if record.flag() & LEFT_OUT != 0 {
            return;
        }
        let mut sequence = Vec::with_capacity(record.bases());
        record.sequence(&mut sequence);
        let hash = name_hash(record.name());
        let read = OwnedRead {
            position,
            cigar: record.cigar().collect(),
            sequence,
            qualities: record.qualities().to_vec(),
            mapq: record.mapq(),
            reverse: record.flag() & flag::REVERSE != 0,
            name_hash: hash,
        };
        let kept = &mut self.kept;
        self.sampler.push(position, record.reference_bases(), hash, read, &mut |read| kept.push(read));
    }

    /// Calls the cell from the reads taken.
    pub(crate) fn call(
        mut self,
        core: &Interval,
        window: &ReferenceSpan,
        options: &CallOptions,
        workspace: &mut Workspace,
    ) -> CellCalls {
        let kept = &mut self.kept;
        self.sampler.finish(&mut |read| kept.push(read));
        let reads: Vec<CallRead<'_>> = self.kept.iter().map(OwnedRead::view).collect();
        let reference =
            Window { start: window.start, bases: &window.codes, contig_bases: window.contig_bases };
        call_cell(core.start..core.end, &reference, &reads, options, workspace)
    }
}

impl OwnedRead {
    fn view(&self) -> CallRead<'_> {
        CallRead {
            position: self.position,
            cigar: &self.cigar,
            sequence: &self.sequence,
            qualities: &self.qualities,
            mapq: self.mapq,
            reverse: self.reverse,
            name_hash: self.name_hash,
        }
    }
}
