//! Secret sharing against FIPS 197, SLIP-39 and an oracle, for bias, and with every kind of bad share.

use super::*;
use crate::signed::unhex;
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use aws_lc_rs::pbkdf2::{PBKDF2_HMAC_SHA256, derive};

const OBJECT: [u8; 16] = [5; 16];

fn secret() -> [u8; SECRET_BYTES] {
    *random()
}

fn commitments(shares: &[Share]) -> BTreeMap<u8, [u8; 32]> {
    shares.iter().map(|share| (share.index, commitment(&OBJECT, Kind::Custodian, share))).collect()
}

fn share(index: u8, bytes: &[u8]) -> Share {
    let mut share = Share { index, bytes: Zeroizing::new([0; SECRET_BYTES]) };
    share.bytes[..bytes.len()].copy_from_slice(bytes);
    share
}

/// Schoolbook arithmetic modulo any polynomial of degree 8, by another way than ours.
mod naive {
    pub fn multiply(polynomial: u16, a: u8, b: u8) -> u8 {
        let mut product =
            (0..8).filter(|bit| b >> bit & 1 == 1).fold(0, |sum, bit| sum ^ u16::from(a) << bit);
        for bit in (8..16).rev() {
            if product >> bit & 1 == 1 {
                product ^= polynomial << (bit - 8);
            }
        }
        product as u8
    }

    pub fn divide(polynomial: u16, a: u8, b: u8) -> u8 {
        (0..=255).find(|&quotient| multiply(polynomial, quotient, b) == a).unwrap()
    }

    /// The sum of coefficient * x^power, lowest power first.
    pub fn evaluate(polynomial: u16, coefficients: &[u8], x: u8) -> u8 {
        let mut power = 1;
        coefficients.iter().fold(0, |sum, &coefficient| {
            let term = multiply(polynomial, coefficient, power);
            power = multiply(polynomial, power, x);
            sum ^ term
        })
    }

    /// The value at 0 through (x, y), by Lagrange.
    pub fn at_zero(polynomial: u16, points: &[(u8, u8)]) -> u8 {
        points.iter().fold(0, |sum, &(x, y)| {
            let others = points.iter().map(|point| point.0).filter(|&other| other != x);
            sum ^ others
                .fold(y, |product, other| multiply(polynomial, product, divide(polynomial, other, x ^ other)))
        })
    }
}

#[test]
fn the_field_is_that_of_fips_197() {
    // FIPS 197 § 4.2 and § 4.2.1.
    assert_eq!((multiply(0x57, 0x83), multiply(0x57, 0x13)), (0xc1, 0xfe));
    for a in 0..=255 {
        for b in 0..=255 {
            assert_eq!(multiply(a, b), naive::multiply(0x11b, a, b), "{a} * {b}");
        }
        assert_eq!(multiply(a, invert(a)), u8::from(a != 0), "1 / {a}");
    }
}

#[test]
fn any_quorum_gives_the_secret() {
    for shares in 1..=6 {
        for threshold in 1..=shares {
            let secret = secret();
            let all = split(&secret, threshold, shares).unwrap();
            assert!(all.iter().map(|share| share.index).eq(1..=shares));
            let committed = commitments(&all);
            for subset in 0..1_u32 << shares {
                let some: Vec<_> =
                    all.iter().filter(|share| subset >> (share.index - 1) & 1 == 1).rev().cloned().collect();
                let combined = combine_committed(&OBJECT, Kind::Custodian, &committed, &some, threshold);
                match some.len() < usize::from(threshold) {
                    false => assert_eq!(*combined.unwrap(), secret),
                    true => {
                        let error = combined.unwrap_err();
                        assert_eq!(error, ShamirError::TooFew { have: some.len(), need: threshold });
                        assert_eq!(error.class(), Class::Quorum);
                    }
                }
            }
        }
    }
    let secret = secret();
    let all = split(&secret, 255, 255).unwrap();
    assert_eq!(*combine(&all, 255).unwrap(), secret);
    assert!(combine(&all[1..], 255).is_err());
    for (threshold, shares) in [(0, 0), (0, 3), (4, 3), (1, 0)] {
        let error = split(&secret, threshold, shares).unwrap_err();
        assert_eq!(error, ShamirError::Threshold { threshold, shares });
    }
    assert!(matches!(combine(&[], 0), Err(ShamirError::Threshold { .. })));
}

