//! `wakachi cohort check`: everything that is wrong with a cohort, before anything runs.
//!
//! Invariant: the errors of the cohort file, its sheet, the reference and the read files come together, each with the
//! place where the file is named. Only the beginning of a file is read, and the whole of it where somebody asks for digests;
//! whether all of it is reads is the intake's to say.

use crate::gate::{Gate, GateError, GateFiles};
use crate::output::{Format, note};
use crate::run::admission::{self, Excluded};
use crate::run::books::{hex, read_at_most, sha256};
use jobs::cohort::{Cohort, Fastq, Reading};
use jobs::diagnostic::{Diagnostic, Place};
use jobs::failure::{Class, Classified, Failure};
use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use workers::fastq::{FastqReader, PairReader, Pairs, Reads};

/// Largest cohort file or sheet that is read, in bytes; a larger one is refused. A million lanes fit.
const TEXT_BYTES_MAX: u64 = 512 << 20;

/// Why a cohort cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cohort {}: {}", path.display(), Diagnostic::list(diagnostics))]
pub struct CohortError {
    /// The cohort file.
    pub path: PathBuf,
    /// Everything that is wrong, in reading order, with the warnings among it.
    pub diagnostics: Vec<Diagnostic>,
}

impl Classified for CohortError {
    fn class(&self) -> Class {
        Class::Input
    }

    fn hint(&self) -> Option<String> {
        Some(format!("correct what is named, then: wakachi cohort check {}", self.path.display()))
    }
}

/// The cohort of a file, with all its files there as far as the gate lets them be opened; or everything that is wrong.
/// With `digests` those are compared that the cohort file and the sheet state; how many there were.
fn load(path: &Path, digests: bool) -> Result<(Cohort, usize), CohortError> {
    let mut compared = 0;
    let cohort = load_with(path, |cohort, diagnostics| {
        check_reference(cohort, diagnostics);
        let permitted = permitted(cohort);
        check_reads(&permitted, diagnostics);
        if digests {
            compared = check_digests(&permitted, diagnostics);
        }
    })?;
    Ok((cohort, compared))
}

/// The cohort with those samples only whose reads may be opened now: nobody, where the gate does not open.
fn permitted(cohort: &Cohort) -> Cohort {
    let mut permitted = cohort.clone();
    let gate = GateFiles::of_cohort(cohort, None).and_then(Gate::open);
    let denial = gate.and_then(|gate| Ok(admission::denial(&gate, &*gate.register()?, cohort)));
    permitted
        .samples
        .retain(|sample| denial.as_ref().is_ok_and(|denial| !denial.is_denied_for(&sample.sample)));
    permitted
}

/// Everything wrong with the reference and the reads of a cohort's samples: of those only who are in it, so that
/// nobody's reads are opened who was not admitted.
pub fn check_files(path: &Path, cohort: &Cohort) -> Result<(), CohortError> {
    let mut diagnostics = Vec::new();
    check_reference(cohort, &mut diagnostics);
    check_reads(cohort, &mut diagnostics);
    diagnostics.sort();
    let (errors, warnings): (Vec<_>, Vec<_>) = diagnostics.into_iter().partition(Diagnostic::is_error);
    warnings.iter().for_each(|warning| note(&warning.to_string()));
    match errors.is_empty() {
        true => Ok(()),
        false => Err(CohortError { path: path.to_owned(), diagnostics: errors }),
    }
}

/// The cohort of a file, wherever its reference and reads are; or everything that is wrong with file and sheet.
pub fn load_sheet(path: &Path) -> Result<Cohort, CohortError> {
    load_with(path, |_, _| ())
}

