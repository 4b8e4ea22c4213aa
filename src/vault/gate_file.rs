//! `gate.toml` in the vault's folder: where consents, policy and sites are read from when the vault asks for a permit.
//!
//! Invariant: the file only names other files; a flag of the command line goes before it. Nothing is decided here.

use crate::gate::GateFiles;
use crate::run::books;
use jobs::diagnostic::{Diagnostic, Source};
use jobs::document::Document;
use jobs::failure::{Class, Classified, Failure};
use jobs::policy::Purpose;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use storage::{AtomicFile, DiskError};

/// Largest `gate.toml` that is read, in bytes.
const BYTES_MAX: u64 = 1 << 20;

/// Under which the help lists these.
const HEADING: &str = "Consent and policy";

/// From what the gate knows; what is not given here stands in the vault's `gate.toml`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct GateArgs {
    /// Register of consents (FHIR R4 bundle or CSV)
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    pub consent: Option<PathBuf>,
    /// Policy (TOML) [default: the built-in one]
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    pub policy: Option<PathBuf>,
    /// Registry of sites (TOML)
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    pub sites: Option<PathBuf>,
    /// Where this machine stands: an id of the registry of sites
    #[arg(long = "at", value_name = "SITE", help_heading = HEADING)]
    pub site: Option<String>,
    /// What the data is used for: clinical_return, research, research_industry or qa
    #[arg(long, value_name = "PURPOSE", help_heading = HEADING)]
    pub purpose: Option<Purpose>,
    /// Disease studied, as a MONDO id
    #[arg(long, value_name = "MONDO:N", help_heading = HEADING)]
    pub disease: Option<String>,
}

/// Why the gate's files are not known.
#[derive(Debug, thiserror::Error)]
pub enum GateFileError {
    /// It cannot be read.
    #[error("{}: cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It says what nobody can mean.
    #[error("{}", Diagnostic::list(diagnostics))]
    Wrong {
        /// Everything that is wrong.
        diagnostics: Vec<Diagnostic>,
    },
    /// Something is given nowhere.
    #[error("{what} given neither by {flag} nor in {}", path.display())]
    Missing {
        /// What.
        what: &'static str,
        /// The flag.
        flag: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A name that TOML cannot hold.
    #[error("{}: the name is not UTF-8", path.display())]
    NotText {
        /// The path.
        path: PathBuf,
    },
}

impl Classified for GateFileError {
    fn class(&self) -> Class {
        match self {
            GateFileError::Unreadable { .. } | GateFileError::Wrong { .. } => Class::Input,
            // Without it nobody can be asked, and what is missing means no.
            GateFileError::Missing { .. } => Class::Policy,
            GateFileError::NotText { .. } => Class::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            GateFileError::Missing { flag, .. } => Some(format!("give {flag}")),
            GateFileError::Unreadable { .. } | GateFileError::Wrong { .. } => Some(
                "correct the file; [gate] knows consent, policy, sites, at, purpose and disease".to_owned(),
            ),
            GateFileError::NotText { .. } => Some("give the file another name".to_owned()),
        }
    }
}

impl From<GateFiles> for GateArgs {
    fn from(files: GateFiles) -> Self {
        let GateFiles { consent, policy, sites, site, purpose, disease } = files;
        GateArgs { consent, policy, sites: Some(sites), site, purpose, disease }
    }
}

fn path_of(vault: &Path) -> PathBuf {
    vault.join("gate.toml")
}

impl GateArgs {
    /// What flags and the vault's `gate.toml` say together.
    pub fn files(&self, vault: &Path) -> Result<GateFiles, GateFileError> {
        let path = path_of(vault);
        let held = read(&path)?;
        let missing = |what, flag| GateFileError::Missing { what, flag, path: path.clone() };
        let consent = self.consent.clone().or(held.consent);
        let sites = self.sites.clone().or(held.sites);
        let site = self.site.clone().or(held.site);
        let purpose = self.purpose.or(held.purpose);
        Ok(GateFiles {
            consent: Some(consent.ok_or_else(|| missing("no consents are", "--consent FILE"))?),
            policy: self.policy.clone().or(held.policy),
            sites: sites.ok_or_else(|| missing("no sites are", "--sites FILE"))?,
            site: Some(site.ok_or_else(|| missing("where this machine stands is", "--at SITE"))?),
            purpose: Some(purpose.ok_or_else(|| missing("no purpose is", "--purpose PURPOSE"))?),
            disease: self.disease.clone().or(held.disease),
        })
    }