/// The same oracle agrees with `blahaj` modulo its polynomial, 0x11d, and with us modulo ours.
#[test]
fn shares_are_those_of_an_oracle_that_blahaj_agrees_with() {
    for threshold in 1..=5 {
        let secret = secret();
        let theirs: Vec<Vec<u8>> =
            blahaj::Sharks(threshold).dealer(&secret).take(7).map(|share| Vec::from(&share)).collect();
        let ours: Vec<Vec<u8>> = split(&secret, threshold, 7)
            .unwrap()
            .iter()
            .map(|share| [&[share.index][..], &*share.bytes].concat())
            .collect();
        for (polynomial, shares) in [(0x11d, &theirs), (0x11b, &ours)] {
            let quorum = &shares[7 - usize::from(threshold)..];
            for (byte, expected) in secret.iter().enumerate() {
                let points: Vec<_> = quorum.iter().map(|share| (share[0], share[1 + byte])).collect();
                assert_eq!(naive::at_zero(polynomial, &points), *expected, "{threshold}, {polynomial:x}");
            }
        }
        let coefficients: Vec<_> = (1..threshold).map(|_| random()).collect();
        let oracle = |polynomial, x| -> Vec<u8> {
            let value = |byte: usize| {
                let column = coefficients.iter().map(|coefficient: &Zeroizing<[u8; 32]>| coefficient[byte]);
                let column: Vec<_> = std::iter::once(secret[byte]).chain(column).collect();
                naive::evaluate(polynomial, &column, x)
            };
            (0..SECRET_BYTES).map(value).collect()
        };
        let made: Vec<_> = (1..=threshold)
            .map(|x| blahaj::Share::try_from(&[&[x][..], &oracle(0x11d, x)].concat()[..]).unwrap())
            .collect();
        assert_eq!(blahaj::Sharks(threshold).recover(&made).unwrap(), secret);
        for x in [1, 2, 77, 254, 255] {
            assert_eq!(evaluate(&secret, &coefficients, x).bytes[..], oracle(0x11b, x)[..]);
        }
    }
}

/// One set of mnemonics of SLIP-39's vectors.json (github.com/trezor/python-shamir-mnemonic; passphrase "TREZOR"), its
/// words already turned into numbers.
struct Slip39 {
    identifier: u16,
    extendable: bool,
    exponent: u32,
    group_threshold: u8,
    groups: &'static [Slip39Group],
    secret: &'static str,
}

/// Group, member threshold and members, each an index and a value.
type Slip39Group = (u8, u8, &'static [(u8, &'static str)]);

