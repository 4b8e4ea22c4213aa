//! Places reads on the reference: seeds, diagonals, alignment, pairing, mate rescue, mapping quality.
//!
//! Invariant: a mapping is a function of the reads, the reference, its index, the options and the insert-size model.
//! Whatever a [`Workspace`] did before cannot be seen, nor the order of reads; ties between equal places are settled by
//! a hash of the reads' bases. No hit leaves its contig or spans more than [`SPAN_EXTRA_MAX`] bases beyond the read's own.
//! Effort per read is bounded everywhere. Names, qualities and SAM flags are the caller's.
//!
//! Most reads need little: a few seeds that share no base, one comparison, and a count which proves that no other place
//! comes near ([`certain`]). What is left has its rarest seeds followed, is looked for beside a mate that is certain, and
//! only if the proof still fails are all its seeds followed; of a short read that has none in common with the reference,
//! those that it would have with one base changed. Reads are mapped in batches, so that the waits for memory overlap and
//! gapped alignments fill the lanes of vectors.

mod band;
mod certain;
mod extend;
mod pair;
mod quality;
mod query;
mod read;
mod rescue;
mod seed;
#[cfg(test)]
mod tests;

use crate::index::Index;
use crate::insert::{FivePrime, InsertModel};
use crate::reference::{Malformed, Reference, malformed};
use crate::simd::Level;
use band::{CLIP, DELETION, INSERTION, MATCH};
use certain::{Certain, MARGIN_MIN};
use extend::{Extender, Placement};
use pair::{Choice, Link, Side};
use quality::{Weights, mapq};
use read::{Read, Unrescued};
use rescue::{RESCUE_K, Rescuer};
use seed::{Candidate, Effort, Seeding};

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
const RESCUES_MAX: usize = 32;

/// Candidates of one rescue that are aligned.
const RESCUE_CANDIDATES_MAX: usize = 4;

/// Query bases that short words must cover for a rescue to go on.
const RESCUE_CHAINED_MIN: i32 = 16;

/// A pair that falls short of the best by more than this is not looked for.
const RESCUE_DEFICIT_MAX: i32 = 20;

/// What alignments cost, in units of score. Penalties are given as positive numbers, each at most 50.
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
    /// Smallest score of a hit that makes a proper pair with its mate's.
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
    /// Score of the second-best place looked at (XS), 0 if none was; where a proof cut the search short, what was not looked at
    /// scores less by more than mapping quality can tell.
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

/// Reads that are mapped together: enough that their look-ups overlap and that gapped alignments fill all lanes, few
/// enough to stay in the nearest caches.
const BATCH_READS: usize = 512;

/// Scratch of one thread.
#[derive(Clone, Debug, Default)]
pub struct Workspace {
    reads: Vec<Read>,
    scratch: Scratch,
}

/// What the steps share.
#[derive(Clone, Debug, Default)]
struct Scratch {
    certain: Certain,
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

    /// Places reads, each given as codes in the order sequenced.
    pub fn map_singles(&self, workspace: &mut Workspace, reads: &[&[u8]]) -> Vec<ReadMapping> {
        let mut mappings = Vec::with_capacity(reads.len());
        for batch in reads.chunks(BATCH_READS) {
            let uncertain = self.begin(workspace, batch);
            let Workspace { reads, scratch } = &mut *workspace;
            self.place(scratch, reads, &uncertain, Effort::All);
            mappings.extend(reads.iter().map(|read| self.single(scratch, read)));
        }
        mappings
    }