    /// What `gate.toml` says of these; paths are kept absolute.
    pub fn text(&self) -> Result<String, GateFileError> {
        let mut text =
            "# From where wakachi vault knows consents, policy and sites; flags go before it.\n[gate]\n"
                .to_owned();
        for (key, path) in [("consent", &self.consent), ("policy", &self.policy), ("sites", &self.sites)] {
            if let Some(path) = path {
                let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                let not_text = || GateFileError::NotText { path: path.clone() };
                text += &line(key, absolute.to_str().ok_or_else(not_text)?);
            }
        }
        let words = [("at", self.site.as_deref()), ("purpose", self.purpose.map(Purpose::name))];
        for (key, word) in words.into_iter().chain([("disease", self.disease.as_deref())]) {
            text += &word.map_or_else(String::new, |word| line(key, word));
        }
        Ok(text)
    }
}

/// Writes the `gate.toml` of a vault.
pub fn write(vault: &Path, text: &str) -> Result<(), Failure> {
    let path = path_of(vault);
    let mut file = AtomicFile::create(&path)?;
    file.write_all(text.as_bytes()).map_err(DiskError::on("write", &path))?;
    Ok(file.commit()?)
}

/// A key with a basic string; TOML escapes what JSON escapes, and U+007F besides.
fn line(key: &str, text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f");
    format!("{key} = {quoted}\n")
}

/// What the file says; nothing, where there is none. Relative paths are relative to it.
fn read(path: &Path) -> Result<GateArgs, GateFileError> {
    let bytes = match books::read_at_most(path, BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(GateArgs::default()),
        Err(source) => return Err(GateFileError::Unreadable { path: path.to_owned(), source }),
    };
    let wrong = |diagnostics| GateFileError::Wrong { diagnostics };
    let source = Source::from_bytes(&path.display().to_string(), &bytes).map_err(|one| wrong(vec![one]))?;
    let document = Document::parse(source);
    let mut args = GateArgs::default();
    if document.is_whole() {
        let mut root = document.root();
        if let Some(mut gate) = root.section("gate") {
            let folder = path.parent().unwrap_or(path);
            let mut text = |key| gate.text(key).map(|text| (*text.get_ref()).to_owned());
            let [consent, policy, sites, site, disease] =
                ["consent", "policy", "sites", "at", "disease"].map(&mut text);
            let [consent, policy, sites] = [consent, policy, sites].map(|name| Some(folder.join(name?)));
            let words: Vec<&str> = Purpose::ALL.iter().map(|purpose| purpose.name()).collect();
            let purpose = gate.word("purpose", &words).and_then(|word| word.parse().ok());
            args = GateArgs { consent, policy, sites, site, purpose, disease };
            gate.finish();
        }
        root.finish();
    }
    match document.into_diagnostics() {
        diagnostics if diagnostics.is_empty() => Ok(args),
        diagnostics => Err(wrong(diagnostics)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_flags_go_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let written = GateArgs {
            consent: Some("/a \"b\"/分かち\u{7f}.json".into()),
            sites: Some("/sites.toml".into()),
            site: Some("here".to_owned()),
            purpose: Some(Purpose::Research),
            ..GateArgs::default()
        };
        write(folder.path(), &written.text().unwrap()).unwrap();
        let read = GateArgs::default().files(folder.path()).unwrap();
        assert_eq!((read.consent, read.policy), (written.consent, None));
        assert_eq!(
            (read.sites, read.site, read.purpose),
            ("/sites.toml".into(), written.site, written.purpose)
        );
        let flags = GateArgs { site: Some("there".to_owned()), ..GateArgs::default() };
        assert_eq!(flags.files(folder.path()).unwrap().site.as_deref(), Some("there"));
    }

    #[test]
    fn what_is_given_nowhere_is_a_no_and_what_is_wrong_has_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let check = |text: &str, class: Class, expect: &str| {
            std::fs::write(folder.path().join("gate.toml"), text).unwrap();
            let error = GateArgs::default().files(folder.path()).unwrap_err();
            assert_eq!(error.class(), class, "{error}");
            assert!(error.to_string().contains(expect), "{error}");
        };
        check("", Class::Policy, "no consents are given neither by --consent FILE");
        check("[gate]\nconsent = \"c\"\nsites = \"s\"\nat = \"x\"\n", Class::Policy, "--purpose");
        check("[gate]\npurpose = \"reserch\"\n", Class::Input, "gate.toml:2:11");
        check("[gate]\nconsnt = \"c\"\n", Class::Input, "'consnt'");
    }
}
