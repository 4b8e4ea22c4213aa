//! Files mapped into memory.
#![allow(unsafe_code, reason = "a memory map is unsafe: another process may change the file under it")]

use memmap2::Mmap;
use std::fs::File;
use std::io;
use std::path::Path;

/// Maps a whole file for reading. Index files are written under another name and renamed when complete, so a file that
/// has its final name is not written to by wakachi any more.
pub fn map(path: &Path) -> io::Result<Mmap> {
    let file = File::open(path)?;
    // SAFETY: the map is read-only. Should another program change or truncate the file while it is mapped, reads may
    // see changed bytes or raise SIGBUS; whoever owns the reference's directory guarantees that this does not happen.
    unsafe { Mmap::map(&file) }
}
