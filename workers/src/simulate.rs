//! `wakachi simulate`: a small cohort with everything known about it. A reference as genomes have them or a real one,
//! people who share ancestry, their reads, the truth, and a cohort file ready to run.
//!
//! Invariant: every file is a pure function of the options without `out` and `threads`. Only the consents depend on `as_of`,
//! and only they, and whose the tumour is, on `withdrawn`. An interrupted simulation that is started again keeps the files
//! it finished and makes the others as if it had never stopped.

pub mod cohort;
mod descent;
pub mod genome;
pub mod governance;
mod growth;
mod haplotypes;
mod outputs;
pub mod population;
mod reads;
mod rng;
pub mod synthesis;
pub mod truth;
mod truth_vcf;
pub mod variation;

use std::io::Write;
use std::path::PathBuf;

use jobs::failure::{Class, Classified};
use jobs::time::Timestamp;
use noodles_bgzf as bgzf;
use rayon::prelude::*;

use crate::fasta::FastaError;
use cohort::{Role, Sample};
use genome::Sequence;
use haplotypes::Haplotype;
use outputs::Outputs;
pub use outputs::WriteError;
use population::{CellKind, Population, cells};
use reads::{Cells, Library, READ_BASES};

const REFERENCE: &str = "reference.fa";
const CONSENT: &str = "consent.json";
const POLICY: &str = "policy.toml";
const SITES: &str = "sites.toml";
/// These two come last: where they are, everything is.
const SHEET: &str = "samples.csv";
const COHORT: &str = "cohort.toml";
/// Read pairs that are made and deflated in one piece. Part of the output: pieces end BGZF blocks.
const CHUNK_PAIRS: u64 = 4096;
/// Deflate level of the reads.
const READS_LEVEL: u8 = 4;
/// Version of the simulated model: a change of what is simulated changes it, so that nothing older is resumed.
const MODEL_VERSION: u32 = 2;
const SAMPLES_MAX: u32 = 100_000;
/// Size of a synthetic genome, unless another is asked for.
pub const GENOME_MB: f64 = 2.0;
const GENOME_MB_MAX: f64 = 4_000.0;
const DEPTH_MAX: f64 = 10_000.0;
/// Bytes of the empty block that ends a BGZF file (SAMv1 §4.1.2).
const BGZF_EOF_BYTES: usize = 28;

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directory to write into: missing, empty, or of an earlier simulation.
    pub out: PathBuf,
    /// Seed of everything random.
    pub seed: u64,
    /// Participants, at least 1; from 3 on the first three are a trio.
    pub samples: u32,
    /// Size of the genome in megabases: of the synthetic one, [`GENOME_MB`] if `None`; or what `reference` is grown to,
    /// its own size if `None`.
    pub genome_mb: Option<f64>,
    /// Mean depth of each sample.
    pub depth: f64,
    /// Whether the last participant who has not withdrawn also has a tumour sample.
    pub tumor: bool,
    /// A FASTA file to use instead of a synthetic genome.
    pub reference: Option<PathBuf>,
    /// When the simulated register confirms the consents. They are written anew whenever the simulation is run, as a
    /// register confirms them again.
    pub as_of: Timestamp,
    /// So many participants, the last ones, have withdrawn their consent.
    pub withdrawn: u32,
    /// Threads, at least 1; never visible in the files.
    pub threads: usize,
}

impl Options {
    /// The participant with a tumour: the last who has not withdrawn, so that it is in the job; or the last of all.
    fn bearer(&self) -> Option<usize> {
        let consenting = self.samples.saturating_sub(self.withdrawn);
        let last = if consenting > 0 { consenting } else { self.samples };
        self.tumor.then(|| last.saturating_sub(1) as usize)
    }
}

