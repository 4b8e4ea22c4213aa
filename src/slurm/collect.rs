//! What came of a wave: receipts are read, outputs verified and committed, what it cost is booked, and failures are kept
//! for the next coordinator.
//!
//! Invariant: a crash anywhere here is made good by collecting the same wave again. Whatever its outputs are worth, what
//! its elements took is in the bill, and what their receipts say they read is in the log. Of an element that was killed
//! before its receipt, or whose receipt cannot be understood, its leases are there; what it read is not.

use super::record::Folder;
use super::wave::{State, Waves};
use super::{BatchId, Element, State as Standing};
use crate::output::note;
use crate::run::books::{self, RunRecord};
use cluster::bill::Account;
use cluster::bill::wave::{Ran, of_bundles};
use cluster::bundle::{Bundle, Data, Receipt};
use cluster::{Committing, Ended, Office, Output, Request, Spending, TaskFailure};
use jobs::failure::{Class, Classified, Failure};
use jobs::task::Task;
use scheduler::{BundleLimits, Exhausted, Purpose, SiteSpec, Usage, WorkerId};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Instant;
use storage::{Changes, Commit, DiskError};

/// Waves in a row of which nothing came, after which the job is given up: it would be so for ever.
const BARREN_MAX: u32 = 5;

/// Outputs of an audited task of which no two are the same, after which nobody can say who is wrong.
const VOTES_MAX: usize = 4;

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

/// What there is to do once a wave was looked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Collected {
    /// Nothing is out: the job goes on here, and this is what the wave cost.
    All(Account),
    /// The wave is not over: a later coordinator goes on.
    StillOut,
}

/// Takes in the wave that the run before sent, if there is one. Where somebody else ran the job since, or the job is
/// another one by now, nothing of it counts.
pub fn collect(waves: &Waves<'_>, office: &dyn Office) -> Result<Collected, Failure> {
    let began = Instant::now();
    let mut state = State::read(waves.journal)?;
    let Some(array) = state.array.take() else { return Ok(Collected::All(Account::default())) };
    let elements = waves.slurm.elements(&array)?;
    if elements.iter().any(|element| element.state.is_alive()) {
        let own = std::env::var("SLURM_JOB_ID").ok().and_then(|id| id.parse().ok());
        note(&format!("array {array} is not over; the coordinator behind it goes on"));
        if !waves.folder.has_later(&waves.slurm, own)? {
            waves.folder.follow(&waves.slurm, &array)?;
        }
        return Ok(Collected::StillOut);
    }
    let foreign = state.runs != books::all(waves.journal)?.len();
    let mut harvest = Harvest { foreign, ..Harvest::default() };
    for number in 0..state.elements {
        let element = elements.iter().find(|one| one.index == Some(number));
        match read_bundle(&waves.folder, state.number, number)? {
            Some(bundle) => harvest.gather(waves, &mut state, office, (&array, &bundle, number, element))?,
            None => harvest.silent(number, element),
        }
    }
    if harvest.foreign {
        note(&format!(
            "cohort, reads, policy or program changed since array {array} was sent, or the job was run; what came of it \
             is left"
        ));
        // Nor does it say anything of what is to be done now.
        (state.known, state.alone, state.made) = Default::default();
    } else {
        harvest.compare(waves, &mut state, &elements);
        harvest.commit(waves, &mut state, office)?;
    }
    let record = harvest.record(&state, &array);
    note(&format!("wave {}: {} tasks done", state.number, record.tasks));
    state.barren = if record.tasks > 0 { 0 } else { state.barren + 1 };
    let barren = state.barren >= BARREN_MAX;
    if barren {
        state = State { number: state.number, ..State::default() };
    }
    state.write(waves.journal)?;
    record.note(waves.journal)?;
    let wave = waves.folder.wave(state.number);
    match fs::remove_dir_all(&wave) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(DiskError::on("remove", &wave)(error).into());
        }
        _ => {}
    }
    match barren {
        true => Err(Barren { array: array.to_string() }.into()),
        false => Ok(Collected::All(harvest.account(waves, began))),
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

/// The receipt of an element, whose readings are in the log when this returns. `None`: there is none, or what it says
/// cannot be understood. An error: our own log cannot be written.
fn read_receipt(
    waves: &Waves<'_>,
    state: &State,
    office: &dyn Office,
    (bundle, element): (&Bundle, u32),
) -> Result<Option<Receipt>, Failure> {
    let path = Receipt::path_of(&waves.folder.bundle(state.number, element));
    let receipt = Receipt::read(&path, &bundle.id).unwrap_or_else(|error| {
        note(&format!("{}: {error}", path.display()));
        None
    });
    let Some(receipt) = receipt else { return Ok(None) };
    match receipt.logged.iter().try_for_each(|events| office.logged(bundle.worker, events)) {
        // Of whom nobody can say what was read, nothing is taken.
        Err(failure) if failure.class() == Class::Remote => {
            note(&format!("{}: {failure}", path.display()));
            Ok(None)
        }
        logged => logged.map(|()| Some(receipt)),
    }
}

/// What an element was given. `None`: it is gone, or cannot be understood.
fn read_bundle(folder: &Folder, wave: u32, element: u32) -> Result<Option<Bundle>, Failure> {
    let path = folder.bundle(wave, element);
    match fs::read(&path) {
        Ok(bytes) => Ok(Bundle::from_json(&path.display().to_string(), &bytes)
            .inspect_err(|error| note(&error.to_string()))
            .ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DiskError::on("read", &path)(error).into()),
    }
}

/// What one wave brought.
#[derive(Default)]
struct Harvest {
    attempts: Vec<Attempt>,
    /// What elements spent beside their attempts, by their numbers.
    elements: BTreeMap<u32, Ran>,
    /// It was sent for another job than this one is now: it is paid for, and nothing more.
    foreign: bool,
}

/// An attempt of which a receipt tells.
struct Attempt {
    element: u32,
    worker: WorkerId,
    task: Task,
    number: u32,
    purpose: Purpose,
    /// Nobody gave it: the element went on with the next part of an intake.
    follows: bool,
    usage: Usage,
    /// As it was verified.
    output: Option<Output>,
    worth: Worth,
}

/// What an attempt is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worth {
    /// Its output is not taken.
    Nothing,
    /// It made the same as one that is.
    Checked,
    /// Its output is committed.
    Taken,
}

