//! The cloud: bundles as tasks of a GA4GH Task Execution Service next to an object store.

pub mod api;
pub mod client;

pub use client::{Client, TesError, View};
