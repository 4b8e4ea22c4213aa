//! The scheduler's side of a job: leases are given out, outputs looked at, and what each depends on is known.

use super::basis::Bases;
use super::books::{self, ReadBack};
use super::runner::{Runner, class_of};
use super::staged;
use crate::output::note;
use cluster::{Committing, Leasing, Office, Output, TaskFailure};
use jobs::event::{Event, EventName, Outcome};
use jobs::failure::{Class, Classified, Failure};
use jobs::genome::Cell;
use jobs::policy::Action;
use jobs::task::{INTAKE_CHUNKS, Shard, Stage, Task};
use scheduler::{Facts, WorkerId};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use storage::lease::{LeaseKey, SignedLease};
use storage::{Commit, Fence, Journal};
use workers::access::samples_of;
use workers::finish::{Extent, SampleLedger};
use workers::region::RegionSummary;
use workers::task::{FormError, check_summary, intake_summary, map_summary, sealed_to};

/// An output has not as many pieces as its task makes.
#[derive(Debug, thiserror::Error)]
#[error("{task}: {found} pieces came back; expected {expected}")]
struct Pieces {
    task: String,
    found: usize,
    expected: usize,
}

impl Classified for Pieces {
    fn class(&self) -> Class {
        Class::Integrity
    }

    fn hint(&self) -> Option<String> {
        Some("the worker does not do what this program does: look at its machine".to_owned())
    }
}

/// A sample without which the job went on, and why.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Dropped {
    /// The sample.
    pub sample: String,
    /// The task that failed, where one did.
    pub task: Option<String>,
    /// The message and its causes.
    pub reason: String,
    /// What would help.
    pub help: Option<String>,
    /// Exit code of the class of its failure.
    pub code: u8,
}

/// The samples without which the job goes on, by their place in the cohort.
#[derive(Debug, Default)]
pub struct DroppedSamples(Mutex<BTreeMap<u32, Dropped>>);

impl DroppedSamples {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Dropped>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them in order.
    pub fn all(&self) -> Vec<Dropped> {
        self.lock().values().cloned().collect()
    }

    /// Whether a sample is one of them.
    pub fn contains(&self, sample: u32) -> bool {
        self.lock().contains_key(&sample)
    }
}

/// Decides, writes down and checks for the driver.
pub struct Desk<'a> {
    /// Knows the job and the gate.
    pub runner: &'a Runner<'a>,
    /// The scheduler's key.
    pub leases: &'a LeaseKey,
    /// What outputs depend on.
    pub bases: &'a Bases,
    /// Those without whom the job goes on.
    pub dropped: &'a DroppedSamples,
    /// What is done.
    pub journal: &'a Journal,
    /// Finished samples whose scratch is gone: their calls are read from their results.
    pub from_results: Mutex<BTreeSet<u32>>,
    /// Samples whose files more than one attempt may have written at a place: what they hold shows when they are read. An
    /// earlier run wrote a part, a part was given out again, or what it is made from counts no more.
    pub unread: Mutex<BTreeSet<u32>>,
    /// How much the cells of a sample take up to the end of each part, as far as it was asked: by sample and part.
    pub ends: Mutex<BTreeMap<(u32, u32), Extent>>,
    /// Results that were read back when they were written.
    pub read_back: &'a ReadBack,
    /// The right to change results.
    pub guard: &'a Fence,
}

