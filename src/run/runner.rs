//! Runs a job's tasks under leases: given out where the scheduler is, checked and decided again where the task is run.

use super::admission::{Excluded, subjects};
use super::archive::Archive;
use super::close;
use super::trail::Trail;
use crate::gate::Gate;
use crate::job_dir::JobDir;
use crate::output::command_line;
use cluster::{Output, Request, TaskRunner};
use jobs::cohort::Cohort;
use jobs::event::{Event, EventName, Outcome};
use jobs::failure::{Class, Classified, Failure};
use jobs::lease::{Expected, Lease};
use jobs::policy::{Action, DataClass, Permit, Subject};
use jobs::task::Task;
use scheduler::Scheduler;
use std::collections::BTreeSet;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;
use storage::lease::{LeaseKey, SignedLease};
use storage::{Commit, Journal, KeyFolder};
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
        self.note(EventName::ShardLeased, task, attempt, &permit)?;
        Ok(self.leases.sign(&lease))
    }

    fn run(&self, request: &Request) -> Result<Output, Failure> {
        let (task, attempt) = (request.task, request.attempt);
        let samples = samples_of(self.context, task);
        let mut names: Vec<String> =
            samples.iter().map(|&sample| self.context.sample(sample).name.clone()).collect();
        names.sort();
        let key = self.key(task);
        let expected = Expected {
            job: &self.context.job,
            task: &key,
            attempt,
            samples: &names,
            site: self.gate.site(),
            epoch: self.gate.register()?.epoch(),
            now: now(),
        };
        self.leases.verifier().verify(&request.lease, expected)?;
        if let (Task::SealSample(_) | Task::SealCohort, Some(archive)) = (task, self.archive) {
            return archive.run(self, task, &request.inputs);
        }
        let permit = self.decide(Action::Read, task)?;
        self.note(EventName::PolicyPermit, task, attempt, &permit)?;
        let access = Access::under(self.context, permit, self.keys, task, &samples)?;
        self.renewing(&access, task, attempt, || match task {
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
        let permit = self.decide(Action::Read, Task::FinishCohort)?;
        let all = samples_of(self.context, Task::FinishCohort);
        let access = Access::under(self.context, permit, self.keys, Task::FinishCohort, &all)?;
        close::forget_damaged(&access, self.journal, scheduler, self.dir)
    }

    /// What the gate says now of a task; a denial is written down.
    fn decide(&self, action: Action, task: Task) -> Result<Permit, Failure> {
        let register = self.gate.register()?;
        let subjects = self.subjects(task);
        let asked = self.gate.ask(&register, action, class_of(task), &subjects);
        asked.or_else(|denial| {
            for subject in &subjects {
                let own = denial.samples.get(&subject.sample).into_iter().flatten();
                let reasons: BTreeSet<_> = denial.general.iter().chain(own).cloned().collect();
                self.trail.decided(action, Some(subject), register.epoch(), &reasons)?;
            }
            Err(denial.into())
        })
    }

    /// Those whose data a task touches.
    pub fn subjects(&self, task: Task) -> Vec<Subject> {
        let all = subjects(self.cohort);
        samples_of(self.context, task).into_iter().map(|sample| all[sample as usize].clone()).collect()
    }

    /// Runs `work` and renews its permit before it ends, as long as the gate goes on saying yes; once it does not,
    /// the next read fails.
    fn renewing<T>(
        &self,
        access: &Access<'_>,
        task: Task,
        attempt: u32,
        work: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let interval = Duration::from_secs(self.gate.policy().lease_ttl_seconds.into()) / 3;
        // Dropped when the work ends, however it ends.
        let (_working, ended) = channel::<()>();
        thread::scope(|scope| {
            let _working = _working;
            scope.spawn(move || {
                while ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                    let Ok(permit) = self.decide(Action::Read, task) else { return };
                    if self.note(EventName::ShardRenewed, task, attempt, &permit).is_err() {
                        return;
                    }
                    access.renew(permit);
                }
            });
            work()
        })
    }

    fn note(&self, name: EventName, task: Task, attempt: u32, permit: &Permit) -> Result<(), Failure> {
        let event = Event {
            shard: Some(self.key(task)),
            attempt: Some(attempt),
            consent_epoch: Some(permit.epoch()),
            ..self.trail.event(name, Outcome::Ok)
        };
        self.trail.write(
            event
                .with("action", permit.action().name())
                .with("expires", permit.expires().to_string())
                .with("samples", permit.grounds().keys().cloned().collect::<Vec<_>>()),
        )
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
