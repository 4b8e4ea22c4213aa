//! The demo: what it says is what its commands did.

#[path = "program/wakachi.rs"]
mod wakachi;

use std::fs;
use std::path::Path;
use wakachi::{all_tests, folder, text, wakachi};

/// A directory that holds the beginning of a demo of this seed.
fn begun(dir: &Path, seed: u64) {
    let program = format!("wakachi {}", env!("CARGO_PKG_VERSION"));
    let mark = serde_json::json!({ "program": program, "seed": seed });
    fs::write(dir.join(".wakachi-demo"), mark.to_string()).expect("a temporary folder takes files");
}

#[test]
fn a_directory_of_others_is_refused() {
    let folder = folder();
    let demo = |seed: &str| wakachi(&["demo", "--dir", text(folder.path()), "--seed", seed]);
    begun(folder.path(), 2);
    demo("1").refused(2, &["holds the demo of seed 2", "--seed 2"]);
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
    said.refused(2, &["wakachi simulate --out", "ended with exit status: 2", "to go on: wakachi demo"]);
    assert!(said.stdout.starts_with("$ wakachi simulate --out "), "{}", said.stdout);
}

#[test]
fn a_demo_meets_the_floors_and_is_not_done_twice() {
    if !all_tests() {
        return;
    }
    let folder = folder();
    let demo = || wakachi(&["demo", "--dir", text(folder.path()), "--output", "json"]).ok().json();
    let first = demo();
    let accuracy = first["accuracy"].as_array().expect("samples");
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
    let again = demo();
    assert_eq!((&again["accuracy"], &again["stages"]), (&first["accuracy"], &first["stages"]));
}
