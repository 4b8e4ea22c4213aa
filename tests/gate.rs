//! Promise 3: without a valid consent nothing is read, and what was permitted or refused stands in the audit log.

#[path = "program/halfway.rs"]
mod halfway;
#[path = "program/wakachi.rs"]
mod wakachi;

use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;
use storage::{Fence, Journal};
use tempfile::TempDir;
use wakachi::{Cohort, Said, copy, digests, files, folder, now_and, register, text, wakachi};

const OPTIONS: &str = "--samples 3 --genome-mb 0.2 --depth 4 --seed 61";
const CUTS: &str = "-t 1 --chunk-pairs 300 --shard-bases 131072";

/// Three people, and the results of their job.
fn small() -> &'static (Cohort, BTreeMap<String, String>) {
    static SMALL: OnceLock<(Cohort, BTreeMap<String, String>)> = OnceLock::new();
    SMALL.get_or_init(|| {
        let cohort = Cohort::simulate("gate", OPTIONS);
        let results = digests(&cohort.job("-t 2").path().join("results"));
        (cohort, results)
    })
}

/// One person, whose reads are mapped by one task that takes far longer than a third of a second, the time between two
/// renewals.
fn long() -> &'static Cohort {
    static LONG: OnceLock<Cohort> = OnceLock::new();
    LONG.get_or_init(|| Cohort::simulate("gate-long", "--samples 1 --genome-mb 0.2 --depth 60 --seed 62"))
}
const ONE_CHUNK: &str = "-t 1 --chunk-pairs 1000000";

/// A copy of the cohort, to be spoiled, and the job that is made of it.
struct Bench {
    cohort: TempDir,
    out: TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Bench { cohort: folder(), out: folder() };
        copy(&small().0.dir, bench.cohort.path());
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.cohort.path().join(name)
    }

    /// Puts `to` for `from` in a file, where it must stand.
    fn edit(&self, name: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{name} has no {from}");
        fs::write(self.path(name), text.replace(from, to)).unwrap();
    }

    /// Replaces the register by one in which a participant's consent has this status and names these items and countries;
    /// the others' are as they must be.
    fn consents(&self, changed: &[(&str, &str, &str, &str)]) {
        let of = |person| {
            let found = changed.iter().find(|(changed, ..)| *changed == person);
            found.copied().unwrap_or((person, "active", "clinical_return", ""))
        };
        let register = register(&["P-000001", "P-000002", "P-000003"].map(of));
        // Whole or not at all, as whoever runs the register should.
        fs::write(self.path("consent.new"), register).unwrap();
        fs::rename(self.path("consent.new"), self.path("consent.csv")).unwrap();
        let cohort = fs::read_to_string(self.path("cohort.toml")).unwrap();
        fs::write(self.path("cohort.toml"), cohort.replace("consent.json", "consent.csv")).unwrap();
    }

    fn run(&self, options: &str) -> Said {
        wakachi::run(&self.path("cohort.toml"), self.out.path(), options)
    }

    fn assert_complete(&self) {
        assert_eq!(digests(&self.out.path().join("results")), small().1);
    }

    /// The events of the job's log, which must be sound and name nobody.
    fn events(&self) -> Vec<Value> {
        wakachi(&["audit", "verify", text(self.out.path())]).ok();
        let log = fs::read_to_string(self.out.path().join(".wakachi/audit.jsonl")).unwrap();
        assert!(!log.contains("P-0000"), "a participant's code is in the log");
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// The events of one name.
fn named<'e>(events: &'e [Value], name: &str) -> Vec<&'e Value> {
    events.iter().filter(|event| event["event"] == name).collect()
}

/// Spoils a cohort whose reads are nowhere. It must be refused by the policy, all the same and by these names, with
/// nothing written but the log; `denied` says whether the policy was asked at all.
fn check(spoil: impl FnOnce(&Bench), options: &str, named_in_message: &[&str], denied: bool) {
    let bench = Bench::new();
    spoil(&bench);
    fs::remove_dir_all(bench.path("reads")).unwrap();
    fs::remove_file(bench.path("reference.fa")).unwrap();
    bench.run(options).refused(4, named_in_message);
    let scratch = bench.out.path().join(".wakachi");
    let kept = ["audit.jsonl", "fence.1", "keys/.job.key", "lock"].map(|name| scratch.join(name));
    let left: Vec<_> = files(bench.out.path()).into_iter().filter(|path| !kept.contains(path)).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    if denied {
        let events = bench.events();
        assert!(!named(&events, "policy.deny").is_empty());
        assert_eq!(events.last().unwrap()["event"], "job.refused");
        assert!(named(&events, "job.submitted").is_empty());
    }
}