impl Harvest {
    /// Of an element that says nothing only Slurm knows what it took.
    fn silent(&mut self, number: u32, element: Option<&Element>) {
        self.elements.entry(number).or_default().lost_core_ms = element.map_or(0, |element| element.core_ms);
    }

    /// Takes in what an element says: its readings go into the log, its outputs are opened and verified, its failures
    /// are kept.
    fn gather(
        &mut self,
        waves: &Waves<'_>,
        state: &mut State,
        office: &dyn Office,
        (array, bundle, number, element): (&BatchId, &Bundle, u32, Option<&Element>),
    ) -> Result<(), Failure> {
        self.foreign |= !is_of(bundle, waves);
        let mut open: BTreeMap<_, &Request> = bundle.requests.iter().map(|one| (one.attempt, one)).collect();
        match read_receipt(waves, state, office, (bundle, number))? {
            None => self.silent(number, element),
            Some(receipt) => {
                let ran = self.elements.entry(number).or_default();
                (ran.cores, ran.spent_core_ms) = (receipt.cores, receipt.spent_core_ms);
                for ended in receipt.ended {
                    let given = match open.remove(&ended.attempt) {
                        Some(one) => (one.task == ended.task).then_some((one.number, one.purpose, false)),
                        None => self.before(number, ended.task).map(|one| (one.number, one.purpose, true)),
                    };
                    if let Some(given) = given {
                        self.take_in(waves, state, office, (bundle.worker, number, given, ended));
                    }
                }
            }
        }
        let log = waves.folder.element_log(array, number);
        match open.is_empty() {
            // Of an element that did all it was given nobody needs what it said.
            true => drop(fs::remove_file(&log)),
            // What another job's tasks are called is not asked.
            false if self.foreign => {}
            false => {
                // Of one that was to check another nobody hears; it is given out again.
                let work = open.into_values().filter(|request| request.purpose != Purpose::Audit);
                let left: Vec<String> = work.map(|request| request.task.key(waves.names)).collect();
                blame(state, &left, element, &log.display().to_string());
            }
        }
        Ok(())
    }

