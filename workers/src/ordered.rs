//! Numbered work on all threads of the pool, its results given out in order.
//!
//! Invariant: numbers are taken in order, and results, and the first error, come in that order; at most [`AHEAD`] results a
//! thread wait for one before them. Knows nothing of what is done.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// How many numbers each thread may be ahead of what was given out.
const AHEAD: usize = 4;

/// Does the `work` of every number below `count` on all threads, each with a scratch of its own, and `give`s what comes of
/// it, in order.
pub fn in_order<S: Default, T: Send, E: Send>(
    count: usize,
    work: impl Fn(&mut S, usize) -> Result<T, E> + Sync,
    give: impl FnMut(T) -> Result<(), E> + Send,
) -> Result<(), E> {
    let ahead = AHEAD * rayon::current_num_threads();
    let state =
        State { ahead, count, taken: 0, given: 0, done: BTreeMap::new(), give: Some(give), failed: None };
    let shared = Shared { state: Mutex::new(state), changed: Condvar::new() };
    rayon::broadcast(|_| shared.serve(&work));
    let state = shared.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    state.failed.map_or(Ok(()), Err)
}

struct State<T, E, G> {
    ahead: usize,
    /// Numbers wanted; those taken already when something fails.
    count: usize,
    taken: usize,
    given: usize,
    done: BTreeMap<usize, Result<T, E>>,
    /// Absent while a thread gives.
    give: Option<G>,
    failed: Option<E>,
}

struct Shared<T, E, G> {
    state: Mutex<State<T, E, G>>,
    changed: Condvar,
}

impl<T, E, G: FnMut(T) -> Result<(), E>> Shared<T, E, G> {
    fn serve<S: Default>(&self, work: &impl Fn(&mut S, usize) -> Result<T, E>) {
        let _end = EndOfPanic(self);
        let mut scratch = S::default();
        while let Some(number) = self.take() {
            let result = work(&mut scratch, number);
            self.locked().done.insert(number, result);
            self.give();
        }
    }

    /// Gives out those results that are next, unless somebody does it already.
    fn give(&self) {
        let mut state = self.locked();
        while let Some(mut give) = state.give.take() {
            let next = state.given;
            let Some(result) = state.done.remove(&next).filter(|_| state.failed.is_none()) else {
                state.give = Some(give);
                return;
            };
            drop(state);
            let given = result.and_then(&mut give);
            state = self.locked();
            state.give = Some(give);
            state.given += 1;
            if let Err(error) = given {
                state.failed = Some(error);
                state.count = state.taken;
            }
            self.changed.notify_all();
        }
    }

    /// The next number, once it is not too far ahead.
    fn take(&self) -> Option<usize> {
        let is_ahead = |state: &mut State<T, E, G>| {
            state.taken < state.count && state.taken - state.given >= state.ahead
        };
        let waited = self.changed.wait_while(self.locked(), is_ahead);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        let number = state.taken;
        (number < state.count).then(|| {
            state.taken += 1;
            number
        })
    }

    fn locked(&self) -> MutexGuard<'_, State<T, E, G>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the others if a thread panics, as they would wait for it.
struct EndOfPanic<'a, T, E, G>(&'a Shared<T, E, G>);

impl<T, E, G> Drop for EndOfPanic<'_, T, E, G> {
    fn drop(&mut self) {
        if thread::panicking() {
            let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.count = state.taken;
            drop(state);
            self.0.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was given out of 200 numbers, and the error, if one of them fails in the work and one in the giving.
    fn given(threads: usize, fails: [usize; 2]) -> (Vec<usize>, Option<usize>) {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut out = Vec::new();
        let work = |(): &mut (), number: usize| {
            // Those that are late have to be waited for.
            (0..number % 3).for_each(|_| thread::yield_now());
            if number == fails[0] { Err(number) } else { Ok(number) }
        };
        let give = |number| {
            out.push(number);
            if number == fails[1] { Err(number) } else { Ok(()) }
        };
        let ended = pool.install(|| in_order(200, work, give));
        (out, ended.err())
    }

    #[test]
    fn results_and_the_first_error_come_in_order_on_any_number_of_threads() {
        for threads in [1, 2, 3, 8] {
            assert_eq!(given(threads, [200, 200]), ((0..200).collect(), None));
            assert_eq!(given(threads, [70, 90]), ((0..70).collect(), Some(70)));
            assert_eq!(given(threads, [90, 70]), ((0..=70).collect(), Some(70)));
        }
    }

    #[test]
    fn who_panics_ends_all() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
        let work = |(): &mut (), number: usize| {
            assert!(number != 5, "as is meant here");
            Ok::<_, ()>(number)
        };
        let run = || in_order(1000, work, |_| Ok(()));
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pool.install(run)));
        assert!(caught.is_err());
    }
}
