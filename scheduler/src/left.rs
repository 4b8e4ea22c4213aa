//! How much is left to do: core time, time, and how sure that is.

use crate::cost::Units;
use crate::graph::Mark;
use crate::machine::Scheduler;
use crate::query::Remaining;
use jobs::task::{INTAKE_CHUNKS, Stage, Task};

/// Work of one stage that is not done.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StageLeft {
    /// Tasks, some of them expected.
    pub tasks: f64,
    /// Core time in milliseconds.
    pub ms: f64,
}

/// One and a half standard deviations: low and high are rarely exceeded.
const DEVIATIONS: f64 = 1.5;

/// Tasks of a stage that a group of samples should have for each core, so that the end of a stage does not matter.
const WINDOW_TASKS: f64 = 4.0;

/// The slowest task of a stage takes longer than a usual one by so many standard deviations.
const SLOWEST: f64 = 4.0;

/// The end of a job begins when a sample's whole way fits into the time left only so many times.
const CHAINS: f64 = 2.0;

impl Scheduler {
    /// Core time left by stage, with what runs counted whole.
    pub fn left(&self) -> [StageLeft; 7] {
        let mut left = [StageLeft::default(); 7];
        for row in 0..self.graph.tallies.len() {
            if self.graph.samples.get(row).is_some_and(|sample| sample.dropped.is_some()) {
                continue;
            }
            for stage in self.graph.plan.stages() {
                let (tasks, units) = self.left_of(stage, row);
                if tasks > 0.0 {
                    let cost = self.costs.stage(stage);
                    left[stage as usize].tasks += tasks;
                    left[stage as usize].ms += cost.ms(units) + cost.fixed_ms * (tasks - 1.0);
                }
            }
        }
        left
    }

    /// Tasks of a row and stage that are not done, and what they come to.
    fn left_of(&self, stage: Stage, row: usize) -> (f64, Units) {
        let marks = &self.graph.tallies[row][stage as usize].marks;
        let open =
            f64::from(marks.iter().sum::<u32>() - marks[Mark::Done as usize] - marks[Mark::Held as usize]);
        let (uncut, units) = self.uncut(stage, row);
        let tasks = open + uncut;
        if tasks == 0.0 {
            return (0.0, Units::default());
        }
        let sample = row as u32;
        let cohort = row == self.graph.samples.len();
        let of = |task: Task| self.graph.units(task);
        let cells = |done: u32| f64::from(self.graph.plan.cells - done);
        let units = match stage {
            // The parts that are known and not done take in pairs of chunks that are not.
            Stage::Intake => units,
            Stage::Model => Units::default(),
            Stage::Map => {
                let known: u32 = marks.iter().sum();
                let pairs = self.graph.reads_of(sample) / 2.0 - units.reads;
                Units { reads: units.reads + pairs * open / f64::from(known.max(1)), cells: 0.0 }
            }
            Stage::Region => {
                let left = cells(self.graph.samples[row].cells.done_cells());
                let share = left / f64::from(self.graph.plan.cells.max(1));
                Units { reads: self.graph.reads_of(sample) * share, cells: left }
            }
            Stage::Joint => {
                let left = cells(self.graph.joint.done_cells());
                self.graph.joint_units(left)
            }
            Stage::Finish => {
                let parts = f64::from(self.graph.plan.parts().count());
                let share = (open - 1.0).max(0.0) / parts.max(1.0);
                let last = of(Task::finish((!cohort).then_some(sample)));
                let reads = if cohort { 0.0 } else { self.graph.reads_of(sample) };
                Units { reads: reads * share, cells: cells(0) * share + last.cells }
            }
            Stage::Seal if cohort => of(Task::SealCohort),
            Stage::Seal => of(Task::SealSample(sample)),
        };
        (tasks, units)
    }

