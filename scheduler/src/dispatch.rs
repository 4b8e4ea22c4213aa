//! From gaps to tasks, and from tasks to workers.

use crate::coverage::{cut_at, cut_evenly, shard_of};
use crate::event::{AttemptId, Command, Purpose};
use crate::graph::Mark;
use crate::machine::{Attempt, Scheduler};
use crate::pace::SLOW;
use crate::ready::{Item, Kind};
use crate::trust::Trouble;
use jobs::task::{Shard, Stage, Task};
use std::cmp::Reverse;
use std::ops::Range;

/// What was found for a worker.
enum Found {
    Item(Item),
    /// It would end sooner, or cheaper, elsewhere.
    Elsewhere,
    Nothing,
}

/// Entries of one queue that are tried for a worker that may not have the first.
const LOOKS: usize = 8;

/// Queues of one stage that are tried for a worker.
const ROWS: usize = 4;

/// The last work of a job is cut so that each core gets about so many pieces.
const LAST_PIECES: f64 = 20.0;

/// What follows a slow attempt is expected to take so many times longer at most.
const LATENESS_MAX: f64 = 16.0;

/// What waits is cut again when it is so many times longer than it would be cut now.
const TOO_LONG: f64 = 2.0;

impl Scheduler {
    /// Cuts gaps that may be cut, and queues what was woken. Open runs of the joint call wait until they are worth a
    /// task, unless cores would be idle.
    pub(crate) fn cut_gaps(&mut self, idle: bool) {
        for (sample, cells) in std::mem::take(&mut self.graph.opened) {
            let state = &self.graph.samples[sample as usize];
            // Opened a moment ago, and closed since.
            let is_open = self.graph.has_inputs(Task::Region(sample, Shard::Unplaced));
            if state.dropped.is_some() || !is_open {
                continue;
            }
            for gap in state.cells.gaps(cells) {
                let task = |cells| Task::Region(sample, shard_of(cells));
                for cells in self.pieces(task(gap)) {
                    self.add_ready(task(cells));
                }
            }
        }
        self.cut_joint(idle);
        for task in std::mem::take(&mut self.graph.woken) {
            self.enqueue(task, Kind::Work);
        }
        self.rest_slowness = 1.0;
    }

    fn cut_joint(&mut self, idle: bool) {
        let all = idle || self.graph.is_covered();
        if self.graph.joint_open.is_empty() || !(all || self.graph.joint_touched) {
            return;
        }
        self.graph.joint_touched = false;
        let target_ms = self.target_ms(Stage::Joint);
        let open: Vec<Range<u32>> = self.graph.joint_open.iter().map(|(&first, &end)| first..end).collect();
        for run in open {
            let task = |cells| Task::Joint(shard_of(cells));
            let ms = || self.cell_costs(task(run.clone())).iter().sum::<f64>();
            if self.graph.plan.lines.is_none() && !all && ms() * self.rest_slowness < target_ms {
                continue;
            }
            for cells in self.pieces(task(run)) {
                if self.is_whole(&cells) {
                    self.graph.close_joint(cells.clone());
                    self.add_ready(task(cells));
                }
            }
        }
    }

    /// Whether the forced lines let these cells be a task: not while what lies between two lines is open only in part.
    fn is_whole(&self, cells: &Range<u32>) -> bool {
        let Some(lines) = &self.graph.plan.lines else { return true };
        let at = lines.partition_point(|&line| line <= cells.start);
        let first = if at == 0 { 0 } else { lines[at - 1] };
        let end = lines.get(at).copied().unwrap_or(u32::MAX).min(self.graph.plan.cells);
        self.graph.joint.gaps(first..end).contains(cells)
    }

    /// The cells of a region or joint task, cut as tasks should be now.
    fn pieces(&self, task: Task) -> Vec<Range<u32>> {
        let cells = task.steps().unwrap_or_default();
        if let Some(lines) = &self.graph.plan.lines {
            return cut_at(cells, lines);
        }
        let costs = self.cell_costs(task);
        let slow = self.rest_slowness;
        let whole_ms: f64 = costs.iter().sum();
        let target_ms = self.shared_ms(whole_ms * slow, self.target_ms(task.stage())) / slow;
        let ms = |cell: u32| costs[(cell - cells.start) as usize];
        let (lines, cells_max) =
            (self.graph.plan.parts().lines().collect::<Vec<u32>>(), self.graph.plan.shard_cells_max);
        let within = cut_at(cells.clone(), &lines).into_iter();
        within.flat_map(|cells| cut_evenly(cells, target_ms, cells_max.max(1), ms)).collect()
    }