impl Default for Options {
    /// A small cohort: 8 participants, 2 Mb, 20x, with a tumour. Its consents were confirmed in 1970.
    fn default() -> Self {
        Options {
            out: PathBuf::from("simulated"),
            seed: 1,
            samples: 8,
            genome_mb: None,
            depth: 20.0,
            tumor: true,
            reference: None,
            as_of: Timestamp::default(),
            withdrawn: 0,
            threads: 1,
        }
    }
}

/// What was simulated.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// The cohort file.
    pub cohort: PathBuf,
    /// The reference.
    pub reference: PathBuf,
    /// Bases of the reference, unknown ones included.
    pub reference_bases: u64,
    /// The samples in sheet order.
    pub samples: Vec<SampleSummary>,
}

/// What was simulated of one sample.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SampleSummary {
    /// SM.
    pub name: String,
    /// Whether it is a tumour.
    pub tumor: bool,
    /// Read pairs.
    pub pairs: u64,
    /// Germline truth of SNVs and indels.
    pub truth: PathBuf,
    /// Records in it.
    pub truth_variants: u64,
    /// Somatic truth of a tumour.
    pub somatic_truth: Option<PathBuf>,
}

/// What just happened.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// A file is complete; `kept` if it was so before.
    File {
        /// Path below the output directory.
        path: &'a str,
        /// Whether an earlier run wrote it.
        kept: bool,
    },
    /// Read pairs of a sample were written.
    Pairs {
        /// The sample.
        sample: &'a str,
        /// So many.
        done: u64,
        /// Of so many.
        total: u64,
    },
}

/// Why nothing, or not everything, was simulated.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// An option is out of range.
    #[error("--{option} {value}: expected {expected}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// The value given.
        value: String,
        /// What is allowed.
        expected: String,
    },
    /// The output directory holds files that are not a simulation's.
    #[error("{}: expected a directory that is missing, empty or from an earlier simulation", path.display())]
    Occupied {
        /// The directory.
        path: PathBuf,
    },
    /// The reference cannot be used.
    #[error(transparent)]
    Reference(#[from] FastaError),
    /// No contig has a stretch of known bases long enough for a fragment.
    #[error("the reference has no room for a read pair: expected a stretch of at least 1,000 known bases")]
    NoRoom,
    /// A contig is too long for 32-bit coordinates.
    #[error("contig {contig} has {bases} bases: expected fewer than 2^31")]
    LongContig {
        /// Its name.
        contig: String,
        /// Its length.
        bases: usize,
    },
    /// An output cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The threads cannot be started.
    #[error("cannot start {threads} threads")]
    Threads {
        /// How many.
        threads: usize,
        /// The cause.
        #[source]
        source: rayon::ThreadPoolBuildError,
    },
}

impl Classified for SimulateError {
    fn class(&self) -> Class {
        match self {
            SimulateError::Option { .. } | SimulateError::Occupied { .. } => Class::Usage,
            SimulateError::Reference(error) => error.class(),
            SimulateError::NoRoom | SimulateError::LongContig { .. } => Class::Input,
            SimulateError::Write(_) | SimulateError::Threads { .. } => Class::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            SimulateError::Occupied { .. } => Some("name another directory with --out".to_owned()),
            SimulateError::Write(_) => {
                Some("give the same command again to go on where it stopped".to_owned())
            }
            _ => None,
        }
    }
}

