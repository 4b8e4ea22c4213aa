//! The engines of a job: who runs its tasks, by the name that the user gives.

use super::mpi::{self, Team};
use super::office::Desk;
use super::runner::Runner;
use cluster::local::Local;
use cluster::{Drive, Observer, Outcome, Report, drive};
use jobs::config::Limits;
use jobs::failure::Failure;
use jobs::task::Stage;
use scheduler::{Scheduler, SiteSpec, WorkerId, WorkerSpec};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use storage::Journal;

/// What starts processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum EngineName {
    /// Threads of this process
    #[default]
    Local,
    /// The ranks that mpirun or srun started
    Mpi,
}

/// Everything that the engines of a job are wired to.
pub struct Wiring<'a> {
    /// Decides.
    pub scheduler: &'a mut Scheduler,
    /// What is done.
    pub journal: &'a Journal,
    /// Leases and checks.
    pub desk: &'a Desk<'a>,
    /// Runs tasks in this process.
    pub runner: &'a Runner<'a>,
    /// Watches.
    pub observer: &'a mut dyn Observer,
    /// What this machine gives.
    pub limits: Limits,
    /// Set when the job is to stop.
    pub stop: &'a AtomicBool,
    /// The other ranks, where there are any.
    pub team: Option<Team>,
}

/// Runs the job to its end.
pub fn run(engine: EngineName, mut wiring: Wiring<'_>) -> Result<Outcome, Failure> {
    match (engine, wiring.team.take()) {
        (EngineName::Mpi, Some(team)) => mpi::lead(team, wiring),
        // A rank that is alone in its world is a process like any other.
        (EngineName::Local | EngineName::Mpi, _) => local(wiring),
    }
}

fn local(wiring: Wiring<'_>) -> Result<Outcome, Failure> {
    let Wiring { scheduler, journal, desk, runner, observer, limits, stop, .. } = wiring;
    let (reports, heard): (Sender<Report>, Receiver<Report>) = channel();
    let site = here(runner, scheduler);
    thread::scope(|scope| {
        let spec = WorkerSpec {
            site: 0,
            slots: limits.threads,
            memory_bytes: limits.memory_bytes,
            name: "local".to_owned(),
        };
        let engine = Local::start(scope, runner, WorkerId::new(0, 0), spec, reports);
        drive(Drive {
            scheduler,
            journal,
            office: desk,
            observer,
            sites: vec![site],
            engines: vec![Box::new(engine)],
            home: None,
            reports: heard,
            stop,
        })
    })
}

/// The site where this process stands; whoever was admitted may be here.
pub fn here(runner: &Runner<'_>, scheduler: &Scheduler) -> SiteSpec {
    SiteSpec {
        name: runner.gate.site().to_owned(),
        price_core_hour: 0.0,
        latency_ms: 0,
        bytes_per_second: None,
        bundles: None,
        allowed: vec![true; scheduler.plan().samples.len()],
        stages: [true; Stage::ALL.len()],
    }
}
