//! `wakachi run`: the main job, and its resumption, which is the same command.

pub mod books;
pub mod close;
mod kinship;
mod progress;
pub mod status;

use crate::config;
use crate::job_dir::JobDir;
use crate::output::{self, Format, bytes, command_line, duration, note, table};
use crate::{cohort, interrupt};
use books::RunRecord;
use cluster::meter::{MemoryMeter, now_ms, process_cpu_ms};
use cluster::{Output, Request, TaskRunner};
use jobs::cohort::{Cohort, Lane as SheetLane};
use jobs::config::{Config, Limits, Origin, Resolved};
use jobs::failure::{Class, Classified, Failure};
use jobs::genome::{Cell, Contigs, Grid};
use jobs::parameters::Parameters;
use jobs::task::{Shard, Stage, Task};
use kernels::call::CallOptions;
use scheduler::{Ending, MemoryModel, Plan, SamplePlan, Scheduler};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use storage::{Commit, DiskError, Fence, JobIdentity, Journal, JournalError};
use workers::context::{Context, Lane, Sample, Settings};
use workers::index_file::{self, Bases, IndexError, ReferenceIndex};
use workers::intake::LaneInput;

/// Aligns, calls and joint-calls a cohort
///
/// Takes a cohort file and writes, per sample, a CRAM and a gVCF, and for the cohort a joint VCF, a ledger and a report.
/// The same command again resumes after an interruption, and checks the results of a job that is complete.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  wakachi run cohort.toml --out job
  wakachi run cohort.toml --out job -t 16 --memory 24G
  wakachi run cohort.toml --out job --dry-run

Exit codes: 0 complete, 3 input refused, 6 a stored piece or result is damaged, 10 something is missing,
130 interrupted (give the command again to resume).")]
pub struct Args {
    /// The cohort file (TOML)
    cohort: PathBuf,
    /// The job directory: results/, qc/, report.html, ledger.json
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    limits: LimitArgs,
    /// Prints tasks, memory and scratch, and runs nothing
    #[arg(long)]
    dry_run: bool,
    /// Does again what is damaged or missing, in scratch and in results
    #[arg(long)]
    repair: bool,
    /// Cells that begin a shard, instead of shards of equal length; never changes a result, which tests prove with it
    #[arg(long, value_name = "CELL,..", value_delimiter = ',', hide = true)]
    shard_lines: Vec<u32>,
    /// Form of the summary on stdout
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// Flags of `[limits]`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct LimitArgs {
    /// Threads that compute at once [default: all cores]
    #[arg(short, long, value_name = "N")]
    threads: Option<String>,
    /// Anonymous memory of the process, such as 8G; the mapped index is apart [default: three quarters of the machine's]
    #[arg(long, value_name = "BYTES")]
    memory: Option<String>,
    /// About how long a region shard is, such as 4M; never changes a result
    #[arg(long, value_name = "BASES")]
    shard_bases: Option<String>,
    /// Read pairs per map task; never changes a result
    #[arg(long, value_name = "N")]
    chunk_pairs: Option<String>,
    /// Configuration file, instead of those found by name
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl LimitArgs {
    /// What the flags say of the configuration.
    pub fn asked(&self, cohort: Option<&Path>) -> config::Asked {
        let named = [
            ("threads", &self.threads),
            ("memory", &self.memory),
            ("shard_bases", &self.shard_bases),
            ("chunk_pairs", &self.chunk_pairs),
        ];
        let given = named.into_iter().filter_map(|(key, value)| Some((key, value.clone()?)));
        config::Asked {
            config: self.config.clone(),
            cohort: cohort.map(Path::to_owned),
            flags: given.collect::<BTreeMap<_, _>>(),
        }
    }
}

/// Chunks of the largest lane, about.
const CHUNKS_PER_LANE: u64 = 16;

/// Chunks are not cut smaller than this unless somebody says so.
const CHUNK_PAIRS_MIN: u64 = 16_384;

/// Bytes of compressed FASTQ that a read of 150 bases takes, about.
const BYTES_PER_READ: u64 = 75;

/// The job was interrupted.
#[derive(Debug, thiserror::Error)]
#[error("interrupted; what is done is kept")]
struct Interrupted {
    command: String,
}

impl Classified for Interrupted {
    fn class(&self) -> Class {
        Class::Interrupted
    }

