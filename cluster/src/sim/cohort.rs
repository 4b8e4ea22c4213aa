//! An imagined cohort: how many reads every lane and cell has, and what every task really costs.
//!
//! Invariant: the truth here is drawn from a seed once and does not depend on how the work is cut; two schedulers given the
//! same cohort have the same work to do. The scheduler learns of it only what it would learn of a real one.

use super::costs::{Costs, Kind};
use super::dice::{Dice, Topic};
use jobs::genome::{CELL_BASES, Cell};
use jobs::task::{Chunk, INTAKE_CHUNKS, LaneId, Parts, Shard, Task};
use scheduler::{Facts, MemoryModel, Plan, SamplePlan, WEIGHED_CHUNKS};
use std::ops::Range;

/// Lengths of the human chromosomes in bases: GRCh38, 1 to 22, X, Y, M.
pub const HUMAN: [u32; 25] = [
    248956422, 242193529, 198295559, 190214555, 181538259, 170805979, 159345973, 145138636, 138394717,
    133797422, 135086622, 133275309, 114364328, 107043718, 101991189, 90338345, 83257441, 80373285, 58617616,
    64444167, 46709983, 50818468, 156040895, 57227415, 16569,
];

/// One percent of tasks are far more costly than anything tells.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct HeavyTail {
    /// Share of tasks.
    pub share: f64,
    /// How many times as costly.
    pub factor: f64,
    /// Whether one cell makes a region task so costly, which no cut can help, or all its cells alike.
    pub in_one_cell: bool,
}

/// Cells of a task as equal cuts would have it: 4 Mb. What the heavy tail counts as one region or joint task.
pub const EQUAL_CELLS: u32 = (4 << 20) / CELL_BASES;

/// What a cohort is like.
#[derive(Clone, Debug)]
pub struct CohortSpec {
    /// Decides everything random.
    pub seed: u64,
    /// Samples, all joined.
    pub samples: u32,
    /// Lanes of each sample.
    pub lanes: u32,
    /// Read pairs of each lane.
    pub lane_pairs: u64,
    /// Pairs of a chunk.
    pub chunk_pairs: u64,
    /// Lengths of the contigs in bases.
    pub contigs: Vec<u32>,
    /// Whether finished files are sealed.
    pub seals: bool,
    /// Measured costs.
    pub costs: Costs,
    /// How unevenly reads lie on the genome: standard deviation of the logarithm, the same places in every sample.
    pub unevenness: f64,
    /// A heavy tail, if there is one.
    pub tail: Option<HeavyTail>,
    /// Cells that a task of a worker may hold at most.
    pub shard_cells_max: u32,
}

/// Share of the genome on which no read lies: centromeres and other gaps of the reference.
const EMPTY_SHARE: f64 = 0.05;

/// Empty cells come in runs of about this many.
const EMPTY_RUN: u32 = 16;

/// A cohort drawn from its specification.
#[derive(Clone, Debug)]
pub struct Cohort {
    spec: CohortSpec,
    dice: Dice,
    /// One past the last cell of each contig.
    borders: Vec<u32>,
    /// Reads by sample and cell.
    reads: Vec<u32>,
    /// Microseconds by sample and cell, without what each task costs.
    region_us: Vec<u32>,
    /// Microseconds by cell of the joint call.
    joint_us: Vec<u32>,
}

impl Cohort {
    /// Draws the cohort.
    pub fn new(spec: CohortSpec) -> Self {
        let dice = Dice::new(spec.seed);
        let borders: Vec<u32> = spec
            .contigs
            .iter()
            .scan(0, |cells, &length| {
                *cells += length.div_ceil(CELL_BASES);
                Some(*cells)
            })
            .collect();
        let cells = borders.last().copied().unwrap_or(0);
        let mut cohort =
            Cohort { dice, borders, reads: Vec::new(), region_us: Vec::new(), joint_us: Vec::new(), spec };
        cohort.draw_reads(cells);
        cohort.draw_costs(cells);
        cohort
    }

    fn draw_reads(&mut self, cells: u32) {
        let unevenness = self.spec.unevenness;
        // Small genomes are simulated ones, without gaps.
        let has_gaps = unevenness > 0.0 && cells > 64 * EMPTY_RUN;
        let depth = |cell: u32| {
            if has_gaps && self.dice.happens(EMPTY_SHARE, Topic::Depth, u64::from(cell / EMPTY_RUN), 1) {
                return 0.0;
            }
            self.dice.factor(unevenness, Topic::Depth, u64::from(cell), 0)
        };
        let depths: Vec<f64> = (0..cells).map(depth).collect();
        let mean = self.sample_reads() / depths.iter().sum::<f64>().max(1e-9);
        for sample in 0..u64::from(self.spec.samples) {
            self.reads.extend(depths.iter().zip(0u64..).map(|(depth, cell)| {
                let noise = self.dice.factor(0.03, Topic::Noise, sample, cell);
                (mean * depth * noise) as u32
            }));
        }
    }

