//! Restores an object from opened shares and fragments, decoding around damage and naming it.
//!
//! Invariant: what is written was authenticated segment by segment, is its owner's alone to read (mode 0600), and takes
//! its name only when it is whole. Permit and
//! audit log come before the first byte is decrypted; memory holds one row of blocks and the trees.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use jobs::event::{Event, EventName, Outcome};
use jobs::failure::{Class, Classified};
use jobs::policy::{Action, Permit};
use jobs::time::Timestamp;
use zeroize::Zeroizing;

use super::custodian::OpenedShare;
use super::event::{Caller, about};
use super::finding::{Damage, Finding, Part, Place, tidied};
use super::fragment::StoredFragment;
use super::hex::{Digest, Hex, ObjectId};
use super::object::{Object, ObjectError};
use super::permitted::permitted;
use super::{AuditLog, PermitError, Sealer, Vault};
use crate::atomic::{AtomicFile, AtomicFileError};
use crate::audit::AuditError;
use crate::disk::DiskError;
use crate::floe::{DataKey, Decryptor, FloeError, PLAIN_BYTES};
use crate::shamir::{self, Kind, Share};

/// What is to be restored, to where.
#[derive(Debug)]
pub struct RestoreRequest<'a> {
    /// The object.
    pub object: ObjectId,
    /// Opened shares of its key; those that are no good are named, and others used.
    pub shares: &'a [OpenedShare],
    /// What was found amiss when the shares were opened; it joins the findings.
    pub findings: &'a [Finding],
    /// Where it shall lie; whole, or not at all.
    pub out: &'a Path,
    /// With the sealer's keys the content is compared with what was sealed; the tags of the encryption are in any case.
    pub sealer: Option<&'a Sealer>,
    /// Who restores.
    pub caller: &'a Caller,
    /// When.
    pub now: Timestamp,
}

/// A restored file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Restored {
    /// Its length.
    pub bytes: u64,
    /// BLAKE3 of it.
    pub blake3: Digest,
    /// Whether its content was compared with what was sealed.
    pub content_compared: bool,
    /// What was decoded around or not used.
    pub findings: Vec<Finding>,
}

impl Vault {
    /// Restores an object. `progress` is told the bytes decoded.
    pub fn restore(
        &self,
        permit: &Permit,
        log: &AuditLog,
        request: &RestoreRequest<'_>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Restored, RestoreError> {
        let mut findings = request.findings.to_vec();
        self.check_sites(&mut findings);
        let object = self.object(request.object, &mut findings)?;
        let samples = object.core.governance.samples.keys();
        permitted(permit, Action::Restore, object.core.class, samples, request.now)?;
        let event = |name, outcome| about(name, outcome, request.caller, &object.core, &object.core_sha256);
        let requested = event(EventName::RestoreRequested, Outcome::Ok);
        let used: Vec<u8> = request.shares.iter().map(|share| share.share.index).collect();
        log.append(requested.with("purpose", permit.purpose().name()).with("shares", used), request.now)?;
        let decoded = self.decode(&object, log, request, &event, &mut findings, progress);
        if let Err(error) = &decoded {
            // The refusal is written down if it can be; what counts is that nothing was restored.
            let refused = event(EventName::RestoreRefused, Outcome::Failed);
            let _ = log.append(Event { reasons: vec![error.code().to_owned()], ..refused }, request.now);
        }
        decoded
    }

