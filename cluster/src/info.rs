//! What is told of a job: the document `wakachi.job-info/2`, which a running coordinator leaves in the job directory and
//! which `job info`, the dashboard and the metrics read.
//!
//! Invariant: plain data, made by whoever drives the job and understood without it; reasons are codes, put into words by
//! whoever shows them. Every list has a bound that does not depend on the number of tasks. Documented in docs/json.md.

use crate::bill::Account;
use jobs::task::Stage;
use scheduler::{Purpose, Remaining};
use serde::{Deserialize, Serialize};

/// Name and version of the document.
pub const SCHEMA: &str = "wakachi.job-info/2";

/// Most columns of the grid.
pub const COLUMNS_MAX: u32 = 200;

/// Most points of the rate's history.
pub const HISTORY_MAX: usize = 120;

/// How a job stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It runs, and has not said anything yet.
    #[default]
    Starting,
    /// It runs.
    Running,
    /// It runs and starts nothing new.
    Stopping,
    /// Everything is done.
    Complete,
    /// Everything is done but samples that were dropped.
    Partial,
    /// A task failed.
    Failed,
    /// Between two runs of its coordinator: what is out runs in the batch system.
    Waiting,
    /// It was stopped, or does not run and is not complete.
    Stopped,
    /// It ended without saying so.
    Killed,
}

impl State {
    /// Every state.
    pub const ALL: [State; 9] = [
        State::Starting,
        State::Running,
        State::Stopping,
        State::Complete,
        State::Partial,
        State::Failed,
        State::Waiting,
        State::Stopped,
        State::Killed,
    ];

    /// Its name in the document.
    pub const fn name(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Running => "running",
            State::Stopping => "stopping",
            State::Complete => "complete",
            State::Partial => "partial",
            State::Failed => "failed",
            State::Waiting => "waiting",
            State::Stopped => "stopped",
            State::Killed => "killed",
        }
    }

    /// Whether a coordinator should be at work.
    pub const fn is_live(self) -> bool {
        matches!(self, State::Starting | State::Running | State::Stopping)
    }
}

/// A job at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobInfo {
    /// [`SCHEMA`].
    pub schema: String,
    /// The cohort's id.
    pub job: String,
    /// How it stands.
    pub state: State,
    /// Why it failed, in words.
    pub failure: Option<String>,
    /// When this was so, in milliseconds since 1970.
    pub as_of_ms: u64,
    /// A job that runs says more within this time.
    pub interval_ms: u64,
    /// When this start of the job began, in milliseconds since 1970.
    pub started_ms: u64,
    /// Time left; `None` where nobody can tell.
    pub remaining: Option<Remaining>,
    /// How fast it goes.
    pub rate: Rate,
    /// All samples together.
    pub stages: Vec<StageInfo>,
    /// One by one, the cohort last.
    pub samples: Vec<SampleInfo>,
    /// The ruler of the samples' grids.
    pub grid: Grid,
    /// Where workers stand.
    pub sites: Vec<SiteInfo>,
    /// Those that are there.
    pub workers: Vec<WorkerInfo>,
    /// What has a core, stragglers first.
    pub running: Vec<AttemptInfo>,
    /// What ran lately on each slot; of a job that ended, all of it.
    pub timeline: Timeline,
    /// What the core time went to, all starts of the job together.
    pub bill: Account,
    /// The vaults its files are sealed into.
    pub vaults: Vec<VaultInfo>,
}

/// One stage of a sample or of everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageInfo {
    /// Which.
    pub stage: Stage,
    /// Tasks known, or expected where the intakes have not said.
    pub tasks: u64,
    /// Given to workers, without a core.
    pub queued: u64,
    /// With a core.
    pub running: u64,
    /// Committed.
    pub done: u64,
    /// Given up.
    pub failed: u64,
}

/// Tasks that wait for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingInfo {
    /// Their stage.
    pub stage: Stage,
    /// A code: the name of a [`scheduler::Waiting`].
    pub reason: String,
    /// Whose outputs are missing, where that is the reason.
    pub inputs: Option<Stage>,
    /// How many.
    pub tasks: u64,
    /// The reason in words.
    pub why: String,
    /// What would help; empty where time will.
    pub helps: String,
}

/// A sample, or what belongs to the whole cohort.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleInfo {
    /// Name; `None` for the cohort.
    pub sample: Option<String>,
    /// By stage, without those it has nothing of.
    pub stages: Vec<StageInfo>,
    /// What waits.
    pub waiting: Vec<WaitingInfo>,
    /// Its columns of the grid as runs, such as `12j3d1r184w`; see [`Column`]. Empty for the cohort.
    pub grid: String,
}

/// The ruler of the grid.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grid {
    /// Cells of the genome.
    pub cells: u32,
    /// Columns they are drawn in, at most [`COLUMNS_MAX`].
    pub columns: u32,
    /// Where contigs begin, those that take up a column at least.
    pub contigs: Vec<ContigMark>,
}

/// Where a contig begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContigMark {
    /// Its name.
    pub name: String,
    /// The column.
    pub column: u32,
}

