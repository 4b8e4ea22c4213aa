//! Runs as they are made: in memory as long as there is room, and beyond that together in lots, each one run on disk.
//!
//! A sort that spills run by run leaves thousands of runs, and merging needs a block of each. So runs gather until memory is
//! nearly full; then who has ended a run takes a lot of them and stores it, while the others go on. Invariant: what runs take,
//! with those that are being stored, stays within [`Limits::held_max_bytes`] and what each thread adds at once. Knows
//! nothing of what storing is.

use crate::runs::HeldRun;
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Shortest lot: merging takes about a megabyte for each run on disk.
const LOT_BYTES_MIN: u64 = 16 << 20;

/// Longest run in memory, and shortest: many make merging slow, and each begins with an allocation of its own.
const RUN_BYTES_MAX: u64 = 1 << 28;
const RUN_BYTES_MIN: u64 = 1 << 20;

/// Threads to one that stores: packing a read takes up to a quarter of the time that mapping it does.
const THREADS_PER_STORE: u64 = 4;

/// How memory is shared out.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// When a run in making has ended: a sixteenth of memory for those of all threads.
    pub run_bytes: u64,
    /// What runs take when storing begins.
    full_bytes: u64,
    /// Beyond this threads wait for those that store.
    held_max_bytes: u64,
    /// What is stored together: as many as may be stored at a time are a quarter of memory.
    lot_bytes: u64,
    /// At most so many templates are stored together.
    lot_templates: u64,
    /// How many lots may be stored at a time.
    storing_max: u64,
}

impl Limits {
    /// Of so much memory. Less than about `16 MiB * (2 + threads / 4) + 1 MiB * threads` is taken for that.
    pub fn new(memory_bytes: u64, threads: u64, lot_templates: u64) -> Limits {
        let storing_max = 1 + threads / THREADS_PER_STORE;
        let lot_bytes = (memory_bytes / (4 * storing_max)).max(LOT_BYTES_MIN);
        Limits {
            run_bytes: (memory_bytes / (16 * threads)).clamp(RUN_BYTES_MIN, RUN_BYTES_MAX),
            full_bytes: memory_bytes / 16 * 11,
            held_max_bytes: (memory_bytes / 8 * 7).max((storing_max + 1) * lot_bytes),
            lot_bytes,
            lot_templates,
            storing_max,
        }
    }
}

/// Runs, and where they go; `store` writes some as the run on disk of this number.
pub struct Lots<T, S> {
    limits: Limits,
    store: S,
    state: Mutex<State<T>>,
    /// A lot was stored, or could not be.
    ended: Condvar,
}

struct State<T> {
    /// Those that stay as yet.
    held: Lot,
    /// Bytes of lots that are being stored, and how many these are.
    storing_bytes: u64,
    storing: u64,
    begun: u32,
    stored: Vec<T>,
}

/// Some runs.
#[derive(Default)]
struct Lot {
    runs: Vec<(HeldRun, u64)>,
    bytes: u64,
    templates: u64,
}

impl Lot {
    fn push(&mut self, (run, templates): (HeldRun, u64)) {
        self.bytes += run.bytes();
        self.templates += templates;
        self.runs.push((run, templates));
    }

    fn is_full(&self, limits: &Limits) -> bool {
        self.bytes >= limits.lot_bytes || self.templates >= limits.lot_templates
    }

    /// Takes a full lot out of this one; the rest stays.
    fn split(&mut self, limits: &Limits) -> Lot {
        let (mut lot, mut rest) = (Lot::default(), Lot::default());
        for run in mem::take(&mut self.runs) {
            if lot.is_full(limits) { rest.push(run) } else { lot.push(run) }
        }
        *self = rest;
        lot
    }
}

impl<T> State<T> {
    fn held_bytes(&self) -> u64 {
        self.held.bytes + self.storing_bytes
    }
}

impl<T, E, S: Fn(u32, &[HeldRun]) -> Result<T, E>> Lots<T, S> {
    /// There are no runs yet.
    pub fn new(limits: Limits, store: S) -> Self {
        let state =
            State { held: Lot::default(), storing_bytes: 0, storing: 0, begun: 0, stored: Vec::new() };
        Lots { limits, store, state: Mutex::new(state), ended: Condvar::new() }
    }

    /// Takes a run of so many templates. If memory is full, stores a lot before it returns, or waits for who does.
    pub fn push(&self, run: HeldRun, templates: u64) -> Result<(), E> {
        let limits = &self.limits;
        let mut state = self.locked();
        state.held.push((run, templates));
        let is_over = |state: &mut State<T>| {
            state.storing == limits.storing_max && state.held_bytes() > limits.held_max_bytes
        };
        let mut state = self.ended.wait_while(state, is_over).unwrap_or_else(PoisonError::into_inner);
        let is_due = state.held_bytes() > limits.full_bytes && state.held.is_full(limits);
        if !is_due || state.storing == limits.storing_max {
            return Ok(());
        }
        let lot = state.held.split(limits);
        let number = state.begun;
        state.begun += 1;
        state.storing += 1;
        state.storing_bytes += lot.bytes;
        drop(state);
        let _ending = Ending { lots: self, bytes: lot.bytes };
        let runs: Vec<HeldRun> = lot.runs.into_iter().map(|(run, _)| run).collect();
        let stored = (self.store)(number, &runs)?;
        drop(runs);
        self.locked().stored.push(stored);
        Ok(())
    }

