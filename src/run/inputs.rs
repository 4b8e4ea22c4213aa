//! From a cohort to what its tasks are given: reference, samples, settings.

use super::books;
use super::plan::Cut;
use crate::output::note;
use jobs::cohort::{Cohort, Lane as SheetLane};
use jobs::failure::{Class, Classified, Failure};
use jobs::parameters::Parameters;
use kernels::call::CallOptions;
use kernels::simd::Level;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use workers::context::{Lane, Sample, Settings};
use workers::index_file::{self, IndexError, ReferenceIndex};
use workers::intake::LaneInput;

/// The reference is not the one that the cohort names.
#[derive(Debug, thiserror::Error)]
#[error("{}: has the digest {found}, the cohort file states {stated}", path.display())]
struct ReferenceDigest {
    path: PathBuf,
    stated: String,
    found: String,
}

impl Classified for ReferenceDigest {
    fn class(&self) -> Class {
        Class::Input
    }

    fn hint(&self) -> Option<String> {
        Some("give the stated reference, or correct [cohort] reference.digest".to_owned())
    }
}

/// The reference with its index; where there is none, it is built: beside the reference, or else in `fallback`.
pub fn open_or_build(reference: &Path, fallback: &Path, threads: u32) -> Result<ReferenceIndex, Failure> {
    match open(reference, fallback) {
        Err(IndexError::Missing { .. }) => {}
        opened => return Ok(opened?),
    }
    let (beside, inside) = places(reference, fallback);
    note(&format!("building the index of {}", reference.display()));
    match crate::index::build(reference, &beside, threads) {
        // Without it the job makes a copy of its own.
        Ok(()) => drop(crate::index::index_letters(reference)),
        Err(_) => crate::index::build(reference, &inside, threads)?,
    }
    Ok(open(reference, fallback)?)
}

/// The reference with its index, from where [`open_or_build`] leaves it.
pub fn open(reference: &Path, fallback: &Path) -> Result<ReferenceIndex, IndexError> {
    let (beside, inside) = places(reference, fallback);
    let path = if !beside.exists() && inside.exists() { inside } else { beside };
    ReferenceIndex::open(reference, &path)
}

/// Where an index may be: beside the reference, and in the fallback.
fn places(reference: &Path, fallback: &Path) -> (PathBuf, PathBuf) {
    (index_file::path_of(reference), fallback.join("reference.wki"))
}

/// Refuses a reference that is not the one the cohort states.
pub fn check_reference_digest(cohort: &Cohort, path: &Path) -> Result<(), Failure> {
    let Some(stated) = &cohort.reference.digest else { return Ok(()) };
    let found = format!("sha256:{}", books::sha256(path)?);
    if stated.eq_ignore_ascii_case(&found) {
        return Ok(());
    }
    Err(ReferenceDigest { path: path.to_owned(), stated: stated.clone(), found }.into())
}

/// The samples as tasks see them.
pub fn samples_of(cohort: &Cohort, cut: &Cut) -> Vec<Sample> {
    let codes: BTreeSet<&str> = cohort.samples.iter().map(|sample| sample.participant.as_str()).collect();
    let ordinals: BTreeMap<&str, u32> = codes.into_iter().zip(0..).collect();
    cohort
        .samples
        .iter()
        .map(|sample| sample_of(cohort, sample, cut, ordinals[sample.participant.as_str()]))
        .collect()
}

fn sample_of(cohort: &Cohort, sample: &jobs::cohort::Sample, cut: &Cut, participant: u32) -> Sample {
    let mut libraries: Vec<&str> = Vec::new();
    let lanes = sample.lanes.iter().enumerate().map(|(ordinal, lane)| {
        let library = libraries.iter().position(|&name| name == lane.library).unwrap_or_else(|| {
            libraries.push(&lane.library);
            libraries.len() - 1
        });
        Lane {
            input: lane_input(cohort, lane),
            read_group: sample.read_group_id(lane),
            header_line: sample.read_group(lane),
            library: library as u16,
            chunk_pairs: cut.chunk_pairs_of((&sample.sample, ordinal), cohort, lane),
        }
    });
    let lanes = lanes.collect();
    Sample { name: sample.sample.clone(), joint: sample.role.joins(), participant, lanes }
}

fn lane_input(cohort: &Cohort, lane: &SheetLane) -> LaneInput {
    LaneInput {
        fastq_1: cohort.reads_path(&lane.fastq_1),
        fastq_2: lane.fastq_2.as_ref().map(|fastq| cohort.reads_path(fastq)),
        sha256_1: lane.fastq_1.sha256,
        sha256_2: lane.fastq_2.as_ref().and_then(|fastq| fastq.sha256),
    }
}

/// The settings of tasks, whose kernels use these vectors.
pub fn settings(cohort: &Cohort, simd: Level) -> Settings {
    Settings {
        parameters: books::blake3_text(&cohort.parameters.canonical_of_samples()),
        joint_parameters: books::blake3_text(&cohort.parameters.canonical()),
        calling: true,
        call: call_options(&cohort.parameters),
        joint: joint_options(&cohort.parameters),
        simd,
        ..Settings::default()
    }
}

/// The caller's options under these parameters.
pub fn call_options(parameters: &Parameters) -> CallOptions {
    CallOptions {
        depth_max: parameters.max_depth,
        mapq_min: parameters.min_mapq,
        quality_min: parameters.min_base_quality,
        quality_tenths_min: u32::from(parameters.min_qual) * 10,
        ..CallOptions::default()
    }
}

/// The joint caller's options under these parameters.
pub fn joint_options(parameters: &Parameters) -> kernels::joint::Options {
    kernels::joint::Options {
        low_quality_tenths: u32::from(parameters.min_qual_joint) * 10,
        ..kernels::joint::Options::default()
    }
}
