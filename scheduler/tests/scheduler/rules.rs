//! Each rule alone.

use crate::world::{GIB, Weather, World, plan, site, truth, worker};
use jobs::failure::Class;
use jobs::genome::Cell;
use jobs::task::{Chunk, INTAKE_CHUNKS, LaneId, Shard, Stage, Task};
use scheduler::{
    AttemptId, Command, Departure, Ending, Event, Exhausted, Facts, Options, Plan, Purpose, Scheduler, Usage,
    Waiting, WorkerId, WorkerSpec,
};
use std::collections::{BTreeMap, BTreeSet};

/// A scheduler at hand: what it started and has not ended.
pub struct Desk {
    pub scheduler: Scheduler,
    pub now_ms: u64,
    pub open: BTreeMap<AttemptId, (WorkerId, Task, Purpose)>,
    pub said: Vec<Command>,
}

pub const LANE: LaneId = LaneId { sample: 0, lane: 0 };

pub fn cells(first: u32, end: u32) -> Shard {
    Shard::Cells { first: Cell(first), end: Cell(end) }
}

fn interrupted(attempt: AttemptId) -> Event {
    let (class, usage) = (Class::Interrupted, Usage::default());
    Event::Failed { attempt, class, exhausted: None, damaged: None, usage }
}

impl Desk {
    pub fn new(plan: Plan, options: Options, workers: &[WorkerSpec]) -> Self {
        let samples = plan.samples.len();
        let scheduler = Scheduler::new(plan, options);
        let mut desk = Desk { scheduler, now_ms: 0, open: BTreeMap::new(), said: Vec::new() };
        desk.tell(Event::Site { site: 0, spec: site(samples) });
        for (number, spec) in workers.iter().enumerate() {
            desk.tell(Event::Joined { worker: WorkerId::new(0, number as u32), spec: spec.clone() });
        }
        desk
    }

    /// Cancelled attempts end at once.
    pub fn tell(&mut self, event: Event) -> Vec<Command> {
        let mut commands = self.scheduler.handle(self.now_ms, event);
        let mut next = 0;
        while let Some(&command) = commands.get(next) {
            next += 1;
            if let Command::Cancel { attempt, .. } = command {
                commands.extend(self.scheduler.handle(self.now_ms, interrupted(attempt)));
            }
        }
        for &command in &commands {
            self.said.push(command);
            match command {
                Command::Start { worker, attempt, task, purpose } => {
                    self.open.insert(attempt, (worker, task, purpose));
                }
                Command::Cancel { attempt, .. } => drop(self.open.remove(&attempt)),
                _ => {}
            }
        }
        commands
    }

    pub fn of(&self, task: Task) -> AttemptId {
        let found = self.open.iter().find(|(_, open)| open.1 == task);
        *found.unwrap_or_else(|| panic!("{task:?} is not among {:?}", self.open)).0
    }

    pub fn started(&mut self, task: Task) -> AttemptId {
        let attempt = self.of(task);
        self.tell(Event::Started { attempt, slot: 0 });
        attempt
    }

    pub fn facts(&self, task: Task) -> Facts {
        let mut content = [1; 32];
        content[..8].copy_from_slice(&truth(task).to_le_bytes());
        Facts {
            chunks: matches!(task, Task::Intake(..)).then_some(1),
            content: Some(content),
            ..Facts::default()
        }
    }

    pub fn done(&mut self, attempt: AttemptId) -> Vec<Command> {
        let (_, task, _) = self.open.remove(&attempt).expect("it is open");
        let facts = self.facts(task);
        self.tell(Event::Done { attempt, facts, usage: Usage::default() })
    }

    pub fn fails(&mut self, attempt: AttemptId, class: Class) -> Vec<Command> {
        self.failed(attempt, class, None, None)
    }

    pub fn failed(
        &mut self,
        attempt: AttemptId,
        class: Class,
        exhausted: Option<Exhausted>,
        damaged: Option<Task>,
    ) -> Vec<Command> {
        self.open.remove(&attempt);
        self.tell(Event::Failed { attempt, class, exhausted, damaged, usage: Usage::default() })
    }

