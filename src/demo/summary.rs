//! What a demo shows in the end: how right, what came back, how fast, and where everything is.

use super::Step;
use super::accuracy::SampleAccuracy;
use super::folder::Folder;
use crate::output::{duration, say, table};
use std::path::{Path, PathBuf};
use workers::report::{Exclusion, ReportData, RestoreOutcome, VaultRestore, VaultSection};

/// Version of the document.
const SCHEMA: &str = "wakachi.demo/1";

/// What is where, with what it is.
fn files(folder: &Folder, data: &ReportData) -> Vec<(&'static str, PathBuf, &'static str)> {
    let (job, simulation) = (folder.job(), folder.simulation());
    let results = job.join("results");
    vec![
        ("report", folder.report(), "quality, relatedness, accuracy, time, the vault: open it in a browser"),
        ("joint", results.join(format!("{}.vcf.gz", data.cohort)), "joint calls of the cohort"),
        ("gvcf", results.join("*.g.vcf.gz"), "calls of each sample"),
        ("cram", results.join("*.cram"), "alignments of each sample"),
        ("qc", job.join("qc"), "what was counted in each sample"),
        ("ledger", job.join("ledger.json"), "every read by fate, every base by shard"),
        ("cohort", folder.cohort(), "the cohort file that went in"),
        ("truth", simulation.join("truth"), "what the simulation put in"),
        (
            "vault",
            folder.vault(),
            "the vault's keys and audit log; its fragments are under sites, its shares with custodians",
        ),
        ("restored", folder.restored(), "what came back after the loss"),
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
        "excluded": data.exclusions,
        "vault": data.vault,
        "commands": steps,
        "stages": data.stages,
        "files": files.collect::<std::collections::BTreeMap<_, _>>(),
    })
}

/// The summary for people.
pub fn say_all(folder: &Folder, steps: &[Step], accuracy: &[SampleAccuracy], data: &ReportData) {
    say(&accuracy_table(accuracy));
    say("");
    data.exclusions
        .iter()
        .for_each(|Exclusion { what, reason, .. }| say(&format!("left out: {what}: {reason}")));
    data.vault.iter().for_each(say_vault);
    say(&format!("\n{}", time_table(steps, data)));
    say(
        "commands: of this start; stages: of the job until its report, from a first task's begin to the last one's end",
    );
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

/// What was lost of the vault, and what came back.
fn say_vault(vault: &VaultSection) {
    say(&format!("lost: {}", vault.lost().join(", ")));
    for VaultRestore { object, custodians, outcome } in &vault.restores {
        let came = match outcome {
            RestoreOutcome::Identical => "restored, identical byte for byte".to_owned(),
            RestoreOutcome::Refused { exit_code, .. } => format!("refused, exit code {exit_code}"),
        };
        say(&format!("{object} with {}: {came}", custodians.join(" and ")));
    }
    say(&vault.note);
}

/// A line's time under the name of its command; those of one name that follow each other are one row.
fn times(steps: &[Step]) -> Vec<(String, u64, u64)> {
    let mut times: Vec<(String, u64, u64)> = Vec::new();
    for step in steps {
        let name = match step.command.split(' ').collect::<Vec<_>>()[..] {
            ["wakachi", noun @ ("cohort" | "job" | "vault" | "custodian" | "policy" | "audit"), verb, ..] => {
                format!("{noun} {verb}")
            }
            ["wakachi", verb, ..] => verb.to_owned(),
            // The shell's lines take no time worth a row.
            _ => continue,
        };
        match times.last_mut().filter(|last| last.0 == name) {
            Some(last) => *last = (name, last.1 + step.elapsed_ms, last.2 + step.cpu_ms),
            None => times.push((name, step.elapsed_ms, step.cpu_ms)),
        }
    }
    times
}

/// The commands; below the main job its stages, whose tasks ran side by side.
fn time_table(steps: &[Step], data: &ReportData) -> String {
    let mut rows = Vec::new();
    for (name, elapsed_ms, cpu_ms) in times(steps) {
        let is_job = name == "run";
        rows.push(vec![name, String::new(), duration(elapsed_ms), duration(cpu_ms)]);
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
