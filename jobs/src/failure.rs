//! Classes of failure: the exit code of the program and the retry rule follow from the class, never from a message.

use std::fmt;

/// What kind of failure this is. [`Class::exit_code`] is a contract with scripts and batch systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The environment failed: no space, no permission, a lost file handle.
    Failed,
    /// The command line or configuration is wrong.
    Usage,
    /// An input file is damaged, foreign or inconsistent.
    Input,
    /// The policy forbids it.
    Policy,
    /// Waiting for a person.
    OnHold,
    /// Stored bytes are not the bytes that were written.
    Integrity,
    /// Not enough custodians.
    Quorum,
    /// A remote party failed; the only class worth a blind retry.
    Remote,
    /// A broken promise of the program itself.
    Internal,
    /// The job ended with something missing, which is named.
    Partial,
    /// The user interrupted it.
    Interrupted,
}

impl Class {
    /// The process exit code of this class.
    pub const fn exit_code(self) -> u8 {
        match self {
            Class::Failed => 1,
            Class::Usage => 2,
            Class::Input => 3,
            Class::Policy => 4,
            Class::OnHold => 5,
            Class::Integrity => 6,
            Class::Quorum => 7,
            Class::Remote => 8,
            Class::Internal => 9,
            Class::Partial => 10,
            Class::Interrupted => 130,
        }
    }

    /// The class that ends a process with this code, if one does.
    pub fn of_exit_code(code: i32) -> Option<Class> {
        let all = [
            Class::Failed,
            Class::Usage,
            Class::Input,
            Class::Policy,
            Class::OnHold,
            Class::Integrity,
            Class::Quorum,
            Class::Remote,
            Class::Internal,
            Class::Partial,
            Class::Interrupted,
        ];
        all.into_iter().find(|class| i32::from(class.exit_code()) == code)
    }
}

/// An error that knows its class and, where there is one, the command that helps.
pub trait Classified: std::error::Error + Send + Sync + 'static {
    /// The class that decides exit code and retry.
    fn class(&self) -> Class;

    /// What the user can do about it: lower case, no full stop, a command where possible.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// A classified error of any room on its way to the user.
pub struct Failure(Box<dyn Classified>);

impl Failure {
    /// The class that decides exit code and retry.
    pub fn class(&self) -> Class {
        self.0.class()
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        self.0.hint()
    }

    /// The message and its chain of causes, outermost first.
    pub fn chain(&self) -> Vec<String> {
        let mut messages = vec![self.0.to_string()];
        let mut source = self.0.source();
        while let Some(cause) = source {
            messages.push(cause.to_string());
            source = cause.source();
        }
        messages
    }
}

impl<E: Classified> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure(Box::new(error))
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain().join(": "))
    }
}
