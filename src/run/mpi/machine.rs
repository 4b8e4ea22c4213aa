//! What a rank stands on, as it says to rank 0: the CPUs it is bound to, and what limits it besides.
//!
//! Quotas of control groups count for all ranks of a node, as they share one; so does what Slurm gives the job there.

use cluster::mpi::wire::Hello;
use cluster::mpi::world::World;
use jobs::config::Config;
use rustix::thread::{CpuSet, sched_getaffinity};

/// Memory of a machine that does not tell.
const MEMORY_BYTES: u64 = 4 << 30;

/// What this rank says of itself.
pub fn hello(world: &World, config: Option<&Config>) -> Hello {
    let cpus = bound_to();
    let bound: u32 = cpus.iter().map(|word| word.count_ones()).sum();
    // The smaller of affinity and quota; so a quota, if it is less than the affinity.
    let usable = std::thread::available_parallelism().map_or(u32::MAX, |cores| cores.get() as u32);
    let quota = if usable < bound { usable } else { u32::MAX };
    let memory_bytes = config.map_or(MEMORY_BYTES, |config| config.limits.memory_bytes);
    let mebibytes = |name| slurm(name).map(|count| count << 20);
    let per_core = || Some(mebibytes("SLURM_MEM_PER_CPU")? * slurm("SLURM_CPUS_ON_NODE")?);
    let granted = mebibytes("SLURM_MEM_PER_NODE").or_else(per_core).filter(|&bytes| bytes > 0);
    Hello {
        program: format!("wakachi {}", env!("CARGO_PKG_VERSION")),
        world: world.size(),
        node: world.node(),
        host: world.host().to_owned(),
        pid: std::process::id(),
        cpus,
        cores: (quota.min(cores("SLURM_CPUS_ON_NODE")), cores("SLURM_CPUS_PER_TASK")),
        memory_bytes: granted.map_or(memory_bytes, |bytes| bytes.min(memory_bytes)),
    }
}

fn slurm(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn cores(name: &str) -> u32 {
    slurm(name).filter(|&count| count > 0).map_or(u32::MAX, |count| count as u32)
}

/// The CPUs that this process may run on, a bit each; the first few where the system does not tell.
fn bound_to() -> Vec<u64> {
    let mut words = vec![0u64; CpuSet::MAX_CPU.div_ceil(64)];
    match sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU)
            .filter(|&cpu| set.is_set(cpu))
            .for_each(|cpu| words[cpu / 64] |= 1 << (cpu % 64)),
        Err(_) => words[0] = 1,
    }
    words
}
