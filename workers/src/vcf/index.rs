//! The index of a finished VCF or gVCF: tabix (.tbi), or CSI where a contig is too long for it; and what it needs of a part
//! of the file, from whose parts it is made without reading the file again.
//!
//! Invariant: a pure function of the file's bytes and the reference's contigs, however the file is cut; memory is bounded
//! by the longest line and the index itself.

use std::path::{Path, PathBuf};

use jobs::failure::{Class, Classified};
use jobs::genome::{Contigs, Interval};
use noodles_bgzf::VirtualPosition;
use noodles_core::Position;
use noodles_csi::binning_index::index::header::Builder;
use noodles_csi::binning_index::index::reference_sequence::bin::Chunk;
use noodles_csi::binning_index::index::reference_sequence::index::{BinnedIndex, LinearIndex};
use noodles_csi::binning_index::index::reference_sequence::{Metadata, ReferenceSequence};
use noodles_csi::binning_index::index::{Index, reference_sequence};
use noodles_csi::binning_index::{Indexer, ReferenceSequence as _};

use super::bgzf::block_places;
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
    let mut lines = Lines::open(path).map_err(|source| IndexError::Open { path: path.to_owned(), source })?;
    let mut index = PartialIndex::new(contigs);
    loop {
        let start = lines.virtual_position();
        let problem = |problem| IndexError::Lines { path: path.to_owned(), problem };
        let Some(line) = lines.next_line().map_err(problem)? else { break };
        if line.starts_with(b"#") {
            continue;
        }
        let place = place(line, contigs);
        let run = place.map(|place| Run { place, start, end: lines.virtual_position(), lines: 1 });
        if run.and_then(|run| index.push(run)).is_none() {
            return Err(IndexError::Record { path: path.to_owned(), line: lines.number() });
        }
    }
    Ok(index.build())
}

/// What the index needs of some lines of a file, one behind the other: for those that lie in one of its smallest bins, from
/// where to where they reach and how many they are.
#[derive(Clone, Debug)]
pub struct PartialIndex<'a> {
    contigs: &'a Contigs,
    /// The last position that the index can hold.
    last_max: u64,
    runs: Vec<Run>,
}

/// Lines of a file one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    /// Of the first of them.
    place: Bases,
    /// Virtual position of the first, and behind the last.
    start: u64,
    end: u64,
    lines: u64,
}

/// What a record covers, 1-based, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bases {
    contig: u32,
    first: u32,
    last: u32,
}

impl Bases {
    /// The smallest bin that holds all of it, if one does.
    fn bin(self) -> Option<(u32, u32)> {
        let (first, last) = ((self.first - 1) >> MIN_SHIFT, (self.last - 1) >> MIN_SHIFT);
        (first == last).then_some((self.contig, first))
    }
}

/// Bytes of a run: contig, first, last (u32), start, end, lines (u64), little endian.
const RUN_BYTES: usize = 36;

impl<'a> PartialIndex<'a> {
    /// Of no line.
    pub fn new(contigs: &'a Contigs) -> Self {
        PartialIndex { contigs, last_max: 1 << (MIN_SHIFT + 3 * depth(contigs)), runs: Vec::new() }
    }

    /// Adds the lines of a cell or header, whose `text` was compressed into `blocks`, which lie at byte `offset` of the
    /// file; `None` if one is no record on a contig of the reference, in order.
    pub fn add_cell(&mut self, text: &[u8], blocks: &[u8], offset: u64) -> Option<()> {
        let mut places = block_places(blocks)?;
        places.push((text.len(), blocks.len()));
        let mut block = 0;
        let mut position = |at: usize| {
            while places.get(block + 1).is_some_and(|&(start, _)| start <= at) {
                block += 1;
            }
            let (start, of_block) = places[block];
            (offset + of_block as u64) << 16 | (at - start) as u64
        };
        let (mut at, mut start) = (0, offset << 16);
        while at < text.len() {
            let line_end = memchr::memchr(b'\n', &text[at..]).map_or(text.len(), |length| at + length);
            let next = (line_end + 1).min(text.len());
            let end = position(next);
            self.push(Run { place: place(&text[at..line_end], self.contigs)?, start, end, lines: 1 })?;
            (at, start) = (next, end);
        }
        Some(())
    }

    /// Adds those lines whose places are told from byte `offset` of the file; `None` if they do not follow.
    pub fn append(&mut self, next: &PartialIndex<'_>, offset: u64) -> Option<()> {
        next.runs.iter().try_for_each(|run| {
            let moved = |position: u64| position.checked_add(offset << 16);
            self.push(Run { start: moved(run.start)?, end: moved(run.end)?, ..*run })
        })
    }

    /// Whether all lines begin between the start of the first cell and the end of the last, and lie in this many bytes.
    pub fn is_of(&self, (first, last): (Interval, Interval), bytes: u64) -> bool {
        let (Some(head), Some(tail)) = (self.runs.first(), self.runs.last()) else { return true };
        (head.place.contig, head.place.first) > (first.contig, first.start)
            && (tail.place.contig, tail.place.first) <= (last.contig, last.end)
            && tail.end >> 16 <= bytes
    }

