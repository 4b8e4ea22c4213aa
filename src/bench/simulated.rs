//! The simulated part of the benchmark: which worlds are run, with whom, and what is read off.

use super::figures::{Figure, Origin, Subject};
use cluster::sim::scenario::{Faults, Wave};
use cluster::sim::{
    Baseline, Bound, Cohort, CohortSpec, Costs, HUMAN, HeavyTail, Rule, Run, Scenario, Trace, Watch, run,
};
use scheduler::{MemoryModel, Options, Scheduler};

/// Cells that a region or joint task takes at most: 8 Mb.
pub const SHARD_CELLS_MAX: u32 = 64;

/// One task in a hundred is fifty times as costly.
const TAIL: HeavyTail = HeavyTail { share: 0.01, factor: 50.0 };

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

/// Runs everything. `say` is told what is being run.
pub fn all(setting: &Setting, say: &mut dyn FnMut(&str)) -> Simulated {
    let mut simulated = Simulated::default();
    strong(setting, &mut simulated, say);
    weak(setting, &mut simulated, say);
    tail(setting, &mut simulated, say);
    faults(setting, &mut simulated, say);
    simulated
}

fn strong(setting: &Setting, simulated: &mut Simulated, say: &mut dyn FnMut(&str)) {
    let world = World::new(setting.cohort(setting.samples, None));
    for &workers in &setting.workers {
        say(&format!("strong scaling, {workers} workers"));
        let scenario = Scenario::calm(setting.seed, workers);
        let ours = world.figure("strong", &scenario, workers, simulated);
        if workers == setting.shown() || Some(&workers) == setting.workers.last() {
            simulated.runs.push((format!("wakachi, {workers} workers"), ours.trace));
        }
        for rule in Rule::ALL {
            let theirs = world.baseline("strong", &scenario, workers, rule, simulated);
            if rule == Rule::EqualShards && Some(&workers) == setting.workers.last() {
                simulated.runs.push((format!("{}, {workers} workers", rule.name()), theirs.trace));
            }
        }
    }
}

fn weak(setting: &Setting, simulated: &mut Simulated, say: &mut dyn FnMut(&str)) {
    let sizes = [1, 2, 5, 10, 20, 40];
    for samples in sizes.into_iter().filter(|&samples| samples <= setting.samples) {
        let workers = samples * WEAK_WORKERS;
        say(&format!("weak scaling, {samples} samples"));
        let world = World::new(setting.cohort(samples, None));
        let scenario = Scenario::calm(setting.seed, workers);
        world.figure("weak", &scenario, workers, simulated);
        world.baseline("weak", &scenario, workers, Rule::StageBarriers, simulated);
    }
}

fn tail(setting: &Setting, simulated: &mut Simulated, say: &mut dyn FnMut(&str)) {
    let world = World::new(setting.cohort(setting.samples, Some(TAIL)));
    for &workers in setting.workers.iter().filter(|&&workers| workers >= 40) {
        say(&format!("1% of tasks 50 times as costly, {workers} workers"));
        let scenario = Scenario::calm(setting.seed, workers);
        let ours = world.figure("tail", &scenario, workers, simulated);
        let theirs = world.baseline("tail", &scenario, workers, Rule::EqualShards, simulated);
        if workers == setting.shown() {
            simulated.runs.push((format!("wakachi, heavy tail, {workers} workers"), ours.trace));
            let name = Rule::EqualShards.name();
            simulated.runs.push((format!("{name}, heavy tail, {workers} workers"), theirs.trace));
        }
    }
}

fn faults(setting: &Setting, simulated: &mut Simulated, say: &mut dyn FnMut(&str)) {
    let world = World::new(setting.cohort(setting.samples, None));
    for &workers in setting.workers.iter().filter(|&&workers| workers >= 40) {
        let calm = simulated.figures.iter().find(|f| f.scenario == "strong" && f.workers == workers);
        let Some(horizon_us) = calm.map(|calm| (calm.makespan_s * 1e6) as u64) else { continue };
        for (name, scenario) in troubled(setting.seed, workers, horizon_us) {
            say(&format!("{name}, {workers} workers"));
            let ours = world.figure(name, &scenario, workers, simulated);
            world.baseline(name, &scenario, workers, Rule::EqualShards, simulated);
            if workers == setting.shown() {
                simulated.runs.push((format!("wakachi, {name}, {workers} workers"), ours.trace));
            }
        }
    }
}

/// Names of what goes wrong.
pub const KILLED: &str = "10% killed";
/// The same.
pub const SLOW: &str = "20% at half speed";
/// The same.
pub const RECLAIMED: &str = "30% reclaimed, 120 s cold start";
/// The same.
pub const ALL_OF_IT: &str = "all three at once";
/// The same.
pub const WAVES: &str = "workers come in four waves";

/// The troubles of the goals. Losses are spread over the time that the calm run takes.
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

    fn figure(&self, name: &str, scenario: &Scenario, workers: u32, simulated: &mut Simulated) -> Run {
        let run = self.ours(scenario);
        let subject = self.subject(name, "wakachi", workers);
        simulated.figures.push(Figure::of(&subject, &run.trace, Some(run.scheduler_ns)));
        run
    }

    fn baseline(
        &self,
        name: &str,
        scenario: &Scenario,
        workers: u32,
        rule: Rule,
        simulated: &mut Simulated,
    ) -> Run {
        let make = || Baseline::new(&self.cohort, rule);
        let run = run(&self.cohort, scenario, MEMORY, Watch::default(), &make);
        simulated.figures.push(Figure::of(&self.subject(name, rule.name(), workers), &run.trace, None));
        run
    }

    fn subject<'a>(&self, scenario: &'a str, scheduler: &'a str, workers: u32) -> Subject<'a> {
        let cores = f64::from(workers);
        Subject {
            origin: Origin::Simulated,
            scenario,
            scheduler,
            samples: self.cohort.spec().samples,
            workers,
            work_us: self.bound.work_us as f64,
            bounds_us: (self.bound.simple_us(cores), self.bound.tight_us(cores)),
        }
    }
}
