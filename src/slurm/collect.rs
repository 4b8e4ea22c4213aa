//! What came of a wave: receipts are read, outputs verified and committed, and failures kept for the next coordinator.

use super::record::Folder;
use super::wave::{State, Waves};
use super::{Element, Slurm, State as Standing};
use crate::output::note;
use crate::run::books;
use cluster::bundle::{Bundle, Data, Receipt};
use cluster::{Committing, Ended, Office, Output, Request, TaskFailure};
use jobs::failure::{Class, Classified, Failure};
use jobs::task::Task;
use scheduler::{Exhausted, Usage, WorkerId};
use std::collections::BTreeMap;
use std::fs;
use storage::{Changes, Commit, DiskError};

/// Waves in a row of which nothing came, after which the job is given up: it would be so for ever.
const BARREN_MAX: u32 = 5;

/// Nothing comes of waves.
#[derive(Debug, thiserror::Error)]
#[error("nothing came of {BARREN_MAX} waves in a row; the last was array {array}")]
struct Barren {
    array: String,
}

impl Classified for Barren {
    fn class(&self) -> Class {
        Class::Failed
    }

    fn hint(&self) -> Option<String> {
        Some(
            "wakachi job logs DIR says why; wakachi submit again, perhaps with more --mem or --time"
                .to_owned(),
        )
    }
}

/// What one wave brought.
#[derive(Default)]
struct Harvest {
    outputs: Vec<(Task, u32, Output, Usage, WorkerId)>,
}

/// What there is to do once a wave was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collected {
    /// Nothing is out: the job goes on here.
    All,
    /// The wave is not over: a later coordinator goes on.
    StillOut,
}

/// Takes in the wave that the run before sent, if there is one and nobody has run the job since.
pub fn collect(waves: &Waves<'_>, office: &dyn Office) -> Result<Collected, Failure> {
    let mut state = State::read(waves.journal)?;
    let Some(array) = state.array.take() else { return Ok(Collected::All) };
    if state.runs != books::all(waves.journal)?.len() {
        note(&format!("the job was run since array {array} was sent; what came of it is left"));
        state.write(waves.journal)?;
        return Ok(Collected::All);
    }
    let slurm = Slurm::of_path();
    let elements = slurm.elements(&array)?;
    if elements.iter().any(|element| element.state.is_alive()) {
        let own = std::env::var("SLURM_JOB_ID").ok().and_then(|id| id.parse().ok());
        note(&format!("array {array} is not over; the coordinator behind it goes on"));
        if !waves.folder.has_later(&slurm, own)? {
            waves.folder.follow(&slurm, &array)?;
        }
        return Ok(Collected::StillOut);
    }
    let mut harvest = Harvest::default();
    let mut foreign = false;
    for number in 0..state.elements {
        let element = elements.iter().find(|one| one.index == Some(number));
        let bundle = read_bundle(&waves.folder, state.number, number)?;
        let Some(bundle) = bundle else { continue };
        if !is_of(&bundle, waves) {
            foreign = true;
            log_reading(waves, &state, office, &bundle, number)?;
            continue;
        }
        let log = waves.folder.element_log(&array, number);
        let left = harvest.gather(waves, &mut state, (office, &bundle), number)?;
        match left.is_empty() {
            // Of an element that did all it was given nobody needs what it said.
            true => drop(fs::remove_file(&log)),
            false => blame(&mut state, &left, element, &log.display().to_string()),
        }
    }
    if foreign {
        note("cohort, reads, policy or program changed since the wave was sent; what came of it is left");
        // Nor does it say anything of what is to be done now.
        (state.known, state.alone) = Default::default();
    }
    let count = harvest.outputs.len();
    harvest.commit(waves, &mut state, office)?;
    note(&format!("wave {}: {count} tasks done", state.number));
    state.barren = if count > 0 { 0 } else { state.barren + 1 };
    let barren = state.barren >= BARREN_MAX;
    if barren {
        state = State { number: state.number, ..State::default() };
    }
    state.write(waves.journal)?;
    let wave = waves.folder.wave(state.number);
    fs::remove_dir_all(&wave).map_err(DiskError::on("remove", &wave))?;
    match barren {
        true => Err(Barren { array: array.to_string() }.into()),
        false => Ok(Collected::All),
    }
}

