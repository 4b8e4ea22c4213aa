//! Expected durations: linear in reads and cells, learned from the job's own finished tasks.
//!
//! Invariant: what is learned changes only the order, the place and the cuts of tasks, never a result.

use jobs::task::Stage;

/// Expected duration of the tasks of one stage: `fixed + reads * per_read + cells * per_cell`.
///
/// Reads are pairs for intake and map, reads of the shard for region, of all joined samples for joint, of the part of a
/// sample's files that is written, of the sample for seal, and else none. Cells are those of the shard or part, for the joint
/// shard and the cohort's seal times joined samples; a sample's finish counts its parts, the cohort's the samples.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StageCost {
    /// Milliseconds of any task.
    pub fixed_ms: f64,
    /// Nanoseconds a read, or a pair.
    pub read_ns: f64,
    /// Milliseconds a cell.
    pub cell_ms: f64,
    /// How far a task is off, as a share of what was expected (standard deviation).
    pub spread: f64,
}

/// Expected durations by stage, in the order of [`Stage::ALL`], on one core of speed 1.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CostModel {
    /// One entry a stage.
    pub stages: [StageCost; 7],
    /// Bytes that a task moves for each read it works on, in and out: what a far site has to wait for.
    pub bytes_per_read: f64,
}

/// How much of what its duration depends on a task has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Units {
    /// Reads or pairs.
    pub reads: f64,
    /// Cells.
    pub cells: f64,
}

impl StageCost {
    /// Expected milliseconds of a task with these units.
    pub fn ms(&self, units: Units) -> f64 {
        self.fixed_ms + self.read_ns * 1e-6 * units.reads + self.cell_ms * units.cells
    }
}

impl CostModel {
    /// Expected milliseconds of a task of this stage.
    pub fn ms(&self, stage: Stage, units: Units) -> f64 {
        self.stages[stage as usize].ms(units)
    }
}

/// Before any task has ended, a coefficient may be off by this share of itself.
const PRIOR_SPREAD: f64 = 1.0;

/// The least spread that is believed: ten lucky tasks do not make the next one certain.
const SPREAD_MIN: f64 = 0.05;

/// One stage's coefficients as they are learned: least squares of relative errors, with the plan's values as a prior.
#[derive(Clone, Debug)]
struct Learner {
    cost: StageCost,
    /// Normal equations, over (1, reads in millions, cells).
    matrix: [[f64; 3]; 3],
    right: [f64; 3],
    /// Finished tasks.
    seen: f64,
    /// Sum of squared relative errors.
    error: f64,
}

impl Learner {
    fn new(prior: StageCost) -> Self {
        let mut learner =
            Learner { cost: prior, matrix: [[0.0; 3]; 3], right: [0.0; 3], seen: 0.0, error: 0.0 };
        for (i, value) in coefficients(&prior).into_iter().enumerate() {
            // A coefficient that the plan says is nothing stays nothing.
            let precision = (PRIOR_SPREAD * value).max(1e-6).powi(-2);
            learner.matrix[i][i] = precision;
            learner.right[i] = precision * value;
        }
        learner
    }

    fn learn(&mut self, units: Units, ms: f64) {
        let expected = self.cost.ms(units).max(1.0);
        self.seen += 1.0;
        self.error += ((ms - expected) / expected).clamp(-3.0, 3.0).powi(2);
        // A task that took a hundred times as long says something about itself, not about the others.
        let ms = ms.min(expected * 20.0);
        let weight = (self.cost.spread.max(SPREAD_MIN) * expected.max(ms * 0.5)).powi(-2);
        let row = [1.0, units.reads * 1e-6, units.cells];
        for i in 0..3 {
            for j in 0..3 {
                self.matrix[i][j] += weight * row[i] * row[j];
            }
            self.right[i] += weight * row[i] * ms;
        }
        let [fixed_ms, read_ns, cell_ms] = solve(self.matrix, self.right).map(|value| value.max(0.0));
        let spread = (self.error / self.seen).sqrt().max(SPREAD_MIN);
        self.cost = StageCost { fixed_ms, read_ns, cell_ms, spread };
    }
}

/// The coefficients in the units of the normal equations: a nanosecond a read is a millisecond a million.
fn coefficients(cost: &StageCost) -> [f64; 3] {
    [cost.fixed_ms, cost.read_ns, cost.cell_ms]
}

