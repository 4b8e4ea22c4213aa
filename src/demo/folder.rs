//! The directory of a demo: what lies where, and whose it is.
//!
//! Invariant: one demo at a time works in it. A lock says so, which the running command holds as well, so that a demo
//! started again after its forerunner was killed waits for the command that the forerunner left behind.

use crate::output::{note, shell_word};
use jobs::failure::{Class, Classified};
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use storage::site::url_of;

/// Places at which a vault keeps fragments.
pub const SITES: usize = 5;

/// Holders of key shares.
pub const CUSTODIANS: usize = 3;

/// The file that marks the directory, and is locked.
const MARK: &str = ".wakachi-demo";

/// Whose demo it is, as the mark says.
#[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Mark {
    program: String,
    /// The options that say which cohort.
    cohort: String,
}

/// The directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Something else is in it.
    #[error("{}: holds files that are not a demo's", dir.display())]
    Occupied {
        /// The directory.
        dir: PathBuf,
    },
    /// Another demo is in it.
    #[error("{}: holds the demo of {cohort} by {program}", dir.display())]
    Other {
        /// The directory.
        dir: PathBuf,
        /// The options of its cohort.
        cohort: String,
        /// The program that made it.
        program: String,
    },
    /// It cannot be made, read or written.
    #[error("{}: cannot be used as the directory of a demo", dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Classified for FolderError {
    fn class(&self) -> Class {
        match self {
            FolderError::Occupied { .. } | FolderError::Other { .. } => Class::Usage,
            FolderError::Io { .. } => Class::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            FolderError::Occupied { .. } => Some("give an empty or a new directory with --dir".to_owned()),
            FolderError::Other { dir, cohort, program } if *program == program_name() => {
                let dir = shell_word(&dir.to_string_lossy());
                Some(format!("wakachi demo --dir {dir} {cohort}, or another directory with --dir"))
            }
            FolderError::Other { .. } | FolderError::Io { .. } => {
                Some("give another directory with --dir".to_owned())
            }
        }
    }
}

/// The directory of a demo, locked.
#[derive(Debug)]
pub struct Folder {
    dir: PathBuf,
    lock: File,
}

impl Folder {
    /// Makes the directory, or takes the one that is there if it is empty or of the same demo, the one of these options.
    /// Waits while a command of an earlier start still runs in it.
    pub fn open(dir: &Path, cohort: &str) -> Result<Self, FolderError> {
        let io = |source| FolderError::Io { dir: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(io)?;
        let path = dir.join(MARK);
        if !path.exists() && fs::read_dir(dir).map_err(io)?.next().is_some() {
            return Err(FolderError::Occupied { dir: dir.to_owned() });
        }
        let mut lock =
            File::options().create(true).truncate(false).read(true).write(true).open(path).map_err(io)?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => {
                note(&format!("waiting for the demo that runs in {}", dir.display()));
                lock.lock().map_err(io)?;
            }
            tried => tried.map_err(io::Error::from).map_err(io)?,
        }
        let mine = Mark { program: program_name(), cohort: cohort.to_owned() };
        let mut text = String::new();
        lock.read_to_string(&mut text).map_err(io)?;
        if text.is_empty() {
            let text = serde_json::to_string(&mine).expect("plain data always prints");
            lock.write_all(text.as_bytes()).and_then(|()| lock.sync_all()).map_err(io)?;
            return Ok(Folder { dir: dir.to_owned(), lock });
        }
        match serde_json::from_str::<Mark>(&text) {
            Ok(mark) if mark == mine => Ok(Folder { dir: dir.to_owned(), lock }),
            Ok(Mark { program, cohort }) => Err(FolderError::Other { dir: dir.to_owned(), cohort, program }),
            Err(_) => Err(FolderError::Occupied { dir: dir.to_owned() }),
        }
    }

    /// The lock as the standard input of a command, which holds it as long as it runs.
    pub fn hold(&self) -> io::Result<Stdio> {
        Ok(Stdio::from(self.lock.try_clone()?))
    }

