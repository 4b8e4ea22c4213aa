//! Custodians who are elsewhere: requests, releases, and what is wrong with them.

use jobs::failure::{Class, Classified};
use storage::vault::custodian::{self, CustodianError};
use storage::vault::{CustodianError as Error, ObjectId, Place, RestoreError, read_handed};

use crate::small::{NOW, PASSPHRASE, SMALL, SmallVault, ask, content};

/// A sealed object and a request for it in force for an hour.
struct Asked {
    small: SmallVault,
    plain: Vec<u8>,
    id: ObjectId,
    request: Vec<u8>,
}

impl Asked {
    fn new() -> Self {
        let small = SmallVault::new(SMALL);
        let plain = content(100_000, 9);
        let id = small.seal("a.cram", &plain);
        let file = small.path("request.json");
        ask(&small, id, &small.caller).unwrap();
        let request = std::fs::read(file).unwrap();
        Asked { small, plain, id, request }
    }

    fn release(&self, custodian: u8, request: &[u8]) -> Result<custodian::Released, Error> {
        let vault = self.small.vault();
        let key = &self.small.keys[usize::from(custodian) - 1];
        custodian::release(request, vault.description(), key, NOW.plus_seconds(60))
    }
}

#[test]
fn released_shares_restore() {
    let asked = Asked::new();
    let small = &asked.small;
    let mut paths = Vec::new();
    for custodian in [1, 3] {
        let released = asked.release(custodian, &asked.request).unwrap();
        assert_eq!((released.object, released.purpose.as_str()), (asked.id, "clinical_return"));
        assert_eq!(released.requested_by, "ops-1");
        paths.push(small.path(&format!("release-{custodian}.json")));
        std::fs::write(paths.last().unwrap(), released.document).unwrap();
    }
    let vault = small.vault();
    let request = small.path("request.json");
    let open = |paths: &[std::path::PathBuf], now| {
        custodian::open_released(&vault, &request, paths, PASSPHRASE, now)
    };
    let (shares, findings) = open(&paths, NOW).unwrap();
    assert_eq!((shares.len(), findings.len()), (2, 0));
    assert!(small.restore_with(&vault, asked.id, &shares).unwrap().0 == asked.plain);
    // A bad one is named and the others serve; the same one twice is one.
    let mut damaged = std::fs::read(&paths[0]).unwrap();
    let at = damaged.len() / 2;
    damaged[at] ^= 1;
    let bad = small.path("bad.json");
    std::fs::write(&bad, damaged).unwrap();
    let (shares, findings) = open(&[bad.clone(), paths[0].clone(), paths[0].clone()], NOW).unwrap();
    assert_eq!(findings[0].place, Place::Given(bad.display().to_string()));
    assert_eq!((shares.len(), findings.len()), (2, 1));
    let error = small.restore_with(&vault, asked.id, &shares).unwrap_err();
    assert!(
        matches!(&error, RestoreError::Custodians { have: 1, missing, .. }
        if *missing == ["custodian-2", "custodian-3"]),
        "{error}"
    );
    assert!(matches!(open(&paths, NOW.plus_hours(2)), Err(Error::Expired { .. })));
    let error = custodian::open_released(&vault, &request, &paths, "wrong", NOW).unwrap_err();
    assert_eq!(error.class(), Class::Usage);
    let key = custodian::forget(&request).unwrap();
    assert_eq!((key.exists(), key), (false, small.path("request.json.key")));
    assert!(open(&paths, NOW).is_err());
}

#[test]
fn a_custodian_answers_only_its_vaults_requests_while_they_are_in_force() {
    let asked = Asked::new();
    let vault = asked.small.vault();
    let key = &asked.small.keys[0];
    let late = custodian::release(&asked.request, vault.description(), key, NOW.plus_hours(1));
    assert!(matches!(late, Err(Error::Expired { .. })));
    for at in (0..asked.request.len()).step_by(97) {
        let mut flipped = asked.request.clone();
        flipped[at] ^= 1;
        let error = asked.release(1, &flipped).unwrap_err();
        assert!(matches!(error, Error::Forged { .. }), "{at}: {error}");
        assert_eq!(error.class(), Class::Integrity);
    }
    let other = Asked::new();
    assert!(matches!(asked.release(1, &other.request), Err(Error::Forged { .. })));
    let stranger = custodian::release(&asked.request, vault.description(), &other.small.keys[0], NOW);
    assert!(matches!(stranger, Err(Error::NoHolder { .. })));
}

#[test]
fn a_release_serves_one_request_only() {
    let asked = Asked::new();
    let small = &asked.small;
    let path = small.path("release.json");
    std::fs::write(&path, asked.release(1, &asked.request).unwrap().document).unwrap();
    std::fs::remove_file(small.path("request.json.key")).unwrap();
    ask(small, asked.id, &small.caller).unwrap();
    let vault = small.vault();
    let request = small.path("request.json");
    let (shares, findings) = custodian::open_released(&vault, &request, &[path], PASSPHRASE, NOW).unwrap();
    assert!(shares.is_empty() && findings[0].to_string().contains("a release to request"), "{findings:?}");
}

