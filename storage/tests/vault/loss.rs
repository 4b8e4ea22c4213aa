//! Any stated loss of sites and custodians is survived; one more is refused with the reason.

use jobs::failure::{Class, Classified};
use storage::vault::{Damage, Part, Place, RestoreError};

use crate::small::{PLAIN, SMALL, Shape, SmallVault, choices, content};

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
