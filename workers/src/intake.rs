//! The intake of a lane: one pass over its files as they were sent, after which every chunk of them can be read alone.
//!
//! Invariant: a report exists only if every record of both files is valid and in step and the digests are the stated
//! ones; it is a function of the files' bytes and the chunk length. Chunks are cut by read count, so what they hold
//! does not depend on how a file is compressed. Knows nothing of alignment.

use std::fmt::Write as _;
use std::path::PathBuf;

use jobs::failure::{Class, Classified};

use crate::fastq::{FastqError, FastqReader, PairReader, Pairs, QUALITY_MAX, Reads};
use crate::gzip::{GzipError, SeekPoint};

/// Pairs read at a time.
const BATCH_PAIRS: usize = 1024;
/// Cycles whose qualities are told apart; later ones are counted with the last.
pub const CYCLES_MAX: usize = 512;

/// The files of one lane.
#[derive(Clone, Debug)]
pub struct LaneInput {
    /// First reads, or all reads of a single-end lane.
    pub fastq_1: PathBuf,
    /// Second reads.
    pub fastq_2: Option<PathBuf>,
    /// SHA-256 that the first file must have, as stated by who sent it.
    pub sha256_1: Option<[u8; 32]>,
    /// The same of the second.
    pub sha256_2: Option<[u8; 32]>,
}

/// What intake found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntakeReport {
    /// Pairs, or reads of a single-end lane.
    pub pairs: u64,
    /// Where chunks begin; chunk `i` holds the pairs from `i * chunk_pairs` on.
    pub chunks: Vec<ChunkStart>,
    /// The first file and its reads.
    pub first: FileReport,
    /// The second.
    pub second: Option<FileReport>,
}

/// Where a chunk begins in both files: [`SeekPoint::to_bytes`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkStart {
    /// In the first file.
    pub point_1: Vec<u8>,
    /// In the second.
    pub point_2: Option<Vec<u8>>,
    /// BLAKE3 of the chunk's reads, for who reads it later: a file may change in between.
    pub digest: [u8; 32],
}

/// Digest of a run of pairs, however they are cut into batches: names, bases and qualities with their lengths. Gathered
/// before it is hashed, because BLAKE3 is many times faster on long runs.
#[derive(Default)]
struct ReadsDigest {
    hasher: blake3::Hasher,
    gathered: Vec<u8>,
}

/// Bytes gathered before they are hashed.
const DIGEST_BYTES: usize = 1 << 16;

impl ReadsDigest {
    fn add(&mut self, pairs: &Pairs, from: usize) {
        for pair in from..pairs.first.len() {
            for reads in [&pairs.first, &pairs.second].into_iter().filter(|reads| pair < reads.len()) {
                for bytes in [reads.name(pair), reads.sequence(pair), reads.qualities(pair)] {
                    self.gathered.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
                    self.gathered.extend_from_slice(bytes);
                }
            }
            if self.gathered.len() >= DIGEST_BYTES {
                self.hasher.update(&self.gathered);
                self.gathered.clear();
            }
        }
    }

    fn finish(&mut self) -> [u8; 32] {
        self.hasher.update(&self.gathered);
        self.gathered.clear();
        *std::mem::take(&mut self.hasher).finalize().as_bytes()
    }
}

/// One file as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileReport {
    /// Its length in bytes, as stored.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// Its reads.
    pub reads: ReadStatistics,
}

/// Counts over the reads of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadStatistics {
    /// Number of reads.
    pub reads: u64,
    /// Number of bases.
    pub bases: u64,
    /// Length of the shortest read in bases; 0 if there is none.
    pub length_min: u64,
    /// Length of the longest.
    pub length_max: u64,
    /// Number of bases by code: A C G T N.
    pub composition: [u64; 5],
    /// Number of bases by Phred quality, of each cycle (place in the read) up to the longest read's, [`CYCLES_MAX`] at
    /// most.
    pub qualities: Vec<[u64; QUALITY_MAX as usize + 1]>,
}

