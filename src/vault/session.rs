//! What sealing and restoring need at once: the vault with its keys unlocked, and the gate.
//!
//! Invariant: the vault's audit log is another process's whenever this one waits for a person or goes on to another file;
//! whoever opens it closes it before either.

use super::VaultArgs;
use super::gate_file::GateArgs;
use crate::gate::Gate;
use crate::passphrase::PassphraseArgs;
use crate::run::trail::tool;
use jobs::event::{Actor, Node};
use jobs::failure::Failure;
use jobs::policy::{Action, DataClass, Permit, Subject};
use storage::keyfile::KeyFileError;
use storage::vault::{AuditLog, Caller, Digest, Sealer, UnlockError, Vault};
use zeroize::Zeroizing;

/// An open vault, at work.
pub struct Session {
    pub vault: Vault,
    pub sealer: Sealer,
    pub gate: Gate,
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
        let is_wrong =
            |error: &UnlockError| matches!(error, UnlockError::KeyFile(KeyFileError::Refused { .. }));
        let open = |passphrase: &str| Ok((vault.unlock(passphrase)?, Zeroizing::new(passphrase.to_owned())));
        let (sealer, passphrase) = passphrases.unlock(&what, open, is_wrong)?;
        let caller = Caller { actor: Actor::from(gate.actor()), tool: tool(), job: None };
        Ok(Session { vault, sealer, gate, caller, passphrase })
    }

    /// The vault's audit log, for this process alone while it is open.
    pub fn log(&self) -> Result<AuditLog, Failure> {
        let site = Some(self.gate.site().to_owned());
        Ok(self.sealer.open_log(&self.vault, Node { site, ..Node::default() })?)
    }

    /// A permit, decided now; what was decided of each sample is in the vault's audit log before this returns, with the
    /// keyed hash of its participant's code that `participant_h` knows.
    pub fn permit(
        &self,
        log: &AuditLog,
        action: Action,
        class: DataClass,
        subjects: &[Subject],
        participant_h: impl Fn(&Subject) -> Digest,
    ) -> Result<Permit, Failure> {
        self.gate.permit_in(log, &self.caller, (action, class), subjects, participant_h)
    }
}
