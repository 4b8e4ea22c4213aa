//! Workers at sites: who has room, and who should get a task.
//!
//! A task goes to the site at which it is expected to end first, with the wait for a core, the way there and the way of
//! its data; among sites within a tenth of that, to the cheapest. A worker that streams has a little more than it runs,
//! to hide the way of an order; a bundle is filled once.
//!
//! Invariant: no set of tasks that a worker could come to run at once is predicted to need more memory than it has, save
//! a task that no worker has the memory for, which runs alone.

use crate::event::{AttemptId, SiteSpec, WorkerId, WorkerSpec};
use crate::hash::FastSet;
use crate::plan::MemoryModel;
use jobs::task::{Stage, Task};
use std::collections::{BTreeMap, BTreeSet};

/// A worker, there or gone.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Its name.
    pub id: WorkerId,
    /// What it has.
    pub spec: WorkerSpec,
    /// When it joined.
    pub joined_ms: u64,
    /// What it was given and has not ended.
    pub attempts: Vec<AttemptId>,
    /// Those of them that have a core.
    pub running: u32,
    /// Expected milliseconds of those that have none.
    pub queued_ms: u64,
    /// Expected milliseconds of what it was given last.
    last_ms: u64,
    /// How many of them are of each stage.
    stages: [u32; 7],
    /// Logarithm of how much longer tasks take here than on the others.
    slowness: f64,
    /// Finished tasks that say so.
    seen: u32,
    /// Core time of finished attempts.
    pub busy_ms: u64,
    /// Attempts that failed on it, one after another.
    pub failing: u32,
    /// It gets nothing before.
    pub rest_until_ms: u64,
    /// Workers that found outputs of it damaged.
    pub accused_by: Vec<u32>,
    /// Gets nothing more.
    pub quarantined: bool,
    /// It left.
    pub gone: bool,
    /// A bundle that was filled, when, and for how long.
    pub filled: Option<(u64, u64)>,
    /// Its place among those who have room.
    key: Option<(u32, u32)>,
}

/// A site.
#[derive(Clone, Debug)]
pub struct Site {
    /// Its terms.
    pub spec: SiteSpec,
    /// Whether it is being left.
    pub drain: bool,
    /// Cores of its workers.
    pub slots: u32,
    /// Workers that may get something.
    pub workers: u32,
    /// Workers with room, the emptiest first, then the fastest.
    room: BTreeSet<(u32, u32, u32)>,
    /// Workers with room for whom nothing was found.
    parked: Vec<u32>,
    /// Memory of the workers that may get something.
    memory: BTreeMap<u64, u32>,
    /// When one of its workers last ended something.
    pub moved_ms: u64,
}

/// All workers and sites.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// By number.
    pub sites: Vec<Option<Site>>,
    /// In the order in which they joined.
    pub workers: Vec<Worker>,
    /// Those that are there, by name.
    pub names: BTreeMap<WorkerId, u32>,
    /// Every name that was used.
    known: FastSet<WorkerId>,
    /// Workers that rest.
    resting: Vec<u32>,
    /// Cores for which a worker has an attempt.
    taken: u32,
}

/// How full a worker is whose cores all have a task.
const FULL: u32 = 1024;

/// An order is sent ahead where a core is expected to be free within this time,
const AHEAD_MS: u64 = 1000;

/// or so many times the way there and back.
const AHEAD_WAYS: u64 = 100;

/// So many failures in a row are not the tasks' fault any more.
const FAILING_MAX: u32 = 3;

/// A worker is judged by how it did with about so many of its last tasks.
const SPEED_WINDOW: u32 = 10;

impl Worker {
    /// How fast it is; 1 is usual.
    pub fn speed(&self) -> f64 {
        (-self.slowness).exp()
    }

    /// It took `ms` for what was expected to take `expected_ms` on a usual worker.
    pub fn observe(&mut self, expected_ms: f64, ms: f64) {
        self.seen = (self.seen + 1).min(SPEED_WINDOW);
        // A stuck task says little about the machine, an empty one nothing.
        let ratio = (ms.max(1.0) / expected_ms.max(1.0)).ln().clamp(-2.0, 2.0);
        self.slowness += (ratio - self.slowness) / f64::from(self.seen + 2);
    }

    /// Whether it may get anything at all.
    pub fn is_open(&self) -> bool {
        !self.gone && !self.quarantined && self.filled.is_none() && self.rest_until_ms == 0
    }

