//! The demo: what it says is what its commands did.

#[path = "program/wakachi.rs"]
mod wakachi;

use std::fs;
use std::path::Path;
use wakachi::{all_tests, folder, text, wakachi};

/// A directory that holds the beginning of a demo of this seed.
fn begun(dir: &Path, seed: u64) {
    let program = format!("wakachi {}", env!("CARGO_PKG_VERSION"));
    let mark = serde_json::json!({ "program": program, "cohort": format!("--seed {seed} --genome-mb 2") });
    fs::write(dir.join(".wakachi-demo"), mark.to_string()).expect("a temporary folder takes files");
}

#[test]
fn a_directory_of_others_is_refused() {
    let folder = folder();
    let demo = |seed: &str| wakachi(&["demo", "--dir", text(folder.path()), "--seed", seed]);
    begun(folder.path(), 2);
    demo("1").refused(2, &["holds the demo of --seed 2", "--dir"]);
    fs::remove_file(folder.path().join(".wakachi-demo")).unwrap();
    fs::write(folder.path().join("thesis.tex"), "mine").unwrap();
    demo("1").refused(2, &["holds files that are not a demo's"]);
}

#[test]
fn the_exit_code_of_a_failed_command_is_passed_on() {
    let folder = folder();
    begun(folder.path(), 1);
    let simulation = folder.path().join("cohort");
    fs::create_dir(&simulation).unwrap();
    fs::write(simulation.join("thesis.tex"), "mine").unwrap();
    let said = wakachi(&["demo", "--dir", text(folder.path())]);
    said.refused(
        2,
        &["wakachi simulate --out", "ended with exit status: 2, expected", "to go on: wakachi demo"],
    );
    assert!(said.stdout.starts_with("$ wakachi simulate --out "), "{}", said.stdout);
}

#[test]
fn a_demo_seals_loses_restores_and_is_not_done_twice() {
    let folder = folder();
    let demo = || {
        let said = wakachi(&["demo", "--genome-mb", "0.1", "--dir", text(folder.path()), "--output", "json"]);
        said.ok().json()
    };
    let first = demo();
    let vault = &first["vault"];
    let names = |value: &serde_json::Value, wanted: bool| -> Vec<String> {
        let places = value.as_array().expect("places").iter().filter(|place| place["lost"] == wanted);
        places.map(|place| place["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names(&vault["sites"], true), ["site-2", "site-5"]);
    assert_eq!(names(&vault["custodians"], true), ["custodian-2"]);
    assert_eq!(names(&vault["custodians"], false), ["custodian-1", "custodian-3"]);

    let objects = vault["objects"].as_array().expect("objects");
    // Of nine samples a CRAM and a gVCF, of the cohort a VCF, each with its index; the report and the ledger.
    assert_eq!(objects.len(), 9 * 4 + 2 + 2);
    let count = |object: &serde_json::Value, field: &str, whole: fn(&serde_json::Value) -> bool| {
        object[field].as_array().expect("pieces").iter().filter(|piece| whole(piece)).count()
    };
    for object in objects {
        assert_eq!(count(object, "fragments", |fragment| fragment["whole"] == true), 3, "{object}");
        assert_eq!(count(object, "shares", |share| *share == true), 2, "{object}");
        assert!(!object["name"].as_str().expect("a name").starts_with("S-000009"), "{object}");
    }

    let outcomes = vault["restores"].as_array().expect("restores").iter();
    let outcomes: Vec<_> =
        outcomes.map(|one| (one["object"].as_str().expect("a name"), &one["outcome"])).collect();
    assert_eq!(outcomes[0], ("S-000001.cram", &"identical".into()));
    assert_eq!(outcomes[1], ("simulated-1.vcf.gz", &"identical".into()));
    assert_eq!((outcomes[2].0, &outcomes[2].1["refused"]["exit_code"]), ("S-000002.cram", &7.into()));
    assert!(!folder.path().join("restored/S-000002.cram").exists());
    let excluded = &first["excluded"][0];
    assert_eq!(
        (&excluded["what"], &excluded["reason"]),
        (&"S-000009 from the job".into(), &"the policy: CONSENT_INACTIVE".into())
    );
    let [job, sealed] = ["job", "vault"].map(|name| folder.path().join(name));
    wakachi(&["audit", "verify", text(&job), text(&sealed)]).ok();

    let report = fs::read_to_string(folder.path().join("report.html")).expect("the report");
    for shown in
        ["S-000009 from the job", "identical, byte for byte", "refused, exit code 7", "on one machine"]
    {
        assert!(report.contains(shown), "the report does not show '{shown}'");
    }
    let again = demo();
    for field in ["accuracy", "stages", "excluded", "vault"] {
        assert_eq!(again[field], first[field], "{field}");
    }
}

#[test]
fn a_demo_meets_the_floors() {
    if !all_tests() {
        return;
    }
    let folder = folder();
    let said = wakachi(&["demo", "--dir", text(folder.path()), "--output", "json"]).ok().json();
    let accuracy = said["accuracy"].as_array().expect("samples");
    assert_eq!(accuracy.len(), 9);
    let number = |value: &serde_json::Value| value.as_f64().expect("a number");
    for sample in accuracy {
        let alignment = &sample["alignment"];
        let right = number(&alignment["pairs_right"]) / number(&alignment["pairs"]);
        assert!(right >= 0.99, "{sample}");
        for (class, floor) in [("snv", 0.98), ("indel", 0.90)] {
            let Some(counts) = sample["variants"].get(class) else { continue };
            let [hit, missed, extra] =
                ["true_positives", "false_negatives", "false_positives"].map(|name| number(&counts[name]));
            assert!(2.0 * hit / (2.0 * hit + missed + extra) >= floor, "{class}: {sample}");
        }
    }
    let report = fs::read_to_string(folder.path().join("report.html")).expect("the report");
    assert!(report.contains("Against the simulation's truth"), "the report has no accuracy");
}
