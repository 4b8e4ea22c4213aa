//! FASTQ, read strictly: single files and pairs of files in step.
//!
//! Invariant: a record is handed out only if it is whole: four lines, a name BAM can hold, as many qualities as bases,
//! nothing unknown in any of them; and a pair only if both mates bear one name. Every refusal says file and line.
//! Comments and what follows the `+` are not read. Knows nothing of who sent the file.

mod chunk;

use std::path::{Path, PathBuf};

use jobs::failure::{Class, Classified};

use crate::gzip::{self, GzipError, Place, SeekPoint};
pub use chunk::{CHUNK_RECORDS, Chunk, Cutter, Files};

/// Longest record in bytes; a longer one is taken for damage, so that a hostile file cannot fill the memory.
pub const RECORD_BYTES_MAX: usize = 1 << 28;

/// Longest read name that BAM can hold.
pub const NAME_BYTES_MAX: usize = 254;

/// Highest quality FASTQ can write: `~` less the offset of 33.
pub const QUALITY_MAX: u8 = 126 - QUALITY_OFFSET;

const QUALITY_OFFSET: u8 = 33;

/// Why reads could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FastqError {
    /// The file cannot be read or decompressed.
    #[error(transparent)]
    Gzip(#[from] GzipError),
    /// A record is malformed.
    #[error("{} line {line}: {problem}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        problem: Problem,
    },
    /// Two records that stand at the same place have different names.
    #[error(
        "{} and {} are out of step at line {line}: '{name_1}' stands beside '{name_2}'",
        path_1.display(), path_2.display()
    )]
    OutOfStep {
        /// The file of first reads.
        path_1: PathBuf,
        /// The file of second reads.
        path_2: PathBuf,
        /// The line of both names, from 1.
        line: u64,
        /// The name in the first.
        name_1: String,
        /// The name in the second.
        name_2: String,
    },
    /// One file of a pair ends before the other.
    #[error("{} ends after {records} records, {} goes on", shorter.display(), longer.display())]
    Unequal {
        /// The file that ends.
        shorter: PathBuf,
        /// The other.
        longer: PathBuf,
        /// How many records the shorter holds.
        records: u64,
    },
    /// Of two reads that are to be a pair, one after the other, the second has another name.
    #[error("{} line {line}: expected the mate of '{name_1}', found '{name_2}'", path.display())]
    NoMate {
        /// The file.
        path: PathBuf,
        /// The line of the second name, from 1.
        line: u64,
        /// The first name.
        name_1: String,
        /// The second.
        name_2: String,
    },
    /// The file of pairs ends after the first read of one.
    #[error("{} ends after {records} records, before the mate of the last", path.display())]
    Mateless {
        /// The file.
        path: PathBuf,
        /// How many records it holds.
        records: u64,
    },
}

/// What is wrong with a FASTQ line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The first line of a record does not begin with `@`.
    #[error("expected '@' and a read name, found {}", shown(*found))]
    NoAt {
        /// Its first byte, if it has one.
        found: Option<u8>,
    },
    /// The name is empty.
    #[error("expected a read name after '@'")]
    NoName,
    /// The name does not fit a BAM record.
    #[error("expected a read name of at most {NAME_BYTES_MAX} bytes, found {bytes}")]
    LongName {
        /// Its length.
        bytes: usize,
    },
    /// The name has a byte that SAM does not allow.
    #[error("expected printable characters in the read name, found {}", shown(Some(*found)))]
    NameByte {
        /// The byte.
        found: u8,
    },
    /// A base is no IUPAC code.
    #[error("expected bases, found {} in column {column}", shown(Some(*found)))]
    Base {
        /// The byte.
        found: u8,
        /// Its column, from 1.
        column: usize,
    },
    /// The third line does not begin with `+`.
    #[error("expected '+', found {}", shown(*found))]
    NoPlus {
        /// Its first byte, if it has one.
        found: Option<u8>,
    },
    /// A quality is no printable character.
    #[error("expected a quality between '!' and '~', found {} in column {column}", shown(Some(*found)))]
    Quality {
        /// The byte.
        found: u8,
        /// Its column, from 1.
        column: usize,
    },
    /// There are more or fewer qualities than bases.
    #[error("expected {bases} qualities as there are bases, found {qualities}")]
    Lengths {
        /// Number of bases.
        bases: usize,
        /// Number of qualities.
        qualities: usize,
    },
    /// The file ends within a record.
    #[error("the file ends within a record")]
    Truncated,
    /// The record does not end.
    #[error("expected a record of at most {RECORD_BYTES_MAX} bytes")]
    Long,
}

