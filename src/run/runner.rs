//! Runs a job's tasks under leases, which are checked and decided again where the task is run.

use super::admission::{Excluded, subject_of};
use super::archive::Archive;
use super::close;
use super::office::DroppedSamples;
use super::staged;
use super::trail::{Trail, obligations};
use crate::gate::Gate;
use crate::job_dir::JobDir;
use crate::output::command_line;
use cluster::{Control, Output, Request, TaskFailure, TaskRunner};
use jobs::cohort::Cohort;
use jobs::event::{Event, EventName, Object, Outcome};
use jobs::failure::{Class, Classified, Failure};
use jobs::lease::{Expected, Lease, LeaseError};
use jobs::policy::{Action, DataClass, Denial, NotPermitted, Permit, Subject};
use jobs::task::Task;
use scheduler::Purpose;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use storage::lease::{LeaseKey, LeaseRefused, LeaseVerifier, SignedLease};
use storage::{Commit, Journal, KeyFolder, PackError};
use workers::access::{Access, COHORT_KEY, now, samples_of};
use workers::context::Context;
use workers::hold::Hold;
use workers::task::{FormError, sealed_to};

/// What the tasks of a job share in this process.
pub struct Runner<'a> {
    /// Reference, samples, settings, scratch.
    pub context: &'a Context,
    /// Where results go.
    pub dir: &'a JobDir,
    /// Those who were admitted.
    pub cohort: &'a Cohort,
    /// Who decides.
    pub gate: &'a Gate,
    /// Where decisions are written.
    pub trail: &'a Trail,
    /// Keys of the scratch.
    pub keys: &'a KeyFolder,
    /// The scheduler's public key, and which leases were used.
    pub leases: &'a LeaseVerifier,
    /// What only the driver's own process has.
    pub home: Option<Home<'a>>,
}

/// What only the driver's own process has; the cohort's last tasks need it.
#[derive(Clone, Copy)]
pub struct Home<'a> {
    /// What is done.
    pub journal: &'a Journal,
    /// The scheduler's key.
    pub leases: &'a LeaseKey,
    /// Those who were not admitted.
    pub excluded: &'a [Excluded],
    /// Those without whom the job went on.
    pub dropped: &'a DroppedSamples,
    /// Where finished files are sealed.
    pub archive: Option<&'a Archive>,
}

/// A task cannot be run here.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The job needs a purpose to lease anything.
    #[error("the cohort states no purpose")]
    NoPurpose,
    /// Its turn came too late.
    #[error("the lease of task {task} was over before it began")]
    Late {
        /// The task.
        task: String,
    },
    /// It needs what only the scheduler's process has.
    #[error("task {task} cannot be run by a remote worker")]
    NotHome {
        /// The task.
        task: String,
    },
}

impl Classified for RunError {
    fn class(&self) -> Class {
        match self {
            RunError::NoPurpose => Class::Policy,
            RunError::Late { .. } => Class::Remote,
            RunError::NotHome { .. } => Class::Internal,
        }
    }
}

/// The hold of a worker's control on one attempt.
pub struct Held<'a> {
    control: &'a Control,
    purpose: Purpose,
}

impl<'a> Held<'a> {
    /// On an attempt that is made for this `purpose`.
    pub fn new(control: &'a Control, purpose: Purpose) -> Self {
        Held { control, purpose }
    }
}

impl Hold for Held<'_> {
    fn reach(&self, step: u32) -> bool {
        self.control.reach(step)
    }

    fn is_needed(&self) -> bool {
        !self.control.cancelled()
    }

    fn is_kept(&self) -> bool {
        self.purpose != Purpose::Audit
    }
}

impl TaskRunner for Runner<'_> {
    fn run(&self, request: &Request, control: &Control) -> Result<Output, TaskFailure> {
        self.attempt(request, control).map_err(|failure| {
            let broken = matches!(failure.class(), Class::Integrity | Class::Partial);
            let damaged = if broken { self.damaged_input(request) } else { None };
            let failure = TaskFailure::from(failure);
            let class = match damaged {
                Some((input, commit)) if close::part_is_gone(self, *input, commit) => Class::Partial,
                _ => failure.class,
            };
            TaskFailure { class, damaged: damaged.map(|(input, _)| *input), ..failure }
        })
    }
}

