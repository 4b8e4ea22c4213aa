//! Depth of coverage: over a cell, then as histograms by class of contig, means along the genome, and against GC.
//!
//! Two depths are kept. `all` is what `samtools depth` gives by default: neither unmapped, secondary, QC-failed nor
//! duplicate, every aligned base. `usable` is GA4GH's coverage (Picard CollectWgsMetrics): primary as well, MAPQ and
//! base quality 20 or more, bases where two mates overlap once.
//! Invariant: each base of the genome belongs to one cell and is counted there only; memory is that of one cell.

use std::collections::{BTreeMap, HashMap};

use jobs::genome::Interval;
use serde::{Deserialize, Serialize};

use super::contig_class::ContigClass;
use super::histogram::Histogram;
use crate::record::{Record, flag};

/// Depths told apart; deeper bases are counted in the last (their exact depth still enters the mean).
pub const DEPTH_MAX: usize = 2000;

/// Bases over which GC is set against depth; divides the grid, so that a window lies in one cell.
pub const GC_WINDOW_BASES: usize = 128;

/// Smallest MAPQ and base quality of usable depth.
pub const USABLE_QUALITY_MIN: u8 = 20;

/// Overlapping mates remembered before those already passed are dropped.
const WAITING_MATES_MIN: usize = 4096;

/// Depth at every base of one cell. Feed it, in coordinate order, every record of the sample that overlaps the cell:
/// also those that start in the cell before.
#[derive(Debug)]
pub struct CellDepth {
    interval: Interval,
    all: Vec<u32>,
    usable: Vec<u32>,
    waiting: HashMap<Box<[u8]>, Waiting>,
    waiting_max: usize,
    mask: Vec<u8>,
}

/// What an earlier mate already counted.
#[derive(Debug)]
struct Waiting {
    start: u32,
    mask: Box<[u8]>,
}

impl CellDepth {
    /// Depth 0 everywhere.
    pub fn new(interval: Interval) -> Self {
        let bases = interval.bases() as usize;
        CellDepth {
            interval,
            all: vec![0; bases],
            usable: vec![0; bases],
            waiting: HashMap::new(),
            waiting_max: WAITING_MATES_MIN,
            mask: Vec::new(),
        }
    }

    /// Adds the bases of a record that lie in the cell; a record elsewhere adds nothing.
    pub fn add(&mut self, record: &Record<'_>) {
        const SKIPPED: u16 = flag::UNMAPPED | flag::SECONDARY | flag::QC_FAIL | flag::DUPLICATE;
        let (flags, position) = (record.flag(), record.position());
        if flags & SKIPPED != 0
            || i64::from(record.contig()) != i64::from(self.interval.contig)
            || position < 0
        {
            return;
        }
        let usable = flags & flag::SUPPLEMENTARY == 0 && record.mapq() >= USABLE_QUALITY_MIN;
        let start = position as u32;
        let end = start.saturating_add(record.reference_bases()).min(self.interval.end);
        if start >= end || end <= self.interval.start {
            return;
        }
        self.mask.clear();
        self.mask.resize((end - start) as usize, 0);
        self.add_aligned(record, start, end);
        if usable {
            self.count_mates_once(record, start, end);
            let from = start.max(self.interval.start);
            let cell = &mut self.usable[(from - self.interval.start) as usize..];
            let mask = &self.mask[(from - start) as usize..];
            cell.iter_mut().zip(mask).for_each(|(depth, &counts)| *depth += u32::from(counts));
        }
    }

    /// Depth of `all` reads by base.
    pub fn all(&self) -> &[u32] {
        &self.all
    }

    /// Depth of usable bases by base.
    pub fn usable(&self) -> &[u32] {
        &self.usable
    }

    /// Raises `all` under every aligned base and marks the bases of sufficient quality in the mask.
    fn add_aligned(&mut self, record: &Record<'_>, start: u32, end: u32) {
        let qualities = record.qualities();
        let (mut read, mut position) = (0usize, u64::from(start));
        for packed in record.cigar() {
            let (op, length) = (packed & 15, packed >> 4);
            if matches!(op, 0 | 7 | 8) {
                let stop = (position + u64::from(length)).min(u64::from(end));
                if position < stop {
                    let (run, stop) = (position as u32, stop as u32);
                    let mask = &mut self.mask[(run - start) as usize..(stop - start) as usize];
                    let qualities = qualities.get(read..).unwrap_or(&[]);
                    mask.iter_mut().zip(qualities).for_each(|(mask, &quality)| {
                        *mask = u8::from(quality >= USABLE_QUALITY_MIN);
                    });
                    let in_cell = |at: u32| at.saturating_sub(self.interval.start) as usize;
                    self.all[in_cell(run)..in_cell(stop)].iter_mut().for_each(|depth| *depth += 1);
                }
            }
            read += if matches!(op, 0 | 1 | 4 | 7 | 8) { length as usize } else { 0 };
            position += if matches!(op, 0 | 2 | 3 | 7 | 8) { u64::from(length) } else { 0 };
        }
    }

