//! Places reads on the reference: seeds, diagonals, alignment, pairing, mate rescue, mapping quality.
//!
//! Invariant: a mapping is a function of the reads, the reference, its index, the options and the insert-size model.
//! Whatever a [`Workspace`] did before cannot be seen, nor the order of reads; ties between equal places are settled by
//! a hash of the reads' bases. No hit leaves its contig or spans more than [`SPAN_EXTRA_MAX`] bases beyond the read's own.
//! Effort per read is bounded everywhere. Names, qualities and SAM flags are the caller's.

mod band;
mod extend;
mod pair;
mod quality;
mod query;
mod rescue;
mod seed;

use crate::index::Index;
use crate::insert::{FivePrime, InsertModel};
use crate::reference::{Malformed, Reference, malformed};
use band::{CLIP, DELETION, INSERTION, MATCH};
use extend::{Extender, Placement};
use pair::{Choice, Link, Side};
use quality::{Weights, mapq};
use query::{Query, side};
use rescue::{RESCUE_K, Rescuer};
use seed::{Candidate, Seeding};

/// Longest read that is placed, in bases; longer ones, and those shorter than a seed, map nowhere.
pub const READ_BASES_MAX: usize = 1024;

/// Bases that a hit may span on the reference beyond the length of its read.
pub const SPAN_EXTRA_MAX: u32 = 400;

/// Alternatives that are reported; if there are more, none is.
const ALTERNATIVES_MAX: usize = 5;

/// Supplementary hits of a read at most.
const SUPPLEMENTARY_MAX: usize = 2;

/// Clipped bases from which another place is looked for to explain them.
const CLIP_MIN: u32 = 30;

/// Places of a read from which its mate is looked for.
const RESCUES_MAX: usize = 12;

/// Candidates of one rescue that are aligned.
const RESCUE_CANDIDATES_MAX: usize = 4;

/// Query bases that short words must cover for a rescue to go on.
const RESCUE_CHAINED_MIN: i32 = 16;

/// A pair that falls short of the best by more than this is not looked for.
const RESCUE_DEFICIT_MAX: i32 = 20;

/// Places like the best one that may exist unseen although every seed was followed.
const UNSEEN_PRIOR: f64 = 0.01;

/// What alignments cost, in units of score. Penalties are given as positive numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scoring {
    /// An equal base.
    pub matched: i32,
    /// A different base.
    pub mismatch: i32,
    /// A base that is unknown in read or reference.
    pub unknown: i32,
    /// Opening a gap, beside its first base.
    pub gap_open: i32,
    /// Each base of a gap.
    pub gap_extend: i32,
    /// What an end of the read earns for not being clipped; not part of a hit's score.
    pub end_bonus: i32,
    /// Mates where the insert-size model does not allow them.
    pub unpaired: i32,
    /// Smallest score of a hit.
    pub score_min: i32,
}

impl Default for Scoring {
    fn default() -> Self {
        Scoring {
            matched: 1,
            mismatch: 4,
            unknown: 1,
            gap_open: 6,
            gap_extend: 1,
            end_bonus: 5,
            unpaired: 17,
            score_min: 30,
        }
    }
}

/// Where and how a read, or a part of it, lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Contig id.
    pub contig: u32,
    /// First aligned reference base, 0-based.
    pub position: u32,
    /// Whether the read's reverse complement is what aligns.
    pub reverse: bool,
    /// Alignment score (AS).
    pub score: i32,
    /// Mapping quality, 0 to 60; 0 for alternatives.
    pub mapq: u8,
    /// M, I, D and S in reference orientation, packed as in BAM: length << 4 | operation.
    pub cigar: Vec<u32>,
    /// Mismatches and gap bases (NM).
    pub edits: u32,
}