    fn draw_costs(&mut self, cells: u32) {
        let (region, joint) = (self.spec.costs.of(Kind::Region), self.spec.costs.of(Kind::Joint));
        // The residual that was measured is of tasks of many cells; that of a cell is larger by the root of their number.
        let spread = region.spread * libm::sqrt(f64::from(EQUAL_CELLS.min(cells)));
        let cap = |us: f64| us.min(f64::from(u32::MAX)) as u32;
        let samples = self.spec.samples as usize;
        for sample in 0..samples {
            for cell in 0..cells {
                let reads = f64::from(self.reads_of(sample as u32, cell));
                let residual =
                    self.dice.factor(spread.min(0.5), Topic::Residual, sample as u64, u64::from(cell));
                self.region_us.push(cap((region.us(reads, 1.0) - region.fixed_us) * residual));
            }
            let first = sample * cells as usize;
            self.heat(first..first + cells as usize, sample as u64);
        }
        for cell in 0..cells {
            let reads: f64 = (0..samples as u32).map(|sample| f64::from(self.reads_of(sample, cell))).sum();
            let residual = self.dice.factor(joint.spread, Topic::Residual, 1 << 40, u64::from(cell));
            self.joint_us.push(cap((joint.us(reads, samples as f64) - joint.fixed_us) * residual));
        }
    }

    /// Makes some equal cuts as costly as the tail says.
    fn heat(&mut self, run: std::ops::Range<usize>, sample: u64) {
        let Some(tail) = self.spec.tail else { return };
        for (cut, cells) in self.region_us[run].chunks_mut(EQUAL_CELLS as usize).enumerate() {
            if self.dice.happens(tail.share, Topic::Tail, sample, cut as u64) {
                let whole: f64 = cells.iter().map(|&us| f64::from(us)).sum();
                let heat = |us: &mut u32, to: f64| *us = to.min(f64::from(u32::MAX)) as u32;
                if tail.in_one_cell {
                    let last = cells.len() as u64 - 1;
                    let hot =
                        &mut cells[self.dice.within(Topic::HotCell, sample, cut as u64, 0, last) as usize];
                    heat(hot, f64::from(*hot) + whole * (tail.factor - 1.0));
                } else {
                    cells.iter_mut().for_each(|us| heat(us, f64::from(*us) * tail.factor));
                }
            }
        }
    }

    /// What it was drawn from.
    pub fn spec(&self) -> &CohortSpec {
        &self.spec
    }

    /// Cells of the genome.
    pub fn cells(&self) -> u32 {
        self.borders.last().copied().unwrap_or(0)
    }

    /// One past the last cell of each contig.
    pub fn contig_ends(&self) -> &[u32] {
        &self.borders
    }

    /// Chunks of each lane.
    pub fn chunks(&self) -> u32 {
        self.spec.lane_pairs.div_ceil(self.spec.chunk_pairs).max(1) as u32
    }

    /// Parts of each lane's intake.
    pub fn intakes(&self) -> u32 {
        self.chunks().div_ceil(INTAKE_CHUNKS)
    }

    /// Pairs of a lane up to the end of a part of its intake.
    fn pairs_up_to(&self, part: u32) -> u64 {
        let chunks = u64::from(INTAKE_CHUNKS) * u64::from(part + 1);
        (chunks * self.spec.chunk_pairs).min(self.spec.lane_pairs)
    }

    fn sample_reads(&self) -> f64 {
        2.0 * self.spec.lane_pairs as f64 * f64::from(self.spec.lanes)
    }

    fn reads_of(&self, sample: u32, cell: u32) -> u32 {
        self.reads[(sample * self.cells() + cell) as usize]
    }

    /// The plan that a scheduler gets.
    pub fn plan(&self, memory: MemoryModel) -> Plan {
        let sample = |sample: u32| SamplePlan {
            name: format!("S-{:06}", sample + 1),
            lanes: self.spec.lanes,
            joint: true,
            pairs: self.spec.lane_pairs * u64::from(self.spec.lanes),
        };
        Plan {
            samples: (0..self.spec.samples).map(sample).collect(),
            cells: self.cells(),
            shard_cells_max: self.spec.shard_cells_max,
            chunk_pairs: self.spec.chunk_pairs,
            lines: None,
            seals: self.spec.seals,
            memory,
            costs: self.spec.costs.model(),
        }
    }

    /// Pairs of a chunk or part.
    pub fn pairs(&self, chunk: Chunk) -> u64 {
        let first = u64::from(chunk.index) * self.spec.chunk_pairs;
        let share = chunk.share_of(self.spec.chunk_pairs.min(self.spec.lane_pairs.saturating_sub(first)));
        share.end - share.start
    }

