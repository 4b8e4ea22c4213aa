//! Thousands of random worlds. A seed that fails prints itself; `SEED=n cargo test -p wakachi-scheduler seeds` plays it
//! again alone.

use crate::world::{Dice, GIB, Weather, World, plan, site, worker};
use jobs::task::Task;
use scheduler::{BundleLimits, Ending, Event, Options, Plan, SiteSpec, WorkerId};
use std::panic::{AssertUnwindSafe, catch_unwind};

const SEEDS: u64 = 3000;

fn options(dice: &mut Dice) -> Options {
    Options {
        seed: dice.below(1000),
        audit_per_mille: [0, 0, 50, 300][dice.below(4) as usize],
        keep_going: dice.chance(600),
        attempts_max: 30,
        speculate: dice.chance(700),
        cut_stragglers: dice.chance(700),
        shard_target_ms: 1 + dice.below(20_000),
        shard_ms_min: 1 + dice.below(3000),
    }
}

fn weather(dice: &mut Dice) -> Weather {
    let mut some = |most: u64| if dice.chance(500) { 0 } else { dice.below(most) };
    Weather {
        failing: some(150),
        exhausted: some(150),
        damaged: some(60),
        bad_input: some(10),
        lost: some(80),
        answered: 1000 - some(1000),
        slow: some(100),
        liar: None,
        chunks: 1 + dice.below(12) as u32,
    }
}

fn random_plan(dice: &mut Dice) -> Plan {
    let samples: Vec<(u32, bool)> =
        (0..1 + dice.below(4)).map(|_| (1 + dice.below(2) as u32, dice.chance(700))).collect();
    let mut plan = plan(&samples, 1 + dice.below(40) as u32);
    plan.shard_cells_max = 1 + dice.below(12) as u32;
    plan.seals = dice.chance(400);
    if dice.chance(300) {
        let mut lines: Vec<u32> = (0..dice.below(8)).map(|_| dice.below(plan.cells.into()) as u32).collect();
        lines.sort_unstable();
        lines.dedup();
        plan.lines = Some(lines);
    }
    plan
}

fn sites(dice: &mut Dice, samples: usize) -> Vec<SiteSpec> {
    let mut home = site(samples);
    home.latency_ms = [0, 0, 5, 300][dice.below(4) as usize];
    let mut sites = vec![home];
    for number in 1..1 + dice.below(3) {
        let mut other = site(samples);
        other.name = format!("site{number}");
        other.latency_ms = dice.below(3000);
        other.price_core_hour = dice.below(3) as f64;
        other.bytes_per_second = dice.chance(500).then(|| 1000 + dice.below(10_000_000));
        other.bundles =
            dice.chance(500).then(|| BundleLimits { bundles_max: 4, bundle_ms: 1000 + dice.below(60_000) });
        other.allowed.iter_mut().for_each(|allowed| *allowed = dice.chance(600));
        other.stages = std::array::from_fn(|_| dice.chance(800));
        sites.push(other);
    }
    sites
}

fn add_workers(world: &mut World, dice: &mut Dice, sites: &[SiteSpec]) {
    for (number, spec) in sites.iter().enumerate() {
        world.add_site(number as u16, spec.clone());
        for i in 0..1 + dice.below(4) {
            let mut one = worker(1 + dice.below(4) as u32, 1 + dice.below(12));
            one.site = number as u16;
            let immortal = number == 0 && i == 0;
            if immortal {
                // What it has is enough for every task, so that the job always ends.
                one.memory_bytes = 20 * GIB;
            }
            let at = if immortal { 0 } else { dice.below(30_000) };
            world.add_worker(one, at, immortal);
        }
    }
}

fn play(seed: u64) {
    let mut dice = Dice(seed);
    let plan = random_plan(&mut dice);
    let (options, weather) = (options(&mut dice), weather(&mut dice));
    let mut world = World::new(plan.clone(), options, weather.clone(), seed);
    let sites = sites(&mut dice, plan.samples.len());
    add_workers(&mut world, &mut dice, &sites);
    world.tell(Event::Begin);
    // Stopped somewhere, or not.
    let stop_ms = if dice.chance(500) { dice.below(120_000) } else { u64::MAX };
    let soon = dice.chance(500);
    let denied_ms = if dice.chance(100) { dice.below(60_000) } else { u64::MAX };
    let drain_ms = if dice.chance(200) { dice.below(60_000) } else { u64::MAX };
    let (mut stopped, mut denied, mut drained) = (false, false, 0);
    while world.ending.is_none() {
        assert!(world.now_ms < 20_000_000, "{}", world.report());
        world.step();
        if world.now_ms >= stop_ms && !stopped && world.ending.is_none() {
            stopped = true;
            world.tell(Event::Stop { soon });
        }
        if world.now_ms >= denied_ms && !denied && world.ending.is_none() {
            denied = true;
            world.tell(Event::Denied { sample: 0 });
        }
        if world.now_ms >= drain_ms && drained == 0 && sites.len() > 1 && world.ending.is_none() {
            drained = 1;
            world.tell(Event::Drain { site: 1, drain: true });
        }
        query(&world);
    }
    late(&mut world);
    if world.ending == Some(Ending::Stopped) {
        let mut again = options;
        again.shard_target_ms = 1 + dice.below(20_000);
        resume(&world, plan, again, weather, dice, &sites);
    }
}

