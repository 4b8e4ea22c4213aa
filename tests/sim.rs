//! The scheduler in random worlds: small cohorts, several sites, everything going wrong at once. Whatever happens, the job
//! ends, every task is committed once and nothing starts without its inputs, where its data may not be, or beyond a limit.
//!
//! A seed that fails is printed with the command that runs it alone.

use cluster::sim::dice::{Dice, Topic};
use cluster::sim::scenario::{Batch, Coordinator, Faults, SiteWorld, Wave};
use cluster::sim::{Bound, Cohort, CohortSpec, Costs, Fate, HUMAN, HeavyTail, Run, Scenario, Watch, run};
use jobs::failure::Class;
use jobs::genome::CELL_BASES;
use jobs::task::Stage;
use scheduler::{Ending, MemoryModel, Options, Scheduler};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Seeds of a run of the tests.
const SEEDS: u64 = 2000;

/// Runs one seed instead, and tells of it.
const SEED_VARIABLE: &str = "WAKACHI_SIM_SEED";

const MIB: u64 = 1 << 20;
const SECOND: u64 = 1_000_000;
const MEMORY: MemoryModel = MemoryModel {
    fixed_bytes: 100 * MIB,
    task_bytes: [20 * MIB, 50 * MIB, 400 * MIB, 200 * MIB, 300 * MIB, 100 * MIB, 50 * MIB],
};

/// Draws of one seed, each another.
struct Draw {
    dice: Dice,
    next: u64,
}

impl Draw {
    fn within(&mut self, low: u64, high: u64) -> u64 {
        self.next += 1;
        self.dice.within(Topic::Shape, self.next, 7, low, high)
    }

    fn happens(&mut self, share: f64) -> bool {
        self.next += 1;
        self.dice.happens(share, Topic::Shape, self.next, 8)
    }

    /// A share of at most `most`, mostly none.
    fn share(&mut self, most: f64) -> f64 {
        if self.happens(0.3) { most * self.within(1, 100) as f64 / 100.0 } else { 0.0 }
    }
}

struct World {
    spec: CohortSpec,
    scenario: Scenario,
    options: Options,
}

fn world(seed: u64) -> World {
    let mut draw = Draw { dice: Dice::new(seed), next: 0 };
    let samples = draw.within(1, 4) as u32;
    let lane_pairs = draw.within(500, 60_000);
    let spec = CohortSpec {
        seed,
        samples,
        lanes: draw.within(1, 3) as u32,
        lane_pairs,
        chunk_pairs: lane_pairs.div_ceil(draw.within(1, 6)),
        contigs: (0..draw.within(1, 3)).map(|_| draw.within(1, 30) as u32 * CELL_BASES).collect(),
        seals: draw.happens(0.3),
        costs: Costs::built_in(),
        unevenness: draw.share(0.8),
        tail: draw.happens(0.2).then_some(HeavyTail { share: 0.05, factor: 50.0, in_one_cell: true }),
        shard_cells_max: draw.within(2, 40) as u32,
    };
    let sites: Vec<SiteWorld> =
        (0..draw.within(1, 3)).map(|site| site_of(&mut draw, site, samples)).collect();
    let waves = waves_of(&mut draw, &sites);
    let faults = faults_of(&mut draw, samples, sites.len() as u16);
    let options = Options {
        seed,
        audit_per_mille: if faults.lying > 0.0 { 1000 } else { draw.within(0, 1) as u32 * 100 },
        keep_going: true,
        attempts_max: 10,
        speculate: draw.happens(0.8),
        cut_stragglers: draw.happens(0.8),
        shard_target_ms: draw.within(50, 5000),
        shard_ms_min: draw.within(5, 500),
    };
    let coordinator = Coordinator { tick_us: 100_000, ..Coordinator::default() };
    World { spec, scenario: Scenario { seed, sites, waves, coordinator, faults }, options }
}

/// The first site can do everything, so that the job can end; others are far, forbidden for some, or batch systems.
fn site_of(draw: &mut Draw, site: u64, samples: u32) -> SiteWorld {
    if site == 0 {
        return SiteWorld {
            latency_us: draw.within(0, 1000),
            detect_us: draw.within(0, 3 * SECOND),
            ..SiteWorld::default()
        };
    }
    let mut stages = [true; 7];
    if draw.happens(0.5) {
        stages[Stage::Finish as usize] = false;
        stages[Stage::Seal as usize] = false;
    }
    SiteWorld {
        latency_us: draw.within(1000, 100_000),
        bytes_per_second: Some(draw.within(1, 1000) * 1_000_000),
        worker_bytes_per_second: Some(draw.within(1, 100) * 1_000_000),
        through_coordinator: draw.happens(0.5),
        detect_us: draw.within(0, 5 * SECOND),
        batch: draw.happens(0.5).then(|| Batch {
            bundles_max: draw.within(1, 3) as u32,
            bundle_us: draw.within(1, 20) * SECOND,
            queue_us: draw.within(0, 10) * SECOND,
            wall_us: draw.within(30, 200) * SECOND,
        }),
        price_core_hour: draw.within(0, 100) as f64 / 100.0,
        forbidden: (0..samples).filter(|_| draw.happens(0.3)).collect(),
        stages,
    }
}

