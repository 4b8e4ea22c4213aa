//! What each rank may use of its node, by what all ranks said of themselves.
//!
//! Invariant: the ranks of a node together never take more cores than the node gives them, unless there are more ranks
//! than cores or somebody named a number. Pure.

use super::wire::Hello;

/// What a rank may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Tasks at once; 0 for a rank that only schedules.
    pub slots: u32,
    /// Bytes of memory.
    pub memory_bytes: u64,
}

/// The seats of all ranks. Rank 0 schedules; where no other rank stands on its node it also works, with one core kept
/// free for the scheduling if there are several. `slots` and `memory_bytes` overrule, for each rank that works.
pub fn seats(hellos: &[Hello], slots: Option<u32>, memory_bytes: Option<u64>) -> Vec<Seat> {
    let alone =
        |rank: usize| !hellos.iter().enumerate().any(|(i, one)| i != rank && one.node == hellos[rank].node);
    let works = |rank: usize| rank > 0 || alone(0);
    let mut seats = Vec::with_capacity(hellos.len());
    for (rank, hello) in hellos.iter().enumerate() {
        let peers: Vec<usize> =
            (0..hellos.len()).filter(|&i| works(i) && hellos[i].node == hello.node).collect();
        if !works(rank) {
            seats.push(Seat { slots: 0, memory_bytes: 0 });
            continue;
        }
        let kept_free = u32::from(rank == 0 && hellos.len() > 1);
        let share = bound_share(hellos, &peers, rank)
            .min(part_of(hello.cores.0, &peers, rank))
            .min(hello.cores.1)
            .saturating_sub(kept_free)
            .max(1);
        seats.push(Seat {
            slots: slots.unwrap_or(share),
            memory_bytes: memory_bytes.unwrap_or(hello.memory_bytes / peers.len() as u64),
        });
    }
    seats
}

/// The share of `rank` in `whole` cores.
fn part_of(whole: u32, peers: &[usize], rank: usize) -> u32 {
    let place = peers.iter().position(|&peer| peer == rank).unwrap_or(0) as u64;
    let before = |place: u64| place * u64::from(whole) / peers.len() as u64;
    (before(place + 1) - before(place)) as u32
}

/// The share of `rank` in the CPUs it is bound to, each divided among the peers that are bound to it too.
fn bound_share(hellos: &[Hello], peers: &[usize], rank: usize) -> u32 {
    let has = |peer: usize, cpu: usize| {
        hellos[peer].cpus.get(cpu / 64).is_some_and(|word| word >> (cpu % 64) & 1 == 1)
    };
    let share = |peer: usize| -> f64 {
        let cpus = (0..64 * hellos[peer].cpus.len()).filter(|&cpu| has(peer, cpu));
        cpus.map(|cpu| 1.0 / peers.iter().filter(|&&other| has(other, cpu)).count() as f64).sum()
    };
    // Shares are laid end to end and cut at whole cores, so that no core is lost to rounding.
    let before: f64 = peers.iter().take_while(|&&peer| peer != rank).map(|&peer| share(peer)).sum();
    let whole = |cores: f64| (cores + 1e-6) as u32;
    whole(before + share(rank)) - whole(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(node: u32, cpus: std::ops::Range<u32>) -> Hello {
        let mut words = vec![0u64; 4];
        cpus.clone().for_each(|cpu| words[cpu as usize / 64] |= 1 << (cpu % 64));
        Hello {
            program: "wakachi".to_owned(),
            world: 0,
            node,
            host: format!("n{node}"),
            pid: 1,
            cpus: words,
            cores: (u32::MAX, u32::MAX),
            memory_bytes: 96,
        }
    }

    #[track_caller]
    fn check(hellos: &[Hello], expect: &[u32]) {
        let slots: Vec<u32> = seats(hellos, None, None).iter().map(|seat| seat.slots).collect();
        assert_eq!(slots, expect);
    }

    #[test]
    fn one_rank_a_node_takes_the_node_and_rank_0_keeps_a_core() {
        check(&[hello(0, 0..128), hello(1, 0..128), hello(2, 0..128)], &[127, 128, 128]);
        check(&[hello(0, 0..1), hello(1, 0..1)], &[1, 1]);
    }

    #[test]
    fn ranks_of_a_node_share_what_they_are_all_bound_to() {
        check(&vec![hello(0, 0..8); 4], &[0, 2, 3, 3]);
        check(&vec![hello(0, 0..2); 4], &[0, 1, 1, 1]);
        let seats = seats(&vec![hello(0, 0..8); 4], None, None);
        assert_eq!(seats[1].memory_bytes, 32);
    }

    #[test]
    fn ranks_bound_apart_keep_their_own() {
        check(&[hello(0, 0..4), hello(0, 4..8), hello(0, 8..16), hello(3, 0..16)], &[0, 4, 8, 16]);
    }

    #[test]
    fn a_quota_of_the_node_is_shared_and_one_of_the_rank_is_not() {
        let quota = |all, own| Hello { cores: (all, own), ..hello(0, 0..64) };
        check(&vec![quota(4, u32::MAX); 3], &[0, 2, 2]);
        check(&vec![quota(u32::MAX, 6); 3], &[0, 6, 6]);
    }

    #[test]
    fn named_numbers_hold_for_each_rank_that_works() {
        let seats = seats(&vec![hello(0, 0..2); 3], Some(5), Some(7));
        assert_eq!(seats[0].slots, 0);
        assert_eq!(seats[2], Seat { slots: 5, memory_bytes: 7 });
    }
}
