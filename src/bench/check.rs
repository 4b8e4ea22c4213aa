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
const MEASURED_FIRST: [u32; 2] = [8, 24];

/// Workers of the runs. What they share (caches, the way to memory) makes the same work costlier when both have some, so the
/// small cohorts are measured with as many, just before each run.
const WORKERS: [u32; 2] = [1, 2];

/// Times that it is done, and the one in the middle is judged, by the size of its error: the machine's speed drifts within
/// minutes, which spoils a turn, and what the simulator gets wrong it gets wrong each time.
const TURNS: u32 = 3;

/// What was predicted of a run, and what came.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Comparison {
    /// Workers.
    pub workers: u32,
    /// Which of the turns.
    pub turn: u32,
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
    /// By turn, then number of workers.
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
    let (mut predictions, mut runs) = (Vec::new(), Vec::new());
    let (mut process_ms, mut task_ms) = (0, 0);
    for (turn, workers) in (1..=TURNS).flat_map(|turn| WORKERS.map(|workers| (turn, workers))) {
        let first = |(cohort, samples): (&PathBuf, u32)| {
            note(&format!("turn {turn}: measuring {samples} small samples with {workers} workers"));
            run_job(args, cohort, &format!("first-{samples}-job"), workers)
        };
        let first: Vec<MeasuredJob> =
            small.iter().zip(MEASURED_FIRST).map(first).collect::<Result<_, _>>()?;
        let costs = costs_of(&first, machine(), "small samples of another seed".to_owned());
        let imagined = first[1].imagined(costs.without_chance(), args.seed, args.samples);
        let predicted = predict(&World::new(imagined), workers, overhead_us(&first));
        let mut run = Comparison { turn, ..predicted };
        predictions.push(run.clone());
        let document = serde_json::to_string_pretty(&predictions).expect("plain data always prints");
        write(&args.out.join("predictions.json"), &document)?;
        note(&format!("turn {turn}: running {} samples with {workers} workers", args.samples));
        let job = run_job(args, &cohort, "check-job", workers)?;
        run.found(&job);
        runs.push(run);
        (process_ms, task_ms) = (process_ms + job.process_cpu_ms, task_ms + job.task_cpu_ms());
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
        ..Comparison::default()
    }
}

impl Comparison {
    /// Notes what came.
    fn found(&mut self, job: &MeasuredJob) {
        for (kind, (cpu_ms, _)) in job.by_kind() {
            self.cpu_s.entry(kind.name()).or_default().1 = cpu_ms as f64 / 1000.0;
        }
        self.makespan_cpu_s.1 = job.trace(self.workers, true).makespan_us as f64 / 1e6;
        self.makespan_clock_s.1 = job.trace(self.workers, false).makespan_us as f64 / 1e6;
    }

    /// CPU seconds of a stage: predicted, measured.
    fn of_stage(&self, stage: Stage) -> (f64, f64) {
        let kinds = Kind::ALL.into_iter().filter(|kind| kind.stage() == stage);
        let cpu_s = kinds.filter_map(|kind| self.cpu_s.get(kind.name()));
        cpu_s.fold((0.0, 0.0), |sum, cpu| (sum.0 + cpu.0, sum.1 + cpu.1))
    }

    /// What a stage took, or was said to take, of all that was measured.
    fn share(&self, stage: Stage) -> f64 {
        let (predicted, measured) = self.of_stage(stage);
        predicted.max(measured) / self.cpu_s.values().map(|cpu| cpu.1).sum::<f64>().max(1e-9)
    }
}

fn error((predicted, measured): (f64, f64)) -> f64 {
    predicted / measured.max(1e-9) - 1.0
}

/// The middle one.
fn middle(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or(0.0)
}

/// Stages that take less of a run than this are not held against the goal one by one.
const SHARE_MIN: f64 = 0.01;

/// One thing predicted of all turns with so many workers.
struct Line {
    workers: u32,
    what: String,
    /// By turn: predicted, measured.
    pairs: Vec<(f64, f64)>,
    part: Part,
}

/// What a [`Line`] is held against.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Makespan,
    Clock,
    /// With its share of the run, in the middle.
    Stage(f64),
}

impl Line {
    /// The middle of the errors by size.
    fn error(&self) -> f64 {
        middle(self.pairs.iter().map(|&pair| error(pair).abs()).collect())
    }

    /// How much longer the longest of the runs was than the shortest, though all did the same: what is the machine's, and
    /// nothing to predict.
    fn unrest(&self) -> f64 {
        let of = |pick: fn(f64, f64) -> f64| self.pairs.iter().map(|pair| pair.1).reduce(pick).unwrap_or(0.0);
        error((of(f64::max), of(f64::min)))
    }

    fn counts(&self) -> bool {
        match self.part {
            Part::Makespan => true,
            Part::Clock => false,
            Part::Stage(share) => share >= SHARE_MIN,
        }
    }

    fn worst(lines: &[Line], of: impl Fn(&Line) -> bool) -> f64 {
        lines.iter().filter(|line| of(line)).map(Line::error).fold(0.0, f64::max)
    }
}

