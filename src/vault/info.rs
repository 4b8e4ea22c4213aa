//! `wakachi vault info`: one object, as its signed documents say.

use super::{VaultArgs, object};
use crate::output::{self, Format, bytes, say, table};
use jobs::failure::Failure;
use storage::vault::{ObjectInfo, Vault};

/// Shows what an object is, on what consents it was sealed, and where its fragments and shares lie
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wakachi vault info --vault vault S1.cram
  wakachi vault info --vault vault 3f9a --output json

Exit codes: 0 shown; 2 no vault, or no object of this name; 3 no object of this id; 6 vault.json is damaged; 7 none of \
  its documents verifies.")]
pub struct Args {
    #[command(flatten)]
    vault: VaultArgs,
    /// The object: id, the beginning of one (4 digits or more), or name
    #[arg(value_name = "OBJ")]
    object: String,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let vault = Vault::open(&args.vault.folder)?;
    let info = vault.info(object::find(&vault, &args.object)?)?;
    info.findings.iter().for_each(|finding| output::note(&finding.to_string()));
    match args.output {
        Format::Json => output::json(&serde_json::json!({
            "schema": "wakachi.vault-info/1", "core": info.core, "seal": info.seal, "findings": info.findings,
        })),
        Format::Table => print(&info),
        Format::Quiet => {}
    }
    Ok(())
}

fn print(info: &ObjectInfo) {
    let ObjectInfo { core, seal, .. } = info;
    let field = |name: &str, value: &str| say(&format!("{name:<10} {value}"));
    field("object", &core.id.to_string());
    field("name", &core.name);
    field("class", &format!("{}, security level {}", core.class.name(), core.level));
    field("size", &format!("{} ({} bytes)", bytes(seal.plaintext_bytes), seal.plaintext_bytes));
    field("sealed", &format!("{} by {}", core.sealed_at, core.program));
    field("purpose", core.governance.purpose.name());
    field("policy", &format!("SHA-256 {}", core.governance.policy_sha256));
    for (sample, governance) in &core.governance.samples {
        let grounds = &governance.grounds;
        let icf = grounds.icf.as_deref().unwrap_or("unknown");
        let countries: Vec<&str> = grounds.jurisdictions.iter().map(String::as_str).collect();
        let consent = format!("consent {} version {}, form {icf}", grounds.consent, grounds.version);
        field("sample", &format!("{sample}: {consent}, {} in {}", grounds.item, countries.join(", ")));
    }
    for (key, value) in &core.manifest {
        field("manifest", &format!("{key}={value}"));
    }
    for lineage in &core.lineage {
        field("lineage", &format!("{} {}", lineage.relation, lineage.object));
    }
    let fragments = seal.fragments.iter().map(|fragment| {
        let size = bytes(fragment.body_bytes);
        vec![fragment.site.clone(), format!("{:02}", fragment.index), size, fragment.body_blake3.to_string()]
    });
    let (data, parity) = (core.erasure.data, core.erasure.parity);
    say(&format!("\nany {data} of {} fragments restore it:", u16::from(data) + u16::from(parity)));
    say(&table(&["site", "fragment", "size", "BLAKE3 of the body"], &fragments.collect::<Vec<_>>()));
    let sharing = &core.sharing;
    let shares = sharing
        .custodians
        .iter()
        .map(|holder| vec![holder.name.clone(), holder.index.to_string(), holder.epoch_key.to_string()]);
    let epoch = sharing.key_epoch;
    say(&format!(
        "\nwith any {} of {} custodians, key epoch {epoch}:",
        sharing.quorum,
        sharing.custodians.len()
    ));
    say(&table(&["custodian", "share", "SHA-256 of the epoch key"], &shares.collect::<Vec<_>>()));
}