    /// Places pairs of mates, each read given as codes in the order sequenced.
    pub fn map_pairs(
        &self,
        workspace: &mut Workspace,
        pairs: &[[&[u8]; 2]],
        model: &InsertModel,
    ) -> Vec<PairMapping> {
        let mut mappings = Vec::with_capacity(pairs.len());
        for batch in pairs.chunks(BATCH_READS / 2) {
            let uncertain = self.begin(workspace, batch.as_flattened());
            let Workspace { reads, scratch } = &mut *workspace;
            self.look_beside(scratch, reads, &uncertain, model);
            let open: Vec<usize> =
                (0..reads.len()).filter(|&at| !self.is_settled(scratch, reads, at, model)).collect();
            self.place(scratch, reads, &open, Effort::All);
            // Together with its mate's even a faint place says something.
            let faint = open.iter().copied().filter(|&at| reads[at].placements.is_empty()).collect();
            self.settle(&mut scratch.extender, self.scoring.rescued_score_min, reads, faint);
            self.rescue(scratch, reads, &open, model);
            mappings.extend(reads.chunks(2).map(|pair| self.pair(scratch, pair, model)));
        }
        mappings
    }

    /// Takes a batch of reads and places those that can be placed with little effort; returns those for which it is not
    /// proved that no other place comes near.
    fn begin(&self, workspace: &mut Workspace, batch: &[&[u8]]) -> Vec<usize> {
        let Workspace { reads, scratch } = workspace;
        reads.resize_with(batch.len(), Read::default);
        scratch.extender.cigars.clear();
        for (read, codes) in reads.iter_mut().zip(batch) {
            read.load(if codes.len() <= READ_BASES_MAX { codes } else { &[] }, &self.index, self.level);
        }
        reads.iter_mut().for_each(|read| read.look_up_apart(&self.index));
        let Scratch { certain, extender, .. } = scratch;
        certain.place(&self.index, &self.reference, &self.scoring, extender, reads);
        let mut uncertain: Vec<usize> = (0..reads.len()).filter(|&at| !reads[at].is_certain).collect();
        self.place(scratch, reads, &uncertain, Effort::Apart);
        uncertain.retain(|&at| {
            reads[at].is_certain = reads[at].is_proved(&self.scoring);
            !reads[at].is_certain
        });
        uncertain
    }

    /// Looks for uncertain reads beside the place of a mate that is certain.
    fn look_beside(
        &self,
        scratch: &mut Scratch,
        reads: &mut [Read],
        uncertain: &[usize],
        model: &InsertModel,
    ) {
        let mut found = Vec::new();
        for &at in uncertain {
            if !reads[at ^ 1].is_certain {
                continue;
            }
            let pair = &mut reads[at & !1..][..2];
            let mate = &pair[1 - at % 2];
            let Some(best) = mate.best_placement().map(|best| mate.placements[best]) else { continue };
            pair[at % 2].trials.clear();
            self.look_near(scratch, &best, pair, 1 - at % 2, model, &mut None);
            found.push(at);
        }
        self.settle(&mut scratch.extender, self.scoring.rescued_score_min, reads, found);
    }

    /// Whether no place of a read that was not looked at could make a better pair than the best one at hand. Beside the
    /// best place of a mate that is certain it was looked for.
    fn is_settled(&self, scratch: &mut Scratch, reads: &[Read], at: usize, model: &InsertModel) -> bool {
        let (pair, read, mate) = (&reads[at & !1..][..2], &reads[at], &reads[at ^ 1]);
        let Scratch { order, links, .. } = scratch;
        pair::link(&[Side::new(&pair[0]), Side::new(&pair[1])], model, &self.scoring, order, links);
        let linked = links.iter().map(|link| link.total - link.bonus).max();
        let with_mate = match read.is_certain {
            true => mate.best(),
            // Beside the mate's other places nobody looked.
            false if mate.is_certain => (mate.best() - self.scoring.unpaired)
                .max(mate.runner_up())
                .max(mate.most_unseen(&self.scoring)),
            false => return false,
        };
        linked.is_some_and(|linked| linked >= read.most_unseen(&self.scoring) + with_mate + MARGIN_MIN)
    }

    /// Fills the placements of the named reads by their seeds.
    fn place(&self, scratch: &mut Scratch, reads: &mut [Read], which: &[usize], effort: Effort) {
        let Scratch { seeding, candidates, extender, .. } = scratch;
        which.iter().for_each(|&at| reads[at].find_seeds(&self.index, self.level));
        which.iter().for_each(|&at| reads[at].look_up(&self.index));
        for &at in which {
            let read = &mut reads[at];
            read.placements.clear();
            read.is_certain = false;
            seeding.seed(&self.index, read, effort, candidates);
            if candidates.is_empty() && effort == Effort::All {
                seeding.probe(self.level, &self.index, read, candidates);
            }
            read.trials.clear();
            extender.try_without_gaps(&self.reference, &self.scoring, read, candidates);
        }
        self.settle(extender, self.scoring.score_min, reads, which.to_vec());
    }

