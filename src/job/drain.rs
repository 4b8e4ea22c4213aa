//! `wakachi job drain`: a running job leaves a site, or uses it again.

use crate::job_dir::JobDir;
use crate::output;
use crate::run::asks;
use cluster::dashboard::Ask;
use jobs::failure::Failure;
use std::path::PathBuf;

/// Makes a running job leave a site: nothing more is given to its workers, what they have ends, the rest moves elsewhere
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  wakachi job drain job burst
  wakachi job drain job burst --undo

wakachi job info lists the sites of a job. The job follows within a second or two. Exit codes: 0 it was asked; 2 it does \
  not run, or has no such site.")]
pub struct Args {
    /// The job directory
    dir: PathBuf,
    /// The site
    site: String,
    /// Uses the site again
    #[arg(long)]
    undo: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let dir = JobDir::begun(&args.dir)?;
    asks::leave(&dir, &Ask::Drain { site: args.site.clone(), drain: !args.undo })?;
    let what = if args.undo { "use it again" } else { "leave it" };
    output::say(&format!("site {}: the job was asked to {what}", args.site));
    Ok(())
}
