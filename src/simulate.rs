//! `wakachi simulate`: a cohort whose truth is known.

use crate::output::{self, Format};
use crate::plain::keep_out;
use crate::progress::bar;
use jobs::failure::Failure;
use jobs::time::Timestamp;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};
use workers::simulate::{self, Options, Step, Summary};

/// Simulates a cohort with its truth: reference, reads, variants, and a cohort file ready to run
///
/// The same options give the same bytes, with --as-of those of the consents too. Given again after an interruption, it
/// keeps what is complete, and confirms the consents again as a register does.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wakachi simulate --out sim                            8 samples, 2 Mb, 20x
  wakachi simulate --out sim --samples 3 --tumor        a trio, the last one with a tumour
  wakachi simulate --out sim --withdrawn 1              the last participant has withdrawn
  wakachi simulate --out sim --ref GRCh38.fa --samples 1 --depth 30
  wakachi simulate --out sim --ref chr20.fa --genome-mb 3100 --samples 1 --depth 0.1
  wakachi run sim/cohort.toml --out job                 then the main job")]
pub struct Args {
    /// Directory to write into
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Participants; from 3 on the first three are a trio
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub samples: u32,
    /// Size of the genome in megabases: of a synthetic one [default: 2], or what --ref is grown to by diverged copies
    /// of it with young repeats [default: its own]
    #[arg(long, value_name = "X")]
    pub genome_mb: Option<f64>,
    /// Mean depth of each sample
    #[arg(long, value_name = "X", default_value_t = 20.0)]
    pub depth: f64,
    /// The last participant who has not withdrawn also has a tumour sample
    #[arg(long)]
    pub tumor: bool,
    /// Participants, the last ones, who have withdrawn their consent
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub withdrawn: u32,
    /// When the consents were last confirmed, such as 2026-05-31T18:00:00+09:00 [default: now]
    #[arg(long, value_name = "TIME")]
    pub as_of: Option<Timestamp>,
    /// A real reference (FASTA) instead of a synthetic genome
    #[arg(long = "ref", value_name = "REF.fa")]
    pub reference: Option<PathBuf>,
    /// Threads [default: all cores]
    #[arg(short, long, value_name = "N")]
    pub threads: Option<usize>,
    /// Form of the summary on stdout
    #[arg(long, value_enum, default_value_t)]
    pub output: Format,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    keep_out([args.out.as_path()])?;
    let summary = simulate(args)?;
    match args.output {
        Format::Json => output::json(&serde_json::json!({
            "schema": "wakachi.simulate/1", "summary": summary,
        })),
        Format::Table => {
            let rows: Vec<Vec<String>> = summary
                .samples
                .iter()
                .map(|sample| {
                    let kind = if sample.tumor { "tumour" } else { "germline" };
                    let numbers = [sample.pairs.to_string(), sample.truth_variants.to_string()];
                    [sample.name.clone(), kind.to_owned()].into_iter().chain(numbers).collect()
                })
                .collect();
            output::say(&output::table(&["sample", "role", "pairs", "true variants"], &rows));
            output::say(&format!("\nnext: wakachi run {} --out DIR", summary.cohort.display()));
        }
        Format::Quiet => {}
    }
    Ok(())
}

fn simulate(args: &Args) -> Result<Summary, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let options = Options {
        out: args.out.clone(),
        seed: args.seed,
        samples: args.samples,
        genome_mb: args.genome_mb,
        depth: args.depth,
        tumor: args.tumor,
        reference: args.reference.clone(),
        as_of: args.as_of.unwrap_or_else(now),
        withdrawn: args.withdrawn,
        threads: args.threads.unwrap_or(cores),
    };
    let bar = bar(0, "simulate");
    let summary = simulate::run(&options, &mut |step| match step {
        Step::File { path, .. } => bar.set_message(path.to_owned()),
        Step::Pairs { sample, done, total } => {
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message(format!("pairs of {sample}"));
        }
    });
    bar.finish_and_clear();
    Ok(summary?)
}

/// What the clock says, in whole seconds.
fn now() -> Timestamp {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
    Timestamp::default().plus_seconds(i64::try_from(seconds).unwrap_or(i64::MAX))
}
