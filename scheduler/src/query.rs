//! What displays ask of the scheduler.

use crate::cost::Units;
use crate::coverage::{cells_of, shard_of};
use crate::event::{AttemptId, Purpose, SiteSpec, WorkerId, WorkerSpec};
use crate::graph::Mark;
use crate::hash::FastSet;
use crate::lane::Lane;
use crate::machine::Scheduler;
use crate::place::Site;
use jobs::task::{LaneId, Shard, Stage, Task};
use std::collections::BTreeMap;
use std::ops::Range;

/// Why tasks do not run yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Waiting {
    /// Outputs of this stage are missing.
    Inputs(Stage),
    /// Everything it reads is there, but some of it is being checked by a second attempt.
    Audit,
    /// All workers that may take it are busy.
    Slots,
    /// No worker that may take it has its predicted memory free.
    Memory,
    /// No site that has workers may have its data.
    Site,
    /// No worker has joined.
    Workers,
    /// The workers that may take it are at sites that are being left.
    Draining,
    /// It is queued at a worker.
    Queued,
    /// The job is stopping.
    Stopping,
    /// The job has not begun.
    Idle,
}

/// Numbers of one stage for progress displays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StageProgress {
    /// Tasks known or, where their inputs do not say yet, expected.
    pub tasks: u64,
    /// Given to workers, but without a core.
    pub queued: u64,
    /// Running now.
    pub running: u64,
    /// Committed.
    pub done: u64,
    /// Given up.
    pub failed: u64,
}

/// An attempt that has a core.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Running {
    /// Its name.
    pub attempt: AttemptId,
    /// What it does, as far as it was not cut.
    pub task: Task,
    /// Who runs it.
    pub worker: WorkerId,
    /// On which of its slots.
    pub slot: u32,
    /// Why.
    pub purpose: Purpose,
    /// Since when.
    pub since_ms: u64,
    /// How long it was expected to take in all.
    pub expected_ms: u64,
    /// Whether it is far beyond that.
    pub straggles: bool,
}

/// A worker for displays.
#[derive(Clone, Copy, Debug)]
pub struct WorkerView<'a> {
    /// Its name.
    pub worker: WorkerId,
    /// What it has.
    pub spec: &'a WorkerSpec,
    /// Slots that run something.
    pub running: u32,
    /// Attempts it has that have no core yet.
    pub queued: u32,
    /// Predicted memory of what it has, with its process.
    pub memory_bytes: u64,
    /// How fast it is; 1 is usual.
    pub speed: f64,
    /// Core time its finished attempts took.
    pub busy_ms: u64,
    /// When it joined.
    pub joined_ms: u64,
    /// Whether it gets nothing more because it was wrong.
    pub quarantined: bool,
    /// Whether its site is being left.
    pub draining: bool,
    /// Whether it is a bundle that has not been filled.
    pub offered: bool,
}

/// The state of a run of cells in a grid of samples by regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CellState {
    /// Its inputs are missing.
    Waiting,
    /// It could run.
    Ready,
    /// A worker has it.
    Given,
    /// It has a core.
    Running,
    /// Committed.
    Done,
    /// Given up.
    Failed,
    /// The sample was dropped.
    Dropped,
}

/// Time left, from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Remaining {
    /// Expected.
    pub expected_ms: u64,
    /// It will hardly take less.
    pub low_ms: u64,
    /// It will hardly take more.
    pub high_ms: u64,
}

impl Scheduler {
    /// Whether everything that `task` reads is committed and trusted at this moment.
    pub fn has_inputs(&self, task: Task) -> bool {
        self.graph.has_inputs(task)
    }

