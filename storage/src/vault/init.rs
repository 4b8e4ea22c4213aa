//! Makes a vault, or says with numbers why it would not keep what it promises.
//!
//! Invariant: a vault that is made survives its stated loss of sites, no custodian alone is a quorum, and no place counts
//! twice. The description in the vault's folder is written last: without it there is no vault.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jobs::failure::{Class, Classified};
use jobs::time::Timestamp;

use super::description::{
    CUSTODIANS_MAX, Custodian, DATA_MIN, Description, FORMAT, FRAGMENTS_MAX, PublicKeys, QUORUM_MIN,
    SiteEntry, survivable_losses, vault_id,
};
use super::{DESCRIPTION, OpenError, PROGRAM, SEALER_KEY, Sealer, Vault, line};
use crate::disk::{DiskError, sync_parent};
use crate::keyfile::KeyFileError;
use crate::signed;
use crate::site::{self, Device, FileStore, RealDevice, Store, StoreError};

/// What a vault shall be.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// Its name, for people.
    pub name: String,
    /// Data fragments of each object, k.
    pub data: u8,
    /// Parity fragments of each object, m.
    pub parity: u8,
    /// Where fragments lie. Folders are made where they are not there.
    pub sites: Vec<SiteEntry>,
    /// The custodians' documents (`NAME.pub.json`): where each came from, for messages, and its bytes.
    pub custodians: Vec<(String, Vec<u8>)>,
    /// Custodians that are needed to restore, t.
    pub quorum: u8,
    /// Sites that may be lost; `None`: as many as are survivable.
    pub site_losses: Option<u8>,
    /// When.
    pub now: Timestamp,
}

impl Vault {
    /// Makes a vault in `folder` and at its sites; the sealer's private keys are sealed by `passphrase`.
    pub fn init(folder: &Path, options: &InitOptions, passphrase: &str) -> Result<Vault, InitError> {
        let custodians = options.custodians.iter().map(|(origin, bytes)| {
            Custodian::read(bytes).map_err(|what| InitError::Custodian { origin: origin.clone(), what })
        });
        let custodians = custodians.collect::<Result<Vec<_>, _>>()?;
        let InitOptions { data, parity, sites, .. } = options;
        let site_losses = survivable(*data, *parity, sites, options.site_losses)?;
        quorate(options.quorum, &custodians)?;
        create_folder(folder)?;
        let taken = [DESCRIPTION, SEALER_KEY].map(|name| folder.join(name));
        if let Some(path) = taken.into_iter().find(|path| path.exists()) {
            return Err(InitError::Taken { path });
        }
        let device: Arc<dyn Device> = Arc::new(RealDevice);
        let mut stores = Vec::new();
        for entry in &options.sites {
            let folder = site::folder_of(&entry.url)?;
            create_folder(&folder)?;
            let store = FileStore::new(&folder, Arc::clone(&device));
            match store.open(DESCRIPTION)? {
                None => stores.push(store),
                Some(_) => return Err(InitError::Taken { path: store.show(DESCRIPTION) }),
            }
        }
        options.apart(folder, &custodians)?;
        let sealer = Sealer::generate();
        let description = Description {
            format: FORMAT.to_owned(),
            id: vault_id(sealer.signing.public()),
            name: options.name.clone(),
            data: options.data,
            parity: options.parity,
            quorum: options.quorum,
            site_losses,
            sites: options.sites.clone(),
            custodians,
            sealer: PublicKeys::of(sealer.signing.public()),
            created: options.now,
            program: PROGRAM.to_owned(),
        };
        let document = signed::write(&line::value(&description), &sealer.signing)
            .expect("a description has small numbers");
        stores.push(FileStore::new(folder, device));
        let written = sealer
            .write(folder, &options.name, passphrase)
            .map_err(InitError::from)
            .and_then(|()| Ok(stores.iter().try_for_each(|store| store.put(DESCRIPTION, &document))?));
        if let Err(error) = written {
            // None of these was there before.
            stores.iter().for_each(|store| drop(store.remove(DESCRIPTION)));
            let _ = std::fs::remove_file(folder.join(SEALER_KEY));
            return Err(error);
        }
        Ok(Vault::open(folder)?)
    }
}

