//! FASTQ text cut where records begin, so that many threads can parse it.
//!
//! Invariant: parsed chunk by chunk, a lane gives the pairs, and the first error, that [`PairReader`](super::PairReader)
//! finds. Only lines are counted here; what stands in them is looked at when a chunk is parsed.

use super::{
    FastqError, Pairs, Problem, RECORD_BYTES_MAX, Reads, is_in_step, last_names, out_of_step, unequal,
};
use std::path::{Path, PathBuf};

/// Records in a chunk; fewer only in a file's last.
pub const CHUNK_RECORDS: u64 = 1024;

const CHUNK_LINES: usize = 4 * CHUNK_RECORDS as usize;

/// Consecutive records of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Chunk {
    text: Vec<u8>,
    /// Whether it holds the rest of the file.
    is_last: bool,
}

/// Cuts the text of a file into chunks.
#[derive(Debug, Default)]
pub struct Cutter {
    text: Vec<u8>,
    /// How much of it was searched for line ends, and how many there were.
    searched: usize,
    lines: usize,
    /// Where the last whole record found in it ends.
    whole: usize,
}

impl Cutter {
    /// Adds text, and gives out the chunks that are whole with it.
    pub fn add(&mut self, text: &[u8], mut give: impl FnMut(Chunk)) {
        self.text.extend_from_slice(text);
        loop {
            while self.lines < CHUNK_LINES {
                let Some(length) = memchr::memchr(b'\n', &self.text[self.searched..]) else {
                    self.searched = self.text.len();
                    break;
                };
                self.searched += length + 1;
                self.lines += 1;
                if self.lines.is_multiple_of(4) {
                    self.whole = self.searched;
                }
            }
            // Blank lines are no record if nothing else follows; a record without end is refused when it is parsed.
            let is_cut = self.lines == CHUNK_LINES && !is_blank(&self.text[self.searched..]);
            if !is_cut && self.text.len() - self.whole <= RECORD_BYTES_MAX {
                return;
            }
            // In a buffer of its length: chunks wait.
            let text = self.text[..self.searched].to_vec();
            self.text.drain(..self.searched);
            (self.searched, self.lines, self.whole) = (0, 0, 0);
            give(Chunk { text, is_last: false });
        }
    }

    /// What is left at the end of the file.
    pub fn finish(self) -> Option<Chunk> {
        (!self.text.is_empty()).then_some(Chunk { text: self.text, is_last: true })
    }
}

fn is_blank(text: &[u8]) -> bool {
    text.iter().all(|byte| matches!(byte, b'\n' | b'\r'))
}

/// The files of a lane.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    /// Of first reads, or of single ones.
    pub first: &'a Path,
    /// Of second reads.
    pub second: Option<&'a Path>,
    /// Whether the one file holds the reads of each pair one after the other.
    pub interleaved: bool,
}

impl Files<'_> {
    /// Whether templates are pairs.
    pub fn are_paired(&self) -> bool {
        self.interleaved || self.second.is_some()
    }

    /// Templates of a whole chunk.
    pub fn templates(&self) -> u64 {
        CHUNK_RECORDS / if self.interleaved { 2 } else { 1 }
    }

    /// Replaces `pairs` by those of the lane's chunks with this number, from 0. A chunk is missing where its file ended
    /// before.
    pub fn parse(
        &self,
        number: u64,
        chunks: [Option<&Chunk>; 2],
        pairs: &mut Pairs,
    ) -> Result<(), FastqError> {
        pairs.clear();
        if self.interleaved {
            return self.parse_interleaved(Records::new(chunks[0], number * CHUNK_RECORDS), pairs);
        }
        let [mut first, mut second] = chunks.map(|chunk| Records::new(chunk, number * CHUNK_RECORDS));
        loop {
            let more = first.read(self.first, &mut pairs.first)?;
            match self.second.map(|path| second.read(path, &mut pairs.second)).transpose()? {
                None | Some(true) if more => {}
                None | Some(false) if !more => return Ok(()),
                _ => return Err(unequal(self.paths(), more, first.records - u64::from(more))),
            }
            if self.second.is_some() && !is_in_step(pairs) {
                return Err(out_of_step(self.paths(), pairs, first.records - 1));
            }
        }
    }

    fn parse_interleaved(&self, mut records: Records<'_>, pairs: &mut Pairs) -> Result<(), FastqError> {
        while records.read(self.first, &mut pairs.first)? {
            let path = || self.first.to_owned();
            if !records.read(self.first, &mut pairs.second)? {
                return Err(FastqError::Mateless { path: path(), records: records.records });
            }
            if !is_in_step(pairs) {
                let [name_1, name_2] =
                    last_names(pairs).map(|name| String::from_utf8_lossy(name).into_owned());
                let line = 4 * (records.records - 1) + 1;
                return Err(FastqError::NoMate { path: path(), line, name_1, name_2 });
            }
        }
        Ok(())
    }

    fn paths(&self) -> [PathBuf; 2] {
        [self.first, self.second.unwrap_or(Path::new(""))].map(Path::to_owned)
    }
}

