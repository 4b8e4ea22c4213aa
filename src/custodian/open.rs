//! `wakachi custodian open`: a share in the clear, for restoring without this program.

use super::unlock;
use crate::output::{self, Format, note, paint, say};
use crate::passphrase::PassphraseArgs;
use jobs::failure::Failure;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use storage::DiskError;
use storage::vault::custodian;

/// Opens a wrapped share for the emergency restorer (storage/restore.py); what it writes is a secret
///
/// Whoever holds as many opened shares of an object as the quorum, and the fragments, has the data, and no log tells of it.
/// Where the vault still works, use wakachi custodian release.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wakachi custodian open ledger/1/3f9a0c1b5d7e8f90a1b2c3d4e5f60718.share.json \\
    --key alice.epoch-1.key -o alice.share
  python3 restore.py ...                      then; see its own help

Exit codes: 0 opened; 1 the output is there already, or a file cannot be read; 2 wrong passphrase; 3 it is not a share; 6 it is damaged, or \
  wrapped to another key.")]
pub struct Args {
    /// The wrapped share: OBJECT.share.json in the custodian's ledger
    share: PathBuf,
    /// The custodian's epoch key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// File to write: the opened share, mode 0600
    #[arg(short, long = "out", value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    passphrases: PassphraseArgs,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let key = unlock(&args.key, &args.passphrases)?;
    let opened = custodian::open_share_file(&args.share, &key)?;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&args.out)
        .and_then(|mut file| file.write_all(&opened.document()).and_then(|()| file.sync_all()))
        .map_err(DiskError::on("create", &args.out))?;
    match args.output {
        Format::Json => output::json(&serde_json::json!({
            "schema": "wakachi.custodian-open/1",
            "object": opened.object,
            "index": opened.share.index,
            "out": args.out.to_string_lossy(),
        })),
        Format::Table => say(&format!(
            "{}: share {} of object {}, in the clear",
            args.out.display(),
            opened.share.index,
            opened.object
        )),
        Format::Quiet => {}
    }
    let warning = paint("warning:", "33;1");
    note(&format!(
        "{warning} this file is a secret: hand it over in person, and destroy it when the object is restored"
    ));
    Ok(())
}
