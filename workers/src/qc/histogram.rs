//! Counts of small non-negative integers, and what is read from them: mean, median, spread.
//!
//! Invariant: equal multisets of additions give equal values and equal JSON, in whatever order they were added or
//! merged; nothing here holds a float. Knows nothing of reads.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How often each value was seen; the vector ends with the largest value seen. In JSON a negative number stands for so
/// many values in a row that were not seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram(Vec<u64>);

/// Values that a histogram read from JSON may tell apart.
const VALUES_MAX: usize = 1 << 24;

impl Histogram {
    /// Counts `value` once more. Memory grows with the value: callers clamp to a named limit first.
    #[inline]
    pub fn add(&mut self, value: usize) {
        self.add_times(value, 1);
    }

    /// Counts `value` `times` more.
    #[inline]
    pub fn add_times(&mut self, value: usize, times: u64) {
        if value >= self.0.len() {
            if times == 0 {
                return;
            }
            self.0.resize(value + 1, 0);
        }
        self.0[value] += times;
    }

    /// Adds all counts of another.
    pub fn merge(&mut self, other: &Histogram) {
        if other.0.len() > self.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(mine, theirs)| *mine += theirs);
    }

    /// Count by value.
    pub fn counts(&self) -> &[u64] {
        &self.0
    }

    /// Count of one value.
    pub fn count(&self, value: usize) -> u64 {
        self.0.get(value).copied().unwrap_or(0)
    }

    /// Number of additions.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Number of additions of `value` or more.
    pub fn at_least(&self, value: usize) -> u64 {
        self.0.iter().skip(value).sum()
    }

    /// Mean; none where nothing was counted.
    pub fn mean(&self) -> Option<f64> {
        let total = self.total();
        let sum: u128 =
            self.0.iter().enumerate().map(|(value, &count)| value as u128 * u128::from(count)).sum();
        (total > 0).then(|| sum as f64 / total as f64)
    }

    /// Standard deviation of the population.
    pub fn standard_deviation(&self) -> Option<f64> {
        let mean = self.mean()?;
        let square = |value: usize| (value as f64 - mean) * (value as f64 - mean);
        let squares: f64 =
            self.0.iter().enumerate().map(|(value, &count)| square(value) * count as f64).sum();
        Some((squares / self.total() as f64).sqrt())
    }

    /// The smallest value that at least `percent` of the additions do not exceed.
    pub fn percentile(&self, percent: u64) -> Option<usize> {
        let wanted = u128::from(self.total()) * u128::from(percent);
        let mut seen = 0;
        self.0.iter().position(|&count| {
            seen += u128::from(count);
            seen > 0 && seen * 100 >= wanted
        })
    }

    /// The 50th percentile.
    pub fn median(&self) -> Option<usize> {
        self.percentile(50)
    }

    /// Median distance from the median (not scaled).
    pub fn median_absolute_deviation(&self) -> Option<usize> {
        let median = self.median()?;
        let mut distances = Histogram::default();
        for (value, &count) in self.0.iter().enumerate() {
            distances.add_times(value.abs_diff(median), count);
        }
        distances.median()
    }
}

impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let runs = self.0.chunk_by(|&a, &b| a == 0 && b == 0);
        serializer.collect_seq(runs.map(|run| match run {
            &[count] => i64::try_from(count).unwrap_or(i64::MAX),
            unseen => -(unseen.len() as i64),
        }))
    }
}

impl<'de> Deserialize<'de> for Histogram {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut counts = Vec::new();
        for number in Vec::<i64>::deserialize(deserializer)? {
            match u64::try_from(number) {
                Ok(count) => counts.push(count),
                Err(_) => counts
                    .resize(VALUES_MAX.min(counts.len() + number.unsigned_abs().min(1 << 32) as usize), 0),
            }
        }
        if counts.len() >= VALUES_MAX {
            return Err(D::Error::custom(format!("a histogram of {VALUES_MAX} values or more")));
        }
        Ok(Histogram(counts))
    }
}

