//! Signed documents as others wrote them, and under every change.

use super::*;

fn signer() -> SigningKey {
    SigningKey::from_seeds(&[[1; 32], [2; 32]].concat().try_into().unwrap())
}

/// `golden.json` was written by Python (json, cryptography, dilithium-py) from `DESIGN.md`, with the keys of [`signer`].
#[test]
fn a_document_that_others_wrote_is_read() {
    let golden = include_bytes!("golden.json");
    let expect = json!({"format": "wakachi.custodian/1", "n": 1, "name": "Kyoto é"});
    assert_eq!(read(golden, signer().public()), Ok(expect.clone()));
    let ours = write(&expect, &signer()).unwrap();
    assert_eq!(read(&ours, signer().public()), Ok(expect));
    let line = |bytes: &[u8]| bytes.split(|&byte| byte == b'\n').next().unwrap().to_vec();
    assert_eq!(line(&ours), line(golden));
    assert_eq!(sha256(&ours), sha256(golden));
    assert_eq!(sha256(golden).unwrap()[..], *digest(&SHA256, &line(golden)).as_ref());
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    let (whole, key) = (write(&json!({"a": [1, "é"]}), &signer()).unwrap(), signer());
    for cut in 0..whole.len() {
        assert!(read(&whole[..cut], key.public()).is_err(), "cut at {cut}");
    }
    for bit in 0..8 * whole.len() {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let error = read(&flipped, key.public()).expect_err(&format!("bit {bit}"));
        assert_eq!(error.class(), Class::Integrity);
    }
    for more in [&b"\n"[..], b" ", b"{}\n"] {
        assert_eq!(read(&[&whole[..], more].concat(), key.public()), Err(SignedError::Lines));
        assert_eq!(read(&[more, &whole[..]].concat(), key.public()).ok(), None);
    }
}

#[test]
fn documents_of_others_and_other_spellings_are_refused() {
    let (ours, other) = (write(&json!({"a": 1}), &signer()).unwrap(), SigningKey::generate());
    assert!(matches!(read(&ours, other.public()), Err(SignedError::Signer { .. })));
    let text = String::from_utf8(ours).unwrap();
    let check = |from: &str, to: &str, expect: fn(&SignedError) -> bool| {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text);
        let error = read(changed.as_bytes(), signer().public()).unwrap_err();
        assert!(expect(&error), "{error}");
    };
    // A foreign signature that claims to be ours, another document under ours, and the same document spelled otherwise.
    let theirs = String::from_utf8(write(&json!({"a": 1}), &other).unwrap()).unwrap();
    let second = |text: &str| text.lines().nth(1).unwrap().to_owned();
    let claimed = second(&theirs).replace(&hex(&other.public().id()), &hex(&signer().public().id()));
    check(&second(&text), &claimed, |error| matches!(error, SignedError::Forged(_)));
    check("{\"a\":1}", "{\"a\":2}", |error| matches!(error, SignedError::Forged(_)));
    check("{\"a\":1}", "{\"a\": 1}", |error| matches!(error, SignedError::Forged(_)));
    check("\"signer\"", " \"signer\"", |error| *error == SignedError::Signatures);
    check("{\"ed25519\"", "{\"also\":1,\"ed25519\"", |error| *error == SignedError::Signatures);
    check("\n", "\r\n", |error| matches!(error, SignedError::Forged(_)));
    // Signed by us, and not canonical.
    let signed = |line: &str| {
        let signatures = signer().sign(line.as_bytes());
        let ed25519 = STANDARD.encode(signatures.ed25519);
        let (mldsa65, id) = (STANDARD.encode(signatures.mldsa65), hex(&signer().public().id()));
        format!("{line}\n{{\"ed25519\":\"{ed25519}\",\"mldsa65\":\"{mldsa65}\",\"signer\":\"{id}\"}}\n")
    };
    assert_eq!(read(signed("{\"a\":1}").as_bytes(), signer().public()), Ok(json!({"a": 1})));
    for line in ["{\"a\": 1}", "{\"b\":1,\"a\":1}", "{\"a\":1.0}", "{\"a\":1,\"a\":1}", "", "{"] {
        let error = read(signed(line).as_bytes(), signer().public()).unwrap_err();
        assert!(matches!(error, SignedError::Document(_)), "{line}: {error}");
    }
    assert!(matches!(write(&json!(0.5), &signer()), Err(SignedError::Document(_))));
}

#[test]
fn a_document_can_name_the_keys_it_is_signed_with() {
    let key = signer();
    let mut custodian = keys_to_json(key.public());
    custodian["name"] = json!("Kyoto");
    let vault = json!({"sealer": keys_to_json(key.public())});
    for (document, pointer) in [(custodian, ""), (vault, "/sealer")] {
        let bytes = write(&document, &key).unwrap();
        assert_eq!(read_self_signed(&bytes, pointer), Ok((document.clone(), key.public().clone())));
        assert_eq!(read_self_signed(&bytes, "/name"), Err(SignedError::Keys));
        let foreign = write(&document, &SigningKey::generate()).unwrap();
        assert!(matches!(read_self_signed(&foreign, pointer), Err(SignedError::Signer { .. })));
    }
}
