//! What others do, in the same world: shards fixed before the job, first come first served, barriers where workflow engines
//! and array jobs have them.
//!
//! Invariant: generous to whom it stands for. No start-up time of containers or jobs, no lost queue time, chunks as fine as
//! ours, a sample's files written in as many parts as ours, each as soon as it can be; a task whose worker is lost is run
//! again, whole.

use super::cohort::{Cohort, EQUAL_CELLS};
use super::world::Mind;
use jobs::task::{Parts, Shard, Task};
use scheduler::{AttemptId, Command, Ending, Event, Purpose, WorkerId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A way to run a cohort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// One array job per stage over the whole cohort, regions and joint by contig.
    ContigArrays,
    /// Regions of 4 Mb as soon as their sample is mapped, first come first served, none cut.
    EqualShards,
    /// As a workflow engine: each stage of a sample waits for the whole stage before; the joint call for all samples.
    StageBarriers,
    /// As map-reduce frameworks: one sample after another on all workers, regions of 4 Mb.
    SampleBySample,
}

impl Rule {
    /// All of them.
    pub const ALL: [Rule; 4] =
        [Rule::ContigArrays, Rule::EqualShards, Rule::StageBarriers, Rule::SampleBySample];

    /// A name for plots.
    pub const fn name(self) -> &'static str {
        match self {
            Rule::ContigArrays => "array jobs by contig",
            Rule::EqualShards => "equal regions, first come first served",
            Rule::StageBarriers => "workflow engine, barrier per stage",
            Rule::SampleBySample => "map-reduce, sample by sample",
        }
    }
}

/// A task, or a point that several must reach.
#[derive(Clone, Debug)]
struct Node {
    task: Option<Task>,
    waits: u32,
    next: Vec<u32>,
}

/// A scheduler of fixed tasks.
#[derive(Clone, Debug)]
pub struct Baseline {
    nodes: Vec<Node>,
    left: usize,
    ready: VecDeque<u32>,
    slots: BTreeMap<WorkerId, u32>,
    free: BTreeSet<WorkerId>,
    running: BTreeMap<AttemptId, (WorkerId, u32)>,
    attempts: u64,
    begun: bool,
}

impl Baseline {
    /// The cohort's tasks, cut and ordered as the rule says.
    pub fn new(cohort: &Cohort, rule: Rule) -> Self {
        let lines: Vec<u32> = match rule {
            Rule::ContigArrays => cohort.contig_ends().to_vec(),
            _ => (0..cohort.cells()).step_by(EQUAL_CELLS as usize).collect(),
        };
        let mut graph = Graph { nodes: Vec::new(), of: BTreeMap::new() };
        let tasks = cohort.tasks(&lines);
        tasks.iter().for_each(|&task| {
            graph.task(task);
        });
        graph.wire_data(&tasks, Parts::of(cohort.cells()));
        graph.wire_rule(&tasks, rule);
        let mut baseline = Baseline {
            left: tasks.len(),
            nodes: graph.nodes,
            ready: VecDeque::new(),
            slots: BTreeMap::new(),
            free: BTreeSet::new(),
            running: BTreeMap::new(),
            attempts: 0,
            begun: false,
        };
        let unblocked =
            (0..baseline.nodes.len() as u32).filter(|&node| baseline.nodes[node as usize].waits == 0);
        for node in unblocked.collect::<Vec<_>>() {
            baseline.reach(node);
        }
        baseline
    }

    /// Nothing holds this node any more.
    fn reach(&mut self, node: u32) {
        match self.nodes[node as usize].task {
            Some(_) => self.ready.push_back(node),
            None => self.pass(node),
        }
    }

    /// A node is done.
    fn pass(&mut self, node: u32) {
        for next in std::mem::take(&mut self.nodes[node as usize].next) {
            let waits = &mut self.nodes[next as usize].waits;
            *waits -= 1;
            if *waits == 0 {
                self.reach(next);
            }
        }
    }

    fn give_back(&mut self, worker: WorkerId) {
        if let Some(slots) = self.slots.get_mut(&worker) {
            *slots += 1;
            self.free.insert(worker);
        }
    }

