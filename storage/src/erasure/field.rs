//! GF(2^8) with the polynomial x^8 + x^4 + x^3 + x^2 + 1 (0x11d), in which 2 generates every element but zero.
//!
//! For coefficients only: the tables are indexed by values, which must not be secrets.

const POLYNOMIAL: u16 = 0x11d;

/// Powers of 2, twice over, so that a sum of two logarithms needs no reduction.
static POWERS: [u8; 510] = powers();
static LOGARITHMS: [u8; 256] = logarithms();

/// The product.
pub(super) fn multiply(a: u8, b: u8) -> u8 {
    match (a, b) {
        (0, _) | (_, 0) => 0,
        _ => POWERS[usize::from(LOGARITHMS[usize::from(a)]) + usize::from(LOGARITHMS[usize::from(b)])],
    }
}

/// The inverse of `a`, which is not zero.
pub(super) fn inverse(a: u8) -> u8 {
    assert_ne!(a, 0, "zero has no inverse");
    POWERS[255 - usize::from(LOGARITHMS[usize::from(a)])]
}

const fn powers() -> [u8; 510] {
    let mut table = [0; 510];
    let (mut power, mut exponent) = (1u16, 0);
    while exponent < 510 {
        table[exponent] = power as u8;
        power <<= 1;
        if power > 0xff {
            power ^= POLYNOMIAL;
        }
        exponent += 1;
    }
    table
}

const fn logarithms() -> [u8; 256] {
    let mut table = [0; 256];
    let mut exponent = 0;
    while exponent < 255 {
        table[powers()[exponent] as usize] = exponent as u8;
        exponent += 1;
    }
    table
}
