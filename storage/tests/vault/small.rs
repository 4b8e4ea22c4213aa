//! A small vault with everything that is needed to use it: 3+2 fragments over five sites, 2 of 3 custodians.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jobs::consent::{Basis, ConsentRecord, Register, Status};
use jobs::event::Node;
use jobs::policy::{
    Action, Actor, DataClass, Knowledge, OnDenied, Permit, Policy, Purpose, Question, Subject, decide,
};
use jobs::site::{Site, Sites};
use jobs::time::Timestamp;
use serde_json::json;
use storage::signed;
use storage::signing::SigningKey;
use storage::site::{Device, url_of};
use storage::vault::{
    AuditLog, Caller, FileDigest, InitOptions, Lineage, ObjectId, OpenedShare, RestoreError, RestoreRequest,
    Restored, SealError, SealRequest, Sealed, Sealer, SiteEntry, Vault, custodian,
};
use storage::wrap::EpochKey;
use tempfile::TempDir;

pub const NOW: Timestamp = Timestamp::from_micros(1_770_000_000_000_000);
pub const PASSPHRASE: &str = "correct horse";
/// Bytes of plaintext in a segment.
pub const PLAIN: usize = 65_504;

/// Sizes of a vault.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub data: u8,
    pub parity: u8,
    pub sites: u8,
    pub quorum: u8,
    pub custodians: u8,
}

pub const SMALL: Shape = Shape { data: 3, parity: 2, sites: 5, quorum: 2, custodians: 3 };

/// A vault in a folder of its own.
pub struct SmallVault {
    pub dir: TempDir,
    pub sealer: Sealer,
    /// Opening a log verifies it, which is dear where thousands of events are in it.
    pub log: AuditLog,
    pub keys: Vec<EpochKey>,
    pub caller: Caller,
    pub shape: Shape,
}