fn waves_of(draw: &mut Draw, sites: &[SiteWorld]) -> Vec<Wave> {
    let wave = |draw: &mut Draw, site: usize, first: bool| Wave {
        site: site as u16,
        at_us: if first { 0 } else { draw.within(0, 20) * SECOND },
        workers: sites[site].batch.map_or(draw.within(1, 6) as u32, |batch| batch.bundles_max),
        slots: draw.within(1, 4) as u32,
        // Every worker can hold the largest task alone; not every one as many as it has cores.
        memory_bytes: draw.within(500, 2000) * MIB,
    };
    let mut waves = vec![wave(draw, 0, true)];
    for site in 1..sites.len() {
        waves.push(wave(draw, site, false));
    }
    // A batch site has one wave: its bundles.
    let again: Vec<usize> = (0..sites.len()).filter(|&site| sites[site].batch.is_none()).collect();
    for site in again {
        if draw.happens(0.5) {
            waves.push(wave(draw, site, false));
        }
    }
    waves
}

fn faults_of(draw: &mut Draw, samples: u32, sites: u16) -> Faults {
    let lying = draw.share(0.2);
    Faults {
        slow: draw.share(0.5),
        slow_speed: 0.2,
        killed: draw.share(0.5),
        reclaimed: draw.share(0.5),
        cold_start_us: draw.within(1, 20) * SECOND,
        horizon_us: draw.within(1, 60) * SECOND,
        lying,
        damaged: draw.share(0.3),
        wrong: 0.3,
        failing: draw.share(0.02),
        losing_inputs: draw.share(0.01),
        exhausting: draw.share(0.1),
        unanswered: draw.share(1.0),
        doubled: draw.share(0.3),
        late: draw.share(0.3),
        late_us: draw.within(0, 5) * SECOND,
        crashes_us: (0..draw.within(0, 4).saturating_sub(2)).map(|_| draw.within(1, 40) * SECOND).collect(),
        restart_us: draw.within(1, 10) * SECOND,
        jumps: if draw.happens(0.2) {
            vec![(3 * SECOND, 3_600_000), (9 * SECOND, -7_200_000)]
        } else {
            Vec::new()
        },
        drains: (1..sites).filter(|_| draw.happens(0.2)).map(|site| (10 * SECOND, site)).collect(),
        denials: if draw.happens(0.1) {
            vec![(draw.within(0, 20) * SECOND, draw.within(0, u64::from(samples) - 1) as u32)]
        } else {
            Vec::new()
        },
    }
}

fn simulate(world: &World) -> (Cohort, Run) {
    let cohort = Cohort::new(world.spec.clone());
    let make = || Scheduler::new(cohort.plan(MEMORY), world.options);
    let bound = Bound::of(&cohort);
    // Very late, even for one slow core with everything going wrong; a job that is not over then waits for nothing.
    let deadline_us = 40 * (bound.work_us + bound.chain_us) + 600 * SECOND;
    let log = std::env::var_os(SEED_VARIABLE).is_some();
    let watch = Watch { referee: true, measure: false, log, deadline_us };
    let done = run(&cohort, &world.scenario, MEMORY, watch, &make);
    (cohort, done)
}

/// What is wrong with a run, besides what the referee saw.
fn judge(world: &World, cohort: &Cohort, run: &Run) -> Vec<String> {
    let (faults, trace, mut wrong) = (&world.scenario.faults, &run.trace, run.broken.clone());
    // Without a denial every sample can be done, whatever else goes wrong.
    let may_be_partial = !faults.denials.is_empty();
    match trace.ending {
        Some(Ending::Complete) => {}
        Some(Ending::Partial) if may_be_partial => {}
        // Nobody was left.
        Some(Ending::Failed(Class::Policy)) if may_be_partial && world.spec.samples == 1 => {}
        other => wrong.push(format!("ended {other:?}")),
    }
    let all_audited = world.options.audit_per_mille == 1000 && trace.ending == Some(Ending::Complete);
    // With half of a few workers lying, two liars could agree; they never do, each is wrong in its own way.
    if run.wrong > 0 && all_audited && faults.crashes_us.is_empty() {
        wrong.push(format!("{} wrong outputs stayed", run.wrong));
    }
    let bound = Bound::of(cohort);
    let cpu = |fates: &[Fate]| fates.iter().map(|&fate| trace.cpu_us(fate)).sum::<u64>();
    let raced = cpu(&[Fate::Beaten, Fate::Cancelled]);
    if faults.denials.is_empty() && raced > 4 * (bound.work_us + bound.chain_us) {
        wrong.push(format!("{raced} µs of work raced or cancelled, of {}", bound.work_us));
    }
    wrong
}

