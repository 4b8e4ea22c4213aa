//! Files that are written in parts, a sample's or the cohort's: where a part's bytes go, what is kept of them, and how the
//! whole comes together.
//!
//! Invariant: a part's record holds the digest of its bytes as they were read back, and its part of the calls' index; the
//! digest of a file is that of the bytes that its parts read back, and no part is missing: the first and last bytes of each
//! lie where they were written. Knows nothing of what the bytes mean.

use super::{FinishError, ResultFile, form, read_block, result_path};
use crate::access::{Access, Record};
use crate::context::Context;
use crate::region::block;
use crate::vcf::{EOF_BLOCK, IndexKind, PartialIndex};
use jobs::task::Task;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use storage::{BlockEntry, PieceRef, PlacedFile, RecordReader, Stretch};

/// How much of files some regions, or some of the joint call, make up; headers do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Extent {
    /// Bytes of alignments.
    pub alignment_bytes: u64,
    /// Alignment records.
    pub records: u64,
    /// Bytes of calls.
    pub call_bytes: u64,
}

/// What a task that writes a part is told besides its inputs.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Before {
    /// All cells before the part.
    pub extent: Extent,
    /// Whose data the files hold, in order.
    pub samples: Vec<u32>,
}

/// The files of a sample, or of the cohort, in the order in which their stretches lie in a part's record: alignments, calls.
pub fn paths(context: &Context, of: Option<u32>, results: &Path) -> Vec<PathBuf> {
    match of {
        Some(sample) => {
            let name = &context.sample(sample).name;
            vec![results.join(format!("{name}.cram")), results.join(format!("{name}.g.vcf.gz"))]
        }
        None => vec![results.join(format!("{}.vcf.gz", context.job))],
    }
}

/// Opens a file for a part that so many bytes come `before`, besides the header, which the first part writes.
pub(super) fn open_part(
    path: &Path,
    header: &[u8],
    (part, before): (u32, u64),
    kept: bool,
) -> Result<PlacedFile, FinishError> {
    if part > 0 {
        return Ok(PlacedFile::open(path, header.len() as u64 + before, kept)?);
    }
    let mut file = PlacedFile::open(path, 0, kept)?;
    file.write(header)?;
    Ok(file)
}

/// Adds to a part's record what the whole needs of its bytes, once they are stored.
pub(super) fn close_part(
    record: &mut Record,
    files: Vec<PlacedFile>,
    index: &PartialIndex<'_>,
) -> Result<(), FinishError> {
    let entry = |kind, first| BlockEntry { kind, first, last: first, count: 0 };
    for (which, file) in (0..).zip(files) {
        record.block(entry(block::STRETCH, which), &file.commit()?.to_bytes())?;
    }
    Ok(record.block(entry(block::CALL_INDEX, 0), &index.to_bytes())?)
}

/// Files as their parts come together.
pub(super) struct Whole<'a> {
    context: &'a Access<'a>,
    kept: bool,
    paths: Vec<PathBuf>,
    stretches: Vec<Stretch>,
    index: PartialIndex<'a>,
}

impl<'a> Whole<'a> {
    /// Nothing of a sample's files yet, or of the cohort's.
    pub fn new(context: &'a Access<'a>, of: Option<u32>, results: &Path, kept: bool) -> Self {
        let paths = paths(context, of, results);
        let stretches = vec![Stretch::at(0); paths.len()];
        Whole { context, kept, paths, stretches, index: PartialIndex::new(context.index.contigs()) }
    }

    /// Goes on with what a part learnt.
    pub fn join(&mut self, task: Task, record: &RecordReader) -> Result<(), FinishError> {
        let context = self.context;
        let damaged = || form(context, task);
        let mut bytes = Vec::new();
        read_block(record, block::CALL_INDEX, &mut bytes, damaged)?;
        let index = PartialIndex::from_bytes(context.index.contigs(), &bytes);
        index.and_then(|index| self.index.append(&index, 0)).ok_or_else(damaged)?;
        let of_part = stretches(context, task, record)?;
        for ((whole, stretch), path) in self.stretches.iter_mut().zip(&of_part).zip(&self.paths) {
            whole.join(stretch).ok_or_else(damaged)?;
            if self.kept && !lies_in(stretch, path, false)? {
                return Err(FinishError::Part { path: path.clone(), task: task.key(context.names()) });
            }
        }
        Ok(())
    }