/// Simulates a cohort into `options.out`.
pub fn run(options: &Options, progress: &mut dyn FnMut(Step<'_>)) -> Result<Summary, SimulateError> {
    check(options)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(options.threads).build();
    let pool = pool.map_err(|source| SimulateError::Threads { threads: options.threads, source })?;
    let genome = pool.install(|| genome(options))?;
    check_genome(&genome)?;
    let mut outputs = Outputs::open(&options.out, &digest(options, &genome))?
        .ok_or_else(|| SimulateError::Occupied { path: options.out.clone() })?;
    [SHEET, COHORT].iter().try_for_each(|path| outputs.retract(path))?;
    let population = Population::draw(options.seed, &genome, options.samples, options.bearer());
    let mut simulation =
        Simulation { options, genome: &genome, population, pool, outputs: &mut outputs, progress };

    simulation.file(REFERENCE, 0, |out| genome::write_fasta(&genome, out))?;
    simulation.file("reference.fa.fai", 0, |out| genome::write_fai(&genome, out))?;
    let samples = cohort::samples(options.samples as usize, options.bearer());
    let mut summaries = Vec::new();
    let mut digests = Vec::new();
    for (index, sample) in samples.iter().enumerate() {
        summaries.push(simulation.truth(sample)?);
        digests.push(simulation.reads(index as u64, sample)?);
    }
    simulation.consents()?;
    simulation.file(POLICY, 0, |out| out.write_all(governance::POLICY.as_bytes()))?;
    simulation.file(SITES, 0, |out| out.write_all(governance::SITES.as_bytes()))?;
    let sheet = cohort::sheet(&samples, &simulation.population.people, &digests);
    simulation.file(SHEET, samples.len() as u64, |out| out.write_all(sheet.as_bytes()))?;
    let cohort = cohort::cohort_file(options.seed);
    simulation.file(COHORT, 0, |out| out.write_all(cohort.as_bytes()))?;
    Ok(Summary {
        cohort: options.out.join(COHORT),
        reference: options.out.join(REFERENCE),
        reference_bases: genome.iter().map(|contig| contig.bases.len() as u64).sum(),
        samples: summaries,
    })
}

fn check(options: &Options) -> Result<(), SimulateError> {
    let genome_mb_min = f64::from(synthesis::GENOME_BASES_MIN) / 1e6;
    let wrong =
        |option, value: String, expected: String| Err(SimulateError::Option { option, value, expected });
    if !(1..=SAMPLES_MAX).contains(&options.samples) {
        return wrong("samples", options.samples.to_string(), format!("a number from 1 to {SAMPLES_MAX}"));
    }
    if options.withdrawn > options.samples {
        let expected = format!("at most the {} participants", options.samples);
        return wrong("withdrawn", options.withdrawn.to_string(), expected);
    }
    let genome_mb = options.genome_mb.unwrap_or(GENOME_MB);
    if !(genome_mb_min..=GENOME_MB_MAX).contains(&genome_mb) {
        let expected = format!("megabases from {genome_mb_min} to {GENOME_MB_MAX}");
        return wrong("genome-mb", genome_mb.to_string(), expected);
    }
    if !(0.01..=DEPTH_MAX).contains(&options.depth) {
        return wrong("depth", options.depth.to_string(), format!("a depth from 0.01 to {DEPTH_MAX}"));
    }
    if options.threads == 0 {
        return wrong("threads", options.threads.to_string(), "at least 1".to_owned());
    }
    Ok(())
}

/// The reference to simulate on: synthetic, or a real one as it is or grown.
fn genome(options: &Options) -> Result<Vec<Sequence>, SimulateError> {
    let bases = options.genome_mb.map(|megabases| (megabases * 1e6) as u64);
    let Some(path) = &options.reference else {
        let bases = bases.unwrap_or((GENOME_MB * 1e6) as u64);
        return Ok(synthesis::synthesise(options.seed, bases as u32));
    };
    let reference = genome::read_fasta(path)?;
    let Some(bases) = bases else { return Ok(reference) };
    let own: u64 = reference.iter().map(|contig| contig.bases.len() as u64).sum();
    if own > bases {
        let expected = format!("at least the {:.3} megabases of the reference", own as f64 / 1e6);
        return Err(SimulateError::Option {
            option: "genome-mb",
            value: (bases as f64 / 1e6).to_string(),
            expected,
        });
    }
    Ok(growth::grow(options.seed, reference, bases))
}

fn check_genome(genome: &[Sequence]) -> Result<(), SimulateError> {
    if let Some(contig) = genome.iter().find(|contig| contig.bases.len() >= 1 << 31) {
        return Err(SimulateError::LongContig { contig: contig.name.clone(), bases: contig.bases.len() });
    }
    let has_room =
        |contig: &Sequence| contig.bases.split(|&base| base == b'N').any(|known| known.len() >= 1_000);
    if genome.iter().any(has_room) { Ok(()) } else { Err(SimulateError::NoRoom) }
}

/// What the files depend on.
fn digest(options: &Options, genome: &[Sequence]) -> String {
    let Options { seed, samples, depth, tumor: _, withdrawn: _, .. } = options;
    let Options { out: _, genome_mb: _, reference: _, as_of: _, threads: _, .. } = options;
    let (version, bearer) = (env!("CARGO_PKG_VERSION"), options.bearer());
    let text = format!("{MODEL_VERSION} {version} {seed} {samples} {depth} {bearer:?}");
    blake3::hash(format!("{text} {}", genome::digest(genome)).as_bytes()).to_string()
}

struct Simulation<'a> {
    options: &'a Options,
    genome: &'a [Sequence],
    population: Population,
    pool: rayon::ThreadPool,
    outputs: &'a mut Outputs,
    progress: &'a mut dyn FnMut(Step<'_>),
}