    /// The simulated cohort.
    pub fn simulation(&self) -> PathBuf {
        self.dir.join("cohort")
    }

    /// Its cohort file.
    pub fn cohort(&self) -> PathBuf {
        self.simulation().join("cohort.toml")
    }

    /// Its reference.
    pub fn reference(&self) -> PathBuf {
        self.simulation().join("reference.fa")
    }

    /// The job.
    pub fn job(&self) -> PathBuf {
        self.dir.join("job")
    }

    /// The job's report with the accuracy and the vault in it.
    pub fn report(&self) -> PathBuf {
        self.dir.join("report.html")
    }

    /// The vault.
    pub fn vault(&self) -> PathBuf {
        self.dir.join("vault")
    }

    /// What unlocks it.
    pub fn vault_passphrase(&self) -> PathBuf {
        self.dir.join("vault.passphrase")
    }

    /// A site of the vault, counted from 1.
    pub fn site(&self, at: usize) -> PathBuf {
        self.dir.join("sites").join(site(at))
    }

    /// A custodian's keys.
    pub fn keys(&self, at: usize) -> PathBuf {
        self.dir.join("custodians").join(custodian(at))
    }

    /// What unlocks them.
    pub fn custodian_passphrase(&self, at: usize) -> PathBuf {
        self.keys(at).join("passphrase")
    }

    /// A custodian's document for vaults.
    pub fn public_key(&self, at: usize) -> PathBuf {
        self.keys(at).join(format!("{}.pub.json", custodian(at)))
    }

    /// The key that opens a custodian's shares.
    pub fn epoch_key(&self, at: usize) -> PathBuf {
        self.keys(at).join(format!("{}.epoch-1.key", custodian(at)))
    }

    /// Where a custodian's shares lie.
    pub fn ledger(&self, at: usize) -> PathBuf {
        self.keys(at).join("ledger")
    }

    /// What came back.
    pub fn restored(&self) -> PathBuf {
        self.dir.join("restored")
    }

    /// The URL of a folder below the directory.
    pub fn url(&self, folder: &Path) -> String {
        let below = folder.strip_prefix(&self.dir).unwrap_or(folder);
        url_of(&self.dir.canonicalize().unwrap_or_else(|_| self.dir.clone()).join(below))
    }

    /// Whether the vault was made to the end: `gate.toml` is what is written last.
    pub fn has_vault(&self) -> bool {
        self.vault().join("gate.toml").exists()
    }

    /// What there is of the vault and of all that belongs to it.
    pub fn parts_of_vault(&self) -> Vec<PathBuf> {
        let parts = ["vault", "vault.passphrase", "sites", "custodians"].map(|name| self.dir.join(name));
        parts.into_iter().filter(|part| part.exists()).collect()
    }
}

/// Name of a site, counted from 1.
fn site(at: usize) -> String {
    format!("site-{at}")
}

/// Name of a custodian, counted from 1.
pub fn custodian(at: usize) -> String {
    format!("custodian-{at}")
}

fn program_name() -> String {
    format!("wakachi {}", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_belongs_to_one_demo() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("demo");
        let check = |seed: u64, expect: &str| {
            let found = match Folder::open(&dir, &format!("--seed {seed}")) {
                Ok(_) => "ok".to_owned(),
                Err(error) => error.to_string().rsplit(": ").next().unwrap_or_default().to_owned(),
            };
            assert_eq!(found, expect.replace("VERSION", env!("CARGO_PKG_VERSION")), "{seed}");
        };
        check(1, "ok");
        check(1, "ok");
        check(2, "holds the demo of --seed 1 by wakachi VERSION");
        fs::write(dir.join(MARK), "").unwrap();
        check(2, "ok");
        fs::write(dir.join(MARK), "{").unwrap();
        check(2, "holds files that are not a demo's");
        fs::rename(dir.join(MARK), dir.join("file")).unwrap();
        check(2, "holds files that are not a demo's");
    }
}