impl Hit {
    /// One past the last aligned reference base.
    pub fn end(&self) -> u32 {
        let spans = |&&word: &&u32| matches!(word & 15, MATCH | DELETION);
        self.position + self.cigar.iter().filter(spans).map(|word| word >> 4).sum::<u32>()
    }

    /// The unclipped 5' end on the contig.
    pub fn five_prime(&self) -> FivePrime {
        let clip = |word: Option<&u32>| {
            word.filter(|&&word| word & 15 == CLIP).map_or(0, |&word| i64::from(word >> 4))
        };
        let border = if self.reverse {
            i64::from(self.end()) + clip(self.cigar.last())
        } else {
            i64::from(self.position) - clip(self.cigar.first())
        };
        FivePrime { border, reverse: self.reverse }
    }
}

/// What mapping says of one read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadMapping {
    /// The chosen hit; `None` leaves the read unmapped.
    pub primary: Option<Hit>,
    /// Score of the second-best place (XS), 0 if there is none.
    pub sub_score: i32,
    /// Hits of parts that the primary clips (SA).
    pub supplementary: Vec<Hit>,
    /// Other places of nearly the same score (XA), best first; none if there are too many to list.
    pub alternatives: Vec<Hit>,
}

/// What mapping says of a pair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PairMapping {
    /// The first and the second read.
    pub reads: [ReadMapping; 2],
    /// Whether the primary hits lie as the insert-size model allows.
    pub proper: bool,
}

/// Scratch of one thread.
#[derive(Clone, Debug, Default)]
pub struct Workspace {
    queries: [Query; 2],
    placements: [Vec<Placement>; 2],
    seeding: Seeding,
    candidates: Vec<Candidate>,
    extender: Extender,
    rescuer: Rescuer,
    order: Vec<(i64, usize)>,
    links: Vec<Link>,
}

/// The reference, its index and what alignments cost.
#[derive(Clone, Debug)]
pub struct Aligner<'a> {
    reference: Reference<'a>,
    index: Index<'a>,
    scoring: Scoring,
    weights: Weights,
}

impl<'a> Aligner<'a> {
    /// Refuses an index whose reference has another size.
    pub fn new(reference: Reference<'a>, index: Index<'a>, scoring: Scoring) -> Result<Self, Malformed> {
        if index.places() != reference.places() {
            return malformed("seed header", "the index is of another reference");
        }
        Ok(Aligner { reference, index, scoring, weights: Weights::new() })
    }

    /// Places a read, given as codes in the order sequenced.
    pub fn map_single(&self, workspace: &mut Workspace, read: &[u8]) -> ReadMapping {
        workspace.extender.cigars.clear();
        let unseen = self.place(workspace, 0, read);
        self.single(workspace, 0, unseen)
    }

    /// Places two mates, each given as codes in the order sequenced.
    pub fn map_pair(
        &self,
        workspace: &mut Workspace,
        first: &[u8],
        second: &[u8],
        model: &InsertModel,
    ) -> PairMapping {
        workspace.extender.cigars.clear();
        let unseen = [self.place(workspace, 0, first), self.place(workspace, 1, second)];
        self.rescue(workspace, unseen, model);
        let [a, b] = &workspace.placements;
        if a.is_empty() || b.is_empty() {
            return PairMapping {
                reads: [0, 1].map(|read| self.single(workspace, read, unseen[read])),
                proper: false,
            };
        }
        let sides = sides(&workspace.placements, &workspace.queries, unseen);
        pair::link(&sides, model, &mut workspace.order, &mut workspace.links);
        let salt = workspace.queries[0].salt ^ workspace.queries[1].salt.rotate_left(1);
        let Choice { at, proper, weights } =
            pair::choose(&sides, &workspace.links, self.scoring.unpaired, &self.weights, salt);
        let reads =
            [0, 1].map(|read| self.report(workspace, read, at[read], mapq(weights[read].0, weights[read].1)));
        PairMapping { reads, proper }
    }

