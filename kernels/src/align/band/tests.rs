//! The banded program against the whole matrix, against a plain program of the same ties, and each level against all.

use super::*;
use crate::align::READ_BASES_MAX;

/// One problem at the level of every CPU.
fn align(problem: &Problem, scoring: &Scoring, cigar: &mut Vec<u32>) -> Option<Path> {
    let mut paths = Vec::new();
    Band::default().align(Level::Scalar, &[*problem], scoring, cigar, &mut paths);
    paths[0]
}

/// Cell by cell in wide numbers: the first of the best rows, in it the first of the best columns.
fn plainly(problem: &Problem, scoring: &Scoring, cigars: &mut Vec<u32>) -> Option<Path> {
    const LOW: i32 = i32::MIN / 2;
    let &Problem { read, window, first, width } = problem;
    let (open, extend) = (scoring.gap_open + scoring.gap_extend, scoring.gap_extend);
    let mut steps = vec![0; read.len() * width];
    let (mut best, mut inserted) = (vec![LOW; width + 1], vec![LOW; width + 1]);
    let mut top = Top { total: 0, row: 0, column: 0 };
    for (i, &code) in read.iter().enumerate() {
        let floor = if i == 0 { scoring.end_bonus } else { 0 };
        let extra = if i + 1 == read.len() { scoring.end_bonus } else { 0 };
        let (mut deleted, mut deletion_goes_on) = (LOW, false);
        let mut row_best = (LOW, 0);
        for c in 0..width {
            let base = usize::try_from(first + (i + c) as i64).ok().and_then(|at| window.get(at));
            let substitution = match base {
                None => LOW,
                Some(&base) if base == UNKNOWN || code == UNKNOWN => -scoring.unknown,
                Some(&base) if base == code => scoring.matched,
                Some(_) => -scoring.mismatch,
            };
            let matching = (best[c].max(floor) + substitution).max(LOW);
            let insertion_goes_on = inserted[c + 1] - extend > best[c + 1] - open;
            inserted[c] = (best[c + 1] - open).max(inserted[c + 1] - extend).max(LOW);
            let without = matching.max(inserted[c]);
            steps[i * width + c] = match () {
                () if deleted > without => FROM_DELETION,
                () if inserted[c] > matching => FROM_INSERTION,
                () if best[c] > floor => FROM_MATCH,
                () => FROM_START,
            } | if insertion_goes_on { INSERTION_GOES_ON } else { 0 }
                | if deletion_goes_on { DELETION_GOES_ON } else { 0 };
            best[c] = without.max(deleted);
            deletion_goes_on = deleted - extend > without - open;
            deleted = (without - open).max(deleted - extend).max(LOW);
            if best[c] > row_best.0 {
                row_best = (best[c], c);
            }
        }
        if row_best.0 + extra > top.total {
            top = Top { total: row_best.0 + extra, row: i, column: row_best.1 };
        }
    }
    trace(problem, &Steps { steps: &steps, stride: 1, width }, &top, scoring, cigars)
}

/// The best total by the whole matrix, three states, no band.
fn naive(read: &[u8], window: &[u8], scoring: &Scoring) -> i32 {
    const LOW: i32 = i32::MIN / 2;
    let (open, extend) = (scoring.gap_open + scoring.gap_extend, scoring.gap_extend);
    let columns = window.len() + 1;
    let mut matched = vec![vec![LOW; columns]; read.len() + 1];
    let (mut inserted, mut deleted) = (matched.clone(), matched.clone());
    let mut best = 0;
    for i in 1..=read.len() {
        for j in 0..columns {
            if j > 0 {
                let (a, b) = (read[i - 1], window[j - 1]);
                let score = match a == b {
                    _ if a == UNKNOWN || b == UNKNOWN => -scoring.unknown,
                    true => scoring.matched,
                    false => -scoring.mismatch,
                };
                let start = if i == 1 { scoring.end_bonus } else { 0 };
                let before = matched[i - 1][j - 1].max(inserted[i - 1][j - 1]).max(deleted[i - 1][j - 1]);
                matched[i][j] = before.max(start) + score;
                let left = matched[i][j - 1].max(inserted[i][j - 1]);
                deleted[i][j] = (left - open).max(deleted[i][j - 1] - extend);
            }
            let above = matched[i - 1][j].max(deleted[i - 1][j]);
            inserted[i][j] = (above - open).max(inserted[i - 1][j] - extend);
            let bonus = if i == read.len() { scoring.end_bonus } else { 0 };
            best = best.max(matched[i][j] + bonus);
        }
    }
    best
}

