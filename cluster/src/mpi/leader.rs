//! Rank 0: musters the ranks, tells them the job, and is the engine through which the driver reaches them.
//!
//! Invariant: what a rank says after it was given up is not heard. Reports of one rank reach the driver in the order in
//! which it said them. Knows neither MPI nor what a job is.

use super::seat::Seat;
use super::wire::{Hello, Message};
use super::{Arrival, Link, MpiError, Port};
use crate::engine::{Engine, Order, Report};
use jobs::failure::Failure;
use scheduler::{Departure, WorkerId, WorkerSpec};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Hears every rank's hello, rank 0's own being `own`; refuses ranks that run something else.
pub fn muster(arrivals: &Receiver<Arrival>, own: Hello, patience: Duration) -> Result<Vec<Hello>, MpiError> {
    let mut hellos: Vec<Option<Hello>> = vec![None; own.world as usize];
    hellos[0] = Some(own);
    let until = Instant::now() + patience;
    while let Some(mute) = hellos.iter().position(Option::is_none) {
        let left = until.saturating_duration_since(Instant::now());
        match arrivals.recv_timeout(left) {
            Ok(Arrival::Hello(rank, hello)) => hellos[rank as usize] = Some(hello),
            Ok(Arrival::Broken(error)) => return Err(error),
            // Nobody was told anything yet that could be answered.
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => {
                return Err(MpiError::Mute { rank: mute as u32, waited: patience });
            }
            Err(RecvTimeoutError::Disconnected) => return Err(MpiError::NotBegun),
        }
    }
    let hellos: Vec<Hello> = hellos.into_iter().flatten().collect();
    let own = &hellos[0];
    for (rank, hello) in hellos.iter().enumerate() {
        let (rank, host) = (rank as u32, hello.host.clone());
        if hello.program != own.program {
            let (program, expected) = (hello.program.clone(), own.program.clone());
            return Err(MpiError::OtherProgram { rank, host, program, expected });
        }
        if hello.world != own.world {
            return Err(MpiError::OtherWorld { rank, host, world: hello.world, expected: own.world });
        }
    }
    Ok(hellos)
}

/// What the ranks are told.
#[derive(Debug)]
pub struct Terms {
    /// This engine's number among those of the job.
    pub engine: u8,
    /// The site where all ranks stand.
    pub site: u16,
    /// The job, in the caller's own encoding.
    pub job: Vec<u8>,
    /// What each rank may use; ranks without slots are told nothing.
    pub seats: Vec<Seat>,
    /// Whether the job has workers beside the ranks, and goes on without any rank.
    pub others: bool,
}

/// Who hears what is not a report.
pub trait Listener: Send + 'static {
    /// A line for the user.
    fn say(&self, line: &str);

    /// A rank was asked by a signal to stop; `true` if soon.
    fn stop(&self, soon: bool);
}

/// The other ranks, as workers.
#[derive(Debug)]
pub struct MpiEngine {
    link: Link,
    roll: Arc<Mutex<Roll>>,
}

/// What became of the ranks.
#[derive(Debug)]
struct Roll {
    /// Who they are, and their seats.
    ranks: Vec<(Hello, Seat, Standing)>,
    others: bool,
    /// The first that could not take part.
    unable: Option<Failure>,
    /// Why the job cannot go on.
    broken: Option<Failure>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It has no work to do, or cannot do it, or was given up.
    Out,
    /// It was told the job.
    Called,
    /// It is a worker.
    Working,
}

impl MpiEngine {
    /// Tells the ranks the job; those that are ready join as workers. `reports` is the driver's channel.
    pub fn start(
        port: Port,
        hellos: Vec<Hello>,
        terms: &Terms,
        reports: Sender<Report>,
        listener: impl Listener,
    ) -> Result<Self, MpiError> {
        let mut ranks = Vec::with_capacity(hellos.len());
        for (rank, (hello, &seat)) in hellos.into_iter().zip(&terms.seats).enumerate() {
            let works = rank > 0 && seat.slots > 0;
            if works {
                let Seat { slots, memory_bytes } = seat;
                let worker = WorkerId::new(terms.engine, rank as u32);
                let job = terms.job.clone();
                port.link.send(rank as u32, &Message::Job { worker, job, slots, memory_bytes })?;
            }
            ranks.push((hello, seat, if works { Standing::Called } else { Standing::Out }));
        }
        let roll = Roll { ranks, others: terms.others, unable: None, broken: None };
        let roll = Arc::new(Mutex::new(roll));
        let (engine, site) = (terms.engine, terms.site);
        let link = port.link.clone();
        let clerk = Clerk { link: port.link, roll: Arc::clone(&roll), reports, engine, site, listener };
        // It ends with the world, which outlives the engine.
        thread::spawn(move || port.arrivals.into_iter().for_each(|arrival| clerk.hear(arrival)));
        Ok(MpiEngine { link, roll })
    }
}

