//! `wakachi custodian keygen`: a custodian's keys.

use crate::output::{self, Format, say, table};
use crate::passphrase::PassphraseArgs;
use jobs::failure::Failure;
use std::path::{Path, PathBuf};
use storage::vault::custodian;
use workers::access::now;

/// Makes a custodian's keys, and the folder of the ledger if it is not there
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wakachi custodian keygen alice --ledger file:///mnt/alice/ledger -o keys
  wakachi custodian keygen alice --ledger file:///mnt/alice/ledger -o keys --passphrase-file passphrase

Exit codes: 0 made; 1 a file cannot be written; 2 a key is there already, or a wrong name or URL.")]
pub struct Args {
    /// Name of the custodian
    name: String,
    /// Where the custodian's shares will lie: a store that nobody else reads
    #[arg(long, value_name = "URL")]
    ledger: String,
    /// Folder for the keys
    #[arg(short, long = "out", value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let passphrase = args.passphrase.choose(&format!("the keys of {}", args.name))?;
    let files = custodian::keygen(&args.out, &args.name, &args.ledger, &passphrase, now())?;
    let shown = |path: &Path| path.to_string_lossy().into_owned();
    match args.output {
        Format::Json => output::json(&serde_json::json!({
            "schema": "wakachi.custodian-keygen/1",
            "name": args.name,
            "ledger": args.ledger,
            "public": shown(&files.public),
            "identity": shown(&files.identity),
            "epoch": shown(&files.epoch),
        })),
        Format::Table => {
            let row = |path: &Path, what: &str| vec![shown(path), what.to_owned()];
            let rows = [
                row(&files.public, "give it to the vault: --custodian"),
                row(&files.identity, "signs what the custodian says; one backup, locked away"),
                row(&files.epoch, "opens shares; never copy it, for destroying it destroys them"),
            ];
            say(&table(&["file", "what for"], &rows));
            say(&format!(
                "\nthe two .key files stay with {}, under the passphrase; no other custodian's may lie on the same machine",
                args.name
            ));
        }
        Format::Quiet => {}
    }
    Ok(())
}