/// Score and edits of a path, from its CIGAR alone.
fn judge(read: &[u8], window: &[u8], path: &Path, cigar: &[u32], scoring: &Scoring) -> (i32, u32) {
    let (mut i, mut j, mut score, mut edits) = (path.read.0, path.window.0, 0, 0);
    for word in cigar {
        let length = (word >> 4) as usize;
        if word & 15 != MATCH {
            score -= scoring.gap_open + length as i32 * scoring.gap_extend;
            edits += length as u32;
        }
        match word & 15 {
            INSERTION => i += length,
            DELETION => j += length,
            _ => {
                for (&a, &b) in read[i..i + length].iter().zip(&window[j..j + length]) {
                    let unknown = a == UNKNOWN || b == UNKNOWN;
                    edits += u32::from(unknown || a != b);
                    score += if unknown {
                        -scoring.unknown
                    } else if a == b {
                        scoring.matched
                    } else {
                        -scoring.mismatch
                    };
                }
                (i, j) = (i + length, j + length);
            }
        }
    }
    assert_eq!((i, j), (path.read.1, path.window.1));
    (score, edits)
}

/// Whether some gap could stand one base farther left for the same score.
fn could_move_left(read: &[u8], window: &[u8], path: &Path, cigar: &[u32]) -> bool {
    let (mut i, mut j) = (path.read.0, path.window.0);
    let mut matched_before = 0;
    cigar.iter().any(|word| {
        let length = (word >> 4) as usize;
        let (gap, at) = match word & 15 {
            INSERTION => (read, &mut i),
            DELETION => (window, &mut j),
            _ => {
                (i, j, matched_before) = (i + length, j + length, length);
                return false;
            }
        };
        *at += length;
        let end = *at;
        let movable = matched_before > 1 && gap[end - length - 1] == gap[end - 1] && gap[end - 1] < UNKNOWN;
        // Moving left also moves the base before the gap onto the base that ended it.
        movable
            && read[i - 1 - if word & 15 == INSERTION { length } else { 0 }] == gap[end - 1]
            && std::mem::take(&mut matched_before) > 1
    })
}

fn check(read: &[u8], window: &[u8], scoring: &Scoring) {
    let mut cigar = vec![7];
    let width = read.len() + window.len() + 1;
    let path = align(&Problem { read, window, first: -(read.len() as i64), width }, scoring, &mut cigar);
    assert_eq!(path.map_or(0, |path| path.total), naive(read, window, scoring), "{read:?} {window:?}");
    let Some(path) = path else { return assert_eq!(cigar, [7]) };
    let (score, edits) = judge(read, window, &path, &cigar[1..], scoring);
    assert_eq!((score, edits), (path.score, path.edits), "{read:?} {window:?} {path:?}");
    assert!(!could_move_left(read, window, &path, &cigar[1..]), "{read:?} {window:?} {cigar:?}");
}

#[test]
fn scores_equal_the_whole_matrix_and_gaps_stand_left() {
    let usual = Scoring::default();
    let mut state = 9u64;
    let mut next = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for round in 0..4000 {
        let letters = 2 + round % 3;
        let window: Vec<u8> = (0..next(40)).map(|_| next(letters) as u8).collect();
        let mut read = window.clone();
        for _ in 0..next(5) {
            let at = next(read.len() as u64 + 1) as usize;
            match next(4) {
                0 => read.insert(at, next(letters) as u8),
                1 if at < read.len() => drop(read.remove(at)),
                2 if at < read.len() => read[at] = next(5) as u8,
                _ => read.truncate(at.max(10)),
            }
        }
        check(&read, &window, if round % 2 == 0 { &CHEAP } else { &usual });
    }
    check(&[], &[0, 1], &CHEAP);
    check(&[0, 1], &[], &CHEAP);
    check(&[4; 9], &[4; 9], &CHEAP);
}

/// Numbers below a bound, in a fixed order.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// A window and a read of about `length` bases that lies in it, off its middle diagonal, with differences.
fn pair(dice: &mut Dice, length: u64, spare: u64) -> (Vec<u8>, Vec<u8>) {
    let letters = 2 + dice.below(3);
    let window: Vec<u8> = (0..length + spare)
        .map(|_| if dice.below(60) == 0 { UNKNOWN } else { dice.below(letters) as u8 })
        .collect();
    let from = dice.below(spare + 1) as usize;
    let mut read = window[from..from + length as usize].to_vec();
    for _ in 0..dice.below(6) {
        let at = dice.below(read.len() as u64 + 1) as usize;
        let gap = 1 + dice.below(9) as usize;
        match dice.below(4) {
            0 => drop(read.splice(at..at, vec![dice.below(letters) as u8; gap])),
            1 => drop(read.drain(at.min(read.len().saturating_sub(gap))..(at + gap).min(read.len()))),
            2 if at < read.len() => read[at] = dice.below(5) as u8,
            _ => read.truncate(at.max(10)),
        }
    }
    (read, window)
}

