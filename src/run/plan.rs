//! What a job consists of on this machine: how finely it is cut, and how much memory each task may take.

use super::Args;
use super::admission::Excluded;
use crate::output::{self, Format, bytes, table};
use jobs::cohort::Cohort;
use jobs::config::{Config, Limits, Origin, Resolved};
use jobs::failure::Failure;
use jobs::genome::{Cell, Contigs, Grid};
use jobs::task::{Shard, Stage};
use scheduler::old::{MemoryModel, Plan, SamplePlan};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use workers::index_file::Bases;

/// Chunks of the largest lane, about.
const CHUNKS_PER_LANE: u64 = 16;

/// Chunks are not cut smaller than this unless somebody says so.
const CHUNK_PAIRS_MIN: u64 = 16_384;

/// Bytes of compressed FASTQ that a read of 150 bases takes, about.
const BYTES_PER_READ: u64 = 75;

/// The limits, with chunks cut to the largest lane where nobody said how large: enough tasks for all threads and for a
/// quick resume, but not so many that a region has to merge thousands of runs. Only file sizes count, so that a resumed
/// job cuts as before.
pub fn cut_to_size(config: &Config, cohort: &Cohort) -> Limits {
    let said = |one: &Resolved| one.key == "limits.chunk_pairs" && one.origin != Origin::Default;
    if config.resolved.iter().any(said) {
        return config.limits;
    }
    let pairs = lane_pairs(cohort).max().unwrap_or(0);
    let chunk_pairs = (pairs / CHUNKS_PER_LANE).clamp(CHUNK_PAIRS_MIN, u64::from(config.limits.chunk_pairs));
    Limits { chunk_pairs: chunk_pairs as u32, ..config.limits }
}

/// About how many pairs each lane has, by the size of its first file.
fn lane_pairs(cohort: &Cohort) -> impl Iterator<Item = u64> {
    let lanes = cohort.samples.iter().flat_map(|sample| &sample.lanes);
    let bytes =
        lanes.map(|lane| std::fs::metadata(cohort.reads_path(&lane.fastq_1)).map_or(0, |file| file.len()));
    bytes.map(|bytes| bytes / BYTES_PER_READ)
}

pub fn limits_of(limits: Limits) -> scheduler::old::Limits {
    scheduler::old::Limits { threads: limits.threads, memory_bytes: limits.memory_bytes }
}

/// The tasks of the cohort.
pub fn plan(cohort: &Cohort, contigs: &Contigs, limits: Limits, shard_lines: &[u32]) -> Plan {
    let grid = Grid::new(contigs);
    let shards = match shard_lines {
        [] => grid.shards(limits.shard_bases),
        lines => shards_between(lines, grid.cells()),
    };
    Plan {
        samples: cohort
            .samples
            .iter()
            .map(|sample| SamplePlan {
                name: sample.sample.clone(),
                lanes: sample.lanes.len() as u32,
                joint: sample.role.joins(),
            })
            .collect(),
        shards: shards
            .into_iter()
            .map(|cells| Shard::Cells { first: Cell(cells.start), end: Cell(cells.end) })
            .collect(),
        seals: cohort.archive.is_some(),
        memory: memory_model(cohort, contigs, limits),
    }
}

/// Shards that begin at the first cell and at each of `lines`.
fn shards_between(lines: &[u32], cells: u32) -> Vec<Range<u32>> {
    let inner = lines.iter().copied().filter(|&line| line > 0 && line < cells);
    let borders: BTreeSet<u32> = inner.chain([0, cells]).collect();
    borders.iter().zip(borders.iter().skip(1)).map(|(&start, &end)| start..end).collect()
}

