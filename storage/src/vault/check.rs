//! Reads every byte of a vault that can be checked without a key, and says what is lost and what is left.
//!
//! Invariant: one bad site does not keep others from being read; nothing is changed.

use super::core::AuditPosition;
use super::finding::{Damage, Finding, Part, Place, tidied};
use super::fragment::StoredFragment;
use super::hex::ObjectId;
use super::object::{Object, ObjectError};
use super::share::WrappedShare;
use super::{LINE_BYTES_MAX, OBJECTS, Vault, fragment_name, line, share_name};
use crate::audit::Leaf;
use crate::tree::BLOCK_BYTES;

/// How an object stands.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ObjectHealth {
    /// The object.
    pub id: ObjectId,
    /// Name of the sealed file, where a core is left to say it.
    pub name: Option<String>,
    /// Fragments without any finding.
    pub fragments_whole: u8,
    /// Fragments it has, k+m.
    pub fragments: u8,
    /// Ledgers in which its share lies as it should.
    pub shares_present: u8,
    /// Custodians that are needed, t.
    pub quorum: u8,
    /// Shares it has, n.
    pub shares: u8,
    /// Whether what is left restores it, given a quorum of the custodians whose shares are there.
    pub restorable: bool,
    /// Whole fragments that may still be lost; 0 where it is not restorable.
    pub margin: u8,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct CheckReport {
    /// Each object that was looked at.
    pub objects: Vec<ObjectHealth>,
    /// Everything amiss, in order.
    pub findings: Vec<Finding>,
    /// Bytes of fragments that were read.
    pub bytes: u64,
}

impl CheckReport {
    /// Whether every object can be restored.
    pub fn restorable(&self) -> bool {
        self.objects.iter().all(|object| object.restorable)
    }
}

impl Vault {
    /// Checks all objects, or those of `only`; `progress` is told the bytes read. Wrapped shares are checked for being there,
    /// for their form and for whose they are; whether `enc` and `ct` still open, only the custodian's key can tell. What is
    /// being sealed meanwhile is left alone; an interrupted sealing that nobody goes on with is a finding.
    pub fn check(&self, only: Option<&[ObjectId]>, progress: &mut dyn FnMut(u64)) -> CheckReport {
        let mut report = CheckReport::default();
        self.check_sites(&mut report.findings);
        self.check_pending(&mut report.findings);
        let all = self.settled(|| {
            let ids = self.object_ids();
            [self.check_ledgers(&ids, &mut report.findings), ids].concat()
        });
        let ids = only.map_or(all, <[_]>::to_vec);
        for id in ids {
            let mut progressed = |bytes| {
                report.bytes += bytes;
                progress(report.bytes);
            };
            let (health, _) = self.check_object(id, &mut report.findings, &mut progressed);
            report.objects.push(health);
        }
        report.findings = tidied(report.findings);
        report
    }

    /// Checks one object, and gives the event that its seal names; `progress` is told the bytes of each block.
    pub(super) fn check_object(
        &self,
        id: ObjectId,
        findings: &mut Vec<Finding>,
        progress: &mut dyn FnMut(u64),
    ) -> (ObjectHealth, Option<Leaf>) {
        let object = match self.object(id, findings) {
            Ok(object) => object,
            Err(error) => {
                if let ObjectError::Unknown { .. } = error {
                    self.name_unfinished(id, findings);
                }
                return (self.lost(id), None);
            }
        };
        let mut tally = Tally::new(&object);
        for index in 0..object.code.k() + object.code.m() {
            let before = findings.len();
            let fragment = self.fragment(&object, index, findings);
            tally.count(fragment, &object, findings, progress);
            tally.whole += u8::from(findings.len() == before);
        }
        self.check_strays(&object, findings);
        let held = object.core.sharing.custodians.iter().map(|holder| self.share(&object, holder));
        let (present, absent): (Vec<_>, Vec<_>) = held.partition(Result::is_ok);
        findings.extend(absent.into_iter().filter_map(Result::err));
        let (quorum, shares_present) = (object.core.sharing.quorum, present.len() as u8);
        let margin = tally.margin(object.code.k()).filter(|_| shares_present >= quorum);
        let AuditPosition { seq, sha256 } = object.seal.audit;
        let health = ObjectHealth {
            id,
            name: Some(object.core.name.clone()),
            fragments_whole: tally.whole,
            fragments: object.code.k() + object.code.m(),
            shares_present,
            quorum,
            shares: object.seal.key_shares.len() as u8,
            restorable: margin.is_some(),
            margin: margin.unwrap_or(0),
        };
        (health, Some(Leaf { seq, sha256: sha256.0 }))
    }