    /// Predicted bytes of the most demanding tasks it could come to run at once, with its process.
    pub fn memory_bytes(&self, memory: &MemoryModel) -> u64 {
        self.memory_with(memory, None)
    }

    fn memory_with(&self, memory: &MemoryModel, more: Option<Stage>) -> u64 {
        let mut order: [usize; 7] = std::array::from_fn(|stage| stage);
        order.sort_unstable_by_key(|&stage| std::cmp::Reverse(memory.task_bytes[stage]));
        let mut slots = self.spec.slots;
        let mut bytes = memory.fixed_bytes;
        for stage in order {
            let tasks = self.stages[stage] + u32::from(more.is_some_and(|more| more as usize == stage));
            let tasks = tasks.min(slots);
            slots -= tasks;
            bytes += u64::from(tasks) * memory.task_bytes[stage];
        }
        bytes
    }
}

impl Site {
    fn opened(&mut self, worker: &WorkerSpec) {
        self.slots += worker.slots;
        self.workers += 1;
        *self.memory.entry(worker.memory_bytes).or_insert(0) += 1;
    }

    fn closed(&mut self, worker: &WorkerSpec) {
        self.slots -= worker.slots;
        self.workers -= 1;
        if let Some(count) = self.memory.get_mut(&worker.memory_bytes) {
            *count -= 1;
            if *count == 0 {
                self.memory.remove(&worker.memory_bytes);
            }
        }
    }

    fn memory_max(&self) -> u64 {
        self.memory.last_key_value().map_or(0, |(&bytes, _)| bytes)
    }

    /// Workers that have room; of a batch site, bundles that could be filled.
    pub fn offered(&self) -> usize {
        self.room.len()
    }
}

impl Places {
    /// The worker of this name, if it is there.
    pub fn find(&self, worker: WorkerId) -> Option<u32> {
        self.names.get(&worker).copied()
    }

    /// A worker joined; `None` if its name was used before.
    pub fn join(&mut self, now_ms: u64, id: WorkerId, spec: WorkerSpec) -> Option<u32> {
        let index = self.workers.len() as u32;
        if !self.known.insert(id) {
            return None;
        }
        self.names.insert(id, index);
        let site = usize::from(spec.site);
        if self.sites.len() <= site {
            self.sites.resize(site + 1, None);
        }
        if let Some(site) = &mut self.sites[site] {
            site.opened(&spec);
        }
        self.workers.push(Worker {
            id,
            spec,
            joined_ms: now_ms,
            attempts: Vec::new(),
            running: 0,
            queued_ms: 0,
            last_ms: 0,
            stages: [0; 7],
            slowness: 0.0,
            seen: 0,
            busy_ms: 0,
            failing: 0,
            rest_until_ms: 0,
            accused_by: Vec::new(),
            quarantined: false,
            gone: false,
            filled: None,
            key: None,
        });
        Some(index)
    }

    /// A worker left of which nobody knows: if word of its coming arrives later, it is gone already.
    pub fn never_came(&mut self, id: WorkerId) {
        self.known.insert(id);
    }

    /// A worker left.
    pub fn leave(&mut self, worker: u32) {
        if !self.workers[worker as usize].quarantined {
            self.close(worker);
        }
        self.workers[worker as usize].gone = true;
        self.names.remove(&self.workers[worker as usize].id);
    }

    /// A worker was wrong.
    pub fn quarantine(&mut self, worker: u32) {
        self.close(worker);
        self.workers[worker as usize].quarantined = true;
    }

    /// A worker gets nothing more.
    fn close(&mut self, worker: u32) {
        self.unseat(worker);
        let spec = &self.workers[worker as usize].spec;
        if let Some(site) = &mut self.sites[usize::from(spec.site)] {
            site.closed(spec);
        }
    }

    /// It gets an attempt.
    pub fn give(&mut self, worker: u32, attempt: AttemptId, task: Task, ms: u64) {
        let one = &mut self.workers[worker as usize];
        one.attempts.push(attempt);
        one.stages[task.stage() as usize] += 1;
        one.queued_ms += ms;
        one.last_ms = ms;
        self.taken += u32::from(one.attempts.len() as u32 <= one.spec.slots);
    }

