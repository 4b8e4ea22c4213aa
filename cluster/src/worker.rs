//! A worker: threads of this process that take [`Order`]s and say [`Report`]s.
//!
//! The local engine is one of these; an MPI rank is one behind messages; a bundle is one fed from a file. Invariant: each
//! [`Order::Run`] is answered by one [`Report::Ended`], also of attempts that were cancelled or panicked. A panic in a
//! task is that task's failure, not the process's.

use crate::control::Control;
use crate::engine::{Ended, Order, Report, Request, TaskRunner};
use crate::failure::TaskFailure;
use crate::meter::{now_ms, thread_cpu_ms};
use jobs::failure::{Class, Classified, Failure};
use scheduler::{AttemptId, Usage};
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;

/// The threads of a worker. Dropping it is [`Order::Stop`]: nothing is begun any more, and what runs is cancelled.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    reports: Sender<Report>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<(Request, Arc<Control>)>,
    /// Those that are queued or run.
    held: HashMap<AttemptId, Arc<Control>>,
    stopped: bool,
}

/// A task ended by a panic.
#[derive(Debug, thiserror::Error)]
#[error("the task broke a promise of the program: {message}")]
pub struct TaskPanicked {
    /// What the panic said.
    pub message: String,
}

impl Classified for TaskPanicked {
    fn class(&self) -> Class {
        Class::Internal
    }

    fn hint(&self) -> Option<String> {
        Some("this is a bug of wakachi; please report it with the message above".to_owned())
    }
}

/// An attempt that nobody needs any more.
#[derive(Debug, thiserror::Error)]
#[error("cancelled")]
pub struct Cancelled;

impl Classified for Cancelled {
    fn class(&self) -> Class {
        Class::Interrupted
    }
}

impl Pool {
    /// Starts `slots` threads in `scope`; what they have to say goes to `reports`.
    pub fn start<'scope, 'env>(
        scope: &'scope Scope<'scope, 'env>,
        runner: &'env (dyn TaskRunner + 'env),
        slots: u32,
        reports: Sender<Report>,
    ) -> Self {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), reports });
        for slot in 0..slots {
            let shared = Arc::clone(&shared);
            scope.spawn(move || shared.serve(slot, runner));
        }
        Pool { shared }
    }

    /// Takes an order; returns at once. [`Order::Logged`] is not for the pool.
    pub fn take(&self, order: Order) {
        self.shared.take(order);
    }

    /// Attempts that are queued or run.
    pub fn held(&self) -> usize {
        self.shared.lock().held.len()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.take(Order::Stop);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, order: Order) {
        let mut state = self.lock();
        match order {
            Order::Run(request) => {
                let control = Control::new(request.attempt, request.task, self.reports.clone());
                let control = Arc::new(control);
                state.held.insert(request.attempt, Arc::clone(&control));
                state.queue.push_back((request, control));
                self.changed.notify_one();
            }
            Order::Cut(attempt) => {
                if let Some(control) = state.held.get(&attempt) {
                    control.cut();
                }
            }
            Order::Cancel(attempt) => {
                if let Some(control) = state.held.get(&attempt) {
                    control.cancel();
                }
            }
            Order::Stop => {
                state.stopped = true;
                state.held.values().for_each(|control| control.cancel());
                self.changed.notify_all();
            }
            Order::Logged(_) => {}
        }
    }

    /// A thread: runs what is queued until there is no more.
    fn serve(&self, slot: u32, runner: &dyn TaskRunner) {
        while let Some((request, control)) = self.next() {
            let ended = self.attempt(slot, runner, &request, &control);
            self.lock().held.remove(&request.attempt);
            if self.reports.send(Report::Ended(ended)).is_err() {
                return;
            }
        }
    }

    fn next(&self) -> Option<(Request, Arc<Control>)> {
        let mut state = self.lock();
        loop {
            if let Some(next) = state.queue.pop_front() {
                return Some(next);
            }
            if state.stopped {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn attempt(&self, slot: u32, runner: &dyn TaskRunner, request: &Request, control: &Control) -> Ended {
        let attempt = request.attempt;
        let (started_ms, cpu) = (now_ms(), thread_cpu_ms());
        let result = match control.cancelled() {
            true => Err(TaskFailure::from(Failure::from(Cancelled))),
            false => {
                let _ = self.reports.send(Report::Started { attempt, slot });
                catch_unwind(AssertUnwindSafe(|| runner.run(request, control))).unwrap_or_else(|panic| {
                    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                    let message = text.or_else(|| panic.downcast_ref::<String>().cloned());
                    Err(Failure::from(TaskPanicked { message: message.unwrap_or_default() }).into())
                })
            }
        };
        let bytes = |commits: &mut dyn Iterator<Item = u64>| commits.sum();
        let usage = Usage {
            cpu_ms: thread_cpu_ms() - cpu,
            started_ms,
            finished_ms: now_ms(),
            bytes_in: bytes(
                &mut request.inputs.iter().flat_map(|(_, commit)| &commit.pieces).map(|p| p.length),
            ),
            bytes_out: bytes(&mut result.iter().flat_map(|output| &output.pieces).map(|piece| piece.length)),
            slot,
        };
        Ended { attempt, task: control.close(), result, usage }
    }
}