impl ReadStatistics {
    /// Counts the reads in.
    pub fn add(&mut self, reads: &Reads) {
        for read in 0..reads.len() {
            let (sequence, qualities) = (reads.sequence(read), reads.qualities(read));
            let length = sequence.len() as u64;
            self.length_min = if self.reads == 0 { length } else { self.length_min.min(length) };
            self.length_max = self.length_max.max(length);
            self.reads += 1;
            self.bases += length;
            sequence.iter().for_each(|&code| self.composition[usize::from(code)] += 1);
            if self.qualities.len() < qualities.len().min(CYCLES_MAX) {
                self.qualities.resize(qualities.len().min(CYCLES_MAX), [0; QUALITY_MAX as usize + 1]);
            }
            for (cycle, &quality) in qualities.iter().enumerate() {
                self.qualities[cycle.min(CYCLES_MAX - 1)][usize::from(quality)] += 1;
            }
        }
    }

    /// Number of bases of at least this Phred quality.
    pub fn bases_at_least(&self, quality: u8) -> u64 {
        self.qualities.iter().map(|cycle| cycle.iter().skip(quality.into()).sum::<u64>()).sum()
    }
}

/// Why a lane was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// A file cannot be read, or its records are not right.
    #[error(transparent)]
    Fastq(#[from] FastqError),
    /// A file is not the one that was stated.
    #[error("{}: expected SHA-256 {}, found {}", path.display(), hex(expected), hex(found))]
    Digest {
        /// The file.
        path: PathBuf,
        /// As stated.
        expected: [u8; 32],
        /// As computed.
        found: [u8; 32],
    },
    /// A stored chunk start is damaged.
    #[error("{}: the stored start of the chunk at pair {pair} is damaged", path.display())]
    ChunkStart {
        /// The file it was for.
        path: PathBuf,
        /// The first pair of the chunk.
        pair: u64,
    },
    /// A file changed after intake: a chunk ends early.
    #[error("{}: the chunk at pair {pair} holds {found} pairs, {expected} were taken in", path.display())]
    ChunkShort {
        /// The first file of the lane.
        path: PathBuf,
        /// The first pair of the chunk.
        pair: u64,
        /// Pairs at intake.
        expected: u64,
        /// Pairs now.
        found: u64,
    },
    /// A file changed after intake: a chunk holds other reads.
    #[error("{}: the reads of the chunk at pair {pair} are not those that were taken in", path.display())]
    ChunkChanged {
        /// The first file of the lane.
        path: PathBuf,
        /// The first pair of the chunk.
        pair: u64,
    },
    /// The caller asked to stop.
    #[error("the intake of {} was stopped", path.display())]
    Stopped {
        /// The first file of the lane.
        path: PathBuf,
    },
}

impl Classified for IntakeError {
    fn class(&self) -> Class {
        match self {
            IntakeError::Fastq(error) => error.class(),
            IntakeError::Digest { .. } => Class::Input,
            IntakeError::ChunkStart { .. }
            | IntakeError::ChunkShort { .. }
            | IntakeError::ChunkChanged { .. } => Class::Integrity,
            IntakeError::Stopped { .. } => Class::Interrupted,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            IntakeError::Fastq(error) => error.hint(),
            IntakeError::Digest { path, .. } => {
                Some(format!("sha256sum {}; fetch the file again, or correct the sheet", path.display()))
            }
            IntakeError::ChunkStart { .. } | IntakeError::Stopped { .. } => None,
            IntakeError::ChunkShort { .. } | IntakeError::ChunkChanged { .. } => Some(
                "the file changed after intake: put the first one back, or run into a new directory"
                    .to_owned(),
            ),
        }
    }
}

