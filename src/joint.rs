//! `wakachi joint`: gVCFs of many samples to one VCF.

use crate::interrupt;
use crate::output::{self, Format};
use crate::plain::{expect_a_file, keep_off_inputs, keep_out, on_threads};
use crate::progress::bar;
use crate::run::books::blake3_text;
use crate::run::inputs::joint_options;
use jobs::failure::Failure;
use jobs::parameters::Parameters;
use std::path::PathBuf;
use workers::index_file::Bases;
use workers::vcf::joint_files;

/// Joins gVCFs into the joint genotypes of a cohort
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  wakachi joint REF.fa A.g.vcf.gz B.g.vcf.gz C.g.vcf.gz -o COHORT.vcf.gz

Takes gVCFs of this program, and of others that write <NON_REF> blocks. One sample per file.
Where a sample has several records of one POS, the one of highest QUAL is used, and a note says how many were not.")]
pub struct Args {
    /// The reference (FASTA)
    reference: PathBuf,
    /// gVCF files, one sample each
    #[arg(required = true, value_name = "A.g.vcf.gz")]
    inputs: Vec<PathBuf>,
    /// VCF to write, compressed with bgzip; its index is written beside it
    #[arg(short, long = "output", value_name = "COHORT.vcf.gz")]
    out: PathBuf,
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
    keep_out(args.inputs.iter().chain([&args.out]).map(PathBuf::as_path))?;
    keep_off_inputs(&args.out, args.inputs.iter().chain([&args.reference]).map(PathBuf::as_path))?;
    interrupt::end_at_once();
    let bases = Bases::open(&args.reference)?;
    let parameters = Parameters::default();
    let digest = blake3_text(&parameters.canonical());
    let bar = bar(0, "joint");
    let report = on_threads(args.threads, || {
        let options = joint_options(&parameters);
        joint_files(bases.contigs(), &args.inputs, &args.out, &options, &digest, &mut |done, total| {
            bar.set_length(u64::from(total));
            bar.set_position(u64::from(done));
        })
        .map_err(Failure::from)
    })?;
    bar.finish_and_clear();
    let report = report?;
    if report.records_outweighed > 0 {
        output::note(&format!(
            "{} records were not used: another one of their sample and POS has a higher QUAL",
            report.records_outweighed
        ));
    }
    match args.format {
        Format::Json => output::json(&serde_json::json!({
            "schema": "wakachi.joint/1",
            "samples": report.samples,
            "sites": report.sites,
            "sites_passed": report.sites_passed,
            "records_outweighed": report.records_outweighed,
            "bytes": report.bytes,
            "index": report.index,
        })),
        Format::Table => output::say(&format!(
            "{}: {} samples, {} sites, {} passed",
            args.out.display(),
            report.samples.len(),
            report.sites,
            report.sites_passed
        )),
        Format::Quiet => {}
    }
    Ok(())
}
