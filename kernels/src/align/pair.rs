//! Chooses the places of two mates together.
//!
//! Every placement of one read meets every placement of the other that the insert-size model allows; a pair of places
//! that it does not allow costs [`super::Scoring::unpaired`]. Invariant: what is chosen, and the weights from which
//! mapping quality comes, depend on the placements as a set, not on their order.

use super::extend::Placement;
use super::quality::Weights;
use crate::insert::InsertModel;

/// What is known of one read.
pub(super) struct Side<'a> {
    pub placements: &'a [Placement],
    pub length: usize,
    /// Most that a place never looked at may score, and how many such places there may be.
    pub unseen: (i32, f64),
}

impl Side<'_> {
    fn best(&self) -> i32 {
        self.placements.iter().map(|placement| placement.total).max().unwrap_or(0)
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
pub(super) fn choose(
    sides: &[Side; 2],
    links: &[Link],
    unpaired: i32,
    weights: &Weights,
    salt: u64,
) -> Choice {
    let tie = |link: &Link| {
        let ties = [0, 1].map(|side| sides[side].placements[link.at[side]].tie(salt));
        ties[0].rotate_left(1) ^ ties[1]
    };
    let linked = links.iter().max_by_key(|link| (link.total, tie(link)));
    let apart = sides[0].best() + sides[1].best() - unpaired;
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
    let weighed = [0, 1].map(|read| {
        let (side, mate) = (&sides[read], &sides[1 - read]);
        let chosen = &side.placements[at[read]];
        let mates: f64 = mate.placements.iter().map(|each| weights.of(mate.best() - each.total)).sum();
        let (mut own, mut rivals) = (0.0, 0.0);
        let mut weigh = |index: usize, weight: f64| {
            if index == at[read] {
                own += weight;
            } else if side.placements[index].rivals(chosen, side.length) {
                rivals += weight;
            }
        };
        for link in links {
            weigh(link.at[read], weights.of(top - link.total));
        }
        let apart_weight = mates * weights.of(top - apart);
        for (index, placement) in side.placements.iter().enumerate() {
            weigh(index, apart_weight * weights.of(side.best() - placement.total));
        }
        let mate_total = mate.placements[at[1 - read]].total;
        let unseen_alone = weights.of(top - (side.unseen.0 + mate_total - unpaired));
        let unseen_linked = weights.of(top - (side.unseen.0 + mate.unseen.0));
        (own, rivals + side.unseen.1 * unseen_alone + side.unseen.1.min(mate.unseen.1) * unseen_linked)
    });
    Choice { at, proper, weights: weighed }
}
