//! The alignment index beside the reference: `REF.fa.wki`, built once, memory-mapped and shared by all processes.
//!
//! Layout, little endian; sections begin at multiples of 64 bytes:
//! ```text
//!   0   8  magic "WAKACHI\x1a"
//!   8   4  version, 2
//!  12   4  number of sections n
//!  16   8  length of the description in bytes
//!  24   8  length of the file in bytes
//!  32  32  BLAKE3 of all bytes from 64 on
//!  64      n x (offset u64, length u64), the description as JSON, then the sections
//! ```
//! Invariant: an open index is whole, of this version, and of the FASTA file beside it; anything else was refused.

use crate::fasta::{self, FastaError};
use crate::mapped;
use jobs::failure::{Class, Classified};
use jobs::genome::{Contig, Contigs};
use kernels::index::{INDEX_SECTIONS, Index, IndexOptions, build_part, join};
use kernels::reference::{Malformed, OwnedReference, REFERENCE_SECTIONS, Reference, TooLong};
use memmap2::Mmap;
use rayon::prelude::*;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use std::{fs, io};
use storage::atomic::{AtomicFile, AtomicFileError};
use storage::disk::DiskError;

const MAGIC: [u8; 8] = *b"WAKACHI\x1a";
const VERSION: u32 = 2;
const HEADER_BYTES: usize = 64;
const SECTIONS: usize = REFERENCE_SECTIONS + INDEX_SECTIONS;