    fn settle(&self, extender: &mut Extender, score_min: i32, reads: &mut [Read], which: Vec<usize>) {
        extender.settle(&self.reference, &self.scoring, self.level, score_min, reads, which);
    }

    /// Looks for each read near the good places of its mate, wherever finding it could change the outcome.
    fn rescue(&self, scratch: &mut Scratch, reads: &mut [Read], open: &[usize], model: &InsertModel) {
        let mut found = Vec::new();
        for pairs in open.chunk_by(|a, b| a / 2 == b / 2) {
            let first = pairs[0] & !1;
            let pair = &mut reads[first..first + 2];
            for (read, (starts, unrescued)) in self.starts(scratch, pair, model).iter().enumerate() {
                pair[1 - read].unrescued = *unrescued;
                pair[1 - read].trials.clear();
                let mut loaded = None;
                for start in starts {
                    self.look_near(scratch, start, pair, read, model, &mut loaded);
                }
                if !starts.is_empty() {
                    found.push(first + 1 - read);
                }
            }
        }
        self.settle(&mut scratch.extender, self.scoring.rescued_score_min, reads, found);
    }

    /// The places of each read from which its mate is looked for, and what there are beyond these: where nothing was
    /// found of the mate, or only something that no gapped alignment was made of, and where it could matter.
    fn starts(
        &self,
        scratch: &mut Scratch,
        pair: &[Read],
        model: &InsertModel,
    ) -> [(Vec<Placement>, Unrescued); 2] {
        let Scratch { order, links, .. } = scratch;
        let sides = [Side::new(&pair[0]), Side::new(&pair[1])];
        pair::link(&sides, model, &self.scoring, order, links);
        let best = sides.each_ref().map(Side::best);
        let linked = links.iter().map(|link| link.total).max().unwrap_or(0);
        let top = linked.max(best[0] + best[1] - self.scoring.unpaired);
        [0, 1].map(|read| {
            let (side, mate) = (&sides[read], &pair[1 - read]);
            let most = mate.most_unseen(&self.scoring);
            // What the mate scores beside each place, as far as is known, and what it could.
            let mut beside: Vec<Option<(i32, i32)>> = vec![None; side.placements.len()];
            for link in &*links {
                let found = &mate.placements[link.at[1 - read]];
                let (known, possible) = beside[link.at[read]].get_or_insert_default();
                (*known, *possible) = (found.total.max(*known), found.hope.max(*possible));
            }
            let starts = side.placements.iter().zip(beside).filter_map(|(start, beside)| match beside {
                None => Some((start.total + most, start)),
                // A hope is less than a chance: it has to win.
                Some((known, possible)) => {
                    (possible > known).then_some((start.total + possible - RESCUE_DEFICIT_MAX, start))
                }
            });
            let mut starts: Vec<(i32, &Placement)> =
                starts.filter(|(total, _)| *total >= top - RESCUE_DEFICIT_MAX).collect();
            starts.sort_by_key(|(total, start)| (-total, start.tie(pair[read].query.salt)));
            let beyond = starts.get(RESCUES_MAX..).unwrap_or_default();
            let unrescued = Unrescued {
                places: beyond.len() as u32,
                total: beyond.first().map_or(0, |(total, _)| *total),
            };
            (starts.iter().take(RESCUES_MAX).map(|(_, start)| **start).collect(), unrescued)
        })
    }