    /// Ends whatever is open, first given first, until `until` is open or nothing is.
    pub fn run_until(&mut self, until: impl Fn(Task) -> bool) {
        while !self.open.values().any(|&(_, task, _)| until(task)) {
            let Some((&attempt, _)) = self.open.iter().next() else { return };
            self.now_ms += 1000;
            self.done(attempt);
        }
    }

    pub fn run(&mut self) -> Option<Ending> {
        self.run_until(|_| false);
        self.scheduler.ending()
    }

    pub fn tick(&mut self, ms: u64) -> Vec<Command> {
        self.now_ms += ms;
        self.tell(Event::Tick)
    }
}

pub fn one_sample(cells: u32) -> Plan {
    plan(&[(1, true)], cells)
}

#[test]
fn a_map_that_runs_out_of_memory_is_taken_in_halves() {
    let mut desk = Desk::new(one_sample(4), Options::default(), &[worker(2, 40)]);
    desk.tell(Event::Begin);
    let whole = Task::Map(LANE, Chunk::whole(0));
    desk.run_until(|task| task == whole);
    desk.failed(desk.of(whole), Class::Failed, Some(Exhausted::Memory), None);
    let part = |first, end| Task::Map(LANE, Chunk { index: 0, first, end });
    desk.failed(desk.of(part(512, 1024)), Class::Failed, Some(Exhausted::Time), None);
    assert_eq!(desk.run(), Some(Ending::Complete));
    let region = Task::Region(0, Shard::Unplaced);
    assert_eq!(desk.scheduler.inputs(region), [part(0, 512), part(512, 768), part(768, 1024)]);
}

#[test]
fn a_region_that_runs_out_of_memory_is_cut_at_a_cell_and_a_single_cell_fails_with_its_class() {
    let mut plan = one_sample(4);
    plan.lines = Some(vec![]);
    let options = Options { attempts_max: 3, ..Options::default() };
    let mut desk = Desk::new(plan, options, &[worker(1, 40)]);
    desk.tell(Event::Begin);
    desk.run_until(|task| task == Task::Region(0, cells(0, 4)));
    desk.failed(desk.of(Task::Region(0, cells(0, 4))), Class::Failed, Some(Exhausted::Memory), None);
    for (first, end) in [(0, 2), (0, 1), (0, 1), (0, 1)] {
        let task = Task::Region(0, cells(first, end));
        desk.run_until(|open| open == task);
        desk.failed(desk.of(task), Class::Failed, Some(Exhausted::Memory), None);
    }
    assert_eq!(desk.run(), Some(Ending::Failed(Class::Failed)));
}

#[test]
fn a_machines_error_moves_the_task_to_another_worker_until_it_is_given_up() {
    let options = Options { attempts_max: 3, ..Options::default() };
    let mut desk = Desk::new(one_sample(4), options, &[worker(1, 40), worker(1, 40), worker(1, 40)]);
    desk.tell(Event::Begin);
    let mut had = Vec::new();
    for class in [Class::Failed, Class::Remote, Class::Internal] {
        let attempt = desk.of(Task::Intake(LANE, 0));
        had.push(desk.open[&attempt].0);
        desk.fails(attempt, class);
    }
    had.sort();
    had.dedup();
    assert_eq!(had.len(), 3);
    assert_eq!(desk.scheduler.ending(), Some(Ending::Failed(Class::Internal)));
}

