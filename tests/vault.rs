//! The vault from the command line: sealed, damaged, asked for, restored, refused.
//!
//! Knows no room of the program but its command line and the names of files that storage/DESIGN.md states.

#[path = "program/wakachi.rs"]
mod wakachi;

use jobs::time::Timestamp;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::SystemTime;
use tempfile::TempDir;
use wakachi::{Said, folder};

const SITES: &str = r#"
[[site]]
id = "here"
operator = "test"
jurisdiction = "JP"
levels_max = 4
roles = ["compute"]
attestation = { scheme = "test", id = "1", expires = 2099-12-31 }

[[site]]
id = "cloud"
operator = "test"
jurisdiction = "JP"
levels_max = 3
roles = ["compute"]
attestation = { scheme = "test", id = "1", expires = 2099-12-31 }
"#;

/// A vault of 3+2 fragments over five sites, 2 of 3 custodians, and two files of one sample.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Bench { folder: folder() };
        bench.write("sites.toml", SITES);
        bench.write("passphrase", "correct horse\n");
        bench.write("wrong", "battery staple\n");
        bench.consent("active");
        for (seed, name) in ["S1.cram", "S1.g.vcf.gz"].iter().enumerate() {
            let bytes: Vec<u8> =
                (0..400_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> (seed + 13)) as u8).collect();
            fs::write(bench.path(name), bytes).unwrap();
        }
        for name in ["a", "b", "c"] {
            let keygen = format!("custodian keygen {name} --ledger file://@/ledger-{name} -o @/keys-{name}");
            bench.run(&format!("{keygen} --passphrase-file @/passphrase")).ok();
        }
        bench
    }

    /// With the vault made and both files sealed; their objects.
    fn sealed() -> (Self, Vec<String>) {
        let bench = Bench::new();
        bench.init("3", "2").ok();
        let said = bench.seal("@/S1.cram @/S1.g.vcf.gz --sample S1 --participant P-0001").ok().json();
        let objects = said["files"].as_array().unwrap().iter();
        let objects = objects.map(|file| file["object"].as_str().unwrap().to_owned()).collect();
        (bench, objects)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// The register, confirmed a minute ago, with one person's consent of this status.
    fn consent(&self, status: &str) {
        let micros = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros() as i64;
        let as_of = Timestamp::from_micros(micros).plus_seconds(-60);
        let header = "participant,id,version,status,items,foreign_countries,start,end,basis,proxy_until,duo,icf,updated,as_of";
        let items = "clinical_return;research_academia";
        let row = format!(
            "P-0001,C1,1,{status},{items},,2026-01-01,,self,,DUO:0000042,,2026-01-01T00:00:00Z,{as_of}"
        );
        self.write("consent.csv", &format!("{header}\n{row}\n"));
    }

    /// Runs the program; `@` stands for the folder.
    fn run(&self, line: &str) -> Said {
        let line = line.replace('@', wakachi::text(self.folder.path()));
        wakachi::wakachi(&line.split_whitespace().collect::<Vec<_>>())
    }

    fn init(&self, data: &str, parity: &str) -> Said {
        let sites: String = (1..=5).map(|site| format!(" --site file://@/site-{site}")).collect();
        let custodians: String = ["a", "b", "c"]
            .iter()
            .map(|name| format!(" --custodian @/keys-{name}/{name}.pub.json"))
            .collect();
        self.run(&format!(
            "vault init --vault @/vault --data {data} --parity {parity} --quorum 2 --survive-sites 2{sites}{custodians} \
             --consent @/consent.csv --sites @/sites.toml --at here --purpose research \
             --passphrase-file @/passphrase --output json"
        ))
    }

    fn vault(&self, words: &str) -> Said {
        self.run(&format!("vault {words} --vault @/vault --output json"))
    }

    fn seal(&self, words: &str) -> Said {
        self.vault(&format!("seal {words} --passphrase-file @/passphrase"))
    }

    /// Restores to `@/out` with the keys of these custodians.
    fn restore(&self, object: &str, custodians: &[&str]) -> Said {
        let keys: String = custodians
            .iter()
            .map(|name| format!(" --custodian-key @/keys-{name}/{name}.epoch-1.key"))
            .collect();
        self.vault(&format!("restore {object} -o @/out --force{keys} --passphrase-file @/passphrase"))
    }

    fn assert_restored(&self, name: &str) {
        assert!(fs::read(self.path("out")).unwrap() == fs::read(self.path(name)).unwrap(), "{name} differs");
    }

    fn destroy(&self, name: &str) {
        fs::remove_dir_all(self.path(name)).unwrap();
    }
}

