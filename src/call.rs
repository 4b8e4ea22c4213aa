//! `wakachi call`: alignments to VCF or gVCF.

use crate::output::{self, Format};
use crate::plain::{expect_a_file, keep_off_inputs, keep_out, on_threads, scratch_beside};
use crate::progress::bar;
use crate::run::books::blake3_text;
use jobs::failure::Failure;
use jobs::parameters::Parameters;
use std::path::{Path, PathBuf};
use workers::call::{Request, call};

/// Calls germline SNVs and indels from a sorted, indexed BAM or CRAM
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wakachi call REF.fa IN.cram -o OUT.vcf.gz
  wakachi call REF.fa IN.bam -o OUT.g.vcf.gz --gvcf
  wakachi call REF.fa IN.cram -o OUT.vcf.gz --regions chr20:1-5000000
  wakachi call REF.fa IN.cram -o OUT.vcf.gz --regions TARGETS.bed -t 8")]
pub struct Args {
    /// The reference (FASTA)
    reference: PathBuf,
    /// BAM or CRAM, coordinate-sorted, duplicates marked, with its index
    alignments: PathBuf,
    /// VCF to write, compressed with bgzip; its index is written beside it
    #[arg(short, long = "output", value_name = "OUT.vcf.gz")]
    out: PathBuf,
    /// Writes a gVCF: reference blocks as well as sites
    #[arg(long)]
    gvcf: bool,
    /// Only these places: NAME, NAME:START-END (1-based) or a BED file
    #[arg(long, value_name = "BED|chr:a-b")]
    regions: Option<String>,
    /// Threads [default: all cores]
    #[arg(short, long, value_name = "N", default_value_t = 0, hide_default_value = true, value_parser = clap::value_parser!(u32).range(..=4096))]
    threads: u32,
    /// Form of the summary on stdout
    #[arg(long = "summary", value_enum, default_value_t)]
    format: Format,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    expect_a_file(&args.out)?;
    keep_out([args.alignments.as_path(), args.out.as_path()])?;
    let bed = args.regions.as_deref().map(Path::new);
    keep_off_inputs(&args.out, [args.reference.as_path(), &args.alignments].into_iter().chain(bed))?;
    let parameters = Parameters::default();
    let request = Request {
        fasta: args.reference.clone(),
        alignments: args.alignments.clone(),
        output: args.out.clone(),
        gvcf: args.gvcf,
        regions: args.regions.clone(),
        options: crate::run::inputs::call_options(&parameters),
        parameters: blake3_text(&parameters.canonical_of_samples()),
    };
    let scratch = scratch_beside(&args.out)?;
    let bar = bar(0, "call");
    let report = on_threads(args.threads, || {
        call(&request, scratch.path(), &|done, total| {
            bar.set_length(total);
            bar.set_position(done);
        })
    })?;
    bar.finish_and_clear();
    let report = report?;
    match args.format {
        Format::Json => {
            output::json(&serde_json::json!({ "schema": "wakachi.call/1", "summary": report }));
        }
        Format::Table => output::say(&format!(
            "{}: sample {}, {} sites, {} passed",
            args.out.display(),
            report.sample,
            report.sites,
            report.sites_passed
        )),
        Format::Quiet => {}
    }
    Ok(())
}