    /// A file, by its place among them, where its parts end.
    pub fn end(&self, which: usize) -> Result<PlacedFile, FinishError> {
        Ok(PlacedFile::open(&self.paths[which], self.stretches[which].end(), self.kept)?)
    }

    /// Ends the calls, which are the last of the files, and adds their index.
    pub fn close_calls(&self) -> Result<Vec<ResultFile>, FinishError> {
        let last = self.paths.len() - 1;
        let mut calls = self.end(last)?;
        calls.write(&EOF_BLOCK)?;
        let tbi = IndexKind::of(self.context.index.contigs()).path(&self.paths[last]);
        Ok(vec![self.listed(last, calls)?, self.index_file(&tbi, &self.index.build())?])
    }

    /// A file as the ledger lists it, once its last bytes are written behind the others.
    pub fn listed(&self, which: usize, end: PlacedFile) -> Result<ResultFile, FinishError> {
        listed(&self.paths[which], self.stretches[which].clone(), end)
    }

    /// Writes an index beside a file of these.
    pub fn index_file(&self, path: &Path, bytes: &[u8]) -> Result<ResultFile, FinishError> {
        let mut file = PlacedFile::open(path, 0, self.kept)?;
        file.write(bytes)?;
        listed(path, Stretch::at(0), file)
    }

    /// Where a file lies, by its place among them.
    pub fn path(&self, which: usize) -> &Path {
        &self.paths[which]
    }
}

fn listed(path: &Path, mut whole: Stretch, end: PlacedFile) -> Result<ResultFile, FinishError> {
    let joined = whole.join(&end.commit_end()?).and_then(|()| whole.digest());
    let blake3 = joined.expect("it goes on where the others end, from the first byte").to_hex().to_string();
    Ok(ResultFile { path: result_path(path), bytes: whole.end(), blake3 })
}

/// The stretches of a part, in the order of [`paths`].
fn stretches(context: &Access<'_>, task: Task, record: &RecordReader) -> Result<Vec<Stretch>, FinishError> {
    let mut bytes = Vec::new();
    let mut stretches = Vec::new();
    for (at, _) in record.entries().iter().enumerate().filter(|(_, entry)| entry.kind == block::STRETCH) {
        record.read_block(at, &mut bytes)?;
        stretches.extend(Stretch::from_bytes(&bytes));
    }
    let expected = paths(context, task.sample(), Path::new("")).len();
    if stretches.len() == expected { Ok(stretches) } else { Err(form(context, task)) }
}

/// Whether the files in `results` hold what the task wrote there that committed this piece of a part; its first and last
/// bytes, or every one if `all` are to be looked at.
pub fn part_is_whole(
    context: &Access<'_>,
    task: Task,
    piece: &PieceRef,
    results: &Path,
    all: bool,
) -> Result<bool, FinishError> {
    let stretches = stretches(context, task, &context.read(task, piece)?)?;
    for (path, stretch) in paths(context, task.sample(), results).iter().zip(&stretches) {
        if !lies_in(stretch, path, all)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a stretch is of this file.
fn lies_in(stretch: &Stretch, path: &Path, all: bool) -> Result<bool, FinishError> {
    let look = |file: File| match all {
        true => Stretch::read(&file, stretch.start(), stretch.end()).map(|found| found == *stretch),
        false => stretch.ends_lie_in(&file),
    };
    // A pipe would be waited for.
    if std::fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return Ok(false);
    }
    match File::open(path).and_then(look) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof) => Ok(false),
        looked => looked.map_err(|source| FinishError::Read { path: path.to_owned(), source }),
    }
}