#[test]
fn a_damaged_share_is_refused_by_its_custodian_alone() {
    let small = SmallVault::new(SMALL);
    let plain = content(1000, 9);
    let id = small.seal("a.cram", &plain);
    let path = small.share(1, id);
    let text = std::fs::read_to_string(&path).unwrap();
    let at = text.find("\"ct\":\"").unwrap() + 8;
    let other = if &text[at..=at] == "A" { "B" } else { "A" };
    std::fs::write(&path, format!("{}{other}{}", &text[..at], &text[at + 1..])).unwrap();
    let vault = small.vault();
    let error = custodian::open_share(&vault, id, &small.keys[0]).unwrap_err();
    assert!(matches!(error, CustodianError::Share { .. }) && error.to_string().contains("custodian-1"));
    assert!(small.restore(id, &[1, 2, 3]).unwrap().0 == plain);
}

#[test]
fn opened_shares_are_named_where_they_are_no_good() {
    let small = SmallVault::new(SMALL);
    let plain = content(1000, 9);
    let (id, other) = (small.seal("a.cram", &plain), small.seal("b.cram", b"other"));
    let vault = small.vault();
    let mut shares = small.shares(&vault, id, &[1, 2, 3]);
    shares[0].share.bytes[5] ^= 1;
    shares[0].origin = "first.json".to_owned();
    let foreign = small.shares(&vault, other, &[1]).remove(0);
    let mut stray = shares[1].clone();
    stray.share.index = 9;
    let given = [&shares[..], &[foreign, stray]].concat();
    let (bytes, report) = small.restore_with(&vault, id, &given).unwrap();
    assert!(bytes == plain);
    let said: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    let expect = ["first.json", "a share of object", "of no custodian"];
    for expect in expect {
        assert!(said.iter().any(|said| said.contains(expect)), "{said:?}");
    }
    assert_eq!(said.len(), 3);
}

#[test]
fn an_opened_share_is_the_line_of_the_design() {
    let small = SmallVault::new(SMALL);
    let id = small.seal("a.cram", b"one");
    let opened = small.shares(&small.vault(), id, &[2]).remove(0);
    let bytes: String = opened.share.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let line = format!(
        "{{\"format\":\"wakachi.opened-share/1\",\"index\":2,\"object\":\"{id}\",\"share\":\"{bytes}\"}}\n"
    );
    assert_eq!(std::str::from_utf8(&opened.document()).unwrap(), line);
    assert_eq!(format!("{opened:?}"), format!("OpenedShare(2 of {id}, from share of custodian-2)"));
}

#[test]
fn keygen_makes_a_custodian_that_a_vault_takes() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = storage::site::url_of(&dir.path().join("ledger"));
    let keygen = |name: &str| custodian::keygen(dir.path(), name, &ledger, PASSPHRASE, NOW);
    let files = keygen("keeper-1").unwrap();
    let document = storage::vault::Custodian::read(&std::fs::read(&files.public).unwrap()).unwrap();
    let key = custodian::read_epoch_key(&files.epoch, PASSPHRASE).unwrap();
    assert_eq!(document.epoch_key.0, key.public().to_bytes());
    assert_eq!((document.name.as_str(), document.key_epoch), ("keeper-1", 1));
    assert_eq!(keygen("keeper-1").unwrap_err().class(), Class::Usage);
    for bad in ["", "a/b", "../a", ".hidden", "-o"] {
        assert_eq!(keygen(bad).unwrap_err().class(), Class::Usage, "{bad}");
    }
    let wrong = custodian::read_epoch_key(&files.identity, PASSPHRASE).unwrap_err();
    assert_eq!(wrong.class(), Class::Usage);
}

#[test]
fn what_is_handed_over_is_a_small_file_or_refused_at_once() {
    let small = SmallVault::new(SMALL);
    let pipe = small.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (full, long) = (small.path("full"), small.path("long"));
    std::fs::write(&full, vec![0; 65_536]).unwrap();
    std::fs::write(&long, vec![0; 65_537]).unwrap();
    let check = |path: &std::path::Path, expect: &str| {
        let said =
            read_handed(path).map_or_else(|error| format!("{:?}", error), |bytes| bytes.len().to_string());
        assert!(said.contains(expect), "{}: {said}", path.display());
        assert!(custodian::open_share_file(path, &small.keys[0]).is_err());
        assert!(custodian::read_epoch_key(path, PASSPHRASE).is_err());
    };
    check(&full, "65536");
    check(&long, "longer than 65536 bytes");
    check(&pipe, "not a regular file");
    check(std::path::Path::new("/dev/zero"), "not a regular file");
    check(small.dir.path(), "not a regular file");
}
