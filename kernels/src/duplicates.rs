//! Which reads are copies of one fragment.
//!
//! Two pairs are copies if their library and both unclipped 5' ends (place and strand) agree; a read without a placed
//! mate is a copy of any read that shares its own end, and always yields to a pair (the rules of Picard's
//! MarkDuplicates). The copy that stays is the one with the greatest quality sum, then the smallest name hash, then
//! the earliest in the input. Each record carries both ends, so both mates come to the same answer alone, in whatever
//! shard they lie.
//!
//! Records come in order of position and leave in the same order, [`REACH_BASES`] later: memory is bounded by the
//! records of that stretch, not by a shard.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// How far apart the positions of two records with the same 5' end can be. A record that covers more than this with
/// its clips takes no part.
pub const REACH_BASES: u32 = 2048;

/// Groups are swept for ones out of reach after as many insertions as there were groups left, of pairs and of ends, but at
/// least these: so that a sweep costs each record little, and they stay in the cache where few are within reach.
const SWEEP_INTERVAL_MIN: usize = 1 << 11;

/// Where a read begins: its 5' end as if nothing were clipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    /// Contig id.
    pub contig: u32,
    /// 0-based; negative where clipped bases would lie before the contig.
    pub position: i32,
    /// Strand.
    pub reverse: bool,
}

/// In one step: it is asked for every read.
impl Hash for End {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let place = u64::from(self.contig) << 32 | u64::from(self.position.cast_unsigned());
        state.write_u64(place ^ u64::from(self.reverse) << 63);
    }
}

/// What a primary, placed record says of its template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Library, as an ordinal within the sample.
    pub library: u16,
    /// This read's end.
    pub own: End,
    /// The mate's, if it is placed.
    pub mate: Option<End>,
    /// Sum of base qualities of at least [`SCORED_QUALITY`] over the reads of the template that are placed.
    pub score: u32,
    /// Hash of the read name.
    pub name_hash: u64,
    /// Ordinal of the template in the sample's input.
    pub template: u64,
}

/// Base qualities below this do not count for [`Fragment::score`].
pub const SCORED_QUALITY: u8 = 15;

/// A read's part of [`Fragment::score`]; unknown qualities (255) count nothing.
pub fn quality_score(qualities: &[u8]) -> u32 {
    let counted = |&&quality: &&u8| quality >= SCORED_QUALITY && quality != 255;
    qualities.iter().filter(counted).map(|&quality| u32::from(quality)).sum()
}

type Merit = (u32, Reverse<u64>, Reverse<u64>);

impl Fragment {
    fn merit(&self) -> Merit {
        (self.score, Reverse(self.name_hash), Reverse(self.template))
    }
}

#[derive(Clone, Copy, Debug)]
struct Group {
    best: Merit,
    has_pair: bool,
    last: u32,
}

/// Groups by key. Each keeps its number until it is swept away.
#[derive(Debug)]
struct Groups<K> {
    numbers: HashMap<K, u32, BuildHasherDefault<KeyHasher>>,
    groups: Vec<Group>,
    /// Numbers of groups that were swept away.
    free: Vec<u32>,
}

impl<K> Default for Groups<K> {
    fn default() -> Self {
        Groups { numbers: HashMap::default(), groups: Vec::new(), free: Vec::new() }
    }
}

impl<K: Eq + Hash> Groups<K> {
    /// Adds a record, as a group of its own, to the group of its key, and returns that group's number.
    fn join(&mut self, key: K, new: Group) -> u32 {
        let Groups { numbers, groups, free } = self;
        let mut is_new = false;
        let number = *numbers.entry(key).or_insert_with(|| {
            is_new = true;
            free.pop().unwrap_or_else(|| {
                groups.push(new);
                groups.len() as u32 - 1
            })
        });
        let group = &mut groups[number as usize];
        if is_new {
            *group = new;
        } else {
            group.best = group.best.max(new.best);
            group.has_pair |= new.has_pair;
            group.last = new.last;
        }
        number
    }

