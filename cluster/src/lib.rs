//! Engines: what starts processes and threads, feeds them tasks and commits what they give back.
//!
//! Invariant: an engine decides nothing (the scheduler does) and computes nothing (the task runner does). It is handed a
//! runner by the command line and never knows what a task means.

pub mod bill;
pub mod bundle;
pub mod control;
pub mod dashboard;
pub mod drive;
pub mod engine;
pub mod failure;
pub mod info;
pub mod local;
pub mod meter;
pub mod metrics;
pub mod mpi;
pub mod sim;
pub mod store;
pub mod tes;
pub mod warning;
pub mod watch;
pub mod worker;

pub use drive::{Drive, Outcome, drive};
pub use engine::{
    Committing, Control, Ended, Engine, Leasing, Observer, Office, Order, Output, Report, Request, Spending,
    TaskRunner,
};
pub use failure::TaskFailure;
pub use worker::Pool;
