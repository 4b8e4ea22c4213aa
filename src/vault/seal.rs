//! `wakachi vault seal`: files into the vault, each under a permit of its own.

use super::gate_file::GateArgs;
use super::session::Session;
use super::{VaultArgs, class};
use crate::output::{self, Format, bytes, say, table};
use crate::passphrase::PassphraseArgs;
use crate::plain::keep_out;
use crate::progress;
use jobs::failure::{Class, Classified, Failure};
use jobs::policy::{Action, DataClass, Subject};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use storage::DiskError;
use storage::vault::{Lineage, ObjectId, SealRequest, Sealed};
use workers::access::now;

/// Seals files into the vault: encrypted, in fragments at its sites, their keys in shares with its custodians
///
/// A file is acknowledged when everything of it was written, synced and read back. One that is in the vault already, for the
/// same samples and class, is skipped; what an interruption left is removed and begun again under a new key.
/// The code of a participant is kept as a keyed hash only.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wakachi vault seal S1.cram S1.g.vcf.gz --vault vault --sample S1 --participant P-4K7Q
  wakachi vault seal cohort.vcf.gz --vault vault \\
    --sample S1 --participant P1 --sample S2 --participant P2
  wakachi vault seal S1.g.vcf.gz --vault vault --sample S1 --participant P1 \\
    --manifest-field batch=2026-06 --lineage derived_from=3f9a0c1b5d7e8f90a1b2c3d4e5f60718
  wakachi vault seal S1.cram --vault vault --sample S1 --participant P1 --dry-run

Exit codes: 0 all are sealed; 1 a file cannot be read, a site or ledger is not there, or another process seals; 2 wrong \
  passphrase, or unclear what is to be sealed; 3 it is no file, or changed meanwhile; 4 the policy refuses, with every \
  reason; 6 a site holds another vault; of several failures the gravest counts, and one file that fails does not stop the others.")]
pub struct Args {
    #[command(flatten)]
    vault: VaultArgs,
    /// The files
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Sample whose data it is; several, with as many participants, for data of several people
    #[arg(long = "sample", value_name = "SAMPLE")]
    samples: Vec<String>,
    /// Code of the person the sample is from, in the order of the samples
    #[arg(long = "participant", value_name = "CODE")]
    participants: Vec<String>,
    /// Class of the data [default: by the file's ending]
    #[arg(long, value_name = "CLASS")]
    class: Option<DataClass>,
    /// A text to keep in the manifest; sample= and participant= are as the flags of that name
    #[arg(long = "manifest-field", value_name = "KEY=VALUE", value_parser = key_value)]
    fields: Vec<(String, String)>,
    /// An object that this one belongs to, and how, such as derived_from=ID
    #[arg(long = "lineage", value_name = "RELATION=ID", value_parser = relation)]
    lineage: Vec<Lineage>,
    /// Asks for permits and says what would be sealed; writes nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    gate: GateArgs,
    #[command(flatten)]
    passphrases: PassphraseArgs,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let split = text.split_once('=').filter(|(key, _)| !key.is_empty());
    split
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| "expected KEY=VALUE".to_owned())
}

fn relation(text: &str) -> Result<Lineage, String> {
    let (relation, object) = key_value(text)?;
    Ok(Lineage { relation, object: object.parse().map_err(|error| format!("{error}"))? })
}

/// Why nothing can be sealed.
#[derive(Debug, thiserror::Error)]
enum SealArgsError {
    #[error("whose data it is was not said")]
    Nobody,
    #[error("{samples} samples and {participants} participants: each sample needs its person")]
    Uneven { samples: usize, participants: usize },
    #[error("manifest field {key} is given twice")]
    Twice { key: String },
    #[error("{}: is not a file", path.display())]
    NotAFile { path: PathBuf },
}

impl Classified for SealArgsError {
    fn class(&self) -> Class {
        match self {
            SealArgsError::Nobody => Class::Policy,
            SealArgsError::NotAFile { .. } => Class::Input,
            _ => Class::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            SealArgsError::Nobody | SealArgsError::Uneven { .. } => {
                "give --sample SAMPLE --participant CODE".to_owned()
            }
            SealArgsError::Twice { .. } => "give each --manifest-field once".to_owned(),
            SealArgsError::NotAFile { .. } => "seal files, or pack the folder with tar first".to_owned(),
        })
    }
}

