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
        let cause = |source: Option<Box<Cause>>, message: String| Some(Box::new(Cause { message, source }));
        let cause = failure.chain.into_iter().rev().fold(None, cause);
        let cause = *cause.unwrap_or_default();
        Relayed { class: failure.class, hint: failure.hint, cause }.into()
    }
}

/// One link of a chain of messages.
#[derive(Debug, Default, thiserror::Error)]
#[error("{message}")]
struct Cause {
    message: String,
    source: Option<Box<Cause>>,
}

/// A failure of another thread or process.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Relayed {
    class: Class,
    hint: Option<String>,
    #[source]
    cause: Cause,
}

impl Classified for Relayed {
    fn class(&self) -> Class {
        self.class
    }

    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}
