//! Parity against outside vectors, and every pattern of loss.

use std::path::PathBuf;

use super::*;

/// The input of the outside vectors, for blocks of any length.
fn data(k: u8, bytes: usize) -> Vec<Vec<u8>> {
    (0..usize::from(k)).map(|i| (0..bytes).map(|j| (131 * i + 7 * j + 1) as u8).collect()).collect()
}

/// The blocks of a row, data and parity.
fn row(code: &Code, data: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let slices: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    let mut parity = vec![b"left by another row".to_vec(); code.m().into()];
    code.encode(&slices, &mut parity);
    let absent = vec![Vec::new(); usize::from(code.k()) - data.len()];
    [data, &absent, &parity].concat()
}

fn check_restored(code: &Code, row: &[Vec<u8>], present: &[u8]) {
    let length = row.iter().map(Vec::len).max().unwrap();
    let blocks: Vec<(u8, &[u8])> = present.iter().map(|i| (*i, row[usize::from(*i)].as_slice())).collect();
    let wanted: Vec<u8> = (0..row.len() as u8).collect();
    for (i, block) in code.reconstruct(&blocks, &wanted, length).unwrap().iter().enumerate() {
        let (bytes, zeros) = block.split_at(row[i].len());
        assert!(bytes == row[i] && block.len() == length, "block {i} from {present:?}");
        assert!(zeros.iter().all(|byte| *byte == 0), "block {i} from {present:?}");
    }
}

#[test]
fn parity_is_that_of_the_outside_vectors() {
    let folder = std::env::var_os("WAKACHI_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")), PathBuf::from);
    let Ok(text) = std::fs::read_to_string(folder.join("vectors/storage/erasure_parity.txt")) else {
        return println!("skipped: no parity vectors beside the repository");
    };
    let mut seen = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [k, m, "cauchy", expected @ ..] = &words[..] else { continue };
        let code = Code::new(k.parse().unwrap(), m.parse().unwrap()).unwrap();
        let row = row(&code, &data(code.k(), 64));
        let hex = |block: &Vec<u8>| block.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let parity: Vec<String> = row[code.k().into()..].iter().map(hex).collect();
        assert_eq!(parity, expected, "{k}+{m}");
        seen.push((code.k(), code.m()));
    }
    assert_eq!(seen, [(4, 2), (10, 4), (16, 4)]);
}

#[test]
fn every_pattern_of_a_small_code_is_restored() {
    for (k, m) in [(1, 0), (1, 3), (2, 1), (3, 2), (4, 2), (5, 4)] {
        let code = Code::new(k, m).unwrap();
        let row = row(&code, &data(k, 65));
        for pattern in 0u32..1 << (k + m) {
            let present: Vec<u8> = (0..k + m).filter(|i| pattern >> i & 1 == 1).collect();
            if present.len() >= k.into() {
                check_restored(&code, &row, &present);
            }
        }
    }
}

#[test]
fn random_patterns_of_large_codes_are_restored_in_any_order() {
    let mut state = 1u64;
    let mut below = |n: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % n
    };
    for (k, m, times) in [(10, 4, 300), (16, 5, 50), (22, 4, 50), (200, 55, 2), (1, 254, 5), (255, 0, 1)] {
        let code = Code::new(k, m).unwrap();
        let row = row(&code, &data(k, 33));
        for _ in 0..times {
            let mut present: Vec<u8> = (0..k + m).collect();
            (1..present.len()).for_each(|i| present.swap(i, below(i + 1)));
            present.truncate(k.into());
            check_restored(&code, &row, &present);
        }
    }
}

#[test]
fn absent_bytes_and_blocks_count_as_zero() {
    let code = Code::new(3, 2).unwrap();
    for (blocks, last) in [(3, 7), (2, 64), (2, 1), (1, 64), (1, 5), (1, 0), (0, 0)] {
        let mut short = data(blocks, 64);
        short.iter_mut().next_back().into_iter().for_each(|block| block.truncate(last));
        let length = short.first().map_or(0, Vec::len);
        let (row_of_short, padded) = (row(&code, &short), {
            let zeros = |i: usize| short.get(i).into_iter().flatten().copied().chain([0; 64]).take(length);
            row(&code, &(0..3).map(|i| zeros(i).collect()).collect::<Vec<Vec<u8>>>())
        });
        assert_eq!(row_of_short[3..], padded[3..], "{blocks} blocks, the last of {last} bytes");
        for present in [[0, 1, 2], [2, 3, 4], [4, 1, 3], [0, 3, 4], [1, 2, 4]] {
            check_restored(&code, &row_of_short, &present);
        }
    }
}

#[test]
fn what_is_no_code_or_no_row_is_refused() {
    use ErasureError::*;
    for (k, m) in [(0, 0), (0, 5), (1, 255), (255, 1), (128, 128)] {
        assert_eq!(Code::new(k, m).unwrap_err(), Parameters { k, m });
    }
    let code = Code::new(2, 2).unwrap();
    let check = |present: &[(u8, &[u8])], wanted: &[u8], expected: ErasureError| {
        assert_eq!(code.reconstruct(present, wanted, 2).unwrap_err(), expected);
    };
    check(&[(0, b"ab"), (4, b"cd")], &[1], Index { index: 4, blocks: 4 });
    check(&[(0, b"ab"), (1, b"cd")], &[255], Index { index: 255, blocks: 4 });
    check(&[(0, b"ab"), (3, b"cd"), (0, b"ab")], &[1], Duplicate { index: 0 });
    check(&[(0, b"ab"), (0, b"ab")], &[1], Duplicate { index: 0 });
    check(&[(3, b"ab")], &[1], TooFew { present: 1, k: 2 });
    check(&[], &[], TooFew { present: 0, k: 2 });
    check(&[(0, b"ab"), (3, b"cde")], &[1], Length { index: 3, bytes: 3, length: 2 });
    assert_eq!(TooFew { present: 1, k: 2 }.class(), Class::Quorum);
    assert_eq!(code.reconstruct(&[(0, b"ab"), (1, b"cd")], &[], 2), Ok(Vec::new()));
}
