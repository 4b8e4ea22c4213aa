//! What sealing and restoring need at once: the vault with its keys unlocked, its audit log, and the gate.

use super::VaultArgs;
use super::gate_file::GateArgs;
use crate::gate::Gate;
use crate::passphrase::PassphraseArgs;
use crate::run::trail::tool;
use jobs::event::{Actor, Node};
use jobs::failure::Failure;
use storage::keyfile::KeyFileError;
use storage::vault::{AuditLog, Caller, Sealer, UnlockError, Vault};
use zeroize::Zeroizing;

/// An open vault, at work.
pub struct Session {
    pub vault: Vault,
    pub sealer: Sealer,
    pub gate: Gate,
    pub log: AuditLog,
    pub caller: Caller,
    /// What unlocked the vault, and seals what the operator keeps beside it.
    pub passphrase: Zeroizing<String>,
}

impl Session {
    /// Opens everything; the gate first, so that nobody is asked for a passphrase in vain.
    pub fn open(vault: &VaultArgs, gate: &GateArgs, passphrases: &PassphraseArgs) -> Result<Self, Failure> {
        let folder = &vault.folder;
        let vault = Vault::open(folder)?;
        let gate = Gate::open(gate.files(folder)?)?;
        let what = format!("the keys of vault {}", vault.description().name);
        let is_wrong = |error: &UnlockError| matches!(error, UnlockError::KeyFile(KeyFileError::Refused { .. }));
        let open = |passphrase: &str| Ok((vault.unlock(passphrase)?, Zeroizing::new(passphrase.to_owned())));
        let (sealer, passphrase) = passphrases.unlock(&what, open, is_wrong)?;
        let site = Some(gate.site().to_owned());
        let log = sealer.open_log(&vault, Node { site, ..Node::default() })?;
        let caller = Caller { actor: Actor::from(gate.actor()), tool: tool(), job: None };
        Ok(Session { vault, sealer, gate, log, caller, passphrase })
    }
}