#[test]
fn chunks_are_mapped_while_the_intake_goes_on_and_regions_wait_for_its_last_part() {
    let more = Facts { pairs: Some(100_000), ..Facts::default() };
    let last = Facts { chunks: Some(INTAKE_CHUNKS + 1), pairs: Some(110_000), ..Facts::default() };
    let done = |desk: &mut Desk, task, facts: &Facts| {
        let attempt = desk.of(task);
        desk.open.remove(&attempt);
        desk.tell(Event::Done { attempt, facts: facts.clone(), usage: Usage::default() })
    };
    let mut desk = Desk::new(one_sample(4), Options::default(), &[worker(9, 40)]);
    desk.tell(Event::Begin);
    let open = |desk: &Desk| desk.open.values().map(|&(_, task, _)| task).collect::<BTreeSet<Task>>();
    let map = |chunk| Task::Map(LANE, Chunk::whole(chunk));
    assert_eq!(open(&desk), BTreeSet::from([Task::Intake(LANE, 0)]));
    done(&mut desk, Task::Intake(LANE, 0), &more);
    assert_eq!(open(&desk), BTreeSet::from([Task::Intake(LANE, 1), Task::Model(LANE)]));
    desk.done(desk.of(Task::Model(LANE)));
    let maps: BTreeSet<Task> = (0..INTAKE_CHUNKS).map(map).chain([Task::Intake(LANE, 1)]).collect();
    assert_eq!(open(&desk), maps);
    (0..INTAKE_CHUNKS).for_each(|chunk| drop(desk.done(desk.of(map(chunk)))));
    assert!(desk.scheduler.waiting(Some(0)).contains_key(&(Stage::Region, Waiting::Inputs(Stage::Intake))));
    done(&mut desk, Task::Intake(LANE, 1), &last);
    assert_eq!(open(&desk), BTreeSet::from([map(INTAKE_CHUNKS)]));
    assert_eq!(desk.scheduler.inputs(map(INTAKE_CHUNKS)), [Task::Intake(LANE, 1), Task::Model(LANE)]);
    desk.done(desk.of(map(INTAKE_CHUNKS)));
    assert_eq!(desk.run(), Some(Ending::Complete));
}

#[test]
fn a_part_of_an_intake_that_is_done_again_leaves_what_follows_from_it() {
    let part = |part: u32, chunks: Option<u32>| {
        let pairs = Some(25_000 * u64::from(chunks.unwrap_or((part + 1) * INTAKE_CHUNKS)));
        Event::Committed {
            task: Task::Intake(LANE, part),
            facts: Facts { chunks, pairs, ..Facts::default() },
        }
    };
    // In the order of a journal; the second part's commit was lost.
    let mut desk = Desk::new(one_sample(4), Options::default(), &[worker(9, 40)]);
    desk.tell(part(2, Some(10)));
    desk.tell(part(0, None));
    desk.tell(Event::Committed { task: Task::Model(LANE), facts: Facts::default() });
    for (chunk, known) in [(9, true), (10, false)] {
        let task = Task::Map(LANE, Chunk::whole(chunk));
        let said = desk.tell(Event::Committed { task, facts: Facts::default() });
        assert_eq!(said.is_empty(), known, "{said:?}");
    }
    assert_eq!(desk.tell(part(3, None)), [Command::Forget(Task::Intake(LANE, 3))]);
    assert_eq!(desk.scheduler.progress(Stage::Intake, None).tasks, 3);
    assert_eq!(desk.scheduler.progress(Stage::Map, None).tasks, 10);
    desk.tell(Event::Begin);
    let maps = [0, 1, 2, 3, 8].map(|chunk| Task::Map(LANE, Chunk::whole(chunk)));
    let open: BTreeSet<Task> = desk.open.values().map(|&(_, task, _)| task).collect();
    assert_eq!(open, maps.into_iter().chain([Task::Intake(LANE, 1)]).collect());
    // Done again, it says what it said.
    let again = desk.of(Task::Intake(LANE, 1));
    desk.open.remove(&again);
    let facts = Facts { pairs: Some(200_000), ..Facts::default() };
    desk.tell(Event::Done { attempt: again, facts, usage: Usage::default() });
    assert_eq!(desk.run(), Some(Ending::Complete));
}

#[test]
fn bad_input_stops_the_job_or_drops_the_sample() {
    let check = |keep_going, class, expect| {
        let options = Options { keep_going, ..Options::default() };
        let mut desk = Desk::new(plan(&[(1, true), (1, true)], 4), options, &[worker(2, 40)]);
        desk.tell(Event::Begin);
        desk.fails(desk.of(Task::Intake(LANE, 0)), class);
        let dropped = desk.said.contains(&Command::DropSample { sample: 0, reason: class });
        assert_eq!(dropped, keep_going);
        assert_eq!(desk.run(), Some(expect));
    };
    check(false, Class::Input, Ending::Failed(Class::Input));
    check(false, Class::Policy, Ending::Failed(Class::Policy));
    check(true, Class::Input, Ending::Partial);
    check(true, Class::Policy, Ending::Partial);
}

