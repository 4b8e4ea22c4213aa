//! Who is tried again, and who is believed.
//!
//! | what happened | what follows |
//! |---|---|
//! | bad input, policy | the sample is dropped, or the job stops |
//! | the environment, a remote party, a panic | the task moves to another worker, a few times |
//! | memory or time ran out | the task is cut in two; what cannot be cut moves |
//! | an input is damaged | its commit is forgotten and made again; it counts against who made it |
//! | results are not whole | the parts of their files are written again, too: they lay in them |
//! | a file is gone in which parts lay | all of them are written again; nobody is to blame |
//! | a worker is lost | what it ran moves; a task whose workers are lost again and again is cut, then given up |
//! | two outputs differ | a third worker decides; who was wrong gets nothing more |
//!
//! Invariant: nobody reads a commit while it is checked. What a worker that was wrong has committed, and nobody compared,
//! is made again before the job ends.

use crate::event::{AttemptId, Command, Departure, Ending, Exhausted, Facts, Purpose};
use crate::graph::Mark;
use crate::machine::{Attempt, Scheduler};
use crate::ready::Kind;
use jobs::failure::Class;
use jobs::task::{Stage, Task};
use std::hash::{Hash, Hasher};

/// What went wrong with a task.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trouble {
    pub failures: u32,
    /// Workers that were lost while they ran it.
    pub losses: u32,
    /// Where it failed.
    pub tried: Vec<u32>,
    /// How often its output was found damaged after it was committed.
    pub damaged: u32,
}

/// A commit that is being checked.
#[derive(Clone, Debug)]
pub(crate) struct Audit {
    /// Who made it, if it was made in this life of the scheduler.
    maker: Option<u32>,
    content: u64,
    chunks: Option<u32>,
    /// Who found something else, and what.
    other: Option<(u32, u64)>,
    attempt: Option<AttemptId>,
    tried: Vec<u32>,
}

impl Audit {
    /// Workers whose word is known, or who could not give it.
    pub fn workers(&self) -> Vec<u32> {
        let known = self.maker.into_iter().chain(self.other.map(|(worker, _)| worker));
        known.chain(self.tried.iter().copied()).collect()
    }
}

/// A task is given up when its committed output was found damaged so often: the storage keeps nothing of it.
const DAMAGED_MAX: u32 = 100;

/// A worker is put aside when so many others found outputs of it damaged; one alone may be the one that reads badly.
const ACCUSERS: usize = 2;

/// Losses that are the workers' own affair.
const LOSSES_MAX: u32 = 2;

/// A task is given up when so many losses in a row had less than this chance, had they not been its own doing.
const CHANCE_MIN: f64 = 1e-6;

impl Scheduler {
    /// An attempt ended without output.
    pub(crate) fn failed(
        &mut self,
        attempt: Attempt,
        class: Class,
        exhausted: Option<Exhausted>,
        damaged: Option<Task>,
    ) {
        if attempt.cancelled {
            return;
        }
        let task = attempt.task;
        if let Some(input) = damaged.filter(|&input| self.graph.plan.knows(input)) {
            self.give_back(&attempt);
            let gone = class == Class::Partial && input.part().is_some();
            return self.damaged(input, (!gone).then_some(attempt.worker));
        }
        match class {
            Class::Input | Class::Policy => {
                // It would find the same.
                attempt.twin.into_iter().for_each(|twin| self.cancel(twin));
                match task.sample() {
                    Some(sample) => self.give_up_sample(sample, class),
                    None => self.give_up(task, class),
                }
            }
            Class::Usage | Class::OnHold | Class::Quorum | Class::Partial => {
                self.stop_with(Ending::Failed(class));
            }
            Class::Failed | Class::Remote | Class::Internal | Class::Integrity | Class::Interrupted => {
                if exhausted.is_none() {
                    self.places.rest(attempt.worker, self.now_ms);
                }
                self.move_on(attempt, class, exhausted.is_some());
            }
        }
    }

