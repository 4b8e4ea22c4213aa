//! The filter that joins the gVCF files of a cohort.
//!
//! Invariant: memory holds one cell of each sample; the output appears under its name complete and indexed, or not at
//! all.

use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use jobs::failure::{Class, Classified};
use jobs::genome::{CELL_BASES, Cell, Contigs, Grid, Interval};
use kernels::joint::{Disagreement, JointSite, Options, Sample, joint_cell, reaching};
use kernels::variant::{CellCalls, SiteCall};
use rayon::prelude::*;

use super::bgzf::{EOF_BLOCK, compress_cell, compress_cell_parallel};
use super::header::{Kind, header_text};
use super::index::{IndexError, IndexKind, build_index};
use super::reader::{ReadError, SampleReader};
use super::text::write_joint;

/// How much of a cell one thread joins at a time.
const PART_BASES: u32 = CELL_BASES / 8;

/// What was joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JointReport {
    /// Sample names in output order.
    pub samples: Vec<String>,
    /// Sites written.
    pub sites: u64,
    /// Sites written whose FILTER is PASS.
    pub sites_passed: u64,
    /// Variant records not used, since another of their sample and POS has a higher QUAL.
    pub records_outweighed: u64,
    /// Bytes of the output file.
    pub bytes: u64,
    /// Where the index is.
    pub index: PathBuf,
}

/// Why a cohort was not joined.
#[derive(Debug, thiserror::Error)]
pub enum JointError {
    /// Nothing to join.
    #[error("no gVCF file given")]
    NoInputs,
    /// An input file was refused.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Two files hold samples of one name.
    #[error("{}: sample '{sample}' is also in {}", second.display(), first.display())]
    DuplicateSample {
        /// The name.
        sample: String,
        /// The file given earlier.
        first: PathBuf,
        /// The file given later.
        second: PathBuf,
    },
    /// Two files state different reference bases.
    #[error(
        "{} and {} disagree about the reference: REF at {contig}:{position} is {} and {}",
        files[0].display(), files[1].display(), references[0], references[1]
    )]
    Disagreement {
        /// Contig name.
        contig: String,
        /// 1-based.
        position: u32,
        /// The two files.
        files: [PathBuf; 2],
        /// The REF each one states.
        references: [String; 2],
    },
    /// The output cannot be written.
    #[error("{path}: cannot write")]
    Write {
        /// The output file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The output written could not be read back.
    #[error("the output cannot be indexed")]
    Index(#[from] IndexError),
}

impl Classified for JointError {
    fn class(&self) -> Class {
        match self {
            JointError::NoInputs => Class::Usage,
            JointError::Read(error) => error.class(),
            JointError::DuplicateSample { .. } | JointError::Disagreement { .. } => Class::Input,
            JointError::Write { .. } => Class::Failed,
            // The file that fails to read back is the one just written.
            JointError::Index(_) => Class::Integrity,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            JointError::NoInputs => {
                Some("wakachi joint REF.fa A.g.vcf.gz B.g.vcf.gz -o COHORT.vcf.gz".to_owned())
            }
            JointError::Read(error) => error.hint(),
            JointError::DuplicateSample { first, .. } => {
                Some(format!("bcftools reheader --samples NAMES.txt -o RENAMED.g.vcf.gz {}", first.display()))
            }
            JointError::Disagreement { .. } => {
                Some("call both samples against the same reference".to_owned())
            }
            JointError::Write { .. } | JointError::Index(_) => None,
        }
    }
}

/// Joins the samples of `inputs`, in this order, into `output` and its index, on the threads of the current rayon pool.
/// `parameters` is the digest for the header; `progress` is told the cells done and their total.
pub fn joint_files(
    contigs: &Contigs,
    inputs: &[PathBuf],
    output: &Path,
    options: &Options,
    parameters: &str,
    progress: &mut (dyn FnMut(u32, u32) + Send),
) -> Result<JointReport, JointError> {
    let mut samples = open_all(contigs, inputs)?;
    let names: Vec<String> = samples.iter().map(|sample| sample.reader.sample().to_owned()).collect();
    let write = |source| JointError::Write { path: output.to_owned(), source };
    let mut data = Finished::create(output).map_err(write)?;
    let borrowed: Vec<&str> = names.iter().map(String::as_str).collect();
    data.push(&compress_cell(header_text(Kind::Joint, contigs, &borrowed, parameters).as_bytes()))
        .map_err(write)?;

    let grid = Grid::new(contigs);
    let mut report = JointReport {
        samples: names,
        sites: 0,
        sites_passed: 0,
        records_outweighed: 0,
        bytes: 0,
        index: PathBuf::new(),
    };
    let mut text = Vec::new();
    for cell in 0..grid.cells() {
        let place = grid.interval(Cell(cell));
        advance_all(&mut samples, place)?;
        let views: Vec<Sample<'_>> = samples.iter().map(OpenSample::view).collect();
        let parts = join_parts(place, &views, options)
            .map_err(|disagreement| disagree(contigs, place.contig, inputs, disagreement))?;
        text.clear();
        for sites in &parts {
            report.sites += sites.len() as u64;
            report.sites_passed += sites.iter().filter(|site| site.filters.is_empty()).count() as u64;
            write_joint(contigs, place.contig, sites, &mut text);
        }
        data.push(&compress_cell_parallel(&text)).map_err(write)?;
        progress(cell + 1, grid.cells());
    }
    data.push(&EOF_BLOCK).map_err(write)?;
    report.records_outweighed = samples.iter().map(|sample| sample.reader.outweighed()).sum();
    report.bytes = data.bytes;
    report.index = IndexKind::of(contigs).path(output);
    data.sync().map_err(write)?;
    let index = build_index(data.file.path(), contigs)?;
    let mut index_file = Finished::create(&report.index).map_err(write)?;
    index_file.push(&index).map_err(write)?;
    index_file.sync().map_err(write)?;
    // The data's name appears last: who sees it has the index too.
    index_file.rename().and_then(|()| data.rename()).map_err(write)?;
    Ok(report)
}

/// Moves every sample to a cell; the first sample's error counts, whichever thread met one first.
fn advance_all(samples: &mut [OpenSample<'_>], place: Interval) -> Result<(), ReadError> {
    let results: Vec<_> = samples.par_iter_mut().map(|sample| sample.advance(place)).collect();
    results.into_iter().collect()
}

/// Joins parts of a cell on the threads of the current pool; a site does not know of which part it is.
fn join_parts(
    place: Interval,
    samples: &[Sample<'_>],
    options: &Options,
) -> Result<Vec<Vec<JointSite>>, Disagreement> {
    let parts = (place.start..place.end).into_par_iter().step_by(PART_BASES as usize);
    parts
        .map(|start| joint_cell(start..place.end.min(start.saturating_add(PART_BASES)), samples, options))
        .collect::<Vec<_>>()
        .into_iter()
        .collect()
}

/// A sample's file, and what of it concerns the current cell.
struct OpenSample<'a> {
    reader: SampleReader<'a>,
    calls: CellCalls,
    upstream: Vec<SiteCall>,
}

impl OpenSample<'_> {
    fn advance(&mut self, place: Interval) -> Result<(), ReadError> {
        if place.start == 0 {
            self.upstream.clear();
        } else {
            self.upstream.retain(|site| {
                u64::from(site.position) + site.reference.len() as u64 > u64::from(place.start)
            });
            self.upstream.extend(reaching(&self.calls, place.start).cloned());
        }
        self.calls = self.reader.read_cell(place)?;
        Ok(())
    }

    fn view(&self) -> Sample<'_> {
        Sample { calls: &self.calls, upstream: &self.upstream }
    }
}

