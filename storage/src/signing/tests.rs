//! Both kinds of signature against their standards.

use super::*;
use crate::signed::{hex, unhex};

fn key_of(ed25519: &str, mldsa65: &str) -> SigningKey {
    SigningKey::from_seeds(&[unhex(ed25519), unhex(mldsa65)].concat().try_into().unwrap())
}

/// RFC 8032 § 7.1, TEST 1 and TEST 3.
#[test]
fn ed25519_keys_and_signatures_are_those_of_rfc_8032() {
    let check = |seed: &str, public: &str, message: &str, signature: &str| {
        let key = key_of(seed, seed);
        assert_eq!(hex(&key.public().ed25519), public);
        assert_eq!(hex(&key.sign(&unhex(message)).ed25519), signature);
    };
    check(
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe246\
         55141438e7a100b",
    );
    check(
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc\
         027beceea1ec40a",
    );
}

/// Test 1 of mldsa_65_sign_seed_test.json of C2SP/wycheproof (commit dac1dd47): FIPS 204's deterministic signature, which is
/// not how we sign but must hold.
#[test]
fn mldsa65_keys_and_signatures_are_those_of_fips_204() {
    let signer = key_of(&"00".repeat(32), &"2a".repeat(32));
    let public = signer.public();
    let digest = aws_lc_rs::digest::digest(&SHA256, &*public.mldsa65);
    assert_eq!(hex(digest.as_ref()), "b7acce2ddb11f8cc1aa46e2bafac6eacfa2b732ef192bd636ad8d3a56d649c66");
    let message = b"Hello world";
    let mldsa65 = include_bytes!("mldsa65.sig").to_vec();
    let mut signatures = Signatures { mldsa65, ..signer.sign(message) };
    assert_eq!(public.verify(message, &signatures), Ok(()));
    signatures.mldsa65[3000] ^= 1;
    assert_eq!(public.verify(message, &signatures), Err(SigningError { scheme: "ML-DSA-65" }));
}

#[test]
fn both_signatures_must_be_of_the_same_bytes_and_signer() {
    let (signer, other) = (SigningKey::generate(), SigningKey::generate());
    let (good, foreign, stale) = (signer.sign(b"message"), other.sign(b"message"), signer.sign(b"massage"));
    let public = signer.public();
    let check = |signatures: &Signatures, expect: Option<&'static str>| {
        let expect = expect.map_or(Ok(()), |scheme| Err(SigningError { scheme }));
        assert_eq!(public.verify(b"message", signatures), expect);
    };
    check(&good, None);
    for bad in [&foreign, &stale] {
        check(bad, Some("Ed25519"));
        check(&Signatures { ed25519: bad.ed25519.clone(), ..good.clone() }, Some("Ed25519"));
        check(&Signatures { mldsa65: bad.mldsa65.clone(), ..good.clone() }, Some("ML-DSA-65"));
    }
    check(&Signatures { mldsa65: vec![], ..good.clone() }, Some("ML-DSA-65"));
    check(&Signatures { mldsa65: [&good.mldsa65[..], b"0"].concat(), ..good.clone() }, Some("ML-DSA-65"));
    check(&Signatures { ed25519: good.ed25519[..63].to_vec(), ..good }, Some("Ed25519"));
}

#[test]
fn a_signer_comes_back_from_its_seeds_and_keeps_them_to_itself() {
    let signer = SigningKey::generate();
    let again = SigningKey::from_seeds(signer.seeds());
    assert_eq!(signer.public(), again.public());
    assert_eq!(signer.public().id(), again.public().id());
    assert_ne!(signer.public().id(), SigningKey::generate().public().id());
    assert_eq!(format!("{signer:?}"), "SigningKey(..)");
    let public = signer.public();
    assert_eq!(VerifyingKey::from_bytes(&public.ed25519, &*public.mldsa65).as_ref(), Some(public));
    assert_eq!(VerifyingKey::from_bytes(&public.ed25519[1..], &*public.mldsa65), None);
    assert_eq!(VerifyingKey::from_bytes(&public.ed25519, &public.mldsa65[1..]), None);
}
