//! `wakachi job`: what a job has done, what it waits for, and whether its results are whole.

use crate::job_dir::JobDir;
use crate::output::{self, Format, bytes, duration, table};
use crate::run::books::{self, RunRecord};
use crate::run::close;
use crate::run::status::Status;
use jobs::failure::{Class, Classified, Failure};
use jobs::task::Stage;
use std::path::PathBuf;
use storage::{Fence, FenceError, Journal};

/// Shows and checks jobs
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Progress per stage and sample, what waits and why, and what each run cost
    #[command(after_help = "Examples:\n  wakachi job info job\n  wakachi job info job --output json")]
    Info {
        /// The job directory
        dir: PathBuf,
        /// Form of the answer
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
    /// Compares every result with the ledger: exit 10 if one is missing, 6 if one changed
    #[command(after_help = "Example:\n  wakachi job verify job")]
    Verify {
        /// The job directory
        dir: PathBuf,
    },
}

/// A job whose journal holds no plan yet.
#[derive(Debug, thiserror::Error)]
#[error("{}: the job was killed before it had a plan", dir.display())]
struct NoPlan {
    dir: PathBuf,
}

impl Classified for NoPlan {
    fn class(&self) -> Class {
        Class::Partial
    }

    fn hint(&self) -> Option<String> {
        Some("give the wakachi run command again".to_owned())
    }
}

/// Runs the command.
pub fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Info { dir, output } => info(&JobDir::existing(dir)?, *output),
        Command::Verify { dir } => {
            let dir = JobDir::existing(dir)?;
            let journal = Journal::open(Fence::try_acquire(&dir.scratch())?)?;
            close::verify_results(&dir, &journal)?;
            output::say("every result is as the ledger says");
            Ok(())
        }
    }
}

fn info(dir: &JobDir, format: Format) -> Result<(), Failure> {
    let (status, runs) = match Fence::try_acquire(&dir.scratch()) {
        Ok(fence) => {
            let journal = Journal::open(fence)?;
            let status = Status::from_journal(&journal)?;
            (status, books::all(&journal)?)
        }
        // The job runs; it says itself how far it is.
        Err(FenceError::Held { .. }) => {
            (Some(Status::found(dir).unwrap_or_else(Status::starting)), Vec::new())
        }
        Err(error) => return Err(error.into()),
    };
    let status = status.ok_or_else(|| NoPlan { dir: dir.root().to_owned() })?;
    match format {
        Format::Json => output::json(&serde_json::json!({
            "schema": status.schema, "status": status, "runs": runs,
        })),
        Format::Quiet => {}
        Format::Table => print(&status, &runs),
    }
    Ok(())
}

fn print(status: &Status, runs: &[RunRecord]) {
    output::say(&format!("{}: {}\n", status.cohort, status.state));
    let mut header = vec!["sample"];
    header.extend(Stage::ALL.iter().map(|stage| stage.name()));
    let rows: Vec<Vec<String>> = status
        .samples
        .iter()
        .map(|sample| {
            let name = sample.sample.clone().unwrap_or_else(|| "(cohort)".to_owned());
            let cell = |stage: &Stage| {
                let found = sample.stages.iter().find(|one| one.stage == stage.name());
                found.map_or_else(String::new, |one| match one.running {
                    0 => format!("{}/{}", one.done, one.tasks),
                    running => format!("{}+{running}/{}", one.done, one.tasks),
                })
            };
            std::iter::once(name).chain(Stage::ALL.iter().map(cell)).collect()
        })
        .collect();
    output::say(&table(&header, &rows));
    let waiting = status.samples.iter().flat_map(|sample| {
        let name = sample.sample.as_deref().unwrap_or("(cohort)");
        sample.waiting.iter().map(move |one| {
            vec![name.to_owned(), one.stage.clone(), one.tasks.to_string(), one.reason.clone()]
        })
    });
    let waiting: Vec<Vec<String>> = waiting.collect();
    if !waiting.is_empty() {
        output::say(&format!("\n{}", table(&["waiting", "stage", "tasks", "why"], &waiting)));
    }
    if !runs.is_empty() {
        let row = |run: &RunRecord| {
            let elapsed = run.ended_ms.map_or_else(String::new, |end| duration(end - run.started_ms));
            let memory = bytes(run.peak_anonymous_bytes);
            vec![run.ending.clone(), run.tasks.to_string(), duration(run.cpu_ms), elapsed, memory]
        };
        let rows: Vec<Vec<String>> = runs.iter().map(row).collect();
        output::say(&format!("\n{}", table(&["run", "tasks", "CPU", "elapsed", "peak memory"], &rows)));
    }
}
