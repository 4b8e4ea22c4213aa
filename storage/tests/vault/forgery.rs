//! Damage that knows the formats: checksums made again, documents signed by the sealer's own stolen key.

use std::path::Path;

use jobs::failure::{Class, Classified};
use serde_json::Value;
use storage::fragment::{FragmentHeader, HEADER_BYTES};
use storage::keyfile::{self, Kind};
use storage::signed;
use storage::signing::SigningKey;
use storage::vault::custodian::{self, CustodianError};
use storage::vault::{Damage, ObjectError, ObjectId, Part, Place, RestoreError, Vault};

use crate::small::{NOW, PASSPHRASE, PLAIN, SMALL, SmallVault, ask, content};

/// Rewrites a fragment's header with a checksum that fits.
fn forge(path: &Path, change: impl FnOnce(&mut FragmentHeader)) {
    let mut bytes = std::fs::read(path).unwrap();
    let mut header = FragmentHeader::decode(bytes[..HEADER_BYTES].try_into().unwrap()).unwrap();
    change(&mut header);
    bytes[..HEADER_BYTES].copy_from_slice(&header.encode());
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_header_of_another_fragment_epoch_or_share_is_named_as_such() {
    let small = SmallVault::new(SMALL);
    let plain = content(4 * PLAIN, 21);
    let id = small.seal("a.cram", &plain);
    let path = small.fragment(1, id);
    let whole = std::fs::read(&path).unwrap();
    let check = |expect: &str, change: &dyn Fn(&mut FragmentHeader)| {
        forge(&path, change);
        let findings = small.vault().check(None, &mut |_| {}).findings;
        let said: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with(&format!("site site-1, object {id}, fragment 01, header: ")), "{said:?}");
        assert!(said[0].ends_with(expect), "{said:?}");
        let (bytes, report) = small.restore(id, &[1, 2]).unwrap();
        assert!(bytes == plain);
        assert_eq!(report.findings, findings);
        std::fs::write(&path, &whole).unwrap();
    };
    check("of layout epoch 7, the seal is of 1", &|header| header.layout_epoch = 7);
    check(&format!("fragment 02 of 3+2 of object {id}"), &|header| header.index = 2);
    check(&format!("fragment 01 of 2+3 of object {id}"), &|header| (header.k, header.m) = (2, 3));
    check("of object 07070707070707070707070707070707", &|header| header.object = [7; 16]);
    check("sealed under another core", &|header| header.core_hash[0] ^= 1);
    check("its share is not the one that was sealed", &|header| header.share[0] ^= 1);
}

/// Changes a document and signs it with the sealer's key.
fn resign(small: &SmallVault, path: &Path, change: impl FnOnce(&mut Value)) {
    let secrets = keyfile::read(&small.path("vault/vault.key"), Kind::Sealer, PASSPHRASE).unwrap();
    let key = SigningKey::from_seeds(secrets[..64].try_into().unwrap());
    let mut document = signed::read(&std::fs::read(path).unwrap(), key.public()).unwrap();
    change(&mut document);
    std::fs::write(path, signed::write(&document, &key).unwrap()).unwrap();
}

#[test]
fn a_newer_seal_makes_older_ones_and_their_fragments_stale() {
    let small = SmallVault::new(SMALL);
    let id = small.seal("a.cram", b"one");
    resign(&small, &small.folder(2, id).join("seal.json"), |seal| seal["layout_epoch"] = 2.into());
    let report = small.vault().check(None, &mut |_| {});
    let stale = Damage::Stale { found: 1, expected: 2 };
    assert!(report.findings.iter().all(|finding| finding.what == stale), "{:?}", report.findings);
    let count = |part| report.findings.iter().filter(|finding| finding.part == part).count();
    assert_eq!((count(Part::Seal), count(Part::Header), report.findings.len()), (4, 5, 9));
    assert!(!report.restorable());
    let error = small.restore(id, &[1, 2]).unwrap_err();
    assert!(matches!(&error, RestoreError::Fragments { have: 0, need: 3, row: None, .. }), "{error}");
    assert!(error.findings().iter().all(|finding| finding.what == stale));
}

#[test]
fn another_core_under_the_same_name_does_not_count() {
    let small = SmallVault::new(SMALL);
    let id = small.seal("a.cram", b"one");
    let core = small.folder(0, id).join("core.json");
    resign(&small, &core, |core| core["name"] = "b.cram".into());
    let (bytes, report) = small.restore(id, &[1, 2]).unwrap();
    assert_eq!(bytes, b"one");
    let places: Vec<_> = report.findings.iter().map(|finding| (&finding.place, finding.part)).collect();
    assert_eq!(places, [(&Place::Site("site-0".to_owned()), Part::Core)]);
    assert_eq!(small.vault().list().objects[0].name, "a.cram");
}

#[test]
fn signed_numbers_that_do_not_fit_are_refused() {
    let check = |file: &str, change: fn(&mut Value)| {
        let small = SmallVault::new(SMALL);
        let id = small.seal("a.cram", &content(100_000, 3));
        (0..5).for_each(|site| resign(&small, &small.folder(site, id).join(file), change));
        let error = small.restore(id, &[1, 2]).unwrap_err();
        assert!(matches!(error, RestoreError::Object(_)), "{error}");
        assert!(matches!(error.class(), Class::Integrity | Class::Quorum), "{error}");
        let report = small.vault().check(None, &mut |_| {});
        assert!(!report.restorable() && report.objects[0].id == id);
    };
    check("seal.json", |seal| seal["plaintext_bytes"] = 99_999.into());
    check("seal.json", |seal| seal["ciphertext_bytes"] = (1u64 << 53).into());
    check("seal.json", |seal| seal["fragments"][1]["body_bytes"] = 7.into());
    check("seal.json", |seal| drop(seal["fragments"].as_array_mut().unwrap().pop()));
    check("seal.json", |seal| seal["key_shares"][0]["index"] = 2.into());
    check("seal.json", |seal| seal["format"] = "wakachi.seal/2".into());
    check("core.json", |core| core["erasure"]["data"] = 0.into());
    check("core.json", |core| core["sharing"]["quorum"] = 0.into());
}