/// Whether the job was for who sent the bundle what it is now: only then its outputs are those of the present bases.
fn is_of(bundle: &Bundle, waves: &Waves<'_>) -> bool {
    let sight = |data: &Data| match data {
        Data::Shared { sight, .. } => Some(sight.clone()),
        Data::Carried(_) => None,
    };
    sight(&bundle.data).is_some_and(|sent| Some(sent) == sight(&waves.data))
}

fn read_receipt(waves: &Waves<'_>, state: &State, bundle: &Bundle, element: u32) -> Option<Receipt> {
    let path = Receipt::path_of(&waves.folder.bundle(state.number, element));
    Receipt::read(&path, &bundle.id).unwrap_or_else(|error| {
        note(&format!("{}: {error}", path.display()));
        None
    })
}

/// What a bundle's worker read is in the log, whatever its outputs are worth.
fn log_reading(
    waves: &Waves<'_>,
    state: &State,
    office: &dyn Office,
    bundle: &Bundle,
    element: u32,
) -> Result<(), Failure> {
    let receipt = read_receipt(waves, state, bundle, element);
    let logged = receipt.map_or_else(Vec::new, |receipt| receipt.logged);
    logged.iter().try_for_each(|events| office.logged(bundle.worker, events))
}

fn read_bundle(folder: &Folder, wave: u32, element: u32) -> Result<Option<Bundle>, Failure> {
    let path = folder.bundle(wave, element);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(Bundle::from_json(&path.display().to_string(), &bytes)?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DiskError::on("read", &path)(error).into()),
    }
}

impl Harvest {
    /// Reads the receipt of a bundle; the keys of the tasks of which it says nothing.
    fn gather(
        &mut self,
        waves: &Waves<'_>,
        state: &mut State,
        (office, bundle): (&dyn Office, &Bundle),
        element: u32,
    ) -> Result<Vec<String>, Failure> {
        let mut open: BTreeMap<_, &Request> = bundle.requests.iter().map(|one| (one.attempt, one)).collect();
        let receipt = read_receipt(waves, state, bundle, element);
        let key = |request: &Request| request.task.key(waves.names);
        let Some(receipt) = receipt else { return Ok(bundle.requests.iter().map(key).collect()) };
        for events in &receipt.logged {
            office.logged(bundle.worker, events)?;
        }
        for Ended { attempt, task, result, usage } in receipt.ended {
            let Some(request) = open.remove(&attempt).filter(|request| request.task == task) else {
                continue;
            };
            let verified = match result {
                Ok(output) => {
                    let placed = || office.place(task, request.number, &output);
                    office.verify(task, &output).and_then(|()| placed()).map(|()| output).map_err(|failure| {
                        TaskFailure {
                            // Its inputs are not to blame, and a machine that lies is left for another.
                            class: Class::Remote,
                            ..TaskFailure::from(failure)
                        }
                    })
                }
                Err(failure) => Err(failure),
            };
            match verified {
                Ok(output) => self.outputs.push((task, request.number, output, usage, bundle.worker)),
                Err(failure) => state.known.entry(task.key(waves.names)).or_default().push(failure),
            }
        }
        Ok(open.into_values().map(key).collect())
    }

    /// Commits all outputs in one transaction.
    fn commit(self, waves: &Waves<'_>, state: &mut State, office: &dyn Office) -> Result<(), Failure> {
        let told: Vec<Committing<'_>> = self
            .outputs
            .iter()
            .map(|(task, number, output, ..)| Committing { task: *task, number: *number, output })
            .collect();
        office.committing(&told)?;
        let commits: Vec<(String, Commit)> = self
            .outputs
            .iter()
            .map(|(task, number, output, usage, worker)| {
                let commit = Commit {
                    attempt: *number,
                    pieces: output.pieces.clone(),
                    summary: output.summary.clone(),
                    basis: office.basis(*task),
                    content: output.content,
                    cpu_ms: usage.cpu_ms,
                    started_ms: usage.started_ms,
                    finished_ms: usage.finished_ms,
                    worker: worker.0,
                    slot: usage.slot,
                    site: 1,
                    bytes_in: usage.bytes_in,
                };
                (task.key(waves.names), commit)
            })
            .collect();
        for (key, _) in &commits {
            state.known.remove(key);
            state.alone.remove(key);
        }
        let commits: Vec<(&str, &Commit)> =
            commits.iter().map(|(key, commit)| (key.as_str(), commit)).collect();
        waves.journal.apply(&Changes { commits: &commits, attempts: &[], forgotten: &[] })?;
        Ok(())
    }
}

