//! What a demo shows in the end: how right, how fast, and where everything is.

use super::Step;
use super::accuracy::SampleAccuracy;
use super::folder::Folder;
use crate::output::{duration, say, table};
use std::path::{Path, PathBuf};
use workers::report::ReportData;

/// Version of the document.
const SCHEMA: &str = "wakachi.demo/1";

/// What is where, with what it is.
fn files(folder: &Folder, data: &ReportData) -> Vec<(&'static str, PathBuf, &'static str)> {
    let (job, simulation) = (folder.job(), folder.simulation());
    let results = job.join("results");
    vec![
        ("report", folder.report(), "quality, relatedness, accuracy, time: open it in a browser"),
        ("joint", results.join(format!("{}.vcf.gz", data.cohort)), "joint calls of the cohort"),
        ("gvcf", results.join("*.g.vcf.gz"), "calls of each sample"),
        ("cram", results.join("*.cram"), "alignments of each sample"),
        ("qc", job.join("qc"), "what was counted in each sample"),
        ("ledger", job.join("ledger.json"), "every read by fate, every base by shard"),
        ("cohort", folder.cohort(), "the cohort file that went in"),
        ("truth", simulation.join("truth"), "what the simulation put in"),
    ]
}

/// The summary as a document.
pub fn json(
    seed: u64,
    folder: &Folder,
    steps: &[Step],
    accuracy: &[SampleAccuracy],
    data: &ReportData,
) -> serde_json::Value {
    let files = files(folder, data).into_iter().map(|(name, path, _)| (name.to_owned(), path));
    serde_json::json!({
        "schema": SCHEMA,
        "seed": seed,
        "accuracy": accuracy,
        "commands": steps,
        "stages": data.stages,
        "files": files.collect::<std::collections::BTreeMap<_, _>>(),
    })
}

/// The summary for people.
pub fn say_all(folder: &Folder, steps: &[Step], accuracy: &[SampleAccuracy], data: &ReportData) {
    say(&accuracy_table(accuracy));
    say(&format!("\n{}", time_table(steps, data)));
    say("commands: of this start; stages: of the whole job, from a first task's begin to the last one's end");
    let files: Vec<_> =
        files(folder, data).into_iter().map(|(_, path, what)| (path.display().to_string(), what)).collect();
    let width = files.iter().map(|(path, _)| path.chars().count()).max().unwrap_or(0);
    say("");
    files.iter().for_each(|(path, what)| say(&format!("{path:width$}  {what}")));
    say(&format!("\nopen {}", url(&folder.report())));
}

fn accuracy_table(accuracy: &[SampleAccuracy]) -> String {
    let header =
        ["against the truth", "reads right", "wrong at MAPQ>=20", "duplicates found", "SNV F1", "indel F1"];
    let row = |one: &SampleAccuracy| {
        let f1 = |f1: Option<f64>| f1.map_or("-".to_owned(), |f1| format!("{f1:.4}"));
        vec![
            one.sample.clone(),
            percent(one.alignment.right_share()),
            one.alignment.wrong_confident.to_string(),
            percent(one.alignment.duplicates_found_share()),
            f1(one.variants.map(|variants| variants.snv.f1())),
            f1(one.variants.map(|variants| variants.indel.f1())),
        ]
    };
    table(&header, &accuracy.iter().map(row).collect::<Vec<_>>())
}

/// The commands; below the main job its stages, whose tasks ran side by side.
fn time_table(steps: &[Step], data: &ReportData) -> String {
    let mut rows = Vec::new();
    for step in steps {
        let words: Vec<&str> = step.command.split(' ').skip(1).collect();
        let name = match words.as_slice() {
            [noun @ ("cohort" | "job"), verb, ..] => format!("{noun} {verb}"),
            [verb, ..] => (*verb).to_owned(),
            [] => String::new(),
        };
        let is_job = name == "run";
        rows.push(vec![name, String::new(), duration(step.elapsed_ms), duration(step.cpu_ms)]);
        if is_job {
            rows.extend(data.stages.iter().map(|stage| {
                let name = format!("  {}", stage.stage);
                vec![name, stage.tasks.to_string(), duration(stage.wall_ms), duration(stage.cpu_ms)]
            }));
        }
    }
    let total = |of: fn(&Step) -> u64| duration(steps.iter().map(of).sum());
    rows.push(vec![
        "all".to_owned(),
        String::new(),
        total(|step| step.elapsed_ms),
        total(|step| step.cpu_ms),
    ]);
    table(&["time", "tasks", "elapsed", "CPU"], &rows)
}

fn percent(share: f64) -> String {
    format!("{:.2}%", 100.0 * share)
}

/// The address of a file for a browser.
fn url(path: &Path) -> String {
    let absolute = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    let encode = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    format!("file://{}", absolute.to_string_lossy().bytes().map(encode).collect::<String>())
}