#[test]
fn what_is_missing_counts_as_no() {
    check(
        |bench| bench.edit("cohort.toml", "consent = \"consent.json\"\n", ""),
        "",
        &["no consents", "consent ="],
        false,
    );
    check(|bench| fs::remove_file(bench.path("consent.json")).unwrap(), "", &["consent.json"], false);
    check(|bench| bench.edit("cohort.toml", "purpose = \"qa\"\n", ""), "", &["PURPOSE_MISSING"], true);
    check(|bench| fs::remove_file(bench.path("sites.toml")).unwrap(), "", &["sites.toml", "[[site]]"], false);
    check(|_| (), "--site elsewhere", &["elsewhere", "here"], false);
    check(|bench| bench.edit("cohort.toml", "\"here\"", "\"nowhere\""), "", &["SITE_UNKNOWN"], true);
    check(|bench| bench.edit("sites.toml", "\"compute\", ", ""), "", &["SITE_ROLE"], true);
    check(|bench| bench.edit("sites.toml", "levels_max = 4", "levels_max = 3"), "", &["LEVEL"], true);
    check(|bench| bench.edit("sites.toml", "2099-12-31", "2020-12-31"), "", &["ATTEST"], true);
    let nobody = |bench: &Bench| bench.edit("consent.json", "\"active\"", "\"inactive\"");
    check(nobody, "", &["S-000001", "S-000003", "CONSENT_INACTIVE"], true);
}

#[test]
fn a_register_that_was_not_confirmed_for_a_day_is_stale() {
    let as_of = |hours: i64| {
        move |bench: &Bench| {
            let mut args = vec!["simulate", "--out", text(bench.cohort.path())];
            let as_of = now_and(-3600 * hours).to_string();
            args.extend(OPTIONS.split_whitespace().chain(["--as-of", &as_of]));
            wakachi(&args).ok();
        }
    };
    check(as_of(25), "", &["CONSENT_STALE"], true);
    check(as_of(-1), "", &["CONSENT_STALE"], true);
    let bench = Bench::new();
    as_of(23)(&bench);
    bench.run("-t 2").ok();
    bench.assert_complete();
}

#[test]
fn a_register_that_tells_who_somebody_is_is_refused_and_not_repeated() {
    let bench = Bench::new();
    let patient = "\"patient\": {";
    bench.edit("consent.json", patient, &format!("{patient}\"display\": \"Yamada Hanako\", "));
    let said = bench.run("");
    said.refused(3, &["consent.json:", "E-PII"]);
    assert!(!format!("{said:?}").contains("Hanako"), "{}", said.stderr);
    assert!(
        files(bench.out.path())
            .iter()
            .all(|path| !fs::read(path).unwrap().windows(6).any(|w| w == b"Hanako"))
    );
}

const WITHDRAWN: (&str, &str, &str, &str) = ("P-000002", "inactive", "clinical_return", "");
const FOREIGN_ONLY: (&str, &str, &str, &str) = ("P-000003", "active", "foreign_use", "GB");