    /// Fills the placements of one read. Returns the most that a place not looked at may score, and how many such
    /// places there may be.
    fn place(&self, workspace: &mut Workspace, read: usize, codes: &[u8]) -> (i32, f64) {
        let Workspace { queries, placements, seeding, candidates, extender, .. } = workspace;
        let (query, placements) = (&mut queries[read], &mut placements[read]);
        placements.clear();
        query.load(if codes.len() <= READ_BASES_MAX { codes } else { &[] });
        if query.len() < self.index.shape().k() as usize {
            return (0, 0.0);
        }
        seeding.seed(&self.index, query, candidates);
        extender.extend(&self.reference, &self.scoring, query, candidates, placements);
        let cost = self.scoring.matched + self.scoring.mismatch;
        let most = self.perfect(query) - cost * seeding.piercings;
        (most, UNSEEN_PRIOR + f64::from(seeding.left_out))
    }

    fn perfect(&self, query: &Query) -> i32 {
        query.len() as i32 * self.scoring.matched + 2 * self.scoring.end_bonus
    }

    /// Looks for each read near the good places of its mate, wherever finding it could change the outcome.
    fn rescue(&self, workspace: &mut Workspace, unseen: [(i32, f64); 2], model: &InsertModel) {
        let Workspace { queries, placements, seeding, candidates, extender, rescuer, order, links } =
            workspace;
        pair::link(&sides(placements, queries, unseen), model, order, links);
        let best = [0, 1].map(|read| placements[read].iter().map(|each| each.total).max().unwrap_or(0));
        let linked = links.iter().map(|link| link.total).max().unwrap_or(0);
        let top = linked.max(best[0] + best[1] - self.scoring.unpaired);
        let seeded = [0, 1].map(|read| placements[read].len());
        for read in [0, 1] {
            let mate = 1 - read;
            if queries[mate].len() < self.scoring.score_min as usize {
                continue;
            }
            let hopeful = |at: &usize| {
                placements[read][*at].total + unseen[mate].0 >= top - RESCUE_DEFICIT_MAX
                    && !links.iter().any(|link| link.at[read] == *at)
            };
            let mut from: Vec<usize> = (0..seeded[read]).filter(hopeful).collect();
            let salt = queries[read].salt;
            from.sort_by_key(|&at| (-placements[read][at].total, placements[read][at].tie(salt)));
            from.truncate(RESCUES_MAX);
            let mut loaded = None;
            for at in from {
                let placement = placements[read][at];
                let (first, last, reverse) = model.mate_borders(placement.five_prime(queries[read].len()));
                let length = queries[mate].len() as i64;
                let (before, after) = if reverse { (length, 0) } else { (0, length) };
                let (_, start, end) = self.reference.contig_at(placement.places.0);
                let low = (first - before).clamp(i64::from(start), i64::from(end)) as u32;
                let high = (last + after).clamp(i64::from(start), i64::from(end)) as u32;
                if loaded != Some(reverse) {
                    rescuer.load(&queries[mate].codes[side(reverse)]);
                    loaded = Some(reverse);
                }
                let found = rescuer.scan(&self.reference, (low, high), reverse);
                seeding.candidates_of(found, RESCUE_K, &queries[mate], candidates);
                candidates.truncate(RESCUE_CANDIDATES_MAX);
                candidates.retain(|candidate| candidate.chained >= RESCUE_CHAINED_MIN);
                extender.extend(
                    &self.reference,
                    &self.scoring,
                    &queries[mate],
                    candidates,
                    &mut placements[mate],
                );
            }
        }
    }

    /// The mapping of a read judged alone.
    fn single(&self, workspace: &Workspace, read: usize, unseen: (i32, f64)) -> ReadMapping {
        let salt = workspace.queries[read].salt;
        let placements = workspace.placements[read].iter().enumerate();
        let Some((at, _)) = placements.max_by_key(|(_, each)| (each.total, each.tie(salt))) else {
            return ReadMapping::default();
        };
        self.report(workspace, read, at, self.mapq_alone(workspace, read, at, unseen))
    }

