//! The reads of a lane through all threads of the pool, in order.
//!
//! Reading, inflating, cutting, mapping and writing are steps of one stream; each thread takes whatever step can be
//! taken, those first that only one thread can do, so that none waits while there is work, and one thread does the
//! same as many. Invariant: results come in the order of the reads, and so does the first error; at most
//! [`AHEAD`] batches a thread, and as much of each file, are in memory, beside those put back. Who fails does not wait for
//! a pipe that another thread reads. Knows nothing of what is done with reads.

use crate::fastq::{Chunk, Cutter, FastqError, Files, Pairs};
use crate::gzip::{Blocks, GzipError, Piece, Pieces, Release};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Batches that each thread may be ahead of what was given out, and chunks and pieces ahead of what was mapped.
const AHEAD: usize = 2;

/// The chunks of a lane's files with one number.
#[derive(Debug)]
pub struct Batch {
    number: u64,
    /// The ordinal of its first template.
    first: u64,
    chunks: [Option<Chunk>; 2],
}

impl Batch {
    /// The ordinal of its first template.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Replaces `pairs` by the batch's.
    pub fn parse(&self, files: &Files<'_>, pairs: &mut Pairs) -> Result<(), FastqError> {
        files.parse(self.number, self.chunks.each_ref().map(Option::as_ref), pairs)
    }
}

/// A lane that is being read.
pub struct Stream {
    flows: Vec<Flow>,
    /// Batches that were given back, to come again before all others.
    returned: VecDeque<Batch>,
    /// The number of the next new batch.
    number: u64,
    /// Templates of a whole batch.
    templates: u64,
}

impl Stream {
    /// Opens the files.
    pub fn open(files: &Files<'_>) -> Result<Stream, FastqError> {
        let paths = [Some(files.first), files.second];
        let flows = paths.into_iter().flatten().map(|path| Ok(Flow::new(Pieces::open(path)?)));
        Ok(Stream {
            flows: flows.collect::<Result<_, GzipError>>()?,
            returned: VecDeque::new(),
            number: 0,
            templates: files.templates(),
        })
    }

    /// Gives back the batches that were handed out last, all of them, to be handed out again.
    pub fn put_back(&mut self, batches: Vec<Batch>) {
        self.returned.extend(batches);
    }

    /// Hands out the next `count` batches, or those that are left, to `work` on all threads, each with a scratch of its
    /// own, and `give`s what comes of them, in order. Says how many there were. Whose read of a pipe has begun by then is
    /// waited for, as the next run would; whoever fails waits for none.
    pub fn run<S, T: Send, E: Send + From<FastqError>>(
        &mut self,
        count: u64,
        scratch: impl Fn() -> S + Sync,
        work: impl Fn(&mut S, Batch) -> Result<T, E> + Sync,
        give: impl FnMut(T) -> Result<(), E> + Send,
    ) -> Result<u64, E> {
        let threads = rayon::current_num_threads();
        let state = State {
            stream: self,
            ahead: AHEAD * threads,
            count,
            taken: 0,
            done: BTreeMap::new(),
            given: 0,
            give: Some(give),
            is_over: false,
            failed: None,
        };
        let shared = Shared { state: Mutex::new(state), changed: Condvar::new() };
        rayon::broadcast(|_| shared.serve(&scratch, &work));
        let state = shared.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        state.failed.map_or(Ok(state.given), Err)
    }
}

/// A file's way from bytes to chunks. Pieces have numbers, as they are inflated in any order.
struct Flow {
    /// Absent while a thread reads, and after the end.
    pieces: Option<Box<Pieces>>,
    /// Calls that thread back from a pipe.
    release: Option<Release>,
    read: u64,
    /// How many pieces there are, once that is known.
    end: Option<u64>,
    blocks: VecDeque<(u64, Blocks)>,
    texts: BTreeMap<u64, Result<Vec<u8>, GzipError>>,
    /// Absent while a thread cuts, and after the last text.
    cutter: Option<Cutter>,
    cut: u64,
    chunks: VecDeque<Result<Chunk, GzipError>>,
    /// Whether no more chunks come.
    is_cut: bool,
}

