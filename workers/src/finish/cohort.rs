//! The cohort's joint calls: cells behind each other, and what the joint tasks counted, added up.

use super::{FinishError, ResultFile, form, read_block, result_path};
use crate::access::Access;
use crate::kinship::Comparison;
use crate::region::block;
use crate::report::PairReport;
use crate::vcf::{self, IndexKind, Kind, PartialIndex, header_text};
use jobs::task::{Shard, Task};
use std::io::Write;
use std::path::Path;
use storage::{AtomicFile, AtomicFileError, DiskError, PieceRef};

/// Writes the joint calls of those of the samples that take part, and says how the samples are related. `present` are all
/// that are finished, in order; `shards` are the committed joint tasks in genome order, with what each wrote.
pub fn finish_joint(
    context: &Access<'_>,
    (cohort, present): (&str, &[u32]),
    shards: &[(Shard, Vec<PieceRef>)],
    results: &Path,
) -> Result<(Vec<ResultFile>, Vec<PairReport>), FinishError> {
    let contigs = context.index.contigs();
    let mut comparison = Comparison::new(context, present);
    let mut index = PartialIndex::new(contigs);
    let path = results.join(format!("{cohort}.vcf.gz"));
    let mut calls = Output::create(&path)?;
    let name = |&sample: &u32| context.sample(sample).name.as_str();
    let names: Vec<&str> = comparison.columns().iter().map(name).collect();
    let header = header_text(Kind::Joint, contigs, &names, &context.settings.joint_parameters);
    calls.write(&vcf::compress_cell(header.as_bytes()))?;
    let mut bytes = Vec::new();
    for (shard, pieces) in shards {
        let damaged = || form(context, Task::Joint(*shard));
        let begin = calls.bytes;
        let (of_shard, of_cells) = pieces.split_last().ok_or_else(damaged)?;
        if shard.cells().count() != of_cells.len() {
            return Err(damaged());
        }
        for (cell, piece) in shard.cells().zip(of_cells) {
            let reader = context.read(Task::Joint(Shard::of_cell(cell)), piece)?;
            read_block(&reader, block::GVCF, &mut bytes, damaged)?;
            calls.write(&bytes)?;
        }
        let reader = context.read(Task::Joint(*shard), of_shard)?;
        if !comparison.merge(&reader)? {
            return Err(damaged());
        }
        read_block(&reader, block::CALL_INDEX, &mut bytes, damaged)?;
        let of_shard = PartialIndex::from_bytes(contigs, &bytes).ok_or_else(damaged)?;
        index.append(&of_shard, begin).ok_or_else(damaged)?;
    }
    calls.write(&vcf::EOF_BLOCK)?;
    let mut files = vec![calls.commit()?];
    let mut calls = Output::create(&IndexKind::of(contigs).path(&path))?;
    calls.write(&index.build())?;
    files.push(calls.commit()?);
    Ok((files, comparison.pairs(present)))
}

/// A result being written: whole or absent, its digest taken on the way.
struct Output {
    file: AtomicFile,
    bytes: u64,
}

impl Output {
    fn create(path: &Path) -> Result<Self, FinishError> {
        Ok(Output { file: AtomicFile::create(path)?, bytes: 0 })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), FinishError> {
        self.bytes += bytes.len() as u64;
        let written = self.file.write_all(bytes).map_err(DiskError::on("write", self.file.path()));
        Ok(written.map_err(AtomicFileError::from)?)
    }

    fn commit(self) -> Result<ResultFile, FinishError> {
        let path = result_path(self.file.path());
        let bytes = self.bytes;
        let blake3 = self.file.commit_verified()?.to_hex().to_string();
        Ok(ResultFile { path, bytes, blake3 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Content;
    use crate::context::Context;
    use jobs::genome::Cell;

    #[test]
    fn a_record_without_its_block_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let context = Context::of_tests(scratch.path());
        let access = Access::of_caller(&context);
        let task = Task::Joint(Shard::of_cell(Cell(0)));
        let piece = access.append(access.record(task).unwrap(), &mut Content::default()).unwrap();
        let shards = [(Shard::of_cell(Cell(0)), vec![piece.clone(), piece])];
        let refused = finish_joint(&access, ("C", &[0]), &shards, scratch.path()).unwrap_err();
        assert!(matches!(&refused, FinishError::Form { task } if task == "joint/0-1"), "{refused}");
    }
}