#[test]
fn who_is_denied_is_left_out_with_every_reason_where_the_cohort_says_so() {
    let bench = Bench::new();
    bench.consents(&[WITHDRAWN, FOREIGN_ONLY]);
    let checked = wakachi(&["cohort", "check", text(&bench.path("cohort.toml"))]).ok();
    let said = bench.run("-t 2 --chunk-pairs 300").ok();
    let reasons = [("S-000002", "CONSENT_INACTIVE"), ("S-000003", "CONSENT_ITEM:clinical_return")];
    let excluded: Vec<_> = reasons
        .iter()
        .map(|(sample, reason)| serde_json::json!({"sample": sample, "reasons": [reason]}))
        .collect();
    let ledger: Value =
        serde_json::from_slice(&fs::read(bench.out.path().join("ledger.json")).unwrap()).unwrap();
    assert_eq!(ledger["excluded"], Value::from(excluded));
    let report = fs::read_to_string(bench.out.path().join("report.html")).unwrap();
    let events = bench.events();
    for (sample, reason) in reasons {
        assert!(said.stderr.contains(sample) && said.stderr.contains(reason), "{}", said.stderr);
        assert!(checked.stdout.contains(sample) && checked.stdout.contains(reason), "{}", checked.stdout);
        assert!(report.contains(&format!("{sample} from the job")) && report.contains(reason));
        let told = named(&events, "job.sample_excluded");
        assert!(
            told.iter()
                .any(|event| event["sample"] == sample && event["reasons"] == serde_json::json!([reason]))
        );
        let denied = named(&events, "policy.deny");
        assert!(
            denied
                .iter()
                .any(|event| event["sample"] == sample && event["reasons"] == serde_json::json!([reason]))
        );
        // Whatever a task does with a sample's data, it does under the sample's key.
        assert!(!bench.out.path().join(format!(".wakachi/keys/{sample}.key")).exists());
        for event in named(&events, "shard.leased") {
            assert!(!event.to_string().contains(sample), "{event}");
        }
    }
    assert!(named(&events, "shard.leased").len() > 5);
    assert_eq!(events.last().unwrap()["event"], "job.completed");

    let results = bench.out.path().join("results");
    let of_denied = |name: &String| reasons.iter().any(|(sample, _)| name.contains(sample));
    let found = digests(&results);
    assert!(!found.keys().any(of_denied), "{found:?}");
    let own = found.iter().filter(|(name, _)| name.starts_with("S-000001"));
    assert!(own.clone().count() == 4 && own.clone().all(|(name, digest)| small().1[name] == *digest));
    let mut vcf = String::new();
    let joint = fs::File::open(results.join("simulated-61.vcf.gz")).unwrap();
    MultiGzDecoder::new(joint).read_to_string(&mut vcf).unwrap();
    let columns = vcf.lines().find(|line| line.starts_with("#CHROM")).unwrap();
    assert_eq!(columns.split('\t').skip(9).collect::<Vec<_>>(), ["S-000001"]);
    assert!(reasons.iter().all(|(sample, _)| !vcf.contains(sample)));
}

#[test]
fn who_is_denied_ends_the_job_where_the_cohort_says_so() {
    let refuse = |bench: &Bench| {
        bench.consents(&[WITHDRAWN, FOREIGN_ONLY]);
        bench.edit("cohort.toml", "\"exclude\"", "\"refuse\"");
    };
    check(refuse, "", &["S-000002", "CONSENT_INACTIVE", "S-000003", "CONSENT_ITEM:clinical_return"], true);
    let policy = |bench: &Bench| {
        bench.consents(&[WITHDRAWN]);
        bench.edit("cohort.toml", "on_denied_sample = \"exclude\"\n", "");
    };
    check(policy, "", &["S-000002", "CONSENT_INACTIVE"], true);
}

#[test]
fn a_consent_withdrawn_while_the_job_rests_keeps_it_from_going_on() {
    let bench = Bench::new();
    let halfway = halfway::halfway(&small().0, CUTS);
    copy(halfway.path(), bench.out.path());
    bench.consents(&[WITHDRAWN]);
    bench.edit("cohort.toml", "\"exclude\"", "\"refuse\"");
    bench.run(CUTS).refused(4, &["S-000002", "CONSENT_INACTIVE"]);
    assert_eq!(bench.events().last().unwrap()["event"], "job.refused");
    bench.consents(&[]);
    bench.run(CUTS).ok();
    bench.assert_complete();
}

#[test]
fn a_consent_withdrawn_while_the_job_runs_stops_it_at_the_next_lease() {
    let bench = Bench::new();
    bench.consents(&[]);
    let log = bench.out.path().join(".wakachi/audit.jsonl");
    let leased = || fs::read_to_string(&log).unwrap_or_default().matches("\"shard.leased\"").count();
    let (mut before, cuts) = (None, "-t 1 --chunk-pairs 100 --shard-bases 131072");
    let said = wakachi::run_watched(&bench.path("cohort.toml"), bench.out.path(), cuts, |_| {
        if before.is_none() && leased() >= 5 {
            bench.consents(&[("P-000003", "inactive", "clinical_return", "")]);
            before = Some(leased());
        }
    });
    said.refused(4, &["S-000003", "CONSENT_INACTIVE"]);
    assert!(before.is_some());
    let events = bench.events();
    let denied = events.iter().position(|event| event["event"] == "policy.deny").expect("a denial");
    assert_eq!(events[denied]["reasons"], serde_json::json!(["CONSENT_INACTIVE"]));
    let after = &events[denied..];
    assert!(!named(after, "shard.leased").iter().any(|event| event.to_string().contains("S-000003")));
    assert!(!bench.out.path().join("ledger.json").exists());

    bench.edit("cohort.toml", "\"exclude\"", "\"refuse\"");
    bench.run(cuts).refused(4, &["S-000003"]);
    bench.edit("cohort.toml", "\"refuse\"", "\"exclude\"");
    bench.consents(&[]);
    bench.run(cuts).ok();
    bench.assert_complete();
    assert_eq!(bench.events().last().unwrap()["event"], "job.completed");
}

