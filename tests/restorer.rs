//! `storage/restore.py`, which knows of the vault only its page, brings back what the program sealed.
//!
//! Knows no room of the program but its command line. The test finds cores, seals and fragments where `storage/DESIGN.md` says
//! that they lie.

#[path = "program/wakachi.rs"]
mod wakachi;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use wakachi::{Said, files, folder, said, shell, text, wakachi};

/// Plaintext bytes of a full segment.
const SEGMENT: usize = 65_504;
const HEADER_BYTES: u64 = 128;
const CUSTODIANS: [&str; 3] = ["anna", "ben", "chie"];
/// Fragments that restore an object, and all that it has.
const DATA: usize = 3;
const ALL: usize = 5;

/// A Python that restore.py runs on, if there is one.
fn python() -> Option<&'static str> {
    let able = "import sys, cryptography; sys.exit(sys.version_info < (3, 11))";
    let runs = |python: &&str| {
        Command::new(python).args(["-c", able]).output().is_ok_and(|said| said.status.success())
    };
    let python = ["python3", "/usr/bin/python3"].into_iter().find(|python| runs(python));
    if python.is_none() {
        println!("skipped: python3 of at least 3.11 with the package cryptography is not installed");
    }
    python
}

/// A vault of 3 + 2 fragments over five sites, whose objects need two of three custodians.
struct Vault {
    dir: TempDir,
}

/// A sealed file.
struct Object {
    id: String,
    plaintext: Vec<u8>,
}

