//! `wakachi job cancel`: ends a job, wherever it runs; what is done is kept.

use crate::job_dir::JobDir;
use crate::output;
use crate::slurm::Slurm;
use crate::slurm::record::{Folder, Standing};
use jobs::failure::{Class, Classified, Failure};
use rustix::process::{Pid, Signal, kill_process};
use std::path::PathBuf;
use storage::{Fence, FenceError};

/// Ends a job; what is done is kept, and the same command, or wakachi job retry, goes on
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:\n  wakachi job cancel job && wakachi job wait job

A batch job is cancelled; a program on this machine is asked to stop, as by Ctrl-C. Exit codes: 0 it was told, or nothing \
  runs; 1 it runs on another machine; 8 Slurm does not answer.")]
pub struct Args {
    /// The job directory
    dir: PathBuf,
}

/// The job runs where it cannot be told anything.
#[derive(Debug, thiserror::Error)]
#[error("{}: in use by {holder}, who cannot be told from here", dir.display())]
struct OutOfReach {
    dir: PathBuf,
    holder: String,
}

impl Classified for OutOfReach {
    fn class(&self) -> Class {
        Class::Failed
    }

    fn hint(&self) -> Option<String> {
        let (pid, host) = process_and_host(&self.holder)?;
        Some(format!("ssh {host} kill -INT {}", pid.as_raw_pid()))
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let dir = JobDir::begun(&args.dir)?;
    let slurm = Slurm::of_path();
    if let Some(record) = Folder::of(&dir).record()? {
        let standing = Standing::ask(&slurm, &record)?;
        let alive = |elements: &[crate::slurm::Element]| elements.iter().any(|one| one.state.is_alive());
        let jobs: Vec<_> = standing.jobs.iter().filter(|(_, elements)| alive(elements)).collect();
        // The newest first: a coordinator that waits for an array must not see it end.
        for (submitted, _) in jobs.iter().rev() {
            slurm.cancel(&submitted.batch)?;
            output::say(&format!("cancelled batch job {}", submitted.batch));
        }
        if !jobs.is_empty() {
            return Ok(());
        }
    }
    match Fence::try_acquire(&dir.scratch()) {
        Ok(_) => {
            output::say("nothing runs");
            Ok(())
        }
        Err(FenceError::Held { holder, .. }) => {
            let here = process_and_host(&holder).filter(|(_, host)| *host == host_name());
            let told = here.is_some_and(|(pid, _)| kill_process(pid, Signal::INT).is_ok());
            if !told {
                return Err(OutOfReach { dir: dir.root().to_owned(), holder }.into());
            }
            output::say(&format!("told {holder} to stop"));
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// This machine, as its kernel calls it.
fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// Reads `process PID on HOST`, as the holder of a directory noted itself.
fn process_and_host(holder: &str) -> Option<(Pid, &str)> {
    let (pid, host) = holder.strip_prefix("process ")?.split_once(" on ")?;
    Some((Pid::from_raw(pid.parse().ok()?)?, host.split_whitespace().next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_read_as_it_noted_itself() {
        let check = |holder: &str, expect: Option<(i32, &str)>| {
            let found = process_and_host(holder).map(|(pid, host)| (pid.as_raw_pid(), host));
            assert_eq!(found, expect, "{holder}");
        };
        check("process 17 on n1", Some((17, "n1")));
        check("process 17 on n1 since noon", Some((17, "n1")));
        for wrong in ["", "process 0 on n1", "process x on n1", "process 17", "process 17 on "] {
            check(wrong, None);
        }
    }
}
