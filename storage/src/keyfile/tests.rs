//! Key files come back with their passphrase alone, under every change that could be made to them.

use super::*;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

/// Cheap, so that thousands of damaged files can be tried.
const CHEAP: Cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };

/// Written by Python (argon2-cffi, cryptography) from `DESIGN.md`; passphrase "人 correct horse", secrets 0, 1 .. 31.
const GOLDEN: &str = concat!(
    r#"{"ct":"TiuYt3QcV9vLoY+Zv2kjCiIlPKsaK5JNEs2jxDHNG88peP4uCX5wZFw3dhBL2jtd","format":"wakachi.key/1","kdf":"argon2id","#,
    r#""kind":"epoch","lanes":2,"memory_kib":64,"name":"Kyoto é","nonce":"AAECAwQFBgcICQoL","passes":2,"#,
    r#""salt":"AAECAwQFBgcICQoLDA0ODw=="}"#,
    "\n"
);

fn put(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_file_that_others_wrote_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("golden.key");
    put(&path, GOLDEN);
    let secrets = read(&path, Kind::Epoch, "人 correct horse").unwrap();
    assert_eq!(*secrets, (0..32).collect::<Vec<u8>>());
}

#[test]
fn secrets_come_back_with_the_passphrase_alone() {
    let dir = tempfile::tempdir().unwrap();
    let kinds = [Kind::Sealer, Kind::Identity, Kind::Epoch, Kind::OneTime];
    for kind in kinds {
        let path = dir.path().join(kind.name());
        let secrets = vec![7; kind.secret_bytes()];
        write_at_cost(&path, kind, "Kyoto", &secrets, "pass", CHEAP).unwrap();
        assert_eq!(*read(&path, kind, "pass").unwrap(), secrets);
        for wrong in ["", "Pass", "pass "] {
            let error = read(&path, kind, wrong).unwrap_err();
            assert!(matches!(error, KeyFileError::Refused { .. }));
            assert_eq!(error.class(), Class::Usage);
            assert!(error.to_string().contains(kind.name()), "{error}");
        }
        for other in kinds.into_iter().filter(|other| *other != kind) {
            assert!(matches!(read(&path, other, "pass"), Err(KeyFileError::Kind { .. })));
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("BwcHBwcH"), "no secret in the clear");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), kinds.len(), "no temporary is left");
}

#[test]
fn a_new_file_costs_what_the_design_says() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.key");
    write(&path, Kind::Epoch, "Kyoto", &[7; 32], "pass").unwrap();
    let text = fs::read_to_string(&path).unwrap();
    for member in
        ["\"kdf\":\"argon2id\"", "\"memory_kib\":65536", "\"passes\":3", "\"lanes\":1", "\"name\":\"Kyoto\""]
    {
        assert!(text.contains(member), "{text}");
    }
    assert_eq!(*read(&path, Kind::Epoch, "pass").unwrap(), [7; 32]);
}

#[test]
fn a_key_is_never_written_over_and_one_of_two_writers_wins() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.key");
    let won = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|n| {
                let path = &path;
                scope.spawn(move || write_at_cost(path, Kind::Epoch, "", &[n; 32], "pass", CHEAP))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).filter(Result::is_ok).count()
    });
    assert_eq!(won, 1);
    let kept = fs::read(&path).unwrap();
    let error = write_at_cost(&path, Kind::Epoch, "", &[9; 32], "pass", CHEAP).unwrap_err();
    assert!(matches!(error, KeyFileError::Exists { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), kept);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    let error = write_at_cost(&dir.path().join("b.key"), Kind::Epoch, "", &[9; 32], "", CHEAP).unwrap_err();
    assert!(matches!(error, KeyFileError::NoPassphrase { .. }));
    let error =
        write_at_cost(&dir.path().join("no/b.key"), Kind::Epoch, "", &[9; 32], "pass", CHEAP).unwrap_err();
    assert_eq!(error.class(), Class::Failed);
}

#[test]
fn a_file_that_others_may_open_is_refused_with_the_command_that_helps() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.key");
    write_at_cost(&path, Kind::Epoch, "", &[7; 32], "pass", CHEAP).unwrap();
    for (mode, open) in
        [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false), (0o610, false)]
    {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        match read(&path, Kind::Epoch, "pass") {
            Ok(_) => assert!(open, "{mode:o}"),
            Err(error) => {
                assert!(!open && error.to_string().contains(&format!("{mode:o}")), "{error}");
                assert_eq!(error.class(), Class::Usage);
                assert_eq!(error.hint(), Some(format!("chmod 600 {}", path.display())));
            }
        }
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.key");
    write_at_cost(&path, Kind::Epoch, "Kyoto", &[7; 32], "pass", CHEAP).unwrap();
    let whole = fs::read(&path).unwrap();
    let refused = |bytes: &[u8], what: String| {
        put(&path, bytes);
        assert!(read(&path, Kind::Epoch, "pass").is_err(), "{what}");
    };
    for cut in 0..whole.len() {
        refused(&whole[..cut], format!("cut at {cut}"));
    }
    for bit in 0..8 * whole.len() {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        refused(&flipped, format!("bit {bit}"));
    }
    refused(&[&whole[..], b"\n"].concat(), "one line more".to_owned());
    refused(&vec![b' '; 1 << 20], "a large file".to_owned());
}

#[test]
fn what_a_file_asks_for_is_bounded_before_it_is_granted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.key");
    for (member, asked) in [
        ("\"memory_kib\":64", "\"memory_kib\":1048577"),
        ("\"memory_kib\":64", "\"memory_kib\":4294967295"),
        ("\"memory_kib\":64", "\"memory_kib\":15"),
        ("\"memory_kib\":64", "\"memory_kib\":0"),
        ("\"passes\":2", "\"passes\":17"),
        ("\"passes\":2", "\"passes\":0"),
        ("\"lanes\":2", "\"lanes\":0"),
        ("\"lanes\":2", "\"lanes\":17"),
    ] {
        put(&path, GOLDEN.replace(member, asked));
        let error = read(&path, Kind::Epoch, "人 correct horse").unwrap_err();
        assert!(matches!(error, KeyFileError::Cost { .. }), "{asked}: {error}");
    }
    for (member, asked) in [
        ("\"lanes\":2", "\"lanes\":4294967297"),
        ("\"passes\":2", "\"passes\":-2"),
        ("argon2id", "argon2i"),
        ("key/1", "key/2"),
        ("AAECAwQFBgcICQoL\"", "AAECAwQFBgcICQ==\""),
        ("\"ct\":", "\"cu\":"),
    ] {
        put(&path, GOLDEN.replacen(member, asked, 1));
        let error = read(&path, Kind::Epoch, "人 correct horse").unwrap_err();
        assert!(matches!(error, KeyFileError::Malformed { .. }), "{asked}: {error}");
    }
}
