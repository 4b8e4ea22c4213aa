//! What the scheduler itself costs: a large cohort on thousands of workers, nothing but the scheduler running.
//! `TASKS=1000000 cargo test --release -p wakachi-scheduler load -- --nocapture` measures a million tasks.

use crate::world::{GIB, plan, site};
use jobs::genome::Cell;
use jobs::task::{INTAKE_CHUNKS, Task};
use scheduler::{
    Command, Ending, Event, Facts, MemoryModel, Options, Scheduler, Usage, WorkerId, WorkerSpec,
};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// Resident memory of this process, where the system says it.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

#[test]
fn a_large_job_costs_microseconds_a_task() {
    const CHUNKS: u32 = 1000;
    let tasks: usize = std::env::var("TASKS").ok().and_then(|tasks| tasks.parse().ok()).unwrap_or(40_000);
    let samples = (tasks / 2000).max(1);
    let before = resident_bytes();
    let mut plan = plan(&vec![(1, true); samples], 24_000);
    plan.samples.iter_mut().for_each(|sample| sample.pairs = 500_000_000);
    plan.chunk_pairs = 500_000;
    plan.shard_cells_max = 24;
    plan.memory = MemoryModel { fixed_bytes: GIB, task_bytes: [GIB; 7] };
    let mut scheduler = Scheduler::new(plan, Options::default());
    let workers = 2000;
    let mut spent = Duration::ZERO;
    let mut queue = BinaryHeap::new();
    let mut started = 0u64;
    let mut ending = None;
    let mut tell = |now_ms: u64, event: Event, queue: &mut BinaryHeap<Reverse<(u64, _, Task)>>| {
        let begun = Instant::now();
        let commands = scheduler.handle(now_ms, event);
        spent += begun.elapsed();
        let mut new = Vec::new();
        for command in commands {
            match command {
                Command::Start { attempt, task, .. } => {
                    started += 1;
                    let ms = 5_000 + (attempt.0 * 7919) % 10_000;
                    queue.push(Reverse((now_ms + ms, attempt, task)));
                    new.push(attempt);
                }
                Command::End(end) => ending = Some(end),
                _ => {}
            }
        }
        for attempt in new {
            let begun = Instant::now();
            let commands = scheduler.handle(now_ms, Event::Started { attempt, slot: 0 });
            spent += begun.elapsed();
            assert!(commands.is_empty());
        }
        ending
    };
    tell(0, Event::Site { site: 0, spec: site(samples) }, &mut queue);
    for worker in 0..workers {
        let spec = WorkerSpec { site: 0, slots: 16, memory_bytes: 64 * GIB, name: String::new() };
        tell(0, Event::Joined { worker: WorkerId::new(0, worker), spec }, &mut queue);
    }
    tell(0, Event::Begin, &mut queue);
    let (mut ticked, mut most) = (0, 0);
    let ending = loop {
        let Some(Reverse((now_ms, attempt, task))) = queue.pop() else { panic!("it stands still") };
        if now_ms > ticked + 1000 {
            ticked = now_ms;
            tell(now_ms, Event::Tick, &mut queue);
            most = most.max(resident_bytes());
        }
        let facts = Facts {
            chunks: match task {
                Task::Intake(_, part) => ((part + 1) * INTAKE_CHUNKS >= CHUNKS).then_some(CHUNKS),
                _ => None,
            },
            pairs: match task {
                Task::Intake(_, part) => Some(500_000 * u64::from(INTAKE_CHUNKS) * u64::from(part + 1)),
                _ => None,
            },
            weights: match task {
                Task::Map(_, chunk) if chunk.index < 4 => (0..24_000).map(|cell| (Cell(cell), 40)).collect(),
                _ => Vec::new(),
            },
            content: Some([1; 32]),
        };
        let usage = Usage { finished_ms: 1000, ..Usage::default() };
        if let Some(ending) = tell(now_ms, Event::Done { attempt, facts, usage }, &mut queue) {
            break ending;
        }
    };
    assert_eq!(ending, Ending::Complete);
    println!(
        "{started} tasks, {workers} workers: {:.2} us a task, {} bytes a task",
        spent.as_secs_f64() * 1e6 / started as f64,
        most.saturating_sub(before) / started
    );
}
