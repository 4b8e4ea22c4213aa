//! Seals a file.
//!
//! Invariant: the permit is checked before the first byte is read. The object is acknowledged only when every document,
//! fragment and share was written, synced and read back; until then its name stands in `pending/`, and whatever fails
//! leaves nothing else. The data key never leaves memory, and memory holds one row of blocks and the trees.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use jobs::event::{EventName, Outcome};
use jobs::failure::{Class, Classified};
use jobs::policy::{Action, DataClass, Permit, Subject};
use jobs::time::Timestamp;
use zeroize::Zeroizing;

use super::core::{
    AuditPosition, CORE_FORMAT, Core, Encryption, Erasure, FragmentEntry, Governance, KeyShareEntry, Lineage,
    SEAL_FORMAT, SampleGovernance, Seal, Sharing,
};
use super::event::{Caller, about};
use super::hex::{Digest, Hex, ObjectId};
use super::permitted::permitted;
use super::share::{WrappedShare, sha256};
use super::{
    AuditLog, DESCRIPTION, DOCUMENT_BYTES_MAX, LockError, PENDING, PROGRAM, PermitError, RecoverError,
    Sealer, Vault, core_name, fragment_name, line, seal_name, share_name,
};
use crate::audit::AuditError;
use crate::disk::DiskError;
use crate::erasure::Code;
use crate::floe::{self, DataKey, Encryptor, PLAIN_BYTES, SEGMENT_BYTES};
use crate::fragment::{FragmentHeader, Geometry};
use crate::key::random;
use crate::shamir::{self, Kind, Share};
use crate::signed;
use crate::site::file::open_regular;
use crate::site::{Incoming, Store, StoreError};
use crate::tree::TreeBuilder;

const LAYOUT_EPOCH: u32 = 1;
const HASH_BUFFER_BYTES: usize = 1 << 18;

/// What a file is known to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileDigest {
    /// SHA-256, as reads are sent with.
    Sha256([u8; 32]),
    /// BLAKE3, as results are listed with.
    Blake3([u8; 32]),
}

/// What is to be sealed, as what.
#[derive(Clone, Debug)]
pub struct SealRequest<'a> {
    /// The file.
    pub file: &'a Path,
    /// What it must hold, where that is known; another file under its name is not sealed.
    pub expected: Option<FileDigest>,
    /// The name it is kept under.
    pub name: &'a str,
    /// Its class; the permit must be for it.
    pub class: DataClass,
    /// Security level of that class.
    pub level: u8,
    /// Whose data it is; the permit must cover each of them.
    pub subjects: &'a [Subject],
    /// Text fields of the manifest.
    pub manifest: &'a BTreeMap<String, String>,
    /// Objects it came from or belongs to.
    pub lineage: &'a [Lineage],
    /// Who seals.
    pub caller: &'a Caller,
    /// When.
    pub now: Timestamp,
}

/// A sealed file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Sealed {
    /// The object.
    pub id: ObjectId,
    /// Whether it was there already, whole, for the same people and class; nothing was written then.
    pub already: bool,
    /// Length of the file.
    pub plaintext_bytes: u64,
}

impl Vault {
    /// Seals a file under the vault's lock, after what a crash left was cleared away. `progress` is told how many bytes of
    /// the file are encoded.
    pub fn seal(
        &self,
        sealer: &Sealer,
        permit: &Permit,
        log: &AuditLog,
        request: &SealRequest<'_>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Sealed, SealError> {
        let samples = request.subjects.iter().map(|subject| &subject.sample);
        permitted(permit, Action::Archive, request.class, samples, request.now)?;
        let _lock = self.lock()?;
        self.must_be_complete()?;
        self.recover_locked(log, request.caller, request.now)?;
        let (plaintext_sha256, plaintext_bytes) = hashed(request.file, request.expected)?;
        let content = sealer.content(&plaintext_sha256);
        let governance = request.governance(sealer, permit);
        if let Some(id) = self.already_sealed(&content, request.class, &governance) {
            return Ok(Sealed { id, already: true, plaintext_bytes });
        }
        let core = self.core(content, request, governance);
        let id = core.id;
        self.home.put(&format!("{PENDING}/{id}"), b"")?;
        let plain = Plain { path: request.file, sha256: plaintext_sha256, bytes: plaintext_bytes };
        let written = self
            .write_object(sealer, core, &plain, log, request, progress)
            .and_then(|()| Ok(self.acknowledge(id, log, request.caller, request.now)?));
        match written {
            Ok(()) => Ok(Sealed { id, already: false, plaintext_bytes }),
            Err(error) => {
                // What is sealed already or cannot be removed now stays in `pending/`, and the next seal sees to it.
                let _ = self.remove_unsealed(id, log, request.caller, request.now);
                Err(error)
            }
        }
    }