fn open_all<'a>(contigs: &'a Contigs, inputs: &[PathBuf]) -> Result<Vec<OpenSample<'a>>, JointError> {
    if inputs.is_empty() {
        return Err(JointError::NoInputs);
    }
    let mut samples: Vec<OpenSample<'a>> = Vec::with_capacity(inputs.len());
    for path in inputs {
        let reader = SampleReader::open(path, contigs)?;
        if let Some(first) = samples.iter().find(|sample| sample.reader.sample() == reader.sample()) {
            return Err(JointError::DuplicateSample {
                sample: reader.sample().to_owned(),
                first: first.reader.path().to_owned(),
                second: path.clone(),
            });
        }
        samples.push(OpenSample { reader, calls: CellCalls::default(), upstream: Vec::new() });
    }
    Ok(samples)
}

fn disagree(contigs: &Contigs, contig: u32, inputs: &[PathBuf], found: Disagreement) -> JointError {
    JointError::Disagreement {
        contig: contigs.get(contig).name.clone(),
        position: found.position + 1,
        files: found.samples.map(|sample| inputs[sample].clone()),
        references: found.references.map(|bases| String::from_utf8_lossy(&bases).into_owned()),
    }
}

/// A file that gets its name when it is finished; dropped before, it leaves nothing behind.
struct Finished {
    file: tempfile::NamedTempFile,
    buffer: BufWriter<std::fs::File>,
    path: PathBuf,
    bytes: u64,
}

impl Finished {
    fn create(path: &Path) -> io::Result<Self> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // The permissions any new file gets: the umask takes from these.
        let permissions = std::fs::Permissions::from_mode(0o666);
        let file =
            tempfile::Builder::new().prefix(".wakachi-").permissions(permissions).tempfile_in(folder)?;
        let buffer = BufWriter::new(file.reopen()?);
        Ok(Finished { file, buffer, path: path.to_owned(), bytes: 0 })
    }

    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        self.buffer.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.buffer.flush()?;
        self.file.as_file().sync_all()
    }

    fn rename(self) -> io::Result<()> {
        let folder = self.file.path().parent().map(Path::to_owned);
        self.file.persist(&self.path).map_err(|error| error.error)?;
        folder.map_or(Ok(()), |folder| std::fs::File::open(folder)?.sync_all())
    }
}
