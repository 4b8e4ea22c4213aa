//! Keeps a second scheduler out of a job directory, also where locks do not reach every machine, and fences off one that
//! was thought dead and is not.
//!
//! Who has the directory says so in its newest *claim*, `fence.N`, and shows by a heartbeat in it that it lives. On the
//! holder's own machine the kernel knows whether it lives; elsewhere its heartbeat must have stood still for [`SILENCE`]
//! before the directory is taken from it. A claim is made by creating the file of the next number, which one process
//! alone can do, and removes the one before: so whoever lost the directory finds its own claim gone.
//!
//! Invariant: of all processes of all machines, one at most passes [`Fence::check`] after the newest claim was made. What
//! was begun before that, and ends after it, goes to files that nobody reads: whoever takes the directory from a holder
//! that may live begins an *era*, and eras share no file that is changed. No clock of one machine is compared with that
//! of another, and no promise rests on the length of the silence.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jobs::failure::{Class, Classified};
use serde::{Deserialize, Serialize};

use crate::disk::{DiskError, copy, sync_parent};
use crate::key::random;
use crate::lock::{Lock, LockError, host};

/// How long the heartbeat of a holder on another machine must stand still before the directory is taken from it.
pub const SILENCE: Duration = Duration::from_secs(30);
/// How often a holder shows that it lives: ten chances within [`SILENCE`].
const BEAT: Duration = Duration::from_secs(3);
const FORMAT: &str = "wakachi.fence/1";
/// Every claim has so many bytes, so that a heartbeat changes no length.
const CLAIM_BYTES: usize = 512;
/// Largest file that is read as a claim, in bytes.
const CLAIM_BYTES_MAX: u64 = 64 << 10;
/// How often, while a holder is watched, it is asked whether to go on; and how long a claim that cannot be read is given
/// to be written.
const PATIENCE: Duration = Duration::from_millis(100);
const PREFIX: &str = "fence.";

/// The right to schedule in one directory; given up when dropped.
#[derive(Debug)]
pub struct Fence {
    dir: PathBuf,
    path: PathBuf,
    claim: Claim,
    heart: Option<(Sender<()>, JoinHandle<()>)>,
    file: File,
    /// `None` where a holder that is silent elsewhere still has it.
    _lock: Option<Lock>,
}

/// What a claim's file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Claim {
    format: String,
    /// Random; no two claims have the same.
    token: String,
    host: String,
    /// The kernel's name for the time since its machine was started.
    boot: String,
    pid: u32,
    /// When the process began, in the kernel's ticks: another process may get its number.
    started: u64,
    /// See [`Fence::era`].
    era: u64,
    /// Counts as long as it lives.
    beat: u64,
    /// Given up.
    ended: bool,
}

/// How the directory is asked for.
#[derive(Clone, Copy, Debug)]
struct Pace {
    beat: Duration,
    /// `None`: a holder that would have to be watched counts as living.
    silence: Option<Duration>,
}

/// What is known of a claim's holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// It runs on this machine.
    Lives,
    /// It ended, or was killed on this machine.
    Ended,
    /// Only its heartbeat can tell.
    Unknown,
}

impl Fence {
    /// Takes the directory `dir` (a job's `.wakachi`), which must exist. Waits up to [`SILENCE`] to see whether a holder
    /// elsewhere still lives.
    pub fn acquire(dir: &Path) -> Result<Self, FenceError> {
        Self::acquire_while(dir, |_| true)
    }

    /// As [`Fence::acquire`]; while it waits, it says again and again for whom, and whether to go on is answered. Whoever
    /// is waited for no more has the directory.
    pub fn acquire_while(dir: &Path, waiting: impl FnMut(&str) -> bool) -> Result<Self, FenceError> {
        Self::acquire_as(dir, &Claim::mine(), Pace { beat: BEAT, silence: Some(SILENCE) }, waiting)
    }

    /// Takes the directory if nobody has to be waited for.
    pub fn try_acquire(dir: &Path) -> Result<Self, FenceError> {
        Self::acquire_as(dir, &Claim::mine(), Pace { beat: BEAT, silence: None }, |_| true)
    }

