//! Depth of coverage: over a cell, then as histograms by class of contig, and as means along the genome.
//!
//! Two depths are kept. `all` is what `samtools depth` gives by default: neither unmapped, secondary, QC-failed nor
//! duplicate, every aligned base. `usable` is GA4GH's coverage as its reference implementation counts it (Picard
//! CollectWgsMetrics): MAPQ and base quality 20 or more, no base called N, no read whose mate is unmapped, and each
//! template once where its alignments overlap.
//! Invariant: each base of the genome belongs to one cell and is counted there only; memory is that of one cell.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;

use jobs::genome::Interval;
use serde::{Deserialize, Serialize};

use super::contig_class::ContigClass;
use super::histogram::Histogram;
use crate::hashed::HashedMap;
use crate::record::{Record, cigar, flag};
use crate::template::name_hash;

/// Depths told apart; deeper bases are counted in the last (their depth still enters the mean).
pub const DEPTH_MAX: usize = 2000;

/// Smallest MAPQ and base quality of usable depth.
pub const USABLE_QUALITY_MIN: u8 = 20;

/// Depths counted in tables of their own; deeper bases are few.
const COMMON: usize = 256;

/// Bases looked at together: mostly all of them are known, and none, or all, are covered.
const BLOCK_BASES: usize = 32;

/// Alignments remembered, before those already passed are dropped.
const WAITING_MIN: usize = 4096;

/// Depth at every base of one cell. Feed it, in coordinate order, every record of the sample that overlaps the cell:
/// also those that start in the cell before.
#[derive(Debug)]
pub struct CellDepth {
    interval: Interval,
    /// By how much `all` rises at each base. As `usable`, empty before the first record.
    steps: Vec<i32>,
    /// Saturates; no count is wrong below 65,535.
    usable: Vec<u16>,
    excluded: Excluded,
    /// Aligned bases of reads that are usable, whatever the quality of the base.
    offered: u64,
    waiting: HashedMap<Counted>,
    waiting_max: usize,
    /// Length of the longest alignment that waited.
    waiting_span: u32,
    mask: Vec<u8>,
}

/// Aligned bases that are no usable depth, each by the first reason that holds, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excluded {
    /// In reads of MAPQ below 20.
    pub mapq: u64,
    /// In duplicates.
    pub duplicate: u64,
    /// In reads of pairs whose mate is unmapped.
    pub mate_unmapped: u64,
    /// Of quality below 20, or N.
    pub base: u64,
    /// Counted already in another alignment of the template.
    pub overlap: u64,
}

/// What earlier alignments of a template already counted.
#[derive(Debug)]
struct Counted {
    start: u32,
    mask: Box<[u8]>,
}

/// A run of aligned bases within the cell.
struct Run {
    /// From the cell's start.
    at: usize,
    /// Of the read.
    from: usize,
    bases: usize,
}

impl CellDepth {
    /// Depth 0 everywhere.
    pub fn new(interval: Interval) -> Self {
        CellDepth {
            interval,
            steps: Vec::new(),
            usable: Vec::new(),
            excluded: Excluded::default(),
            offered: 0,
            waiting: HashedMap::default(),
            waiting_max: WAITING_MIN,
            waiting_span: 0,
            mask: Vec::new(),
        }
    }

    /// Adds the bases of a record that lie in the cell; a record elsewhere adds nothing.
    pub fn add(&mut self, record: &Record<'_>) {
        const SKIPPED: u16 = flag::UNMAPPED | flag::SECONDARY | flag::QC_FAIL;
        let (flags, position) = (record.flag(), record.position());
        if flags & SKIPPED != 0
            || i64::from(record.contig()) != i64::from(self.interval.contig)
            || position < 0
        {
            return;
        }
        let start = position as u32;
        let end = start.saturating_add(record.reference_bases()).min(self.interval.end);
        if start >= end || end <= self.interval.start {
            return;
        }
        if self.usable.is_empty() {
            self.make_room();
        }
        let bases = runs(record, self.interval).map(|run| run.bases as u64).sum::<u64>();
        let duplicate = flags & flag::DUPLICATE != 0;
        if !duplicate {
            for run in runs(record, self.interval) {
                self.steps[run.at] += 1;
                self.steps[run.at + run.bases] -= 1;
            }
        }
        if record.mapq() < USABLE_QUALITY_MIN {
            self.excluded.mapq += bases;
        } else if duplicate {
            self.excluded.duplicate += bases;
        } else if flags & (flag::PAIRED | flag::MATE_UNMAPPED) == flag::PAIRED | flag::MATE_UNMAPPED {
            self.excluded.mate_unmapped += bases;
        } else {
            self.offered += bases;
            self.add_usable(record, start, end);
        }
    }

