//! Reads the two documents of an object from all their replicas.
//!
//! Invariant: an [`Object`] comes from a core and a seal that the vault's sealer signed, that name this object and this
//! vault, and whose numbers fit each other; everything that steers memory or loops later comes from here. Every replica
//! that is not the same is a finding.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use jobs::failure::{Class, Classified};
use serde_json::Value;

use super::core::{Core, Seal};
use super::finding::{Damage, Finding, Part, Place};
use super::hex::{Digest, ObjectId};
use super::{DESCRIPTION, DOCUMENT_BYTES_MAX, OBJECTS, Vault, core_name, seal_name};
use crate::erasure::Code;
use crate::fragment::Geometry;
use crate::shamir::Kind;
use crate::signed;

/// Of a document that the sealer signed and that differs from the one believed.
const OTHER: &str = "signed, but not the one that counts";

/// An object as its documents say it is.
#[derive(Debug)]
pub(super) struct Object {
    pub id: ObjectId,
    pub core: Arc<Core>,
    pub core_sha256: Digest,
    pub seal: Seal,
    pub code: Code,
    pub geometry: Geometry,
}

impl Object {
    /// The shares' commitments by their index from 1.
    pub fn commitments(&self, kind: Kind) -> BTreeMap<u8, [u8; 32]> {
        match kind {
            Kind::Custodian => {
                self.seal.key_shares.iter().map(|share| (share.index, share.share_sha256.0)).collect()
            }
            Kind::Fragment => {
                self.seal.fragments.iter().map(|entry| (entry.index + 1, entry.share_sha256.0)).collect()
            }
        }
    }
}

/// One of an object's documents as found at a site.
struct Replica<T> {
    site: usize,
    bytes: Vec<u8>,
    document: T,
}

impl Vault {
    /// Reads an object's documents; what is amiss with replicas is added to `findings`.
    pub(super) fn object(&self, id: ObjectId, findings: &mut Vec<Finding>) -> Result<Object, ObjectError> {
        let seals = self.replicas(id, Part::Seal, &seal_name(id), findings, |value| {
            let seal = Seal::of(value)?;
            (seal.id == id).then_some(seal).ok_or_else(|| "another object's".to_owned())
        });
        let newest = |seals: &[Replica<Seal>]| seals.iter().map(|seal| seal.document.layout_epoch).max();
        let Some(layout_epoch) = newest(&seals) else {
            return Err(no_seal(id, findings));
        };
        let counts = seals.iter().position(|seal| seal.document.layout_epoch == layout_epoch);
        let counts = counts.expect("the newest is one of them");
        for replica in seals.iter().filter(|replica| replica.bytes != seals[counts].bytes) {
            let what = match replica.document.layout_epoch {
                found if found < layout_epoch => Damage::Stale { found, expected: layout_epoch },
                _ => Damage::Foreign(OTHER.to_owned()),
            };
            findings.push(self.replica_finding(id, replica.site, Part::Seal, what));
        }
        let seal = seals.into_iter().nth(counts).expect("it was just found").document;
        let cores = self.replicas(id, Part::Core, &core_name(id), findings, |value| {
            let core = Core::of(value)?;
            let ours = core.id == id && core.vault == self.description.id;
            ours.then_some(core).ok_or_else(|| "another object's or another vault's".to_owned())
        });
        let is_sealed = |replica: &Replica<Core>| {
            signed::sha256(&replica.bytes).is_ok_and(|sha256| sha256 == seal.core_sha256.0)
        };
        let mut sealed = None;
        for replica in cores {
            match is_sealed(&replica) {
                true => sealed = sealed.or(Some(replica.document)),
                false => {
                    let what = Damage::Foreign(OTHER.to_owned());
                    findings.push(self.replica_finding(id, replica.site, Part::Core, what));
                }
            }
        }
        let core = sealed.ok_or(ObjectError::NoCore { id })?;
        let code = Code::new(core.erasure.data, core.erasure.parity).expect("a core has a code");
        let geometry = Geometry::new(&code, seal.ciphertext_bytes);
        match seal.fits(&core, &geometry) {
            true => {
                let core_sha256 = seal.core_sha256;
                Ok(Object { id, core: Arc::new(core), core_sha256, seal, code, geometry })
            }
            false => Err(ObjectError::Inconsistent { id }),
        }
    }

