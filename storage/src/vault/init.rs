//! Makes a vault, or says with numbers why it would not keep what it promises.

use super::Vault;
use super::description::SiteEntry;
use jobs::time::Timestamp;
use std::path::Path;

/// What a vault shall be.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// Its name, for people.
    pub name: String,
    /// Data fragments of each object, k.
    pub data: u8,
    /// Parity fragments of each object, m.
    pub parity: u8,
    /// Where fragments lie: name and URL. Folders are made where they are not there.
    pub sites: Vec<SiteEntry>,
    /// The custodians' documents (`NAME.pub.json`): origin for messages, and bytes.
    pub custodians: Vec<(String, Vec<u8>)>,
    /// Custodians that are needed to restore, t.
    pub quorum: u8,
    /// Sites that may be lost; `None`: as many as are survivable.
    pub site_losses: Option<u8>,
    /// When.
    pub now: Timestamp,
}

/// Why a vault was not made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {}

impl Vault {
    /// Makes a vault in `folder`, which must not hold one, and at its sites. The sealer's private keys are sealed by `passphrase`.
    pub fn init(folder: &Path, options: &InitOptions, passphrase: &str) -> Result<Vault, InitError> {
        todo!()
    }
}
