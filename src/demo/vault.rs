//! What the report shows of the demo's vault: read from the vault itself, after the loss.
//!
//! Must not know what was destroyed: it says what the vault's own check finds.

use super::Step;
use super::script::Trial;
use jobs::failure::Failure;
use std::path::Path;
use storage::vault::{Finding, ObjectId, ObjectSummary, Part, Place, Vault};
use workers::report::{RestoreOutcome, VaultFragment, VaultObject, VaultPlace, VaultRestore, VaultSection};

/// Where all of it lies, which a quorum must not.
const ONE_MACHINE: &str = "Every site and every custodian of this demo lies on one machine. That shows how a \
    quorum works, and is no quorum: whoever has the machine has everything. Real custodians are people, each with a machine \
    of their own.";

/// What came of an attempt whose line ended as expected.
pub fn outcome(trial: Trial, step: &Step) -> VaultRestore {
    let outcome = match step.exit_code {
        0 => RestoreOutcome::Identical,
        exit_code => RestoreOutcome::Refused { exit_code, reason: reason(&step.said) },
    };
    VaultRestore { object: trial.object, custodians: trial.custodians, outcome }
}

/// The error in what a command said.
fn reason(said: &str) -> String {
    said.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or_default().to_owned()
}

/// Everything that lies in a vault, and what of it is lost.
pub fn section(folder: &Path, restores: Vec<VaultRestore>) -> Result<VaultSection, Failure> {
    let vault = Vault::open(folder)?;
    let findings = vault.check(None, &mut |_| ()).findings;
    let is_lost =
        |place| findings.iter().any(|finding| finding.place == place && finding.part == Part::Whole);
    let description = vault.description();
    let site = |site: &storage::vault::SiteEntry| VaultPlace {
        name: site.name.clone(),
        lost: is_lost(Place::Site(site.name.clone())),
    };
    let custodian = |custodian: &storage::vault::Custodian| VaultPlace {
        name: custodian.name.clone(),
        lost: is_lost(Place::Ledger(custodian.name.clone())),
    };
    let objects = vault.list().objects;
    let objects = objects.iter().map(|summary| object(&vault, summary, &findings));
    Ok(VaultSection {
        data: description.data,
        parity: description.parity,
        quorum: description.quorum,
        sites: description.sites.iter().map(site).collect(),
        custodians: description.custodians.iter().map(custodian).collect(),
        objects: objects.collect::<Result<_, _>>()?,
        restores,
        note: ONE_MACHINE.to_owned(),
    })
}

fn object(vault: &Vault, summary: &ObjectSummary, findings: &[Finding]) -> Result<VaultObject, Failure> {
    let ObjectSummary { id, name, class, samples, plaintext_bytes, .. } = summary;
    let description = vault.description();
    let seal = vault.info(*id)?.seal;
    let fragments = seal.fragments.iter().map(|entry| {
        let place = Place::Site(entry.site.clone());
        let concerns = |finding: &Finding| finding.fragment == Some(entry.index);
        VaultFragment {
            index: entry.index,
            site: entry.site.clone(),
            whole: !is_damaged(findings, &place, *id, concerns),
        }
    });
    let shares = description.custodians.iter().map(|custodian| {
        let place = Place::Ledger(custodian.name.clone());
        !is_damaged(findings, &place, *id, |finding| matches!(finding.part, Part::Share(_)))
    });
    Ok(VaultObject {
        id: id.to_string(),
        name: name.clone(),
        class: class.name().to_owned(),
        // A file of all samples belongs to none of them.
        sample: samples.first().filter(|_| samples.len() == 1).cloned(),
        bytes: *plaintext_bytes,
        fragments: fragments.collect(),
        shares: shares.collect(),
    })
}

/// Whether the place is lost, or what of the object `concerns` us there is not as it was written.
fn is_damaged(
    findings: &[Finding],
    place: &Place,
    id: ObjectId,
    concerns: impl Fn(&Finding) -> bool,
) -> bool {
    let here = findings.iter().filter(|finding| finding.place == *place);
    here.into_iter()
        .any(|finding| finding.part == Part::Whole || finding.object == Some(id) && concerns(finding))
}
