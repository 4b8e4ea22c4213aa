//! The end of a job: the cohort's files, its ledger and report; the check that everything is there; and, when something
//! is not, what has to be done again.

use crate::job_dir::JobDir;
use crate::output::note;
use crate::run::admission::Excluded;
use crate::run::archive;
use crate::run::books::{self, ReadBack, is_whole};
use crate::run::office::Dropped;
use crate::run::runner::{Home, Runner};
use crate::run::staged;
use cluster::Output;
use cluster::bill::{Account, Idle};
use jobs::cohort::{Cohort, Role, Sample, Sex};
use jobs::failure::{Class, Classified, Failure};
use jobs::task::{Stage, Task, TaskKeys};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::{AtomicFile, AtomicFileError, Commit, DiskError, Journal, PackError, PieceRef};
use workers::access::Access;
use workers::context::Context;
use workers::finish::{self, Extent, FinishError, JointShard, JointWriteSummary, ResultFile, SampleLedger};
use workers::hold::Hold;
use workers::qc::exchange;
use workers::qc::metrics::SampleQc;
use workers::qc::pedigree::Declared;
use workers::report::{
    BillLine, Exclusion, FileEntry, ReferenceSummary, ReportData, SampleReport, StageTotal, TaskSpan, render,
};
use workers::task::sealed_to;

/// Version of `ledger.json`.
const LEDGER_SCHEMA: &str = "wakachi.ledger/1";

/// The ledger of a job.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Ledger {
    /// [`LEDGER_SCHEMA`].
    pub schema: String,
    /// The cohort.
    pub cohort: String,
    /// Digest of the parameters that decide bytes.
    pub parameters: String,
    /// Every sample.
    pub samples: Vec<SampleLedger>,
    /// Samples of the cohort file that were left out of the job, with every reason.
    pub excluded: Vec<Excluded>,
    /// Samples that could not be done, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Dropped>,
    /// The joint calls.
    pub joint: JointLedger,
    /// The cohort's `[governance]`, carried through.
    pub governance: serde_json::Value,
}

/// The joint calls in the ledger.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct JointLedger {
    /// Samples that take part, in the order of the columns.
    pub samples: Vec<String>,
    /// Every shard once: its cells, sites, and sites that passed.
    pub shards: Vec<JointShard>,
    /// Files.
    pub files: Vec<ResultFile>,
}

/// A result is not what the ledger says.
#[derive(Debug, thiserror::Error)]
pub enum ResultError {
    /// Files are gone.
    #[error("missing: {}", paths.join(", "))]
    Missing {
        /// Below the job directory.
        paths: Vec<String>,
    },
    /// Files changed.
    #[error("damaged: {}", paths.join(", "))]
    Damaged {
        /// Below the job directory.
        paths: Vec<String>,
    },
}

impl Classified for ResultError {
    fn class(&self) -> Class {
        match self {
            ResultError::Missing { .. } => Class::Partial,
            ResultError::Damaged { .. } => Class::Integrity,
        }
    }

    fn hint(&self) -> Option<String> {
        Some("give the same command with --repair to do them again".to_owned())
    }
}

/// The job ended without some of its samples.
#[derive(Debug, thiserror::Error)]
#[error("missing: {}", samples.iter().map(|one| format!("{} ({})", one.sample, one.reason)).collect::<Vec<_>>().join("; "))]
pub struct Missing {
    /// Who, and why.
    pub samples: Vec<Dropped>,
}

impl Classified for Missing {
    fn class(&self) -> Class {
        Class::Partial
    }

    fn hint(&self) -> Option<String> {
        let helps = self.samples.iter().filter_map(|one| one.help.as_deref());
        let helps: Vec<&str> = helps.chain(["then give the same command again"]).collect();
        Some(helps.join("; "))
    }
}

