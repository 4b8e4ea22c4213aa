//! Rank 0 and the other ranks, with threads for processes and a switch for MPI.

use super::leader::{Listener, MpiEngine, Terms, muster};
use super::rank::{Called, Rank, Workplace};
use super::seat::Seat;
use super::ticket::Tickets;
use super::wire::{Assembly, Hello, Message, PART_BYTES_MAX, PROTOCOL, Tag};
use super::{Arrival, Dispatch, Link, MpiError, Port};
use crate::engine::{Control, Engine, Order, Output, Report, Request, TaskRunner};
use crate::failure::TaskFailure;
use jobs::failure::{Class, Failure};
use jobs::lease::Lease;
use jobs::policy::{Action, DataClass, Purpose as UsedFor};
use jobs::task::Task;
use jobs::time::Timestamp;
use scheduler::{AttemptId, Departure, Purpose, WorkerId};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;
use storage::lease::{LeaseKey, SignedLease};
use storage::{Commit, PieceRef};

const PATIENCE: Duration = Duration::from_secs(60);

/// A world of `size` ranks whose frames are carried by threads; also where tests put arrivals of their own.
fn world(size: u32) -> (Vec<Port>, Vec<Sender<Arrival>>) {
    let (inboxes, arrivals): (Vec<_>, Vec<_>) = (0..size).map(|_| channel()).unzip();
    let carry = |from: u32, arrivals: Receiver<Arrival>| {
        let (dispatches, asked) = channel();
        let inboxes = inboxes.clone();
        thread::spawn(move || asked.into_iter().for_each(|dispatch| deliver(from, dispatch, &inboxes)));
        Port { link: Link::new(dispatches), arrivals }
    };
    let ports = (0..size).zip(arrivals).map(|(rank, arrivals)| carry(rank, arrivals)).collect();
    (ports, inboxes)
}

fn deliver(from: u32, dispatch: Dispatch, inboxes: &[Sender<Arrival>]) {
    match dispatch {
        Dispatch::Send(to, frames) => {
            let mut assembly = Assembly::default();
            for (tag, bytes) in frames {
                assert!(bytes.len() <= PART_BYTES_MAX);
                let arrival = match tag {
                    Tag::Hello => Arrival::Hello(from, Hello::decode(from, &bytes).unwrap()),
                    Tag::Message => Arrival::Message(from, assembly.last(from, &bytes).unwrap()),
                    _ => {
                        assembly.part(from, &bytes).unwrap();
                        continue;
                    }
                };
                let _ = inboxes[to as usize].send(arrival);
            }
        }
        Dispatch::End(code) => inboxes.iter().for_each(|inbox| drop(inbox.send(Arrival::End(code)))),
        Dispatch::Patience(_) => {}
    }
}

fn hello(world: u32) -> Hello {
    let (program, host) = ("wakachi 1".to_owned(), "n".to_owned());
    Hello { program, world, node: 0, host, pid: 7, cpus: vec![1], cores: (1, 1), memory_bytes: 1 }
}

/// Answers with the number of inputs it was given, after it logged that it would.
struct Counter<'a>(&'a Tickets);

impl TaskRunner for Counter<'_> {
    fn run(&self, request: &Request, _control: &Control) -> Result<Output, TaskFailure> {
        self.0.log(b"counting".to_vec()).map_err(Failure::from)?;
        Ok(Output { summary: request.inputs.len().to_le_bytes().to_vec(), ..Output::default() })
    }
}

/// A rank's life: works, unless it is `unable`.
fn live(port: Port, size: u32, unable: bool) -> Option<u8> {
    let rank = Rank::introduce(port, &hello(size)).unwrap();
    let offer = match rank.called() {
        Called::End(code) => return Some(code),
        Called::Job(offer) => offer,
    };
    assert_eq!(offer.job, b"the job");
    if unable {
        return Some(rank.unable(MpiError::Orphaned.into()));
    }
    let (reports, stop) = (channel(), AtomicBool::new(false));
    let tickets = Tickets::new(offer.worker, reports.0.clone());
    let runner = Counter(&tickets);
    let place = Workplace { runner: &runner, slots: offer.slots, reports, tickets: &tickets, stop: &stop };
    Some(rank.work(place, |_| tickets.give_up()))
}

struct Nobody;

impl Listener for Nobody {
    fn say(&self, _line: &str) {}
    fn stop(&self, _soon: bool) {}
}

fn lead(port: Port, size: u32) -> (MpiEngine, Receiver<Report>) {
    let hellos = muster(&port.arrivals, hello(size), PATIENCE).unwrap();
    let seat = |rank| Seat { slots: u32::from(rank > 0), memory_bytes: 1 };
    let seats = (0..size).map(seat).collect();
    let terms = Terms { engine: 1, site: 0, job: b"the job".to_vec(), seats, others: false };
    let (reports, said) = channel();
    (MpiEngine::start(port, hellos, &terms, reports, Nobody).unwrap(), said)
}

fn request(inputs: usize) -> Request {
    let piece = PieceRef { pack: "w1-1.pack".to_owned(), offset: 1 << 40, length: 9, blake3: [7; 32] };
    let commit = Arc::new(Commit { pieces: vec![piece], ..Commit::default() });
    Request {
        attempt: AttemptId(5),
        number: 1,
        task: Task::FinishCohort,
        purpose: Purpose::Work,
        lease: lease(),
        inputs: Arc::new(vec![(Task::FinishCohort, commit); inputs]),
    }
}

fn lease() -> SignedLease {
    let now = Timestamp::from_micros(0);
    LeaseKey::from_seed(&[1; 32].into()).sign(&Lease {
        job: String::new(),
        task: String::new(),
        attempt: 1,
        action: Action::Read,
        class: DataClass::Cram,
        samples: Vec::new(),
        purpose: UsedFor::Research,
        site: String::new(),
        epoch: 1,
        policy_sha256: String::new(),
        issued: now,
        expires: now,
    })
}

