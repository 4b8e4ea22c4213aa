//! From a cohort to a plan, and from a plan to a finished job.
//!
//! Invariant: no clock, no socket, no file. Time comes in with each event, decisions go out as commands; the code that
//! schedules a live job is the code that a simulation drives.

#![forbid(unsafe_code)]

pub mod machine;
pub mod plan;

pub use machine::{Command, Ending, Event, Scheduler, StageProgress, Waiting};
pub use plan::{Limits, MemoryModel, Plan, PlanError, SamplePlan};