/// Nothing a display asks may panic, whatever is going on.
fn query(world: &World) {
    if !world.numbers().is_multiple_of(16) {
        return;
    }
    let scheduler = &world.scheduler;
    for sample in (0..scheduler.plan().samples.len() as u32).map(Some).chain([None]) {
        let cells: usize = scheduler.coverage(sample).iter().map(|(shard, _)| shard.cells().count()).sum();
        assert_eq!(cells, scheduler.plan().cells as usize);
        scheduler.waiting(sample);
    }
    for stage in scheduler.plan().stages() {
        let progress = scheduler.progress(stage, None);
        let known = progress.queued + progress.running + progress.done + progress.failed;
        assert!(progress.tasks >= known, "{stage}: {progress:?}");
    }
    assert!(scheduler.running().count() <= scheduler.workers().map(|w| w.spec.slots as usize).sum());
    if let Some(left) = scheduler.remaining_ms() {
        assert!(left.low_ms <= left.expected_ms && left.expected_ms <= left.high_ms, "{left:?}");
    }
}

/// Whatever is said after the end is not answered.
fn late(world: &mut World) {
    for _ in 0..50 {
        world.step();
    }
    world.tell(Event::Begin);
    world.tell(Event::Stop { soon: true });
    world.tell(Event::Distrust { worker: WorkerId(0) });
}

/// The job again, with other cuts, from what was committed: only what is missing is done.
fn resume(
    world: &World,
    mut plan: Plan,
    options: Options,
    weather: Weather,
    mut dice: Dice,
    sites: &[SiteSpec],
) {
    plan.shard_cells_max = 1 + dice.below(12) as u32;
    let calm = Weather { bad_input: 0, damaged: 0, ..weather };
    let mut again = World::new(plan, Options { attempts_max: 1000, ..options }, calm, dice.below(1 << 40));
    let mut committed: Vec<(Task, u64)> =
        world.committed.iter().map(|(&task, &content)| (task, content)).collect();
    // Any prefix in any order, as a journal may give it.
    let keep = dice.below(committed.len() as u64 + 1) as usize;
    for i in (1..committed.len()).rev() {
        committed.swap(i, dice.below(i as u64 + 1) as usize);
    }
    committed.truncate(keep);
    for &(task, content) in &committed {
        again.committed.insert(task, content);
        if let Task::FinishSample(_) | Task::FinishCohort = task {
            again.finished.insert(task.sample());
        }
    }
    for &(task, content) in &committed {
        let facts = again.facts(task, content);
        again.tell(Event::Committed { task, facts });
    }
    // Nothing of it overlaps, so nothing of it is forgotten.
    assert_eq!(again.committed.len(), keep);
    add_workers(&mut again, &mut dice, sites);
    again.tell(Event::Begin);
    assert!(matches!(again.run(), Ending::Complete), "{:?}", again.ending);
}

#[test]
fn jobs_end_well_in_every_random_world() {
    let only: Option<u64> = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in only.map_or(0..SEEDS, |seed| seed..seed + 1) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| play(seed))) {
            eprintln!("SEED={seed} cargo test --release -p wakachi-scheduler seeds");
            std::panic::resume_unwind(panic);
        }
    }
}

/// A job with a worker that lies and is found out somewhere.
fn lie(seed: u64) {
    let mut dice = Dice(seed);
    let plan = random_plan(&mut dice);
    let options = Options { audit_per_mille: [50, 300, 1000][dice.below(3) as usize], ..options(&mut dice) };
    let weather = weather(&mut dice);
    let mut world = World::new(plan.clone(), options, weather, seed);
    world.add_site(0, site(plan.samples.len()));
    let mut add = |immortal| world.add_worker(worker(1 + dice.below(4) as u32, 40), 0, immortal);
    let liar = [true, true, false, false, false].map(&mut add)[1];
    world.weather.liar = Some(liar);
    world.tell(Event::Begin);
    let found_ms = dice.below(200_000);
    while world.ending.is_none() && world.now_ms < found_ms {
        world.step();
    }
    world.tell(Event::Distrust { worker: liar });
    if world.ending.is_none() {
        world.run();
    }
}

#[test]
fn nothing_of_a_liar_is_left_in_any_random_world() {
    for seed in 0..SEEDS {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| lie(seed))) {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
