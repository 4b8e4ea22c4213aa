//! The hot code over slices: seeding, chaining, alignment, duplicate marking, pileup, assembly, pair-HMM, genotyping and
//! joint calling.
//!
//! Invariant: no files, no threads, no logging, no globals, no clock. The same input gives the same output on every
//! machine: no system libm, no hash map whose order shows, floating point in a fixed order.

pub mod align;
pub mod call;
pub mod duplicates;
pub mod index;
pub mod insert;
pub mod joint;
pub mod logarithm;
pub mod prefetch;
pub mod reference;
pub mod sequence;
pub mod simd;
pub mod variant;
