//! `wakachi job bill`: what the core time of a job went to.

use crate::job_dir::JobDir;
use crate::output::{self, Format, bytes, duration, table};
use crate::run::status;
use cluster::bill::{Account, Idle};
use jobs::failure::{Class, Classified, Failure};
use jobs::task::Stage;
use std::path::PathBuf;

/// What the core time went to: by sample and stage, and idle by cause; all lines sum to the allocation
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wakachi job bill job
  wakachi job bill job --output json

Prices are those of `price_core_hour` under [site.NAME] in wakachi.toml, as they were when the job ran.")]
pub struct Args {
    /// The job directory
    dir: PathBuf,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// Nothing was ever allocated.
#[derive(Debug, thiserror::Error)]
#[error("{}: no worker has joined this job yet, so there is no bill", dir.display())]
struct NoBill {
    dir: PathBuf,
}

impl Classified for NoBill {
    fn class(&self) -> Class {
        Class::Partial
    }

    fn hint(&self) -> Option<String> {
        Some(format!("wakachi job info {}", self.dir.display()))
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let dir = JobDir::begun(&args.dir)?;
    let info = status::seen(&dir).filter(|info| info.bill.allocated_core_ms > 0);
    let info = info.ok_or_else(|| NoBill { dir: dir.root().to_owned() })?;
    match args.output {
        Format::Json => output::json(&serde_json::json!({
            "schema": "wakachi.job-bill/1", "job": info.job, "state": info.state, "bill": info.bill,
        })),
        Format::Quiet => {}
        Format::Table => output::say(&printed(&info.bill)),
    }
    Ok(())
}

fn printed(bill: &Account) -> String {
    let share = |ms: u64| format!("{:.1}%", 100.0 * ms as f64 / bill.allocated_core_ms.max(1) as f64);
    let stages: Vec<Stage> = Stage::ALL.into_iter().filter(|&stage| bill.by_stage(stage) > 0).collect();
    let mut header = vec!["work"];
    header.extend(stages.iter().map(|stage| stage.name()));
    header.extend(["core time", "share"]);
    let mut names: Vec<&Option<String>> = bill.work.iter().map(|line| &line.sample).collect();
    names.dedup();
    let row = |name: &Option<String>| {
        let of = |stage: Option<Stage>| -> u64 {
            let lines = bill.work.iter().filter(|line| line.sample == *name);
            lines.filter(|line| stage.is_none_or(|stage| line.stage == stage)).map(|line| line.core_ms).sum()
        };
        let mut row = vec![name.clone().unwrap_or_else(|| "(cohort)".to_owned())];
        row.extend(stages.iter().map(|&stage| duration(of(Some(stage)))));
        row.extend([duration(of(None)), share(of(None))]);
        row
    };
    let mut rows: Vec<Vec<String>> = names.into_iter().map(row).collect();
    let mut sum = vec!["all of it".to_owned()];
    sum.extend(stages.iter().map(|&stage| duration(bill.by_stage(stage))));
    sum.extend([duration(bill.work_core_ms), share(bill.work_core_ms)]);
    rows.push(sum);
    let mut parts = vec![table(&header, &rows)];
    let causes = Idle::ALL.into_iter().map(|cause| (cause.words(), bill.by_cause(cause)));
    let mut rows: Vec<Vec<String>> = causes
        .chain([("all of it", bill.idle_core_ms)])
        .filter(|(_, ms)| *ms > 0)
        .map(|(words, ms)| vec![words.to_owned(), duration(ms), share(ms)])
        .collect();
    if rows.is_empty() {
        rows.push(vec!["nothing".to_owned(), duration(0), share(0)]);
    }
    parts.push(table(&["everything else", "core time", "share"], &rows));
    let priced = bill.sites.iter().any(|line| line.price_core_hour > 0.0);
    let mut header = vec!["site", "core time", "bytes in", "bytes out"];
    header.extend(if priced { &["an hour of a core", "price"][..] } else { &[] });
    let rows = bill.sites.iter().map(|line| {
        let mut row =
            vec![line.site.clone(), duration(line.core_ms), bytes(line.bytes_in), bytes(line.bytes_out)];
        if priced {
            row.extend([format!("{:.4}", line.price_core_hour), format!("{:.2}", line.price)]);
        }
        row
    });
    parts.push(table(&header, &rows.collect::<Vec<_>>()));
    let price = if priced { format!(", price {:.2}", bill.price) } else { String::new() };
    parts.push(format!("allocated: {} (100%){price}", duration(bill.allocated_core_ms)));
    parts.join("\n\n")
}