    /// Expected milliseconds of each cell of a region or joint task.
    fn cell_costs(&self, task: Task) -> Vec<f64> {
        let cost = *self.costs.stage(task.stage());
        let ms = |cell: u32| {
            let units = self.graph.units_in(task, cell..cell + 1);
            units.reads * cost.read_ns * 1e-6 + units.cells * cost.cell_ms
        };
        task.steps().unwrap_or_default().map(ms).collect()
    }

    /// Cuts a task that would now be cut shorter, before it is given. Returns whether it was.
    fn cut_shorter(&mut self, item: &Item) -> bool {
        let task = item.task.0;
        let may = item.kind == Kind::Work && self.graph.is_span(task) && self.graph.plan.lines.is_none();
        if !may || f64::from(item.ms) < TOO_LONG * self.target_ms(task.stage()) {
            return false;
        }
        let pieces = self.pieces(task);
        if pieces.len() < 2 {
            return false;
        }
        self.graph.remove_span(task);
        for cells in pieces {
            self.add_ready(task.over(cells));
        }
        true
    }

    /// Into how many maps the rest of one that was cut is to be taken.
    pub(crate) fn pieces_of(&self, rest: Task) -> u16 {
        let rest_ms = self.task_ms(rest) * self.rest_slowness;
        let each_ms = self.shared_ms(rest_ms, self.target_ms(rest.stage()));
        // It may only have begun slowly: more pieces than cores would cost more than they save.
        (rest_ms / each_ms).ceil().min(f64::from(self.places.slots())) as u16
    }

    /// A rest that was cut off is shared among the cores that have nothing else.
    fn shared_ms(&self, whole_ms: f64, target_ms: f64) -> f64 {
        let free = self.places.free_cores();
        if free == 0 || self.ready.len() > 0 {
            return target_ms;
        }
        target_ms.min((whole_ms / f64::from(free + 1)).max(self.options.shard_ms_min as f64))
    }

    /// How long a new region or joint task should take: as long as the plan wishes, shorter towards the end of the job.
    fn target_ms(&self, stage: Stage) -> f64 {
        let wished = self.options.shard_target_ms as f64;
        let share = self.left_ms / f64::from(self.places.slots().max(1)) / LAST_PIECES;
        let least = (self.options.shard_ms_min as f64).max(8.0 * self.costs.stage(stage).fixed_ms);
        share.clamp(least.min(wished), wished)
    }

    /// Makes a gap a task that may start.
    pub(crate) fn add_ready(&mut self, task: Task) {
        if self.graph.add_span(task, Mark::Ready) {
            self.enqueue(task, Kind::Work);
        }
    }

    pub(crate) fn enqueue(&mut self, task: Task, kind: Kind) {
        let again = kind == Kind::Work && !self.trouble.is_empty() && self.trouble.contains_key(&task);
        let kind = match kind {
            Kind::Work if again => Kind::Again,
            Kind::Work if self.rest_slowness > TOO_LONG => Kind::Hard,
            kind => kind,
        };
        // After a stall that has passed, what follows must still be able to be late.
        let ms = self.task_ms(task) * self.rest_slowness.min(LATENESS_MAX);
        let item = Item { kind, ms: ms.min(f64::from(u32::MAX)) as u32, task: Reverse(task) };
        let first = self.ready.push(self.graph.row(task), item);
        if first || kind != Kind::Work {
            self.places.unpark();
        }
    }

    /// Which samples each site may have, by the queues: the cohort's tasks read every joined sample.
    pub(crate) fn allow(&mut self) {
        for (number, site) in self.places.sites.iter().enumerate() {
            let Some(site) = site else { continue };
            let may = |sample: usize| site.spec.allowed.get(sample).copied().unwrap_or(false);
            let mut allowed: Vec<bool> = (0..self.graph.samples.len()).map(may).collect();
            let counts = |&(sample, _): &(usize, &bool)| self.graph.samples[sample].dropped.is_none();
            let all = allowed.iter().enumerate().filter(counts).all(|(_, &allowed)| allowed);
            allowed.push(all);
            self.ready.allow(number as u16, allowed);
        }
    }

