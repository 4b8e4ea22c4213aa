//! What a finished job measured of itself: its journal as costs, and as a run to be plotted beside simulated ones.

use super::figures::{Goal, Origin};
use crate::job_dir::JobDir;
use cluster::sim::cohort::Cohort;
use cluster::sim::trace::Presence;
use cluster::sim::{CohortSpec, Costs, Fate, Kind, Measured, Span, Trace};
use jobs::failure::{Class, Classified, Failure};
use jobs::genome::{CELL_BASES, Cell};
use jobs::task::{LaneId, Parts, Shard, Stage, Task};
use scheduler::Ending;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use storage::{Commit, Fence, Journal};
use workers::task::intake_summary;

/// What all parts of a lane's intake say together.
#[derive(Clone, Copy, Default)]
struct TakenIn {
    chunks: u32,
    pairs: u64,
    bytes: u64,
}

/// The tasks of a finished job.
pub struct MeasuredJob {
    tasks: Vec<(Task, Commit)>,
    samples: u32,
    cells: u32,
    lanes: BTreeMap<LaneId, TakenIn>,
    /// CPU time of all processes that ran it, in milliseconds, by its books.
    pub process_cpu_ms: u64,
    /// CPU time that committing took of it, likewise.
    commit_cpu_ms: u64,
}

/// A job whose journal does not say what its tasks cost.
#[derive(Debug, thiserror::Error)]
#[error("{}: no job that is complete", dir.display())]
struct Incomplete {
    dir: PathBuf,
}

impl Classified for Incomplete {
    fn class(&self) -> Class {
        Class::Partial
    }

    fn hint(&self) -> Option<String> {
        Some("measure a job that ended: wakachi run COHORT.toml --out DIR".to_owned())
    }
}

impl MeasuredJob {
    /// Reads the journal of a job that is complete.
    pub fn open(dir: &Path) -> Result<Self, Failure> {
        let job = JobDir::existing(dir)?;
        let journal = Journal::open(Fence::acquire(&job.scratch())?)?;
        let commits = journal.commits()?;
        // Every sample has a lane, and a lane an intake.
        let names: BTreeSet<&str> =
            commits.keys().filter_map(|key| key.strip_prefix("intake/")?.split('/').next()).collect();
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let tasks: Vec<(Task, Commit)> = commits
            .iter()
            .filter_map(|(key, commit)| Some((Task::from_key(key, &names)?, commit.clone())))
            .collect();
        if !tasks.iter().any(|(task, _)| *task == Task::FinishCohort) {
            return Err(Incomplete { dir: dir.to_owned() }.into());
        }
        let mut lanes = BTreeMap::<LaneId, TakenIn>::new();
        for (task, commit) in &tasks {
            if let (Task::Intake(lane, _), Some(part)) = (task, intake_summary(commit)) {
                let lane = lanes.entry(*lane).or_default();
                lane.chunks += part.chunks;
                lane.pairs += part.pairs;
                lane.bytes += part.bytes;
            }
        }
        let runs = crate::run::books::all(&journal)?;
        Ok(MeasuredJob {
            samples: names.len() as u32,
            cells: tasks.iter().filter_map(|(task, _)| Some(cells_of(*task)?.1)).max().unwrap_or(0),
            lanes,
            process_cpu_ms: runs.iter().map(|run| run.cpu_ms).sum(),
            commit_cpu_ms: runs.iter().map(|run| run.commit_cpu_ms).sum(),
            tasks,
        })
    }

    /// CPU time of its tasks in milliseconds.
    pub fn task_cpu_ms(&self) -> u64 {
        self.tasks.iter().map(|(_, commit)| commit.cpu_ms).sum()
    }

    /// Cores that committed something.
    pub fn cores(&self) -> u32 {
        self.all_cores().len() as u32
    }

    fn all_cores(&self) -> BTreeSet<(u32, u32)> {
        self.tasks.iter().map(|(_, commit)| (commit.worker, commit.slot)).collect()
    }

    /// CPU time by kind, in milliseconds, and number of tasks.
    pub fn by_kind(&self) -> BTreeMap<Kind, (u64, u64)> {
        let mut sums = BTreeMap::new();
        for (task, commit) in &self.tasks {
            let sum: &mut (u64, u64) = sums.entry(Kind::of(*task)).or_default();
            *sum = (sum.0 + commit.cpu_ms, sum.1 + 1);
        }
        sums
    }

