//! Slurm's commands: the one place that starts them and reads what they say.
//!
//! Invariant: each has a time by which it must have answered, so a controller that hangs is an error and not a program
//! that hangs; what they say is read by the forms that Slurm promises for scripts (`--parsable`, `--oneliner`, `-P`), and
//! what cannot be read is an error. Knows nothing of what a job is for.

pub mod collect;
pub mod record;
mod state;
pub mod wave;

pub use state::{Element, State};

use jobs::failure::{Class, Classified};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// How long a command may take: longer than Slurm's own `MessageTimeout` of ten seconds and its retries.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Longest message of Slurm that is repeated, in characters.
const MESSAGE_MAX: usize = 1000;

/// A batch job, as Slurm numbers them.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BatchId {
    /// The number.
    pub id: u32,
    /// Of which cluster, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
}

impl std::fmt::Display for BatchId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.cluster {
            Some(cluster) => write!(f, "{} on cluster {cluster}", self.id),
            None => write!(f, "{}", self.id),
        }
    }
}

/// Why Slurm did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum SlurmError {
    /// The command is not there.
    #[error("{program} cannot be started")]
    Absent {
        /// The command.
        program: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It said nothing in time.
    #[error("{program} gave no answer in {seconds} s")]
    Silent {
        /// The command.
        program: &'static str,
        /// How long it had.
        seconds: u64,
    },
    /// The controller cannot be reached.
    #[error("{program}: {message}")]
    Unreachable {
        /// The command.
        program: &'static str,
        /// What it said.
        message: String,
    },
    /// It said no.
    #[error("{program}: {message}")]
    Refused {
        /// The command.
        program: &'static str,
        /// What it said.
        message: String,
    },
    /// It said something else than it promises.
    #[error("{program} said what cannot be read: {text}")]
    Unreadable {
        /// The command.
        program: &'static str,
        /// What it said.
        text: String,
    },
}

impl Classified for SlurmError {
    fn class(&self) -> Class {
        match self {
            SlurmError::Absent { .. } | SlurmError::Refused { .. } => Class::Usage,
            SlurmError::Silent { .. } | SlurmError::Unreachable { .. } | SlurmError::Unreadable { .. } => {
                Class::Remote
            }
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            SlurmError::Absent { .. } => {
                "log in where sbatch is installed; wakachi run COHORT.toml --out DIR needs no Slurm".to_owned()
            }
            SlurmError::Refused { .. } => {
                "correct what Slurm names: sinfo lists partitions, wakachi config show says what was asked for"
                    .to_owned()
            }
            _ => "scontrol ping says whether the controller answers; give the command again then".to_owned(),
        })
    }
}

/// The commands of one installation.
#[derive(Clone, Debug)]
pub struct Slurm {
    /// Where they lie; `None`: where the shell finds them.
    bin: Option<PathBuf>,
    timeout: Duration,
}

impl Slurm {
    /// The commands that the shell finds.
    pub fn of_path() -> Self {
        Slurm { bin: None, timeout: TIMEOUT }
    }

    /// Submits a script with these words.
    pub fn submit<S: AsRef<OsStr>>(
        &self,
        options: &[S],
        script: &Path,
        words: &[S],
    ) -> Result<BatchId, SlurmError> {
        let options = [OsStr::new("--parsable")].into_iter().chain(options.iter().map(AsRef::as_ref));
        let words = [script.as_os_str()].into_iter().chain(words.iter().map(AsRef::as_ref));
        let said = self.answer("sbatch", options.chain(words))?;
        let line = said.trim();
        let (id, cluster) = match line.split_once(';') {
            Some((id, cluster)) => (id, Some(cluster.to_owned())),
            None => (line, None),
        };
        let unreadable = |_| SlurmError::Unreadable { program: "sbatch", text: shortened(line) };
        Ok(BatchId { id: id.parse().map_err(unreadable)?, cluster })
    }

