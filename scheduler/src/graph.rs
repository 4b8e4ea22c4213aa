//! What waits for what: a sample's way from intake to seal, and the cohort's.
//!
//! Invariant: a task is woken only when everything it reads is committed and trusted; when something it reads is taken
//! back before it was given to a worker, it waits again. Counters are kept with every change, nothing is searched.

use self::write::Writes;
use crate::coverage::{Coverage, cells_of, shard_of};
use crate::lane::{Lane, chunks_of};
use crate::plan::Plan;
use jobs::failure::Class;
use jobs::task::{Chunk, LaneId, Shard, Stage, Task};
use std::collections::BTreeMap;
use std::ops::Range;

mod join;
mod lanes;
mod weigh;
mod write;

/// How far a task is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mark {
    /// Something it reads is missing.
    #[default]
    Todo,
    /// It may start.
    Ready,
    /// A worker has it.
    Given,
    /// It is committed, but it is being checked; nobody may read it yet.
    Held,
    /// It is committed.
    Done,
    /// It was given up.
    Failed,
}

/// Tasks of one stage by mark.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// By [`Mark`].
    pub marks: [u32; 6],
    /// Those of the given that have a core.
    pub running: u32,
}

/// How far a sample is.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its lanes.
    pub lanes: Vec<Lane>,
    /// Why it was dropped.
    pub dropped: Option<Class>,
    /// Its region tasks.
    pub cells: Coverage,
    /// The region task of reads without a place.
    pub unplaced: Mark,
    /// The parts of its files.
    writes: Writes,
    /// Its results.
    pub finish: Mark,
    /// Its objects in the vault.
    pub seal: Mark,
    /// Reads by cell, as far as maps told; empty if none did.
    pub weights: Vec<u32>,
    /// Reads in `weights`.
    pub weighed: u64,
    joint: bool,
    /// Lanes whose chunks are not all known.
    lanes_open: u32,
    /// Known parts of intakes, and models, that are not done.
    lanes_left: u32,
    /// Known leaves that are not done.
    maps_left: u32,
}

/// All tasks of a job.
#[derive(Debug)]
pub struct Graph {
    /// What it was made from.
    pub plan: Plan,
    /// By number.
    pub samples: Vec<Sample>,
    /// The joint tasks.
    pub joint: Coverage,
    /// Runs of cells that could be joint tasks and are not cut yet, by first cell.
    pub joint_open: BTreeMap<u32, u32>,
    /// The parts of the joint calls' file.
    writes: Writes,
    /// The cohort's results.
    pub finish: Mark,
    /// The cohort's objects in the vault.
    pub seal: Mark,
    /// Whether open runs of the joint call changed since somebody looked.
    pub joint_touched: bool,
    /// Tasks that became ready since somebody looked.
    pub woken: Vec<Task>,
    /// Cells of samples whose gaps may be cut into region tasks, since somebody looked.
    pub opened: Vec<(u32, Range<u32>)>,
    /// By sample and, last, for the cohort: tasks by stage.
    pub tallies: Vec<[Tally; 7]>,
    /// Joined samples that were not dropped.
    pub joined: u32,
    /// Reads of the joined samples, as last added up.
    joint_reads: f64,
    /// Reads by cell of all joined samples, as far as maps told; empty if none did.
    joint_weights: Vec<u64>,
    /// Reads in `joint_weights`.
    joint_weighed: u64,
    /// By cell: of how many joined samples it is done.
    covered: Vec<u32>,
    /// Cells that are done of all of them.
    full: u32,
    /// Tasks that are being checked.
    held: u32,
    finals_left: u32,
    seals_left: u32,
    begun: bool,
}

