//! `wakachi policy`: the policy check asked from outside.

mod vectors;

use crate::cohort;
use crate::gate::{Gate, GateFiles};
use crate::output::{self, Format};
use crate::run::{admission, books};
use jobs::diagnostic::{Diagnostic, Place};
use jobs::failure::{Class, Classified, Failure};
use jobs::policy::explain::explain;
use jobs::policy::{Action, DataClass, Question};
use std::path::{Path, PathBuf};
use workers::access::now;

/// Asks the policy check
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Decides every row of a table of decision vectors: prints id,verdict,reasons,obligations as CSV
    ///
    /// The header says which table it is: consent (a column `record`), data use (`dataset_codes`) or placement
    /// (`sample_jurisdictions`). Where the file says what it expects (verdict, reasons, obligations), rows that
    /// differ are named on stderr and the exit code is 1.
    #[command(after_help = vectors::HELP)]
    Vectors {
        /// The table (CSV)
        file: PathBuf,
    },
    /// By sample of a cohort: a permit and on what it rests, or every reason against and what would help
    ///
    /// The question is asked as a run would ask it, with consents, policy and sites as they are in files now; reads
    /// and reference need not be there. Denials are answers: the exit code is 0.
    #[command(after_help = "Examples:
  wakachi policy explain cohort.toml
  wakachi policy explain cohort.toml --site gcp-osaka --action archive --class VCF --output json

Exit codes: 0 answered, denials too; 3 a file is wrong, and all of it is listed; 4 a register, a policy or a site is \
  missing, or the cohort names other sites.")]
    Explain(ExplainArgs),
}

#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// The cohort file (TOML)
    cohort: PathBuf,
    /// The site; as for a run if not given
    #[arg(long, value_name = "NAME")]
    site: Option<String>,
    /// What is to be done: submit, dispatch, read, commit, archive, restore, export, report
    #[arg(long, default_value_t = Action::Submit)]
    action: Action,
    /// With which data: FASTQ, CRAM, GVCF, VCF, JOINT, FINGERPRINT, REPORT, QC, AGGREGATE
    #[arg(long, default_value_t = DataClass::Fastq)]
    class: DataClass,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// Runs the command.
pub fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Vectors { file } => Ok(decide_vectors(file)?),
        Command::Explain(args) => explain_cohort(args),
    }
}

/// Largest table that is read, in bytes; a larger one is refused.
const TABLE_BYTES_MAX: u64 = 64 << 20;

/// Why a table of vectors is not answered as it expects.
#[derive(Debug, thiserror::Error)]
enum VectorsError {
    /// The file cannot be used.
    #[error("vectors {}: {}", path.display(), Diagnostic::list(diagnostics))]
    Table { path: PathBuf, diagnostics: Vec<Diagnostic> },
    /// Rows are decided otherwise than the file says.
    #[error("vectors {}: {} of {rows} rows differ\n{}", path.display(), differing.len(), differing.join("\n"))]
    Differ { path: PathBuf, rows: usize, differing: Vec<String> },
}

impl Classified for VectorsError {
    fn class(&self) -> Class {
        match self {
            VectorsError::Table { .. } => Class::Input,
            VectorsError::Differ { .. } => Class::Failed,
        }
    }
}

fn decide_vectors(path: &Path) -> Result<(), VectorsError> {
    let file = path.display().to_string();
    let wrong = |diagnostics| VectorsError::Table { path: path.to_owned(), diagnostics };
    let bytes = books::read_at_most(path, TABLE_BYTES_MAX).map_err(|error| {
        let place = Place { file: file.clone(), line: 1, column: 1 };
        wrong(vec![Diagnostic::error(place, format!("the table cannot be read: {error}"))])
    })?;
    let rows = vectors::decide_all(&file, &bytes).map_err(wrong)?;
    output::say("id,verdict,reasons,obligations");
    rows.iter().for_each(|row| output::say(&row.csv()));
    let differing: Vec<String> = rows.iter().flat_map(|row| row.differences.clone()).collect();
    if differing.is_empty() {
        return Ok(());
    }
    Err(VectorsError::Differ { path: path.to_owned(), rows: rows.len(), differing })
}

fn explain_cohort(args: &ExplainArgs) -> Result<(), Failure> {
    let cohort = cohort::load_sheet(&args.cohort)?;
    let gate = Gate::open(GateFiles::of_cohort(&cohort, args.site.as_deref())?)?;
    let register = gate.register()?;
    let question = Question {
        action: args.action,
        actor: gate.actor(),
        subjects: &admission::subjects(&cohort),
        purpose: gate.purpose(),
        disease: cohort.governance.disease.as_ref().map(|disease| disease.text.as_str()),
        class: args.class,
        site: gate.site(),
        now: now(),
    };
    let explanation = explain(&question, gate.knowledge(&register));
    match args.output {
        Format::Json => output::json(&serde_json::json!({
            "schema": "wakachi.policy-explain/1", "explanation": explanation,
        })),
        Format::Table => output::say(&explanation.to_string()),
        Format::Quiet => {}
    }
    Ok(())
}
