//! `wakachi job logs`: what the batch jobs of a job said.

use crate::job_dir::JobDir;
use crate::output;
use crate::slurm::record::{Folder, Submitted};
use jobs::failure::{Class, Classified, Failure};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use storage::DiskError;

/// What the newest batch job of a job said
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  wakachi job logs job\n  wakachi job logs job --all --lines 20")]
pub struct Args {
    /// The job directory
    dir: PathBuf,
    /// Of every batch job, oldest first
    #[arg(long)]
    all: bool,
    /// At most so many lines of each log, the last ones
    #[arg(long, value_name = "N", default_value_t = 200)]
    lines: usize,
}

/// There is no log.
#[derive(Debug, thiserror::Error)]
#[error("{}: no batch job of it has said anything yet", dir.display())]
struct NoLogs {
    dir: PathBuf,
}

impl Classified for NoLogs {
    fn class(&self) -> Class {
        Class::Failed
    }

    fn hint(&self) -> Option<String> {
        Some("wakachi job info says where it stands; what wakachi run says goes to its terminal".to_owned())
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let dir = JobDir::begun(&args.dir)?;
    let folder = Folder::of(&dir);
    let submitted = folder.record()?.map_or_else(Vec::new, |record| record.jobs);
    let logs: Vec<Vec<PathBuf>> = submitted
        .iter()
        .map(|one| logs_of(&folder, one))
        .filter(|logs| logs.as_ref().map_or(true, |logs| !logs.is_empty()))
        .collect::<Result<_, Failure>>()?;
    let first = if args.all { 0 } else { logs.len().saturating_sub(1) };
    let wanted = &logs[first..];
    if wanted.is_empty() {
        return Err(NoLogs { dir: dir.root().to_owned() }.into());
    }
    for path in wanted.iter().flatten() {
        output::note(&format!("==> {} <==", path.display()));
        for line in tail(path, args.lines).map_err(DiskError::on("read", path))? {
            output::say(&line);
        }
    }
    Ok(())
}

/// The logs of a batch job: its own, or one for each element that did not do all it was given.
fn logs_of(folder: &Folder, submitted: &Submitted) -> Result<Vec<PathBuf>, Failure> {
    let own = folder.log(&submitted.batch);
    let entries = fs::read_dir(folder.path()).map_err(DiskError::on("read", folder.path()))?;
    let of_element = format!("{}_", submitted.batch.id);
    let elements = entries.flatten().map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(&of_element) && name.ends_with(".log"))
    });
    let mut logs: Vec<PathBuf> = std::iter::once(own).chain(elements).filter(|path| path.is_file()).collect();
    logs.sort();
    Ok(logs)
}

/// The last lines of a file.
fn tail(path: &Path, lines: usize) -> std::io::Result<VecDeque<String>> {
    let mut last = VecDeque::new();
    for line in BufReader::new(File::open(path)?).split(b'\n') {
        last.push_back(String::from_utf8_lossy(&line?).into_owned());
        if last.len() > lines {
            last.pop_front();
        }
    }
    Ok(last)
}