impl Graph {
    /// Nothing is done.
    pub fn new(mut plan: Plan) -> Self {
        let parts = plan.parts();
        if let Some(lines) = &mut plan.lines {
            lines.extend(parts.lines());
            lines.sort_unstable();
        }
        let samples: Vec<Sample> = plan
            .samples
            .iter()
            .map(|sample| {
                let pairs = sample.pairs / u64::from(sample.lanes.max(1));
                let mut lane = Lane::new(pairs, plan.chunk_pairs);
                lane.grow(1, 0);
                Sample {
                    lanes: vec![lane; sample.lanes as usize],
                    dropped: None,
                    cells: Coverage::new(parts),
                    unplaced: Mark::Todo,
                    writes: Writes::new(parts),
                    finish: Mark::Todo,
                    seal: Mark::Todo,
                    weights: Vec::new(),
                    weighed: 0,
                    joint: sample.joint,
                    lanes_open: sample.lanes,
                    lanes_left: 2 * sample.lanes,
                    maps_left: 0,
                }
            })
            .collect();
        let mut tallies = vec![[Tally::default(); 7]; samples.len() + 1];
        for (tally, sample) in tallies.iter_mut().zip(plan.samples.iter().map(Some).chain([None])) {
            let lanes = sample.map_or(0, |sample| sample.lanes);
            tally[Stage::Intake as usize].marks[0] = lanes;
            tally[Stage::Model as usize].marks[0] = lanes;
            tally[Stage::Region as usize].marks[0] = u32::from(sample.is_some());
            tally[Stage::Finish as usize].marks[0] = 1 + parts.count();
            tally[Stage::Seal as usize].marks[0] = plan.seals.into();
        }
        let joined = plan.joined(|_| false);
        Graph {
            joint_reads: joined.iter().map(|&sample| 2.0 * plan.samples[sample as usize].pairs as f64).sum(),
            joined: joined.len() as u32,
            joint_weights: Vec::new(),
            joint_weighed: 0,
            covered: vec![0; plan.cells as usize],
            finals_left: samples.len() as u32,
            seals_left: samples.len() as u32,
            joint: Coverage::new(parts),
            joint_open: BTreeMap::new(),
            writes: Writes::new(parts),
            joint_touched: false,
            full: if joined.is_empty() { plan.cells } else { 0 },
            held: 0,
            finish: Mark::Todo,
            seal: Mark::Todo,
            woken: Vec::new(),
            opened: Vec::new(),
            begun: false,
            tallies,
            samples,
            plan,
        }
    }

    /// Where the tallies and queues of this task's sample are; the cohort's are last.
    pub fn row(&self, task: Task) -> usize {
        task.sample().map_or(self.samples.len(), |sample| sample as usize)
    }

    fn sample(&mut self, sample: u32) -> &mut Sample {
        &mut self.samples[sample as usize]
    }

    fn lane(&self, lane: LaneId) -> &Lane {
        &self.samples[lane.sample as usize].lanes[lane.lane as usize]
    }

    fn lane_mut(&mut self, lane: LaneId) -> &mut Lane {
        &mut self.samples[lane.sample as usize].lanes[lane.lane as usize]
    }

    /// How far a task is; `None` if nothing is cut like this.
    pub fn mark(&self, task: Task) -> Option<Mark> {
        match task {
            Task::Intake(lane, part) => self.lane(lane).intake().get(part as usize).copied(),
            Task::Model(lane) => Some(self.lane(lane).model),
            Task::Map(lane, chunk) => self.lane(lane).mark(chunk),
            Task::Region(sample, Shard::Unplaced) => Some(self.samples[sample as usize].unplaced),
            Task::Region(sample, shard) => self.samples[sample as usize].cells.mark(&cells_of(shard)),
            Task::Joint(shard) => self.joint.mark(&cells_of(shard)),
            Task::WriteSample(_, part) | Task::WriteJoint(part) => self.writes(task.sample()).mark(part),
            Task::FinishSample(sample) => Some(self.samples[sample as usize].finish),
            Task::SealSample(sample) => Some(self.samples[sample as usize].seal),
            Task::FinishCohort => Some(self.finish),
            Task::SealCohort => Some(self.seal),
        }
    }

