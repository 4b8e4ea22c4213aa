//! The language every room speaks: genome coordinates, the cohort sheet, parameters, the plan of tasks, events
//! and the ledger.
//!
//! Invariant: pure values and functions. Nothing here opens a file, reads a clock, spawns a thread or is unsafe, so
//! every rule of the programme can be tested with a table. `kernels` may use [`genome`] only; everybody else may use
//! all of it.

#![forbid(unsafe_code)]

pub mod canonical;
pub mod cohort;
pub mod config;
pub mod consent;
pub mod csv;
pub mod diagnostic;
pub mod document;
pub mod event;
pub mod failure;
pub mod genome;
pub mod lease;
pub mod ledger;
pub mod parameters;
pub mod policy;
pub mod quantity;
pub mod site;
pub mod task;
pub mod time;
