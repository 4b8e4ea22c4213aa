//! How many ranks whoever started this process says it started.
//!
//! A program that is built with one MPI and started by another's mpirun runs as so many worlds of one rank, each sure to
//! be the only one. The starters leave their count in the environment. Pure: the environment comes as an argument.

/// What the environment says of the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Who says so.
    pub by: &'static str,
    /// Ranks started.
    pub ranks: u32,
    /// Which of them this process is.
    pub rank: u32,
}

/// Who starts ranks, and the variables for their number and the rank; the innermost starter first: an mpirun inside an
/// allocation of Slurm still sees Slurm's.
const STARTERS: [(&str, &str, &str); 4] = [
    ("mpirun of Open MPI", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("mpirun of MPICH, or srun --mpi=pmi2,", "PMI_SIZE", "PMI_RANK"),
    ("srun", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
    ("Slurm", "SLURM_NTASKS", "SLURM_PROCID"),
];

/// What the environment says; `None` for a process that nobody started as a rank.
pub fn launch(variable: impl Fn(&str) -> Option<String>) -> Option<Launch> {
    let number = |name: &str| variable(name)?.trim().parse::<u32>().ok();
    STARTERS.into_iter().find_map(|(by, ranks, rank)| {
        Some(Launch { by, ranks: number(ranks)?, rank: number(rank).unwrap_or(0) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(environment: &[(&str, &str)], expect: Option<(&str, u32, u32)>) {
        let variable =
            |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, text)| text.to_string());
        let found = launch(variable).map(|launch| (launch.by, launch.ranks, launch.rank));
        assert_eq!(found, expect);
    }

    #[test]
    fn the_innermost_starter_counts() {
        let slurm = [("SLURM_NTASKS", "64"), ("SLURM_PROCID", "3")];
        check(&[], None);
        check(&slurm, Some(("Slurm", 64, 3)));
        let inner = [("OMPI_COMM_WORLD_SIZE", "4"), ("OMPI_COMM_WORLD_RANK", "2")];
        check(&[&slurm[..], &inner].concat(), Some(("mpirun of Open MPI", 4, 2)));
        check(&[("PMI_SIZE", "8"), ("PMI_RANK", "x")], Some(("mpirun of MPICH, or srun --mpi=pmi2,", 8, 0)));
        check(&[("SLURM_STEP_NUM_TASKS", "6"), slurm[0], slurm[1]], Some(("srun", 6, 3)));
        check(&[("OMPI_COMM_WORLD_SIZE", "many"), slurm[0]], Some(("Slurm", 64, 0)));
    }
}