/// Runs the last task: quality control, ledger, report, and the end of the joint VCF, whose parts lie in `folder`. Once
/// nobody needs it, it writes nothing more: whoever has it instead may go on without a sample, and be done before.
pub fn finish_cohort(
    context: &Access<'_>,
    runner: &Runner<'_>,
    home: &Home<'_>,
    (inputs, folder): (&[(Task, Arc<Commit>)], &Path),
    command: &str,
    hold: &dyn Hold,
) -> Result<Output, Failure> {
    let write_book = |path, text: &[u8]| {
        hold.check()?;
        Ok::<_, Failure>(write_book(runner.dir, path, text)?)
    };
    let (dir, cohort) = (runner.dir, runner.cohort);
    let failed = home.dropped.all();
    let mut present = Vec::new();
    let mut ledgers = Vec::new();
    let mut counters = Vec::new();
    let mut parts: Vec<(Task, PieceRef)> = Vec::new();
    let mut shards = Vec::new();
    for (task, commit) in inputs {
        match *task {
            Task::FinishSample(sample) => {
                present.push(sample);
                ledgers.push(workers::task::sample_ledger(context, sample, commit)?);
                if let Some(piece) = commit.pieces.first() {
                    counters.push(finish::read_counters(context, sample, piece)?);
                }
            }
            Task::WriteJoint(_) => {
                parts.extend(commit.pieces.iter().map(|piece| (*task, piece.clone())));
                let summary: JointWriteSummary = workers::task::summary(context, *task, commit)?;
                shards.extend(summary.shards);
            }
            _ => {}
        }
    }
    let joined: Vec<u32> = present.iter().copied().filter(|&one| context.sample(one).joint).collect();
    let (files, pairs) = finish::finish_joint(context, &present, &parts, folder)?;
    let joint = JointLedger {
        samples: joined.iter().map(|&sample| context.sample(sample).name.clone()).collect(),
        shards,
        files,
    };
    let ledger = Ledger {
        schema: LEDGER_SCHEMA.to_owned(),
        cohort: cohort.id.clone(),
        parameters: context.settings.joint_parameters.clone(),
        samples: ledgers,
        excluded: home.excluded.to_vec(),
        failed,
        joint,
        governance: serde_json::to_value(&cohort.governance).unwrap_or_default(),
    };
    let mut books = vec![write_book("ledger.json".to_owned(), &json(&ledger))?];
    let documents: Vec<(String, SampleQc)> = ledger
        .samples
        .iter()
        .zip(&counters)
        .map(|(ledger, counters)| {
            (format!("{}.cram", ledger.sample), SampleQc::new(ledger.sample.clone(), counters.clone()))
        })
        .collect();
    for (_, document) in &documents {
        books.push(write_book(format!("qc/{}.json", document.sample), &json(document))?);
    }
    let subjects: Vec<_> = documents.iter().map(|(name, document)| (name.as_str(), document)).collect();
    for file in exchange::files(&cohort.id, &subjects) {
        books.push(write_book(format!("qc/{}", file.name), file.text.as_bytes())?);
    }
    drop(documents);
    let mut data = report_data(context, home.journal, cohort, &ledger, command)?;
    data.pairs = pairs;
    let apart = context.samples.iter().filter(|sample| !sample.joint).map(|sample| Exclusion {
        what: format!("{} from the joint calls", sample.name),
        reason: "a tumour: its genotypes are not germline".to_owned(),
        helps: String::new(),
    });
    let failed = ledger.failed.iter().map(|sample| Exclusion {
        what: format!("{} from the results", sample.sample),
        reason: sample.reason.clone(),
        helps: sample.help.clone().unwrap_or_default(),
    });
    let denied = home.excluded.iter().map(|sample| Exclusion {
        what: format!("{} from the job", sample.sample),
        reason: format!("the policy: {}", sample.reasons.join(", ")),
        helps: sample.helps.join("; "),
    });
    data.exclusions = denied.chain(failed).chain(apart).collect();
    let present: Vec<&Sample> = present.iter().map(|&sample| &cohort.samples[sample as usize]).collect();
    data.samples = samples_of(&present, &ledger, counters);
    hold.check()?;
    write(&dir.report(), render(&data).as_bytes())?;
    // Kept for who adds to the report later, such as the demo with its truth.
    write(&dir.scratch().join("report.json"), &json(&data))?;
    let summary = json(&books);
    Ok(Output { content: *blake3::hash(&summary).as_bytes(), summary, pieces: Vec::new() })
}

