//! Mapping quality: how likely the chosen place is wrong, from the scores of all places that were found and a bound on
//! those that were not.
//!
//! One unit of score is worth [`PHRED_PER_SCORE`]: a mismatch costs match and mismatch together, five units, the
//! improbability of an error, or of a variant that makes one copy of a repeat look like another; about one in 500 of
//! the reads that are told apart by one base was found at the wrong copy. Invariant: a function of integers; sums run in a fixed order and logarithms are
//! libm's, so every machine gives the same.

/// Improbability of one unit of score, in phred.
const PHRED_PER_SCORE: f64 = 5.4;

/// Largest mapping quality.
pub(super) const MAPQ_MAX: u8 = 60;

/// Below this, the chosen place is about as likely as another.
const UNDECIDED_PHRED: f64 = 4.0;

/// Deficits beyond this weigh nothing.
const DEFICIT_MAX: usize = 80;

/// Places as good as can be that may exist though no seed led to them, by how many differences they would need at least
/// to hide from all seeds that were followed. Measured on reads with up to 5% errors, and on short ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hidden {
    pub differences: i32,
    /// Places left out for being too many.
    pub left_out: u32,
}

impl Hidden {
    /// How many of them are expected.
    pub fn prior(self) -> f64 {
        self.anywhere() + self.among_left_out()
    }

    /// How many are expected that hide both mates.
    pub fn prior_of_both(self, mate: Hidden) -> f64 {
        let both = Hidden {
            differences: self.differences + mate.differences,
            left_out: self.left_out.min(mate.left_out),
        };
        self.anywhere().min(mate.anywhere()) + both.among_left_out()
    }

    fn anywhere(self) -> f64 {
        match self.differences {
            ..=0 => 0.02,
            1 => 2e-3,
            _ => 1e-4,
        }
    }

    fn among_left_out(self) -> f64 {
        let each = match self.differences {
            ..=2 => 1e-3,
            3 => 3e-4,
            4 => 3e-5,
            _ => 1e-5,
        };
        each * f64::from(self.left_out)
    }
}

/// How likely the two places of a fragment are no pair, beside what that costs in score.
pub(super) const PRIOR_APART: f64 = 0.1;

/// How likely a read lies, as well as can be, beside one place of its mate where it was not looked for.
pub(super) const PRIOR_UNRESCUED: f64 = 2e-4;

/// Weights of score deficits.
#[derive(Clone, Debug)]
pub(super) struct Weights([f64; DEFICIT_MAX]);

impl Weights {
    pub fn new() -> Self {
        Weights(std::array::from_fn(|deficit| libm::pow(10.0, -PHRED_PER_SCORE * deficit as f64 / 10.0)))
    }

    /// Likelihood of a place that scores `deficit` less than the best, relative to it.
    #[inline]
    pub fn of(&self, deficit: i32) -> f64 {
        self.0.get(deficit.max(0) as usize).copied().unwrap_or(0.0)
    }
}

/// Mapping quality where the chosen place has score `score` and weight `chosen`, and all others together weigh `others`.
/// Few aligned bases are found again by chance, so a low score caps it: 30 at score 20, 60 at score 30.
pub(super) fn mapq(chosen: f64, others: f64, score: i32) -> u8 {
    let most = ((score - 10) * 3).clamp(0, i32::from(MAPQ_MAX)) as u8;
    let wrong = others / (chosen + others);
    if wrong <= 1e-6 {
        return most;
    }
    let phred = -10.0 * libm::log10(wrong);
    // A place that is no likelier than its rivals is no answer.
    if phred < UNDECIDED_PHRED { 0 } else { (phred as u8).min(most) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quality_falls_with_rivals() {
        let weights = Weights::new();
        assert_eq!(mapq(1.0, 0.0, 100), 60);
        assert_eq!(mapq(1.0, 0.0, 20), 30);
        assert_eq!(mapq(1.0, weights.of(5), 100), 27);
        assert_eq!(mapq(1.0, 1.0, 100), 0);
        assert_eq!(mapq(1.0, 9.0, 100), 0);
        assert_eq!(weights.of(1000), 0.0);
        assert_eq!(weights.of(-3), 1.0);
    }

    #[test]
    fn the_more_differences_the_rarer_a_hidden_place() {
        for left_out in [0, 20, 1000] {
            let prior = |differences| Hidden { differences, left_out }.prior();
            assert!((0..8).all(|differences| prior(differences) >= prior(differences + 1)));
            for (one, other) in [(0, 0), (1, 3), (4, 0)] {
                let [one, other] = [one, other].map(|differences| Hidden { differences, left_out });
                let both = one.prior_of_both(other);
                assert!(both == other.prior_of_both(one) && both <= one.prior().min(other.prior()));
            }
        }
    }
}
