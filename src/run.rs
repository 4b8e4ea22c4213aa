//! `wakachi run`: the main job, and its resumption, which is the same command.

pub mod admission;
mod archive;
pub mod asks;
mod basis;
pub mod books;
pub mod burst;
pub mod close;
pub mod conduct;
mod engines;
mod freight;
pub mod inputs;
mod mpi;
mod office;
mod opening;
pub mod plan;
mod progress;
mod prospect;
mod resume;
pub mod runner;
pub mod sight;
pub mod staged;
mod stamps;
pub mod status;
pub mod trail;

use crate::job_dir::JobDir;
use crate::output::{self, Format, bytes, command_line, duration, note};
use crate::passphrase::PassphraseArgs;
use crate::plain::on_threads;
use crate::serve::LiveArgs;
use crate::slurm::Slurm;
use crate::slurm::collect::Collected;
use crate::slurm::record::Folder;
use crate::slurm::wave::{Shape, Waves, stages};
use crate::{config, interrupt, slurm};
use basis::Bases;
use books::{ReadBack, RunRecord};
use cluster::bill::Account;
use cluster::bundle::Data;
use cluster::meter::{MemoryMeter, now_ms, process_cpu_ms};
use conduct::ConductArgs;
use engines::{EngineName, Means, Wiring};
use jobs::config::{Config, OnFailedSample};
use jobs::event::{EventName, Outcome};
use jobs::failure::{Class, Classified, Failure};
use jobs::quantity::parse_seconds;
use kernels::simd::Level;
use mpi::Team;
use office::{Desk, DroppedSamples};
use opening::{Asked, Opened};
use progress::{Display, View};
use runner::{Home, Runner};
use scheduler::{Ending, Options, Plan, Scheduler};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use storage::lease::LeaseKey;
use storage::{Commit, DiskError, Journal};

/// Aligns, calls and joint-calls a cohort
///
/// Takes a cohort file and writes, per sample, a CRAM and a gVCF, and for the cohort a joint VCF, a ledger and a report.
/// The same command again resumes after an interruption, and checks the results of a job that is complete.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  wakachi run cohort.toml --out job
  wakachi run cohort.toml --out job -t 16 --memory 24G
  wakachi run cohort.toml --out job --dry-run
  mpirun -n 8 --map-by node --bind-to none wakachi run cohort.toml --out job --engine mpi
  srun --mpi=pmix -N 8 -n 8 -c 64 wakachi run cohort.toml --out job --engine mpi

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
    /// Waits while another process works in the job directory, instead of refusing
    #[arg(long)]
    wait: bool,
    /// Stops cleanly after this time, such as 90m or 11h; the same command again goes on
    #[arg(long, value_name = "TIME", value_parser = parse_seconds)]
    stop_after: Option<u64>,
    /// Prints tasks, memory and scratch, and runs nothing
    #[arg(long)]
    dry_run: bool,
    /// Does again what is damaged or missing, in scratch and in results
    #[arg(long)]
    repair: bool,
    /// Cells that begin a shard, instead of shards of equal length; never changes a result, which tests prove with it
    #[arg(long, value_name = "CELL,..", value_delimiter = ',', hide = true)]
    shard_lines: Vec<u32>,
    /// Vectors that kernels use: auto, scalar, avx2, avx512 or neon, of those that the CPU has; never changes a result
    #[arg(long, value_name = "LEVEL", default_value = "auto", hide_short_help = true)]
    simd: Level,
    /// What runs the tasks
    #[arg(long, value_enum, default_value_t)]
    engine: EngineName,
    #[command(flatten)]
    conduct: ConductArgs,
    /// Rest of a running shard in milliseconds that is worth sharing out [default: 4000]; never changes a result
    #[arg(long, value_name = "N", hide = true)]
    rest_ms: Option<u64>,
    #[command(flatten)]
    live: LiveArgs,
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

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    match args.engine {
        EngineName::Mpi => mpi::run(args, |team| here(args, team)),
        EngineName::Local | EngineName::Tes | EngineName::SlurmArray => here(args, None),
    }
}

/// Runs the command in this process, with the help of `team`.
fn here(args: &Args, team: Option<Team>) -> Result<(), Failure> {
    if args.repair {
        // What is forgotten must be out of all hands before it is done again.
        open(args, None)?;
        return open(&Args { repair: false, ..args.clone() }, team);
    }
    open(args, team)
}