    fn dispatch(&mut self) -> Vec<Command> {
        let mut commands = Vec::new();
        while self.begun && !self.ready.is_empty() {
            let Some(&worker) = self.free.first() else { break };
            let node = self.ready.pop_front().expect("not empty");
            let slots = self.slots.get_mut(&worker).expect("free workers are there");
            *slots -= 1;
            if *slots == 0 {
                self.free.remove(&worker);
            }
            let attempt = AttemptId(self.attempts);
            self.attempts += 1;
            self.running.insert(attempt, (worker, node));
            let task = self.nodes[node as usize].task.expect("points are passed, not run");
            commands.push(Command::Start { worker, attempt, task, purpose: Purpose::Work });
        }
        if self.left == 0 {
            commands.push(Command::End(Ending::Complete));
        }
        commands
    }
}

impl Mind for Baseline {
    fn handle(&mut self, _now_ms: u64, event: Event) -> Vec<Command> {
        match event {
            Event::Begin => self.begun = true,
            Event::Joined { worker, spec } => {
                self.slots.insert(worker, spec.slots);
                self.free.insert(worker);
            }
            Event::Left { worker, .. } => {
                self.slots.remove(&worker);
                self.free.remove(&worker);
                let lost: Vec<AttemptId> = self
                    .running
                    .iter()
                    .filter(|(_, running)| running.0 == worker)
                    .map(|(&id, _)| id)
                    .collect();
                for attempt in lost {
                    let (_, node) = self.running.remove(&attempt).expect("just found");
                    self.ready.push_front(node);
                }
            }
            Event::Done { attempt, .. } => {
                if let Some((worker, node)) = self.running.remove(&attempt) {
                    self.left -= 1;
                    self.pass(node);
                    self.give_back(worker);
                }
            }
            Event::Failed { attempt, .. } => {
                if let Some((worker, node)) = self.running.remove(&attempt) {
                    self.ready.push_back(node);
                    self.give_back(worker);
                }
            }
            Event::Tick => return Vec::new(),
            _ => {}
        }
        self.dispatch()
    }

    fn commits(&self, attempt: AttemptId) -> Option<Task> {
        self.nodes[self.running.get(&attempt)?.1 as usize].task
    }

    fn inputs(&self, _task: Task) -> Vec<Task> {
        Vec::new()
    }
}

#[derive(Debug)]
struct Graph {
    nodes: Vec<Node>,
    of: BTreeMap<Task, u32>,
}

impl Graph {
    fn task(&mut self, task: Task) -> u32 {
        let node = self.node(Some(task));
        self.of.insert(task, node);
        node
    }

    fn node(&mut self, task: Option<Task>) -> u32 {
        self.nodes.push(Node { task, waits: 0, next: Vec::new() });
        self.nodes.len() as u32 - 1
    }

    fn edge(&mut self, from: u32, to: u32) {
        self.nodes[from as usize].next.push(to);
        self.nodes[to as usize].waits += 1;
    }

    fn find(&self, tasks: &[Task], wanted: impl Fn(&Task) -> bool) -> Vec<u32> {
        tasks.iter().filter(|task| wanted(task)).map(|task| self.of[task]).collect()
    }

    /// All of `after` wait for all of `before`.
    fn barrier(&mut self, before: &[u32], after: &[u32]) {
        let point = self.node(None);
        before.iter().for_each(|&node| self.edge(node, point));
        after.iter().for_each(|&node| self.edge(point, node));
    }

