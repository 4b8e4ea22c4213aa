//! A sample's alignment file in the making, with its index.
//!
//! Invariant: it is whole, and on the disk as it was written, or absent; no index of another file lies beside it.

use super::AlignError;
use crate::access::Access;
use crate::bam;
use crate::context::AlignmentFormat;
use crate::htslib::{CRAM_EOF, crai_lines, cram_file_header, gzip, index_alignments, renumber};
use crate::qc::SampleCounters;
use crate::region::{Container, Made};
use crate::vcf::EOF_BLOCK;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use storage::{AtomicFile, DiskError};

/// What indexes are called beside their file.
const CRAI: &str = ".crai";
const BAI: &str = ".bai";
const CSI: &str = ".csi";

/// What is found where.
enum Index {
    None,
    /// Lines.
    Cram(Vec<u8>),
    Bam(bam::BamIndex),
    /// Of a contig that is too long for that: by htslib, from the file.
    LongBam,
}

pub struct Output {
    path: PathBuf,
    file: AtomicFile,
    format: AlignmentFormat,
    bytes: u64,
    records: u64,
    index: Index,
    counters: SampleCounters,
}

impl Output {
    /// Begins the file of the context's first sample.
    pub fn create(context: &Access<'_>, path: &Path) -> Result<Self, AlignError> {
        let (format, text) = (context.settings.alignments, context.sam_header(0));
        let header = match format {
            AlignmentFormat::Cram => cram_file_header(&text),
            AlignmentFormat::Bam => bam::header_blocks(&text, context.index.contigs()),
            AlignmentFormat::Sam => text.into_bytes(),
        };
        let contigs = context.index.contigs();
        let index = match format {
            AlignmentFormat::Cram => Index::Cram(Vec::new()),
            AlignmentFormat::Bam if bam::takes(contigs) => Index::Bam(bam::BamIndex::new(contigs.len())),
            AlignmentFormat::Bam => Index::LongBam,
            AlignmentFormat::Sam => Index::None,
        };
        let (path, file) = (path.to_owned(), AtomicFile::create(path)?);
        let counters = SampleCounters::new(contigs.total_bases());
        let mut output = Output { path, file, format, bytes: 0, records: 0, index, counters };
        output.write(&header)?;
        Ok(output)
    }

    /// Goes on with the next cell, or the unplaced reads.
    pub fn put(&mut self, made: Made) -> Result<(), AlignError> {
        for Container { records, mut bytes, marks, .. } in made.alignments {
            match &mut self.index {
                Index::Cram(lines) => {
                    renumber(&mut bytes, self.records)?;
                    crai_lines(&bytes, self.bytes, lines)?;
                }
                Index::Bam(index) => index.add(&marks, &bytes, self.bytes).ok_or(AlignError::Record)?,
                Index::None | Index::LongBam => {}
            }
            self.write(&bytes)?;
            self.records += u64::from(records);
        }
        self.counters.merge(&made.counters);
        Ok(())
    }

    /// Ends the file, and writes its index beside it; gives what was counted.
    pub fn finish(mut self) -> Result<SampleCounters, AlignError> {
        match self.format {
            AlignmentFormat::Cram => self.write(&CRAM_EOF)?,
            AlignmentFormat::Bam => self.write(&EOF_BLOCK)?,
            AlignmentFormat::Sam => {}
        }
        let beside = |extension: &str| {
            let mut name = self.path.clone().into_os_string();
            name.push(extension);
            PathBuf::from(name)
        };
        for extension in [CRAI, BAI, CSI] {
            remove(&beside(extension))?;
        }
        self.file.commit_verified()?;
        let write = |extension: &str, bytes: &[u8]| {
            let path = beside(extension);
            let mut file = AtomicFile::create(&path)?;
            file.write_all(bytes).map_err(DiskError::on("write", &path))?;
            file.commit_verified()?;
            Ok::<_, AlignError>(())
        };
        match self.index {
            Index::None => {}
            Index::Cram(lines) => write(CRAI, &gzip(&lines))?,
            Index::Bam(index) => write(BAI, &index.finish())?,
            Index::LongBam => drop(index_alignments(&self.path)?),
        }
        Ok(self.counters)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), AlignError> {
        self.bytes += bytes.len() as u64;
        Ok(self.file.write_all(bytes).map_err(DiskError::on("write", &self.path))?)
    }
}

/// Removes a file, if it is there.
fn remove(path: &Path) -> Result<(), AlignError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(DiskError::on("remove", path)(error).into()),
        _ => Ok(()),
    }
}