    /// Whether a sample's tasks are of no use any more.
    pub fn is_dropped(&self, task: Task) -> bool {
        task.sample().is_some_and(|sample| self.samples[sample as usize].dropped.is_some())
    }

    /// Marks a task anew, and nothing else. What is not cut like this has no mark.
    pub fn set(&mut self, task: Task, mark: Mark) {
        let Some(before) = self.mark(task) else { return };
        self.held += u32::from(mark == Mark::Held);
        self.held -= u32::from(before == Mark::Held);
        self.tally(task, before, -1);
        self.tally(task, mark, 1);
        match task {
            Task::Intake(lane, part) => self.lane_mut(lane).set_intake(part, mark),
            Task::Model(lane) => self.lane_mut(lane).model = mark,
            Task::Map(lane, chunk) => self.lane_mut(lane).set(chunk, mark),
            Task::Region(sample, Shard::Unplaced) => self.sample(sample).unplaced = mark,
            Task::Region(sample, shard) => self.sample(sample).cells.set(&cells_of(shard), mark),
            Task::Joint(shard) => self.joint.set(&cells_of(shard), mark),
            Task::WriteSample(_, part) | Task::WriteJoint(part) => {
                self.writes_mut(task.sample()).set(part, mark);
            }
            Task::FinishSample(sample) => self.sample(sample).finish = mark,
            Task::SealSample(sample) => self.sample(sample).seal = mark,
            Task::FinishCohort => self.finish = mark,
            Task::SealCohort => self.seal = mark,
        }
    }

    fn tally(&mut self, task: Task, mark: Mark, by: i32) {
        let row = self.row(task);
        let count = &mut self.tallies[row][task.stage() as usize].marks[mark as usize];
        *count = count.wrapping_add_signed(by);
    }

    /// An attempt got a core (`1`) or gave it back (`-1`).
    pub fn tally_running(&mut self, task: Task, by: i32) {
        let row = self.row(task);
        let running = &mut self.tallies[row][task.stage() as usize].running;
        *running = running.wrapping_add_signed(by);
    }

    /// Makes a gap a task. `false` if it is none.
    pub fn add_span(&mut self, task: Task, mark: Mark) -> bool {
        let added = match task {
            Task::Region(sample, shard) => self.sample(sample).cells.insert(cells_of(shard), mark),
            Task::Joint(shard) => self.joint.insert(cells_of(shard), mark),
            _ => false,
        };
        if added {
            self.tally(task, mark, 1);
        }
        added
    }

    /// Makes a region or joint task a gap again.
    pub fn remove_span(&mut self, task: Task) {
        let Some(mark) = self.mark(task) else { return };
        if self.is_span(task) {
            self.held -= u32::from(mark == Mark::Held);
        }
        match task {
            Task::Region(_, Shard::Unplaced) => return self.set(task, Mark::Todo),
            Task::Region(sample, shard) => self.sample(sample).cells.remove(&cells_of(shard)),
            Task::Joint(shard) => self.joint.remove(&cells_of(shard)),
            _ => return,
        }
        self.tally(task, mark, -1);
    }

    /// Ends a task that was given to a worker before the step `end`. The rest of a region or joint task is a gap, and may
    /// be cut; that of a map is taken into so many maps, or fewer.
    pub fn shrink(&mut self, task: Task, end: u32, pieces: u16) -> Task {
        let steps = task.steps().unwrap_or_default();
        let now = task.over(steps.start..end);
        match task {
            Task::Region(sample, _) => {
                self.sample(sample).cells.shrink(&steps, end);
                self.open_regions(sample, end..steps.end);
            }
            Task::Joint(_) => {
                self.joint.shrink(&steps, end);
                self.open_joint(end..steps.end);
            }
            Task::Map(lane, chunk) => {
                let state = &mut self.sample(lane.sample).lanes[lane.lane as usize];
                let rest = state.cut(chunk, end as u16, pieces).unwrap_or_default();
                self.tally(task, Mark::Todo, rest.len() as i32);
                self.sample(lane.sample).maps_left += rest.len() as u32;
                rest.into_iter().for_each(|chunk| self.wake(Task::Map(lane, chunk)));
            }
            _ => {}
        }
        now
    }

