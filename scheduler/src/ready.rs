//! Tasks that may start, in the order in which they should.
//!
//! A task of an earlier sample goes first, so that scratch is given back early; but samples are taken in groups that keep
//! all cores busy while the last of a stage ends, and inside a group the stage with the longest way still to go is first.
//! Intakes and models, which take little scratch and no second core, go some samples ahead. Inside a sample and stage
//! the longest task is first, so that a stage ends with small pieces. What was cut off a slow attempt, work on its second try
//! and checks go before all.
//!
//! Invariant: an entry is a hint. Whoever takes it looks whether it still holds.

use jobs::task::{Stage, Task};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

/// Why something is in a queue, least urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// To be done.
    Work,
    /// To be done: cut off an attempt that was slow.
    Hard,
    /// To be done, after an attempt failed.
    Again,
    /// To be done a second time, because the first attempt is slow.
    Copy,
    /// To be done a second time, and compared.
    Audit,
}

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    /// Why.
    pub kind: Kind,
    /// Expected milliseconds.
    pub ms: u32,
    /// What.
    pub task: Reverse<Task>,
}

/// What one site may take.
#[derive(Clone, Debug, Default)]
struct Shelf {
    /// By stage: rows of which something is queued.
    rows: [BTreeSet<u32>; 7],
    /// Of these, rows of which something is more than work.
    urgent: [BTreeSet<u32>; 7],
    /// Expected milliseconds of all that is queued.
    ms: u64,
    /// By row.
    allowed: Vec<bool>,
}

/// All queues.
#[derive(Clone, Debug)]
pub struct Ready {
    /// By row (sample; the cohort last) and stage.
    queues: Vec<[BinaryHeap<Item>; 7]>,
    shelves: Vec<Shelf>,
    /// Samples that are worked on together.
    pub window: u32,
    /// How many samples intakes and models go ahead.
    pub ahead: u32,
    length: usize,
}

/// Stages in the order in which a group's tasks start: what gives back scratch and cannot be shared out, then what has
/// the longest way to go.
const LEVEL: [u32; 7] = [3, 2, 4, 5, 6, 0, 1];

impl Shelf {
    /// This is now the first of a queue.
    fn mark(&mut self, stage: usize, row: u32, first: Option<&Item>) {
        let keep = |rows: &mut BTreeSet<u32>, there: bool| match there {
            true => drop(rows.insert(row)),
            false => drop(rows.remove(&row)),
        };
        keep(&mut self.rows[stage], first.is_some());
        keep(&mut self.urgent[stage], first.is_some_and(|item| item.kind > Kind::Work));
    }
}

impl Ready {
    /// Queues for so many samples and the cohort.
    pub fn new(samples: usize) -> Self {
        let queues = (0..=samples).map(|_| Default::default()).collect();
        Ready { queues, shelves: Vec::new(), window: 1, ahead: 1, length: 0 }
    }

    /// Entries, some of which may hold no more.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Says which rows a site may take, and where the cohort's row stands last.
    pub fn allow(&mut self, site: u16, allowed: Vec<bool>) {
        if self.shelves.len() <= site.into() {
            self.shelves.resize_with(usize::from(site) + 1, Shelf::default);
        }
        let shelf = &mut self.shelves[usize::from(site)];
        *shelf = Shelf { allowed, ..Shelf::default() };
        for (row, queues) in self.queues.iter().enumerate() {
            if !shelf.allowed[row] {
                continue;
            }
            for (stage, queue) in queues.iter().enumerate().filter(|(_, queue)| !queue.is_empty()) {
                shelf.mark(stage, row as u32, queue.peek());
                shelf.ms += queue.iter().map(|item| u64::from(item.ms)).sum::<u64>();
            }
        }
    }

    /// Whether a site may take this row's tasks.
    pub fn is_allowed(&self, site: usize, row: usize) -> bool {
        self.shelves.get(site).is_some_and(|shelf| shelf.allowed[row])
    }

    /// Expected milliseconds of everything that a site might take.
    pub fn ms(&self, site: usize) -> u64 {
        self.shelves.get(site).map_or(0, |shelf| shelf.ms)
    }

    /// Whether there might be something for this site.
    pub fn has_for(&self, site: usize) -> bool {
        self.shelves.get(site).is_some_and(|shelf| shelf.rows.iter().any(|rows| !rows.is_empty()))
    }

    /// Queues something. Returns whether its queue was empty.
    pub fn push(&mut self, row: usize, item: Item) -> bool {
        let stage = item.task.0.stage() as usize;
        let queue = &mut self.queues[row][stage];
        let first = queue.is_empty();
        queue.push(item);
        self.length += 1;
        for shelf in self.shelves.iter_mut().filter(|shelf| shelf.allowed[row]) {
            shelf.ms += u64::from(item.ms);
            if first || item.kind > Kind::Work {
                shelf.mark(stage, row as u32, queue.peek());
            }
        }
        first
    }

    /// The queues a site should look into, best first: of each stage it can do, the first with more than work and the first
    /// with anything.
    pub fn fronts(&self, site: usize, stages: [bool; 7]) -> impl Iterator<Item = (usize, Stage)> + use<> {
        let mut fronts = [(u32::MAX, 0, 0, Stage::Intake); 14];
        let shelf = &self.shelves[site];
        for stage in Stage::ALL.into_iter().filter(|&stage| stages[stage as usize]) {
            let (index, level) = (stage as usize, LEVEL[stage as usize]);
            if let Some(&row) = shelf.urgent[index].first() {
                fronts[index] = (0, level, row, stage);
            }
            if let Some(&row) = shelf.rows[index].first() {
                fronts[7 + index] = (1 + self.group(row, stage), level, row, stage);
            }
        }
        fronts.sort_unstable();
        fronts
            .into_iter()
            .take_while(|&(group, ..)| group != u32::MAX)
            .map(|(_, _, row, stage)| (row as usize, stage))
    }

    /// The next row after this one of which a site might take something of this stage.
    pub fn next_row(&self, site: usize, stage: Stage, row: usize) -> Option<usize> {
        let rows = &self.shelves[site].rows[stage as usize];
        rows.range(row as u32 + 1..).next().map(|&row| row as usize)
    }

    fn group(&self, row: u32, stage: Stage) -> u32 {
        let row = if stage <= Stage::Model { row.saturating_sub(self.ahead) } else { row };
        row / self.window.max(1)
    }

    /// Takes the first entry of a queue.
    pub fn pop(&mut self, row: usize, stage: Stage) -> Option<Item> {
        let queue = &mut self.queues[row][stage as usize];
        let item = queue.pop()?;
        self.length -= 1;
        for shelf in self.shelves.iter_mut().filter(|shelf| shelf.allowed[row]) {
            shelf.ms -= u64::from(item.ms);
            if item.kind > Kind::Work || queue.is_empty() {
                shelf.mark(stage as usize, row as u32, queue.peek());
            }
        }
        Some(item)
    }
}