    /// Gives tasks to workers as long as there are both.
    pub(crate) fn dispatch(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        // What one site took makes another the better one for the rest.
        while (0..self.places.sites.len()).fold(false, |any, site| self.dispatch_to(site) | any)
            && self.places.sites.len() > 1
        {}
    }

    /// Gives a site what it should get. Returns whether it got anything.
    fn dispatch_to(&mut self, number: usize) -> bool {
        let mut any = false;
        while self.ready.has_for(number) {
            let Some(worker) = self.places.next_with_room(number) else { break };
            match self.find_for(number, worker) {
                Found::Item(item) if self.cut_shorter(&item) => {}
                Found::Item(item) => {
                    self.start(worker, item);
                    self.fill(number, worker);
                    any = true;
                }
                Found::Elsewhere => break,
                Found::Nothing => self.places.park(worker),
            }
        }
        any
    }

    /// A bundle is filled with the first task it gets: tasks for its cores and the time that bundles are to take, or an
    /// equal share of what there is.
    fn fill(&mut self, number: usize, worker: u32) {
        let Some(site) = &self.places.sites[number] else { return };
        let Some(bundles) = site.spec.bundles else { return };
        let slots = u64::from(self.places.workers[worker as usize].spec.slots);
        let offered = site.offered() as u64;
        let share = self.ready.ms(number) / offered.max(1);
        // Waiting in a queue for less than the way there takes is not worth it.
        let least = site.spec.latency_ms.min(bundles.bundle_ms) * slots;
        let wished = share.max(least).min(bundles.bundle_ms * slots);
        while self.places.workers[worker as usize].queued_ms < wished && self.ready.has_for(number) {
            match self.find_for(number, worker) {
                Found::Item(item) => self.start(worker, item),
                Found::Elsewhere | Found::Nothing => break,
            }
        }
        let ms = self.places.workers[worker as usize].queued_ms / slots.max(1);
        self.places.workers[worker as usize].filled = Some((self.now_ms, ms));
        self.places.seat(worker);
    }

    fn find_for(&mut self, number: usize, worker: u32) -> Found {
        let Some(site) = &self.places.sites[number] else { return Found::Nothing };
        let stages = site.spec.stages;
        let mut otherwise = Found::Nothing;
        for (row, stage) in self.ready.fronts(number, stages) {
            if !self.places.fits(worker, stage, &self.graph.plan.memory) {
                continue;
            }
            let mut next = Some(row);
            for _ in 0..ROWS {
                let Some(row) = next else { break };
                let mut aside = Vec::new();
                let mut found = Found::Nothing;
                while aside.len() < LOOKS {
                    let Some(item) = self.ready.pop(row, stage) else { break };
                    if !self.holds(&item) {
                        continue;
                    }
                    if self.is_barred(&item, worker) {
                        aside.push(item);
                    } else if self.is_better_elsewhere(&item, number) {
                        aside.push(item);
                        found = Found::Elsewhere;
                        break;
                    } else {
                        found = Found::Item(item);
                        break;
                    }
                }
                for item in aside {
                    self.ready.push(row, item);
                }
                match found {
                    Found::Item(item) => return Found::Item(item),
                    Found::Elsewhere => otherwise = Found::Elsewhere,
                    Found::Nothing => {}
                }
                next = self.ready.next_row(number, stage, row);
            }
        }
        otherwise
    }

    /// Whether an entry still says what is to be done.
    fn holds(&mut self, item: &Item) -> bool {
        let task = item.task.0;
        match item.kind {
            Kind::Work | Kind::Hard | Kind::Again => {
                self.graph.mark(task) == Some(Mark::Ready) && !self.graph.is_dropped(task)
            }
            Kind::Copy => {
                let wanted = self.copies.get(&task).and_then(|id| self.attempts.get(id));
                self.graph.has_inputs(task)
                    && wanted
                        .is_some_and(|first| first.task == task && !first.cancelled && first.twin.is_none())
            }
            Kind::Audit => self.wants_check(task),
        }
    }

