//! Places on a genome and the grid that rules them.
//!
//! Inside the program every place is a 0-based half-open [`Interval`]; text is 1-based inclusive, and this module is
//! the only one that converts. Every contig is ruled by grid lines at multiples of [`CELL_BASES`]; whatever is computed
//! belongs to exactly one cell, the one in which it starts. Shards are runs of whole cells, so how a genome is cut into
//! shards cannot be seen in the results.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

/// Distance between grid lines in bases. Part of the output format: changing it changes every result file.
pub const CELL_BASES: u32 = 1 << 17;

/// How far beyond its own lines a cell may look, in bases: longer than the longest active window, read and clip
/// together. Nothing a cell emits may depend on reads that start farther away.
pub const HALO_BASES: u32 = 4096;

/// One sequence of the reference.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Contig {
    /// Name as the reference FASTA gives it, up to the first white space.
    pub name: String,
    /// Length in bases.
    pub length: u32,
    /// MD5 of the upper-case sequence: the `M5` of SAM's `@SQ`.
    pub m5: [u8; 16],
}

/// The reference's sequences in file order; a contig's index here is its id everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contigs {
    list: Vec<Contig>,
    by_name: HashMap<String, u32>,
}

impl Contigs {
    /// The first contig wins where names repeat; callers that read files refuse repeated names themselves.
    pub fn new(list: Vec<Contig>) -> Self {
        let mut by_name = HashMap::with_capacity(list.len());
        for (id, contig) in list.iter().enumerate() {
            by_name.entry(contig.name.clone()).or_insert(id as u32);
        }
        Contigs { list, by_name }
    }

    /// Number of contigs.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is no contig at all.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The contig of this id. Panics if the id is not one of this list's.
    pub fn get(&self, id: u32) -> &Contig {
        &self.list[id as usize]
    }

    /// Id of the contig of this name.
    pub fn id(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// All contigs in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Contig> {
        self.list.iter()
    }

    /// Sum of all lengths in bases.
    pub fn total_bases(&self) -> u64 {
        self.list.iter().map(|contig| u64::from(contig.length)).sum()
    }

    /// The interval as text, 1-based inclusive: `chr20:101-200`.
    pub fn display(&self, interval: Interval) -> String {
        format!("{}:{}-{}", self.get(interval.contig).name, interval.start + 1, interval.end)
    }

    /// Reads `contig`, `contig:start` or `contig:start-end` (1-based inclusive, commas allowed in numbers).
    /// Names that contain colons are tried whole first.
    pub fn parse_region(&self, text: &str) -> Result<Interval, RegionError> {
        let whole = |id: u32| Interval { contig: id, start: 0, end: self.get(id).length };
        if let Some(id) = self.id(text) {
            return Ok(whole(id));
        }
        let unknown = || RegionError::UnknownContig { text: text.to_owned() };
        let (name, range) = text.rsplit_once(':').ok_or_else(unknown)?;
        let contig = self.id(name).ok_or_else(unknown)?;
        let bad = || RegionError::BadRange { text: text.to_owned() };
        let number = |digits: &str| digits.replace(',', "").parse::<u32>().map_err(|_| bad());
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(range)?, self.get(contig).length),
        };
        let length = self.get(contig).length;
        if first == 0 || first > last || first > length {
            return Err(bad());
        }
        Ok(Interval { contig, start: first - 1, end: last.min(length) })
    }
}

/// Why a region text was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegionError {
    /// No contig of the reference has this name.
    UnknownContig {
        /// The text as given.
        text: String,
    },
    /// The numbers are missing, reversed, zero or beyond the contig's end.
    BadRange {
        /// The text as given.
        text: String,
    },
}

impl fmt::Display for RegionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegionError::UnknownContig { text } => {
                write!(
                    f,
                    "region '{text}': the reference has no such contig; expected NAME or NAME:START-END"
                )
            }
            RegionError::BadRange { text } => {
                write!(f, "region '{text}': expected 1 <= START <= END within the contig")
            }
        }
    }
}

impl std::error::Error for RegionError {}

/// A place: 0-based, half-open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Interval {
    /// Contig id.
    pub contig: u32,
    /// First base.
    pub start: u32,
    /// One past the last base.
    pub end: u32,
}

impl Interval {
    /// Length in bases.
    pub fn bases(&self) -> u32 {
        self.end - self.start
    }

    /// Whether the two share a base.
    pub fn overlaps(&self, other: &Interval) -> bool {
        self.contig == other.contig && self.start < other.end && other.start < self.end
    }
}

/// A cell's ordinal over the whole genome, contigs in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Cell(pub u32);