    /// The committed tasks whose outputs `task` reads, in the order of lanes, chunks, samples and cells.
    pub fn inputs(&self, task: Task) -> Vec<Task> {
        let plan = &self.graph.plan;
        let regions = |sample: u32, cells: Range<u32>| {
            let spans = self.graph.samples[sample as usize].cells.overlapping(cells);
            let done = spans.filter(|(_, mark)| matches!(mark, Mark::Done | Mark::Held));
            done.map(move |(cells, _)| Task::Region(sample, shard_of(cells)))
        };
        let stays = |sample: &u32| self.graph.samples[*sample as usize].dropped.is_none();
        let all = 0..plan.samples.len() as u32;
        match task {
            Task::Intake(_, 0) => Vec::new(),
            Task::Intake(lane, part) => vec![Task::Intake(lane, part - 1)],
            Task::Model(lane) => vec![Task::Intake(lane, 0)],
            Task::Map(lane, chunk) => vec![Task::Intake(lane, chunk.intake()), Task::Model(lane)],
            Task::Region(sample, _) => {
                let lanes = plan.lanes_of(sample).zip(&self.graph.samples[sample as usize].lanes);
                lanes
                    .flat_map(|(id, lane)| lane.leaves().map(move |(chunk, _)| Task::Map(id, chunk)))
                    .collect()
            }
            Task::Joint(shard) => {
                let cells = cells_of(shard);
                // A deletion may reach over the line before it.
                let cells = cells.start.saturating_sub(1)..cells.end;
                let joined = all.filter(|&sample| self.graph.counts_in_joint(sample));
                joined.flat_map(|sample| regions(sample, cells.clone())).collect()
            }
            Task::WriteSample(sample, part) => regions(sample, plan.parts().cells(part)).collect(),
            Task::WriteJoint(part) => {
                let joint = self.graph.joint.overlapping(plan.parts().cells(part));
                joint.map(|(cells, _)| Task::Joint(shard_of(cells))).collect()
            }
            Task::FinishSample(sample) => {
                let unplaced = Task::Region(sample, Shard::Unplaced);
                let parts = |lane: LaneId| {
                    let parts = self.graph.samples[sample as usize].lanes[lane.lane as usize].intake().len();
                    (0..parts as u32).map(move |part| Task::Intake(lane, part))
                };
                plan.lanes_of(sample)
                    .flat_map(parts)
                    .chain(self.graph.written(Some(sample)))
                    .chain([unplaced])
                    .collect()
            }
            Task::FinishCohort => {
                all.filter(stays).map(Task::FinishSample).chain(self.graph.written(None)).collect()
            }
            Task::SealSample(sample) => vec![Task::FinishSample(sample)],
            Task::SealCohort => all.filter(stays).map(Task::SealSample).chain([Task::FinishCohort]).collect(),
        }
    }

    /// Progress of a stage, of one sample or of everything.
    pub fn progress(&self, stage: Stage, sample: Option<u32>) -> StageProgress {
        match sample {
            Some(sample) => self.progress_of(stage, sample as usize),
            None => {
                let rows = 0..self.graph.tallies.len();
                rows.map(|row| self.progress_of(stage, row)).fold(StageProgress::default(), |sum, one| {
                    StageProgress {
                        tasks: sum.tasks + one.tasks,
                        queued: sum.queued + one.queued,
                        running: sum.running + one.running,
                        done: sum.done + one.done,
                        failed: sum.failed + one.failed,
                    }
                })
            }
        }
    }

    /// Progress of a stage's tasks that belong to no sample.
    pub fn cohort_progress(&self, stage: Stage) -> StageProgress {
        self.progress_of(stage, self.graph.samples.len())
    }

    fn progress_of(&self, stage: Stage, row: usize) -> StageProgress {
        let tally = &self.graph.tallies[row][stage as usize];
        let at = |mark: Mark| u64::from(tally.marks[mark as usize]);
        let known: u64 = tally.marks.iter().map(|&tasks| u64::from(tasks)).sum();
        StageProgress {
            tasks: known + self.uncut(stage, row).0.round() as u64,
            queued: at(Mark::Given).saturating_sub(tally.running.into()),
            running: tally.running.into(),
            done: at(Mark::Done) + at(Mark::Held),
            failed: at(Mark::Failed),
        }
    }

    /// Tasks of a stage that are expected but not cut yet, and what their durations depend on.
    pub(crate) fn uncut(&self, stage: Stage, row: usize) -> (f64, Units) {
        let plan = &self.graph.plan;
        let pieces = |cells: u32, ms: f64| match &plan.lines {
            Some(lines) => (lines.len() + 1) as f64 * f64::from(cells) / f64::from(plan.cells.max(1)),
            None => {
                let most = f64::from(cells) / f64::from(plan.shard_cells_max.max(1));
                (ms / self.options.shard_target_ms.max(1) as f64).max(most).max(1.0)
            }
        };
        match (stage, self.graph.samples.get(row)) {
            (Stage::Intake | Stage::Map, Some(sample)) => {
                let tasks = |lane: &Lane| {
                    if stage == Stage::Map { lane.uncut_chunks() } else { lane.uncut_parts() }
                };
                let tasks: u64 = sample.lanes.iter().map(tasks).sum();
                let pairs: u64 = sample.lanes.iter().map(Lane::uncut_pairs).sum();
                (tasks as f64, Units { reads: pairs as f64, cells: 0.0 })
            }
            (Stage::Region, Some(sample)) => {
                let cells = plan.cells - sample.cells.cells();
                if cells == 0 {
                    return (0.0, Units::default());
                }
                let share = f64::from(cells) / f64::from(plan.cells.max(1));
                let units = Units { reads: self.graph.reads_of(row as u32) * share, cells: f64::from(cells) };
                let cost = self.costs.stage(stage);
                (pieces(cells, cost.ms(units) - cost.fixed_ms), units)
            }
            (Stage::Joint, None) => {
                let cells = plan.cells - self.graph.joint.cells();
                if cells == 0 {
                    return (0.0, Units::default());
                }
                let units = self.graph.joint_units(f64::from(cells));
                let cost = self.costs.stage(stage);
                (pieces(cells, cost.ms(units) - cost.fixed_ms), units)
            }
            _ => (0.0, Units::default()),
        }
    }

