//! A sample's alignment file in the making, with its index.
//!
//! Invariant: it is whole or absent, and its index is of what was written: nobody reads it again.

use super::AlignError;
use crate::access::Access;
use crate::bam;
use crate::context::AlignmentFormat;
use crate::htslib::{CRAM_EOF, crai_lines, cram_file_header, gzip, index_alignments, renumber};
use crate::qc::SampleCounters;
use crate::region::Made;
use crate::vcf::EOF_BLOCK;
use std::io::Write;
use std::path::{Path, PathBuf};
use storage::{AtomicFile, DiskError};

pub struct Output {
    path: PathBuf,
    file: AtomicFile,
    format: AlignmentFormat,
    bytes: u64,
    records: u64,
    /// Lines of the index of CRAM.
    index: Vec<u8>,
    counters: SampleCounters,
}

impl Output {
    /// Begins the file of the context's first sample.
    pub fn create(context: &Access<'_>, path: &Path) -> Result<Self, AlignError> {
        let (format, text) = (context.settings.alignments, context.sam_header(0));
        let header = match format {
            AlignmentFormat::Cram => cram_file_header(&text),
            AlignmentFormat::Bam => {
                bam::header_blocks(&text, context.index.contigs()).map_err(AlignError::Stream)?
            }
            AlignmentFormat::Sam => text.into_bytes(),
        };
        let (path, file) = (path.to_owned(), AtomicFile::create(path)?);
        let counters = SampleCounters::new(context.index.contigs().total_bases());
        let mut output = Output { path, file, format, bytes: 0, records: 0, index: Vec::new(), counters };
        output.write(&header)?;
        Ok(output)
    }

    /// Goes on with the next cell, or the unplaced reads.
    pub fn put(&mut self, made: Made) -> Result<(), AlignError> {
        for (_, records, mut bytes) in made.alignments {
            if self.format == AlignmentFormat::Cram {
                renumber(&mut bytes, self.records)?;
                crai_lines(&bytes, self.bytes, &mut self.index)?;
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
        self.file.commit()?;
        match self.format {
            AlignmentFormat::Cram => {
                let mut name = self.path.into_os_string();
                name.push(".crai");
                let path = PathBuf::from(name);
                let mut file = AtomicFile::create(&path)?;
                file.write_all(&gzip(&self.index)).map_err(DiskError::on("write", &path))?;
                file.commit()?;
            }
            AlignmentFormat::Bam => drop(index_alignments(&self.path)?),
            AlignmentFormat::Sam => {}
        }
        Ok(self.counters)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), AlignError> {
        self.bytes += bytes.len() as u64;
        Ok(self.file.write_all(bytes).map_err(DiskError::on("write", &self.path))?)
    }
}
