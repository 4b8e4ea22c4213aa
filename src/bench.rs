//! `wakachi bench`: how well jobs scale, simulated and measured.

mod check;
mod figures;
mod measured;
mod plot;
mod report;
mod scaling;
mod simulated;

use jobs::failure::Failure;

/// Measures and simulates how jobs scale
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Scaling(scaling::Args),
}

/// Runs the command.
pub fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Scaling(args) => scaling::run(args),
    }
}
