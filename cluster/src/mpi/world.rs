//! The MPI thread: the only code that calls MPI.
//!
//! Invariant: one thread of the process makes every MPI call (`MPI_THREAD_FUNNELED`), sends never wait for a receiver, and
//! a rank that does not take what it is sent holds up nobody else. It looks for messages, and rests in between for a
//! fixed part of the time since there was one, at most [`REST_MAX`]; what this process sends wakes it at once. Knows
//! nothing of what messages mean.

// MPI reads the bytes of a send until it says that it is done; no lifetime tells the compiler so.
#![allow(unsafe_code)]

use super::launch::launch;
use super::pulse::{BEAT, Change, PATIENCE, Pulse};
use super::wire::{Assembly, Hello, Tag};
use super::{Arrival, Dispatch, Link, MpiError, Port};
use mpi::Threading;
use mpi::environment::{self, Universe};
use mpi::point_to_point::{Destination, MatchedReceiveVec, Source};
use mpi::request::{Request, StaticScope};
use mpi::topology::{Communicator, SimpleCommunicator};
use mpi::traits::Root;
use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The longest rest between two looks: what the first message after a pause waits for at most. A look costs some 20
/// microseconds, so an idle rank uses half a hundredth of a core.
const REST_MAX: Duration = Duration::from_millis(4);

/// The shortest rest, of which a system makes 60 microseconds or so.
const REST_MIN: Duration = Duration::from_micros(10);

/// A rest is this part of the time since anything came or went: an answer is late by that part at most.
const REST_PART: u32 = 8;

/// Frames taken before looking at what is to be sent.
const FRAMES_AT_ONCE: usize = 256;

/// How long rank 0 waits at the end for ranks to say good-bye before it aborts the world.
const FAREWELL: Duration = Duration::from_secs(10);

/// For how long the others are patient with rank 0: without it they have nothing to do, but holding cores costs.
const PATIENCE_WITH_RANK_0: Duration = Duration::from_secs(600);

/// Exit code of a world whose rank 0 broke: an internal error.
const BROKEN: i32 = 9;

/// This process in its world.
#[derive(Debug)]
pub struct World {
    place: Place,
    port: Port,
    thread: JoinHandle<()>,
}

/// Where a rank stands.
#[derive(Clone, Debug)]
struct Place {
    rank: u32,
    size: u32,
    node: u32,
    host: String,
}

impl World {
    /// Begins MPI on a thread of its own. Refused where whoever started this process started several, and each is alone.
    pub fn enter() -> Result<Self, MpiError> {
        let (dispatches, asked) = channel();
        let (arrived, arrivals) = channel();
        let (placed, place) = channel();
        let begin = move || begin(&asked, &arrived, &placed);
        let thread =
            thread::Builder::new().name("mpi".to_owned()).spawn(begin).map_err(|_| MpiError::NotBegun)?;
        let place = place.recv().map_err(|_| MpiError::NotBegun)??;
        Ok(World { place, port: Port { link: Link::new(dispatches), arrivals }, thread })
    }

    /// Number of this rank, from 0.
    pub fn rank(&self) -> u32 {
        self.place.rank
    }

    /// Number of ranks.
    pub fn size(&self) -> u32 {
        self.place.size
    }

    /// The lowest rank on this node.
    pub fn node(&self) -> u32 {
        self.place.node
    }

    /// Name of this node.
    pub fn host(&self) -> &str {
        &self.place.host
    }

    /// The way to the other ranks, for one owner; and the world without it, to end it.
    pub fn split(self) -> (Port, Ending) {
        let link = self.port.link.clone();
        (self.port, Ending { link, thread: self.thread })
    }
}

/// What ends the world.
#[derive(Debug)]
pub struct Ending {
    link: Link,
    thread: JoinHandle<()>,
}

impl Ending {
    /// Rank 0: ends the world; every rank exits with `code`. Returns when MPI has ended; where ranks are silent it does
    /// not return, but aborts the world with `code`.
    pub fn end(self, code: u8) {
        self.link.ask(Dispatch::End(code));
        // A thread that panicked has already said so.
        let _ = self.thread.join();
    }
}