    /// Sealing needs every site and every ledger: what was mounted elsewhere or is another vault's is noticed here.
    fn must_be_complete(&self) -> Result<(), SealError> {
        for site in &self.sites {
            let stored = site.store.get(DESCRIPTION, DOCUMENT_BYTES_MAX)?;
            if stored.as_ref() != Some(&self.document) {
                return Err(SealError::Site { site: site.name.clone(), path: site.store.show(DESCRIPTION) });
            }
        }
        for ledger in &self.ledgers {
            ledger.list(&self.description.key_epoch().to_string())?;
        }
        Ok(())
    }

    /// The object that holds the same content of the same people, if every byte of it is there: whoever hears that a file
    /// is sealed may delete it.
    fn already_sealed(
        &self,
        content: &Digest,
        class: DataClass,
        governance: &Governance,
    ) -> Option<ObjectId> {
        let people = |governance: &Governance| {
            let people = governance.samples.iter();
            people.map(|(sample, one)| (sample.clone(), one.participant_h)).collect::<Vec<_>>()
        };
        let same = |id: &ObjectId| {
            self.known_core(*id).is_some_and(|core| {
                core.content == *content
                    && core.class == class
                    && people(&core.governance) == people(governance)
            })
        };
        self.settled(|| self.object_ids()).into_iter().filter(same).find(|id| self.is_whole(*id))
    }

    fn core(&self, content: Digest, request: &SealRequest<'_>, governance: Governance) -> Core {
        Core {
            format: CORE_FORMAT.to_owned(),
            id: Hex::random(),
            vault: self.description.id,
            name: request.name.to_owned(),
            class: request.class,
            level: request.level,
            content,
            erasure: Erasure::new(self.description.data, self.description.parity),
            encryption: Encryption::new(),
            sharing: Sharing::new(&self.description),
            governance,
            manifest: request.manifest.clone(),
            lineage: request.lineage.to_vec(),
            sealed_at: request.now,
            program: PROGRAM.to_owned(),
        }
    }

    /// Writes everything of an object, the seal last.
    fn write_object(
        &self,
        sealer: &Sealer,
        core: Core,
        plain: &Plain<'_>,
        log: &AuditLog,
        request: &SealRequest<'_>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), SealError> {
        let id = core.id;
        let document = self.document(&core, sealer, request)?;
        let core_sha256 = Hex(signed::sha256(&document).expect("a signed document has two lines"));
        let begun = about(EventName::ObjectEncrypt, Outcome::Ok, request.caller, &core, &core_sha256);
        let leaf = log.append(begun, request.now)?;
        for site in &self.sites {
            site.store.put(&core_name(id), &document)?;
        }
        let secrets = Secrets::generate(&core);
        let encoded = self.write_fragments(&core, core_sha256, &secrets, plain, progress)?;
        let key_shares = self.write_shares(&core, core_sha256, &secrets)?;
        let seal = Seal {
            format: SEAL_FORMAT.to_owned(),
            id,
            core_sha256,
            plaintext_bytes: plain.bytes,
            ciphertext_bytes: floe::ciphertext_bytes(plain.bytes),
            floe_header: Hex(encoded.floe_header),
            layout_epoch: LAYOUT_EPOCH,
            fragments: encoded.fragments,
            key_shares,
            audit: AuditPosition { seq: leaf.seq, sha256: Hex(leaf.sha256) },
        };
        let document = self.document(&seal, sealer, request)?;
        for site in &self.sites {
            site.store.put(&seal_name(id), &document)?;
        }
        Ok(())
    }

