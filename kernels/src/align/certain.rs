//! The short way: a read that lies without gaps where its seeds say, and for which counting proves that no other place
//! comes near.
//!
//! Seeds that stand apart share no base, so one difference touches one of them at most. A place to which none of `m` of
//! them leads differs from the read in each of the `m`: it scores at least `m` mismatches less than a perfect one.
//! Invariant: a placement found here is the one that the long way would choose; what is not proved is left to it.

use super::Scoring;
use super::extend::Extender;
use super::read::Read;
use super::seed::{Anchor, Candidate};
use crate::index::Index;
use crate::reference::Reference;

/// Occurrences of a seed that are followed.
const OCCURRENCES_MAX: usize = 4;

/// By how much another place must score less: as much as mapping quality can tell.
pub(super) const MARGIN_MIN: i32 = 10;

/// The same, where some seeds were not followed: each of their thousands of places may be a rival.
pub(super) const MARGIN_CROWDED_MIN: i32 = 15;

/// The diagonal to which most seeds of a read lead.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lead {
    anchor: Anchor,
    /// Bases of its seeds.
    chained: i32,
}

/// Scratch.
#[derive(Clone, Debug, Default)]
pub(super) struct Certain {
    anchors: Vec<Anchor>,
    leads: Vec<Option<Lead>>,
}

impl Certain {
    /// Places those reads for which it can be proved ([`Read::is_certain`]).
    pub fn place(
        &mut self,
        index: &Index,
        reference: &Reference,
        scoring: &Scoring,
        extender: &mut Extender,
        reads: &mut [Read],
    ) {
        self.leads.clear();
        for read in reads.iter_mut() {
            let lead = self.lead(index, read);
            if let Some(lead) = lead {
                reference.ask(lead.anchor.place(), read.query.len() as u32);
            }
            self.leads.push(lead);
        }
        for (read, lead) in reads.iter_mut().zip(&self.leads) {
            if let Some(lead) = lead {
                prove(lead, reference, scoring, extender, read);
            }
        }
    }

    /// Follows the seeds that stand apart.
    fn lead(&mut self, index: &Index, read: &mut Read) -> Option<Lead> {
        let (k, length) = (index.shape().k(), read.query.len() as u32);
        self.anchors.clear();
        read.unseen.clear(k);
        for (seed, bucket) in &read.apart {
            let entries = index.occurrences(seed.hash, bucket.clone());
            if entries.len() > OCCURRENCES_MAX {
                read.unseen.leave_out(entries.len() as u32);
                continue;
            }
            read.unseen.follow(seed.position);
            for &entry in entries {
                self.anchors.push(Anchor::of(seed, entry, k, length));
            }
        }
        let first = *self.anchors.first()?;
        let is_one = self.anchors.iter().all(|anchor| anchor.line() == first.line());
        if !is_one {
            self.anchors.sort_unstable();
        }
        let lines = self.anchors.chunk_by(|a, b| a.line() == b.line());
        let line = lines.max_by_key(|line| line.len())?;
        let lead = Lead { anchor: line[0], chained: line.len() as i32 * k as i32 };
        for anchor in self.anchors.iter().filter(|anchor| anchor.line() != lead.anchor.line()) {
            // A seed that leads elsewhere, too, proves nothing against the place it leads to.
            let (position, reverse) = (anchor.position(), anchor.reverse());
            read.unseen.unfollow(if reverse { length - k - position } else { position });
        }
        Some(lead)
    }
}

fn prove(lead: &Lead, reference: &Reference, scoring: &Scoring, extender: &mut Extender, read: &mut Read) {
    let length = read.query.len();
    let anchor = lead.anchor;
    let (diagonal, place) = (anchor.diagonal(), anchor.place());
    let candidate = Candidate {
        reverse: anchor.reverse(),
        diagonal,
        place,
        chained: lead.chained,
        span: (0, length as u32),
        band: (diagonal, diagonal),
    };
    let cigars = extender.cigars.len();
    if let Some((placement, hope)) =
        extender.ungapped(reference, scoring, &read.query, &candidate, &read.unseen)
    {
        let is_whole = placement.aligned == (0, length as u32);
        read.placements.push(placement);
        read.is_certain = is_whole && hope <= placement.total && read.is_proved(scoring);
    }
    if read.is_certain {
        return;
    }
    read.placements.clear();
    extender.cigars.truncate(cigars);
}