impl InitOptions {
    /// Refuses places that are the same, or of which one lies in the other: they would be lost, or read, together.
    fn apart(&self, vault: &Path, custodians: &[Custodian]) -> Result<(), InitError> {
        let sites = self.sites.iter().map(|site| (format!("site {}", site.name), &site.url));
        let ledgers =
            custodians.iter().map(|custodian| (format!("ledger of {}", custodian.name), &custodian.ledger));
        let mut places = vec![("vault".to_owned(), real(vault)?)];
        for (name, url) in sites.chain(ledgers) {
            let folder = real(&site::folder_of(url)?)?;
            // A place below the vault's folder is the vault's to lose; above or at it, it would hold the sealer's keys.
            let other = places
                .iter()
                .enumerate()
                .find(|(at, (_, other))| other.starts_with(&folder) || *at > 0 && folder.starts_with(other));
            if let Some((_, (other, _))) = other {
                return Err(InitError::SamePlace { first: other.clone(), second: name, folder });
            }
            places.push((name, folder));
        }
        Ok(())
    }
}

/// The loss of sites that a vault of these sizes survives, if it is at least the stated one.
pub(super) fn survivable(
    data: u8,
    parity: u8,
    sites: &[SiteEntry],
    stated: Option<u8>,
) -> Result<u8, InitError> {
    let fragments = usize::from(data) + usize::from(parity);
    if data < DATA_MIN || parity < 1 || fragments > FRAGMENTS_MAX {
        return Err(InitError::Fragments { data, parity });
    }
    names_differ("site", sites.iter().map(|site| &site.name))?;
    let survivable = survivable_losses(data, parity, sites.len()) as u8;
    let stated = stated.unwrap_or(survivable.max(1));
    if stated == 0 || stated > survivable {
        return Err(InitError::Sites {
            stated,
            survivable,
            fragments,
            sites: sites.len(),
            most: fragments.div_ceil(sites.len().max(1)),
            parity,
        });
    }
    Ok(stated)
}

/// Refuses a quorum that is none, and custodians that are the same twice.
pub(super) fn quorate(quorum: u8, custodians: &[Custodian]) -> Result<(), InitError> {
    names_differ("custodian", custodians.iter().map(|custodian| &custodian.name))?;
    let shares = custodians.len();
    if quorum < QUORUM_MIN || usize::from(quorum) > shares || shares > CUSTODIANS_MAX {
        return Err(InitError::Quorum { quorum, custodians: shares });
    }
    for (at, one) in custodians.iter().enumerate() {
        let twin = custodians[..at].iter().find(|other| {
            [&other.ed25519, &other.mldsa65, &other.epoch_key]
                .iter()
                .any(|key| [&one.ed25519, &one.mldsa65, &one.epoch_key].contains(key))
        });
        if let Some(twin) = twin {
            return Err(InitError::SameKey { first: twin.name.clone(), second: one.name.clone() });
        }
        if one.key_epoch != custodians[0].key_epoch {
            let (first, second) = (custodians[0].clone(), one.clone());
            return Err(InitError::Epochs {
                first: first.name,
                first_epoch: first.key_epoch,
                second: second.name,
                second_epoch: second.key_epoch,
            });
        }
    }
    Ok(())
}

/// Makes a folder and those above it, where they are not there, to stay.
pub(super) fn create_folder(folder: &Path) -> Result<(), DiskError> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
    std::fs::create_dir_all(folder).map_err(DiskError::on("create", folder))?;
    missing.into_iter().rev().filter(|folder| folder.file_name().is_some()).try_for_each(sync_parent)
}

/// A folder without links and dots in its path.
fn real(folder: &Path) -> Result<PathBuf, DiskError> {
    folder.canonicalize().map_err(DiskError::on("open", folder))
}

