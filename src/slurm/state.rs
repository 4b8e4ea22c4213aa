//! What Slurm says of a job, as values.
//!
//! Invariant: an exit code is given only where the batch script itself ended with it; a job that Slurm ended has a state
//! and no code.

use super::{SlurmError, shortened};
use std::fmt;

/// Where a job or an element of an array stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has not started, or will start again.
    Pending,
    /// It has nodes.
    Running,
    /// Its script ended with 0.
    Completed,
    /// Its script ended with another code.
    Failed,
    /// Somebody ended it.
    Cancelled,
    /// It met its time limit.
    TimedOut,
    /// It, or a step of it, used more memory than it asked for.
    OutOfMemory,
    /// A node failed or was taken away, and Slurm did not start it again.
    Lost,
}

impl State {
    /// The state that Slurm calls so (man squeue, "JOB STATE CODES"). A word of a later version counts as running: it
    /// is asked again.
    fn of(word: &str) -> Self {
        match word {
            "PENDING" | "CONFIGURING" | "REQUEUED" | "REQUEUE_HOLD" | "REQUEUE_FED" | "RESV_DEL_HOLD"
            | "SPECIAL_EXIT" | "SUSPENDED" => State::Pending,
            "COMPLETED" => State::Completed,
            "FAILED" => State::Failed,
            "CANCELLED" | "REVOKED" => State::Cancelled,
            "TIMEOUT" | "DEADLINE" => State::TimedOut,
            "OUT_OF_MEMORY" => State::OutOfMemory,
            "NODE_FAIL" | "BOOT_FAIL" | "PREEMPTED" => State::Lost,
            _ => State::Running,
        }
    }

    /// Whether more is to come of it.
    pub fn is_alive(self) -> bool {
        matches!(self, State::Pending | State::Running)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Pending => "PENDING",
            State::Running => "RUNNING",
            State::Completed => "COMPLETED",
            State::Failed => "FAILED",
            State::Cancelled => "CANCELLED",
            State::TimedOut => "TIMEOUT",
            State::OutOfMemory => "OUT_OF_MEMORY",
            State::Lost => "NODE_FAIL",
        })
    }
}

/// A job, or one element of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// Its index in the array. Elements that wait together are one without an index.
    pub index: Option<u32>,
    /// Where it stands.
    pub state: State,
    /// Why it waits, in Slurm's word, such as `Resources`, `Priority`, `QOSMaxJobsPerUserLimit`.
    pub reason: Option<String>,
    /// Code of the batch script, if it ended by itself.
    pub code: Option<u32>,
    /// How often it was started again.
    pub restarts: u32,
    /// On which nodes it runs or ran.
    pub nodes: Option<String>,
    /// Cores times wall so far, in milliseconds, by Slurm's clock of seconds.
    pub core_ms: u64,
}

/// Reads `scontrol --oneliner show job`: a line for each element, of words `Key=value`.
pub(super) fn of_scontrol(said: &str) -> Result<Vec<Element>, SlurmError> {
    let line = |line: &str| {
        let value = |key: &str| {
            let mut words = line.split_ascii_whitespace();
            words.find_map(|word| word.strip_prefix(key)?.strip_prefix('=')).filter(|text| *text != "(null)")
        };
        let state = State::of(value("JobState")?);
        Some(Element {
            index: value("ArrayTaskId").and_then(|text| text.parse().ok()),
            state,
            reason: value("Reason").filter(|reason| *reason != "None").map(str::to_owned),
            code: code(state, value("ExitCode")?)?,
            restarts: value("Restarts").and_then(|text| text.parse().ok()).unwrap_or(0),
            nodes: value("NodeList").map(str::to_owned),
            core_ms: core_ms(value("RunTime").and_then(parse_time), value("NumCPUs")),
        })
    };
    let lines = said.lines().filter(|line| !line.trim().is_empty());
    lines.map(|text| line(text).ok_or_else(|| unreadable("scontrol", text))).collect()
}

