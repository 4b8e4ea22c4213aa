//! What all tasks of a job share: the reference, the samples, the settings and the scratch directory.
//!
//! Scratch is a directory of its own: `packs/`, whose packs [`Writer`] names, and, if htslib needs one, `reference.fa`. The filters use the same code in a temporary directory. A
//! context holds no key: data is opened through [`Access`](crate::access::Access) alone.

use crate::entry::LANES_MAX;
use crate::fasta;
use crate::header::sam_header;
use crate::htslib::{CramEncoder, CramError};
use crate::index_file::ReferenceIndex;
use crate::intake::LaneInput;
use jobs::failure::{Class, Classified};
use jobs::genome::Grid;
use jobs::task::{LaneId, Shard, Task};
use kernels::align::Scoring;
use kernels::call::CallOptions;
use kernels::simd::Level;
use rustix::time::{ClockId, clock_gettime};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::{fs, io};
use storage::atomic::AtomicFileError;
use storage::{Pack, PackError, Packs, PieceRef, RecordBuilder, RecordReader, SampleKey, Writer};

/// One lane of a sample: one read group.
#[derive(Clone, Debug)]
pub struct Lane {
    /// Its files.
    pub input: LaneInput,
    /// `ID` of its `@RG`; the value of its reads' `RG`.
    pub read_group: String,
    /// The whole `@RG` line without line break.
    pub header_line: String,
    /// Ordinal of its library among the sample's.
    pub library: u16,
    /// Read pairs per map task; never changes a result.
    pub chunk_pairs: u64,
}

/// One sample.
#[derive(Clone, Debug)]
pub struct Sample {
    /// SAM's `SM`; names the results.
    pub name: String,
    /// Whether it takes part in the joint call.
    pub joint: bool,
    /// How many samples of the cohort have a smaller participant's code: the same for all samples of one.
    pub participant: u32,
    /// Its lanes.
    pub lanes: Vec<Lane>,
}

/// What decides bytes.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The aligner's.
    pub scoring: Scoring,
    /// The caller's.
    pub call: CallOptions,
    /// The joint caller's.
    pub joint: kernels::joint::Options,
    /// Digest of the parameters of samples' files, for their headers.
    pub parameters: String,
    /// Digest of all parameters, for the headers of joint calls.
    pub joint_parameters: String,
    /// What alignments are written as.
    pub alignments: AlignmentFormat,
    /// Whether reads are called, too.
    pub calling: bool,
    /// The vectors of kernels; the one setting that no byte depends on.
    pub simd: Level,
}

/// What alignments are written as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AlignmentFormat {
    /// CRAM 3.0.
    #[default]
    Cram,
    /// BAM.
    Bam,
    /// Text.
    Sam,
}

/// The scratch directory could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// A directory could not be made.
    #[error("{}: cannot make the directory", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A sample has more lanes than the order of its records can tell apart.
    #[error("sample {sample} has {lanes} lanes, at most {LANES_MAX} are possible")]
    Lanes {
        /// The sample.
        sample: String,
        /// How many.
        lanes: usize,
    },
    /// The copy of the reference could not be written.
    #[error(transparent)]
    Reference(#[from] AtomicFileError),
}

