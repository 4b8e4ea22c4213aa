//! Sealing: what the cohort's `[archive]` names goes into its vaults as soon as a sample is finished.
//!
//! Invariant: a seal task is done only when the vault has acknowledged every file of it; `sealed.json` lists them all. An
//! object's lineage leads from calls over alignments to the reads they came from, also where those lie in another pool.

use super::books::{self, read_at_most};
use super::close::{json, read_ledger, write_book};
use super::runner::Runner;
use crate::job_dir::JobDir;
use crate::output::note;
use crate::passphrase::PassphraseArgs;
use cluster::Output;
use jobs::cohort::{Cohort, Written};
use jobs::event::Node;
use jobs::failure::{Class, Classified, Failure};
use jobs::policy::{Action, DataClass, Subject};
use jobs::task::{LaneId, Stage, Task, TaskKeys};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use storage::audit::{AuditError, AuditLog};
use storage::vault::{Caller, FileDigest, Lineage, SealError, SealRequest, Sealer, UnlockError, Vault};
use storage::{Changes, Commit, Journal};
use workers::access::now;
use workers::finish::{ResultFile, SampleLedger};
use workers::task::intake_summary;

/// Version of `sealed.json`.
const SEALED_SCHEMA: &str = "wakachi.sealed/1";

/// Name of the journal's value that says which archive the seal tasks are for.
const ARCHIVE: &str = "archive";

/// Name of the list of sealed files in the job directory.
pub const SEALED: &str = "sealed.json";

/// Longest list that is read, in bytes.
pub const LIST_BYTES_MAX: u64 = 1 << 30;

/// How long, and how often, a vault that another process uses is waited for.
const BUSY_TRIES_MAX: u32 = 6_000;
const BUSY_WAIT: Duration = Duration::from_millis(100);

/// The vaults of a job, unlocked.
pub struct Archive {
    results: Pool,
    /// Where raw reads go, if elsewhere.
    reads: Option<Pool>,
    classes: BTreeSet<DataClass>,
}

struct Pool {
    vault: Vault,
    sealer: Sealer,
    /// One object at a time: the vault has one writer.
    turn: Mutex<()>,
}

/// One file in a vault.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SealedFile {
    /// The file: below the job directory, or the reads as the sheet names them.
    pub path: String,
    /// The sample; none for the cohort's own.
    pub sample: Option<String>,
    /// Class of the data.
    pub class: DataClass,
    /// The object.
    pub object: String,
    /// The vault's folder.
    pub vault: PathBuf,
    /// Length of the file.
    pub bytes: u64,
}

/// `sealed.json`.
#[derive(serde::Serialize, serde::Deserialize)]
struct SealedList {
    schema: String,
    cohort: String,
    files: Vec<SealedFile>,
}

/// The list of sealed files is not there, or is none.
#[derive(Debug, thiserror::Error)]
#[error("{SEALED} cannot be read")]
struct Unlisted(#[source] io::Error);

impl Classified for Unlisted {
    fn class(&self) -> Class {
        Class::Partial
    }
}

/// What the seals of a task have in common.
struct Work<'a> {
    runner: &'a Runner<'a>,
    /// Whose data it is.
    subjects: &'a [Subject],
    /// What is known of the files, as [`SealedFile::path`].
    expected: &'a BTreeMap<String, FileDigest>,
}

/// A file to be sealed.
struct Item {
    file: PathBuf,
    /// As [`SealedFile::path`].
    path: String,
    class: DataClass,
    sample: Option<String>,
    lineage: Vec<Lineage>,
}

/// A job with an archive cannot end without it.
#[derive(Debug, thiserror::Error)]
#[error("the committed output of {task} is not in the form this version writes")]
struct FormError {
    task: String,
}

impl Classified for FormError {
    fn class(&self) -> Class {
        Class::Integrity
    }
}

/// The reads are not those that the results were made of.
#[derive(Debug, thiserror::Error)]
#[error("{} is not what was taken in", file.display())]
struct ReadsReplaced {
    file: PathBuf,
}

impl Classified for ReadsReplaced {
    fn class(&self) -> Class {
        Class::Input
    }

    fn hint(&self) -> Option<String> {
        Some("bring back the file as it was, or correct the digest that the sheet states".to_owned())
    }
}

