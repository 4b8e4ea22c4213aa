//! The simulator against reality: a small cohort's run is predicted, the prediction is written down, then it is run.
//!
//! Invariant: a prediction uses other jobs' measurements only (a smaller cohort of another seed), and is on disk before the
//! run begins.

use super::figures::{Goal, Origin};
use super::measured::{MeasuredJob, costs_of};
use super::report::{escape, table};
use super::scaling::{Args, machine, run_job, simulated_cohort, write};
use super::simulated::World;
use crate::output::note;
use cluster::sim::scenario::{Coordinator, SiteWorld};
use cluster::sim::{Fate, Kind, Scenario};
use jobs::failure::Failure;
use jobs::task::Stage;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Samples of the small cohorts that are measured first: two sizes, so that it shows what grows with samples.
const MEASURED_FIRST: [u32; 2] = [4, 20];

/// Workers of the runs. What they share (caches, the way to memory) makes the same work costlier when both have some, so the
/// small cohorts are measured with as many, just before each run.
const WORKERS: [u32; 2] = [1, 2];

/// What was predicted of a run, and what came.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Comparison {
    /// Workers.
    pub workers: u32,
    /// CPU seconds by kind of task: predicted, measured.
    pub cpu_s: BTreeMap<&'static str, (f64, f64)>,
    /// Makespan in CPU time, predicted and measured: each worker's tasks in the order they ran, other work on the machine
    /// left out.
    pub makespan_cpu_s: (f64, f64),
    /// Makespan by the clock, predicted and measured, with whatever else the machine did.
    pub makespan_clock_s: (f64, f64),
}

/// All comparisons.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Checked {
    /// What was run.
    pub about: String,
    /// By number of workers.
    pub runs: Vec<Comparison>,
    /// CPU time of the process besides its tasks (journal, verification, scheduling, display), over that of the tasks.
    pub overhead: f64,
}

/// Predicts, writes down, runs and compares.
pub fn run(args: &Args) -> Result<Checked, Failure> {
    let simulated =
        |samples: u32| simulated_cohort(args, &format!("first-{samples}"), samples, args.seed + 1);
    let small = [simulated(MEASURED_FIRST[0])?, simulated(MEASURED_FIRST[1])?];
    let cohort = simulated_cohort(args, "check", args.samples, args.seed)?;
    let (mut predicted, mut runs) = (Vec::new(), Vec::new());
    let (mut process_ms, mut task_ms) = (0, 0);
    for workers in WORKERS {
        let first = |(cohort, samples): (&PathBuf, u32)| {
            note(&format!("measuring {samples} small samples with {workers} workers"));
            run_job(args, cohort, &format!("first-{samples}-job-{workers}"), workers)
        };
        let first: Vec<MeasuredJob> =
            small.iter().zip(MEASURED_FIRST).map(first).collect::<Result<_, _>>()?;
        let costs = costs_of(&first, machine(), "small samples of another seed".to_owned());
        let imagined = first[1].imagined(costs, args.seed, args.samples);
        let mut run = predict(&World::new(imagined), workers, overhead_us(&first));
        predicted.push(run.clone());
        let predictions = serde_json::to_string_pretty(&predicted).expect("plain data always prints");
        write(&args.out.join("predictions.json"), &predictions)?;
        note(&format!("running {} samples with {workers} workers", args.samples));
        let job = run_job(args, &cohort, &format!("check-{workers}"), workers)?;
        for (kind, (cpu_ms, _)) in job.by_kind() {
            run.cpu_s.entry(kind.name()).or_default().1 = cpu_ms as f64 / 1000.0;
        }
        run.makespan_cpu_s.1 = job.trace(run.workers, true).makespan_us as f64 / 1e6;
        run.makespan_clock_s.1 = job.trace(run.workers, false).makespan_us as f64 / 1e6;
        (process_ms, task_ms) = (process_ms + job.process_cpu_ms, task_ms + job.task_cpu_ms());
        runs.push(run);
    }
    let about =
        format!("{} samples of {} Mb at {}x", args.samples, args.genome_mb, args.depth.unwrap_or(8.0));
    let overhead = process_ms.saturating_sub(task_ms) as f64 / task_ms.max(1) as f64;
    Ok(Checked { about, runs, overhead })
}

/// CPU time of a job's process for each of its tasks, besides the task.
fn overhead_us(jobs: &[MeasuredJob]) -> u64 {
    let tasks: u64 = jobs.iter().flat_map(|job| job.by_kind().into_values()).map(|(_, tasks)| tasks).sum();
    let spent: u64 = jobs.iter().map(|job| job.process_cpu_ms.saturating_sub(job.task_cpu_ms())).sum();
    spent * 1000 / tasks.max(1)
}

