//! Runs the program as its users do, on cohorts that it simulated itself, and says what it said and left behind.
//!
//! Knows no room of the program but its command line, so that a test proves what a user sees; times alone are told with
//! `jobs`.

// Each test file uses its part of this.
#![allow(dead_code)]

use jobs::time::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};
use tempfile::TempDir;

/// What one run of the program said and how it ended.
#[derive(Debug)]
pub struct Said {
    /// `None` if a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    /// The answer of a command that must succeed.
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    /// Standard output as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }

    /// Asserts that the program refused with this code, named everything in `named`, gave a hint and did not panic.
    pub fn refused(&self, code: i32, named: &[&str]) {
        assert_eq!(self.code, Some(code), "expected exit {code}: {}", self.stderr);
        for name in named {
            assert!(self.stderr.contains(name), "'{name}' is not named: {}", self.stderr);
        }
        assert!(self.stderr.contains("hint: "), "no hint: {}", self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
    }
}

/// The program, untouched by the configuration of whoever runs the tests.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wakachi"));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("WAKACHI_")) {
            command.env_remove(name);
        }
    }
    command.env("HOME", "/nonexistent").env("NO_COLOR", "1").args(args);
    command
}

/// Runs the program to its end.
pub fn wakachi(args: &[&str]) -> Said {
    said(&mut command(args))
}

/// Runs a command to its end.
pub fn said(command: &mut Command) -> Said {
    said_of(command.output().expect("the command starts"))
}

fn said_of(output: Output) -> Said {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// The path as the command line takes it.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

/// A folder that goes when it is dropped.
pub fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder")
}

/// A simulated cohort with its index.
pub struct Cohort {
    pub dir: PathBuf,
    /// `wakachi simulate --output json`.
    pub summary: serde_json::Value,
}

impl Cohort {
    /// Simulates anew into a folder of this name. One name belongs to one test file.
    pub fn simulate(name: &str, options: &str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&dir);
        let mut args = vec!["simulate", "--output", "json", "--out", text(&dir)];
        args.extend(options.split_whitespace());
        let summary = wakachi(&args).ok().json()["summary"].take();
        wakachi(&["index", text(&dir.join("reference.fa"))]).ok();
        Cohort { dir, summary }
    }

    pub fn file(&self) -> PathBuf {
        self.dir.join("cohort.toml")
    }

    pub fn reference(&self) -> PathBuf {
        self.dir.join("reference.fa")
    }

    /// Names of the samples.
    pub fn samples(&self) -> Vec<String> {
        let samples = self.summary["samples"].as_array().expect("samples").iter();
        samples.map(|sample| sample["name"].as_str().expect("a name").to_owned()).collect()
    }

    /// Runs the main job in `out`, with the words of `options` added.
    pub fn run(&self, out: &Path, options: &str) -> Said {
        run(&self.file(), out, options)
    }

    /// Runs the main job in a new folder, where it must succeed.
    pub fn job(&self, options: &str) -> TempDir {
        let out = folder();
        self.run(out.path(), options).ok();
        out
    }
}

/// `wakachi run` with the words of `options` added.
pub fn run(cohort: &Path, out: &Path, options: &str) -> Said {
    said(&mut run_command(cohort, out, options))
}

fn run_command(cohort: &Path, out: &Path, options: &str) -> Command {
    let mut command = command(&["run", text(cohort), "--out", text(out), "--output", "json"]);
    command.args(options.split_whitespace());
    command
}

/// [`run`], calling `watch` again and again while it runs.
pub fn run_watched(cohort: &Path, out: &Path, options: &str, mut watch: impl FnMut(&Child)) -> Said {
    let mut command = run_command(cohort, out, options);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    while child.try_wait().expect("a child").is_none() {
        watch(&child);
        std::thread::yield_now();
    }
    said_of(child.wait_with_output().expect("a child"))
}

/// Holds a program still for at least `time`, while `meanwhile` happens.
pub fn held<T>(program: &Child, time: Duration, meanwhile: impl FnOnce() -> T) -> T {
    let signal = |signal| {
        let pid = Pid::from_child(program);
        kill_process(pid, signal).expect("a child that was not waited for");
    };
    signal(Signal::STOP);
    let since = Instant::now();
    let found = meanwhile();
    while since.elapsed() < time {
        std::thread::yield_now();
    }
    signal(Signal::CONT);
    found
}