impl Archive {
    /// Opens and unlocks what the cohort's `[archive]` names; `None`: it has none.
    pub fn open(cohort: &Cohort, passphrases: &PassphraseArgs) -> Result<Option<Self>, Failure> {
        let Some(asked) = &cohort.archive else { return Ok(None) };
        let passphrases =
            passphrases.with(asked.passphrase_file.iter().map(|path| cohort.folder.join(&path.text)));
        let pool = |path: &Written| -> Result<Pool, Failure> {
            let named = cohort.folder.join(&path.text);
            // Not as it was reached: the list of sealed files is read from elsewhere.
            let vault = Vault::open(&named.canonicalize().unwrap_or(named))?;
            let what = format!("the vault {}", vault.folder().display());
            let is_wrong = |error: &UnlockError| error.class() == Class::Usage;
            let sealer = passphrases.unlock(&what, |passphrase| vault.unlock(passphrase), is_wrong)?;
            Ok(Pool { vault, sealer, turn: Mutex::default() })
        };
        let reads = asked.fastq_vault.as_ref().map(pool).transpose()?;
        Ok(Some(Archive { results: pool(&asked.vault)?, reads, classes: asked.classes.clone() }))
    }

    /// Undoes seal tasks that were done for another archive, and to `repair` all of them, so that "done" means sealed
    /// where, and what, the cohort says now; what lies in a vault already is found there.
    pub fn settle(&self, journal: &Journal, samples: &[String], repair: bool) -> Result<(), Failure> {
        let pools = std::iter::once(&self.results).chain(&self.reads);
        let pools: Vec<_> = pools.map(|pool| pool.vault.description().id.to_string()).collect();
        let asked = json(&(pools, &self.classes));
        if !repair && journal.value(ARCHIVE)?.as_ref() == Some(&asked) {
            return Ok(());
        }
        let (mut seals, keys) = (Vec::new(), TaskKeys::new(samples));
        journal.replay(|key, _| {
            if keys.task(key).is_some_and(|task| task.stage() == Stage::Seal) {
                seals.push(key.to_owned());
            }
        })?;
        let forgotten: Vec<&str> = seals.iter().map(String::as_str).collect();
        journal.apply(&Changes { forgotten: &forgotten, ..Changes::default() })?;
        Ok(journal.put_value(ARCHIVE, &asked)?)
    }

    /// Every object of `sealed.json` that its vault does not have any more.
    pub fn lost(&self, dir: &JobDir) -> Result<Vec<String>, Failure> {
        let list = read_at_most(&dir.root().join(SEALED), LIST_BYTES_MAX).map_err(Unlisted)?;
        let list: SealedList = serde_json::from_slice(&list).map_err(|error| Unlisted(error.into()))?;
        let pools = || std::iter::once(&self.results).chain(&self.reads);
        let is_there = |file: &SealedFile| {
            let id = file.object.parse();
            id.is_ok_and(|id| pools().any(|pool| pool.vault.info(id).is_ok()))
        };
        let lost = list.files.iter().filter(|file| !is_there(file));
        Ok(lost.map(|file| format!("vault object {} of {}", file.object, file.path)).collect())
    }

    /// Runs one seal task.
    pub fn run(
        &self,
        runner: &Runner<'_>,
        task: Task,
        samples: &[u32],
        inputs: &[(Task, Arc<Commit>)],
    ) -> Result<Output, Failure> {
        let subjects = runner.subjects(samples);
        let expected = expected(runner, inputs)?;
        let work = Work { runner, subjects: &subjects, expected: &expected };
        let summary = match task.sample() {
            Some(sample) => json(&self.seal_sample(&work, sample)?),
            None => self.seal_cohort(&work, inputs)?,
        };
        Ok(Output { content: *blake3::hash(&summary).as_bytes(), summary, pieces: Vec::new() })
    }

    fn seal_sample(&self, work: &Work<'_>, sample: u32) -> Result<Vec<SealedFile>, Failure> {
        let runner = work.runner;
        let name = &runner.context.sample(sample).name;
        let mut sealed = Vec::new();
        let mut reads = Vec::new();
        if self.wants(DataClass::Fastq) {
            for (path, file) in lane_files(runner.cohort, sample) {
                let item = Item {
                    file,
                    path,
                    class: DataClass::Fastq,
                    sample: Some(name.clone()),
                    lineage: Vec::new(),
                };
                let one = self.seal(work, &item)?;
                reads.push(lineage("derived_from", &one));
                sealed.push(one);
            }
        }
        let mut from = reads;
        for (class, ending, index) in
            [(DataClass::Cram, "cram", "crai"), (DataClass::Gvcf, "g.vcf.gz", "tbi")]
        {
            if self.wants(class) {
                let file = format!("{name}.{ending}");
                let item = result(runner, &file, class, Some(name.clone()), from);
                let main = self.seal_with_index(work, item, index)?;
                from = vec![lineage("derived_from", &main[0])];
                sealed.extend(main);
            }
        }
        Ok(sealed)
    }