/// One column of a sample: many cells in one letter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Column {
    /// `w`: nothing is done or runs.
    #[default]
    Waiting,
    /// `r`: some of it has a core.
    Running,
    /// `p`: some of it is done, the rest waits.
    Partly,
    /// `d`: the sample's own calls are done.
    Done,
    /// `j`: the joint calls are done too.
    Joint,
    /// `x`: given up, or the sample was dropped.
    Lost,
}

impl Column {
    /// Its letter.
    pub const fn letter(self) -> char {
        match self {
            Column::Waiting => 'w',
            Column::Running => 'r',
            Column::Partly => 'p',
            Column::Done => 'd',
            Column::Joint => 'j',
            Column::Lost => 'x',
        }
    }
}

/// Columns as runs: `3w1r`.
pub fn run_lengths(columns: &[Column]) -> String {
    let runs = columns.chunk_by(|a, b| a == b);
    runs.map(|run| format!("{}{}", run.len(), run[0].letter())).collect()
}

/// How fast a job goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rate {
    /// Tasks committed a second, over the last minute.
    pub tasks_per_s: f64,
    /// Read pairs aligned a second.
    pub pairs_per_s: f64,
    /// Bases of the reference called a second, of all samples.
    pub bases_per_s: f64,
    /// Of this start, evenly spaced, at most [`HISTORY_MAX`].
    pub history: Vec<RatePoint>,
}

/// Work done in one piece of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RatePoint {
    /// When it began, in milliseconds since 1970.
    pub from_ms: u64,
    /// How long it was.
    pub ms: u64,
    /// Tasks committed.
    pub tasks: u64,
    /// Pairs aligned.
    pub pairs: u64,
    /// Bases called.
    pub bases: u64,
}

/// A site.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SiteInfo {
    /// Its number, as workers name it.
    pub site: u16,
    /// Its name.
    pub name: String,
    /// Whether it is being left.
    pub draining: bool,
    /// Workers there.
    pub workers: u32,
    /// Their slots.
    pub slots: u32,
    /// Slots that run something.
    pub busy: u32,
}

/// A worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// Its number.
    pub worker: u32,
    /// A host, a rank, a bundle.
    pub name: String,
    /// Its site's name.
    pub site: String,
    /// Tasks it runs at once.
    pub slots: u32,
    /// Slots that run something.
    pub busy: u32,
    /// Attempts it has that have no core yet.
    pub queued: u32,
    /// Its memory.
    pub memory_bytes: u64,
    /// Memory that what it has is predicted to take.
    pub memory_used_bytes: u64,
    /// How fast it is; 1 is usual.
    pub speed: f64,
    /// Whether it gets nothing more because its output was wrong.
    pub quarantined: bool,
    /// Whether its site is being left.
    pub draining: bool,
    /// When it joined, in milliseconds since 1970.
    pub joined_ms: u64,
}

/// An attempt that has a core.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptInfo {
    /// Its number in this start of the job.
    pub attempt: u64,
    /// Key of its task.
    pub task: String,
    /// Stage of its task.
    pub stage: Stage,
    /// Sample of its task.
    pub sample: Option<String>,
    /// Number of its worker.
    pub worker: u32,
    /// Core of the worker.
    pub slot: u32,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// How long it was expected to take in all.
    pub expected_ms: u64,
    /// Why it is made.
    pub purpose: Purpose,
    /// Whether it is far beyond what was expected.
    pub straggles: bool,
}

/// What ran when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// Its rows: a slot of a worker each.
    pub lanes: Vec<LaneInfo>,
    /// Slots that are not among them.
    pub lanes_more: u32,
}

/// One slot of a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneInfo {
    /// The worker's number.
    pub worker: u32,
    /// Its name; empty if it is not of this start of the job.
    #[serde(default)]
    pub name: String,
    /// The core.
    pub slot: u32,
    /// What ran, oldest first.
    pub spans: Vec<Span>,
}

/// One attempt, or several short ones of one stage after each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The first attempt's task.
    pub task: String,
    /// Stage of all of them.
    pub stage: Stage,
    /// Begin of the first, in milliseconds since 1970.
    pub start_ms: u64,
    /// End of the last.
    pub end_ms: u64,
    /// How many.
    pub tasks: u32,
    /// Whether its output counts: not of attempts that failed, lost a race or only checked another.
    pub counts: bool,
}

/// A vault as it can be seen without reading its fragments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultInfo {
    /// Its folder.
    pub folder: String,
    /// Files of this job in it.
    pub files: u64,
    /// Of these, files whose object is listed there.
    pub listed: u64,
    /// Sites and custodians that do not answer, and documents that do not verify, in words.
    pub findings: Vec<String>,
    /// When it was looked at, in milliseconds since 1970.
    pub as_of_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_written_as_runs() {
        let columns = [Column::Joint, Column::Joint, Column::Running, Column::Waiting];
        assert_eq!(run_lengths(&columns), "2j1r1w");
        assert_eq!(run_lengths(&[]), "");
    }

    #[test]
    fn a_document_of_which_fields_are_missing_is_understood() {
        let info: JobInfo =
            serde_json::from_str(r#"{"schema":"wakachi.job-info/2","state":"complete"}"#).unwrap();
        assert_eq!((info.state, info.samples.len()), (State::Complete, 0));
        for state in State::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
    }
}
