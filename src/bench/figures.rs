//! The figures of a scaling benchmark: one row a run, simulated or measured, and the goals they are held against.

use cluster::sim::{Fate, Trace};

/// Where a figure is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Imaginary workers, measured costs.
    Simulated,
    /// A run of this program.
    Measured,
}

/// One run.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Figure {
    /// Simulated or measured.
    pub origin: Origin,
    /// `strong`, `weak`, `tail`, or the name of what goes wrong.
    pub scenario: String,
    /// `wakachi`, or what it is compared with.
    pub scheduler: String,
    /// Samples of the cohort.
    pub samples: u32,
    /// Workers, of one core each.
    pub workers: u32,
    /// From the first worker to the end of the job.
    pub makespan_s: f64,
    /// Core time of the cohort, cut ideally.
    pub work_s: f64,
    /// The larger of work over workers and the longest chain.
    pub bound_s: f64,
    /// The bound that also knows what must come before the first map, and after the last map, region and part of a file.
    pub tight_bound_s: f64,
    /// Work over workers times makespan.
    pub efficiency: f64,
    /// Makespan over the bound.
    pub over_bound: f64,
    /// Makespan over the tighter bound.
    pub over_tight_bound: f64,
    /// When workers had offered as much core time as the work takes.
    pub enough_s: f64,
    /// Core time of committed attempts over core time that was there, at its speed.
    pub usable_used: f64,
    /// Core time whose output did not count, over core time that did.
    pub redone: f64,
    /// Attempts that got a core.
    pub attempts: u64,
    /// CPU time of the scheduler for each attempt, in microseconds; of runs that measured it.
    pub scheduler_us: Option<f64>,
    /// Whether the job ended complete.
    pub complete: bool,
}

/// What a figure is about.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// Simulated or measured.
    pub origin: Origin,
    /// Name of the scenario.
    pub scenario: &'a str,
    /// Name of who schedules.
    pub scheduler: &'a str,
    /// Samples.
    pub samples: u32,
    /// Workers.
    pub workers: u32,
    /// Work of the cohort in microseconds.
    pub work_us: f64,
    /// Its bounds with so many workers, in microseconds.
    pub bounds_us: (f64, f64),
}

impl Figure {
    /// The figures of a run.
    pub fn of(subject: &Subject<'_>, trace: &Trace, scheduler_ns: Option<u64>) -> Self {
        let (makespan_us, (bound_us, tight_us)) = (trace.makespan_us as f64, subject.bounds_us);
        let counted = trace.cpu_us(Fate::Committed) as f64;
        let all: f64 = trace.spans.iter().map(|span| span.cpu_us as f64).sum();
        Figure {
            origin: subject.origin,
            scenario: subject.scenario.to_owned(),
            scheduler: subject.scheduler.to_owned(),
            samples: subject.samples,
            workers: subject.workers,
            makespan_s: makespan_us / 1e6,
            work_s: subject.work_us / 1e6,
            bound_s: bound_us / 1e6,
            tight_bound_s: tight_us / 1e6,
            efficiency: subject.work_us / (f64::from(subject.workers) * makespan_us),
            over_bound: makespan_us / bound_us,
            over_tight_bound: makespan_us / tight_us,
            enough_s: trace.enough_us(subject.work_us) as f64 / 1e6,
            usable_used: trace.use_of_cores(),
            redone: (all - counted) / counted.max(1.0),
            attempts: trace.tasks(),
            scheduler_us: scheduler_ns.map(|ns| ns as f64 / 1e3 / trace.tasks().max(1) as f64),
            complete: trace.ending == Some(scheduler::Ending::Complete),
        }
    }
}

/// A goal and how far it is reached.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Goal {
    /// What.
    pub name: String,
    /// Simulated or measured.
    pub origin: Origin,
    /// What was wanted, in words.
    pub goal: String,
    /// What was wanted beyond it, in words.
    pub stretch: String,
    /// What was found, in words.
    pub found: String,
    /// Whether the goal is reached.
    pub reached: bool,
    /// What is to be known of it.
    pub note: String,
}

/// The figures as comma-separated values.
pub fn csv(figures: &[Figure]) -> String {
    let mut text = String::from(
        "origin,scenario,scheduler,samples,workers,makespan_s,work_s,bound_s,tight_bound_s,efficiency,over_bound,\
         over_tight_bound,usable_used,redone,attempts,scheduler_us,complete,enough_s\n",
    );
    for f in figures {
        let origin = match f.origin {
            Origin::Simulated => "simulated",
            Origin::Measured => "measured",
        };
        let scheduler_us = f.scheduler_us.map_or_else(String::new, |us| format!("{us:.2}"));
        let name = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        text += &format!(
            "{origin},{},{},{},{},{:.3},{:.3},{:.3},{:.3},{:.5},{:.5},{:.5},{:.5},{:.5},{},{scheduler_us},{},{:.3}\n",
            name(&f.scenario),
            name(&f.scheduler),
            f.samples,
            f.workers,
            f.makespan_s,
            f.work_s,
            f.bound_s,
            f.tight_bound_s,
            f.efficiency,
            f.over_bound,
            f.over_tight_bound,
            f.usable_used,
            f.redone,
            f.attempts,
            f.complete,
            f.enough_s,
        );
    }
    text
}