    /// As bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.runs.len() * RUN_BYTES);
        for Run { place, start, end, lines } in &self.runs {
            let words = [place.contig, place.first, place.last].map(u32::to_le_bytes);
            bytes.extend_from_slice(words.as_flattened());
            bytes.extend_from_slice([*start, *end, *lines].map(u64::to_le_bytes).as_flattened());
        }
        bytes
    }

    /// From the bytes of [`PartialIndex::to_bytes`]; `None` if they are none.
    pub fn from_bytes(contigs: &'a Contigs, bytes: &[u8]) -> Option<Self> {
        let (runs, rest) = bytes.as_chunks::<RUN_BYTES>();
        let mut index = PartialIndex::new(contigs);
        for run in runs {
            let (words, longs) = run.split_at(12);
            let [contig, first, last] = *words.as_chunks().0 else { return None };
            let [start, end, lines] = *longs.as_chunks().0 else { return None };
            let [contig, first, last] = [contig, first, last].map(u32::from_le_bytes);
            let [start, end, lines] = [start, end, lines].map(u64::from_le_bytes);
            index.push(Run { place: Bases { contig, first, last }, start, end, lines })?;
        }
        rest.is_empty().then_some(index)
    }

    /// The bytes of the index, if these are all lines of the file.
    pub fn build(&self) -> Vec<u8> {
        // Writing into memory cannot fail.
        match IndexKind::of(self.contigs) {
            IndexKind::Tbi => {
                let mut writer = noodles_tabix::io::Writer::new(Vec::new());
                let written = writer.write_index(&self.index::<LinearIndex>(TBI_DEPTH));
                written.and_then(|()| writer.into_inner().finish()).expect("writing into memory")
            }
            IndexKind::Csi => {
                let mut writer = noodles_csi::io::Writer::new(Vec::new());
                let written = writer.write_index(&self.index::<BinnedIndex>(depth(self.contigs)));
                written.and_then(|()| writer.into_inner().finish()).expect("writing into memory")
            }
        }
    }

    /// Lines that follow each other in the file and in one smallest bin are one chunk to the index, so they are kept as one.
    fn push(&mut self, run: Run) -> Option<()> {
        let Bases { contig, first, last } = run.place;
        let known = (contig as usize) < self.contigs.len() && first >= 1 && first <= last;
        if !known || u64::from(last) > self.last_max || run.start > run.end {
            return None;
        }
        if let Some(before) = self.runs.last_mut() {
            let sorted = (before.place.contig, before.place.first) <= (contig, first);
            if !sorted || before.end > run.start {
                return None;
            }
            if before.end == run.start && before.place.bin().is_some_and(|bin| run.place.bin() == Some(bin)) {
                before.end = run.end;
                before.lines += run.lines;
                return Some(());
            }
        }
        self.runs.push(run);
        Some(())
    }

    fn index<I>(&self, depth: u8) -> Index<I>
    where
        I: reference_sequence::Index + Default + Clone,
    {
        let names = self.contigs.iter().map(|contig| contig.name.as_bytes().into()).collect();
        let header = Builder::vcf().set_reference_sequence_names(names).build();
        let indexer = Indexer::<I>::new(MIN_SHIFT, depth).expect("bins of 32-bit positions");
        let mut indexer = indexer.set_header(header.clone());
        let mut lines = vec![0; self.contigs.len()];
        for run in &self.runs {
            let Bases { contig, first, last } = run.place;
            let position = |base: u32| Position::new(base as usize).expect("checked when it was added");
            let chunk = Chunk::new(VirtualPosition::from(run.start), VirtualPosition::from(run.end));
            let record = Some((contig as usize, position(first), position(last), true));
            indexer.add_record(record, chunk).expect("checked when it was added");
            lines[contig as usize] += run.lines;
        }
        let index = indexer.build(self.contigs.len());
        // The indexer took each run for one line.
        let counted = index.reference_sequences().iter().zip(lines).map(|(contig, lines)| {
            let of_lines =
                |known: &Metadata| Metadata::new(known.start_position(), known.end_position(), lines, 0);
            let metadata = contig.metadata().map(of_lines);
            ReferenceSequence::new(contig.bins().clone(), contig.index().clone(), metadata)
        });
        Index::builder()
            .set_min_shift(MIN_SHIFT)
            .set_depth(depth)
            .set_header(header)
            .set_reference_sequences(counted.collect())
            .set_unplaced_unmapped_record_count(0)
            .build()
    }
}

/// Levels of bins that hold the longest contig, at least tabix's.
fn depth(contigs: &Contigs) -> u8 {
    let longest = contigs.iter().map(|contig| u64::from(contig.length)).max().unwrap_or(0);
    let holds = |depth: &u8| longest <= 1u64 << (MIN_SHIFT + 3 * depth);
    (TBI_DEPTH..).find(holds).expect("seven levels hold every length of 32 bits")
}

/// What a record line covers.
fn place(line: &[u8], contigs: &Contigs) -> Option<Bases> {
    let mut columns = line.split(|&byte| byte == b'\t');
    let contig = contigs.id(std::str::from_utf8(columns.next()?).ok()?)?;
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u32>().ok();
    let first = number(columns.next()?)?;
    let reference_bases = columns.nth(1)?.len();
    let info = columns.nth(3)?;
    let end = info.split(|&byte| byte == b';').find_map(|entry| entry.strip_prefix(b"END="));
    let last = match end {
        Some(end) => number(end)?,
        None => first.checked_add(u32::try_from(reference_bases).ok()?)?.checked_sub(1)?,
    };
    Some(Bases { contig, first, last })
}