/// The MPI library this program is built with, by name and version.
pub fn library() -> String {
    let version = environment::library_version().unwrap_or_default();
    let words = version.split([',', '\n']).next().unwrap_or_default();
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The thread's life.
fn begin(asked: &Receiver<Dispatch>, arrived: &Sender<Arrival>, placed: &Sender<Result<Place, MpiError>>) {
    let Some((universe, threading)) = mpi::initialize_with_threading(Threading::Funneled) else { return };
    let world = universe.world();
    let place = match place(&world, threading) {
        Ok(place) => place,
        Err(error) => {
            drop(universe);
            let _ = placed.send(Err(error));
            return;
        }
    };
    let _ = placed.send(Ok(place.clone()));
    let now = Instant::now();
    let (others, patience) = match place.rank {
        0 => (1..place.size, PATIENCE),
        _ => (0..1, PATIENCE_WITH_RANK_0),
    };
    let mut pump = Pump {
        world,
        arrived,
        assemblies: (0..place.size).map(|_| Assembly::default()).collect(),
        flights: Vec::new(),
        pulse: Pulse::new(place.size, others, patience, now),
        leaving: None,
        place,
    };
    let code = pump.run(asked);
    pump.finish(universe, code);
}

/// Where this rank stands. All ranks of the world are needed for the answer.
fn place(world: &SimpleCommunicator, threading: Threading) -> Result<Place, MpiError> {
    if threading < Threading::Funneled {
        return Err(MpiError::Threads { library: library() });
    }
    let (rank, size) = (world.rank() as u32, world.size() as u32);
    let launched = launch(|name| std::env::var(name).ok());
    if let Some(launch) = launched.filter(|launch| size == 1 && launch.ranks > 1) {
        let library = library();
        return Err(MpiError::Alone { by: launch.by, ranks: launch.ranks, rank: launch.rank, library });
    }
    let mut node = rank;
    world.split_shared(world.rank()).process_at_rank(0).broadcast_into(&mut node);
    let host = environment::processor_name().unwrap_or_default();
    Ok(Place { rank, size, node, host })
}

/// Moves frames between MPI and the channels.
struct Pump<'a> {
    world: SimpleCommunicator,
    place: Place,
    arrived: &'a Sender<Arrival>,
    /// By rank.
    assemblies: Vec<Assembly>,
    /// Sends that MPI is not done with.
    flights: Vec<Flight>,
    pulse: Pulse,
    leaving: Option<Leaving>,
}

/// The world's last moments.
struct Leaving {
    code: u8,
    until: Instant,
    /// Ranks that have not said good-bye.
    waiting: BTreeSet<u32>,
}

