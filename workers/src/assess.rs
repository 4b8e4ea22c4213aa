//! Accuracy against a known truth: of alignments, from the truth in simulated read names, and of variant calls.
//!
//! Must not know how the truth was made, beyond the format of the names.

pub mod alignments;
pub mod normal_form;
pub mod variants;

pub use alignments::{AlignmentAccuracy, AlignmentAssessor};
pub use variants::{Callset, VariantAccuracy, assess_variants};
