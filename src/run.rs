//! `wakachi run`: the main job, and its resumption, which is the same command.

pub mod admission;
mod archive;
pub mod books;
pub mod close;
pub mod inputs;
mod kinship;
mod plan;
mod progress;
mod runner;
pub mod status;
pub mod trail;

use crate::gate::{Gate, GateFiles};
use crate::job_dir::JobDir;
use crate::output::{self, Format, bytes, command_line, duration, note};
use crate::passphrase::PassphraseArgs;
use crate::plain::keep_out_of_vaults;
use crate::{cohort, config, interrupt};
use admission::Excluded;
use archive::Archive;
use books::RunRecord;
use cluster::meter::{MemoryMeter, now_ms, process_cpu_ms};
use jobs::config::Limits;
use jobs::event::{EventName, Outcome};
use jobs::failure::{Class, Classified, Failure};
use runner::Runner;
use scheduler::old::{Ending, Scheduler};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use storage::lease::LeaseKey;
use storage::{DiskError, Fence, JobIdentity, Journal, JournalError, KeyFolder};
use trail::Trail;
use workers::context::Context;

/// Aligns, calls and joint-calls a cohort
///
/// Takes a cohort file and writes, per sample, a CRAM and a gVCF, and for the cohort a joint VCF, a ledger and a report.
/// The same command again resumes after an interruption, and checks the results of a job that is complete.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  wakachi run cohort.toml --out job
  wakachi run cohort.toml --out job -t 16 --memory 24G
  wakachi run cohort.toml --out job --dry-run

Exit codes: 0 complete; 1 no space, no permission, or a vault is in use; 2 usage, or a wrong passphrase; 3 input
refused; 4 the policy forbids it (no consent, wrong place or purpose); 6 a stored piece, a result or a site of the
vault is damaged; 10 something is missing; 130 interrupted (give the command again to resume).")]
pub struct Args {
    /// The cohort file (TOML)
    cohort: PathBuf,
    /// The job directory: results/, qc/, report.html, ledger.json
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    limits: LimitArgs,
    /// The site where this machine stands, as sites.toml calls it [default: the first of the cohort's sites]
    #[arg(long, value_name = "NAME", env = "WAKACHI_SITE")]
    site: Option<String>,
    #[command(flatten)]
    passphrases: PassphraseArgs,
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

/// Samples are denied that the job was begun with.
#[derive(Debug, thiserror::Error)]
#[error("the job in {} was begun with other samples; now left out: {}", dir.display(), samples.join(", "))]
struct BegunWithOthers {
    dir: PathBuf,
    samples: Vec<String>,
}

impl Classified for BegunWithOthers {
    fn class(&self) -> Class {
        Class::Policy
    }

