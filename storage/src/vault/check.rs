//! Reads every byte of a vault that can be checked without a key, and says what is lost and what is left.
//!
//! Invariant: one bad site does not keep others from being read; nothing is changed.

use std::io::ErrorKind;

use super::core::AuditPosition;
use super::finding::{Damage, Finding, Part, Place, tidied};
use super::fragment::StoredFragment;
use super::hex::ObjectId;
use super::object::{Object, ObjectError};
use super::share::WrappedShare;
use super::{AUDIT_LOG, LINE_BYTES_MAX, OBJECTS, Vault, fragment_name, line, share_name};
use crate::audit::{self, AuditError, Leaf};
use crate::fragment::{FragmentHeader, HEADER_BYTES};
use crate::site::Store;
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
    /// The event before its encryption, where a seal is left to name it.
    #[serde(skip)]
    pub audit: Option<AuditPosition>,
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
    /// Checks all objects and the audit log, or the objects of `only`; `progress` is told the bytes read. What is being
    /// sealed meanwhile is left alone; an interrupted sealing that nobody goes on with is a finding.
    pub fn check(&self, only: Option<&[ObjectId]>, progress: &mut dyn FnMut(u64)) -> CheckReport {
        let mut report = CheckReport::default();
        self.check_sites(&mut report.findings);
        self.check_pending(&mut report.findings);
        let all = self.settled(|| {
            let mut ids = self.object_ids();
            ids.sort();
            [self.check_ledgers(&ids, &mut report.findings), ids].concat()
        });
        let ids = only.map_or(all, <[_]>::to_vec);
        for id in ids {
            let mut progressed = |bytes| {
                report.bytes += bytes;
                progress(report.bytes);
            };
            report.objects.extend(self.check_object(id, &mut report.findings, &mut progressed));
        }
        if only.is_none() {
            self.check_log(&report.objects, &mut report.findings);
        }
        report.findings = tidied(report.findings);
        report
    }

    /// Checks one object; `progress` is told the bytes of each block. `None`: what lies under its name was never one.
    pub(super) fn check_object(
        &self,
        id: ObjectId,
        findings: &mut Vec<Finding>,
        progress: &mut dyn FnMut(u64),
    ) -> Option<ObjectHealth> {
        let before = findings.len();
        let object = match self.object(id, findings) {
            Ok(object) => object,
            Err(error) => {
                let foreign = Damage::Foreign("nothing in it is of an object of this vault".to_owned());
                let strays = self.strays(id, &foreign);
                if !strays.is_empty() && !self.was_there(id) {
                    findings.truncate(before);
                    findings.extend(strays);
                    return None;
                }
                if let ObjectError::Unknown { .. } = error {
                    findings.extend(self.strays(id, &Damage::Unfinished));
                }
                return Some(self.lost(id));
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
        Some(ObjectHealth {
            id,
            name: Some(object.core.name.clone()),
            fragments_whole: tally.whole,
            fragments: object.code.k() + object.code.m(),
            shares_present,
            quorum,
            shares: object.seal.key_shares.len() as u8,
            restorable: margin.is_some(),
            margin: margin.unwrap_or(0),
            audit: Some(object.seal.audit),
        })
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
            audit: None,
        }
    }

    /// Sites that have a folder for an object that is not to be had.
    fn strays(&self, id: ObjectId, what: &Damage) -> Vec<Finding> {
        let strays = self.sites.iter().filter_map(|site| {
            let names = site.store.list(OBJECTS).unwrap_or_default();
            let place = Place::Site(site.name.clone());
            let what = what.clone();
            let finding = Finding { place, object: Some(id), fragment: None, part: Part::Stray, what };
            names.contains(&id.to_string()).then_some(finding)
        });
        strays.collect()
    }

    /// Whether anything is left that was written for this object in this vault: a folder that somebody made or copied
    /// under another id is none that could be lost.
    fn was_there(&self, id: ObjectId) -> bool {
        let is_fragment = |index| {
            self.sites.iter().any(|site| {
                let mut header = [0; HEADER_BYTES];
                let blob = site.store.open(&fragment_name(id, index)).ok().flatten();
                blob.is_some_and(|blob| blob.read(0, &mut header).is_ok())
                    && FragmentHeader::decode(&header).is_ok_and(|header| header.object == id.0)
            })
        };
        matches!(self.any_seal(id), Ok(Some(_)))
            || self.known_core(id).is_some_and(|core| core.vault == self.description.id)
            || (0..self.description.fragments() as u8).any(is_fragment)
            || self.ledgers.iter().any(|ledger| {
                let share = self.claimed(ledger.as_ref(), id);
                share.is_ok_and(|share| (share.object, share.vault) == (id, self.description.id))
            })
    }

    /// What a file in a ledger that has the name of a share of this object says it is; nothing of it is proved.
    fn claimed(&self, ledger: &dyn Store, id: ObjectId) -> Result<WrappedShare, Damage> {
        match ledger.get(&share_name(self.description.key_epoch(), id), LINE_BYTES_MAX) {
            Ok(Some(bytes)) => line::read(&bytes).map_err(|error| Damage::altered(&error)),
            Ok(None) => Err(Damage::Missing),
            Err(error) => Err(Damage::unreadable(&error)),
        }
    }

    /// Holds the audit log against the events that seals name.
    fn check_log(&self, objects: &[ObjectHealth], findings: &mut Vec<Finding>) {
        let leaves = objects.iter().filter_map(|object| object.audit);
        let mut leaves: Vec<Leaf> = leaves.map(|at| Leaf { seq: at.seq, sha256: at.sha256.0 }).collect();
        leaves.sort();
        let path = self.folder.join(AUDIT_LOG);
        let what = match (audit::verify_with(&path, Some(&self.sealer.ed25519), &leaves), leaves.first()) {
            (Ok(_), _) => return,
            (Err(AuditError::Missing { events, leaves, .. }), _) => {
                let first = leaves.first().map(Leaf::to_string).unwrap_or_default();
                Damage::Altered(format!(
                    "it ends after {events} events; the first that is missing is {first}"
                ))
            }
            (Err(AuditError::Unreadable { source, .. }), first) if source.kind() == ErrorKind::NotFound => {
                let Some(first) = first else { return };
                Damage::Altered(format!("it is gone; the first event that is missing is {first}"))
            }
            (Err(error @ (AuditError::Unreadable { .. } | AuditError::Disk(_))), _) => {
                Damage::unreadable(&error)
            }
            (Err(error), _) => Damage::altered(&error),
        };
        findings.push(Finding { place: Place::Vault, object: None, fragment: None, part: Part::Log, what });
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
            match ledger.list(&key_epoch.to_string()) {
                Ok(names) => {
                    let ids = names.iter().filter_map(|name| name.strip_suffix(".share.json")?.parse().ok());
                    for id in ids.filter(|id| known.binary_search(id).is_err()) {
                        let what = match self.claimed(ledger.as_ref(), id) {
                            Ok(share) if share.vault != self.description.id => continue,
                            Ok(share) if share.object == id => {
                                shared.push(id);
                                continue;
                            }
                            Ok(WrappedShare { object, custodian, index, .. }) => {
                                Damage::Foreign(format!("share {index} of {custodian}, object {object}"))
                            }
                            // Another vault's that was removed meanwhile.
                            Err(Damage::Missing) => continue,
                            Err(what) => what,
                        };
                        let place = Place::Ledger(custodian.name.clone());
                        let part = Part::Stray;
                        findings.push(Finding { place, object: Some(id), fragment: None, part, what });
                    }
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