/// The records of a chunk.
struct Records<'a> {
    text: &'a [u8],
    is_last: bool,
    /// Those read, and those of the chunks before.
    records: u64,
}

impl<'a> Records<'a> {
    fn new(chunk: Option<&'a Chunk>, records: u64) -> Self {
        chunk.map_or(Records { text: &[], is_last: true, records }, |chunk| Records {
            text: &chunk.text,
            is_last: chunk.is_last,
            records,
        })
    }

    /// Adds the next record; false, and nothing added, at the chunk's end.
    fn read(&mut self, path: &Path, reads: &mut Reads) -> Result<bool, FastqError> {
        if self.text.is_empty() || self.is_last && is_blank(self.text) {
            return Ok(false);
        }
        let refuse = |line, problem| {
            let line = 4 * self.records + line + 1;
            FastqError::Record { path: path.to_owned(), line, problem }
        };
        let parsed = reads.parse(self.text, self.is_last).map_err(|(line, problem)| refuse(line, problem))?;
        let length = parsed.ok_or_else(|| refuse(0, Problem::Long))?;
        self.text = &self.text[length..];
        self.records += 1;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::super::PairReader;
    use super::*;

    /// What the chunks of one or two texts, added in parts of some bytes, are parsed to.
    fn chunked(texts: &[&[u8]], files: &Files<'_>, part: usize) -> Result<Pairs, String> {
        let cut = |text: &&[u8]| {
            let (mut cutter, mut chunks) = (Cutter::default(), Vec::new());
            text.chunks(part).for_each(|part| cutter.add(part, |chunk| chunks.push(chunk)));
            chunks.extend(cutter.finish());
            chunks
        };
        let cut: Vec<Vec<Chunk>> = texts.iter().map(cut).collect();
        let (mut all, mut pairs) = (Pairs::default(), Pairs::default());
        for number in 0..cut.iter().map(Vec::len).max().unwrap_or(0) {
            let chunk = |file: usize| cut.get(file).and_then(|chunks| chunks.get(number));
            let parsed = files.parse(number as u64, [chunk(0), chunk(1)], &mut pairs);
            parsed.map_err(|error| error.to_string())?;
            for (all, reads) in [(&mut all.first, &pairs.first), (&mut all.second, &pairs.second)] {
                (0..reads.len())
                    .for_each(|at| all.push(reads.name(at), reads.sequence(at), reads.qualities(at)));
            }
        }
        Ok(all)
    }

    /// Chunks give what the reader of whole files gives, be it pairs or an error.
    fn check(texts: &[&[u8]]) {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["r1.fq", "r2.fq"].map(|name| dir.path().join(name));
        paths.iter().zip(texts).for_each(|(path, text)| std::fs::write(path, text).unwrap());
        let second = (texts.len() == 2).then_some(paths[1].as_path());
        let mut expect = Pairs::default();
        let read = PairReader::open(&paths[0], second).unwrap().read(1 << 20, &mut expect);
        let expect = read.map(|_| expect).map_err(|error| error.to_string());
        for part in [3, 1000, 1 << 20] {
            assert_eq!(chunked(texts, &Files { first: &paths[0], second, interleaved: false }, part), expect);
        }
    }

    fn fastq(records: usize, end: &str) -> Vec<u8> {
        let record = |at| format!("@r{at}{end}AC{end}+{end}I{}{end}", (b'!' + (at % 90) as u8) as char);
        (0..records).map(record).collect::<String>().into_bytes()
    }

    #[test]
    fn chunks_give_what_whole_files_give() {
        for records in [0, 1, 5, 1023, 1024, 1025, 2048, 3000] {
            for end in ["\n", "\r\n"] {
                let text = fastq(records, end);
                check(&[&text]);
                check(&[&text, &text]);
                check(&[text.trim_ascii_end()]);
                let blanks = [&text[..], &b"\n\r\n".repeat(3000)].concat();
                check(&[&blanks]);
                check(&[&text, &blanks]);
                check(&[&[&blanks[..], &text].concat()]);
                check(&[&[&text[..], b"@x"].concat()]);
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said_as_of_whole_files() {
        let text = fastq(3000, "\n");
        for records in [0, 1, 1023, 1024, 1025, 2048, 2999] {
            check(&[&text, &fastq(records, "\n")]);
            check(&[&fastq(records, "\n"), &text]);
            for spoilt in
                ["@r", "@r\nAC", "@y\nAC\n+\nIII\n", "@z\n,\n+\nI\n", "x\n", "@y\n\n+\n\n", "\n@r\n"]
            {
                let spoilt = [&fastq(records, "\n"), spoilt.as_bytes(), &text].concat();
                check(&[&spoilt]);
                check(&[&spoilt, &text]);
                check(&[&text, &spoilt]);
            }
        }
    }
}