/// Reads `sacct -XnP -o JobID,State,ExitCode,ElapsedRaw,AllocCPUS,NodeList`.
pub(super) fn of_sacct(said: &str) -> Result<Vec<Element>, SlurmError> {
    let line = |line: &str| {
        let mut fields = line.split('|');
        let (job, state, exit) = (fields.next()?, fields.next()?, fields.next()?);
        // `CANCELLED by 1000`
        let state = State::of(state.split(' ').next()?);
        Some(Element {
            index: job.split_once('_').and_then(|(_, index)| index.parse().ok()),
            state,
            reason: None,
            code: code(state, exit)?,
            restarts: 0,
            core_ms: core_ms(fields.next().and_then(|text| text.parse().ok()), fields.next()),
            nodes: fields.next().filter(|nodes| *nodes != "None assigned").map(str::to_owned),
        })
    };
    said.lines().map(|text| line(text).ok_or_else(|| unreadable("sacct", text))).collect()
}

/// Cores times wall in milliseconds; 0 where Slurm does not say.
fn core_ms(seconds: Option<u64>, cores: Option<&str>) -> u64 {
    let cores: Option<u64> = cores.and_then(|text| text.parse().ok());
    seconds.zip(cores).map_or(0, |(seconds, cores)| seconds.saturating_mul(cores).saturating_mul(1000))
}

/// Seconds of `[days-]hours:minutes:seconds`.
fn parse_time(text: &str) -> Option<u64> {
    let (days, clock) = text.split_once('-').unwrap_or(("0", text));
    let mut seconds = 0u64;
    for part in clock.split(':') {
        seconds = seconds.checked_mul(60)?.checked_add(part.parse().ok()?)?;
    }
    days.parse::<u64>().ok()?.checked_mul(86_400)?.checked_add(seconds)
}

/// The code in `code:signal`, of a job that ended by itself; the outer `None` is that it cannot be read.
fn code(state: State, exit: &str) -> Option<Option<u32>> {
    let (code, signal) = exit.split_once(':')?;
    let (code, signal): (u32, u32) = (code.parse().ok()?, signal.parse().ok()?);
    let ended = matches!(state, State::Completed | State::Failed) && signal == 0;
    Some(ended.then_some(code))
}

fn unreadable(program: &'static str, text: &str) -> SlurmError {
    SlurmError::Unreadable { program, text: shortened(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_an_array_are_told_apart() {
        let said = "JobId=7 ArrayJobId=7 ArrayTaskId=3 JobName=a UserId=root(0) JobState=FAILED Reason=NonZeroExitCode \
             Dependency=(null) Requeue=1 Restarts=0 ExitCode=3:0 RunTime=1-00:01:02 NumCPUs=2 NodeList=n1\n\
             JobId=11 ArrayJobId=7 ArrayTaskId=4-9%2 JobState=PENDING Reason=Resources Restarts=0 ExitCode=0:0 NodeList=(null)\n\n";
        let found = of_scontrol(said).unwrap();
        let first = Element {
            index: Some(3),
            state: State::Failed,
            reason: Some("NonZeroExitCode".to_owned()),
            code: Some(3),
            restarts: 0,
            nodes: Some("n1".to_owned()),
            core_ms: (86_400 + 62) * 2000,
        };
        assert_eq!(found[0], first);
        assert_eq!((found[1].index, found[1].state, found[1].code), (None, State::Pending, None));
        assert_eq!((found[1].reason.as_deref(), found[1].nodes.as_deref()), (Some("Resources"), None));
    }

    #[test]
    fn what_slurm_ended_has_no_code() {
        let check = |state: &str, exit: &str, expect: Option<u32>, alive: bool| {
            let found =
                of_scontrol(&format!("JobState={state} Restarts=2 ExitCode={exit}")).unwrap().remove(0);
            assert_eq!((found.code, found.state.is_alive(), found.restarts), (expect, alive, 2), "{state}");
        };
        check("COMPLETED", "0:0", Some(0), false);
        check("FAILED", "130:0", Some(130), false);
        check("FAILED", "0:9", None, false);
        check("CANCELLED", "0:15", None, false);
        check("TIMEOUT", "0:0", None, false);
        check("NODE_FAIL", "1:0", None, false);
        check("COMPLETING", "0:0", None, true);
        check("REQUEUED", "0:0", None, true);
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        for said in ["JobId=1", "JobState=RUNNING", "JobState=RUNNING ExitCode=x", "hello"] {
            assert!(of_scontrol(said).is_err(), "{said}");
        }
        for said in ["7", "7|FAILED", "7|FAILED|x:y"] {
            assert!(of_sacct(said).is_err(), "{said}");
        }
    }
}
