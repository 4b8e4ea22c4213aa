//! What the plain filters (`simulate`, `index`, `align`, `call`, `joint`) share: they act with the caller's own file
//! rights, and keep out of jobs and vaults, where every read needs a permit.

use jobs::failure::{Class, Classified, Failure};
use std::path::{Path, PathBuf};

/// A path lies where every read needs a permit.
#[derive(Debug, thiserror::Error)]
#[error("{}: lies inside {what} {}", path.display(), folder.display())]
struct Inside {
    path: PathBuf,
    what: &'static str,
    folder: PathBuf,
}

impl Classified for Inside {
    fn class(&self) -> Class {
        Class::Policy
    }

    fn hint(&self) -> Option<String> {
        Some(match self.what {
            JOB => "name a path outside of jobs; copy what you are allowed to use elsewhere".to_owned(),
            _ => {
                "name a path outside of vaults and sites; what is sealed comes back by wakachi vault restore"
                    .to_owned()
            }
        })
    }
}

const JOB: &str = "the job";

/// What a folder is if it holds all of these: a job, a vault, a site of a vault.
const KEPT: [(&str, &[&str]); 3] =
    [(JOB, &[".wakachi/journal.redb"]), ("the vault", &["vault.key"]), ("the vault's site", &["vault.json"])];

/// Refuses paths that lie inside a job, a vault or a site of one. A custodian's ledger holds nobody's data.
pub fn keep_out<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Result<(), Failure> {
    keep_out_of(&KEPT, paths)
}

/// Refuses paths that lie inside a vault or a site of one: a job may lie anywhere else.
pub fn keep_out_of_vaults<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Result<(), Failure> {
    keep_out_of(&KEPT[1..], paths)
}

fn keep_out_of<'a>(
    kept: &[(&'static str, &[&str])],
    paths: impl IntoIterator<Item = &'a Path>,
) -> Result<(), Failure> {
    for path in paths {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        // What is not there yet will lie in the nearest folder that is, wherever links lead to it.
        let real = absolute.ancestors().find_map(|path| path.canonicalize().ok()).unwrap_or(absolute);
        for folder in real.ancestors() {
            let is = |files: &[&str]| files.iter().all(|file| folder.join(file).exists());
            if let Some((what, _)) = kept.iter().find(|(_, files)| is(files)) {
                let (path, folder) = (path.to_owned(), folder.to_owned());
                return Err(Inside { path, what, folder }.into());
            }
        }
    }
    Ok(())
}

/// An output would take the place of an input.
#[derive(Debug, thiserror::Error)]
#[error("{}: is an input too, and would be overwritten", path.display())]
struct OverInput {
    path: PathBuf,
}

impl Classified for OverInput {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        Some("choose another name with --output".to_owned())
    }
}

/// Refuses an output that is one of the inputs, whatever the names by which they are given.
pub fn keep_off_inputs<'a>(output: &Path, inputs: impl IntoIterator<Item = &'a Path>) -> Result<(), Failure> {
    let Ok(real) = output.canonicalize() else { return Ok(()) };
    match inputs.into_iter().any(|input| input.canonicalize().is_ok_and(|input| input == real)) {
        true => Err(OverInput { path: output.to_owned() }.into()),
        false => Ok(()),
    }
}

/// A file was expected.
#[derive(Debug, thiserror::Error)]
#[error("-o -: expected the name of a file")]
struct NotAFile;

impl Classified for NotAFile {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        Some("give a name such as OUT.vcf.gz: its index is written beside it".to_owned())
    }
}

/// Refuses `-` where an output has an index beside it.
pub fn expect_a_file(output: &Path) -> Result<(), Failure> {
    if output.as_os_str() == "-" { Err(NotAFile.into()) } else { Ok(()) }
}

/// Threads could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start threads")]
struct NoThreads(#[source] rayon::ThreadPoolBuildError);

impl Classified for NoThreads {
    fn class(&self) -> Class {
        Class::Failed
    }
}

/// Runs `work` on a pool of so many threads, 0 for all cores.
pub fn on_threads<T: Send>(threads: u32, work: impl FnOnce() -> T + Send) -> Result<T, Failure> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads as usize).build().map_err(NoThreads)?;
    Ok(pool.install(work))
}

/// An empty directory beside `path`, or for a path without a folder of its own in the system's place for such things.
pub fn scratch_beside(path: &Path) -> Result<tempfile::TempDir, Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let made = match folder {
        Some(folder) => tempfile::Builder::new().prefix(".wakachi-").tempdir_in(folder),
        None => tempfile::Builder::new().prefix(".wakachi-").tempdir_in("."),
    };
    let made = made.map_err(|source| NoScratch { path: path.to_owned(), source })?;
    let real = made.path().canonicalize().unwrap_or_else(|_| made.path().to_owned());
    crate::interrupt::remove_at_end(&real);
    Ok(made)
}

/// No directory for temporary files.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot make a temporary directory beside it", path.display())]
struct NoScratch {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

impl Classified for NoScratch {
    fn class(&self) -> Class {
        Class::Failed
    }

    fn hint(&self) -> Option<String> {
        Some("choose an output in a folder you may write to".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_link_leads_into_a_job_a_vault_or_a_site() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for made in ["job/.wakachi", "job/results", "vault", "site/objects", "half/objects"] {
            std::fs::create_dir_all(at(made)).unwrap();
        }
        for made in ["job/.wakachi/journal.redb", "vault/vault.key", "site/vault.json"] {
            std::fs::write(at(made), "").unwrap();
        }
        std::os::unix::fs::symlink(at("job/results"), at("link")).unwrap();
        let check = |path: &str, expect: Option<&str>| {
            let found = keep_out([at(path).as_path()]).err().map(|failure| failure.to_string());
            let named = found.as_ref().zip(expect).is_some_and(|(found, what)| found.contains(what));
            assert_eq!(found.is_some(), expect.is_some(), "{path}: {found:?}");
            assert_eq!(named, expect.is_some(), "{path}: {found:?}");
        };
        for inside in ["job", "job/new/deep", "link/new.bam"] {
            check(inside, Some("inside the job "));
        }
        check("vault/new.bam", Some("inside the vault "));
        check("site/objects/new/00.fragment", Some("inside the vault's site "));
        check("half/objects/new.bam", None);
        check("new.bam", None);
    }

    #[test]
    fn an_output_never_takes_the_place_of_an_input() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("reads"), "").unwrap();
        std::os::unix::fs::symlink(at("reads"), at("link")).unwrap();
        let refused = |output: &str| keep_off_inputs(&at(output), [at("reads").as_path()]).is_err();
        assert!(refused("reads") && refused("link") && refused("./reads"));
        assert!(!refused("other"));
    }
}
