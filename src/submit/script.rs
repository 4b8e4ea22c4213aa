//! The batch script: what Slurm is asked for, and what happens on the nodes.
//!
//! Invariant: every path is quoted for the one who reads it, Slurm or the shell. The script ends with the program's own
//! code; it goes back into the queue only where a new start can help, and only so often.

use super::{Args, SubmitError};
use crate::output::shell_word;
use jobs::cohort::Cohort;
use jobs::config::slurm::Slurm;
use jobs::config::{Config, Origin, Resolved};
use jobs::failure::Failure;
use jobs::quantity::parse_bytes;
use std::path::Path;
use storage::DiskError;

/// Whether this program can run as ranks of an MPI world.
const HAS_MPI: bool = cfg!(feature = "mpi");

/// Defaults of `[engine.slurm]`.
const WARNING_SECONDS: u32 = 300;
const REQUEUES_MAX: u32 = 50;

/// Longest name of a batch job.
const NAME_MAX: usize = 64;

/// A batch script.
#[derive(Debug)]
pub struct Script {
    text: String,
}

impl Script {
    /// For the job, or for the coordinator of its waves; or what Slurm, or this program, cannot do of what is asked.
    pub fn new(args: &Args, config: &Config, cohort: &Cohort) -> Result<Self, Failure> {
        let slurm = &config.slurm;
        let warning = slurm.number("warning").unwrap_or(WARNING_SECONDS);
        if slurm.time_seconds().is_some_and(|seconds| seconds <= u64::from(warning)) {
            return Err(SubmitError::Shape {
                problem: format!("the time limit leaves nothing before the warning of {warning} s"),
                hint: "give a longer --time, or a shorter --warning",
            }
            .into());
        }
        let options = [
            "--open-mode=append".to_owned(),
            "--requeue".to_owned(),
            // Sent to this script only; Slurm may send it a minute early.
            format!("--signal=B:USR1@{warning}"),
        ];
        let mut lines = head(args, config, cohort, "%j.log", options)?;
        lines.push(format!("requeues_max={}", slurm.number("requeues_max").unwrap_or(REQUEUES_MAX)));
        lines.extend(slurm.setup.clone());
        let mpi = if args.array { None } else { start_of_ranks(slurm)? };
        let engine = match (&mpi, args.array) {
            (_, true) => Some("slurm-array"),
            (Some(_), false) => Some("mpi"),
            (None, false) => None,
        };
        let command = command(args, engine)?;
        let (start, tell) = match mpi {
            Some(kind) => (format!("srun --mpi={kind} {command}"), TELL_RANKS),
            None => (command, TELL_PROCESS),
        };
        let text =
            format!("{}\n{}", lines.join("\n"), BODY.replace("@START@", &start).replace("@TELL@", tell));
        Ok(Script { text })
    }

    /// For an element of a wave: its word is the number of the wave.
    pub fn of_element(args: &Args, config: &Config, cohort: &Cohort) -> Result<Self, Failure> {
        start_of_one(&config.slurm)?;
        // A bundle that is lost is given out again with the next wave.
        let mut lines = head(args, config, cohort, "%A_%a.log", ["--no-requeue".to_owned()])?;
        lines.extend(config.slurm.setup.clone());
        let bundle = r#""$folder/bundles/$1/$SLURM_ARRAY_TASK_ID.json""#;
        let program = shell_word(&program()?);
        lines.push(format!(
            "exec {program} worker --bundle {bundle} --threads \"${{SLURM_CPUS_PER_TASK:-1}}\"\n"
        ));
        Ok(Script { text: lines.join("\n") })
    }

    /// The script.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// What every script begins with: options of sbatch, how it came to be, and the folder of its files.
fn head<const N: usize>(
    args: &Args,
    config: &Config,
    cohort: &Cohort,
    log: &str,
    options: [String; N],
) -> Result<Vec<String>, Failure> {
    let slurm = &config.slurm;
    let out = absolute(&args.out)?;
    let folder = format!("{out}/.wakachi/slurm");
    let name = format!("wakachi-{}", cohort.id).chars().take(NAME_MAX).collect::<String>();
    let own = [format!("--job-name={name}"), format!("--output={}/{log}", folder.replace('%', "%%"))];
    let asked =
        KEYS.iter().filter_map(|key| Some(format!("--{}={}", key.replace('_', "-"), slurm.get(key)?)));
    let words = own.into_iter().chain(options).chain(asked).map(|option| shell_word(&option));
    let mut lines = vec!["#!/bin/bash".to_owned()];
    lines.extend(words.chain(slurm.sbatch.clone()).map(|word| format!("#SBATCH {word}")));
    let version = env!("CARGO_PKG_VERSION");
    lines.push(format!(
        "# wakachi {version}. To submit it again as it is: wakachi job retry {}",
        shell_word(&out)
    ));
    lines.push(String::new());
    lines.push(format!("folder={}", shell_word(&folder)));
    Ok(lines)
}

/// Keys of `[engine.slurm]` that are options of sbatch.
const KEYS: [&str; 9] =
    ["partition", "account", "qos", "clusters", "time", "nodes", "ntasks_per_node", "cpus_per_task", "mem"];

/// A step is signalled by Slurm: srun itself takes a SIGTERM for the order to kill.
const TELL_RANKS: &str = r#"scancel --quiet --signal=TERM "$SLURM_JOB_ID""#;
const TELL_PROCESS: &str = r#"kill -TERM "$program""#;

/// What happens on the first node. Codes are those of `wakachi run --help`.
const BODY: &str = r#"
# The program is told once to stop: it ends before the next step, and the next start goes on there.
# Of a SIGTERM (cancelled, preempted) Slurm tells it itself.
stopping=
interrupted=
program=
tell() { @TELL@; }
warned() {
    echo "wakachi: Slurm says that the time is nearly over" >&2
    interrupted=yes
    [ -n "$stopping" ] || [ -z "$program" ] || tell
    stopping=yes
}
trap warned USR1
trap 'interrupted=yes; stopping=yes' TERM
rm -f "$folder/$SLURM_JOB_ID.exit"
@START@ &
program=$!
[ -z "$stopping" ] || tell
code=
while [ -z "$code" ] || [ -n "$interrupted" ]; do
    interrupted=
    wait "$program"
    code=$?
done
trap '' USR1 TERM

again=
case $code in
130) again=$stopping ;; # stopped
8) again=yes ;; # a remote party failed
esac
# Who cancelled the job does not want it again; and if its node was given up, another copy of this script runs it.
if [ -n "$again" ]; then
    read -r state restarts < <(squeue --noheader --jobs="$SLURM_JOB_ID" --Format=State:20,RestartCnt:20)
    [ "$state $restarts" = "RUNNING ${SLURM_RESTART_COUNT:-0}" ] || again=
