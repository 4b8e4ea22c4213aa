//! Where bytes of a file come from: the file, or for a pipe a thread that reads it.
//!
//! Invariant: a pipe is opened and read whether or not somebody waits for it, up to [`QUEUED`] pieces, so that one who
//! writes to several pipes in turn is not held up by the order in which they are read here.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// Bytes read from a pipe at once, as many as it mostly holds.
const PIECE_BYTES: usize = 1 << 16;

/// Pieces of a pipe that wait here: 16 MiB, farther than anybody who writes to two goes on with one.
const QUEUED: usize = 256;

/// A file being read.
pub(super) enum Source {
    File(File),
    Pipe(Pipe),
}

/// What a thread reads.
pub(super) struct Pipe {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    at: usize,
}

impl Source {
    /// Opens a file, or standard input for `-`.
    pub fn open(path: &Path) -> io::Result<Source> {
        let is_stdin = path.as_os_str() == "-";
        let own = || io::stdin().as_fd().try_clone_to_owned().map(File::from);
        let is_regular = match is_stdin {
            true => own()?.metadata()?.is_file(),
            false => fs::metadata(path)?.is_file(),
        };
        let path = path.to_owned();
        // Opening a pipe waits for who writes to it.
        let open = move || if is_stdin { own() } else { File::open::<PathBuf>(path) };
        if is_regular {
            return open().map(Source::File);
        }
        let (to, pieces) = sync_channel(QUEUED);
        thread::Builder::new().name("pipe".to_owned()).spawn(move || pump(open, &to))?;
        Ok(Source::Pipe(Pipe { pieces, piece: Vec::new(), at: 0 }))
    }
}

/// Reads to the end, or until nobody wants more.
fn pump(open: impl FnOnce() -> io::Result<File>, to: &SyncSender<io::Result<Vec<u8>>>) {
    let mut file = match open() {
        Ok(file) => file,
        Err(error) => return drop(to.send(Err(error))),
    };
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        let read = match file.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read,
        };
        let is_last = read.as_ref().map_or(true, |&bytes| bytes == 0);
        let sent = to.send(read.map(|bytes| {
            piece.truncate(bytes);
            piece
        }));
        if is_last || sent.is_err() {
            return;
        }
    }
}

impl Read for Source {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::File(file) => file.read(bytes),
            Source::Pipe(pipe) => pipe.read(bytes),
        }
    }
}

impl Read for Pipe {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() {
            // Who sends no more has sent all.
            let Ok(piece) = self.pieces.recv() else { return Ok(0) };
            (self.piece, self.at) = (piece?, 0);
        }
        let length = bytes.len().min(self.piece.len() - self.at);
        bytes[..length].copy_from_slice(&self.piece[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}