fn hex(digest: &[u8; 32]) -> String {
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Takes a lane in. Chunks begin every `chunk_pairs` pairs. `progress` is told the bytes read so far of both files and
/// returns false to stop.
pub fn intake(
    lane: &LaneInput,
    chunk_pairs: u64,
    mut progress: impl FnMut(u64) -> bool,
) -> Result<IntakeReport, IntakeError> {
    assert!(chunk_pairs > 0, "a chunk holds at least one pair");
    let mut reader = PairReader::open(&lane.fastq_1, lane.fastq_2.as_deref())?;
    let (mut first, mut second) = (ReadStatistics::default(), ReadStatistics::default());
    let mut chunks = Vec::new();
    let mut batch = Pairs::default();
    let mut digest = ReadsDigest::default();
    loop {
        let done = reader.first.records();
        let start = done.is_multiple_of(chunk_pairs).then(|| chunk_start(&mut reader));
        let count = (chunk_pairs - done % chunk_pairs).min(BATCH_PAIRS as u64);
        batch.clear();
        let read = reader.read(count as usize, &mut batch)?;
        if read == 0 {
            break;
        }
        if let Some(start) = start {
            seal(&mut chunks, &mut digest);
            chunks.push(start);
        }
        digest.add(&batch, 0);
        first.add(&batch.first);
        second.add(&batch.second);
        let bytes = reader.first.compressed_bytes();
        if !progress(bytes + reader.second.as_ref().map_or(0, FastqReader::compressed_bytes)) {
            return Err(IntakeError::Stopped { path: lane.fastq_1.clone() });
        }
    }
    seal(&mut chunks, &mut digest);
    let pairs = reader.first.records();
    let first = file_report(&reader.first, lane.sha256_1, first)?;
    let second = reader.second.as_ref().map(|file| file_report(file, lane.sha256_2, second)).transpose()?;
    Ok(IntakeReport { pairs, chunks, first, second })
}

/// Gives the last chunk the digest of its reads.
fn seal(chunks: &mut [ChunkStart], digest: &mut ReadsDigest) {
    if let Some(last) = chunks.last_mut() {
        last.digest = digest.finish();
    }
}

fn chunk_start(reader: &mut PairReader) -> ChunkStart {
    ChunkStart {
        point_1: reader.first.seek_point().to_bytes(),
        point_2: reader.second.as_mut().map(|second| second.seek_point().to_bytes()),
        digest: [0; 32],
    }
}

fn file_report(
    file: &FastqReader,
    stated: Option<[u8; 32]>,
    reads: ReadStatistics,
) -> Result<FileReport, IntakeError> {
    let path = || file.path().to_owned();
    // The reader has ended, so its digest is there.
    let found = file.sha256().ok_or_else(|| FastqError::Gzip(GzipError::SeekPoint { path: path() }))?;
    match stated {
        Some(expected) if expected != found => Err(IntakeError::Digest { path: path(), expected, found }),
        _ => Ok(FileReport { bytes: file.compressed_bytes(), sha256: found, reads }),
    }
}

/// Reads one chunk of a lane that was taken in.
pub struct ChunkReader {
    reader: PairReader,
    path: PathBuf,
    first_pair: u64,
    pairs: u64,
    done: u64,
    expected: [u8; 32],
    digest: ReadsDigest,
}

impl ChunkReader {
    /// Opens the chunk that starts at `start` and holds `pairs` pairs from `first_pair` on.
    pub fn open(
        lane: &LaneInput,
        start: &ChunkStart,
        first_pair: u64,
        pairs: u64,
    ) -> Result<ChunkReader, IntakeError> {
        let resume = |path: &PathBuf, point: &[u8]| {
            let damaged = || IntakeError::ChunkStart { path: path.clone(), pair: first_pair };
            let point = SeekPoint::from_bytes(point).ok_or_else(damaged)?;
            Ok::<_, IntakeError>(FastqReader::resume(path, &point, first_pair)?)
        };
        let second = match (&lane.fastq_2, &start.point_2) {
            (Some(path), Some(point)) => Some(resume(path, point)?),
            (None, None) => None,
            _ => return Err(IntakeError::ChunkStart { path: lane.fastq_1.clone(), pair: first_pair }),
        };
        let reader = PairReader { first: resume(&lane.fastq_1, &start.point_1)?, second };
        Ok(ChunkReader {
            reader,
            path: lane.fastq_1.clone(),
            first_pair,
            pairs,
            done: 0,
            expected: start.digest,
            digest: ReadsDigest::default(),
        })
    }

    /// Adds up to `count` of the chunk's pairs and returns how many; fewer only at the end of the chunk, where an error
    /// says if its reads are not those that were taken in.
    pub fn read(&mut self, count: usize, pairs: &mut Pairs) -> Result<usize, IntakeError> {
        let wanted = (self.pairs - self.done).min(count as u64);
        let before = pairs.first.len();
        let read = self.reader.read(wanted as usize, pairs)? as u64;
        self.digest.add(pairs, before);
        self.done += read;
        if read < wanted {
            let (pair, expected, found) = (self.first_pair, self.pairs, self.done);
            return Err(IntakeError::ChunkShort { path: self.path.clone(), pair, expected, found });
        }
        if self.done == self.pairs && wanted > 0 && self.digest.finish() != self.expected {
            return Err(IntakeError::ChunkChanged { path: self.path.clone(), pair: self.first_pair });
        }
        Ok(read as usize)
    }
}