    fn mapq_alone(&self, workspace: &Workspace, read: usize, at: usize, unseen: (i32, f64)) -> u8 {
        let (placements, length) = (&workspace.placements[read], workspace.queries[read].len());
        let chosen = &placements[at];
        let rivals =
            placements.iter().enumerate().filter(|(index, each)| *index != at && each.rivals(chosen, length));
        let others: f64 = rivals.map(|(_, each)| self.weights.of(chosen.total - each.total)).sum();
        mapq(1.0, others + unseen.1 * self.weights.of(chosen.total - unseen.0))
    }

    fn report(&self, workspace: &Workspace, read: usize, at: usize, mapq: u8) -> ReadMapping {
        let (placements, length) = (&workspace.placements[read], workspace.queries[read].len());
        let salt = workspace.queries[read].salt;
        let chosen = &placements[at];
        let hit = |placement: &Placement, mapq: u8| self.hit(workspace, placement, length, mapq);
        let mut others: Vec<usize> = (0..placements.len()).filter(|&other| other != at).collect();
        others.sort_by_key(|&other| (-placements[other].total, placements[other].tie(salt)));
        let (rivals, parts): (Vec<usize>, Vec<usize>) =
            others.into_iter().partition(|&other| placements[other].rivals(chosen, length));
        let mut supplementary: Vec<usize> = Vec::new();
        let clipped = chosen.aligned.0.max(length as u32 - chosen.aligned.1);
        for part in parts {
            let free = |&other: &usize| !placements[other].rivals(&placements[part], length);
            if clipped >= CLIP_MIN
                && supplementary.len() < SUPPLEMENTARY_MAX
                && supplementary.iter().all(free)
            {
                supplementary.push(part);
            }
        }
        let near = |&&rival: &&usize| placements[rival].score * 5 >= chosen.score * 4;
        let near: Vec<usize> = rivals.iter().filter(near).copied().collect();
        let listed = if near.len() <= ALTERNATIVES_MAX { &near[..] } else { &[] };
        ReadMapping {
            primary: Some(hit(chosen, mapq)),
            sub_score: rivals.iter().map(|&rival| placements[rival].score).max().unwrap_or(0),
            supplementary: supplementary
                .iter()
                .map(|&part| {
                    hit(&placements[part], self.mapq_alone(workspace, read, part, (0, 0.0)).min(mapq))
                })
                .collect(),
            alternatives: listed.iter().map(|&rival| hit(&placements[rival], 0)).collect(),
        }
    }

    fn hit(&self, workspace: &Workspace, placement: &Placement, length: usize, mapq: u8) -> Hit {
        let (_, start, _) = self.reference.contig_range(placement.contig);
        let operations = &workspace.extender.cigars[placement.cigar.0 as usize..placement.cigar.1 as usize];
        let clip = |bases: u32| (bases > 0).then_some(bases << 4 | CLIP);
        let clips = [clip(placement.aligned.0), clip(length as u32 - placement.aligned.1)];
        let cigar = clips[0].into_iter().chain(operations.iter().copied()).chain(clips[1]).collect();
        debug_assert!(operations.iter().all(|word| matches!(word & 15, MATCH | INSERTION | DELETION)));
        Hit {
            contig: placement.contig,
            position: placement.places.0 - start,
            reverse: placement.reverse,
            score: placement.score,
            mapq,
            cigar,
            edits: placement.edits,
        }
    }
}

fn sides<'p>(
    placements: &'p [Vec<Placement>; 2],
    queries: &[Query; 2],
    unseen: [(i32, f64); 2],
) -> [Side<'p>; 2] {
    [0, 1].map(|read| Side {
        placements: &placements[read],
        length: queries[read].len(),
        unseen: unseen[read],
    })
}