impl<'a> Simulation<'a> {
    fn file(
        &mut self,
        path: &str,
        count: u64,
        content: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
    ) -> Result<(), SimulateError> {
        let kept = self.outputs.finished(path).is_some();
        self.outputs.write(path, count, content)?;
        (self.progress)(Step::File { path, kept });
        Ok(())
    }

    /// Writes the consents, also where they are: a register is as good as the moment it was last confirmed.
    fn consents(&mut self) -> Result<(), SimulateError> {
        let Options { samples, withdrawn, as_of, .. } = *self.options;
        let mut file = self.outputs.create(CONSENT)?;
        governance::write_consents(samples as usize, withdrawn as usize, as_of, &mut file)
            .map_err(|source| WriteError { path: self.options.out.join(CONSENT), source })?;
        self.outputs.commit(file, u64::from(samples))?;
        (self.progress)(Step::File { path: CONSENT, kept: false });
        Ok(())
    }

    /// Writes the truth VCFs of a sample.
    fn truth(&mut self, sample: &Sample) -> Result<SampleSummary, SimulateError> {
        use truth_vcf::Class;
        let name = &sample.name;
        let germline = format!("truth/{name}.vcf.gz");
        let somatic = format!("truth/{name}.somatic.vcf.gz");
        let tumor = sample.role == Role::Tumor;
        let truth_variants = self.truth_file(sample, &germline, Class::Small)?;
        self.truth_file(sample, &format!("truth/{name}.sv.vcf.gz"), Class::Structural)?;
        if tumor {
            self.truth_file(sample, &somatic, Class::Somatic)?;
        }
        Ok(SampleSummary {
            name: name.clone(),
            tumor,
            pairs: self.pairs(),
            truth: self.options.out.join(germline),
            truth_variants,
            somatic_truth: tumor.then(|| self.options.out.join(somatic)),
        })
    }

    fn truth_file(
        &mut self,
        sample: &Sample,
        path: &str,
        class: truth_vcf::Class,
    ) -> Result<u64, SimulateError> {
        let index = format!("{path}.tbi");
        if let (Some(written), Some(_)) = (self.outputs.finished(path), self.outputs.finished(&index)) {
            let count = written.count;
            (self.progress)(Step::File { path, kept: true });
            return Ok(count);
        }
        let person = &self.population.people[sample.person];
        let vcf = truth_vcf::truth_vcf(self.genome, &self.population, person, &sample.name, class)
            .map_err(|source| WriteError { path: self.options.out.join(path), source })?;
        self.file(path, vcf.records, |out| out.write_all(&vcf.text))?;
        self.file(&index, vcf.records, |out| out.write_all(&vcf.index))?;
        Ok(vcf.records)
    }

