//! What is known of one read while it is mapped.

use super::Scoring;
use super::certain::{MARGIN_CROWDED_MIN, MARGIN_MIN};
use super::extend::{Placement, Trials};
use super::query::Query;
use super::seed::Unseen;
use crate::index::{Index, Seed, for_seeds};
use crate::simd::Level;
use std::ops::Range;

/// Buckets whose entries are asked for ahead.
const ASKED: usize = 8;

/// A read of a batch.
#[derive(Clone, Debug, Default)]
pub(super) struct Read {
    pub query: Query,
    /// All its seeds, by position, once they were found.
    pub seeds: Vec<Seed>,
    /// Their buckets of the index, once they were looked up.
    pub buckets: Vec<Range<u32>>,
    /// Their ordinals, each behind the size of its bucket, the smallest first.
    pub order: Vec<(u32, u32)>,
    /// As many seeds as can stand apart, each with its bucket.
    pub apart: Vec<(Seed, Range<u32>)>,
    /// Places that were not looked at.
    pub unseen: Unseen,
    /// Places under trial.
    pub trials: Trials,
    /// Where it may lie.
    pub placements: Vec<Placement>,
    /// Whether it was proved that no other place comes near the best of these.
    pub is_certain: bool,
    /// Places of its mate beside which it was not looked for.
    pub unrescued: Unrescued,
}

/// Places of a read beside which its mate could lie but was not looked for, as they were too many.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unrescued {
    pub places: u32,
    /// The most that a pair there could score; where only gaps could make something of it, less what a hope counts less.
    pub total: i32,
}

impl Read {
    /// Takes a read, given as codes, and asks for the directory entries of the seeds that stand apart.
    pub fn load(&mut self, codes: &[u8], index: &Index, level: Level) {
        self.query.load(codes);
        self.placements.clear();
        self.is_certain = false;
        self.unrescued = Unrescued::default();
        self.seeds.clear();
        self.apart.clear();
        for_query_seeds(level, &self.query, index, index.shape().k(), |seed| {
            self.apart.push((seed, 0..0));
            index.ask_bucket(seed.hash);
        });
    }

    /// Looks up the buckets of the seeds that stand apart, and asks for their entries.
    pub fn look_up_apart(&mut self, index: &Index) {
        for (seed, bucket) in &mut self.apart {
            *bucket = index.bucket(seed.hash);
            index.ask_occurrences(bucket);
        }
    }

    /// Finds all seeds, unless they are known, and asks for their directory entries.
    pub fn find_seeds(&mut self, index: &Index, level: Level) {
        if self.seeds.is_empty() {
            for_query_seeds(level, &self.query, index, 1, |seed| self.seeds.push(seed));
        }
        self.seeds.iter().for_each(|seed| index.ask_bucket(seed.hash));
    }

    /// Looks up the buckets of all seeds, and asks for the entries of the smallest.
    pub fn look_up(&mut self, index: &Index) {
        let Read { seeds, buckets, order, .. } = self;
        buckets.clear();
        buckets.extend(seeds.iter().map(|seed| index.bucket(seed.hash)));
        order.clear();
        order.extend(buckets.iter().zip(0..).map(|(bucket, at)| (bucket.len() as u32, at)));
        order.sort_unstable();
        order.iter().take(ASKED).for_each(|&(_, at)| index.ask_occurrences(&buckets[at as usize]));
    }

    /// What a place without any difference scores.
    pub fn perfect(&self, scoring: &Scoring) -> i32 {
        self.query.len() as i32 * scoring.matched + 2 * scoring.end_bonus
    }

    /// The most that a place may score that was not looked at.
    pub fn most_unseen(&self, scoring: &Scoring) -> i32 {
        self.perfect(scoring) - self.unseen.cost((0, self.query.len() as u32), scoring)
    }

    /// Whether every place that was not looked at scores less than the best by all that mapping quality can tell.
    pub fn is_proved(&self, scoring: &Scoring) -> bool {
        let margin = if self.unseen.left_out > 0 { MARGIN_CROWDED_MIN } else { MARGIN_MIN };
        self.best() >= self.most_unseen(scoring) + margin
    }

    /// The best placement, ties as if at random.
    pub fn best_placement(&self) -> Option<usize> {
        let placements = self.placements.iter().enumerate();
        placements.max_by_key(|(_, each)| (each.total, each.tie(self.query.salt))).map(|(at, _)| at)
    }

    /// The best total but for that of the best placement.
    pub fn runner_up(&self) -> i32 {
        let best = self.best_placement();
        let others = self.placements.iter().enumerate().filter(|(at, _)| Some(*at) != best);
        others.map(|(_, each)| each.total).max().unwrap_or(0)
    }

    /// The best total.
    pub fn best(&self) -> i32 {
        self.placements.iter().map(|placement| placement.total).max().unwrap_or(0)
    }
}

fn for_query_seeds(level: Level, query: &Query, index: &Index, distance: u32, mut emit: impl FnMut(Seed)) {
    let sequence = &query.packed[0];
    for stretch in sequence.plain_stretches(query.len() as u32) {
        for_seeds(level, &sequence.words, stretch, index.shape(), distance, &mut emit);
    }
}