    /// Tasks of a sample (or of the cohort) that do not run, by stage and reason, with their number.
    pub fn waiting(&self, sample: Option<u32>) -> BTreeMap<(Stage, Waiting), u64> {
        let row = sample.map_or(self.graph.samples.len(), |sample| sample as usize);
        let mut counts = BTreeMap::new();
        if self.graph.samples.get(row).is_some_and(|sample| sample.dropped.is_some()) {
            return counts;
        }
        for stage in self.graph.plan.stages() {
            let tally = &self.graph.tallies[row][stage as usize];
            let at = |mark: Mark| u64::from(tally.marks[mark as usize]);
            let todo = at(Mark::Todo) + self.uncut(stage, row).0.round() as u64;
            let mut add = |reason: Waiting, tasks: u64| {
                if tasks > 0 {
                    *counts.entry((stage, reason)).or_insert(0) += tasks;
                }
            };
            let stopped = self.stopping.is_some().then_some(Waiting::Stopping);
            let idle = (!self.begun).then_some(Waiting::Idle);
            add(stopped.or(idle).unwrap_or_else(|| self.why_todo(stage, row)), todo);
            add(stopped.or(idle).unwrap_or_else(|| self.why_ready(stage, row)), at(Mark::Ready));
            add(Waiting::Queued, at(Mark::Given).saturating_sub(tally.running.into()));
            add(Waiting::Audit, at(Mark::Held));
        }
        counts
    }

    /// The first stage before this one that is not done.
    fn why_todo(&self, stage: Stage, row: usize) -> Waiting {
        let cohort = row == self.graph.samples.len();
        let mine = |stage: Stage| {
            let tally = &self.graph.tallies[row][stage as usize].marks;
            let open: u32 = tally.iter().sum::<u32>() - tally[Mark::Done as usize];
            open > 0 || self.uncut(stage, row).0 > 0.0
        };
        // The parts of an intake wait for each other, and a sample's results for the parts of its files.
        let own = |before: Stage| before == stage && matches!(stage, Stage::Intake | Stage::Finish);
        let before = Stage::ALL.into_iter().filter(|&before| before < stage || own(before));
        match (cohort, stage) {
            (true, Stage::Joint) => Waiting::Inputs(Stage::Region),
            (true, Stage::Finish) if mine(Stage::Joint) => Waiting::Inputs(Stage::Joint),
            (true, _) => Waiting::Inputs(Stage::Finish),
            _ => {
                let held = before
                    .clone()
                    .any(|stage| self.graph.tallies[row][stage as usize].marks[Mark::Held as usize] > 0);
                let missing = before.into_iter().find(|&stage| mine(stage));
                match missing {
                    Some(stage)
                        if !held
                            || self.graph.tallies[row][stage as usize].marks[Mark::Held as usize] == 0 =>
                    {
                        Waiting::Inputs(stage)
                    }
                    Some(_) => Waiting::Audit,
                    None => Waiting::Slots,
                }
            }
        }
    }

    fn why_ready(&self, stage: Stage, row: usize) -> Waiting {
        let sites = self.places.sites.iter().enumerate();
        let mut sites = sites.filter_map(|(number, site)| Some((number, site.as_ref()?)));
        let staffed: Vec<(usize, &Site)> = sites.by_ref().filter(|(_, site)| site.workers > 0).collect();
        let may: Vec<(usize, &Site)> = staffed
            .iter()
            .copied()
            .filter(|&(number, site)| site.spec.stages[stage as usize] && self.ready.is_allowed(number, row))
            .collect();
        let open: Vec<usize> =
            may.iter().filter(|(_, site)| !site.drain).map(|&(number, _)| number).collect();
        if staffed.is_empty() {
            Waiting::Workers
        } else if may.is_empty() {
            Waiting::Site
        } else if open.is_empty() {
            Waiting::Draining
        } else if open.iter().any(|&number| self.places.has_idle_core(number)) {
            Waiting::Memory
        } else {
            Waiting::Slots
        }
    }

