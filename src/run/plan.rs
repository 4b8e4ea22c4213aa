//! What a job consists of on this machine: how finely it is cut, and how much memory each task may take.

use jobs::cohort::{Cohort, Lane, Sample};
use jobs::config::{Config, Limits, Origin, Resolved};
use jobs::failure::Failure;
use jobs::genome::{CELL_BASES, Contigs, Grid};
use scheduler::{CostModel, MemoryModel, Plan, SamplePlan, StageCost};
use std::collections::{BTreeSet, HashMap};
use storage::Journal;

/// Chunks of the largest lane, about.
const CHUNKS_PER_LANE: u64 = 16;

/// Chunks are not cut smaller than this unless somebody says so.
const CHUNK_PAIRS_MIN: u64 = 16_384;

/// Bytes of FASTQ that a read of 150 bases takes, about: compressed, and plain.
const BYTES_PER_READ: [u64; 2] = [75, 350];

/// How lanes are cut into chunks: enough for all threads and for a quick resume, but not so many that a region has to
/// merge thousands of runs. Only the lane's own size counts, so that a resumed job cuts as before whoever joined it.
#[derive(Clone, Debug)]
pub struct Cut {
    chunk_pairs: u64,
    /// Whether somebody said so.
    said: bool,
    /// How the lanes are cut whose intake has begun, by what the keys of its parts have in common.
    begun: HashMap<String, u64>,
}

impl Cut {
    /// As the configuration says; where it says nothing, by the size of each lane.
    pub fn of(config: &Config) -> Self {
        let said = |one: &Resolved| one.key == "limits.chunk_pairs" && one.origin != Origin::Default;
        let said = config.resolved.iter().any(said);
        Cut { chunk_pairs: config.limits.chunk_pairs.into(), said, begun: HashMap::new() }
    }

    /// Pairs of every chunk, where somebody said so.
    pub fn said(&self) -> Option<u32> {
        self.said.then_some(self.chunk_pairs as u32)
    }

    /// Goes on with the cuts of lanes that a job has begun to take in: its maps are counted by them.
    pub fn go_on(&mut self, journal: &Journal) -> Result<(), Failure> {
        journal.replay(|key, commit| {
            if let Some((lane, _part)) = key.rsplit_once('/').filter(|_| key.starts_with("intake/")) {
                let summary = workers::task::intake_summary(&commit);
                self.begun.extend(summary.map(|summary| (lane.to_owned(), summary.chunk_pairs)));
            }
        })?;
        Ok(())
    }

    /// Pairs of a chunk of a sample's lane.
    pub fn chunk_pairs_of(&self, (sample, ordinal): (&str, usize), cohort: &Cohort, lane: &Lane) -> u64 {
        let begun = self.begun.get(&format!("intake/{sample}/{ordinal}")).copied();
        begun.unwrap_or_else(|| self.chunk_pairs(cohort, lane))
    }

    /// Pairs of a chunk of this lane, if it is taken in now.
    fn chunk_pairs(&self, cohort: &Cohort, lane: &Lane) -> u64 {
        match self.said {
            true => self.chunk_pairs,
            false => (pairs(cohort, lane) / CHUNKS_PER_LANE).clamp(CHUNK_PAIRS_MIN, self.chunk_pairs),
        }
    }

    /// The most that a chunk of the cohort has.
    fn chunk_pairs_max(&self, cohort: &Cohort) -> u64 {
        let new = lanes(cohort).map(|lane| self.chunk_pairs(cohort, lane));
        new.chain(self.begun.values().copied()).max().unwrap_or(self.chunk_pairs)
    }
}

fn lanes(cohort: &Cohort) -> impl Iterator<Item = &Lane> {
    cohort.samples.iter().flat_map(|sample| &sample.lanes)
}

/// Whether joint tasks read each sample's calls. Where they would read nobody's, they are everybody's, and their calls are
/// empty: nothing is done on nobody's consent.
pub fn joined(cohort: &Cohort) -> Vec<bool> {
    let compared = cohort.compared();
    let is_read = |sample: &Sample| sample.role.joins() || compared.contains(sample.participant.as_str());
    let nobody = !cohort.samples.iter().any(is_read);
    cohort.samples.iter().map(|sample| nobody || is_read(sample)).collect()
}

/// About how many pairs a lane has, by the size of its first file.
fn pairs(cohort: &Cohort, lane: &Lane) -> u64 {
    let path = cohort.reads_path(&lane.fastq_1);
    let plain = path.extension().is_some_and(|ending| ending == "fastq" || ending == "fq");
    std::fs::metadata(&path).map_or(0, |file| file.len()) / BYTES_PER_READ[usize::from(plain)]
}

