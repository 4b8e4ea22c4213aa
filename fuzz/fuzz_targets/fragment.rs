//! Headers of fragments: bytes of any origin are the header that encodes to them, or a refusal, and so is a header whose
//! bytes changed. The places under its code hold every byte of the object.
//!
//! The first eight bytes are the object's length, the next 128 a header, the rest changes: offset and byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use storage::erasure::Code;
use storage::fragment::{FragmentHeader, Geometry};

fuzz_target!(|bytes: &[u8]| {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else { return };
    let Some((header, changes)) = rest.split_first_chunk::<128>() else { return };
    if let Ok(decoded) = FragmentHeader::decode(header) {
        assert_eq!(decoded.encode(), *header);
    }
    let written = FragmentHeader {
        object: header[8..24].try_into().expect("16 bytes"),
        core_hash: header[24..56].try_into().expect("32 bytes"),
        layout_epoch: u32::from_le_bytes(header[56..60].try_into().expect("four bytes")),
        k: header[60],
        m: header[61],
        index: header[62],
        share: header[64..96].try_into().map(|share: [u8; 32]| share.into()).expect("32 bytes"),
    };
    let encoded = written.encode();
    let Ok(code) = Code::new(written.k, written.m) else {
        return drop(FragmentHeader::decode(&encoded).expect_err("no code has this header"));
    };
    let mut changed = encoded;
    for &[at, byte] in changes.as_chunks::<2>().0 {
        changed[usize::from(at) % 128] = byte;
    }
    match FragmentHeader::decode(&changed) {
        Ok(decoded) => assert!(decoded == written && changed == encoded),
        Err(_) => assert!(changed != encoded || written.index >= code.k() + code.m()),
    }
    let geometry = Geometry::new(&code, u64::from_le_bytes(*length));
    let bodies: u128 = (0..code.k()).map(|index| u128::from(geometry.body_bytes(index))).sum();
    assert_eq!(bodies, u128::from(u64::from_le_bytes(*length)));
});