#[test]
fn joint_calls_of_whom_a_consent_was_withdrawn_are_not_written() {
    let bench = Bench::new();
    bench.consents(&[]);
    let log = bench.out.path().join(".wakachi/audit.jsonl");
    let joined = || fs::read_to_string(&log).unwrap_or_default().contains("\"shard\":\"joint/");
    let mut withdrawn = false;
    let said = wakachi::run_watched(&bench.path("cohort.toml"), bench.out.path(), CUTS, |job| {
        if !withdrawn && joined() {
            wakachi::held(job, Duration::ZERO, || {
                bench.consents(&[("P-000003", "inactive", "clinical_return", "")]);
            });
            withdrawn = true;
        }
    });
    said.refused(4, &["S-000003", "CONSENT_INACTIVE"]);
    assert!(withdrawn);
    let events = bench.events();
    let denied = events.iter().position(|event| event["event"] == "policy.deny").expect("a denial");
    let later = named(&events[denied..], "shard.leased");
    assert!(!later.iter().any(|event| event.to_string().contains("S-000003")), "{later:?}");
    let left = files(&bench.out.path().join("results"));
    assert!(!left.iter().any(|path| text(path).contains("/.simulated-61.")), "in the clear: {left:?}");
    bench.consents(&[]);
    bench.run(CUTS).ok();
    bench.assert_complete();
    // Everybody of the joint call was asked for.
    let events = bench.events();
    let written = |event: &&Value| event["shard"].as_str().is_some_and(|shard| shard == "write/0");
    for name in ["shard.leased", "policy.permit", "shard.committed"] {
        let asked = named(&events, name).into_iter().rfind(written).expect("a part of the joint file");
        assert_eq!(asked["samples"].as_array().map(Vec::len), Some(3), "{asked}");
    }
}

#[test]
fn leases_that_end_within_a_task_are_renewed() {
    let cohort = long();
    let bench = Bench { out: cohort.job("-t 2"), cohort: folder() };
    let expect = digests(&bench.out.path().join("results"));
    copy(&cohort.dir, bench.cohort.path());
    bench.edit("policy.toml", "lease_ttl_seconds = 900", "lease_ttl_seconds = 1");
    let bench = Bench { out: folder(), ..bench };
    bench.run(ONE_CHUNK).ok();
    assert_eq!(digests(&bench.out.path().join("results")), expect);
    let events = bench.events();
    assert!(!named(&events, "shard.renewed").is_empty());
    let journal = Journal::open(Fence::acquire(&bench.out.path().join(".wakachi")).unwrap()).unwrap();
    for (task, commit) in journal.commits().unwrap() {
        let of_task = |name| named(&events, name).iter().filter(|event| event["shard"] == *task).count();
        assert_eq!(of_task("shard.leased"), 1, "{task}");
        let lasted = commit.finished_ms - commit.started_ms;
        assert!(lasted < 1000 || of_task("shard.renewed") > 0, "{task} lasted {lasted} ms without renewal");
    }
}

#[test]
fn a_consent_withdrawn_within_a_task_stops_it() {
    let bench = Bench { out: folder(), cohort: folder() };
    copy(&long().dir, bench.cohort.path());
    bench.edit("policy.toml", "lease_ttl_seconds = 900", "lease_ttl_seconds = 1");
    bench.consents(&[]);
    let log = bench.out.path().join(".wakachi/audit.jsonl");
    let maps = || {
        let log = fs::read_to_string(&log).unwrap_or_default();
        log.lines().any(|line| line.contains("\"policy.permit\"") && line.contains("\"map/"))
    };
    let mut withdrawn = false;
    let said = wakachi::run_watched(&bench.path("cohort.toml"), bench.out.path(), ONE_CHUNK, |program| {
        if !withdrawn && maps() {
            // However fast the machine is, the task is not done before the permit has to be renewed.
            wakachi::held(program, Duration::from_millis(500), || {
                bench.consents(&[("P-000001", "inactive", "clinical_return", "")]);
            });
            withdrawn = true;
        }
    });
    said.refused(4, &["S-000001", "CONSENT_INACTIVE"]);
    assert!(withdrawn);
    let events = bench.events();
    let revoked = named(&events, "shard.revoked");
    assert_eq!(revoked[0]["reasons"], serde_json::json!(["CONSENT_INACTIVE"]));
    has(revoked[0], &["shard", "attempt", "participant_h", "consent_epoch", "object/class"]);
    let of_it = |name| named(&events, name).iter().filter(|one| one["shard"] == revoked[0]["shard"]).count();
    assert_eq!((of_it("shard.leased"), of_it("shard.committed")), (1, 0));
}

