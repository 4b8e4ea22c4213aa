//! Commits that were needed lately, so that the tasks of a sample do not read the journal for the same ones again.

use jobs::failure::Failure;
use jobs::task::Task;
use std::collections::HashMap;
use std::sync::Arc;
use storage::Commit;

/// Pieces of the commits that are held at a time, about: 100 bytes each.
const PIECES_MAX: usize = 1 << 18;

/// Inputs of a task.
type Inputs = Arc<Vec<(Task, Arc<Commit>)>>;

/// Holds some commits; all of them are in the journal, and here as who reads their tasks' outputs is told of them.
#[derive(Debug, Default)]
pub(super) struct CommitCache {
    commits: HashMap<Task, Arc<Commit>>,
    pieces: usize,
    /// The last list of each sample's region tasks: they all read all of its runs.
    lists: HashMap<u32, Inputs>,
}

impl CommitCache {
    pub(super) fn insert(&mut self, task: Task, commit: Arc<Commit>) {
        if self.pieces > PIECES_MAX {
            *self = CommitCache::default();
        }
        self.lists.retain(|_, list| list.iter().all(|(input, _)| *input != task));
        self.pieces += 1 + commit.pieces.len();
        if let Some(before) = self.commits.insert(task, commit) {
            self.pieces -= 1 + before.pieces.len();
        }
    }

    /// Makes sure that a commit that counts no more is not given out.
    pub(super) fn remove(&mut self, task: Task) {
        self.lists.retain(|_, list| list.iter().all(|(input, _)| *input != task));
        if let Some(before) = self.commits.remove(&task) {
            self.pieces -= 1 + before.pieces.len();
        }
    }

    /// The commits of `inputs`, which `task` reads; `fetch` gives those that are not held.
    pub(super) fn list(
        &mut self,
        task: Task,
        inputs: &[Task],
        fetch: impl FnOnce(&[Task]) -> Result<Vec<Arc<Commit>>, Failure>,
    ) -> Result<Inputs, Failure> {
        let sample = match task {
            Task::Region(sample, _) => Some(sample),
            _ => None,
        };
        let same = |list: &&Inputs| list.iter().map(|(input, _)| input).eq(inputs);
        if let Some(list) = sample.and_then(|sample| self.lists.get(&sample)).filter(same) {
            return Ok(Arc::clone(list));
        }
        let missing: Vec<Task> =
            inputs.iter().copied().filter(|input| !self.commits.contains_key(input)).collect();
        let found = if missing.is_empty() { Vec::new() } else { fetch(&missing)? };
        let fetched: HashMap<Task, Arc<Commit>> = missing.into_iter().zip(found).collect();
        let commit = |input: &Task| {
            let commit = fetched.get(input).or_else(|| self.commits.get(input));
            (*input, Arc::clone(commit.expect("it was found or fetched")))
        };
        let list: Inputs = Arc::new(inputs.iter().map(commit).collect());
        fetched.into_iter().for_each(|(task, commit)| self.insert(task, commit));
        if let Some(sample) = sample {
            self.lists.insert(sample, Arc::clone(&list));
        }
        Ok(list)
    }
}
