//! What changes files, one operation at a time: the seam at which a test lets a machine crash.
//!
//! Invariant: every change that sealing makes at sites, in ledgers and in the vault's folder goes through a
//! [`Device`]; a device that fails at any of them shows what a crash there would leave.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Changes to a filesystem; by default the system's own.
pub trait Device: std::fmt::Debug + Send + Sync {
    /// Makes one folder in a folder that exists.
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    /// Makes a file, or empties the one of that name.
    fn create(&self, path: &Path) -> io::Result<File> {
        File::create(path)
    }

    /// Appends all the bytes.
    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    /// Brings a file, or the names in a folder, to the medium.
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    /// Gives a file another name in its folder, replacing what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    /// Removes an empty folder.
    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }
}

/// The system itself.
#[derive(Clone, Copy, Debug)]
pub struct RealDevice;

impl Device for RealDevice {}