    /// Read pairs of a sample.
    fn pairs(&self) -> u64 {
        let known = |contig: &Sequence| contig.bases.iter().filter(|&&base| base != b'N').count() as u64;
        let bases: u64 = self.genome.iter().map(known).sum();
        (bases as f64 * self.options.depth / f64::from(2 * READ_BASES)).ceil() as u64
    }

    /// Writes the reads of a sample; gives the digests of the two files.
    fn reads(&mut self, index: u64, sample: &Sample) -> Result<[String; 2], SimulateError> {
        let paths = sample.fastqs();
        if let [Some(first), Some(second)] = [0, 1].map(|end| self.outputs.finished(&paths[end])) {
            let digests = [first.sha256.clone(), second.sha256.clone()];
            paths.iter().for_each(|path| (self.progress)(Step::File { path, kept: true }));
            return Ok(digests);
        }
        let library = self.library(index, sample);
        let total = self.pairs();
        let mut files = [self.outputs.create(&paths[0])?, self.outputs.create(&paths[1])?];
        let starts: Vec<u64> = (0..total).step_by(CHUNK_PAIRS as usize).collect();
        // Enough chunks at a time to keep all threads busy, few enough to hold in memory.
        for batch in starts.chunks(4 * self.options.threads) {
            let chunk = |&start: &u64| chunk(&library, start, total.min(start + CHUNK_PAIRS));
            let chunks: Vec<_> = self.pool.install(|| batch.par_iter().map(chunk).collect());
            for texts in chunks {
                let texts = texts.ok_or(SimulateError::NoRoom)?;
                files.iter_mut().zip(&texts).try_for_each(|(file, text)| file.append(text))?;
            }
            let done = total.min(batch.last().map_or(0, |start| start + CHUNK_PAIRS));
            (self.progress)(Step::Pairs { sample: &sample.name, done, total });
        }
        let [mut first, mut second] = files;
        let end = bgzf::io::Writer::new(Vec::new()).finish().unwrap_or_default();
        first.append(&end)?;
        second.append(&end)?;
        let digests = [self.outputs.commit(first, total)?.sha256, self.outputs.commit(second, total)?.sha256];
        paths.iter().for_each(|path| (self.progress)(Step::File { path, kept: false }));
        Ok(digests)
    }

    fn library(&self, index: u64, sample: &Sample) -> Library<'a> {
        let (genome, population) = (self.genome, &self.population);
        let person = &population.people[sample.person];
        let cells_of = |kind: CellKind| {
            let pair = |(contig, sequence): (usize, &'a Sequence)| {
                [0, 1].map(|which| {
                    Haplotype::new(&sequence.bases, &population.edits(person, kind, which, contig))
                })
            };
            Cells { share: kind.share, contigs: genome.par_iter().enumerate().map(pair).collect() }
        };
        let cells =
            self.pool.install(|| cells(sample.role == Role::Tumor).into_iter().map(cells_of).collect());
        let names = genome.iter().map(|contig| contig.name.clone()).collect();
        Library::new(self.options.seed, index, names, cells)
    }
}

/// Both FASTQ texts of some pairs as BGZF blocks without the end marker.
fn chunk(library: &Library<'_>, start: u64, end: u64) -> Option<[Vec<u8>; 2]> {
    let mut texts = [Vec::new(), Vec::new()];
    for index in start..end {
        if !library.pair(index, &mut texts) {
            return None;
        }
    }
    Some(texts.map(|text| deflate(&text)))
}

fn deflate(text: &[u8]) -> Vec<u8> {
    let level = bgzf::io::writer::CompressionLevel::new(READS_LEVEL).unwrap_or_default();
    let builder = bgzf::io::writer::Builder::default().set_compression_level(level);
    let mut writer = builder.build_from_writer(Vec::with_capacity(text.len() / 3));
    // Writing to memory cannot fail.
    let mut blocks = writer.write_all(text).and_then(|()| writer.finish()).unwrap_or_default();
    blocks.truncate(blocks.len() - BGZF_EOF_BYTES);
    blocks
}

#[cfg(test)]
mod tests;
