//! Cuts: a bundle that runs is asked to end attempts early, and answers where each of them will end.
//!
//! Both are sealed under the bundle's key: the coordinator replaces what it asks for by more, the worker creates an answer
//! once, before the outcome. Invariant: nobody without the key says anything here, and a store that drops, delays or
//! repeats these objects costs time and no more: a task as it was answered is the whole without some of its last steps,
//! and the outcome, which is opened and verified, is of this task or counts for nothing.

use super::carried::{answer_context, asked_context};
use super::{BundleError, parse, ticket::BundleKey, to_json};
use jobs::task::Task;
use scheduler::AttemptId;
use std::collections::{BTreeMap, BTreeSet};

/// An object of more bytes is not read: a bundle has far fewer attempts than this has room for.
pub const CUT_BYTES_MAX: u64 = 1 << 20;

/// What the coordinator asks for, as it lies in the store.
pub fn ask(bundle: &str, key: &BundleKey, attempts: &BTreeSet<AttemptId>) -> Vec<u8> {
    key.seal(&asked_context(bundle), &to_json(attempts))
}

/// The attempts that are to end before the first of their steps that is not begun.
pub fn asked(
    name: &str,
    bundle: &str,
    key: &BundleKey,
    sealed: &[u8],
) -> Result<BTreeSet<AttemptId>, BundleError> {
    parse(name, super::BUNDLE_SCHEMA, &key.open(name, &asked_context(bundle), sealed)?)
}

/// What the worker answers, as it lies in the store: the task as it will be done.
pub fn answer(bundle: &str, key: &BundleKey, attempt: AttemptId, task: Task) -> Vec<u8> {
    key.seal(&answer_context(bundle, attempt), &to_json(&task))
}

/// The task as an attempt at `whole` will do it.
pub fn answered(
    name: &str,
    bundle: &str,
    key: &BundleKey,
    (attempt, whole): (AttemptId, Task),
    sealed: &[u8],
) -> Result<Task, BundleError> {
    let json = key.open(name, &answer_context(bundle, attempt), sealed)?;
    let task = parse(name, super::RECEIPT_SCHEMA, &json)?;
    match is_cut(task, whole) {
        true => Ok(task),
        false => Err(BundleError::Sealed { name: name.to_owned() }),
    }
}

/// Whether `task` is `whole` without some of its last steps.
pub fn is_cut(task: Task, whole: Task) -> bool {
    let (Some(left), Some(steps)) = (task.steps(), whole.steps()) else { return false };
    let fewer = left.start == steps.start && left.start < left.end && left.end < steps.end;
    fewer && whole.over(left) == task
}

/// What a bundle was asked to cut, and what it answered.
#[derive(Clone, Debug, Default)]
pub struct Cuts(BTreeMap<AttemptId, Option<Task>>);

impl Cuts {
    /// Asks for one more; all that was asked for.
    pub fn ask(&mut self, attempt: AttemptId) -> BTreeSet<AttemptId> {
        self.0.entry(attempt).or_default();
        self.0.keys().copied().collect()
    }

    /// Whether it was asked to cut an attempt and nothing is known of that yet.
    pub fn awaits(&self, attempt: AttemptId) -> bool {
        self.0.get(&attempt) == Some(&None)
    }

    /// The attempt will end as this task.
    pub fn answer(&mut self, attempt: AttemptId, task: Task) {
        self.0.insert(attempt, Some(task));
    }