/// Solves a symmetric positive definite system by elimination.
fn solve(mut matrix: [[f64; 3]; 3], mut right: [f64; 3]) -> [f64; 3] {
    for pivot in 0..3 {
        for row in pivot + 1..3 {
            let factor = matrix[row][pivot] / matrix[pivot][pivot];
            let above = matrix[pivot];
            matrix[row].iter_mut().zip(above).for_each(|(value, above)| *value -= factor * above);
            right[row] -= factor * right[pivot];
        }
    }
    let mut found = [0.0; 3];
    for row in (0..3).rev() {
        let known: f64 = (row + 1..3).map(|column| matrix[row][column] * found[column]).sum();
        found[row] = (right[row] - known) / matrix[row][row];
    }
    found
}

/// All stages as they are learned.
#[derive(Clone, Debug)]
pub struct Costs {
    stages: [Learner; 7],
    bytes_per_read: f64,
}

impl Costs {
    /// Begins with the plan's values.
    pub fn new(plan: &CostModel) -> Self {
        Costs { stages: plan.stages.map(Learner::new), bytes_per_read: plan.bytes_per_read }
    }

    /// Expected milliseconds, at least 1.
    pub fn ms(&self, stage: Stage, units: Units) -> f64 {
        self.stages[stage as usize].cost.ms(units).max(1.0)
    }

    /// The coefficients of a stage.
    pub fn stage(&self, stage: Stage) -> &StageCost {
        &self.stages[stage as usize].cost
    }

    /// A task of these units took so long on a core of speed 1.
    pub fn learn(&mut self, stage: Stage, units: Units, ms: f64) {
        self.stages[stage as usize].learn(units, ms);
    }

    /// How far the expected work of a stage may be off as a whole, as a share (standard deviation).
    pub fn doubt(&self, stage: Stage) -> f64 {
        let learner = &self.stages[stage as usize];
        // What the plan says counts like a few finished tasks that were off by half.
        let spread = learner.cost.spread;
        ((spread * spread * learner.seen + 0.25 * 4.0) / (learner.seen + 4.0)).sqrt()
            / (learner.seen + 4.0).sqrt()
            * 2.0
    }

    /// What is believed now.
    pub fn model(&self) -> CostModel {
        let stages = std::array::from_fn(|stage| self.stages[stage].cost);
        CostModel { stages, bytes_per_read: self.bytes_per_read }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(cost: StageCost) -> CostModel {
        CostModel { stages: [cost; 7], bytes_per_read: 0.0 }
    }

    #[test]
    fn a_wrong_prior_is_unlearned_within_some_dozens_of_tasks() {
        let prior = StageCost { fixed_ms: 1000.0, read_ns: 50.0, cell_ms: 10.0, spread: 0.2 };
        let truth = StageCost { fixed_ms: 100.0, read_ns: 200.0, cell_ms: 40.0, spread: 0.0 };
        let mut costs = Costs::new(&model(prior));
        for i in 0..200u32 {
            let units = Units { reads: f64::from(i * 7919 % 1000) * 1e4, cells: f64::from(1 + i * 31 % 40) };
            let noise = 1.0 + (f64::from(i * 613 % 100) - 49.5) / 500.0;
            costs.learn(Stage::Region, units, truth.ms(units) * noise);
        }
        let units = Units { reads: 5e6, cells: 20.0 };
        let off = costs.ms(Stage::Region, units) / truth.ms(units);
        assert!((0.95..1.05).contains(&off), "{off}");
        assert!(costs.doubt(Stage::Region) < 0.2 && costs.doubt(Stage::Map) > 0.4);
        // Other stages have learned nothing from it.
        assert_eq!(costs.stage(Stage::Map), &prior);
    }

    #[test]
    fn a_single_straggler_does_not_spoil_what_is_expected_of_the_others() {
        let prior = StageCost { fixed_ms: 1000.0, read_ns: 0.0, cell_ms: 0.0, spread: 0.1 };
        let mut costs = Costs::new(&model(prior));
        (0..50).for_each(|_| costs.learn(Stage::Map, Units::default(), 1000.0));
        costs.learn(Stage::Map, Units::default(), 50_000.0);
        assert!(costs.ms(Stage::Map, Units::default()) < 1500.0);
    }

    #[test]
    fn a_coefficient_that_data_would_make_negative_is_nothing() {
        let prior = StageCost { fixed_ms: 10.0, read_ns: 1.0, cell_ms: 1.0, spread: 0.1 };
        let mut costs = Costs::new(&model(prior));
        for cells in 1..40u32 {
            costs.learn(
                Stage::Joint,
                Units { reads: 0.0, cells: cells.into() },
                f64::from(2000 - 40 * cells),
            );
        }
        let cost = costs.stage(Stage::Joint);
        assert!(cost.cell_ms >= 0.0 && cost.fixed_ms >= 0.0 && cost.read_ns >= 0.0);
    }
}
