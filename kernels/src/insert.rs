//! How far apart and in which orientation the two reads of a fragment lie.
//!
//! Invariant: the model is integers only and a function of the multiset of observations, so a frozen model read back is
//! the model that was made. It knows places only as numbers.

use crate::align::Hit;

/// Observations below which [`estimate`] answers [`InsertModel::default`].
pub const PAIRS_MIN: usize = 50;

/// Mapping quality that both hits of an observation need.
pub const OBSERVATION_MAPQ_MIN: u8 = 20;

const DISTANCE_MAX: u32 = 10_000;

/// How the 5' ends of the reads of a fragment lie to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Orientation {
    /// They point towards each other (FR), as in ordinary paired-end libraries.
    Inward,
    /// They point away from each other (RF), as in mate-pair libraries.
    Outward,
    /// They point the same way (FF).
    Tandem,
}

/// The 5' end of a placed read: the border before its first base, clipped bases counted, in any one coordinate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FivePrime {
    /// Border between bases; may lie before a contig's start or beyond its end.
    pub border: i64,
    /// Whether the read runs from it to the left.
    pub reverse: bool,
}

/// Orientation of two placed reads and the distance of their 5' ends: the fragment's length where they point inward.
pub fn orientation(a: FivePrime, b: FivePrime) -> (Orientation, i64) {
    if a.reverse == b.reverse {
        return (Orientation::Tandem, (a.border - b.border).abs());
    }
    let (forward, reverse) = if a.reverse { (b, a) } else { (a, b) };
    match reverse.border - forward.border {
        distance if distance > 0 => (Orientation::Inward, distance),
        distance => (Orientation::Outward, -distance),
    }
}

/// One confident pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// How the reads lie.
    pub orientation: Orientation,
    /// Distance of the 5' ends in bases.
    pub distance: u32,
}

impl Observation {
    /// What two hits say, if both are confident, near each other and on one contig.
    pub fn between(a: &Hit, b: &Hit) -> Option<Self> {
        if a.contig != b.contig || a.mapq.min(b.mapq) < OBSERVATION_MAPQ_MIN {
            return None;
        }
        let (orientation, distance) = orientation(a.five_prime(), b.five_prime());
        let distance = u32::try_from(distance).ok().filter(|&distance| distance <= DISTANCE_MAX)?;
        Some(Observation { orientation, distance })
    }
}

/// Distances that a library's fragments have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InsertModel {
    /// The dominant orientation; pairs of another are never proper.
    pub orientation: Orientation,
    /// Mean distance of the 5' ends in bases.
    pub mean: u32,
    /// Standard deviation in bases, at least 1.
    pub deviation: u32,
    /// Smallest distance of a proper pair.
    pub low: u32,
    /// Largest distance of a proper pair.
    pub high: u32,
    /// Observations of the dominant orientation it was made from; 0 for the fallback.
    pub pairs: u32,
}

impl Default for InsertModel {
    /// A wide model of common paired-end libraries, for too few pairs to learn from.
    fn default() -> Self {
        InsertModel {
            orientation: Orientation::Inward,
            mean: 350,
            deviation: 150,
            low: 1,
            high: 1000,
            pairs: 0,
        }
    }
}

impl InsertModel {
    /// What the distance of two reads costs, in [`MISFIT_PER_PENALTY`]ths of a unit of alignment score; `None` if they are
    /// no proper pair.
    ///
    /// The logarithm of a normal density in units of 5 phred: 4.34 z^2/2 / 5 = 0.43 z^2, and beyond some distance that of
    /// the few fragments in a hundred that are much shorter or longer in every library.
    #[inline]
    pub(crate) fn misfit(&self, a: FivePrime, b: FivePrime) -> Option<i32> {
        let (orientation, distance) = orientation(a, b);
        let proper = orientation == self.orientation
            && i64::from(self.low) <= distance
            && distance <= i64::from(self.high);
        let offset = distance - i64::from(self.mean);
        let deviation = i64::from(self.deviation.max(1));
        let most = i64::from(PENALTY_MAX * MISFIT_PER_PENALTY);
        let unit = i64::from(MISFIT_PER_PENALTY);
        proper.then(|| (unit * offset * offset * 3 / (deviation * deviation * 7)).min(most) as i32)
    }

    /// Where the 5' border of a mate may lie, both ends included, and whether the mate is reverse.
    /// A tandem mate may lie on either side.
    pub fn mate_borders(&self, read: FivePrime) -> (i64, i64, bool) {
        let (low, high) = (i64::from(self.low), i64::from(self.high));
        match self.orientation {
            Orientation::Tandem => (read.border - high, read.border + high, read.reverse),
            Orientation::Inward | Orientation::Outward => {
                let ahead = read.reverse == (self.orientation == Orientation::Outward);
                let (first, last) = if ahead { (low, high) } else { (-high, -low) };
                (read.border + first, read.border + last, !read.reverse)
            }
        }
    }

    /// The model as numbers, for storing it.
    pub fn to_words(&self) -> [u32; 6] {
        [self.orientation as u32, self.mean, self.deviation, self.low, self.high, self.pairs]
    }

