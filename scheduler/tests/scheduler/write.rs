//! Files, a sample's and the cohort's, are written in parts.

use crate::rules::{Desk, LANE, cells};
use crate::world::{plan, worker};
use jobs::failure::Class;
use jobs::task::{Chunk, Shard, Stage, Task};
use scheduler::{Command, Ending, Event, Facts, Options, Plan, Purpose, Usage};
use std::collections::BTreeSet;

/// Three parts of eight cells.
fn three_parts() -> Plan {
    plan(&[(1, true)], 24)
}

fn part(part: u32) -> Task {
    Task::WriteSample(0, part)
}

/// A job of which a journal holds that everything is mapped, and these.
fn mapped(plan: Plan, also: &[Task]) -> Desk {
    let mut desk = Desk::new(plan, Options::default(), &[worker(100, 400)]);
    let mapped = [Task::Intake(LANE, 0), Task::Model(LANE), Task::Map(LANE, Chunk::whole(0))];
    for &task in mapped.iter().chain(also) {
        let facts = desk.facts(task);
        assert_eq!(desk.tell(Event::Committed { task, facts }), [], "{task:?}");
    }
    desk
}

fn open(desk: &Desk) -> BTreeSet<Task> {
    desk.open.values().map(|&(_, task, _)| task).collect()
}

fn starts(desk: &Desk, task: Task) -> usize {
    let is_start = |said: &&Command| matches!(said, Command::Start { task: started, .. } if *started == task);
    desk.said.iter().filter(is_start).count()
}

#[test]
fn a_part_is_written_once_all_regions_up_to_its_end_are_done() {
    let done = [(8, 12), (12, 16), (16, 20)].map(|(first, end)| Task::Region(0, cells(first, end)));
    let mut desk = mapped(three_parts(), &done);
    desk.tell(Event::Begin);
    let is_write = |task: &Task| matches!(task, Task::WriteSample(..));
    assert!(!open(&desk).iter().any(is_write), "{:?}", open(&desk));
    let regions_in = |desk: &Desk, first: u32, end: u32| -> Vec<Task> {
        let within = |task: &Task| task.steps().is_some_and(|cells| first <= cells.start && cells.end <= end);
        open(desk).into_iter().filter(|task| matches!(task, Task::Region(..)) && within(task)).collect()
    };
    for region in regions_in(&desk, 0, 8) {
        assert!(!open(&desk).iter().any(is_write), "{:?}", open(&desk));
        desk.done(desk.of(region));
    }
    assert!(open(&desk).is_superset(&BTreeSet::from([part(0), part(1)])) && !open(&desk).contains(&part(2)));
    // It reads its own cells only.
    assert_eq!(desk.scheduler.inputs(part(1)), done[..2]);
    regions_in(&desk, 20, 24).into_iter().for_each(|region| drop(desk.done(desk.of(region))));
    desk.done(desk.of(Task::Region(0, Shard::Unplaced)));
    for written in [1, 2, 0] {
        assert!(!open(&desk).contains(&Task::FinishSample(0)));
        desk.done(desk.of(part(written)));
    }
    let unplaced = Task::Region(0, Shard::Unplaced);
    let expect = [Task::Intake(LANE, 0), part(0), part(1), part(2), unplaced];
    assert_eq!(desk.scheduler.inputs(Task::FinishSample(0)), expect);
    assert_eq!(desk.run(), Some(Ending::Complete));
}

#[test]
fn no_shard_reaches_over_the_line_between_two_parts() {
    for lines in [None, Some(vec![]), Some(vec![5, 16]), Some(vec![0, 23, 40])] {
        let wished = lines.clone();
        let mut desk = mapped(Plan { lines, shard_cells_max: 100, ..three_parts() }, &[]);
        for task in [Task::Region(0, cells(6, 9)), Task::Joint(cells(0, 24))] {
            assert_eq!(
                desk.tell(Event::Committed { task, facts: Facts::default() }),
                [Command::Forget(task)]
            );
        }
        desk.tell(Event::Begin);
        assert_eq!(desk.run(), Some(Ending::Complete));
        let spans = |is: fn(Task) -> bool| -> Vec<(u32, u32)> {
            let started = desk.said.iter().filter_map(|said| match *said {
                Command::Start { task, .. } if is(task) => task.steps(),
                _ => None,
            });
            let mut spans: Vec<(u32, u32)> = started.map(|cells| (cells.start, cells.end)).collect();
            spans.sort_unstable();
            spans
        };
        let regions = spans(|task| matches!(task, Task::Region(..)));
        let joints = spans(|task| matches!(task, Task::Joint(_)));
        for &(first, end) in regions.iter().chain(&joints) {
            assert!(first / 8 == (end - 1) / 8, "{first}-{end}");
        }
        if let Some(wished) = wished {
            let mut lines: Vec<u32> =
                wished.into_iter().chain([0, 8, 16]).filter(|&line| line < 24).collect();
            lines.sort_unstable();
            lines.dedup();
            assert!(regions.iter().map(|&(first, _)| first).eq(lines.iter().copied()), "{regions:?}");
            assert_eq!(joints, regions);
        }
    }
}

