//! What the aligned reads say base by base: counts and qualities per base, indels as aligned, clipped ends.
//!
//! Invariant: bases that two mates share are counted once; low mapping or base quality only marks a base as seen.

use super::allele::{Candidate, Change, left_align};
use super::read::{Operation, Placed};
use super::{CallOptions, Window};
use std::ops::Range;

/// A candidate is named by at least this many reads.
const SUPPORT_MIN: u32 = 2;
/// One read in so many must show an indel for it to become a candidate: of one base, which sequencing often adds or
/// loses in homopolymers, and of more, which few reads show when they lie in long repeats.
const SINGLE_BASE_SHARE: u32 = 10;
const INDEL_SHARE: u32 = 20;
/// Longer indels are left to structural variant calling, in bases; windows stay within the halo.
const INDEL_BASES_MAX: u32 = 256;
/// Phred by which het may lose against hom-ref at a base and still be looked at.
const SUBSTITUTION_SLACK_PHRED: i64 = 10;
/// Clips shorter than this are not evidence, in bases.
const CLIP_BASES_MIN: u32 = 8;
/// Clips of lower mean quality are not evidence, phred.
const CLIP_QUALITY_MIN: u64 = 20;
/// Clipped ends this close together speak of the same breakpoint, in bases.
const CLIP_SPREAD: u32 = 8;
/// Fewest clipped ends that are worth an assembly, and their share of the depth.
const CLIPS_MIN: usize = 3;
const CLIP_SHARE: u32 = 10;

/// Usable bases over one reference base, by base code.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Column {
    pub counts: [u32; 4],
    /// Sums of phred qualities.
    pub qualities: [u32; 4],
}

impl Column {
    /// All usable bases.
    pub fn depth(&self) -> u32 {
        self.counts.iter().sum()
    }
}

/// The evidence over one stretch.
#[derive(Default)]
pub(super) struct Evidence {
    start: u32,
    columns: Vec<Column>,
    /// Whether any read, usable or not, has a base here.
    seen: Vec<bool>,
    /// Indels as aligned, with the template that shows them.
    indels: Vec<(u32, Change, u32)>,
    clips: Vec<u32>,
}

