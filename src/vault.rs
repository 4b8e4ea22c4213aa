//! `wakachi vault`: files sealed for good, listed, checked and brought back. One file per command.
//!
//! Invariant: a sample's data is sealed or restored only under a permit of the gate that the vault's `gate.toml`, or flags,
//! describe; listing and checking read no sample's data and need neither permit nor key.

mod check;
mod class;
mod gate_file;
mod info;
mod init;
mod list;
mod object;
mod restore;
mod seal;
mod session;

use jobs::failure::Failure;
use std::path::PathBuf;

pub use restore::refuse_present;

/// Seals files into erasure-coded, secret-shared storage, checks them and brings them back
///
/// A vault keeps every file as fragments at several sites, and its key as shares with several custodians. Any stated loss
/// of sites and custodians is survived; fewer custodians than the quorum learn nothing.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Init(init::Args),
    Seal(seal::Args),
    List(list::Args),
    Info(info::Args),
    Check(check::Args),
    Restore(restore::Args),
}

/// Which vault.
#[derive(Debug, clap::Args)]
struct VaultArgs {
    /// The vault's folder
    #[arg(long = "vault", value_name = "DIR", env = "WAKACHI_VAULT")]
    folder: PathBuf,
}

/// Runs the command.
pub fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Init(args) => init::run(args),
        Command::Seal(args) => seal::run(args),
        Command::List(args) => list::run(args),
        Command::Info(args) => info::run(args),
        Command::Check(args) => check::run(args),
        Command::Restore(args) => restore::run(args),
    }
}
