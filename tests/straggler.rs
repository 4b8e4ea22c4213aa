//! A window of 10,000-fold depth, a lane in a single chunk: the attempt that meets it is cut while it runs, and what it
//! would have come to is shared out. The bytes are those of one thread that is never cut.

#[path = "program/heap.rs"]
mod heap;
#[path = "program/wakachi.rs"]
mod wakachi;

use heap::heap;
use std::fs;
use std::path::Path;
use wakachi::{Cohort, digests, text};

#[test]
fn a_straggler_is_cut_while_it_runs_and_shared_out() {
    let cohort = Cohort::simulate("straggler", "--samples 1 --genome-mb 0.8 --depth 6 --seed 13");
    heap(&cohort);
    // One shard for the whole genome, whatever it costs.
    let alone = cohort.job("-t 1 --shard-lines 0 --chunk-pairs 3000 --rest-ms 1000000000");
    assert_eq!(regions(alone.path()), 1, "one thread has nobody to share with");
    let shared = cohort.job("-t 2 --shard-lines 0 --chunk-pairs 3000 --rest-ms 5");
    assert!(regions(shared.path()) >= 2, "nobody came to help");
    let results = |job: &Path| digests(&job.join("results"));
    assert_eq!(results(shared.path()), results(alone.path()));
}

#[test]
fn a_map_is_cut_while_it_runs_and_shared_out() {
    let cohort = Cohort::simulate("straggling-map", "--samples 1 --genome-mb 0.6 --depth 12 --seed 14");
    let alone = cohort.job("-t 1 --rest-ms 1000000000 --chunk-pairs 1000000");
    let lanes = maps(alone.path());
    let shared = cohort.job("-t 3 --rest-ms 20 --chunk-pairs 1000000");
    assert!(maps(shared.path()) >= lanes + 3, "{lanes} lanes, {} maps", maps(shared.path()));
    let cells = cohort.job("-t 2 --chunk-pairs 1000 --shard-lines 0");
    let results = |job: &Path| digests(&job.join("results"));
    assert_eq!(results(shared.path()), results(alone.path()));
    assert_eq!(results(cells.path()), results(alone.path()));
}

/// Maps that were committed.
fn maps(job: &Path) -> u64 {
    let info = wakachi::wakachi(&["job", "info", text(job), "--output", "json"]).ok().json();
    let mut stages = info["stages"].as_array().unwrap().iter();
    stages.find(|stage| stage["stage"] == "map").unwrap()["done"].as_u64().unwrap()
}

/// Attempts at regions of placed reads that were committed.
fn regions(job: &Path) -> usize {
    let ledger: serde_json::Value =
        serde_json::from_slice(&fs::read(job.join("ledger.json")).unwrap()).unwrap();
    ledger["samples"][0]["shards"].as_array().unwrap().len()
}