fn predict(world: &World, workers: u32, overhead_us: u64) -> Comparison {
    let here = SiteWorld {
        latency_us: 0,
        bytes_per_second: None,
        worker_bytes_per_second: None,
        ..SiteWorld::default()
    };
    let calm = Scenario::calm(1, workers);
    let bare = Coordinator { message_us: 0, output_us: 0, sync_us: 0, ..calm.coordinator };
    let busy = Coordinator { sync_us: overhead_us, ..bare };
    let with = |coordinator| Scenario { sites: vec![here.clone()], coordinator, ..calm.clone() };
    let (bare, busy) = (world.ours(&with(bare)), world.ours(&with(busy)));
    let mut cpu_s: BTreeMap<&'static str, (f64, f64)> = BTreeMap::new();
    for span in bare.trace.spans.iter().filter(|span| span.fate == Fate::Committed) {
        cpu_s.entry(span.kind().name()).or_default().0 += span.cpu_us as f64 / 1e6;
    }
    Comparison {
        workers,
        cpu_s,
        makespan_cpu_s: (bare.trace.makespan_us as f64 / 1e6, 0.0),
        makespan_clock_s: (busy.trace.makespan_us as f64 / 1e6, 0.0),
    }
}

impl Comparison {
    /// CPU seconds of a stage: predicted, measured.
    fn of_stage(&self, stage: Stage) -> (f64, f64) {
        let kinds = Kind::ALL.into_iter().filter(|kind| kind.stage() == stage);
        let cpu_s = kinds.filter_map(|kind| self.cpu_s.get(kind.name()));
        cpu_s.fold((0.0, 0.0), |sum, cpu| (sum.0 + cpu.0, sum.1 + cpu.1))
    }
}

fn error((predicted, measured): (f64, f64)) -> f64 {
    predicted / measured.max(1e-9) - 1.0
}

/// Stages that take less of a run than this are not held against the goal one by one.
const SHARE_MIN: f64 = 0.01;

impl Checked {
    /// The largest error of a makespan, and of a stage that takes at least a hundredth of the run.
    fn worst(&self) -> (f64, f64) {
        let makespans = self.runs.iter().map(|run| error(run.makespan_cpu_s).abs());
        let stages = self.runs.iter().flat_map(|run| {
            let whole: f64 = run.cpu_s.values().map(|cpu| cpu.1).sum();
            let counts = move |cpu: &(f64, f64)| cpu.1 >= SHARE_MIN * whole;
            Stage::ALL.into_iter().map(|stage| run.of_stage(stage)).filter(counts).map(|cpu| error(cpu).abs())
        });
        (makespans.fold(0.0, f64::max), stages.fold(0.0, f64::max))
    }

    /// The goal that this speaks of.
    pub fn goal(&self) -> Goal {
        let (makespan, stage) = self.worst();
        let clock = self.runs.iter().map(|run| error(run.makespan_clock_s).abs()).fold(0.0, f64::max);
        Goal {
            name: "simulator against reality: largest error".to_owned(),
            origin: Origin::Measured,
            goal: "8%".to_owned(),
            stretch: "3%".to_owned(),
            found: format!("makespan {:.1}%, stage {:.1}%", makespan * 100.0, stage * 100.0),
            reached: makespan <= 0.08 && stage <= 0.08,
            note: format!(
                "in CPU time; by the clock of this machine, which has other work, {:.1}%",
                clock * 100.0
            ),
        }
    }

    /// For the report.
    pub fn to_html(&self) -> String {
        let mut rows = Vec::new();
        for run in &self.runs {
            let mut row = |name: &str, pair: (f64, f64)| {
                rows.push(vec![
                    run.workers.to_string(),
                    escape(name),
                    format!("{:.2}", pair.0),
                    format!("{:.2}", pair.1),
                    format!("{:+.1}%", error(pair) * 100.0),
                ]);
            };
            for kind in Kind::ALL {
                if let Some(&pair) = run.cpu_s.get(kind.name()) {
                    row(&format!("{}, CPU s", kind.name()), pair);
                }
            }
            row("makespan in CPU time, s", run.makespan_cpu_s);
            row("makespan by the clock, s", run.makespan_clock_s);
        }
        format!(
            "<p>{}; predictions were written to predictions.json before the run. Besides its tasks the process took \
             {:.1}% of their CPU time.</p>{}",
            escape(&self.about),
            self.overhead * 100.0,
            table(&["workers", "what", "predicted", "measured", "error"], &rows)
        )
    }
}