    /// Takes a map into halves; `None` if it cannot be.
    pub fn halve(&mut self, lane: LaneId, chunk: Chunk) -> Option<[Task; 2]> {
        let before = self.lane(lane).mark(chunk)?;
        let halves = self.lane_mut(lane).halve(chunk)?;
        self.tally(Task::Map(lane, chunk), before, -1);
        self.tally(Task::Map(lane, chunk), Mark::Todo, 2);
        self.sample(lane.sample).maps_left += 1;
        Some(halves.map(|half| Task::Map(lane, half)))
    }

    /// What the journal holds, before the job begins: what it shows to be beyond a lane's end. `None` if it is of no use:
    /// nothing of this plan, or done already.
    pub fn restore(&mut self, task: Task, chunks: Option<u32>) -> Option<Vec<Task>> {
        if !self.plan.knows(task) {
            return None;
        }
        let usable = match task {
            Task::Intake(lane, part) => {
                self.grow_lane(lane, part + 1, 0);
                self.mark(task).is_some_and(|mark| mark != Mark::Done)
            }
            Task::Map(lane, chunk) => {
                self.grow_lane(lane, 0, chunk.index + 1);
                let known = self.lane(lane).leaves_of(chunk.index..chunk.index + 1).next().is_some();
                let more = if known { self.lane_mut(lane).carve(chunk) } else { None };
                self.tally(task, Mark::Todo, more.unwrap_or(0) as i32);
                self.sample(lane.sample).maps_left += more.unwrap_or(0);
                more.is_some()
            }
            Task::Region(_, Shard::Cells { .. }) | Task::Joint(_) => self.add_span(task, Mark::Todo),
            Task::WriteSample(..) | Task::WriteJoint(_) => {
                self.want_write(task);
                self.mark(task) != Some(Mark::Done)
            }
            _ => self.mark(task) != Some(Mark::Done),
        };
        usable.then(|| self.complete(task, chunks))
    }

    /// The job begins: wakes whatever can run.
    pub fn begin(&mut self) {
        self.begun = true;
        for sample in 0..self.samples.len() as u32 {
            self.wake_sample(sample);
        }
        self.open_joint(0..self.plan.cells);
        self.wake_writes(None, 0);
        self.wake_cohort();
    }

    /// A task is committed and trusted: wakes what waited for it. The last part of an intake says how many chunks there
    /// are; what was committed of others is returned.
    pub fn complete(&mut self, task: Task, chunks: Option<u32>) -> Vec<Task> {
        let mut foreign = Vec::new();
        if self.mark(task).is_none() {
            // There is no such part or chunk after all.
            return foreign;
        }
        self.set(task, Mark::Done);
        match task {
            Task::Intake(lane, part) => {
                self.sample(lane.sample).lanes_left -= 1;
                foreign = self.extend_lane(lane, part, chunks);
            }
            Task::Model(lane) => self.sample(lane.sample).lanes_left -= 1,
            Task::Map(lane, _) => self.sample(lane.sample).maps_left -= 1,
            Task::Region(sample, shard @ Shard::Cells { .. }) if self.counts_in_joint(sample) => {
                self.cover(cells_of(shard));
            }
            Task::FinishSample(sample) => {
                self.finals_left -= 1;
                self.spare_writes(Some(sample));
            }
            Task::FinishCohort => self.spare_writes(None),
            Task::SealSample(_) => self.seals_left -= 1,
            Task::Region(..)
            | Task::Joint(_)
            | Task::WriteSample(..)
            | Task::WriteJoint(_)
            | Task::SealCohort => {}
        }
        if self.begun {
            match task {
                Task::Intake(lane, part) => {
                    self.wake(Task::Intake(lane, part + 1));
                    self.wake(Task::Model(lane));
                    self.wake_maps(lane, chunks_of(part));
                    self.wake_regions(lane.sample);
                }
                Task::Model(lane) => self.wake_maps(lane, 0..u32::MAX),
                Task::Map(lane, _) => self.wake_regions(lane.sample),
                Task::Region(_, shard @ Shard::Cells { .. }) | Task::Joint(shard) => {
                    self.wake_writes(task.sample(), self.plan.parts().at(cells_of(shard).start));
                }
                _ => {}
            }
            match task.sample() {
                Some(sample) => self.wake_results(sample),
                None => self.wake_cohort(),
            }
        }
        foreign
    }