    /// Time left, with its uncertainty; `None` as long as nobody works.
    pub fn remaining_ms(&self) -> Option<Remaining> {
        let slots = f64::from(self.places.slots());
        if slots == 0.0 || !self.begun {
            return None;
        }
        let left = self.left();
        let credit: f64 = self
            .running()
            .map(|running| {
                let elapsed = self.now_ms.saturating_sub(running.since_ms) as f64;
                elapsed.min(running.expected_ms as f64 * 0.9)
            })
            .sum();
        let core_ms = (left.iter().map(|stage| stage.ms).sum::<f64>() - credit).max(0.0);
        // A job takes at least its longest way, and at most that and an even share of all work.
        let way_ms: f64 = left.iter().map(|stage| stage.ms / stage.tasks.max(1.0)).sum();
        let even_ms = core_ms / slots;
        let expected = even_ms.max(way_ms) + 0.25 * even_ms.min(way_ms);
        let variance: f64 = Stage::ALL
            .iter()
            .map(|&stage| {
                let StageLeft { tasks, ms } = left[stage as usize];
                let systematic = self.costs.doubt(stage) * ms;
                let chance = self.costs.stage(stage).spread * ms / tasks.max(1.0).sqrt();
                systematic.powi(2) + chance.powi(2)
            })
            .sum();
        let off = expected * (DEVIATIONS * variance.sqrt() / core_ms.max(1.0)).min(3.0);
        Some(Remaining {
            expected_ms: expected as u64,
            low_ms: (expected - off).max(expected / 4.0) as u64,
            high_ms: (expected + off) as u64,
        })
    }

    /// Sets how many samples are worked on together, and how far intakes go ahead, by what a sample costs and how many
    /// cores there are.
    pub(crate) fn tune(&mut self) {
        let samples = self.graph.samples.len().max(1) as f64;
        let slots = f64::from(self.places.slots().max(1));
        self.graph.count_joint_reads();
        let left = self.left();
        self.left_ms = left.iter().map(|stage| stage.ms).sum();
        let plan = &self.graph.plan;
        let pairs = plan.samples.iter().map(|sample| sample.pairs as f64).sum::<f64>() / samples;
        let lanes = plan.samples.iter().map(|sample| f64::from(sample.lanes)).sum::<f64>() / samples;
        let ms = |stage: Stage, reads: f64, cells: f64| self.costs.ms(stage, Units { reads, cells });
        let map_ms = ms(Stage::Map, plan.chunk_pairs as f64, 0.0);
        let maps = (pairs / plan.chunk_pairs.max(1) as f64).max(1.0);
        let regions_ms = ms(Stage::Region, 2.0 * pairs, f64::from(plan.cells));
        let region_ms = regions_ms.min(self.options.shard_target_ms as f64);
        let (lane_pairs, model_ms) = (pairs / lanes.max(1.0), ms(Stage::Model, 0.0, 0.0));
        let part_pairs = lane_pairs.min((u64::from(INTAKE_CHUNKS) * plan.chunk_pairs) as f64);
        // What must be done before a map.
        let first_ms = ms(Stage::Intake, part_pairs, 0.0) + model_ms;
        let lane_ms = ms(Stage::Intake, lane_pairs, 0.0) + model_ms;
        let sample_ms = lane_ms * lanes + maps * map_ms + regions_ms;
        // A stage ends with its slowest task, not with a usual one.
        let last = |stage: Stage, ms: f64| ms * (1.0 + SLOWEST * self.costs.stage(stage).spread);
        let tail_ms = last(Stage::Map, map_ms) + last(Stage::Region, region_ms);
        let parts = f64::from(plan.parts().count().max(1));
        let finish_ms = ms(Stage::Finish, 2.0 * pairs / parts, f64::from(plan.cells) / parts)
            + ms(Stage::Finish, 0.0, parts);
        let window = (slots * WINDOW_TASKS * tail_ms / sample_ms).ceil().clamp(1.0, samples);
        // Towards the end the longest way decides, not the scratch: all that is left is one group.
        let ending = self.left_ms / slots < CHAINS * (first_ms + tail_ms + finish_ms);
        self.ready.window = if ending { samples as u32 } else { window as u32 };
        self.ready.ahead = (self.ready.window as f64 + 2.0 * slots * first_ms / sample_ms).ceil() as u32;
    }
}