    /// Wraps the custodians' shares into their ledgers.
    fn write_shares(
        &self,
        core: &Core,
        core_sha256: Digest,
        secrets: &Secrets,
    ) -> Result<Vec<KeyShareEntry>, StoreError> {
        let holders = core.sharing.custodians.iter().zip(&self.description.custodians);
        let written = holders.zip(self.ledgers.iter().zip(&secrets.held));
        let written = written.map(|((holder, custodian), (ledger, share))| {
            let wrapped = WrappedShare::wrap(core, core_sha256, holder, custodian, share)
                .expect("a vault's custodians have well-formed keys");
            let line = line::write(&wrapped);
            ledger.put(&share_name(core.sharing.key_epoch, core.id), &line)?;
            Ok(KeyShareEntry {
                index: share.index,
                share_sha256: Hex(shamir::commitment(&core.id.0, Kind::Custodian, share)),
                wrapped_sha256: sha256(&line),
            })
        });
        written.collect()
    }

    /// A signed document, unless readers would refuse its length.
    fn document(
        &self,
        document: &impl serde::Serialize,
        sealer: &Sealer,
        request: &SealRequest<'_>,
    ) -> Result<Vec<u8>, SealError> {
        let document = signed::write(&line::value(document), &sealer.signing)
            .map_err(|_| SealError::Unrepresentable { file: request.file.to_owned() })?;
        match document.len() as u64 {
            0..=DOCUMENT_BYTES_MAX => Ok(document),
            bytes => Err(SealError::Description { file: request.file.to_owned(), bytes }),
        }
    }

    /// Encrypts the file row by row into its fragments.
    fn write_fragments(
        &self,
        core: &Core,
        core_sha256: Digest,
        secrets: &Secrets,
        plain: &Plain<'_>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Encoded, SealError> {
        let Erasure { data, parity, .. } = core.erasure;
        let code = Code::new(data, parity).expect("a vault has a code");
        let geometry = Geometry::new(&code, floe::ciphertext_bytes(plain.bytes));
        let key = DataKey::derive(&core_sha256.0, &secrets.custodians, &secrets.fragments);
        let (encryptor, floe_header) = Encryptor::start(&key, &core_sha256.0);
        let mut outgoing = Vec::with_capacity(usize::from(data) + usize::from(parity));
        for share in &secrets.spread {
            outgoing.push(self.begin_fragment(core, core_sha256, share)?);
        }
        let mut reader = plain.open()?;
        let mut segments = vec![Vec::with_capacity(SEGMENT_BYTES); data.into()];
        let mut parities = vec![Vec::with_capacity(SEGMENT_BYTES); parity.into()];
        for row in 0..geometry.rows() {
            segments.iter_mut().for_each(Vec::clear);
            for (index, segment) in (0..).zip(&mut segments) {
                let Some(position) = geometry.segment(index, row) else { break };
                let is_final = position + 1 == geometry.segments();
                encryptor.segment(position, is_final, reader.next()?, segment);
            }
            let filled = segments.iter().take_while(|segment| !segment.is_empty());
            let filled: Vec<&[u8]> = filled.map(Vec::as_slice).collect();
            code.encode(&filled, &mut parities);
            for (fragment, block) in outgoing.iter_mut().zip(segments.iter().chain(&parities)) {
                fragment.push(block)?;
            }
            progress(reader.read);
        }
        reader.finish()?;
        let fragments = outgoing.into_iter().map(|fragment| fragment.finish(&core.id));
        Ok(Encoded { floe_header, fragments: fragments.collect::<Result<_, _>>()? })
    }

    fn begin_fragment(
        &self,
        core: &Core,
        core_sha256: Digest,
        share: &Share,
    ) -> Result<Outgoing, StoreError> {
        let index = share.index - 1;
        let entry = self.description.site_of(index);
        let site = self.site(&entry.name).expect("a vault's own site");
        let header = FragmentHeader {
            object: core.id.0,
            core_hash: core_sha256.0,
            layout_epoch: LAYOUT_EPOCH,
            k: core.erasure.data,
            m: core.erasure.parity,
            index,
            share: share.bytes.clone(),
        };
        let mut incoming = site.store.create(&fragment_name(core.id, index))?;
        incoming.write(&header.encode())?;
        Ok(Outgoing {
            site: entry.name.clone(),
            share: share.clone(),
            incoming,
            tree: TreeBuilder::default(),
        })
    }
}