    /// Who reads what.
    fn wire_data(&mut self, tasks: &[Task], parts: Parts) {
        for &task in tasks {
            match task {
                Task::Intake(lane, part @ 1..) => {
                    self.edge(self.of[&Task::Intake(lane, part - 1)], self.of[&task]);
                }
                Task::Model(lane) => self.edge(self.of[&Task::Intake(lane, 0)], self.of[&task]),
                Task::Map(lane, chunk) => {
                    self.edge(self.of[&Task::Model(lane)], self.of[&task]);
                    self.edge(self.of[&Task::Intake(lane, chunk.intake())], self.of[&task]);
                }
                _ => {}
            }
        }
        let samples: BTreeSet<u32> = tasks.iter().filter_map(|task| task.sample()).collect();
        for &sample in &samples {
            let mine = |task: &&Task| task.sample() == Some(sample);
            let of_sample: Vec<Task> = tasks.iter().filter(mine).copied().collect();
            let maps = self.find(&of_sample, |task| matches!(task, Task::Map(..)));
            let regions = self.find(&of_sample, |task| matches!(task, Task::Region(..)));
            let finish = self.find(&of_sample, |task| matches!(task, Task::FinishSample(_)));
            let seal = self.find(&of_sample, |task| matches!(task, Task::SealSample(_)));
            self.barrier(&maps, &regions);
            self.wire_parts(Some(sample), &of_sample, parts);
            let last = self.find(&of_sample, |task| {
                matches!(task, Task::WriteSample(..) | Task::Region(_, Shard::Unplaced))
            });
            self.barrier(&last, &finish);
            self.barrier(&finish, &seal);
        }
        let joints: Vec<Shard> = tasks
            .iter()
            .filter_map(|task| if let Task::Joint(shard) = task { Some(*shard) } else { None })
            .collect();
        for (index, &shard) in joints.iter().enumerate() {
            for &needed in &joints[index.saturating_sub(1)..=index] {
                for &sample in &samples {
                    self.edge(self.of[&Task::Region(sample, needed)], self.of[&Task::Joint(shard)]);
                }
            }
        }
        self.wire_parts(None, tasks, parts);
        let before = self
            .find(tasks, |task| matches!(task, Task::FinishSample(_) | Task::Joint(_) | Task::WriteJoint(_)));
        let last = self.find(tasks, |task| matches!(task, Task::FinishCohort));
        let seals = self.find(tasks, |task| matches!(task, Task::SealCohort));
        self.barrier(&before, &last);
        self.barrier(&last, &seals);
    }

    /// A part of files, a sample's or the cohort's, waits for all regions, or all of the joint call, that begin before its
    /// end.
    fn wire_parts(&mut self, of: Option<u32>, tasks: &[Task], parts: Parts) {
        let mut before = None;
        for part in 0..parts.count() {
            let cells = parts.cells(part);
            let mut needed = self.find(tasks, |task| match task {
                Task::Region(_, Shard::Cells { first, .. }) | Task::Joint(Shard::Cells { first, .. }) => {
                    task.sample() == of && cells.contains(&first.0)
                }
                _ => false,
            });
            needed.extend(before);
            let point = self.node(None);
            needed.into_iter().for_each(|node| self.edge(node, point));
            self.edge(point, self.of[&Task::write(of, part)]);
            before = Some(point);
        }
    }

    /// Who waits without need.
    fn wire_rule(&mut self, tasks: &[Task], rule: Rule) {
        let samples: BTreeSet<u32> = tasks.iter().filter_map(|task| task.sample()).collect();
        let stage = |graph: &Graph, sample: Option<u32>, stage: usize| {
            let mine = |task: &Task| sample.is_none() || task.sample() == sample;
            graph.find(tasks, |task| task.stage() as usize == stage && task.sample().is_some() && mine(task))
        };
        let regions = self.find(tasks, |task| matches!(task, Task::Region(..)));
        let joints = self.find(tasks, |task| matches!(task, Task::Joint(_)));
        match rule {
            Rule::EqualShards => return,
            Rule::ContigArrays => {
                for step in 0..3 {
                    let (before, after) = (stage(self, None, step), stage(self, None, step + 1));
                    self.barrier(&before, &after);
                }
            }
            Rule::StageBarriers => {
                for &sample in &samples {
                    for step in 0..3 {
                        let (before, after) =
                            (stage(self, Some(sample), step), stage(self, Some(sample), step + 1));
                        self.barrier(&before, &after);
                    }
                }
            }
            Rule::SampleBySample => {
                for (&sample, &next) in samples.iter().zip(samples.iter().skip(1)) {
                    let finish = self.of[&Task::FinishSample(sample)];
                    let intakes = stage(self, Some(next), 0);
                    self.barrier(&[finish], &intakes);
                }
            }
        }
        self.barrier(&regions, &joints);
    }
}
