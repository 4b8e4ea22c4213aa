//! The simulated part of the benchmark: which worlds are run, with whom, and what is read off.

use super::figures::{Figure, Origin, Subject};
use cluster::sim::scenario::{Faults, Wave};
use cluster::sim::{
    Baseline, Bound, Cohort, CohortSpec, Costs, HUMAN, HeavyTail, Rule, Run, Scenario, Trace, Watch, run,
};
use scheduler::{MemoryModel, Options, Scheduler};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Cells that a region or joint task takes at most: 8 Mb.
pub const SHARD_CELLS_MAX: u32 = 64;

/// One task in a hundred is fifty times as costly.
const TAIL: HeavyTail = HeavyTail { share: 0.01, factor: 50.0, in_one_cell: false };

/// Workers a sample has in the weak-scaling series.
const WEAK_WORKERS: u32 = 10;

/// Memory of an imagined worker's tasks; one core each, so it never decides.
const MEMORY: MemoryModel = MemoryModel { fixed_bytes: 512 << 20, task_bytes: [256 << 20; 7] };

/// What is imagined.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Decides everything random.
    pub seed: u64,
    /// Samples of the cohort.
    pub samples: u32,
    /// Lanes of each.
    pub lanes: u32,
    /// Pairs of each sample.
    pub pairs: u64,
    /// Pairs of a chunk.
    pub chunk_pairs: u64,
    /// Worker counts of the strong-scaling series.
    pub workers: Vec<u32>,
    /// Measured costs.
    pub costs: Costs,
}

/// Figures, and the runs worth plotting.
#[derive(Default)]
pub struct Simulated {
    /// One row a run.
    pub figures: Vec<Figure>,
    /// Runs by title.
    pub runs: Vec<(String, Trace)>,
}

/// One run to be made.
struct Case<'a> {
    world: &'a World,
    name: &'static str,
    scenario: Scenario,
    workers: u32,
    /// `None` is ours.
    rule: Option<Rule>,
    /// Whether it is drawn.
    shown: bool,
}

impl Setting {
    fn cohort(&self, samples: u32, tail: Option<HeavyTail>) -> Cohort {
        Cohort::new(CohortSpec {
            seed: self.seed,
            samples,
            lanes: self.lanes,
            lane_pairs: self.pairs / u64::from(self.lanes),
            chunk_pairs: self.chunk_pairs,
            contigs: HUMAN.to_vec(),
            seals: false,
            costs: self.costs.clone(),
            unevenness: 0.15,
            tail,
            shard_cells_max: SHARD_CELLS_MAX,
        })
    }

    /// The worker count whose runs are plotted: the largest of at most 400.
    fn shown(&self) -> u32 {
        self.workers.iter().copied().filter(|&workers| workers <= 400).max().unwrap_or(1)
    }
}

/// Runs everything, on so many threads. `say` is told what is being run.
pub fn all(setting: &Setting, threads: usize, say: &(dyn Fn(&str) + Sync)) -> Simulated {
    let calm = World::new(setting.cohort(setting.samples, None));
    let tails = [(TAILED, TAIL), (ONE_CELL, HeavyTail { in_one_cell: true, ..TAIL })]
        .map(|(name, tail)| (name, World::new(setting.cohort(setting.samples, Some(tail)))));
    let sizes = [1, 2, 5, 10, 20, 40].into_iter().filter(|&samples| samples <= setting.samples);
    let weak: Vec<World> = sizes.map(|samples| World::new(setting.cohort(samples, None))).collect();
    let cases = cases(setting, &calm, &tails, &weak);
    let next = AtomicUsize::new(0);
    type Done = Mutex<Option<(Figure, Option<Trace>)>>;
    let done: Vec<Done> = cases.iter().map(|_| Mutex::new(None)).collect();
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(at) else { return };
                    say(&case.title());
                    *done[at].lock().unwrap_or_else(PoisonError::into_inner) = Some(case.run());
                }
            });
        }
    });
    let mut simulated = Simulated::default();
    for (case, done) in cases.iter().zip(done) {
        let Some((figure, trace)) = done.into_inner().unwrap_or_else(PoisonError::into_inner) else {
            continue;
        };
        simulated.figures.push(figure);
        simulated.runs.extend(trace.map(|trace| (case.title(), trace)));
    }
    simulated
}