    /// Every task as a measurement.
    pub fn measurements(&self) -> Vec<Measured> {
        self.tasks.iter().map(|(task, commit)| self.measurement(*task, commit)).collect()
    }

    fn measurement(&self, task: Task, commit: &Commit) -> Measured {
        let bytes = |commit: &Commit| commit.pieces.iter().map(|piece| piece.length as f64).sum::<f64>();
        let written = |wanted: &dyn Fn(Task) -> bool| -> f64 {
            self.tasks.iter().filter(|(task, _)| wanted(*task)).map(|(_, commit)| bytes(commit)).sum()
        };
        let pairs_of = |sample: Option<u32>| {
            let lanes =
                self.lanes.iter().filter(|(lane, _)| sample.is_none_or(|sample| lane.sample == sample));
            lanes.map(|(_, lane)| lane.pairs as f64).sum::<f64>()
        };
        let lane = |lane: LaneId| (self.lanes[&lane].pairs as f64, self.lanes[&lane].bytes as f64);
        let all_cells = f64::from(self.cells);
        let (reads, cells, bytes_in) = match task {
            Task::Intake(..) => {
                let part = intake_summary(commit);
                part.map_or((0.0, 0.0, 0.0), |part| (part.pairs as f64, 0.0, part.bytes as f64))
            }
            Task::Model(_) => (0.0, 0.0, 0.0),
            Task::Map(id, _) => {
                let ((pairs, bytes), mine) = (lane(id), pairs_of_map(commit));
                (mine, 0.0, bytes * mine / pairs.max(1.0))
            }
            Task::Region(sample, shard) => {
                let reads = reads_of_region(commit);
                let maps = written(&|task| matches!(task, Task::Map(lane, _) if lane.sample == sample));
                let cells = shard.cells().count() as f64;
                (reads, cells, maps * reads / (2.0 * pairs_of(Some(sample))).max(1.0))
            }
            Task::Joint(shard) => {
                let cells = shard.cells().count() as f64;
                let share = cells / all_cells.max(1.0);
                // Of a region's piece, the joint call reads the calls only; so this is more than it reads.
                let regions = written(&|task| matches!(task, Task::Region(..)));
                (self.reads_within(shard), cells * f64::from(self.samples), regions * share)
            }
            Task::WriteSample(sample, part) => {
                let part = Parts::of(self.cells).cells(part);
                let mine = |task| match task {
                    Task::Region(owner, Shard::Cells { first, .. }) => {
                        owner == sample && part.contains(&first.0)
                    }
                    _ => false,
                };
                let regions = self.tasks.iter().filter(|(task, _)| mine(*task));
                let reads = regions.map(|(_, commit)| reads_of_region(commit)).sum();
                (reads, part.len() as f64, written(&mine))
            }
            Task::FinishSample(sample) => {
                let unplaced = Task::Region(sample, Shard::Unplaced);
                let ends = written(&|task| {
                    task == unplaced || matches!(task, Task::WriteSample(owner, _) if owner == sample)
                });
                (f64::from(Parts::of(self.cells).count()), all_cells, ends)
            }
            Task::SealSample(sample) => {
                let regions = written(&|task| matches!(task, Task::Region(owner, _) if owner == sample));
                (2.0 * pairs_of(Some(sample)), all_cells, regions)
            }
            Task::WriteJoint(part) => {
                let part = Parts::of(self.cells).cells(part);
                let joints = written(&|task| match task {
                    Task::Joint(Shard::Cells { first, .. }) => part.contains(&first.0),
                    _ => false,
                });
                let reads = self.reads_within(Shard::Cells { first: Cell(part.start), end: Cell(part.end) });
                (reads, part.len() as f64 * f64::from(self.samples), joints)
            }
            Task::FinishCohort | Task::SealCohort => {
                let ends = written(&|task| matches!(task, Task::WriteJoint(_)));
                (f64::from(self.samples), all_cells * f64::from(self.samples), ends)
            }
        };
        // Result files are no pieces; they are about as large as what they are made of.
        let is_file = task.stage() == Stage::Finish;
        let bytes_out = bytes(commit) + if is_file { bytes_in } else { 0.0 };
        Measured { kind: Kind::of(task), reads, cells, cpu_ms: commit.cpu_ms as f64, bytes_in, bytes_out }
    }