    fn hint(&self) -> Option<String> {
        Some(format!("to go on: {}", self.command))
    }
}

/// The reference is not the one that the cohort names.
#[derive(Debug, thiserror::Error)]
#[error("{}: has the digest {found}, the cohort file states {stated}", path.display())]
struct ReferenceDigest {
    path: PathBuf,
    stated: String,
    found: String,
}

impl Classified for ReferenceDigest {
    fn class(&self) -> Class {
        Class::Input
    }

    fn hint(&self) -> Option<String> {
        Some("give the stated reference, or correct [cohort] reference.digest".to_owned())
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let cohort = cohort::load(&args.cohort)?;
    cohort.warnings.iter().for_each(|warning| note(&format!("{warning}")));
    let config = config::load(&args.limits.asked(Some(&args.cohort)))?;
    let limits = cut_to_size(&config, &cohort);
    let reference = cohort.reference_path();
    check_reference_digest(&cohort, &reference)?;
    if args.dry_run {
        return dry_run(args, &cohort, &reference, limits);
    }
    let dir = JobDir::create(&args.out)?;
    let fence = Fence::acquire(&dir.scratch())?;
    let index = open_or_build(&reference, &dir.scratch(), limits.threads)?;
    let mut plan = plan(&cohort, index.contigs(), limits, &args.shard_lines);
    plan.admit(limits_of(limits))?;
    let parameters = digest(&cohort.parameters.canonical());
    let identity = JobIdentity {
        job: cohort.id.clone(),
        cohort_digest: cohort_digest(&cohort, &index),
        parameters_digest: parameters.clone(),
        program: format!("wakachi {}", env!("CARGO_PKG_VERSION")),
    };
    let journal = open_journal(fence, &identity, args.repair)?;
    // A job goes on with the shards it began with: finished samples have given back what other shards would be made of.
    if let Some(begun) = status::stored_plan(&journal)? {
        plan.shards = begun.shards;
    }
    status::store_plan(&journal, &plan)?;
    let ends = journal.committed_ends()?;
    if args.repair {
        close::forget_damaged_keys(&dir, &cohort)?;
    }
    let context = Context::open(
        identity.cohort_digest.clone(),
        index,
        cohort.samples.iter().map(|sample| sample_of(&cohort, sample)).collect(),
        settings(&cohort, limits, parameters),
        &dir.scratch(),
        ends,
    )?;
    let mut scheduler = Scheduler::new(plan, limits_of(limits));
    if args.repair {
        close::forget_damaged(&context, &journal, &scheduler, &dir)?;
        drop(context);
        drop(journal);
        let plain = Args { repair: false, ..args.clone() };
        return run(&plain);
    }
    let stop = interrupt::flag();
    let meter = MemoryMeter::start();
    let begun = RunRecord::begin(&journal, &command_line())?;
    let runner = Runner { context: &context, journal: &journal, dir: &dir, cohort: &cohort };
    let mut display = progress::Display::new(&cohort.id, &dir, args.output);
    let outcome = cluster::local::run(&mut scheduler, &journal, &runner, &mut display, limits.threads, stop)?;
    display.finish();
    let record = begun.end(
        &journal,
        &outcome,
        process_cpu_ms(),
        meter.peak_anonymous_bytes(),
        context.index.mapped_bytes(),
    )?;
    if let Some((task, failure)) = outcome.failure {
        note(&format!("task {} failed", task.key(context.names())));
        return Err(failure);
    }
    match outcome.ending {
        Ending::Complete => {
            close::verify_results(&dir, &journal)?;
            close::clear_scratch(&dir);
            summarise(args, &dir, &record)
        }
        Ending::Stopped | Ending::Failed(_) => Err(Interrupted { command: command_line() }.into()),
    }
}

/// The limits, with chunks cut to the largest lane where nobody said how large: enough tasks for all threads and for a
/// quick resume, but not so many that a region has to merge thousands of runs. Only file sizes count, so that a resumed
/// job cuts as before.
fn cut_to_size(config: &Config, cohort: &Cohort) -> Limits {
    let said = |one: &Resolved| one.key == "limits.chunk_pairs" && one.origin != Origin::Default;
    if config.resolved.iter().any(said) {
        return config.limits;
    }
    let pairs = lane_pairs(cohort).max().unwrap_or(0);
    let chunk_pairs = (pairs / CHUNKS_PER_LANE).clamp(CHUNK_PAIRS_MIN, u64::from(config.limits.chunk_pairs));
    Limits { chunk_pairs: chunk_pairs as u32, ..config.limits }
}

/// About how many pairs each lane has, by the size of its first file.
fn lane_pairs(cohort: &Cohort) -> impl Iterator<Item = u64> {
    let lanes = cohort.samples.iter().flat_map(|sample| &sample.lanes);
    let bytes =
        lanes.map(|lane| std::fs::metadata(cohort.reads_path(&lane.fastq_1)).map_or(0, |file| file.len()));
    bytes.map(|bytes| bytes / BYTES_PER_READ)
}

/// The job's journal. A damaged one is given up where the user wants repair: the job then begins anew.
fn open_journal(fence: Fence, identity: &JobIdentity, repair: bool) -> Result<Journal, Failure> {
    let scratch = fence.dir().to_owned();
    match Journal::open_or_create(fence, identity) {
        Err(JournalError::Damaged { path, what }) if repair => {
            note(&format!("journal {} is damaged: {what}; doing all again", path.display()));
            std::fs::remove_file(&path).map_err(DiskError::on("remove", &path))?;
            Ok(Journal::open_or_create(Fence::acquire(&scratch)?, identity)?)
        }
        opened => Ok(opened?),
    }
}

/// The reference with its index; where there is none, it is built: beside the reference, or else in `fallback`.
fn open_or_build(reference: &Path, fallback: &Path, threads: u32) -> Result<ReferenceIndex, Failure> {
    let beside = index_file::path_of(reference);
    let inside = fallback.join("reference.wki");
    let path = if !beside.exists() && inside.exists() { &inside } else { &beside };
    match ReferenceIndex::open(reference, path) {
        Err(IndexError::Missing { .. }) => {}
        opened => return Ok(opened?),
    }
    note(&format!("building the index of {}", reference.display()));
    crate::index::build(reference, &beside, threads)
        .or_else(|_| crate::index::build(reference, &inside, threads).map(drop))?;
    let path = if beside.exists() { beside } else { inside };
    Ok(ReferenceIndex::open(reference, &path)?)
}

fn check_reference_digest(cohort: &Cohort, path: &Path) -> Result<(), Failure> {
    let Some(stated) = &cohort.reference.digest else { return Ok(()) };
    let found = format!("sha256:{}", books::sha256(path)?);
    if stated.eq_ignore_ascii_case(&found) {
        return Ok(());
    }
    Err(ReferenceDigest { path: path.to_owned(), stated: stated.clone(), found }.into())
}

fn digest(text: &str) -> String {
    books::blake3_text(text)
}

/// Digest of what the results are made from, beside the parameters: samples, reads and reference. Reads count by the
/// digest they were sent with; without one, by length and time of change.
fn cohort_digest(cohort: &Cohort, index: &ReferenceIndex) -> String {
    let mut text = cohort.canonical();
    for contig in index.contigs().iter() {
        text += &format!("contig={}\t{}\t{}\n", contig.name, contig.length, books::hex(&contig.m5));
    }
    for lane in cohort.samples.iter().flat_map(|sample| &sample.lanes) {
        for fastq in std::iter::once(&lane.fastq_1).chain(&lane.fastq_2) {
            text += &match &fastq.sha256 {
                Some(sha256) => format!("reads={}\n", books::hex(sha256)),
                None => format!("reads={}\n", books::stamp(&cohort.reads_path(fastq))),
            };
        }
    }
    digest(&text)
}

fn sample_of(cohort: &Cohort, sample: &jobs::cohort::Sample) -> Sample {
    let mut libraries: Vec<&str> = Vec::new();
    let lanes = sample.lanes.iter().map(|lane| {
        let library = libraries.iter().position(|&name| name == lane.library).unwrap_or_else(|| {
            libraries.push(&lane.library);
            libraries.len() - 1
        });
        Lane {
            input: lane_input(cohort, lane),
            read_group: sample.read_group_id(lane),
            header_line: sample.read_group(lane),
            library: library as u16,
        }
    });
    let lanes = lanes.collect();
    Sample { name: sample.sample.clone(), joint: sample.role.joins(), lanes }
}

fn lane_input(cohort: &Cohort, lane: &SheetLane) -> LaneInput {
    LaneInput {
        fastq_1: cohort.reads_path(&lane.fastq_1),
        fastq_2: lane.fastq_2.as_ref().map(|fastq| cohort.reads_path(fastq)),
        sha256_1: lane.fastq_1.sha256,
        sha256_2: lane.fastq_2.as_ref().and_then(|fastq| fastq.sha256),
    }
}

fn settings(cohort: &Cohort, limits: Limits, parameters: String) -> Settings {
    Settings {
        parameters,
        chunk_pairs: u64::from(limits.chunk_pairs),
        calling: true,
        call: call_options(&cohort.parameters),
        joint: joint_options(&cohort.parameters),
        ..Settings::default()
    }
}

/// The caller's options under these parameters.
pub fn call_options(parameters: &Parameters) -> CallOptions {
    CallOptions {
        depth_max: parameters.max_depth,
        mapq_min: parameters.min_mapq,
        quality_min: parameters.min_base_quality,
        quality_tenths_min: u32::from(parameters.min_qual) * 10,
        ..CallOptions::default()
    }
}

/// The joint caller's options under these parameters.
pub fn joint_options(parameters: &Parameters) -> kernels::joint::Options {
    kernels::joint::Options {
        low_quality_tenths: u32::from(parameters.min_qual_joint) * 10,
        ..kernels::joint::Options::default()
    }
}

fn limits_of(limits: Limits) -> scheduler::Limits {
    scheduler::Limits { threads: limits.threads, memory_bytes: limits.memory_bytes }
}

fn plan(cohort: &Cohort, contigs: &Contigs, limits: Limits, shard_lines: &[u32]) -> Plan {
    let grid = Grid::new(contigs);
    let shards = match shard_lines {
        [] => grid.shards(limits.shard_bases),
        lines => shards_between(lines, grid.cells()),
    };
    Plan {
        samples: cohort
            .samples
            .iter()
            .map(|sample| SamplePlan {
                name: sample.sample.clone(),
                lanes: sample.lanes.len() as u32,
                joint: sample.role.joins(),
            })
            .collect(),
        shards: shards
            .into_iter()
            .map(|cells| Shard::Cells { first: Cell(cells.start), end: Cell(cells.end) })
            .collect(),
        memory: memory_model(cohort, contigs, limits),
    }
}

/// Shards that begin at the first cell and at each of `lines`.
fn shards_between(lines: &[u32], cells: u32) -> Vec<Range<u32>> {
    let inner = lines.iter().copied().filter(|&line| line > 0 && line < cells);
    let borders: BTreeSet<u32> = inner.chain([0, cells]).collect();
    borders.iter().zip(borders.iter().skip(1)).map(|(&start, &end)| start..end).collect()
}

/// Memory by stage, as measured on deep and shallow data and rounded up: what a task holds at its peak.
fn memory_model(cohort: &Cohort, contigs: &Contigs, limits: Limits) -> MemoryModel {
    const MIB: u64 = 1 << 20;
    let contig_max = contigs.iter().map(|contig| u64::from(contig.length)).max().unwrap_or(0);
    let joint = cohort.joined().count() as u64;
    let runs =
        lane_pairs(cohort).sum::<u64>() / u64::from(limits.chunk_pairs) / cohort.samples.len().max(1) as u64;
    MemoryModel {
        // htslib keeps the contig in use and the one before it.
        fixed_bytes: 48 * MIB + 2 * contig_max,
        task_bytes: [
            24 * MIB,
            48 * MIB,
            // Entries, their blocks and the record: about 2,400 bytes a pair.
            48 * MIB + 2400 * u64::from(limits.chunk_pairs),
            // Kept reads of one cell, evidence, containers; a merge holds a block of each run.
            96 * MIB + u64::from(cohort.parameters.max_depth) * MIB / 2 + runs * MIB / 8,
            64 * MIB + joint * 4 * MIB,
            64 * MIB + joint * MIB,
        ],
    }
}

struct Runner<'a> {
    context: &'a Context,
    journal: &'a Journal,
    dir: &'a JobDir,
    cohort: &'a Cohort,
}

impl TaskRunner for Runner<'_> {
    fn run(&self, request: &Request) -> Result<Output, Failure> {
        if request.task == Task::FinishCohort {
            return close::finish_cohort(
                self.context,
                self.journal,
                self.dir,
                self.cohort,
                &request.inputs,
                &command_line(),
            );
        }
        let done = workers::task::run(self.context, request.task, &request.inputs, &self.dir.results())?;
        Ok(Output { pieces: done.pieces, summary: done.summary, chunks: done.chunks })
    }