    /// Depth of `all` reads by base.
    pub fn all(&self) -> Vec<u32> {
        let mut depth = 0;
        let rise = |&step: &i32| {
            depth += step;
            depth as u32
        };
        let mut all: Vec<u32> = self.steps.iter().map(rise).collect();
        all.resize(self.interval.bases() as usize, 0);
        all
    }

    /// Depth of usable bases by base.
    pub fn usable(&self) -> Vec<u16> {
        let mut usable = self.usable.clone();
        usable.resize(self.interval.bases() as usize, 0);
        usable
    }

    fn make_room(&mut self) {
        let bases = self.interval.bases() as usize;
        self.steps.resize(bases + 1, 0);
        self.usable.resize(bases, 0);
    }

    fn add_usable(&mut self, record: &Record<'_>, start: u32, end: u32) {
        let (met, will_meet) = meetings(record, start..end, self.waiting_span);
        let named = are_named(record.packed_sequence());
        let qualities = record.qualities();
        if !met && !will_meet && named {
            for run in runs(record, self.interval) {
                let depths = &mut self.usable[run.at..run.at + run.bases];
                for (depth, &quality) in depths.iter_mut().zip(qualities.get(run.from..).unwrap_or(&[])) {
                    *depth = depth.saturating_add(u16::from(quality >= USABLE_QUALITY_MIN));
                }
            }
            return;
        }
        self.mark(record, start, end);
        if !named {
            self.unmark_unnamed(record, start, end);
        }
        let name = name_hash(record.name());
        let earlier = if met { self.waiting.remove(&name) } else { None };
        if let Some(earlier) = &earlier {
            let counted = earlier.mask.get((start - earlier.start) as usize..).unwrap_or(&[]);
            let shared = counted.len().min(self.mask.len());
            let (mask, counted) = (&mut self.mask[..shared], &counted[..shared]);
            let before = (self.interval.start.saturating_sub(start) as usize).min(shared);
            let both = mask[before..].iter().zip(&counted[before..]);
            self.excluded.overlap += both.map(|(&mask, &counted)| u64::from(mask & counted)).sum::<u64>();
            mask.iter_mut().zip(counted).for_each(|(mask, &counted)| *mask &= 1 - counted);
        }
        let from = start.max(self.interval.start);
        let depths = &mut self.usable[(from - self.interval.start) as usize..];
        let mask = &self.mask[(from - start) as usize..];
        depths.iter_mut().zip(mask).for_each(|(depth, &counts)| {
            *depth = depth.saturating_add(u16::from(counts));
        });
        if will_meet {
            self.remember(name, start, earlier);
        }
    }

    /// Marks the bases of sufficient quality in the mask, which begins where the record does.
    fn mark(&mut self, record: &Record<'_>, start: u32, end: u32) {
        self.mask.clear();
        self.mask.resize((end - start) as usize, 0);
        for run in runs(record, Interval { start, end, ..self.interval }) {
            let qualities = record.qualities().get(run.from..).unwrap_or(&[]);
            let mask = &mut self.mask[run.at..run.at + run.bases];
            mask.iter_mut().zip(qualities).for_each(|(mask, &quality)| {
                *mask = u8::from(quality >= USABLE_QUALITY_MIN);
            });
        }
    }

    /// Takes the mark from bases called N.
    fn unmark_unnamed(&mut self, record: &Record<'_>, start: u32, end: u32) {
        let packed = record.packed_sequence();
        let unnamed =
            |at: usize| packed.get(at / 2).is_some_and(|pair| pair >> (4 * (1 - at % 2)) & 15 == 15);
        for run in runs(record, Interval { start, end, ..self.interval }) {
            let mask = self.mask[run.at..run.at + run.bases].iter_mut().zip(run.from..);
            mask.filter(|(_, at)| unnamed(*at)).for_each(|(mask, _)| *mask = 0);
        }
    }