impl Pump<'_> {
    /// Runs until the world is to end; the exit code, or `None` where the owner is gone.
    fn run(&mut self, asked: &Receiver<Dispatch>) -> Option<u8> {
        let mut busy = Instant::now();
        let mut beat = busy;
        loop {
            let moved = self.receive() | self.land();
            let now = Instant::now();
            if now >= beat {
                self.beat(now);
                beat = now + BEAT;
            }
            if let Some(leaving) = self.leaving.as_ref()
                && (leaving.waiting.is_empty() && self.flights.is_empty() || now >= leaving.until)
            {
                return Some(leaving.code);
            }
            if moved {
                busy = now;
            }
            let rest = now.saturating_duration_since(busy) / REST_PART;
            match asked.recv_timeout(rest.clamp(REST_MIN, REST_MAX)) {
                Ok(first) => {
                    busy = Instant::now();
                    std::iter::once(first).chain(asked.try_iter()).for_each(|one| self.dispatch(one));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Takes what has arrived; whether anything had.
    fn receive(&mut self) -> bool {
        for taken in 0..FRAMES_AT_ONCE {
            let Some(probed) = self.world.any_process().immediate_matched_probe() else { return taken > 0 };
            let (bytes, status) = probed.matched_receive_vec::<u8>();
            self.frame(status.source_rank() as u32, status.tag(), &bytes);
        }
        true
    }

    fn frame(&mut self, from: u32, tag: i32, bytes: &[u8]) {
        if let Some(Change::Back(rank)) = self.pulse.heard(from, Instant::now()) {
            self.bring(Arrival::Back(rank));
        }
        let assembly = &mut self.assemblies[from as usize];
        let arrival = match Tag::of(tag) {
            Some(Tag::Hello) => Hello::decode(from, bytes).map(|hello| Some(Arrival::Hello(from, hello))),
            Some(Tag::Part) => assembly.part(from, bytes).map(|()| None),
            Some(Tag::Message) => {
                assembly.last(from, bytes).map(|message| Some(Arrival::Message(from, message)))
            }
            Some(Tag::End) => {
                self.leave(bytes.first().copied().unwrap_or(BROKEN as u8));
                Ok(None)
            }
            Some(Tag::Bye) => {
                if let Some(leaving) = &mut self.leaving {
                    leaving.waiting.remove(&from);
                }
                Ok(None)
            }
            // A newer version's tag would have been refused with its hello.
            Some(Tag::Beat) | None => Ok(None),
        };
        match arrival {
            Ok(None) => {}
            Ok(Some(arrival)) => self.bring(arrival),
            Err(error) => self.bring(Arrival::Broken(error)),
        }
    }

    fn bring(&self, arrival: Arrival) {
        // An owner that is gone hears nothing; the loop notices it by the other channel.
        let _ = self.arrived.send(arrival);
    }

    /// Lets go of the bytes of finished sends; whether there were any.
    fn land(&mut self) -> bool {
        let before = self.flights.len();
        self.flights.retain_mut(|flight| !flight.has_landed());
        self.flights.len() < before
    }

    fn send(&mut self, to: u32, tag: Tag, bytes: Vec<u8>) {
        self.flights.push(Flight::start(&self.world, to, tag, bytes));
    }

    /// Gives a sign of life, and looks who gives none.
    fn beat(&mut self, now: Instant) {
        for change in self.pulse.look(now) {
            if let Change::Silent(rank) = change {
                self.bring(Arrival::Silent(rank));
            }
        }
        for rank in self.pulse.awake().collect::<Vec<_>>() {
            self.send(rank, Tag::Beat, Vec::new());
        }
    }

    fn dispatch(&mut self, dispatch: Dispatch) {
        match dispatch {
            Dispatch::Send(to, frames) => {
                frames.into_iter().for_each(|(tag, bytes)| self.send(to, tag, bytes))
            }
            Dispatch::Patience(patience) => self.pulse.set_limit(patience),
            Dispatch::End(code) => {
                (1..self.place.size).for_each(|rank| self.send(rank, Tag::End, vec![code]));
                self.leave(code);
            }
        }
    }

    fn leave(&mut self, code: u8) {
        let waiting = match self.place.rank {
            0 => (1..self.place.size).collect(),
            _ => {
                self.send(0, Tag::Bye, Vec::new());
                BTreeSet::new()
            }
        };
        self.leaving = Some(Leaving { code, until: Instant::now() + FAREWELL, waiting });
    }

    /// Ends MPI; with it the world, if other ranks do not end it with this one.
    fn finish(self, universe: Universe, code: Option<u8>) {
        let missing = self.leaving.as_ref().is_none_or(|leaving| !leaving.waiting.is_empty());
        if missing || !self.flights.is_empty() {
            self.world.abort(code.map_or(BROKEN, i32::from));
        }
        let arrived = self.arrived;
        drop(self.world);
        drop(universe);
        let _ = arrived.send(Arrival::End(code.unwrap_or(BROKEN as u8)));
    }
}

/// A send that MPI is not done with.
struct Flight {
    request: Option<Request<'static, [u8], StaticScope>>,
    bytes: *mut [u8],
}

impl Flight {
    fn start(world: &SimpleCommunicator, to: u32, tag: Tag, bytes: Vec<u8>) -> Self {
        let bytes = Box::into_raw(bytes.into_boxed_slice());
        // SAFETY: the pointer is a box's, which only `has_landed` takes back: after MPI has read it for the last time.
        let lent: &'static [u8] = unsafe { &*bytes };
        let process = world.process_at_rank(to as i32);
        let request = process.immediate_send_with_tag(StaticScope, lent, tag as i32);
        Flight { request: Some(request), bytes }
    }

    /// Whether MPI is done with it; to be asked until it says so once.
    fn has_landed(&mut self) -> bool {
        match self.request.take().map(Request::test) {
            Some(Err(request)) => {
                self.request = Some(request);
                return false;
            }
            // SAFETY: `start` made it from a box, the request that borrowed it is over, and `request` is empty from now
            // on, so this happens once.
            Some(Ok(_)) => drop(unsafe { Box::from_raw(self.bytes) }),
            None => {}
        }
        true
    }
}
