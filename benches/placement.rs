//! How right are placements: SAM records against the truth in their names.
//!
//! A read is right if contig and strand agree and the nearest of its start, unclipped start, end and unclipped end is
//! within 20 bases of the truth. Reads across a structural breakpoint count apart, by their larger part; reads of
//! mostly novel sequence do not count.

use std::io::BufRead;
use std::ops::AddAssign;
use workers::simulate::truth::{Origin, Placement, ReadTruth};

const TOLERANCE_BASES: i64 = 20;
/// MAPQ above it counts as it.
pub const MAPQ_MAX: usize = 60;

/// What became of the reads of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Score {
    /// Primary records, unmapped ones among them.
    pub records: u64,
    /// Reads of one place: right and wrong by MAPQ.
    pub placed: [[u64; 2]; MAPQ_MAX + 1],
    /// Reads of one place that were not mapped.
    pub unmapped: u64,
    /// Breakpoint reads: those placed by their larger part, and all.
    pub breakpoint: [u64; 2],
}

impl Default for Score {
    fn default() -> Self {
        Score { records: 0, placed: [[0; 2]; MAPQ_MAX + 1], unmapped: 0, breakpoint: [0; 2] }
    }
}

impl AddAssign<&Score> for Score {
    fn add_assign(&mut self, other: &Score) {
        self.records += other.records;
        self.unmapped += other.unmapped;
        for (sum, more) in self.placed.iter_mut().flatten().zip(other.placed.iter().flatten()) {
            *sum += more;
        }
        for (sum, more) in self.breakpoint.iter_mut().zip(&other.breakpoint) {
            *sum += more;
        }
    }
}

impl Score {
    /// Scores SAM text.
    pub fn of_sam(mut sam: impl BufRead) -> Self {
        let mut score = Score::default();
        let mut line = String::new();
        while sam.read_line(&mut line).expect("SAM text") > 0 {
            if !line.starts_with('@') {
                score.add(&line);
            }
            line.clear();
        }
        score
    }

    /// Reads of one place.
    pub fn reads(&self) -> u64 {
        self.unmapped + self.placed.iter().flatten().sum::<u64>()
    }

    /// How many are right and wrong at this MAPQ and above.
    pub fn at_least(&self, mapq: usize) -> [u64; 2] {
        self.placed[mapq..].iter().fold([0, 0], |[right, wrong], at| [right + at[0], wrong + at[1]])
    }

    fn add(&mut self, record: &str) {
        let mut fields = record.split('\t');
        let mut field = || fields.next().expect("eleven fields");
        let (name, flag) = (field(), field().parse::<u32>().expect("a FLAG"));
        if flag & 0x900 != 0 {
            return;
        }
        self.records += 1;
        let truth = ReadTruth::parse(name).expect("a simulated read");
        let (contig, place) = truth.reads[usize::from(flag & 0x80 != 0)];
        let is_right = flag & 4 == 0 && field() == contig && {
            let position = field().parse::<i64>().expect("a POS") - 1;
            (flag & 16 != 0) == place.reverse && is_near(position, record.split('\t').nth(5), &place)
        };
        let mapq = record.split('\t').nth(4).and_then(|mapq| mapq.parse().ok()).unwrap_or(0);
        match place.origin {
            Origin::Novel => {}
            Origin::Breakpoint => {
                self.breakpoint[0] += u64::from(is_right);
                self.breakpoint[1] += 1;
            }
            Origin::Plain if flag & 4 != 0 => self.unmapped += 1,
            Origin::Plain => self.placed[MAPQ_MAX.min(mapq)][usize::from(!is_right)] += 1,
        }
    }
}

/// Whether an end of the alignment, with or without what is clipped, is near that of the truth.
fn is_near(start: i64, cigar: Option<&str>, truth: &Placement) -> bool {
    let (mut bases, mut clipped, mut length) = (0, [0, 0], 0);
    for byte in cigar.unwrap_or_default().bytes() {
        match byte {
            b'0'..=b'9' => length = length * 10 + i64::from(byte - b'0'),
            b'M' | b'=' | b'X' | b'D' | b'N' => bases += std::mem::take(&mut length),
            b'S' | b'H' => clipped[usize::from(bases > 0)] += std::mem::take(&mut length),
            _ => length = 0,
        }
    }
    let (from, to) = (i64::from(truth.start), i64::from(truth.end));
    let ends = [start - from, start - clipped[0] - from, start + bases - to, start + bases + clipped[1] - to];
    ends.iter().any(|distance| distance.abs() <= TOLERANCE_BASES)
}

/// Upper end of the one-sided 95% confidence interval of a count (Wilson and Hilferty 1931 for Poisson's).
pub fn upper_bound(count: u64) -> f64 {
    let next = count as f64 + 1.0;
    next * (1.0 - 1.0 / (9.0 * next) + 1.645 / (3.0 * next.sqrt())).powi(3)
}

/// Fails where scoring does not do what it says.
pub fn check() {
    let record = |flag: u32, contig: &str, position: u32, cigar: &str| {
        let name = "c:101:250:+.:c:301:450:-s:u:1";
        let sam = format!("@HD\tVN:1.6\n{name}\t{flag}\t{contig}\t{position}\t30\t{cigar}\t*\t0\t0\tA\tA\n");
        let score = Score::of_sam(sam.as_bytes());
        (score.at_least(30), score.unmapped, score.breakpoint)
    };
    assert_eq!(record(65, "c", 101, "150M"), ([1, 0], 0, [0, 0]));
    assert_eq!(record(65, "c", 131, "30S120M"), ([1, 0], 0, [0, 0]));
    assert_eq!(record(65, "c", 140, "90M20D22M"), ([0, 1], 0, [0, 0]));
    assert_eq!(record(81, "c", 101, "150M"), ([0, 1], 0, [0, 0]));
    assert_eq!(record(65, "d", 101, "150M"), ([0, 1], 0, [0, 0]));
    assert_eq!(record(69, "*", 0, "*"), ([0, 0], 1, [0, 0]));
    assert_eq!(record(145, "c", 301, "80M70S"), ([0, 0], 0, [1, 1]));
    assert_eq!(record(2113, "c", 301, "80M70H"), ([0, 0], 0, [0, 0]));
    assert!((upper_bound(0) - 3.0).abs() < 0.05 && (upper_bound(8) - 14.43).abs() < 0.05);
}
