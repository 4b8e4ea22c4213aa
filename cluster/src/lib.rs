//! Engines: what starts processes and threads, feeds them tasks and commits what they give back.
//!
//! Invariant: an engine decides nothing (the scheduler does) and computes nothing (the task runner does). It is handed a
//! runner by the command line and never knows what a task means.

#![forbid(unsafe_code)]

pub mod engine;
pub mod local;
pub mod meter;
pub mod sim;

pub use engine::{Observer, Output, Request, TaskRunner};
