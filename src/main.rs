//! The command line of wakachi: one file per noun, this one to choose between them.

mod align;
mod allocator;
mod audit;
mod bench;
mod call;
mod cohort;
mod config;
mod custodian;
mod demo;
mod gate;
mod index;
mod interrupt;
mod job;
mod job_dir;
mod joint;
mod output;
mod passphrase;
mod plain;
mod policy;
mod progress;
mod run;
mod serve;
mod simulate;
mod slurm;
mod submit;
mod vault;
mod worker;

use clap::{Parser, Subcommand};
use jobs::failure::Failure;
use output::Format;
use std::path::PathBuf;
use std::process::ExitCode;

/// Raw reads of a cohort to CRAM, gVCF and joint VCF: resumable, complete, the same bytes every time
#[derive(Debug, Parser)]
#[command(name = "wakachi", version, propagate_version = true)]
#[command(after_help = "Examples:
  wakachi demo                                a small cohort, simulated, run and assessed
  wakachi run cohort.toml --out job           the main job; the same command again resumes it
  wakachi submit cohort.toml --out job        the same as a batch job of Slurm
  wakachi serve job                           the job in a browser, while it runs and afterwards
  wakachi align REF.fa R1.fq.gz R2.fq.gz -o OUT.cram
  wakachi call REF.fa OUT.cram -o OUT.vcf.gz
  wakachi policy explain cohort.toml          who is permitted on what consent, who is not and why
  wakachi vault check --vault DIR             whether everything sealed can still be restored
  wakachi vault restore OUT.cram --vault DIR -o OUT.cram --custodian-key A.key B.key

Exit codes: 0 ok, 1 failed, 2 usage, 3 input, 4 policy, 5 on hold, 6 integrity, 7 quorum, 8 remote (try again), \
  9 internal, 10 partial (something is missing and named), 130 interrupted.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Simulate(simulate::Args),
    Index(index::Args),
    Align(align::Args),
    Call(call::Args),
    Joint(joint::Args),
    Run(run::Args),
    Serve(serve::Args),
    Submit(submit::Args),
    Worker(worker::Args),
    /// Checks cohorts
    #[command(subcommand)]
    Cohort(CohortCommand),
    #[command(subcommand)]
    Job(job::Command),
    #[command(subcommand)]
    Vault(vault::Command),
    #[command(subcommand)]
    Custodian(custodian::Command),
    #[command(subcommand)]
    Policy(policy::Command),
    #[command(subcommand)]
    Audit(audit::Command),
    #[command(subcommand)]
    Bench(bench::Command),
    /// Shows the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Debug, Subcommand)]
enum CohortCommand {
    /// Says every error of sheet, reference and files at once, with line and column, before anything runs
    #[command(
        after_help = "Examples:\n  wakachi cohort check cohort.toml\n  wakachi cohort check cohort.toml --digests
  wakachi cohort check cohort.toml --output json

Exit codes: 0 nothing is wrong; who the policy would leave out or refuse is said all the same; 3 something is, and all of \
  it is listed."
    )]
    Check {
        /// The cohort file (TOML)
        cohort: PathBuf,
        /// Reads every file of which a digest is stated, and compares; without it only the beginning of each is read
        #[arg(long)]
        digests: bool,
        /// Form of the answer
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Every key, its value, and where the value came from
    #[command(
        after_help = "Examples:\n  wakachi config show\n  WAKACHI_MEMORY=8G wakachi config show --output json"
    )]
    Show {
        #[command(flatten)]
        limits: run::LimitArgs,
        /// The cohort whose folder may hold a wakachi.toml
        #[arg(long, value_name = "FILE")]
        cohort: Option<PathBuf>,
        /// Form of the answer
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(&cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(&failure);
            ExitCode::from(failure.class().exit_code())
        }
    }
}

fn dispatch(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Demo(args) => demo::run(args),
        Command::Simulate(args) => simulate::run(args),
        Command::Index(args) => index::run(args),
        Command::Align(args) => align::run(args),
        Command::Call(args) => call::run(args),
        Command::Joint(args) => joint::run(args),
        Command::Run(args) => run::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Submit(args) => submit::run(args),
        Command::Worker(args) => worker::run(args),
        Command::Cohort(CohortCommand::Check { cohort, digests, output }) => {
            Ok(cohort::check(cohort, *digests, *output, output::say)?)
        }
        Command::Job(command) => job::run(command),
        Command::Vault(command) => vault::run(command),
        Command::Custodian(command) => custodian::run(command),
        Command::Policy(command) => policy::run(command),
        Command::Audit(command) => audit::run(command),
        Command::Bench(command) => bench::run(command),
        Command::Config(ConfigCommand::Show { limits, cohort, output }) => {
            Ok(config::show(&limits.asked(cohort.as_deref()), *output, output::say)?)
        }
    }
}