impl Vault {
    fn init() -> Self {
        let vault = Vault { dir: folder() };
        let now = shell("date -u +%Y-%m-%dT%H:%M:%SZ");
        let consents = format!(
            "participant,id,version,status,items,foreign_countries,start,end,basis,proxy_until,duo,icf,updated,as_of\n\
             P-1,C-1,1,active,clinical_return,,2020-01-01,,self,,,,2020-01-01T00:00:00Z,{now}"
        );
        let sites = "[[site]]\nid = \"here\"\nkind = \"onprem_hpc\"\noperator = \"operator\"\njurisdiction = \"JP\"\n\
             region = \"JP-13\"\nlevels_max = 4\nroles = [\"compute\", \"share_holder\"]\n\
             attestation = { scheme = \"internal-audit\", id = \"1\", expires = 2999-12-31 }\n";
        for (name, content) in
            [("consent.csv", consents.as_str()), ("sites.toml", sites), ("passphrase", "a b c")]
        {
            fs::write(vault.path(name), content).expect("a temporary folder takes files");
        }
        for name in CUSTODIANS {
            let (keys, ledger) = (vault.path("keys"), vault.url(&format!("ledger-{name}")));
            vault.run(&["custodian", "keygen", name, "--ledger", &ledger, "-o", text(&keys)]).ok();
        }
        let mut args = ["vault", "init", "--data", "3", "--parity", "2", "--quorum", "2", "--at", "here"]
            .map(str::to_owned)
            .to_vec();
        args.extend(["--purpose", "clinical_return", "--survive-sites", "2"].map(str::to_owned));
        for (flag, name) in [("--vault", "vault"), ("--consent", "consent.csv"), ("--sites", "sites.toml")] {
            args.extend([flag.to_owned(), text(&vault.path(name)).to_owned()]);
        }
        for site in 0..ALL {
            args.extend(["--site".to_owned(), vault.url(&format!("site-{site}"))]);
        }
        for name in CUSTODIANS {
            args.extend([
                "--custodian".to_owned(),
                text(&vault.path(&format!("keys/{name}.pub.json"))).to_owned(),
            ]);
        }
        vault.run(&args.iter().map(String::as_str).collect::<Vec<_>>()).ok();
        vault
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn url(&self, name: &str) -> String {
        format!("file://{}", text(&self.path(name)))
    }

    /// Runs the program with the passphrase of everything here.
    fn run(&self, args: &[&str]) -> Said {
        let passphrase = self.path("passphrase");
        wakachi(&[args, &["--passphrase-file", text(&passphrase), "--output", "json"]].concat())
    }

    /// Seals a file of so many bytes.
    fn seal(&self, bytes: usize) -> Object {
        let plaintext: Vec<u8> = (0..bytes).map(|at| (at.wrapping_mul(2_654_435_761) >> 7) as u8).collect();
        let (file, vault) = (self.path(&format!("{bytes}.vcf")), self.path("vault"));
        fs::write(&file, &plaintext).expect("a temporary folder takes files");
        let of = ["--sample", "S1", "--participant", "P-1"];
        let sealed = self.run(&[&["vault", "seal", text(&file), "--vault", text(&vault)][..], &of].concat());
        let id = sealed.ok().json()["files"][0]["object"].as_str().expect("an object").to_owned();
        for name in CUSTODIANS {
            let share = self.found(&format!("{id}.share.json"), &format!("ledger-{name}"));
            let (key, opened) =
                (self.path(&format!("keys/{name}.epoch-1.key")), self.path(&format!("{id}.{name}")));
            self.run(&["custodian", "open", text(&share), "--key", text(&key), "-o", text(&opened)]).ok();
        }
        Object { id, plaintext }
    }

    /// The first file of this name below a folder.
    fn found(&self, name: &str, below: &str) -> PathBuf {
        let found = files(&self.path(below)).into_iter().find(|path| path.ends_with(name));
        found.unwrap_or_else(|| panic!("no {name} below {below}"))
    }

    fn fragment(&self, object: &Object, index: usize) -> PathBuf {
        self.found(&format!("objects/{}/{index:02}.fragment", object.id), ".")
    }

    /// What restore.py says to these fragments and the opened shares of these custodians, and what it gives.
    fn restore(
        &self,
        python: &str,
        object: &Object,
        fragments: &[usize],
        custodians: &[&str],
    ) -> (Said, Option<Vec<u8>>) {
        let restore = Path::new(env!("CARGO_MANIFEST_DIR")).join("storage/restore.py");
        let out = self.path("restored");
        let _ = fs::remove_file(&out);
        let mut command = Command::new(python);
        command.arg(restore).arg("-o").arg(&out);
        for name in ["core", "seal"] {
            let document = format!("objects/{}/{name}.json", object.id);
            command.arg(format!("--{name}")).arg(self.found(&document, "site-4"));
        }
        command
            .arg("--share")
            .args(custodians.iter().map(|name| self.path(&format!("{}.{name}", object.id))));
        command.arg("--").args(fragments.iter().map(|&index| self.fragment(object, index)));
        (said(&mut command), fs::read(&out).ok())
    }
}

#[test]
fn any_three_fragments_and_any_two_shares_give_the_file() {
    let Some(python) = python() else { return };
    let vault = Vault::init();
    for bytes in [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 3 * SEGMENT, 3 * SEGMENT + 1, 1_000_000] {
        let object = vault.seal(bytes);
        let fragments = (0_u32..1 << ALL).filter(|set| set.count_ones() as usize == DATA);
        for (at, set) in fragments.enumerate() {
            let fragments: Vec<usize> = (0..ALL).rev().filter(|index| set >> index & 1 == 1).collect();
            let custodians = [CUSTODIANS[at % 3], CUSTODIANS[(at + 1) % 3]];
            let (said, restored) = vault.restore(python, &object, &fragments, &custodians);
            assert!(said.stderr.contains("but NOT signatures"), "{}", said.stderr);
            assert_eq!(said.code, Some(0), "{bytes} bytes from {fragments:?}: {}", said.stderr);
            assert!(
                restored.as_deref() == Some(&object.plaintext),
                "{bytes} bytes from {fragments:?} differ"
            );
        }
    }
}

#[test]
fn one_fragment_or_share_less_gives_nothing_and_says_which() {
    let Some(python) = python() else { return };
    let vault = Vault::init();
    let object = vault.seal(SEGMENT);
    let check = |fragments: &[usize], custodians: &[&str], expect: &str| {
        let (said, restored) = vault.restore(python, &object, fragments, custodians);
        assert_eq!((said.code, restored), (Some(7), None), "{}", said.stderr);
        assert!(said.stderr.contains(expect), "{}", said.stderr);
    };
    check(&[1, 4], &CUSTODIANS, "too few fragments: 3 needed, 2 can be used");
    check(&[1, 4, 1], &CUSTODIANS, "too few fragments: 3 needed, 2 can be used");
    check(&[0, 1, 2, 3, 4], &["ben"], "too few shares: 2 needed, 1 can be used");
    check(&[0, 1, 2, 3, 4], &["ben", "ben"], "too few shares: 2 needed, 1 can be used");
}

#[test]
fn damage_is_decoded_around_or_refused() {
    let Some(python) = python() else { return };
    let vault = Vault::init();
    let object = vault.seal(7 * SEGMENT);
    for (index, block) in [(1, 0), (3, 0), (0, 2), (4, 1)] {
        let fragment =
            fs::OpenOptions::new().write(true).open(vault.fragment(&object, index)).expect("a fragment");
        fragment.write_all_at(b"damage", HEADER_BYTES + 65_536 * block + 99).expect("a fragment");
    }
    let (said, restored) = vault.restore(python, &object, &[0, 1, 2, 3, 4], &CUSTODIANS);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(restored.as_deref() == Some(&object.plaintext), "what was decoded around damage differs");
    for named in ["block 0 of fragment 01", "block 2 of fragment 00"] {
        assert!(said.stderr.contains(named), "'{named}' is not named: {}", said.stderr);
    }
    let (said, restored) = vault.restore(python, &object, &[0, 1, 2, 3], &CUSTODIANS);
    assert_eq!((said.code, restored), (Some(6), None), "{}", said.stderr);
    assert!(said.stderr.contains("row 0: blocks of fragments [1] are lost"), "{}", said.stderr);
}