impl Flow {
    fn new(pieces: Pieces) -> Flow {
        Flow {
            release: pieces.release(),
            pieces: Some(Box::new(pieces)),
            read: 0,
            end: None,
            blocks: VecDeque::new(),
            texts: BTreeMap::new(),
            cutter: Some(Cutter::default()),
            cut: 0,
            chunks: VecDeque::new(),
            is_cut: false,
        }
    }

    /// The next step that this file can take, before more than `ahead` chunks of it wait.
    fn step(&mut self, ahead: usize) -> Option<Step> {
        if self.chunks.len() < ahead && self.cutter.is_some() {
            if self.end == Some(self.cut) {
                self.chunks.extend(self.cutter.take().and_then(Cutter::finish).map(Ok));
                self.is_cut = true;
            } else if let Some(text) = self.texts.remove(&self.cut) {
                return Some(Step::Cut(self.cutter.take()?, text));
            }
        }
        if let Some((number, blocks)) = self.blocks.pop_front() {
            return Some(Step::Inflate(number, blocks));
        }
        let is_wanted = self.chunks.len() < ahead && self.read - self.cut < ahead as u64;
        self.pieces.take_if(|_| is_wanted).map(Step::Read)
    }

    /// Whether what comes next is what is wrong with the file.
    fn is_damaged(&self) -> bool {
        self.chunks.front().is_some_and(Result::is_err)
    }

    fn finish(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Read(pieces, Ok(Some(piece))) => {
                match piece {
                    Piece::Text(text) => drop(self.texts.insert(self.read, Ok(text))),
                    Piece::Blocks(blocks) => self.blocks.push_back((self.read, blocks)),
                }
                self.read += 1;
                self.pieces = Some(pieces);
            }
            Outcome::Read(_, Ok(None)) => self.end = Some(self.read),
            Outcome::Read(_, Err(error)) => {
                self.texts.insert(self.read, Err(error));
                self.read += 1;
            }
            Outcome::Inflated(number, text) => drop(self.texts.insert(number, text)),
            Outcome::Cut(cutter, chunks) => {
                self.cut += 1;
                match cutter {
                    Ok(cutter) => {
                        self.chunks.extend(chunks.into_iter().map(Ok));
                        self.cutter = Some(cutter);
                    }
                    Err(error) => {
                        self.chunks.push_back(Err(error));
                        self.is_cut = true;
                    }
                }
            }
        }
    }
}

/// What a thread does for a file.
enum Step {
    Read(Box<Pieces>),
    Inflate(u64, Blocks),
    Cut(Cutter, Result<Vec<u8>, GzipError>),
}

/// What came of it.
enum Outcome {
    Read(Box<Pieces>, Result<Option<Piece>, GzipError>),
    Inflated(u64, Result<Vec<u8>, GzipError>),
    Cut(Result<Cutter, GzipError>, Vec<Chunk>),
}

impl Step {
    fn take(self) -> Outcome {
        match self {
            Step::Read(mut pieces) => {
                let piece = pieces.read();
                Outcome::Read(pieces, piece)
            }
            Step::Inflate(number, blocks) => Outcome::Inflated(number, blocks.inflate()),
            Step::Cut(mut cutter, text) => {
                let mut chunks = Vec::new();
                let cut = text.map(|text| cutter.add(&text, |chunk| chunks.push(chunk)));
                Outcome::Cut(cut.map(|()| cutter), chunks)
            }
        }
    }
}

/// What a thread does.
enum Job<T, G> {
    Give(G, T),
    File(usize, Step),
    Work(u64, Batch),
}

struct State<'s, T, E, G> {
    stream: &'s mut Stream,
    ahead: usize,
    /// Batches wanted.
    count: u64,
    /// Batches handed out.
    taken: u64,
    done: BTreeMap<u64, Result<T, E>>,
    /// Results given out.
    given: u64,
    /// Absent while a thread gives.
    give: Option<G>,
    is_over: bool,
    failed: Option<E>,
}

impl<T, E, G> State<'_, T, E, G> {
    /// Ends all, and what a thread may wait for: it comes back with an error that nobody sees.
    fn fail(&mut self, error: Option<E>) {
        self.failed = error;
        self.is_over = true;
        self.stream.flows.iter().filter_map(|flow| flow.release.as_ref()).for_each(Release::give_up);
    }
}