    fn acquire_as(
        dir: &Path,
        me: &Claim,
        pace: Pace,
        mut waiting: impl FnMut(&str) -> bool,
    ) -> Result<Self, FenceError> {
        loop {
            let lock = match Lock::acquire(dir) {
                Ok(lock) => Some(lock),
                Err(LockError::Held { .. }) => None,
                Err(LockError::Disk(error)) => return Err(error.into()),
            };
            let Some(&number) = numbers(dir)?.last() else {
                if lock.is_none() {
                    // Somebody is about to make the first claim.
                    return Err(FenceError::Held {
                        dir: dir.to_owned(),
                        holder: "another process".to_owned(),
                    });
                }
                match Self::claim(dir, me, 1, 0, pace.beat, lock)? {
                    Some(fence) => return Ok(fence),
                    None => continue,
                }
            };
            let path = claim_path(dir, number);
            let Some(found) = read(&path)? else { continue };
            let holder = Claim::parse(&found);
            if number == u64::MAX || holder.is_none() && !is_unwritten(&found) {
                thread::sleep(PATIENCE);
                // One that is just being written is another one now.
                if read(&path)?.as_ref() != Some(&found) {
                    continue;
                }
                return Err(FenceError::Foreign { path });
            }
            let life = holder.as_ref().map_or(Life::Unknown, |holder| holder.life(me, lock.is_some()));
            let text = holder.as_ref().map_or_else(|| "another process".to_owned(), Claim::text);
            let held = || FenceError::Held { dir: dir.to_owned(), holder: text.clone() };
            let silent = match (life, pace.silence) {
                (Life::Ended, _) => false,
                (Life::Lives, _) | (Life::Unknown, None) => return Err(held()),
                (Life::Unknown, Some(silence)) => {
                    let goes_on = || waiting(&text);
                    if !is_silent(&path, &found, (silence, pace.beat), goes_on)? {
                        return Err(held());
                    }
                    true
                }
            };
            let era = match (silent, &holder) {
                (false, Some(holder)) => holder.era,
                _ => number + 1,
            };
            if let Some(fence) = Self::claim(dir, me, number + 1, era, pace.beat, lock)? {
                return Ok(fence);
            }
        }
    }

    /// Makes the claim of this number; `None` if another process did, or went on from it meanwhile.
    fn claim(
        dir: &Path,
        me: &Claim,
        number: u64,
        era: u64,
        beat: Duration,
        lock: Option<Lock>,
    ) -> Result<Option<Self>, FenceError> {
        let path = claim_path(dir, number);
        let file = match OpenOptions::new().write(true).create_new(true).open(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(None),
            opened => opened.map_err(DiskError::on("create", &path))?,
        };
        let claim = Claim { era, ..me.clone() };
        if let Err(error) = claim.store(&file) {
            let _ = fs::remove_file(&path);
            return Err(DiskError::on("write", &path)(error).into());
        }
        // Before the claim of before is removed: with neither, the eras would begin again.
        sync_parent(&path)?;
        let numbers = numbers(dir)?;
        if numbers.last() != Some(&number) {
            // It was slow: others took the directory and gave it up since it looked.
            fs::remove_file(&path).map_err(DiskError::on("remove", &path))?;
            return Ok(None);
        }
        for before in numbers.into_iter().filter(|before| *before < number) {
            let path = claim_path(dir, before);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(DiskError::on("remove", &path)(error).into());
                }
                _ => {}
            }
        }
        sync_parent(&path)?;
        let heart = claim.beat_on(&file, beat).map_err(DiskError::on("write", &path))?;
        Ok(Some(Fence { dir: dir.to_owned(), path, claim, heart: Some(heart), file, _lock: lock }))
    }

    /// Whether it is still held. To be asked before and after whatever only the holder may do: what was done between two
    /// answers of yes was done as the holder.
    pub fn check(&self) -> Result<(), FenceError> {
        match read(&self.path)? {
            Some(found) if Claim::parse(&found).is_some_and(|claim| claim.token == self.claim.token) => {
                Ok(())
            }
            _ => Err(FenceError::Lost { dir: self.dir.clone(), holder: newest_holder(&self.dir) }),
        }
    }

    /// Changes whenever the directory is taken from a holder that may still live. Files that a holder changes carry it in
    /// their names, so that such a one changes none of the next.
    pub fn era(&self) -> u64 {
        self.claim.era
    }

    /// Goes on in a copy of a file that a holder before may still append to: what such a one still writes stays in the
    /// file it has, which gets the name `NAME.ERA`. Does nothing in the first era, and nothing twice.
    pub fn part_from(&self, path: &Path) -> Result<(), DiskError> {
        let named = |ending: &str| {
            let mut name = path.file_name().unwrap_or_default().to_owned();
            name.push(ending);
            path.with_file_name(name)
        };
        let aside = named(&format!(".{}", self.era()));
        if self.era() == 0 || !path.exists() || (aside.exists() && !is_same_file(path, &aside)?) {
            return Ok(());
        }
        match fs::hard_link(path, &aside) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(DiskError::on("link", &aside)(error));
            }
            _ => {}
        }
        let partial = named(".partial");
        copy(path, &partial)?;
        fs::rename(&partial, path).map_err(DiskError::on("rename", path))?;
        sync_parent(path)
    }

    /// A fence as after a holder elsewhere was silent.
    #[cfg(test)]
    pub(crate) fn of_era(dir: &Path, era: u64) -> Self {
        let number = numbers(dir).unwrap().last().map_or(1, |number| number + 1);
        Self::claim(dir, &Claim::mine(), number, era, BEAT, None).unwrap().unwrap()
    }

    /// The directory it guards.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        if let Some((stop, heart)) = self.heart.take() {
            drop(stop);
            let _ = heart.join();
        }
        // Into its own claim, whether it still counts or not.
        let _ = Claim { ended: true, ..self.claim.clone() }.store(&self.file);
    }
}

