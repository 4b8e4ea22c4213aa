//! `wakachi demo`: a simulated cohort taken through the lines that a user would type, into a vault that then loses sites and
//! a custodian, and back; measured against its truth.
//!
//! Invariant: everything is done by the lines printed, each a child process, this same program or a shell; each must end
//! with the exit code that [`script`] says, and the demo itself only reads what they leave. A repeated demo types them
//! again, and each keeps what it finished before.

mod accuracy;
mod folder;
mod script;
mod summary;
mod vault;

use crate::output::{self, Format, note, paint};
use crate::{interrupt, plain};
use accuracy::{Places, SampleAccuracy};
use cluster::meter::children_cpu_ms;
use folder::Folder;
use jobs::failure::{Class, Classified, Failure};
use script::{Act, Line};
use std::fs;
use std::io::{self, Read, Write};
use std::num::NonZeroU32;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Instant;
use storage::{AtomicFile, DiskError};
use workers::report::{ReportData, render};

/// Simulates a small cohort, runs and seals it as a user would, loses sites and restores, and shows how right it was
///
/// Nine people of shared ancestry, a trio among them, one with a tumour as well, one who has withdrawn: 2 Mb at 20x, nobody's
/// data. Results are sealed over five sites and three custodians; two sites and a custodian's ledger are destroyed, and what
/// comes back is compared. All of that lies on one machine, so it shows how a quorum works and is none.
/// Every line is printed as it is run. The same command again goes on after an interruption.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wakachi demo
  wakachi demo --dir /scratch/demo --seed 7 -t 4
  wakachi demo --genome-mb 0.2                  quicker, and less to measure

Takes about a minute on two cores and 400 MB of disk.

Exit codes: 0 every line ended as it should; else that of the line that did not, and the same command goes on.")]
pub struct Args {
    /// Directory of the demo, made where there is none
    #[arg(long, value_name = "DIR", default_value = "wakachi-demo")]
    dir: PathBuf,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Size of the genome in megabases
    #[arg(long, value_name = "X", default_value_t = 2.0)]
    genome_mb: f64,
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
    #[error("{command}: ended with {status}, expected exit status: {expected}")]
    Child { command: String, status: ExitStatus, expected: u8, again: String },
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
                // What should have been refused and was not is our fault.
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

/// A line of the demo and what it took.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Step {
    /// As a user would type it.
    pub command: String,
    /// As expected.
    pub exit_code: u8,
    /// In milliseconds.
    pub elapsed_ms: u64,
    /// CPU time in milliseconds.
    pub cpu_ms: u64,
    /// What it said on stderr, if it was to be refused.
    #[serde(skip)]
    pub said: String,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let cohort = [("--seed", args.seed.to_string()), ("--genome-mb", args.genome_mb.to_string())];
    let cohort = cohort.map(|(option, value)| [option.to_owned(), value]).concat();
    let folder = Folder::open(&args.dir, &cohort.join(" "))?;
    let threads = args.threads.map(|threads| ["-t".into(), threads.to_string().into()]);
    let (mut steps, mut restores) = (Vec::new(), Vec::new());
    for line in script::lines(&folder, args.seed, &cohort, threads.as_ref().map_or(&[], |words| words)) {
        let step = step(args, &folder, &line)?;
        restores.extend(line.trial.map(|trial| vault::outcome(trial, &step)));
        steps.push(step);
    }
    let mut data = report_data(&folder)?;
    let accuracy = assess(args, &folder, &data)?;
    for (sample, accuracy) in data.samples.iter_mut().zip(&accuracy) {
        sample.accuracy = Some(accuracy.for_report());
    }
    data.vault = Some(vault::section(&folder.vault(), restores)?);
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

/// Prints and runs one line.
fn step(args: &Args, folder: &Folder, line: &Line) -> Result<Step, Failure> {
    // What the lines say is talk here, where stdout is for a document or for nobody.
    let (say, stdout): (fn(&str), _) = match args.output {
        Format::Table => (output::say, Stdio::inherit()),
        Format::Json | Format::Quiet => (note, Stdio::from(io::stderr())),
    };
    let command = line.typed();
    if !line.about.is_empty() {
        say(&paint(&format!("# {}", line.about), "36"));
    }
    say(&format!("{} {}", paint("$", "32;1"), paint(&command, "1")));
    let (begun, cpu_ms) = (Instant::now(), children_cpu_ms());
    let start = || {
        let mut child = process(line)?;
        child.stdin(folder.hold()?).stdout(stdout);
        if line.exit != 0 {
            child.stderr(Stdio::piped());
        }
        // In a group of its own a child gets every interrupt once: from here.
        listen(&mut child.process_group(0).spawn()?)
    };
    let (status, said) = start().map_err(|source| DemoError::Start { command: command.clone(), source })?;
    let is_expected = status.code() == Some(i32::from(line.exit));
    if is_expected && line.exit != 0 {
        say(&paint(&format!("# exit code {}, as expected", line.exit), "36"));
    }
    say("");
    if is_expected {
        let (elapsed_ms, cpu_ms) = (begun.elapsed().as_millis() as u64, children_cpu_ms() - cpu_ms);
        return Ok(Step { command, exit_code: line.exit, elapsed_ms, cpu_ms, said });
    }
    let again = output::command_line();
    Err(DemoError::Child { command, status, expected: line.exit, again }.into())
}

/// The child process that a line is.
fn process(line: &Line) -> io::Result<Command> {
    Ok(match &line.act {
        Act::Wakachi(words) => {
            let mut program = Command::new(std::env::current_exe()?);
            program.args(words);
            program
        }
        Act::Shell(line) => {
            let mut shell = Command::new("sh");
            shell.args(["-c", line]);
            shell
        }
    })
}

/// Waits for a child, and passes on and keeps what it says on stderr if that is piped.
fn listen(child: &mut Child) -> io::Result<(ExitStatus, String)> {
    let stderr = child.stderr.take();
    thread::scope(|scope| {
        let hear = |mut stderr: std::process::ChildStderr| {
            let mut said = Vec::new();
            let _ = stderr.read_to_end(&mut said);
            String::from_utf8_lossy(&said).into_owned()
        };
        let heard = stderr.map(|stderr| scope.spawn(move || hear(stderr)));
        let status = interrupt::wait(child)?;
        let said = heard.and_then(|heard| heard.join().ok()).unwrap_or_default();
        said.lines().for_each(note);
        Ok((status, said))
    })
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
