//! Expected durations: linear in reads and cells, learned from the job's own finished tasks.

/// Expected duration of the tasks of one stage: `fixed + reads * per_read + cells * per_cell`.
///
/// Reads are pairs for intake and map; reads of the shard for region; reads of all joined samples in the shard for joint;
/// of the sample, or of the cohort, for finish and seal. Cells are those of the shard, for joint times joined samples.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StageCost {
    /// Milliseconds of any task.
    pub fixed_ms: f64,
    /// Nanoseconds a read, or a pair.
    pub read_ns: f64,
    /// Milliseconds a cell.
    pub cell_ms: f64,
    /// How far a task is off, as a share of what was expected (standard deviation).
    pub spread: f64,
}

/// Expected durations by stage, in the order of [`jobs::task::Stage::ALL`], on one core of speed 1.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CostModel {
    /// One entry a stage.
    pub stages: [StageCost; 7],
    /// Bytes that a task moves for each read it works on, in and out: what a far site has to wait for.
    pub bytes_per_read: f64,
}
