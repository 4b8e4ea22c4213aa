//! Any stated loss of sites and custodians is survived; one more is refused with the reason.

use jobs::failure::{Class, Classified};
use storage::vault::{Damage, ObjectId, Part, Place, RestoreError};

use crate::small::{PLAIN, SMALL, Shape, SmallVault, choices, content, files};

/// Takes sites and ledgers away for the length of a question.
fn without<T>(small: &SmallVault, sites: &[u8], ask: impl FnOnce() -> T) -> T {
    let away = |site: &u8| small.path(&format!("away-{site}"));
    sites.iter().for_each(|site| std::fs::rename(small.site(*site), away(site)).unwrap());
    let answer = ask();
    sites.iter().for_each(|site| std::fs::rename(away(site), small.site(*site)).unwrap());
    answer
}

#[test]
fn any_two_of_five_sites_and_any_one_of_three_custodians_may_be_lost() {
    let small = SmallVault::new(SMALL);
    let plain = content(3 * PLAIN + 100_000, 3);
    let id = small.seal("a.cram", &plain);
    for lost in choices(5) {
        for present in choices(3).filter(|present| present.len() <= 2) {
            let custodians: Vec<u8> = present.iter().map(|index| index + 1).collect();
            let restored = without(&small, &lost, || small.restore(id, &custodians));
            let enough = lost.len() <= 2 && custodians.len() == 2;
            match restored {
                Ok((bytes, report)) => {
                    assert!(enough && bytes == plain, "{lost:?} {custodians:?}");
                    let named: Vec<_> = report.findings.iter().map(|finding| &finding.place).collect();
                    for site in &lost {
                        assert!(named.contains(&&Place::Site(format!("site-{site}"))), "{named:?}");
                    }
                }
                Err(error) => {
                    assert!(!enough, "{lost:?} {custodians:?}: {error}");
                    assert_eq!(error.class(), Class::Quorum, "{error}");
                    let said = error.to_string();
                    match &error {
                        RestoreError::Custodians { have, need, missing, .. } => {
                            assert_eq!((*have, *need), (custodians.len(), 2));
                            assert!(missing.iter().all(|name| said.contains(name)), "{said}");
                        }
                        RestoreError::Fragments { have, need, .. } => {
                            assert_eq!((*have, *need), (5 - lost.len(), 3));
                            let all =
                                lost.iter().all(|site| said.contains(&format!("{site:02} at site-{site}")));
                            assert!(all, "{said}");
                        }
                        // All five.
                        RestoreError::Object(_) => {
                            assert!(lost.len() == 5 || custodians.is_empty(), "{said}")
                        }
                        other => panic!("{other}"),
                    }
                }
            }
        }
    }
}

#[test]
fn a_check_says_what_is_left() {
    let small = SmallVault::new(SMALL);
    let id = small.seal("a.cram", &content(200_000, 3));
    for lost in choices(5).filter(|lost| lost.len() < 5) {
        let report = without(&small, &lost, || small.vault().check(None, &mut |_| {}));
        let object = &report.objects[0];
        assert_eq!((object.id, object.fragments_whole), (id, 5 - lost.len() as u8));
        assert_eq!(object.restorable, lost.len() <= 2, "{lost:?}");
        assert_eq!(object.margin, 2u8.saturating_sub(lost.len() as u8));
        assert_eq!(report.findings.len(), lost.len(), "{:?}", report.findings);
        assert!(report.findings.iter().all(|finding| finding.part == Part::Whole));
    }
    std::fs::remove_dir_all(small.ledger(2)).unwrap();
    std::fs::remove_file(small.share(3, id)).unwrap();
    let report = small.vault().check(None, &mut |_| {});
    assert!(!report.restorable());
    assert_eq!((report.objects[0].shares_present, report.objects[0].quorum), (1, 2));
    let named: Vec<_> = report.findings.iter().map(|finding| (finding.place.clone(), finding.part)).collect();
    let ledger = |index| Place::Ledger(format!("custodian-{index}"));
    assert_eq!(named, [(ledger(2), Part::Whole), (ledger(3), Part::Share(3))]);
    assert_eq!(report.findings[1].what, Damage::Missing);
}

#[test]
fn several_fragments_may_lie_at_one_site() {
    let shape = Shape { data: 4, parity: 4, sites: 4, quorum: 2, custodians: 2 };
    let small = SmallVault::new(shape);
    assert_eq!(small.vault().description().site_losses, 2);
    let plain = content(5 * PLAIN + 17, 5);
    let id = small.seal("a.cram", &plain);
    for lost in choices(4) {
        let restored = without(&small, &lost, || small.restore(id, &[1, 2]));
        match restored {
            Ok((bytes, _)) => assert!(lost.len() <= 2 && bytes == plain),
            Err(error) => {
                assert!(lost.len() > 2, "{error}");
                assert_eq!(error.class(), Class::Quorum);
            }
        }
    }
}

