//! `wakachi bench scaling`: speed-up, efficiency and troubles of a cohort, simulated with measured costs, or measured.

use super::check::{self, Checked};
use super::figures::{Figure, Goal, Origin, Subject, csv};
use super::measured::{MeasuredJob, commit_overhead, costs_of};
use super::report::{Page, render};
use super::simulated::{self, KILLED, RECLAIMED, SLOW, Setting, TAILED};
use crate::output::{self, Format, command_line, note, table};
use cluster::sim::{Costs, CostsError, HUMAN, Trace};
use jobs::failure::{Class, Classified, Failure};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use storage::{AtomicFile, DiskError};

/// Efficiency by workers: goal, and what was hoped for beyond it.
pub const EFFICIENCY_GOALS: [(u32, f64, f64); 3] = [(40, 0.97, 0.99), (400, 0.95, 0.98), (2000, 0.90, 0.95)];

/// What runs the tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Engine {
    /// Imaginary workers, measured costs, the real scheduler.
    Sim,
    /// Threads of this machine.
    Local,
    /// Ranks of an MPI world.
    Mpi,
}

/// Speed-up, efficiency and troubles of a cohort: a report with plots, a CSV and a JSON document
///
/// With `--engine sim` imaginary workers run a cohort of whole human genomes under the real scheduler, at costs that jobs
/// measured, beside what others do in the same world. With `local` or `mpi` a small cohort is simulated and really run.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wakachi bench scaling --out scaling                          40 genomes on 1 to 2,000 imaginary workers
  wakachi bench scaling --costs job --out scaling              at the costs that this job measured
  wakachi bench scaling --check --out scaling                  the simulator's word against a real run
  wakachi bench scaling --engine local --workers 1,2,4 --out measured

Writes report.html, scaling.csv, scaling.json and costs.json. The same seed gives the same simulated figures.")]
pub struct Args {
    /// Directory to write into
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Samples of the cohort
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub samples: u32,
    /// Numbers of workers, of one core each; of MPI ranks [default: 1,2,8,40,400,2000; of real ones 1,2]
    #[arg(long, value_name = "N,..", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub workers: Vec<u32>,
    /// What runs the tasks
    #[arg(long, value_enum, default_value_t = Engine::Sim)]
    engine: Engine,
    /// What tasks cost: a file that this command wrote, or a finished job; several jobs are taken together [default:
    /// measured with the project's own data]
    #[arg(long, value_name = "FILE|JOBDIR")]
    pub costs: Vec<PathBuf>,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Lanes of each imagined sample: a pool on all lanes of a flow cell
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub lanes: u32,
    /// Read pairs of each imagined chunk
    #[arg(long, value_name = "N", default_value_t = 250_000, value_parser = clap::value_parser!(u64).range(1000..))]
    pub chunk_pairs: u64,
    /// Mean depth of each sample [default: 30; really run 8]
    #[arg(long, value_name = "X")]
    pub depth: Option<f64>,
    /// Size of the genome that is really run, in megabases
    #[arg(long, value_name = "X", default_value_t = 2.0)]
    pub genome_mb: f64,
    /// What starts MPI ranks; their number follows
    #[arg(long, value_name = "COMMAND", default_value = "mpirun -n")]
    pub launcher: String,
    /// Also predicts a small cohort's run on 1 and 2 real workers, runs it, and says how wrong the predictions were; three
    /// times, ten to twenty-five minutes in all
    #[arg(long)]
    pub check: bool,
    /// Form of the summary on stdout
    #[arg(long, value_enum, default_value_t)]
    pub output: Format,
}

/// Why a benchmark did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A file of costs is none.
    #[error("costs {}", path.display())]
    Costs {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: CostsError,
    },
    /// A file or program cannot be used.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// A run of the program ended badly.
    #[error("{command}: ended with {status}")]
    Child {
        /// The run.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
    },
}

