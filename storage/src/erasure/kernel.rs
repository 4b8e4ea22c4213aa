//! The hot loop of the code: a block times a coefficient, added to a sum.
//!
//! No table is indexed by data, and no branch depends on it.

use super::field;

/// `sum[i] ^= coefficient * block[i]`; both have the same length.
///
/// A byte is the sum of its bits, so its product is that of the coefficient's multiples by 2^7 .. 2^0 whose bit is
/// set:
///
/// ```text
/// for bit in 7..=0: sum ^= (all ones if the byte's top bit is set) & multiple[bit]; byte <<= 1
/// ```
///
/// The top bit is the sign, so the mask is one comparison: four instructions a bit on any vector of bytes, 32 for 16
/// bytes with SSE2. The compiler vectorises it; tables of nibbles would need a shuffle that the baseline lacks.
pub(super) fn multiply_add(coefficient: u8, block: &[u8], sum: &mut [u8]) {
    debug_assert_eq!(block.len(), sum.len());
    let multiples: [u8; 8] = std::array::from_fn(|bit| field::multiply(coefficient, 0x80 >> bit));
    for (sum, byte) in sum.iter_mut().zip(block) {
        let mut byte = *byte as i8;
        for multiple in multiples {
            *sum ^= (byte >> 7) as u8 & multiple;
            byte <<= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The oracle: long multiplication and division of polynomials.
    fn naive(a: u8, b: u8) -> u8 {
        let product = (0..8).filter(|bit| b >> bit & 1 == 1).fold(0u16, |sum, bit| sum ^ u16::from(a) << bit);
        let reduced = (8..15).rev().fold(product, |rest, bit| match rest >> bit & 1 {
            1 => rest ^ 0x11d << (bit - 8),
            _ => rest,
        });
        reduced as u8
    }

    #[test]
    fn every_product_and_inverse_is_that_of_the_field() {
        for a in 0..=255 {
            for b in 0..=255 {
                assert_eq!(field::multiply(a, b), naive(a, b), "{a} * {b}");
            }
            if a != 0 {
                assert_eq!(naive(a, field::inverse(a)), 1, "1 / {a}");
            }
        }
    }

    #[test]
    fn blocks_of_every_length_and_alignment_are_multiplied_bytewise() {
        let bytes: Vec<u8> = (0..600u32).map(|i| (i * i + 7 * i) as u8).collect();
        for coefficient in 0..=255 {
            for (from, length) in
                [(0, 0), (0, 1), (0, 15), (0, 16), (0, 17), (1, 31), (3, 64), (5, 257), (0, 512)]
            {
                let block = &bytes[from..from + length];
                let mut sum = bytes[80..80 + length].to_vec();
                multiply_add(coefficient, block, &mut sum);
                let expected = block.iter().zip(&bytes[80..]).map(|(b, s)| s ^ naive(coefficient, *b));
                assert!(sum.iter().copied().eq(expected), "{coefficient} over {length} bytes from {from}");
            }
        }
    }
}