impl<T, E: From<FastqError>, G> State<'_, T, E, G> {
    /// What can be done now, the steps first that only one thread can do.
    fn job(&mut self) -> Option<Job<T, G>> {
        if self.is_over {
            return None;
        }
        if self.give.is_some() {
            match self.done.remove(&self.given) {
                Some(Ok(result)) => return Some(Job::Give(self.give.take()?, result)),
                Some(Err(error)) => {
                    self.fail(Some(error));
                    return None;
                }
                None => {}
            }
        }
        // Where the first file is damaged, nobody waits for the second, and nobody for what this run does not want.
        let is_damaged = self.stream.flows.first().is_some_and(Flow::is_damaged);
        let is_wanted = !is_damaged && self.taken < self.count;
        let flows = self.stream.flows.iter_mut().enumerate();
        for (file, flow) in flows.filter(|_| is_wanted) {
            if let Some(step) = flow.step(self.ahead) {
                return Some(Job::File(file, step));
            }
        }
        if self.taken < self.count && self.taken - self.given < self.ahead as u64 {
            match self.stream.batch() {
                Some(Ok(batch)) => {
                    self.taken += 1;
                    return Some(Job::Work(self.taken - 1, batch));
                }
                Some(Err(error)) => {
                    self.done.insert(self.taken, Err(FastqError::from(error).into()));
                    // Nothing after it counts.
                    (self.taken, self.count) = (self.taken + 1, self.taken + 1);
                    return self.job();
                }
                None => {}
            }
        }
        let is_read = self.taken == self.count || self.stream.has_ended();
        self.is_over = is_read && self.given == self.taken;
        None
    }
}

impl Stream {
    /// The next batch; `None` as long as a chunk of it is missing, and at the end.
    fn batch(&mut self) -> Option<Result<Batch, GzipError>> {
        if let Some(batch) = self.returned.pop_front() {
            return Some(Ok(batch));
        }
        let is_there = |flow: &Flow| flow.is_cut || !flow.chunks.is_empty();
        let is_damaged = self.flows.first().is_some_and(Flow::is_damaged);
        if self.has_ended() || !is_damaged && !self.flows.iter().all(is_there) {
            return None;
        }
        let mut chunks = [None, None];
        for (chunk, flow) in chunks.iter_mut().zip(&mut self.flows) {
            match flow.chunks.pop_front().transpose() {
                Ok(next) => *chunk = next,
                Err(error) => return Some(Err(error)),
            }
        }
        self.number += 1;
        let number = self.number - 1;
        Some(Ok(Batch { number, first: number * self.templates, chunks }))
    }

    fn has_ended(&self) -> bool {
        self.returned.is_empty() && self.flows.iter().all(|flow| flow.is_cut && flow.chunks.is_empty())
    }
}

struct Shared<'s, T, E, G> {
    state: Mutex<State<'s, T, E, G>>,
    changed: Condvar,
}