impl Claim {
    /// That of this process.
    fn mine() -> Self {
        let token = random::<16>().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
        // Without a name for it, this machine is like any other.
        let boot = boot.map_or_else(|_| token.clone(), |boot| boot.trim().to_owned());
        let pid = std::process::id();
        Claim {
            format: FORMAT.to_owned(),
            token,
            host: host(),
            boot,
            pid,
            started: started(pid).unwrap_or(0),
            era: 0,
            beat: 0,
            ended: false,
        }
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().filter(|claim: &Claim| claim.format == FORMAT)
    }

    /// Writes it over the one before, and to the device: elsewhere it is seen only then.
    fn store(&self, mut file: &File) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(self)?;
        bytes.resize(CLAIM_BYTES.max(bytes.len() + 1) - 1, b' ');
        bytes.push(b'\n');
        file.write_all_at(&bytes, 0)?;
        file.flush()?;
        file.sync_data()
    }

    fn text(&self) -> String {
        format!("process {} on {}", self.pid, self.host)
    }

    /// What `me` can tell of its holder; `lock_is_free` as far as locks reach.
    fn life(&self, me: &Claim, lock_is_free: bool) -> Life {
        if self.ended {
            // Who has the lock then is about to make a claim, or is silent elsewhere.
            return if lock_is_free { Life::Ended } else { Life::Unknown };
        }
        // A number within a container is not one outside, so it alone says neither that it lives nor that it does not.
        match (self.boot == me.boot, lock_is_free, started(self.pid) == Some(self.started)) {
            (true, true, false) => Life::Ended,
            (true, false, true) => Life::Lives,
            _ => Life::Unknown,
        }
    }

    /// Shows from a thread of its own that it lives, until the sender is dropped. A beat that cannot be written is left
    /// out: whether the claim still counts is found by who asks.
    fn beat_on(&self, file: &File, every: Duration) -> io::Result<(Sender<()>, JoinHandle<()>)> {
        let (stop, stopped) = channel::<()>();
        let (file, mut claim) = (file.try_clone()?, self.clone());
        let heart = thread::Builder::new().name("heartbeat".to_owned()).spawn(move || {
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                claim.beat += 1;
                let _ = claim.store(&file);
            }
        })?;
        Ok((stop, heart))
    }
}

/// Whether a claim was made by a process, or on a machine, that ended before its content was on the device.
fn is_unwritten(found: &[u8]) -> bool {
    found.iter().all(|&byte| byte == 0)
}