    /// A task that was done is so no more: what waits for it and was not given to a worker waits again.
    pub fn retract(&mut self, task: Task, mark: Mark) {
        if self.mark(task) != Some(Mark::Done) {
            return;
        }
        self.set(task, mark);
        match task {
            Task::Intake(lane, part) => {
                self.sample(lane.sample).lanes_left += 1;
                self.unwake(Task::Intake(lane, part + 1));
                self.unwake(Task::Model(lane));
                self.unwake_maps(lane, chunks_of(part));
            }
            Task::Model(lane) => {
                self.sample(lane.sample).lanes_left += 1;
                self.unwake_maps(lane, 0..u32::MAX);
            }
            Task::Map(lane, _) => {
                self.sample(lane.sample).maps_left += 1;
                self.close_regions(lane.sample);
            }
            Task::Region(sample, shard @ Shard::Cells { .. }) if self.counts_in_joint(sample) => {
                self.uncover(cells_of(shard));
            }
            Task::FinishSample(_) => self.finals_left += 1,
            Task::SealSample(_) => self.seals_left += 1,
            Task::Region(..)
            | Task::Joint(_)
            | Task::WriteSample(..)
            | Task::WriteJoint(_)
            | Task::FinishCohort
            | Task::SealCohort => {}
        }
        if let Task::Region(_, shard) | Task::Joint(shard) = task {
            self.writes_from(task.sample(), shard).for_each(|write| self.unwake(write));
        }
        if let Some(sample) = task.sample() {
            if !matches!(task, Task::SealSample(_)) {
                self.unwake(Task::FinishSample(sample));
            }
            self.unwake(Task::SealSample(sample));
        }
        self.unwake(Task::FinishCohort);
        self.unwake(Task::SealCohort);
    }

    /// A commit counts no more: the task is to be done again.
    pub fn redo(&mut self, task: Task) {
        self.retract(task, Mark::Held);
        if self.mark(task) == Some(Mark::Held) {
            self.put_back(task);
        }
    }

    /// The tasks that have read a task's output, as they are cut now.
    pub fn consumers(&self, task: Task) -> Vec<Task> {
        let regions = |sample: u32| {
            let spans = self.samples[sample as usize].cells.spans();
            let cells = spans.map(move |(cells, _)| Task::Region(sample, shard_of(cells)));
            cells.chain([Task::Region(sample, Shard::Unplaced)])
        };
        match task {
            Task::Intake(lane, part) => {
                let maps =
                    self.lane(lane).leaves_of(chunks_of(part)).map(|(chunk, _)| Task::Map(lane, chunk));
                let model = (part == 0).then_some(Task::Model(lane));
                model.into_iter().chain([Task::Intake(lane, part + 1)]).chain(maps).collect()
            }
            Task::Model(lane) => self.lane(lane).leaves().map(|(chunk, _)| Task::Map(lane, chunk)).collect(),
            Task::Map(lane, _) => regions(lane.sample).collect(),
            Task::Region(sample, shard) => {
                let cells = cells_of(shard);
                let joint = self.samples[sample as usize].joint && !cells.is_empty();
                let reach = if joint { cells.start..cells.end + 1 } else { 0..0 };
                let joints = self.joint.overlapping(reach).map(|(cells, _)| Task::Joint(shard_of(cells)));
                let writes = self.writes_from(task.sample(), shard);
                joints.chain(writes).chain([Task::FinishSample(sample)]).collect()
            }
            Task::Joint(shard) => self.writes_from(None, shard).chain([Task::FinishCohort]).collect(),
            Task::WriteSample(..) | Task::WriteJoint(_) => vec![Task::finish(task.sample())],
            Task::FinishSample(sample) => vec![Task::SealSample(sample), Task::FinishCohort],
            Task::FinishCohort | Task::SealSample(_) if self.plan.seals => vec![Task::SealCohort],
            Task::FinishCohort | Task::SealSample(_) | Task::SealCohort => Vec::new(),
        }
    }