fn cases<'a>(
    setting: &Setting,
    calm: &'a World,
    tails: &'a [(&'static str, World)],
    weak: &'a [World],
) -> Vec<Case<'a>> {
    let (shown, last) = (setting.shown(), setting.workers.last().copied().unwrap_or(1));
    let mut cases = Vec::new();
    let mut add = |world: &'a World, name, scenario: &Scenario, workers, rule, shown| {
        cases.push(Case { world, name, scenario: scenario.clone(), workers, rule, shown });
    };
    for &workers in &setting.workers {
        let scenario = Scenario::calm(setting.seed, workers);
        add(calm, "strong", &scenario, workers, None, workers == shown || workers == last);
        for rule in Rule::ALL {
            let drawn = rule == Rule::EqualShards && workers == last;
            add(calm, "strong", &scenario, workers, Some(rule), drawn);
        }
    }
    for world in weak {
        let workers = world.cohort.spec().samples * WEAK_WORKERS;
        let scenario = Scenario::calm(setting.seed, workers);
        add(world, "weak", &scenario, workers, None, false);
        add(world, "weak", &scenario, workers, Some(Rule::StageBarriers), false);
    }
    for &workers in setting.workers.iter().filter(|&&workers| workers >= 40) {
        let scenario = Scenario::calm(setting.seed, workers);
        for (name, tail) in tails {
            add(tail, name, &scenario, workers, None, workers == shown);
            add(tail, name, &scenario, workers, Some(Rule::EqualShards), workers == shown);
        }
        // Losses are spread over about the time that the calm run takes.
        let horizon_us = (calm.bound.tight_us(f64::from(workers)) * 1.03) as u64;
        for (name, scenario) in troubled(setting.seed, workers, horizon_us) {
            add(calm, name, &scenario, workers, None, workers == shown && name == ALL_OF_IT);
            add(calm, name, &scenario, workers, Some(Rule::EqualShards), false);
        }
    }
    cases
}

impl Case<'_> {
    fn scheduler(&self) -> &'static str {
        self.rule.map_or("wakachi", Rule::name)
    }

    fn title(&self) -> String {
        let trouble = if self.name == "strong" { String::new() } else { format!("{}, ", self.name) };
        let (samples, workers) = (self.world.cohort.spec().samples, self.workers);
        format!("{}: {trouble}{samples} samples on {workers} workers", self.scheduler())
    }

    /// The figure, and the run if it is drawn.
    fn run(&self) -> (Figure, Option<Trace>) {
        let (world, cores) = (self.world, f64::from(self.workers));
        let run = match self.rule {
            None => world.ours(&self.scenario),
            Some(rule) => {
                let make = || Baseline::new(&world.cohort, rule);
                run(&world.cohort, &self.scenario, MEMORY, Watch::default(), &make)
            }
        };
        let subject = Subject {
            origin: Origin::Simulated,
            scenario: self.name,
            scheduler: self.scheduler(),
            samples: world.cohort.spec().samples,
            workers: self.workers,
            work_us: world.bound.work_us as f64,
            bounds_us: (world.bound.simple_us(cores), world.bound.tight_us(cores)),
        };
        let scheduler_ns = self.rule.is_none().then_some(run.scheduler_ns);
        (Figure::of(&subject, &run.trace, scheduler_ns), self.shown.then_some(run.trace))
    }
}

/// Names of what goes wrong.
pub const TAILED: &str = "1% of tasks 50 times as costly";
/// The same, of a region task all in one cell, which no cut can help.
pub const ONE_CELL: &str = "1% of tasks 50 times as costly, of regions one cell";
/// The same.
pub const KILLED: &str = "10% killed";
/// The same.
pub const SLOW: &str = "20% at half speed";
/// The same.
pub const RECLAIMED: &str = "30% reclaimed, 120 s cold start";
/// The same.
pub const ALL_OF_IT: &str = "all three at once";
/// The same.
pub const WAVES: &str = "workers come in four waves";

/// The troubles of the goals.
fn troubled(seed: u64, workers: u32, horizon_us: u64) -> Vec<(&'static str, Scenario)> {
    let with = |faults: Faults| Scenario {
        faults: Faults { horizon_us, ..faults },
        ..Scenario::calm(seed, workers)
    };
    let killed = Faults { killed: 0.1, ..Faults::default() };
    let slow = Faults { slow: 0.2, slow_speed: 0.5, ..Faults::default() };
    let reclaimed = Faults { reclaimed: 0.3, cold_start_us: 120_000_000, ..Faults::default() };
    let everything = Faults { killed: 0.1, slow: 0.2, slow_speed: 0.5, ..reclaimed.clone() };
    let calm = Scenario::calm(seed, workers);
    let wave = |quarter: u32| Wave {
        at_us: u64::from(quarter) * horizon_us / 10,
        workers: workers / 4 + u32::from(quarter < workers % 4),
        ..calm.waves[0]
    };
    vec![
        (KILLED, with(killed)),
        (SLOW, with(slow)),
        (RECLAIMED, with(reclaimed)),
        (ALL_OF_IT, with(everything)),
        (WAVES, Scenario { waves: (0..4).map(wave).collect(), ..calm.clone() }),
    ]
}

/// A cohort with its bounds.
pub struct World {
    cohort: Cohort,
    bound: Bound,
}

impl World {
    /// Bounds the cohort.
    pub fn new(cohort: Cohort) -> Self {
        World { bound: Bound::of(&cohort), cohort }
    }

    /// Runs the scheduler.
    pub fn ours(&self, scenario: &Scenario) -> Run {
        let options = Options { seed: scenario.seed, ..Options::default() };
        let make = || Scheduler::new(self.cohort.plan(MEMORY), options);
        run(&self.cohort, scenario, MEMORY, Watch { measure: true, ..Watch::default() }, &make)
    }
}
