//! The scheduler of one machine, until its callers speak to [`crate::Scheduler`].

pub mod machine;
pub mod plan;

pub use machine::{Command, Ending, Event, Scheduler, StageProgress, Waiting};
pub use plan::{Limits, MemoryModel, Plan, PlanError, SamplePlan};