/// Opens the job and repairs it, or runs it.
fn open(args: &Args, mut team: Option<Team>) -> Result<(), Failure> {
    let mut asked = Asked::read(args, team.as_mut())?;
    if args.dry_run {
        return prospect::say(args, &mut asked);
    }
    let job = Opened::open(args, &mut asked, team.is_some())?;
    let bases = Bases::new(&asked.cohort, &job.context, &job.excluded);
    let leases = LeaseKey::from_seed(&job.keys.job_secret("leases")?);
    let dropped = DroppedSamples::default();
    let home = Home {
        journal: &job.journal,
        leases: &leases,
        excluded: &job.excluded,
        dropped: &dropped,
        archive: job.archive.as_ref(),
    };
    let runner = Runner {
        context: &job.context,
        dir: &job.dir,
        cohort: &asked.cohort,
        gate: &asked.gate,
        trail: &job.trail,
        keys: &job.keys,
        leases: leases.verifier(),
        home: Some(home),
    };
    match args.repair {
        true => on_threads(asked.limits.threads, || repair(&job, &runner, &bases))?,
        false => work(args, &asked, &job, (&runner, &home, &bases), team),
    }
}

/// Forgets what is damaged or missing.
fn repair(job: &Opened, runner: &Runner<'_>, bases: &Bases) -> Result<(), Failure> {
    let settled = runner.with_all(|access| {
        let whole =
            |task, commit: &Commit| close::is_whole_in_all(access, &job.journal, runner, task, commit);
        resume::settle(&job.journal, &job.plan, bases, &whole)
    })?;
    for task in settled.forgotten {
        note(&format!("doing again: {}", runner.key(task)));
    }
    Ok(())
}

/// Does what is not done, and checks that everything is there.
fn work(
    args: &Args,
    asked: &Asked,
    job: &Opened,
    (runner, home, bases): (&Runner<'_>, &Home<'_>, &Bases),
    team: Option<Team>,
) -> Result<(), Failure> {
    let Opened { dir, journal, trail, plan, context, .. } = job;
    let is_there =
        |task, commit: &Commit| Ok(job.packs.hold(commit) && close::part_is_there(runner, task, commit));
    let settled = resume::settle(journal, plan, bases, &is_there)?;
    status::store_plan(journal, plan)?;
    stamps::check(journal, &asked.cohort, context.names(), &args.cohort)?;
    let read_back = ReadBack::default();
    let desk = Desk {
        runner,
        leases: home.leases,
        bases,
        dropped: home.dropped,
        journal,
        from_results: Mutex::new(settled.from_results),
        unread: Mutex::new(settled.begun),
        ends: Mutex::default(),
        read_back: &read_back,
        guard: journal.guard(),
    };
    let waves = match args.engine {
        EngineName::SlurmArray => Some(waves(args, runner, journal, &asked.config, asked.cut.said())?),
        _ => None,
    };
    let brought = match &waves {
        Some(waves) => match slurm::collect::collect(waves, &desk)? {
            Collected::All(account) => account,
            Collected::StillOut => return trail.remember(journal),
        },
        None => Account::default(),
    };
    // Nobody else writes there now: what is there is of attempts that came to nothing.
    let folder = |&of: &Option<u32>| desk.folder(of);
    staged::clear(dir, &settled.unfinished.iter().map(folder).collect());
    let means = Means { limits: asked.limits, burst: asked.burst.as_ref(), waves: waves.as_ref(), team };
    let driven = drive(args, &asked.config, (&desk, home), plan.clone(), (means, brought));
    let driven = driven.and_then(|record| {
        let Some(record) = record else { return Ok(None) };
        on_threads(asked.limits.threads, || close::verify_results(dir, journal, &read_back))??;
        if let Some(archive) = &job.archive {
            close::nothing_missing(archive.lost(dir)?)?;
        }
        close::nobody_missing(home.dropped.all())?;
        trail.write(trail.event(EventName::JobCompleted, Outcome::Ok))?;
        Ok(Some(record))
    });
    // However it ended, nothing begun lies in the clear of who is not in the job any more.
    if journal.guard().check().is_ok() {
        let stays = |&&of: &&Option<u32>| !desk.is_withdrawn(of);
        staged::clear(dir, &settled.unfinished.iter().filter(stays).map(folder).collect());
    }
    // And its events are to be found by the next run.
    trail.remember(journal)?;
    // The next coordinator goes on behind a wave.
    let Some(record) = driven? else { return Ok(()) };
    close::name_foreign(dir);
    close::clear_scratch(dir, &close::packs_of_finished(journal, context)?);
    summarise(args, dir, &record)
}

