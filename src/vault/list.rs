//! `wakachi vault list`: the objects of a vault.

use super::VaultArgs;
use crate::output::{self, Format, bytes, table};
use jobs::failure::Failure;
use storage::vault::{ObjectSummary, Vault};

/// Lists the objects of a vault, as their signed documents say
///
/// Reads only documents, not fragments: what of an object is left says `wakachi vault check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wakachi vault list --vault vault
  wakachi vault list --vault vault --output json | jq -r '.objects[].id'

Exit codes: 0 listed, and sites that do not answer are told on stderr; 2 no vault; 6 vault.json is damaged.")]
pub struct Args {
    #[command(flatten)]
    vault: VaultArgs,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let listing = Vault::open(&args.vault.folder)?.list();
    listing.findings.iter().for_each(|finding| output::note(&finding.to_string()));
    match args.output {
        Format::Json => output::json(&serde_json::json!({
            "schema": "wakachi.vault-list/1", "objects": listing.objects, "findings": listing.findings,
        })),
        Format::Table => {
            let rows: Vec<_> = listing.objects.iter().map(row).collect();
            output::say(&table(&["id", "name", "class", "samples", "size", "sealed at"], &rows));
        }
        Format::Quiet => {}
    }
    Ok(())
}

fn row(object: &ObjectSummary) -> Vec<String> {
    let samples = match &object.samples[..] {
        [first, second, third, rest @ ..] if !rest.is_empty() => {
            format!("{first}, {second}, {third} and {} more", rest.len())
        }
        samples => samples.join(", "),
    };
    let sealed_at = object.sealed_at.to_string();
    let (class, size) = (object.class.name().to_owned(), bytes(object.plaintext_bytes));
    vec![object.id.to_string(), object.name.clone(), class, samples, size, sealed_at]
}