    fn seal_cohort(&self, work: &Work<'_>, inputs: &[(Task, Arc<Commit>)]) -> Result<Vec<u8>, Failure> {
        let runner = work.runner;
        let mut files: Vec<SealedFile> = Vec::new();
        for (input, commit) in inputs.iter().filter(|(input, _)| matches!(input, Task::SealSample(_))) {
            let form = || FormError { task: input.key(runner.context.names()) };
            let sealed: Vec<SealedFile> = serde_json::from_slice(&commit.summary).map_err(|_| form())?;
            files.extend(sealed);
        }
        if self.wants(DataClass::Joint) {
            let joined = |file: &&SealedFile| {
                let sample = runner.cohort.joined().any(|one| Some(&one.sample) == file.sample.as_ref());
                sample && file.class == DataClass::Gvcf && file.path.ends_with(".gz")
            };
            let from = files.iter().filter(joined).map(|file| lineage("derived_from", file)).collect();
            let file = format!("{}.vcf.gz", runner.cohort.id);
            let item = result(runner, &file, DataClass::Joint, None, from);
            files.extend(self.seal_with_index(work, item, "tbi")?);
        }
        if self.wants(DataClass::Report) {
            for (path, file) in [("report.html", runner.dir.report()), ("ledger.json", runner.dir.ledger())] {
                let item = Item {
                    file,
                    path: path.to_owned(),
                    class: DataClass::Report,
                    sample: None,
                    lineage: Vec::new(),
                };
                files.push(self.seal(work, &item)?);
            }
        }
        let list = SealedList { schema: SEALED_SCHEMA.to_owned(), cohort: runner.cohort.id.clone(), files };
        let book = write_book(runner.dir, SEALED.to_owned(), &json(&list))?;
        Ok(json(&book))
    }

    /// Seals a result and its index, which points to it.
    fn seal_with_index(&self, work: &Work<'_>, item: Item, index: &str) -> Result<Vec<SealedFile>, Failure> {
        let main = self.seal(work, &item)?;
        let to_main = vec![lineage("index_of", &main)];
        let path = format!("{}.{index}", item.path);
        let index = Item { file: work.runner.dir.root().join(&path), path, lineage: to_main, ..item };
        let index = self.seal(work, &index)?;
        Ok(vec![main, index])
    }

    fn seal(
        &self,
        &Work { runner, subjects, expected }: &Work<'_>,
        item: &Item,
    ) -> Result<SealedFile, Failure> {
        let pool = match item.class {
            DataClass::Fastq => self.reads.as_ref().unwrap_or(&self.results),
            _ => &self.results,
        };
        let (actor, tool) = runner.trail.caller();
        let caller = Caller { actor, tool, job: Some(runner.context.job.clone()) };
        let mut manifest = BTreeMap::from([
            ("cohort".to_owned(), runner.cohort.id.clone()),
            ("job".to_owned(), runner.context.job.clone()),
            ("path".to_owned(), item.path.clone()),
            ("parameters".to_owned(), runner.context.settings.joint_parameters.clone()),
        ]);
        manifest.extend(item.sample.iter().map(|sample| ("sample".to_owned(), sample.clone())));
        let name = item.file.file_name().unwrap_or_default().to_string_lossy();
        // The turn may be long in coming, so the question is asked after it.
        let _turn = pool.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let log = pool.log(runner.gate.site())?;
        let question = (Action::Archive, item.class);
        let hash = |subject: &Subject| pool.sealer.participant_h(&subject.participant);
        let permit = runner.gate.permit_in(&log, &caller, question, subjects, hash)?;
        let request = SealRequest {
            file: &item.file,
            expected: expected.get(&item.path).copied(),
            name: &name,
            class: item.class,
            level: runner.gate.policy().levels.get(&item.class).copied().unwrap_or(u8::MAX),
            subjects,
            manifest: &manifest,
            lineage: &item.lineage,
            caller: &caller,
            now: now(),
        };
        let sealed = pool.vault.seal(&pool.sealer, &permit, &log, &request, &mut |_| ());
        let sealed = match sealed {
            Err(SealError::Unexpected { file }) if item.class == DataClass::Fastq => {
                return Err(ReadsReplaced { file }.into());
            }
            sealed => sealed?,
        };
        Ok(SealedFile {
            path: item.path.clone(),
            sample: item.sample.clone(),
            class: item.class,
            object: sealed.id.to_string(),
            vault: pool.vault.folder().to_owned(),
            bytes: sealed.plaintext_bytes,
        })
    }

    fn wants(&self, class: DataClass) -> bool {
        self.classes.contains(&class) || (class == DataClass::Fastq && self.reads.is_some())
    }
}