/// The tasks of the cohort.
pub fn plan(cohort: &Cohort, contigs: &Contigs, limits: Limits, cut: &Cut, shard_lines: &[u32]) -> Plan {
    let cells = Grid::new(contigs).cells();
    let shard_cells = (limits.shard_bases / u64::from(CELL_BASES)).clamp(1, u64::from(u32::MAX));
    Plan {
        samples: cohort
            .samples
            .iter()
            .zip(joined(cohort))
            .map(|(sample, joint)| SamplePlan {
                name: sample.sample.clone(),
                lanes: sample.lanes.len() as u32,
                joint,
                pairs: sample.lanes.iter().map(|lane| pairs(cohort, lane)).sum(),
            })
            .collect(),
        cells,
        shard_cells_max: shard_cells as u32,
        chunk_pairs: cut.chunk_pairs_max(cohort),
        lines: (!shard_lines.is_empty()).then(|| shard_lines.to_vec()),
        seals: cohort.archive.is_some(),
        memory: memory_model(cohort, contigs, cut),
        costs: COSTS,
    }
}

/// Expected durations until a job's own tasks say better: by stage as measured in CPU time of one core of 2.1 GHz, on pairs
/// of 150 bases simulated from 30 Mb of chromosomes 20 and 21 at depth 10 and from 8 Mb at depth 30. Maps took 33,000 ns a
/// pair there; a third more is guessed for the caches that a whole genome misses. The joint call was measured with two
/// samples only.
const COSTS: CostModel = CostModel {
    stages: [
        cost(10.0, 2_000.0, 0.0),
        cost(300.0, 0.0, 0.0),
        cost(30.0, 45_000.0, 0.0),
        cost(10.0, 7_500.0, 2.6),
        cost(10.0, 0.0, 1.2),
        cost(10.0, 230.0, 0.1),
        cost(50.0, 1_000.0, 0.1),
    ],
    bytes_per_read: 150.0,
};

const fn cost(fixed_ms: f64, read_ns: f64, cell_ms: f64) -> StageCost {
    StageCost { fixed_ms, read_ns, cell_ms, spread: 0.3 }
}

/// Memory by stage, as measured on deep and shallow data and rounded up: what a task holds at its peak.
fn memory_model(cohort: &Cohort, contigs: &Contigs, cut: &Cut) -> MemoryModel {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    let contig_max = contigs.iter().map(|contig| u64::from(contig.length)).max().unwrap_or(0);
    let joint = joined(cohort).into_iter().filter(|&joined| joined).count() as u64;
    let of = |lane: &Lane| pairs(cohort, lane) / cut.chunk_pairs(cohort, lane) + 1;
    let of_sample = |sample: &Sample| sample.lanes.iter().map(of).sum::<u64>();
    let runs = cohort.samples.iter().map(of_sample).max().unwrap_or(0);
    // Two blocks, and the directory: half a byte a pair.
    let run_bytes = 160 * KIB + cut.chunk_pairs_max(cohort) / 2;
    MemoryModel {
        // htslib keeps the contig in use and the one before it.
        fixed_bytes: 48 * MIB + 2 * contig_max,
        task_bytes: [
            24 * MIB,
            48 * MIB,
            // Entries, their blocks and the record: about 2,400 bytes a pair.
            48 * MIB + 2400 * cut.chunk_pairs_max(cohort),
            // Kept reads of one cell, evidence, containers; and what a merge holds of each run.
            96 * MIB + u64::from(cohort.parameters.max_depth) * MIB / 2 + runs * run_bytes,
            64 * MIB + joint * 4 * MIB,
            64 * MIB + joint * MIB,
            // A row of blocks, read back beside it.
            48 * MIB,
        ],
    }
}

/// How many shards each sample and the joint call have at least; where reads are deep, there are more.
pub fn shards(plan: &Plan) -> u64 {
    let parts = plan.parts();
    match &plan.lines {
        Some(lines) => {
            let lines = lines.iter().copied().filter(|&line| line > 0 && line < plan.cells);
            1 + lines.chain(parts.lines()).collect::<BTreeSet<u32>>().len() as u64
        }
        None => (0..parts.count())
            .map(|part| parts.cells(part).len().div_ceil(plan.shard_cells_max as usize) as u64)
            .sum(),
    }
}
