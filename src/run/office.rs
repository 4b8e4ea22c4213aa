//! The scheduler's side of a job: leases are given out, outputs looked at, and what each depends on is known.

use super::basis::Bases;
use super::books::{self, ReadBack};
use super::close;
use super::runner::{Runner, class_of};
use super::staged;
use crate::output::note;
use cluster::{Committing, Leasing, Office, Output, TaskFailure};
use jobs::event::{Event, EventName, Outcome};
use jobs::failure::{Class, Classified, Failure};
use jobs::genome::Cell;
use jobs::policy::Action;
use jobs::task::{INTAKE_CHUNKS, Stage, Task};
use scheduler::{Facts, WorkerId};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use storage::lease::{LeaseKey, SignedLease};
use storage::{Commit, Fence, Journal};
use workers::finish::{Before, Extent, SampleLedger};
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
    /// Whose files, a sample's or the cohort's, more than one attempt may have written at a place: what they hold shows when
    /// they are read. An earlier run wrote a part, a part was given out again, or what it is made from counts no more.
    pub unread: Mutex<BTreeSet<Option<u32>>>,
    /// How much the cells of a sample, or of the joint call, take up to the end of each part, as far as it was asked.
    pub ends: Mutex<BTreeMap<(Option<u32>, u32), Extent>>,
    /// Results that were read back when they were written.
    pub read_back: &'a ReadBack,
    /// The right to change results.
    pub guard: &'a Fence,
}