fn load_with(path: &Path, look: impl FnOnce(&Cohort, &mut Vec<Diagnostic>)) -> Result<Cohort, CohortError> {
    let wrong = |diagnostics| Err(CohortError { path: path.to_owned(), diagnostics });
    let text = match read_text(path) {
        Ok(text) => text,
        Err(error) => {
            let place = Place { file: path.display().to_string(), line: 1, column: 1 };
            return wrong(vec![Diagnostic::error(place, format!("the cohort file cannot be read: {error}"))]);
        }
    };
    let read_sheet = |path: &Path| read_text(path).map_err(|error| error.to_string());
    let Reading { mut cohort, mut diagnostics } = jobs::cohort::read(path, &text, read_sheet);
    look(&cohort, &mut diagnostics);
    diagnostics.sort();
    if diagnostics.iter().any(Diagnostic::is_error) {
        return wrong(diagnostics);
    }
    cohort.warnings = diagnostics;
    Ok(cohort)
}

/// `wakachi cohort check COHORT.toml`: says what the cohort is, or fails with every error. As JSON the answer has the
/// schema `wakachi.cohort-check/1` and is said in both cases.
pub fn check(
    path: &Path,
    digests: bool,
    format: Format,
    mut say: impl FnMut(&str),
) -> Result<(), CohortError> {
    let loaded = load(path, digests);
    let compared = loaded.as_ref().map_or(0, |(_, compared)| *compared);
    let checked = loaded.and_then(|(cohort, _)| Ok((Verdict::of(path, &cohort)?, cohort)));
    match (format, &checked) {
        (Format::Json, Ok((verdict, cohort))) => say(&json(Some((cohort, verdict)), &cohort.warnings)),
        (Format::Json, Err(error)) => say(&json(None, &error.diagnostics)),
        (Format::Table, Ok((verdict, cohort))) => {
            cohort.warnings.iter().for_each(|warning| say(&warning.to_string()));
            let (samples, joint) = (cohort.samples.len(), cohort.joined().count());
            say(&format!(
                "cohort {}: ok; samples {samples} ({joint} in the joint call), lanes {}",
                cohort.id,
                lanes(cohort)
            ));
            if digests {
                say(&format!("digests: {compared} files are as stated"));
            }
            say(&verdict.to_string());
        }
        (Format::Table, Err(_)) | (Format::Quiet, _) => {}
    }
    checked.map(drop)
}

/// What the gate would say of a run now.
enum Verdict {
    /// Everybody is in, but for these.
    Runs(Vec<Excluded>),
    /// It would not begin.
    Refused(Failure),
}