    /// A task that was given to a worker is to be given again, once everything it reads is there.
    pub fn put_back(&mut self, task: Task) {
        if self.is_span(task) && !self.has_inputs(task) {
            // Cut anew when they are there.
            self.remove_span(task);
            if let Task::Joint(shard) = task {
                self.open_joint(cells_of(shard));
            }
            return;
        }
        self.set(task, Mark::Todo);
        if matches!(task, Task::FinishSample(_) | Task::FinishCohort) {
            self.want_writes(task.sample());
        }
        self.wake(task);
    }

    /// Whether a task is a run of cells, which may be cut anew.
    pub fn is_span(&self, task: Task) -> bool {
        matches!(task, Task::Region(_, Shard::Cells { .. }) | Task::Joint(_))
    }

    /// Whether a task may run, by what it reads.
    pub fn has_inputs(&self, task: Task) -> bool {
        self.missing(task).is_none()
    }

    /// The stage whose outputs a task still lacks.
    pub fn missing(&self, task: Task) -> Option<Stage> {
        let unless = |ok: bool, stage: Stage| (!ok).then_some(stage);
        let unless_done = |task: Task| unless(self.mark(task) == Some(Mark::Done), task.stage());
        match task {
            Task::Intake(_, 0) => None,
            Task::Intake(lane, part) => unless_done(Task::Intake(lane, part - 1)),
            Task::Model(lane) => unless_done(Task::Intake(lane, 0)),
            Task::Map(lane, chunk) => {
                unless_done(Task::Intake(lane, chunk.intake())).or_else(|| unless_done(Task::Model(lane)))
            }
            Task::Region(sample, _) => {
                let sample = &self.samples[sample as usize];
                unless(sample.lanes_open == 0, Stage::Intake).or(unless(sample.maps_left == 0, Stage::Map))
            }
            Task::Joint(shard) => {
                let cells = cells_of(shard);
                unless(cells.clone().all(|cell| self.joint_ready(cell)), Stage::Region)
            }
            Task::WriteSample(sample, part) => {
                unless(part < self.made_of(Some(sample)).done_parts(), Stage::Region)
            }
            Task::WriteJoint(part) => unless(part < self.made_of(None).done_parts(), Stage::Joint),
            Task::FinishSample(sample) => {
                let sample = &self.samples[sample as usize];
                let covered = sample.cells.done_cells() == self.plan.cells && sample.unplaced == Mark::Done;
                let mapped = sample.lanes_open == 0 && sample.lanes_left == 0 && sample.maps_left == 0;
                unless(covered && mapped, Stage::Region).or(unless(sample.writes.are_done(), Stage::Finish))
            }
            Task::FinishCohort => {
                let made = self.finals_left == 0 && self.held == 0 && self.writes.are_done();
                unless(made, Stage::Finish)
                    .or(unless(self.joint.done_cells() == self.plan.cells, Stage::Joint))
            }
            Task::SealSample(sample) => {
                unless(self.samples[sample as usize].finish == Mark::Done, Stage::Finish)
            }
            Task::SealCohort => {
                unless(self.finish == Mark::Done, Stage::Finish).or(unless(self.seals_left == 0, Stage::Seal))
            }
        }
    }

    /// Whether everything that was not dropped is done; an input that was made again after it was read counts, too.
    pub fn is_complete(&self) -> bool {
        let done = |task: Task| self.mark(task) == Some(Mark::Done) && self.has_inputs(task);
        done(Task::FinishCohort) && (!self.plan.seals || done(Task::SealCohort))
    }

