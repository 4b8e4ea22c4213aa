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
#[cfg(test)]
mod tests;

use crate::index::Index;
use crate::insert::{FivePrime, InsertModel};
use crate::reference::{Malformed, Reference, malformed};
use crate::simd::Level;
use band::{CLIP, DELETION, INSERTION, MATCH};
use extend::{Extender, Placement};
use pair::{Choice, Link, Side};
use quality::{Weights, mapq};
use query::{Query, side};
use rescue::{RESCUE_K, Rescuer};
use seed::{Candidate, Seeding, Unseen};

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

/// What alignments cost, in units of score. Penalties are given as positive numbers, each at most 50.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scoring {
    /// An equal base; at most 12, so that scores fit 16 bits.
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
    /// Smallest score of a hit that lies where its mate says it should.
    pub rescued_score_min: i32,
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
            rescued_score_min: 20,
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
    unseen: [Unseen; 2],
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
    level: Level,
}

impl<'a> Aligner<'a> {
    /// Refuses an index whose reference has another size.
    pub fn new(reference: Reference<'a>, index: Index<'a>, scoring: Scoring) -> Result<Self, Malformed> {
        if index.places() != reference.places() {
            return malformed("seed header", "the index is of another reference");
        }
        Ok(Aligner { reference, index, scoring, weights: Weights::new(), level: Level::best() })
    }

    /// The same with other vectors, which changes no result.
    pub fn with_level(self, level: Level) -> Self {
        Aligner { level, ..self }
    }

    /// Places a read, given as codes in the order sequenced.
    pub fn map_single(&self, workspace: &mut Workspace, read: &[u8]) -> ReadMapping {
        workspace.extender.begin(self.level);
        self.place(workspace, 0, read);
        self.single(workspace, 0)
    }

    /// Places two mates, each given as codes in the order sequenced.
    pub fn map_pair(
        &self,
        workspace: &mut Workspace,
        first: &[u8],
        second: &[u8],
        model: &InsertModel,
    ) -> PairMapping {
        workspace.extender.begin(self.level);
        self.place(workspace, 0, first);
        self.place(workspace, 1, second);
        self.rescue(workspace, model);
        if workspace.placements.iter().any(Vec::is_empty) {
            return PairMapping { reads: [0, 1].map(|read| self.single(workspace, read)), proper: false };
        }
        let Workspace { queries, placements, unseen, order, links, .. } = workspace;
        let sides = [0, 1].map(|read| Side::new(&placements[read], &queries[read], &unseen[read]));
        pair::link(&sides, model, order, links);
        let salt = queries[0].salt ^ queries[1].salt.rotate_left(1);
        let Choice { at, proper, weights } = pair::choose(&sides, links, &self.scoring, &self.weights, salt);
        let reads = [0, 1].map(|read| {
            let chosen = &workspace.placements[read][at[read]];
            if !proper && chosen.score < self.scoring.score_min {
                return ReadMapping::default();
            }
            self.report(workspace, read, at[read], mapq(weights[read].0, weights[read].1, chosen.score))
        });
        PairMapping { reads, proper }
    }

    /// Fills the placements of one read.
    fn place(&self, workspace: &mut Workspace, read: usize, codes: &[u8]) {
        let Workspace { queries, placements, unseen, seeding, candidates, extender, .. } = workspace;
        let (query, placements) = (&mut queries[read], &mut placements[read]);
        query.load(if codes.len() <= READ_BASES_MAX { codes } else { &[] });
        placements.clear();
        seeding.seed(&self.index, query, candidates, &mut unseen[read]);
        let score_min = self.scoring.score_min;
        extender.extend(&self.reference, &self.scoring, score_min, query, candidates, placements);
    }

    /// The most that a place of a read may score that seeding did not find.
    fn most_unseen(&self, query: &Query, unseen: &Unseen) -> i32 {
        let cost = self.scoring.matched + self.scoring.mismatch;
        let perfect = query.len() as i32 * self.scoring.matched + 2 * self.scoring.end_bonus;
        perfect - cost * unseen.differences((0, query.len() as u32))
    }