impl Checked {
    fn lines(&self) -> Vec<Line> {
        let of = |workers: u32| {
            let runs: Vec<&Comparison> = self.runs.iter().filter(|run| run.workers == workers).collect();
            let line = |what: String, part, pair: &dyn Fn(&Comparison) -> (f64, f64)| Line {
                workers,
                what,
                pairs: runs.iter().map(|run| pair(run)).collect(),
                part,
            };
            let stage = |stage: Stage| {
                let share = middle(runs.iter().map(|run| run.share(stage)).collect());
                let what = format!("{}, CPU s", stage.name());
                (share > 0.0).then(|| line(what, Part::Stage(share), &|run| run.of_stage(stage)))
            };
            let makespan =
                line("makespan in CPU time, s".to_owned(), Part::Makespan, &|run| run.makespan_cpu_s);
            let clock = line("makespan by the clock, s".to_owned(), Part::Clock, &|run| run.makespan_clock_s);
            Stage::ALL.into_iter().filter_map(stage).chain([makespan, clock]).collect::<Vec<_>>()
        };
        WORKERS.into_iter().flat_map(of).collect()
    }

    /// The goal that this speaks of.
    pub fn goal(&self) -> Goal {
        let lines = self.lines();
        let makespan = Line::worst(&lines, |line| line.part == Part::Makespan);
        let stage = Line::worst(&lines, |line| line.counts() && line.part != Part::Makespan);
        let clock = Line::worst(&lines, |line| line.part == Part::Clock);
        let all = lines.iter().filter(|line| line.counts()).flat_map(|line| &line.pairs);
        let single = all.map(|&pair| error(pair).abs()).fold(0.0, f64::max);
        let unrest = lines.iter().filter(|line| line.counts()).map(Line::unrest).fold(0.0, f64::max);
        Goal {
            name: format!("simulator against reality: largest error, in the middle of {TURNS} turns"),
            origin: Origin::Measured,
            goal: "8%".to_owned(),
            stretch: "3%".to_owned(),
            found: format!("makespan {:.1}%, stage {:.1}%", makespan * 100.0, stage * 100.0),
            reached: makespan <= 0.08 && stage <= 0.08,
            note: format!(
                "in CPU time; of all turns {:.1}% at most, where what was measured of the same work differs by \
                 up to {:.1}% from turn to turn; by the clock of this machine, which may have other work, {:.1}%; \
                 calibrated with as many workers as each run has",
                single * 100.0,
                unrest * 100.0,
                clock * 100.0
            ),
        }
    }

    /// For the report.
    pub fn to_html(&self) -> String {
        let row = |line: &Line| {
            let all = |of: &dyn Fn(&(f64, f64)) -> String| {
                line.pairs.iter().map(of).collect::<Vec<_>>().join(" / ")
            };
            vec![
                line.workers.to_string(),
                escape(&line.what),
                all(&|pair| format!("{:.2}", pair.0)),
                all(&|pair| format!("{:.2}", pair.1)),
                all(&|&pair| format!("{:+.1}%", error(pair) * 100.0)),
                format!("{:.1}%", line.error() * 100.0),
                format!("{:.1}%", line.unrest() * 100.0),
                match line.part {
                    Part::Stage(share) if !line.counts() => format!("no: {:.1}% of the run", share * 100.0),
                    Part::Clock => "no: other work".to_owned(),
                    _ => "yes".to_owned(),
                },
            ]
        };
        let rows: Vec<Vec<String>> = self.lines().iter().map(row).collect();
        format!(
            "<p>{}; in turns, each with small samples measured first by as many workers, and its predictions written to \
             predictions.json before the run. All turns do the same work: what was measured of it differs by as much as the \
             column says. A stage counts that takes at least a hundredth of the run. Besides its tasks the process took \
             {:.1}% of their CPU time.</p>{}",
            escape(&self.about),
            self.overhead * 100.0,
            table(
                &[
                    "workers",
                    "what",
                    "predicted",
                    "measured",
                    "errors",
                    "middle by size",
                    "measured differs",
                    "counts"
                ],
                &rows
            )
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One worker's run: 100 s of mapping, and what the joint call was said to take and took.
    fn turn(turn: u32, joint: (f64, f64), makespan: (f64, f64)) -> Comparison {
        let cpu_s = [("map", (100.0, 100.0)), ("joint", joint)].into();
        Comparison { workers: 1, turn, cpu_s, makespan_cpu_s: makespan, makespan_clock_s: (1.0, 2.0) }
    }

    fn checked(runs: Vec<Comparison>) -> Checked {
        Checked { about: String::new(), runs, overhead: 0.0 }
    }

    #[test]
    fn the_middle_of_the_turns_is_judged_and_the_clock_is_not() {
        let makespans = [(104.0, 100.0), (70.0, 100.0), (101.0, 100.0)];
        let joints = [(3.0, 2.0), (2.1, 2.0), (2.2, 2.2)];
        let turns = (1..).zip(joints.into_iter().zip(makespans));
        let goal = checked(turns.map(|(n, (joint, makespan))| turn(n, joint, makespan)).collect()).goal();
        assert_eq!(goal.found, "makespan 4.0%, stage 5.0%");
        assert!(
            goal.reached
                && goal.note.contains("50.0% at most")
                && goal.note.contains("up to 10.0% from turn"),
            "{}",
            goal.note
        );
    }

    #[test]
    fn a_stage_of_less_than_a_hundredth_is_shown_and_not_judged() {
        let small = checked(vec![turn(1, (0.5, 0.9), (100.0, 100.0))]);
        assert!(small.goal().reached && small.to_html().contains("no: 0.9% of the run"));
        for joint in [(9.0, 1.1), (9.0, 0.9), (9.0, 0.0), (0.0, 9.0)] {
            assert!(!checked(vec![turn(1, joint, (100.0, 100.0))]).goal().reached, "{joint:?}");
        }
    }
}
