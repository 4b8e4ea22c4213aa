//! How likely a read is, given a haplotype: the forward algorithm of the pair hidden Markov model (Durbin et al. 1998,
//! § 4.1) in a band, and the sum along one diagonal where no gap is needed.
//!
//! Invariant: plain IEEE arithmetic in a fixed order. The read is used whole; the haplotype's ends are free.

use crate::logarithm::{phred, probability};
use std::ops::RangeInclusive;

/// Cost of opening a gap outside repeats, phred.
pub(super) const GAP_OPEN_PHRED: f64 = 45.0;
/// Cost of opening a gap in the longest repeats, phred.
const GAP_OPEN_PHRED_MIN: f64 = 20.0;
/// Repeats of fewer units are no repeats; each further unit makes gaps cheaper by so much, phred.
const REPEAT_UNITS_MIN: usize = 5;
const PHRED_PER_UNIT: f64 = 1.5;
/// What stands for the gap before the first base: it leaves 1 - 2 * 1/2 for going on without one.
const BEFORE_FIRST: f64 = 0.5;
/// Longest repeat unit looked for, in bases.
const UNIT_BASES_MAX: usize = 4;
/// Probability of extending a gap by one more base.
const GAP_EXTEND: f64 = 0.1;
/// Probability of each base in an insertion.
const INSERTED_BASE: f64 = 0.25;
/// Forward values begin here, so that long bad reads do not vanish before they are worse than every cap.
const SCALE: f64 = 1e280;
const SCALE_PHRED: f64 = 2800.0;

/// Tables and rows, used again from read to read.
pub(super) struct PairHmm {
    /// Probability and phred of a base that agrees or disagrees with the haplotype, by quality.
    agree: [f64; 256],
    disagree: [f64; 256],
    agree_phred: [f64; 256],
    disagree_phred: [f64; 256],
    rows: [Row; 2],
}

/// One read base against all diagonals of the band.
#[derive(Clone, Default)]
struct Row {
    matched: Vec<f64>,
    inserted: Vec<f64>,
    deleted: Vec<f64>,
}

impl Default for PairHmm {
    fn default() -> Self {
        let error = |quality: usize| probability(quality.max(1) as f64).min(0.75);
        let agree: [f64; 256] = std::array::from_fn(|quality| 1.0 - error(quality));
        let disagree: [f64; 256] = std::array::from_fn(|quality| error(quality) / 3.0);
        PairHmm {
            agree_phred: agree.map(phred),
            disagree_phred: disagree.map(phred),
            agree,
            disagree,
            rows: [Row::default(), Row::default()],
        }
    }
}

/// Probability of opening a gap before each base of a haplotype and behind the last: higher in homopolymers and short
/// tandem repeats, as polymerases slip there. Before the first base it is one half, so that nothing comes from there
/// without a gap. Time: bases times unit lengths.
pub(super) fn gap_opens(bases: &[u8]) -> Vec<f64> {
    let mut units = vec![1usize; bases.len()];
    for unit in 1..=UNIT_BASES_MAX {
        let mut start = 0;
        while start + unit < bases.len() {
            let same = bases[start + unit..].iter().zip(&bases[start..]).take_while(|(a, b)| a == b).count();
            let tract = start..start + unit + same;
            let copies = tract.len() / unit;
            if copies >= REPEAT_UNITS_MIN {
                units[tract].iter_mut().for_each(|units| *units = copies.max(*units));
            }
            start += same + 1;
        }
    }
    let open = |&units: &usize| {
        let cheaper = PHRED_PER_UNIT * units.saturating_sub(REPEAT_UNITS_MIN) as f64;
        probability((GAP_OPEN_PHRED - cheaper).max(GAP_OPEN_PHRED_MIN))
    };
    [BEFORE_FIRST].into_iter().chain(units.iter().map(open)).collect()
}

impl PairHmm {
    /// Phred cost of the read laid without gap on the haplotype from `diagonal` on; nothing if it does not fit.
    pub fn ungapped(&self, read: &[u8], qualities: &[u8], haplotype: &[u8], diagonal: i32) -> Option<f64> {
        let from = usize::try_from(diagonal).ok()?;
        let under = haplotype.get(from..from + read.len())?;
        let mut cost = 0.0;
        for ((&base, &quality), &expected) in read.iter().zip(qualities).zip(under) {
            let table = if base == expected { &self.agree_phred } else { &self.disagree_phred };
            // An unknown base fits every haplotype equally well.
            cost += if base < 4 { table[quality as usize] } else { 0.0 };
        }
        Some(cost)
    }

    /// Phred cost of a read that agrees with a haplotype everywhere.
    pub fn agreeing(&self, qualities: &[u8]) -> f64 {
        qualities.iter().map(|&quality| self.agree_phred[quality as usize]).sum()
    }