    /// Reads or pairs that a task works on, and cells, in the units of its kind.
    fn units(&self, task: Task) -> (f64, f64) {
        let (all, samples) = (f64::from(self.cells()), f64::from(self.spec.samples));
        let parts = Parts::of(self.cells());
        let of_sample = |sample: u32, cells: Range<u32>| -> (f64, f64) {
            let count = f64::from(cells.end - cells.start);
            (cells.map(|cell| f64::from(self.reads_of(sample, cell))).sum(), count)
        };
        let joined = |cells: Range<u32>| {
            let all = (0..self.spec.samples).map(|sample| of_sample(sample, cells.clone()));
            all.fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
        };
        match task {
            Task::Intake(_, part) => {
                let before = part.checked_sub(1).map_or(0, |before| self.pairs_up_to(before));
                ((self.pairs_up_to(part) - before) as f64, 0.0)
            }
            Task::Model(_) => (0.0, 0.0),
            Task::Map(_, chunk) => (self.pairs(chunk) as f64, 0.0),
            Task::Region(sample, _) => of_sample(sample, task.steps().unwrap_or(0..0)),
            Task::Joint(_) => joined(task.steps().unwrap_or(0..0)),
            Task::WriteSample(sample, part) => of_sample(sample, parts.cells(part)),
            Task::WriteJoint(part) => joined(parts.cells(part)),
            Task::FinishSample(_) => (f64::from(parts.count()), all),
            Task::SealSample(_) => (self.sample_reads(), all),
            Task::FinishCohort => (samples, all),
            Task::SealCohort => (samples, all * samples),
        }
    }

    /// CPU microseconds that any task of this kind costs before its first cell; of tasks without cells, all they cost.
    pub fn base_us(&self, task: Task) -> u64 {
        let cost = self.spec.costs.of(Kind::of(task));
        match task {
            Task::Region(..) | Task::Joint(_) => cost.fixed_us as u64,
            Task::Map(..) => self.residual(task, cost.fixed_us) + self.pairs_us(task),
            _ => {
                let (reads, cells) = self.units(task);
                self.residual(task, cost.us(reads, cells))
            }
        }
    }

    /// CPU microseconds of the pairs of a map. Only they make it costly: it begins as others do.
    fn pairs_us(&self, task: Task) -> u64 {
        let Task::Map(lane, chunk) = task else { return 0 };
        let tail = self.spec.tail.filter(|tail| {
            self.dice.happens(tail.share, Topic::Tail, !lane_number(lane), u64::from(chunk.index))
        });
        let us = self.units(task).0 * self.spec.costs.of(Kind::Map).read_ns / 1e3;
        self.residual(task, us * tail.map_or(1.0, |tail| tail.factor))
    }

    fn residual(&self, task: Task, us: f64) -> u64 {
        let kind = Kind::of(task);
        let (owner, number) = match task {
            Task::Intake(lane, part) => (lane_number(lane), u64::from(part)),
            Task::Model(lane) => (lane_number(lane), 0),
            // The parts of a chunk are as costly as the chunk.
            Task::Map(lane, chunk) => (lane_number(lane), u64::from(chunk.index)),
            Task::WriteSample(sample, part) => (u64::from(sample), u64::from(part)),
            Task::WriteJoint(part) => (u64::MAX, u64::from(part)),
            _ => (task.sample().map_or(u64::MAX, u64::from), 0),
        };
        let spread = self.spec.costs.of(kind).spread;
        let factor = self.dice.factor(spread, Topic::Residual, owner ^ (kind as u64) << 48, number);
        (us * factor) as u64
    }

    /// CPU microseconds before a task's first step; of a task without steps, all it costs. A map of some of a chunk's strips
    /// reads the whole chunk, which is no costlier than taking it in.
    pub fn start_us(&self, task: Task) -> u64 {
        match task {
            Task::Map(_, chunk) => self.base_us(task.over(0..0)) + self.idle_us(chunk),
            _ => self.base_us(task),
        }
    }

    /// CPU microseconds to read what a part of a chunk does not map.
    pub fn idle_us(&self, chunk: Chunk) -> u64 {
        let rest = self.pairs(Chunk::whole(chunk.index)) - self.pairs(chunk);
        (rest as f64 * self.spec.costs.of(Kind::Intake).read_ns / 1e3) as u64
    }

    /// CPU microseconds of some of a task's steps.
    pub fn steps_us(&self, task: Task, steps: Range<u32>) -> u64 {
        match task {
            Task::Map(..) => self.base_us(task.over(steps)) - self.base_us(task.over(0..0)),
            _ => steps.map(|cell| self.cell_us(task, Cell(cell))).sum(),
        }
    }

