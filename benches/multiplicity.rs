//! How often the k-mers of a genome occur in it, on either strand: what decides how hard a read is to place there.
//!
//! K-mers are sampled by their hash, so that all occurrences of one are counted or none, in little memory.

use std::convert::Infallible;
use std::path::Path;
use workers::fasta;

/// About so many occurrences are sampled.
const SAMPLES: u64 = 8_000_000;
/// Upper ends of the classes of multiplicity.
const CLASS_ENDS: [usize; 4] = [1, 2, 10, 100];
/// Their names, and that of the last.
pub const CLASSES: [&str; 5] = ["once", "twice", "3 to 10", "11 to 100", "more often"];

/// The shares of the positions of a FASTA file whose k-mer occurs as often as each class says, for each `k` of at most
/// 31.
pub fn multiplicity(path: &Path, lengths: &[usize], bases: u64) -> Vec<[f64; 5]> {
    let bits = bases.div_ceil(SAMPLES).next_power_of_two().trailing_zeros();
    let mut samples: Vec<Vec<u64>> = vec![Vec::new(); lengths.len()];
    let read: Result<(), Infallible> = fasta::read(path, |_, letters| {
        for (&k, samples) in lengths.iter().zip(&mut samples) {
            sample(letters, k, bits, samples);
        }
        Ok(())
    })
    .expect("a FASTA file");
    let Ok(()) = read;
    samples.into_iter().map(shares).collect()
}

/// Adds the hashes of the k-mers whose hash begins with `bits` zeros.
fn sample(letters: &[u8], k: usize, bits: u32, samples: &mut Vec<u64>) {
    let (mask, top) = ((1u64 << (2 * k)) - 1, 2 * (k - 1));
    let (mut forward, mut reverse, mut known) = (0u64, 0u64, 0);
    for letter in letters {
        let Some(code) = b"ACGT".iter().position(|base| base == letter) else {
            known = 0;
            continue;
        };
        forward = (forward << 2 | code as u64) & mask;
        reverse = reverse >> 2 | (3 - code as u64) << top;
        known += 1;
        let hash = mixed(forward.min(reverse));
        if known >= k && hash.leading_zeros() >= bits {
            samples.push(hash);
        }
    }
}

/// One to one, so that different k-mers stay different (Stafford 2011, mix 13).
fn mixed(word: u64) -> u64 {
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

fn shares(mut samples: Vec<u64>) -> [f64; 5] {
    samples.sort_unstable();
    let mut counts = [0usize; 5];
    for run in samples.chunk_by(|a, b| a == b) {
        counts[CLASS_ENDS.partition_point(|&end| end < run.len())] += run.len();
    }
    counts.map(|count| count as f64 / samples.len().max(1) as f64)
}
