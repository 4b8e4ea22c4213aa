//! Chooses the places of two mates together.
//!
//! Every placement of one read meets every placement of the other that the insert-size model allows; a pair of places
//! that it does not allow costs [`super::Scoring::unpaired`]. Invariant: what is chosen, and the weights from which
//! mapping quality comes, depend on the placements as a set, not on their order.

use super::Scoring;
use super::extend::Placement;
use super::quality::{Hidden, PRIOR_APART, PRIOR_UNRESCUED, Weights};
use super::read::{Read, Unrescued};
use super::seed::Unseen;
use crate::insert::{InsertModel, MISFIT_PER_PENALTY};

/// What is known of one read.
pub(super) struct Side<'a> {
    pub placements: &'a [Placement],
    pub length: usize,
    /// What seeding says of places that are not among them.
    pub unseen: &'a Unseen,
    /// Places of the mate beside which it was not looked for.
    pub unrescued: Unrescued,
}

impl<'a> Side<'a> {
    pub fn new(read: &'a Read) -> Self {
        Side {
            placements: &read.placements,
            length: read.query.len(),
            unseen: &read.unseen,
            unrescued: read.unrescued,
        }
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
        (range.1 - range.0) as i32 * scoring.matched + bonus - self.unseen.cost(range, scoring)
    }

    /// Places of the bases of a placement that no seed led to.
    fn hidden(&self, at: usize) -> Hidden {
        let range = self.placements[at].read_range(self.length);
        Hidden { differences: self.unseen.differences(range), left_out: self.unseen.left_out }
    }

    /// The best placement that explains mostly other bases of the read than a worse one does. One seed is not enough for
    /// that: the dark tail of a short insert has none of its own, and would be taken to some run of G.
    fn larger_part(&self, than: usize, salt: u64) -> Option<usize> {
        let chosen = &self.placements[than];
        let parts = self.placements.iter().enumerate();
        parts
            .filter(|(_, part)| part.total > chosen.total && !part.rivals(chosen, self.length))
            .filter(|(_, part)| self.unseen.apart(part.read_range(self.length)) > 1)
            .max_by_key(|(_, part)| (part.total, part.tie(salt)))
            .map(|(at, _)| at)
    }

    /// Weight of the rivals of a placement, that of the placement itself being 1, if the read is judged alone.
    pub fn rivals_alone(&self, at: usize, scoring: &Scoring, weights: &Weights) -> f64 {
        let chosen = &self.placements[at];
        let rivals = self.placements.iter().enumerate();
        let rivals = rivals.filter(|(index, each)| *index != at && each.rivals(chosen, self.length));
        let seen: f64 = rivals.map(|(_, each)| weights.of(chosen.total - each.total)).sum();
        seen + self.hidden(at).prior() * weights.of(chosen.total - self.most_unseen(at, scoring))
    }
}

/// Two placements that the model allows together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub at: [usize; 2],
    pub total: i32,
    /// What of the total is for ends clipped where the fragment ends.
    pub bonus: i32,
    /// How far their distance is from what the model expects, finer than the total has it.
    pub misfit: i32,
}

/// How far a clip may begin from where the fragment ends: an adapter's first bases may match by chance.
const ADAPTER_SLACK: u32 = 5;

/// How many of two placements on opposite strands are clipped where the fragment ends, which is where the other read
/// begins: the clipped bases are adapter.
fn adapters(forward: (&Placement, usize), reverse: (&Placement, usize)) -> i32 {
    let ((forward, length), (reverse, reverse_length)) = (forward, reverse);
    let from = i64::from(forward.places.0) - i64::from(forward.aligned.0);
    let to = i64::from(reverse.places.1) + reverse_length as i64 - i64::from(reverse.aligned.1);
    let meets = |place: u32, border: i64| (i64::from(place) - border).unsigned_abs() <= ADAPTER_SLACK.into();
    let behind = forward.aligned.1 < length as u32 && meets(forward.places.1, to);
    let before = reverse.aligned.0 > 0 && meets(reverse.places.0, from);
    i32::from(behind) + i32::from(before)
}

/// Replaces `links` by all pairs of placements that the model allows. `order` is scratch.
///
/// Ends that are clipped where the fragment ends reached all there was to reach and earn the bonus for it; if both did,
/// the fragment's length is read off and needs no model.
pub(super) fn link(
    sides: &[Side; 2],
    model: &InsertModel,
    scoring: &Scoring,
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
                && let Some(misfit) = model.misfit(here, border(second, mate_at))
            {
                let (here, there) = ((placement, first.length), (mate, second.length));
                let adapters = match (placement.reverse, mate.reverse) {
                    (false, true) => adapters(here, there),
                    (true, false) => adapters(there, here),
                    _ => 0,
                };
                let bonus = adapters * scoring.end_bonus;
                let misfit = if adapters == 2 { 0 } else { misfit };
                let total = placement.total + mate.total + bonus - misfit / MISFIT_PER_PENALTY;
                links.push(Link { at: [at, mate_at], total, bonus, misfit });
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
    let linked = links.iter().max_by_key(|link| (link.total, -link.misfit, tie(link)));
    let apart = sides[0].best() + sides[1].best() - scoring.unpaired;
    let (at, proper, top, bonus) = match linked {
        Some(link) if link.total >= apart => (link.at, true, link.total, link.bonus),
        _ => {
            let alone = |side: &Side| {
                let placements = side.placements.iter().enumerate();
                placements.max_by_key(|(_, each)| (each.total, each.tie(salt))).map_or(0, |(at, _)| at)
            };
            ([alone(&sides[0]), alone(&sides[1])], false, apart, 0)
        }
    };
    let parts = [0, 1].map(|read| sides[read].larger_part(at[read], salt));
    let weighed = [0, 1].map(|read| match parts[read] {
        Some(part) => (1.0, sides[read].rivals_alone(part, scoring, weights)),
        None => weigh(read, sides, links, at, (top, apart, bonus), scoring, weights),
    });
    let at = [0, 1].map(|read| parts[read].unwrap_or(at[read]));
    Choice { at, proper: proper && parts == [None, None], weights: weighed }
}

/// The weight of a read's chosen place, and of its rivals, over all pairs of places. `top` is the best pair's total,
/// `apart` that of the best places if they are no pair; `bonus` is what adapters add to the best pair's and would to
/// another's.
fn weigh(
    read: usize,
    sides: &[Side; 2],
    links: &[Link],
    at: [usize; 2],
    (top, apart, bonus): (i32, i32, i32),
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
    let hidden = [0, 1].map(|read| sides[read].hidden(at[read]));
    let mate_total = mate.placements[at[1 - read]].total;
    rivals +=
        PRIOR_APART * hidden[read].prior() * weights.of(top - (unseen[read] + mate_total - scoring.unpaired));
    rivals += hidden[0].prior_of_both(hidden[1]) * weights.of(top - (unseen[0] + unseen[1] + bonus));
    for Unrescued { places, total } in sides.each_ref().map(|side| side.unrescued) {
        rivals += PRIOR_UNRESCUED * f64::from(places) * weights.of(top - total);
    }
    (own, rivals)
}
