//! `wakachi job retry`: submits a job again as it was.

use super::latest;
use super::look::look;
use crate::job_dir::JobDir;
use crate::output::Format;
use crate::run::books;
use crate::slurm::Slurm;
use crate::slurm::record::Folder;
use crate::submit;
use jobs::failure::{Class, Classified, Failure};
use std::path::PathBuf;

/// Submits a job again as it was; it does what is missing
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  wakachi job retry job\n  wakachi submit cohort.toml --out job --mem 128G     again, \
  but otherwise

Exit codes: 0 submitted; 2 it still waits or runs, or was never submitted; 8 Slurm does not answer."
)]
pub struct Args {
    /// The job directory
    dir: PathBuf,
    /// Form of the answer on stdout
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// The job was never a batch job.
#[derive(Debug, thiserror::Error)]
#[error("{}: was not submitted to a batch system", dir.display())]
struct NotSubmitted {
    dir: PathBuf,
    command: Option<String>,
}

impl Classified for NotSubmitted {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        Some(match &self.command {
            Some(command) => format!("give its command again: {command}"),
            None => "give its command again; it does what is missing".to_owned(),
        })
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let dir = JobDir::begun(&args.dir)?;
    let folder = Folder::of(&dir);
    let record = folder.record()?;
    let Some(last) = record.as_ref().and_then(latest) else {
        let last = books::all(&look(&dir)?.at_rest()?)?.pop();
        return Err(NotSubmitted { dir: dir.root().to_owned(), command: last.map(|run| run.command) }.into());
    };
    let slurm = Slurm::of_path();
    submit::nothing_alive(&slurm, &dir, record.as_ref())?;
    let submitted = submit::submit(&slurm, &folder, last.purpose)?;
    submit::say(args.output, dir.root(), &folder, &submitted);
    Ok(())
}
