//! What tasks cost, as measured: the document `wakachi.costs/3`.
//!
//! A task of a kind costs `fixed + reads * per read + cells * per cell`, times a log-normal residual. Units are those of
//! [`scheduler::StageCost`], but in place of reads the end of a sample's files counts their parts, and the cohort's own finish
//! and seal count samples; cells of what ends files are those of the genome, whose indexes and books they join. Everything in
//! it was measured by a job; nothing here is a guess of ours.

use jobs::task::{Stage, Task};
use scheduler::{CostModel, StageCost};
use std::collections::BTreeMap;

/// Kinds of task whose costs differ. The scheduler knows stages only; here a sample's files and the cohort's are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "named as the tasks are")]
pub enum Kind {
    Intake,
    Model,
    Map,
    Region,
    Joint,
    WriteSample,
    FinishSample,
    WriteJoint,
    FinishCohort,
    SealSample,
    SealCohort,
}

impl Kind {
    /// Every kind in order.
    pub const ALL: [Kind; 11] = [
        Kind::Intake,
        Kind::Model,
        Kind::Map,
        Kind::Region,
        Kind::Joint,
        Kind::WriteSample,
        Kind::FinishSample,
        Kind::WriteJoint,
        Kind::FinishCohort,
        Kind::SealSample,
        Kind::SealCohort,
    ];

    /// The kind of a task.
    pub const fn of(task: Task) -> Kind {
        match task {
            Task::Intake(..) => Kind::Intake,
            Task::Model(_) => Kind::Model,
            Task::Map(..) => Kind::Map,
            Task::Region(..) => Kind::Region,
            Task::Joint(_) => Kind::Joint,
            Task::WriteSample(..) => Kind::WriteSample,
            Task::FinishSample(_) => Kind::FinishSample,
            Task::WriteJoint(_) => Kind::WriteJoint,
            Task::FinishCohort => Kind::FinishCohort,
            Task::SealSample(_) => Kind::SealSample,
            Task::SealCohort => Kind::SealCohort,
        }
    }

    /// The stage of its tasks.
    pub const fn stage(self) -> Stage {
        match self {
            Kind::Intake => Stage::Intake,
            Kind::Model => Stage::Model,
            Kind::Map => Stage::Map,
            Kind::Region => Stage::Region,
            Kind::Joint => Stage::Joint,
            Kind::WriteSample | Kind::FinishSample | Kind::WriteJoint | Kind::FinishCohort => Stage::Finish,
            Kind::SealSample | Kind::SealCohort => Stage::Seal,
        }
    }

    /// The word used in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Intake => "intake",
            Kind::Model => "model",
            Kind::Map => "map",
            Kind::Region => "region",
            Kind::Joint => "joint",
            Kind::WriteSample => "write",
            Kind::FinishSample => "finish",
            Kind::WriteJoint => "write cohort",
            Kind::FinishCohort => "finish cohort",
            Kind::SealSample => "seal",
            Kind::SealCohort => "seal cohort",
        }
    }
}

/// What tasks of one kind cost on one core of the machine measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct KindCost {
    /// CPU microseconds of any task.
    pub fixed_us: f64,
    /// CPU nanoseconds a read (of intake and map: a pair).
    pub read_ns: f64,
    /// CPU microseconds a cell.
    pub cell_us: f64,
    /// Standard deviation of the logarithm of measured over fitted.
    pub spread: f64,
    /// Bytes read from the job's directory for each read.
    pub read_bytes_in: f64,
    /// Bytes read from there for each cell.
    pub cell_bytes_in: f64,
    /// Bytes written there for each read.
    pub read_bytes_out: f64,
    /// Bytes written there for each cell.
    pub cell_bytes_out: f64,
    /// Tasks measured.
    pub tasks: u64,
    /// Their CPU time in milliseconds.
    pub cpu_ms: u64,
}

impl KindCost {
    /// CPU microseconds of a task, as far as its size says.
    pub fn us(&self, reads: f64, cells: f64) -> f64 {
        self.fixed_us + reads * self.read_ns / 1000.0 + cells * self.cell_us
    }

    /// Bytes that such a task reads and writes.
    pub fn bytes(&self, reads: f64, cells: f64) -> (u64, u64) {
        let bytes = |per_read, per_cell| (reads * per_read + cells * per_cell) as u64;
        (bytes(self.read_bytes_in, self.cell_bytes_in), bytes(self.read_bytes_out, self.cell_bytes_out))
    }
}

