//! Sealing and restoring where nothing is lost.

use jobs::failure::{Class, Classified};
use jobs::policy::{Action, DataClass};
use storage::audit;
use storage::vault::{FileDigest, Finding, Lineage, Part, SealError};

use crate::small::{NOW, PLAIN, SMALL, SmallVault, content, files, permit};

#[test]
fn every_length_comes_back_as_it_was() {
    let small = SmallVault::new(SMALL);
    let row = 3 * PLAIN;
    let lengths = [0, 1, PLAIN - 1, PLAIN, PLAIN + 1, 2 * PLAIN, row - 1, row, row + 1, 300_000, 2 * row + 5];
    for bytes in lengths {
        let plain = content(bytes, bytes as u64);
        let id = small.seal(&format!("{bytes}.cram"), &plain);
        let (restored, report) = small.restore(id, &[1, 3]).unwrap();
        assert!(restored == plain, "{bytes}");
        assert_eq!(report.bytes, bytes as u64);
        assert_eq!(report.blake3.0, *blake3::hash(&plain).as_bytes());
        assert!(report.content_compared && report.findings.is_empty(), "{bytes}: {:?}", report.findings);
    }
    let vault = small.vault();
    let report = vault.check(None, &mut |_| {});
    assert_eq!(report.findings, []);
    assert!(report.restorable() && report.objects.len() == lengths.len());
    assert!(report.objects.iter().all(|object| object.margin == 2 && object.fragments_whole == 5));
    assert_eq!(vault.list().objects.len(), lengths.len());
    audit::verify(&small.path("vault/audit.jsonl"), None).unwrap();
}

#[test]
fn what_is_sealed_already_is_not_sealed_again_unless_it_is_damaged() {
    let small = SmallVault::new(SMALL);
    let plain = content(70_000, 1);
    let vault = small.vault();
    let first = small.seal_with(&vault, "a.cram", &plain).unwrap();
    let stored = small.stored().len();
    let second = small.seal_with(&vault, "b.cram", &plain).unwrap();
    assert_eq!((second.id, second.already, first.already), (first.id, true, false));
    assert_eq!(small.stored().len(), stored);
    std::fs::remove_file(small.fragment(4, first.id)).unwrap();
    let third = small.seal_with(&vault, "a.cram", &plain).unwrap();
    assert!(!third.already && third.id != first.id);
    // Rot that only reading the body finds.
    let path = small.fragment(1, third.id);
    let mut rotted = std::fs::read(&path).unwrap();
    rotted[200] ^= 1;
    std::fs::write(&path, rotted).unwrap();
    let fourth = small.seal_with(&vault, "a.cram", &plain).unwrap();
    assert!(!fourth.already && fourth.id != third.id);
}

#[test]
fn no_permit_no_seal_and_no_restore() {
    let small = SmallVault::new(SMALL);
    let vault = small.vault();
    let file = small.path("a.cram");
    std::fs::write(&file, b"reads").unwrap();
    let late = permit(Action::Archive, DataClass::Cram, NOW.plus_hours(-1));
    for permit in
        [permit(Action::Restore, DataClass::Cram, NOW), permit(Action::Archive, DataClass::Vcf, NOW), late]
    {
        let error = small.seal_file(&vault, &file, &permit, &[], &mut |_| {}).unwrap_err();
        assert_eq!(error.class(), Class::Policy, "{error}");
    }
    assert_eq!(vault.list().objects, []);
}

#[test]
fn another_file_than_the_one_that_was_meant_is_not_sealed() {
    let small = SmallVault::new(SMALL);
    let vault = small.vault();
    let (before, file) = (small.stored(), small.path("a.cram"));
    let (meant, other) = (content(PLAIN + 7, 3), content(PLAIN + 7, 4));
    let permit = permit(Action::Archive, DataClass::Cram, NOW);
    let sha256 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &meant);
    let sha256 = FileDigest::Sha256(sha256.as_ref().try_into().unwrap());
    for expected in [sha256, FileDigest::Blake3(*blake3::hash(&meant).as_bytes())] {
        let seal = || small.seal_expected(&vault, (&file, Some(expected)), &permit, &[], &mut |_| {});
        std::fs::write(&file, &other).unwrap();
        let error = seal().unwrap_err();
        assert!(matches!(error, SealError::Unexpected { .. }), "{error}");
        assert_eq!(small.stored(), before);
    }
    std::fs::write(&file, &meant).unwrap();
    small.seal_expected(&vault, (&file, Some(sha256)), &permit, &[], &mut |_| {}).unwrap();
}

#[test]
fn a_file_that_changes_is_not_sealed_and_leaves_nothing() {
    let small = SmallVault::new(SMALL);
    let vault = small.vault();
    let before = small.stored();
    let file = small.path("a.cram");
    std::fs::write(&file, content(3 * PLAIN * 2, 7)).unwrap();
    let grow = |bytes: u64| {
        if bytes == 3 * PLAIN as u64 {
            std::fs::OpenOptions::new().append(true).open(&file).unwrap().set_len(1 << 20).unwrap();
        }
    };
    let permit = permit(Action::Archive, DataClass::Cram, NOW);
    let error = small.seal_file(&vault, &file, &permit, &[], &mut { grow }).unwrap_err();
    assert!(matches!(error, SealError::Changed { .. }), "{error}");
    assert_eq!(small.stored(), before);
    assert_eq!(files(&small.path("vault/pending")), <[std::path::PathBuf; 0]>::default());
}

#[test]
fn documents_say_what_was_sealed_and_for_whom() {
    let small = SmallVault::new(SMALL);
    let vault = small.vault();
    let first = small.seal("a.cram", b"one");
    let lineage = [Lineage { relation: "index_of".to_owned(), object: first }];
    let file = small.path("a.cram.crai");
    std::fs::write(&file, b"two").unwrap();
    let permit = permit(Action::Archive, DataClass::Cram, NOW);
    let second = small.seal_file(&vault, &file, &permit, &lineage, &mut |_| {}).unwrap();
    let info = vault.info(second.id).unwrap();
    assert_eq!((info.core.name.as_str(), info.core.lineage), ("a.cram.crai", lineage.to_vec()));
    let sample = &info.core.governance.samples["NA12878"];
    assert_eq!((sample.grounds.consent.as_str(), sample.grounds.version), ("C-1", 2));
    assert_eq!(sample.participant_h, small.sealer.participant_h("P-0001"));
    let everything = [files(&small.path("vault")), small.stored()].concat();
    for path in everything {
        let text = std::fs::read(&path).unwrap();
        assert!(!text.windows(6).any(|part| part == b"P-0001"), "{} names a person", path.display());
    }
}

#[test]
fn a_site_that_is_not_there_keeps_files_from_being_sealed() {
    let small = SmallVault::new(SMALL);
    let vault = small.vault();
    small.seal("a.cram", b"one");
    std::fs::rename(small.site(3), small.path("away")).unwrap();
    let error = small.seal_with(&vault, "b.cram", b"two").unwrap_err();
    assert!(error.to_string().contains("site-3"), "{error}");
    std::fs::create_dir(small.site(3)).unwrap();
    let error = small.seal_with(&vault, "b.cram", b"two").unwrap_err();
    assert!(matches!(error, SealError::Site { .. }), "{error}");
    let findings = vault.check(None, &mut |_| {}).findings;
    let of_vault = |finding: &&Finding| finding.part == Part::Vault;
    assert_eq!(findings.iter().filter(of_vault).count(), 1, "{findings:?}");
}
