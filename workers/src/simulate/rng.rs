//! The simulator's randomness: xoshiro256++ streams, each named by (seed, purpose, indices).
//!
//! Invariant: a stream is a pure function of its name, so whatever is drawn for one sample or read pair depends neither
//! on the order in which others are drawn nor on threads. Logarithms come from `libm`, never from the system.

/// One stream of random numbers.
#[derive(Clone, Debug)]
pub struct Rng([u64; 4]);

impl Rng {
    /// The stream of this name. `purpose` keeps streams apart that would otherwise share indices.
    pub fn new(seed: u64, purpose: &str, indices: &[u64]) -> Self {
        let mut state = seed ^ 0x77_61_6b_61_63_68_69;
        let bytes = purpose.bytes().map(u64::from);
        for word in bytes.chain(indices.iter().copied()) {
            state = splitmix(&mut state) ^ word.wrapping_mul(0xd6e8_feb8_6659_fd93);
        }
        Rng(std::array::from_fn(|_| splitmix(&mut state)))
    }

    /// The next 64 random bits (Blackman & Vigna 2019, xoshiro256++).
    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = self.0;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.0 = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// Uniform in `0..bound`; the bias is below 2^-32 for bounds below 2^32. `bound` must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// Uniform in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// Uniform in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Exponentially distributed with this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * libm::log(1.0 - self.unit())
    }

    /// Standard normal, by the sum of twelve uniforms: exact arithmetic, tails end at 6.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    /// How often a thing of this small mean happens (Poisson, Knuth's product of uniforms).
    pub fn poisson(&mut self, mean: f64) -> u32 {
        let limit = libm::exp(-mean.min(500.0));
        let mut product = self.unit();
        let mut count = 0;
        while product > limit {
            product *= self.unit();
            count += 1;
        }
        count
    }

    /// An index drawn with probability proportional to its weight. `weights` must have a positive sum.
    pub fn weighted(&mut self, weights: &[f64]) -> usize {
        let mut rest = self.unit() * weights.iter().sum::<f64>();
        for (index, weight) in weights.iter().enumerate() {
            rest -= weight;
            if rest < 0.0 {
                return index;
            }
        }
        weights.len() - 1
    }

    /// One of A, C, G, T.
    pub fn base(&mut self) -> u8 {
        b"ACGT"[(self.bits() >> 62) as usize]
    }

    /// One of the three bases that are not `base`.
    pub fn other_base(&mut self, base: u8) -> u8 {
        let others: &[u8; 3] = match base {
            b'A' => b"CGT",
            b'C' => b"AGT",
            b'G' => b"ACT",
            _ => b"ACG",
        };
        others[self.below(3) as usize]
    }
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_different_names_differ_and_of_equal_names_agree() {
        let first = |purpose, indices: &[u64]| Rng::new(7, purpose, indices).bits();
        assert_eq!(first("reads", &[1, 2]), first("reads", &[1, 2]));
        let all =
            [first("reads", &[1, 2]), first("reads", &[2, 1]), first("sites", &[1, 2]), first("reads", &[1])];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b));
        }
    }

    #[test]
    fn distributions_have_their_means() {
        let mut rng = Rng::new(1, "test", &[]);
        let n = 20_000;
        let mut mean =
            |draw: &mut dyn FnMut(&mut Rng) -> f64| (0..n).map(|_| draw(&mut rng)).sum::<f64>() / n as f64;
        assert!((mean(&mut |r| r.exponential(5.0)) - 5.0).abs() < 0.2);
        assert!(mean(&mut |r| r.normal()).abs() < 0.05);
        assert!((mean(&mut |r| f64::from(r.poisson(3.0))) - 3.0).abs() < 0.1);
        assert!((mean(&mut |r| r.below(10) as f64) - 4.5).abs() < 0.1);
        assert!((mean(&mut |r| r.weighted(&[1.0, 3.0]) as f64) - 0.75).abs() < 0.02);
    }
}
