//! The tasks a job is made of, and their names.
//!
//! A task's [`Task::key`] names it in the journal; it holds the sample's name and the cells, never an ordinal that a
//! different cut of the genome would give to something else.

use crate::genome::Cell;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// The stages of the main job, in the order a sample passes through them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// FASTQ validated, digests checked, seek points taken.
    Intake,
    /// The insert-size model of a read group.
    Model,
    /// Reads of a chunk aligned.
    Map,
    /// One shard of one sample: duplicates, CRAM, calls.
    Region,
    /// One shard of all samples: joint genotypes.
    Joint,
    /// Pieces to files.
    Finish,
    /// Files to vault objects.
    Seal,
}

impl Stage {
    /// Every stage in order.
    pub const ALL: [Stage; 7] =
        [Stage::Intake, Stage::Model, Stage::Map, Stage::Region, Stage::Joint, Stage::Finish, Stage::Seal];

    /// The word used in task names and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Intake => "intake",
            Stage::Model => "model",
            Stage::Map => "map",
            Stage::Region => "region",
            Stage::Joint => "joint",
            Stage::Finish => "finish",
            Stage::Seal => "seal",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A lane: one read group's files of one sample, by position in the cohort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct LaneId {
    /// Index of the sample in the cohort.
    pub sample: u32,
    /// Index of the lane in the sample.
    pub lane: u32,
}

/// Chunks that one part of a lane's intake takes in; the last part may take fewer.
pub const INTAKE_CHUNKS: u32 = 4;

/// Which pairs of a lane a map task takes: those of a chunk of its intake, or of some of the chunk's strips. A chunk is
/// ruled into [`Chunk::STRIPS`] strips of as many pairs each, one more or less, and may be cut between any two, when it
/// proves too much for a worker or a running worker too slow for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Chunk {
    /// Ordinal of the chunk in its lane.
    pub index: u32,
    /// First strip.
    pub first: u16,
    /// One past the last strip.
    pub end: u16,
}

impl Chunk {
    /// Strips of every chunk; in a chunk of fewer pairs some have none.
    pub const STRIPS: u16 = 1 << 10;

    /// All strips of a chunk.
    pub const fn whole(index: u32) -> Self {
        Chunk { index, first: 0, end: Self::STRIPS }
    }

    /// The part of its lane's intake that takes it in.
    pub const fn intake(self) -> u32 {
        self.index / INTAKE_CHUNKS
    }

    /// Whether it is all of its chunk.
    pub const fn is_whole(self) -> bool {
        self.first == 0 && self.end == Self::STRIPS
    }

    /// How much of the whole chunk it is, 1 at most.
    pub fn share(self) -> f64 {
        f64::from(self.end - self.first) / f64::from(Self::STRIPS)
    }

    /// Its two halves; none of a single strip.
    pub fn halves(self) -> Option<[Chunk; 2]> {
        let middle = self.first.midpoint(self.end);
        (middle > self.first).then_some([Chunk { end: middle, ..self }, Chunk { first: middle, ..self }])
    }

    /// The first pair of a strip, counted from the first of the chunk's `pairs`; of the strip past the last, their number.
    pub fn pair_at(strip: u16, pairs: u64) -> u64 {
        // A chunk has fewer than 2^54 pairs.
        pairs * u64::from(strip) / u64::from(Self::STRIPS)
    }

    /// Its pairs, counted from the first of the whole chunk's `pairs`.
    pub fn share_of(self, pairs: u64) -> Range<u64> {
        Self::pair_at(self.first, pairs)..Self::pair_at(self.end, pairs)
    }
}

impl fmt::Display for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_whole() {
            true => write!(f, "{}", self.index),
            false => write!(f, "{}.{}-{}", self.index, self.first, self.end),
        }
    }
}

impl FromStr for Chunk {
    type Err = NotAChunk;

    fn from_str(text: &str) -> Result<Self, NotAChunk> {
        let number = |digits: &str| digits.parse().map_err(|_| NotAChunk);
        let chunk = match text.split_once('.') {
            None => Chunk::whole(text.parse().map_err(|_| NotAChunk)?),
            Some((index, strips)) => {
                let (first, end) = strips.split_once('-').ok_or(NotAChunk)?;
                let index = index.parse().map_err(|_| NotAChunk)?;
                Chunk { index, first: number(first)?, end: number(end)? }
            }
        };
        // One chunk has one name.
        let proper = chunk.first < chunk.end && chunk.end <= Chunk::STRIPS;
        if proper && chunk.to_string() == text { Ok(chunk) } else { Err(NotAChunk) }
    }
}

/// A text names no chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAChunk;

impl fmt::Display for NotAChunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected INDEX or INDEX.FIRST-END")
    }
}

impl std::error::Error for NotAChunk {}