#[test]
fn a_dropped_sample_is_taken_out_of_the_joint_calls() {
    let options = Options { keep_going: true, ..Options::default() };
    let mut desk = Desk::new(plan(&[(1, true), (1, true)], 24), options, &[worker(1, 40)]);
    desk.tell(Event::Begin);
    desk.run_until(|task| matches!(task, Task::Joint(_)));
    let first = *desk.open.keys().next().unwrap();
    let joint = desk.open[&first].1;
    desk.done(first);
    let said = desk.tell(Event::Denied { sample: 0 });
    assert!(said.contains(&Command::Forget(joint)), "{said:?}");
    assert_eq!(desk.run(), Some(Ending::Partial));
    assert!(desk.scheduler.inputs(joint).iter().all(|input| input.sample() == Some(1)));
}

#[test]
fn where_everybody_joined_is_gone_the_joint_calls_are_those_of_who_is_left() {
    for finished in [Task::Intake(LANE, 0), Task::FinishSample(1)] {
        let options = Options { keep_going: true, ..Options::default() };
        let mut desk = Desk::new(plan(&[(1, true), (1, false)], 4), options, &[worker(1, 40)]);
        desk.tell(Event::Begin);
        desk.run_until(|task| task == finished);
        desk.tell(Event::Denied { sample: 0 });
        desk.run_until(|task| matches!(task, Task::Joint(_)));
        let mut open = desk.open.values().map(|&(_, task, _)| task);
        let joint = open.find(|task| matches!(task, Task::Joint(_))).expect("the joint calls are made");
        let inputs = desk.scheduler.inputs(joint);
        assert!(!inputs.is_empty() && inputs.iter().all(|input| input.sample() == Some(1)), "{inputs:?}");
        assert_eq!(desk.run(), Some(Ending::Partial));
    }
}

#[test]
fn a_damaged_input_is_made_again_and_counts_against_its_maker() {
    let mut desk = Desk::new(one_sample(4), Options::default(), &[worker(1, 40), worker(1, 40)]);
    desk.tell(Event::Begin);
    let map = Task::Map(LANE, Chunk::whole(0));
    desk.run_until(|task| task == map);
    for _ in 0..2 {
        desk.run_until(|task| task == map);
        desk.done(desk.of(map));
        let region = desk.of(Task::Region(0, Shard::Unplaced));
        let said = desk.failed(region, Class::Integrity, None, Some(map));
        assert!(said.contains(&Command::Forget(map)), "{said:?}");
    }
    assert_eq!(desk.run(), Some(Ending::Complete));
}

#[test]
fn a_lost_worker_costs_the_task_nothing_but_a_task_that_loses_workers_is_cut() {
    let mut plan = one_sample(4);
    plan.lines = Some(vec![]);
    let mut desk = Desk::new(plan, Options::default(), &[worker(1, 40)]);
    desk.tell(Event::Begin);
    let whole = Task::Region(0, cells(0, 4));
    desk.run_until(|task| task == whole);
    for lost in 0..3 {
        let attempt = desk.started(whole);
        let worker_id = desk.open[&attempt].0;
        desk.open.remove(&attempt);
        desk.tell(Event::Left { worker: worker_id, why: Departure::Lost });
        desk.tell(Event::Joined { worker: WorkerId::new(0, 10 + lost), spec: worker(1, 40) });
    }
    assert!(desk.open.values().any(|&(_, task, _)| task == Task::Region(0, cells(0, 2))), "{:?}", desk.open);
    assert_eq!(desk.run(), Some(Ending::Complete));
}

#[test]
fn a_slow_region_is_cut_at_its_next_cell_and_its_rest_shared_out() {
    let mut plan = one_sample(64);
    plan.samples[0].pairs = 2_000_000;
    let mut desk = Desk::new(plan, Options::default(), &[worker(1, 40), worker(1, 40), worker(1, 40)]);
    desk.tell(Event::Begin);
    let long =
        |task: Task| task.stage() == Stage::Region && task.steps().is_some_and(|cells| cells.len() > 3);
    desk.run_until(long);
    let (&slow, &(_, task, _)) = desk.open.iter().find(|(_, open)| long(open.1)).unwrap();
    desk.tell(Event::Started { attempt: slow, slot: 0 });
    // Everything else ends; this one stays in its first cell.
    while desk.open.len() > 1 {
        let other = *desk.open.keys().find(|&&id| id != slow).unwrap();
        desk.done(other);
    }
    let said = desk.tick(60_000);
    let Task::Region(_, Shard::Cells { first, .. }) = task else { unreachable!() };
    let asked = said.iter().any(|said| matches!(said, Command::Cut { attempt, .. } if *attempt == slow));
    assert!(asked, "{said:?}");
    let said = desk.tell(Event::Cut { attempt: slow, task: task.over(first.0..first.0 + 1) });
    let shared = said.iter().filter(|said| matches!(said, Command::Start { .. })).count();
    assert_eq!(shared, 2, "{said:?}");
    assert_eq!(desk.scheduler.commits(slow), Some(Task::Region(0, cells(first.0, first.0 + 1))));
    desk.open.get_mut(&slow).unwrap().1 = Task::Region(0, cells(first.0, first.0 + 1));
    assert_eq!(desk.run(), Some(Ending::Complete));
}