    /// A task is cut if it was too much, or moves to another worker, if it may.
    fn move_on(&mut self, attempt: Attempt, class: Class, too_much: bool) {
        let task = attempt.task;
        if attempt.purpose == Purpose::Audit {
            let Some(audit) = self.audits.get_mut(&task) else { return };
            audit.tried.push(attempt.worker);
            if audit.tried.len() as u32 >= self.options.attempts_max {
                // The commit was verified; only the comparison could not be made.
                return self.believe(task);
            }
            return self.check_again(task);
        }
        let trouble = self.trouble.entry(task).or_default();
        trouble.failures += 1;
        trouble.tried.push(attempt.worker);
        let last = trouble.failures >= self.options.attempts_max;
        if attempt.twin.is_some() && !last && !too_much {
            return self.give_back(&attempt);
        }
        // What was too much for one is for the other.
        attempt.twin.into_iter().for_each(|twin| self.cancel(twin));
        if too_much && self.split(task) {
            return;
        }
        if last {
            self.give_up(task, class);
        } else {
            self.graph.put_back(task);
        }
    }

    /// Whatever becomes of an attempt's task, it is not in its hands any more.
    fn give_back(&mut self, attempt: &Attempt) {
        match (attempt.purpose, attempt.twin) {
            (Purpose::Audit, _) => self.check_again(attempt.task),
            (_, Some(twin)) => self.promote(twin),
            (_, None) => self.graph.put_back(attempt.task),
        }
    }

    /// A copy is the only attempt left.
    pub(crate) fn promote(&mut self, id: AttemptId) {
        if let Some(attempt) = self.attempts.get_mut(&id).filter(|attempt| attempt.purpose == Purpose::Copy) {
            attempt.purpose = Purpose::Work;
            if attempt.started_ms.is_some() {
                self.graph.tally_running(attempt.task, 1);
            }
        }
    }

    /// The worker of an attempt is gone.
    pub(crate) fn was_lost(&mut self, attempt: Attempt, why: Departure) {
        if attempt.cancelled {
            return;
        }
        let ran = attempt.started_ms.is_some();
        if attempt.purpose == Purpose::Audit || attempt.twin.is_some() || !ran {
            return self.give_back(&attempt);
        }
        self.lost += 1.0;
        let task = attempt.task;
        let trouble = self.trouble.entry(task).or_default();
        trouble.losses += 1;
        let losses = trouble.losses;
        if losses <= LOSSES_MAX || self.split(task) {
            if losses <= LOSSES_MAX {
                self.graph.put_back(task);
            }
        } else if losses >= self.losses_max() {
            let class = if why == Departure::Lost { Class::Remote } else { Class::Failed };
            self.give_up(task, class);
        } else {
            self.graph.put_back(task);
        }
    }

    /// Losses in a row that chance does not explain, given how often running attempts are lost in this job.
    fn losses_max(&self) -> u32 {
        let share = (self.lost + 1.0) / (self.ended + 20.0);
        let losses = (CHANCE_MIN.ln() / share.min(0.9).ln()).ceil() as u32;
        losses.clamp(LOSSES_MAX + 2, 130)
    }

    /// A task cannot be done.
    fn give_up(&mut self, task: Task, class: Class) {
        self.graph.set(task, Mark::Failed);
        match task.sample() {
            Some(sample) => self.give_up_sample(sample, class),
            None => self.stop_with(Ending::Failed(class)),
        }
    }

