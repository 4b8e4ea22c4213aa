//! The tree of a fragment: the BLAKE3 chaining values of its blocks, which merge to the BLAKE3 of its body, so that one
//! block is known to be right or wrong without the others.
//!
//! Invariant: `root(values, n)` is the plain BLAKE3 of the body whose blocks have these values.

use blake3::Hasher;
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

/// Bytes of a block, 64 chunks of BLAKE3 and so a whole subtree; the last may be shorter.
pub const BLOCK_BYTES: usize = 65_536;

/// The value of block `index` of a body of `body_bytes`: its chaining value, or its root hash if it is the only one.
///
/// Panics if `block` is longer than [`BLOCK_BYTES`], or empty in a longer body.
pub fn block_value(index: u64, block: &[u8], body_bytes: u64) -> [u8; 32] {
    assert!(block.len() <= BLOCK_BYTES, "a block has at most {BLOCK_BYTES} bytes");
    if body_bytes <= BLOCK_BYTES as u64 { alone(block) } else { within(index, block) }
}

/// The BLAKE3 of a body of `body_bytes` from the values of its blocks; `None` if it has not so many.
pub fn root(values: &[[u8; 32]], body_bytes: u64) -> Option<[u8; 32]> {
    if values.len() as u64 != body_bytes.div_ceil(BLOCK_BYTES as u64) {
        return None;
    }
    Some(match values {
        [] => alone(&[]),
        [value] => *value,
        _ => {
            let (left, right) = children(values);
            *merge_subtrees_root(&left, &right, Mode::Hash).as_bytes()
        }
    })
}

/// The tree of a body that comes block by block, of a length that is known at its end.
#[derive(Clone, Debug, Default)]
pub struct TreeBuilder {
    values: Vec<[u8; 32]>,
    /// What the first block's value is if no other follows.
    alone: [u8; 32],
    body_bytes: u64,
}

impl TreeBuilder {
    /// Appends the next block, which is not empty.
    ///
    /// Panics if it is, or longer than [`BLOCK_BYTES`], or follows a shorter one.
    pub fn push(&mut self, block: &[u8]) {
        assert!((1..=BLOCK_BYTES).contains(&block.len()), "a block has 1 to {BLOCK_BYTES} bytes");
        assert!(self.body_bytes.is_multiple_of(BLOCK_BYTES as u64), "only the last block is short");
        let index = self.values.len() as u64;
        if index == 0 {
            self.alone = alone(block);
        }
        self.values.push(within(index, block));
        self.body_bytes += block.len() as u64;
    }

    /// The values of the blocks, the BLAKE3 of the body and its bytes.
    pub fn finish(mut self) -> Tree {
        if let [value] = self.values.as_mut_slice() {
            *value = self.alone;
        }
        let root = root(&self.values, self.body_bytes).expect("a value for each block");
        Tree { values: self.values, root, body_bytes: self.body_bytes }
    }
}

/// What is kept of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// The value of each block.
    pub values: Vec<[u8; 32]>,
    /// The BLAKE3 of the body.
    pub root: [u8; 32],
    /// Bytes of the body.
    pub body_bytes: u64,
}

fn alone(block: &[u8]) -> [u8; 32] {
    *blake3::hash(block).as_bytes()
}

fn within(index: u64, block: &[u8]) -> [u8; 32] {
    Hasher::new().set_input_offset(index * BLOCK_BYTES as u64).update(block).finalize_non_root()
}

/// The two subtrees under the parent of at least two values: BLAKE3 puts on the left the largest power of two of chunks
/// that leaves the right something, which is a power of two of blocks.
fn children(values: &[[u8; 32]]) -> ([u8; 32], [u8; 32]) {
    let (left, right) = values.split_at(values.len().next_power_of_two() / 2);
    (merge(left), merge(right))
}

fn merge(values: &[[u8; 32]]) -> [u8; 32] {
    match values {
        [value] => *value,
        _ => {
            let (left, right) = children(values);
            merge_subtrees_non_root(&left, &right, Mode::Hash)
        }
    }
}

#[cfg(test)]
mod tests;