/// Some files were not sealed.
#[derive(Debug, thiserror::Error)]
#[error("{failed} of {files} files were not sealed")]
struct Unsealed {
    failed: usize,
    files: usize,
    worst: Class,
}

impl Classified for Unsealed {
    fn class(&self) -> Class {
        self.worst
    }

    fn hint(&self) -> Option<String> {
        Some("when the cause is gone, give the same command again: it skips what is sealed".to_owned())
    }
}

/// Whose data, and what else the manifest keeps.
struct Manifest {
    subjects: Vec<Subject>,
    fields: BTreeMap<String, String>,
}

/// What became of one file.
struct Entry<'a> {
    file: &'a Path,
    class: Option<DataClass>,
    bytes: u64,
    /// `None` in a dry run.
    outcome: Result<Option<Sealed>, Failure>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let manifest = manifest(args)?;
    let bytes_of = |file: &PathBuf| fs::metadata(file).map_or(0, |metadata| metadata.len());
    let session = Session::open(&args.vault, &args.gate, &args.passphrases)?;
    let bar = progress::bytes(args.files.iter().map(bytes_of).sum(), "seal");
    let mut entries = Vec::new();
    let mut before = 0;
    for file in &args.files {
        bar.set_message(file.display().to_string());
        let class = args.class.map_or_else(|| class::of(file, manifest.subjects.len()), Ok);
        let (known, bytes) = (class.as_ref().ok().copied(), bytes_of(file));
        let outcome = class.map_err(Failure::from).and_then(|class| {
            // What a job holds is sealed by the job, which knows whose it is.
            keep_out([file.as_path()])?;
            let mut progress = |done| bar.set_position(before + done);
            seal(&session, args, &manifest, file, class, &mut progress)
        });
        before += bytes;
        bar.set_position(before);
        entries.push(Entry { file, class: known, bytes, outcome });
    }
    bar.finish_and_clear();
    match args.output {
        Format::Json => output::json(&json(args, &entries)),
        Format::Table => print(&entries),
        Format::Quiet => {}
    }
    judge(entries)
}

fn manifest(args: &Args) -> Result<Manifest, SealArgsError> {
    let (mut samples, mut participants) = (args.samples.clone(), args.participants.clone());
    let mut fields = BTreeMap::new();
    for (key, value) in &args.fields {
        match key.as_str() {
            "sample" => samples.push(value.clone()),
            "participant" => participants.push(value.clone()),
            _ if fields.insert(key.clone(), value.clone()).is_some() => {
                return Err(SealArgsError::Twice { key: key.clone() });
            }
            _ => {}
        }
    }
    match (samples.len(), participants.len()) {
        (0, 0) => return Err(SealArgsError::Nobody),
        (samples, participants) if samples != participants => {
            return Err(SealArgsError::Uneven { samples, participants });
        }
        _ => {}
    }
    let subjects = samples.into_iter().zip(participants);
    let subjects = subjects.map(|(sample, participant)| Subject { sample, participant }).collect();
    Ok(Manifest { subjects, fields })
}

fn seal(
    session: &Session,
    args: &Args,
    manifest: &Manifest,
    file: &Path,
    class: DataClass,
    progress: &mut dyn FnMut(u64),
) -> Result<Option<Sealed>, Failure> {
    if !fs::metadata(file).map_err(DiskError::on("read", file))?.is_file() {
        return Err(SealArgsError::NotAFile { path: file.to_owned() }.into());
    }
    if args.dry_run {
        session.gate.permit(Action::Archive, class, &manifest.subjects)?;
        return Ok(None);
    }
    let log = session.log()?;
    let participant_h = |subject: &Subject| session.sealer.participant_h(&subject.participant);
    let permit = session.permit(&log, Action::Archive, class, &manifest.subjects, participant_h)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let request = SealRequest {
        file,
        expected: None,
        name: &name,
        class,
        level: session.gate.policy().levels.get(&class).copied().unwrap_or(u8::MAX),
        subjects: &manifest.subjects,
        manifest: &manifest.fields,
        lineage: &args.lineage,
        caller: &session.caller,
        now: now(),
    };
    Ok(Some(session.vault.seal(&session.sealer, &permit, &log, &request, progress)?))
}