#[test]
fn results_stand_for_the_parts_they_were_made_of() {
    // In either order of the journal.
    for tasks in [[Task::FinishSample(0), part(1)], [part(1), Task::FinishSample(0)]] {
        let mut desk = mapped(three_parts(), &tasks);
        let finish = desk.scheduler.progress(Stage::Finish, Some(0));
        assert_eq!((finish.tasks, finish.done), (2, 2));
        desk.tell(Event::Begin);
        desk.run_until(|task| task == Task::FinishCohort);
        assert!((0..3).all(|number| starts(&desk, part(number)) == 0));
        // They are not whole: nor is anything that lay in them.
        let cohort = desk.of(Task::FinishCohort);
        let said = desk.failed(cohort, Class::Integrity, None, Some(Task::FinishSample(0)));
        let forgotten = |task| said.contains(&Command::Forget(task));
        assert!([part(1), Task::FinishSample(0)].into_iter().all(forgotten), "{said:?}");
        assert!(![part(0), part(2)].into_iter().any(forgotten), "{said:?}");
        assert_eq!(desk.run(), Some(Ending::Complete));
        assert!((0..3).all(|number| starts(&desk, part(number)) == 1));
        assert_eq!(desk.scheduler.progress(Stage::Finish, Some(0)).done, 4);
    }
}

/// Whose files there are.
const FILES: [Option<u32>; 2] = [Some(0), None];

#[test]
fn a_part_of_the_joint_file_is_written_once_the_joint_call_up_to_its_end_is_done() {
    let done = [(0, 8), (8, 16), (16, 24)].map(|(first, end)| Task::Region(0, cells(first, end)));
    let mut desk = mapped(three_parts(), &done);
    desk.tell(Event::Begin);
    let joints_from = |desk: &Desk, first: u32| -> Vec<Task> {
        let after =
            |task: &Task| matches!(task, Task::Joint(shard) if shard.cells().any(|cell| cell.0 >= first));
        open(desk).into_iter().filter(after).collect()
    };
    // The first part last.
    while let Some(&joint) = joints_from(&desk, 8).first() {
        assert!(!open(&desk).iter().any(|task| matches!(task, Task::WriteJoint(_))));
        desk.done(desk.of(joint));
    }
    joints_from(&desk, 0).into_iter().for_each(|joint| drop(desk.done(desk.of(joint))));
    assert!(open(&desk).is_superset(&BTreeSet::from([0, 1, 2].map(Task::WriteJoint))));
    // It reads its own cells only.
    let read: Vec<u32> = desk
        .scheduler
        .inputs(Task::WriteJoint(1))
        .into_iter()
        .flat_map(|task| task.steps().unwrap())
        .collect();
    assert!(read.into_iter().eq(8..16));
    desk.run_until(|task| task == Task::FinishCohort);
    let expect = [Task::FinishSample(0), Task::WriteJoint(0), Task::WriteJoint(1), Task::WriteJoint(2)];
    assert_eq!(desk.scheduler.inputs(Task::FinishCohort), expect);
    assert_eq!(desk.run(), Some(Ending::Complete));
}

#[test]
fn without_a_sample_the_joint_file_is_another() {
    let options = Options { keep_going: true, ..Options::default() };
    // The second is no column, and its results count for the cohort's alone.
    for joint in [true, false] {
        let mut desk = Desk::new(plan(&[(1, true), (1, joint)], 24), options, &[worker(100, 400)]);
        desk.tell(Event::Begin);
        desk.run_until(|task| task == Task::FinishCohort);
        let said = desk.tell(Event::Denied { sample: 1 });
        let forgotten = |task| said.contains(&Command::Forget(task));
        assert!((0..3).all(|number| forgotten(Task::WriteJoint(number))), "{said:?}");
        assert!(!(0..3).any(|number| forgotten(part(number))), "{said:?}");
        assert_eq!(desk.run(), Some(Ending::Partial));
        assert!((0..3).all(|number| starts(&desk, Task::WriteJoint(number)) == 2));
    }
}

