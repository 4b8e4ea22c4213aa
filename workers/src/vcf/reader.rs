//! The strict gVCF reader: one sample, cell by cell in reference order.
//!
//! Invariant: every record goes to the cell in which it starts, blocks are cut at grid lines; a file that is foreign,
//! unsorted, of several samples or truncated is an error that names file and line or offset. Some callers write several
//! records of one POS: their likelihoods cannot be put together without the reads, so the one of highest QUAL is taken,
//! the first of equals, and the others are counted.

use std::io;
use std::path::{Path, PathBuf};

use jobs::failure::{Class, Classified};
use jobs::genome::{Contigs, Interval};
use kernels::variant::{CellCalls, RefBlock, SiteCall};

use super::bgzf::BgzfProblem;
use super::line::{CELL_RECORDS_MAX, Call, LineProblem, parse_line};
use super::lines::{Lines, LinesProblem};

/// Why a gVCF file was refused.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be opened.
    #[error("{path}: cannot open")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The next line cannot be read.
    #[error("{path}: {problem}")]
    Lines {
        /// The file.
        path: PathBuf,
        /// Where and why.
        problem: LinesProblem,
    },
    /// A header line is wrong.
    #[error("{path}: line {line}: {problem}")]
    Header {
        /// The file.
        path: PathBuf,
        /// 1-based.
        line: u64,
        /// What is wrong.
        problem: HeaderProblem,
    },
    /// A record is wrong.
    #[error("{path}: line {line}: {problem}")]
    Record {
        /// The file.
        path: PathBuf,
        /// 1-based.
        line: u64,
        /// What is wrong.
        problem: LineProblem,
    },
}

/// What is wrong with a header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderProblem {
    /// The first line is another one.
    #[error("expected ##fileformat=VCFv4; this is not VCF text")]
    NotVcf,
    /// The file ends before the column line.
    #[error("the file ends before its #CHROM line")]
    NoColumns,
    /// Nothing in the header speaks of reference blocks.
    #[error(
        "a VCF without reference blocks: what is missing in it cannot be told from what is reference; expected gVCF"
    )]
    NoBlocks,
    /// The column line does not begin as VCF's does.
    #[error("expected the columns #CHROM to FORMAT and a sample, separated by tabs")]
    Columns,
    /// More or fewer than one sample.
    #[error("{found} samples, expected one: give each sample's own gVCF")]
    Samples {
        /// How many there are.
        found: usize,
    },
    /// The file was made with another reference.
    #[error("contig '{name}' has {found} bases here and {expected} in the reference")]
    ContigLength {
        /// The contig.
        name: String,
        /// Bases by the file.
        found: u64,
        /// Bases by the reference.
        expected: u32,
    },
    /// The same, by what the contig is made of.
    #[error("contig '{name}' has the MD5 {found} here and {expected} in the reference")]
    ContigBases {
        /// The contig.
        name: String,
        /// By the file.
        found: String,
        /// By the reference.
        expected: String,
    },
}

impl Classified for ReadError {
    fn class(&self) -> Class {
        match self {
            ReadError::Open { source, .. } if source.kind() == io::ErrorKind::NotFound => Class::Input,
            ReadError::Open { .. } => Class::Failed,
            ReadError::Lines { problem: LinesProblem::Block { problem: BgzfProblem::Io(_), .. }, .. } => {
                Class::Failed
            }
            ReadError::Lines { .. } | ReadError::Header { .. } | ReadError::Record { .. } => Class::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            ReadError::Header { problem: HeaderProblem::Samples { .. }, path, .. } => {
                format!("bcftools +split -Oz -o DIR {}", path.display())
            }
            ReadError::Record { problem: LineProblem::Unsorted, path, .. } => {
                format!("bcftools sort -Oz -o SORTED.g.vcf.gz {}", path.display())
            }
            _ => return None,
        };
        Some(hint)
    }
}

/// A stored piece of gVCF text is not what its cell should hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct PieceError {
    /// 1-based within the piece.
    pub line: u64,
    /// What is wrong.
    pub problem: LineProblem,
}