    /// Unmarks the bases that this record's mate has counted already; remembers the marks if the mate is to come.
    fn count_mates_once(&mut self, record: &Record<'_>, start: u32, end: u32) {
        let flags = record.flag();
        let mate = record.mate_position();
        let apart = flags & (flag::PAIRED | flag::MATE_UNMAPPED) != flag::PAIRED
            || record.mate_contig() != record.contig()
            || mate < 0
            || mate as u32 >= end;
        if apart {
            return;
        }
        if mate as u32 <= start
            && let Some(earlier) = self.waiting.remove(record.name())
        {
            let shared = earlier.mask.iter().skip((start - earlier.start) as usize);
            self.mask.iter_mut().zip(shared).for_each(|(mask, &counted)| *mask &= 1 - counted);
        } else if mate as u32 >= start {
            if self.waiting.len() >= self.waiting_max {
                self.waiting.retain(|_, mate| mate.start as usize + mate.mask.len() > start as usize);
                self.waiting_max = (2 * self.waiting.len()).max(WAITING_MATES_MIN);
            }
            let mask = self.mask.as_slice().into();
            self.waiting.insert(record.name().into(), Waiting { start, mask });
        }
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
    /// `all` depth by GC percent of windows of [`GC_WINDOW_BASES`] without N, on autosomes.
    pub gc: BTreeMap<u8, Stretch>,
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
            gc: BTreeMap::new(),
        }
    }

    /// Adds one cell; `reference` holds its bases as codes 0 to 4, as many as the cell has.
    pub fn add_cell(&mut self, class: ContigClass, depth: &CellDepth, reference: &[u8]) {
        let counters = self.classes.entry(class).or_default();
        counters.all.add(&depth.all, reference);
        counters.usable.add(&depth.usable, reference);
        self.add_windows(depth, reference);
        if class == ContigClass::Autosome {
            self.add_gc(&depth.all, reference);
        }
    }

    /// Adds all counts of another part of the same sample. Both must come from the same reference.
    pub fn merge(&mut self, other: &Self) {
        debug_assert_eq!(self.window_bases, other.window_bases);
        for (&class, theirs) in &other.classes {
            let mine = self.classes.entry(class).or_default();
            mine.all.merge(&theirs.all);
            mine.usable.merge(&theirs.usable);
        }
        for (&contig, theirs) in &other.windows {
            let mine = self.windows.entry(contig).or_default();
            theirs.iter().for_each(|(&index, window)| mine.entry(index).or_default().merge(window));
        }
        for (&percent, theirs) in &other.gc {
            self.gc.entry(percent).or_default().merge(theirs);
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

    fn add_windows(&mut self, depth: &CellDepth, reference: &[u8]) {
        let Interval { contig, start, end } = depth.interval;
        let windows = self.windows.entry(contig).or_default();
        let mut from = start;
        while from < end {
            let index = from / self.window_bases;
            let to = end.min((index + 1).saturating_mul(self.window_bases));
            let range = (from - start) as usize..(to - start) as usize;
            let window = windows.entry(index).or_default();
            for (&depth, &code) in depth.usable[range.clone()].iter().zip(&reference[range]) {
                window.bases += u64::from(code < 4);
                window.depth_sum += if code < 4 { u64::from(depth) } else { 0 };
            }
            from = to;
        }
    }

    fn add_gc(&mut self, depths: &[u32], reference: &[u8]) {
        for (depths, codes) in
            depths.chunks_exact(GC_WINDOW_BASES).zip(reference.chunks_exact(GC_WINDOW_BASES))
        {
            if codes.iter().all(|&code| code < 4) {
                let gc = codes.iter().filter(|&&code| code == 1 || code == 2).count();
                let stretch = self.gc.entry((gc * 100 / GC_WINDOW_BASES) as u8).or_default();
                stretch.bases += GC_WINDOW_BASES as u64;
                stretch.depth_sum += depths.iter().map(|&depth| u64::from(depth)).sum::<u64>();
            }
        }
    }
}

impl DepthCounters {
    fn add(&mut self, depths: &[u32], reference: &[u8]) {
        for (&depth, &code) in depths.iter().zip(reference) {
            if code < 4 {
                self.histogram.add((depth as usize).min(DEPTH_MAX));
                self.sum += u64::from(depth);
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        self.histogram.merge(&other.histogram);
        self.sum += other.sum;
    }

    /// Exact mean depth; none over no base.
    pub fn mean(&self) -> Option<f64> {
        let bases = self.histogram.total();
        (bases > 0).then(|| self.sum as f64 / bases as f64)
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
