//! `wakachi vault restore`: a sealed file back, through custodians at hand or through their releases.

use super::gate_file::GateArgs;
use super::session::Session;
use super::{VaultArgs, object};
use crate::output::{self, Format, bytes, note, say};
use crate::passphrase::PassphraseArgs;
use crate::plain::keep_out;
use crate::{interrupt, progress};
use jobs::failure::{Class, Classified, Failure};
use jobs::policy::{Action, Permit, Subject};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use storage::vault::custodian::{self, ReleaseRequest};
use storage::vault::{
    AuditLog, CustodianError, Finding, ObjectId, ObjectInfo, OpenedShare, RestoreRequest, Restored,
};
use workers::access::now;

/// Restores a file, if its consents are valid now and a quorum of custodians helps
///
/// Either the custodians' keys are at hand (--custodian-key), or it takes three steps: --request FILE writes a request and
/// its one-time key; each custodian answers with wakachi custodian release; --released FILE.. opens the answers, and when the
/// file is restored removes the one-time key.
/// Damage is decoded around, and named at the end.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wakachi vault restore S1.cram --vault vault -o S1.cram --custodian-key a.epoch-1.key b.epoch-1.key
  wakachi vault restore S1.cram --vault vault --request ask.json
  wakachi vault restore S1.cram --vault vault --request ask.json --released a.json b.json -o S1.cram

Exit codes: 0 restored, or asked; 1 a file cannot be read or written, or another process writes the audit log; 2 wrong \
  passphrase, no object of this name, or the output is there already; 3 no object of this id; 4 the policy refuses, with \
  every reason, or the request is too old; 6 what was signed or encrypted does not verify; 7 too few custodians or \
  fragments, which are named, or none of its documents verifies.")]
pub struct Args {
    #[command(flatten)]
    vault: VaultArgs,
    /// The object: id, the beginning of one (4 digits or more), or name
    #[arg(value_name = "OBJ")]
    object: String,
    /// File to write
    #[arg(short, long = "out", value_name = "FILE", required_unless_present = "request")]
    out: Option<PathBuf>,
    /// A custodian's epoch key; as many as the quorum
    #[arg(long = "custodian-key", value_name = "FILE", num_args = 1.., conflicts_with_all = ["request", "released"], required_unless_present = "request")]
    keys: Vec<PathBuf>,
    /// Request to write; with --released, the one that was answered
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
    /// What custodians released, as many as the quorum
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "request", requires = "out")]
    released: Vec<PathBuf>,
    /// How long custodians may answer a request, in hours
    #[arg(long, value_name = "N", default_value_t = 72, value_parser = clap::value_parser!(u32).range(1..=8760))]
    valid_hours: u32,
    /// Overwrite what is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    gate: GateArgs,
    #[command(flatten)]
    passphrases: PassphraseArgs,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// The output is there.
#[derive(Debug, thiserror::Error)]
#[error("{}: is there already", path.display())]
struct Present {
    path: PathBuf,
}

impl Classified for Present {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        Some("give another name, or move away what is there".to_owned())
    }
}

/// A request has no output yet.
#[derive(Debug, thiserror::Error)]
#[error("--out with --request, and no --released: nothing is restored before custodians answer")]
struct TooEarly;

impl Classified for TooEarly {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        Some("leave out --out to write the request; give --released FILE.. when they answered".to_owned())
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    match (&args.out, &args.request) {
        (None, Some(request)) => ask(args, request),
        (Some(_), Some(_)) if args.released.is_empty() => Err(TooEarly.into()),
        (Some(out), _) => restore(args, out),
        (None, None) => unreachable!("the command line asks for one of them"),
    }
}

/// What is to be restored.
struct Wanted {
    session: Session,
    id: ObjectId,
    info: ObjectInfo,
}

impl Wanted {
    fn open(args: &Args) -> Result<Self, Failure> {
        let session = Session::open(&args.vault, &args.gate, &args.passphrases)?;
        let id = object::find(&session.vault, &args.object)?;
        let info = session.vault.info(id)?;
        Ok(Wanted { session, id, info })
    }

    /// A permit, decided now and written into the vault's audit log under the hashes that the object was sealed with: a
    /// register may not know its people any more.
    fn permit(&self, log: &AuditLog) -> Result<Permit, Failure> {
        let samples = &self.info.core.governance.samples;
        let participant_h = |subject: &Subject| samples[&subject.sample].participant_h;
        let subjects = subjects(&self.session, &self.info)?;
        self.session.permit(log, Action::Restore, self.info.core.class, &subjects, participant_h)
    }
}

/// Whose data the object holds. It keeps participants as keyed hashes; the register says whose they are, and where it does
/// not, no consent is known.
fn subjects(session: &Session, info: &ObjectInfo) -> Result<Vec<Subject>, Failure> {
    let register = session.gate.register()?;
    let codes = register.records.keys().map(|code| (session.sealer.participant_h(code), code));
    let codes: BTreeMap<_, _> = codes.collect();
    let samples = info.core.governance.samples.iter();
    let subjects = samples.map(|(sample, governance)| {
        let code = codes.get(&governance.participant_h);
        let participant = code.map_or_else(|| governance.participant_h.to_string(), |code| code.to_string());
        Subject { sample: sample.clone(), participant }
    });
    Ok(subjects.collect())
}

