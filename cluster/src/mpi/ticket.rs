//! Audit events of a rank on their way to rank 0, who writes the log.
//!
//! Invariant: [`Tickets::log`] returns `Ok` only after rank 0 said that the events are written, so that whatever they
//! announce happens after they stand in the log. Once the rank is given up nothing is announced any more.

use crate::engine::Report;
use jobs::failure::{Class, Classified};
use scheduler::WorkerId;
use std::collections::BTreeSet;
use std::sync::mpsc::Sender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The events that a rank has sent and that are not known to be written.
#[derive(Debug)]
pub struct Tickets {
    worker: WorkerId,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    reports: Option<Sender<Report>>,
    next: u64,
    waiting: BTreeSet<u64>,
}

/// Nobody writes this rank's events any more.
#[derive(Debug, thiserror::Error)]
#[error("this rank was given up; its events are not written any more")]
pub struct GivenUp;

impl Classified for GivenUp {
    fn class(&self) -> Class {
        Class::Remote
    }
}

impl Tickets {
    /// For the events of `worker`, which go into `reports`.
    pub fn new(worker: WorkerId, reports: Sender<Report>) -> Self {
        let state = State { reports: Some(reports), next: 0, waiting: BTreeSet::new() };
        Tickets { worker, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Sends events and waits until they are written.
    pub fn log(&self, events: Vec<u8>) -> Result<(), GivenUp> {
        let mut state = self.lock();
        let ticket = state.next;
        state.next += 1;
        state.waiting.insert(ticket);
        let report = Report::Log { worker: self.worker, ticket, events };
        state.reports.as_ref().ok_or(GivenUp)?.send(report).map_err(|_| GivenUp)?;
        while state.reports.is_some() && state.waiting.contains(&ticket) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.waiting.contains(&ticket) { Err(GivenUp) } else { Ok(()) }
    }

    /// These are written.
    pub fn written(&self, ticket: u64) {
        self.lock().waiting.remove(&ticket);
        self.changed.notify_all();
    }

    /// Nothing more will be written.
    pub fn give_up(&self) {
        self.lock().reports = None;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::thread;

    #[test]
    fn events_are_waited_for_until_they_are_written() {
        let (reports, said) = channel();
        let tickets = Tickets::new(WorkerId(3), reports);
        thread::scope(|scope| {
            let waiting = [7u8, 8].map(|byte| {
                let tickets = &tickets;
                scope.spawn(move || tickets.log(vec![byte]))
            });
            let sent = [said.recv().unwrap(), said.recv().unwrap()];
            for report in sent {
                let Report::Log { worker: WorkerId(3), ticket, .. } = report else { panic!("{report:?}") };
                tickets.written(ticket);
            }
            waiting.into_iter().for_each(|one| one.join().unwrap().unwrap());
        });
    }

    #[test]
    fn who_is_given_up_waits_no_longer() {
        let (reports, said) = channel();
        let tickets = Tickets::new(WorkerId(3), reports);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| tickets.log(vec![1]));
            said.recv().unwrap();
            tickets.give_up();
            assert!(waiting.join().unwrap().is_err());
        });
        assert!(tickets.log(vec![2]).is_err());
        assert!(said.recv().is_err());
    }
}
