//! Passphrases of private keys: from files in automation, else asked for on the terminal.
//!
//! Invariant: a passphrase comes from nowhere else, neither from an argument nor from the environment, is printed nowhere,
//! and is wiped from memory when it is dropped.

use crate::output::note;
use jobs::failure::{Class, Classified, Failure};
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Longest passphrase, in bytes.
const BYTES_MAX: usize = 4096;

/// How often a terminal is asked for one passphrase.
const TRIES_MAX: u32 = 3;

/// Where passphrases come from.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct PassphraseArgs {
    /// File whose first line is the passphrase; given several times, each is tried [default: asked for on the terminal]
    #[arg(id = "passphrase-file", long, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
enum PassphraseError {
    #[error("{}: the passphrase cannot be read", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{}: expected a passphrase of 1 to {BYTES_MAX} bytes of UTF-8 in the first line", path.display())]
    NotAPassphrase { path: PathBuf },
    #[error("no passphrase for {what}: nobody is at a terminal")]
    NoTerminal { what: String },
    #[error("the terminal gives no passphrase for {what}")]
    Terminal {
        what: String,
        #[source]
        source: io::Error,
    },
    #[error("the two passphrases differ, or are empty")]
    Differ,
    #[error("{count} passphrase files for one new key")]
    Ambiguous { count: usize },
}

impl Classified for PassphraseError {
    fn class(&self) -> Class {
        match self {
            PassphraseError::Terminal { .. } => Class::Failed,
            _ => Class::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            PassphraseError::Differ => Some("give the command again".to_owned()),
            PassphraseError::Ambiguous { .. } => Some("give --passphrase-file once".to_owned()),
            _ => {
                Some("put the passphrase into a file of mode 0600 and give --passphrase-file FILE".to_owned())
            }
        }
    }
}

impl PassphraseArgs {
    /// The files that were named.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// These, and the files that a configuration names.
    pub fn with(&self, files: impl IntoIterator<Item = PathBuf>) -> Self {
        PassphraseArgs { files: self.files.iter().cloned().chain(files).collect() }
    }

    /// A passphrase for something new; the terminal is asked twice.
    pub fn choose(&self, what: &str) -> Result<Zeroizing<String>, Failure> {
        match &self.files[..] {
            [] => {}
            [file] => return Ok(read(file)?),
            files => return Err(PassphraseError::Ambiguous { count: files.len() }.into()),
        }
        let first = ask(what, "new passphrase")?;
        let second = ask(what, "the same again")?;
        if first != second || first.is_empty() {
            return Err(PassphraseError::Differ.into());
        }
        Ok(first)
    }

    /// Opens `what` with the first passphrase that does; `is_wrong` tells the error of a wrong one from others.
    pub fn unlock<T, E: Classified>(
        &self,
        what: &str,
        mut open: impl FnMut(&str) -> Result<T, E>,
        is_wrong: impl Fn(&E) -> bool,
    ) -> Result<T, Failure> {
        if self.files.is_empty() {
            return unlock_asking(what, open, is_wrong);
        }
        let mut wrong = None;
        for file in &self.files {
            match open(&read(file)?) {
                Err(error) if is_wrong(&error) => wrong = Some(error),
                opened => return Ok(opened?),
            }
        }
        Err(wrong.expect("at least one file").into())
    }
}

fn unlock_asking<T, E: Classified>(
    what: &str,
    mut open: impl FnMut(&str) -> Result<T, E>,
    is_wrong: impl Fn(&E) -> bool,
) -> Result<T, Failure> {
    for _ in 1..TRIES_MAX {
        match open(&ask(what, "passphrase")?) {
            Err(error) if is_wrong(&error) => note(&error.to_string()),
            opened => return Ok(opened?),
        }
    }
    Ok(open(&ask(what, "passphrase")?)?)
}

fn ask(what: &str, prompt: &str) -> Result<Zeroizing<String>, PassphraseError> {
    if !io::stdin().is_terminal() {
        return Err(PassphraseError::NoTerminal { what: what.to_owned() });
    }
    rpassword::prompt_password(format!("{prompt} for {what}: "))
        .map(Zeroizing::new)
        .map_err(|source| PassphraseError::Terminal { what: what.to_owned(), source })
}

/// The first line of a file, without its end.
fn read(path: &Path) -> Result<Zeroizing<String>, PassphraseError> {
    // Never grown, so no copy of the secret stays behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(BYTES_MAX + 2));
    File::open(path)
        .and_then(|file| file.take(BYTES_MAX as u64 + 2).read_to_end(&mut bytes))
        .map_err(|source| PassphraseError::Unreadable { path: path.to_owned(), source })?;
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = std::str::from_utf8(line).ok().filter(|text| (1..=BYTES_MAX).contains(&text.len()));
    let text = text.ok_or_else(|| PassphraseError::NotAPassphrase { path: path.to_owned() })?;
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passphrase_is_the_first_line_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p");
        let check = |bytes: &[u8], expect: Option<&str>| {
            std::fs::write(&path, bytes).unwrap();
            let found = read(&path).ok();
            assert_eq!(found.as_deref().map(String::as_str), expect, "{bytes:?}");
        };
        check(b"correct horse", Some("correct horse"));
        check("分かち \r\nsecond line\n".as_bytes(), Some("分かち "));
        check(b"", None);
        check(b"\nsecond", None);
        check(b"\xff\xfe", None);
        check(&[b'a'; BYTES_MAX], Some(&"a".repeat(BYTES_MAX)));
        check(&[b'a'; BYTES_MAX + 1], None);
    }

    #[test]
    fn every_file_is_tried_until_one_opens() {
        #[derive(Debug, thiserror::Error)]
        #[error("wrong")]
        struct Wrong;
        impl Classified for Wrong {
            fn class(&self) -> Class {
                Class::Usage
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, name).unwrap();
            path
        };
        let args = PassphraseArgs { files: ["a", "b", "c"].map(file).to_vec() };
        let mut tried = Vec::new();
        let mut open = |passphrase: &str, right: &str| {
            tried.push(passphrase.to_owned());
            if passphrase == right { Ok(passphrase.to_owned()) } else { Err(Wrong) }
        };
        assert_eq!(args.unlock("it", |passphrase| open(passphrase, "b"), |_| true).unwrap(), "b");
        assert!(args.unlock("it", |passphrase| open(passphrase, "d"), |_| true).is_err());
        assert_eq!(tried, ["a", "b", "a", "b", "c"]);
        assert!(args.choose("it").is_err());
    }
}