impl Classified for ContextError {
    fn class(&self) -> Class {
        match self {
            ContextError::Directory { .. } => Class::Failed,
            ContextError::Lanes { .. } => Class::Input,
            ContextError::Reference(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            ContextError::Directory { .. } => Some("choose a place you may write to with --out".to_owned()),
            ContextError::Lanes { .. } => Some("join the files of lanes that share a read group".to_owned()),
            ContextError::Reference(error) => error.hint(),
        }
    }
}

/// Everything a task needs beside its inputs.
pub struct Context {
    /// Names the job in the seals of its scratch, and the cohort's files.
    pub job: String,
    /// The reference and its index.
    pub index: ReferenceIndex,
    /// The grid over it.
    pub grid: Grid,
    /// All samples.
    pub samples: Vec<Sample>,
    /// Settings.
    pub settings: Settings,
    names: Vec<String>,
    fasta: PathBuf,
    encoders: Mutex<HashMap<u32, Arc<CramEncoder>>>,
    writer: Writer,
    packs: Packs,
    open: Mutex<HashMap<String, Arc<Pack>>>,
    committed_ends: BTreeMap<String, u64>,
    storing_us: AtomicU64,
}

impl Context {
    /// Opens the scratch directory `scratch`, making what is missing, to write to the packs of `writer`.
    /// `committed_ends` says for each pack how much of it the journal knows.
    pub fn open(
        job: String,
        index: ReferenceIndex,
        samples: Vec<Sample>,
        settings: Settings,
        scratch: &Path,
        (writer, committed_ends): (Writer, BTreeMap<String, u64>),
    ) -> Result<Self, ContextError> {
        if let Some(sample) = samples.iter().find(|sample| sample.lanes.len() > LANES_MAX as usize) {
            return Err(ContextError::Lanes { sample: sample.name.clone(), lanes: sample.lanes.len() });
        }
        let make = |name: &str| {
            let path = scratch.join(name);
            match fs::create_dir_all(&path) {
                Ok(()) => Ok(path),
                Err(source) => Err(ContextError::Directory { path, source }),
            }
        };
        let packs_dir = make("packs")?;
        let fasta = fasta::for_htslib(index.fasta(), index.contigs(), &index.reference(), scratch)?;
        Ok(Context {
            job,
            grid: Grid::new(index.contigs()),
            index,
            names: samples.iter().map(|sample| sample.name.clone()).collect(),
            samples,
            settings,
            fasta,
            encoders: Mutex::default(),
            writer,
            packs: Packs::new(&packs_dir),
            open: Mutex::default(),
            committed_ends,
            storing_us: AtomicU64::new(0),
        })
    }

    /// Of one sample without reads, on a reference of one cell.
    #[cfg(test)]
    pub(crate) fn of_tests(scratch: &Path) -> Self {
        let fasta = scratch.join("small.fa");
        fs::write(&fasta, format!(">1\n{}\n", "ACGGTCATTG".repeat(30))).unwrap();
        let index = crate::index_file::path_of(&fasta);
        crate::index_file::build(&fasta, &index, &|_| ()).unwrap();
        let index = ReferenceIndex::open(&fasta, &index).unwrap();
        let sample = Sample { name: "S".to_owned(), joint: true, participant: 0, lanes: Vec::new() };
        let writer = (Writer::Alone { era: 1 }, BTreeMap::new());
        Context::open("job".to_owned(), index, vec![sample], Settings::default(), scratch, writer).unwrap()
    }

    /// The sample.
    pub fn sample(&self, sample: u32) -> &Sample {
        &self.samples[sample as usize]
    }

    /// Whether this job has the task's sample and lane, its reference the task's cells.
    pub fn knows(&self, task: Task) -> bool {
        let sample = |sample: u32| self.samples.get(sample as usize);
        let shard = |shard| match shard {
            Shard::Cells { first, end } => first < end && end.0 <= self.grid.cells(),
            Shard::Unplaced => true,
        };
        match task {
            Task::Intake(lane, _) | Task::Model(lane) | Task::Map(lane, _) => {
                sample(lane.sample).is_some_and(|sample| (lane.lane as usize) < sample.lanes.len())
            }
            Task::Region(of, cells) => sample(of).is_some() && shard(cells),
            Task::Joint(cells) => shard(cells),
            task => task.sample().is_none_or(|of| sample(of).is_some()),
        }
    }

    /// The lane.
    pub(crate) fn lane(&self, id: LaneId) -> &Lane {
        &self.sample(id.sample).lanes[id.lane as usize]
    }

    /// All samples' names in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Header text of a sample's alignment file.
    pub fn sam_header(&self, sample: u32) -> String {
        sam_header(self.index.contigs(), self.sample(sample), &self.settings.parameters, true)
    }

