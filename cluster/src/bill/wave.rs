//! The bill of bundles that ran while nobody drove the job: the elements of an array, by their receipts.
//!
//! Invariant: as of every bill; what came to nothing is paid for too.

use super::{Account, Bill, Idle};
use crate::engine::Spending;
use jobs::failure::Class;
use jobs::task::Task;
use scheduler::{
    AttemptId, Command, Departure, Event, Facts, Purpose, SiteSpec, Usage, WorkerId, WorkerSpec,
};
use std::collections::BTreeMap;

/// A bundle that has run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// Its cores.
    pub cores: u32,
    /// Its attempts: what was done, why, whether anything came of it, and what it took.
    pub attempts: Vec<(Task, Purpose, bool, Usage)>,
    /// Core time in milliseconds that it says went into no attempt.
    pub spent_core_ms: BTreeMap<Spending, u64>,
    /// Core time in milliseconds of a bundle that said nothing.
    pub lost_core_ms: u64,
}

/// The bill of these bundles at one site; `samples` are the names by number.
pub fn of_bundles(site: &SiteSpec, bundles: &[Ran], samples: &[String]) -> Account {
    let mut bill = Bill::default();
    // Time stands still: bundles are paid for by their own clocks.
    let mut tell = |event, commands: &[Command]| bill.after(0, &event, commands, Idle::NoReadyTask);
    tell(Event::Site { site: 0, spec: site.clone() }, &[]);
    let mut attempts = (0..).map(AttemptId);
    for (number, ran) in (0..).zip(bundles) {
        let (worker, name) = (WorkerId(number), String::new());
        let spec = WorkerSpec { site: 0, slots: ran.cores, memory_bytes: 0, name };
        tell(Event::Joined { worker, spec }, &[]);
        for (&(task, purpose, counts, usage), attempt) in ran.attempts.iter().zip(&mut attempts) {
            tell(Event::Tick, &[Command::Start { worker, attempt, task, purpose }]);
            tell(ended(attempt, counts, usage), &[]);
        }
    }
    for (number, ran) in (0..).zip(bundles) {
        let worker = WorkerId(number);
        ran.spent_core_ms.iter().for_each(|(&cause, &core_ms)| bill.spent(0, worker, cause, core_ms));
        bill.after(0, &Event::Left { worker, why: Departure::Ended }, &[], Idle::NoReadyTask);
        bill.lose(0, ran.lost_core_ms);
    }
    bill.account(0, samples)
}

fn ended(attempt: AttemptId, counts: bool, usage: Usage) -> Event {
    match counts {
        true => Event::Done { attempt, facts: Facts::default(), usage },
        false => Event::Failed { attempt, class: Class::Failed, exhausted: None, damaged: None, usage },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::task::{Chunk, LaneId, Stage};
    use scheduler::BundleLimits;

    #[test]
    fn a_wave_is_paid_for_by_its_receipts_and_what_came_to_nothing_is_lost() {
        let map = |chunk| Task::Map(LaneId { sample: 0, lane: 0 }, Chunk::whole(chunk));
        let usage =
            |started_ms, finished_ms| Usage { cpu_ms: 900, started_ms, finished_ms, ..Usage::default() };
        let spoke = Ran {
            cores: 2,
            attempts: vec![
                (map(0), Purpose::Work, true, usage(1000, 2000)),
                (map(1), Purpose::Audit, true, usage(1000, 1800)),
                (map(2), Purpose::Work, false, usage(2000, 2500)),
            ],
            spent_core_ms: BTreeMap::from([(Spending::Start, 70), (Spending::Transfer, 30)]),
            lost_core_ms: 0,
        };
        let silent = Ran { lost_core_ms: 4000, ..Ran::default() };
        let site = SiteSpec {
            name: "here".to_owned(),
            price_core_hour: 3.6,
            latency_ms: 0,
            bytes_per_second: None,
            bundles: Some(BundleLimits { bundles_max: 1, bundle_ms: 1 }),
            allowed: Vec::new(),
            stages: [true; 7],
        };
        let account = of_bundles(&site, &[spoke, silent], &["A".to_owned()]);
        assert!(account.is_whole(), "{account:?}");
        // Two cores from the first start to the last end, what was spent beside, and what was lost.
        assert_eq!(account.allocated_core_ms, 2 * 1500 + 100 + 4000);
        assert_eq!((account.by_stage(Stage::Map), account.work[0].tasks), (1000, 1));
        let causes = [Idle::Audit, Idle::Lost, Idle::StartUp, Idle::Transfer, Idle::NoReadyTask];
        assert_eq!(causes.map(|cause| account.by_cause(cause)), [800, 500 + 4000, 70, 30, 700]);
        assert!((account.price - 0.0071).abs() < 1e-9, "{}", account.price);
    }
}
