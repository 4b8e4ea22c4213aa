//! The hold that whoever runs a task keeps on it while it runs.

use jobs::failure::{Class, Classified};
use jobs::genome::Cell;

/// Where a task is told to end, and whether anybody needs it.
pub trait Hold: Sync {
    /// A region or joint task is about to begin `cell`; `false`: it must not, and what it has is all.
    fn reach(&self, cell: Cell) -> bool;

    /// Whether somebody still needs it.
    fn is_needed(&self) -> bool;
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
    fn reach(&self, _cell: Cell) -> bool {
        true
    }

    fn is_needed(&self) -> bool {
        true
    }
}