fn shown(found: Option<u8>) -> String {
    match found {
        None => "an empty line".to_owned(),
        Some(byte) if byte.is_ascii_graphic() => format!("'{}'", byte as char),
        Some(byte) => format!("byte {byte:#04x}"),
    }
}

impl Classified for FastqError {
    fn class(&self) -> Class {
        match self {
            FastqError::Gzip(error) => error.class(),
            _ => Class::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            FastqError::Gzip(error) => error.hint(),
            FastqError::OutOfStep { .. } | FastqError::Unequal { .. } => Some(
                "give both files of one lane as the sequencer wrote them, neither filtered nor sorted"
                    .to_owned(),
            ),
            FastqError::NoMate { .. } | FastqError::Mateless { .. } => Some(
                "give pairs one after the other, neither filtered nor sorted; single reads without -p"
                    .to_owned(),
            ),
            FastqError::Record { problem: Problem::NoAt { found: Some(b'>') }, .. } => {
                Some("give FASTQ; FASTA has no qualities".to_owned())
            }
            FastqError::Record { .. } => Some("fetch the file again from its source".to_owned()),
        }
    }
}

/// Reads of one file, side by side in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    names: Vec<u8>,
    name_ends: Vec<usize>,
    sequences: Vec<u8>,
    qualities: Vec<u8>,
    ends: Vec<usize>,
}

impl Reads {
    /// How many reads there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.names.clear();
        self.name_ends.clear();
        self.sequences.clear();
        self.qualities.clear();
        self.ends.clear();
    }

    /// Adds a read that was checked before: a name BAM can hold, codes of bases, as many qualities.
    pub(crate) fn push(&mut self, name: &[u8], sequence: &[u8], qualities: &[u8]) {
        self.names.extend_from_slice(name);
        self.name_ends.push(self.names.len());
        self.sequences.extend_from_slice(sequence);
        self.qualities.extend_from_slice(qualities);
        self.ends.push(self.sequences.len());
    }

    /// The name, up to its first white space and without `/1` or `/2`.
    pub fn name(&self, read: usize) -> &[u8] {
        &self.names[span(&self.name_ends, read)]
    }

    /// The bases as codes 0 to 4 (A C G T N).
    pub fn sequence(&self, read: usize) -> &[u8] {
        &self.sequences[span(&self.ends, read)]
    }

    /// The Phred qualities, without offset, one per base.
    pub fn qualities(&self, read: usize) -> &[u8] {
        &self.qualities[span(&self.ends, read)]
    }

    /// Parses the record at the beginning of `bytes` and adds it; returns its length, or `None` if it is not whole yet.
    /// `last` says that no bytes follow, so that the last line need not end. An error names the line within the record.
    fn parse(&mut self, bytes: &[u8], last: bool) -> Result<Option<usize>, (u64, Problem)> {
        if bytes.first() != Some(&b'@') {
            return Err((
                0,
                Problem::NoAt { found: bytes.first().copied().filter(|byte| !b"\r\n".contains(byte)) },
            ));
        }
        let mut lines = [&bytes[..0]; 4];
        let mut at = 0;
        for (index, line) in lines.iter_mut().enumerate() {
            let rest = &bytes[at..];
            let length = match memchr::memchr(b'\n', rest) {
                Some(length) => length,
                None if last && index == 3 => rest.len(),
                None if last => return Err((index as u64, Problem::Truncated)),
                None => return Ok(None),
            };
            *line = rest[..length].strip_suffix(b"\r").unwrap_or(&rest[..length]);
            at = (at + length + 1).min(bytes.len());
        }
        let [name, sequence, plus, qualities] = lines;
        let name = parse_name(&name[1..]).map_err(|problem| (0, problem))?;
        if plus.first() != Some(&b'+') {
            return Err((2, Problem::NoPlus { found: plus.first().copied() }));
        }
        if sequence.len() != qualities.len() {
            let problem = Problem::Lengths { bases: sequence.len(), qualities: qualities.len() };
            // A file cut within its last line is short of qualities; say what happened.
            let cut =
                last && at == bytes.len() && !bytes.ends_with(b"\n") && qualities.len() < sequence.len();
            return Err((3, if cut { Problem::Truncated } else { problem }));
        }
        self.append_sequence(sequence).map_err(|problem| (1, problem))?;
        self.append_qualities(qualities).map_err(|problem| (3, problem))?;
        self.names.extend_from_slice(name);
        self.name_ends.push(self.names.len());
        self.ends.push(self.sequences.len());
        Ok(Some(at))
    }

    fn append_sequence(&mut self, text: &[u8]) -> Result<(), Problem> {
        let start = self.sequences.len();
        self.sequences.extend(text.iter().map(|&byte| CODES[usize::from(byte)]));
        let worst = self.sequences[start..].iter().fold(0, |worst, &code| worst.max(code));
        if worst < NO_BASE {
            return Ok(());
        }
        let column = text.iter().position(|&byte| CODES[usize::from(byte)] == NO_BASE).unwrap_or(0);
        Err(Problem::Base { found: text[column], column: column + 1 })
    }

    fn append_qualities(&mut self, text: &[u8]) -> Result<(), Problem> {
        let start = self.qualities.len();
        self.qualities.extend(text.iter().map(|&byte| byte.wrapping_sub(QUALITY_OFFSET)));
        let worst = self.qualities[start..].iter().fold(0, |worst, &quality| worst.max(quality));
        if worst <= QUALITY_MAX {
            return Ok(());
        }
        let column = text.iter().position(|&byte| !(33..=126).contains(&byte)).unwrap_or(0);
        Err(Problem::Quality { found: text[column], column: column + 1 })
    }
}