    /// Takes in how one attempt ended.
    fn take_in(
        &mut self,
        waves: &Waves<'_>,
        state: &mut State,
        office: &dyn Office,
        (worker, element, (number, purpose, follows), ended): (WorkerId, u32, (u32, Purpose, bool), Ended),
    ) {
        let task = ended.task;
        let looked = |output: &Output| if self.foreign { Ok(()) } else { office.verify(task, output) };
        let verified = ended.result.and_then(|output| match looked(&output) {
            Ok(()) => Ok(Some(output)),
            // Its inputs are not to blame, and a machine that lies is left for another.
            Err(failure) => Err(TaskFailure { class: Class::Remote, ..TaskFailure::from(failure) }),
        });
        let output = verified.unwrap_or_else(|failure| {
            if purpose != Purpose::Audit && !self.foreign {
                state.known.entry(task.key(waves.names)).or_default().push(failure);
            }
            None
        });
        let worth = if output.is_some() { Worth::Taken } else { Worth::Nothing };
        let usage = ended.usage;
        self.attempts.push(Attempt { element, worker, task, number, purpose, follows, usage, output, worth });
    }

    /// The attempt of an element at the part of an intake upon which this task follows.
    fn before(&self, element: u32, task: Task) -> Option<&Attempt> {
        let Task::Intake(lane, part) = task else { return None };
        let before = Task::Intake(lane, part.checked_sub(1)?);
        self.attempts.iter().find(|one| (one.element, one.task) == (element, before))
    }

    /// Holds outputs of audited tasks against each other, with those of earlier waves: what two made alike is taken, and
    /// nothing else of an element that made it otherwise.
    fn compare(&mut self, waves: &Waves<'_>, state: &mut State, elements: &[Element]) {
        let mut by_task: BTreeMap<Task, Vec<usize>> = BTreeMap::new();
        for (at, attempt) in self.attempts.iter().enumerate() {
            by_task.entry(attempt.task).or_default().push(at);
        }
        let (mut wrong, mut checked) = (BTreeSet::new(), BTreeSet::new());
        for (task, attempts) in by_task {
            let of_audit = attempts.iter().any(|&at| self.attempts[at].purpose == Purpose::Audit);
            let key = task.key(waves.names);
            if of_audit || state.made.contains_key(&key) {
                wrong.extend(self.judge(key, &attempts, state));
                checked.extend(attempts);
            }
        }
        for at in 0..self.attempts.len() {
            let attempt = &self.attempts[at];
            // What follows upon what is not taken was made from something else.
            let lost = attempt.follows
                && self
                    .before(attempt.element, attempt.task)
                    .is_none_or(|before| before.worth == Worth::Nothing);
            if lost || wrong.contains(&attempt.element) && !checked.contains(&at) {
                self.attempts[at].worth = Worth::Nothing;
            }
        }
        for number in wrong {
            let element = elements.iter().find(|one| one.index == Some(number));
            let node = element.and_then(|element| element.nodes.clone());
            let name = node.clone().unwrap_or_else(|| format!("element {number}"));
            note(&format!("{name} made other outputs than two others; nothing more is given to it"));
            state.distrusted.extend(node);
        }
    }

    /// Says what these attempts at one audited task are worth, and which elements made it otherwise than two others.
    fn judge(&mut self, key: String, attempts: &[usize], state: &mut State) -> Vec<u32> {
        let mut made = state.made.remove(&key).unwrap_or_default();
        let content = |at: usize| self.attempts[at].output.as_ref().map(|output| output.content);
        let found: Vec<(usize, [u8; 32])> =
            attempts.iter().filter_map(|&at| Some((at, content(at)?))).collect();
        made.extend(found.iter().map(|(_, content)| content));
        let times = |one: &[u8; 32]| made.iter().filter(|other| *other == one).count();
        let Some(agreed) = made.iter().find(|one| times(one) > 1).copied() else {
            found.iter().for_each(|&(at, _)| self.attempts[at].worth = Worth::Nothing);
            if made.len() >= VOTES_MAX {
                let chain = vec![format!("{} workers made different outputs of it", made.len())];
                let class = Class::Integrity;
                let failure = TaskFailure { class, chain, hint: None, exhausted: None, damaged: None };
                state.known.entry(key).or_default().push(failure);
            } else if !made.is_empty() {
                state.made.insert(key, made);
            }
            return Vec::new();
        };
        let (mut wrong, mut worth) = (Vec::new(), Worth::Taken);
        for (at, content) in found {
            let attempt = &mut self.attempts[at];
            if content == agreed {
                attempt.worth = std::mem::replace(&mut worth, Worth::Checked);
            } else {
                attempt.worth = Worth::Nothing;
                wrong.push(attempt.element);
            }
        }
        wrong
    }