/// Watches a claim until its heartbeat has stood still for `silence`; false once it moves, the claim goes, or nobody wants
/// to know any more. What passes between two looks counts for two beats at most: while the filesystem hung, the holder
/// could not write either.
fn is_silent(
    path: &Path,
    found: &[u8],
    (silence, beat): (Duration, Duration),
    mut goes_on: impl FnMut() -> bool,
) -> Result<bool, FenceError> {
    let (mut quiet, mut looked) = (Duration::ZERO, Instant::now());
    while quiet < silence {
        while looked.elapsed() < beat.min(silence) {
            if !goes_on() {
                return Ok(false);
            }
            thread::sleep(beat.min(PATIENCE));
        }
        if read(path)?.as_deref() != Some(found) {
            return Ok(false);
        }
        quiet += looked.elapsed().min(2 * beat);
        looked = Instant::now();
    }
    Ok(true)
}

/// The numbers of all claims, in order.
fn numbers(dir: &Path) -> Result<Vec<u64>, DiskError> {
    let listed = fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let listed = listed.map_err(DiskError::on("list", dir))?;
    let number = |entry: fs::DirEntry| {
        let name = entry.file_name();
        let digits = name.to_str()?.strip_prefix(PREFIX)?;
        // As claims are named, and in no other way: `fence.+7` would be looked for in vain.
        digits.parse().ok().filter(|number: &u64| number.to_string() == digits)
    };
    let mut numbers: Vec<u64> = listed.into_iter().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn claim_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{PREFIX}{number}"))
}

/// A claim as it is now, opened anew, for that is when a network's filesystem looks; `None` if it is gone.
fn read(path: &Path) -> Result<Option<Vec<u8>>, DiskError> {
    let found = fs::metadata(path).and_then(|found| match found.is_file() {
        // A pipe would be waited for.
        false => Ok(b"no file".to_vec()),
        true => {
            let mut bytes = Vec::new();
            File::open(path)?.take(CLAIM_BYTES_MAX).read_to_end(&mut bytes).map(|_| bytes)
        }
    });
    match found {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::StaleNetworkFileHandle) => {
            Ok(None)
        }
        Err(error) => Err(DiskError::on("read", path)(error)),
    }
}

fn is_same_file(one: &Path, other: &Path) -> Result<bool, DiskError> {
    let of = |path: &Path| {
        fs::metadata(path).map(|file| (file.dev(), file.ino())).map_err(DiskError::on("read", path))
    };
    Ok(of(one)? == of(other)?)
}

fn newest_holder(dir: &Path) -> String {
    let newest = numbers(dir).ok().and_then(|numbers| numbers.last().copied());
    let found = newest.and_then(|number| read(&claim_path(dir, number)).ok().flatten());
    found
        .and_then(|found| Claim::parse(&found))
        .map_or_else(|| "another process".to_owned(), |claim| claim.text())
}

/// When a process of this machine began, in ticks since its start; `None` if there is none of this number.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in parentheses, which may hold anything; the 22nd is the one.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Why the directory cannot be had, or is not had any more.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// The filesystem refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Somebody schedules there.
    #[error("job directory {} is in use by {holder}", dir.display())]
    Held {
        /// The guarded directory.
        dir: PathBuf,
        /// `process PID on HOST`, as the holder noted it.
        holder: String,
    },
    /// The newest claim is nothing that this program wrote.
    #[error("{}: is no claim that this version of wakachi understands", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Somebody took it over.
    #[error("job directory {} was taken over by {holder}, for this process was silent for too long", dir.display())]
    Lost {
        /// The guarded directory.
        dir: PathBuf,
        /// `process PID on HOST`, as the new holder noted it.
        holder: String,
    },
}

impl Classified for FenceError {
    fn class(&self) -> Class {
        match self {
            FenceError::Disk(error) => error.class(),
            FenceError::Foreign { .. } => Class::Integrity,
            FenceError::Held { .. } | FenceError::Lost { .. } => Class::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            FenceError::Disk(error) => error.hint(),
            FenceError::Held { holder, .. } => Some(format!("wait for {holder} to end, or stop it")),
            FenceError::Foreign { path } => Some(format!(
                "use the version that wrote it; or, if nobody runs this job on any machine: rm {}",
                path.display()
            )),
            FenceError::Lost { .. } => Some(
                "nothing is to be done here: the job goes on there, with all that was committed".to_owned(),
            ),
        }
    }
}

#[cfg(test)]
mod tests;