/// A desk of three workers of one core, some way off, where one has just begun a region of several cells.
fn at_a_region() -> (Desk, AttemptId, Task) {
    let mut plan = one_sample(64);
    plan.samples[0].pairs = 2_000_000;
    let mut desk = Desk::new(plan, Options::default(), &[worker(1, 40), worker(1, 40), worker(1, 40)]);
    let mut near = site(1);
    near.latency_ms = 50;
    desk.tell(Event::Site { site: 0, spec: near });
    desk.tell(Event::Begin);
    let long =
        |task: Task| task.steps().is_some_and(|cells| task.stage() == Stage::Region && cells.len() > 3);
    desk.run_until(long);
    let (&slow, &(_, task, _)) = desk.open.iter().find(|(_, open)| long(open.1)).unwrap();
    desk.tell(Event::Started { attempt: slow, slot: 0 });
    (desk, slow, task)
}

#[test]
fn one_that_stands_still_is_cut_while_all_cores_are_busy_and_its_rest_goes_first() {
    let (mut desk, slow, task) = at_a_region();
    let first = task.steps().unwrap().start;
    desk.now_ms += 500;
    desk.tell(Event::Reached { attempt: slow, step: first });
    desk.now_ms += 500;
    desk.tell(Event::Reached { attempt: slow, step: first + 1 });
    let asked = Command::Cut { worker: desk.open[&slow].0, attempt: slow };
    assert!(!desk.tick(1500).contains(&asked));
    let said = desk.tick(3000);
    assert!(said.contains(&asked), "{said:?}");
    let kept = task.over(first..first + 2);
    let rest = desk.tell(Event::Cut { attempt: slow, task: kept });
    desk.open.get_mut(&slow).unwrap().1 = kept;
    let other = *desk.open.keys().find(|&&id| desk.open[&id].0 != desk.open[&slow].0).unwrap();
    let next = desk.done(other);
    let is_rest = |said: &&Command| {
        matches!(said, Command::Start { task: given, .. }
        if given.stage() == Stage::Region && task.steps().unwrap().contains(&given.steps().unwrap().start))
    };
    assert!(rest.iter().chain(&next).any(|said| is_rest(&said)), "{rest:?} {next:?}");
    assert_eq!(desk.run(), Some(Ending::Complete));
}

#[test]
fn what_waits_behind_a_busy_core_does_not_hide_that_another_is_free() {
    let (mut desk, slow, _) = at_a_region();
    let home = desk.open[&slow].0;
    // It ends for everybody else, until one is left that runs, one that waits behind the slow one, and a core without any.
    let elsewhere = |desk: &Desk| {
        desk.open.iter().filter(|(_, open)| open.0 != home).map(|(&id, _)| id).collect::<Vec<_>>()
    };
    while desk.open.len() > 3 {
        let other = elsewhere(&desk)[0];
        desk.done(other);
    }
    let waiting = *desk.open.keys().find(|&&id| id != slow && desk.open[&id].0 == home).unwrap();
    assert_eq!(elsewhere(&desk).len(), 1);
    let said = desk.tick(1000);
    assert!(said.contains(&Command::Cancel { worker: home, attempt: waiting }), "{said:?}");
    assert_eq!(elsewhere(&desk).len(), 2);
}

