//! Chance, from a seed: whoever asks the same question of the same seed gets the same answer, in whatever order questions
//! come. So a world can change in one thing and stay itself in all others.

/// What a question is about; keeps the answers to different questions apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Topic {
    /// How deep a place of the genome is in every sample.
    Depth = 1,
    /// How far a sample is off at a place.
    Noise,
    /// How far a task or cell is off what its stage usually costs.
    Residual,
    /// Whether a task is of the costly kind.
    Tail,
    /// Which of a shard's cells is the costly one.
    HotCell,
    /// How fast a worker is.
    Speed,
    /// Whether and when a worker is lost.
    Loss,
    /// Whether a worker is taken away.
    Reclaim,
    /// Whether a worker lies.
    Lie,
    /// Whether a worker's outputs are damaged.
    Damage,
    /// What becomes of an attempt.
    Fate,
    /// What becomes of a message.
    Message,
    /// The shape of a random world.
    Shape,
}

/// A seeded source of answers.
#[derive(Clone, Copy, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The dice of a seed.
    pub fn new(seed: u64) -> Self {
        Dice(mix(seed ^ 0x9e37_79b9_7f4a_7c15))
    }

    /// 64 even bits for question (`a`, `b`) of a topic.
    pub fn bits(self, topic: Topic, a: u64, b: u64) -> u64 {
        mix(mix(mix(self.0 ^ topic as u64).wrapping_add(a)) ^ b.wrapping_mul(0xd6e8_feb8_6659_fd93))
    }

    /// Even in [0, 1).
    pub fn unit(self, topic: Topic, a: u64, b: u64) -> f64 {
        (self.bits(topic, a, b) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// An even number of `low..=high`.
    pub fn within(self, topic: Topic, a: u64, b: u64, low: u64, high: u64) -> u64 {
        low + (self.unit(topic, a, b) * (high - low + 1) as f64) as u64
    }

    /// True for a share of all questions.
    pub fn happens(self, share: f64, topic: Topic, a: u64, b: u64) -> bool {
        share > 0.0 && self.unit(topic, a, b) < share
    }

    /// Log-normal of mean 1: `exp(spread * normal - spread^2 / 2)`. The normal comes of two even numbers after Box and
    /// Muller (1958).
    pub fn factor(self, spread: f64, topic: Topic, a: u64, b: u64) -> f64 {
        if spread <= 0.0 {
            return 1.0;
        }
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.unit(topic, a, b)));
        let angle = std::f64::consts::TAU * self.unit(topic, a, b ^ (1 << 63));
        libm::exp(spread * radius * libm::cos(angle) - spread * spread / 2.0)
    }
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_has_the_mean_and_spread_it_says() {
        let dice = Dice::new(7);
        let draws: Vec<f64> = (0..20_000).map(|i| dice.factor(0.3, Topic::Residual, i, 0)).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let logs: Vec<f64> = draws.iter().map(|&draw| libm::log(draw)).collect();
        let middle = logs.iter().sum::<f64>() / logs.len() as f64;
        let spread = (logs.iter().map(|log| (log - middle).powi(2)).sum::<f64>() / logs.len() as f64).sqrt();
        assert!((mean - 1.0).abs() < 0.02 && (spread - 0.3).abs() < 0.01, "{mean} {spread}");
        let hits = (0..10_000).filter(|&i| dice.happens(0.1, Topic::Loss, i, 3)).count();
        assert!((900..1100).contains(&hits), "{hits}");
    }
}
