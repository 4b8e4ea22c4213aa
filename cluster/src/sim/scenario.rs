//! What happens to an imagined job besides its work: who comes when, who is slow, lost or lying, and how far away all are.

/// A place of imagined workers.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SiteWorld {
    /// One way of a message, in microseconds.
    pub latency_us: u64,
    /// Bandwidth of the site's storage (or of its line to the job's storage), all workers together.
    pub bytes_per_second: Option<u64>,
    /// Bandwidth of each worker.
    pub worker_bytes_per_second: Option<u64>,
    /// Whether outputs are read again by the coordinator, over its own line.
    pub through_coordinator: bool,
    /// How long it takes until a lost worker is known to be.
    pub detect_us: u64,
    /// As a batch site: bundles at most, their wished length, and how long they wait before they start.
    pub batch: Option<Batch>,
    /// Price of a core for an hour.
    pub price_core_hour: f64,
    /// Samples whose data may not be here.
    pub forbidden: Vec<u32>,
    /// By stage: whether its workers can do it.
    pub stages: [bool; 7],
}

/// A batch system.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Batch {
    /// Bundles that may wait or run at once.
    pub bundles_max: u32,
    /// Their wished length.
    pub bundle_us: u64,
    /// Time in the queue.
    pub queue_us: u64,
    /// Wall time after which a bundle is ended.
    pub wall_us: u64,
}

/// A supercomputer's partition: storage that all workers share, a fast network.
impl Default for SiteWorld {
    fn default() -> Self {
        SiteWorld {
            latency_us: 200,
            bytes_per_second: Some(100_000_000_000),
            worker_bytes_per_second: Some(1_000_000_000),
            through_coordinator: false,
            detect_us: 2_000_000,
            batch: None,
            price_core_hour: 0.0,
            forbidden: Vec::new(),
            stages: [true; 7],
        }
    }
}

/// Workers that come together.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Wave {
    /// Where.
    pub site: u16,
    /// When.
    pub at_us: u64,
    /// How many.
    pub workers: u32,
    /// Cores of each.
    pub slots: u32,
    /// Memory of each.
    pub memory_bytes: u64,
}

/// What the scheduler's own machine takes.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Coordinator {
    /// For each message.
    pub message_us: u64,
    /// For each output: lease, row of the journal, audit events.
    pub output_us: u64,
    /// For each group of commits: the journal's sync.
    pub sync_us: u64,
    /// Its line, for outputs that it reads itself.
    pub bytes_per_second: u64,
    /// How often time is told to pass.
    pub tick_us: u64,
}

impl Default for Coordinator {
    fn default() -> Self {
        // Measured: the driver's thread took 1.76 s of CPU time for 716 tasks that ended one at a time and 0.78 s for the
        // same in about 177 rounds. So a round takes 1.75 ms and 4.4 syncs, here 0.75 ms each (a quiet disk of this machine
        // takes 0.1), and an output 0.5 ms with its messages, its lease and what that signs. How: benches/record/scaling.md.
        Coordinator {
            message_us: 20,
            output_us: 500,
            sync_us: 5_000,
            bytes_per_second: 1_000_000_000,
            tick_us: 500_000,
        }
    }
}

/// What goes wrong; shares are of workers, attempts or messages.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Faults {
    /// Workers at part of the usual speed.
    pub slow: f64,
    /// That part.
    pub slow_speed: f64,
    /// Workers killed at a random moment of the horizon, for good.
    pub killed: f64,
    /// Workers taken away at a random moment of the horizon; another comes after a cold start.
    pub reclaimed: f64,
    /// How long a machine takes to come.
    pub cold_start_us: u64,
    /// Time over which losses are spread.
    pub horizon_us: u64,
    /// Workers whose outputs are sometimes wrong in a way only a comparison shows.
    pub lying: f64,
    /// Workers whose outputs sometimes fail verification.
    pub damaged: f64,
    /// Share of a wrong worker's outputs that are wrong.
    pub wrong: f64,
    /// Attempts that end with a machine's error.
    pub failing: f64,
    /// Attempts that find an input damaged.
    pub losing_inputs: f64,
    /// Chunks and cells too large for a worker's memory, unless they are cut: of a chunk, in two; of a shard, to one cell.
    pub exhausting: f64,
    /// Cuts that nobody answers.
    pub unanswered: f64,
    /// Messages that come twice.
    pub doubled: f64,
    /// Messages that come late.
    pub late: f64,
    /// How late.
    pub late_us: u64,
    /// Times at which the coordinator is killed; it begins again from its journal.
    pub crashes_us: Vec<u64>,
    /// How long it is away.
    pub restart_us: u64,
    /// Times at which its clock jumps, and by how many milliseconds, back too.
    pub jumps: Vec<(u64, i64)>,
    /// Sites that are left, and when.
    pub drains: Vec<(u64, u16)>,
    /// Samples that the policy forbids, and when.
    pub denials: Vec<(u64, u32)>,
}

/// A world around a cohort.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Scenario {
    /// Decides everything random.
    pub seed: u64,
    /// Places.
    pub sites: Vec<SiteWorld>,
    /// Who comes.
    pub waves: Vec<Wave>,
    /// The scheduler's machine.
    pub coordinator: Coordinator,
    /// What goes wrong.
    pub faults: Faults,
}

impl Scenario {
    /// So many workers of one core at one site from the beginning, and nothing goes wrong.
    pub fn calm(seed: u64, workers: u32) -> Self {
        let wave = Wave { site: 0, at_us: 0, workers, slots: 1, memory_bytes: 4 << 30 };
        Scenario {
            seed,
            sites: vec![SiteWorld::default()],
            waves: vec![wave],
            coordinator: Coordinator::default(),
            faults: Faults::default(),
        }
    }
}
