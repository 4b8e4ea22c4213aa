//! The other ranks: each is called to a job, opens it, and runs what it is ordered to run until the world ends.
//!
//! Invariant: a rank says nothing to the user; rank 0 speaks for all. It ends with the exit code of rank 0, also while
//! tasks still run: whatever they do afterwards is in no journal.

use super::ticket::Tickets;
use super::wire::{Hello, Message};
use super::{Arrival, Link, MpiError, Port};
use crate::engine::{Order, Report, TaskRunner};
use crate::failure::TaskFailure;
use crate::worker::Pool;
use jobs::failure::{Classified, Failure};
use scheduler::WorkerId;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

/// How often a rank looks whether a signal asked it to stop.
const LOOK: Duration = Duration::from_millis(200);

/// Reports that go out as one message.
const REPORTS_AT_ONCE: usize = 256;

/// A rank that has introduced itself.
#[derive(Debug)]
pub struct Rank {
    port: Port,
}

/// What a rank is called to.
#[derive(Debug)]
pub enum Called {
    /// A job.
    Job(Offer),
    /// To exit with this code.
    End(u8),
}

/// A job, and what the rank may use for it.
#[derive(Debug)]
pub struct Offer {
    /// The rank's name as a worker.
    pub worker: WorkerId,
    /// The job, in the caller's encoding.
    pub job: Vec<u8>,
    /// Tasks at once.
    pub slots: u32,
    /// Bytes of memory.
    pub memory_bytes: u64,
}

/// What a rank that has opened a job works with.
pub struct Workplace<'a> {
    /// Runs tasks.
    pub runner: &'a dyn TaskRunner,
    /// Tasks at once.
    pub slots: u32,
    /// The channel that tickets and tasks report to.
    pub reports: (Sender<Report>, Receiver<Report>),
    /// What waits for [`Order::Logged`].
    pub tickets: &'a Tickets,
    /// Set by a signal.
    pub stop: &'a AtomicBool,
}

impl Rank {
    /// Introduces itself to rank 0.
    pub fn introduce(port: Port, hello: &Hello) -> Result<Self, MpiError> {
        port.link.introduce(hello)?;
        Ok(Rank { port })
    }

    /// Waits to be called.
    pub fn called(&self) -> Called {
        for arrival in &self.port.arrivals {
            match arrival {
                Arrival::Message(0, Message::Job { worker, job, slots, memory_bytes }) => {
                    return Called::Job(Offer { worker, job, slots, memory_bytes });
                }
                arrival => {
                    if let Some(code) = end_of(&arrival) {
                        return Called::End(code);
                    }
                }
            }
        }
        Called::End(MpiError::NotBegun.class().exit_code())
    }

    /// Says that it cannot take part, and waits for the end; the exit code.
    pub fn unable(&self, failure: Failure) -> u8 {
        // Without the message the rank is given up once it is silent.
        let _ = self.port.link.send(0, &Message::Unable(TaskFailure::from(failure)));
        loop {
            if let Called::End(code) = self.called() {
                return code;
            }
        }
    }

    /// Works until the world ends, and returns the exit code. `end` is given it first, while tasks may still run; if it
    /// returns, those are waited for.
    pub fn work(&self, place: Workplace<'_>, end: impl FnOnce(u8)) -> u8 {
        let Workplace { runner, slots, reports: (reports, said), tickets, stop } = place;
        let link = &self.port.link;
        thread::scope(|scope| {
            let pool = Pool::start(scope, runner, slots, reports);
            scope.spawn(move || {
                let told = link.send(0, &Message::Ready).and_then(|()| tell(link, &said, stop));
                if let Err(error) = told {
                    // Rank 0 gives what is here to others.
                    let _ = link.send(0, &Message::Unable(Failure::from(error).into()));
                }
            });
            for arrival in &self.port.arrivals {
                if let Some(code) = end_of(&arrival) {
                    end(code);
                    return code;
                }
                let Arrival::Message(0, Message::Orders(orders)) = arrival else { continue };
                for order in orders {
                    match order {
                        Order::Logged(ticket) => tickets.written(ticket),
                        Order::Stop => {
                            tickets.give_up();
                            pool.take(Order::Stop);
                        }
                        order => pool.take(order),
                    }
                }
            }
            MpiError::NotBegun.class().exit_code()
        })
    }
}

/// Passes reports on, many at once where there are many, and a signal's wish to stop.
fn tell(link: &Link, said: &Receiver<Report>, stop: &AtomicBool) -> Result<(), MpiError> {
    let mut stopping = false;
    loop {
        match said.recv_timeout(LOOK) {
            Ok(first) => {
                let reports = std::iter::once(first).chain(said.try_iter()).take(REPORTS_AT_ONCE).collect();
                link.send(0, &Message::Reports(reports))?;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        if !stopping && stop.load(Ordering::Relaxed) {
            stopping = true;
            link.send(0, &Message::Stop { soon: true })?;
        }
    }
}

/// The exit code, if the world ends with this.
fn end_of(arrival: &Arrival) -> Option<u8> {
    match arrival {
        Arrival::End(code) => Some(*code),
        // Rank 0 cannot be told any more.
        Arrival::Silent(_) => Some(MpiError::Orphaned.class().exit_code()),
        Arrival::Broken(error) => Some(error.class().exit_code()),
        Arrival::Hello(..) | Arrival::Message(..) | Arrival::Back(_) => None,
    }
}