/// An event says something in each of these fields; what stands after a bar may stand for what is before it.
fn has(event: &Value, fields: &[&str]) {
    for field in fields {
        let mut found = field.split('|').filter_map(|field| event.pointer(&format!("/{field}")));
        assert!(found.any(|value| !value.is_null()), "{field} is missing in {event}");
    }
}

#[test]
fn every_event_says_what_was_done_with_whose_data_and_why() {
    const WHO: &str = "participant_h|participants_h/0";
    let bench = Bench::new();
    bench.consents(&[FOREIGN_ONLY]);
    bench.run(CUTS).ok();
    let events = bench.events();
    let check = |name: &str, fields: &[&str]| {
        assert!(!named(&events, name).is_empty(), "no {name}");
        named(&events, name).iter().for_each(|event| has(event, fields));
    };
    check("policy.permit", &["action", "object/class", WHO, "consent_epoch", "policy_sha256", "obligations"]);
    check(
        "policy.deny",
        &["action", "object/class", "participant_h", "consent_epoch", "sample", "reasons/0"],
    );
    check("job.sample_excluded", &["sample", "participant_h", "consent_epoch", "reasons/0"]);
    check("job.submitted", &["verdicts_sha256", "pipeline_sha256", "policy_sha256", "consent_epoch"]);
    check("shard.leased", &["shard", "attempt", "object/class", WHO, "consent_epoch", "lease", "expires"]);
    check("shard.committed", &["shard", "attempt", "object/class", WHO, "consent_epoch", "bytes"]);

    let leases: BTreeSet<_> =
        named(&events, "shard.leased").iter().map(|one| one["lease"].to_string()).collect();
    assert_eq!(leases.len(), named(&events, "shard.leased").len());
    let committed: BTreeSet<_> =
        named(&events, "shard.committed").iter().map(|event| event["shard"].as_str().unwrap()).collect();
    let journal = Journal::open(Fence::acquire(&bench.out.path().join(".wakachi")).unwrap()).unwrap();
    let commits = journal.commits().unwrap();
    assert_eq!(committed, commits.keys().map(|task| &**task).collect());

    // Who reads one person's data is found, whether it is read alone or with others'.
    let of_one =
        |event: &&Value| event["shard"].as_str().is_some_and(|task| task.starts_with("map/S-000001/"));
    let hash = events.iter().find(of_one).unwrap()["participant_h"].as_str().unwrap();
    let args = ["audit", "show", text(bench.out.path()), "--participant", hash, "--output", "json"];
    let shown = wakachi(&args).ok().stdout;
    assert!(shown.contains("map/S-000001/") && !shown.contains("map/S-000002/"), "{shown}");
    assert!(shown.contains("\"joint/") && shown.contains("\"finish\""), "{shown}");

    let refused = Bench::new();
    refused.consents(&[WITHDRAWN]);
    refused.edit("cohort.toml", "\"exclude\"", "\"refuse\"");
    refused.run(CUTS).refused(4, &["S-000002"]);
    has(named(&refused.events(), "job.refused")[0], &["reasons/0", "verdicts_sha256", "consent_epoch"]);
}

/// Length of what is looked for, in bases. Pieces of it stand side by side in each read, so that any 40 bases of a read
/// hold one.
const PROBE: usize = 20;

