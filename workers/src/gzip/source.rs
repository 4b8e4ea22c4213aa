//! Where bytes of a file come from: the file, or for a pipe a thread that reads it ahead.
//!
//! Invariant: a pipe is opened and read whether or not somebody waits for it, up to [`QUEUED_BYTES`], so that one who
//! writes to several pipes in turn is not held up by the order in which they are read here. A pipe has ended where its
//! writers have closed it, and nowhere else: a thread that comes to another end is an error to who reads.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Bytes read from a pipe at once, as many as it mostly holds.
const PIECE_BYTES: usize = 1 << 16;

/// Bytes of a pipe that wait here, farther than anybody who writes to two goes on with one; then its writer waits.
const QUEUED_BYTES: usize = 1 << 24;

/// A file being read.
pub(super) enum Source {
    File(File),
    Pipe(Pipe),
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
        if is_regular { open().map(Source::File) } else { Pipe::open(open).map(Source::Pipe) }
    }

    /// What gives it up, if it may be waited for.
    pub fn release(&self) -> Option<Release> {
        match self {
            Source::File(_) => None,
            Source::Pipe(pipe) => Some(Release(Arc::clone(&pipe.0))),
        }
    }
}

impl Read for Source {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::File(file) => file.read(bytes),
            Source::Pipe(pipe) => pipe.0.take(bytes),
        }
    }
}

/// What a thread reads.
pub(super) struct Pipe(Arc<Queue>);

