//! The hold that whoever runs a task keeps on it while it runs.

use jobs::failure::{Class, Classified};

/// Where a task is told to end, and whether anybody needs it.
pub trait Hold: Sync {
    /// A task is about to begin this one of its [`Task::steps`]; `false`: it must not, and what it has is all. It comes to
    /// each of them in turn.
    ///
    /// [`Task::steps`]: jobs::task::Task::steps
    fn reach(&self, step: u32) -> bool;

    /// Whether somebody still needs it.
    fn is_needed(&self) -> bool;

    /// Whether the files it writes are kept: not, if its output is only compared with that of another attempt.
    fn is_kept(&self) -> bool {
        true
    }
}

/// Nobody needs a task any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cancelled")]
pub struct Cancelled;

impl Classified for Cancelled {
    fn class(&self) -> Class {
        Class::Interrupted
    }
}

impl dyn Hold + '_ {
    /// An error once nobody needs it.
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.is_needed() { Ok(()) } else { Err(Cancelled) }
    }
}

/// Holds nothing: the task runs to its end.
#[derive(Clone, Copy, Debug)]
pub struct Free;

impl Hold for Free {
    fn reach(&self, _step: u32) -> bool {
        true
    }

    fn is_needed(&self) -> bool {
        true
    }
}
