//! `wakachi index`: the alignment index beside the reference, and the `.fai` that every other program asks for too.

use crate::interrupt;
use crate::output::{self, Format, bytes, duration, note};
use crate::plain::{keep_out, on_threads};
use crate::progress::spinner;
use jobs::failure::Failure;
use std::path::{Path, PathBuf};
use std::time::Instant;
use workers::htslib::{FastaIndex, IndexError, index_fasta};
use workers::index_file::{self, ReferenceIndex};

/// Builds the memory-mapped alignment index beside a reference
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wakachi index GRCh38.fa             writes GRCh38.fa.wki and GRCh38.fa.fai
  wakachi index GRCh38.fa.gz -t 8     if that is bgzip, GRCh38.fa.gz.gzi too

The .fai is that of samtools faidx; one that fits the reference is left alone, another is written anew.
An index of another version, or of a reference that changed, is refused later; build it again then.")]
pub struct Args {
    /// The reference: FASTA, plain, gzip or bgzip
    reference: PathBuf,
    /// Threads [default: all cores]
    #[arg(short, long, value_name = "N")]
    threads: Option<u32>,
    /// Form of the summary on stdout
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let begun = Instant::now();
    let path = index_file::path_of(&args.reference);
    keep_out([path.as_path()])?;
    interrupt::end_at_once();
    build(&args.reference, &path, args.threads.unwrap_or(0))?;
    index_letters(&args.reference)?;
    let index = ReferenceIndex::open(&args.reference, &path)?;
    let elapsed_ms = begun.elapsed().as_millis() as u64;
    match args.output {
        Format::Json => output::json(&serde_json::json!({
            "schema": "wakachi.index/1",
            "index": path.to_string_lossy(),
            "contigs": index.contigs().len(),
            "bases": index.contigs().total_bases(),
            "bytes": index.mapped_bytes(),
            "elapsed_ms": elapsed_ms,
        })),
        Format::Table => output::say(&format!(
            "{}: {} contigs, {} bases, {}, {}",
            path.display(),
            index.contigs().len(),
            index.contigs().total_bases(),
            bytes(index.mapped_bytes()),
            duration(elapsed_ms)
        )),
        Format::Quiet => {}
    }
    Ok(())
}

/// Builds the index of `reference` at `path` with so many threads, 0 for all cores.
pub fn build(reference: &Path, path: &Path, threads: u32) -> Result<(), Failure> {
    let spinner = spinner("indexing");
    let said = on_threads(threads, || {
        index_file::build(reference, path, &|what| spinner.set_message(what.to_owned()))
    })?;
    spinner.finish_and_clear();
    Ok(said?)
}

/// Writes the `.fai` beside `reference`, unless one that fits is there. A reference that can have none is used through a
/// copy.
pub fn index_letters(reference: &Path) -> Result<(), Failure> {
    match index_fasta(reference) {
        Ok(FastaIndex::Written | FastaIndex::Kept) => {}
        Ok(FastaIndex::Replaced) => {
            note(&format!("{}.fai did not fit the reference and was written anew", reference.display()));
        }
        Err(error @ (IndexError::Fasta { .. } | IndexError::PlainGzip { .. })) => {
            note(&format!("no .fai, so each job copies the reference for itself: {error}"));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