    /// Keeps what is counted of a template from `start` on, with what was `earlier`.
    fn remember(&mut self, name: u64, start: u32, earlier: Option<Counted>) {
        if self.waiting.len() >= self.waiting_max {
            self.waiting.retain(|_, earlier| earlier.start as usize + earlier.mask.len() > start as usize);
            self.waiting_max = (2 * self.waiting.len()).max(WAITING_MIN);
        }
        if let Some(earlier) = earlier {
            let counted = earlier.mask.get((start - earlier.start) as usize..).unwrap_or(&[]);
            self.mask.resize(self.mask.len().max(counted.len()), 0);
            self.mask.iter_mut().zip(counted).for_each(|(mask, &counted)| *mask |= counted);
        }
        self.waiting_span = self.waiting_span.max(self.mask.len() as u32);
        self.waiting.insert(name, Counted { start, mask: self.mask.as_slice().into() });
    }
}

/// Whether none of the bases, two to a byte, is N, the one that has all bits.
fn are_named(packed: &[u8]) -> bool {
    const ONES: u64 = 0x1111_1111_1111_1111;
    let unnamed = |bases: u64| bases & bases >> 1 & bases >> 2 & bases >> 3 & ONES;
    let (eights, rest) = packed.as_chunks();
    let found = eights.iter().fold(0, |found, &eight| found | unnamed(u64::from_le_bytes(eight)));
    rest.iter().fold(found, |found, &pair| found | unnamed(pair.into())) == 0
}

/// The runs of aligned bases of a record that lie in `interval`.
fn runs(record: &Record<'_>, interval: Interval) -> impl Iterator<Item = Run> {
    let (mut read, mut position) = (0usize, u64::from(record.position().max(0) as u32));
    record.cigar().filter_map(move |packed| {
        let length = packed >> 4;
        let (from, start) = (read, position);
        read += if cigar::consumes_read(packed) { length as usize } else { 0 };
        position += if cigar::consumes_reference(packed) { u64::from(length) } else { 0 };
        let first = start.max(u64::from(interval.start));
        let end = position.min(u64::from(interval.end));
        (matches!(packed & 15, 0 | 7 | 8) && first < end).then(|| Run {
            at: (first - u64::from(interval.start)) as usize,
            from: from + (first - start) as usize,
            bases: (end - first) as usize,
        })
    })
}

/// Whether alignments of the record's template that came before may cover some of its bases, no longer than `span`;
/// and whether some that will come may. A part of a chimeric read may meet any; of others only the mate is looked at.
fn meetings(record: &Record<'_>, covered: Range<u32>, span: u32) -> (bool, bool) {
    let flags = record.flag();
    let clipped = |packed: Option<u32>| packed.is_some_and(|packed| matches!(packed & 15, 4 | 5));
    let (first, last) = (record.cigar().next(), record.cigar().next_back());
    if flags & flag::SUPPLEMENTARY != 0 || (clipped(first) || clipped(last)) && record.tag(b"SA").is_some() {
        return (true, true);
    }
    let together = flags & (flag::PAIRED | flag::MATE_UNMAPPED) == flag::PAIRED
        && record.mate_contig() == record.contig();
    match u32::try_from(record.mate_position()) {
        Ok(mate) if together => {
            let met = covered.start.checked_sub(mate).is_some_and(|apart| apart < span);
            (met, covered.contains(&mate))
        }
        _ => (false, false),
    }
}

/// Depths over a set of bases.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepthCounters {
    /// Number of bases by depth.
    pub histogram: Histogram,
    /// Sum of all depths.
    pub sum: u64,
}

/// Bases and depth of a stretch of reference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    /// Known reference bases.
    pub bases: u64,
    /// Sum of their depths.
    pub depth_sum: u64,
}

/// Both depths over the contigs of one class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassDepth {
    /// As `samtools depth`.
    pub all: DepthCounters,
    /// GA4GH's coverage.
    pub usable: DepthCounters,
    /// What is not usable.
    pub excluded: Excluded,
}

/// Coverage of one sample or any part of it, over bases that are not N.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoverageCounters {
    /// Length of a window along the genome in bases.
    pub window_bases: u32,
    /// Depth by class of contig.
    pub classes: BTreeMap<ContigClass, ClassDepth>,
    /// Usable depth by contig id and window, counted from the contig's start.
    pub windows: BTreeMap<u32, BTreeMap<u32, Stretch>>,
}