    fn decode(
        &self,
        object: &Object,
        log: &AuditLog,
        request: &RestoreRequest<'_>,
        event: &dyn Fn(EventName, Outcome) -> Event,
        findings: &mut Vec<Finding>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Restored, RestoreError> {
        let custodians = self.custodians_secret(object, request.shares, findings)?;
        let indexes = 0..object.code.k() + object.code.m();
        let mut fragments: Vec<_> = indexes.map(|index| self.fragment(object, index, findings)).collect();
        let spread = fragments_secret(object, &fragments, findings)?;
        let key = DataKey::derive(&object.core_sha256.0, &custodians, &spread);
        let floe = |source| RestoreError::Floe { object: object.id, source };
        let decryptor =
            Decryptor::start(&key, &object.core_sha256.0, &object.seal.floe_header.0).map_err(floe)?;
        log.append(event(EventName::ObjectDecrypt, Outcome::Ok), request.now)?;
        let mut out = Output::create(request.out)?;
        let mut plain = Zeroizing::new(Vec::with_capacity(PLAIN_BYTES));
        for row in 0..object.geometry.rows() {
            let segments = row_segments(object, &mut fragments, row, findings)?;
            for (index, segment) in (0..).zip(&segments) {
                let position = object.geometry.segment(index, row).expect("the row has this segment");
                plain.clear();
                let is_final = position + 1 == object.geometry.segments();
                decryptor.segment(position, is_final, segment, &mut plain).map_err(floe)?;
                out.write(&plain)?;
            }
            progress(out.bytes);
        }
        let content = out.sha256.clone().finish();
        let differs =
            request.sealer.is_some_and(|sealer| sealer.content(content.as_ref()) != object.core.content);
        if out.bytes != object.seal.plaintext_bytes || differs {
            return Err(RestoreError::Content { object: object.id });
        }
        let completed = event(EventName::RestoreCompleted, Outcome::Ok);
        log.append(Event { bytes: Some(out.bytes), ..completed }, request.now)?;
        Ok(Restored {
            bytes: out.bytes,
            blake3: Hex(*out.file.commit_verified()?.as_bytes()),
            content_compared: request.sealer.is_some(),
            findings: tidied(std::mem::take(findings)),
        })
    }

    /// S_c from a quorum of the opened shares; bad ones are findings.
    fn custodians_secret(
        &self,
        object: &Object,
        opened: &[OpenedShare],
        findings: &mut Vec<Finding>,
    ) -> Result<Zeroizing<[u8; 32]>, RestoreError> {
        let commitments = object.commitments(Kind::Custodian);
        let mut good: Vec<Share> = Vec::new();
        let mut refused = Vec::new();
        for OpenedShare { object: of, share, origin } in opened {
            let what = match commitments.get(&share.index) {
                _ if *of != object.id => Damage::Foreign(format!("a share of object {of}")),
                None => Damage::Foreign("of no custodian of this object".to_owned()),
                Some(committed) => match share.verify(&object.id.0, Kind::Custodian, committed) {
                    Err(_) => Damage::Altered("it is not the share that was sealed".to_owned()),
                    Ok(()) => {
                        if good.iter().all(|known| known.index != share.index) {
                            good.push(share.clone());
                        }
                        continue;
                    }
                },
            };
            let (place, part) = (Place::Given(origin.clone()), Part::Share(share.index));
            refused.push(Finding { place, object: Some(object.id), fragment: None, part, what });
        }
        findings.extend(refused.iter().cloned());
        let quorum = object.core.sharing.quorum;
        if good.len() < quorum.into() {
            let holders = object.core.sharing.custodians.iter();
            let missing = holders.filter(|holder| good.iter().all(|share| share.index != holder.index));
            return Err(RestoreError::Custodians {
                object: object.id,
                have: good.len(),
                need: quorum,
                missing: missing.map(|holder| holder.name.clone()).collect(),
                findings: tidied(refused.into_iter().chain(findings.iter().cloned()).collect()),
            });
        }
        Ok(shamir::combine(&good, quorum).expect("a quorum of verified shares of different indexes"))
    }
}

/// S_s from the fragments' headers.
fn fragments_secret(
    object: &Object,
    fragments: &[StoredFragment],
    findings: &[Finding],
) -> Result<Zeroizing<[u8; 32]>, RestoreError> {
    let shares: Vec<Share> = fragments.iter().filter_map(|fragment| fragment.share.clone()).collect();
    let k = object.code.k();
    if shares.len() < k.into() {
        let lost = fragments.iter().filter(|fragment| fragment.share.is_none());
        return Err(too_few(object, None, lost.map(|fragment| fragment.index), findings));
    }
    Ok(shamir::combine(&shares, k).expect("a quorum of verified shares of different indexes"))
}

/// The segments of a row, decoded from other blocks where theirs are damaged.
fn row_segments(
    object: &Object,
    fragments: &mut [StoredFragment],
    row: u64,
    findings: &mut Vec<Finding>,
) -> Result<Vec<Vec<u8>>, RestoreError> {
    let (k, geometry) = (object.code.k(), &object.geometry);
    let mut present: Vec<(u8, Vec<u8>)> = Vec::with_capacity(k.into());
    let mut lost = Vec::new();
    for fragment in fragments.iter_mut() {
        if present.len() >= k.into() {
            break;
        }
        let mut block = Vec::new();
        // A segment that a short row never had counts as zeros, and is no use to read.
        let never_was = geometry.block_bytes(fragment.index, row) == 0;
        match never_was || fragment.block(row, &mut block, findings) {
            true => present.push((fragment.index, block)),
            false => lost.push(fragment.index),
        }
    }
    if present.len() < k.into() {
        return Err(too_few(object, Some(row), lost.into_iter(), findings));
    }
    let wanted: Vec<u8> = lost.into_iter().filter(|index| *index < k).collect();
    let mut segments: Vec<Vec<u8>> = vec![Vec::new(); k.into()];
    if !wanted.is_empty() {
        let blocks: Vec<(u8, &[u8])> = present.iter().map(|(index, block)| (*index, &block[..])).collect();
        let rebuilt = object
            .code
            .reconstruct(&blocks, &wanted, geometry.block_bytes(0, row))
            .expect("k blocks of different indexes, none longer than the first");
        for (index, mut segment) in wanted.into_iter().zip(rebuilt) {
            segment.truncate(geometry.block_bytes(index, row));
            segments[usize::from(index)] = segment;
        }
    }
    for (index, block) in present.into_iter().filter(|(index, _)| *index < k) {
        segments[usize::from(index)] = block;
    }
    segments.retain(|segment| !segment.is_empty());
    Ok(segments)
}

fn too_few(
    object: &Object,
    row: Option<u64>,
    lost: impl Iterator<Item = u8>,
    findings: &[Finding],
) -> RestoreError {
    let entries = &object.seal.fragments;
    let lost = lost.map(|index| (index, entries[usize::from(index)].site.clone()));
    let missing: BTreeSet<(u8, String)> = lost.collect();
    RestoreError::Fragments {
        object: object.id,
        row,
        have: entries.len() - missing.len(),
        need: object.code.k(),
        missing: missing.into_iter().map(|(index, site)| format!("{index:02} at {site}")).collect(),
        findings: tidied(findings.to_vec()),
    }
}

/// The file being restored, hashed on its way.
struct Output {
    file: AtomicFile,
    sha256: Context,
    bytes: u64,
}

impl Output {
    fn create(path: &Path) -> Result<Self, AtomicFileError> {
        Ok(Output { file: AtomicFile::create_private(path)?, sha256: Context::new(&SHA256), bytes: 0 })
    }

