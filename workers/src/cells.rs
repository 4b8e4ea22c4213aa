//! Where in a finished sample's gVCF the calls of each cell lie, so that joint calls can be made again when the scratch
//! they were first made from is gone.
//!
//! Invariant: what is read is what the sample's finish task wrote, by its digest. The table lies under the sample's key
//! beside its counters; the calls are read only by who has it.

use crate::access::Access;
use crate::region::block;
use jobs::failure::{Class, Classified};
use jobs::genome::Cell;
use jobs::task::Task;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use storage::{BlockEntry, PackError, PieceRef};

/// Cells of one block of the table.
const BLOCK_CELLS: usize = 1024;

/// Bytes of one cell in it: offset, length, BLAKE3.
const ENTRY_BYTES: usize = 8 + 4 + 32;

/// Longest calls of one cell.
const CELL_BYTES_MAX: u32 = 1 << 30;

/// A finished sample's calls cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CellsError {
    /// The table.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The file.
    #[error("{}: cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file changed, or its table is not one.
    #[error("{}: cell {cell} is not as it was written", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The cell.
        cell: u32,
    },
}

impl Classified for CellsError {
    fn class(&self) -> Class {
        match self {
            CellsError::Pack(error) => error.class(),
            CellsError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => Class::Partial,
            CellsError::Read { .. } => Class::Failed,
            CellsError::Damaged { .. } => Class::Integrity,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            CellsError::Pack(error) => error.hint(),
            _ => Some("give the same command with --repair to do it again".to_owned()),
        }
    }
}

/// The table of one sample in the making; cells come in order.
#[derive(Debug, Default)]
pub struct CellTable {
    entries: Vec<u8>,
    first: Option<Cell>,
}

impl CellTable {
    /// The next cell's calls, and where in the file they begin.
    pub fn push(&mut self, cell: Cell, offset: u64, calls: &[u8]) {
        self.first.get_or_insert(cell);
        self.entries.extend_from_slice(&offset.to_le_bytes());
        self.entries.extend_from_slice(&(calls.len() as u32).to_le_bytes());
        self.entries.extend_from_slice(blake3::hash(calls).as_bytes());
    }

    /// Gives the table to `write` as blocks of a record.
    pub fn finish(
        self,
        mut write: impl FnMut(BlockEntry, &[u8]) -> Result<(), PackError>,
    ) -> Result<(), PackError> {
        let mut first = u64::from(self.first.unwrap_or(Cell(0)).0);
        for entries in self.entries.chunks(BLOCK_CELLS * ENTRY_BYTES) {
            let count = (entries.len() / ENTRY_BYTES) as u32;
            let last = first + u64::from(count) - 1;
            write(BlockEntry { kind: block::CELLS, first, last, count }, entries)?;
            first = last + 1;
        }
        Ok(())
    }
}

/// Some cells of a finished sample's calls.
pub struct FinishedCells {
    path: PathBuf,
    file: File,
    entries: BTreeMap<Cell, [u8; ENTRY_BYTES]>,
}

impl FinishedCells {
    /// Opens those from `first` to before `end`, by what the sample's finish task committed.
    pub fn open(
        context: &Access<'_>,
        sample: u32,
        piece: &PieceRef,
        (first, end): (Cell, Cell),
        results: &Path,
    ) -> Result<Self, CellsError> {
        let reader = context.read(Task::FinishSample(sample), piece)?;
        let mut entries = BTreeMap::new();
        let mut bytes = Vec::new();
        for (at, entry) in reader.entries().iter().enumerate() {
            let touches = entry.first < u64::from(end.0) && entry.last >= u64::from(first.0);
            if entry.kind != block::CELLS || !touches {
                continue;
            }
            reader.read_block(at, &mut bytes)?;
            let cells = (entry.first as u32..).map(Cell);
            let (known, _) = bytes.as_chunks::<ENTRY_BYTES>();
            entries.extend(cells.zip(known.iter().copied()).filter(|(cell, _)| (first..end).contains(cell)));
        }
        let path = results.join(format!("{}.g.vcf.gz", context.sample(sample).name));
        let file = File::open(&path).map_err(|source| CellsError::Read { path: path.clone(), source })?;
        Ok(FinishedCells { path, file, entries })
    }

    /// The calls of a cell as BGZF.
    pub fn read(&self, cell: Cell, calls: &mut Vec<u8>) -> Result<(), CellsError> {
        let damaged = || CellsError::Damaged { path: self.path.clone(), cell: cell.0 };
        let entry = self.entries.get(&cell).ok_or_else(damaged)?;
        let (offset, rest) = entry.split_first_chunk().ok_or_else(damaged)?;
        let (length, digest) = rest.split_first_chunk().ok_or_else(damaged)?;
        let length = u32::from_le_bytes(*length);
        if length > CELL_BYTES_MAX {
            return Err(damaged());
        }
        calls.resize(length as usize, 0);
        self.file.read_exact_at(calls, u64::from_le_bytes(*offset)).map_err(|source| {
            match source.kind() {
                io::ErrorKind::UnexpectedEof => damaged(),
                _ => CellsError::Read { path: self.path.clone(), source },
            }
        })?;
        if blake3::hash(calls).as_bytes() == digest { Ok(()) } else { Err(damaged()) }
    }
}
