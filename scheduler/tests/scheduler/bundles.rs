//! The rules of bundles: workers of a batch system, filled once.

use crate::rules::{Desk, LANE, one_sample};
use crate::world::{plan, site, worker};
use jobs::failure::Class;
use jobs::task::{Stage, Task};
use scheduler::{AttemptId, BundleLimits, Command, Ending, Event, Facts, Options, WorkerId};

#[test]
fn a_bundle_is_filled_once_with_about_its_time_of_work() {
    let mut plan = plan(&[(1, true)], 40);
    plan.samples[0].pairs = 10_000_000;
    let mut desk = Desk::new(plan, Options::default(), &[]);
    let mut batch = site(1);
    batch.bundles = Some(BundleLimits { bundles_max: 3, bundle_ms: 10_000 });
    batch.latency_ms = 1000;
    desk.tell(Event::Site { site: 0, spec: batch });
    for part in 0..100 {
        let pairs = Some(100_000 * u64::from(part + 1));
        let facts = Facts { chunks: (part == 99).then_some(400), pairs, ..Facts::default() };
        desk.tell(Event::Committed { task: Task::Intake(LANE, part), facts });
    }
    desk.tell(Event::Committed { task: Task::Model(LANE), facts: Facts::default() });
    desk.tell(Event::Begin);
    for number in 0..3 {
        let joined = Event::Joined { worker: WorkerId::new(0, number), spec: worker(4, 40) };
        let given = desk.tell(joined).len();
        // A map takes 1.35 s, a bundle 40 core seconds.
        assert!((25..=36).contains(&given), "{given}");
    }
    let attempt = *desk.open.keys().next().unwrap();
    assert!(desk.done(attempt).is_empty(), "a bundle is filled once");
}

#[test]
fn a_region_that_a_bundle_runs_is_cut_once_its_rest_is_worth_the_way_of_another_bundle() {
    let mut desk = Desk::new(one_sample(64), Options::default(), &[]);
    let mut batch = site(1);
    batch.bundles = Some(BundleLimits { bundles_max: 3, bundle_ms: 600_000 });
    batch.latency_ms = 120_000;
    desk.tell(Event::Site { site: 0, spec: batch });
    desk.tell(Event::Begin);
    let mut bundles = 0;
    let region = |task: Task| task.stage() == Stage::Region && task.steps().is_some();
    while !desk.open.values().any(|&(_, task, _)| region(task)) {
        desk.tell(Event::Joined { worker: WorkerId::new(0, bundles), spec: worker(1, 40) });
        bundles += 1;
        desk.run_until(region);
    }
    let (&slow, &(_, task, _)) = desk.open.iter().find(|(_, open)| region(open.1)).unwrap();
    desk.tell(Event::Started { attempt: slow, slot: 0 });
    // Everything else ends, and a bundle is offered for which nothing is left.
    while desk.open.len() > 1 {
        while let Some(&other) = desk.open.keys().find(|&&id| id != slow) {
            desk.done(other);
        }
        desk.tell(Event::Joined { worker: WorkerId::new(0, bundles), spec: worker(1, 40) });
        bundles += 1;
    }
    let cuts = |said: &[Command]| said.iter().any(|said| matches!(said, Command::Cut { .. }));
    let asked_ms = (0..600).find(|_| cuts(&desk.tick(1000))).expect("it is asked") * 1000;
    // As long as it has been running, so long will the rest take: as far as anybody knows.
    assert!((100_000..160_000).contains(&asked_ms), "{asked_ms}");
    let steps = task.steps().unwrap();
    let said = desk.tell(Event::Cut { attempt: slow, task: task.over(steps.start..steps.start + 3) });
    let rest = said.iter().find_map(|said| match said {
        Command::Start { task, .. } => task.steps(),
        _ => None,
    });
    assert_eq!(rest.map(|rest| rest.start), Some(steps.start + 3), "{said:?}");
}

#[test]
fn a_job_that_failed_takes_back_what_no_bundle_has_begun() {
    let mut desk = Desk::new(plan(&[(6, true)], 4), Options::default(), &[]);
    let mut batch = site(1);
    batch.bundles = Some(BundleLimits { bundles_max: 2, bundle_ms: 60_000 });
    desk.tell(Event::Site { site: 0, spec: batch });
    desk.tell(Event::Begin);
    for number in 0..2 {
        desk.tell(Event::Joined { worker: WorkerId::new(0, number), spec: worker(3, 40) });
    }
    let attempts: Vec<AttemptId> = desk.open.keys().copied().collect();
    let [failed, runs, waits @ ..] = &attempts[..] else { panic!("{attempts:?}") };
    assert!(!waits.is_empty());
    for attempt in [*failed, *runs] {
        desk.tell(Event::Started { attempt, slot: 0 });
    }
    let said = desk.fails(*failed, Class::Input);
    let mut taken: Vec<AttemptId> = said
        .iter()
        .filter_map(|said| match said {
            Command::Cancel { attempt, .. } => Some(*attempt),
            _ => None,
        })
        .collect();
    taken.sort_unstable();
    assert_eq!(taken, waits);
    assert_eq!(desk.done(*runs), [Command::End(Ending::Failed(Class::Input))]);
}