    /// The model of these numbers, if they are one.
    pub fn from_words([orientation, mean, deviation, low, high, pairs]: [u32; 6]) -> Option<Self> {
        let orientation = [Orientation::Inward, Orientation::Outward, Orientation::Tandem]
            .get(orientation as usize)
            .copied()?;
        let most = mean.max(deviation).max(high);
        let sound = deviation > 0 && low <= high && most <= DISTANCE_MAX;
        sound.then_some(InsertModel { orientation, mean, deviation, low, high, pairs })
    }
}

/// Steps to a unit of score in which distances are told apart.
pub(crate) const MISFIT_PER_PENALTY: i32 = 64;

/// Largest penalty of a proper pair.
const PENALTY_MAX: i32 = 6;

/// Learns the model of the dominant orientation from confident pairs, robust against outliers: mean and deviation of
/// what lies within two quartile ranges of the quartiles, bounds at three ranges and at least four deviations.
pub fn estimate(observations: &[Observation]) -> InsertModel {
    let of = |wanted: Orientation| {
        observations
            .iter()
            .filter(move |seen| seen.orientation == wanted)
            .map(|seen| seen.distance.min(DISTANCE_MAX))
    };
    let orientations = [Orientation::Inward, Orientation::Outward, Orientation::Tandem];
    let orientation =
        orientations.into_iter().rev().max_by_key(|&each| of(each).count()).unwrap_or(Orientation::Inward);
    let mut distances: Vec<u32> = of(orientation).collect();
    if distances.len() < PAIRS_MIN {
        return InsertModel::default();
    }
    distances.sort_unstable();
    let quartile = |quarter: usize| distances[distances.len() * quarter / 4];
    let (lower, upper) = (quartile(1), quartile(3));
    let range = upper - lower;
    let core = |distance: &&u32| (lower.saturating_sub(2 * range)..=upper + 2 * range).contains(*distance);
    let (count, sum) =
        distances.iter().filter(core).fold((0u64, 0u64), |(n, sum), &d| (n + 1, sum + u64::from(d)));
    let mean = ((sum + count / 2) / count) as u32;
    let squares: u64 =
        distances.iter().filter(core).map(|&distance| u64::from(distance.abs_diff(mean)).pow(2)).sum();
    let deviation = ((squares / count).isqrt() as u32).max(1);
    let low = lower.saturating_sub(3 * range).min(mean.saturating_sub(4 * deviation)).max(1);
    let high = (upper + 3 * range).max(mean + 4 * deviation).min(DISTANCE_MAX);
    InsertModel { orientation, mean, deviation, low, high, pairs: distances.len() as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(border: i64, reverse: bool) -> FivePrime {
        FivePrime { border, reverse }
    }

    fn seen(orientation: Orientation, distances: impl Iterator<Item = u32>) -> Vec<Observation> {
        distances.map(|distance| Observation { orientation, distance }).collect()
    }

    #[test]
    fn outliers_and_other_orientations_do_not_move_the_model() {
        let mut observations = seen(Orientation::Inward, (0..1000).map(|i| 380 + i % 41));
        observations.extend(seen(Orientation::Inward, (0..50).map(|i| 5000 + i)));
        observations.extend(seen(Orientation::Outward, (0..200).map(|i| 100 + i)));
        let model = estimate(&observations);
        assert_eq!((model.orientation, model.mean, model.pairs), (Orientation::Inward, 400, 1050));
        assert!((11..=12).contains(&model.deviation) && model.low >= 300 && model.high <= 500, "{model:?}");
        observations.reverse();
        assert_eq!(estimate(&observations), model);
        assert_eq!(InsertModel::from_words(model.to_words()), Some(model));
    }

    #[test]
    fn other_dominant_orientations_are_learnt_and_few_pairs_fall_back() {
        let outward = estimate(&seen(Orientation::Outward, (0..200).map(|i| 3000 + i)));
        assert_eq!(outward.orientation, Orientation::Outward);
        assert_eq!(estimate(&seen(Orientation::Inward, 0..49)), InsertModel::default());
        assert_eq!(estimate(&[]), InsertModel::default());
        assert_eq!(estimate(&seen(Orientation::Tandem, (0..60).map(|_| u32::MAX))).high, DISTANCE_MAX);
    }

    #[test]
    fn mate_borders_are_exactly_the_proper_distances() {
        for orientation in [Orientation::Inward, Orientation::Outward, Orientation::Tandem] {
            let model = InsertModel { orientation, mean: 50, deviation: 9, low: 20, high: 80, pairs: 99 };
            for reverse in [false, true] {
                let read = at(1000, reverse);
                let (first, last, mate_reverse) = model.mate_borders(read);
                for border in 880..1120 {
                    let proper = model.misfit(read, at(border, mate_reverse)).is_some();
                    let tandem = orientation == Orientation::Tandem;
                    assert!(!proper || (first..=last).contains(&border));
                    assert!(
                        proper || tandem || !(first..=last).contains(&border),
                        "{orientation:?} {border}"
                    );
                    assert!(tandem || model.misfit(read, at(border, reverse)).is_none());
                }
            }
        }
    }
}