impl SmallVault {
    pub fn new(shape: Shape) -> Self {
        // In memory where there is such a place: thousands of syncs.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let (documents, keys) = custodians(dir.path(), shape.custodians);
        let vault =
            Vault::init(&dir.path().join("vault"), &options(dir.path(), shape, documents), PASSPHRASE)
                .unwrap();
        let sealer = vault.unlock(PASSPHRASE).unwrap();
        let actor = jobs::event::Actor { sub: Some("ops-1".to_owned()), ..Default::default() };
        let log = sealer.open_log(&vault, Node::default()).unwrap();
        SmallVault { dir, sealer, log, keys, caller: Caller { actor, ..Caller::default() }, shape }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn site(&self, index: u8) -> PathBuf {
        self.path(&format!("site-{index}"))
    }

    pub fn ledger(&self, index: u8) -> PathBuf {
        self.path(&format!("ledger-{index}"))
    }

    pub fn folder(&self, site: u8, id: ObjectId) -> PathBuf {
        self.site(site).join(format!("objects/{id}"))
    }

    /// Fragments go round over the sites.
    pub fn fragment(&self, index: u8, id: ObjectId) -> PathBuf {
        self.folder(index % self.shape.sites, id).join(format!("{index:02}.fragment"))
    }

    pub fn share(&self, custodian: u8, id: ObjectId) -> PathBuf {
        self.ledger(custodian).join(format!("1/{id}.share.json"))
    }

    pub fn vault(&self) -> Vault {
        Vault::open(&self.path("vault")).unwrap()
    }

    pub fn vault_on(&self, device: Arc<dyn Device>) -> Vault {
        Vault::open_on(&self.path("vault"), device).unwrap()
    }

    /// Seals a file with this content.
    pub fn seal(&self, name: &str, content: &[u8]) -> ObjectId {
        let vault = self.vault();
        self.seal_with(&vault, name, content).unwrap().id
    }

    pub fn seal_with(&self, vault: &Vault, name: &str, content: &[u8]) -> Result<Sealed, SealError> {
        let file = self.path(name);
        std::fs::write(&file, content).unwrap();
        self.seal_file(vault, &file, &permit(Action::Archive, DataClass::Cram, NOW), &[], &mut |_| {})
    }

    pub fn seal_file(
        &self,
        vault: &Vault,
        file: &Path,
        permit: &Permit,
        lineage: &[Lineage],
        progress: &mut dyn FnMut(u64),
    ) -> Result<Sealed, SealError> {
        self.seal_expected(vault, (file, None), permit, lineage, progress)
    }

    pub fn seal_expected(
        &self,
        vault: &Vault,
        (file, expected): (&Path, Option<FileDigest>),
        permit: &Permit,
        lineage: &[Lineage],
        progress: &mut dyn FnMut(u64),
    ) -> Result<Sealed, SealError> {
        let request = SealRequest {
            file,
            expected,
            name: file.file_name().unwrap().to_str().unwrap(),
            class: DataClass::Cram,
            level: 4,
            subjects: &[subject()],
            manifest: &BTreeMap::from([("run".to_owned(), "j1".to_owned())]),
            lineage,
            caller: &self.caller,
            now: NOW,
        };
        vault.seal(&self.sealer, permit, &self.log, &request, progress)
    }

    /// Shares of these custodians, from 1.
    pub fn shares(&self, vault: &Vault, id: ObjectId, custodians: &[u8]) -> Vec<OpenedShare> {
        let open = |index: &u8| custodian::open_share(vault, id, &self.keys[usize::from(*index) - 1]).ok();
        custodians.iter().filter_map(open).collect()
    }

    /// Restores with the shares of these custodians, from 1: the bytes and what was found.
    pub fn restore(&self, id: ObjectId, custodians: &[u8]) -> Result<(Vec<u8>, Restored), RestoreError> {
        let vault = self.vault();
        let shares = self.shares(&vault, id, custodians);
        self.restore_with(&vault, id, &shares)
    }

    pub fn restore_with(
        &self,
        vault: &Vault,
        id: ObjectId,
        shares: &[OpenedShare],
    ) -> Result<(Vec<u8>, Restored), RestoreError> {
        let out = self.path("restored");
        let request = RestoreRequest {
            object: id,
            shares,
            findings: &[],
            out: &out,
            sealer: Some(&self.sealer),
            caller: &self.caller,
            now: NOW,
        };
        let permit = permit(Action::Restore, DataClass::Cram, NOW);
        let restored = vault.restore(&permit, &self.log, &request, &mut |_| {});
        let bytes = std::fs::read(&out);
        match restored {
            Ok(restored) => {
                let mode = std::fs::metadata(&out).unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600, "what was restored is its owner's alone");
                std::fs::remove_file(&out).unwrap();
                Ok((bytes.unwrap(), restored))
            }
            Err(error) => {
                assert!(bytes.is_err(), "a failed restore leaves no output: {error}");
                Err(error)
            }
        }
    }

    /// Every file at sites and in ledgers.
    pub fn stored(&self) -> Vec<PathBuf> {
        let sites = (0..self.shape.sites).map(|site| self.site(site));
        let ledgers = (1..=self.shape.custodians).map(|custodian| self.ledger(custodian));
        sites.chain(ledgers).flat_map(|folder| files(&folder)).collect()
    }
}

/// Writes a request for the shares of an object to `request.json`, in force for an hour.
pub fn ask(
    small: &SmallVault,
    id: ObjectId,
    caller: &Caller,
) -> Result<custodian::Requested, custodian::CustodianError> {
    let vault = small.vault();
    let request = custodian::ReleaseRequest {
        object: id,
        file: &small.path("request.json"),
        expires_at: NOW.plus_hours(1),
        caller,
        now: NOW,
    };
    let permit = permit(Action::Restore, DataClass::Cram, NOW);
    custodian::request(&vault, &small.sealer, &permit, &small.log, &request, PASSPHRASE)
}

