//! Following one bundle: what came of it, how the service says it stands, whether the policy still allows it.
//!
//! Invariant: what came is taken in before the service's word about the end is weighed, so nothing that was sent is
//! lost; who had a core is to blame for a death, who only waited is moved.

use super::api::{State, Task as TesTask};
use super::client::View;
use super::engine::{Sent, Shared};
use crate::bundle::carried::{receipt_context, standing_context};
use crate::bundle::cut::{self, CUT_BYTES_MAX};
use crate::bundle::{BundleError, DOCUMENT_BYTES_MAX, Receipt, outcome, to_json};
use crate::engine::{Ended, Order, Report, Request};
use crate::failure::TaskFailure;
use jobs::failure::{Class, Failure};
use scheduler::{AttemptId, Departure, Exhausted, Usage};
use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;
use storage::DiskError;

/// Polls in a row without an answer, after which the service is given up.
pub(super) const SILENT_MAX: u32 = 20;
/// Ends the name of an answer, which lies beside the outcome of its attempt.
pub(super) const ANSWER: &str = ".answer";
/// Bytes of an outcome that are fetched.
const OUTCOME_BYTES_MAX: u64 = 8 << 30;
/// How a process ends that was killed for its memory.
const KILLED: i32 = 137;

/// What becomes of a bundle.
enum Fate {
    /// Go on.
    Going,
    /// It is over.
    Over(Departure),
}

