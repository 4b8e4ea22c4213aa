//! `wakachi run --engine mpi`: the command as one rank of an MPI world.
//!
//! Invariant: rank 0 opens the job as every other engine's process does, and is the only one that speaks. It says
//! everything before it ends the world: a launcher may end all ranks as soon as one exits with an error.

// Without the feature nobody enters a world, and what comes after is there to be compiled only.
#![cfg_attr(not(feature = "mpi"), allow(unreachable_code, unused_variables))]

mod machine;
mod rank;

use super::Args;
use super::engines::{Wiring, here};
use crate::output::{complain, note};
use crate::{config, interrupt};
use cluster::local::Local;
use cluster::mpi::leader::{Listener, MpiEngine, Terms, muster};
use cluster::mpi::pulse::PATIENCE;
use cluster::mpi::seat::{Seat, seats};
use cluster::mpi::wire::Hello;
use cluster::mpi::world::World;
use cluster::mpi::{Dispatch, MpiError, Port};
use cluster::tes::TesEngine;
use cluster::{Drive, Engine, Outcome, Pool, drive};
use jobs::config::{Config, Limits, Origin};
use jobs::failure::{Class, Classified, Failure};
use rank::Calling;
use scheduler::{SiteSpec, WorkerId, WorkerSpec};
use std::process::exit;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// The key of the configuration that says after how many seconds a rank that is not heard is given up.
const SILENCE: &str = "engine.mpi.silence_s";

/// What an order takes to a rank that has rested, there and back, in milliseconds.
const LATENCY_MS: u64 = 10;

/// Tasks at once that only rank 0 can run: the cohort's last ones.
const HOME_SLOTS: u32 = 1;

/// A wrong value of [`SILENCE`].
#[derive(Debug, thiserror::Error)]
#[error("{origin}: {SILENCE} = {value}; expected whole seconds, 3 to 86400")]
struct WrongSilence {
    origin: String,
    value: String,
}

impl Classified for WrongSilence {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        Some("wakachi config show".to_owned())
    }
}

/// The other ranks, before they are called to the job.
pub struct Team {
    port: Port,
    hellos: Vec<Hello>,
    seats: Vec<Seat>,
}

/// Runs the command as the rank that this process is. Returns on rank 0 only, and there only after success.
pub fn run(args: &Args, open: impl FnOnce(Option<Team>) -> Result<(), Failure>) -> Result<(), Failure> {
    let world = match World::enter() {
        Ok(world) => world,
        // One of them says it for all.
        Err(error @ MpiError::Alone { rank: 1.., .. }) => exit(error.class().exit_code().into()),
        Err(error) => return Err(error.into()),
    };
    let hello = machine::hello(&world, config::load(&args.limits.asked(Some(&args.cohort))).ok().as_ref());
    if world.rank() > 0 {
        exit(rank::run(args, world, &hello).into());
    }
    let several = world.size() > 1;
    let (port, ending) = world.split();
    let done = match several {
        true => Team::muster(port, hello).map_err(Failure::from).and_then(|team| open(Some(team))),
        false => open(None),
    };
    if let Err(failure) = done {
        complain(&failure);
        let code = failure.class().exit_code();
        ending.end(code);
        exit(code.into());
    }
    ending.end(0);
    Ok(())
}

impl Team {
    fn muster(port: Port, own: Hello) -> Result<Self, MpiError> {
        let hellos = muster(&port.arrivals, own, PATIENCE)?;
        Ok(Team { port, seats: seats(&hellos, None, None), hellos })
    }

    /// Deals out seats as the configuration says; the limits of the smallest seat, which every task must fit.
    pub fn settle(&mut self, config: &Config) -> Result<Limits, Failure> {
        let said =
            |key: &str| config.resolved.iter().any(|one| one.key == key && one.origin != Origin::Default);
        let threads = said("limits.threads").then_some(config.limits.threads);
        let memory_bytes = said("limits.memory").then_some(config.limits.memory_bytes);
        self.seats = seats(&self.hellos, threads, memory_bytes);
        self.port.link.ask(Dispatch::Patience(patience(config)?));
        let working = self.seats.iter().filter(|seat| seat.slots > 0);
        let smallest = working.map(|seat| seat.memory_bytes).min().unwrap_or(config.limits.memory_bytes);
        Ok(Limits { memory_bytes: smallest, ..config.limits })
    }

    /// For people: how many there are, and what they use.
    fn describe(&self) -> String {
        let nodes =
            self.hellos.iter().enumerate().filter(|(rank, hello)| hello.node as usize == *rank).count();
        let slots: u32 = self.seats.iter().map(|seat| seat.slots).sum();
        let working = self.seats.iter().filter(|seat| seat.slots > 0).count();
        format!("mpi: {} ranks on {nodes} nodes; {working} work, on {slots} cores", self.hellos.len())
    }
}

/// For how long a rank may be silent.
fn patience(config: &Config) -> Result<Duration, WrongSilence> {
    let Some(one) = config.resolved.iter().find(|one| one.key == SILENCE) else { return Ok(PATIENCE) };
    match one.value.parse::<u64>() {
        Ok(seconds @ 3..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err(WrongSilence { origin: one.origin.to_string(), value: one.value.clone() }),
    }
}

/// Who hears the ranks beside their reports: the user, and the flag that stops the job.
struct Ears;

impl Listener for Ears {
    fn say(&self, line: &str) {
        note(line);
    }

    fn stop(&self, _soon: bool) {
        if !interrupt::flag().swap(true, Ordering::SeqCst) {
            note("stopping: a rank was asked to by a signal");
        }
    }
}

/// Runs the job to its end, on the ranks of `team`.
pub fn lead(team: Team, wiring: Wiring<'_>) -> Result<Outcome, Failure> {
    let Wiring { scheduler, journal, desk, runner, observer, means, stop } = wiring;
    note(&team.describe());
    let calling = Calling::of(runner, journal)?;
    let Team { port, hellos, seats } = team;
    let (own, name) = (seats[0], format!("{}/0", hellos[0].host));
    let (reports, heard) = channel();
    let site = SiteSpec { latency_ms: LATENCY_MS, ..here(runner, scheduler) };
    let terms = Terms { engine: 0, site: 0, job: calling.encode(), seats, others: own.slots > 0 };
    let mut sites = vec![site];
    let freight = means.burst.map(|burst| burst.freight(runner, desk.leases));
    thread::scope(|scope| {
        let away = match (means.burst, &freight) {
            (Some(burst), Some(freight)) => {
                let number = 1 + u8::from(own.slots > 0);
                let settings = burst.settings(runner, journal.fence(), (number, 1))?;
                sites.push(burst.spec(runner)?);
                Some(TesEngine::start(scope, settings, freight, reports.clone())?)
            }
            _ => None,
        };
        let ranks = MpiEngine::start(port, hellos, &terms, reports.clone(), Ears)?;
        let home = Pool::start(scope, runner, HOME_SLOTS, reports.clone());
        let mut engines: Vec<Box<dyn Engine + '_>> = vec![Box::new(ranks)];
        if own.slots > 0 {
            let spec = WorkerSpec { site: 0, slots: own.slots, memory_bytes: own.memory_bytes, name };
            engines.push(Box::new(Local::start(scope, runner, WorkerId::new(1, 0), spec, reports)));
        }
        engines.extend(away.map(|away| Box::new(away) as Box<dyn Engine + '_>));
        drive(Drive {
            scheduler,
            journal,
            office: desk,
            observer,
            sites,
            engines,
            home: Some(home),
            reports: heard,
            stop,
        })
    })
}
