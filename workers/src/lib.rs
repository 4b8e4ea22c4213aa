//! Runs one task: file formats, kernels and storage glued together.
//!
//! Invariant: a task reads what its plan names and writes pieces into a pack; it decides nothing about other tasks.
//! Workers know neither the scheduler nor who started them.

pub mod access;
pub mod align;
pub mod assess;
pub mod bam;
pub mod call;
pub mod cells;
pub mod context;
mod cram;
pub mod entry;
pub mod fasta;
pub mod fastq;
pub mod finish;
pub mod gzip;
mod hashed;
pub mod header;
pub mod hold;
pub mod htslib;
pub mod index_file;
pub mod intake;
pub mod joint;
pub mod kinship;
pub mod map;
pub mod mapped;
mod ordered;
mod packed;
pub mod pairs;
pub mod parcel;
pub mod qc;
pub mod record;
pub mod region;
mod relative;
pub mod report;
pub mod runs;
pub mod sam;
pub mod simulate;
pub mod stream;
pub mod task;
pub mod template;
pub mod vcf;