impl Verdict {
    /// Asks as a run would; consents, policy or sites that are wrong are errors as those of the cohort are.
    fn of(path: &Path, cohort: &Cohort) -> Result<Self, CohortError> {
        let gate = match GateFiles::of_cohort(cohort, None).and_then(Gate::open) {
            Ok(gate) => gate,
            Err(GateError::Wrong { diagnostics, .. }) => {
                return Err(CohortError { path: path.to_owned(), diagnostics });
            }
            Err(error) => return Ok(Verdict::Refused(error.into())),
        };
        Ok(match admission::exclusions(&gate, cohort) {
            Ok(excluded) => Verdict::Runs(excluded),
            Err(refused) => Verdict::Refused(refused),
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Runs(excluded) if excluded.is_empty() => {
                f.write_str("policy: every sample is permitted")
            }
            Verdict::Runs(excluded) => {
                f.write_str("policy: permitted, without these samples, whose reads were not looked at:")?;
                excluded
                    .iter()
                    .try_for_each(|one| write!(f, "\n  {}  {}", one.sample, one.reasons.join(", ")))
            }
            Verdict::Refused(failure) => {
                write!(
                    f,
                    "policy: a run would be refused, and reads without a permit were not looked at: {failure}"
                )
            }
        }
    }
}

fn json(checked: Option<(&Cohort, &Verdict)>, diagnostics: &[Diagnostic]) -> String {
    let cohort = checked.map(|(cohort, _)| cohort);
    let verdict = checked.map(|(_, verdict)| verdict);
    let answer = serde_json::json!({
        "schema": "wakachi.cohort-check/1",
        "ok": cohort.is_some(),
        "cohort": cohort.map(|cohort| &cohort.id),
        "samples": cohort.map(|cohort| cohort.samples.len()),
        "samples_joint": cohort.map(|cohort| cohort.joined().count()),
        "lanes": cohort.map(lanes),
        "permitted": verdict.map(|verdict| matches!(verdict, Verdict::Runs(_))),
        "excluded": verdict.map(|verdict| match verdict {
            Verdict::Runs(excluded) => &excluded[..],
            Verdict::Refused(_) => &[],
        }),
        "refused": verdict.and_then(|verdict| match verdict {
            Verdict::Runs(_) => None,
            Verdict::Refused(failure) => Some(failure.to_string()),
        }),
        "diagnostics": diagnostics,
    });
    format!("{answer:#}")
}

fn lanes(cohort: &Cohort) -> usize {
    cohort.samples.iter().map(|sample| sample.lanes.len()).sum()
}

fn read_text(path: &Path) -> io::Result<Vec<u8>> {
    read_at_most(path, TEXT_BYTES_MAX)
}

fn check_reference(cohort: &Cohort, found: &mut Vec<Diagnostic>) {
    if cohort.reference.path.is_empty() {
        return;
    }
    let path = cohort.reference_path();
    let problem = match head(&path) {
        Ok((head, _)) => match what_is(&head) {
            "gzip" => return,
            _ if head.starts_with(b">") => return,
            kind => format!("is {kind}; expected FASTA, plain or compressed by bgzip"),
        },
        Err(why) => why,
    };
    let message = format!("reference {}: {problem}", path.display());
    found.push(Diagnostic::error(cohort.reference.place.clone(), message));
}

fn check_reads(cohort: &Cohort, found: &mut Vec<Diagnostic>) {
    let mut inodes = HashMap::new();
    for lane in cohort.samples.iter().flat_map(|sample| &sample.lanes) {
        let before = found.len();
        for fastq in
            std::iter::once(&lane.fastq_1).chain(&lane.fastq_2).filter(|fastq| !fastq.path.is_empty())
        {
            let path = cohort.reads_path(fastq);
            match head(&path) {
                Ok((head, inode)) => {
                    check_same_file(fastq, inodes.entry(inode).or_insert(fastq), found);
                    check_first_record(&path, &head, &fastq.place, found);
                }
                Err(why) => found.push(unreadable(&path, &fastq.place, &why)),
            }
        }
        if let Some(second) =
            lane.fastq_2.as_ref().filter(|_| !found[before..].iter().any(Diagnostic::is_error))
        {
            let paths = [&lane.fastq_1, second].map(|fastq| cohort.reads_path(fastq));
            let first_pair = PairReader::open(&paths[0], Some(&paths[1]));
            if let Err(error) = first_pair.and_then(|mut reader| reader.read(1, &mut Pairs::default())) {
                found.push(Diagnostic::error(second.place.clone(), error.to_string()).hint(error.hint()));
            }
        }
    }
}

/// Reads every file of which a digest is stated, and compares; how many there were. What cannot be read was told already.
fn check_digests(cohort: &Cohort, found: &mut Vec<Diagnostic>) -> usize {
    let lanes = cohort.samples.iter().flat_map(|sample| &sample.lanes);
    let reads = lanes.flat_map(|lane| std::iter::once(&lane.fastq_1).chain(&lane.fastq_2));
    let stated =
        reads.filter_map(|fastq| Some((&fastq.place, cohort.reads_path(fastq), hex(&fastq.sha256?))));
    let reference = cohort.reference.digest.as_deref().and_then(|digest| digest.strip_prefix("sha256:"));
    let reference = reference
        .map(|stated| (&cohort.reference.place, cohort.reference_path(), stated.to_ascii_lowercase()));
    let mut compared = 0;
    for (place, path, stated) in reference.into_iter().chain(stated) {
        if found.iter().any(|one| one.is_error() && one.place == *place) {
            continue;
        }
        compared += 1;
        match sha256(&path) {
            Ok(is) if is == stated => {}
            Ok(is) => {
                let message = format!("{} has the SHA-256 {is}; stated is {stated}", path.display());
                let hint = "fetch the file again from its source, or correct what is stated".to_owned();
                found.push(Diagnostic::error(place.clone(), message).hint(Some(hint)));
            }
            Err(failure) => found.push(unreadable(&path, place, &failure.to_string())),
        }
    }
    compared
}

/// Two paths may lead to one file; the sheet cannot show it.
fn check_same_file(fastq: &Fastq, first: &Fastq, found: &mut Vec<Diagnostic>) {
    if first.path != fastq.path {
        let message = format!("{} is the same file as {} at {}", fastq.path, first.path, first.place);
        found.push(Diagnostic::warning(fastq.place.clone(), message));
    }
}

fn check_first_record(path: &Path, head: &[u8], place: &Place, found: &mut Vec<Diagnostic>) {
    let kind = what_is(head);
    if kind != "gzip" && !head.starts_with(b"@") {
        return found.push(unreadable(path, place, &format!("is {kind}; expected FASTQ, plain or gzip")));
    }
    match FastqReader::open(path).and_then(|mut reader| reader.read(&mut Reads::default())) {
        Ok(true) => {}
        Ok(false) => found.push(unreadable(path, place, "holds no reads")),
        Err(error) => found.push(Diagnostic::error(place.clone(), error.to_string()).hint(error.hint())),
    }
}

fn unreadable(path: &Path, place: &Place, problem: &str) -> Diagnostic {
    Diagnostic::error(place.clone(), format!("reads {}: {problem}", path.display()))
}

/// The first bytes of a regular file that is not empty, and its device and inode; or what is wrong with it.
fn head(path: &Path) -> Result<(Vec<u8>, (u64, u64)), String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("is no regular file".to_owned());
    }
    let mut head = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(8).read_to_end(&mut head).map_err(|error| error.to_string())?;
    if head.is_empty() {
        return Err("is empty".to_owned());
    }
    Ok((head, (metadata.dev(), metadata.ino())))
}