/// How the files of a genome are cut into parts, each written by a task of its own: runs of as many cells each, the last
/// maybe shorter. No shard of a region or joint task reaches over their lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Cells of the genome.
    cells: u32,
    /// Cells of every part but the last.
    each: u32,
}

impl Parts {
    /// Parts of a file, at most.
    const MOST: u32 = 32;
    /// Cells of a part, unless the genome has fewer.
    const CELLS_MIN: u32 = 8;

    /// Those of a genome of so many cells.
    pub fn of(cells: u32) -> Self {
        Parts { cells, each: cells.div_ceil(Parts::MOST).max(Parts::CELLS_MIN) }
    }

    /// How many there are.
    pub const fn count(self) -> u32 {
        self.cells.div_ceil(self.each)
    }

    /// The cells at which parts begin, besides the first.
    pub fn lines(self) -> impl Iterator<Item = u32> {
        (1..self.count()).map(move |part| part * self.each)
    }

    /// The part that holds a cell.
    pub const fn at(self, cell: u32) -> u32 {
        cell / self.each
    }

    /// The cells of a part; none of one that there is not.
    pub fn cells(self, part: u32) -> Range<u32> {
        let line = |part: u32| part.saturating_mul(self.each).min(self.cells);
        line(part)..line(part.saturating_add(1))
    }
}

/// What a region task covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Shard {
    /// Whole cells, from the first to before the last.
    Cells {
        /// First cell.
        first: Cell,
        /// One past the last cell.
        end: Cell,
    },
    /// Reads that have no place, after all places.
    Unplaced,
}

impl Shard {
    /// One cell.
    pub const fn of_cell(cell: Cell) -> Shard {
        Shard::Cells { first: cell, end: Cell(cell.0 + 1) }
    }

    /// The cells of this shard; none for the unplaced reads.
    pub fn cells(self) -> impl DoubleEndedIterator<Item = Cell> {
        let range = match self {
            Shard::Cells { first, end } => first.0..end.0,
            Shard::Unplaced => 0..0,
        };
        range.map(Cell)
    }

    /// What the pieces of a task over this shard are of, in order: each cell, or the unplaced reads.
    pub fn parts(self) -> impl Iterator<Item = Shard> {
        self.cells().map(Shard::of_cell).chain((self == Shard::Unplaced).then_some(self))
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shard::Cells { first, end } => write!(f, "{}-{}", first.0, end.0),
            Shard::Unplaced => f.write_str("unplaced"),
        }
    }
}

/// One unit of work: runs on one core, reads what its inputs name, writes pieces, commits as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Task {
    /// Checks and cuts the next [`INTAKE_CHUNKS`] chunks of a lane's files, from where the part before this one ended.
    Intake(LaneId, u32),
    /// Learns a lane's insert sizes.
    Model(LaneId),
    /// Aligns one chunk of a lane, or a part of one.
    Map(LaneId, Chunk),
    /// Marks, writes and calls one shard of a sample.
    Region(u32, Shard),
    /// Joint genotypes of one shard.
    Joint(Shard),
    /// One of the [`Parts`] of a sample's alignments and calls.
    WriteSample(u32, u32),
    /// A sample's files, whose parts are written: their ends and indexes, and its books.
    FinishSample(u32),
    /// One of the [`Parts`] of the joint calls.
    WriteJoint(u32),
    /// The cohort's files, whose parts are written: their ends and indexes, ledger and report.
    FinishCohort,
    /// A sample's files into the vault.
    SealSample(u32),
    /// The cohort's files into the vault, and the list of everything sealed.
    SealCohort,
}

impl Task {
    /// The stage this task belongs to.
    pub const fn stage(self) -> Stage {
        match self {
            Task::Intake(..) => Stage::Intake,
            Task::Model(_) => Stage::Model,
            Task::Map(..) => Stage::Map,
            Task::Region(..) => Stage::Region,
            Task::Joint(_) => Stage::Joint,
            Task::WriteSample(..) | Task::FinishSample(_) | Task::WriteJoint(_) | Task::FinishCohort => {
                Stage::Finish
            }
            Task::SealSample(_) | Task::SealCohort => Stage::Seal,
        }
    }

    /// The sample this task works for; none for the cohort's tasks.
    pub const fn sample(self) -> Option<u32> {
        match self {
            Task::Intake(lane, _) | Task::Model(lane) | Task::Map(lane, _) => Some(lane.sample),
            Task::Region(sample, _)
            | Task::WriteSample(sample, _)
            | Task::FinishSample(sample)
            | Task::SealSample(sample) => Some(sample),
            Task::Joint(_) | Task::WriteJoint(_) | Task::FinishCohort | Task::SealCohort => None,
        }
    }

    /// The task that writes this part of a sample's files or, of no sample's, of the cohort's.
    pub const fn write(of: Option<u32>, part: u32) -> Task {
        match of {
            Some(sample) => Task::WriteSample(sample, part),
            None => Task::WriteJoint(part),
        }
    }

