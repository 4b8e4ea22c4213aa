//! The hold that a worker keeps on a running attempt: where it is, where it is to end, whether anybody needs it.
//!
//! Invariant: a cut leaves off a step that the attempt has not begun and never will, and is made once; both sides see one
//! order of events, because both pass through the same lock.

use crate::engine::Report;
use jobs::task::Task;
use scheduler::AttemptId;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Of strips, which are short, an attempt says no more often where it is.
const SAY_PAUSE: Duration = Duration::from_millis(500);

/// Shared by the worker and the attempt it runs.
#[derive(Debug)]
pub struct Control {
    attempt: AttemptId,
    task: Task,
    reports: Option<Sender<Report>>,
    cancelled: AtomicBool,
    place: Mutex<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    /// The step after the one that is worked on.
    next: u32,
    limit: u32,
    /// When it said where it is.
    said: Instant,
    over: bool,
}

impl Control {
    /// For an attempt that says where it is to `reports`.
    pub fn new(attempt: AttemptId, task: Task, reports: Sender<Report>) -> Self {
        Control { reports: Some(reports), ..Control::alone(attempt, task) }
    }

    /// For an attempt that nobody watches.
    pub fn unwatched(task: Task) -> Self {
        Control::alone(AttemptId(0), task)
    }

    fn alone(attempt: AttemptId, task: Task) -> Self {
        // One step at least is done: a task without any would be nothing.
        let (next, limit) = task.steps().map_or((0, 0), |steps| (steps.start + 1, steps.end));
        let place = Mutex::new(Place { next, limit, said: Instant::now(), over: false });
        Control { attempt, task, reports: None, cancelled: AtomicBool::new(false), place }
    }

    /// The attempt is about to begin this one of its task's steps; `false`: it must not, and what it has is all.
    pub fn reach(&self, step: u32) -> bool {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if step >= place.limit || self.cancelled() {
            return false;
        }
        place.next = step + 1;
        if !matches!(self.task, Task::Map(..)) || place.said.elapsed() >= SAY_PAUSE {
            place.said = Instant::now();
            self.say(Report::Reached { attempt: self.attempt, step });
        }
        true
    }

    /// One past the last step it is to work on.
    pub fn limit(&self) -> u32 {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).limit
    }

    /// Whether nobody needs it any more.
    pub fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Makes it end after the step it works on, and says so; nothing where no step is left after that.
    pub fn cut(&self) {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if !place.over && place.next < place.limit {
            place.limit = place.next;
            self.say(Report::Cut { attempt: self.attempt, task: self.before(place.limit) });
        }
    }

    /// Makes it end before this step, which it has not begun, and says nothing: whoever it concerns was told before.
    pub fn end_before(&self, step: u32) {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        place.limit = step.max(place.next).min(place.limit);
    }

    /// Says that nobody needs it any more.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// The attempt is over and can no longer be cut: the task as it was run.
    pub fn close(&self) -> Task {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        place.over = true;
        self.before(place.limit)
    }

    /// The task as far as this step.
    fn before(&self, limit: u32) -> Task {
        self.task.steps().map_or(self.task, |steps| self.task.over(steps.start..limit))
    }

    fn say(&self, report: Report) {
        if let Some(reports) = &self.reports {
            // Whoever does not listen any more does not need to know.
            let _ = reports.send(report);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::genome::Cell;
    use jobs::task::{Chunk, LaneId, Shard};
    use std::sync::mpsc::channel;
    use std::thread;

    fn shard(first: u32, end: u32) -> Task {
        Task::Region(0, Shard::Cells { first: Cell(first), end: Cell(end) })
    }

    #[test]
    fn a_cut_ends_the_attempt_before_the_next_step_and_is_said_once() {
        let lane = LaneId { sample: 0, lane: 0 };
        for whole in [shard(3, 9), Task::Map(lane, Chunk { index: 2, first: 3, end: 9 })] {
            let (reports, heard) = channel();
            let control = Control::new(AttemptId(7), whole, reports);
            assert!(control.reach(3) && control.reach(4));
            control.cut();
            control.cut();
            assert!(!control.reach(5));
            assert_eq!(control.close(), whole.over(3..5));
            drop(control);
            let cut = |report| match report {
                Report::Cut { task, .. } => Some(task),
                _ => None,
            };
            assert_eq!(heard.iter().filter_map(cut).collect::<Vec<_>>(), [whole.over(3..5)]);
        }
    }

    #[test]
    fn what_is_over_or_at_its_last_cell_is_not_cut() {
        let (reports, heard) = channel();
        let control = Control::new(AttemptId(7), shard(3, 5), reports);
        assert!(control.reach(3) && control.reach(4));
        control.cut();
        assert_eq!(control.close(), shard(3, 5));
        let over = Control::new(AttemptId(8), shard(3, 9), control.reports.clone().unwrap());
        over.close();
        over.cut();
        drop((control, over));
        assert!(heard.iter().all(|report| !matches!(report, Report::Cut { .. })));
    }

    #[test]
    fn what_was_to_end_early_from_the_start_does_and_says_nothing() {
        let (reports, heard) = channel();
        let control = Control::new(AttemptId(7), shard(3, 9), reports);
        control.end_before(5);
        assert_eq!((3..9).take_while(|&cell| control.reach(cell)).count(), 2);
        control.end_before(9);
        assert_eq!(control.close(), shard(3, 5));
        drop(control);
        assert!(heard.iter().all(|report| !matches!(report, Report::Cut { .. })));
    }

    #[test]
    fn a_cut_and_the_attempt_always_agree() {
        for round in 0..200 {
            let (reports, heard) = channel();
            let control = Control::new(AttemptId(round), shard(0, 64), reports);
            let worked = thread::scope(|scope| {
                let worker = scope.spawn(|| (0..64).take_while(|&cell| control.reach(cell)).count());
                control.cut();
                worker.join().unwrap()
            });
            assert_eq!(control.close(), shard(0, worked as u32));
            drop(control);
            let end = heard.iter().find_map(|report| match report {
                Report::Cut { task, .. } => task.steps().map(|steps| steps.end),
                _ => None,
            });
            assert_eq!(end.unwrap_or(64), worked as u32);
        }
    }
}
