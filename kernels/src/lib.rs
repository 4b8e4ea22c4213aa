//! The hot code over slices: seeding, chaining, alignment, duplicate marking, pileup, assembly, pair-HMM, genotyping and
//! joint calling.
//!
//! Invariant: no files, no threads, no logging, no globals, no clock. The same input gives the same output on every
//! machine: no system libm, no hash map whose order shows, floating point in a fixed order.

pub mod duplicates;
pub mod align;
pub mod index;
pub mod insert;
pub mod reference;
pub mod sequence;
pub mod joint;
pub mod call;
pub mod logarithm;
pub mod variant;