    /// The task that makes the results of a sample or, of no sample, of the cohort.
    pub const fn finish(of: Option<u32>) -> Task {
        match of {
            Some(sample) => Task::FinishSample(sample),
            None => Task::FinishCohort,
        }
    }

    /// Which part of files this task writes: [`Task::sample`] says whose. `None`: it writes no part.
    pub const fn part(self) -> Option<u32> {
        match self {
            Task::WriteSample(_, part) | Task::WriteJoint(part) => Some(part),
            _ => None,
        }
    }

    /// What a task goes through one after the other, and may be cut between while it runs: the cells of a region or joint
    /// task, the strips of a map's chunk. `None`: it cannot be cut.
    pub const fn steps(self) -> Option<Range<u32>> {
        match self {
            Task::Region(_, Shard::Cells { first, end }) | Task::Joint(Shard::Cells { first, end }) => {
                Some(first.0..end.0)
            }
            Task::Map(_, chunk) => Some(chunk.first as u32..chunk.end as u32),
            _ => None,
        }
    }

    /// The same task over these steps; one without steps stays as it is. A strip is never beyond [`Chunk::STRIPS`].
    pub fn over(self, steps: Range<u32>) -> Task {
        let shard = Shard::Cells { first: Cell(steps.start), end: Cell(steps.end) };
        let strip = |step: u32| step.min(Chunk::STRIPS.into()) as u16;
        match self {
            Task::Region(sample, Shard::Cells { .. }) => Task::Region(sample, shard),
            Task::Joint(_) => Task::Joint(shard),
            Task::Map(lane, chunk) => {
                Task::Map(lane, Chunk { first: strip(steps.start), end: strip(steps.end), ..chunk })
            }
            task => task,
        }
    }

    /// The journal's name of this task. `samples` are the cohort's sample names in order; a sample that is none of them is
    /// called `?`, as none can be.
    pub fn key(self, samples: &[String]) -> String {
        let name = |sample: u32| samples.get(sample as usize).map_or("?", String::as_str);
        match self {
            Task::Intake(id, part) => format!("intake/{}/{}/{part}", name(id.sample), id.lane),
            Task::Model(id) => format!("model/{}/{}", name(id.sample), id.lane),
            Task::Map(id, chunk) => format!("map/{}/{}/{chunk}", name(id.sample), id.lane),
            Task::Region(sample, shard) => format!("region/{}/{shard}", name(sample)),
            Task::Joint(shard) => format!("joint/{shard}"),
            Task::WriteSample(sample, part) => format!("write/{}/{part}", name(sample)),
            Task::FinishSample(sample) => format!("finish/{}", name(sample)),
            Task::WriteJoint(part) => format!("write/{part}"),
            Task::FinishCohort => "finish".to_owned(),
            Task::SealSample(sample) => format!("seal/{}", name(sample)),
            Task::SealCohort => "seal".to_owned(),
        }
    }

    /// The task of this journal name; `None` if it is not one of this cohort's. Of many, [`TaskKeys`] tells quicker.
    pub fn from_key(key: &str, samples: &[String]) -> Option<Task> {
        Task::of_key(key, |name| samples.iter().position(|sample| sample == name).map(|at| at as u32))
    }

    fn of_key(key: &str, sample: impl Fn(&str) -> Option<u32>) -> Option<Task> {
        let parts: Vec<&str> = key.split('/').collect();
        let lane = |name: &str, lane: &str| Some(LaneId { sample: sample(name)?, lane: lane.parse().ok()? });
        let shard = |text: &str| match text.split_once('-') {
            Some((first, end)) => {
                Some(Shard::Cells { first: Cell(first.parse().ok()?), end: Cell(end.parse().ok()?) })
            }
            None => (text == "unplaced").then_some(Shard::Unplaced),
        };
        match parts[..] {
            ["intake", s, l, part] => Some(Task::Intake(lane(s, l)?, part.parse().ok()?)),
            ["model", s, l] => Some(Task::Model(lane(s, l)?)),
            ["map", s, l, chunk] => Some(Task::Map(lane(s, l)?, chunk.parse().ok()?)),
            ["region", s, cells] => Some(Task::Region(sample(s)?, shard(cells)?)),
            ["joint", cells] => Some(Task::Joint(shard(cells)?)),
            ["write", s, part] => Some(Task::WriteSample(sample(s)?, part.parse().ok()?)),
            ["finish", s] => Some(Task::FinishSample(sample(s)?)),
            ["write", part] => Some(Task::WriteJoint(part.parse().ok()?)),
            ["finish"] => Some(Task::FinishCohort),
            ["seal", s] => Some(Task::SealSample(sample(s)?)),
            ["seal"] => Some(Task::SealCohort),
            _ => None,
        }
    }
}