/// What [`Vault::write_fragments`] gives to the seal.
struct Encoded {
    floe_header: [u8; floe::HEADER_BYTES],
    fragments: Vec<FragmentEntry>,
}

/// The two halves of the key and their shares; wiped from memory when dropped.
struct Secrets {
    custodians: Zeroizing<[u8; 32]>,
    fragments: Zeroizing<[u8; 32]>,
    /// Shares of the custodians' half.
    held: Vec<Share>,
    /// Shares of the fragments' half.
    spread: Vec<Share>,
}

impl Secrets {
    fn generate(core: &Core) -> Self {
        let (custodians, fragments) = (random(), random());
        let Erasure { data, parity, .. } = core.erasure;
        let split = |secret, threshold, shares| {
            shamir::split(secret, threshold, shares).expect("a vault has quorums of its own size")
        };
        let held = split(&custodians, core.sharing.quorum, core.sharing.custodians.len() as u8);
        let spread = split(&fragments, data, data + parity);
        Secrets { custodians, fragments, held, spread }
    }
}

/// A fragment being written.
struct Outgoing {
    site: String,
    share: Share,
    incoming: Box<dyn Incoming>,
    tree: TreeBuilder,
}

impl Outgoing {
    fn push(&mut self, block: &[u8]) -> Result<(), StoreError> {
        if block.is_empty() {
            return Ok(());
        }
        self.tree.push(block);
        self.incoming.write(block)
    }

    fn finish(mut self, id: &ObjectId) -> Result<FragmentEntry, StoreError> {
        let tree = self.tree.finish();
        self.incoming.write(tree.values.as_flattened())?;
        self.incoming.finish()?;
        Ok(FragmentEntry {
            index: self.share.index - 1,
            site: self.site,
            body_bytes: tree.body_bytes,
            body_blake3: Hex(tree.root),
            share_sha256: Hex(shamir::commitment(&id.0, Kind::Fragment, &self.share)),
        })
    }
}

/// The file to be sealed, as it was when it was hashed.
struct Plain<'a> {
    path: &'a Path,
    sha256: Vec<u8>,
    bytes: u64,
}

impl<'a> Plain<'a> {
    fn open(&'a self) -> Result<PlainReader<'a>, SealError> {
        let (file, _) = open_regular(self.path).map_err(DiskError::on("read", self.path))?;
        let buffer = Zeroizing::new(vec![0; PLAIN_BYTES]);
        Ok(PlainReader { plain: self, file, buffer, sha256: Context::new(&SHA256), read: 0 })
    }
}

/// Reads the file segment by segment, and notices if it is no longer the one that was hashed.
struct PlainReader<'a> {
    plain: &'a Plain<'a>,
    file: File,
    buffer: Zeroizing<Vec<u8>>,
    sha256: Context,
    read: u64,
}

impl PlainReader<'_> {
    /// The next segment's plaintext: full, or the rest of the file.
    fn next(&mut self) -> Result<&[u8], SealError> {
        let bytes = (self.plain.bytes - self.read).min(PLAIN_BYTES as u64) as usize;
        let plain = &mut self.buffer[..bytes];
        self.file.read_exact(plain).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => SealError::Changed { file: self.plain.path.to_owned() },
            _ => DiskError::on("read", self.plain.path)(error).into(),
        })?;
        self.sha256.update(plain);
        self.read += bytes as u64;
        Ok(plain)
    }

    fn finish(mut self) -> Result<(), SealError> {
        let beyond = self.file.read(&mut [0]).map_err(DiskError::on("read", self.plain.path))?;
        match beyond == 0 && self.sha256.finish().as_ref() == self.plain.sha256 {
            true => Ok(()),
            false => Err(SealError::Changed { file: self.plain.path.to_owned() }),
        }
    }
}