    /// What became of a job, element by element if it is an array; nothing, once Slurm has forgotten it. The controller
    /// knows a job until `MinJobAge` after its end, accounting knows it for longer, some seconds late.
    pub fn elements(&self, job: &BatchId) -> Result<Vec<Element>, SlurmError> {
        let id = job.id.to_string();
        let shown = self.answer(
            "scontrol",
            cluster(job).iter().map(String::as_str).chain(["--oneliner", "show", "job", &id]),
        );
        match shown {
            Ok(said) => return state::of_scontrol(&said),
            Err(SlurmError::Refused { message, .. }) if message.contains("Invalid job id") => {}
            Err(error) => return Err(error),
        }
        // Not `--json`: it says SUCCESS of a job that ended with code 42.
        let words = ["-XnP", "-o", "JobID,State,ExitCode,ElapsedRaw,AllocCPUS,NodeList", "-j", &id];
        match self.answer("sacct", cluster(job).iter().map(String::as_str).chain(words)) {
            Ok(said) => state::of_sacct(&said),
            // A site without accounting.
            Err(SlurmError::Refused { .. } | SlurmError::Absent { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Ends a job, wherever it is. One that has ended is none that fails.
    pub fn cancel(&self, job: &BatchId) -> Result<(), SlurmError> {
        let id = job.id.to_string();
        match self.answer("scancel", cluster(job).iter().map(String::as_str).chain(["--quiet", &id])) {
            Err(SlurmError::Refused { message, .. }) if message.contains("Invalid job id") => Ok(()),
            said => said.map(drop),
        }
    }

    /// Standard output of a command that succeeds.
    fn answer<S: AsRef<OsStr>>(
        &self,
        program: &'static str,
        words: impl IntoIterator<Item = S>,
    ) -> Result<String, SlurmError> {
        let path = self.bin.as_ref().map_or_else(|| PathBuf::from(program), |bin| bin.join(program));
        let mut command = Command::new(path);
        // Slurm words its errors in one language only; times and numbers may follow the locale.
        command.args(words).env("LC_ALL", "C").env_remove("SLURM_TIME_FORMAT").stdin(Stdio::null());
        let absent = |source| SlurmError::Absent { program, source };
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(absent)?;
        let pid = Pid::from_child(&child);
        let (ended, end) = channel();
        thread::spawn(move || ended.send(child.wait_with_output()));
        let Output { status, stdout, stderr } = match end.recv_timeout(self.timeout) {
            Ok(output) => output.map_err(absent)?,
            Err(_) => {
                let _ = kill_process(pid, Signal::KILL);
                return Err(SlurmError::Silent { program, seconds: self.timeout.as_secs() });
            }
        };
        if status.success() {
            return Ok(String::from_utf8_lossy(&stdout).into_owned());
        }
        let message = shortened(&String::from_utf8_lossy(&stderr));
        let unreachable = [
            "Unable to contact slurm controller",
            "Could not establish a configuration source",
            "Socket timed out",
            "Connection refused",
        ];
        match unreachable.iter().any(|words| message.contains(words)) {
            true => Err(SlurmError::Unreachable { program, message }),
            false => Err(SlurmError::Refused { program, message }),
        }
    }
}

/// Which cluster a command is to ask.
fn cluster(job: &BatchId) -> Option<String> {
    job.cluster.as_ref().map(|cluster| format!("--clusters={cluster}"))
}

/// A message on one line, not longer than anybody reads.
fn shortened(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("; ").chars().take(MESSAGE_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// A Slurm whose commands are these shell scripts.
    pub(super) fn fake(folder: &Path, commands: &[(&str, &str)]) -> Slurm {
        for (name, text) in commands {
            let path = folder.join(name);
            fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Slurm { bin: Some(folder.to_owned()), timeout: Duration::from_secs(20) }
    }

    fn id(id: u32) -> BatchId {
        BatchId { id, cluster: None }
    }

    #[test]
    fn the_number_of_a_job_is_read_with_its_cluster() {
        let check = |said: &str, expect: Option<(u32, Option<&str>)>| {
            let folder = tempfile::tempdir().unwrap();
            let slurm = fake(folder.path(), &[("sbatch", &format!("echo '{said}'"))]);
            let found = slurm.submit(&["--begin=now"], Path::new("x.sh"), &["word"]).ok();
            assert_eq!(
                found,
                expect.map(|(id, cluster)| BatchId { id, cluster: cluster.map(str::to_owned) })
            );
        };
        check("17", Some((17, None)));
        check("17;west", Some((17, Some("west"))));
        check("Submitted batch job 17", None);
        check("", None);
    }

    #[test]
    fn every_way_to_fail_has_its_class() {
        let check = |script: &str, expect: Class, part: &str| {
            let folder = tempfile::tempdir().unwrap();
            let error =
                fake(folder.path(), &[("sbatch", script)]).submit(&[""; 0], Path::new("x"), &[]).unwrap_err();
            assert_eq!(error.class(), expect, "{error}");
            assert!(error.to_string().contains(part) && error.hint().is_some(), "{error}");
        };
        let partition = "sbatch: error: invalid partition specified: nowhere";
        check(&format!("echo '{partition}' >&2; exit 1"), Class::Usage, "nowhere");
        let down = "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)";
        check(&format!("echo '{down}' >&2; exit 1"), Class::Remote, "Unable to contact");
        check("echo what", Class::Remote, "what");
        let folder = tempfile::tempdir().unwrap();
        let absent = fake(folder.path(), &[]).submit(&[""; 0], Path::new("x"), &[]).unwrap_err();
        assert_eq!(absent.class(), Class::Usage);
        let mut slurm = fake(folder.path(), &[("sbatch", "exec sleep 60")]);
        slurm.timeout = Duration::from_millis(50);
        assert!(matches!(slurm.submit(&[""; 0], Path::new("x"), &[]), Err(SlurmError::Silent { .. })));
    }

    #[test]
    fn accounting_is_asked_once_the_controller_forgot() {
        let forgot = "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1";
        let check = |sacct: &str, expect: &[(Option<u32>, State, Option<u32>)]| {
            let folder = tempfile::tempdir().unwrap();
            let slurm = fake(folder.path(), &[("scontrol", forgot), ("sacct", sacct)]);
            let found = slurm.elements(&id(7)).unwrap();
            let found: Vec<_> = found.iter().map(|one| (one.index, one.state, one.code)).collect();
            assert_eq!(found, expect);
        };
        check("echo '7|COMPLETED|0:0'", &[(None, State::Completed, Some(0))]);
        check("echo '7|FAILED|42:0|3|2|n1'", &[(None, State::Failed, Some(42))]);
        check("echo '7|CANCELLED by 0|0:15'", &[(None, State::Cancelled, None)]);
        let array = "echo '7_0|OUT_OF_MEMORY|0:125'; echo '7_1|TIMEOUT|0:0'";
        check(array, &[(Some(0), State::OutOfMemory, None), (Some(1), State::TimedOut, None)]);
        check("echo 'Slurm accounting storage is disabled' >&2; exit 1", &[]);
        check("true", &[]);
    }
}