/// Memory by stage, as measured on deep and shallow data and rounded up: what a task holds at its peak.
fn memory_model(cohort: &Cohort, contigs: &Contigs, limits: Limits) -> MemoryModel {
    const MIB: u64 = 1 << 20;
    let contig_max = contigs.iter().map(|contig| u64::from(contig.length)).max().unwrap_or(0);
    let joint = cohort.joined().count() as u64;
    let runs =
        lane_pairs(cohort).sum::<u64>() / u64::from(limits.chunk_pairs) / cohort.samples.len().max(1) as u64;
    MemoryModel {
        // htslib keeps the contig in use and the one before it.
        fixed_bytes: 48 * MIB + 2 * contig_max,
        task_bytes: [
            24 * MIB,
            48 * MIB,
            // Entries, their blocks and the record: about 2,400 bytes a pair.
            48 * MIB + 2400 * u64::from(limits.chunk_pairs),
            // Kept reads of one cell, evidence, containers; a merge holds a block of each run.
            96 * MIB + u64::from(cohort.parameters.max_depth) * MIB / 2 + runs * MIB / 8,
            64 * MIB + joint * 4 * MIB,
            64 * MIB + joint * MIB,
            // A row of blocks, read back beside it.
            48 * MIB,
        ],
    }
}

/// `--dry-run`: what would be done, and nothing done.
pub fn dry_run(
    args: &Args,
    cohort: &Cohort,
    excluded: &[Excluded],
    reference: &Path,
    limits: Limits,
) -> Result<(), Failure> {
    let bases = Bases::open(reference)?;
    let contigs = bases.contigs();
    let plan = plan(cohort, contigs, limits, &args.shard_lines);
    plan.admit(limits_of(limits))?;
    let files = cohort.samples.iter().flat_map(|sample| &sample.lanes);
    let sizes = files.flat_map(|lane| std::iter::once(&lane.fastq_1).chain(&lane.fastq_2));
    let input: u64 = sizes.map(|f| std::fs::metadata(cohort.reads_path(f)).map_or(0, |m| m.len())).sum();
    let value = serde_json::json!({
        "schema": "wakachi.plan/1",
        "cohort": cohort.id,
        "samples": plan.samples.len(),
        "excluded": excluded,
        "lanes": plan.lanes().count(),
        "shards": plan.shards.len(),
        "cells": Grid::new(contigs).cells(),
        "reference_bases": contigs.total_bases(),
        "input_bytes": input,
        "scratch_bytes": input * 2,
        "threads": limits.threads,
        "memory_bytes": limits.memory_bytes,
        "memory_bytes_min": plan.memory.minimum(),
        "tasks": Stage::ALL.iter().map(|&stage| (stage.name(), plan.count(stage, |_| None))).collect::<BTreeMap<_, _>>(),
    });
    match args.output {
        Format::Json => output::json(&value),
        Format::Quiet => {}
        Format::Table => {
            let rows: Vec<Vec<String>> = Stage::ALL
                .iter()
                .filter(|&&stage| stage != Stage::Seal || plan.seals)
                .map(|&stage| {
                    let count = match stage {
                        Stage::Map => format!("one per {} pairs", limits.chunk_pairs),
                        _ => plan.count(stage, |_| None).to_string(),
                    };
                    let memory = plan.memory.task_bytes[stage as usize];
                    vec![stage.name().to_owned(), count, bytes(memory)]
                })
                .collect();
            output::say(&format!(
                "cohort {}: {} samples, {} lanes, {} of reads, {} shards of {} bases",
                cohort.id,
                plan.samples.len(),
                plan.lanes().count(),
                bytes(input),
                plan.shards.len(),
                limits.shard_bases
            ));
            for one in excluded {
                output::say(&format!("left out: {}: {}", one.sample, one.reasons.join(", ")));
            }
            output::say(&table(&["stage", "tasks", "memory each"], &rows));
            output::say(&format!(
                "{} threads, {} of memory (at least {} needed), scratch about {}",
                limits.threads,
                bytes(limits.memory_bytes),
                bytes(plan.memory.minimum()),
                bytes(input * 2)
            ));
        }
    }
    Ok(())
}