    fn hint(&self) -> Option<String> {
        Some("the cohort without them is another job: give another directory with --out".to_owned())
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    if args.repair {
        // What is forgotten must be out of all hands before it is done again.
        open(args)?;
        return open(&Args { repair: false, ..args.clone() });
    }
    open(args)
}

/// Opens the job and repairs it, or runs it.
fn open(args: &Args) -> Result<(), Failure> {
    let mut cohort = cohort::load_sheet(&args.cohort)?;
    cohort.warnings.iter().for_each(|warning| note(&format!("{warning}")));
    let config = config::load(&args.limits.asked(Some(&args.cohort)))?;
    let reference = cohort.reference_path();
    let gate = Gate::open(GateFiles::of_cohort(&cohort, args.site.as_deref())?)?;
    if args.dry_run {
        let excluded = admission::exclusions(&gate, &cohort)?;
        cohort.samples.retain(|sample| !excluded.iter().any(|one| one.sample == sample.sample));
        cohort::check_files(&args.cohort, &cohort)?;
        return plan::dry_run(args, &cohort, &excluded, &reference, plan::cut_to_size(&config, &cohort));
    }
    keep_out_of_vaults([args.out.as_path()])?;
    let dir = JobDir::create(&args.out)?;
    let fence = Fence::acquire(&dir.scratch())?;
    let keys = KeyFolder::new(&dir.keys());
    let trail = Trail::open(&dir.scratch(), &keys, &cohort.id, &gate, args.repair)?;
    let excluded = admission::admit(&gate, &mut cohort, &trail)?;
    cohort::check_files(&args.cohort, &cohort)?;
    let limits = plan::cut_to_size(&config, &cohort);
    let archive = Archive::open(&cohort, &args.passphrases)?;
    inputs::check_reference_digest(&cohort, &reference)?;
    let index = inputs::open_or_build(&reference, &dir.scratch(), limits.threads)?;
    let mut plan = plan::plan(&cohort, index.contigs(), limits, &args.shard_lines);
    plan.admit(plan::limits_of(limits))?;
    let parameters = books::blake3_text(&cohort.parameters.canonical());
    let identity = JobIdentity {
        job: cohort.id.clone(),
        cohort_digest: inputs::cohort_digest(&cohort, &index),
        parameters_digest: parameters.clone(),
        program: format!("wakachi {}", env!("CARGO_PKG_VERSION")),
    };
    let journal = match open_journal(fence, &identity, args.repair) {
        Err(error) => return Err(begun_with_others(&dir, &excluded).unwrap_or(error)),
        Ok(journal) => journal,
    };
    trail.check(&journal, args.repair)?;
    // A job goes on with the shards it began with: finished samples have given back what other shards would be made of.
    if let Some(begun) = status::stored_plan(&journal)? {
        plan.shards = begun.shards;
    }
    status::store_plan(&journal, &plan)?;
    if let Some(archive) = &archive {
        let names: Vec<String> = cohort.samples.iter().map(|sample| sample.sample.clone()).collect();
        archive.settle(&journal, &names, args.repair)?;
    }
    let ends = journal.committed_ends()?;
    let context = Context::open(
        identity.cohort_digest.clone(),
        index,
        cohort.samples.iter().map(|sample| inputs::sample_of(&cohort, sample)).collect(),
        inputs::settings(&cohort, limits, parameters),
        &dir.scratch(),
        ends,
    )?;
    let leases = LeaseKey::from_seed(&keys.job_secret("leases")?);
    let runner = Runner {
        context: &context,
        journal: &journal,
        dir: &dir,
        cohort: &cohort,
        excluded: &excluded,
        gate: &gate,
        trail: &trail,
        keys: &keys,
        leases: &leases,
        archive: archive.as_ref(),
    };
    let mut scheduler = Scheduler::new(plan, plan::limits_of(limits));
    if args.repair {
        return runner.repair(&scheduler);
    }
    let driven = drive(args, &runner, &mut scheduler, limits).and_then(|record| {
        close::verify_results(&dir, &journal)?;
        if let Some(archive) = &archive {
            close::nothing_missing(archive.lost(&dir)?)?;
        }
        trail.write(trail.event(EventName::JobCompleted, Outcome::Ok))?;
        Ok(record)
    });
    // However it ended, its events are to be found by the next run.
    trail.remember(&journal)?;
    let record = driven?;
    close::clear_scratch(&dir);
    summarise(args, &dir, &record)
}

/// Runs what is not done yet, to the job's end.
fn drive(
    args: &Args,
    runner: &Runner<'_>,
    scheduler: &mut Scheduler,
    limits: Limits,
) -> Result<RunRecord, Failure> {
    let (context, journal) = (runner.context, runner.journal);
    let meter = MemoryMeter::start();
    let begun = RunRecord::begin(journal, &command_line())?;
    let mut display = progress::Display::new(&runner.cohort.id, runner.dir, args.output);
    let stop = interrupt::flag();
    let outcome = cluster::local::run(scheduler, journal, runner, &mut display, limits.threads, stop)?;
    display.finish();
    let (peak, mapped) = (meter.peak_anonymous_bytes(), context.index.mapped_bytes());
    let record = begun.end(journal, &outcome, process_cpu_ms(), peak, mapped)?;
    if let Some((task, failure)) = outcome.failure {
        note(&format!("task {} failed", task.key(context.names())));
        return Err(failure);
    }
    match outcome.ending {
        Ending::Complete => Ok(record),
        Ending::Stopped | Ending::Failed(_) => Err(Interrupted { command: command_line() }.into()),
    }
}

/// Whether a job is not this one because samples are left out now that it was begun with.
fn begun_with_others(dir: &JobDir, excluded: &[Excluded]) -> Option<Failure> {
    let journal = Journal::open(Fence::acquire(&dir.scratch()).ok()?).ok()?;
    let begun = status::stored_plan(&journal).ok()??;
    let was_in = |one: &&Excluded| begun.samples.iter().any(|sample| sample.name == one.sample);
    let samples: Vec<_> = excluded.iter().filter(was_in).map(|one| one.sample.clone()).collect();
    let dir = dir.root().to_owned();
    (!samples.is_empty()).then(|| BegunWithOthers { dir, samples }.into())
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