/// The index could not be built or may not be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The reference could not be read.
    #[error(transparent)]
    Fasta(#[from] FastaError),
    /// A file could not be read or mapped.
    #[error("{}: cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The index could not be written.
    #[error(transparent)]
    Write(#[from] AtomicFileError),
    /// There is no index.
    #[error("{}: the reference has no index", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// It is not an index, or of another version.
    #[error("{}: not an index of this version: {what}", path.display())]
    Foreign {
        /// The index.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// It is damaged.
    #[error("{}: the index is damaged: {what}", path.display())]
    Damaged {
        /// The index.
        path: PathBuf,
        /// What does not hold.
        what: String,
    },
    /// The reference changed after the index was built.
    #[error("{}: the index was built from another reference than {}", path.display(), fasta.display())]
    Stale {
        /// The index.
        path: PathBuf,
        /// The reference as it is now.
        fasta: PathBuf,
    },
    /// The reference is too long.
    #[error("{}: {source}", path.display())]
    TooLong {
        /// The reference.
        path: PathBuf,
        /// By how much.
        source: TooLong,
    },
}

impl Classified for IndexError {
    fn class(&self) -> Class {
        match self {
            IndexError::Fasta(error) => error.class(),
            IndexError::Write(error) => error.class(),
            IndexError::Read { .. } | IndexError::Missing { .. } => Class::Input,
            IndexError::Foreign { .. } | IndexError::Stale { .. } | IndexError::TooLong { .. } => {
                Class::Input
            }
            IndexError::Damaged { .. } => Class::Integrity,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            IndexError::Fasta(error) => error.hint(),
            IndexError::Write(error) => error.hint(),
            IndexError::Read { .. } | IndexError::TooLong { .. } => None,
            IndexError::Missing { path }
            | IndexError::Foreign { path, .. }
            | IndexError::Damaged { path, .. } => {
                Some(format!("wakachi index {}", path.with_extension("").display()))
            }
            IndexError::Stale { fasta, .. } => Some(format!("wakachi index {}", fasta.display())),
        }
    }
}

/// The reference file an index was made from.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Source {
    bytes: u64,
    modified_ns: u128,
    blake3: String,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Description {
    program: String,
    source: Source,
    contigs: Vec<Contig>,
}

/// Where the index of a reference lies: its name with `.wki` appended.
pub fn path_of(fasta: &Path) -> PathBuf {
    let mut name = OsString::from(fasta);
    name.push(".wki");
    PathBuf::from(name)
}

/// Builds the index of `fasta` at `path` on the calling rayon pool; the bytes do not depend on its threads.
pub fn build(fasta: &Path, path: &Path, progress: &(dyn Fn(&str) + Sync)) -> Result<(), IndexError> {
    // Taken before reading, so that a change while reading makes the index stale.
    let source = identify(fasta)?;
    let (contigs, reference) = load(fasta, progress)?;
    let reference_sections = reference.sections();
    let slices: Vec<&[u8]> = reference_sections.iter().map(Vec::as_slice).collect();
    let view = Reference::new(&slices).expect("sections just made are whole");
    progress("seeding");
    let options = IndexOptions::default();
    let parts = rayon::current_num_threads().next_power_of_two() as u32;
    let parts = (0..parts).into_par_iter().map(|part| build_part(&view, &options, part, parts)).collect();
    let index_sections = join(&view, &options, parts);
    progress("writing");
    let description = Description { program: env!("CARGO_PKG_VERSION").to_owned(), source, contigs };
    let description = serde_json::to_vec(&description).expect("a description always prints");
    let sections: Vec<&[u8]> =
        slices.iter().copied().chain(index_sections.iter().map(Vec::as_slice)).collect();
    write(path, &description, &sections)
}

/// Reads a FASTA whole.
fn load(fasta: &Path, progress: &(dyn Fn(&str) + Sync)) -> Result<(Vec<Contig>, OwnedReference), IndexError> {
    let mut reference = OwnedReference::default();
    let mut contigs = Vec::new();
    fasta::read(fasta, |contig, letters| {
        progress(&format!("reading {}", contig.name));
        contigs.push(contig);
        reference.push_contig(letters)
    })?
    .map_err(|source| IndexError::TooLong { path: fasta.to_owned(), source })?;
    Ok((contigs, reference))
}

fn write(path: &Path, description: &[u8], sections: &[&[u8]]) -> Result<(), IndexError> {
    let aligned = |offset: usize| offset.next_multiple_of(64);
    let mut table = Vec::new();
    let mut offset = aligned(HEADER_BYTES + sections.len() * 16 + description.len());
    let mut end = offset;
    for section in sections {
        table.extend_from_slice(&(offset as u64).to_le_bytes());
        table.extend_from_slice(&(section.len() as u64).to_le_bytes());
        end = offset + section.len();
        offset = aligned(end);
    }
    let padding = [0; 64];
    let mut pieces: Vec<&[u8]> = vec![&table, description];
    let mut at = HEADER_BYTES + table.len() + description.len();
    for section in sections {
        pieces.push(&padding[..aligned(at) - at]);
        pieces.push(section);
        at = aligned(at) + section.len();
    }
    let mut hasher = blake3::Hasher::new();
    pieces.iter().for_each(|piece| {
        hasher.update(piece);
    });
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(&MAGIC);
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(&(sections.len() as u32).to_le_bytes());
    header.extend_from_slice(&(description.len() as u64).to_le_bytes());
    header.extend_from_slice(&(end as u64).to_le_bytes());
    header.extend_from_slice(hasher.finalize().as_bytes());
    let mut file = AtomicFile::create(path)?;
    let written =
        file.write_all(&header).and_then(|()| pieces.iter().try_for_each(|piece| file.write_all(piece)));
    written.map_err(DiskError::on("write", path)).map_err(AtomicFileError::from)?;
    file.commit()?;
    Ok(())
}

/// A reference with its index, mapped.
#[derive(Debug)]
pub struct ReferenceIndex {
    map: Mmap,
    sections: Vec<(usize, usize)>,
    contigs: Contigs,
    fasta: PathBuf,
    path: PathBuf,
}

impl ReferenceIndex {
    /// Opens and checks the index at `path` of the reference `fasta`.
    pub fn open(fasta: &Path, path: &Path) -> Result<Self, IndexError> {
        let (index, source) = Self::map(fasta, path)?;
        let now =
            fs::metadata(fasta).map_err(|source| IndexError::Read { path: fasta.to_owned(), source })?;
        let same_file = now.len() == source.bytes && modified_ns(&now) == source.modified_ns;
        // A copy has another time; its content decides.
        if !same_file && identify(fasta)?.blake3 != source.blake3 {
            return Err(IndexError::Stale { path: path.to_owned(), fasta: fasta.to_owned() });
        }
        Ok(index)
    }

    /// Opens the index at `path` where the reference itself is not: the caller has compared the whole file with the
    /// digest of the one that is meant.
    pub fn open_verified(path: &Path) -> Result<Self, IndexError> {
        Ok(Self::map(path, path)?.0)
    }

    /// Maps and checks an index; also gives the identity of the FASTA that it was built from.
    fn map(fasta: &Path, path: &Path) -> Result<(Self, Source), IndexError> {
        let map = mapped::map(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => IndexError::Missing { path: path.to_owned() },
            _ => IndexError::Read { path: path.to_owned(), source },
        })?;
        let (description, sections) = check(&map, path)?;
        let contigs = Contigs::new(description.contigs);
        let index = ReferenceIndex { map, sections, contigs, fasta: fasta.to_owned(), path: path.to_owned() };
        let damaged = |error: Malformed| index.damaged(error.to_string());
        let reference = Reference::new(&index.slices()[..REFERENCE_SECTIONS]).map_err(damaged)?;
        Index::new(&index.slices()[REFERENCE_SECTIONS..]).map_err(damaged)?;
        let lengths = (0..reference.contigs() as u32).map(|contig| reference.length(contig));
        if !lengths.eq(index.contigs.iter().map(|contig| contig.length)) {
            return Err(index.damaged("the description's contigs are not those of the sections".to_owned()));
        }
        Ok((index, description.source))
    }

    fn damaged(&self, what: String) -> IndexError {
        IndexError::Damaged { path: self.path.clone(), what }
    }

    fn slices(&self) -> Vec<&[u8]> {
        self.sections.iter().map(|&(offset, length)| &self.map[offset..offset + length]).collect()
    }

    /// The reference's sequences.
    pub fn contigs(&self) -> &Contigs {
        &self.contigs
    }

    /// The FASTA file.
    pub fn fasta(&self) -> &Path {
        &self.fasta
    }

    /// The index file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes mapped.
    pub fn mapped_bytes(&self) -> u64 {
        self.map.len() as u64
    }

    /// The reference's bases.
    pub fn reference(&self) -> Reference<'_> {
        Reference::new(&self.slices()[..REFERENCE_SECTIONS]).expect("checked when opened")
    }

    /// The seeds.
    pub fn index(&self) -> Index<'_> {
        Index::new(&self.slices()[REFERENCE_SECTIONS..]).expect("checked when opened")
    }
}