impl CoverageCounters {
    /// Nothing counted yet. The window follows from the reference's length in bases, so that any genome gives at most
    /// about 8,000 windows: 16,384 bases for 100 Mb, 524,288 for a human genome.
    pub fn new(genome_bases: u64) -> Self {
        const WINDOW_BASES_MIN: u64 = 1 << 14;
        const WINDOWS_MAX: u64 = 1 << 13;
        let window = genome_bases.div_ceil(WINDOWS_MAX).next_power_of_two().max(WINDOW_BASES_MIN);
        CoverageCounters {
            window_bases: u32::try_from(window).unwrap_or(1 << 31),
            classes: BTreeMap::new(),
            windows: BTreeMap::new(),
        }
    }

    /// Adds one cell; `reference` holds its bases as codes 0 to 4, as many as the cell has.
    pub fn add_cell(&mut self, class: ContigClass, depth: &CellDepth, reference: &[u8]) {
        let counters = self.classes.entry(class).or_default();
        let known = known_stretches(reference);
        counters.all.add_rising(&depth.steps, &known);
        counters.usable.add(&depth.usable, &known);
        let counted = sum(&depth.usable);
        let excluded = Excluded {
            base: depth.offered.saturating_sub(counted + depth.excluded.overlap),
            ..depth.excluded
        };
        counters.excluded.merge(&excluded);
        self.add_windows(depth, &known);
    }

    /// Adds all counts of another part of the same sample. Both must come from the same reference.
    pub fn merge(&mut self, other: &Self) {
        debug_assert_eq!(self.window_bases, other.window_bases);
        for (&class, theirs) in &other.classes {
            let mine = self.classes.entry(class).or_default();
            mine.all.merge(&theirs.all);
            mine.usable.merge(&theirs.usable);
            mine.excluded.merge(&theirs.excluded);
        }
        for (&contig, theirs) in &other.windows {
            let mine = self.windows.entry(contig).or_default();
            theirs.iter().for_each(|(&index, window)| mine.entry(index).or_default().merge(window));
        }
    }

    /// Both depths of a class; none where no cell of it was added.
    pub fn class(&self, class: ContigClass) -> Option<&ClassDepth> {
        self.classes.get(&class)
    }

    /// Sums of one contig's windows.
    pub fn contig(&self, contig: u32) -> Stretch {
        let mut sum = Stretch::default();
        self.windows.get(&contig).into_iter().flatten().for_each(|(_, window)| sum.merge(window));
        sum
    }

    fn add_windows(&mut self, depth: &CellDepth, known: &[Range<usize>]) {
        let Interval { contig, start, end } = depth.interval;
        let windows = self.windows.entry(contig).or_default();
        let mut from = start;
        while from < end {
            let index = from / self.window_bases;
            let to = end.min((index + 1).saturating_mul(self.window_bases));
            let range = (from - start) as usize..(to - start) as usize;
            let window = windows.entry(index).or_default();
            for stretch in known {
                let shared = stretch.start.max(range.start)..stretch.end.min(range.end);
                window.bases += shared.len() as u64;
                window.depth_sum += sum(depth.usable.get(shared).unwrap_or(&[]));
            }
            from = to;
        }
    }
}

/// The stretches of known bases, in order; of most cells it is one.
fn known_stretches(codes: &[u8]) -> Vec<Range<usize>> {
    let mut stretches: Vec<Range<usize>> = Vec::new();
    let mut add = |range: Range<usize>| match stretches.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ => stretches.push(range),
    };
    for (block, codes) in codes.chunks(BLOCK_BASES).enumerate() {
        let start = block * BLOCK_BASES;
        if codes.iter().fold(0, |any, &code| any | code) < 4 {
            add(start..start + codes.len());
            continue;
        }
        let known = codes.iter().zip(start..).filter(|&(&code, _)| code < 4);
        known.for_each(|(_, at)| add(at..at + 1));
    }
    stretches
}

/// Summed in numbers of 32 bits as far as these cannot overflow.
fn sum(depths: &[u16]) -> u64 {
    let sum = |depths: &[u16]| depths.iter().map(|&depth| u32::from(depth)).sum::<u32>();
    depths.chunks(1 << 16).map(|depths| u64::from(sum(depths))).sum()
}

