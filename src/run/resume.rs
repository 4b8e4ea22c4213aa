//! What a job may build on when it begins again: the commits whose basis is still the same and whose outputs are there.
//!
//! Invariant: after [`settle`], every commit in the journal either counts or is never asked for. A finished sample stands
//! for everything it was made from, so what that was is not looked at: its scratch may be gone, the parts of its files
//! have become the results, and its lanes may have been cut otherwise. So do the cohort's files.

use super::basis::Bases;
use jobs::failure::Failure;
use jobs::task::{Chunk, LaneId, Shard, Task, TaskKeys};
use scheduler::Plan;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::path::Path;
use storage::{Changes, Commit, Journal};
use workers::task::{IntakeSummary, intake_summary};

/// Commits that are read from the journal at a time.
const BATCH_COMMITS: usize = 256;

/// Tells whether what a task left is there as its commit says.
pub type Whole<'a> = dyn Fn(Task, &Commit) -> Result<bool, Failure> + 'a;

/// What counts of a journal.
#[derive(Debug, Default)]
pub struct Settled {
    /// Finished samples of whose scratch something is gone: their calls are read from their results.
    pub from_results: BTreeSet<u32>,
    /// Whose files, a sample's or the cohort's, are still to be written, or to be ended.
    pub unfinished: BTreeSet<Option<u32>>,
    /// Those of them of whose files a part is there.
    pub begun: BTreeSet<Option<u32>>,
    /// Tasks that are to be done again.
    pub forgotten: Vec<Task>,
}

/// What the journal says is done, by who it is for.
#[derive(Default)]
struct Done {
    /// Those with their basis, and whether it is the present one.
    tasks: HashMap<Option<u32>, Vec<(Task, bool)>>,
    /// What the parts of intakes say.
    intakes: HashMap<(LaneId, u32), IntakeSummary>,
}

/// Removes from the journal every commit that is needed and does not count: of another basis, or not `whole`.
pub fn settle(journal: &Journal, plan: &Plan, bases: &Bases, whole: &Whole<'_>) -> Result<Settled, Failure> {
    let names: Vec<String> = plan.samples.iter().map(|sample| sample.name.clone()).collect();
    let mut done = Done::default();
    // One basis for thousands of tasks.
    let joint = bases.of(Task::Joint(Shard::Unplaced), |_| false);
    let basis_of = |task| match task {
        Task::Joint(_) | Task::WriteJoint(_) => joint,
        task => bases.of(task, |_| false),
    };
    let keys = TaskKeys::new(&names);
    journal.replay(|key, commit| {
        if let Some(task) = keys.task(key).filter(|&task| plan.knows(task)) {
            let current = basis_of(task) == commit.basis;
            done.tasks.entry(task.sample()).or_default().push((task, current));
            if let (Task::Intake(lane, part), Some(summary)) = (task, intake_summary(&commit)) {
                done.intakes.insert((lane, part), summary);
            }
        }
    })?;
    let mut settling = Settling { journal, plan, names, done, whole, settled: Settled::default() };
    settling.cohort()?;
    let keys: Vec<String> = settling.settled.forgotten.iter().map(|task| task.key(&settling.names)).collect();
    for keys in keys.chunks(BATCH_COMMITS) {
        let forgotten: Vec<&str> = keys.iter().map(String::as_str).collect();
        journal.apply(&Changes { forgotten: &forgotten, ..Changes::default() })?;
    }
    Ok(settling.settled)
}

struct Settling<'a> {
    journal: &'a Journal,
    plan: &'a Plan,
    names: Vec<String>,
    done: Done,
    whole: &'a Whole<'a>,
    settled: Settled,
}

