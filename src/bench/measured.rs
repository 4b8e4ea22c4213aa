//! What a finished job measured of itself: its journal as costs, and as a run to be plotted beside simulated ones.

use super::figures::{Goal, Origin};
use crate::job_dir::JobDir;
use cluster::sim::cohort::Cohort;
use cluster::sim::trace::Presence;
use cluster::sim::{CohortSpec, Costs, Fate, Kind, Measured, Span, Trace};
use jobs::failure::{Class, Classified, Failure};
use jobs::genome::CELL_BASES;
use jobs::task::{LaneId, Parts, Shard, Task};
use scheduler::Ending;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use storage::{Commit, Fence, Journal};
use workers::region::RegionSummary;
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
    /// What its regions of cells say of themselves.
    regions: Vec<(Task, RegionSummary)>,
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
        let regions = tasks.iter().filter(|(task, _)| matches!(task, Task::Region(_, Shard::Cells { .. })));
        let regions = regions.map(|(task, commit)| (*task, region_of(commit))).collect();
        let runs = crate::run::books::all(&journal)?;
        Ok(MeasuredJob {
            samples: names.len() as u32,
            cells: tasks.iter().filter_map(|(task, _)| Some(cells_of(*task)?.1)).max().unwrap_or(0),
            lanes,
            regions,
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
        // The last are bytes of result files, which are no pieces.
        let (reads, cells, bytes_in, files) = match task {
            Task::Intake(..) => {
                let part = intake_summary(commit);
                part.map_or((0.0, 0.0, 0.0, 0.0), |part| (part.pairs as f64, 0.0, part.bytes as f64, 0.0))
            }
            Task::Model(_) => (0.0, 0.0, 0.0, 0.0),
            Task::Map(id, _) => {
                let ((pairs, bytes), mine) = (lane(id), pairs_of_map(commit));
                (mine, 0.0, bytes * mine / pairs.max(1.0), 0.0)
            }
            Task::Region(sample, shard) => {
                let reads = reads_of(&region_of(commit));
                let maps = written(&|task| matches!(task, Task::Map(lane, _) if lane.sample == sample));
                let cells = shard.cells().count() as f64;
                (reads, cells, maps * reads / (2.0 * pairs_of(Some(sample))).max(1.0), 0.0)
            }
            Task::Joint(shard) => {
                // Of a region's piece it reads the calls; of the cell before its own, too, for what reaches over the line.
                let (first, end) = cells_of(task).unwrap_or_default();
                let calls = self.within(first.saturating_sub(1)..end, |region| region.call_bytes as f64);
                let cells = shard.cells().count() as f64 * f64::from(self.samples);
                (self.within(first..end, reads_of), cells, calls, 0.0)
            }
            Task::WriteSample(sample, part) => {
                let part = Parts::of(self.cells).cells(part);
                let mine = |task| match task {
                    Task::Region(owner, Shard::Cells { first, .. }) => {
                        owner == sample && part.contains(&first.0)
                    }
                    _ => false,
                };
                let sum = |of: &dyn Fn(&RegionSummary) -> f64| {
                    let regions = self.regions.iter().filter(|(task, _)| mine(*task));
                    regions.map(|(_, region)| of(region)).sum::<f64>()
                };
                let files = sum(&|region| (region.alignment_bytes + region.call_bytes) as f64);
                (sum(&reads_of), part.len() as f64, written(&mine), files)
            }
            Task::FinishSample(sample) => {
                let unplaced = Task::Region(sample, Shard::Unplaced);
                let ends = written(&|task| {
                    task == unplaced || matches!(task, Task::WriteSample(owner, _) if owner == sample)
                });
                // About as large as what they are made of.
                (f64::from(Parts::of(self.cells).count()), all_cells, ends, ends)
            }
            Task::SealSample(sample) => {
                let regions = written(&|task| matches!(task, Task::Region(owner, _) if owner == sample));
                (2.0 * pairs_of(Some(sample)), all_cells, regions, 0.0)
            }
            Task::WriteJoint(part) => {
                let part = Parts::of(self.cells).cells(part);
                let joints = written(&|task| match task {
                    Task::Joint(Shard::Cells { first, .. }) => part.contains(&first.0),
                    _ => false,
                });
                let cells = part.len() as f64 * f64::from(self.samples);
                (self.within(part, reads_of), cells, joints, joints)
            }
            Task::FinishCohort => {
                let ends = written(&|task| matches!(task, Task::WriteJoint(_)));
                (f64::from(self.samples), all_cells, ends, ends)
            }
            Task::SealCohort => {
                let joints = written(&|task| matches!(task, Task::Joint(_)));
                (f64::from(self.samples), all_cells * f64::from(self.samples), joints, 0.0)
            }
        };
        let bytes_out = bytes(commit) + files;
        Measured { kind: Kind::of(task), reads, cells, cpu_ms: commit.cpu_ms as f64, bytes_in, bytes_out }
    }

    /// What regions of all samples have within some cells, as if it lay evenly within each.
    fn within(&self, cells: Range<u32>, of: impl Fn(&RegionSummary) -> f64) -> f64 {
        let share = |(task, region): &(Task, RegionSummary)| {
            let (first, end) = cells_of(*task)?;
            let shared = cells.end.min(end).saturating_sub(cells.start.max(first));
            Some(of(region) * f64::from(shared) / f64::from(end - first))
        };
        self.regions.iter().filter_map(share).sum()
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

fn region_of(commit: &Commit) -> RegionSummary {
    serde_json::from_slice(&commit.summary).unwrap_or_default()
}

fn reads_of(region: &RegionSummary) -> f64 {
    region.fates.total() as f64
}

/// Costs by what jobs measured.
pub fn costs_of(jobs: &[MeasuredJob], machine: String, source: String) -> Costs {
    let measured: Vec<Measured> = jobs.iter().flat_map(MeasuredJob::measurements).collect();
    Costs::fit(machine, source, &measured)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::genome::Cell;
    use storage::PieceRef;

    fn shard(first: u32, end: u32) -> Shard {
        Shard::Cells { first: Cell(first), end: Cell(end) }
    }

    fn commit(length: u64, summary: &RegionSummary) -> Commit {
        let piece = PieceRef { pack: "p.pack".to_owned(), offset: 0, length, blake3: [0; 32] };
        let summary = serde_json::to_vec(summary).expect("plain data always prints");
        Commit { pieces: vec![piece], summary, ..Commit::default() }
    }

    /// Two samples, each a region over the first two cells and one over the other two. A cell has 10 reads, a thousand bytes
    /// of alignments and a hundred of calls.
    fn job() -> MeasuredJob {
        let mut summary =
            RegionSummary { alignment_bytes: 2000, call_bytes: 200, ..RegionSummary::default() };
        summary.fates.mapped = 20;
        let regions =
            (0..2).flat_map(|sample| [(0, 2), (2, 4)].map(|(first, end)| (sample, shard(first, end))));
        let regions: Vec<Task> = regions.map(|(sample, shard)| Task::Region(sample, shard)).collect();
        MeasuredJob {
            tasks: regions.iter().map(|&task| (task, commit(2500, &summary))).collect(),
            samples: 2,
            cells: 4,
            lanes: BTreeMap::new(),
            regions: regions.into_iter().map(|task| (task, summary.clone())).collect(),
            process_cpu_ms: 0,
            commit_cpu_ms: 0,
        }
    }

    fn check(task: Task, (reads, cells): (f64, f64), (bytes_in, bytes_out): (f64, f64)) {
        let found = job().measurement(task, &commit(7, &RegionSummary::default()));
        assert_eq!((found.reads, found.cells), (reads, cells), "{task:?}");
        assert_eq!((found.bytes_in, found.bytes_out), (bytes_in, bytes_out), "{task:?}");
    }

    #[test]
    fn a_joint_task_reads_the_calls_of_its_cells_and_the_one_before() {
        check(Task::Joint(shard(0, 3)), (60.0, 6.0), (600.0, 7.0));
        check(Task::Joint(shard(2, 4)), (40.0, 4.0), (600.0, 7.0));
    }

    #[test]
    fn a_part_of_files_reads_what_its_regions_wrote_and_writes_what_is_of_files() {
        check(Task::WriteSample(1, 0), (40.0, 4.0), (5000.0, 4400.0 + 7.0));
    }
}