    /// A sample cannot be done, or must not be.
    pub(crate) fn give_up_sample(&mut self, sample: u32, class: Class) {
        let Some(state) = self.graph.samples.get(sample as usize) else { return };
        if state.dropped.is_some() {
            return;
        }
        let others = self.graph.samples.iter().filter(|sample| sample.dropped.is_none()).count() > 1;
        if !self.options.keep_going || !others {
            return self.stop_with(Ending::Failed(class));
        }
        self.out.push(Command::DropSample { sample, reason: class });
        let joint = self.graph.counts_in_joint(sample);
        let hit = |task: Task| match task {
            Task::Joint(_) => joint,
            _ => task.sample().is_none_or(|of| of == sample),
        };
        let attempts: Vec<AttemptId> =
            self.attempts.iter().filter(|(_, attempt)| hit(attempt.task)).map(|(&id, _)| id).collect();
        for id in attempts {
            let task = self.attempts[&id].task;
            self.cancel(id);
            if self.graph.mark(task) == Some(Mark::Given) {
                self.graph.set(task, Mark::Todo);
            }
        }
        // Committed and unchecked, and nobody will ask.
        let mut checked: Vec<Task> = self.audits.keys().copied().filter(|&task| hit(task)).collect();
        checked.sort_unstable();
        for task in checked {
            self.audits.remove(&task);
            if task.sample().is_some() {
                self.graph.set(task, Mark::Todo);
            }
        }
        self.trouble.retain(|&task, _| !hit(task));
        for task in self.graph.drop_sample(sample, class) {
            self.verified.remove(&task);
            self.made.remove(&task);
            self.out.push(Command::Forget(task));
        }
        self.allow();
        self.places.unpark();
    }

    /// A task was done: what went wrong before is over, but for damage, which came after it was done.
    pub(crate) fn forgive(&mut self, task: Task) {
        let damaged = self.trouble.remove(&task).map_or(0, |trouble| trouble.damaged);
        if damaged > 0 {
            self.trouble.insert(task, Trouble { damaged, ..Trouble::default() });
        }
    }

    /// A worker found a committed output damaged: it is made again. No reader: it was a part in a file that is gone.
    fn damaged(&mut self, task: Task, reader: Option<u32>) {
        let committed = matches!(self.graph.mark(task), Some(Mark::Done | Mark::Held));
        if !committed || self.graph.is_dropped(task) {
            return;
        }
        let maker = self.made.get(&task).map(|&(worker, _)| worker);
        let trouble = self.trouble.entry(task).or_default();
        trouble.damaged += 1;
        let often = trouble.damaged >= DAMAGED_MAX;
        if let Task::Intake(lane, part) = task {
            // Later parts went on from this one; made of another file, it may be another.
            let parts =
                self.graph.samples[lane.sample as usize].lanes[lane.lane as usize].intake().len() as u32;
            let later = (part + 1..parts).rev().map(|part| Task::Intake(lane, part));
            let made: Vec<Task> = later
                .filter(|&task| matches!(self.graph.mark(task), Some(Mark::Done | Mark::Held)))
                .collect();
            made.into_iter().for_each(|task| self.forget(task));
        }
        self.forget(task);
        if task.part().is_some() && reader.is_none() {
            self.forget_parts(task.sample());
        }
        if often {
            return self.give_up(task, Class::Integrity);
        }
        // Where nobody else may do it, or end the job, it can only try again.
        let dispensable = |&worker: &u32| {
            [task, Task::FinishCohort].into_iter().all(|task| self.others(task, &[worker]) > 0)
        };
        if let (Some(worker), Some(reader)) = (maker.filter(dispensable), reader) {
            let one = &mut self.places.workers[worker as usize];
            if !one.accused_by.contains(&reader) {
                one.accused_by.push(reader);
            }
            if one.accused_by.len() >= ACCUSERS && !one.gone && !one.quarantined {
                self.distrust(worker);
            }
        }
    }

    /// No part of a sample's files, or of the cohort's, counts any more.
    fn forget_parts(&mut self, of: Option<u32>) {
        self.graph.written(of).into_iter().for_each(|part| self.forget(part));
    }

