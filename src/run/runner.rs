//! Runs a job's tasks under leases: given out where the scheduler is, checked and decided again where the task is run.

use super::admission::{Excluded, subjects};
use super::archive::Archive;
use super::books;
use super::close;
use super::trail::{Trail, obligations};
use crate::gate::Gate;
use crate::job_dir::JobDir;
use crate::output::command_line;
use cluster::{Output, Request, TaskRunner};
use jobs::cohort::Cohort;
use jobs::event::{Event, EventName, Object, Outcome};
use jobs::failure::{Class, Classified, Failure};
use jobs::lease::{Expected, Lease, LeaseError};
use jobs::policy::{Action, DataClass, Denial, NotPermitted, Permit, Subject};
use jobs::task::Task;
use scheduler::old::Scheduler;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use storage::lease::{LeaseKey, LeaseRefused, SignedLease};
use storage::{Commit, Journal, KeyFolder, PackError};
use workers::access::{Access, COHORT_KEY, now, samples_of};
use workers::context::Context;

/// What the tasks of a job share on this machine.
pub struct Runner<'a> {
    /// Reference, samples, settings, scratch.
    pub context: &'a Context,
    /// What is done.
    pub journal: &'a Journal,
    /// Where results go.
    pub dir: &'a JobDir,
    /// Those who were admitted.
    pub cohort: &'a Cohort,
    /// Those who were not.
    pub excluded: &'a [Excluded],
    /// Who decides.
    pub gate: &'a Gate,
    /// Where decisions are written.
    pub trail: &'a Trail,
    /// Keys of the scratch.
    pub keys: &'a KeyFolder,
    /// The scheduler's key.
    pub leases: &'a LeaseKey,
    /// Where finished files are sealed.
    pub archive: Option<&'a Archive>,
}

/// The job needs a purpose to lease anything.
#[derive(Debug, thiserror::Error)]
#[error("the cohort states no purpose")]
struct NoPurpose;

impl Classified for NoPurpose {
    fn class(&self) -> Class {
        Class::Policy
    }
}

impl TaskRunner for Runner<'_> {
    fn lease(&self, task: Task, attempt: u32) -> Result<SignedLease, Failure> {
        let permit = self.decide(Action::Dispatch, task)?;
        let lease = Lease {
            job: self.context.job.clone(),
            task: self.key(task),
            attempt,
            action: Action::Read,
            class: permit.class(),
            samples: permit.grounds().keys().cloned().collect(),
            purpose: self.gate.purpose().ok_or(NoPurpose)?,
            site: self.gate.site().to_owned(),
            epoch: permit.epoch(),
            policy_sha256: permit.policy_sha256().to_owned(),
            issued: now(),
            expires: permit.expires(),
        };
        let signed = self.leases.sign(&lease);
        let event = self.under(EventName::ShardLeased, task, Some(attempt), &permit);
        self.trail.write(event.with("lease", signed.id()))?;
        Ok(signed)
    }

    fn run(&self, request: &Request) -> Result<Output, Failure> {
        let (task, attempt) = (request.task, request.attempt);
        match self.verify(&request.lease, task, attempt)? {
            Ok(()) => {}
            // It waited for longer than it holds, or a clock jumped: decided again, once.
            Err(LeaseRefused::Claims { source: LeaseError::Time { .. }, .. }) => {
                self.verify(&self.lease(task, attempt)?, task, attempt)??;
            }
            Err(refused) => return Err(refused.into()),
        }
        if let (Task::SealSample(_) | Task::SealCohort, Some(archive)) = (task, self.archive) {
            return archive.run(self, task, &request.inputs);
        }
        let permit = self.decide(Action::Read, task)?;
        let samples = samples_of(self.context, task);
        self.reading(task, Some(attempt), &permit)?;
        let access = Access::under(self.context, permit, self.keys, task, &samples)?;
        self.renewing(&access, task, Some(attempt), || match task {
            Task::FinishCohort => close::finish_cohort(
                &access,
                self.journal,
                self.dir,
                self.cohort,
                self.excluded,
                &request.inputs,
                &command_line(),
            ),
            _ => {
                let done = workers::task::run(&access, task, &request.inputs, &self.dir.results())?;
                Ok(Output { pieces: done.pieces, summary: done.summary, chunks: done.chunks })
            }
        })
    }

    fn committing(&self, task: Task, attempt: u32, output: &Output) -> Result<(), Failure> {
        let event = Event {
            bytes: Some(output.pieces.iter().map(|piece| piece.length).sum()),
            // What cannot be read now was read when the task began.
            consent_epoch: self.gate.register().ok().map(|register| register.epoch()),
            ..self.of_task(EventName::ShardCommitted, Outcome::Ok, task, Some(attempt))
        };
        let pieces: Vec<String> = output.pieces.iter().map(|piece| books::hex(&piece.blake3)).collect();
        self.trail.write(event.with("action", Action::Commit.name()).with("pieces_blake3", pieces))
    }

    fn chunks_of(&self, commit: &Commit) -> Option<u32> {
        workers::task::chunks_of(commit)
    }
}

