//! The four states as lanes of a vector of AVX2.
//!
//! Per step: the symbols of four bytes, each half a vector, are turned so that what is alike lies side by side; two
//! comparisons say how many bytes leave each state; these are gathered by one look-up and one shuffle, and all states change
//! at once. Lanes hold states 0, 2, 1 and 3, as halves interleave.

#![allow(unsafe_code)] // what is compiled for AVX2 may run only where it was found

use super::{Backwards, Symbol};

/// The CPU has AVX2.
#[derive(Clone, Copy)]
pub struct Avx2(());

impl Avx2 {
    /// `None` where the CPU has not.
    #[cfg(target_arch = "x86_64")]
    pub fn new() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt")).then_some(Avx2(()))
    }

    /// No other architecture has.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn new() -> Option<Self> {
        None
    }

    /// What [`super::put_quarters`] does.
    pub fn put_quarters<const SIZE: usize>(
        self,
        quarters: [&[u8]; 4],
        symbols: &[Symbol],
        states: &mut [u32; 4],
        out: &mut Backwards,
    ) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: whoever has an `Avx2` has asked the CPU.
        unsafe {
            x86::put_quarters::<SIZE>(quarters, symbols, states, out);
        }
        #[cfg(not(target_arch = "x86_64"))]
        super::put_quarters::<SIZE>(quarters, symbols, states, out);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::super::{Backwards, ROOM, Symbol, index};
    use std::arch::x86_64::*;

    /// Which of the eight lowest bytes of the four states leave, in their order, at the end of eight; the others come out as
    /// zeros. The index has two bits a lane: set if not even one byte leaves, and if not two do.
    const LEAVING: [u64; 256] = {
        let mut shuffles = [0; 256];
        let mut stay = 0;
        while stay < 256 {
            let (mut bytes, mut length) = ([0x80; ROOM], ROOM);
            let mut state = 4;
            while state > 0 {
                state -= 1;
                let lane = [0, 2, 1, 3][state];
                let mut which = 0;
                while which < 2 {
                    if stay >> (2 * lane + which) & 1 == 0 {
                        length -= 1;
                        bytes[length] = (2 * state + which) as u8;
                    }
                    which += 1;
                }
            }
            shuffles[stay] = u64::from_le_bytes(bytes);
            stay += 1;
        }
        shuffles
    };

    #[target_feature(enable = "avx2,popcnt")]
    pub fn put_quarters<const SIZE: usize>(
        quarters: [&[u8]; 4],
        symbols: &[Symbol],
        states: &mut [u32; 4],
        out: &mut Backwards,
    ) {
        let symbols = &symbols[..SIZE * SIZE];
        let [Some((&a, of_a)), Some((&b, of_b)), Some((&c, of_c)), Some((&d, of_d))] =
            quarters.map(|quarter| quarter.split_last())
        else {
            return;
        };
        let mut codes = [a, b, c, d];
        let [x0, x1, x2, x3] = states.map(i64::from);
        let mut x = _mm256_set_epi64x(x3, x1, x2, x0);
        let begins = [0; 4];
        let contexts = of_a.iter().zip(of_b).zip(of_c).zip(of_d).rev();
        let contexts = contexts.map(|(((&a, &b), &c), &d)| [a, b, c, d]).chain([begins]);
        for contexts in contexts {
            let symbol = |at: usize| {
                let Symbol([low, high]) = symbols[index::<SIZE>(contexts[at], codes[at])];
                _mm_set_epi64x(high as i64, low as i64)
            };
            let halves = |low, high| _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), high);
            let (of_0_and_1, of_2_and_3) = (halves(symbol(0), symbol(1)), halves(symbol(2), symbol(3)));
            codes = contexts;
            let firsts = _mm256_unpacklo_epi64(of_0_and_1, of_2_and_3);
            let seconds = _mm256_unpackhi_epi64(of_0_and_1, of_2_and_3);
            let low_16 = _mm256_set1_epi64x(0xffff);
            let max = _mm256_srli_epi64::<32>(firsts);
            let bias = _mm256_and_si256(seconds, low_16);
            let rest = _mm256_and_si256(_mm256_srli_epi64::<16>(seconds), low_16);
            let shift = _mm256_srli_epi64::<32>(seconds);

            let (less_one, less_two) = (_mm256_srli_epi64::<8>(x), _mm256_srli_epi64::<16>(x));
            let (no_one, no_two) = (_mm256_cmpgt_epi32(max, x), _mm256_cmpgt_epi32(max, less_one));
            let stay = _mm256_blend_epi32::<0b1010_1010>(no_one, _mm256_slli_epi64::<32>(no_two));
            let stay = _mm256_movemask_ps(_mm256_castsi256_ps(stay)) as usize;
            let bytes = _mm256_and_si256(x, low_16);
            let (of_0_and_2, of_1_and_3) =
                (_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes));
            let bytes = _mm_or_si128(of_0_and_2, _mm_slli_epi64::<16>(of_1_and_3));
            let bytes = _mm_shuffle_epi32::<0b00_00_10_00>(bytes);
            let bytes = _mm_shuffle_epi8(bytes, _mm_cvtsi64_si128(LEAVING[stay & 255] as i64));
            let length = ROOM - stay.count_ones() as usize;
            out.put_end_of(_mm_cvtsi128_si64(bytes).to_le_bytes(), length);

            // Compared was half of each lane: the other is zero in all three.
            let left = _mm256_blendv_epi8(less_one, x, no_one);
            let left = _mm256_blendv_epi8(less_two, left, no_two);
            let quotient = _mm256_srlv_epi64(_mm256_mul_epu32(left, firsts), shift);
            x = _mm256_add_epi64(_mm256_add_epi64(left, bias), _mm256_mul_epu32(quotient, rest));
        }
        let [low, high] = [_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x)];
        let lanes = [low, high].map(|half| [_mm_cvtsi128_si64(half), _mm_extract_epi64::<1>(half)]);
        *states = [lanes[0][0], lanes[1][0], lanes[0][1], lanes[1][1]].map(|state| state as u32);
    }
}
