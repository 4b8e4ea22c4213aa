//! `wakachi vault check`: every byte of a vault that can be checked without a key.

use super::{VaultArgs, object};
use crate::output::{self, Format, say, table};
use crate::progress;
use jobs::failure::{Class, Classified, Failure};
use storage::vault::{CheckReport, ObjectHealth, ObjectId, Vault};

/// Reads every fragment, document and share, and names what is damaged or missing
///
/// Needs no key. Each finding is a line: site, object, fragment, part, and what is wrong with it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wakachi vault check --vault vault
  wakachi vault check --vault vault S1.cram --output json

Exit codes: 0 everything is as it was written; 6 something is damaged or missing, and every object can be restored; \
  7 an object cannot be restored any more.")]
pub struct Args {
    #[command(flatten)]
    vault: VaultArgs,
    /// Objects: ids, beginnings of them (4 digits or more), or names [default: all]
    #[arg(value_name = "OBJ")]
    objects: Vec<String>,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// Not everything is as it was written.
#[derive(Debug, thiserror::Error)]
enum Unsound {
    #[error("{findings} findings; every object can still be restored")]
    Damaged { findings: usize },
    #[error("cannot be restored any more: {}", objects.join(", "))]
    Lost { objects: Vec<String> },
}

impl Classified for Unsound {
    fn class(&self) -> Class {
        match self {
            Unsound::Damaged { .. } => Class::Integrity,
            Unsound::Lost { .. } => Class::Quorum,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Unsound::Damaged { .. } => {
                "bring the named sites back, or restore the objects and seal them into another vault; the next seal clears \
                 interrupted ones"
                    .to_owned()
            }
            Unsound::Lost { .. } => {
                "bring back a site or a ledger that is named as missing, and check again".to_owned()
            }
        })
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let vault = Vault::open(&args.vault.folder)?;
    let ids = args.objects.iter().map(|asked| object::find(&vault, asked));
    let ids: Vec<ObjectId> = ids.collect::<Result<_, _>>()?;
    let bar = progress::bytes(0, "check");
    if !bar.is_hidden() {
        bar.set_length(bytes_about(&vault, &ids));
    }
    let only = (!ids.is_empty()).then_some(&ids[..]);
    let report = vault.check(only, &mut |read| bar.set_position(read));
    bar.finish_and_clear();
    match args.output {
        Format::Json => output::json(&serde_json::json!({
            "schema": "wakachi.vault-check/1",
            "restorable": report.restorable(),
            "objects": report.objects,
            "findings": report.findings,
            "bytes": report.bytes,
        })),
        Format::Table => print(&report),
        Format::Quiet => {}
    }
    Ok(judge(&report)?)
}

/// Bytes of all fragments of these objects, or of all; a little less than there are.
fn bytes_about(vault: &Vault, ids: &[ObjectId]) -> u64 {
    let description = vault.description();
    let listing = vault.list();
    let asked = listing.objects.iter().filter(|object| ids.is_empty() || ids.contains(&object.id));
    let plain: u64 = asked.map(|object| object.plaintext_bytes).sum();
    plain / u64::from(description.data.max(1)) * description.fragments() as u64
}

fn judge(report: &CheckReport) -> Result<(), Unsound> {
    let lost = report.objects.iter().filter(|object| !object.restorable);
    let objects: Vec<String> = lost.map(named).collect();
    match (objects.is_empty(), report.findings.len()) {
        (true, 0) => Ok(()),
        (true, findings) => Err(Unsound::Damaged { findings }),
        (false, _) => Err(Unsound::Lost { objects }),
    }
}

fn print(report: &CheckReport) {
    report.findings.iter().for_each(|finding| say(&finding.to_string()));
    if !report.findings.is_empty() {
        say("");
    }
    let rows = report.objects.iter().map(|object| {
        let of = |whole: u8, all: u8| format!("{whole}/{all}");
        let (fragments, shares) =
            (of(object.fragments_whole, object.fragments), of(object.shares_present, object.shares));
        let state = match object.restorable {
            true => format!("restorable, {} more fragments may be lost", object.margin),
            false => "cannot be restored".to_owned(),
        };
        vec![named(object), fragments, shares, state]
    });
    say(&table(&["object", "fragments", "shares", "state"], &rows.collect::<Vec<_>>()));
}

fn named(object: &ObjectHealth) -> String {
    match &object.name {
        Some(name) => format!("{} ({name})", object.id),
        None => object.id.to_string(),
    }
}