    /// Phred cost of the read summed over all alignments within the band of diagonals (haplotype offset minus read
    /// offset); infinite if none fits. Time: read bases times diagonals.
    ///
    /// ```text
    /// M[i][j] = e(i,j) * ((1 - 2 o[j]) M[i-1][j-1] + (1 - x) (I[i-1][j-1] + D[i-1][j-1]))
    /// I[i][j] = 1/4    * (o[j+1] M[i-1][j] + x I[i-1][j])
    /// D[i][j] =           o[j] M[i][j-1] + x D[i][j-1]
    /// ```
    pub fn forward(
        &mut self,
        read: &[u8],
        qualities: &[u8],
        haplotype: &[u8],
        gap_opens: &[f64],
        band: RangeInclusive<i32>,
    ) -> f64 {
        let low = (*band.start()).max(-(read.len() as i32));
        let high = (*band.end()).min(haplotype.len() as i32);
        if low > high || haplotype.is_empty() || read.is_empty() {
            return f64::INFINITY;
        }
        let width = (high - low + 1) as usize;
        for row in &mut self.rows {
            // One more place on both sides holds the zeros that the band's edges look at.
            for state in [&mut row.matched, &mut row.inserted, &mut row.deleted] {
                state.clear();
                state.resize(width + 2, 0.0);
            }
        }
        for (i, (&base, &quality)) in read.iter().zip(qualities).enumerate() {
            let first = i as i32 + low;
            let from = (-first).max(0) as usize;
            let to = (haplotype.len() as i32 - first).clamp(0, width as i32) as usize;
            let [previous, row] = &mut self.rows;
            row.clear();
            if from < to {
                let column = (first + from as i32) as usize;
                let under = &haplotype[column..column + (to - from)];
                let opens = &gap_opens[column..column + (to - from) + 1];
                // An unknown base fits every haplotype equally well.
                let known = (self.agree[quality as usize], self.disagree[quality as usize]);
                let emission = if base < 4 { known } else { (1.0, 1.0) };
                row.emit(from, base, emission, under);
                if i == 0 {
                    row.matched[from + 1..=to].iter_mut().for_each(|matched| *matched *= SCALE);
                } else {
                    row.advance(previous, from, opens);
                }
                row.delete(from, opens);
            }
            self.rows.swap(0, 1);
        }
        let last = &self.rows[0];
        let total: f64 = last.matched.iter().sum::<f64>() + last.inserted.iter().sum::<f64>();
        phred(total) + SCALE_PHRED
    }
}

impl Row {
    fn clear(&mut self) {
        for state in [&mut self.matched, &mut self.inserted, &mut self.deleted] {
            state.fill(0.0);
        }
    }

    /// Sets the matches of the band places from `from` on to the emission of `base`.
    fn emit(&mut self, from: usize, base: u8, (agree, disagree): (f64, f64), under: &[u8]) {
        for (matched, &expected) in self.matched[from + 1..].iter_mut().zip(under) {
            *matched = if base == expected { agree } else { disagree };
        }
    }

    /// Matches, which hold their emission, and insertions from the row before. Slices of one length and no branch, for
    /// the compiler to make vectors of.
    fn advance(&mut self, previous: &Row, from: usize, opens: &[f64]) {
        let width = opens.len() - 1;
        // A place of the band is one further in the rows; the same column one read base earlier is one more.
        let (same, above) = (from + 1..from + 1 + width, from + 2..from + 2 + width);
        let (before, behind) = (&opens[..width], &opens[1..]);
        let matched = &mut self.matched[same.clone()];
        let old = (
            &previous.matched[same.clone()],
            &previous.inserted[same.clone()],
            &previous.deleted[same.clone()],
        );
        for k in 0..width {
            let gaps = (1.0 - GAP_EXTEND) * (old.1[k] + old.2[k]);
            matched[k] *= (1.0 - 2.0 * before[k]) * old.0[k] + gaps;
        }
        let inserted = &mut self.inserted[same];
        let old = (&previous.matched[above.clone()], &previous.inserted[above]);
        for k in 0..width {
            inserted[k] = INSERTED_BASE * (behind[k] * old.0[k] + GAP_EXTEND * old.1[k]);
        }
    }