    /// All replicas of a document that the sealer signed and `read` takes; the others are findings.
    fn replicas<T: Clone>(
        &self,
        id: ObjectId,
        part: Part,
        name: &str,
        findings: &mut Vec<Finding>,
        read: impl Fn(Value) -> Result<T, String>,
    ) -> Vec<Replica<T>> {
        let mut replicas: Vec<Replica<T>> = Vec::new();
        for (at, site) in self.sites.iter().enumerate() {
            let stored = site.store.get(name, DOCUMENT_BYTES_MAX);
            let what = match stored {
                Err(error) => Damage::unreadable(&error),
                Ok(None) => Damage::Missing,
                Ok(Some(bytes)) => {
                    // Replicas are normally the same bytes, and signatures are dear.
                    let known = replicas.iter().find(|replica| replica.bytes == bytes);
                    let document = match known {
                        Some(replica) => Ok(replica.document.clone()),
                        None => match signed::read(&bytes, &self.sealer) {
                            Ok(value) => read(value).map_err(Damage::Foreign),
                            Err(error) => Err(Damage::altered(&error)),
                        },
                    };
                    match document {
                        Ok(document) => {
                            replicas.push(Replica { site: at, bytes, document });
                            continue;
                        }
                        Err(what) => what,
                    }
                }
            };
            findings.push(self.replica_finding(id, at, part, what));
        }
        replicas
    }

    fn replica_finding(&self, id: ObjectId, site: usize, part: Part, what: Damage) -> Finding {
        let place = Place::Site(self.sites[site].name.clone());
        Finding { place, object: Some(id), fragment: None, part, what }
    }

    /// Ids of everything that lies at a site under the name of an object, as often as it does.
    pub(super) fn object_ids(&self) -> Vec<ObjectId> {
        let mut ids = Vec::new();
        for site in &self.sites {
            // A site that does not answer is a finding of its own, made where all of it is looked at.
            let names = site.store.list(OBJECTS).unwrap_or_default();
            ids.extend(names.iter().filter_map(|name| name.parse::<ObjectId>().ok()));
        }
        ids
    }

    /// Names sites that do not answer, and those whose description is not the vault's.
    pub(super) fn check_sites(&self, findings: &mut Vec<Finding>) {
        for site in &self.sites {
            let (part, what) = match site.store.get(DESCRIPTION, DOCUMENT_BYTES_MAX) {
                Err(error) => (Part::Whole, Damage::unreadable(&error)),
                Ok(None) => (Part::Vault, Damage::Missing),
                Ok(Some(bytes)) if bytes == self.document => continue,
                Ok(Some(bytes)) => match signed::read_self_signed(&bytes, "/sealer") {
                    Ok(_) => (Part::Vault, Damage::Foreign("another vault's, or an older one".to_owned())),
                    Err(error) => (Part::Vault, Damage::altered(&error)),
                },
            };
            let place = Place::Site(site.name.clone());
            findings.push(Finding { place, object: None, fragment: None, part, what });
        }
    }

    /// The core of an object from the first site that has it whole; kept, for cores do not change.
    pub(super) fn known_core(&self, id: ObjectId) -> Option<Arc<Core>> {
        let cores = || self.cores.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(core) = cores().get(&id) {
            return Some(Arc::clone(core));
        }
        let read = |site: &super::SiteStore| {
            let bytes = site.store.get(&core_name(id), DOCUMENT_BYTES_MAX).ok()??;
            Core::of(signed::read(&bytes, &self.sealer).ok()?).ok().filter(|core| core.id == id)
        };
        let core = Arc::new(self.sites.iter().find_map(read)?);
        cores().insert(id, Arc::clone(&core));
        Some(core)
    }
}

/// Whether there is no such object, or no seal of it was found.
fn no_seal(id: ObjectId, findings: &[Finding]) -> ObjectError {
    let seals = findings.iter().filter(|finding| finding.object == Some(id) && finding.part == Part::Seal);
    match seals.clone().all(|finding| finding.what == Damage::Missing) {
        true => ObjectError::Unknown { id },
        false => ObjectError::NoSeal { id, why: seals.map(|finding| format!("; {finding}")).collect() },
    }
}

/// Why an object cannot be described.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// All sites answer, and none has a seal of it.
    #[error("object {id} is not in this vault")]
    Unknown {
        /// The object.
        id: ObjectId,
    },
    /// No site has a seal that verifies.
    #[error("object {id} has a valid seal at no site{why}")]
    NoSeal {
        /// The object.
        id: ObjectId,
        /// What is wrong with each.
        why: String,
    },
    /// No site has the core that was sealed.
    #[error("object {id} has the core that was sealed at no site")]
    NoCore {
        /// The object.
        id: ObjectId,
    },
    /// The sealer signed numbers that do not fit each other.
    #[error("core and seal of object {id} are signed and do not fit each other")]
    Inconsistent {
        /// The object.
        id: ObjectId,
    },
}

impl Classified for ObjectError {
    fn class(&self) -> Class {
        match self {
            ObjectError::Unknown { .. } => Class::Input,
            ObjectError::NoSeal { .. } | ObjectError::NoCore { .. } => Class::Quorum,
            ObjectError::Inconsistent { .. } => Class::Integrity,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            ObjectError::Unknown { .. } => Some("see wakachi vault list".to_owned()),
            ObjectError::NoSeal { .. } | ObjectError::NoCore { .. } => {
                Some("bring back a site: every one of them has both documents".to_owned())
            }
            ObjectError::Inconsistent { .. } => None,
        }
    }
}
