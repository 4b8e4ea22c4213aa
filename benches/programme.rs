//! A vault with everything that is needed to use it: 3+2 fragments over five sites, 2 of 3 custodians, permits.

use jobs::consent::{Basis, ConsentRecord, Register, Status};
use jobs::event::Node;
use jobs::policy::{
    Action, Actor, DataClass, Knowledge, OnDenied, Permit, Policy, Purpose, Question, Subject, decide,
};
use jobs::site::{Site, Sites};
use jobs::time::Timestamp;
use serde_json::json;
use std::path::{Path, PathBuf};
use storage::signed;
use storage::signing::SigningKey;
use storage::site::url_of;
use storage::vault::{
    AuditLog, Base64, Caller, InitOptions, ObjectId, RestoreRequest, SealRequest, Sealer, SiteEntry, Vault,
    custodian,
};
use storage::wrap::EpochKey;

const NOW: Timestamp = Timestamp::from_micros(1_770_000_000_000_000);
const PASSPHRASE: &str = "correct horse";
const SITES: u8 = 5;

/// A programme that has one vault.
pub struct Programme {
    folder: PathBuf,
    vault: Vault,
    sealer: Sealer,
    log: AuditLog,
    keys: Vec<EpochKey>,
    caller: Caller,
}

impl Programme {
    /// Makes vault, sites and ledgers in `folder`.
    pub fn new(folder: &Path) -> Self {
        let (custodians, keys) = (1..=3).map(|index| custodian(folder, index)).unzip();
        let site = |index: u8| SiteEntry {
            name: format!("site-{index}"),
            url: url_of(&folder.join(format!("site-{index}"))),
        };
        let options = InitOptions {
            name: "bench".to_owned(),
            data: 3,
            parity: 2,
            sites: (0..SITES).map(site).collect(),
            custodians,
            quorum: 2,
            site_losses: None,
            now: NOW,
        };
        let vault = Vault::init(&folder.join("vault"), &options, PASSPHRASE).expect("a vault");
        let sealer = vault.unlock(PASSPHRASE).expect("its passphrase");
        let log = sealer.open_log(&vault, Node::default()).expect("its log");
        let actor = jobs::event::Actor { sub: Some("ops-1".to_owned()), ..Default::default() };
        let caller = Caller { actor, ..Caller::default() };
        Programme { folder: folder.to_owned(), vault, sealer, log, keys, caller }
    }

    /// Seals a file.
    pub fn seal(&self, file: &Path) -> ObjectId {
        let request = SealRequest {
            file,
            expected: None,
            name: "a.cram",
            class: DataClass::Cram,
            level: 4,
            subjects: &[subject()],
            manifest: &Default::default(),
            lineage: &[],
            caller: &self.caller,
            now: NOW,
        };
        let permit = permit(Action::Archive);
        let sealed =
            self.vault.seal(&self.sealer, &permit, &self.log, &request, &mut |_| ()).expect("sealed");
        assert!(!sealed.already, "every file is another");
        sealed.id
    }

    /// Restores an object with two custodians' shares, the sites below `lost` being away.
    pub fn restore(&self, object: ObjectId, out: &Path, lost: u8) {
        let shares: Vec<_> = self.keys[1..]
            .iter()
            .map(|key| custodian::open_share(&self.vault, object, key).expect("a custodian's share"))
            .collect();
        let request = RestoreRequest {
            object,
            shares: &shares,
            findings: &[],
            out,
            sealer: Some(&self.sealer),
            caller: &self.caller,
            now: NOW,
        };
        let permit = permit(Action::Restore);
        let at = |site: u8, name: &str| self.folder.join(format!("{name}-{site}"));
        let rename = |from: &str, to: &str| {
            (0..lost).for_each(|site| std::fs::rename(at(site, from), at(site, to)).expect("a site"));
        };
        rename("site", "away");
        let restored = self.vault.restore(&permit, &self.log, &request, &mut |_| ()).expect("restored");
        rename("away", "site");
        assert_eq!(restored.findings.is_empty(), lost == 0, "{:?}", restored.findings);
    }
}

/// A custodian's document, with the name it came under, and key; the ledger is made.
fn custodian(folder: &Path, index: u8) -> ((String, Vec<u8>), EpochKey) {
    let ledger = folder.join(format!("ledger-{index}"));
    std::fs::create_dir_all(&ledger).expect("a ledger");
    let (identity, epoch) = (SigningKey::generate(), EpochKey::generate());
    let mut document = signed::keys_to_json(identity.public());
    document["format"] = json!("wakachi.custodian/1");
    document["name"] = json!(format!("custodian-{index}"));
    document["ledger"] = json!(url_of(&ledger));
    document["key_epoch"] = json!(1);
    document["epoch_key"] = json!(Base64(epoch.public().to_bytes().to_vec()));
    document["created"] = json!(NOW);
    let document = signed::write(&document, &identity).expect("a document");
    ((format!("custodian-{index}.pub.json"), document), epoch)
}

fn subject() -> Subject {
    Subject { sample: "S0001".to_owned(), participant: "P0001".to_owned() }
}

/// The permit that the gate gives to whoever may.
fn permit(action: Action) -> Permit {
    let mut register = Register { as_of: NOW, ..Register::default() };
    register.insert(ConsentRecord {
        id: "C-1".to_owned(),
        version: 1,
        participant: subject().participant,
        status: Status::Active,
        start: Some(Timestamp::from_micros(0)),
        end: None,
        basis: Basis::Own,
        items: ["clinical_return".to_owned()].into(),
        foreign_countries: [].into(),
        duo: Vec::new(),
        icf: None,
        updated: Timestamp::from_micros(0),
    });
    let policy = Policy {
        version: "1".to_owned(),
        sha256: "00".repeat(32),
        default_jurisdictions: ["JP".to_owned()].into(),
        consent_max_age_hours: 24,
        lease_ttl_seconds: 900,
        on_denied_sample: OnDenied::Refuse,
        levels: [(DataClass::Cram, 4)].into(),
    };
    let site = Site {
        id: "archive".to_owned(),
        jurisdiction: "JP".to_owned(),
        levels_max: 4,
        roles: ["compute".to_owned(), "share_holder".to_owned()].into(),
        attested_until: Some(NOW.plus_hours(24)),
        operator: String::new(),
    };
    let sites = Sites::from([(site.id.clone(), site)]);
    let actor = Actor { sub: "ops-1".to_owned(), org: "programme".to_owned(), role: "operator".to_owned() };
    let question = Question {
        action,
        actor: &actor,
        subjects: &[subject()],
        purpose: Some(Purpose::ClinicalReturn),
        disease: None,
        class: DataClass::Cram,
        site: "archive",
        now: NOW,
    };
    decide(&question, Knowledge { register: &register, policy: &policy, sites: &sites }).expect("a permit")
}