/// Every level gives what the plain program gives, in CIGARs too.
fn check_levels(problems: &[Problem], scoring: &Scoring) {
    let with_cigar = |path: Option<Path>, cigars: &[u32]| {
        path.map(|path| {
            (cigars[path.cigar.0 as usize..path.cigar.1 as usize].to_vec(), Path { cigar: (0, 0), ..path })
        })
    };
    let expect: Vec<_> = problems
        .iter()
        .map(|problem| {
            let mut cigars = Vec::new();
            with_cigar(plainly(problem, scoring, &mut cigars), &cigars)
        })
        .collect();
    for level in Level::available() {
        let (mut band, mut cigars, mut paths) = (Band::default(), vec![7], vec![None; 3]);
        for round in 0..2 {
            band.align(level, problems, scoring, &mut cigars, &mut paths);
            assert_eq!(paths.len(), problems.len());
            for ((problem, &path), expect) in problems.iter().zip(&paths).zip(&expect) {
                assert_eq!(&with_cigar(path, &cigars), expect, "{level}, round {round}: {problem:?}");
            }
        }
    }
}

const CHEAP: Scoring = Scoring {
    matched: 1,
    mismatch: 2,
    unknown: 1,
    gap_open: 1,
    gap_extend: 1,
    end_bonus: 2,
    unpaired: 17,
    score_min: 30,
    rescued_score_min: 20,
};

#[test]
fn lanes_do_not_see_each_other_whatever_the_level() {
    let mut dice = Dice(5);
    for count in [0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 70] {
        for mixed in [false, true] {
            let texts: Vec<_> = (0..count)
                .map(|_| {
                    let length = if mixed { 10 + dice.below(140) } else { 100 };
                    pair(&mut dice, length, 60)
                })
                .collect();
            let problems: Vec<Problem> = texts
                .iter()
                .map(|(read, window)| {
                    let (first, width) = if mixed {
                        (60 - dice.below(120) as i64, 1 + dice.below(99) as usize)
                    } else {
                        (6, 49)
                    };
                    Problem { read, window, first, width }
                })
                .collect();
            check_levels(&problems, &Scoring::default());
            check_levels(&problems, &CHEAP);
            check_levels(&problems, &Scoring { gap_open: 0, ..CHEAP });
        }
    }
}

#[test]
fn degenerate_problems_align_nothing_or_what_there_is() {
    let texts: [(&[u8], &[u8], i64, usize); 9] = [
        (&[], &[0, 1], 0, 5),
        (&[0, 1], &[], 0, 5),
        (&[], &[], 0, 0),
        (&[0, 1, 2], &[0, 1, 2], 0, 0),
        (&[0, 1, 2], &[0, 1, 2], 0, 1),
        (&[0, 1, 2], &[0, 1, 2], 500, 9),
        (&[0, 1, 2], &[0, 1, 2], -500, 9),
        (&[0, 1, 2], &[0, 1, 2], i64::from(i32::MIN), 9),
        (&[4; 9], &[4; 9], -3, 9),
    ];
    let problems = texts.map(|(read, window, first, width)| Problem { read, window, first, width });
    for problem in &problems {
        check_levels(&[*problem], &CHEAP);
    }
    check_levels(&problems.repeat(5), &CHEAP);
}

#[test]
fn long_reads_stay_within_the_number_range() {
    let dear = Scoring {
        matched: MATCHED_MAX,
        mismatch: 50,
        unknown: 50,
        gap_open: 50,
        gap_extend: 50,
        end_bonus: 50,
        ..Scoring::default()
    };
    let read: Vec<u8> = (0..READ_BASES_MAX as u32).map(|i| (i * i / 7 % 4) as u8).collect();
    let other: Vec<u8> = read.iter().map(|&code| 3 - code).collect();
    let windows = [&read[..], &[UNKNOWN; 1400], &other, &[0; 1400]];
    let mut problems = Vec::new();
    for window in windows {
        for (first, width) in [(-20, 41), (-200, 449), (-1000, 40)] {
            problems.push(Problem { read: &read, window, first, width });
        }
    }
    check_levels(&problems, &dear);
    check_levels(&problems, &Scoring::default());
    let path = align(&problems[0], &dear, &mut Vec::new()).expect("equal texts");
    assert_eq!(path.total, READ_BASES_MAX as i32 * MATCHED_MAX + 100);
}