#[test]
fn an_object_whose_every_document_is_gone_is_still_missed() {
    let small = SmallVault::new(SMALL);
    let id = small.seal("a.cram", b"one");
    for site in 0..5 {
        std::fs::remove_dir_all(small.folder(site, id)).unwrap();
    }
    let report = small.vault().check(None, &mut |_| {});
    assert!(!report.restorable());
    assert_eq!((report.objects[0].id, report.objects[0].shares_present), (id, 3));
}

#[test]
fn strays_are_named_and_no_object_is_lost_for_them() {
    let small = SmallVault::new(SMALL);
    let id = small.seal("a.cram", b"one");
    let other: ObjectId = "ab".repeat(16).parse().unwrap();
    let check = |place: Place, said: &str| {
        let report = small.vault().check(None, &mut |_| {});
        assert!(report.restorable() && report.objects.len() == 1, "{report:?}");
        assert_eq!((report.findings.len(), &report.findings[0].place), (1, &place), "{report:?}");
        assert_eq!((report.findings[0].object, report.findings[0].part), (Some(other), Part::Stray));
        assert!(report.findings[0].to_string().contains(said), "{}", report.findings[0]);
    };
    let (site, ledger) = (Place::Site("site-1".to_owned()), Place::Ledger("custodian-1".to_owned()));
    let folder = small.folder(1, other);
    std::fs::create_dir(&folder).unwrap();
    check(site.clone(), "nothing in it is of an object of this vault");
    for name in ["core.json", "seal.json", "01.fragment"] {
        std::fs::copy(small.folder(1, id).join(name), folder.join(name)).unwrap();
    }
    check(site, "nothing in it is of an object of this vault");
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::copy(small.share(1, id), small.share(1, other)).unwrap();
    check(ledger.clone(), &format!("share 1 of custodian-1, object {id}"));
    std::fs::write(small.share(1, other), b"nothing").unwrap();
    check(ledger, "expected one line");
}

#[test]
fn an_object_of_which_one_document_or_fragment_is_left_is_lost() {
    for left in ["core.json", "seal.json", "01.fragment"] {
        let small = SmallVault::new(SMALL);
        let id = small.seal("a.cram", b"one");
        for site in 0..5 {
            for path in files(&small.folder(site, id)) {
                if site != 1 || !path.ends_with(left) {
                    std::fs::remove_file(path).unwrap();
                }
            }
        }
        (1..=3).for_each(|index| std::fs::remove_file(small.share(index, id)).unwrap());
        let report = small.vault().check(None, &mut |_| {});
        assert_eq!(report.objects.len(), 1, "{left}");
        assert!(!report.restorable() && report.objects[0].id == id, "{left}");
    }
}

#[test]
fn a_log_that_was_cut_emptied_or_deleted_is_named_with_the_first_missing_event() {
    let small = SmallVault::new(SMALL);
    let ids = [small.seal("a.cram", b"one"), small.seal("b.cram", b"two")];
    let path = small.path("vault/audit.jsonl");
    let whole = std::fs::read(&path).unwrap();
    let check = |bytes: Option<&[u8]>, said: &str| {
        match bytes {
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let report = small.vault().check(None, &mut |_| {});
        assert!(report.restorable());
        assert_eq!((report.findings.len(), &report.findings[0].place), (1, &Place::Vault), "{report:?}");
        let finding = report.findings[0].to_string();
        assert!(finding.contains(said), "{finding}");
    };
    let leaf = |id| {
        let seal = small.vault().info(id).unwrap().seal;
        format!("{}:{}", seal.audit.seq, seal.audit.sha256)
    };
    let second = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    check(
        Some(&whole[..second]),
        &format!("it ends after 1 events; the first that is missing is {}", leaf(ids[1])),
    );
    check(Some(b""), &format!("it ends after 0 events; the first that is missing is {}", leaf(ids[0])));
    check(None, &format!("it is gone; the first event that is missing is {}", leaf(ids[0])));
    let mut flipped = whole.clone();
    flipped[second + 20] ^= 1;
    check(Some(&flipped), "audit.jsonl:2: ");
    std::fs::write(&path, whole).unwrap();
    assert_eq!(small.vault().check(None, &mut |_| {}).findings, []);
}

#[test]
fn a_name_at_a_site_forges_no_lines() {
    let small = SmallVault::new(SMALL);
    let id = small.seal("a.cram", b"one");
    let name = "分 a\u{1b}]0;owned\u{7}\u{202e}\nobject is fine";
    std::fs::write(small.folder(0, id).join(name), b"x").unwrap();
    let finding = &small.vault().check(None, &mut |_| {}).findings[0];
    assert_eq!(finding.what, Damage::Foreign(name.to_owned()));
    let said = finding.to_string();
    assert!(said.ends_with("分 a\\u{1b}]0;owned\\u{7}\\u{202e}\\nobject is fine"), "{said}");
}