/// Names are shown to people and stand in messages: not empty, not twice, no separators.
fn names_differ<'a>(
    what: &'static str,
    names: impl Iterator<Item = &'a String> + Clone,
) -> Result<(), InitError> {
    for (at, name) in names.clone().enumerate() {
        let bad = !is_name(name) || names.clone().take(at).any(|before| before == name);
        if bad {
            return Err(InitError::Name { what, name: name.clone() });
        }
    }
    Ok(())
}

/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 100;

/// Whether a text can name a site or a custodian, and a custodian's files.
pub(super) fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && !name.starts_with(['.', '-'])
        && name.chars().all(|c| c.is_alphanumeric() || ['-', '_', '.'].contains(&c))
}

/// Why a vault was not made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// No such code.
    #[error(
        "{data} data and {parity} parity fragments: expected at least {DATA_MIN} and 1, and at most {FRAGMENTS_MAX} together"
    )]
    Fragments {
        /// k.
        data: u8,
        /// m.
        parity: u8,
    },
    /// The stated loss of sites would be a loss of data.
    #[error(
        "losing {stated} of {sites} sites is not survived: {fragments} fragments over {sites} sites are up to {most} at one, {parity} may be lost, so {survivable} sites"
    )]
    Sites {
        /// Sites that shall be lost.
        stated: u8,
        /// Sites that may be lost.
        survivable: u8,
        /// k+m.
        fragments: usize,
        /// All sites.
        sites: usize,
        /// Fragments at the fullest site.
        most: usize,
        /// m.
        parity: u8,
    },
    /// A name is no name, or there twice.
    #[error(
        "{what} '{name}': expected different names of letters, digits, '-', '_' and '.', at most 100 bytes"
    )]
    Name {
        /// Of what.
        what: &'static str,
        /// As given.
        name: String,
    },
    /// Two places are one.
    #[error("{second} lies in {}, where {first} is: they would be lost together", folder.display())]
    SamePlace {
        /// The one.
        first: String,
        /// The other.
        second: String,
        /// Its folder.
        folder: PathBuf,
    },
    /// No quorum, or no secret.
    #[error(
        "a quorum of {quorum} of {custodians} custodians: expected at least {QUORUM_MIN}, at most all of them, and at most {CUSTODIANS_MAX} custodians"
    )]
    Quorum {
        /// t.
        quorum: u8,
        /// n.
        custodians: usize,
    },
    /// A custodian's document is not one.
    #[error("{origin}: {what}")]
    Custodian {
        /// Where it came from.
        origin: String,
        /// What is wrong.
        what: String,
    },
    /// Two custodians have a key in common.
    #[error("custodians {first} and {second} have the same key: they would be one custodian")]
    SameKey {
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
    /// Custodians begin with keys of different epochs.
    #[error("custodian {first} has a key of epoch {first_epoch}, {second} one of epoch {second_epoch}")]
    Epochs {
        /// The one.
        first: String,
        /// Its epoch.
        first_epoch: u64,
        /// The other.
        second: String,
        /// Its epoch.
        second_epoch: u64,
    },
    /// There is a vault already.
    #[error("{} is there already", path.display())]
    Taken {
        /// What is there.
        path: PathBuf,
    },
    /// The filesystem refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A site refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The sealer's keys are not kept.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// It was written and does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl Classified for InitError {
    fn class(&self) -> Class {
        match self {
            InitError::Custodian { .. } => Class::Input,
            InitError::Disk(error) => error.class(),
            InitError::Store(error) => error.class(),
            InitError::KeyFile(error) => error.class(),
            InitError::Open(error) => error.class(),
            _ => Class::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            InitError::Sites { .. } => {
                Some("name more sites, or give more parity fragments (--parity)".to_owned())
            }
            InitError::SamePlace { .. } => Some("give each a folder of its own".to_owned()),
            InitError::Custodian { .. } => {
                Some("ask the custodian for the NAME.pub.json that custodian keygen wrote".to_owned())
            }
            InitError::Taken { .. } => Some("take another folder".to_owned()),
            InitError::Disk(error) => error.hint(),
            InitError::Store(error) => error.hint(),
            InitError::KeyFile(error) => error.hint(),
            InitError::Open(error) => error.hint(),
            _ => None,
        }
    }
}