    /// Reads of all samples in a shard, as if they lay evenly within each region task.
    fn reads_within(&self, shard: Shard) -> f64 {
        let Some((first, end)) = cells_of(Task::Joint(shard)) else { return 0.0 };
        let regions = self.tasks.iter().filter(|(task, _)| matches!(task, Task::Region(..)));
        let shares = regions.filter_map(|(task, commit)| {
            let (from, to) = cells_of(*task)?;
            let shared = end.min(to).saturating_sub(first.max(from));
            Some(reads_of_region(commit) * f64::from(shared) / f64::from(to - from))
        });
        shares.sum()
    }

    /// Its run, as far as the journal knows it. `replayed`: with CPU time in place of elapsed time, each slot's tasks in
    /// the order they ran and no earlier than what they waited for; on a machine that others use too, that is what tells
    /// how good a schedule was.
    pub fn trace(&self, workers: u32, replayed: bool) -> Trace {
        let mut tasks: Vec<&(Task, Commit)> = self.tasks.iter().collect();
        tasks.sort_by_key(|(_, commit)| (commit.started_ms, commit.finished_ms));
        let origin_ms = tasks.iter().map(|(_, commit)| commit.started_ms).min().unwrap_or(0);
        let cores: BTreeMap<(u32, u32), u32> = self.all_cores().into_iter().zip(0..).collect();
        let mut free = BTreeMap::new();
        let mut ends = BTreeMap::new();
        let mut spans = Vec::with_capacity(tasks.len());
        for (task, commit) in tasks {
            let slot = cores[&(commit.worker, commit.slot)];
            let (began_us, ended_us) = if replayed {
                let ready = self.waits_for(*task, &ends);
                let began_us = ready.max(free.get(&slot).copied().unwrap_or(0));
                (began_us, began_us + commit.cpu_ms * 1000)
            } else {
                ((commit.started_ms - origin_ms) * 1000, (commit.finished_ms - origin_ms) * 1000)
            };
            free.insert(slot, ended_us);
            ends.insert(*task, ended_us);
            spans.push(Span {
                worker: slot,
                slot: 0,
                task: *task,
                began_us,
                ended_us,
                cpu_us: commit.cpu_ms * 1000,
                fate: Fate::Committed,
            });
        }
        let makespan_us = spans.iter().map(|span| span.ended_us).max().unwrap_or(0);
        let workers = workers.max(spans.iter().map(|span| span.worker + 1).max().unwrap_or(0));
        let presence = Presence { slots: 1, speed: 1.0, from_us: 0, to_us: u64::MAX };
        Trace {
            spans,
            workers: vec![presence; workers as usize],
            makespan_us,
            ending: Some(Ending::Complete),
            events: 0,
        }
    }

    /// The longest chain of tasks that waited for each other, in microseconds of CPU time.
    pub fn chain_us(&self) -> u64 {
        let mut ends = BTreeMap::new();
        let mut tasks: Vec<&(Task, Commit)> = self.tasks.iter().collect();
        tasks.sort_by_key(|(_, commit)| (commit.started_ms, commit.finished_ms));
        for (task, commit) in tasks {
            let end = self.waits_for(*task, &ends) + commit.cpu_ms * 1000;
            ends.insert(*task, end);
        }
        ends.into_values().max().unwrap_or(0)
    }

    /// A cohort of as many samples as are wanted, imagined: lanes, chunks and genome as they are here.
    pub fn imagined(&self, costs: Costs, seed: u64, samples: u32) -> Cohort {
        let lanes = self.lanes.len() as u32 / self.samples.max(1);
        let pairs: u64 = self.lanes.values().map(|lane| lane.pairs).sum();
        let lane_pairs = pairs / self.lanes.len().max(1) as u64;
        let chunks = self.lanes.values().map(|lane| lane.chunks).max().unwrap_or(1).max(1);
        Cohort::new(CohortSpec {
            seed,
            samples,
            lanes,
            lane_pairs,
            chunk_pairs: lane_pairs.div_ceil(u64::from(chunks)).max(1),
            contigs: vec![self.cells * CELL_BASES],
            seals: false,
            costs,
            unevenness: 0.0,
            tail: None,
            shard_cells_max: super::simulated::SHARD_CELLS_MAX,
        })
    }