/// The grid over one reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    lengths: Vec<u32>,
    /// `first[c]` is the first cell of contig `c`; one more entry holds the number of cells.
    first: Vec<u32>,
}

impl Grid {
    /// Rules every contig; an empty contig has no cell.
    pub fn new(contigs: &Contigs) -> Self {
        let lengths: Vec<u32> = contigs.iter().map(|contig| contig.length).collect();
        let mut first = Vec::with_capacity(lengths.len() + 1);
        let mut next = 0;
        for length in &lengths {
            first.push(next);
            next += length.div_ceil(CELL_BASES);
        }
        first.push(next);
        Grid { lengths, first }
    }

    /// Number of cells.
    pub fn cells(&self) -> u32 {
        *self.first.last().expect("the grid always holds its total")
    }

    /// The cell in which a position lies. The position must lie on the contig.
    pub fn cell_of(&self, contig: u32, position: u32) -> Cell {
        Cell(self.first[contig as usize] + position / CELL_BASES)
    }

    /// The place a cell covers.
    pub fn interval(&self, cell: Cell) -> Interval {
        let contig = self.first.partition_point(|&first| first <= cell.0) - 1;
        let start = (cell.0 - self.first[contig]) * CELL_BASES;
        let end = self.lengths[contig].min(start.saturating_add(CELL_BASES));
        Interval { contig: contig as u32, start, end }
    }

    /// Cuts the genome into runs of whole cells of about `shard_bases`; never empty, never cut within a cell, small
    /// contigs share a shard.
    pub fn shards(&self, shard_bases: u64) -> Vec<Range<u32>> {
        let mut shards = Vec::new();
        let mut start = 0;
        let mut bases = 0u64;
        for cell in 0..self.cells() {
            bases += u64::from(self.interval(Cell(cell)).bases());
            let contig_ends = self.first.binary_search(&(cell + 1)).is_ok();
            if bases >= shard_bases || (contig_ends && bases * 2 >= shard_bases) || cell + 1 == self.cells() {
                shards.push(start..cell + 1);
                start = cell + 1;
                bases = 0;
            }
        }
        shards
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contigs(lengths: &[u32]) -> Contigs {
        let named = lengths.iter().enumerate();
        Contigs::new(
            named.map(|(i, &length)| Contig { name: format!("c{i}"), length, m5: [0; 16] }).collect(),
        )
    }

    #[test]
    fn every_base_lies_in_exactly_one_cell_and_every_cell_in_one_shard() {
        for lengths in [&[1][..], &[CELL_BASES], &[CELL_BASES + 1, 5, 0, 3 * CELL_BASES], &[10; 40], &[]] {
            let grid = Grid::new(&contigs(lengths));
            let mut covered = vec![0u64; lengths.len()];
            for cell in 0..grid.cells() {
                let interval = grid.interval(Cell(cell));
                assert!(interval.start < interval.end);
                assert_eq!(grid.cell_of(interval.contig, interval.start), Cell(cell));
                assert_eq!(grid.cell_of(interval.contig, interval.end - 1), Cell(cell));
                assert_eq!(covered[interval.contig as usize], u64::from(interval.start));
                covered[interval.contig as usize] = u64::from(interval.end);
            }
            assert!(covered.iter().zip(lengths).all(|(&covered, &length)| covered == u64::from(length)));
            for shard_bases in [1, 1000, 1 << 18, u64::MAX] {
                let mut next = 0;
                for shard in grid.shards(shard_bases) {
                    assert_eq!(shard.start, next);
                    assert!(shard.end > shard.start);
                    next = shard.end;
                }
                assert_eq!(next, grid.cells());
            }
        }
    }

    #[test]
    fn regions_are_one_based_inclusive_in_text() {
        let contigs = Contigs::new(vec![
            Contig { name: "20".into(), length: 1000, m5: [0; 16] },
            Contig { name: "HLA:1".into(), length: 50, m5: [0; 16] },
        ]);
        let ok = |text: &str| contigs.parse_region(text).map(|i| (i.contig, i.start, i.end));
        assert_eq!(ok("20"), Ok((0, 0, 1000)));
        assert_eq!(ok("20:101-200"), Ok((0, 100, 200)));
        assert_eq!(ok("20:1,000"), Ok((0, 999, 1000)));
        assert_eq!(ok("20:900-5000"), Ok((0, 899, 1000)));
        assert_eq!(ok("HLA:1"), Ok((1, 0, 50)));
        assert_eq!(ok("HLA:1:2-3"), Ok((1, 1, 3)));
        for bad in ["21", "20:0-5", "20:7-6", "20:x", "20:", "20:2000-3000", ":1-2", ""] {
            assert!(ok(bad).is_err(), "{bad}");
        }
    }
}