/// SHA-256 and length of a file.
fn hashed(path: &Path, expected: Option<FileDigest>) -> Result<(Vec<u8>, u64), SealError> {
    let (mut file, _) = open_regular(path).map_err(DiskError::on("read", path))?;
    let mut buffer = Zeroizing::new(vec![0; HASH_BUFFER_BYTES]);
    let (mut sha256, mut blake3, mut bytes) = (Context::new(&SHA256), blake3::Hasher::new(), 0);
    loop {
        let read = file.read(&mut buffer).map_err(DiskError::on("read", path))?;
        if read == 0 {
            break;
        }
        sha256.update(&buffer[..read]);
        if let Some(FileDigest::Blake3(_)) = expected {
            blake3.update(&buffer[..read]);
        }
        bytes += read as u64;
    }
    let sha256 = sha256.finish();
    let is_expected = match expected {
        Some(FileDigest::Sha256(expected)) => sha256.as_ref() == expected,
        Some(FileDigest::Blake3(expected)) => *blake3.finalize().as_bytes() == expected,
        None => true,
    };
    match is_expected {
        true => Ok((sha256.as_ref().to_vec(), bytes)),
        false => Err(SealError::Unexpected { file: path.to_owned() }),
    }
}

impl SealRequest<'_> {
    /// What the core keeps of the consent as it is.
    fn governance(&self, sealer: &Sealer, permit: &Permit) -> Governance {
        let sample = |subject: &Subject| {
            let participant_h = sealer.participant_h(&subject.participant);
            let grounds = permit.grounds()[&subject.sample].clone();
            (subject.sample.clone(), SampleGovernance { participant_h, grounds })
        };
        Governance {
            samples: self.subjects.iter().map(sample).collect(),
            purpose: permit.purpose(),
            consent_epoch: permit.epoch(),
            policy_sha256: permit.policy_sha256().to_owned(),
            site: permit.site().to_owned(),
            obligations: permit.obligations().iter().cloned().collect(),
        }
    }
}

/// Why a file was not sealed; nothing of it is left that the next seal does not remove.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The permit does not cover it.
    #[error(transparent)]
    NotPermitted(#[from] PermitError),
    /// The vault is in use.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The file cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A site, a ledger or the vault's folder refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A site is not one of this vault's.
    #[error("site {site}: {} is not this vault's", path.display())]
    Site {
        /// The site.
        site: String,
        /// Its `vault.json`.
        path: PathBuf,
    },
    /// What an earlier crash left cannot be cleared away, or this object not acknowledged.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// The audit log took no event.
    #[error("the audit log takes no event, so nothing may happen")]
    Audit(#[from] AuditError),
    /// The file is not the one that was meant.
    #[error("{} is not as it was when its digest was taken", file.display())]
    Unexpected {
        /// The file.
        file: PathBuf,
    },
    /// The file changed between hashing and encrypting.
    #[error("{} changed while it was sealed", file.display())]
    Changed {
        /// The file.
        file: PathBuf,
    },
    /// The description is longer than readers take.
    #[error("{}: its description has {bytes} bytes, expected at most {DOCUMENT_BYTES_MAX}", file.display())]
    Description {
        /// The file.
        file: PathBuf,
        /// Bytes of the document.
        bytes: u64,
    },
    /// A number of the description is above 2^53.
    #[error("{}: its description has a number above 2^53", file.display())]
    Unrepresentable {
        /// The file.
        file: PathBuf,
    },
}

impl Classified for SealError {
    fn class(&self) -> Class {
        match self {
            SealError::NotPermitted(_) => Class::Policy,
            SealError::Lock(error) => error.class(),
            SealError::Disk(error) => error.class(),
            SealError::Store(error) => error.class(),
            SealError::Site { .. } | SealError::Unexpected { .. } => Class::Integrity,
            SealError::Recover(error) => error.class(),
            SealError::Audit(error) => error.class(),
            SealError::Changed { .. } | SealError::Description { .. } | SealError::Unrepresentable { .. } => {
                Class::Input
            }
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            SealError::Lock(error) => error.hint(),
            SealError::Disk(error) => error.hint(),
            SealError::Store(error) => error.hint(),
            SealError::Site { .. } => Some("see wakachi vault check; is the right place mounted?".to_owned()),
            SealError::Recover(error) => error.hint(),
            SealError::Audit(error) => error.hint(),
            SealError::Unexpected { .. } => Some(
                "bring back the file as it was; a result is done again by the job's command with --repair"
                    .to_owned(),
            ),
            SealError::Changed { .. } => {
                Some("wait until it is written, then give the same command again".to_owned())
            }
            SealError::Description { .. } => Some("give fewer samples or shorter manifest fields".to_owned()),
            SealError::NotPermitted(_) | SealError::Unrepresentable { .. } => None,
        }
    }
}