    /// A commit counts no more; it is made again once its inputs are there.
    fn forget(&mut self, task: Task) {
        if matches!(task, Task::FinishSample(_) | Task::FinishCohort) {
            // They lay in the files that are not whole.
            self.forget_parts(task.sample());
        }
        self.out.push(Command::Forget(task));
        self.verified.remove(&task);
        self.made.remove(&task);
        if let Some(audit) = self.audits.remove(&task) {
            audit.attempt.into_iter().for_each(|id| self.cancel(id));
            self.graph.put_back(task);
        } else {
            self.graph.redo(task);
        }
    }

    /// A commit is wrong: whatever was made from it is, too.
    fn taint(&mut self, task: Task) {
        let mut wrong = vec![task];
        let mut next = 0;
        while let Some(&task) = wrong.get(next) {
            next += 1;
            let consumers = self.graph.consumers(task);
            let touched =
                |&task: &Task| matches!(self.graph.mark(task), Some(Mark::Given | Mark::Held | Mark::Done));
            let new: Vec<Task> = consumers.into_iter().filter(touched).collect();
            for task in new {
                if !wrong.contains(&task) {
                    wrong.push(task);
                }
            }
        }
        let running: Vec<AttemptId> = self.attempts.keys().copied().collect();
        for id in running {
            let Some(attempt) = self.attempts.get(&id).filter(|attempt| !attempt.cancelled) else { continue };
            let (task, purpose, twin) = (attempt.task, attempt.purpose, attempt.twin);
            if wrong.contains(&task) {
                self.cancel(id);
                if purpose != Purpose::Audit && twin.is_none() {
                    self.graph.put_back(task);
                }
            }
        }
        for task in wrong {
            if matches!(self.graph.mark(task), Some(Mark::Held | Mark::Done)) {
                self.forget(task);
            }
        }
    }

    /// A worker was wrong: it gets nothing more, and what it made is made again elsewhere and compared.
    pub(crate) fn distrust(&mut self, worker: u32) {
        let one = &mut self.places.workers[worker as usize];
        if one.quarantined {
            return;
        }
        let id = one.id;
        self.out.push(Command::Quarantine { worker: id });
        if one.gone {
            one.quarantined = true;
        } else {
            self.places.quarantine(worker);
        }
        for id in self.places.workers[worker as usize].attempts.clone() {
            let Some(attempt) = self.attempts.get(&id).filter(|attempt| !attempt.cancelled).cloned() else {
                continue;
            };
            self.cancel(id);
            self.give_back(&attempt);
        }
        let of_it = self.made.iter().filter(|(_, (maker, _))| *maker == worker);
        let mut made: Vec<(Task, u64)> = of_it.map(|(&task, &(_, content))| (task, content)).collect();
        made.sort_unstable();
        for (task, content) in made {
            let checked = self.graph.is_dropped(task) || self.verified.contains(&task);
            if checked || self.graph.mark(task) != Some(Mark::Done) {
                continue;
            }
            let finished = task.sample().is_some_and(|sample| {
                self.graph.samples[sample as usize].finish == Mark::Done && task.stage() < Stage::Finish
            });
            if content == 0 || finished || !is_comparable(task) {
                // Nothing to compare, or its inputs are gone.
                self.taint(task);
            } else {
                self.graph.retract(task, Mark::Held);
                self.check_held(task, Some(worker), content, None);
            }
        }
        if self.places.open_workers() == 0 {
            self.stop_with(Ending::Failed(Class::Integrity));
        }
        self.tune_due = true;
    }

    /// Whether a task is one of those that are done twice.
    pub(crate) fn is_audited(&self, task: Task) -> bool {
        if self.options.audit_per_mille == 0 || !is_comparable(task) {
            return false;
        }
        let mut hasher = crate::hash::FastHasher::default();
        self.options.seed.hash(&mut hasher);
        task.hash(&mut hasher);
        hasher.write_u64(0);
        (hasher.finish() >> 16) % 1000 < u64::from(self.options.audit_per_mille)
    }

