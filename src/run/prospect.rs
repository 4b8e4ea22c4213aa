//! `--dry-run`: what a job would be, and nothing done: tasks, core time, memory, scratch, and the price by site.
//!
//! What is expected is what the scheduler expects before its first task: the measured costs of [`super::plan`] for the
//! reads that the files' lengths promise. A job's own tasks say better within minutes; `wakachi job info` tells it.

use super::Args;
use super::admission::{self, subject_of};
use super::burst::Burst;
use super::opening::Asked;
use super::plan;
use crate::cohort;
use crate::config::prices;
use crate::output::{self, Format, bytes, duration, table};
use jobs::failure::Failure;
use jobs::genome::Grid;
use jobs::policy::{Action, DataClass};
use jobs::task::Stage;
use scheduler::{Options, Plan, Scheduler, StageLeft};
use std::collections::BTreeMap;
use workers::index_file::Bases;

/// A site, and how much of the job it could do.
#[derive(serde::Serialize)]
struct SiteShare {
    site: String,
    /// Core time of the tasks that may run there.
    core_ms: u64,
    price_core_hour: Option<f64>,
    /// Of that core time.
    price: Option<f64>,
}

/// Says what would be done.
pub fn say(args: &Args, asked: &mut Asked) -> Result<(), Failure> {
    let excluded = admission::exclusions(&asked.gate, &asked.cohort)?;
    let is_out = |sample: &str| excluded.iter().any(|one| one.sample == sample);
    asked.cohort.samples.retain(|sample| !is_out(&sample.sample));
    let Asked { cohort, cut, limits, .. } = &*asked;
    cohort::check_files(&args.cohort, cohort)?;
    let reference = Bases::open(&cohort.reference_path())?;
    let contigs = reference.contigs();
    let plan = plan::plan(cohort, contigs, *limits, cut, &args.shard_lines);
    plan.admit(limits.memory_bytes)?;
    let expected = expected(&plan);
    let of = |stage: Stage| expected[stage as usize];
    let core_ms: f64 = expected.iter().map(|stage| stage.ms).sum();
    let sites = sites(&plan, asked, core_ms)?;
    let files = cohort.samples.iter().flat_map(|sample| &sample.lanes);
    let sizes = files.flat_map(|lane| std::iter::once(&lane.fastq_1).chain(&lane.fastq_2));
    let input: u64 = sizes.map(|f| std::fs::metadata(cohort.reads_path(f)).map_or(0, |m| m.len())).sum();
    let by_stage = |of: &dyn Fn(Stage) -> u64| -> BTreeMap<&str, u64> {
        Stage::ALL.iter().map(|&stage| (stage.name(), of(stage))).collect()
    };
    let value = serde_json::json!({
        "schema": "wakachi.plan/1",
        "cohort": cohort.id,
        "samples": plan.samples.len(),
        "excluded": excluded,
        "lanes": plan.lanes().count(),
        "shards": plan::shards(&plan),
        "cells": Grid::new(contigs).cells(),
        "reference_bases": contigs.total_bases(),
        "input_bytes": input,
        "scratch_bytes": input * 2,
        "threads": limits.threads,
        "memory_bytes": limits.memory_bytes,
        "memory_bytes_min": plan.memory.minimum(),
        "tasks": by_stage(&|stage| of(stage).tasks.ceil() as u64),
        "core_ms": by_stage(&|stage| of(stage).ms as u64),
        "sites": sites,
    });
    match args.output {
        Format::Json => output::json(&value),
        Format::Quiet => {}
        Format::Table => {
            let rows: Vec<Vec<String>> = Stage::ALL
                .iter()
                .filter(|&&stage| stage != Stage::Seal || plan.seals)
                .map(|&stage| {
                    let about = if matches!(stage, Stage::Intake | Stage::Map) { "about " } else { "" };
                    let memory = plan.memory.task_bytes[stage as usize];
                    let tasks = format!("{about}{}", of(stage).tasks.ceil());
                    vec![stage.name().to_owned(), tasks, duration(of(stage).ms as u64), bytes(memory)]
                })
                .collect();
            output::say(&format!(
                "cohort {}: {} samples, {} lanes, {} of reads, at least {} shards of at most {} bases",
                cohort.id,
                plan.samples.len(),
                plan.lanes().count(),
                bytes(input),
                plan::shards(&plan),
                limits.shard_bases
            ));
            for one in &excluded {
                output::say(&format!("left out: {}: {}", one.sample, one.reasons.join(", ")));
            }
            output::say(&table(&["stage", "tasks", "core time", "memory each"], &rows));
            output::say(&printed(&sites));
            output::say(&format!(
                "{} threads, {} of memory (at least {} needed), scratch about {}; about {} of core time",
                limits.threads,
                bytes(limits.memory_bytes),
                bytes(plan.memory.minimum()),
                bytes(input * 2),
                duration(core_ms as u64)
            ));
        }
    }
    Ok(())
}

/// What the scheduler expects of each stage.
fn expected(plan: &Plan) -> [StageLeft; 7] {
    Scheduler::new(plan.clone(), Options::default()).left()
}

/// The sites of the job, each with what could be done there: here all of it, elsewhere what may and can leave.
fn sites(plan: &Plan, asked: &Asked, core_ms: f64) -> Result<Vec<SiteShare>, Failure> {
    let prices = prices(&asked.config);
    let share = |site: &str, core_ms: f64| {
        let price_core_hour = prices.get(site).copied();
        let price = price_core_hour.map(|price| price * core_ms / 3_600_000.0);
        SiteShare { site: site.to_owned(), core_ms: core_ms as u64, price_core_hour, price }
    };
    let mut sites = vec![share(asked.gate.site(), core_ms)];
    if let Some(burst) = &asked.burst {
        let register = asked.gate.register()?;
        let may_go = |sample: usize| {
            let subjects = [subject_of(&asked.cohort.samples[sample])];
            let ask =
                |action| asked.gate.ask_at(burst.site(), &register, action, DataClass::Fastq, &subjects);
            [Action::Dispatch, Action::Read].into_iter().all(|action| ask(action).is_ok())
        };
        let may_go: Vec<bool> = (0..plan.samples.len()).map(may_go).collect();
        let all_joined = plan.samples.iter().zip(&may_go).all(|(sample, may_go)| !sample.joint || *may_go);
        let samples = plan.samples.iter().zip(&may_go).filter(|(_, may_go)| **may_go);
        let those = Plan { samples: samples.map(|(sample, _)| sample.clone()).collect(), ..plan.clone() };
        let takes = |stage: &Stage| Burst::STAGES[*stage as usize] && (all_joined || *stage != Stage::Joint);
        let expected = expected(&those);
        let away =
            Stage::ALL.iter().filter(|stage| takes(stage)).map(|&stage| expected[stage as usize].ms).sum();
        sites.push(share(burst.site(), away));
    }
    Ok(sites)
}

fn printed(sites: &[SiteShare]) -> String {
    let none = || "not configured".to_owned();
    let row = |site: &SiteShare| {
        vec![
            site.site.clone(),
            duration(site.core_ms),
            site.price_core_hour.map_or_else(none, |price| format!("{price:.4}")),
            site.price.map_or_else(none, |price| format!("{price:.2}")),
        ]
    };
    let rows: Vec<Vec<String>> = sites.iter().map(row).collect();
    table(&["site", "at most, of core time", "an hour of a core", "price of that"], &rows)
}
