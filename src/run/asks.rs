//! What somebody outside asks of a running job: files that it takes out of its directory once a second.
//!
//! Invariant: an ask is taken once, by the run that it was left for; what was left for an earlier one is dropped.

use super::status;
use crate::job_dir::JobDir;
use cluster::dashboard::Ask;
use jobs::failure::{Class, Classified, Failure};
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};
use storage::{AtomicFile, DiskError};

/// Longest file that is read as an ask, in bytes.
const ASK_BYTES_MAX: u64 = 4096;

fn folder(dir: &JobDir) -> PathBuf {
    dir.scratch().join("asks")
}

/// Why a job cannot be asked.
#[derive(Debug, thiserror::Error)]
enum NotAsked {
    /// Nobody would take it.
    #[error("{}: the job does not run", dir.display())]
    NotRunning { dir: PathBuf },
    /// It is of a site that the job does not use.
    #[error("the job has no site {site}")]
    UnknownSite { site: String, known: Vec<String> },
}

impl Classified for NotAsked {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        match self {
            NotAsked::NotRunning { dir } => Some(format!("wakachi job info {}", dir.display())),
            NotAsked::UnknownSite { known, .. } => Some(format!("it has {}", known.join(", "))),
        }
    }
}

/// Leaves an ask for the run that is at work, which takes it within a second or two.
pub fn leave(dir: &JobDir, ask: &Ask) -> Result<(), Failure> {
    let not_running = || NotAsked::NotRunning { dir: dir.root().to_owned() };
    let info = status::seen(dir).filter(|info| info.state.is_live()).ok_or_else(not_running)?;
    if let Ask::Drain { site, .. } = ask
        && !info.sites.iter().any(|known| known.name == *site)
    {
        let known = info.sites.into_iter().map(|known| known.name).collect();
        return Err(NotAsked::UnknownSite { site: site.clone(), known }.into());
    }
    let folder = folder(dir);
    fs::create_dir_all(&folder).map_err(DiskError::on("create", &folder))?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let path = folder.join(format!("{:020}-{}.json", since.as_nanos(), std::process::id()));
    let mut file = AtomicFile::create(&path)?;
    let text = serde_json::to_vec(ask).expect("plain data always prints");
    file.write_all(&text).map_err(DiskError::on("write", &path))?;
    Ok(file.commit()?)
}

/// Takes what was left, in the order in which it was. What cannot be read is nobody's ask.
pub fn take(dir: &JobDir) -> Vec<Ask> {
    let Ok(entries) = fs::read_dir(folder(dir)) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let read = |path: &PathBuf| {
        let text = super::books::read_at_most(path, ASK_BYTES_MAX).ok();
        // One that cannot be removed would be taken again and again.
        fs::remove_file(path).ok()?;
        serde_json::from_slice(&text?).ok()
    };
    paths.iter().filter_map(read).collect()
}
