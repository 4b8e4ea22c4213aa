//! `wakachi job`: what a job has done, what it waits for, and whether its results are whole.

mod bill;
mod cancel;
mod drain;
mod info;
mod logs;
mod look;
mod retry;
mod wait;

use crate::job_dir::JobDir;
use crate::output;
use crate::run::books::ReadBack;
use crate::run::close;
use crate::slurm::record::{Purpose, Record, Submitted};
use jobs::failure::{Class, Classified, Failure};
use std::path::PathBuf;

/// Shows and checks jobs
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Info(info::Args),
    Bill(bill::Args),
    /// Compares every result with the ledger: exit 10 if one is missing or the job went on without a sample, 6 if one changed
    #[command(after_help = "Example:\n  wakachi job verify job")]
    Verify {
        /// The job directory
        dir: PathBuf,
    },
    Wait(wait::Args),
    Cancel(cancel::Args),
    Drain(drain::Args),
    Retry(retry::Args),
    Logs(logs::Args),
}

/// The newest batch job that stands for the job as a whole.
fn latest(record: &Record) -> Option<&Submitted> {
    record.jobs.iter().rev().find(|one| one.purpose != Purpose::Wave)
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
        Command::Info(args) => info::run(args),
        Command::Bill(args) => bill::run(args),
        Command::Verify { dir } => {
            let dir = JobDir::existing(dir)?;
            close::verify_results(&dir, &look::look(&dir)?.at_rest()?, &ReadBack::default())?;
            close::name_foreign(&dir);
            close::nobody_missing(close::read_ledger(&dir).map_or_else(Vec::new, |ledger| ledger.failed))?;
            output::say("every result is as the ledger says");
            Ok(())
        }
        Command::Wait(args) => wait::run(args),
        Command::Cancel(args) => cancel::run(args),
        Command::Drain(args) => drain::run(args),
        Command::Retry(args) => retry::run(args),
        Command::Logs(args) => logs::run(args),
    }
}
