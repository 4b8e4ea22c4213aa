//! The engines of a job: who runs its tasks, by the name that the user gives.

use super::burst::Burst;
use super::mpi::{self, Team};
use super::office::Desk;
use super::runner::Runner;
use crate::slurm::wave::{Shape, WaveEngine, Waves};
use cluster::local::Local;
use cluster::tes::TesEngine;
use cluster::{Drive, Engine, Observer, Outcome, Report, drive};
use jobs::config::Limits;
use jobs::failure::Failure;
use jobs::task::Stage;
use scheduler::{BundleLimits, Scheduler, SiteSpec, WorkerId, WorkerSpec};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use storage::Journal;

/// From a wave's submission to its start, about.
const ARRAY_LATENCY_MS: u64 = 60_000;

/// What starts processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum EngineName {
    /// Threads of this process
    #[default]
    Local,
    /// The ranks that mpirun or srun started
    Mpi,
    /// Bundles as tasks of a GA4GH TES service; what needs this machine's files stays here
    Tes,
    /// Bundles as arrays of Slurm, wave after wave; wakachi submit --array starts it
    #[value(hide = true)]
    SlurmArray,
}

/// What is used beside the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum BurstName {
    /// Bundles as tasks of a GA4GH TES service
    Tes,
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
    /// Who works.
    pub means: Means<'a>,
    /// Set when the job is to stop.
    pub stop: &'a AtomicBool,
}

/// What a job may use: this machine, and what stands beside it.
pub struct Means<'a> {
    /// What this machine gives.
    pub limits: Limits,
    /// Where work may go beside this machine.
    pub burst: Option<&'a Burst>,
    /// The waves between which this process stands.
    pub waves: Option<&'a Waves<'a>>,
    /// The other ranks, where there are any.
    pub team: Option<Team>,
}

/// Runs the job to its end.
pub fn run(engine: EngineName, mut wiring: Wiring<'_>) -> Result<Outcome, Failure> {
    match (engine, wiring.means.team.take()) {
        (EngineName::Mpi, Some(team)) => mpi::lead(team, wiring),
        // A rank that is alone in its world is a process like any other.
        (EngineName::Local | EngineName::Mpi, _) => local(wiring, [true; Stage::ALL.len()]),
        (EngineName::Tes, _) => {
            // What may go stays here only where it must: intake and model read whole files, the last stages write them.
            let away = wiring.means.burst.map(|burst| burst.spec(wiring.runner)).transpose()?;
            let away = away.filter(|spec| spec.allowed.iter().all(|&allowed| allowed));
            let stages = away.map_or([true; Stage::ALL.len()], |spec| spec.stages.map(|taken| !taken));
            local(wiring, stages)
        }
        (EngineName::SlurmArray, _) => {
            let stages =
                wiring.means.waves.map_or([true; Stage::ALL.len()], |waves| waves.stages.map(|out| !out));
            local(wiring, stages)
        }
    }
}

/// Threads of this process for these stages, and the burst site if there is one.
fn local(wiring: Wiring<'_>, stages: [bool; Stage::ALL.len()]) -> Result<Outcome, Failure> {
    let Wiring { scheduler, journal, desk, runner, observer, means, stop } = wiring;
    let Means { limits, burst, waves, .. } = means;
    let (reports, heard): (Sender<Report>, Receiver<Report>) = channel();
    let mut sites = vec![SiteSpec { stages, ..here(runner, scheduler) }];
    let freight = burst.map(|burst| burst.freight(runner, desk.leases));
    thread::scope(|scope| {
        let mut engines: Vec<Box<dyn Engine + '_>> = Vec::new();
        let away = match (burst, &freight) {
            (Some(burst), Some(freight)) => {
                let settings = burst.settings(runner, journal.fence(), (1, 1))?;
                sites.push(burst.spec(runner)?);
                Some(TesEngine::start(scope, settings, freight, reports.clone())?)
            }
            _ => None,
        };
        let wave = match waves {
            Some(waves) => {
                sites.push(in_waves(runner, scheduler, waves));
                let (slots, memory_bytes) = (limits.threads, limits.memory_bytes);
                let spec = WorkerSpec { site: 1, slots, memory_bytes, name: String::new() };
                Some(WaveEngine::start(waves, 1, &spec, reports.clone(), stop)?)
            }
            None => None,
        };
        let spec = WorkerSpec {
            site: 0,
            slots: limits.threads,
            memory_bytes: limits.memory_bytes,
            name: "local".to_owned(),
        };
        engines.push(Box::new(Local::start(scope, runner, WorkerId::new(0, 0), spec, reports)));
        engines.extend(away.map(|away| Box::new(away) as Box<dyn Engine + '_>));
        engines.extend(wave.map(|wave| Box::new(wave) as Box<dyn Engine + '_>));
        drive(Drive {
            scheduler,
            journal,
            office: desk,
            observer,
            sites,
            engines,
            home: None,
            reports: heard,
            stop,
        })
    })
}

/// The nodes of arrays, which share this process's filesystem.
fn in_waves(runner: &Runner<'_>, scheduler: &Scheduler, waves: &Waves<'_>) -> SiteSpec {
    let Shape { elements_max, bundle_minutes, .. } = waves.shape;
    SiteSpec {
        latency_ms: ARRAY_LATENCY_MS,
        bundles: Some(BundleLimits { bundles_max: elements_max, bundle_ms: bundle_minutes * 60_000 }),
        stages: waves.stages,
        ..here(runner, scheduler)
    }
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