    /// Goes on without a sample. Returns the commits that had it; the cohort's tasks that workers have must have been put
    /// back before.
    pub fn drop_sample(&mut self, sample: u32, reason: Class) -> Vec<Task> {
        let state = self.sample(sample);
        state.dropped = Some(reason);
        state.weights = Vec::new();
        let finished = state.finish == Mark::Done;
        let sealed = state.seal == Mark::Done;
        let joint = state.joint;
        let covered: Vec<Range<u32>> = if joint {
            state.cells.spans().filter(|(_, mark)| *mark == Mark::Done).map(|(cells, _)| cells).collect()
        } else {
            Vec::new()
        };
        self.finals_left -= u32::from(!finished);
        self.seals_left -= u32::from(!sealed);
        let mut forgotten = Vec::new();
        if joint {
            for cell in covered.into_iter().flatten() {
                self.covered[cell as usize] -= 1;
            }
            self.joined -= 1;
            if self.joined == 0 {
                self.join_all();
            }
            self.full = self.covered.iter().filter(|&&samples| samples == self.joined).count() as u32;
            let spans: Vec<(Range<u32>, Mark)> = self.joint.spans().collect();
            for (cells, mark) in spans {
                let task = Task::Joint(shard_of(cells));
                self.remove_span(task);
                if matches!(mark, Mark::Done | Mark::Held) {
                    forgotten.push(task);
                }
            }
            self.joint_open.clear();
            self.open_joint(0..self.plan.cells);
        }
        // They lie in results, or hold calls, that count no more.
        forgotten.extend(self.lose_writes(None));
        for task in [Task::FinishCohort, Task::SealCohort] {
            if self.mark(task) == Some(Mark::Done) {
                self.set(task, Mark::Todo);
                forgotten.push(task);
            }
            self.unwake(task);
        }
        self.wake_writes(None, 0);
        self.wake_cohort();
        forgotten
    }

    fn wake(&mut self, task: Task) {
        if self.begun
            && !self.is_dropped(task)
            && self.mark(task) == Some(Mark::Todo)
            && self.has_inputs(task)
            && self.plan.knows(task)
        {
            self.set(task, Mark::Ready);
            self.woken.push(task);
        }
    }

    fn unwake(&mut self, task: Task) {
        if self.mark(task) == Some(Mark::Ready) && !self.has_inputs(task) {
            self.set(task, Mark::Todo);
        }
    }

    fn wake_sample(&mut self, sample: u32) {
        let lanes: Vec<LaneId> = self.plan.lanes_of(sample).collect();
        lanes.into_iter().for_each(|lane| self.wake_lane(lane));
        self.wake_regions(sample);
        self.wake_writes(Some(sample), 0);
        self.wake_results(sample);
    }

    fn wake_results(&mut self, sample: u32) {
        self.wake(Task::FinishSample(sample));
        self.wake(Task::SealSample(sample));
        self.wake_cohort();
    }

    fn wake_cohort(&mut self) {
        self.wake(Task::FinishCohort);
        self.wake(Task::SealCohort);
    }

    fn wake_regions(&mut self, sample: u32) {
        self.wake(Task::Region(sample, Shard::Unplaced));
        self.open_regions(sample, 0..self.plan.cells);
    }

    fn open_regions(&mut self, sample: u32, cells: Range<u32>) {
        if self.begun && self.has_inputs(Task::Region(sample, Shard::Unplaced)) {
            self.opened.push((sample, cells));
        }
    }

    fn close_regions(&mut self, sample: u32) {
        let spans = self.samples[sample as usize].cells.spans();
        let ready = spans.filter(|(_, mark)| *mark == Mark::Ready).map(|(cells, _)| cells);
        let ready: Vec<Range<u32>> = ready.collect();
        for cells in ready {
            self.remove_span(Task::Region(sample, shard_of(cells)));
        }
        self.unwake(Task::Region(sample, Shard::Unplaced));
    }
}
