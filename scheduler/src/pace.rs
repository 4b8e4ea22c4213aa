//! Slow attempts: cut and shared out, or run a second time elsewhere.
//!
//! When cores are idle and nothing is ready for them, whatever is waiting for a core elsewhere is fetched back; then the
//! attempt with the longest rest is cut at its next step, if its rest is worth sharing, else it is run a second time where
//! it would end sooner. An attempt far beyond what was expected of it, or of the step it is at, is treated so even while all
//! cores are busy: what is hard in one place is believed to be hard behind it, and the sooner it is begun the better.
//!
//! Invariant: an attempt that was asked to end early is copied only if it does not answer, and one that ends early takes its
//! copy with it; so no step is ever in two tasks.

use crate::event::{AttemptId, Purpose};
use crate::lane::STRIPS_MIN;
use crate::machine::{Attempt, Scheduler};
use crate::ready::Kind;
use jobs::task::{Chunk, Stage};
use std::ops::Range;

/// An attempt that takes so many times what was expected is a straggler.
const STRAGGLES: f64 = 4.0;

/// A map that goes as expected says where it is before it has done so many strips more.
const STRIDE: u32 = Chunk::STRIPS as u32 / 8;

/// A copy is worth it if the first attempt is expected to take so many times longer.
const COPY_GAIN: f64 = 1.3;

/// A worker is slow that takes longer than the others by this.
pub(crate) const SLOW: f64 = 0.7;

/// What an attempt still has to do.
struct Rest {
    id: AttemptId,
    /// Expected milliseconds until it ends.
    ms: f64,
    /// Of these, what it would lose by a cut.
    cut_ms: f64,
    /// Expected milliseconds of a new attempt.
    fresh_ms: f64,
    /// It takes longer than a task of its kind usually does.
    late: bool,
    straggles: bool,
}

/// How an attempt gets on with its steps.
struct Place {
    /// How many times longer than expected of it it has been at its step.
    pace_here: f64,
    /// Expected milliseconds of the rest of that step,
    step_ms: f64,
    /// and of the steps after it.
    after_ms: f64,
    /// Whether these are worth a task.
    is_enough: bool,
}

impl Scheduler {
    /// Looks after slow attempts.
    pub(crate) fn pace(&mut self) {
        let mut idle = self.places.free_cores() as usize;
        if idle > 0 && self.ready.len() == 0 {
            idle -= self.fetch_back(idle);
        } else {
            idle = 0;
        }
        let rests = self.attempts.iter().filter_map(|(&id, attempt)| self.rest_of(id, attempt, idle > 0));
        let mut rests: Vec<Rest> = rests.collect();
        for rest in rests.iter().filter(|rest| rest.straggles) {
            if let Some(attempt) = self.attempts.get_mut(&rest.id) {
                attempt.straggles = true;
            }
        }
        rests.sort_by(|a, b| b.ms.total_cmp(&a.ms).then(a.id.cmp(&b.id)));
        for rest in rests {
            if idle == 0 && !rest.straggles {
                continue;
            }
            idle = idle.saturating_sub(self.relieve(&rest));
        }
    }

    /// Cuts or copies a slow attempt. Returns how many cores that will occupy.
    fn relieve(&mut self, rest: &Rest) -> usize {
        let least_ms = self.options.shard_ms_min as f64;
        let (task, worker) = (self.attempts[&rest.id].task, self.attempts[&rest.id].worker);
        // What is cut off may be done by another core of the same worker; a copy there would be no quicker.
        if !rest.straggles && !self.has_core_for(task, None) {
            return 0;
        }
        // A cut would throw a copy away.
        let alone = self.attempts[&rest.id].twin.is_none() || rest.straggles;
        if self.options.cut_stragglers && alone && rest.cut_ms >= 2.0 * least_ms {
            self.ask_cut(rest.id);
            return (rest.cut_ms / least_ms) as usize;
        }
        // A costly task on a sound worker would be as costly elsewhere: only cores with nothing else to do may try.
        let sound = self.places.workers[worker as usize].speed() > SLOW;
        let idle = self.ready.len() == 0 && self.has_core_for(task, Some(worker));
        let copied = self.options.speculate
            && self.attempts[&rest.id].twin.is_none()
            && ((idle && rest.late) || !sound)
            && task.stage() < Stage::Finish
            && rest.ms > COPY_GAIN * rest.fresh_ms
            && !self.copies.contains_key(&task)
            && self.others(task, &[worker]) > 0;
        if copied {
            self.copies.insert(task, rest.id);
            self.enqueue(task, Kind::Copy);
        }
        copied.into()
    }

    /// Takes what waits for a core from workers that have more than they run. Returns how many.
    fn fetch_back(&mut self, most: usize) -> usize {
        let queued = |(id, attempt): (&AttemptId, &Attempt)| {
            let worker = &self.places.workers[attempt.worker as usize];
            let latency_ms = self.places.sites[self.places.site_of(attempt.worker)]
                .as_ref()
                .map_or(0, |site| site.spec.latency_ms);
            let settled = self.now_ms > attempt.given_ms + 2 * latency_ms + FETCH_MS;
            let full = worker.running >= worker.spec.slots;
            let waits = full && settled && attempt.started_ms.is_none() && !attempt.cancelled;
            (waits && self.has_core_for(attempt.task, Some(attempt.worker))).then_some(*id)
        };
        let queued: Vec<AttemptId> = self.attempts.iter().filter_map(queued).take(most).collect();
        if !queued.is_empty() {
            self.take_back_queued(|id, _| queued.binary_search(&id).is_ok());
            self.cut_gaps(false);
        }
        queued.len()
    }

