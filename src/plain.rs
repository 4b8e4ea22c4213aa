//! What the plain filters (`simulate`, `index`, `align`, `call`, `joint`) share: they act with the caller's own file
//! rights, and keep out of jobs and vaults, where every read needs a permit.

use jobs::failure::{Class, Classified, Failure};
use std::path::{Path, PathBuf};

/// A path lies inside a job.
#[derive(Debug, thiserror::Error)]
#[error("{}: lies inside the job {}", path.display(), job.display())]
struct InsideJob {
    path: PathBuf,
    job: PathBuf,
}

impl Classified for InsideJob {
    fn class(&self) -> Class {
        Class::Policy
    }

    fn hint(&self) -> Option<String> {
        Some(
            "plain filters read and write outside of jobs; copy what you are allowed to use elsewhere"
                .to_owned(),
        )
    }
}

/// Refuses paths that lie inside a job directory.
pub fn keep_out_of_jobs<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Result<(), Failure> {
    for path in paths {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        // What is not there yet will lie in the nearest folder that is, wherever links lead to it.
        let real = absolute.ancestors().find_map(|path| path.canonicalize().ok()).unwrap_or(absolute);
        let job = real.ancestors().find(|folder| folder.join(".wakachi/journal.redb").exists());
        if let Some(job) = job {
            return Err(InsideJob { path: path.to_owned(), job: job.to_owned() }.into());
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
    fn no_link_leads_into_a_job() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("job/.wakachi")).unwrap();
        std::fs::create_dir_all(at("job/results")).unwrap();
        std::fs::write(at("job/.wakachi/journal.redb"), "").unwrap();
        std::os::unix::fs::symlink(at("job/results"), at("link")).unwrap();
        for inside in ["job", "job/new/deep", "link/new.bam"] {
            assert!(keep_out_of_jobs([at(inside).as_path()]).is_err(), "{inside}");
        }
        assert!(keep_out_of_jobs([at("new.bam").as_path()]).is_ok());
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
