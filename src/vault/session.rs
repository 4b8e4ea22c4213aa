//! What sealing and restoring need at once: the vault with its keys unlocked, and the gate.
//!
//! Invariant: the vault's audit log is another process's whenever this one waits for a person or goes on to another file;
//! whoever opens it closes it before either.

use super::VaultArgs;
use super::gate_file::GateArgs;
use crate::gate::Gate;
use crate::passphrase::PassphraseArgs;
use crate::run::trail::tool;
use jobs::event::{self, Actor, Event, EventName, Node, Outcome};
use jobs::failure::Failure;
use jobs::policy::{Action, DataClass, Denial, Permit, Subject};
use storage::keyfile::KeyFileError;
use storage::vault::{AuditLog, Caller, Sealer, UnlockError, Vault};
use workers::access::now;
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

    /// A permit, decided now; what was decided of each sample is in the vault's audit log before this returns.
    pub fn permit(
        &self,
        log: &AuditLog,
        action: Action,
        class: DataClass,
        subjects: &[Subject],
    ) -> Result<Permit, Failure> {
        let register = self.gate.register()?;
        let decided = self.gate.ask(&register, action, class, subjects);
        for subject in subjects {
            let (name, outcome, reasons) = match &decided {
                Ok(_) => (EventName::PolicyPermit, Outcome::Ok, Vec::new()),
                Err(denial) => (EventName::PolicyDeny, Outcome::Refused, reasons(denial, &subject.sample)),
            };
            let event = Event {
                actor: self.caller.actor.clone(),
                tool: self.caller.tool.clone(),
                object: event::Object { class: Some(class), ..event::Object::default() },
                participant_h: Some(self.sealer.participant_h(&subject.participant).to_string()),
                consent_epoch: Some(register.epoch()),
                reasons,
                policy_sha256: Some(self.gate.policy().sha256.clone()),
                ..Event::new(name, outcome)
            };
            let event = event.with("action", action.name()).with("sample", subject.sample.as_str());
            log.append(event, now())?;
        }
        Ok(decided?)
    }
}

/// What stands against one sample. A sample that is not denied itself falls with the others it was asked for with.
fn reasons(denial: &Denial, sample: &str) -> Vec<String> {
    let own = denial.samples.get(sample).into_iter().flatten();
    denial.general.iter().chain(own).map(ToString::to_string).collect()
}
