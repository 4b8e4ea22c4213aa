//! The part of each read that lies in a window's region, and which candidates its own alignment shows.
//!
//! Invariant: a segment's bases fit into the region when they are laid along either of its two anchors; clipped bases
//! are taken along as far as they fit.

use super::allele::{Candidate, Change, left_align};
use super::read::{Operation, Placed};
use super::{CallOptions, Window};
use std::ops::Range;

/// Segments shorter than this say nothing, in bases.
const SEGMENT_BASES_MIN: usize = 12;

/// All placed reads, searchable by place.
pub(super) struct ReadIndex<'p, 'a> {
    reads: &'p [Placed<'a>],
    /// Largest end of all reads up to each one.
    ends: Vec<u32>,
}

/// One read's part in a region.
#[derive(Clone, Debug)]
pub(super) struct Segment<'a> {
    pub bases: &'a [u8],
    pub qualities: Vec<u8>,
    /// Offset in `bases` and contig position of the first aligned base.
    pub first: (u32, u32),
    /// Offset in `bases` and contig position of the last aligned base.
    pub last: (u32, u32),
    /// Contig positions that the segment covers, clipped bases not counted.
    pub covers: Range<u32>,
    /// Candidates, by ordinal bit, that the CIGAR shows.
    pub shown: u32,
    /// Candidates that the CIGAR shows or denies.
    pub known: u32,
    pub template: u32,
    pub mapq: u8,
    pub reverse: bool,
}

impl<'p, 'a> ReadIndex<'p, 'a> {
    /// Index of reads by position.
    pub fn new(reads: &'p [Placed<'a>]) -> Self {
        let running = |end: &mut u32, read: &Placed<'a>| {
            *end = read.end.max(*end);
            Some(*end)
        };
        ReadIndex { reads, ends: reads.iter().scan(0, running).collect() }
    }

    /// Usable reads that overlap the region.
    pub fn overlapping(&self, region: &Range<u32>) -> impl Iterator<Item = &'p Placed<'a>> + use<'p, 'a> {
        let Range { start, end } = *region;
        let from = self.ends.partition_point(|&reach| reach <= start);
        let near = self.reads[from..].iter().take_while(move |read| read.read.position < end);
        near.filter(move |read| read.usable && read.end > start)
    }

    /// Segments of the reads that touch `span`, ordered by template and position.
    pub fn segments(
        &self,
        region: &Range<u32>,
        span: &Range<u32>,
        candidates: &[Candidate],
        reference: &Window<'_>,
        options: &CallOptions,
    ) -> Vec<Segment<'a>> {
        let deleted = candidates.iter().map(Candidate::deleted_bases).max().unwrap_or(0);
        let cut = self.overlapping(region).filter_map(|read| {
            let mut segment = segment(read, region, deleted, options)?;
            let (before, after) = (segment.first.0, segment.bases.len() as u32 - 1 - segment.last.0);
            let reach = segment.covers.start.saturating_sub(before)..segment.covers.end.saturating_add(after);
            if reach.start >= span.end || reach.end <= span.start {
                return None;
            }
            (segment.shown, segment.known) = observe(read, candidates, reference, options);
            Some(segment)
        });
        let mut segments: Vec<Segment<'a>> = cut.collect();
        segments.sort_by_key(|segment| segment.template);
        segments
    }
}

/// The read's part in the region: all bases between its first and last aligned base there, and clipped ends as far as
/// they fit into a region that is `deleted` bases shorter.
pub(super) fn segment<'a>(
    read: &Placed<'a>,
    region: &Range<u32>,
    deleted: u32,
    options: &CallOptions,
) -> Option<Segment<'a>> {
    let mut first: Option<(u32, u32)> = None;
    let mut last = (0, 0);
    let mut clips = (0, 0);
    for step in read.steps() {
        let end = step.reference.saturating_add(step.length);
        match step.operation {
            Operation::Aligned if step.reference < region.end && end > region.start => {
                let from = step.reference.max(region.start);
                let to = end.min(region.end);
                first = first.or(Some((step.read + (from - step.reference), from)));
                last = (step.read + (to - 1 - step.reference), to - 1);
            }
            Operation::Skip if step.reference < region.end && end > region.start => return None,
            Operation::Clip if step.read == 0 => clips.0 = step.length,
            Operation::Clip => clips.1 = step.length,
            Operation::Aligned | Operation::Insertion | Operation::Deletion | Operation::Skip => {}
        }
    }
    let first = first?;
    let mut range = first.0 as usize..last.0 as usize + 1;
    if first.1 == read.read.position && first.0 == clips.0 {
        range.start -= clips.0.min((first.1 - region.start).saturating_sub(deleted)) as usize;
    }
    if last.1 + 1 == read.end && last.0 + 1 + clips.1 == read.read.sequence.len() as u32 {
        range.end += clips.1.min((region.end - 1 - last.1).saturating_sub(deleted)) as usize;
    }
    let offset = range.start as u32;
    (range.len() >= SEGMENT_BASES_MIN).then(|| Segment {
        bases: &read.read.sequence[range.clone()],
        qualities: range.map(|at| read.quality(at, options)).collect(),
        first: (first.0 - offset, first.1),
        last: (last.0 - offset, last.1),
        covers: first.1..last.1 + 1,
        shown: 0,
        known: 0,
        template: read.template,
        mapq: read.read.mapq,
        reverse: read.read.reverse,
    })
}

/// Which candidates the read's alignment shows, and which it shows or denies, as bits.
fn observe(
    read: &Placed<'_>,
    candidates: &[Candidate],
    reference: &Window<'_>,
    options: &CallOptions,
) -> (u32, u32) {
    let (mut shown, mut known) = (0, 0);
    for (bit, candidate) in candidates.iter().enumerate() {
        let spans = read.read.position <= candidate.position && read.end > candidate.reach(reference);
        known |= u32::from(candidate.is_indel() && spans) << bit;
    }
    for step in read.steps() {
        let anchor = step.reference.wrapping_sub(1);
        let bases = || read.read.sequence[step.read as usize..(step.read + step.length) as usize].to_vec();
        let indel = match step.operation {
            Operation::Aligned => {
                for (bit, candidate) in candidates.iter().enumerate() {
                    let Some(offset) = candidate.position.checked_sub(step.reference) else { continue };
                    let Change::Substitution(code) = candidate.change else { continue };
                    let at = (step.read + offset) as usize;
                    if offset < step.length && read.quality(at, options) >= options.quality_min {
                        known |= 1 << bit;
                        shown |= u32::from(read.read.sequence[at] == code) << bit;
                    }
                }
                None
            }
            Operation::Insertion if step.reference > read.read.position => {
                left_align(anchor, Change::Insertion(bases()), reference)
            }
            Operation::Deletion if step.reference > read.read.position => {
                left_align(anchor, Change::Deletion(step.length), reference)
            }
            Operation::Insertion | Operation::Deletion | Operation::Skip | Operation::Clip => None,
        };
        if let Some((position, change)) = indel {
            let same = |candidate: &Candidate| candidate.position == position && candidate.change == change;
            if let Some(bit) = candidates.iter().position(same) {
                shown |= 1 << bit;
                known |= 1 << bit;
            }
        }
    }
    (shown, known)
}
