//! `wakachi job info`: how a job stands.

use super::NoPlan;
use super::look::{Look, look};
use crate::interrupt;
use crate::job_dir::JobDir;
use crate::output::{self, Format, bytes, duration, table};
use crate::run::books::{self, RunRecord};
use crate::run::status;
use crate::slurm;
use cluster::info::{JobInfo, SampleInfo, State};
use jobs::failure::Failure;
use jobs::task::Stage;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often `--watch` looks: on a terminal, and where every answer stays on the page.
const WATCH_INTERVALS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];

/// How often an interrupt is looked for meanwhile.
const TICK: Duration = Duration::from_millis(100);

/// Attempts that are listed as late.
const STRAGGLERS_MAX: usize = 10;

/// Clears a terminal and goes to its top.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Progress per stage and sample, what waits and why, time left, and what each run cost
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wakachi job info job
  wakachi job info job --watch
  wakachi job info job --output json")]
pub struct Args {
    /// The job directory
    dir: PathBuf,
    /// Says it again and again until the job does not run any more; with --output json a document a line
    #[arg(long)]
    watch: bool,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// All that is said of a job.
#[derive(serde::Serialize)]
struct Answer {
    #[serde(flatten)]
    info: JobInfo,
    runs: Vec<RunRecord>,
    batch: Vec<String>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let dir = JobDir::begun(&args.dir)?;
    let stop = interrupt::flag();
    let terminal = std::io::stdout().is_terminal();
    let mut first = true;
    loop {
        let answer = ask(&dir)?;
        match args.output {
            Format::Json if args.watch => {
                output::say(&serde_json::to_string(&answer).expect("plain data always prints"));
            }
            Format::Json => output::json(&serde_json::to_value(&answer).expect("plain data always prints")),
            Format::Quiet => {}
            Format::Table => {
                let again = if terminal { CLEAR } else { "\n" };
                let before = if args.watch && (terminal || !first) { again } else { "" };
                output::say(&format!("{before}{}", printed(&answer)));
            }
        }
        first = false;
        let waits = answer.info.state.is_live()
            || answer.info.state == State::Waiting
            || !answer.batch.is_empty() && answer.info.stages.is_empty();
        if !args.watch || !waits {
            return Ok(());
        }
        let interval = WATCH_INTERVALS[usize::from(!terminal && args.output == Format::Table)];
        for _ in 0..interval.as_millis() / TICK.as_millis() {
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            std::thread::sleep(TICK);
        }
    }
}

fn ask(dir: &JobDir) -> Result<Answer, Failure> {
    let (batch, ended) = match slurm::record::state_of(dir) {
        Ok(standing) => standing.map_or((Vec::new(), true), |one| (one.lines(), !one.is_alive())),
        // Slurm may be away; what the job itself says is still worth saying.
        Err(failure) => {
            (vec![format!("Slurm does not say how it stands: {}", failure.chain().join(": "))], false)
        }
    };
    if !dir.has_journal() {
        return Ok(Answer { info: status::starting(), runs: Vec::new(), batch });
    }
    let (info, runs) = match look(dir)? {
        Look::AtRest(journal) => (status::at_rest(dir, &journal)?, books::all(&journal)?),
        // The job runs; it says itself how far it is.
        Look::Held(_) => (Some(status::seen(dir).unwrap_or_else(status::starting)), Vec::new()),
    };
    let mut info = info.ok_or_else(|| NoPlan { dir: dir.root().to_owned() })?;
    if info.state == State::Waiting && ended {
        // Nobody comes behind the wave.
        info.state = State::Stopped;
    }
    Ok(Answer { info, runs, batch })
}

fn printed(answer: &Answer) -> String {
    let Answer { info, runs, batch } = answer;
    let mut parts = vec![headline(info)];
    if !batch.is_empty() {
        parts.push(batch.join("\n"));
    }
    if !info.samples.is_empty() {
        parts.push(progress(&info.samples));
    }
    let waiting = waiting(&info.samples);
    if !waiting.is_empty() {
        parts.push(table(&["waiting", "tasks", "why", "what would help"], &waiting));
    }
    let late = info.running.iter().filter(|attempt| attempt.straggles).take(STRAGGLERS_MAX);
    let late = late.map(|attempt| {
        let worker = info.workers.iter().find(|worker| worker.worker == attempt.worker);
        vec![
            attempt.task.clone(),
            worker.map_or_else(String::new, |worker| worker.name.clone()),
            duration(info.as_of_ms.saturating_sub(attempt.since_ms)),
            duration(attempt.expected_ms),
        ]
    });
    let late: Vec<Vec<String>> = late.collect();
    if !late.is_empty() {
        parts.push(table(&["straggler", "worker", "runs for", "expected"], &late));
    }
    if !runs.is_empty() {
        let rows: Vec<Vec<String>> = runs.iter().map(run_row).collect();
        parts.push(table(&["run", "tasks", "CPU", "elapsed", "peak memory"], &rows));
    }
    parts.join("\n\n")
}

fn headline(info: &JobInfo) -> String {
    let (done, tasks) =
        info.stages.iter().fold((0, 0), |(done, tasks), stage| (done + stage.done, tasks + stage.tasks));
    let name = if info.job.is_empty() { "job" } else { &info.job };
    let mut line = format!("{name}: {}", info.state.name());
    if tasks > 0 {
        line += &format!(", {done} of {tasks} tasks done");
    }
    if let Some(left) = info.remaining.filter(|_| info.state.is_live()) {
        let (low, high) = (duration(left.low_ms), duration(left.high_ms));
        line += &format!(", {} left (between {low} and {high})", duration(left.expected_ms));
    }
    if let Some(failure) = &info.failure {
        line += &format!("\n{failure}");
    }
    if info.state.is_live() {
        for site in &info.sites {
            let draining = if site.draining { ", draining" } else { "" };
            let (busy, slots, workers) = (site.busy, site.slots, site.workers);
            line += &format!("\n{}: {busy} of {slots} cores busy, {workers} workers{draining}", site.name);
        }
        line += &format!("\n{:.2} tasks a second", info.rate.tasks_per_s);
    }
    let bill = &info.bill;
    if bill.allocated_core_ms > 0 {
        let useful = 100.0 * bill.work_core_ms as f64 / bill.allocated_core_ms as f64;
        line += &format!("\n{} of core time, {useful:.1}% of it work", duration(bill.allocated_core_ms));
    }
    line
}

fn progress(samples: &[SampleInfo]) -> String {
    let mut header = vec!["sample"];
    header.extend(Stage::ALL.iter().map(|stage| stage.name()));
    let row = |sample: &SampleInfo| {
        let name = sample.sample.clone().unwrap_or_else(|| "(cohort)".to_owned());
        let cell = |stage: &Stage| {
            let found = sample.stages.iter().find(|one| one.stage == *stage);
            found.map_or_else(String::new, |one| match one.running {
                0 => format!("{}/{}", one.done, one.tasks),
                running => format!("{}+{running}/{}", one.done, one.tasks),
            })
        };
        std::iter::once(name).chain(Stage::ALL.iter().map(cell)).collect()
    };
    let rows: Vec<Vec<String>> = samples.iter().map(row).collect();
    table(&header, &rows)
}

/// What waits, of all samples together.
fn waiting(samples: &[SampleInfo]) -> Vec<Vec<String>> {
    let mut sums: BTreeMap<(Stage, &str, &str), u64> = BTreeMap::new();
    for one in samples.iter().flat_map(|sample| &sample.waiting) {
        *sums.entry((one.stage, &one.why, &one.helps)).or_default() += one.tasks;
    }
    let row = |((stage, why, helps), tasks): ((Stage, &str, &str), u64)| {
        vec![stage.name().to_owned(), tasks.to_string(), why.to_owned(), helps.to_owned()]
    };
    sums.into_iter().map(row).collect()
}

fn run_row(run: &RunRecord) -> Vec<String> {
    let elapsed = run.ended_ms.map_or_else(String::new, |end| duration(end.saturating_sub(run.started_ms)));
    let memory = bytes(run.peak_anonymous_bytes);
    vec![run.ending.clone(), run.tasks.to_string(), duration(run.cpu_ms), elapsed, memory]
}
