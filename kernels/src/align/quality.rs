//! Mapping quality: how likely the chosen place is wrong, from the scores of all places that were found and a bound on
//! those that were not.
//!
//! One unit of score is worth [`PHRED_PER_SCORE`]: a mismatch costs match and mismatch together, five units, the
//! improbability of an error or variant. Invariant: a function of integers; sums run in a fixed order and logarithms are
//! libm's, so every machine gives the same.

/// Improbability of one unit of score, in phred.
const PHRED_PER_SCORE: f64 = 5.0;

/// Largest mapping quality.
pub(super) const MAPQ_MAX: u8 = 60;

/// Deficits beyond this weigh nothing.
const DEFICIT_MAX: usize = 80;

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

/// Mapping quality where the chosen place has weight `chosen` and all others together `others`.
pub(super) fn mapq(chosen: f64, others: f64) -> u8 {
    let wrong = others / (chosen + others);
    if wrong <= 1e-6 {
        return MAPQ_MAX;
    }
    (-10.0 * libm::log10(wrong)).clamp(0.0, f64::from(MAPQ_MAX)) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quality_falls_with_rivals() {
        let weights = Weights::new();
        assert_eq!(mapq(1.0, 0.0), 60);
        assert_eq!(mapq(1.0, weights.of(5)), 25);
        assert_eq!(mapq(1.0, 1.0), 3);
        assert_eq!(mapq(1.0, 9.0), 0);
        assert_eq!(weights.of(1000), 0.0);
        assert_eq!(weights.of(-3), 1.0);
    }
}
