//! The index of a finished VCF or gVCF: tabix (.tbi), or CSI where a contig is too long for it.
//!
//! Invariant: a pure function of the file's bytes and the reference's contigs; memory is bounded by the longest line
//! and the index itself.

use std::path::{Path, PathBuf};

use jobs::failure::{Class, Classified};
use jobs::genome::Contigs;
use noodles_bgzf::VirtualPosition;
use noodles_core::Position;
use noodles_csi::binning_index::index::header::Builder;
use noodles_csi::binning_index::index::reference_sequence::bin::Chunk;
use noodles_csi::binning_index::index::reference_sequence::index::{BinnedIndex, LinearIndex};
use noodles_csi::binning_index::index::{Index, reference_sequence};
use noodles_csi::binning_index::{self, Indexer};

use super::lines::{Lines, LinesProblem};

/// Bases of the smallest bins, as a power of two.
const MIN_SHIFT: u8 = 14;
/// Levels of bins in tabix: positions up to 2^29.
const TBI_DEPTH: u8 = 5;

/// Which index a file gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexKind {
    /// Tabix.
    Tbi,
    /// Coordinate-sorted index.
    Csi,
}

impl IndexKind {
    /// CSI if a contig is longer than tabix can address (2^29 bases).
    pub fn of(contigs: &Contigs) -> Self {
        if depth(contigs) > TBI_DEPTH { IndexKind::Csi } else { IndexKind::Tbi }
    }

    /// Extension after the data file's name.
    pub const fn extension(self) -> &'static str {
        match self {
            IndexKind::Tbi => "tbi",
            IndexKind::Csi => "csi",
        }
    }

    /// The index's path beside the data file: `x.vcf.gz.tbi`.
    pub fn path(self, data: &Path) -> PathBuf {
        let mut path = data.as_os_str().to_owned();
        path.push(".");
        path.push(self.extension());
        path.into()
    }
}

/// Why a file was not indexed.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The file cannot be opened.
    #[error("{path}: cannot open")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The next line cannot be read.
    #[error("{path}: {problem}")]
    Lines {
        /// The file.
        path: PathBuf,
        /// Where and why.
        problem: LinesProblem,
    },
    /// A line is no record on a contig of the reference, in order.
    #[error("{path}: line {line}: expected a record on a contig of the reference, sorted by position")]
    Record {
        /// The file.
        path: PathBuf,
        /// 1-based.
        line: u64,
    },
}

impl Classified for IndexError {
    fn class(&self) -> Class {
        match self {
            IndexError::Open { .. } => Class::Failed,
            IndexError::Lines { .. } | IndexError::Record { .. } => Class::Input,
        }
    }
}

/// Reads a finished BGZF file once and gives its index's bytes.
pub fn build_index(path: &Path, contigs: &Contigs) -> Result<Vec<u8>, IndexError> {
    // Writing into memory cannot fail.
    Ok(match IndexKind::of(contigs) {
        IndexKind::Tbi => {
            let index = scan::<LinearIndex>(path, contigs, TBI_DEPTH)?;
            let mut writer = noodles_tabix::io::Writer::new(Vec::new());
            let written = writer.write_index(&index).and_then(|()| writer.into_inner().finish());
            written.expect("writing into memory")
        }
        IndexKind::Csi => {
            let index = scan::<BinnedIndex>(path, contigs, depth(contigs))?;
            let mut writer = noodles_csi::io::Writer::new(Vec::new());
            let written = writer.write_index(&index).and_then(|()| writer.into_inner().finish());
            written.expect("writing into memory")
        }
    })
}

/// Levels of bins that hold the longest contig, at least tabix's.
fn depth(contigs: &Contigs) -> u8 {
    let longest = contigs.iter().map(|contig| u64::from(contig.length)).max().unwrap_or(0);
    let holds = |depth: &u8| longest <= 1u64 << (MIN_SHIFT + 3 * depth);
    (TBI_DEPTH..).find(holds).expect("seven levels hold every length of 32 bits")
}

fn scan<I>(path: &Path, contigs: &Contigs, depth: u8) -> Result<Index<I>, IndexError>
where
    I: reference_sequence::Index + Default,
{
    let mut lines = Lines::open(path).map_err(|source| IndexError::Open { path: path.to_owned(), source })?;
    let names = contigs.iter().map(|contig| contig.name.as_bytes().into()).collect();
    let header = Builder::vcf().set_reference_sequence_names(names).build();
    let mut indexer: Indexer<I> =
        binning_index::Indexer::new(MIN_SHIFT, depth).expect("bins of 32-bit positions").set_header(header);
    loop {
        let start = lines.virtual_position();
        let problem = |problem| IndexError::Lines { path: path.to_owned(), problem };
        let Some(line) = lines.next_line().map_err(problem)? else { break };
        if line.starts_with(b"#") {
            continue;
        }
        let place = place(line, contigs);
        let chunk = Chunk::new(VirtualPosition::from(start), VirtualPosition::from(lines.virtual_position()));
        let added = place.and_then(|(contig, first, last)| {
            indexer.add_record(Some((contig as usize, first, last, true)), chunk).ok()
        });
        if added.is_none() {
            return Err(IndexError::Record { path: path.to_owned(), line: lines.number() });
        }
    }
    Ok(indexer.build(contigs.len()))
}

/// Contig, first and last position of a record line.
fn place(line: &[u8], contigs: &Contigs) -> Option<(u32, Position, Position)> {
    let mut columns = line.split(|&byte| byte == b'\t');
    let contig = contigs.id(std::str::from_utf8(columns.next()?).ok()?)?;
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<usize>().ok();
    let first = number(columns.next()?)?;
    let reference_bases = columns.nth(1)?.len();
    let info = columns.nth(3)?;
    let end = info.split(|&byte| byte == b';').find_map(|entry| entry.strip_prefix(b"END="));
    let last = match end {
        Some(end) => number(end)?,
        None => first.checked_add(reference_bases)? - 1,
    };
    Some((contig, Position::new(first)?, Position::new(last)?))
}
