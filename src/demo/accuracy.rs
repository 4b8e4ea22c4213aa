//! The results of a job on simulated reads against the simulation's truth.
//!
//! Must not know how a job is run: it opens files as anybody would.

use jobs::failure::{Class, Classified, Failure};
use jobs::genome::{Contig, Contigs};
use rayon::prelude::*;
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use workers::assess::{AlignmentAccuracy, AlignmentAssessor, Callset, VariantAccuracy, assess_variants};
use workers::htslib::AlignmentReader;
use workers::index_file::{self, ReferenceIndex};
use workers::record::{Record, RecordError};
use workers::report::{Accuracy, Confusion};

/// One sample against its truth.
#[derive(Clone, Debug, serde::Serialize)]
pub struct SampleAccuracy {
    /// SAM `SM`.
    pub sample: String,
    /// Its CRAM.
    pub alignment: AlignmentAccuracy,
    /// Its column of the joint VCF; `None` for a tumour, which is not in it.
    pub variants: Option<VariantAccuracy>,
}

impl SampleAccuracy {
    /// What the report shows of it.
    pub fn for_report(&self) -> Accuracy {
        let variants = self.variants.unwrap_or_default();
        let confusion = |counts: workers::assess::variants::Counts| Confusion {
            found: counts.true_positives,
            missed: counts.false_negatives,
            extra: counts.false_positives,
        };
        Accuracy {
            reads: self.alignment.scored,
            reads_placed: self.alignment.right,
            snv: confusion(variants.snv),
            indel: confusion(variants.indel),
        }
    }
}

/// Where the files lie.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// FASTA with its indexes.
    pub reference: &'a Path,
    /// Folder of `<sample>.vcf.gz`.
    pub truth: &'a Path,
    /// Folder of `<sample>.cram`.
    pub results: &'a Path,
    /// The joint calls.
    pub joint: &'a Path,
}

/// A record of a CRAM is not laid out as one.
#[derive(Debug, thiserror::Error)]
#[error("{}: holds a malformed record", path.display())]
struct Malformed {
    path: PathBuf,
    #[source]
    source: RecordError,
}

impl Classified for Malformed {
    fn class(&self) -> Class {
        Class::Integrity
    }
}

/// Assesses samples, each with whether it is in the joint calls, on the threads of the current pool.
pub fn assess(places: Places<'_>, samples: &[(String, bool)]) -> Result<Vec<SampleAccuracy>, Failure> {
    let index = ReferenceIndex::open(places.reference, &index_file::path_of(places.reference))?;
    let genome = genome(&index);
    let assess = |(sample, joined): &(String, bool)| {
        let alignment = alignment(places, index.contigs(), sample)?;
        let variants = joined.then(|| variants(places, &genome, sample)).transpose()?;
        Ok(SampleAccuracy { sample: sample.clone(), alignment, variants })
    };
    samples.par_iter().map(assess).collect()
}

/// Letters of every contig, by name.
fn genome(index: &ReferenceIndex) -> HashMap<String, Vec<u8>> {
    let contig = |(id, contig): (u32, &Contig)| {
        let mut letters = Vec::new();
        index.reference().letters(id, 0, contig.length, &mut letters);
        (contig.name.clone(), letters)
    };
    (0..).zip(index.contigs().iter()).map(contig).collect()
}

fn alignment(places: Places<'_>, contigs: &Contigs, sample: &str) -> Result<AlignmentAccuracy, Failure> {
    let path = places.results.join(format!("{sample}.cram"));
    let mut reader = AlignmentReader::open(&path, Some(places.reference))?;
    let mut assessor = AlignmentAssessor::new(contigs);
    let mut bytes = Vec::new();
    while reader.read(&mut bytes)? {
        let record = Record::new(&bytes).map_err(|source| Malformed { path: path.clone(), source })?;
        assessor.add(&record)?;
    }
    Ok(assessor.finish())
}

fn variants(
    places: Places<'_>,
    genome: &HashMap<String, Vec<u8>>,
    sample: &str,
) -> Result<VariantAccuracy, Failure> {
    let truth = places.truth.join(format!("{sample}.vcf.gz"));
    let bases = |name: &str| Some(Cow::Borrowed(genome.get(name)?.as_slice()));
    let truth = Callset { path: &truth, sample: Some(sample) };
    let called = Callset { path: places.joint, sample: Some(sample) };
    Ok(assess_variants(&truth, &called, &bases)?)
}
