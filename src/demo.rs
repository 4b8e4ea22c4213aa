//! `wakachi demo`: a simulated cohort taken through the commands that a user would give, and measured against its truth.
//!
//! Invariant: everything is done by the commands printed, each a child process of this same program; the demo itself
//! only reads what they leave. A repeated demo gives them again, and each keeps what it finished before.

mod accuracy;
mod folder;
mod summary;

use crate::output::{self, Format, note, paint};
use crate::{interrupt, plain};
use accuracy::{Places, SampleAccuracy};
use cluster::meter::children_cpu_ms;
use folder::Folder;
use jobs::failure::{Class, Classified, Failure};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::num::NonZeroU32;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;
use storage::{AtomicFile, DiskError};
use workers::report::{ReportData, render};

/// Simulates a small cohort, runs it as a user would, and shows how right and how fast it was
///
/// Eight people of shared ancestry, a trio among them, one with a tumour as well: 2 Mb at 20x, nobody's data.
/// Every command is printed as it is run. The same command again goes on after an interruption.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wakachi demo
  wakachi demo --dir /scratch/demo --seed 7 -t 4

Takes about a minute on two cores and 300 MB of disk.")]
pub struct Args {
    /// Directory of the demo, made where there is none
    #[arg(long, value_name = "DIR", default_value = "wakachi-demo")]
    dir: PathBuf,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Threads [default: all cores]
    #[arg(short, long, value_name = "N")]
    threads: Option<NonZeroU32>,
    /// Form of the summary on stdout
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// Why a demo did not come to its end.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("cannot start {command}")]
    Start {
        command: String,
        #[source]
        source: io::Error,
    },
    #[error("{command}: ended with {status}")]
    Child { command: String, status: ExitStatus, again: String },
    #[error("{}: cannot be read as the data of a report", path.display())]
    ReportData {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Classified for DemoError {
    fn class(&self) -> Class {
        match self {
            DemoError::Child { status, .. } => match (status.code(), status.signal()) {
                (Some(code), _) => Class::of_exit_code(code).unwrap_or(Class::Internal),
                (None, Some(SIGINT)) => Class::Interrupted,
                (None, _) => Class::Failed,
            },
            DemoError::Start { .. } => Class::Failed,
            DemoError::ReportData { .. } => Class::Partial,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            DemoError::Child { again, .. } => Some(format!("to go on: {again}")),
            _ => None,
        }
    }
}

/// Number of the signal that Ctrl-C sends.
const SIGINT: i32 = 2;

/// A command of the demo and what it took.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Step {
    /// As a user would give it.
    pub command: String,
    /// In milliseconds.
    pub elapsed_ms: u64,
    /// CPU time in milliseconds.
    pub cpu_ms: u64,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let folder = Folder::open(&args.dir, args.seed)?;
    let mut steps = Vec::new();
    for words in commands(args, &folder) {
        steps.push(step(args, &folder, words)?);
    }
    let mut data = report_data(&folder)?;
    let accuracy = assess(args, &folder, &data)?;
    for (sample, accuracy) in data.samples.iter_mut().zip(&accuracy) {
        sample.accuracy = Some(accuracy.for_report());
    }
    let report = folder.report();
    let mut file = AtomicFile::create(&report)?;
    file.write_all(render(&data).as_bytes()).map_err(DiskError::on("write", &report))?;
    file.commit()?;
    match args.output {
        Format::Json => output::json(&summary::json(args.seed, &folder, &steps, &accuracy, &data)),
        Format::Table => summary::say_all(&folder, &steps, &accuracy, &data),
        Format::Quiet => {}
    }
    Ok(())
}

/// The words of all commands, without the program's name.
fn commands(args: &Args, folder: &Folder) -> Vec<Vec<OsString>> {
    let word = |text: &str| OsString::from(text);
    let threads = args.threads.map(|threads| [word("-t"), threads.to_string().into()]);
    let threads = || threads.clone().into_iter().flatten();
    let cohort = || folder.cohort().into_os_string();
    let job = || folder.job().into_os_string();
    let simulate = ["simulate".into(), "--out".into(), folder.simulation().into()];
    let simulate =
        simulate.into_iter().chain(["--seed".into(), args.seed.to_string().into(), "--tumor".into()]);
    vec![
        simulate.chain(threads()).collect(),
        [word("index"), folder.reference().into()].into_iter().chain(threads()).collect(),
        vec!["cohort".into(), "check".into(), cohort()],
        ["run".into(), cohort(), "--out".into(), job()].into_iter().chain(threads()).collect(),
        vec!["job".into(), "verify".into(), job()],
    ]
}

/// Prints and runs one command.
fn step(args: &Args, folder: &Folder, words: Vec<OsString>) -> Result<Step, Failure> {
    let quoted = words.iter().map(|word| output::shell_word(&word.to_string_lossy()));
    let command = std::iter::once("wakachi".to_owned()).chain(quoted).collect::<Vec<_>>().join(" ");
    // What the commands say is talk here, where stdout is for a document or for nobody.
    let (say, stdout): (fn(&str), _) = match args.output {
        Format::Table => (output::say, Stdio::inherit()),
        Format::Json | Format::Quiet => (note, Stdio::from(io::stderr())),
    };
    say(&format!("{} {}", paint("$", "32;1"), paint(&command, "1")));
    let (begun, cpu_ms) = (Instant::now(), children_cpu_ms());
    let start = || {
        let mut child = Command::new(std::env::current_exe()?);
        child.args(&words).stdin(folder.hold()?).stdout(stdout);
        // In a group of its own a child gets every interrupt once: from here.
        interrupt::wait(&mut child.process_group(0).spawn()?)
    };
    let status = start().map_err(|source| DemoError::Start { command: command.clone(), source })?;
    say("");
    if status.success() {
        let elapsed_ms = begun.elapsed().as_millis() as u64;
        return Ok(Step { command, elapsed_ms, cpu_ms: children_cpu_ms() - cpu_ms });
    }
    Err(DemoError::Child { command, status, again: output::command_line() }.into())
}

/// What the job knows of itself.
fn report_data(folder: &Folder) -> Result<ReportData, DemoError> {
    let path = folder.job().join(".wakachi/report.json");
    let read = |path: &Path| Ok(serde_json::from_slice(&fs::read(path)?)?);
    read(&path).map_err(|source| DemoError::ReportData { path, source })
}

fn assess(args: &Args, folder: &Folder, data: &ReportData) -> Result<Vec<SampleAccuracy>, Failure> {
    let samples: Vec<(String, bool)> =
        data.samples.iter().map(|sample| (sample.name.clone(), !sample.tumour)).collect();
    let (reference, truth) = (folder.reference(), folder.simulation().join("truth"));
    let results = folder.job().join("results");
    let joint = results.join(format!("{}.vcf.gz", data.cohort));
    let places = Places { reference: &reference, truth: &truth, results: &results, joint: &joint };
    note("comparing the results with the truth");
    plain::on_threads(args.threads.map_or(0, NonZeroU32::get), || accuracy::assess(places, &samples))?
}
