//! A real Slurm on this machine, for as long as a test holds it: `up.sh` starts it, `down.sh` ends it.
//!
//! Knows of the program only how it is started; all tests of a process that run at once share one Slurm.

use super::wakachi::{Said, command, present, said};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Nodes `n1`, `n2`, and so on.
const NODES: usize = 3;

/// Longest time that anything in these tests may take.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Cluster {
    dir: TempDir,
}

/// The Slurm of all tests that hold it now; says why there is none.
pub fn cluster() -> Option<Arc<Cluster>> {
    static NOW: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
    if !rustix::process::getuid().is_root() {
        println!("skipped: a Slurm for tests needs root");
        return None;
    }
    if !present(&["slurmctld", "slurmd", "munged", "sbatch"]) {
        return None;
    }
    let mut now = NOW.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster = match now.upgrade() {
        Some(cluster) => cluster,
        None => Arc::new(Cluster::start()?),
    };
    *now = Arc::downgrade(&cluster);
    Some(cluster)
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slurm").join(name)
}

impl Cluster {
    /// `None` where this machine lets no Slurm come up, as in a box without network names.
    fn start() -> Option<Self> {
        // Short: a socket's path has room for 107 bytes.
        let dir = tempfile::Builder::new().prefix("wakachi-slurm-").tempdir().expect("a temporary folder");
        // All bound at once, so that they differ; free again when the daemons want them.
        let bound: Vec<TcpListener> =
            (0..=NODES).map(|_| TcpListener::bind("0.0.0.0:0").expect("a free port")).collect();
        let ports: Vec<String> =
            bound.iter().map(|port| port.local_addr().expect("an address").port().to_string()).collect();
        drop(bound);
        let up = said(Command::new(script("up.sh")).arg(dir.path()).args(ports));
        let cluster = Cluster { dir };
        if up.code != Some(0) {
            println!(
                "skipped: Slurm does not come up here: {}",
                up.stderr.lines().last().unwrap_or_default()
            );
            return None;
        }
        Some(cluster)
    }

    /// A program that speaks to this Slurm.
    pub fn with(&self, mut command: Command) -> Command {
        command.env("SLURM_CONF", self.dir.path().join("slurm.conf"));
        command
    }

    /// `wakachi` with these words.
    pub fn wakachi(&self, words: &[&str]) -> Said {
        said(&mut self.with(command(words)))
    }

    /// What a command of Slurm says, which must succeed.
    pub fn slurm(&self, line: &str) -> String {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().expect("a command"));
        command.args(words);
        let said = said(&mut self.with(command));
        assert_eq!(said.code, Some(0), "{line}: {}", said.stderr);
        said.stdout
    }

    /// A word `Key=value` of `scontrol show job`.
    pub fn shown(&self, job: u64, key: &str) -> String {
        let shown = self.slurm(&format!("scontrol --oneliner show job {job}"));
        let value = shown.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        value.unwrap_or_default().to_owned()
    }

    /// Kills the daemons of a node and nothing that they started.
    pub fn kill_daemons(&self, node: &str, job: u64) {
        let path = self.dir.path().join(format!("slurmd-{node}.pid"));
        let pid = fs::read_to_string(&path).expect("the node's daemon runs");
        kill(pid.trim().parse().expect("a number"));
        let name = format!("slurmstepd: [{job}.");
        let steps = processes().into_iter().filter(|(_, command)| command.starts_with(&name));
        steps.for_each(|(pid, _)| kill(pid));
    }

    /// Starts a node's daemon again.
    pub fn revive(&self, node: &str) {
        self.slurm(&format!("slurmd -N {node}"));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = Command::new(script("down.sh")).arg(self.dir.path()).status();
    }
}

/// The process that runs the job of this directory on this machine.
pub fn holder(job: &Path) -> Option<Pid> {
    let claims = fs::read_dir(job.join(".wakachi")).ok()?.flatten();
    let newest = claims
        .filter_map(|entry| entry.file_name().to_str()?.strip_prefix("fence.")?.parse::<u64>().ok())
        .max()?;
    let claim = fs::read(job.join(format!(".wakachi/fence.{newest}"))).ok()?;
    let claim: serde_json::Value = serde_json::from_slice(&claim).ok()?;
    let pid = claim["pid"].as_i64()? as i32;
    let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let runs_here = String::from_utf8_lossy(&words).contains(job.to_str()?);
    Pid::from_raw(pid).filter(|_| runs_here)
}

/// Sends a signal to a process that must be there.
pub fn signal(pid: Pid, signal: Signal) {
    kill_process(pid, signal).expect("the process is there");
}

/// Waits until something can be had.
pub fn until<T>(what: &str, mut get: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(got) = get() {
            return got;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn kill(pid: i32) {
    // It may just have ended.
    let _ = kill_process(Pid::from_raw(pid).expect("not 0"), Signal::KILL);
}

/// All processes with their command lines.
fn processes() -> Vec<(i32, String)> {
    let entries = fs::read_dir("/proc").expect("a /proc").flatten();
    let process = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let words = fs::read(entry.path().join("cmdline")).ok()?;
        Some((pid, String::from_utf8_lossy(&words).replace('\0', " ")))
    };
    entries.filter_map(process).collect()
}
