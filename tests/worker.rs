//! `wakachi worker`: a bundle on a shared filesystem, run by hand.

#[path = "program/wakachi.rs"]
mod wakachi;

use cluster::Request;
use cluster::bundle::{BUNDLE_SCHEMA, Bundle, Data, Receipt};
use jobs::genome::Cell;
use jobs::lease::Lease;
use jobs::policy::{Action, DataClass, Purpose};
use jobs::task::{LaneId, Shard, Task};
use scheduler::{AttemptId, Purpose as Why, WorkerId};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use storage::lease::LeaseKey;
use wakachi::{Cohort, folder, now_and, text, wakachi};

fn bundle(cohort: &Cohort, job: &Path, seconds: i64) -> Bundle {
    // The worker of a shared bundle asks the gate itself; what stands here only says what was meant.
    let lease = Lease {
        job: "j".to_owned(),
        task: "t".to_owned(),
        attempt: 1,
        action: Action::Read,
        class: DataClass::Fastq,
        samples: cohort.samples(),
        purpose: Purpose::ClinicalReturn,
        site: "s".to_owned(),
        epoch: 0,
        policy_sha256: String::new(),
        issued: now_and(0),
        expires: now_and(0),
    };
    let request = Request {
        attempt: AttemptId(3),
        number: 1,
        task: Task::Intake(LaneId { sample: 0, lane: 0 }, 0),
        purpose: Why::Work,
        lease: LeaseKey::from_seed(&zeroize::Zeroizing::new([7; 32])).sign(&lease),
        inputs: Arc::default(),
    };
    Bundle {
        schema: BUNDLE_SCHEMA.to_owned(),
        id: "9-0-5".to_owned(),
        job: "j".to_owned(),
        site: site(cohort),
        worker: WorkerId(5),
        expires: now_and(seconds),
        requests: vec![request],
        data: Data::Shared {
            job_dir: job.to_owned(),
            cohort: cohort.file(),
            fence: 9,
            samples: cohort.samples(),
            chunk_pairs: None,
            minutes: 0,
            sight: String::new(),
        },
    }
}

/// The site where the cohort's job runs.
fn site(cohort: &Cohort) -> String {
    let sites = fs::read_to_string(cohort.dir.join("sites.toml")).expect("sites");
    let id = sites.lines().find_map(|line| line.strip_prefix("id = \"")).expect("a site");
    id.trim_end_matches('"').to_owned()
}

#[test]
fn a_bundle_is_run_once_and_leaves_a_receipt() {
    let cohort = Cohort::simulate("worker", "--samples 1 --genome-mb 0.1 --depth 2 --seed 3");
    let job = cohort.job("-t 1");
    let path = folder();
    let path = path.path().join("bundle.json");
    let mut bundle = bundle(&cohort, job.path(), 600);
    assert!(bundle.write(&path).unwrap());
    let refused = wakachi(&["worker", "--bundle", text(&path), "-t", "1"]);
    refused.refused(3, &["not those that it was written for"]);
    assert!(
        Receipt::read(&Receipt::path_of(&path), "9-0-5").unwrap().is_none(),
        "a receipt of what was refused"
    );
    let (_, found) = refused.stderr.split_once("(digest ").expect("the digest");
    let Data::Shared { sight, .. } = &mut bundle.data else { unreachable!("it is shared") };
    *sight = found.split(',').next().expect("a word").to_owned();
    fs::remove_file(&path).unwrap();
    assert!(bundle.write(&path).unwrap());
    let said = wakachi(&["worker", "--bundle", text(&path), "-t", "1"]).ok();
    assert!(!said.stderr.contains("another worker"), "{}", said.stderr);
    let receipt = Receipt::read(&Receipt::path_of(&path), "9-0-5").unwrap().expect("a receipt");
    let output = receipt.ended[0].result.as_ref().expect("an output");
    assert_eq!(output.pieces[0].pack, "w9-5.pack");
    assert!(!receipt.logged.is_empty(), "what was read is not said");
    let again = wakachi(&["worker", "--bundle", text(&path)]).ok();
    assert!(again.stderr.contains("was done by another worker"), "{}", again.stderr);
    assert!(Receipt::read(&Receipt::path_of(&path), "other").is_err());

    let forged = [Task::Model(LaneId { sample: 7, lane: 0 }), Task::Model(LaneId { sample: 0, lane: 1 })];
    let beyond = Shard::Cells { first: Cell(0), end: Cell(u32::MAX) };
    for task in forged.into_iter().chain([Task::Region(0, beyond), Task::FinishSample(9)]) {
        bundle.requests[0].task = task;
        let forged = path.with_extension("forged");
        fs::write(&forged, serde_json::to_vec(&bundle).expect("JSON")).unwrap();
        wakachi(&["worker", "--bundle", text(&forged), "-t", "1"]).ok();
        let receipt = Receipt::path_of(&forged);
        let ended = Receipt::read(&receipt, "9-0-5").unwrap().expect("a receipt").ended.remove(0);
        let failure = ended.result.expect_err("nobody can do it");
        assert!(failure.chain[0].contains("that the job does not have"), "{:?}", failure.chain);
        fs::remove_file(receipt).unwrap();
    }
}

#[test]
fn what_is_no_bundle_or_comes_too_late_is_refused() {
    let cohort = Cohort::simulate("worker-late", "--samples 1 --genome-mb 0.1 --depth 2 --seed 3");
    let dir = folder();
    let check = |name: &str, bytes: &[u8], code: i32, named: &str| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).expect("a file");
        let said = wakachi(&["worker", "--bundle", text(&path)]);
        assert_eq!(said.code, Some(code), "{}", said.stderr);
        assert!(said.stderr.contains(named), "{}", said.stderr);
    };
    check("noise", b"noise", 3, "neither a bundle nor a ticket");
    check("other", br#"{"schema": "wakachi.plan/1"}"#, 3, "wakachi.bundle/3");
    let late = serde_json::to_vec(&bundle(&cohort, dir.path(), -1)).expect("JSON");
    check("late", &late, 4, "was to be run before");
    let ticket =
        br#"{"schema": "wakachi.ticket/1", "id": "1", "bundle": {"url": "file:///nonexistent/x", "bytes": 1,
        "blake3": "0000000000000000000000000000000000000000000000000000000000000000"},
        "key": "0000000000000000000000000000000000000000000000000000000000000000"}"#;
    check("ticket", ticket, 8, "is not there");
}