    /// It has ended an attempt, or lost it.
    pub fn take(&mut self, worker: u32, attempt: AttemptId, task: Task, now_ms: u64) {
        let one = &mut self.workers[worker as usize];
        if let Some(at) = one.attempts.iter().position(|&given| given == attempt) {
            self.taken -= u32::from(one.attempts.len() as u32 <= one.spec.slots);
            one.attempts.swap_remove(at);
            one.stages[task.stage() as usize] -= 1;
        }
        if let Some(site) = &mut self.sites[usize::from(one.spec.site)] {
            site.moved_ms = now_ms;
        }
        self.seat(worker);
    }

    /// Cores that have nothing, about: what waits behind a busy core leaves others free.
    pub fn free_cores(&self) -> u32 {
        self.slots().saturating_sub(self.taken)
    }

    /// A worker failed again and again: it gets nothing for a while, longer each time.
    pub fn rest(&mut self, worker: u32, now_ms: u64) {
        let one = &mut self.workers[worker as usize];
        one.failing += 1;
        if one.failing >= FAILING_MAX {
            one.rest_until_ms = now_ms + (1000 << (one.failing - FAILING_MAX).min(8));
            self.resting.push(worker);
            self.unseat(worker);
        }
    }

    /// Lets workers work again that have rested.
    pub fn wake_rested(&mut self, now_ms: u64) {
        let resting = std::mem::take(&mut self.resting);
        for worker in resting {
            if self.workers[worker as usize].rest_until_ms > now_ms {
                self.resting.push(worker);
            } else {
                self.workers[worker as usize].rest_until_ms = 0;
                self.seat(worker);
            }
        }
    }

    /// A site appears, or its terms change.
    pub fn set_site(&mut self, number: u16, spec: SiteSpec) {
        let number = usize::from(number);
        if self.sites.len() <= number {
            self.sites.resize(number + 1, None);
        }
        match &mut self.sites[number] {
            Some(site) => site.spec = spec,
            empty => {
                let here = |worker: &&Worker| {
                    usize::from(worker.spec.site) == number && !worker.gone && !worker.quarantined
                };
                let site = empty.insert(Site {
                    spec,
                    drain: false,
                    slots: 0,
                    workers: 0,
                    room: BTreeSet::new(),
                    parked: Vec::new(),
                    memory: BTreeMap::new(),
                    moved_ms: 0,
                });
                self.workers.iter().filter(here).for_each(|worker| site.opened(&worker.spec));
            }
        }
        let here = |&worker: &u32| usize::from(self.workers[worker as usize].spec.site) == number;
        let here: Vec<u32> = self.names.values().copied().filter(here).collect();
        here.into_iter().for_each(|worker| self.seat(worker));
    }

    /// The site of a worker, if its terms are known.
    pub fn site_of(&self, worker: u32) -> usize {
        self.workers[worker as usize].spec.site.into()
    }

    /// The most memory that a worker has.
    pub fn memory_max(&self) -> u64 {
        self.sites.iter().flatten().map(Site::memory_max).max().unwrap_or(0)
    }

    /// The memory that a worker must have in all to run a task of this stage; the most that there is, if nobody has
    /// enough.
    pub fn least_memory(&self, stage: Stage, memory: &MemoryModel) -> u64 {
        (memory.fixed_bytes + memory.task_bytes[stage as usize]).min(self.memory_max())
    }

    /// Workers of a site with at least this memory.
    pub fn workers_with(&self, site: usize, bytes: u64) -> u32 {
        self.sites[site].as_ref().map_or(0, |site| site.memory.range(bytes..).map(|(_, &count)| count).sum())
    }

    /// Puts a worker among those with room, if it has any.
    pub fn seat(&mut self, worker: u32) {
        self.unseat(worker);
        let index = worker as usize;
        let number = usize::from(self.workers[index].spec.site);
        let Some(site) = &mut self.sites[number] else { return };
        let one = &mut self.workers[index];
        let (slots, given) = (one.spec.slots, one.attempts.len() as u32);
        // Beyond what runs: enough to be busy while the next order is on its way. But what waits at a worker waits for
        // that worker; where cores are long busy, it is no use there, and others wait for it.
        let way_ms = 2 * site.spec.latency_ms;
        let soon = one.last_ms <= u64::from(slots) * AHEAD_MS.max(AHEAD_WAYS * way_ms);
        let ahead_ms = way_ms * u64::from(slots);
        let ahead = ahead_ms > 0 && (given == slots || (given < 4 * slots && one.queued_ms < ahead_ms));
        if !one.is_open() || site.drain || slots == 0 || (given >= slots && !(ahead && soon)) {
            return;
        }
        let key = (given * FULL / slots, ((one.slowness + 4.0) * 1024.0) as u32);
        one.key = Some(key);
        site.room.insert((key.0, key.1, worker));
    }

