//! Alignments out of SAM, BAM and CRAM files, record by record or by region.
//!
//! Invariant: whatever the bytes, a record or a typed error comes out, and a file that ends without its end mark is an
//! error, not an end. Sequences of the reference come from the FASTA that the caller names and from nowhere else.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use jobs::failure::{Class, Classified};

use super::container::{ContainerError, check_headers};
use super::handle::{self, Alignment, AlignmentFile, Header, Kind, Next, Query};
use super::index::fasta_contigs;

/// Why alignments could not be read.
#[derive(Debug, thiserror::Error)]
pub enum AlignmentError {
    /// The file cannot be opened.
    #[error("{}: cannot be opened", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The first bytes are of no known format, or the header does not parse.
    #[error("{}: expected SAM, BAM or CRAM with a readable header", path.display())]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// A CRAM file was given without a reference.
    #[error("{}: a CRAM file is read with the reference it was written with, and none is given", path.display())]
    NoReference {
        /// The file.
        path: PathBuf,
    },
    /// The FASTA or its index cannot be used.
    #[error("reference {}: cannot be read with its index", path.display())]
    Reference {
        /// The FASTA.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A CRAM file's structure is damaged.
    #[error("{}: damaged or truncated", path.display())]
    Container {
        /// The file.
        path: PathBuf,
        /// Where and what.
        #[source]
        source: ContainerError,
    },
    /// A CRAM file was given through a pipe, where its checksums cannot be checked beforehand.
    #[error("{}: CRAM is read from a file, not from a pipe", path.display())]
    Pipe {
        /// The file.
        path: PathBuf,
    },
    /// A record does not decode, or the file ends early.
    #[error("{}: damaged or truncated after {records} records", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// How many records were read before it, in this file or query.
        records: u64,
        /// Whether the reference may be to blame.
        cram: bool,
    },
    /// There is no index beside the file, or it is damaged.
    #[error("{}: a region was asked for, but there is no usable index beside the file", path.display())]
    Index {
        /// The file.
        path: PathBuf,
    },
}

impl Classified for AlignmentError {
    fn class(&self) -> Class {
        match self {
            AlignmentError::Open { source, .. } if source.kind() != io::ErrorKind::NotFound => Class::Failed,
            AlignmentError::NoReference { .. } | AlignmentError::Pipe { .. } => Class::Usage,
            _ => Class::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            AlignmentError::Reference { path, .. } => Some(format!("wakachi index {}", path.display())),
            AlignmentError::Index { path } => Some(format!("samtools index {}", path.display())),
            AlignmentError::Record { path, cram: false, .. } => {
                Some(format!("samtools quickcheck -v {}", path.display()))
            }
            AlignmentError::Record { cram: true, .. } => Some(
                "check that the reference is the one the CRAM was written with; one of the archive profile, with \
                 LZMA blocks, is to be written anew by `samtools view -C`"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// An open alignment file.
pub struct AlignmentReader {
    path: PathBuf,
    query: Option<Query>,
    file: AlignmentFile<'static>,
    kind: Kind,
    header: Header,
    alignment: Alignment,
    records: u64,
}

impl AlignmentReader {
    /// Opens a file, or standard input for `-`. The reference, a FASTA with its `.fai`, is needed for CRAM only.
    pub fn open(path: &Path, reference: Option<&Path>) -> Result<AlignmentReader, AlignmentError> {
        let open_error = |source| AlignmentError::Open { path: path.to_owned(), source };
        let format = || AlignmentError::Format { path: path.to_owned() };
        let c_path = handle::c_path(path).map_err(open_error)?;
        let descriptor = descriptor(path).map_err(open_error)?;
        check_cram(path, &descriptor)?;
        let (mut file, kind) = AlignmentFile::open(descriptor, &c_path).map_err(|_| format())?;
        let is_file = std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
        if kind == Kind::Cram && !is_file {
            return Err(AlignmentError::Pipe { path: path.to_owned() });
        }
        if kind == Kind::Cram && reference.is_none() {
            return Err(AlignmentError::NoReference { path: path.to_owned() });
        }
        let header = file.header().ok_or_else(format)?;
        if let (Kind::Cram, Some(fasta)) = (kind, reference) {
            let failed = |source| AlignmentError::Reference { path: fasta.to_owned(), source };
            let known = fasta_contigs(fasta).map_err(failed)?;
            file.set_reference(fasta).map_err(failed)?;
            for (contig, _) in header.contigs().iter().filter(|(name, _)| !known.contains_key(name)) {
                file.forbid_look_up(contig);
            }
        }
        Ok(AlignmentReader {
            path: path.to_owned(),
            query: None,
            file,
            kind,
            header,
            alignment: Alignment::new(),
            records: 0,
        })
    }

    /// The SAM header as the file has it.
    pub fn header_text(&mut self) -> String {
        String::from_utf8_lossy(&self.header.text()).into_owned()
    }

    /// Names and lengths of the contigs of the header; a contig's place in it is the id that the records carry.
    pub fn contigs(&self) -> Vec<(String, u64)> {
        self.header.contigs()
    }

    /// From now on reads the records that overlap a 0-based half-open interval, in file order; needs an index beside
    /// the file.
    pub fn query(&mut self, contig: u32, start: u32, end: u32) -> Result<(), AlignmentError> {
        let no_index = || AlignmentError::Index { path: self.path.clone() };
        if self.kind == Kind::Sam {
            return Err(no_index());
        }
        if self.query.is_none() {
            let path = handle::c_path(&self.path).map_err(|_| no_index())?;
            self.file.load_index(&path).ok_or_else(no_index)?;
        }
        self.query = Some(self.file.query(contig, start, end).ok_or_else(no_index)?);
        self.records = 0;
        Ok(())
    }

    /// Reads the next record into `record`, as BAM lays it out; false at the end.
    pub fn read(&mut self, record: &mut Vec<u8>) -> Result<bool, AlignmentError> {
        let next = match &mut self.query {
            Some(query) => self.file.read_query(query, &mut self.alignment),
            None => self.file.read(&mut self.header, &mut self.alignment),
        };
        match next {
            Next::End => Ok(false),
            Next::Record if self.alignment.store(record).is_some() => {
                self.records += 1;
                Ok(true)
            }
            Next::Record | Next::Damaged => Err(AlignmentError::Record {
                path: self.path.clone(),
                records: self.records,
                cram: self.kind == Kind::Cram,
            }),
        }
    }
}

/// Checks a CRAM file before htslib sees any of it.
fn check_cram(path: &Path, file: &File) -> Result<(), AlignmentError> {
    let open_error = |source| AlignmentError::Open { path: path.to_owned(), source };
    let mut magic = [0; 4];
    match file.read_at(&mut magic, 0) {
        // Through a pipe there is no reading ahead; htslib will say what kind of file it is.
        Err(_) => return Ok(()),
        Ok(_) if &magic != b"CRAM" => return Ok(()),
        Ok(_) => {}
    }
    let checked = check_headers(file).map_err(open_error)?;
    checked.map_err(|source| AlignmentError::Container { path: path.to_owned(), source })
}

fn descriptor(path: &Path) -> io::Result<File> {
    if path.as_os_str() == "-" {
        return io::stdin().as_fd().try_clone_to_owned().map(File::from);
    }
    let file = File::open(path)?;
    if file.metadata()?.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
}