    /// Looks for each read near the good places of its mate, wherever finding it could change the outcome.
    fn rescue(&self, workspace: &mut Workspace, model: &InsertModel) {
        let Workspace { queries, placements, unseen, order, links, .. } = workspace;
        let sides = [0, 1].map(|read| Side::new(&placements[read], &queries[read], &unseen[read]));
        pair::link(&sides, model, order, links);
        let best = sides.each_ref().map(Side::best);
        let linked = links.iter().map(|link| link.total).max().unwrap_or(0);
        let top = linked.max(best[0] + best[1] - self.scoring.unpaired);
        let starts = [0, 1].map(|read| {
            let side = &sides[read];
            let most = self.most_unseen(&queries[1 - read], &unseen[1 - read]);
            let mut alone = vec![true; side.placements.len()];
            links.iter().for_each(|link| alone[link.at[read]] = false);
            let hopeful =
                |&at: &usize| alone[at] && side.placements[at].total + most >= top - RESCUE_DEFICIT_MAX;
            let mut starts: Vec<Placement> =
                (0..alone.len()).filter(hopeful).map(|at| side.placements[at]).collect();
            starts.sort_by_key(|start| (-start.total, start.tie(queries[read].salt)));
            starts.truncate(RESCUES_MAX);
            starts
        });
        for (read, starts) in starts.iter().enumerate() {
            let mut loaded = None;
            for start in starts {
                self.look_near(workspace, start, read, model, &mut loaded);
            }
        }
    }

    /// Looks for the mate of `read` where a placement of `read` says it should be. `loaded` is the strand whose words
    /// the rescuer holds.
    fn look_near(
        &self,
        workspace: &mut Workspace,
        start: &Placement,
        read: usize,
        model: &InsertModel,
        loaded: &mut Option<bool>,
    ) {
        let Workspace { queries, placements, seeding, candidates, extender, rescuer, .. } = workspace;
        let (query, placements) = (&queries[1 - read], &mut placements[1 - read]);
        let (first, last, reverse) = model.mate_borders(start.five_prime(queries[read].len()));
        let length = query.len() as i64;
        let (before, after) = if reverse { (length, 0) } else { (0, length) };
        let (_, contig_start, contig_end) = self.reference.contig_range(start.contig);
        let place = |border: i64| border.clamp(i64::from(contig_start), i64::from(contig_end)) as u32;
        if *loaded != Some(reverse) {
            rescuer.load(&query.codes[side(reverse)]);
            *loaded = Some(reverse);
        }
        let found = rescuer.scan(&self.reference, (place(first - before), place(last + after)), reverse);
        seeding.candidates_of(found, RESCUE_K, query, candidates);
        candidates.truncate(RESCUE_CANDIDATES_MAX);
        candidates.retain(|candidate| candidate.chained >= RESCUE_CHAINED_MIN);
        let score_min = self.scoring.rescued_score_min;
        extender.extend(&self.reference, &self.scoring, score_min, query, candidates, placements);
    }

    /// The mapping of a read judged alone.
    fn single(&self, workspace: &Workspace, read: usize) -> ReadMapping {
        let salt = workspace.queries[read].salt;
        let placements = workspace.placements[read].iter().enumerate();
        let placements = placements.filter(|(_, each)| each.score >= self.scoring.score_min);
        let Some((at, _)) = placements.max_by_key(|(_, each)| (each.total, each.tie(salt))) else {
            return ReadMapping::default();
        };
        self.report(workspace, read, at, self.mapq_alone(workspace, read, at))
    }

    fn mapq_alone(&self, workspace: &Workspace, read: usize, at: usize) -> u8 {
        let side = Side::new(&workspace.placements[read], &workspace.queries[read], &workspace.unseen[read]);
        mapq(1.0, side.rivals_alone(at, &self.scoring, &self.weights), side.placements[at].score)
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
                && placements[part].score >= self.scoring.score_min
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
                .map(|&part| hit(&placements[part], self.mapq_alone(workspace, read, part).min(mapq)))
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