/// Whether the job goes on without a sample that cannot be done.
fn keeps_going(args: &Args, config: &Config) -> bool {
    args.conduct.keep_going || config.limits.on_failed_sample == OnFailedSample::GoOn
}

/// What the bundles of a job in waves have in common.
fn waves<'a>(
    args: &Args,
    runner: &Runner<'a>,
    journal: &'a Journal,
    config: &Config,
    chunk_pairs: Option<u32>,
) -> Result<Waves<'a>, Failure> {
    let absolute = |path: &Path| std::path::absolute(path).map_err(DiskError::on("find", path));
    let (dir, context) = (runner.dir, runner.context);
    let folder = Folder::of(dir);
    let shape = Shape::read(&folder)?;
    Ok(Waves {
        shape,
        folder,
        slurm: Slurm::of_path(),
        journal,
        names: context.names(),
        job: &context.job,
        site: runner.gate.site(),
        price_core_hour: config::prices(config).get(runner.gate.site()).copied().unwrap_or(0.0),
        cores: config.limits.threads,
        stages: stages(keeps_going(args, config)),
        audit_per_mille: args.conduct.audit,
        data: Data::Shared {
            job_dir: absolute(dir.root())?,
            cohort: absolute(&args.cohort)?,
            fence: journal.fence(),
            samples: context.names().to_vec(),
            chunk_pairs,
            minutes: shape.bundle_minutes,
            sight: sight::of_waves(runner)?,
        },
        sent: Arc::default(),
    })
}

/// Runs what is not done yet, to the job's end.
fn drive(
    args: &Args,
    config: &Config,
    (desk, home): (&Desk<'_>, &Home<'_>),
    plan: Plan,
    (means, brought): (Means<'_>, Account),
) -> Result<Option<RunRecord>, Failure> {
    let (runner, journal, waves) = (desk.runner, home.journal, means.waves);
    let usual = Options::default();
    let options = Options {
        audit_per_mille: args.conduct.audit,
        keep_going: keeps_going(args, config),
        shard_ms_min: args.rest_ms.unwrap_or(usual.shard_ms_min),
        ..usual
    };
    let mut scheduler = Scheduler::new(plan, options);
    let meter = MemoryMeter::start();
    let begun = RunRecord::begin(journal, &command_line())?;
    let started_cpu_ms = process_cpu_ms();
    let mut display = Display::new(View {
        names: status::names(runner.cohort, runner.context.index.contigs()),
        dir: runner.dir.clone(),
        format: args.output,
        metrics_file: args.live.metrics_file.clone(),
        prices: config::prices(config),
        stop: interrupt::flag(),
        brought,
        sent: waves.map(|waves| Arc::clone(&waves.sent)),
    });
    let _dashboard = args.live.start(runner.dir)?;
    let wiring = Wiring {
        scheduler: &mut scheduler,
        journal,
        desk,
        runner,
        observer: &mut display,
        means,
        stop: interrupt::flag(),
    };
    let outcome =
        engines::run(args.engine, wiring).inspect_err(|failure| status::leave_failed(runner.dir, failure))?;
    let bill = display.finish(&scheduler, journal, outcome.failure.as_ref().map(|(_, failure)| failure));
    close::report_bill(runner.dir, &bill)?;
    let (peak, mapped) = (meter.peak_anonymous_bytes(), runner.context.index.mapped_bytes());
    // What other processes ran is not in this one's account.
    let cpu_ms = process_cpu_ms().max(outcome.cpu_ms);
    let besides = (process_cpu_ms() - started_cpu_ms).saturating_sub(outcome.cpu_ms);
    let commit_cpu_ms = besides + runner.context.storing_cpu_ms();
    let record = begun.end(journal, &outcome, (cpu_ms, commit_cpu_ms), peak, mapped)?;
    match outcome.ending {
        Ending::Complete | Ending::Partial => Ok(Some(record)),
        Ending::Stopped if waves.is_some_and(|waves| waves.sent.load(Ordering::Relaxed)) => Ok(None),
        Ending::Stopped => Err(Interrupted { command: command_line() }.into()),
        Ending::Failed(_) => match outcome.failure {
            Some((task, failure)) => {
                note(&format!("task {} failed", runner.key(task)));
                Err(failure)
            }
            None => Err(Interrupted { command: command_line() }.into()),
        },
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