    /// An object of which no pair of documents is left.
    fn lost(&self, id: ObjectId) -> ObjectHealth {
        // Shares are found by what the core says; without it, by where they lie in this vault.
        let shares_present = self.description.custodians.iter().zip(&self.ledgers).filter(|(_, ledger)| {
            let name = share_name(self.description.key_epoch(), id);
            ledger.open(&name).is_ok_and(|share| share.is_some())
        });
        let shares_present = shares_present.count() as u8;
        ObjectHealth {
            id,
            name: self.known_core(id).map(|core| core.name.clone()),
            fragments_whole: 0,
            fragments: self.description.fragments() as u8,
            shares_present,
            quorum: self.description.quorum,
            shares: self.description.custodians.len() as u8,
            restorable: false,
            margin: 0,
        }
    }

    /// Names sites that have something of an object of which no site has a seal.
    fn name_unfinished(&self, id: ObjectId, findings: &mut Vec<Finding>) {
        findings.extend(self.sites.iter().filter_map(|site| {
            let there = site.store.list(&format!("{OBJECTS}/{id}")).is_ok_and(|names| !names.is_empty());
            let place = Place::Site(site.name.clone());
            let what = Damage::Unfinished;
            there.then_some(Finding { place, object: Some(id), fragment: None, part: Part::Stray, what })
        }));
    }

    /// Names files that lie with an object and do not belong there.
    fn check_strays(&self, object: &Object, findings: &mut Vec<Finding>) {
        for site in &self.sites {
            let folder = format!("{OBJECTS}/{}", object.id);
            let belongs = |name: &str| {
                let mut here = object.seal.fragments.iter().filter(|entry| entry.site == site.name);
                let file = format!("{folder}/{name}");
                ["core.json", "seal.json"].contains(&name)
                    || here.any(|entry| fragment_name(object.id, entry.index) == file)
            };
            let names = site.store.list(&folder).unwrap_or_default();
            findings.extend(names.iter().filter(|name| !belongs(name)).map(|name| Finding {
                place: Place::Site(site.name.clone()),
                object: Some(object.id),
                fragment: None,
                part: Part::Stray,
                what: Damage::Foreign(name.clone()),
            }));
        }
    }

    /// Objects of this vault beside the `known` ones of which a share lies in a ledger; a custodian may hold shares for
    /// other vaults too. Ledgers that do not answer are named.
    fn check_ledgers(&self, known: &[ObjectId], findings: &mut Vec<Finding>) -> Vec<ObjectId> {
        let mut shared = Vec::new();
        let key_epoch = self.description.key_epoch();
        for (custodian, ledger) in self.description.custodians.iter().zip(&self.ledgers) {
            let is_foreign = |id: &ObjectId| {
                let bytes = ledger.get(&share_name(key_epoch, *id), LINE_BYTES_MAX);
                let share = bytes.ok().flatten().and_then(|bytes| line::read(&bytes).ok());
                share.is_some_and(|share: WrappedShare| share.vault != self.description.id)
            };
            match ledger.list(&key_epoch.to_string()) {
                Ok(names) => {
                    let ids = names.iter().filter_map(|name| name.strip_suffix(".share.json")?.parse().ok());
                    shared.extend(ids.filter(|id| known.binary_search(id).is_err() && !is_foreign(id)));
                }
                Err(error) => findings.push(Finding {
                    place: Place::Ledger(custodian.name.clone()),
                    object: None,
                    fragment: None,
                    part: Part::Whole,
                    what: Damage::unreadable(&error),
                }),
            }
        }
        shared
    }
}

/// What was counted of an object's fragments.
struct Tally {
    /// Blocks of each row that are as they were sealed; those that a short row never had are among them.
    rows: Vec<u8>,
    shares: u8,
    whole: u8,
}

impl Tally {
    fn new(object: &Object) -> Self {
        Tally { rows: vec![0; object.geometry.rows() as usize], shares: 0, whole: 0 }
    }

    /// Reads all blocks of a fragment.
    fn count(
        &mut self,
        mut fragment: StoredFragment,
        object: &Object,
        findings: &mut Vec<Finding>,
        progress: &mut dyn FnMut(u64),
    ) {
        self.shares += u8::from(fragment.share.is_some());
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        for (row, sound) in (0..).zip(&mut self.rows) {
            let never_was = object.geometry.block_bytes(fragment.index, row) == 0;
            *sound += u8::from(never_was || fragment.block(row, &mut block, findings));
            progress(if never_was { 0 } else { block.len() as u64 });
        }
    }

    /// Fragments that may still be lost; `None`: one is missing already.
    fn margin(&self, k: u8) -> Option<u8> {
        let least = self.rows.iter().copied().chain([self.shares]).min();
        least.unwrap_or(0).checked_sub(k)
    }
}
