//! `wakachi submit`: the main job as a batch job. Checks what a run would check, writes the script into the job directory
//! and hands it to Slurm; nothing stays behind on the login node.
//!
//! Invariant: what a run would refuse is refused here, before anything waits in a queue; a batch job that exists stands in
//! the directory's record.

mod script;

use crate::gate::{Gate, GateFiles};
use crate::job_dir::JobDir;
use crate::output::{self, Format, note};
use crate::passphrase::PassphraseArgs;
use crate::plain::keep_out_of_vaults;
use crate::run::burst::Burst;
use crate::run::conduct::ConductArgs;
use crate::run::plan::{self, Cut};
use crate::run::{LimitArgs, admission, books};
use crate::slurm::Slurm;
use crate::slurm::record::{Folder, Purpose, Record, Standing, Submitted};
use crate::slurm::wave::Shape;
use crate::{cohort, config};
use cluster::meter::now_ms;
use jobs::cohort::Cohort;
use jobs::config::Config;
use jobs::failure::{Class, Classified, Failure};
use script::Script;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use storage::DiskError;
use workers::index_file::Bases;

/// Where the job is handed to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Engine {
    /// A batch job of Slurm.
    #[default]
    Slurm,
}

/// Submits the main job to a batch system
///
/// Checks cohort, consents and plan as wakachi run does, writes the batch script into the job directory, submits it, and
/// prints the number of the batch job. It stops before its time limit, goes back into the queue and resumes.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  wakachi submit cohort.toml --engine slurm --out job --partition long --time 24:00:00 --cpus-per-task 64 --mem 256G
  wakachi submit cohort.toml --engine slurm --out job --dry-run       prints the script
  wakachi submit cohort.toml --engine slurm --out job --array         short jobs of one node each, in waves
  wakachi job info job; wakachi job wait job; wakachi job logs job

What is the same for every job stands in [engine.slurm] of wakachi.toml; see wakachi config show.

Exit codes: 0 submitted; 2 usage, or Slurm refused it; 3 input refused; 4 the policy forbids it; 8 Slurm does not answer.")]
pub struct Args {
    /// The cohort file (TOML)
    cohort: PathBuf,
    /// The job directory, on a filesystem that all nodes share
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The batch system
    #[arg(long, value_enum, default_value_t)]
    engine: Engine,
    #[command(flatten)]
    slurm: SlurmArgs,
    /// Short jobs of one node each, as elements of arrays, wave after wave; for sites that forbid long or MPI jobs
    #[arg(long)]
    array: bool,
    /// Most elements of one wave
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1000))]
    array_max: u32,
    /// Most elements that run at once [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    array_parallel: Option<u32>,
    /// About how long an element runs; it ends when its bundle is done
    #[arg(long, value_name = "MINUTES", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=1440))]
    array_minutes: u64,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    conduct: ConductArgs,
    /// Leaves metrics in this file while the job runs, for the textfile collector of Prometheus's node_exporter
    #[arg(long, value_name = "FILE")]
    metrics_file: Option<PathBuf>,
    /// The site where the nodes stand, as sites.toml calls it [default: the first of the cohort's sites]
    #[arg(long, value_name = "NAME", env = "WAKACHI_SITE")]
    site: Option<String>,
    #[command(flatten)]
    passphrases: PassphraseArgs,
    /// Prints the script and submits nothing
    #[arg(long)]
    dry_run: bool,
    /// Form of the answer on stdout
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// Flags of `[engine.slurm]`.
#[derive(Clone, Debug, Default, clap::Args)]
struct SlurmArgs {
    /// Partition [default: the site's]
    #[arg(long, value_name = "NAME")]
    partition: Option<String>,
    /// Account
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Quality of service
    #[arg(long, value_name = "NAME")]
    qos: Option<String>,
    /// Cluster, where there are several
    #[arg(long, value_name = "NAME")]
    clusters: Option<String>,
    /// Time limit of one allocation, such as 12:00:00 or 2-00; the job may take several
    #[arg(long, value_name = "TIME")]
    time: Option<String>,
    /// Nodes; more than one needs MPI
    #[arg(long, value_name = "N")]
    nodes: Option<String>,
    /// Processes on each node
    #[arg(long, value_name = "N")]
    ntasks_per_node: Option<String>,
    /// Cores of each process
    #[arg(long, value_name = "N")]
    cpus_per_task: Option<String>,
    /// Memory of each node, such as 64G
    #[arg(long, value_name = "SIZE")]
    mem: Option<String>,
    /// How srun starts the processes: pmix, pmi2, or none for one process on one node
    #[arg(long, value_name = "KIND")]
    mpi: Option<String>,
    /// Seconds before the time limit at which the job stops cleanly [default: 300]
    #[arg(long, value_name = "SECONDS")]
    warning: Option<String>,
    /// How often the job goes back into the queue [default: 50]
    #[arg(long, value_name = "N")]
    requeues_max: Option<String>,
}

