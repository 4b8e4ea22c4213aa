//! `wakachi vault init`: a new vault, and in numbers what it survives.

use super::VaultArgs;
use super::gate_file::GateArgs;
use crate::cohort;
use crate::gate::GateFiles;
use crate::output::{self, Format, note, say, table};
use crate::passphrase::PassphraseArgs;
use jobs::failure::{Class, Classified, Failure};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use storage::site::folder_of;
use storage::vault::{Description, InitOptions, SiteEntry, Vault, read_handed};
use workers::access::now;

/// Makes a vault, if the stated loss of sites is survivable
///
/// Fragments go round over the sites in their order. With the passphrase the vault's own key can seal and ask custodians;
/// it opens nothing: for that a quorum of custodians is needed. Back up the vault's folder all the same.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wakachi vault init --vault vault --site tokyo=file:///mnt/tokyo --site file:///mnt/osaka ... \\
    --custodian a.pub.json --custodian b.pub.json ... --cohort cohort.toml
  wakachi vault init --vault small --data 3 --parity 2 --quorum 2 --survive-sites 2 \\
    --site file:///mnt/a --site file:///mnt/b --site file:///mnt/c \\
    --site file:///mnt/d --site file:///mnt/e \\
    --custodian a.pub.json --custodian b.pub.json --custodian c.pub.json \\
    --consent consent.json --sites sites.toml --at here --purpose research

Exit codes: 0 made; 2 it would not survive what is stated, or a URL or number is wrong; 3 a custodian's document is \
  not one; 6 its signatures do not hold.")]