impl Runner<'_> {
    fn attempt(&self, request: &Request, control: &Control) -> Result<Output, Failure> {
        let (task, number) = (request.task, request.number);
        let samples = samples_of(task, &request.inputs);
        match self.verify(&request.lease, task, number, &samples)? {
            Ok(()) => {}
            // It waited for longer than it holds, or a clock jumped: decided again, once.
            Err(LeaseRefused::Claims { source: LeaseError::Time { .. }, .. }) => {
                let home = self.home.ok_or_else(|| RunError::Late { task: self.key(task) })?;
                let (lease, event) = self.lease(home.leases, self.gate.site(), (task, number), &samples)?;
                self.trail.write(event)?;
                self.verify(&lease, task, number, &samples)??;
            }
            Err(refused) => return Err(refused.into()),
        }
        if let (Task::SealSample(_) | Task::SealCohort, Some(archive)) = (task, self.archive()) {
            return archive.run(self, task, &samples, &request.inputs);
        }
        let permit = self.decide(Action::Read, task, &samples)?;
        self.reading(task, Some(number), &permit, &samples)?;
        let access = Access::under(self.context, permit, self.keys, task, &samples)?;
        self.renewing(&access, (task, Some(number)), &samples, || match task {
            Task::FinishCohort | Task::SealSample(_) | Task::SealCohort => {
                let home = self.home.ok_or_else(|| RunError::NotHome { task: self.key(task) })?;
                let folder = self.folder(request)?;
                let held = Held::new(control, request.purpose);
                close::finish_cohort(&access, self, &home, (&request.inputs, &folder), &command_line(), &held)
            }
            Task::WriteSample(..) | Task::FinishSample(_) | Task::WriteJoint(_) => {
                let folder = self.folder(request)?;
                if request.purpose != Purpose::Audit {
                    staged::open(&folder)?;
                }
                self.work(&access, request, control, &folder)
            }
            _ => self.work(&access, request, control, &self.dir.results()),
        })
    }

    fn work(
        &self,
        access: &Access<'_>,
        request: &Request,
        control: &Control,
        results: &Path,
    ) -> Result<Output, Failure> {
        let held = Held::new(control, request.purpose);
        let done = workers::task::run(access, request.task, &request.inputs, results, &held)?;
        Ok(Output { pieces: done.pieces, summary: done.summary, content: done.content })
    }

    /// Where the files are made that a task works on: by what those depend on of which they are made.
    fn folder(&self, request: &Request) -> Result<PathBuf, Failure> {
        let task = request.task;
        let made_of = |input: Task| matches!(input, Task::Region(..) | Task::Joint(_) | Task::WriteJoint(_));
        let made_of = request.inputs.iter().find(|(input, _)| *input != task && made_of(*input));
        let (_, commit) = made_of.ok_or_else(|| FormError::of(self.key(task)))?;
        Ok(self.folder_of(task, &commit.basis))
    }

    /// Where the files of this `basis` are made that a task works on.
    pub fn folder_of(&self, task: Task, basis: &[u8]) -> PathBuf {
        staged::folder(self.dir, self.owner(task.sample()), basis)
    }

    /// After whom files are called: a sample, or the cohort.
    pub fn owner(&self, of: Option<u32>) -> &str {
        of.map_or(&self.context.job, |sample| &self.context.sample(sample).name)
    }

    fn archive(&self) -> Option<&Archive> {
        self.home.and_then(|home| home.archive)
    }

    /// The first input that is not as it was committed.
    fn damaged_input<'a>(&self, request: &'a Request) -> Option<&'a (Task, Arc<Commit>)> {
        let joins = matches!(request.task, Task::FinishSample(_) | Task::FinishCohort);
        let samples = samples_of(request.task, &request.inputs);
        request.inputs.iter().find(|(input, commit)| {
            let pieces = sealed_to(*input).into_iter().zip(&commit.pieces);
            let mut verified = pieces.map(|(part, piece)| self.context.verify(part, piece));
            let scratch = verified.any(|verified| verified.is_err());
            scratch
                || !close::results_are_whole(self.dir, *input, commit)
                || joins && !self.has_part(*input, commit, &samples)
        })
    }

    /// Whether a committed part of files lies where it was written; it is, if that cannot be told.
    fn has_part(&self, task: Task, commit: &Commit, samples: &[u32]) -> bool {
        let is_whole = |access: &Access<'_>| close::part_is_whole(access, self, task, commit, false);
        task.part().is_none() || self.with_output(task, samples, is_whole).unwrap_or(true)
    }

    /// Runs `work` with access to everybody's data and the cohort's, for who repairs.
    pub fn with_all<T>(&self, work: impl Fn(&Access<'_>) -> Result<T, Failure>) -> Result<T, Failure> {
        let names = self.context.names().iter().map(String::as_str);
        // With a lost key, everything under it is noise; new keys are made as they are asked for.
        self.keys.forget_damaged(names.chain([COHORT_KEY]))?;
        let task = Task::FinishCohort;
        let all: Vec<u32> = (0..self.context.samples.len() as u32).collect();
        let permit = self.decide(Action::Read, task, &all)?;
        self.reading(task, None, &permit, &all)?;
        let access = Access::under(self.context, permit, self.keys, task, &all)?;
        self.renewing(&access, (task, None), &all, || work(&access))
    }

    /// Runs `work` with access to the output of a task.
    pub fn with_output<T>(
        &self,
        task: Task,
        samples: &[u32],
        work: impl Fn(&Access<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let permit = self.decide(Action::Read, task, samples)?;
        self.reading(task, None, &permit, samples)?;
        let access = Access::under(self.context, permit, self.keys, task, samples)?;
        self.renewing(&access, (task, None), samples, || work(&access))
    }

    /// A lease for an attempt, decided now, and what is to be written of it before it is given out.
    pub fn lease(
        &self,
        leases: &LeaseKey,
        site: &str,
        (task, number): (Task, u32),
        samples: &[u32],
    ) -> Result<(SignedLease, Event), Failure> {
        let permit = self.decide_at(site, Action::Dispatch, task, samples)?;
        let signed = leases.sign(&Lease {
            job: self.context.job.clone(),
            task: self.key(task),
            attempt: number,
            action: Action::Read,
            class: permit.class(),
            samples: permit.grounds().keys().cloned().collect(),
            purpose: self.gate.purpose().ok_or(RunError::NoPurpose)?,
            site: site.to_owned(),
            epoch: permit.epoch(),
            policy_sha256: permit.policy_sha256().to_owned(),
            issued: now(),
            expires: permit.expires(),
        });
        let event = self.under(EventName::ShardLeased, (task, Some(number)), samples, &permit);
        let event = event.with("lease", signed.id());
        Ok((signed, event))
    }

    /// Whether a lease is the scheduler's, and for this attempt here and now; the outer error is that nobody can tell.
    fn verify(
        &self,
        lease: &SignedLease,
        task: Task,
        number: u32,
        samples: &[u32],
    ) -> Result<Result<(), LeaseRefused>, Failure> {
        let mut samples: Vec<String> =
            self.subjects(samples).into_iter().map(|subject| subject.sample).collect();
        samples.sort();
        let expected = Expected {
            job: &self.context.job,
            task: &self.key(task),
            attempt: number,
            action: Action::Read,
            class: class_of(task),
            samples: &samples,
            purpose: self.gate.purpose().ok_or(RunError::NoPurpose)?,
            site: self.gate.site(),
            epoch: self.gate.register()?.epoch(),
            policy_sha256: &self.gate.policy().sha256,
            now: now(),
        };
        Ok(self.leases.verify(lease, expected).map(drop))
    }

    /// A permit for a task, decided now; a denial is written down.
    fn decide(&self, action: Action, task: Task, samples: &[u32]) -> Result<Permit, Failure> {
        self.decide_at(self.gate.site(), action, task, samples)
    }

    /// The same for a task that is to run at another site.
    pub fn decide_at(
        &self,
        site: &str,
        action: Action,
        task: Task,
        samples: &[u32],
    ) -> Result<Permit, Failure> {
        let register = self.gate.register()?;
        let asked = self.gate.ask_at(site, &register, action, class_of(task), &self.subjects(samples));
        asked.or_else(|denial| {
            self.denied(action, task, samples, register.epoch(), &denial)?;
            Err(denial.into())
        })
    }

    fn denied(
        &self,
        action: Action,
        task: Task,
        samples: &[u32],
        epoch: u64,
        denial: &Denial,
    ) -> Result<(), Failure> {
        let subjects = self.subjects(samples);
        for subject in subjects.iter().filter(|subject| denial.is_denied_for(&subject.sample)) {
            let reasons = denial.reasons_for(&subject.sample).into_iter().cloned().collect();
            self.trail.decided((action, class_of(task)), subject, epoch, &reasons, None)?;
        }
        Ok(())
    }

    /// These samples as the policy knows them.
    pub fn subjects(&self, samples: &[u32]) -> Vec<Subject> {
        samples.iter().map(|&sample| subject_of(&self.cohort.samples[sample as usize])).collect()
    }

    /// Runs `work` and renews its permit before it ends, as long as the gate says yes. Once it says no, nothing more is
    /// read and nothing comes of what was. As long as it says nothing, it is asked again, until the permit ends.
    fn renewing<T>(
        &self,
        access: &Access<'_>,
        (task, number): (Task, Option<u32>),
        samples: &[u32],
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
                    let renewed = self.renew(access, (task, number), samples);
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
                    self.renew(access, (task, number), samples)?;
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
    fn renew(
        &self,
        access: &Access<'_>,
        (task, number): (Task, Option<u32>),
        samples: &[u32],
    ) -> Result<(), Failure> {
        let register = self.gate.register()?;
        match self.gate.ask(&register, Action::Read, class_of(task), &self.subjects(samples)) {
            Ok(permit) => {
                self.trail.write(self.under(EventName::ShardRenewed, (task, number), samples, &permit))?;
                access.renew(permit);
                Ok(())
            }
            Err(denial) => {
                // Reading ends first, whatever becomes of the log.
                access.revoke();
                self.denied(Action::Read, task, samples, register.epoch(), &denial)?;
                let event = Event {
                    reasons: denial.reasons().iter().map(ToString::to_string).collect(),
                    consent_epoch: Some(register.epoch()),
                    ..self.of_task(EventName::ShardRevoked, Outcome::Refused, (task, number), samples)
                };
                self.trail.write(event)?;
                Err(denial.into())
            }
        }
    }

    /// Writes that a task begins to read under a permit.
    fn reading(
        &self,
        task: Task,
        number: Option<u32>,
        permit: &Permit,
        samples: &[u32],
    ) -> Result<(), Failure> {
        let event = self.under(EventName::PolicyPermit, (task, number), samples, permit);
        self.trail.write(event.with("obligations", obligations(permit)))
    }

    /// An event of a task under a permit.
    pub fn under(
        &self,
        name: EventName,
        attempt: (Task, Option<u32>),
        samples: &[u32],
        permit: &Permit,
    ) -> Event {
        let event = self.of_task(name, Outcome::Ok, attempt, samples);
        Event { consent_epoch: Some(permit.epoch()), ..event }
            .with("action", permit.action().name())
            .with("expires", permit.expires().to_string())
    }

    /// An event of a task.
    pub fn of_task(
        &self,
        name: EventName,
        outcome: Outcome,
        (task, attempt): (Task, Option<u32>),
        samples: &[u32],
    ) -> Event {
        let event = Event {
            shard: Some(self.key(task)),
            attempt,
            object: Object { class: Some(class_of(task)), ..Object::default() },
            ..self.trail.event(name, outcome)
        };
        self.trail.about(event, &self.subjects(samples))
    }

    /// What the journal calls a task.
    pub fn key(&self, task: Task) -> String {
        task.key(self.context.names())
    }
}

/// The most sensitive data that a task reads.
pub fn class_of(task: Task) -> DataClass {
    match task {
        Task::Intake(..) | Task::Model(_) | Task::Map(..) => DataClass::Fastq,
        Task::Region(..) | Task::WriteSample(..) | Task::FinishSample(_) | Task::SealSample(_) => {
            DataClass::Cram
        }
        Task::Joint(_) => DataClass::Gvcf,
        Task::WriteJoint(_) | Task::FinishCohort | Task::SealCohort => DataClass::Joint,
    }
}