/// Rows of `N` counts; in JSON each row loses its trailing zeros.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table<const N: usize>(Vec<[u64; N]>);

impl<const N: usize> Table<N> {
    /// The first `count` rows, made if they are not there.
    #[inline]
    pub fn rows_mut(&mut self, count: usize) -> &mut [[u64; N]] {
        if count > self.0.len() {
            self.0.resize(count, [0; N]);
        }
        &mut self.0[..count]
    }

    /// All rows.
    pub fn rows(&self) -> &[[u64; N]] {
        &self.0
    }

    /// Adds all counts of another.
    pub fn merge(&mut self, other: &Self) {
        let rows = self.rows_mut(other.0.len());
        for (mine, theirs) in rows.iter_mut().zip(&other.0) {
            mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine += theirs);
        }
    }

    /// Column sums.
    pub fn totals(&self) -> [u64; N] {
        let mut totals = [0; N];
        for row in &self.0 {
            totals.iter_mut().zip(row).for_each(|(total, count)| *total += count);
        }
        totals
    }
}

impl<const N: usize> Serialize for Table<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|row| {
            let used = row.iter().rposition(|&count| count > 0).map_or(0, |last| last + 1);
            &row[..used]
        }))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Table<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rows = Vec::<Vec<u64>>::deserialize(deserializer)?;
        let widen = |row: Vec<u64>| {
            let mut wide = [0; N];
            wide.get_mut(..row.len())
                .ok_or_else(|| {
                    D::Error::custom(format!("a row of {} counts, expected at most {N}", row.len()))
                })?
                .copy_from_slice(&row);
            Ok(wide)
        };
        rows.into_iter().map(widen).collect::<Result<_, _>>().map(Table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_follow_their_definitions() {
        let check = |values: &[usize], mean: f64, median: usize, mad: usize| {
            let mut histogram = Histogram::default();
            values.iter().for_each(|&value| histogram.add(value));
            assert_eq!(histogram.mean(), Some(mean), "{values:?}");
            assert_eq!(histogram.median(), Some(median), "{values:?}");
            assert_eq!(histogram.median_absolute_deviation(), Some(mad), "{values:?}");
        };
        check(&[5], 5.0, 5, 0);
        check(&[0, 0, 0, 8], 2.0, 0, 0);
        check(&[1, 2, 3, 4, 10], 4.0, 3, 1);
        check(&[2, 4, 4, 4, 5, 5, 7, 9], 5.0, 4, 1);
        assert_eq!(Histogram::default().mean(), None);
        assert_eq!(Histogram::default().percentile(0), None);
    }

    #[test]
    fn a_histogram_comes_back_from_json_and_does_not_spell_out_what_was_not_seen() {
        let check = |values: &[usize], json: &str| {
            let mut histogram = Histogram::default();
            values.iter().for_each(|&value| histogram.add(value));
            assert_eq!(serde_json::to_string(&histogram).unwrap(), json);
            assert_eq!(serde_json::from_str::<Histogram>(json).unwrap(), histogram);
        };
        check(&[], "[]");
        check(&[0, 0], "[2]");
        check(&[1, 3, 8000], "[0,1,0,1,-7996,1]");
        check(&[2], "[-2,1]");
        assert!(serde_json::from_str::<Histogram>("[-9223372036854775808]").is_err());
    }

    #[test]
    fn a_table_comes_back_from_json_and_refuses_rows_too_long() {
        let mut table = Table::<4>::default();
        table.rows_mut(3)[1] = [0, 7, 0, 0];
        let json = serde_json::to_string(&table).unwrap();
        assert_eq!(json, "[[],[0,7],[]]");
        assert_eq!(serde_json::from_str::<Table<4>>(&json).unwrap(), table);
        assert!(serde_json::from_str::<Table<4>>("[[1,2,3,4,5]]").is_err());
    }
}