impl Classified for BenchError {
    fn class(&self) -> Class {
        match self {
            BenchError::Costs { .. } => Class::Input,
            BenchError::Io { .. } => Class::Failed,
            BenchError::Child { status, .. } => {
                status.code().and_then(Class::of_exit_code).unwrap_or(Class::Failed)
            }
        }
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    fs::create_dir_all(&args.out).map_err(DiskError::on("make", &args.out))?;
    match args.engine {
        Engine::Sim => simulate(args),
        Engine::Local | Engine::Mpi => measure(args),
    }
}

fn simulate(args: &Args) -> Result<(), Failure> {
    let genome: u64 = HUMAN.iter().map(|&length| u64::from(length)).sum();
    let default = vec![1, 2, 8, 40, 400, 2000];
    let (costs, overhead) = load_costs(&args.costs)?;
    let mut workers = if args.workers.is_empty() { default } else { args.workers.clone() };
    workers.sort_unstable();
    workers.dedup();
    let setting = Setting {
        seed: args.seed,
        samples: args.samples,
        lanes: args.lanes,
        pairs: (genome as f64 * args.depth.unwrap_or(30.0) / 300.0) as u64,
        chunk_pairs: args.chunk_pairs,
        workers,
        costs,
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let found = simulated::all(&setting, threads, &|what| note(what));
    let checked = if args.check { Some(check::run(args)?) } else { None };
    let mut goals = goals(&found.figures, args.samples);
    goals.extend(overhead);
    goals.extend(checked.iter().map(Checked::goal));
    let about = format!(
        "{} human genomes at {}x, {} lanes each, {} million pairs a sample, on imaginary workers of one core. The \
         scheduler is the real one; its machine takes 20 µs a message, 0.5 ms an output and 5 ms a group of commits; \
         workers stand 0.2 ms away and share storage of 100 GB/s. Others get the same world, write files in as many parts, \
         and have neither start-up times nor queues.",
        args.samples,
        args.depth.unwrap_or(30.0),
        args.lanes,
        setting.pairs / 1_000_000
    );
    finish(args, &about, &found.figures, &goals, &found.runs, &setting.costs, checked.as_ref())
}

/// Costs from files and jobs, without any those built in; and what jobs say of their commits.
fn load_costs(paths: &[PathBuf]) -> Result<(Costs, Option<Goal>), Failure> {
    let mut jobs = Vec::new();
    for path in paths {
        if path.is_dir() {
            jobs.push(MeasuredJob::open(path)?);
        } else {
            let what = format!("read {}", path.display());
            let bytes = fs::read(path).map_err(|source| BenchError::Io { what, source })?;
            let wrong = |source| BenchError::Costs { path: path.clone(), source };
            return Ok((Costs::parse(&bytes).map_err(wrong)?, None));
        }
    }
    match jobs.as_slice() {
        [] => Ok((Costs::built_in(), None)),
        jobs => {
            let tasks: u64 =
                jobs.iter().flat_map(|job| job.by_kind().into_values()).map(|(_, tasks)| tasks).sum();
            let source = format!("{} finished jobs of {tasks} tasks; CPU time by their journals", jobs.len());
            Ok((costs_of(jobs, machine(), source), commit_overhead(jobs)))
        }
    }
}

/// Simulates a cohort, runs it with each number of workers and reads the journals.
fn measure(args: &Args) -> Result<(), Failure> {
    let workers = if args.workers.is_empty() { vec![1, 2] } else { args.workers.clone() };
    let cohort = simulated_cohort(args, "cohort", args.samples, args.seed)?;
    let (mut figures, mut runs, mut jobs) = (Vec::new(), Vec::new(), Vec::new());
    let mut work_us = 0.0;
    for &count in &workers {
        note(&format!("running with {count} workers"));
        let job = run_job(args, &cohort, &format!("job-{count}"), count)?;
        // Of several ranks on a node the first only schedules.
        let count = if args.engine == Engine::Mpi { job.cores() } else { count };
        let trace = job.trace(count, false);
        if work_us == 0.0 {
            work_us = job.task_cpu_ms() as f64 * 1000.0;
        }
        let bound = (work_us / f64::from(count)).max(job.chain_us() as f64);
        let subject = Subject {
            origin: Origin::Measured,
            scenario: "strong",
            scheduler: "wakachi",
            samples: args.samples,
            workers: count,
            work_us,
            bounds_us: (bound, bound),
        };
        figures.push(Figure::of(&subject, &trace, None));
        runs.push((format!("wakachi, {count} workers"), trace));
        jobs.push(job);
    }
    let source = format!("{} samples of {} Mb, the runs of this page", args.samples, args.genome_mb);
    let costs = costs_of(&jobs, machine(), source);
    let about = format!(
        "{} simulated samples of {} Mb at {}x, really run. Work is the CPU time of the tasks of the first run; the \
         machine may have had other work, which elapsed times show.",
        args.samples,
        args.genome_mb,
        args.depth.unwrap_or(8.0)
    );
    // What other ranks stored is not in rank 0's books.
    let overhead = if args.engine == Engine::Local { commit_overhead(&jobs) } else { None };
    finish(args, &about, &figures, overhead.as_slice(), &runs, &costs, None)
}

/// A cohort of small simulated genomes; its file.
pub fn simulated_cohort(args: &Args, name: &str, samples: u32, seed: u64) -> Result<PathBuf, Failure> {
    let folder = args.out.join(name);
    let words = [
        "simulate".to_owned(),
        "--out".to_owned(),
        folder.to_string_lossy().into_owned(),
        format!("--samples={samples}"),
        format!("--genome-mb={}", args.genome_mb),
        format!("--depth={}", args.depth.unwrap_or(8.0)),
        format!("--seed={seed}"),
        "--output=quiet".to_owned(),
    ];
    wakachi(&[], &words)?;
    Ok(folder.join("cohort.toml"))
}

/// Runs a cohort from its beginning; what its journal says.
pub fn run_job(args: &Args, cohort: &Path, name: &str, workers: u32) -> Result<MeasuredJob, Failure> {
    let folder = args.out.join(name);
    // What an earlier benchmark left would be resumed, and nothing measured.
    if folder.join(".wakachi").is_dir() {
        fs::remove_dir_all(&folder).map_err(DiskError::on("remove", &folder))?;
    }
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let mut words = vec!["run".to_owned(), path(cohort), "--out".to_owned(), path(&folder)];
    words.push("--output=quiet".to_owned());
    let launcher: Vec<String> = match args.engine {
        Engine::Mpi => {
            words.extend(["--engine=mpi".to_owned(), "--threads=1".to_owned()]);
            args.launcher.split_whitespace().map(str::to_owned).chain([workers.to_string()]).collect()
        }
        Engine::Sim | Engine::Local => {
            words.push(format!("--threads={workers}"));
            Vec::new()
        }
    };
    wakachi(&launcher, &words)?;
    MeasuredJob::open(&folder)
}

/// Runs this program, started by `launcher` if that is not empty.
fn wakachi(launcher: &[String], words: &[String]) -> Result<(), Failure> {
    let line = [launcher, &["wakachi".to_owned()], words].concat().join(" ");
    let failed = |source| BenchError::Io { what: format!("start {line}"), source };
    let program = std::env::current_exe().map_err(failed)?;
    let mut command = match launcher {
        [] => Command::new(&program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(&program);
            command
        }
    };
    let child = command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = crate::interrupt::wait(&mut child.spawn().map_err(failed)?).map_err(failed)?;
    if status.success() { Ok(()) } else { Err(BenchError::Child { command: line, status }.into()) }
}

/// Writes and says what was found.
fn finish(
    args: &Args,
    about: &str,
    figures: &[Figure],
    goals: &[Goal],
    runs: &[(String, Trace)],
    costs: &Costs,
    checked: Option<&Checked>,
) -> Result<(), Failure> {
    let command = command_line();
    let page = Page { command: &command, about, figures, goals, runs, costs, checked };
    let value = serde_json::json!({
        "schema": "wakachi.bench-scaling/1",
        "command": command,
        "about": about,
        "seed": args.seed,
        "goals": goals,
        "figures": figures,
        "check": checked,
    });
    let text =
        |value: &serde_json::Value| serde_json::to_string_pretty(value).expect("plain data always prints");
    let costs = serde_json::to_value(costs).expect("plain data always prints");
    write(&args.out.join("report.html"), &render(&page))?;
    write(&args.out.join("scaling.csv"), &csv(figures))?;
    write(&args.out.join("scaling.json"), &text(&value))?;
    write(&args.out.join("costs.json"), &(text(&costs) + "\n"))?;
    match args.output {
        Format::Json => output::json(&value),
        Format::Quiet => {}
        Format::Table => {
            let goal = |goal: &Goal| {
                let verdict = if goal.reached { "reached" } else { "missed" };
                [goal.name.as_str(), &goal.goal, &goal.stretch, &goal.found, verdict]
                    .map(str::to_owned)
                    .to_vec()
            };
            let figure = |f: &Figure| {
                vec![
                    f.scenario.clone(),
                    f.scheduler.clone(),
                    f.workers.to_string(),
                    format!("{:.1}", f.makespan_s),
                    format!("{:.1}%", f.efficiency * 100.0),
                    format!("{:.3}", f.over_tight_bound),
                ]
            };
            let rows: Vec<Vec<String>> = figures.iter().map(figure).collect();
            let header = ["scenario", "scheduler", "workers", "makespan, s", "efficiency", "over bound"];
            output::say(&table(&header, &rows));
            if !goals.is_empty() {
                let rows: Vec<Vec<String>> = goals.iter().map(goal).collect();
                output::say(&format!("\n{}", table(&["goal", "wanted", "stretch", "found", ""], &rows)));
            }
            output::say(&format!("\nreport:   {}", args.out.join("report.html").display()));
        }
    }
    Ok(())
}

pub fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(text.as_bytes()).map_err(DiskError::on("write", path))?;
    Ok(file.commit()?)
}

/// The machine that is measured.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(':'));
    let model = model.map_or("unknown processor", |(_, name)| name.trim());
    format!("{cores} cores, {model}; wakachi {}", env!("CARGO_PKG_VERSION"))
}