pub struct Args {
    #[command(flatten)]
    vault: VaultArgs,
    /// A site's store, as file:///PATH, with a name if its last part is not to be one; once for each site
    #[arg(long = "site", value_name = "[NAME=]URL", required = true)]
    stores: Vec<String>,
    /// Data fragments of each object: so many restore it
    #[arg(long, value_name = "K", default_value_t = 10)]
    data: u8,
    /// Parity fragments of each object: so many may be lost
    #[arg(long, value_name = "M", default_value_t = 4)]
    parity: u8,
    /// A custodian's document; once for each custodian
    #[arg(long = "custodian", value_name = "NAME.pub.json", required = true)]
    custodians: Vec<PathBuf>,
    /// So many custodians restore
    #[arg(long, value_name = "T", default_value_t = 4)]
    quorum: u8,
    /// Refuse unless so many sites may be lost, whichever [default: as many as may be]
    #[arg(long, value_name = "F")]
    survive_sites: Option<u8>,
    /// Name of the vault [default: that of its folder]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Take consents, policy, sites and purpose from this cohort file
    #[arg(long, value_name = "COHORT.toml", conflicts_with_all = ["consent", "policy", "sites", "site", "purpose", "disease"])]
    cohort: Option<PathBuf>,
    #[command(flatten)]
    gate: GateArgs,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// A URL without a name in it.
#[derive(Debug, thiserror::Error)]
#[error("--site {url}: its last part is no name for a site")]
struct NamelessSite {
    url: String,
}

impl Classified for NamelessSite {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        Some(format!("give --site NAME={}", self.url))
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let folder = &args.vault.folder;
    let gate = match &args.cohort {
        Some(path) => GateFiles::of_cohort(&cohort::load_sheet(path)?, None)?.into(),
        None => args.gate.clone(),
    };
    let own_name = || std::path::absolute(folder).ok()?.file_name()?.to_str().map(str::to_owned);
    let read =
        |path: &PathBuf| -> Result<_, Failure> { Ok((path.display().to_string(), read_handed(path)?)) };
    let options = InitOptions {
        name: args.name.clone().or_else(own_name).unwrap_or_else(|| "vault".to_owned()),
        data: args.data,
        parity: args.parity,
        sites: args.stores.iter().map(|store| site(store)).collect::<Result<_, _>>()?,
        custodians: args.custodians.iter().map(read).collect::<Result<_, _>>()?,
        quorum: args.quorum,
        site_losses: args.survive_sites,
        now: now(),
    };
    let passphrase = args.passphrase.choose(&format!("the keys of vault {}", options.name))?;
    let vault = Vault::init(folder, &options, &passphrase)?;
    gate.write(folder)?;
    let description = vault.description();
    let warnings = warnings(description);
    match args.output {
        Format::Json => output::json(&json(&vault, &warnings)),
        Format::Table => print(&vault),
        Format::Quiet => {}
    }
    warnings.iter().for_each(|warning| note(&format!("warning: {warning}")));
    Ok(())
}

/// `[NAME=]URL`; what stands before `=` is a name if it could not be the beginning of a URL.
fn site(text: &str) -> Result<SiteEntry, NamelessSite> {
    if let Some((name, url)) = text.split_once('=').filter(|(name, _)| !name.contains([':', '/'])) {
        return Ok(SiteEntry { name: name.to_owned(), url: url.to_owned() });
    }
    let name = text.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match !name.is_empty() && name.chars().all(is_name) {
        true => Ok(SiteEntry { name: name.to_owned(), url: text.to_owned() }),
        false => Err(NamelessSite { url: text.to_owned() }),
    }
}

/// Fragments that lie at each site, in the order of the sites.
fn placement(description: &Description) -> Vec<Vec<u8>> {
    let sites = description.sites.len();
    let at = |site| (0..description.fragments()).skip(site).step_by(sites).map(|index| index as u8).collect();
    (0..sites).map(at).collect()
}

/// Fewest fragments that are left when so many sites are lost, for 0, 1, 2 .. sites.
fn fragments_left(description: &Description) -> Vec<usize> {
    let mut loads: Vec<usize> = placement(description).iter().map(Vec::len).collect();
    loads.sort_unstable_by(|a, b| b.cmp(a));
    let mut left = description.fragments();
    let after = loads.into_iter().map(|load| {
        left -= load;
        left
    });
    std::iter::once(description.fragments()).chain(after).collect()
}

/// What lies on one filesystem, and will be lost, or read, together.
fn warnings(description: &Description) -> Vec<String> {
    let ledgers = description.custodians.iter().map(|one| (one.name.as_str(), one.ledger.as_str()));
    let sites = description.sites.iter().map(|one| (one.name.as_str(), one.url.as_str()));
    let ledgers = together(ledgers).into_iter().filter(|names| names.len() >= description.quorum.into());
    let ledgers = ledgers.map(|names| {
        let names = names.join(", ");
        format!(
            "the ledgers of {names} lie on one filesystem: one machine holding all custodians is no quorum"
        )
    });
    let losses = usize::from(description.site_losses);
    let sites = together(sites).into_iter().filter(|names| names.len() > losses);
    let sites = sites.map(|names| {
        let names = names.join(", ");
        format!("the sites {names} lie on one filesystem: what destroys it destroys more than the {losses} that may be lost")
    });
    ledgers.chain(sites).collect()
}

/// Names whose stores lie on the same filesystem.
fn together<'a>(stores: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Vec<&'a str>> {
    let mut devices: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for (name, url) in stores {
        let metadata = folder_of(url).ok().and_then(|folder| fs::metadata(folder).ok());
        if let Some(metadata) = metadata {
            devices.entry(metadata.dev()).or_default().push(name);
        }
    }
    devices.into_values().collect()
}

fn json(vault: &Vault, warnings: &[String]) -> serde_json::Value {
    let description = vault.description();
    let sites = description.sites.iter().zip(placement(description)).map(
        |(site, fragments)| serde_json::json!({ "name": site.name, "url": site.url, "fragments": fragments }),
    );
    let custodians = description.custodians.iter().map(|custodian| {
        serde_json::json!({ "name": custodian.name, "ledger": custodian.ledger, "key_epoch": custodian.key_epoch })
    });
    serde_json::json!({
        "schema": "wakachi.vault-init/1",
        "vault": vault.folder().to_string_lossy(),
        "id": description.id,
        "name": description.name,
        "sealer": vault.sealer_id(),
        "data": description.data,
        "parity": description.parity,
        "quorum": description.quorum,
        "site_losses": description.site_losses,
        "sites": sites.collect::<Vec<_>>(),
        "custodians": custodians.collect::<Vec<_>>(),
        "warnings": warnings,
    })
}

fn print(vault: &Vault) {
    let description = vault.description();
    let Description { data, parity, quorum, .. } = *description;
    let (sites, custodians) = (description.sites.len(), description.custodians.len());
    say(&format!(
        "vault {} ({}): {data}+{parity} fragments over {sites} sites, {quorum} of {custodians} custodians\n",
        description.name, description.id
    ));
    let rows = description.sites.iter().zip(placement(description)).map(|(site, fragments)| {
        let fragments: Vec<String> = fragments.iter().map(|index| format!("{index:02}")).collect();
        vec![site.name.clone(), fragments.join(" "), site.url.clone()]
    });
    say(&table(&["site", "fragments", "store"], &rows.collect::<Vec<_>>()));
    let rows =
        description.custodians.iter().enumerate().map(|(at, custodian)| {
            vec![custodian.name.clone(), (at + 1).to_string(), custodian.ledger.clone()]
        });
    say(&format!("\n{}", table(&["custodian", "share", "ledger"], &rows.collect::<Vec<_>>())));
    say(&format!("\n{}", table(&["if these are lost", "left", "needed", "objects"], &losses(description))));
    say(&format!("\nsealer {}: custodians compare it by telephone, not by file", vault.sealer_id()));
}

/// Every loss that is survived, and the first that is not.
fn losses(description: &Description) -> Vec<Vec<String>> {
    let row = |what: String, left: usize, needed: u8, kind: &str| {
        let state = if left >= usize::from(needed) { "come back" } else { "do not come back" };
        vec![what, format!("{left} {kind}"), needed.to_string(), state.to_owned()]
    };
    let (data, quorum) = (description.data, description.quorum);
    let (sites, custodians) = (description.sites.len(), description.custodians.len());
    let left = fragments_left(description);
    let enough = left.iter().filter(|left| **left >= data.into()).count();
    let by_site = left.into_iter().enumerate().skip(1).take(enough);
    let by_site =
        by_site.map(|(lost, left)| row(format!("any {lost} of {sites} sites"), left, data, "fragments"));
    let by_custodian = (1..=custodians).take(custodians + 1 - usize::from(quorum)).map(|lost| {
        row(format!("any {lost} of {custodians} custodians"), custodians - lost, quorum, "shares")
    });
    by_site.chain(by_custodian).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites_are_named_by_the_user_or_by_their_urls() {
        let check = |text: &str, expect: Option<(&str, &str)>| {
            let found = site(text).ok().map(|site| (site.name, site.url));
            assert_eq!(found, expect.map(|(name, url)| (name.to_owned(), url.to_owned())), "{text}");
        };
        check("tokyo=file:///mnt/t", Some(("tokyo", "file:///mnt/t")));
        check("file:///mnt/osaka/", Some(("osaka", "file:///mnt/osaka/")));
        check("file:///mnt/a=b", None);
        check("s3://bucket", Some(("bucket", "s3://bucket")));
        check("file:///", None);
    }
}