    fn chunks_of(&self, commit: &Commit) -> Option<u32> {
        workers::task::chunks_of(commit)
    }
}

fn dry_run(args: &Args, cohort: &Cohort, reference: &Path, limits: Limits) -> Result<(), Failure> {
    let bases = Bases::open(reference)?;
    let contigs = bases.contigs();
    let plan = plan(cohort, contigs, limits, &args.shard_lines);
    plan.admit(limits_of(limits))?;
    let files = cohort.samples.iter().flat_map(|sample| &sample.lanes);
    let sizes = files.flat_map(|lane| std::iter::once(&lane.fastq_1).chain(&lane.fastq_2));
    let input: u64 = sizes.map(|f| std::fs::metadata(cohort.reads_path(f)).map_or(0, |m| m.len())).sum();
    let value = serde_json::json!({
        "schema": "wakachi.plan/1",
        "cohort": cohort.id,
        "samples": plan.samples.len(),
        "lanes": plan.lanes().count(),
        "shards": plan.shards.len(),
        "cells": Grid::new(contigs).cells(),
        "reference_bases": contigs.total_bases(),
        "input_bytes": input,
        "scratch_bytes": input * 2,
        "threads": limits.threads,
        "memory_bytes": limits.memory_bytes,
        "memory_bytes_min": plan.memory.minimum(),
        "tasks": Stage::ALL.iter().map(|&stage| (stage.name(), plan.count(stage, |_| None))).collect::<BTreeMap<_, _>>(),
    });
    match args.output {
        Format::Json => output::json(&value),
        Format::Quiet => {}
        Format::Table => {
            let rows: Vec<Vec<String>> = Stage::ALL
                .iter()
                .map(|&stage| {
                    let count = match stage {
                        Stage::Map => format!("one per {} pairs", limits.chunk_pairs),
                        _ => plan.count(stage, |_| None).to_string(),
                    };
                    let memory = plan.memory.task_bytes[stage as usize];
                    vec![stage.name().to_owned(), count, bytes(memory)]
                })
                .collect();
            output::say(&format!(
                "cohort {}: {} samples, {} lanes, {} of reads, {} shards of {} bases",
                cohort.id,
                plan.samples.len(),
                plan.lanes().count(),
                bytes(input),
                plan.shards.len(),
                limits.shard_bases
            ));
            output::say(&table(&["stage", "tasks", "memory each"], &rows));
            output::say(&format!(
                "{} threads, {} of memory (at least {} needed), scratch about {}",
                limits.threads,
                bytes(limits.memory_bytes),
                bytes(plan.memory.minimum()),
                bytes(input * 2)
            ));
        }
    }
    Ok(())
}

fn summarise(args: &Args, dir: &JobDir, record: &RunRecord) -> Result<(), Failure> {
    let value = record.to_json(dir);
    match args.output {
        Format::Json => output::json(&value),
        Format::Quiet => {}
        Format::Table => {
            output::say(&format!("complete: {}", dir.results().display()));
            output::say(&format!("report:   {}", dir.report().display()));
            output::say(&format!("ledger:   {}", dir.ledger().display()));
            output::say(&format!(
                "this run: {} tasks, {} of CPU, {} elapsed, peak memory {} (index mapped: {})",
                record.tasks,
                duration(record.cpu_ms),
                duration(record.ended_ms.unwrap_or_else(now_ms) - record.started_ms),
                bytes(record.peak_anonymous_bytes),
                bytes(record.mapped_bytes),
            ));
        }
    }
    Ok(())
}
