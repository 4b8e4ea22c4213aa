//! Whether reads are still those that a finished sample was made of, as far as can be told without reading them again.
//!
//! Where the sheet states a digest, that decides which reads are meant, and what was made of them counts whatever lies
//! under their name later. So that nobody takes other reads for them, the length and the time of change that a file had
//! when the run that did its sample began are remembered, also while the sample is away from the sheet. A file of another
//! length is read: it may have been still on its way when that run began; if it is another one, the job does not go on. Of
//! another time alone it may be the same, which is left to who wants to read it.

use super::books;
use crate::output::note;
use jobs::cohort::{Cohort, Fastq};
use jobs::failure::{Class, Classified, Failure};
use jobs::task::Task;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use storage::Journal;

/// Name of the journal's value that holds them.
const STAMPS: &str = "reads";

/// By the digest of its content, what a file looked like.
type Stamps = BTreeMap<String, Stamp>;

/// Length in bytes, and time of change in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Stamp {
    bytes: u64,
    changed_ns: u64,
}

/// A file has another length than the one whose digest the sheet states.
#[derive(Debug)]
struct Other {
    path: PathBuf,
    bytes: u64,
    taken_in_bytes: u64,
}

/// Files are not those that were taken in.
#[derive(Debug, thiserror::Error)]
#[error("reads were replaced since they were taken in: {}", files.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
struct Replaced {
    files: Vec<Other>,
}

impl std::fmt::Display for Other {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Other { path, bytes, taken_in_bytes } = self;
        write!(
            f,
            "{} has {bytes} bytes; with the digest that the sheet states it had {taken_in_bytes}",
            path.display()
        )
    }
}

impl Classified for Replaced {
    fn class(&self) -> Class {
        Class::Input
    }

    fn hint(&self) -> Option<String> {
        let what = "bring back the files as they were; or state the digests of the new ones, and the same command does \
                    again what depends on them";
        Some(what.to_owned())
    }
}

/// Compares the files of finished samples with what they looked like, and remembers what those of the others look like
/// now: nobody reads those but tasks that check them.
pub fn check(journal: &Journal, cohort: &Cohort, names: &[String], sheet: &Path) -> Result<(), Failure> {
    let finished: Vec<String> =
        (0..names.len() as u32).map(|sample| Task::FinishSample(sample).key(names)).collect();
    let finished = journal.get_many(&finished.iter().map(String::as_str).collect::<Vec<_>>())?;
    let stored = journal.value(STAMPS)?;
    let before: Stamps = stored.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default();
    let mut stamps = before.clone();
    let (mut replaced, mut touched) = (Vec::new(), Vec::new());
    for (sample, finished) in cohort.samples.iter().zip(finished) {
        let files = sample.lanes.iter().flat_map(|lane| std::iter::once(&lane.fastq_1).chain(&lane.fastq_2));
        for fastq in files {
            let (Some(sha256), path) = (fastq.sha256, cohort.reads_path(fastq)) else { continue };
            let Some(now) = stamp(&path) else { continue };
            let digest = books::hex(&sha256);
            let known = before.get(&digest).copied().filter(|_| finished.is_some()).unwrap_or(now);
            if known.bytes != now.bytes {
                if books::sha256(&path)? == digest {
                    stamps.insert(digest, now);
                    continue;
                }
                replaced.push(Other { path, bytes: now.bytes, taken_in_bytes: known.bytes });
            } else if known != now {
                touched.push(fastq);
            }
            stamps.insert(digest, known);
        }
    }
    if !replaced.is_empty() {
        return Err(Replaced { files: replaced }.into());
    }
    say_touched(&touched, sheet);
    match stamps == before {
        true => Ok(()),
        false => {
            Ok(journal.put_value(STAMPS, &serde_json::to_vec(&stamps).expect("plain data always prints"))?)
        }
    }
}

fn say_touched(touched: &[&Fastq], sheet: &Path) {
    let Some(first) = touched.first() else { return };
    let more = match touched.len() {
        1 => String::new(),
        count => format!(" and {} more files of reads", count - 1),
    };
    note(&format!(
        "{}{more}: written since they were taken in, of the same length; whether they are still what the sheet states says: \
         wakachi cohort check {} --digests",
        first.path,
        sheet.display()
    ));
}

fn stamp(path: &Path) -> Option<Stamp> {
    let file = std::fs::metadata(path).ok()?;
    let changed = file.modified().ok()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(Stamp { bytes: file.len(), changed_ns: changed.as_nanos() as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use storage::{Commit, Fence, JobIdentity};

    #[test]
    fn a_file_that_was_still_on_its_way_when_it_was_looked_at_counts_by_its_digest() {
        let dir = tempfile::tempdir().unwrap();
        let (reads, sheet) = (dir.path().join("a.fq"), dir.path().join("cohort.toml"));
        let digest = books::sha256_of(b"all of it");
        let toml = "[cohort]\nid = \"C1\"\nreference = \"ref.fa\"\nsamples = \"s.csv\"\n";
        let rows =
            format!("participant,sample,role,rgid,fastq_1,sha256_1\nP1,S1,germline,L1,a.fq,{digest}\n");
        let cohort = jobs::cohort::parse(&sheet, toml.as_bytes(), |_| Ok(rows.clone().into_bytes())).unwrap();
        let journal =
            Journal::open_or_create(Fence::acquire(dir.path()).unwrap(), &JobIdentity::default()).unwrap();
        let names = ["S1".to_owned()];
        let check = |bytes: &[u8]| {
            fs::write(&reads, bytes).unwrap();
            check(&journal, &cohort, &names, &sheet).map_err(|failure| failure.class())
        };
        assert_eq!(check(b"all"), Ok(()));
        journal.commit(&Task::FinishSample(0).key(&names), &Commit::default()).unwrap();
        assert_eq!(check(b"another"), Err(Class::Input));
        assert_eq!(check(b"all of it"), Ok(()));
        // From now on it is known.
        let stored: Stamps = serde_json::from_slice(&journal.value(STAMPS).unwrap().unwrap()).unwrap();
        assert_eq!(stored.get(&digest).copied(), stamp(&reads));
    }
}