impl Desk<'_> {
    /// Where a sample's files are made, or the cohort's.
    pub fn folder(&self, of: Option<u32>) -> PathBuf {
        let task = Task::write(of, 0);
        self.runner.folder_of(task, &self.basis(task))
    }

    /// Whether somebody whose data is in these files may not be in the job any more.
    pub fn is_withdrawn(&self, of: Option<u32>) -> bool {
        of.is_some_and(|sample| self.dropped.contains(sample)) || !self.denied(Task::write(of, 0)).is_empty()
    }

    /// The samples whose data a task reads or makes.
    fn whose(&self, task: Task) -> Vec<u32> {
        if let Some(sample) = task.sample() {
            return vec![sample];
        }
        let dropped = |sample| self.dropped.contains(sample);
        match task {
            Task::Joint(_) | Task::WriteJoint(_) => self.bases.joined(dropped),
            _ => (0..self.runner.context.samples.len() as u32).filter(|&sample| !dropped(sample)).collect(),
        }
    }

    /// How much the cells of a sample, or of the joint call, take up before a part.
    fn before(
        &self,
        of: Option<u32>,
        part: u32,
        inputs_of: &dyn Fn(Task) -> Vec<Task>,
    ) -> Result<Extent, Failure> {
        let Some(last) = part.checked_sub(1) else { return Ok(Extent::default()) };
        if let Some(end) = self.ends().get(&(of, last)) {
            return Ok(*end);
        }
        let mut end = self.before(of, last, inputs_of)?;
        let inputs = inputs_of(Task::write(of, last));
        let keys: Vec<String> = inputs.iter().map(|&input| self.runner.key(input)).collect();
        let commits = self.journal.get_many(&keys.iter().map(String::as_str).collect::<Vec<_>>())?;
        for (key, commit) in keys.into_iter().zip(commits) {
            let summary = commit.map(|commit| commit.summary).unwrap_or_default();
            let added = match of {
                Some(_) => serde_json::from_slice(&summary).map(|region| end.add(&region)),
                None => serde_json::from_slice(&summary).map(|shard| end.add_joint(&shard)),
            };
            added.map_err(|_| FormError::of(key))?;
        }
        self.ends().insert((of, last), end);
        Ok(end)
    }

    fn ends(&self) -> MutexGuard<'_, BTreeMap<(Option<u32>, u32), Extent>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unread(&self) -> MutexGuard<'_, BTreeSet<Option<u32>>> {
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
    ) -> Result<Option<Arc<Commit>>, Failure> {
        let Some(part) = task.part() else { return Ok(None) };
        let extent = self.before(task.sample(), part, inputs_of)?;
        let before = Before { extent, samples: self.whose(task) };
        let summary = serde_json::to_vec(&before).expect("plain data always prints");
        Ok(Some(Arc::new(Commit { summary, ..Commit::default() })))
    }

    fn told(&self, task: Task, commit: Commit) -> Commit {
        match task {
            // How its reads lie only the scheduler needs: of a genome a quarter of a megabyte, for each region.
            Task::Map(..) => Commit { summary: Vec::new(), ..commit },
            _ => commit,
        }
    }

    fn at_home(&self, task: Task, _worker: WorkerId) -> bool {
        matches!(task, Task::FinishCohort | Task::SealSample(_) | Task::SealCohort)
    }

    fn lease(&self, asked: &[Leasing<'_>]) -> Result<Vec<Result<SignedLease, Failure>>, Failure> {
        let mut events = Vec::new();
        let mut leases = Vec::new();
        for one in asked {
            self.unread().extend(written_again(one.task, one.number));
            let samples = self.whose(one.task);
            let site = one.site.unwrap_or(self.runner.gate.site());
            let leased = self.runner.lease(self.leases, site, (one.task, one.number), &samples);
            leases.push(leased.map(|(lease, event)| {
                events.push(event.with("worker", one.worker));
                lease
            }));
        }
        // Whoever reads under a lease says so in this log first, and waits until that is on the device; who seals says it to
        // the vault.
        match asked.iter().all(|one| one.logs_here && one.task.stage() != Stage::Seal) {
            true => self.runner.trail.note_many(&events)?,
            false => self.runner.trail.write_many(&events)?,
        }
        Ok(leases)
    }

    fn denied(&self, task: Task) -> Vec<u32> {
        let Ok(register) = self.runner.gate.register() else { return Vec::new() };
        let is_denied = |&sample: &u32| {
            let subjects = self.runner.subjects(&[sample]);
            self.runner.gate.ask(&register, Action::Read, class_of(task), &subjects).is_err()
        };
        self.whose(task).into_iter().filter(is_denied).collect()
    }

    fn committing(&self, outputs: &[Committing<'_>]) -> Result<(), Failure> {
        // What cannot be read now was read when the task began.
        let epoch = self.runner.gate.register().ok().map(|register| register.epoch());
        let event = |one: &Committing<'_>| {
            let samples = self.whose(one.task);
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
        let parts = sealed_to(task);
        let expected = if task.stage() == Stage::Model { 0 } else { parts.len() };
        if output.pieces.len() != expected {
            return Err(Pieces { task: self.runner.key(task), found: output.pieces.len(), expected }.into());
        }
        let samples = self.whose(task);
        self.runner.with_output(task, &samples, |access| {
            for (&part, piece) in parts.iter().zip(&output.pieces) {
                access.verify(part, piece)?;
                access.read(part, piece)?;
            }
            check_summary(access, (task, &samples), (&output.pieces, &output.summary))
        })
    }

    fn place(&self, task: Task, output: &Output) -> Result<(), Failure> {
        let (dir, of) = (self.runner.dir, task.sample());
        let form = || FormError::of(self.runner.key(task));
        let files = match task {
            Task::FinishSample(_) => {
                serde_json::from_slice::<SampleLedger>(&output.summary).map_err(|_| form())?.files
            }
            Task::FinishCohort => close::read_ledger(dir).ok_or_else(form)?.joint.files,
            _ => return Ok(()),
        };
        // Whoever took the job over has a folder of that name too.
        self.guard.check()?;
        staged::place(dir, self.runner.owner(of), &self.folder(of), &files)?;
        if !self.unread().contains(&of) {
            self.read_back.note(dir, &files);
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
        // What was begun of files with its data is of no use; at the end of the job it is looked for again.
        let begun = [Some(sample), None].map(|of| self.folder(of));
        self.dropped.lock().insert(sample, dropped);
        let stays = self.folder(None);
        for folder in begun.iter().filter(|folder| **folder != stays) {
            let _ = fs::remove_dir_all(folder);
        }
        Ok(())
    }

    fn forgotten(&self, task: Task) {
        match task {
            Task::FinishSample(sample) => drop(self.finished().remove(&sample)),
            Task::WriteSample(..) | Task::WriteJoint(_) => drop(self.unread().insert(task.sample())),
            // Made again, and cut otherwise, it takes as much; one that was wrong need not. Who had read that one may be late.
            Task::Region(..) | Task::Joint(_) => {
                self.ends().retain(|&(of, _), _| of != task.sample());
                self.unread().insert(task.sample());
            }
            _ => {}
        }
    }

    fn logged(&self, _worker: WorkerId, events: &[u8]) -> Result<(), Failure> {
        self.runner.trail.take(events)
    }
}

/// Whose files, a sample's or the cohort's, this attempt writes where an earlier one may still write: who lies, is out of
/// hearing, or was told to end late.
fn written_again(task: Task, number: u32) -> Option<Option<u32>> {
    (task.stage() == Stage::Finish && number > 1).then_some(task.sample())
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
    use jobs::task::Shard;

    #[test]
    fn files_that_a_second_attempt_may_write_are_read_again() {
        let tasks = [
            (Task::WriteSample(3, 0), Some(Some(3))),
            (Task::WriteSample(3, 31), Some(Some(3))),
            (Task::FinishSample(4), Some(Some(4))),
            (Task::Region(5, Shard::Unplaced), None),
            (Task::WriteJoint(0), Some(None)),
            (Task::FinishCohort, Some(None)),
            (Task::SealCohort, None),
        ];
        for (task, again) in tasks {
            assert_eq!((written_again(task, 1), written_again(task, 2)), (None, again), "{task:?}");
        }
    }
}
