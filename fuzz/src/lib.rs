//! Files for targets whose parsers want one: one path per process, so that processes do not meet.

use std::path::{Path, PathBuf};

/// A path of this process with this ending; set TMPDIR to a memory filesystem for speed.
pub fn path(ending: &str) -> PathBuf {
    std::env::temp_dir().join(format!("wakachi-fuzz-{}.{ending}", std::process::id()))
}

/// Shows the bytes to `parse` as a file.
pub fn on_file(bytes: &[u8], parse: impl FnOnce(&Path)) {
    let path = path("input");
    std::fs::write(&path, bytes).expect("a temporary file");
    parse(&path);
}