/// Checks header, checksum and section table.
fn check(map: &[u8], path: &Path) -> Result<(Description, Vec<(usize, usize)>), IndexError> {
    let foreign = |what: &str| IndexError::Foreign { path: path.to_owned(), what: what.to_owned() };
    let damaged = |what: &str| IndexError::Damaged { path: path.to_owned(), what: what.to_owned() };
    let u32_at = |at: usize| u32::from_le_bytes(map[at..at + 4].try_into().expect("four bytes"));
    let u64_at = |at: usize| u64::from_le_bytes(map[at..at + 8].try_into().expect("eight bytes"));
    if map.len() < HEADER_BYTES || map[..8] != MAGIC {
        return Err(foreign("it does not begin as one"));
    }
    if u32_at(8) != VERSION {
        return Err(foreign(&format!("it has version {}, expected {VERSION}", u32_at(8))));
    }
    if u64_at(24) != map.len() as u64 {
        return Err(damaged(&format!("it has {} bytes, expected {}", map.len(), u64_at(24))));
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_rayon(&map[HEADER_BYTES..]);
    if hasher.finalize().as_bytes()[..] != map[32..64] {
        return Err(damaged("its checksum does not hold"));
    }
    let (count, description_bytes) = (u32_at(12) as usize, u64_at(16) as usize);
    let description_at = HEADER_BYTES + SECTIONS * 16;
    let description = map.get(description_at..).and_then(|rest| rest.get(..description_bytes));
    let description = description.filter(|_| count == SECTIONS).ok_or_else(|| damaged("its table"))?;
    let description = serde_json::from_slice(description).map_err(|_| damaged("its description"))?;
    let sections = (0..SECTIONS).map(|i| {
        let at = HEADER_BYTES + i * 16;
        let (offset, length) = (u64_at(at) as usize, u64_at(at + 8) as usize);
        let end = offset.checked_add(length)?;
        (end <= map.len() && offset % 64 == 0).then_some((offset, length))
    });
    let sections = sections.collect::<Option<Vec<_>>>().ok_or_else(|| damaged("its table"))?;
    Ok((description, sections))
}

fn modified_ns(metadata: &fs::Metadata) -> u128 {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |age| age.as_nanos())
}