/// How a run ended that was to be killed.
pub enum End {
    /// Killed, after so much CPU.
    Killed(Duration),
    /// It had ended before.
    Itself(Option<i32>),
}

/// Starts the main job and kills it with SIGKILL once it has used `cpu`, which does not depend on who else uses the
/// machine. `watch` is called again and again while it runs.
pub fn kill_after(cohort: &Path, out: &Path, options: &str, cpu: Duration, mut watch: impl FnMut()) -> End {
    let mut command = run_command(cohort, out, options);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return End::Itself(status.code());
        }
        let used = cpu_of(&child);
        if used >= cpu {
            child.kill().expect("a child that was not waited for");
            child.wait().expect("a child");
            return End::Killed(used);
        }
        watch();
        std::thread::yield_now();
    }
}

/// CPU time of all threads of a child. Linux counts it in hundredths of a second.
pub fn cpu_of(child: &Child) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok());
    Duration::from_millis(10 * ticks.sum::<u64>())
}

/// The time so many seconds from now.
pub fn now_and(seconds: i64) -> Timestamp {
    let micros = SystemTime::UNIX_EPOCH.elapsed().expect("a clock after 1970").as_micros();
    Timestamp::from_micros(micros as i64).plus_seconds(seconds)
}

/// A register confirmed a minute ago, as CSV: of each participant code, status, items and foreign countries.
pub fn register(consents: &[(&str, &str, &str, &str)]) -> String {
    let (as_of, since) = (now_and(-60), "2026-01-01");
    let mut register = "participant,id,version,status,items,foreign_countries,start,end,basis,proxy_until,duo,icf,updated,as_of\n".to_owned();
    for (participant, status, items, countries) in consents {
        let id = format!("C-{participant},1");
        register += &format!(
            "{participant},{id},{status},{items},{countries},{since},,self,,,,{since}T00:00:00Z,{as_of}\n"
        );
    }
    register
}

/// Files that the gate asks for beside a cohort file.
pub const GOVERNANCE: [&str; 3] = ["consent.json", "policy.toml", "sites.toml"];

/// BLAKE3 of every file below a folder, by name.
pub fn digests(folder: &Path) -> BTreeMap<String, String> {
    let files = files(folder).into_iter();
    files
        .map(|path| {
            let name = path.strip_prefix(folder).expect("below the folder").display().to_string();
            let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (name, blake3::hash(&bytes).to_hex().to_string())
        })
        .collect()
}

/// Every file below a folder. A file that goes while it is looked for is not listed.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                _ => files.push(entry.path()),
            }
        }
    }
    files.sort();
    files
}

/// Copies a folder with everything in it.
pub fn copy(from: &Path, to: &Path) {
    for path in files(from) {
        let target = to.join(path.strip_prefix(from).expect("below the folder"));
        fs::create_dir_all(target.parent().expect("a parent")).expect("a folder");
        fs::copy(&path, &target).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        // A job believes reads by length and time.
        let time = fs::metadata(&path).and_then(|there| there.modified()).expect("a time");
        fs::File::open(&target).and_then(|copy| copy.set_modified(time)).expect("the same time");
    }
}

/// Whether `WAKACHI_TESTS=all` asks for the long tests; says so where it does not.
pub fn all_tests() -> bool {
    let all = std::env::var("WAKACHI_TESTS").is_ok_and(|tests| tests == "all");
    if !all {
        println!("skipped: needs WAKACHI_TESTS=all");
    }
    all
}

/// Whether the programs can be started; says which cannot.
pub fn present(programs: &[&str]) -> bool {
    let absent = programs.iter().find(|program| Command::new(program).arg("--version").output().is_err());
    if let Some(program) = absent {
        println!("skipped: {program} is not installed");
    }
    absent.is_none()
}

/// Standard output of a shell command that must succeed.
pub fn shell(command: &str) -> String {
    let said = said(Command::new("bash").args(["-c", &format!("set -o pipefail; {command}")]));
    assert_eq!(said.code, Some(0), "{command}: {}", said.stderr);
    said.stdout
}

/// Real data beside the checkout, if it is there.
pub fn shared(path: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let path = std::env::var_os("WAKACHI_SHARED").map_or_else(beside, PathBuf::from).join(path);
    if !path.exists() {
        println!("skipped: {} is absent", path.display());
    }
    path.exists().then_some(path)
}