/// Reads the text of one cell, as [`super::write_gvcf`] wrote it.
pub fn parse_cell(text: &[u8], contigs: &Contigs, cell: Interval) -> Result<CellCalls, PieceError> {
    let mut calls = CellCalls::default();
    let mut last = cell.start;
    let lines = text.split(|&byte| byte == b'\n').zip(1..);
    for (bytes, line) in lines.filter(|(bytes, _)| !bytes.is_empty()) {
        let error = |problem| PieceError { line, problem };
        let (contig, call) = parse_line(bytes, contigs).map_err(error)?;
        let start = call.start();
        if contig != cell.contig || !(cell.start..cell.end).contains(&start) {
            return Err(error(LineProblem::OutsideCell));
        }
        if start < last {
            return Err(error(LineProblem::Unsorted));
        }
        last = start;
        match call {
            Call::Site(site) => {
                add_site(&mut calls, site);
            }
            Call::Block(block) if block.end <= cell.end => calls.blocks.push(block),
            Call::Block(_) => return Err(error(LineProblem::OutsideCell)),
        }
    }
    Ok(calls)
}

/// One sample's gVCF file.
pub struct SampleReader<'a> {
    path: PathBuf,
    contigs: &'a Contigs,
    lines: Lines,
    sample: String,
    /// The record read beyond the cells already given.
    ahead: Option<(u32, Call)>,
    /// What is left of blocks that cross the last cell's end.
    rest: Vec<RefBlock>,
    /// Contig and start of the record read last.
    last: (u32, u32),
    outweighed: u64,
}

impl<'a> SampleReader<'a> {
    /// Opens a file, BGZF or plain, and reads its header.
    pub fn open(path: &Path, contigs: &'a Contigs) -> Result<Self, ReadError> {
        let lines = Lines::open(path).map_err(|source| ReadError::Open { path: path.to_owned(), source })?;
        let sample = String::new();
        let path = path.to_owned();
        let (ahead, rest, last) = (None, Vec::new(), (0, 0));
        let mut reader = SampleReader { path, contigs, lines, sample, ahead, rest, last, outweighed: 0 };
        reader.sample = reader.read_header()?;
        reader.read_ahead()?;
        Ok(reader)
    }

