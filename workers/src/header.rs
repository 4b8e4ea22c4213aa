//! The SAM header of a sample's file: reference, read groups, program; nothing that another run would write otherwise.

use crate::context::Sample;
use jobs::genome::Contigs;
use std::fmt::Write;

/// Header text. `sorted` says whether records stand in coordinate order; `parameters` is the digest of all parameters
/// that decide bytes.
pub fn sam_header(contigs: &Contigs, sample: &Sample, parameters: &str, sorted: bool) -> String {
    let order = if sorted { "coordinate" } else { "unsorted\tGO:query" };
    let mut text = format!("@HD\tVN:1.6\tSO:{order}\n");
    for contig in contigs.iter() {
        let _ = write!(text, "@SQ\tSN:{}\tLN:{}\tM5:", contig.name, contig.length);
        contig.m5.iter().for_each(|byte| {
            let _ = write!(text, "{byte:02x}");
        });
        text.push('\n');
    }
    sample.lanes.iter().filter(|lane| !lane.header_line.is_empty()).for_each(|lane| {
        text.push_str(&lane.header_line);
        text.push('\n');
    });
    let _ = writeln!(
        text,
        "@PG\tID:wakachi\tPN:wakachi\tVN:{}\tDS:parameters {parameters}",
        env!("CARGO_PKG_VERSION")
    );
    text
}