#[test]
fn an_order_longer_than_a_frame_is_run_and_its_events_are_written_first() {
    let (mut ports, inboxes) = world(2);
    let (rank, port) = (ports.pop().unwrap(), ports.pop().unwrap());
    let link = port.link.clone();
    let rank = thread::spawn(move || live(rank, 2, false));
    let (mut engine, said) = lead(port, 2);
    let worker = WorkerId::new(1, 1);
    assert!(matches!(said.recv().unwrap(), Report::Joined { worker: joined, .. } if joined == worker));
    let inputs = PART_BYTES_MAX / 20;
    engine.give(worker, vec![Order::Run(request(inputs))]).unwrap();
    assert!(matches!(said.recv().unwrap(), Report::Started { attempt: AttemptId(5), .. }));
    let Report::Log { ticket, events, .. } = said.recv().unwrap() else { panic!("no events") };
    assert_eq!(events, b"counting");
    engine.give(worker, vec![Order::Logged(ticket)]).unwrap();
    let Report::Ended(ended) = said.recv().unwrap() else { panic!("no end") };
    assert_eq!(ended.result.unwrap().summary, inputs.to_le_bytes());
    link.ask(Dispatch::End(4));
    assert_eq!(rank.join().unwrap(), Some(4));
    drop(inboxes);
}

#[test]
fn a_silent_rank_is_left_once_and_not_heard_again() {
    let (mut ports, inboxes) = world(3);
    let ranks = ports.split_off(1).into_iter().map(|port| thread::spawn(move || live(port, 3, false)));
    let ranks: Vec<_> = ranks.collect();
    let port = ports.pop().unwrap();
    let link = port.link.clone();
    let (mut engine, said) = lead(port, 3);
    let joined = [said.recv().unwrap(), said.recv().unwrap()];
    assert!(joined.iter().all(|report| matches!(report, Report::Joined { .. })));
    for _ in 0..2 {
        inboxes[0].send(Arrival::Silent(2)).unwrap();
    }
    let late = vec![Report::Started { attempt: AttemptId(9), slot: 0 }];
    inboxes[0].send(Arrival::Message(2, Message::Reports(late))).unwrap();
    inboxes[0].send(Arrival::Back(2)).unwrap();
    engine.give(WorkerId::new(1, 1), vec![Order::Run(request(1))]).unwrap();
    let lost = WorkerId::new(1, 2);
    let left = said.recv().unwrap();
    assert!(matches!(left, Report::Left { worker, why: Departure::Lost } if worker == lost));
    assert!(matches!(said.recv().unwrap(), Report::Started { attempt: AttemptId(5), .. }));
    engine.tick().unwrap();
    inboxes[0].send(Arrival::Silent(1)).unwrap();
    while !matches!(said.recv().unwrap(), Report::Left { .. }) {}
    let failure = loop {
        // The engine may be asked before the roll is called.
        if let Err(failure) = engine.tick() {
            break failure;
        }
    };
    assert_eq!((failure.class(), failure.to_string().contains("none of the 2")), (Class::Remote, true));
    link.ask(Dispatch::End(8));
    ranks.into_iter().for_each(|rank| assert_eq!(rank.join().unwrap(), Some(8)));
}

#[test]
fn a_job_that_no_rank_can_open_fails_with_the_first_reason() {
    let (mut ports, _inboxes) = world(2);
    let (rank, port) = (ports.pop().unwrap(), ports.pop().unwrap());
    let link = port.link.clone();
    let rank = thread::spawn(move || live(rank, 2, true));
    let (mut engine, _said) = lead(port, 2);
    let failure = loop {
        if let Err(failure) = engine.tick() {
            break failure;
        }
        thread::yield_now();
    };
    assert_eq!(failure.to_string(), "rank 0 is not heard any more");
    link.ask(Dispatch::End(3));
    assert_eq!(rank.join().unwrap(), Some(3));
}

#[test]
fn ranks_that_run_something_else_are_refused() {
    let mustered = |other: Hello| {
        let (arrived, arrivals) = channel();
        arrived.send(Arrival::Hello(1, other)).unwrap();
        muster(&arrivals, hello(2), PATIENCE).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(mustered(hello(2)), Ok(()));
    let other = mustered(Hello { program: "wakachi 2".to_owned(), ..hello(2) });
    assert_eq!(other.unwrap_err(), "rank 1 on n runs wakachi 2; expected wakachi 1");
    let other = mustered(hello(3));
    assert_eq!(other.unwrap_err(), "rank 1 on n sees a world of 3 ranks; expected 2");
    let mut bytes = hello(2).encode().unwrap();
    assert_eq!(bytes[..2], PROTOCOL.to_le_bytes());
    bytes[0] ^= 0x80;
    assert!(matches!(Hello::decode(1, &bytes), Err(MpiError::OtherProtocol { rank: 1, protocol: 130 })));
}

#[test]
fn no_bytes_of_a_rank_are_a_panic() {
    let frames: Vec<_> = Message::Orders(vec![Order::Run(request(3))]).frames().unwrap().collect();
    let [(Tag::Message, bytes)] = &frames[..] else { panic!("one frame") };
    for length in 0..bytes.len() {
        assert!(Assembly::default().last(1, &bytes[..length]).is_err());
        assert!(Hello::decode(1, &bytes[..length]).is_err());
    }
    let mut assembly = Assembly::default();
    let part = vec![0; PART_BYTES_MAX];
    let endless = (0..).find_map(|_| assembly.part(1, &part).err());
    assert!(matches!(endless, Some(MpiError::Endless { rank: 1 })));
}