/// Writes a file that no ledger lists, the ledger itself among them; its digest goes into the journal.
pub fn write_book(dir: &JobDir, path: String, text: &[u8]) -> Result<ResultFile, AtomicFileError> {
    write(&dir.root().join(&path), text)?;
    Ok(ResultFile { path, bytes: text.len() as u64, blake3: blake3::hash(text).to_hex().to_string() })
}

fn report_data(
    context: &Context,
    journal: &Journal,
    cohort: &Cohort,
    ledger: &Ledger,
    command: &str,
) -> Result<ReportData, Failure> {
    let (mut spans, keys) = (Vec::new(), TaskKeys::new(context.names()));
    let mut totals: BTreeMap<Stage, (u64, u64, u64, u64)> = BTreeMap::new();
    journal.replay(|key, commit| {
        let Some(task) = keys.task(key) else { return };
        let stage = task.stage();
        spans.push(TaskSpan {
            stage: stage.name().to_owned(),
            task: key.to_owned(),
            sample: task.sample().map(|sample| context.sample(sample).name.clone()),
            lane: commit.slot,
            start_ms: commit.started_ms,
            end_ms: commit.finished_ms,
            cpu_ms: commit.cpu_ms,
        });
        let total = totals.entry(stage).or_insert((0, u64::MAX, 0, 0));
        total.0 += 1;
        total.1 = total.1.min(commit.started_ms);
        total.2 = total.2.max(commit.finished_ms);
        total.3 += commit.cpu_ms;
    })?;
    let begin = spans.iter().map(|span: &TaskSpan| span.start_ms).min().unwrap_or(0);
    for span in &mut spans {
        span.start_ms -= begin;
        span.end_ms = span.end_ms.saturating_sub(begin);
    }
    spans.sort_by_key(|span| (span.start_ms, span.lane));
    let stage = |(stage, (tasks, from, to, cpu_ms)): (Stage, (u64, u64, u64, u64))| StageTotal {
        stage: stage.name().to_owned(),
        tasks,
        wall_ms: to.saturating_sub(from),
        cpu_ms,
    };
    let files = ledger.samples.iter().flat_map(|sample| &sample.files).chain(&ledger.joint.files);
    let name = context.index.fasta().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let parameters = cohort.parameters.canonical();
    let parameters = parameters.lines().filter_map(|line| line.split_once('='));
    Ok(ReportData {
        cohort: cohort.id.clone(),
        program: format!("wakachi {}", env!("CARGO_PKG_VERSION")),
        created: String::new(),
        command: command.to_owned(),
        parameters: parameters.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        reference: ReferenceSummary::new(name, reference_digest(context), context.index.contigs()),
        tasks: spans,
        stages: totals.into_iter().map(stage).collect(),
        files: files
            .map(|file| FileEntry {
                path: file.path.clone(),
                bytes: file.bytes,
                digest: format!("blake3:{}", file.blake3),
            })
            .collect(),
        ..ReportData::default()
    })
}

/// One digest for all sequences: BLAKE3 over names, lengths and MD5s.
fn reference_digest(context: &Context) -> String {
    let lines = context
        .index
        .contigs()
        .iter()
        .map(|contig| format!("{}\t{}\t{}\n", contig.name, contig.length, books::hex(&contig.m5)));
    format!("blake3:{}", books::blake3_text(&lines.collect::<String>()))
}

fn samples_of(
    samples: &[&Sample],
    ledger: &Ledger,
    counters: Vec<workers::qc::SampleCounters>,
) -> Vec<SampleReport> {
    let listed = samples.iter().zip(&ledger.samples).zip(counters);
    listed
        .map(|((sample, ledger), counters)| SampleReport {
            name: sample.sample.clone(),
            declared: Declared {
                // Who is whose, without a code that is somebody's outside of this report.
                participant: ordinal(samples, &sample.participant),
                family: sample.family.clone(),
                relation: sample.relation.map(|relation| word(&relation)),
                sex: match sample.sex {
                    Sex::Female => Some("female".to_owned()),
                    Sex::Male => Some("male".to_owned()),
                    Sex::Unknown => None,
                },
            },
            tumour: sample.role == Role::Tumor,
            counters,
            reads_in: ledger.reads_in,
            fates: BTreeMap::from([
                ("mapped".to_owned(), ledger.fates.mapped),
                ("duplicate".to_owned(), ledger.fates.duplicate),
                ("unmapped".to_owned(), ledger.fates.unmapped),
            ]),
            accuracy: None,
        })
        .collect()
}