#[test]
fn a_killed_job_leaves_nothing_readable_on_disk() {
    let halfway = halfway::halfway(&small().0, CUTS);
    let scratch = halfway.path().join(".wakachi");
    let mut probes = HashSet::new();
    let mut names = BTreeSet::new();
    for path in files(&small().0.dir.join("reads")) {
        let mut reads = String::new();
        MultiGzDecoder::new(fs::File::open(path).unwrap()).read_to_string(&mut reads).unwrap();
        for record in reads.lines().collect::<Vec<_>>().chunks(4) {
            names.insert(record[0][1..].to_owned());
            let strands = [record[1].as_bytes().to_vec(), reverse_complement(record[1].as_bytes())];
            for strand in &strands {
                probes.extend(strand.chunks_exact(PROBE).map(<[u8]>::to_vec));
                // As BAM packs them: two bases a byte, in both phases.
                for packed in [packed(strand), packed(&strand[1..])] {
                    probes.extend(packed.chunks_exact(PROBE / 2).map(<[u8]>::to_vec));
                }
            }
            probes.extend(record[3].as_bytes().chunks_exact(PROBE).map(<[u8]>::to_vec));
        }
    }
    let names: HashSet<&[u8]> = names.iter().map(|name| &name.as_bytes()[..PROBE]).collect();
    let mut packs = 0;
    for path in files(&scratch) {
        let bytes = fs::read(&path).unwrap();
        for length in [PROBE, PROBE / 2] {
            let found = bytes.windows(length).position(|window| probes.contains(window));
            assert_eq!(found, None, "{} holds a read", path.display());
        }
        let found = bytes.windows(PROBE).position(|window| names.contains(window));
        assert_eq!(found, None, "{} holds a read's name", path.display());
        if path.extension().is_some_and(|extension| extension == "pack") {
            packs += bytes.len();
            let mut deflated = GzEncoder::new(Vec::new(), Compression::default());
            deflated.write_all(&bytes).unwrap();
            let deflated = deflated.finish().unwrap().len();
            assert!(
                deflated * 100 >= bytes.len() * 98,
                "{}: {deflated} of {} bytes",
                path.display(),
                bytes.len()
            );
        }
    }
    assert!(packs > 100_000, "{packs} bytes of packs prove little");
}

fn reverse_complement(bases: &[u8]) -> Vec<u8> {
    let complement = |base: &u8| match base {
        b'A' => b'T',
        b'C' => b'G',
        b'G' => b'C',
        b'T' => b'A',
        other => *other,
    };
    bases.iter().rev().map(complement).collect()
}

/// Two bases a byte, coded as in BAM.
fn packed(bases: &[u8]) -> Vec<u8> {
    let code = |base: u8| b"=ACMGRSVTWYHKDBN".iter().position(|&letter| letter == base).unwrap_or(15) as u8;
    bases.chunks_exact(2).map(|pair| code(pair[0]) << 4 | code(pair[1])).collect()
}

#[test]
fn a_sample_whose_key_is_gone_is_noise_and_no_other() {
    let bench = Bench::new();
    let halfway = halfway::halfway(&small().0, CUTS);
    copy(halfway.path(), bench.out.path());
    let key = bench.out.path().join(".wakachi/keys/S-000003.key");
    fs::remove_file(&key).unwrap();
    let said = bench.run(CUTS);
    said.refused(6, &["S-000003", "--repair"]);
    assert!(!said.stderr.contains("S-000001") && !said.stderr.contains("S-000002"), "{}", said.stderr);
    let repaired = bench.run(&format!("{CUTS} --repair")).ok();
    let again: Vec<&str> = repaired.stderr.lines().filter(|line| line.contains("doing again: ")).collect();
    assert!(!again.is_empty() && again.iter().all(|line| line.contains("S-000003")), "{again:?}");
    bench.assert_complete();
    bench.events();
}

#[test]
fn a_log_that_is_gone_or_cut_off_is_noticed() {
    let bench = Bench::new();
    bench.run(CUTS).ok();
    let log = bench.out.path().join(".wakachi/audit.jsonl");
    let whole = fs::read_to_string(&log).unwrap();
    let half: String = whole.split_inclusive('\n').take(whole.lines().count() / 2).collect();
    let spoilt = [None, Some(half.clone()), Some(half + "{\"actor\":")];
    for spoilt in spoilt {
        match spoilt {
            None => fs::remove_file(&log).unwrap(),
            Some(text) => fs::write(&log, text).unwrap(),
        }
        // Events of runs that were refused do not stand for those that are missing.
        for _ in 0..3 {
            let said = bench.run(CUTS);
            assert!(matches!(said.code, Some(6 | 10)), "{:?}: {}", said.code, said.stderr);
            said.refused(said.code.unwrap(), &["audit.jsonl", "--repair"]);
        }
        let said = bench.run(&format!("{CUTS} --repair")).ok();
        assert!(said.stderr.contains("audit.jsonl"), "{}", said.stderr);
        bench.run(CUTS).ok();
        bench.assert_complete();
        bench.events();
        fs::write(&log, &whole).unwrap();
        bench.run(&format!("{CUTS} --repair")).ok();
    }
}
