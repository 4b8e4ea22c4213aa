//! The intake of a lane: one pass over its files as they were sent, after which every chunk of them can be read alone. It
//! is made in parts, each of which goes on where the one before ended.
//!
//! Invariant: a report exists only if every record so far is valid and in step in both files, and that of the last part
//! only if the files' digests are the stated ones; it is a function of the files' bytes and the chunk length. Chunks are
//! cut by read count, so what they hold does not depend on how a file is compressed. All parts read one file: who finds
//! another one in its place says so. Knows nothing of alignment.

use std::fmt::Write as _;
use std::path::PathBuf;

use jobs::failure::{Class, Classified};
use jobs::task::INTAKE_CHUNKS;

use crate::fastq::{FastqError, FastqReader, PairReader, Pairs, QUALITY_MAX, Reads};
use crate::gzip::{GzipError, Place, SeekPoint};

/// Pairs read at a time.
const BATCH_PAIRS: u64 = 1024;
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

/// What a part of an intake found.
#[derive(Clone, Debug)]
pub struct IntakeReport {
    /// Pairs of this part, or reads of a single-end lane.
    pub pairs: u64,
    /// Where its chunks begin; each but the lane's last holds as many pairs.
    pub chunks: Vec<ChunkStart>,
    /// Reads of this part in the first file.
    pub first: ReadStatistics,
    /// The same in the second.
    pub second: ReadStatistics,
    /// How it ended.
    pub end: IntakeEnd,
}

/// How a part of an intake ended.
#[derive(Clone, Debug)]
pub enum IntakeEnd {
    /// With its last chunk: there is more.
    More(Box<Taken>),
    /// With the lane: the first file, and the second where there is one.
    Lane(Vec<FileReport>),
}

/// How far a lane is taken in: where its next part goes on.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Pairs before.
    pub pairs: u64,
    /// The first file.
    pub first: Place,
    /// The second.
    pub second: Option<Place>,
}

impl Taken {
    /// What any reader of these files finds: pairs (u64, little endian), the first place with its length before it (u32),
    /// the second; and beside it what this one saw of the files.
    pub fn to_bytes(&self) -> (Vec<u8>, Vec<u8>) {
        let first = self.first.to_bytes();
        let mut bytes = self.pairs.to_le_bytes().to_vec();
        bytes.extend((first.len() as u32).to_le_bytes());
        bytes.extend(first);
        bytes.extend(self.second.iter().flat_map(Place::to_bytes));
        let seen = [Some(&self.first), self.second.as_ref()].into_iter().flatten().flat_map(Place::seen);
        (bytes, seen.collect())
    }

    /// What [`Taken::to_bytes`] wrote; `None` for any other bytes.
    pub fn from_bytes(bytes: &[u8], seen: &[u8]) -> Option<Taken> {
        let (&pairs, rest) = bytes.split_first_chunk()?;
        let (&length, rest) = rest.split_first_chunk()?;
        let (first, second) = rest.split_at_checked(u32::from_le_bytes(length) as usize)?;
        let (seen_1, seen_2) = seen.split_at_checked(Place::SEEN_BYTES)?;
        let second = match second.is_empty() && seen_2.is_empty() {
            true => None,
            false => Some(Place::from_bytes(second, seen_2)?),
        };
        Some(Taken { pairs: u64::from_le_bytes(pairs), first: Place::from_bytes(first, seen_1)?, second })
    }

    /// Bytes of both files before it.
    pub fn compressed_bytes(&self) -> u64 {
        self.first.compressed_bytes() + self.second.as_ref().map_or(0, Place::compressed_bytes)
    }

    fn of(reader: &mut PairReader) -> Option<Self> {
        let second = match &mut reader.second {
            Some(second) => Some(second.place()?),
            None => None,
        };
        Some(Taken { pairs: reader.first.records(), first: reader.first.place()?, second })
    }

    fn go_on(&self, lane: &LaneInput) -> Result<PairReader, IntakeError> {
        let second = match (&lane.fastq_2, &self.second) {
            (Some(path), Some(place)) => Some(FastqReader::go_on(path, place, self.pairs)?),
            (None, None) => None,
            _ => return Err(IntakeError::ChunkStart { path: lane.fastq_1.clone(), pair: self.pairs }),
        };
        Ok(PairReader { first: FastqReader::go_on(&lane.fastq_1, &self.first, self.pairs)?, second })
    }
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

/// Takes the next [`INTAKE_CHUNKS`] chunks of a lane in, each of `chunk_pairs` pairs, from where the part before ended.
/// `progress` is told the bytes read so far of both files and returns false to stop.
pub fn intake(
    lane: &LaneInput,
    chunk_pairs: u64,
    before: Option<&Taken>,
    mut progress: impl FnMut(u64) -> bool,
) -> Result<IntakeReport, IntakeError> {
    assert!(chunk_pairs > 0, "a chunk holds at least one pair");
    let mut reader = match before {
        Some(before) => before.go_on(lane)?,
        None => PairReader::open(&lane.fastq_1, lane.fastq_2.as_deref())?,
    };
    let part_pairs = chunk_pairs * u64::from(INTAKE_CHUNKS);
    let (mut first, mut second) = (ReadStatistics::default(), ReadStatistics::default());
    let mut chunks = Vec::new();
    let mut batch = Pairs::default();
    let mut digest = ReadsDigest::default();
    let mut pairs = 0u64;
    let taken = loop {
        let start = pairs.is_multiple_of(chunk_pairs).then(|| chunk_start(&mut reader));
        let taken = if pairs == part_pairs { Taken::of(&mut reader) } else { None };
        // A pair of the next part, if there is one, is read to see that there is.
        let count = (chunk_pairs - pairs % chunk_pairs).min(if taken.is_some() { 1 } else { BATCH_PAIRS });
        batch.clear();
        let read = reader.read(count as usize, &mut batch)?;
        if read == 0 || taken.is_some() {
            break taken.filter(|_| read > 0);
        }
        if let Some(start) = start {
            seal(&mut chunks, &mut digest);
            chunks.push(start);
        }
        digest.add(&batch, 0);
        first.add(&batch.first);
        second.add(&batch.second);
        pairs += read as u64;
        let bytes = reader.first.compressed_bytes();
        if !progress(bytes + reader.second.as_ref().map_or(0, FastqReader::compressed_bytes)) {
            return Err(IntakeError::Stopped { path: lane.fastq_1.clone() });
        }
    };
    seal(&mut chunks, &mut digest);
    let end = match taken {
        Some(taken) => IntakeEnd::More(Box::new(taken)),
        None => IntakeEnd::Lane(file_reports(lane, &reader)?),
    };
    Ok(IntakeReport { pairs, chunks, first, second, end })
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

/// The files of a lane that has ended.
fn file_reports(lane: &LaneInput, reader: &PairReader) -> Result<Vec<FileReport>, IntakeError> {
    let report = |file: &FastqReader, stated: Option<[u8; 32]>| {
        let path = || file.path().to_owned();
        // The reader has ended, so its digest is there.
        let found = file.sha256().ok_or_else(|| FastqError::Gzip(GzipError::SeekPoint { path: path() }))?;
        match stated {
            Some(expected) if expected != found => Err(IntakeError::Digest { path: path(), expected, found }),
            _ => Ok(FileReport { bytes: file.compressed_bytes(), sha256: found }),
        }
    };
    let second = reader.second.as_ref().map(|file| report(file, lane.sha256_2));
    [Some(report(&reader.first, lane.sha256_1)), second].into_iter().flatten().collect()
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
