//! `wakachi policy`: the policy check asked from outside.

mod vectors;

use crate::output;
use jobs::diagnostic::{Diagnostic, Place};
use jobs::failure::{Class, Classified, Failure};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

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
}

/// Runs the command.
pub fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Vectors { file } => Ok(decide_vectors(file)?),
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
    let bytes = read(path).map_err(|error| {
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

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(TABLE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > TABLE_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("larger than {TABLE_BYTES_MAX} bytes"),
        ));
    }
    Ok(bytes)
}