/// Findings of a document, as text.
fn findings(said: &Said) -> String {
    said.json()["findings"].to_string()
}

#[test]
fn the_stated_losses_are_survived_and_one_more_is_refused_by_name() {
    let (bench, objects) = Bench::sealed();
    let listed = bench.vault("list").ok().json();
    let names: Vec<_> = listed["objects"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names.len(), 2);
    assert!(names.contains(&"S1.cram".into()) && names.contains(&"S1.g.vcf.gz".into()));
    let info = bench.vault("info S1.cram").ok().json();
    assert_eq!(info["core"]["id"], objects[0].as_str());
    assert_eq!(info["core"]["governance"]["samples"]["S1"]["grounds"]["consent"], "C1");
    assert!(!info.to_string().contains("P-0001"), "a participant's code is in the vault: {info}");
    assert_eq!(bench.vault(&format!("info {}", &objects[0][..8])).ok().json(), info);
    let check = bench.vault("check").ok().json();
    assert_eq!((&check["restorable"], &check["findings"]), (&true.into(), &serde_json::json!([])));
    let again =
        bench.seal("@/S1.cram --manifest-field sample=S1 --manifest-field participant=P-0001").ok().json();
    assert_eq!(
        (&again["files"][0]["already"], &again["files"][0]["object"]),
        (&true.into(), &objects[0].as_str().into())
    );

    // One byte of the second block of a fragment.
    let fragment = bench.path(&format!("site-2/objects/{}/01.fragment", objects[0]));
    let mut bytes = fs::read(&fragment).unwrap();
    bytes[128 + 65_536 + 17] ^= 0x20;
    fs::write(&fragment, bytes).unwrap();
    let check = bench.run("vault check --vault @/vault");
    check.refused(6, &["can still be restored"]);
    let named = format!("site site-2, object {}, fragment 01, block 1", objects[0]);
    assert!(check.stdout.contains(&named), "{}", check.stdout);
    assert!(findings(&bench.restore("S1.cram", &["a", "b", "c"]).ok()).contains("site-2"));
    bench.assert_restored("S1.cram");

    // Two sites and a ledger: of the first object a third fragment has its damaged block still.
    for lost in ["site-2", "site-4", "ledger-c"] {
        bench.destroy(lost);
    }
    let check = bench.vault("check");
    check.refused(6, &["can still be restored"]);
    for lost in ["site-2", "site-4", "\"c\""] {
        assert!(findings(&check).contains(lost), "{lost} is not named: {}", check.stdout);
    }
    for (name, custodians) in [("S1.cram", ["a", "b"]), ("S1.g.vcf.gz", ["b", "a"])] {
        let restored = bench.restore(name, &custodians).ok();
        assert!(findings(&restored).contains("site-4"), "{}", restored.stdout);
        bench.assert_restored(name);
    }
    fs::remove_file(bench.path("out")).unwrap();
    bench.restore("S1.cram", &["a", "c"]).refused(7, &["c"]);
    bench.restore("S1.cram", &["a"]).refused(7, &[]);
    bench.restore("S1.cram", &["a", "a"]).refused(7, &[]);

    bench.destroy("site-5");
    bench.vault("check").refused(7, &[&objects[0], &objects[1]]);
    bench.restore("S1.cram", &["a", "b"]).refused(7, &["site-2", "site-4", "site-5"]);
    assert!(!bench.path("out").exists(), "something was written");
}

