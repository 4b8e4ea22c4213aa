//! What an imagined (or real) run did: every attempt on its worker's slot, and what became of it.

use super::costs::Kind;
use jobs::task::Task;
use scheduler::Ending;

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Its output counts.
    Committed,
    /// Its output counted until it was forgotten: its maker is not trusted, or it was damaged.
    Forgotten,
    /// It repeated a task for comparison.
    Audited,
    /// Another attempt at the task was first.
    Beaten,
    /// Nobody needed it any more.
    Cancelled,
    /// It ended with an error.
    Failed,
    /// Its worker was lost, or the coordinator was.
    Lost,
}

/// An attempt.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Ordinal of the worker.
    pub worker: u32,
    /// Its slot.
    pub slot: u32,
    /// What it did.
    pub task: Task,
    /// When it got the core.
    pub began_us: u64,
    /// When it gave it back.
    pub ended_us: u64,
    /// CPU time on a core of speed 1.
    pub cpu_us: u64,
    /// What became of it.
    pub fate: Fate,
}

impl Span {
    /// The kind of its task.
    pub fn kind(&self) -> Kind {
        Kind::of(self.task)
    }

    /// Time on the core.
    pub fn wall_us(&self) -> u64 {
        self.ended_us - self.began_us
    }
}

/// Presence of a worker.
#[derive(Clone, Copy, Debug)]
pub struct Presence {
    /// Cores.
    pub slots: u32,
    /// Speed; 1 is usual.
    pub speed: f64,
    /// When it came.
    pub from_us: u64,
    /// When it went; for those who stayed, the end of the job.
    pub to_us: u64,
}

/// A run.
#[derive(Clone, Debug)]
pub struct Trace {
    /// Attempts in the order of their ends.
    pub spans: Vec<Span>,
    /// Workers by ordinal.
    pub workers: Vec<Presence>,
    /// When the job ended.
    pub makespan_us: u64,
    /// How; `None` if it never did.
    pub ending: Option<Ending>,
    /// Events that the scheduler was told.
    pub events: u64,
}

impl Trace {
    /// CPU time by fate, in microseconds.
    pub fn cpu_us(&self, fate: Fate) -> u64 {
        self.spans.iter().filter(|span| span.fate == fate).map(|span| span.cpu_us).sum()
    }

    /// Attempts that got a core.
    pub fn tasks(&self) -> u64 {
        self.spans.len() as u64
    }

    /// Core time that workers offered while they were there, at their speed, in microseconds.
    pub fn usable_us(&self) -> f64 {
        self.usable_until(self.makespan_us)
    }

    fn usable_until(&self, end_us: u64) -> f64 {
        let span = |worker: &Presence| worker.to_us.min(end_us).saturating_sub(worker.from_us) as f64;
        self.workers.iter().map(|worker| span(worker) * f64::from(worker.slots) * worker.speed).sum()
    }

    /// When workers had offered so many microseconds of core time: nobody can have done the work sooner.
    pub fn enough_us(&self, work_us: f64) -> u64 {
        let (mut low, mut high) = (0, self.makespan_us);
        while low < high {
            let middle = low.midpoint(high);
            if self.usable_until(middle) < work_us { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Useful CPU time over usable core time.
    pub fn use_of_cores(&self) -> f64 {
        self.cpu_us(Fate::Committed) as f64 / self.usable_us().max(1.0)
    }

    /// Share of usable cores that computed, in `steps` equal parts of the makespan: (useful, wasted).
    pub fn utilisation(&self, steps: usize) -> Vec<(f64, f64)> {
        let step = (self.makespan_us as f64 / steps as f64).max(1.0);
        let mut sums = vec![(0.0, 0.0, 0.0); steps];
        let mut add = |from: u64, to: u64, weight: f64, pick: fn(&mut (f64, f64, f64)) -> &mut f64| {
            let (from, to) = (from as f64, to.min(self.makespan_us) as f64);
            let mut index = (from / step) as usize;
            while index < steps && (index as f64) * step < to {
                let begin = from.max(index as f64 * step);
                let end = to.min((index + 1) as f64 * step);
                *pick(&mut sums[index]) += (end - begin).max(0.0) * weight;
                index += 1;
            }
        };
        for worker in &self.workers {
            add(worker.from_us, worker.to_us, f64::from(worker.slots) * worker.speed, |sum| &mut sum.2);
        }
        for span in &self.spans {
            let density = span.cpu_us as f64 / span.wall_us().max(1) as f64;
            let pick: fn(&mut (f64, f64, f64)) -> &mut f64 = match span.fate {
                Fate::Committed => |sum| &mut sum.0,
                _ => |sum| &mut sum.1,
            };
            add(span.began_us, span.ended_us, density, pick);
        }
        sums.into_iter()
            .map(|(useful, wasted, usable)| (useful / f64::max(usable, 1.0), wasted / f64::max(usable, 1.0)))
            .collect()
    }

    /// When each worker that stayed last gave back a core, as shares of the makespan before its end, largest first.
    pub fn tail(&self) -> Vec<f64> {
        let mut last = vec![0; self.workers.len()];
        for span in &self.spans {
            let last = &mut last[span.worker as usize];
            *last = span.ended_us.max(*last);
        }
        let stayed = self.workers.iter().zip(&last).filter(|(worker, _)| worker.to_us >= self.makespan_us);
        let idle = |last: u64| (self.makespan_us - last.min(self.makespan_us)) as f64;
        let mut shares: Vec<f64> =
            stayed.map(|(_, &last)| idle(last) / self.makespan_us.max(1) as f64).collect();
        shares.sort_by(|a, b| b.total_cmp(a));
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_offered_by_who_is_there_at_their_speed() {
        let worker = |from_us, to_us, speed| Presence { slots: 2, speed, from_us, to_us };
        let workers = vec![worker(0, 100, 1.0), worker(50, 1000, 0.5)];
        let trace = Trace { spans: Vec::new(), workers, makespan_us: 1000, ending: None, events: 0 };
        // Two cores until 50, then three cores' worth until 100, then one.
        for (work_us, expect) in [(0.0, 0), (100.0, 50), (160.0, 70), (250.0, 100), (260.0, 110)] {
            assert_eq!(trace.enough_us(work_us), expect, "{work_us}");
        }
        assert_eq!(trace.enough_us(1e9), 1000, "it was never offered");
        assert_eq!(trace.usable_us(), 1150.0);
    }
}