/// SLIP-39 shares byte by byte in our field, the secret at 255 and a digest of it at 254.
const SLIP39: &[Slip39] = &[
    // 4. Basic sharing 2-of-3 (128 bits)
    Slip39 {
        identifier: 25653,
        extendable: false,
        exponent: 2,
        group_threshold: 1,
        groups: &[(
            0,
            2,
            &[(2, "08fb14b66e692e25dfe2edf53289ed62"), (0, "06ab48fef4bedc8ce58baeef0a73f76e")],
        )],
        secret: "b43ceb7e57a0ea8766221624d01b0864",
    },
    // 17. Threshold number of groups and members in each group (128 bits, case 1)
    Slip39 {
        identifier: 9497,
        extendable: false,
        exponent: 0,
        group_threshold: 2,
        groups: &[
            (3, 2, &[(0, "44e95c567b0b73d470f78e2cc4f206ee"), (4, "a0c12ed2cc2adeb32ccebec07a3c1b3a")]),
            (
                2,
                3,
                &[
                    (4, "90f25bc998346d039203971999669e96"),
                    (2, "fc119ebfe32da3d688dc1f26c22c7ffc"),
                    (0, "9e6afad0e741c8c1c65b2785a942808a"),
                ],
            ),
        ],
        secret: "7c3397a292a5941682d7a4ae2d898d11",
    },
    // 23. Basic sharing 2-of-3 (256 bits)
    Slip39 {
        identifier: 14279,
        extendable: false,
        exponent: 2,
        group_threshold: 1,
        groups: &[(
            0,
            2,
            &[
                (2, "81e5473f4b7f66094f888d2f98fe0ded6a692dc72c65dc498d6e28bee6ebdfcc"),
                (1, "19e366e9b2e34851e52132c31c2b2c957321bf5ce6c9c1410ea1ddf5fef92c27"),
            ],
        )],
        secret: "c938b319067687e990e05e0da0ecce1278f75ff58d9853f19dcaeed5de104aae",
    },
    // 36. Threshold number of groups and members in each group (256 bits, case 1)
    Slip39 {
        identifier: 32134,
        extendable: false,
        exponent: 0,
        group_threshold: 2,
        groups: &[
            (
                2,
                3,
                &[
                    (0, "82a363ed145a49a4e37311253c105846c0afb13b74e5ddda9cc25d7aae49bc89"),
                    (1, "d127f1f9bc12e3856fb3983104783b71480d249d80101568def4a41100177dfb"),
                    (4, "4bde8a604105f3a6c32f2f547131aafea756725a28e80a14d59d8f05c4adcca5"),
                ],
            ),
            (
                3,
                2,
                &[
                    (1, "094ed0a7c9b50a3dcecc037bb4e34eb5b158a8ee3f8ea661e76521e07629e663"),
                    (2, "98091ab3396a2e9ab9d6889b6507fce1e3c12dd0a2676ee52bb1b389ec320a90"),
                ],
            ),
        ],
        secret: "5385577c8cfc6c1a8aa0f7f10ecde0a3318493262591e78b8c14c6686167123b",
    },
    // 41. Valid mnemonics which can detect some errors in modular arithmetic
    Slip39 {
        identifier: 13899,
        extendable: false,
        exponent: 0,
        group_threshold: 1,
        groups: &[(
            0,
            3,
            &[
                (7, "3ed2fa64acf769131509ca05437606b1"),
                (9, "58ccc8f63e2232eb372d91241e61506b"),
                (0, "0d5f0655e0645fad705c1e128887678f"),
            ],
        )],
        secret: "ad6f2ad8b59bbbaa01369b9006208d9a",
    },
    // 45. Extendable basic sharing 2-of-3 (256 bits)
    Slip39 {
        identifier: 32065,
        extendable: true,
        exponent: 0,
        group_threshold: 1,
        groups: &[(
            0,
            2,
            &[
                (2, "daef18f6bfd2792749905e41a402dae0365bc2434e455226096a99f941d203bf"),
                (0, "b4290e56271e919a44596794aef75071b07536ee113e1529299a08b19190ed81"),
            ],
        )],
        secret: "8dc652d6d6cd370d8c963141f6d79ba440300f25c467302c1d966bff8f62300d",
    },
];

#[test]
fn interpolation_gives_the_secrets_of_slip_39() {
    for vector in SLIP39 {
        let length = vector.secret.len() / 2;
        let recover = |threshold: u8, shares: &[Share]| {
            if threshold == 1 {
                return shares[0].bytes[..length].to_vec();
            }
            let (digest, value) = (interpolate(shares, 254), interpolate(shares, 255));
            let expected = sign(&Key::new(HMAC_SHA256, &digest[4..length]), &value[..length]);
            assert_eq!(digest[..4], expected.as_ref()[..4], "digest of {}", vector.secret);
            value[..length].to_vec()
        };
        let groups: Vec<_> = vector
            .groups
            .iter()
            .map(|(group, threshold, members)| {
                let members: Vec<_> =
                    members.iter().map(|(index, value)| share(*index, &unhex(value))).collect();
                share(*group, &recover(*threshold, &members))
            })
            .collect();
        let encrypted = recover(vector.group_threshold, &groups);
        assert_eq!(slip39_decrypt(vector, &encrypted), unhex(vector.secret));
    }
}