impl SlurmArgs {
    fn given(&self) -> impl Iterator<Item = (&'static str, String)> {
        let named = [
            ("partition", &self.partition),
            ("account", &self.account),
            ("qos", &self.qos),
            ("clusters", &self.clusters),
            ("time", &self.time),
            ("nodes", &self.nodes),
            ("ntasks_per_node", &self.ntasks_per_node),
            ("cpus_per_task", &self.cpus_per_task),
            ("mem", &self.mem),
            ("mpi", &self.mpi),
            ("warning", &self.warning),
            ("requeues_max", &self.requeues_max),
        ];
        named.into_iter().filter_map(|(key, value)| Some((key, value.clone()?)))
    }
}

/// Why nothing is submitted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// A batch job of this directory waits or runs.
    #[error("{}: {}", dir.display(), lines.join("; "))]
    Alive {
        /// The job directory.
        dir: PathBuf,
        /// Where its batch jobs stand.
        lines: Vec<String>,
    },
    /// Slurm cannot write there.
    #[error("{}: Slurm takes no path with a backslash, a control character or letters that are not UTF-8", path.display())]
    Path {
        /// The path.
        path: PathBuf,
    },
    /// The program cannot do what is asked.
    #[error("{problem}")]
    Shape {
        /// What does not fit.
        problem: String,
        /// What would.
        hint: &'static str,
    },
    /// A batch job has nobody at a terminal.
    #[error("the archive's key needs a passphrase, and a batch job has nobody to ask")]
    Passphrase,
}

impl Classified for SubmitError {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            SubmitError::Alive { dir, .. } => format!(
                "wakachi job wait {dir}, or wakachi job cancel {dir}",
                dir = output::shell_word(&dir.to_string_lossy())
            ),
            SubmitError::Path { .. } => "give it another name, or a symbolic link".to_owned(),
            SubmitError::Shape { hint, .. } => (*hint).to_owned(),
            SubmitError::Passphrase => {
                "put it into a file of mode 0600 and name it: passphrase_file under [archive], or --passphrase-file"
                    .to_owned()
            }
        })
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let Engine::Slurm = args.engine;
    let asked = args.limits.asked(Some(&args.cohort));
    let asked = config::Asked { flags: asked.flags.into_iter().chain(args.slurm.given()).collect(), ..asked };
    let config = config::load(&asked)?;
    let cohort = check(args, &config)?;
    if args.array && args.conduct.burst.is_some() {
        return Err(SubmitError::Shape {
            problem: "waves of arrays are no place for a burst site: nobody follows its bundles between two of them"
                .to_owned(),
            hint: "leave out --array or --burst",
        }
        .into());
    }
    let script = Script::new(args, &config, &cohort)?;
    let element = if args.array { Some(Script::of_element(args, &config, &cohort)?) } else { None };
    if args.dry_run {
        for script in [Some(&script), element.as_ref()].into_iter().flatten() {
            output::say(script.text().trim_end());
        }
        return Ok(());
    }
    keep_out_of_vaults([args.out.as_path()])?;
    let dir = JobDir::create(&args.out)?;
    let folder = Folder::of(&dir);
    fs::create_dir_all(folder.path()).map_err(DiskError::on("make", folder.path()))?;
    let slurm = Slurm::of_path();
    nothing_alive(&slurm, &dir, folder.record()?.as_ref())?;
    write(&folder.script(), &script)?;
    if let Some(element) = &element {
        write(&folder.wave_script(), element)?;
        let (elements_max, parallel) = (args.array_max, args.array_parallel);
        Shape { elements_max, parallel, bundle_minutes: args.array_minutes }.write(&folder)?;
    }
    let purpose = if args.array { Purpose::Coordinator } else { Purpose::Job };
    let submitted = submit(&slurm, &folder, purpose)?;
    say(args.output, dir.root(), &folder, &submitted);
    Ok(())
}