fn span(ends: &[usize], index: usize) -> std::ops::Range<usize> {
    let start = if index == 0 { 0 } else { ends[index - 1] };
    start..ends[index]
}

const NO_BASE: u8 = 5;

/// Codes of bases by letter: `U` is T, IUPAC's ambiguities and `.` are N.
static CODES: [u8; 256] = codes();

const fn codes() -> [u8; 256] {
    let mut codes = [NO_BASE; 256];
    let known = b"AaCcGgTtUuNnRrYySsWwKkMmBbDdHhVv.";
    let mut index = 0;
    while index < known.len() {
        codes[known[index] as usize] = match known[index] {
            b'A' | b'a' => 0,
            b'C' | b'c' => 1,
            b'G' | b'g' => 2,
            b'T' | b't' | b'U' | b'u' => 3,
            _ => 4,
        };
        index += 1;
    }
    codes
}

fn parse_name(text: &[u8]) -> Result<&[u8], Problem> {
    let name = &text[..memchr::memchr2(b' ', b'\t', text).unwrap_or(text.len())];
    let name = name.strip_suffix(b"/1").or_else(|| name.strip_suffix(b"/2")).unwrap_or(name);
    match name.len() {
        0 => Err(Problem::NoName),
        1..=NAME_BYTES_MAX => match name.iter().find(|byte| !byte.is_ascii_graphic()) {
            Some(&found) => Err(Problem::NameByte { found }),
            None => Ok(name),
        },
        bytes => Err(Problem::LongName { bytes }),
    }
}

/// Reads one FASTQ file.
pub struct FastqReader {
    bytes: gzip::Reader,
    records: u64,
    ended: bool,
}

impl FastqReader {
    /// Opens a file at its start; `-` is standard input.
    pub fn open(path: &Path) -> Result<FastqReader, FastqError> {
        Ok(FastqReader { bytes: gzip::Reader::open(path)?, records: 0, ended: false })
    }

    /// Opens a file at the seek point of the record that `records` others stand before.
    pub fn resume(path: &Path, point: &SeekPoint, records: u64) -> Result<FastqReader, FastqError> {
        Ok(FastqReader { bytes: gzip::Reader::resume(path, point)?, records, ended: false })
    }

    /// Opens a file at the place of the record that `records` others stand before, and goes on hashing there.
    pub fn go_on(path: &Path, place: &Place, records: u64) -> Result<FastqReader, FastqError> {
        Ok(FastqReader { bytes: gzip::Reader::go_on(path, place)?, records, ended: false })
    }