/// A finished task, for [`Costs::fit`].
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// What it was.
    pub kind: Kind,
    /// Reads or pairs it worked on.
    pub reads: f64,
    /// Cells it worked on.
    pub cells: f64,
    /// CPU time in milliseconds.
    pub cpu_ms: f64,
    /// Bytes it read.
    pub bytes_in: f64,
    /// Bytes it wrote.
    pub bytes_out: f64,
}

/// Costs of all kinds, and where they are from.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Costs {
    /// `wakachi.costs/3`.
    pub schema: String,
    /// The machine that was measured.
    pub machine: String,
    /// The jobs that were measured.
    pub source: String,
    /// By kind; a kind nobody measured is free.
    pub kinds: BTreeMap<Kind, KindCost>,
}

/// Schema of [`Costs`].
pub const SCHEMA: &str = "wakachi.costs/3";

/// A file is not what [`SCHEMA`] says.
#[derive(Debug, thiserror::Error)]
pub enum CostsError {
    /// It is no such document.
    #[error("not a document of costs")]
    Form(#[from] serde_json::Error),
    /// It is one of another version, or something else.
    #[error("schema is '{found}', expected {SCHEMA}")]
    Schema {
        /// What it says.
        found: String,
    },
    /// A number that cannot be a cost.
    #[error("{}: a cost is negative or no number", kind.name())]
    Number {
        /// Where.
        kind: Kind,
    },
}

impl Costs {
    /// Costs measured with the project's own simulated data; the document says on which machine.
    pub fn built_in() -> Self {
        Self::parse(include_bytes!("costs.json")).expect("tested")
    }

    /// Reads and checks a document.
    pub fn parse(bytes: &[u8]) -> Result<Self, CostsError> {
        let costs: Costs = serde_json::from_slice(bytes)?;
        if costs.schema != SCHEMA {
            return Err(CostsError::Schema { found: costs.schema });
        }
        for (&kind, cost) in &costs.kinds {
            let numbers = [cost.fixed_us, cost.read_ns, cost.cell_us, cost.spread];
            let bytes = [cost.read_bytes_in, cost.cell_bytes_in, cost.read_bytes_out, cost.cell_bytes_out];
            let numbers = numbers.into_iter().chain(bytes);
            if !numbers.into_iter().all(|number| number.is_finite() && number >= 0.0) {
                return Err(CostsError::Number { kind });
            }
        }
        Ok(costs)
    }

    /// The costs that explain what was measured best: weighted least squares, nothing negative.
    pub fn fit(machine: String, source: String, measured: &[Measured]) -> Self {
        let of_kind = |kind| measured.iter().filter(|one| one.kind == kind).copied().collect::<Vec<_>>();
        let kinds = Kind::ALL.into_iter().map(|kind| (kind, of_kind(kind)));
        let kinds =
            kinds.filter(|(_, tasks)| !tasks.is_empty()).map(|(kind, tasks)| (kind, fit_kind(&tasks)));
        Costs { schema: SCHEMA.to_owned(), machine, source, kinds: kinds.collect() }
    }

    /// The same with nothing left to chance: every task takes what is expected of it, as a prediction should have it.
    pub fn without_chance(mut self) -> Self {
        self.kinds.values_mut().for_each(|cost| cost.spread = 0.0);
        self
    }

    /// Cost of a kind.
    pub fn of(&self, kind: Kind) -> KindCost {
        self.kinds.get(&kind).copied().unwrap_or_default()
    }

