//! The bytes of a header, and where blocks lie.

use super::*;

fn header() -> FragmentHeader {
    FragmentHeader {
        object: std::array::from_fn(|i| i as u8),
        core_hash: [0xc0; 32],
        layout_epoch: 0x0403_0201,
        k: 10,
        m: 4,
        index: 13,
        share: Zeroizing::new([0x5a; 32]),
    }
}

/// With the SHA-256 that its other bytes have.
fn resealed(mut bytes: [u8; HEADER_BYTES]) -> [u8; HEADER_BYTES] {
    let digest = digest(&SHA256, &bytes[..96]);
    bytes[96..].copy_from_slice(digest.as_ref());
    bytes
}

#[test]
fn a_header_has_the_bytes_of_the_table() {
    let bytes = header().encode();
    let mut expected = b"WKFRG\0\0\x01".to_vec();
    expected.extend(0..16);
    expected.extend([0xc0; 32]);
    expected.extend([1, 2, 3, 4, 10, 4, 13, 0]);
    expected.extend([0x5a; 32]);
    expected.extend_from_slice(digest(&SHA256, &expected).as_ref());
    assert_eq!(bytes.as_slice(), expected);
    assert_eq!(FragmentHeader::decode(&bytes).unwrap(), header());
    assert!(!format!("{:?}", header()).contains("90"), "the share is not printed");
}

#[test]
fn every_flipped_bit_of_a_header_is_refused() {
    for bit in 0..8 * HEADER_BYTES {
        let mut bytes = header().encode();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let expected = match bit / 8 {
            0..7 => FragmentError::Magic,
            7 => FragmentError::Version { version: bytes[7] },
            _ => FragmentError::Digest,
        };
        assert_eq!(FragmentHeader::decode(&bytes).unwrap_err(), expected, "bit {bit}");
    }
}

#[test]
fn a_header_of_no_fragment_is_refused_though_its_digest_is_right() {
    for (k, m, index, zero) in [(0, 4, 0, 0), (10, 4, 14, 0), (255, 1, 0, 0), (200, 200, 9, 0), (10, 4, 3, 1)]
    {
        let mut bytes = header().encode();
        bytes[60..64].copy_from_slice(&[k, m, index, zero]);
        assert_eq!(
            FragmentHeader::decode(&resealed(bytes)).unwrap_err(),
            FragmentError::Index { k, m, index }
        );
    }
    for (k, m, index) in [(1, 0, 0), (255, 0, 254), (1, 254, 254)] {
        let largest = FragmentHeader { k, m, index, layout_epoch: u32::MAX, ..header() };
        assert_eq!(FragmentHeader::decode(&largest.encode()).unwrap(), largest);
    }
}

/// Lays segments out one by one and counts.
fn check_geometry(k: u8, m: u8, ciphertext_bytes: u64) {
    let geometry = Geometry::new(&Code::new(k, m).unwrap(), ciphertext_bytes);
    let mut fragments = vec![Vec::new(); usize::from(k + m)];
    let (mut rest, mut segment) = (ciphertext_bytes as usize, 0);
    while rest > 0 {
        let row: Vec<usize> = (0..k)
            .map(|_| {
                let bytes = rest.min(65_536);
                rest -= bytes;
                bytes
            })
            .collect();
        for (index, bytes) in row.iter().enumerate().filter(|(_, bytes)| **bytes > 0) {
            let place = (index as u8, fragments[index].len() as u64);
            assert_eq!((geometry.place(segment), geometry.segment_bytes(segment)), (place, *bytes));
            assert_eq!(geometry.segment(place.0, place.1), Some(segment));
            fragments[index].push(*bytes);
            segment += 1;
        }
        fragments[k.into()..].iter_mut().for_each(|parity| parity.push(*row.iter().max().unwrap()));
    }
    assert_eq!((geometry.segments(), geometry.segment_bytes(segment)), (segment, 0));
    assert_eq!(geometry.rows(), segment.div_ceil(k.into()));
    for (fragment, index) in fragments.iter().zip(0..) {
        let body_bytes = fragment.iter().sum::<usize>() as u64;
        assert_eq!(geometry.body_bytes(index), body_bytes, "{index} of {k}+{m}, {ciphertext_bytes} bytes");
        assert_eq!(geometry.blocks(index), fragment.len() as u64);
        assert_eq!(geometry.fragment_bytes(index), 128 + body_bytes + 32 * fragment.len() as u64);
        for row in 0..=geometry.rows() {
            assert_eq!(geometry.block_bytes(index, row), fragment.get(row as usize).copied().unwrap_or(0));
            let is_data = index < k && (row as usize) < fragment.len();
            assert_eq!(geometry.segment(index, row).is_some(), is_data);
        }
        assert!(fragment.iter().rev().skip(1).all(|bytes| *bytes == 65_536), "only the last block is short");
    }
}

#[test]
fn segments_lie_where_laying_them_out_puts_them() {
    for k in 1..=6 {
        for m in 0..=3 {
            for segments in 0..=4 * u64::from(k) + 1 {
                for last in [0, 1, 32, 65_535] {
                    check_geometry(k, m, segments * 65_536 + last);
                }
            }
        }
    }
    check_geometry(251, 4, 600 * 65_536 + 77);
}

#[test]
fn no_length_overflows() {
    for (k, m) in [(1, 0), (10, 4), (255, 0)] {
        let geometry = Geometry::new(&Code::new(k, m).unwrap(), u64::MAX);
        assert_eq!(geometry.segments(), 1 << 48);
        assert_eq!((geometry.segment_bytes(u64::MAX), geometry.segment(k - 1, u64::MAX)), (0, None));
        let bodies: u128 = (0..k).map(|index| u128::from(geometry.body_bytes(index))).sum();
        assert_eq!(bodies, u128::from(u64::MAX));
    }
}