fi
if [ -n "$again" ]; then
    if [ "${SLURM_RESTART_COUNT:-0}" -ge "$requeues_max" ]; then
        echo "wakachi: it was put back into the queue $requeues_max times, which is enough" >&2
    elif scontrol requeue "$SLURM_JOB_ID"; then
        sleep 60 # Slurm ends this script.
        exit "$code"
    fi
    echo "wakachi: to go on: wakachi job retry ${folder%/.wakachi/slurm}" >&2
fi
echo "$code" >"$folder/$SLURM_JOB_ID.exit"
exit "$code"
"#;

/// Refuses an allocation that is more than one process.
fn start_of_one(slurm: &Slurm) -> Result<(), SubmitError> {
    match slurm.number("nodes").unwrap_or(1) * slurm.number("ntasks_per_node").unwrap_or(1) {
        0 | 1 => Ok(()),
        processes => Err(SubmitError::Shape {
            problem: format!(
                "{processes} processes on several nodes or cores are one MPI world, and there is none"
            ),
            hint: "give --array, or --mpi pmix with a program built with --features mpi, or one node and --cpus-per-task",
        }),
    }
}

/// How srun starts the ranks; `None`: one process on one node.
fn start_of_ranks(slurm: &Slurm) -> Result<Option<String>, SubmitError> {
    let kind = slurm.get("mpi").unwrap_or(if HAS_MPI { "pmix" } else { "none" });
    if kind == "none" {
        return start_of_one(slurm).map(|()| None);
    }
    match HAS_MPI {
        true => Ok(Some(kind.to_owned())),
        false => Err(SubmitError::Shape {
            problem: format!("mpi is {kind}, and this program was built without MPI"),
            hint: "cargo build --release --features mpi; or give --mpi none, or --array",
        }),
    }
}

/// This program.
fn program() -> Result<String, Failure> {
    absolute(&std::env::current_exe().map_err(DiskError::on("find", Path::new("wakachi")))?)
}

/// The program with its words, quoted for the shell.
fn command(args: &Args, engine: Option<&str>) -> Result<String, Failure> {
    let mut words = vec![program()?, "run".to_owned(), absolute(&args.cohort)?];
    words.extend(["--out".to_owned(), absolute(&args.out)?, "--wait".to_owned()]);
    words.extend(engine.iter().flat_map(|engine| ["--engine", engine]).map(str::to_owned));
    let asked = args.limits.asked(None);
    for (key, value) in asked.flags {
        words.extend([format!("--{}", key.replace('_', "-")), value]);
    }
    words.extend(args.conduct.words());
    let files = asked.config.iter().map(|file| ("--config", file));
    let files = files.chain(args.metrics_file.iter().map(|file| ("--metrics-file", file)));
    for (flag, file) in files.chain(args.passphrases.files().iter().map(|file| ("--passphrase-file", file))) {
        words.extend([flag.to_owned(), absolute(file)?]);
    }
    if let Some(site) = &args.site {
        words.extend(["--site".to_owned(), site.clone()]);
    }
    Ok(words.iter().map(|word| shell_word(word)).collect::<Vec<_>>().join(" "))
}

/// Memory of one process in the allocation that is asked for; without a bound where nobody says one.
pub fn memory_in_allocation(config: &Config) -> u64 {
    let said = |one: &Resolved| one.key == "limits.memory" && one.origin != Origin::Default;
    if config.resolved.iter().any(said) {
        return config.limits.memory_bytes;
    }
    let processes = u64::from(config.slurm.number("ntasks_per_node").unwrap_or(1));
    let memory = config.slurm.get("mem").and_then(|mem| parse_bytes(&in_megabytes(mem)).ok());
    memory.map_or(u64::MAX, |bytes| bytes / processes / 4 * 3)
}

/// Slurm's memory counts in megabytes where no unit stands.
fn in_megabytes(mem: &str) -> String {
    if mem.ends_with(|c: char| c.is_ascii_digit()) { format!("{mem}M") } else { mem.to_owned() }
}

/// The path as every node knows it.
fn absolute(path: &Path) -> Result<String, Failure> {
    let absolute = std::path::absolute(path).map_err(DiskError::on("find", path))?;
    match absolute.to_str().filter(|text| !text.contains(|c: char| c == '\\' || c.is_control())) {
        Some(text) => Ok(text.to_owned()),
        None => Err(SubmitError::Path { path: absolute }.into()),
    }
}