/// A participant's place among those of the cohort.
fn ordinal(samples: &[&Sample], participant: &str) -> String {
    let mut codes: Vec<&str> = samples.iter().map(|sample| sample.participant.as_str()).collect();
    codes.sort_unstable();
    codes.dedup();
    codes.partition_point(|code| *code < participant).to_string()
}

/// A unit variant as its serde name.
fn word<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_value(value).ok().and_then(|value| Some(value.as_str()?.to_owned())).unwrap_or_default()
}

/// A document as it is written, with a line break at its end.
pub fn json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("plain data always prints");
    text.push(b'\n');
    text
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), AtomicFileError> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes).map_err(DiskError::on("write", path))?;
    file.commit()
}

/// The ledger of a job, if its last task was done. A pipe in its place is not waited for.
pub fn read_ledger(dir: &JobDir) -> Option<Ledger> {
    let path = dir.ledger();
    fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Compares every result with the ledger, and the ledger with the journal; those that were just `read_back` are not read
/// again. A job ends 0 only through here.
pub fn verify_results(dir: &JobDir, journal: &Journal, read_back: &ReadBack) -> Result<(), Failure> {
    let sealed = journal.get(&Task::SealCohort.key(&[]))?;
    let sealed = sealed.and_then(|commit| archive::book(&commit));
    verify(dir, journal, (sealed.as_slice(), read_back))
}

/// The same without the list of sealed files, but with `more` files.
fn verify(
    dir: &JobDir,
    journal: &Journal,
    (more, read_back): (&[ResultFile], &ReadBack),
) -> Result<(), Failure> {
    let books = journal.get(&Task::FinishCohort.key(&[]))?;
    let books = books.and_then(|commit| serde_json::from_slice::<Vec<ResultFile>>(&commit.summary).ok());
    let missing_ledger = || ResultError::Missing { paths: vec!["ledger.json".to_owned()] };
    let books = books.ok_or_else(missing_ledger)?;
    let books_and_more: Vec<&ResultFile> = books.iter().chain(more).collect();
    let (mut missing, mut damaged) = compare(dir, &books_and_more)?;
    // A ledger that is not whole is no witness for the others.
    if let Some(ledger) = read_ledger(dir).filter(|_| is_whole(dir, &books[0])) {
        let files = ledger.samples.iter().flat_map(|sample| &sample.files).chain(&ledger.joint.files);
        let files: Vec<&ResultFile> = files.filter(|file| !read_back.holds(dir, file)).collect();
        let (gone, changed) = compare(dir, &files)?;
        missing.extend(gone);
        damaged.extend(changed);
    }
    if !damaged.is_empty() {
        damaged.extend(missing.iter().map(|path| format!("{path} (missing)")));
        return Err(ResultError::Damaged { paths: damaged }.into());
    }
    nothing_missing(missing)
}

/// Refuses with the names of what is missing, if anything is.
pub fn nothing_missing(paths: Vec<String>) -> Result<(), Failure> {
    match paths.is_empty() {
        true => Ok(()),
        false => Err(ResultError::Missing { paths }.into()),
    }
}

/// Refuses with the names and reasons of those without whom the job went on, if there are any.
pub fn nobody_missing(samples: Vec<Dropped>) -> Result<(), Failure> {
    match samples.is_empty() {
        true => Ok(()),
        false => Err(Missing { samples }.into()),
    }
}

/// Which files are gone, and which are not as they were written; read on the threads of the current rayon pool.
fn compare(dir: &JobDir, files: &[&ResultFile]) -> Result<(Vec<String>, Vec<String>), Failure> {
    let digests: Vec<_> = files.par_iter().map(|file| finish::digest(&dir.root().join(&file.path))).collect();
    let (mut missing, mut damaged) = (Vec::new(), Vec::new());
    for (file, digest) in files.iter().zip(digests) {
        match digest {
            Ok((bytes, blake3)) if bytes == file.bytes && blake3 == file.blake3 => {}
            Ok(_) => damaged.push(file.path.clone()),
            Err(FinishError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                missing.push(file.path.clone());
            }
            // Something else lies in its place, such as a pipe.
            Err(FinishError::Read { source, .. }) if source.kind() == std::io::ErrorKind::InvalidInput => {
                damaged.push(file.path.clone());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok((missing, damaged))
}

/// Whether the results that a task wrote are as its commit says; tasks that write none are.
pub fn results_are_whole(dir: &JobDir, task: Task, commit: &Commit) -> bool {
    match task {
        Task::FinishSample(_) => {
            let ledger = serde_json::from_slice::<SampleLedger>(&commit.summary);
            ledger.is_ok_and(|ledger| ledger.files.iter().all(|file| is_whole(dir, file)))
        }
        _ => true,
    }
}

/// Gives back the packs of a complete job, but for those of `kept`.
pub fn clear_scratch(dir: &JobDir, kept: &BTreeSet<String>) {
    // What cannot be removed now is only space; the next run of the job tries again.
    for entry in fs::read_dir(dir.scratch().join("packs")).into_iter().flatten().flatten() {
        if !entry.file_name().to_str().is_some_and(|name| kept.contains(name)) {
            let _ = fs::remove_file(entry.path());
        }
    }
    staged::clear(dir, &BTreeSet::new());
    let _ = fs::remove_file(dir.scratch().join("reference.fa"));
    let _ = fs::remove_file(dir.scratch().join("reference.fa.fai"));
}

/// Files among the results that the ledger does not know: of samples that left the cohort, were withdrawn, or failed.
pub fn foreign_results(dir: &JobDir) -> Vec<String> {
    let Some(ledger) = read_ledger(dir) else { return Vec::new() };
    let files = ledger.samples.iter().flat_map(|sample| &sample.files).chain(&ledger.joint.files);
    let alignments: Vec<String> =
        ledger.samples.iter().map(|sample| format!("{}.cram", sample.sample)).collect();
    let mut books = exchange::names(&ledger.cohort, &alignments);
    books.extend(ledger.samples.iter().map(|sample| format!("{}.json", sample.sample)));
    let books = books.into_iter().map(|name| format!("qc/{name}"));
    let known: BTreeSet<String> = files.map(|file| file.path.clone()).chain(books).collect();
    let in_folder = |(folder, path): (&str, PathBuf)| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let names = names.filter(|name| !name.starts_with('.'));
        names.map(|name| format!("{folder}/{name}")).collect::<Vec<_>>()
    };
    let paths = [("results", dir.results()), ("qc", dir.qc())].into_iter().flat_map(in_folder);
    let mut foreign: Vec<String> = paths.filter(|path| !known.contains(path)).collect();
    foreign.sort();
    foreign
}

/// Says of each of them that it is no result of this cohort; nobody removes what was once a result but who knows why.
pub fn name_foreign(dir: &JobDir) {
    for path in foreign_results(dir) {
        note(&format!("{path} is of no sample of this cohort as it is now; it is left as it is"));
    }
}

/// The packs of what finished samples say of themselves, which outlive the job.
pub fn packs_of_finished(journal: &Journal, context: &Context) -> Result<BTreeSet<String>, Failure> {
    let mut packs = BTreeSet::new();
    for sample in 0..context.samples.len() as u32 {
        let commit = journal.get(&Task::FinishSample(sample).key(context.names()))?;
        packs.extend(commit.iter().flat_map(|commit| &commit.pieces).map(|piece| piece.pack.clone()));
    }
    Ok(packs)
}

/// Whether the files are there, and long enough, in which a committed part should lie; other tasks wrote none such.
pub fn part_is_there(runner: &Runner<'_>, task: Task, commit: &Commit) -> bool {
    /// What every part's summary says.
    #[derive(serde::Deserialize)]
    struct End {
        end: Extent,
    }
    let paths = paths_of_part(runner, task, commit);
    if paths.is_empty() {
        return true;
    }
    let Ok(End { end }) = serde_json::from_slice(&commit.summary) else { return false };
    let holds =
        |(path, bytes): (&PathBuf, u64)| books::seen_open(path).is_some_and(|there| there.len() >= bytes);
    // The calls are last.
    paths.iter().rev().zip([end.call_bytes, end.alignment_bytes]).all(holds)
}

/// Whether a file is gone in which a committed part should lie.
pub fn part_is_gone(runner: &Runner<'_>, task: Task, commit: &Commit) -> bool {
    paths_of_part(runner, task, commit).iter().any(|path| matches!(path.try_exists(), Ok(false)))
}

/// The files in which a committed part lies.
fn paths_of_part(runner: &Runner<'_>, task: Task, commit: &Commit) -> Vec<PathBuf> {
    match task.part() {
        Some(_) => finish::paths(runner.context, task.sample(), &runner.folder_of(task, &commit.basis)),
        None => Vec::new(),
    }
}

/// Whether a committed part lies in the files as it was written; where not `all` of it is looked at, its ends.
pub fn part_is_whole(
    context: &Access<'_>,
    runner: &Runner<'_>,
    task: Task,
    commit: &Commit,
    all: bool,
) -> Result<bool, Failure> {
    let Some(piece) = commit.pieces.first() else { return Ok(false) };
    Ok(finish::part_is_whole(context, task, piece, &runner.folder_of(task, &commit.basis), all)?)
}

/// Whether what a task left is there unchanged; an error only where that cannot be found out.
pub fn is_whole_in_all(
    context: &Access<'_>,
    journal: &Journal,
    runner: &Runner<'_>,
    task: Task,
    commit: &Commit,
) -> Result<bool, Failure> {
    let dir = runner.dir;
    Ok(match task {
        Task::WriteSample(..) | Task::WriteJoint(_) => {
            pieces_are_whole(context, task, commit)? && part_is_whole(context, runner, task, commit, true)?
        }
        Task::FinishCohort => verify(dir, journal, (&[], &ReadBack::default())).is_ok(),
        // What was sealed is the vault's to check; here only the list of it can be damaged.
        Task::SealCohort => archive::is_listed(dir, commit),
        _ => results_are_whole(dir, task, commit) && pieces_are_whole(context, task, commit)?,
    })
}

/// Whether all pieces are there unchanged; an error only where that cannot be found out.
fn pieces_are_whole(context: &Access<'_>, task: Task, commit: &Commit) -> Result<bool, Failure> {
    for (part, piece) in sealed_to(task).into_iter().zip(&commit.pieces) {
        // Bytes may be whole and yet sealed under a key that is gone.
        match context.verify(part, piece).and_then(|()| context.read(part, piece).map(drop)) {
            Ok(()) => {}
            Err(error) if matches!(error.class(), Class::Integrity | Class::Partial) => return Ok(false),
            Err(error) => return Err(PackError::into(error)),
        }
    }
    Ok(true)
}

/// Adds to a job's report what its core time went to, which is known only when the job is over.
pub fn report_bill(dir: &JobDir, bill: &Account) -> Result<(), Failure> {
    let path = dir.scratch().join("report.json");
    let Some(mut data) =
        fs::read(&path).ok().and_then(|text| serde_json::from_slice::<ReportData>(&text).ok())
    else {
        return Ok(());
    };
    let work = Stage::ALL.map(|stage| (stage.name(), true, bill.by_stage(stage)));
    let idle = Idle::ALL.map(|cause| (cause.words(), false, bill.by_cause(cause)));
    let lines = work.into_iter().chain(idle).filter(|(.., core_ms)| *core_ms > 0);
    data.bill =
        lines.map(|(what, work, core_ms)| BillLine { what: what.to_owned(), work, core_ms }).collect();
    data.price = bill.price;
    write(&dir.report(), render(&data).as_bytes())?;
    Ok(write(&path, &json(&data))?)
}