#[test]
fn custodians_answer_a_request_on_their_own_machines() {
    let (bench, objects) = Bench::sealed();
    let passphrase = "--passphrase-file @/passphrase";
    bench
        .vault(&format!("restore S1.cram --request @/r.json -o @/out {passphrase}"))
        .refused(2, &["before custodians"]);
    let asked = bench.vault(&format!("restore S1.cram --request @/r.json {passphrase}")).ok().json();
    assert_eq!(asked["object"], objects[0].as_str());

    // The custodian has a copy of the vault's description and a ledger that moved.
    fs::create_dir(bench.path("copy")).unwrap();
    fs::copy(bench.path("site-3/vault.json"), bench.path("copy/vault.json")).unwrap();
    fs::rename(bench.path("ledger-b"), bench.path("moved")).unwrap();
    let release = |name: &str, more: &str| {
        let key = format!("--key @/keys-{name}/{name}.epoch-1.key -o @/{name}.json");
        bench.run(&format!("custodian release @/r.json --vault @/copy {key} {passphrase} {more}"))
    };
    release("a", "").refused(2, &["not released", "asked by", "research", &objects[0]]);
    assert!(!bench.path("a.json").exists());
    release("a", "--yes").ok();
    release("a", "--yes").refused(2, &["is there already"]);
    bench
        .run("custodian release /dev/zero --vault @/copy --key @/keys-a/a.epoch-1.key -o @/z.json --yes")
        .refused(1, &["/dev/zero"]);
    release("b", "--yes").refused(1, &["ledger-b"]);
    release("b", "--yes --ledger file://@/moved").ok();

    let restore = |released: &str| {
        bench
            .vault(&format!("restore S1.cram --request @/r.json --released {released} -o @/out {passphrase}"))
    };
    restore("@/a.json").refused(7, &[]);
    assert!(bench.path("r.json.key").exists(), "a restore that failed may be tried again");
    let restored = restore("@/a.json @/b.json").ok().json();
    bench.assert_restored("S1.cram");
    assert!(restored["key_removed"].as_str().unwrap().ends_with("r.json.key"), "{restored}");
    assert!(!bench.path("r.json.key").exists(), "the one-time key outlives its restore");
    assert_eq!(fs::metadata(bench.path("out")).unwrap().permissions().mode() & 0o777, 0o600);
    restore("@/a.json @/b.json").refused(2, &["is there already"]);

    let mut request = fs::read(bench.path("r.json")).unwrap();
    request[200] ^= 1;
    fs::write(bench.path("r.json"), request).unwrap();
    fs::remove_file(bench.path("a.json")).unwrap();
    release("a", "--yes").refused(6, &[]);
}

#[test]
fn nothing_moves_without_a_consent() {
    let (bench, _) = Bench::sealed();
    bench.consent("inactive");
    let withdrawn = "E-CONSENT-WITHDRAWN";
    bench.seal("@/S1.cram --sample S2 --participant P-0001").refused(4, &["S2", withdrawn]);
    bench.seal("@/S1.cram --sample S2 --participant P-0001 --dry-run").refused(4, &["S2", withdrawn]);
    bench.restore("S1.cram", &["a", "b"]).refused(4, &["S1", withdrawn]);
    bench.vault("restore S1.cram --request @/r.json --passphrase-file @/passphrase").refused(4, &[withdrawn]);
    assert!(!bench.path("out").exists() && !bench.path("r.json").exists());
    let log = fs::read_to_string(bench.path("vault/audit.jsonl")).unwrap();
    let denied = log.lines().filter(|line| line.contains("policy.deny")).count();
    assert_eq!(
        (denied, log.contains("P-0001")),
        (3, false),
        "every refusal is in the log, and nobody's code"
    );
    bench.run("audit verify @/vault/audit.jsonl").ok();
    fs::remove_file(bench.path("consent.csv")).unwrap();
    bench.restore("S1.cram", &["a", "b"]).refused(4, &["consent.csv"]);
    bench.seal("@/S1.cram").refused(4, &["whose data"]);
}

