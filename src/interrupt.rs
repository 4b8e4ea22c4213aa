//! What Ctrl-C does: the first asks for an orderly stop, the second ends the program at once.

use crate::output::note;
use jobs::failure::Class;
use rustix::process::{Pid, Signal, kill_process};
use std::io;
use std::process::{Child, ExitStatus};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

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
            note("\nstopping when the tasks in flight are done; once more to stop at once");
        };
        // Without a handler an interrupt ends the program at once, which the journal survives too.
        let _ = ctrlc::set_handler(handler);
    });
    &STOP
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