    /// Puts under trial the mate of `read` where a placement of `read` says it should be. `loaded` is the strand whose
    /// words the rescuer holds.
    fn look_near(
        &self,
        scratch: &mut Scratch,
        start: &Placement,
        pair: &mut [Read],
        read: usize,
        model: &InsertModel,
        loaded: &mut Option<bool>,
    ) {
        let Scratch { seeding, candidates, extender, rescuer, .. } = scratch;
        let (first, last, reverse) = model.mate_borders(start.five_prime(pair[read].query.len()));
        let read = &mut pair[1 - read];
        let query = &read.query;
        let length = query.len() as i64;
        let (before, after) = if reverse { (length, 0) } else { (0, length) };
        let (_, contig_start, contig_end) = self.reference.contig_range(start.contig);
        let place = |border: i64| border.clamp(i64::from(contig_start), i64::from(contig_end)) as u32;
        if *loaded != Some(reverse) {
            rescuer.load(query.codes(reverse));
            *loaded = Some(reverse);
        }
        let found = rescuer.scan(&self.reference, (place(first - before), place(last + after)), reverse);
        seeding.candidates_of(found, RESCUE_K, query, candidates);
        candidates.truncate(RESCUE_CANDIDATES_MAX);
        candidates.retain(|candidate| candidate.chained >= RESCUE_CHAINED_MIN);
        extender.try_without_gaps(&self.reference, &self.scoring, read, candidates);
    }

    /// The mapping of two mates.
    fn pair(&self, scratch: &mut Scratch, pair: &[Read], model: &InsertModel) -> PairMapping {
        let apart = |scratch: &Scratch| PairMapping {
            reads: [0, 1].map(|read| self.single(scratch, &pair[read])),
            proper: false,
        };
        if pair.iter().any(|read| read.placements.is_empty()) {
            return apart(scratch);
        }
        let Scratch { order, links, .. } = &mut *scratch;
        let sides = [Side::new(&pair[0]), Side::new(&pair[1])];
        pair::link(&sides, model, &self.scoring, order, links);
        let salt = pair[0].query.salt ^ pair[1].query.salt.rotate_left(1);
        let Choice { at, proper, weights } = pair::choose(&sides, links, &self.scoring, &self.weights, salt);
        let score = |read: usize| pair[read].placements[at[read]].score;
        // A place that is not reported says nothing of the mate's.
        if !proper && score(0).min(score(1)) < self.scoring.score_min {
            return apart(scratch);
        }
        let reads = [0, 1].map(|read| {
            let mapq = mapq(weights[read].0, weights[read].1, score(read));
            self.report(scratch, &pair[read], at[read], mapq)
        });
        PairMapping { reads, proper }
    }

    /// The mapping of a read judged alone.
    fn single(&self, scratch: &Scratch, read: &Read) -> ReadMapping {
        let salt = read.query.salt;
        let placements = read.placements.iter().enumerate();
        let placements = placements.filter(|(_, each)| each.score >= self.scoring.score_min);
        let Some((at, _)) = placements.max_by_key(|(_, each)| (each.total, each.tie(salt))) else {
            return ReadMapping::default();
        };
        self.report(scratch, read, at, self.mapq_alone(read, at))
    }

    fn mapq_alone(&self, read: &Read, at: usize) -> u8 {
        let side = Side::new(read);
        mapq(1.0, side.rivals_alone(at, &self.scoring, &self.weights), side.placements[at].score)
    }

    fn report(&self, scratch: &Scratch, read: &Read, at: usize, mapq: u8) -> ReadMapping {
        let (placements, length, salt) = (&read.placements, read.query.len(), read.query.salt);
        let chosen = &placements[at];
        let hit =
            |placement: &Placement, mapq: u8| self.hit(&scratch.extender.cigars, placement, length, mapq);
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
                .map(|&part| hit(&placements[part], self.mapq_alone(read, part).min(mapq)))
                .collect(),
            alternatives: listed.iter().map(|&rival| hit(&placements[rival], 0)).collect(),
        }
    }

    fn hit(&self, cigars: &[u32], placement: &Placement, length: usize, mapq: u8) -> Hit {
        let (_, start, _) = self.reference.contig_range(placement.contig);
        let operations = &cigars[placement.cigar.0 as usize..placement.cigar.1 as usize];
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