#[test]
fn an_object_that_is_not_there_is_the_users_mistake() {
    let small = SmallVault::new(SMALL);
    let error =
        small.vault().info("00112233445566778899aabbccddeeff".parse::<ObjectId>().unwrap()).unwrap_err();
    assert!(matches!(error, ObjectError::Unknown { .. }));
    assert_eq!(error.class(), Class::Input);
}

#[test]
fn another_sealer_has_another_vault_and_gets_no_share_of_this_one() {
    let small = SmallVault::new(SMALL);
    let id = small.seal("a.cram", b"one");
    ask(&small, id, &small.caller).unwrap();
    let vault = small.vault();
    let thief = SigningKey::generate();
    let forged = |path: &Path, change: &dyn Fn(&mut Value)| {
        let mut document: Value =
            serde_json::from_slice(std::fs::read(path).unwrap().split(|byte| *byte == b'\n').next().unwrap())
                .unwrap();
        change(&mut document);
        signed::write(&document, &thief).unwrap()
    };
    let own: String = thief.public().id()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let folder = small.path("forged");
    std::fs::create_dir(&folder).unwrap();
    let description = |change: &dyn Fn(&mut Value)| {
        let document = forged(&small.path("vault/vault.json"), &|document| {
            document["sealer"] = signed::keys_to_json(thief.public());
            change(document);
        });
        std::fs::write(folder.join("vault.json"), document).unwrap();
        Vault::open(&folder)
    };
    let release = |request: &[u8], description| custodian::release(request, description, &small.keys[0], NOW);

    // The vault's id with other keys: neither opened nor, where a caller made the description itself, answered.
    let error = description(&|_| {}).unwrap_err();
    assert!(error.to_string().contains("has another sealer"), "{error}");
    assert_eq!(error.class(), Class::Integrity);
    let asked = forged(&small.path("request.json"), &|_| {});
    let theirs = description(&|document| document["id"] = own.as_str().into()).unwrap();
    let mut mixed = vault.description().clone();
    mixed.sealer = theirs.description().sealer.clone();
    let error = release(&asked, &mixed).unwrap_err();
    assert!(matches!(error, CustodianError::Vault { .. }), "{error}");
    assert_eq!(error.class(), Class::Integrity);

    // A vault of their own: the share is not that vault's, and does not open once it says so.
    let asked = forged(&small.path("request.json"), &|request| request["vault"] = own.as_str().into());
    let error = release(&asked, theirs.description()).unwrap_err();
    assert!(error.to_string().contains("a share of another object, core, vault or key"), "{error}");
    let share = small.share(1, id);
    let whole = std::fs::read_to_string(&share).unwrap();
    let this = vault.description().id.to_string();
    std::fs::write(&share, whole.replace(&format!("\"vault\":\"{this}\""), &format!("\"vault\":\"{own}\"")))
        .unwrap();
    let error = release(&asked, theirs.description()).unwrap_err();
    assert!(matches!(error, CustodianError::Unwrap { .. }), "{error}");

    std::fs::write(&share, whole).unwrap();
    let asked = std::fs::read(small.path("request.json")).unwrap();
    assert_eq!(release(&asked, vault.description()).unwrap().object, id);
}

#[test]
fn a_description_that_could_not_have_been_made_is_refused() {
    let small = SmallVault::new(SMALL);
    let path = small.path("vault/vault.json");
    let whole = std::fs::read(&path).unwrap();
    let check = |expect: &str, change: fn(&mut Value)| {
        resign(&small, &path, change);
        let error = Vault::open(&small.path("vault")).unwrap_err();
        assert_eq!(error.class(), Class::Integrity);
        assert!(error.to_string().contains(expect), "{error}");
        std::fs::write(&path, &whole).unwrap();
    };
    check("losing 2 of 0 sites", |vault| vault["sites"] = Value::Array(Vec::new()));
    check("losing 0 of 0 sites", |vault| {
        (vault["sites"], vault["site_losses"]) = (Value::Array(Vec::new()), 0.into());
    });
    check("site 'site-0'", |vault| vault["sites"][1] = vault["sites"][0].clone());
    check("site site-1 lies where another does", |vault| {
        vault["sites"][1]["url"] = vault["sites"][0]["url"].clone();
    });
    check("custodian 'custodian-1'", |vault| vault["custodians"][1] = vault["custodians"][0].clone());
    check("have the same key", |vault| {
        vault["custodians"][1]["epoch_key"] = vault["custodians"][0]["epoch_key"].clone();
    });
    check("custodian custodian-1: ", |vault| vault["custodians"][0]["epoch_key"] = "AAAA".into());
    check("1 data and 2 parity", |vault| vault["data"] = 1.into());
    check("3 data and 200 parity", |vault| vault["parity"] = 200.into());
    check("a quorum of 1 of 3", |vault| vault["quorum"] = 1.into());
    check("a quorum of 4 of 3", |vault| vault["quorum"] = 4.into());
    check("format wakachi.vault/2", |vault| vault["format"] = "wakachi.vault/2".into());
    check("not a description", |vault| vault["data"] = 1000.into());
}
