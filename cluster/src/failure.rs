//! A failure of a task in a form that travels.

use jobs::failure::{Class, Classified, Failure};
use jobs::task::Task;
use scheduler::Exhausted;
use serde::{Deserialize, Serialize};

/// Why an attempt has no output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskFailure {
    /// Decides what becomes of the task and the job.
    pub class: Class,
    /// The message and its causes, outermost first; never empty.
    pub chain: Vec<String>,
    /// What the user can do about it.
    pub hint: Option<String>,
    /// What ran out, if that is why.
    pub exhausted: Option<Exhausted>,
    /// The input whose committed output was found damaged, if that is why.
    pub damaged: Option<Task>,
}

impl From<Failure> for TaskFailure {
    fn from(failure: Failure) -> Self {
        TaskFailure {
            class: failure.class(),
            chain: failure.chain(),
            hint: failure.hint(),
            exhausted: None,
            damaged: None,
        }
    }
}

impl From<TaskFailure> for Failure {
    fn from(failure: TaskFailure) -> Self {
        let mut chain = failure.chain.into_iter();
        let message = chain.next().unwrap_or_default();
        let link = |source: Option<Box<Cause>>, message| Some(Box::new(Cause { message, source }));
        let source = chain.rev().fold(None, link);
        Relayed { class: failure.class, hint: failure.hint, message, source }.into()
    }
}

/// One link of a chain of messages.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Cause {
    message: String,
    source: Option<Box<Cause>>,
}

/// A failure of another thread or process.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Relayed {
    class: Class,
    hint: Option<String>,
    message: String,
    source: Option<Box<Cause>>,
}

impl Classified for Relayed {
    fn class(&self) -> Class {
        self.class
    }

    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}