impl Desk<'_> {
    /// Where a sample's files are made.
    fn folder(&self, sample: u32) -> PathBuf {
        let basis = self.basis(Task::Region(sample, Shard::Unplaced));
        staged::folder(self.runner.dir, &self.runner.context.sample(sample).name, &basis)
    }

    /// How much the cells of a sample take up to the end of a part.
    fn end(&self, sample: u32, part: u32, inputs_of: &dyn Fn(Task) -> Vec<Task>) -> Result<Extent, Failure> {
        if let Some(end) = self.ends().get(&(sample, part)) {
            return Ok(*end);
        }
        let before = part.checked_sub(1).map(|before| self.end(sample, before, inputs_of));
        let mut end = before.transpose()?.unwrap_or_default();
        let regions = inputs_of(Task::WriteSample(sample, part));
        let keys: Vec<String> = regions.iter().map(|&region| self.runner.key(region)).collect();
        let commits = self.journal.get_many(&keys.iter().map(String::as_str).collect::<Vec<_>>())?;
        for (key, commit) in keys.into_iter().zip(commits) {
            let summary =
                commit.and_then(|commit| serde_json::from_slice::<RegionSummary>(&commit.summary).ok());
            end.add(&summary.ok_or_else(|| FormError::of(key))?);
        }
        self.ends().insert((sample, part), end);
        Ok(end)
    }

    fn ends(&self) -> MutexGuard<'_, BTreeMap<(u32, u32), Extent>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unread(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finished(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.from_results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Office for Desk<'_> {
    fn inputs(&self, task: Task, inputs: Vec<Task>) -> Vec<Task> {
        let (Task::Joint(_), from_results) = (task, self.finished()) else { return inputs };
        let mut finished = BTreeSet::new();
        let replaced = inputs.into_iter().filter_map(|input| match input.sample() {
            Some(sample) if from_results.contains(&sample) => {
                finished.insert(sample).then_some(Task::FinishSample(sample))
            }
            _ => Some(input),
        });
        replaced.collect()
    }

    fn preface(
        &self,
        task: Task,
        inputs_of: &dyn Fn(Task) -> Vec<Task>,
    ) -> Result<Option<(Task, Arc<Commit>)>, Failure> {
        let Task::WriteSample(sample, part) = task else { return Ok(None) };
        let Some(before) = part.checked_sub(1) else { return Ok(None) };
        let end = self.end(sample, before, inputs_of)?;
        let summary = serde_json::to_vec(&end).expect("plain data always prints");
        Ok(Some((Task::WriteSample(sample, before), Arc::new(Commit { summary, ..Commit::default() }))))
    }

    fn at_home(&self, task: Task, _worker: WorkerId) -> bool {
        matches!(task, Task::FinishCohort | Task::SealSample(_) | Task::SealCohort)
    }

    fn lease(&self, asked: &[Leasing<'_>]) -> Result<Vec<Result<SignedLease, Failure>>, Failure> {
        let mut events = Vec::new();
        let mut leases = Vec::new();
        for one in asked {
            self.unread().extend(written_again(one.task, one.number));
            let samples = samples_of(one.task, one.inputs.iter().copied());
            let site = one.site.unwrap_or(self.runner.gate.site());
            let leased = self.runner.lease(self.leases, site, (one.task, one.number), &samples);
            leases.push(leased.map(|(lease, event)| {
                events.push(event.with("worker", one.worker));
                lease
            }));
        }
        self.runner.trail.write_many(&events)?;
        Ok(leases)
    }

    fn denied(&self, task: Task, inputs: &[Task]) -> Vec<u32> {
        let Ok(register) = self.runner.gate.register() else { return Vec::new() };
        let is_denied = |&sample: &u32| {
            let subjects = self.runner.subjects(&[sample]);
            self.runner.gate.ask(&register, Action::Read, class_of(task), &subjects).is_err()
        };
        samples_of(task, inputs.iter().copied()).into_iter().filter(is_denied).collect()
    }

    fn committing(&self, outputs: &[Committing<'_>]) -> Result<(), Failure> {
        // What cannot be read now was read when the task began.
        let epoch = self.runner.gate.register().ok().map(|register| register.epoch());
        let event = |one: &Committing<'_>| {
            let samples: Vec<u32> = match one.task.sample() {
                Some(sample) => vec![sample],
                None => {
                    let all = 0..self.runner.context.samples.len() as u32;
                    let counts = |&sample: &u32| {
                        let read = self.bases.is_joined(sample) || !matches!(one.task, Task::Joint(_));
                        read && !self.dropped.contains(sample)
                    };
                    all.filter(counts).collect()
                }
            };
            let attempt = (one.task, Some(one.number));
            let event = Event {
                bytes: Some(one.output.pieces.iter().map(|piece| piece.length).sum()),
                consent_epoch: epoch,
                ..self.runner.of_task(EventName::ShardCommitted, Outcome::Ok, attempt, &samples)
            };
            let pieces: Vec<String> =
                one.output.pieces.iter().map(|piece| books::hex(&piece.blake3)).collect();
            event.with("action", Action::Commit.name()).with("pieces_blake3", pieces)
        };
        self.runner.trail.write_many(&outputs.iter().map(event).collect::<Vec<_>>())
    }

    fn facts_of(&self, task: Task, commit: &Commit) -> Facts {
        facts_of(task, commit)
    }

    fn basis(&self, task: Task) -> [u8; 16] {
        self.bases.of(task, |sample| self.dropped.contains(sample))
    }

    fn verify(&self, task: Task, output: &Output) -> Result<(), Failure> {
        let samples: Vec<u32> = match task.sample() {
            Some(sample) => vec![sample],
            None => (0..self.runner.context.samples.len() as u32).collect(),
        };
        let parts = sealed_to(task);
        let expected = if task.stage() == Stage::Model { 0 } else { parts.len() };
        if output.pieces.len() != expected {
            return Err(Pieces { task: self.runner.key(task), found: output.pieces.len(), expected }.into());
        }
        self.runner.with_output(task, &samples, |access| {
            for (&part, piece) in parts.iter().zip(&output.pieces) {
                access.verify(part, piece)?;
                access.read(part, piece)?;
            }
            check_summary(access, task, (&output.pieces, &output.summary))
        })
    }

    fn place(&self, task: Task, output: &Output) -> Result<(), Failure> {
        let Task::FinishSample(sample) = task else { return Ok(()) };
        let ledger: SampleLedger =
            serde_json::from_slice(&output.summary).map_err(|_| FormError::of(self.runner.key(task)))?;
        // Whoever took the job over has a folder of that name too.
        self.guard.check()?;
        let (dir, name) = (self.runner.dir, &self.runner.context.sample(sample).name);
        staged::place(dir, name, &self.folder(sample), &ledger.files)?;
        if !self.unread().contains(&sample) {
            self.read_back.note(dir, &ledger.files);
        }
        Ok(())
    }

    fn dropped(
        &self,
        sample: u32,
        reason: Class,
        failure: Option<(Task, &TaskFailure)>,
    ) -> Result<(), Failure> {
        let name = self.runner.context.sample(sample).name.clone();
        let dropped = Dropped {
            sample: name,
            task: failure.map(|(task, _)| self.runner.key(task)),
            reason: failure.map_or_else(|| "the policy forbids it".to_owned(), |(_, f)| f.chain.join(": ")),
            help: failure.and_then(|(_, failure)| failure.hint.clone()),
            code: reason.exit_code(),
        };
        note(&format!("going on without {}: {}", dropped.sample, dropped.reason));
        let event = self.runner.trail.event(EventName::JobSampleExcluded, Outcome::Failed);
        let event = Event { reasons: vec![dropped.reason.clone()], ..event };
        self.runner.trail.write(self.runner.trail.about(event, &self.runner.subjects(&[sample])))?;
        self.dropped.lock().insert(sample, dropped);
        // What was begun of its files is of no use; at the end of the job it is looked for again.
        let _ = fs::remove_dir_all(self.folder(sample));
        Ok(())
    }

    fn forgotten(&self, task: Task) {
        match task {
            Task::FinishSample(sample) => drop(self.finished().remove(&sample)),
            Task::WriteSample(sample, _) => drop(self.unread().insert(sample)),
            // Made again, and cut otherwise, it takes as much; one that was wrong need not. Who had read that one may be late.
            Task::Region(sample, _) => {
                self.ends().retain(|&(of, _), _| of != sample);
                self.unread().insert(sample);
            }
            _ => {}
        }
    }

    fn logged(&self, _worker: WorkerId, events: &[u8]) -> Result<(), Failure> {
        self.runner.trail.take(events)
    }
}

/// The sample whose files this attempt writes where an earlier one may still write: who lies, is out of hearing, or was
/// told to end late.
fn written_again(task: Task, number: u32) -> Option<u32> {
    match task {
        Task::WriteSample(sample, _) | Task::FinishSample(sample) => (number > 1).then_some(sample),
        _ => None,
    }
}

/// What a commit tells the scheduler.
pub fn facts_of(task: Task, commit: &Commit) -> Facts {
    let mut facts = Facts { content: Some(commit.content), ..Facts::default() };
    match task {
        Task::Intake(_, part) => {
            if let Some(summary) = intake_summary(commit) {
                let before = part * INTAKE_CHUNKS;
                facts.chunks = (!summary.more).then_some(before + summary.chunks);
                facts.pairs = Some(u64::from(before) * summary.chunk_pairs + summary.pairs);
            }
        }
        Task::Map(..) => {
            if let Some(summary) = map_summary(commit) {
                facts.pairs = Some(summary.pairs);
                facts.weights =
                    summary.weights.into_iter().map(|(cell, reads)| (Cell(cell), reads)).collect();
            }
        }
        _ => {}
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_a_second_attempt_may_write_are_read_again() {
        let tasks = [
            (Task::WriteSample(3, 0), Some(3)),
            (Task::WriteSample(3, 31), Some(3)),
            (Task::FinishSample(4), Some(4)),
            (Task::Region(5, Shard::Unplaced), None),
            (Task::FinishCohort, None),
        ];
        for (task, again) in tasks {
            assert_eq!((written_again(task, 1), written_again(task, 2)), (None, again), "{task:?}");
        }
    }
}
