//! What the scheduler itself costs.
