//! The rules of maps that are slow: they are cut, or copied where they do not answer.

use crate::rules::{Desk, LANE, one_sample};
use crate::world::worker;
use jobs::task::{Chunk, Shard, Task};
use scheduler::{AttemptId, Command, Ending, Event, Options, Purpose};

/// A desk where everything has ended but one map, which said that it is at its strip 100.
fn at_a_slow_map() -> (Desk, Task, AttemptId) {
    let mut plan = one_sample(4);
    plan.samples[0].pairs = 10_000_000;
    let mut desk = Desk::new(plan, Options::default(), &[worker(1, 40), worker(1, 40), worker(1, 40)]);
    desk.tell(Event::Begin);
    let map = Task::Map(LANE, Chunk::whole(0));
    desk.run_until(|task| task == map);
    let slow = desk.started(map);
    while desk.open.len() > 1 {
        let other = *desk.open.keys().find(|&&id| id != slow).unwrap();
        desk.done(other);
    }
    desk.tell(Event::Reached { attempt: slow, step: 100 });
    (desk, map, slow)
}

#[test]
fn a_slow_map_that_says_where_it_is_is_cut_and_its_rest_shared_out() {
    let (mut desk, map, slow) = at_a_slow_map();
    let said = desk.tick(60_000);
    assert!(said.contains(&Command::Cut { worker: desk.open[&slow].0, attempt: slow }), "{said:?}");
    // An answer that makes no sense changes nothing.
    for task in [map, map.over(1..7), map.over(0..0), Task::Map(LANE, Chunk::whole(1))] {
        assert_eq!(desk.tell(Event::Cut { attempt: slow, task }), [], "{task:?}");
    }
    let kept = map.over(0..103);
    let said = desk.tell(Event::Cut { attempt: slow, task: kept });
    assert_eq!(said.iter().filter(|said| matches!(said, Command::Start { .. })).count(), 2, "{said:?}");
    assert_eq!(desk.scheduler.commits(slow), Some(kept));
    desk.open.get_mut(&slow).unwrap().1 = kept;
    assert_eq!(desk.run(), Some(Ending::Complete));
    let inputs = desk.scheduler.inputs(Task::Region(0, Shard::Unplaced));
    let strips = inputs.iter().flat_map(|map| map.steps().unwrap());
    assert_eq!(strips.collect::<Vec<_>>(), (0..1024).collect::<Vec<_>>());
}

#[test]
fn a_map_that_does_not_answer_when_it_is_to_be_cut_is_copied_and_a_late_answer_counts() {
    let (mut desk, map, slow) = at_a_slow_map();
    let asked = Command::Cut { worker: desk.open[&slow].0, attempt: slow };
    let copies = |said: &[Command]| {
        said.iter().filter(|said| matches!(said, Command::Start { purpose: Purpose::Copy, .. })).count()
    };
    let said = desk.tick(60_000);
    assert!(said.contains(&asked) && copies(&said) == 0, "{said:?}");
    assert_eq!(copies(&desk.tick(59_000)), 0);
    let said = desk.tick(2_000);
    assert!(!said.contains(&asked) && copies(&said) == 1, "{said:?}");
    let copy = *desk.open.keys().find(|&&id| id != slow).unwrap();
    let kept = map.over(0..103);
    let said = desk.tell(Event::Cut { attempt: slow, task: kept });
    assert!(said.iter().any(|said| matches!(said, Command::Cancel { attempt, .. } if *attempt == copy)));
    assert_eq!(desk.scheduler.commits(slow), Some(kept));
    desk.open.get_mut(&slow).unwrap().1 = kept;
    assert_eq!(desk.run(), Some(Ending::Complete));
}