/// Why requests came to nothing whose element wrote no receipt of them. What ran out of something in company is tried
/// alone first; what was only lost is given out again.
fn blame(state: &mut State, left: &[String], element: Option<&Element>, log: &str) {
    let failed = |state: &mut State, exhausted, class, what: String| {
        for key in left {
            let chain = vec![what.clone(), format!("its log is {log}")];
            let failure = TaskFailure { class, chain, hint: None, exhausted, damaged: None };
            state.known.entry(key.clone()).or_default().push(failure);
        }
    };
    let exhausted = match element.map(|element| element.state) {
        Some(Standing::OutOfMemory) => Exhausted::Memory,
        Some(Standing::TimedOut) => Exhausted::Time,
        // It was ended with no word of its own: where memory is guarded by the kernel alone.
        Some(Standing::Failed) if element.is_some_and(|element| matches!(element.code, None | Some(137))) => {
            Exhausted::Memory
        }
        Some(Standing::Failed) => {
            let code = element.and_then(|element| element.code).unwrap_or(1);
            let class = Class::of_exit_code(code as i32).unwrap_or(Class::Failed);
            return failed(state, None, class, format!("the worker ended with exit code {code}"));
        }
        _ => return,
    };
    match left {
        [_] => failed(
            state,
            Some(exhausted),
            Class::Failed,
            "the worker ran out of what it was given".to_owned(),
        ),
        _ => state.alone.extend(left.iter().cloned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is known after an element with these tasks ended so without a receipt: failures by what ran out and class,
    /// and how many tasks go alone.
    fn check(
        tasks: usize,
        ended: Option<(Standing, Option<u32>)>,
        known: &[(Option<Exhausted>, Class)],
        alone: usize,
    ) {
        let left: Vec<String> = (0..tasks).map(|task| format!("map/S/0/{task}")).collect();
        let element = ended.map(|(state, code)| Element {
            index: Some(0),
            state,
            reason: None,
            code,
            restarts: 0,
            nodes: None,
        });
        let mut state = State::default();
        blame(&mut state, &left, element.as_ref(), "0.log");
        let found: Vec<_> =
            state.known.values().flatten().map(|failure| (failure.exhausted, failure.class)).collect();
        assert_eq!((&found[..], state.alone.len()), (known, alone), "{ended:?}");
    }

    #[test]
    fn what_ran_out_in_company_is_tried_alone_before_it_is_blamed() {
        let memory = (Some(Exhausted::Memory), Class::Failed);
        check(3, Some((Standing::OutOfMemory, None)), &[], 3);
        check(1, Some((Standing::OutOfMemory, None)), &[memory], 0);
        check(1, Some((Standing::Failed, Some(137))), &[memory], 0);
        check(1, Some((Standing::TimedOut, None)), &[(Some(Exhausted::Time), Class::Failed)], 0);
    }

    #[test]
    fn what_was_only_lost_is_nobodys_fault() {
        for state in [Standing::Lost, Standing::Cancelled, Standing::Completed] {
            check(2, Some((state, None)), &[], 0);
        }
        check(2, None, &[], 0);
    }

    #[test]
    fn a_worker_that_refused_says_why_with_its_code() {
        check(2, Some((Standing::Failed, Some(4))), &[(None, Class::Policy); 2], 0);
        check(1, Some((Standing::Failed, Some(77))), &[(None, Class::Failed)], 0);
    }
}
