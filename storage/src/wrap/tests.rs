//! Wrapping against the published vector, and under every change.

use super::*;
use crate::signed::{hex, unhex};

/// Gives the bytes it is told to, once.
struct Told(Vec<u8>);

impl TryRng for Told {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("X-Wing draws all its bytes at once")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("X-Wing draws all its bytes at once")
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.copy_from_slice(&self.0.split_off(self.0.len() - bytes.len()));
        Ok(())
    }
}

impl TryCryptoRng for Told {}

/// The vector of mode 0, kem_id 25722, kdf_id 1, aead_id 3, first encryption, in test-vectors.json of draft-ietf-hpke-pq
/// (github.com/hpkewg/hpke-pq, commit 74dafaa6). Of its long fields pkRm and enc the SHA-256 stands here.
#[test]
fn the_published_vector_of_this_suite_is_reproduced_and_opened() {
    let key = EpochKey::from_seed(
        unhex("3ec47fa82dd5689d27c6190e724c74ec8f608df3331ce331929e37b829676630")
            .as_slice()
            .try_into()
            .unwrap(),
    );
    let told = "2a1c0a3745fe8a48fb62034d300f54dfe1974a5b2e169e580a8789cb1cf5fd19\
                0fc00f3fd899594e01a8b15334b9f3fa03d8de44da86e19f5776850fb689e6c8";
    let info = unhex("34663634363532303666366532303631323034373732363536333639363136653230353537323665");
    let aad = unhex("436f756e742d30");
    let plain = unhex(
        "34323635363137353734373932303639373332303734373237353734363832633230373437323735373436383230363236353631373537343739",
    );
    assert_eq!(
        hex(&key.public().sha256()),
        "ad8aaf3f00d8a39bfeec2947a7d5dde68be08bba19bd301a348a45dc5fcc8341"
    );
    let (enc, ct) = seal_with(&mut Told(unhex(told)), &key.public(), &info, &aad, &plain);
    assert_eq!(
        hex(digest(&SHA256, &enc).as_ref()),
        "95c0a5fca31ea59f29bbc66255ad6637b5a476b3212886af11afdc8930aeb772"
    );
    assert_eq!(
        hex(&ct),
        "c5c591f99092d5e38df0a52699af249c66f8275a863423c076de8147a53e65cc584041c963b77a7e59ea93841b1339b5efda8909b71f74bb0\
         073ad62e899de310c1566dea2fd29eba377"
    );
    assert_eq!(*open(&key, &info, &aad, &enc, &ct).unwrap(), plain);
}

#[test]
fn what_is_wrapped_opens_with_its_key_alone_and_never_looks_the_same() {
    let key = EpochKey::generate();
    let public = EpochPublic::from_bytes(&key.public().to_bytes()).unwrap();
    assert_eq!(public, EpochKey::from_seed(key.seed()).public());
    let (enc, ct) = seal(&public, b"info", b"aad", &[7; 32]);
    assert_eq!((enc.len(), ct.len()), (ENC_BYTES, 32 + TAG_BYTES));
    assert_eq!(*open(&key, b"info", b"aad", &enc, &ct).unwrap(), [7; 32]);
    assert_ne!(seal(&public, b"info", b"aad", &[7; 32]), (enc.clone(), ct.clone()));
    for (info, aad) in [("Info", "aad"), ("info", ""), ("infoa", "ad"), ("", "aad")] {
        assert_eq!(open(&key, info.as_bytes(), aad.as_bytes(), &enc, &ct).unwrap_err(), WrapError::Refused);
    }
    assert_eq!(open(&EpochKey::generate(), b"info", b"aad", &enc, &ct).unwrap_err(), WrapError::Refused);
}

#[test]
fn every_flipped_bit_and_every_other_length_is_refused() {
    let key = EpochKey::generate();
    let (enc, ct) = seal(&key.public(), b"info", b"aad", &[7; 32]);
    let whole = [&enc[..], &ct[..]].concat();
    // Among them the top bit of the X25519 half, which X25519 itself ignores.
    for bit in 0..8 * whole.len() {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let (enc, ct) = flipped.split_at(ENC_BYTES);
        assert_eq!(open(&key, b"info", b"aad", enc, ct).unwrap_err(), WrapError::Refused, "bit {bit}");
    }
    for cut in [0, 1, TAG_BYTES - 1, TAG_BYTES, ct.len() - 1] {
        assert!(open(&key, b"info", b"aad", &enc, &ct[..cut]).is_err(), "ct of {cut}");
    }
    for cut in [0, 32, 1088, ENC_BYTES - 1] {
        assert!(open(&key, b"info", b"aad", &enc[..cut], &ct).is_err(), "enc of {cut}");
    }
    for (enc, ct) in [([&enc[..], b"0"].concat(), ct.clone()), (enc.clone(), [&ct[..], b"0"].concat())] {
        assert!(open(&key, b"info", b"aad", &enc, &ct).is_err());
    }
}

#[test]
fn bytes_that_are_no_public_key_are_refused() {
    // Coefficients of 4,095 are not modulo 3,329: FIPS 203 § 7.2.
    for bytes in [vec![], vec![0; PUBLIC_BYTES - 1], vec![0; PUBLIC_BYTES + 1], vec![0xff; PUBLIC_BYTES]] {
        let error = EpochPublic::from_bytes(&bytes).unwrap_err();
        assert_eq!(error, WrapError::PublicKey { bytes: bytes.len() });
        assert_eq!(error.class(), Class::Input);
    }
}

#[test]
fn secrets_are_not_printed() {
    assert_eq!(format!("{:?}", EpochKey::generate()), "EpochKey(..)");
}
