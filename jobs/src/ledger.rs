//! The ledger: where every read and every base went.
//!
//! Invariant: a job may end 0 only if the reads that came in are the reads that went out, by fate, and every base of the
//! reference was answered exactly once by exactly one shard.

use std::collections::BTreeMap;

/// What became of the reads of a sample; primary records only, so each read counts once.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Fates {
    /// Placed on the reference and no duplicate.
    pub mapped: u64,
    /// Placed and marked as a duplicate.
    pub duplicate: u64,
    /// In the file without a place of their own.
    pub unmapped: u64,
    /// Left out, by reason.
    pub filtered: BTreeMap<String, u64>,
}

impl Fates {
    /// Reads accounted for.
    pub fn total(&self) -> u64 {
        self.mapped + self.duplicate + self.unmapped + self.filtered.values().sum::<u64>()
    }

    /// Adds another count.
    pub fn add(&mut self, other: &Fates) {
        self.mapped += other.mapped;
        self.duplicate += other.duplicate;
        self.unmapped += other.unmapped;
        for (reason, count) in &other.filtered {
            *self.filtered.entry(reason.clone()).or_default() += count;
        }
    }
}

/// How the bases of a stretch of reference were answered for one sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Answers {
    /// Bases of REF of a variant site.
    pub variant: u64,
    /// Bases with a stated confidence in the reference.
    pub reference: u64,
    /// No read covers them.
    pub no_reads: u64,
    /// Reads cover them, none usable.
    pub no_usable_reads: u64,
    /// The reference has no base there.
    pub reference_unknown: u64,
}

impl Answers {
    /// Bases answered.
    pub fn total(&self) -> u64 {
        self.variant + self.reference + self.no_reads + self.no_usable_reads + self.reference_unknown
    }

    /// Adds another count.
    pub fn add(&mut self, other: &Answers) {
        self.variant += other.variant;
        self.reference += other.reference;
        self.no_reads += other.no_reads;
        self.no_usable_reads += other.no_usable_reads;
        self.reference_unknown += other.reference_unknown;
    }
}

/// What does not add up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Imbalance {
    /// Reads were lost or multiplied.
    #[error("sample {sample}: {reads_in} reads came in, {reads_out} are accounted for")]
    Reads {
        /// The sample.
        sample: String,
        /// Reads of its files.
        reads_in: u64,
        /// Reads by fate, summed.
        reads_out: u64,
    },
    /// A shard's bases were not all answered, or some twice.
    #[error("sample {sample}, cells {shard}: {answered} of {bases} bases are answered")]
    Bases {
        /// The sample.
        sample: String,
        /// The shard.
        shard: String,
        /// Bases of the shard.
        bases: u64,
        /// Bases answered.
        answered: u64,
    },
    /// Cells of the genome that no shard answered, or more than one.
    #[error("sample {sample}: the shards answer cells {found:?}, expected each of {expected} once")]
    Cells {
        /// The sample.
        sample: String,
        /// Cells of the genome.
        expected: u32,
        /// The first cell that is missing or double.
        found: u32,
    },
}

/// Checks that `shards`, given as cell ranges, tile all `cells` of the genome.
pub fn check_cells(
    sample: &str,
    cells: u32,
    shards: impl Iterator<Item = (u32, u32)>,
) -> Result<(), Imbalance> {
    let mut sorted: Vec<_> = shards.collect();
    sorted.sort_unstable();
    let mut next = 0;
    for (first, end) in sorted.into_iter().chain([(cells, cells)]) {
        if first != next {
            let found = first.min(next);
            return Err(Imbalance::Cells { sample: sample.to_owned(), expected: cells, found });
        }
        next = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_must_tile_the_genome() {
        let check = |shards: &[(u32, u32)]| check_cells("s", 9, shards.iter().copied()).is_ok();
        assert!(check(&[(0, 9)]) && check(&[(4, 9), (0, 4)]));
        for bad in [&[][..], &[(0, 8)], &[(1, 9)], &[(0, 4), (5, 9)], &[(0, 5), (4, 9)], &[(0, 9), (9, 10)]] {
            assert!(!check(bad), "{bad:?}");
        }
    }

    #[test]
    fn fates_add_up() {
        let mut fates = Fates { mapped: 3, duplicate: 1, unmapped: 2, ..Fates::default() };
        fates.add(&Fates { filtered: [("empty".to_owned(), 4)].into(), ..Fates::default() });
        assert_eq!(fates.total(), 10);
    }
}
