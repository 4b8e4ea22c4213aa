//! A job that was killed while its last sample was worked on.

use super::wakachi::{Cohort, End, folder, kill_after};
use std::time::Duration;
use storage::{Fence, Journal};
use tempfile::TempDir;

/// Starts the cohort's job and kills it, again and again, until something of the last sample is done and something left.
pub fn halfway(cohort: &Cohort, options: &str) -> TempDir {
    let out = folder();
    let last = cohort.samples().pop().expect("a sample");
    for turn in 0.. {
        let cpu = Duration::from_millis(40 + 3 * turn);
        let end = kill_after(&cohort.file(), out.path(), options, cpu, || ());
        assert!(matches!(end, End::Killed(_)), "the job was complete before it was halfway");
        let scratch = out.path().join(".wakachi");
        if !scratch.join("journal.redb").exists() {
            continue;
        }
        let journal = Journal::open(Fence::acquire(&scratch).expect("nobody's")).expect("a journal");
        let commits = journal.commits().expect("commits");
        if commits.contains_key(&format!("map/{last}/0/0")) {
            assert!(!commits.contains_key(&format!("finish/{last}")), "nothing of {last} was left to do");
            break;
        }
    }
    out
}