    /// Whether an attempt at `whole` may have ended as this task: whole where it was not asked or was too far, or cut, if
    /// it was asked, and as it answered, if it did.
    pub fn may_end(&self, attempt: AttemptId, whole: Task, task: Task) -> bool {
        match self.0.get(&attempt) {
            Some(Some(answered)) => task == *answered,
            asked => task == whole || asked.is_some() && is_cut(task, whole),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::genome::Cell;
    use jobs::task::{Chunk, LaneId, Shard};

    fn region(sample: u32, first: u32, end: u32) -> Task {
        Task::Region(sample, Shard::Cells { first: Cell(first), end: Cell(end) })
    }

    #[test]
    fn what_is_asked_is_read_by_its_bundle_and_nothing_else_is() {
        let (key, attempts) = (BundleKey::random(), BTreeSet::from([AttemptId(2), AttemptId(9)]));
        let sealed = ask("b", &key, &attempts);
        assert_eq!(asked("x", "b", &key, &sealed).unwrap(), attempts);
        assert!(asked("x", "c", &key, &sealed).is_err());
        assert!(asked("x", "b", &BundleKey::random(), &sealed).is_err());
        for at in 0..sealed.len() {
            assert!(asked("x", "b", &key, &sealed[..at]).is_err(), "{at} bytes");
            let mut changed = sealed.clone();
            changed[at] ^= 0x20;
            assert!(asked("x", "b", &key, &changed).is_err(), "byte {at}");
        }
    }

    #[test]
    fn an_answer_is_of_one_attempt_and_leaves_off_the_last_steps() {
        let key = BundleKey::random();
        let whole = region(1, 3, 9);
        let check = |task: Task, expect: bool| {
            let sealed = answer("b", &key, AttemptId(7), task);
            let found = answered("x", "b", &key, (AttemptId(7), whole), &sealed);
            assert_eq!(found.ok(), expect.then_some(task), "{task:?}");
            assert!(answered("x", "b", &key, (AttemptId(8), whole), &sealed).is_err());
            assert!(answered("x", "c", &key, (AttemptId(7), whole), &sealed).is_err());
        };
        check(region(1, 3, 4), true);
        check(region(1, 3, 8), true);
        // The whole, nothing, more, another beginning, another sample, another kind of task.
        for task in [region(1, 3, 9), region(1, 3, 3), region(1, 3, 10), region(1, 4, 8), region(0, 3, 8)] {
            check(task, false);
        }
        check(Task::Joint(Shard::Cells { first: Cell(3), end: Cell(8) }), false);
        check(Task::Region(1, Shard::Unplaced), false);
        check(Task::FinishSample(1), false);
    }

    #[test]
    fn a_map_is_cut_at_its_strips_and_what_has_no_steps_is_not() {
        let lane = LaneId { sample: 0, lane: 0 };
        let map = |index, first, end| Task::Map(lane, Chunk { index, first, end });
        assert!(is_cut(map(4, 8, 20), map(4, 8, 64)));
        assert!(!is_cut(map(5, 8, 20), map(4, 8, 64)));
        assert!(!is_cut(map(4, 8, u16::MAX), map(4, 8, 64)));
        assert!(!is_cut(Task::Intake(lane, 0), Task::Intake(lane, 0)));
    }

    #[test]
    fn an_attempt_ends_as_it_was_asked_to_or_as_if_it_had_not_been() {
        let (attempt, whole) = (AttemptId(7), region(0, 3, 9));
        let mut cuts = Cuts::default();
        let check = |cuts: &Cuts, awaits: bool, expect: [bool; 4]| {
            assert_eq!(cuts.awaits(attempt), awaits);
            let ends = [whole, region(0, 3, 5), region(0, 3, 6), region(0, 4, 9)];
            assert_eq!(ends.map(|task| cuts.may_end(attempt, whole, task)), expect);
        };
        check(&cuts, false, [true, false, false, false]);
        assert_eq!(cuts.ask(AttemptId(8)), BTreeSet::from([AttemptId(8)]));
        check(&cuts, false, [true, false, false, false]);
        assert_eq!(cuts.ask(attempt), BTreeSet::from([attempt, AttemptId(8)]));
        // It may have been beyond its last cell, or its answer was not seen.
        check(&cuts, true, [true, true, true, false]);
        cuts.answer(attempt, region(0, 3, 5));
        check(&cuts, false, [false, true, false, false]);
        cuts.ask(attempt);
        check(&cuts, false, [false, true, false, false]);
    }

    #[test]
    fn noise_under_the_right_key_is_an_error() {
        let key = BundleKey::random();
        for noise in
            [&b""[..], b"{", b"[1, -1]", b"[\"a\"]", b"{\"Region\":[1,{\"Cells\":{\"first\":3}}]}", b"null"]
        {
            let sealed = key.seal(&asked_context("b"), noise);
            assert!(asked("x", "b", &key, &sealed).is_err(), "{noise:?}");
            let sealed = key.seal(&answer_context("b", AttemptId(7)), noise);
            let whole = (AttemptId(7), region(1, 3, 9));
            assert!(answered("x", "b", &key, whole, &sealed).is_err(), "{noise:?}");
        }
    }
}