#[test]
fn a_slow_map_is_copied_and_the_first_that_ends_wins() {
    let mut desk = Desk::new(
        one_sample(4),
        Options { cut_stragglers: false, ..Options::default() },
        &[worker(1, 40), worker(1, 40)],
    );
    desk.tell(Event::Begin);
    let map = Task::Map(LANE, Chunk::whole(0));
    desk.run_until(|task| task == map);
    let first = desk.started(map);
    let said = desk.tick(600_000);
    let copy = said.iter().find_map(|said| match *said {
        Command::Start { attempt, task, purpose: Purpose::Copy, .. } if task == map => Some(attempt),
        _ => None,
    });
    let copy = copy.unwrap_or_else(|| panic!("{said:?}"));
    assert_ne!(desk.open[&copy].0, desk.open[&first].0);
    assert_eq!((desk.scheduler.commits(first), desk.scheduler.commits(copy)), (Some(map), Some(map)));
    let loser = desk.open[&first].0;
    let said = desk.done(copy);
    assert!(said.contains(&Command::Cancel { worker: loser, attempt: first }), "{said:?}");
    assert_eq!(desk.scheduler.commits(first), None);
}

#[test]
fn nobody_reads_what_is_audited_and_a_liar_is_found_by_a_third() {
    for liar in 0..3 {
        let options = Options { audit_per_mille: 1000, ..Options::default() };
        let weather = Weather { chunks: 3, answered: 1000, ..Weather::default() };
        let mut world = World::new(plan(&[(1, true), (1, true)], 12), options, weather, liar);
        world.add_site(0, site(2));
        let workers: Vec<WorkerId> = (0..4).map(|_| world.add_worker(worker(2, 40), 0, false)).collect();
        world.weather.liar = Some(workers[liar as usize]);
        world.tell(Event::Begin);
        // The world itself checks that no wrong content is left.
        assert_eq!(world.run(), Ending::Complete);
        let quarantined: Vec<&Command> =
            world.log.iter().filter(|said| matches!(said, Command::Quarantine { .. })).collect();
        assert_eq!(quarantined, [&Command::Quarantine { worker: workers[liar as usize] }]);
    }
}

#[test]
fn what_a_distrusted_worker_made_is_made_again_and_compared() {
    for seed in 0..20 {
        let weather = Weather { chunks: 4, answered: 1000, ..Weather::default() };
        let mut world = World::new(plan(&[(1, true), (1, true)], 24), Options::default(), weather, seed);
        world.add_site(0, site(2));
        let workers: Vec<WorkerId> = (0..3).map(|_| world.add_worker(worker(2, 40), 0, false)).collect();
        world.weather.liar = Some(workers[1]);
        world.tell(Event::Begin);
        while world.now_ms < 3000 + 1500 * seed && world.ending.is_none() {
            world.step();
        }
        world.tell(Event::Distrust { worker: workers[1] });
        if world.ending.is_none() {
            assert_eq!(world.run(), Ending::Complete);
        }
    }
}

#[test]
fn two_who_disagree_alone_fail_the_job() {
    let options = Options { audit_per_mille: 1000, ..Options::default() };
    let mut desk = Desk::new(one_sample(4), options, &[worker(1, 40), worker(1, 40)]);
    desk.tell(Event::Begin);
    desk.done(desk.of(Task::Intake(LANE, 0)));
    let check = desk.of(Task::Intake(LANE, 0));
    assert_eq!(desk.open[&check].2, Purpose::Audit);
    let facts = Facts { content: Some([9; 32]), ..Facts::default() };
    let said = desk.tell(Event::Done { attempt: check, facts, usage: Usage::default() });
    assert!(said.contains(&Command::End(Ending::Failed(Class::Integrity))), "{said:?}");
}

#[test]
fn a_sample_stays_where_it_may_be_and_a_job_without_such_a_place_says_so() {
    let mut desk = Desk::new(plan(&[(1, true), (1, true)], 4), Options::default(), &[worker(4, 40)]);
    let mut terms = site(2);
    terms.allowed = vec![true, false];
    desk.tell(Event::Site { site: 0, spec: terms });
    desk.tell(Event::Begin);
    desk.run();
    assert!(desk.scheduler.waiting(Some(1)).contains_key(&(Stage::Intake, Waiting::Site)));
    // Joint tasks read both.
    assert_eq!(desk.scheduler.progress(Stage::Joint, None).done, 0);
    desk.tell(Event::Site { site: 0, spec: site(2) });
    assert_eq!(desk.run(), Some(Ending::Complete));
}