fn write(path: &Path, script: &Script) -> Result<(), DiskError> {
    fs::write(path, script.text())
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o700)))
        .map_err(DiskError::on("write", path))
}

/// Hands the script of a job to Slurm and remembers it.
pub fn submit(slurm: &Slurm, folder: &Folder, purpose: Purpose) -> Result<Submitted, Failure> {
    let path = folder.script();
    let text = fs::read_to_string(&path).map_err(DiskError::on("read", &path))?;
    let batch = slurm.submit(&[""; 0], &path, &[])?;
    let submitted =
        Submitted { batch, purpose, submitted_ms: now_ms(), script_blake3: books::blake3_text(&text) };
    folder.add(submitted.clone())?;
    Ok(submitted)
}

/// Says what was submitted.
pub fn say(format: Format, dir: &Path, folder: &Folder, submitted: &Submitted) {
    let log = folder.log(&submitted.batch);
    match format {
        Format::Json => output::json(&serde_json::json!({
            "schema": "wakachi.submit/1",
            "engine": "slurm",
            "job": submitted,
            "dir": dir,
            "script": folder.script(),
            "log": log,
        })),
        Format::Quiet => {}
        Format::Table => {
            output::say(&format!("submitted batch job {}", submitted.batch));
            output::say(&format!("log:     {}", log.display()));
            output::say(&format!("look at: wakachi job info {}", output::shell_word(&dir.to_string_lossy())));
        }
    }
}

/// Refuses where a batch job of this directory waits or runs: a second one would only wait for the first.
pub fn nothing_alive(slurm: &Slurm, dir: &JobDir, record: Option<&Record>) -> Result<(), Failure> {
    let Some(record) = record else { return Ok(()) };
    let standing = Standing::ask(slurm, record)?;
    match standing.is_alive() {
        true => Err(SubmitError::Alive { dir: dir.root().to_owned(), lines: standing.lines() }.into()),
        false => Ok(()),
    }
}

/// The cohort, if a run would take it now: everything is asked but what only the nodes can tell.
fn check(args: &Args, config: &Config) -> Result<Cohort, Failure> {
    let mut cohort = cohort::load_sheet(&args.cohort)?;
    cohort.warnings.iter().for_each(|warning| note(&warning.to_string()));
    let gate = Gate::open(GateFiles::of_cohort(&cohort, args.site.as_deref())?)?;
    let excluded = admission::exclusions(&gate, &cohort)?;
    for one in &excluded {
        note(&format!("left out, as the policy says: {}: {}", one.sample, one.reasons.join(", ")));
    }
    cohort.samples.retain(|sample| !excluded.iter().any(|one| one.sample == sample.sample));
    cohort::check_files(&args.cohort, &cohort)?;
    if let Some(archive) = &cohort.archive
        && archive.passphrase_file.is_none()
        && args.passphrases.files().is_empty()
    {
        return Err(SubmitError::Passphrase.into());
    }
    let bases = Bases::open(&cohort.reference_path())?;
    if args.conduct.burst.is_some() {
        Burst::of(config)?;
    }
    let plan = plan::plan(&cohort, bases.contigs(), config.limits, &Cut::of(config), &[]);
    plan.admit(script::memory_in_allocation(config))?;
    Ok(cohort)
}