    /// Those that stayed in memory, and what came of storing the others.
    pub fn finish(self) -> (Vec<HeldRun>, Vec<T>) {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        (state.held.runs.into_iter().map(|(run, _)| run).collect(), state.stored)
    }
}

impl<T, S> Lots<T, S> {
    fn locked(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// However storing ends, it ends for those that wait.
struct Ending<'a, T, S> {
    lots: &'a Lots<T, S>,
    bytes: u64,
}

impl<T, S> Drop for Ending<'_, T, S> {
    fn drop(&mut self) {
        let mut state = self.lots.locked();
        state.storing -= 1;
        state.storing_bytes -= self.bytes;
        drop(state);
        self.lots.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Entry, Order, Place};
    use crate::record::{Fields, Record, encode};
    use crate::runs::RunBuilder;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;

    const MIB: u64 = 1 << 20;

    /// A run of about a megabyte.
    fn run() -> HeldRun {
        let (mut bytes, mut run) = (Vec::new(), RunBuilder::default());
        let fields = Fields {
            name: b"r",
            flag: 0,
            contig: -1,
            position: -1,
            mapq: 0,
            cigar: &[],
            mate_contig: -1,
            mate_position: -1,
            template_length: 0,
            sequence: &[],
            qualities: &[],
            tags: &[b'x'; 1 << 16],
        };
        encode(&fields, &mut bytes);
        while run.held_bytes() < MIB {
            let order = Order::new(0, run.len() as u64, 0);
            let record = Record::new(&bytes).unwrap();
            run.push(&Entry { place: Place::NOWHERE, order, fragment: None, record });
        }
        run.hold()
    }

    #[test]
    fn what_is_held_stays_within_memory_and_what_is_stored_are_few_runs() {
        let check = |memory: u64, threads: u64, total: u64, stored_min: u64, stored_max: u64| {
            let (now, peak) = (AtomicU64::new(0), AtomicU64::new(0));
            let lots = Lots::new(Limits::new(memory, threads, u64::MAX), |_, runs: &[HeldRun]| {
                (0..200).for_each(|_| thread::yield_now());
                let bytes: u64 = runs.iter().map(HeldRun::bytes).sum();
                now.fetch_sub(bytes, Ordering::Relaxed);
                Ok::<_, ()>(runs.len() as u64)
            });
            let push = |_| {
                for _ in 0..total / threads {
                    let run = run();
                    let before = now.fetch_add(run.bytes(), Ordering::Relaxed);
                    peak.fetch_max(before + run.bytes(), Ordering::Relaxed);
                    lots.push(run, 1).unwrap();
                }
            };
            thread::scope(|scope| (0..threads).for_each(|thread| drop(scope.spawn(move || push(thread)))));
            let (held, stored) = lots.finish();
            assert_eq!(held.len() as u64 + stored.iter().sum::<u64>(), total / threads * threads);
            let lots = stored.len() as u64;
            assert!((stored_min..=stored_max).contains(&lots), "{lots} on disk of {memory}, {threads}");
            let least = 16 * MIB * (2 + threads / 4) + 2 * MIB * threads;
            let peak = peak.into_inner();
            assert!(peak <= least.max(memory), "{peak} held of {memory}, {threads}");
        };
        check(400 * MIB, 2, 250, 0, 0);
        check(128 * MIB, 1, 400, 8, 13);
        check(128 * MIB, 3, 400, 8, 13);
        check(4 * MIB, 2, 160, 8, 10);
        check(1, 1, 60, 3, 4);
        check(64 * MIB, 16, 320, 12, 20);
    }

    #[test]
    fn no_more_templates_are_stored_together_than_may_be() {
        let lots =
            Lots::new(Limits::new(1024, 1, 20), |number, runs: &[HeldRun]| Ok::<_, ()>((number, runs.len())));
        for templates in [20, 7, 13, 5] {
            lots.push(run(), templates).unwrap();
        }
        let (held, stored) = lots.finish();
        assert_eq!((held.len(), stored), (1, vec![(0, 1), (1, 2)]));
    }

    #[test]
    fn who_cannot_store_says_so_and_nobody_waits_for_him() {
        let lots = Lots::new(
            Limits::new(1, 3, u64::MAX),
            |number, _: &[HeldRun]| {
                if number == 0 { Err("no room") } else { Ok(()) }
            },
        );
        let push = || (0..30).map(|_| lots.push(run(), 1)).filter(Result::is_err).count();
        let failed: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..3).map(|_| scope.spawn(push)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(failed, 1);
        assert!(lots.finish().1.len() >= 3);
    }
}