    /// The sample's name.
    pub fn sample(&self) -> &str {
        &self.sample
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Variant records left out so far, since another of their POS has a higher QUAL.
    pub fn outweighed(&self) -> u64 {
        self.outweighed
    }

    /// Gives the next cell's calls. Cells must be asked for in reference order, none left out.
    pub fn read_cell(&mut self, cell: Interval) -> Result<CellCalls, ReadError> {
        let mut calls = CellCalls::default();
        for block in std::mem::take(&mut self.rest) {
            self.push_block(block, cell, &mut calls);
        }
        while let Some((contig, call)) = self.ahead.take() {
            if contig != cell.contig || call.start() >= cell.end {
                self.ahead = Some((contig, call));
                break;
            }
            match call {
                Call::Site(site) => self.outweighed += u64::from(add_site(&mut calls, site)),
                Call::Block(block) => self.push_block(block, cell, &mut calls),
            }
            if calls.sites.len() + calls.blocks.len() > CELL_RECORDS_MAX {
                let (path, line) = (self.path.clone(), self.lines.number());
                return Err(ReadError::Record { path, line, problem: LineProblem::Crowded });
            }
            self.read_ahead()?;
        }
        Ok(calls)
    }

    fn push_block(&mut self, mut block: RefBlock, cell: Interval, calls: &mut CellCalls) {
        if block.end > cell.end {
            self.rest.push(RefBlock { start: cell.end, ..block.clone() });
            block.end = cell.end;
        }
        calls.blocks.push(block);
    }

    fn read_ahead(&mut self) -> Result<(), ReadError> {
        let problem = |problem| ReadError::Lines { path: self.path.clone(), problem };
        let Some(bytes) = self.lines.next_line().map_err(problem)? else { return Ok(()) };
        let parsed = parse_line(bytes, self.contigs);
        let line = self.lines.number();
        let problem = |problem| ReadError::Record { path: self.path.clone(), line, problem };
        let (contig, call) = parsed.map_err(problem)?;
        if (contig, call.start()) < self.last {
            return Err(problem(LineProblem::Unsorted));
        }
        self.last = (contig, call.start());
        self.ahead = Some((contig, call));
        Ok(())
    }

    /// Reads up to the column line and gives the sample's name.
    fn read_header(&mut self) -> Result<String, ReadError> {
        let mut has_blocks = false;
        loop {
            let problem = |problem| ReadError::Lines { path: self.path.clone(), problem };
            let line = self.lines.number() + 1;
            let sample = match self.lines.next_line().map_err(problem)? {
                Some(bytes) => {
                    // NON_REF or <*> of GATK and bcftools, END of everybody who writes blocks.
                    has_blocks |= [&b"##ALT=<ID=NON_REF"[..], b"##ALT=<ID=*", b"##INFO=<ID=END,"]
                        .iter()
                        .any(|declared| bytes.starts_with(declared));
                    header_line(bytes, line == 1, self.contigs)
                }
                None => Err(HeaderProblem::NoColumns),
            };
            let problem = |problem| ReadError::Header { path: self.path.clone(), line, problem };
            if let Some(sample) = sample.map_err(problem)? {
                if !has_blocks {
                    return Err(problem(HeaderProblem::NoBlocks));
                }
                return Ok(sample);
            }
        }
    }
}

/// Adds a site, at most one a position; says whether one of two had to give way.
fn add_site(calls: &mut CellCalls, site: SiteCall) -> bool {
    match calls.sites.last_mut().filter(|last| last.position == site.position) {
        Some(last) => {
            if site.quality_tenths > last.quality_tenths {
                *last = site;
            }
            true
        }
        None => {
            calls.sites.push(site);
            false
        }
    }
}

/// Checks a header line; the sample's name if it is the column line.
fn header_line(bytes: &[u8], first: bool, contigs: &Contigs) -> Result<Option<String>, HeaderProblem> {
    if first != bytes.starts_with(b"##fileformat=VCFv4") {
        return Err(HeaderProblem::NotVcf);
    }
    if let Some(fields) = bytes.strip_prefix(b"##contig=<") {
        check_contig(&String::from_utf8_lossy(fields), contigs)?;
    }
    if bytes.starts_with(b"##") {
        return Ok(None);
    }
    const COLUMNS: [&str; 9] = ["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT"];
    let text = String::from_utf8_lossy(bytes);
    // Some writers pad names with blanks.
    let mut columns = text.split('\t').map(str::trim);
    if !COLUMNS.iter().all(|column| columns.next() == Some(column)) {
        return Err(HeaderProblem::Columns);
    }
    let samples: Vec<&str> = columns.collect();
    match samples[..] {
        [sample] if !sample.is_empty() => Ok(Some(sample.to_owned())),
        _ => Err(HeaderProblem::Samples { found: samples.len() }),
    }
}

/// A contig the reference knows must have its length and, where stated, its MD5; one it does not know may stand there unused.
fn check_contig(fields: &str, contigs: &Contigs) -> Result<(), HeaderProblem> {
    let field = |key: &str| {
        let values = fields.trim_end_matches('>').split(',').filter_map(|field| field.split_once('='));
        values.into_iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    };
    let known = field("ID").and_then(|name| contigs.id(name)).map(|id| contigs.get(id));
    let length = field("length").and_then(|length| length.parse::<u64>().ok());
    match (known, length) {
        (Some(contig), Some(found)) if found != u64::from(contig.length) => {
            let (name, expected) = (contig.name.clone(), contig.length);
            Err(HeaderProblem::ContigLength { name, found, expected })
        }
        (Some(contig), _) => {
            let expected: String = contig.m5.iter().map(|byte| format!("{byte:02x}")).collect();
            match field("md5").filter(|found| !found.eq_ignore_ascii_case(&expected)) {
                Some(found) => {
                    let (name, found) = (contig.name.clone(), found.to_owned());
                    Err(HeaderProblem::ContigBases { name, found, expected })
                }
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}