impl Settling<'_> {
    fn cohort(&mut self) -> Result<(), Failure> {
        let cohort = self.done.tasks.remove(&None).unwrap_or_default();
        let of = |is: fn(&Task) -> bool| -> Vec<_> {
            cohort.iter().copied().filter(move |(task, _)| is(task)).collect()
        };
        self.keep(of(|task| *task == Task::SealCohort))?;
        // The cohort's files stand for what they were made from.
        let calls_needed = !self.are_finished(None, &cohort)? && {
            let joints = self.keep(of(|task| matches!(task, Task::Joint(_))))?;
            cells_of(&joints) < u64::from(self.plan.cells)
        };
        (0..self.names.len() as u32).try_for_each(|sample| self.sample(sample, calls_needed))
    }

    /// `calls_needed`: joint calls are still to be made.
    fn sample(&mut self, sample: u32, calls_needed: bool) -> Result<(), Failure> {
        let tasks = self.done.tasks.remove(&Some(sample)).unwrap_or_default();
        let of = |is: fn(&Task) -> bool| -> Vec<_> {
            tasks.iter().copied().filter(move |(task, _)| is(task)).collect()
        };
        self.keep(of(|task| matches!(task, Task::SealSample(_))))?;
        let regions = of(|task| matches!(task, Task::Region(..)));
        if self.are_finished(Some(sample), &tasks)? {
            let all = regions.len();
            if calls_needed && self.check(&regions)?.len() < all {
                self.settled.from_results.insert(sample);
            }
            return Ok(());
        }
        let regions = self.keep(regions)?;
        let unplaced = regions.contains(&Task::Region(sample, Shard::Unplaced));
        let covered = unplaced && cells_of(&regions) == u64::from(self.plan.cells);
        if covered {
            return Ok(());
        }
        let maps = self.keep(of(|task| matches!(task, Task::Model(_) | Task::Map(..))))?;
        let mut mapped = HashMap::<_, u64>::new();
        for task in &maps {
            if let Task::Map(lane, chunk) = task {
                *mapped.entry((*lane, chunk.intake())).or_default() += u64::from(chunk.end - chunk.first);
            }
        }
        let intakes = self.intakes(of(|task| matches!(task, Task::Intake(..))), &mapped)?;
        // Maps are counted by the cut of the part of the intake that took their chunk in.
        let uncounted = maps.iter().filter(|task| match **task {
            Task::Map(lane, chunk) => !intakes.contains(&(lane, chunk.intake())),
            _ => false,
        });
        self.settled.forgotten.extend(uncounted);
        Ok(())
    }

    /// Whether the files of a sample, or of the cohort, are results that count; if not, their parts are looked at.
    fn are_finished(&mut self, of: Option<u32>, tasks: &[(Task, bool)]) -> Result<bool, Failure> {
        let is_finish = |(task, _): &&(Task, bool)| *task == Task::finish(of);
        let finish: Vec<_> = tasks.iter().filter(is_finish).copied().collect();
        let ended = !finish.is_empty();
        if !self.keep(finish)?.is_empty() {
            return Ok(true);
        }
        self.settled.unfinished.insert(of);
        let parts: Vec<_> = tasks.iter().filter(|(task, _)| task.part().is_some()).copied().collect();
        match ended {
            // They lay in the files that do not count.
            true => self.settled.forgotten.extend(parts.into_iter().map(|(task, _)| task)),
            false if self.keep(parts)?.is_empty() => {}
            false => drop(self.settled.begun.insert(of)),
        }
        Ok(false)
    }

    /// The parts of intakes that count; the others are forgotten. A part is read to map what is not mapped of it, and by
    /// the part after it: what nobody will read need not be there.
    fn intakes(
        &mut self,
        mut tasks: Vec<(Task, bool)>,
        mapped: &HashMap<(LaneId, u32), u64>,
    ) -> Result<HashSet<(LaneId, u32)>, Failure> {
        let mut kept = HashSet::new();
        tasks.sort_unstable();
        // From the last of each lane, as one that is gone is made from the one before.
        for (task, current) in tasks.into_iter().rev() {
            let Task::Intake(lane, part) = task else { continue };
            let unread = self.done.intakes.get(&(lane, part)).is_some_and(|summary| {
                let strips = u64::from(summary.chunks) * u64::from(Chunk::STRIPS);
                let all = mapped.get(&(lane, part)).copied().unwrap_or(0) == strips;
                all && (!summary.more || kept.contains(&(lane, part + 1)))
            });
            if current && (unread || !self.check(&[(task, true)])?.is_empty()) {
                kept.insert((lane, part));
            } else {
                self.settled.forgotten.push(task);
            }
        }
        Ok(kept)
    }

    /// Those that count; the others are forgotten.
    fn keep(&mut self, tasks: Vec<(Task, bool)>) -> Result<Vec<Task>, Failure> {
        let kept = self.check(&tasks)?;
        let gone = tasks.iter().filter(|(task, _)| !kept.contains(task));
        self.settled.forgotten.extend(gone.map(|(task, _)| *task));
        Ok(kept.into_iter().collect())
    }

    /// Those of the present basis whose outputs are there.
    fn check(&self, tasks: &[(Task, bool)]) -> Result<BTreeSet<Task>, Failure> {
        let current: Vec<Task> =
            tasks.iter().filter(|(_, current)| *current).map(|(task, _)| *task).collect();
        let mut counts = BTreeSet::new();
        for tasks in current.chunks(BATCH_COMMITS) {
            let keys: Vec<String> = tasks.iter().map(|task| task.key(&self.names)).collect();
            let commits = self.journal.get_many(&keys.iter().map(String::as_str).collect::<Vec<_>>())?;
            for (&task, commit) in tasks.iter().zip(commits) {
                if let Some(commit) = commit
                    && (self.whole)(task, &commit)?
                {
                    counts.insert(task);
                }
            }
        }
        Ok(counts)
    }
}

/// How many cells these tasks cover; no two of them overlap.
fn cells_of(tasks: &[Task]) -> u64 {
    let cells = tasks.iter().map(|task| match *task {
        Task::Region(_, Shard::Cells { first, end }) | Task::Joint(Shard::Cells { first, end }) => {
            u64::from(end.0 - first.0)
        }
        _ => 0,
    });
    cells.sum()
}

/// Which packs are there, and how long they are.
pub struct PacksFound {
    bytes: HashMap<String, u64>,
}

impl PacksFound {
    /// Looks into the packs of a scratch directory.
    pub fn in_scratch(scratch: &Path) -> Self {
        let dir = scratch.join("packs");
        let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
        let found = entries
            .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.metadata().ok()?.len())));
        PacksFound { bytes: found.collect() }
    }

    /// Whether all pieces of a commit are there, by length: what they hold shows when they are read.
    pub fn hold(&self, commit: &Commit) -> bool {
        let there = |pack: &String, end| self.bytes.get(pack).is_some_and(|&bytes| end <= bytes);
        commit.pieces.iter().all(|piece| there(&piece.pack, piece.end()))
    }

    /// Whether a pack is there.
    pub fn has(&self, pack: &str) -> bool {
        self.bytes.contains_key(pack)
    }
}