    /// Whether a worker may not have a task that others may.
    fn is_barred(&self, item: &Item, worker: u32) -> bool {
        let task = item.task.0;
        match item.kind {
            Kind::Work | Kind::Hard => self.is_sooner_elsewhere(item, worker),
            Kind::Again => {
                let tried = self.trouble.get(&task).map_or(&[][..], |trouble| &trouble.tried);
                tried.contains(&worker) && self.others(task, tried) > 0
            }
            Kind::Copy => self.copies.get(&task).is_some_and(|first| self.attempts[first].worker == worker),
            Kind::Audit => {
                let had = self.audits.get(&task).map(|audit| audit.workers()).unwrap_or_default();
                had.contains(&worker) && self.others(task, &had) > 0
            }
        }
    }

    /// Whether a slow worker would take longer than it takes to wait for another: asked of what can be neither cut nor
    /// copied, and of intakes and models, for which all of a lane waits.
    fn is_sooner_elsewhere(&self, item: &Item, worker: u32) -> bool {
        let (task, speed) = (item.task.0, self.places.workers[worker as usize].speed());
        let is_chained = matches!(task.stage(), Stage::Intake | Stage::Model);
        if !(is_chained || task.stage() >= Stage::Finish) || speed > SLOW {
            return false;
        }
        let (row, stage) = (self.graph.row(task), task.stage());
        let longer_ms = f64::from(item.ms) * (speed.recip() - 1.0);
        self.attempts.values().any(|attempt| {
            let other = &self.places.workers[attempt.worker as usize];
            // What is overdue may never end.
            let rest_ms = attempt
                .started_ms
                .map_or(0.0, |started_ms| attempt.expected_ms - (self.now_ms - started_ms) as f64);
            rest_ms > 0.0
                && rest_ms < longer_ms
                && other.is_open()
                && other.speed() > SLOW
                && self.may_go_to(usize::from(other.spec.site), row, stage)
        })
    }

    /// Workers that may get this task, other than these.
    pub(crate) fn others(&self, task: Task, these: &[u32]) -> u32 {
        let (row, stage) = (self.graph.row(task), task.stage());
        let need_bytes = self.places.least_memory(stage, &self.graph.plan.memory);
        let open = |number: usize| self.may_go_to(number, row, stage);
        let all: u32 = (0..self.places.sites.len())
            .filter(|&number| open(number))
            .map(|number| self.places.workers_with(number, need_bytes))
            .sum();
        let counted = |&&worker: &&u32| {
            let one = &self.places.workers[worker as usize];
            let there = !one.gone && !one.quarantined && open(self.places.site_of(worker));
            there && one.spec.memory_bytes >= need_bytes
        };
        let mut these = these.to_vec();
        these.sort_unstable();
        these.dedup();
        all - these.iter().filter(counted).count() as u32
    }

    /// Whether a worker other than this has a core for a task and nothing for it.
    pub(crate) fn has_core_for(&self, task: Task, other_than: Option<u32>) -> bool {
        let (row, stage) = (self.graph.row(task), task.stage());
        (0..self.places.sites.len()).any(|number| {
            self.may_go_to(number, row, stage)
                && self.places.next_with_core(number).is_some_and(|worker| {
                    Some(worker) != other_than && self.places.fits(worker, stage, &self.graph.plan.memory)
                })
        })
    }

    /// Whether tasks of this row and stage may be given to a site at all.
    fn may_go_to(&self, number: usize, row: usize, stage: Stage) -> bool {
        self.places.sites[number].as_ref().is_some_and(|site| {
            !site.drain && site.spec.stages[stage as usize] && self.ready.is_allowed(number, row)
        })
    }

