//! What Ctrl-C, SIGTERM and SIGHUP do: in a job the first asks for an orderly stop and the second ends the program at
//! once, and SIGUSR1, a batch system's warning, only asks; a filter ends at once and takes its scratch with it.

use crate::output::note;
use jobs::failure::Class;
use rustix::process::{Pid, Signal, kill_process};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;
use storage::AtomicFile;

static STOP: AtomicBool = AtomicBool::new(false);
static INSTALLED: OnceLock<()> = OnceLock::new();
/// The child that is waited for; 0 for none.
static CHILD: AtomicU32 = AtomicU32::new(0);

/// The flag that the first interrupt sets.
pub fn flag() -> &'static AtomicBool {
    INSTALLED.get_or_init(|| {
        let handler = || {
            if STOP.swap(true, Ordering::SeqCst) {
                std::process::exit(i32::from(Class::Interrupted.exit_code()));
            }
            note("\nstopping: what runs ends, or is cut at the next grid line; once more to stop at once");
        };
        // Without a handler an interrupt ends the program at once, which the journal survives too.
        let _ = ctrlc::set_handler(handler);
        let warned = || {
            if !STOP.swap(true, Ordering::SeqCst) {
                note("\nstopping in time, as the batch system warns; what is done is kept");
            }
        };
        let _ = cluster::warning::on_warning(warned);
    });
    &STOP
}

/// The flag for a process that another one speaks for: whatever signal asks it to stop sets it, and does nothing else.
pub fn quiet_flag() -> &'static AtomicBool {
    INSTALLED.get_or_init(|| {
        let _ = ctrlc::set_handler(|| STOP.store(true, Ordering::SeqCst));
        let _ = cluster::warning::on_warning(|| STOP.store(true, Ordering::SeqCst));
    });
    &STOP
}

/// Sets the flag after this time, as the first interrupt does.
pub fn stop_after(time: Duration) {
    flag();
    thread::spawn(move || {
        thread::sleep(time);
        if !STOP.swap(true, Ordering::SeqCst) {
            note("stopping, as the time that was given is over");
        }
    });
}

/// Temporary files and directories that an interrupt removes before it ends the program.
static SCRATCH: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// As [`end_at_once`], and `scratch` goes with it.
pub fn remove_at_end(scratch: &Path) {
    SCRATCH.lock().unwrap_or_else(PoisonError::into_inner).push(scratch.to_owned());
    end_at_once();
}

/// From now on an interrupt ends the program at once, and leaves no half of a file.
pub fn end_at_once() {
    INSTALLED.get_or_init(|| {
        let handler = || {
            AtomicFile::remove_begun();
            for scratch in SCRATCH.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                let _ = std::fs::remove_file(scratch).or_else(|_| std::fs::remove_dir_all(scratch));
            }
            std::process::exit(i32::from(Class::Interrupted.exit_code()));
        };
        // Without a handler an interrupt ends the program and leaves them.
        let _ = ctrlc::set_handler(handler);
    });
}

/// Waits for a child in a process group of its own, which gets every interrupt of this process. Between children an
/// interrupt ends the program at once.
pub fn wait(child: &mut Child) -> io::Result<ExitStatus> {
    CHILD.store(child.id(), Ordering::SeqCst);
    INSTALLED.get_or_init(|| {
        let handler = || match Pid::from_raw(CHILD.load(Ordering::SeqCst) as i32) {
            Some(child) => drop(kill_process(child, Signal::INT)),
            None => std::process::exit(i32::from(Class::Interrupted.exit_code())),
        };
        // Without a handler an interrupt ends this process, and the child ends by itself.
        let _ = ctrlc::set_handler(handler);
    });
    let status = child.wait();
    CHILD.store(0, Ordering::SeqCst);
    status
}