/// Tells the tasks of a cohort by their journal names, however many samples it has.
#[derive(Clone, Debug)]
pub struct TaskKeys<'a> {
    places: HashMap<&'a str, u32>,
}

impl<'a> TaskKeys<'a> {
    /// Those of a cohort with these sample names, in order.
    pub fn new(samples: &'a [String]) -> Self {
        // Of two of one name the first counts, as for `Task::from_key`.
        let places = samples.iter().enumerate().rev().map(|(at, name)| (name.as_str(), at as u32));
        TaskKeys { places: places.collect() }
    }

    /// The task of this journal name; `None` if it is not one of this cohort's.
    pub fn task(&self, key: &str) -> Option<Task> {
        Task::of_key(key, |name| self.places.get(name).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_its_task_and_no_other() {
        let samples = vec!["S1".to_owned(), "S-2.x".to_owned()];
        let lane = LaneId { sample: 1, lane: 3 };
        let shard = Shard::Cells { first: Cell(4), end: Cell(9) };
        let tasks = [
            Task::Intake(lane, 0),
            Task::Intake(lane, 17),
            Task::Model(lane),
            Task::Map(lane, Chunk::whole(12)),
            Task::Map(lane, Chunk { index: 12, first: 256, end: 300 }),
            Task::Region(0, shard),
            Task::Region(1, Shard::Unplaced),
            Task::Joint(shard),
            Task::WriteSample(1, 5),
            Task::FinishSample(1),
            Task::WriteJoint(5),
            Task::FinishCohort,
            Task::SealSample(0),
            Task::SealCohort,
        ];
        for task in tasks {
            assert_eq!(Task::from_key(&task.key(&samples), &samples), Some(task));
            assert_eq!(TaskKeys::new(&samples).task(&task.key(&samples)), Some(task));
            // Of a cohort that the sample is no longer in, no other task's.
            assert_eq!(Task::from_key(&task.key(&[]), &samples), task.sample().is_none().then_some(task));
        }
        for foreign in [
            "",
            "intake/S1/0",
            "map/S3/0/1",
            "map/S1/0",
            "map/S1/0/1.0-1024",
            "map/S1/0/1.512-1025",
            "map/S1/0/1.7-7",
            "map/S1/0/1.1of2",
            "map/S1/0/01",
            "region/S1/4",
            "finish/S1/x",
            "write/S1",
        ] {
            assert_eq!(Task::from_key(foreign, &samples), None, "{foreign}");
            assert_eq!(TaskKeys::new(&samples).task(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn parts_of_a_chunk_share_its_pairs_without_gap_or_overlap() {
        for pairs in [0, 1, 2, 3, 1000, 16_383] {
            let mut parts = vec![Chunk { first: 3, ..Chunk::whole(7) }];
            for _ in 0..5 {
                let mut next = Chunk::pair_at(3, pairs);
                for part in &parts {
                    let share = part.share_of(pairs);
                    assert_eq!(share.start, next);
                    next = share.end;
                }
                assert_eq!(next, pairs);
                parts = parts.into_iter().flat_map(|part| part.halves().unwrap()).collect();
            }
        }
        assert_eq!(Chunk { index: 0, first: 8, end: 9 }.halves(), None);
    }

    #[test]
    fn parts_share_out_the_cells() {
        for (cells, expect) in [(1, 1), (8, 1), (9, 2), (24, 3), (256, 32), (257, 29), (23_700, 32)] {
            let parts = Parts::of(cells);
            assert_eq!(parts.count(), expect, "{cells}");
            let all: Vec<u32> = (0..parts.count()).flat_map(|part| parts.cells(part)).collect();
            assert!(all.iter().copied().eq(0..cells), "{cells}");
            assert!((0..cells).all(|cell| parts.cells(parts.at(cell)).contains(&cell)), "{cells}");
            assert!(parts.lines().eq((1..expect).map(|part| parts.cells(part).start)), "{cells}");
            assert!(parts.cells(expect).is_empty() && parts.cells(u32::MAX).is_empty(), "{cells}");
        }
    }

    #[test]
    fn what_has_steps_can_be_taken_apart() {
        let (region, joint) =
            (Task::Region(3, Shard::of_cell(Cell(5))), Task::Joint(Shard::of_cell(Cell(5))));
        let map = Task::Map(LaneId { sample: 1, lane: 0 }, Chunk::whole(2));
        for task in [region, joint, map] {
            let steps = task.steps().unwrap();
            assert_eq!(task.over(steps), task);
            assert_eq!(task.over(7..9).steps(), Some(7..9));
        }
        for task in [Task::Region(3, Shard::Unplaced), Task::FinishSample(3), Task::SealCohort] {
            assert_eq!((task.steps(), task.over(7..9)), (None, task));
        }
    }
}