    /// CPU microseconds of one cell of a region or joint task; 0 of others.
    pub fn cell_us(&self, task: Task, cell: Cell) -> u64 {
        match task {
            Task::Region(sample, _) => u64::from(self.region_us[(sample * self.cells() + cell.0) as usize]),
            Task::Joint(_) => u64::from(self.joint_us[cell.0 as usize]),
            _ => 0,
        }
    }

    /// CPU microseconds of a task.
    pub fn task_us(&self, task: Task) -> u64 {
        let cells: u64 = cells_of(task).map(|cell| self.cell_us(task, cell)).sum();
        self.base_us(task) + cells
    }

    /// Bytes that a task reads and writes.
    pub fn bytes(&self, task: Task) -> (u64, u64) {
        let bytes = |task| {
            let (reads, cells) = self.units(task);
            self.spec.costs.of(Kind::of(task)).bytes(reads, cells)
        };
        match task {
            // A part of a chunk is found by reading the chunk.
            Task::Map(lane, chunk) => (bytes(Task::Map(lane, Chunk::whole(chunk.index))).0, bytes(task).1),
            // The joint call's blocks, however many samples it took to make them.
            Task::SealCohort => {
                let whole = Shard::Cells { first: Cell(0), end: Cell(self.cells()) };
                let (_, blocks) = bytes(Task::Joint(whole));
                (blocks, blocks)
            }
            _ => bytes(task),
        }
    }

    /// What a finished task tells its scheduler.
    pub fn facts(&self, task: Task) -> Facts {
        let mut facts = Facts { content: Some(self.content(task)), ..Facts::default() };
        match task {
            Task::Intake(_, part) => {
                facts.chunks = (part + 1 == self.intakes()).then(|| self.chunks());
                facts.pairs = Some(self.pairs_up_to(part));
            }
            Task::Map(lane, chunk) => {
                facts.pairs = Some(self.pairs(chunk));
                if chunk.index < WEIGHED_CHUNKS {
                    let share = self.pairs(chunk) as f64 * 2.0 / self.sample_reads();
                    let weight = |cell| (f64::from(self.reads_of(lane.sample, cell)) * share) as u32;
                    facts.weights = (0..self.cells()).map(|cell| (Cell(cell), weight(cell))).collect();
                }
            }
            _ => {}
        }
        facts
    }

    /// Digest of the right output: any function of the task that differs between tasks.
    pub fn content(&self, task: Task) -> [u8; 32] {
        let text = format!("{task:?}");
        let mut digest = [0; 32];
        for (word, bytes) in digest.chunks_exact_mut(8).enumerate() {
            let hash = text
                .bytes()
                .fold(word as u64, |hash, byte| self.dice.bits(Topic::Noise, hash, u64::from(byte)));
            bytes.copy_from_slice(&hash.to_le_bytes());
        }
        digest
    }

    /// All tasks, region and joint cut at these cells.
    pub fn tasks(&self, lines: &[u32]) -> Vec<Task> {
        let mut borders: Vec<u32> =
            lines.iter().copied().filter(|&line| line > 0 && line < self.cells()).collect();
        borders.insert(0, 0);
        borders.push(self.cells());
        borders.sort_unstable();
        borders.dedup();
        let shard = |pair: &[u32]| Shard::Cells { first: Cell(pair[0]), end: Cell(pair[1]) };
        let shards: Vec<Shard> = borders.windows(2).map(shard).collect();
        let mut tasks = Vec::new();
        for sample in 0..self.spec.samples {
            for lane in (0..self.spec.lanes).map(|lane| LaneId { sample, lane }) {
                tasks.extend((0..self.intakes()).map(|part| Task::Intake(lane, part)));
                tasks.push(Task::Model(lane));
                tasks.extend((0..self.chunks()).map(|chunk| Task::Map(lane, Chunk::whole(chunk))));
            }
            tasks.extend(shards.iter().chain([&Shard::Unplaced]).map(|&shard| Task::Region(sample, shard)));
            tasks.extend((0..Parts::of(self.cells()).count()).map(|part| Task::WriteSample(sample, part)));
            tasks.push(Task::FinishSample(sample));
            tasks.extend(self.spec.seals.then_some(Task::SealSample(sample)));
        }
        tasks.extend(shards.iter().map(|&shard| Task::Joint(shard)));
        tasks.extend((0..Parts::of(self.cells()).count()).map(Task::WriteJoint));
        tasks.push(Task::FinishCohort);
        tasks.extend(self.spec.seals.then_some(Task::SealCohort));
        tasks
    }
}

/// The cells of a region or joint task.
pub fn cells_of(task: Task) -> impl Iterator<Item = Cell> {
    let shard = match task {
        Task::Region(_, shard) | Task::Joint(shard) => shard,
        _ => Shard::Unplaced,
    };
    shard.cells()
}

fn lane_number(lane: LaneId) -> u64 {
    u64::from(lane.sample) << 16 | u64::from(lane.lane)
}
