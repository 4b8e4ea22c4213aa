//! Watches a scheduler at work and says every promise that it breaks.
//!
//! Invariant: knows the rules of a job from the plan alone; asks the scheduler nothing but what it says.

use jobs::task::{Chunk, LaneId, Shard, Task};
use scheduler::{Plan, WorkerId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Broken promises beyond this number are not written down.
const BROKEN_MAX: usize = 20;

/// Everything committed, by the rules.
#[derive(Debug)]
pub struct Referee {
    plan: Plan,
    /// Chunks by lane, of those whose intake has ended.
    chunks: BTreeMap<LaneId, u32>,
    done: BTreeSet<Task>,
    /// Committed cells.
    regions: Runs,
    /// Committed strips of chunks among those of their whole lane: end by first.
    maps: BTreeMap<LaneId, BTreeMap<u64, u64>>,
    dropped: BTreeSet<u32>,
    quarantined: BTreeSet<WorkerId>,
    /// What was broken.
    pub broken: Vec<String>,
}

impl Referee {
    /// Nothing is done yet.
    pub fn new(plan: Plan) -> Self {
        Referee {
            plan,
            chunks: BTreeMap::new(),
            done: BTreeSet::new(),
            regions: BTreeMap::new(),
            maps: BTreeMap::new(),
            dropped: BTreeSet::new(),
            quarantined: BTreeSet::new(),
            broken: Vec::new(),
        }
    }

    /// Notes a broken promise.
    pub fn complain(&mut self, what: impl FnOnce() -> String) {
        if self.broken.len() < BROKEN_MAX {
            self.broken.push(what());
        }
    }

    /// A task is started. `inputs` is what the scheduler says it reads.
    pub fn start(&mut self, now_us: u64, worker: WorkerId, task: Task, inputs: &[Task]) {
        if self.quarantined.contains(&worker) {
            self.complain(|| format!("{now_us}: {task:?} is given to {worker:?}, which is quarantined"));
        }
        if task.sample().is_some_and(|sample| self.dropped.contains(&sample)) {
            self.complain(|| format!("{now_us}: {task:?} is started though its sample was dropped"));
        }
        if !self.plan.knows(task) {
            self.complain(|| format!("{now_us}: {task:?} is none of this plan's"));
        }
        if let Some(missing) = self.missing(task) {
            self.complain(|| format!("{now_us}: {task:?} is started without {missing}"));
        }
        if let Some(foreign) = inputs.iter().find(|input| !self.done.contains(input)) {
            self.complain(|| format!("{now_us}: {task:?} is to read {foreign:?}, which is not committed"));
        }
        if let Some(needed) = self.unlisted(task, inputs) {
            self.complain(|| format!("{now_us}: {task:?} is not told to read {needed}"));
        }
        let cells_max = self.plan.shard_cells_max;
        if self.plan.lines.is_none() && cells(task).is_some_and(|(first, end)| end - first > cells_max) {
            self.complain(|| format!("{now_us}: {task:?} holds more than {cells_max} cells"));
        }
    }

    /// A task's output is committed.
    pub fn commit(&mut self, now_us: u64, task: Task, chunks: Option<u32>) {
        if !self.done.insert(task) {
            self.complain(|| format!("{now_us}: {task:?} is committed twice"));
        }
        let twice = match (cells(task), task) {
            (Some((first, end)), _) => overlaps(self.regions.entry(task.sample()).or_default(), first, end),
            (None, Task::Map(lane, chunk)) => {
                let (first, end) = strips(chunk);
                overlaps(self.maps.entry(lane).or_default(), first, end)
            }
            (None, Task::Intake(lane, _)) => {
                self.chunks.extend(chunks.map(|chunks| (lane, chunks)));
                false
            }
            _ => false,
        };
        if twice {
            self.complain(|| format!("{now_us}: part of {task:?} is committed already"));
        }
    }

    /// A commit counts no more.
    pub fn forget(&mut self, now_us: u64, task: Task) {
        if !self.done.remove(&task) {
            self.complain(|| format!("{now_us}: {task:?} is forgotten but was not committed"));
        }
        match (cells(task), task) {
            (Some((first, _)), _) => {
                self.regions.entry(task.sample()).or_default().remove(&first);
            }
            (None, Task::Map(lane, chunk)) => {
                self.maps.entry(lane).or_default().remove(&strips(chunk).0);
            }
            (None, Task::FinishSample(_) | Task::FinishCohort) => {
                if let Some(stays) = self.parts_of(task.sample()).find(|part| self.done.contains(part)) {
                    self.complain(|| {
                        format!("{now_us}: {stays:?} stays, but the file that it lay in does not")
                    });
                }
            }
            _ => {}
        }
    }

    fn parts_of(&self, of: Option<u32>) -> impl Iterator<Item = Task> + use<> {
        (0..self.plan.parts().count()).map(move |part| Task::write(of, part))
    }

    /// A sample goes.
    pub fn drop_sample(&mut self, sample: u32) {
        self.dropped.insert(sample);
    }

    /// A worker gets nothing more.
    pub fn quarantine(&mut self, worker: WorkerId) {
        self.quarantined.insert(worker);
    }

    /// Whether a sample was dropped.
    pub fn is_dropped(&self, sample: u32) -> bool {
        self.dropped.contains(&sample)
    }

    /// The job says that everything is done.
    pub fn complete(&mut self, now_us: u64) {
        let samples = (0..self.plan.samples.len() as u32).filter(|sample| !self.dropped.contains(sample));
        let mut last: Vec<Task> = samples.clone().map(Task::FinishSample).collect();
        last.push(Task::FinishCohort);
        if self.plan.seals {
            last.extend(samples.map(Task::SealSample).chain([Task::SealCohort]));
        }
        for task in last {
            if !self.done.contains(&task) {
                self.complain(|| format!("{now_us}: the job is complete without {task:?}"));
            }
            if let Some(missing) = self.missing(task) {
                self.complain(|| {
                    format!("{now_us}: the job is complete with {task:?} but without {missing}")
                });
            }
        }
    }

    /// What must be committed before this task and is not.
    fn missing(&self, task: Task) -> Option<String> {
        let lacks = |needed: Task| (!self.done.contains(&needed)).then(|| format!("{needed:?}"));
        match task {
            Task::Intake(_, 0) => None,
            Task::Intake(lane, part) => lacks(Task::Intake(lane, part - 1)),
            Task::Model(lane) => lacks(Task::Intake(lane, 0)),
            Task::Map(lane, chunk) => {
                lacks(Task::Intake(lane, chunk.intake())).or_else(|| lacks(Task::Model(lane)))
            }
            Task::Region(sample, _) => self.plan.lanes_of(sample).find_map(|lane| self.unmapped(lane)),
            Task::Joint(_) => {
                let (first, end) = cells(task)?;
                let joined = self.plan.joined(|sample| self.dropped.contains(&sample));
                joined.into_iter().find_map(|sample| self.gap(Some(sample), first.saturating_sub(1), end))
            }
            Task::WriteSample(_, part) | Task::WriteJoint(part) => {
                self.gap(task.sample(), 0, self.plan.parts().cells(part).end)
            }
            Task::FinishSample(sample) => lacks(Task::Region(sample, Shard::Unplaced))
                .or_else(|| self.parts_of(Some(sample)).find_map(lacks))
                .or_else(|| self.gap(Some(sample), 0, self.plan.cells)),
            Task::FinishCohort => {
                let samples =
                    (0..self.plan.samples.len() as u32).filter(|sample| !self.dropped.contains(sample));
                let mut needed = samples.map(Task::FinishSample).chain(self.parts_of(None));
                needed.find_map(lacks).or_else(|| self.gap(None, 0, self.plan.cells))
            }
            Task::SealSample(sample) => lacks(Task::FinishSample(sample)),
            Task::SealCohort => lacks(Task::FinishCohort),
        }
    }

    fn unmapped(&self, lane: LaneId) -> Option<String> {
        let Some(&chunks) = self.chunks.get(&lane) else { return Some(format!("the intake of {lane:?}")) };
        let end = u64::from(chunks) * u64::from(Chunk::STRIPS);
        let nothing = BTreeMap::new();
        first_gap(self.maps.get(&lane).unwrap_or(&nothing), 0, end)
            .map(|at| format!("chunk {} of {lane:?}", at / u64::from(Chunk::STRIPS)))
    }

    fn gap(&self, sample: Option<u32>, first: u32, end: u32) -> Option<String> {
        let nothing = BTreeMap::new();
        first_gap(self.regions.get(&sample).unwrap_or(&nothing), first, end)
            .map(|cell| format!("cell {cell} of sample {sample:?}"))
    }

    /// What a task needs of what it is not told to read.
    fn unlisted(&self, task: Task, inputs: &[Task]) -> Option<String> {
        match task {
            Task::Region(sample, _) => {
                let maps =
                    self.plan.lanes_of(sample).filter_map(|lane| self.maps.get(&lane)).map(BTreeMap::len);
                let listed = inputs.iter().filter(|input| matches!(input, Task::Map(..))).count();
                let needed: usize = maps.sum();
                (listed != needed).then(|| format!("{needed} maps, but {listed}"))
            }
            Task::Joint(_) => {
                let (first, end) = cells(task)?;
                let told = told(inputs);
                let joined = self.plan.joined(|sample| self.dropped.contains(&sample));
                joined
                    .into_iter()
                    .find_map(|sample| untold(&told, Some(sample), first.saturating_sub(1)..end))
            }
            Task::WriteSample(_, part) | Task::WriteJoint(part) => {
                untold(&told(inputs), task.sample(), self.plan.parts().cells(part))
            }
            Task::FinishSample(_) | Task::FinishCohort => {
                let unplaced = task.sample().map(|sample| Task::Region(sample, Shard::Unplaced));
                let mut needed = self.parts_of(task.sample()).chain(unplaced);
                needed.find(|part| !inputs.contains(part)).map(|part| format!("{part:?}"))
            }
            _ => None,
        }
    }
}

/// Cells by sample (`None`: joint): end by first.
type Runs = BTreeMap<Option<u32>, BTreeMap<u32, u32>>;

/// Cells of region and joint tasks.
fn told(inputs: &[Task]) -> Runs {
    let mut told = Runs::new();
    for input in inputs {
        if let Some((first, end)) = cells(*input) {
            told.entry(input.sample()).or_default().insert(first, end);
        }
    }
    told
}

fn untold(told: &Runs, sample: Option<u32>, needed: Range<u32>) -> Option<String> {
    let nothing = BTreeMap::new();
    let told = told.get(&sample).unwrap_or(&nothing);
    first_gap(told, needed.start, needed.end).map(|cell| format!("cell {cell} of {sample:?}"))
}

/// First cell and one past the last of a task that has cells.
fn cells(task: Task) -> Option<(u32, u32)> {
    let steps = task.steps().filter(|_| !matches!(task, Task::Map(..)))?;
    Some((steps.start, steps.end))
}

/// Inserts `first..end`; whether some of it was there.
fn overlaps<T: Ord + Copy>(runs: &mut BTreeMap<T, T>, first: T, end: T) -> bool {
    let before = runs.range(..end).next_back().is_some_and(|(_, &before)| before > first);
    runs.insert(first, end);
    before
}

/// The first of `first..end` that no run covers.
fn first_gap<T: Ord + Copy>(runs: &BTreeMap<T, T>, first: T, end: T) -> Option<T> {
    let mut next = first;
    if let Some((_, &reaches)) = runs.range(..=first).next_back() {
        next = next.max(reaches);
    }
    while next < end {
        match runs.get(&next) {
            Some(&reaches) => next = reaches,
            None => return Some(next),
        }
    }
    None
}

/// The strips of a chunk among those of its whole lane.
fn strips(chunk: Chunk) -> (u64, u64) {
    let before = u64::from(chunk.index) * u64::from(Chunk::STRIPS);
    (before + u64::from(chunk.first), before + u64::from(chunk.end))
}