impl Excluded {
    /// Adds all counts of another part of the same sample.
    pub fn merge(&mut self, other: &Self) {
        let Excluded { mapq, duplicate, mate_unmapped, base, overlap } = other;
        self.mapq += mapq;
        self.duplicate += duplicate;
        self.mate_unmapped += mate_unmapped;
        self.base += base;
        self.overlap += overlap;
    }
}

/// Counts of the depths in common, in four tables in turn: else stretches of one depth would wait for their own count.
type Common = [[u32; COMMON]; 4];

impl DepthCounters {
    /// Adds the depths of known bases; of all of these 0, if there are no depths.
    fn add(&mut self, depths: &[u16], known: &[Range<usize>]) {
        let mut common: Common = [[0; COMMON]; 4];
        for stretch in known {
            match depths.get(stretch.clone()) {
                Some(depths) => {
                    depths.chunks(BLOCK_BASES).for_each(|block| self.add_block(block, &mut common));
                }
                None => common[0][0] += stretch.len() as u32,
            }
        }
        self.add_common(&common);
    }

    /// The same of depths that are given by how much they rise at each base.
    fn add_rising(&mut self, steps: &[i32], known: &[Range<usize>]) {
        let mut common: Common = [[0; COMMON]; 4];
        let (mut depth, mut next) = (0, 0);
        for stretch in known {
            let Some(steps_of) = steps.get(stretch.clone()) else {
                common[0][0] += stretch.len() as u32;
                continue;
            };
            depth += steps[next..stretch.start].iter().sum::<i32>();
            next = stretch.end;
            for steps in steps_of.chunks(BLOCK_BASES) {
                let changes = steps.iter().fold(0, |any, &step| any | step) != 0;
                if !changes && let Some(count) = common[0].get_mut(depth as usize) {
                    *count += steps.len() as u32;
                    continue;
                }
                let mut depths = [0u32; BLOCK_BASES];
                for (there, &step) in depths.iter_mut().zip(steps) {
                    depth += step;
                    *there = depth as u32;
                }
                self.add_block(&depths[..steps.len()], &mut common);
            }
        }
        self.add_common(&common);
    }

    #[inline]
    fn add_block<T: Copy + Into<u32>>(&mut self, depths: &[T], common: &mut Common) {
        let any = depths.iter().fold(0, |any, &depth| any | depth.into());
        if any == 0 {
            common[0][0] += depths.len() as u32;
        } else if (any as usize) < COMMON {
            for (at, &depth) in depths.iter().enumerate() {
                common[at % 4][depth.into() as usize % COMMON] += 1;
            }
        } else {
            for &depth in depths {
                self.histogram.add((depth.into() as usize).min(DEPTH_MAX));
                self.sum += u64::from(depth.into());
            }
        }
    }

    fn add_common(&mut self, common: &Common) {
        for depth in 0..COMMON {
            let count = common.iter().map(|counts| u64::from(counts[depth])).sum();
            self.histogram.add_times(depth, count);
            self.sum += depth as u64 * count;
        }
    }

    fn merge(&mut self, other: &Self) {
        self.histogram.merge(&other.histogram);
        self.sum += other.sum;
    }

    /// Mean depth; none over no base.
    pub fn mean(&self) -> Option<f64> {
        let bases = self.histogram.total();
        (bases > 0).then(|| self.sum as f64 / bases as f64)
    }

    /// The same with every depth above `most` taken for it.
    pub fn capped(&self, most: usize) -> Histogram {
        let mut capped = Histogram::default();
        for (depth, &count) in self.histogram.counts().iter().enumerate() {
            capped.add_times(depth.min(most), count);
        }
        capped
    }

    /// Share of bases of at least this depth.
    pub fn share_at_least(&self, depth: usize) -> Option<f64> {
        let bases = self.histogram.total();
        (bases > 0).then(|| self.histogram.at_least(depth) as f64 / bases as f64)
    }
}

impl Stretch {
    /// Adds another stretch, or another part of the same.
    pub fn merge(&mut self, other: &Self) {
        self.bases += other.bases;
        self.depth_sum += other.depth_sum;
    }

    /// Mean depth; none where every base is N.
    pub fn mean(&self) -> Option<f64> {
        (self.bases > 0).then(|| self.depth_sum as f64 / self.bases as f64)
    }
}
