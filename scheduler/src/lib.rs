//! From a cohort to a plan, and from a plan to a finished job.
//!
//! Invariant: no clock, no socket, no file. Time comes in with each event, decisions go out as commands; the code that
//! schedules a live job is the code that a simulation drives.

#![forbid(unsafe_code)]

pub mod cost;
mod coverage;
mod dispatch;
pub mod event;
mod graph;
mod hash;
mod lane;
mod left;
pub mod machine;
mod pace;
mod place;
pub mod plan;
pub mod query;
mod ready;
mod trust;

pub use cost::{CostModel, StageCost};
pub use event::{
    AttemptId, BundleLimits, Command, Departure, Ending, Event, Exhausted, Facts, Options, Purpose, SiteSpec,
    Usage, WEIGHED_CHUNKS, WorkerId, WorkerSpec,
};
pub use left::StageLeft;
pub use machine::Scheduler;
pub use plan::{MemoryModel, Plan, PlanError, SamplePlan};
pub use query::{CellState, Remaining, Running, StageProgress, Waiting, WorkerView};
pub use trust::is_comparable;
