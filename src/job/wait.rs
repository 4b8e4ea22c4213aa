//! `wakachi job wait`: until the job has ended, and how it did.

use super::latest;
use super::look::{holder, look};
use crate::job_dir::JobDir;
use crate::output::{self, shell_word};
use crate::run::books;
use crate::run::status;
use crate::slurm::record::{Folder, Standing};
use crate::slurm::{Slurm, State};
use cluster::info;
use jobs::failure::{Class, Classified, Failure};
use jobs::quantity::parse_seconds;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// How often it is looked: at first, and once it takes long, so that nobody loads Slurm's controller by waiting.
const INTERVAL_MIN: Duration = Duration::from_millis(250);
const INTERVAL_MAX: Duration = Duration::from_secs(30);

/// Waits until the job has ended; ends with its code
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  wakachi job wait job && scp job/results/*.vcf.gz elsewhere:
  wakachi job wait job --timeout 12h

Exit codes: that of the job, 0 if it is complete; 8 if it has not ended in time or Slurm does not answer; 10 if Slurm ended \
  it or something is missing.")]
pub struct Args {
    /// The job directory
    dir: PathBuf,
    /// Longest time to wait, such as 90m or 12h
    #[arg(long, value_name = "TIME", value_parser = parse_seconds)]
    timeout: Option<u64>,
}

/// The job is not complete.
#[derive(Debug, thiserror::Error)]
#[error("{dir}: {how}", dir = dir.display())]
struct NotComplete {
    dir: PathBuf,
    how: String,
    class: Class,
}

impl Classified for NotComplete {
    fn class(&self) -> Class {
        self.class
    }

    fn hint(&self) -> Option<String> {
        let dir = shell_word(&self.dir.to_string_lossy());
        Some(match self.class {
            Class::Remote => format!("wakachi job info {dir}"),
            _ => format!("wakachi job logs {dir} says why; wakachi job retry {dir} goes on"),
        })
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let dir = JobDir::begun(&args.dir)?;
    let begun = Instant::now();
    let mut interval = INTERVAL_MIN;
    while let Some(doing) = alive(&dir)? {
        let left = args.timeout.map(|seconds| Duration::from_secs(seconds).saturating_sub(begun.elapsed()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(not_complete(&dir, &doing, Class::Remote));
        }
        thread::sleep(interval.min(left.unwrap_or(interval)));
        interval = (interval * 5 / 4).min(INTERVAL_MAX);
    }
    ended(&dir)?;
    output::say(&format!("complete: {}", dir.results().display()));
    Ok(())
}

/// What the job is doing, in words; `None` once it has ended.
fn alive(dir: &JobDir) -> Result<Option<String>, Failure> {
    let folder = Folder::of(dir);
    let Some(record) = folder.record()? else {
        return Ok(holder(dir)?.map(|held| held.to_string()));
    };
    let standing = Standing::ask(&Slurm::of_path(), &record)?;
    Ok(standing.is_alive().then(|| standing.lines().join("; ")))
}

/// How a job ended that has.
fn ended(dir: &JobDir) -> Result<(), Failure> {
    let folder = Folder::of(dir);
    if let Some(record) = folder.record()?
        && let Some(last) = latest(&record)
    {
        let element = Slurm::of_path().elements(&last.batch)?.pop();
        // Of a node that was given up the script may still write its code: Slurm's word counts first.
        let by_slurm = element.as_ref().map(|one| one.code);
        let code = by_slurm.unwrap_or_else(|| folder.exit_code(&last.batch));
        match (code, element.map(|one| one.state)) {
            (Some(0), _) => return Ok(()),
            (Some(code), _) => {
                let class = Class::of_exit_code(code as i32).unwrap_or(Class::Failed);
                return Err(not_complete(
                    dir,
                    &format!("batch job {} ended with code {code}", last.batch),
                    class,
                ));
            }
            (None, Some(state)) if state != State::Completed => {
                let class = if state == State::Cancelled { Class::Interrupted } else { Class::Partial };
                return Err(not_complete(dir, &format!("batch job {} ended: {state}", last.batch), class));
            }
            // Slurm has forgotten it, and its script did not come to its end.
            (None, _) => {}
        }
    }
    of_journal(dir)
}

/// How a job ended by what its journal holds.
fn of_journal(dir: &JobDir) -> Result<(), Failure> {
    if !dir.has_journal() {
        return Err(not_complete(dir, "ended before it began", Class::Partial));
    }
    let journal = &look(dir)?.at_rest()?;
    let complete = status::at_rest(dir, journal)?.is_some_and(|job| job.state == info::State::Complete);
    if complete {
        return Ok(());
    }
    let ending = books::all(journal)?.pop().map_or_else(|| "killed".to_owned(), |run| run.ending);
    let code = ending.strip_prefix("failed (").and_then(|rest| rest.strip_suffix(')')?.parse().ok());
    let class = match &ending[..] {
        "stopped" => Class::Interrupted,
        _ => code.and_then(Class::of_exit_code).unwrap_or(Class::Partial),
    };
    Err(not_complete(dir, &format!("its last run ended: {ending}"), class))
}

fn not_complete(dir: &JobDir, how: &str, class: Class) -> Failure {
    let path: &Path = dir.root();
    NotComplete { dir: path.to_owned(), how: how.to_owned(), class }.into()
}
