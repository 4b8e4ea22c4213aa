//! What a job with an `[archive]` owes: "done" means sealed, where and what the cohort says now, as long as it is there.

#[path = "program/wakachi.rs"]
mod wakachi;

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use wakachi::{Cohort, Said, text};

/// A small cohort with a vault of three sites, whose results its job seals.
struct Programme {
    folder: tempfile::TempDir,
}

impl Programme {
    fn new(archive: &str) -> Self {
        let programme = Programme { folder: wakachi::folder() };
        static COHORT: OnceLock<Cohort> = OnceLock::new();
        let cohort =
            COHORT.get_or_init(|| Cohort::simulate("archive", "--samples 3 --genome-mb 0.1 --depth 6"));
        wakachi::copy(&cohort.dir, programme.folder.path());
        fs::write(programme.at("passphrase"), "correct horse\n").unwrap();
        for name in ["a", "b"] {
            programme.command(&format!(
                "custodian keygen {name} --ledger file://@/ledger-{name} -o @/keys-{name} --passphrase-file @/passphrase"
            )).ok();
        }
        programme
            .command(
                "vault init --vault @/vault --data 2 --parity 1 --quorum 2 --survive-sites 1 \
                 --site file://@/site-1 --site file://@/site-2 --site file://@/site-3 \
                 --custodian @/keys-a/a.pub.json --custodian @/keys-b/b.pub.json \
                 --cohort @/cohort.toml --passphrase-file @/passphrase",
            )
            .ok();
        fs::copy(programme.at("cohort.toml"), programme.at("plain.toml")).unwrap();
        programme.archive(archive);
        programme
    }

    /// Says anew what is to be sealed.
    fn archive(&self, archive: &str) {
        let plain = fs::read_to_string(self.at("plain.toml")).unwrap();
        let table = "\n[archive]\nvault = \"vault\"\npassphrase_file = \"passphrase\"\n";
        fs::write(self.at("cohort.toml"), format!("{plain}{table}{archive}")).unwrap();
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, line: &str) -> Said {
        let line = line.replace('@', text(self.folder.path()));
        wakachi::wakachi(&line.split_whitespace().collect::<Vec<_>>())
    }

    fn run(&self) -> Said {
        self.command("run @/cohort.toml --out @/job")
    }

    /// Classes of what is sealed, as `sealed.json` says.
    fn sealed(&self) -> Vec<(String, String)> {
        let list: serde_json::Value =
            serde_json::from_slice(&fs::read(self.at("job/sealed.json")).unwrap()).unwrap();
        let word = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let files = list["files"].as_array().unwrap().iter();
        files.map(|file| (word(&file["class"]), word(&file["object"]))).collect()
    }
}

#[test]
fn what_the_archive_asks_for_later_is_sealed_by_the_next_run() {
    let programme = Programme::new("classes = [\"GVCF\"]\n");
    programme.run().ok();
    let first = programme.sealed();
    assert!(!first.is_empty() && first.iter().all(|(class, _)| class == "GVCF"));
    programme.archive("classes = [\"GVCF\", \"CRAM\"]\n");
    programme.run().ok();
    let second = programme.sealed();
    assert!(second.iter().any(|(class, _)| class == "CRAM"));
    assert!(first.iter().all(|one| second.contains(one)), "what was sealed is found again");
    programme.command("audit verify @/job @/vault").ok();
}

#[test]
fn objects_that_are_gone_are_missing_until_they_are_sealed_again() {
    let programme = Programme::new("classes = [\"JOINT\"]\n");
    programme.run().ok();
    let (_, object) = programme.sealed().remove(0);
    for site in ["site-1", "site-2", "site-3"] {
        fs::remove_dir_all(programme.at(site).join("objects").join(&object)).unwrap();
    }
    programme.run().refused(10, &[&object, "--repair"]);
    programme.command("run @/cohort.toml --out @/job --repair").ok();
    programme.run().ok();
    assert!(programme.sealed().iter().all(|(_, sealed)| *sealed != object));
}

#[test]
fn only_what_was_made_and_taken_in_is_sealed() {
    let programme = Programme::new("classes = [\"CRAM\"]\n");
    programme.command("run @/plain.toml --out @/job").ok();
    let results = wakachi::digests(&programme.at("job/results"));
    let flip = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(path, bytes).unwrap();
    };
    let cram = results.keys().find(|name| name.ends_with(".cram")).unwrap();
    flip(&programme.at("job/results").join(cram));
    // A result that is not what its ledger says is made again before it is sealed.
    programme.run().ok();
    assert_eq!(wakachi::digests(&programme.at("job/results")), results);

    programme.archive("classes = [\"FASTQ\"]\n");
    let reads = programme.at("reads");
    let reads = wakachi::files(&reads).into_iter().find(|path| text(path).ends_with("_R1.fastq.gz")).unwrap();
    flip(&reads);
    programme.run().refused(3, &[text(&reads), "is not what was taken in"]);
    flip(&reads);
    programme.run().ok();
    assert!(programme.sealed().iter().any(|(class, _)| class == "FASTQ"));
}

#[test]
fn every_sealing_is_decided_in_the_vaults_log_before_it_begins() {
    let programme = Programme::new("classes = [\"JOINT\"]\n");
    programme.run().ok();
    let log = fs::read_to_string(programme.at("vault/audit.jsonl")).unwrap();
    let events: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let first = |name: &str| events.iter().position(|event| event["event"] == name).expect(name);
    let permit = &events[first("policy.permit")];
    assert_eq!((&permit["action"], &permit["object"]["class"]), (&"archive".into(), &"JOINT".into()));
    assert!(permit["participant_h"].is_string() && permit["job"].is_string());
    assert!(first("policy.permit") < first("object.encrypt"));
    assert!(first("object.encrypt") < first("archive.sealed"));
}

#[test]
fn a_job_is_kept_out_of_vaults_and_any_argument_is_taken() {
    let programme = Programme::new("");
    for inside in ["vault", "site-1"] {
        let refused = programme.command(&format!("run @/cohort.toml --out @/{inside}/job"));
        refused.refused(4, &["lies inside"]);
        assert!(!programme.at(inside).join("job").exists());
    }
    let odd = OsString::from_vec(b"odd-\xff".to_vec());
    let mut command = wakachi::command(&["run", text(&programme.at("plain.toml")), "--out"]);
    wakachi::said(command.arg(programme.folder.path().join(Path::new(&odd)))).ok();
}