    /// When everything that a task reads was there.
    fn waits_for(&self, task: Task, ends: &BTreeMap<Task, u64>) -> u64 {
        let reads = |before: Task| match (task, before) {
            (Task::Intake(lane, part), Task::Intake(other, before)) => lane == other && part == before + 1,
            (Task::Model(lane), Task::Intake(other, part)) => lane == other && part == 0,
            (Task::Map(lane, chunk), Task::Intake(other, part)) => lane == other && chunk.intake() == part,
            (Task::Map(lane, _), Task::Model(other)) => lane == other,
            (Task::Region(sample, _), Task::Map(lane, _)) => lane.sample == sample,
            (Task::Joint(_), Task::Region(..)) => match (cells_of(task), cells_of(before)) {
                (Some((first, end)), Some((other_first, other_end))) => {
                    other_first < end && first.saturating_sub(1) < other_end
                }
                _ => false,
            },
            (Task::WriteSample(sample, part), Task::Region(other, Shard::Cells { first, .. })) => {
                sample == other && first.0 < Parts::of(self.cells).cells(part).end
            }
            (
                Task::FinishSample(sample),
                Task::WriteSample(other, _) | Task::Region(other, Shard::Unplaced),
            ) => sample == other,
            (Task::WriteJoint(part), Task::Joint(Shard::Cells { first, .. })) => {
                first.0 < Parts::of(self.cells).cells(part).end
            }
            (Task::FinishCohort, Task::FinishSample(_) | Task::WriteJoint(_)) => true,
            (Task::SealSample(sample), Task::FinishSample(other)) => sample == other,
            (Task::SealCohort, Task::SealSample(_) | Task::FinishCohort) => true,
            _ => false,
        };
        ends.iter().filter(|(before, _)| reads(**before)).map(|(_, &end)| end).max().unwrap_or(0)
    }
}

/// What committing took of jobs' tasks; nothing if no run of theirs says.
pub fn commit_overhead(jobs: &[MeasuredJob]) -> Option<Goal> {
    let sum = |part: fn(&MeasuredJob) -> u64| jobs.iter().map(part).sum::<u64>() as f64;
    let (commit_ms, task_ms) = (sum(|job| job.commit_cpu_ms), sum(MeasuredJob::task_cpu_ms));
    let tasks: usize = jobs.iter().map(|job| job.tasks.len()).sum();
    (commit_ms > 0.0 && task_ms > 0.0).then(|| Goal {
        name: "commit overhead, of tasks' CPU time".to_owned(),
        origin: Origin::Measured,
        goal: "2%".to_owned(),
        stretch: "1%".to_owned(),
        found: format!("{:.1}%", commit_ms / task_ms * 100.0),
        reached: commit_ms <= 0.02 * task_ms,
        note: format!("{tasks} tasks of {:.0} ms in the mean", task_ms / tasks as f64),
    })
}

fn cells_of(task: Task) -> Option<(u32, u32)> {
    match task {
        Task::Region(_, Shard::Cells { first, end }) | Task::Joint(Shard::Cells { first, end }) => {
            Some((first.0, end.0))
        }
        _ => None,
    }
}

/// Pairs of a map: its summary is their number, or says it.
fn pairs_of_map(commit: &Commit) -> f64 {
    let summary = serde_json::from_slice::<serde_json::Value>(&commit.summary).unwrap_or_default();
    summary.as_f64().or_else(|| summary.get("pairs")?.as_f64()).unwrap_or(0.0)
}

fn reads_of_region(commit: &Commit) -> f64 {
    let summary = serde_json::from_slice::<serde_json::Value>(&commit.summary).unwrap_or_default();
    let fates = ["mapped", "duplicate", "unmapped"];
    fates.iter().filter_map(|fate| summary.get("fates")?.get(fate)?.as_f64()).sum()
}

/// Costs by what jobs measured.
pub fn costs_of(jobs: &[MeasuredJob], machine: String, source: String) -> Costs {
    let measured: Vec<Measured> = jobs.iter().flat_map(MeasuredJob::measurements).collect();
    Costs::fit(machine, source, &measured)
}
