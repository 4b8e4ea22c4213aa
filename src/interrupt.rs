//! What Ctrl-C does: the first asks for an orderly stop, the second ends the program at once.

use crate::output::note;
use jobs::failure::Class;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

static STOP: AtomicBool = AtomicBool::new(false);
static INSTALLED: OnceLock<()> = OnceLock::new();

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