    /// The encoder of a sample's CRAM, shared by its tasks until [`Context::release_sample`]: it holds the contig in use.
    pub fn encoder(&self, sample: u32) -> Result<Arc<CramEncoder>, CramError> {
        let mut encoders = self.encoders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(encoder) = encoders.get(&sample) {
            return Ok(Arc::clone(encoder));
        }
        let encoder = Arc::new(CramEncoder::open(&self.sam_header(sample), &self.fasta)?);
        encoders.insert(sample, Arc::clone(&encoder));
        Ok(encoder)
    }

    /// What a task's records are sealed to.
    pub(crate) fn seal_context(&self, task: Task) -> String {
        format!("{}/{}", self.job, task.key(&self.names))
    }

    /// The pack a task writes to.
    fn pack_name(&self, task: Task) -> String {
        let sample = task.sample().map(|sample| self.names[sample as usize].as_str());
        match (task, self.writer) {
            (Task::Intake(..) | Task::Map(..), _) => self.writer.pack(sample, "map"),
            (Task::Region(..) | Task::WriteSample(..), _) => self.writer.pack(sample, "region"),
            // What finished samples say of themselves outlives the job, and so lies apart.
            (Task::FinishSample(_), Writer::Alone { .. }) => self.writer.pack(None, "finish"),
            (Task::FinishSample(_), Writer::OfMany { .. }) => {
                format!("finish.{}", self.writer.pack(None, "finish"))
            }
            _ => self.writer.pack(None, "cohort"),
        }
    }

    /// CPU time of this process's tasks that went into storing what they made, in milliseconds: digest, write, sync and
    /// comparison.
    pub fn storing_cpu_ms(&self) -> u64 {
        self.storing_us.load(Ordering::Relaxed) / 1000
    }

    /// Writes a finished record of `task`; it is stored once the pack given back is synced, see [`Context::settle`].
    pub(crate) fn append_record(
        &self,
        task: Task,
        record: RecordBuilder,
    ) -> Result<(PieceRef, Arc<Pack>), PackError> {
        self.storing(|| {
            let pack = self.pack(self.pack_name(task))?;
            Ok((pack.append(&record.finish())?, pack))
        })
    }

    /// When this returns, everything that was appended to these packs is stored.
    pub(crate) fn settle(&self, packs: &[Arc<Pack>]) -> Result<(), PackError> {
        self.storing(|| packs.iter().try_for_each(|pack| pack.sync()))
    }

    /// Counts what `work` takes as storing.
    fn storing<T>(&self, work: impl FnOnce() -> T) -> T {
        let began = thread_cpu_us();
        let done = work();
        self.storing_us.fetch_add(thread_cpu_us() - began, Ordering::Relaxed);
        done
    }

    fn pack(&self, name: String) -> Result<Arc<Pack>, PackError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pack) = open.get(&name) {
            return Ok(Arc::clone(pack));
        }
        let end = self.committed_ends.get(&name).copied().unwrap_or(0);
        let pack = Arc::new(self.packs.append(&name, end)?);
        open.insert(name, Arc::clone(&pack));
        Ok(pack)
    }

    /// Opens a committed record of `task`, for who has its key.
    pub(crate) fn open_record(
        &self,
        task: Task,
        piece: &PieceRef,
        key: &SampleKey,
    ) -> Result<RecordReader, PackError> {
        self.packs.record(piece, key, &self.seal_context(task))
    }

    /// Compares a committed piece of `task` with its digest.
    pub fn verify(&self, task: Task, piece: &PieceRef) -> Result<(), PackError> {
        self.packs.verify(piece, &task.key(&self.names))
    }

    /// Gives back what the sample's map and region tasks needed: the encoder and, where they have a pack of their own,
    /// the runs. Only for when all its region tasks are committed.
    pub fn release_sample(&self, sample: u32) {
        self.encoders.lock().unwrap_or_else(PoisonError::into_inner).remove(&sample);
        if matches!(self.writer, Writer::OfMany { .. }) {
            return;
        }
        let name = self.writer.pack(Some(&self.names[sample as usize]), "map");
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
        // Space that cannot be given back now is given back with the rest when the job ends.
        let _ = self.packs.remove(&name);
    }
}

/// CPU time of the calling thread in microseconds.
fn thread_cpu_us() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}