    /// Adds the next record; false, and nothing added, at the end of the file. After an error the contents of `reads`
    /// are not to be used.
    pub fn read(&mut self, reads: &mut Reads) -> Result<bool, FastqError> {
        loop {
            let bytes = self.bytes.buffer();
            // Blank lines at the very end are no record.
            let blank = bytes.iter().all(|byte| matches!(byte, b'\n' | b'\r'));
            if blank && self.ended {
                return Ok(false);
            }
            let parsed = if blank { Ok(None) } else { reads.parse(bytes, self.ended) };
            match parsed {
                Ok(Some(length)) => {
                    self.bytes.consume(length);
                    self.records += 1;
                    return Ok(true);
                }
                Ok(None) if bytes.len() > RECORD_BYTES_MAX => return Err(self.refuse(0, Problem::Long)),
                Ok(None) => self.ended = !self.bytes.fill()?,
                Err((line, problem)) => return Err(self.refuse(line, problem)),
            }
        }
    }

    fn refuse(&self, line: u64, problem: Problem) -> FastqError {
        FastqError::Record { path: self.path().to_owned(), line: 4 * self.records + line + 1, problem }
    }

    /// The place of the next record.
    pub fn seek_point(&mut self) -> SeekPoint {
        self.bytes.seek_point()
    }

    /// The same with the digest of what is before it; `None` for a reader that does not hash.
    pub fn place(&mut self) -> Option<Place> {
        self.bytes.place()
    }

    /// How many records stand before the next one.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.bytes.path()
    }

    /// Bytes of the file read so far.
    pub fn compressed_bytes(&self) -> u64 {
        self.bytes.compressed_bytes()
    }

    /// SHA-256 of the file once it has ended; `None` for a reader that does not hash.
    pub fn sha256(&self) -> Option<[u8; 32]> {
        self.bytes.sha256()
    }
}

/// Read pairs, or single reads where `second` stays empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs {
    /// First reads.
    pub first: Reads,
    /// Their mates, in the same order.
    pub second: Reads,
}

impl Pairs {
    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.first.clear();
        self.second.clear();
    }
}

/// Reads a lane: two files in step, or one.
pub struct PairReader {
    /// The first reads.
    pub first: FastqReader,
    /// The second reads, where the lane has them.
    pub second: Option<FastqReader>,
}

impl PairReader {
    /// Opens a lane at its start.
    pub fn open(fastq_1: &Path, fastq_2: Option<&Path>) -> Result<PairReader, FastqError> {
        Ok(PairReader {
            first: FastqReader::open(fastq_1)?,
            second: fastq_2.map(FastqReader::open).transpose()?,
        })
    }

    /// Adds up to `count` pairs and returns how many; fewer only at the end of the lane.
    pub fn read(&mut self, count: usize, pairs: &mut Pairs) -> Result<usize, FastqError> {
        for done in 0..count {
            let first = self.first.read(&mut pairs.first)?;
            let second = self.second.as_mut().map(|reader| reader.read(&mut pairs.second)).transpose()?;
            match (first, second) {
                (true, None) => {}
                (true, Some(true)) if is_in_step(pairs) => {}
                (true, Some(true)) => {
                    return Err(out_of_step(self.paths(), pairs, self.first.records() - 1));
                }
                (false, None | Some(false)) => return Ok(done),
                (first, Some(_)) => {
                    return Err(unequal(self.paths(), first, self.first.records() - u64::from(first)));
                }
            }
        }
        Ok(count)
    }

    fn paths(&self) -> [PathBuf; 2] {
        let second = self.second.as_ref().map_or_else(PathBuf::new, |second| second.path().to_owned());
        [self.first.path().to_owned(), second]
    }
}

/// The names of the last pair.
fn last_names(pairs: &Pairs) -> [&[u8]; 2] {
    [&pairs.first, &pairs.second].map(|reads| reads.name(reads.len() - 1))
}

/// Whether the mates of the last pair bear one name.
fn is_in_step(pairs: &Pairs) -> bool {
    let [first, second] = last_names(pairs);
    first == second
}

/// They do not; `records` stand before them.
fn out_of_step([path_1, path_2]: [PathBuf; 2], pairs: &Pairs, records: u64) -> FastqError {
    let [name_1, name_2] = last_names(pairs).map(|name| String::from_utf8_lossy(name).into_owned());
    FastqError::OutOfStep { path_1, path_2, line: 4 * records + 1, name_1, name_2 }
}

/// One file of a pair has ended after so many records, the other goes on.
fn unequal([first, second]: [PathBuf; 2], first_goes_on: bool, records: u64) -> FastqError {
    let (shorter, longer) = if first_goes_on { (second, first) } else { (first, second) };
    FastqError::Unequal { shorter, longer, records }
}
