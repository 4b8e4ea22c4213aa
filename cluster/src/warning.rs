//! The signal by which batch systems say that time is nearly up: SIGUSR1.

use std::{io, thread};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// From now on a SIGUSR1 calls `heard` instead of ending the process.
pub fn on_warning(heard: impl Fn() + Send + 'static) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let mut signals = {
        let _inside = runtime.enter();
        signal(SignalKind::user_defined1())?
    };
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            while signals.recv().await.is_some() {
                heard();
            }
        });
    })?;
    Ok(())
}