#[test]
fn a_refusal_names_whoever_it_was_sealed_for_even_where_the_register_forgot_them() {
    let (bench, _) = Bench::sealed();
    bench.restore("S1.cram", &["a", "b"]).ok();
    let register = fs::read_to_string(bench.path("consent.csv")).unwrap();
    bench.write("consent.csv", &register.replace("\nP-0001,", "\nP-0002,"));
    bench.restore("S1.cram", &["a", "b"]).refused(4, &["S1", "E-CONSENT-MISSING"]);
    let shown = bench.run("audit show @/vault --output json").ok().json();
    let events = shown["events"].as_array().unwrap().iter();
    let people = events.filter(|event| !event["participant_h"].is_null()).collect::<Vec<_>>();
    let person = &people[0]["participant_h"];
    assert!(people.iter().all(|event| event["participant_h"] == *person), "{people:?}");
    assert_eq!(people.last().unwrap()["event"], "policy.deny");
}

#[test]
fn one_file_that_fails_does_not_stop_the_others() {
    let bench = Bench::new();
    bench.init("3", "2").ok();
    bench.write("notes", "a");
    let said = bench
        .seal("@/absent.cram @/S1.cram @/notes @/S1.g.vcf.gz --at cloud --sample S1 --participant P-0001");
    said.refused(4, &["LEVEL", "notes", "absent.cram", "3 of 4 files were not sealed"]);
    let sealed = said.json()["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["object"].is_string())
        .collect::<Vec<_>>();
    assert_eq!(sealed, [false, false, false, true]);
    let dry = bench.seal("@/S1.cram --sample S1 --participant P-0001 --dry-run").ok().json();
    assert!(dry["files"][0]["object"].is_null());
    assert_eq!(bench.vault("list").ok().json()["objects"].as_array().unwrap().len(), 1);
}

#[test]
fn what_cannot_keep_its_promise_is_not_made() {
    let bench = Bench::new();
    bench.init("4", "1").refused(2, &["2"]);
    assert!(!bench.path("vault/vault.json").exists());
    let init = |more: &str| {
        let custodians = "--custodian @/keys-a/a.pub.json --custodian @/keys-b/b.pub.json --quorum 2";
        bench.run(&format!("vault init --vault @/vault {custodians} --passphrase-file @/passphrase {more}"))
    };
    init("--data 2 --parity 1 --site s3://bucket --site file://@/s --site file://@/t")
        .refused(2, &["s3://bucket", "file://"]);
    init("--data 2 --parity 1 --site file:///").refused(2, &["no name"]);
    bench.write("empty", "");
    bench.run("vault init --vault @/vault --custodian @/keys-a/a.pub.json --quorum 2 --site file://@/s --passphrase-file @/empty").refused(2, &["empty"]);
    let made = bench.init("3", "2").ok().json();
    assert_eq!(made["sites"][4]["fragments"], serde_json::json!([4]));
    assert!(made["warnings"].to_string().contains("one machine holding all custodians is no quorum"));
    bench.init("3", "2").refused(2, &["vault"]);
    bench.run("vault list --vault @/nowhere").refused(2, &["holds no vault"]);
}

#[test]
fn a_vault_may_take_its_rules_from_a_cohort_and_talks_to_people() {
    let bench = Bench::new();
    bench.write("s.csv", "participant,sample,role,rgid,fastq_1,fastq_2\nP-0001,S1,germline,1,a.fq,b.fq\n");
    let cohort =
        "[cohort]\nid = \"C1\"\nreference = \"ref.fa\"\nsamples = \"s.csv\"\npurpose = \"research\"\n";
    bench.write("cohort.toml", &format!("{cohort}consent = \"consent.csv\"\nsites = [\"here\"]\n"));
    let sites = "--data 2 --parity 1 --site x=file://@/x --site y=file://@/y --site z=file://@/z";
    let custodians = "--quorum 2 --custodian @/keys-a/a.pub.json --custodian @/keys-b/b.pub.json";
    let passphrase = "--passphrase-file @/passphrase";
    let both = bench.run(&format!(
        "vault init --vault @/v --cohort @/cohort.toml --at here {sites} {custodians} {passphrase}"
    ));
    assert_eq!(both.code, Some(2), "{}", both.stderr);
    let made = bench
        .run(&format!("vault init --vault @/v --cohort @/cohort.toml {sites} {custodians} {passphrase}"))
        .ok();
    for said in ["2+1 fragments over 3 sites", "any 1 of 3 sites", "do not come back", "file://"] {
        assert!(made.stdout.contains(said), "'{said}' is not said: {}", made.stdout);
    }
    let seal = format!(
        "vault seal @/S1.cram --vault @/v --sample S1 --participant P-0001 --manifest-field batch=7 {passphrase}"
    );
    assert!(bench.run(&seal).ok().stdout.contains("  sealed  "));
    assert!(bench.run(&seal).ok().stdout.contains("was sealed before"));
    let info = bench.run("vault info S1.cram --vault @/v").ok();
    assert!(
        info.stdout.contains("S1: consent C1 version 1") && info.stdout.contains("batch=7"),
        "{}",
        info.stdout
    );
    // The custodians hold shares for another vault as well.
    bench.init("3", "2").ok();
    bench.seal("@/S1.g.vcf.gz --sample S1 --participant P-0001").ok();
    bench.vault("check").ok();
    assert!(bench.run("vault list --vault @/v").ok().stdout.contains("S1.cram"));
    assert!(
        bench.run("vault check --vault @/v").ok().stdout.contains("restorable, 1 more fragments may be lost")
    );
}

#[test]
fn raw_reads_go_to_a_pool_of_their_own_and_alignments_name_them() {
    let bench = Bench::new();
    bench.run("simulate --out @/cohort --seed 5 --genome-mb 0.05 --samples 2").ok();
    for name in ["warm", "cold"] {
        let sites: String = (1..=3).map(|at| format!(" --site file://@/{name}-site-{at}")).collect();
        let custodians = "--custodian @/keys-a/a.pub.json --custodian @/keys-b/b.pub.json --quorum 2";
        bench
            .run(&format!(
                "vault init --vault @/{name} --data 2 --parity 1 {sites} {custodians} --cohort @/cohort/cohort.toml \
                 --passphrase-file @/passphrase"
            ))
            .ok();
    }
    let cohort = fs::read_to_string(bench.path("cohort/cohort.toml")).unwrap();
    let archive =
        "[archive]\nvault = \"../warm\"\nfastq_vault = \"../cold\"\nclasses = [\"FASTQ\", \"CRAM\"]";
    bench.write("cohort/cohort.toml", &format!("{cohort}\n{archive}\n"));
    bench.run("run @/cohort/cohort.toml --out @/job --passphrase-file @/passphrase").ok();

    let names = |name: &str, class: &str| -> Vec<String> {
        let listed = bench.run(&format!("vault list --vault @/{name} --output json")).ok().json();
        let objects = listed["objects"].as_array().unwrap().iter().filter(|one| one["class"] == class);
        objects.map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    let count = |name| ["FASTQ", "CRAM"].map(|class| names(name, class).len());
    assert_eq!((count("warm"), count("cold")), ([0, 4], [4, 0]), "of each sample two FASTQ; CRAM and CRAI");

    let sealed: serde_json::Value =
        serde_json::from_slice(&fs::read(bench.path("job/sealed.json")).unwrap()).unwrap();
    let sealed = sealed["files"].as_array().unwrap();
    for file in sealed {
        let (object, path) = (file["object"].as_str().unwrap(), file["path"].as_str().unwrap());
        let (vault, original) = match file["class"] == "FASTQ" {
            true => ("cold", bench.path("cohort").join(path)),
            false => ("warm", bench.path("job").join(path)),
        };
        assert_eq!(
            file["vault"].as_str().unwrap(),
            wakachi::text(&bench.path(vault).canonicalize().unwrap())
        );
        let keys =
            "--custodian-key @/keys-a/a.epoch-1.key @/keys-b/b.epoch-1.key --passphrase-file @/passphrase";
        bench.run(&format!("vault restore {object} --vault @/{vault} -o @/out --force {keys}")).ok();
        assert!(fs::read(bench.path("out")).unwrap() == fs::read(original).unwrap(), "{path} differs");
        if path.ends_with(".cram") {
            let reads =
                sealed.iter().filter(|one| one["class"] == "FASTQ" && one["sample"] == file["sample"]);
            let reads: BTreeSet<_> = reads.map(|one| one["object"].as_str().unwrap()).collect();
            let info = bench.run(&format!("vault info {object} --vault @/warm --output json")).ok().json();
            let lineage = info["core"]["lineage"].as_array().unwrap().iter();
            let lineage: BTreeSet<_> = lineage.map(|one| one["object"].as_str().unwrap()).collect();
            assert_eq!((&lineage, reads.len()), (&reads, 2), "{path}");
        }
    }
    assert_eq!(sealed.len(), 8);
}

#[test]
fn keys_open_with_their_passphrase_alone_and_filters_stay_out() {
    let (bench, objects) = Bench::sealed();
    bench
        .vault("seal @/S1.cram --sample S1 --participant P-0001 --passphrase-file @/wrong")
        .refused(2, &["passphrase"]);
    bench.vault("seal @/S1.cram --sample S1 --participant P-0001").refused(2, &["--passphrase-file"]);
    let restore = "restore S1.cram -o @/out --custodian-key @/keys-a/a.epoch-1.key @/keys-b/b.epoch-1.key";
    bench.vault(&format!("{restore} --passphrase-file @/wrong --passphrase-file @/passphrase")).ok();
    bench.assert_restored("S1.cram");
    bench.restore("S9.cram", &["a", "b"]).refused(2, &["S9.cram"]);
    bench
        .vault("restore S1.cram -o @/site-1/objects/x --custodian-key @/keys-a/a.epoch-1.key")
        .refused(4, &["inside the vault's site"]);
    bench.run("simulate --out @/vault/new").refused(4, &["inside the vault"]);
    bench
        .run(&format!("index @/site-1/objects/{}/00.fragment", objects[0]))
        .refused(4, &["inside the vault's site"]);

    let open = format!("custodian open @/ledger-a/1/{}.share.json -o @/share", objects[0]);
    bench.run(&format!("{open} --key @/keys-b/b.epoch-1.key --passphrase-file @/passphrase")).refused(6, &[]);
    let opened =
        bench.run(&format!("{open} --key @/keys-a/a.epoch-1.key --passphrase-file @/passphrase")).ok();
    assert!(opened.stderr.contains("is a secret"), "{}", opened.stderr);
    assert_eq!(fs::metadata(bench.path("share")).unwrap().permissions().mode() & 0o777, 0o600);
    let share: serde_json::Value = serde_json::from_slice(&fs::read(bench.path("share")).unwrap()).unwrap();
    assert_eq!((&share["format"], &share["index"]), (&"wakachi.opened-share/1".into(), &1.into()));
    for name in ["a.identity.key", "a.epoch-1.key"] {
        let mode = fs::metadata(bench.path("keys-a").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}
