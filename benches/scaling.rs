//! How well do jobs scale, how close is the simulator to a real run, and what does the scheduler itself cost?
//!
//! Everything is what `wakachi bench scaling` says; here it is asked and written down.

mod measure;

use measure::{head, is_full, shell, wakachi};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// What is recorded: 40 human genomes imagined, and 40 small samples predicted and run.
const FULL: &str = "--samples 40 --check";

/// What is tested: the same code on next to nothing.
const SMALL: &str = "--samples 2 --workers 1,2,40 --lanes 2 --depth 1";

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = if is_full() { FULL } else { SMALL };
    let found = scaling(&folder.path().join("first"), options);
    if is_full() {
        let input =
            format!("`wakachi bench scaling {options}`, costs built in: {}", measured_at(folder.path()));
        head("Scaling", "scaling", &input, &[], &[]);
        print(&found);
        return;
    }
    let again = scaling(&folder.path().join("again"), options);
    assert_eq!(without_clock(&found), without_clock(&again), "the same seed gives the same figures");
    for figure in rows(&found, "figures") {
        let number = |key: &str| figure[key].as_f64().expect("a number");
        assert_eq!(figure["complete"], Value::Bool(true), "{figure}");
        assert!(number("over_tight_bound") >= 0.999, "nothing beats the bound: {figure}");
        assert!(number("efficiency") <= 1.001 && number("usable_used") <= 1.001, "{figure}");
    }
    let report = fs::read_to_string(folder.path().join("first/report.html")).expect("a report");
    assert!(report.contains("<svg") && report.contains("simulated") && !report.contains("<script"));
}

/// Runs the command; its document.
fn scaling(out: &Path, options: &str) -> Value {
    let quiet = if is_full() { "" } else { "2>&1" };
    shell(&format!("{} bench scaling {options} --out {} {quiet}", wakachi(), measure::quoted(out)));
    serde_json::from_slice(&fs::read(out.join("scaling.json")).expect("its document")).expect("JSON")
}

fn rows<'a>(found: &'a Value, table: &str) -> &'a [Value] {
    found[table].as_array().map_or(&[], Vec::as_slice)
}

/// The figures without the one that a clock measured.
fn without_clock(found: &Value) -> Vec<Value> {
    let strip = |figure: &Value| {
        let mut figure = figure.clone();
        figure["scheduler_us"] = Value::Null;
        figure
    };
    rows(found, "figures").iter().map(strip).collect()
}

fn measured_at(folder: &Path) -> String {
    let costs = fs::read(folder.join("first/costs.json")).unwrap_or_default();
    let costs: Value = serde_json::from_slice(&costs).unwrap_or_default();
    costs["machine"].as_str().unwrap_or("unknown").to_owned()
}

fn print(found: &Value) {
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    println!("| what | goal | stretch | found | reached | origin |\n|---|---|---|---|---|---|");
    for goal in rows(found, "goals") {
        let reached = if goal["reached"] == Value::Bool(true) { "yes" } else { "no" };
        let [name, wanted, stretch, value, origin] =
            ["name", "goal", "stretch", "found", "origin"].map(|key| text(goal, key));
        println!(
            "| {name} | {wanted} | {stretch} | {value} | {reached}; {} | {origin} |",
            text(goal, "note")
        );
    }
    println!(
        "\n| scenario | scheduler | samples | workers | makespan, s | efficiency | over bound | over tight bound |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for figure in rows(found, "figures") {
        let number = |key: &str| figure[key].as_f64().unwrap_or_default();
        println!(
            "| {} | {} | {} | {} | {:.1} | {:.1}% | {:.3} | {:.3} |",
            text(figure, "scenario"),
            text(figure, "scheduler"),
            number("samples"),
            number("workers"),
            number("makespan_s"),
            number("efficiency") * 100.0,
            number("over_bound"),
            number("over_tight_bound"),
        );
    }
    let check = &found["check"];
    println!("\nSimulated against measured ({}):\n", text(check, "about"));
    println!("| turn | workers | what | predicted | measured |\n|---|---|---|---|---|");
    for run in rows(check, "runs") {
        let pair = |name: &str, pair: &Value| {
            println!(
                "| {} | {} | {name} | {:.2} | {:.2} |",
                run["turn"],
                run["workers"],
                pair[0].as_f64().unwrap_or_default(),
                pair[1].as_f64().unwrap_or_default()
            );
        };
        for (kind, cpu) in run["cpu_s"].as_object().into_iter().flatten() {
            pair(&format!("{kind}, CPU s"), cpu);
        }
        pair("makespan in CPU time, s", &run["makespan_cpu_s"]);
        pair("makespan by the clock, s", &run["makespan_clock_s"]);
    }
    let overhead = check["overhead"].as_f64().unwrap_or_default() * 100.0;
    println!(
        "\nBesides its tasks (journal, scheduling, display) the process took {overhead:.1}% of their CPU time."
    );
}