    /// Whether another site would end a task in nine tenths of the time, or in about the same time for less.
    fn is_better_elsewhere(&self, item: &Item, here: usize) -> bool {
        if item.kind > Kind::Hard || self.places.sites.len() == 1 {
            return false;
        }
        let task = item.task.0;
        let (row, stage) = (self.graph.row(task), task.stage());
        let bytes = self.graph.units(task).reads * self.graph.plan.costs.bytes_per_read;
        let ms = u64::from(item.ms);
        // What was popped to be looked at waits with the others.
        let ends =
            |site: usize| self.places.ends_in_ms(site, self.now_ms, self.ready.ms(site) + ms, ms, bytes);
        let price =
            |site: usize| self.places.sites[site].as_ref().map_or(f64::MAX, |site| site.spec.price_core_hour);
        let need_bytes = self.places.least_memory(stage, &self.graph.plan.memory);
        let mine = ends(here);
        (0..self.places.sites.len()).any(|other| {
            if other == here
                || !self.may_go_to(other, row, stage)
                || self.places.workers_with(other, need_bytes) == 0
            {
                return false;
            }
            let theirs = ends(other);
            theirs.saturating_mul(10) < mine.saturating_mul(9)
                || (theirs.saturating_mul(9) <= mine.saturating_mul(10) && price(other) < price(here))
        })
    }

    fn start(&mut self, worker: u32, item: Item) {
        let task = item.task.0;
        let id = AttemptId(self.next_attempt);
        self.next_attempt += 1;
        let purpose = match item.kind {
            Kind::Work | Kind::Hard | Kind::Again => Purpose::Work,
            Kind::Copy => Purpose::Copy,
            Kind::Audit => Purpose::Audit,
        };
        let twin = if purpose == Purpose::Copy { self.copies.remove(&task) } else { None };
        if let Some(first) = twin.and_then(|twin| self.attempts.get_mut(&twin)) {
            first.twin = Some(id);
        }
        match purpose {
            Purpose::Work => self.graph.set(task, Mark::Given),
            Purpose::Audit => self.check_given(task, id),
            Purpose::Copy => {}
        }
        let expected_ms = f64::from(item.ms) / self.places.workers[worker as usize].speed();
        let attempt = Attempt {
            task,
            worker,
            purpose,
            given_ms: self.now_ms,
            started_ms: None,
            slot: 0,
            reached: None,
            expected_ms,
            hard: item.kind == Kind::Hard,
            twin,
            cut_asked_ms: None,
            cancelled: false,
            straggles: false,
        };
        self.attempts.insert(id, attempt);
        self.live += 1;
        self.places.give(worker, id, task, expected_ms as u64);
        self.places.seat(worker);
        let worker = self.places.workers[worker as usize].id;
        self.out.push(Command::Start { worker, attempt: id, task, purpose });
    }

    /// Cuts a task that is too much for its worker in two; `false` if it cannot be cut.
    pub(crate) fn split(&mut self, task: Task) -> bool {
        // Halves are other tasks; that workers were lost stays suspicious.
        let trouble = self.trouble.remove(&task);
        let halves = match task {
            Task::Map(lane, chunk) => self.graph.halve(lane, chunk).map(|halves| halves.to_vec()),
            Task::Region(..) | Task::Joint(_) if self.graph.is_span(task) => self.halve_cells(task),
            _ => None,
        };
        let Some(halves) = halves else {
            self.trouble.extend(trouble.map(|trouble| (task, trouble)));
            return false;
        };
        for half in halves {
            if let Some(trouble) = &trouble {
                self.trouble.insert(half, Trouble { losses: trouble.losses, ..Trouble::default() });
            }
            if self.graph.is_span(half) && self.graph.has_inputs(half) {
                self.add_ready(half);
            } else {
                self.graph.put_back(half);
            }
        }
        true
    }

    /// Two runs of cells of about equal cost.
    fn halve_cells(&mut self, task: Task) -> Option<Vec<Task>> {
        let cells = task.steps()?;
        if cells.len() < 2 {
            return None;
        }
        let costs = self.cell_costs(task);
        let half = costs.iter().sum::<f64>() / 2.0;
        let mut sum = 0.0;
        let before = costs.windows(2).take_while(|pair| {
            sum += pair[0];
            sum + pair[1] / 2.0 < half
        });
        let middle = cells.start + 1 + (before.count() as u32).min(cells.len() as u32 - 2);
        self.graph.remove_span(task);
        Some(vec![task.over(cells.start..middle), task.over(middle..cells.end)])
    }
}