impl Engine for MpiEngine {
    fn give(&mut self, worker: WorkerId, orders: Vec<Order>) -> Result<(), Failure> {
        Ok(self.link.send(worker.local(), &Message::Orders(orders))?)
    }

    fn logs_here(&self) -> bool {
        true
    }

    fn tick(&mut self) -> Result<(), Failure> {
        lock(&self.roll).broken.take().map_or(Ok(()), Err)
    }
}

/// Takes what arrives.
struct Clerk<L> {
    link: Link,
    roll: Arc<Mutex<Roll>>,
    reports: Sender<Report>,
    engine: u8,
    site: u16,
    listener: L,
}

impl<L: Listener> Clerk<L> {
    fn hear(&self, arrival: Arrival) {
        let mut roll = lock(&self.roll);
        match arrival {
            Arrival::Message(rank, Message::Reports(reports)) if roll.is(rank, Standing::Working) => {
                reports.into_iter().for_each(|report| self.report(report));
            }
            Arrival::Message(rank, Message::Ready) if roll.is(rank, Standing::Called) => {
                let (hello, seat, standing) = &mut roll.ranks[rank as usize];
                *standing = Standing::Working;
                let (site, name) = (self.site, format!("{}/{rank}", hello.host));
                let spec = WorkerSpec { site, slots: seat.slots, memory_bytes: seat.memory_bytes, name };
                self.report(Report::Joined { worker: self.worker(rank), spec });
            }
            Arrival::Message(rank, Message::Unable(failure)) if !roll.is(rank, Standing::Out) => {
                let failure = Failure::from(failure);
                self.listener.say(&format!("{} cannot take part: {failure}", roll.name(rank)));
                roll.unable.get_or_insert(failure);
                self.lose(rank, &mut roll);
            }
            Arrival::Message(_, Message::Stop { soon }) => self.listener.stop(soon),
            Arrival::Silent(rank) if !roll.is(rank, Standing::Out) => {
                let name = roll.name(rank);
                self.listener.say(&format!("{name} is not heard any more: what it had goes to others"));
                self.lose(rank, &mut roll);
            }
            Arrival::Back(rank) => {
                let sent = self.link.send(rank, &Message::Orders(vec![Order::Stop]));
                roll.note(sent);
            }
            Arrival::Broken(error) => roll.note(Err(error)),
            // From ranks that are out, or what ranks do not say.
            Arrival::Message(..) | Arrival::Silent(_) | Arrival::Hello(..) | Arrival::End(_) => {}
        }
    }

    fn lose(&self, rank: u32, roll: &mut Roll) {
        if roll.is(rank, Standing::Working) {
            self.report(Report::Left { worker: self.worker(rank), why: Departure::Lost });
        }
        roll.put_out(rank);
    }

    fn worker(&self, rank: u32) -> WorkerId {
        WorkerId::new(self.engine, rank)
    }

    fn report(&self, report: Report) {
        // A driver that is gone needs no reports.
        let _ = self.reports.send(report);
    }
}

impl Roll {
    fn is(&self, rank: u32, standing: Standing) -> bool {
        self.ranks.get(rank as usize).is_some_and(|(.., now)| *now == standing)
    }

    fn name(&self, rank: u32) -> String {
        let (hello, ..) = &self.ranks[rank as usize];
        format!("rank {rank} (process {} on {})", hello.pid, hello.host)
    }

    fn note(&mut self, done: Result<(), MpiError>) {
        if let Err(error) = done {
            self.broken.get_or_insert(error.into());
        }
    }

    /// Goes on without a rank, as long as anybody else is there.
    fn put_out(&mut self, rank: u32) {
        self.ranks[rank as usize].2 = Standing::Out;
        if !self.others && self.ranks.iter().all(|(.., standing)| *standing == Standing::Out) {
            let ranks = self.ranks.iter().filter(|(_, seat, _)| seat.slots > 0).count();
            let nobody = || MpiError::NobodyLeft { ranks }.into();
            self.broken = Some(self.unable.take().unwrap_or_else(nobody));
        }
    }
}

fn lock(roll: &Mutex<Roll>) -> MutexGuard<'_, Roll> {
    roll.lock().unwrap_or_else(PoisonError::into_inner)
}
