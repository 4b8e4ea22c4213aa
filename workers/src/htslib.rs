//! The only door to htslib: reading CRAM, SAM and BAM as others write them, and CRAM that [`crate::cram`] has no code for.
//!
//! Invariant: records cross this door as BAM bytes ([`crate::record`]) and nothing else does; a reference is a FASTA
//! named by the caller and is never looked for anywhere else, on disk or network. What htslib cannot be trusted with
//! across runs (threads, metrics that outlive a container, files) it is not asked to do. Knows nothing of regions,
//! samples or tasks.

pub(crate) mod container;
mod cram;
mod handle;
mod index;
mod reader;
mod text;

pub use container::{CRAM_EOF, ContainerError, crai_lines, cram_file_header, cram_records, gzip, renumber};
pub use cram::{CramEncoder, CramError};
pub use index::{FastaIndex, IndexError, index_alignments, index_fasta};
pub use reader::{AlignmentError, AlignmentReader};
pub use text::SamText;