/// Documents and keys of custodians whose ledgers lie in `dir`; without key files, which cost time by design.
pub fn custodians(dir: &Path, count: u8) -> (Vec<(String, Vec<u8>)>, Vec<EpochKey>) {
    let one = |index: u8| {
        let ledger = dir.join(format!("ledger-{index}"));
        std::fs::create_dir_all(&ledger).unwrap();
        let (identity, epoch) = (SigningKey::generate(), EpochKey::generate());
        let mut document = signed::keys_to_json(identity.public());
        document["format"] = json!("wakachi.custodian/1");
        document["name"] = json!(format!("custodian-{index}"));
        document["ledger"] = json!(url_of(&ledger));
        document["key_epoch"] = json!(1);
        document["epoch_key"] = json!(base64(&epoch.public().to_bytes()));
        document["created"] = json!(NOW);
        ((format!("custodian-{index}.pub.json"), signed::write(&document, &identity).unwrap()), epoch)
    };
    (1..=count).map(one).unzip()
}

pub fn options(dir: &Path, shape: Shape, custodians: Vec<(String, Vec<u8>)>) -> InitOptions {
    let site = |index: u8| SiteEntry {
        name: format!("site-{index}"),
        url: url_of(&dir.join(format!("site-{index}"))),
    };
    InitOptions {
        name: "small".to_owned(),
        data: shape.data,
        parity: shape.parity,
        sites: (0..shape.sites).map(site).collect(),
        custodians,
        quorum: shape.quorum,
        site_losses: None,
        now: NOW,
    }
}

fn base64(bytes: &[u8]) -> String {
    serde_json::to_value(storage::vault::Base64(bytes.to_vec())).unwrap().as_str().unwrap().to_owned()
}

pub fn subject() -> Subject {
    Subject { sample: "NA12878".to_owned(), participant: "P-0001".to_owned() }
}

/// A permit as the programme gives it to whoever may.
pub fn permit(action: Action, class: DataClass, now: Timestamp) -> Permit {
    let mut register = Register { as_of: now, ..Register::default() };
    register.insert(ConsentRecord {
        id: "C-1".to_owned(),
        version: 2,
        participant: subject().participant,
        status: Status::Active,
        start: Some(Timestamp::from_micros(0)),
        end: None,
        basis: Basis::Own,
        items: ["clinical_return".to_owned()].into(),
        foreign_countries: [].into(),
        duo: Vec::new(),
        icf: Some("unified:2.1".to_owned()),
        updated: Timestamp::from_micros(0),
    });
    let policy = Policy {
        version: "1".to_owned(),
        sha256: "00".repeat(32),
        default_jurisdictions: ["JP".to_owned()].into(),
        consent_max_age_hours: 24,
        lease_ttl_seconds: 900,
        on_denied_sample: OnDenied::Refuse,
        levels: [(DataClass::Cram, 4), (DataClass::Vcf, 3)].into(),
    };
    let site = Site {
        id: "archive".to_owned(),
        jurisdiction: "JP".to_owned(),
        levels_max: 4,
        roles: ["compute".to_owned(), "share_holder".to_owned()].into(),
        attested_until: Some(now.plus_hours(24)),
        operator: String::new(),
    };
    let sites = Sites::from([(site.id.clone(), site)]);
    let actor = Actor { sub: "ops-1".to_owned(), org: "ncc".to_owned(), role: "operator".to_owned() };
    let question = Question {
        action,
        actor: &actor,
        subjects: &[subject()],
        purpose: Some(Purpose::ClinicalReturn),
        disease: None,
        class,
        site: "archive",
        now,
    };
    decide(&question, Knowledge { register: &register, policy: &policy, sites: &sites }).unwrap()
}

/// Bytes that do not repeat (xorshift64*).
pub fn content(bytes: usize, seed: u64) -> Vec<u8> {
    let mut random = Random(seed.wrapping_mul(2).wrapping_add(1));
    (0..bytes).map(|_| random.next() as u8).collect()
}

pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// The files below a folder, sorted.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => files.push(entry.path()),
            }
        }
    }
    files.sort();
    files
}

/// All choices of some of `of` things, from 0.
pub fn choices(of: u8) -> impl Iterator<Item = Vec<u8>> {
    (0u32..1 << of).map(move |bits| (0..of).filter(|index| bits >> index & 1 == 1).collect())
}