#[test]
fn the_cohorts_results_stand_for_the_parts_they_were_made_of() {
    let mut desk = Desk::new(Plan { seals: true, ..three_parts() }, Options::default(), &[worker(2, 40)]);
    desk.tell(Event::Begin);
    desk.run_until(|task| task == Task::SealCohort);
    // They are not whole: nor is anything that lay in them.
    let said = desk.failed(desk.of(Task::SealCohort), Class::Integrity, None, Some(Task::FinishCohort));
    let expect = [0, 1, 2].map(Task::WriteJoint).into_iter().chain([Task::FinishCohort]);
    expect.for_each(|task| assert!(said.contains(&Command::Forget(task)), "{task:?}: {said:?}"));
    assert_eq!(desk.run(), Some(Ending::Complete));
    assert!((0..3).all(|number| starts(&desk, Task::WriteJoint(number)) == 2));
}

#[test]
fn a_journal_may_hold_the_cohorts_results_and_not_their_parts() {
    let mut ended = Desk::new(three_parts(), Options::default(), &[worker(2, 40)]);
    ended.tell(Event::Begin);
    assert_eq!(ended.run(), Some(Ending::Complete));
    let mut again = Desk::new(three_parts(), Options::default(), &[worker(2, 40)]);
    for said in &ended.said {
        let &Command::Start { task, .. } = said else { continue };
        if task.part().is_some_and(|part| part != 1) {
            continue;
        }
        let facts = again.facts(task);
        again.tell(Event::Committed { task, facts });
    }
    again.tell(Event::Begin);
    assert_eq!((again.run(), again.open.len()), (Some(Ending::Complete), 0));
    assert!(!again.said.iter().any(|said| matches!(said, Command::Start { .. })));
}

#[test]
fn a_damaged_part_is_written_again_and_no_other() {
    for of in FILES {
        let mut desk = Desk::new(three_parts(), Options::default(), &[worker(2, 40)]);
        let (part, finish) = (Task::write(of, 1), Task::finish(of));
        desk.tell(Event::Begin);
        desk.run_until(|task| task == finish);
        let said = desk.failed(desk.of(finish), Class::Integrity, None, Some(part));
        assert!(said.contains(&Command::Forget(part)) && !open(&desk).contains(&finish));
        assert_eq!(desk.run(), Some(Ending::Complete));
        assert_eq!([0, 1, 2].map(|number| starts(&desk, Task::write(of, number))), [1, 2, 1]);
    }
}

#[test]
fn of_files_that_are_gone_all_parts_are_written_again_and_nobody_is_blamed() {
    for of in FILES {
        let mut desk = Desk::new(three_parts(), Options::default(), &[2; 4].map(|slots| worker(slots, 40)));
        let (part, finish) = (|number| Task::write(of, number), Task::finish(of));
        desk.tell(Event::Begin);
        for _ in 0..4 {
            desk.run_until(|task| task == finish);
            let said = desk.failed(desk.of(finish), Class::Partial, None, Some(part(0)));
            assert!((0..3).all(|number| said.contains(&Command::Forget(part(number)))), "{said:?}");
        }
        assert_eq!(desk.run(), Some(Ending::Complete));
        assert!((0..3).all(|number| starts(&desk, part(number)) == 5));
        assert!(!desk.said.iter().any(|said| matches!(said, Command::Quarantine { .. })));
    }
}

#[test]
fn a_part_that_others_find_wrong_is_written_again_before_the_results_are_made() {
    for of in FILES {
        let options = Options { audit_per_mille: 1000, ..Options::default() };
        let mut desk = Desk::new(plan(&[(1, true)], 4), options, &[9; 3].map(|slots| worker(slots, 400)));
        let (part, finish) = (Task::write(of, 0), Task::finish(of));
        desk.tell(Event::Begin);
        desk.run_until(|task| task == part);
        let first = desk.of(part);
        let (liar, ..) = desk.open.remove(&first).unwrap();
        let facts = Facts { content: Some([9; 32]), ..Facts::default() };
        desk.tell(Event::Done { attempt: first, facts, usage: Usage::default() });
        for _ in 0..2 {
            let check = desk.of(part);
            assert_eq!((desk.open[&check].2, starts(&desk, finish)), (Purpose::Audit, 0));
            desk.done(check);
        }
        assert!(desk.said.contains(&Command::Forget(part)));
        assert!(desk.said.contains(&Command::Quarantine { worker: liar }));
        // What the others made was only compared.
        assert_eq!(desk.open[&desk.of(part)].2, Purpose::Work);
        assert_eq!(starts(&desk, finish), 0);
        assert_eq!(desk.run(), Some(Ending::Complete));
    }
}
