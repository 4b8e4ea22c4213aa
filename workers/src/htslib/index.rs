//! Indexes beside files: `.crai`, `.bai` or `.csi` of alignments, `.fai` and `.gzi` of a FASTA.

use std::collections::HashMap;
use std::ffi::{OsString, c_int};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use jobs::failure::{Class, Classified};
use storage::atomic::{AtomicFile, AtomicFileError};

use super::handle::{self, AlignmentFile, Kind};

/// The longest contig a `.bai` can index.
const BAI_CONTIG_BASES_MAX: u64 = 1 << 29;
/// Smallest interval of a `.csi`, as a power of two: samtools' choice.
const CSI_MIN_SHIFT: c_int = 14;

/// Why a file could not be indexed.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The file cannot be opened, or its index cannot be written.
    #[error("{}: cannot be indexed", path.display())]
    Io {
        /// The file to be indexed.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is neither BAM nor CRAM.
    #[error("{}: expected a BAM or CRAM file to index", path.display())]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// The records do not decode, or are not in coordinate order.
    #[error("{}: expected readable records in coordinate order", path.display())]
    Records {
        /// The file.
        path: PathBuf,
    },
    /// The FASTA is compressed by plain gzip, which no index can reach into.
    #[error("{}: compressed by gzip, expected plain text or BGZF", path.display())]
    PlainGzip {
        /// The FASTA.
        path: PathBuf,
    },
    /// The index cannot be written.
    #[error(transparent)]
    Write(#[from] AtomicFileError),
    /// The FASTA has lines of uneven length, a name twice, or no sequence.
    #[error("{}: expected FASTA with sequence lines of equal length and every name once", path.display())]
    Fasta {
        /// The FASTA.
        path: PathBuf,
    },
}

impl Classified for IndexError {
    fn class(&self) -> Class {
        match self {
            IndexError::Write(error) => error.class(),
            IndexError::Io { source, .. } if source.kind() != io::ErrorKind::NotFound => Class::Failed,
            _ => Class::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            IndexError::Write(error) => error.hint(),
            IndexError::PlainGzip { path } => {
                Some(format!("gzip -dc {0} | bgzip > {0}.bgz, and use that", path.display()))
            }
            IndexError::Records { path } => Some(format!("samtools quickcheck -v {}", path.display())),
            _ => None,
        }
    }
}

/// Indexes a BAM (`.bai`, or `.csi` where a contig is too long for it) or CRAM (`.crai`); returns the index's path.
pub fn index_alignments(path: &Path) -> Result<PathBuf, IndexError> {
    let io_error = |source| IndexError::Io { path: path.to_owned(), source };
    let c_path = handle::c_path(path).map_err(io_error)?;
    let file = File::open(path).map_err(io_error)?;
    let format = || IndexError::Format { path: path.to_owned() };
    let (mut alignments, kind) = AlignmentFile::open(file, &c_path).map_err(|_| format())?;
    let header = alignments.header().ok_or_else(format)?;
    let long = header.contigs().iter().any(|&(_, bases)| bases > BAI_CONTIG_BASES_MAX);
    let (extension, min_shift) = match kind {
        Kind::Cram => (".crai", 0),
        Kind::Bam if long => (".csi", CSI_MIN_SHIFT),
        Kind::Bam => (".bai", 0),
        Kind::Sam => return Err(format()),
    };
    drop(alignments);
    let index = beside(path, extension);
    let c_index = handle::c_path(&index).map_err(io_error)?;
    match handle::build_alignment_index(&c_path, &c_index, min_shift) {
        Ok(()) => Ok(index),
        Err(-4) => Err(io_error(io::Error::last_os_error())),
        Err(_) => Err(IndexError::Records { path: path.to_owned() }),
    }
}

/// What [`index_fasta`] found beside a FASTA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FastaIndex {
    /// None: it was written.
    Written,
    /// One that does not fit the FASTA: it was written anew.
    Replaced,
    /// One that fits, which was left alone.
    Kept,
}

/// Puts the `.fai` of a FASTA beside it, and for BGZF the `.gzi`: byte for byte those of samtools.
pub fn index_fasta(path: &Path) -> Result<FastaIndex, IndexError> {
    let io_error = |source| IndexError::Io { path: path.to_owned(), source };
    let mut start = Vec::new();
    File::open(path).and_then(|file| file.take(18).read_to_end(&mut start)).map_err(io_error)?;
    let compressed = start.starts_with(&[0x1f, 0x8b]);
    if compressed && start.get(12..16) != Some(b"BC\x02\x00") {
        return Err(IndexError::PlainGzip { path: path.to_owned() });
    }
    let fai = AtomicFile::create(&beside(path, ".fai"))?;
    let gzi = AtomicFile::create(&beside(path, ".gzi"))?;
    let paths = [path, fai.partial_path(), gzi.partial_path()].map(handle::c_path);
    let [Ok(c_path), Ok(c_fai), Ok(c_gzi)] = paths else {
        return Err(io_error(io::ErrorKind::InvalidInput.into()));
    };
    handle::build_fasta_index(&c_path, &c_fai, &c_gzi).ok_or(IndexError::Fasta { path: path.to_owned() })?;
    let mut found = FastaIndex::Kept;
    // The .gzi first: where the .fai is, both are.
    for file in compressed.then_some(gzi).into_iter().chain([fai]) {
        let made = std::fs::read(file.partial_path()).map_err(io_error)?;
        match std::fs::read(file.path()) {
            Ok(there) if there == made => continue,
            Ok(_) => found = FastaIndex::Replaced,
            Err(_) if found == FastaIndex::Kept => found = FastaIndex::Written,
            Err(_) => {}
        }
        file.commit()?;
    }
    Ok(found)
}

/// Names and lengths in the `.fai` beside a FASTA.
pub fn fasta_contigs(fasta: &Path) -> io::Result<HashMap<String, u64>> {
    let mut contigs = HashMap::new();
    for line in BufReader::new(File::open(beside(fasta, ".fai"))?).lines() {
        let line = line?;
        let mut fields = line.split('\t');
        let length = fields.clone().nth(1).and_then(|bases| bases.parse().ok());
        let (Some(name), Some(length)) = (fields.next(), length) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the .fai is damaged"));
        };
        contigs.insert(name.to_owned(), length);
    }
    Ok(contigs)
}

fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(extension);
    name.into()
}