    /// Attempts that have a core.
    pub fn running(&self) -> impl Iterator<Item = Running> {
        self.attempts.iter().filter(|(_, attempt)| !attempt.cancelled).filter_map(|(&id, attempt)| {
            Some(Running {
                attempt: id,
                task: attempt.task,
                worker: self.places.workers[attempt.worker as usize].id,
                slot: attempt.slot,
                purpose: attempt.purpose,
                since_ms: attempt.started_ms?,
                expected_ms: attempt.expected_ms as u64,
                straggles: attempt.straggles,
            })
        })
    }

    /// Workers that are there, in the order of their names.
    pub fn workers(&self) -> impl Iterator<Item = WorkerView<'_>> {
        self.places.names.iter().map(|(&id, &index)| {
            let worker = &self.places.workers[index as usize];
            let site = self.places.sites[usize::from(worker.spec.site)].as_ref();
            WorkerView {
                worker: id,
                spec: &worker.spec,
                running: worker.running,
                queued: worker.attempts.len() as u32 - worker.running,
                memory_bytes: worker.memory_bytes(&self.graph.plan.memory),
                speed: worker.speed(),
                busy_ms: worker.busy_ms,
                joined_ms: worker.joined_ms,
                quarantined: worker.quarantined,
                draining: site.is_some_and(|site| site.drain),
                offered: site.is_some_and(|site| site.spec.bundles.is_some()) && worker.filled.is_none(),
            }
        })
    }

    /// Sites in order, and whether they are being left.
    pub fn sites(&self) -> impl Iterator<Item = (u16, &SiteSpec, bool)> {
        let sites = self.places.sites.iter().enumerate();
        sites.filter_map(|(number, site)| site.as_ref().map(|site| (number as u16, &site.spec, site.drain)))
    }

    /// The genome of a sample (`None`: of the joint call), cut as its tasks are, in order; gaps that are not cut yet are
    /// one run each. The unplaced reads are last.
    pub fn coverage(&self, sample: Option<u32>) -> Vec<(Shard, CellState)> {
        let coverage = sample.map_or(&self.graph.joint, |s| &self.graph.samples[s as usize].cells);
        let dropped = sample.is_some_and(|sample| self.graph.samples[sample as usize].dropped.is_some());
        let task = |shard: Shard| sample.map_or(Task::Joint(shard), |sample| Task::Region(sample, shard));
        let running: FastSet<Task> = self.running().map(|running| running.task).collect();
        let state = |shard: Shard, mark: Mark| match mark {
            Mark::Done | Mark::Held => CellState::Done,
            _ if dropped => CellState::Dropped,
            Mark::Todo => CellState::Waiting,
            Mark::Ready => CellState::Ready,
            Mark::Given if running.contains(&task(shard)) => CellState::Running,
            Mark::Given => CellState::Given,
            Mark::Failed => CellState::Failed,
        };
        let mut runs = Vec::new();
        let mut next = 0;
        for (cells, mark) in coverage.spans() {
            if next < cells.start {
                runs.push((shard_of(next..cells.start), state(Shard::Unplaced, Mark::Todo)));
            }
            next = cells.end;
            runs.push((shard_of(cells.clone()), state(shard_of(cells), mark)));
        }
        if next < self.graph.plan.cells {
            runs.push((shard_of(next..self.graph.plan.cells), state(Shard::Unplaced, Mark::Todo)));
        }
        if let Some(sample) = sample {
            let mark = self.graph.samples[sample as usize].unplaced;
            runs.push((Shard::Unplaced, state(Shard::Unplaced, mark)));
        }
        runs
    }

    /// Whether everything that was not dropped is done.
    pub fn is_complete(&self) -> bool {
        self.graph.is_complete()
    }

    /// Whether a sample was dropped.
    pub fn is_dropped(&self, sample: u32) -> bool {
        self.graph.samples.get(sample as usize).is_some_and(|sample| sample.dropped.is_some())
    }

    /// Expected milliseconds of a task on one core of speed 1, by what is known of its reads.
    pub fn expected_ms(&self, task: Task) -> u64 {
        self.task_ms(task) as u64
    }
}
