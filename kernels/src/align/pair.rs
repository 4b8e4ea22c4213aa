//! Chooses the places of two mates together.
//!
//! Every placement of one read meets every placement of the other that the insert-size model allows; a pair of places
//! that it does not allow costs [`super::Scoring::unpaired`]. Invariant: what is chosen, and the weights from which
//! mapping quality comes, depend on the placements as a set, not on their order.

use super::Scoring;
use super::extend::Placement;
use super::quality::{Weights, prior_of_unseen};
use super::read::Read;
use super::seed::Unseen;
use crate::insert::InsertModel;

/// What is known of one read.
pub(super) struct Side<'a> {
    pub placements: &'a [Placement],
    pub length: usize,
    /// What seeding says of places that are not among them.
    pub unseen: &'a Unseen,
}

impl<'a> Side<'a> {
    pub fn new(read: &'a Read) -> Self {
        Side { placements: &read.placements, length: read.query.len(), unseen: &read.unseen }
    }

    /// The best total.
    pub fn best(&self) -> i32 {
        self.placements.iter().map(|placement| placement.total).max().unwrap_or(0)
    }

    /// The most that a place never looked at may score with the bases that a placement aligns.
    pub fn most_unseen(&self, at: usize, scoring: &Scoring) -> i32 {
        let placement = &self.placements[at];
        let range = placement.read_range(self.length);
        let bonus = placement.total - placement.score;
        let cost = scoring.matched + scoring.mismatch;
        (range.1 - range.0) as i32 * scoring.matched + bonus - cost * self.unseen.differences(range)
    }

    /// The best placement that explains mostly other bases of the read than a worse one does. One seed is not enough for
    /// that: the dark tail of a short insert has none of its own, and would be taken to some run of G.
    fn larger_part(&self, than: usize, salt: u64) -> Option<usize> {
        let chosen = &self.placements[than];
        let parts = self.placements.iter().enumerate();
        parts
            .filter(|(_, part)| part.total > chosen.total && !part.rivals(chosen, self.length))
            .filter(|(_, part)| self.unseen.differences(part.read_range(self.length)) > 1)
            .max_by_key(|(_, part)| (part.total, part.tie(salt)))
            .map(|(at, _)| at)
    }

    /// Weight of the rivals of a placement, that of the placement itself being 1, if the read is judged alone.
    pub fn rivals_alone(&self, at: usize, scoring: &Scoring, weights: &Weights) -> f64 {
        let chosen = &self.placements[at];
        let rivals = self.placements.iter().enumerate();
        let rivals = rivals.filter(|(index, each)| *index != at && each.rivals(chosen, self.length));
        let seen: f64 = rivals.map(|(_, each)| weights.of(chosen.total - each.total)).sum();
        seen + prior_of_unseen(self.unseen.left_out)
            * weights.of(chosen.total - self.most_unseen(at, scoring))
    }
}

/// Two placements that the model allows together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub at: [usize; 2],
    pub total: i32,
}

/// Replaces `links` by all pairs of placements that the model allows. `order` is scratch.
pub(super) fn link(
    sides: &[Side; 2],
    model: &InsertModel,
    order: &mut Vec<(i64, usize)>,
    links: &mut Vec<Link>,
) {
    links.clear();
    order.clear();
    let [first, second] = sides;
    let border = |side: &Side, at: usize| side.placements[at].five_prime(side.length);
    order.extend((0..second.placements.len()).map(|at| (border(second, at).border, at)));
    order.sort_unstable();
    for (at, placement) in first.placements.iter().enumerate() {
        let here = border(first, at);
        let from = order.partition_point(|&(border, _)| border < here.border - i64::from(model.high));
        let near =
            order[from..].iter().take_while(|&&(border, _)| border <= here.border + i64::from(model.high));
        for &(_, mate_at) in near {
            let mate = &second.placements[mate_at];
            if mate.contig == placement.contig
                && let Some(penalty) = model.penalty(here, border(second, mate_at))
            {
                links.push(Link { at: [at, mate_at], total: placement.total + mate.total - penalty });
            }
        }
    }
}

/// The chosen placements, and the weight of each against all others.
pub(super) struct Choice {
    pub at: [usize; 2],
    pub proper: bool,
    /// Per read: weight of the chosen place, and of its rivals.
    pub weights: [(f64, f64); 2],
}

/// Chooses among links and unlinked places. Both sides must have placements.
///
/// A read of which a better placement explains another part, as at the breakpoint of a structural variant, goes there:
/// its larger part decides, not its mate.
pub(super) fn choose(
    sides: &[Side; 2],
    links: &[Link],
    scoring: &Scoring,
    weights: &Weights,
    salt: u64,
) -> Choice {
    let tie = |link: &Link| {
        let ties = [0, 1].map(|side| sides[side].placements[link.at[side]].tie(salt));
        ties[0].rotate_left(1) ^ ties[1]
    };
    let linked = links.iter().max_by_key(|link| (link.total, tie(link)));
    let apart = sides[0].best() + sides[1].best() - scoring.unpaired;
    let (at, proper, top) = match linked {
        Some(link) if link.total >= apart => (link.at, true, link.total),
        _ => {
            let alone = |side: &Side| {
                let placements = side.placements.iter().enumerate();
                placements.max_by_key(|(_, each)| (each.total, each.tie(salt))).map_or(0, |(at, _)| at)
            };
            ([alone(&sides[0]), alone(&sides[1])], false, apart)
        }
    };
    let parts = [0, 1].map(|read| sides[read].larger_part(at[read], salt));
    let weighed = [0, 1].map(|read| match parts[read] {
        Some(part) => (1.0, sides[read].rivals_alone(part, scoring, weights)),
        None => weigh(read, sides, links, at, (top, apart), scoring, weights),
    });
    let at = [0, 1].map(|read| parts[read].unwrap_or(at[read]));
    Choice { at, proper: proper && parts == [None, None], weights: weighed }
}

/// The weight of a read's chosen place, and of its rivals, over all pairs of places. `top` is the best pair's total,
/// `apart` that of the best places if they are no pair.
fn weigh(
    read: usize,
    sides: &[Side; 2],
    links: &[Link],
    at: [usize; 2],
    (top, apart): (i32, i32),
    scoring: &Scoring,
    weights: &Weights,
) -> (f64, f64) {
    let (side, mate) = (&sides[read], &sides[1 - read]);
    let chosen = &side.placements[at[read]];
    let (mut own, mut rivals) = (0.0, 0.0);
    let mut add = |index: usize, weight: f64| {
        if index == at[read] {
            own += weight;
        } else if side.placements[index].rivals(chosen, side.length) {
            rivals += weight;
        }
    };
    for link in links {
        add(link.at[read], weights.of(top - link.total));
    }
    let mates: f64 = mate.placements.iter().map(|each| weights.of(mate.best() - each.total)).sum();
    let apart_weight = mates * weights.of(top - apart);
    for (index, placement) in side.placements.iter().enumerate() {
        add(index, apart_weight * weights.of(side.best() - placement.total));
    }
    let unseen = [0, 1].map(|read| sides[read].most_unseen(at[read], scoring));
    let prior = [0, 1].map(|read| prior_of_unseen(sides[read].unseen.left_out));
    let mate_total = mate.placements[at[1 - read]].total;
    rivals += prior[read] * weights.of(top - (unseen[read] + mate_total - scoring.unpaired));
    rivals += prior[0].min(prior[1]) * weights.of(top - (unseen[0] + unseen[1]));
    (own, rivals)
}