#[test]
fn a_far_site_gets_what_it_ends_sooner_and_a_cheap_one_what_is_as_soon() {
    let check = |latency_ms: u64, price: f64, expect: usize| {
        let mut desk = Desk::new(plan(&[(8, true)], 4), Options::default(), &[worker(4, 400)]);
        let mut far = site(1);
        (far.latency_ms, far.price_core_hour) = (latency_ms, price);
        desk.tell(Event::Site { site: 1, spec: far });
        let spec = WorkerSpec { site: 1, ..worker(4, 400) };
        desk.tell(Event::Joined { worker: WorkerId::new(1, 0), spec });
        desk.tell(Event::Begin);
        let there = desk.open.values().filter(|open| open.0.engine() == 1).count();
        assert_eq!(there, expect, "{latency_ms} ms, price {price}");
        assert_eq!(desk.run(), Some(Ending::Complete));
    };
    // Eight intakes of a tenth of a second, four cores here.
    check(0, 1.0, 4);
    check(3_600_000, 0.0, 0);
}

#[test]
fn a_drained_site_gets_nothing_and_says_why() {
    let mut desk = Desk::new(one_sample(4), Options::default(), &[worker(1, 40)]);
    desk.tell(Event::Drain { site: 0, drain: true });
    desk.tell(Event::Begin);
    assert!(desk.open.is_empty());
    assert!(desk.scheduler.waiting(Some(0)).contains_key(&(Stage::Intake, Waiting::Draining)));
    desk.tell(Event::Drain { site: 0, drain: false });
    assert_eq!(desk.run(), Some(Ending::Complete));
}

#[test]
fn memory_keeps_tasks_waiting_and_a_task_nobody_has_the_memory_for_runs_alone() {
    let mut plan = plan(&[(4, true)], 4);
    plan.memory.task_bytes[Stage::Intake as usize] = 10 * GIB;
    let mut desk = Desk::new(plan.clone(), Options::default(), &[worker(4, 22)]);
    desk.tell(Event::Begin);
    assert_eq!(desk.open.len(), 2);
    assert_eq!(desk.scheduler.waiting(Some(0))[&(Stage::Intake, Waiting::Memory)], 2);
    let mut small = Desk::new(plan, Options::default(), &[worker(4, 5)]);
    small.tell(Event::Begin);
    assert_eq!(small.open.len(), 1);
    assert_eq!(small.run(), Some(Ending::Complete));
}

#[test]
fn a_job_that_is_stopped_ends_when_nothing_runs_and_soon_cuts_what_does() {
    let mut desk = Desk::new(one_sample(8), Options::default(), &[worker(1, 40)]);
    desk.tell(Event::Begin);
    desk.run_until(|task| matches!(task, Task::Region(_, Shard::Cells { .. })));
    let (&attempt, &(worker, task, _)) = desk.open.iter().next().unwrap();
    desk.tell(Event::Started { attempt, slot: 0 });
    let said = desk.tell(Event::Stop { soon: true });
    assert_eq!(said, [Command::Cut { worker, attempt }]);
    let Task::Region(_, Shard::Cells { first, .. }) = task else { unreachable!() };
    assert_eq!(desk.tell(Event::Cut { attempt, task: task.over(first.0..first.0 + 1) }), []);
    desk.open.get_mut(&attempt).unwrap().1 = Task::Region(0, cells(first.0, first.0 + 1));
    assert_eq!(desk.done(attempt), [Command::End(Ending::Stopped)]);
}

#[test]
fn earlier_cuts_in_the_journal_are_kept_and_gaps_between_them_cut_anew() {
    let mut desk = Desk::new(one_sample(20), Options::default(), &[worker(1, 40)]);
    for (shard, kept) in [
        (cells(3, 7), true),
        (cells(6, 8), false),
        (cells(12, 16), true),
        (cells(3, 7), true),
        (cells(16, 20), true),
    ] {
        let event = Event::Committed { task: Task::Region(0, shard), facts: Facts::default() };
        let said = desk.tell(event);
        assert_eq!(said.is_empty(), kept, "{shard}: {said:?}");
    }
    desk.tell(Event::Begin);
    assert_eq!(desk.run(), Some(Ending::Complete));
    let started = desk.said.iter().filter_map(|said| match said {
        Command::Start { task: Task::Region(_, Shard::Cells { first, end }), .. } => Some(first.0..end.0),
        _ => None,
    });
    let mut started: Vec<u32> = started.flatten().collect();
    started.sort_unstable();
    assert_eq!(started, [0, 1, 2, 7, 8, 9, 10, 11]);
}