/// SLIP-39, "Encryption of the master secret": a Feistel network of four rounds, here backwards.
fn slip39_decrypt(vector: &Slip39, encrypted: &[u8]) -> Vec<u8> {
    let iterations = (2500 << vector.exponent).try_into().unwrap();
    let (mut left, mut right): (Vec<u8>, Vec<u8>) = {
        let (left, right) = encrypted.split_at(encrypted.len() / 2);
        (left.to_vec(), right.to_vec())
    };
    for round in (0..4_u8).rev() {
        let mut salt = match vector.extendable {
            true => Vec::new(),
            false => [b"shamir", &vector.identifier.to_be_bytes()[..]].concat(),
        };
        salt.extend_from_slice(&right);
        let mut out = vec![0; left.len()];
        derive(PBKDF2_HMAC_SHA256, iterations, &salt, &[&[round][..], b"TREZOR"].concat(), &mut out);
        out.iter_mut().zip(&left).for_each(|(out, left)| *out ^= left);
        (left, right) = (right, out);
    }
    [right, left].concat()
}

/// Whatever the secret, one share of two and any two of three take all their values equally often: for one byte this is all
/// there is to try.
#[test]
fn fewer_shares_than_the_quorum_tell_nothing() {
    let one = |byte: u8| Zeroizing::new([byte; SECRET_BYTES]);
    for secret in [0, 1, 0x80, 0xff] {
        for index in [1, 2, 255] {
            let mut seen = [false; 256];
            for a in 0..=255 {
                seen[usize::from(evaluate(&one(secret), &[one(a)], index).bytes[0])] = true;
            }
            assert!(seen.iter().all(|seen| *seen), "2 of n, secret {secret}, share {index}");
        }
        let mut seen = vec![false; 1 << 16];
        for a in 0..=255 {
            for b in 0..=255 {
                let value = |index| usize::from(evaluate(&one(secret), &[one(a), one(b)], index).bytes[0]);
                seen[value(1) << 8 | value(3)] = true;
            }
        }
        assert!(seen.iter().all(|seen| *seen), "3 of n, secret {secret}");
    }
}

/// 10^6 sharings of one secret, 3 of 3: the first share, and the two coefficients behind it, are uniform over 256 values.
/// A coefficient that is never zero, as in RUSTSEC-2024-0398, would give 125,000 + 255 here.
#[test]
fn shares_and_coefficients_are_uniform_over_a_million_sharings() {
    const SHARINGS: u64 = 1_000_000;
    let secret = secret();
    let mut counts = [[0_u64; 256]; 3];
    let inverse = invert(6);
    for _ in 0..SHARINGS {
        let shares = split(&secret, 3, 3).unwrap();
        for ((&first, &second), s) in shares[0].bytes.iter().zip(shares[1].bytes.iter()).zip(secret) {
            // first = s + a + b and second = s + 2a + 4b, so 2(first + s) + (second + s) = 6b.
            let b = multiply(multiply(first ^ s, 2) ^ second ^ s, inverse);
            for (counts, value) in counts.iter_mut().zip([first, first ^ s ^ b, b]) {
                counts[usize::from(value)] += 1;
            }
        }
    }
    let expected = (SHARINGS * SECRET_BYTES as u64 / 256) as f64;
    for (what, counts) in ["share", "linear coefficient", "leading coefficient"].into_iter().zip(counts) {
        let chi_square: f64 = counts.iter().map(|&count| (count as f64 - expected).powi(2) / expected).sum();
        // 255 degrees of freedom: mean 255, deviation 22.6; both bounds lie 7 deviations off.
        assert!((97.0..413.0).contains(&chi_square), "{what}: {chi_square}");
        let zeros = (counts[0] as f64 - expected) / expected.sqrt();
        assert!(zeros.abs() < 7.0, "{what}: zero comes {} times, expected {expected}", counts[0]);
    }
}

