//! The filter `wakachi call`: an indexed BAM or CRAM to VCF or gVCF, cell by cell, as region tasks call.

use crate::fasta;
use crate::htslib::{AlignmentError, AlignmentReader};
use crate::index_file::{Bases, IndexError};
use crate::record::Record;
use crate::region::{CallReads, ReferenceSpan};
use crate::vcf::{self, EOF_BLOCK, IndexKind, Kind, build_index, header_text};
use jobs::failure::{Class, Classified};
use jobs::genome::{Cell, Contigs, Grid, HALO_BASES, Interval};
use kernels::call::{CallOptions, Workspace};
use kernels::reference::Reference;
use kernels::variant::CellCalls;
use rayon::prelude::*;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use storage::{AtomicFile, AtomicFileError, DiskError};

/// Cells that are called before their text is written, per thread.
const CELLS_PER_THREAD: usize = 4;

/// Calling failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The reference.
    #[error(transparent)]
    Reference(#[from] IndexError),
    /// The alignments.
    #[error(transparent)]
    Alignments(#[from] AlignmentError),
    /// The output or a temporary file.
    #[error(transparent)]
    Write(#[from] AtomicFileError),
    /// The index of the output.
    #[error(transparent)]
    Index(#[from] vcf::index::IndexError),
    /// The alignments were made against another reference.
    #[error("{}: contig {contig} has {found} bases, the reference has {}", path.display(), expected.map_or("no such contig".to_owned(), |bases| bases.to_string()))]
    OtherReference {
        /// The alignments.
        path: PathBuf,
        /// The contig.
        contig: String,
        /// Its length there.
        found: u64,
        /// Its length in the reference.
        expected: Option<u32>,
    },
    /// The alignments were made with other bases.
    #[error("{}: contig {contig} has the MD5 {found}, the reference has {expected}", path.display())]
    OtherBases {
        /// The file.
        path: PathBuf,
        /// The contig.
        contig: String,
        /// By the file.
        found: String,
        /// By the reference.
        expected: String,
    },
    /// Reads of several samples.
    #[error("{}: holds reads of {} samples ({}), expected one", path.display(), samples.len(), samples.join(", "))]
    Samples {
        /// The alignments.
        path: PathBuf,
        /// Their names.
        samples: Vec<String>,
    },
    /// Records out of order or malformed.
    #[error("{}: record '{name}' at {region}: {what}", path.display())]
    Record {
        /// The alignments.
        path: PathBuf,
        /// The read.
        name: String,
        /// Its place.
        region: String,
        /// What is wrong.
        what: &'static str,
    },
    /// A line of a BED file.
    #[error("{}:{line}: {what}", path.display())]
    Bed {
        /// The file.
        path: PathBuf,
        /// 1-based.
        line: u64,
        /// What was found and expected.
        what: String,
    },
    /// The regions are neither a place nor a file.
    #[error("--regions {text}: neither a place of the reference nor a BED file that can be read")]
    Regions {
        /// As given.
        text: String,
        /// Why the file cannot be read.
        #[source]
        source: io::Error,
    },
}

impl Classified for CallError {
    fn class(&self) -> Class {
        match self {
            CallError::Reference(error) => error.class(),
            CallError::Alignments(error) => error.class(),
            CallError::Write(error) => error.class(),
            CallError::Index(error) => error.class(),
            CallError::OtherReference { .. }
            | CallError::OtherBases { .. }
            | CallError::Samples { .. }
            | CallError::Record { .. }
            | CallError::Bed { .. } => Class::Input,
            CallError::Regions { .. } => Class::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            CallError::Reference(error) => error.hint(),
            CallError::Alignments(error) => error.hint(),
            CallError::Write(error) => error.hint(),
            CallError::Index(error) => error.hint(),
            CallError::OtherReference { .. } | CallError::OtherBases { .. } => {
                Some("give the reference that the reads were aligned to".to_owned())
            }
            CallError::Samples { path, .. } => {
                Some(format!("samtools split {}, then call each", path.display()))
            }
            CallError::Record { path, .. } => {
                Some(format!("samtools sort -o SORTED.bam {} && samtools index SORTED.bam", path.display()))
            }
            CallError::Bed { .. } | CallError::Regions { .. } => {
                Some("give --regions NAME, NAME:START-END or a BED file".to_owned())
            }
        }
    }
}

/// What to call.
#[derive(Clone, Debug)]
pub struct Request {
    /// The reference.
    pub fasta: PathBuf,
    /// BAM or CRAM, sorted and indexed.
    pub alignments: PathBuf,
    /// VCF, bgzip-compressed.
    pub output: PathBuf,
    /// Whether to write reference blocks too.
    pub gvcf: bool,
    /// A place or a BED file; everything if `None`.
    pub regions: Option<String>,
    /// The caller's options.
    pub options: CallOptions,
    /// Digest of the parameters for the header.
    pub parameters: String,
}

/// What was called.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct CallReport {
    /// The sample.
    pub sample: String,
    /// Sites written.
    pub sites: u64,
    /// Those without a filter.
    pub sites_passed: u64,
    /// Cells called.
    pub cells: u32,
    /// Bytes written.
    pub bytes: u64,
}

/// Runs the filter on the calling rayon pool. `scratch` is an empty directory for a copy of the reference, should htslib
/// need one; `progress` is told the cells done and their total.
pub fn call(
    request: &Request,
    scratch: &Path,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<CallReport, CallError> {
    let bases = Bases::open(&request.fasta)?;
    let (contigs, reference) = (bases.contigs(), bases.reference());
    let fasta = fasta::for_htslib(&request.fasta, contigs, &reference, scratch)?;
    let mut reader = AlignmentReader::open(&request.alignments, Some(&fasta))?;
    let places = contig_map(&request.alignments, &reader.contigs(), contigs)?;
    let header = reader.header_text();
    check_digests(&request.alignments, &header, contigs)?;
    let sample = sample_name(&request.alignments, &header)?;
    let grid = Grid::new(contigs);
    let wanted = wanted(request, contigs)?;
    let cells: Vec<(Cell, Vec<Interval>)> =
        (0..grid.cells()).map(Cell).filter_map(|cell| overlaps(&grid, cell, &wanted)).collect();
    let caller = Caller { request, contigs, reference, fasta: &fasta, places: &places, grid: &grid };
    let kind = if request.gvcf { Kind::Gvcf } else { Kind::Calls };
    let mut output = AtomicFile::create(&request.output)?;
    let mut report =
        CallReport { sample: sample.clone(), sites: 0, sites_passed: 0, cells: cells.len() as u32, bytes: 0 };
    let mut put = |bytes: &[u8], report: &mut CallReport| {
        report.bytes += bytes.len() as u64;
        let written = output.write_all(bytes).map_err(DiskError::on("write", &request.output));
        written.map_err(|error| CallError::Write(error.into()))
    };
    let header = header_text(kind, contigs, &[&sample], &request.parameters);
    put(&vcf::compress_cell(header.as_bytes()), &mut report)?;
    let batch = CELLS_PER_THREAD * rayon::current_num_threads();
    for (done, cells) in cells.chunks(batch).enumerate() {
        let called: Vec<(CellCalls, Vec<u8>)> = cells
            .par_iter()
            .map_init(Workspace::new, |workspace, (cell, wanted)| caller.cell(*cell, wanted, workspace))
            .collect::<Result<_, _>>()?;
        for (calls, text) in &called {
            report.sites += calls.sites.len() as u64;
            report.sites_passed += calls.sites.iter().filter(|site| site.filters.is_empty()).count() as u64;
            put(&vcf::compress_cell(text), &mut report)?;
        }
        progress((done * batch + cells.len()) as u64, u64::from(report.cells));
    }
    put(&EOF_BLOCK, &mut report)?;
    output.commit()?;
    let index = IndexKind::of(contigs).path(&request.output);
    let mut file = AtomicFile::create(&index)?;
    let bytes = build_index(&request.output, contigs)?;
    file.write_all(&bytes).map_err(DiskError::on("write", &index)).map_err(AtomicFileError::from)?;
    file.commit()?;
    Ok(report)
}

struct Caller<'a> {
    request: &'a Request,
    contigs: &'a Contigs,
    reference: Reference<'a>,
    fasta: &'a Path,
    /// For each contig of the reference its id in the alignments, if it is there.
    places: &'a [Option<u32>],
    grid: &'a Grid,
}

impl Caller<'_> {
    fn cell(
        &self,
        cell: Cell,
        wanted: &[Interval],
        workspace: &mut Workspace,
    ) -> Result<(CellCalls, Vec<u8>), CallError> {
        let core = self.grid.interval(cell);
        let window = ReferenceSpan::around(&self.reference, core, true);
        let mut reads = CallReads::new(&self.request.options);
        if let Some(contig) = self.places[core.contig as usize] {
            self.read(contig, core, &mut reads)?;
        }
        let mut calls = reads.call(&core, &window, &self.request.options, workspace);
        cut(&mut calls, wanted);
        let mut text = Vec::new();
        if self.request.gvcf {
            vcf::write_gvcf(self.contigs, core.contig, &calls, |position| window.letter(position), &mut text);
        } else {
            vcf::write_calls(self.contigs, core.contig, &calls.sites, &mut text);
        }
        Ok((calls, text))
    }

    /// Gives the reads that start within the halo of the cell to `reads`.
    fn read(&self, contig: u32, core: Interval, reads: &mut CallReads) -> Result<(), CallError> {
        let from = core.start.saturating_sub(HALO_BASES);
        let end = core.end.saturating_add(HALO_BASES).min(self.reference.length(core.contig));
        let mut reader = AlignmentReader::open(&self.request.alignments, Some(self.fasta))?;
        reader.query(contig, from, end)?;
        let mut bytes = Vec::new();
        let mut last = 0;
        while reader.read(&mut bytes)? {
            let refuse = |what| {
                let record = Record::new(&bytes).ok();
                let position = record.map_or(-1, |record| record.position());
                let name =
                    record.map_or_else(String::new, |r| String::from_utf8_lossy(r.name()).into_owned());
                let region = format!("{}:{}", self.contigs.get(core.contig).name, i64::from(position) + 1);
                CallError::Record { path: self.request.alignments.clone(), name, region, what }
            };
            let record = Record::new(&bytes).map_err(|_| refuse("is malformed"))?;
            let position = u32::try_from(record.position()).map_err(|_| refuse("has no position"))?;
            if position < last {
                return Err(refuse("stands before the record before it; expected coordinate order"));
            }
            last = position;
            // A query also gives reads that start before and reach in; the grid counts starts.
            if position >= from {
                reads.push(&record, position);
            }
        }
        Ok(())
    }
}

/// Keeps what starts within the wanted places; blocks are cut to them.
fn cut(calls: &mut CellCalls, wanted: &[Interval]) {
    let holds = |position: u32| wanted.iter().any(|place| (place.start..place.end).contains(&position));
    calls.sites.retain(|site| holds(site.position));
    calls.blocks = calls
        .blocks
        .iter()
        .flat_map(|block| {
            wanted.iter().filter_map(move |place| {
                let (start, end) = (block.start.max(place.start), block.end.min(place.end));
                let mut part = block.clone();
                (part.start, part.end) = (start, end);
                (start < end).then_some(part)
            })
        })
        .collect();
}

fn contig_map(
    path: &Path,
    found: &[(String, u64)],
    contigs: &Contigs,
) -> Result<Vec<Option<u32>>, CallError> {
    let mut map = vec![None; contigs.len()];
    for (id, (name, bases)) in found.iter().enumerate() {
        let ours = contigs.id(name);
        let expected = ours.map(|id| contigs.get(id).length);
        if expected.map(u64::from) != Some(*bases) {
            return Err(CallError::OtherReference {
                path: path.to_owned(),
                contig: name.clone(),
                found: *bases,
                expected,
            });
        }
        map[ours.unwrap_or_default() as usize] = Some(id as u32);
    }
    Ok(map)
}

/// Where the header states what its contigs are made of, it must be what the reference is made of.
fn check_digests(path: &Path, header: &str, contigs: &Contigs) -> Result<(), CallError> {
    for line in header.lines().filter(|line| line.starts_with("@SQ\t")) {
        let field = |tag: &str| line.split('\t').find_map(|field| field.strip_prefix(tag));
        let (Some(contig), Some(found)) = (field("SN:"), field("M5:")) else { continue };
        let Some(id) = contigs.id(contig) else { continue };
        let expected: String = contigs.get(id).m5.iter().map(|byte| format!("{byte:02x}")).collect();
        if !found.eq_ignore_ascii_case(&expected) {
            let (path, contig, found) = (path.to_owned(), contig.to_owned(), found.to_owned());
            return Err(CallError::OtherBases { path, contig, found, expected });
        }
    }
    Ok(())
}

/// The one `SM` of the read groups, or the file's name where there is none.
fn sample_name(path: &Path, header: &str) -> Result<String, CallError> {
    let groups = header.lines().filter(|line| line.starts_with("@RG\t"));
    let mut samples: Vec<String> = groups
        .filter_map(|line| line.split('\t').find_map(|field| field.strip_prefix("SM:")))
        .map(str::to_owned)
        .collect();
    samples.sort();
    samples.dedup();
    match &samples[..] {
        [] => {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            Ok(stem.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect())
        }
        [sample] => Ok(sample.clone()),
        _ => Err(CallError::Samples { path: path.to_owned(), samples }),
    }
}

/// The places to call, sorted and without overlaps.
fn wanted(request: &Request, contigs: &Contigs) -> Result<Vec<Interval>, CallError> {
    let whole = |contig: u32| Interval { contig, start: 0, end: contigs.get(contig).length };
    let Some(text) = &request.regions else { return Ok((0..contigs.len() as u32).map(whole).collect()) };
    if let Ok(place) = contigs.parse_region(text) {
        return Ok(vec![place]);
    }
    let path = PathBuf::from(text);
    let bed =
        std::fs::read_to_string(&path).map_err(|source| CallError::Regions { text: text.clone(), source })?;
    parse_bed(&bed, contigs).map_err(|(line, what)| CallError::Bed { path, line, what })
}

/// The places a BED text names, sorted, those that touch joined to one. An error is the line, from 1, and what is wrong
/// with it.
pub fn parse_bed(bed: &str, contigs: &Contigs) -> Result<Vec<Interval>, (u64, String)> {
    let mut places = Vec::new();
    for (line, number) in bed.lines().zip(1..) {
        let skipped = ["#", "track", "browser"].iter().any(|start| line.starts_with(start));
        if !skipped && !line.trim().is_empty() {
            places.push(bed_line(line, contigs).map_err(|what| (number, what))?);
        }
    }
    places.sort_unstable();
    let mut merged: Vec<Interval> = Vec::new();
    for place in places {
        match merged.last_mut().filter(|last| last.contig == place.contig && place.start <= last.end) {
            Some(last) => last.end = last.end.max(place.end),
            None => merged.push(place),
        }
    }
    Ok(merged)
}

fn bed_line(line: &str, contigs: &Contigs) -> Result<Interval, String> {
    let mut fields = line.split('\t');
    let mut field = || fields.next().map(str::trim).filter(|field| !field.is_empty());
    let (Some(name), Some(start), Some(end)) = (field(), field(), field()) else {
        return Err("expected three tab-separated fields: contig, start, end".to_owned());
    };
    let contig = contigs.id(name).ok_or_else(|| format!("the reference has no contig '{name}'"))?;
    let number = |text: &str| text.parse::<u32>().map_err(|_| format!("'{text}' is no position"));
    let (start, end) = (number(start)?, number(end)?.min(contigs.get(contig).length));
    if start >= end {
        return Err(format!("expected start < end within the contig's {} bases", contigs.get(contig).length));
    }
    Ok(Interval { contig, start, end })
}

/// The parts of the wanted places that lie in a cell, if any does.
fn overlaps(grid: &Grid, cell: Cell, wanted: &[Interval]) -> Option<(Cell, Vec<Interval>)> {
    let core = grid.interval(cell);
    let parts: Vec<Interval> = wanted
        .iter()
        .filter(|place| place.overlaps(&core))
        .map(|place| Interval { start: place.start.max(core.start), end: place.end.min(core.end), ..core })
        .collect();
    (!parts.is_empty()).then_some((cell, parts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::genome::Contig;

    #[test]
    fn alignments_to_other_bases_of_the_same_name_and_length_are_refused() {
        let contigs = Contigs::new(vec![Contig { name: "c".into(), length: 100, m5: [0xab; 16] }]);
        let check =
            |m5: &str| check_digests(Path::new("a.bam"), &format!("@SQ\tSN:c\tLN:100{m5}\n"), &contigs);
        assert!(check("").is_ok() && check(&format!("\tM5:{}", "AB".repeat(16))).is_ok());
        let refused = check(&format!("\tM5:{}", "0".repeat(32))).unwrap_err();
        assert!(matches!(refused, CallError::OtherBases { .. }), "{refused}");
    }

    #[test]
    fn bed_lines_are_zero_based_and_checked() {
        let contigs = Contigs::new(vec![Contig { name: "c".into(), length: 100, m5: [0; 16] }]);
        let ok = |line| bed_line(line, &contigs).map(|place| (place.start, place.end));
        assert_eq!(ok("c\t0\t10\tname"), Ok((0, 10)));
        assert_eq!(ok("c\t90\t1000"), Ok((90, 100)));
        for bad in ["c 0 10", "d\t0\t1", "c\tx\t1", "c\t5\t5", "c\t200\t300"] {
            assert!(ok(bad).is_err(), "{bad}");
        }
    }
}