impl Pool {
    /// The vault's audit log; waits while another process writes it.
    fn log(&self, site: &str) -> Result<AuditLog, Failure> {
        let node = || Node { site: Some(site.to_owned()), ..Node::default() };
        for tried in 0..BUSY_TRIES_MAX {
            match self.sealer.open_log(&self.vault, node()) {
                Err(AuditError::Busy { path }) => {
                    if tried == 0 {
                        note(&format!("waiting for who writes {}", path.display()));
                    }
                    thread::sleep(BUSY_WAIT);
                }
                opened => return Ok(opened?),
            }
        }
        Ok(self.sealer.open_log(&self.vault, node())?)
    }
}

/// What is known of the files that a seal task may seal: of results what their ledger says, of reads what the sheet states
/// or their intake found.
fn expected(
    runner: &Runner<'_>,
    inputs: &[(Task, Arc<Commit>)],
) -> Result<BTreeMap<String, FileDigest>, Failure> {
    let mut expected = BTreeMap::new();
    let mut results = |files: Vec<ResultFile>| {
        let digest = |file: &ResultFile| Some(*blake3::Hash::from_hex(&file.blake3).ok()?.as_bytes());
        let known = files
            .into_iter()
            .filter_map(|file| Some((file.path.clone(), FileDigest::Blake3(digest(&file)?))));
        expected.extend(known);
    };
    for (task, commit) in inputs {
        let form = |_| FormError { task: runner.key(*task) };
        match task {
            Task::FinishSample(_) => {
                results(serde_json::from_slice::<SampleLedger>(&commit.summary).map_err(form)?.files);
            }
            Task::FinishCohort => {
                results(serde_json::from_slice(&commit.summary).map_err(form)?);
                // Whether it is whole shows when it is sealed, or its files are.
                results(read_ledger(runner.dir).map_or_else(Vec::new, |ledger| ledger.joint.files));
            }
            _ => {}
        }
    }
    for sample in inputs.iter().filter_map(|(task, _)| task.sample()) {
        for (lane, files) in (0..).zip(&runner.cohort.samples[sample as usize].lanes) {
            let found = found_by_intake(runner, LaneId { sample, lane })?;
            for (at, fastq) in std::iter::once(&files.fastq_1).chain(&files.fastq_2).enumerate() {
                let sha256 = fastq.sha256.or_else(|| found.get(at).copied());
                expected.extend(sha256.map(|sha256| (fastq.path.clone(), FileDigest::Sha256(sha256))));
            }
        }
    }
    Ok(expected)
}

/// SHA-256 of a lane's files as its intake found them; nothing of one that the journal does not know any more.
fn found_by_intake(runner: &Runner<'_>, lane: LaneId) -> Result<Vec<[u8; 32]>, Failure> {
    let Some(home) = runner.home else { return Ok(Vec::new()) };
    for part in 0.. {
        let Some(commit) = home.journal.get(&runner.key(Task::Intake(lane, part)))? else { break };
        // Any 32 bytes in hexadecimal.
        let digest = |hex: &String| blake3::Hash::from_hex(hex).ok().map(Into::into);
        match intake_summary(&commit) {
            Some(summary) if summary.more => {}
            last => {
                return Ok(last.map_or_else(Vec::new, |last| last.sha256.iter().filter_map(digest).collect()));
            }
        }
    }
    Ok(Vec::new())
}

/// A file of `results/`.
fn result(
    runner: &Runner<'_>,
    name: &str,
    class: DataClass,
    sample: Option<String>,
    lineage: Vec<Lineage>,
) -> Item {
    Item { file: runner.dir.results().join(name), path: format!("results/{name}"), class, sample, lineage }
}

/// Every file of a sample's lanes: as the sheet names it, and where it lies.
fn lane_files(cohort: &Cohort, sample: u32) -> impl Iterator<Item = (String, PathBuf)> {
    let lanes = cohort.samples[sample as usize].lanes.iter();
    let files = lanes.flat_map(|lane| std::iter::once(&lane.fastq_1).chain(&lane.fastq_2));
    files.map(|fastq| (fastq.path.clone(), cohort.reads_path(fastq)))
}

fn lineage(relation: &str, file: &SealedFile) -> Lineage {
    let object = file.object.parse().expect("the vault's own id");
    Lineage { relation: relation.to_owned(), object }
}

/// What the last seal task wrote of `sealed.json`.
pub fn book(commit: &Commit) -> Option<ResultFile> {
    serde_json::from_slice(&commit.summary).ok()
}

/// Whether `sealed.json` is as its task wrote it.
pub fn is_listed(dir: &JobDir, commit: &Commit) -> bool {
    book(commit).is_some_and(|book| books::is_whole(dir, &book))
}
