//! The end of the joint calls' file, and how the samples are related: what its parts learnt, joined.

use super::whole::Whole;
use super::{FinishError, ResultFile, form};
use crate::access::Access;
use crate::kinship::Comparison;
use crate::report::PairReport;
use jobs::task::Task;
use std::path::Path;
use storage::PieceRef;

/// Completes the joint calls, whose parts are written in `results`, adds their index, and says how the samples are related.
/// `present` are all samples that are finished, in order; `parts` are all of the genome, each with its piece.
pub fn finish_joint(
    context: &Access<'_>,
    present: &[u32],
    parts: &[(Task, PieceRef)],
    results: &Path,
) -> Result<(Vec<ResultFile>, Vec<PairReport>), FinishError> {
    let mut comparison = Comparison::new(context, present);
    let mut whole = Whole::new(context, None, results, true);
    for (task, piece) in parts {
        let record = context.read(*task, piece)?;
        whole.join(*task, &record)?;
        if !comparison.merge(&record)? {
            return Err(form(context, *task));
        }
    }
    Ok((whole.close_calls()?, comparison.pairs(present)))
}