    /// The rest of an attempt that may be relieved of it: of stragglers only, if `all` is not set.
    fn rest_of(&self, id: AttemptId, attempt: &Attempt, all: bool) -> Option<Rest> {
        let unanswered = attempt.cut_asked_ms.is_some_and(|asked_ms| self.now_ms >= asked_ms + SILENT_MS);
        let asked = attempt.cut_asked_ms.is_some() && !unanswered;
        if attempt.cancelled || asked || attempt.purpose != Purpose::Work {
            return None;
        }
        let streams = self.streams(attempt.worker);
        let Some(started_ms) = attempt.started_ms else {
            return if streams {
                self.rest_in_silence(id, attempt)
            } else {
                self.rest_in_bundle(id, attempt)
            };
        };
        let (least_ms, elapsed) = (self.options.shard_ms_min as f64, (self.now_ms - started_ms) as f64);
        let whole = attempt.expected_ms.max(1.0);
        let long = elapsed > STRAGGLES * whole && elapsed > 2.0 * least_ms;
        let still = attempt.reached.is_some_and(|(_, since)| (self.now_ms - since) as f64 > least_ms / 2.0);
        if !long && !still && !all {
            return None;
        }
        let place = attempt.task.steps().map(|steps| self.place_of(attempt, started_ms, steps));
        let straggles = long || (still && place.as_ref().is_some_and(|place| place.pace_here > STRAGGLES));
        if !straggles && !all {
            return None;
        }
        let fresh_ms = self.task_ms(attempt.task);
        let spread = self.costs.stage(attempt.task.stage()).spread;
        let late = elapsed > whole * (1.0 + 2.0 * spread);
        // An attempt beyond what is usual will take as long again, as far as anybody knows.
        let blind = if late { elapsed } else { (whole - elapsed).max(whole * 0.3) };
        let Some(place) = place.filter(|place| place.after_ms > 0.0) else {
            return Some(Rest { id, ms: blind, cut_ms: 0.0, fresh_ms, late, straggles });
        };
        let may_cut = streams && !unanswered && place.is_enough;
        let cut_ms = if may_cut { place.after_ms } else { 0.0 };
        Some(Rest { id, ms: place.step_ms + place.after_ms, cut_ms, fresh_ms, late, straggles })
    }

    /// How an attempt gets on with its steps.
    fn place_of(&self, attempt: &Attempt, started_ms: u64, steps: Range<u32>) -> Place {
        let (task, map) = (attempt.task, attempt.task.stage() == Stage::Map);
        let (elapsed, whole) = ((self.now_ms - started_ms) as f64, attempt.expected_ms.max(1.0));
        let ms = |steps: Range<u32>| if steps.is_empty() { 0.0 } else { self.steps_ms(task, steps) };
        // Where it did not say, a region may be anywhere but in its last cell: asking costs nothing. A map goes evenly, or
        // nobody knows.
        let (at, since_ms) = attempt.reached.unwrap_or_else(|| {
            let gone = if elapsed < whole { elapsed / whole } else { 0.5 };
            let at = steps.start + (gone * f64::from(steps.end - steps.start)) as u32;
            if map { (at, self.now_ms) } else { (steps.start, started_ms) }
        });
        let at = at.clamp(steps.start, steps.end - 1);
        let (behind, begun) = (ms(steps.start..at), ms(steps.start..at + 1));
        let own = self.places.workers[attempt.worker as usize].speed().recip();
        let on_average = (elapsed / begun.max(1.0)).max(if behind > 0.0 {
            since_ms.saturating_sub(started_ms) as f64 / behind
        } else {
            own
        });
        // What is hard is so in places: where it stands still, the average says little.
        let here_ms = (self.now_ms - since_ms) as f64;
        let here = here_ms / ms(at..steps.end.min(at + if map { STRIDE } else { 1 }));
        let pace = on_average.max(here);
        let usual = own.max(attempt.expected_ms / self.task_ms(task));
        Place {
            pace_here: here / usual,
            step_ms: ((begun - behind) * pace - here_ms).max(0.0),
            after_ms: ms(at + 1..steps.end) * pace,
            is_enough: !map || steps.end - at > STRIPS_MIN,
        }
    }

    /// A worker with free cores that does not start what it was given may never.
    fn rest_in_silence(&self, id: AttemptId, attempt: &Attempt) -> Option<Rest> {
        let worker = &self.places.workers[attempt.worker as usize];
        let elapsed = self.now_ms - attempt.given_ms;
        let silent = worker.running < worker.spec.slots && elapsed > SILENT_MS;
        let fresh_ms = self.task_ms(attempt.task);
        silent.then_some(Rest { id, ms: elapsed as f64, cut_ms: 0.0, fresh_ms, late: true, straggles: true })
    }

    /// A bundle says nothing until it is over; it is late when it takes far longer than all of it was expected to.
    fn rest_in_bundle(&self, id: AttemptId, attempt: &Attempt) -> Option<Rest> {
        let worker = &self.places.workers[attempt.worker as usize];
        let site = self.places.sites[self.places.site_of(attempt.worker)].as_ref()?;
        let (filled_ms, length_ms) = worker.filled?;
        let elapsed = (self.now_ms - filled_ms) as f64;
        let expected = (length_ms + site.spec.latency_ms) as f64 + attempt.expected_ms;
        let fresh_ms = self.task_ms(attempt.task) + site.spec.latency_ms as f64;
        let straggles = elapsed > STRAGGLES * expected;
        straggles.then_some(Rest { id, ms: elapsed, cut_ms: 0.0, fresh_ms, late: true, straggles })
    }
}

/// A worker that starts nothing for so long, or does not answer, is silent.
const SILENT_MS: u64 = 60_000;

/// What was given just now is on its way to a core.
const FETCH_MS: u64 = 100;
