//! Accuracy against a known truth: of alignments, from the truth in simulated read names, and of variant calls.

pub mod normal_form;