    /// Drops the groups that no record from `position` on can join, nor any that waits can ask for.
    fn sweep(&mut self, position: u32) {
        let Groups { numbers, groups, free } = self;
        numbers.retain(|_, number| {
            let is_reachable = groups[*number as usize].last + 2 * REACH_BASES >= position;
            if !is_reachable {
                free.push(*number);
            }
            is_reachable
        });
    }

    fn clear(&mut self) {
        self.numbers.clear();
        self.groups.clear();
        self.free.clear();
    }
}

/// Hashes the few integers of a key, each by a multiplication: what is asked for every read must cost little.
#[derive(Debug, Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte.into()));
    }

    fn write_u16(&mut self, value: u16) {
        self.write_u64(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        // The high half of the product depends on all bits, so it is what goes on.
        let product = u128::from(self.0 ^ value ^ 0x243f_6a88_85a3_08d3) * 0x9e37_79b9_7f4a_7c15;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}

/// A record that takes part, and the group that decides on it: of the pairs, if it has a mate, or of the ends.
#[derive(Clone, Copy, Debug)]
struct Entered {
    merit: Merit,
    has_mate: bool,
    group: u32,
}

/// Marks a position-ordered stream of records of one contig; `T` travels through.
#[derive(Debug)]
pub struct Marker<T> {
    pending: VecDeque<(u32, Option<Entered>, T)>,
    pairs: Groups<(u16, End, End)>,
    ends: Groups<(u16, End)>,
    /// Records that may enter before the next sweep.
    unswept: usize,
}

impl<T> Default for Marker<T> {
    fn default() -> Self {
        Marker {
            pending: VecDeque::new(),
            pairs: Groups::default(),
            ends: Groups::default(),
            unswept: SWEEP_INTERVAL_MIN,
        }
    }
}

impl<T> Marker<T> {
    /// Takes the next record at `position` (never smaller than the one before) and gives out, with their answers, the
    /// records that nothing later can touch. `fragment` is `None` for records that are never marked: secondary,
    /// supplementary, unmapped, failed, or too wide.
    pub fn push(
        &mut self,
        position: u32,
        fragment: Option<Fragment>,
        item: T,
        emit: &mut impl FnMut(T, bool),
    ) {
        while self.pending.front().is_some_and(|(first, ..)| first + REACH_BASES < position) {
            self.emit_first(emit);
        }
        let entered = fragment.map(|fragment| self.enter(position, &fragment));
        self.pending.push_back((position, entered, item));
    }

    /// Gives out what is left and is empty again.
    pub fn finish(&mut self, emit: &mut impl FnMut(T, bool)) {
        while !self.pending.is_empty() {
            self.emit_first(emit);
        }
        self.pairs.clear();
        self.ends.clear();
    }

    fn enter(&mut self, position: u32, fragment: &Fragment) -> Entered {
        if self.unswept == 0 {
            self.pairs.sweep(position);
            self.ends.sweep(position);
            let groups = self.pairs.numbers.len() + self.ends.numbers.len();
            self.unswept = groups.max(SWEEP_INTERVAL_MIN);
        }
        self.unswept -= 1;
        let (merit, has_mate) = (fragment.merit(), fragment.mate.is_some());
        let new = Group { best: merit, has_pair: has_mate, last: position };
        let mut group = self.ends.join((fragment.library, fragment.own), new);
        if let Some(mate) = fragment.mate {
            group = self.pairs.join((fragment.library, fragment.own, mate), new);
        }
        Entered { merit, has_mate, group }
    }

    fn emit_first(&mut self, emit: &mut impl FnMut(T, bool)) {
        let (_, entered, item) = self.pending.pop_front().expect("the caller saw a record");
        let duplicate = entered.is_some_and(|entered| self.is_duplicate(&entered));
        emit(item, duplicate);
    }

    fn is_duplicate(&self, entered: &Entered) -> bool {
        if entered.has_mate {
            return self.pairs.groups[entered.group as usize].best != entered.merit;
        }
        let group = &self.ends.groups[entered.group as usize];
        group.has_pair || group.best != entered.merit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(position: i32, reverse: bool) -> End {
        End { contig: 0, position, reverse }
    }

    fn fragment(own: End, mate: Option<End>, score: u32, template: u64) -> Fragment {
        Fragment { library: 0, own, mate, score, name_hash: template ^ 5, template }
    }

    fn mark(records: &[(u32, Fragment)]) -> Vec<bool> {
        let mut marker = Marker::default();
        let mut marks = Vec::new();
        let mut emit = |_: (), duplicate| marks.push(duplicate);
        for (position, fragment) in records {
            marker.push(*position, Some(*fragment), (), &mut emit);
        }
        marker.finish(&mut emit);
        marks
    }

    #[test]
    fn the_best_pair_stays_and_fragments_yield_to_pairs() {
        let (left, right) = (end(100, false), end(400, true));
        type Case<'a> = (&'a [(u32, Fragment)], &'a [bool]);
        let cases: &[Case] = &[
            // Two copies of a pair, differently clipped, seen from the left mates and from the right mates.
            (
                &[(100, fragment(left, Some(right), 50, 1)), (105, fragment(left, Some(right), 60, 2))],
                &[true, false],
            ),
            (
                &[(250, fragment(right, Some(left), 50, 1)), (255, fragment(right, Some(left), 60, 2))],
                &[true, false],
            ),
            // A lone read at a pair's end yields however good it is; of two lone reads the better stays.
            (&[(100, fragment(left, None, 99, 1)), (100, fragment(left, Some(right), 1, 2))], &[true, false]),
            (&[(100, fragment(left, None, 9, 1)), (100, fragment(left, None, 8, 2))], &[false, true]),
            // Other strand, other mate end: no copies.
            (
                &[
                    (100, fragment(left, Some(right), 5, 1)),
                    (100, fragment(end(100, true), Some(right), 5, 2)),
                    (100, fragment(left, Some(end(401, true)), 5, 3)),
                ],
                &[false, false, false],
            ),
            // Another library: another molecule, of a pair as of a lone read.
            (
                &[
                    (100, fragment(left, Some(right), 5, 1)),
                    (100, Fragment { library: 1, ..fragment(left, Some(right), 6, 2) }),
                    (100, Fragment { library: 2, ..fragment(left, None, 7, 3) }),
                ],
                &[false, false, false],
            ),
            // Equal scores: the smaller name hash stays (4 is 1 ^ 5, 7 is 2 ^ 5).
            (
                &[(100, fragment(left, Some(right), 5, 2)), (100, fragment(left, Some(right), 5, 1))],
                &[true, false],
            ),
            // Both ends of a template at one place are not copies of each other.
            (
                &[(100, fragment(left, Some(left), 5, 1)), (100, fragment(left, Some(left), 5, 1))],
                &[false, false],
            ),
        ];
        for (records, expect) in cases {
            assert_eq!(mark(records), *expect, "{records:?}");
        }
    }

    /// The answer for a record depends only on what lies within reach: a window that starts and ends anywhere
    /// beyond it gives the same.
    #[test]
    fn a_shard_border_cannot_be_seen() {
        let mut seed = 7u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) % below
        };
        let mut records: Vec<(u32, Fragment)> = (0..20_000)
            .map(|template| {
                let own = end(random(20_000) as i32 / 8 * 8 + 1000, random(2) == 0);
                let mate = (random(4) > 0).then(|| end(own.position + 200 + random(3) as i32, !own.reverse));
                let position = (own.position - if own.reverse { 150 } else { 0 } + random(20) as i32) as u32;
                (position, fragment(own, mate, random(6) as u32, template))
            })
            .collect();
        records.sort_by_key(|(position, fragment)| (*position, fragment.template));
        let whole = mark(&records);
        assert!(whole.iter().filter(|&&mark| mark).count() > 1000);
        for line in (2048..20_000).step_by(3111) {
            let from = records.partition_point(|(position, _)| *position < line - REACH_BASES);
            let to = records.partition_point(|(position, _)| *position < line + 1000 + REACH_BASES + 1);
            let part = mark(&records[from..to]);
            for (i, (position, _)) in records[from..to].iter().enumerate() {
                if (line..line + 1000).contains(position) {
                    assert_eq!(part[i], whole[from + i], "{position}");
                }
            }
        }
    }
}