/// What the first bytes of a file say it is.
fn what_is(head: &[u8]) -> &'static str {
    let magics: [(&[u8], &str); 7] = [
        (&[0x1f, 0x8b], "gzip"),
        (b"BZh", "bzip2"),
        (&[0xfd, b'7', b'z', b'X', b'Z'], "xz"),
        (&[0x28, 0xb5, 0x2f, 0xfd], "zstd"),
        (b"PK\x03\x04", "a zip archive"),
        (b"CRAM", "CRAM"),
        (b"%PDF", "PDF"),
    ];
    magics.iter().find(|(magic, _)| head.starts_with(magic)).map_or("of an unknown kind", |(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHEET: &str = "participant,sample,role,rgid,fastq_1,fastq_2\nP1,S1,germline,1,a.fq,b.fq\n";
    const RECORD: &str = "@r\nA\n+\nI\n";
    const CONSENTS: &str = "participant,id,version,status,items,foreign_countries,start,end,basis,proxy_until,duo,icf,updated,as_of\n\
        P1,C1,1,active,clinical_return,,2020-01-01,,self,,,,2020-01-01T00:00:00Z,";

    const SITES: &str = "[[site]]\nid = \"here\"\njurisdiction = \"JP\"\nlevels_max = 4\n\
        roles = [\"compute\"]\nattestation = { scheme = \"none\", id = \"\", expires = 2099-12-31 }\n";

    /// What a check says of a cohort, some of whose files were replaced or removed.
    fn check(files: &[(&str, Option<&str>)], expect: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        let toml = "[cohort]\nid = \"C1\"\nreference = \"ref.fa\"\nsamples = \"s.csv\"\n\
                    purpose = \"qa\"\nconsent = \"consent.csv\"\nsites = [\"here\"]\n";
        let consents = format!("{CONSENTS}{}\n", workers::access::now());
        let sound = [
            ("c.toml", toml),
            ("s.csv", SHEET),
            ("ref.fa", ">1\nA\n"),
            ("a.fq", RECORD),
            ("b.fq", RECORD),
            ("sites.toml", SITES),
            ("consent.csv", &consents),
        ];
        for (name, text) in sound.map(|(name, text)| (name, Some(text))).iter().chain(files) {
            let path = folder.path().join(name);
            match text {
                Some(text) => std::fs::write(path, text).unwrap(),
                None => std::fs::remove_file(path).unwrap(),
            }
        }
        let path = folder.path().join("c.toml");
        let mut said = Vec::new();
        let answer = super::check(&path, false, Format::Table, |line| said.push(line.to_owned()));
        let shown = match &answer {
            Ok(()) => said.join("\n"),
            Err(error) => error.to_string(),
        };
        let shown = shown.replace(&format!("{}/", folder.path().display()), "");
        assert_eq!(shown.lines().collect::<Vec<_>>(), expect);
        let _ = super::check(&path, false, Format::Json, |line| said.push(line.to_owned()));
        let json: serde_json::Value = serde_json::from_str(said.last().unwrap()).unwrap();
        assert_eq!(json["schema"], "wakachi.cohort-check/1");
        assert_eq!(json["ok"], answer.is_ok());
        assert_eq!(
            json["diagnostics"].as_array().map(Vec::len),
            Some(answer.map_or_else(|e| e.diagnostics.len(), |()| 0))
        );
    }

    #[test]
    fn a_sound_cohort_is_summed_up() {
        let sound = "cohort C1: ok; samples 1 (1 in the joint call), lanes 1";
        check(&[], &[sound, "policy: every sample is permitted"]);
    }

    #[test]
    fn nobodys_reads_are_opened_without_a_permit() {
        let sound = "cohort C1: ok; samples 1 (1 in the joint call), lanes 1";
        let refused = "policy: a run would be refused, and reads without a permit were not looked at: consents \
                       consent.csv: cannot be read; what is missing counts as no: No such file or directory (os error 2)";
        check(&[("a.fq", Some("no reads")), ("consent.csv", None)], &[sound, refused]);
    }

    #[test]
    fn every_file_is_looked_at_and_every_error_told_at_once() {
        let missing = "No such file or directory (os error 2)";
        check(
            &[("c.toml", None)],
            &[
                "cohort c.toml: 1 error",
                &format!("c.toml:1:1: error: the cohort file cannot be read: {missing}"),
            ],
        );
        check(
            &[("s.csv", None)],
            &[
                "cohort c.toml: 1 error",
                &format!("c.toml:4:11: error: the sheet s.csv cannot be read: {missing}"),
            ],
        );
        check(
            &[
                ("ref.fa", None),
                ("a.fq", Some("")),
                ("b.fq", Some("@r\nA\n+\n")),
                ("s.csv", Some(&format!("{SHEET}P1,S 2,germline,1,c.fq,.\n"))),
            ],
            &[
                "cohort c.toml: 6 errors",
                &format!("c.toml:3:13: error: reference ref.fa: {missing}"),
                "s.csv:2:18: error: reads a.fq: is empty",
                "s.csv:2:23: error: b.fq line 4: expected 1 qualities as there are bases, found 0",
                "  hint: fetch the file again from its source",
                "s.csv:3:4: error: sample 'S 2' contains ' '; expected letters, digits, '.', '_' and '-'",
                &format!("s.csv:3:19: error: reads c.fq: {missing}"),
                "s.csv:3:24: error: reads .: is no regular file",
            ],
        );
        check(
            &[("b.fq", Some("@s\nA\n+\nI\n"))],
            &[
                "cohort c.toml: 1 error",
                "s.csv:2:23: error: a.fq and b.fq are out of step at line 1: 'r' stands beside 's'",
                "  hint: give both files of one lane as the sequencer wrote them, neither filtered nor sorted",
            ],
        );
        check(
            &[("a.fq", Some("BZh9")), ("b.fq", Some("text")), ("ref.fa", Some("@SQ"))],
            &[
                "cohort c.toml: 3 errors",
                "c.toml:3:13: error: reference ref.fa: is of an unknown kind; expected FASTA, plain or compressed by bgzip",
                "s.csv:2:18: error: reads a.fq: is bzip2; expected FASTQ, plain or gzip",
                "s.csv:2:23: error: reads b.fq: is of an unknown kind; expected FASTQ, plain or gzip",
            ],
        );
    }
}