fn identify(fasta: &Path) -> Result<Source, IndexError> {
    let failed = |source| IndexError::Read { path: fasta.to_owned(), source };
    let metadata = fs::metadata(fasta).map_err(failed)?;
    let mut hasher = blake3::Hasher::new();
    let mut file = fs::File::open(fasta).map_err(failed)?;
    hasher.update_reader(&mut file).map_err(failed)?;
    Ok(Source {
        bytes: metadata.len(),
        modified_ns: modified_ns(&metadata),
        blake3: hasher.finalize().to_hex().to_string(),
    })
}

/// The bases of a reference without its seeds, for commands that do not align: mapped from the index where there is one
/// that fits, read from the FASTA otherwise.
#[derive(Debug)]
pub enum Bases {
    /// Mapped.
    Mapped(ReferenceIndex),
    /// In memory.
    Read {
        /// The reference's sequences.
        contigs: Contigs,
        /// Sections of the packed reference.
        sections: Box<[AlignedBytes; REFERENCE_SECTIONS]>,
    },
}

/// Bytes at an address that any section's items may be read from.
#[derive(Debug)]
pub struct AlignedBytes {
    words: Vec<u64>,
    bytes: usize,
}

impl AlignedBytes {
    fn new(bytes: &[u8]) -> Self {
        let word = |chunk: &[u8]| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_ne_bytes(word)
        };
        AlignedBytes { words: bytes.chunks(8).map(word).collect(), bytes: bytes.len() }
    }

    fn as_slice(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.bytes]
    }
}

impl Bases {
    /// Opens the reference.
    pub fn open(fasta: &Path) -> Result<Self, IndexError> {
        if let Ok(index) = ReferenceIndex::open(fasta, &path_of(fasta)) {
            return Ok(Bases::Mapped(index));
        }
        let (contigs, reference) = load(fasta, &|_| ())?;
        let sections = Box::new(reference.sections().map(|section| AlignedBytes::new(&section)));
        Ok(Bases::Read { contigs: Contigs::new(contigs), sections })
    }

    /// The reference's sequences.
    pub fn contigs(&self) -> &Contigs {
        match self {
            Bases::Mapped(index) => index.contigs(),
            Bases::Read { contigs, .. } => contigs,
        }
    }

    /// The reference's bases.
    pub fn reference(&self) -> Reference<'_> {
        match self {
            Bases::Mapped(index) => index.reference(),
            Bases::Read { sections, .. } => {
                let slices: Vec<&[u8]> = sections.iter().map(AlignedBytes::as_slice).collect();
                Reference::new(&slices).expect("sections just made are whole")
            }
        }
    }
}
