//! The bill under events in every order.

use super::*;
use jobs::failure::Class;
use jobs::task::LaneId;
use scheduler::{BundleLimits, Departure, Facts, WorkerSpec};

fn site(name: &str, price_core_hour: f64, batch: bool) -> SiteSpec {
    SiteSpec {
        name: name.to_owned(),
        price_core_hour,
        latency_ms: 0,
        bytes_per_second: None,
        bundles: batch.then_some(BundleLimits { bundles_max: 4, bundle_ms: 1000 }),
        allowed: Vec::new(),
        stages: [true; 7],
    }
}

fn joined(worker: u32, site: u16, slots: u32) -> Event {
    let spec = WorkerSpec { site, slots, memory_bytes: 0, name: format!("w{worker}") };
    Event::Joined { worker: WorkerId(worker), spec }
}

fn start(worker: u32, attempt: u64, sample: u32, purpose: Purpose) -> Command {
    let task = Task::Map(LaneId { sample, lane: 0 }, jobs::task::Chunk::whole(attempt as u32));
    Command::Start { worker: WorkerId(worker), attempt: AttemptId(attempt), task, purpose }
}

fn usage(started_ms: u64, finished_ms: u64) -> Usage {
    Usage { cpu_ms: finished_ms - started_ms, started_ms, finished_ms, bytes_in: 7, ..Usage::default() }
}

fn done(attempt: u64, started_ms: u64, finished_ms: u64) -> Event {
    let usage = usage(started_ms, finished_ms);
    Event::Done { attempt: AttemptId(attempt), facts: Facts::default(), usage }
}

fn failed(attempt: u64) -> Event {
    let (attempt, usage) = (AttemptId(attempt), usage(0, 1));
    Event::Failed { attempt, class: Class::Failed, exhausted: None, damaged: None, usage }
}

fn begun(attempt: u64, slot: u32) -> Event {
    Event::Started { attempt: AttemptId(attempt), slot }
}

fn lines(account: &Account) -> Vec<(&'static str, u64)> {
    account.idle.iter().map(|line| (line.cause.name(), line.core_ms)).collect()
}

#[test]
fn every_idle_core_has_its_cause() {
    let mut bill = Bill::default();
    let names = ["a".to_owned(), "b".to_owned()];
    let mut tell = |now, event, commands: &[Command], open| bill.after(now, &event, commands, open);
    tell(0, Event::Site { site: 0, spec: site("home", 3.6, false) }, &[], Idle::NoReadyTask);
    tell(
        0,
        joined(1, 0, 2),
        &[start(1, 1, 0, Purpose::Work), start(1, 2, 1, Purpose::Copy)],
        Idle::NoReadyTask,
    );
    tell(10, begun(1, 0), &[], Idle::NoReadyTask);
    tell(15, begun(2, 1), &[], Idle::NoReadyTask);
    // Its own clock is of another year; 5 of its 50 ms were commit.
    tell(60, done(1, 9000, 9045), &[], Idle::Straggler);
    let cancel = Command::Cancel { worker: WorkerId(1), attempt: AttemptId(2) };
    tell(80, Event::Tick, &[cancel], Idle::Memory);
    tell(90, done(2, 9000, 9050), &[], Idle::Memory);
    tell(100, Event::Drain { site: 0, drain: true }, &[], Idle::Memory);
    let account = bill.account(130, &names);
    assert!(account.is_whole(), "{account:#?}");
    assert_eq!((account.allocated_core_ms, account.work_core_ms), (260, 45));
    assert_eq!(account.work[0].sample.as_deref(), Some("a"));
    let expect = [
        // Two slots for 10 ms; the second was ordered, and its worker had begun, until 15.
        ("start_up", 20),
        ("memory", 10 + 20),
        ("straggler", 20),
        ("draining", 60),
        ("speculation", 75),
        ("scheduler", 5 + 5),
    ];
    assert_eq!(lines(&account), expect);
    assert!((account.price - 260.0 / 3_600_000.0 * 3.6).abs() < 1e-12);
    assert_eq!(account.sites[0].bytes_in, 14);
}

#[test]
fn a_slots_next_attempt_may_be_heard_of_before_the_last_is_committed() {
    let mut bill = Bill::default();
    let mut tell = |now, event, commands: &[Command]| bill.after(now, &event, commands, Idle::NoReadyTask);
    tell(0, Event::Site { site: 0, spec: site("home", 0.0, false) }, &[]);
    tell(0, joined(1, 0, 1), &[start(1, 1, 0, Purpose::Work), start(1, 2, 0, Purpose::Work)]);
    tell(0, begun(1, 0), &[]);
    tell(100, begun(2, 0), &[]);
    tell(130, done(1, 0, 100), &[]);
    tell(200, done(2, 100, 200), &[]);
    let account = bill.account(200, &["a".to_owned()]);
    assert!(account.is_whole());
    assert_eq!((account.allocated_core_ms, account.work_core_ms, account.work[0].tasks), (200, 200, 2));
}

