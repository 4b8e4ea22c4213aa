//! Systematic Reed-Solomon code over GF(2^8): k blocks give m parity blocks, and any k of the k + m give all.
//!
//! Parity row i (0..m), column j (0..k) of the matrix is 1 / ((k + i) xor j), a Cauchy matrix: every square part of it
//! and the identity above it is invertible (Bloemer et al., "An XOR-based erasure-resilient coding scheme", 1995).
//!
//! Invariant: what is reconstructed is what was encoded if the present blocks are; a code corrects what is missing
//! and cannot tell what is wrong. Who calls it leaves out every block that does not match its hash.

mod field;
mod kernel;
mod matrix;

use jobs::failure::{Class, Classified};

use matrix::Matrix;

/// A code with k data blocks and m parity blocks; holding it is the proof that there is one.
#[derive(Clone, Debug)]
pub struct Code {
    k: u8,
    m: u8,
    /// Rows of the k + m blocks over the k data blocks: the identity, then the parity.
    rows: Matrix,
}

impl Code {
    /// The code of `k` data blocks, at least 1, and `m` parity blocks, at most 255 together.
    pub fn new(k: u8, m: u8) -> Result<Self, ErasureError> {
        if !Self::fits(k, m) {
            return Err(ErasureError::Parameters { k, m });
        }
        Ok(Code { k, m, rows: Matrix::systematic_cauchy(k, m) })
    }

    /// Whether there is a code of this size.
    pub fn fits(k: u8, m: u8) -> bool {
        k >= 1 && k.checked_add(m).is_some()
    }

    /// Data blocks of a row.
    pub fn k(&self) -> u8 {
        self.k
    }

    /// Parity blocks of a row.
    pub fn m(&self) -> u8 {
        self.m
    }

    /// Replaces `parity` by the m parity blocks of a row of at most k data blocks, each as long as the longest of
    /// them; absent blocks and bytes count as zero.
    ///
    /// Panics if there are more than k blocks of data or not m of parity.
    pub fn encode(&self, data: &[&[u8]], parity: &mut [Vec<u8>]) {
        let (k, m) = (usize::from(self.k), usize::from(self.m));
        assert!(data.len() <= k && parity.len() == m, "blocks are those of the code");
        let length = data.iter().map(|block| block.len()).max().unwrap_or(0);
        for (block, row) in parity.iter_mut().zip(&self.rows[k..]) {
            block.clear();
            block.resize(length, 0);
            combine(row, data.iter().copied(), block);
        }
    }

    /// The blocks of indexes `wanted`, data or parity, from k or more of a row, each as `(index, bytes)`. A block that
    /// is shorter than `length`, the longest block of the row, counts as ended by zeros, so that one which a short row
    /// has not is present and empty; every returned block has `length` bytes.
    pub fn reconstruct(
        &self,
        present: &[(u8, &[u8])],
        wanted: &[u8],
        length: usize,
    ) -> Result<Vec<Vec<u8>>, ErasureError> {
        self.check(present, wanted, length)?;
        let present = &present[..self.k.into()];
        let from_present = self.rows.select(present.iter().map(|(index, _)| *index)).inverse();
        let rows = self.rows.select(wanted.iter().copied()).times(&from_present);
        let blocks = rows.iter().map(|row| {
            let mut block = vec![0; length];
            combine(row, present.iter().map(|(_, bytes)| *bytes), &mut block);
            block
        });
        Ok(blocks.collect())
    }

    fn check(&self, present: &[(u8, &[u8])], wanted: &[u8], length: usize) -> Result<(), ErasureError> {
        let (blocks, k) = (self.k + self.m, self.k);
        let indexes = || present.iter().map(|(index, _)| *index);
        if let Some(index) = indexes().chain(wanted.iter().copied()).find(|index| *index >= blocks) {
            return Err(ErasureError::Index { index, blocks });
        }
        let mut seen = [false; 256];
        if let Some(index) = indexes().find(|index| std::mem::replace(&mut seen[usize::from(*index)], true)) {
            return Err(ErasureError::Duplicate { index });
        }
        if present.len() < k.into() {
            return Err(ErasureError::TooFew { present: present.len(), k });
        }
        match present.iter().find(|(_, bytes)| bytes.len() > length) {
            Some((index, bytes)) => Err(ErasureError::Length { index: *index, bytes: bytes.len(), length }),
            None => Ok(()),
        }
    }
}

/// Adds the sum of each block times its coefficient to `sum`, which is as long as the longest.
fn combine<'a>(coefficients: &[u8], blocks: impl Iterator<Item = &'a [u8]>, sum: &mut [u8]) {
    for (coefficient, block) in coefficients.iter().zip(blocks) {
        kernel::multiply_add(*coefficient, block, &mut sum[..block.len()]);
    }
}

/// Why blocks cannot be coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErasureError {
    /// There is no code of this size.
    #[error("{k} data and {m} parity blocks: expected at least one data block and at most 255 in all")]
    Parameters {
        /// Data blocks.
        k: u8,
        /// Parity blocks.
        m: u8,
    },
    /// A block that the code has not.
    #[error("block {index} of a row of {blocks}")]
    Index {
        /// The block.
        index: u8,
        /// Blocks of a row, k + m.
        blocks: u8,
    },
    /// A block came twice.
    #[error("block {index} is there twice")]
    Duplicate {
        /// The block.
        index: u8,
    },
    /// Fewer blocks than the code needs.
    #[error("{present} blocks of a row are there: expected {k}")]
    TooFew {
        /// Blocks that are there.
        present: usize,
        /// Blocks needed.
        k: u8,
    },
    /// A block is longer than the row's longest.
    #[error("block {index} has {bytes} bytes: expected at most {length}")]
    Length {
        /// The block.
        index: u8,
        /// Its bytes.
        bytes: usize,
        /// Bytes of the row's longest block.
        length: usize,
    },
}

impl Classified for ErasureError {
    fn class(&self) -> Class {
        match self {
            ErasureError::Parameters { .. } => Class::Usage,
            ErasureError::TooFew { .. } => Class::Quorum,
            ErasureError::Index { .. } | ErasureError::Duplicate { .. } | ErasureError::Length { .. } => {
                Class::Integrity
            }
        }
    }
}

#[cfg(test)]
mod tests;
