//! The engine `sim`: imaginary workers around the real scheduler.
//!
//! Invariant: everything follows from the seed; the scheduler that decides here is the one that decides live. What a task
//! costs was measured by real jobs; who works, fails, lies and how far away it all is, a scenario says.

pub mod baseline;
pub mod bound;
pub mod cohort;
pub mod costs;
pub mod dice;
pub mod floor;
pub mod referee;
pub mod scenario;
pub mod trace;
pub mod world;

pub use baseline::{Baseline, Rule};
pub use bound::Bound;
pub use cohort::{Cohort, CohortSpec, HUMAN, HeavyTail};
pub use costs::{Costs, CostsError, Kind, KindCost, Measured};
pub use scenario::Scenario;
pub use trace::{Fate, Span, Trace};
pub use world::{Mind, Run, Watch, run};