    /// Takes a worker from those with room.
    pub fn unseat(&mut self, worker: u32) {
        let one = &mut self.workers[worker as usize];
        if let (Some(key), Some(site)) = (one.key.take(), &mut self.sites[usize::from(one.spec.site)]) {
            site.room.remove(&(key.0, key.1, worker));
        }
    }

    /// The worker of a site that should get the next task.
    pub fn next_with_room(&self, site: usize) -> Option<u32> {
        self.sites[site].as_ref()?.room.first().map(|&(_, _, worker)| worker)
    }

    /// A worker of this site with a free core.
    pub fn next_with_core(&self, site: usize) -> Option<u32> {
        let room = self.sites[site].as_ref()?.room.first();
        room.filter(|&&(fill, ..)| fill < FULL).map(|&(_, _, worker)| worker)
    }

    /// Whether a worker of this site has a free core.
    pub fn has_free_core(&self, site: usize) -> bool {
        self.next_with_core(site).is_some()
    }

    /// Whether a worker of this site has a core that nothing was found for.
    pub fn has_idle_core(&self, site: usize) -> bool {
        let idle = |&worker: &u32| {
            let one = &self.workers[worker as usize];
            one.is_open() && one.attempts.len() < one.spec.slots as usize
        };
        let parked = self.sites[site].as_ref().map_or(&[][..], |site| &site.parked);
        self.has_free_core(site) || parked.iter().any(idle)
    }

    /// Nothing was found for this worker; it is not asked again until something changes.
    pub fn park(&mut self, worker: u32) {
        self.unseat(worker);
        let number = self.site_of(worker);
        if let Some(site) = &mut self.sites[number] {
            site.parked.push(worker);
        }
    }

    /// Something changed that might be for those for whom nothing was found.
    pub fn unpark(&mut self) {
        for site in 0..self.sites.len() {
            let Some(site) = &mut self.sites[site] else { continue };
            let parked = std::mem::take(&mut site.parked);
            parked.into_iter().for_each(|worker| self.seat(worker));
        }
    }

    /// Whether a worker's memory takes one more task of this stage.
    pub fn fits(&self, worker: u32, stage: Stage, memory: &MemoryModel) -> bool {
        let one = &self.workers[worker as usize];
        // What nobody has the memory for runs alone where there is most.
        one.memory_with(memory, Some(stage)) <= one.spec.memory_bytes
            || (one.attempts.is_empty() && one.spec.memory_bytes >= self.least_memory(stage, memory))
    }

    /// Workers that are there and trusted.
    pub fn open_workers(&self) -> u32 {
        self.sites.iter().flatten().map(|site| site.workers).sum()
    }

    /// Cores that may get something, of all sites.
    pub fn slots(&self) -> u32 {
        self.sites.iter().flatten().filter(|site| !site.drain).map(|site| site.slots).sum()
    }

    /// When a task is expected to end at a site, from now: wait for a core, way of the order, way of the data, work.
    pub fn ends_in_ms(&self, number: usize, now_ms: u64, queued_ms: u64, task_ms: u64, bytes: f64) -> u64 {
        let Some(site) = &self.sites[number] else { return u64::MAX };
        let wait_ms = if self.has_free_core(number) {
            0
        } else {
            // A site that ends nothing for long is not about to.
            let share_ms = queued_ms / u64::from(site.slots.max(1));
            share_ms.max(now_ms.saturating_sub(site.moved_ms).saturating_sub(task_ms))
        };
        let way_ms = site.spec.bytes_per_second.map_or(0.0, |rate| bytes * 1e3 / rate.max(1) as f64) as u64;
        // In a bundle it ends with the others.
        let bundle_ms = site.spec.bundles.map_or(0, |bundles| bundles.bundle_ms.min(queued_ms));
        wait_ms + site.spec.latency_ms + way_ms + task_ms.max(bundle_ms)
    }
}