impl<'s, T, E: From<FastqError>, G: FnMut(T) -> Result<(), E>> Shared<'s, T, E, G> {
    /// Does one job after the other until all is over.
    fn serve<S>(&self, scratch: &impl Fn() -> S, work: &impl Fn(&mut S, Batch) -> Result<T, E>) {
        let _end = EndOfPanic(self);
        let mut scratch = scratch();
        let mut state = self.locked();
        loop {
            let Some(job) = state.job() else {
                if state.is_over {
                    self.changed.notify_all();
                    return;
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            // There may be more than one.
            self.changed.notify_one();
            drop(state);
            match job {
                Job::Give(mut give, result) => {
                    let given = give(result);
                    state = self.locked();
                    state.given += 1;
                    state.give = Some(give);
                    if let Err(error) = given {
                        state.fail(Some(error));
                    }
                }
                Job::File(file, step) => {
                    let outcome = step.take();
                    state = self.locked();
                    state.stream.flows[file].finish(outcome);
                }
                Job::Work(at, batch) => {
                    let result = work(&mut scratch, batch);
                    state = self.locked();
                    state.done.insert(at, result);
                }
            }
        }
    }

    fn locked(&self) -> MutexGuard<'_, State<'s, T, E, G>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the others if a thread panics, as they would wait for it.
struct EndOfPanic<'a, 's, T, E, G>(&'a Shared<'s, T, E, G>);

impl<T, E, G> Drop for EndOfPanic<'_, '_, T, E, G> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.state.lock().unwrap_or_else(PoisonError::into_inner).fail(None);
            self.0.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vcf::compress_cell;
    use std::fs::File;
    use std::io::Write;
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicU64, Ordering};

    fn fastq(records: usize, mate: u8) -> Vec<u8> {
        (0..records).flat_map(|at| format!("@r{at}/{mate}\nACGT\n+\nIIII\n").into_bytes()).collect()
    }

    /// The names that come out on so many threads, or the first error.
    fn names(threads: usize, files: &Files<'_>, learned: u64) -> Result<Vec<u8>, String> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut stream = Stream::open(files)?;
            let mut seen = Vec::new();
            let keep = |batch| {
                seen.push(batch);
                Ok::<_, FastqError>(())
            };
            stream.run(learned, || (), |(), batch| Ok::<_, FastqError>(batch), keep)?;
            stream.put_back(seen);
            let mut out = Vec::new();
            let work = |pairs: &mut Pairs, batch: Batch| {
                batch.parse(files, pairs)?;
                // Those that are late have to be waited for.
                (0..batch.number % 3).for_each(|_| thread::yield_now());
                let names = (0..pairs.first.len()).flat_map(|at| pairs.first.name(at).to_vec());
                Ok::<Vec<u8>, FastqError>(names.collect())
            };
            let give = |names: Vec<u8>| {
                out.extend(names);
                Ok(())
            };
            stream.run(u64::MAX, Pairs::default, work, give)?;
            Ok(out)
        })
        .map_err(|error: FastqError| error.to_string())
    }

    #[test]
    fn reads_come_in_order_on_any_number_of_threads_and_so_does_the_first_error() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        const RECORDS: usize = 9_500;
        let text = [fastq(RECORDS, 1), fastq(RECORDS, 2)];
        let plain = write("r1.fq", &text[0]);
        let bgzf = write("r2.fq.gz", &compress_cell(&text[1]));
        let short = write("r2.short.fq", &fastq(5_000, 2));
        let mut spoilt = text[1].clone();
        let at = memchr::memmem::find(&spoilt[text[1].len() / 2..], b"ACGT").unwrap() + text[1].len() / 2;
        spoilt[at] = b',';
        let spoilt = write("r2.spoilt.fq", &spoilt);
        let mut damaged = compress_cell(&text[1]);
        let at = damaged.len() / 2;
        damaged[at] ^= 1;
        let damaged = write("r2.damaged.fq.gz", &damaged);
        let whole = compress_cell(&text[1]);
        let cut_bgzf = write("r2.cut.bgzf.gz", &whole[..whole.len() * 2 / 3]);
        let mut gzip = libdeflater::Compressor::new(libdeflater::CompressionLvl::fastest());
        let mut whole = vec![0; gzip.gzip_compress_bound(text[1].len())];
        let length = gzip.gzip_compress(&text[1], &mut whole).unwrap();
        let cut_gzip = write("r2.cut.fq.gz", &whole[..length * 2 / 3]);
        let empty = write("r2.empty.fq", b"");
        let all: Vec<u8> = (0..RECORDS).flat_map(|at| format!("r{at}").into_bytes()).collect();
        let check = |second: Option<&Path>, expect: Result<&[u8], &str>| {
            let files = Files { first: &plain, second, interleaved: false };
            for threads in [1, 2, 3, 8] {
                for learned in [0, 3, 100] {
                    let names = names(threads, &files, learned);
                    match (&names, expect) {
                        (Ok(names), Ok(expect)) => assert!(names == expect),
                        (Err(error), Err(expect)) => assert!(error.contains(expect), "{error}"),
                        _ => panic!("{second:?}: {:?}", names.map(|names| names.len())),
                    }
                }
            }
        };
        check(None, Ok(&all));
        check(Some(&bgzf), Ok(&all));
        check(Some(&short), Err("r2.short.fq ends after 5000 records"));
        check(Some(&empty), Err("r2.empty.fq ends after 0 records"));
        check(Some(&spoilt), Err("expected bases, found ',' in column 1"));
        check(Some(&damaged), Err("r2.damaged.fq.gz: damaged at byte "));
        check(Some(&cut_bgzf), Err("r2.cut.bgzf.gz: "));
        check(Some(&cut_gzip), Err("r2.cut.fq.gz: "));
    }

    /// What comes of something that would wait for ever if it went wrong.
    fn within<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
        let (said, heard) = std::sync::mpsc::channel();
        thread::spawn(move || said.send(run()));
        heard.recv_timeout(std::time::Duration::from_secs(60)).expect("an end")
    }

    /// The names in two files, which may be pipes.
    fn names_of(threads: usize, [first, second]: &[PathBuf; 2], learned: u64) -> Result<Vec<u8>, String> {
        let (first, second) = (first.clone(), second.clone());
        within(move || {
            let files = Files { first: &first, second: Some(&second), interleaved: false };
            names(threads, &files, learned)
        })
    }

    fn make_pipes(paths: &[PathBuf]) {
        assert!(std::process::Command::new("mkfifo").args(paths).status().unwrap().success());
    }

    /// A writer that a pipe has from now on, whether or not somebody reads it.
    fn writer_of(path: &Path) -> File {
        File::options().read(true).write(true).open(path).unwrap()
    }

    #[test]
    fn pipes_of_one_writer_who_alternates_are_read_in_step() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["r1.fq", "r2.fq"].map(|name| dir.path().join(name));
        make_pipes(&paths);
        let texts = [fastq(100_000, 1), fastq(100_000, 2)];
        let all: Vec<u8> = (0..100_000).flat_map(|at| format!("r{at}").into_bytes()).collect();
        // In pieces that no pipe holds, the second file first; and one after the other as far as is kept for them, at
        // once and a few bytes at a time.
        for (part, write_bytes) in [(1 << 18, 1 << 18), (usize::MAX, usize::MAX), (usize::MAX, 40)] {
            for threads in [1, 3] {
                let (texts, [path_1, path_2]) = (texts.clone(), paths.clone());
                let writer = thread::spawn(move || {
                    let open = |path| File::options().write(true).open(path).unwrap();
                    let (mut second, mut first) = (open(path_2), open(path_1));
                    let part = part.min(texts[0].len());
                    for (text_1, text_2) in texts[0].chunks(part).zip(texts[1].chunks(part)) {
                        text_2.chunks(write_bytes).for_each(|bytes| second.write_all(bytes).unwrap());
                        text_1.chunks(write_bytes).for_each(|bytes| first.write_all(bytes).unwrap());
                    }
                });
                assert!(names_of(threads, &paths, 3).unwrap() == all);
                writer.join().unwrap();
            }
        }
    }

    #[test]
    fn damage_of_the_first_file_does_not_wait_for_a_silent_second() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["r1.fq.gz", "r2.fq"].map(|name| dir.path().join(name));
        make_pipes(&paths[1..]);
        // At once, and when another thread has long begun to wait.
        let mut late = vec![0; 1 << 20];
        let mut gzip = libdeflater::Compressor::new(libdeflater::CompressionLvl::fastest());
        let length = gzip.gzip_compress(&vec![b'A'; 400_000], &mut late).unwrap();
        late[length - 8] ^= 1;
        for _ in 0..10 {
            for (bytes, is_open) in [(&b"\x1f\x8bno gzip"[..], false), (&late[..length], true)] {
                std::fs::write(&paths[0], bytes).unwrap();
                // Without a writer, and with one who writes nothing.
                let _writer = is_open.then(|| writer_of(&paths[1]));
                for (threads, learned) in [(1, 0), (3, 0), (3, 3)] {
                    let error = names_of(threads, &paths, learned).unwrap_err();
                    assert!(error.contains("r1.fq.gz: damaged at byte"), "{error}");
                }
            }
        }
    }

    #[test]
    fn who_fails_or_panics_does_not_wait_for_a_silent_pipe() {
        let text = fastq(60_000, 1);
        // Of the second file there is one piece, and a thread waits for the next while the last batches are given out.
        let piece = &text[..1 << 19];
        let last = memchr::memchr_iter(b'\n', piece).count() as u64 / 4 / crate::fastq::CHUNK_RECORDS - 1;
        for is_panic in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let [first, second] = ["r1.fq", "r2.fq"].map(|name| dir.path().join(name));
            make_pipes(std::slice::from_ref(&second));
            std::fs::write(&first, &text).unwrap();
            let (mut writer, piece) = (writer_of(&second), piece.to_vec());
            let writer = thread::spawn(move || writer.write_all(&piece).map(|()| writer));
            let give = move |batch: Batch| {
                assert!(!is_panic || batch.number < last, "as is meant here");
                let error = GzipError::SeekPoint { path: "full".into() };
                if batch.number < last { Ok(()) } else { Err(error.into()) }
            };
            let ended = within(move || {
                let files = Files { first: &first, second: Some(&second), interleaved: false };
                let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
                let run = || Stream::open(&files)?.run(u64::MAX, || (), |(), batch| Ok(batch), give);
                let run = || pool.install(run).map_err(|error: FastqError| error.to_string());
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(run))
            });
            assert_eq!(ended.is_err(), is_panic);
            assert!(ended.is_err() || ended.is_ok_and(|ended| ended.unwrap_err().starts_with("full")));
            drop(writer.join());
        }
    }

    #[test]
    fn pairs_in_one_file_are_those_of_two() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pairs.fq");
        let pairs = |count: usize| -> Vec<u8> {
            let mate = |at, mate| format!("@r{at}/{mate}\nACGT\n+\nIIII\n");
            (0..count).flat_map(|at| (mate(at, 1) + &mate(at, 2)).into_bytes()).collect()
        };
        let check = |text: &[u8], expect: Result<&[u8], &str>| {
            std::fs::write(&path, text).unwrap();
            let files = Files { first: &path, second: None, interleaved: true };
            for threads in [1, 3] {
                match (names(threads, &files, 3), expect) {
                    (Ok(names), Ok(expect)) => assert!(names == expect),
                    (Err(error), Err(expect)) => assert!(error.contains(expect), "{error}"),
                    (names, _) => panic!("{:?}", names.map(|names| names.len())),
                }
            }
        };
        let all: Vec<u8> = (0..3000).flat_map(|at| format!("r{at}").into_bytes()).collect();
        check(&pairs(3000), Ok(&all));
        check(b"", Ok(b""));
        let odd = [&pairs(700)[..], b"@r700/1\nA\n+\nI\n"].concat();
        check(&odd, Err("ends after 1401 records, before the mate of the last"));
        let shifted = [b"@x\nA\n+\nI\n", &pairs(10)[..]].concat();
        check(&shifted, Err("pairs.fq line 5: expected the mate of 'x', found 'r0'"));
        let late = [&pairs(600)[..], b"@x\nA\n+\nI\n", &pairs(10)[..]].concat();
        check(&late, Err("pairs.fq line 4805: expected the mate of 'x', found 'r0'"));
    }

    #[test]
    fn who_fails_or_panics_ends_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.fq");
        std::fs::write(&path, fastq(20_000, 1)).unwrap();
        let files = Files { first: &path, second: None, interleaved: false };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
        let given = AtomicU64::new(0);
        let ended: Result<u64, FastqError> = pool.install(|| {
            Stream::open(&files)?.run(
                u64::MAX,
                || (),
                |(), batch| Ok(batch),
                |batch| {
                    given.fetch_add(1, Ordering::Relaxed);
                    let error = GzipError::SeekPoint { path: "full".into() };
                    if batch.number == 7 { Err(error.into()) } else { Ok(()) }
                },
            )
        });
        assert!(ended.unwrap_err().to_string().starts_with("full"));
        assert_eq!(given.into_inner(), 8);
        let work = |(): &mut (), batch: Batch| {
            assert!(batch.number < 5, "as is meant here");
            Ok::<_, FastqError>(batch)
        };
        let run = || Stream::open(&files)?.run(u64::MAX, || (), work, |_| Ok::<_, FastqError>(()));
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pool.install(run)));
        assert!(caught.is_err());
    }
}