    /// Commits what is taken in one transaction.
    fn commit(&self, waves: &Waves<'_>, state: &mut State, office: &dyn Office) -> Result<(), Failure> {
        let taken = self.attempts.iter().filter(|attempt| attempt.worth == Worth::Taken);
        let taken: Vec<(&Attempt, &Output)> =
            taken.filter_map(|attempt| Some((attempt, attempt.output.as_ref()?))).collect();
        let told: Vec<Committing<'_>> = taken
            .iter()
            .map(|(attempt, output)| Committing { task: attempt.task, number: attempt.number, output })
            .collect();
        office.committing(&told)?;
        let commits: Vec<(String, Commit)> = taken
            .iter()
            .map(|(attempt, output)| {
                let usage = attempt.usage;
                let commit = Commit {
                    attempt: attempt.number,
                    pieces: output.pieces.clone(),
                    summary: output.summary.clone(),
                    basis: office.basis(attempt.task),
                    content: output.content,
                    cpu_ms: usage.cpu_ms,
                    started_ms: usage.started_ms,
                    finished_ms: usage.finished_ms,
                    worker: attempt.worker.0,
                    slot: usage.slot,
                    site: 1,
                    bytes_in: usage.bytes_in,
                };
                (attempt.task.key(waves.names), commit)
            })
            .collect();
        for (key, _) in &commits {
            state.known.remove(key);
            state.alone.remove(key);
        }
        let commits: Vec<(&str, &Commit)> =
            commits.iter().map(|(key, commit)| (key.as_str(), commit)).collect();
        let followed: Vec<String> = taken
            .iter()
            .filter(|(attempt, _)| attempt.follows)
            .map(|(attempt, _)| attempt.task.key(waves.names))
            .collect();
        let attempts: Vec<&str> = followed.iter().map(String::as_str).collect();
        waves.journal.apply(&Changes { commits: &commits, attempts: &attempts, forgotten: &[] })?;
        Ok(())
    }

    fn taken(&self) -> usize {
        self.attempts.iter().filter(|attempt| !self.foreign && attempt.worth == Worth::Taken).count()
    }

    /// The wave among the runs of the job.
    fn record(&self, state: &State, array: &BatchId) -> RunRecord {
        let cpu_ms = self.attempts.iter().map(|attempt| attempt.usage.cpu_ms).sum();
        let ended_ms = self.attempts.iter().map(|attempt| attempt.usage.finished_ms).max();
        RunRecord {
            command: format!("wave {}: {} bundles as array {array}", state.number, state.elements),
            started_ms: state.sent_ms,
            ended_ms: Some(ended_ms.unwrap_or(0).max(state.sent_ms)),
            tasks: self.taken() as u64,
            task_cpu_ms: cpu_ms,
            cpu_ms,
            commit_cpu_ms: 0,
            peak_anonymous_bytes: 0,
            mapped_bytes: 0,
            ending: "collected".to_owned(),
        }
    }

    /// What the wave cost, and collecting it since `began`.
    fn account(mut self, waves: &Waves<'_>, began: Instant) -> Account {
        for attempt in &self.attempts {
            let counts = attempt.worth != Worth::Nothing && !self.foreign;
            let purpose = if attempt.worth == Worth::Taken { Purpose::Work } else { attempt.purpose };
            // Of two that work was given to, the second checks the first.
            let purpose = if attempt.worth == Worth::Checked { Purpose::Audit } else { purpose };
            let ran = self.elements.entry(attempt.element).or_default();
            ran.attempts.push((attempt.task, purpose, counts, attempt.usage));
        }
        let cores = waves.cores;
        let core_ms = began.elapsed().as_millis() as u64 * u64::from(cores);
        let own = Ran {
            cores,
            spent_core_ms: BTreeMap::from([(Spending::Coordination, core_ms)]),
            ..Ran::default()
        };
        let site = SiteSpec {
            name: waves.site.to_owned(),
            price_core_hour: waves.price_core_hour,
            latency_ms: 0,
            bytes_per_second: None,
            bundles: Some(BundleLimits { bundles_max: 0, bundle_ms: 0 }),
            allowed: Vec::new(),
            stages: [true; 7],
        };
        let ran: Vec<Ran> = self.elements.into_values().chain([own]).collect();
        of_bundles(&site, &ran, waves.names)
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
mod tests;