impl Evidence {
    /// Replaces the evidence by that of `reads` over `range`.
    pub fn gather(
        &mut self,
        range: Range<u32>,
        reference: &Window<'_>,
        reads: &[Placed<'_>],
        options: &CallOptions,
    ) {
        let bases = range.end.saturating_sub(range.start) as usize;
        self.start = range.start;
        self.columns.clear();
        self.columns.resize(bases, Column::default());
        self.seen.clear();
        self.seen.resize(bases, false);
        self.indels.clear();
        self.clips.clear();
        for read in reads {
            self.add(read, reference, options);
        }
        self.indels.sort_unstable();
        self.indels.dedup();
        self.clips.sort_unstable();
    }

    /// Usable bases over a position of the gathered range.
    pub fn column(&self, position: u32) -> &Column {
        &self.columns[(position - self.start) as usize]
    }

    /// Whether any read has a base at a position of the gathered range.
    pub fn seen(&self, position: u32) -> bool {
        self.seen[(position - self.start) as usize]
    }

    fn depth_at(&self, position: u32) -> u32 {
        let at = position.checked_sub(self.start);
        at.and_then(|at| self.columns.get(at as usize)).map_or(0, Column::depth)
    }

    fn add(&mut self, read: &Placed<'_>, reference: &Window<'_>, options: &CallOptions) {
        let read_bases = read.read.sequence.len() as u32;
        for step in read.steps() {
            let inner = step.read > 0 && step.read < read_bases && step.reference > read.read.position;
            let shows = inner && read.usable && step.length <= INDEL_BASES_MAX;
            let anchor = step.reference.wrapping_sub(1);
            match step.operation {
                Operation::Aligned => self.add_bases(read, step.reference, step.read, step.length, options),
                Operation::Insertion if shows => {
                    let bases = &read.read.sequence[step.read as usize..(step.read + step.length) as usize];
                    if bases.iter().all(|&code| code < 4) {
                        self.add_indel(anchor, Change::Insertion(bases.to_vec()), reference, read.template);
                    }
                }
                Operation::Deletion if shows => {
                    self.add_indel(anchor, Change::Deletion(step.length), reference, read.template);
                }
                Operation::Clip if read.usable && step.length >= CLIP_BASES_MIN => {
                    let clipped = step.read as usize..(step.read + step.length) as usize;
                    let quality: u64 = clipped.map(|at| u64::from(read.quality(at, options))).sum();
                    if quality >= CLIP_QUALITY_MIN * u64::from(step.length) {
                        self.clips.push(step.reference);
                    }
                }
                Operation::Insertion | Operation::Deletion | Operation::Clip | Operation::Skip => {}
            }
        }
    }

    /// Both mates may show an indel; it counts once a template.
    fn add_indel(&mut self, anchor: u32, change: Change, reference: &Window<'_>, template: u32) {
        let aligned = left_align(anchor, change, reference);
        self.indels.extend(aligned.map(|(position, change)| (position, change, template)));
    }

    /// Adds one aligned run. One addition each to two small arrays a base; the pass over all bases of all reads.
    fn add_bases(&mut self, read: &Placed<'_>, reference: u32, at: u32, length: u32, options: &CallOptions) {
        let end = reference.saturating_add(length).min(self.start + self.columns.len() as u32);
        let first = reference.max(self.start);
        if first >= end {
            return;
        }
        let (from, to) = ((first - self.start) as usize, (end - self.start) as usize);
        self.seen[from..to].fill(true);
        let first = first.max(read.counted_from);
        if !read.usable || first >= end {
            return;
        }
        let columns = &mut self.columns[(first - self.start) as usize..to];
        let skip = (at + (first - reference)) as usize;
        let sequence = &read.read.sequence[skip..skip + columns.len()];
        for (offset, (column, &code)) in columns.iter_mut().zip(sequence).enumerate() {
            let quality = read.quality(skip + offset, options).min(read.read.mapq);
            if code < 4 && quality >= options.quality_min {
                column.counts[code as usize] += 1;
                column.qualities[code as usize] += u32::from(quality);
            }
        }
    }

    /// The changes worth a look, by position.
    pub fn candidates(&self, reference: &Window<'_>) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        for (at, column) in self.columns.iter().enumerate() {
            let position = self.start + at as u32;
            let base = reference.base(position);
            let depth = column.depth();
            if base < 4 && column.counts[base as usize] + 1 < depth {
                let codes = (0..4u8).filter(|&code| code != base && is_candidate(column, code, depth));
                candidates.extend(codes.map(|code| Candidate {
                    position,
                    change: Change::Substitution(code),
                    support: column.counts[code as usize],
                }));
            }
        }
        for same in self.indels.chunk_by(|a, b| (a.0, &a.1) == (b.0, &b.1)) {
            let support = same.len() as u32;
            let (position, change, _) = &same[0];
            let candidate = Candidate { position: *position, change: change.clone(), support };
            let share = if candidate.indel_bases() == 1 { SINGLE_BASE_SHARE } else { INDEL_SHARE };
            if support >= SUPPORT_MIN && support.saturating_mul(share) >= self.depth_at(*position) {
                candidates.push(candidate);
            }
        }
        candidates.sort_unstable_by(|a, b| (a.position, &a.change).cmp(&(b.position, &b.change)));
        candidates
    }

    /// Places where several reads are clipped, by position.
    pub fn clip_sites(&self) -> Vec<u32> {
        let near = self.clips.chunk_by(|a, b| b - a <= CLIP_SPREAD);
        let dense = near.filter(|near| {
            let middle = near[near.len() / 2];
            let depth = self.depth_at(middle).max(self.depth_at(middle.saturating_sub(CLIP_SPREAD)));
            near.len() >= CLIPS_MIN && near.len() as u32 * CLIP_SHARE >= depth
        });
        dense.map(|near| near[near.len() / 2]).collect()
    }
}

/// Whether het with this base is not hopeless against hom-ref: each of its reads speaks for it by its quality, each
/// read over the base costs half.
fn is_candidate(column: &Column, code: u8, depth: u32) -> bool {
    let (count, quality) = (column.counts[code as usize], column.qualities[code as usize]);
    count >= SUPPORT_MIN && i64::from(quality) + SUBSTITUTION_SLACK_PHRED >= 3 * i64::from(depth)
}
