//! Runs one task: file formats, kernels and storage glued together.
//!
//! Invariant: a task reads what its plan names and writes pieces into a pack; it decides nothing about other tasks.
//! Workers know neither the scheduler nor who started them.

pub mod entry;
pub mod htslib;
pub mod assess;
pub mod bam;
pub mod fastq;
pub mod gzip;
pub mod htslib;
pub mod intake;
pub mod record;
pub mod simulate;
pub mod vcf;
pub mod qc;
pub mod record;
pub mod report;