fn fails(seed: u64) -> Option<String> {
    let world = world(seed);
    let (cohort, run) = simulate(&world);
    let wrong = judge(&world, &cohort, &run);
    (!wrong.is_empty()).then(|| {
        let replay = format!("{SEED_VARIABLE}={seed} cargo test --release --test sim random -- --nocapture");
        format!("seed {seed}: {}\n  again: {replay}", wrong.join("\n  "))
    })
}

#[test]
fn random_worlds_break_no_promise() {
    if let Ok(seed) = std::env::var(SEED_VARIABLE) {
        let seed = seed.parse().expect("a number");
        let world = world(seed);
        println!("{:#?}\n{:#?}\n{:#?}", world.spec, world.scenario, world.options);
        let (_, run) = simulate(&world);
        run.log.iter().for_each(|line| println!("{line}"));
        assert_eq!(fails(seed), None);
        return;
    }
    let next = AtomicU64::new(0);
    let work = || {
        let seeds =
            std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&seed| seed < SEEDS));
        seeds.filter_map(fails).collect::<Vec<String>>()
    };
    let failed: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    let shown: Vec<&str> = failed.iter().take(5).map(String::as_str).collect();
    assert!(failed.is_empty(), "{} of {SEEDS} seeds fail\n{}", failed.len(), shown.join("\n"));
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..20 {
        let (_, first) = simulate(&world(seed));
        let (_, second) = simulate(&world(seed));
        let key = |run: &Run| (run.trace.makespan_us, run.trace.events, format!("{:?}", run.trace.spans));
        assert_eq!(key(&first), key(&second), "seed {seed}");
    }
}

#[test]
fn calm_worlds_take_little_more_than_they_must() {
    let mut ratios = Vec::new();
    for seed in 0..100 {
        let mut world = world(seed);
        let workers = 1 + seed as u32 % 8;
        world.spec.tail = None;
        let options =
            Options { audit_per_mille: 0, shard_target_ms: 500, shard_ms_min: 10, ..Options::default() };
        world.options = options;
        world.scenario = Scenario::calm(seed, workers);
        world.scenario.coordinator.tick_us = 100_000;
        let (cohort, run) = simulate(&world);
        assert_eq!(judge(&world, &cohort, &run), [""; 0], "seed {seed}");
        let (makespan_us, bound_us) =
            (run.trace.makespan_us as f64, Bound::of(&cohort).tight_us(f64::from(workers)));
        assert!(makespan_us > 0.999 * bound_us, "seed {seed}: {makespan_us} beats the bound {bound_us}");
        // What a bound cannot know: a group of commits for each step of the chain, and whole shards at its end.
        ratios.push(makespan_us / (bound_us + 200_000.0));
    }
    let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
    let worst = ratios.iter().copied().fold(0.0, f64::max);
    assert!(mean < 1.15 && worst < 2.0, "times the bound: {mean:.2} in the mean, {worst:.2} at worst");
}

#[test]
fn slow_workers_cost_little_more_than_their_share() {
    // Four genomes on 200 workers: a lane is read part after part, half as long as the job takes.
    let makespan_us = |slow: f64| {
        let spec = CohortSpec {
            seed: 1,
            samples: 4,
            lanes: 8,
            lane_pairs: 38_000_000,
            chunk_pairs: 250_000,
            contigs: HUMAN.to_vec(),
            seals: false,
            costs: Costs::built_in(),
            unevenness: 0.15,
            tail: None,
            shard_cells_max: 64,
        };
        let faults = Faults { slow, slow_speed: 0.5, ..Faults::default() };
        let scenario = Scenario { faults, ..Scenario::calm(1, 200) };
        let (_, run) = simulate(&World { spec, scenario, options: Options::default() });
        run.trace.makespan_us as f64
    };
    // A fifth at half speed is a tenth of the cores less: 1.11. It was 1.25 while slow workers took lanes in.
    let ratio = makespan_us(0.2) / makespan_us(0.0);
    assert!((1.0..1.14).contains(&ratio), "{ratio:.3} times as long");
}
