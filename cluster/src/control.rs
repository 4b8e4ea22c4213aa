//! The hold that a worker keeps on a running attempt: where it is, where it is to end, whether anybody needs it.
//!
//! Invariant: a cut names a cell that the attempt has not begun and never will, and is made once; both sides see one
//! order of events, because both pass through the same lock.

use crate::engine::Report;
use jobs::genome::Cell;
use jobs::task::{Shard, Task};
use scheduler::AttemptId;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, PoisonError};

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
    /// The cell after the one that is worked on.
    next: Cell,
    limit: Cell,
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
        let (next, limit) = match cells_of(task) {
            // One cell at least is done: a shard without cells would be nothing.
            Some((first, end)) => (Cell(first.0 + 1), end),
            None => (Cell(0), Cell(0)),
        };
        let place = Mutex::new(Place { next, limit, over: false });
        Control { attempt, task, reports: None, cancelled: AtomicBool::new(false), place }
    }

    /// The attempt is about to begin `cell`; `false`: it must not, and what it has is all.
    pub fn reach(&self, cell: Cell) -> bool {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if cell >= place.limit || self.cancelled() {
            return false;
        }
        place.next = Cell(cell.0 + 1);
        self.say(Report::Reached { attempt: self.attempt, cell });
        true
    }

    /// One past the last cell it is to work on.
    pub fn limit(&self) -> Cell {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).limit
    }

    /// Whether nobody needs it any more.
    pub fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Makes it end after the cell it works on, and says so; nothing where no cell is left after that.
    pub fn cut(&self) {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if !place.over && place.next < place.limit {
            place.limit = place.next;
            self.say(Report::Cut { attempt: self.attempt, end: place.limit });
        }
    }

    /// Says that nobody needs it any more.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// The attempt is over and can no longer be cut: the task as it was run.
    pub fn close(&self) -> Task {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        place.over = true;
        match self.task {
            Task::Region(sample, Shard::Cells { first, .. }) => {
                Task::Region(sample, Shard::Cells { first, end: place.limit })
            }
            Task::Joint(Shard::Cells { first, .. }) => Task::Joint(Shard::Cells { first, end: place.limit }),
            task => task,
        }
    }

    fn say(&self, report: Report) {
        if let Some(reports) = &self.reports {
            // Whoever does not listen any more does not need to know.
            let _ = reports.send(report);
        }
    }
}

fn cells_of(task: Task) -> Option<(Cell, Cell)> {
    match task {
        Task::Region(_, Shard::Cells { first, end }) | Task::Joint(Shard::Cells { first, end }) => {
            Some((first, end))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::thread;

    fn shard(first: u32, end: u32) -> Task {
        Task::Region(0, Shard::Cells { first: Cell(first), end: Cell(end) })
    }

    #[test]
    fn a_cut_ends_the_attempt_before_the_next_cell_and_is_said_once() {
        let (reports, heard) = channel();
        let control = Control::new(AttemptId(7), shard(3, 9), reports);
        assert!(control.reach(Cell(3)) && control.reach(Cell(4)));
        control.cut();
        control.cut();
        assert!(!control.reach(Cell(5)));
        assert_eq!(control.close(), shard(3, 5));
        drop(control);
        let cuts = heard.iter().filter(|report| matches!(report, Report::Cut { end: Cell(5), .. }));
        assert_eq!(cuts.count(), 1);
    }

    #[test]
    fn what_is_over_or_at_its_last_cell_is_not_cut() {
        let (reports, heard) = channel();
        let control = Control::new(AttemptId(7), shard(3, 5), reports);
        assert!(control.reach(Cell(3)) && control.reach(Cell(4)));
        control.cut();
        assert_eq!(control.close(), shard(3, 5));
        let over = Control::new(AttemptId(8), shard(3, 9), control.reports.clone().unwrap());
        over.close();
        over.cut();
        drop((control, over));
        assert!(heard.iter().all(|report| !matches!(report, Report::Cut { .. })));
    }

    #[test]
    fn a_cut_and_the_attempt_always_agree() {
        for round in 0..200 {
            let (reports, heard) = channel();
            let control = Control::new(AttemptId(round), shard(0, 64), reports);
            let worked = thread::scope(|scope| {
                let worker = scope.spawn(|| (0..64).take_while(|&cell| control.reach(Cell(cell))).count());
                control.cut();
                worker.join().unwrap()
            });
            assert_eq!(control.close(), shard(0, worked as u32));
            drop(control);
            let end = heard.iter().find_map(|report| match report {
                Report::Cut { end, .. } => Some(end.0),
                _ => None,
            });
            assert_eq!(end.unwrap_or(64), worked as u32);
        }
    }
}