impl Entry<'_> {
    fn state(&self) -> &'static str {
        match &self.outcome {
            Ok(Some(sealed)) if sealed.already => "was sealed before",
            Ok(Some(_)) => "sealed",
            Ok(None) => "would be sealed",
            Err(_) => "not sealed",
        }
    }

    fn id(&self) -> Option<ObjectId> {
        self.outcome.as_ref().ok()?.as_ref().map(|sealed| sealed.id)
    }
}

fn print(entries: &[Entry<'_>]) {
    let row = |entry: &Entry<'_>| {
        let class = entry.class.map_or("", DataClass::name);
        let id = entry.id().map_or_else(String::new, |id| id.to_string());
        let file = entry.file.display().to_string();
        vec![file, class.to_owned(), bytes(entry.bytes), entry.state().to_owned(), id]
    };
    let rows: Vec<_> = entries.iter().map(row).collect();
    say(&table(&["file", "class", "size", "state", "object"], &rows));
}

fn json(args: &Args, entries: &[Entry<'_>]) -> serde_json::Value {
    let files = entries.iter().map(|entry| {
        let sealed = entry.outcome.as_ref().ok().and_then(Option::as_ref);
        let failure = entry.outcome.as_ref().err();
        serde_json::json!({
            "file": entry.file.to_string_lossy(),
            "class": entry.class,
            "bytes": entry.bytes,
            "object": entry.id(),
            "already": sealed.map(|sealed| sealed.already),
            "error": failure.map(Failure::to_string),
            "exit_code": failure.map(|failure| failure.class().exit_code()),
        })
    });
    serde_json::json!({
        "schema": "wakachi.vault-seal/1",
        "vault": args.vault.folder.to_string_lossy(),
        "dry_run": args.dry_run,
        "files": files.collect::<Vec<_>>(),
    })
}

/// Failures from what needs a person most to what may pass by itself.
const BY_WEIGHT: [Class; 7] = [
    Class::Internal,
    Class::Integrity,
    Class::Quorum,
    Class::Policy,
    Class::Input,
    Class::Usage,
    Class::Failed,
];

fn judge(entries: Vec<Entry<'_>>) -> Result<(), Failure> {
    let files = entries.len();
    let mut failures: Vec<Failure> = entries.into_iter().filter_map(|entry| entry.outcome.err()).collect();
    if files == 1 {
        return failures.pop().map_or(Ok(()), Err);
    }
    failures.iter().for_each(output::complain);
    let weight = |class: &Class| BY_WEIGHT.iter().position(|one| one == class).unwrap_or(BY_WEIGHT.len());
    match failures.iter().map(Failure::class).min_by_key(weight) {
        None => Ok(()),
        Some(worst) => Err(Unsealed { failed: failures.len(), files, worst }.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn whose_data_it_is_may_be_said_in_two_ways_and_must_be_said() {
        let check = |words: &str, expect: Result<&str, &str>| {
            let line = ["seal", "f.cram", "--vault", "v"].into_iter().chain(words.split_whitespace());
            let found = manifest(&Line::parse_from(line).args).map(|manifest| {
                let subjects =
                    manifest.subjects.iter().map(|one| format!("{}={}", one.sample, one.participant));
                let fields = manifest.fields.iter().map(|(key, value)| format!("[{key}={value}]"));
                subjects.chain(fields).collect::<Vec<_>>().join(" ")
            });
            let found = found.map_err(|error| error.to_string());
            assert_eq!(found.as_deref().map_err(String::as_str), expect, "{words}");
        };
        check("--sample S1 --participant P1 --manifest-field a=b=c", Ok("S1=P1 [a=b=c]"));
        check("--manifest-field sample=S1 --manifest-field participant=P1", Ok("S1=P1"));
        check("--sample S1 --sample S2 --participant P1 --participant P2", Ok("S1=P1 S2=P2"));
        check("", Err("whose data it is was not said"));
        check("--sample S1", Err("1 samples and 0 participants: each sample needs its person"));
        let twice = "--sample S1 --participant P1 --manifest-field a=1 --manifest-field a=2";
        check(twice, Err("manifest field a is given twice"));
    }
}