#[test]
fn a_beginning_that_is_told_twice_changes_nothing() {
    let options = Options { audit_per_mille: 1000, ..Options::default() };
    let mut desk = Desk::new(one_sample(4), options, &[worker(1, 40), worker(1, 40)]);
    desk.tell(Event::Begin);
    desk.done(desk.of(Task::Intake(LANE, 0)));
    // It is being checked.
    let facts = desk.facts(Task::Intake(LANE, 0));
    assert_eq!(desk.tell(Event::Committed { task: Task::Intake(LANE, 0), facts }), []);
    assert_eq!(desk.tell(Event::Begin), []);
    assert_eq!(desk.run(), Some(Ending::Complete));
}

#[test]
fn a_worker_that_left_before_word_of_its_coming_gets_nothing() {
    let mut desk = Desk::new(one_sample(4), Options::default(), &[]);
    desk.tell(Event::Begin);
    let gone = WorkerId::new(0, 7);
    desk.tell(Event::Left { worker: gone, why: Departure::Lost });
    assert_eq!(desk.tell(Event::Joined { worker: gone, spec: worker(1, 40) }), []);
    desk.tell(Event::Joined { worker: WorkerId::new(0, 8), spec: worker(1, 40) });
    assert_eq!(desk.run(), Some(Ending::Complete));
}

#[test]
fn two_attempts_that_run_out_of_memory_one_after_the_other_have_their_task_cut() {
    let mut desk = Desk::new(
        one_sample(4),
        Options { cut_stragglers: false, ..Options::default() },
        &[worker(1, 40), worker(1, 40)],
    );
    desk.tell(Event::Begin);
    let map = Task::Map(LANE, Chunk::whole(0));
    desk.run_until(|task| task == map);
    let first = desk.started(map);
    desk.tick(600_000);
    assert_eq!(desk.open.len(), 2);
    desk.failed(first, Class::Failed, Some(Exhausted::Memory), None);
    let is_half =
        |task: Task| task.stage() == Stage::Map && task.steps().is_some_and(|strips| strips.len() == 512);
    let halves = desk.open.values().filter(|open| is_half(open.1));
    assert_eq!(halves.count(), 2);
    assert_eq!(desk.run(), Some(Ending::Complete));
}

#[test]
fn commits_of_another_plan_are_forgotten() {
    let mut desk = Desk::new(one_sample(4), Options::default(), &[worker(1, 40)]);
    let foreign = [
        Task::Intake(LaneId { sample: 3, lane: 0 }, 0),
        Task::Map(LaneId { sample: 0, lane: 9 }, Chunk::whole(0)),
        Task::Region(0, cells(2, 9)),
        Task::SealSample(0),
    ];
    for task in foreign {
        let said = desk.tell(Event::Committed { task, facts: Facts::default() });
        assert_eq!(said, [Command::Forget(task)]);
    }
}

#[test]
fn work_that_waits_for_a_core_goes_to_one_that_is_free() {
    let mut desk = Desk::new(plan(&[(3, true)], 4), Options::default(), &[worker(1, 40)]);
    let mut near = site(1);
    near.latency_ms = 50;
    desk.tell(Event::Site { site: 0, spec: near });
    desk.tell(Event::Begin);
    // One runs, one waits behind it to hide the way of the next order.
    assert_eq!(desk.open.len(), 2);
    let running = *desk.open.keys().next().unwrap();
    let waiting = *desk.open.keys().last().unwrap();
    desk.tell(Event::Started { attempt: running, slot: 0 });
    desk.now_ms += 1000;
    for number in 1..4 {
        desk.tell(Event::Joined { worker: WorkerId::new(0, number), spec: worker(1, 40) });
    }
    desk.tick(1000);
    let (home, said) = (WorkerId::new(0, 0), &desk.said);
    assert!(said.contains(&Command::Cancel { worker: home, attempt: waiting }), "{said:?}");
    assert!(said.iter().any(|said| matches!(said, Command::Start { worker, .. } if *worker != home)));
}
