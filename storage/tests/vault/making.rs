//! Vaults that are not made, and why.

use std::path::Path;

use jobs::failure::{Class, Classified};
use storage::site::url_of;
use storage::vault::{InitOptions, Vault};

use crate::small::{PASSPHRASE, SMALL, SmallVault, custodians, options};

/// Refuses the options for a reason that contains `reason`, or takes them if there is none.
fn check(reason: Option<&str>, change: impl FnOnce(&mut InitOptions, &Path)) {
    let dir = tempfile::tempdir().unwrap();
    let (documents, _) = custodians(dir.path(), 4);
    let mut options = options(dir.path(), SMALL, documents);
    change(&mut options, dir.path());
    let made = Vault::init(&dir.path().join("vault"), &options, PASSPHRASE);
    match (made, reason) {
        (Ok(_), None) => {}
        (Err(error), Some(reason)) => {
            assert!(matches!(error.class(), Class::Usage | Class::Input), "{error}");
            assert!(error.to_string().contains(reason), "{error}");
            assert!(!dir.path().join("vault/vault.json").exists());
            assert!(!dir.path().join("site-0/vault.json").exists());
        }
        (made, reason) => panic!("{reason:?}: {made:?}"),
    }
}

#[test]
fn a_vault_that_would_not_keep_its_promise_is_refused_with_numbers() {
    check(Some("1 data and 2 parity"), |options, _| options.data = 1);
    check(Some("3 data and 0 parity"), |options, _| options.parity = 0);
    check(Some("at most 100"), |options, _| (options.data, options.parity) = (90, 11));
    check(
        Some(
            "losing 3 of 5 sites is not survived: 5 fragments over 5 sites are up to 1 at one, 2 may be lost, so 2 sites",
        ),
        |options, _| options.site_losses = Some(3),
    );
    check(Some("losing 1 of 2 sites is not survived"), |options, _| options.sites.truncate(2));
    check(Some("losing 0 of 5 sites"), |options, _| options.site_losses = Some(0));
    check(Some("a quorum of 1 of 4"), |options, _| options.quorum = 1);
    check(Some("a quorum of 5 of 4"), |options, _| options.quorum = 5);
}

#[test]
fn places_and_names_count_once() {
    check(Some("site 'site-0'"), |options, _| options.sites[1].name = "site-0".to_owned());
    check(Some("site ''"), |options, _| options.sites[1].name = String::new());
    check(Some("site 'a/b'"), |options, _| options.sites[1].name = "a/b".to_owned());
    check(Some("lost together"), |options, _| options.sites[1].url = options.sites[0].url.clone());
    check(Some("without .."), |options, _| options.sites[1].url += "/../site-0");
    check(Some("lost together"), |options, _| options.sites[1].url = format!("{}/./", options.sites[0].url));
    check(Some("lost together"), |options, _| options.sites[1].url = format!("{}/b", options.sites[0].url));
    check(Some("lost together"), |options, dir| options.sites[1].url = url_of(&dir.join("ledger-2")));
    check(Some("lost together"), |options, dir| options.sites[1].url = url_of(&dir.join("vault")));
    check(Some("lost together"), |options, dir| {
        std::fs::create_dir(dir.join("site-0")).unwrap();
        std::os::unix::fs::symlink(dir.join("site-0"), dir.join("link")).unwrap();
        options.sites[1].url = url_of(&dir.join("link"));
    });
    check(Some("the only kind this version can store at"), |options, _| {
        options.sites[1].url = "s3://bucket".to_owned();
    });
}

#[test]
fn custodians_are_who_signed_their_documents_and_each_once() {
    check(Some("line 2: the Ed25519 signature"), |options, _| {
        let text = String::from_utf8(options.custodians[1].1.clone()).unwrap();
        options.custodians[1].1 = text.replace("custodian-2", "custodian-9").into_bytes();
    });
    check(Some("custodian-1.pub.json: not a signed document"), |options, _| {
        options.custodians[0].1.truncate(100);
    });
    check(Some("custodian 'custodian-1'"), |options, _| {
        options.custodians[1].1 = options.custodians[0].1.clone();
    });
}

#[test]
fn a_folder_or_site_that_holds_a_vault_is_left_alone() {
    let small = SmallVault::new(SMALL);
    let before = small.stored();
    let (documents, _) = custodians(&small.path("other"), 3);
    let options = options(small.dir.path(), SMALL, documents);
    for folder in ["vault", "new"] {
        let error = Vault::init(&small.path(folder), &options, PASSPHRASE).unwrap_err();
        assert!(error.to_string().contains("is there already"), "{error}");
    }
    assert_eq!(small.stored(), before);
    small.vault();
}

#[test]
fn a_wrong_passphrase_and_a_missing_vault_are_the_users() {
    let small = SmallVault::new(SMALL);
    assert_eq!(small.vault().unlock("wrong").unwrap_err().class(), Class::Usage);
    assert_eq!(Vault::open(&small.path("nowhere")).unwrap_err().class(), Class::Usage);
}