#[test]
fn a_bundle_is_paid_for_by_its_own_clock_when_it_is_over() {
    let mut bill = Bill::default();
    let mut tell = |now, event, commands: &[Command]| bill.after(now, &event, commands, Idle::NoReadyTask);
    tell(0, Event::Site { site: 3, spec: site("burst", 36.0, true) }, &[]);
    tell(0, joined(1, 3, 2), &[start(1, 1, 0, Purpose::Work), start(1, 2, 0, Purpose::Audit)]);
    tell(500, done(1, 10_000, 10_300), &[]);
    tell(500, done(2, 10_100, 10_400), &[]);
    bill.spent(500, WorkerId(1), Spending::Transfer, 50);
    bill.after(600, &Event::Left { worker: WorkerId(1), why: Departure::Ended }, &[], Idle::NoReadyTask);
    let account = bill.account(700, &["a".to_owned()]);
    assert!(account.is_whole(), "{account:#?}");
    assert_eq!((account.allocated_core_ms, account.work_core_ms), (850, 300));
    assert_eq!(lines(&account), [("no_ready_task", 200), ("audit", 300), ("transfer", 50)]);
}

#[test]
fn it_sums_to_the_allocation_whatever_happens() {
    for seed in 1..200u64 {
        let mut state = seed;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        let mut bill = Bill::default();
        let (mut now, mut attempts, mut workers) = (0, 0, 0);
        for number in 0..3u16 {
            let spec = site(["home", "near", "far"][usize::from(number)], 1.0, number == 2);
            bill.after(now, &Event::Site { site: number, spec }, &[], Idle::Memory);
        }
        let mut expected = 0;
        let mut slots_at = Vec::new();
        for _ in 0..300 {
            let passed = random(50);
            now += passed;
            expected += passed * slots_at.iter().map(|(slots, there)| slots * u64::from(*there)).sum::<u64>();
            let one = AttemptId(random(attempts + 2));
            let event = match random(9) {
                0 => {
                    let (number, slots) = (random(3) as u16, 1 + random(4));
                    workers += 1;
                    slots_at.push((slots, number != 2));
                    joined(workers - 1, number, slots as u32)
                }
                1 if workers > 3 && random(4) == 0 => {
                    let worker = random(u64::from(workers));
                    slots_at[worker as usize].1 = false;
                    Event::Left { worker: WorkerId(worker as u32), why: Departure::Lost }
                }
                2 => Event::Drain { site: random(3) as u16, drain: random(2) == 0 },
                3 | 4 => begun(one.0, random(6) as u32),
                5 | 6 => done(one.0, 100, 100 + random(90)),
                7 => failed(one.0),
                _ => Event::Tick,
            };
            let worker = random(u64::from(workers) + 1) as u32;
            let purpose = [Purpose::Work, Purpose::Copy, Purpose::Audit][random(3) as usize];
            let command = match random(4) {
                0 => Command::Cancel { worker: WorkerId(worker), attempt: AttemptId(random(attempts + 1)) },
                1 => Command::Quarantine { worker: WorkerId(worker) },
                _ => {
                    attempts += 1;
                    start(worker, attempts - 1, random(2) as u32, purpose)
                }
            };
            let open = Idle::ALL[random(11) as usize];
            bill.after(now, &event, &[command], open);
            let account = bill.account(now, &["a".to_owned(), "b".to_owned()]);
            assert!(account.is_whole(), "seed {seed}: {account:#?}");
            let streaming: u64 =
                account.sites.iter().filter(|line| line.site != "far").map(|line| line.core_ms).sum();
            assert_eq!(streaming, expected, "seed {seed}");
        }
    }
}

#[test]
fn bills_of_several_starts_add_up() {
    let line = |sample: Option<&str>, core_ms| WorkLine {
        sample: sample.map(str::to_owned),
        stage: Stage::Map,
        site: "home".to_owned(),
        tasks: 1,
        core_ms,
        cpu_ms: 1,
    };
    let account = |work: Vec<WorkLine>, idle_ms| {
        let work_core_ms = work.iter().map(|line| line.core_ms).sum();
        let all = work_core_ms + idle_ms;
        let idle = IdleLine { cause: Idle::Memory, site: "home".to_owned(), core_ms: idle_ms };
        let site = SiteLine { site: "home".to_owned(), core_ms: all, price: 2.0, ..SiteLine::default() };
        Account {
            allocated_core_ms: all,
            work_core_ms,
            idle_core_ms: idle_ms,
            price: 2.0,
            sites: vec![site],
            work,
            idle: vec![idle],
        }
    };
    let mut sum = account(vec![line(None, 5), line(Some("a"), 7)], 3);
    sum.add(&account(vec![line(Some("a"), 10), line(Some("b"), 1)], 4));
    assert!(sum.is_whole());
    assert_eq!((sum.allocated_core_ms, sum.price), (30, 4.0));
    let named: Vec<_> = sum.work.iter().map(|line| (line.sample.as_deref(), line.core_ms)).collect();
    assert_eq!(named, [(Some("a"), 17), (Some("b"), 1), (None, 5)]);
    assert_eq!(sum.by_cause(Idle::Memory), 7);
}
