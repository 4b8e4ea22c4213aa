//! VCF: the text of gVCF, single-sample and joint cells, the strict reader that takes gVCF back, and the filter that
//! joins gVCF files.
//!
//! Invariant: a file is header, cells in reference order and the end marker, each compressed on its own, concatenated;
//! so the same cells are the same file whoever wrote them. Our own gVCF text gives back exactly the values it was
//! written from. Knows nothing of jobs, packs or plans.

pub mod bgzf;
pub mod cohort;
pub mod header;
pub mod index;
pub mod line;
pub mod lines;
pub mod reader;
pub mod text;

pub use bgzf::{EOF_BLOCK, compress_cell, decompress_cell};
pub use cohort::{JointError, JointReport, joint_files};
pub use header::{Kind, header_text};
pub use index::{IndexKind, PartialIndex, build_index};
pub use reader::{PieceError, ReadError, SampleReader, parse_cell};
pub use text::{write_calls, write_gvcf, write_joint};

#[cfg(test)]
mod tests;