/// Refuses to write where something is, or into a vault.
pub fn refuse_present(path: &Path) -> Result<(), Failure> {
    keep_out([path])?;
    match path.symlink_metadata().is_ok() {
        true => Err(Present { path: path.to_owned() }.into()),
        false => Ok(()),
    }
}

fn ask(args: &Args, file: &Path) -> Result<(), Failure> {
    refuse_present(file)?;
    let wanted = Wanted::open(args)?;
    let log = wanted.session.log()?;
    let permit = wanted.permit(&log)?;
    let Wanted { session, id, .. } = &wanted;
    let (id, now) = (*id, now());
    let expires_at = now.plus_hours(args.valid_hours.into());
    let request = ReleaseRequest { object: id, file, expires_at, caller: &session.caller, now };
    let Session { vault, sealer, passphrase, .. } = session;
    let requested = custodian::request(vault, sealer, &permit, &log, &request, passphrase)?;
    match args.output {
        Format::Json => output::json(&serde_json::json!({
            "schema": "wakachi.vault-request/1",
            "object": id,
            "request": file.to_string_lossy(),
            "id": requested.id,
            "key": requested.key.to_string_lossy(),
            "expires_at": expires_at,
        })),
        Format::Table => {
            let quorum = vault.description().quorum;
            say(&format!("{}: request {}, until {expires_at}", file.display(), requested.id));
            say(&format!(
                "{}: its one-time key; keep it here, it opens the answers",
                requested.key.display()
            ));
            say(&format!("\nnext: send {} to {quorum} custodians; each answers with", file.display()));
            let release = "--vault FOLDER_OF_VAULT.JSON --key NAME.epoch-N.key -o ANSWER.json";
            say(&format!("  wakachi custodian release {} {release}", file.display()));
        }
        Format::Quiet => {}
    }
    Ok(())
}

fn restore(args: &Args, out: &Path) -> Result<(), Failure> {
    match args.force {
        true => keep_out([out])?,
        false => refuse_present(out)?,
    }
    let wanted = Wanted::open(args)?;
    // Whoever may not restore is refused before custodians give their passphrases, and the log is closed while they do.
    let permit = wanted.permit(&wanted.session.log()?)?;
    let Wanted { session, id, info } = wanted;
    let (shares, findings) = shares(args, &session, id)?;
    let request = RestoreRequest {
        object: id,
        shares: &shares,
        findings: &findings,
        out,
        sealer: Some(&session.sealer),
        caller: &session.caller,
        now: now(),
    };
    let log = session.log()?;
    // An interrupt leaves no half of somebody's data behind.
    interrupt::end_at_once();
    let bar = progress::bytes(info.seal.plaintext_bytes, "restore");
    let restored = session.vault.restore(&permit, &log, &request, &mut |done| bar.set_position(done));
    bar.finish_and_clear();
    let restored = restored.inspect_err(|error| tell(error.findings(), note))?;
    let forgotten = args.request.as_deref().map(custodian::forget).transpose()?;
    match args.output {
        Format::Json => output::json(&serde_json::json!({
            "schema": "wakachi.vault-restore/1",
            "object": id,
            "out": out.to_string_lossy(),
            "bytes": restored.bytes,
            "blake3": restored.blake3,
            "content_compared": restored.content_compared,
            "findings": restored.findings,
            "key_removed": forgotten.map(|key| key.to_string_lossy().into_owned()),
        })),
        Format::Table => {
            print(out, &restored);
            if let Some(key) = forgotten {
                say(&format!("{}: removed; the answers open nothing any more", key.display()));
            }
        }
        Format::Quiet => {}
    }
    Ok(())
}

/// The custodians' shares, from their own keys or from what they released. A custodian who cannot help is named; whether the
/// others are enough is seen when the object is restored.
fn shares(args: &Args, session: &Session, id: ObjectId) -> Result<(Vec<OpenedShare>, Vec<Finding>), Failure> {
    if let Some(request) = &args.request {
        let opened =
            custodian::open_released(&session.vault, request, &args.released, &session.passphrase, now())?;
        return Ok(opened);
    }
    let (mut shares, mut findings) = (Vec::new(), Vec::new());
    for path in &args.keys {
        let key = crate::custodian::unlock(path, &args.passphrases)?;
        match custodian::open_share(&session.vault, id, &key) {
            Ok(share) => shares.push(share),
            Err(CustodianError::Share { finding }) => findings.push(finding),
            Err(error @ CustodianError::Unwrap { .. }) => note(&Failure::from(error).to_string()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok((shares, findings))
}

fn print(out: &Path, restored: &Restored) {
    let compared = match restored.content_compared {
        true => "the content is what was sealed",
        false => "every segment is as it was encrypted",
    };
    say(&format!("{}: {}, BLAKE3 {}; {compared}", out.display(), bytes(restored.bytes), restored.blake3));
    if !restored.findings.is_empty() {
        say("\ndecoded around, or not used:");
    }
    tell(&restored.findings, say);
}

/// Lines of findings that are told of one place; JSON has all.
const LINES_MAX: usize = 10;

/// Findings by site and ledger.
fn tell(findings: &[Finding], say: impl Fn(&str)) {
    let mut places: BTreeMap<_, Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        places.entry(&finding.place).or_default().push(finding);
    }
    for (place, findings) in places {
        findings.iter().take(LINES_MAX).for_each(|finding| say(&finding.to_string()));
        if findings.len() > LINES_MAX {
            say(&format!("{place}: and {} more", findings.len() - LINES_MAX));
        }
    }
}