#[test]
fn no_bad_share_gives_a_secret() {
    let (secret, other_secret) = (secret(), secret());
    let all = split(&secret, 3, 5).unwrap();
    let again = split(&secret, 3, 5).unwrap();
    let other = split(&other_secret, 3, 5).unwrap();
    let committed = commitments(&all);
    let check = |shares: &[Share], expect: ShamirError| {
        let combined = combine_committed(&OBJECT, Kind::Custodian, &committed, shares, 3);
        assert_eq!(combined.unwrap_err(), expect);
    };
    let with = |at: usize, share: Share| {
        let mut shares = all[..3].to_vec();
        shares[at] = share;
        shares
    };
    for at in 0..3 {
        let index = all[at].index;
        for bit in 0..8 * SECRET_BYTES {
            let mut flipped = all[at].clone();
            flipped.bytes[bit / 8] ^= 1 << (bit % 8);
            check(&with(at, flipped.clone()), ShamirError::Mismatch { index });
            // Without the commitments, only shares beyond the quorum can tell.
            let mut shares = with(at, flipped);
            assert_ne!(*combine(&shares, 3).unwrap(), secret);
            shares.push(all[4].clone());
            assert_eq!(combine(&shares, 3).unwrap_err(), ShamirError::Inconsistent { index: 5 });
        }
        for index in (0..=255).filter(|index| *index != all[at].index) {
            let expect = match (1..=5).contains(&index) {
                true => ShamirError::Mismatch { index },
                false => ShamirError::Unknown { index },
            };
            check(&with(at, Share { index, ..all[at].clone() }), expect);
        }
        check(&with(at, again[at].clone()), ShamirError::Mismatch { index });
        check(&with(at, other[at].clone()), ShamirError::Mismatch { index });
        let twice = all[(at + 1) % 3].clone();
        check(&with(at, twice.clone()), ShamirError::Duplicate { index: twice.index });
        assert_eq!(
            combine(&with(at, twice.clone()), 3).unwrap_err(),
            ShamirError::Duplicate { index: twice.index }
        );
        assert_eq!(combine(&with(at, Share { index: 0, ..twice }), 3).unwrap_err(), ShamirError::ZeroIndex);
    }
    let mut swapped = all[..3].to_vec();
    (swapped[0].index, swapped[1].index) = (2, 1);
    check(&swapped, ShamirError::Mismatch { index: 2 });
    check(&all[..2], ShamirError::TooFew { have: 2, need: 3 });
    check(&[], ShamirError::TooFew { have: 0, need: 3 });
    // A true quorum beside one bad share is still refused: who reads tells the bad one first.
    check(&[&all[..3], &other[3..4]].concat(), ShamirError::Mismatch { index: 4 });
    // A sharing of another threshold than claimed.
    let higher = split(&secret, 4, 5).unwrap();
    assert_eq!(combine(&higher, 3).unwrap_err(), ShamirError::Inconsistent { index: 4 });
    for (object, kind) in [([6; 16], Kind::Custodian), (OBJECT, Kind::Fragment)] {
        let combined = combine_committed(&object, kind, &committed, &all, 3);
        assert_eq!(combined.unwrap_err(), ShamirError::Mismatch { index: 1 });
    }
}

/// `DESIGN.md`, Shares of secrets; the digest is that of Python's hashlib.
#[test]
fn a_commitment_has_the_bytes_of_the_design() {
    let (bytes, object): (Vec<u8>, Vec<u8>) = ((0..32).collect(), (100..116).collect());
    let check = |kind, expect: &str| {
        let commitment = commitment(&object.clone().try_into().unwrap(), kind, &share(9, &bytes));
        assert_eq!(crate::signed::hex(&commitment), expect);
    };
    check(Kind::Custodian, "bec4d068cf74fce4ec081eb58e8758333ac2205103dbcedaa790643781454139");
    check(Kind::Fragment, "25a360c55531afeb13db0b4360d696c4ee45fdca6e5a0a26b554212cc2d94b15");
}

#[test]
fn secrets_are_not_printed() {
    assert_eq!(format!("{:?}", share(3, &[7; 32])), "Share(3, ..)");
}
