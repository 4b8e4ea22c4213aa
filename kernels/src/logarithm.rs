//! Phred and log arithmetic that gives the same bits on every machine.
//!
//! Invariant: nothing here calls the system's `libm`; logarithms and exponentials come from the pure Rust `libm` crate,
//! everything else is plain IEEE arithmetic in a fixed order.

const NEPERS_PER_PHRED: f64 = std::f64::consts::LN_10 / 10.0;

/// Phred of a probability; infinite at 0.
pub fn phred(probability: f64) -> f64 {
    -10.0 * libm::log10(probability)
}

/// Probability of a phred value.
pub fn probability(phred: f64) -> f64 {
    libm::exp(-phred * NEPERS_PER_PHRED)
}

/// Phred of the sum of the probabilities that two phred values stand for. Both may be infinite.
pub fn phred_sum(a: f64, b: f64) -> f64 {
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    // Beyond 160 phred the smaller term is below the last bit of the larger.
    if high - low < 160.0 {
        low - 10.0 / std::f64::consts::LN_10 * libm::log1p(probability(high - low))
    } else {
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phred_and_probability_are_inverse() {
        for q in [0.0, 0.5, 3.0, 10.0, 37.0, 60.0, 300.0, 2900.0] {
            assert!((phred(probability(q)) - q).abs() < 1e-9 * (1.0 + q), "{q}");
        }
        assert_eq!(phred(0.0), f64::INFINITY);
        assert_eq!(probability(f64::INFINITY), 0.0);
    }

    #[test]
    fn phred_sum_adds_probabilities() {
        assert!((phred_sum(10.0, 10.0) - phred(0.2)).abs() < 1e-12);
        assert!((phred_sum(30.0, 20.0) - phred(0.011)).abs() < 1e-12);
        assert_eq!(phred_sum(5.0, f64::INFINITY), 5.0);
        assert_eq!(phred_sum(f64::INFINITY, f64::INFINITY), f64::INFINITY);
        assert_eq!(phred_sum(0.0, 1000.0), 0.0);
    }
}
