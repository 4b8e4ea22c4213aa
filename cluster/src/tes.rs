//! The cloud: bundles as tasks of a GA4GH Task Execution Service next to an object store.

pub mod api;
pub mod client;
pub mod engine;

pub use client::{Client, TesError, View};
pub use engine::{Freight, Settings, TesEngine};