    /// What the scheduler is told before its job has tasks of its own to learn from.
    pub fn model(&self) -> CostModel {
        let stage = |kind| {
            let cost = self.of(kind);
            StageCost {
                fixed_ms: cost.fixed_us / 1000.0,
                read_ns: cost.read_ns,
                cell_ms: cost.cell_us / 1000.0,
                spread: cost.spread,
            }
        };
        let kinds = [Kind::Intake, Kind::Model, Kind::Map, Kind::Region, Kind::Joint, Kind::WriteSample];
        let [intake, model, map, region, joint, write] = kinds.map(stage);
        let region_bytes = self.of(Kind::Region);
        CostModel {
            // Most of the work of the stage that finishes is writing.
            stages: [intake, model, map, region, joint, write, stage(Kind::SealSample)],
            bytes_per_read: region_bytes.read_bytes_in + region_bytes.read_bytes_out,
        }
    }
}

/// Least CPU time that counts as measured: the journal's resolution.
const RESOLUTION_MS: f64 = 1.0;

fn fit_kind(tasks: &[Measured]) -> KindCost {
    let [fixed_ms, read_ms, cell_ms] = reweighted(tasks, |task| task.cpu_ms, 1.0, 10.0 * RESOLUTION_MS);
    let ratio = |task: &Measured| {
        let fitted = fixed_ms + task.reads * read_ms + task.cells * cell_ms;
        libm::log(task.cpu_ms.max(RESOLUTION_MS) / fitted.max(RESOLUTION_MS))
    };
    let mean = tasks.iter().map(ratio).sum::<f64>() / tasks.len() as f64;
    let variance = tasks.iter().map(|task| (ratio(task) - mean).powi(2)).sum::<f64>() / tasks.len() as f64;
    let [read_bytes_in, cell_bytes_in] = fit_bytes(tasks, |task| task.bytes_in);
    let [read_bytes_out, cell_bytes_out] = fit_bytes(tasks, |task| task.bytes_out);
    KindCost {
        fixed_us: fixed_ms * 1000.0,
        read_ns: read_ms * 1e6,
        cell_us: cell_ms * 1000.0,
        spread: libm::sqrt(variance),
        read_bytes_in,
        cell_bytes_in,
        read_bytes_out,
        cell_bytes_out,
        tasks: tasks.len() as u64,
        cpu_ms: tasks.iter().map(|task| task.cpu_ms).sum::<f64>() as u64,
    }
}

/// Bytes for each read and for each cell; tasks weigh as when their CPU time is fitted, with their mean in place of a constant.
fn fit_bytes(tasks: &[Measured], bytes: fn(&Measured) -> f64) -> [f64; 2] {
    let mean = tasks.iter().map(bytes).sum::<f64>() / tasks.len() as f64;
    let [_, read, cell] = reweighted(tasks, bytes, 0.0, mean.max(1.0));
    [read, cell]
}

/// Times that a fit is made with weights from the one before; more change nothing in the third digit.
const ROUNDS: usize = 4;

/// What of `of` a task has for itself (nothing where `fixed` is 0), for each read and for each cell, as if errors grew with
/// the root of what is expected of a task: neither the longest nor the shortest tasks decide alone. With weights from what
/// was measured the tasks that came out low would weigh most, and fits of scattered tasks add up to less than these took.
fn reweighted(tasks: &[Measured], of: fn(&Measured) -> f64, fixed: f64, slack: f64) -> [f64; 3] {
    let mut expected: Vec<f64> = tasks.iter().map(of).collect();
    let mut terms = [0.0; 3];
    for _ in 0..ROUNDS {
        let row = |(task, expected): (&Measured, &f64)| {
            let w = 1.0 / libm::sqrt(expected + slack);
            ([fixed * w, task.reads * w, task.cells * w], of(task) * w)
        };
        terms = non_negative_least_squares(&tasks.iter().zip(&expected).map(row).collect::<Vec<_>>());
        let [own, read, cell] = terms;
        expected = tasks.iter().map(|task| own * fixed + task.reads * read + task.cells * cell).collect();
    }
    terms
}

/// Solves `rows * x = right` with `x >= 0`. With three unknowns, all eight sets of those that are not zero can be tried;
/// of equal fits the one with fewer terms is taken, and of these the one that grows with size.
fn non_negative_least_squares(rows: &[([f64; 3], f64)]) -> [f64; 3] {
    const SETS: [&[usize]; 7] = [&[1], &[2], &[0], &[0, 1], &[0, 2], &[1, 2], &[0, 1, 2]];
    let mut best = ([0.0; 3], f64::INFINITY);
    for set in SETS.into_iter().filter(|set| set.len() <= rows.len()) {
        let Some(x) = solve(rows, set).filter(|x| x.iter().all(|&term| term >= 0.0)) else { continue };
        let error: f64 = rows
            .iter()
            .map(|(row, right)| (row.iter().zip(&x).map(|(a, b)| a * b).sum::<f64>() - right).powi(2))
            .sum();
        // A term must earn its place: two percent of the error.
        if error < best.1 * 0.98 - 1e-12 {
            best = (x, error);
        }
    }
    best.0
}

/// Normal equations over the unknowns of `set`, by Gauss with pivots; `None` if they do not determine them.
fn solve(rows: &[([f64; 3], f64)], set: &[usize]) -> Option<[f64; 3]> {
    let n = set.len();
    // Columns are scaled to length one: reads are millions where cells are tens.
    let norm = |i: usize| libm::sqrt(rows.iter().map(|(row, _)| row[i] * row[i]).sum::<f64>());
    let norms: Vec<f64> = set.iter().map(|&i| norm(i)).collect();
    if norms.contains(&0.0) {
        return None;
    }
    let mut matrix = vec![vec![0.0; n + 1]; n];
    for (row, right) in rows {
        for i in 0..n {
            for j in 0..n {
                matrix[i][j] += row[set[i]] / norms[i] * row[set[j]] / norms[j];
            }
            matrix[i][n] += row[set[i]] / norms[i] * right;
        }
    }
    for pivot in 0..n {
        let largest =
            (pivot..n).max_by(|&a, &b| matrix[a][pivot].abs().total_cmp(&matrix[b][pivot].abs()))?;
        matrix.swap(pivot, largest);
        if matrix[pivot][pivot].abs() < 1e-6 {
            return None;
        }
        for other in (0..n).filter(|&other| other != pivot) {
            let factor = matrix[other][pivot] / matrix[pivot][pivot];
            let row = matrix[pivot].clone();
            matrix[other].iter_mut().zip(row).skip(pivot).for_each(|(entry, under)| *entry -= factor * under);
        }
    }
    let mut x = [0.0; 3];
    for (i, &unknown) in set.iter().enumerate() {
        x[unknown] = matrix[i][n] / matrix[i][i] / norms[i];
    }
    Some(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fit_finds_the_costs_that_made_the_measurements() {
        let task = |reads: f64, cells: f64| Measured {
            kind: Kind::Region,
            reads,
            cells,
            cpu_ms: 20.0 + reads * 0.003 + cells * 5.0,
            bytes_in: reads * 100.0,
            bytes_out: reads * 8.0 + cells * 3e4,
        };
        let sizes = [(1e4, 4.0), (4e4, 4.0), (2e4, 9.0), (9e4, 30.0), (500.0, 1.0)];
        let measured: Vec<Measured> = sizes.iter().map(|&(reads, cells)| task(reads, cells)).collect();
        let cost = Costs::fit(String::new(), String::new(), &measured).of(Kind::Region);
        let near = |found: f64, wanted: f64| assert!((found / wanted - 1.0).abs() < 1e-3, "{found} {wanted}");
        near(cost.fixed_us, 20_000.0);
        near(cost.read_ns, 3_000.0);
        near(cost.cell_us, 5_000.0);
        near(cost.read_bytes_in, 100.0);
        near(cost.read_bytes_out, 8.0);
        near(cost.cell_bytes_out, 3e4);
        assert_eq!(cost.cell_bytes_in, 0.0);
        near(cost.bytes(1e4, 4.0).1 as f64, 200_000.0);
        assert!(cost.spread < 1e-3);
    }

    #[test]
    fn a_fit_of_scattered_tasks_adds_up_to_what_they_took() {
        let task = |number: u32| {
            let (size, chance) = (f64::from(1 + number % 4), [0.5, 0.7, 1.1, 1.7][number as usize / 4 % 4]);
            let cpu_ms = 100.0 * size * chance;
            Measured { kind: Kind::Map, reads: 1e4 * size, cells: 0.0, cpu_ms, bytes_in: 0.0, bytes_out: 0.0 }
        };
        let measured: Vec<Measured> = (0..64).map(task).collect();
        let cost = Costs::fit(String::new(), String::new(), &measured).of(Kind::Map);
        let fitted: f64 = measured.iter().map(|task| cost.us(task.reads, task.cells) / 1e3).sum();
        let took: f64 = measured.iter().map(|task| task.cpu_ms).sum();
        assert!((fitted / took - 1.0).abs() < 0.005, "{fitted} {took}");
    }

    #[test]
    fn one_measurement_is_taken_to_grow_with_reads() {
        let one = Measured {
            kind: Kind::Intake,
            reads: 1e6,
            cells: 0.0,
            cpu_ms: 1600.0,
            bytes_in: 0.0,
            bytes_out: 0.0,
        };
        let cost = Costs::fit(String::new(), String::new(), &[one]).of(Kind::Intake);
        assert!(cost.fixed_us == 0.0 && (cost.read_ns - 1600.0).abs() < 1.0, "{cost:?}");
    }

    #[test]
    fn the_built_in_document_is_sound_and_others_are_refused() {
        let costs = Costs::built_in();
        assert!(costs.of(Kind::Map).read_ns > 0.0 && costs.of(Kind::Region).tasks > 0);
        for bad in ["{}", r#"{"schema":"x","machine":"","source":"","kinds":{}}"#] {
            assert!(Costs::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
