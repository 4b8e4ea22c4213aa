//! `wakachi custodian`: what a holder of key shares does, on a machine of their own.
//!
//! Invariant: no command here reads anybody's data, and none needs the vault's keys. What a custodian gives away is wrapped to
//! the one who asked, but for `open`, which says that it is not.

mod keygen;
mod open;
mod release;

use crate::passphrase::PassphraseArgs;
use jobs::failure::Failure;
use std::path::Path;
use storage::keyfile::KeyFileError;
use storage::vault::{CustodianError, custodian};
use storage::wrap::EpochKey;

/// Keeps shares of keys: makes a custodian's keys, releases shares for a restore
///
/// Each custodian is a person with a machine and a ledger of their own. One machine holding all custodians is no quorum.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Keygen(keygen::Args),
    Release(release::Args),
    Open(open::Args),
}

/// Runs the command.
pub fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Keygen(args) => keygen::run(args),
        Command::Release(args) => release::run(args),
        Command::Open(args) => open::run(args),
    }
}

/// Opens an epoch key.
pub fn unlock(path: &Path, passphrases: &PassphraseArgs) -> Result<EpochKey, Failure> {
    let is_wrong =
        |error: &CustodianError| matches!(error, CustodianError::KeyFile(KeyFileError::Refused { .. }));
    let read = |passphrase: &str| custodian::read_epoch_key(path, passphrase);
    passphrases.unlock(&path.display().to_string(), read, is_wrong)
}
