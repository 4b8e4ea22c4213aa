//! Finish tasks: pieces to files. A file is its header, the cells in order and an end marker, concatenated; nothing is
//! encoded again. Reads and bases are counted up, and a sample whose books do not balance does not finish.

use crate::access::{Access, Content};
use crate::cells::CellTable;
use crate::hold::{Cancelled, Hold};
use crate::htslib::{self, CRAM_EOF, ContainerError, cram_file_header, index_alignments, renumber};
use crate::qc::SampleCounters;
use crate::region::{RegionSummary, block};
use crate::vcf::{self, IndexKind, Kind, build_index, header_text};
use jobs::failure::{Class, Classified};
use jobs::genome::Cell;
use jobs::ledger::{Answers, Fates, Imbalance, check_cells};
use jobs::task::{Shard, Task};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use storage::{AtomicFile, AtomicFileError, BlockEntry, DiskError, PackError, PieceRef};

/// A finish task failed.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    /// The scratch.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// A result could not be written.
    #[error(transparent)]
    Write(#[from] AtomicFileError),
    /// A result could not be read back.
    #[error("{}: cannot be read back", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Stored containers are not CRAM.
    #[error("{task}: the stored alignments are damaged")]
    Container {
        /// Key of the task that wrote them.
        task: String,
        /// Where.
        #[source]
        source: ContainerError,
    },
    /// The alignments cannot be indexed.
    #[error(transparent)]
    AlignmentIndex(#[from] htslib::IndexError),
    /// The calls cannot be indexed.
    #[error(transparent)]
    VariantIndex(#[from] vcf::index::IndexError),
    /// A sample's calls, just written, cannot be read back.
    #[error(transparent)]
    Calls(#[from] vcf::ReadError),
    /// A stored summary or counter is not what this version writes.
    #[error("the committed output of {task} is not in the form this version writes")]
    Form {
        /// Key of the task that wrote it.
        task: String,
    },
    /// Something is missing.
    #[error(transparent)]
    Imbalance(#[from] Imbalance),
    /// Nobody needs it any more.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl Classified for FinishError {
    fn class(&self) -> Class {
        match self {
            FinishError::Pack(error) => error.class(),
            FinishError::Write(error) => error.class(),
            FinishError::Read { .. } => Class::Failed,
            FinishError::Calls(error) if error.class() == Class::Failed => Class::Failed,
            FinishError::Container { .. } | FinishError::Calls(_) | FinishError::Form { .. } => {
                Class::Integrity
            }
            FinishError::AlignmentIndex(error) => error.class(),
            FinishError::VariantIndex(error) => error.class(),
            FinishError::Imbalance(_) => Class::Partial,
            FinishError::Cancelled(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            FinishError::Pack(error) => error.hint(),
            FinishError::Write(error) => error.hint(),
            FinishError::AlignmentIndex(error) => error.hint(),
            FinishError::VariantIndex(error) => error.hint(),
            FinishError::Imbalance(_) => Some("this is a bug of wakachi; please report it".to_owned()),
            FinishError::Read { .. }
            | FinishError::Container { .. }
            | FinishError::Calls(_)
            | FinishError::Form { .. }
            | FinishError::Cancelled(_) => None,
        }
    }
}

/// A result file as the ledger lists it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ResultFile {
    /// Path below the job directory.
    pub path: String,
    /// Length.
    pub bytes: u64,
    /// BLAKE3 in hexadecimal.
    pub blake3: String,
}

/// How one shard's bases were answered.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ShardAnswers {
    /// Cells, first to before last.
    pub cells: (u32, u32),
    /// The place, 1-based inclusive; both ends where it spans contigs.
    pub region: String,
    /// Bases of the shard.
    pub bases: u64,
    /// By answer; sums to `bases`.
    pub answers: Answers,
}

/// The ledger of one sample, and what its finish task commits.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SampleLedger {
    /// The sample.
    pub sample: String,
    /// Whether it is part of the joint call.
    pub joint: bool,
    /// Reads of its files.
    pub reads_in: u64,
    /// What became of them; sums to `reads_in`.
    pub fates: Fates,
    /// Alignment records of all kinds in the CRAM.
    pub records: u64,
    /// Variant sites in the gVCF.
    pub sites: u64,
    /// Every shard once.
    pub shards: Vec<ShardAnswers>,
    /// Its files.
    pub files: Vec<ResultFile>,
}

/// A committed region task.
#[derive(Clone, Debug)]
pub struct RegionInput {
    /// The shard.
    pub shard: Shard,
    /// One piece per cell.
    pub pieces: Vec<PieceRef>,
    /// What it said of itself.
    pub summary: RegionSummary,
}

/// Writes a sample's CRAM and gVCF with their indexes into `results`, checks the books, and stores its counters and the
/// places of its cells as a piece. `reads_in` is what the intakes counted; the regions come in genome order.
pub fn finish_sample(
    context: &Access<'_>,
    sample: u32,
    (reads_in, regions): (u64, &[RegionInput]),
    results: &Path,
    hold: &dyn Hold,
    content: &mut Content,
) -> Result<(PieceRef, SampleLedger), FinishError> {
    let name = &context.sample(sample).name;
    let mut ledger = balance(context, sample, reads_in, regions)?;
    let cram = results.join(format!("{name}.cram"));
    let gvcf = results.join(format!("{name}.g.vcf.gz"));
    let contigs = context.index.contigs();
    let mut alignments = Output::create(&cram)?;
    let mut calls = Output::create(&gvcf)?;
    alignments.write(&cram_file_header(&context.sam_header(sample)))?;
    let header = header_text(Kind::Gvcf, contigs, &[name], &context.settings.parameters);
    calls.write(&vcf::compress_cell(header.as_bytes()))?;
    let mut counters = SampleCounters::new(contigs.total_bases());
    let mut records = 0;
    let mut bytes = Vec::new();
    let mut table = CellTable::default();
    for region in regions {
        for (part, piece) in region.shard.parts().zip(&region.pieces) {
            hold.check()?;
            let task = Task::Region(sample, part);
            let reader = context.read(task, piece)?;
            for (at, entry) in reader.entries().iter().enumerate() {
                reader.read_block(at, &mut bytes)?;
                let key = || task.key(context.names());
                match entry.kind {
                    block::ALIGNMENTS => {
                        let numbered = renumber(&bytes, records)
                            .map_err(|source| FinishError::Container { task: key(), source })?;
                        alignments.write(&numbered)?;
                        records += u64::from(entry.count);
                    }
                    block::GVCF => {
                        if let Shard::Cells { first, .. } = part {
                            table.push(first, calls.bytes, &bytes);
                        }
                        calls.write(&bytes)?;
                    }
                    _ => {
                        let part = serde_json::from_slice(&bytes);
                        counters.merge(&part.map_err(|_| FinishError::Form { task: key() })?);
                    }
                }
            }
        }
    }
    alignments.write(&CRAM_EOF)?;
    calls.write(&vcf::EOF_BLOCK)?;
    ledger.files.push(alignments.commit()?);
    ledger.files.push(index_of_alignments(&cram)?);
    ledger.files.push(calls.commit()?);
    ledger.files.push(index_of_calls(context, &gvcf)?);
    let task = Task::FinishSample(sample);
    let mut record = context.record(task)?;
    let json = serde_json::to_vec(&counters).expect("counters always print");
    record.block(BlockEntry { kind: block::COUNTERS, first: 0, last: 0, count: 1 }, &json)?;
    table.finish(|entry, cells| record.block(entry, cells))?;
    Ok((context.append(record, content)?, ledger))
}

/// Writes the joint calls of `samples`. `shards` are the committed joint tasks in genome order, each with its cells'
/// pieces; `each_cell` is given every cell's block as it is written.
pub fn finish_joint(
    context: &Access<'_>,
    (cohort, samples): (&str, &[u32]),
    shards: &[(Shard, Vec<PieceRef>)],
    results: &Path,
    mut each_cell: impl FnMut(Cell, &[u8]) -> Result<(), FinishError>,
) -> Result<Vec<ResultFile>, FinishError> {
    let path = results.join(format!("{cohort}.vcf.gz"));
    let mut calls = Output::create(&path)?;
    let names: Vec<&str> = samples.iter().map(|&sample| context.sample(sample).name.as_str()).collect();
    let header =
        header_text(Kind::Joint, context.index.contigs(), &names, &context.settings.joint_parameters);
    calls.write(&vcf::compress_cell(header.as_bytes()))?;
    let mut bytes = Vec::new();
    for (shard, pieces) in shards {
        if shard.cells().count() != pieces.len() {
            return Err(FinishError::Form { task: Task::Joint(*shard).key(context.names()) });
        }
    }
    for (cell, piece) in shards.iter().flat_map(|(shard, pieces)| shard.cells().zip(pieces)) {
        let reader = context.read(Task::Joint(Shard::of_cell(cell)), piece)?;
        reader.read_block(0, &mut bytes)?;
        calls.write(&bytes)?;
        each_cell(cell, &bytes)?;
    }
    calls.write(&vcf::EOF_BLOCK)?;
    Ok(vec![calls.commit()?, index_of_calls(context, &path)?])
}

/// The merged counters that a sample's finish task stored.
pub fn read_counters(
    context: &Access<'_>,
    sample: u32,
    piece: &PieceRef,
) -> Result<SampleCounters, FinishError> {
    let task = Task::FinishSample(sample);
    let mut bytes = Vec::new();
    context.read(task, piece)?.read_block(0, &mut bytes)?;
    serde_json::from_slice(&bytes).map_err(|_| FinishError::Form { task: task.key(context.names()) })
}

/// The ledger of a sample, without its files, if everything adds up.
fn balance(
    context: &Access<'_>,
    sample: u32,
    reads_in: u64,
    regions: &[RegionInput],
) -> Result<SampleLedger, FinishError> {
    let name = context.sample(sample).name.clone();
    let mut ledger = SampleLedger {
        sample: name.clone(),
        joint: context.sample(sample).joint,
        reads_in,
        fates: Fates::default(),
        records: 0,
        sites: 0,
        shards: Vec::new(),
        files: Vec::new(),
    };
    for region in regions {
        ledger.fates.add(&region.summary.fates);
        ledger.records += region.summary.records;
        ledger.sites += region.summary.sites;
        if let Shard::Cells { first, end } = region.shard {
            let bases = region.shard.cells().map(|cell| u64::from(context.grid.interval(cell).bases())).sum();
            let answered = region.summary.answers.total();
            if answered != bases || region.pieces.len() as u64 != u64::from(end.0 - first.0) {
                let shard = region.shard.to_string();
                return Err(Imbalance::Bases { sample: name, shard, bases, answered }.into());
            }
            ledger.shards.push(ShardAnswers {
                cells: (first.0, end.0),
                region: region_text(context, region.shard),
                bases,
                answers: region.summary.answers,
            });
        }
    }
    check_cells(&name, context.grid.cells(), ledger.shards.iter().map(|shard| shard.cells))?;
    if ledger.fates.total() != reads_in {
        return Err(Imbalance::Reads { sample: name, reads_in, reads_out: ledger.fates.total() }.into());
    }
    Ok(ledger)
}

fn region_text(context: &Access<'_>, shard: Shard) -> String {
    let contigs = context.index.contigs();
    let mut cells = shard.cells();
    let Some(first) = cells.next() else { return shard.to_string() };
    let last = cells.next_back().unwrap_or(first);
    let (first, last) = (context.grid.interval(first), context.grid.interval(last));
    if first.contig == last.contig {
        contigs.display(jobs::genome::Interval { end: last.end, ..first })
    } else {
        format!("{} to {}", contigs.display(first), contigs.display(last))
    }
}

/// A result being written: whole or absent, its digest taken on the way.
struct Output {
    file: AtomicFile,
    bytes: u64,
}

impl Output {
    fn create(path: &Path) -> Result<Self, FinishError> {
        Ok(Output { file: AtomicFile::create(path)?, bytes: 0 })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), FinishError> {
        self.bytes += bytes.len() as u64;
        let path = self.file.path().to_owned();
        let written = self.file.write_all(bytes).map_err(DiskError::on("write", &path));
        Ok(written.map_err(AtomicFileError::from)?)
    }

    fn commit(self) -> Result<ResultFile, FinishError> {
        let path = result_path(self.file.path());
        let bytes = self.bytes;
        let blake3 = self.file.commit_verified()?.to_hex().to_string();
        Ok(ResultFile { path, bytes, blake3 })
    }
}

fn index_of_alignments(path: &Path) -> Result<ResultFile, FinishError> {
    let index = index_alignments(path)?;
    let failed = |source| FinishError::Read { path: index.clone(), source };
    File::open(&index).and_then(|file| file.sync_all()).map_err(failed)?;
    let (bytes, blake3) = digest(&index)?;
    Ok(ResultFile { path: result_path(&index), bytes, blake3 })
}

fn index_of_calls(context: &Access<'_>, path: &Path) -> Result<ResultFile, FinishError> {
    let contigs = context.index.contigs();
    let mut output = Output::create(&IndexKind::of(contigs).path(path))?;
    output.write(&build_index(path, contigs)?)?;
    output.commit()
}

/// Results are listed as they lie in the job directory.
fn result_path(path: &Path) -> String {
    format!("results/{}", path.file_name().unwrap_or_default().to_string_lossy())
}

/// Length and BLAKE3 of a file.
pub fn digest(path: &Path) -> Result<(u64, String), FinishError> {
    let failed = |source| FinishError::Read { path: path.to_owned(), source };
    // A pipe would be waited for.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "no regular file")));
    }
    let mut file = File::open(path).map_err(failed)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 18];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok((bytes, hasher.finalize().to_hex().to_string())),
            count => {
                hasher.update(&buffer[..count]);
                bytes += count as u64;
            }
        }
    }
}
