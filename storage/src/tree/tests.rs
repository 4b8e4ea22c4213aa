//! The tree against BLAKE3 of the whole.

use super::*;

const BLOCK: usize = BLOCK_BYTES;

/// The value of every block, the root and the builder, against BLAKE3 of the whole.
fn check(body: &[u8]) {
    let bytes = body.len() as u64;
    let expected = *blake3::hash(body).as_bytes();
    let blocks = || body.chunks(BLOCK);
    let values: Vec<[u8; 32]> = blocks().zip(0..).map(|(block, i)| block_value(i, block, bytes)).collect();
    assert_eq!(root(&values, bytes), Some(expected), "{bytes} bytes");
    let mut builder = TreeBuilder::default();
    blocks().for_each(|block| builder.push(block));
    assert_eq!(builder.finish(), Tree { values, root: expected, body_bytes: bytes }, "{bytes} bytes");
}

#[test]
fn the_root_is_blake3_of_the_body() {
    let body: Vec<u8> = (0..17 * BLOCK as u32 + 2000).map(|i| (i ^ i >> 9 ^ i >> 17) as u8).collect();
    let borders = (0..=17).map(|blocks| blocks * BLOCK);
    let offsets =
        [0, 1, 63, 64, 65, 1023, 1024, 1025, 2047, 2048, 2049, BLOCK - 1025, BLOCK - 1024, BLOCK - 1];
    for border in borders {
        for offset in offsets {
            check(&body[..(border + offset).min(body.len())]);
        }
    }
}

#[test]
fn one_block_has_the_root_for_its_value() {
    for bytes in [0, 1, 1024, BLOCK - 1, BLOCK] {
        let block = vec![3; bytes];
        let value = block_value(0, &block, bytes as u64);
        assert_eq!(value, *blake3::hash(&block).as_bytes());
        assert_ne!(value, [0; 32]);
        if bytes == BLOCK {
            assert_ne!(value, block_value(0, &block, bytes as u64 + 1), "the first of two");
        }
    }
}

#[test]
fn a_changed_or_moved_block_has_another_value() {
    let (bytes, block) = (4 * BLOCK as u64, vec![7; BLOCK]);
    let value = block_value(1, &block, bytes);
    for at in [0, 1023, 1024, BLOCK - 1] {
        let mut changed = block.clone();
        changed[at] ^= 1;
        assert_ne!(block_value(1, &changed, bytes), value);
    }
    for index in [0, 2, 3] {
        assert_ne!(block_value(index, &block, bytes), value);
    }
    assert_ne!(block_value(1, &block[1..], bytes), value);
}

#[test]
fn a_root_needs_a_value_for_each_block() {
    let values = [[1; 32]; 3];
    let block = BLOCK as u64;
    for (count, bytes) in
        [(0, 1), (1, 0), (1, block + 1), (2, block), (3, 2 * block), (2, 2 * block + 1), (3, u64::MAX)]
    {
        assert_eq!(root(&values[..count], bytes), None, "{count} values for {bytes} bytes");
    }
    assert!(root(&values, 3 * block).is_some() && root(&values, 2 * block + 1).is_some());
}
