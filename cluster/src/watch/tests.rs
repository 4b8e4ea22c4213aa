//! What is kept of events, without a scheduler.

use super::*;
use jobs::task::Shard;
use scheduler::{SiteSpec, Usage, WorkerSpec};

fn watch() -> Watch {
    let names = Names { job: "j".to_owned(), samples: vec!["a".to_owned()], contigs: Vec::new() };
    let mut watch = Watch::new(names, 1_000_000, Account::default());
    let spec = SiteSpec {
        name: "home".to_owned(),
        price_core_hour: 0.0,
        latency_ms: 0,
        bytes_per_second: None,
        bundles: None,
        allowed: vec![true],
        stages: [true; 7],
    };
    watch.after(0, &Event::Site { site: 0, spec }, &[]);
    let spec = WorkerSpec { site: 0, slots: 1, memory_bytes: 0, name: "w".to_owned() };
    watch.after(0, &Event::Joined { worker: WorkerId(0), spec }, &[]);
    watch
}

fn run(watch: &mut Watch, number: u64, from: u64, to: u64) {
    let (worker, attempt) = (WorkerId(0), AttemptId(number));
    let task = Task::Region(0, Shard::Cells { first: Cell(4), end: Cell(9) });
    let start = Command::Start { worker, attempt, task, purpose: Purpose::Work };
    watch.after(from, &Event::Tick, &[start]);
    watch.after(from, &Event::Started { attempt, slot: 0 }, &[]);
    watch.after(from, &Event::Cut { attempt, task: task.over(4..6) }, &[]);
    let usage = Usage { started_ms: from, finished_ms: to, ..Usage::default() };
    watch.after(to, &Event::Done { attempt, facts: Facts::default(), usage }, &[]);
}

#[test]
fn what_was_cut_off_is_not_counted() {
    let mut watch = watch();
    run(&mut watch, 1, 100, 900);
    let rate = watch.rate(2000);
    assert_eq!(rate.bases_per_s, f64::from(CELL_BASES));
    assert_eq!(rate.tasks_per_s, 0.5);
    let drawn = watch.lanes.drawn();
    assert_eq!(drawn.lanes[0].spans[0].task, "region/a/4-6");
    assert_eq!(drawn.lanes[0].spans[0].start_ms, 1_000_100);
    assert!(watch.account(2000).is_whole());
    assert_eq!(watch.account(2000).work_core_ms, 800);
}

#[test]
fn the_history_stays_short_and_keeps_every_task() {
    let mut watch = watch();
    for number in 0..500 {
        run(&mut watch, number, number * 1000, number * 1000 + 900);
    }
    let rate = watch.rate(500_000);
    assert!((HISTORY_MAX / 2 - 1..HISTORY_MAX).contains(&rate.history.len()), "{}", rate.history.len());
    assert_eq!(watch.history.iter().map(|point| point.tasks).sum::<u64>(), 500);
    assert!(rate.history.iter().all(|point| point.ms == 8000 && point.tasks == 8));
    assert!((0.9..=1.1).contains(&rate.tasks_per_s));
}

#[test]
fn what_a_lost_worker_ran_is_drawn_as_lost() {
    let mut watch = watch();
    let (worker, attempt) = (WorkerId(0), AttemptId(1));
    let start = Command::Start { worker, attempt, task: Task::FinishSample(0), purpose: Purpose::Work };
    watch.after(0, &Event::Tick, &[start]);
    watch.after(0, &Event::Started { attempt, slot: 0 }, &[]);
    watch.after(50, &Event::Left { worker, why: scheduler::Departure::Lost }, &[]);
    let drawn = watch.lanes.drawn();
    assert!(!drawn.lanes[0].spans[0].counts);
    assert_eq!(watch.account(90).by_cause(Idle::Lost), 50);
}
