//! `wakachi custodian release`: a custodian's answer to a request, after a look at who asks for what and why.

use super::unlock;
use crate::output::{self, Format, note, say};
use crate::passphrase::PassphraseArgs;
use crate::vault::refuse_present;
use jobs::failure::{Class, Classified, Failure};
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use storage::vault::custodian::{self, RequestDocument};
use storage::vault::{Description, Vault, read_handed};
use storage::{AtomicFile, DiskError};
use workers::access::now;

/// Releases a custodian's share of one object's key to the one who asks, after showing who that is
///
/// The share leaves wrapped to the one-time key of the request: nobody else can open it, and it opens nothing but that object.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wakachi custodian release restore.json --vault vault.d --key alice.epoch-1.key -o alice.json
  wakachi custodian release restore.json --vault vault.d --key alice.epoch-1.key -o alice.json --yes

Exit codes: 0 released; 1 the ledger is not there; 2 wrong passphrase, or nobody said yes; 3 no such share in the \
  ledger; 4 the request is too old; 6 it is not what the vault signed.")]
pub struct Args {
    /// The request
    request: PathBuf,
    /// A folder with the vault's vault.json: the vault's, a site's, or a copy
    #[arg(long = "vault", value_name = "DIR", env = "WAKACHI_VAULT")]
    vault: PathBuf,
    /// The custodian's epoch key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Where the custodian's shares lie, if not where the vault says
    #[arg(long, value_name = "URL")]
    ledger: Option<String>,
    /// File to write: the answer
    #[arg(short, long = "out", value_name = "FILE")]
    out: PathBuf,
    /// Release without a question
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    passphrases: PassphraseArgs,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// Nobody said yes.
#[derive(Debug, thiserror::Error)]
#[error("not released: {why}")]
struct NotReleased {
    why: &'static str,
}

impl Classified for NotReleased {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        Some("read what is asked for, then give --yes, or answer y on a terminal".to_owned())
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    refuse_present(&args.out)?;
    let request = read_handed(&args.request)?;
    let vault = Vault::open(&args.vault)?;
    let mut description = vault.description().clone();
    let asked = RequestDocument::read(&request, &description, now())?;
    let talk = |name: &str, value: &str| note(&format!("{name:<12} {value}"));
    talk("vault", &format!("{} ({}), sealer {}", description.name, description.id, vault.sealer_id()));
    talk("request", &asked.id.to_string());
    talk("object", &asked.object.to_string());
    talk("asked by", &asked.requested_by);
    talk("for", &asked.purpose);
    talk("at", &format!("{}, valid until {}", asked.requested_at, asked.expires_at));
    talk("in the log", &format!("event {} of the vault's audit log", asked.audit.seq));
    if !args.yes {
        confirm()?;
    }
    let key = unlock(&args.key, &args.passphrases)?;
    if let Some(ledger) = &args.ledger {
        move_ledger(&mut description, &key.public().to_bytes(), ledger);
    }
    let released = custodian::release(&request, &description, &key, now())?;
    let mut file = AtomicFile::create(&args.out)?;
    file.write_all(&released.document).map_err(DiskError::on("write", &args.out))?;
    file.commit()?;
    match args.output {
        Format::Json => output::json(&serde_json::json!({
            "schema": "wakachi.custodian-release/1",
            "request": asked.id,
            "object": released.object,
            "custodian": released.custodian,
            "requested_by": released.requested_by,
            "purpose": released.purpose,
            "out": args.out.to_string_lossy(),
        })),
        Format::Table => say(&format!(
            "{}: the share of {}, for whoever wrote the request alone; send it back",
            args.out.display(),
            released.custodian
        )),
        Format::Quiet => {}
    }
    Ok(())
}

/// Asks on the terminal.
fn confirm() -> Result<(), NotReleased> {
    if !io::stdin().is_terminal() {
        return Err(NotReleased { why: "nobody is at a terminal to say yes" });
    }
    let mut answer = String::new();
    let mut stderr = io::stderr().lock();
    let asked = stderr.write_all(b"\nrelease the share? [y/N] ").and_then(|()| stderr.flush());
    let answered = asked.and_then(|()| io::stdin().read_line(&mut answer));
    match answered.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes") {
        true => Ok(()),
        false => Err(NotReleased { why: "the answer was not yes" }),
    }
}

/// The custodian with this epoch key has the ledger elsewhere.
fn move_ledger(description: &mut Description, epoch_key: &[u8], ledger: &str) {
    for custodian in &mut description.custodians {
        if custodian.epoch_key.0 == epoch_key {
            custodian.ledger = ledger.to_owned();
        }
    }
}