/// The goals that the figures speak of.
fn goals(figures: &[Figure], samples: u32) -> Vec<Goal> {
    let ours = |scenario: &str, workers: u32| {
        let mine = |f: &&Figure| f.scheduler == "wakachi" && f.scenario == scenario && f.workers == workers;
        figures.iter().find(mine)
    };
    let percent = |share: f64| format!("{:.1}%", share * 100.0);
    let goal = |name: String, wanted: (String, String), found: String, reached: bool, note: String| Goal {
        name,
        origin: Origin::Simulated,
        goal: wanted.0,
        stretch: wanted.1,
        found,
        reached,
        note,
    };
    let mut goals = Vec::new();
    for (workers, wanted, stretch) in EFFICIENCY_GOALS {
        let Some(f) = ours("strong", workers) else { continue };
        let possible = f.work_s / f64::from(workers) / f.tight_bound_s;
        goals.push(goal(
            format!("efficiency at {workers} workers"),
            (percent(wanted), percent(stretch)),
            percent(f.efficiency),
            f.efficiency >= wanted,
            format!("no scheduler passes {}", percent(possible)),
        ));
    }
    for (scenario, name, wanted, stretch) in [
        ("strong", "makespan over the bound", 1.05, 1.02),
        (TAILED, "the same, 1% of tasks 50 times as costly", 1.10, 1.03),
    ] {
        for (workers, _, _) in EFFICIENCY_GOALS {
            let Some(f) = ours(scenario, workers) else { continue };
            goals.push(goal(
                format!("{name}, {workers} workers"),
                (format!("{wanted:.2}"), format!("{stretch:.2}")),
                format!("{:.3}", f.over_bound),
                f.over_bound <= wanted,
                format!("{:.3} over the tighter bound", f.over_tight_bound),
            ));
        }
    }
    let weak = |samples: u32| {
        figures.iter().find(|f| f.scenario == "weak" && f.scheduler == "wakachi" && f.samples == samples)
    };
    if let (Some(one), Some(many)) = (weak(1), weak(samples)) {
        let found = many.efficiency / one.efficiency;
        goals.push(goal(
            format!("weak scaling, 1 to {samples} samples"),
            ("96.0%".to_owned(), "99.0%".to_owned()),
            percent(found),
            found >= 0.96,
            format!("{:.0} s for one, {:.0} s for all", one.makespan_s, many.makespan_s),
        ));
    }
    for scenario in [KILLED, SLOW, RECLAIMED] {
        for (workers, _, _) in EFFICIENCY_GOALS {
            let (Some(f), Some(calm)) = (ours(scenario, workers), ours("strong", workers)) else { continue };
            let (longer, least) = (
                f.makespan_s / calm.makespan_s - 1.0,
                f.enough_s.max(f.tight_bound_s) / calm.makespan_s - 1.0,
            );
            goals.push(goal(
                format!("{scenario}, {workers} workers"),
                ("+12%, 90% of usable".to_owned(), "+10.5%, 96%".to_owned()),
                format!("+{:.1}%, {}", longer * 100.0, percent(f.usable_used)),
                longer <= 0.12 && f.usable_used >= 0.9 && f.complete,
                format!(
                    "with these workers no scheduler passes {:+.1}%; redone: {}",
                    least * 100.0,
                    percent(f.redone)
                ),
            ));
        }
    }
    let busiest =
        figures.iter().filter_map(|f| Some((f.scheduler_us?, f))).max_by(|a, b| a.0.total_cmp(&b.0));
    if let Some((us, f)) = busiest {
        goals.push(Goal {
            origin: Origin::Measured,
            ..goal(
                "scheduler's CPU time a task".to_owned(),
                ("30 µs".to_owned(), "10 µs".to_owned()),
                format!("{us:.1} µs"),
                us <= 30.0,
                format!("the largest of all runs: {}, {} workers", f.scenario, f.workers),
            )
        });
    }
    goals
}