    fn write(&mut self, plain: &[u8]) -> Result<(), DiskError> {
        self.sha256.update(plain);
        self.bytes += plain.len() as u64;
        self.file.write_all(plain).map_err(DiskError::on("write", self.file.path()))
    }
}

/// Why an object was not restored; the output is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The permit does not cover it.
    #[error(transparent)]
    NotPermitted(#[from] PermitError),
    /// Its documents are not to be had.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// Too few custodians.
    #[error(
        "object {object}: {have} of the {need} custodians needed gave a share; missing: {}",
        missing.join(", ")
    )]
    Custodians {
        /// The object.
        object: ObjectId,
        /// Good shares.
        have: usize,
        /// The quorum.
        need: u8,
        /// Custodians without a good share.
        missing: Vec<String>,
        /// Shares that were refused, and what else was found.
        findings: Vec<Finding>,
    },
    /// Too few fragments.
    #[error(
        "object {object}: {have} of the {need} fragments needed are whole{}; missing or damaged: {}",
        row.map(|row| format!(" in row {row}")).unwrap_or_default(),
        missing.join(", ")
    )]
    Fragments {
        /// The object.
        object: ObjectId,
        /// The row of blocks; `None`: of the key's half that lies in the headers.
        row: Option<u64>,
        /// Good ones.
        have: usize,
        /// Needed ones, k.
        need: u8,
        /// Which are no good, `NN at SITE`.
        missing: Vec<String>,
        /// What is wrong with them.
        findings: Vec<Finding>,
    },
    /// The ciphertext does not open, though every block is the one in the seal.
    #[error("object {object}: the ciphertext is not of this key")]
    Floe {
        /// The object.
        object: ObjectId,
        /// Where.
        #[source]
        source: FloeError,
    },
    /// The content is not what was sealed, though everything opened.
    #[error("object {object}: the content is not what was sealed")]
    Content {
        /// The object.
        object: ObjectId,
    },
    /// The output cannot be written.
    #[error(transparent)]
    Output(#[from] AtomicFileError),
    /// The audit log took no event.
    #[error("the audit log takes no event, so nothing may happen")]
    Audit(#[from] AuditError),
}

impl From<DiskError> for RestoreError {
    fn from(error: DiskError) -> Self {
        RestoreError::Output(error.into())
    }
}

impl RestoreError {
    /// The findings of a restore that failed for what was lost.
    pub fn findings(&self) -> &[Finding] {
        match self {
            RestoreError::Custodians { findings, .. } | RestoreError::Fragments { findings, .. } => findings,
            _ => &[],
        }
    }

    /// As the audit log says it.
    fn code(&self) -> &'static str {
        match self.class() {
            Class::Quorum => "E-QUORUM",
            Class::Integrity => "E-INTEGRITY",
            _ => "E-FAILED",
        }
    }
}

impl Classified for RestoreError {
    fn class(&self) -> Class {
        match self {
            RestoreError::NotPermitted(_) => Class::Policy,
            RestoreError::Object(error) => error.class(),
            RestoreError::Custodians { .. } | RestoreError::Fragments { .. } => Class::Quorum,
            RestoreError::Floe { .. } | RestoreError::Content { .. } => Class::Integrity,
            RestoreError::Output(error) => error.class(),
            RestoreError::Audit(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            RestoreError::Object(error) => error.hint(),
            RestoreError::Custodians { have, need, .. } => {
                let more = usize::from(*need).saturating_sub(*have);
                Some(format!("bring the shares of {more} more of these custodians"))
            }
            RestoreError::Fragments { have, need, .. } => {
                let more = usize::from(*need).saturating_sub(*have);
                Some(format!("bring back sites with {more} more of these fragments; see wakachi vault check"))
            }
            RestoreError::Output(error) => error.hint(),
            RestoreError::Audit(error) => error.hint(),
            RestoreError::NotPermitted(_) | RestoreError::Floe { .. } | RestoreError::Content { .. } => None,
        }
    }
}