impl Shared<'_> {
    /// Looks after a bundle until it is over.
    pub(super) fn follow(&self, sent: &mut Sent, orders: &Receiver<Order>) -> Departure {
        let mut silent = 0;
        loop {
            let poll = self.settings.poll;
            // Whoever is silent is not asked more often for it.
            match orders.recv_timeout(if silent == 0 { sent.pause(poll) } else { poll }) {
                Ok(Order::Cancel(attempt)) => {
                    let cancelled = sent.open.iter().position(|request| request.attempt == attempt);
                    if let Some(at) = cancelled {
                        let request = sent.open.remove(at);
                        sent.started -= usize::from(at < sent.started);
                        sent.cancelled = true;
                        self.fail(&request, TaskFailure::from(Failure::from(crate::worker::Cancelled)));
                    }
                    if sent.open.is_empty() {
                        return self.cancelled(sent);
                    }
                }
                Ok(Order::Stop) => return self.cancelled(sent),
                Ok(Order::Cut(attempt)) => self.ask(sent, attempt),
                // A bundle is told nothing else while it runs.
                Ok(Order::Logged(_) | Order::Run(_)) => {}
                Err(RecvTimeoutError::Timeout) => match self.look(sent) {
                    Ok(Fate::Going) => silent = 0,
                    Ok(Fate::Over(why)) => return why,
                    Err(failure) if failure.class() == Class::Remote && silent < SILENT_MAX => silent += 1,
                    Err(failure) => {
                        self.give_up(failure);
                        return self.cancelled(sent);
                    }
                },
                Err(RecvTimeoutError::Disconnected) => return self.cancelled(sent),
            }
        }
    }

    /// Asks the worker to end an attempt early. One whom that does not reach does not answer, as the scheduler will see.
    fn ask(&self, sent: &mut Sent, attempt: AttemptId) {
        if sent.open.iter().all(|request| request.attempt != attempt) {
            return;
        }
        sent.asked = Instant::now();
        let sealed = cut::ask(&sent.id, &sent.key, &sent.cuts.ask(attempt));
        let _ = self.settings.store.replace(&format!("{}/asked", self.folder(&sent.id)), sealed);
    }

    fn cancelled(&self, sent: &Sent) -> Departure {
        // One that cannot be reached now is cancelled when the job begins the next time; its standing ends before.
        let _ = self.settings.store.remove(&format!("{}/standing", self.folder(&sent.id)));
        let _ = self.settings.client.cancel(&sent.task);
        Departure::Lost
    }

    /// One look: what came, how the service says it stands, whether the policy still allows it.
    fn look(&self, sent: &mut Sent) -> Result<Fate, Failure> {
        // Asked first: what is there after the task is over was there when it was.
        let state = self.settings.client.get(&sent.task, View::Minimal)?.state;
        let honest = self.collect(sent)?;
        if !honest {
            return Ok(Fate::Over(self.cancelled(sent)));
        }
        if state.is_over() {
            return self.conclude(sent, state).map(Fate::Over);
        }
        if sent.open.is_empty() && (sent.cancelled || state == State::Canceling) {
            self.cancelled(sent);
            return Ok(Fate::Over(Departure::Ended));
        }
        if state == State::Running {
            self.note_started(sent);
        }
        if sent.born.elapsed() > self.settings.bundle_life {
            return Ok(Fate::Over(self.cancelled(sent)));
        }
        if sent.renewed.elapsed() >= self.settings.renew && !sent.open.is_empty() {
            return self.renew(sent);
        }
        Ok(Fate::Going)
    }

    /// Says which attempts have a core now, as far as can be known from here: as many as there are cores, in order.
    fn note_started(&self, sent: &mut Sent) {
        let slots = self.settings.resources.cpu_cores as usize;
        for (at, request) in sent.open.iter().enumerate().take(slots).skip(sent.started) {
            self.say(Report::Started { attempt: request.attempt, slot: at as u32 });
        }
        sent.started = sent.started.max(slots.min(sent.open.len()));
    }

    /// Takes in every answer and outcome that is there; false: one of them is not what its worker should have sent.
    fn collect(&self, sent: &mut Sent) -> Result<bool, Failure> {
        for (name, _) in self.settings.store.list(&format!("{}/out", self.folder(&sent.id)))? {
            let last = name.rsplit('/').next().unwrap_or_default();
            let number = last.strip_suffix(ANSWER).unwrap_or(last);
            let attempt = number.parse().ok().map(AttemptId);
            let at = sent.open.iter().position(|request| Some(request.attempt) == attempt);
            let Some(at) = at else { continue };
            let taken = match number == last {
                true => self.take_outcome(sent, at, &name),
                false => self.take_answer(sent, at, &name),
            };
            match taken {
                Ok(()) => {}
                // What this machine or the store cannot do is no fault of the worker's.
                Err(failure) if matches!(failure.class(), Class::Failed | Class::Remote) => {
                    return Err(failure);
                }
                Err(failure) => {
                    let request = sent.open.remove(at);
                    let chain = [format!("worker {} sent something else than its output", sent.id)];
                    let chain = chain.into_iter().chain(failure.chain()).collect();
                    let failure = TaskFailure { class: Class::Remote, chain, ..TaskFailure::from(failure) };
                    self.fail(&request, failure);
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Says as what an attempt will end; what nobody asked, or has heard, is left alone.
    fn take_answer(&self, sent: &mut Sent, at: usize, name: &str) -> Result<(), Failure> {
        let (attempt, whole) = (sent.open[at].attempt, sent.open[at].task);
        if sent.cuts.awaits(attempt) {
            let sealed = self.settings.store.get(name, CUT_BYTES_MAX)?;
            let task = cut::answered(name, &sent.id, &sent.key, (attempt, whole), &sealed)?;
            sent.cuts.answer(attempt, task);
            self.say(Report::Cut { attempt, task });
        }
        Ok(())
    }

    /// Says how an attempt ended; of one that was cut, first that it was, if its answer was not seen.
    fn take_outcome(&self, sent: &mut Sent, at: usize, name: &str) -> Result<(), Failure> {
        let object = self.settings.store.get(name, OUTCOME_BYTES_MAX)?;
        let ended = self.take_in(sent, &sent.open[at], name, &object)?;
        let request = sent.open.remove(at);
        sent.started -= usize::from(at < sent.started);
        sent.bore |= ended.result.is_ok();
        if ended.task != request.task && sent.cuts.awaits(ended.attempt) {
            self.say(Report::Cut { attempt: ended.attempt, task: ended.task });
        }
        self.say(Report::Ended(ended));
        Ok(())
    }

    /// Opens an outcome and re-seals what it brings.
    fn take_in(&self, sent: &Sent, request: &Request, name: &str, object: &[u8]) -> Result<Ended, Failure> {
        let outcome = outcome::open(name, &sent.id, &sent.key, request.attempt, object)?;
        self.freight.read_there(request, &sent.id, &outcome.readings)?;
        // What was moved is what lay in the store, whatever the worker makes of it.
        let (bytes_in, bytes_out) = (sent.packed[&request.attempt], object.len() as u64);
        let usage = Usage { bytes_in, bytes_out, ..outcome.ended.usage };
        let ended = Ended { usage, ..outcome.ended };
        if !sent.cuts.may_end(request.attempt, request.task, ended.task) {
            return Err(BundleError::Sealed { name: name.to_owned() }.into());
        }
        let Ok(output) = ended.result else { return Ok(ended) };
        let folder = self.settings.scratch.join(&sent.id);
        fs::create_dir_all(&folder).map_err(DiskError::on("make", &folder))?;
        let path = folder.join(outcome::pack_name(request.attempt));
        fs::write(&path, object).map_err(DiskError::on("write", &path))?;
        let output = self.freight.unpack(request, ended.task, &sent.key, &folder, output);
        fs::remove_file(&path).map_err(DiskError::on("remove", &path))?;
        Ok(Ended { result: Ok(output?), task: ended.task, attempt: ended.attempt, usage })
    }

    /// What becomes of attempts that are still open when the task is over.
    fn conclude(&self, sent: &mut Sent, state: State) -> Result<Departure, Failure> {
        let full = self.settings.client.get(&sent.task, View::Full)?;
        self.keep_log(sent, state, &full)?;
        if state == State::Complete {
            self.take_receipt(sent);
        }
        if sent.open.is_empty() {
            return Ok(Departure::Ended);
        }
        let code = full.logs.last().and_then(|log| log.logs.last()).map_or(0, |log| log.exit_code);
        let what = match (state, code) {
            (State::ExecutorError, KILLED) => "was killed, most likely for its memory".to_owned(),
            (State::Complete, _) => "says it is complete, but left attempts out".to_owned(),
            (State::ExecutorError, code) => format!("ended with exit code {code}"),
            // Nobody's fault: they are done elsewhere.
            _ => return Ok(Departure::Lost),
        };
        // Those that had a core are to blame; the others were only in its queue and are moved.
        let running = match (state, code) {
            (State::ExecutorError, KILLED) => self.settings.resources.cpu_cores as usize,
            _ => sent.open.len(),
        };
        let exhausted = (code == KILLED).then_some(Exhausted::Memory);
        let class = if exhausted.is_some() { Class::Failed } else { Class::Remote };
        for request in sent.open.drain(..).take(running) {
            let chain = vec![
                format!("the worker of bundle {} {what}", sent.id),
                format!("its log is {}", self.log_path(&sent.id).display()),
            ];
            self.fail(&request, TaskFailure { class, chain, hint: None, exhausted, damaged: None });
        }
        Ok(Departure::Lost)
    }

    /// Says what the worker's time went to beside its attempts, as far as it can be read; it is for the bill alone.
    fn take_receipt(&self, sent: &Sent) {
        let read = || -> Result<Receipt, BundleError> {
            let name = format!("{}/receipt", self.folder(&sent.id));
            let sealed = self.settings.store.get(&name, DOCUMENT_BYTES_MAX)?;
            let json = sent.key.open(&name, &receipt_context(&sent.id), &sealed)?;
            Receipt::from_json(&name, &json, &sent.id)
        };
        let Ok(receipt) = read() else { return };
        for (cause, core_ms) in receipt.spent_core_ms {
            // Never more than the bundle has lived.
            let lived_ms =
                sent.born.elapsed().as_millis() as u64 * u64::from(self.settings.resources.cpu_cores);
            let core_ms = core_ms.min(lived_ms);
            self.say(Report::Spent { worker: sent.worker, cause, core_ms });
        }
    }

    pub(super) fn log_path(&self, id: &str) -> PathBuf {
        self.settings.scratch.join(format!("{id}.log"))
    }

    /// Keeps what service and worker wrote, for the user.
    fn keep_log(&self, sent: &Sent, state: State, task: &TesTask) -> Result<(), Failure> {
        let mut text = format!("bundle {}, task {}, {state:?}\n", sent.id, sent.task);
        for log in &task.logs {
            log.system_logs.iter().for_each(|line| text += &format!("system: {line}\n"));
            for executor in &log.logs {
                text += &format!("exit code {}\n{}\n", executor.exit_code, executor.stderr);
            }
        }
        let path = self.log_path(&sent.id);
        Ok(fs::write(&path, text).map_err(DiskError::on("write", &path))?)
    }

    /// Asks the gate again and replaces the standing; a no ends the bundle.
    fn renew(&self, sent: &mut Sent) -> Result<Fate, Failure> {
        match self.freight.standing(&sent.open) {
            Ok(standing) => {
                let sealed = sent.key.seal(&standing_context(&sent.id), &to_json(&standing));
                self.settings.store.replace(&format!("{}/standing", self.folder(&sent.id)), sealed)?;
                sent.renewed = Instant::now();
                Ok(Fate::Going)
            }
            Err(refused) if refused.class() == Class::Policy => {
                let refused = TaskFailure::from(refused);
                sent.open.drain(..).for_each(|request| self.fail(&request, refused.clone()));
                Ok(Fate::Over(self.cancelled(sent)))
            }
            Err(failure) => Err(failure),
        }
    }

    pub(super) fn fail(&self, request: &Request, failure: TaskFailure) {
        let (attempt, task) = (request.attempt, request.task);
        self.say(Report::Ended(Ended { attempt, task, result: Err(failure), usage: Usage::default() }));
    }
}