    /// Holds a commit back until somebody else has made the same.
    pub(crate) fn check(&mut self, task: Task, maker: Option<u32>, content: u64, chunks: Option<u32>) {
        self.graph.set(task, Mark::Held);
        self.check_held(task, maker, content, chunks);
    }

    fn check_held(&mut self, task: Task, maker: Option<u32>, content: u64, chunks: Option<u32>) {
        let chunks = chunks.or_else(|| match task {
            Task::Intake(lane, part) => {
                self.graph.samples[lane.sample as usize].lanes[lane.lane as usize].chunks_by(part)
            }
            _ => None,
        });
        let audit = Audit { maker, content, chunks, other: None, attempt: None, tried: Vec::new() };
        self.audits.insert(task, audit);
        self.enqueue(task, Kind::Audit);
    }

    /// A check that was given to a worker did not come to its end.
    pub(crate) fn check_again(&mut self, task: Task) {
        if let Some(audit) = self.audits.get_mut(&task) {
            audit.attempt = None;
            self.enqueue(task, Kind::Audit);
        }
    }

    /// Whether a check is still to be made, and can be.
    pub(crate) fn wants_check(&mut self, task: Task) -> bool {
        if self.audits.get(&task).is_none_or(|audit| audit.attempt.is_some()) {
            return false;
        }
        let possible = self.graph.has_inputs(task);
        if !possible {
            self.audits_waiting.push(task);
        }
        possible
    }

    pub(crate) fn check_given(&mut self, task: Task, id: AttemptId) {
        if let Some(audit) = self.audits.get_mut(&task) {
            audit.attempt = Some(id);
        }
    }

    /// A commit that was checked is trusted.
    fn believe(&mut self, task: Task) {
        if let Some(audit) = self.audits.remove(&task) {
            self.verified.insert(task);
            self.complete(task, audit.chunks);
        }
    }

    /// A check came to its end.
    pub(crate) fn audited(&mut self, task: Task, worker: u32, facts: &Facts) {
        let Some(audit) = self.audits.get_mut(&task) else { return };
        audit.attempt = None;
        let Some(found) = facts.content.map(|content| crate::machine::first_word(&content)) else {
            return self.believe(task);
        };
        let (maker, content, other) = (audit.maker, audit.content, audit.other);
        // Where nobody else is left one of those is asked whose word is known: it decides nothing.
        let is_known = maker == Some(worker) || other.is_some_and(|(other, _)| other == worker);
        if found == content && !is_known {
            self.believe(task);
            if let Some((liar, _)) = other {
                self.distrust(liar);
            }
        } else if found == content && other.is_none() {
            let chunks = audit.chunks;
            self.audits.remove(&task);
            self.complete(task, chunks);
        } else if !is_known && other.is_some_and(|(_, other)| other == found) {
            self.taint(task);
            maker.into_iter().for_each(|liar| self.distrust(liar));
        } else if other.is_none() && self.third(task, worker) {
            if let Some(audit) = self.audits.get_mut(&task) {
                audit.other = Some((worker, found));
            }
            self.enqueue(task, Kind::Audit);
        } else {
            // Nobody can say who is wrong.
            self.audits.remove(&task);
            self.out.push(Command::Forget(task));
            self.give_up(task, Class::Integrity);
        }
    }

    /// Whether there is a worker to decide between the maker and `worker`.
    fn third(&self, task: Task, worker: u32) -> bool {
        let mut had = self.audits.get(&task).map(Audit::workers).unwrap_or_default();
        had.push(worker);
        self.others(task, &had) > 0
    }
}

/// Whether a task can be done twice at once: the end of the cohort's files, or what is for the vault, is written to one place.
pub fn is_comparable(task: Task) -> bool {
    let writes_the_same = task.part().is_some() || matches!(task, Task::FinishSample(_));
    task.stage() < Stage::Finish || writes_the_same
}