impl Pipe {
    /// Starts the thread.
    fn open<R: Read>(open: impl FnOnce() -> io::Result<R> + Send + 'static) -> io::Result<Pipe> {
        let queue = Arc::new(Queue::default());
        let pump = Pump(Arc::clone(&queue));
        thread::Builder::new().name("pipe".to_owned()).spawn(move || pump.run(open))?;
        Ok(Pipe(queue))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

/// Ends the wait for a pipe, from any thread.
pub struct Release(Arc<Queue>);

impl Release {
    /// Gives the pipe up: who reads it now or later gets an error, and no more of it is read ahead.
    pub fn give_up(&self) {
        self.0.give_up();
    }
}

/// The end of a queue that a thread fills.
struct Pump(Arc<Queue>);

impl Pump {
    /// Reads to the end, or until nobody wants more.
    fn run<R: Read>(self, open: impl FnOnce() -> io::Result<R>) {
        let end = open().and_then(|mut file| self.fill(&mut file));
        self.0.end(end);
    }

    fn fill(&self, file: &mut impl Read) -> io::Result<()> {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match file.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(bytes) if self.0.put(&piece[..bytes]) => {}
                Ok(_) => return Err(given_up()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        // Counts only if no end was said, as by a panic.
        self.0.end(Err(io::Error::other("the thread that reads it broke off")));
    }
}

/// Bytes on their way from the thread that reads a pipe.
#[derive(Default)]
struct Queue {
    state: Mutex<Queued>,
    changed: Condvar,
}

#[derive(Default)]
struct Queued {
    /// At most [`QUEUED_BYTES`].
    bytes: VecDeque<u8>,
    /// What comes after them, once it is known.
    end: Option<io::Result<()>>,
    /// Whether nobody wants them.
    is_given_up: bool,
}

impl Queue {
    /// Adds a piece as soon as there is room for it; false if nobody wants it.
    fn put(&self, piece: &[u8]) -> bool {
        let full = |state: &mut Queued| !state.is_given_up && state.bytes.len() + piece.len() > QUEUED_BYTES;
        let state = self.changed.wait_while(self.locked(), full);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        if !state.is_given_up {
            state.bytes.extend(piece);
            self.changed.notify_all();
        }
        !state.is_given_up
    }

    /// Takes the next bytes as soon as there are any; 0 at the end.
    fn take(&self, bytes: &mut [u8]) -> io::Result<usize> {
        let empty = |state: &mut Queued| !state.is_given_up && state.bytes.is_empty() && state.end.is_none();
        let state = self.changed.wait_while(self.locked(), empty);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        if state.is_given_up {
            return Err(given_up());
        }
        let Queued { bytes: queued, end, .. } = &mut *state;
        if queued.is_empty()
            && let Some(Err(error)) = end
        {
            // Its kind is left behind, as an error is no end of the file the second time either.
            let kind = error.kind();
            return Err(std::mem::replace(error, kind.into()));
        }
        let taken = queued.read(bytes)?;
        self.changed.notify_all();
        Ok(taken)
    }

    /// Says what comes after the bytes, if that was not said.
    fn end(&self, end: io::Result<()>) {
        self.locked().end.get_or_insert(end);
        self.changed.notify_all();
    }

    fn give_up(&self) {
        let mut state = self.locked();
        state.is_given_up = true;
        state.bytes = VecDeque::new();
        self.changed.notify_all();
    }

    fn locked(&self) -> MutexGuard<'_, Queued> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn given_up() -> io::Error {
    io::Error::other("given up")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Gives pieces of one size for ever, or so many bytes, and says how many it gave.
    struct Writer {
        piece: usize,
        left: usize,
        given: usize,
        said: Sender<usize>,
    }

    impl Read for Writer {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            let length = self.piece.min(self.left).min(bytes.len());
            for (byte, at) in bytes[..length].iter_mut().zip(self.given..) {
                *byte = (at % 251) as u8;
            }
            self.left -= length;
            self.given += length;
            // Nobody may want to know.
            self.said.send(self.given).ok();
            Ok(length)
        }
    }

    fn pipe(piece: usize, left: usize) -> (Pipe, Receiver<usize>) {
        let (said, heard) = channel();
        (Pipe::open(move || Ok(Writer { piece, left, given: 0, said })).unwrap(), heard)
    }

    #[test]
    fn as_many_bytes_are_read_ahead_whatever_the_pieces_and_no_more() {
        for piece in [24, 1000, PIECE_BYTES] {
            let (pipe, heard) = pipe(piece, usize::MAX);
            let mut read = 0;
            for _ in 0..2 {
                while heard.recv_timeout(PATIENCE).unwrap() < read + QUEUED_BYTES {}
                assert!(pipe.0.locked().bytes.len() <= QUEUED_BYTES);
                let mut bytes = vec![0; QUEUED_BYTES / 2];
                let length = pipe.0.take(&mut bytes).unwrap();
                assert!(bytes[..length].iter().zip(read..).all(|(&byte, at)| byte == (at % 251) as u8));
                read += length;
            }
            drop(pipe);
            // It ends, so the other end of what it says is gone.
            while heard.recv_timeout(PATIENCE).is_ok() {}
        }
    }

    #[test]
    fn a_pipe_ends_where_its_writers_say_so() {
        for length in [0, 1, PIECE_BYTES, QUEUED_BYTES + 1] {
            let (mut source, mut bytes) = (Source::Pipe(pipe(1000, length).0), Vec::new());
            assert_eq!(source.read_to_end(&mut bytes).unwrap(), length);
            assert_eq!(source.read(&mut [0]).unwrap(), 0);
        }
    }

    #[test]
    fn a_thread_that_breaks_off_is_no_end_of_the_file() {
        struct Broken(bool);
        impl Read for Broken {
            fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
                assert!(!std::mem::replace(&mut self.0, true), "as is meant here");
                bytes[..4].copy_from_slice(b"ACGT");
                Ok(4)
            }
        }
        let mut source = Source::Pipe(Pipe::open(|| Ok(Broken(false))).unwrap());
        let mut bytes = Vec::new();
        let error = source.read_to_end(&mut bytes).unwrap_err();
        assert!(error.to_string().ends_with("broke off") && bytes == b"ACGT", "{error}");
        assert!(source.read(&mut [0]).is_err());
    }

    #[test]
    fn who_waits_for_a_pipe_that_is_given_up_gets_an_error() {
        let (end_of_silence, silence) = channel::<()>();
        let silent = move || {
            silence.recv().ok();
            Ok(io::empty())
        };
        let mut source = Source::Pipe(Pipe::open(silent).unwrap());
        let release = source.release().unwrap();
        let (said, heard) = channel();
        thread::spawn(move || said.send([source.read(&mut [0]).is_err(), source.read(&mut [0]).is_err()]));
        release.give_up();
        assert_eq!(heard.recv_timeout(PATIENCE), Ok([true, true]));
        drop(end_of_silence);
    }
}