impl Runner<'_> {
    /// Removes from keys and journal what is damaged or missing, so that it is done again.
    pub fn repair(&self, scheduler: &Scheduler) -> Result<(), Failure> {
        let names = self.context.names().iter().map(String::as_str);
        // With a lost key, everything under it is noise; new keys are made as they are asked for.
        self.keys.forget_damaged(names.chain([COHORT_KEY]))?;
        let task = Task::FinishCohort;
        let permit = self.decide(Action::Read, task)?;
        self.reading(task, None, &permit)?;
        let all = samples_of(self.context, task);
        let access = Access::under(self.context, permit, self.keys, task, &all)?;
        self.renewing(&access, task, None, || {
            close::forget_damaged(&access, self.journal, scheduler, self.dir)
        })
    }

    /// Whether a lease is the scheduler's, and for this attempt here and now; the outer error is that nobody can tell.
    fn verify(
        &self,
        lease: &SignedLease,
        task: Task,
        attempt: u32,
    ) -> Result<Result<(), LeaseRefused>, Failure> {
        let mut samples: Vec<String> =
            self.subjects(task).into_iter().map(|subject| subject.sample).collect();
        samples.sort();
        let expected = Expected {
            job: &self.context.job,
            task: &self.key(task),
            attempt,
            action: Action::Read,
            class: class_of(task),
            samples: &samples,
            purpose: self.gate.purpose().ok_or(NoPurpose)?,
            site: self.gate.site(),
            epoch: self.gate.register()?.epoch(),
            policy_sha256: &self.gate.policy().sha256,
            now: now(),
        };
        Ok(self.leases.verifier().verify(lease, expected).map(drop))
    }

    /// A permit for a task, decided now; a denial is written down.
    fn decide(&self, action: Action, task: Task) -> Result<Permit, Failure> {
        let register = self.gate.register()?;
        let asked = self.gate.ask(&register, action, class_of(task), &self.subjects(task));
        asked.or_else(|denial| {
            self.denied(action, task, register.epoch(), &denial)?;
            Err(denial.into())
        })
    }

    fn denied(&self, action: Action, task: Task, epoch: u64, denial: &Denial) -> Result<(), Failure> {
        for subject in self.subjects(task).iter().filter(|subject| denial.is_denied_for(&subject.sample)) {
            let reasons = denial.reasons_for(&subject.sample).into_iter().cloned().collect();
            self.trail.decided((action, class_of(task)), subject, epoch, &reasons, None)?;
        }
        Ok(())
    }

    /// Those whose data a task touches.
    pub fn subjects(&self, task: Task) -> Vec<Subject> {
        let all = subjects(self.cohort);
        samples_of(self.context, task).into_iter().map(|sample| all[sample as usize].clone()).collect()
    }

    /// Runs `work` and renews its permit before it ends, as long as the gate says yes. Once it says no, nothing more is
    /// read and nothing comes of what was. As long as it says nothing, it is asked again, until the permit ends.
    fn renewing<T>(
        &self,
        access: &Access<'_>,
        task: Task,
        attempt: Option<u32>,
        work: impl Fn() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let interval = Duration::from_secs(self.gate.policy().lease_ttl_seconds.into()) / 3;
        // Dropped when the work ends, however it ends.
        let (_working, ended) = channel::<()>();
        let refused = Mutex::new(None);
        let done = thread::scope(|scope| {
            let (_working, refused) = (_working, &refused);
            scope.spawn(move || {
                while ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                    let renewed = self.renew(access, task, attempt);
                    if access.is_revoked() {
                        *refused.lock().unwrap_or_else(PoisonError::into_inner) = renewed.err();
                        return;
                    }
                }
            });
            let done = work();
            match access.holds() {
                // A permit that ended while nobody could renew it: the clock jumped, or the machine slept.
                Err(PackError::Permit(NotPermitted::Expired { .. })) if done.is_err() => {
                    self.renew(access, task, attempt)?;
                    work()
                }
                _ => done,
            }
        });
        match refused.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(refusal) => Err(refusal),
            None => done,
        }
    }

    /// Asks the gate again: a permit is renewed, a denial revokes it, and who cannot be asked changes nothing.
    fn renew(&self, access: &Access<'_>, task: Task, attempt: Option<u32>) -> Result<(), Failure> {
        let register = self.gate.register()?;
        match self.gate.ask(&register, Action::Read, class_of(task), &self.subjects(task)) {
            Ok(permit) => {
                self.trail.write(self.under(EventName::ShardRenewed, task, attempt, &permit))?;
                access.renew(permit);
                Ok(())
            }
            Err(denial) => {
                // Reading ends first, whatever becomes of the log.
                access.revoke();
                self.denied(Action::Read, task, register.epoch(), &denial)?;
                let event = Event {
                    reasons: denial.reasons().iter().map(ToString::to_string).collect(),
                    consent_epoch: Some(register.epoch()),
                    ..self.of_task(EventName::ShardRevoked, Outcome::Refused, task, attempt)
                };
                self.trail.write(event)?;
                Err(denial.into())
            }
        }
    }

    /// Writes that a task begins to read under a permit.
    fn reading(&self, task: Task, attempt: Option<u32>, permit: &Permit) -> Result<(), Failure> {
        let event = self.under(EventName::PolicyPermit, task, attempt, permit);
        self.trail.write(event.with("obligations", obligations(permit)))
    }

    /// An event of a task under a permit.
    fn under(&self, name: EventName, task: Task, attempt: Option<u32>, permit: &Permit) -> Event {
        let event = self.of_task(name, Outcome::Ok, task, attempt);
        Event { consent_epoch: Some(permit.epoch()), ..event }
            .with("action", permit.action().name())
            .with("expires", permit.expires().to_string())
    }

    /// An event of a task.
    fn of_task(&self, name: EventName, outcome: Outcome, task: Task, attempt: Option<u32>) -> Event {
        let event = Event {
            shard: Some(self.key(task)),
            attempt,
            object: Object { class: Some(class_of(task)), ..Object::default() },
            ..self.trail.event(name, outcome)
        };
        self.trail.about(event, &self.subjects(task))
    }

    fn key(&self, task: Task) -> String {
        task.key(self.context.names())
    }
}

/// The most sensitive data that a task reads.
fn class_of(task: Task) -> DataClass {
    match task {
        Task::Intake(_) | Task::Model(_) | Task::Map(..) => DataClass::Fastq,
        Task::Region(..) | Task::FinishSample(_) | Task::SealSample(_) => DataClass::Cram,
        Task::Joint(_) => DataClass::Gvcf,
        Task::FinishCohort | Task::SealCohort => DataClass::Joint,
    }
}