    /// Deletions along the row: each looks at the place before it.
    fn delete(&mut self, from: usize, opens: &[f64]) {
        let width = opens.len() - 1;
        let matched = &self.matched[from + 1..from + 1 + width];
        let mut last = 0.0;
        for ((deleted, open), matched) in
            self.deleted[from + 2..from + 1 + width].iter_mut().zip(&opens[1..]).zip(matched)
        {
            last = open * matched + GAP_EXTEND * last;
            *deleted = last;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logarithm::phred_sum;

    fn random(seed: &mut u64) -> u64 {
        *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        *seed >> 33
    }

    /// The recurrences as written, whole matrix, phred space.
    fn naive(hmm: &PairHmm, read: &[u8], qualities: &[u8], haplotype: &[u8], opens: &[f64]) -> f64 {
        let (n, m) = (read.len(), haplotype.len());
        let none = f64::INFINITY;
        let (mut matched, mut inserted, mut deleted) =
            (vec![vec![none; m]; n], vec![vec![none; m]; n], vec![vec![none; m]; n]);
        let extend = phred(GAP_EXTEND);
        let close = phred(1.0 - GAP_EXTEND);
        for i in 0..n {
            for j in 0..m {
                let quality = qualities[i] as usize;
                let emission = match (read[i] < 4, read[i] == haplotype[j]) {
                    (false, _) => 0.0,
                    (true, true) => phred(hmm.agree[quality]),
                    (true, false) => phred(hmm.disagree[quality]),
                };
                matched[i][j] = match (i, j) {
                    (0, _) => emission,
                    (_, 0) => none,
                    _ => {
                        let stay = phred(1.0 - 2.0 * opens[j]) + matched[i - 1][j - 1];
                        let gaps = close + phred_sum(inserted[i - 1][j - 1], deleted[i - 1][j - 1]);
                        emission + phred_sum(stay, gaps)
                    }
                };
                if i > 0 {
                    let opened =
                        phred_sum(phred(opens[j + 1]) + matched[i - 1][j], extend + inserted[i - 1][j]);
                    inserted[i][j] = phred(INSERTED_BASE) + opened;
                }
                if j > 0 {
                    deleted[i][j] =
                        phred_sum(phred(opens[j]) + matched[i][j - 1], extend + deleted[i][j - 1]);
                }
            }
        }
        (0..m).fold(none, |sum, j| phred_sum(sum, phred_sum(matched[n - 1][j], inserted[n - 1][j])))
    }

    #[test]
    fn forward_agrees_with_the_recurrences_in_log_space() {
        let mut hmm = PairHmm::default();
        let mut seed = 7;
        for round in 0..200 {
            let haplotype: Vec<u8> =
                (0..1 + random(&mut seed) % 60).map(|_| (random(&mut seed) % 4) as u8).collect();
            let bases = 1 + random(&mut seed) as usize % 50;
            let start = random(&mut seed) as usize % haplotype.len();
            let read: Vec<u8> = (0..bases)
                .map(|i| match random(&mut seed) % 12 {
                    0 => (random(&mut seed) % 5) as u8,
                    _ => haplotype[(start + i) % haplotype.len()],
                })
                .collect();
            let qualities: Vec<u8> = (0..bases).map(|_| (random(&mut seed) % 45) as u8).collect();
            let opens = gap_opens(&haplotype);
            let found = hmm.forward(&read, &qualities, &haplotype, &opens, -100..=100);
            let expect = naive(&hmm, &read, &qualities, &haplotype, &opens);
            assert!((found - expect).abs() < 1e-6 || found == expect, "round {round}: {found} {expect}");
        }
    }

    #[test]
    fn a_band_around_the_right_diagonal_costs_nothing() {
        let mut hmm = PairHmm::default();
        let mut seed = 5;
        let haplotype: Vec<u8> = (0..120).map(|_| (random(&mut seed) % 4) as u8).collect();
        let opens = gap_opens(&haplotype);
        let mut read = haplotype[10..100].to_vec();
        read.drain(40..45);
        let qualities = vec![37; read.len()];
        let whole = hmm.forward(&read, &qualities, &haplotype, &opens, -200..=200);
        let band = hmm.forward(&read, &qualities, &haplotype, &opens, 5..=20);
        assert!((whole - band).abs() < 0.01, "{whole} {band}");
        assert!(hmm.forward(&read, &qualities, &haplotype, &opens, 300..=310).is_infinite());
    }

    #[test]
    fn without_gaps_the_diagonal_is_nearly_the_whole_sum() {
        let mut hmm = PairHmm::default();
        let mut seed = 5;
        let haplotype: Vec<u8> = (0..90).map(|_| (random(&mut seed) % 4) as u8).collect();
        let opens = gap_opens(&haplotype);
        let mut read = haplotype[20..70].to_vec();
        read[25] = 3 - read[25];
        let qualities = vec![30; 50];
        let sum = hmm.forward(&read, &qualities, &haplotype, &opens, -90..=90);
        let diagonal = hmm.ungapped(&read, &qualities, &haplotype, 20).unwrap();
        assert!((sum - diagonal).abs() < 0.1, "{sum} {diagonal}");
        assert_eq!(hmm.ungapped(&read, &qualities, &haplotype, -1), None);
        assert_eq!(hmm.ungapped(&read, &qualities, &haplotype, 41), None);
    }

    #[test]
    fn gaps_are_cheaper_in_longer_repeats() {
        let plain = gap_opens(&[0, 1, 2, 3, 0, 2, 1, 3]);
        assert!(plain[1..].iter().all(|&open| (open - probability(GAP_OPEN_PHRED)).abs() < 1e-15));
        let homopolymer = gap_opens(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        assert!((homopolymer[6] - probability(GAP_OPEN_PHRED - 4.0 * PHRED_PER_UNIT)).abs() < 1e-15);
        assert_eq!((homopolymer[0], homopolymer[1]), (BEFORE_FIRST, plain[1]));
        let dinucleotide = gap_opens(&[0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
        assert!((dinucleotide[4] - probability(GAP_OPEN_PHRED - PHRED_PER_UNIT)).abs() < 1e-15);
        assert!(gap_opens(&[0; 60])[31] <= probability(GAP_OPEN_PHRED_MIN) * 1.0000001);
    }
}
